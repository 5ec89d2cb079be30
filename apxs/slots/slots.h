/*
 * A slot, as every process of httpd sees it.
 *
 * A slot is a listening socket with daemon processes behind it. Its shared memory says where it
 * listens, which processes it has, what may be expected of it, and how many requests are in flight.
 * httpd's parent creates it in post_config and destroys it when nobody can use it any more; httpd's
 * children and guardians inherit the mapping. A process of a slot occupies one of
 * its process entries, numbered from 0 to WSGID_SLOT_PROCESSES - 1.
 *
 * Each comment below says who may call: the parent, a guardian, a child of httpd, or anybody.
 * "Anybody" may call from several threads at once; the parent and a guardian have one thread.
 */
#ifndef WSGID_SLOTS_H
#define WSGID_SLOTS_H

#include "common/process_abi.h"
#include "slots/totals.h"
#include "wsgid.h"

/* The process that serves, its successor, and predecessors that finish their requests, which may
 * take as long as a request does. If all entries are full, the next successor has to wait. */
#define WSGID_SLOT_PROCESSES 4

typedef struct wsgid_slot_t wsgid_slot_t;

typedef enum {
    WSGID_SLOT_DOWN = 0, /* there is no process, and none will come */
    WSGID_SLOT_WAITING,  /* back-off: there will be no process before next_try */
    WSGID_SLOT_IDLE,     /* there is no process; a connection to its listener starts one */
    WSGID_SLOT_BOOTING,  /* a process is starting: requests may wait in the listener's backlog */
    WSGID_SLOT_READY     /* a process serves requests */
} wsgid_slot_state_e;

/* ---- slots.c: the slot as a whole */

/* Parent. Creates the shared memory of so many slots of a group, mapped here and in every process
 * forked later. pool: one that is kept over restarts; nothing of the module is registered with it,
 * because httpd unloads the module before that pool goes. Fails if memory or descriptors run out;
 * then nothing is left behind. */
apr_status_t wsgid_slots_create(wsgid_slot_t **slots, int count, apr_pool_t *pool);
/* Parent. Releases a slot; with the last one of those that were created together, their memory. */
void wsgid_slots_destroy(wsgid_slot_t *slot);
typedef enum {
    WSGID_SHARE_WITH_CHILDREN, /* httpd's, and whatever else the parent forks: not the ledger */
    WSGID_SHARE_WITH_GUARDIAN, /* everything */
    WSGID_SHARE_NOTHING /* with the guardians of other groups, whose forks it would slow down */
} wsgid_share_e;
/* Parent. What processes that it forks from now on get of the slot's memory; at first as children
 * do. */
void wsgid_slots_share(wsgid_slot_t *slot, wsgid_share_e share_with);
/* A child of httpd. Gives up what only the parent and guardians need. */
void wsgid_slots_enter_child(wsgid_slot_t *slot);

/* Parent. Which of its group's slots it is, and where it listens. */
void wsgid_slots_set_name(wsgid_slot_t *slot, int number, const struct sockaddr_un *address);
/* Anybody. The address is valid as long as the slot. */
int wsgid_slots_number(const wsgid_slot_t *slot);
const struct sockaddr_un *wsgid_slots_address(const wsgid_slot_t *slot);

/* A guardian: the slot's sockets are there, or have been removed. */
void wsgid_slots_set_open(wsgid_slot_t *slot, int is_open);
/* Anybody. */
int wsgid_slots_is_open(const wsgid_slot_t *slot);
/* Anybody. Whether the slot exists: it has sockets, or will have. */
int wsgid_slots_exists(const wsgid_slot_t *slot);

/* wsgid_slot_list_set_phase() only. What may be expected of a slot without a ready process: never
 * WSGID_SLOT_READY. next_try: as wsgid_clock_now() counts. */
wsgid_slot_state_e wsgid_slots_phase(const wsgid_slot_t *slot);
void wsgid_slots_set_phase(wsgid_slot_t *slot, wsgid_slot_state_e phase, apr_time_t next_try);

/* Anybody. What a request may expect now: ready if a process says that it is, else the phase. */
wsgid_slot_state_e wsgid_slots_state(const wsgid_slot_t *slot);
/* Anybody. When a slot that is WAITING tries to start its next process, as wsgid_clock_now()
 * counts. */
apr_time_t wsgid_slots_next_try(const wsgid_slot_t *slot);

/* The totals, for guardians, which write them (totals.h); others may read when something last
 * happened. */
wsgid_totals_t *wsgid_slots_totals(wsgid_slot_t *slot);

/* A process entry and its statistics page at one moment. */
typedef struct {
    pid_t pid;       /* 0: there is none, and the page is zero */
    apr_time_t born; /* as wsgid_clock_now() counts; in the future during a back-off */
    wsgid_page_t page;
} wsgid_entry_snapshot_t;

/* Anybody. Copies the processes of a slot and the totals of former ones at one moment, so that each
 * process is counted in exactly one of the two. */
void wsgid_slots_snapshot(const wsgid_slot_t *slot,
                          wsgid_entry_snapshot_t entries[WSGID_SLOT_PROCESSES],
                          wsgid_totals_t *totals);

/* ---- ledger.c: what guardians tell each other. Only the parent and guardians have it */

/* The parent. The newest configuration that has the slot: its guardian looks after it. */
void wsgid_ledger_set_wanted(wsgid_slot_t *slot, apr_uint32_t configuration);
apr_uint32_t wsgid_ledger_wanted(const wsgid_slot_t *slot);
/* The parent. There is a newer configuration, which has the slot or not. */
void wsgid_ledger_set_current(wsgid_slot_t *slot, apr_uint32_t configuration);
apr_uint32_t wsgid_ledger_current(const wsgid_slot_t *slot);
/* Whether the current configuration does not have the slot. */
int wsgid_ledger_is_removed(const wsgid_slot_t *slot);
/* A process of this configuration has become ready. */
void wsgid_ledger_note_ready(wsgid_slot_t *slot, apr_uint32_t configuration);
/* The newest configuration of which a process has been ready; 0: none. */
apr_uint32_t wsgid_ledger_newest_ready(const wsgid_slot_t *slot);
/* A process that the guardian of a newer configuration has started; 0: there is none. */
pid_t wsgid_ledger_newer_process(const wsgid_slot_t *slot, apr_uint32_t configuration);
/* The guardian that has an entry, in one word, so that one compare-and-swap takes it: its
 * configuration, and a number that no other guardian of this httpd has. 0: nobody. */
typedef apr_uint64_t wsgid_owner_t;
#define WSGID_OWNER(configuration, number) ((wsgid_owner_t)(configuration) << 32 | (number))
#define WSGID_OWNER_CONFIGURATION(owner)   ((apr_uint32_t)((owner) >> 32))
#define WSGID_OWNER_NUMBER(owner)          ((apr_uint32_t)(owner))
wsgid_owner_t wsgid_ledger_owner(const wsgid_slot_t *slot, int entry);
/* Takes an entry from its owner, who does not need it any more. Whether that one still had it. */
int wsgid_ledger_take(wsgid_slot_t *slot, int entry, wsgid_owner_t from, wsgid_owner_t owner);
/* The process in an entry, 0: it has not been forked; and its start time, 0: not noted yet. */
pid_t wsgid_ledger_process(const wsgid_slot_t *slot, int entry, apr_uint64_t *born);
/* A guardian. Which process it has forked into its entry, and when that began (start time of
 * /proc/PID/stat). */
void wsgid_ledger_set_process(wsgid_slot_t *slot, int entry, pid_t pid, apr_uint64_t born);
/* By the process itself, which does not know when it began, as its guardian will. */
void wsgid_ledger_set_pid(wsgid_slot_t *slot, int entry, pid_t pid);

/* ---- entries.c: which process is in which entry */

/* A guardian. Claims a free entry for a process that is about to be forked, and clears its page. 0
 * if another guardian has the entry. */
int wsgid_entries_claim(wsgid_slot_t *slot, int entry, wsgid_owner_t owner);
/* A guardian. The process has been reaped, or was never forked: the entry is free. */
void wsgid_entries_release(wsgid_slot_t *slot, int entry);
/* A guardian. Records which process is in the entry, for messages and the status page. born: as
 * wsgid_clock_now() counts. */
void wsgid_entries_set_process(wsgid_slot_t *slot, int entry, pid_t pid, apr_time_t born);
/* Anybody. Whether a process of the slot says that it is ready. */
int wsgid_entries_is_any_ready(const wsgid_slot_t *slot);
/* Anybody. One entry, for wsgid_slots_snapshot. */
void wsgid_entries_snapshot(const wsgid_slot_t *slot, int entry, wsgid_entry_snapshot_t *snapshot);

/* The pids of a slot's processes at one moment; 0 for an entry that is free. */
typedef struct {
    pid_t pid[WSGID_SLOT_PROCESSES];
} wsgid_pids_t;
/* Anybody. There are several while one process takes over from another. */
wsgid_pids_t wsgid_entries_pids(const wsgid_slot_t *slot);
/* Anybody. "process 4711", "process 4711 or 4712", "no process"; in p. */
const char *wsgid_entries_describe(apr_pool_t *p, const wsgid_pids_t *pids);

/* ---- pages.c: the statistics pages, written by the daemons */

/* The parent and guardians. The memfd of the slot's pages, and where in it the page of an entry
 * is. */
int wsgid_pages_descriptor(const wsgid_slot_t *slot);
apr_size_t wsgid_pages_offset(const wsgid_slot_t *slot, int entry);

/* Anybody. Copies the fixed part of a page. All zero if the page is of another version or its state
 * is unknown; otherwise the numbers are the daemon's, so they may be absurd. */
void wsgid_pages_read(const wsgid_slot_t *slot, int entry, wsgid_page_t *copy);
/* Anybody. The scripts that the daemon says it has loaded (const char * each), as
 * "callable:/path". Whatever does not have that form, or holds control characters, is left out. */
apr_array_header_t *wsgid_pages_loaded_scripts(const wsgid_slot_t *slot, int entry, apr_pool_t *p);
#define WSGID_PAGE_MOST_ROWS ((WSGID_PAGE_SIZE - WSGID_PAGE_ROWS) / WSGID_PAGE_ROW_SIZE)
/* Anybody. Copies the rows of the first `most` threads, as many as a page has. The number of rows
 * copied. */
int wsgid_pages_copy_rows(const wsgid_slot_t *slot, int entry, wsgid_page_row_t *rows, int most);

/* ---- in_flight.c: requests in flight
 *
 * Each child of httpd counts in a row of its own, so that a child that is killed leaves no wrong
 * count behind. */

/* child_init. Takes a row for this process. If there is none left, its requests are not counted,
 * and one line is logged. */
void wsgid_in_flight_claim_row(server_rec *s);
/* child_status hook, in the parent. Clears the row of a child that has ended. */
void wsgid_in_flight_child_status(pid_t pid, mpm_child_status status);
/* A child of httpd, in pairs around a request. */
void wsgid_in_flight_enter(wsgid_slot_t *slot);
void wsgid_in_flight_leave(wsgid_slot_t *slot);
/* A child of httpd. Whether its requests are counted. */
int wsgid_in_flight_is_counting(void);
/* Anybody. The requests that all children of httpd have sent to this slot and not finished. */
unsigned wsgid_in_flight_count(const wsgid_slot_t *slot);

#endif
