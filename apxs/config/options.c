/*
 * The options of WSGIDaemonProcess: from the words of its line to values, by the table options.def.
 *
 * Rules: a function that refuses returns one line of text: code, option, value, and what is allowed
 * (httpd adds file and line number). Everything that can be checked while the configuration is read
 * is checked here.
 *
 * Not here: how a value of some type is parsed (option_types.c), and defaults that depend on
 * httpd's configuration or on the system (option_defaults.c).
 */
#include "config/options.h"

#include "config/notices.h"
#include "config/option_types.h"

#include <limits.h>

#include "apr_lib.h"

#define MAX_NAME 40 /* no option has a longer name (tools/generate checks it) */

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

/* The number of characters to add, remove or change to turn one name into the other (Levenshtein's
 * distance). b is at most MAX_NAME long. */
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

/* Sets *found to name if its distance is less than *best. */
static void keep_nearer(const char *written, const char *name, int *best, const char **found)
{
    int steps = distance(written, name);

    if (steps < *best) {
        *best = steps;
        *found = name;
    }
}

/* Returns the option with the most similar name, or NULL if more than a third of its letters
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

/* Whether this is an option that only mod_wsgi has; logs a notice then. */
static int accept_foreign(const cmd_parms *cmd, const char *name)
{
    const foreign_t *option;

    for (option = foreign; option->name; option++) {
        if (!strcmp(name, option->name)) {
            wsgid_notices_log_once(
                option->name, wsgid_notices_where(cmd),
                apr_psprintf(cmd->pool,
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
    if (*equals == '=') { /* quotes, if any, are around the value only */
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

/* Whether the text says that the option is not given. */
static int is_nothing(const wsgid_option_t *option, const char *text)
{
    if (!*text) {
        return !option->least
               && (option->type == WSGID_TYPE_TEXT || option->type == WSGID_TYPE_PATH
                   || option->type == WSGID_TYPE_PATHS || option->type == WSGID_TYPE_GROUPS);
    }
    return option->type == WSGID_TYPE_SIZE && option->least && !strcmp(text, "0");
}

static void give_notice(const cmd_parms *cmd, const char *line)
{
    const char *where = wsgid_notices_where(cmd);

    wsgid_notices_log_once(apr_pstrcat(cmd->pool, where, line, NULL), where, line);
}

const char *wsgid_options_set(const cmd_parms *cmd, wsgid_value_t *values, wsgid_option_e id,
                              const char *text)
{
    const wsgid_option_t *option = &options[id];
    wsgid_value_t *value = &values[id];
    const char *error;

    if (value->given && option->type < WSGID_TYPE_PATHS) {
        give_notice(cmd, apr_psprintf(cmd->pool, "WSGID0004: %s= is given twice: %s=%s is used",
                                      option->name, option->name, text));
        memset(value, 0, sizeof(*value));
    }
    if (is_nothing(option, text)) {
        return NULL;
    }
    value->given = 1;
    error = parse_value(cmd->pool, id, value, text);
    if (!error && value->is_adjusted) {
        give_notice(cmd, apr_psprintf(cmd->pool, "WSGID0032: %s=%s is out of range: %s is used",
                                      option->name, text, value->text));
    }
    return error;
}

static const char *parse_word(const cmd_parms *cmd, wsgid_value_t *values, const char *name,
                              const char *text)
{
    apr_pool_t *p = cmd->pool;
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
        return accept_foreign(cmd, name) ? NULL : refuse_name(p, name);
    }
    return wsgid_options_set(cmd, values, id, text);
}

const char *wsgid_options_parse(const cmd_parms *cmd, wsgid_value_t *values, const char *words)
{
    const char *error = NULL;
    const char *name;
    const char *text;

    while (!error && wsgid_options_next_word(cmd->pool, &words, &name, &text)) {
        error = parse_word(cmd, values, name, text);
    }
    if (!error && values[WSGID_OPT_PYTHON].given && values[WSGID_OPT_PYTHON_HOME].given) {
        error = "WSGID0011: python= and python-home= both choose the interpreter; keep one";
    }
    return error;
}

/* ---- defaults, names, comparison */

const char *wsgid_options_apply_defaults(apr_pool_t *p, wsgid_value_t *values)
{
    const char *error;
    int i;

    for (i = 0; i < WSGID_OPT_COUNT; i++) {
        if (!values[i].given && options[i].fallback
            && (error = parse_value(p, i, &values[i], options[i].fallback))) {
            return error;
        }
    }
    return NULL;
}

const char *wsgid_options_name(wsgid_option_e option)
{
    return options[option].name;
}

int wsgid_options_is_for_daemon(wsgid_option_e option)
{
    return (options[option].consumer & FOR_DAEMON) != 0;
}

/* Values are equal if their canonical texts are: those of lists and numbers are unambiguous. */
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
