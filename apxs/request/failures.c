/*
 * The one table from what went wrong with a request to what the client sees and what the log says.
 *
 * A failure before the response has begun is an HTTP status; after that the client must see that
 * the response is broken, because nobody can take back a 200.
 */
#include "request/exchange.h"

#define RETRY_AFTER_SECONDS 1 /* a queue moves on; a slot that is waiting says itself how long */

typedef struct {
    apr_status_t why;
    int http; /* 0: x->failure.http_status */
    int level;
    int retry_after; /* send Retry-After */
    const char *code;
    const char *text; /* cause and fix */
} failure_t;

static const failure_t failures[] = {
    { WSGID_E_UNKNOWN_GROUP, 500, APLOG_ERR, 0, "WSGID0160",
      "no such daemon group: define it with WSGIDaemonProcess or correct WSGIProcessName" },
    { WSGID_E_QUEUE_FULL, 503, APLOG_ERR, 1, "WSGID0161",
      "queue-limit reached: more processes= or threads=, or a larger queue-limit=" },
    { WSGID_E_QUEUE_TIMEOUT, 503, APLOG_ERR, 1, "WSGID0162",
      "waited longer than queue-timeout for a free thread: more processes= or threads=, or a larger queue-timeout=" },
    { WSGID_E_NO_PROCESS, 503, APLOG_ERR, 1, "WSGID0163",
      "no process is up: the lines above about this group say why" },
    { WSGID_E_CONNECT_TIMEOUT, 503, APLOG_ERR, 1, "WSGID0164",
      "the listen backlog was full for connect-timeout: more processes= or threads=, or a larger listen-backlog=" },
    { WSGID_E_GAVE_UP, 503, APLOG_ERR, 1, "WSGID0165",
      "one daemon after another went away without reading the request: the lines above about this group say why" },
    { WSGID_E_DIED, 502, APLOG_ERR, 0, "WSGID0166",
      "the daemon died while it ran this request: its exit and its stack stand beside this line" },
    { WSGID_E_TOO_SLOW, 502, APLOG_INFO, 0, "WSGID0177",
      "the daemon has given the client up, as it takes the response too slowly: see send-timeout= and response-buffer-size=" },
    { WSGID_E_TIMEOUT, 504, APLOG_ERR, 0, "WSGID0167",
      "nothing came from the daemon for socket-timeout: the application is stuck or slow" },
    { WSGID_E_PROTOCOL, 502, APLOG_ERR, 0, "WSGID0168",
      "the daemon broke the wire protocol, the connection is closed: is its pywsgid of this module's version?" },
    { WSGID_E_BAD_RESPONSE, 500, APLOG_ERR, 0, "WSGID0169",
      "the daemon sent a status line or header that must not reach a client" },
    /* the daemon's own words, with its own code */
    { WSGID_E_ABORTED, 0, APLOG_ERR, 0, NULL, NULL },
    { WSGID_E_ENVIRON_TOO_LARGE, 500, APLOG_ERR, 0, "WSGID0170",
      "headers and variables of the request exceed 1 MiB: lower LimitRequestFields or LimitRequestFieldSize" },
    { WSGID_E_REQUEST_BODY, 0, APLOG_INFO, 0, "WSGID0171", "the request's body could not be read" },
    { WSGID_E_OVERRIDDEN, 0, APLOG_DEBUG, 0, "WSGID0174",
      "ErrorDocument stands in for the application's page (WSGIErrorOverride)" },
    { WSGID_E_SENDFILE, 0, APLOG_ERR, 0, "WSGID0175",
      "X-Sendfile names a file that must not be sent" },
    { WSGID_E_FILTER, AP_FILTER_ERROR, APLOG_DEBUG, 0, "WSGID0176",
      "an output filter has failed, or answered in the response's place" },
    { WSGID_E_CLIENT_GONE, 0, APLOG_DEBUG, 0, "WSGID0172", "the client has gone" },
    /* the operating system's own errors */
    { APR_SUCCESS, 502, APLOG_ERR, 0, "WSGID0173", "talking to the daemon failed" }
};

static const failure_t *find(apr_status_t why)
{
    const failure_t *row = failures;

    while (row->why != why && row->why != APR_SUCCESS) {
        row++;
    }
    return row;
}

/* Only statuses that a daemon may ask for. */
static int aborted_status(int wanted)
{
    return wanted == HTTP_BAD_GATEWAY || wanted == HTTP_SERVICE_UNAVAILABLE
                   || wanted == HTTP_GATEWAY_TIME_OUT
               ? wanted
               : HTTP_INTERNAL_SERVER_ERROR;
}

static int http_status(const wsgid_exchange_t *x, const failure_t *row)
{
    switch (row->why) {
    case WSGID_E_ABORTED: return aborted_status(x->failure.http_status);
    case WSGID_E_REQUEST_BODY:
    case WSGID_E_OVERRIDDEN:
    case WSGID_E_SENDFILE: return x->failure.http_status;
    case WSGID_E_CLIENT_GONE: return OK; /* nobody is left to be told; as mod_proxy does */
    default: return row->http;
    }
}

/* When it makes sense to ask again: the earliest next try of the group's slots, in seconds, at
 * least one. */
static int retry_after(const wsgid_group_t *group)
{
    apr_time_t now = wsgid_clock_now(), earliest = 0;
    int i;

    for (i = 0; i < group->slot_count; i++) {
        if (wsgid_slots_state(group->slots[i]) == WSGID_SLOT_WAITING) {
            apr_time_t next = wsgid_slots_next_try(group->slots[i]);

            earliest = earliest == 0 || next < earliest ? next : earliest;
        }
    }
    return earliest > now ? (int)apr_time_sec(earliest - now + apr_time_from_sec(1) - 1)
                          : RETRY_AFTER_SECONDS;
}

static const char *detail(wsgid_exchange_t *x, const failure_t *row)
{
    if (row->why == WSGID_E_UNKNOWN_GROUP) {
        return apr_psprintf(x->r->pool, " (known: %s)", wsgid_groups_known(x->r->pool));
    }
    return x->failure.detail ? apr_psprintf(x->r->pool, " (%s)", x->failure.detail) : "";
}

static void tell(wsgid_exchange_t *x, const failure_t *row, apr_status_t why)
{
    request_rec *r = x->r;
    const char *group = x->group ? x->group->label : x->route->group;
    apr_status_t system = row->why == APR_SUCCESS ? why : 0;

    if (row->why == WSGID_E_ABORTED) {
        ap_log_rerror(APLOG_MARK, row->level, 0, r, "%s%s [group '%s', request '%s']",
                      wsgid_logs_mark(r), x->failure.detail, group, r->the_request);
        return;
    }
    ap_log_rerror(APLOG_MARK, row->level, system, r,
                  "%s%s: group '%s': %s%s [request '%s', after %" APR_TIME_T_FMT " ms]",
                  wsgid_logs_mark(r), row->code, group, row->text, detail(x, row), r->the_request,
                  apr_time_as_msec(wsgid_clock_now() - x->timing.accepted));
}

int wsgid_failures_answer(wsgid_exchange_t *x, apr_status_t why)
{
    const failure_t *row = find(why);

    tell(x, row, why);
    if (why == WSGID_E_CLIENT_GONE) {
        x->r->connection->aborted = 1;
        return OK;
    }
    if (x->client.has_begun && why != WSGID_E_FILTER) {
        wsgid_response_truncate(x);
        return OK;
    }
    if (x->response.has_begun && why != WSGID_E_FILTER) {
        wsgid_response_forget(x); /* nobody has seen it yet: a plain status says more */
    }
    if (row->retry_after) {
        apr_table_setn(x->r->err_headers_out, "Retry-After",
                       apr_itoa(x->r->pool, retry_after(x->group)));
    }
    return http_status(x, row);
}
