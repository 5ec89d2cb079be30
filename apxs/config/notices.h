/*
 * Notices while the configuration is read: each once, with the place of the directive.
 *
 * Private to config/.
 */
#ifndef WSGID_NOTICES_H
#define WSGID_NOTICES_H

#include "wsgid.h"

/* pre_config: forgets the notices of the previous reading. */
void wsgid_notices_reset(apr_pool_t *pconf);

/* Logs a line at notice, unless a line with this key has been logged in this reading. line begins
 * with its code; where: the place that it is about, "file:line". */
void wsgid_notices_log_once(const char *key, const char *where, const char *line);

/* Returns the place of a directive, "file:line", in cmd->pool. */
const char *wsgid_notices_where(const cmd_parms *cmd);

/* Whether a directive is in a .htaccess file. A request reads it, so nothing may be remembered of
 * it, and a notice would come with each request. */
int wsgid_notices_is_htaccess(const cmd_parms *cmd);

#endif
