/*
 * The sockets of the slots: the directory they are in, their files' names, owners and modes.
 *
 * The parent (often root) makes them, so that a daemon can come and go behind a listener that never
 * closes. Only the user that httpd's children run as may connect: mode 0600, owned by that user, in
 * a directory where nobody else can put a socket of the same name. What fails is logged, and the
 * owner chosen, by slot_list.c.
 */
#include "slots/listener.h"

#include <dirent.h>
#include <signal.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "unixd.h"

#define SUFFIX_ROOM \
    24 /* ".4194304.99999.999.sock" and the NUL: the largest pid of Linux, many slots */

const char *wsgid_listener_path(apr_pool_t *p, const char *prefix, unsigned number, int slot,
                                const char *suffix)
{
    return apr_psprintf(p, "%s.%" APR_PID_T_FMT ".%u.%d%s", prefix, getpid(), number, slot, suffix);
}

/* ---- open */

static apr_status_t set_address(struct sockaddr_un *address, const char *path)
{
    if (strlen(path) >= sizeof(address->sun_path)) {
        return ENAMETOOLONG;
    }
    memset(address, 0, sizeof(*address));
    address->sun_family = AF_UNIX;
    apr_cpystrn(address->sun_path, path, sizeof(address->sun_path));
    return APR_SUCCESS;
}

/* What is in the way is removed only if it is a socket. */
static apr_status_t clear_way(const char *path)
{
    struct stat there;

    if (lstat(path, &there) != 0) {
        return errno == ENOENT ? APR_SUCCESS : errno;
    }
    if (!S_ISSOCK(there.st_mode)) {
        return EEXIST;
    }
    return unlink(path) == 0 ? APR_SUCCESS : errno;
}

/* The file has its mode from birth: there is no moment at which another user could connect. */
static apr_status_t bind_private(int fd, const struct sockaddr_un *address)
{
    mode_t before = umask(0177);
    apr_status_t status = bind(fd, (const struct sockaddr *)address, sizeof(*address)) == 0
                              ? APR_SUCCESS
                              : errno;

    umask(before);
    return status;
}

static apr_status_t open_to(const char *path, uid_t owner, int backlog, int fd)
{
    if (geteuid() == 0 && lchown(path, owner, (gid_t)-1) != 0) {
        return errno;
    }
    return listen(fd, backlog) == 0 ? APR_SUCCESS : errno;
}

static apr_status_t make(int fd, const struct sockaddr_un *address, uid_t owner, int backlog)
{
    apr_status_t status = clear_way(address->sun_path);

    if (status == APR_SUCCESS) {
        status = bind_private(fd, address);
    }
    return status == APR_SUCCESS ? open_to(address->sun_path, owner, backlog, fd) : status;
}

apr_status_t wsgid_listener_open(const char *path, uid_t owner, int backlog, int *fd,
                                 struct sockaddr_un *address)
{
    apr_status_t status = set_address(address, path);

    *fd = -1;
    if (status != APR_SUCCESS) {
        return status;
    }
    *fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (*fd < 0) {
        return errno;
    }
    status = make(*fd, address, owner, backlog);
    if (status != APR_SUCCESS) {
        (void)close(*fd);
        *fd = -1;
    }
    return status;
}

apr_status_t wsgid_listener_adapt(const char *path, uid_t owner, int backlog, int *fd)
{
    struct sockaddr_un address;
    struct stat there;
    int fresh;
    apr_status_t status;

    if (lstat(path, &there) == 0 || errno != ENOENT) {
        return open_to(path, owner, backlog, *fd);
    }
    status = wsgid_listener_open(path, owner, backlog, &fresh, &address);
    if (status == APR_SUCCESS) {
        (void)close(*fd);
        *fd = fresh;
    }
    return status;
}

/* ---- the directory */

static const char *directory_of(apr_pool_t *p, const char *prefix)
{
    const char *slash = strrchr(prefix, '/');

    if (!slash) {
        return ".";
    }
    return slash == prefix ? "/" : apr_pstrmemdup(p, prefix, slash - prefix);
}

static const char *check_access(apr_pool_t *p, const char *directory, const struct stat *there)
{
    if (there->st_uid != 0 && there->st_uid != geteuid()) {
        return apr_psprintf(p, "%s belongs to uid %ld: it must belong to root", directory,
                            (long)there->st_uid);
    }
    if (there->st_mode & S_IWOTH) {
        return apr_psprintf(p, "%s can be written by everybody", directory);
    }
    return NULL;
}

const char *wsgid_listener_check_directory(apr_pool_t *p, const char *prefix)
{
    const char *directory = directory_of(p, prefix);
    struct stat there;

    if (strlen(prefix) + SUFFIX_ROOM > sizeof(((struct sockaddr_un *)NULL)->sun_path)) {
        return apr_psprintf(
            p,
            "%s is too long: a socket's path may have %d characters, %d of which are needed for "
            "what follows",
            prefix, (int)sizeof(((struct sockaddr_un *)NULL)->sun_path) - 1, SUFFIX_ROOM - 1);
    }
    if (stat(directory, &there) != 0) {
        return apr_psprintf(p, "%s: %s", directory, strerror(errno));
    }
    if (!S_ISDIR(there.st_mode)) {
        return apr_psprintf(p, "%s is not a directory", directory);
    }
    return check_access(p, directory, &there);
}

const char *wsgid_listener_check_reach(apr_pool_t *p, const char *prefix)
{
    const char *directory = directory_of(p, prefix);
    struct stat there;

    if (geteuid() != 0 || stat(directory, &there) != 0 || (there.st_mode & (S_IXGRP | S_IXOTH))
        || there.st_uid == ap_unixd_config.user_id) {
        return NULL; /* what the group's bits are worth is for the system to say */
    }
    return apr_psprintf(p, "%s can be entered by its owner alone, and not by httpd's User",
                        directory);
}

/* ---- what dead parents left */

static int is_suffix(const char *text)
{
    return !strcmp(text, WSGID_LISTENER_REQUESTS) || !strcmp(text, WSGID_LISTENER_CONTROL);
}

/* "wsgid.123.1.0.sock" -> 123; 0 for what is no file of ours. */
static pid_t pid_in_name(const char *name, const char *base)
{
    apr_size_t length = strlen(base);
    unsigned number;
    unsigned slot;
    int pid;
    int end = 0;

    if (strncmp(name, base, length)
        || sscanf(name + length, ".%d.%u.%u%n", &pid, &number, &slot, &end) != 3) {
        return 0;
    }
    return pid > 0 && is_suffix(name + length + end) ? pid : 0;
}

static int is_deserted(const char *path)
{
    struct sockaddr_un address;
    int deserted;
    int fd;

    if (set_address(&address, path) != APR_SUCCESS
        || (fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0)) < 0) {
        return 0;
    }
    deserted = connect(fd, (struct sockaddr *)&address, sizeof(address)) != 0
               && errno == ECONNREFUSED;
    (void)close(fd);
    return deserted;
}

/* Its parent is no more; or the pid lives, perhaps as somebody else (we ourselves, in a container),
 * and nobody listens. */
static int is_left_over(const char *path, pid_t pid)
{
    return (kill(pid, 0) != 0 && errno == ESRCH) || is_deserted(path);
}

void wsgid_listener_sweep(apr_pool_t *p, server_rec *s, const char *prefix)
{
    const char *directory = directory_of(p, prefix);
    const char *base = strrchr(prefix, '/') ? strrchr(prefix, '/') + 1 : prefix;
    struct dirent *entry;
    DIR *stream = opendir(directory);

    if (!stream) {
        return; /* wsgid_listener_check_directory says so */
    }
    while ((entry = readdir(stream))) {
        pid_t pid = pid_in_name(entry->d_name, base);
        const char *path;
        if (!pid) {
            continue;
        }
        path = apr_pstrcat(p, directory, "/", entry->d_name, NULL);
        if (is_left_over(path, pid) && unlink(path) == 0) {
            ap_log_error(APLOG_MARK, APLOG_DEBUG, 0, s,
                         "WSGID0100: removed %s, left by an httpd that was killed", path);
        }
    }
    (void)closedir(stream);
}
