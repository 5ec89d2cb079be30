/*
 * Users and groups of the system (accounts.c). httpd's parent calls these.
 */
#ifndef WSGID_ACCOUNTS_H
#define WSGID_ACCOUNTS_H

#include "wsgid.h"

/* A user or a group. */
typedef struct {
    const char *name; /* NULL: the system knows none */
    apr_uint32_t id;
    gid_t primary;    /* of a user: its group, and */
    const char *home; /* its home directory */
} wsgid_account_t;

/* Looks up a name, or "#" and an id. The answer lives in p, and is given again for the same text
 * and p: so p is pconf. */
const wsgid_account_t *wsgid_accounts_user(apr_pool_t *p, const char *text);
const wsgid_account_t *wsgid_accounts_group(apr_pool_t *p, const char *text);
/* The name, or "#" and the id. */
const char *wsgid_accounts_user_text(apr_pool_t *p, uid_t uid);
const char *wsgid_accounts_group_text(apr_pool_t *p, gid_t gid);

#endif
