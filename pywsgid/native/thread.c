/*
 * What Linux tells of a thread of this process, in /proc. Each call takes some microseconds.
 */
#include "hotpath.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* The start of a file of the thread as a string, "" if it cannot be read. */
static void read_file(pid_t tid, const char *name, char *text, size_t size)
{
    char path[64];
    ssize_t length;
    int fd;

    text[0] = '\0';
    (void)snprintf(path, sizeof(path), "/proc/self/task/%d/%s", (int)tid, name);
    fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd >= 0) {
        length = read(fd, text, size - 1);
        (void)close(fd);
        text[length > 0 ? length : 0] = '\0';
    }
}

int wsgid_thread_is_asleep(pid_t tid)
{
    char text[128];
    const char *name_end;

    read_file(tid, "stat", text, sizeof(text));
    name_end = strrchr(text, ')'); /* the name may contain anything; the state follows it */
    return !name_end || strncmp(name_end, ") R", 3) != 0;
}

int64_t wsgid_thread_processor_wait(pid_t tid)
{
    char text[64]; /* "time on a processor, time waited for one, ..." */
    char *waited;

    read_file(tid, "schedstat", text, sizeof(text));
    waited = strchr(text, ' ');
    return waited ? strtoll(waited, NULL, 10) : 0;
}
