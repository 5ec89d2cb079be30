/*
 * What follows when the whole configuration has been read: the default group, the options of every
 * group, the scripts that processes load at start, warnings about groups that do not exist.
 *
 * It runs in check_config, so that configtest reports what is wrong.
 */
#include "config/completion.h"

#include <unistd.h>

#include "apr_hash.h"

#include "config/aliases.h"
#include "config/groups.h"
#include "config/handlers.h"
#include "config/mentions.h"
#include "config/option_defaults.h"
#include "config/options.h"
#include "config/pools.h"
#include "config/route.h"
#include "config/scopes.h"
#include "config/sections.h"
#include "config/variables.h"

/* ---- the aliases of every server */

/* The server scope of an alias; sections may override it. */
static const wsgid_directory_config_t *server_scope(server_rec *s)
{
    return ap_get_module_config(s->lookup_defaults, &wsgid_module);
}

/* Returns the name of the group that an alias leads to where no section decides, or NULL if only a
 * request can resolve it. */
static const char *alias_group(server_rec *s, const wsgid_alias_t *alias)
{
    const char *named = alias->group ? alias->group : server_scope(s)->group;

    return named ? wsgid_variables_literal(named) : WSGID_DEFAULT_GROUP;
}

typedef void visitor_t(apr_pool_t *p, server_rec *s, const wsgid_alias_t *alias, void *data);

static void visit_aliases(apr_pool_t *p, server_rec *main_server, visitor_t *visit, void *data)
{
    server_rec *s;
    int i;

    for (s = main_server; s; s = s->next) {
        const wsgid_server_config_t *config = ap_get_module_config(s->module_config, &wsgid_module);
        for (i = 0; i < config->aliases->nelts; i++) {
            visit(p, s, &APR_ARRAY_IDX(config->aliases, i, wsgid_alias_t), data);
        }
    }
}

static void find_default(apr_pool_t *p, server_rec *s, const wsgid_alias_t *alias, void *found)
{
    const char *group = alias_group(s, alias);
    int is_overruled = !alias->group
                       && wsgid_sections_decide(WSGID_SECTION_GROUP, s, alias) == WSGID_DECIDES;

    (void)p;
    if (group && !*group && !is_overruled) {
        *(int *)found = 1;
    }
}

/*
 * Creates the default group if a request can lead to it: no group is defined at all, a directive
 * names %{GLOBAL} or %{ENV:name}, or an alias or a handler has no group.
 */
static void add_default_group(apr_pool_t *pconf, server_rec *main_server)
{
    int wanted = !wsgid_groups_all()->nelts || wsgid_mentions_has(WSGID_DEFAULT_GROUP)
                 || wsgid_handlers_want_default();

    visit_aliases(pconf, main_server, find_default, &wanted);
    if (wanted && !wsgid_groups_find(WSGID_DEFAULT_GROUP)) {
        wsgid_groups_add(pconf, WSGID_DEFAULT_GROUP, main_server, "built in");
    }
}

/* callable: "" if any will do. */
static int has_script(const wsgid_pool_t *pool, const char *path, const char *callable)
{
    int i;

    for (i = 0; i < pool->scripts->nelts; i++) {
        const wsgid_script_t *script = &APR_ARRAY_IDX(pool->scripts, i, wsgid_script_t);
        if (!strcmp(script->path, path) && (!*callable || !strcmp(script->callable, callable))) {
            return 1;
        }
    }
    return 0;
}

static int is_file(apr_pool_t *p, const char *path)
{
    apr_finfo_t info;

    return apr_stat(&info, path, APR_FINFO_TYPE, p) == APR_SUCCESS && info.filetype == APR_REG;
}

static void push_script(const wsgid_pool_t *pool, apr_pool_t *pconf, const char *path,
                        const char *callable)
{
    wsgid_script_t *script = apr_array_push(pool->scripts);

    script->path = apr_pstrdup(pconf, path);
    script->callable = apr_pstrdup(pconf, callable);
}

/* WSGIImportScript: after the aliases, which load a script for both. */
static void add_imports(apr_pool_t *pconf, const server_rec *s)
{
    const wsgid_server_config_t *config = ap_get_module_config(s->module_config, &wsgid_module);
    int i;

    for (i = 0; i < config->imports->nelts; i++) {
        const wsgid_alias_t *import = &APR_ARRAY_IDX(config->imports, i, wsgid_alias_t);
        wsgid_group_t *group = wsgid_groups_find(wsgid_variables_literal(import->group));
        const char *name = import->application_group
                               ? wsgid_variables_literal(import->application_group)
                               : "";
        wsgid_pool_t *pool = group && name ? wsgid_pools_add(pconf, group, name) : NULL;

        if (pool && !has_script(pool, import->target, "")) {
            push_script(pool, pconf, import->target, "");
        }
    }
}

/* What a request of the alias gets, of which the alias itself says `named`. Returns 0 if only a
 * request can tell. */
static int find_choice(wsgid_section_choice_e choice, const server_rec *s,
                       const wsgid_alias_t *alias, const char *named, const char *of_server,
                       const char **value)
{
    *value = named ? named : of_server;
    return named || wsgid_sections_choose(choice, s, alias, value);
}

/* The pool of an alias; NULL if only a request can tell: a process must not load a script that no
 * request asks for. */
static wsgid_pool_t *find_alias_pool(apr_pool_t *pconf, server_rec *s, const wsgid_alias_t *alias)
{
    const wsgid_directory_config_t *scope = server_scope(s);
    const char *group, *application_group;
    wsgid_group_t *found;

    if (!find_choice(WSGID_SECTION_GROUP, s, alias, alias->group, scope->group, &group)
        || !find_choice(WSGID_SECTION_APPLICATION_GROUP, s, alias, alias->application_group,
                        scope->application_group, &application_group)) {
        return NULL;
    }
    group = group ? wsgid_variables_literal(group) : WSGID_DEFAULT_GROUP;
    found = group ? wsgid_groups_find(group) : NULL;
    application_group = wsgid_variables_application_group(
        pconf, s, alias->url,
        application_group ? application_group : WSGID_DEFAULT_APPLICATION_GROUP);
    return found && application_group ? wsgid_pools_add(pconf, found, application_group) : NULL;
}

static void add_script(apr_pool_t *p, server_rec *s, const wsgid_alias_t *alias, void *pconf)
{
    const char *callable;
    wsgid_pool_t *pool;

    pool = alias->expression || !is_file(p, alias->target) ? NULL
                                                           : find_alias_pool(pconf, s, alias);
    if (!pool) {
        wsgid_pools_note_unknown();
        return;
    }
    if (!find_choice(WSGID_SECTION_CALLABLE, s, alias, alias->callable, server_scope(s)->callable,
                     &callable)) {
        return;
    }
    callable = callable ? callable : WSGID_DEFAULT_CALLABLE;
    if (!wsgid_variables_is_variable(callable) && !has_script(pool, alias->target, callable)) {
        push_script(pool, pconf, alias->target, callable);
    }
}

/* ---- the options of every group */

/* mod_wsgi would run the default group in as many processes as httpd has. */
static void spread_default_group(apr_pool_t *p, wsgid_group_t *group)
{
    wsgid_value_t *processes = &group->value[WSGID_OPT_PROCESSES];
    long processors = sysconf(_SC_NPROCESSORS_ONLN);

    if (!*group->name && !processes->given && processors > 1) {
        processes->number = processors;
        processes->text = apr_psprintf(p, "1-%ld", processors);
    }
}

static const char *complete_group(apr_pool_t *p, wsgid_group_t *group)
{
    const char *error;

    if (!group->value[WSGID_OPT_PYTHON].given) {
        wsgid_groups_apply_default(group, WSGID_OPT_PYTHON_HOME);
    }
    wsgid_groups_apply_default(group, WSGID_OPT_PYTHON_PATH);
    wsgid_groups_apply_default(group, WSGID_OPT_PYTHON_EGGS);
    wsgid_groups_apply_default(group, WSGID_OPT_SWITCH_INTERVAL);
    wsgid_groups_apply_variables(p, group);
    error = wsgid_options_apply_defaults(p, group->value);
    if (!error) {
        error = wsgid_option_defaults_compute(p, group->server, group->where, group->value);
    }
    if (!error) {
        spread_default_group(p, group);
    }
    return error;
}

/* ---- names that no group has */

static void warn_of_unknown_groups(apr_pool_t *p, server_rec *s)
{
    const apr_array_header_t *mentions = wsgid_mentions_all();
    apr_hash_t *warned = apr_hash_make(p);
    int i;

    for (i = 0; i < mentions->nelts; i++) {
        const wsgid_mention_t *mention = &APR_ARRAY_IDX(mentions, i, wsgid_mention_t);
        if (wsgid_groups_find(mention->name)
            || apr_hash_get(warned, mention->name, APR_HASH_KEY_STRING)) {
            continue;
        }
        apr_hash_set(warned, mention->name, APR_HASH_KEY_STRING, "");
        ap_log_error(
            APLOG_MARK, APLOG_WARNING, 0, s,
            "WSGID0018: there is no daemon group '%s', which %s refers to; requests for it "
            "will get status 500: define it with WSGIDaemonProcess, or correct the name; "
            "known groups: %s",
            mention->name, mention->where, wsgid_groups_known(p));
    }
}

int wsgid_completion_check_config(apr_pool_t *pconf, apr_pool_t *plog, apr_pool_t *ptemp,
                                  server_rec *main_server)
{
    const apr_array_header_t *groups = wsgid_groups_all();
    const server_rec *s;
    int i;

    (void)plog;
    add_default_group(pconf, main_server);
    for (i = 0; i < groups->nelts; i++) {
        wsgid_group_t *group = APR_ARRAY_IDX(groups, i, wsgid_group_t *);
        const char *error = complete_group(pconf, group);
        if (error) {
            ap_log_error(APLOG_MARK, APLOG_CRIT, 0, main_server,
                         "%s (daemon group '%s', defined at %s)", error, group->label,
                         group->where);
            return HTTP_INTERNAL_SERVER_ERROR;
        }
    }
    visit_aliases(ptemp, main_server, add_script, pconf);
    for (s = main_server; s; s = s->next) {
        add_imports(pconf, s);
    }
    wsgid_pools_add_expected(pconf);
    if (wsgid_handlers_are_anywhere()) {
        wsgid_pools_note_unknown();
    }
    for (i = 0; i < groups->nelts; i++) {
        wsgid_pools_complete(pconf, APR_ARRAY_IDX(groups, i, wsgid_group_t *));
    }
    warn_of_unknown_groups(ptemp, main_server);
    return OK;
}
