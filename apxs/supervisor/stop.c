/*
 * The end of httpd: every daemon process is asked to leave, and killed if it does not.
 */
#include "supervisor/supervisor.h"

#include <signal.h>

#include "unixd.h"

#define POLL_INTERVAL 5000 /* microseconds; an idle daemon leaves within a few of these */

static void kill_late(wsgid_process_t *process, apr_interval_time_t since)
{
    const wsgid_slot_record_t *slot = process->slot;
    char number[WSGID_SECONDS_ROOM];

    if (process->state == WSGID_STATE_FREE || since < slot->shutdown_timeout) {
        return;
    }
    ap_log_error(APLOG_MARK, APLOG_WARNING, 0, slot->server,
                 "WSGID0058: group '%s' slot %d: process %" APR_PID_T_FMT
                 " did not leave within shutdown-timeout (%s s) and is killed: a request or "
                 "a thread of the application did not end; let it end sooner, or raise "
                 "shutdown-timeout=",
                 slot->label, slot->index, process->pid,
                 wsgid_backoff_seconds(number, sizeof(number), slot->shutdown_timeout));
    if (kill(process->pid, SIGKILL) == 0) {
        wsgid_sigchld_wait_for(process->pid);
    }
    wsgid_process_release(process);
}

static int are_all_gone(void)
{
    const wsgid_slot_record_t *slot;

    for (slot = wsgid_slot_list_first(); slot; slot = slot->next) {
        if (!wsgid_process_all_free(slot)) {
            return 0;
        }
    }
    return 1;
}

static void for_each_process(void (*act)(wsgid_process_t *, apr_interval_time_t),
                             apr_interval_time_t since)
{
    wsgid_slot_record_t *slot;
    int i;

    for (slot = wsgid_slot_list_first(); slot; slot = slot->next) {
        for (i = 0; i < WSGID_SLOT_PROCESSES; i++) {
            act(&slot->processes[i], since);
        }
    }
}

int wsgid_stop_is_pending(void)
{
    const ap_unixd_mpm_retained_data *mpm = ap_unixd_mpm_get_retained_data();

    return mpm && mpm->shutdown_pending;
}

/* SIGTERM, because a daemon then leaves within its shutdown-timeout, whatever its requests do. */
static void terminate(wsgid_process_t *process, apr_interval_time_t unused)
{
    (void)unused;
    if (process->state != WSGID_STATE_FREE) {
        (void)kill(process->pid, SIGTERM);
    }
}

void wsgid_stop_announce(void)
{
    for_each_process(terminate, 0);
}

static void ask_to_leave(wsgid_process_t *process, apr_interval_time_t unused)
{
    (void)unused;
    wsgid_process_ask_to_leave(process);
}

void wsgid_stop_processes(void (*reap)(void))
{
    apr_time_t begun = wsgid_clock_now();
    wsgid_slot_record_t *slot;

    for (slot = wsgid_slot_list_first(); slot; slot = slot->next) {
        wsgid_process_observe(slot);
    }
    for_each_process(ask_to_leave, 0);
    for (reap(); !are_all_gone(); reap()) {
        for_each_process(kill_late, wsgid_clock_now() - begun);
        apr_sleep(POLL_INTERVAL);
    }
}
