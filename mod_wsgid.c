/*
 * mod_wsgid: Python WSGI applications in daemon processes, which a guardian process for each group
 * starts, watches and replaces.
 *
 * The table of contents: the module record and the hooks, each concern in one line. What a function
 * does is in the file that its name says: wsgid_groups_... is in apxs/config/groups.c. How the
 * parts fit together is in docs/design.md.
 */
#include "apxs/auth/auth.h"
#include "apxs/config/aliases.h"
#include "apxs/config/completion.h"
#include "apxs/config/directives.h"
#include "apxs/config/names.h"
#include "apxs/config/scopes.h"
#include "apxs/config/trust.h"
#include "apxs/guardian/guardian.h"
#include "apxs/request/request.h"
#include "apxs/spawn/spawn.h"
#include "apxs/status/status.h"
#include "http_main.h"
#include "mpm_common.h"

static int check_config(apr_pool_t *pconf, apr_pool_t *plog, apr_pool_t *ptemp, server_rec *s)
{
    int result = wsgid_completion_check_config(pconf, plog, ptemp, s);

    return result == OK ? wsgid_descriptor_limits_check(s) : result;
}

static int post_config(apr_pool_t *pconf, apr_pool_t *plog, apr_pool_t *ptemp, server_rec *s)
{
    (void)plog;
    ap_add_version_component(pconf, "mod_wsgid/" WSGID_VERSION);
    if (ap_state_query(AP_SQ_MAIN_STATE) == AP_SQ_MS_CREATE_PRE_CONFIG) {
        return OK; /* httpd reads its configuration twice at start: this is the first time */
    }
    wsgid_trust_post_config(ptemp, s);
    wsgid_descriptor_limits_raise(s);
    return wsgid_parent_post_config(pconf, ptemp, s);
}

static void child_init(apr_pool_t *pchild, server_rec *s)
{
    wsgid_parent_child_init(s);
    (void)wsgid_descriptor_limits_restore(); /* it can only lower the limit */
    wsgid_in_flight_claim_row(s);
    wsgid_dispatch_child_init(pchild, s);
    wsgid_spool_child_init(pchild);
    wsgid_keepalive_child_init();
}

/* In the parent, when a child of httpd has started or ended. */
static void child_status(server_rec *s, pid_t pid, ap_generation_t generation, int slot,
                         mpm_child_status status)
{
    (void)s;
    (void)slot;
    (void)generation;
    wsgid_in_flight_child_status(pid, status);
}

/* In the parent, about every ten seconds: forks guardians that could not be forked for lack of
 * memory or processes. */
static int monitor(apr_pool_t *p, server_rec *s)
{
    (void)p;
    (void)s;
    wsgid_parent_poll();
    return OK;
}

static void register_hooks(apr_pool_t *p)
{
    /* After mod_alias, so that Alias /static wins over WSGIScriptAlias /; before the modules that
     * map every URL. */
    static const char *const before_us[] = { "mod_alias.c", NULL };
    static const char *const after_us[] = { "mod_userdir.c", "mod_vhost_alias.c", NULL };
    /* It forks a process that executes nothing: what we open must not be there yet. */
    static const char *const forks[] = { "mod_cgid.c", NULL };

    wsgid_names_add(p);
    ap_hook_pre_config(wsgid_directives_pre_config, NULL, NULL, APR_HOOK_MIDDLE);
    ap_hook_check_config(check_config, NULL, NULL, APR_HOOK_MIDDLE);
    ap_hook_post_config(post_config, forks, NULL, APR_HOOK_MIDDLE);
    ap_hook_child_init(child_init, NULL, NULL, APR_HOOK_MIDDLE);
    ap_hook_child_status(child_status, NULL, NULL, APR_HOOK_MIDDLE);
    ap_hook_monitor(monitor, NULL, NULL, APR_HOOK_MIDDLE);
    ap_hook_translate_name(wsgid_aliases_translate, before_us, after_us, APR_HOOK_MIDDLE);
    ap_hook_handler(wsgid_request_handler, NULL, NULL, APR_HOOK_MIDDLE);
    ap_hook_log_transaction(wsgid_access_log_log_transaction, NULL, NULL, APR_HOOK_FIRST);
    wsgid_status_handler_register_hooks();
    wsgid_auth_register_hooks(p);
}

module AP_MODULE_DECLARE_DATA wsgid_module = {
    STANDARD20_MODULE_STUFF,
    wsgid_scopes_create_directory,
    wsgid_scopes_merge_directory,
    wsgid_scopes_create_server,
    wsgid_scopes_merge_server,
    wsgid_directives_table,
    register_hooks,
    0                                   /* no flags */
};

/* LoadModule wsgi_module .../mod_wsgid.so: mod_wsgi's line, with another file. */
extern module AP_MODULE_DECLARE_DATA wsgi_module __attribute__((alias("wsgid_module")));
