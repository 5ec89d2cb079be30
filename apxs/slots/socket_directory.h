/*
 * The directory of the sockets (socket_directory.c). httpd's parent and guardians call these, and
 * `apachectl configtest` calls wsgid_socket_directory_check.
 */
#ifndef WSGID_SOCKET_DIRECTORY_H
#define WSGID_SOCKET_DIRECTORY_H

#include "wsgid.h"

/* Kept over restarts, until httpd ends: one for each prefix that was ever used. */
typedef struct wsgid_socket_directory_t wsgid_socket_directory_t;

/* What the paths of a slot's sockets end with. */
#define WSGID_SOCKET_REQUESTS ".sock" /* only if the directory is not private */
#define WSGID_SOCKET_CONTROL  ".ctl"
#define WSGID_SOCKET_DOOR     ".door"
#define WSGID_SOCKET_ASK      ".ask"
/* A private directory is named "PREFIX.PID", and its sockets are in this directory within. */
#define WSGID_SOCKET_INNER "/s"

/* NULL, or why sockets must not be created under this prefix. In p. Its directory may be missing if
 * wsgid_socket_directory_create can create it. */
const char *wsgid_socket_directory_check(apr_pool_t *p, const char *prefix);
/* Creates the directory above the sockets if it is missing: one level, and nothing else. NULL, or
 * why not, in p. At a start or restart, before wsgid_socket_directory_check. */
const char *wsgid_socket_directory_create(apr_pool_t *p, const char *prefix);

/* Once User and ChrootDir are known. Finds or creates the directory for a prefix, private if that
 * is possible. Logs once what is not protected. NULL, or why not, in p. */
const char *wsgid_socket_directory_prepare(apr_pool_t *p, server_rec *s, const char *prefix,
                                           const wsgid_socket_directory_t **directory);
/* Where a slot's sockets are. number: of its group. In p. */
const char *wsgid_socket_directory_requests(apr_pool_t *p,
                                            const wsgid_socket_directory_t *directory,
                                            unsigned number, int slot);
const char *wsgid_socket_directory_control(apr_pool_t *p, const wsgid_socket_directory_t *directory,
                                           unsigned number, int slot);
/* Where the guardian of a group and configuration hands its sockets over. In p. */
const char *wsgid_socket_directory_door(apr_pool_t *p, const wsgid_socket_directory_t *directory,
                                        unsigned number, apr_uint32_t configuration);
/* Where it is asked for processes of an application group. In p. */
const char *wsgid_socket_directory_ask(apr_pool_t *p, const wsgid_socket_directory_t *directory,
                                       unsigned number, apr_uint32_t configuration);
/* What httpd's children connect to, for a path that wsgid_socket_directory_requests has made. It
 * stays valid when the directory is created again. */
void wsgid_socket_directory_address(const wsgid_socket_directory_t *directory, const char *path,
                                    struct sockaddr_un *address);

/* At the end of httpd, also in a process that cleans up after it: removes the directories that this
 * httpd has created, if they are empty. */
void wsgid_socket_directory_remove_all(void);

#endif
