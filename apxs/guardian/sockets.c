/*
 * The sockets of slots. A guardian takes them over from the one before it (transfer.c), or creates
 * them.
 *
 * They may be lost: somebody has removed the file (a cleaner of temporary files), or an application
 * has shut down the listener, which it shares. Within a second the guardian binds another socket to
 * the same path and lets a process start with it (policy.c). What waits in the backlog of the old
 * one is sent again by httpd.
 */
#include "guardian/guardian.h"

#include <poll.h>
#include <unistd.h>

#define INTERVAL apr_time_from_sec(1) /* between two looks at a slot */

static uid_t owner_of(const wsgid_slot_record_t *slot, int which)
{
    return which == WSGID_SOCKET_OF_REQUESTS ? (uid_t)WSGID_NUMBER(slot->group, SOCKET_USER)
                                             : (uid_t)WSGID_NUMBER(slot->group, USER);
}

static int backlog_of(const wsgid_slot_record_t *slot, int which)
{
    return which == WSGID_SOCKET_OF_REQUESTS ? (int)WSGID_NUMBER(slot->group, LISTEN_BACKLOG)
                                             : WSGID_CONTROL_BACKLOG;
}

static apr_status_t create(const wsgid_slot_record_t *slot, int fresh[WSGID_SOCKETS])
{
    apr_status_t status = APR_SUCCESS;
    int i;

    for (i = 0; i < WSGID_SOCKETS && status == APR_SUCCESS; i++) {
        status = wsgid_listener_open(slot->paths[i], owner_of(slot, i), backlog_of(slot, i),
                                     &fresh[i]);
    }
    if (status != APR_SUCCESS && i == WSGID_SOCKETS) {
        (void)close(fresh[0]); /* the second has failed */
    }
    return status;
}

static void close_both(wsgid_slot_record_t *slot)
{
    int i;

    for (i = 0; i < WSGID_SOCKETS; i++) {
        if (slot->sockets[i] >= 0) {
            (void)close(slot->sockets[i]);
        }
        slot->sockets[i] = -1;
    }
}

static void set_sockets(wsgid_slot_record_t *slot, const int fresh[WSGID_SOCKETS])
{
    close_both(slot);
    memcpy(slot->sockets, fresh, sizeof(slot->sockets));
    slot->file = wsgid_listener_file(slot->paths[WSGID_SOCKET_OF_REQUESTS]);
    slot->lost_logged = 0;
    wsgid_slots_set_open(slot->shared, 1);
}

void wsgid_sockets_remove(wsgid_slot_record_t *slot)
{
    close_both(slot);
    wsgid_slots_set_open(slot->shared, 0);
    wsgid_slot_list_unlink(slot);
}

void wsgid_sockets_close_dead(wsgid_slot_record_t *slot)
{
    if (!wsgid_roles_is_newest(slot) && slot->sockets[WSGID_SOCKET_OF_REQUESTS] >= 0
        && slot->file != wsgid_listener_file(slot->paths[WSGID_SOCKET_OF_REQUESTS])) {
        close_both(slot);
    }
}

/* A newer guardian may have created its own while this one created these, in their place. Its next
 * look then finds none, and creates them again. */
static void give_way(wsgid_slot_record_t *slot)
{
    if (!wsgid_roles_is_newest(slot)
        && slot->file == wsgid_listener_file(slot->paths[WSGID_SOCKET_OF_REQUESTS])) {
        wsgid_sockets_remove(slot);
    }
}

/* ---- the first ones */

/* The configuration may have changed since they were created. */
static void adapt(const wsgid_slot_record_t *slot)
{
    int i;

    for (i = 0; i < WSGID_SOCKETS; i++) {
        /* fails if the file is gone, which the next look will notice */
        (void)wsgid_listener_adapt(slot->paths[i], owner_of(slot, i), backlog_of(slot, i),
                                   slot->sockets[i]);
    }
}

static void log_impossible(wsgid_slot_record_t *slot, apr_status_t status)
{
    apr_time_t next = wsgid_clock_now() + INTERVAL;

    wsgid_slot_list_set_phase(slot, WSGID_SLOT_WAITING, next);
    if (!slot->lost_logged) {
        ap_log_error(APLOG_MARK, APLOG_CRIT, status, slot->server,
                     "WSGID0060: group '%s' slot %d: cannot create its socket %s: check that "
                     "directory (WSGISocketPrefix names another), and httpd's limits of memory and "
                     "open files; it is tried again each second",
                     slot->label, slot->index, slot->paths[WSGID_SOCKET_OF_REQUESTS]);
    }
    slot->lost_logged = 1;
}

static void open_first(wsgid_slot_record_t *slot)
{
    int fresh[WSGID_SOCKETS];
    apr_status_t status;

    if (wsgid_transfer_take(slot, fresh)) {
        set_sockets(slot, fresh);
        adapt(slot);
        return;
    }
    if (!wsgid_roles_is_newest(slot)) { /* the answer took long, and a newer guardian has begun */
        return;
    }
    status = create(slot, fresh);
    if (status == APR_SUCCESS) {
        set_sockets(slot, fresh);
        give_way(slot);
    }
    else {
        log_impossible(slot, status);
    }
}

/* ---- lost ones */

/* After shutdown(), which works on a listener, too, nobody can connect. */
static int is_shut_down(int listener)
{
    struct pollfd end = { listener, 0, 0 };

    return poll(&end, 1, 0) == 1 && (end.revents & POLLHUP);
}

static void log_failure(wsgid_slot_record_t *slot, apr_status_t status, const char *why)
{
    if (!slot->lost_logged) {
        ap_log_error(APLOG_MARK, APLOG_CRIT, status, slot->server,
                     "WSGID0063: group '%s' slot %d: %s, and its sockets (%s) cannot be created "
                     "again: new connections get 503; a graceful restart of httpd creates what is "
                     "missing, and whatever removes it has to be stopped",
                     slot->label, slot->index, why, slot->paths[WSGID_SOCKET_OF_REQUESTS]);
    }
    slot->lost_logged = 1;
}

static void bind_again(wsgid_slot_record_t *slot, const char *why)
{
    int fresh[WSGID_SOCKETS];
    apr_status_t status = create(slot, fresh);

    if (status != APR_SUCCESS) {
        log_failure(slot, status, why);
        return;
    }
    set_sockets(slot, fresh);
    give_way(slot);
    slot->deaf = slot->started;
    wsgid_transfer_open_door();
    ap_log_error(APLOG_MARK, APLOG_WARNING, 0, slot->server,
                 "WSGID0062: group '%s' slot %d: %s; its sockets (%s) have been created again, and "
                 "a new process starts with them",
                 slot->label, slot->index, why, slot->paths[WSGID_SOCKET_OF_REQUESTS]);
}

void wsgid_sockets_poll(wsgid_slot_record_t *slot)
{
    apr_time_t now = wsgid_clock_now();

    if (now < slot->next_look) {
        return;
    }
    slot->next_look = now + INTERVAL;
    if (slot->sockets[0] < 0) {
        open_first(slot);
    }
    /* Another file in their place is another version's of this module (WSGID0072): that serves. */
    else if (!wsgid_listener_file(slot->paths[0]) || !wsgid_listener_file(slot->paths[1])) {
        bind_again(slot, "the file of a socket has been removed");
    }
    else if (is_shut_down(slot->sockets[0]) || is_shut_down(slot->sockets[1])) {
        bind_again(slot, "the application has shut down a listening socket that it shares");
    }
}
