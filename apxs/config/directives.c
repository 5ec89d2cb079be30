/*
 * The directives: what each line of the configuration does, and httpd's command table. The options
 * of WSGIDaemonProcess are in options.c, script aliases in aliases.c.
 *
 * Rules: a wrong line is refused while the configuration is read, by one line of text (httpd adds
 * file and line number). A directive that mod_wsgi has and we have not is accepted with one notice,
 * unless ignoring it would open what it protects.
 */
#include "config/directives.h"

#include <limits.h>
#include <stdlib.h>

#include "apr_hash.h"

#include "config/aliases.h"
#include "config/deciders.h"
#include "config/groups.h"
#include "config/mentions.h"
#include "config/names.h"
#include "config/notices.h"
#include "config/option_types.h"
#include "config/pools.h"
#include "config/route.h"
#include "config/scopes.h"
#include "config/sections.h"
#include "config/trusted_proxies.h"
#include "config/variables.h"
#include "slots/socket_directory.h"

/* A UNIX socket's path has at most 107 bytes; the rest is for pid, numbers and suffix. */
#define MAX_SOCKET_PREFIX 72

/* ---- pre_config */

int wsgid_directives_pre_config(apr_pool_t *pconf, apr_pool_t *plog, apr_pool_t *ptemp)
{
    (void)plog;
    (void)ptemp;
    wsgid_notices_reset(pconf);
    wsgid_mentions_reset(pconf);
    wsgid_sections_reset(pconf);
    wsgid_groups_reset(pconf);
    wsgid_pools_reset(pconf);
    return wsgid_names_check();
}

/* ---- the functions of single directives */

static const char *define_group(cmd_parms *cmd, void *dir, const char *words)
{
    const char *name = ap_getword_conf(cmd->pool, &words);

    (void)dir;
    return wsgid_groups_define(cmd, name, words);
}

static const char *set_group(cmd_parms *cmd, void *dir, const char *name)
{
    wsgid_directory_config_t *config = dir;
    const char *error = wsgid_variables_check(cmd->pool, name);

    if (!error) {
        config->group = name;
        wsgid_mentions_add(cmd, name);
        wsgid_sections_add(cmd, WSGID_SECTION_GROUP, name);
    }
    return error;
}

static const char *set_callable(cmd_parms *cmd, void *dir, const char *name)
{
    wsgid_directory_config_t *config = dir;

    config->callable = name;
    wsgid_sections_add(cmd, WSGID_SECTION_CALLABLE, name);
    return wsgid_variables_check(cmd->pool, name);
}

static const char *set_application_group(cmd_parms *cmd, void *dir, const char *name)
{
    wsgid_directory_config_t *config = dir;

    config->application_group = name; /* any text: mod_wsgi takes what is no variable as a name */
    wsgid_sections_add(cmd, WSGID_SECTION_APPLICATION_GROUP, name);
    return NULL;
}

static const char *set_chunked(cmd_parms *cmd, void *dir, const char *value)
{
    static const char *const values[] = { "off", "on", "buffer" }; /* as wsgid_chunked_e */
    int *chunked = &((wsgid_directory_config_t *)dir)->chunked_request;

    for (*chunked = WSGID_CHUNKED_BUFFER; *chunked >= 0; --*chunked) {
        if (!ap_cstr_casecmp(value, values[*chunked])) {
            return NULL;
        }
    }
    return apr_psprintf(
        cmd->pool, "WSGID0375: WSGIChunkedRequest %s: the value must be On, Buffer or Off", value);
}

static const char *set_map_head(cmd_parms *cmd, void *dir, const char *value)
{
    wsgid_directory_config_t *config = dir;

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
        return apr_psprintf(
            cmd->pool, "WSGID0028: WSGIMapHEADToGET %s: the value must be Auto, On or Off", value);
    }
    return NULL;
}

/* Symbolic links are resolved now: a link that changes later cannot open another directory. */
static const char *add_sendfile_path(cmd_parms *cmd, void *dir, const char *path)
{
    wsgid_directory_config_t *config = dir;
    char resolved[PATH_MAX];
    const char *directory = ap_server_root_relative(cmd->pool, path);
    apr_array_header_t *list = config->sendfile
                                   ? (apr_array_header_t *)config->sendfile
                                   : apr_array_make(cmd->pool, 1, sizeof(const char *));

    if (!directory || !realpath(directory, resolved) || !ap_is_directory(cmd->temp_pool, resolved)
        || !strcmp(resolved, "/")) {
        return apr_psprintf(
            cmd->pool,
            "WSGID0029: WSGISendfilePath %s: there is no such directory (and / itself is "
            "not allowed)",
            path);
    }
    APR_ARRAY_PUSH(list, const char *) = apr_pstrdup(cmd->pool, resolved);
    config->sendfile = list;
    return NULL;
}

static const char *restrict_group(cmd_parms *cmd, void *dir, const char *name)
{
    wsgid_directory_config_t *config = dir;
    const char *literal = wsgid_variables_literal(name);

    if (!literal) {
        return apr_psprintf(
            cmd->pool,
            "WSGID0025: WSGIRestrictProcess %s: write names of daemon groups; %%{GLOBAL} is the "
            "only variable that is allowed here",
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
            "WSGID0026: WSGISocketPrefix %s: write a path of at most %d bytes, absolute or "
            "relative to ServerRoot",
            text, MAX_SOCKET_PREFIX);
    }
    wrong = wsgid_socket_directory_check(cmd->pool, path);
    if (wrong) {
        return apr_psprintf(
            cmd->pool,
            "WSGID0061: sockets cannot be created under WSGISocketPrefix %s: %s: choose a path in "
            "a directory of root's that no other user can change",
            text, wrong);
    }
    config->socket_prefix = path;
    return NULL;
}

static const char *set_response_total(cmd_parms *cmd, void *dir, const char *text)
{
    static const wsgid_option_t total = { .name = "WSGIResponseBufferTotal",
                                          .type = WSGID_TYPE_SIZE,
                                          .least = 1024 * 1024,
                                          .most = APR_INT64_C(1) << 40 };
    wsgid_server_config_t *config = ap_get_module_config(cmd->server->module_config, &wsgid_module);
    wsgid_value_t value = { 0 };
    const char *error = ap_check_cmd_context(cmd, GLOBAL_ONLY);

    (void)dir;
    if (!error) {
        error = wsgid_option_types_parse(cmd->pool, &total, &value, text);
        if (!error && value.is_adjusted) {
            error = apr_psprintf(
                cmd->pool,
                "WSGID0003: WSGIResponseBufferTotal=%s: not a number of bytes (K, M or G may follow) "
                "from 1M to 1024G",
                text);
        }
        config->response_total = (apr_size_t)value.number;
    }
    return error;
}

static const char *set_python(cmd_parms *cmd, void *dir, const char *text)
{
    const char *error = ap_check_cmd_context(cmd, GLOBAL_ONLY);

    (void)dir;
    return error ? error : wsgid_groups_set_default(cmd, (wsgid_option_e)(intptr_t)cmd->info, text);
}

static const char *set_variable(cmd_parms *cmd, void *dir, const char *value)
{
    const char *error = ap_check_cmd_context(cmd, GLOBAL_ONLY);

    (void)dir;
    if (!error) {
        wsgid_groups_set_variable(cmd->pool, cmd->info, value, NULL);
    }
    return error;
}

static const char *add_warnings(cmd_parms *cmd, void *dir, const char *filter)
{
    const char *error = ap_check_cmd_context(cmd, GLOBAL_ONLY);

    (void)dir;
    if (!error) {
        wsgid_groups_set_variable(cmd->pool, "PYTHONWARNINGS", filter, ",");
    }
    return error;
}

/* Python ends at once with any other value. */
static const char *set_hash_seed(cmd_parms *cmd, void *dir, const char *value)
{
    if (strcmp(value, "random")
        && (!*value || value[strspn(value, "0123456789")] || strlen(value) > 10
            || apr_atoi64(value) > UINT32_MAX)) {
        return apr_psprintf(
            cmd->pool, "WSGID0033: WSGIPythonHashSeed %s: write random, or a number from 0 to %u",
            value, UINT32_MAX);
    }
    return set_variable(cmd, dir, value);
}

static const char *set_switch(cmd_parms *cmd, void *dir, int is_on)
{
    return set_variable(cmd, dir, is_on ? "1" : "");
}

/* The lines inside a container need no function: httpd does not look at them. */
static const char *ignore(cmd_parms *cmd, void *dir, const char *words)
{
    const char *name = cmd->cmd->name + (cmd->cmd->name[0] == '<');

    (void)dir;
    (void)words;
    if (!wsgid_notices_is_htaccess(cmd)) {
        wsgid_notices_log_once(name, wsgid_notices_where(cmd),
                               apr_psprintf(cmd->pool,
                                            "WSGID0014: %s has no effect in mod_wsgid: %s", name,
                                            (const char *)cmd->info));
    }
    return NULL;
}

#define PASS_AUTHORIZATION APR_OFFSETOF(wsgid_directory_config_t, pass_authorization)
#define ERROR_OVERRIDE     APR_OFFSETOF(wsgid_directory_config_t, error_override)
#define USER_HEADER        APR_OFFSETOF(wsgid_directory_config_t, user_header)
#define SCRIPT_RELOADING   APR_OFFSETOF(wsgid_directory_config_t, script_reloading)

#define IN_SERVER    RSRC_CONF
#define IN_DIRECTORY (RSRC_CONF | ACCESS_CONF)
#define IN_HTACCESS  OR_FILEINFO
#define IN_AUTH      (RSRC_CONF | OR_AUTHCFG)

const command_rec wsgid_directives_table[] = {
#define DIRECTIVE(how, name, function, data, context, syntax, ...) \
    AP_INIT_##how(name, function, data, context, syntax),
#define FOREIGN_DIRECTIVE(name, context, fix) \
    AP_INIT_RAW_ARGS(name, ignore, (void *)fix, context, fix),
#include "config/directives.def"
    { NULL, { NULL }, NULL, 0, RAW_ARGS, NULL }
};
