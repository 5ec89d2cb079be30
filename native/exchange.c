/*
 * A worker's end of a connection: a whole REQUEST in, body bytes in, frames out.
 *
 * STARTED goes before the first frame of each exchange, in the same send. Sockets block, with SO_RCVTIMEO; what may have to wait is tried
 * without waiting first, so that the gate is opened before. How long a response may wait for httpd: with a send-timeout, so long in all;
 * without one there is no bound in all, but each wait must bring something within socket-timeout. Every header is checked by wire.c before
 * the bytes that it announces are awaited.
 */
#define _GNU_SOURCE
#include "hotpath.h"
#include "../apxs/handover.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/uio.h>

#define COPIED_MAX  1024                /* to copy more costs more than another part of a message */

wsgid_exchange_t *wsgid_exchange_create(wsgid_hub_t *hub, char *memory)
{
    wsgid_exchange_t *x = calloc(1, sizeof(*x));
    pthread_condattr_t monotonic;

    if (!x) {
        return NULL;
    }
    x->hub = hub;
    x->facts = (int64_t *)(void *)memory;
    x->buffer = (unsigned char *)memory + WSGID_FACTS_SIZE;
    (void)pthread_mutex_init(&x->lock, NULL);
    (void)pthread_condattr_init(&monotonic);        /* none of these fails on Linux */
    (void)pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    (void)pthread_cond_init(&x->wake, &monotonic);
    (void)pthread_condattr_destroy(&monotonic);
    (void)pthread_mutex_lock(&hub->lock);
    x->number = hub->exchanges ? hub->exchanges->number + 1 : 0;
    x->next = hub->exchanges;
    hub->exchanges = x;
    (void)pthread_mutex_unlock(&hub->lock);
    return x;
}

/* ---- sending */

static int is_gone(int error)
{
    return error == EPIPE || error == ECONNRESET || error == ENOTCONN || error == EBADF;
}

/* Waits until httpd has room for more; 0: it is time to give up. */
static int wait_for_room(wsgid_exchange_t *x)
{
    struct pollfd writable = { .fd = x->connection->fd, .events = POLLOUT };
    int64_t began = wsgid_gate_now();
    int64_t left = x->hub->send_limit ? x->patience : x->hub->send_silence;
    struct timespec limit = { left / 1000000000, left % 1000000000 };
    int found;

    wsgid_gate_blocks(x->hub, x);
    found = left > 0 ? ppoll(&writable, 1, &limit, NULL) : 0;
    x->patience -= wsgid_gate_now() - began;
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

/* One send, of whatever there is room for; a message of one buffer is cheaper to hand over without its frame. */
static ssize_t send_some(int fd, const struct msghdr *message)
{
    if (message->msg_iovlen == 1 && message->msg_controllen == 0) {
        return send(fd, message->msg_iov->iov_base, message->msg_iov->iov_len, MSG_NOSIGNAL | MSG_DONTWAIT);
    }
    return sendmsg(fd, message, MSG_NOSIGNAL | MSG_DONTWAIT);
}

/* Sends it whole, as long as httpd takes something. 0 or an errno: EPIPE for all that means that httpd has gone, ETIMEDOUT. */
static int send_message(wsgid_exchange_t *x, struct msghdr *message)
{
    int is_last_try = 0;

    while (message->msg_iovlen > 0) {
        ssize_t sent = send_some(x->connection->fd, message);

        if (sent >= 0) {
            step_over(message, (size_t)sent);
            message->msg_controllen = 0;            /* a descriptor went with the first byte */
            is_last_try = 0;
        }
        else if (errno == EAGAIN) {
            if (is_last_try) {
                return ETIMEDOUT;
            }
            /* Then a last try: poll() calls less than a quarter of the buffer no room. */
            is_last_try = !wait_for_room(x);
        }
        else if (errno != EINTR) {
            return is_gone(errno) ? EPIPE : errno;
        }
    }
    return 0;
}

/* Frames of this exchange are about to be sent: begins the message with STARTED if they are the first. Under x->lock. */
static void announce(wsgid_exchange_t *x, struct msghdr *message)
{
    if (!x->announced) {
        message->msg_iov[message->msg_iovlen++] = (struct iovec){ x->started, sizeof(x->started) };
        x->announced = 1;
    }
}

static int send_pieces(wsgid_exchange_t *x, const char *a, size_t a_size, const char *b, size_t b_size, int descriptor)
{
    union { struct cmsghdr aligned; char bytes[CMSG_SPACE(sizeof(int))]; } control = { 0 };
    struct iovec parts[3];
    struct msghdr message = { .msg_iov = parts };

    if (a_size == 0) {
        return 0;
    }
    announce(x, &message);
    parts[message.msg_iovlen++] = (struct iovec){ (void *)a, a_size };
    if (b_size > 0) {
        parts[message.msg_iovlen++] = (struct iovec){ (void *)b, b_size };
    }
    if (descriptor >= 0) {
        message.msg_control = control.bytes;
        message.msg_controllen = CMSG_LEN(sizeof(int));
        control.aligned = (struct cmsghdr){ .cmsg_len = CMSG_LEN(sizeof(int)), .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS };
        memcpy(CMSG_DATA(&control.aligned), &descriptor, sizeof(descriptor));
    }
    return send_message(x, &message);
}

static int is_open(const wsgid_exchange_t *x)
{
    return __atomic_load_n(&x->open, __ATOMIC_ACQUIRE);
}

/* A send or a receive has failed. */
static int lost(wsgid_exchange_t *x, int error)
{
    x->facts[FACT_GONE] = 1;
    if (error == EPIPE) {
        return WSGID_GONE;
    }
    x->facts[FACT_UNSENT] = error;
    x->facts[FACT_ERRNO] = error;
    return error == ETIMEDOUT ? WSGID_SILENT : WSGID_FAILED;
}

/* Under x->lock. */
static int send_if_open(wsgid_exchange_t *x, const char *a, size_t a_size, const char *b, size_t b_size, int descriptor)
{
    int error;

    if (!is_open(x) || x->facts[FACT_GONE]) {
        return WSGID_GONE;
    }
    error = send_pieces(x, a, a_size, b, b_size, descriptor);
    return error ? lost(x, error) : 0;
}

int wsgid_exchange_send(wsgid_exchange_t *x, const char *a, size_t a_size, const char *b, size_t b_size, int descriptor)
{
    int outcome;

    (void)pthread_mutex_lock(&x->lock);
    outcome = send_if_open(x, a, a_size, b, b_size, descriptor);
    (void)pthread_mutex_unlock(&x->lock);
    return outcome;
}

int wsgid_exchange_log(wsgid_exchange_t *x, int64_t id, const char *frames, size_t size)
{
    int outcome;

    (void)pthread_mutex_lock(&x->lock);
    /* Whether it is open comes first: from then on, the id is that of the request that runs. */
    outcome = is_open(x) && x->facts[FACT_ID] == id ? send_if_open(x, frames, size, NULL, 0, -1) : WSGID_GONE;
    (void)pthread_mutex_unlock(&x->lock);
    return outcome;
}

int wsgid_exchange_send_data(wsgid_exchange_t *x, const char *bytes, size_t size)
{
    char frame[WSGID_WIRE_HEADER_SIZE + COPIED_MAX];

    wsgid_wire_put_header((unsigned char *)frame, WSGID_WIRE_DATA, 0, (uint32_t)size);
    if (size > COPIED_MAX) {
        return wsgid_exchange_send(x, frame, WSGID_WIRE_HEADER_SIZE, bytes, size, -1);
    }
    memcpy(frame + WSGID_WIRE_HEADER_SIZE, bytes, size);
    return wsgid_exchange_send(x, frame, WSGID_WIRE_HEADER_SIZE + size, NULL, 0, -1);
}

int wsgid_exchange_cut(wsgid_exchange_t *x, int64_t id, const char *a, size_t a_size)
{
    int is_free = pthread_mutex_trylock(&x->lock) == 0;     /* else a frame is being sent, and comes first */
    struct iovec parts[2];
    struct msghdr message = { .msg_iov = parts };
    wsgid_connection_t *connection = __atomic_load_n(&x->connection, __ATOMIC_ACQUIRE);
    int cut = connection && is_open(x) && !x->facts[FACT_GONE] && x->facts[FACT_ID] == id;

    if (cut) {
        x->facts[FACT_GONE] = 1;
        if (is_free) {
            announce(x, &message);
            parts[message.msg_iovlen++] = (struct iovec){ (void *)a, a_size };
            (void)sendmsg(connection->fd, &message, MSG_NOSIGNAL | MSG_DONTWAIT);   /* no room: it sees the end all the same */
        }
        (void)shutdown(connection->fd, SHUT_RDWR);          /* a send or a receive that waits ends */
    }
    if (is_free) {
        (void)pthread_mutex_unlock(&x->lock);
    }
    return cut;
}

int wsgid_exchange_is_hung_up(wsgid_exchange_t *x)
{
    struct pollfd hangup = { .fd = -1, .events = POLLRDHUP };
    int is_hung_up = 1;

    /* Not the lock: whoever sends holds it for as long as that takes. */
    wsgid_connection_t *connection = __atomic_load_n(&x->connection, __ATOMIC_ACQUIRE);

    if (connection && !x->facts[FACT_GONE]) {
        hangup.fd = connection->fd;
        is_hung_up = poll(&hangup, 1, 0) > 0;
    }
    return is_hung_up;
}

/* ---- the end of a response */

/* Sends the end. Gives the connection, if there is one, which nobody else sends to any more; *keep: whether it may go on. */
static wsgid_connection_t *end_response(wsgid_exchange_t *x, const char *a, size_t a_size, const char *b, size_t b_size,
                                        int *keep)
{
    wsgid_connection_t *connection;

    (void)pthread_mutex_lock(&x->lock);
    connection = x->connection;
    __atomic_store_n(&x->open, 0, __ATOMIC_RELAXED);
    if (connection) {
        int error = x->facts[FACT_GONE] ? 0 : send_pieces(x, a, a_size, b, b_size, -1);

        if (error) {
            (void)lost(x, error);
        }
        *keep = *keep && x->facts[FACT_COMPLETE] && !x->facts[FACT_GONE] && x->start == x->end;
    }
    __atomic_store_n(&x->connection, NULL, __ATOMIC_RELEASE);
    (void)pthread_mutex_unlock(&x->lock);
    return connection;
}

void wsgid_exchange_flush(wsgid_exchange_t *x, const char *a, size_t a_size, const char *b, size_t b_size, int keep)
{
    wsgid_connection_t *connection = end_response(x, a, a_size, b, b_size, &keep);

    if (connection) {
        (void)pthread_mutex_lock(&x->hub->lock);
        wsgid_hub_give_back(x->hub, connection, keep);
        wsgid_gate_let_in(x->hub);                  /* it may have something already, and x may not be back soon */
        (void)pthread_mutex_unlock(&x->hub->lock);
    }
}

/* ---- receiving */

/* A receive of at most `room` bytes to x->end. */
typedef struct {
    wsgid_exchange_t *x;
    size_t room;
    ssize_t came;                                   /* as recv() says */
} reception_t;

static void receive_once(reception_t *reception, int flags)
{
    wsgid_exchange_t *x = reception->x;

    reception->came = recv(x->connection->fd, x->buffer + x->end, reception->room, flags);
}

/* For wsgid_spin. */
static int has_come(void *reception)
{
    receive_once(reception, MSG_DONTWAIT);
    return ((reception_t *)reception)->came >= 0 || errno != EAGAIN;
}

/* Nothing was there: waits for it, with the gate open for others. */
static void receive_patiently(reception_t *reception)
{
    wsgid_exchange_t *x = reception->x;

    wsgid_gate_blocks(x->hub, x);
    wsgid_hub_look_away(x->hub, x->connection);
    if (!wsgid_spin(&x->hub->bodies, has_come, reception)) {
        receive_once(reception, 0);
    }
}

/* One receive, at most `room` bytes to x->end. 0, EAGAIN if nothing is there (without wait), EPIPE, ETIMEDOUT or another errno. */
static int receive_some(wsgid_exchange_t *x, size_t room, int wait)
{
    reception_t reception = { x, room, 0 };

    for (;;) {
        receive_once(&reception, MSG_DONTWAIT);
        if (reception.came < 0 && errno == EAGAIN && wait) {
            receive_patiently(&reception);
            if (reception.came < 0 && errno == EAGAIN) {
                return ETIMEDOUT;
            }
        }
        if (reception.came > 0) {
            x->end += (size_t)reception.came;
            x->high = x->end > x->high ? x->end : x->high;
            return 0;
        }
        if (reception.came == 0) {
            return EPIPE;
        }
        if (errno != EINTR) {
            return is_gone(errno) ? EPIPE : errno;
        }
    }
}

/* A REQUEST that was very large leaves pages behind that most never need. */
static void trim(wsgid_exchange_t *x)
{
    if (x->high > WSGID_BUFFER_KEPT) {
        (void)madvise(x->buffer + WSGID_BUFFER_KEPT, WSGID_BUFFER_SIZE - WSGID_BUFFER_KEPT, MADV_DONTNEED);
        x->high = 0;
    }
}

static void reset(wsgid_exchange_t *x, wsgid_connection_t *connection)
{
    trim(x);
    x->start = x->end = 0;
    x->frame_left = 0;
    x->frame_last = 0;
    x->patience = x->hub->send_limit;
    x->announced = 0;
    memset(x->facts, 0, FACT_COUNT * sizeof(*x->facts));
    __atomic_store_n(&x->connection, connection, __ATOMIC_RELEASE);
}

static int violation(wsgid_exchange_t *x, int fault, size_t at, size_t amount)
{
    x->facts[FACT_FAULT] = fault;
    x->facts[FACT_AT] = (int64_t)at;
    x->facts[FACT_AMOUNT] = (int64_t)amount;
    return WSGID_VIOLATION;
}

static int outcome_of(wsgid_exchange_t *x, int error)
{
    if (error == EPIPE) {
        return WSGID_GONE;
    }
    x->facts[FACT_ERRNO] = error;
    return error == ETIMEDOUT ? WSGID_SILENT : WSGID_FAILED;
}

/* Receives until there are `size` bytes. */
static int fill(wsgid_exchange_t *x, size_t size)
{
    int error = 0;

    while (!error && x->end < size) {
        error = receive_some(x, WSGID_BUFFER_SIZE - x->end, 1);
    }
    return error;
}

static int parse_request(wsgid_exchange_t *x, const wsgid_wire_frame_t *frame)
{
    wsgid_wire_request_t request;
    char line[WSGID_PAGE_LINE];
    size_t line_length;
    /* The block is checked by Python, which reads it anyway. */
    wsgid_wire_error_e error = wsgid_wire_split_request(x->buffer + WSGID_WIRE_HEADER_SIZE, frame->length, &request);

    if (error != WSGID_WIRE_OK) {
        return violation(x, error, 0, 0);
    }
    x->start = WSGID_WIRE_HEADER_SIZE + frame->length;
    if (x->start != x->end) {
        return violation(x, WSGID_OVER_CREDIT, 0, x->end - x->start);
    }
    x->facts[FACT_ENVIRON] = request.environ_length;
    x->facts[FACT_BODY] = request.body_length;
    x->facts[FACT_ID] = (int64_t)request.id;
    x->facts[FACT_SENT] = (int64_t)request.sent;
    x->facts[FACT_COMPLETE] = !!(frame->flags & WSGID_WIRE_END);
    line_length = wsgid_wire_copy_line(&request, line, sizeof(line));
    wsgid_measure_begin(x, request.sent, line, line_length);
    wsgid_kinds_name(x, line, line_length);
    wsgid_gate_judge(x->hub, x);
    return WSGID_REQUEST;
}

/* Reads a whole REQUEST. WSGID_LEAVE: there was nothing to read. */
static int read_request(wsgid_exchange_t *x, wsgid_connection_t *connection)
{
    wsgid_wire_frame_t frame;
    wsgid_wire_error_e bad;
    int error;

    reset(x, connection);
    error = receive_some(x, WSGID_BUFFER_SIZE, 0);
    if (error == EAGAIN) {
        return WSGID_LEAVE;
    }
    if (!error) {
        error = fill(x, WSGID_WIRE_HEADER_SIZE);
    }
    if (error) {
        return outcome_of(x, error);
    }
    bad = wsgid_wire_get_header(&frame, x->buffer, WSGID_WIRE_FROM_HTTPD);
    if (bad != WSGID_WIRE_OK) {
        return violation(x, bad, 0, 0);
    }
    if (frame.type != WSGID_WIRE_REQUEST) {
        return violation(x, WSGID_OUT_OF_ORDER, 0, 0);
    }
    error = fill(x, WSGID_WIRE_HEADER_SIZE + frame.length);
    return error ? outcome_of(x, error) : parse_request(x, &frame);
}

/* The header of the next BODY frame, which may be cut anywhere. 0 or minus an outcome. */
static int read_body_header(wsgid_exchange_t *x)
{
    wsgid_wire_frame_t frame;
    wsgid_wire_error_e bad;
    size_t have = x->end - x->start;
    int error = 0;

    if (have < WSGID_WIRE_HEADER_SIZE) {
        memmove(x->buffer, x->buffer + x->start, have);
        x->start = 0;
        x->end = have;
    }
    while (!error && x->end - x->start < WSGID_WIRE_HEADER_SIZE) {
        error = receive_some(x, WSGID_RECEIVE_MAX - x->end, 1);
    }
    if (error) {
        return -outcome_of(x, error);
    }
    bad = wsgid_wire_get_header(&frame, x->buffer + x->start, WSGID_WIRE_FROM_HTTPD);
    if (bad != WSGID_WIRE_OK) {
        return -violation(x, bad, x->start, 0);
    }
    if (frame.type != WSGID_WIRE_BODY) {
        return -violation(x, WSGID_OUT_OF_ORDER, x->start, 0);
    }
    if ((int64_t)frame.length > x->facts[FACT_CREDIT]) {
        return -violation(x, WSGID_OVER_CREDIT, x->start, frame.length);
    }
    x->start += WSGID_WIRE_HEADER_SIZE;
    x->frame_left = frame.length;
    x->frame_last = !!(frame.flags & WSGID_WIRE_END);
    if (frame.length == 0) {
        x->facts[FACT_COMPLETE] = 1;
    }
    return 0;
}

/* What of the current frame is there, or comes next. */
static int take_body(wsgid_exchange_t *x)
{
    size_t size;
    int error = 0;

    if (x->start == x->end) {
        x->start = x->end = 0;
        error = receive_some(x, x->frame_left < WSGID_RECEIVE_MAX ? x->frame_left : WSGID_RECEIVE_MAX, 1);
    }
    if (error) {
        return -outcome_of(x, error);
    }
    size = x->end - x->start < x->frame_left ? x->end - x->start : x->frame_left;
    x->facts[FACT_AT] = (int64_t)x->start;
    x->facts[FACT_CREDIT] -= (int64_t)size;
    x->start += size;
    x->frame_left -= (uint32_t)size;
    if (x->frame_left == 0 && x->frame_last) {
        x->facts[FACT_COMPLETE] = 1;
    }
    return (int)size;
}

int wsgid_exchange_receive(wsgid_exchange_t *x)
{
    int outcome = 0;

    if (!x->connection) {
        return -WSGID_GONE;
    }
    while (outcome == 0 && x->frame_left == 0) {
        if (x->facts[FACT_COMPLETE]) {
            return 0;
        }
        outcome = read_body_header(x);
    }
    if (outcome == 0) {
        outcome = take_body(x);
    }
    if (outcome == -WSGID_GONE || outcome == -WSGID_SILENT) {
        x->facts[FACT_GONE] = 1;
    }
    return outcome;
}

/* ---- request after request */

/* What it reads from a connection that has something. WSGID_LEAVE: nothing that matters; the hub's lock is held again. */
static int take(wsgid_hub_t *hub, wsgid_exchange_t *x, wsgid_connection_t *connection)
{
    int outcome;

    wsgid_gate_enter(hub, x);
    (void)pthread_mutex_unlock(&hub->lock);
    outcome = read_request(x, connection);
    if (outcome == WSGID_REQUEST) {
        __atomic_store_n(&x->open, 1, __ATOMIC_RELEASE);    /* who sees that, without the lock, sees all that was set before */
        return outcome;
    }
    (void)pthread_mutex_lock(&hub->lock);
    __atomic_store_n(&x->connection, NULL, __ATOMIC_RELEASE);
    wsgid_hub_give_back(hub, connection, outcome == WSGID_LEAVE);
    wsgid_gate_leave(hub, x);
    /* An idle connection that httpd closed, or a request cut short: not started. */
    return outcome == WSGID_GONE ? WSGID_LEAVE : outcome;
}

static int wait_for_request(wsgid_hub_t *hub, wsgid_exchange_t *x)
{
    int outcome = WSGID_LEAVE;

    while (outcome == WSGID_LEAVE && !hub->draining) {
        wsgid_connection_t *connection = wsgid_gate_is_closed(hub) ? NULL : wsgid_hub_pop(hub);

        if (connection) {
            outcome = take(hub, x, connection);
            if (outcome == WSGID_REQUEST) {
                return outcome;                     /* without the lock */
            }
        }
        else if (wsgid_gate_is_closed(hub) || hub->poller) {
            wsgid_gate_park(hub, x);
        }
        else {
            outcome = wsgid_hub_poll(hub, x);
            if (outcome == WSGID_REQUEST) {
                outcome = WSGID_LEAVE;
            }
        }
    }
    wsgid_gate_let_in(hub);                         /* x has something else to do first */
    (void)pthread_mutex_unlock(&hub->lock);
    return outcome;
}

int wsgid_exchange_next(wsgid_exchange_t *x, const char *a, size_t a_size, const char *b, size_t b_size, int keep)
{
    wsgid_hub_t *hub = x->hub;
    wsgid_connection_t *connection = end_response(x, a, a_size, b, b_size, &keep);

    wsgid_measure_end(x);
    if (x->tid == 0) {
        wsgid_gate_introduce(x);
    }
    (void)pthread_mutex_lock(&hub->lock);
    if (connection) {
        wsgid_hub_give_back(hub, connection, keep);
    }
    wsgid_gate_leave(hub, x);
    wsgid_hub_resume_listening(hub, x);
    if (x->facts[FACT_UNSENT]) {
        wsgid_gate_let_in(hub);
        (void)pthread_mutex_unlock(&hub->lock);
        x->facts[FACT_ERRNO] = x->facts[FACT_UNSENT];
        x->facts[FACT_UNSENT] = 0;
        return WSGID_UNSENT;
    }
    return wait_for_request(hub, x);
}
