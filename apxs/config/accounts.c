/*
 * Users and groups of the system. A name service may be slow, so it is asked once for each of them,
 * however many daemon groups name it.
 */
#include "config/accounts.h"

#include <grp.h>
#include <pwd.h>
#include <stdlib.h>

/* What is known; else a new one, with `is_new` set. */
static wsgid_account_t *find(apr_pool_t *p, const char *kind, const char *text, int *is_new)
{
    const char *key = apr_pstrcat(p, "mod_wsgid.", kind, text, NULL);
    wsgid_account_t *account;
    void *known = NULL;

    (void)apr_pool_userdata_get(&known, key, p); /* cannot fail */
    *is_new = !known;
    if (!known) {
        account = apr_pcalloc(p, sizeof(*account));
        account->id = *text == '#' ? (apr_uint32_t)strtoul(text + 1, NULL, 10) : 0;
        (void)apr_pool_userdata_setn(account, key, NULL, p);
        known = account;
    }
    return known;
}

const wsgid_account_t *wsgid_accounts_user(apr_pool_t *p, const char *text)
{
    const struct passwd *entry;
    int is_new;
    wsgid_account_t *account = find(p, "user.", text, &is_new);

    if (!is_new) {
        return account;
    }
    entry = *text == '#' ? getpwuid(account->id) : getpwnam(text);
    if (entry) {
        account->name = apr_pstrdup(p, entry->pw_name);
        account->id = entry->pw_uid;
        account->primary = entry->pw_gid;
        account->home = apr_pstrdup(p, entry->pw_dir);
    }
    return account;
}

const wsgid_account_t *wsgid_accounts_group(apr_pool_t *p, const char *text)
{
    const struct group *entry;
    int is_new;
    wsgid_account_t *account = find(p, "group.", text, &is_new);

    if (!is_new) {
        return account;
    }
    entry = *text == '#' ? getgrgid(account->id) : getgrnam(text);
    if (entry) {
        account->name = apr_pstrdup(p, entry->gr_name);
        account->id = entry->gr_gid;
    }
    return account;
}

const char *wsgid_accounts_user_text(apr_pool_t *p, uid_t uid)
{
    const char *text = apr_psprintf(p, "#%lu", (unsigned long)uid);
    const wsgid_account_t *account = wsgid_accounts_user(p, text);

    return account->name ? account->name : text;
}

const char *wsgid_accounts_group_text(apr_pool_t *p, gid_t gid)
{
    const char *text = apr_psprintf(p, "#%lu", (unsigned long)gid);
    const wsgid_account_t *account = wsgid_accounts_group(p, text);

    return account->name ? account->name : text;
}
