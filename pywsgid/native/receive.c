/*
 * What a worker receives from httpd: a whole REQUEST, then bytes of its body. Each frame's header
 * is checked by wire.c before the bytes that it announces are awaited. Sockets block, with
 * SO_RCVTIMEO; what may have to wait is tried without waiting first, so that the gate is opened
 * before.
 */
#include "hotpath.h"
#include "common/process_abi.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>

/* A receive of at most `room` bytes to x->end. */
typedef struct {
    wsgid_exchange_t *x;
    size_t room;
    ssize_t came; /* as recv() says */
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

/* One receive, at most `room` bytes to x->end. 0, EAGAIN if nothing is there (without wait), EPIPE,
 * ETIMEDOUT or another errno. */
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
            return wsgid_exchange_is_gone(errno) ? EPIPE : errno;
        }
    }
}

/* A REQUEST that was very large leaves pages behind that most never need. */
static void trim(wsgid_exchange_t *x)
{
    if (x->high > WSGID_BUFFER_KEPT) {
        (void)madvise(x->buffer + WSGID_BUFFER_KEPT, WSGID_BUFFER_SIZE - WSGID_BUFFER_KEPT,
                      MADV_DONTNEED);
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
    wsgid_wire_error_e error = wsgid_wire_split_request(x->buffer + WSGID_WIRE_HEADER_SIZE,
                                                        frame->length, &request);

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
    wsgid_request_classes_name(x, line, line_length);
    wsgid_gate_judge(x->hub, x);
    return WSGID_REQUEST;
}

int wsgid_receive_request(wsgid_exchange_t *x, wsgid_connection_t *connection)
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
        error = receive_some(
            x, x->frame_left < WSGID_RECEIVE_MAX ? x->frame_left : WSGID_RECEIVE_MAX, 1);
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
