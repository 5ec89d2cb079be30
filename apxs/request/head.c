/*
 * The head of a response: "status line\0name\0value\0..." from the daemon, checked and then put
 * into httpd's request.
 *
 * The daemon runs as another user and is not trusted. It checks each head before it sends it, and
 * httpd checks it again here: nothing of a head is used before all of it has been checked.
 */
#include "request/exchange.h"

static apr_status_t refuse_head(wsgid_exchange_t *x, const char *what, const char *which)
{
    return wsgid_exchange_fail(x, WSGID_E_BAD_RESPONSE, 0,
                               which ? apr_psprintf(x->r->pool, "%s: '%.80s'", what, which) : what);
}

/* "200 OK" to 200. 0: not a status line, or none whose first digit is in 'class'. */
static int status_of(const char *line, const char *class)
{
    if (!apr_isdigit(line[0]) || !apr_isdigit(line[1]) || !apr_isdigit(line[2])
        || (line[3] != ' ' && line[3] != '\0') || *ap_scan_http_field_content(line) != '\0'
        || !strchr(class, line[0])) {
        return 0;
    }
    return (line[0] - '0') * 100 + (line[1] - '0') * 10 + (line[2] - '0');
}

/* Headers about the connection are httpd's own. */
static int is_hop_by_hop(const char *name)
{
    static const char *const names[] = { "Connection",          "Keep-Alive", "Proxy-Authenticate",
                                         "Proxy-Authorization", "TE",         "Trailer",
                                         "Transfer-Encoding",   "Upgrade",    NULL };
    int i;

    for (i = 0; names[i]; i++) {
        if (!ap_cstr_casecmp(name, names[i])) {
            return 1;
        }
    }
    return 0;
}

/* declared: the Content-Length of an earlier header; -1: none. */
static apr_status_t check_header(wsgid_exchange_t *x, const char *name, const char *value,
                                 apr_off_t *declared)
{
    apr_off_t length;

    if (*ap_scan_http_token(name) != '\0') {
        return refuse_head(x, "a header name has a character that is not allowed", name);
    }
    if (*ap_scan_http_field_content(value) != '\0') {
        return refuse_head(x, "a header value has a control character", name);
    }
    if (is_hop_by_hop(name)) {
        return refuse_head(x, "only the server may send this header", name);
    }
    if (!ap_cstr_casecmp(name, "Content-Length")) {
        if (!ap_parse_strict_length(&length, value) || (*declared >= 0 && *declared != length)) {
            return refuse_head(x, "Content-Length is not a number, or two", value);
        }
        *declared = length;
    }
    return APR_SUCCESS;
}

apr_status_t wsgid_head_check(wsgid_exchange_t *x, const unsigned char *head, apr_size_t length,
                              const char *class)
{
    const unsigned char *cursor = head, *end = head + length;
    const char *line = wsgid_wire_next_string(&cursor, end, NULL);
    const char *name;
    int status = status_of(line, class);
    apr_off_t declared = -1;
    apr_status_t rv = APR_SUCCESS;

    if (!status) {
        return refuse_head(x, "the status line is not valid here", line);
    }
    if (status <= HTTP_SWITCHING_PROTOCOLS) {
        return refuse_head(x, "only the server may send status 100 or 101", NULL);
    }
    while (rv == APR_SUCCESS && (name = wsgid_wire_next_string(&cursor, end, NULL))) {
        rv = check_header(x, name, wsgid_wire_next_string(&cursor, end, NULL), &declared);
    }
    return rv;
}

static void set_header(request_rec *r, const char *name, const char *value, apr_off_t *declared)
{
    if (!ap_cstr_casecmp(name, "Content-Type")) {
        ap_set_content_type(r, apr_pstrdup(r->pool, value));
    }
    else if (!ap_cstr_casecmp(name, "Content-Length")) {
        if (ap_parse_strict_length(declared, value)) {
            ap_set_content_length(r, *declared);
        }
    }
    else {
        apr_table_add(r->headers_out, name, value);
    }
}

/* WSGIUserHeader: who the application's user is, for the access log and not for the client. */
static void take_user(wsgid_exchange_t *x)
{
    const char *name = x->route->user_header;
    const char *user = name ? apr_table_get(x->r->headers_out, name) : NULL;

    if (user) {
        x->r->user = apr_pstrdup(x->r->pool, user);
        apr_table_unset(x->r->headers_out, name);
    }
}

apr_off_t wsgid_head_set(wsgid_exchange_t *x, const unsigned char *head, apr_size_t length)
{
    request_rec *r = x->r;
    const unsigned char *cursor = head, *end = head + length;
    const char *line = wsgid_wire_next_string(&cursor, end, NULL);
    const char *name;
    apr_off_t declared = -1;

    r->status = status_of(line, WSGID_HEAD_FINAL);
    r->status_line = apr_pstrdup(r->pool, line);
    while ((name = wsgid_wire_next_string(&cursor, end, NULL))) {
        set_header(r, name, wsgid_wire_next_string(&cursor, end, NULL), &declared);
    }
    take_user(x);
    return declared;
}

void wsgid_head_clear(request_rec *r)
{
    apr_table_clear(r->headers_out);
    r->content_type = NULL;
    r->clength = 0;
    r->status = HTTP_OK;
    r->status_line = NULL;
}

/* httpd sends an interim response from the request's own fields, so these are set only for the
 * call. */
void wsgid_head_send_interim(wsgid_exchange_t *x, const unsigned char *head, apr_size_t length)
{
    request_rec *r = x->r;
    const unsigned char *cursor = head, *end = head + length;
    const char *line = wsgid_wire_next_string(&cursor, end, NULL);
    apr_table_t *headers = r->headers_out;
    const char *name;

    r->headers_out = apr_table_make(r->pool, 4);
    while ((name = wsgid_wire_next_string(&cursor, end, NULL))) {
        apr_table_add(r->headers_out, name, wsgid_wire_next_string(&cursor, end, NULL));
    }
    take_user(x);
    r->status = status_of(line, WSGID_HEAD_INTERIM);
    r->status_line = apr_pstrdup(r->pool, line);
    ap_send_interim_response(r, 1);
    r->headers_out = headers;
    r->status = HTTP_OK;
    r->status_line = NULL;
}
