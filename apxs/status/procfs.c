/*
 * The memory and the CPU time of a process, from /proc. This works for processes of other users,
 * too, unless /proc is mounted with hidepid. Then, and for a process that has ended, the figures
 * are unknown.
 */
#include "status/status.h"

#include <fcntl.h>
#include <unistd.h>

#define ROOM 512 /* more than is needed of either file */

/* The beginning of /proc/PID/NAME, with a NUL. 0 if it cannot be read. */
static int read_file(pid_t pid, const char *name, char *text)
{
    char path[64];
    ssize_t length;
    int fd;

    apr_snprintf(path, sizeof(path), "/proc/%" APR_PID_T_FMT "/%s", pid, name);
    fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        return 0;
    }
    length = read(fd, text, ROOM - 1);
    (void)close(fd);
    text[length > 0 ? length : 0] = '\0';
    return length > 0;
}

/* The n-th number in a text, counted from 0; WSGID_STATUS_UNKNOWN if there is none. */
static apr_int64_t nth_number(const char *text, int n)
{
    apr_int64_t number;
    char *end;

    while (n-- > 0) {
        text += strcspn(text, " ");
        text += strspn(text, " ");
    }
    errno = 0;
    number = apr_strtoi64(text, &end, 10);
    return end != text && errno == 0 && number >= 0 ? number : WSGID_STATUS_UNKNOWN;
}

apr_int64_t wsgid_status_procfs_memory(pid_t pid)
{
    char text[ROOM];
    apr_int64_t pages = pid > 0 && read_file(pid, "statm", text) ? nth_number(text, 1)
                                                                 : WSGID_STATUS_UNKNOWN;

    return pages < 0 ? WSGID_STATUS_UNKNOWN : pages * sysconf(_SC_PAGESIZE);
}

/* proc(5): after the name in parentheses, which may contain anything, come the state, ten numbers,
 * and the user and system time. */
#define USER_TIME   11
#define SYSTEM_TIME 12

apr_int64_t wsgid_status_procfs_cpu(pid_t pid)
{
    char text[ROOM];
    const char *rest = pid > 0 && read_file(pid, "stat", text) ? strrchr(text, ')') : NULL;
    apr_int64_t user;
    apr_int64_t system;

    if (!rest || rest[1] != ' ') {
        return WSGID_STATUS_UNKNOWN;
    }
    user = nth_number(rest + 2, USER_TIME);
    system = nth_number(rest + 2, SYSTEM_TIME);
    return user < 0 || system < 0 ? WSGID_STATUS_UNKNOWN
                                  : (user + system) * 1000 / sysconf(_SC_CLK_TCK);
}
