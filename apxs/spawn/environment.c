/*
 * The environment variables of a daemon: built from nothing, then env-file=, then env=; who comes
 * later wins.
 *
 * Runs in the forked process. The file is read with root's rights, the variables are put together
 * once it is known which interpreter runs.
 */
#include "spawn/spawn.h"

#include <stdio.h>
#include <unistd.h>

#define SEARCH_PATH "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
#define USUAL_LANG  "C.UTF-8"

/* Replaces a variable of the same name: who comes later wins. */
static void set_assignment(apr_array_header_t *environment, const char *assignment)
{
    const char *equals = strchr(assignment, '=');
    apr_size_t length = equals ? (apr_size_t)(equals - assignment) + 1 : 0;
    int i;

    if (length < 2) {
        return; /* option_types.c and parse_line() let no such thing pass */
    }
    for (i = 0; i < environment->nelts; i++) {
        if (!strncmp(APR_ARRAY_IDX(environment, i, const char *), assignment, length)) {
            APR_ARRAY_IDX(environment, i, const char *) = assignment;
            return;
        }
    }
    APR_ARRAY_PUSH(environment, const char *) = assignment;
}

static void set_variable(apr_pool_t *p, apr_array_header_t *environment, const char *name,
                         const char *value)
{
    if (value) {
        set_assignment(environment, apr_pstrcat(p, name, "=", value, NULL));
    }
}

static void set_all(apr_array_header_t *environment, const apr_array_header_t *assignments)
{
    int i;

    for (i = 0; assignments && i < assignments->nelts; i++) {
        set_assignment(environment, APR_ARRAY_IDX(assignments, i, const char *));
    }
}

static const char *trim(char *text)
{
    char *end = text + strlen(text);

    while (end > text && apr_isspace(end[-1])) {
        *--end = '\0';
    }
    while (apr_isspace(*text)) {
        text++;
    }
    return text;
}

static const char *unquote(apr_pool_t *p, const char *value)
{
    apr_size_t length = strlen(value);

    if (length >= 2 && (*value == '"' || *value == '\'') && value[length - 1] == *value) {
        return apr_pstrmemdup(p, value + 1, length - 2);
    }
    return value;
}

/* "NAME=VALUE", blank, or a comment (# or ;). 0 if it is none of these. */
static int parse_line(wsgid_birth_t *birth, char *text)
{
    const char *line = trim(text);
    const char *equals = strchr(line, '=');
    const char *c;

    if (!*line || *line == '#' || *line == ';') {
        return 1;
    }
    if (!equals || equals == line || apr_isdigit(*line)) {
        return 0;
    }
    for (c = line; c < equals; c++) {
        if (!apr_isalnum(*c) && *c != '_') {
            return 0;
        }
    }
    APR_ARRAY_PUSH(birth->from_files, const char *) = apr_pstrcat(
        birth->pool, apr_pstrmemdup(birth->pool, line, equals + 1 - line),
        unquote(birth->pool, equals + 1), NULL);
    return 1;
}

static void refuse_file(const wsgid_birth_t *birth, const char *path, int line, int error)
    __attribute__((noreturn));

static void refuse_file(const wsgid_birth_t *birth, const char *path, int line, int error)
{
    ap_log_error(APLOG_MARK, APLOG_ERR, error, birth->group->server,
                 "WSGID0081: group '%s': env-file=%s cannot be "
                 "used%s%s: it must be a readable file of NAME=VALUE lines",
                 birth->group->label, path,
                 line ? apr_psprintf(birth->pool, ", line %d", line) : "",
                 line ? "" : " (cannot be read)");
    _exit(WSGID_EXIT_CONFIGURATION);
}

/* Read with root's rights and only here: what is in it never enters httpd's own memory. */
static void read_lines(wsgid_birth_t *birth, const char *path, FILE *stream)
{
    char *line = NULL;
    size_t room = 0;
    int number = 0;

    while (getline(&line, &room, stream) >= 0) {
        number++;
        if (!parse_line(birth, line)) {
            refuse_file(birth, path, number, 0);
        }
    }
    if (ferror(stream)) {
        refuse_file(birth, path, 0, errno);
    }
    free(line);
}

void wsgid_environment_read_file(wsgid_birth_t *birth)
{
    const char *path = WSGID_TEXT(birth->group, ENV_FILE);
    FILE *stream;

    birth->from_files = apr_array_make(birth->pool, 4, sizeof(const char *));
    if (!path) {
        return;
    }
    stream = fopen(path, "re");
    if (!stream) {
        refuse_file(birth, path, 0, errno);
    }
    read_lines(birth, path, stream);
    (void)fclose(stream);
}

/* From nothing: httpd's own environment (tokens of its service manager, a sanitizer's LD_PRELOAD)
 * is not the application's, but for the time zone. */
char *const *wsgid_environment_make(const wsgid_birth_t *birth)
{
    apr_pool_t *p = birth->pool;
    apr_array_header_t *environment = apr_array_make(p, 16, sizeof(const char *));
    const char *lang = WSGID_TEXT(birth->group, LANG);

    set_variable(p, environment, "PATH",
                 birth->home ? apr_pstrcat(p, birth->home, "/bin:" SEARCH_PATH, NULL)
                             : SEARCH_PATH);
    set_variable(p, environment, "VIRTUAL_ENV", birth->home);
    set_variable(p, environment, "LANG", lang ? lang : USUAL_LANG);
    /* httpd's own: the lines of both stand in one log */
    set_variable(p, environment, "TZ", getenv("TZ"));
    set_variable(p, environment, "LC_ALL", WSGID_TEXT(birth->group, LOCALE));
    set_variable(p, environment, "HOME", birth->identity->home);
    set_variable(p, environment, "USER", birth->identity->name);
    set_variable(p, environment, "LOGNAME", birth->identity->name);
    set_all(environment, birth->from_files);
    set_all(environment, birth->group->value[WSGID_OPT_ENV].list);
    APR_ARRAY_PUSH(environment, const char *) = NULL;
    return (char *const *)environment->elts;
}
