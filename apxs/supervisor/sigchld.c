/*
 * Learning at once that a daemon has ended, and how.
 *
 * APR passes its callback the exit code or the signal without saying which of the two. So our
 * handler of SIGCHLD notes how a process ended before the MPM reaps it. It checks all watched
 * processes, since the kernel may merge several signals into one.
 *
 * The handler only takes notes and arms a timer; everything else happens outside of it. Handler and
 * timer are removed before the module is unloaded, so all of this lives as long as one
 * configuration.
 */
#include "supervisor/supervisor.h"

#include <signal.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define RESEND_DELAY 2000000 /* nanoseconds: the MPM usually reaps within one millisecond */
#define MOST_RESENDS 50 /* then give up: during a graceful stop the MPM reaps no daemon at all */

typedef struct {
    volatile pid_t pid; /* 0: free */
    volatile sig_atomic_t known;
    volatile int resends;
    volatile int code; /* CLD_EXITED, CLD_KILLED, CLD_DUMPED */
    volatile int status;
} note_t;

static note_t *notes; /* in pconf; one for each process entry, and one for the wake-up process */
static volatile int note_count;
static int resend_timer = -1;
static struct sigaction previous; /* of SIGCHLD */
static int handler_set;

/* ---- notes */

static void take_note(note_t *note, const siginfo_t *info)
{
    note->code = info->si_code;
    note->status = info->si_status;
    note->known = 1;
}

/* Notes how a process ended, if it has ended and has not been reaped. */
static void peek(note_t *note)
{
    siginfo_t info;

    info.si_pid = 0;
    if (!note->known && waitid(P_PID, (id_t)note->pid, &info, WEXITED | WNOHANG | WNOWAIT) == 0
        && info.si_pid == note->pid) {
        take_note(note, &info);
    }
}

static note_t *find_note(pid_t pid)
{
    int i;

    for (i = 0; i < note_count; i++) {
        if (notes[i].pid == pid) {
            return &notes[i];
        }
    }
    return NULL;
}

/* The process may have ended before it had a note, so check at once. */
void wsgid_sigchld_watch(pid_t pid)
{
    note_t *note = find_note(0);

    if (note) {
        note->known = 0;
        note->resends = 0;
        note->pid = pid;
        peek(note);
    }
}

void wsgid_sigchld_forget(pid_t pid)
{
    note_t *note = find_note(pid);

    if (note) {
        note->pid = 0;
    }
}

/* Without a note: 0 and our own exit codes cannot be signals. */
wsgid_death_t wsgid_sigchld_death(pid_t pid, int status)
{
    note_t *note = find_note(pid);
    wsgid_death_t death = { 0, status };

    if (note && note->known) {
        death.code = note->code;
        death.status = note->status;
    }
    else if (status == 0 || (status >= WSGID_EXIT_PRIVILEGES && status <= WSGID_EXIT_INTERPRETER)) {
        death.code = CLD_EXITED;
    }
    return death;
}

/* ---- the timer */

/*
 * If SIGCHLD arrives after the MPM has checked for ended children and before it sleeps, the MPM
 * does not notice, and sleeps for a second. (Seen for one in ten processes that ended right after
 * a fork, on a busy machine.) So a timer sends the signal again until the MPM has reaped the
 * process. System calls are used because older C libraries have these functions in another library.
 */
static void set_timer(long nanoseconds)
{
    const long times[4] = { 0, 0, 0, nanoseconds }; /* no interval; first expiry, or 0 to disarm */

    if (resend_timer >= 0) {
        (void)syscall(SYS_timer_settime, resend_timer, 0, times, NULL);
    }
}

static void make_timer(void)
{
    struct sigevent event;

    memset(&event, 0, sizeof(event));
    event.sigev_notify = SIGEV_SIGNAL;
    event.sigev_signo = SIGCHLD;
    if (syscall(SYS_timer_create, CLOCK_MONOTONIC, &event, &resend_timer) != 0) {
        resend_timer = -1; /* then the end of a process may be noticed a second late */
    }
}

static void delete_timer(void)
{
    if (resend_timer >= 0) {
        (void)syscall(SYS_timer_delete, resend_timer);
    }
    resend_timer = -1;
}

/* ---- the handler */

/* Its mere existence ends the sleep of the MPM, which then reaps and calls APR's callbacks at once.
 */
static void on_sigchld(int number, siginfo_t *info, void *context)
{
    int error = errno;
    int unreaped = 0;
    int i;

    (void)number;
    (void)context;
    for (i = 0; i < note_count; i++) {
        if (!notes[i].pid) {
            continue;
        }
        if (info && info->si_pid == notes[i].pid
            && (info->si_code == CLD_EXITED || info->si_code == CLD_KILLED
                || info->si_code == CLD_DUMPED)) {
            take_note(&notes[i], info); /* not peek(): it may have been reaped already */
        }
        else {
            peek(&notes[i]);
        }
        unreaped |= notes[i].known && notes[i].resends++ < MOST_RESENDS;
    }
    if (unreaped) {
        set_timer(RESEND_DELAY);
    }
    errno = error;
}

static void set_handler(void)
{
    struct sigaction action;

    memset(&action, 0, sizeof(action));
    action.sa_sigaction = on_sigchld;
    /* SA_RESTART: sleeps still end early (signal(7)), but no other call of httpd is interrupted */
    action.sa_flags = SA_SIGINFO | SA_NOCLDSTOP | SA_RESTART;
    (void)sigemptyset(&action.sa_mask);
    handler_set = sigaction(SIGCHLD, &action, &previous) == 0;
    if (handler_set) {
        make_timer();
    }
}

/* The notes are complete before the handler is set. */
void wsgid_sigchld_begin(apr_pool_t *pconf, int most)
{
    notes = apr_pcalloc(pconf, (most + 1) * sizeof(*notes));
    note_count = most;
    set_handler();
}

void wsgid_sigchld_end(void)
{
    delete_timer();
    if (handler_set) {
        (void)sigaction(SIGCHLD, &previous, NULL);
    }
    handler_set = 0;
}

void wsgid_sigchld_wait_for(pid_t pid)
{
    while (waitpid(pid, NULL, 0) < 0 && errno == EINTR) {
        /* a signal, probably SIGCHLD */
    }
}
