/*
 * A worker's end of a connection, request after request: gives the last connection back, waits for
 * the next one that has something, reads its request. What is sent is in send.c, what is received
 * in receive.c.
 */
#include "hotpath.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>

/* ---- what Python calls (hotpath_table.h) */

wsgid_endpoint_t *wsgid_endpoint_create(wsgid_hub_t *hub, char *memory)
{
    wsgid_endpoint_t *endpoint = calloc(1, sizeof(*endpoint));
    pthread_condattr_t monotonic;

    if (!endpoint) {
        return NULL;
    }
    endpoint->hub = hub;
    endpoint->facts = (int64_t *)(void *)memory;
    endpoint->buffer = (unsigned char *)memory + WSGID_FACTS_SIZE;
    (void)pthread_mutex_init(&endpoint->sending.lock, NULL);
    (void)pthread_condattr_init(&monotonic);
    (void)pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    (void)pthread_cond_init(&endpoint->turn.wake, &monotonic);
    (void)pthread_condattr_destroy(&monotonic);
    (void)pthread_mutex_lock(&hub->lock);
    endpoint->measured.row = hub->endpoints ? hub->endpoints->measured.row + 1 : 0;
    endpoint->next = hub->endpoints;
    hub->endpoints = endpoint;
    wsgid_gate_add_worker(hub);
    (void)pthread_mutex_unlock(&hub->lock);
    return endpoint;
}

int wsgid_endpoint_is_hung_up(wsgid_endpoint_t *endpoint)
{
    struct pollfd hangup = { .fd = -1, .events = POLLRDHUP };
    /* Without the lock: a thread that sends holds it for as long as that takes. */
    wsgid_connection_t *connection = __atomic_load_n(&endpoint->connection, __ATOMIC_ACQUIRE);

    if (!connection || endpoint->facts[FACT_GONE]) {
        return 1;
    }
    hangup.fd = connection->fd;
    return poll(&hangup, 1, 0) > 0;
}

void wsgid_endpoint_flush(wsgid_endpoint_t *endpoint, const char *a, size_t a_size, const char *b,
                          size_t b_size, int keep)
{
    wsgid_hub_t *hub = endpoint->hub;
    wsgid_connection_t *connection = wsgid_send_end(endpoint, a, a_size, b, b_size, &keep);

    if (connection) {
        (void)pthread_mutex_lock(&hub->lock);
        wsgid_hub_give_back(hub, connection, keep);
        wsgid_hub_offer(hub); /* it may have its next request, and this worker not be back soon */
        (void)pthread_mutex_unlock(&hub->lock);
    }
    wsgid_gil_take_back();
}

/* ---- the next request */

/* Reads a request from a connection that has something. WSGID_REQUEST: the hub's lock is not held
 * any more. WSGID_LEAVE: there was none to run. */
static int read_request(wsgid_endpoint_t *endpoint, wsgid_connection_t *connection)
{
    wsgid_hub_t *hub = endpoint->hub;
    int outcome;

    wsgid_gate_enter(endpoint);
    (void)pthread_mutex_unlock(&hub->lock);
    outcome = wsgid_receive_request(endpoint, connection);
    if (outcome == WSGID_REQUEST) {
        wsgid_send_open(endpoint);
        return outcome;
    }
    (void)pthread_mutex_lock(&hub->lock);
    __atomic_store_n(&endpoint->connection, NULL, __ATOMIC_RELEASE);
    wsgid_hub_give_back(hub, connection, outcome == WSGID_LEAVE);
    wsgid_gate_leave(endpoint);
    /* WSGID_GONE: httpd has closed an idle connection, or took back a request that has not run. */
    return outcome == WSGID_GONE ? WSGID_LEAVE : outcome;
}

/* The next connection that has something to read; NULL: none. *outcome as wsgid_hub_collect(). */
static wsgid_connection_t *take_connection(wsgid_endpoint_t *endpoint, int *outcome)
{
    wsgid_connection_t *connection = wsgid_hub_take(endpoint->hub);

    *outcome = WSGID_REQUEST;
    if (!connection) {
        *outcome = wsgid_hub_collect(endpoint);
        if (*outcome == WSGID_REQUEST) {
            connection = wsgid_hub_take(endpoint->hub);
        }
    }
    return connection;
}

/* The hub's lock, which the monitor may hold for a while. */
static void lock_hub(wsgid_hub_t *hub)
{
    if (pthread_mutex_trylock(&hub->lock) != 0) {
        wsgid_gil_release();
        (void)pthread_mutex_lock(&hub->lock);
    }
}

/* Releases the GIL, without the lock meanwhile: another thread may have to take it first. Returns
 * whether it had to be released. */
static int release_gil(wsgid_hub_t *hub)
{
    if (wsgid_gil_is_released()) {
        return 0;
    }
    (void)pthread_mutex_unlock(&hub->lock);
    wsgid_gil_release();
    (void)pthread_mutex_lock(&hub->lock);
    return 1;
}

/* One step towards a request. WSGID_REQUEST: there is one, and the hub's lock is not held any more.
 * WSGID_LEAVE: none yet. */
static int seek_request(wsgid_endpoint_t *endpoint)
{
    wsgid_connection_t *connection;
    int outcome;

    if (!wsgid_gate_decide(endpoint)) {
        wsgid_hub_offer(endpoint->hub);
        if (!release_gil(endpoint->hub)) {
            wsgid_monitor_park(endpoint);
        }
        return WSGID_LEAVE;
    }
    connection = take_connection(endpoint, &outcome);
    if (connection) {
        wsgid_hub_offer(endpoint->hub); /* the next one, if there are several */
        return read_request(endpoint, connection);
    }
    if (outcome == WSGID_REQUEST) {
        outcome = wsgid_hub_wait(endpoint);
    }
    return outcome == WSGID_REQUEST ? WSGID_LEAVE : outcome;
}

/* The worker goes to Python without a request. Under the hub's lock, which is not held any more
 * when it returns. */
static void step_back(wsgid_endpoint_t *endpoint)
{
    wsgid_gate_step_back(endpoint);
    wsgid_hub_offer(endpoint->hub);
    (void)pthread_mutex_unlock(&endpoint->hub->lock);
}

/* Under the hub's lock, which is not held any more when it returns. */
static int wait_for_request(wsgid_endpoint_t *endpoint)
{
    wsgid_hub_t *hub = endpoint->hub;
    int outcome = WSGID_LEAVE;

    while (outcome == WSGID_LEAVE && !hub->draining) {
        outcome = seek_request(endpoint);
    }
    if (outcome != WSGID_REQUEST) {
        step_back(endpoint);
    }
    return outcome;
}

/* Sends the end of the last response. Returns its connection, or NULL. */
static wsgid_connection_t *end_request(wsgid_endpoint_t *endpoint, const char *a, size_t a_size,
                                       const char *b, size_t b_size, int *keep)
{
    wsgid_connection_t *connection;

    if (__atomic_load_n(&endpoint->hub->gate.running, __ATOMIC_RELAXED) > 1) {
        wsgid_gil_release(); /* another request runs, and may wait for the GIL */
    }
    connection = wsgid_send_end(endpoint, a, a_size, b, b_size, keep);
    wsgid_measure_end(endpoint);
    return connection;
}

static int next_request(wsgid_endpoint_t *endpoint, const char *a, size_t a_size, const char *b,
                        size_t b_size, int keep)
{
    wsgid_hub_t *hub = endpoint->hub;
    int64_t *facts = endpoint->facts;
    wsgid_connection_t *connection = end_request(endpoint, a, a_size, b, b_size, &keep);

    if (endpoint->turn.tid == 0) {
        wsgid_gate_register(endpoint);
    }
    lock_hub(hub);
    if (connection) {
        wsgid_hub_give_back(hub, connection, keep);
    }
    wsgid_gate_leave(endpoint);
    if (facts[FACT_UNSENT]) {
        step_back(endpoint);
        facts[FACT_ERRNO] = facts[FACT_UNSENT];
        facts[FACT_UNSENT] = 0;
        return WSGID_UNSENT;
    }
    if (wsgid_descriptors_run_short(hub) && wsgid_descriptors_report(endpoint, EMFILE)) {
        step_back(endpoint);
        return WSGID_NO_ACCEPT;
    }
    return wait_for_request(endpoint);
}

int wsgid_endpoint_next(wsgid_endpoint_t *endpoint, const char *a, size_t a_size, const char *b,
                        size_t b_size, int keep)
{
    int outcome = next_request(endpoint, a, a_size, b, b_size, keep);

    wsgid_gil_take_back();
    return outcome;
}
