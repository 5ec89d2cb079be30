/*
 * Notices about daemon groups that are less apart from others than they could be.
 *
 * The defaults of user= and group= are mod_wsgi's, so that its configurations work: httpd's User
 * and Group, which it shares with CGI programs and PHP. Nothing is refused here. Without root there
 * is no other user to choose.
 */
#include "config/trust.h"

#include <unistd.h>

#include "unixd.h"

#include "config/accounts.h"
#include "config/groups.h"

typedef int test_t(const wsgid_group_t *group);

/* "daemon groups 'a', 'b' run" of those that pass; NULL if none does. */
static const char *those_that_run(apr_pool_t *p, test_t *test, const wsgid_group_t **first)
{
    const apr_array_header_t *groups = wsgid_groups_all();
    const char *list = NULL;
    int count = 0;
    int i;

    for (i = 0; i < groups->nelts; i++) {
        const wsgid_group_t *group = APR_ARRAY_IDX(groups, i, const wsgid_group_t *);
        if (test(group)) {
            *first = count++ ? *first : group;
            list = apr_pstrcat(p, list ? list : "", list ? ", '" : "'", group->label, "'", NULL);
        }
    }
    return list ? apr_psprintf(p, "daemon group%s %s run%s", count > 1 ? "s" : "", list,
                               count > 1 ? "" : "s")
                : NULL;
}

static int is_httpds_user(const wsgid_group_t *group)
{
    return (uid_t)WSGID_NUMBER(group, USER) == ap_unixd_config.user_id;
}

/* Whether anything but one group runs as httpd's user, or could. */
static int has_neighbours(void)
{
    static const char *const runners[] = { "mod_cgi.c",  "mod_cgid.c", "mod_fcgid.c", "mod_php.c",
                                           "mod_php7.c", "mod_perl.c", "mod_lua.c" };
    apr_size_t i;

    for (i = 0; i < sizeof(runners) / sizeof(*runners); i++) {
        if (ap_find_linked_module(runners[i])) {
            return 1;
        }
    }
    return wsgid_groups_all()->nelts > 1;
}

/* Of a user who is in httpd's Group anyhow, group= would change nothing. */
static int has_httpds_group(const wsgid_group_t *group)
{
    const wsgid_account_t *user;

    if (!group->value[WSGID_OPT_USER].given || group->value[WSGID_OPT_GROUP].given) {
        return 0;
    }
    user = wsgid_accounts_user(group->server->process->pconf, WSGID_TEXT(group, USER));
    return !user->name || user->primary != ap_unixd_config.group_id;
}

void wsgid_trust_post_config(apr_pool_t *p, server_rec *s)
{
    const wsgid_group_t *first = NULL;
    const char *those;

    if (geteuid() != 0) {
        return;
    }
    those = has_neighbours() ? those_that_run(p, is_httpds_user, &first) : NULL;
    if (those) {
        ap_log_error(APLOG_MARK, APLOG_NOTICE, 0, s,
                     "WSGID0030: %s as httpd's User %s, as CGI programs and PHP do: whatever runs "
                     "as that user can stop and trace these processes; give each group a user of "
                     "its own (user=NAME group=NAME)",
                     those, WSGID_TEXT(first, USER));
    }
    those = those_that_run(p, has_httpds_group, &first);
    if (those) {
        ap_log_error(APLOG_MARK, APLOG_NOTICE, 0, s,
                     "WSGID0031: %s with httpd's Group %s, because user= is given without group=: "
                     "these processes can read every file that is open to that group, such as "
                     "those of other sites; add the user's own group (group=NAME)",
                     those, WSGID_TEXT(first, GROUP));
    }
}
