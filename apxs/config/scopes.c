/*
 * The records of servers and directories: how they begin, and how an inner one overrides an outer
 * one. directives.c and aliases.c fill them in.
 */
#include "config/scopes.h"

#include "config/aliases.h"

#include "apr_hash.h"

#define RESPONSE_TOTAL (64 * 1024 * 1024) /* the default of WSGIResponseBufferTotal */

void *wsgid_scopes_create_server(apr_pool_t *p, server_rec *s)
{
    wsgid_server_config_t *config = apr_pcalloc(p, sizeof(*config));

    (void)s;
    config->aliases = apr_array_make(p, 4, sizeof(wsgid_alias_t));
    config->imports = apr_array_make(p, 4, sizeof(wsgid_alias_t));
    config->response_total = RESPONSE_TOTAL;
    return config;
}

/* A virtual host's aliases come first, then the main server's. */
void *wsgid_scopes_merge_server(apr_pool_t *p, void *base, void *add)
{
    const wsgid_server_config_t *main_server = base;
    const wsgid_server_config_t *host = add;
    wsgid_server_config_t *merged = apr_pmemdup(p, main_server, sizeof(*merged));

    merged->aliases = apr_array_append(p, host->aliases, main_server->aliases);
    merged->imports = host->imports;
    return merged;
}

void *wsgid_scopes_create_directory(apr_pool_t *p, char *path)
{
    wsgid_directory_config_t *config = apr_pcalloc(p, sizeof(*config));

    (void)path;
    config->pass_authorization = WSGID_UNSET;
    config->error_override = WSGID_UNSET;
    config->chunked_request = WSGID_UNSET;
    config->map_head_to_get = WSGID_UNSET;
    config->script_reloading = WSGID_UNSET;
    return config;
}

void *wsgid_scopes_merge_directory(apr_pool_t *p, void *base, void *add)
{
    const wsgid_directory_config_t *inner = add;
    wsgid_directory_config_t *merged = apr_pmemdup(p, base, sizeof(*merged));
    int i;

#define TAKE(field, unset)            \
    if (inner->field != unset) {      \
        merged->field = inner->field; \
    }
    TAKE(group, NULL)
    TAKE(application_group, NULL)
    TAKE(callable, NULL)
    TAKE(pass_authorization, WSGID_UNSET)
    TAKE(error_override, WSGID_UNSET)
    TAKE(chunked_request, WSGID_UNSET)
    TAKE(map_head_to_get, WSGID_UNSET)
    TAKE(script_reloading, WSGID_UNSET)
    TAKE(user_header, NULL)
    TAKE(sendfile, NULL)
    TAKE(allowed, NULL)
    TAKE(proxies, NULL)
    TAKE(proxy_headers, 0)
    TAKE(proxy_classes, 0)
    for (i = 0; i < WSGID_DECIDER_COUNT; i++) {
        TAKE(deciders[i], NULL)
    }
#undef TAKE
    if (inner->handlers) {
        merged->handlers = merged->handlers ? apr_hash_overlay(p, inner->handlers, merged->handlers)
                                            : inner->handlers;
    }
    return merged;
}

const char *wsgid_scopes_socket_prefix(apr_pool_t *p, server_rec *s)
{
    const wsgid_server_config_t *config = ap_get_module_config(s->module_config, &wsgid_module);

    return config && config->socket_prefix ? config->socket_prefix
                                           : ap_runtime_dir_relative(p, "wsgid");
}

apr_size_t wsgid_scopes_response_total(const server_rec *s)
{
    const wsgid_server_config_t *config = ap_get_module_config(s->module_config, &wsgid_module);

    return config->response_total;
}
