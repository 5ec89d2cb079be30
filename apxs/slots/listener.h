/*
 * The sockets of slots: the directory they are in, their files' names, owners and modes.
 */
#ifndef WSGID_LISTENER_H
#define WSGID_LISTENER_H

#include "wsgid.h"

/* What follows the common part of a socket's path. */
#define WSGID_LISTENER_REQUESTS ".sock"
#define WSGID_LISTENER_CONTROL  ".ctl"

/*
 * Returns the path of a slot's socket, "PREFIX.PID.NUMBER.SLOT.sock", in p. prefix:
 * WSGISocketPrefix; number: of the group; suffix: one of the two above. In httpd's parent, whose
 * pid it holds.
 */
const char *wsgid_listener_path(apr_pool_t *p, const char *prefix, unsigned number, int slot,
                                const char *suffix);

/*
 * Binds and listens at path; only owner may connect. Sets *fd (close-on-exec) and *address.
 * Returns an error unlogged: ENAMETOOLONG, EEXIST if something other than a socket is in the way,
 * or the system's. In httpd's parent.
 */
apr_status_t wsgid_listener_open(const char *path, uid_t owner, int backlog, int *fd,
                                 struct sockaddr_un *address);

/*
 * Gives a listener that survives a restart another owner and backlog. If its file is gone, the
 * listener is bound again and *fd becomes another descriptor. Errors as wsgid_listener_open. In
 * httpd's parent.
 */
apr_status_t wsgid_listener_adapt(const char *path, uid_t owner, int backlog, int *fd);

/* Returns NULL, or why sockets must not be made in this prefix's directory. While the configuration
 * is read. */
const char *wsgid_listener_check_directory(apr_pool_t *p, const char *prefix);

/* Returns NULL, or why httpd's children could not reach sockets in this prefix's directory. In
 * post_config, when User is known. */
const char *wsgid_listener_check_reach(apr_pool_t *p, const char *prefix);

/* Removes the sockets that dead parents left under this prefix. In httpd's parent, in post_config.
 */
void wsgid_listener_sweep(apr_pool_t *p, server_rec *s, const char *prefix);

#endif
