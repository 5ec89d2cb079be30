/*
 * The fork of httpd's parent, and the steps from there to exec (docs/design.md, "What a daemon
 * inherits"). Signals and descriptors are here; spawn.h names the files of the other steps.
 *
 * The forked process runs the steps of become(), still as httpd's image. If a step fails, the
 * process logs exactly one line into the group's ErrorLog, which exec closes, and calls _exit with
 * a code of process_abi.h. It never returns into httpd and runs no cleanup of httpd.
 */
#include "spawn/spawn.h"

#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/syscall.h>
#include <unistd.h>

#define LOG    WSGID_FD_END /* until exec, the ErrorLog is behind what the daemon gets */
#define PLACES (LOG + 1)
#define LIFTED 64 /* descriptors are first moved above this, away from their final places */

/* ---- signals */

void wsgid_spawn_reset_handlers(void)
{
    struct sigaction action;
    int number;

    memset(&action, 0, sizeof(action));
    action.sa_handler = SIG_DFL;
    for (number = 1; number < NSIG; number++) {
        /* fails for SIGKILL, SIGSTOP and those of the C library */
        (void)sigaction(number, &action, NULL);
    }
}

/* ---- descriptors */

int wsgid_spawn_log_descriptor(const server_rec *s)
{
    apr_os_file_t fd;

    return s->error_log && apr_os_file_get(&fd, s->error_log) == APR_SUCCESS ? fd : -1;
}

/* Where close_range is missing (Linux before 5.9) or forbidden. */
static void close_one_by_one(unsigned first, unsigned last)
{
    DIR *stream = opendir("/proc/self/fd");
    struct dirent *entry;

    while (stream && (entry = readdir(stream))) {
        unsigned fd = (unsigned)strtoul(entry->d_name, NULL, 10);

        if (fd >= first && fd <= last && (int)fd != dirfd(stream)) {
            (void)close((int)fd);
        }
    }
    if (stream) {
        (void)closedir(stream);
    }
}

void wsgid_spawn_close_range(unsigned first, unsigned last)
{
#ifdef SYS_close_range
    if (syscall(SYS_close_range, first, last, 0) == 0) {
        return;
    }
#endif
    close_one_by_one(first, last);
}

/* Moves each source to its place. A source may be in the place of another, so all are first moved
 * out of the way. */
static int arrange(int source[PLACES])
{
    int place;

    for (place = 0; place < PLACES; place++) {
        if (source[place] >= 0
            && (source[place] = fcntl(source[place], F_DUPFD_CLOEXEC, LIFTED)) < 0) {
            return -1;
        }
    }
    for (place = 0; place < PLACES; place++) {
        if (source[place] < 0) {
            (void)close(place);
        }
        else if (dup2(source[place], place) < 0) {
            return -1;
        }
    }
    return 0;
}

static void move_log(wsgid_child_t *child)
{
    server_rec *server = child->group->server;
    apr_file_t *file;
    apr_os_file_t fd = LOG;

    (void)fcntl(LOG, F_SETFD, FD_CLOEXEC); /* fails if the log is no file */
    if (server->error_log
        && apr_os_file_put(&file, &fd, APR_FOPEN_WRITE | APR_FOPEN_APPEND, child->pool)
               == APR_SUCCESS) {
        server->error_log = file;
    }
}

static void place_descriptors(wsgid_child_t *child)
{
    const wsgid_start_t *start = child->start;
    int null = open("/dev/null", O_RDWR | O_CLOEXEC);
    int source[PLACES] = { null,
                           start->output,
                           start->output,
                           [WSGID_FD_LISTENER] = start->listener,
                           [WSGID_FD_CONFIGURATION] = child->configuration,
                           [WSGID_FD_LIFELINE] = start->lifeline,
                           [WSGID_FD_STATISTICS] = start->pages,
                           [WSGID_FD_WAKEUP] = start->wakeup,
                           [WSGID_FD_CONTROL] = start->control,
                           [WSGID_FD_PREDECESSOR] = start->predecessor,
                           [LOG] = wsgid_spawn_log_descriptor(child->group->server) };

    if (null < 0 || arrange(source) != 0) {
        ap_log_error(APLOG_MARK, APLOG_ERR, errno, child->group->server,
                     "WSGID0080: group '%s': cannot set up the descriptors of a new process: raise "
                     "httpd's limit of open files (ulimit -n, LimitNOFILE= of its service)",
                     child->group->label);
        _exit(WSGID_EXIT_CONFIGURATION);
    }
    wsgid_spawn_close_range(PLACES, WSGID_SPAWN_ALL);
    move_log(child);
}

/* ---- the fork */

/* argv[0] is the path, because Python finds its virtualenv by it. The daemon itself sets the name
 * that ps shows. */
static void execute(const wsgid_child_t *child) __attribute__((noreturn));

static void execute(const wsgid_child_t *child)
{
    const char *boot = wsgid_interpreter_boot(child);
    char *argv[] = { apr_pstrdup(child->pool, child->python), apr_pstrdup(child->pool, boot),
                     NULL };

    (void)execve(child->python, argv, wsgid_environment_make(child));
    ap_log_error(APLOG_MARK, APLOG_ERR, errno, child->group->server,
                 "WSGID0085: group '%s': the system cannot run the interpreter %s: name one that "
                 "works with python= or python-home=",
                 child->group->label, child->python);
    _exit(WSGID_EXIT_EXEC);
}

static void become(void *data)
{
    wsgid_child_t *child = data;
    sigset_t none;

    /* at once: if the guardian is killed now, nobody else knows that this process exists */
    wsgid_ledger_set_pid(child->start->shared, child->start->entry, getpid());
    wsgid_spawn_reset_handlers();
    (void)sigemptyset(&none);
    (void)sigprocmask(SIG_SETMASK, &none, NULL);
    (void)setsid(); /* no terminal: an application must not type into an administrator's shell */
    place_descriptors(child);
    wsgid_environment_read_file(child);
    if (wsgid_privileges_drop(child->group) != 0) {
        _exit(WSGID_EXIT_PRIVILEGES);
    }
    wsgid_interpreter_choose(child);
    execute(child);
}

pid_t wsgid_spawn_fork(void (*become_child)(void *data), void *data)
{
    sigset_t all;
    sigset_t before;
    pid_t pid;
    int error;

    (void)sigfillset(&all);
    (void)sigprocmask(SIG_SETMASK, &all, &before);
    pid = fork();
    if (pid == 0) {
        become_child(data);
        _exit(WSGID_EXIT_EXEC); /* become_child must not return; this makes sure */
    }
    error = errno;
    (void)sigprocmask(SIG_SETMASK, &before, NULL);
    errno = error;
    return pid;
}

apr_status_t wsgid_spawn_process(pid_t *pid, const wsgid_start_t *start, apr_pool_t *ptemp)
{
    wsgid_child_t child = { .start = start, .group = start->group, .pool = ptemp };
    apr_status_t status;

    *pid = -1;
    status = wsgid_daemon_configuration_make(start, ptemp, &child.configuration);
    if (status != APR_SUCCESS) {
        return status;
    }
    *pid = wsgid_spawn_fork(become, &child);
    status = *pid < 0 ? errno : APR_SUCCESS;
    (void)close(child.configuration);
    return status;
}
