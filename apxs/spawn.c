/*
 * From a fork of httpd's parent to a daemon: what the interpreter is given, and nothing else (docs/design.md, "What a
 * daemon inherits").
 *
 * The forked process runs these steps, as httpd's image: signals as at birth; descriptors in place and all others
 * closed, so that a process which sleeps through its back-off holds nothing of httpd's; the back-off; the environment;
 * privileges; the interpreter; exec. It logs through descriptor 2, which is the group's ErrorLog by then, and leaves
 * by _exit with a code of handover.h after exactly one line. It never returns into httpd and runs no cleanup of
 * httpd's.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "wsgid.h"

#include <dirent.h>
#include <dlfcn.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "unixd.h"

/* What the build found; the build defines the first. */
#ifndef WSGID_PYTHON
#define WSGID_PYTHON "/usr/bin/python3"
#endif
#ifndef WSGID_PYTHON_FALLBACKS
#define WSGID_PYTHON_FALLBACKS "/usr/bin/python3", "/usr/local/bin/python3"
#endif

#define LIFTED        64        /* descriptors are moved here before they are put in place: above all places */
#define LOOK_INTERVAL 250       /* milliseconds between two looks at the scripts while backing off */
#define MAX_LINKS     40        /* as the kernel: more symbolic links are a loop */
#define SEARCH_PATH  "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
#define USUAL_LANG  "C.UTF-8"

typedef struct {
    const wsgid_spawn_t *spawn;
    const wsgid_group_t *group;
    const wsgid_identity_t *identity;
    int configuration;                  /* memfd */
    apr_pool_t *pool;
    apr_array_header_t *from_files;     /* NAME=VALUE of env-file= */
    const char *python;
    const char *home;                   /* of a virtualenv, else NULL */
} birth_t;

/* ------------------------------------------------------------------ the configuration block (in the parent) */

typedef struct {
    FILE *stream;
} block_t;

static void put(block_t *block, const char *key, const char *value)
{
    (void) fwrite(key, 1, strlen(key) + 1, block->stream);      /* one look at ferror() at the end */
    (void) fwrite(value, 1, strlen(value) + 1, block->stream);
}

static void put_number(block_t *block, const char *key, long number)
{
    char text[24];

    (void) snprintf(text, sizeof(text), "%ld", number);
    put(block, key, text);
}

static void put_option(block_t *block, const wsgid_group_t *group, wsgid_option_e option)
{
    const wsgid_value_t *value = &group->value[option];
    int i;

    if (!wsgid_options_is_for_daemon(option) || !value->text) {
        return;
    }
    if (!value->list) {
        put(block, wsgid_options_name(option), value->text);
        return;
    }
    for (i = 0; i < value->list->nelts; i++) {
        put(block, wsgid_options_name(option), APR_ARRAY_IDX(value->list, i, const char *));
    }
}

/* Whose processes may connect: httpd's children. */
static long uid_of_httpd(const wsgid_group_t *group)
{
    if (geteuid() != 0) {
        return (long) geteuid();
    }
    return WSGID_TEXT(group, SOCKET_USER) ? (long) WSGID_NUMBER(group, SOCKET_USER) : (long) ap_unixd_config.user_id;
}

static void put_internal(block_t *block, const wsgid_spawn_t *spawn)
{
    const wsgid_group_t *group = spawn->group;

    put(block, "group", group->name);
    put_number(block, "slot", spawn->slot);
    if (group->value[WSGID_OPT_PROCESSES].given) {
        put(block, "processes-named", "1");
    }
    put_number(block, "httpd-uid", uid_of_httpd(group));
    put_number(block, "httpd-pid", (long) getpid());
    put_number(block, "log-level", ap_get_server_module_loglevel(group->server, APLOG_MODULE_INDEX));
    put(block, "server-version", ap_get_server_description());
    put(block, "module-version", WSGID_VERSION);
    if (spawn->predecessor >= 0) {
        put(block, "successor", "1");
    }
}

static void put_scripts(block_t *block, apr_pool_t *p, const apr_array_header_t *scripts)
{
    int i;

    for (i = 0; scripts && i < scripts->nelts; i++) {
        const wsgid_script_t *script = &APR_ARRAY_IDX(scripts, i, wsgid_script_t);
        put(block, "script", apr_pstrcat(p, script->callable, ":", script->path, NULL));
    }
}

static apr_status_t write_all(int fd, const char *bytes, apr_size_t length)
{
    while (length > 0) {
        ssize_t written = write(fd, bytes, length);
        if (written < 0 && errno != EINTR) {
            return errno;
        }
        if (written > 0) {
            bytes += written;
            length -= written;
        }
    }
    return APR_SUCCESS;
}

/* Nobody can change it once it is sealed, the daemon neither. */
static apr_status_t seal(int fd, const char *bytes, apr_size_t length)
{
    apr_status_t status = write_all(fd, bytes, length);

    if (status != APR_SUCCESS) {
        return status;
    }
    if (lseek(fd, 0, SEEK_SET) != 0
        || fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE | F_SEAL_GROW | F_SEAL_SHRINK | F_SEAL_SEAL) != 0) {
        return errno;
    }
    return APR_SUCCESS;
}

static apr_status_t compose_block(const wsgid_spawn_t *spawn, apr_pool_t *p, char **bytes, size_t *length)
{
    block_t block = { open_memstream(bytes, length) };
    int option;
    int failed;

    if (!block.stream) {
        return errno;
    }
    for (option = 0; option < WSGID_OPT_COUNT; option++) {
        put_option(&block, spawn->group, option);
    }
    put_internal(&block, spawn);
    put_scripts(&block, p, spawn->group->scripts);
    failed = ferror(block.stream);
    return fclose(block.stream) != 0 || failed ? APR_ENOMEM : APR_SUCCESS;
}

static apr_status_t make_configuration(const wsgid_spawn_t *spawn, apr_pool_t *p, int *fd)
{
    char *bytes = NULL;
    size_t length = 0;
    apr_status_t status = compose_block(spawn, p, &bytes, &length);

    *fd = -1;
    if (status == APR_SUCCESS) {
        *fd = memfd_create("wsgid-configuration", MFD_CLOEXEC | MFD_ALLOW_SEALING);
        status = *fd < 0 ? errno : seal(*fd, bytes, length);
    }
    free(bytes);
    if (status != APR_SUCCESS && *fd >= 0) {
        (void) close(*fd);
        *fd = -1;
    }
    return status;
}

/* ------------------------------------------------------------------ signals */

/* Handlers of httpd's and of other modules must not run here, and what is ignored would stay ignored after exec. */
static void reset_signals(void)
{
    struct sigaction action;
    sigset_t none;
    int number;

    memset(&action, 0, sizeof(action));
    action.sa_handler = SIG_DFL;
    for (number = 1; number < NSIG; number++) {
        (void) sigaction(number, &action, NULL);        /* fails for SIGKILL, SIGSTOP and the C library's own */
    }
    (void) sigemptyset(&none);
    (void) sigprocmask(SIG_SETMASK, &none, NULL);
}

/* ------------------------------------------------------------------ descriptors */

/* The ErrorLog of the group's server; httpd's own stderr where there is no file behind it (syslog). */
static int log_descriptor(const wsgid_group_t *group)
{
    apr_os_file_t fd;

    if (group->server->error_log && apr_os_file_get(&fd, group->server->error_log) == APR_SUCCESS && fd >= 0) {
        return fd;
    }
    return STDERR_FILENO;
}

/* Where close_range is missing (Linux before 5.9) or forbidden. */
static void close_one_by_one(int first)
{
    DIR *stream = opendir("/proc/self/fd");
    struct dirent *entry;
    long last = sysconf(_SC_OPEN_MAX);
    int fd;

    if (!stream) {
        for (fd = first; fd < last; fd++) {
            (void) close(fd);
        }
        return;
    }
    while ((entry = readdir(stream))) {
        fd = atoi(entry->d_name);
        if (fd >= first && fd != dirfd(stream)) {
            (void) close(fd);
        }
    }
    (void) closedir(stream);
}

static void close_from(int first)
{
#ifdef SYS_close_range
    if (syscall(SYS_close_range, first, ~0U, 0) == 0) {
        return;
    }
#endif
    close_one_by_one(first);
}

/* Puts each source in its place. They may lie in one another's places, so all are lifted out of the way first. */
static int arrange(int source[WSGID_FD_END])
{
    int place;

    for (place = 0; place < WSGID_FD_END; place++) {
        if (source[place] >= 0 && (source[place] = fcntl(source[place], F_DUPFD_CLOEXEC, LIFTED)) < 0) {
            return -1;
        }
    }
    for (place = 0; place < WSGID_FD_END; place++) {
        if (source[place] < 0) {
            (void) close(place);
        }
        else if (dup2(source[place], place) < 0) {
            return -1;
        }
    }
    return 0;
}

/* From here on the log is descriptor 2, whatever number it had. */
static void log_to_stderr(birth_t *birth)
{
    server_rec *server = birth->group->server;
    apr_file_t *file;
    apr_os_file_t fd = STDERR_FILENO;

    if (server->error_log
        && apr_os_file_put(&file, &fd, APR_FOPEN_WRITE | APR_FOPEN_APPEND, birth->pool) == APR_SUCCESS) {
        server->error_log = file;
    }
}

static void place_descriptors(birth_t *birth)
{
    const wsgid_spawn_t *spawn = birth->spawn;
    int null = open("/dev/null", O_RDWR | O_CLOEXEC);
    int log = log_descriptor(birth->group);
    int source[WSGID_FD_END] = {
        null, log, log,
        [WSGID_FD_LISTENER] = spawn->listener, [WSGID_FD_CONFIGURATION] = birth->configuration,
        [WSGID_FD_LEASH] = spawn->leash, [WSGID_FD_STATISTICS] = spawn->page,
        [WSGID_FD_PREDECESSOR] = spawn->predecessor
    };

    if (null < 0 || arrange(source) != 0) {
        ap_log_error(APLOG_MARK, APLOG_ERR, errno, birth->group->server, "WSGID0080: group '%s': the descriptors of a "
                     "daemon cannot be put in place: look at the limit of open files (ulimit -n) of httpd",
                     birth->group->label);
        _exit(WSGID_EXIT_CONFIGURATION);
    }
    close_from(WSGID_FD_END);
    log_to_stderr(birth);
}

/* ------------------------------------------------------------------ back-off */

/* What tells one state of a script from another: it is replaced (inode) or written to (mtime), and may be missing. */
typedef struct {
    ino_t inode;
    struct timespec modified;
} stamp_t;

static stamp_t stamp_of(const char *path)
{
    stamp_t stamp = { 0, { 0, 0 } };
    struct stat there;

    if (stat(path, &there) == 0) {
        stamp.inode = there.st_ino;
        stamp.modified = there.st_mtim;
    }
    return stamp;
}

static stamp_t *stamps_of(apr_pool_t *p, const apr_array_header_t *scripts)
{
    stamp_t *stamps = apr_pcalloc(p, (scripts->nelts + 1) * sizeof(*stamps));
    int i;

    for (i = 0; i < scripts->nelts; i++) {
        stamps[i] = stamp_of(APR_ARRAY_IDX(scripts, i, wsgid_script_t).path);
    }
    return stamps;
}

static int scripts_changed(const apr_array_header_t *scripts, const stamp_t *stamps)
{
    int i;

    for (i = 0; i < scripts->nelts; i++) {
        stamp_t now = stamp_of(APR_ARRAY_IDX(scripts, i, wsgid_script_t).path);
        if (now.inode != stamps[i].inode || now.modified.tv_sec != stamps[i].modified.tv_sec
            || now.modified.tv_nsec != stamps[i].modified.tv_nsec) {
            return 1;
        }
    }
    return 0;
}

static void leave_if_pulled(int timeout)
{
    struct pollfd leash = { WSGID_FD_LEASH, POLLIN, 0 };

    if (poll(&leash, 1, timeout) > 0) {
        _exit(0);
    }
}

/* Sleeps the delay away, here because the parent has no timers. A mended script need not wait for the end of it. */
static void back_off(const birth_t *birth)
{
    apr_time_t end = apr_time_now() + birth->spawn->delay;
    const apr_array_header_t *scripts = birth->group->scripts;
    stamp_t *stamps;

    if (birth->spawn->delay <= 0) {
        return;
    }
    if (!scripts) {
        scripts = apr_array_make(birth->pool, 1, sizeof(wsgid_script_t));
    }
    stamps = stamps_of(birth->pool, scripts);
    for (;;) {
        apr_interval_time_t left = apr_time_as_msec(end - apr_time_now() + 999);
        if (left <= 0 || scripts_changed(scripts, stamps)) {
            break;
        }
        leave_if_pulled(left < LOOK_INTERVAL ? (int) left : LOOK_INTERVAL);
    }
    wsgid_slots_set_phase(birth->group->slots[birth->spawn->slot], WSGID_SLOT_BOOTING, apr_time_now());
}

/* ------------------------------------------------------------------ environment */

/* Replaces a variable of the same name: who comes later wins. */
static void set_assignment(apr_array_header_t *environment, const char *assignment)
{
    const char *equals = strchr(assignment, '=');
    apr_size_t length = equals ? (apr_size_t) (equals - assignment) + 1 : 0;
    int i;

    if (length < 2) {
        return;                         /* options.c and parse_line() let no such thing pass */
    }
    for (i = 0; i < environment->nelts; i++) {
        if (!strncmp(APR_ARRAY_IDX(environment, i, const char *), assignment, length)) {
            APR_ARRAY_IDX(environment, i, const char *) = assignment;
            return;
        }
    }
    APR_ARRAY_PUSH(environment, const char *) = assignment;
}

static void set_variable(apr_pool_t *p, apr_array_header_t *environment, const char *name, const char *value)
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
static int parse_line(birth_t *birth, char *text)
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
    APR_ARRAY_PUSH(birth->from_files, const char *) =
        apr_pstrcat(birth->pool, apr_pstrmemdup(birth->pool, line, equals + 1 - line),
                    unquote(birth->pool, equals + 1), NULL);
    return 1;
}

static void refuse_file(const birth_t *birth, const char *path, int line, int error) __attribute__((noreturn));

static void refuse_file(const birth_t *birth, const char *path, int line, int error)
{
    ap_log_error(APLOG_MARK, APLOG_ERR, error, birth->group->server, "WSGID0081: group '%s': env-file=%s cannot be "
                 "used%s%s: it must be a readable file of NAME=VALUE lines", birth->group->label, path,
                 line ? apr_psprintf(birth->pool, ", line %d", line) : "", line ? "" : " (cannot be read)");
    _exit(WSGID_EXIT_CONFIGURATION);
}

/* Read with root's rights and only here: what is in it never enters httpd's own memory. */
static void read_file(birth_t *birth)
{
    const char *path = WSGID_TEXT(birth->group, ENV_FILE);
    FILE *stream = path ? fopen(path, "re") : NULL;
    char *line = NULL;
    size_t room = 0;
    int number = 0;

    if (!path) {
        return;
    }
    if (!stream) {
        refuse_file(birth, path, 0, errno);
    }
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
    (void) fclose(stream);
}

/* From nothing: httpd's own environment (tokens of its service manager, a sanitizer's LD_PRELOAD) is not the
 * application's. */
static char *const *make_environment(const birth_t *birth)
{
    apr_pool_t *p = birth->pool;
    apr_array_header_t *environment = apr_array_make(p, 16, sizeof(const char *));
    const char *lang = WSGID_TEXT(birth->group, LANG);

    set_variable(p, environment, "PATH",
                 birth->home ? apr_pstrcat(p, birth->home, "/bin:" SEARCH_PATH, NULL) : SEARCH_PATH);
    set_variable(p, environment, "VIRTUAL_ENV", birth->home);
    set_variable(p, environment, "LANG", lang ? lang : USUAL_LANG);
    set_variable(p, environment, "LC_ALL", WSGID_TEXT(birth->group, LOCALE));
    set_variable(p, environment, "HOME", birth->identity->home);
    set_variable(p, environment, "USER", birth->identity->name);
    set_variable(p, environment, "LOGNAME", birth->identity->name);
    set_all(environment, birth->from_files);
    set_all(environment, birth->group->value[WSGID_OPT_ENV].list);
    APR_ARRAY_PUSH(environment, const char *) = NULL;
    return (char *const *) environment->elts;
}

/* ------------------------------------------------------------------ can this user reach it? */

/* A walk along a path as the kernel does it. */
typedef struct {
    apr_pool_t *pool;
    const char *reached;                /* all of this can be passed */
    const char *rest;                   /* still to go */
    int links;
} walk_t;

static int follow(walk_t *walk, const char *here)
{
    char target[PATH_MAX];
    ssize_t length = readlink(here, target, sizeof(target) - 1);

    if (length < 0 || ++walk->links > MAX_LINKS) {
        errno = length < 0 ? errno : ELOOP;
        return -1;
    }
    target[length] = '\0';
    walk->rest = apr_pstrcat(walk->pool, target, "/", walk->rest, NULL);
    if (*target == '/') {
        walk->reached = "/";
    }
    return 0;
}

/* The next component. NULL, or what stands in the way, with errno. */
static const char *advance(walk_t *walk)
{
    apr_size_t length = strcspn(walk->rest, "/");
    const char *name = apr_pstrmemdup(walk->pool, walk->rest, length);
    const char *here = apr_pstrcat(walk->pool, walk->reached, walk->reached[1] ? "/" : "", name, NULL);
    struct stat there;

    walk->rest += length;
    walk->rest += strspn(walk->rest, "/");
    if (lstat(here, &there) != 0) {
        return errno == EACCES ? walk->reached : here;
    }
    if (S_ISLNK(there.st_mode)) {
        return follow(walk, here) == 0 ? NULL : here;
    }
    walk->reached = here;
    return NULL;
}

/* NULL if this process may use an absolute path so (X_OK, R_OK); else the first part of it, links followed, that it
 * cannot pass, and why in errno. */
static const char *obstacle(apr_pool_t *p, const char *path, int mode)
{
    walk_t walk = { p, "/", path + strspn(path, "/"), 0 };
    struct stat there;

    while (*walk.rest) {
        const char *found = advance(&walk);
        if (found) {
            return found;
        }
    }
    if (access(walk.reached, mode) != 0) {
        return walk.reached;
    }
    if (stat(walk.reached, &there) == 0 && S_ISDIR(there.st_mode)) {
        errno = EISDIR;
        return walk.reached;
    }
    return NULL;
}

/* ------------------------------------------------------------------ the interpreter */

static const char *name_of_user(const birth_t *birth)
{
    return birth->identity->name ? birth->identity->name
                                 : apr_psprintf(birth->pool, "#%ld", (long) birth->identity->uid);
}

static void refuse_python(const birth_t *birth, const char *path, const char *found, int error)
    __attribute__((noreturn));

static void refuse_python(const birth_t *birth, const char *path, const char *found, int error)
{
    ap_log_error(APLOG_MARK, APLOG_ERR, error, birth->group->server, "WSGID0082: group '%s': user %s cannot execute "
                 "the interpreter %s: the way ends at %s: let this user pass, or name another interpreter with python= "
                 "or python-home=",
                 birth->group->label, name_of_user(birth), path, found);
    _exit(WSGID_EXIT_EXEC);
}

/* The directory of a virtualenv whose interpreter this is, or NULL. */
static const char *home_of(apr_pool_t *p, const char *python)
{
    const char *bin = ap_make_dirstr_parent(p, python);         /* HOME/bin/ */
    const char *home = apr_pstrmemdup(p, bin, strlen(bin) - 1);

    home = ap_make_dirstr_parent(p, home);                      /* HOME/ */
    if (access(apr_pstrcat(p, home, "pyvenv.cfg", NULL), F_OK) != 0) {
        return NULL;
    }
    return home[1] ? apr_pstrmemdup(p, home, strlen(home) - 1) : home;
}

/* One that the administrator named: it works or it is an error. */
static void take_configured(birth_t *birth, const char *path)
{
    const char *found = obstacle(birth->pool, path, X_OK);

    if (found) {
        refuse_python(birth, path, found, errno);
    }
    birth->python = path;
}

/* bin/python, or bin/python3 where only that exists. */
static void take_home(birth_t *birth, const char *home)
{
    const char *python = apr_pstrcat(birth->pool, home, "/bin/python", NULL);
    const char *python3 = apr_pstrcat(birth->pool, python, "3", NULL);

    if (obstacle(birth->pool, python, X_OK) && !obstacle(birth->pool, python3, X_OK)) {
        python = python3;
    }
    take_configured(birth, python);
}

/* The one that the module was built with may be one user's own: take what this user can run, and say so. */
static void take_default(birth_t *birth)
{
    static const char *const fallbacks[] = { WSGID_PYTHON_FALLBACKS };
    const char *found = obstacle(birth->pool, WSGID_PYTHON, X_OK);
    int error = errno;
    apr_size_t i;

    birth->python = WSGID_PYTHON;
    for (i = 0; found && i < sizeof(fallbacks) / sizeof(*fallbacks); i++) {
        if (strcmp(fallbacks[i], WSGID_PYTHON) && !obstacle(birth->pool, fallbacks[i], X_OK)) {
            birth->python = fallbacks[i];
            ap_log_error(APLOG_MARK, APLOG_NOTICE, error, birth->group->server, "WSGID0083: group '%s': user %s cannot "
                         "execute %s, which the module was built with (the way ends at %s): %s is used instead; "
                         "python= or python-home= names another",
                         birth->group->label, name_of_user(birth), WSGID_PYTHON, found, birth->python);
            return;
        }
    }
    if (found) {
        refuse_python(birth, WSGID_PYTHON, found, error);
    }
}

static void choose_python(birth_t *birth)
{
    const wsgid_value_t *value = birth->group->value;

    if (value[WSGID_OPT_PYTHON].given) {
        take_configured(birth, value[WSGID_OPT_PYTHON].text);
    }
    else if (value[WSGID_OPT_PYTHON_HOME].text) {
        take_home(birth, value[WSGID_OPT_PYTHON_HOME].text);
    }
    else {
        take_default(birth);
    }
    birth->home = home_of(birth->pool, birth->python);
}

/* boot.py stands beside the module: in pywsgid/ (the usual places), or in the same directory (the module inside the
 * package). */
static const char *find_boot(const birth_t *birth)
{
    apr_pool_t *p = birth->pool;
    const char *directory;
    const char *boot;
    const char *found;
    Dl_info info;
    int error;

    if (!dladdr((const void *) &wsgid_module, &info) || !info.dli_fname) {
        info.dli_fname = "/";           /* cannot be: we are in that module */
    }
    directory = ap_make_dirstr_parent(p, info.dli_fname);
    boot = apr_pstrcat(p, directory, "pywsgid/boot.py", NULL);
    found = obstacle(p, boot, R_OK);
    error = errno;
    if (!found) {
        return boot;
    }
    if (!obstacle(p, apr_pstrcat(p, directory, "boot.py", NULL), R_OK)) {
        return apr_pstrcat(p, directory, "boot.py", NULL);
    }
    ap_log_error(APLOG_MARK, APLOG_ERR, error, birth->group->server, "WSGID0084: group '%s': user %s cannot read %s: "
                 "the way ends at %s: pywsgid must lie beside the module, where every daemon's user may read it",
                 birth->group->label, name_of_user(birth), boot, found);
    _exit(WSGID_EXIT_EXEC);
}

/* The path is argv[0] too: by it Python finds its virtualenv. How the process is shown in ps is the daemon's own
 * affair. */
static void execute(const birth_t *birth)
{
    const char *boot = find_boot(birth);
    char *argv[] = { apr_pstrdup(birth->pool, birth->python), apr_pstrdup(birth->pool, boot), NULL };

    (void) execve(birth->python, argv, make_environment(birth));
    ap_log_error(APLOG_MARK, APLOG_ERR, errno, birth->group->server, "WSGID0085: group '%s': the interpreter %s cannot "
                 "be executed: name one that works with python= or python-home=", birth->group->label, birth->python);
    _exit(WSGID_EXIT_EXEC);
}

/* ------------------------------------------------------------------ the fork */

static void become(birth_t *birth) __attribute__((noreturn));

static void become(birth_t *birth)
{
    birth->from_files = apr_array_make(birth->pool, 4, sizeof(const char *));
    reset_signals();
    place_descriptors(birth);
    back_off(birth);
    read_file(birth);
    if (wsgid_privileges_drop(birth->group, birth->identity) != 0) {
        _exit(WSGID_EXIT_PRIVILEGES);
    }
    choose_python(birth);
    execute(birth);
    _exit(WSGID_EXIT_EXEC);
}

/* No signal may reach httpd's handlers inside the forked process: they are blocked until its own dispositions are in
 * force. */
static pid_t fork_blocked(birth_t *birth)
{
    sigset_t all;
    sigset_t before;
    pid_t pid;
    int error;

    (void) sigfillset(&all);
    (void) sigprocmask(SIG_SETMASK, &all, &before);
    pid = fork();
    if (pid == 0) {
        become(birth);
    }
    error = errno;
    (void) sigprocmask(SIG_SETMASK, &before, NULL);
    errno = error;
    return pid;
}

apr_status_t wsgid_spawn(pid_t *pid, const wsgid_spawn_t *spawn, apr_pool_t *ptemp)
{
    birth_t birth = { .spawn = spawn, .group = spawn->group, .pool = ptemp };
    apr_status_t status;

    *pid = -1;
    birth.identity = wsgid_privileges_look_up(ptemp, spawn->group);
    if (!birth.identity) {
        return APR_EGENERAL;
    }
    status = make_configuration(spawn, ptemp, &birth.configuration);
    if (status != APR_SUCCESS) {
        return status;
    }
    *pid = fork_blocked(&birth);
    status = *pid < 0 ? errno : APR_SUCCESS;
    (void) close(birth.configuration);
    return status;
}
