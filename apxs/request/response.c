/*
 * The response: frames from the daemon, one function for each type, to the client's queue.
 *
 * A frame is handled as soon as it is complete. The bytes of RESPONSE and DATA are passed on as
 * they come. The rules of order (docs/design.md, "Wire protocol") are enforced here: a daemon is
 * not trusted, and a frame that breaks them ends the exchange with WSGID_E_PROTOCOL.
 *
 * Nothing here waits for the daemon, and only wsgid_response_truncate() waits for the client.
 */
#include "request/exchange.h"

/* Interim responses cost httpd memory until the request ends: so many bytes, each with its
 * overhead. More of them are left out: they are only hints. Also, an idle connection takes that
 * much without blocking. */
#define INTERIM_MAX      (64 * 1024)
#define INTERIM_OVERHEAD 512

typedef apr_status_t frame_handler(wsgid_exchange_t *x, const wsgid_wire_frame_t *frame);

/* ---- frames against the protocol */

static apr_status_t fail_protocol(wsgid_exchange_t *x, const char *detail)
{
    return wsgid_exchange_fail(x, WSGID_E_PROTOCOL, 0, detail);
}

static apr_status_t fail_frame(wsgid_exchange_t *x, uint8_t type, wsgid_wire_error_e error)
{
    return fail_protocol(x, apr_psprintf(x->r->pool, "%s in frame %s (0x%02x)",
                                         wsgid_wire_error_text(error), wsgid_wire_type_name(type),
                                         type));
}

static apr_status_t fail_order(wsgid_exchange_t *x, uint8_t type)
{
    const char *when = !x->response.has_started ? "before STARTED"
                       : x->response.has_begun  ? "after the response began"
                                                : "before the response began";

    return fail_protocol(x, apr_psprintf(x->r->pool, "frame %s (0x%02x) %s",
                                         wsgid_wire_type_name(type), type, when));
}

/* ---- the current frame */

static const unsigned char *payload(const wsgid_exchange_t *x)
{
    return wsgid_channel_bytes(x) + WSGID_WIRE_HEADER_SIZE;
}

/* APR_EAGAIN: less than so many bytes of the payload have come. */
static apr_status_t need(wsgid_exchange_t *x, apr_size_t length)
{
    return wsgid_channel_need(x, WSGID_WIRE_HEADER_SIZE + length);
}

static void skip_frame(wsgid_exchange_t *x, const wsgid_wire_frame_t *frame)
{
    wsgid_channel_skip(x, WSGID_WIRE_HEADER_SIZE + frame->length);
}

/* ---- body bytes */

/*
 * How long the body must be, or -1. A client finds the end of a body by its length alone, and takes
 * what follows for the next response. For HEAD, httpd sends no body, whatever comes.
 */
static apr_off_t expected_length(const request_rec *r, apr_off_t declared)
{
    if (r->header_only) {
        return -1;
    }
    return r->status == HTTP_NO_CONTENT || r->status == HTTP_NOT_MODIFIED ? 0 : declared;
}

/* Counts the body bytes of a frame, before any of them is used. */
static apr_status_t count_body(wsgid_exchange_t *x, const wsgid_wire_frame_t *frame,
                               apr_uint64_t length)
{
    apr_uint64_t left = (apr_uint64_t)x->response.declared - x->response.length;
    int is_longer = length > left, is_shorter = (frame->flags & WSGID_WIRE_END) && length < left;

    if (x->response.declared >= 0 && (is_longer || is_shorter)) {
        return fail_protocol(
            x,
            apr_psprintf(x->r->pool, "the body is %s than its head says: %" APR_OFF_T_FMT " bytes",
                         is_longer ? "longer" : "shorter", x->response.declared));
    }
    x->response.length += length;
    return APR_SUCCESS;
}

static apr_status_t begin_body(wsgid_exchange_t *x, const wsgid_wire_frame_t *frame,
                               apr_uint32_t length)
{
    x->response.in_frame = 1;
    x->response.frame_left = length;
    x->response.frame_ends = frame->flags & WSGID_WIRE_END;
    return count_body(x, frame, length);
}

/* Moves body bytes of the current frame from the receive buffer to the client's queue. */
static void take_body(wsgid_exchange_t *x)
{
    apr_size_t available = wsgid_channel_available(x);
    apr_size_t length = available < x->response.frame_left ? available : x->response.frame_left;

    if (length > 0) {
        wsgid_client_queue_bytes(x, (const char *)wsgid_channel_bytes(x), length);
        wsgid_channel_skip(x, length);
        x->response.frame_left -= (apr_uint32_t)length;
    }
}

/* APR_EAGAIN: more body bytes of the frame are to come. */
static apr_status_t consume_body(wsgid_exchange_t *x)
{
    take_body(x);
    if (x->response.frame_left > 0) {
        return APR_EAGAIN;
    }
    x->response.in_frame = 0;
    if (x->response.frame_ends) {
        x->response.has_ended = 1;
    }
    return APR_SUCCESS;
}

/* A large body bypasses the receive buffer, so that its bytes are not copied. */
static apr_status_t receive_body(wsgid_exchange_t *x, int wait)
{
    apr_bucket *bucket;
    apr_status_t rv = wsgid_channel_receive_body(x, x->response.frame_left, wait, &bucket);

    if (rv == APR_SUCCESS && bucket) { /* else the bytes are in the receive buffer */
        x->response.frame_left -= (apr_uint32_t)bucket->length;
        wsgid_client_queue(x, bucket);
    }
    return rv;
}

/* ---- RESPONSE */

/* Finds the head in a RESPONSE frame. APR_EAGAIN: not all of it has come. */
static apr_status_t find_head(wsgid_exchange_t *x, const wsgid_wire_frame_t *frame,
                              uint32_t *length)
{
    apr_status_t rv = need(x, WSGID_WIRE_RESPONSE_PREFIX);
    wsgid_wire_error_e error;

    if (rv != APR_SUCCESS) {
        return rv;
    }
    error = wsgid_wire_get_response(payload(x),
                                    (uint32_t)(wsgid_channel_available(x) - WSGID_WIRE_HEADER_SIZE),
                                    frame->length, length);
    if (error != WSGID_WIRE_OK) {
        return fail_frame(x, frame->type, error);
    }
    rv = need(x, WSGID_WIRE_RESPONSE_PREFIX + *length);
    if (rv != APR_SUCCESS) {
        return rv;
    }
    error = wsgid_wire_check_head(payload(x) + WSGID_WIRE_RESPONSE_PREFIX, *length);
    return error == WSGID_WIRE_OK ? APR_SUCCESS : fail_frame(x, frame->type, error);
}

/* What an unread upload means for a response that begins now. */
static void settle_upload(wsgid_exchange_t *x)
{
    /* Otherwise httpd would not send the response in chunks, and only chunks show the client where
     * a response is cut off. */
    wsgid_body_forgo_continue(x);
    if (!x->upload.has_credit) { /* an application that has read may go on reading */
        wsgid_client_announce_close(x);
    }
}

/* For apr_table_do. */
static int add_header(void *table, const char *name, const char *value)
{
    apr_table_add(table, name, value);
    return 1;
}

/* httpd's own response replaces the application's. These headers of the application still reach the
 * client. */
static apr_status_t replace(wsgid_exchange_t *x, apr_status_t why, int status, const char *detail)
{
    static const char *const kept[] = { "Set-Cookie", "WWW-Authenticate", "Retry-After", "Allow",
                                        NULL };
    request_rec *r = x->r;
    int i;

    for (i = 0; kept[i]; i++) {
        apr_table_do(add_header, r->err_headers_out, r->headers_out, kept[i], NULL);
    }
    return wsgid_exchange_fail(x, why, status, detail);
}

/* The file that X-Sendfile names replaces the body. A body that has not come completely is not
 * waited for; then the connection cannot be used again. */
static apr_status_t send_named_file(wsgid_exchange_t *x)
{
    apr_status_t rv = wsgid_sendfile_append(x);

    if (rv != APR_SUCCESS) {
        return rv;
    }
    x->response.is_cut = !x->response.frame_ends
                         || wsgid_channel_available(x) < x->response.frame_left;
    x->response.is_file = 1;
    wsgid_channel_skip(x, x->response.is_cut ? wsgid_channel_available(x) : x->response.frame_left);
    x->response.frame_left = 0;
    x->response.in_frame = 0;
    x->response.has_ended = 1;
    return APR_SUCCESS;
}

/* The head has been checked and is used now. */
static apr_status_t begin_response(wsgid_exchange_t *x, const wsgid_wire_frame_t *frame,
                                   uint32_t head)
{
    apr_off_t declared = wsgid_head_set(x, payload(x) + WSGID_WIRE_RESPONSE_PREFIX, head);
    const char *location = apr_table_get(x->r->headers_out, "Location");
    apr_status_t rv;

    x->response.declared = expected_length(x->r, declared);
    x->response.length = 0;
    x->response.has_begun = 1;
    settle_upload(x);
    if (x->route->error_override && ap_is_HTTP_ERROR(x->r->status)) {
        return replace(x, WSGID_E_OVERRIDDEN, x->r->status, NULL);
    }
    if (x->r->status == HTTP_OK && location && location[0] == '/') {
        return replace(x, WSGID_E_REDIRECTED, OK, location);
    }
    rv = begin_body(x, frame, frame->length - WSGID_WIRE_RESPONSE_PREFIX - head);
    wsgid_channel_skip(x, WSGID_WIRE_HEADER_SIZE + WSGID_WIRE_RESPONSE_PREFIX + head);
    return rv == APR_SUCCESS && wsgid_sendfile_is_wanted(x) ? send_named_file(x) : rv;
}

/* The answer to a question is its head: the rest of httpd's request stays as it is. */
static apr_status_t end_answer(wsgid_exchange_t *x, const wsgid_wire_frame_t *frame, uint32_t head)
{
    if (!(frame->flags & WSGID_WIRE_END) || frame->length != WSGID_WIRE_RESPONSE_PREFIX + head) {
        return fail_protocol(x, "the answer to a question has a body");
    }
    (void)wsgid_head_set(x, payload(x) + WSGID_WIRE_RESPONSE_PREFIX, head);
    skip_frame(x, frame);
    x->response.has_ended = 1;
    return APR_SUCCESS;
}

static apr_status_t on_response(wsgid_exchange_t *x, const wsgid_wire_frame_t *frame)
{
    uint32_t head;
    apr_status_t rv = x->response.has_begun ? fail_order(x, frame->type)
                                            : find_head(x, frame, &head);

    if (rv == APR_SUCCESS) {
        rv = wsgid_head_check(x, payload(x) + WSGID_WIRE_RESPONSE_PREFIX, head, WSGID_HEAD_FINAL);
    }
    if (rv != APR_SUCCESS) {
        return rv;
    }
    return x->question ? end_answer(x, frame, head) : begin_response(x, frame, head);
}

/* ---- the other frames */

static apr_status_t on_data(wsgid_exchange_t *x, const wsgid_wire_frame_t *frame)
{
    if (!x->response.has_begun) {
        return fail_order(x, frame->type);
    }
    wsgid_channel_skip(x, WSGID_WIRE_HEADER_SIZE);
    return begin_body(x, frame, frame->length);
}

/* A file ends the response, so a request has one descriptor at most. */
static apr_status_t on_file(wsgid_exchange_t *x, const wsgid_wire_frame_t *frame)
{
    apr_status_t rv = need(x, frame->length);
    apr_uint64_t length;

    if (!x->response.has_begun || !(frame->flags & WSGID_WIRE_END)) {
        return fail_order(x, frame->type);
    }
    if (rv != APR_SUCCESS) {
        return rv;
    }
    length = wsgid_wire_get_u64(payload(x) + 8);
    rv = count_body(x, frame, length);
    x->response.is_file = x->response.length == length;
    if (rv == APR_SUCCESS && !(x->response.is_file && wsgid_file_is_unchanged(x))) {
        rv = wsgid_file_append(x, wsgid_wire_get_u64(payload(x)), length);
    }
    if (rv == APR_SUCCESS) {
        skip_frame(x, frame);
        x->response.has_ended = 1;
    }
    return rv;
}

/* "103 Early Hints" and its headers are sent at once. */
static apr_status_t on_interim(wsgid_exchange_t *x, const wsgid_wire_frame_t *frame)
{
    apr_status_t rv = need(x, frame->length);

    if (x->response.has_begun || x->question) {
        return fail_order(x, frame->type);
    }
    if (rv == APR_SUCCESS && wsgid_wire_check_head(payload(x), frame->length) != WSGID_WIRE_OK) {
        return fail_frame(x, frame->type, WSGID_WIRE_BAD_PAYLOAD);
    }
    if (rv == APR_SUCCESS) {
        rv = wsgid_head_check(x, payload(x), frame->length, WSGID_HEAD_INTERIM);
    }
    if (rv == APR_SUCCESS) {
        x->response.interim += INTERIM_OVERHEAD + frame->length;
        if (x->response.interim <= INTERIM_MAX) {
            wsgid_head_send_interim(x, payload(x), frame->length);
        }
        skip_frame(x, frame);
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
        wsgid_arrival_note_wait(x->group, x->response.waited);
        skip_frame(x, frame);
    }
    return rv;
}

static apr_status_t on_credit(wsgid_exchange_t *x, const wsgid_wire_frame_t *frame)
{
    apr_status_t rv = need(x, frame->length);
    uint32_t bytes;

    if (rv != APR_SUCCESS) {
        return rv;
    }
    bytes = wsgid_wire_get_u32(payload(x));
    if (bytes == 0) {
        return fail_frame(x, frame->type, WSGID_WIRE_BAD_PAYLOAD);
    }
    wsgid_body_add_credit(x, bytes);
    skip_frame(x, frame);
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
        return fail_frame(x, frame->type, WSGID_WIRE_BAD_PAYLOAD);
    }
    /* httpd evaluates the arguments only if it logs the line */
    ap_log_rerror(APLOG_MARK, level, 0, x->r, "%s%.*s", wsgid_exchange_log_prefix(x),
                  (int)(frame->length - 1), payload(x) + 1);
    skip_frame(x, frame);
    return APR_SUCCESS;
}

static apr_status_t on_retry(wsgid_exchange_t *x, const wsgid_wire_frame_t *frame)
{
    return x->response.has_begun || x->upload.has_credit ? fail_order(x, frame->type)
                                                         : WSGID_E_NOT_STARTED;
}

/* The connection stays usable: nothing follows. */
static apr_status_t on_overloaded(wsgid_exchange_t *x, const wsgid_wire_frame_t *frame)
{
    if (x->response.has_begun || x->upload.has_credit) {
        return fail_order(x, frame->type);
    }
    skip_frame(x, frame);
    return wsgid_channel_available(x) > 0 ? fail_protocol(x, "bytes after OVERLOADED")
                                          : WSGID_E_OVERLOADED;
}

static apr_status_t on_abort(wsgid_exchange_t *x, const wsgid_wire_frame_t *frame)
{
    apr_status_t rv = need(x, frame->length);

    if (rv != APR_SUCCESS) {
        return rv;
    }
    return wsgid_exchange_fail(x, WSGID_E_ABORTED, wsgid_wire_get_u16(payload(x)),
                               apr_pstrmemdup(x->r->pool, (const char *)payload(x) + 2,
                                              frame->length - 2));
}

/* ---- all frames */

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
    case WSGID_WIRE_OVERLOADED: return on_overloaded;
    case WSGID_WIRE_ABORT: return on_abort;
    case WSGID_WIRE_STARTED: return on_started;
    default: return NULL;
    }
}

/* Handles the next frame. APR_EAGAIN: not all of it has come. */
static apr_status_t consume_frame(wsgid_exchange_t *x)
{
    wsgid_wire_frame_t frame;
    wsgid_wire_error_e error;
    frame_handler *handle;
    apr_status_t rv = need(x, 0);

    if (rv != APR_SUCCESS) {
        return rv;
    }
    error = wsgid_wire_get_header(&frame, wsgid_channel_bytes(x), WSGID_WIRE_FROM_DAEMON);
    if (error != WSGID_WIRE_OK) {
        return fail_frame(x, frame.type, error);
    }
    x->response.heard = 1;
    /* STARTED is the first frame, and comes once */
    if ((frame.type == WSGID_WIRE_STARTED) == x->response.has_started) {
        return fail_order(x, frame.type);
    }
    handle = handler_of(frame.type);
    return handle ? handle(x, &frame) : fail_frame(x, frame.type, WSGID_WIRE_BAD_TYPE);
}

void wsgid_response_begin(wsgid_exchange_t *x)
{
    x->response.heard = 0;
    x->response.has_started = 0;
    x->response.pid = x->response.waited = 0;
}

apr_status_t wsgid_response_receive(wsgid_exchange_t *x, int wait)
{
    return x->response.frame_left > 0 ? receive_body(x, wait) : wsgid_channel_receive(x, wait);
}

apr_status_t wsgid_response_consume(wsgid_exchange_t *x)
{
    apr_status_t rv = APR_SUCCESS;

    while (rv == APR_SUCCESS && !x->response.has_ended) {
        rv = x->response.in_frame ? consume_body(x) : consume_frame(x);
    }
    if (x->response.has_ended && wsgid_channel_available(x) > 0) {
        return fail_protocol(x, "bytes after the end of the response");
    }
    return rv;
}

void wsgid_response_forget(wsgid_exchange_t *x)
{
    wsgid_client_drop_queue(x);
    wsgid_head_clear(x->r);
}

void wsgid_response_truncate(wsgid_exchange_t *x)
{
    conn_rec *c = x->r->connection;

    x->r->no_cache = 1;
    if (x->r->main) {
        x->r->main->no_cache = 1;
    }
    c->keepalive = AP_CONN_CLOSE;
    wsgid_client_queue(x,
                       ap_bucket_error_create(HTTP_BAD_GATEWAY, NULL, x->r->pool, c->bucket_alloc));
    x->response.has_ended = x->response.is_cut = 1; /* nothing more comes */
    /* the response has failed already: if the client has gone as well, nothing changes */
    (void)wsgid_client_finish(x);
}
