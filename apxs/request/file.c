/*
 * FILE frames: a file that the application passed as a descriptor becomes a file bucket of httpd's,
 * so that sendfile, ranges, TLS and HTTP/2 are httpd's business and no byte goes through Python.
 *
 * The descriptor comes from a process that is not trusted: only a regular file that may be read is
 * taken, within the size that it has now. It is never mapped into memory: a file that is cut short
 * meanwhile must not raise SIGBUS here, it ends the response visibly.
 */
#include "request/exchange.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "apr_portable.h"

/* NULL, or why this descriptor is not taken. */
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

/*
 * An apr_file_t that owns the descriptor, as every filter and HTTP/2's beams expect it of a file
 * bucket: apr_os_file_put makes one that does not, so the descriptor takes the place of one that
 * APR opened itself.
 */
static apr_status_t adopt(apr_file_t **file, int fd, apr_pool_t *pool)
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

/* It goes out in slices only while its client still uploads (client.c); otherwise the kernel sends
 * it in one go. */
apr_status_t wsgid_file_insert(wsgid_exchange_t *x, apr_file_t *file, apr_off_t offset,
                               apr_off_t length)
{
    apr_bucket *bucket = apr_brigade_insert_file(x->client.queue, file, offset, length, x->r->pool);

    if (x->upload.is_read) {
        x->client.file_bytes += (apr_uint64_t)length;
    }
    else {
        x->client.queued += (apr_size_t)length;
    }
    return bucket ? apr_bucket_file_enable_mmap(bucket, 0) : APR_ENOMEM;
}

apr_status_t wsgid_file_append(wsgid_exchange_t *x, apr_uint64_t offset, apr_uint64_t length)
{
    apr_file_t *file;
    apr_status_t rv;

    x->failure.detail = refusal(x->received.file, offset, length);
    if (x->failure.detail) {
        return WSGID_E_PROTOCOL;
    }
    rv = adopt(&file, x->received.file, x->r->pool);
    close(x->received.file);
    x->received.file = -1;
    return rv == APR_SUCCESS && length > 0
               ? wsgid_file_insert(x, file, (apr_off_t)offset, (apr_off_t)length)
               : rv;
}
