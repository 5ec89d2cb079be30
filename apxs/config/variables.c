/*
 * The variables of WSGIProcessName and similar directives.
 *
 * A variable must be the whole value. %{ENV:name} is looked up in the request's notes, then in its
 * environment (SetEnv, RewriteRule [E=]), then in httpd's own.
 */
#include "config/variables.h"

#include "config/groups.h"

#include <stdlib.h>

#define ENV_PREFIX "%{ENV:"

/* "name", or "name:port" if the port is not a default one. */
static const char *with_port(request_rec *r, const char *name)
{
    apr_port_t port = ap_get_server_port(r);

    return port == DEFAULT_HTTP_PORT || port == DEFAULT_HTTPS_PORT
               ? name
               : apr_psprintf(r->pool, "%s:%u", name, port);
}

static const char *resolve_global(request_rec *r)
{
    (void)r;
    return WSGID_DEFAULT_GROUP;
}

static const char *resolve_server(request_rec *r)
{
    return with_port(r, r->server->server_hostname);
}

/* NULL for an HTTP/1.0 request without Host. */
static const char *resolve_host(request_rec *r)
{
    return r->hostname ? with_port(r, r->hostname) : NULL;
}

static const char *resolve_resource(request_rec *r)
{
    int length = r->path_info ? ap_find_path_info(r->uri, r->path_info) : (int)strlen(r->uri);

    return apr_pstrcat(r->pool, resolve_server(r), "|", apr_pstrmemdup(r->pool, r->uri, length),
                       NULL);
}

static const struct {
    const char *text;
    const char *(*resolve)(request_rec *r);
} variables[] = { { "%{GLOBAL}", resolve_global },
                  { "%{SERVER}", resolve_server },
                  { "%{HOST}", resolve_host },
                  { "%{RESOURCE}", resolve_resource },
                  { NULL, NULL } };

/* Returns the name in "%{ENV:name}", or NULL for any other value. */
static const char *env_name(apr_pool_t *p, const char *value)
{
    apr_size_t prefix = strlen(ENV_PREFIX);
    apr_size_t length = strlen(value);

    if (strncmp(value, ENV_PREFIX, prefix) || length < prefix + 2
        || strchr(value, '}') != value + length - 1) {
        return NULL;
    }
    return apr_pstrmemdup(p, value + prefix, length - prefix - 1);
}

static const char *resolve_env(request_rec *r, const char *name)
{
    const char *found = apr_table_get(r->notes, name);

    if (!found) {
        found = apr_table_get(r->subprocess_env, name);
    }
    return found ? found : getenv(name);
}

static int is_env(const char *value)
{
    return !strncmp(value, ENV_PREFIX, strlen(ENV_PREFIX));
}

int wsgid_variables_is_variable(const char *value)
{
    return strstr(value, "%{") != NULL;
}

const char *wsgid_variables_literal(const char *value)
{
    if (!strcmp(value, "%{GLOBAL}")) {
        return WSGID_DEFAULT_GROUP;
    }
    return wsgid_variables_is_variable(value) ? NULL : value;
}

const char *wsgid_variables_check(apr_pool_t *p, const char *value)
{
    int i;

    if (!wsgid_variables_is_variable(value) || env_name(p, value)) {
        return NULL;
    }
    for (i = 0; variables[i].text; i++) {
        if (!strcmp(value, variables[i].text)) {
            return NULL;
        }
    }
    return apr_psprintf(
        p,
        "WSGID0016: '%s' is not a variable; the variables are %%{GLOBAL}, %%{SERVER}, %%{HOST}, "
        "%%{RESOURCE} and %%{ENV:name}, with no text before or after them",
        value);
}

const char *wsgid_variables_resolve(request_rec *r, const char *value)
{
    const char *name;
    int i;

    if (value[0] != '%' || value[1] != '{') {
        return value;
    }
    for (i = 0; variables[i].text; i++) {
        if (!strcmp(value, variables[i].text)) {
            return variables[i].resolve(r);
        }
    }
    name = env_name(r->pool, value);
    return name ? resolve_env(r, name) : NULL;
}

const char *wsgid_variables_group(request_rec *r, const char *value)
{
    const char *name = wsgid_variables_resolve(r, value);

    return name || !is_env(value) ? name : WSGID_DEFAULT_GROUP;
}

int wsgid_variables_may_be_default(const char *value)
{
    return is_env(value) || !strcmp(value, "%{GLOBAL}");
}
