/*
 * A daemon process: its state, its lifeline, its process entry.
 *
 * One function changes the state, wsgid_process_step(), by one table (docs/design.md, "Processes
 * and slots"). What a process does by itself is in its statistics page, which
 * wsgid_process_observe() reads when there is a reason to.
 */
#include "guardian/guardian.h"

#include <signal.h>
#include <unistd.h>

/* ---- the table */

typedef enum {
    IGNORE = 0, /* known already, or too late to matter */
    MOVE,
    CLOSE,     /* move, and ask the process to leave: a byte into its lifeline, which is closed */
    IMPOSSIBLE /* an error in mod_wsgid: logged */
} action_e;

typedef struct {
    action_e action;
    wsgid_state_e next;
} process_transition_t;

#define BOOT  { MOVE, WSGID_STATE_BOOTING }
#define READY { MOVE, WSGID_STATE_READY }
#define DRAIN { MOVE, WSGID_STATE_DRAINING }
#define LEAVE { CLOSE, WSGID_STATE_DRAINING }
#define FREE  { MOVE, WSGID_STATE_FREE }
#define STAY  { IGNORE, WSGID_STATE_FREE }
#define NEVER { IMPOSSIBLE, WSGID_STATE_FREE }

/* clang-format off */
static const process_transition_t transitions[WSGID_STATES][WSGID_EVENTS] = {
    /*                         LAUNCHED LOADED DRAINING REPLACED UNWANTED DIED */
    [WSGID_STATE_FREE]     = { BOOT,    NEVER, NEVER,   NEVER,   STAY,    NEVER },
    [WSGID_STATE_BOOTING]  = { NEVER,   READY, DRAIN,   LEAVE,   LEAVE,   FREE },
    [WSGID_STATE_READY]    = { NEVER,   STAY,  DRAIN,   LEAVE,   LEAVE,   FREE },
    [WSGID_STATE_DRAINING] = { NEVER,   STAY,  STAY,    STAY,    STAY,    FREE },
};
/* clang-format on */

static const char *const state_names[WSGID_STATES] = WSGID_STATE_NAMES;
static const char *const event_names[WSGID_EVENTS] = { "launched", "loaded",   "draining",
                                                       "replaced", "unwanted", "died" };

/* ---- one process */

void wsgid_process_close_lifeline(wsgid_process_t *process)
{
    if (process->lifeline >= 0) {
        (void)close(process->lifeline);
    }
    process->lifeline = -1;
}

/* Ignores SIGPIPE meanwhile: the reader may have ended. */
static void write_to_lifeline(const wsgid_process_t *process, char byte)
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
    unused = write(process->lifeline, &byte, 1);
    (void)unused; /* it fails if the daemon has ended, or has filled the pipe itself */
    (void)sigaction(SIGPIPE, &before, NULL);
}

/* The byte is needed: closing alone is no end-of-file while a successor has the write end, too. */
static void send_leave(wsgid_process_t *process)
{
    write_to_lifeline(process, WSGID_LIFELINE_LEAVE);
    wsgid_process_close_lifeline(process);
}

void wsgid_process_refuse_replacement(wsgid_process_t *process)
{
    process->granted_reason = WSGID_REPLACE_NONE;
    write_to_lifeline(process, WSGID_LIFELINE_FAILED);
}

void wsgid_process_step(wsgid_process_t *process, wsgid_event_e event)
{
    const process_transition_t *transition = &transitions[process->state][event];
    const wsgid_slot_record_t *slot = process->slot;

    if (transition->action == IGNORE) {
        return;
    }
    if (transition->action == IMPOSSIBLE) {
        ap_log_error(APLOG_MARK, APLOG_ERR, 0, slot->server,
                     "WSGID0054: group '%s' slot %d: process %" APR_PID_T_FMT
                     " is %s, so it cannot be %s: this is an error in mod_wsgid, please report it",
                     slot->label, slot->index, process->pid, state_names[process->state],
                     event_names[event]);
        return;
    }
    ap_log_error(APLOG_MARK, APLOG_DEBUG, 0, slot->server,
                 "WSGID0053: group '%s' slot %d: process %" APR_PID_T_FMT " was %s, is %s (%s)",
                 slot->label, slot->index, process->pid, state_names[process->state],
                 state_names[transition->next], event_names[event]);
    process->state = transition->next;
    process->was_asked |= transition->action == CLOSE;
    if (process->state == WSGID_STATE_DRAINING) {
        process->draining = wsgid_clock_now();
    }
    if (transition->action == CLOSE) {
        send_leave(process);
    }
}

int wsgid_process_entry(const wsgid_process_t *process)
{
    return (int)(process - process->slot->processes);
}

/* Whether `process` is in one of the states and is a better match than `best`. */
static int is_better(const wsgid_process_t *process, const wsgid_process_t *best, unsigned states,
                     int youngest)
{
    return (states & (1U << process->state))
           && (!best
               || (youngest ? process->serial > best->serial : process->serial < best->serial));
}

static wsgid_process_t *find_process(wsgid_slot_record_t *slot, unsigned states, int youngest)
{
    wsgid_process_t *best = NULL;
    int i;

    for (i = 0; i < WSGID_SLOT_PROCESSES; i++) {
        if (is_better(&slot->processes[i], best, states, youngest)) {
            best = &slot->processes[i];
        }
    }
    return best;
}

wsgid_process_t *wsgid_process_youngest(wsgid_slot_record_t *slot, unsigned states)
{
    return find_process(slot, states, 1);
}

wsgid_process_t *wsgid_process_oldest(wsgid_slot_record_t *slot, unsigned states)
{
    return find_process(slot, states, 0);
}

/* A process that does not serve yet has nothing to finish, and a signal interrupts even a long
 * import. If it becomes ready at this very moment, the signal asks the same as the lifeline. */
int wsgid_process_stops_first(const wsgid_slot_record_t *slot)
{
    return slot->group && !strcmp(WSGID_TEXT(slot->group, REPLACEMENT), "stop-first");
}

void wsgid_process_ask_to_leave(wsgid_process_t *process)
{
    if (process->state == WSGID_STATE_BOOTING) {
        (void)kill(process->pid, SIGTERM);
    }
    wsgid_process_step(process, WSGID_EVENT_UNWANTED);
}

/* ---- what it does by itself */

static void observe_process(wsgid_process_t *process)
{
    wsgid_page_t page;

    if (process->state == WSGID_STATE_FREE || process->is_orphan) {
        return;
    }
    wsgid_pages_read(process->slot->shared, wsgid_process_entry(process), &page);
    process->watchdog = page.watchdog;
    if (page.state == WSGID_STATE_BOOTING) {
        return;
    }
    if (!process->has_been_ready) {
        process->ready = wsgid_clock_now();
    }
    process->has_been_ready = 1;
    process->replacement_requests = page.replacement_requests;
    process->replacement_reason = page.replacement_reason;
    process->change = page.change;
    wsgid_process_step(process,
                       page.state == WSGID_STATE_READY ? WSGID_EVENT_LOADED : WSGID_EVENT_DRAINING);
}

void wsgid_process_observe(wsgid_slot_record_t *slot)
{
    const wsgid_process_t *serving;
    int i;

    for (i = 0; i < WSGID_SLOT_PROCESSES; i++) {
        observe_process(&slot->processes[i]);
    }
    serving = wsgid_process_youngest(slot, WSGID_IN(READY));
    for (i = 0; serving && i < WSGID_SLOT_PROCESSES; i++) {
        wsgid_process_t *process = &slot->processes[i];
        if (process->state != WSGID_STATE_FREE && process->serial < serving->serial) {
            process->was_asked = 1; /* its successor may have told it already */
            wsgid_process_step(process, WSGID_EVENT_REPLACED);
        }
    }
}

/* ---- releasing */

void wsgid_process_release(wsgid_process_t *process)
{
    wsgid_slot_record_t *slot = process->slot;

    wsgid_process_step(process, WSGID_EVENT_DIED);
    wsgid_process_close_lifeline(process);
    process->pid = 0;
    process->idle = 0;
    process->is_orphan = process->is_killed = process->was_asked = 0;
    wsgid_entries_release(slot->shared, wsgid_process_entry(process));
}
