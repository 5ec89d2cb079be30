/*
 * The back-off, slept away by the forked process because the parent has no timers. A mended script ends it early.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "spawn.h"

#include <poll.h>
#include <sys/stat.h>
#include <unistd.h>

#define LOOK_INTERVAL 250       /* milliseconds between two looks at the scripts */

/* What tells one state of a script from another: it is replaced (inode) or written to (mtime), and may be missing. */
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
    struct pollfd leash = { WSGID_FD_LEASH, POLLIN, 0 };

    if (poll(&leash, 1, timeout) > 0) {
        _exit(0);
    }
}

/* Sleeps the delay away, here because the parent has no timers. A mended script need not wait for the end of it. */
void wsgid_backoff_sleep(const wsgid_birth_t *birth)
{
    apr_time_t end = apr_time_now() + birth->spawn->delay;
    const apr_array_header_t *scripts = birth->group->scripts;
    stamp_t *stamps;

    if (birth->spawn->delay <= 0) {
        return;
    }
    if (!scripts) {
        scripts = apr_array_make(birth->pool, 1, sizeof(wsgid_script_t));
    }
    stamps = stamps_of(birth->pool, scripts);
    for (;;) {
        apr_interval_time_t left = apr_time_as_msec(end - apr_time_now() + 999);
        if (left <= 0 || scripts_changed(scripts, stamps)) {
            break;
        }
        leave_if_pulled(left < LOOK_INTERVAL ? (int) left : LOOK_INTERVAL);
    }
    wsgid_slots_set_phase(birth->group->slots[birth->spawn->slot], WSGID_SLOT_BOOTING, apr_time_now());
}
