/*
 * A process of a slot: its state, its lifeline, its entry.
 *
 * The state is changed by one function, wsgid_process_step(), by one table (docs/design.md,
 * "Processes and slots"). What a process does by itself is seen in its page, when there is cause to
 * look.
 */
#include "supervisor/supervisor.h"

#include <signal.h>
#include <unistd.h>

/* ---- the table */

typedef enum {
    IGNORE = 0, /* seen already, or too late to matter */
    MOVE,
    PULL,      /* move, and pull the lifeline */
    IMPOSSIBLE /* a mistake of ours: logged */
} action_e;

typedef struct {
    action_e action;
    wsgid_state_e next;
} transition_t;

#define TO(state) { MOVE, WSGID_##state }
#define LET_GO    { PULL, WSGID_LEAVING }
#define STAY      { IGNORE, WSGID_FREE }
#define NEVER     { IMPOSSIBLE, WSGID_FREE }

/* clang-format off */
static const transition_t transitions[WSGID_STATES][WSGID_EVENTS] = {
    /*                   DELAYED      LAUNCHED     LOADED     DRAINING     REPLACED  UNWANTED  DIED */
    [WSGID_FREE]  = { TO(WAITING), TO(BOOTING), NEVER,     NEVER,       NEVER,    STAY,     NEVER },
    [WSGID_WAITING] = { NEVER,       TO(BOOTING), TO(READY), TO(LEAVING), LET_GO,   LET_GO,   TO(FREE) },
    [WSGID_BOOTING] = { NEVER,       STAY,        TO(READY), TO(LEAVING), LET_GO,   LET_GO,   TO(FREE) },
    [WSGID_READY]   = { NEVER,       STAY,        STAY,      TO(LEAVING), LET_GO,   LET_GO,   TO(FREE) },
    [WSGID_LEAVING] = { NEVER,       STAY,        STAY,      STAY,        STAY,     STAY,     TO(FREE) },
};
/* clang-format on */

static const char *const state_names[WSGID_STATES] = { "free", "waiting", "booting", "ready",
                                                       "leaving" };
static const char *const event_names[WSGID_EVENTS] = { "delayed",  "launched", "loaded", "draining",
                                                       "replaced", "unwanted", "died" };

/* ---- one process */

void wsgid_process_close_lifeline(wsgid_process_t *process)
{
    if (process->lifeline >= 0) {
        (void)close(process->lifeline);
    }
    process->lifeline = -1;
}

/* A reader that has gone must not cost us a SIGPIPE. */
static void write_to_lifeline(const wsgid_process_t *process, char word)
{
    struct sigaction ignore;
    struct sigaction before;
    ssize_t unused;

    if (process->lifeline < 0) {
        return;
    }
    memset(&ignore, 0, sizeof(ignore));
    ignore.sa_handler = SIG_IGN;
    (void)sigaction(SIGPIPE, &ignore, &before);
    unused = write(process->lifeline, &word, 1);
    /* it fails if the reader has gone, or where a daemon has filled the pipe: its own loss */
    (void)unused;
    (void)sigaction(SIGPIPE, &before, NULL);
}

/* A byte, not only end-of-file: a successor may hold the write end too. */
static void close_lifeline_with_byte(wsgid_process_t *process)
{
    write_to_lifeline(process, WSGID_LIFELINE_LEAVE);
    wsgid_process_close_lifeline(process);
}

void wsgid_process_tell_failure(wsgid_process_t *process)
{
    process->granted_replacement = WSGID_REPLACE_NONE;
    write_to_lifeline(process, WSGID_LIFELINE_FAILED);
}

void wsgid_process_step(wsgid_process_t *process, wsgid_event_e event)
{
    const transition_t *transition = &transitions[process->state][event];
    const wsgid_kept_slot_t *slot = process->slot;

    if (transition->action == IGNORE) {
        return;
    }
    if (transition->action == IMPOSSIBLE) {
        ap_log_error(APLOG_MARK, APLOG_ERR, 0, slot->server,
                     "WSGID0054: group '%s' slot %d: process %" APR_PID_T_FMT
                     " is %s and cannot be %s: a mistake in mod_wsgid, please report it",
                     slot->label, slot->index, process->pid, state_names[process->state],
                     event_names[event]);
        return;
    }
    ap_log_error(APLOG_MARK, APLOG_DEBUG, 0, slot->server,
                 "WSGID0053: group '%s' slot %d: process %" APR_PID_T_FMT " was %s, is %s (%s)",
                 slot->label, slot->index, process->pid, state_names[process->state],
                 state_names[transition->next], event_names[event]);
    process->state = transition->next;
    if (transition->action == PULL) {
        close_lifeline_with_byte(process);
    }
}

int wsgid_process_entry(const wsgid_process_t *process)
{
    return (int)(process - process->slot->process);
}

/* Whether 'process' is in one of the states, and beats 'best' so far. */
static int is_better(const wsgid_process_t *process, const wsgid_process_t *best, unsigned states,
                     int youngest)
{
    return (states & (1U << process->state))
           && (!best
               || (youngest ? process->serial > best->serial : process->serial < best->serial));
}

static wsgid_process_t *find_process(wsgid_kept_slot_t *slot, unsigned states, int youngest)
{
    wsgid_process_t *best = NULL;
    int entry;

    for (entry = 0; entry < WSGID_SLOT_PROCESSES; entry++) {
        if (is_better(&slot->process[entry], best, states, youngest)) {
            best = &slot->process[entry];
        }
    }
    return best;
}

wsgid_process_t *wsgid_process_youngest(wsgid_kept_slot_t *slot, unsigned states)
{
    return find_process(slot, states, 1);
}

wsgid_process_t *wsgid_process_eldest(wsgid_kept_slot_t *slot, unsigned states)
{
    return find_process(slot, states, 0);
}

int wsgid_process_none_in(const wsgid_kept_slot_t *slot)
{
    int entry;

    for (entry = 0; entry < WSGID_SLOT_PROCESSES; entry++) {
        if (slot->process[entry].state != WSGID_FREE) {
            return 0;
        }
    }
    return 1;
}

/* What does not serve has nothing to finish: a signal takes it out of a long import. If it is ready
 * this very moment, the signal asks no more than the lifeline does. */
void wsgid_process_ask_to_leave(wsgid_process_t *process)
{
    if (process->state == WSGID_WAITING || process->state == WSGID_BOOTING) {
        (void)kill(process->pid, SIGTERM);
    }
    wsgid_process_step(process, WSGID_UNWANTED);
}

/* ---- catching up */

/* The forked process says when its sleep was over, which a changed script may have ended early; of
 * a short one it says nothing. */
static void observe_wait(wsgid_process_t *process)
{
    apr_time_t woke = wsgid_slots_next_try(process->slot->memory);
    apr_time_t now = wsgid_clock_now();

    if (woke != process->born || now >= process->born) {
        process->born = woke > 0 && woke < now ? woke : now;
        wsgid_slots_set_process(process->slot->memory, wsgid_process_entry(process), process->pid,
                                process->born);
        wsgid_process_step(process, WSGID_LAUNCHED);
    }
}

static void observe_process(wsgid_process_t *process)
{
    wsgid_page_t page;

    if (process->state == WSGID_FREE) {
        return;
    }
    if (process->state == WSGID_WAITING) {
        observe_wait(process);
    }
    wsgid_slots_read_page(process->slot->memory, wsgid_process_entry(process), &page);
    process->watchdog = page.watchdog;
    if (page.state == WSGID_PAGE_BOOTING) {
        return;
    }
    process->has_been_ready = 1;
    process->replacement_requests = page.replacement_requests;
    process->replacement_reason = page.replacement_reason;
    process->change = page.change;
    wsgid_process_step(process, page.state == WSGID_PAGE_READY ? WSGID_LOADED : WSGID_DRAINING);
}

void wsgid_process_observe(wsgid_kept_slot_t *slot)
{
    wsgid_process_t *serving;
    int entry;

    for (entry = 0; entry < WSGID_SLOT_PROCESSES; entry++) {
        observe_process(&slot->process[entry]);
    }
    serving = wsgid_process_youngest(slot, WSGID_IN(READY));
    for (entry = 0; serving && entry < WSGID_SLOT_PROCESSES; entry++) {
        if (slot->process[entry].state != WSGID_FREE
            && slot->process[entry].serial < serving->serial) {
            wsgid_process_step(&slot->process[entry], WSGID_REPLACED);
        }
    }
}

/* ---- from the first to the last */

/* A pool of its own, so that a process that comes and goes leaves nothing in pconf. */
void wsgid_process_watch(wsgid_process_t *process, apr_pool_t *pconf,
                         void (*on_child)(int, void *, int))
{
    apr_pool_create(&process->watch, pconf);
    memset(&process->handle, 0, sizeof(process->handle));
    process->handle.pid = process->pid;
    wsgid_sigchld_watch(process->pid);
    apr_proc_other_child_register(&process->handle, on_child, process, NULL, process->watch);
}

void wsgid_process_unwatch(wsgid_process_t *process)
{
    wsgid_sigchld_forget(process->pid);
    if (process->watch) {
        apr_pool_destroy(process->watch);
    }
    process->watch = NULL;
}

void wsgid_process_release(wsgid_process_t *process)
{
    wsgid_kept_slot_t *slot = process->slot;

    wsgid_process_step(process, WSGID_DIED);
    wsgid_process_unwatch(process);
    wsgid_process_close_lifeline(process);
    process->pid = 0;
    wsgid_slots_retire_page(slot->memory, wsgid_process_entry(process));
}
