/*
 * The end of httpd: every process is asked to leave, and killed if it does not.
 */
#include "supervisor/supervisor.h"
#include "unixd.h"

#include <signal.h>
#include <sys/wait.h>

#define STOP_LOOK 5000 /* microseconds between two looks; a daemon at rest leaves soon */

void wsgid_stop_wait_for(pid_t pid)
{
    while (waitpid(pid, NULL, 0) < 0 && errno == EINTR) {
        /* our handler of SIGCHLD */
    }
}

static void kill_late(wsgid_process_t *process, apr_interval_time_t since)
{
    const wsgid_kept_slot_t *slot = process->slot;
    char number[WSGID_SECONDS_ROOM];

    if (process->state == WSGID_FREE || since < slot->shutdown_timeout) {
        return;
    }
    ap_log_error(
        APLOG_MARK, APLOG_WARNING, 0, slot->server,
        "WSGID0058: group '%s' slot %d: process %" APR_PID_T_FMT
        " did not leave within shutdown-timeout (%s s) and is killed: a request or a thread "
        "of the application did not end",
        slot->label, slot->index, process->pid,
        wsgid_backoff_seconds(number, sizeof(number), slot->shutdown_timeout));
    if (kill(process->pid, SIGKILL) == 0) {
        wsgid_stop_wait_for(process->pid);
    }
    wsgid_process_release(process);
}

static int is_all_gone(void)
{
    wsgid_kept_slot_t *slot;

    for (slot = wsgid_slot_list_first(); slot; slot = slot->next) {
        if (!wsgid_process_none_in(slot)) {
            return 0;
        }
    }
    return 1;
}

static void wait_until_gone(void)
{
    apr_time_t begun = wsgid_clock_now();
    wsgid_kept_slot_t *slot;
    int entry;

    for (wsgid_supervisor_reap(); !is_all_gone(); wsgid_supervisor_reap()) {
        for (slot = wsgid_slot_list_first(); slot; slot = slot->next) {
            for (entry = 0; entry < WSGID_SLOT_PROCESSES; entry++) {
                kill_late(&slot->process[entry], wsgid_clock_now() - begun);
            }
        }
        apr_sleep(STOP_LOOK);
    }
}

int wsgid_stop_is_coming(void)
{
    const ap_unixd_mpm_retained_data *mpm = ap_unixd_mpm_get_retained_data();

    return mpm && mpm->shutdown_pending;
}

/* By SIGTERM, which a daemon answers within its shutdown-timeout, whatever its requests do. */
void wsgid_stop_announce(void)
{
    wsgid_kept_slot_t *slot;
    int entry;

    for (slot = wsgid_slot_list_first(); slot; slot = slot->next) {
        for (entry = 0; entry < WSGID_SLOT_PROCESSES; entry++) {
            if (slot->process[entry].state != WSGID_FREE) {
                (void)kill(slot->process[entry].pid, SIGTERM);
            }
        }
    }
}

void wsgid_stop_processes(void)
{
    wsgid_kept_slot_t *slot;
    int entry;

    for (slot = wsgid_slot_list_first(); slot; slot = slot->next) {
        wsgid_process_observe(slot);
        for (entry = 0; entry < WSGID_SLOT_PROCESSES; entry++) {
            wsgid_process_ask_to_leave(&slot->process[entry]);
        }
    }
    wait_until_gone();
}
