/*
 * X-Sendfile: the application names a file, and httpd sends it; only from directories that
 * WSGISendfilePath allows.
 *
 * The name comes from a process that is not trusted. It is first opened with O_PATH, which has no
 * effect on the file. The kernel then says where the file really is. Only a regular file below an
 * allowed directory is opened for reading, through that same descriptor, so that no link can be
 * changed in between.
 */
#include "request/exchange.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sys/stat.h>
#include <unistd.h>

#define HEADER "X-Sendfile"

/* "/proc/self/fd/17" */
static const char *descriptor_path(apr_pool_t *p, int fd)
{
    return apr_psprintf(p, "/proc/self/fd/%d", fd);
}

static int is_below(const char *path, const char *directory)
{
    apr_size_t length = strlen(directory);

    return !strncmp(path, directory, length) && path[length] == '/';
}

/* Whether the kernel says that an open file is below an allowed directory. */
static int is_allowed(const wsgid_exchange_t *x, int fd)
{
    char where[PATH_MAX + 1];
    ssize_t length = readlink(descriptor_path(x->r->pool, fd), where, PATH_MAX);
    int i;

    if (length < 0) {
        return 0;
    }
    where[length] = '\0';
    for (i = 0; i < x->route->sendfile->nelts; i++) {
        if (is_below(where, APR_ARRAY_IDX(x->route->sendfile, i, const char *))) {
            return 1;
        }
    }
    return 0;
}

static apr_status_t refuse_file(wsgid_exchange_t *x, int status, const char *path, const char *why)
{
    return wsgid_exchange_fail(x, WSGID_E_SENDFILE, status,
                               apr_psprintf(x->r->pool, "'%s': %s",
                                            ap_escape_logitem(x->r->pool, path), why));
}

/* Opens the file of an O_PATH descriptor for reading. */
static apr_status_t open_allowed(wsgid_exchange_t *x, int found, const char *path,
                                 apr_file_t **file, apr_finfo_t *info)
{
    struct stat status;
    apr_status_t rv;

    if (!is_allowed(x, found)) {
        return refuse_file(x, HTTP_FORBIDDEN, path,
                           "it is not below a directory of WSGISendfilePath");
    }
    if (fstat(found, &status) != 0 || !S_ISREG(status.st_mode)) {
        return refuse_file(x, HTTP_FORBIDDEN, path, "it is not a regular file");
    }
    rv = apr_file_open(file, descriptor_path(x->r->pool, found),
                       APR_FOPEN_READ | APR_FOPEN_SENDFILE_ENABLED, APR_FPROT_OS_DEFAULT,
                       x->r->pool);
    if (rv == APR_SUCCESS) {
        rv = apr_file_info_get(info, APR_FINFO_SIZE | APR_FINFO_MTIME, *file);
    }
    return rv == APR_SUCCESS ? rv
                             : refuse_file(x, HTTP_FORBIDDEN, path, "httpd's user may not read it");
}

/* Sets the headers by which a client can ask for the file again, or for a part of it. Those that
 * the application has set stay as they are. */
static void describe(request_rec *r, const apr_finfo_t *info)
{
    apr_table_unset(r->headers_out, "Content-Length");
    ap_set_content_length(r, info->size);
    if (!apr_table_get(r->headers_out, "Last-Modified")) {
        ap_update_mtime(r, info->mtime);
        ap_set_last_modified(r);
    }
    if (!apr_table_get(r->headers_out, "ETag")) {
        apr_table_setn(r->headers_out, "ETag",
                       apr_psprintf(r->pool,
                                    "\"%" APR_UINT64_T_HEX_FMT "-%" APR_UINT64_T_HEX_FMT "\"",
                                    (apr_uint64_t)info->size, (apr_uint64_t)info->mtime));
    }
}

int wsgid_sendfile_is_wanted(const wsgid_exchange_t *x)
{
    return x->route->sendfile && apr_table_get(x->r->headers_out, HEADER);
}

apr_status_t wsgid_sendfile_append(wsgid_exchange_t *x)
{
    request_rec *r = x->r;
    const char *path = apr_table_get(r->headers_out, HEADER);
    apr_file_t *file = NULL;
    apr_finfo_t info = { 0 };
    apr_status_t rv;
    int found = path[0] == '/' ? open(path, O_PATH | O_CLOEXEC) : -1;

    if (found < 0) {
        return refuse_file(x, HTTP_NOT_FOUND, path,
                           path[0] == '/'
                               ? "it does not exist, or httpd's user may not enter its directory"
                               : "it is not an absolute path");
    }
    rv = open_allowed(x, found, path, &file, &info);
    close(found);
    if (rv != APR_SUCCESS) {
        return rv;
    }
    apr_table_unset(r->headers_out, HEADER);
    describe(r, &info);
    return !wsgid_file_is_unchanged(x) && info.size > 0
               ? wsgid_client_queue_file(x, file, 0, info.size)
               : APR_SUCCESS;
}
