/*
 * Guardians: each daemon group has a process that starts, watches and replaces its daemons.
 *
 * httpd's parent forks a guardian for each group and configuration (parent.c), and does nothing
 * else: so nothing that a daemon does, not even its exit status, reaches httpd. A guardian is
 * a copy of httpd's parent that never returns into httpd. It outlives the configuration that it was
 * forked for as long as children of httpd have that configuration.
 *
 *   parent.c       httpd's parent: forks guardians, watches them, ends them
 *   slot_list.c    the slots that the parent keeps over restarts
 *   boundary.c     the first steps of a guardian: what it gives up of httpd
 *   guardian.c     its event loop
 *   policy.c       which process runs in which slot
 *   scaling.c      how many processes each pool has; elastic.c decides
 *   spare.c        pools for application groups that only requests show
 *   handover.c     what a guardian does with a slot that others have, too: the table
 *   roles.c        what this guardian is to a slot
 *   replacements.c successors that processes request
 *   time_limits.c  processes that take too long
 *   after_death.c  what follows when one has ended
 *   sockets.c      the sockets of slots, and what happens if they are lost
 *   transfer.c     how they go from one guardian to the next
 *   orphans.c      the processes of a guardian that was killed
 *   descendants.c  processes that the application has left behind
 *   launch.c       the start of a process
 *   process.c      its state
 *   deaths.c       its end, in words
 *   backoff.c      how long a slot waits before the next one
 *   boot_places.c  how many processes boot at a time
 *   child_locks.c  whether children of httpd have an older configuration
 *   output.c       what daemons write, into the ErrorLog
 *   log_queue.c    the ErrorLog, for which nobody waits
 *
 * guardian.c uses policy.c, and policy.c the files below it. parent.c uses guardian.c only to fork
 * it.
 *
 * Lifetime: httpd unloads this module at every restart, graceful or not. What the parent keeps (the
 * slots and the list of guardians) is in pools below the process pool, and holds no pointer into
 * the module or into pconf, except in fields marked "this configuration only". A guardian has
 * a copy of everything, so for it nothing is ever unloaded. A change of these structures changes
 * WSGID_LAYOUT (slots/retained.h).
 */
#ifndef WSGID_GUARDIAN_H
#define WSGID_GUARDIAN_H

#include "common/clock.h"
#include "config/pools.h"
#include "guardian/handover.h"
#include "slots/leftovers.h"
#include "slots/listener.h"
#include "slots/retained.h"
#include "slots/slots.h"
#include "slots/socket_directory.h"
#include "wsgid.h"

#include <limits.h>
#include <poll.h>
#include <signal.h>

/* ---- parent.c, for mod_wsgid.c */

/* post_config, once the groups are complete. Creates slots and listeners, forks guardians. OK, or
 * an HTTP error that has been logged. */
int wsgid_parent_post_config(apr_pool_t *pconf, apr_pool_t *ptemp, server_rec *s);
/* monitor hook. Forks the guardians that are missing. */
void wsgid_parent_poll(void);
/* child_init, in a child of httpd. Gives up what only the parent needs. */
void wsgid_parent_child_init(server_rec *s);

/* ---- records */

/* What a guardian is started with. */
typedef struct {
    wsgid_group_t *group;
    apr_uint32_t configuration;
    apr_uint32_t number; /* no other guardian of this httpd has it */
    pid_t parent;
} wsgid_guardian_t;

typedef enum {
    WSGID_EVENT_LAUNCHED, /* forked */
    WSGID_EVENT_LOADED,   /* its page says that it is ready */
    WSGID_EVENT_DRAINING, /* its page says that it is leaving */
    WSGID_EVENT_REPLACED, /* its successor is ready (which usually has told it to leave) */
    WSGID_EVENT_UNWANTED, /* nobody needs it any more */
    WSGID_EVENT_DIED,     /* it has been reaped */
    WSGID_EVENTS
} wsgid_event_e;

typedef struct wsgid_slot_record_t wsgid_slot_record_t;

/* The sockets of a slot: for requests, and for pywsgid status and the like. */
enum { WSGID_SOCKET_OF_REQUESTS, WSGID_SOCKET_OF_CONTROL, WSGID_SOCKETS };

/* A daemon process, in a process entry of its slot. */
typedef struct {
    wsgid_slot_record_t *slot;
    wsgid_state_e state;
    int has_been_ready;
    pid_t pid;
    int lifeline;            /* write end; -1 once closed */
    apr_time_t born;         /* wsgid_clock_now() when it was forked */
    apr_time_t ready;        /* wsgid_clock_now() when it was first seen to be ready */
    apr_time_t draining;     /* wsgid_clock_now() since when it has been leaving */
    int is_orphan;           /* another guardian forked it, which was killed: no child of ours */
    apr_uint64_t start_time; /* of an orphan, as /proc shows it */
    apr_time_t idle;         /* wsgid_clock_now() since when it drains without a request; 0: not */
    int is_killed;           /* SIGKILL has been sent */
    int boot_place;          /* that it has while it boots; 0: none */
    int was_asked;           /* to leave, by us */
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
} wsgid_process_t;

/* How a process ended. */
typedef struct {
    int code;   /* CLD_EXITED, CLD_KILLED, CLD_DUMPED */
    int status; /* exit code or signal */
} wsgid_death_t;

/* A slot, as the parent and guardians know it. The parent keeps it over restarts, and has neither
 * processes nor a back-off. `shared` is the slot as everybody sees it. */
struct wsgid_slot_record_t {
    wsgid_slot_record_t *next;
    apr_pool_t *pool;                          /* of this slot, below the process pool */
    const char *name;                          /* of its group */
    const char *application_group;             /* of its pool; NULL: a spare one */
    const char *label;                         /* of its pool */
    const wsgid_socket_directory_t *directory; /* of its sockets */
    const char *paths[WSGID_SOCKETS];
    unsigned number;            /* in the sockets' names: the same for all slots of a group */
    int index;                  /* which of the pool's slots */
    int place;                  /* in the sockets' names: its own in the group */
    int is_spare;               /* it is this configuration's, and only its guardian has it */
    int sockets[WSGID_SOCKETS]; /* listeners of a guardian; -1: it has none yet */
    ino_t file;                 /* of the socket for requests */
    wsgid_slot_t *shared;
    wsgid_process_t processes[WSGID_SLOT_PROCESSES];
    wsgid_group_t *group;     /* this configuration only; NULL: the slot is no longer wanted */
    wsgid_pool_t *of;         /* this configuration only, of the group */
    server_rec *server;       /* this configuration only: its ErrorLog gets messages on this slot */
    apr_uint32_t last_used;   /* last configuration that had this slot */
    unsigned started;         /* processes so far */
    unsigned failures;        /* processes in a row that ended before they were ready */
    unsigned brief;           /* processes in a row that were ready, but only briefly */
    wsgid_death_t last_death; /* of a process that was ready, and */
    apr_time_t last_died;     /* when, as wsgid_clock_now() counts */
    unsigned alike;           /* deaths like that in a row */
    unsigned unlogged;        /* of these, since the last line about one */
    apr_time_t next_line;     /* wsgid_clock_now() when another one is logged */
    apr_interval_time_t delay;  /* before the next start, */
    apr_time_t next_start;      /* and when that is, as wsgid_clock_now() counts; 0: now */
    void *stamps;               /* of the scripts when the delay began; NULL: there was none yet */
    apr_time_t fork_failed;     /* wsgid_clock_now() of the last failure; 0: the last fork worked */
    apr_uint64_t failed_change; /* last change of the group's scripts that could not be loaded */
    apr_time_t full_since; /* wsgid_clock_now() since when a start has waited for a free entry */
    int full_logged;
    unsigned deaf;        /* processes up to this serial have a listener that has been lost */
    apr_time_t next_look; /* wsgid_clock_now() of the next look at the socket */
    int lost_logged;      /* that it is lost and cannot be created again */
    const char *identity; /* who may have opened its sockets and pages; only for the same again */
};

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
#define WSGID_CURRENT   (WSGID_IN(BOOTING) | WSGID_IN(READY)) /* it serves, or will */
/* Reads the pages of the slot's processes, and updates their states. */
void wsgid_process_observe(wsgid_slot_record_t *slot);
/* replacement=stop-first: no process may start beside another one of its slot. */
int wsgid_process_stops_first(const wsgid_slot_record_t *slot);
/* Asks a process to leave; it finishes the requests that it has read. */
void wsgid_process_ask_to_leave(wsgid_process_t *process);
/* Tells a process that the successor it requested cannot take over, so that it goes on serving. */
void wsgid_process_refuse_replacement(wsgid_process_t *process);
void wsgid_process_close_lifeline(wsgid_process_t *process);
/* The process has been reaped: its entry is free. */
void wsgid_process_release(wsgid_process_t *process);

/* ---- launch.c: starting a process */

/* A guardian begins. write_end: of its wake-up pipe, which daemons inherit. */
void wsgid_launch_begin(int write_end);
/* Starts a process in a free entry. predecessor: the process that has requested it as its
 * successor, or NULL. A failure is logged. */
apr_status_t wsgid_launch_process(wsgid_slot_record_t *slot, wsgid_process_t *predecessor);
/* Whether a fork failed so recently that another would fail, too. */
int wsgid_launch_is_pointless(const wsgid_slot_record_t *slot);

/* ---- backoff.c: how long a slot waits before its next process */

#define WSGID_SECONDS_ROOM 32 /* for wsgid_backoff_seconds() */

/* Sets the slot's delay after a process has ended. */
void wsgid_backoff_count(wsgid_slot_record_t *slot, const wsgid_process_t *process,
                         wsgid_death_t death);
/* The back-off begins: notes how the scripts of the group look. */
void wsgid_backoff_note_scripts(wsgid_slot_record_t *slot);
/* Whether one of them has changed since. */
int wsgid_backoff_scripts_changed(const wsgid_slot_record_t *slot);
/* A delay so short that requests wait in the backlog instead of getting a 503. */
#define WSGID_SHORT_DELAY apr_time_from_msec(500)
/* "started again at once", "next try in 2 s" */
const char *wsgid_backoff_describe(apr_pool_t *p, const wsgid_slot_record_t *slot);
/* "2", "0.5"; returns text. */
const char *wsgid_backoff_seconds(char *text, apr_size_t room, apr_interval_time_t interval);

/* ---- deaths.c: how a death is described */

/* Whether a signal that asks it to leave ended the process, before Python could handle that. */
int wsgid_deaths_is_by_request_signal(wsgid_death_t death);
/* The reason, as the status page counts it. */
wsgid_reason_e wsgid_deaths_reason(const wsgid_process_t *process, wsgid_death_t death);
/* status: as waitpid() returns it. */
wsgid_death_t wsgid_deaths_of_status(int status);
/* Logs one line: which process, how long it lived, how it ended, and what happens next. */
void wsgid_deaths_report(apr_pool_t *p, const wsgid_process_t *process, wsgid_death_t death,
                         apr_interval_time_t life, const char *next);

#define WSGID_CONTROL_BACKLOG 16 /* for pywsgid on the command line: few connect at a time */

/* ---- slot_list.c: the slots that the parent keeps */

/* The first of all slots, in the order of the configuration; the others are in ->next. */
wsgid_slot_record_t *wsgid_slot_list_first(void);
/* post_config. Finds or creates a slot for each process that is configured. OK, or an HTTP error
 * that has been logged. */
int wsgid_slot_list_prepare(apr_pool_t *pconf, apr_pool_t *ptemp, server_rec *s,
                            apr_uint32_t configuration);
/* post_config, at its end. All guardians have been forked: they see that, and those of slots that
 * are not wanted any more see that, too. */
void wsgid_slot_list_announce(void);
/* Whether the slot is to have a process now. If its pool has fewer than before, the guardian
 * removes the slots that are left over. */
int wsgid_slot_list_is_wanted(const wsgid_slot_record_t *slot);
/* Whether it is kept without a process, so that a connection to its listener starts one. */
int wsgid_slot_list_is_idle(const wsgid_slot_record_t *slot);
/* A guardian. Finds or adds the record of a slot of a spare pool; label: of its pool. */
wsgid_slot_record_t *wsgid_slot_list_add_spare(wsgid_pool_t *pool, int index, const char *label);
/* The parent and guardians. What to expect of a slot while none of its processes is ready: never
 * WSGID_SLOT_READY. Logs a change at debug. next_try: as wsgid_clock_now() counts; 0: none. */
void wsgid_slot_list_set_phase(const wsgid_slot_record_t *slot, wsgid_slot_state_e phase,
                               apr_time_t next_try);
/* Before the module is unloaded: clears all pointers into it and into pconf. */
void wsgid_slot_list_detach(void);
/* Releases the memory of spare slots. Children of httpd and guardians have it as long as they need
 * it. */
void wsgid_slot_list_free_spare(void);
/* Releases the slots of older configurations that none since `oldest` has had. */
void wsgid_slot_list_release_before(apr_uint32_t oldest);
/* Removes the sockets and frees the memory of a slot. */
void wsgid_slot_list_free(wsgid_slot_record_t *slot);
/* The path at which the guardian of a group and configuration hands its sockets over. In p. */
const char *wsgid_slot_list_door(apr_pool_t *p, const wsgid_group_t *group,
                                 apr_uint32_t configuration);
/* What processes that the parent forks from now on get of a group's memory; NULL: of all slots. */
void wsgid_slot_list_share(const wsgid_group_t *group, wsgid_share_e share);
/* httpd ends: no configuration has these slots any more. */
void wsgid_slot_list_end(void);
/* In a guardian. Forgets the slots of other groups: thousands would make each of its looks slow. */
void wsgid_slot_list_enter_guardian(const wsgid_group_t *group);
/* In a child of httpd. Gives up what only the parent and guardians need. */
void wsgid_slot_list_enter_child(void);
/* Removes the socket files of a slot, if they are there. */
void wsgid_slot_list_unlink(const wsgid_slot_record_t *slot);
/* A guardian. Removes the socket files of its group, and its own door. */
void wsgid_slot_list_remove_sockets(const wsgid_group_t *group, apr_uint32_t configuration);

/* ---- child_locks.c: whether children of httpd live that have an older configuration */

/* post_config, in the parent. Creates the file of the locks, or finds the one that was kept. */
apr_status_t wsgid_child_locks_open(void);
int wsgid_child_locks_descriptor(void);
/* child_init, in a child of httpd: it lives, and has this configuration. */
apr_status_t wsgid_child_locks_take(apr_uint32_t configuration);
/* A guardian. Whether a child of httpd lives that has this configuration; this or an older one. */
int wsgid_child_locks_live(apr_uint32_t configuration);
int wsgid_child_locks_live_up_to(apr_uint32_t configuration);

/* Sets or removes a lock of this process on a byte of such a file (F_RDLCK, F_WRLCK, F_UNLCK). */
apr_status_t wsgid_child_locks_set(int file, off_t byte, short type);
/* Whether another process has locked one of the bytes. */
int wsgid_child_locks_any(int file, off_t first, off_t count);
/* Creates a file for locks that is kept over restarts, or finds it; its descriptor, or -1. */
apr_status_t wsgid_child_locks_make_file(const char *key, const char *name);
int wsgid_child_locks_file(const char *key);

/* ---- boot_places.c: how many processes boot at a time, over all guardians */

/* post_config, in the parent. */
apr_status_t wsgid_boot_places_open(void);
int wsgid_boot_places_descriptor(void);
/* A guardian. Takes a place for a process that it is about to fork; 0: there is none. is_served:
 * another process serves the slot meanwhile. */
int wsgid_boot_places_take(int is_served);
void wsgid_boot_places_give_back(wsgid_process_t *process);
/* Gives the place back if the process has booted, or takes long; when that is, as wsgid_clock_now()
 * counts; 0: it has none. */
void wsgid_boot_places_review(wsgid_process_t *process);
apr_time_t wsgid_boot_places_end(const wsgid_process_t *process);
/* Around a poll: whoever still needs a place tries again. */
void wsgid_boot_places_begin_poll(void);
void wsgid_boot_places_end_poll(void);
/* When to look for a place again; 0: nobody has missed one. */
apr_time_t wsgid_boot_places_next_try(void);

/* ---- boundary.c: from a fork of httpd's parent to a process of its own */

/* The first steps of a guardian, with all signals blocked: a session of its own, no handler and no
 * descriptor of httpd's but those of its group, a name for ps. Returns the signalfd from which it
 * reads its signals. */
int wsgid_boundary_cross(const wsgid_group_t *group);
/* Sent by httpd's parent: there is a newer configuration. */
#define WSGID_SIGNAL_SUPERSEDED SIGUSR1

/* ---- guardian.c: the event loop of a guardian */

/* In the forked process: never returns. `guardian`: a wsgid_guardian_t. */
void wsgid_guardian_run(void *guardian);

/* ---- log_queue.c: a guardian's ErrorLog, for which nobody waits */

/* The kernel writes as much into a pipe as a whole, or not at all. */
#define WSGID_LOG_QUEUE_LINE PIPE_BUF
#define WSGID_LOG_QUEUE_ENDS 2

/* A guardian begins. From now on logging for this server does not block. p: of this process. */
apr_status_t wsgid_log_queue_begin(server_rec *s, apr_pool_t *p);
/* Whether lines are written as they are; else httpd's function puts the time and so on in front. */
int wsgid_log_queue_is_plain(void);
/* Whether there is room for 512 KB. */
int wsgid_log_queue_has_room(void);
/* Adds a line of less than WSGID_LOG_QUEUE_LINE bytes, for which there is room. Returns the bytes
 * that the log gets. */
apr_size_t wsgid_log_queue_add(const char *line, apr_size_t length, int level);
/* Adds what this process has logged. */
void wsgid_log_queue_poll(void);
/* Writes what the log takes now. */
void wsgid_log_queue_flush(void);
/* What to wait for. */
void wsgid_log_queue_wait_for(struct pollfd ends[WSGID_LOG_QUEUE_ENDS]);
/* The guardian ends. Waits for a log that takes something each second. */
void wsgid_log_queue_end(void);

/* ---- output.c: what daemons write, into the ErrorLog */

#define WSGID_OUTPUT_ENDS (1 + WSGID_LOG_QUEUE_ENDS)

/* post_config, in the parent. The pipe for the output of a group, until p is cleared. The parent
 * has only the read end, to save descriptors. */
apr_status_t wsgid_output_open(apr_pool_t *p, wsgid_group_t *group);
/* In a guardian. Fails without /proc. */
apr_status_t wsgid_output_open_to_write(wsgid_group_t *group);
/* In a child of httpd. */
void wsgid_output_close(wsgid_group_t *group);
/* A guardian begins. */
void wsgid_output_begin(const wsgid_group_t *group);
/* Logs what can be read now, and what has waited. */
void wsgid_output_poll(void);
/* When the next poll is due, as wsgid_clock_now() counts; 0: when an end is ready. */
apr_time_t wsgid_output_next(void);
/* What to wait for besides. */
void wsgid_output_wait_for(struct pollfd ends[WSGID_OUTPUT_ENDS]);
/* A process has ended: logs all that it has written. */
void wsgid_output_drain(void);
/* The guardian ends. */
void wsgid_output_end(void);

/* ---- policy.c: which process runs in which slot */

/* Creates the sockets of the group's slots, or takes them over. */
void wsgid_policy_begin(void);
/* Whether httpd's parent has forked all guardians. */
int wsgid_policy_is_announced(void);
/* Looks at all slots of the group, and starts and ends processes. */
void wsgid_policy_poll(void);
/* When the next poll is due, as wsgid_clock_now() counts; 0: when something happens. */
apr_time_t wsgid_policy_next(void);
/* A child of this process has ended; status: as waitpid() returns it. */
void wsgid_policy_reaped(pid_t pid, int status);
/* httpd ends: no process is started any more, and all leave within their shutdown-timeout. */
void wsgid_policy_stop(void);
/* Whether there is nothing left to do: neither processes nor slots. Processes that cannot be reaped
 * count as gone after a while. */
int wsgid_policy_is_over(void);
/* No process will start in these slots any more. */
void wsgid_policy_say_down(void);

/* ---- roles.c: what this guardian is to a slot */

void wsgid_roles_begin(const wsgid_guardian_t *guardian);
/* The number of its configuration. */
apr_uint32_t wsgid_roles_configuration(void);
/* What it writes into the ledger's entries. */
wsgid_owner_t wsgid_roles_owner(void);
/* httpd ends; wsgid_clock_now() when that was noted, or 0. */
void wsgid_roles_note_stop(void);
apr_time_t wsgid_roles_stop_began(void);
/* httpd's parent has ended. */
void wsgid_roles_note_orphaned(void);
int wsgid_roles_is_orphaned(void);
/* The slots of its group, and the processes in them: the next one after this, or the first after
 * NULL; NULL: there is none. */
wsgid_slot_record_t *wsgid_roles_next_slot(const wsgid_slot_record_t *slot);
wsgid_process_t *wsgid_roles_next_process(wsgid_process_t *process);
/* Whether no newer configuration has the slot. */
int wsgid_roles_is_newest(const wsgid_slot_record_t *slot);
/* Whether nobody can send requests to the slot any more: no child of httpd lives that has
 * a configuration with it. */
int wsgid_roles_is_retired(const wsgid_slot_record_t *slot);
/* The same, whether the slot is to have a process or not. */
int wsgid_roles_is_abandoned(const wsgid_slot_record_t *slot);
/* Whether the current configuration does not have the slot. */
int wsgid_roles_is_removed(const wsgid_slot_record_t *slot);
/* Whether this guardian starts another process in the slot. */
int wsgid_roles_is_followed(const wsgid_slot_record_t *slot);
/* Whether no process will follow: else requests wait in the backlog for the next one, of another
 * guardian if somebody has stopped this one. */
int wsgid_roles_is_down(const wsgid_slot_record_t *slot);
wsgid_role_e wsgid_roles_in(const wsgid_slot_record_t *slot);

/* ---- replacements.c: successors that processes request */

/* Starts the successor that the serving process has requested, if it has. */
void wsgid_replacements_grant(wsgid_slot_record_t *slot);
/* Answers the request of a process, or NULL, that gets no successor from this guardian. */
void wsgid_replacements_refuse(wsgid_process_t *process);
/* Whether it was a requested successor that never became ready, while its predecessor goes on
 * serving. Then the predecessor decides when to try again, and there is no back-off. */
int wsgid_replacements_has_failed(const wsgid_process_t *dead);
/* Tells the predecessor. If one process could not load a change of a script, the others of the
 * group need not try it. */
void wsgid_replacements_note_failure(wsgid_process_t *serving, wsgid_death_t death);

/* ---- time_limits.c: processes that take too long */

/* Kills the process if it takes too long to start or to leave. */
void wsgid_time_limits_enforce(wsgid_process_t *process);
/* When that is, as wsgid_clock_now() counts; 0: never, as far as is known. */
apr_time_t wsgid_time_limits_end(const wsgid_process_t *process);

/* ---- after_death.c: what follows when a process has ended */

/* It has been reaped. */
void wsgid_after_death_handle(wsgid_process_t *process, wsgid_death_t death);

/* ---- orphans.c: the processes of a guardian that was killed */

/* A guardian begins: others see that it lives. */
apr_status_t wsgid_orphans_begin(void);
/* Takes over those of a slot, if this guardian is the newest; and notices when they have ended. */
void wsgid_orphans_poll(wsgid_slot_record_t *slot);
/* Whether it still runs, and its pid is not another's. */
int wsgid_orphans_is_alive(const wsgid_process_t *process);
/* The start time of a process in ticks since the system started; 0: unknown. */
apr_uint64_t wsgid_orphans_start_time(pid_t pid);
/* Of the numbers after the state in /proc/PID/stat, the first or a later one; 0: unknown. */
apr_uint64_t wsgid_orphans_stat(pid_t pid, int which);

/* ---- scaling.c: how many processes each pool has now */

void wsgid_scaling_begin(const wsgid_group_t *group, apr_pool_t *p);
/* Looks at all pools. */
void wsgid_scaling_poll(void);
/* When to look again, as wsgid_clock_now() counts; 0: not by time. */
apr_time_t wsgid_scaling_next(void);
/* Fills in listeners for which to wait, WSGID_SCALING_ENDS of each pool at most; how many. */
#define WSGID_SCALING_ENDS 2
int wsgid_scaling_wait_for(struct pollfd *ends);
/* What an administrator asks: the NUMBER of a pool, or NUMBER LEAST MOST LABEL to set its bounds.
 * The answer is on this pool, or the next one: NUMBER LEAST MOST ROOM WANTED LABEL, and a line
 * feed. Returns its length; 0: there is none. */
#define WSGID_SCALING_TEXT 2048
apr_size_t wsgid_scaling_answer(const char *question, char answer[WSGID_SCALING_TEXT]);
/* From now on the pool shall have so many processes. */
void wsgid_scaling_want(wsgid_pool_t *pool, int wanted);
/* Whether the pool is to be there: it is no spare one, or has an application group. */
int wsgid_scaling_is_in_use(const wsgid_pool_t *pool);
/* A spare pool makes room: its processes leave before another application group gets it. */
void wsgid_scaling_set_leaving(const wsgid_pool_t *pool, int is_leaving);
int wsgid_scaling_is_leaving(const wsgid_pool_t *pool);
/* Whether no request is in flight there; and wsgid_clock_now() when one was, as far as is known. */
int wsgid_scaling_is_unused(const wsgid_pool_t *pool);
apr_time_t wsgid_scaling_used(const wsgid_pool_t *pool);

/* ---- spare.c: pools for application groups that only requests show */

/* p: of this process. */
void wsgid_spare_begin(wsgid_group_t *group, apr_pool_t *p);
void wsgid_spare_poll(void);
/* Can be read when a child of httpd asks; -1: cannot be asked. */
int wsgid_spare_descriptor(void);
void wsgid_spare_answer(void);
/* The guardian ends: removes the sockets of spare pools, which go with it. */
void wsgid_spare_end(void);

/* ---- sockets.c: the sockets of slots */

/* Takes over or creates the slot's sockets, if it has none yet. Once a second: binds them again if
 * they are lost. */
void wsgid_sockets_poll(wsgid_slot_record_t *slot);

/* Removes the slot's sockets: it exists no more. */
void wsgid_sockets_remove(wsgid_slot_record_t *slot);
/* Closes sockets of an older configuration whose names lead to others now: what waits in their
 * backlogs is sent again. */
void wsgid_sockets_close_dead(wsgid_slot_record_t *slot);

/* ---- transfer.c: sockets go from one guardian to the next */

/* A guardian begins; or some sockets had been removed, and perhaps the door, too. */
void wsgid_transfer_open_door(void);
/* Can be read when another guardian or an administrator asks; -1: cannot be asked. */
int wsgid_transfer_descriptor(void);
/* Hands over what has been asked for. advise: answers administrators (wsgid_scaling_answer). */
typedef apr_size_t wsgid_transfer_advise_t(const char *question, char answer[WSGID_SCALING_TEXT]);
void wsgid_transfer_answer(wsgid_transfer_advise_t *advise);
/* Asks the guardians that have processes in the slot for its sockets; waits for two seconds at
 * most, for all slots together. Whether one has answered. */
int wsgid_transfer_take(const wsgid_slot_record_t *slot, int sockets[WSGID_SOCKETS]);

/* ---- descendants.c: processes that the application has left behind */

/* The process that led this session has ended: whatever still has the session shall end. */
void wsgid_descendants_end_session(pid_t session);
/* Signals what has to end; whether that is to be repeated. */
int wsgid_descendants_poll(void);
/* Ends all children of this process: at first asks them. Takes two seconds at most. */
void wsgid_descendants_end(void);

#endif
