/*
 * The processes of a guardian that was killed. The newest guardian of their slot takes over their
 * entries. They are not its children: it can only look whether they still run. They leave by
 * themselves, because their lifeline has ended; it kills those that do not (time_limits.c).
 *
 * A pid may be given to another process. So a guardian shows that it lives by a lock on a byte of
 * its own, in the file of boot_places.c, and of a daemon the start time is compared, too.
 */
#include "guardian/guardian.h"

#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

#define STAT_ROOM  1024
#define START_TIME 19 /* numbers after the state in /proc/PID/stat (proc(5)) */

apr_uint64_t wsgid_orphans_stat(pid_t pid, int which)
{
    char path[64];
    char text[STAT_ROOM];
    apr_uint64_t number = 0;
    ssize_t length;
    char *at;
    int fd;
    int i;

    apr_snprintf(path, sizeof(path), "/proc/%" APR_PID_T_FMT "/stat", pid);
    fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        return 0;
    }
    length = read(fd, text, sizeof(text) - 1);
    (void)close(fd);
    text[length > 0 ? length : 0] = '\0';
    at = strrchr(text, ')'); /* the name before it may contain anything */
    if (!at || strlen(at) < 4) {
        return 0;
    }
    for (i = 0, at += 3; i < which; i++) {
        number = strtoull(at, &at, 10);
    }
    return number;
}

apr_uint64_t wsgid_orphans_start_time(pid_t pid)
{
    return wsgid_orphans_stat(pid, START_TIME);
}

int wsgid_orphans_is_alive(const wsgid_process_t *process)
{
    return (kill(process->pid, 0) == 0 || errno != ESRCH)
           && wsgid_orphans_start_time(process->pid) == process->start_time;
}

static void adopt(wsgid_process_t *process, pid_t pid, apr_uint64_t born,
                  apr_uint32_t configuration)
{
    wsgid_slot_record_t *slot = process->slot;

    process->pid = pid;
    /* 0: its guardian did not come to note it */
    process->start_time = born ? born : wsgid_orphans_start_time(pid);
    process->configuration = configuration;
    process->is_orphan = 1;
    process->is_killed = 0;
    process->has_been_ready = 1;
    process->lifeline = -1;
    process->serial = 0;
    process->born = process->draining = wsgid_clock_now();
    process->state = WSGID_STATE_DRAINING;
    ap_log_error(APLOG_MARK, APLOG_INFO, 0, slot->server,
                 "WSGID0076: group '%s' slot %d: process %" APR_PID_T_FMT
                 " has lost its guardian, finishes its requests and leaves",
                 slot->label, slot->index, process->pid);
}

static void release(wsgid_process_t *process)
{
    const wsgid_slot_record_t *slot = process->slot;

    ap_log_error(APLOG_MARK, APLOG_INFO, 0, slot->server,
                 "WSGID0077: group '%s' slot %d: process %" APR_PID_T_FMT
                 ", which had lost its guardian, has ended",
                 slot->label, slot->index, process->pid);
    wsgid_process_release(process);
}

/* ---- guardians */

#define LIVES ((off_t)1 << 32) /* bytes from here on; those of places to boot are before */

static off_t life_of(wsgid_owner_t owner)
{
    return LIVES + WSGID_OWNER_NUMBER(owner);
}

apr_status_t wsgid_orphans_begin(void)
{
    return wsgid_child_locks_set(wsgid_boot_places_descriptor(), life_of(wsgid_roles_owner()),
                                 F_WRLCK);
}

/* Takes over an entry whose guardian was killed. */
static void inherit(wsgid_process_t *process)
{
    wsgid_slot_t *shared = process->slot->shared;
    int entry = wsgid_process_entry(process);
    wsgid_owner_t owner = wsgid_ledger_owner(shared, entry);
    apr_uint64_t born;
    pid_t pid;

    if (!owner || wsgid_child_locks_any(wsgid_boot_places_descriptor(), life_of(owner), 1)
        || !wsgid_ledger_take(shared, entry, owner, wsgid_roles_owner())) {
        return;
    }
    pid = wsgid_ledger_process(shared, entry, &born);
    if (pid) {
        adopt(process, pid, born, WSGID_OWNER_CONFIGURATION(owner));
    }
    else {
        wsgid_entries_release(shared, entry);
    }
}

void wsgid_orphans_poll(wsgid_slot_record_t *slot)
{
    int i;

    for (i = 0; i < WSGID_SLOT_PROCESSES; i++) {
        wsgid_process_t *process = &slot->processes[i];

        if (process->is_orphan && !wsgid_orphans_is_alive(process)) {
            release(process);
        }
        if (process->state == WSGID_STATE_FREE && wsgid_roles_is_newest(slot)) {
            inherit(process); /* never an entry of our own: that has a process */
        }
    }
}
