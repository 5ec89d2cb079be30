/*
 * The wake-up pipe: how httpd's parent learns at once that a daemon has something to report.
 *
 * The only event that httpd reports to a module in the parent is the end of a child. So the parent
 * has one tiny child, the wake-up process, which sleeps on a pipe. Every daemon has the write end.
 * A byte makes the wake-up process exit; then the parent reads the daemons' statistics pages
 * (supervisor.c) and forks the wake-up process again. The byte itself means nothing: what has
 * changed is in the pages.
 *
 * The wake-up process also cleans up: if the parent ends without its pool cleanups (kill -9, or
 * a restart with a broken configuration), it removes the sockets that the parent has left.
 *
 * It never logs and never returns into httpd. Pipe and pid are kept over restarts. The wake-up
 * process outlives a restart, too, until the next configuration ends it and forks its own.
 */
#include "supervisor/supervisor.h"
#include "spawn/spawn.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <time.h>
#include <unistd.h>

#include "http_main.h"

#define RETAINED_KEY WSGID_RETAINED("wakeup")
#define PIPE_PLACE   3 /* where the read end is put, so that all above can be closed */
/* Nanoseconds between two wake-ups: a daemon that writes without end must not cost the parent much.
 */
#define LEAST_LIFE 10000000
/* Nanoseconds between a byte and its effect. A parent that is being killed first loses its
 * descriptors, which makes daemons leave and write to the pipe, and only then its pid. This is long
 * enough for both, so that getppid() tells the truth afterwards. */
#define LEAST_REST   2000000
#define DEATH_SIGNAL SIGUSR1 /* sent by the kernel when the parent has ended */

typedef struct {
    int ends[2];       /* of the pipe: read, write */
    pid_t pid;         /* 0: none */
    apr_proc_t handle; /* APR keeps its address */
} retained_wakeup_t;

/* This configuration only, as all static data is: the module is loaded anew on each restart. */
static retained_wakeup_t *retained;
static apr_pool_t *configuration_pool;
static apr_pool_t *watch; /* the wake-up process's registration with APR */
static void (*on_wakeup)(void);

/* ---- the pipe */

apr_status_t wsgid_wakeup_open(void)
{
    retained = ap_retained_data_get(RETAINED_KEY);
    if (retained) {
        return APR_SUCCESS;
    }
    retained = ap_retained_data_create(RETAINED_KEY, sizeof(*retained));
    if (pipe2(retained->ends, O_CLOEXEC | O_NONBLOCK) != 0) {
        retained->ends[0] = retained->ends[1] = -1;
        return errno;
    }
    return APR_SUCCESS;
}

int wsgid_wakeup_write_end(void)
{
    return retained ? retained->ends[1] : -1;
}

int wsgid_wakeup_read_end(void)
{
    return retained ? retained->ends[0] : -1;
}

void wsgid_wakeup_drain(int read_end)
{
    char bytes[512];

    while (read(read_end, bytes, sizeof(bytes)) == (ssize_t)sizeof(bytes)) {
        /* there may be more */
    }
}

void wsgid_wakeup_close_descriptors(void)
{
    if (retained && retained->ends[0] >= 0) {
        (void)close(retained->ends[0]);
        (void)close(retained->ends[1]);
        retained->ends[0] = retained->ends[1] = -1;
    }
}

/* ---- in the wake-up process */

/* A handler that does nothing: the signal must only end the sleep. */
static void on_death_of_parent(int number)
{
    (void)number;
}

/* Signals to httpd's process group are not meant for it. All signals stay blocked except while it
 * sleeps, so that none is lost. */
static void set_signals(void)
{
    static const int ignored[] = { SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR2, SIGPIPE, SIGCHLD };
    struct sigaction action;
    apr_size_t i;

    for (i = 0; i < sizeof(ignored) / sizeof(*ignored); i++) {
        (void)signal(ignored[i], SIG_IGN);
    }
    memset(&action, 0, sizeof(action));
    action.sa_handler = on_death_of_parent;
    (void)sigaction(DEATH_SIGNAL, &action, NULL);
}

/* Closes everything that httpd has open: logs, ports, clients. */
static void set_descriptors(void)
{
    /* above PIPE_PLACE, which is for the pipe */
    int null = fcntl(open("/dev/null", O_RDWR), F_DUPFD, PIPE_PLACE + 1);
    int place;

    if (null < 0 || dup2(retained->ends[0], PIPE_PLACE) < 0) {
        _exit(1);
    }
    for (place = 0; place < PIPE_PLACE; place++) {
        (void)dup2(null, place);
    }
    wsgid_spawn_close_from(PIPE_PLACE + 1);
}

static void remove_sockets(void)
{
    const wsgid_slot_record_t *slot;

    for (slot = wsgid_slot_list_first(); slot; slot = slot->next) {
        if (!slot->released) {
            (void)unlink(slot->path);
            (void)unlink(slot->control_path);
        }
    }
}

/* Sleeps until LEAST_LIFE is over, but at least for LEAST_REST. */
static void rest(const struct timespec *born)
{
    struct timespec now;
    struct timespec left = { 0, LEAST_REST };
    long rest;

    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    if (now.tv_sec - born->tv_sec <= 1) {
        rest = LEAST_LIFE - (now.tv_sec - born->tv_sec) * 1000000000L
               - (now.tv_nsec - born->tv_nsec);
        left.tv_nsec = rest > LEAST_REST ? rest : LEAST_REST;
    }
    (void)nanosleep(&left, NULL);
}

static void sleep_until_woken(pid_t parent, int listens) __attribute__((noreturn));

static void sleep_until_woken(pid_t parent, int listens)
{
    struct pollfd read_end = { listens ? PIPE_PLACE : -1, POLLIN, 0 };
    struct timespec born;
    sigset_t none;

    (void)sigemptyset(&none);
    (void)clock_gettime(CLOCK_MONOTONIC, &born);
    (void)prctl(PR_SET_NAME, "wsgid-wakeup");
    (void)prctl(PR_SET_PDEATHSIG, DEATH_SIGNAL);
    while (getppid() == parent && ppoll(&read_end, 1, NULL, &none) <= 0) {
        /* a signal: check whether the parent lives */
    }
    if (getppid() == parent) {
        rest(&born);
        wsgid_wakeup_drain(PIPE_PLACE);
    }
    if (getppid() != parent) {
        remove_sockets();
    }
    _exit(0);
}

/* ---- in the parent */

static void on_death(int reason, void *data, int status)
{
    (void)data;
    (void)status;
    if (reason == APR_OC_REASON_UNREGISTER) {
        watch = NULL;
    }
    else if (reason == APR_OC_REASON_DEATH || reason == APR_OC_REASON_LOST) {
        wsgid_sigchld_forget(retained->pid);
        retained->pid = 0;
        if (watch) {
            apr_pool_destroy(watch);
        }
        watch = NULL;
        on_wakeup();
    }
}

static void register_wakeup_process(void)
{
    apr_pool_create(&watch, configuration_pool);
    memset(&retained->handle, 0, sizeof(retained->handle));
    retained->handle.pid = retained->pid;
    wsgid_sigchld_watch(retained->pid);
    apr_proc_other_child_register(&retained->handle, on_death, NULL, NULL, watch);
}

/* What the forked process needs of the parent. */
typedef struct {
    pid_t parent;
    int listens;
} child_t;

static void become(void *data)
{
    const child_t *child = data;

    set_descriptors();
    set_signals();
    sleep_until_woken(child->parent, child->listens);
}

static pid_t fork_wakeup_process(int listens)
{
    child_t child = { getpid(), listens };

    return wsgid_spawn_fork(become, &child);
}

static void end_wakeup_process(void)
{
    if (!retained || !retained->pid) {
        return;
    }
    wsgid_sigchld_forget(retained->pid);
    if (watch) {
        apr_pool_destroy(watch);
    }
    watch = NULL;
    (void)kill(retained->pid, SIGKILL);
    wsgid_sigchld_wait_for(retained->pid);
    retained->pid = 0;
}

void wsgid_wakeup_begin(apr_pool_t *pconf, void (*callback)(void))
{
    configuration_pool = pconf;
    on_wakeup = callback;
    end_wakeup_process(); /* it knows only the slots of the previous configuration */
    wsgid_wakeup_ensure();
}

void wsgid_wakeup_ensure(void)
{
    pid_t pid;

    if (!retained || retained->pid || retained->ends[0] < 0) {
        return;
    }
    pid = fork_wakeup_process(1);
    if (pid < 0) {
        ap_log_error(APLOG_MARK, APLOG_ERR, errno, ap_server_conf,
                     "WSGID0066: cannot fork the process that wakes up httpd's parent when "
                     "a daemon requests its replacement: reloads and recycling are some seconds "
                     "late; raise httpd's limits of processes and memory (ulimit -u, TasksMax= of "
                     "its service)");
        return;
    }
    retained->pid = pid;
    register_wakeup_process();
}

/* While the module is unloaded, nobody would notice that the wake-up process has exited. So this
 * one does not listen to the pipe. It only waits for the end of the parent, in case the next
 * configuration is broken. */
void wsgid_wakeup_detach(void)
{
    pid_t pid;

    if (!retained || retained->ends[0] < 0) {
        return;
    }
    end_wakeup_process();
    pid = fork_wakeup_process(0);
    retained->pid = pid > 0 ? pid : 0;
}

void wsgid_wakeup_end(void)
{
    end_wakeup_process();
    wsgid_wakeup_close_descriptors();
}
