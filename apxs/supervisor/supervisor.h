/*
 * What crosses only the files of httpd's parent: supervisor.c (which process runs in which slot)
 * and its helpers. wsgid.h has what the rest of the module may call.
 *
 * Lifetime: httpd unloads this module on every restart, graceful or not, while slots and processes
 * live on. So what is retained (wsgid_kept_slot_t, wsgid_process_t) lives in pools below the
 * process pool and holds no pointer into the module or into pconf, except the fields marked "this
 * configuration only", which are cleared before it is unloaded.
 *
 * All of it belongs to one thread of one process: the parent's. Its children have a copy, and leave
 * it alone.
 */
#ifndef WSGID_SUPERVISOR_H
#define WSGID_SUPERVISOR_H

#include "common/clock.h"
#include "config/groups.h"
#include "slots/listener.h"
#include "slots/slots.h"
#include "wsgid.h"

/* ---- records */

typedef enum {
    WSGID_FREE,
    WSGID_WAITING,
    WSGID_BOOTING,
    WSGID_READY,
    WSGID_LEAVING,
    WSGID_STATES
} wsgid_state_e;

typedef enum {
    WSGID_DELAYED,  /* forked, and to sleep first */
    WSGID_LAUNCHED, /* forked, on its way; or its sleep is over */
    WSGID_LOADED,   /* its page says ready */
    WSGID_DRAINING, /* its page says that it leaves: SIGTERM, or its lifeline was pulled */
    /* its successor is ready; it pulls the lifeline itself, unless it died on the way to it */
    WSGID_REPLACED,
    WSGID_UNWANTED, /* pull its lifeline */
    WSGID_DIED,
    WSGID_EVENTS
} wsgid_event_e;

typedef struct wsgid_kept_slot_t wsgid_kept_slot_t;

/* A process, in a entry of its slot; the entry's number is that of its page. */
typedef struct {
    wsgid_kept_slot_t *slot;
    wsgid_state_e state;
    int has_been_ready;
    pid_t pid;
    int lifeline;                      /* write end, -1 once pulled */
    apr_time_t born;                   /* wsgid_clock_now() when its sleep, if any, was to end */
    unsigned serial;                   /* which of its slot's processes: the later the greater */
    apr_uint32_t configuration;        /* it was started for */
    apr_uint32_t replacement_requests; /* its page says: how often it has wished for a successor, */
    apr_uint32_t granted;              /* and how many of these wishes have been attended to */
    /* its page says: which change of its scripts it wished for; 0: another reason */
    apr_uint64_t change;
    apr_uint64_t watchdog; /* its page says: when its deadlock watchdog ends it; 0: there is none */
    apr_uint32_t replacement_reason; /* its page says: why it wished last, WSGID_REPLACE_... */
    /* why it has, or had, a successor that it wished for; WSGID_REPLACE_NONE: it has none */
    apr_uint32_t granted_replacement;
    int was_requested; /* it is a successor that its predecessor wished for */
    apr_proc_t handle; /* APR keeps its address */
    apr_pool_t *watch; /* this configuration only: goes with it, or before */
} wsgid_process_t;

/* A slot, as the parent keeps it over restarts; memory is what its children see of it. */
struct wsgid_kept_slot_t {
    wsgid_kept_slot_t *next;
    apr_pool_t *pool; /* of this slot, below the process pool */
    const char *name; /* of its group */
    const char *label;
    const char *prefix; /* of its socket */
    const char *path;
    const char *control_path;
    unsigned number; /* N in the socket's name: the same for all slots of a group */
    int index;       /* which of the group's slots */
    int listener;
    int control; /* listener for pywsgid status and the like */
    wsgid_slot_t *memory;
    wsgid_process_t process[WSGID_SLOT_PROCESSES];
    wsgid_group_t *group;   /* this configuration only; NULL: no longer wanted */
    server_rec *server;     /* this configuration only: whose ErrorLog speaks of this slot */
    apr_uint32_t wanted;    /* a process started for this configuration or a later one is wanted */
    apr_uint32_t last_used; /* last configuration that had it */
    unsigned started;       /* processes so far */
    unsigned failures;      /* deaths before ready, in a row */
    unsigned brief;         /* ready but brief lives, in a row */
    apr_interval_time_t delay; /* before the next start */
    apr_time_t fork_failed;    /* wsgid_clock_now() when the last one did; 0: none has */
    apr_interval_time_t shutdown_timeout;
    apr_uint64_t failed_change; /* of scripts of its group: the last one that could not be loaded */
    /* wsgid_clock_now() since when a successor has waited for a entry; 0: none does */
    apr_time_t full;
    int full_logged; /* and the log has been told */
    int released;    /* nobody can send to it any more: freed when its last process has died */
};

/* How a process ended. */
typedef struct {
    int code;   /* CLD_EXITED, CLD_KILLED, CLD_DUMPED; 0 if nobody knows */
    int status; /* exit code, signal; one of the two if nobody knows which */
} wsgid_death_t;

/* ---- supervisor.c: the policy; the first five are for mod_wsgid.c */

/* post_config, after the groups are complete: slots, listeners, processes. OK or an HTTP error,
 * logged. */
int wsgid_supervisor_post_config(apr_pool_t *pconf, apr_pool_t *ptemp, server_rec *s);
/* In the parent: looks at all that daemons say of themselves, and acts on it. For when the wake-up
 * pipe has been rung, and now and then. */
void wsgid_supervisor_look(void);
/* child_init: undoes in a child of httpd what only its parent needs. */
void wsgid_supervisor_child_init(apr_pool_t *pchild);
/* end_generation hook: removed groups may go when nobody can send to them any more. */
void wsgid_supervisor_end_generation(server_rec *s, ap_generation_t generation);
/* child_status hook: which configurations still have children. */
void wsgid_supervisor_child_status(server_rec *s, ap_generation_t generation,
                                   mpm_child_status status);

/* Attends to all deaths that have not been attended to. */
void wsgid_supervisor_reap(void);
/* Starts what is missing. */
void wsgid_supervisor_satisfy(void);
/* The end of httpd, in the parent: no process, no socket is left. A pool's cleanup. */
apr_status_t wsgid_supervisor_stop(void *unused);

/* ---- process.c: the state of a process */

/* The one place where a state changes. */
void wsgid_process_step(wsgid_process_t *process, wsgid_event_e event);
int wsgid_process_entry(const wsgid_process_t *process);
/* Of those in one of these states (a set of bits, 1 << state), who came last; NULL: nobody. */
wsgid_process_t *wsgid_process_youngest(wsgid_kept_slot_t *slot, unsigned states);
wsgid_process_t *wsgid_process_eldest(wsgid_kept_slot_t *slot, unsigned states);
#define WSGID_IN(state) (1U << WSGID_##state)
#define WSGID_NOT_FREE  (~WSGID_IN(FREE))
/* Whether all entries are free. */
int wsgid_process_none_in(const wsgid_kept_slot_t *slot);
/* Catches up with what the slot's processes have done since somebody looked last. */
void wsgid_process_observe(wsgid_kept_slot_t *slot);
void wsgid_process_ask_to_leave(wsgid_process_t *process);
/* Tells it that the successor it wished for could not take over. */
void wsgid_process_tell_failure(wsgid_process_t *process);
/* Lets APR tell of its death, as long as this configuration lives. */
void wsgid_process_watch(wsgid_process_t *process, apr_pool_t *pconf,
                         void (*on_child)(int, void *, int));
void wsgid_process_unwatch(wsgid_process_t *process);
void wsgid_process_close_lifeline(wsgid_process_t *process);
/* It is reaped, or given up: the entry is free. */
void wsgid_process_release(wsgid_process_t *process);

/* ---- launch.c: starting a process */

/* Into a free entry, for a configuration, with the slot's delay; predecessor may be NULL. A
 * failure is logged. */
apr_status_t wsgid_launch_process(wsgid_process_t *process, wsgid_process_t *predecessor,
                                  apr_uint32_t configuration);
/* Whether a fork has failed so lately that there is no use in another. */
int wsgid_launch_is_pointless(const wsgid_kept_slot_t *slot);

/* ---- backoff.c: how long to wait before a start */

#define WSGID_SECONDS_ROOM 32 /* for wsgid_backoff_seconds() */

/* What a death means for the next start of its slot. */
void wsgid_backoff_count(wsgid_kept_slot_t *slot, const wsgid_process_t *process,
                         wsgid_death_t death, apr_interval_time_t life);
/* "started again at once", "next try in 2 s" */
const char *wsgid_backoff_describe(apr_pool_t *p, const wsgid_kept_slot_t *slot);
/* "2", "0.5" */
const char *wsgid_backoff_seconds(char *text, apr_size_t room, apr_interval_time_t interval);

/* ---- sigchld.c: listening of a death at once */

/* Notes how those die that are watched, most of them at a time. */
void wsgid_sigchld_begin(apr_pool_t *pconf, int most);
void wsgid_sigchld_end(void);
void wsgid_sigchld_watch(pid_t pid);
void wsgid_sigchld_forget(pid_t pid);
/* What was noted; or what can be said without, from the status that APR's callback has. */
wsgid_death_t wsgid_sigchld_death(pid_t pid, int status);

/* ---- deaths.c: what a death is called */

/* Whether somebody asked for it: it left, or a signal that asks it to leave came before it could.
 */
int wsgid_deaths_was_polite(wsgid_death_t death);
/* Only the second: a signal that asks it to leave came before it was ready. */
int wsgid_deaths_was_told(wsgid_death_t death);
/* Which of the reasons that the status page knows. */
wsgid_reason_e wsgid_deaths_reason(const wsgid_process_t *process, wsgid_death_t death);
/* status as waitpid() has it. */
wsgid_death_t wsgid_deaths_of_status(int status);
/* One line: who, how long it lived, how it ended, and what comes next. */
void wsgid_deaths_report(apr_pool_t *p, const wsgid_process_t *process, wsgid_death_t death,
                         apr_interval_time_t life, const char *next);

/* ---- slot_list.c: the slots that the parent keeps */

/* The first of all slots, in the order of the configuration; the others by ->next. */
wsgid_kept_slot_t *wsgid_slot_list_first(void);
/* post_config: a slot for each process that is configured. OK or an HTTP error, logged. */
int wsgid_slot_list_prepare(apr_pool_t *pconf, apr_pool_t *ptemp, server_rec *s,
                            apr_uint32_t configuration);
/* Before the module is unloaded: nothing points into it or into pconf any more. */
void wsgid_slot_list_let_go(void);
/* Lets those go that no child of httpd can send to any more. */
void wsgid_slot_list_release_unused(void);
/* Closes the listener, gives the memory back; its processes must be gone. */
void wsgid_slot_list_free(wsgid_kept_slot_t *slot);
/* In a child of httpd: what only the parent needs. */
void wsgid_slot_list_close_descriptors(void);

/* ---- wakeup.c: listening of a daemon's wish at once */

/* The pipe. Retained; before anything is started. */
apr_status_t wsgid_wakeup_open(void);
/* Its write end, for a daemon. -1: there is none. */
int wsgid_wakeup_write_end(void);
/* Its read end, and how to empty one: for the loop of single_process.c, which needs no wakeup. */
int wsgid_wakeup_read_end(void);
void wsgid_wakeup_drain(int read_end);
/* A fresh wakeup for this configuration. */
void wsgid_wakeup_begin(apr_pool_t *pconf);
/* A wakeup, if there is none. */
void wsgid_wakeup_ensure(void);
/* Before the module is unloaded: a wakeup stays, for the case that this was the last configuration.
 */
void wsgid_wakeup_let_go(void);
/* The end of httpd. */
void wsgid_wakeup_end(void);
/* In a child of httpd. */
void wsgid_wakeup_close_descriptors(void);

/* ---- phase.c: a slot without a ready process */

typedef enum {
    WSGID_PHASE_STARTED, /* a process is on its way */
    WSGID_PHASE_DELAYED, /* one that sleeps first, until next_try (as wsgid_clock_now() counts) */
    WSGID_PHASE_WOKEN,   /* and its sleep is over */
    WSGID_PHASE_UNFORKABLE, /* none can be forked; there is another try after next_try */
    WSGID_PHASE_EMPTIED,    /* its last process has died, and none will follow */
    WSGID_PHASE_EVENTS
} wsgid_phase_event_e;

/* A slot and what the log calls it. */
typedef struct {
    wsgid_slot_t *memory;
    server_rec *server;
    const char *label;
    int index;
} wsgid_phase_slot_t;

/* The one place where a phase changes. */
void wsgid_phase_step(const wsgid_phase_slot_t *slot, wsgid_phase_event_e event,
                      apr_time_t next_try);
void wsgid_phase_of_kept(const wsgid_kept_slot_t *slot, wsgid_phase_event_e event,
                         apr_time_t next_try);

/* ---- generations.c: who uses old configurations */

void wsgid_generations_started(apr_pool_t *process_pool, ap_generation_t number,
                               apr_uint32_t configuration);
/* Whether it was the last child of its generation. */
int wsgid_generations_exited(ap_generation_t number);
/* Whether a child of httpd lives that has this configuration or an older one. */
int wsgid_generations_live_up_to(apr_uint32_t configuration);

/* ---- stop.c */

/* Whether httpd is about to end, and not to restart. */
int wsgid_stop_is_coming(void);
/* Tells every process so, before httpd waits for its own children, which may wait for a daemon. */
void wsgid_stop_announce(void);
/* Asks every process to leave, waits, kills what does not within its shutdown-timeout. */
void wsgid_stop_processes(void);
/* waitpid, whatever signals come. */
void wsgid_stop_wait_for(pid_t pid);

/* ---- single_process.c: httpd -X */

int wsgid_single_process_is_on(void);
/* Forks the process that is the daemons' parent in httpd's place. Returns its pid in both, or -1
 * with errno. */
pid_t wsgid_single_process_fork(void);
/* The life of that process. */
void wsgid_single_process_keep(void) __attribute__((noreturn));
/* In httpd: ends it, and waits until it has. A pool's cleanup; more than once is fine. */
apr_status_t wsgid_single_process_dismiss(void *unused);

#endif
