/*
 * The variables of WSGIProcessName and similar directives.
 *
 * A variable must be the whole value. %{ENV:name} is looked up in the request's notes, then in its
 * environment (SetEnv, RewriteRule [E=]), then in httpd's own.
 */
#include "config/variables.h"

#include "config/groups.h"
#include "slots/names.h"

#include <stdlib.h>

#include "ap_listen.h"
#include "apr_sha1.h"
#include "util_md5.h"

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

/* ---- application groups */

/* The port of a virtual host: not what the client's Host says, which would let clients start
 * processes. */
static apr_port_t port_of(const server_rec *s)
{
    apr_port_t port = s->port;

    if (!port && s->addrs) {
        port = s->addrs->host_port;
    }
    return port || !ap_listeners ? port : ap_listeners->bind_addr->port;
}

static const char *resource(apr_pool_t *p, const server_rec *s, const char *script)
{
    apr_port_t port = port_of(s);

    return !port || port == DEFAULT_HTTP_PORT || port == DEFAULT_HTTPS_PORT
               ? apr_pstrcat(p, s->server_hostname, script ? "|" : "", script, NULL)
               : apr_psprintf(p, "%s:%u%s%s", s->server_hostname, port, script ? "|" : "",
                              script ? script : "");
}

/* One that is too long for the table of names (slots/names.h) ends with a hash. */
static const char *shortened(apr_pool_t *p, const char *name)
{
    unsigned char digest[APR_SHA1_DIGESTSIZE];
    char text[2 * APR_SHA1_DIGESTSIZE + 1];
    apr_sha1_ctx_t context;

    if (strlen(name) <= WSGID_NAME_MOST) {
        return name;
    }
    apr_sha1_init(&context);
    apr_sha1_update(&context, name, (unsigned)strlen(name));
    apr_sha1_final(digest, &context);
    ap_bin2hex(digest, sizeof(digest), text);
    return apr_psprintf(p, "%.*s#%s", (int)(WSGID_NAME_MOST - sizeof(text)), name, text);
}

const char *wsgid_variables_application_group(apr_pool_t *p, const server_rec *s,
                                              const char *script_name, const char *value)
{
    const char *name = wsgid_variables_literal(value);

    if (!strcmp(value, "%{RESOURCE}")) {
        name = resource(p, s, script_name);
    }
    else if (!strcmp(value, "%{SERVER}")) {
        name = resource(p, s, NULL);
    }
    return name ? shortened(p, name) : NULL;
}

const char *wsgid_variables_request_application_group(request_rec *r, const char *script_name,
                                                      const char *value)
{
    const char *name = wsgid_variables_application_group(r->pool, r->server, script_name, value);
    const char *resolved = name ? NULL : wsgid_variables_resolve(r, value);

    if (name || !resolved) {
        return name ? name : value; /* as it is written: the application sees that */
    }
    if (wsgid_variables_is_variable(resolved) && !is_env(resolved)) { /* SetEnv X %{GLOBAL} */
        name = wsgid_variables_application_group(r->pool, r->server, script_name, resolved);
    }
    return name ? name : shortened(r->pool, resolved);
}

int wsgid_variables_may_be_default(const char *value)
{
    return is_env(value) || !strcmp(value, "%{GLOBAL}");
}
