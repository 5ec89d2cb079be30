/*
 * The sockets of slots (listener.c). httpd's parent and guardians call these.
 */
#ifndef WSGID_LISTENER_H
#define WSGID_LISTENER_H

#include "wsgid.h"

/* Creates a socket that listens at `path`, with mode 0600. owner: used only if httpd runs as root.
 * A socket that is in the way is removed; any other file there is EEXIST. On success the caller
 * owns *fd; on failure it is -1. */
apr_status_t wsgid_listener_open(const char *path, uid_t owner, int backlog, int *fd);
/* Gives a listener its owner and backlog: a new one, or one of an older configuration. */
apr_status_t wsgid_listener_adapt(const char *path, uid_t owner, int backlog, int fd);
/* Creates a datagram socket at `path`, which only this user, and root, can send to. As above. */
apr_status_t wsgid_listener_open_door(const char *path, uid_t owner, int *fd);
/* ENAMETOOLONG. */
apr_status_t wsgid_listener_set_address(struct sockaddr_un *address, const char *path);
/* Removes what is at the path, if there is anything, but only if it is a socket: else EEXIST. */
apr_status_t wsgid_listener_remove(const char *path);
/* The number of the file that is there; 0: none. */
ino_t wsgid_listener_file(const char *path);
/* Whether there is a socket that nobody listens on. */
int wsgid_listener_is_unused(const char *path);

#endif
