/*
 * The slot's listener and all connections to it.
 *
 * A connection is put into the epoll once, edge-triggered, and stays there: a request costs no
 * epoll_ctl(), unless it waits for its body. A worker that needs a request asks the epoll and notes
 * what it learns in the connections, under the lock. The connections that have something to read
 * form a list, from which any worker takes the next. The worker owns it (BUSY) until it gives it
 * back; an event that comes meanwhile is remembered. So no event is lost; one too many costs a
 * receive that finds nothing. Workers without a request wait in the epoll together. Who waits there
 * takes one event at a time, and so does everybody while somebody waits: else requests would stand
 * in the list, and those who could run them would not know. A worker that leaves one there and does
 * not come back at once wakes one of them (wsgid_hub_offer).
 *
 * A connection is IDLE or READY exactly while no worker owns it. That decides the race between a
 * worker and wsgid_hub_drain(): what is IDLE or READY then is closed unread, which gives its sender
 * ECONNRESET, so that it tries another process. What a worker has taken is read and run.
 */
#include "hotpath.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#define EVENTS_AT_ONCE 64
#define ACCEPT_AT_ONCE 64 /* before other workers may take what is ready */
#define ACCEPT_PAUSE   (50 * (int64_t)WSGID_MILLISECOND)
#define WATCHED        (EPOLLIN | EPOLLRDHUP)
#define HANGUP         (EPOLLRDHUP | EPOLLHUP | EPOLLERR)

/* What an event is about. Descriptors that are no connections have generation 0. */
static uint64_t tag(uint32_t generation, int fd)
{
    return (uint64_t)generation << 32 | (uint32_t)fd;
}

static int control(wsgid_hub_t *hub, int operation, int fd, uint32_t events, uint32_t generation)
{
    struct epoll_event event = { .events = events, .data.u64 = tag(generation, fd) };

    return epoll_ctl(hub->epoll, operation, fd, &event);
}

static int watch_descriptor(wsgid_hub_t *hub, int fd, uint32_t events, uint32_t generation)
{
    return control(hub, EPOLL_CTL_ADD, fd, events, generation);
}

static wsgid_connection_t *find(wsgid_hub_t *hub, int fd)
{
    wsgid_connection_t *chunk = (unsigned)fd / WSGID_CONNECTIONS_CHUNK < WSGID_CONNECTIONS_CHUNKS
                                    ? hub->chunks[fd / WSGID_CONNECTIONS_CHUNK]
                                    : NULL;

    return chunk ? &chunk[fd % WSGID_CONNECTIONS_CHUNK] : NULL;
}

/* The connections of the descriptors from `first` on. NULL: errno. */
static wsgid_connection_t *make_chunk(int first)
{
    wsgid_connection_t *chunk = calloc(WSGID_CONNECTIONS_CHUNK, sizeof(*chunk));

    for (int i = 0; chunk && i < WSGID_CONNECTIONS_CHUNK; i++) {
        /* Never written again: wsgid_endpoint_is_hung_up() may read it late. */
        chunk[i].fd = first + i;
    }
    return chunk;
}

/* The connection of a descriptor, allocated if necessary. NULL: errno. */
static wsgid_connection_t *find_or_make(wsgid_hub_t *hub, int fd)
{
    if ((unsigned)fd / WSGID_CONNECTIONS_CHUNK >= WSGID_CONNECTIONS_CHUNKS) {
        errno = EMFILE;
        return NULL;
    }
    if (!hub->chunks[fd / WSGID_CONNECTIONS_CHUNK]) {
        hub->chunks[fd / WSGID_CONNECTIONS_CHUNK] = make_chunk(fd - fd % WSGID_CONNECTIONS_CHUNK);
    }
    return find(hub, fd);
}

/* ---- connections */

static void push(wsgid_hub_t *hub, wsgid_connection_t *connection)
{
    connection->state = CONNECTION_READY;
    connection->next = NULL;
    *hub->ready_end = connection;
    hub->ready_end = &connection->next;
}

static wsgid_connection_t *take_first(wsgid_hub_t *hub)
{
    wsgid_connection_t *connection = hub->ready;

    if (connection) {
        hub->ready = connection->next;
        if (!hub->ready) {
            hub->ready_end = &hub->ready;
        }
    }
    return connection;
}

/* Takes it out of the epoll first: close() does not, if a process that the application has forked
 * has a copy. */
static void close_connection(wsgid_hub_t *hub, wsgid_connection_t *connection)
{
    struct epoll_event unused = { 0 };

    (void)epoll_ctl(hub->epoll, EPOLL_CTL_DEL, connection->fd, &unused);
    wsgid_descriptors_close(hub, connection->fd);
    connection->state = CONNECTION_FREE;
    hub->connections--;
    hub->paused_until = 0; /* there is room for another one */
}

wsgid_connection_t *wsgid_hub_take(wsgid_hub_t *hub)
{
    wsgid_connection_t *connection;

    while ((connection = take_first(hub)) != NULL) {
        if (!connection->hung_up) {
            connection->state = CONNECTION_BUSY;
            connection->again = 0;
            connection->used = 1;
            return connection;
        }
        close_connection(hub, connection); /* unread: the client of its request has gone */
    }
    return NULL;
}

static int is_unowned(const wsgid_connection_t *connection)
{
    return connection->state == CONNECTION_IDLE || connection->state == CONNECTION_READY;
}

static int has_unread(wsgid_hub_t *hub, wsgid_connection_t *connection)
{
    int unread = 0;

    (void)hub;
    return is_unowned(connection) && ioctl(connection->fd, FIONREAD, &unread) == 0 && unread > 0;
}

static int change_watch(wsgid_hub_t *hub, wsgid_connection_t *connection, uint32_t events)
{
    return control(hub, EPOLL_CTL_MOD, connection->fd, events | EPOLLET, connection->generation);
}

void wsgid_hub_unwatch(wsgid_hub_t *hub, wsgid_connection_t *connection)
{
    if (!connection->unwatched) {
        /* If that fails, a worker is woken for nothing. */
        connection->unwatched = change_watch(hub, connection, 0) == 0;
    }
}

/* Whether the epoll reports what comes. What has come meanwhile makes an event now. */
static int watch_again(wsgid_hub_t *hub, wsgid_connection_t *connection)
{
    if (connection->unwatched) {
        connection->unwatched = 0;
        return change_watch(hub, connection, WATCHED) == 0;
    }
    return 1;
}

void wsgid_hub_give_back(wsgid_hub_t *hub, wsgid_connection_t *connection, int keep)
{
    if (!keep || hub->draining || connection->hung_up || !watch_again(hub, connection)) {
        close_connection(hub, connection);
    }
    else if (connection->again) {
        push(hub, connection);
    }
    else if (hub->paused) {
        close_connection(hub, connection); /* others wait for its descriptor */
    }
    else {
        connection->state = CONNECTION_IDLE;
    }
}

static void note_event(wsgid_hub_t *hub, const struct epoll_event *event)
{
    wsgid_connection_t *connection = find(hub, (int)(uint32_t)event->data.u64);

    if (!connection || connection->state == CONNECTION_FREE
        || connection->generation != event->data.u64 >> 32) {
        return; /* it has been closed meanwhile */
    }
    if (event->events & HANGUP) {
        connection->hung_up = 1;
    }
    switch (connection->state) {
    case CONNECTION_IDLE:
        if (connection->hung_up) {
            close_connection(hub, connection);
        }
        else {
            push(hub, connection);
        }
        break;
    case CONNECTION_BUSY: connection->again = 1; break;
    case CONNECTION_READY:
    case CONNECTION_FREE: break;
    }
}

/* ---- accepting */

static int is_allowed(const wsgid_hub_t *hub, uid_t uid)
{
    for (int i = 0; i < hub->allowed_count; i++) {
        if (hub->allowed[i] == uid) {
            return 1;
        }
    }
    return 0;
}

/* WSGID_NO_ACCEPT, unless Python need not be told. */
static int report(wsgid_endpoint_t *endpoint, int error)
{
    return wsgid_descriptors_report(endpoint, error) ? WSGID_NO_ACCEPT : WSGID_REQUEST;
}

/* A new connection is of no use: closes it. */
static int discard(wsgid_endpoint_t *endpoint, int fd)
{
    int error = errno;

    close(fd);
    return report(endpoint, error);
}

/* A new connection. WSGID_REQUEST: it is IDLE now; else an outcome, and it is closed. */
static int admit(wsgid_endpoint_t *endpoint, int fd)
{
    wsgid_hub_t *hub = endpoint->hub;
    struct ucred peer;
    socklen_t size = sizeof(peer);
    struct timeval limit = { hub->timeout / WSGID_SECOND, hub->timeout % WSGID_SECOND / 1000 };
    wsgid_connection_t *connection;

    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) != 0) {
        return discard(endpoint, fd);
    }
    if (!is_allowed(hub, peer.uid)) {
        endpoint->facts[FACT_PID] = peer.pid;
        endpoint->facts[FACT_UID] = peer.uid;
        close(fd);
        return WSGID_REFUSED;
    }
    connection = find_or_make(hub, fd);
    if (!connection || setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit)) != 0
        || watch_descriptor(hub, fd, WATCHED | EPOLLET, connection->generation + 1) != 0) {
        return discard(endpoint, fd);
    }
    connection->generation++;
    connection->state = CONNECTION_IDLE;
    connection->again = connection->hung_up = connection->unwatched = connection->used = 0;
    hub->connections++;
    return WSGID_REQUEST;
}

/* accept() has failed, and there is no room to be made: the listener leaves the epoll, which would
 * report it for ever, until a connection is closed or ACCEPT_PAUSE is over. A worker that waits
 * learns of that: this one may take a request, and be away for long. */
static void pause_listening(wsgid_hub_t *hub)
{
    struct epoll_event unused = { 0 };

    (void)epoll_ctl(hub->epoll, EPOLL_CTL_DEL, hub->listener, &unused);
    hub->listening = 0;
    hub->paused = 1;
    hub->paused_until = wsgid_gate_now() + ACCEPT_PAUSE;
    if (hub->waiting > 0) {
        (void)eventfd_write(hub->nudge, 1);
    }
}

/* Milliseconds until the listener may be in the epoll again; -1: it is, or will never be. */
static int pause_left(const wsgid_hub_t *hub)
{
    int64_t left = hub->paused ? hub->paused_until - wsgid_gate_now() : -1;

    if (!hub->paused) {
        return -1;
    }
    return left > 0 ? (int)(left / WSGID_MILLISECOND) + 1 : 0;
}

static void resume_listening(wsgid_hub_t *hub)
{
    if (pause_left(hub) == 0) {
        hub->listening = watch_descriptor(hub, hub->listener, EPOLLIN, 0) == 0;
        hub->paused = !hub->listening;
        hub->paused_until = hub->paused ? wsgid_gate_now() + ACCEPT_PAUSE : 0;
    }
}

/* Closes a connection that is not in use. One that httpd has only just opened is about to be. */
static int close_idle(wsgid_hub_t *hub)
{
    for (int i = 0; i < WSGID_CONNECTIONS_CHUNKS; i++) {
        for (int j = 0; hub->chunks[i] && j < WSGID_CONNECTIONS_CHUNK; j++) {
            wsgid_connection_t *connection = &hub->chunks[i][j];

            if (connection->state == CONNECTION_IDLE && connection->used
                && !has_unread(hub, connection)) {
                close_connection(hub, connection);
                return 1;
            }
        }
    }
    return 0;
}

/* No descriptor is free: tries to free one, and returns whether it has. The first connection that
 * is closed replaces a reserve that is missing. */
static int make_room(wsgid_hub_t *hub)
{
    int has_reserve = hub->descriptors.reserve >= 0;

    return (close_idle(hub) && has_reserve) || wsgid_descriptors_release(hub);
}

/* As accept4(), but makes room if there is none. errno is EMFILE if that was in vain.
 * *short_of: EMFILE or ENFILE if it had to. */
static int accept_one(wsgid_hub_t *hub, int *short_of)
{
    int fd = accept4(hub->listener, NULL, NULL, SOCK_CLOEXEC);

    while (fd < 0 && (errno == EMFILE || errno == ENFILE)) {
        *short_of = errno;
        if (!make_room(hub)) {
            errno = *short_of;
            break;
        }
        fd = accept4(hub->listener, NULL, NULL, SOCK_CLOEXEC);
    }
    return fd;
}

/* WSGID_REQUEST: nothing to report; else an outcome. */
static int accept_some(wsgid_endpoint_t *endpoint)
{
    wsgid_hub_t *hub = endpoint->hub;
    int outcome = WSGID_REQUEST;
    int short_of = 0;

    /* If room had to be made, only for one: the epoll reports the listener again. */
    for (int i = 0; i < ACCEPT_AT_ONCE && outcome == WSGID_REQUEST && !short_of; i++) {
        int fd = accept_one(hub, &short_of);

        if (fd >= 0) {
            outcome = admit(endpoint, fd);
        }
        else if (errno == EAGAIN || errno == ECONNABORTED || errno == EINTR) {
            break;
        }
        else {
            short_of = errno;
            pause_listening(hub);
        }
    }
    wsgid_descriptors_reserve(hub);
    return short_of && outcome == WSGID_REQUEST ? report(endpoint, short_of) : outcome;
}

typedef struct {
    int epoll;
    struct epoll_event events[EVENTS_AT_ONCE];
    int most; /* events at once */
    int count;
} arrivals_t;

/* For wsgid_spin(): whether there are events. */
static int has_arrived(void *what)
{
    arrivals_t *arrivals = what;

    arrivals->count = epoll_wait(arrivals->epoll, arrivals->events, arrivals->most, 0);
    return arrivals->count > 0;
}

/* WSGID_REQUEST: nothing to report; else an outcome. */
static int note_arrivals(wsgid_endpoint_t *endpoint, const arrivals_t *arrivals)
{
    wsgid_hub_t *hub = endpoint->hub;
    int outcome = WSGID_REQUEST;

    for (int i = 0; i < arrivals->count && !hub->draining; i++) {
        if (arrivals->events[i].data.u64 >> 32) {
            note_event(hub, &arrivals->events[i]);
        }
        else if (hub->listening && (int)arrivals->events[i].data.u64 == hub->listener) {
            outcome = accept_some(endpoint);
        }
    }
    return outcome;
}

int wsgid_hub_collect(wsgid_endpoint_t *endpoint)
{
    wsgid_hub_t *hub = endpoint->hub;
    arrivals_t arrivals = { .epoll = hub->epoll, .most = hub->waiting > 0 ? 1 : EVENTS_AT_ONCE };

    resume_listening(hub);
    (void)has_arrived(&arrivals);
    return note_arrivals(endpoint, &arrivals);
}

int wsgid_hub_wait(wsgid_endpoint_t *endpoint)
{
    wsgid_hub_t *hub = endpoint->hub;
    arrivals_t arrivals = { .epoll = hub->epoll, .most = 1 };
    int is_first = hub->waiting++ == 0;
    int most = pause_left(hub);

    (void)pthread_mutex_unlock(&hub->lock);
    wsgid_gil_release();
    if (!is_first || !wsgid_spin(&hub->arrivals, has_arrived, &arrivals)) {
        arrivals.count = epoll_wait(hub->epoll, arrivals.events, arrivals.most, most);
    }
    (void)pthread_mutex_lock(&hub->lock);
    hub->waiting--;
    return note_arrivals(endpoint, &arrivals);
}

void wsgid_hub_offer(wsgid_hub_t *hub)
{
    if (hub->ready && hub->waiting > 0) {
        (void)eventfd_write(hub->nudge, 1); /* fails only if it overflows */
    }
}

/* ---- life */

static int64_t nanoseconds(double seconds)
{
    return (int64_t)(seconds * WSGID_SECOND);
}

wsgid_hub_t *wsgid_hub_create(int listener, const void *allowed, int allowed_count, double timeout,
                              double send_limit, double send_silence, int gated, int crowded,
                              char *page)
{
    wsgid_hub_t *hub = calloc(1, sizeof(*hub));

    if (!hub) {
        return NULL;
    }
    (void)pthread_mutex_init(&hub->lock, NULL);
    hub->listener = listener;
    hub->descriptors.reserve = -1;
    hub->pid = (uint32_t)getpid();
    hub->allowed = (const uint32_t *)(const void *)allowed;
    hub->allowed_count = allowed_count;
    hub->timeout = nanoseconds(timeout);
    hub->send_limit = nanoseconds(send_limit);
    hub->send_silence = nanoseconds(send_silence);
    hub->page = (unsigned char *)page;
    hub->ready_end = &hub->ready;
    hub->gate.crowded = crowded;
    wsgid_gate_set(hub, gated);
    hub->epoll = epoll_create1(EPOLL_CLOEXEC);
    hub->wakeup = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    hub->nudge = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    /* Level-triggered and never read: once it is readable, nobody waits in the epoll any more. The
     * other is edge-triggered: each write wakes one worker. */
    if (hub->epoll < 0 || hub->wakeup < 0 || hub->nudge < 0
        || watch_descriptor(hub, hub->wakeup, EPOLLIN, 0) != 0
        || watch_descriptor(hub, hub->nudge, EPOLLIN | EPOLLET, 0) != 0) {
        return NULL; /* the process ends: nothing is freed */
    }
    wsgid_descriptors_reserve(hub);
    return hub;
}

int wsgid_hub_fits(int interface)
{
    return interface == WSGID_INTERFACE;
}

int wsgid_hub_open(wsgid_hub_t *hub)
{
    int done;

    (void)pthread_mutex_lock(&hub->lock);
    done = hub->draining ? 0 : watch_descriptor(hub, hub->listener, EPOLLIN, 0);
    hub->listening = done == 0;
    (void)pthread_mutex_unlock(&hub->lock);
    return done == 0 ? 0 : errno;
}

void wsgid_hub_set_gated(wsgid_hub_t *hub, int gated)
{
    (void)pthread_mutex_lock(&hub->lock);
    wsgid_gate_set(hub, gated);
    (void)pthread_mutex_unlock(&hub->lock);
}

/* The sum of what `act` returns. */
static int for_each_connection(wsgid_hub_t *hub, int (*act)(wsgid_hub_t *, wsgid_connection_t *))
{
    int sum = 0;

    for (int i = 0; i < WSGID_CONNECTIONS_CHUNKS; i++) {
        for (int j = 0; hub->chunks[i] && j < WSGID_CONNECTIONS_CHUNK; j++) {
            sum += act(hub, &hub->chunks[i][j]);
        }
    }
    return sum;
}

int wsgid_hub_waiting(wsgid_hub_t *hub)
{
    int waiting;

    wsgid_gil_release(); /* a system call for each connection */
    (void)pthread_mutex_lock(&hub->lock);
    waiting = for_each_connection(hub, has_unread);
    (void)pthread_mutex_unlock(&hub->lock);
    wsgid_gil_take_back();
    return waiting;
}

static int close_if_unowned(wsgid_hub_t *hub, wsgid_connection_t *connection)
{
    if (is_unowned(connection)) {
        close_connection(hub, connection);
    }
    return 0;
}

/* Closes our copy of the listener, which the guardian and a replacement have, too. */
static void close_listener(wsgid_hub_t *hub)
{
    struct epoll_event unused = { 0 };

    if (hub->listening) {
        (void)epoll_ctl(hub->epoll, EPOLL_CTL_DEL, hub->listener, &unused);
    }
    close(hub->listener);
    hub->listener = -1;
    hub->listening = hub->paused = 0;
}

void wsgid_hub_drain(wsgid_hub_t *hub)
{
    wsgid_gil_release(); /* a system call for each connection */
    (void)pthread_mutex_lock(&hub->lock);
    if (!hub->draining) {
        hub->draining = 1;
        close_listener(hub);
        (void)wsgid_descriptors_release(hub); /* the end of the process may need one */
        (void)for_each_connection(hub, close_if_unowned);
        hub->ready = NULL;
        hub->ready_end = &hub->ready;
        (void)eventfd_write(hub->wakeup, 1); /* fails only if it overflows */
        for (wsgid_endpoint_t *endpoint = hub->endpoints; endpoint; endpoint = endpoint->next) {
            (void)pthread_cond_signal(&endpoint->turn.wake);
        }
    }
    (void)pthread_mutex_unlock(&hub->lock);
    wsgid_gil_take_back();
}

/* ---- forks of the application */

static int close_copy(wsgid_hub_t *hub, wsgid_connection_t *connection)
{
    (void)hub;
    if (connection->state != CONNECTION_FREE) {
        close(connection->fd);
        connection->state = CONNECTION_FREE;
    }
    return 0;
}

void wsgid_hub_abandon(wsgid_hub_t *hub)
{
    (void)pthread_mutex_init(&hub->lock, NULL); /* another thread of the parent may have held it */
    (void)for_each_connection(hub, close_copy);
    for (wsgid_endpoint_t *endpoint = hub->endpoints; endpoint; endpoint = endpoint->next) {
        (void)pthread_mutex_init(&endpoint->sending.lock, NULL);
        endpoint->sending.open = 0;
        endpoint->connection = NULL;
    }
    if (hub->listener >= 0) {
        close(hub->listener);
        hub->listener = -1;
    }
    (void)wsgid_descriptors_release(hub);
    close(hub->epoll);
    close(hub->wakeup);
    close(hub->nudge);
    hub->page = NULL;
    hub->gate.gated = 0; /* nobody is to be woken: a condition may have been locked */
    hub->draining = 1;
}
