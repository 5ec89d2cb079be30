/*
 * Starting a process in a free entry: its lifeline, its page, the fork, the line in the log.
 */
#include "supervisor/supervisor.h"
#include "spawn/spawn.h"

#include <fcntl.h>
#include <unistd.h>

/* Between two tries to fork when the system has no more processes or memory. */
#define FORK_RETRY apr_time_from_sec(1)
/* So little that a request waits in the backlog, instead of being turned away. */
#define SHORT_DELAY apr_time_from_msec(500)

/* We never wait to write into it: whoever else may write could have filled it. */
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

static void log_start(const wsgid_process_t *process, apr_interval_time_t delay,
                      const wsgid_process_t *predecessor)
{
    const wsgid_kept_slot_t *slot = process->slot;
    char number[WSGID_SECONDS_ROOM];
    char in[48] = "";
    char of[48] = "";

    if (delay > 0) {
        apr_snprintf(in, sizeof(in), ", to begin in %s s",
                     wsgid_backoff_seconds(number, sizeof(number), delay));
    }
    if (predecessor) {
        apr_snprintf(of, sizeof(of), ", successor of process %" APR_PID_T_FMT, predecessor->pid);
    }
    ap_log_error(APLOG_MARK, APLOG_INFO, 0, slot->server,
                 "WSGID0050: group '%s' slot %d: process %" APR_PID_T_FMT " started%s%s",
                 slot->label, slot->index, process->pid, in, of);
}

static int is_configured(const wsgid_group_t *group, const char *script)
{
    int i;

    for (i = 0; i < group->scripts->nelts; i++) {
        const wsgid_script_t *known = &APR_ARRAY_IDX(group->scripts, i, wsgid_script_t);
        apr_size_t length = strlen(known->callable);

        if (!strncmp(script, known->callable, length) && script[length] == ':'
            && !strcmp(script + length + 1, known->path)) {
            return 1;
        }
    }
    return 0;
}

/*
 * The scripts that the predecessor has loaded and its successor must not lose. A daemon's word for
 * what it has loaded is taken for a process like itself; one of another configuration, perhaps
 * another user's, loads only what that names, too.
 */
static const apr_array_header_t *scripts_to_keep(apr_pool_t *p, const wsgid_process_t *predecessor,
                                                 apr_uint32_t configuration)
{
    const wsgid_kept_slot_t *slot;
    apr_array_header_t *loaded;
    apr_array_header_t *kept = apr_array_make(p, 4, sizeof(const char *));
    int i;

    if (!predecessor || predecessor->state != WSGID_READY) {
        return kept;
    }
    slot = predecessor->slot;
    loaded = wsgid_slots_loaded_scripts(slot->memory, wsgid_process_entry(predecessor), p);
    for (i = 0; i < loaded->nelts; i++) {
        const char *script = APR_ARRAY_IDX(loaded, i, const char *);
        if (predecessor->configuration == configuration || is_configured(slot->group, script)) {
            APR_ARRAY_PUSH(kept, const char *) = script;
        }
    }
    return kept;
}

/*
 * The write end of a lifeline for a successor, who runs what the application's user likes: opened
 * anew, because whoever shares our own end could have it wait again. Without /proc that is all that
 * there is. -1: errno.
 */
static int open_lifeline_for_successor(int write_end)
{
    char path[64];
    int fd;

    apr_snprintf(path, sizeof(path), "/proc/self/fd/%d", write_end);
    fd = open(path, O_WRONLY | O_NONBLOCK | O_CLOEXEC);
    return fd >= 0 ? fd : fcntl(write_end, F_DUPFD_CLOEXEC, 0);
}

/* The forked process may be quick, so what is said of the slot is said before. */
static apr_status_t fork_process(wsgid_process_t *process, wsgid_process_t *predecessor,
                                 apr_uint32_t configuration, int page, int lifeline)
{
    wsgid_kept_slot_t *slot = process->slot;
    wsgid_spawn_t spawn = { .group = slot->group,
                            .slot = slot->index,
                            .listener = slot->listener,
                            .lifeline = lifeline,
                            .page = page,
                            .wakeup = wsgid_wakeup_write_end(),
                            .control = slot->control,
                            .predecessor = predecessor && predecessor->lifeline >= 0
                                               ? open_lifeline_for_successor(predecessor->lifeline)
                                               : -1,
                            .delay = slot->delay };
    apr_pool_t *pool;
    apr_status_t status;

    if (predecessor && predecessor->lifeline >= 0 && spawn.predecessor < 0) {
        return errno;
    }
    apr_pool_create(&pool, slot->pool);
    spawn.loaded = scripts_to_keep(pool, predecessor, configuration);
    process->born = wsgid_clock_now() + slot->delay;
    wsgid_phase_of_kept(slot, slot->delay > SHORT_DELAY ? WSGID_PHASE_DELAYED : WSGID_PHASE_STARTED,
                        slot->delay > 0 ? process->born : 0);
    status = wsgid_spawn(&process->pid, &spawn, pool);
    apr_pool_destroy(pool);
    if (spawn.predecessor >= 0) {
        (void)close(spawn.predecessor);
    }
    return status;
}

static void fail_to_start(wsgid_kept_slot_t *slot, apr_status_t status)
{
    slot->fork_failed = wsgid_clock_now();
    wsgid_phase_of_kept(slot, WSGID_PHASE_UNFORKABLE, slot->fork_failed + FORK_RETRY);
    ap_log_error(
        APLOG_MARK, APLOG_CRIT, status, slot->server,
        "WSGID0055: group '%s' slot %d: no process can be "
        "started: look at the limits of processes, memory and open files of httpd; it is tried again "
        "within ten seconds or so",
        slot->label, slot->index);
}

apr_status_t wsgid_launch_process(wsgid_process_t *process, wsgid_process_t *predecessor,
                                  apr_uint32_t configuration)
{
    wsgid_kept_slot_t *slot = process->slot;
    int entry = wsgid_process_entry(process);
    int lifeline = -1;
    int page = wsgid_slots_fresh_page(slot->memory, entry);
    apr_status_t status = page < 0 ? APR_EGENERAL : make_lifeline(&lifeline, &process->lifeline);

    if (status == APR_SUCCESS) {
        status = fork_process(process, predecessor, configuration, page, lifeline);
        (void)close(lifeline);
    }
    if (status != APR_SUCCESS) {
        wsgid_process_close_lifeline(process);
        wsgid_slots_retire_page(slot->memory, entry);
        fail_to_start(slot, status);
        return status;
    }
    wsgid_slots_set_process(slot->memory, entry, process->pid, process->born);
    process->configuration = configuration;
    process->serial = ++slot->started;
    process->has_been_ready = 0;
    process->replacement_requests = process->granted = 0;
    process->watchdog = process->change = 0;
    process->replacement_reason = process->granted_replacement = WSGID_REPLACE_NONE;
    wsgid_process_step(process, slot->delay > 0 ? WSGID_DELAYED : WSGID_LAUNCHED);
    log_start(process, slot->delay, predecessor);
    return APR_SUCCESS;
}

int wsgid_launch_is_pointless(const wsgid_kept_slot_t *slot)
{
    return slot->fork_failed && wsgid_clock_now() < slot->fork_failed + FORK_RETRY;
}
