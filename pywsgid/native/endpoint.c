/*
 * A worker's end of a connection: request after request, frames out. What comes in is receive.c's.
 *
 * STARTED goes before the first frame of each exchange, in the same send. What may have to wait is
 * tried without waiting first, so that the gate is opened before. How long a response may wait for
 * httpd: with a send-timeout, so long in all; without one there is no bound in all, but each wait
 * must bring something within socket-timeout.
 */
#include "hotpath.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>

#define COPIED_MAX 1024 /* to copy more costs more than another part of a message */

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
    (void)pthread_mutex_init(&endpoint->lock, NULL);
    (void)pthread_condattr_init(&monotonic); /* none of these fails on Linux */
    (void)pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    (void)pthread_cond_init(&endpoint->wake, &monotonic);
    (void)pthread_condattr_destroy(&monotonic);
    (void)pthread_mutex_lock(&hub->lock);
    endpoint->number = hub->endpoints ? hub->endpoints->number + 1 : 0;
    endpoint->next = hub->endpoints;
    hub->endpoints = endpoint;
    (void)pthread_mutex_unlock(&hub->lock);
    return endpoint;
}

/* ---- sending */

int wsgid_outcome_is_gone(int error)
{
    return error == EPIPE || error == ECONNRESET || error == ENOTCONN || error == EBADF;
}

/* Waits until httpd has room for more; 0: it is time to give up. */
static int wait_for_room(wsgid_endpoint_t *endpoint)
{
    struct pollfd writable = { .fd = endpoint->connection->fd, .events = POLLOUT };
    int64_t began = wsgid_gate_now();
    int64_t left = endpoint->hub->send_limit ? endpoint->patience : endpoint->hub->send_silence;
    struct timespec limit = { left / 1000000000, left % 1000000000 };
    int found;

    wsgid_gate_blocks(endpoint->hub, endpoint);
    found = left > 0 ? ppoll(&writable, 1, &limit, NULL) : 0;
    endpoint->patience -= wsgid_gate_now() - began;
    return found > 0 || (found < 0 && errno == EINTR);
}

static void step_over(struct msghdr *message, size_t sent)
{
    while (message->msg_iovlen > 0 && sent >= message->msg_iov->iov_len) {
        sent -= message->msg_iov->iov_len;
        message->msg_iov++;
        message->msg_iovlen--;
    }
    if (message->msg_iovlen > 0) {
        message->msg_iov->iov_base = (char *)message->msg_iov->iov_base + sent;
        message->msg_iov->iov_len -= sent;
    }
}

/* One send, of whatever there is room for; a message of one buffer is cheaper to hand over without
 * its frame. */
static ssize_t send_some(int fd, const struct msghdr *message)
{
    if (message->msg_iovlen == 1 && message->msg_controllen == 0) {
        return send(fd, message->msg_iov->iov_base, message->msg_iov->iov_len,
                    MSG_NOSIGNAL | MSG_DONTWAIT);
    }
    return sendmsg(fd, message, MSG_NOSIGNAL | MSG_DONTWAIT);
}

/* Sends it whole, as long as httpd takes something. 0 or an errno: EPIPE for all that means that
 * httpd has gone, ETIMEDOUT. */
static int send_message(wsgid_endpoint_t *endpoint, struct msghdr *message)
{
    int is_last_try = 0;

    while (message->msg_iovlen > 0) {
        ssize_t sent = send_some(endpoint->connection->fd, message);

        if (sent >= 0) {
            step_over(message, (size_t)sent);
            message->msg_controllen = 0; /* a descriptor went with the first byte */
            is_last_try = 0;
        }
        else if (errno == EAGAIN) {
            if (is_last_try) {
                return ETIMEDOUT;
            }
            /* Then a last try: poll() calls less than a quarter of the buffer no room. */
            is_last_try = !wait_for_room(endpoint);
        }
        else if (errno != EINTR) {
            return wsgid_outcome_is_gone(errno) ? EPIPE : errno;
        }
    }
    return 0;
}

/* Frames of this exchange are about to be sent: begins the message with STARTED if they are the
 * first. Under endpoint->lock. */
static void announce(wsgid_endpoint_t *endpoint, struct msghdr *message)
{
    if (!endpoint->announced) {
        message->msg_iov[message->msg_iovlen++] = (struct iovec){ endpoint->started,
                                                                  sizeof(endpoint->started) };
        endpoint->announced = 1;
    }
}

static int send_pieces(wsgid_endpoint_t *endpoint, const char *a, size_t a_size, const char *b,
                       size_t b_size, int descriptor)
{
    union {
        struct cmsghdr aligned;
        char bytes[CMSG_SPACE(sizeof(int))];
    } control = { 0 };
    struct iovec parts[3];
    struct msghdr message = { .msg_iov = parts };

    if (a_size == 0) {
        return 0;
    }
    announce(endpoint, &message);
    parts[message.msg_iovlen++] = (struct iovec){ (void *)a, a_size };
    if (b_size > 0) {
        parts[message.msg_iovlen++] = (struct iovec){ (void *)b, b_size };
    }
    if (descriptor >= 0) {
        message.msg_control = control.bytes;
        message.msg_controllen = CMSG_LEN(sizeof(int));
        control.aligned = (struct cmsghdr){ .cmsg_len = CMSG_LEN(sizeof(int)),
                                            .cmsg_level = SOL_SOCKET,
                                            .cmsg_type = SCM_RIGHTS };
        memcpy(CMSG_DATA(&control.aligned), &descriptor, sizeof(descriptor));
    }
    return send_message(endpoint, &message);
}

static int is_open(const wsgid_endpoint_t *endpoint)
{
    return __atomic_load_n(&endpoint->open, __ATOMIC_ACQUIRE);
}

/* A send or a receive has failed. */
static int lost(wsgid_endpoint_t *endpoint, int error)
{
    endpoint->facts[FACT_GONE] = 1;
    if (error == EPIPE) {
        return WSGID_GONE;
    }
    endpoint->facts[FACT_UNSENT] = error;
    endpoint->facts[FACT_ERRNO] = error;
    return error == ETIMEDOUT ? WSGID_SILENT : WSGID_FAILED;
}

/* Under endpoint->lock. */
static int send_if_open(wsgid_endpoint_t *endpoint, const char *a, size_t a_size, const char *b,
                        size_t b_size, int descriptor)
{
    int error;

    if (!is_open(endpoint) || endpoint->facts[FACT_GONE]) {
        return WSGID_GONE;
    }
    error = send_pieces(endpoint, a, a_size, b, b_size, descriptor);
    return error ? lost(endpoint, error) : 0;
}

int wsgid_send_frames(wsgid_endpoint_t *endpoint, const char *a, size_t a_size, const char *b,
                      size_t b_size, int descriptor)
{
    int outcome;

    (void)pthread_mutex_lock(&endpoint->lock);
    outcome = send_if_open(endpoint, a, a_size, b, b_size, descriptor);
    (void)pthread_mutex_unlock(&endpoint->lock);
    return outcome;
}

int wsgid_send_log(wsgid_endpoint_t *endpoint, int64_t id, const char *frames, size_t size)
{
    int outcome;

    (void)pthread_mutex_lock(&endpoint->lock);
    /* Whether it is open comes first: from then on, the id is that of the request that runs. */
    outcome = is_open(endpoint) && endpoint->facts[FACT_ID] == id
                  ? send_if_open(endpoint, frames, size, NULL, 0, -1)
                  : WSGID_GONE;
    (void)pthread_mutex_unlock(&endpoint->lock);
    return outcome;
}

int wsgid_send_data(wsgid_endpoint_t *endpoint, const char *bytes, size_t size)
{
    char frame[WSGID_WIRE_HEADER_SIZE + COPIED_MAX];

    wsgid_wire_put_header((unsigned char *)frame, WSGID_WIRE_DATA, 0, (uint32_t)size);
    if (size > COPIED_MAX) {
        return wsgid_send_frames(endpoint, frame, WSGID_WIRE_HEADER_SIZE, bytes, size, -1);
    }
    memcpy(frame + WSGID_WIRE_HEADER_SIZE, bytes, size);
    return wsgid_send_frames(endpoint, frame, WSGID_WIRE_HEADER_SIZE + size, NULL, 0, -1);
}

int wsgid_send_abort(wsgid_endpoint_t *endpoint, int64_t id, const char *a, size_t a_size)
{
    /* else a frame is being sent, and comes first */
    int is_free = pthread_mutex_trylock(&endpoint->lock) == 0;
    struct iovec parts[2];
    struct msghdr message = { .msg_iov = parts };
    wsgid_connection_t *connection = __atomic_load_n(&endpoint->connection, __ATOMIC_ACQUIRE);
    int cut = connection && is_open(endpoint) && !endpoint->facts[FACT_GONE]
              && endpoint->facts[FACT_ID] == id;

    if (cut) {
        endpoint->facts[FACT_GONE] = 1;
        if (is_free) {
            announce(endpoint, &message);
            parts[message.msg_iovlen++] = (struct iovec){ (void *)a, a_size };
            /* no room: it sees the end all the same */
            (void)sendmsg(connection->fd, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
        }
        (void)shutdown(connection->fd, SHUT_RDWR); /* a send or a receive that waits ends */
    }
    if (is_free) {
        (void)pthread_mutex_unlock(&endpoint->lock);
    }
    return cut;
}

int wsgid_endpoint_is_hung_up(wsgid_endpoint_t *endpoint)
{
    struct pollfd hangup = { .fd = -1, .events = POLLRDHUP };
    int is_hung_up = 1;

    /* Not the lock: whoever sends holds it for as long as that takes. */
    wsgid_connection_t *connection = __atomic_load_n(&endpoint->connection, __ATOMIC_ACQUIRE);

    if (connection && !endpoint->facts[FACT_GONE]) {
        hangup.fd = connection->fd;
        is_hung_up = poll(&hangup, 1, 0) > 0;
    }
    return is_hung_up;
}

/* ---- the end of a response */

/* Sends the end. Gives the connection, if there is one, which nobody else sends to any more; *keep:
 * whether it may go on. */
static wsgid_connection_t *end_response(wsgid_endpoint_t *endpoint, const char *a, size_t a_size,
                                        const char *b, size_t b_size, int *keep)
{
    wsgid_connection_t *connection;

    (void)pthread_mutex_lock(&endpoint->lock);
    connection = endpoint->connection;
    __atomic_store_n(&endpoint->open, 0, __ATOMIC_RELAXED);
    if (connection) {
        int error = endpoint->facts[FACT_GONE] ? 0
                                               : send_pieces(endpoint, a, a_size, b, b_size, -1);

        if (error) {
            (void)lost(endpoint, error);
        }
        *keep = *keep && endpoint->facts[FACT_COMPLETE] && !endpoint->facts[FACT_GONE]
                && endpoint->start == endpoint->end;
    }
    __atomic_store_n(&endpoint->connection, NULL, __ATOMIC_RELEASE);
    (void)pthread_mutex_unlock(&endpoint->lock);
    return connection;
}

void wsgid_endpoint_flush(wsgid_endpoint_t *endpoint, const char *a, size_t a_size, const char *b,
                          size_t b_size, int keep)
{
    wsgid_connection_t *connection = end_response(endpoint, a, a_size, b, b_size, &keep);

    if (connection) {
        (void)pthread_mutex_lock(&endpoint->hub->lock);
        wsgid_hub_give_back(endpoint->hub, connection, keep);
        wsgid_gate_let_in(
            endpoint->hub); /* it may have something already, and endpoint may not be back soon */
        (void)pthread_mutex_unlock(&endpoint->hub->lock);
    }
}

/* ---- request after request */

/* What it reads from a connection that has something. WSGID_LEAVE: nothing that matters; the hub's
 * lock is held again. */
static int take(wsgid_hub_t *hub, wsgid_endpoint_t *endpoint, wsgid_connection_t *connection)
{
    int outcome;

    wsgid_gate_enter(hub, endpoint);
    (void)pthread_mutex_unlock(&hub->lock);
    outcome = wsgid_receive_request(endpoint, connection);
    if (outcome == WSGID_REQUEST) {
        /* who sees that, without the lock, sees all that was set before */
        __atomic_store_n(&endpoint->open, 1, __ATOMIC_RELEASE);
        return outcome;
    }
    (void)pthread_mutex_lock(&hub->lock);
    __atomic_store_n(&endpoint->connection, NULL, __ATOMIC_RELEASE);
    wsgid_hub_give_back(hub, connection, outcome == WSGID_LEAVE);
    wsgid_gate_leave(hub, endpoint);
    /* An idle connection that httpd closed, or a request cut short: not started. */
    return outcome == WSGID_GONE ? WSGID_LEAVE : outcome;
}

static int wait_for_request(wsgid_hub_t *hub, wsgid_endpoint_t *endpoint)
{
    int outcome = WSGID_LEAVE;

    while (outcome == WSGID_LEAVE && !hub->draining) {
        wsgid_connection_t *connection = wsgid_gate_is_closed(hub) ? NULL : wsgid_hub_pop(hub);

        if (connection) {
            outcome = take(hub, endpoint, connection);
            if (outcome == WSGID_REQUEST) {
                return outcome; /* without the lock */
            }
        }
        else if (wsgid_gate_is_closed(hub) || hub->poller) {
            wsgid_gate_park(hub, endpoint);
        }
        else {
            outcome = wsgid_hub_poll(hub, endpoint);
            if (outcome == WSGID_REQUEST) {
                outcome = WSGID_LEAVE;
            }
        }
    }
    wsgid_gate_let_in(hub); /* endpoint has something else to do first */
    (void)pthread_mutex_unlock(&hub->lock);
    return outcome;
}

int wsgid_endpoint_next(wsgid_endpoint_t *endpoint, const char *a, size_t a_size, const char *b,
                        size_t b_size, int keep)
{
    wsgid_hub_t *hub = endpoint->hub;
    wsgid_connection_t *connection = end_response(endpoint, a, a_size, b, b_size, &keep);

    wsgid_measure_end(endpoint);
    if (endpoint->tid == 0) {
        wsgid_gate_introduce(endpoint);
    }
    (void)pthread_mutex_lock(&hub->lock);
    if (connection) {
        wsgid_hub_give_back(hub, connection, keep);
    }
    wsgid_gate_leave(hub, endpoint);
    wsgid_hub_resume_listening(hub, endpoint);
    if (endpoint->facts[FACT_UNSENT]) {
        wsgid_gate_let_in(hub);
        (void)pthread_mutex_unlock(&hub->lock);
        endpoint->facts[FACT_ERRNO] = endpoint->facts[FACT_UNSENT];
        endpoint->facts[FACT_UNSENT] = 0;
        return WSGID_UNSENT;
    }
    return wait_for_request(hub, endpoint);
}
