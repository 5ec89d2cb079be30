/*
 * The status page for scripts: ?auto, and our part of mod_status's own ?auto. As in mod_status,
 * each line is "Key: value".
 *
 * The keys are documented (docs/reference/status.md) and must not change.
 */
#include "status/status.h"

static void put_number(request_rec *r, const char *key, const char *group, apr_uint64_t number)
{
    ap_rprintf(r, "WSGID%s[%s]: %" APR_UINT64_T_FMT "\n", key, group, number);
}

/* "WSGIDQueueTimeP50[shop]: 0.000123" */
static void put_times(request_rec *r, const char *key, const char *group, const apr_uint64_t *times)
{
    static const int percents[] = { 50, 90, 99 };
    apr_size_t i;

    for (i = 0; i < sizeof(percents) / sizeof(*percents); i++) {
        double time = wsgid_status_model_quantile(times, percents[i] / 100.0);
        if (time >= 0) {
            ap_rprintf(r, "WSGID%sP%d[%s]: %s\n", key, percents[i], group,
                       wsgid_status_model_seconds(r->pool, (apr_uint64_t)time));
        }
    }
}

static void put_ends(request_rec *r, const wsgid_status_group_t *group)
{
    int i;

    put_number(r, "Restarts", group->name, wsgid_status_model_count_ends(group->ends));
    for (i = 0; i < WSGID_REASONS; i++) {
        if (group->ends[i].count) {
            ap_rprintf(r, "WSGIDRestarts[%s,%s]: %" APR_UINT64_T_FMT "\n", group->name,
                       wsgid_totals_name(i), group->ends[i].count);
        }
    }
}

static void put_group(request_rec *r, const wsgid_status_group_t *group)
{
    put_number(r, "Slots", group->name, group->scale.wanted);
    put_number(r, "SlotsMin", group->name, group->scale.least);
    put_number(r, "SlotsMax", group->name, group->scale.most);
    put_number(r, "SlotsReady", group->name, group->ready);
    put_number(r, "SlotsStarting", group->name, group->starting);
    put_number(r, "SlotsIdle", group->name, group->idle);
    put_number(r, "Threads", group->name, group->threads);
    put_number(r, "ThreadsBusy", group->name, group->busy);
    put_number(r, "InFlight", group->name, group->in_flight);
    put_number(r, "Queued", group->name, group->queued);
    put_number(r, "Requests", group->name, group->counts.requests);
    put_number(r, "Errors", group->name, group->counts.errors);
    put_times(r, "QueueTime", group->name, group->counts.queue_times);
    put_times(r, "ApplicationTime", group->name, group->counts.application_times);
    ap_rprintf(r, "WSGIDLongestRequest[%s]: %s\n", group->name,
               wsgid_status_model_seconds(r->pool, group->longest));
    put_ends(r, group);
}

void wsgid_status_auto_put(request_rec *r, const wsgid_status_t *status)
{
    int i;

    ap_rprintf(r, "WSGIDVersion: %s\nWSGIDGroups: %d\n", WSGID_VERSION, status->groups->nelts);
    for (i = 0; i < status->groups->nelts; i++) {
        put_group(r, &APR_ARRAY_IDX(status->groups, i, wsgid_status_group_t));
    }
}
