/*
 * The sockets of slots: the directory they are in, and their files' names, owners and modes.
 *
 * httpd's parent (often root) creates them, so that daemons can come and go behind a listener that
 * never closes. Only the user that httpd's children run as may connect: a socket has mode 0600 and
 * belongs to that user, and nobody else can create a socket of the same name in its directory.
 * The caller (slot_list.c) chooses the owner and logs failures.
 */
#include "slots/listener.h"

#include <dirent.h>
#include <signal.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "unixd.h"

/* ".4194304.99999.999.sock" and the NUL: the largest pid of Linux, many slots */
#define SUFFIX_ROOM 24

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

/* Removes what is at the path, but only if it is a socket. */
static apr_status_t remove_socket(const char *path)
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

/* The umask gives the file its mode when it is created, so no other user can ever connect. */
static apr_status_t bind_private(int fd, const struct sockaddr_un *address)
{
    mode_t before = umask(0177);
    apr_status_t status = bind(fd, (const struct sockaddr *)address, sizeof(*address)) == 0
                              ? APR_SUCCESS
                              : errno;

    umask(before);
    return status;
}

static apr_status_t listen_for(const char *path, uid_t owner, int backlog, int fd)
{
    if (geteuid() == 0 && lchown(path, owner, (gid_t)-1) != 0) {
        return errno;
    }
    return listen(fd, backlog) == 0 ? APR_SUCCESS : errno;
}

static apr_status_t bind_and_listen(int fd, const struct sockaddr_un *address, uid_t owner,
                                    int backlog)
{
    apr_status_t status = remove_socket(address->sun_path);

    if (status == APR_SUCCESS) {
        status = bind_private(fd, address);
    }
    return status == APR_SUCCESS ? listen_for(address->sun_path, owner, backlog, fd) : status;
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
    status = bind_and_listen(*fd, address, owner, backlog);
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
        return listen_for(path, owner, backlog, *fd);
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
        return apr_psprintf(p, "%s belongs to uid %ld, and must belong to root", directory,
                            (long)there->st_uid);
    }
    if (there->st_mode & S_IWOTH) {
        return apr_psprintf(p, "every user can write to %s", directory);
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
            "%s is too long: the path of a socket may have %d bytes, and mod_wsgid appends up "
            "to %d",
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
        return NULL; /* a group bit may be enough: the system decides when they connect */
    }
    return apr_psprintf(p, "httpd's User cannot enter %s: only its owner can", directory);
}

/* ---- sockets of an httpd that no longer runs */

static int is_suffix(const char *text)
{
    return !strcmp(text, WSGID_LISTENER_REQUESTS) || !strcmp(text, WSGID_LISTENER_CONTROL);
}

/* "wsgid.123.1.0.sock" -> 123; 0 if the file is not ours. */
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

static int is_unused(const char *path)
{
    struct sockaddr_un address;
    int unused;
    int fd;

    if (set_address(&address, path) != APR_SUCCESS
        || (fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0)) < 0) {
        return 0;
    }
    unused = connect(fd, (struct sockaddr *)&address, sizeof(address)) != 0
             && errno == ECONNREFUSED;
    (void)close(fd);
    return unused;
}

/* Its httpd no longer runs. If the pid exists, it may belong to another process by now (in a
 * container, to ourselves), so a socket that nobody listens on is left over, too. */
static int is_left_over(const char *path, pid_t pid)
{
    return (kill(pid, 0) != 0 && errno == ESRCH) || is_unused(path);
}

void wsgid_listener_sweep(apr_pool_t *p, server_rec *s, const char *prefix)
{
    const char *directory = directory_of(p, prefix);
    const char *base = strrchr(prefix, '/') ? strrchr(prefix, '/') + 1 : prefix;
    struct dirent *entry;
    DIR *stream = opendir(directory);

    if (!stream) {
        return; /* wsgid_listener_check_directory reports it */
    }
    while ((entry = readdir(stream))) {
        pid_t pid = pid_in_name(entry->d_name, base);
        const char *path;
        if (!pid) {
            continue;
        }
        path = apr_pstrcat(p, directory, "/", entry->d_name, NULL);
        if (is_left_over(path, pid) && unlink(path) == 0) {
            ap_log_error(
                APLOG_MARK, APLOG_DEBUG, 0, s,
                "WSGID0100: removed the socket %s, which an httpd that was killed left behind",
                path);
        }
    }
    (void)closedir(stream);
}
