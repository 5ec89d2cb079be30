/*
 * httpd's parent: forks a guardian for each daemon group, and watches it.
 *
 * Rules:
 *
 *   - At a restart, the guardians of the configuration before live on. They are told that there is
 *     a newer one, and end by themselves once no child of httpd can send them requests.
 *   - A guardian of the current configuration that ends is forked again: httpd's other-child
 *     support reports it.
 *   - At the end of httpd all guardians are told to stop, and waited for together, for a limited
 *     time.
 *   - Guardians and children of httpd have a copy of all this, and nothing here may act in one:
 *     is_parent().
 */
#include "guardian/guardian.h"
#include "spawn/spawn.h"

#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "unixd.h"

#define RETAINED_KEY WSGID_RETAINED("parent")
#define LAYOUT_KEY   "mod_wsgid" /* the same in every version, with LAYOUT_ROOM bytes of text */
#define LAYOUT_ROOM  64

#define STOP_MARGIN   apr_time_from_sec(5) /* for a guardian, on top of its shutdown-timeout */
#define KILL_MARGIN   apr_time_from_sec(1)
#define POLL_INTERVAL 5000 /* microseconds, while httpd stops */
/* After so many guardians in a row that have ended sooner, the next one is forked by the monitor
 * hook, not at once. */
#define BRIEF_LIFE apr_time_from_sec(1)
#define BRIEF_MOST 5

typedef struct record_t record_t;
struct record_t {
    record_t *next;
    apr_pool_t *pool; /* of this record, below the process pool */
    const char *door; /* of its transfer.c, */
    const char *ask;  /* and of its spare.c */
    pid_t pid;
    apr_uint32_t configuration;
    apr_interval_time_t shutdown_timeout;
    apr_time_t forked;
    apr_proc_t handle;    /* APR keeps its address */
    apr_pool_t *watch;    /* this configuration only: its registration with APR; NULL: none */
    wsgid_group_t *group; /* this configuration only; NULL: an older configuration's */
};

typedef struct {
    pid_t parent;
    apr_uint32_t configuration; /* the number of the current configuration, from 1 */
    record_t *first;
    apr_uint32_t guardians; /* that have been forked so far */
    int brief;              /* guardians in a row that have ended early */
} retained_parent_t;

/* This configuration only, as all static data is: the module is loaded anew on each restart. */
static retained_parent_t *retained;
static apr_pool_t *configuration_pool;
static apr_pool_t *process_pool;
static int stopping;
static struct sigaction before; /* of SIGCHLD */
static int is_watching;

static int is_parent(void)
{
    return retained && retained->parent == getpid();
}

/* ---- records */

static record_t *add_record(wsgid_group_t *group)
{
    apr_pool_t *pool;
    record_t *record;

    apr_pool_create(&pool, process_pool);
    record = apr_pcalloc(pool, sizeof(*record));
    record->pool = pool;
    record->configuration = retained->configuration;
    record->shutdown_timeout = WSGID_NUMBER(group, SHUTDOWN_TIMEOUT);
    record->forked = wsgid_clock_now();
    record->group = group;
    record->next = retained->first;
    retained->first = record;
    return record;
}

static void unwatch(record_t *record)
{
    if (record->watch) {
        apr_pool_destroy(record->watch);
    }
    record->watch = NULL;
}

static void remove_record(record_t *record)
{
    record_t **link;

    unwatch(record);
    (void)unlink(record->door); /* they may be gone already */
    (void)unlink(record->ask);
    for (link = &retained->first; *link; link = &(*link)->next) {
        if (*link == record) {
            *link = record->next;
            break;
        }
    }
    apr_pool_destroy(record->pool);
}

static const record_t *find_guardian(const wsgid_group_t *group)
{
    const record_t *record;

    for (record = retained->first; record; record = record->next) {
        if (record->group == group) {
            return record;
        }
    }
    return NULL;
}

/* ---- forking and watching */

static void on_guardian(int reason, void *data, int status);

/* A pool of its own, so that guardians that come and go leave nothing in pconf. */
static void watch(record_t *record)
{
    apr_pool_create(&record->watch, configuration_pool);
    memset(&record->handle, 0, sizeof(record->handle));
    record->handle.pid = record->pid;
    apr_proc_other_child_register(&record->handle, on_guardian, record, NULL, record->watch);
}

/* What keeps one from being forked keeps others, too: one line a minute. */
#define FORK_LINE apr_time_from_sec(60)

static void log_fork_failure(const wsgid_group_t *group, int error)
{
    static apr_time_t next_line;
    apr_time_t now = wsgid_clock_now();

    if (now >= next_line) {
        next_line = now + FORK_LINE;
        ap_log_error(APLOG_MARK, APLOG_CRIT, error, group->server,
                     "WSGID0079: group '%s': cannot fork its guardian, the process that starts its "
                     "daemons: raise httpd's limits of processes and memory (ulimit -u, TasksMax= "
                     "of its service); the next attempt is within about ten seconds",
                     group->label);
    }
}

static void fork_guardian(wsgid_group_t *group)
{
    wsgid_guardian_t guardian = { group, retained->configuration, ++retained->guardians, getpid() };
    record_t *record;
    pid_t pid;

    wsgid_slot_list_share(group, WSGID_SHARE_WITH_GUARDIAN);
    pid = wsgid_spawn_fork(wsgid_guardian_run, &guardian);
    wsgid_slot_list_share(group, WSGID_SHARE_NOTHING);
    if (pid < 0) {
        log_fork_failure(group, errno);
        return;
    }
    record = add_record(group);
    record->pid = pid;
    record->door = wsgid_slot_list_door(record->pool, group, retained->configuration);
    record->ask = apr_pstrdup(record->pool, group->ask_path);
    watch(record);
}

/* Whether httpd is about to stop or to restart: then nothing is started. */
static int is_stopping(void)
{
    int state;

    return stopping
           || (ap_mpm_query(AP_MPMQ_MPM_STATE, &state) == APR_SUCCESS && state == AP_MPMQ_STOPPING);
}

/* The slots of older configurations that no guardian looks after any more. */
static void release_slots(void)
{
    apr_uint32_t oldest = retained->configuration;
    const record_t *record;

    /* A guardian that was killed may have left children of httpd that still use its slots. */
    if (wsgid_child_locks_live_up_to(retained->configuration - 1)) {
        return;
    }
    for (record = retained->first; record; record = record->next) {
        oldest = record->configuration < oldest ? record->configuration : oldest;
    }
    wsgid_slot_list_release_before(oldest);
}

void wsgid_parent_poll(void)
{
    const apr_array_header_t *groups = wsgid_groups_all();
    int is_hidden = 0; /* the memory of all groups */
    int i;

    if (!is_parent() || is_stopping()) {
        return;
    }
    release_slots();
    for (i = 0; groups && i < groups->nelts; i++) {
        wsgid_group_t *group = APR_ARRAY_IDX(groups, i, wsgid_group_t *);

        if (!find_guardian(group)) {
            if (!is_hidden) {
                wsgid_slot_list_share(NULL, WSGID_SHARE_NOTHING);
            }
            is_hidden = 1;
            fork_guardian(group);
        }
    }
    if (is_hidden) {
        wsgid_slot_list_share(NULL, WSGID_SHARE_WITH_CHILDREN);
    }
}

/* status: as APR gives it, the exit code or the signal. */
static void handle_exit(record_t *record, int status)
{
    wsgid_group_t *group = record->group;
    apr_time_t life = wsgid_clock_now() - record->forked;
    int is_late;

    if (group) { /* else it was not needed any more */
        retained->brief = life < BRIEF_LIFE ? retained->brief + 1 : 0;
    }
    is_late = retained->brief > BRIEF_MOST;
    if (group && !is_stopping()) {
        ap_log_error(
            APLOG_MARK, APLOG_ERR, 0, group->server,
            "WSGID0078: group '%s': its guardian, process %" APR_PID_T_FMT
            ", has ended after %.3f s (exit code or signal %d), which only happens if "
            "somebody kills it; its daemons finish their requests and leave, and another one is "
            "forked %s",
            group->label, record->pid, (double)life / APR_USEC_PER_SEC, status,
            is_late ? "within about ten seconds" : "now");
    }
    remove_record(record);
    release_slots();
    if (group && !is_late) {
        wsgid_parent_poll();
    }
}

/* 0, or why one of them could not be signalled. */
static int signal_guardians(int number)
{
    const record_t *record;
    int error = 0;

    for (record = retained->first; record; record = record->next) {
        if (kill(record->pid, number) != 0 && errno != ESRCH) {
            error = errno;
        }
    }
    return error;
}

/* httpd is about to end its children (APR_OC_REASON_RESTART), either to restart or to stop. Those
 * may be waiting for a daemon, so guardians are told at once. */
static void check_for_stop(void)
{
    const ap_unixd_mpm_retained_data *mpm = ap_unixd_mpm_get_retained_data();

    if (stopping || !mpm || !mpm->shutdown_pending) {
        return;
    }
    stopping = 1;
    wsgid_slot_list_end();
    (void)signal_guardians(SIGTERM);
}

/* APR's callback. Unregistering happens before the module is unloaded, and means nothing for the
 * process. After a death APR's record has no process any more, so it is unregistered first. */
static void on_guardian(int reason, void *data, int status)
{
    record_t *record = data;

    if (reason == APR_OC_REASON_UNREGISTER) {
        record->watch = NULL;
    }
    else if (!is_parent()) {
        return;
    }
    else if (reason == APR_OC_REASON_RESTART) {
        check_for_stop();
    }
    else if (reason == APR_OC_REASON_DEATH || reason == APR_OC_REASON_LOST) {
        handle_exit(record, status);
    }
}

/* ---- the ends of children, noticed at once */

/* httpd's parent sleeps for a second between two looks at its children. A signal with a handler
 * ends the sleep: then a guardian is forked again at once, and after a graceful restart httpd's new
 * children, too, when the old ones end. The handler has nothing to do. */
static void on_sigchld(int number)
{
    (void)number;
}

static void watch_children(void)
{
    struct sigaction action;

    memset(&action, 0, sizeof(action));
    action.sa_handler = on_sigchld;
    /* SA_RESTART: sleeps end early (signal(7)), but no other call of httpd is interrupted */
    action.sa_flags = SA_NOCLDSTOP | SA_RESTART;
    (void)sigemptyset(&action.sa_mask);
    is_watching = sigaction(SIGCHLD, &action, &before) == 0;
}

/* The handler goes with the module. */
static void unwatch_children(void)
{
    if (is_watching) {
        (void)sigaction(SIGCHLD, &before, NULL);
    }
    is_watching = 0;
}

/* ---- a configuration begins */

/* Guardians that have ended while the module was not loaded. */
static void reap_guardians(void)
{
    record_t *record;
    record_t *next;

    for (record = retained->first; record; record = next) {
        pid_t pid = waitpid(record->pid, NULL, WNOHANG);

        next = record->next;
        if (pid == record->pid || (pid < 0 && errno == ECHILD)) {
            remove_record(record);
        }
    }
}

static void watch_guardians(void)
{
    record_t *record;

    reap_guardians();
    for (record = retained->first; record; record = record->next) {
        watch(record);
    }
}

/* Tells the older guardians and the new ones that this configuration begins: they sleep until
 * then. Thousands that looked for it now and then would keep the processors from this process. */
static void wake_guardians(void)
{
    record_t *record;

    for (record = retained->first; record; record = record->next) {
        (void)kill(record->pid, WSGID_SIGNAL_SUPERSEDED);
    }
}

/* Before any guardian has said so: requests may wait in the backlog. */
static void expect_starts(void)
{
    wsgid_slot_record_t *slot;

    for (slot = wsgid_slot_list_first(); slot; slot = slot->next) {
        if (slot->group && wsgid_slot_list_is_wanted(slot)) {
            wsgid_slot_list_set_phase(slot, WSGID_SLOT_BOOTING, 0);
        }
        else if (slot->group && wsgid_slot_list_is_idle(slot)) {
            wsgid_slot_list_set_phase(slot, WSGID_SLOT_IDLE, 0);
        }
    }
}

/* ---- a configuration ends */

static int are_guardians_left(void)
{
    reap_guardians();
    return retained->first != NULL;
}

/* Waits for all guardians together, but not for ever. */
static void wait_for_guardians(apr_interval_time_t limit)
{
    apr_time_t end = wsgid_clock_now() + limit;

    while (are_guardians_left() && wsgid_clock_now() < end) {
        apr_sleep(POLL_INTERVAL);
    }
}

static apr_interval_time_t longest_shutdown(void)
{
    apr_interval_time_t longest = 0;
    const record_t *record;

    for (record = retained->first; record; record = record->next) {
        longest = record->shutdown_timeout > longest ? record->shutdown_timeout : longest;
    }
    return longest;
}

/* The end of httpd, as a pool's cleanup: leaves no process and no socket. */
static apr_status_t stop(void *unused)
{
    (void)unused;
    if (!is_parent()) {
        return APR_SUCCESS;
    }
    stopping = 1;
    wsgid_slot_list_end();
    if (signal_guardians(SIGTERM) == EPERM) {
        return APR_SUCCESS; /* httpd -X: this process is httpd's User. Guardians see its end */
    }
    wait_for_guardians(longest_shutdown() + STOP_MARGIN);
    (void)signal_guardians(SIGKILL);
    wait_for_guardians(KILL_MARGIN);
    wsgid_slot_list_free_spare();
    while (wsgid_slot_list_first()) {
        wsgid_slot_list_free(wsgid_slot_list_first());
    }
    wsgid_socket_directory_remove_all();
    return APR_SUCCESS;
}

/* Cleanup of pconf, before the module is unloaded: clears all pointers into it and into pconf.
 * Guardians and slots live on. */
static apr_status_t detach(void *unused)
{
    record_t *record;

    (void)unused;
    if (!is_parent()) {
        return APR_SUCCESS;
    }
    apr_pool_cleanup_kill(process_pool, retained, stop);
    unwatch_children();
    wsgid_slot_list_detach();
    for (record = retained->first; record; record = record->next) {
        unwatch(record);
        record->group = NULL;
    }
    return APR_SUCCESS;
}

/* Warns if another version of this module has run in this httpd: we do not know its processes. */
static void check_layout(server_rec *s)
{
    char *last = wsgid_retained_find(LAYOUT_KEY, LAYOUT_ROOM);

    if (*last && strcmp(last, WSGID_LAYOUT)) {
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
    retained = wsgid_retained_find(RETAINED_KEY, sizeof(*retained));
    retained->parent = getpid();
    retained->configuration++;
    configuration_pool = pconf;
    process_pool = s->process->pool;
    apr_pool_cleanup_register(pconf, NULL, detach, apr_pool_cleanup_null);
    /* A pre-cleanup, so that it runs while the logs are open and the module is loaded. detach()
     * removes it. */
    apr_pool_pre_cleanup_register(process_pool, retained, stop);
}

/* Process 1 of a container inherits every process whose parent has ended. If a guardian is killed,
 * httpd would take the exit codes of its daemons for those of its own children. */
static void warn_process_1(server_rec *s)
{
    if (getpid() == 1) {
        ap_log_error(
            APLOG_MARK, APLOG_WARNING, 0, s,
            "WSGID0064: httpd is process 1, so it inherits processes that it does not know, "
            "and may end because of their exit codes: start the container with an init "
            "(docker run --init)");
    }
}

static void close_outputs(void)
{
    const apr_array_header_t *groups = wsgid_groups_all();
    int i;

    for (i = 0; groups && i < groups->nelts; i++) {
        wsgid_output_close(APR_ARRAY_IDX(groups, i, wsgid_group_t *));
    }
}

int wsgid_parent_post_config(apr_pool_t *pconf, apr_pool_t *ptemp, server_rec *s)
{
    apr_status_t status;
    int result;

    begin_configuration(pconf, s);
    warn_process_1(s);
    status = wsgid_child_locks_open();
    if (status == APR_SUCCESS) {
        status = wsgid_boot_places_open();
    }
    if (status != APR_SUCCESS) {
        ap_log_error(APLOG_MARK, APLOG_CRIT, status, s,
                     "WSGID0074: cannot create the files in memory by which guardians know which "
                     "children of httpd live and how many processes boot: raise httpd's limits of "
                     "open files and memory (ulimit -n, LimitNOFILE= of its service)");
        return HTTP_INTERNAL_SERVER_ERROR;
    }
    result = wsgid_slot_list_prepare(pconf, ptemp, s, retained->configuration);
    if (result != OK) {
        return result;
    }
    watch_children();
    expect_starts();
    watch_guardians();
    release_slots();
    wsgid_parent_poll();
    wsgid_slot_list_announce();
    wake_guardians();
    return OK;
}

void wsgid_parent_child_init(server_rec *s)
{
    apr_status_t status;

    if (!retained) {
        return;
    }
    status = wsgid_child_locks_take(retained->configuration);
    if (status != APR_SUCCESS) {
        ap_log_error(APLOG_MARK, APLOG_ERR, status, s,
                     "WSGID0073: this child of httpd cannot tell guardians that it lives: after a "
                     "graceful restart, or if httpd's parent is killed, the daemons may leave "
                     "before its last requests");
    }
    unwatch_children();
    if (!is_parent()) {                              /* httpd -X has one process, which is both */
        (void)close(wsgid_boot_places_descriptor()); /* only guardians need it */
        close_outputs();
        wsgid_slot_list_enter_child();
    }
}
