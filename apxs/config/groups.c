/*
 * The daemon groups: defined while the configuration is read, looked up by requests.
 *
 * Rules: a group belongs to the whole httpd, wherever it is defined; if it is defined in a
 * VirtualHost, it only logs to that host's ErrorLog. The table lives in pconf and does not change
 * after check_config (completion.c), so requests read it without a lock.
 */
#include "config/groups.h"

#include "config/notices.h"

#include "apr_hash.h"
#include "apr_lib.h"

#define MAX_NAME 128 /* of a group: host names are used as names */

static struct {
    apr_array_header_t *all; /* wsgid_group_t *, in order of definition */
    apr_hash_t *by_name;
    wsgid_value_t *defaults; /* [WSGID_OPT_COUNT]: WSGIPythonHome, WSGIPythonPath ... */
    apr_table_t *variables;  /* WSGIPythonOptimize ...: what comes before env= */
} known;

void wsgid_groups_reset(apr_pool_t *pconf)
{
    known.all = apr_array_make(pconf, 8, sizeof(wsgid_group_t *));
    known.by_name = apr_hash_make(pconf);
    known.variables = apr_table_make(pconf, 4);
    known.defaults = apr_pcalloc(pconf, WSGID_OPT_COUNT * sizeof(wsgid_value_t));
}

const char *wsgid_groups_set_default(const cmd_parms *cmd, wsgid_option_e option, const char *value)
{
    /* The last line applies, as with httpd's own directives. */
    memset(&known.defaults[option], 0, sizeof(*known.defaults));
    return wsgid_options_set(cmd, known.defaults, option, value);
}

void wsgid_groups_apply_default(wsgid_group_t *group, wsgid_option_e option)
{
    if (!group->value[option].given) {
        group->value[option] = known.defaults[option];
    }
}

void wsgid_groups_set_variable(apr_pool_t *p, const char *name, const char *value,
                               const char *joint)
{
    const char *before = joint ? apr_table_get(known.variables, name) : NULL;

    apr_table_set(known.variables, name,
                  before ? apr_pstrcat(p, before, joint, value, NULL) : value);
}

void wsgid_groups_apply_variables(apr_pool_t *p, wsgid_group_t *group)
{
    const apr_array_header_t *variables = apr_table_elts(known.variables);
    apr_array_header_t *list = apr_array_make(p, variables->nelts, sizeof(const char *));
    wsgid_value_t *own = &group->value[WSGID_OPT_ENV];
    int i;

    for (i = 0; i < variables->nelts; i++) {
        const apr_table_entry_t *entry = &APR_ARRAY_IDX(variables, i, apr_table_entry_t);
        APR_ARRAY_PUSH(list, const char *) = apr_pstrcat(p, entry->key, "=", entry->val, NULL);
    }
    own->list = own->list ? apr_array_append(p, list, own->list) : list;
}

/* ---- definition */

static const char *refuse_name(apr_pool_t *p, const char *name, const char *why)
{
    return apr_psprintf(p, "WSGID0009: '%s' cannot be the name of a daemon group: %s",
                        ap_escape_logitem(p, name), why);
}

/* Returns NULL, or why a group must not have this name. */
static const char *check_name(apr_pool_t *p, const char *name)
{
    const char *c;

    if (!*name) {
        return refuse_name(p, name, "it is empty; write WSGIDaemonProcess NAME [option=value ...]");
    }
    if (strchr(name, '=')) {
        return refuse_name(p, name,
                           "it looks like an option; the name comes first: WSGIDaemonProcess NAME "
                           "[option=value ...]");
    }
    if (strstr(name, "%{")) {
        return refuse_name(
            p, name,
            "it is a variable; %{GLOBAL}, the default group, is the only one that can be defined");
    }
    if (strlen(name) > MAX_NAME) {
        return refuse_name(p, name, apr_psprintf(p, "it is longer than %d bytes", MAX_NAME));
    }
    for (c = name; *c; c++) {
        if (*c == '/' || apr_iscntrl(*c)) {
            return refuse_name(p, name, "it contains a slash or a control character");
        }
    }
    return NULL;
}

wsgid_group_t *wsgid_groups_add(apr_pool_t *p, const char *name, server_rec *s, const char *where)
{
    wsgid_group_t *group = apr_pcalloc(p, sizeof(*group));

    group->name = name;
    group->label = wsgid_groups_label(name);
    group->server = s;
    group->where = where;
    group->pools = apr_array_make(p, 24, sizeof(struct wsgid_pool_t *));
    APR_ARRAY_PUSH(known.all, wsgid_group_t *) = group;
    apr_hash_set(known.by_name, name, APR_HASH_KEY_STRING, group);
    return group;
}

/* A second line with the same name: tools that copy a virtual host produce the same line again. */
static const char *define_again(apr_pool_t *p, const wsgid_group_t *group,
                                const wsgid_value_t *values)
{
    if (wsgid_options_equal(group->value, values)) {
        return NULL;
    }
    return apr_psprintf(
        p,
        "WSGID0010: daemon group '%s' is already defined with other options at %s; make both lines "
        "the same, or remove one",
        group->label, group->where);
}

const char *wsgid_groups_define(cmd_parms *cmd, const char *name, const char *words)
{
    wsgid_value_t *values = apr_pcalloc(cmd->pool, WSGID_OPT_COUNT * sizeof(*values));
    const char *group_name = strcmp(name, "%{GLOBAL}") ? name : WSGID_DEFAULT_GROUP;
    const char *error = *group_name || !*name ? check_name(cmd->pool, name) : NULL;
    wsgid_group_t *group;

    if (error || (error = wsgid_options_parse(cmd, values, words))) {
        return error;
    }
    group = wsgid_groups_find(group_name);
    if (group) {
        return define_again(cmd->pool, group, values);
    }
    group = wsgid_groups_add(cmd->pool, apr_pstrdup(cmd->pool, group_name), cmd->server,
                             wsgid_notices_where(cmd));
    memcpy(group->value, values, sizeof(group->value));
    return NULL;
}

/* ---- look-up */

const char *wsgid_groups_label(const char *name)
{
    return *name ? name : "%{GLOBAL}";
}

wsgid_group_t *wsgid_groups_find(const char *name)
{
    return apr_hash_get(known.by_name, name, APR_HASH_KEY_STRING);
}

const apr_array_header_t *wsgid_groups_all(void)
{
    return known.all;
}

const char *wsgid_groups_known(apr_pool_t *p)
{
    apr_array_header_t *labels = apr_array_make(p, known.all->nelts, sizeof(const char *));
    int i;

    for (i = 0; i < known.all->nelts; i++) {
        const wsgid_group_t *group = APR_ARRAY_IDX(known.all, i, wsgid_group_t *);
        APR_ARRAY_PUSH(labels, const char *) = apr_pstrcat(p, i ? ", " : "", group->label, NULL);
    }
    return labels->nelts ? apr_array_pstrcat(p, labels, 0) : "none";
}
