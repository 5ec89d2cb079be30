/*
 * Starting a daemon process in a free process entry: its lifeline, its page, the fork, the line in
 * the log. spawn/ does what follows in the forked process.
 */
#include "guardian/guardian.h"
#include "slots/names.h"
#include "spawn/spawn.h"

#include <fcntl.h>
#include <unistd.h>

/* Between two attempts to fork when the system has no more processes or memory. */
#define FORK_RETRY apr_time_from_sec(1)

/* A slot without a free entry is not logged sooner: several restarts in quick succession explain
 * it. */
#define FULL_PATIENCE apr_time_from_sec(5)

static int wakeup = -1; /* write end of this guardian's wake-up pipe */

void wsgid_launch_begin(int write_end)
{
    wakeup = write_end;
}

/* ---- a free entry */

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
        if (slot->processes[i].state == WSGID_STATE_FREE && !wsgid_ledger_owner(slot->shared, i)) {
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

/* ---- the start */

/* The parent's end never blocks: a daemon that has the write end, too, could fill the pipe. */
static apr_status_t make_lifeline(int *read_end, int *write_end)
{
    int ends[2];

    if (pipe2(ends, O_CLOEXEC) != 0) {
        return errno;
    }
    if (fcntl(ends[1], F_SETFL, O_NONBLOCK) != 0) {
        int error = errno;
        (void)close(ends[0]);
        (void)close(ends[1]);
        return error;
    }
    *read_end = ends[0];
    *write_end = ends[1];
    return APR_SUCCESS;
}

static void log_start(const wsgid_process_t *process, const wsgid_process_t *predecessor)
{
    const wsgid_slot_record_t *slot = process->slot;
    char role[48] = "";

    if (predecessor) {
        apr_snprintf(role, sizeof(role), ", to replace process %" APR_PID_T_FMT, predecessor->pid);
    }
    ap_log_error(APLOG_MARK, APLOG_INFO, 0, slot->server,
                 "WSGID0050: group '%s' slot %d: process %" APR_PID_T_FMT " started%s", slot->label,
                 slot->index, process->pid, role);
}

static int is_configured(const wsgid_pool_t *pool, const char *script)
{
    int i;

    for (i = 0; i < pool->scripts->nelts; i++) {
        const wsgid_script_t *known = &APR_ARRAY_IDX(pool->scripts, i, wsgid_script_t);
        apr_size_t length = strlen(known->callable);

        if (!strncmp(script, known->callable, length) && script[length] == ':'
            && !strcmp(script + length + 1, known->path)) {
            return 1;
        }
    }
    return 0;
}

/*
 * The scripts that the predecessor has loaded, and that its successor must be able to load.
 * A daemon's list is believed for a successor of the same configuration. A successor of another
 * configuration, perhaps of another user, loads only those that its configuration names, too.
 */
static const apr_array_header_t *scripts_to_keep(apr_pool_t *p, const wsgid_process_t *predecessor,
                                                 apr_uint32_t configuration)
{
    const wsgid_slot_record_t *slot;
    apr_array_header_t *loaded;
    apr_array_header_t *kept = apr_array_make(p, 4, sizeof(const char *));
    int i;

    if (!predecessor || predecessor->state != WSGID_STATE_READY) {
        return kept;
    }
    slot = predecessor->slot;
    loaded = wsgid_pages_loaded_scripts(slot->shared, wsgid_process_entry(predecessor), p);
    for (i = 0; i < loaded->nelts; i++) {
        const char *script = APR_ARRAY_IDX(loaded, i, const char *);
        if (predecessor->configuration == configuration || is_configured(slot->of, script)) {
            APR_ARRAY_PUSH(kept, const char *) = script;
        }
    }
    return kept;
}

/*
 * The write end of the predecessor's lifeline, for a successor. It is opened anew, because the
 * successor runs the application's code: if it shared our file description, it could make our
 * writes block. Without /proc it gets a duplicate. -1 with errno.
 */
static int open_lifeline_for_successor(int write_end)
{
    char path[64];
    int fd;

    apr_snprintf(path, sizeof(path), "/proc/self/fd/%d", write_end);
    fd = open(path, O_WRONLY | O_NONBLOCK | O_CLOEXEC);
    return fd >= 0 ? fd : fcntl(write_end, F_DUPFD_CLOEXEC, 0);
}

/* The phase is set before the fork, because the forked process may be quick to change it. */
static apr_status_t fork_process(wsgid_process_t *process, wsgid_process_t *predecessor,
                                 apr_uint32_t configuration, int lifeline)
{
    wsgid_slot_record_t *slot = process->slot;
    wsgid_start_t start = { .group = slot->group,
                            .pool = slot->of,
                            .label = slot->label,
                            .shared = slot->shared,
                            .slot = slot->index,
                            .entry = wsgid_process_entry(process),
                            .listener = slot->sockets[WSGID_SOCKET_OF_REQUESTS],
                            .lifeline = lifeline,
                            .pages = wsgid_pages_descriptor(slot->shared),
                            .page = wsgid_pages_offset(slot->shared, wsgid_process_entry(process)),
                            .wakeup = wakeup,
                            .control = slot->sockets[WSGID_SOCKET_OF_CONTROL],
                            .output = slot->group->output[1],
                            .predecessor = predecessor && predecessor->lifeline >= 0
                                               ? open_lifeline_for_successor(predecessor->lifeline)
                                               : -1 };
    apr_pool_t *pool;
    apr_status_t status;

    if (predecessor && predecessor->lifeline >= 0 && start.predecessor < 0) {
        return errno;
    }
    apr_pool_create(&pool, slot->pool);
    start.application_group = slot->of->name ? slot->of->name
                                             : wsgid_names_get(slot->of->slots[0], pool);
    start.loaded = scripts_to_keep(pool, predecessor, configuration);
    process->born = wsgid_clock_now();
    wsgid_slot_list_set_phase(slot, WSGID_SLOT_BOOTING, 0);
    status = wsgid_spawn_process(&process->pid, &start, pool);
    apr_pool_destroy(pool);
    if (start.predecessor >= 0) {
        (void)close(start.predecessor);
    }
    return status;
}

static void fail_to_start(wsgid_slot_record_t *slot, apr_status_t status)
{
    int is_known = slot->fork_failed != 0;

    slot->fork_failed = wsgid_clock_now();
    wsgid_slot_list_set_phase(slot, WSGID_SLOT_WAITING, slot->fork_failed + FORK_RETRY);
    if (is_known) {
        return;
    }
    ap_log_error(APLOG_MARK, APLOG_CRIT, status, slot->server,
                 "WSGID0055: group '%s' slot %d: cannot start a process: raise httpd's limits of "
                 "processes, memory and open files (ulimit -a, or the limits of its service); it "
                 "is tried again each second",
                 slot->label, slot->index);
}

static apr_status_t launch_in(wsgid_process_t *process, wsgid_process_t *predecessor)
{
    wsgid_slot_record_t *slot = process->slot;
    apr_uint32_t configuration = wsgid_roles_configuration();
    int entry = wsgid_process_entry(process);
    int lifeline = -1;
    apr_status_t status;

    if (!wsgid_entries_claim(slot->shared, entry, wsgid_roles_owner())) {
        return APR_EBUSY; /* another guardian was faster: the next poll looks again */
    }
    status = make_lifeline(&lifeline, &process->lifeline);
    if (status == APR_SUCCESS) {
        status = fork_process(process, predecessor, configuration, lifeline);
        (void)close(lifeline);
    }
    if (status != APR_SUCCESS) {
        wsgid_process_close_lifeline(process);
        wsgid_entries_release(slot->shared, entry);
        fail_to_start(slot, status);
        return status;
    }
    wsgid_entries_set_process(slot->shared, entry, process->pid, process->born);
    wsgid_ledger_set_process(slot->shared, entry, process->pid,
                             wsgid_orphans_start_time(process->pid));
    process->configuration = configuration;
    process->serial = ++slot->started;
    process->has_been_ready = 0;
    process->replacement_requests = process->requests_handled = 0;
    process->watchdog = process->change = 0;
    process->replacement_reason = process->granted_reason = WSGID_REPLACE_NONE;
    process->is_requested = predecessor != NULL;
    process->draining = 0;
    slot->fork_failed = 0;
    wsgid_process_step(process, WSGID_EVENT_LAUNCHED);
    log_start(process, predecessor);
    return APR_SUCCESS;
}

apr_status_t wsgid_launch_process(wsgid_slot_record_t *slot, wsgid_process_t *predecessor)
{
    wsgid_process_t *free = find_free_entry(slot);
    apr_status_t status = APR_EBUSY;

    if (free
        && !(free->boot_place = wsgid_boot_places_take(wsgid_entries_is_any_ready(slot->shared)))) {
        wsgid_slot_list_set_phase(slot, WSGID_SLOT_BOOTING, 0); /* requests may wait for it */
    }
    else if (free) {
        status = launch_in(free, predecessor);
        if (status != APR_SUCCESS) {
            wsgid_boot_places_give_back(free);
        }
    }
    return status;
}

int wsgid_launch_is_pointless(const wsgid_slot_record_t *slot)
{
    return slot->fork_failed && wsgid_clock_now() < slot->fork_failed + FORK_RETRY;
}
