/*
 * The request's body: from httpd's input filters to the daemon.
 *
 * What is at hand when the request is sent travels in REQUEST; the rest goes in BODY frames against
 * credit, so an application that does not read its input stops the client, not a thread. A small
 * body of known length is read whole before the daemon hears of the request: a slow client then
 * costs a thread of httpd, never one of the daemon's.
 */
#include "request/exchange.h"

/* read and thrown away in no time; more, and the connection ends with the response */
#define LONG_BODY (256 * 1024)
/* one BODY frame: well below the socket's buffer, so a send rarely comes back half done */
#define PENDING_ROOM (64 * 1024)

/* The declared length, or -1 for a chunked body (or none). httpd has checked the header's form. */
static apr_off_t declared_length(request_rec *r)
{
    const char *text = apr_table_get(r->headers_in, "Content-Length");
    apr_off_t length;

    return text && ap_parse_strict_length(&length, text) ? length : -1;
}

/* The input filters' word on what is wrong with the body becomes the answer: 413, 408, or one that
 * they have sent. */
static apr_status_t refused(wsgid_exchange_t *x, apr_status_t rv)
{
    if (x->r->connection->aborted || APR_STATUS_IS_ECONNRESET(rv) || APR_STATUS_IS_ECONNABORTED(rv)
        || APR_STATUS_IS_EOF(rv) || APR_STATUS_IS_INCOMPLETE(rv)) {
        return WSGID_E_CLIENT_GONE;
    }
    x->failure.http_status = ap_map_http_request_error(rv, HTTP_BAD_REQUEST);
    x->failure.detail = apr_psprintf(x->r->pool, "%pm", &rv);
    return WSGID_E_REQUEST_BODY;
}

/* Copies as much of a bucket as there is room for; what is left of it stays, as the next one. */
static apr_status_t take(wsgid_exchange_t *x, apr_bucket *bucket, unsigned char *to,
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
 * Moves what the body brigade has to 'to', and notes the end of the body. The brigade may have more
 * than was asked for: what is behind a filter that changes the body (its character set, say) is
 * longer than what the client sent.
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
            rv = take(x, bucket, to, room, taken);
            if (rv != APR_SUCCESS) {
                break;
            }
        }
        apr_bucket_delete(bucket);
    }
    return rv;
}

/* More of the body into the empty brigade. APR_EAGAIN: nothing is at hand. */
static apr_status_t ask_filters(wsgid_exchange_t *x, apr_read_type_e block, apr_size_t room)
{
    apr_status_t rv = ap_get_brigade(x->r->input_filters, x->upload.brigade, AP_MODE_READBYTES,
                                     block, (apr_off_t)room);

    return rv == APR_SUCCESS && block == APR_NONBLOCK_READ && APR_BRIGADE_EMPTY(x->upload.brigade)
               ? APR_EAGAIN
               : rv;
}

/* Reads until 'room' is full, the body ends, or (not blocking) nothing more is at hand. */
static apr_status_t read_client(wsgid_exchange_t *x, unsigned char *to, apr_size_t room,
                                apr_read_type_e block, apr_size_t *taken)
{
    *taken = 0;
    while (*taken < room && !x->upload.is_read) {
        apr_status_t rv = APR_BRIGADE_EMPTY(x->upload.brigade)
                              ? ask_filters(x, block, room - *taken)
                              : APR_SUCCESS;

        if (APR_STATUS_IS_EAGAIN(rv)) {
            return APR_EAGAIN;
        }
        if (rv == APR_SUCCESS) {
            rv = drain_brigade(x, to, room, taken);
        }
        if (rv != APR_SUCCESS) {
            return refused(x, rv);
        }
    }
    return APR_SUCCESS;
}

apr_status_t wsgid_body_read_start(wsgid_exchange_t *x)
{
    int whole;
    apr_size_t room;
    apr_status_t rv;

    x->upload.declared = declared_length(x->r);
    whole = x->upload.declared >= 0 && x->upload.declared <= WSGID_WIRE_MAX_START;
    room = x->upload.declared >= 0 && x->upload.declared < WSGID_WIRE_MAX_START
               ? (apr_size_t)x->upload.declared + 1 /* one more: to meet the end of the body */
               : WSGID_WIRE_MAX_START;
    if (!ap_request_has_body(x->r)) {
        x->upload.is_read = 1;
        return APR_SUCCESS;
    }
    x->upload.brigade = apr_brigade_create(x->r->pool, x->r->connection->bucket_alloc);
    if (x->r->expecting_100) {
        /* reading makes httpd say 100 Continue: only when the application wants the body */
        return APR_SUCCESS;
    }
    x->upload.start = apr_palloc(x->r->pool, room);
    rv = read_client(x, x->upload.start, room, whole ? APR_BLOCK_READ : APR_NONBLOCK_READ,
                     &x->upload.start_length);
    return rv == APR_EAGAIN ? APR_SUCCESS : rv;
}

int wsgid_body_is_wanted(const wsgid_exchange_t *x)
{
    return !x->upload.is_read && x->upload.credit > 0
           && x->upload.frame_start == x->upload.frame_end;
}

/* Wraps what has been read into a BODY frame at x->upload.frame. */
static void frame_pending(wsgid_exchange_t *x, apr_size_t length)
{
    wsgid_wire_put_header(x->upload.frame, WSGID_WIRE_BODY, x->upload.is_read ? WSGID_WIRE_END : 0,
                          (uint32_t)length);
    x->upload.frame_start = 0;
    x->upload.frame_end = WSGID_WIRE_HEADER_SIZE + length;
    x->upload.credit -= length;
}

/*
 * 100 Continue, now that the application wants the body (httpd's own filter would say it only to a
 * read that waits). Once the response has begun nobody is waiting to hear it any more (response.c).
 */
static void invite(request_rec *r)
{
    if (r->expecting_100) {
        r->status = HTTP_CONTINUE;
        ap_send_interim_response(r, 0);
        r->status = HTTP_OK;
    }
}

static apr_status_t fill_pending(wsgid_exchange_t *x)
{
    apr_size_t room = x->upload.credit < PENDING_ROOM ? (apr_size_t)x->upload.credit : PENDING_ROOM;
    apr_size_t length;
    apr_status_t rv;

    if (!x->upload.frame) {
        x->upload.frame = apr_palloc(x->r->pool, WSGID_WIRE_HEADER_SIZE + PENDING_ROOM);
    }
    invite(x->r);
    rv = read_client(x, x->upload.frame + WSGID_WIRE_HEADER_SIZE, room, APR_NONBLOCK_READ, &length);
    if (rv != APR_SUCCESS && rv != APR_EAGAIN) {
        return rv;
    }
    if (length > 0 || x->upload.is_read) {
        frame_pending(x, length);
        return APR_SUCCESS;
    }
    return rv;
}

apr_status_t wsgid_body_feed(wsgid_exchange_t *x)
{
    apr_status_t rv = wsgid_channel_send_pending(x);

    while (rv == APR_SUCCESS && wsgid_body_is_wanted(x)) {
        rv = fill_pending(x);
        if (rv == APR_SUCCESS) {
            rv = wsgid_channel_send_pending(x);
        }
    }
    if (rv == APR_SUCCESS && x->upload.is_read && x->upload.frame_end > 0
        && x->upload.frame_start == x->upload.frame_end) {
        x->upload.is_sent = 1;
    }
    return rv == APR_EAGAIN ? APR_SUCCESS : rv;
}

int wsgid_body_is_long(const wsgid_exchange_t *x)
{
    return !x->upload.is_read
           && (x->upload.uninvited || x->upload.declared < 0
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
        x->upload.is_read = 1; /* too late to refuse what is not wanted anyway */
    }
    return rv == APR_EAGAIN || rv == WSGID_E_REQUEST_BODY ? APR_SUCCESS : rv;
}
