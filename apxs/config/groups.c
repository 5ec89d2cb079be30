/*
 * The known daemon groups: defined while the configuration is read, completed once all of it is
 * known, looked up by requests.
 *
 * Rules: groups are global to the httpd, wherever they are defined; a definition within a
 * VirtualHost only chooses that one's ErrorLog. The table lives in pconf and does not change after
 * wsgid_groups_check_config, so that requests read it without a lock.
 */
#include "config/groups.h"

#include "config/aliases.h"
#include "config/mentions.h"
#include "config/notices.h"
#include "config/route.h"
#include "config/scopes.h"
#include "config/sections.h"
#include "config/variables.h"

#include "apr_hash.h"
#include "apr_lib.h"

#define MAX_NAME 128 /* of a group; host names are used as such */

static struct {
    apr_array_header_t *all; /* wsgid_group_t *, in order of definition */
    apr_hash_t *by_name;
    wsgid_value_t *defaults; /* [WSGID_OPT_COUNT]: WSGIPythonHome, WSGIPythonPath */
} known;

/* pre_config. */
void wsgid_groups_reset(apr_pool_t *pconf)
{
    known.all = apr_array_make(pconf, 8, sizeof(wsgid_group_t *));
    known.by_name = apr_hash_make(pconf);
    known.defaults = apr_pcalloc(pconf, WSGID_OPT_COUNT * sizeof(wsgid_value_t));
}

const char *wsgid_groups_set_default(apr_pool_t *p, wsgid_option_e option, const char *value)
{
    /* The last line wins, as with httpd's own directives. */
    memset(&known.defaults[option], 0, sizeof(*known.defaults));
    return wsgid_options_set(p, known.defaults, option, value);
}

/* ---- definition */

static const char *refuse_name(apr_pool_t *p, const char *name, const char *why)
{
    return apr_psprintf(p, "WSGID0009: '%s' cannot be the name of a daemon group: %s",
                        ap_escape_logitem(p, name), why);
}

/* NULL, or why a group may not be called that. */
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
        return refuse_name(p, name, apr_psprintf(p, "it is longer than %d characters", MAX_NAME));
    }
    for (c = name; *c; c++) {
        if (*c == '/' || apr_iscntrl(*c) || apr_isspace(*c)) {
            return refuse_name(p, name, "it contains a slash, a space or a control character");
        }
    }
    return NULL;
}

static wsgid_group_t *add_group(apr_pool_t *p, const char *name, server_rec *s, const char *where)
{
    wsgid_group_t *group = apr_pcalloc(p, sizeof(*group));

    group->name = name;
    group->label = *name ? name : "%{GLOBAL}";
    group->server = s;
    group->where = where;
    group->scripts = apr_array_make(p, 2, sizeof(wsgid_script_t));
    APR_ARRAY_PUSH(known.all, wsgid_group_t *) = group;
    apr_hash_set(known.by_name, name, APR_HASH_KEY_STRING, group);
    return group;
}

/* A name that is there already: the same again is what a tool makes that copies a virtual host. */
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

    if (error || (error = wsgid_options_parse(cmd->pool, values, words))) {
        return error;
    }
    group = wsgid_groups_find(group_name);
    if (group) {
        return define_again(cmd->pool, group, values);
    }
    group = add_group(cmd->pool, apr_pstrdup(cmd->pool, group_name), cmd->server,
                      wsgid_notices_where(cmd));
    memcpy(group->value, values, sizeof(group->value));
    return NULL;
}

/* ---- look-up */

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

/* ---- completion: the aliases of every server */

/* What the server scope of an alias says; sections may say otherwise. */
static const wsgid_directory_config_t *server_scope(server_rec *s)
{
    return ap_get_module_config(s->lookup_defaults, &wsgid_module);
}

/* The group that an alias leads to where no section decides, NULL if only a request can tell. */
static const char *alias_group(server_rec *s, const wsgid_alias_t *alias)
{
    const char *named = alias->group ? alias->group : server_scope(s)->group;

    return named ? wsgid_variables_literal(named) : WSGID_DEFAULT_GROUP;
}

typedef void visitor_t(apr_pool_t *p, server_rec *s, const wsgid_alias_t *alias, void *data);

static void visit_aliases(apr_pool_t *p, server_rec *main_server, visitor_t *visit, void *data)
{
    server_rec *s;
    int i;

    for (s = main_server; s; s = s->next) {
        const wsgid_server_config_t *config = ap_get_module_config(s->module_config, &wsgid_module);
        for (i = 0; i < config->aliases->nelts; i++) {
            visit(p, s, &APR_ARRAY_IDX(config->aliases, i, wsgid_alias_t), data);
        }
    }
}

static void find_default(apr_pool_t *p, server_rec *s, const wsgid_alias_t *alias, void *found)
{
    const char *group = alias_group(s, alias);
    int is_overruled = !alias->group
                       && wsgid_sections_decide(WSGID_SECTION_GROUP, s, alias) == WSGID_DECIDES;

    (void)p;
    if (group && !*group && !is_overruled) {
        *(int *)found = 1;
    }
}

/*
 * The default group is made where something can lead to it: no group is defined at all (then it
 * serves whatever there is, AddHandler too), %{GLOBAL} is named somewhere, or an alias has no
 * group.
 */
static void add_default_group(apr_pool_t *pconf, server_rec *main_server)
{
    int wanted = !known.all->nelts || wsgid_mentions_has(WSGID_DEFAULT_GROUP);

    visit_aliases(pconf, main_server, find_default, &wanted);
    if (wanted && !wsgid_groups_find(WSGID_DEFAULT_GROUP)) {
        add_group(pconf, WSGID_DEFAULT_GROUP, main_server, "built in");
    }
}

static int has_script(const wsgid_group_t *group, const char *path, const char *callable)
{
    int i;

    for (i = 0; i < group->scripts->nelts; i++) {
        const wsgid_script_t *script = &APR_ARRAY_IDX(group->scripts, i, wsgid_script_t);
        if (!strcmp(script->path, path) && !strcmp(script->callable, callable)) {
            return 1;
        }
    }
    return 0;
}

static int is_file(apr_pool_t *p, const char *path)
{
    apr_finfo_t info;

    return apr_stat(&info, path, APR_FINFO_TYPE, p) == APR_SUCCESS && info.filetype == APR_REG;
}

/* What is loaded before the first request must be what that request will ask for: no guess where a
 * section decides. */
static int is_settled(const server_rec *s, const wsgid_alias_t *alias)
{
    return !alias->expression
           && (alias->group
               || wsgid_sections_decide(WSGID_SECTION_GROUP, s, alias) == WSGID_DECIDES_NOT)
           && (alias->callable
               || wsgid_sections_decide(WSGID_SECTION_CALLABLE, s, alias) == WSGID_DECIDES_NOT);
}

static void add_script(apr_pool_t *p, server_rec *s, const wsgid_alias_t *alias, void *pconf)
{
    const char *callable = alias->callable ? alias->callable : server_scope(s)->callable;
    const char *name = is_settled(s, alias) ? alias_group(s, alias) : NULL;
    wsgid_group_t *group = name ? wsgid_groups_find(name) : NULL;
    wsgid_script_t *script;

    if (!callable) {
        callable = WSGID_DEFAULT_CALLABLE;
    }
    if (!group || wsgid_variables_is_variable(callable)
        || has_script(group, alias->target, callable) || !is_file(p, alias->target)) {
        return;
    }
    script = apr_array_push(group->scripts);
    script->path = apr_pstrdup(pconf, alias->target);
    script->callable = apr_pstrdup(pconf, callable);
}

/* ---- completion: the options of every group */

static void apply_default(wsgid_group_t *group, wsgid_option_e option)
{
    if (!group->value[option].given) {
        group->value[option] = known.defaults[option];
    }
}

/* "%{GROUP}" in display-name. */
static const char *display_name(apr_pool_t *p, const wsgid_group_t *group, const char *text)
{
    const char *at = strstr(text, "%{GROUP}");

    return !at ? text
               : apr_pstrcat(p, apr_pstrmemdup(p, text, at - text), "wsgid:", group->label,
                             at + strlen("%{GROUP}"), NULL);
}

static const char *complete_group(apr_pool_t *p, wsgid_group_t *group)
{
    const char *error;

    if (!group->value[WSGID_OPT_PYTHON].given) {
        apply_default(group, WSGID_OPT_PYTHON_HOME);
    }
    apply_default(group, WSGID_OPT_PYTHON_PATH);
    error = wsgid_options_complete(p, group->server, group->value);
    if (!error) {
        WSGID_TEXT(group, DISPLAY_NAME) = display_name(p, group, WSGID_TEXT(group, DISPLAY_NAME));
    }
    return error;
}

/* ---- completion: names that no group has */

static void warn_of_unknown_groups(apr_pool_t *p, server_rec *s)
{
    const apr_array_header_t *mentions = wsgid_mentions_all();
    apr_hash_t *warned = apr_hash_make(p);
    int i;

    for (i = 0; i < mentions->nelts; i++) {
        const wsgid_mention_t *mention = &APR_ARRAY_IDX(mentions, i, wsgid_mention_t);
        if (wsgid_groups_find(mention->name)
            || apr_hash_get(warned, mention->name, APR_HASH_KEY_STRING)) {
            continue;
        }
        apr_hash_set(warned, mention->name, APR_HASH_KEY_STRING, "");
        ap_log_error(
            APLOG_MARK, APLOG_WARNING, 0, s,
            "WSGID0018: there is no daemon group '%s', which %s refers to; requests for it "
            "will get status 500: define it with WSGIDaemonProcess, or correct the name; "
            "known groups: %s",
            mention->name, mention->where, wsgid_groups_known(p));
    }
}

int wsgid_groups_check_config(apr_pool_t *pconf, apr_pool_t *plog, apr_pool_t *ptemp,
                              server_rec *main_server)
{
    int i;

    (void)plog;
    add_default_group(pconf, main_server);
    for (i = 0; i < known.all->nelts; i++) {
        wsgid_group_t *group = APR_ARRAY_IDX(known.all, i, wsgid_group_t *);
        const char *error = complete_group(pconf, group);
        if (error) {
            ap_log_error(APLOG_MARK, APLOG_CRIT, 0, main_server,
                         "%s (daemon group '%s', defined at %s)", error, group->label,
                         group->where);
            return HTTP_INTERNAL_SERVER_ERROR;
        }
    }
    visit_aliases(ptemp, main_server, add_script, pconf);
    warn_of_unknown_groups(ptemp, main_server);
    return OK;
}
