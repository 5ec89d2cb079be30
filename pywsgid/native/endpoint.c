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
        /* It may have its next request already, and this worker may not be back soon. */
        wsgid_gate_wake_next(hub);
        (void)pthread_mutex_unlock(&hub->lock);
    }
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

/* Under the hub's lock, which is not held any more when it returns. */
static int wait_for_request(wsgid_endpoint_t *endpoint)
{
    wsgid_hub_t *hub = endpoint->hub;
    int outcome = WSGID_LEAVE;

    while (outcome == WSGID_LEAVE && !hub->draining) {
        int is_closed = wsgid_gate_is_closed(hub);
        wsgid_connection_t *connection = is_closed ? NULL : wsgid_hub_take(hub);

        if (connection) {
            outcome = read_request(endpoint, connection);
            if (outcome == WSGID_REQUEST) {
                return outcome;
            }
        }
        else if (is_closed || hub->poller) {
            wsgid_gate_park(endpoint);
        }
        else {
            outcome = wsgid_hub_poll(endpoint);
            if (outcome == WSGID_REQUEST) {
                outcome = WSGID_LEAVE; /* goes on */
            }
        }
    }
    wsgid_gate_wake_next(hub); /* this worker has something else to do first */
    (void)pthread_mutex_unlock(&hub->lock);
    return outcome;
}

int wsgid_endpoint_next(wsgid_endpoint_t *endpoint, const char *a, size_t a_size, const char *b,
                        size_t b_size, int keep)
{
    wsgid_hub_t *hub = endpoint->hub;
    int64_t *facts = endpoint->facts;
    wsgid_connection_t *connection = wsgid_send_end(endpoint, a, a_size, b, b_size, &keep);

    wsgid_measure_end(endpoint);
    if (endpoint->turn.tid == 0) {
        wsgid_gate_register(endpoint);
    }
    (void)pthread_mutex_lock(&hub->lock);
    if (connection) {
        wsgid_hub_give_back(hub, connection, keep);
    }
    wsgid_gate_leave(endpoint);
    wsgid_hub_resume_listening(endpoint);
    if (!facts[FACT_UNSENT]) {
        return wait_for_request(endpoint);
    }
    wsgid_gate_wake_next(hub);
    (void)pthread_mutex_unlock(&hub->lock);
    facts[FACT_ERRNO] = facts[FACT_UNSENT];
    facts[FACT_UNSENT] = 0;
    return WSGID_UNSENT;
}
