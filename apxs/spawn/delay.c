/*
 * The back-off of a slot, in the forked process: it sleeps before it becomes a daemon.
 *
 * The parent has set the delay (supervisor/backoff.c), but has no timers. The sleep ends early when
 * a script of the group changes, because that may have fixed what made the last process fail, and
 * when the process is asked to leave.
 */
#include "common/clock.h"
#include "slots/slots.h"
#include "spawn/spawn.h"

#include <poll.h>
#include <sys/stat.h>
#include <unistd.h>

#define POLL_INTERVAL 250 /* milliseconds between two checks of the scripts */

/* Shows whether a script has changed: it is replaced (inode), written to (mtime), or missing
 * (zeros).
 */
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

/* The parent asks by the lifeline, or has ended: either makes it readable. */
static void leave_if_asked(int timeout)
{
    struct pollfd lifeline = { WSGID_FD_LIFELINE, POLLIN, 0 };

    if (poll(&lifeline, 1, timeout) > 0) {
        _exit(0);
    }
}

void wsgid_delay_sleep(const wsgid_child_t *child)
{
    apr_time_t end = wsgid_clock_now() + child->start->delay;
    const wsgid_group_t *group = child->group;
    wsgid_slot_name_t name = { group->server, group->label, child->start->slot };
    stamp_t *stamps;

    if (child->start->delay <= 0) {
        return;
    }
    stamps = stamps_of(child->pool, group->scripts);
    for (;;) {
        apr_interval_time_t left = apr_time_as_msec(end - wsgid_clock_now() + 999);
        if (left <= 0 || scripts_changed(group->scripts, stamps)) {
            break;
        }
        leave_if_asked(left < POLL_INTERVAL ? (int)left : POLL_INTERVAL);
    }
    wsgid_phase_step(group->slots[child->start->slot], &name, WSGID_PHASE_WOKEN, wsgid_clock_now());
}
