/*
 * WSGIAccessScript, AuthBasicProvider wsgi, AuthDigestProvider wsgi and Require wsgi-group: each
 * asks a function of a script, in a daemon, and turns its answer into what httpd understands.
 *
 * Rule: only an answer opens anything. Whatever goes wrong on the way to it is an error, never
 * "denied": "Require not wsgi-group" turns a denial into access.
 */
#include "auth/auth.h"

#include "request/request.h"
#include "wsgid.h"

#include "ap_provider.h"
#include "apr_lib.h"
#include "apr_md5.h"
#include "apr_optional.h"
#include "mod_auth.h"

/* Statuses of an answer (pywsgid/daemon/application/decisions.py). */
#define YES     HTTP_OK
#define NO      HTTP_FORBIDDEN
#define UNKNOWN HTTP_NOT_FOUND
#define ANSWER  "Answer" /* its header, once for each value */

#define SALT_SIZE 8 /* as htpasswd */

APR_DECLARE_OPTIONAL_FN(int, ssl_is_https, (conn_rec *));
APR_DECLARE_OPTIONAL_FN(char *, ssl_var_lookup,
                        (apr_pool_t *, server_rec *, conn_rec *, request_rec *, char *));

/* ---- the question */

#define TLS "wsgid.tls." /* then the name of a variable (decisions.py) */

/* Adds what mod_ssl knows by these names. */
static void add_names(request_rec *r, apr_array_header_t *words, const char *prefix,
                      const char *names)
{
    APR_OPTIONAL_FN_TYPE(ssl_var_lookup) *look_up = APR_RETRIEVE_OPTIONAL_FN(ssl_var_lookup);
    char *name, *value;

    while (look_up && *(name = ap_getword_white(r->pool, &names))) {
        name = apr_pstrcat(r->pool, TLS, prefix, name, NULL);
        value = look_up(r->pool, r->server, r->connection, r, name + strlen(TLS));
        if (value && *value) {
            APR_ARRAY_PUSH(words, const char *) = name;
            APR_ARRAY_PUSH(words, const char *) = value;
        }
    }
}

#define NAMES_OF_ONE(which)                                                                     \
    " " which "_DN " which "_DN_C " which "_DN_ST " which "_DN_SP " which "_DN_L " which        \
    "_DN_O " which "_DN_OU " which "_DN_CN " which "_DN_T " which "_DN_I " which "_DN_G " which \
    "_DN_S " which "_DN_D " which "_DN_UID " which "_DN_Email"

/* Adds what mod_ssl knows of a TLS connection, as a function may ask for it. */
static void add_tls(request_rec *r, apr_array_header_t *words)
{
    APR_OPTIONAL_FN_TYPE(ssl_is_https) *is_https = APR_RETRIEVE_OPTIONAL_FN(ssl_is_https);

    if (!is_https || !is_https(r->connection)) {
        return;
    }
    add_names(r, words, "SSL_",
              "PROTOCOL CIPHER CIPHER_USEKEYSIZE CIPHER_ALGKEYSIZE SESSION_ID SESSION_RESUMED "
              "SECURE_RENEG TLS_SNI VERSION_INTERFACE VERSION_LIBRARY SERVER_S_DN SERVER_S_DN_CN "
              "SERVER_I_DN SERVER_I_DN_CN CLIENT_VERIFY");
    add_names(r, words, "SSL_CLIENT_",
              "CERT CERT_RFC4523_CEA M_VERSION M_SERIAL V_START V_END V_REMAIN A_SIG A_KEY "
              "SAN_Email_0 SAN_DNS_0" NAMES_OF_ONE("S") NAMES_OF_ONE("I"));
}

/* Asks a function; *result: the answer. As wsgid_request_ask(). */
static int ask_function(request_rec *r, const wsgid_route_t *route, const char *const *question,
                        const request_rec **result)
{
    apr_array_header_t *words = apr_array_make(r->pool, 8, sizeof(const char *));

    for (; *question; question++) {
        APR_ARRAY_PUSH(words, const char *) = *question;
    }
    add_tls(r, words);
    APR_ARRAY_PUSH(words, const char *) = NULL;
    return wsgid_request_ask(r, route, (const char *const *)words->elts, result);
}

/* Asks; *result: the answer. OK or an HTTP status, as wsgid_request_ask(). */
static int ask(request_rec *r, wsgid_decider_e decider, const char *function, const char *directive,
               const char *const *question, const request_rec **result)
{
    const wsgid_route_t *route = wsgid_route_to_decider(r, decider, function);

    if (route) {
        return ask_function(r, route, question, result);
    }
    ap_log_rerror(APLOG_MARK, APLOG_ERR, 0, r,
                  "WSGID0521: access to %s is refused: the configuration wants %s to be asked, but "
                  "no %s applies here: add it to the same section",
                  r->uri, function, directive);
    return HTTP_INTERNAL_SERVER_ERROR;
}

/* ---- WSGIAccessScript */

static int check_access(request_rec *r)
{
    const wsgid_route_t *route = wsgid_route_to_decider(r, WSGID_DECIDER_ACCESS, "allow_access()");
    const char *question[] = { "wsgid.host", NULL, NULL };
    const request_rec *answer;
    int status;

    if (!route) {
        return DECLINED;
    }
    question[1] = ap_get_useragent_host(r, REMOTE_NAME, NULL);
    status = ask_function(r, route, question, &answer);
    if (status != OK || answer->status == YES) {
        return status;
    }
    ap_log_rerror(APLOG_MARK, APLOG_ERR, 0, r,
                  "WSGID0522: client denied by allow_access() of %s: %s", route->handler_script,
                  r->uri);
    return HTTP_FORBIDDEN;
}

/* ---- AuthBasicProvider wsgi, AuthDigestProvider wsgi */

/* For mod_authn_socache, if it is there. */
static void cache(request_rec *r, const char *user, const char *realm, const char *hash)
{
    APR_OPTIONAL_FN_TYPE(ap_authn_cache_store) *store = APR_RETRIEVE_OPTIONAL_FN(
        ap_authn_cache_store);

    if (store) {
        store(r, "wsgi", user, realm, hash);
    }
}

/* The script gives no hash of the password, so httpd makes one. */
static void cache_password(request_rec *r, const char *user, const char *password)
{
    unsigned char bytes[SALT_SIZE];
    char salt[SALT_SIZE + 1], hash[120];
    int i;

    if (!APR_RETRIEVE_OPTIONAL_FN(ap_authn_cache_store)
        || apr_generate_random_bytes(bytes, sizeof(bytes)) != APR_SUCCESS) {
        return;
    }
    for (i = 0; i < SALT_SIZE; i++) {
        salt[i] = "./0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"[bytes[i] % 64];
    }
    salt[SALT_SIZE] = '\0';
    if (apr_md5_encode(password, salt, hash, sizeof(hash)) == APR_SUCCESS) {
        cache(r, user, NULL, hash);
    }
}

static authn_status check_password(request_rec *r, const char *user, const char *password)
{
    const char *const question[] = { "wsgid.user", user, "wsgid.password", password, NULL };
    const request_rec *answer;
    const char *other_name;

    if (ask(r, WSGID_DECIDER_USER, "check_password()", "WSGIAuthUserScript", question, &answer)
        != OK) {
        return AUTH_GENERAL_ERROR;
    }
    switch (answer->status) {
    case YES: break;
    case NO: return AUTH_DENIED;
    case UNKNOWN: return AUTH_USER_NOT_FOUND;
    default: return AUTH_GENERAL_ERROR;
    }
    other_name = apr_table_get(answer->headers_out, ANSWER);
    if (other_name) { /* which the cache could not give */
        r->user = apr_pstrdup(r->pool, other_name);
    }
    else {
        cache_password(r, user, password);
    }
    return AUTH_GRANTED;
}

static authn_status get_realm_hash(request_rec *r, const char *user, const char *realm, char **hash)
{
    const char *const question[] = { "wsgid.user", user, "wsgid.realm", realm, NULL };
    const request_rec *answer;
    const char *found;

    if (ask(r, WSGID_DECIDER_USER, "get_realm_hash()", "WSGIAuthUserScript", question, &answer)
        != OK) {
        return AUTH_GENERAL_ERROR;
    }
    found = apr_table_get(answer->headers_out, ANSWER);
    if (answer->status != YES || !found) {
        return answer->status == UNKNOWN ? AUTH_USER_NOT_FOUND : AUTH_GENERAL_ERROR;
    }
    *hash = apr_pstrdup(r->pool, found);
    cache(r, user, realm, found);
    return AUTH_USER_FOUND;
}

/* ---- Require wsgi-group */

/* As in AuthGroupFile of httpd, letters of either case are the same. */
static int has(const apr_table_t *groups, const char *name)
{
    const apr_array_header_t *entries = apr_table_elts(groups);
    int i;

    for (i = 0; i < entries->nelts; i++) {
        if (!ap_cstr_casecmp(APR_ARRAY_IDX(entries, i, apr_table_entry_t).val, name)) {
            return 1;
        }
    }
    return 0;
}

static authz_status check_group(request_rec *r, const char *wanted, const void *parsed)
{
    const char *const question[] = { "wsgid.user", r->user, NULL };
    const request_rec *answer;
    const char *name;

    (void)parsed;
    if (!r->user) {
        return AUTHZ_DENIED_NO_USER;
    }
    if (ask(r, WSGID_DECIDER_GROUP, "groups_for_user()", "WSGIAuthGroupScript", question, &answer)
            != OK
        || answer->status != YES) {
        return AUTHZ_GENERAL_ERROR;
    }
    while (*(name = ap_getword_conf(r->pool, &wanted))) {
        if (has(answer->headers_out, name)) {
            return AUTHZ_GRANTED;
        }
    }
    ap_log_rerror(APLOG_MARK, APLOG_INFO, 0, r,
                  "WSGID0523: groups_for_user() gave none of the groups of Require wsgi-group for "
                  "the user '%s': %s",
                  r->user, r->uri);
    return AUTHZ_DENIED;
}

/* ---- hooks */

void wsgid_auth_register_hooks(apr_pool_t *p)
{
    static const authn_provider user = { check_password, get_realm_hash };
    static const authz_provider group = { check_group, NULL };
    /* mod_ssl may only then ask for the client's certificate (SSLVerifyClient in a directory) */
    static const char *const before[] = { "mod_ssl.c", NULL };

    ap_hook_check_access(check_access, before, NULL, APR_HOOK_MIDDLE, AP_AUTH_INTERNAL_PER_CONF);
    ap_register_auth_provider(p, AUTHN_PROVIDER_GROUP, "wsgi", AUTHN_PROVIDER_VERSION, &user,
                              AP_AUTH_INTERNAL_PER_CONF);
    ap_register_auth_provider(p, AUTHZ_PROVIDER_GROUP, "wsgi-group", AUTHZ_PROVIDER_VERSION, &group,
                              AP_AUTH_INTERNAL_PER_CONF);
}
