/*
 * What crosses only the files that read the configuration: options.c, groups.c, directives.c,
 * aliases.c. Private to them.
 *
 * Lifetime: all of it lives in pconf and is written while httpd reads its configuration, never by a
 * request.
 */
#ifndef WSGID_CONFIGURATION_H
#define WSGID_CONFIGURATION_H

#include "config/directives.h"
#include "config/groups.h"
#include "config/options.h"
#include "config/route.h"
#include "wsgid.h"

/* ---- directives.c, aliases.c, variables.c */

/* A WSGIScriptAlias or WSGIScriptAliasMatch line. */
typedef struct {
    const char *url;        /* prefix, or the expression's text */
    ap_regex_t *expression; /* NULL for a literal alias */
    const char *target;     /* script, or directory of scripts; with $1 for an expression */
    const char *group;      /* may hold variables; NULL: as WSGIProcessName says */
    const char *application_group;
    const char *callable;
    int pass_authorization; /* WSGID_UNSET, 0, 1 */
} wsgid_alias_t;

#define WSGID_UNSET (-1)

typedef struct {
    const char *socket_prefix;   /* main server only */
    apr_array_header_t *aliases; /* wsgid_alias_t */
} wsgid_server_config_t;

/* Refuses mod_wsgi beside us. OK or an HTTP error, logged. */
int wsgid_directives_check_modules(server_rec *s);

/* translate_name hook. */
int wsgid_aliases_translate(request_rec *r);

/* Resolves one value that may be %{...}; NULL if its variable is not set. */
const char *wsgid_variables_resolve(request_rec *r, const char *value);
/* NULL, or why this value can never be resolved (for configtest). */
const char *wsgid_variables_check(apr_pool_t *p, const char *value);
/* Whether a value holds a variable that only a request can resolve. */
int wsgid_variables_is_variable(const char *value);

/* ---- directives.c */

#define WSGID_DEFAULT_CALLABLE "application"

/* What a directory says; server scope is the outermost directory. NULL and WSGID_UNSET: nothing. */
typedef struct {
    const char *group;
    const char *application_group;
    const char *callable;
    int pass_authorization;
    int error_override;
    int chunked_request;
    int script_reloading; /* WSGIScriptReloading */
    int map_head_to_get;  /* wsgid_map_head_e */
    /* const char *: directories that X-Sendfile may name files in, links resolved */
    const apr_array_header_t *sendfile;
    struct apr_hash_t *allowed; /* WSGIRestrictProcess: names of groups; NULL: all */
} wsgid_dir_config_t;

/* What a <Directory>, <Location> ... section says about a request, known while the configuration is
 * read. */
typedef enum { WSGID_SAYS_GROUP, WSGID_SAYS_CALLABLE } wsgid_says_e;
/* Whether some section decides that for the requests of an alias. */
typedef enum { WSGID_DECIDES_NOT, WSGID_DECIDES_MAYBE, WSGID_DECIDES } wsgid_decides_e;

void wsgid_directives_reset(apr_pool_t *pconf);
/* One line at notice, once for each key in a reading of the configuration. */
void wsgid_directives_notice(const char *key, const char *line);
/* A WSGIApplicationGroup (or application-group=) value: a notice unless it is %{GLOBAL}. */
void wsgid_directives_notice_application_group(const char *value);
/* Remembers that the configuration names a group, for the warning about names that do not exist. */
void wsgid_directives_mention_group(const cmd_parms *cmd, const char *name);
wsgid_decides_e wsgid_directives_sections_decide(wsgid_says_e what, const server_rec *s,
                                                 const wsgid_alias_t *alias);
/* Whether some line names this group, "" being the default one. */
int wsgid_directives_is_mentioned(const char *name);
/* check_config: warns about literal names of groups that do not exist. */
void wsgid_directives_check_mentions(apr_pool_t *p, server_rec *s);
/* "file:line" of a directive. */
const char *wsgid_directives_where(const cmd_parms *cmd);
/* The name that a value stands for, "" for %{GLOBAL}; NULL if only a request can tell. */
const char *wsgid_directives_literal(const char *value);

/* ---- aliases.c */

/* Handler names that are ours. */
#define WSGID_HANDLER "wsgid-script"
#define WSGID_HANDLER_OTHER                                              \
    "wsgi-script" /* mod_wsgi's, for configurations that come from there \
                   */
#define WSGID_HANDLER_TYPE "application/x-httpd-wsgi" /* mod_wsgi's, too, for AddType */

/* The alias that sent this request to its script, or NULL. For route.c. */
const wsgid_alias_t *wsgid_aliases_of(request_rec *r);

/* WSGIScriptAlias and WSGIScriptAliasMatch (cmd->info not NULL). */
const char *wsgid_aliases_define(cmd_parms *cmd, void *dir, const char *words);
/* A path or URL without the slashes at its end, so that "/" is "" and each prefix ends where a
 * segment does. */
const char *wsgid_aliases_prefix(apr_pool_t *p, const char *path);
/* Whether a path or URL lies at or below such a prefix, segment by segment. */
int wsgid_aliases_is_below(const char *path, const char *prefix);

#endif
