/*
 * Frames out. Which thread may send, when, and how long a response may wait for httpd.
 *
 * STARTED goes before the first frame of each exchange, in the same send. Each send is first tried
 * without waiting, so that others can be admitted before a wait. With a send-timeout, that is how
 * long the response may wait for httpd in all. Without one there is no limit in all, but httpd must
 * take something within each socket-timeout.
 */
#include "hotpath.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>

#define COPIED_MAX 1024 /* copying more costs more than another part of a message */
#define PARTS_MAX  3    /* of a message: STARTED and two pieces */
/* Sending more than that takes so long that other threads shall have the GIL meanwhile. */
#define WITH_GIL_MAX (32 * 1024)

/* ---- one message, as long as it takes */

/* Waits until httpd has room for more. 0: it is time to give up. */
static int wait_for_room(wsgid_endpoint_t *endpoint)
{
    const wsgid_hub_t *hub = endpoint->hub;
    struct pollfd writable = { .fd = endpoint->connection->fd, .events = POLLOUT };
    int64_t began = wsgid_gate_now();
    int64_t left = hub->send_limit ? endpoint->sending.time_left : hub->send_silence;
    struct timespec limit = { left / WSGID_SECOND, left % WSGID_SECOND };
    int found;

    wsgid_gate_blocks(endpoint);
    wsgid_gil_release();
    found = left > 0 ? ppoll(&writable, 1, &limit, NULL) : 0;
    endpoint->sending.time_left -= wsgid_gate_now() - began;
    return found > 0 || (found < 0 && errno == EINTR);
}

/* Takes the bytes that have been sent out of the message. */
static void skip(struct msghdr *message, size_t sent)
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

/* One send of as much as there is room for. send() costs less than sendmsg(). */
static ssize_t send_some(int fd, const struct msghdr *message)
{
    if (message->msg_iovlen == 1 && message->msg_controllen == 0) {
        return send(fd, message->msg_iov->iov_base, message->msg_iov->iov_len,
                    MSG_NOSIGNAL | MSG_DONTWAIT);
    }
    return sendmsg(fd, message, MSG_NOSIGNAL | MSG_DONTWAIT);
}

/* Sends the message whole, for as long as httpd takes something. 0 or an errno: EPIPE if httpd has
 * closed the connection, ETIMEDOUT if it takes nothing. */
static int send_message(wsgid_endpoint_t *endpoint, struct msghdr *message)
{
    int is_last_try = 0;

    while (message->msg_iovlen > 0) {
        ssize_t sent = send_some(endpoint->connection->fd, message);

        if (sent >= 0) {
            skip(message, (size_t)sent);
            message->msg_controllen = 0; /* a descriptor went with the first byte */
            is_last_try = 0;
        }
        else if (errno == EAGAIN) {
            if (is_last_try) {
                return ETIMEDOUT;
            }
            /* One more try: for poll() there is no room while less than a quarter of the buffer
             * is free. */
            is_last_try = !wait_for_room(endpoint);
        }
        else if (errno != EINTR) {
            return wsgid_outcome_is_gone(errno) ? EPIPE : errno;
        }
    }
    return 0;
}

/* Waits for a lock that another thread may hold as long as a send takes. */
static void lock(pthread_mutex_t *mutex)
{
    if (pthread_mutex_trylock(mutex) != 0) {
        wsgid_gil_release();
        (void)pthread_mutex_lock(mutex);
    }
}

/* ---- frames; under the endpoint's lock */

static void append(struct msghdr *message, const void *bytes, size_t size)
{
    message->msg_iov[message->msg_iovlen++] = (struct iovec){ (void *)bytes, size };
}

/* Puts STARTED into the message if its frames are the first of their exchange. */
static void announce(wsgid_endpoint_t *endpoint, struct msghdr *message)
{
    wsgid_sending_t *sending = &endpoint->sending;

    if (!sending->announced) {
        append(message, sending->started, sizeof(sending->started));
        sending->announced = 1;
    }
}

typedef union {
    struct cmsghdr header;
    char bytes[CMSG_SPACE(sizeof(int))];
} control_t;

/* Lets a descriptor travel with the first byte. `control` must live until the message is sent. */
static void attach(struct msghdr *message, control_t *control, int descriptor)
{
    message->msg_control = control->bytes;
    message->msg_controllen = CMSG_LEN(sizeof(int));
    control->header = (struct cmsghdr){ .cmsg_len = CMSG_LEN(sizeof(int)),
                                        .cmsg_level = SOL_SOCKET,
                                        .cmsg_type = SCM_RIGHTS };
    memcpy(CMSG_DATA(&control->header), &descriptor, sizeof(descriptor));
}

/* 0 or an errno, as send_message(). */
static int send_pieces(wsgid_endpoint_t *endpoint, const char *a, size_t a_size, const char *b,
                       size_t b_size, int descriptor)
{
    control_t control = { 0 };
    struct iovec parts[PARTS_MAX];
    struct msghdr message = { .msg_iov = parts };

    if (a_size == 0) {
        return 0;
    }
    if (a_size + b_size > WITH_GIL_MAX) {
        wsgid_gil_release();
    }
    announce(endpoint, &message);
    append(&message, a, a_size);
    if (b_size > 0) {
        append(&message, b, b_size);
    }
    if (descriptor >= 0) {
        attach(&message, &control, descriptor);
    }
    return send_message(endpoint, &message);
}

/* A send has failed: nothing more is sent. */
static int give_up(wsgid_endpoint_t *endpoint, int error)
{
    endpoint->facts[FACT_GONE] = 1;
    if (error != EPIPE) {
        endpoint->facts[FACT_UNSENT] = error;
    }
    return wsgid_outcome_of_error(endpoint, error);
}

static int is_open(const wsgid_endpoint_t *endpoint)
{
    return __atomic_load_n(&endpoint->sending.open, __ATOMIC_ACQUIRE);
}

static int send_if_open(wsgid_endpoint_t *endpoint, const char *a, size_t a_size, const char *b,
                        size_t b_size, int descriptor)
{
    int error;

    if (!is_open(endpoint) || endpoint->facts[FACT_GONE]) {
        return WSGID_GONE;
    }
    error = send_pieces(endpoint, a, a_size, b, b_size, descriptor);
    return error ? give_up(endpoint, error) : 0;
}

/* ---- what Python calls (hotpath_table.h) */

int wsgid_send_frames(wsgid_endpoint_t *endpoint, const char *a, size_t a_size, const char *b,
                      size_t b_size, int descriptor)
{
    int outcome;

    lock(&endpoint->sending.lock);
    outcome = send_if_open(endpoint, a, a_size, b, b_size, descriptor);
    (void)pthread_mutex_unlock(&endpoint->sending.lock);
    wsgid_gil_take_back();
    return outcome;
}

int wsgid_send_log(wsgid_endpoint_t *endpoint, int64_t id, const char *frames, size_t size)
{
    int outcome = WSGID_GONE;

    lock(&endpoint->sending.lock);
    /* Ask first whether it is open: only then is the id that of the request that runs. */
    if (is_open(endpoint) && endpoint->facts[FACT_ID] == id) {
        outcome = send_if_open(endpoint, frames, size, NULL, 0, -1);
    }
    (void)pthread_mutex_unlock(&endpoint->sending.lock);
    wsgid_gil_take_back();
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

/* Sends what there is room for, without waiting: httpd sees the end of the connection anyway. */
static void send_at_once(wsgid_endpoint_t *endpoint, int fd, const char *frames, size_t size)
{
    struct iovec parts[PARTS_MAX];
    struct msghdr message = { .msg_iov = parts };

    announce(endpoint, &message);
    append(&message, frames, size);
    (void)sendmsg(fd, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
}

int wsgid_send_abort(wsgid_endpoint_t *endpoint, int64_t id, const char *a, size_t a_size)
{
    /* If another thread has the lock, a frame is being sent, which these must not cut in two. */
    int is_free = pthread_mutex_trylock(&endpoint->sending.lock) == 0;
    wsgid_connection_t *connection;
    int64_t *facts = endpoint->facts;
    int runs;

    if (!is_free) {
        /* The request may end meanwhile. Its connection is given back under this lock. */
        (void)pthread_mutex_lock(&endpoint->hub->lock);
    }
    connection = __atomic_load_n(&endpoint->connection, __ATOMIC_ACQUIRE);
    runs = connection && is_open(endpoint) && !facts[FACT_GONE] && facts[FACT_ID] == id;
    if (runs) {
        facts[FACT_GONE] = 1;
        if (is_free) {
            send_at_once(endpoint, connection->fd, a, a_size);
        }
        (void)shutdown(connection->fd, SHUT_RDWR); /* ends a send or a receive that waits */
    }
    (void)pthread_mutex_unlock(is_free ? &endpoint->sending.lock : &endpoint->hub->lock);
    return runs;
}

/* ---- the begin and the end of a response */

void wsgid_send_open(wsgid_endpoint_t *endpoint)
{
    /* A thread that sees this, without the lock, sees everything that was set before. */
    __atomic_store_n(&endpoint->sending.open, 1, __ATOMIC_RELEASE);
}

wsgid_connection_t *wsgid_send_end(wsgid_endpoint_t *endpoint, const char *a, size_t a_size,
                                   const char *b, size_t b_size, int *keep)
{
    const wsgid_receiving_t *receiving = &endpoint->receiving;
    const int64_t *facts = endpoint->facts;
    wsgid_connection_t *connection;

    lock(&endpoint->sending.lock);
    connection = endpoint->connection;
    if (connection) {
        int error = facts[FACT_GONE] ? 0 : send_pieces(endpoint, a, a_size, b, b_size, -1);

        if (error) {
            (void)give_up(endpoint, error);
        }
        *keep = *keep && facts[FACT_COMPLETE] && !facts[FACT_GONE]
                && receiving->start == receiving->end;
    }
    __atomic_store_n(&endpoint->sending.open, 0, __ATOMIC_RELAXED); /* not before: see abort */
    __atomic_store_n(&endpoint->connection, NULL, __ATOMIC_RELEASE);
    (void)pthread_mutex_unlock(&endpoint->sending.lock);
    return connection;
}
