/*
 * The supervisor: httpd's parent starts, watches and replaces the daemon processes.
 *
 * The first section is for mod_wsgid.c: what httpd's hooks call. The rest is for the files of this
 * folder only: supervisor.c is the policy (which process runs in which slot), the others do the
 * work. supervisor.c uses all others, and no other file uses it: what must call back gets
 * a function pointer.
 *
 * Lifetime: httpd unloads this module at every restart, graceful or not, while slots and processes
 * live on. So what is kept (wsgid_slot_record_t, wsgid_process_t) is in pools below the process
 * pool, and holds no pointer into the module or into pconf, except in fields marked "this
 * configuration only". Those are cleared before the module is unloaded. A change of these
 * structures changes WSGID_LAYOUT (slots/retained.h).
 *
 * All of it belongs to one thread of one process, httpd's parent. The children of httpd inherit
 * a copy and must not use it. Unless a comment says otherwise, a function below is for the parent.
 */
#ifndef WSGID_SUPERVISOR_H
#define WSGID_SUPERVISOR_H

#include "common/clock.h"
#include "config/groups.h"
#include "slots/listener.h"
#include "slots/retained.h"
#include "slots/slots.h"
#include "wsgid.h"

/* ---- supervisor.c, for mod_wsgid.c */

/* post_config, once the groups are complete. Creates slots and listeners, starts processes. OK, or
 * an HTTP error that has been logged. */
int wsgid_supervisor_post_config(apr_pool_t *pconf, apr_pool_t *ptemp, server_rec *s);
/* monitor hook, and whenever a daemon uses the wake-up pipe. Reads what the daemons' statistics
 * pages say, and starts what is missing. */
void wsgid_supervisor_poll(void);
/* child_init, in a child of httpd. Gives up what only the parent needs. */
void wsgid_supervisor_child_init(apr_pool_t *pchild);
/* end_generation hook. Releases groups that nobody can send requests to any more. */
void wsgid_supervisor_end_generation(server_rec *s, ap_generation_t generation);
/* child_status hook. Counts which configurations still have children of httpd. */
void wsgid_supervisor_child_status(server_rec *s, ap_generation_t generation,
                                   mpm_child_status status);

/* ---- records */

typedef enum {
    WSGID_EVENT_DELAYED,  /* forked, and sleeps through its back-off first */
    WSGID_EVENT_LAUNCHED, /* forked without a back-off; or its back-off is over */
    WSGID_EVENT_LOADED,   /* its page says that it is ready */
    WSGID_EVENT_DRAINING, /* its page says that it is leaving */
    WSGID_EVENT_REPLACED, /* its successor is ready (which usually has told it to leave) */
    WSGID_EVENT_UNWANTED, /* nobody needs it any more */
    WSGID_EVENT_DIED,     /* it has been reaped */
    WSGID_EVENTS
} wsgid_event_e;

typedef struct wsgid_slot_record_t wsgid_slot_record_t;

/* A daemon process, in a process entry of its slot. */
typedef struct {
    wsgid_slot_record_t *slot;
    wsgid_state_e state;
    int has_been_ready;
    pid_t pid;
    int lifeline;    /* write end; -1 once closed */
    apr_time_t born; /* wsgid_clock_now() when it was forked and its back-off, if any, was over */
    unsigned serial; /* counts the processes of the slot: a later one has a greater number */
    apr_uint32_t configuration; /* it was started for */
    /* Copied from its page: */
    apr_uint32_t replacement_requests; /* how often it has requested a replacement */
    apr_uint32_t replacement_reason;   /* of the last request, WSGID_REPLACE_... */
    apr_uint64_t change;   /* of its scripts, if that is the reason of the last request; else 0 */
    apr_uint64_t watchdog; /* when its deadlock watchdog ends it; 0: there is none */
    /* How far its requests have been handled: */
    apr_uint32_t requests_handled;
    apr_uint32_t granted_reason; /* why it has a successor; WSGID_REPLACE_NONE: it has none */
    int is_requested;            /* it is the successor that its predecessor requested */
    apr_proc_t handle;           /* APR keeps its address */
    apr_pool_t *watch; /* this configuration only: its registration with APR; NULL: none */
} wsgid_process_t;

/* The parent's record of a slot, kept over restarts. `shared` is the slot as everybody sees it. */
struct wsgid_slot_record_t {
    wsgid_slot_record_t *next;
    apr_pool_t *pool; /* of this slot, below the process pool */
    const char *name; /* of its group */
    const char *label;
    const char *prefix; /* of its sockets */
    const char *path;
    const char *control_path;
    unsigned number; /* in the sockets' names: the same for all slots of a group */
    int index;       /* which of the group's slots */
    int listener;
    int control; /* listener for pywsgid status and the like */
    wsgid_slot_t *shared;
    wsgid_process_t processes[WSGID_SLOT_PROCESSES];
    wsgid_group_t *group;   /* this configuration only; NULL: the slot is no longer wanted */
    server_rec *server;     /* this configuration only: its ErrorLog gets messages on this slot */
    apr_uint32_t wanted;    /* a process must be of this configuration or a later one */
    apr_uint32_t last_used; /* last configuration that had this slot */
    unsigned started;       /* processes so far */
    unsigned failures;      /* processes in a row that ended before they were ready */
    unsigned brief;         /* processes in a row that were ready, but only briefly */
    apr_interval_time_t delay; /* before the next start */
    apr_time_t fork_failed;    /* wsgid_clock_now() of the last failure; 0: the last fork worked */
    apr_interval_time_t shutdown_timeout;
    apr_uint64_t failed_change; /* last change of the group's scripts that could not be loaded */
    apr_time_t full_since; /* wsgid_clock_now() since when a start has waited for a free entry */
    int full_logged;
    int released; /* nobody can send to it any more; freed when its last process has ended */
};

/* How a process ended. */
typedef struct {
    int code;   /* CLD_EXITED, CLD_KILLED, CLD_DUMPED; 0: unknown */
    int status; /* exit code or signal; if code is 0, it is not known which of the two */
} wsgid_death_t;

/* ---- process.c: the state of a process */

/* The only place that changes a state. Logs the change at debug. */
void wsgid_process_step(wsgid_process_t *process, wsgid_event_e event);
/* The number of its process entry. */
int wsgid_process_entry(const wsgid_process_t *process);
/* Of the processes in one of these states, the last or the first that was started; NULL: there is
 * none. states: WSGID_IN(READY) | WSGID_IN(BOOTING). */
wsgid_process_t *wsgid_process_youngest(wsgid_slot_record_t *slot, unsigned states);
wsgid_process_t *wsgid_process_oldest(wsgid_slot_record_t *slot, unsigned states);
#define WSGID_IN(state) (1U << WSGID_STATE_##state)
#define WSGID_NOT_FREE  (~WSGID_IN(FREE))
/* Whether the slot has no process at all. */
int wsgid_process_all_free(const wsgid_slot_record_t *slot);
/* Reads the pages of the slot's processes, and updates their states. */
void wsgid_process_observe(wsgid_slot_record_t *slot);
/* Asks a process to leave; it finishes the requests that it has read. */
void wsgid_process_ask_to_leave(wsgid_process_t *process);
/* Tells a process that the successor it requested cannot take over, so that it goes on serving. */
void wsgid_process_refuse_replacement(wsgid_process_t *process);
/* Has APR call on_child when the process ends, as long as this configuration lives. */
void wsgid_process_watch(wsgid_process_t *process, apr_pool_t *pconf,
                         void (*on_child)(int, void *, int));
void wsgid_process_unwatch(wsgid_process_t *process);
void wsgid_process_close_lifeline(wsgid_process_t *process);
/* The process has been reaped: its entry is free. */
void wsgid_process_release(wsgid_process_t *process);

/* ---- launch.c: starting a process */

/* Starts a process in a free entry, for a configuration, with the slot's delay. predecessor: the
 * process that it will replace, or NULL. A failure is logged. */
apr_status_t wsgid_launch_process(wsgid_process_t *process, wsgid_process_t *predecessor,
                                  apr_uint32_t configuration);
/* Whether a fork failed so recently that another would fail, too. */
int wsgid_launch_is_pointless(const wsgid_slot_record_t *slot);

/* ---- backoff.c: how long a slot waits before its next process */

#define WSGID_SECONDS_ROOM 32 /* for wsgid_backoff_seconds() */

/* Sets the slot's delay after a process has ended. life: how long it lived. */
void wsgid_backoff_count(wsgid_slot_record_t *slot, const wsgid_process_t *process,
                         wsgid_death_t death, apr_interval_time_t life);
/* "started again at once", "next try in 2 s" */
const char *wsgid_backoff_describe(apr_pool_t *p, const wsgid_slot_record_t *slot);
/* "2", "0.5"; returns text. */
const char *wsgid_backoff_seconds(char *text, apr_size_t room, apr_interval_time_t interval);

/* ---- sigchld.c: learning at once that a process has ended, and how */

/* Starts to note how watched processes end, at most `most` at a time. */
void wsgid_sigchld_begin(apr_pool_t *pconf, int most);
void wsgid_sigchld_end(void);
void wsgid_sigchld_watch(pid_t pid);
void wsgid_sigchld_forget(pid_t pid);
/* How a process ended, by its note. Without one, as much as the status says that APR's callback
 * gets. */
wsgid_death_t wsgid_sigchld_death(pid_t pid, int status);
/* Waits until a child has ended, and reaps it. Signals do not interrupt it. */
void wsgid_sigchld_wait_for(pid_t pid);

/* ---- deaths.c: how a death is described */

/* Whether the process did what it was asked to: it left, or a signal that asks it to leave ended it
 * before Python could handle that. */
int wsgid_deaths_is_requested(wsgid_death_t death);
/* Only the second case: it was ended by a signal that asks it to leave. */
int wsgid_deaths_is_by_request_signal(wsgid_death_t death);
/* The reason, as the status page counts it. */
wsgid_reason_e wsgid_deaths_reason(const wsgid_process_t *process, wsgid_death_t death);
/* status: as waitpid() returns it. */
wsgid_death_t wsgid_deaths_of_status(int status);
/* Logs one line: which process, how long it lived, how it ended, and what happens next. */
void wsgid_deaths_report(apr_pool_t *p, const wsgid_process_t *process, wsgid_death_t death,
                         apr_interval_time_t life, const char *next);

/* ---- slot_list.c: the slots that the parent keeps */

/* The first of all slots, in the order of the configuration; the others are in ->next. */
wsgid_slot_record_t *wsgid_slot_list_first(void);
/* post_config. Finds or creates a slot for each process that is configured. OK, or an HTTP error
 * that has been logged. */
int wsgid_slot_list_prepare(apr_pool_t *pconf, apr_pool_t *ptemp, server_rec *s,
                            apr_uint32_t configuration);
/* Changes the phase of a slot (slots/phase.c). */
void wsgid_slot_list_step_phase(const wsgid_slot_record_t *slot, wsgid_phase_event_e event,
                                apr_time_t next_try);
/* Before the module is unloaded: clears all pointers into it and into pconf. */
void wsgid_slot_list_detach(void);
/* Releases the slots that no child of httpd can send to any more. */
void wsgid_slot_list_release_unused(void);
/* Closes the listeners and frees the memory of a slot without processes. */
void wsgid_slot_list_free(wsgid_slot_record_t *slot);
/* In a child of httpd. Closes the descriptors that only the parent needs. */
void wsgid_slot_list_close_descriptors(void);

/* ---- wakeup.c: learning at once that a daemon has something to report */

/* Creates the wake-up pipe, or finds the one that was kept. Before anything is started. */
apr_status_t wsgid_wakeup_open(void);
/* The write end, for daemons; -1: there is none. */
int wsgid_wakeup_write_end(void);
/* The read end, and how to drain it: for single_process.c, which polls the pipe itself. */
int wsgid_wakeup_read_end(void);
void wsgid_wakeup_drain(int read_end);
/* Forks the wake-up process for this configuration. on_wakeup is called, outside of any signal
 * handler, after a daemon has written to the pipe; it must call wsgid_wakeup_ensure. */
void wsgid_wakeup_begin(apr_pool_t *pconf, void (*on_wakeup)(void));
/* Forks the wake-up process, unless there is one. A failure is logged. */
void wsgid_wakeup_ensure(void);
/* Before the module is unloaded. Leaves a process that removes the sockets if httpd ends without
 * another configuration. */
void wsgid_wakeup_detach(void);
/* At the end of httpd. */
void wsgid_wakeup_end(void);
/* In a child of httpd. */
void wsgid_wakeup_close_descriptors(void);

/* ---- generations.c: which configurations are still in use */

/* A child of httpd has been started, for a configuration. */
void wsgid_generations_started(apr_pool_t *process_pool, ap_generation_t number,
                               apr_uint32_t configuration);
/* A child of httpd has ended. Whether it was the last of its generation. */
int wsgid_generations_exited(ap_generation_t number);
/* Whether a child of httpd lives that has this configuration or an older one. */
int wsgid_generations_live_up_to(apr_uint32_t configuration);

/* ---- stop.c: the end of httpd */

/* Whether httpd is about to end, and not to restart. */
int wsgid_stop_is_pending(void);
/* Tells every process so. Call it before httpd waits for its own children, which may be waiting for
 * a daemon. */
void wsgid_stop_announce(void);
/* Asks every process to leave, waits, and kills those that exceed their shutdown-timeout. reap:
 * handles the processes that have ended, and frees their entries. */
void wsgid_stop_processes(void (*reap)(void));

/* ---- single_process.c: httpd -X */

/* Whether httpd runs as one process (-X, ONE_PROCESS), so that a second one has to supervise the
 * daemons. */
int wsgid_single_process_is_on(void);
/* Forks the process that is the daemons' parent in httpd's place. Returns its pid in both
 * processes, or -1 with errno. */
pid_t wsgid_single_process_fork(void);
/* The loop of that process: calls poll whenever something may have happened. Returns when httpd has
 * ended. */
void wsgid_single_process_run(void (*poll)(void));
/* A pool's cleanup, in httpd: ends that process, and waits until it has ended. Calling it again
 * does nothing. */
apr_status_t wsgid_single_process_end(void *unused);

#endif
