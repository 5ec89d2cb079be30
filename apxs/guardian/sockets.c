/*
 * Sockets that have been lost: somebody has removed the file (a cleaner of temporary files), or an
 * application has shut down the listener, which it shares. Within a second the guardian binds
 * another socket to the same path and lets a process start with it (policy.c). What waits in the
 * backlog of the old one is sent again by httpd.
 */
#include "guardian/guardian.h"

#include <poll.h>
#include <sys/stat.h>
#include <unistd.h>

#define INTERVAL apr_time_from_sec(1) /* between two looks at a slot */

/* Another file in its place is another version's of this module (WSGID0072): that one serves. */
static int is_missing(const char *path)
{
    struct stat there;

    return lstat(path, &there) != 0 && errno == ENOENT;
}

/* After shutdown(), which works on a listener, too, nobody can connect. */
static int is_shut_down(int listener)
{
    struct pollfd end = { listener, 0, 0 };

    return poll(&end, 1, 0) == 1 && (end.revents & POLLHUP);
}

static apr_status_t open_both(wsgid_slot_record_t *slot, int fresh[2])
{
    uid_t of_httpd = (uid_t)WSGID_NUMBER(slot->group, SOCKET_USER);
    uid_t of_group = (uid_t)WSGID_NUMBER(slot->group, USER);
    int backlog = (int)WSGID_NUMBER(slot->group, LISTEN_BACKLOG);
    apr_status_t status = wsgid_listener_open(slot->path, of_httpd, backlog, &fresh[0]);

    if (status == APR_SUCCESS) {
        status = wsgid_listener_open(slot->control_path, of_group, WSGID_CONTROL_BACKLOG,
                                     &fresh[1]);
        if (status != APR_SUCCESS) {
            (void)close(fresh[0]);
        }
    }
    return status;
}

static void log_failure(wsgid_slot_record_t *slot, apr_status_t status, const char *why)
{
    if (!slot->lost_logged) {
        ap_log_error(APLOG_MARK, APLOG_CRIT, status, slot->server,
                     "WSGID0063: group '%s' slot %d: %s, and its sockets (%s) cannot be created "
                     "again: new connections get 503; a graceful restart of httpd creates what is "
                     "missing, and whatever removes it has to be stopped",
                     slot->label, slot->index, why, slot->path);
    }
    slot->lost_logged = 1;
}

static void bind_again(wsgid_slot_record_t *slot, const char *why)
{
    int fresh[2];
    apr_status_t status = open_both(slot, fresh);

    if (status != APR_SUCCESS) {
        log_failure(slot, status, why);
        return;
    }
    (void)close(slot->listener);
    (void)close(slot->control);
    slot->listener = fresh[0];
    slot->control = fresh[1];
    slot->deaf = slot->started;
    wsgid_ledger_note_rebound(slot->shared);
    slot->lost_logged = 0;
    ap_log_error(APLOG_MARK, APLOG_WARNING, 0, slot->server,
                 "WSGID0062: group '%s' slot %d: %s; its sockets (%s) have been created again, and "
                 "a new process starts with them",
                 slot->label, slot->index, why, slot->path);
}

void wsgid_sockets_poll(wsgid_slot_record_t *slot)
{
    apr_time_t now = wsgid_clock_now();

    if (now < slot->next_look) {
        return;
    }
    slot->next_look = now + INTERVAL;
    if (is_missing(slot->path) || is_missing(slot->control_path)) {
        bind_again(slot, "the file of a socket has been removed");
    }
    else if (is_shut_down(slot->listener) || is_shut_down(slot->control)) {
        bind_again(slot, "the application has shut down a listening socket that it shares");
    }
}
