/*
 * The parent: which process runs in which slot, and what happens when one ends.
 *
 * Rules:
 *
 *   - The parent does the least that it can. It has no timers and sleeps in the MPM's loop; it acts at start, at a
 *     restart, at the death of a child, at stop. A back-off is slept away by the forked process, readiness is seen in
 *     its page when there is cause to look, the predecessor is told to leave by its successor.
 *   - A slot is level-triggered: satisfy() looks at what is there and starts what is missing. Events only change
 *     states and call it.
 *   - The state of a process is changed by one function, step(), by one table.
 *   - httpd unloads this module on every restart, graceful or not, while slots and processes live on. So what is
 *     retained (slot_t, process_t) lives in pools below the process pool and holds no pointer into the module or into
 *     pconf, except the fields marked "this configuration only", which let_go() clears before the module is unloaded.
 *   - A child of httpd has a copy of all this. Nothing here may act in one: is_parent().
 *
 * Later: replacement on request (reload, recycling) only has to raise slot->wanted and call satisfy(); the place for
 * the child that wakes the parent for it is watch(), and the event for its death on_child().
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "spawn.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define RETAINED_KEY   "mod_wsgid.supervisor"
#define SEATS          2        /* a process and its successor; as many as a slot has pages */

/* Before ready: at once, then 1, 2, 4 .. 60 s. */
#define BACKOFF_FIRST  apr_time_from_sec(1)
#define BACKOFF_MOST   apr_time_from_sec(60)
/* Ready, but gone within a second of its start, again and again: the first few are replaced at once as any other
 * (somebody may be killing them to see what happens), then half a second between starts keeps an application that ends
 * itself from eating the machine. */
#define BRIEF_LIFE     apr_time_from_sec(1)
#define BRIEF_ALLOWED  4
#define BRIEF_DELAY    apr_time_from_msec(500)
/* Between two tries to fork when the system has no more processes or memory. */
#define FORK_RETRY     apr_time_from_sec(1)

#define SECONDS_ROOM   32       /* for seconds() */
#define NUDGE_DELAY    2000000  /* nanoseconds: the MPM usually reaps within one millisecond */
#define NUDGES         50       /* a graceful stop does not look for dead daemons: no use in going on */
#define STOP_LOOK      5000     /* microseconds between two looks while stopping; a daemon at rest leaves soon */

/* ------------------------------------------------------------------ what is kept */

typedef enum { VACANT, WAITING, BOOTING, READY, LEAVING, STATES } state_e;

typedef enum {
    DELAYED,                            /* forked, and to sleep first */
    LAUNCHED,                           /* forked, on its way; or its sleep is over */
    LOADED,                             /* its page says ready */
    DRAINING,                           /* its page says that it leaves: SIGTERM, or its leash was pulled */
    /* its successor is ready; it pulls the leash itself, unless it died on the way to it */
    REPLACED,
    UNWANTED,                           /* pull its leash */
    DIED,
    EVENTS
} event_e;

typedef struct slot_t slot_t;

/* A process, in one of the two seats of its slot; the seat's number is that of its page. */
typedef struct {
    slot_t *slot;
    state_e state;
    int has_been_ready;
    pid_t pid;
    int leash;                          /* write end, -1 once pulled */
    apr_time_t born;                    /* when its sleep, if any, was to end */
    unsigned serial;                    /* which of its slot's processes: the later the greater */
    apr_uint32_t configuration;         /* it was started for */
    apr_proc_t handle;                  /* APR keeps its address */
    apr_pool_t *watch;                  /* this configuration only: goes with it, or before */
} process_t;

struct slot_t {
    slot_t *next;
    apr_pool_t *pool;                   /* of this slot, below the process pool */
    const char *name;                   /* of its group */
    const char *label;
    const char *prefix;                 /* of its socket */
    const char *path;
    unsigned number;                    /* N in the socket's name: the same for all slots of a group */
    int index;                          /* which of the group's slots */
    int listener;
    wsgid_slot_t *memory;
    process_t seat[SEATS];
    wsgid_group_t *group;               /* this configuration only; NULL: no longer wanted */
    apr_uint32_t wanted;                /* a process started for this configuration or a later one is wanted */
    apr_uint32_t last_used;             /* last configuration that had it */
    unsigned started;                   /* processes so far */
    unsigned failures;                  /* deaths before ready, in a row */
    unsigned brief;                     /* ready but brief lives, in a row */
    apr_interval_time_t delay;          /* before the next start */
    apr_time_t fork_failed;
    apr_interval_time_t shutdown_timeout;
    int released;                       /* nobody can send to it any more: freed when its last process has died */
};

/* Which children of httpd may still use an older configuration. */
typedef struct generation_t generation_t;
struct generation_t {
    generation_t *next;
    ap_generation_t number;
    apr_uint32_t configuration;
    int children;                       /* 0: free to be used again */
};

typedef struct {
    pid_t parent;
    apr_uint32_t configuration;         /* counts the configurations */
    unsigned groups;                    /* numbers given to groups so far */
    slot_t *slots;
    generation_t *generations;
    struct sigaction sigchld;           /* as it was before ours */
    int handler_set;
} retained_t;

/* This configuration only, as all static data is: the module is loaded anew on each restart. */
static retained_t *retained;
static apr_pool_t *configuration_pool;
static server_rec *main_server;
static int stopping;
static pid_t broom;                     /* only under httpd -X */
static int broom_handle = -1;

static int is_parent(void)
{
    return retained && retained->parent == getpid();
}

/* ------------------------------------------------------------------ how a child died */

/*
 * APR tells a callback the exit code or the signal without saying which of the two. So how a process died is noted
 * before the MPM reaps it, by the handler of SIGCHLD, which looks at all that are watched, since several deaths may
 * make one signal.
 */
typedef struct {
    volatile pid_t pid;                 /* 0: free */
    volatile sig_atomic_t known;
    volatile int nudges;
    volatile int code;                  /* CLD_EXITED, CLD_KILLED, CLD_DUMPED */
    volatile int status;
} note_t;

static note_t *notes;                   /* in pconf; one for each seat of each slot */
static volatile int note_count;
static int nudge_timer = -1;

typedef struct {
    int code;                           /* as in note_t; 0 if nobody knows */
    int status;
} death_t;

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
    if (!note->known && waitid(P_PID, (id_t) note->pid, &info, WEXITED | WNOHANG | WNOWAIT) == 0
        && info.si_pid == note->pid) {
        take_note(note, &info);
    }
}

/*
 * Between the MPM's look for dead children and its sleep there is a moment in which a signal is lost on it, and the
 * sleep lasts a second (seen in one of ten deaths right after a fork, on a busy machine). So a timer repeats the
 * signal until the death is attended to. By system call: older C libraries have the function in a library of its own.
 */
static void set_timer(long nanoseconds)
{
    const long times[4] = { 0, 0, 0, nanoseconds };     /* interval, then first: none, or off */

    if (nudge_timer >= 0) {
        (void) syscall(SYS_timer_settime, nudge_timer, 0, times, NULL);
    }
}

static void make_timer(void)
{
    struct sigevent event;

    memset(&event, 0, sizeof(event));
    event.sigev_notify = SIGEV_SIGNAL;
    event.sigev_signo = SIGCHLD;
    if (syscall(SYS_timer_create, CLOCK_MONOTONIC, &event, &nudge_timer) != 0) {
        nudge_timer = -1;               /* then a death may be noticed a second late */
    }
}

static void delete_timer(void)
{
    if (nudge_timer >= 0) {
        (void) syscall(SYS_timer_delete, nudge_timer);
    }
    nudge_timer = -1;
}

/* Beyond noting, it only has to exist: it ends the sleep of the MPM, which then reaps and calls on_child() at once. */
static void on_sigchld(int number, siginfo_t *info, void *context)
{
    int error = errno;
    int unattended = 0;
    int i;

    (void) number;
    (void) context;
    for (i = 0; i < note_count; i++) {
        if (!notes[i].pid) {
            continue;
        }
        if (info && info->si_pid == notes[i].pid && (info->si_code == CLD_EXITED || info->si_code == CLD_KILLED
                                                     || info->si_code == CLD_DUMPED)) {
            take_note(&notes[i], info);         /* it may have been reaped already */
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
static void open_note(pid_t pid)
{
    note_t *note = find_note(0);

    if (note) {
        note->known = 0;
        note->nudges = 0;
        note->pid = pid;
        peek(note);
    }
}

static void close_note(pid_t pid)
{
    note_t *note = find_note(pid);

    if (note) {
        note->pid = 0;
    }
}

static death_t death_of_status(int status)
{
    death_t death = { 0, 0 };

    if (WIFEXITED(status)) {
        death.code = CLD_EXITED;
        death.status = WEXITSTATUS(status);
    }
    else if (WIFSIGNALED(status)) {
        death.code = WCOREDUMP(status) ? CLD_DUMPED : CLD_KILLED;
        death.status = WTERMSIG(status);
    }
    return death;
}

/* The note, or what can be said without one: 0 and our own codes can be no signals. */
static death_t death_noted(pid_t pid, int status)
{
    note_t *note = find_note(pid);
    death_t death = { 0, status };

    if (note && note->known) {
        death.code = note->code;
        death.status = note->status;
    }
    else if (status == 0 || (status >= WSGID_EXIT_PRIVILEGES && status <= WSGID_EXIT_INTERPRETER)) {
        death.code = CLD_EXITED;
    }
    return death;
}

static int was_exit(death_t death, int status)
{
    return death.code == CLD_EXITED && death.status == status;
}

static int was_signal(death_t death)
{
    return death.code == CLD_KILLED || death.code == CLD_DUMPED;
}

/* It did what it was asked to: by the leash, or by SIGTERM, SIGHUP or SIGINT, which have their default effect until
 * Python is up. */
static int was_polite(death_t death)
{
    return was_exit(death, 0)
        || (was_signal(death) && (death.status == SIGTERM || death.status == SIGHUP || death.status == SIGINT));
}

static const char *signal_name(apr_pool_t *p, int number)
{
    static const char *const names[] = {
        [SIGHUP] = "SIGHUP", [SIGINT] = "SIGINT", [SIGQUIT] = "SIGQUIT", [SIGILL] = "SIGILL", [SIGTRAP] = "SIGTRAP",
        [SIGABRT] = "SIGABRT", [SIGBUS] = "SIGBUS", [SIGFPE] = "SIGFPE", [SIGKILL] = "SIGKILL", [SIGUSR1] = "SIGUSR1",
        [SIGSEGV] = "SIGSEGV", [SIGUSR2] = "SIGUSR2", [SIGPIPE] = "SIGPIPE", [SIGALRM] = "SIGALRM",
        [SIGTERM] = "SIGTERM",
        [SIGXCPU] = "SIGXCPU", [SIGXFSZ] = "SIGXFSZ", [SIGSYS] = "SIGSYS"
    };

    if (number > 0 && number < (int) (sizeof(names) / sizeof(*names)) && names[number]) {
        return names[number];
    }
    return apr_psprintf(p, "%d", number);
}

static const char *exit_meaning(int code)
{
    switch (code) {
    case WSGID_EXIT_PRIVILEGES:    return " (privileges could not be dropped)";
    case WSGID_EXIT_EXEC:          return " (the interpreter could not be executed)";
    case WSGID_EXIT_CONFIGURATION: return " (its configuration is unusable)";
    case WSGID_EXIT_LOAD:          return " (the application could not be loaded)";
    case WSGID_EXIT_INTERPRETER:   return " (the interpreter is unsuitable)";
    default:                       return "";
    }
}

static const char *describe_death(apr_pool_t *p, death_t death)
{
    if (death.code == CLD_EXITED) {
        return apr_psprintf(p, "exit code %d%s", death.status, exit_meaning(death.status));
    }
    if (was_signal(death)) {
        return apr_psprintf(p, "signal %s%s", signal_name(p, death.status),
                            death.code == CLD_DUMPED ? " (core dumped)" : "");
    }
    return apr_psprintf(p, "exit code or signal %d", death.status);
}

/* ------------------------------------------------------------------ the state of a process */

typedef enum {
    IGNORE = 0,                         /* seen already, or too late to matter */
    MOVE,
    PULL,                               /* move, and pull the leash */
    IMPOSSIBLE                          /* a mistake of ours: logged */
} action_e;

typedef struct {
    action_e action;
    state_e next;
} transition_t;

#define TO(state) { MOVE, state }
#define LET_GO    { PULL, LEAVING }
#define STAY      { IGNORE, VACANT }
#define NEVER     { IMPOSSIBLE, VACANT }

static const transition_t transitions[STATES][EVENTS] = {
    /*             DELAYED      LAUNCHED     LOADED     DRAINING     REPLACED  UNWANTED  DIED */
    [VACANT]  = { TO(WAITING), TO(BOOTING), NEVER,     NEVER,       NEVER,    STAY,     NEVER },
    [WAITING] = { NEVER,       TO(BOOTING), TO(READY), TO(LEAVING), LET_GO,   LET_GO,   TO(VACANT) },
    [BOOTING] = { NEVER,       STAY,        TO(READY), TO(LEAVING), LET_GO,   LET_GO,   TO(VACANT) },
    [READY]   = { NEVER,       STAY,        STAY,      TO(LEAVING), LET_GO,   LET_GO,   TO(VACANT) },
    [LEAVING] = { NEVER,       STAY,        STAY,      STAY,        STAY,     STAY,     TO(VACANT) },
};

static const char *const state_names[STATES] = { "vacant", "waiting", "booting", "ready", "leaving" };
static const char *const event_names[EVENTS] = {
    "delayed", "launched", "loaded", "draining", "replaced", "unwanted", "died"
};

/* The server whose ErrorLog speaks of this slot. */
static server_rec *server_of(const slot_t *slot)
{
    return slot->group ? slot->group->server : main_server;
}

/* A byte, not only end-of-file: a successor may hold the write end too. A reader that has gone must not cost us a
 * SIGPIPE. */
static void pull_leash(process_t *process)
{
    struct sigaction ignore;
    struct sigaction before;
    ssize_t unused;

    if (process->leash < 0) {
        return;
    }
    memset(&ignore, 0, sizeof(ignore));
    ignore.sa_handler = SIG_IGN;
    (void) sigaction(SIGPIPE, &ignore, &before);
    unused = write(process->leash, "", 1);
    (void) unused;                      /* the pipe is empty, so it fails only if the reader has gone */
    (void) sigaction(SIGPIPE, &before, NULL);
    (void) close(process->leash);
    process->leash = -1;
}

/* The one place where a state changes. */
static void step(process_t *process, event_e event)
{
    const transition_t *transition = &transitions[process->state][event];
    const slot_t *slot = process->slot;

    if (transition->action == IGNORE) {
        return;
    }
    if (transition->action == IMPOSSIBLE) {
        ap_log_error(APLOG_MARK, APLOG_ERR, 0, server_of(slot), "WSGID0054: group '%s' slot %d: process %" APR_PID_T_FMT
                     " is %s and cannot be %s: a mistake in mod_wsgid, please report it", slot->label, slot->index,
                     process->pid, state_names[process->state], event_names[event]);
        return;
    }
    ap_log_error(APLOG_MARK, APLOG_DEBUG, 0, server_of(slot), "WSGID0053: group '%s' slot %d: process %" APR_PID_T_FMT
                 " was %s, is %s (%s)", slot->label, slot->index, process->pid, state_names[process->state],
                 state_names[transition->next], event_names[event]);
    process->state = transition->next;
    if (transition->action == PULL) {
        pull_leash(process);
    }
}

static int seat_number(const process_t *process)
{
    return (int) (process - process->slot->seat);
}

static process_t *other_seat(process_t *process)
{
    return &process->slot->seat[1 - seat_number(process)];
}

/* The forked process says when its sleep was over, which a changed script may have ended early. */
static void observe_wait(process_t *process)
{
    apr_time_t woke = wsgid_slots_next_try(process->slot->memory);
    apr_time_t now = apr_time_now();

    if (woke != process->born) {
        process->born = woke > 0 && woke < now ? woke : now;
        step(process, LAUNCHED);
    }
}

/* Catches up with what a process has done since somebody looked last. */
static void observe_process(process_t *process)
{
    wsgid_page_t page;

    if (process->state == VACANT) {
        return;
    }
    if (process->state == WAITING) {
        observe_wait(process);
    }
    wsgid_slots_read_page(process->slot->memory, seat_number(process), &page);
    if (page.state == WSGID_PAGE_BOOTING) {
        return;
    }
    process->has_been_ready = 1;
    step(process, page.state == WSGID_PAGE_READY ? LOADED : DRAINING);
}

/* Who of the two came later. */
static process_t *youngest(slot_t *slot)
{
    process_t *a = &slot->seat[0];
    process_t *b = &slot->seat[1];

    if (a->state == VACANT || b->state == VACANT) {
        return a->state != VACANT ? a : b;
    }
    return a->serial > b->serial ? a : b;
}

static void observe(slot_t *slot)
{
    process_t *young = youngest(slot);

    observe_process(&slot->seat[0]);
    observe_process(&slot->seat[1]);
    if (young->state == READY && other_seat(young)->state != VACANT) {
        step(other_seat(young), REPLACED);
    }
}

/* ------------------------------------------------------------------ watching */

static void on_child(int reason, void *data, int status);

/* A pool of its own, so that a process that comes and goes leaves nothing in pconf. */
static void watch(process_t *process)
{
    apr_pool_create(&process->watch, configuration_pool);
    memset(&process->handle, 0, sizeof(process->handle));
    process->handle.pid = process->pid;
    open_note(process->pid);
    apr_proc_other_child_register(&process->handle, on_child, process, NULL, process->watch);
}

static void unwatch(process_t *process)
{
    close_note(process->pid);
    if (process->watch) {
        apr_pool_destroy(process->watch);
    }
    process->watch = NULL;
}

/* ------------------------------------------------------------------ starting */

static apr_status_t make_leash(int *read_end, int *write_end)
{
    int ends[2];

    if (pipe2(ends, O_CLOEXEC) != 0) {
        return errno;
    }
    *read_end = ends[0];
    *write_end = ends[1];
    return APR_SUCCESS;
}

/* "2", "0.5" */
static const char *seconds(char *text, apr_size_t room, apr_interval_time_t interval)
{
    apr_snprintf(text, room, interval % APR_USEC_PER_SEC ? "%.1f" : "%.0f", (double) interval / APR_USEC_PER_SEC);
    return text;
}

static void log_start(const process_t *process, apr_interval_time_t delay, const process_t *predecessor)
{
    const slot_t *slot = process->slot;
    char number[SECONDS_ROOM];
    char in[48] = "";
    char of[48] = "";

    if (delay > 0) {
        apr_snprintf(in, sizeof(in), ", to begin in %s s", seconds(number, sizeof(number), delay));
    }
    if (predecessor) {
        apr_snprintf(of, sizeof(of), ", successor of process %" APR_PID_T_FMT, predecessor->pid);
    }
    ap_log_error(APLOG_MARK, APLOG_INFO, 0, server_of(slot), "WSGID0050: group '%s' slot %d: process %" APR_PID_T_FMT
                 " started%s%s", slot->label, slot->index, process->pid, in, of);
}

/* The forked process may be quick, so what is said of the slot is said before. */
static apr_status_t fork_process(process_t *process, process_t *predecessor, int page, int leash)
{
    slot_t *slot = process->slot;
    wsgid_spawn_t spawn = {
        .group = slot->group, .slot = slot->index, .listener = slot->listener, .leash = leash, .page = page,
        .predecessor = predecessor ? predecessor->leash : -1, .delay = slot->delay
    };
    apr_pool_t *pool;
    apr_status_t status;

    apr_pool_create(&pool, configuration_pool);
    process->born = apr_time_now() + slot->delay;
    wsgid_slots_set_phase(slot->memory, slot->delay > 0 ? WSGID_SLOT_WAITING : WSGID_SLOT_BOOTING,
                          slot->delay > 0 ? process->born : 0);
    status = wsgid_spawn(&process->pid, &spawn, pool);
    apr_pool_destroy(pool);
    return status;
}

static void fail_to_start(slot_t *slot, apr_status_t status)
{
    slot->fork_failed = apr_time_now();
    wsgid_slots_set_phase(slot->memory, WSGID_SLOT_WAITING, slot->fork_failed + FORK_RETRY);
    ap_log_error(APLOG_MARK, APLOG_CRIT, status, server_of(slot), "WSGID0055: group '%s' slot %d: no process can be "
                 "started: look at the limits of processes, memory and open files of httpd; it is tried again when "
                 "httpd has something to do",
                 slot->label, slot->index);
}

static void launch(process_t *process, process_t *predecessor)
{
    slot_t *slot = process->slot;
    int seat = -1;
    int leash = -1;
    int page = wsgid_slots_fresh_page(slot->memory, &seat);
    apr_status_t status = page < 0 ? APR_EGENERAL : make_leash(&leash, &process->leash);

    if (status == APR_SUCCESS) {
        status = fork_process(process, predecessor, page, leash);
        (void) close(leash);
    }
    if (status != APR_SUCCESS) {
        if (process->leash >= 0) {
            (void) close(process->leash);
        }
        process->leash = -1;
        wsgid_slots_retire_page(slot->memory, seat_number(process));
        fail_to_start(slot, status);
        return;
    }
    process->configuration = retained->configuration;
    process->serial = ++slot->started;
    process->has_been_ready = 0;
    step(process, slot->delay > 0 ? DELAYED : LAUNCHED);
    log_start(process, slot->delay, predecessor);
    watch(process);
}

/* httpd is about to stop or to restart: no moment to start anything. */
static int is_stopping(void)
{
    int state;

    return stopping || (ap_mpm_query(AP_MPMQ_MPM_STATE, &state) == APR_SUCCESS && state == AP_MPMQ_STOPPING);
}

static int is_satisfied(const process_t *process)
{
    return process->state != VACANT && process->state != LEAVING && process->configuration >= process->slot->wanted;
}

/* What does not serve has nothing to finish: a signal takes it out of a long import. If it is ready this very moment,
 * the signal asks no more than the leash does. */
static void ask_to_leave(process_t *process)
{
    if (process->state == WAITING || process->state == BOOTING) {
        (void) kill(process->pid, SIGTERM);
    }
    step(process, UNWANTED);
}

/* Both seats are taken and neither by what is wanted: one that sleeps, or is on its way while the other serves, gives
 * way. Otherwise nobody can be spared, and the wanted one starts when a seat is free. */
static void make_room(slot_t *slot)
{
    int seat;

    for (seat = 0; seat < SEATS; seat++) {
        process_t *process = &slot->seat[seat];
        if (process->state == WAITING || (process->state == BOOTING && other_seat(process)->state == READY)) {
            ask_to_leave(process);
        }
    }
}

/* Starts what the slot lacks: a process for the current configuration, as the successor of one that serves. */
static void satisfy(slot_t *slot)
{
    process_t *vacant;
    process_t *other;

    if (!slot->group || is_stopping() || apr_time_now() < slot->fork_failed + FORK_RETRY) {
        return;
    }
    observe(slot);
    if (is_satisfied(&slot->seat[0]) || is_satisfied(&slot->seat[1])) {
        return;
    }
    vacant = slot->seat[0].state == VACANT ? &slot->seat[0] : &slot->seat[1];
    if (vacant->state != VACANT) {
        make_room(slot);
        return;
    }
    other = other_seat(vacant);
    if (other->state == WAITING) {
        step(other, UNWANTED);          /* it sleeps for a configuration of the past */
    }
    launch(vacant, other->state == BOOTING || other->state == READY ? other : NULL);
}

static void satisfy_all(void)
{
    slot_t *slot;

    for (slot = retained->slots; slot; slot = slot->next) {
        satisfy(slot);
    }
}

/* ------------------------------------------------------------------ slots that nobody wants any more */

static int is_empty(const slot_t *slot)
{
    return slot->seat[0].state == VACANT && slot->seat[1].state == VACANT;
}

static void close_listener(slot_t *slot)
{
    if (slot->listener >= 0) {
        (void) close(slot->listener);
        (void) unlink(slot->path);      /* whoever removed it before us did our work */
    }
    slot->listener = -1;
}

static void free_slot(slot_t *slot)
{
    slot_t **link;

    for (link = &retained->slots; *link; link = &(*link)->next) {
        if (*link == slot) {
            *link = slot->next;
            break;
        }
    }
    close_listener(slot);
    if (slot->memory) {
        wsgid_slots_destroy(slot->memory);
    }
    apr_pool_destroy(slot->pool);
}

/* Whether a child of httpd lives whose configuration knows the slot. */
static int is_in_use(const slot_t *slot)
{
    const generation_t *generation;

    for (generation = retained->generations; generation; generation = generation->next) {
        if (generation->children > 0 && generation->configuration <= slot->last_used) {
            return 1;
        }
    }
    return 0;
}

/* Its processes finish what they have read; what is left in the backlog has nobody who waits for it. */
static void release(slot_t *slot)
{
    slot->released = 1;
    close_listener(slot);
    step(&slot->seat[0], UNWANTED);
    step(&slot->seat[1], UNWANTED);
    if (is_empty(slot)) {
        free_slot(slot);
    }
}

static void release_unused(void)
{
    slot_t *slot;
    slot_t *next;

    for (slot = retained->slots; slot; slot = next) {
        next = slot->next;
        if (!slot->group && !slot->released && !is_in_use(slot)) {
            release(slot);
        }
    }
}

static generation_t *find_generation(ap_generation_t number)
{
    generation_t *generation;

    for (generation = retained->generations; generation; generation = generation->next) {
        if (generation->children > 0 && generation->number == number) {
            return generation;
        }
    }
    return NULL;
}

/* A record that is free is used again, so that restarts cost no memory. */
static generation_t *open_generation(ap_generation_t number)
{
    generation_t *generation = retained->generations;

    while (generation && generation->children > 0) {
        generation = generation->next;
    }
    if (!generation) {
        generation = apr_pcalloc(main_server->process->pool, sizeof(*generation));
        generation->next = retained->generations;
        retained->generations = generation;
    }
    generation->number = number;
    generation->configuration = retained->configuration;        /* children are only ever started for the current one */
    return generation;
}

void wsgid_supervisor_child_status(server_rec *s, ap_generation_t number, mpm_child_status status)
{
    generation_t *generation;

    (void) s;
    if (!is_parent()) {
        return;
    }
    generation = find_generation(number);
    if (status == MPM_CHILD_STARTED) {
        generation = generation ? generation : open_generation(number);
        generation->children++;
    }
    else if (status == MPM_CHILD_EXITED && generation && --generation->children == 0) {
        release_unused();
    }
}

/* The count of children says the same; but core's own count may come before or after ours. */
int wsgid_supervisor_end_generation(server_rec *s, ap_generation_t number)
{
    (void) s;
    (void) number;
    if (is_parent()) {
        release_unused();
        satisfy_all();
    }
    return OK;
}

/* ------------------------------------------------------------------ a death */

static apr_interval_time_t back_off(unsigned failures)
{
    apr_interval_time_t delay = BACKOFF_FIRST;

    if (failures <= 1) {
        return 0;
    }
    while (--failures > 1 && delay < BACKOFF_MOST) {
        delay *= 2;
    }
    return delay < BACKOFF_MOST ? delay : BACKOFF_MOST;
}

/* What this death means for the next start. Being asked to leave, or killed in its sleep, is no failure. */
static void count_death(slot_t *slot, const process_t *process, apr_interval_time_t life)
{
    if (process->has_been_ready) {
        slot->failures = 0;
        slot->brief = life < BRIEF_LIFE ? slot->brief + 1 : 0;
        slot->delay = slot->brief > BRIEF_ALLOWED ? BRIEF_DELAY : 0;
    }
    else if (process->state == BOOTING) {
        slot->delay = back_off(++slot->failures);
    }
}

static const char *describe_start(apr_pool_t *p, const slot_t *slot)
{
    char number[SECONDS_ROOM];

    if (slot->delay <= 0) {
        return "started again at once";
    }
    return apr_psprintf(p, "next try in %s s", seconds(number, sizeof(number), slot->delay));
}

/* What happens next, for the line about a death. */
static const char *describe_next(apr_pool_t *p, slot_t *slot, process_t *dead, int was_successor)
{
    const process_t *other = other_seat(dead);

    if (!slot->group) {
        return "its group is no longer configured";
    }
    if (is_satisfied(other)) {
        return apr_psprintf(p, "process %" APR_PID_T_FMT " %s", other->pid,
                            other->state == READY ? "has taken its place" : "is on its way to take its place");
    }
    if (is_stopping()) {
        return "httpd is stopping or restarting";
    }
    if (was_successor && other->state == READY) {
        return apr_psprintf(p, "process %" APR_PID_T_FMT " goes on serving, %s", other->pid, describe_start(p, slot));
    }
    return describe_start(p, slot);
}

/* One line: who, how long it lived, how it ended, what comes next. It is an error unless somebody asked for it. */
static void log_death(const process_t *process, death_t death, const char *who, const char *how)
{
    server_rec *server = server_of(process->slot);

    if (was_polite(death) && (process->has_been_ready || process->state == LEAVING || was_signal(death))) {
        ap_log_error(APLOG_MARK, APLOG_INFO, 0, server, "WSGID0051: %s left %s", who, how);
    }
    else if (process->has_been_ready) {
        ap_log_error(APLOG_MARK, APLOG_ERR, 0, server, "WSGID0052: %s died %s", who, how);
    }
    else if (process->state == WAITING) {
        ap_log_error(APLOG_MARK, APLOG_WARNING, 0, server, "WSGID0057: %s died before its wait was over, %s", who, how);
    }
    else {
        ap_log_error(APLOG_MARK, APLOG_ERR, 0, server, "WSGID0056: %s ended before it was ready, %s", who, how);
    }
}

static void report(slot_t *slot, process_t *process, death_t death, apr_interval_time_t life, int was_successor)
{
    apr_pool_t *pool;
    const char *who;
    const char *how;

    apr_pool_create(&pool, configuration_pool);
    who = apr_psprintf(pool, "group '%s' slot %d: process %" APR_PID_T_FMT, slot->label, slot->index, process->pid);
    how = apr_psprintf(pool, "after %.3f s: %s; %s", (double) life / APR_USEC_PER_SEC, describe_death(pool, death),
                       describe_next(pool, slot, process, was_successor));
    log_death(process, death, who, how);
    apr_pool_destroy(pool);
}

static void vacate(process_t *process)
{
    slot_t *slot = process->slot;

    step(process, DIED);
    unwatch(process);
    if (process->leash >= 0) {
        (void) close(process->leash);
    }
    process->leash = -1;
    process->pid = 0;
    wsgid_slots_retire_page(slot->memory, seat_number(process));
    if (is_empty(slot)) {
        wsgid_slots_set_phase(slot->memory, WSGID_SLOT_DOWN, 0);
    }
}

/* All that follows from a death: the process is reaped, and this is known to nobody else. */
static void bury(process_t *process, death_t death)
{
    slot_t *slot = process->slot;
    apr_interval_time_t life = apr_time_now() - process->born;
    int was_successor;

    observe(slot);
    was_successor = youngest(slot) == process;
    life = life > 0 ? life : 0;
    count_death(slot, process, life);
    report(slot, process, death, life, was_successor);
    vacate(process);
    if (slot->released && is_empty(slot)) {
        free_slot(slot);
        return;
    }
    satisfy(slot);
}

/* APR's callback. Unregistering, which happens before the module is unloaded, changes nothing for the process. */
static void on_child(int reason, void *data, int status)
{
    process_t *process = data;

    if (reason == APR_OC_REASON_UNREGISTER) {
        process->watch = NULL;
    }
    else if ((reason == APR_OC_REASON_DEATH || reason == APR_OC_REASON_LOST) && is_parent()) {
        bury(process, death_noted(process->pid, status));
        satisfy_all();                  /* a fork that failed before may succeed now */
    }
}

/* Deaths that nobody saw, because the module was not loaded at that moment, or because httpd is stopping. */
static void reap(process_t *process)
{
    death_t unknown = { 0, -1 };
    int status;
    pid_t pid;

    if (process->state == VACANT) {
        return;
    }
    pid = waitpid(process->pid, &status, WNOHANG);
    if (pid == process->pid) {
        bury(process, death_of_status(status));
    }
    else if (pid < 0 && errno == ECHILD) {
        bury(process, unknown);
    }
}

/* bury() may free a slot that was released. */
static void reap_all(void)
{
    slot_t *slot;
    slot_t *next;

    for (slot = retained->slots; slot; slot = next) {
        int is_last_seat_taken = slot->seat[1].state != VACANT;
        next = slot->next;
        reap(&slot->seat[0]);
        if (is_last_seat_taken) {
            reap(&slot->seat[1]);
        }
    }
}

/* ------------------------------------------------------------------ stop */

static void wait_for(pid_t pid)
{
    while (waitpid(pid, NULL, 0) < 0 && errno == EINTR) {
        /* our handler of SIGCHLD */
    }
}

static void kill_late(process_t *process, apr_interval_time_t since)
{
    const slot_t *slot = process->slot;
    char number[SECONDS_ROOM];

    if (process->state == VACANT || since < slot->shutdown_timeout) {
        return;
    }
    ap_log_error(APLOG_MARK, APLOG_WARNING, 0, server_of(slot), "WSGID0058: group '%s' slot %d: process %" APR_PID_T_FMT
                 " did not leave within shutdown-timeout (%s s) and is killed: a request or a thread "
                 "of the application did not end",
                 slot->label, slot->index, process->pid, seconds(number, sizeof(number), slot->shutdown_timeout));
    /* under -X we are no longer root: then it is left to its own shutdown-timeout */
    if (kill(process->pid, SIGKILL) == 0) {
        wait_for(process->pid);
    }
    vacate(process);
}

static int is_all_gone(void)
{
    slot_t *slot;

    for (slot = retained->slots; slot; slot = slot->next) {
        if (!is_empty(slot)) {
            return 0;
        }
    }
    return 1;
}

static void wait_until_gone(void)
{
    apr_time_t begun = apr_time_now();
    slot_t *slot;

    for (reap_all(); !is_all_gone(); reap_all()) {
        for (slot = retained->slots; slot; slot = slot->next) {
            kill_late(&slot->seat[0], apr_time_now() - begun);
            kill_late(&slot->seat[1], apr_time_now() - begun);
        }
        apr_sleep(STOP_LOOK);
    }
}

/*
 * Under httpd -X the parent itself becomes httpd's User, who must not, and so cannot, remove anything in the directory
 * of the sockets. So a root process is forked that waits for the other end of its pipe to close, however the parent
 * ends, and removes them then.
 */
static void sweep_up(int pipe_end) __attribute__((noreturn));

static void sweep_up(int pipe_end)
{
    static const int ignored[] = { SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1, SIGPIPE };
    const slot_t *slot;
    apr_size_t i;
    char byte;

    for (i = 0; i < sizeof(ignored) / sizeof(*ignored); i++) {
        (void) signal(ignored[i], SIG_IGN);     /* Ctrl-C is meant for the parent; its end is what counts */
    }
    while (read(pipe_end, &byte, 1) < 0 && errno == EINTR) {
        /* some signal or other */
    }
    for (slot = retained->slots; slot; slot = slot->next) {
        (void) unlink(slot->path);
    }
    _exit(0);
}

static void hire_broom(void)
{
    int ends[2];

    if (geteuid() != 0 || !(ap_exists_config_define("DEBUG") || ap_exists_config_define("ONE_PROCESS"))
        || pipe2(ends, O_CLOEXEC) != 0) {
        return;                         /* at worst the next start removes the files */
    }
    broom = fork();
    if (broom == 0) {
        (void) close(ends[1]);
        sweep_up(ends[0]);
    }
    (void) close(ends[0]);
    broom_handle = ends[1];
}

static void dismiss_broom(void)
{
    if (broom_handle >= 0) {
        (void) close(broom_handle);
    }
    broom_handle = -1;
    if (broom > 0) {
        wait_for(broom);
    }
    broom = 0;
}

/* The end of httpd: no process, no socket is left. */
static apr_status_t stop(void *unused)
{
    slot_t *slot;

    (void) unused;
    if (!is_parent()) {
        return APR_SUCCESS;
    }
    stopping = 1;
    for (slot = retained->slots; slot; slot = slot->next) {
        observe(slot);
        ask_to_leave(&slot->seat[0]);
        ask_to_leave(&slot->seat[1]);
    }
    wait_until_gone();
    while (retained->slots) {
        free_slot(retained->slots);
    }
    dismiss_broom();
    return APR_SUCCESS;
}

/* ------------------------------------------------------------------ this configuration begins and ends */

static void set_handler(void)
{
    struct sigaction action;

    memset(&action, 0, sizeof(action));
    action.sa_sigaction = on_sigchld;
    /* SA_RESTART: a sleep ends all the same (signal(7)), but no other call of httpd's is disturbed. */
    action.sa_flags = SA_SIGINFO | SA_NOCLDSTOP | SA_RESTART;
    (void) sigemptyset(&action.sa_mask);
    retained->handler_set = sigaction(SIGCHLD, &action, &retained->sigchld) == 0;
    if (retained->handler_set) {
        make_timer();
    }
}

static void remove_handler(void)
{
    delete_timer();
    if (retained->handler_set) {
        (void) sigaction(SIGCHLD, &retained->sigchld, NULL);
    }
    retained->handler_set = 0;
}

/* Cleanup of pconf, before the module is unloaded: afterwards nothing points into it or into pconf. Whatever lives
 * goes on living. */
static apr_status_t let_go(void *data)
{
    server_rec *s = data;
    slot_t *slot;

    if (!is_parent()) {
        return APR_SUCCESS;
    }
    remove_handler();
    apr_pool_cleanup_kill(s->process->pool, retained, stop);
    for (slot = retained->slots; slot; slot = slot->next) {
        slot->group = NULL;
        unwatch(&slot->seat[0]);
        unwatch(&slot->seat[1]);
    }
    return APR_SUCCESS;
}

static void begin_configuration(apr_pool_t *pconf, server_rec *s)
{
    retained = ap_retained_data_get(RETAINED_KEY);
    if (!retained) {
        retained = ap_retained_data_create(RETAINED_KEY, sizeof(*retained));
    }
    retained->parent = getpid();
    retained->configuration++;
    configuration_pool = pconf;
    main_server = s;
    apr_pool_cleanup_register(pconf, s, let_go, apr_pool_cleanup_null);
    /* Before the pools below are gone, so that the logs are open and the module is loaded. let_go() takes it back. */
    apr_pool_pre_cleanup_register(s->process->pool, retained, stop);
}

/* ------------------------------------------------------------------ slots of a configuration */

static slot_t *find_slot(const wsgid_group_t *group, const char *prefix, int index)
{
    slot_t *slot;

    for (slot = retained->slots; slot; slot = slot->next) {
        if (!slot->released && slot->index == index && !strcmp(slot->name, group->name)
            && !strcmp(slot->prefix, prefix)) {
            return slot;
        }
    }
    return NULL;
}

static unsigned number_of(const wsgid_group_t *group)
{
    const slot_t *slot;

    for (slot = retained->slots; slot; slot = slot->next) {
        if (!slot->released && !strcmp(slot->name, group->name)) {
            return slot->number;
        }
    }
    return ++retained->groups;
}

/* In the order of the configuration. */
static void append_slot(slot_t *slot)
{
    slot_t **link = &retained->slots;

    while (*link) {
        link = &(*link)->next;
    }
    *link = slot;
}

static slot_t *new_slot(const wsgid_group_t *group, const char *prefix, int index)
{
    apr_pool_t *pool;
    slot_t *slot;

    apr_pool_create(&pool, main_server->process->pool);
    slot = apr_pcalloc(pool, sizeof(*slot));
    slot->pool = pool;
    slot->name = apr_pstrdup(pool, group->name);
    slot->label = apr_pstrdup(pool, group->label);
    slot->prefix = apr_pstrdup(pool, prefix);
    slot->number = number_of(group);
    slot->index = index;
    slot->path = wsgid_listener_path(pool, prefix, slot->number, index);
    slot->listener = -1;
    slot->seat[0].slot = slot->seat[1].slot = slot;
    slot->seat[0].leash = slot->seat[1].leash = -1;
    append_slot(slot);
    return slot;
}

static apr_status_t open_slot(slot_t *slot, const wsgid_group_t *group)
{
    struct sockaddr_un address;
    apr_status_t status = wsgid_slots_create(&slot->memory, slot->pool);

    if (status != APR_SUCCESS) {
        return status;
    }
    status = wsgid_listener_open(slot->pool, slot->path, (uid_t) WSGID_NUMBER(group, SOCKET_USER),
                                 (int) WSGID_NUMBER(group, LISTEN_BACKLOG), &slot->listener, &address);
    if (status == APR_SUCCESS) {
        wsgid_slots_set_address(slot->memory, &address);
    }
    return status;
}

static apr_status_t open_or_adapt(slot_t *slot, const wsgid_group_t *group)
{
    if (slot->listener < 0) {
        return open_slot(slot, group);
    }
    return wsgid_listener_adapt(slot->path, (uid_t) WSGID_NUMBER(group, SOCKET_USER),
                                (int) WSGID_NUMBER(group, LISTEN_BACKLOG), slot->listener);
}

/* From now on the slot is this group's, and a process of this configuration is wanted in it. */
static void attach(slot_t *slot, wsgid_group_t *group)
{
    slot->group = group;
    slot->wanted = slot->last_used = retained->configuration;
    slot->failures = slot->brief = 0;
    slot->delay = 0;
    slot->fork_failed = 0;
    slot->shutdown_timeout = WSGID_NUMBER(group, SHUTDOWN_TIMEOUT);
    group->slots[slot->index] = slot->memory;
}

static int prepare_slot(wsgid_group_t *group, const char *prefix, int index)
{
    slot_t *slot = find_slot(group, prefix, index);
    apr_status_t status;

    if (!slot) {
        slot = new_slot(group, prefix, index);
    }
    status = open_or_adapt(slot, group);
    if (status != APR_SUCCESS) {
        ap_log_error(APLOG_MARK, APLOG_CRIT, status, main_server, "WSGID0060: group '%s' slot %d: its socket %s cannot "
                     "be made: look at the directory, at WSGISocketPrefix, and at the limits of memory and open files",
                     slot->label, index, slot->path);
        return HTTP_INTERNAL_SERVER_ERROR;
    }
    attach(slot, group);
    return OK;
}

static int prepare_group(apr_pool_t *pconf, wsgid_group_t *group, const char *prefix)
{
    int index;
    int result = OK;

    group->slot_count = (int) WSGID_NUMBER(group, PROCESSES);
    group->slots = apr_pcalloc(pconf, group->slot_count * sizeof(*group->slots));
    for (index = 0; index < group->slot_count && result == OK; index++) {
        result = prepare_slot(group, prefix, index);
    }
    return result;
}

static const char *socket_prefix(apr_pool_t *p, server_rec *s)
{
    const wsgid_server_config_t *configuration = ap_get_module_config(s->module_config, &wsgid_module);

    return configuration && configuration->socket_prefix ? configuration->socket_prefix
                                                         : ap_runtime_dir_relative(p, "wsgid");
}

static int prepare_directory(apr_pool_t *p, const char *prefix)
{
    const char *wrong = prefix ? wsgid_listener_check_directory(p, prefix) : "DefaultRuntimeDir is no directory";

    if (wrong) {
        ap_log_error(APLOG_MARK, APLOG_CRIT, 0, main_server, "WSGID0061: sockets cannot be made under this prefix: %s: "
                     "set WSGISocketPrefix to a path in a directory of root's", wrong);
        return HTTP_INTERNAL_SERVER_ERROR;
    }
    if (!retained->slots) {
        wsgid_listener_sweep(p, main_server, prefix);
    }
    return OK;
}

static int prepare_groups(apr_pool_t *pconf, apr_pool_t *ptemp)
{
    const apr_array_header_t *groups = wsgid_groups_all();
    const char *prefix = socket_prefix(ptemp, main_server);
    int result;
    int i;

    if (!groups || !groups->nelts) {
        return OK;
    }
    result = prepare_directory(ptemp, prefix);
    for (i = 0; i < groups->nelts && result == OK; i++) {
        result = prepare_group(pconf, APR_ARRAY_IDX(groups, i, wsgid_group_t *), prefix);
    }
    return result;
}

/* A note for each seat; the handler must not see half of it. */
static void make_notes(apr_pool_t *pconf)
{
    const slot_t *slot;
    int count = 0;

    for (slot = retained->slots; slot; slot = slot->next) {
        count += SEATS;
    }
    notes = apr_pcalloc(pconf, (count + 1) * sizeof(*notes));
    note_count = count;
}

static void watch_survivors(void)
{
    slot_t *slot;
    int seat;

    for (slot = retained->slots; slot; slot = slot->next) {
        for (seat = 0; seat < SEATS; seat++) {
            if (slot->seat[seat].state != VACANT && !slot->seat[seat].watch) {
                watch(&slot->seat[seat]);
            }
        }
    }
}

int wsgid_supervisor_post_config(apr_pool_t *pconf, apr_pool_t *ptemp, server_rec *s)
{
    int result;

    if (ap_state_query(AP_SQ_MAIN_STATE) == AP_SQ_MS_CREATE_PRE_CONFIG) {
        return OK;                      /* httpd reads its configuration twice when it starts */
    }
    begin_configuration(pconf, s);
    result = prepare_groups(pconf, ptemp);
    if (result != OK) {
        return result;
    }
    make_notes(pconf);
    set_handler();
    reap_all();
    watch_survivors();
    satisfy_all();
    release_unused();
    hire_broom();
    return OK;
}

/* ------------------------------------------------------------------ in a child of httpd */

static void close_seat(process_t *process)
{
    if (process->leash >= 0) {
        (void) close(process->leash);   /* or a daemon would not notice that the parent has died */
    }
    process->leash = -1;
}

void wsgid_supervisor_child_init(apr_pool_t *pchild, server_rec *s)
{
    slot_t *slot;

    (void) s;
    if (!retained) {
        return;
    }
    if (is_parent()) {                  /* httpd -X: it ends without the cleanups of its outer pools */
        apr_pool_cleanup_register(pchild, retained, stop, apr_pool_cleanup_null);
        return;
    }
    (void) signal(SIGCHLD, SIG_DFL);
    for (slot = retained->slots; slot; slot = slot->next) {
        close_seat(&slot->seat[0]);
        close_seat(&slot->seat[1]);
        if (slot->listener >= 0) {
            (void) close(slot->listener);
        }
        slot->listener = -1;
        wsgid_slots_close_descriptors(slot->memory);
    }
}
