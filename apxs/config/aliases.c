/*
 * WSGIScriptAlias and WSGIScriptAliasMatch: from the line of the configuration to the script of a
 * URL.
 *
 * Rules: the first line that matches applies; a virtual host's lines come before the main server's,
 * mod_alias's before ours. A literal alias matches whole path segments. Its target may be a script
 * or a directory of scripts: httpd's own walk along the file name separates the script from
 * PATH_INFO. The request's notes keep which alias matched, because httpd copies nothing else when
 * it replaces a request by another (DirectoryIndex).
 */
#include "config/aliases.h"

#include "common/logs.h"
#include "config/mentions.h"
#include "config/notices.h"
#include "config/options.h"
#include "config/route.h"
#include "config/scopes.h"
#include "config/variables.h"

#define NOTE "wsgid-alias" /* the index of the alias in the server's list */

/* The URL for a message: the prefix "" was written as "/". */
static const char *shown_url(const wsgid_alias_t *alias)
{
    return *alias->url ? alias->url : "/";
}

/* ---- the line */

/* Any text is an application group: mod_wsgi takes what is no variable as a name. */
static const char *set_text(apr_pool_t *p, const char *name, const char **place, const char *value)
{
    *place = apr_pstrdup(p, value);
    return strcmp(name, "application-group") ? wsgid_variables_check(p, value) : NULL;
}

static const char *set_flag(apr_pool_t *p, int *place, const char *name, const char *value)
{
    *place = !ap_cstr_casecmp(value, "on");
    if (!*place && ap_cstr_casecmp(value, "off")) {
        return apr_psprintf(p, "WSGID0019: %s=%s: not on or off", name, value);
    }
    return NULL;
}

static const char *set_option(apr_pool_t *p, wsgid_alias_t *alias, const char *name,
                              const char *value)
{
    const char **text = !strcmp(name, "process-name") || !strcmp(name, "process-group")
                            ? &alias->group
                        : !strcmp(name, "application-group") ? &alias->application_group
                        : !strcmp(name, "callable-object")   ? &alias->callable
                                                             : NULL;
    int is_flag = !strcmp(name, "pass-authorization");

    if (!text && !is_flag) {
        return apr_psprintf(
            p,
            "WSGID0019: unknown option %s=; the options are process-name=, process-group=, "
            "application-group=, callable-object= and pass-authorization=",
            name);
    }
    if (text ? *text != NULL : alias->pass_authorization != WSGID_UNSET) {
        return apr_psprintf(
            p,
            "WSGID0019: %s= is given twice (process-group= is another name for process-name=); "
            "keep one",
            name);
    }
    return text ? set_text(p, name, text, value)
                : set_flag(p, &alias->pass_authorization, name, value);
}

static const char *set_options(cmd_parms *cmd, wsgid_alias_t *alias, const char *words)
{
    const char *error = NULL;
    const char *name;
    const char *value;

    while (!error && wsgid_options_next_word(cmd->pool, &words, &name, &value)) {
        if (!value || !*value) {
            return apr_psprintf(cmd->pool, "WSGID0019: '%s' is not of the form option=value", name);
        }
        error = set_option(cmd->pool, alias, name, value);
    }
    if (!error && alias->group) {
        wsgid_mentions_add(cmd, alias->group);
    }
    return error;
}

const char *wsgid_aliases_prefix(apr_pool_t *p, const char *path)
{
    apr_size_t length = strlen(path);

    while (length && path[length - 1] == '/') {
        length--;
    }
    return apr_pstrmemdup(p, path, length);
}

static const char *set_expression(cmd_parms *cmd, wsgid_alias_t *alias)
{
    alias->expression = ap_pregcomp(cmd->pool, alias->url, AP_REG_EXTENDED);
    if (!alias->expression) {
        return apr_psprintf(cmd->pool, "WSGID0020: '%s' is not a valid regular expression",
                            alias->url);
    }
    return NULL;
}

static const char *set_literal(cmd_parms *cmd, wsgid_alias_t *alias)
{
    const char *path;

    if (alias->url[0] != '/') {
        return apr_psprintf(cmd->pool,
                            "WSGID0020: '%s' is not a URL path; write one that begins with a slash",
                            alias->url);
    }
    path = ap_server_root_relative(cmd->pool, alias->target);
    if (!path) {
        return apr_psprintf(
            cmd->pool,
            "WSGID0022: '%s' is not a path; write one that is absolute or relative to ServerRoot",
            alias->target);
    }
    alias->url = wsgid_aliases_prefix(cmd->pool, alias->url);
    alias->target = wsgid_aliases_prefix(cmd->pool, path);
    return NULL;
}

static void warn_if_shadowed(cmd_parms *cmd, const apr_array_header_t *aliases,
                             const wsgid_alias_t *alias)
{
    int i;

    for (i = 0; i < aliases->nelts && !alias->expression; i++) {
        const wsgid_alias_t *earlier = &APR_ARRAY_IDX(aliases, i, wsgid_alias_t);
        if (!earlier->expression && wsgid_aliases_is_below(alias->url, earlier->url)) {
            ap_log_error(APLOG_MARK, APLOG_WARNING, 0, cmd->server,
                         "WSGID0027: WSGIScriptAlias %s at %s has no effect: the earlier "
                         "WSGIScriptAlias %s matches all of its requests; put the longer URL first",
                         shown_url(alias), wsgid_notices_where(cmd), shown_url(earlier));
            return;
        }
    }
}

const char *wsgid_aliases_define(cmd_parms *cmd, void *dir, const char *words)
{
    wsgid_server_config_t *config = ap_get_module_config(cmd->server->module_config, &wsgid_module);
    wsgid_alias_t alias = { .pass_authorization = WSGID_UNSET };
    const char *error;

    (void)dir;
    alias.url = ap_getword_conf(cmd->pool, &words);
    alias.target = ap_getword_conf(cmd->pool, &words);
    if (!*alias.url || !*alias.target) {
        return apr_psprintf(cmd->pool,
                            "WSGID0019: %s needs a URL path and the path of a script or directory",
                            cmd->cmd->name);
    }
    error = cmd->info ? set_expression(cmd, &alias) : set_literal(cmd, &alias);
    if (error || (error = set_options(cmd, &alias, words))) {
        return error;
    }
    warn_if_shadowed(cmd, config->aliases, &alias);
    APR_ARRAY_PUSH(config->aliases, wsgid_alias_t) = alias;
    return NULL;
}

const char *wsgid_aliases_import(cmd_parms *cmd, void *dir, const char *words)
{
    wsgid_server_config_t *config = ap_get_module_config(cmd->server->module_config, &wsgid_module);
    wsgid_alias_t import = { .pass_authorization = WSGID_UNSET };
    const char *path = ap_getword_conf(cmd->pool, &words);
    const char *error;

    (void)dir;
    import.target = *path ? ap_server_root_relative(cmd->pool, path) : NULL;
    if ((error = set_options(cmd, &import, words))) {
        return error;
    }
    if (!import.group) {
        import.group = "%{GLOBAL}";
        wsgid_mentions_add(cmd, import.group);
    }
    if (!import.target || !wsgid_variables_literal(import.group)) {
        return "WSGID0034: write WSGIImportScript PATH process-group=NAME; the name is that of a "
               "WSGIDaemonProcess, or %{GLOBAL}";
    }
    APR_ARRAY_PUSH(config->imports, wsgid_alias_t) = import;
    return NULL;
}

/* ---- the request */

/* Returns what follows the prefix in a URL, or NULL if it does not match. Segments are compared as
 * a whole; one slash in the prefix matches several in the URL. */
static const char *after_prefix(const char *url, const char *prefix)
{
    while (*prefix) {
        if (*prefix == '/') {
            if (*url != '/') {
                return NULL;
            }
            url += strspn(url, "/");
            prefix += strspn(prefix, "/");
        }
        else if (*url++ != *prefix++) {
            return NULL;
        }
    }
    return *url == '\0' || *url == '/' ? url : NULL;
}

int wsgid_aliases_is_below(const char *path, const char *prefix)
{
    return after_prefix(path, prefix) != NULL;
}

/* Returns the file for an expression's match, followed by the rest of the URL. Returns NULL if it
 * does not match, and also, with *failed set, if the path is not valid. */
static const char *file_of_expression(request_rec *r, const wsgid_alias_t *alias, int *failed)
{
    ap_regmatch_t matches[AP_MAX_REG_MATCH];
    const char *path;

    if (ap_regexec(alias->expression, r->uri, AP_MAX_REG_MATCH, matches, 0)) {
        return NULL;
    }
    path = ap_pregsub(r->pool, alias->target, r->uri, AP_MAX_REG_MATCH, matches);
    path = path ? ap_server_root_relative(r->pool, apr_pstrcat(r->pool, path,
                                                               r->uri + matches[0].rm_eo, NULL))
                : NULL;
    *failed = !path;
    return path;
}

/*
 * Whether the target is a file. If so, r->finfo is set: ap_directory_walk uses it and does not
 * check each part of a path that has PATH_INFO at its end.
 */
static int is_script(request_rec *r, const wsgid_alias_t *alias)
{
    r->filename = (char *)alias->target;
    if (ap_run_dirwalk_stat(&r->finfo, r, APR_FINFO_MIN) == APR_SUCCESS
        && r->finfo.filetype == APR_REG) {
        return 1;
    }
    r->filename = NULL;
    r->finfo.filetype = APR_NOFILE;
    return 0;
}

/* Returns the target followed by the rest of the URL, and sets r->path_info if the target is a
 * script. Returns NULL if the URL does not match, and also, with *failed set, if it leads out of
 * the target. */
static const char *file_of_literal(request_rec *r, const wsgid_alias_t *alias, int *failed)
{
    const char *rest = after_prefix(r->uri, alias->url);
    char *path;

    if (!rest) {
        return NULL;
    }
    if (!rest[strspn(rest, "/")]) { /* nothing, or "/": the root of the application */
        return apr_pstrcat(r->pool, alias->target, *rest ? "/" : "", NULL);
    }
    if (is_script(r, alias)) {
        r->path_info = apr_pstrdup(r->pool, rest);
        return alias->target;
    }
    *failed = apr_filepath_merge(&path, alias->target, rest + strspn(rest, "/"),
                                 APR_FILEPATH_SECUREROOT, r->pool)
              != APR_SUCCESS;
    return *failed ? NULL : path;
}

static int refuse_mapping(request_rec *r, const wsgid_alias_t *alias)
{
    if (alias->expression) {
        ap_log_rerror(
            APLOG_MARK, APLOG_ERR, 0, r,
            "%sWSGID0021: 403: WSGIScriptAliasMatch %s makes no valid path of this URL and "
            "%s: check the expression and the path",
            wsgid_logs_mark(r), alias->url, alias->target);
    }
    else {
        ap_log_rerror(APLOG_MARK, APLOG_ERR, 0, r,
                      "%sWSGID0021: 403: WSGIScriptAlias %s: this URL leads out of %s: check any "
                      "RewriteRule that makes such a URL; otherwise the client probes for files",
                      wsgid_logs_mark(r), shown_url(alias), alias->target);
    }
    return HTTP_FORBIDDEN;
}

int wsgid_aliases_translate(request_rec *r)
{
    const wsgid_server_config_t *config = ap_get_module_config(r->server->module_config,
                                                               &wsgid_module);
    int failed = 0;
    int i;

    if (r->uri[0] != '/') {
        return DECLINED;
    }
    for (i = 0; i < config->aliases->nelts; i++) {
        const wsgid_alias_t *alias = &APR_ARRAY_IDX(config->aliases, i, wsgid_alias_t);
        const char *path = (alias->expression ? file_of_expression : file_of_literal)(r, alias,
                                                                                      &failed);
        if (failed) {
            return refuse_mapping(r, alias);
        }
        if (path) {
            r->filename = (char *)path;
            r->handler = WSGID_HANDLER;
            if (!alias->expression) {
                ap_set_context_info(r, shown_url(alias), alias->target);
            }
            apr_table_setn(r->notes, NOTE, apr_itoa(r->pool, i));
            return OK;
        }
    }
    return DECLINED;
}

const wsgid_alias_t *wsgid_aliases_of(request_rec *r)
{
    const wsgid_server_config_t *config = ap_get_module_config(r->server->module_config,
                                                               &wsgid_module);
    const char *note = apr_table_get(r->notes, NOTE);
    int place = note ? atoi(note) : -1;

    return place >= 0 && place < config->aliases->nelts
               ? &APR_ARRAY_IDX(config->aliases, place, wsgid_alias_t)
               : NULL;
}
