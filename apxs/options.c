/*
 * The options of WSGIDaemonProcess: text to typed values, by the one table in options.def.
 *
 * Rules: a function that refuses returns one line: code, option, value, what is allowed (httpd adds file and line).
 * Whatever can be known while the configuration is read is checked then; only what depends on User, Group and Timeout
 * waits for wsgid_options_complete. No knowledge of single options above the section "defaults that are known at start
 * only".
 */
#include "configuration.h"

#include <limits.h>
#include <sys/stat.h>
#include <unistd.h>

#include "apr_lib.h"
#include "apr_user.h"
#include "unixd.h"

#define MAX_NAME 40             /* no option's name is longer; bounds the edit distance */
#define NO_ID    4294967295u    /* (uid_t)-1: what httpd has before User is read */

typedef enum {
    TYPE_INTEGER, TYPE_SECONDS, TYPE_SIZE, TYPE_OCTAL, TYPE_FLAG, TYPE_USER, TYPE_GROUPID, TYPE_TEXT, TYPE_PATH,
    TYPE_PATHS, TYPE_GROUPS, TYPE_ASSIGNMENTS           /* the lists */
} type_e;

enum { FOR_HTTPD = 1, FOR_DAEMON = 2, FOR_BOTH = 3 };

typedef struct {
    const char *name;
    type_e type;
    const char *fallback;
    apr_int64_t least;
    apr_int64_t most;
    int consumer;
} option_t;

static const option_t options[] = {
#define OPTION(id, name, type, fallback, least, most, consumer, unit, help) \
    [WSGID_OPT_##id] = { name, TYPE_##type, fallback, least, most, FOR_##consumer },
#include "options.def"
#undef OPTION
};

typedef struct {
    const char *name;
    const char *cure;
} foreign_t;

static const foreign_t foreign[] = {
#define FOREIGN_OPTION(name, cure) { name, cure },
#include "options.def"
#undef OPTION
    { NULL, NULL }
};

/* ------------------------------------------------------------------ refusals */

static const char *refuse(apr_pool_t *p, const option_t *option, const char *text, const char *why)
{
    return apr_psprintf(p, "WSGID0003: %s=%s: %s", option->name, text, why);
}

static const char *refuse_number(apr_pool_t *p, const option_t *option, const char *text, const char *what)
{
    return refuse(p, option, text, apr_psprintf(p, "not %s from %" APR_INT64_T_FMT " to %" APR_INT64_T_FMT, what,
                                                option->least, option->most));
}

static int has_control(const char *text)
{
    for (; *text; text++) {
        if (apr_iscntrl(*text)) {
            return 1;
        }
    }
    return 0;
}

static int in_bounds(const option_t *option, apr_int64_t number)
{
    return number >= option->least && number <= option->most;
}

/* ------------------------------------------------------------------ one type after the other */

typedef const char *parser_t(apr_pool_t *p, const option_t *option, wsgid_value_t *value, const char *text);

/* A whole number at *text, which is moved behind it. 0 if there is none or if it does not fit. */
static int take_number(const char **text, int base, apr_int64_t *number)
{
    char *end;

    if (!apr_isdigit(**text) && !(**text == '-' && apr_isdigit((*text)[1]))) {
        return 0;                       /* strtoll would take blanks, "+" and "0x" */
    }
    errno = 0;
    *number = apr_strtoi64(*text, &end, base);
    if (errno || end == *text) {
        return 0;
    }
    *text = end;
    return 1;
}

static const char *parse_integer(apr_pool_t *p, const option_t *option, wsgid_value_t *value, const char *text)
{
    const char *rest = text;

    if (!take_number(&rest, 10, &value->number) || *rest || !in_bounds(option, value->number)) {
        return refuse_number(p, option, text, "a whole number");
    }
    value->text = apr_psprintf(p, "%" APR_INT64_T_FMT, value->number);
    return NULL;
}

/* ".5" -> 500000; more digits than microseconds have are refused. */
static int take_fraction(const char **text, apr_int64_t *micros)
{
    apr_int64_t weight = APR_USEC_PER_SEC;

    *micros = 0;
    if (**text != '.') {
        return 1;
    }
    if (!apr_isdigit(*++*text)) {
        return 0;
    }
    for (; apr_isdigit(**text) && weight > 1; ++*text) {
        weight /= 10;
        *micros += (**text - '0') * weight;
    }
    return 1;
}

/* 1500000 -> "1.5" */
static const char *seconds_text(apr_pool_t *p, apr_int64_t micros)
{
    char *text = apr_psprintf(p, "%" APR_INT64_T_FMT ".%06d", micros / APR_USEC_PER_SEC,
                              (int) (micros % APR_USEC_PER_SEC));
    apr_size_t length = strlen(text);

    while (text[length - 1] == '0') {
        length--;
    }
    text[text[length - 1] == '.' ? length - 1 : length] = '\0';
    return text;
}

static const char *parse_seconds(apr_pool_t *p, const option_t *option, wsgid_value_t *value, const char *text)
{
    const char *rest = text;
    apr_int64_t whole;
    apr_int64_t fraction;

    if (*text == '-' || !take_number(&rest, 10, &whole) || !take_fraction(&rest, &fraction) || *rest
        || !in_bounds(option, whole) || (whole == option->most && fraction)) {
        return refuse_number(p, option, text, "a number of seconds");
    }
    value->number = whole * APR_USEC_PER_SEC + fraction;
    value->text = seconds_text(p, value->number);
    return NULL;
}

/* The number of bits that a suffix stands for; -1 for what is none. */
static int size_shift(const char *suffix)
{
    static const char letters[] = "KMG";
    const char *letter;

    if (!*suffix) {
        return 0;
    }
    letter = suffix[1] ? NULL : strchr(letters, apr_toupper(*suffix));
    return letter ? 10 * (int) (letter - letters + 1) : -1;
}

static const char *parse_size(apr_pool_t *p, const option_t *option, wsgid_value_t *value, const char *text)
{
    const char *rest = text;
    int shift;

    if (!take_number(&rest, 10, &value->number) || (shift = size_shift(rest)) < 0 || value->number < 0
        || value->number > (option->most >> shift) || !in_bounds(option, value->number << shift)) {
        return refuse_number(p, option, text, "a number of bytes (K, M or G may follow)");
    }
    value->number <<= shift;
    value->text = apr_psprintf(p, "%" APR_INT64_T_FMT, value->number);
    return NULL;
}

static const char *parse_octal(apr_pool_t *p, const option_t *option, wsgid_value_t *value, const char *text)
{
    const char *rest = text;

    if (!take_number(&rest, 8, &value->number) || *rest || !in_bounds(option, value->number)) {
        return refuse(p, option, text, apr_psprintf(p, "not an octal number from %" APR_UINT64_T_HEX_FMT " to %o",
                                                    (apr_uint64_t) option->least, (unsigned) option->most));
    }
    value->text = apr_psprintf(p, "%04o", (unsigned) value->number);
    return NULL;
}

static const char *parse_flag(apr_pool_t *p, const option_t *option, wsgid_value_t *value, const char *text)
{
    value->number = !ap_cstr_casecmp(text, "on");
    if (!value->number && ap_cstr_casecmp(text, "off")) {
        return refuse(p, option, text, "neither on nor off");
    }
    value->text = value->number ? "on" : "off";
    return NULL;
}

/* "#1000" -> 1000; 0 for what is no such thing. */
static int take_id(const char *text, apr_int64_t *id)
{
    return *text++ == '#' && *text != '-' && take_number(&text, 10, id) && !*text && *id < NO_ID;
}

static const char *parse_user(apr_pool_t *p, const option_t *option, wsgid_value_t *value, const char *text)
{
    apr_uid_t uid;
    apr_gid_t gid;

    if (!take_id(text, &value->number)) {
        if (!*text || apr_uid_get(&uid, &gid, text, p) != APR_SUCCESS) {
            return apr_psprintf(p, "WSGID0005: %s=%s: there is no such user; name one that exists, or #UID",
                                option->name, text);
        }
        value->number = uid;
    }
    if (!in_bounds(option, value->number)) {
        return apr_psprintf(p, "WSGID0007: %s=%s: that is root, and an application never runs as root; name another "
                            "user", option->name, text);
    }
    value->text = apr_pstrdup(p, text);
    return NULL;
}

static int find_group(apr_pool_t *p, const char *text, apr_int64_t *id)
{
    apr_gid_t gid;

    if (take_id(text, id)) {
        return 1;
    }
    if (!*text || apr_gid_get(&gid, text, p) != APR_SUCCESS) {
        return 0;
    }
    *id = gid;
    return 1;
}

static const char *refuse_group(apr_pool_t *p, const option_t *option, const char *text)
{
    return apr_psprintf(p, "WSGID0006: %s=%s: there is no such group; name one that exists, or #GID", option->name,
                        text);
}

static const char *parse_groupid(apr_pool_t *p, const option_t *option, wsgid_value_t *value, const char *text)
{
    if (!find_group(p, text, &value->number)) {
        return refuse_group(p, option, text);
    }
    value->text = apr_pstrdup(p, text);
    return NULL;
}

static const char *parse_text(apr_pool_t *p, const option_t *option, wsgid_value_t *value, const char *text)
{
    if (has_control(text) || !in_bounds(option, (apr_int64_t) strlen(text))) {
        return refuse_number(p, option, text, "a text without control characters, of a length");
    }
    value->text = apr_pstrdup(p, text);
    return NULL;
}

static const char *parse_path(apr_pool_t *p, const option_t *option, wsgid_value_t *value, const char *text)
{
    const char *path = *text && !has_control(text) ? ap_server_root_relative(p, text) : NULL;

    if (!path || strlen(path) >= PATH_MAX) {
        return refuse(p, option, text, "not a path (absolute, or relative to ServerRoot)");
    }
    value->text = path;
    return NULL;
}

/* ------------------------------------------------------------------ lists: each adds to what is there */

static void add_item(apr_pool_t *p, wsgid_value_t *value, const char *item, const char *separator)
{
    if (!value->list) {
        value->list = apr_array_make(p, 4, sizeof(const char *));
    }
    APR_ARRAY_PUSH(value->list, const char *) = item;
    value->text = apr_array_pstrcat(p, value->list, *separator);
}

static const char *parse_paths(apr_pool_t *p, const option_t *option, wsgid_value_t *value, const char *text)
{
    char *state;
    char *item = apr_strtok(apr_pstrdup(p, text), ":", &state);
    wsgid_value_t one = { 0 };

    if (!item) {
        return refuse(p, option, text, "not a list of directories, separated by colons");
    }
    for (; item; item = apr_strtok(NULL, ":", &state)) {
        const char *error = parse_path(p, option, &one, item);
        if (error) {
            return error;
        }
        add_item(p, value, one.text, ":");
    }
    return NULL;
}

static const char *parse_groups(apr_pool_t *p, const option_t *option, wsgid_value_t *value, const char *text)
{
    char *state;
    char *item = apr_strtok(apr_pstrdup(p, text), ",", &state);
    apr_int64_t unused;

    if (!item) {
        return refuse(p, option, text, "not a list of groups, separated by commas");
    }
    for (; item; item = apr_strtok(NULL, ",", &state)) {
        if (!find_group(p, item, &unused)) {
            return refuse_group(p, option, item);
        }
        add_item(p, value, item, ",");
    }
    return NULL;
}

/* The length of a variable's name at the start of "NAME=VALUE"; 0 if there is none. */
static apr_size_t variable_length(const char *text)
{
    apr_size_t length = 0;

    while (apr_isalnum(text[length]) || text[length] == '_') {
        length++;
    }
    return text[length] == '=' && !apr_isdigit(*text) ? length : 0;
}

static const char *parse_assignments(apr_pool_t *p, const option_t *option, wsgid_value_t *value, const char *text)
{
    apr_size_t length = variable_length(text);
    int i;

    if (!length || has_control(text)) {
        return refuse(p, option, text, "not NAME=VALUE");
    }
    for (i = 0; value->list && i < value->list->nelts; i++) {
        if (!strncmp(APR_ARRAY_IDX(value->list, i, const char *), text, length + 1)) {
            return refuse(p, option, text, "that variable is given twice; keep one");
        }
    }
    add_item(p, value, apr_pstrdup(p, text), " ");
    return NULL;
}

static parser_t *const parsers[] = {
    [TYPE_INTEGER] = parse_integer, [TYPE_SECONDS] = parse_seconds, [TYPE_SIZE] = parse_size,
    [TYPE_OCTAL] = parse_octal, [TYPE_FLAG] = parse_flag, [TYPE_USER] = parse_user, [TYPE_GROUPID] = parse_groupid,
    [TYPE_TEXT] = parse_text, [TYPE_PATH] = parse_path, [TYPE_PATHS] = parse_paths, [TYPE_GROUPS] = parse_groups,
    [TYPE_ASSIGNMENTS] = parse_assignments,
};

static const char *parse_value(apr_pool_t *p, wsgid_option_e id, wsgid_value_t *value, const char *text)
{
    return parsers[options[id].type](p, &options[id], value, text);
}

/* ------------------------------------------------------------------ names */

static int least_of(int a, int b, int c)
{
    int least = a < b ? a : b;

    return least < c ? least : c;
}

/* How many characters must be added, dropped or changed to make one name the other (Levenshtein). */
static int distance(const char *a, const char *b)
{
    int row[MAX_NAME + 1] = { 0 };
    int columns = (int) strlen(b);
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

/* The known option that the administrator may have meant, or NULL: at most a third of its letters differ. */
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
    return found && best <= ((int) strlen(found) + 2) / 3 ? found : NULL;
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
            wsgid_config_notice(option->name, apr_psprintf(p, "WSGID0013: %s= of WSGIDaemonProcess has no effect: %s",
                                                           option->name, option->cure));
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
    return apr_psprintf(p, "WSGID0002: unknown option %s=; the reference lists the options of WSGIDaemonProcess", name);
}

/* ------------------------------------------------------------------ the line */

int wsgid_options_next_word(apr_pool_t *p, const char **words, const char **name, const char **value)
{
    const char *equals;

    while (apr_isspace(**words)) {
        ++*words;
    }
    if (!**words) {
        return 0;
    }
    equals = *words + strcspn(*words, "= \t\"'");
    if (*equals == '=') {                               /* quotes, if any, are around the value */
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

const char *wsgid_options_set(apr_pool_t *p, wsgid_value_t *values, wsgid_option_e id, const char *text)
{
    if (values[id].given && options[id].type < TYPE_PATHS) {
        return apr_psprintf(p, "WSGID0004: %s= is given twice (%s and %s); keep one", options[id].name,
                            values[id].text, text);
    }
    values[id].given = 1;
    return parse_value(p, id, &values[id], text);
}

static const char *parse_word(apr_pool_t *p, wsgid_value_t *values, const char *name, const char *text)
{
    int id;

    if (!text || !*name) {
        return apr_psprintf(p, "WSGID0008: '%s' is not an option; write option=value, and quotes around a value with "
                            "blanks", text && !*name ? apr_pstrcat(p, "=", text, NULL) : name);
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

/* ------------------------------------------------------------------ defaults that are known at start only */

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

    return apr_uid_name_get(&name, (apr_uid_t) uid, p) == APR_SUCCESS ? name : number_text(p, uid);
}

static const char *group_text(apr_pool_t *p, apr_int64_t gid)
{
    char *name;

    return apr_gid_name_get(&name, (apr_gid_t) gid, p) == APR_SUCCESS ? name : number_text(p, gid);
}

static void notice_no_effect(apr_pool_t *p, wsgid_option_e id)
{
    wsgid_config_notice(options[id].name, apr_psprintf(p, "WSGID0024: %s= has no effect: httpd was not started by "
                                                       "root, so daemons run as %s, like httpd itself",
                                                       options[id].name, user_text(p, geteuid())));
}

/* Without root nobody can become another: the daemons run as httpd does, and no option says otherwise. */
static void complete_identity_unprivileged(apr_pool_t *p, wsgid_value_t *values)
{
    static const wsgid_option_e impossible[] = {
        WSGID_OPT_USER, WSGID_OPT_GROUP, WSGID_OPT_SOCKET_USER, WSGID_OPT_SUPPLEMENTARY_GROUPS, WSGID_OPT_CHROOT
    };
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
        set_computed(&values[WSGID_OPT_SOCKET_USER], ap_unixd_config.user_id, user_text(p, ap_unixd_config.user_id));
    }
    if (!values[WSGID_OPT_GROUP].given) {
        set_computed(&values[WSGID_OPT_GROUP], ap_unixd_config.group_id, group_text(p, ap_unixd_config.group_id));
    }
    if (values[WSGID_OPT_USER].given) {
        return NULL;
    }
    if (ap_unixd_config.user_id == 0 || ap_unixd_config.user_id == NO_ID) {
        return "WSGID0007: httpd's User is root or not set, and an application never runs as root; name another user "
               "with User or with user=";
    }
    set_computed(&values[WSGID_OPT_USER], ap_unixd_config.user_id, user_text(p, ap_unixd_config.user_id));
    return NULL;
}

static void complete_umask(apr_pool_t *p, wsgid_value_t *value)
{
    mode_t own;

    if (value->given) {
        return;
    }
    own = umask(0);                     /* the only way to read it; nobody else runs at start */
    umask(own);
    set_computed(value, own, apr_psprintf(p, "%04o", (unsigned) own));
}

static void complete_python(apr_pool_t *p, wsgid_value_t *values)
{
    const wsgid_value_t *home = &values[WSGID_OPT_PYTHON_HOME];

    if (!values[WSGID_OPT_PYTHON].given) {
        values[WSGID_OPT_PYTHON].text = home->text ? apr_pstrcat(p, home->text, "/bin/python", NULL) : WSGID_PYTHON;
    }
}

static void complete_socket_timeout(apr_pool_t *p, server_rec *s, wsgid_value_t *value)
{
    if (!value->number) {
        set_computed(value, s->timeout, seconds_text(p, s->timeout));
    }
}

const char *wsgid_options_complete(apr_pool_t *p, server_rec *s, wsgid_value_t *values)
{
    const char *error;
    int i;

    for (i = 0; i < WSGID_OPT_COUNT; i++) {
        if (!values[i].given && options[i].fallback && (error = parse_value(p, i, &values[i], options[i].fallback))) {
            return error;
        }
    }
    complete_umask(p, &values[WSGID_OPT_UMASK]);
    complete_python(p, values);
    complete_socket_timeout(p, s, &values[WSGID_OPT_SOCKET_TIMEOUT]);
    return complete_identity(p, values);
}

/* ------------------------------------------------------------------ questions */

const char *wsgid_options_name(wsgid_option_e option)
{
    return options[option].name;
}

int wsgid_options_is_for_daemon(wsgid_option_e option)
{
    return (options[option].consumer & FOR_DAEMON) != 0;
}

/* The canonical text tells lists and numbers apart as well, so that it is all there is to compare. */
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
