/*
 * Defaults of WSGIDaemonProcess options that are known only when httpd's whole configuration has
 * been read: they depend on User, Group and Timeout, on the user that started httpd, and on other
 * options.
 */
#include "config/option_defaults.h"

#include <sys/stat.h>
#include <unistd.h>

#include "unixd.h"

#include "config/accounts.h"
#include "config/notices.h"
#include "config/option_types.h"

static void set_computed(wsgid_value_t *value, apr_int64_t number, const char *text)
{
    value->number = number;
    value->text = text;
}

static void notice_no_effect(apr_pool_t *p, const char *where, wsgid_option_e id)
{
    wsgid_notices_log_once(wsgid_options_name(id), where,
                           apr_psprintf(p,
                                        "WSGID0024: %s= has no effect: httpd was not started by "
                                        "root, so the daemons run as %s, like httpd; start "
                                        "httpd as root, or remove the option",
                                        wsgid_options_name(id),
                                        wsgid_accounts_user_text(p, geteuid())));
}

/* Only root can become another user: without it the daemons run as httpd's user, whatever the
 * options say. */
static void set_own_identity(apr_pool_t *p, const char *where, wsgid_value_t *values)
{
    static const wsgid_option_e impossible[] = { WSGID_OPT_USER, WSGID_OPT_GROUP,
                                                 WSGID_OPT_SOCKET_USER,
                                                 WSGID_OPT_SUPPLEMENTARY_GROUPS, WSGID_OPT_CHROOT };
    const apr_int64_t own[] = { geteuid(), getegid(), geteuid(), -1, -1 };
    apr_size_t i;

    for (i = 0; i < sizeof(impossible) / sizeof(*impossible); i++) {
        wsgid_value_t *value = &values[impossible[i]];
        if (value->given && (own[i] < 0 || value->number != own[i])) {
            notice_no_effect(p, where, impossible[i]);
        }
        memset(value, 0, sizeof(*value));
    }
    set_computed(&values[WSGID_OPT_USER], geteuid(), wsgid_accounts_user_text(p, geteuid()));
    set_computed(&values[WSGID_OPT_GROUP], getegid(), wsgid_accounts_group_text(p, getegid()));
    set_computed(&values[WSGID_OPT_SOCKET_USER], geteuid(), wsgid_accounts_user_text(p, geteuid()));
}

static const char *set_identity(apr_pool_t *p, const char *where, wsgid_value_t *values)
{
    if (geteuid() != 0) {
        set_own_identity(p, where, values);
        return NULL;
    }
    if (!values[WSGID_OPT_SOCKET_USER].given) {
        set_computed(&values[WSGID_OPT_SOCKET_USER], ap_unixd_config.user_id,
                     wsgid_accounts_user_text(p, ap_unixd_config.user_id));
    }
    if (!values[WSGID_OPT_GROUP].given) {
        set_computed(&values[WSGID_OPT_GROUP], ap_unixd_config.group_id,
                     wsgid_accounts_group_text(p, ap_unixd_config.group_id));
    }
    if (values[WSGID_OPT_USER].given) {
        return NULL;
    }
    if (ap_unixd_config.user_id == 0 || ap_unixd_config.user_id == WSGID_NO_ID) {
        return "WSGID0007: httpd's User is root or not set, and an application never runs as root; "
               "name another user with httpd's User or with the option user=";
    }
    set_computed(&values[WSGID_OPT_USER], ap_unixd_config.user_id,
                 wsgid_accounts_user_text(p, ap_unixd_config.user_id));
    return NULL;
}

static void set_umask(apr_pool_t *p, wsgid_value_t *value)
{
    mode_t own;

    if (value->given) {
        return;
    }
    own = umask(0); /* the only way to read it; there are no other threads at start */
    umask(own);
    set_computed(value, own, apr_psprintf(p, "%04o", (unsigned)own));
}

static void set_python(apr_pool_t *p, wsgid_value_t *values)
{
    const wsgid_value_t *home = &values[WSGID_OPT_PYTHON_HOME];

    if (!values[WSGID_OPT_PYTHON].given) {
        values[WSGID_OPT_PYTHON].text = home->text ? apr_pstrcat(p, home->text, "/bin/python", NULL)
                                                   : WSGID_PYTHON;
    }
}

static void set_socket_timeout(apr_pool_t *p, server_rec *s, wsgid_value_t *values)
{
    wsgid_value_t *socket = &values[WSGID_OPT_SOCKET_TIMEOUT];

    if (!socket->number) {
        set_computed(socket, s->timeout, wsgid_option_types_seconds(p, s->timeout));
    }
}

const char *wsgid_option_defaults_compute(apr_pool_t *p, server_rec *s, const char *where,
                                          wsgid_value_t *values)
{
    set_umask(p, &values[WSGID_OPT_UMASK]);
    set_python(p, values);
    set_socket_timeout(p, s, values);
    return set_identity(p, where, values);
}
