/*
 * The parent: which process runs in which slot, and what happens when one ends.
 *
 * Rules:
 *
 *   - The parent does the least that it can. It sleeps in the MPM's loop; it acts at start, at a
 * restart, at the death of a child (the wake-up pipe's, too, which a daemon has rung), at stop,
 * and, for what could not be started, when httpd does its own maintenance, every ten seconds or so.
 * A back-off is slept away by the forked process, the predecessor is told to leave by its
 * successor.
 *   - A slot is level-triggered: satisfy() looks at what is there and starts what is missing.
 * Events only change states and call it.
 *   - Only the policy is here. supervisor.h names the files that do the work, and says what may be
 * retained.
 *   - A child of httpd has a copy of all this. Nothing here may act in one: is_parent().
 */
#include "supervisor/supervisor.h"

#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#define RETAINED_KEY WSGID_RETAINED("supervisor")
#define LAYOUT_KEY   "mod_wsgid" /* the same in every version, with LAYOUT_ROOM bytes of text */
#define LAYOUT_ROOM  64

typedef struct {
    pid_t parent;
    apr_uint32_t configuration; /* counts the configurations */
} retained_t;

/* This configuration only, as all static data is: the module is loaded anew on each restart. */
static retained_t *retained;
static apr_pool_t *configuration_pool;
static int stopping;

static int is_parent(void)
{
    return retained && retained->parent == getpid();
}

/* ---- a slot gets what it lacks */

static void on_child(int reason, void *data, int status);

/* predecessor: who serves until then, or NULL. */
static apr_status_t start(wsgid_process_t *process, wsgid_process_t *predecessor, int was_requested)
{
    apr_status_t status = wsgid_launch_process(process, predecessor, retained->configuration);

    if (status == APR_SUCCESS) {
        process->was_requested = was_requested;
        wsgid_process_watch(process, configuration_pool, on_child);
    }
    return status;
}

/* httpd is about to stop or to restart: no moment to start anything. */
static int is_stopping(void)
{
    int state;

    return stopping
           || (ap_mpm_query(AP_MPMQ_MPM_STATE, &state) == APR_SUCCESS && state == AP_MPMQ_STOPPING);
}

static int is_satisfied(const wsgid_process_t *process)
{
    return process->state != WSGID_FREE && process->state != WSGID_LEAVING
           && process->configuration >= process->slot->wanted;
}

static int has_what_is_wanted(const wsgid_kept_slot_t *slot)
{
    int entry;

    for (entry = 0; entry < WSGID_SLOT_PROCESSES; entry++) {
        if (is_satisfied(&slot->process[entry])) {
            return 1;
        }
    }
    return 0;
}

/* Those that sleep or boot for a configuration of the past give way, but for the one that 'stays'.
 */
static void make_way(wsgid_kept_slot_t *slot, const wsgid_process_t *stays)
{
    int entry;

    for (entry = 0; entry < WSGID_SLOT_PROCESSES; entry++) {
        wsgid_process_t *process = &slot->process[entry];
        if (process != stays
            && (process->state == WSGID_WAITING || process->state == WSGID_BOOTING)) {
            wsgid_process_ask_to_leave(process);
        }
    }
}

/* Several restarts within a moment are nothing to tell of. */
#define FULL_PATIENCE apr_time_from_sec(5)

static void note_full(wsgid_kept_slot_t *slot)
{
    apr_time_t now = wsgid_clock_now();

    if (!slot->full) {
        slot->full = now;
    }
    if (!slot->full_logged && now - slot->full > FULL_PATIENCE) {
        slot->full_logged = 1;
        ap_log_error(
            APLOG_MARK, APLOG_WARNING, 0, slot->server,
            "WSGID0067: group '%s' slot %d: all %d places for its "
            "processes are taken by those that finish what they run; its next process starts when one of them has "
            "left: graceful-timeout= or request-timeout= bound how long that takes",
            slot->label, slot->index, WSGID_SLOT_PROCESSES);
    }
}

/* NULL: there is none until a process has left. */
static wsgid_process_t *free_entry(wsgid_kept_slot_t *slot)
{
    wsgid_process_t *free = wsgid_process_youngest(slot, WSGID_IN(FREE));

    if (!free) {
        note_full(slot);
        return NULL;
    }
    slot->full = 0;
    slot->full_logged = 0;
    return free;
}

/* While a process of the group is replaced, the others' wishes wait: one at a time, so that the
 * group goes on serving. */
static int is_being_replaced(wsgid_kept_slot_t *slot)
{
    return wsgid_process_youngest(slot, WSGID_IN(READY))
           && wsgid_process_youngest(slot, WSGID_IN(WAITING) | WSGID_IN(BOOTING));
}

static int is_group_busy(const wsgid_group_t *group)
{
    wsgid_kept_slot_t *slot;

    for (slot = wsgid_slot_list_first(); slot; slot = slot->next) {
        if (slot->group == group && is_being_replaced(slot)) {
            return 1;
        }
    }
    return 0;
}

/* A process that serves may wish for a successor. It says itself why (its log), and when it does so
 * again. */
static void grant_replacement(wsgid_kept_slot_t *slot)
{
    wsgid_process_t *serving = wsgid_process_youngest(slot, WSGID_IN(READY));
    wsgid_process_t *free;

    if (!serving || serving->granted == serving->replacement_requests
        || is_group_busy(slot->group)) {
        return;
    }
    if (serving->change && serving->change == slot->failed_change) {
        serving->granted =
            serving->replacement_requests; /* another process of the group has tried it */
        wsgid_process_tell_failure(serving);
        return;
    }
    free = free_entry(slot);
    if (!free) {
        return;
    }
    slot->delay = 0;
    if (start(free, serving, 1) == APR_SUCCESS) { /* else it wishes on, and it is tried again */
        serving->granted = serving->replacement_requests;
        serving->granted_replacement = serving->replacement_reason;
    }
}

/* Starts what the slot lacks: a process for the current configuration, or one that the present
 * process wishes for, as the successor of the one that serves or, where none does yet, of the one
 * that will first. */
static void satisfy(wsgid_kept_slot_t *slot)
{
    wsgid_process_t *predecessor, *free;

    if (!slot->group || is_stopping() || wsgid_launch_is_pointless(slot)) {
        return;
    }
    wsgid_process_observe(slot);
    if (has_what_is_wanted(slot)) {
        grant_replacement(slot);
        return;
    }
    predecessor = wsgid_process_youngest(slot, WSGID_IN(READY));
    if (!predecessor) {
        predecessor = wsgid_process_eldest(slot, WSGID_IN(BOOTING));
    }
    make_way(slot, predecessor);
    free = free_entry(slot);
    if (free) {
        (void)start(free, predecessor, 0); /* a failure is told, and it is tried again */
    }
}

void wsgid_supervisor_satisfy(void)
{
    wsgid_kept_slot_t *slot;

    for (slot = wsgid_slot_list_first(); slot; slot = slot->next) {
        satisfy(slot);
    }
}

/* ---- a death */

/* What happens next, for the line about a death; was_last: the dead one, whose entry is free, was
 * the youngest. */
static const char *describe_next(apr_pool_t *p, const wsgid_process_t *dead, int was_last)
{
    wsgid_kept_slot_t *slot = dead->slot;
    const wsgid_process_t *serving = wsgid_process_youngest(slot, WSGID_IN(READY));
    const wsgid_process_t *coming = wsgid_process_youngest(slot,
                                                           WSGID_IN(BOOTING) | WSGID_IN(WAITING));

    if (!slot->group) {
        return "its group is no longer configured";
    }
    if (serving && (!was_last || dead->was_requested)) {
        return apr_psprintf(p, "process %" APR_PID_T_FMT " %s", serving->pid,
                            was_last ? "goes on serving" : "has taken its place");
    }
    if (coming && is_satisfied(coming)) {
        return apr_psprintf(p, "process %" APR_PID_T_FMT " is on its way to take its place",
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
                         int was_last)
{
    apr_pool_t *pool;

    apr_pool_create(&pool, configuration_pool);
    wsgid_deaths_report(pool, dead, death, life, describe_next(pool, dead, was_last));
    apr_pool_destroy(pool);
}

/* The successor of one that wished for it and goes on serving, who decides when there is to be
 * another try. */
static int has_failed_before(const wsgid_process_t *dead)
{
    return dead->was_requested && !dead->has_been_ready
           && wsgid_process_youngest(dead->slot, WSGID_IN(READY));
}

/* What could not be loaded in one process need not be tried, and told, in each of the group. */
static void note_failure(wsgid_process_t *serving, wsgid_death_t death)
{
    wsgid_kept_slot_t *slot;

    wsgid_process_tell_failure(serving);
    if (death.code != CLD_EXITED || death.status != WSGID_EXIT_LOAD) {
        return;
    }
    for (slot = wsgid_slot_list_first(); slot; slot = slot->next) {
        if (slot->group && slot->group == serving->slot->group) {
            slot->failed_change = serving->change;
        }
    }
}

/* Only if nobody will come: between a death and what follows it (or a restart), requests wait in
 * the backlog. */
static void note_end(const wsgid_kept_slot_t *slot)
{
    if (wsgid_process_none_in(slot) && (!slot->group || stopping)) {
        wsgid_phase_of_kept(slot, WSGID_PHASE_EMPTIED, 0);
    }
}

/* All that follows from a death: the process is reaped, and this is known to nobody else. */
static void handle_exit(wsgid_process_t *process, wsgid_death_t death)
{
    wsgid_kept_slot_t *slot = process->slot;
    wsgid_process_t dead;
    apr_interval_time_t life = wsgid_clock_now() - process->born;
    int was_last;

    wsgid_process_observe(slot);
    was_last = wsgid_process_youngest(slot, WSGID_NOT_FREE) == process;
    dead = *process;
    wsgid_totals_begin(slot->memory);
    wsgid_totals_count_death(slot->memory, wsgid_process_entry(process),
                             wsgid_deaths_reason(&dead, death), death.status);
    wsgid_process_release(process);
    wsgid_totals_end(slot->memory);
    life = life > 0 ? life : 0;
    if (has_failed_before(&dead)) {
        note_failure(wsgid_process_youngest(slot, WSGID_IN(READY)), death);
    }
    else {
        wsgid_backoff_count(slot, &dead, death, life);
    }
    report_death(&dead, death, life, was_last);
    if (slot->released && wsgid_process_none_in(slot)) {
        wsgid_slot_list_free(slot);
        return;
    }
    satisfy(slot);
    note_end(slot);
}

/* httpd is about to end its children (APR_OC_REASON_RESTART): for a restart, or for good? */
static void begin_to_stop(void)
{
    if (!stopping && wsgid_stop_is_coming()) {
        stopping = 1;
        wsgid_stop_announce();
    }
}

/* APR's callback. Unregistering, which happens before the module is unloaded, changes nothing for
 * the process. */
static void on_child(int reason, void *data, int status)
{
    wsgid_process_t *process = data;

    if (reason == APR_OC_REASON_UNREGISTER) {
        process->watch = NULL;
    }
    else if (reason == APR_OC_REASON_RESTART && is_parent()) {
        begin_to_stop();
    }
    else if ((reason == APR_OC_REASON_DEATH || reason == APR_OC_REASON_LOST) && is_parent()) {
        handle_exit(process, wsgid_sigchld_death(process->pid, status));
        wsgid_supervisor_satisfy(); /* a fork that failed before may succeed now */
    }
}

void wsgid_supervisor_look(void)
{
    if (!is_parent() || stopping) {
        return;
    }
    wsgid_supervisor_satisfy();
    if (!wsgid_single_process_is_on()) {
        wsgid_wakeup_ensure();
    }
}

/* Deaths that nobody saw, because the module was not loaded at that moment, or because httpd is
 * stopping. */
static void reap(wsgid_process_t *process)
{
    wsgid_death_t unknown = { 0, -1 };
    int status;
    pid_t pid;

    if (process->state == WSGID_FREE) {
        return;
    }
    pid = waitpid(process->pid, &status, WNOHANG);
    if (pid == process->pid) {
        handle_exit(process, wsgid_deaths_of_status(status));
    }
    else if (pid < 0 && errno == ECHILD) {
        handle_exit(process, unknown);
    }
}

/* handle_exit() frees a slot that was released, with the last of its processes. */
static void reap_all_of(wsgid_kept_slot_t *slot)
{
    int left = 0;
    int entry;

    for (entry = 0; entry < WSGID_SLOT_PROCESSES; entry++) {
        left += slot->process[entry].state != WSGID_FREE;
    }
    for (entry = 0; left > 0 && entry < WSGID_SLOT_PROCESSES; entry++) {
        if (slot->process[entry].state != WSGID_FREE) {
            left--;
            reap(&slot->process[entry]);
        }
    }
}

void wsgid_supervisor_reap(void)
{
    wsgid_kept_slot_t *slot;
    wsgid_kept_slot_t *next;

    for (slot = wsgid_slot_list_first(); slot; slot = next) {
        next = slot->next;
        reap_all_of(slot);
    }
}

/* ---- children of httpd come and go */

void wsgid_supervisor_child_status(server_rec *s, ap_generation_t number, mpm_child_status status)
{
    if (!is_parent()) {
        return;
    }
    /* children are only ever started for the current configuration */
    if (status == MPM_CHILD_STARTED) {
        wsgid_generations_started(s->process->pool, number, retained->configuration);
    }
    else if (status == MPM_CHILD_EXITED && wsgid_generations_exited(number)) {
        wsgid_slot_list_release_unused();
    }
}

/* The count of children says the same; but core's own count may come before or after ours. */
void wsgid_supervisor_end_generation(server_rec *s, ap_generation_t number)
{
    (void)s;
    (void)number;
    if (is_parent()) {
        wsgid_slot_list_release_unused();
        wsgid_supervisor_satisfy();
    }
}

/* ---- a configuration begins and ends */

apr_status_t wsgid_supervisor_stop(void *unused)
{
    (void)unused;
    if (!is_parent()) {
        return APR_SUCCESS;
    }
    stopping = 1;
    wsgid_wakeup_end();
    wsgid_stop_processes();
    while (wsgid_slot_list_first()) {
        wsgid_slot_list_free(wsgid_slot_list_first());
    }
    return APR_SUCCESS;
}

/* Cleanup of pconf, before the module is unloaded: afterwards nothing points into it or into pconf.
 * Whatever lives goes on living. */
static apr_status_t let_go(void *data)
{
    server_rec *s = data;

    if (is_parent()) {
        wsgid_sigchld_end();
        wsgid_wakeup_let_go();
        apr_pool_cleanup_kill(s->process->pool, retained, wsgid_supervisor_stop);
        wsgid_slot_list_let_go();
    }
    return APR_SUCCESS;
}

/* Whether another version of this module has run in this httpd, whose processes we know nothing of.
 */
static void tell_of_another_layout(server_rec *s)
{
    char *last = ap_retained_data_get(LAYOUT_KEY);

    if (!last) {
        last = ap_retained_data_create(LAYOUT_KEY, LAYOUT_ROOM);
    }
    else if (strcmp(last, WSGID_LAYOUT)) {
        ap_log_error(
            APLOG_MARK, APLOG_WARNING, 0, s,
            "WSGID0072: this restart has loaded another version of mod_wsgid, which "
            "cannot take over what runs (%s, not %s): new processes are started; the old ones finish what they run and "
            "stay, without requests, until httpd is stopped and started again",
            last, WSGID_LAYOUT);
    }
    apr_cpystrn(last, WSGID_LAYOUT, LAYOUT_ROOM);
}

static void begin_configuration(apr_pool_t *pconf, server_rec *s)
{
    tell_of_another_layout(s);
    retained = ap_retained_data_get(RETAINED_KEY);
    if (!retained) {
        retained = ap_retained_data_create(RETAINED_KEY, sizeof(*retained));
    }
    retained->parent = getpid();
    retained->configuration++;
    configuration_pool = pconf;
    apr_pool_cleanup_register(pconf, s, let_go, apr_pool_cleanup_null);
    /* Before the pools below are gone, so that the logs are open and the module is loaded. let_go()
     * takes it back. */
    apr_pool_pre_cleanup_register(s->process->pool, retained, wsgid_supervisor_stop);
}

static void watch_survivors(void)
{
    wsgid_kept_slot_t *slot;
    int entry;

    for (slot = wsgid_slot_list_first(); slot; slot = slot->next) {
        for (entry = 0; entry < WSGID_SLOT_PROCESSES; entry++) {
            if (slot->process[entry].state != WSGID_FREE && !slot->process[entry].watch) {
                wsgid_process_watch(&slot->process[entry], configuration_pool, on_child);
            }
        }
    }
}

static int count_entries(void)
{
    const wsgid_kept_slot_t *slot;
    int count = 0;

    for (slot = wsgid_slot_list_first(); slot; slot = slot->next) {
        count += WSGID_SLOT_PROCESSES;
    }
    return count;
}

/* Everything is prepared: from now on this process is the parent of daemons. */
static void take_charge(void)
{
    wsgid_sigchld_begin(configuration_pool, count_entries() + 1); /* and the wake-up pipe */
    wsgid_supervisor_reap();
    watch_survivors();
    wsgid_supervisor_satisfy();
    wsgid_slot_list_release_unused();
    if (!wsgid_single_process_is_on()) {
        wsgid_wakeup_begin(configuration_pool);
    }
}

/* httpd -X: another process takes charge. */
static int delegate(server_rec *s)
{
    wsgid_kept_slot_t *slot;
    pid_t keeper;

    for (slot = wsgid_slot_list_first(); slot; slot = slot->next) {
        wsgid_phase_of_kept(slot, WSGID_PHASE_STARTED, 0); /* the keeper may need a moment for it */
    }
    keeper = wsgid_single_process_fork();
    if (keeper < 0) {
        ap_log_error(
            APLOG_MARK, APLOG_CRIT, errno, s,
            "WSGID0059: under httpd -X a second process looks after the "
            "daemons, and it cannot be forked: look at the limits of processes, memory and open files");
        return HTTP_INTERNAL_SERVER_ERROR;
    }
    retained->parent = keeper;
    if (is_parent()) {
        take_charge();
        wsgid_single_process_keep();
    }
    apr_pool_cleanup_register(configuration_pool, retained, wsgid_single_process_dismiss,
                              apr_pool_cleanup_null);
    return OK;
}

int wsgid_supervisor_post_config(apr_pool_t *pconf, apr_pool_t *ptemp, server_rec *s)
{
    apr_status_t status;
    int result;

    begin_configuration(pconf, s);
    result = wsgid_slot_list_prepare(pconf, ptemp, s, retained->configuration);
    if (result != OK) {
        return result;
    }
    status = wsgid_wakeup_open();
    if (status != APR_SUCCESS) {
        ap_log_error(APLOG_MARK, APLOG_CRIT, status, s,
                     "WSGID0068: the pipe by which daemons tell httpd's parent of their "
                     "wishes cannot be made: look at the limit of open files (ulimit -n) of httpd");
        return HTTP_INTERNAL_SERVER_ERROR;
    }
    if (wsgid_single_process_is_on()) {
        return delegate(s);
    }
    take_charge();
    return OK;
}

void wsgid_supervisor_child_init(apr_pool_t *pchild)
{
    if (!retained || is_parent()) {
        return;
    }
    (void)signal(SIGCHLD, SIG_DFL);
    wsgid_slot_list_close_descriptors();
    wsgid_wakeup_close_descriptors();
    if (wsgid_single_process_is_on()) { /* it ends without the cleanups of its outer pools */
        apr_pool_cleanup_register(pchild, retained, wsgid_single_process_dismiss,
                                  apr_pool_cleanup_null);
    }
}
