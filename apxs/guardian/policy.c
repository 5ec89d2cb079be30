/*
 * The policy of a guardian: which process runs in which slot.
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

#include <signal.h>

/* Between two looks at things that nobody reports: changed scripts during a back-off, a newer
 * configuration's process, processes that are no children of ours, children of httpd that end. */
#define POLL_SCRIPTS apr_time_from_msec(250)
#define POLL_NEWER   apr_time_from_msec(100)
#define POLL_BOOTING \
    apr_time_from_msec(10) /* while that one boots, so that it is noticed at once */
#define POLL_UNANNOUNCED apr_time_from_sec(5)
#define POLL_ORPHANS     apr_time_from_msec(250)
#define POLL_CHILDREN    apr_time_from_msec(250)

/* The sockets come first: requests may wait in their backlogs before any process starts. */
void wsgid_policy_begin(void)
{
    wsgid_slot_record_t *slot = NULL;

    while ((slot = wsgid_roles_next_slot(slot))) {
        if (wsgid_roles_is_newest(slot)
            && (wsgid_slot_list_is_wanted(slot) || wsgid_slot_list_is_idle(slot))) {
            wsgid_sockets_poll(slot);
        }
    }
}

int wsgid_policy_is_announced(void)
{
    const wsgid_slot_record_t *any = wsgid_roles_next_slot(NULL); /* each group has one */

    return wsgid_ledger_current(any->shared) >= wsgid_roles_configuration();
}

/* ---- starting what is missing */

/* With replacement=stop-first, no process starts beside another one, whoever's it is. */
static int must_wait_for_another(const wsgid_slot_record_t *slot)
{
    int entry;

    for (entry = 0; wsgid_process_stops_first(slot) && entry < WSGID_SLOT_PROCESSES; entry++) {
        if (wsgid_ledger_owner(slot->shared, entry)) {
            return 1;
        }
    }
    return 0;
}

/* Whether the back-off is over, by time or because a script has changed. */
static int may_start(wsgid_slot_record_t *slot)
{
    if (must_wait_for_another(slot)) {
        return 0;
    }
    if (slot->next_start > wsgid_clock_now() && !wsgid_backoff_scripts_changed(slot)) {
        return 0;
    }
    slot->next_start = 0;
    return 1;
}

static void start_missing(wsgid_slot_record_t *slot)
{
    const wsgid_process_t *current;

    wsgid_sockets_poll(slot);
    if (slot->sockets[0] < 0 || wsgid_launch_is_pointless(slot)) {
        return;
    }
    current = wsgid_process_youngest(slot, WSGID_CURRENT);
    /* one that is deaf has a listener to which nobody can connect */
    if ((!current || current->serial <= slot->deaf) && may_start(slot)) {
        (void)wsgid_launch_process(slot, NULL); /* a failure is logged; the next poll tries again */
    }
    if (current) {
        wsgid_replacements_grant(slot);
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

static wsgid_serves_e who_serves(wsgid_slot_record_t *slot)
{
    if (wsgid_ledger_newest_ready(slot->shared) > wsgid_roles_configuration()) {
        return WSGID_SERVES_NEWER;
    }
    return wsgid_process_youngest(slot, WSGID_IN(READY)) ? WSGID_SERVES_OURS : WSGID_SERVES_NOBODY;
}

static void do_duty(wsgid_slot_record_t *slot)
{
    wsgid_role_e role = wsgid_roles_in(slot);
    wsgid_process_t *serving = wsgid_process_youngest(slot, WSGID_IN(READY));

    switch (wsgid_handover_duty(role, who_serves(slot))) {
    case WSGID_DUTY_START: start_missing(slot); break;
    case WSGID_DUTY_SERVE:
        if (role == WSGID_ROLE_NEWEST) {
            start_missing(slot); /* a successor, if the process needs one */
        }
        else {
            wsgid_replacements_refuse(serving); /* the newer guardian starts one anyway */
            let_go(slot, wsgid_process_stops_first(slot) ? NULL : serving);
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

/* ---- one slot */

/* ---- a slot that the group is to have no longer */

static int has_ready_slot(const wsgid_pool_t *pool)
{
    wsgid_slot_record_t *slot = NULL;

    while ((slot = wsgid_roles_next_slot(slot))) {
        if (slot->of == pool && wsgid_slot_list_is_wanted(slot)
            && wsgid_ledger_newest_ready(slot->shared) >= wsgid_roles_configuration()) {
            return 1;
        }
    }
    return 0;
}

static int has_no_process(const wsgid_slot_record_t *slot)
{
    int i;

    for (i = 0; i < WSGID_SLOT_PROCESSES; i++) {
        if (wsgid_ledger_owner(slot->shared, i)) {
            return 0;
        }
    }
    return 1;
}

/* Once a process of this configuration serves elsewhere, those of older guardians leave, too: for
 * them it looks as if a newer one were ready. httpd's children see that the slot is down. */
static void remove_slot(wsgid_slot_record_t *slot)
{
    if ((slot->of->wanted && !has_ready_slot(slot->of)) || !wsgid_slots_exists(slot->shared)) {
        return;
    }
    wsgid_ledger_note_ready(slot->shared, wsgid_roles_configuration());
    wsgid_slot_list_set_phase(slot, WSGID_SLOT_DOWN, 0);
    if (has_no_process(slot)) {
        wsgid_sockets_remove(slot);
    }
}

/* It has no process, but its sockets, and a connection starts one (scaling.c). */
static void keep_idle(wsgid_slot_record_t *slot)
{
    wsgid_sockets_poll(slot);
    if (slot->sockets[0] >= 0) {
        wsgid_slot_list_set_phase(slot, WSGID_SLOT_IDLE, 0);
    }
}

static void look_after(wsgid_slot_record_t *slot)
{
    int i;

    wsgid_process_observe(slot);
    wsgid_orphans_poll(slot);
    for (i = 0; i < WSGID_SLOT_PROCESSES; i++) {
        wsgid_time_limits_enforce(&slot->processes[i]);
        wsgid_boot_places_review(&slot->processes[i]);
    }
    if (wsgid_process_youngest(slot, WSGID_IN(READY))) {
        wsgid_ledger_note_ready(slot->shared, wsgid_roles_configuration());
    }
    do_duty(slot);
    wsgid_sockets_close_dead(slot);
    if (!wsgid_roles_is_newest(slot) || wsgid_slot_list_is_wanted(slot)) {
        return;
    }
    if (wsgid_slot_list_is_idle(slot) && !wsgid_roles_stop_began()
        && !wsgid_roles_is_abandoned(slot) && wsgid_scaling_is_in_use(slot->of)) {
        keep_idle(slot);
    }
    else {
        remove_slot(slot);
    }
}

void wsgid_policy_poll(void)
{
    wsgid_slot_record_t *slot;

    wsgid_spare_poll();
    wsgid_scaling_poll();
    wsgid_boot_places_begin_poll();
    for (slot = wsgid_roles_next_slot(NULL); slot; slot = wsgid_roles_next_slot(slot)) {
        look_after(slot);
    }
    wsgid_boot_places_end_poll();
}

/* ---- when the next poll is due */

static apr_interval_time_t poll_for_newer(const wsgid_slot_record_t *slot)
{
    if (wsgid_ledger_current(slot->shared) <= wsgid_roles_configuration()) {
        return POLL_UNANNOUNCED; /* a signal comes when its processes may start */
    }
    return wsgid_ledger_newer_process(slot->shared, wsgid_roles_configuration()) ? POLL_BOOTING
                                                                                 : POLL_NEWER;
}

static void add_deadlines(const wsgid_slot_record_t *slot, apr_time_t now, apr_time_t *next)
{
    int i;

    for (i = 0; i < WSGID_SLOT_PROCESSES; i++) {
        const wsgid_process_t *process = &slot->processes[i];

        if (process->state == WSGID_STATE_FREE) {
            continue;
        }
        wsgid_clock_earlier(next, wsgid_boot_places_end(process));
        if (!process->is_killed) {
            wsgid_clock_earlier(next, wsgid_time_limits_end(process));
        }
        if (process->is_orphan || process->state == WSGID_STATE_DRAINING) {
            wsgid_clock_earlier(next, now + POLL_ORPHANS);
        }
        if (!wsgid_roles_is_newest(slot) && process->state != WSGID_STATE_DRAINING) {
            wsgid_clock_earlier(next, now + poll_for_newer(slot));
        }
    }
    if (wsgid_roles_is_orphaned() || wsgid_roles_is_removed(slot)
        || (!wsgid_slot_list_is_wanted(slot) && !wsgid_slot_list_is_idle(slot)
            && wsgid_slots_exists(slot->shared))) {
        wsgid_clock_earlier(next, now + POLL_CHILDREN);
    }
    if (wsgid_roles_is_followed(slot) || wsgid_slot_list_is_idle(slot)) {
        wsgid_clock_earlier(next, slot->next_look ? slot->next_look : now);
    }
    if (slot->next_start && wsgid_roles_is_followed(slot)) {
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
    apr_time_t next = wsgid_boot_places_next_try();
    wsgid_slot_record_t *slot;

    for (slot = wsgid_roles_next_slot(NULL); slot; slot = wsgid_roles_next_slot(slot)) {
        add_deadlines(slot, now, &next);
    }
    if (!wsgid_roles_stop_began()) {
        wsgid_clock_earlier(&next, wsgid_scaling_next());
    }
    return next;
}

/* ---- the end */

void wsgid_policy_reaped(pid_t pid, int status)
{
    wsgid_process_t *process = NULL;

    while ((process = wsgid_roles_next_process(process)) && process->pid != pid) {
        /* another one's */
    }
    if (process) { /* else the application has left it behind */
        wsgid_output_drain();
        wsgid_after_death_handle(process, wsgid_deaths_of_status(status));
    }
}

/* SIGTERM, because a daemon then leaves within its shutdown-timeout, whatever its requests do. */
static void terminate(wsgid_process_t *process)
{
    if (!process->is_orphan || wsgid_orphans_is_alive(process)) { /* else its pid is another's */
        (void)kill(process->pid, SIGTERM);
    }
    process->was_asked = 1;
    wsgid_process_step(process, WSGID_EVENT_UNWANTED);
}

void wsgid_policy_stop(void)
{
    wsgid_process_t *process = NULL;

    if (wsgid_roles_stop_began()) {
        return;
    }
    wsgid_roles_note_stop();
    while ((process = wsgid_roles_next_process(process))) {
        terminate(process);
    }
}

static apr_time_t given_up; /* wsgid_clock_now() when processes that were killed count as gone */

/* A process that somebody traces may stay a zombie for ever. */
#define KILLED_PATIENCE apr_time_from_msec(500)

/* Whether there are none but processes that have been killed; *killed: how many. */
static int are_all_killed(int *killed)
{
    wsgid_process_t *process = NULL;

    *killed = 0;
    while ((process = wsgid_roles_next_process(process))) {
        if (!process->is_killed) {
            return 0;
        }
        ++*killed;
    }
    return 1;
}

static int has_slots(void)
{
    wsgid_slot_record_t *slot;

    for (slot = wsgid_roles_next_slot(NULL); slot; slot = wsgid_roles_next_slot(slot)) {
        if (wsgid_roles_is_newest(slot) && !wsgid_roles_is_abandoned(slot)) {
            return 1;
        }
    }
    return 0;
}

int wsgid_policy_is_over(void)
{
    int killed;

    if (!are_all_killed(&killed) || (!wsgid_roles_stop_began() && has_slots())) {
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

    for (slot = wsgid_roles_next_slot(NULL); slot; slot = wsgid_roles_next_slot(slot)) {
        if (wsgid_roles_is_down(slot)) {
            wsgid_slot_list_set_phase(slot, WSGID_SLOT_DOWN, 0);
        }
    }
}
