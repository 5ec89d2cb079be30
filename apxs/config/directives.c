/*
 * The configuration of servers and directories: create, merge, all directives but
 * WSGIDaemonProcess's options (options.c) and script aliases (aliases.c). What they come to for one
 * request is in route.c.
 *
 * Rules: what is wrong is refused while the configuration is read, in one line (httpd adds file and
 * line). What mod_wsgi has and we have not is accepted with one notice, unless to ignore it would
 * open what it protects.
 */
#include "config/configuration.h"
#include "slots/listener.h"

#include <limits.h>
#include <stdlib.h>

#include "apr_fnmatch.h"
#include "apr_hash.h"
#include "http_main.h"

/* of the 107 bytes of a socket's path; the rest is pid, numbers and suffix */
#define MAX_SOCKET_PREFIX 72

typedef struct {
    const char *name;
    const char *where;
} mention_t;

/* A section that holds WSGIProcessName or WSGICallableObject. */
typedef struct {
    wsgid_says_e what;
    const server_rec *server;
    const char
        *directive;   /* "<Directory", "<Location"; NULL where it is not plain to what it applies */
    const char *path; /* wsgid_aliases_prefix() */
} section_t;

/* Of one reading of the configuration; in pconf. */
static struct {
    apr_pool_t *pool;
    apr_hash_t *notices; /* those that have been given */
    apr_array_header_t *mentions;
    apr_array_header_t *sections;
} reading;

/* pre_config. */
void wsgid_directives_reset(apr_pool_t *pconf)
{
    reading.pool = pconf;
    reading.notices = apr_hash_make(pconf);
    reading.mentions = apr_array_make(pconf, 8, sizeof(mention_t));
    reading.sections = apr_array_make(pconf, 8, sizeof(section_t));
}

int wsgid_directives_check_modules(server_rec *s)
{
    if (!ap_find_linked_module("mod_wsgi.c")) {
        return OK;
    }
    ap_log_error(APLOG_MARK, APLOG_CRIT, 0, s,
                 "WSGID0001: mod_wsgi is loaded, too, and both have the same directives: "
                 "remove one of the two LoadModule lines (Debian: a2dismod wsgi)");
    return HTTP_INTERNAL_SERVER_ERROR;
}

/* ---- create and merge */

void *wsgid_directives_create_server(apr_pool_t *p, server_rec *s)
{
    wsgid_server_config_t *config = apr_pcalloc(p, sizeof(*config));

    (void)s;
    config->aliases = apr_array_make(p, 4, sizeof(wsgid_alias_t));
    return config;
}

/* A virtual host's aliases come first, then the main server's. */
void *wsgid_directives_merge_server(apr_pool_t *p, void *base, void *add)
{
    const wsgid_server_config_t *main_server = base;
    const wsgid_server_config_t *host = add;
    wsgid_server_config_t *merged = apr_pmemdup(p, main_server, sizeof(*merged));

    merged->aliases = apr_array_append(p, host->aliases, main_server->aliases);
    return merged;
}

void *wsgid_directives_create_dir(apr_pool_t *p, char *dir)
{
    wsgid_dir_config_t *config = apr_pcalloc(p, sizeof(*config));

    (void)dir;
    config->pass_authorization = WSGID_UNSET;
    config->error_override = WSGID_UNSET;
    config->chunked_request = WSGID_UNSET;
    config->map_head_to_get = WSGID_UNSET;
    config->script_reloading = WSGID_UNSET;
    return config;
}

void *wsgid_directives_merge_dir(apr_pool_t *p, void *base, void *add)
{
    const wsgid_dir_config_t *inner = add;
    wsgid_dir_config_t *merged = apr_pmemdup(p, base, sizeof(*merged));

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
    TAKE(sendfile, NULL)
    TAKE(allowed, NULL)
#undef TAKE
    return merged;
}

const char *wsgid_directives_socket_prefix(apr_pool_t *p, server_rec *s)
{
    const wsgid_server_config_t *config = ap_get_module_config(s->module_config, &wsgid_module);

    return config && config->socket_prefix ? config->socket_prefix
                                           : ap_runtime_dir_relative(p, "wsgid");
}

/* ---- what is remembered of a reading */

const char *wsgid_directives_where(const cmd_parms *cmd)
{
    return apr_psprintf(cmd->pool, "%s:%d", cmd->directive->filename, cmd->directive->line_num);
}

/* A .htaccess file is read by a request: nothing may be remembered of it, and a notice would come
 * each time. */
static int is_htaccess(const cmd_parms *cmd)
{
    return cmd->pool == cmd->temp_pool;
}

void wsgid_directives_notice(const char *key, const char *line)
{
    if (apr_hash_get(reading.notices, key, APR_HASH_KEY_STRING)) {
        return;
    }
    apr_hash_set(reading.notices, apr_pstrdup(reading.pool, key), APR_HASH_KEY_STRING, "");
    ap_log_error(APLOG_MARK, APLOG_NOTICE, 0, ap_server_conf, "%s", line);
}

void wsgid_directives_notice_application_group(const char *value)
{
    if (strcmp(value, "%{GLOBAL}")) {
        wsgid_directives_notice(
            "WSGIApplicationGroup",
            "WSGID0017: WSGIApplicationGroup has no effect here other than %{GLOBAL}: a process has "
            "one interpreter; to keep applications apart, give each its own WSGIDaemonProcess");
    }
}

const char *wsgid_directives_literal(const char *value)
{
    return !strcmp(value, "%{GLOBAL}")          ? WSGID_DEFAULT_GROUP
           : wsgid_variables_is_variable(value) ? NULL
                                                : value;
}

void wsgid_directives_mention_group(const cmd_parms *cmd, const char *name)
{
    const char *literal = wsgid_directives_literal(name);
    mention_t *mention;

    if (!literal || is_htaccess(cmd)) {
        return;
    }
    mention = apr_array_push(reading.mentions);
    mention->name = apr_pstrdup(reading.pool, literal);
    mention->where = wsgid_directives_where(cmd);
}

int wsgid_directives_is_mentioned(const char *name)
{
    int i;

    for (i = 0; i < reading.mentions->nelts; i++) {
        if (!strcmp(APR_ARRAY_IDX(reading.mentions, i, mention_t).name, name)) {
            return 1;
        }
    }
    return 0;
}

void wsgid_directives_check_mentions(apr_pool_t *p, server_rec *s)
{
    apr_hash_t *told = apr_hash_make(p);
    int i;

    for (i = 0; i < reading.mentions->nelts; i++) {
        const mention_t *mention = &APR_ARRAY_IDX(reading.mentions, i, mention_t);
        if (wsgid_groups_find(mention->name)
            || apr_hash_get(told, mention->name, APR_HASH_KEY_STRING)) {
            continue;
        }
        apr_hash_set(told, mention->name, APR_HASH_KEY_STRING, "");
        ap_log_error(APLOG_MARK, APLOG_WARNING, 0, s,
                     "WSGID0018: there is no daemon group '%s' as named at %s: its "
                     "requests will get 500; known groups: %s",
                     mention->name, mention->where, wsgid_groups_known(p));
    }
}

/* ---- sections */

/* The one <Directory> or <Location> around a directive; NULL if there are more, or others. */
static const ap_directive_t *plain_section(const cmd_parms *cmd)
{
    const ap_directive_t *section = cmd->directive->parent;
    const ap_directive_t *outer = section ? section->parent : NULL;

    if (!section || (outer && (ap_cstr_casecmp(outer->directive, "<VirtualHost") || outer->parent))
        || (ap_cstr_casecmp(section->directive, "<Directory")
            && ap_cstr_casecmp(section->directive, "<Location"))
        || strchr(section->args, '~') || apr_fnmatch_test(cmd->path)) {
        return NULL;
    }
    return section;
}

static void remember_section(const cmd_parms *cmd, wsgid_says_e what)
{
    const ap_directive_t *plain;
    section_t *section;

    if (!cmd->path || is_htaccess(cmd)) {
        return;
    }
    plain = plain_section(cmd);
    section = apr_array_push(reading.sections);
    section->what = what;
    section->server = cmd->server;
    section->directive = plain ? plain->directive : NULL;
    section->path = wsgid_aliases_prefix(reading.pool, cmd->path);
}

static wsgid_decides_e section_decides(const section_t *section, const wsgid_alias_t *alias)
{
    const char *covered = alias->target;

    if (!section->directive) {
        return WSGID_DECIDES_MAYBE;
    }
    if (!ap_cstr_casecmp(section->directive, "<Location")) {
        if (alias->expression) {
            return WSGID_DECIDES_MAYBE;
        }
        covered = alias->url;
    }
    return wsgid_aliases_is_below(covered, section->path) ? WSGID_DECIDES : WSGID_DECIDES_NOT;
}

wsgid_decides_e wsgid_directives_sections_decide(wsgid_says_e what, const server_rec *s,
                                                 const wsgid_alias_t *alias)
{
    wsgid_decides_e decides = WSGID_DECIDES_NOT;
    int i;

    for (i = 0; i < reading.sections->nelts; i++) {
        const section_t *section = &APR_ARRAY_IDX(reading.sections, i, section_t);
        if (section->what == what && (section->server == s || !section->server->is_virtual)) {
            wsgid_decides_e one = section_decides(section, alias);
            decides = one > decides ? one : decides;
        }
    }
    return decides;
}

/* ---- directives */

static const char *define_group(cmd_parms *cmd, void *dir, const char *words)
{
    const char *name = ap_getword_conf(cmd->pool, &words);

    (void)dir;
    return wsgid_groups_define(cmd, name, words);
}

static const char *set_group(cmd_parms *cmd, void *dir, const char *name)
{
    wsgid_dir_config_t *config = dir;
    const char *error = wsgid_variables_check(cmd->pool, name);

    if (!error) {
        config->group = name;
        wsgid_directives_mention_group(cmd, name);
        remember_section(cmd, WSGID_SAYS_GROUP);
    }
    return error;
}

static const char *set_callable(cmd_parms *cmd, void *dir, const char *name)
{
    wsgid_dir_config_t *config = dir;

    config->callable = name;
    remember_section(cmd, WSGID_SAYS_CALLABLE);
    return wsgid_variables_check(cmd->pool, name);
}

static const char *set_application_group(cmd_parms *cmd, void *dir, const char *name)
{
    wsgid_dir_config_t *config = dir;
    const char *error = wsgid_variables_check(cmd->pool, name);

    if (!error) {
        config->application_group = name;
        if (!is_htaccess(cmd)) {
            wsgid_directives_notice_application_group(name);
        }
    }
    return error;
}

static const char *set_map_head(cmd_parms *cmd, void *dir, const char *value)
{
    wsgid_dir_config_t *config = dir;

    if (!ap_cstr_casecmp(value, "auto")) {
        config->map_head_to_get = WSGID_MAP_HEAD_AUTO;
    }
    else if (!ap_cstr_casecmp(value, "on")) {
        config->map_head_to_get = WSGID_MAP_HEAD_ON;
    }
    else if (!ap_cstr_casecmp(value, "off")) {
        config->map_head_to_get = WSGID_MAP_HEAD_OFF;
    }
    else {
        return apr_psprintf(cmd->pool, "WSGID0028: WSGIMapHEADToGET %s: neither Auto, On nor Off",
                            value);
    }
    return NULL;
}

/* Resolved now, so that a link that is changed later cannot open another directory. */
static const char *add_sendfile_path(cmd_parms *cmd, void *dir, const char *path)
{
    wsgid_dir_config_t *config = dir;
    char resolved[PATH_MAX];
    const char *directory = ap_server_root_relative(cmd->pool, path);
    apr_array_header_t *list = config->sendfile
                                   ? (apr_array_header_t *)config->sendfile
                                   : apr_array_make(cmd->pool, 1, sizeof(const char *));

    if (!directory || !realpath(directory, resolved) || !ap_is_directory(cmd->temp_pool, resolved)
        || !strcmp(resolved, "/")) {
        return apr_psprintf(cmd->pool, "WSGID0029: WSGISendfilePath %s: not a directory below /",
                            path);
    }
    APR_ARRAY_PUSH(list, const char *) = apr_pstrdup(cmd->pool, resolved);
    config->sendfile = list;
    return NULL;
}

static const char *restrict_group(cmd_parms *cmd, void *dir, const char *name)
{
    wsgid_dir_config_t *config = dir;
    const char *literal = wsgid_directives_literal(name);

    if (!literal) {
        return apr_psprintf(
            cmd->pool,
            "WSGID0025: %s: WSGIRestrictProcess takes names of groups and %%{GLOBAL}, no "
            "other variables",
            name);
    }
    if (!config->allowed) {
        config->allowed = apr_hash_make(cmd->pool);
    }
    apr_hash_set(config->allowed, literal, APR_HASH_KEY_STRING, literal);
    return NULL;
}

static const char *set_socket_prefix(cmd_parms *cmd, void *dir, const char *text)
{
    wsgid_server_config_t *config = ap_get_module_config(cmd->server->module_config, &wsgid_module);
    const char *error = ap_check_cmd_context(cmd, GLOBAL_ONLY);
    const char *path = ap_server_root_relative(cmd->pool, text);
    const char *wrong;

    (void)dir;
    if (error) {
        return error;
    }
    if (!path || strlen(path) > MAX_SOCKET_PREFIX) {
        return apr_psprintf(
            cmd->pool,
            "WSGID0026: WSGISocketPrefix %s: not a path of at most %d characters (absolute, "
            "or relative to ServerRoot)",
            text, MAX_SOCKET_PREFIX);
    }
    wrong = wsgid_listener_check_directory(cmd->pool, path);
    if (wrong) {
        return apr_psprintf(
            cmd->pool,
            "WSGID0061: sockets cannot be made under WSGISocketPrefix %s: %s: set it to a path in a directory "
            "of root's",
            text, wrong);
    }
    config->socket_prefix = path;
    return NULL;
}

static const char *set_python(cmd_parms *cmd, void *dir, const char *text)
{
    const char *error = ap_check_cmd_context(cmd, GLOBAL_ONLY);

    (void)dir;
    return error ? error
                 : wsgid_groups_set_default(cmd->pool, (wsgid_option_e)(intptr_t)cmd->info, text);
}

/* A container's lines are in the tree below it, where nobody asks for them. */
static const char *ignore(cmd_parms *cmd, void *dir, const char *words)
{
    const char *name = cmd->cmd->name + (cmd->cmd->name[0] == '<');

    (void)dir;
    (void)words;
    if (!is_htaccess(cmd)) {
        wsgid_directives_notice(name,
                                apr_psprintf(cmd->pool, "WSGID0014: %s has no effect here: %s",
                                             name, (const char *)cmd->info));
    }
    return NULL;
}

static const char *refuse(cmd_parms *cmd, void *dir, const char *words)
{
    (void)dir;
    (void)words;
    return apr_psprintf(
        cmd->pool,
        "WSGID0015: %s is not available here, and to ignore it would open what it protects: "
        "%s",
        cmd->cmd->name, (const char *)cmd->info);
}

#define PASS_AUTHORIZATION APR_OFFSETOF(wsgid_dir_config_t, pass_authorization)
#define ERROR_OVERRIDE     APR_OFFSETOF(wsgid_dir_config_t, error_override)
#define CHUNKED_REQUEST    APR_OFFSETOF(wsgid_dir_config_t, chunked_request)
#define SCRIPT_RELOADING   APR_OFFSETOF(wsgid_dir_config_t, script_reloading)

#define IN_SERVER    RSRC_CONF
#define IN_DIRECTORY (RSRC_CONF | ACCESS_CONF)
#define IN_HTACCESS  OR_FILEINFO

const command_rec wsgid_directives_directives[] = {
#define DIRECTIVE(how, name, function, data, context, syntax, ...) \
    AP_INIT_##how(name, function, data, context, syntax),
#define FOREIGN_DIRECTIVE(name, context, fix) \
    AP_INIT_RAW_ARGS(name, ignore, (void *)fix, context, fix),
#define REFUSED_DIRECTIVE(name, fix) AP_INIT_RAW_ARGS(name, refuse, (void *)fix, OR_ALL, fix),
#include "config/directives.def"
    { NULL, { NULL }, NULL, 0, RAW_ARGS, NULL }
};
