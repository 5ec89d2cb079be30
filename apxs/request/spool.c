/*
 * Temporary files of httpd's children, for what is too much for memory.
 *
 * A file has no name once it is open, and nothing that httpd executes inherits it. So it goes with
 * its last descriptor, whatever happens to the process. When to use one, and what becomes of a
 * request if the disk is full, is up to the caller.
 */
#include "request/exchange.h"
#include "request/request.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include "apr_portable.h"

/* A full disk is logged again after this time. */
#define LOG_AGAIN apr_time_from_sec(60)

static const char *directory = "/tmp";

/* Large files belong in /var/tmp: /tmp is often in memory. */
void wsgid_spool_child_init(apr_pool_t *pchild)
{
    if (!getenv("TMPDIR") && access("/var/tmp", W_OK | X_OK) == 0) {
        directory = "/var/tmp";
    }
    else if (apr_temp_dir_get(&directory, pchild) != APR_SUCCESS) {
        directory = "/tmp";
    }
}

int wsgid_spool_may_log(void)
{
    static apr_time_t logged_at;
    apr_time_t now = apr_time_now(), before = __atomic_load_n(&logged_at, __ATOMIC_RELAXED);

    return now - before >= LOG_AGAIN
           && __atomic_compare_exchange_n(&logged_at, &before, now, 0, __ATOMIC_RELAXED,
                                          __ATOMIC_RELAXED);
}

const char *wsgid_spool_directory(void)
{
    return directory;
}

apr_status_t wsgid_spool_adopt(apr_file_t **file, int fd, apr_pool_t *pool)
{
    apr_os_file_t own;
    apr_status_t rv = apr_file_open(file, "/dev/null", APR_FOPEN_READ | APR_FOPEN_SENDFILE_ENABLED,
                                    APR_FPROT_OS_DEFAULT, pool);

    if (rv == APR_SUCCESS) {
        rv = apr_os_file_get(&own, *file);
    }
    if (rv == APR_SUCCESS && dup3(fd, own, O_CLOEXEC) < 0) {
        rv = errno;
    }
    return rv;
}

apr_status_t wsgid_spool_open(apr_file_t **file, apr_pool_t *pool)
{
    char *path = apr_pstrcat(pool, directory, "/wsgid.XXXXXX", NULL);
    int fd = mkostemp(path, O_CLOEXEC);
    apr_status_t rv;

    if (fd < 0) {
        return errno;
    }
    rv = unlink(path) == 0 ? wsgid_spool_adopt(file, fd, pool) : errno;
    close(fd);
    return rv;
}

apr_status_t wsgid_spool_write(apr_file_t *file, apr_off_t at, const char *bytes, apr_size_t length)
{
    apr_os_file_t fd;
    apr_status_t rv = apr_os_file_get(&fd, file);

    while (rv == APR_SUCCESS && length > 0) {
        ssize_t written = pwrite(fd, bytes, length, at);

        if (written >= 0) {
            bytes += written;
            at += written;
            length -= (apr_size_t)written;
        }
        else if (errno != EINTR) {
            rv = errno;
        }
    }
    return rv;
}
