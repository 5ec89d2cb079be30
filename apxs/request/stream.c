/*
 * How much of a response a stream of HTTP/2 takes without blocking.
 *
 * Its filters would block when they have more than H2StreamMaxMemSize, and nothing says how much
 * they have. But they free a bucket once they have taken it. So the bytes are passed in buckets
 * that are counted when they are freed. Buckets may outlive the exchange, so the last one frees the
 * counter.
 */
#include "request/exchange.h"

/* A stream takes a bucket of any size, as long as it has less than H2StreamMaxMemSize, which is
 * 32 KB by default (the documentation says 64). */
#define LOW (32 * 1024)
/* Such a bucket has at least so many bytes, and at most so many if the client takes them quickly.
 */
#define SLICE     (64 * 1024)
#define SLICE_MAX (1024 * 1024)
/* A client that has taken nothing for so long gets small slices again. */
#define SLOW_TIME apr_time_from_msec(20)

/* How many bytes the stream has been given and has not taken yet. */
typedef struct wsgid_untaken_t {
    apr_size_t bytes;
    int users; /* buckets, and the exchange */
} untaken_t;

typedef struct {
    untaken_t *untaken; /* NULL: nobody counts */
    apr_size_t length;
    char bytes[];
} parcel_t;

void wsgid_stream_open(wsgid_exchange_t *x)
{
#if AP_MODULE_MAGIC_AT_LEAST(20120211, 129) /* httpd's HTTP/2 was another one before */
    conn_rec *c = x->r->connection;

    if (c->master) {
        x->stream.untaken = apr_bucket_alloc(sizeof(untaken_t), c->bucket_alloc);
        *x->stream.untaken = (untaken_t){ .users = 1 };
        x->stream.slice = SLICE;
    }
#else
    (void)x;
#endif
}

static void release(untaken_t *untaken)
{
    if (untaken && __atomic_sub_fetch(&untaken->users, 1, __ATOMIC_ACQ_REL) == 0) {
        apr_bucket_free(untaken);
    }
}

void wsgid_stream_close(wsgid_exchange_t *x)
{
    release(x->stream.untaken);
    x->stream.untaken = NULL;
}

/* For a bucket: frees its bytes. Maybe in another thread. */
static void free_parcel(void *bytes)
{
    parcel_t *parcel = bytes;

    if (parcel->untaken) {
        __atomic_sub_fetch(&parcel->untaken->bytes, parcel->length, __ATOMIC_RELEASE);
        release(parcel->untaken);
    }
    apr_bucket_free(parcel);
}

apr_status_t wsgid_stream_pack(const wsgid_exchange_t *x, apr_bucket_brigade *brigade,
                               apr_size_t length)
{
    apr_bucket_alloc_t *allocator = x->r->connection->bucket_alloc;
    parcel_t *parcel = apr_bucket_alloc(sizeof(*parcel) + length, allocator);
    apr_bucket *bucket;
    apr_status_t rv = apr_brigade_flatten(brigade, parcel->bytes, &length);

    if (rv != APR_SUCCESS) {
        apr_bucket_free(parcel);
        return rv;
    }
    parcel->length = length;
    parcel->untaken = x->stream.untaken;
    if (parcel->untaken) {
        __atomic_add_fetch(&parcel->untaken->bytes, length, __ATOMIC_RELAXED);
        __atomic_add_fetch(&parcel->untaken->users, 1, __ATOMIC_RELAXED);
    }
    apr_brigade_cleanup(brigade);
    bucket = apr_bucket_heap_create((char *)parcel, sizeof(*parcel) + length, free_parcel,
                                    allocator);
    bucket->start = sizeof(*parcel);
    bucket->length = length;
    APR_BRIGADE_INSERT_TAIL(brigade, bucket);
    return APR_SUCCESS;
}

static apr_size_t untaken_bytes(const wsgid_exchange_t *x)
{
    return __atomic_load_n(&x->stream.untaken->bytes, __ATOMIC_ACQUIRE);
}

apr_size_t wsgid_stream_room(wsgid_exchange_t *x, apr_bucket_brigade *empty, int *has_taken)
{
    apr_size_t before = untaken_bytes(x), after;

    *has_taken = 0;
    /* the filters free what they have taken when they are called */
    if (ap_pass_brigade(x->r->connection->output_filters, empty) != APR_SUCCESS
        || x->r->connection->aborted) {
        return (apr_size_t)-1; /* it has been reset, as passing the next part will show */
    }
    after = untaken_bytes(x);
    if (wsgid_clock_now() - x->client.passed_at > SLOW_TIME) {
        x->stream.slice = SLICE;
    }
    else if (after == 0 && before >= x->stream.slice && before < SLICE_MAX) {
        x->stream.slice *= 2;
    }
    *has_taken = after < before;
    return after < LOW ? x->stream.slice : 0;
}
