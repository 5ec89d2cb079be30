/*
 * The shared memory of a slot: who writes what, and what everybody may read.
 *
 * A slot is a place for a daemon process behind a listener of its own. httpd's parent creates a
 * slot and writes its phase and its processes; httpd's children count their requests in it; each
 * daemon writes a statistics page. The memory outlives restarts of httpd.
 *
 * Rules: what a daemon writes is hostile input; the functions here return bounded copies of it.
 * Nothing in this room logs about a group or decides anything: that is for those who use it.
 */
#ifndef WSGID_SLOTS_H
#define WSGID_SLOTS_H

#include "common/process_abi.h"
#include "slots/totals.h"
#include "wsgid.h"

/* The process that serves, its successor, and predecessors that finish what they run, which may
 * take as long as a request does. If all are taken, the next successor waits for one to leave. */
#define WSGID_SLOT_PROCESSES 4

typedef enum {
    WSGID_SLOT_DOWN = 0, /* no process, and none is about to start */
    WSGID_SLOT_WAITING,  /* back-off: no process before next_try */
    WSGID_SLOT_BOOTING,  /* a process is starting: requests may wait in the listener's backlog */
    WSGID_SLOT_READY
} wsgid_slot_state_e;

/* The processes of a slot at one moment, for messages: several while one takes over from another; 0
 * where there is none. */
typedef struct {
    pid_t pid[WSGID_SLOT_PROCESSES];
} wsgid_pids_t;

/*
 * The version of everything that is retained over restarts of httpd, in this room and in the
 * supervisor's. Raise it when such a structure, the statistics page (process_abi.h) or the wire
 * (wire.h) changes: a restart that loads another version of this module must not misread what the
 * old one kept, nor talk to daemons that speak otherwise.
 */
#define WSGID_LAYOUT         "layout-B"
#define WSGID_RETAINED(what) "mod_wsgid." WSGID_LAYOUT "." what

/* ---- for requests, in httpd's children: no locks, no errors */

/* Where to connect. Valid as long as the slot. */
const struct sockaddr_un *wsgid_slots_address(const wsgid_slot_t *slot);
/* What a request may expect now, from the parent's phase and the daemons' pages. READY if any
 * process of the slot is. */
wsgid_slot_state_e wsgid_slots_state(const wsgid_slot_t *slot);
/* When a WAITING slot tries to start a process next, as wsgid_clock_now() counts. */
apr_time_t wsgid_slots_next_try(const wsgid_slot_t *slot);
/* The pids of its processes. */
wsgid_pids_t wsgid_slots_pids(const wsgid_slot_t *slot);
/* Their names in a message: "process 4711", "process 4711 or 4712". */
const char *wsgid_slots_processes(apr_pool_t *p, const wsgid_pids_t *pids);

/* Requests in flight: each child of httpd counts in a row of its own, so that a killed child leaves
 * nothing behind. enter and leave come in pairs, in the same child. */
unsigned wsgid_slots_in_flight(const wsgid_slot_t *slot);
void wsgid_slots_enter(wsgid_slot_t *slot);
void wsgid_slots_leave(wsgid_slot_t *slot);
/* child_init: takes a row for this process. */
void wsgid_slots_claim_row(server_rec *s);
/* child_status hook, in the parent: clears the row of a child that is gone. */
void wsgid_slots_child_status(pid_t pid, mpm_child_status status);

/* ---- for the supervisor, in httpd's parent */

/* Creates a slot's shared memory; the parent and every child that is forked later map it. pool: one
 * that outlives restarts; nothing is registered with it, because httpd unloads this module before
 * it destroys such a pool. So call wsgid_slots_destroy first. Returns the system's error. */
apr_status_t wsgid_slots_create(wsgid_slot_t **slot, apr_pool_t *pool);
void wsgid_slots_destroy(wsgid_slot_t *slot);
/* In a child of httpd: closes the descriptors that only the parent needs. */
void wsgid_slots_close_descriptors(wsgid_slot_t *slot);
void wsgid_slots_set_address(wsgid_slot_t *slot, const struct sockaddr_un *address);
/* The phase that the parent has set; for phase.c alone. Never READY: only the pages say that.
 * next_try as wsgid_clock_now() counts. */
wsgid_slot_state_e wsgid_slots_phase(const wsgid_slot_t *slot);
void wsgid_slots_set_phase(wsgid_slot_t *slot, wsgid_slot_state_e phase, apr_time_t next_try);
/* Clears the page of a process entry for its next process and returns the page's memfd; -1 if the
 * page belongs to a process that lives. */
int wsgid_slots_fresh_page(wsgid_slot_t *slot, int which);
/* Marks the page of an entry as nobody's. */
void wsgid_slots_retire_page(wsgid_slot_t *slot, int which);
/* Notes whose page it is, for messages and the status page. born as wsgid_clock_now() counts. */
void wsgid_slots_set_process(wsgid_slot_t *slot, int which, pid_t pid, apr_time_t born);
/* The scripts that a daemon says it has loaded, const char * each: "callable:/path". What has not
 * that form is left out. */
apr_array_header_t *wsgid_slots_loaded_scripts(const wsgid_slot_t *slot, int which, apr_pool_t *p);
/* What its former processes did, and why they ended; the parent writes it (totals.h). */
wsgid_totals_t *wsgid_slots_totals(const wsgid_slot_t *slot);
/* Copies what the daemon wrote into the head of its page. */
void wsgid_slots_read_page(const wsgid_slot_t *slot, int which, wsgid_page_t *copy);

/* ---- for the status page, in httpd's children */

/* A process entry as the status page shows it. */
typedef struct {
    int used;
    pid_t pid;
    apr_time_t born; /* as wsgid_clock_now() counts */
    wsgid_page_t page;
} wsgid_process_view_t;

/* Copies the processes and what is left of former ones, at one moment. */
void wsgid_slots_view(const wsgid_slot_t *slot, wsgid_process_view_t entries[WSGID_SLOT_PROCESSES],
                      wsgid_totals_t *totals);
#define WSGID_PAGE_MOST_ROWS ((WSGID_PAGE_SIZE - WSGID_PAGE_ROWS) / WSGID_PAGE_ROW_SIZE)
/* Copies the rows of the first threads, at most `most` of them; returns how many. */
int wsgid_slots_copy_rows(const wsgid_slot_t *slot, int entry, wsgid_page_row_t *rows, int most);

#endif
