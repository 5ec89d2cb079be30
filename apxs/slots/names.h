/*
 * What everybody sees of a pool (config/pools.h), in the memory of its first slot: how many
 * processes it is to have, and, of a spare pool, which application group it has.
 *
 * The guardian writes; httpd's children read. What a child reads of a name may change at the next
 * moment. So a request first counts as in flight in a slot of the pool, and then looks whether the
 * pool still has its application group; and a guardian that wants to give the pool to another one
 * first removes the name, and then looks whether a request is in flight. Whoever comes second sees
 * the other.
 */
#ifndef WSGID_SLOTS_NAMES_H
#define WSGID_SLOTS_NAMES_H

#include "slots/slots.h"

#define WSGID_NAME_MOST 255 /* bytes of an application group (config/variables.c shortens it) */

/* Anybody. Whether the pool of this first slot has this application group. */
int wsgid_names_is(const wsgid_slot_t *first, const char *name);
/* Anybody. Whether it has any. */
int wsgid_names_is_set(const wsgid_slot_t *first);
/* Anybody. The application group of the pool, in p; NULL: it has none. */
const char *wsgid_names_get(const wsgid_slot_t *first, apr_pool_t *p);
/* A guardian. NULL: it has none. */
void wsgid_names_set(wsgid_slot_t *first, const char *name);

/* A guardian. Until then no pool of the group is free for another application group, as
 * wsgid_clock_now() counts. any: always the same slot of the group. */
void wsgid_names_set_full(wsgid_slot_t *any, apr_time_t until);
/* Anybody. */
apr_time_t wsgid_names_full(const wsgid_slot_t *any);

/* How many processes a pool is to have: the bounds, and now. The guardian never reads it. */
typedef struct {
    int least, most, wanted;
} wsgid_scale_t;

/* The parent, for a new configuration, and the guardian. */
void wsgid_names_set_scale(wsgid_slot_t *first, wsgid_scale_t scale);
/* Anybody. */
wsgid_scale_t wsgid_names_scale(const wsgid_slot_t *first);

#endif
