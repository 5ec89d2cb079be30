/*
 * The moment between a response and the client's next request.
 *
 * With an asynchronous MPM a thread gives a connection that is kept back to the listener thread,
 * which gives it to some thread again when the next request comes. Where the client asks again at
 * once, that is most of what httpd has to do for a small request; so the thread waits a moment
 * itself. It finds the request as httpd finds a pipelined one: by a look at the input filters after
 * the response.
 *
 * Rules: not before the response has been sent and logged (no %D holds this wait); never for longer
 * than a spin and MOMENT; hardly ever where it has not paid lately; and only while a quarter of the
 * child's threads idle, as the scoreboard says. For the thread of a client that always asks at once
 * is kept from all others: with as many of these as there are threads, the others, and new ones,
 * would starve.
 */
#include "request/exchange.h"

#include <poll.h>
#include <unistd.h>

#include "ap_mpm.h"
#include "scoreboard.h"

#define MOMENT    200 /* microseconds */
#define SCORE_MAX 256
/* a wait in vain costs about a third of what one that pays saves */
#define SCORE_PAYS   (SCORE_MAX / 4)
#define SCORE_WEIGHT 16 /* about so many waits back */
#define PROBE_EVERY  32 /* whether that has changed */
#define IDLE_PART    4  /* of the threads */
#define COUNT_EVERY  32 /* requests: those that idle */

static wsgid_spin_t clients; /* what this child knows of waits for them */

/* Of this child, and all its threads. An update that is lost by a race of two does no harm. */
static int threads;    /* 0: it would not pay here */
static int place = -1; /* its own in the scoreboard, -1: not known yet */
static int are_idle;   /* enough of them, when they were counted last */
static int score = SCORE_MAX / 2;
static unsigned requests, probes;

void wsgid_keepalive_child_init(apr_pool_t *pchild, server_rec *s)
{
    int is_async = 0;

    (void)pchild;
    (void)s;
    if (ap_mpm_query(AP_MPMQ_IS_ASYNC, &is_async) != APR_SUCCESS || !is_async
        || ap_mpm_query(AP_MPMQ_MAX_THREADS, &threads) != APR_SUCCESS) {
        threads = 0;
    }
}

static int find_place(void)
{
    int found = __atomic_load_n(&place, __ATOMIC_RELAXED);
    apr_proc_t self = { .pid = getpid() };

    if (found < 0) {
        /* the parent writes it down after the fork: perhaps after child_init */
        found = ap_find_child_by_pid(&self);
        __atomic_store_n(&place, found, __ATOMIC_RELAXED);
    }
    return found;
}

static int is_idle(int child, int thread)
{
    const worker_score *worker = ap_get_scoreboard_worker_from_indexes(child, thread);

    return worker && __atomic_load_n(&worker->status, __ATOMIC_RELAXED) == SERVER_READY;
}

static void count_idle(void)
{
    int least = threads / IDLE_PART > 0 ? threads / IDLE_PART : 1;
    int child = find_place(), idle = 0, thread;

    for (thread = 0; thread < threads && idle < least; thread++) {
        idle += is_idle(child, thread);
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
    /* HTTP/2 has threads of its own */
    return threads > 0 && x->client.socket >= 0 && x->upload.is_read && !x->r->main
           && are_threads_to_spare()
           && (__atomic_load_n(&score, __ATOMIC_RELAXED) >= SCORE_PAYS
               || __atomic_fetch_add(&probes, 1, __ATOMIC_RELAXED) % PROBE_EVERY == 0);
}

static void learn(int has_paid)
{
    int now = __atomic_load_n(&score, __ATOMIC_RELAXED);

    now += ((has_paid ? SCORE_MAX : 0) - now) / SCORE_WEIGHT;
    __atomic_store_n(&score, now, __ATOMIC_RELAXED);
}

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

/* A cleanup of the request's pool; httpd logs a request in one that was registered later, so before
 * this. */
static apr_status_t wait_a_moment(void *data)
{
    const wsgid_exchange_t *x = data;
    conn_rec *c = x->r->connection;
    struct pollfd client = { .fd = x->client.socket, .events = POLLIN };
    struct timespec moment = { 0, MOMENT * 1000 };
    int has_come;

    if (c->keepalive != AP_CONN_KEEPALIVE || c->aborted) {
        return APR_SUCCESS;
    }
    ap_update_child_status_from_conn(c->sbh, SERVER_BUSY_KEEPALIVE, c);
    has_come = wsgid_spin(&clients, has_asked, &client) || ppoll(&client, 1, &moment, NULL) > 0;
    learn(has_come);
    if (!has_come && is_stopping()) {
        c->keepalive = AP_CONN_CLOSE; /* the listener, where httpd would put it, has gone */
    }
    return APR_SUCCESS;
}

void wsgid_keepalive_wait_later(wsgid_exchange_t *x)
{
    apr_pool_cleanup_register(x->r->pool, x, wait_a_moment, apr_pool_cleanup_null);
}
