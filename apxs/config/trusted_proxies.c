/*
 * What a proxy in front of httpd says about the client: only a trusted one is believed, and only in
 * the headers that it is known to set.
 *
 * Several headers have the same purpose. Once one of them is trusted, the application sees none of
 * the others, and none at all from anybody else. The peer of the connection decides, not the
 * client's address that mod_remoteip may have found out. Where it has, that address stays: it has
 * already used up a part of the header.
 *
 * Without WSGITrustedProxies everybody is believed, as mod_wsgi does it: many configurations rely
 * on that behind a firewall. It is logged, as any client can then say who it is.
 */
#include "config/trusted_proxies.h"

#include "config/notices.h"
#include "config/scopes.h"

#include <arpa/inet.h>

#define CLIENT "REMOTE_ADDR"
#define SCHEME "wsgi.url_scheme"
#define HOST   "HTTP_HOST"
#define PORT   "SERVER_PORT"
#define SERVER "SERVER_NAME"
#define SCRIPT "SCRIPT_NAME"

/* Headers for the same key of the environ have the same purpose. Each name begins with X. */
static const struct {
    const char *name;
    const char *key;
} headers[] = { { "X-Forwarded-For", CLIENT },
                { "X-Client-IP", CLIENT },
                { "X-Real-IP", CLIENT },
                { "X-Forwarded-HTTPS", SCHEME },
                { "X-Forwarded-Proto", SCHEME },
                { "X-Forwarded-Scheme", SCHEME },
                { "X-Forwarded-SSL", SCHEME },
                { "X-HTTPS", SCHEME },
                { "X-Scheme", SCHEME },
                { "X-Forwarded-Host", HOST },
                { "X-Host", HOST },
                { "X-Forwarded-Port", PORT },
                { "X-Forwarded-Server", SERVER },
                { "X-Script-Name", SCRIPT },
                { "X-Forwarded-Script-Name", SCRIPT } };

#define COUNT (sizeof(headers) / sizeof(headers[0]))

/* ---- the directives */

const char *wsgid_trusted_proxies_add(cmd_parms *cmd, void *dir, const char *text)
{
    wsgid_directory_config_t *config = dir;
    char *address = apr_pstrdup(cmd->pool, text);
    char *mask = strchr(address, '/');
    apr_ipsubnet_t *subnet;

    if (mask) {
        *mask++ = '\0';
    }
    if (apr_ipsubnet_create(&subnet, address, mask, cmd->pool) != APR_SUCCESS) {
        return apr_psprintf(cmd->pool,
                            "WSGID0184: WSGITrustedProxies %s: write an address such as 192.0.2.1, "
                            "or a range such as 192.0.2.0/24 or 2001:db8::/32",
                            text);
    }
    if (!config->proxies) {
        config->proxies = apr_array_make(cmd->pool, 2, sizeof(subnet));
    }
    APR_ARRAY_PUSH(config->proxies, apr_ipsubnet_t *) = subnet;
    return NULL;
}

/* All headers with the same purpose. */
static unsigned class_of(unsigned header)
{
    unsigned class = 0, i;

    for (i = 0; i < COUNT; i++) {
        class |= strcmp(headers[i].key, headers[header].key) ? 0 : 1u << i;
    }
    return class;
}

const char *wsgid_trusted_proxies_add_header(cmd_parms *cmd, void *dir, const char *name)
{
    wsgid_directory_config_t *config = dir;
    unsigned i;

    for (i = 0; i < COUNT; i++) {
        if (!ap_cstr_casecmp(headers[i].name, name)) {
            config->proxy_headers |= 1u << i;
            config->proxy_classes |= class_of(i);
            return NULL;
        }
    }
    if (!wsgid_notices_is_htaccess(cmd)) {
        wsgid_notices_log_once(
            apr_pstrcat(cmd->pool, "WSGITrustedProxyHeaders ", name, NULL),
            wsgid_notices_where(cmd),
            apr_psprintf(cmd->pool,
                         "WSGID0185: WSGITrustedProxyHeaders %s has no effect: the application "
                         "gets this header from anybody; the reference lists those that can be "
                         "trusted",
                         name));
    }
    return NULL;
}

/* ---- the request */

static int is_trusted(const wsgid_directory_config_t *config, apr_sockaddr_t *address)
{
    int i;

    if (!config->proxies) {
        return 1;
    }
    for (i = 0; i < config->proxies->nelts; i++) {
        if (apr_ipsubnet_test(APR_ARRAY_IDX(config->proxies, i, apr_ipsubnet_t *), address)) {
            return 1;
        }
    }
    return 0;
}

/* NULL: the text is not an address. Names are not looked up. */
static apr_sockaddr_t *parse_address(apr_pool_t *p, const char *text)
{
    unsigned char binary[sizeof(struct in6_addr)];
    apr_sockaddr_t *address;

    return (inet_pton(AF_INET, text, binary) == 1 || inet_pton(AF_INET6, text, binary) == 1)
                   && apr_sockaddr_info_get(&address, text, APR_UNSPEC, 0, 0, p) == APR_SUCCESS
               ? address
               : NULL;
}

/* Each proxy has appended the address of its peer. So the last address that is no trusted proxy's
 * is the client's; the first one, if everybody is trusted. *from: where in the list it is. NULL:
 * what is there is not an address. */
static const char *find_client(request_rec *r, const wsgid_directory_config_t *config,
                               const char *list, const char **from)
{
    char *copy = apr_pstrdup(r->pool, list), *comma, *entry;
    apr_sockaddr_t *address;

    do {
        comma = strrchr(copy, ',');
        entry = comma ? comma + 1 : copy;
        *from = list + (entry - copy);
        apr_collapse_spaces(entry, entry);
        address = parse_address(r->pool, entry);
        if (comma) {
            *comma = '\0';
        }
    } while (comma && address && is_trusted(config, address));
    return address ? entry : NULL;
}

static void set_client(request_rec *r, const wsgid_directory_config_t *config, const char *header,
                       const char *value, apr_table_t *variables)
{
    const char *from;
    const char *client = find_client(r, config, value, &from);

    if (client && !strcmp(r->useragent_ip, r->connection->client_ip)) {
        apr_table_setn(variables, CLIENT, client);
    }
    if (!strcmp(header, "X-Forwarded-For")) { /* without what the client itself may have written */
        apr_table_setn(variables, "HTTP_X_FORWARDED_FOR", from + strspn(from, " \t"));
    }
}

static const char *scheme(const char *value)
{
    return !ap_cstr_casecmp(value, "https") || !ap_cstr_casecmp(value, "on")
                   || !ap_cstr_casecmp(value, "true") || !strcmp(value, "1")
               ? "https"
               : "http";
}

static void apply(request_rec *r, const wsgid_directory_config_t *config, unsigned header,
                  apr_table_t *variables)
{
    const char *value = apr_table_get(r->headers_in, headers[header].name);
    const char *key = headers[header].key;

    if (!value || (!*value && strcmp(key, SCRIPT))) {
        return;
    }
    if (!strcmp(key, CLIENT)) {
        set_client(r, config, headers[header].name, value, variables);
    }
    else {
        apr_table_setn(variables, key, strcmp(key, SCHEME) ? value : scheme(value));
    }
    if (!strcmp(key, SCRIPT)) {
        apr_table_setn(variables, "mod_wsgi.mount_point", value);
    }
}

/* Once for each child of httpd. */
static void log_everybody(request_rec *r)
{
    static int is_logged;

    if (!__atomic_exchange_n(&is_logged, 1, __ATOMIC_RELAXED)) {
        ap_log_rerror(APLOG_MARK, APLOG_WARNING, 0, r,
                      "WSGID0183: WSGITrustedProxyHeaders names headers, but WSGITrustedProxies no "
                      "proxy, so whoever sends these headers is believed: name the addresses of "
                      "your proxies in WSGITrustedProxies");
    }
}

const wsgid_judgement_t *wsgid_trusted_proxies_judge(request_rec *r)
{
    const wsgid_directory_config_t *config = ap_get_module_config(r->per_dir_config, &wsgid_module);
    wsgid_judgement_t *judgement;
    unsigned i;

    if (!config->proxy_headers) {
        return NULL;
    }
    judgement = apr_palloc(r->pool, sizeof(*judgement));
    judgement->hidden = config->proxy_classes;
    judgement->variables = apr_table_make(r->pool, 8);
    if (!config->proxies) {
        log_everybody(r);
    }
    if (is_trusted(config, r->connection->client_addr)) {
        judgement->hidden &= ~config->proxy_headers;
        for (i = 0; i < COUNT; i++) {
            if (config->proxy_headers & 1u << i) {
                apply(r, config, i, judgement->variables);
            }
        }
    }
    return judgement;
}

int wsgid_trusted_proxies_hides(const wsgid_judgement_t *judgement, const char *name)
{
    unsigned i;

    if (!judgement || apr_toupper(name[0]) != 'X') {
        return 0;
    }
    for (i = 0; i < COUNT; i++) {
        if ((judgement->hidden & 1u << i) && !ap_cstr_casecmp(headers[i].name, name)) {
            return 1;
        }
    }
    return 0;
}
