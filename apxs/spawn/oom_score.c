/*
 * oom_score_adj: whom the kernel kills when memory runs out. A guardian is small, and a group
 * without its guardian is worse off than with one process less: so a guardian comes last. Its
 * daemons get httpd's own value back.
 *
 * The write needs CAP_SYS_RESOURCE, also in the forked process: otherwise a daemon could lower its
 * value to that of the guardian again.
 */
#include "spawn/spawn.h"

#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#define PATH        "/proc/self/oom_score_adj"
#define OF_GUARDIAN "-900" /* only what must never be killed has less: -1000 */
#define NUMBER_ROOM 8      /* "-1000\n" */

static char original[NUMBER_ROOM]; /* httpd's; "": this process has it */

static int write_value(const char *text)
{
    int fd = open(PATH, O_WRONLY | O_CLOEXEC);
    ssize_t length = fd >= 0 ? write(fd, text, strlen(text)) : -1;

    if (fd >= 0) {
        (void)close(fd);
    }
    return length < 0 ? -1 : 0;
}

void wsgid_oom_score_lower(void)
{
    int fd = open(PATH, O_RDONLY | O_CLOEXEC);
    ssize_t length = fd >= 0 ? read(fd, original, sizeof(original) - 1) : 0;

    if (fd >= 0) {
        (void)close(fd);
    }
    if (length <= 0 || atoi(original) <= atoi(OF_GUARDIAN) || write_value(OF_GUARDIAN) != 0) {
        original[0] = '\0'; /* not root, or lower already: nothing to restore */
    }
}

int wsgid_oom_score_restore(void)
{
    return original[0] ? write_value(original) : 0;
}
