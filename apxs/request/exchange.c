/*
 * What every file of the request path may use: how an exchange fails, and what log lines about it
 * begin with.
 *
 * Nothing is logged here, and no other file of this folder is used.
 */
#include "request/exchange.h"

apr_status_t wsgid_exchange_fail(wsgid_exchange_t *x, apr_status_t why, int http_status,
                                 const char *detail)
{
    x->failure.http_status = http_status;
    x->failure.detail = detail;
    return why;
}

const char *wsgid_exchange_log_prefix(wsgid_exchange_t *x)
{
    if (!x->failure.log_prefix) {
        x->failure.log_prefix = wsgid_logs_mark(x->r);
    }
    return x->failure.log_prefix;
}
