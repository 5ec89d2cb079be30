/*
 * The client's side of an exchange: the queue of response bytes, and whether the client is still
 * there.
 *
 * httpd's output filters block while the client is slow, and a client may be slow because it waits
 * for httpd to read its upload. So a large response goes out in slices, and only while the client
 * takes more. The rest waits in a queue: in memory up to response-buffer-size bytes, then, if the
 * client is slow, in a temporary file. Meanwhile neither the daemon's thread nor the upload has to
 * wait. Whether the client takes more, its socket says; a stream of HTTP/2 has none: see
 * stream.c.
 *
 * Only this file passes anything to httpd's output filters.
 */
#include "request/exchange.h"

#include <errno.h>
#include <poll.h>
#include <linux/sock_diag.h>

#include "config/scopes.h"
#include "http_ssl.h"

/* An idle connection takes this much without blocking: it is less than the smallest send buffer and
 * the smallest receive buffer together. */
#define AT_ONCE (64 * 1024)
/* A client is slow if it takes less than this in that time: 100 MB/s. For a faster one, a file
 * would cost more than the daemon's waiting. */
#define SLOW_BYTES (2 * 1024 * 1024)
#define SLOW_TIME  apr_time_from_msec(20)
/* Once a response has a temporary file, it keeps no more than this in memory: httpd's allocators
 * hold on to what they have had. */
#define SPOOL_AT_ONCE (256 * 1024)
#define STREAM_WAIT   200 /* microseconds: see wsgid_client_wait() */
/* How long to read a body that nobody wants, if nothing comes and at most. */
#define DRAIN_IDLE apr_time_from_sec(2)
#define DRAIN_MOST apr_time_from_sec(30)
/* What the queues of all exchanges of this child have in memory. */
static apr_size_t total_in_memory;

/* ---- the connection */

/* A stream of HTTP/2 has a pipe, in httpd 2.4.58 and later. -1: none. */
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
    conn_rec *c = x->r->connection;
    apr_socket_t *socket = c->master ? NULL : ap_get_conn_socket(c);

    if (!socket || apr_os_sock_get(&x->client.socket, socket) != APR_SUCCESS) {
        x->client.socket = -1;
    }
    x->client.input = x->client.socket >= 0 ? x->client.socket : find_pipe(c);
    wsgid_stream_open(x);
    x->client.queue = apr_brigade_create(x->r->pool, c->bucket_alloc);
    x->client.rest = apr_brigade_create(x->r->pool, c->bucket_alloc);
}

int wsgid_client_is_gone(const wsgid_exchange_t *x)
{
    struct pollfd client = { .fd = x->client.socket, .events = POLLRDHUP };
    char byte;

    if (x->r->connection->aborted) {
        return 1;
    }
    if (x->client.socket < 0 || poll(&client, 1, 0) <= 0) {
        return 0;
    }
    if ((client.revents & (POLLHUP | POLLERR))
        || (x->upload.is_read && ap_ssl_conn_is_ssl(x->r->connection))) {
        /* With TLS, unread bytes are the close_notify: no client goes on with half a connection. */
        return 1;
    }
    /* The client has closed its sending side. Bytes that it sent before (the rest of an upload, a
     * pipelined request) are still to be read. */
    return recv(x->client.socket, &byte, 1, MSG_PEEK | MSG_DONTWAIT) == 0;
}

void wsgid_client_announce_close(wsgid_exchange_t *x)
{
    if (x->client.socket < 0 || !wsgid_body_is_long(x)) {
        return;
    }
    x->client.closes = 1;
    if (ap_is_HTTP_ERROR(x->r->status)) {
        /* httpd may replace these headers by those of an ErrorDocument */
        x->r->connection->keepalive = AP_CONN_CLOSE;
    }
    else {
        /* with this header httpd closes the connection but still sends the body in chunks */
        apr_table_setn(x->r->headers_out, "Connection", "close");
    }
}

/* ---- the queue */

void wsgid_client_queue(wsgid_exchange_t *x, apr_bucket *bucket)
{
    APR_BRIGADE_INSERT_TAIL(x->client.queue, bucket);
    x->client.queued += bucket->length;
}

/* If the queue's last bucket is in the receive buffer too, moves the bytes next to it, over the
 * frame header between them. So many small frames become one bucket; each bucket costs work in
 * every filter. */
static int join(wsgid_exchange_t *x, const char *bytes, apr_size_t length)
{
    apr_bucket *last = APR_BRIGADE_LAST(x->client.queue);

    if (APR_BRIGADE_EMPTY(x->client.queue) || !APR_BUCKET_IS_TRANSIENT(last)) {
        return 0;
    }
    memmove((char *)last->data + last->start + last->length, bytes, length);
    last->length += length;
    x->client.queued += length;
    return 1;
}

void wsgid_client_queue_bytes(wsgid_exchange_t *x, const char *bytes, apr_size_t length)
{
    if (!join(x, bytes, length)) {
        wsgid_client_queue(x, apr_bucket_transient_create(bytes, length,
                                                          x->r->connection->bucket_alloc));
    }
}

/* While the client still uploads, a file goes out in slices like other bytes; otherwise the kernel
 * sends it in one go, and it does not count as queued. */
apr_status_t wsgid_client_queue_file(wsgid_exchange_t *x, apr_file_t *file, apr_off_t offset,
                                     apr_off_t length)
{
    apr_bucket *bucket = apr_brigade_insert_file(x->client.queue, file, offset, length, x->r->pool);

    if (x->upload.is_read) {
        x->client.file_bytes += (apr_uint64_t)length;
    }
    else {
        x->client.queued += (apr_size_t)length;
    }
    return bucket ? apr_bucket_file_enable_mmap(bucket, 0) : APR_ENOMEM;
}

void wsgid_client_drop_queue(wsgid_exchange_t *x)
{
    apr_brigade_cleanup(x->client.queue);
    x->client.queued = 0;
}

/* ---- how much of the queue is where */

static void count_memory(wsgid_exchange_t *x, apr_size_t bytes)
{
    if (bytes != x->client.in_memory) {
        __atomic_add_fetch(&total_in_memory, bytes - x->client.in_memory, __ATOMIC_RELAXED);
        x->client.in_memory = bytes;
    }
}

void wsgid_client_close(wsgid_exchange_t *x)
{
    count_memory(x, 0);
    wsgid_stream_close(x);
}

/* Whether the queue has as much in memory as it may. */
static int is_memory_full(const wsgid_exchange_t *x)
{
    apr_size_t bytes = x->client.in_memory;

    if (bytes < AT_ONCE) {
        return 0;
    }
    return bytes >= (apr_size_t)WSGID_NUMBER(x->group, RESPONSE_BUFFER_SIZE)
           || (x->client.spool && !x->client.spool_failed && bytes >= SPOOL_AT_ONCE)
           || __atomic_load_n(&total_in_memory, __ATOMIC_RELAXED)
                  > wsgid_scopes_response_total(x->r->server);
}

/* For a queue that is full. */
static int is_slow(wsgid_exchange_t *x)
{
    apr_time_t now = wsgid_clock_now();

    if (!x->client.full_at || x->client.passed_bytes - x->client.full_passed >= SLOW_BYTES) {
        x->client.full_at = now;
        x->client.full_passed = x->client.passed_bytes;
    }
    return now - x->client.full_at >= SLOW_TIME;
}

static int is_spooled(const wsgid_exchange_t *x, const apr_bucket *bucket)
{
    return APR_BUCKET_IS_FILE(bucket)
           && ((const apr_bucket_file *)bucket->data)->fd == x->client.spool;
}

/* Writes a bucket's bytes to the end of the temporary file. The bucket before it gets longer if it
 * ends there; else another one is inserted. */
static apr_status_t spool_bucket(wsgid_exchange_t *x, apr_bucket *bucket)
{
    apr_bucket *before = APR_BUCKET_PREV(bucket), *file;
    apr_off_t at = x->client.spool_end;
    const char *bytes;
    apr_size_t length;
    apr_status_t rv = apr_bucket_read(bucket, &bytes, &length, APR_BLOCK_READ);

    if (rv == APR_SUCCESS) {
        rv = wsgid_spool_write(x->client.spool, at, bytes, length);
    }
    if (rv != APR_SUCCESS) {
        return rv;
    }
    x->client.spool_end += (apr_off_t)length;
    if (before != APR_BRIGADE_SENTINEL(x->client.queue) && is_spooled(x, before)
        && before->start + (apr_off_t)before->length == at) {
        before->length += length;
    }
    else {
        file = apr_bucket_file_create(x->client.spool, at, length, x->r->pool, bucket->list);
        (void)apr_bucket_file_enable_mmap(file, 0); /* its bytes change later */
        APR_BUCKET_INSERT_BEFORE(bucket, file);
    }
    apr_bucket_delete(bucket);
    return APR_SUCCESS;
}

static void log_full_disk(const wsgid_exchange_t *x, apr_status_t rv)
{
    if (wsgid_spool_may_log()) {
        ap_log_rerror(
            APLOG_MARK, APLOG_WARNING, rv, x->r,
            "WSGID0180: group '%s': a response to a slow client cannot be put into a temporary "
            "file in %s, so a thread of the application waits for the client. Free space "
            "there, or name another directory in TMPDIR in httpd's environment",
            x->group->label, wsgid_spool_directory());
    }
}

/* Whether the temporary file has room. It may exceed its size by what the queue has in memory. */
static int can_spool(const wsgid_exchange_t *x)
{
    return !x->client.spool_failed
           && x->client.spool_end < WSGID_NUMBER(x->group, RESPONSE_SPOOL_SIZE);
}

/* Moves what the queue has in memory to the temporary file. */
static void spool(wsgid_exchange_t *x)
{
    apr_bucket *bucket = APR_BRIGADE_FIRST(x->client.queue), *next;
    apr_status_t rv = APR_SUCCESS;

    if (!can_spool(x)) {
        return;
    }
    if (!x->client.spool) {
        rv = wsgid_spool_open(&x->client.spool, x->r->pool);
    }
    for (; rv == APR_SUCCESS && bucket != APR_BRIGADE_SENTINEL(x->client.queue); bucket = next) {
        next = APR_BUCKET_NEXT(bucket);
        if (!APR_BUCKET_IS_METADATA(bucket) && !APR_BUCKET_IS_FILE(bucket)) {
            rv = spool_bucket(x, bucket);
        }
    }
    if (rv == APR_SUCCESS) {
        count_memory(x, 0);
    }
    else {
        x->client.spool_failed = 1;
        log_full_disk(x, rv);
    }
}

/* ---- to the filters */

static apr_size_t stream_room(wsgid_exchange_t *x)
{
    int has_taken;
    apr_size_t room = wsgid_stream_room(x, x->client.rest, &has_taken);

    if (has_taken) {
        x->client.passed_at = wsgid_clock_now();
    }
    return room;
}

/*
 * How many bytes the client takes now without blocking; the maximum, if that is unknown.
 *
 * If less than a quarter of the send buffer is free, the answer is 0, so that each slice is worth a
 * system call. poll() reports room from a third on, so waiting for POLLOUT always leads on. Only a
 * quarter of the free memory is used, because towards a client with a small window the kernel cuts
 * a body into pieces of some 500 bytes, and each of them costs 1,300 bytes more. Bytes that wait in
 * the filters for a flush also need room.
 */
static apr_size_t free_room(wsgid_exchange_t *x)
{
    apr_uint32_t memory[SK_MEMINFO_VARS];
    socklen_t size = sizeof(memory);
    apr_uint32_t left;

    if (x->stream.untaken && x->client.queued > 0 && !x->response.has_ended) {
        return stream_room(x);
    }
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
 * Whether an error of the filters means that the client gets no more. In the middle of a response
 * any error does: the client must see that the response is cut off. Before the response has begun,
 * errors such as APR_EGENERAL of mod_security or APR_ENOMEM of mod_substitute do not: the client
 * still gets a complete error response.
 */
static int is_loss(apr_status_t rv, int had_begun)
{
    if (rv == AP_FILTER_ERROR) {
        return 0;
    }
    return had_begun || APR_STATUS_IS_ECONNABORTED(rv) || APR_STATUS_IS_ECONNRESET(rv)
           || APR_STATUS_IS_EPIPE(rv) || APR_STATUS_IS_TIMEUP(rv);
}

/* httpd cuts ranges out of what it gets in one piece, which depends on chance for a page of an
 * application. So it does that for files alone, and for GET alone (RFC 9110, section 14.2). */
static void refuse_ranges(const wsgid_exchange_t *x)
{
    request_rec *r = x->r;

    if (!r->main && !(x->response.is_file && r->method_number == M_GET && !r->header_only)
        && (apr_table_get(r->headers_in, "Range")
            || apr_table_get(r->headers_in, "Request-Range"))) {
        /* it is not there after an ErrorDocument, for example */
        (void)ap_remove_output_filter_byhandle(r->output_filters, "BYTERANGE");
    }
}

/* Gives the whole queue to the filters; nothing if there is none. */
static apr_status_t pass_queue(wsgid_exchange_t *x)
{
    conn_rec *c = x->r->connection;
    int had_begun = x->r->sent_bodyct != 0; /* the head is on its way */
    apr_status_t rv;

    if (APR_BRIGADE_EMPTY(x->client.queue)) {
        return APR_SUCCESS;
    }
    if (!x->client.has_begun) {
        refuse_ranges(x);
        if (x->response.has_ended) {
            wsgid_client_announce_close(x);
        }
    }
    x->client.has_begun = 1;
    x->client.passed_bytes += x->client.queued;
    x->client.passed_at = wsgid_clock_now();
    rv = ap_pass_brigade(x->r->output_filters, x->client.queue);
    wsgid_client_drop_queue(x);
    if (rv == APR_SUCCESS && !c->aborted) {
        return APR_SUCCESS;
    }
    return c->aborted || is_loss(rv, had_begun) ? WSGID_E_CLIENT_GONE : WSGID_E_FILTER;
}

/* The same; flush: all that the filters have goes out now. */
static apr_status_t pass(wsgid_exchange_t *x, int flush)
{
    int is_last = x->response.has_ended && APR_BRIGADE_EMPTY(x->client.rest);
    apr_status_t rv;

    /* The filters may keep a file, and it is written to until the last part is passed. */
    if ((x->stream.untaken || x->client.spool) && x->client.queued > 0 && !is_last) {
        rv = wsgid_stream_pack(x, x->client.queue, x->client.queued);
        if (rv != APR_SUCCESS) {
            return rv;
        }
    }
    if (!APR_BRIGADE_EMPTY(x->client.queue)) {
        x->client.unflushed += x->client.queued + 1; /* not 0, even for a head alone */
    }
    if (flush && x->client.unflushed > 0) {
        APR_BRIGADE_INSERT_TAIL(x->client.queue,
                                apr_bucket_flush_create(x->r->connection->bucket_alloc));
        x->client.unflushed = 0;
    }
    return pass_queue(x);
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

/* ---- what stays in the queue is copied */

/* The bucket before this one, if it is a buffer of copy_bytes() with room for 'length' bytes. */
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

/* A new buffer before this bucket, with room for its bytes. */
static apr_bucket *new_buffer(apr_bucket *bucket, apr_bucket_alloc_t *allocator)
{
    apr_size_t size = bucket->length < APR_BUCKET_BUFF_SIZE ? APR_BUCKET_BUFF_SIZE : bucket->length;
    apr_bucket *buffer = apr_bucket_heap_create(apr_bucket_alloc(size, allocator), size,
                                                apr_bucket_free, allocator);

    buffer->length = 0;
    APR_BUCKET_INSERT_BEFORE(bucket, buffer);
    return buffer;
}

/* Moves a bucket's bytes to the end of a buffer. Many small buckets share one buffer: each buffer
 * of its own would cost some 500 bytes. */
static void copy_bytes(wsgid_exchange_t *x, apr_bucket *bucket)
{
    apr_bucket *buffer = buffer_before(x, bucket, bucket->length);

    if (!buffer) {
        buffer = new_buffer(bucket, x->r->connection->bucket_alloc);
    }
    memcpy(((apr_bucket_heap *)buffer->data)->base + buffer->start + buffer->length,
           (const char *)bucket->data + bucket->start, bucket->length);
    buffer->length += bucket->length;
    apr_bucket_delete(bucket);
}

/* The next receive overwrites the bytes of wsgid_client_queue_bytes(), so those that stay in the
 * queue are copied. What is too much for memory goes to the temporary file. */
static void keep(wsgid_exchange_t *x)
{
    apr_bucket *bucket, *next;
    apr_size_t in_memory = 0, in_file = 0;

    for (bucket = APR_BRIGADE_FIRST(x->client.queue);
         bucket != APR_BRIGADE_SENTINEL(x->client.queue); bucket = next) {
        next = APR_BUCKET_NEXT(bucket);
        *(APR_BUCKET_IS_FILE(bucket) ? &in_file : &in_memory) += bucket->length;
        if (APR_BUCKET_IS_TRANSIENT(bucket)) {
            copy_bytes(x, bucket);
        }
    }
    count_memory(x, in_memory);
    if (in_file == 0) {
        x->client.spool_end = 0;
    }
    if (!x->response.has_ended && is_memory_full(x) && is_slow(x)) {
        spool(x);
    }
    x->client.is_full = is_memory_full(x);
}

/* ---- the rest of the upload */

/*
 * Whether the rest of the upload is read and thrown away before the response ends. A stream of
 * HTTP/2 that ends before its upload is reset, and some clients then report nothing else: curl
 * 7.88, for one. (With HTTP/1.1 that is what httpd's lingering close is for; the limits are the
 * same.) A long successful response is not held up.
 */
static int is_drained(const wsgid_exchange_t *x)
{
    return x->r->connection->master && !x->upload.is_read && !x->upload.forgone
           && !x->response.is_cut
           && (x->r->status >= HTTP_MULTIPLE_CHOICES
               || x->client.passed_bytes + x->client.queued <= AT_ONCE);
}

/* curl 7.88 neither sends nor receives any more once it has the whole body of a successful
 * response, which Content-Length tells it. So the last bytes wait for the end of the response,
 * which the daemon sends a moment later: then the upload is read first. */
static int is_held(const wsgid_exchange_t *x)
{
    return x->client.queued > 0 && x->response.declared >= 0
           && x->response.length == (apr_uint64_t)x->response.declared && !x->response.has_ended
           && x->r->status < HTTP_MULTIPLE_CHOICES && is_drained(x)
           && wsgid_clock_now() - x->received.came_at < DRAIN_IDLE;
}

/* ---- delivery */

apr_status_t wsgid_client_deliver(wsgid_exchange_t *x)
{
    apr_size_t size = free_room(x);
    apr_status_t rv = APR_SUCCESS;

    if (is_held(x)) {
        keep(x);
        return APR_SUCCESS;
    }
    if (x->client.unflushed > 0 && x->client.queued > size) {
        rv = pass_slice(x, 0);
        size = free_room(x);
    }
    while (rv == APR_SUCCESS && x->client.queued > size && size > 0) {
        rv = pass_slice(x, size);
        size = free_room(x);
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

/* Waits until the client takes bytes or, if it still uploads, sends some. */
static apr_status_t wait_for_client(wsgid_exchange_t *x)
{
    struct pollfd client = { .fd = x->client.socket, .events = POLLOUT };
    apr_interval_time_t limit = x->r->server->timeout;

    if (!x->upload.is_read) {
        client.events |= POLLIN;
    }
    switch (poll(&client, 1, (int)apr_time_as_msec(limit))) {
    case 0: return WSGID_E_CLIENT_GONE;
    case -1: return errno == EINTR ? APR_SUCCESS : errno;
    default: return APR_SUCCESS;
    }
}

static apr_status_t deliver_all(wsgid_exchange_t *x)
{
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
    return rv;
}

static void drain(wsgid_exchange_t *x)
{
    struct pollfd client = { .fd = x->client.input, .events = POLLIN };
    apr_interval_time_t slice = client.fd < 0 ? WSGID_BODY_BLIND_WAIT : WSGID_CHANNEL_SLICE;
    apr_time_t began = wsgid_clock_now(), now = began;

    x->upload.came_at = began;
    while (wsgid_body_discard(x) == APR_SUCCESS && !x->upload.is_read && !x->r->connection->aborted
           && now - began < DRAIN_MOST && now - x->upload.came_at < DRAIN_IDLE) {
        /* an error of poll() ends the wait like anything else */
        (void)poll(&client, 1, (int)apr_time_as_msec(slice));
        now = wsgid_clock_now();
    }
}

static void queue_end(wsgid_exchange_t *x)
{
    wsgid_client_queue(x, apr_bucket_eos_create(x->r->connection->bucket_alloc));
}

apr_status_t wsgid_client_finish(wsgid_exchange_t *x)
{
    apr_status_t rv = APR_SUCCESS;
    int drains = is_drained(x);
    int waits;

    if (drains && x->r->status < HTTP_MULTIPLE_CHOICES) {
        drain(x); /* curl 7.88 does not go on once it has the whole body of such a response */
        drains = 0;
    }
    if (!drains) {
        queue_end(x);
    }
    if (x->client.spool && x->upload.is_read) {
        spool(x); /* the rest: a client that is slow keeps no thread of an asynchronous MPM */
        x->client.file_bytes += (apr_uint64_t)x->client.spool_end;
    }
    if (!x->client.spool || !x->upload.is_read || x->client.spool_failed) {
        rv = deliver_all(x);
    }
    if (rv == APR_SUCCESS && drains) {
        rv = pass(x, 1);
        drain(x);
        queue_end(x);
    }
    /* for a large file the flush might block, and blocking is the MPM's job */
    waits = x->client.file_bytes <= AT_ONCE && wsgid_keepalive_may_wait(x);
    if (rv == APR_SUCCESS) {
        /* httpd reads the rest of an upload before it flushes by itself */
        rv = pass(x, waits || !x->upload.is_read);
    }
    if (rv == APR_SUCCESS && waits) {
        wsgid_keepalive_wait_later(x);
    }
    if (x->client.socket >= 0 && (x->client.closes || x->upload.declared < 0)
        && wsgid_body_is_long(x)) {
        /* the client knows that the connection ends, or the upload may never end */
        x->r->connection->keepalive = AP_CONN_CLOSE;
    }
    return rv;
}

/* Nothing reports that a stream of HTTP/2 has taken bytes: ask in a moment, and then ever less
 * often while it takes none. */
apr_interval_time_t wsgid_client_wait(const wsgid_exchange_t *x)
{
    apr_interval_time_t longest = x->client.is_full && can_spool(x) ? SLOW_TIME
                                                                    : WSGID_CHANNEL_SLICE;
    apr_interval_time_t wait;

    if (!x->stream.untaken || x->client.queued == 0) {
        return longest;
    }
    wait = STREAM_WAIT + (wsgid_clock_now() - x->client.passed_at) / 4;
    return wait < longest ? wait : longest;
}
