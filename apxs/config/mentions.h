/*
 * Where the configuration names a daemon group: to warn about names that no group has, and to know
 * whether the default group is wanted.
 *
 * Private to config/.
 */
#ifndef WSGID_MENTIONS_H
#define WSGID_MENTIONS_H

#include "wsgid.h"

typedef struct {
    const char *name;  /* of the group; "" for the default one */
    const char *where; /* "file:line" */
} wsgid_mention_t;

/* pre_config: forgets the mentions of the previous reading. */
void wsgid_mentions_reset(apr_pool_t *pconf);

/* Remembers that a directive names a group; %{ENV:name} may be the default one. Ignores other
 * values that only a request can resolve, and .htaccess files. */
void wsgid_mentions_add(const cmd_parms *cmd, const char *value);

/* Whether a directive names this group. */
int wsgid_mentions_has(const char *name);

/* Returns all mentions in the order of the configuration, wsgid_mention_t each. */
const apr_array_header_t *wsgid_mentions_all(void);

#endif
