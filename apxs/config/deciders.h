/*
 * Scripts whose functions decide for httpd: who may have access, and where a request goes. And
 * scripts that are handlers.
 *
 * Private to config/.
 */
#ifndef WSGID_DECIDERS_H
#define WSGID_DECIDERS_H

#include "wsgid.h"

/* A script and the group that runs it. Lives in pconf. */
typedef struct wsgid_script_place_t {
    const char *path;
    const char *group; /* this and the next may hold a variable; NULL: not given */
    const char *application_group;
    const char *pass_authorization; /* "on" or "off"; NULL: not given */
} wsgid_script_place_t;

/* Directive function of WSGIAccessScript and its like; cmd->info: its wsgid_decider_e. */
const char *wsgid_deciders_define(cmd_parms *cmd, void *dir, const char *words);
/* The same for WSGIHandlerScript. */
const char *wsgid_deciders_define_handler(cmd_parms *cmd, void *dir, const char *words);

#endif
