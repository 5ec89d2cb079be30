/*
 * Hearing of the death of a daemon at once, and of how it died.
 *
 * APR tells a callback the exit code or the signal without saying which of the two. So how a
 * process died is noted before the MPM reaps it, by the handler of SIGCHLD, which looks at all that
 * are watched, since several deaths may make one signal.
 *
 * The handler only takes notes and arms the timer: everything else happens outside of it. Both are
 * taken down before the module is unloaded, so that all of this lives as long as one configuration.
 */
#include "supervisor/supervisor.h"

#include <signal.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define NUDGE_DELAY 2000000 /* nanoseconds: the MPM usually reaps within one millisecond */
#define NUDGES      50      /* a graceful stop does not look for dead daemons: no use in going on */

typedef struct {
    volatile pid_t pid; /* 0: free */
    volatile sig_atomic_t known;
    volatile int nudges;
    volatile int code; /* CLD_EXITED, CLD_KILLED, CLD_DUMPED */
    volatile int status;
} note_t;

static note_t *notes; /* in pconf; one for each entry of each slot */
static volatile int note_count;
static int nudge_timer = -1;
static struct sigaction before_ours; /* what SIGCHLD did */
static int handler_set;

/* ---- notes */

static void take_note(note_t *note, const siginfo_t *info)
{
    note->code = info->si_code;
    note->status = info->si_status;
    note->known = 1;
}

/* Notes how a process died that is dead but not reaped. */
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

/* It may have died before it had a note, so a look follows. */
void wsgid_sigchld_watch(pid_t pid)
{
    note_t *note = find_note(0);

    if (note) {
        note->known = 0;
        note->nudges = 0;
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

/* The note, or what can be said without one: 0 and our own codes can be no signals. */
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
 * Between the MPM's look for dead children and its sleep there is a moment in which a signal is
 * lost on it, and the sleep lasts a second (seen in one of ten deaths right after a fork, on a busy
 * machine). So a timer repeats the signal until the death is attended to. By system call: older C
 * libraries have the function in a library of its own.
 */
static void set_timer(long nanoseconds)
{
    const long times[4] = { 0, 0, 0, nanoseconds }; /* interval, then first: none, or off */

    if (nudge_timer >= 0) {
        (void)syscall(SYS_timer_settime, nudge_timer, 0, times, NULL);
    }
}

static void make_timer(void)
{
    struct sigevent event;

    memset(&event, 0, sizeof(event));
    event.sigev_notify = SIGEV_SIGNAL;
    event.sigev_signo = SIGCHLD;
    if (syscall(SYS_timer_create, CLOCK_MONOTONIC, &event, &nudge_timer) != 0) {
        nudge_timer = -1; /* then a death may be noticed a second late */
    }
}

static void delete_timer(void)
{
    if (nudge_timer >= 0) {
        (void)syscall(SYS_timer_delete, nudge_timer);
    }
    nudge_timer = -1;
}

/* ---- the handler */

/* Beyond noting, it only has to exist: it ends the sleep of the MPM, which then reaps and calls
 * on_child() at once. */
static void on_sigchld(int number, siginfo_t *info, void *context)
{
    int error = errno;
    int unattended = 0;
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
            take_note(&notes[i], info); /* it may have been reaped already */
        }
        else {
            peek(&notes[i]);
        }
        unattended |= notes[i].known && notes[i].nudges++ < NUDGES;
    }
    if (unattended) {
        set_timer(NUDGE_DELAY);
    }
    errno = error;
}

static void set_handler(void)
{
    struct sigaction action;

    memset(&action, 0, sizeof(action));
    action.sa_sigaction = on_sigchld;
    /* SA_RESTART: a sleep ends all the same (signal(7)), but no other call of httpd's is disturbed.
     */
    action.sa_flags = SA_SIGINFO | SA_NOCLDSTOP | SA_RESTART;
    (void)sigemptyset(&action.sa_mask);
    handler_set = sigaction(SIGCHLD, &action, &before_ours) == 0;
    if (handler_set) {
        make_timer();
    }
}

/* The handler must not see half of it. */
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
        (void)sigaction(SIGCHLD, &before_ours, NULL);
    }
    handler_set = 0;
}
