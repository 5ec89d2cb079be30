/*
 * The directory of the sockets: nobody but httpd reaches a socket in it.
 *
 * A socket's own mode admits every process of httpd's User, and these are not only httpd's
 * children: CGI programs and the applications of the default group run as that user, too. Whoever
 * connects to a daemon may have it run any script. So the sockets are in a directory that nobody
 * reaches by its path:
 *
 *     PREFIX.PID/      mode 0700, root's: only root enters it
 *     PREFIX.PID/s/    mode 0711
 *     PREFIX.PID/s/NUMBER.SLOT
 *
 * The parent opens the inner directory (O_PATH). Its children inherit the descriptor and connect to
 * /proc/self/fd/DESCRIPTOR/NUMBER.SLOT, which does not lead through the outer directory. No program
 * that a child starts inherits it (O_CLOEXEC), and the kernel shows the descriptors of a process
 * that was root to nobody else. The daemons get their listeners from guardians and need no path.
 *
 * This needs a parent that is root, and /proc. Otherwise the sockets are beside the prefix, with
 * mode 0600, and the log says what that means. The control sockets (`pywsgid status`) are always
 * there, for root and the user of their group: their names are documented.
 *
 * Sockets themselves are in listener.c, what a killed httpd left behind in leftovers.c.
 */
#include "slots/socket_directory.h"
#include "slots/retained.h"

#include <fcntl.h>
#include <linux/magic.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "mpm_common.h"
#include "unixd.h"

#define RETAINED_KEY WSGID_RETAINED("socket_directory")
/* ".4194304/s/99999.1000000.door" and the NUL: the largest pid of Linux, many groups and restarts.
 * Other paths are shorter. */
#define SUFFIX_ROOM   32
#define DESCRIPTORS   "/proc/self/fd"
#define SUID_DUMPABLE "/proc/sys/fs/suid_dumpable"
#define OUTER_MODE    0700
#define INNER_MODE    0711
#define PARENT_MODE   0755 /* of a directory that was missing */

struct wsgid_socket_directory_t {
    wsgid_socket_directory_t *next;
    const char *prefix;
    pid_t parent;      /* of this httpd: guardians make paths, too */
    const char *outer; /* NULL: the sockets are beside the prefix */
    const char *inner;
    int descriptor; /* of inner; keeps its number when the directory is created again */
};

/* What is not protected. */
typedef enum { NOTHING, NOT_ROOT, NO_PROC, READABLE } exposure_e;

typedef struct {
    wsgid_socket_directory_t *first;
    exposure_e logged;
} retained_directories_t;

/* This configuration only, as all static data is: the module is loaded anew on each restart. */
static retained_directories_t *retained;

/* ---- whether a directory will do */

static const char *parent_of(apr_pool_t *p, const char *prefix)
{
    const char *slash = strrchr(prefix, '/');

    if (!slash) {
        return ".";
    }
    return slash == prefix ? "/" : apr_pstrmemdup(p, prefix, slash - prefix);
}

/* Whether every user can put something else in the place of what is there. In a sticky directory
 * (/tmp) that is its owner's right. */
static int is_open(const struct stat *directory)
{
    return (directory->st_mode & (S_IWOTH | S_ISVTX)) == S_IWOTH;
}

/* The first directory above, from below, that is open; NULL if there is none. */
static const char *find_open_parent(apr_pool_t *p, const char *directory)
{
    char *real = realpath(directory, NULL);
    const char *at = real ? apr_pstrdup(p, real) : "/";
    struct stat there;

    free(real);
    while (at[1]) {
        at = parent_of(p, at);
        if (stat(at, &there) == 0 && is_open(&there)) {
            return at;
        }
    }
    return NULL;
}

static const char *check_access(apr_pool_t *p, const char *directory, const struct stat *there)
{
    const char *open_one;

    if (there->st_uid != 0 && there->st_uid != geteuid()) {
        return apr_psprintf(p, "%s belongs to uid %ld, and must belong to root", directory,
                            (long)there->st_uid);
    }
    open_one = is_open(there) ? directory : find_open_parent(p, directory);
    return open_one ? apr_psprintf(p, "every user can write to %s", open_one) : NULL;
}

const char *wsgid_socket_directory_check(apr_pool_t *p, const char *prefix)
{
    const char *directory = parent_of(p, prefix);
    struct stat there;

    if (strlen(prefix) + SUFFIX_ROOM > sizeof(((struct sockaddr_un *)NULL)->sun_path)) {
        return apr_psprintf(
            p,
            "%s is too long: the path of a socket may have %d bytes, and mod_wsgid appends up "
            "to %d",
            prefix, (int)sizeof(((struct sockaddr_un *)NULL)->sun_path) - 1, SUFFIX_ROOM - 1);
    }
    if (stat(directory, &there) != 0) {
        return errno == ENOENT && ap_is_directory(p, parent_of(p, directory))
                   ? NULL /* the start creates it */
                   : apr_psprintf(p, "%s: %s", directory, strerror(errno));
    }
    if (!S_ISDIR(there.st_mode)) {
        return apr_psprintf(p, "%s is not a directory", directory);
    }
    return check_access(p, directory, &there);
}

/* For sockets beside the prefix, which httpd's children reach by their paths. */
static const char *check_reach(apr_pool_t *p, const char *prefix)
{
    const char *directory = parent_of(p, prefix);
    struct stat there;

    if (geteuid() != 0 || stat(directory, &there) != 0 || (there.st_mode & (S_IXGRP | S_IXOTH))
        || there.st_uid == ap_unixd_config.user_id) {
        return NULL; /* a group bit may be enough: the system decides when they connect */
    }
    return apr_psprintf(p, "httpd's User cannot enter %s: only its owner can", directory);
}

/* ---- what is protected */

/* Whether httpd's children will see their own descriptors there, after chroot. */
static int has_proc(apr_pool_t *p)
{
    const char *root = ap_unixd_config.chroot_dir ? ap_unixd_config.chroot_dir : "";
    struct statfs system;

    return statfs(apr_pstrcat(p, root, DESCRIPTORS, NULL), &system) == 0
           && system.f_type == PROC_SUPER_MAGIC;
}

/* Whether others of httpd's User may read the descriptors of a process that was root: the kernel
 * allows it if fs.suid_dumpable is 1, and httpd itself with CoreDumpDirectory. */
static int are_children_readable(void)
{
    FILE *file = fopen(SUID_DUMPABLE, "r");
    int is_debug = file && fgetc(file) == '1';

    if (file) {
        (void)fclose(file);
    }
    return is_debug || ap_coredumpdir_configured;
}

static exposure_e find_exposure(apr_pool_t *p)
{
    if (geteuid() != 0) {
        return NOT_ROOT;
    }
    if (!has_proc(p)) {
        return NO_PROC;
    }
    return are_children_readable() ? READABLE : NOTHING;
}

static const char *describe(apr_pool_t *p, exposure_e exposure)
{
    switch (exposure) {
    case NOT_ROOT:
        return "httpd was not started by root: start it as root, or run nothing else as its user";
    case NO_PROC:
        return apr_psprintf(p,
                            "its children have no /proc after ChrootDir %s: remove ChrootDir, or "
                            "run nothing else as its User",
                            ap_unixd_config.chroot_dir ? ap_unixd_config.chroot_dir : "/");
    case READABLE:
        return "CoreDumpDirectory, or fs.suid_dumpable=1, makes its children readable: use that "
               "only while you look for an error";
    case NOTHING: break;
    }
    return NULL;
}

/* Once for each reason, and not again with each graceful restart. */
static void log_exposure(apr_pool_t *p, server_rec *s, exposure_e exposure)
{
    if (exposure != NOTHING && exposure != retained->logged) {
        ap_log_error(APLOG_MARK, APLOG_NOTICE, 0, s,
                     "WSGID0101: the daemons' sockets are not protected from other programs that "
                     "run as the user of httpd's children (CGI programs, applications without "
                     "user=), which can have any daemon run any script, because %s",
                     describe(p, exposure));
    }
    retained->logged = exposure;
}

/* ---- the private directory */

/* Nobody else has created it, and nobody else can replace it: the directory above is writable for
 * root only, or sticky. */
static apr_status_t make_directory(const char *path, mode_t mode)
{
    struct stat there;

    if (mkdir(path, mode) != 0 && errno != EEXIST) {
        return errno;
    }
    if (lstat(path, &there) != 0) {
        return errno;
    }
    if (!S_ISDIR(there.st_mode) || there.st_uid != geteuid()) {
        return EEXIST;
    }
    return chmod(path, mode) == 0 ? APR_SUCCESS : errno; /* whatever the umask is */
}

/* A descriptor that was open before keeps its number, which is in the addresses of slots. */
static apr_status_t open_inner(wsgid_socket_directory_t *directory)
{
    int fd = open(directory->inner, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    apr_status_t status = APR_SUCCESS;

    if (fd < 0) {
        return errno;
    }
    if (directory->descriptor < 0) {
        directory->descriptor = fd;
        return APR_SUCCESS;
    }
    if (dup3(fd, directory->descriptor, O_CLOEXEC) < 0) {
        status = errno;
    }
    (void)close(fd);
    return status;
}

static apr_status_t make_private(wsgid_socket_directory_t *directory)
{
    apr_status_t status = make_directory(directory->outer, OUTER_MODE);

    if (status == APR_SUCCESS) {
        status = make_directory(directory->inner, INNER_MODE);
    }
    return status == APR_SUCCESS ? open_inner(directory) : status;
}

/* Whether the descriptor is of the directory that is there. */
static int is_intact(const wsgid_socket_directory_t *directory)
{
    struct stat there;
    struct stat ours;

    return directory->descriptor >= 0 && lstat(directory->inner, &there) == 0
           && fstat(directory->descriptor, &ours) == 0 && there.st_dev == ours.st_dev
           && there.st_ino == ours.st_ino;
}

/* ---- directories of this httpd */

static wsgid_socket_directory_t *find(const char *prefix, int is_private)
{
    wsgid_socket_directory_t *directory;

    for (directory = retained->first; directory; directory = directory->next) {
        if (!strcmp(directory->prefix, prefix) && (directory->outer != NULL) == is_private) {
            return directory;
        }
    }
    return NULL;
}

static wsgid_socket_directory_t *add(apr_pool_t *pool, const char *prefix, int is_private)
{
    wsgid_socket_directory_t *directory = apr_pcalloc(pool, sizeof(*directory));

    directory->prefix = apr_pstrdup(pool, prefix);
    directory->parent = getpid();
    directory->descriptor = -1;
    if (is_private) {
        directory->outer = apr_psprintf(pool, "%s.%" APR_PID_T_FMT, prefix, getpid());
        directory->inner = apr_pstrcat(pool, directory->outer, WSGID_SOCKET_INNER, NULL);
    }
    directory->next = retained->first;
    retained->first = directory;
    return directory;
}

const char *wsgid_socket_directory_create(apr_pool_t *p, const char *prefix)
{
    const char *path = parent_of(p, prefix);

    if (mkdir(path, PARENT_MODE) == 0) {
        return chmod(path, PARENT_MODE) == 0 ? NULL : strerror(errno); /* whatever the umask is */
    }
    return errno == EEXIST ? NULL
                           : apr_psprintf(p, "%s does not exist and cannot be created: %s", path,
                                          strerror(errno));
}

const char *wsgid_socket_directory_prepare(apr_pool_t *p, server_rec *s, const char *prefix,
                                           const wsgid_socket_directory_t **prepared)
{
    exposure_e exposure = find_exposure(p);
    int is_private = exposure == NOTHING || exposure == READABLE;
    wsgid_socket_directory_t *directory;
    apr_status_t status;

    retained = wsgid_retained_find(RETAINED_KEY, sizeof(*retained));
    log_exposure(p, s, exposure);
    directory = find(prefix, is_private);
    if (!directory) {
        directory = add(s->process->pool, prefix, is_private);
    }
    *prepared = directory;
    if (!is_private) {
        return check_reach(p, prefix);
    }
    status = is_intact(directory) ? APR_SUCCESS : make_private(directory);
    return status == APR_SUCCESS ? NULL
                                 : apr_psprintf(p, "%s: %s", directory->inner, strerror(status));
}

/* ---- paths and addresses */

static const char *beside_prefix(apr_pool_t *p, const wsgid_socket_directory_t *directory,
                                 unsigned number, int slot, const char *suffix)
{
    return apr_psprintf(p, "%s.%" APR_PID_T_FMT ".%u.%d%s", directory->prefix, directory->parent,
                        number, slot, suffix);
}

const char *wsgid_socket_directory_requests(apr_pool_t *p,
                                            const wsgid_socket_directory_t *directory,
                                            unsigned number, int slot)
{
    return directory->inner ? apr_psprintf(p, "%s/%u.%d", directory->inner, number, slot)
                            : beside_prefix(p, directory, number, slot, WSGID_SOCKET_REQUESTS);
}

const char *wsgid_socket_directory_control(apr_pool_t *p, const wsgid_socket_directory_t *directory,
                                           unsigned number, int slot)
{
    return beside_prefix(p, directory, number, slot, WSGID_SOCKET_CONTROL);
}

static const char *of_configuration(apr_pool_t *p, const wsgid_socket_directory_t *directory,
                                    unsigned number, apr_uint32_t configuration, const char *suffix)
{
    return directory->inner
               ? apr_psprintf(p, "%s/%u.%u%s", directory->inner, number, configuration, suffix)
               : beside_prefix(p, directory, number, (int)configuration, suffix);
}

const char *wsgid_socket_directory_door(apr_pool_t *p, const wsgid_socket_directory_t *directory,
                                        unsigned number, apr_uint32_t configuration)
{
    return of_configuration(p, directory, number, configuration, WSGID_SOCKET_DOOR);
}

const char *wsgid_socket_directory_ask(apr_pool_t *p, const wsgid_socket_directory_t *directory,
                                       unsigned number, apr_uint32_t configuration)
{
    return of_configuration(p, directory, number, configuration, WSGID_SOCKET_ASK);
}

void wsgid_socket_directory_address(const wsgid_socket_directory_t *directory, const char *path,
                                    struct sockaddr_un *address)
{
    memset(address, 0, sizeof(*address));
    address->sun_family = AF_UNIX;
    if (directory->inner) {
        (void)snprintf(address->sun_path, sizeof(address->sun_path), DESCRIPTORS "/%d%s",
                       directory->descriptor, path + strlen(directory->inner));
    }
    else {
        apr_cpystrn(address->sun_path, path, sizeof(address->sun_path));
    }
}

/* ---- the end */

void wsgid_socket_directory_remove_all(void)
{
    const wsgid_socket_directory_t *directory = retained ? retained->first : NULL;

    for (; directory; directory = directory->next) {
        if (directory->outer) {
            (void)rmdir(directory->inner); /* they may be gone already */
            (void)rmdir(directory->outer);
        }
    }
}
