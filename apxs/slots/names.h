/*
 * Which application group a spare pool has (config/pools.h): its name, in the memory of the first
 * slot of the pool.
 *
 * The guardian writes it; httpd's children read it. What a child reads may change at the next
 * moment. So a request first counts as in flight in a slot of the pool, and then looks whether the
 * pool still has its application group; and a guardian that wants to give the pool to another one
 * first removes the name, and then looks whether a request is in flight. Whoever comes second sees
 * the other.
 */
#ifndef WSGID_NAMES_H
#define WSGID_NAMES_H

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

#endif
