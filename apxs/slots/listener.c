/*
 * The sockets of slots: how they are created, and their owners and modes. socket_directory.c says
 * where they are, and who gets there.
 *
 * Guardians (often root) create them, so that daemons can come and go behind a listener that never
 * closes. A socket has mode 0600 and belongs to the user that httpd's children run as, or, for
 * administrators, to the group's user; and nobody else can create a socket of the same name in its
 * directory. The caller (guardian/sockets.c) chooses the owner and logs failures.
 */
#include "slots/listener.h"

#include <sys/stat.h>
#include <unistd.h>

/* ---- open */

apr_status_t wsgid_listener_set_address(struct sockaddr_un *address, const char *path)
{
    if (strlen(path) >= sizeof(address->sun_path)) {
        return ENAMETOOLONG;
    }
    memset(address, 0, sizeof(*address));
    address->sun_family = AF_UNIX;
    apr_cpystrn(address->sun_path, path, sizeof(address->sun_path));
    return APR_SUCCESS;
}

apr_status_t wsgid_listener_remove(const char *path)
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

/* A socket of this type, bound to the path. */
static apr_status_t open_bound(const char *path, int type, int *fd)
{
    struct sockaddr_un address;
    apr_status_t status = wsgid_listener_set_address(&address, path);

    *fd = -1;
    if (status != APR_SUCCESS) {
        return status;
    }
    *fd = socket(AF_UNIX, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (*fd < 0) {
        return errno;
    }
    status = wsgid_listener_remove(path);
    return status == APR_SUCCESS ? bind_private(*fd, &address) : status;
}

static apr_status_t close_unless(apr_status_t status, int *fd)
{
    if (status != APR_SUCCESS && *fd >= 0) {
        (void)close(*fd);
        *fd = -1;
    }
    return status;
}

apr_status_t wsgid_listener_open(const char *path, uid_t owner, int backlog, int *fd)
{
    apr_status_t status = open_bound(path, SOCK_STREAM, fd);

    if (status == APR_SUCCESS) {
        status = wsgid_listener_adapt(path, owner, backlog, *fd);
    }
    return close_unless(status, fd);
}

apr_status_t wsgid_listener_open_door(const char *path, uid_t owner, int *fd)
{
    apr_status_t status = open_bound(path, SOCK_DGRAM, fd);

    if (status == APR_SUCCESS && geteuid() == 0 && lchown(path, owner, (gid_t)-1) != 0) {
        status = errno;
    }
    return close_unless(status, fd);
}

apr_status_t wsgid_listener_adapt(const char *path, uid_t owner, int backlog, int fd)
{
    if (geteuid() == 0 && lchown(path, owner, (gid_t)-1) != 0) {
        return errno;
    }
    return listen(fd, backlog) == 0 ? APR_SUCCESS : errno;
}

ino_t wsgid_listener_file(const char *path)
{
    struct stat there;

    return lstat(path, &there) == 0 ? there.st_ino : 0;
}

int wsgid_listener_is_unused(const char *path)
{
    struct sockaddr_un address;
    int unused;
    int fd;

    if (wsgid_listener_set_address(&address, path) != APR_SUCCESS
        || (fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0)) < 0) {
        return 0;
    }
    unused = connect(fd, (struct sockaddr *)&address, sizeof(address)) != 0
             && errno == ECONNREFUSED;
    (void)close(fd);
    return unused;
}
