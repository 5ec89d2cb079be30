/*
 * What is measured of each request, in the statistics page (apxs/common/process_abi.h): how many,
 * how long they waited, how long they ran, and what each thread does.
 *
 * Rules: The clock is read twice for each request: when it has been read, and when its thread is
 * free again. No lock, and no call that may wait. Threads share the sums and add to them
 * atomically. A row belongs to its thread; a reader that sees it half written shows half a line. A
 * request that was not started after all is not measured. If the clock is set, one measurement of
 * each thread is wrong.
 */
#include "hotpath.h"
#include "common/process_abi.h"

#include <string.h>
#include <time.h>

#define ROWS ((WSGID_PAGE_SIZE - WSGID_PAGE_ROWS) / WSGID_PAGE_ROW_SIZE)

/* NULL in a child that the application forked: its requests are not its parent's. */
static wsgid_page_t *page_of(const wsgid_endpoint_t *endpoint)
{
    return (wsgid_page_t *)(void *)endpoint->hub->page;
}

/* NULL: there are more threads than rows, and this one has none. */
static wsgid_page_row_t *row_of(const wsgid_endpoint_t *endpoint)
{
    if (!endpoint->hub->page || endpoint->measured.row >= ROWS) {
        return NULL;
    }
    return (wsgid_page_row_t *)(void *)(endpoint->hub->page + WSGID_PAGE_ROWS
                                        + endpoint->measured.row * WSGID_PAGE_ROW_SIZE);
}

static uint64_t now(void)
{
    struct timespec time;

    (void)clock_gettime(CLOCK_REALTIME, &time); /* never fails for this clock */
    return (uint64_t)time.tv_sec * 1000000 + (uint64_t)time.tv_nsec / 1000;
}

static void add(uint64_t *to, uint64_t amount)
{
    (void)__atomic_add_fetch(to, amount, __ATOMIC_RELAXED);
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
        /* last: a reader that sees the time sees the line */
        __atomic_store_n(&row->since, endpoint->measured.read_at, __ATOMIC_RELEASE);
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

void wsgid_measure_limit(const wsgid_hub_t *hub, int limit)
{
    wsgid_page_t *page = (wsgid_page_t *)(void *)hub->page;

    if (page) {
        __atomic_store_n(&page->at_once, (uint32_t)limit, __ATOMIC_RELAXED);
    }
}

void wsgid_measure_begin(wsgid_endpoint_t *endpoint, uint64_t sent, const char *line, size_t length)
{
    wsgid_page_t *page = page_of(endpoint);
    uint64_t waited;

    endpoint->measured.read_at = now();
    endpoint->facts[FACT_WAITED] = (int64_t)(endpoint->measured.read_at
                                             - sent); /* `sent` may be any number */
    waited = not_negative(endpoint->facts[FACT_WAITED]);
    wsgid_wire_put_started(endpoint->sending.started, endpoint->hub->pid,
                           waited < UINT32_MAX ? (uint32_t)waited : UINT32_MAX);
    endpoint->measured.counted = 1;
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

    if (endpoint->measured.counted && page) {
        uint64_t lasted = not_negative((int64_t)(now() - endpoint->measured.read_at));

        add(&page->requests_finished, 1);
        add(&page->application_time, lasted);
        add(&page->application_times[bucket_of(lasted)], 1);
        end_row(endpoint, 1);
    }
    endpoint->measured.counted = 0;
}

void wsgid_measure_withdraw(wsgid_endpoint_t *endpoint)
{
    wsgid_page_t *page = page_of(endpoint);

    if (endpoint->measured.counted && page) {
        uint64_t waited = not_negative(endpoint->facts[FACT_WAITED]);

        add(&page->requests_started, (uint64_t)-1);
        add(&page->queue_time, 0 - waited);
        add(&page->queue_times[bucket_of(waited)], (uint64_t)-1);
        end_row(endpoint, 0);
    }
    endpoint->measured.counted = 0;
}
