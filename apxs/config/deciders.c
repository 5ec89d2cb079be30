/*
 * WSGIAccessScript, WSGIAuthUserScript, WSGIAuthGroupScript and WSGIDispatchScript: PATH
 * [process-name=NAME] [application-group=NAME] [pass-authorization=on|off]. WSGIHandlerScript has
 * the handler's name before it.
 *
 * Rules: none of them is allowed in .htaccess files, since the script runs as the user of the
 * group. Without process-name= that is the default group, as none is another one's by accident.
 */
#include "config/deciders.h"

#include "config/mentions.h"
#include "config/notices.h"
#include "config/options.h"
#include "config/pools.h"
#include "config/route.h"
#include "config/scopes.h"
#include "config/variables.h"

#include "apr_hash.h"

static const char *set_option(cmd_parms *cmd, wsgid_script_place_t *place, const char *name,
                              const char *value)
{
    const char **text = !strcmp(name, "process-name") || !strcmp(name, "process-group")
                            ? &place->group
                        : !strcmp(name, "application-group")  ? &place->application_group
                        : !strcmp(name, "pass-authorization") ? &place->pass_authorization
                                                              : NULL;

    if (text == &place->pass_authorization && value && ap_cstr_casecmp(value, "on")
        && ap_cstr_casecmp(value, "off")) {
        text = NULL;
    }
    if (!text || !value || !*value || *text) {
        return apr_psprintf(cmd->pool,
                            "WSGID0520: %s: '%s' is unknown, has no value or is given twice; "
                            "the options are process-name=NAME (or process-group=NAME), "
                            "application-group=NAME and pass-authorization=on|off",
                            cmd->cmd->name, name);
    }
    *text = apr_pstrdup(cmd->pool, value);
    return wsgid_variables_check(cmd->pool, value);
}

/* Reads "PATH [option=value ...]". */
static const char *parse(cmd_parms *cmd, wsgid_script_place_t *place, const char *words)
{
    const char *path = ap_getword_conf(cmd->pool, &words);
    const char *error = NULL, *name, *value;

    place->path = *path ? ap_server_root_relative(cmd->pool, path) : NULL;
    if (!place->path) {
        return apr_psprintf(cmd->pool,
                            "WSGID0520: %s needs the path of a script, absolute or relative to "
                            "ServerRoot",
                            cmd->cmd->name);
    }
    while (!error && wsgid_options_next_word(cmd->pool, &words, &name, &value)) {
        error = set_option(cmd, place, name, value);
    }
    if (!error && place->group) {
        wsgid_mentions_add(cmd, place->group);
    }
    return error;
}

const char *wsgid_deciders_define(cmd_parms *cmd, void *dir, const char *words)
{
    wsgid_directory_config_t *config = dir;
    wsgid_script_place_t *place = apr_pcalloc(cmd->pool, sizeof(*place));

    const char *error = parse(cmd, place, words);

    config->deciders[(intptr_t)cmd->info] = place;
    if (!error && !place->group) {
        wsgid_mentions_add(cmd, "%{GLOBAL}");
    }
    if (!error) {
        wsgid_pools_expect(place->group ? place->group : "%{GLOBAL}",
                           place->application_group ? place->application_group : "%{GLOBAL}");
    }
    return error;
}

const char *wsgid_deciders_define_handler(cmd_parms *cmd, void *dir, const char *words)
{
    wsgid_directory_config_t *config = dir;
    wsgid_script_place_t *place = apr_pcalloc(cmd->pool, sizeof(*place));
    const char *name = ap_getword_conf(cmd->pool, &words);

    if (!config->handlers) {
        config->handlers = apr_hash_make(cmd->pool);
    }
    apr_hash_set(config->handlers, name, APR_HASH_KEY_STRING, place);
    return parse(cmd, place, words);
}
