/*
 * A short wait between a response and the client's next request.
 *
 * With an asynchronous MPM, a thread returns a kept connection to the listener thread, which gives
 * it to some thread again when the next request comes. For a client that asks again at once, that
 * is most of what httpd does for a small request. So the thread waits for a moment itself. httpd
 * then finds the next request as it finds a pipelined one, by a check of the input filters.
 *
 * The wait
 * - begins only after the response has been sent and logged: no %D includes it;
 * - is no longer than adaptive spinning (common/spin.h) and WAIT_MICROSECONDS together;
 * - is left out, but for every 64th, while such waits have mostly been useless (common/spin.h);
 * - is left out unless a quarter of the child's threads are idle. A client that always asks at once
 *   keeps its thread, so with as many such clients as threads, all others would get none.
 */
#include "request/exchange.h"
#include "request/request.h"

#include <poll.h>
#include <unistd.h>

#include "ap_mpm.h"
#include "scoreboard.h"

#define WAIT_MICROSECONDS 200
#define IDLE_PART         4  /* a quarter of the threads */
#define COUNT_EVERY       32 /* the idle threads are counted with every 32nd request */

/* Shared by all threads of this child. An update that is lost in a race does no harm. */
static wsgid_spin_t spins; /* whether the client asked again while the thread was spinning, */
static wsgid_spin_t waits; /* or within WAIT_MICROSECONDS */
static int threads;        /* 0: never wait */
static int child = -1;     /* this child's index in the scoreboard; -1: not known yet */
static int are_idle;       /* enough threads were, when they were last counted */
static unsigned requests;

void wsgid_keepalive_child_init(void)
{
    int is_async = 0;

    if (ap_mpm_query(AP_MPMQ_IS_ASYNC, &is_async) != APR_SUCCESS || !is_async
        || ap_mpm_query(AP_MPMQ_MAX_THREADS, &threads) != APR_SUCCESS) {
        threads = 0;
    }
}

/* ---- are there threads to spare? */

/* httpd's parent makes the entry after the fork, so it may be missing at first: -1. */
static int find_child(void)
{
    int found = __atomic_load_n(&child, __ATOMIC_RELAXED);
    apr_proc_t self = { .pid = getpid() };

    if (found < 0) {
        found = ap_find_child_by_pid(&self);
        __atomic_store_n(&child, found, __ATOMIC_RELAXED);
    }
    return found;
}

static int is_idle(int its_child, int thread)
{
    const worker_score *worker = ap_get_scoreboard_worker_from_indexes(its_child, thread);

    return worker && __atomic_load_n(&worker->status, __ATOMIC_RELAXED) == SERVER_READY;
}

static void count_idle(void)
{
    int least = threads / IDLE_PART > 0 ? threads / IDLE_PART : 1;
    int this_child = find_child(), idle = 0, thread;

    for (thread = 0; thread < threads && idle < least; thread++) {
        idle += is_idle(this_child, thread);
    }
    __atomic_store_n(&are_idle, idle == least, __ATOMIC_RELAXED);
}

static int are_threads_to_spare(void)
{
    if (__atomic_fetch_add(&requests, 1, __ATOMIC_RELAXED) % COUNT_EVERY == 0) {
        count_idle();
    }
    return __atomic_load_n(&are_idle, __ATOMIC_RELAXED);
}

int wsgid_keepalive_may_wait(const wsgid_exchange_t *x)
{
    /* HTTP/2 serves its streams with threads of its own */
    return threads > 0 && x->client.socket >= 0 && x->upload.is_read && !x->r->main
           && are_threads_to_spare() && wsgid_spin_pays(&waits);
}

/* ---- the wait */

static int is_stopping(void)
{
    int state;

    return ap_mpm_query(AP_MPMQ_MPM_STATE, &state) == APR_SUCCESS && state == AP_MPMQ_STOPPING;
}

/* For wsgid_spin. */
static int has_asked(void *client)
{
    return poll(client, 1, 0) > 0;
}

static int wait_for_request(int socket)
{
    struct pollfd client = { .fd = socket, .events = POLLIN };
    struct timespec limit = { 0, WAIT_MICROSECONDS * 1000 };

    return wsgid_spin(&spins, has_asked, &client) || ppoll(&client, 1, &limit, NULL) > 0;
}

/* A cleanup of the request's pool. httpd logs the request in a cleanup that was registered later,
 * and so runs earlier. */
static apr_status_t wait_at_end(void *data)
{
    const wsgid_exchange_t *x = data;
    conn_rec *c = x->r->connection;
    int came;

    if (c->keepalive != AP_CONN_KEEPALIVE || c->aborted) {
        return APR_SUCCESS;
    }
    ap_update_child_status_from_conn(c->sbh, SERVER_BUSY_KEEPALIVE, c);
    came = wait_for_request(x->client.socket);
    wsgid_spin_record(&waits, came);
    if (!came && is_stopping()) {
        c->keepalive = AP_CONN_CLOSE; /* there is no listener thread any more to return it to */
    }
    return APR_SUCCESS;
}

void wsgid_keepalive_wait_later(wsgid_exchange_t *x)
{
    apr_pool_cleanup_register(x->r->pool, x, wait_at_end, apr_pool_cleanup_null);
}
