/*
 * The options of WSGIDaemonProcess: the words of its line to values, by the one table in
 * options.def. What a value of one type looks like is in option_types.c.
 *
 * Rules: a function that refuses returns one line: code, option, value, what is allowed (httpd adds
 * file and line). Whatever can be known while the configuration is read is checked then; only what
 * depends on User, Group and Timeout waits for wsgid_options_complete. No knowledge of single
 * options above the section "defaults that are known at start only".
 */
#include "config/options.h"

#include "config/notices.h"
#include "config/option_types.h"

#include <limits.h>
#include <sys/stat.h>
#include <unistd.h>

#include "apr_lib.h"
#include "apr_user.h"
#include "unixd.h"

#define MAX_NAME 40 /* no option's name is longer; bounds the edit distance */

enum { FOR_HTTPD = 1, FOR_DAEMON = 2, FOR_BOTH = 3 };

static const wsgid_option_t options[] = {
#define OPTION(id, name, type, fallback, least, most, consumer, unit, help) \
    [WSGID_OPT_##id] = { name, WSGID_TYPE_##type, fallback, least, most, FOR_##consumer, unit },
#include "config/options.def"
#undef OPTION
};

typedef struct {
    const char *name;
    const char *fix;
} foreign_t;

static const foreign_t foreign[] = {
#define FOREIGN_OPTION(name, fix) { name, fix },
#include "config/options.def"
#undef OPTION
    { NULL, NULL }
};

/* ---- names */

static int least_of(int a, int b, int c)
{
    int least = a < b ? a : b;

    return least < c ? least : c;
}

/* How many characters must be added, dropped or changed to make one name the other (Levenshtein).
 */
static int distance(const char *a, const char *b)
{
    int row[MAX_NAME + 1] = { 0 };
    int columns = (int)strlen(b);
    int i;
    int j;

    for (j = 0; j <= columns; j++) {
        row[j] = j;
    }
    for (i = 1; a[i - 1]; i++) {
        int diagonal = row[0];
        row[0] = i;
        for (j = 1; j <= columns; j++) {
            int above = row[j];
            row[j] = least_of(above + 1, row[j - 1] + 1, diagonal + (a[i - 1] != b[j - 1]));
            diagonal = above;
        }
    }
    return row[columns];
}

/* The name if it is nearer to what was written than any before it. */
static void keep_nearer(const char *written, const char *name, int *best, const char **found)
{
    int steps = distance(written, name);

    if (steps < *best) {
        *best = steps;
        *found = name;
    }
}

/* The known option that the administrator may have meant, or NULL: at most a third of its letters
 * differ. */
static const char *nearest(const char *written)
{
    const char *found = NULL;
    const foreign_t *other;
    int best = INT_MAX;
    int i;

    if (strlen(written) > MAX_NAME) {
        return NULL;
    }
    for (i = 0; i < WSGID_OPT_COUNT; i++) {
        keep_nearer(written, options[i].name, &best, &found);
    }
    for (other = foreign; other->name; other++) {
        keep_nearer(written, other->name, &best, &found);
    }
    return found && best <= ((int)strlen(found) + 2) / 3 ? found : NULL;
}

static int find_option(const char *name)
{
    int i;

    for (i = 0; i < WSGID_OPT_COUNT; i++) {
        if (!strcmp(name, options[i].name)) {
            return i;
        }
    }
    return -1;
}

/* mod_wsgi's option that has no effect here: one notice, and on we go. */
static int accept_foreign(apr_pool_t *p, const char *name)
{
    const foreign_t *option;

    for (option = foreign; option->name; option++) {
        if (!strcmp(name, option->name)) {
            wsgid_notices_log_once(
                option->name,
                apr_psprintf(p,
                             "WSGID0013: %s= of WSGIDaemonProcess has no effect in mod_wsgid: %s",
                             option->name, option->fix));
            return 1;
        }
    }
    return 0;
}

static const char *refuse_name(apr_pool_t *p, const char *name)
{
    const char *guess = nearest(name);

    if (guess) {
        return apr_psprintf(p, "WSGID0002: unknown option %s=; did you mean %s=?", name, guess);
    }
    return apr_psprintf(
        p, "WSGID0002: unknown option %s=; docs/reference/options.md lists all options", name);
}

/* ---- the line */

int wsgid_options_next_word(apr_pool_t *p, const char **words, const char **name,
                            const char **value)
{
    const char *equals;

    while (apr_isspace(**words)) {
        ++*words;
    }
    if (!**words) {
        return 0;
    }
    equals = *words + strcspn(*words, "= \t\"'");
    if (*equals == '=') { /* quotes, if any, are around the value */
        *name = apr_pstrmemdup(p, *words, equals - *words);
        *words = equals + 1;
        *value = **words && !apr_isspace(**words) ? ap_getword_conf(p, words) : "";
        return 1;
    }
    *name = ap_getword_conf(p, words);
    equals = strchr(*name, '=');
    *value = equals ? equals + 1 : NULL;
    *name = equals ? apr_pstrmemdup(p, *name, equals - *name) : *name;
    return 1;
}

static const char *parse_value(apr_pool_t *p, wsgid_option_e id, wsgid_value_t *value,
                               const char *text)
{
    return wsgid_option_types_parse(p, &options[id], value, text);
}

const char *wsgid_options_set(apr_pool_t *p, wsgid_value_t *values, wsgid_option_e id,
                              const char *text)
{
    if (values[id].given && options[id].type < WSGID_TYPE_PATHS) {
        return apr_psprintf(p, "WSGID0004: %s= is given twice (%s and %s); keep one",
                            options[id].name, values[id].text, text);
    }
    values[id].given = 1;
    return parse_value(p, id, &values[id], text);
}

static const char *parse_word(apr_pool_t *p, wsgid_value_t *values, const char *name,
                              const char *text)
{
    int id;

    if (!text || !*name) {
        return apr_psprintf(
            p,
            "WSGID0008: '%s' is not an option; write option=value, and put quotes around a value "
            "that contains spaces",
            text && !*name ? apr_pstrcat(p, "=", text, NULL) : name);
    }
    id = find_option(name);
    if (id < 0) {
        return accept_foreign(p, name) ? NULL : refuse_name(p, name);
    }
    return wsgid_options_set(p, values, id, text);
}

const char *wsgid_options_parse(apr_pool_t *p, wsgid_value_t *values, const char *words)
{
    const char *error = NULL;
    const char *name;
    const char *text;

    while (!error && wsgid_options_next_word(p, &words, &name, &text)) {
        error = parse_word(p, values, name, text);
    }
    if (!error && values[WSGID_OPT_PYTHON].given && values[WSGID_OPT_PYTHON_HOME].given) {
        error = "WSGID0011: python= and python-home= both choose the interpreter; keep one";
    }
    return error;
}

/* ---- defaults that are known at start only */

static void set_computed(wsgid_value_t *value, apr_int64_t number, const char *text)
{
    value->number = number;
    value->text = text;
}

static const char *number_text(apr_pool_t *p, apr_int64_t id)
{
    return apr_psprintf(p, "#%" APR_INT64_T_FMT, id);
}

static const char *user_text(apr_pool_t *p, apr_int64_t uid)
{
    char *name;

    return apr_uid_name_get(&name, (apr_uid_t)uid, p) == APR_SUCCESS ? name : number_text(p, uid);
}

static const char *group_text(apr_pool_t *p, apr_int64_t gid)
{
    char *name;

    return apr_gid_name_get(&name, (apr_gid_t)gid, p) == APR_SUCCESS ? name : number_text(p, gid);
}

static void notice_no_effect(apr_pool_t *p, wsgid_option_e id)
{
    wsgid_notices_log_once(options[id].name,
                           apr_psprintf(p,
                                        "WSGID0024: %s= has no effect: httpd was not started by "
                                        "root, so the daemons run as %s, like httpd; start "
                                        "httpd as root, or remove the option",
                                        options[id].name, user_text(p, geteuid())));
}

/* Without root nobody can become another: the daemons run as httpd does, and no option says
 * otherwise. */
static void complete_identity_unprivileged(apr_pool_t *p, wsgid_value_t *values)
{
    static const wsgid_option_e impossible[] = { WSGID_OPT_USER, WSGID_OPT_GROUP,
                                                 WSGID_OPT_SOCKET_USER,
                                                 WSGID_OPT_SUPPLEMENTARY_GROUPS, WSGID_OPT_CHROOT };
    const apr_int64_t own[] = { geteuid(), getegid(), geteuid(), -1, -1 };
    apr_size_t i;

    for (i = 0; i < sizeof(impossible) / sizeof(*impossible); i++) {
        wsgid_value_t *value = &values[impossible[i]];
        if (value->given && (own[i] < 0 || value->number != own[i])) {
            notice_no_effect(p, impossible[i]);
        }
        memset(value, 0, sizeof(*value));
    }
    set_computed(&values[WSGID_OPT_USER], geteuid(), user_text(p, geteuid()));
    set_computed(&values[WSGID_OPT_GROUP], getegid(), group_text(p, getegid()));
    set_computed(&values[WSGID_OPT_SOCKET_USER], geteuid(), user_text(p, geteuid()));
}

static const char *complete_identity(apr_pool_t *p, wsgid_value_t *values)
{
    if (geteuid() != 0) {
        complete_identity_unprivileged(p, values);
        return NULL;
    }
    if (!values[WSGID_OPT_SOCKET_USER].given) {
        set_computed(&values[WSGID_OPT_SOCKET_USER], ap_unixd_config.user_id,
                     user_text(p, ap_unixd_config.user_id));
    }
    if (!values[WSGID_OPT_GROUP].given) {
        set_computed(&values[WSGID_OPT_GROUP], ap_unixd_config.group_id,
                     group_text(p, ap_unixd_config.group_id));
    }
    if (values[WSGID_OPT_USER].given) {
        return NULL;
    }
    if (ap_unixd_config.user_id == 0 || ap_unixd_config.user_id == WSGID_NO_ID) {
        return "WSGID0007: httpd's User is root or not set, and an application never runs as root; "
               "name another user with httpd's User or with the option user=";
    }
    set_computed(&values[WSGID_OPT_USER], ap_unixd_config.user_id,
                 user_text(p, ap_unixd_config.user_id));
    return NULL;
}

static void complete_umask(apr_pool_t *p, wsgid_value_t *value)
{
    mode_t own;

    if (value->given) {
        return;
    }
    own = umask(0); /* the only way to read it; nobody else runs at start */
    umask(own);
    set_computed(value, own, apr_psprintf(p, "%04o", (unsigned)own));
}

static void complete_python(apr_pool_t *p, wsgid_value_t *values)
{
    const wsgid_value_t *home = &values[WSGID_OPT_PYTHON_HOME];

    if (!values[WSGID_OPT_PYTHON].given) {
        values[WSGID_OPT_PYTHON].text = home->text ? apr_pstrcat(p, home->text, "/bin/python", NULL)
                                                   : WSGID_PYTHON;
    }
}

static void complete_socket_timeout(apr_pool_t *p, server_rec *s, wsgid_value_t *values)
{
    wsgid_value_t *socket = &values[WSGID_OPT_SOCKET_TIMEOUT];

    if (!socket->number) {
        set_computed(socket, s->timeout, wsgid_option_types_seconds(p, s->timeout));
    }
}

const char *wsgid_options_complete(apr_pool_t *p, server_rec *s, wsgid_value_t *values)
{
    const char *error;
    int i;

    for (i = 0; i < WSGID_OPT_COUNT; i++) {
        if (!values[i].given && options[i].fallback
            && (error = parse_value(p, i, &values[i], options[i].fallback))) {
            return error;
        }
    }
    complete_umask(p, &values[WSGID_OPT_UMASK]);
    complete_python(p, values);
    complete_socket_timeout(p, s, values);
    return complete_identity(p, values);
}

/* ---- questions */

const char *wsgid_options_name(wsgid_option_e option)
{
    return options[option].name;
}

int wsgid_options_is_for_daemon(wsgid_option_e option)
{
    return (options[option].consumer & FOR_DAEMON) != 0;
}

/* The canonical text tells lists and numbers apart as well, so that it is all there is to compare.
 */
int wsgid_options_equal(const wsgid_value_t *a, const wsgid_value_t *b)
{
    int i;

    for (i = 0; i < WSGID_OPT_COUNT; i++) {
        if (a[i].given != b[i].given || (a[i].given && strcmp(a[i].text, b[i].text))) {
            return 0;
        }
    }
    return 1;
}
