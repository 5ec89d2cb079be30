/*
 * Which interpreter a daemon runs, and where its boot.py is.
 *
 * Runs in the forked process as the group's user, because it matters what that user can reach. If
 * there is nothing to run, one line says which part of the path is the obstacle and how to fix it,
 * and the process exits.
 */
#include "spawn/spawn.h"

#include <dlfcn.h>
#include <limits.h>
#include <sys/stat.h>
#include <unistd.h>

/* The build defines these. */
#ifndef WSGID_PYTHON
#define WSGID_PYTHON "/usr/bin/python3"
#endif
#ifndef WSGID_PYTHON_FALLBACKS
#define WSGID_PYTHON_FALLBACKS "/usr/bin/python3", "/usr/local/bin/python3"
#endif

/* `pywsgid check` finds this text in the module's file, without running httpd. */
static const char built_with[] __attribute__((used)) = "WSGID_PYTHON=" WSGID_PYTHON;

#define MAX_LINKS 40 /* as in the kernel: more symbolic links are a loop */

/* ---- what this user can reach */

/* A walk along a path, as the kernel does it. */
typedef struct {
    apr_pool_t *pool;
    const char *reached; /* this user can enter all of it */
    const char *rest;    /* not walked yet */
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

/* Walks along the next component. NULL, or the obstacle, with errno. */
static const char *advance(walk_t *walk)
{
    apr_size_t length = strcspn(walk->rest, "/");
    const char *name = apr_pstrmemdup(walk->pool, walk->rest, length);
    const char *here = apr_pstrcat(walk->pool, walk->reached, walk->reached[1] ? "/" : "", name,
                                   NULL);
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

/* NULL if this process has access (mode: X_OK or R_OK) to an absolute path. Otherwise the first
 * part of the path, with links followed, that is missing or denies access, and the reason in errno.
 */
static const char *find_obstacle(apr_pool_t *p, const char *path, int mode)
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

/* ---- python= and python-home= */

static const char *name_of_user(const wsgid_child_t *child)
{
    return child->group->identity->name
               ? child->group->identity->name
               : apr_psprintf(child->pool, "#%ld", (long)child->group->identity->uid);
}

/* A path, as an administrator sees it from outside of a chroot. */
static const char *seen_from_outside(const wsgid_child_t *child, const char *path)
{
    const char *root = WSGID_TEXT(child->group, CHROOT);

    return root ? apr_pstrcat(child->pool, root, path, NULL) : path;
}

/* What is wrong with an obstacle, and its fix. Each error has its own: changing permissions does
 * not help if something is missing. use: "execute" or "read". */
static const char *describe_obstacle(const wsgid_child_t *child, const char *found, const char *use,
                                     int error)
{
    apr_pool_t *p = child->pool;
    const char *root = WSGID_TEXT(child->group, CHROOT);
    const char *path = seen_from_outside(child, found);
    struct stat there;

    if (error == ENOENT) {
        return root ? apr_psprintf(p,
                                   "%s does not exist: chroot=%s must contain the interpreter, "
                                   "pywsgid, and all files that they need",
                                   path, root)
                    : apr_psprintf(p, "%s does not exist: create it, or correct the path", path);
    }
    if (error == EISDIR) {
        return apr_psprintf(p, "%s is a directory, not a file: correct the path", path);
    }
    if (error != EACCES) {
        return apr_psprintf(p, "%s cannot be used: correct it", path);
    }
    return stat(found, &there) == 0 && S_ISDIR(there.st_mode)
               ? apr_psprintf(p, "this user may not enter %s: allow it (chmod o+x)", path)
               : apr_psprintf(p, "this user may not %s %s: allow it (chmod o+rx)", use, path);
}

static void refuse_python(const wsgid_child_t *child, const char *path, const char *found,
                          int error) __attribute__((noreturn));

static void refuse_python(const wsgid_child_t *child, const char *path, const char *found,
                          int error)
{
    ap_log_error(APLOG_MARK, APLOG_ERR, error, child->group->server,
                 "WSGID0082: group '%s': user %s cannot execute the interpreter %s: %s, or name "
                 "another interpreter with python= or python-home=",
                 child->group->label, name_of_user(child), path,
                 describe_obstacle(child, found, "execute", error));
    _exit(WSGID_EXIT_EXEC);
}

/* The virtualenv that this interpreter belongs to, or NULL. */
static const char *home_of(apr_pool_t *p, const char *python)
{
    const char *bin = ap_make_dirstr_parent(p, python); /* HOME/bin/ */
    const char *home = apr_pstrmemdup(p, bin, strlen(bin) - 1);

    home = ap_make_dirstr_parent(p, home); /* HOME/ */
    if (access(apr_pstrcat(p, home, "pyvenv.cfg", NULL), F_OK) != 0) {
        return NULL;
    }
    return home[1] ? apr_pstrmemdup(p, home, strlen(home) - 1) : home;
}

/* An interpreter that the configuration names: if it cannot be executed, that is an error. */
static void take_configured(wsgid_child_t *child, const char *path)
{
    const char *found = find_obstacle(child->pool, path, X_OK);

    if (found) {
        refuse_python(child, path, found, errno);
    }
    child->python = path;
}

/* bin/python, or bin/python3 where only that exists. */
static void take_home(wsgid_child_t *child, const char *home)
{
    const char *python = apr_pstrcat(child->pool, home, "/bin/python", NULL);
    const char *python3 = apr_pstrcat(child->pool, python, "3", NULL);

    if (find_obstacle(child->pool, python, X_OK) && !find_obstacle(child->pool, python3, X_OK)) {
        python = python3;
    }
    take_configured(child, python);
}

/* The interpreter that the module was built with may belong to one user. If the group's user cannot
 * execute it, take another one, and log that. */
static void take_default(wsgid_child_t *child)
{
    static const char *const fallbacks[] = { WSGID_PYTHON_FALLBACKS };
    const char *found = find_obstacle(child->pool, WSGID_PYTHON, X_OK);
    int error = errno;
    apr_size_t i;

    child->python = WSGID_PYTHON;
    for (i = 0; found && i < sizeof(fallbacks) / sizeof(*fallbacks); i++) {
        if (strcmp(fallbacks[i], WSGID_PYTHON) && !find_obstacle(child->pool, fallbacks[i], X_OK)) {
            child->python = fallbacks[i];
            ap_log_error(APLOG_MARK, APLOG_NOTICE, error, child->group->server,
                         "WSGID0083: group '%s': uses the interpreter %s, because user %s cannot "
                         "execute %s, which mod_wsgid was built with (%s); set python= or "
                         "python-home= to choose one yourself",
                         child->group->label, child->python, name_of_user(child), WSGID_PYTHON,
                         describe_obstacle(child, found, "execute", error));
            return;
        }
    }
    if (found) {
        refuse_python(child, WSGID_PYTHON, found, error);
    }
}

void wsgid_interpreter_choose(wsgid_child_t *child)
{
    const wsgid_value_t *value = child->group->value;

    if (value[WSGID_OPT_PYTHON].given) {
        take_configured(child, value[WSGID_OPT_PYTHON].text);
    }
    else if (value[WSGID_OPT_PYTHON_HOME].text) {
        take_home(child, value[WSGID_OPT_PYTHON_HOME].text);
    }
    else {
        take_default(child);
    }
    child->home = home_of(child->pool, child->python);
}

/* ---- boot.py */

/* boot.py is in the package pywsgid. The package is beside the module, or, after pip install, the
 * module is inside the package. */
const char *wsgid_interpreter_boot(const wsgid_child_t *child)
{
    apr_pool_t *p = child->pool;
    const char *directory;
    const char *boot;
    const char *found;
    Dl_info info;
    int error;

    if (!dladdr((const void *)&wsgid_module, &info) || !info.dli_fname) {
        info.dli_fname = "/"; /* cannot happen: this code is in that module */
    }
    directory = ap_make_dirstr_parent(p, info.dli_fname);
    boot = apr_pstrcat(p, directory, "pywsgid/daemon/boot.py", NULL);
    found = find_obstacle(p, boot, R_OK);
    error = errno;
    if (!found) {
        return boot;
    }
    if (!find_obstacle(p, apr_pstrcat(p, directory, "daemon/boot.py", NULL), R_OK)) {
        return apr_pstrcat(p, directory, "daemon/boot.py", NULL);
    }
    ap_log_error(APLOG_MARK, APLOG_ERR, error, child->group->server,
                 "WSGID0084: group '%s': user %s cannot read %s: %s; the package pywsgid must be "
                 "beside mod_wsgid.so (make install puts it there), and the users of all groups "
                 "must be able to read it",
                 child->group->label, name_of_user(child), boot,
                 describe_obstacle(child, found, "read", error));
    _exit(WSGID_EXIT_EXEC);
}
