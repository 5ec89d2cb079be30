/*
 * Collects what the status page shows, from the parent's words in shared memory, httpd's counters,
 * the daemons' pages, and /proc.
 *
 * This file, and no other, makes hostile input harmless (status.h): it clips numbers, turns text
 * into printable ASCII, and bounds loops by our own limits.
 */
#include "status/status.h"

#include "common/clock.h"
#include "config/pools.h"

#include "apr_user.h"

/* The moment that is shown, on both clocks. httpd measures with the steady one, which nobody can
 * set; daemons report in the other. */
typedef struct {
    apr_time_t steady; /* wsgid_clock_now() */
    apr_time_t wall;   /* apr_time_now() */
} moment_t;

/* ---- text */

static const char *const process_states[WSGID_STATES] = WSGID_STATE_NAMES;
static const char *const slot_states[] = { [WSGID_SLOT_DOWN] = "down",
                                           [WSGID_SLOT_WAITING] = "waiting",
                                           [WSGID_SLOT_IDLE] = "idle",
                                           [WSGID_SLOT_BOOTING] = "booting",
                                           [WSGID_SLOT_READY] = "ready" };

const char *wsgid_status_model_process_state(wsgid_state_e state)
{
    return process_states[state];
}

const char *wsgid_status_model_slot_state(wsgid_slot_state_e state)
{
    return slot_states[state];
}

const char *wsgid_status_model_quoted(apr_pool_t *p, const char *text)
{
    char *quoted = apr_palloc(p, 2 * strlen(text) + 1);
    char *to = quoted;

    for (; *text; text++) {
        if (*text == '"' || *text == '\\') {
            *to++ = '\\';
        }
        *to++ = *text;
    }
    *to = '\0';
    return quoted;
}

const char *wsgid_status_model_seconds(apr_pool_t *p, apr_uint64_t microseconds)
{
    return apr_psprintf(p, "%" APR_UINT64_T_FMT ".%06d", microseconds / APR_USEC_PER_SEC,
                        (int)(microseconds % APR_USEC_PER_SEC));
}

/* A copy of at most `size` bytes, up to a NUL. Whatever is not printable ASCII becomes a question
 * mark. */
static char *printable(apr_pool_t *p, const char *bytes, apr_size_t size)
{
    char *text = apr_pstrmemdup(p, bytes, size);
    char *c;

    for (c = text; *c; c++) {
        if ((unsigned char)*c < ' ' || (unsigned char)*c > '~') {
            *c = '?';
        }
    }
    return text;
}

/* The version that a daemon reports, or NULL if it does not look like one. */
static const char *python_version(apr_pool_t *p, const wsgid_page_t *page)
{
    const char *text = printable(p, page->python, sizeof(page->python));

    return apr_isdigit(*text)
                   && strspn(text, "0123456789.+-abcdefghijklmnopqrstuvwxyz") == strlen(text)
               ? text
               : NULL;
}

static const char *user_name(apr_pool_t *p, const wsgid_group_t *group)
{
    apr_uid_t uid = (apr_uid_t)WSGID_NUMBER(group, USER);
    char *name;

    if (apr_uid_name_get(&name, uid, p) != APR_SUCCESS) {
        name = apr_psprintf(p, "#%lu", (unsigned long)uid);
    }
    return ap_escape_logitem(p, name);
}

/* ---- histograms */

apr_uint64_t wsgid_status_model_bound(int bucket)
{
    return bucket < WSGID_PAGE_BUCKETS - 1 ? (apr_uint64_t)WSGID_PAGE_FIRST << bucket : 0;
}

apr_uint64_t wsgid_status_model_count_times(const apr_uint64_t *times)
{
    apr_uint64_t count = 0;
    int i;

    for (i = 0; i < WSGID_PAGE_BUCKETS; i++) {
        count += times[i];
    }
    return count;
}

/* Assumes that times are spread evenly within a bucket. */
double wsgid_status_model_quantile(const apr_uint64_t *times, double share)
{
    double wanted = share * (double)wsgid_status_model_count_times(times);
    double lower = 0;
    int i;

    if (wanted <= 0) {
        return WSGID_STATUS_UNKNOWN;
    }
    for (i = 0; i < WSGID_PAGE_BUCKETS - 1; i++) {
        double upper = (double)wsgid_status_model_bound(i);

        if (wanted <= (double)times[i]) {
            return lower + (upper - lower) * wanted / (double)times[i];
        }
        wanted -= (double)times[i];
        lower = upper;
    }
    return lower;
}

/* ---- ends of processes */

static void add_ends(wsgid_ends_t *sum, const wsgid_ends_t *more)
{
    int i;

    for (i = 0; i < WSGID_REASONS; i++) {
        sum[i].count += more[i].count;
        if (more[i].last > sum[i].last) {
            sum[i].last = more[i].last;
            sum[i].detail = more[i].detail;
        }
    }
}

wsgid_reason_e wsgid_status_model_last_end(const wsgid_ends_t *ends)
{
    int last = WSGID_REASONS;
    int i;

    for (i = 0; i < WSGID_REASONS; i++) {
        if (ends[i].count && (last == WSGID_REASONS || ends[i].last > ends[last].last)) {
            last = i;
        }
    }
    return (wsgid_reason_e)last;
}

apr_uint64_t wsgid_status_model_count_ends(const wsgid_ends_t *ends)
{
    apr_uint64_t count = 0;
    int i;

    for (i = 0; i < WSGID_REASONS; i++) {
        count += ends[i].count;
    }
    return count;
}

/* ---- a process */

/* Clips a time to 0 .. most. Daemons' times may be wrong, and another clock's may be in the future.
 */
static apr_interval_time_t clip(apr_interval_time_t time, apr_interval_time_t most)
{
    return time < 0 || most < 0 ? 0 : time < most ? time : most;
}

static int by_elapsed(const void *left, const void *right)
{
    const wsgid_status_request_t *a = left;
    const wsgid_status_request_t *b = right;

    return a->elapsed < b->elapsed ? 1 : a->elapsed > b->elapsed ? -1 : 0;
}

static const apr_array_header_t *running_threads(apr_pool_t *p, const wsgid_slot_t *slot, int entry,
                                                 const wsgid_status_process_t *process,
                                                 const moment_t *now)
{
    int most = process->threads < WSGID_PAGE_MOST_ROWS ? process->threads : WSGID_PAGE_MOST_ROWS;
    wsgid_page_row_t *rows = apr_palloc(p, most * sizeof(*rows));
    int count = wsgid_pages_copy_rows(slot, entry, rows, most);
    apr_array_header_t *running = apr_array_make(p, 4, sizeof(wsgid_status_request_t));
    int i;

    for (i = 0; i < count; i++) {
        wsgid_status_request_t *thread;

        if (rows[i].since) {
            thread = apr_array_push(running);
            thread->thread = i + 1;
            thread->elapsed = rows[i].since < (apr_uint64_t)now->wall
                                  ? clip(now->wall - (apr_time_t)rows[i].since, process->uptime)
                                  : 0;
            thread->line = printable(p, rows[i].line, sizeof(rows[i].line));
        }
    }
    qsort(running->elts, running->nelts, sizeof(wsgid_status_request_t), by_elapsed);
    return running;
}

/* How many threads a process has. A process of an older configuration may have another number than
 * the current one says, so its own word is taken if that is sensible. */
static int threads_of(const wsgid_group_t *group, const wsgid_page_t *page)
{
    int configured = (int)WSGID_NUMBER(group, THREADS);

    return page->threads > 0 && page->threads <= WSGID_PAGE_MOST_ROWS ? (int)page->threads
                                                                      : configured;
}

static int busy_threads(const wsgid_page_t *page, int threads)
{
    apr_uint64_t begun = page->requests_started;
    apr_uint64_t done = page->requests_finished;

    return begun <= done ? 0 : begun - done < (apr_uint64_t)threads ? (int)(begun - done) : threads;
}

static void fill_process(apr_pool_t *p, const wsgid_group_t *group, const wsgid_slot_t *slot,
                         int which, const wsgid_entry_snapshot_t *entry, const moment_t *now,
                         wsgid_status_process_t *process)
{
    apr_interval_time_t age = now->steady - entry->born;

    process->pid = entry->pid;
    process->state = (wsgid_state_e)entry->page.state;
    process->uptime = clip(age, now->steady);
    process->python = python_version(p, &entry->page);
    process->threads = threads_of(group, &entry->page);
    process->busy = busy_threads(&entry->page, process->threads);
    process->at_once = entry->page.at_once <= (apr_uint32_t)process->threads
                           ? (int)entry->page.at_once
                           : 0;
    process->running = running_threads(p, slot, which, process, now);
    wsgid_totals_read_page(&entry->page, &process->counts);
    process->memory = wsgid_status_procfs_memory(entry->pid);
    process->cpu = wsgid_status_procfs_cpu(entry->pid);
}

/* ---- a slot, a group */

/* The oldest process comes first. */
static int by_age(const void *left, const void *right)
{
    const wsgid_status_process_t *a = left;
    const wsgid_status_process_t *b = right;

    return a->uptime < b->uptime ? 1 : a->uptime > b->uptime ? -1 : 0;
}

static void fill_slot(apr_pool_t *p, const wsgid_group_t *group, const wsgid_slot_t *slot,
                      const moment_t *now, wsgid_status_slot_t *status)
{
    apr_array_header_t *processes = apr_array_make(p, WSGID_SLOT_PROCESSES,
                                                   sizeof(wsgid_status_process_t));
    wsgid_entry_snapshot_t entries[WSGID_SLOT_PROCESSES];
    wsgid_totals_t totals;
    unsigned busy = 0;
    int which;

    wsgid_slots_snapshot(slot, entries, &totals);
    memcpy(status->ends, totals.ends, sizeof(status->ends));
    status->counts = totals.gone;
    for (which = 0; which < WSGID_SLOT_PROCESSES; which++) {
        if (entries[which].pid) {
            wsgid_status_process_t *process = apr_array_push(processes);
            fill_process(p, group, slot, which, &entries[which], now, process);
            wsgid_totals_add(&status->counts, &process->counts);
            busy += process->busy;
        }
    }
    qsort(processes->elts, processes->nelts, sizeof(wsgid_status_process_t), by_age);
    status->processes = processes;
    status->index = wsgid_slots_number(slot);
    status->state = wsgid_slots_state(slot);
    status->next_try = status->state == WSGID_SLOT_WAITING
                           ? clip(wsgid_slots_next_try(slot) - now->steady, WSGID_COUNT_MOST)
                           : 0;
    status->in_flight = wsgid_in_flight_count(slot);
    status->queued = status->in_flight > busy ? status->in_flight - busy : 0;
}

static void add_process(wsgid_status_group_t *group, const wsgid_status_process_t *process)
{
    int i;

    group->processes[process->state]++;
    if (process->state == WSGID_STATE_READY || process->state == WSGID_STATE_DRAINING) {
        group->threads += process->threads;
        group->busy += process->busy;
    }
    for (i = 0; i < process->running->nelts; i++) {
        apr_interval_time_t elapsed =
            APR_ARRAY_IDX(process->running, i, wsgid_status_request_t).elapsed;
        group->longest = elapsed > group->longest ? elapsed : group->longest;
    }
}

static void add_slot(wsgid_status_group_t *group, const wsgid_status_slot_t *slot)
{
    int is_ready = slot->state == WSGID_SLOT_READY;
    int i;

    group->ready += is_ready;
    group->starting += !is_ready && slot->index < group->scale.wanted;
    group->idle += is_ready && !slot->in_flight;
    group->in_flight += slot->in_flight;
    group->queued += slot->queued;
    wsgid_totals_add(&group->counts, &slot->counts);
    add_ends(group->ends, slot->ends);
    for (i = 0; i < slot->processes->nelts; i++) {
        add_process(group, &APR_ARRAY_IDX(slot->processes, i, wsgid_status_process_t));
    }
}

static void fill_pool(apr_pool_t *p, const wsgid_pool_t *pool, const moment_t *now,
                      wsgid_status_group_t *status)
{
    apr_array_header_t *slots = apr_array_make(p, pool->slot_count, sizeof(wsgid_status_slot_t));
    const char *name = pool->name ? pool->name : wsgid_names_get(pool->slots[0], p);
    int i;

    memset(status, 0, sizeof(*status));
    status->name = ap_escape_logitem(p, wsgid_pools_label(p, pool, name ? name : ""));
    status->user = user_name(p, pool->group);
    status->scale = wsgid_names_scale(pool->slots[0]);
    for (i = 0; i < pool->slot_count; i++) {
        if (wsgid_slots_exists(pool->slots[i])) {
            wsgid_status_slot_t *slot = apr_array_push(slots);
            fill_slot(p, pool->group, pool->slots[i], now, slot);
            add_slot(status, slot);
        }
    }
    status->slots = slots;
}

/* A spare pool is shown while it has an application group. */
static void fill_group(apr_pool_t *p, const wsgid_group_t *group, const moment_t *now,
                       apr_array_header_t *pools)
{
    int i;

    for (i = 0; i < wsgid_pools_count(group); i++) {
        const wsgid_pool_t *pool = wsgid_pools_get(group, i);

        if (pool->name || pool->number == 0 || wsgid_names_is_set(pool->slots[0])) {
            fill_pool(p, pool, now, apr_array_push(pools));
        }
    }
}

const wsgid_status_t *wsgid_status_model_collect(apr_pool_t *p)
{
    const apr_array_header_t *known = wsgid_groups_all();
    apr_array_header_t *groups = apr_array_make(p, known->nelts, sizeof(wsgid_status_group_t));
    wsgid_status_t *status = apr_pcalloc(p, sizeof(*status));
    moment_t now = { .steady = wsgid_clock_now(), .wall = apr_time_now() };
    int i;

    status->now = now.wall;
    for (i = 0; i < known->nelts; i++) {
        fill_group(p, APR_ARRAY_IDX(known, i, wsgid_group_t *), &now, groups);
    }
    status->groups = groups;
    return status;
}
