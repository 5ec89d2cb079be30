/*
 * The environ block: what a daemon learns of a request, as "key\0value\0..." (PEP 3333, "environ
 * Variables"; RFC 3875).
 *
 * If a key occurs twice, the later one counts. So the block begins with what anybody may have set
 * (SetEnv, RewriteRule [E=], mod_ssl) and ends with what httpd knows for certain. The daemon itself
 * makes the keys that begin with wsgi., but for wsgi.url_scheme; those with mod_wsgi. carry what
 * only httpd knows. The key wsgid.waited_in_httpd is for the daemon alone (arrival.c).
 */
#include "request/exchange.h"

#include "config/trusted_proxies.h"

#define FIRST_SIZE 4096 /* enough for a browser's request */

/* The variable by which SetEnv, SetEnvIf or mod_ssl say so. */
#define HTTPS "HTTPS"

/* ---- the block */

static void grow(wsgid_exchange_t *x, apr_size_t more)
{
    apr_size_t room = x->environ.room > 0 ? x->environ.room : FIRST_SIZE;
    char *larger;

    while (room < x->environ.length + more) {
        room *= 2;
    }
    if (room == x->environ.room) {
        return;
    }
    larger = apr_palloc(x->r->pool, room);
    if (x->environ.length > 0) {
        memcpy(larger, x->environ.bytes, x->environ.length);
    }
    x->environ.bytes = larger;
    x->environ.room = room;
}

static void append(wsgid_exchange_t *x, const char *text, apr_size_t length)
{
    grow(x, length + 1);
    memcpy(x->environ.bytes + x->environ.length, text, length);
    x->environ.length += length;
    x->environ.bytes[x->environ.length++] = '\0';
}

static void put(wsgid_exchange_t *x, const char *key, const char *value)
{
    if (value) {
        append(x, key, strlen(key));
        append(x, value, strlen(value));
    }
}

static void put_number(wsgid_exchange_t *x, const char *key, apr_int64_t number)
{
    char text[24];

    apr_snprintf(text, sizeof(text), "%" APR_INT64_T_FMT, number);
    put(x, key, text);
}

static void put_table(wsgid_exchange_t *x, const apr_table_t *table)
{
    const apr_array_header_t *entries = apr_table_elts(table);
    const apr_table_entry_t *entry = (const apr_table_entry_t *)entries->elts;
    int i;

    for (i = 0; i < entries->nelts; i++) {
        if (entry[i].key && strcmp(entry[i].key, HTTPS)) { /* that is in wsgi.url_scheme */
            put(x, entry[i].key, entry[i].val ? entry[i].val : "");
        }
    }
}

/* ---- request headers */

/* Headers that do not become HTTP_...: they are about the connection, or for httpd. Some of them
 * come back in put_headers(). */
static int is_withheld(const char *name)
{
    static const char *const names[] = { "Proxy",
                                         "Connection",
                                         "Keep-Alive",
                                         "Proxy-Authorization",
                                         "Proxy-Connection",
                                         "TE",
                                         "Trailer",
                                         "Transfer-Encoding",
                                         "Upgrade",
                                         "Content-Type",
                                         "Content-Length",
                                         "Authorization",
                                         NULL };
    int i;

    for (i = 0; names[i]; i++) {
        if (apr_tolower(names[i][0]) == apr_tolower(name[0]) && !ap_cstr_casecmp(names[i], name)) {
            return 1;
        }
    }
    return 0;
}

/* Appends HTTP_NAME. 0, and nothing is appended, if the name has anything but letters, digits and
 * hyphens: with an underscore, a client could pass off a header as another one. */
static int append_header_key(wsgid_exchange_t *x, const char *name)
{
    apr_size_t length = strlen(name), i;
    char *to;

    grow(x, length + 6);
    to = x->environ.bytes + x->environ.length;
    memcpy(to, "HTTP_", 5);
    for (i = 0; i < length; i++) {
        if (name[i] == '-') {
            to[5 + i] = '_';
        }
        else if (apr_isalnum(name[i])) {
            to[5 + i] = apr_toupper(name[i]);
        }
        else {
            return 0;
        }
    }
    to[5 + length] = '\0';
    x->environ.length += length + 6;
    return 1;
}

static int has_cgi_pass_auth(const request_rec *r)
{
    const core_dir_config *core = ap_get_core_module_config(r->per_dir_config);

    return core->cgi_pass_auth == AP_CGI_PASS_AUTH_ON;
}

static void put_headers(wsgid_exchange_t *x, const wsgid_judgement_t *judgement)
{
    request_rec *r = x->r;
    const apr_array_header_t *headers = apr_table_elts(r->headers_in);
    const apr_table_entry_t *entry = (const apr_table_entry_t *)headers->elts;
    int i;

    for (i = 0; i < headers->nelts; i++) {
        if (entry[i].key && !is_withheld(entry[i].key)
            && !wsgid_trusted_proxies_hides(judgement, entry[i].key)
            && append_header_key(x, entry[i].key)) {
            append(x, entry[i].val, strlen(entry[i].val));
        }
    }
    put(x, "CONTENT_TYPE", apr_table_get(r->headers_in, "Content-Type"));
    put(x, "CONTENT_LENGTH", apr_table_get(r->headers_in, "Content-Length"));
    if (x->upload.store && x->upload.is_read && x->upload.declared < 0) {
        put_number(x, "CONTENT_LENGTH", x->upload.stored); /* WSGIChunkedRequest Buffer */
    }
    else { /* "chunked" is the only value (request.c) */
        put(x, "HTTP_TRANSFER_ENCODING", apr_table_get(r->headers_in, "Transfer-Encoding"));
    }
    if (x->route->pass_authorization || has_cgi_pass_auth(r)) {
        put(x, "HTTP_AUTHORIZATION", apr_table_get(r->headers_in, "Authorization"));
    }
}

/* ---- what httpd's modules and configuration have set */

/* After an internal redirect, httpd passes on the original request's variables with the prefix
 * REDIRECT_. These three are added in the same way. */
static void put_variables(wsgid_exchange_t *x)
{
    request_rec *r = x->r;

    put_table(x, r->subprocess_env);
    if (r->prev) {
        put(x, "REDIRECT_URL", r->prev->uri);
        put(x, "REDIRECT_QUERY_STRING", r->prev->args);
        put_number(x, "REDIRECT_STATUS", r->prev->status);
    }
}

/* ---- the connection and the server */

/* As mod_wsgi does it: TLS may end at a proxy in front of httpd. */
static int is_https(const request_rec *r)
{
    const char *value = apr_table_get(r->subprocess_env, HTTPS);

    return value && (!strcmp(value, "1") || !ap_cstr_casecmp(value, "on"));
}

static void put_connection(wsgid_exchange_t *x)
{
    request_rec *r = x->r;
    conn_rec *c = r->connection;

    put(x, "SERVER_SOFTWARE", ap_get_server_banner());
    put(x, "SERVER_NAME", ap_escape_html(r->pool, ap_get_server_name_for_url(r)));
    put(x, "SERVER_ADDR", c->local_ip);
    put_number(x, "SERVER_PORT", ap_get_server_port(r));
    put(x, "SERVER_ADMIN", r->server->server_admin);
    put(x, "REMOTE_ADDR", r->useragent_ip);
    put_number(x, "REMOTE_PORT", c->client_addr->port);
    put(x, "REMOTE_USER", r->user);
    put(x, "AUTH_TYPE", r->ap_auth_type);
    put(x, "DOCUMENT_ROOT", ap_document_root(r));
    put(x, "CONTEXT_PREFIX", ap_context_prefix(r));
    put(x, "CONTEXT_DOCUMENT_ROOT", ap_context_document_root(r));
    put(x, "REQUEST_SCHEME", ap_http_scheme(r));
}

/* ---- the request line */

/* Whether there are filters (of type AP_FTYPE_CONTENT_SET or before) that may make headers from the
 * body. These of mod_headers, mod_expires and mod_session do not look at it. */
static int is_body_filtered(const request_rec *r)
{
    static const char *const names[] = { "fixup_headers_out", "mod_expires", "mod_session_out",
                                         NULL };
    const ap_filter_t *filter = r->output_filters;
    int i;

    for (; filter->frec->ftype < AP_FTYPE_PROTOCOL; filter = filter->next) {
        for (i = 0; names[i] && ap_cstr_casecmp(names[i], filter->frec->name); i++) {
        }
        if (!names[i]) {
            return 1;
        }
    }
    return 0;
}

/* WSGIMapHEADToGET. */
static const char *method(const request_rec *r, const wsgid_route_t *route)
{
    int maps = route->map_head_to_get == WSGID_MAP_HEAD_ON
               || (route->map_head_to_get == WSGID_MAP_HEAD_AUTO && is_body_filtered(r));

    return maps && r->header_only && r->method_number == M_GET ? "GET" : r->method;
}

/* The client's own request, before internal redirects (RewriteRule in a directory, Action,
 * ErrorDocument). */
static const request_rec *original(const request_rec *r)
{
    while (r->prev) {
        r = r->prev;
    }
    return r;
}

static void put_request_line(wsgid_exchange_t *x)
{
    request_rec *r = x->r;
    const wsgid_route_t *route = x->route;

    put(x, "GATEWAY_INTERFACE", "CGI/1.1");
    put(x, "SERVER_PROTOCOL", r->protocol);
    x->environ.line = x->environ.length; /* the daemon finds the next two here */
    put(x, "REQUEST_METHOD", method(r, route));
    put(x, "REQUEST_URI", original(r)->unparsed_uri);
    put(x, "QUERY_STRING", r->args ? r->args : "");
    put(x, "SCRIPT_FILENAME", route->script);
    put(x, "SCRIPT_NAME", route->script_name);
    put(x, "PATH_INFO", route->path_info);
    put(x, "mod_wsgi.script_name", route->script_name);
    put(x, "mod_wsgi.path_info", route->path_info);
}

static void put_ours(wsgid_exchange_t *x)
{
    request_rec *r = x->r;
    const wsgid_route_t *route = x->route;
    conn_rec *c = r->connection;
    apr_interval_time_t waited = wsgid_arrival_wait(x);

    put(x, "wsgi.url_scheme", is_https(r) ? "https" : ap_http_scheme(r));
    put(x, "mod_wsgi.application_group", route->application_group);
    put(x, "mod_wsgi.callable_object", route->callable);
    put(x, "mod_wsgi.handler_script", route->handler_script);
    put(x, "mod_wsgi.request_handler",
        r->handler && !strcmp(r->handler, WSGID_HANDLER) ? WSGID_HANDLER_WSGI : r->handler);
    put(x, "mod_wsgi.script_reloading", route->script_reloading ? "1" : "0");
    put(x, "mod_wsgi.mount_point", route->mount_point);
    put(x, "mod_wsgi.listener_host", c->local_addr->hostname ? c->local_addr->hostname : "");
    put_number(x, "mod_wsgi.listener_port", c->local_addr->port);
    put(x, "mod_wsgi.request_id", wsgid_logs_request_id(r));
    put(x, "mod_wsgi.connection_id", c->log_id);
    put_number(x, "mod_wsgi.server_pid", getpid());
    put_number(x, "mod_wsgi.request_start", r->request_time);
    if (waited > 0) {
        put_number(x, "wsgid.waited_in_httpd", waited);
    }
}

/* httpd's own modules see these keys, too: mod_headers, for example, and LogFormat "%{HTTP_HOST}e".
 */
static void publish(const wsgid_exchange_t *x, apr_size_t from, apr_size_t to)
{
    const char *key = x->environ.bytes + from, *value;

    for (; key < x->environ.bytes + to; key = value + strlen(value) + 1) {
        value = key + strlen(key) + 1;
        /* apr_table_setn() would take five times as long (access_log.c) */
        apr_table_addn(x->r->subprocess_env, key, value);
    }
}

apr_status_t wsgid_environ_build(wsgid_exchange_t *x)
{
    const wsgid_judgement_t *judgement = wsgid_trusted_proxies_judge(x->r);
    const char *const *word;
    apr_size_t known, ours, judged;

    put_variables(x);
    known = x->environ.length;
    put_headers(x, judgement);
    put_connection(x);
    put_request_line(x);
    ours = x->environ.length;
    put_ours(x);
    judged = x->environ.length;
    if (judgement) {
        put_table(x, judgement->variables);
    }
    for (word = x->question; word && *word; word += 2) {
        put(x, word[0], word[1]);
    }
    publish(x, judged, x->environ.length); /* of two values, a table has the first */
    publish(x, known, ours);
    if (x->environ.length <= WSGID_WIRE_MAX_ENVIRON) {
        return APR_SUCCESS;
    }
    return wsgid_exchange_fail(x, WSGID_E_ENVIRON_TOO_LARGE,
                               x->environ.length - x->environ.line > x->environ.line
                                   ? HTTP_REQUEST_URI_TOO_LARGE
                                   : HTTP_REQUEST_HEADER_FIELDS_TOO_LARGE,
                               NULL);
}
