/*
 * The client's end of an exchange: what it takes, whether it is still there.
 *
 * httpd's output filters block when the client is slow, and a client may be slow because it waits
 * for us to take its upload. So beyond what a socket surely takes, bytes go out in slices, and only
 * while the client's socket has room; what is left waits in x->client.queue, up to
 * response-buffer-size, and keeps neither the daemon's thread nor the upload waiting. A connection
 * without a socket of its own (a stream of HTTP/2) cannot be looked at like that: there httpd's own
 * flow control does the waiting.
 */
#include "request/exchange.h"

#include <errno.h>
#include <poll.h>
#include <linux/sock_diag.h>

#include "http_ssl.h"

/* what an idle connection takes without waiting: below the smallest send and receive buffers' sum
 */
#define AT_ONCE (64 * 1024)

/* A stream of HTTP/2 has a pipe, in httpd 2.4.58 and later. */
static int find_pipe(conn_rec *c)
{
    apr_os_file_t pipe = -1;
#if AP_MODULE_MAGIC_AT_LEAST(20120211, 129)
    apr_pollfd_t input = { .desc_type = APR_NO_DESC };

    if (ap_get_pollfd_from_conn(c, &input, NULL) != APR_SUCCESS || input.desc_type != APR_POLL_FILE
        || apr_os_file_get(&pipe, input.desc.f) != APR_SUCCESS) {
        return -1;
    }
#else
    (void)c;
#endif
    return pipe;
}

void wsgid_client_open(wsgid_exchange_t *x)
{
    apr_socket_t *socket = x->r->connection->master ? NULL : ap_get_conn_socket(x->r->connection);

    if (!socket || apr_os_sock_get(&x->client.socket, socket) != APR_SUCCESS) {
        x->client.socket = -1;
    }
    x->client.input = x->client.socket >= 0 ? x->client.socket : find_pipe(x->r->connection);
}

int wsgid_client_is_gone(const wsgid_exchange_t *x)
{
    struct pollfd look = { .fd = x->client.socket, .events = POLLRDHUP };
    char byte;

    if (x->r->connection->aborted) {
        return 1;
    }
    if (x->client.socket < 0 || poll(&look, 1, 0) <= 0) {
        return 0;
    }
    if ((look.revents & (POLLHUP | POLLERR))
        || (x->upload.is_read && ap_ssl_conn_is_ssl(x->r->connection))) {
        /* with TLS, what is unread is the close_notify; nobody goes on with half a connection */
        return 1;
    }
    /* It closed its end. Bytes before that (the rest of an upload, a pipelined request) are still
     * to be read. */
    return recv(x->client.socket, &byte, 1, MSG_PEEK | MSG_DONTWAIT) == 0;
}

/*
 * How many bytes it surely takes now; all, if it cannot be told. Of a send buffer less than a
 * quarter free nothing is asked, so that what goes out is worth a call; poll() sees room from a
 * third on, so that waiting for it always leads on. Only a quarter of what is free is used: towards
 * a client with a small window the kernel cuts a body into pieces of some 500 bytes, and each of
 * them costs 1,300 more. What waits in the filters for a flush is still to come on top of what the
 * buffer holds.
 */
static apr_size_t room(const wsgid_exchange_t *x)
{
    apr_uint32_t memory[SK_MEMINFO_VARS];
    socklen_t size = sizeof(memory);
    apr_uint32_t left;

    if (x->client.socket < 0
        || (x->client.passed_bytes + x->client.queued <= AT_ONCE && x->upload.is_read)
        || getsockopt(x->client.socket, SOL_SOCKET, SO_MEMINFO, memory, &size) != 0) {
        return (apr_size_t)-1;
    }
    left = memory[SK_MEMINFO_SNDBUF] - memory[SK_MEMINFO_WMEM_QUEUED];
    if (memory[SK_MEMINFO_WMEM_QUEUED] > memory[SK_MEMINFO_SNDBUF]
        || left < memory[SK_MEMINFO_SNDBUF] / 4) {
        return 0;
    }
    return left / 4 > x->client.unflushed ? left / 4 - x->client.unflushed : 0;
}

/*
 * Whether an error of the filters means that the client gets no more. Before anything has gone to
 * it (mod_security's APR_EGENERAL with its own answer, mod_substitute's APR_ENOMEM) it is to have a
 * whole one; in the middle of a response it must see that this breaks off.
 */
static int is_loss(apr_status_t rv, int had_begun)
{
    if (rv == AP_FILTER_ERROR) {
        return 0;
    }
    return had_begun || APR_STATUS_IS_ECONNABORTED(rv) || APR_STATUS_IS_ECONNRESET(rv)
           || APR_STATUS_IS_EPIPE(rv) || APR_STATUS_IS_TIMEUP(rv);
}

/* The upload will hardly be read to its end, so the connection ends with the response: said in
 * time, or a client would send its next request into a closing connection. */
void wsgid_client_announce_close(wsgid_exchange_t *x)
{
    if (x->client.socket < 0 || !wsgid_body_is_long(x)) {
        return;
    }
    x->client.closes = 1;
    if (ap_is_HTTP_ERROR(x->r->status)) {
        /* an ErrorDocument may take the place of these headers */
        x->r->connection->keepalive = AP_CONN_CLOSE;
    }
    else {
        /* httpd then closes, and keeps the chunks */
        apr_table_setn(x->r->headers_out, "Connection", "close");
    }
}

/* Passes x->client.queue to the filters. */
static apr_status_t pass(wsgid_exchange_t *x, int flush)
{
    conn_rec *c = x->r->connection;
    int had_begun = x->r->sent_bodyct != 0; /* its head is on the way */
    apr_status_t rv;

    if (!APR_BRIGADE_EMPTY(x->client.queue)) {
        x->client.unflushed += x->client.queued + 1; /* not 0, even for a head alone */
    }
    if (flush && x->client.unflushed > 0) {
        APR_BRIGADE_INSERT_TAIL(x->client.queue, apr_bucket_flush_create(c->bucket_alloc));
        x->client.unflushed = 0;
    }
    if (APR_BRIGADE_EMPTY(x->client.queue)) {
        return APR_SUCCESS;
    }
    if (!x->client.has_begun && x->response.has_ended) {
        wsgid_client_announce_close(x);
    }
    x->client.has_begun = 1;
    x->client.passed_bytes += x->client.queued;
    x->last_moved = wsgid_clock_now();
    x->client.queued = 0;
    rv = ap_pass_brigade(x->r->output_filters, x->client.queue);
    apr_brigade_cleanup(x->client.queue);
    if (rv == APR_SUCCESS && !c->aborted) {
        return APR_SUCCESS;
    }
    return c->aborted || is_loss(rv, had_begun) ? WSGID_E_CLIENT_GONE : WSGID_E_FILTER;
}

/* Passes the first 'size' bytes and keeps the rest. */
static apr_status_t pass_slice(wsgid_exchange_t *x, apr_size_t size)
{
    apr_bucket *after;
    apr_size_t left = x->client.queued - size;
    apr_status_t rv = apr_brigade_partition(x->client.queue, (apr_off_t)size, &after);

    if (rv != APR_SUCCESS) {
        return rv;
    }
    x->client.rest = apr_brigade_split_ex(x->client.queue, after, x->client.rest);
    x->client.queued = size;
    rv = pass(x, 1);
    APR_BRIGADE_CONCAT(x->client.queue, x->client.rest);
    x->client.queued = left;
    return rv;
}

/* The bucket before this one, if it is a buffer of copy_bytes() that has room for so much. */
static apr_bucket *buffer_before(const wsgid_exchange_t *x, apr_bucket *bucket, apr_size_t length)
{
    apr_bucket *before = APR_BUCKET_PREV(bucket);
    apr_bucket_heap *heap;

    if (before == APR_BRIGADE_SENTINEL(x->client.queue) || !APR_BUCKET_IS_HEAP(before)) {
        return NULL;
    }
    heap = before->data;
    return heap->refcount.refcount == 1
                   && heap->alloc_len - (apr_size_t)before->start - before->length >= length
               ? before
               : NULL;
}

/* Copies a bucket's bytes to the end of a buffer, many small ones to one: each by itself would cost
 * some 500 bytes. */
static void copy_bytes(wsgid_exchange_t *x, apr_bucket *bucket)
{
    apr_bucket_alloc_t *allocator = x->r->connection->bucket_alloc;
    const char *bytes = (const char *)bucket->data + bucket->start;
    apr_bucket *buffer = buffer_before(x, bucket, bucket->length);

    if (!buffer) {
        apr_size_t room = bucket->length < APR_BUCKET_BUFF_SIZE ? APR_BUCKET_BUFF_SIZE
                                                                : bucket->length;

        buffer = apr_bucket_heap_create(apr_bucket_alloc(room, allocator), room, apr_bucket_free,
                                        allocator);
        buffer->length = 0;
        APR_BUCKET_INSERT_BEFORE(bucket, buffer);
    }
    memcpy(((apr_bucket_heap *)buffer->data)->base + buffer->start + buffer->length, bytes,
           bucket->length);
    buffer->length += bucket->length;
    apr_bucket_delete(bucket);
}

/* What stays in x->client.queue must not stand in x->received.bytes any more, which the next
 * receive overwrites. */
static void keep(wsgid_exchange_t *x)
{
    apr_bucket *bucket, *next;

    for (bucket = APR_BRIGADE_FIRST(x->client.queue);
         bucket != APR_BRIGADE_SENTINEL(x->client.queue); bucket = next) {
        next = APR_BUCKET_NEXT(bucket);
        if (APR_BUCKET_IS_TRANSIENT(bucket)) {
            copy_bytes(x, bucket);
        }
    }
}

apr_status_t wsgid_client_deliver(wsgid_exchange_t *x)
{
    apr_size_t size = room(x);
    apr_status_t rv = APR_SUCCESS;

    if (x->client.unflushed > 0 && x->client.queued > size) {
        rv = pass_slice(x, 0);
        size = room(x);
    }
    while (rv == APR_SUCCESS && x->client.queued > size && size > 0) {
        rv = pass_slice(x, size);
        size = room(x);
    }
    if (rv == APR_SUCCESS && x->client.queued <= size) {
        rv = pass(x, 0);
    }
    keep(x);
    return rv;
}

apr_status_t wsgid_client_flush(wsgid_exchange_t *x)
{
    return pass(x, 1);
}

/* Waits until the client takes bytes or, where it still uploads, sends some. */
static apr_status_t wait_for_client(wsgid_exchange_t *x)
{
    struct pollfd look = { .fd = x->client.socket, .events = POLLOUT };
    apr_interval_time_t limit = x->r->server->timeout;

    if (!x->upload.is_read) {
        look.events |= POLLIN;
    }
    switch (poll(&look, 1, (int)apr_time_as_msec(limit))) {
    case 0: return WSGID_E_CLIENT_GONE;
    case -1: return errno == EINTR ? APR_SUCCESS : errno;
    default: return APR_SUCCESS;
    }
}

apr_status_t wsgid_client_finish(wsgid_exchange_t *x)
{
    /* else the flush might wait, which is the MPM's to do */
    int waits = x->client.file_bytes <= AT_ONCE && wsgid_keepalive_may_wait(x);
    apr_status_t rv = wsgid_client_deliver(x);

    while (rv == APR_SUCCESS && x->client.queued > 0) {
        rv = wait_for_client(x);
        if (rv == APR_SUCCESS) {
            rv = wsgid_body_discard(x);
        }
        if (rv == APR_SUCCESS) {
            rv = wsgid_client_deliver(x);
        }
    }
    if (rv == APR_SUCCESS) {
        /* httpd reads the rest of an upload before it would flush */
        rv = pass(x, waits || !x->upload.is_read);
    }
    if (rv == APR_SUCCESS && waits) {
        wsgid_keepalive_wait_later(x);
    }
    if (x->client.socket >= 0 && (x->client.closes || x->upload.declared < 0)
        && wsgid_body_is_long(x)) {
        /* a long upload is not read if that was said, nor one that may never end */
        x->r->connection->keepalive = AP_CONN_CLOSE;
    }
    return rv;
}
