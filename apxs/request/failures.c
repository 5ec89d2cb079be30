/*
 * What went wrong with a request: one table from the code of a failure to its log line and its HTTP
 * status. No other file turns an apr_status_t into an HTTP status.
 *
 * A failure before the response has begun becomes an HTTP status. After that the status has been
 * sent, so the client must see that the response is cut off.
 */
#include "request/exchange.h"

#define RETRY_AFTER_SECONDS 1 /* a queue moves on quickly */

typedef struct {
    apr_status_t why;
    int http; /* 0: x->failure.http_status */
    int level;
    const char *code;
    const char *what; /* what happened, and why; the detail follows in brackets */
    const char *fix;  /* "": nothing to do */
} row_t;

#define EARLIER_LINES "Earlier log lines about this group say why its processes end"

static const row_t rows[] = {
    { WSGID_E_NO_SCRIPT, 404, APLOG_ERR, "WSGID0151", "the script does not exist",
      "Correct the path in WSGIScriptAlias, or create the file" },
    { WSGID_E_DIRECTORY, 403, APLOG_ERR, "WSGID0152", "the path is a directory, not a script",
      "Name the script file in WSGIScriptAlias. If the alias names a directory of scripts, the URL "
      "must name one of its files" },
    { WSGID_E_NO_EXEC_CGI, 403, APLOG_ERR, "WSGID0153",
      "the script is not run, because Options ExecCGI is off in its directory",
      "Add 'Options +ExecCGI' for that directory, or use WSGIScriptAlias" },
    { WSGID_E_CODING, 501, APLOG_INFO, "WSGID0182",
      "the request's body has a transfer coding that httpd cannot decode",
      "Clients may use Content-Length or chunked, but no other Transfer-Encoding" },
    { WSGID_E_CHUNKED, 411, APLOG_INFO, "WSGID0155",
      "the request has a chunked body, which WSGIChunkedRequest Off refuses",
      "Set WSGIChunkedRequest On if the application can read a body of unknown length" },
    { WSGID_E_UNKNOWN_GROUP, 500, APLOG_ERR, "WSGID0160", "no daemon group has this name",
      "Define the group with WSGIDaemonProcess, or correct the name in WSGIProcessName, "
      "WSGIProcessGroup or WSGIScriptAlias" },
    { WSGID_E_GROUP_UNSET, 500, APLOG_ERR, "WSGID0160",
      "this variable chooses the daemon group, but it is not set for this request",
      "Set it for every request (SetEnv, SetEnvIf or RewriteRule [E=]), or name a group in "
      "WSGIProcessName" },
    { WSGID_E_GROUP_FORBIDDEN, 500, APLOG_ERR, "WSGID0156",
      "WSGIRestrictProcess does not allow this group here",
      "Add the group to WSGIRestrictProcess, or correct what chooses it (WSGIProcessName, or the "
      "environment variable that it uses)" },
    { WSGID_E_QUEUE_LIMIT, 503, APLOG_ERR, "WSGID0161",
      "too many requests wait for a free thread: queue-limit= is reached",
      "Raise processes= or threads=, or raise queue-limit= if clients may wait longer" },
    { WSGID_E_QUEUE_TIMEOUT, 503, APLOG_ERR, "WSGID0162",
      "no thread was free for this request within queue-timeout=",
      "Raise processes= or threads=, or find out which requests occupy the threads for so long" },
    { WSGID_E_NO_PROCESS, 503, APLOG_ERR, "WSGID0163",
      "no process of the group is running, because the last ones died or could not start; httpd "
      "tries again after a delay",
      EARLIER_LINES },
    { WSGID_E_NO_POOL, 503, APLOG_ERR, "WSGID0186",
      "all application groups that may have processes have requests, so this one gets none",
      "Raise application-groups=, or put scripts together with WSGIApplicationGroup %{GLOBAL}" },
    { WSGID_E_NO_SOCKET, 503, APLOG_ERR, "WSGID0179",
      "the socket of its processes is gone: a program has deleted it, or its directory, "
      "or httpd's parent was killed",
      "A graceful restart of httpd creates it again. Keep whatever cleans up old files away from "
      "the directory of WSGISocketPrefix" },
    { WSGID_E_CONNECT_TIMEOUT, 503, APLOG_ERR, "WSGID0164",
      "the processes accepted no connection within connect-timeout=: their listen-backlog= is full",
      "Raise processes= or threads=, or find out which requests occupy the threads for so long" },
    { WSGID_E_NEVER_STARTED, 503, APLOG_ERR, "WSGID0165",
      "several processes in a row ended or were replaced before they started this request",
      EARLIER_LINES },
    { WSGID_E_DIED, 502, APLOG_ERR, "WSGID0166",
      "the daemon process died while it ran this request",
      "Another log line at this time says how the process ended and, after a crash, where. The "
      "request may have had effects, so it is not sent again" },
    { WSGID_E_CLIENT_TOO_SLOW, 502, APLOG_INFO, "WSGID0177",
      "the daemon gave up sending the response, because the client reads it too slowly",
      "If such clients are worth waiting for, raise response-spool-size= or send-timeout=" },
    { WSGID_E_TIMEOUT, 504, APLOG_ERR, "WSGID0167",
      "the daemon sent nothing within socket-timeout=: the application is stuck or slow",
      "'kill -USR2 PID' logs what each thread of the process is doing. Raise socket-timeout= if "
      "the application is slow on purpose" },
    { WSGID_E_PROTOCOL, 502, APLOG_ERR, "WSGID0168",
      "the daemon violated the wire protocol, so its connection is closed",
      "Make sure that pywsgid and mod_wsgid.so have the same version" },
    { WSGID_E_BAD_RESPONSE, 500, APLOG_ERR, "WSGID0169",
      "the daemon sent a status line or a header that must not reach a client",
      "Make sure that pywsgid and mod_wsgid.so have the same version" },
    /* the daemon has logged once that it is overloaded */
    { WSGID_E_OVERLOADED, 503, APLOG_INFO, "WSGID0178",
      "the group is overloaded, and the request has waited too long for a thread",
      "WSGID0360 in the group's log says what to do" },
    /* the log line and its code come from the daemon */
    { WSGID_E_ABORTED, 0, APLOG_ERR, NULL, NULL, NULL },
    { WSGID_E_ENVIRON_TOO_LARGE, 0, APLOG_INFO, "WSGID0170",
      "the URL, the headers and the variables of the request are larger than 1 MiB together",
      "Lower LimitRequestLine, LimitRequestFields or LimitRequestFieldSize, or set fewer "
      "variables" },
    { WSGID_E_REQUEST_BODY, 0, APLOG_INFO, "WSGID0171", "the request's body could not be read",
      "If such requests should be accepted, raise the limit that was exceeded (LimitRequestBody, "
      "RequestReadTimeout, socket-timeout=)" },
    { WSGID_E_CLIENT_GONE, 0, APLOG_DEBUG, "WSGID0172",
      "the client closed its connection before it had the whole response", "" },
    { WSGID_E_OVERRIDDEN, 0, APLOG_DEBUG, "WSGID0174",
      "httpd's ErrorDocument replaces the application's error page, as WSGIErrorOverride is On",
      "" },
    { WSGID_E_REDIRECTED, 0, APLOG_DEBUG, "WSGID0502",
      "the Location of the application's response is a path, which httpd serves instead", "" },
    { WSGID_E_SENDFILE, 0, APLOG_ERR, "WSGID0175",
      "the application's X-Sendfile header names a file that must not be sent",
      "Correct the application, WSGISendfilePath or the permissions of the file" },
    { WSGID_E_FILTER, AP_FILTER_ERROR, APLOG_DEBUG, "WSGID0176",
      "an output filter of httpd failed, or sent a response of its own", "" },
    { EACCES, 502, APLOG_ERR, "WSGID0173",
      "this process of httpd may not connect to the daemon (permission denied), because it runs as "
      "another user than the socket is for (AssignUserID of mpm-itk, ChrootDir)",
      "Name that user with socket-user= in the group's WSGIDaemonProcess, and give hosts with other "
      "users other groups" },
    /* any other code: an error of the operating system, which httpd adds to the line */
    { APR_SUCCESS, 502, APLOG_ERR, "WSGID0173", "the connection to the daemon failed",
      "The system's error, at the start of this line, says why" }
};

static const row_t *find_row(apr_status_t why)
{
    const row_t *row = rows;

    while (row->why != why && row->why != APR_SUCCESS) {
        row++;
    }
    return row;
}

/* ---- the log line */

static const char *group_name(const wsgid_exchange_t *x)
{
    return x->pool ? wsgid_pools_label(x->r->pool, x->pool, x->route->application_group)
                   : wsgid_groups_label(x->route->group);
}

static const char *detail(wsgid_exchange_t *x, const row_t *row)
{
    if (row->why == WSGID_E_UNKNOWN_GROUP) {
        return apr_psprintf(x->r->pool, " (known: %s)", wsgid_groups_known(x->r->pool));
    }
    return x->failure.detail ? apr_psprintf(x->r->pool, " (%s)", x->failure.detail) : "";
}

static void log_abort(wsgid_exchange_t *x, const row_t *row)
{
    ap_log_rerror(APLOG_MARK, row->level, 0, x->r, "%s%s [group '%s', request '%s']",
                  wsgid_exchange_log_prefix(x), x->failure.detail, group_name(x),
                  x->r->the_request);
}

static void log_failure(wsgid_exchange_t *x, const row_t *row, apr_status_t why)
{
    apr_status_t system = row->why == APR_SUCCESS ? why : 0;

    ap_log_rerror(APLOG_MARK, row->level, system, x->r,
                  "%s%s: group '%s': %s%s%s%s [request '%s', after %" APR_TIME_T_FMT " ms]",
                  wsgid_exchange_log_prefix(x), row->code, group_name(x), row->what, detail(x, row),
                  *row->fix ? ". " : "", row->fix, x->r->the_request,
                  apr_time_as_msec(wsgid_clock_now() - x->timing.accepted));
}

/* ---- the status */

/* A daemon may ask for these. */
static int aborted_status(int wanted)
{
    return wanted == HTTP_BAD_GATEWAY || wanted == HTTP_SERVICE_UNAVAILABLE
                   || wanted == HTTP_GATEWAY_TIME_OUT
               ? wanted
               : HTTP_INTERNAL_SERVER_ERROR;
}

/* Whether the last process of the group that ended could not load its script. */
static int is_unloadable(const wsgid_pool_t *pool)
{
    apr_time_t last = 0, unloadable = 0;
    int slot, reason;

    for (slot = 0; pool && slot < pool->slot_count; slot++) {
        const wsgid_ends_t *ends = wsgid_slots_totals(pool->slots[slot])->ends;

        for (reason = 0; reason < WSGID_REASONS; reason++) {
            last = ends[reason].last > last ? ends[reason].last : last;
        }
        if (ends[WSGID_REASON_UNLOADABLE].last > unloadable) {
            unloadable = ends[WSGID_REASON_UNLOADABLE].last;
        }
    }
    return unloadable && unloadable == last;
}

static int http_status(const wsgid_exchange_t *x, const row_t *row)
{
    if (row->why == WSGID_E_ABORTED) {
        return aborted_status(x->failure.http_status);
    }
    if ((row->why == WSGID_E_NO_PROCESS || row->why == WSGID_E_NEVER_STARTED)
        && is_unloadable(x->pool)) {
        return HTTP_INTERNAL_SERVER_ERROR; /* as if the request itself had loaded the script */
    }
    return row->http ? row->http : x->failure.http_status;
}

/* In seconds, at least one: when the first of the group's waiting slots starts a process again. */
static int retry_after(const wsgid_pool_t *pool)
{
    apr_time_t now = wsgid_clock_now(), earliest = 0;
    int i;

    for (i = 0; pool && i < pool->slot_count; i++) {
        if (wsgid_slots_state(pool->slots[i]) == WSGID_SLOT_WAITING) {
            apr_time_t next = wsgid_slots_next_try(pool->slots[i]);

            earliest = earliest == 0 || next < earliest ? next : earliest;
        }
    }
    return earliest > now ? (int)apr_time_sec(earliest - now + apr_time_from_sec(1) - 1)
                          : RETRY_AFTER_SECONDS;
}

int wsgid_failures_answer(wsgid_exchange_t *x, apr_status_t why)
{
    const row_t *row = find_row(why);
    int status;

    if (why == WSGID_E_ABORTED) {
        log_abort(x, row);
    }
    else {
        log_failure(x, row, why);
    }
    if (why == WSGID_E_CLIENT_GONE) {
        x->r->connection->aborted = 1;
        return OK; /* no status reaches anybody; mod_proxy does the same */
    }
    if (why == WSGID_E_ABORTED && x->response.length > 0 && !x->client.has_begun) {
        /* The application has sent a block: what becomes of it must not depend on whether it came
         * together with the ABORT. */
        why = wsgid_client_flush(x) == WSGID_E_FILTER ? WSGID_E_FILTER : why;
    }
    if (x->client.has_begun && why != WSGID_E_FILTER) {
        wsgid_response_truncate(x);
        return OK;
    }
    if (x->response.has_begun && why != WSGID_E_FILTER) {
        wsgid_response_forget(x); /* the client has got nothing of it */
    }
    status = http_status(x, row);
    if (status == HTTP_SERVICE_UNAVAILABLE && why != WSGID_E_OVERRIDDEN) {
        apr_table_setn(x->r->err_headers_out, "Retry-After",
                       apr_itoa(x->r->pool, retry_after(x->pool)));
    }
    return status;
}
