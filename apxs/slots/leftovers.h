/*
 * What an httpd that was killed left behind (leftovers.c). Only httpd's parent calls this.
 */
#ifndef WSGID_LEFTOVERS_H
#define WSGID_LEFTOVERS_H

#include "wsgid.h"

/* Removes the sockets and the directories of an httpd that no longer runs under this prefix; logs
 * each at debug. Before this httpd creates its own. */
void wsgid_leftovers_sweep(apr_pool_t *p, server_rec *s, const char *prefix);

#endif
