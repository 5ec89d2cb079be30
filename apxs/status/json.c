/*
 * The status page for programs: ?json, one object.
 *
 * The names are documented (docs/reference/status.md) and must not change. Times are in seconds,
 * sizes in bytes; an unknown value is null.
 */
#include "status/status.h"

static const char *separator(int i)
{
    return i ? "," : "";
}

static void put_text(request_rec *r, const char *name, const char *text)
{
    if (text) {
        ap_rprintf(r, "\"%s\":\"%s\"", name, wsgid_status_model_quoted(r->pool, text));
    }
    else {
        ap_rprintf(r, "\"%s\":null", name);
    }
}

static void put_number(request_rec *r, const char *name, apr_uint64_t number)
{
    ap_rprintf(r, ",\"%s\":%" APR_UINT64_T_FMT, name, number);
}

/* In microseconds; a negative number is unknown. */
static void put_time(request_rec *r, const char *name, double microseconds)
{
    ap_rprintf(r, ",\"%s\":%s", name,
               microseconds < 0 ? "null"
                                : wsgid_status_model_seconds(r->pool, (apr_uint64_t)microseconds));
}

static void put_times(request_rec *r, const char *name, const apr_uint64_t *times, apr_uint64_t sum)
{
    int i;

    ap_rprintf(r, ",\"%s\":{\"count\":%" APR_UINT64_T_FMT, name,
               wsgid_status_model_count_times(times));
    put_time(r, "sum_seconds", (double)sum);
    put_time(r, "p50_seconds", wsgid_status_model_quantile(times, 0.5));
    put_time(r, "p90_seconds", wsgid_status_model_quantile(times, 0.9));
    put_time(r, "p99_seconds", wsgid_status_model_quantile(times, 0.99));
    ap_rputs(",\"buckets\":[", r);
    for (i = 0; i < WSGID_PAGE_BUCKETS; i++) {
        apr_uint64_t bound = wsgid_status_model_bound(i);
        ap_rprintf(r, "%s{\"count\":%" APR_UINT64_T_FMT, separator(i), times[i]);
        put_time(r, "below_seconds", bound ? (double)bound : WSGID_STATUS_UNKNOWN);
        ap_rputs("}", r);
    }
    ap_rputs("]}", r);
}

static void put_counts(request_rec *r, const wsgid_counts_t *counts)
{
    put_number(r, "requests", counts->requests);
    put_number(r, "errors", counts->errors);
}

static void put_running(request_rec *r, const apr_array_header_t *running)
{
    int i;

    ap_rputs(",\"running\":[", r);
    for (i = 0; i < running->nelts; i++) {
        const wsgid_status_request_t *thread = &APR_ARRAY_IDX(running, i, wsgid_status_request_t);
        ap_rprintf(r, "%s{", separator(i));
        put_text(r, "request", thread->line);
        put_number(r, "thread", thread->thread);
        put_time(r, "elapsed_seconds", (double)thread->elapsed);
        ap_rputs("}", r);
    }
    ap_rputs("]", r);
}

static void put_process(request_rec *r, const wsgid_status_process_t *process)
{
    put_text(r, "state", wsgid_status_model_process_state(process->state));
    put_number(r, "pid", process->pid);
    ap_rputs(",", r);
    put_text(r, "python", process->python);
    put_time(r, "uptime_seconds", process->uptime > 0 ? (double)process->uptime : 0);
    put_number(r, "threads", process->threads);
    put_number(r, "busy_threads", process->busy);
    put_number(r, "at_once", process->at_once);
    put_counts(r, &process->counts);
    if (process->memory >= 0) {
        put_number(r, "memory_bytes", process->memory);
    }
    else {
        ap_rputs(",\"memory_bytes\":null", r);
    }
    put_time(r, "cpu_seconds",
             process->cpu >= 0 ? (double)process->cpu * 1000 : WSGID_STATUS_UNKNOWN);
    put_running(r, process->running);
}

static void put_slot(request_rec *r, const wsgid_status_slot_t *slot)
{
    int i;

    put_text(r, "state", wsgid_status_model_slot_state(slot->state));
    put_number(r, "slot", slot->index);
    put_time(r, "next_try_seconds",
             slot->state == WSGID_SLOT_WAITING ? (double)slot->next_try : WSGID_STATUS_UNKNOWN);
    put_number(r, "in_flight", slot->in_flight);
    put_number(r, "queued", slot->queued);
    put_counts(r, &slot->counts);
    ap_rputs(",\"processes\":[", r);
    for (i = 0; i < slot->processes->nelts; i++) {
        ap_rprintf(r, "%s{", separator(i));
        put_process(r, &APR_ARRAY_IDX(slot->processes, i, wsgid_status_process_t));
        ap_rputs("}", r);
    }
    ap_rputs("]", r);
}

/* The name of the signal or the exit code, for the reasons that have one. */
static const char *detail_name(wsgid_reason_e reason)
{
    switch (reason) {
    case WSGID_REASON_CRASHED:
    case WSGID_REASON_KILLED: return "last_signal";
    case WSGID_REASON_EXITED:
    case WSGID_REASON_UNLOADABLE:
    case WSGID_REASON_UNSTARTABLE: return "last_exit_code";
    default: return NULL;
    }
}

static void put_ends(request_rec *r, const wsgid_ends_t *ends)
{
    int first = 1;
    int i;

    ap_rputs(",\"restarts\":[", r);
    for (i = 0; i < WSGID_REASONS; i++) {
        if (ends[i].count) {
            ap_rputs(first ? "{" : ",{", r);
            put_text(r, "reason", wsgid_totals_name(i));
            put_number(r, "count", ends[i].count);
            put_time(r, "last_time", (double)ends[i].last);
            if (detail_name(i)) {
                ap_rprintf(r, ",\"%s\":%d", detail_name(i), ends[i].detail);
            }
            ap_rputs("}", r);
            first = 0;
        }
    }
    ap_rputs("]", r);
}

static void put_group(request_rec *r, const wsgid_status_group_t *group)
{
    int i;

    put_text(r, "name", group->name);
    ap_rputs(",", r);
    put_text(r, "user", group->user);
    put_number(r, "slots_desired", group->scale.wanted);
    put_number(r, "slots_min", group->scale.least);
    put_number(r, "slots_max", group->scale.most);
    put_number(r, "slots_ready", group->ready);
    put_number(r, "slots_starting", group->starting);
    put_number(r, "slots_idle", group->idle);
    put_number(r, "threads", group->threads);
    put_number(r, "busy_threads", group->busy);
    put_number(r, "in_flight", group->in_flight);
    put_number(r, "queued", group->queued);
    put_time(r, "longest_request_seconds", (double)group->longest);
    put_counts(r, &group->counts);
    put_times(r, "queue_time", group->counts.queue_times, group->counts.queue_time);
    put_times(r, "application_time", group->counts.application_times,
              group->counts.application_time);
    put_ends(r, group->ends);
    ap_rputs(",\"slots\":[", r);
    for (i = 0; i < group->slots->nelts; i++) {
        ap_rprintf(r, "%s{", separator(i));
        put_slot(r, &APR_ARRAY_IDX(group->slots, i, wsgid_status_slot_t));
        ap_rputs("}", r);
    }
    ap_rputs("]", r);
}

void wsgid_status_json_put(request_rec *r, const wsgid_status_t *status)
{
    int i;

    ap_rputs("{", r);
    put_text(r, "version", WSGID_VERSION);
    put_time(r, "time", (double)status->now);
    ap_rputs(",\"groups\":[", r);
    for (i = 0; i < status->groups->nelts; i++) {
        ap_rprintf(r, "%s{", separator(i));
        put_group(r, &APR_ARRAY_IDX(status->groups, i, wsgid_status_group_t));
        ap_rputs("}", r);
    }
    ap_rputs("]}\n", r);
}
