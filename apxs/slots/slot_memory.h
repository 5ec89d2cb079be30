/*
 * The memory of a slot. Private to slots/: others use slots.h.
 *
 * The slots that are created together share a block of memory, so that httpd's parent needs one
 * descriptor and few mappings for a group. There are four kinds of memory, by who may write:
 *
 *   - wsgid_slot_t is private to each process of httpd; children have the copy that fork gave them.
 *     Every pointer, descriptor and address is here, because processes that the parent (root) must
 *     not trust can write the rest.
 *   - wsgid_slot_words_t and the rows of in_flight.c are anonymous shared memory. The parent and
 *     guardians write the words, httpd's children their rows. It holds numbers only: a hijacked
 *     child can at most send requests to the wrong place.
 *   - wsgid_ledger_t is anonymous shared memory, too, but only the parent and guardians have it.
 * What root does to a process depends on it alone.
 *   - The pages are a sealed memfd, with one page for each process entry. The daemons of the group
 *     write it, so what is read is copied and bounded, and only the state is acted on. They could
 *     write each other's pages, too; but they are processes of one application and one user.
 *
 * All of it is kept over restarts of httpd, which unload this module. So no pool cleanup and no
 * pointer in it may refer to the module, and a change of these structures changes WSGID_LAYOUT
 * (retained.h).
 */
#ifndef WSGID_SLOT_MEMORY_H
#define WSGID_SLOT_MEMORY_H

#include "slots/names.h"
#include "slots/slots.h"

#include <sys/mman.h>

/* names.c. Shared memory. */
typedef struct {
    uint32_t turn;
    uint32_t is_used;
    char text[WSGID_NAME_MOST + 1];
} wsgid_slot_name_t;

/* Shared memory. */
typedef struct {
    uint32_t phase;                     /* wsgid_slot_state_e, never READY */
    uint32_t is_open;                   /* it has sockets */
    int64_t next_try;                   /* as wsgid_clock_now() counts */
    pid_t pid[WSGID_SLOT_PROCESSES];    /* that has not been reaped; 0: none */
    int64_t born[WSGID_SLOT_PROCESSES]; /* when its back-off, if any, is over */
    wsgid_totals_t totals;
    int64_t full;        /* names.c; as wsgid_clock_now() counts */
    wsgid_scale_t scale; /* names.c */
    wsgid_slot_name_t name;
} wsgid_slot_words_t;

/* ledger.c. Shared memory that children of httpd do not inherit. */
typedef struct {
    uint64_t owner; /* wsgid_owner_t */
    uint64_t born;  /* start time of the process */
    pid_t pid;      /* 0: none */
} wsgid_ledger_entry_t;

typedef struct {
    uint32_t current;      /* httpd's configuration */
    uint32_t wanted;       /* the newest that has the slot */
    uint32_t newest_ready; /* the newest of which a process has been ready */
    wsgid_ledger_entry_t entry[WSGID_SLOT_PROCESSES];
} wsgid_ledger_t;

/* in_flight.c. A row has a cache line of its own, because its child writes it twice a request. */
#define WSGID_CACHE_LINE 64
typedef struct {
    uint32_t in_flight;
    unsigned char padding[WSGID_CACHE_LINE - sizeof(uint32_t)];
} wsgid_in_flight_row_t;

/* Shared memory: of a memfd, for reading only; or anonymous and zeroed. */
typedef struct {
    void *at; /* NULL: it is not mapped */
    apr_size_t size;
} wsgid_mapping_t;

enum {
    WSGID_PAGES,
    WSGID_WORDS,   /* wsgid_slot_words_t of each slot */
    WSGID_ROWS,    /* wsgid_in_flight_row_t of each slot and child of httpd */
    WSGID_LEDGERS, /* wsgid_ledger_t of each slot; children do not have it */
    WSGID_MAPPINGS
};

/* The memory of slots that were created together. */
typedef struct {
    apr_pool_t *pool; /* of this structure and its slots */
    int slots;
    int users; /* slots that have not been destroyed */
    int memfd; /* of the pages; -1 in children */
    wsgid_mapping_t mapping[WSGID_MAPPINGS];
} wsgid_block_t;

struct wsgid_slot_t {
    /* in_flight.c: all slots of this httpd. What points to this one: thousands come and go together
     */
    wsgid_slot_t *next, **link;
    wsgid_block_t *block;
    int index;  /* in the block */
    int number; /* in its group */
    struct sockaddr_un address;
};

/* slots.c. fd: a memfd, or -1. */
apr_status_t wsgid_map_shared(wsgid_mapping_t *mapping, apr_size_t size, int fd);

static inline wsgid_slot_words_t *wsgid_words_of(const wsgid_slot_t *slot)
{
    return (wsgid_slot_words_t *)slot->block->mapping[WSGID_WORDS].at + slot->index;
}

/* pages.c, for slots.c and entries.c in the parent. */
apr_status_t wsgid_pages_open(wsgid_block_t *block);
void wsgid_pages_close_descriptor(wsgid_block_t *block);
/* Back to zeros; its memory goes back to the system. 0, or -1 with errno. */
int wsgid_pages_clear(const wsgid_slot_t *slot, int entry);
/* Anybody. Whether the page says that its process is ready. */
int wsgid_pages_is_ready(const wsgid_slot_t *slot, int entry);

/* ledger.c, for entries.c. */
void wsgid_ledger_release(wsgid_slot_t *slot, int entry);

/* in_flight.c, for slots.c in the parent: maps the rows of a block; and which slots are counted. */
apr_status_t wsgid_in_flight_open(wsgid_block_t *block);
void wsgid_in_flight_attach(wsgid_slot_t *slot);
void wsgid_in_flight_detach(wsgid_slot_t *slot);

#endif
