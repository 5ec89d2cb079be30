/*
 * The notes of a request that an access log can show: wsgid-group, wsgid-slot, wsgid-pid,
 * wsgid-queue-time, wsgid-application-time and wsgid-retries.
 *
 * They are made from the request's exchange when httpd is about to log the request, however it
 * ended; until then they cost nothing. What is not known has no note, and the log shows "-". The
 * daemon's own claims (its pid, how long the request waited) are limited to what httpd itself has
 * measured.
 */
#include "request/exchange.h"
#include "request/request.h"

#include "apr_strings.h"

/* apr_table_set() would first search for the name. That takes five times as long, because the names
 * all begin alike; and nobody else uses these names. */
static void note(request_rec *r, const char *name, const char *value)
{
    apr_table_addn(r->notes, name, value);
}

static void note_number(request_rec *r, const char *name, apr_int64_t number)
{
    note(r, name, apr_off_t_toa(r->pool, number));
}

static void note_slot(request_rec *r, const wsgid_exchange_t *x)
{
    if (x->attempts.last_slot) {
        note_number(r, "wsgid-slot", wsgid_slots_number(x->attempts.last_slot));
    }
}

static void note_times(request_rec *r, const wsgid_exchange_t *x)
{
    apr_time_t lasted = x->timing.done - x->timing.ready;
    /* the daemon's claim, by the system's clock, which may have been set meanwhile */
    apr_time_t waited = x->response.waited < lasted ? x->response.waited : lasted;

    if (x->attempts.is_unread) {
        note_number(r, "wsgid-queue-time", lasted);
    }
    else if (x->response.has_started) {
        note_number(r, "wsgid-pid", x->response.pid);
        note_number(r, "wsgid-queue-time", waited);
        note_number(r, "wsgid-application-time", lasted - waited);
    }
}

static void note_all(request_rec *r, const wsgid_exchange_t *x)
{
    note(r, "wsgid-group", wsgid_groups_label(x->route->group));
    if (x->timing.ready_wall) {
        note_slot(r, x);
        note_times(r, x);
        note_number(r, "wsgid-retries", x->attempts.count > 1 ? x->attempts.count - 1 : 0);
    }
}

void wsgid_access_log_keep(wsgid_exchange_t *x)
{
    ap_set_module_config(x->r->request_config, &wsgid_module, x);
}

/* mod_log_config logs the last request of a chain of internal redirects: an ErrorDocument, for
 * example, that replaced ours. */
int wsgid_access_log_log_transaction(request_rec *r)
{
    const wsgid_exchange_t *x = NULL;
    request_rec *each, *last = r;

    for (each = r; each; each = each->next) {
        const wsgid_exchange_t *found = ap_get_module_config(each->request_config, &wsgid_module);

        x = found ? found : x;
        last = each;
    }
    if (x) {
        last->user = last->user ? last->user : x->r->user; /* WSGIUserHeader */
        note_all(last, x);
    }
    if (x && x->r != last) {
        note_all(x->r, x); /* for %<{...}n */
    }
    return DECLINED;
}
