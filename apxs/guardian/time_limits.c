/*
 * Processes that take too long, to start or to leave, are killed.
 *
 * A daemon minds its limits itself, and says why it ends. What is here is for one that cannot: so
 * each limit has a margin.
 */
#include "guardian/guardian.h"

#include <signal.h>

/* A process that is asked to leave, on top of the time that it gives its requests itself. */
#define LEAVE_MARGIN apr_time_from_sec(3)
#define IDLE_MARGIN  apr_time_from_sec(1) /* after its last request, on top of shutdown-timeout */
/* A process that boots, on top of startup-timeout, which it minds itself. */
#define BOOT_MARGIN apr_time_from_sec(5)

static void kill_process(wsgid_process_t *process, const char *why, const char *fix)
{
    const wsgid_slot_record_t *slot = process->slot;

    if (process->is_killed) {
        return;
    }
    process->is_killed = 1;
    ap_log_error(APLOG_MARK, APLOG_WARNING, 0, slot->server,
                 "WSGID0058: group '%s' slot %d: process %" APR_PID_T_FMT " %s and is killed: %s",
                 slot->label, slot->index, process->pid, why, fix);
    (void)kill(process->pid, SIGKILL);
}

/* Whether the page says that the process runs no request. */
static int is_idle(const wsgid_process_t *process)
{
    wsgid_page_t page;

    wsgid_pages_read(process->slot->shared, wsgid_process_entry(process), &page);
    return page.requests_started <= page.requests_finished;
}

apr_time_t wsgid_time_limits_end(const wsgid_process_t *process)
{
    const wsgid_group_t *group = process->slot->group;
    apr_interval_time_t shutdown = WSGID_NUMBER(group, SHUTDOWN_TIMEOUT);
    apr_interval_time_t graceful = WSGID_NUMBER(group, GRACEFUL_TIMEOUT);
    apr_interval_time_t startup = WSGID_NUMBER(group, STARTUP_TIMEOUT);

    if (process->state == WSGID_STATE_FREE) {
        return 0;
    }
    if (wsgid_roles_stop_began()) {
        return wsgid_roles_stop_began() + shutdown;
    }
    if (process->state == WSGID_STATE_BOOTING) {
        return startup ? process->born + startup + BOOT_MARGIN : 0;
    }
    if (process->state != WSGID_STATE_DRAINING) {
        return 0;
    }
    if (graceful) {
        return process->draining + graceful + LEAVE_MARGIN;
    }
    return process->idle ? process->idle + shutdown + IDLE_MARGIN : 0;
}

/* Since when it drains without a request. */
static void note_idle(wsgid_process_t *process)
{
    if (process->state != WSGID_STATE_DRAINING || !is_idle(process)) {
        process->idle = 0;
    }
    else if (!process->idle) {
        process->idle = wsgid_clock_now();
    }
}

static void kill_late(wsgid_process_t *process)
{
    const wsgid_group_t *group = process->slot->group;
    apr_time_t moment = wsgid_time_limits_end(process);
    char number[WSGID_SECONDS_ROOM];
    char why[80];

    if (!moment || wsgid_clock_now() < moment) {
        return;
    }
    if (wsgid_roles_stop_began()) {
        (void)wsgid_backoff_seconds(number, sizeof(number), WSGID_NUMBER(group, SHUTDOWN_TIMEOUT));
        apr_snprintf(why, sizeof(why), "did not leave within shutdown-timeout (%s s)", number);
        kill_process(process, why,
                     "a request or a thread of the application did not end; let it end sooner, or "
                     "raise shutdown-timeout=");
    }
    else if (process->state == WSGID_STATE_BOOTING) {
        kill_process(process, "was not ready within startup-timeout",
                     "its import does not end, and it did not end itself; raise startup-timeout=");
    }
    else {
        kill_process(process, "did not leave although it was asked to",
                     "something in the application keeps it from that, a thread or an atexit "
                     "handler that does not end");
    }
}

void wsgid_time_limits_enforce(wsgid_process_t *process)
{
    note_idle(process);
    kill_late(process);
}
