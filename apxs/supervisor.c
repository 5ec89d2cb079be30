/*
 * The parent: which process runs in which slot, and what happens when one ends.
 *
 * Rules:
 *
 *   - The parent does the least that it can. It has no timers and sleeps in the MPM's loop; it acts at start, at a
 *     restart, at the death of a child, at stop. A back-off is slept away by the forked process, readiness is seen in
 *     its page when there is cause to look, the predecessor is told to leave by its successor.
 *   - A slot is level-triggered: satisfy() looks at what is there and starts what is missing. Events only change
 *     states and call it.
 *   - Only the policy is here. supervisor.h names the files that do the work, and says what may be retained.
 *   - A child of httpd has a copy of all this. Nothing here may act in one: is_parent().
 *
 * Later: replacement on request (reload, recycling) only has to raise slot->wanted and call satisfy(); the place for
 * the child that wakes the parent for it is take_charge(), and the event for its death on_child().
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "supervisor.h"

#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#define RETAINED_KEY "mod_wsgid.supervisor"

typedef struct {
    pid_t parent;
    apr_uint32_t configuration;         /* counts the configurations */
} retained_t;

/* This configuration only, as all static data is: the module is loaded anew on each restart. */
static retained_t *retained;
static apr_pool_t *configuration_pool;
static int stopping;

static int is_parent(void)
{
    return retained && retained->parent == getpid();
}

/* ------------------------------------------------------------------ a slot gets what it lacks */

static void on_child(int reason, void *data, int status);

static void start(wsgid_process_t *process, wsgid_process_t *predecessor)
{
    if (wsgid_launch_process(process, predecessor, retained->configuration) == APR_SUCCESS) {
        wsgid_process_watch(process, configuration_pool, on_child);
    }
}

/* httpd is about to stop or to restart: no moment to start anything. */
static int is_stopping(void)
{
    int state;

    return stopping || (ap_mpm_query(AP_MPMQ_MPM_STATE, &state) == APR_SUCCESS && state == AP_MPMQ_STOPPING);
}

static int is_satisfied(const wsgid_process_t *process)
{
    return process->state != WSGID_VACANT && process->state != WSGID_LEAVING
        && process->configuration >= process->slot->wanted;
}

/* Both seats are taken and neither by what is wanted: one that sleeps, or is on its way while the other serves, gives
 * way. Otherwise nobody can be spared, and the wanted one starts when a seat is free. */
static void make_room(wsgid_kept_slot_t *slot)
{
    int seat;

    for (seat = 0; seat < WSGID_SEATS; seat++) {
        wsgid_process_t *process = &slot->seat[seat];
        if (process->state == WSGID_WAITING
            || (process->state == WSGID_BOOTING && wsgid_process_other(process)->state == WSGID_READY)) {
            wsgid_process_ask_to_leave(process);
        }
    }
}

/* Starts what the slot lacks: a process for the current configuration, as the successor of one that serves. */
static void satisfy(wsgid_kept_slot_t *slot)
{
    wsgid_process_t *vacant;
    wsgid_process_t *other;

    if (!slot->group || is_stopping() || wsgid_launch_is_pointless(slot)) {
        return;
    }
    wsgid_process_observe(slot);
    if (is_satisfied(&slot->seat[0]) || is_satisfied(&slot->seat[1])) {
        return;
    }
    vacant = slot->seat[0].state == WSGID_VACANT ? &slot->seat[0] : &slot->seat[1];
    if (vacant->state != WSGID_VACANT) {
        make_room(slot);
        return;
    }
    other = wsgid_process_other(vacant);
    if (other->state == WSGID_WAITING) {
        wsgid_process_step(other, WSGID_UNWANTED);      /* it sleeps for a configuration of the past */
    }
    start(vacant, other->state == WSGID_BOOTING || other->state == WSGID_READY ? other : NULL);
}

void wsgid_supervisor_satisfy(void)
{
    wsgid_kept_slot_t *slot;

    for (slot = wsgid_roster_first(); slot; slot = slot->next) {
        satisfy(slot);
    }
}

/* ------------------------------------------------------------------ a death */

/* What happens next, for the line about a death. */
static const char *describe_next(apr_pool_t *p, wsgid_kept_slot_t *slot, wsgid_process_t *dead, int was_successor)
{
    const wsgid_process_t *other = wsgid_process_other(dead);

    if (!slot->group) {
        return "its group is no longer configured";
    }
    if (is_satisfied(other)) {
        return apr_psprintf(p, "process %" APR_PID_T_FMT " %s", other->pid,
                            other->state == WSGID_READY ? "has taken its place" : "is on its way to take its place");
    }
    if (is_stopping()) {
        return "httpd is stopping or restarting";
    }
    if (was_successor && other->state == WSGID_READY) {
        return apr_psprintf(p, "process %" APR_PID_T_FMT " goes on serving, %s", other->pid,
                            wsgid_backoff_describe(p, slot));
    }
    return wsgid_backoff_describe(p, slot);
}

static void report_death(wsgid_process_t *process, wsgid_death_t death, apr_interval_time_t life, int was_successor)
{
    apr_pool_t *pool;

    apr_pool_create(&pool, configuration_pool);
    wsgid_deaths_report(pool, process, death, life, describe_next(pool, process->slot, process, was_successor));
    apr_pool_destroy(pool);
}

/* All that follows from a death: the process is reaped, and this is known to nobody else. */
static void bury(wsgid_process_t *process, wsgid_death_t death)
{
    wsgid_kept_slot_t *slot = process->slot;
    apr_interval_time_t life = apr_time_now() - process->born;
    int was_successor;

    wsgid_process_observe(slot);
    was_successor = wsgid_process_youngest(slot) == process;
    life = life > 0 ? life : 0;
    wsgid_backoff_count(slot, process, life);
    report_death(process, death, life, was_successor);
    wsgid_process_vacate(process);
    if (slot->released && wsgid_process_none_in(slot)) {
        wsgid_roster_free(slot);
        return;
    }
    satisfy(slot);
}

/* APR's callback. Unregistering, which happens before the module is unloaded, changes nothing for the process. */
static void on_child(int reason, void *data, int status)
{
    wsgid_process_t *process = data;

    if (reason == APR_OC_REASON_UNREGISTER) {
        process->watch = NULL;
    }
    else if ((reason == APR_OC_REASON_DEATH || reason == APR_OC_REASON_LOST) && is_parent()) {
        bury(process, wsgid_sigchld_death(process->pid, status));
        wsgid_supervisor_satisfy();     /* a fork that failed before may succeed now */
    }
}

/* Deaths that nobody saw, because the module was not loaded at that moment, or because httpd is stopping. */
static void reap(wsgid_process_t *process)
{
    wsgid_death_t unknown = { 0, -1 };
    int status;
    pid_t pid;

    if (process->state == WSGID_VACANT) {
        return;
    }
    pid = waitpid(process->pid, &status, WNOHANG);
    if (pid == process->pid) {
        bury(process, wsgid_deaths_of_status(status));
    }
    else if (pid < 0 && errno == ECHILD) {
        bury(process, unknown);
    }
}

/* bury() may free a slot that was released. */
void wsgid_supervisor_reap(void)
{
    wsgid_kept_slot_t *slot;
    wsgid_kept_slot_t *next;

    for (slot = wsgid_roster_first(); slot; slot = next) {
        int is_last_seat_taken = slot->seat[1].state != WSGID_VACANT;
        next = slot->next;
        reap(&slot->seat[0]);
        if (is_last_seat_taken) {
            reap(&slot->seat[1]);
        }
    }
}

/* ------------------------------------------------------------------ children of httpd come and go */

void wsgid_supervisor_child_status(server_rec *s, ap_generation_t number, mpm_child_status status)
{
    if (!is_parent()) {
        return;
    }
    if (status == MPM_CHILD_STARTED) {          /* children are only ever started for the current configuration */
        wsgid_generations_started(s->process->pool, number, retained->configuration);
    }
    else if (status == MPM_CHILD_EXITED && wsgid_generations_exited(number)) {
        wsgid_roster_release_unused();
    }
}

/* The count of children says the same; but core's own count may come before or after ours. */
int wsgid_supervisor_end_generation(server_rec *s, ap_generation_t number)
{
    (void) s;
    (void) number;
    if (is_parent()) {
        wsgid_roster_release_unused();
        wsgid_supervisor_satisfy();
    }
    return OK;
}

/* ------------------------------------------------------------------ a configuration begins and ends */

apr_status_t wsgid_supervisor_stop(void *unused)
{
    (void) unused;
    if (!is_parent()) {
        return APR_SUCCESS;
    }
    stopping = 1;
    wsgid_stop_processes();
    while (wsgid_roster_first()) {
        wsgid_roster_free(wsgid_roster_first());
    }
    return APR_SUCCESS;
}

/* Cleanup of pconf, before the module is unloaded: afterwards nothing points into it or into pconf. Whatever lives
 * goes on living. */
static apr_status_t let_go(void *data)
{
    server_rec *s = data;

    if (is_parent()) {
        wsgid_sigchld_end();
        apr_pool_cleanup_kill(s->process->pool, retained, wsgid_supervisor_stop);
        wsgid_roster_let_go();
    }
    return APR_SUCCESS;
}

static void begin_configuration(apr_pool_t *pconf, server_rec *s)
{
    retained = ap_retained_data_get(RETAINED_KEY);
    if (!retained) {
        retained = ap_retained_data_create(RETAINED_KEY, sizeof(*retained));
    }
    retained->parent = getpid();
    retained->configuration++;
    configuration_pool = pconf;
    apr_pool_cleanup_register(pconf, s, let_go, apr_pool_cleanup_null);
    /* Before the pools below are gone, so that the logs are open and the module is loaded. let_go() takes it back. */
    apr_pool_pre_cleanup_register(s->process->pool, retained, wsgid_supervisor_stop);
}

static void watch_survivors(void)
{
    wsgid_kept_slot_t *slot;
    int seat;

    for (slot = wsgid_roster_first(); slot; slot = slot->next) {
        for (seat = 0; seat < WSGID_SEATS; seat++) {
            if (slot->seat[seat].state != WSGID_VACANT && !slot->seat[seat].watch) {
                wsgid_process_watch(&slot->seat[seat], configuration_pool, on_child);
            }
        }
    }
}

static int count_seats(void)
{
    const wsgid_kept_slot_t *slot;
    int count = 0;

    for (slot = wsgid_roster_first(); slot; slot = slot->next) {
        count += WSGID_SEATS;
    }
    return count;
}

/* Everything is prepared: from now on this process is the parent of daemons. */
static void take_charge(void)
{
    wsgid_sigchld_begin(configuration_pool, count_seats());
    wsgid_supervisor_reap();
    watch_survivors();
    wsgid_supervisor_satisfy();
    wsgid_roster_release_unused();
}

/* httpd -X: another process takes charge. */
static int delegate(server_rec *s)
{
    wsgid_kept_slot_t *slot;
    pid_t keeper;

    for (slot = wsgid_roster_first(); slot; slot = slot->next) {
        wsgid_slots_set_phase(slot->memory, WSGID_SLOT_BOOTING, 0);     /* the keeper may need a moment for it */
    }
    keeper = wsgid_oneprocess_hire();
    if (keeper < 0) {
        ap_log_error(APLOG_MARK, APLOG_CRIT, errno, s, "WSGID0059: under httpd -X a second process looks after the "
                     "daemons, and it cannot be forked: look at the limits of processes, memory and open files");
        return HTTP_INTERNAL_SERVER_ERROR;
    }
    retained->parent = keeper;
    if (is_parent()) {
        take_charge();
        wsgid_oneprocess_keep();
    }
    apr_pool_cleanup_register(configuration_pool, retained, wsgid_oneprocess_dismiss, apr_pool_cleanup_null);
    return OK;
}

int wsgid_supervisor_post_config(apr_pool_t *pconf, apr_pool_t *ptemp, server_rec *s)
{
    int result;

    begin_configuration(pconf, s);
    result = wsgid_roster_prepare(pconf, ptemp, s, retained->configuration);
    if (result != OK) {
        return result;
    }
    if (wsgid_oneprocess_is_on()) {
        return delegate(s);
    }
    take_charge();
    return OK;
}

void wsgid_supervisor_child_init(apr_pool_t *pchild, server_rec *s)
{
    (void) s;
    if (!retained || is_parent()) {
        return;
    }
    (void) signal(SIGCHLD, SIG_DFL);
    wsgid_roster_close_descriptors();
    if (wsgid_oneprocess_is_on()) {     /* it ends without the cleanups of its outer pools */
        apr_pool_cleanup_register(pchild, retained, wsgid_oneprocess_dismiss, apr_pool_cleanup_null);
    }
}
