/*
 * The types of WSGIDaemonProcess options: from the text of one value to a number, a canonical text
 * or a list.
 *
 * Rules: a parser knows its type and the bounds in the option's entry of options.def, but no single
 * option. It returns NULL, or one line of text: code, option, value, and what is allowed. To add a
 * type, write a parser and add it to the table at the end.
 */
#include "config/option_types.h"

#include <limits.h>

#include "apr_lib.h"

#include "config/accounts.h"

/* ---- refusals */

static const char *refuse(apr_pool_t *p, const wsgid_option_t *option, const char *text,
                          const char *why)
{
    return apr_psprintf(p, "WSGID0003: %s=%s: %s", option->name, text, why);
}

static const char *refuse_number(apr_pool_t *p, const wsgid_option_t *option, const char *text,
                                 const char *what)
{
    return refuse(p, option, text,
                  apr_psprintf(p, "not %s from %" APR_INT64_T_FMT " to %" APR_INT64_T_FMT, what,
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

static int in_bounds(const wsgid_option_t *option, apr_int64_t number)
{
    return number >= option->least && number <= option->most;
}

/* ---- numbers and flags */

typedef const char *parser_t(apr_pool_t *p, const wsgid_option_t *option, wsgid_value_t *value,
                             const char *text);

/* Parses the whole number at the beginning of *text and moves *text behind it. Returns 0 if there
 * is none, or if it has more than 64 bits. */
static int take_number(const char **text, int base, apr_int64_t *number)
{
    char *end;

    if (!apr_isdigit(**text) && !(**text == '-' && apr_isdigit((*text)[1]))) {
        return 0; /* apr_strtoi64 would accept spaces, "+" and "0x" */
    }
    errno = 0;
    *number = apr_strtoi64(*text, &end, base);
    if (errno || end == *text) {
        return 0;
    }
    *text = end;
    return 1;
}

static const char *parse_integer(apr_pool_t *p, const wsgid_option_t *option, wsgid_value_t *value,
                                 const char *text)
{
    const char *rest = text;

    if (!take_number(&rest, 10, &value->number) || *rest || value->number < option->least) {
        return refuse_number(p, option, text, "a whole number");
    }
    value->is_adjusted = value->number > option->most; /* mod_wsgi has no bound */
    value->number = value->is_adjusted ? option->most : value->number;
    value->text = apr_psprintf(p, "%" APR_INT64_T_FMT, value->number);
    return NULL;
}

/* "N" is N from 1 on, "MIN-MAX" what it says. */
static const char *parse_range(apr_pool_t *p, const wsgid_option_t *option, wsgid_value_t *value,
                               const char *text)
{
    const char *rest = text;
    int is_range;

    if (!take_number(&rest, 10, &value->least)) {
        rest = "?";
    }
    value->number = value->least;
    is_range = *rest == '-';
    if (is_range && (rest++, !apr_isdigit(*rest) || !take_number(&rest, 10, &value->number))) {
        rest = "?";
    }
    if (*rest || value->least < (is_range ? option->least : 1) || value->number < 1
        || value->number < value->least) {
        return refuse(p, option, text,
                      apr_psprintf(p,
                                   "not a whole number from 1 to %" APR_INT64_T_FMT
                                   ", and not MIN-MAX with MIN from %" APR_INT64_T_FMT
                                   " and MAX not below it",
                                   option->most, option->least));
    }
    value->is_adjusted = value->number > option->most;
    value->number = value->is_adjusted ? option->most : value->number;
    value->least = value->least < value->number ? value->least : value->number;
    value->text = value->least == value->number
                      ? apr_psprintf(p, "%" APR_INT64_T_FMT, value->number)
                      : apr_psprintf(p, "%" APR_INT64_T_FMT "-%" APR_INT64_T_FMT, value->least,
                                     value->number);
    return NULL;
}

/* Parses ".5" into 500000 and moves *text behind it. Stops after six digits, so that the caller
 * refuses more. */
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

const char *wsgid_option_types_seconds(apr_pool_t *p, apr_int64_t micros)
{
    char *text = apr_psprintf(p, "%" APR_INT64_T_FMT ".%06d", micros / APR_USEC_PER_SEC,
                              (int)(micros % APR_USEC_PER_SEC));
    apr_size_t length = strlen(text);

    while (text[length - 1] == '0') {
        length--;
    }
    text[text[length - 1] == '.' ? length - 1 : length] = '\0';
    return text;
}

static const char *parse_seconds(apr_pool_t *p, const wsgid_option_t *option, wsgid_value_t *value,
                                 const char *text)
{
    const char *rest = text;
    apr_int64_t whole;
    apr_int64_t fraction;

    if (*text == '-' || !take_number(&rest, 10, &whole) || !take_fraction(&rest, &fraction)
        || *rest) {
        return refuse_number(p, option, text, "a number of seconds");
    }
    if (whole >= option->most) {
        value->is_adjusted = whole > option->most || fraction;
        whole = option->most;
        fraction = 0;
    }
    value->number = whole * APR_USEC_PER_SEC + fraction;
    value->text = wsgid_option_types_seconds(p, value->number);
    return NULL;
}

/* Returns by how many bits a suffix shifts a number, or -1 for an unknown suffix. */
static int size_shift(const char *suffix)
{
    static const char letters[] = "KMG";
    const char *letter;

    if (!*suffix) {
        return 0;
    }
    letter = suffix[1] ? NULL : strchr(letters, apr_toupper(*suffix));
    return letter ? 10 * (int)(letter - letters + 1) : -1;
}

static const char *parse_size(apr_pool_t *p, const wsgid_option_t *option, wsgid_value_t *value,
                              const char *text)
{
    const char *rest = text;
    int shift;

    if (!take_number(&rest, 10, &value->number) || (shift = size_shift(rest)) < 0
        || value->number < 0) {
        return refuse_number(p, option, text, "a number of bytes (K, M or G may follow)");
    }
    value->is_adjusted = value->number > option->most >> shift;
    value->number = value->is_adjusted ? option->most : value->number << shift;
    if (value->number < option->least) {
        value->number = option->least;
        value->is_adjusted = 1;
    }
    value->text = apr_psprintf(p, "%" APR_INT64_T_FMT, value->number);
    return NULL;
}

static const char *parse_octal(apr_pool_t *p, const wsgid_option_t *option, wsgid_value_t *value,
                               const char *text)
{
    const char *rest = text;

    if (!take_number(&rest, 8, &value->number) || *rest || !in_bounds(option, value->number)) {
        return refuse(p, option, text,
                      apr_psprintf(p, "not an octal number from %o to %o", (unsigned)option->least,
                                   (unsigned)option->most));
    }
    value->text = apr_psprintf(p, "%04o", (unsigned)value->number);
    return NULL;
}

static const char *parse_flag(apr_pool_t *p, const wsgid_option_t *option, wsgid_value_t *value,
                              const char *text)
{
    value->number = !ap_cstr_casecmp(text, "on");
    if (!value->number && ap_cstr_casecmp(text, "off")) {
        return refuse(p, option, text, "not on or off");
    }
    value->text = value->number ? "on" : "off";
    return NULL;
}

/* ---- users, groups, texts, paths */

/* Parses "#1000" into 1000. Returns 0 for any other text. */
static int take_id(const char *text, apr_int64_t *id)
{
    return *text++ == '#' && *text != '-' && take_number(&text, 10, id) && !*text
           && *id < WSGID_NO_ID;
}

static const char *parse_user(apr_pool_t *p, const wsgid_option_t *option, wsgid_value_t *value,
                              const char *text)
{
    if (!take_id(text, &value->number)) {
        const wsgid_account_t *account = wsgid_accounts_user(p, text);

        if (!account->name) {
            return apr_psprintf(
                p, "WSGID0005: %s=%s: there is no such user; name one that exists, or #UID",
                option->name, text);
        }
        value->number = account->id;
    }
    if (!in_bounds(option, value->number)) {
        return apr_psprintf(
            p,
            "WSGID0007: %s=%s: this user is root, and an application never runs as root; name "
            "another user",
            option->name, text);
    }
    value->text = apr_pstrdup(p, text);
    return NULL;
}

static int find_group(apr_pool_t *p, const char *text, apr_int64_t *id)
{
    const wsgid_account_t *account;

    if (take_id(text, id)) {
        return 1;
    }
    account = wsgid_accounts_group(p, text);
    *id = account->id;
    return account->name != NULL;
}

static const char *refuse_group(apr_pool_t *p, const wsgid_option_t *option, const char *text)
{
    return apr_psprintf(p,
                        "WSGID0006: %s=%s: there is no such group; name one that exists, or #GID",
                        option->name, text);
}

static const char *parse_groupid(apr_pool_t *p, const wsgid_option_t *option, wsgid_value_t *value,
                                 const char *text)
{
    if (!find_group(p, text, &value->number)) {
        return refuse_group(p, option, text);
    }
    value->text = apr_pstrdup(p, text);
    return NULL;
}

static const char *parse_text(apr_pool_t *p, const wsgid_option_t *option, wsgid_value_t *value,
                              const char *text)
{
    if (has_control(text) || !in_bounds(option, (apr_int64_t)strlen(text))) {
        return refuse(p, option, text,
                      apr_psprintf(p, "not a text of %d to %d bytes without control characters",
                                   (int)option->least, (int)option->most));
    }
    value->text = apr_pstrdup(p, text);
    return NULL;
}

static const char *parse_path(apr_pool_t *p, const wsgid_option_t *option, wsgid_value_t *value,
                              const char *text)
{
    const char *path = *text && !has_control(text) ? ap_server_root_relative(p, text) : NULL;

    if (!path || strlen(path) >= PATH_MAX) {
        return refuse(p, option, text, "not a path (absolute, or relative to ServerRoot)");
    }
    value->text = path;
    return NULL;
}

/* One of the words in the option's unit, in upper or lower case. */
static const char *parse_choice(apr_pool_t *p, const wsgid_option_t *option, wsgid_value_t *value,
                                const char *text)
{
    char *state;
    char *word = apr_strtok(apr_pstrdup(p, option->unit), "|", &state);

    for (value->number = 0; word; word = apr_strtok(NULL, "|", &state), value->number++) {
        if (!ap_cstr_casecmp(word, text)) {
            value->text = word;
            return NULL;
        }
    }
    return refuse(p, option, text, apr_psprintf(p, "not one of %s", option->unit));
}

/* ---- lists: each value extends the list */

static void add_item(apr_pool_t *p, wsgid_value_t *value, const char *item, const char *separator)
{
    if (!value->list) {
        value->list = apr_array_make(p, 4, sizeof(const char *));
    }
    APR_ARRAY_PUSH(value->list, const char *) = item;
    value->text = apr_array_pstrcat(p, value->list, *separator);
}

static const char *parse_paths(apr_pool_t *p, const wsgid_option_t *option, wsgid_value_t *value,
                               const char *text)
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

static const char *parse_groups(apr_pool_t *p, const wsgid_option_t *option, wsgid_value_t *value,
                                const char *text)
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

/* Returns the length of NAME in "NAME=VALUE", or 0 if the text has not that form. */
static apr_size_t variable_length(const char *text)
{
    apr_size_t length = 0;

    while (apr_isalnum(text[length]) || text[length] == '_') {
        length++;
    }
    return text[length] == '=' && !apr_isdigit(*text) ? length : 0;
}

static const char *parse_assignments(apr_pool_t *p, const wsgid_option_t *option,
                                     wsgid_value_t *value, const char *text)
{
    apr_size_t length = variable_length(text);
    int i;

    if (!length || has_control(text)) {
        return refuse(p, option, text, "not of the form NAME=VALUE");
    }
    for (i = 0; value->list && i < value->list->nelts; i++) {
        if (!strncmp(APR_ARRAY_IDX(value->list, i, const char *), text, length + 1)) {
            return refuse(p, option, text, "this variable is given twice; keep one");
        }
    }
    add_item(p, value, apr_pstrdup(p, text), " ");
    return NULL;
}

/* ---- the table */

static parser_t *const parsers[] = {
    [WSGID_TYPE_INTEGER] = parse_integer, [WSGID_TYPE_RANGE] = parse_range,
    [WSGID_TYPE_SECONDS] = parse_seconds, [WSGID_TYPE_SIZE] = parse_size,
    [WSGID_TYPE_OCTAL] = parse_octal,     [WSGID_TYPE_FLAG] = parse_flag,
    [WSGID_TYPE_USER] = parse_user,       [WSGID_TYPE_GROUPID] = parse_groupid,
    [WSGID_TYPE_TEXT] = parse_text,       [WSGID_TYPE_PATH] = parse_path,
    [WSGID_TYPE_CHOICE] = parse_choice,   [WSGID_TYPE_PATHS] = parse_paths,
    [WSGID_TYPE_GROUPS] = parse_groups,   [WSGID_TYPE_ASSIGNMENTS] = parse_assignments,
};

const char *wsgid_option_types_parse(apr_pool_t *p, const wsgid_option_t *option,
                                     wsgid_value_t *value, const char *text)
{
    return parsers[option->type](p, option, value, text);
}
