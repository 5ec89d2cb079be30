/*
 * The answer: frames from the daemon to httpd's output filters.
 *
 * The daemon runs as another user and is not trusted: status line, header names and values are
 * checked again here before they come near httpd's tables. Bytes are passed on as they come; the
 * caller flushes when it is about to wait.
 */
#include "request/exchange.h"

static apr_status_t bad_response(wsgid_exchange_t *x, const char *what, const char *which)
{
    x->failure.detail = which ? apr_psprintf(x->r->pool, "%s: '%.80s'", what, which) : what;
    return WSGID_E_BAD_RESPONSE;
}

static apr_status_t violation(wsgid_exchange_t *x, uint8_t type, wsgid_wire_error_e error)
{
    x->failure.detail = apr_psprintf(x->r->pool, "%s in frame %s (0x%02x)",
                                     wsgid_wire_error_text(error), wsgid_wire_type_name(type),
                                     type);
    return WSGID_E_PROTOCOL;
}

static apr_status_t out_of_order(wsgid_exchange_t *x, uint8_t type)
{
    x->failure.detail = apr_psprintf(x->r->pool, "frame %s (0x%02x) %s", wsgid_wire_type_name(type),
                                     type,
                                     !x->response.has_started ? "before STARTED"
                                     : x->response.has_begun  ? "after the response began"
                                                              : "before the response began");
    return WSGID_E_PROTOCOL;
}

/* ---- status line and headers */

/* Classes of statuses, by their first digits. */
#define FINAL_CLASS   "23456789"
#define INTERIM_CLASS "1"

/* "200 OK" to 200; 0 if it is no status line of that class. */
static int status_of(const char *line, const char *class)
{
    if (!apr_isdigit(line[0]) || !apr_isdigit(line[1]) || !apr_isdigit(line[2])
        || (line[3] != ' ' && line[3] != '\0') || *ap_scan_http_field_content(line) != '\0'
        || !strchr(class, line[0])) {
        return 0;
    }
    return (line[0] - '0') * 100 + (line[1] - '0') * 10 + (line[2] - '0');
}

/* Headers about the connection are httpd's own business. */
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

static apr_status_t check_header(wsgid_exchange_t *x, const char *name, const char *value,
                                 int *lengths)
{
    apr_off_t length;

    if (*ap_scan_http_token(name) != '\0') {
        return bad_response(x, "header name is not a token", name);
    }
    if (*ap_scan_http_field_content(value) != '\0') {
        return bad_response(x, "control character in the value of header", name);
    }
    if (is_hop_by_hop(name)) {
        return bad_response(x, "header is the server's alone to send", name);
    }
    if (!ap_cstr_casecmp(name, "Content-Length")
        && (!ap_parse_strict_length(&length, value) || ++*lengths > 1)) {
        return bad_response(x, "Content-Length is not one length", value);
    }
    return APR_SUCCESS;
}

/* Nothing of a response is used before all of its head has been checked. */
static apr_status_t check_head(wsgid_exchange_t *x, const unsigned char *head, uint32_t length,
                               const char *class)
{
    const unsigned char *cursor = head, *end = head + length;
    const char *line = wsgid_wire_next_string(&cursor, end, NULL);
    const char *name;
    int lengths = 0;
    apr_status_t rv = APR_SUCCESS;

    if (!status_of(line, class)) {
        return bad_response(x, "not a status line that may stand here", line);
    }
    while (rv == APR_SUCCESS && (name = wsgid_wire_next_string(&cursor, end, NULL))) {
        rv = check_header(x, name, wsgid_wire_next_string(&cursor, end, NULL), &lengths);
    }
    return rv;
}

static void set_header(request_rec *r, const char *name, const char *value)
{
    apr_off_t length;

    if (!ap_cstr_casecmp(name, "Content-Type")) {
        ap_set_content_type(r, apr_pstrdup(r->pool, value));
    }
    else if (!ap_cstr_casecmp(name, "Content-Length")) {
        if (ap_parse_strict_length(&length, value)) {
            ap_set_content_length(r, length);
        }
    }
    else {
        apr_table_add(r->headers_out, name, value);
    }
}

/* For apr_table_do. */
static int add_header(void *table, const char *name, const char *value)
{
    apr_table_add(table, name, value);
    return 1;
}

/* For the checked head of a final response. */
static void set_head(request_rec *r, const unsigned char *head, uint32_t length)
{
    const unsigned char *cursor = head, *end = head + length;
    const char *line = wsgid_wire_next_string(&cursor, end, NULL);
    const char *name;

    r->status = status_of(line, FINAL_CLASS);
    r->status_line = apr_pstrdup(r->pool, line);
    while ((name = wsgid_wire_next_string(&cursor, end, NULL))) {
        set_header(r, name, wsgid_wire_next_string(&cursor, end, NULL));
    }
}

/* httpd sends a 1xx from the request's own fields: they are lent to it for the moment. */
static void send_interim(request_rec *r, const unsigned char *head, uint32_t length)
{
    const unsigned char *cursor = head, *end = head + length;
    const char *line = wsgid_wire_next_string(&cursor, end, NULL);
    apr_table_t *headers = r->headers_out;
    const char *name;

    r->headers_out = apr_table_make(r->pool, 4);
    while ((name = wsgid_wire_next_string(&cursor, end, NULL))) {
        apr_table_add(r->headers_out, name, wsgid_wire_next_string(&cursor, end, NULL));
    }
    r->status = status_of(line, INTERIM_CLASS);
    r->status_line = apr_pstrdup(r->pool, line);
    ap_send_interim_response(r, 1);
    r->headers_out = headers;
    r->status = HTTP_OK;
    r->status_line = NULL;
}

/* ---- body */

static apr_size_t buffered(const wsgid_exchange_t *x)
{
    return x->received.end - x->received.start;
}

static void end_response(wsgid_exchange_t *x)
{
    APR_BRIGADE_INSERT_TAIL(x->client.queue, apr_bucket_eos_create(x->r->connection->bucket_alloc));
    x->response.has_ended = 1;
}

/* What follows the bytes of a bucket of take_body: many small frames become one bucket, where each
 * would cost all filters as much. */
static int join(wsgid_exchange_t *x, const char *bytes, apr_size_t length)
{
    apr_bucket *last = APR_BRIGADE_LAST(x->client.queue);

    if (APR_BRIGADE_EMPTY(x->client.queue) || !APR_BUCKET_IS_TRANSIENT(last)) {
        return 0;
    }
    memmove((char *)last->data + last->start + last->length, bytes, length);
    last->length += length;
    return 1;
}

/* Moves body bytes of the current frame from x->received.bytes to x->client.queue. They stay in
 * x->received.bytes: x->client.queue must be passed before it is filled again. */
static void take_body(wsgid_exchange_t *x)
{
    apr_size_t length = buffered(x) < x->response.frame_left ? buffered(x) : x->response.frame_left;
    const char *bytes = (const char *)x->received.bytes + x->received.start;

    if (length > 0) {
        if (!join(x, bytes, length)) {
            APR_BRIGADE_INSERT_TAIL(x->client.queue,
                                    apr_bucket_transient_create(bytes, length,
                                                                x->r->connection->bucket_alloc));
        }
        x->received.start += length;
        x->response.frame_left -= (apr_uint32_t)length;
        x->client.queued += length;
    }
}

/* APR_EAGAIN until the frame's last body byte has come. */
static apr_status_t consume_body(wsgid_exchange_t *x)
{
    take_body(x);
    if (x->response.frame_left > 0) {
        return APR_EAGAIN;
    }
    x->response.in_frame = 0;
    if (x->response.frame_ends) {
        end_response(x);
    }
    return APR_SUCCESS;
}

static void begin_body(wsgid_exchange_t *x, const wsgid_wire_frame_t *frame, apr_uint32_t length)
{
    x->response.in_frame = 1;
    x->response.frame_left = length;
    x->response.frame_ends = frame->flags & WSGID_WIRE_END;
}

void wsgid_response_forget(wsgid_exchange_t *x)
{
    request_rec *r = x->r;

    apr_brigade_cleanup(x->client.queue);
    x->client.queued = 0;
    apr_table_clear(r->headers_out);
    r->content_type = NULL;
    r->clength = 0;
    r->status = HTTP_OK;
    r->status_line = NULL;
}

void wsgid_response_truncate(wsgid_exchange_t *x)
{
    conn_rec *c = x->r->connection;

    x->r->no_cache = 1;
    if (x->r->main) {
        x->r->main->no_cache = 1;
    }
    c->keepalive = AP_CONN_CLOSE;
    APR_BRIGADE_INSERT_TAIL(x->client.queue, ap_bucket_error_create(HTTP_BAD_GATEWAY, NULL,
                                                                    x->r->pool, c->bucket_alloc));
    APR_BRIGADE_INSERT_TAIL(x->client.queue, apr_bucket_eos_create(c->bucket_alloc));
    /* the response has failed already; a client that has gone as well changes nothing */
    (void)wsgid_client_finish(x);
}

/* ---- frames. Each handler gets its whole payload, RESPONSE and DATA what the buffer has of it. */

typedef apr_status_t frame_handler(wsgid_exchange_t *x, const wsgid_wire_frame_t *frame);

static const unsigned char *payload(const wsgid_exchange_t *x)
{
    return x->received.bytes + x->received.start + WSGID_WIRE_HEADER_SIZE;
}

static void step_over(wsgid_exchange_t *x, const wsgid_wire_frame_t *frame)
{
    x->received.start += WSGID_WIRE_HEADER_SIZE + frame->length;
}

/* APR_EAGAIN until that much of the payload is in the buffer; the next receive makes room for it.
 */
static apr_status_t need(wsgid_exchange_t *x, apr_size_t length)
{
    x->received.needed = WSGID_WIRE_HEADER_SIZE + length;
    return buffered(x) >= x->received.needed ? APR_SUCCESS : APR_EAGAIN;
}

/* httpd's ErrorDocument stands in for the body. What the client must hear of the application all
 * the same is kept. */
static apr_status_t override(wsgid_exchange_t *x)
{
    static const char *const kept[] = { "Set-Cookie", "WWW-Authenticate", "Retry-After", "Allow",
                                        NULL };
    request_rec *r = x->r;
    int i;

    for (i = 0; kept[i]; i++) {
        apr_table_do(add_header, r->err_headers_out, r->headers_out, kept[i], NULL);
    }
    x->failure.http_status = r->status;
    return WSGID_E_OVERRIDDEN;
}

/* The file takes the place of the body: what the daemon has still to say of that is not waited for.
 */
static apr_status_t send_named_file(wsgid_exchange_t *x)
{
    apr_status_t rv = wsgid_sendfile_append(x);

    if (rv != APR_SUCCESS) {
        return rv;
    }
    if (x->response.frame_ends && buffered(x) >= x->response.frame_left) {
        x->received.start += x->response.frame_left;
    }
    else {
        x->upload.is_sent = 0; /* the connection cannot be used again */
        x->received.start = x->received.end;
    }
    x->response.frame_left = 0;
    x->response.in_frame = 0;
    end_response(x);
    return APR_SUCCESS;
}

/* What the client's upload means for a response that begins now. */
static void settle_upload(wsgid_exchange_t *x)
{
    /* httpd would answer without chunks, which alone show where a response breaks off */
    if (x->r->expecting_100) {
        x->r->expecting_100 = 0;
        x->upload.uninvited = 1;
    }
    if (!x->upload.granted) { /* who reads may go on reading while it answers */
        wsgid_client_announce_close(x);
    }
}

static apr_status_t on_response(wsgid_exchange_t *x, const wsgid_wire_frame_t *frame)
{
    uint32_t head;
    apr_status_t rv = need(x, WSGID_WIRE_RESPONSE_PREFIX);
    wsgid_wire_error_e error;

    if (x->response.has_begun) {
        return out_of_order(x, frame->type);
    }
    if (rv != APR_SUCCESS) {
        return rv;
    }
    error = wsgid_wire_get_response(payload(x), (uint32_t)(buffered(x) - WSGID_WIRE_HEADER_SIZE),
                                    frame->length, &head);
    if (error != WSGID_WIRE_OK) {
        return violation(x, frame->type, error);
    }
    rv = need(x, WSGID_WIRE_RESPONSE_PREFIX + head);
    if (rv != APR_SUCCESS) {
        return rv;
    }
    error = wsgid_wire_check_head(payload(x) + WSGID_WIRE_RESPONSE_PREFIX, head);
    if (error != WSGID_WIRE_OK) {
        return violation(x, frame->type, error);
    }
    rv = check_head(x, payload(x) + WSGID_WIRE_RESPONSE_PREFIX, head, FINAL_CLASS);
    if (rv != APR_SUCCESS) {
        return rv;
    }
    set_head(x->r, payload(x) + WSGID_WIRE_RESPONSE_PREFIX, head);
    x->response.has_begun = 1;
    settle_upload(x);
    if (x->route->error_override && ap_is_HTTP_ERROR(x->r->status)) {
        return override(x);
    }
    begin_body(x, frame, frame->length - WSGID_WIRE_RESPONSE_PREFIX - head);
    x->received.start += WSGID_WIRE_HEADER_SIZE + WSGID_WIRE_RESPONSE_PREFIX + head;
    return wsgid_sendfile_is_wanted(x) ? send_named_file(x) : APR_SUCCESS;
}

static apr_status_t on_data(wsgid_exchange_t *x, const wsgid_wire_frame_t *frame)
{
    if (!x->response.has_begun) {
        return out_of_order(x, frame->type);
    }
    begin_body(x, frame, frame->length);
    x->received.start += WSGID_WIRE_HEADER_SIZE;
    return APR_SUCCESS;
}

static apr_status_t on_file(wsgid_exchange_t *x, const wsgid_wire_frame_t *frame)
{
    int ends = frame->flags & WSGID_WIRE_END;
    apr_status_t rv = need(x, frame->length);

    if (!x->response.has_begun) {
        return out_of_order(x, frame->type);
    }
    if (rv == APR_SUCCESS && !(ends && wsgid_file_is_unchanged(x))) {
        rv = wsgid_file_append(x, wsgid_wire_get_u64(payload(x)),
                               wsgid_wire_get_u64(payload(x) + 8));
    }
    if (rv == APR_SUCCESS) {
        step_over(x, frame);
        begin_body(x, frame, 0);
    }
    return rv;
}

/* "103 Early Hints" and its headers, sent at once. */
static apr_status_t on_interim(wsgid_exchange_t *x, const wsgid_wire_frame_t *frame)
{
    apr_status_t rv = need(x, frame->length);

    if (x->response.has_begun) {
        return out_of_order(x, frame->type);
    }
    if (rv == APR_SUCCESS && wsgid_wire_check_head(payload(x), frame->length) != WSGID_WIRE_OK) {
        return violation(x, frame->type, WSGID_WIRE_BAD_PAYLOAD);
    }
    if (rv == APR_SUCCESS) {
        rv = check_head(x, payload(x), frame->length, INTERIM_CLASS);
    }
    if (rv == APR_SUCCESS
        && status_of((const char *)payload(x), INTERIM_CLASS) <= HTTP_SWITCHING_PROTOCOLS) {
        rv = bad_response(x, "100 and 101 are the server's alone to send", NULL);
    }
    if (rv == APR_SUCCESS) {
        send_interim(x->r, payload(x), frame->length);
        step_over(x, frame);
    }
    return rv;
}

static apr_status_t on_started(wsgid_exchange_t *x, const wsgid_wire_frame_t *frame)
{
    apr_status_t rv = need(x, frame->length);

    if (rv == APR_SUCCESS) {
        x->response.pid = wsgid_wire_get_u32(payload(x));
        x->response.waited = wsgid_wire_get_u32(payload(x) + 4);
        x->response.has_started = 1;
        step_over(x, frame);
    }
    return rv;
}

static apr_status_t on_credit(wsgid_exchange_t *x, const wsgid_wire_frame_t *frame)
{
    apr_status_t rv = need(x, frame->length);
    uint32_t more;

    if (rv != APR_SUCCESS) {
        return rv;
    }
    more = wsgid_wire_get_u32(payload(x));
    if (more == 0) {
        return violation(x, frame->type, WSGID_WIRE_BAD_PAYLOAD);
    }
    x->upload.credit += more;
    x->upload.granted = 1;
    step_over(x, frame);
    return APR_SUCCESS;
}

static apr_status_t on_log(wsgid_exchange_t *x, const wsgid_wire_frame_t *frame)
{
    apr_status_t rv = need(x, frame->length);
    int level;

    if (rv != APR_SUCCESS) {
        return rv;
    }
    level = payload(x)[0];
    if (level > APLOG_TRACE8) {
        return violation(x, frame->type, WSGID_WIRE_BAD_PAYLOAD);
    }
    if (!x->log_mark) {
        x->log_mark = wsgid_logs_mark(x->r);
    }
    ap_log_rerror(APLOG_MARK, level, 0, x->r, "%s%.*s", x->log_mark, (int)(frame->length - 1),
                  payload(x) + 1);
    step_over(x, frame);
    return APR_SUCCESS;
}

static apr_status_t on_retry(wsgid_exchange_t *x, const wsgid_wire_frame_t *frame)
{
    return x->response.has_begun || x->upload.granted ? out_of_order(x, frame->type)
                                                      : WSGID_E_NOT_STARTED;
}

static apr_status_t on_abort(wsgid_exchange_t *x, const wsgid_wire_frame_t *frame)
{
    apr_status_t rv = need(x, frame->length);

    if (rv != APR_SUCCESS) {
        return rv;
    }
    x->failure.http_status = wsgid_wire_get_u16(payload(x));
    x->failure.detail = apr_pstrmemdup(x->r->pool, (const char *)payload(x) + 2, frame->length - 2);
    return WSGID_E_ABORTED;
}

static frame_handler *handler_of(uint8_t type)
{
    switch (type) {
    case WSGID_WIRE_RESPONSE: return on_response;
    case WSGID_WIRE_DATA: return on_data;
    case WSGID_WIRE_FILE: return on_file;
    case WSGID_WIRE_INTERIM: return on_interim;
    case WSGID_WIRE_CREDIT: return on_credit;
    case WSGID_WIRE_LOG: return on_log;
    case WSGID_WIRE_RETRY: return on_retry;
    case WSGID_WIRE_ABORT: return on_abort;
    case WSGID_WIRE_STARTED: return on_started;
    default: return NULL;
    }
}

/* The next frame. APR_EAGAIN: it is not all there. */
static apr_status_t consume_frame(wsgid_exchange_t *x)
{
    wsgid_wire_frame_t frame;
    wsgid_wire_error_e error;
    frame_handler *handle;

    if (buffered(x) < WSGID_WIRE_HEADER_SIZE) {
        x->received.needed = WSGID_WIRE_HEADER_SIZE;
        return APR_EAGAIN;
    }
    error = wsgid_wire_get_header(&frame, x->received.bytes + x->received.start,
                                  WSGID_WIRE_FROM_DAEMON);
    if (error != WSGID_WIRE_OK) {
        return violation(x, frame.type, error);
    }
    x->response.heard = 1;
    if ((frame.type == WSGID_WIRE_STARTED)
        == x->response.has_started) { /* it is the first, and only that */
        return out_of_order(x, frame.type);
    }
    handle = handler_of(frame.type);
    return handle ? handle(x, &frame) : violation(x, frame.type, WSGID_WIRE_BAD_TYPE);
}

apr_status_t wsgid_response_consume(wsgid_exchange_t *x)
{
    apr_status_t rv = APR_SUCCESS;

    while (rv == APR_SUCCESS && !x->response.has_ended) {
        rv = x->response.in_frame ? consume_body(x) : consume_frame(x);
    }
    if (x->response.has_ended && buffered(x) > 0) {
        x->failure.detail = "bytes after the end of the response";
        return WSGID_E_PROTOCOL;
    }
    return rv;
}
