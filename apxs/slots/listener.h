/*
 * The sockets of slots (listener.c). Only httpd's parent calls these, and `apachectl configtest`
 * calls wsgid_listener_check_directory.
 */
#ifndef WSGID_LISTENER_H
#define WSGID_LISTENER_H

#include "wsgid.h"

#define WSGID_LISTENER_REQUESTS ".sock"
#define WSGID_LISTENER_CONTROL  ".ctl"

/* The file of a slot's socket, "PREFIX.PID.NUMBER.SLOT" and a suffix: one of the two above. */
const char *wsgid_listener_path(apr_pool_t *p, const char *prefix, unsigned number, int slot,
                                const char *suffix);
/* Creates a socket that listens at `path`, with mode 0600. owner: used only if httpd runs as root.
 * A socket that is in the way is removed; any other file there is EEXIST. On success the caller
 * owns *fd; on failure it is -1. */
apr_status_t wsgid_listener_open(const char *path, uid_t owner, int backlog, int *fd,
                                 struct sockaddr_un *address);
/* After a restart: gives a listener that was kept its owner and backlog. If its file is gone, it is
 * created again, and *fd becomes another descriptor. */
apr_status_t wsgid_listener_adapt(const char *path, uid_t owner, int backlog, int *fd);
/* NULL, or why sockets must not be created in the directory of this prefix. */
const char *wsgid_listener_check_directory(apr_pool_t *p, const char *prefix);
/* NULL, or why httpd's children could not reach sockets in the directory of this prefix. Call it
 * once User is known. */
const char *wsgid_listener_check_reach(apr_pool_t *p, const char *prefix);
/* Removes the sockets that an httpd which no longer runs left under this prefix; logs each at
 * debug. */
void wsgid_listener_sweep(apr_pool_t *p, server_rec *s, const char *prefix);

#endif
