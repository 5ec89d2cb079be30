/*
 * mod_wsgi's names, so that its configurations need no change: <IfModule mod_wsgi.c>, <IfModule
 * wsgi_module> and LogLevel wsgi:debug are about this module, whose LoadModule line may say
 * wsgi_module.
 *
 * httpd knows a module by the name in its record, or in its LoadModule line. So its list gets
 * further records, which have a name and the index of this module, and nothing else. (httpd's own
 * functions would give each an index of its own: then LogLevel would set that one's level.)
 */
#include "config/names.h"

#define THEIR_FILE "mod_wsgi.c"

static module names[] = { { .name = THEIR_FILE },
                          { .name = "wsgi_module" },
                          { .name = "wsgid_module" } };

#define COUNT (sizeof(names) / sizeof(*names))

static int loads; /* LoadModule lines that name this file */

/* httpd has removed the module's own record before, and unloads the file afterwards. */
static apr_status_t remove_names(void *unused)
{
    module **link = &ap_top_module;

    (void)unused;
    loads = 0;
    while (*link) {
        if (*link >= names && *link < names + COUNT) {
            *link = (*link)->next;
        }
        else {
            link = &(*link)->next;
        }
    }
    return APR_SUCCESS;
}

void wsgid_names_add(apr_pool_t *p)
{
    apr_size_t i;

    if (loads++) {
        return; /* wsgid_names_check() refuses that */
    }
    for (i = 0; i < COUNT; i++) {
        names[i].module_index = wsgid_module.module_index;
        names[i].next = ap_top_module;
        ap_top_module = &names[i];
    }
    apr_pool_cleanup_register(p, NULL, remove_names, apr_pool_cleanup_null);
}

static int refuse(const char *why)
{
    ap_log_error(APLOG_MARK, APLOG_CRIT, 0, NULL, "WSGID0001: %s", why);
    return HTTP_INTERNAL_SERVER_ERROR;
}

int wsgid_names_check(void)
{
    const module *one;

    if (loads > 1) {
        return refuse("mod_wsgid is loaded twice, as wsgid_module and as wsgi_module: remove one "
                      "of the two LoadModule lines");
    }
    for (one = ap_top_module; one; one = one->next) {
        if (!strcmp(one->name, THEIR_FILE) && one->module_index != wsgid_module.module_index) {
            return refuse("mod_wsgi is loaded as well as mod_wsgid, and both define the same "
                          "directives: remove one of the two LoadModule lines (on Debian: a2dismod "
                          "wsgi)");
        }
    }
    return OK;
}
