/*
 * The content handler: one request, from httpd to a daemon and back.
 *
 * wsgid_request_handler() at the end tells the whole story. run() sends the request to one daemon
 * after another until one has started it. pump() is the exchange with one daemon, in both
 * directions at once: it receives whenever something has come, sends body bytes against credit,
 * flushes before it waits, and never waits longer than a slice without checking everything else.
 */
#include "request/exchange.h"
#include "request/request.h"

#include <errno.h>
#include <poll.h>

#include "http_request.h"

/* After so many daemons that did not start the request, another one hardly will. Attempts on
 * connections that were idle do not count. */
#define MAX_FRESH_ATTEMPTS 8
/* How often to check whether a process has started; short compared with how long that takes. */
#define START_WAIT apr_time_from_msec(10)

static wsgid_exchange_t *new_exchange(request_rec *r, const wsgid_route_t *route)
{
    wsgid_exchange_t *x = apr_pcalloc(r->pool, sizeof(*x));

    x->r = r;
    x->route = route;
    x->group = route->choice == WSGID_ROUTE_CHOSEN ? wsgid_groups_find(route->group) : NULL;
    x->connection.fd = x->received.file = -1;
    x->timing.accepted = wsgid_clock_now();
    wsgid_client_open(x);
    return x;
}

/* ---- may it be run? */

static apr_status_t check_script(wsgid_exchange_t *x)
{
    const request_rec *r = x->r;
    apr_status_t why = APR_SUCCESS;

    if (*x->route->handler_script) {
        return APR_SUCCESS; /* what the URL leads to is its business */
    }
    if (!x->route->is_aliased && !(ap_allow_options(x->r) & OPT_EXECCGI)) {
        why = WSGID_E_NO_EXEC_CGI;
    }
    else if (r->finfo.filetype == APR_NOFILE) {
        why = WSGID_E_NO_SCRIPT;
    }
    else if (r->finfo.filetype == APR_DIR) {
        why = WSGID_E_DIRECTORY;
    }
    return why == APR_SUCCESS ? APR_SUCCESS : wsgid_exchange_fail(x, why, 0, x->route->script);
}

/* httpd decodes chunks, and nothing else: the application would get coded bytes. */
static apr_status_t check_coding(wsgid_exchange_t *x)
{
    const char *coding = apr_table_get(x->r->headers_in, "Transfer-Encoding");

    if (!coding) {
        return APR_SUCCESS;
    }
    if (ap_cstr_casecmp(coding, "chunked")) {
        return wsgid_exchange_fail(x, WSGID_E_CODING, 0,
                                   apr_psprintf(x->r->pool, "'%.80s'",
                                                ap_escape_logitem(x->r->pool, coding)));
    }
    return x->route->chunked_request ? APR_SUCCESS : WSGID_E_CHUNKED;
}

static apr_status_t check_group(const wsgid_exchange_t *x)
{
    if (x->route->choice == WSGID_ROUTE_FORBIDDEN) {
        return WSGID_E_GROUP_FORBIDDEN;
    }
    if (x->route->choice == WSGID_ROUTE_UNSET) {
        return WSGID_E_GROUP_UNSET;
    }
    return x->group ? APR_SUCCESS : WSGID_E_UNKNOWN_GROUP;
}

static apr_status_t check_request(wsgid_exchange_t *x)
{
    apr_status_t rv = check_script(x);

    if (rv == APR_SUCCESS) {
        rv = check_group(x);
    }
    return rv == APR_SUCCESS ? check_coding(x) : rv;
}

/* ---- is it still worth waiting? */

static int is_over(apr_interval_time_t limit, apr_time_t since)
{
    return limit > 0 && wsgid_clock_now() - since > limit;
}

static apr_time_t later(apr_time_t one, apr_time_t other)
{
    return one > other ? one : other;
}

/* When something last came from the daemon or the client, or went to the client. */
static apr_time_t last_moved(const wsgid_exchange_t *x)
{
    return later(later(x->received.came_at, x->upload.came_at), x->client.passed_at);
}

/* Of many processes a few boot at a time, so it may take long until one of the slot begins: that is
 * no fault of the application, and does not count for socket-timeout. */
#define TURN_MOST apr_time_from_sec(300)

static void note_turn(wsgid_exchange_t *x)
{
    apr_time_t now = wsgid_clock_now();
    wsgid_pids_t pids;
    int i;

    if (x->connection.slot) {
        pids = wsgid_entries_pids(x->connection.slot);
        for (i = 0; i < WSGID_SLOT_PROCESSES; i++) {
            if (pids.pid[i]) {
                return;
            }
        }
    }
    if (now < x->timing.ready + TURN_MOST) {
        x->timing.turn = now;
    }
}

/* For a request that the daemon has not read: why not to wait any longer, or APR_SUCCESS. */
static apr_status_t check_queue(const wsgid_exchange_t *x)
{
    if (!wsgid_dispatch_is_worth_waiting(x)) {
        return WSGID_E_NOT_STARTED;
    }
    return is_over(WSGID_NUMBER(x->group, QUEUE_TIMEOUT), x->timing.ready) ? WSGID_E_QUEUE_TIMEOUT
                                                                           : APR_SUCCESS;
}

/* The process that has read the request or, before it has said so, those that may have. */
static const char *process_name(const wsgid_exchange_t *x)
{
    return x->response.pid ? apr_psprintf(x->r->pool, "process %u", x->response.pid)
                           : wsgid_entries_describe(x->r->pool, &x->connection.pids);
}

/* Nothing has moved for socket-timeout: was it the client's turn or the daemon's? */
static apr_status_t time_out(wsgid_exchange_t *x)
{
    if (wsgid_body_is_wanted(x)) {
        return wsgid_exchange_fail(x, WSGID_E_REQUEST_BODY, HTTP_REQUEST_TIME_OUT,
                                   "the client sent no more of it for socket-timeout");
    }
    return wsgid_exchange_fail(x, WSGID_E_TIMEOUT, 0, process_name(x));
}

/*
 * Nothing has come for a slice: APR_SUCCESS if it is worth waiting on, or why not.
 *
 * A request that the daemon has not read can be taken back. Before it reads a request, a daemon
 * checks whether httpd has hung up (and once more if the request has waited for nearly a slice),
 * and then drops it. So what is still unread after wsgid_channel_hang_up() is never run. Once the
 * daemon has read the request, the slot's state does not matter any more.
 */
static apr_status_t check_progress(wsgid_exchange_t *x)
{
    int is_unread = !x->response.heard && wsgid_channel_is_request_unread(x);
    apr_status_t rv = is_unread ? check_queue(x) : APR_SUCCESS;

    if (rv != APR_SUCCESS && wsgid_channel_hang_up(x)) {
        return rv;
    }
    if (is_unread) {
        note_turn(x);
    }
    if (wsgid_client_is_gone(x)) {
        return WSGID_E_CLIENT_GONE;
    }
    if (x->client.is_full) { /* it is the client's turn */
        return is_over(x->r->server->timeout, last_moved(x)) ? WSGID_E_CLIENT_GONE : APR_SUCCESS;
    }
    return is_over(WSGID_NUMBER(x->group, SOCKET_TIMEOUT), later(last_moved(x), x->timing.turn))
               ? time_out(x)
               : APR_SUCCESS;
}

/* ---- the exchange with one daemon */

/* Whether anything else than bytes from the daemon can let the exchange go on. */
static int is_two_ways(const wsgid_exchange_t *x)
{
    return x->client.queued > 0 || wsgid_body_is_unsent(x) || wsgid_body_is_wanted(x);
}

/* Waits a slice for the daemon and the client, for what each of them is to do next. APR_EAGAIN:
 * neither did anything. */
static apr_status_t wait_for_either(wsgid_exchange_t *x)
{
    struct pollfd fds[2] = { { .fd = x->connection.fd }, { .fd = x->client.input } };
    apr_interval_time_t slice = wsgid_client_wait(x);
    struct timespec limit;
    int count, i;

    if (x->client.input < 0 && wsgid_body_is_wanted(x)) {
        slice = WSGID_BODY_BLIND_WAIT;
    }
    fds[0].events = (x->client.is_full ? 0 : POLLIN) | (wsgid_body_is_unsent(x) ? POLLOUT : 0);
    fds[1].events = (wsgid_body_is_wanted(x) ? POLLIN : 0)
                    | (x->client.queued > 0 && x->client.socket >= 0 ? POLLOUT : 0);
    for (i = 0; i < 2; i++) {
        if (!fds[i].events) {
            fds[i].fd = -1; /* otherwise POLLHUP would end every wait at once */
        }
    }
    limit = (struct timespec){ apr_time_sec(slice), apr_time_usec(slice) * 1000 };
    count = ppoll(fds, 2, &limit, NULL);
    if (count < 0 && errno != EINTR) {
        return errno;
    }
    return count > 0 ? APR_SUCCESS : APR_EAGAIN;
}

/* Receives more from the daemon, after what came before has been passed on. APR_SUCCESS also if
 * nothing came but it is worth trying again. */
static apr_status_t receive_more(wsgid_exchange_t *x)
{
    apr_status_t rv = wsgid_client_deliver(x);

    if (rv != APR_SUCCESS) {
        return rv;
    }
    rv = x->client.is_full ? APR_EAGAIN
                           : wsgid_response_receive(x, x->client.unflushed == 0 && !is_two_ways(x));
    if (rv == APR_EAGAIN && x->client.unflushed > 0 && x->client.queued == 0) {
        return wsgid_client_flush(x);
    }
    if (rv == APR_EAGAIN && is_two_ways(x)) {
        rv = wait_for_either(x);
    }
    return rv == APR_EAGAIN ? check_progress(x) : rv;
}

static apr_status_t pump(wsgid_exchange_t *x)
{
    apr_status_t rv = APR_SUCCESS;

    while (rv == APR_SUCCESS && !x->response.has_ended) {
        rv = wsgid_body_feed(x);
        if (rv == APR_SUCCESS) {
            rv = receive_more(x);
        }
        if (rv == APR_SUCCESS && x->question
            && is_over(WSGID_NUMBER(x->group, SOCKET_TIMEOUT),
                       later(x->timing.ready, x->timing.turn))) {
            rv = time_out(x); /* a script that only logs does not prolong it */
        }
        if (rv == APR_SUCCESS) {
            rv = wsgid_response_consume(x);
            if (rv == APR_EAGAIN) {
                rv = APR_SUCCESS;
            }
        }
    }
    if (rv != WSGID_E_DIED) {
        return rv;
    }
    if (x->response.has_begun && wsgid_channel_has_kept_daemon_waiting(x)) {
        rv = WSGID_E_CLIENT_TOO_SLOW;
    }
    return wsgid_exchange_fail(x, rv, 0, process_name(x));
}

/* ---- one attempt after the other */

/* For a request that has waited for a process to start since then: why not to wait any longer, or
 * APR_SUCCESS. */
static apr_status_t check_start(wsgid_exchange_t *x, apr_time_t since)
{
    if (is_over(WSGID_NUMBER(x->group, QUEUE_TIMEOUT), x->timing.ready)) {
        return WSGID_E_QUEUE_TIMEOUT;
    }
    if (wsgid_client_is_gone(x)) {
        return WSGID_E_CLIENT_GONE;
    }
    note_turn(x);
    return is_over(WSGID_NUMBER(x->group, SOCKET_TIMEOUT), later(since, x->timing.turn))
               ? wsgid_exchange_fail(x, WSGID_E_TIMEOUT, 0,
                                     wsgid_entries_describe(x->r->pool, &x->connection.pids))
               : APR_SUCCESS;
}

/* Waits until some slot has a process that is ready. */
static apr_status_t wait_for_start(wsgid_exchange_t *x, const wsgid_slot_t *avoid)
{
    apr_time_t since = wsgid_clock_now();
    apr_status_t rv;

    do {
        rv = check_start(x, since);
        if (rv == APR_SUCCESS) {
            apr_sleep(START_WAIT);
            rv = wsgid_dispatch_choose(x, avoid);
        }
    } while (rv == APR_EAGAIN);
    return rv;
}

/* Sends the request to one daemon and passes its response on. */
static apr_status_t attempt(wsgid_exchange_t *x, const wsgid_slot_t *avoid)
{
    apr_status_t rv = wsgid_dispatch_choose(x, avoid);

    if (rv == APR_EAGAIN) {
        rv = wait_for_start(x, avoid);
    }
    if (rv == APR_SUCCESS) {
        rv = wsgid_dispatch_connect(x);
    }
    if (rv != APR_SUCCESS) {
        return rv;
    }
    wsgid_channel_begin(x);
    wsgid_body_begin(x);
    wsgid_response_begin(x);
    x->attempts.last_slot = x->connection.slot;
    x->attempts.count++;
    rv = wsgid_channel_send_request(x);
    return rv == APR_SUCCESS ? pump(x) : rv;
}

static void end_attempt(wsgid_exchange_t *x, apr_status_t rv)
{
    int has_ended = rv == APR_SUCCESS || rv == WSGID_E_OVERLOADED;

    wsgid_dispatch_release(x, has_ended && wsgid_body_is_complete(x) && !x->response.is_cut);
    wsgid_channel_end(x);
}

static void log_retry(wsgid_exchange_t *x)
{
    ap_log_rerror(APLOG_MARK, APLOG_DEBUG, 0, x->r,
                  "%sWSGID0154: group '%s': a daemon exited or was replaced before it started "
                  "this request. The request is sent again [request '%s']",
                  wsgid_exchange_log_prefix(x), x->group->label, x->r->the_request);
}

/* For the access log: whether no daemon has read the request. */
static int was_never_read(apr_status_t rv)
{
    return rv == WSGID_E_NOT_STARTED || rv == WSGID_E_QUEUE_LIMIT || rv == WSGID_E_QUEUE_TIMEOUT
           || rv == WSGID_E_NO_PROCESS || rv == WSGID_E_NO_POOL || rv == WSGID_E_NO_SOCKET
           || rv == WSGID_E_CONNECT_TIMEOUT;
}

/* Tries daemons until one has started the request. An attempt on a connection that was idle does
 * not count: its daemon may have exited in the meantime. */
static apr_status_t run(wsgid_exchange_t *x)
{
    const wsgid_slot_t *avoid = NULL;
    int fresh_attempts = 0, is_retried;
    apr_status_t rv;

    x->timing.ready_wall = apr_time_now();
    x->timing.ready = wsgid_clock_now();
    do {
        rv = attempt(x, avoid);
        if (x->connection.slot) {
            avoid = x->connection.slot;
        }
        fresh_attempts += !x->connection.was_idle;
        end_attempt(x, rv);
        is_retried = rv == WSGID_E_NOT_STARTED && fresh_attempts < MAX_FRESH_ATTEMPTS;
        if (is_retried) {
            log_retry(x);
        }
    } while (is_retried);
    x->timing.done = wsgid_clock_now();
    x->attempts.is_unread = was_never_read(rv);
    return rv == WSGID_E_NOT_STARTED ? WSGID_E_NEVER_STARTED : rv;
}

/* httpd serves the path of the application's Location, as after a CGI program. */
static int redirect(wsgid_exchange_t *x)
{
    request_rec *r = x->r;

    if (x->client.closes) {
        r->connection->keepalive = AP_CONN_CLOSE; /* what is left of the body is not read */
    }
    else {
        int status = ap_discard_request_body(r);

        if (status != OK) {
            return status;
        }
    }
    r->method = "GET";
    r->method_number = M_GET;
    apr_table_unset(r->headers_in, "Content-Length");
    apr_table_unset(r->headers_in, "Transfer-Encoding");
    ap_internal_redirect(x->failure.detail, r);
    return OK;
}

int wsgid_request_ask(request_rec *r, const wsgid_route_t *route, const char *const *question,
                      const request_rec **answer)
{
    request_rec *copy = apr_pmemdup(r->pool, r, sizeof(*r));
    wsgid_exchange_t *x;
    apr_status_t rv;
    int status = OK;

    copy->headers_out = apr_table_make(r->pool, 2);
    copy->subprocess_env = apr_table_copy(r->pool, r->subprocess_env);
    x = new_exchange(copy, route);
    x->question = question;
    x->upload.is_read = 1; /* the body is the request's */
    rv = check_group(x);
    if (rv == APR_SUCCESS) {
        rv = wsgid_environ_build(x);
    }
    if (rv == APR_SUCCESS) {
        rv = run(x);
    }
    if (rv != APR_SUCCESS) {
        status = wsgid_failures_answer(x, rv);
        status = ap_is_HTTP_ERROR(status) ? status : HTTP_INTERNAL_SERVER_ERROR;
    }
    wsgid_client_close(x);
    *answer = copy;
    return status;
}

/* WSGIDispatchScript. OK, or an HTTP status: there is no answer. */
static int dispatch(request_rec *r, const wsgid_route_t **route)
{
    static const char *const nothing[] = { NULL };
    const wsgid_route_t *decider = wsgid_route_to_decider(r, WSGID_DECIDER_DISPATCH, "dispatch()");
    const request_rec *answer;
    int status = decider ? wsgid_request_ask(r, decider, nothing, &answer) : OK;

    if (decider && status == OK) {
        *route = wsgid_route_dispatch(r, *route, answer->headers_out);
    }
    return status;
}

int wsgid_request_handler(request_rec *r)
{
    const wsgid_route_t *route = wsgid_route_find(r);
    wsgid_exchange_t *x;
    apr_status_t rv;
    int status;

    /* 1. Is it for this module? */
    if (!route) {
        return DECLINED;
    }

    /* Does a script say where it goes? */
    status = dispatch(r, &route);
    if (status != OK) {
        return status;
    }

    /* 2. May it be run, and by which group? */
    x = new_exchange(r, route);
    wsgid_access_log_keep(x);
    rv = check_request(x);

    /* 3. What travels in the REQUEST frame; the rest of the body, if the request waits for it. */
    if (rv == APR_SUCCESS) {
        rv = wsgid_body_read_start(x);
    }
    if (rv == APR_SUCCESS) {
        rv = wsgid_environ_build(x);
    }
    if (rv == APR_SUCCESS) {
        rv = wsgid_body_store(x);
    }

    /* 4. A daemon runs it. */
    if (rv == APR_SUCCESS) {
        rv = run(x);
    }

    /* 5. The daemon is done; the client may need longer. */
    if (rv == APR_SUCCESS) {
        rv = wsgid_client_finish(x);
    }

    /* 6. It went well, or not. */
    status = rv == APR_SUCCESS ? OK : wsgid_failures_answer(x, rv);
    wsgid_client_close(x);
    return rv == WSGID_E_REDIRECTED ? redirect(x) : status;
}
