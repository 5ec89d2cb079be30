/*
 * The request's body: from httpd's input filters to the daemon.
 *
 * Bytes that are there when the request is sent travel in the REQUEST frame. The rest goes in BODY
 * frames, and only against credit: an application that does not read its input stops the client,
 * not a thread. A small body of known length is read completely before the request is sent, so a
 * slow client occupies a thread of httpd and none of the daemon's. While the group is busy, that
 * holds for other bodies, too (request-buffering): they wait here, in memory and then in a file.
 */
#include "request/exchange.h"

#include <poll.h>

/* Up to this size, the unread rest of a body is read and thrown away: that is quick. Beyond it, the
 * connection ends instead. */
#define LONG_BODY (256 * 1024)
/* Body bytes in a BODY frame: well below the socket's buffer, so most sends take a whole frame. */
#define FRAME_ROOM (64 * 1024)
/* Bytes of a waiting body are kept in blocks of this size, however small the pieces that come. */
#define BLOCK (64 * 1024)
/* How long an end of an HTTP/2 body may turn out to be a reset. */
#define RESET_WAITS 10
#define RESET_WAIT  apr_time_from_msec(1)

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
    return wsgid_exchange_fail(
        x, WSGID_E_REQUEST_BODY, ap_map_http_request_error(rv, HTTP_BAD_REQUEST),
        rv == AP_FILTER_ERROR ? "httpd has refused it" : apr_psprintf(x->r->pool, "%pm", &rv));
}

/* Copies as much of a bucket as there is room for. The rest of it becomes the next bucket. */
static apr_status_t copy_bucket(apr_bucket *bucket, unsigned char *to, apr_size_t room,
                                apr_size_t *taken)
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
    }
    return rv;
}

/*
 * The body has ended, or so it seems. When a client of HTTP/2 resets its stream, mod_http2 first
 * ends the body and then marks the connection of the stream as aborted, from another thread. With a
 * Content-Length httpd finds out by itself.
 */
static apr_status_t end_body(wsgid_exchange_t *x)
{
    conn_rec *c = x->r->connection;
    int waits = c->master && x->upload.declared < 0 ? RESET_WAITS : 0;

    while (waits-- > 0 && !c->aborted) {
        apr_sleep(RESET_WAIT);
    }
    if (c->master && c->aborted) {
        return APR_ECONNABORTED;
    }
    x->upload.is_read = 1;
    return APR_SUCCESS;
}

/*
 * Copies what the brigade has to 'to', up to 'room' bytes, and notes the end of the body. The
 * brigade may have more than was asked for, because a filter that changes the body (for example its
 * character set) may make it longer.
 */
static apr_status_t drain_brigade(wsgid_exchange_t *x, apr_bucket_brigade *brigade,
                                  unsigned char *to, apr_size_t room, apr_size_t *taken)
{
    apr_status_t rv = APR_SUCCESS;

    while (!APR_BRIGADE_EMPTY(brigade)) {
        apr_bucket *bucket = APR_BRIGADE_FIRST(brigade);

        if (APR_BUCKET_IS_EOS(bucket)) {
            apr_brigade_cleanup(brigade);
            return end_body(x);
        }
        if (!APR_BUCKET_IS_METADATA(bucket)) {
            if (*taken == room) {
                break;
            }
            rv = copy_bucket(bucket, to, room, taken);
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
    apr_status_t rv = APR_SUCCESS;

    *taken = 0;
    while (rv == APR_SUCCESS && *taken < room && !x->upload.is_read) {
        if (APR_BRIGADE_EMPTY(x->upload.brigade)) {
            rv = fill_brigade(x, block, room - *taken);
        }
        if (rv == APR_SUCCESS) {
            rv = drain_brigade(x, x->upload.brigade, to, room, taken);
        }
    }
    x->upload.taken += (apr_off_t)*taken;
    if (*taken > 0) {
        x->upload.came_at = wsgid_clock_now();
    }
    if (APR_STATUS_IS_EAGAIN(rv)) {
        return APR_EAGAIN;
    }
    return rv == APR_SUCCESS ? rv : refuse_body(x, rv);
}

/* Whether the request waits for its whole body, to have a length. */
static int is_buffered(const wsgid_exchange_t *x)
{
    return x->upload.declared < 0 && x->route->chunked_request == WSGID_CHUNKED_BUFFER;
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
    x->upload.came_at = x->timing.accepted;
    if (is_buffered(x)) {
        send_continue(x->r);
        return wsgid_body_store(x);
    }
    if (x->r->expecting_100) {
        /* reading makes httpd send 100 Continue: only once the application wants the body */
        return APR_SUCCESS;
    }
    x->upload.start = apr_palloc(x->r->pool, room);
    rv = read_client(x, x->upload.start, room, fits ? APR_BLOCK_READ : APR_NONBLOCK_READ,
                     &x->upload.start_length);
    return rv == APR_EAGAIN ? APR_SUCCESS : rv;
}

/* ---- a body that waits in httpd */

/* Whether the request waits for its body now. If not, it counts as in flight already. */
static int must_wait(wsgid_exchange_t *x)
{
    const char *buffering = WSGID_TEXT(x->group, REQUEST_BUFFERING);

    return is_buffered(x) || !strcmp(buffering, "on")
           || (!strcmp(buffering, "auto") && !wsgid_dispatch_has_room(x));
}

/* Moves the bytes of the last block to a temporary file, whose bucket stands before it. */
static apr_status_t spool_block(wsgid_exchange_t *x, apr_bucket *block)
{
    apr_status_t rv = APR_SUCCESS;
    apr_bucket *file;

    if (!x->upload.spool) {
        rv = wsgid_spool_open(&x->upload.spool, x->r->pool);
        if (rv != APR_SUCCESS) {
            return rv;
        }
        file = apr_bucket_file_create(x->upload.spool, 0, 0, x->r->pool, block->list);
        APR_BUCKET_INSERT_BEFORE(block, file);
        rv = apr_bucket_file_enable_mmap(file, 0);
    }
    file = APR_BUCKET_PREV(block);
    if (rv == APR_SUCCESS) {
        rv = wsgid_spool_write(x->upload.spool, (apr_off_t)file->length,
                               ((apr_bucket_heap *)block->data)->base, block->length);
    }
    if (rv == APR_SUCCESS) {
        file->length += block->length;
        block->length = 0;
    }
    return rv;
}

static int can_spool(wsgid_exchange_t *x, apr_bucket *block)
{
    apr_status_t rv = spool_block(x, block);

    if (rv != APR_SUCCESS && wsgid_spool_may_log()) {
        ap_log_rerror(APLOG_MARK, APLOG_WARNING, rv, x->r,
                      "%sWSGID0181: group '%s': a thread of the group waits for the rest of a "
                      "request's body, because no more of it can be written to a temporary file in "
                      "%s. Make room there, or lower request-spool-size= [request '%s']",
                      wsgid_exchange_log_prefix(x), x->group->label, wsgid_spool_directory(),
                      x->r->the_request);
    }
    return rv == APR_SUCCESS;
}

/* The last block, with room for more; NULL: there is none. */
static apr_bucket *find_block(wsgid_exchange_t *x)
{
    apr_bucket_alloc_t *allocator = x->r->connection->bucket_alloc;
    apr_off_t memory = WSGID_NUMBER(x->group, REQUEST_BUFFER_SIZE);
    apr_bucket *last = APR_BRIGADE_LAST(x->upload.store);

    if (!APR_BRIGADE_EMPTY(x->upload.store) && last->length < BLOCK) {
        return last;
    }
    if (x->upload.stored >= memory) {
        return x->upload.stored < memory + WSGID_NUMBER(x->group, REQUEST_SPOOL_SIZE)
                       && can_spool(x, last)
                   ? last
                   : NULL;
    }
    last = apr_bucket_heap_create(apr_bucket_alloc(BLOCK, allocator), BLOCK, apr_bucket_free,
                                  allocator);
    last->length = 0;
    APR_BRIGADE_INSERT_TAIL(x->upload.store, last);
    return last;
}

/* Reads more into a block, or waits a slice for it. */
static apr_status_t fill_block(wsgid_exchange_t *x, apr_bucket *block)
{
    unsigned char *bytes = (unsigned char *)((apr_bucket_heap *)block->data)->base;
    struct pollfd client = { .fd = x->client.input, .events = POLLIN };
    apr_interval_time_t slice = client.fd < 0 ? WSGID_BODY_BLIND_WAIT : WSGID_CHANNEL_SLICE;
    apr_size_t taken;
    apr_status_t rv = read_client(x, bytes + block->length, BLOCK - block->length,
                                  APR_NONBLOCK_READ, &taken);

    block->length += taken;
    x->upload.stored += (apr_off_t)taken;
    if (rv != APR_EAGAIN) {
        return rv;
    }
    if (wsgid_clock_now() - x->upload.came_at > x->r->server->timeout) {
        return wsgid_exchange_fail(x, WSGID_E_REQUEST_BODY, HTTP_REQUEST_TIME_OUT,
                                   is_buffered(x)
                                       ? "the client sent no more of it for Timeout (if it waits "
                                         "for a part of the answer, set WSGIChunkedRequest On)"
                                       : "the client sent no more of it for Timeout");
    }
    return poll(&client, 1, (int)apr_time_as_msec(slice)) < 0 && errno != EINTR ? errno
                                                                                : APR_SUCCESS;
}

apr_status_t wsgid_body_store(wsgid_exchange_t *x)
{
    apr_status_t rv = APR_SUCCESS;
    apr_bucket *block;

    if (x->upload.is_read || x->r->expecting_100) {
        return APR_SUCCESS;
    }
    if (!x->upload.store) {
        x->upload.store = apr_brigade_create(x->r->pool, x->r->connection->bucket_alloc);
    }
    while (rv == APR_SUCCESS && !x->upload.is_read && must_wait(x)
           && (block = find_block(x)) != NULL) {
        rv = fill_block(x, block);
    }
    return rv;
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

/* Whether the current frame is not the last one. */
static int is_more(const wsgid_exchange_t *x)
{
    return !x->upload.is_read || x->upload.stored > 0;
}

int wsgid_body_is_complete(const wsgid_exchange_t *x)
{
    return !is_more(x) && !wsgid_body_is_unsent(x);
}

int wsgid_body_is_wanted(const wsgid_exchange_t *x)
{
    return !x->upload.is_read && x->upload.credit > 0 && !wsgid_body_is_unsent(x);
}

/* Puts the header before bytes that have been read into x->upload.frame. */
static void frame_bytes(wsgid_exchange_t *x, apr_size_t length)
{
    wsgid_wire_put_header(x->upload.frame, WSGID_WIRE_BODY, is_more(x) ? 0 : WSGID_WIRE_END,
                          (uint32_t)length);
    x->upload.frame_start = 0;
    x->upload.frame_end = WSGID_WIRE_HEADER_SIZE + length;
    x->upload.credit -= length;
}

void wsgid_body_forgo_continue(wsgid_exchange_t *x)
{
    if (x->r->expecting_100) {
        x->r->expecting_100 = 0;
        x->upload.forgone = 1;
    }
}

/* Takes bytes of the body: those that have waited come first. */
static apr_status_t take(wsgid_exchange_t *x, unsigned char *to, apr_size_t room, apr_size_t *taken)
{
    apr_status_t rv;

    if (x->upload.stored == 0) {
        return read_client(x, to, room, APR_NONBLOCK_READ, taken);
    }
    *taken = 0;
    rv = drain_brigade(x, x->upload.store, to, room, taken);
    x->upload.stored -= (apr_off_t)*taken;
    return rv;
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
    rv = take(x, x->upload.frame + WSGID_WIRE_HEADER_SIZE, room, &length);
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

    while (rv == APR_SUCCESS && is_more(x) && x->upload.credit > 0 && !wsgid_body_is_unsent(x)) {
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
