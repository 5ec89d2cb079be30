/*
 * The policy of a guardian: which process runs in which slot, and what happens when one ends.
 *
 * Rules:
 *
 *   - A slot is level-triggered: do_duty() compares what is there with what should be there
 *     (handover.c), and starts or ends processes. Events only change states; whatever has
 *     happened, wsgid_policy_poll() looks at all slots again.
 *   - A slot belongs to the guardian of the newest configuration that has it (ledger.c). An older
 *     guardian starts nothing there. It lets its processes go once one of a newer configuration is
 *     ready; until then they serve.
 *   - Nothing here waits. Every deadline is asked for by wsgid_policy_next().
 *   - Only the policy is here. guardian.h names the files that do the work.
 */
#include "guardian/guardian.h"
#include "guardian/handover.h"

#include <signal.h>
#include <unistd.h>

/* A process that is asked to leave, on top of the time that it gives its requests itself. */
#define LEAVE_MARGIN apr_time_from_sec(3)
#define IDLE_MARGIN  apr_time_from_sec(1) /* after its last request, on top of shutdown-timeout */
/* A process that boots, on top of startup-timeout, which it minds itself. */
#define BOOT_MARGIN apr_time_from_sec(5)
/* Between two looks at things that nobody reports: changed scripts during a back-off, a newer
 * configuration's process, processes that are no children of ours, children of httpd that end. */
#define POLL_SCRIPTS  apr_time_from_msec(250)
#define POLL_NEWER    apr_time_from_msec(100)
#define POLL_ORPHANS  apr_time_from_msec(250)
#define POLL_CHILDREN apr_time_from_msec(250)

/* Static: a guardian is one process for one group. */
static wsgid_guardian_t guardian;
static apr_pool_t *pool;
static apr_time_t stop_began; /* wsgid_clock_now(); 0: it goes on */
static int is_orphaned;       /* httpd's parent has ended */

/* Slots that only older configurations have are those of their guardians. */
static int is_ours(const wsgid_slot_record_t *slot)
{
    return slot->group == guardian.group;
}

void wsgid_policy_begin(const wsgid_guardian_t *given, apr_pool_t *p)
{
    guardian = *given;
    pool = p;
}

static int is_stopping(void)
{
    return stop_began != 0;
}

static int is_newest(const wsgid_slot_record_t *slot)
{
    return wsgid_ledger_wanted(slot->shared) <= guardian.configuration;
}

/* Whether nobody can send requests to the slot any more: no child of httpd lives that has
 * a configuration with it. */
static int is_retired(const wsgid_slot_record_t *slot)
{
    if (is_orphaned) {
        return !wsgid_child_locks_live_up_to(APR_UINT32_MAX);
    }
    return wsgid_ledger_is_removed(slot->shared)
           && !wsgid_child_locks_live_up_to(wsgid_ledger_wanted(slot->shared));
}

/* Whether this guardian starts another process in the slot. */
static int is_followed(const wsgid_slot_record_t *slot)
{
    return !is_stopping() && is_newest(slot) && !is_retired(slot);
}

/* ---- starting what is missing */

/* predecessor: the process that serves until then, or NULL. */
static apr_status_t start(wsgid_process_t *process, wsgid_process_t *predecessor, int is_requested)
{
    apr_status_t status = wsgid_launch_process(process, predecessor, guardian.configuration);

    if (status == APR_SUCCESS) {
        process->is_requested = is_requested;
    }
    return status;
}

/* The last process that serves or will; NULL: there is none. */
static wsgid_process_t *current(wsgid_slot_record_t *slot)
{
    return wsgid_process_youngest(slot, WSGID_IN(BOOTING) | WSGID_IN(READY));
}

/* A shorter time is not logged: several restarts in quick succession explain it. */
#define FULL_PATIENCE apr_time_from_sec(5)

static void note_full(wsgid_slot_record_t *slot)
{
    apr_time_t now = wsgid_clock_now();

    if (!slot->full_since) {
        slot->full_since = now;
    }
    if (!slot->full_logged && now - slot->full_since > FULL_PATIENCE) {
        slot->full_logged = 1;
        ap_log_error(
            APLOG_MARK, APLOG_WARNING, 0, slot->server,
            "WSGID0067: group '%s' slot %d: the next process cannot start yet, because all "
            "%d places are taken by processes that still finish their requests; "
            "graceful-timeout= or request-timeout= limits how long that takes",
            slot->label, slot->index, WSGID_SLOT_PROCESSES);
    }
}

static wsgid_process_t *find_free(wsgid_slot_record_t *slot)
{
    int i;

    for (i = 0; i < WSGID_SLOT_PROCESSES; i++) {
        if (slot->processes[i].state == WSGID_STATE_FREE && wsgid_ledger_is_free(slot->shared, i)) {
            return &slot->processes[i];
        }
    }
    return NULL;
}

/* NULL: all entries are full, with our processes or those of older guardians. */
static wsgid_process_t *find_free_entry(wsgid_slot_record_t *slot)
{
    wsgid_process_t *free = find_free(slot);

    if (!free) {
        note_full(slot);
        return NULL;
    }
    slot->full_since = 0;
    slot->full_logged = 0;
    return free;
}

static int is_being_replaced(wsgid_slot_record_t *slot)
{
    return wsgid_process_youngest(slot, WSGID_IN(READY))
           && wsgid_process_youngest(slot, WSGID_IN(BOOTING));
}

/* Only one process of a group is replaced at a time, so that the others go on serving. */
static int is_group_replacing(const wsgid_group_t *group)
{
    wsgid_slot_record_t *slot;

    for (slot = wsgid_slot_list_first(); slot; slot = slot->next) {
        if (slot->group == group && is_being_replaced(slot)) {
            return 1;
        }
    }
    return 0;
}

/* Starts the successor that the serving process has requested, if it has. The process itself logs
 * why it needs one, and decides when to request one again. */
static void grant_replacement(wsgid_slot_record_t *slot)
{
    wsgid_process_t *serving = wsgid_process_youngest(slot, WSGID_IN(READY));
    wsgid_process_t *free;

    if (!serving || serving->requests_handled == serving->replacement_requests
        || is_group_replacing(slot->group)) {
        return;
    }
    if (serving->change && serving->change == slot->failed_change) {
        /* a successor of another process of the group could not load this change */
        serving->requests_handled = serving->replacement_requests;
        wsgid_process_refuse_replacement(serving);
        return;
    }
    free = find_free_entry(slot);
    if (!free) {
        return;
    }
    slot->delay = 0;
    if (start(free, serving, 1) == APR_SUCCESS) { /* otherwise the next call tries again */
        serving->requests_handled = serving->replacement_requests;
        serving->granted_reason = serving->replacement_reason;
    }
}

/* Whether the back-off is over, by time or because a script has changed. */
static int may_start(wsgid_slot_record_t *slot)
{
    if (slot->next_start > wsgid_clock_now() && !wsgid_backoff_scripts_changed(slot)) {
        return 0;
    }
    slot->next_start = 0;
    return 1;
}

/* The serving process has a listener to which nobody can connect. */
static void replace_deaf(wsgid_slot_record_t *slot)
{
    wsgid_process_t *free;

    if (current(slot)->serial > slot->deaf || !may_start(slot)) {
        return;
    }
    free = find_free_entry(slot);
    if (free) {
        (void)start(free, NULL, 0);
    }
}

static void start_missing(wsgid_slot_record_t *slot)
{
    wsgid_process_t *free;

    wsgid_sockets_poll(slot);
    if (wsgid_launch_is_pointless(slot)) {
        return;
    }
    if (current(slot)) {
        replace_deaf(slot);
        grant_replacement(slot);
        return;
    }
    if (!may_start(slot)) {
        return;
    }
    free = find_free_entry(slot);
    if (free) {
        (void)start(free, NULL, 0); /* a failure is logged, and the next poll tries again */
    }
}

/* ---- a newer configuration has the slot */

static void let_go(wsgid_slot_record_t *slot, const wsgid_process_t *keep)
{
    int i;

    for (i = 0; i < WSGID_SLOT_PROCESSES; i++) {
        wsgid_process_t *process = &slot->processes[i];

        if (process != keep && process->state != WSGID_STATE_FREE) {
            wsgid_process_ask_to_leave(process);
        }
    }
}

/* The newer guardian starts a successor anyway. */
static void ignore_request(wsgid_process_t *process)
{
    if (process && process->requests_handled != process->replacement_requests) {
        process->requests_handled = process->replacement_requests;
        wsgid_process_refuse_replacement(process); /* a request may be waiting for an answer */
    }
}

static wsgid_role_e role_in(const wsgid_slot_record_t *slot)
{
    if (is_stopping()) {
        return WSGID_ROLE_STOPPED;
    }
    if (is_retired(slot)) {
        return WSGID_ROLE_RETIRED;
    }
    return is_newest(slot) ? WSGID_ROLE_NEWEST : WSGID_ROLE_SUPERSEDED;
}

static wsgid_serves_e who_serves(wsgid_slot_record_t *slot)
{
    if (wsgid_ledger_newest_ready(slot->shared) > guardian.configuration) {
        return WSGID_SERVES_NEWER;
    }
    return wsgid_process_youngest(slot, WSGID_IN(READY)) ? WSGID_SERVES_OURS : WSGID_SERVES_NOBODY;
}

static void do_duty(wsgid_slot_record_t *slot)
{
    wsgid_role_e role = role_in(slot);
    wsgid_process_t *serving = wsgid_process_youngest(slot, WSGID_IN(READY));

    switch (wsgid_handover_duty(role, who_serves(slot))) {
    case WSGID_DUTY_START: start_missing(slot); break;
    case WSGID_DUTY_SERVE:
        if (role == WSGID_ROLE_NEWEST) {
            start_missing(slot); /* a successor, if the process needs one */
        }
        else {
            ignore_request(serving);
            let_go(slot, serving);
        }
        break;
    case WSGID_DUTY_BOOT: let_go(slot, wsgid_process_oldest(slot, WSGID_IN(BOOTING))); break;
    case WSGID_DUTY_LEAVE:
        if (role != WSGID_ROLE_STOPPED) { /* they have been told (wsgid_policy_stop) */
            let_go(slot, NULL);
        }
        break;
    }
}

/* ---- processes that take too long */

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

static const char *seconds(apr_interval_time_t interval)
{
    static char text[WSGID_SECONDS_ROOM];

    return wsgid_backoff_seconds(text, sizeof(text), interval);
}

/* Whether the page says that the process runs no request. */
static int is_idle(const wsgid_process_t *process)
{
    wsgid_page_t page;

    wsgid_pages_read(process->slot->shared, wsgid_process_entry(process), &page);
    return page.requests_started <= page.requests_finished;
}

/* When a process has to be killed; 0: never, as far as is known. */
static apr_time_t last_moment(const wsgid_process_t *process)
{
    const wsgid_group_t *group = guardian.group;
    apr_interval_time_t shutdown = WSGID_NUMBER(group, SHUTDOWN_TIMEOUT);
    apr_interval_time_t graceful = WSGID_NUMBER(group, GRACEFUL_TIMEOUT);
    apr_interval_time_t startup = WSGID_NUMBER(group, STARTUP_TIMEOUT);

    if (process->state == WSGID_STATE_FREE) {
        return 0;
    }
    if (is_stopping()) {
        return stop_began + shutdown;
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
    apr_time_t moment = last_moment(process);

    if (!moment || wsgid_clock_now() < moment) {
        return;
    }
    if (is_stopping()) {
        kill_process(process,
                     apr_psprintf(pool, "did not leave within shutdown-timeout (%s s)",
                                  seconds(WSGID_NUMBER(guardian.group, SHUTDOWN_TIMEOUT))),
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

/* ---- one slot */

static void note_ready(const wsgid_slot_record_t *slot)
{
    int i;

    for (i = 0; i < WSGID_SLOT_PROCESSES; i++) {
        if (slot->processes[i].state == WSGID_STATE_READY) {
            wsgid_ledger_note_ready(slot->shared, guardian.configuration);
        }
    }
}

static void look_after(wsgid_slot_record_t *slot)
{
    int i;

    wsgid_process_observe(slot);
    wsgid_orphans_poll(slot, guardian.configuration, is_newest(slot));
    for (i = 0; i < WSGID_SLOT_PROCESSES; i++) {
        note_idle(&slot->processes[i]);
        kill_late(&slot->processes[i]);
    }
    note_ready(slot);
    do_duty(slot);
}

void wsgid_policy_poll(void)
{
    wsgid_slot_record_t *slot;

    for (slot = wsgid_slot_list_first(); slot; slot = slot->next) {
        if (is_ours(slot)) {
            look_after(slot);
        }
    }
}

/* ---- when the next poll is due */

static void add_deadlines(const wsgid_slot_record_t *slot, apr_time_t now, apr_time_t *next)
{
    int i;

    for (i = 0; i < WSGID_SLOT_PROCESSES; i++) {
        const wsgid_process_t *process = &slot->processes[i];

        if (process->state == WSGID_STATE_FREE) {
            continue;
        }
        if (!process->is_killed) {
            wsgid_clock_earlier(next, last_moment(process));
        }
        if (process->is_orphan || process->state == WSGID_STATE_DRAINING) {
            wsgid_clock_earlier(next, now + POLL_ORPHANS);
        }
        if (!is_newest(slot) && process->state != WSGID_STATE_DRAINING) {
            wsgid_clock_earlier(next, now + POLL_NEWER);
        }
    }
    if (is_orphaned || wsgid_ledger_is_removed(slot->shared)) {
        wsgid_clock_earlier(next, now + POLL_CHILDREN);
    }
    if (is_followed(slot)) {
        wsgid_clock_earlier(next, slot->next_look ? slot->next_look : now);
    }
    if (slot->next_start && is_followed(slot)) {
        wsgid_clock_earlier(next, slot->next_start < now + POLL_SCRIPTS ? slot->next_start
                                                                        : now + POLL_SCRIPTS);
    }
    if (slot->fork_failed || slot->full_since) {
        wsgid_clock_earlier(next, now + POLL_ORPHANS);
    }
}

apr_time_t wsgid_policy_next(void)
{
    apr_time_t now = wsgid_clock_now();
    apr_time_t next = 0;
    const wsgid_slot_record_t *slot;

    for (slot = wsgid_slot_list_first(); slot; slot = slot->next) {
        if (is_ours(slot)) {
            add_deadlines(slot, now, &next);
        }
    }
    return next;
}

/* ---- when a process has ended */

/* What happens next, for the log. was_youngest: the dead process, whose entry is already free, was
 * the last that the slot had started. */
static const char *describe_next(apr_pool_t *p, const wsgid_process_t *dead, int was_youngest)
{
    wsgid_slot_record_t *slot = dead->slot;
    const wsgid_process_t *serving = wsgid_process_youngest(slot, WSGID_IN(READY));
    const wsgid_process_t *coming = wsgid_process_youngest(slot, WSGID_IN(BOOTING));
    pid_t newer = wsgid_ledger_newer_process(slot->shared, guardian.configuration);

    if (!is_stopping() && wsgid_ledger_is_removed(slot->shared)) {
        return "its group is no longer configured";
    }
    if (newer && !is_stopping()) {
        return apr_psprintf(p, "process %" APR_PID_T_FMT " has taken its place", newer);
    }
    if (serving && (!was_youngest || dead->is_requested)) {
        return apr_psprintf(p, "process %" APR_PID_T_FMT " %s", serving->pid,
                            was_youngest ? "goes on serving" : "has taken its place");
    }
    if (coming) {
        return apr_psprintf(p, "process %" APR_PID_T_FMT " is starting to take its place",
                            coming->pid);
    }
    if (is_stopping()) {
        return "httpd is stopping or restarting";
    }
    if (serving) {
        return apr_psprintf(p, "process %" APR_PID_T_FMT " goes on serving, %s", serving->pid,
                            wsgid_backoff_describe(p, slot));
    }
    return wsgid_backoff_describe(p, slot);
}

static void report_death(const wsgid_process_t *dead, wsgid_death_t death, apr_interval_time_t life,
                         int was_youngest)
{
    apr_pool_t *temporary;

    apr_pool_create(&temporary, pool);
    wsgid_deaths_report(temporary, dead, death, life, describe_next(temporary, dead, was_youngest));
    apr_pool_destroy(temporary);
}

/* Whether it was a requested successor that never became ready, while its predecessor goes on
 * serving. Then the predecessor decides when to try again, and there is no back-off. */
static int is_failed_successor(const wsgid_process_t *dead)
{
    return dead->is_requested && !dead->has_been_ready
           && wsgid_process_youngest(dead->slot, WSGID_IN(READY));
}

/* If one process could not load a change of a script, the others of the group need not try it. */
static void note_failed_successor(wsgid_process_t *serving, wsgid_death_t death)
{
    wsgid_slot_record_t *slot;

    wsgid_process_refuse_replacement(serving);
    if (death.code != CLD_EXITED || death.status != WSGID_EXIT_LOAD) {
        return;
    }
    for (slot = wsgid_slot_list_first(); slot; slot = slot->next) {
        if (slot->group && slot->group == serving->slot->group) {
            slot->failed_change = serving->change;
        }
    }
}

static void count_death(wsgid_process_t *process, wsgid_death_t death)
{
    wsgid_slot_t *shared = process->slot->shared;
    wsgid_totals_t *totals = wsgid_slots_totals(shared);
    wsgid_reason_e reason = wsgid_deaths_reason(process, death);
    wsgid_page_t page;

    wsgid_pages_read(shared, wsgid_process_entry(process), &page);
    wsgid_totals_begin(totals);
    wsgid_totals_count_death(totals, &page, reason, death.status);
    wsgid_process_release(process);
    wsgid_totals_end(totals);
}

/* Whether no process will follow: else requests wait in the backlog for the next one, of another
 * guardian if somebody has stopped this one. */
static int is_down(const wsgid_slot_record_t *slot)
{
    return is_newest(slot) && (is_orphaned || wsgid_ledger_is_removed(slot->shared))
           && (is_stopping() || is_retired(slot));
}

/* The back-off begins: requests wait in the backlog, or get 503 if it takes long. */
static void delay_next(wsgid_slot_record_t *slot)
{
    const wsgid_process_t *left = current(slot);

    if (slot->delay <= 0 || !is_followed(slot) || (left && left->serial > slot->deaf)) {
        return;
    }
    slot->next_start = wsgid_clock_now() + slot->delay;
    wsgid_backoff_note_scripts(slot);
    wsgid_slot_list_step_phase(
        slot, slot->delay > WSGID_SHORT_DELAY ? WSGID_PHASE_DELAYED : WSGID_PHASE_STARTED,
        slot->next_start);
}

/* Everything that follows when a process has been reaped. */
static void handle_exit(wsgid_process_t *process, wsgid_death_t death)
{
    wsgid_slot_record_t *slot = process->slot;
    apr_interval_time_t life = wsgid_clock_now() - process->born;
    wsgid_process_t dead;
    int was_youngest;

    wsgid_process_observe(slot);
    was_youngest = wsgid_process_youngest(slot, WSGID_NOT_FREE) == process;
    dead = *process;
    count_death(process, death);
    wsgid_descendants_end_session(dead.pid);
    life = life > 0 ? life : 0;
    if (is_failed_successor(&dead)) {
        note_failed_successor(wsgid_process_youngest(slot, WSGID_IN(READY)), death);
    }
    else {
        wsgid_backoff_count(slot, &dead, death, life);
        delay_next(slot);
    }
    if (!dead.is_killed) { /* else a line has said so (kill_late) */
        report_death(&dead, death, life, was_youngest);
    }
    if (is_down(slot) && wsgid_process_all_free(slot)) {
        wsgid_slot_list_step_phase(slot, WSGID_PHASE_EMPTIED, 0);
    }
}

static wsgid_process_t *find_process(pid_t pid)
{
    wsgid_slot_record_t *slot;
    int i;

    for (slot = wsgid_slot_list_first(); slot; slot = slot->next) {
        for (i = 0; is_ours(slot) && i < WSGID_SLOT_PROCESSES; i++) {
            if (slot->processes[i].state != WSGID_STATE_FREE && slot->processes[i].pid == pid) {
                return &slot->processes[i];
            }
        }
    }
    return NULL;
}

void wsgid_policy_reaped(pid_t pid, int status)
{
    wsgid_process_t *process = find_process(pid);

    if (process) { /* else the application has left it behind */
        handle_exit(process, wsgid_deaths_of_status(status));
    }
}

/* ---- the end */

static void for_each_process(void (*act)(wsgid_process_t *))
{
    wsgid_slot_record_t *slot;
    int i;

    for (slot = wsgid_slot_list_first(); slot; slot = slot->next) {
        for (i = 0; is_ours(slot) && i < WSGID_SLOT_PROCESSES; i++) {
            if (slot->processes[i].state != WSGID_STATE_FREE) {
                act(&slot->processes[i]);
            }
        }
    }
}

/* SIGTERM, because a daemon then leaves within its shutdown-timeout, whatever its requests do. */
static void terminate(wsgid_process_t *process)
{
    if (!process->is_orphan) { /* one leaves by itself, and its pid may be another's by now */
        (void)kill(process->pid, SIGTERM);
    }
    process->was_asked = 1;
    wsgid_process_step(process, WSGID_EVENT_UNWANTED);
}

void wsgid_policy_stop(void)
{
    if (!is_stopping()) {
        stop_began = wsgid_clock_now();
        for_each_process(terminate);
    }
}

void wsgid_policy_note_orphaned(void)
{
    is_orphaned = 1;
}

static apr_time_t given_up; /* wsgid_clock_now() when processes that were killed count as gone */

/* A process that somebody traces may stay a zombie for ever. */
#define KILLED_PATIENCE apr_time_from_msec(500)

/* Whether there are none but processes that have been killed; *killed: how many. */
static int are_all_killed(int *killed)
{
    wsgid_slot_record_t *slot;
    int i;

    *killed = 0;
    for (slot = wsgid_slot_list_first(); slot; slot = slot->next) {
        for (i = 0; is_ours(slot) && i < WSGID_SLOT_PROCESSES; i++) {
            if (slot->processes[i].state != WSGID_STATE_FREE) {
                if (!slot->processes[i].is_killed) {
                    return 0;
                }
                ++*killed;
            }
        }
    }
    return 1;
}

static int has_slots(void)
{
    const wsgid_slot_record_t *slot;

    for (slot = wsgid_slot_list_first(); slot; slot = slot->next) {
        if (is_ours(slot) && is_newest(slot) && !is_retired(slot)) {
            return 1;
        }
    }
    return 0;
}

int wsgid_policy_is_over(void)
{
    int killed;

    if (!are_all_killed(&killed) || (!is_stopping() && has_slots())) {
        given_up = 0;
        return 0;
    }
    if (killed == 0) {
        return 1;
    }
    if (!given_up) {
        given_up = wsgid_clock_now() + KILLED_PATIENCE;
    }
    return wsgid_clock_now() >= given_up;
}

void wsgid_policy_say_down(void)
{
    wsgid_slot_record_t *slot;

    for (slot = wsgid_slot_list_first(); slot; slot = slot->next) {
        if (is_ours(slot) && is_down(slot)) {
            wsgid_slot_list_step_phase(slot, WSGID_PHASE_EMPTIED, 0);
        }
    }
}
