/*
 * The environ block: what a daemon is told of a request, as key\0value\0 ... (PEP 3333 "environ
 * Variables", RFC 3875).
 *
 * Later keys win, so the block goes from what anybody may have set (SetEnv, RewriteRule [E=],
 * mod_ssl) to what httpd knows for certain. The keys beginning with wsgi. are the daemon's to make;
 * mod_wsgi.* carries what only httpd knows.
 */
#include "request/exchange.h"

#define FIRST_ROOM 4096 /* a browser's request fits */

/* ---- the block */

static void make_room(wsgid_block_t *block, apr_size_t more)
{
    apr_size_t room = block->room > 0 ? block->room : FIRST_ROOM;
    char *larger;

    while (room < block->length + more) {
        room *= 2;
    }
    if (room == block->room) {
        return;
    }
    larger = apr_palloc(block->pool, room);
    if (block->length > 0) {
        memcpy(larger, block->bytes, block->length);
    }
    block->bytes = larger;
    block->room = room;
}

static void append(wsgid_block_t *block, const char *text, apr_size_t length)
{
    make_room(block, length + 1);
    memcpy(block->bytes + block->length, text, length);
    block->length += length;
    block->bytes[block->length++] = '\0';
}

static void put(wsgid_block_t *block, const char *key, const char *value)
{
    if (value) {
        append(block, key, strlen(key));
        append(block, value, strlen(value));
    }
}

static void put_number(wsgid_block_t *block, const char *key, apr_int64_t number)
{
    char text[24];

    apr_snprintf(text, sizeof(text), "%" APR_INT64_T_FMT, number);
    put(block, key, text);
}

/* ---- request headers */

/* What must not become HTTP_...: about the connection, or httpd's to use. */
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

/*
 * Appends HTTP_NAME. 0 if the name has anything but letters, digits and hyphens: an underscore
 * would let a client pass off a header as another one.
 */
static int append_header_key(wsgid_block_t *block, const char *name)
{
    apr_size_t length = strlen(name), i;
    char *to;

    make_room(block, length + 6);
    to = block->bytes + block->length;
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
    block->length += length + 6;
    return 1;
}

static int has_cgi_pass_auth(const request_rec *r)
{
    const core_dir_config *core = ap_get_core_module_config(r->per_dir_config);

    return core->cgi_pass_auth == AP_CGI_PASS_AUTH_ON;
}

static void put_headers(wsgid_block_t *block, request_rec *r, int pass_authorization)
{
    const apr_array_header_t *headers = apr_table_elts(r->headers_in);
    const apr_table_entry_t *entry = (const apr_table_entry_t *)headers->elts;
    int i;

    for (i = 0; i < headers->nelts; i++) {
        if (entry[i].key && !is_withheld(entry[i].key) && append_header_key(block, entry[i].key)) {
            append(block, entry[i].val, strlen(entry[i].val));
        }
    }
    put(block, "CONTENT_TYPE", apr_table_get(r->headers_in, "Content-Type"));
    put(block, "CONTENT_LENGTH", apr_table_get(r->headers_in, "Content-Length"));
    if (pass_authorization || has_cgi_pass_auth(r)) {
        put(block, "HTTP_AUTHORIZATION", apr_table_get(r->headers_in, "Authorization"));
    }
}

/* ---- what httpd's modules and configuration have set */

/* An internal redirect hands the original's variables down with this prefix, and so do we. */
static void put_variables(wsgid_block_t *block, request_rec *r)
{
    const apr_array_header_t *variables = apr_table_elts(r->subprocess_env);
    const apr_table_entry_t *entry = (const apr_table_entry_t *)variables->elts;
    int i;

    for (i = 0; i < variables->nelts; i++) {
        if (entry[i].key) {
            put(block, entry[i].key, entry[i].val ? entry[i].val : "");
        }
    }
    if (r->prev) {
        put(block, "REDIRECT_URL", r->prev->uri);
        put(block, "REDIRECT_QUERY_STRING", r->prev->args);
        put_number(block, "REDIRECT_STATUS", r->prev->status);
    }
}

/* ---- the connection and the server */

static void put_connection(wsgid_block_t *block, request_rec *r)
{
    conn_rec *c = r->connection;

    put(block, "SERVER_SOFTWARE", ap_get_server_banner());
    put(block, "SERVER_NAME", ap_escape_html(r->pool, ap_get_server_name_for_url(r)));
    put(block, "SERVER_ADDR", c->local_ip);
    put_number(block, "SERVER_PORT", ap_get_server_port(r));
    put(block, "SERVER_ADMIN", r->server->server_admin);
    put(block, "REMOTE_HOST", ap_get_useragent_host(r, REMOTE_HOST, NULL));
    put(block, "REMOTE_ADDR", r->useragent_ip);
    put_number(block, "REMOTE_PORT", c->client_addr->port);
    put(block, "REMOTE_USER", r->user);
    put(block, "AUTH_TYPE", r->ap_auth_type);
    put(block, "DOCUMENT_ROOT", ap_document_root(r));
    put(block, "REQUEST_SCHEME", ap_http_scheme(r));
}

/* ---- the request line */

/* WSGIMapHEADToGET. A filter of type AP_FTYPE_CONTENT_SET and before makes headers from the body.
 */
static const char *method(const request_rec *r, const wsgid_route_t *route)
{
    int maps = route->map_head_to_get == WSGID_MAP_HEAD_ON
               || (route->map_head_to_get == WSGID_MAP_HEAD_AUTO
                   && r->output_filters->frec->ftype < AP_FTYPE_PROTOCOL);

    return maps && r->header_only && r->method_number == M_GET ? "GET" : r->method;
}

/* What the client asked for, before internal redirects (RewriteRule in a directory, Action,
 * ErrorDocument). */
static const request_rec *first_of(const request_rec *r)
{
    while (r->prev) {
        r = r->prev;
    }
    return r;
}

static void put_request_line(wsgid_block_t *block, request_rec *r, const wsgid_route_t *route)
{
    put(block, "GATEWAY_INTERFACE", "CGI/1.1");
    put(block, "SERVER_PROTOCOL", r->protocol);
    block->line = block->length; /* the daemon shows what follows: these two stay together */
    put(block, "REQUEST_METHOD", method(r, route));
    put(block, "REQUEST_URI", first_of(r)->unparsed_uri);
    put(block, "QUERY_STRING", r->args ? r->args : "");
    put(block, "SCRIPT_FILENAME", route->script);
    put(block, "SCRIPT_NAME", route->script_name);
    put(block, "PATH_INFO", route->path_info);
    put(block, "mod_wsgi.script_name", route->script_name);
    put(block, "mod_wsgi.path_info", route->path_info);
}

static void put_ours(wsgid_block_t *block, request_rec *r, const wsgid_route_t *route)
{
    conn_rec *c = r->connection;

    put(block, "mod_wsgi.application_group", route->application_group);
    put(block, "mod_wsgi.callable_object", route->callable);
    put(block, "mod_wsgi.request_handler", r->handler);
    put(block, "mod_wsgi.script_reloading", route->script_reloading ? "1" : "0");
    put(block, "mod_wsgi.mount_point", route->mount_point);
    put(block, "mod_wsgi.listener_host", c->local_addr->hostname ? c->local_addr->hostname : "");
    put_number(block, "mod_wsgi.listener_port", c->local_addr->port);
    put(block, "mod_wsgi.request_id", wsgid_logs_request_id(r));
    put(block, "mod_wsgi.connection_id", c->log_id);
    put_number(block, "mod_wsgi.server_pid", getpid());
    put_number(block, "mod_wsgi.request_start", r->request_time);
}

apr_status_t wsgid_environ_build(request_rec *r, const wsgid_route_t *route, wsgid_block_t *block)
{
    block->pool = r->pool;
    put_variables(block, r);
    put_headers(block, r, route->pass_authorization);
    put_connection(block, r);
    put_request_line(block, r, route);
    put_ours(block, r, route);
    return block->length <= WSGID_WIRE_MAX_ENVIRON ? APR_SUCCESS : WSGID_E_ENVIRON_TOO_LARGE;
}
