/*
 * What is measured of each request, in the statistics page (apxs/common/process_abi.h): how many,
 * how long they waited, how long they ran, and what each thread does. The twin of the class Row in
 * pywsgid/daemon/process/page.py.
 *
 * Rules: one reading of the clock when a request has been read and one when its thread is free
 * again, no lock and no call that may wait. Sums are added to atomically, as threads share them; a
 * row belongs to its thread, and a reader that sees it half written shows half a line. A request
 * that was not started after all has not been measured. A clock that is set makes one measurement
 * of each thread wrong.
 */
#include "hotpath.h"
#include "common/process_abi.h"

#include <string.h>
#include <time.h>

#define ROWS ((WSGID_PAGE_SIZE - WSGID_PAGE_ROWS) / WSGID_PAGE_ROW_SIZE)

/* NULL in a child that the application forked: there is nothing to tell. */
static wsgid_page_t *page_of(const wsgid_endpoint_t *endpoint)
{
    return (wsgid_page_t *)(void *)endpoint->hub->page;
}

/* NULL: it has none. */
static wsgid_page_row_t *row_of(const wsgid_endpoint_t *endpoint)
{
    if (!endpoint->hub->page || endpoint->number >= ROWS) {
        return NULL;
    }
    return (wsgid_page_row_t *)(void *)(endpoint->hub->page + WSGID_PAGE_ROWS
                                        + endpoint->number * WSGID_PAGE_ROW_SIZE);
}

static uint64_t now(void)
{
    struct timespec time;

    (void)clock_gettime(CLOCK_REALTIME, &time); /* cannot fail for this clock */
    return (uint64_t)time.tv_sec * 1000000 + (uint64_t)time.tv_nsec / 1000;
}

static void add(uint64_t *to, uint64_t what)
{
    (void)__atomic_add_fetch(to, what, __ATOMIC_RELAXED);
}

static int bucket_of(uint64_t time)
{
    int bucket = time < WSGID_PAGE_FIRST
                     ? 0
                     : __builtin_clzll(WSGID_PAGE_FIRST) + 1 - __builtin_clzll(time);

    return bucket < WSGID_PAGE_BUCKETS ? bucket : WSGID_PAGE_BUCKETS - 1;
}

static uint64_t not_negative(int64_t time)
{
    return time > 0 ? (uint64_t)time : 0;
}

static void begin_row(const wsgid_endpoint_t *endpoint, const char *line, size_t length)
{
    wsgid_page_row_t *row = row_of(endpoint);

    if (row) {
        row->requests++;
        memcpy(row->line, line, length + 1);
        /* the line is there for who sees it */
        __atomic_store_n(&row->since, endpoint->read_at, __ATOMIC_RELEASE);
    }
}

static void end_row(const wsgid_endpoint_t *endpoint, int was_begun)
{
    wsgid_page_row_t *row = row_of(endpoint);

    if (row) {
        __atomic_store_n(&row->since, 0, __ATOMIC_RELAXED);
        row->requests -= !was_begun;
    }
}

void wsgid_measure_begin(wsgid_endpoint_t *endpoint, uint64_t sent, const char *line, size_t length)
{
    wsgid_page_t *page = page_of(endpoint);
    uint64_t waited;

    endpoint->read_at = now();
    endpoint->facts[FACT_WAITED] = (int64_t)(endpoint->read_at
                                             - sent); /* unsigned: it may be any number */
    waited = not_negative(endpoint->facts[FACT_WAITED]);
    wsgid_wire_put_started(endpoint->started, endpoint->hub->pid,
                           waited < UINT32_MAX ? (uint32_t)waited : UINT32_MAX);
    endpoint->counted = 1;
    if (page) {
        add(&page->requests_started, 1);
        add(&page->queue_time, waited);
        add(&page->queue_times[bucket_of(waited)], 1);
        begin_row(endpoint, line, length);
    }
}

void wsgid_measure_end(wsgid_endpoint_t *endpoint)
{
    wsgid_page_t *page = page_of(endpoint);

    if (endpoint->counted && page) {
        uint64_t lasted = not_negative((int64_t)(now() - endpoint->read_at));

        add(&page->requests_finished, 1);
        add(&page->application_time, lasted);
        add(&page->application_times[bucket_of(lasted)], 1);
        end_row(endpoint, 1);
    }
    endpoint->counted = 0;
}

void wsgid_measure_withdraw(wsgid_endpoint_t *endpoint)
{
    wsgid_page_t *page = page_of(endpoint);

    if (endpoint->counted && page) {
        uint64_t waited = not_negative(endpoint->facts[FACT_WAITED]);

        add(&page->requests_started, (uint64_t)-1);
        add(&page->queue_time, 0 - waited);
        add(&page->queue_times[bucket_of(waited)], (uint64_t)-1);
        end_row(endpoint, 0);
    }
    endpoint->counted = 0;
}
