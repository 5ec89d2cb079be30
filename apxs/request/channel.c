/*
 * The bytes between an httpd child and a daemon, over one blocking UNIX socket: the REQUEST frame
 * and pieces of BODY frames out, anything in.
 *
 * Every wait is bounded. A send ends after WSGID_CHANNEL_SLICE (SO_SNDTIMEO, set by dispatch.c), a
 * wait for the daemon too; the caller then decides whether to go on.
 *
 * "At most once" depends on two cases that are kept apart here. EPIPE and ECONNRESET mean that the
 * daemon exited without reading our bytes (WSGID_E_NOT_STARTED). End of file means that it had read
 * them (WSGID_E_DIED).
 *
 * Frames from the daemon are not interpreted here.
 */
#include "request/exchange.h"

#include <errno.h>
#include <linux/sockios.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/uio.h>
#include <unistd.h>

#define BUFFER_ROOM 16384 /* most responses fit, so one receive is enough */
#define BODY_BUCKET 65536 /* body bytes per receive: enough to make the call negligible */

static int is_gone(int error)
{
    return error == EPIPE || error == ECONNRESET || error == ENOTCONN;
}

void wsgid_channel_begin(wsgid_exchange_t *x)
{
    x->received.start = x->received.end = 0;
    x->received.came_at = wsgid_clock_now();
}

void wsgid_channel_end(wsgid_exchange_t *x)
{
    int file = wsgid_channel_take_file(x);

    if (file >= 0) {
        close(file);
    }
}

/* ---- out */

/* Removes bytes that have been sent from the front of the message. */
static void remove_sent(struct msghdr *message, size_t sent)
{
    while (message->msg_iovlen > 0 && sent >= message->msg_iov->iov_len) {
        sent -= message->msg_iov->iov_len;
        message->msg_iov++;
        message->msg_iovlen--;
    }
    if (message->msg_iovlen > 0) {
        message->msg_iov->iov_base = (char *)message->msg_iov->iov_base + sent;
        message->msg_iov->iov_len -= sent;
    }
}

/* A send did not succeed: APR_SUCCESS if it is to be tried again, or why not. */
static apr_status_t try_again(const wsgid_exchange_t *x, int error, apr_time_t deadline)
{
    if (is_gone(error)) {
        return WSGID_E_NOT_STARTED;
    }
    if (error != EAGAIN) {
        return error == EINTR ? APR_SUCCESS : error;
    }
    if (!wsgid_dispatch_is_worth_waiting(x)) {
        return WSGID_E_NOT_STARTED;
    }
    return wsgid_clock_now() > deadline ? WSGID_E_TIMEOUT : APR_SUCCESS;
}

/* Sends the whole message. It cannot deadlock: the daemon reads a whole REQUEST before it sends
 * anything. */
static apr_status_t send_all(wsgid_exchange_t *x, struct msghdr *message)
{
    apr_time_t deadline = wsgid_clock_now() + WSGID_NUMBER(x->group, SOCKET_TIMEOUT);
    apr_status_t rv = APR_SUCCESS;

    while (rv == APR_SUCCESS && message->msg_iovlen > 0) {
        ssize_t sent = sendmsg(x->connection.fd, message, MSG_NOSIGNAL);

        if (sent >= 0) {
            remove_sent(message, (size_t)sent);
        }
        else {
            rv = try_again(x, errno, deadline);
        }
    }
    return rv;
}

/* Unique among the requests of all children. A daemon uses it to tell a late log line of one
 * request from those of the next. */
static uint64_t new_request_id(void)
{
    static apr_uint32_t counter;

    return (uint64_t)getpid() << 32 | __atomic_add_fetch(&counter, 1, __ATOMIC_RELAXED);
}

static uint8_t request_flags(const wsgid_exchange_t *x)
{
    if (x->upload.is_read && x->upload.stored == 0) {
        return WSGID_WIRE_END;
    }
    return x->r->expecting_100 ? WSGID_WIRE_ON_DEMAND : 0;
}

apr_status_t wsgid_channel_send_request(wsgid_exchange_t *x)
{
    unsigned char head[WSGID_WIRE_HEADER_SIZE + WSGID_WIRE_REQUEST_PREFIX];
    unsigned char *prefix = head + WSGID_WIRE_HEADER_SIZE;
    apr_size_t length = WSGID_WIRE_REQUEST_PREFIX + x->environ.length + x->upload.start_length;
    struct iovec parts[3] = { { head, sizeof(head) },
                              { x->environ.bytes, x->environ.length },
                              { x->upload.start, x->upload.start_length } };
    struct msghdr message = { .msg_iov = parts, .msg_iovlen = x->upload.start_length > 0 ? 3 : 2 };

    wsgid_wire_put_header(head, WSGID_WIRE_REQUEST, request_flags(x), (uint32_t)length);
    wsgid_wire_put_u64(prefix, new_request_id());
    wsgid_wire_put_u64(prefix + 8, (uint64_t)x->timing.ready_wall);
    wsgid_wire_put_u32(prefix + 16, (uint32_t)x->environ.line);
    wsgid_wire_put_u32(prefix + 20, (uint32_t)x->environ.length);
    return send_all(x, &message);
}

apr_status_t wsgid_channel_send(wsgid_exchange_t *x, const unsigned char *bytes, apr_size_t length,
                                apr_size_t *sent)
{
    *sent = 0;
    while (*sent < length) {
        ssize_t count = send(x->connection.fd, bytes + *sent, length - *sent,
                             MSG_NOSIGNAL | MSG_DONTWAIT);

        if (count >= 0) {
            *sent += (apr_size_t)count;
        }
        else if (errno != EINTR) {
            return errno == EAGAIN ? APR_EAGAIN : is_gone(errno) ? APR_EOF : errno;
        }
    }
    return APR_SUCCESS;
}

int wsgid_channel_is_request_unread(const wsgid_exchange_t *x)
{
    int unread = 0;

    return ioctl(x->connection.fd, SIOCOUTQ, &unread) == 0 && unread > 0;
}

int wsgid_channel_hang_up(const wsgid_exchange_t *x)
{
    return shutdown(x->connection.fd, SHUT_WR) != 0 || wsgid_channel_is_request_unread(x);
}

/* ---- how long the daemon has waited for httpd */

/*
 * A daemon waits for httpd, at most, from the end of a receive that brought something to the start
 * of the next. It gives up after send-timeout in all (pywsgid/native/send.c). If
 * send-timeout is not set, it gives up when nothing has moved for socket-timeout.
 */
static void end_wait(wsgid_exchange_t *x)
{
    if (x->received.left_at) {
        x->received.daemon_waited += wsgid_clock_now() - x->received.left_at;
        x->received.left_at = 0;
    }
}

static void begin_wait(wsgid_exchange_t *x)
{
    x->received.came_at = x->received.left_at = wsgid_clock_now();
    if (!WSGID_NUMBER(x->group, SEND_TIMEOUT)) {
        x->received.daemon_waited = 0;
    }
}

/* Three quarters of the limit are enough, because the daemon also counts the time that it takes to
 * wake up, which httpd cannot see. */
int wsgid_channel_has_kept_daemon_waiting(const wsgid_exchange_t *x)
{
    apr_interval_time_t limit = WSGID_NUMBER(x->group, SEND_TIMEOUT);

    if (!limit) {
        limit = WSGID_NUMBER(x->group, SOCKET_TIMEOUT);
    }
    return x->received.daemon_waited >= limit / 4 * 3;
}

/* ---- in */

/* Keeps the descriptor that came with the message. One that is there already was not used: it is
 * closed. */
static void keep_descriptor(wsgid_exchange_t *x, struct msghdr *message)
{
    struct cmsghdr *part = CMSG_FIRSTHDR(message);

    if (!part || part->cmsg_level != SOL_SOCKET || part->cmsg_type != SCM_RIGHTS
        || part->cmsg_len != CMSG_LEN(sizeof(int))) {
        return;
    }
    wsgid_channel_end(x);
    memcpy(&x->received.file, CMSG_DATA(part), sizeof(int));
}

int wsgid_channel_take_file(wsgid_exchange_t *x)
{
    int file = x->received.file;

    x->received.file = -1;
    return file;
}

/* One receive. It has room for one descriptor: the kernel closes any more that a daemon sends. */
typedef struct {
    int fd;
    struct msghdr message;
    union {
        struct cmsghdr aligned;
        char bytes[CMSG_SPACE(sizeof(int))];
    } control;
    ssize_t count; /* recvmsg()'s result */
} reception_t;

static void receive_now(reception_t *reception)
{
    do {
        reception->message.msg_control = reception->control.bytes;
        reception->message.msg_controllen = CMSG_LEN(sizeof(int));
        reception->count = recvmsg(reception->fd, &reception->message,
                                   MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
    } while (reception->count < 0 && errno == EINTR);
}

/* For wsgid_spin. */
static int try_receive(void *reception)
{
    receive_now(reception);
    return ((reception_t *)reception)->count >= 0 || errno != EAGAIN;
}

/*
 * Sleeps until something has come, at most for a slice. The sleep is in poll(), because recvmsg()
 * would also be woken when the daemon reads the request: readers and writers of a stream socket
 * sleep on one queue, and only poll() says which of them it is.
 */
static void sleep_until_received(reception_t *reception)
{
    struct pollfd daemon = { .fd = reception->fd, .events = POLLIN };

    if (poll(&daemon, 1, (int)apr_time_as_msec(WSGID_CHANNEL_SLICE)) < 0 && errno != EINTR) {
        reception->count = -1;
        return;
    }
    receive_now(reception);
}

/* Handles what recvmsg() has returned; errno is still that of a failed one. */
static apr_status_t end_receive(wsgid_exchange_t *x, reception_t *reception)
{
    if (reception->count > 0) {
        keep_descriptor(x, &reception->message);
        begin_wait(x);
        return APR_SUCCESS;
    }
    if (reception->count == 0) {
        return WSGID_E_DIED;
    }
    if (is_gone(errno)) {
        return x->response.heard ? WSGID_E_DIED : WSGID_E_NOT_STARTED;
    }
    return errno == EAGAIN ? APR_EAGAIN : errno;
}

/* Receives into the parts; *got: how many bytes. */
static apr_status_t receive_parts(wsgid_exchange_t *x, struct iovec *parts, int count, int wait,
                                  apr_size_t *got)
{
    reception_t reception = { .fd = x->connection.fd,
                              .message = { .msg_iov = parts, .msg_iovlen = (size_t)count } };

    end_wait(x);
    if (!wait) {
        receive_now(&reception);
    }
    else if (!wsgid_spin(&x->pool->answers, try_receive, &reception)) {
        sleep_until_received(&reception);
    }
    *got = reception.count > 0 ? (apr_size_t)reception.count : 0;
    return end_receive(x, &reception);
}

/* Moves the available bytes to the start of the buffer, which then has room for all bytes of the
 * current frame, and for one more at least. */
static void make_room(wsgid_exchange_t *x)
{
    apr_size_t available = wsgid_channel_available(x);
    apr_size_t room = x->received.needed > BUFFER_ROOM ? x->received.needed : BUFFER_ROOM;

    if (x->received.room < room) {
        /* doubled, as what is too small now is freed only with the request */
        room = room > 2 * x->received.room ? room : 2 * x->received.room;
    }
    if (x->received.room < room) {
        unsigned char *larger = apr_palloc(x->r->pool, room);

        if (available > 0) {
            memcpy(larger, wsgid_channel_bytes(x), available);
        }
        x->received.bytes = larger;
        x->received.room = room;
    }
    else {
        memmove(x->received.bytes, wsgid_channel_bytes(x), available);
    }
    x->received.start = 0;
    x->received.end = available;
}

apr_status_t wsgid_channel_receive(wsgid_exchange_t *x, int wait)
{
    struct iovec part;
    apr_size_t got;
    apr_status_t rv;

    if (x->received.start == x->received.end) {
        x->received.start = x->received.end = 0;
    }
    if (x->received.end == x->received.room
        || x->received.room - x->received.start < x->received.needed) {
        make_room(x);
    }
    part = (struct iovec){ x->received.bytes + x->received.end,
                           x->received.room - x->received.end };
    rv = receive_parts(x, &part, 1, wait, &got);
    x->received.end += got;
    return rv;
}

apr_status_t wsgid_channel_receive_body(wsgid_exchange_t *x, apr_size_t left, int wait,
                                        apr_bucket **bucket)
{
    apr_bucket_alloc_t *allocator = x->r->connection->bucket_alloc;
    apr_size_t room = left < BODY_BUCKET ? left : BODY_BUCKET;
    char *bytes = apr_bucket_alloc(room, allocator);
    /* the next frame may follow: the buffer is empty */
    struct iovec parts[2] = { { bytes, room }, { x->received.bytes, x->received.room } };
    apr_size_t got, body;
    apr_status_t rv = receive_parts(x, parts, room == left ? 2 : 1, wait, &got);

    if (rv != APR_SUCCESS) {
        apr_bucket_free(bytes);
        return rv;
    }
    body = got < room ? got : room;
    if (body < BODY_BUCKET / 4 && body <= x->received.room && got == body) {
        /* a bucket would have much more memory than bytes, and one that is kept counts its bytes */
        memcpy(x->received.bytes, bytes, body);
        apr_bucket_free(bytes);
        *bucket = NULL;
        x->received.start = 0;
        x->received.end = body;
        return APR_SUCCESS;
    }
    *bucket = apr_bucket_heap_create(bytes, body, apr_bucket_free, allocator);
    x->received.start = 0;
    x->received.end = got - body;
    return APR_SUCCESS;
}

/* ---- the buffer */

const unsigned char *wsgid_channel_bytes(const wsgid_exchange_t *x)
{
    return x->received.bytes + x->received.start;
}

apr_size_t wsgid_channel_available(const wsgid_exchange_t *x)
{
    return x->received.end - x->received.start;
}

apr_status_t wsgid_channel_need(wsgid_exchange_t *x, apr_size_t length)
{
    x->received.needed = length;
    return wsgid_channel_available(x) >= length ? APR_SUCCESS : APR_EAGAIN;
}

void wsgid_channel_skip(wsgid_exchange_t *x, apr_size_t length)
{
    x->received.start += length;
}
