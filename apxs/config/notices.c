/*
 * Notices while the configuration is read. They go to the main server's ErrorLog, and to the
 * terminal at configtest.
 *
 * What is wrong is no notice: a directive's function returns that as its error.
 */
#include "config/notices.h"

#include "apr_hash.h"
#include "http_main.h"

static struct {
    apr_pool_t *pool;  /* pconf */
    apr_hash_t *given; /* keys */
} notices;

void wsgid_notices_reset(apr_pool_t *pconf)
{
    notices.pool = pconf;
    notices.given = apr_hash_make(pconf);
}

void wsgid_notices_log_once(const char *key, const char *where, const char *line)
{
    if (apr_hash_get(notices.given, key, APR_HASH_KEY_STRING)) {
        return;
    }
    apr_hash_set(notices.given, apr_pstrdup(notices.pool, key), APR_HASH_KEY_STRING, "");
    ap_log_error(APLOG_MARK, APLOG_NOTICE, 0, ap_server_conf, "%s (%s)", line, where);
}

const char *wsgid_notices_where(const cmd_parms *cmd)
{
    return apr_psprintf(cmd->pool, "%s:%d", cmd->directive->filename, cmd->directive->line_num);
}

int wsgid_notices_is_htaccess(const cmd_parms *cmd)
{
    return cmd->pool == cmd->temp_pool;
}
