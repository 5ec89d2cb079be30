/*
 * What an access log may show of a request: the notes wsgid-group, -slot, -pid, -queue-time,
 * -application-time, -retries.
 *
 * They are made when httpd is about to log a request, from what its exchange has kept: until then
 * they cost nothing, and they are there however it ended. What is not known has no note, which a
 * log shows as "-". What the daemon said of itself (its pid, how long the request had waited) is
 * believed as far as it fits what httpd has seen.
 */
#include "request/exchange.h"

#include "apr_strings.h"

/* Added without a look for one that is there: names that begin alike make that cost five times as
 * much, and nobody else has these. */
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
    int i;

    for (i = 0; i < x->group->slot_count; i++) {
        if (x->group->slots[i] == x->attempts.last_slot) {
            note_number(r, "wsgid-slot", i);
        }
    }
}

static void note_times(request_rec *r, const wsgid_exchange_t *x)
{
    apr_time_t lasted = x->timing.done - x->timing.ready;
    /* the daemon's word, and the system's clock may be set */
    apr_time_t waited = x->response.waited < lasted ? x->response.waited : lasted;

    if (x->attempts.unread) {
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
    note(r, "wsgid-group", x->group ? x->group->label : x->route->group);
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

/* mod_log_config looks at the last of a chain of internal redirects: at an ErrorDocument, say, that
 * stands in for our request. */
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
        note_all(last, x);
    }
    if (x && x->r != last) {
        note_all(x->r, x); /* for %<{...}n */
    }
    return DECLINED;
}
