/*
 * What is left of the processes that a slot has had: what they did, added up, and why they ended.
 *
 * In the slot's shared memory; the parent writes it, at a death, and httpd's children read it for
 * the status page. Numbers only. `turn` is odd while the parent moves what a page says into the sum
 * and gives the page up, so that a reader sees a process in one of the two places and never in both
 * or none: what it adds up does not go down.
 */
#ifndef WSGID_TOTALS_H
#define WSGID_TOTALS_H

#include "common/process_abi.h"
#include "wsgid.h"

typedef struct wsgid_slot_t wsgid_slot_t; /* slots.h */

typedef enum {
#define REASON(id, name, words) WSGID_REASON_##id,
#include "slots/reasons.def"
#undef REASON
    WSGID_REASONS
} wsgid_reason_e;

/* Microseconds, buckets as in process_abi.h. No number is above WSGID_COUNT_MOST, whatever a page
 * says. */
typedef struct {
    apr_uint64_t requests; /* finished */
    apr_uint64_t errors;
    apr_uint64_t queue_time;
    apr_uint64_t application_time;
    apr_uint64_t queue_times[WSGID_PAGE_BUCKETS];
    apr_uint64_t application_times[WSGID_PAGE_BUCKETS];
} wsgid_counts_t;

/* So that sums of many stay far from overflowing, and exact in a double. */
#define WSGID_COUNT_MOST ((apr_uint64_t)1000000000000000)

typedef struct {
    apr_uint64_t count;
    apr_time_t last; /* apr_time_now() then; 0: never */
    int detail;      /* signal or exit code of the last one */
} wsgid_ends_t;

typedef struct {
    uint32_t turn;
    wsgid_counts_t gone; /* of all processes that have ended */
    wsgid_ends_t ends[WSGID_REASONS];
} wsgid_totals_t;

/* What a page says, with nothing absurd in it. */
void wsgid_totals_read_page(const wsgid_page_t *page, wsgid_counts_t *counts);
void wsgid_totals_add(wsgid_counts_t *sum, const wsgid_counts_t *more);

/* In the parent, in this order: begin, what follows from a death, end. */
void wsgid_totals_begin(wsgid_slot_t *slot);
void wsgid_totals_count_death(wsgid_slot_t *slot, int entry, wsgid_reason_e reason, int detail);
void wsgid_totals_end(wsgid_slot_t *slot);

/* "changed", "a script changed" */
const char *wsgid_totals_name(wsgid_reason_e reason);
const char *wsgid_totals_words(wsgid_reason_e reason);

#endif
