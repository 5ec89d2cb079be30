/*
 * The status page for Prometheus: ?prometheus, in the text format of OpenMetrics 1.0.
 *
 * Each metric is a row of families[]. The names are documented (docs/reference/status.md) and must
 * not change. The counters of a group are sums over all processes that it has had, so that they do
 * not go down when one is replaced. A series about one process is labelled with its pid, and ends
 * with it.
 */
#include "status/status.h"

typedef struct {
    request_rec *r;
    const char *name;
    const char *labels; /* of the group, or of the process: name="value",... */
} sample_t;

typedef void put_group_t(const sample_t *sample, const wsgid_status_group_t *group);
typedef void put_process_t(const sample_t *sample, const wsgid_status_process_t *process);

typedef struct {
    const char *name;
    const char *type;
    const char *help;
    put_group_t *of_group; /* either this or the next */
    put_process_t *of_process;
} family_t;

/* ---- samples */

static void put_number(const sample_t *sample, const char *suffix, apr_uint64_t number)
{
    ap_rprintf(sample->r, "%s%s{%s} %" APR_UINT64_T_FMT "\n", sample->name, suffix, sample->labels,
               number);
}

static void put_seconds(const sample_t *sample, const char *suffix, apr_uint64_t microseconds)
{
    ap_rprintf(sample->r, "%s%s{%s} %s\n", sample->name, suffix, sample->labels,
               wsgid_status_model_seconds(sample->r->pool, microseconds));
}

static void put_labelled(const sample_t *sample, const char *suffix, const char *label,
                         const char *value, apr_uint64_t number)
{
    ap_rprintf(sample->r, "%s%s{%s,%s=\"%s\"} %" APR_UINT64_T_FMT "\n", sample->name, suffix,
               sample->labels, label, value, number);
}

static void put_histogram(const sample_t *sample, const apr_uint64_t *times, apr_uint64_t sum)
{
    apr_uint64_t count = 0;
    int i;

    for (i = 0; i < WSGID_PAGE_BUCKETS; i++) {
        apr_uint64_t bound = wsgid_status_model_bound(i);
        count += times[i];
        put_labelled(sample, "_bucket", "le",
                     bound ? wsgid_status_model_seconds(sample->r->pool, bound) : "+Inf", count);
    }
    put_number(sample, "_count", count);
    put_seconds(sample, "_sum", sum);
}

/* ---- of a group */

static void put_slots(const sample_t *sample, const wsgid_status_group_t *group)
{
    put_number(sample, "", group->scale.wanted);
}

static void put_slots_min(const sample_t *sample, const wsgid_status_group_t *group)
{
    put_number(sample, "", group->scale.least);
}

static void put_slots_max(const sample_t *sample, const wsgid_status_group_t *group)
{
    put_number(sample, "", group->scale.most);
}

static void put_slots_ready(const sample_t *sample, const wsgid_status_group_t *group)
{
    put_number(sample, "", group->ready);
}

static void put_slots_starting(const sample_t *sample, const wsgid_status_group_t *group)
{
    put_number(sample, "", group->starting);
}

static void put_slots_idle(const sample_t *sample, const wsgid_status_group_t *group)
{
    put_number(sample, "", group->idle);
}

static void put_processes(const sample_t *sample, const wsgid_status_group_t *group)
{
    int i;

    for (i = WSGID_STATE_FREE + 1; i < WSGID_STATES; i++) {
        put_labelled(sample, "", "state", wsgid_status_model_process_state(i), group->processes[i]);
    }
}

static void put_threads(const sample_t *sample, const wsgid_status_group_t *group)
{
    put_number(sample, "", group->threads);
}

static void put_busy(const sample_t *sample, const wsgid_status_group_t *group)
{
    put_number(sample, "", group->busy);
}

static void put_in_flight(const sample_t *sample, const wsgid_status_group_t *group)
{
    put_number(sample, "", group->in_flight);
}

static void put_queued(const sample_t *sample, const wsgid_status_group_t *group)
{
    put_number(sample, "", group->queued);
}

static void put_longest(const sample_t *sample, const wsgid_status_group_t *group)
{
    put_seconds(sample, "", group->longest);
}

static void put_requests(const sample_t *sample, const wsgid_status_group_t *group)
{
    put_number(sample, "_total", group->counts.requests);
}

static void put_errors(const sample_t *sample, const wsgid_status_group_t *group)
{
    put_number(sample, "_total", group->counts.errors);
}

/* Every reason, even those with 0, so that Prometheus sees the step from 0 to 1. */
static void put_restarts(const sample_t *sample, const wsgid_status_group_t *group)
{
    int i;

    for (i = 0; i < WSGID_REASONS; i++) {
        put_labelled(sample, "_total", "reason", wsgid_totals_name(i), group->ends[i].count);
    }
}

static void put_queue_times(const sample_t *sample, const wsgid_status_group_t *group)
{
    put_histogram(sample, group->counts.queue_times, group->counts.queue_time);
}

static void put_application_times(const sample_t *sample, const wsgid_status_group_t *group)
{
    put_histogram(sample, group->counts.application_times, group->counts.application_time);
}

/* ---- of a process */

static void put_uptime(const sample_t *sample, const wsgid_status_process_t *process)
{
    put_seconds(sample, "", process->uptime > 0 ? process->uptime : 0);
}

static void put_process_busy(const sample_t *sample, const wsgid_status_process_t *process)
{
    put_number(sample, "", process->busy);
}

static void put_memory(const sample_t *sample, const wsgid_status_process_t *process)
{
    if (process->memory >= 0) {
        put_number(sample, "", process->memory);
    }
}

static void put_cpu(const sample_t *sample, const wsgid_status_process_t *process)
{
    if (process->cpu >= 0) {
        put_seconds(sample, "_total", (apr_uint64_t)process->cpu * 1000);
    }
}

/* ---- all */

static const family_t families[] = {
    { "wsgid_slots", "gauge", "Processes that the group is to have now.", put_slots, NULL },
    { "wsgid_slots_min", "gauge", "How many it has at least.", put_slots_min, NULL },
    { "wsgid_slots_max", "gauge", "How many it may have.", put_slots_max, NULL },
    { "wsgid_slots_ready", "gauge", "How many serve requests.", put_slots_ready, NULL },
    { "wsgid_slots_starting", "gauge", "How many are to serve and do not yet.", put_slots_starting,
      NULL },
    { "wsgid_slots_idle", "gauge", "How many serve and have no request.", put_slots_idle, NULL },
    { "wsgid_processes", "gauge",
      "Processes of the group by state, including those that are starting or leaving.",
      put_processes, NULL },
    { "wsgid_threads", "gauge", "Threads for requests.", put_threads, NULL },
    { "wsgid_threads_busy", "gauge", "Threads that run a request.", put_busy, NULL },
    { "wsgid_requests_in_flight", "gauge",
      "Requests that httpd has sent to the group and that are not finished.", put_in_flight, NULL },
    { "wsgid_requests_queued", "gauge", "Of these, how many wait for a thread.", put_queued, NULL },
    { "wsgid_longest_request_seconds", "gauge",
      "How long the oldest request that is running has run.", put_longest, NULL },
    { "wsgid_requests", "counter", "Requests finished.", put_requests, NULL },
    { "wsgid_errors", "counter",
      "Requests that mod_wsgid, not the application, answered with an error.", put_errors, NULL },
    { "wsgid_restarts", "counter", "Processes that have ended, by reason.", put_restarts, NULL },
    { "wsgid_queue_seconds", "histogram",
      "From when httpd has a request ready to be sent until a thread has read it.", put_queue_times,
      NULL },
    { "wsgid_application_seconds", "histogram",
      "From when a thread has read a request until it is free again.", put_application_times,
      NULL },
    { "wsgid_process_uptime_seconds", "gauge", "How long the process has run.", NULL, put_uptime },
    { "wsgid_process_threads_busy", "gauge", "Threads of the process that run a request.", NULL,
      put_process_busy },
    { "wsgid_process_resident_memory_bytes", "gauge", "Resident memory of the process.", NULL,
      put_memory },
    { "wsgid_process_cpu_seconds", "counter", "CPU time of the process.", NULL, put_cpu }
};

static void put_of_processes(request_rec *r, const family_t *family,
                             const wsgid_status_group_t *group, const char *labels)
{
    int i, k;

    for (i = 0; i < group->slots->nelts; i++) {
        const wsgid_status_slot_t *slot = &APR_ARRAY_IDX(group->slots, i, wsgid_status_slot_t);
        for (k = 0; k < slot->processes->nelts; k++) {
            const wsgid_status_process_t *process = &APR_ARRAY_IDX(slot->processes, k,
                                                                   wsgid_status_process_t);
            sample_t sample = { r, family->name,
                                apr_psprintf(r->pool, "%s,slot=\"%d\",pid=\"%" APR_PID_T_FMT "\"",
                                             labels, slot->index, process->pid) };
            family->of_process(&sample, process);
        }
    }
}

static void put_family(request_rec *r, const family_t *family, const wsgid_status_t *status)
{
    int i;

    ap_rprintf(r, "# TYPE %s %s\n# HELP %s %s\n", family->name, family->type, family->name,
               family->help);
    for (i = 0; i < status->groups->nelts; i++) {
        const wsgid_status_group_t *group = &APR_ARRAY_IDX(status->groups, i, wsgid_status_group_t);
        const char *labels = apr_psprintf(r->pool, "group=\"%s\"",
                                          wsgid_status_model_quoted(r->pool, group->name));
        sample_t sample = { r, family->name, labels };

        if (family->of_group) {
            family->of_group(&sample, group);
        }
        else {
            put_of_processes(r, family, group, labels);
        }
    }
}

void wsgid_status_metrics_put(request_rec *r, const wsgid_status_t *status)
{
    apr_size_t i;

    ap_rprintf(r,
               "# TYPE wsgid_build info\n# HELP wsgid_build Which mod_wsgid this is.\n"
               "wsgid_build_info{version=\"%s\"} 1\n",
               WSGID_VERSION);
    for (i = 0; i < sizeof(families) / sizeof(*families); i++) {
        put_family(r, &families[i], status);
    }
    ap_rputs("# EOF\n", r);
}
