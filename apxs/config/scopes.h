/*
 * What the configuration says in each scope: a record for each server and one for each directory.
 *
 * Public: wsgid_scopes_socket_prefix, wsgid_scopes_response_total, and the four functions of the
 * module record. The records are for the files of config/ alone. They live in pconf and do not
 * change after the configuration has been read.
 */
#ifndef WSGID_SCOPES_H
#define WSGID_SCOPES_H

#include "config/route.h"
#include "wsgid.h"

/* ---- public */

/* For the module record. */
void *wsgid_scopes_create_server(apr_pool_t *p, server_rec *s);
void *wsgid_scopes_merge_server(apr_pool_t *p, void *base, void *add);
void *wsgid_scopes_create_directory(apr_pool_t *p, char *path);
void *wsgid_scopes_merge_directory(apr_pool_t *p, void *base, void *add);

/*
 * Returns WSGISocketPrefix, or its default in httpd's runtime directory; NULL if that is not a
 * directory. s: the main server. In post_config.
 */
const char *wsgid_scopes_socket_prefix(apr_pool_t *p, server_rec *s);

/* Returns WSGIResponseBufferTotal in bytes. */
apr_size_t wsgid_scopes_response_total(const server_rec *s);

/* ---- for config/ */

#define WSGID_UNSET (-1) /* of a number that no directive sets */

typedef struct {
    const char *socket_prefix;   /* of the main server; NULL: the default */
    apr_array_header_t *aliases; /* wsgid_alias_t, in the order in which they are tried */
    apr_array_header_t *imports; /* wsgid_alias_t of WSGIImportScript, of this server alone */
    apr_size_t response_total;   /* of the main server */
} wsgid_server_config_t;

/* The server scope is the outermost directory. NULL and WSGID_UNSET: no directive says anything. */
typedef struct {
    const char *group; /* these three may hold a variable */
    const char *application_group;
    const char *callable;
    int pass_authorization;
    int error_override;
    int chunked_request; /* wsgid_chunked_e */
    int script_reloading;
    int map_head_to_get; /* wsgid_map_head_e */
    const char *user_header;
    const apr_array_header_t *sendfile; /* const char *: directories, symbolic links resolved */
    struct apr_hash_t *allowed;         /* WSGIRestrictProcess: names of groups; NULL: all */
    apr_array_header_t *proxies;        /* apr_ipsubnet_t *: WSGITrustedProxies; NULL: none */
    unsigned proxy_headers;      /* WSGITrustedProxyHeaders: see trusted_proxies.c; 0: none */
    unsigned proxy_classes;      /* these, and all others with the same purposes */
    struct apr_hash_t *handlers; /* wsgid_script_place_t * of each WSGIHandlerScript; NULL: none */
    const struct wsgid_script_place_t *deciders[WSGID_DECIDER_COUNT]; /* NULL: none */
} wsgid_directory_config_t;

#endif
