/*
 * Which interpreter a daemon runs, and where its boot.py is.
 *
 * Runs in the forked process when it is already the group's user, since the question is what that
 * user may reach. If there is nothing to run, one line says which part of the path stands in the
 * way, and the process ends.
 */
#include "spawn/spawn.h"

#include <dlfcn.h>
#include <limits.h>
#include <sys/stat.h>
#include <unistd.h>

/* What the build found; the build defines the first. */
#ifndef WSGID_PYTHON
#define WSGID_PYTHON "/usr/bin/python3"
#endif
#ifndef WSGID_PYTHON_FALLBACKS
#define WSGID_PYTHON_FALLBACKS "/usr/bin/python3", "/usr/local/bin/python3"
#endif

/* `pywsgid check` has to know it without running httpd: it looks for this text in the file of the
 * module. */
static const char built_with[] __attribute__((used)) = "WSGID_PYTHON=" WSGID_PYTHON;

#define MAX_LINKS 40 /* as the kernel: more symbolic links are a loop */

/* ---- can this user reach it? */

/* A walk along a path as the kernel does it. */
typedef struct {
    apr_pool_t *pool;
    const char *reached; /* all of this can be passed */
    const char *rest;    /* still to go */
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

/* NULL if this process may use an absolute path so (X_OK, R_OK); else the first part of it, links
 * followed, that it cannot pass, and why in errno. */
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

/* ---- python= and python-home= */

static const char *name_of_user(const wsgid_birth_t *birth)
{
    return birth->identity->name ? birth->identity->name
                                 : apr_psprintf(birth->pool, "#%ld", (long)birth->identity->uid);
}

/* Where a way ends, as an administrator sees it. */
static const char *seen_from_outside(const wsgid_birth_t *birth, const char *found)
{
    const char *root = WSGID_TEXT(birth->group, CHROOT);

    return root ? apr_psprintf(birth->pool,
                               "%s within chroot=%s, which has to hold all that follows", found,
                               root)
                : found;
}

static void refuse_python(const wsgid_birth_t *birth, const char *path, const char *found,
                          int error) __attribute__((noreturn));

static void refuse_python(const wsgid_birth_t *birth, const char *path, const char *found,
                          int error)
{
    ap_log_error(
        APLOG_MARK, APLOG_ERR, error, birth->group->server,
        "WSGID0082: group '%s': user %s cannot execute "
        "the interpreter %s: the way ends at %s: let this user pass, or name another interpreter with python= "
        "or python-home=",
        birth->group->label, name_of_user(birth), path, seen_from_outside(birth, found));
    _exit(WSGID_EXIT_EXEC);
}

/* The directory of a virtualenv whose interpreter this is, or NULL. */
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

/* One that the administrator named: it works or it is an error. */
static void take_configured(wsgid_birth_t *birth, const char *path)
{
    const char *found = obstacle(birth->pool, path, X_OK);

    if (found) {
        refuse_python(birth, path, found, errno);
    }
    birth->python = path;
}

/* bin/python, or bin/python3 where only that exists. */
static void take_home(wsgid_birth_t *birth, const char *home)
{
    const char *python = apr_pstrcat(birth->pool, home, "/bin/python", NULL);
    const char *python3 = apr_pstrcat(birth->pool, python, "3", NULL);

    if (obstacle(birth->pool, python, X_OK) && !obstacle(birth->pool, python3, X_OK)) {
        python = python3;
    }
    take_configured(birth, python);
}

/* The one that the module was built with may be one user's own: take what this user can run, and
 * say so. */
static void take_default(wsgid_birth_t *birth)
{
    static const char *const fallbacks[] = { WSGID_PYTHON_FALLBACKS };
    const char *found = obstacle(birth->pool, WSGID_PYTHON, X_OK);
    int error = errno;
    apr_size_t i;

    birth->python = WSGID_PYTHON;
    for (i = 0; found && i < sizeof(fallbacks) / sizeof(*fallbacks); i++) {
        if (strcmp(fallbacks[i], WSGID_PYTHON) && !obstacle(birth->pool, fallbacks[i], X_OK)) {
            birth->python = fallbacks[i];
            ap_log_error(
                APLOG_MARK, APLOG_NOTICE, error, birth->group->server,
                "WSGID0083: group '%s': user %s cannot "
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

void wsgid_interpreter_choose(wsgid_birth_t *birth)
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

/* ---- boot.py */

/* boot.py is in the package pywsgid, which lies beside the module (the usual places) or holds it
 * (after pip install). */
const char *wsgid_interpreter_boot(const wsgid_birth_t *birth)
{
    apr_pool_t *p = birth->pool;
    const char *directory;
    const char *boot;
    const char *found;
    Dl_info info;
    int error;

    if (!dladdr((const void *)&wsgid_module, &info) || !info.dli_fname) {
        info.dli_fname = "/"; /* cannot be: we are in that module */
    }
    directory = ap_make_dirstr_parent(p, info.dli_fname);
    boot = apr_pstrcat(p, directory, "pywsgid/daemon/boot.py", NULL);
    found = obstacle(p, boot, R_OK);
    error = errno;
    if (!found) {
        return boot;
    }
    if (!obstacle(p, apr_pstrcat(p, directory, "daemon/boot.py", NULL), R_OK)) {
        return apr_pstrcat(p, directory, "daemon/boot.py", NULL);
    }
    ap_log_error(
        APLOG_MARK, APLOG_ERR, error, birth->group->server,
        "WSGID0084: group '%s': user %s cannot read %s: "
        "the way ends at %s: pywsgid must lie beside the module, where every daemon's user may read it",
        birth->group->label, name_of_user(birth), boot, seen_from_outside(birth, found));
    _exit(WSGID_EXIT_EXEC);
}
