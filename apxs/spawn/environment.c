/*
 * The environment variables of a daemon: a few of our own, then those of env-file=, then env=. A
 * later value replaces an earlier one.
 *
 * Runs in the forked process. The file is read with root's rights, so no other user may choose what
 * is opened; the variables are put together once the interpreter is known.
 */
#include "spawn/spawn.h"

#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#define SEARCH_PATH "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
#define USUAL_LANG  "C.UTF-8"

/* Adds a variable, or replaces the one of that name. */
static void set_assignment(apr_array_header_t *environment, const char *assignment)
{
    const char *equals = strchr(assignment, '=');
    apr_size_t length = equals ? (apr_size_t)(equals - assignment) + 1 : 0;
    int i;

    if (length < 2) {
        return; /* cannot happen: option_types.c and parse_line() refuse it */
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
static int parse_line(wsgid_child_t *child, char *text)
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
    APR_ARRAY_PUSH(child->from_file, const char *) = apr_pstrcat(
        child->pool, apr_pstrmemdup(child->pool, line, equals + 1 - line),
        unquote(child->pool, equals + 1), NULL);
    return 1;
}

static void refuse_file(const wsgid_child_t *child, const char *why, int error)
    __attribute__((noreturn));

static void refuse_file(const wsgid_child_t *child, const char *why, int error)
{
    ap_log_error(APLOG_MARK, APLOG_ERR, error, child->group->server,
                 "WSGID0081: group '%s': cannot use env-file=%s: %s", child->group->label,
                 WSGID_TEXT(child->group, ENV_FILE), why);
    _exit(WSGID_EXIT_CONFIGURATION);
}

#define UNREADABLE "name a file that the user who starts httpd can read"
#define FOREIGN                                                                                   \
    "a symbolic link on the way does not belong to root, so its owner could have any file read: " \
    "name the file itself, or give the link to root (chown -h root)"
#define NOT_A_FILE "it is not a regular file: name one"
#define MAX_LINKS  40 /* as in the kernel: more symbolic links are a loop */

/* The target of a link and the rest of the path behind it; NULL with errno. */
static const char *follow(apr_pool_t *p, int link, const struct stat *there, const char *rest)
{
    char target[PATH_MAX];
    ssize_t length;

    if (there->st_uid != 0 && there->st_uid != geteuid()) {
        errno = EPERM;
        return NULL;
    }
    length = readlinkat(link, "", target, sizeof(target));
    return length < 0 ? NULL : apr_pstrcat(p, apr_pstrmemdup(p, target, length), "/", rest, NULL);
}

/* Walks along an absolute path, and follows only links that root, or who started httpd, has made. A
 * descriptor for fstat, with its answer; -1 with errno, which is EPERM for the link of another. */
static int walk(apr_pool_t *p, const char *path, struct stat *there)
{
    int at = open("/", O_PATH | O_CLOEXEC);
    int links = 0;

    while (at >= 0 && *(path += strspn(path, "/"))) {
        apr_size_t length = strcspn(path, "/");
        int next = openat(at, apr_pstrmemdup(p, path, length), O_PATH | O_NOFOLLOW | O_CLOEXEC);
        int is_link = next >= 0 && fstat(next, there) == 0 && S_ISLNK(there->st_mode);

        path += length;
        if (is_link) {
            errno = ELOOP;
            path = links++ < MAX_LINKS ? follow(p, next, there, path) : NULL;
            if (!path) {
                return -1;
            }
            next = *path == '/' ? open("/", O_PATH | O_CLOEXEC) : fcntl(at, F_DUPFD_CLOEXEC, 0);
        }
        (void)close(at);
        at = next;
    }
    return at >= 0 && fstat(at, there) == 0 ? at : -1;
}

/* What else is not a regular file is never opened: a FIFO would wait for its writer. */
static FILE *open_file(wsgid_child_t *child, const char *path)
{
    char name[32];
    struct stat there;
    int fd = walk(child->pool, path, &there);
    FILE *stream;

    if (fd < 0) {
        refuse_file(child, errno == EPERM ? FOREIGN : UNREADABLE, errno);
    }
    if (!S_ISREG(there.st_mode)) {
        refuse_file(child, NOT_A_FILE, 0);
    }
    apr_snprintf(name, sizeof(name), "/proc/self/fd/%d", fd);
    stream = fopen(name, "re");
    if (!stream) {
        refuse_file(child, UNREADABLE, errno);
    }
    return stream;
}

/* Only the forked process reads the file, so that secrets in it never enter httpd's own memory. */
static void read_lines(wsgid_child_t *child, FILE *stream)
{
    char *line = NULL;
    size_t room = 0;
    int number = 0;

    while (getline(&line, &room, stream) >= 0) {
        number++;
        if (!parse_line(child, line)) {
            refuse_file(child,
                        apr_psprintf(child->pool,
                                     "line %d is neither NAME=VALUE nor blank nor a comment (#)",
                                     number),
                        0);
        }
    }
    if (ferror(stream)) {
        refuse_file(child, UNREADABLE, errno);
    }
    free(line);
}

void wsgid_environment_read_file(wsgid_child_t *child)
{
    const char *path = WSGID_TEXT(child->group, ENV_FILE);
    FILE *stream;

    child->from_file = apr_array_make(child->pool, 4, sizeof(const char *));
    if (!path) {
        return;
    }
    stream = open_file(child, path);
    read_lines(child, stream);
    (void)fclose(stream);
}

/* Nothing of httpd's environment is passed on (tokens of its service manager, a sanitizer's
 * LD_PRELOAD), except the time zone. */
char *const *wsgid_environment_make(const wsgid_child_t *child)
{
    apr_pool_t *p = child->pool;
    apr_array_header_t *environment = apr_array_make(p, 16, sizeof(const char *));
    const char *lang = WSGID_TEXT(child->group, LANG);

    set_variable(p, environment, "PATH",
                 child->home ? apr_pstrcat(p, child->home, "/bin:" SEARCH_PATH, NULL)
                             : SEARCH_PATH);
    set_variable(p, environment, "VIRTUAL_ENV", child->home);
    set_variable(p, environment, "LANG", lang ? lang : USUAL_LANG);
    /* as in httpd, because both write to the same log */
    set_variable(p, environment, "TZ", getenv("TZ"));
    set_variable(p, environment, "LC_ALL", WSGID_TEXT(child->group, LOCALE));
    set_variable(p, environment, "HOME", child->group->identity->home);
    set_variable(p, environment, "USER", child->group->identity->name);
    set_variable(p, environment, "LOGNAME", child->group->identity->name);
    set_variable(p, environment, "PYTHON_EGG_CACHE", WSGID_TEXT(child->group, PYTHON_EGGS));
    set_all(environment, child->from_file);
    set_all(environment, child->group->value[WSGID_OPT_ENV].list);
    APR_ARRAY_PUSH(environment, const char *) = NULL;
    return (char *const *)environment->elts;
}
