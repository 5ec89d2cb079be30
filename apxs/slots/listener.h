/*
 * The sockets of slots (listener.c). Only httpd's parent calls these.
 */
#ifndef WSGID_LISTENER_H
#define WSGID_LISTENER_H

#include "wsgid.h"

/* Creates a socket that listens at `path`, with mode 0600. owner: used only if httpd runs as root.
 * A socket that is in the way is removed; any other file there is EEXIST. On success the caller
 * owns *fd; on failure it is -1. */
apr_status_t wsgid_listener_open(const char *path, uid_t owner, int backlog, int *fd);
/* After a restart: gives a listener that was kept its owner and backlog. If its file is gone, it is
 * created again, and *fd becomes another descriptor. */
apr_status_t wsgid_listener_adapt(const char *path, uid_t owner, int backlog, int *fd);
/* Removes what is at the path, if there is anything, but only if it is a socket: else EEXIST. */
apr_status_t wsgid_listener_remove(const char *path);
/* Whether there is a socket that nobody listens on. */
int wsgid_listener_is_unused(const char *path);

#endif
