/*
 * From a fork of httpd's parent to a daemon: what the interpreter is given, and nothing else
 * (docs/design.md, "What a daemon inherits"). Descriptors and the fork are here; spawn.h names the
 * files of the other steps.
 *
 * The forked process runs these steps, as httpd's image: signals as at birth; descriptors in place
 * and all others closed, so that a process which sleeps through its back-off holds nothing of
 * httpd's; the back-off; the environment; privileges; the interpreter; exec. It logs through
 * descriptor 2, which is the group's ErrorLog by then, and leaves by _exit with a code of
 * process_abi.h after exactly one line. It never returns into httpd and runs no cleanup of httpd's.
 */
#include "spawn/spawn.h"

#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/syscall.h>
#include <unistd.h>

#define LIFTED 64 /* descriptors are moved here before they are put in place: above all places */

/* ---- signals */

/* Handlers of httpd's and of other modules must not run here, and what is ignored would stay
 * ignored after exec. */
static void reset_signals(void)
{
    struct sigaction action;
    sigset_t none;
    int number;

    memset(&action, 0, sizeof(action));
    action.sa_handler = SIG_DFL;
    for (number = 1; number < NSIG; number++) {
        /* fails for SIGKILL, SIGSTOP and the C library's own */
        (void)sigaction(number, &action, NULL);
    }
    (void)sigemptyset(&none);
    (void)sigprocmask(SIG_SETMASK, &none, NULL);
}

/* ---- descriptors */

/* The ErrorLog of the group's server; httpd's own stderr where there is no file behind it (syslog).
 */
static int log_descriptor(const wsgid_group_t *group)
{
    apr_os_file_t fd;

    if (group->server->error_log && apr_os_file_get(&fd, group->server->error_log) == APR_SUCCESS
        && fd >= 0) {
        return fd;
    }
    return STDERR_FILENO;
}

/* Where close_range is missing (Linux before 5.9) or forbidden. */
static void close_one_by_one(int first)
{
    DIR *stream = opendir("/proc/self/fd");
    struct dirent *entry;
    long last = sysconf(_SC_OPEN_MAX);
    int fd;

    if (!stream) {
        for (fd = first; fd < last; fd++) {
            (void)close(fd);
        }
        return;
    }
    while ((entry = readdir(stream))) {
        fd = atoi(entry->d_name);
        if (fd >= first && fd != dirfd(stream)) {
            (void)close(fd);
        }
    }
    (void)closedir(stream);
}

void wsgid_spawn_close_from(int first)
{
#ifdef SYS_close_range
    if (syscall(SYS_close_range, first, ~0U, 0) == 0) {
        return;
    }
#endif
    close_one_by_one(first);
}

/* Puts each source in its place. They may lie in one another's places, so all are lifted out of the
 * way first. */
static int arrange(int source[WSGID_FD_END])
{
    int place;

    for (place = 0; place < WSGID_FD_END; place++) {
        if (source[place] >= 0
            && (source[place] = fcntl(source[place], F_DUPFD_CLOEXEC, LIFTED)) < 0) {
            return -1;
        }
    }
    for (place = 0; place < WSGID_FD_END; place++) {
        if (source[place] < 0) {
            (void)close(place);
        }
        else if (dup2(source[place], place) < 0) {
            return -1;
        }
    }
    return 0;
}

/* From here on the log is descriptor 2, whatever number it had. */
static void log_to_stderr(wsgid_birth_t *birth)
{
    server_rec *server = birth->group->server;
    apr_file_t *file;
    apr_os_file_t fd = STDERR_FILENO;

    if (server->error_log
        && apr_os_file_put(&file, &fd, APR_FOPEN_WRITE | APR_FOPEN_APPEND, birth->pool)
               == APR_SUCCESS) {
        server->error_log = file;
    }
}

static void place_descriptors(wsgid_birth_t *birth)
{
    const wsgid_spawn_t *spawn = birth->spawn;
    int null = open("/dev/null", O_RDWR | O_CLOEXEC);
    int log = log_descriptor(birth->group);
    int source[WSGID_FD_END] = { null,
                                 log,
                                 log,
                                 [WSGID_FD_LISTENER] = spawn->listener,
                                 [WSGID_FD_CONFIGURATION] = birth->configuration,
                                 [WSGID_FD_LIFELINE] = spawn->lifeline,
                                 [WSGID_FD_STATISTICS] = spawn->page,
                                 [WSGID_FD_WAKEUP] = spawn->wakeup,
                                 [WSGID_FD_CONTROL] = spawn->control,
                                 [WSGID_FD_PREDECESSOR] = spawn->predecessor };

    if (null < 0 || arrange(source) != 0) {
        ap_log_error(
            APLOG_MARK, APLOG_ERR, errno, birth->group->server,
            "WSGID0080: group '%s': the descriptors of a "
            "daemon cannot be put in place: look at the limit of open files (ulimit -n) of httpd",
            birth->group->label);
        _exit(WSGID_EXIT_CONFIGURATION);
    }
    wsgid_spawn_close_from(WSGID_FD_END);
    log_to_stderr(birth);
}

/* ---- the fork */

/* The path is argv[0] too: by it Python finds its virtualenv. How the process is shown in ps is the
 * daemon's own affair. */
static void execute(const wsgid_birth_t *birth) __attribute__((noreturn));

static void execute(const wsgid_birth_t *birth)
{
    const char *boot = wsgid_interpreter_boot(birth);
    char *argv[] = { apr_pstrdup(birth->pool, birth->python), apr_pstrdup(birth->pool, boot),
                     NULL };

    (void)execve(birth->python, argv, wsgid_environment_make(birth));
    ap_log_error(APLOG_MARK, APLOG_ERR, errno, birth->group->server,
                 "WSGID0085: group '%s': the interpreter %s cannot "
                 "be executed: name one that works with python= or python-home=",
                 birth->group->label, birth->python);
    _exit(WSGID_EXIT_EXEC);
}

static void become(void *data)
{
    wsgid_birth_t *birth = data;

    reset_signals();
    place_descriptors(birth);
    wsgid_backoff_sleep(birth);
    wsgid_environment_read_file(birth);
    if (wsgid_privileges_drop(birth->group, birth->identity) != 0) {
        _exit(WSGID_EXIT_PRIVILEGES);
    }
    wsgid_interpreter_choose(birth);
    execute(birth);
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
        _exit(WSGID_EXIT_EXEC); /* it does not return; should it ever, not into httpd */
    }
    error = errno;
    (void)sigprocmask(SIG_SETMASK, &before, NULL);
    errno = error;
    return pid;
}

apr_status_t wsgid_spawn(pid_t *pid, const wsgid_spawn_t *spawn, apr_pool_t *ptemp)
{
    wsgid_birth_t birth = { .spawn = spawn, .group = spawn->group, .pool = ptemp };
    apr_status_t status;

    *pid = -1;
    birth.identity = wsgid_privileges_look_up(ptemp, spawn->group);
    if (!birth.identity) {
        return APR_EGENERAL;
    }
    status = wsgid_daemon_configuration_make(spawn, ptemp, &birth.configuration);
    if (status != APR_SUCCESS) {
        return status;
    }
    *pid = wsgid_spawn_fork(become, &birth);
    status = *pid < 0 ? errno : APR_SUCCESS;
    (void)close(birth.configuration);
    return status;
}
