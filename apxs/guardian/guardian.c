/*
 * A guardian: the event loop of the process that starts, watches and replaces the daemons of one
 * group.
 *
 * It sleeps until a signal comes, a daemon writes to the wake-up pipe or to its output, another
 * guardian asks for its sockets, or a deadline of the policy is over; then it reaps, looks at all
 * slots, and sleeps again. It leaves in one of three ways:
 *
 *   stop      SIGTERM, from httpd's parent or an administrator: daemons get shutdown-timeout
 *   made way  a newer configuration has all of its slots, and all of its processes have left
 *   retired   superseded, or httpd's parent has ended, and no child of httpd lives that could send
 *             a request to the group
 *
 * It never returns into httpd, runs none of httpd's cleanups, and exits with 0 only: httpd's parent
 * takes some other exit codes of its children for its own.
 */
#include "guardian/guardian.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/signalfd.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "http_main.h"

/* Daemons start once a child of httpd lives, which is soon after the fork, or after this time: so
 * they do not delay httpd's own start. */
#define START_PATIENCE apr_time_from_sec(1) /* once all guardians have been forked */
/* How often they look, at first and later: a thousand guardians look, too. */
#define START_POLL       apr_time_from_msec(5)
#define LATER_POLL       apr_time_from_msec(100)
#define UNANNOUNCED_POLL apr_time_from_sec(1)
#define DESCENDANTS_POLL apr_time_from_msec(50)
#define LEAST_SLEEP      apr_time_from_msec(1) /* whatever the deadlines say */
#define STOP_POLL apr_time_from_msec(100)      /* while it stops: processes that cannot be reaped */
/* Between two looks at the parent where the kernel has no pidfd_open() (before Linux 5.3). */
#define PARENT_POLL apr_time_from_sec(1)

typedef struct {
    wsgid_guardian_t given;
    int signals;         /* signalfd */
    int parent;          /* pidfd of httpd's parent; -1: there is none */
    int wakeup[2];       /* the wake-up pipe: read end, write end */
    apr_time_t begun;    /* wsgid_clock_now() when all guardians had been forked */
    int has_started;     /* daemons may run */
    struct pollfd *ends; /* what it waits for */
} loop_t;

/* Static: this process is one guardian. */
static loop_t loop;

/* ---- what has happened */

static void read_signals(void)
{
    struct signalfd_siginfo info;

    while (read(loop.signals, &info, sizeof(info)) == (ssize_t)sizeof(info)) {
        if (info.ssi_signo == SIGTERM) { /* else what follows looks anyway */
            wsgid_policy_stop();
        }
    }
    if (getppid() != loop.given.parent) {
        wsgid_roles_note_orphaned();
    }
}

/* At most what the pipe holds: a daemon that writes without end must not keep it here. */
static void drain_wakeup_pipe(void)
{
    static char bytes[65536];
    ssize_t unused = read(loop.wakeup[0], bytes, sizeof(bytes));

    (void)unused; /* what has changed is in the pages */
}

static void reap(void)
{
    int status;
    pid_t pid;

    while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
        wsgid_policy_reaped(pid, status);
    }
}

/* ---- what follows */

static int may_start(void)
{
    if (!wsgid_policy_is_announced()) {
        loop.begun = wsgid_clock_now(); /* a thousand of them take a while */
    }
    else if (!loop.has_started) {
        loop.has_started = wsgid_child_locks_live(loop.given.configuration)
                           || wsgid_clock_now() - loop.begun >= START_PATIENCE;
    }
    return loop.has_started;
}

static int may_act(void)
{
    return may_start() || wsgid_roles_stop_began() || wsgid_roles_is_orphaned();
}

/* ---- sleeping */

/* How long until the next look whether daemons may run. A signal says that all guardians have been
 * forked; without it, somebody has killed httpd's parent. */
static apr_interval_time_t start_poll(apr_time_t now)
{
    if (!wsgid_policy_is_announced()) {
        return UNANNOUNCED_POLL;
    }
    return now - loop.begun < LATER_POLL ? START_POLL : LATER_POLL;
}

static apr_time_t next_moment(void)
{
    apr_time_t now = wsgid_clock_now();
    apr_time_t next = may_act() ? wsgid_policy_next() : 0;

    if (wsgid_output_next()) {
        wsgid_clock_earlier(&next, wsgid_output_next());
    }
    if (!loop.has_started) {
        wsgid_clock_earlier(&next, now + start_poll(now));
    }
    if (wsgid_descendants_poll()) {
        wsgid_clock_earlier(&next, now + DESCENDANTS_POLL);
    }
    if (wsgid_roles_stop_began()) {
        wsgid_clock_earlier(&next, now + STOP_POLL);
    }
    if (loop.parent < 0) {
        wsgid_clock_earlier(&next, now + PARENT_POLL);
    }
    return next;
}

#define ENDS (5 + WSGID_OUTPUT_ENDS) /* besides the listeners of idle pools */

static void sleep_until(apr_time_t moment)
{
    struct pollfd *ends = loop.ends;
    apr_interval_time_t left = moment - wsgid_clock_now();
    struct timespec limit;
    int idle = 0;

    ends[0] = (struct pollfd){ loop.signals, POLLIN, 0 };
    ends[1] = (struct pollfd){ loop.wakeup[0], POLLIN, 0 };
    /* once the parent has ended, its pidfd would be ready for ever */
    ends[2] = (struct pollfd){ wsgid_roles_is_orphaned() ? -1 : loop.parent, POLLIN, 0 };
    ends[3] = (struct pollfd){ wsgid_transfer_descriptor(), POLLIN, 0 };
    ends[4] = (struct pollfd){ wsgid_spare_descriptor(), POLLIN, 0 };
    if (may_act()) {
        idle = wsgid_scaling_wait_for(ends + ENDS);
    }

    left = left > LEAST_SLEEP ? left : LEAST_SLEEP;
    limit.tv_sec = left / APR_USEC_PER_SEC;
    limit.tv_nsec = left % APR_USEC_PER_SEC * 1000;
    wsgid_output_wait_for(ends + 5);
    (void)ppoll(ends, ENDS + idle, moment ? &limit : NULL, NULL);
}

/* ---- the whole life */

/* A pidfd shows the end of httpd's parent, whatever user that has become (httpd -X): the signal
 * that PR_SET_PDEATHSIG asks for would not be sent then. */
static int open_parent(pid_t parent)
{
#ifdef SYS_pidfd_open
    return (int)syscall(SYS_pidfd_open, parent, 0); /* close-on-exec */
#else
    (void)parent;
    return -1;
#endif
}

static void begin(const wsgid_guardian_t *given)
{
    apr_status_t opened = wsgid_output_open_to_write(given->group);
    apr_pool_t *pool;

    loop.given = *given;
    wsgid_slot_list_enter_guardian(given->group);
    loop.begun = wsgid_clock_now();
    loop.signals = wsgid_boundary_cross(given->group);
    loop.parent = open_parent(given->parent);
    apr_pool_create(&pool, ap_server_conf->process->pool);
    wsgid_roles_begin(given);
    if (opened != APR_SUCCESS || pipe2(loop.wakeup, O_CLOEXEC | O_NONBLOCK) != 0
        || wsgid_orphans_begin() != APR_SUCCESS
        || wsgid_log_queue_begin(given->group->server, pool) != APR_SUCCESS) {
        ap_log_error(APLOG_MARK, APLOG_CRIT, opened != APR_SUCCESS ? opened : errno,
                     given->group->server,
                     "WSGID0068: group '%s': its guardian has no descriptor or memory left: raise "
                     "httpd's limits of open files and memory (ulimit -n, LimitNOFILE= of its "
                     "service)",
                     given->group->label);
        _exit(0);
    }
    wsgid_output_begin(given->group);
    wsgid_launch_begin(loop.wakeup[1]);
    wsgid_transfer_open_door();
    loop.ends = apr_pcalloc(pool, (ENDS + WSGID_SCALING_ENDS * wsgid_pools_count(given->group))
                                      * sizeof(*loop.ends));
    wsgid_scaling_begin(given->group, pool);
    wsgid_spare_begin(given->group, pool);
    wsgid_policy_begin();
}

static void end(void) __attribute__((noreturn));

static void end(void)
{
    wsgid_policy_say_down();
    wsgid_spare_end();
    wsgid_descendants_end();
    if (wsgid_roles_is_orphaned() && !wsgid_child_locks_live_up_to(APR_UINT32_MAX)) {
        wsgid_slot_list_remove_sockets(loop.given.group, loop.given.configuration);
        wsgid_socket_directory_remove_all(); /* the last guardian finds them empty */
    }
    wsgid_output_end();
    _exit(0);
}

void wsgid_guardian_run(void *given)
{
    begin(given);
    for (;;) {
        read_signals();
        drain_wakeup_pipe();
        wsgid_transfer_answer(wsgid_scaling_answer);
        wsgid_spare_answer();
        wsgid_output_poll();
        reap();
        if (may_act()) {
            wsgid_policy_poll();
        }
        if (wsgid_policy_is_over()) {
            end();
        }
        sleep_until(next_moment());
    }
}
