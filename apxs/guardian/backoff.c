/*
 * The back-off: how long a slot waits before its next process starts.
 *
 * Counted are processes that ended too early. The wait ends early when a script of the group
 * changes, because that may have fixed what made the last process fail.
 */
#include "guardian/guardian.h"

#include <sys/stat.h>

/* After a process that ended before it was ready: at once, then 1, 2, 4 .. 60 s. */
#define BACKOFF_FIRST apr_time_from_sec(1)
#define BACKOFF_MOST  apr_time_from_sec(60)
/* After processes that were ready, but ended within a second after that. The first few are
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

/* A process that we have asked to leave has not failed. */
void wsgid_backoff_count(wsgid_slot_record_t *slot, const wsgid_process_t *process,
                         wsgid_death_t death)
{
    if (process->has_been_ready) {
        int is_brief = wsgid_clock_now() - process->ready < BRIEF_LIFE;

        slot->failures = 0;
        slot->brief = is_brief && !process->was_asked ? slot->brief + 1 : 0;
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

/* ---- changed scripts */

/* Shows whether a script has changed: it is replaced (inode), written to (mtime), or missing
 * (zeros). */
typedef struct {
    ino_t inode;
    struct timespec modified;
} stamp_t;

static stamp_t stamp_of(const char *path)
{
    stamp_t stamp = { 0, { 0, 0 } };
    struct stat there;

    if (stat(path, &there) == 0) {
        stamp.inode = there.st_ino;
        stamp.modified = there.st_mtim;
    }
    return stamp;
}

void wsgid_backoff_note_scripts(wsgid_slot_record_t *slot)
{
    const apr_array_header_t *scripts = slot->of->scripts;
    stamp_t *stamps;
    int i;

    if (!slot->stamps) {
        slot->stamps = apr_pcalloc(slot->pool, (scripts->nelts + 1) * sizeof(*stamps));
    }
    stamps = slot->stamps;
    for (i = 0; i < scripts->nelts; i++) {
        stamps[i] = stamp_of(APR_ARRAY_IDX(scripts, i, wsgid_script_t).path);
    }
}

int wsgid_backoff_scripts_changed(const wsgid_slot_record_t *slot)
{
    const apr_array_header_t *scripts = slot->of->scripts;
    const stamp_t *stamps = slot->stamps;
    int i;

    for (i = 0; stamps && i < scripts->nelts; i++) {
        stamp_t now = stamp_of(APR_ARRAY_IDX(scripts, i, wsgid_script_t).path);

        if (now.inode != stamps[i].inode || now.modified.tv_sec != stamps[i].modified.tv_sec
            || now.modified.tv_nsec != stamps[i].modified.tv_nsec) {
            return 1;
        }
    }
    return 0;
}
