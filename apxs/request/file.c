/*
 * FILE frames: a file that the application passed as a descriptor becomes a file bucket of httpd.
 * Sendfile, ranges, TLS and HTTP/2 are then httpd's business, and no byte goes through Python.
 *
 * The descriptor comes from a process that is not trusted. Only a regular file that can be read is
 * accepted, within its size at this moment. It is never mapped into memory: if the file is
 * truncated while it is sent, the response is cut off visibly, and no SIGBUS is raised.
 */
#include "request/exchange.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

/* NULL, or why this descriptor is refused. */
static const char *refusal(int fd, apr_uint64_t offset, apr_uint64_t length)
{
    struct stat info;
    int flags = fcntl(fd, F_GETFL);

    if (fd < 0 || flags < 0 || fstat(fd, &info) != 0) {
        return "FILE without a usable descriptor";
    }
    if (!S_ISREG(info.st_mode)) {
        return "FILE with a descriptor that is not a regular file";
    }
    if ((flags & O_ACCMODE) == O_WRONLY || (flags & O_PATH)) {
        return "FILE with a descriptor that cannot be read";
    }
    if (offset > (apr_uint64_t)info.st_size || length > (apr_uint64_t)info.st_size - offset) {
        return "FILE beyond the end of the file";
    }
    return NULL;
}

/* The descriptor stays the caller's. */
static apr_status_t append_part(wsgid_exchange_t *x, int fd, apr_uint64_t offset,
                                apr_uint64_t length)
{
    const char *why_not = refusal(fd, offset, length);
    apr_file_t *file;
    apr_status_t rv;

    if (why_not) {
        return wsgid_exchange_fail(x, WSGID_E_PROTOCOL, 0, why_not);
    }
    rv = wsgid_spool_adopt(&file, fd, x->r->pool);
    return rv == APR_SUCCESS && length > 0
               ? wsgid_client_queue_file(x, file, (apr_off_t)offset, (apr_off_t)length)
               : rv;
}

apr_status_t wsgid_file_append(wsgid_exchange_t *x, apr_uint64_t offset, apr_uint64_t length)
{
    int fd = wsgid_channel_take_file(x);
    apr_status_t rv = append_part(x, fd, offset, length);

    if (fd >= 0) {
        close(fd);
    }
    return rv;
}

int wsgid_file_is_unchanged(wsgid_exchange_t *x)
{
    int status = x->client.has_begun || x->r->status != HTTP_OK ? OK : ap_meets_conditions(x->r);

    if (status == OK) {
        return 0;
    }
    x->r->status = status;
    x->r->status_line = NULL;
    return 1;
}
