/*
 * httpd -X: one process serves and is its own parent, so its MPM looks after nobody, and it becomes
 * httpd's User, who may neither start a daemon of another user, nor end one, nor remove a socket.
 *
 * So httpd forks, while it is still root, a process that takes charge of the daemons in its place:
 * the keeper. It is all that the parent is otherwise, with a loop of its own in place of the MPM's.
 * It lives as long as httpd: the two ends of a socket pair tell, however httpd ends.
 */
#include "supervisor/supervisor.h"

#include <poll.h>
#include <signal.h>
#include <sys/socket.h>
#include <unistd.h>

#include "ap_listen.h"

/* Milliseconds. As in the MPM's loop: a death ends the sleep early, only a fork that failed is
 * tried again by it. */
#define SLEEP 1000

static pid_t httpd;
static pid_t keeper;  /* 0 in itself */
static int line = -1; /* this process's end of the pair */

int wsgid_single_process_is_on(void)
{
    return ap_exists_config_define("DEBUG") || ap_exists_config_define("ONE_PROCESS");
}

/* Ctrl-C goes to the whole process group, but it is meant for httpd: the end of that is what
 * counts. */
static void ignore_signals(void)
{
    static const int ignored[] = { SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1, SIGPIPE };
    apr_size_t i;

    for (i = 0; i < sizeof(ignored) / sizeof(*ignored); i++) {
        (void)signal(ignored[i], SIG_IGN);
    }
}

pid_t wsgid_single_process_fork(void)
{
    int ends[2];

    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) != 0) {
        return -1;
    }
    httpd = getpid();
    keeper = fork();
    if (keeper < 0) {
        int error = errno;
        (void)close(ends[0]);
        (void)close(ends[1]);
        errno = error;
        return -1;
    }
    line = ends[keeper != 0];
    (void)close(ends[keeper == 0]);
    if (keeper == 0) {
        ignore_signals();
        ap_close_listeners(); /* httpd's ports are free again when httpd is gone */
        return getpid();
    }
    return keeper;
}

/* The parent's pid tells too, in case another process has a copy of httpd's end. */
static int is_dismissed(void)
{
    struct pollfd ends[2] = { { line, POLLIN, 0 }, { wsgid_wakeup_read_end(), POLLIN, 0 } };

    (void)poll(ends, 2, SLEEP);
    wsgid_wakeup_drain(wsgid_wakeup_read_end());
    return ends[0].revents != 0 || getppid() != httpd;
}

void wsgid_single_process_keep(void)
{
    while (!is_dismissed()) {
        wsgid_supervisor_reap();
        wsgid_supervisor_satisfy();
    }
    (void)wsgid_supervisor_stop(NULL);
    _exit(0);
}

apr_status_t wsgid_single_process_dismiss(void *unused)
{
    (void)unused;
    if (line < 0 || httpd != getpid()) {
        return APR_SUCCESS;
    }
    (void)shutdown(line, SHUT_RDWR); /* unlike close, this holds for every copy of it */
    (void)close(line);
    line = -1;
    wsgid_stop_wait_for(keeper);
    return APR_SUCCESS;
}
