/*
 * The back-off: how long a slot waits before its next process starts.
 *
 * The parent counts the processes that ended too early, and sets the delay. It has no timers, so
 * the forked process sleeps (spawn/delay.c).
 */
#include "supervisor/supervisor.h"

/* After a process that ended before it was ready: at once, then 1, 2, 4 .. 60 s. */
#define BACKOFF_FIRST apr_time_from_sec(1)
#define BACKOFF_MOST  apr_time_from_sec(60)
/* After processes that were ready, but ended within a second of their start. The first few are
 * replaced at once like any other, since somebody may be killing them as a test. After that, half
 * a second between starts keeps an application that ends itself from using up the machine. */
#define BRIEF_LIFE    apr_time_from_sec(1)
#define BRIEF_ALLOWED 4
#define BRIEF_DELAY   apr_time_from_msec(500)

static apr_interval_time_t back_off(unsigned failures)
{
    apr_interval_time_t delay = BACKOFF_FIRST;

    if (failures <= 1) {
        return 0;
    }
    while (--failures > 1 && delay < BACKOFF_MOST) {
        delay *= 2;
    }
    return delay < BACKOFF_MOST ? delay : BACKOFF_MOST;
}

/* A process that was asked to leave, or was killed during its back-off, has not failed. */
void wsgid_backoff_count(wsgid_slot_record_t *slot, const wsgid_process_t *process,
                         wsgid_death_t death, apr_interval_time_t life)
{
    if (process->has_been_ready) {
        slot->failures = 0;
        slot->brief = life < BRIEF_LIFE && !wsgid_deaths_is_requested(death) ? slot->brief + 1 : 0;
        slot->delay = slot->brief > BRIEF_ALLOWED ? BRIEF_DELAY : 0;
    }
    else if (process->state == WSGID_STATE_BOOTING && !wsgid_deaths_is_by_request_signal(death)) {
        slot->delay = back_off(++slot->failures);
    }
}

const char *wsgid_backoff_seconds(char *text, apr_size_t room, apr_interval_time_t interval)
{
    apr_snprintf(text, room, interval % APR_USEC_PER_SEC ? "%.1f" : "%.0f",
                 (double)interval / APR_USEC_PER_SEC);
    return text;
}

const char *wsgid_backoff_describe(apr_pool_t *p, const wsgid_slot_record_t *slot)
{
    char number[WSGID_SECONDS_ROOM];

    if (slot->delay <= 0) {
        return "started again at once";
    }
    return apr_psprintf(p, "next try in %s s",
                        wsgid_backoff_seconds(number, sizeof(number), slot->delay));
}
