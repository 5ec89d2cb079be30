/*
 * Processes that the application has left behind: its daemons' children, which became children of
 * this guardian when the daemons ended (PR_SET_CHILD_SUBREAPER). What still has the daemon's
 * session ends soon after it; what has called setsid() ends with the guardian.
 *
 * The kernel lists the children of each thread; a guardian has one thread. Nothing waits without
 * a limit: a process that somebody traces may never be reaped.
 */
#include "guardian/guardian.h"

#include <signal.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

#define PATIENCE apr_time_from_sec(1) /* after SIGTERM, and again after SIGKILL */
#define INTERVAL 5000                 /* microseconds between two looks */

#define ANY 0 /* session */

/* Sends a signal to the children of a session, or to all. How many there are. */
static int signal_children(pid_t session, int number)
{
    char path[64];
    int count = 0;
    int pid;
    FILE *file;

    apr_snprintf(path, sizeof(path), "/proc/self/task/%" APR_PID_T_FMT "/children", getpid());
    file = fopen(path, "re");
    if (!file) {
        return 0;
    }
    while (fscanf(file, "%d", &pid) == 1) {
        if (session == ANY || getsid(pid) == session) {
            count++;
            (void)kill(pid, number);
        }
    }
    (void)fclose(file);
    return count;
}

/* ---- what a daemon that has ended has left in its session */

#define SESSIONS 8 /* that end at the same time; from the next one on, the eldest is forgotten */

typedef struct {
    pid_t id;        /* 0: free */
    apr_time_t late; /* wsgid_clock_now() from when on they are killed */
} session_t;

static session_t sessions[SESSIONS];
static unsigned next;

void wsgid_descendants_end_session(pid_t session)
{
    session_t *place = &sessions[next++ % SESSIONS];

    place->id = session;
    place->late = wsgid_clock_now() + PATIENCE;
}

/* A child of one that ends becomes ours then, so this is repeated until none is left. */
int wsgid_descendants_poll(void)
{
    int pending = 0;
    int i;

    for (i = 0; i < SESSIONS; i++) {
        int number = wsgid_clock_now() < sessions[i].late ? SIGTERM : SIGKILL;

        if (sessions[i].id && signal_children(sessions[i].id, number) == 0) {
            sessions[i].id = 0;
        }
        pending += sessions[i].id != 0;
    }
    return pending;
}

/* ---- all */

static int are_left(void)
{
    while (waitpid(-1, NULL, WNOHANG) > 0) {
        /* another one may have ended */
    }
    return signal_children(ANY, 0) > 0;
}

/* New children may appear while others end: each look signals all. */
static void end_with(int number)
{
    apr_time_t end = wsgid_clock_now() + PATIENCE;

    while (are_left() && wsgid_clock_now() < end) {
        (void)signal_children(ANY, number);
        apr_sleep(INTERVAL);
    }
}

void wsgid_descendants_end(void)
{
    end_with(SIGTERM);
    end_with(SIGKILL);
}
