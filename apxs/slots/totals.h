/*
 * What the former processes of a slot have done, added up, and why they ended.
 *
 * Totals are in the slot's shared memory. Guardians write them when a process has ended;
 * httpd's children read them for the status page. They hold numbers only. `turn` is odd while a
 * guardian moves the figures of a process from its page into the totals and frees the page. A
 * reader that finds it odd or changed reads again (wsgid_slots_snapshot), so each process is
 * counted in exactly one place and no sum goes down.
 *
 * A page is as little trusted after its process has ended as before: its numbers are clipped, and
 * affect only the figures of its own group.
 */
#ifndef WSGID_TOTALS_H
#define WSGID_TOTALS_H

#include "common/process_abi.h"
#include "wsgid.h"

/* Why a process ended. */
typedef enum {
#define REASON(id, name, words) WSGID_REASON_##id,
#include "slots/reasons.def"
#undef REASON
    WSGID_REASONS
} wsgid_reason_e;

/* Figures of one process, or of several. Times in microseconds, buckets as in process_abi.h. No
 * number is above WSGID_COUNT_MOST, whatever a page says. */
typedef struct {
    apr_uint64_t requests; /* finished */
    apr_uint64_t errors;
    apr_uint64_t queue_time;
    apr_uint64_t application_time;
    apr_uint64_t queue_times[WSGID_PAGE_BUCKETS];
    apr_uint64_t application_times[WSGID_PAGE_BUCKETS];
} wsgid_counts_t;

/* Small enough that sums of many do not overflow and are exact in a double. */
#define WSGID_COUNT_MOST ((apr_uint64_t)1000000000000000)

/* How many processes ended for one reason. */
typedef struct {
    apr_uint64_t count;
    apr_time_t last; /* apr_time_now() of the last one; 0: there was none */
    int detail;      /* signal or exit code of the last one */
} wsgid_ends_t;

typedef struct {
    uint32_t turn;
    wsgid_counts_t gone; /* of all processes that have ended */
    wsgid_ends_t ends[WSGID_REASONS];
} wsgid_totals_t;

/* Anybody. The figures of a page, clipped to WSGID_COUNT_MOST. */
void wsgid_totals_read_page(const wsgid_page_t *page, wsgid_counts_t *counts);
/* Anybody. Adds `more` to `sum`, clipped. */
void wsgid_totals_add(wsgid_counts_t *sum, const wsgid_counts_t *more);

/* A guardian, in this order, when a process has ended: begin, count its death, free its page,
 * end. page: a copy of its last page. detail: its signal or exit code. */
void wsgid_totals_begin(wsgid_totals_t *totals);
void wsgid_totals_count_death(wsgid_totals_t *totals, const wsgid_page_t *page,
                              wsgid_reason_e reason, int detail);
void wsgid_totals_end(wsgid_totals_t *totals);

/* Anybody. For programs: "changed". */
const char *wsgid_totals_name(wsgid_reason_e reason);
/* Anybody. For people: "a script changed". */
const char *wsgid_totals_words(wsgid_reason_e reason);

#endif
