/*
 * The places where the configuration names a daemon group. Whether there is such a group is known
 * only when everything has been read: groups.c compares then.
 */
#include "config/mentions.h"

#include "config/groups.h"
#include "config/notices.h"
#include "config/variables.h"

static struct {
    apr_pool_t *pool; /* pconf */
    apr_array_header_t *all;
} mentions;

void wsgid_mentions_reset(apr_pool_t *pconf)
{
    mentions.pool = pconf;
    mentions.all = apr_array_make(pconf, 8, sizeof(wsgid_mention_t));
}

void wsgid_mentions_add(const cmd_parms *cmd, const char *value)
{
    const char *name = wsgid_variables_may_be_default(value) ? WSGID_DEFAULT_GROUP
                                                             : wsgid_variables_literal(value);
    wsgid_mention_t *mention;

    if (!name || wsgid_notices_is_htaccess(cmd)) {
        return;
    }
    mention = apr_array_push(mentions.all);
    mention->name = apr_pstrdup(mentions.pool, name);
    mention->where = wsgid_notices_where(cmd);
}

int wsgid_mentions_has(const char *name)
{
    int i;

    for (i = 0; i < mentions.all->nelts; i++) {
        if (!strcmp(APR_ARRAY_IDX(mentions.all, i, wsgid_mention_t).name, name)) {
            return 1;
        }
    }
    return 0;
}

const apr_array_header_t *wsgid_mentions_all(void)
{
    return mentions.all;
}
