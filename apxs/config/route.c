/*
 * From a request to its route: the script alias, the directory's directives and the defaults, put
 * together.
 *
 * Nothing is refused or logged here: the content handler refuses a request whose route has no group
 * (request/failures.c).
 */
#include "config/route.h"

#include "config/aliases.h"
#include "config/deciders.h"
#include "config/groups.h"
#include "config/handlers.h"
#include "config/scopes.h"
#include "config/variables.h"

#include "apr_hash.h"

#define HANDLER_CALLABLE "handle_request" /* the name of the application in such a script */

static int is_ours(const request_rec *r)
{
    return r->handler
           && (!strcmp(r->handler, WSGID_HANDLER) || !strcmp(r->handler, WSGID_HANDLER_WSGI)
               || !strcmp(r->handler, WSGID_HANDLER_TYPE));
}

/* ---- the URL */

/* One slash where a client sent several: as mod_wsgi and httpd's own MergeSlashes do. */
static const char *without_double_slashes(apr_pool_t *p, const char *path)
{
    char *copy;

    if (!strstr(path, "//")) {
        return path;
    }
    copy = apr_pstrdup(p, path);
    ap_no2slash(copy);
    return copy;
}

static void split_url(request_rec *r, wsgid_route_t *route)
{
    const char *url = without_double_slashes(r->pool, r->uri);
    const char *info = without_double_slashes(r->pool, r->path_info ? r->path_info : "");

    route->script = r->filename;
    route->script_name = *info ? apr_pstrmemdup(r->pool, url,
                                                (apr_size_t)ap_find_path_info(url, info))
                               : url;
    route->path_info = info;
}

/* ---- the group, the application group and the callable */

/* The value with its variable resolved. A variable that is not set stays as it is written: the
 * application sees that. */
static const char *resolve(request_rec *r, const char *value, const char *otherwise)
{
    const char *resolved = value ? wsgid_variables_resolve(r, value) : otherwise;

    return resolved ? resolved : value;
}

static void choose_group(request_rec *r, wsgid_route_t *route, const char *value,
                         apr_hash_t *allowed)
{
    const char *name = value ? wsgid_variables_group(r, value) : WSGID_DEFAULT_GROUP;

    route->group = name ? name : value;
    if (!name) {
        route->choice = WSGID_ROUTE_UNSET;
    }
    else if (allowed && !apr_hash_get(allowed, name, APR_HASH_KEY_STRING)) {
        route->choice = WSGID_ROUTE_FORBIDDEN;
    }
}

/* A handler's script serves many URLs, but is one application. */
static void choose_application_group(request_rec *r, wsgid_route_t *route, const char *value)
{
    route->application_group = wsgid_variables_request_application_group(
        r, *route->handler_script ? route->handler_script : route->script_name, value);
}

static void choose_application(request_rec *r, wsgid_route_t *route, const wsgid_alias_t *alias,
                               const wsgid_directory_config_t *config)
{
    const char *application_group = alias->application_group ? alias->application_group
                                                             : config->application_group;
    const char *callable = alias->callable ? alias->callable : config->callable;

    choose_group(r, route, alias->group ? alias->group : config->group, config->allowed);
    choose_application_group(
        r, route, application_group ? application_group : WSGID_DEFAULT_APPLICATION_GROUP);
    route->callable = resolve(r, callable, WSGID_DEFAULT_CALLABLE);
}

/* ---- flags */

static void set_flags(wsgid_route_t *route, const wsgid_alias_t *alias,
                      const wsgid_directory_config_t *config)
{
    route->pass_authorization = alias->pass_authorization != WSGID_UNSET
                                    ? alias->pass_authorization
                                    : config->pass_authorization == 1;
    route->error_override = config->error_override == 1;
    route->chunked_request = config->chunked_request == WSGID_UNSET ? WSGID_CHUNKED_BUFFER
                                                                    : config->chunked_request;
    route->script_reloading = config->script_reloading != 0;
    route->map_head_to_get = config->map_head_to_get == WSGID_UNSET ? WSGID_MAP_HEAD_AUTO
                                                                    : config->map_head_to_get;
    route->user_header = config->user_header;
    route->sendfile = config->sendfile;
}

/* WSGID_UNSET, 0 or 1. */
static int passes_authorization(const wsgid_script_place_t *place)
{
    return place->pass_authorization ? !ap_cstr_casecmp(place->pass_authorization, "on")
                                     : WSGID_UNSET;
}

/* The script of WSGIHandlerScript for the request's handler, or NULL. */
static const wsgid_script_place_t *find_handler(const request_rec *r,
                                                const wsgid_directory_config_t *config)
{
    return config->handlers && r->handler
               ? apr_hash_get(config->handlers, r->handler, APR_HASH_KEY_STRING)
               : NULL;
}

const wsgid_route_t *wsgid_route_find(request_rec *r)
{
    const wsgid_directory_config_t *config = ap_get_module_config(r->per_dir_config, &wsgid_module);
    const wsgid_script_place_t *place = find_handler(r, config);
    wsgid_alias_t option = { .pass_authorization = WSGID_UNSET };
    const wsgid_alias_t *alias;
    wsgid_route_t *route;

    if (!place && !is_ours(r)) {
        return NULL;
    }
    alias = wsgid_aliases_of(r);
    route = apr_pcalloc(r->pool, sizeof(*route));
    route->is_aliased = alias != NULL;
    route->mount_point = alias && !alias->expression ? alias->url : NULL;
    route->handler_script = "";
    if (place) {
        option.group = place->group;
        option.application_group = place->application_group;
        option.callable = HANDLER_CALLABLE;
        option.pass_authorization = passes_authorization(place);
        route->handler_script = place->path;
    }
    alias = alias && !place ? alias : &option;
    split_url(r, route);
    choose_application(r, route, alias, config);
    set_flags(route, alias, config);
    return route;
}

const wsgid_route_t *wsgid_route_to_decider(request_rec *r, wsgid_decider_e decider,
                                            const char *function)
{
    const wsgid_directory_config_t *config = ap_get_module_config(r->per_dir_config, &wsgid_module);
    const wsgid_script_place_t *place = config->deciders[decider];
    wsgid_route_t *route;

    if (!place) {
        return NULL;
    }
    route = apr_pcalloc(r->pool, sizeof(*route));
    split_url(r, route);
    /* WSGIRestrictProcess is about variables: the administrator has written this name */
    choose_group(r, route, place->group,
                 place->group && wsgid_variables_is_variable(place->group) ? config->allowed
                                                                           : NULL);
    route->handler_script = place->path;
    choose_application_group(r, route,
                             place->application_group ? place->application_group : "%{GLOBAL}");
    route->callable = function;
    route->pass_authorization = place->pass_authorization ? passes_authorization(place)
                                                          : config->pass_authorization == 1;
    route->script_reloading = config->script_reloading != 0;
    route->map_head_to_get = WSGID_MAP_HEAD_OFF;
    return route;
}

const wsgid_route_t *wsgid_route_dispatch(request_rec *r, const wsgid_route_t *route,
                                          const apr_table_t *answer)
{
    const wsgid_directory_config_t *config = ap_get_module_config(r->per_dir_config, &wsgid_module);
    const char *group = apr_table_get(answer, "process_group");
    const char *application_group = apr_table_get(answer, "application_group");
    wsgid_route_t *chosen = apr_pmemdup(r->pool, route, sizeof(*route));

    if (group) {
        chosen->choice = WSGID_ROUTE_CHOSEN;
        choose_group(r, chosen, group, config->allowed);
    }
    if (application_group) {
        choose_application_group(r, chosen, application_group);
    }
    if (!*route->handler_script) {
        chosen->callable = resolve(r, apr_table_get(answer, "callable_object"), route->callable);
    }
    return chosen;
}
