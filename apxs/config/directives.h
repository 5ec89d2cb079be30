/*
 * The directives: httpd's command table, the records of servers and directories.
 *
 * Public: this header is for mod_wsgid.c and the supervisor.
 */
#ifndef WSGID_DIRECTIVES_H
#define WSGID_DIRECTIVES_H

#include "wsgid.h"

/* For the module record. */
extern const command_rec wsgid_directives_directives[];
void *wsgid_directives_create_server(apr_pool_t *p, server_rec *s);
void *wsgid_directives_merge_server(apr_pool_t *p, void *base, void *add);
void *wsgid_directives_create_dir(apr_pool_t *p, char *dir);
void *wsgid_directives_merge_dir(apr_pool_t *p, void *base, void *add);

/*
 * Returns WSGISocketPrefix, or its default in httpd's runtime directory; NULL if that is not a
 * directory. s: the main server. In post_config.
 */
const char *wsgid_directives_socket_prefix(apr_pool_t *p, server_rec *s);

#endif
