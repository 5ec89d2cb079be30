/*
 * The bytes between an httpd child and a daemon: frames out, bytes in, over one blocking UNIX
 * socket.
 *
 * Every wait is bounded: a send (by the socket's own timeout, which dispatch.c sets) and a wait for
 * the daemon end after WSGID_CHANNEL_SLICE, and the caller decides whether to go on. What the
 * kernel says of a peer that has gone is kept apart here, because at-most-once rests on it: EPIPE
 * and ECONNRESET mean that our bytes were not read (WSGID_E_NOT_STARTED), end-of-file that they
 * were (WSGID_E_DIED). No frame is understood here.
 */
#include "request/exchange.h"

#include <errno.h>
#include <linux/sockios.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/uio.h>
#include <unistd.h>

#define FIRST_ROOM  16384 /* most answers fit, so that one receive is all */
#define BODY_BUCKET 65536 /* body bytes a receive: large enough that the calls do not count */

static int is_gone(int error)
{
    return error == EPIPE || error == ECONNRESET || error == ENOTCONN;
}

/* A send that has taken bytes of the iovec: steps over them. */
static void step_over(struct msghdr *message, size_t sent)
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

/* Sends it all. The daemon reads a REQUEST whole before anything else, so waiting for it cannot
 * deadlock. */
static apr_status_t send_all(wsgid_exchange_t *x, struct msghdr *message)
{
    apr_time_t deadline = wsgid_clock_now() + WSGID_NUMBER(x->group, SOCKET_TIMEOUT);

    while (message->msg_iovlen > 0) {
        ssize_t sent = sendmsg(x->connection.fd, message, MSG_NOSIGNAL);

        if (sent >= 0) {
            step_over(message, (size_t)sent);
        }
        else if (is_gone(errno)) {
            return WSGID_E_NOT_STARTED;
        }
        else if (errno == EAGAIN) {
            wsgid_slot_state_e state = wsgid_slots_state(x->connection.slot);

            if (state != WSGID_SLOT_READY && state != WSGID_SLOT_BOOTING) {
                return WSGID_E_NOT_STARTED;
            }
            if (wsgid_clock_now() > deadline) {
                return WSGID_E_TIMEOUT;
            }
        }
        else if (errno != EINTR) {
            return errno;
        }
    }
    return APR_SUCCESS;
}

apr_status_t wsgid_channel_send_request(wsgid_exchange_t *x)
{
    /* makes request ids unique within a child; a late line of one request is told from the next by
     * it */
    static apr_uint32_t counter;
    unsigned char head[WSGID_WIRE_HEADER_SIZE + WSGID_WIRE_REQUEST_PREFIX];
    uint8_t flags = 0;
    struct iovec parts[3];
    struct msghdr message = { .msg_iov = parts, .msg_iovlen = x->upload.start_length > 0 ? 3 : 2 };
    apr_status_t rv;

    if (x->upload.is_read) {
        flags |= WSGID_WIRE_END;
    }
    else if (x->r->expecting_100) {
        flags |= WSGID_WIRE_ON_DEMAND;
    }
    wsgid_wire_put_header(head, WSGID_WIRE_REQUEST, flags,
                          (uint32_t)(WSGID_WIRE_REQUEST_PREFIX + x->environ.length
                                     + x->upload.start_length));
    wsgid_wire_put_u64(head + WSGID_WIRE_HEADER_SIZE,
                       (uint64_t)getpid() << 32
                           | __atomic_add_fetch(&counter, 1, __ATOMIC_RELAXED));
    wsgid_wire_put_u64(head + WSGID_WIRE_HEADER_SIZE + 8, (uint64_t)x->timing.ready_wall);
    wsgid_wire_put_u32(head + WSGID_WIRE_HEADER_SIZE + 16, (uint32_t)x->environ.line);
    wsgid_wire_put_u32(head + WSGID_WIRE_HEADER_SIZE + 20, (uint32_t)x->environ.length);
    parts[0] = (struct iovec){ head, sizeof(head) };
    parts[1] = (struct iovec){ x->environ.bytes, x->environ.length };
    parts[2] = (struct iovec){ x->upload.start, x->upload.start_length };
    rv = send_all(x, &message);
    x->upload.is_sent = rv == APR_SUCCESS && x->upload.is_read;
    return rv;
}

apr_status_t wsgid_channel_send_pending(wsgid_exchange_t *x)
{
    while (x->upload.frame_start < x->upload.frame_end) {
        ssize_t sent = send(x->connection.fd, x->upload.frame + x->upload.frame_start,
                            x->upload.frame_end - x->upload.frame_start,
                            MSG_NOSIGNAL | MSG_DONTWAIT);

        if (sent >= 0) {
            x->upload.frame_start += (apr_size_t)sent;
        }
        else if (errno == EAGAIN) {
            return APR_EAGAIN;
        }
        else if (is_gone(errno)) {
            /* It stopped reading; whether it still says something is the receiving side's to find
             * out. */
            x->upload.credit = 0;
            x->upload.frame_start = x->upload.frame_end;
        }
        else if (errno != EINTR) {
            return errno;
        }
    }
    return APR_SUCCESS;
}

/* Keeps the descriptor that came along as x->received.file; a second one, or one too many, is
 * closed. */
static void take_descriptor(wsgid_exchange_t *x, struct msghdr *message)
{
    struct cmsghdr *part = CMSG_FIRSTHDR(message);
    int fd;

    if (!part || part->cmsg_level != SOL_SOCKET || part->cmsg_type != SCM_RIGHTS
        || part->cmsg_len != CMSG_LEN(sizeof(int))) {
        return;
    }
    memcpy(&fd, CMSG_DATA(part), sizeof(fd));
    if (x->received.file >= 0) {
        close(x->received.file);
    }
    x->received.file = fd;
}

/*
 * A daemon waits for us, at most, from the end of a receive that brought something to the begin of
 * the next. It gives up as send-timeout says, in all (pywsgid/daemon/transport/transport.py,
 * Patience); where that is not named, when nothing moved for socket-timeout.
 */
static void account(wsgid_exchange_t *x)
{
    if (x->received.left_off) {
        x->received.held += wsgid_clock_now() - x->received.left_off;
        x->received.left_off = 0;
    }
}

static void came_in(wsgid_exchange_t *x)
{
    x->last_moved = x->received.left_off = wsgid_clock_now();
    if (!WSGID_NUMBER(x->group, SEND_TIMEOUT)) {
        x->received.held = 0;
    }
}

/* Three quarters of the limit are enough: the daemon also counts what it takes to wake up, which is
 * not seen from here. */
int wsgid_channel_was_too_slow(const wsgid_exchange_t *x)
{
    apr_interval_time_t limit = WSGID_NUMBER(x->group, SEND_TIMEOUT);

    if (!limit) {
        limit = WSGID_NUMBER(x->group, SOCKET_TIMEOUT);
    }
    return x->response.has_begun && x->received.held >= limit / 4 * 3;
}

/* One receive. There is room for one descriptor: the kernel closes what a daemon sends beyond that.
 */
typedef struct {
    int fd;
    struct msghdr message;
    union {
        struct cmsghdr aligned;
        char bytes[CMSG_SPACE(sizeof(int))];
    } control;
    ssize_t came; /* as recvmsg() says */
} reception_t;

static void receive_once(reception_t *reception, int flags)
{
    do {
        reception->message.msg_control = reception->control.bytes;
        reception->message.msg_controllen = CMSG_LEN(sizeof(int));
        reception->came = recvmsg(reception->fd, &reception->message, flags | MSG_CMSG_CLOEXEC);
    } while (reception->came < 0 && errno == EINTR);
}

/* For wsgid_spin. */
static int has_come(void *reception)
{
    receive_once(reception, MSG_DONTWAIT);
    return ((reception_t *)reception)->came >= 0 || errno != EAGAIN;
}

/*
 * Sleeps until something has come, for a slice at most. Not in recvmsg(), which is woken, too, when
 * the daemon takes the request out of the socket: a stream socket's readers and writers sleep on
 * one queue, and only poll() says whom it waits for.
 */
static void sleep_for(reception_t *reception)
{
    struct pollfd awaited = { .fd = reception->fd, .events = POLLIN };

    if (poll(&awaited, 1, (int)apr_time_as_msec(WSGID_CHANNEL_SLICE)) < 0 && errno != EINTR) {
        reception->came = -1;
        return;
    }
    receive_once(reception, MSG_DONTWAIT);
}

/* Receives into the parts; the caller is told what errno means. */
static apr_status_t receive(wsgid_exchange_t *x, struct iovec *parts, int count, int wait,
                            size_t *got)
{
    reception_t reception = { .fd = x->connection.fd,
                              .message = { .msg_iov = parts, .msg_iovlen = (size_t)count } };

    account(x);
    if (!wait) {
        receive_once(&reception, MSG_DONTWAIT);
    }
    else if (!wsgid_spin(&x->group->answers, has_come, &reception)) {
        sleep_for(&reception);
    }
    if (reception.came > 0) {
        take_descriptor(x, &reception.message);
        *got = (size_t)reception.came;
        came_in(x);
        return APR_SUCCESS;
    }
    if (reception.came == 0) {
        return WSGID_E_DIED;
    }
    if (is_gone(errno)) {
        return x->response.heard ? WSGID_E_DIED : WSGID_E_NOT_STARTED;
    }
    return errno == EAGAIN ? APR_EAGAIN : errno;
}

/* Makes the unread bytes begin at x->received.bytes, with room for x->received.needed of them and
 * for one byte more at least. */
static void make_room(wsgid_exchange_t *x)
{
    apr_size_t unread = x->received.end - x->received.start;
    apr_size_t room = x->received.needed > FIRST_ROOM ? x->received.needed : FIRST_ROOM;

    if (x->received.room < room) {
        unsigned char *larger = apr_palloc(x->r->pool, room);

        if (unread > 0) {
            memcpy(larger, x->received.bytes + x->received.start, unread);
        }
        x->received.bytes = larger;
        x->received.room = room;
    }
    else {
        memmove(x->received.bytes, x->received.bytes + x->received.start, unread);
    }
    x->received.start = 0;
    x->received.end = unread;
}

apr_status_t wsgid_channel_receive(wsgid_exchange_t *x, int wait)
{
    struct iovec part;
    size_t got = 0;
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
    rv = receive(x, &part, 1, wait, &got);
    x->received.end += got;
    return rv;
}

apr_status_t wsgid_channel_receive_body(wsgid_exchange_t *x, int wait)
{
    apr_bucket_alloc_t *allocator = x->r->connection->bucket_alloc;
    size_t room = x->response.frame_left < BODY_BUCKET ? x->response.frame_left : BODY_BUCKET;
    char *bytes = apr_bucket_alloc(room, allocator);
    struct iovec parts[2] = { { bytes, room }, { x->received.bytes, 0 } };
    size_t got = 0, body;
    apr_status_t rv;

    if (room == x->response.frame_left) {
        parts[1].iov_len =
            x->received.room; /* x->received.bytes is empty: the next frame may come along */
    }
    rv = receive(x, parts, 2, wait, &got);
    if (rv != APR_SUCCESS) {
        apr_bucket_free(bytes);
        return rv;
    }
    body = got < room ? got : room;
    APR_BRIGADE_INSERT_TAIL(x->client.queue,
                            apr_bucket_heap_create(bytes, body, apr_bucket_free, allocator));
    x->response.frame_left -= (apr_uint32_t)body;
    x->client.queued += body;
    x->received.start = 0;
    x->received.end = got - body;
    return APR_SUCCESS;
}

int wsgid_channel_is_unread(const wsgid_exchange_t *x)
{
    int unread = 0;

    return ioctl(x->connection.fd, SIOCOUTQ, &unread) == 0 && unread > 0;
}

int wsgid_channel_hang_up(const wsgid_exchange_t *x)
{
    return shutdown(x->connection.fd, SHUT_WR) != 0 || wsgid_channel_is_unread(x);
}
