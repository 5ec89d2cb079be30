/*
 * The content handler: one request, from httpd's request_rec to a daemon and back.
 *
 * The story is told by wsgid_request_handler; run() is what happens at one daemon, and pump() is
 * full duplex: it reads from the daemon whenever there is something, sends body only against
 * credit, flushes when it is about to wait, and looks up from waiting every slice.
 */
#include "request/exchange.h"

#include <errno.h>
#include <poll.h>

/* not started so many times: something is wrong that trying again does not mend */
#define MAX_ATTEMPTS 8
/* between two looks at an upload that nothing tells of (HTTP/2 before httpd 2.4.58) */
#define BLIND_WAIT apr_time_from_msec(5)

/* ---- what may be run */

/* OK, or the status that says why this file is not run; logged. */
static int check_script(request_rec *r, const wsgid_route_t *route)
{
    if (r->finfo.filetype == APR_NOFILE) {
        ap_log_rerror(APLOG_MARK, APLOG_ERR, 0, r,
                      "%sWSGID0151: script '%s' not found, or its directory cannot be "
                      "entered by httpd: check the path in WSGIScriptAlias",
                      wsgid_logs_mark(r), r->filename);
        return HTTP_NOT_FOUND;
    }
    if (r->finfo.filetype == APR_DIR) {
        ap_log_rerror(APLOG_MARK, APLOG_ERR, 0, r, "%sWSGID0152: '%s' is a directory, not a script",
                      wsgid_logs_mark(r), r->filename);
        return HTTP_FORBIDDEN;
    }
    if (!route->is_aliased && !(ap_allow_options(r) & OPT_EXECCGI)) {
        ap_log_rerror(APLOG_MARK, APLOG_ERR, 0, r,
                      "%sWSGID0153: '%s' is not run because Options ExecCGI is off in its "
                      "directory: add 'Options +ExecCGI', or use WSGIScriptAlias",
                      wsgid_logs_mark(r), r->filename);
        return HTTP_FORBIDDEN;
    }
    return OK;
}

static int check_chunked(const wsgid_exchange_t *x)
{
    if (x->route->chunked_request || !apr_table_get(x->r->headers_in, "Transfer-Encoding")) {
        return OK;
    }
    ap_log_rerror(APLOG_MARK, APLOG_INFO, 0, x->r,
                  "%sWSGID0155: a chunked request is refused, as WSGIChunkedRequest is Off",
                  wsgid_logs_mark(x->r));
    return HTTP_LENGTH_REQUIRED;
}

static wsgid_exchange_t *new_exchange(request_rec *r, const wsgid_route_t *route)
{
    wsgid_exchange_t *x = apr_pcalloc(r->pool, sizeof(*x));

    x->r = r;
    x->connection.fd = x->received.file = -1;
    x->route = route;
    x->group = wsgid_groups_find(x->route->group);
    x->timing.accepted = wsgid_clock_now();
    x->client.queue = apr_brigade_create(r->pool, r->connection->bucket_alloc);
    x->client.rest = apr_brigade_create(r->pool, r->connection->bucket_alloc);
    wsgid_client_open(x);
    wsgid_access_log_keep(x);
    return x;
}

/* ---- waiting */

static int is_over(apr_interval_time_t limit, apr_time_t since)
{
    return limit > 0 && wsgid_clock_now() - since > limit;
}

/* Enough is waiting for the client: the daemon must wait, too. */
static int is_queue_full(const wsgid_exchange_t *x)
{
    return x->client.queued >= (apr_size_t)WSGID_NUMBER(x->group, RESPONSE_BUFFER_SIZE);
}

/* Why a request that the daemon has not read should not wait any longer, or APR_SUCCESS. */
static apr_status_t lost_patience(const wsgid_exchange_t *x)
{
    wsgid_slot_state_e state = wsgid_slots_state(x->connection.slot);

    if (state != WSGID_SLOT_READY && state != WSGID_SLOT_BOOTING) {
        return WSGID_E_NOT_STARTED;
    }
    return is_over(WSGID_NUMBER(x->group, QUEUE_TIMEOUT), x->timing.accepted)
               ? WSGID_E_QUEUE_TIMEOUT
               : APR_SUCCESS;
}

/* The process that has read it; where it has not said so yet, those that may have. */
static const char *who(const wsgid_exchange_t *x)
{
    return x->response.pid ? apr_psprintf(x->r->pool, "process %u", x->response.pid)
                           : wsgid_entries_describe(x->r->pool, &x->connection.pids);
}

/* Nothing moved for socket-timeout: the fault of whoever it is that should have. */
static apr_status_t timed_out(wsgid_exchange_t *x)
{
    if (wsgid_body_is_wanted(x)) {
        x->failure.http_status = HTTP_REQUEST_TIME_OUT;
        x->failure.detail = "the client sent nothing more of it for socket-timeout";
        return WSGID_E_REQUEST_BODY;
    }
    x->failure.detail = who(x);
    return WSGID_E_TIMEOUT;
}

/*
 * Nothing came for a slice: is it still worth waiting? A request that the daemon has not read is
 * taken away from it; one that it has read is waited for, whatever the slot looks like. A daemon
 * drops what it finds hung up (it looks once more at a request that has waited for nearly a slice),
 * so what is unread after our end is closed is never run.
 */
static apr_status_t look_around(wsgid_exchange_t *x)
{
    if (!x->response.heard && wsgid_channel_is_unread(x)) {
        apr_status_t rv = lost_patience(x);

        if (rv != APR_SUCCESS && wsgid_channel_hang_up(x)) {
            return rv;
        }
    }
    if (wsgid_client_is_gone(x)) {
        return WSGID_E_CLIENT_GONE;
    }
    if (is_queue_full(x)) { /* it is the client who lets us wait */
        return is_over(x->r->server->timeout, x->last_moved) ? WSGID_E_CLIENT_GONE : APR_SUCCESS;
    }
    return is_over(WSGID_NUMBER(x->group, SOCKET_TIMEOUT), x->last_moved) ? timed_out(x)
                                                                          : APR_SUCCESS;
}

/* Whether anybody but the daemon is waited for. */
static int is_two_ways(const wsgid_exchange_t *x)
{
    return x->client.queued > 0 || x->upload.frame_start < x->upload.frame_end
           || wsgid_body_is_wanted(x);
}

/* Waits a slice for the daemon, and for the client where it takes bytes or owes us some.
 * APR_EAGAIN: nothing happened. */
static apr_status_t wait_for_either(wsgid_exchange_t *x)
{
    struct pollfd fds[2] = { { .fd = x->connection.fd }, { .fd = x->client.input } };
    apr_interval_time_t slice = x->client.input < 0 && wsgid_body_is_wanted(x)
                                    ? BLIND_WAIT
                                    : WSGID_CHANNEL_SLICE;
    int happened;

    fds[0].events = (is_queue_full(x) ? 0 : POLLIN)
                    | (x->upload.frame_start < x->upload.frame_end ? POLLOUT : 0);
    fds[1].events = (wsgid_body_is_wanted(x) ? POLLIN : 0) | (x->client.queued > 0 ? POLLOUT : 0);
    if (!fds[0].events) {
        fds[0].fd = -1; /* or its hanging up would end every wait at once */
    }
    if (!fds[1].events) {
        fds[1].fd = -1;
    }
    happened = poll(fds, 2, (int)apr_time_as_msec(slice));
    if (happened < 0 && errno != EINTR) {
        return errno;
    }
    return happened > 0 ? APR_SUCCESS : APR_EAGAIN;
}

/* ---- the exchange at one daemon */

static apr_status_t receive(wsgid_exchange_t *x, int wait)
{
    if (is_queue_full(x)) {
        return APR_EAGAIN;
    }
    return x->response.frame_left > 0 ? wsgid_channel_receive_body(x, wait)
                                      : wsgid_channel_receive(x, wait);
}

/* More bytes from the daemon, flushing before any wait. APR_SUCCESS also when only the client or a
 * slice came. */
static apr_status_t receive_more(wsgid_exchange_t *x)
{
    apr_status_t rv = wsgid_client_deliver(x);

    if (rv != APR_SUCCESS) {
        return rv;
    }
    rv = receive(x, x->client.unflushed == 0 && !is_two_ways(x));
    if (rv == APR_EAGAIN && x->client.unflushed > 0 && x->client.queued == 0) {
        return wsgid_client_flush(x);
    }
    if (rv == APR_EAGAIN && is_two_ways(x)) {
        rv = wait_for_either(x);
    }
    return rv == APR_EAGAIN ? look_around(x) : rv;
}

static apr_status_t pump(wsgid_exchange_t *x)
{
    apr_status_t rv = APR_SUCCESS;

    while (rv == APR_SUCCESS && !x->response.has_ended) {
        rv = wsgid_body_feed(x);
        if (rv == APR_SUCCESS) {
            rv = receive_more(x);
        }
        if (rv == APR_SUCCESS) {
            rv = wsgid_response_consume(x);
            if (rv == APR_EAGAIN) {
                rv = APR_SUCCESS;
            }
        }
    }
    return rv == WSGID_E_DIED && wsgid_channel_was_too_slow(x) ? WSGID_E_TOO_SLOW : rv;
}

/* A fresh start at another daemon: only what this one has said is forgotten. */
static void rewind_exchange(wsgid_exchange_t *x)
{
    x->received.start = x->received.end = 0;
    x->response.heard = 0;
    x->response.has_started = 0;
    x->response.pid = x->response.waited = 0;
    x->upload.credit = 0;
    x->upload.granted = 0;
    x->upload.is_sent = 0;
    x->last_moved = wsgid_clock_now();
}

static apr_status_t run_once(wsgid_exchange_t *x, const wsgid_slot_t *avoid)
{
    apr_status_t rv = wsgid_dispatch_acquire(x, avoid);

    if (rv != APR_SUCCESS) {
        return rv;
    }
    rewind_exchange(x);
    x->attempts.last_slot = x->connection.slot;
    x->attempts.count++;
    rv = wsgid_channel_send_request(x);
    if (rv == APR_SUCCESS) {
        rv = pump(x);
    }
    if (rv == WSGID_E_DIED) {
        x->failure.detail = who(x);
    }
    return rv;
}

/* Whether no daemon has read it: its time was spent in the queue. */
static int is_unread(apr_status_t rv)
{
    return rv == WSGID_E_NOT_STARTED || rv == WSGID_E_QUEUE_FULL || rv == WSGID_E_QUEUE_TIMEOUT
           || rv == WSGID_E_NO_PROCESS || rv == WSGID_E_CONNECT_TIMEOUT;
}

/* Tries daemons until one has started the request. A stale idle connection costs a try that does
 * not count. */
static apr_status_t run(wsgid_exchange_t *x)
{
    const wsgid_slot_t *avoid = NULL;
    int attempts = 0;
    apr_status_t rv;

    x->timing.ready_wall = apr_time_now();
    x->timing.ready = wsgid_clock_now();
    do {
        rv = run_once(x, avoid);
        if (x->connection.slot) {
            avoid = x->connection.slot;
        }
        attempts += !x->connection.was_idle;
        wsgid_dispatch_release(x, rv == APR_SUCCESS && x->upload.is_sent);
        if (rv == WSGID_E_NOT_STARTED) {
            ap_log_rerror(APLOG_MARK, APLOG_DEBUG, 0, x->r,
                          "%sWSGID0154: group '%s': not started by the daemon it was "
                          "sent to, sending it again",
                          wsgid_logs_mark(x->r), x->group->label);
        }
    } while (rv == WSGID_E_NOT_STARTED && attempts < MAX_ATTEMPTS);
    x->timing.done = wsgid_clock_now();
    x->attempts.unread = is_unread(rv);
    return rv == WSGID_E_NOT_STARTED ? WSGID_E_GAVE_UP : rv;
}

int wsgid_request_handler(request_rec *r)
{
    const wsgid_route_t *route = wsgid_route_find(r);
    wsgid_exchange_t *x;
    apr_status_t rv;
    int status;

    /* 1. Is it ours, and may it be run? */
    if (!route) {
        return DECLINED;
    }
    status = check_script(r, route);
    if (status != OK) {
        return status;
    }

    /* 2. Which group? */
    x = new_exchange(r, route);
    if (!x->group) {
        return wsgid_failures_answer(x, WSGID_E_UNKNOWN_GROUP);
    }

    status = check_chunked(x);
    if (status != OK) {
        return status;
    }

    /* 3. What travels in the REQUEST frame. */
    rv = wsgid_body_read_start(x);
    if (rv == APR_SUCCESS) {
        rv = wsgid_environ_build(r, route, &x->environ);
    }

    /* 4. The exchange. */
    if (rv == APR_SUCCESS) {
        rv = run(x);
    }

    /* 5. The daemon is done; the client may need longer. */
    if (rv == APR_SUCCESS) {
        rv = wsgid_client_finish(x);
    }

    /* 6. Well, or not. */
    return rv == APR_SUCCESS ? OK : wsgid_failures_answer(x, rv);
}
