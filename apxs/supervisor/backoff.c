/*
 * The back-off: how long a slot waits before its next process, and the wait itself.
 *
 * The parent counts deaths and sets the delay. It has no timers, so the forked process sleeps it
 * away; a mended script ends that early.
 */
#include "spawn/spawn.h"
#include "supervisor/supervisor.h"

#include <poll.h>
#include <sys/stat.h>
#include <unistd.h>

/* Before ready: at once, then 1, 2, 4 .. 60 s. */
#define BACKOFF_FIRST apr_time_from_sec(1)
#define BACKOFF_MOST  apr_time_from_sec(60)
/* Ready, but gone within a second of its start, again and again: the first few are replaced at once
 * as any other (somebody may be killing them to see what happens), then half a second between
 * starts keeps an application that ends itself from eating the machine. */
#define BRIEF_LIFE    apr_time_from_sec(1)
#define BRIEF_ALLOWED 4
#define BRIEF_DELAY   apr_time_from_msec(500)

#define LOOK_INTERVAL 250 /* milliseconds between two looks at the scripts */

/* ---- how long, in the parent */

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

/* What this death means for the next start. Being asked to leave, or killed in its sleep, is no
 * failure. */
void wsgid_backoff_count(wsgid_kept_slot_t *slot, const wsgid_process_t *process,
                         wsgid_death_t death, apr_interval_time_t life)
{
    if (process->has_been_ready) {
        slot->failures = 0;
        slot->brief = life < BRIEF_LIFE && !wsgid_deaths_was_polite(death) ? slot->brief + 1 : 0;
        slot->delay = slot->brief > BRIEF_ALLOWED ? BRIEF_DELAY : 0;
    }
    else if (process->state == WSGID_BOOTING && !wsgid_deaths_was_told(death)) {
        slot->delay = back_off(++slot->failures);
    }
}

const char *wsgid_backoff_seconds(char *text, apr_size_t room, apr_interval_time_t interval)
{
    apr_snprintf(text, room, interval % APR_USEC_PER_SEC ? "%.1f" : "%.0f",
                 (double)interval / APR_USEC_PER_SEC);
    return text;
}

const char *wsgid_backoff_describe(apr_pool_t *p, const wsgid_kept_slot_t *slot)
{
    char number[WSGID_SECONDS_ROOM];

    if (slot->delay <= 0) {
        return "started again at once";
    }
    return apr_psprintf(p, "next try in %s s",
                        wsgid_backoff_seconds(number, sizeof(number), slot->delay));
}

/* ---- the wait, in the forked process */

/* What tells one state of a script from another: it is replaced (inode) or written to (mtime), and
 * may be missing. */
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

static stamp_t *stamps_of(apr_pool_t *p, const apr_array_header_t *scripts)
{
    stamp_t *stamps = apr_pcalloc(p, (scripts->nelts + 1) * sizeof(*stamps));
    int i;

    for (i = 0; i < scripts->nelts; i++) {
        stamps[i] = stamp_of(APR_ARRAY_IDX(scripts, i, wsgid_script_t).path);
    }
    return stamps;
}

static int scripts_changed(const apr_array_header_t *scripts, const stamp_t *stamps)
{
    int i;

    for (i = 0; i < scripts->nelts; i++) {
        stamp_t now = stamp_of(APR_ARRAY_IDX(scripts, i, wsgid_script_t).path);
        if (now.inode != stamps[i].inode || now.modified.tv_sec != stamps[i].modified.tv_sec
            || now.modified.tv_nsec != stamps[i].modified.tv_nsec) {
            return 1;
        }
    }
    return 0;
}

static void leave_if_pulled(int timeout)
{
    struct pollfd lifeline = { WSGID_FD_LIFELINE, POLLIN, 0 };

    if (poll(&lifeline, 1, timeout) > 0) {
        _exit(0);
    }
}

void wsgid_backoff_sleep(const wsgid_birth_t *birth)
{
    apr_time_t end = wsgid_clock_now() + birth->spawn->delay;
    const apr_array_header_t *scripts = birth->group->scripts;
    wsgid_phase_slot_t slot = { birth->group->slots[birth->spawn->slot], birth->group->server,
                                birth->group->label, birth->spawn->slot };
    stamp_t *stamps;

    if (birth->spawn->delay <= 0) {
        return;
    }
    stamps = stamps_of(birth->pool, scripts);
    for (;;) {
        apr_interval_time_t left = apr_time_as_msec(end - wsgid_clock_now() + 999);
        if (left <= 0 || scripts_changed(scripts, stamps)) {
            break;
        }
        leave_if_pulled(left < LOOK_INTERVAL ? (int)left : LOOK_INTERVAL);
    }
    wsgid_phase_step(&slot, WSGID_PHASE_WOKEN, wsgid_clock_now());
}
