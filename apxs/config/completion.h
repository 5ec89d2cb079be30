/*
 * Completes the configuration when all of it has been read.
 *
 * Public: this header is for mod_wsgid.c.
 */
#ifndef WSGID_COMPLETION_H
#define WSGID_COMPLETION_H

#include "wsgid.h"

/*
 * check_config hook: creates the default group if something leads to it, sets defaults, collects
 * the scripts that processes load at start, and warns about names that no group has. Returns OK, or
 * an HTTP error after one line in the log.
 */
int wsgid_completion_check_config(apr_pool_t *pconf, apr_pool_t *plog, apr_pool_t *ptemp,
                                  server_rec *main_server);

#endif
