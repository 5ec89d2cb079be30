/*
 * The request's body: from httpd's input filters to the daemon.
 *
 * Bytes that are there when the request is sent travel in the REQUEST frame. The rest goes in BODY
 * frames, and only against credit: an application that does not read its input stops the client,
 * not a thread. A small body of known length is read completely before the request is sent, so a
 * slow client occupies a thread of httpd and none of the daemon's.
 */
#include "request/exchange.h"

/* Up to this size, the unread rest of a body is read and thrown away: that is quick. Beyond it, the
 * connection ends instead. */
#define LONG_BODY (256 * 1024)
/* Body bytes in a BODY frame: well below the socket's buffer, so most sends take a whole frame. */
#define FRAME_ROOM (64 * 1024)

/* ---- from the client */

/* Content-Length, or -1 for a chunked body or none. httpd has checked the header's form. */
static apr_off_t declared_length(request_rec *r)
{
    const char *text = apr_table_get(r->headers_in, "Content-Length");
    apr_off_t length;

    return text && ap_parse_strict_length(&length, text) ? length : -1;
}

/* The input filters' error becomes the response: 413, 408, or one that they have sent. */
static apr_status_t refuse_body(wsgid_exchange_t *x, apr_status_t rv)
{
    if (x->r->connection->aborted || APR_STATUS_IS_ECONNRESET(rv) || APR_STATUS_IS_ECONNABORTED(rv)
        || APR_STATUS_IS_EOF(rv) || APR_STATUS_IS_INCOMPLETE(rv)) {
        return WSGID_E_CLIENT_GONE;
    }
    return wsgid_exchange_fail(x, WSGID_E_REQUEST_BODY,
                               ap_map_http_request_error(rv, HTTP_BAD_REQUEST),
                               apr_psprintf(x->r->pool, "%pm", &rv));
}

/* Copies as much of a bucket as there is room for. The rest of it becomes the next bucket. */
static apr_status_t copy_bucket(wsgid_exchange_t *x, apr_bucket *bucket, unsigned char *to,
                                apr_size_t room, apr_size_t *taken)
{
    const char *bytes;
    apr_size_t length;
    apr_status_t rv = apr_bucket_read(bucket, &bytes, &length, APR_BLOCK_READ);

    if (rv == APR_SUCCESS && length > room - *taken) {
        length = room - *taken;
        rv = apr_bucket_split(bucket, length);
    }
    if (rv == APR_SUCCESS) {
        memcpy(to + *taken, bytes, length);
        *taken += length;
        x->upload.taken += (apr_off_t)length;
    }
    return rv;
}

/*
 * Copies what the brigade has to 'to', up to 'room' bytes, and notes the end of the body. The
 * brigade may have more than was asked for, because a filter that changes the body (for example its
 * character set) may make it longer.
 */
static apr_status_t drain_brigade(wsgid_exchange_t *x, unsigned char *to, apr_size_t room,
                                  apr_size_t *taken)
{
    apr_status_t rv = APR_SUCCESS;

    while (!APR_BRIGADE_EMPTY(x->upload.brigade)) {
        apr_bucket *bucket = APR_BRIGADE_FIRST(x->upload.brigade);

        if (APR_BUCKET_IS_EOS(bucket)) {
            x->upload.is_read = 1;
            apr_brigade_cleanup(x->upload.brigade);
            break;
        }
        if (!APR_BUCKET_IS_METADATA(bucket)) {
            if (*taken == room) {
                break;
            }
            rv = copy_bucket(x, bucket, to, room, taken);
            if (rv != APR_SUCCESS) {
                break;
            }
        }
        apr_bucket_delete(bucket);
    }
    return rv;
}

/* Reads more of the body into the empty brigade. APR_EAGAIN: nothing has come yet. */
static apr_status_t fill_brigade(wsgid_exchange_t *x, apr_read_type_e block, apr_size_t room)
{
    apr_status_t rv = ap_get_brigade(x->r->input_filters, x->upload.brigade, AP_MODE_READBYTES,
                                     block, (apr_off_t)room);

    return rv == APR_SUCCESS && block == APR_NONBLOCK_READ && APR_BRIGADE_EMPTY(x->upload.brigade)
               ? APR_EAGAIN
               : rv;
}

/* Reads until 'room' is full or the body ends. APR_EAGAIN, only without blocking: nothing more has
 * come yet; *taken bytes have. */
static apr_status_t read_client(wsgid_exchange_t *x, unsigned char *to, apr_size_t room,
                                apr_read_type_e block, apr_size_t *taken)
{
    *taken = 0;
    while (*taken < room && !x->upload.is_read) {
        apr_status_t rv = APR_BRIGADE_EMPTY(x->upload.brigade)
                              ? fill_brigade(x, block, room - *taken)
                              : APR_SUCCESS;

        if (APR_STATUS_IS_EAGAIN(rv)) {
            return APR_EAGAIN;
        }
        if (rv == APR_SUCCESS) {
            rv = drain_brigade(x, to, room, taken);
        }
        if (rv != APR_SUCCESS) {
            return refuse_body(x, rv);
        }
    }
    return APR_SUCCESS;
}

apr_status_t wsgid_body_read_start(wsgid_exchange_t *x)
{
    apr_off_t declared = declared_length(x->r);
    int fits = declared >= 0 && declared <= WSGID_WIRE_MAX_START;
    /* one byte more than declared, so that reading meets the end of the body */
    apr_size_t room = fits && declared < WSGID_WIRE_MAX_START ? (apr_size_t)declared + 1
                                                              : WSGID_WIRE_MAX_START;
    apr_status_t rv;

    x->upload.declared = declared;
    if (!ap_request_has_body(x->r)) {
        x->upload.is_read = 1;
        return APR_SUCCESS;
    }
    x->upload.brigade = apr_brigade_create(x->r->pool, x->r->connection->bucket_alloc);
    if (x->r->expecting_100) {
        /* reading makes httpd send 100 Continue: only once the application wants the body */
        return APR_SUCCESS;
    }
    x->upload.start = apr_palloc(x->r->pool, room);
    rv = read_client(x, x->upload.start, room, fits ? APR_BLOCK_READ : APR_NONBLOCK_READ,
                     &x->upload.start_length);
    return rv == APR_EAGAIN ? APR_SUCCESS : rv;
}

/* ---- to the daemon */

void wsgid_body_begin(wsgid_exchange_t *x)
{
    x->upload.credit = 0;
    x->upload.has_credit = 0;
}

void wsgid_body_add_credit(wsgid_exchange_t *x, apr_uint32_t bytes)
{
    x->upload.credit += bytes;
    x->upload.has_credit = 1;
}

int wsgid_body_is_unsent(const wsgid_exchange_t *x)
{
    return x->upload.frame_start < x->upload.frame_end;
}

int wsgid_body_is_complete(const wsgid_exchange_t *x)
{
    return x->upload.is_read && !wsgid_body_is_unsent(x);
}

int wsgid_body_is_wanted(const wsgid_exchange_t *x)
{
    return !x->upload.is_read && x->upload.credit > 0 && !wsgid_body_is_unsent(x);
}

/* Puts the header before bytes that have been read into x->upload.frame. */
static void frame_bytes(wsgid_exchange_t *x, apr_size_t length)
{
    wsgid_wire_put_header(x->upload.frame, WSGID_WIRE_BODY, x->upload.is_read ? WSGID_WIRE_END : 0,
                          (uint32_t)length);
    x->upload.frame_start = 0;
    x->upload.frame_end = WSGID_WIRE_HEADER_SIZE + length;
    x->upload.credit -= length;
}

/* Sends 100 Continue now that the application wants the body. httpd's own filter would send it only
 * when a read blocks. Once the response has begun it is too late (wsgid_body_forgo_continue). */
static void send_continue(request_rec *r)
{
    if (r->expecting_100) {
        r->status = HTTP_CONTINUE;
        ap_send_interim_response(r, 0);
        r->status = HTTP_OK;
    }
}

void wsgid_body_forgo_continue(wsgid_exchange_t *x)
{
    if (x->r->expecting_100) {
        x->r->expecting_100 = 0;
        x->upload.forgone = 1;
    }
}

/* Makes a BODY frame of what the client has sent. APR_EAGAIN: it has sent nothing more. */
static apr_status_t make_frame(wsgid_exchange_t *x)
{
    apr_size_t room = x->upload.credit < FRAME_ROOM ? (apr_size_t)x->upload.credit : FRAME_ROOM;
    apr_size_t length;
    apr_status_t rv;

    if (!x->upload.frame) {
        x->upload.frame = apr_palloc(x->r->pool, WSGID_WIRE_HEADER_SIZE + FRAME_ROOM);
    }
    send_continue(x->r);
    rv = read_client(x, x->upload.frame + WSGID_WIRE_HEADER_SIZE, room, APR_NONBLOCK_READ, &length);
    if (rv != APR_SUCCESS && rv != APR_EAGAIN) {
        return rv;
    }
    if (length > 0 || x->upload.is_read) {
        frame_bytes(x, length);
        return APR_SUCCESS;
    }
    return rv;
}

/* APR_EAGAIN: the daemon's socket takes no more now. */
static apr_status_t send_frame(wsgid_exchange_t *x)
{
    apr_size_t sent;
    apr_status_t rv;

    if (!wsgid_body_is_unsent(x)) {
        return APR_SUCCESS;
    }
    rv = wsgid_channel_send(x, x->upload.frame + x->upload.frame_start,
                            x->upload.frame_end - x->upload.frame_start, &sent);
    x->upload.frame_start += sent;
    if (rv == APR_EOF) {
        /* The daemon reads no more. It may still have sent something: receiving finds out. */
        x->upload.credit = 0;
        x->upload.frame_start = x->upload.frame_end;
        return APR_SUCCESS;
    }
    return rv;
}

apr_status_t wsgid_body_feed(wsgid_exchange_t *x)
{
    apr_status_t rv = send_frame(x);

    while (rv == APR_SUCCESS && wsgid_body_is_wanted(x)) {
        rv = make_frame(x);
        if (rv == APR_SUCCESS) {
            rv = send_frame(x);
        }
    }
    return rv == APR_EAGAIN ? APR_SUCCESS : rv;
}

/* ---- a body that nobody wants */

int wsgid_body_is_long(const wsgid_exchange_t *x)
{
    return !x->upload.is_read
           && (x->upload.forgone || x->upload.declared < 0
               || x->upload.declared - x->upload.taken > LONG_BODY);
}

apr_status_t wsgid_body_discard(wsgid_exchange_t *x)
{
    unsigned char scratch[8192];
    apr_size_t taken = sizeof(scratch);
    apr_status_t rv = APR_SUCCESS;

    while (rv == APR_SUCCESS && taken == sizeof(scratch) && !x->upload.is_read) {
        rv = read_client(x, scratch, sizeof(scratch), APR_NONBLOCK_READ, &taken);
    }
    if (rv == WSGID_E_REQUEST_BODY) {
        x->upload.is_read = 1; /* too late to refuse a body that nobody wants */
    }
    return rv == APR_EAGAIN || rv == WSGID_E_REQUEST_BODY ? APR_SUCCESS : rv;
}
