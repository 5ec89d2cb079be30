/*
 * The totals of a slot: what its former processes have done (totals.h has the rules).
 */
#include "slots/totals.h"

#include <sched.h>

static const char *const names[WSGID_REASONS] = {
#define REASON(id, name, words) name,
#include "slots/reasons.def"
#undef REASON
};

static const char *const descriptions[WSGID_REASONS] = {
#define REASON(id, name, words) words,
#include "slots/reasons.def"
#undef REASON
};

const char *wsgid_totals_name(wsgid_reason_e reason)
{
    return names[reason];
}

const char *wsgid_totals_words(wsgid_reason_e reason)
{
    return descriptions[reason];
}

static apr_uint64_t clipped(apr_uint64_t number)
{
    return number < WSGID_COUNT_MOST ? number : WSGID_COUNT_MOST;
}

/* Both are at most WSGID_COUNT_MOST, so this cannot overflow. */
static void add(apr_uint64_t *sum, apr_uint64_t more)
{
    *sum = clipped(*sum + more);
}

void wsgid_totals_read_page(const wsgid_page_t *page, wsgid_counts_t *counts)
{
    int i;

    counts->requests = clipped(page->requests_finished);
    counts->errors = clipped(page->errors);
    counts->queue_time = clipped(page->queue_time);
    counts->application_time = clipped(page->application_time);
    for (i = 0; i < WSGID_PAGE_BUCKETS; i++) {
        counts->queue_times[i] = clipped(page->queue_times[i]);
        counts->application_times[i] = clipped(page->application_times[i]);
    }
}

void wsgid_totals_add(wsgid_counts_t *sum, const wsgid_counts_t *more)
{
    int i;

    add(&sum->requests, more->requests);
    add(&sum->errors, more->errors);
    add(&sum->queue_time, more->queue_time);
    add(&sum->application_time, more->application_time);
    for (i = 0; i < WSGID_PAGE_BUCKETS; i++) {
        add(&sum->queue_times[i], more->queue_times[i]);
        add(&sum->application_times[i], more->application_times[i]);
    }
}

/* Two guardians, of configurations one after the other, may want to write. One that was killed in
 * the middle leaves an odd number, which another one takes over after so many attempts. */
#define ATTEMPTS 1000

void wsgid_totals_begin(wsgid_totals_t *totals)
{
    int attempt;

    for (attempt = 0; attempt < ATTEMPTS; attempt++) {
        uint32_t turn = __atomic_load_n(&totals->turn, __ATOMIC_SEQ_CST) & ~1U;

        if (__atomic_compare_exchange_n(&totals->turn, &turn, turn + 1, 0, __ATOMIC_SEQ_CST,
                                        __ATOMIC_RELAXED)) {
            return;
        }
        (void)sched_yield();
    }
}

void wsgid_totals_end(wsgid_totals_t *totals)
{
    __atomic_add_fetch(&totals->turn, 1, __ATOMIC_SEQ_CST);
}

void wsgid_totals_count_death(wsgid_totals_t *totals, const wsgid_page_t *page,
                              wsgid_reason_e reason, int detail)
{
    wsgid_ends_t *ends = &totals->ends[reason];
    wsgid_counts_t counts;

    wsgid_totals_read_page(page, &counts);
    wsgid_totals_add(&totals->gone, &counts);
    ends->count++;
    ends->last = apr_time_now();
    ends->detail = detail;
}
