/* The smallest relay between a load and applications: passes bytes on, and knows nothing about
 * HTTP.
 *
 *     relay LISTENER PATH [PATH ...]
 *
 * LISTENER is the number of an inherited listening socket. For each connection to it, the relay
 * opens one to a UNIX socket, taking the PATHs in turn. One thread, one epoll, no queue: floor.py,
 * which measures it, never sends more than fits into a socket.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define MOST_DESCRIPTORS 1024
#define EVENTS           64

/* For each descriptor, the one that its bytes go to; 0 if there is none. */
static int other[MOST_DESCRIPTORS];

static void die(const char *what)
{
    perror(what);
    exit(1);
}

static void watch(int poller, int fd)
{
    struct epoll_event event = { .events = EPOLLIN, .data.fd = fd };

    if (epoll_ctl(poller, EPOLL_CTL_ADD, fd, &event) < 0)
        die("relay: epoll_ctl");
}

static int connect_to(const char *path)
{
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    if (fd < 0 || fd >= MOST_DESCRIPTORS)
        die("relay: socket");
    snprintf(address.sun_path, sizeof(address.sun_path), "%s", path);
    if (connect(fd, (struct sockaddr *)&address, sizeof(address)) < 0)
        die(path);
    return fd;
}

static void take(int poller, int listener, const char *path)
{
    int at_once = 1, upstream, client = accept4(listener, NULL, NULL, SOCK_CLOEXEC);

    if (client < 0)
        return;
    if (client >= MOST_DESCRIPTORS
        || setsockopt(client, IPPROTO_TCP, TCP_NODELAY, &at_once, sizeof(at_once)) < 0)
        die("relay: accept");
    upstream = connect_to(path);
    other[client] = upstream;
    other[upstream] = client;
    watch(poller, client);
    watch(poller, upstream);
}

static void pass_on(int fd)
{
    char bytes[16384];
    ssize_t count = recv(fd, bytes, sizeof(bytes), 0);

    if (count > 0 && send(other[fd], bytes, (size_t)count, MSG_NOSIGNAL) == count)
        return;
    close(other[fd]);
    close(fd);
    other[other[fd]] = 0;
    other[fd] = 0;
}

int main(int argc, char **argv)
{
    struct epoll_event events[EVENTS];
    int listener = argc > 2 ? atoi(argv[1]) : -1, poller = epoll_create1(EPOLL_CLOEXEC), path = 2;

    if (listener < 0) {
        fputs("usage: relay LISTENER PATH [PATH ...]\n", stderr);
        return 2;
    }
    if (poller < 0)
        die("relay: epoll_create1");
    watch(poller, listener);
    for (;;) {
        int ready = epoll_wait(poller, events, EVENTS, -1);

        if (ready < 0 && errno != EINTR)
            die("relay: epoll_wait");
        for (int i = 0; i < ready; i++) {
            int fd = events[i].data.fd;

            if (fd == listener) {
                take(poller, listener, argv[path]);
                path = path + 1 < argc ? path + 1 : 2;
            }
            else if (other[fd]) {
                pass_on(fd);
            }
        }
    }
}
