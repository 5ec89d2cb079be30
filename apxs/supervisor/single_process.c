/*
 * httpd -X: one process serves requests and is its own parent.
 *
 * Its MPM watches no children, and it becomes httpd's User, who may neither start a daemon of
 * another user, nor end one, nor remove a socket. So httpd, while it is still root, forks a second
 * process: the daemons' parent. It does all that httpd's parent does otherwise, with a loop of its
 * own in place of the MPM's, and lives as long as httpd. A socket pair between the two shows it
 * that httpd has ended, however that happens.
 */
#include "supervisor/supervisor.h"

#include <poll.h>
#include <signal.h>
#include <sys/socket.h>
#include <unistd.h>

#include "ap_listen.h"

/* Milliseconds, as in the MPM's loop. The end of a process ends the sleep early (SIGCHLD); only
 * a fork that failed has to wait for the next turn. */
#define SLEEP 1000

static pid_t httpd;
static pid_t daemons_parent; /* 0 in that process itself */
static int connection = -1;  /* this process's end of the pair */

int wsgid_single_process_is_on(void)
{
    return ap_exists_config_define("DEBUG") || ap_exists_config_define("ONE_PROCESS");
}

/* Ctrl-C reaches the whole process group, but is meant for httpd, whose end ends this process. */
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
    daemons_parent = fork();
    if (daemons_parent < 0) {
        int error = errno;
        (void)close(ends[0]);
        (void)close(ends[1]);
        errno = error;
        return -1;
    }
    connection = ends[daemons_parent != 0];
    (void)close(ends[daemons_parent == 0]);
    if (daemons_parent == 0) {
        ignore_signals();
        ap_close_listeners(); /* so that httpd's ports are free when httpd has ended */
        return getpid();
    }
    return daemons_parent;
}

/* Waits until something happens. Whether httpd has ended: getppid() shows it, too, in case another
 * process holds a copy of httpd's end of the pair. */
static int wait_for_events(void)
{
    struct pollfd ends[2] = { { connection, POLLIN, 0 }, { wsgid_wakeup_read_end(), POLLIN, 0 } };

    (void)poll(ends, 2, SLEEP);
    wsgid_wakeup_drain(wsgid_wakeup_read_end());
    return ends[0].revents != 0 || getppid() != httpd;
}

void wsgid_single_process_run(void (*poll_processes)(void))
{
    while (!wait_for_events()) {
        poll_processes();
    }
}

apr_status_t wsgid_single_process_end(void *unused)
{
    (void)unused;
    if (connection < 0 || httpd != getpid()) {
        return APR_SUCCESS;
    }
    /* shutdown, because close would leave the connection open where another process has a copy */
    (void)shutdown(connection, SHUT_RDWR);
    (void)close(connection);
    connection = -1;
    wsgid_sigchld_wait_for(daemons_parent);
    return APR_SUCCESS;
}
