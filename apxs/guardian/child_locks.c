/*
 * Whether children of httpd live that may still send requests as an older configuration says.
 *
 * Each child of httpd holds a shared lock (fcntl) on one byte of a file in memory: the byte whose
 * offset is the number of its configuration. The kernel frees it when the child ends, however that
 * happens, and a fork does not inherit it. So a guardian can ask whether anybody is left even when
 * httpd's parent has been killed. (No pipe could tell: other modules' processes inherit it.)
 */
#include "guardian/guardian.h"

#include <fcntl.h>
#include <sys/mman.h>

#define RETAINED_KEY WSGID_RETAINED("child_locks")

int wsgid_child_locks_file(const char *key)
{
    const int *retained = ap_retained_data_get(key);

    return retained ? *retained : -1;
}

apr_status_t wsgid_child_locks_make_file(const char *key, const char *name)
{
    int *retained;
    int fd;

    if (wsgid_child_locks_file(key) >= 0) {
        return APR_SUCCESS;
    }
    fd = memfd_create(name, MFD_CLOEXEC);
    if (fd < 0) {
        return errno;
    }
    retained = ap_retained_data_create(key, sizeof(*retained));
    *retained = fd;
    return APR_SUCCESS;
}

apr_status_t wsgid_child_locks_open(void)
{
    return wsgid_child_locks_make_file(RETAINED_KEY, "wsgid-children");
}

int wsgid_child_locks_descriptor(void)
{
    return wsgid_child_locks_file(RETAINED_KEY);
}

apr_status_t wsgid_child_locks_set(int file, off_t byte, short type)
{
    struct flock lock = { .l_type = type, .l_whence = SEEK_SET, .l_start = byte, .l_len = 1 };

    return fcntl(file, F_SETLK, &lock) == 0 ? APR_SUCCESS : errno;
}

int wsgid_child_locks_any(int file, off_t first, off_t count)
{
    struct flock lock = {
        .l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = first, .l_len = count
    };

    return fcntl(file, F_GETLK, &lock) != 0 || lock.l_type != F_UNLCK;
}

apr_status_t wsgid_child_locks_take(apr_uint32_t configuration)
{
    return wsgid_child_locks_set(wsgid_child_locks_descriptor(), configuration, F_RDLCK);
}

int wsgid_child_locks_live(apr_uint32_t configuration)
{
    return wsgid_child_locks_any(wsgid_child_locks_descriptor(), configuration, 1);
}

int wsgid_child_locks_live_up_to(apr_uint32_t configuration)
{
    return wsgid_child_locks_any(wsgid_child_locks_descriptor(), 0, (off_t)configuration + 1);
}
