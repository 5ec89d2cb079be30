/*
 * Pools: the processes of one application group of a daemon group.
 *
 * Each application group has processes of its own, made from the WSGIDaemonProcess line of its
 * daemon group: so two applications of a group never meet. Those that the configuration names are
 * *fixed*: they exist from the start. The others, which only requests show (scripts of a directory,
 * AddHandler, variables), share a number of *spare* pools: which of them has which application
 * group is in shared memory (slots/names.h), and changes while httpd runs. A daemon group without a
 * fixed pool starts the processes of its first spare one with httpd: they take the first
 * application group that comes.
 *
 * Public: the type and the look-ups. The rest is for the files of config/ alone.
 */
#ifndef WSGID_POOLS_H
#define WSGID_POOLS_H

#include "common/spin.h"
#include "config/groups.h"

/* ---- public */

/* A script that a process loads before it is ready. */
typedef struct {
    const char *path;
    const char *callable; /* "" for WSGIImportScript: it need not define an application */
} wsgid_script_t;

/* Lives in pconf, after check_config only the fields of other rooms change. */
typedef struct wsgid_pool_t {
    wsgid_group_t *group;
    int number;                  /* in its group: fixed ones first */
    const char *name;            /* the application group; "": %{GLOBAL}; NULL: a spare pool */
    const char *label;           /* for messages: that of its group, or "shop|blog" */
    apr_array_header_t *scripts; /* wsgid_script_t */
    int least, most;             /* processes; the same: as many as that, always */

    /* guardian/: shared memory that outlives this struct. Room for slots: whether one exists now
     * is in its memory */
    wsgid_slot_t **slots;
    int slot_count;
    int wanted; /* processes, now; each guardian has its own idea of it */

    /* request/, in each child of httpd */
    int stack;            /* dispatch.c: where the idle connections to its first slot are */
    wsgid_spin_t answers; /* channel.c: how long its daemons take to answer */
} wsgid_pool_t;

/* A pool of a group by its number, from 0 to wsgid_pools_count() - 1. */
wsgid_pool_t *wsgid_pools_get(const wsgid_group_t *group, int number);
int wsgid_pools_count(const wsgid_group_t *group);
/* How many of them are fixed. */
int wsgid_pools_fixed(const wsgid_group_t *group);
/* The fixed pool of an application group, or NULL. */
wsgid_pool_t *wsgid_pools_find(const wsgid_group_t *group, const char *name);
/* Whether the number of processes follows the load. */
int wsgid_pools_is_elastic(const wsgid_pool_t *pool);
/* What messages call the pool of an application group. In p, or as long as the pool. */
const char *wsgid_pools_label(apr_pool_t *p, const wsgid_pool_t *pool, const char *name);

/* ---- for config/ */

/* pre_config: forgets what wsgid_pools_expect() has been told. */
void wsgid_pools_reset(apr_pool_t *pconf);
/* While the configuration is read: a directive names an application group of a daemon group. Both
 * may hold a variable: then only requests show it. */
void wsgid_pools_expect(const char *group, const char *name);
/* The configuration has something of which only requests show the application group. Otherwise no
 * group needs spare pools, which cost memory and a descriptor. */
void wsgid_pools_note_unknown(void);
/* Adds what wsgid_pools_expect() has been told to the groups. */
void wsgid_pools_add_expected(apr_pool_t *p);
/* Finds or adds a fixed pool of a group. */
wsgid_pool_t *wsgid_pools_add(apr_pool_t *p, wsgid_group_t *group, const char *name);
/* All fixed pools of the group have been added: completes them, and adds the spare ones. */
void wsgid_pools_complete(apr_pool_t *p, wsgid_group_t *group);

#endif
