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

/* A receive of at most `room` bytes to endpoint->end. */
typedef struct {
    wsgid_endpoint_t *endpoint;
    size_t room;
    ssize_t came; /* as recv() says */
} reception_t;

static void receive_once(reception_t *reception, int flags)
{
    wsgid_endpoint_t *endpoint = reception->endpoint;

    reception->came = recv(endpoint->connection->fd, endpoint->buffer + endpoint->end,
                           reception->room, flags);
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
    wsgid_endpoint_t *endpoint = reception->endpoint;

    wsgid_gate_blocks(endpoint->hub, endpoint);
    wsgid_hub_unwatch(endpoint->hub, endpoint->connection);
    if (!wsgid_spin(&endpoint->hub->bodies, has_come, reception)) {
        receive_once(reception, 0);
    }
}

/* One receive, at most `room` bytes to endpoint->end. 0, EAGAIN if nothing is there (without wait),
 * EPIPE, ETIMEDOUT or another errno. */
static int receive_some(wsgid_endpoint_t *endpoint, size_t room, int wait)
{
    reception_t reception = { endpoint, room, 0 };

    for (;;) {
        receive_once(&reception, MSG_DONTWAIT);
        if (reception.came < 0 && errno == EAGAIN && wait) {
            receive_patiently(&reception);
            if (reception.came < 0 && errno == EAGAIN) {
                return ETIMEDOUT;
            }
        }
        if (reception.came > 0) {
            endpoint->end += (size_t)reception.came;
            endpoint->high = endpoint->end > endpoint->high ? endpoint->end : endpoint->high;
            return 0;
        }
        if (reception.came == 0) {
            return EPIPE;
        }
        if (errno != EINTR) {
            return wsgid_outcome_is_gone(errno) ? EPIPE : errno;
        }
    }
}

/* A REQUEST that was very large leaves pages behind that most never need. */
static void trim(wsgid_endpoint_t *endpoint)
{
    if (endpoint->high > WSGID_BUFFER_KEPT) {
        (void)madvise(endpoint->buffer + WSGID_BUFFER_KEPT, WSGID_BUFFER_SIZE - WSGID_BUFFER_KEPT,
                      MADV_DONTNEED);
        endpoint->high = 0;
    }
}

static void reset(wsgid_endpoint_t *endpoint, wsgid_connection_t *connection)
{
    trim(endpoint);
    endpoint->start = endpoint->end = 0;
    endpoint->frame_left = 0;
    endpoint->frame_last = 0;
    endpoint->patience = endpoint->hub->send_limit;
    endpoint->announced = 0;
    memset(endpoint->facts, 0, FACT_COUNT * sizeof(*endpoint->facts));
    __atomic_store_n(&endpoint->connection, connection, __ATOMIC_RELEASE);
}

static int violation(wsgid_endpoint_t *endpoint, int fault, size_t at, size_t amount)
{
    endpoint->facts[FACT_FAULT] = fault;
    endpoint->facts[FACT_AT] = (int64_t)at;
    endpoint->facts[FACT_AMOUNT] = (int64_t)amount;
    return WSGID_VIOLATION;
}

static int outcome_of(wsgid_endpoint_t *endpoint, int error)
{
    if (error == EPIPE) {
        return WSGID_GONE;
    }
    endpoint->facts[FACT_ERRNO] = error;
    return error == ETIMEDOUT ? WSGID_SILENT : WSGID_FAILED;
}

/* Receives until there are `size` bytes. */
static int fill(wsgid_endpoint_t *endpoint, size_t size)
{
    int error = 0;

    while (!error && endpoint->end < size) {
        error = receive_some(endpoint, WSGID_BUFFER_SIZE - endpoint->end, 1);
    }
    return error;
}

static int parse_request(wsgid_endpoint_t *endpoint, const wsgid_wire_frame_t *frame)
{
    wsgid_wire_request_t request;
    char line[WSGID_PAGE_LINE];
    size_t line_length;
    /* The block is checked by Python, which reads it anyway. */
    wsgid_wire_error_e error = wsgid_wire_split_request(endpoint->buffer + WSGID_WIRE_HEADER_SIZE,
                                                        frame->length, &request);

    if (error != WSGID_WIRE_OK) {
        return violation(endpoint, error, 0, 0);
    }
    endpoint->start = WSGID_WIRE_HEADER_SIZE + frame->length;
    if (endpoint->start != endpoint->end) {
        return violation(endpoint, WSGID_WIRE_OVER_CREDIT, 0, endpoint->end - endpoint->start);
    }
    endpoint->facts[FACT_ENVIRON] = request.environ_length;
    endpoint->facts[FACT_BODY] = request.body_length;
    endpoint->facts[FACT_ID] = (int64_t)request.id;
    endpoint->facts[FACT_SENT] = (int64_t)request.sent;
    endpoint->facts[FACT_COMPLETE] = !!(frame->flags & WSGID_WIRE_END);
    line_length = wsgid_wire_copy_line(&request, line, sizeof(line));
    wsgid_measure_begin(endpoint, request.sent, line, line_length);
    wsgid_request_classes_name(endpoint, line, line_length);
    wsgid_gate_judge(endpoint->hub, endpoint);
    return WSGID_REQUEST;
}

int wsgid_receive_request(wsgid_endpoint_t *endpoint, wsgid_connection_t *connection)
{
    wsgid_wire_frame_t frame;
    wsgid_wire_error_e bad;
    int error;

    reset(endpoint, connection);
    error = receive_some(endpoint, WSGID_BUFFER_SIZE, 0);
    if (error == EAGAIN) {
        return WSGID_LEAVE;
    }
    if (!error) {
        error = fill(endpoint, WSGID_WIRE_HEADER_SIZE);
    }
    if (error) {
        return outcome_of(endpoint, error);
    }
    bad = wsgid_wire_get_header(&frame, endpoint->buffer, WSGID_WIRE_FROM_HTTPD);
    if (bad != WSGID_WIRE_OK) {
        return violation(endpoint, bad, 0, 0);
    }
    if (frame.type != WSGID_WIRE_REQUEST) {
        return violation(endpoint, WSGID_WIRE_OUT_OF_ORDER, 0, 0);
    }
    error = fill(endpoint, WSGID_WIRE_HEADER_SIZE + frame.length);
    return error ? outcome_of(endpoint, error) : parse_request(endpoint, &frame);
}

/* The header of the next BODY frame, which may be cut anywhere. 0 or minus an outcome. */
static int read_body_header(wsgid_endpoint_t *endpoint)
{
    wsgid_wire_frame_t frame;
    wsgid_wire_error_e bad;
    size_t have = endpoint->end - endpoint->start;
    int error = 0;

    if (have < WSGID_WIRE_HEADER_SIZE) {
        memmove(endpoint->buffer, endpoint->buffer + endpoint->start, have);
        endpoint->start = 0;
        endpoint->end = have;
    }
    while (!error && endpoint->end - endpoint->start < WSGID_WIRE_HEADER_SIZE) {
        error = receive_some(endpoint, WSGID_RECEIVE_MAX - endpoint->end, 1);
    }
    if (error) {
        return -outcome_of(endpoint, error);
    }
    bad = wsgid_wire_get_header(&frame, endpoint->buffer + endpoint->start, WSGID_WIRE_FROM_HTTPD);
    if (bad != WSGID_WIRE_OK) {
        return -violation(endpoint, bad, endpoint->start, 0);
    }
    if (frame.type != WSGID_WIRE_BODY) {
        return -violation(endpoint, WSGID_WIRE_OUT_OF_ORDER, endpoint->start, 0);
    }
    if ((int64_t)frame.length > endpoint->facts[FACT_CREDIT]) {
        return -violation(endpoint, WSGID_WIRE_OVER_CREDIT, endpoint->start, frame.length);
    }
    endpoint->start += WSGID_WIRE_HEADER_SIZE;
    endpoint->frame_left = frame.length;
    endpoint->frame_last = !!(frame.flags & WSGID_WIRE_END);
    if (frame.length == 0) {
        endpoint->facts[FACT_COMPLETE] = 1;
    }
    return 0;
}

/* What of the current frame is there, or comes next. */
static int take_body(wsgid_endpoint_t *endpoint)
{
    size_t size;
    int error = 0;

    if (endpoint->start == endpoint->end) {
        endpoint->start = endpoint->end = 0;
        error = receive_some(
            endpoint,
            endpoint->frame_left < WSGID_RECEIVE_MAX ? endpoint->frame_left : WSGID_RECEIVE_MAX, 1);
    }
    if (error) {
        return -outcome_of(endpoint, error);
    }
    size = endpoint->end - endpoint->start < endpoint->frame_left ? endpoint->end - endpoint->start
                                                                  : endpoint->frame_left;
    endpoint->facts[FACT_AT] = (int64_t)endpoint->start;
    endpoint->facts[FACT_CREDIT] -= (int64_t)size;
    endpoint->start += size;
    endpoint->frame_left -= (uint32_t)size;
    if (endpoint->frame_left == 0 && endpoint->frame_last) {
        endpoint->facts[FACT_COMPLETE] = 1;
    }
    return (int)size;
}

int wsgid_receive_body(wsgid_endpoint_t *endpoint)
{
    int outcome = 0;

    if (!endpoint->connection) {
        return -WSGID_GONE;
    }
    while (outcome == 0 && endpoint->frame_left == 0) {
        if (endpoint->facts[FACT_COMPLETE]) {
            return 0;
        }
        outcome = read_body_header(endpoint);
    }
    if (outcome == 0) {
        outcome = take_body(endpoint);
    }
    if (outcome == -WSGID_GONE || outcome == -WSGID_SILENT) {
        endpoint->facts[FACT_GONE] = 1;
    }
    return outcome;
}
