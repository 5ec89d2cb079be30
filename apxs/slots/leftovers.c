/*
 * What an httpd that was killed left behind under a prefix: its control sockets and private
 * directory, or all its sockets (socket_directory.c). The next httpd removes them at its start.
 *
 * Other httpds may use the same prefix, so a name with the pid of a process that runs is removed
 * only if nobody listens there.
 */
#include "slots/leftovers.h"
#include "slots/listener.h"
#include "slots/socket_directory.h"

#include <dirent.h>
#include <signal.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

/* ---- names */

static int is_socket_suffix(const char *text)
{
    return !strcmp(text, WSGID_SOCKET_REQUESTS) || !strcmp(text, WSGID_SOCKET_CONTROL)
           || !strcmp(text, WSGID_SOCKET_DOOR);
}

/* ".123.1.0.sock" -> 123; 0 if it is not the end of a socket's name. */
static pid_t pid_of_socket(const char *rest)
{
    unsigned number;
    unsigned slot;
    int pid;
    int end = 0;

    if (sscanf(rest, ".%d.%u.%u%n", &pid, &number, &slot, &end) != 3) {
        return 0;
    }
    return pid > 0 && is_socket_suffix(rest + end) ? pid : 0;
}

/* ".123" -> 123; 0 if it is not the end of a private directory's name. */
static pid_t pid_of_directory(const char *rest)
{
    int pid;
    int end = 0;

    return sscanf(rest, ".%d%n", &pid, &end) == 1 && pid > 0 && !rest[end] ? pid : 0;
}

/* ---- removal */

static void log_removed(server_rec *s, const char *what, const char *path)
{
    ap_log_error(APLOG_MARK, APLOG_DEBUG, 0, s,
                 "WSGID0100: removed the %s %s, which an httpd that was killed left behind", what,
                 path);
}

static int is_process_gone(pid_t pid)
{
    return kill(pid, 0) != 0 && errno == ESRCH;
}

/* If the pid exists, it may belong to another process by now (in a container, to ourselves), so
 * a socket that nobody listens on is left over, too. */
static void sweep_socket(server_rec *s, const char *path, pid_t pid)
{
    if ((is_process_gone(pid) || wsgid_listener_is_unused(path))
        && wsgid_listener_remove(path) == APR_SUCCESS) {
        log_removed(s, "socket", path);
    }
}

typedef struct {
    int removed;
    int kept;
} count_t;

static count_t sweep_inner(apr_pool_t *p, const char *inner, int is_gone)
{
    count_t count = { 0, 0 };
    struct dirent *entry;
    DIR *stream = opendir(inner);

    while (stream && (entry = readdir(stream))) {
        const char *path = apr_pstrcat(p, inner, "/", entry->d_name, NULL);

        if (*entry->d_name == '.') {
            continue;
        }
        if ((is_gone || wsgid_listener_is_unused(path))
            && wsgid_listener_remove(path) == APR_SUCCESS) {
            count.removed++;
        }
        else {
            count.kept++;
        }
    }
    if (stream) {
        (void)closedir(stream);
    }
    return count;
}

/* An empty directory of a pid that exists stays: another httpd may have created it just now. */
static void sweep_directory(apr_pool_t *p, server_rec *s, const char *outer, pid_t pid)
{
    const char *inner = apr_pstrcat(p, outer, WSGID_SOCKET_INNER, NULL);
    int is_gone = is_process_gone(pid);
    struct stat there;
    count_t count;

    if (lstat(outer, &there) != 0 || !S_ISDIR(there.st_mode) || there.st_uid != geteuid()) {
        return;
    }
    count = sweep_inner(p, inner, is_gone);
    if (count.kept || (!is_gone && !count.removed)) {
        return;
    }
    (void)rmdir(inner);
    if (rmdir(outer) == 0) {
        log_removed(s, "directory", outer);
    }
}

void wsgid_leftovers_sweep(apr_pool_t *p, server_rec *s, const char *prefix)
{
    const char *base = apr_filepath_name_get(prefix);
    const char *directory = apr_pstrmemdup(p, prefix, base - prefix);
    apr_size_t length = strlen(base);
    struct dirent *entry;
    DIR *stream = opendir(*directory ? directory : ".");

    while (stream && (entry = readdir(stream))) {
        const char *path = apr_pstrcat(p, directory, entry->d_name, NULL);
        const char *rest = entry->d_name + length;
        pid_t pid;

        if (strncmp(entry->d_name, base, length)) {
            continue;
        }
        if ((pid = pid_of_socket(rest))) {
            sweep_socket(s, path, pid);
        }
        else if ((pid = pid_of_directory(rest))) {
            sweep_directory(p, s, path, pid);
        }
    }
    if (stream) {
        (void)closedir(stream);
    }
}
