/*
 * The policy of httpd's parent: which process runs in which slot, and what happens when one ends.
 *
 * Rules:
 *
 *   - The parent does as little as it can. It sleeps in the MPM's loop. It acts at start, at
 *     a restart, at stop, and when a child ends: a daemon, or the wake-up process (wakeup.c). About
 *     every ten seconds, in httpd's own maintenance, it tries again what could not be started.
 *     A back-off is spent in the forked process; a successor itself tells its predecessor to leave.
 *   - A slot is level-triggered: start_missing() compares what is there with what should be there,
 *     and starts what is missing. Events only change states and call it.
 *   - Only the policy is here. supervisor.h names the files that do the work, and says what may be
 *     kept over restarts.
 *   - A child of httpd has a copy of all this, and nothing here may act in one: is_parent().
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
    apr_uint32_t configuration; /* the number of the current configuration, from 1 */
} retained_parent_t;

/* This configuration only, as all static data is: the module is loaded anew on each restart. */
static retained_parent_t *retained;
static apr_pool_t *configuration_pool;
static int stopping;

static int is_parent(void)
{
    return retained && retained->parent == getpid();
}

/* ---- starting what is missing */

static void on_child(int reason, void *data, int status);

/* predecessor: the process that serves until then, or NULL. */
static apr_status_t start(wsgid_process_t *process, wsgid_process_t *predecessor, int is_requested)
{
    apr_status_t status = wsgid_launch_process(process, predecessor, retained->configuration);

    if (status == APR_SUCCESS) {
        process->is_requested = is_requested;
        wsgid_process_watch(process, configuration_pool, on_child);
    }
    return status;
}

/* Whether httpd is about to stop or to restart: then nothing is started. */
static int is_stopping(void)
{
    int state;

    return stopping
           || (ap_mpm_query(AP_MPMQ_MPM_STATE, &state) == APR_SUCCESS && state == AP_MPMQ_STOPPING);
}

static int is_wanted(const wsgid_process_t *process)
{
    return process->state != WSGID_STATE_FREE && process->state != WSGID_STATE_DRAINING
           && process->configuration >= process->slot->wanted;
}

static int has_wanted_process(const wsgid_slot_record_t *slot)
{
    int i;

    for (i = 0; i < WSGID_SLOT_PROCESSES; i++) {
        if (is_wanted(&slot->processes[i])) {
            return 1;
        }
    }
    return 0;
}

/* Ends the processes that wait or boot for an older configuration, except `keep`. */
static void end_outdated_starts(wsgid_slot_record_t *slot, const wsgid_process_t *keep)
{
    int i;

    for (i = 0; i < WSGID_SLOT_PROCESSES; i++) {
        wsgid_process_t *process = &slot->processes[i];
        if (process != keep
            && (process->state == WSGID_STATE_WAITING || process->state == WSGID_STATE_BOOTING)) {
            wsgid_process_ask_to_leave(process);
        }
    }
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

/* NULL: all entries are full. */
static wsgid_process_t *find_free_entry(wsgid_slot_record_t *slot)
{
    wsgid_process_t *free = wsgid_process_youngest(slot, WSGID_IN(FREE));

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
           && wsgid_process_youngest(slot, WSGID_IN(WAITING) | WSGID_IN(BOOTING));
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

/* Starts a process for the current configuration, or the successor that the current process has
 * requested. The predecessor is the process that serves or, if none does yet, the one that will be
 * ready first. */
static void start_missing(wsgid_slot_record_t *slot)
{
    wsgid_process_t *predecessor, *free;

    if (!slot->group || is_stopping() || wsgid_launch_is_pointless(slot)) {
        return;
    }
    wsgid_process_observe(slot);
    if (has_wanted_process(slot)) {
        grant_replacement(slot);
        return;
    }
    predecessor = wsgid_process_youngest(slot, WSGID_IN(READY));
    if (!predecessor) {
        predecessor = wsgid_process_oldest(slot, WSGID_IN(BOOTING));
    }
    end_outdated_starts(slot, predecessor);
    free = find_free_entry(slot);
    if (free) {
        (void)start(free, predecessor, 0); /* a failure is logged, and the next call tries again */
    }
}

static void start_all_missing(void)
{
    wsgid_slot_record_t *slot;

    for (slot = wsgid_slot_list_first(); slot; slot = slot->next) {
        start_missing(slot);
    }
}

/* ---- when a process has ended */

/* What happens next, for the log. was_youngest: the dead process, whose entry is already free, was
 * the last that the slot had started. */
static const char *describe_next(apr_pool_t *p, const wsgid_process_t *dead, int was_youngest)
{
    wsgid_slot_record_t *slot = dead->slot;
    const wsgid_process_t *serving = wsgid_process_youngest(slot, WSGID_IN(READY));
    const wsgid_process_t *coming = wsgid_process_youngest(slot,
                                                           WSGID_IN(BOOTING) | WSGID_IN(WAITING));

    if (!slot->group) {
        return "its group is no longer configured";
    }
    if (serving && (!was_youngest || dead->is_requested)) {
        return apr_psprintf(p, "process %" APR_PID_T_FMT " %s", serving->pid,
                            was_youngest ? "goes on serving" : "has taken its place");
    }
    if (coming && is_wanted(coming)) {
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
    apr_pool_t *pool;

    apr_pool_create(&pool, configuration_pool);
    wsgid_deaths_report(pool, dead, death, life, describe_next(pool, dead, was_youngest));
    apr_pool_destroy(pool);
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

/* Only if no process will follow. Otherwise requests wait in the backlog for the next one. */
static void note_emptied(const wsgid_slot_record_t *slot)
{
    if (wsgid_process_all_free(slot) && (!slot->group || stopping)) {
        wsgid_slot_list_step_phase(slot, WSGID_PHASE_EMPTIED, 0);
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
    life = life > 0 ? life : 0;
    if (is_failed_successor(&dead)) {
        note_failed_successor(wsgid_process_youngest(slot, WSGID_IN(READY)), death);
    }
    else {
        wsgid_backoff_count(slot, &dead, death, life);
    }
    report_death(&dead, death, life, was_youngest);
    if (slot->released && wsgid_process_all_free(slot)) {
        wsgid_slot_list_free(slot);
        return;
    }
    start_missing(slot);
    note_emptied(slot);
}

/* httpd is about to end its children (APR_OC_REASON_RESTART), either to restart or to stop. */
static void check_for_stop(void)
{
    if (!stopping && wsgid_stop_is_pending()) {
        stopping = 1;
        wsgid_stop_announce();
    }
}

/* APR's callback. Unregistering happens before the module is unloaded, and means nothing for the
 * process. */
static void on_child(int reason, void *data, int status)
{
    wsgid_process_t *process = data;

    if (reason == APR_OC_REASON_UNREGISTER) {
        process->watch = NULL;
    }
    else if (reason == APR_OC_REASON_RESTART && is_parent()) {
        check_for_stop();
    }
    else if ((reason == APR_OC_REASON_DEATH || reason == APR_OC_REASON_LOST) && is_parent()) {
        handle_exit(process, wsgid_sigchld_death(process->pid, status));
        start_all_missing(); /* a fork that failed before may succeed now */
    }
}

void wsgid_supervisor_poll(void)
{
    if (!is_parent() || stopping) {
        return;
    }
    start_all_missing();
    if (!wsgid_single_process_is_on()) {
        wsgid_wakeup_ensure();
    }
}

/* Handles an end that APR has not reported, because the module was not loaded at that moment, or
 * because httpd is stopping. */
static void reap_process(wsgid_process_t *process)
{
    wsgid_death_t unknown = { 0, -1 };
    int status;
    pid_t pid;

    if (process->state == WSGID_STATE_FREE) {
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

/* Counts the processes first: handle_exit() frees a released slot after the last of them. */
static void reap_slot(wsgid_slot_record_t *slot)
{
    int left = 0;
    int i;

    for (i = 0; i < WSGID_SLOT_PROCESSES; i++) {
        left += slot->processes[i].state != WSGID_STATE_FREE;
    }
    for (i = 0; left > 0 && i < WSGID_SLOT_PROCESSES; i++) {
        if (slot->processes[i].state != WSGID_STATE_FREE) {
            left--;
            reap_process(&slot->processes[i]);
        }
    }
}

static void reap_all(void)
{
    wsgid_slot_record_t *slot;
    wsgid_slot_record_t *next;

    for (slot = wsgid_slot_list_first(); slot; slot = next) {
        next = slot->next;
        reap_slot(slot);
    }
}

/* ---- children of httpd come and go */

void wsgid_supervisor_child_status(server_rec *s, ap_generation_t number, mpm_child_status status)
{
    if (!is_parent()) {
        return;
    }
    /* httpd starts children only for the current configuration */
    if (status == MPM_CHILD_STARTED) {
        wsgid_generations_started(s->process->pool, number, retained->configuration);
    }
    else if (status == MPM_CHILD_EXITED && wsgid_generations_exited(number)) {
        wsgid_slot_list_release_unused();
    }
}

/* httpd may call this before or after the child_status hook, so both release. */
void wsgid_supervisor_end_generation(server_rec *s, ap_generation_t number)
{
    (void)s;
    (void)number;
    if (is_parent()) {
        wsgid_slot_list_release_unused();
        start_all_missing();
    }
}

/* ---- a configuration begins and ends */

/* The end of httpd, as a pool's cleanup: leaves no process and no socket. */
static apr_status_t stop(void *unused)
{
    (void)unused;
    if (!is_parent()) {
        return APR_SUCCESS;
    }
    stopping = 1;
    wsgid_wakeup_end();
    wsgid_stop_processes(reap_all);
    while (wsgid_slot_list_first()) {
        wsgid_slot_list_free(wsgid_slot_list_first());
    }
    return APR_SUCCESS;
}

/* Cleanup of pconf, before the module is unloaded: clears all pointers into it and into pconf.
 * Processes and slots live on. */
static apr_status_t detach(void *data)
{
    server_rec *s = data;

    if (is_parent()) {
        wsgid_sigchld_end();
        wsgid_wakeup_detach();
        apr_pool_cleanup_kill(s->process->pool, retained, stop);
        wsgid_slot_list_detach();
    }
    return APR_SUCCESS;
}

/* Warns if another version of this module has run in this httpd: we do not know its processes. */
static void check_layout(server_rec *s)
{
    char *last = ap_retained_data_get(LAYOUT_KEY);

    if (!last) {
        last = ap_retained_data_create(LAYOUT_KEY, LAYOUT_ROOM);
    }
    else if (strcmp(last, WSGID_LAYOUT)) {
        ap_log_error(APLOG_MARK, APLOG_WARNING, 0, s,
                     "WSGID0072: this restart has loaded another version of mod_wsgid, which "
                     "cannot take over the running processes (%s, not %s): new processes start; "
                     "the old ones finish their requests and stay idle until httpd is stopped and "
                     "started again",
                     last, WSGID_LAYOUT);
    }
    apr_cpystrn(last, WSGID_LAYOUT, LAYOUT_ROOM);
}

static void begin_configuration(apr_pool_t *pconf, server_rec *s)
{
    check_layout(s);
    retained = ap_retained_data_get(RETAINED_KEY);
    if (!retained) {
        retained = ap_retained_data_create(RETAINED_KEY, sizeof(*retained));
    }
    retained->parent = getpid();
    retained->configuration++;
    configuration_pool = pconf;
    apr_pool_cleanup_register(pconf, s, detach, apr_pool_cleanup_null);
    /* A pre-cleanup, so that it runs while the logs are open and the module is loaded. detach()
     * removes it. */
    apr_pool_pre_cleanup_register(s->process->pool, retained, stop);
}

/* Has APR report the ends of the processes that were started for earlier configurations. */
static void watch_survivors(void)
{
    wsgid_slot_record_t *slot;
    int i;

    for (slot = wsgid_slot_list_first(); slot; slot = slot->next) {
        for (i = 0; i < WSGID_SLOT_PROCESSES; i++) {
            wsgid_process_t *process = &slot->processes[i];
            if (process->state != WSGID_STATE_FREE && !process->watch) {
                wsgid_process_watch(process, configuration_pool, on_child);
            }
        }
    }
}

static int count_entries(void)
{
    const wsgid_slot_record_t *slot;
    int count = 0;

    for (slot = wsgid_slot_list_first(); slot; slot = slot->next) {
        count += WSGID_SLOT_PROCESSES;
    }
    return count;
}

/* Everything is prepared: from now on this process is the parent of the daemons. */
static void begin_supervision(void)
{
    wsgid_sigchld_begin(configuration_pool, count_entries() + 1); /* and the wake-up process */
    reap_all();
    watch_survivors();
    start_all_missing();
    wsgid_slot_list_release_unused();
    if (!wsgid_single_process_is_on()) {
        wsgid_wakeup_begin(configuration_pool, wsgid_supervisor_poll);
    }
}

static void reap_and_start(void)
{
    reap_all();
    start_all_missing();
}

/* httpd -X: a second process becomes the daemons' parent. */
static int delegate(server_rec *s)
{
    wsgid_slot_record_t *slot;
    pid_t parent;

    for (slot = wsgid_slot_list_first(); slot; slot = slot->next) {
        /* already now, because the second process may take a moment to get there */
        wsgid_slot_list_step_phase(slot, WSGID_PHASE_STARTED, 0);
    }
    parent = wsgid_single_process_fork();
    if (parent < 0) {
        ap_log_error(APLOG_MARK, APLOG_CRIT, errno, s,
                     "WSGID0059: cannot fork the second process that httpd -X needs to supervise "
                     "the daemons: raise the limits of processes, memory and open files "
                     "(ulimit -a)");
        return HTTP_INTERNAL_SERVER_ERROR;
    }
    retained->parent = parent;
    if (is_parent()) {
        begin_supervision();
        wsgid_single_process_run(reap_and_start);
        (void)stop(NULL);
        _exit(0);
    }
    apr_pool_cleanup_register(configuration_pool, retained, wsgid_single_process_end,
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
                     "WSGID0068: cannot create the pipe by which daemons wake up httpd's parent: "
                     "raise httpd's limit of open files (ulimit -n, LimitNOFILE= of its service)");
        return HTTP_INTERNAL_SERVER_ERROR;
    }
    if (wsgid_single_process_is_on()) {
        return delegate(s);
    }
    begin_supervision();
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
    if (wsgid_single_process_is_on()) {
        /* httpd -X ends without the cleanups of its outer pools, so pchild's has to do it */
        apr_pool_cleanup_register(pchild, retained, wsgid_single_process_end,
                                  apr_pool_cleanup_null);
    }
}
