/*
 * WSGIScriptAlias and WSGIScriptAliasMatch.
 *
 * Public: the translate_name hook. The rest is for the files of config/ alone.
 */
#ifndef WSGID_ALIASES_H
#define WSGID_ALIASES_H

#include "wsgid.h"

/* ---- public */

/*
 * translate_name hook: maps a URL that an alias matches to a file and sets the handler. Returns OK,
 * DECLINED if no alias matches, or 403 after one line in the log.
 */
int wsgid_aliases_translate(request_rec *r);

/* ---- for config/ */

/* A line of the configuration. */
typedef struct {
    const char *url;        /* prefix without slashes at its end; or the expression's text */
    ap_regex_t *expression; /* NULL for a literal alias */
    const char *target;     /* script, or directory of scripts; with $1 for an expression */
    const char *group;      /* this and the next two may hold a variable; NULL: not given */
    const char *application_group;
    const char *callable;
    int pass_authorization; /* WSGID_UNSET, 0, 1 */
} wsgid_alias_t;

/* Directive function of both; cmd->info is not NULL for WSGIScriptAliasMatch. */
const char *wsgid_aliases_define(cmd_parms *cmd, void *dir, const char *words);

/* Directive function of WSGIImportScript. Its target and its group, a literal one, are set. */
const char *wsgid_aliases_import(cmd_parms *cmd, void *dir, const char *words);

/* Returns the alias that sent this request to its script, or NULL. */
const wsgid_alias_t *wsgid_aliases_of(request_rec *r);

/* Returns a path or URL path without the slashes at its end: "/" becomes "", and every prefix ends
 * where a segment ends. */
const char *wsgid_aliases_prefix(apr_pool_t *p, const char *path);

/* Whether a path or URL path is at or below such a prefix, by whole segments. */
int wsgid_aliases_is_below(const char *path, const char *prefix);

#endif
