/*
 * Requests and bodies in: a whole REQUEST, then bytes of its body.
 *
 * wire.c checks the header of each frame before the bytes that it announces are awaited. Each
 * receive is first tried without waiting, so that others can be admitted before a wait; a wait is
 * limited by the socket's SO_RCVTIMEO.
 */
#include "hotpath.h"
#include "common/process_abi.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>

/* ---- one receive */

/* At most `room` bytes to receiving.end of the buffer. */
typedef struct {
    wsgid_endpoint_t *endpoint;
    size_t room;
    ssize_t size; /* what recv() returned */
} attempt_t;

static void receive_once(attempt_t *attempt, int flags)
{
    wsgid_endpoint_t *endpoint = attempt->endpoint;

    attempt->size = recv(endpoint->connection->fd, endpoint->buffer + endpoint->receiving.end,
                         attempt->room, flags);
}

/* For wsgid_spin(): whether something has come, or the connection has ended. */
static int has_come(void *attempt)
{
    receive_once(attempt, MSG_DONTWAIT);
    return ((attempt_t *)attempt)->size >= 0 || errno != EAGAIN;
}

/* Nothing was there: waits, and if that takes longer lets others be admitted. httpd sends more at
 * once if it has it. */
static void wait_and_receive(attempt_t *attempt)
{
    wsgid_endpoint_t *endpoint = attempt->endpoint;
    wsgid_hub_t *hub = endpoint->hub;

    wsgid_gil_release();
    wsgid_hub_unwatch(hub, endpoint->connection);
    if (!wsgid_spin(&hub->bodies, has_come, attempt)) {
        wsgid_gate_blocks(endpoint);
        receive_once(attempt, 0);
    }
}

/* Receives once, at most `room` bytes. 0 or an errno: EAGAIN if nothing is there and it shall not
 * wait, ETIMEDOUT if nothing came, EPIPE if httpd has closed the connection. */
static int receive_some(wsgid_endpoint_t *endpoint, size_t room, int wait)
{
    wsgid_receiving_t *receiving = &endpoint->receiving;
    attempt_t attempt = { endpoint, room, 0 };

    for (;;) {
        receive_once(&attempt, MSG_DONTWAIT);
        if (attempt.size < 0 && errno == EAGAIN && wait) {
            wait_and_receive(&attempt);
            if (attempt.size < 0 && errno == EAGAIN) {
                return ETIMEDOUT;
            }
        }
        if (attempt.size > 0) {
            receiving->end += (size_t)attempt.size;
            receiving->high = receiving->end > receiving->high ? receiving->end : receiving->high;
            return 0;
        }
        if (attempt.size == 0) {
            return EPIPE;
        }
        if (errno != EINTR) {
            return wsgid_outcome_is_gone(errno) ? EPIPE : errno;
        }
    }
}

static int violation(wsgid_endpoint_t *endpoint, int fault, size_t at, size_t amount)
{
    endpoint->facts[FACT_FAULT] = fault;
    endpoint->facts[FACT_AT] = (int64_t)at;
    endpoint->facts[FACT_AMOUNT] = (int64_t)amount;
    return WSGID_VIOLATION;
}

/* ---- a request */

/* Gives back what a very large REQUEST has used: most requests never need it. */
static void trim(wsgid_endpoint_t *endpoint)
{
    if (endpoint->receiving.high > WSGID_BUFFER_KEPT) {
        (void)madvise(endpoint->buffer + WSGID_BUFFER_KEPT, WSGID_BUFFER_SIZE - WSGID_BUFFER_KEPT,
                      MADV_DONTNEED);
        endpoint->receiving.high = 0;
    }
}

static void reset(wsgid_endpoint_t *endpoint, wsgid_connection_t *connection)
{
    trim(endpoint);
    endpoint->receiving.start = endpoint->receiving.end = 0;
    endpoint->receiving.frame_left = 0;
    endpoint->receiving.frame_last = 0;
    endpoint->sending.time_left = endpoint->hub->send_limit;
    endpoint->sending.announced = 0;
    memset(endpoint->facts, 0, FACT_COUNT * sizeof(*endpoint->facts));
    __atomic_store_n(&endpoint->connection, connection, __ATOMIC_RELEASE);
}

/* Receives until there are `size` bytes. */
static int fill(wsgid_endpoint_t *endpoint, size_t size)
{
    int error = 0;

    while (!error && endpoint->receiving.end < size) {
        error = receive_some(endpoint, WSGID_BUFFER_SIZE - endpoint->receiving.end, 1);
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
    endpoint->receiving.start = WSGID_WIRE_HEADER_SIZE + frame->length;
    if (endpoint->receiving.start != endpoint->receiving.end) {
        return violation(endpoint, WSGID_WIRE_OVER_CREDIT, 0,
                         endpoint->receiving.end - endpoint->receiving.start);
    }
    endpoint->facts[FACT_ENVIRON] = request.environ_length;
    endpoint->facts[FACT_BODY] = request.body_length;
    endpoint->facts[FACT_ID] = (int64_t)request.id;
    endpoint->facts[FACT_SENT] = (int64_t)request.sent;
    endpoint->facts[FACT_COMPLETE] = !!(frame->flags & WSGID_WIRE_END);
    line_length = wsgid_wire_copy_line(&request, line, sizeof(line));
    wsgid_measure_begin(endpoint, request.sent, line, line_length);
    wsgid_gate_note_wait(endpoint, endpoint->facts[FACT_WAITED]);
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
        return wsgid_outcome_of_error(endpoint, error);
    }
    bad = wsgid_wire_get_header(&frame, endpoint->buffer, WSGID_WIRE_FROM_HTTPD);
    if (bad != WSGID_WIRE_OK) {
        return violation(endpoint, bad, 0, 0);
    }
    if (frame.type != WSGID_WIRE_REQUEST) {
        return violation(endpoint, WSGID_WIRE_OUT_OF_ORDER, 0, 0);
    }
    error = fill(endpoint, WSGID_WIRE_HEADER_SIZE + frame.length);
    return error ? wsgid_outcome_of_error(endpoint, error) : parse_request(endpoint, &frame);
}

/* The header of the next BODY frame, which may be cut anywhere. 0 or minus an outcome. */
static int read_body_header(wsgid_endpoint_t *endpoint)
{
    wsgid_wire_frame_t frame;
    wsgid_wire_error_e bad;
    size_t have = endpoint->receiving.end - endpoint->receiving.start;
    int error = 0;

    if (have < WSGID_WIRE_HEADER_SIZE) {
        memmove(endpoint->buffer, endpoint->buffer + endpoint->receiving.start, have);
        endpoint->receiving.start = 0;
        endpoint->receiving.end = have;
    }
    while (!error && endpoint->receiving.end - endpoint->receiving.start < WSGID_WIRE_HEADER_SIZE) {
        error = receive_some(endpoint, WSGID_RECEIVE_MAX - endpoint->receiving.end, 1);
    }
    if (error) {
        return -wsgid_outcome_of_error(endpoint, error);
    }
    bad = wsgid_wire_get_header(&frame, endpoint->buffer + endpoint->receiving.start,
                                WSGID_WIRE_FROM_HTTPD);
    if (bad != WSGID_WIRE_OK) {
        return -violation(endpoint, bad, endpoint->receiving.start, 0);
    }
    if (frame.type != WSGID_WIRE_BODY) {
        return -violation(endpoint, WSGID_WIRE_OUT_OF_ORDER, endpoint->receiving.start, 0);
    }
    if ((int64_t)frame.length > endpoint->facts[FACT_CREDIT]) {
        return -violation(endpoint, WSGID_WIRE_OVER_CREDIT, endpoint->receiving.start,
                          frame.length);
    }
    endpoint->receiving.start += WSGID_WIRE_HEADER_SIZE;
    endpoint->receiving.frame_left = frame.length;
    endpoint->receiving.frame_last = !!(frame.flags & WSGID_WIRE_END);
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

    if (endpoint->receiving.start == endpoint->receiving.end) {
        endpoint->receiving.start = endpoint->receiving.end = 0;
        error = receive_some(endpoint,
                             endpoint->receiving.frame_left < WSGID_RECEIVE_MAX
                                 ? endpoint->receiving.frame_left
                                 : WSGID_RECEIVE_MAX,
                             1);
    }
    if (error) {
        return -wsgid_outcome_of_error(endpoint, error);
    }
    size = endpoint->receiving.end - endpoint->receiving.start < endpoint->receiving.frame_left
               ? endpoint->receiving.end - endpoint->receiving.start
               : endpoint->receiving.frame_left;
    endpoint->facts[FACT_AT] = (int64_t)endpoint->receiving.start;
    endpoint->facts[FACT_CREDIT] -= (int64_t)size;
    endpoint->receiving.start += size;
    endpoint->receiving.frame_left -= (uint32_t)size;
    if (endpoint->receiving.frame_left == 0 && endpoint->receiving.frame_last) {
        endpoint->facts[FACT_COMPLETE] = 1;
    }
    return (int)size;
}

static int receive_body(wsgid_endpoint_t *endpoint)
{
    int outcome = 0;

    if (!endpoint->connection) {
        return -WSGID_GONE;
    }
    while (outcome == 0 && endpoint->receiving.frame_left == 0) {
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

int wsgid_receive_body(wsgid_endpoint_t *endpoint)
{
    int outcome = receive_body(endpoint);

    wsgid_gil_take_back();
    return outcome;
}
