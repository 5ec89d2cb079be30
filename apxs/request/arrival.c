/*
 * How long a request has waited in httpd before one of its threads read it.
 *
 * While all threads of httpd are busy, requests wait where no module sees them: in kept-alive
 * connections and in the listen queue. The kernel knows when the last bytes of a connection came.
 * Bytes that came before httpd began to read the request are the request itself, so the time
 * between the two is its wait. A request whose bytes came later has not waited. (HTTP/2: the last
 * bytes may belong to another request, so the wait may be longer than what is measured.)
 *
 * A client that finds the listen queue full has to try again after a second or more. So while the
 * kernel turns clients away, every request counts as one that has waited for a second.
 *
 * A daemon uses this to find out whether it is overloaded (pywsgid/daemon/wsgi/overload.py). So it
 * is measured only while requests to the same group have to wait there, too; other requests pay
 * nothing.
 */
#include "request/exchange.h"

#include <netinet/tcp.h>
#include <sys/socket.h>

#include "ap_listen.h"
#include "apr_portable.h"

/* A shorter wait for a daemon is none: as TAKEN_BACK_AFTER in pywsgid/daemon/wsgi/worker.py. */
#define SHORT_WAIT 50000 /* microseconds */
/* A client that finds the listen queue full tries again after this time (RFC 6298). */
#define FULL_QUEUE_WAIT apr_time_from_sec(1)

void wsgid_arrival_note_wait(wsgid_group_t *group, apr_uint32_t waited)
{
    __atomic_store_n(&group->last_wait, waited, __ATOMIC_RELAXED);
}

/* 0: the kernel does not say. */
static int get_info(apr_socket_t *socket, struct tcp_info *info)
{
    socklen_t size = sizeof(*info);
    apr_os_sock_t fd;

    return socket && apr_os_sock_get(&fd, socket) == APR_SUCCESS
           && getsockopt(fd, IPPROTO_TCP, TCP_INFO, info, &size) == 0;
}

static apr_interval_time_t wait_of(const request_rec *r)
{
    conn_rec *c = r->connection->master ? r->connection->master : r->connection;
    struct tcp_info info;

    if (!get_info(ap_get_conn_socket(c), &info)) {
        return 0;
    }
    return apr_time_from_msec(info.tcpi_last_data_recv) - (apr_time_now() - r->request_time);
}

/* Whether the queue of a listener is full: of one that listens, tcp_info has the length of that
 * queue and its limit. Connections that the kernel has dropped say nothing: with TCP_DEFER_ACCEPT
 * (AcceptFilter) each one counts as dropped once. */
static int is_any_queue_full(void)
{
    const ap_listen_rec *listener;

    for (listener = ap_listeners; listener; listener = listener->next) {
        struct tcp_info info;

        if (get_info(listener->sd, &info) && info.tcpi_sacked
            && info.tcpi_unacked >= info.tcpi_sacked) {
            return 1;
        }
    }
    return 0;
}

/* Whether clients have been turned away within the last FULL_QUEUE_WAIT, as far as this child has
 * looked. */
static int is_listen_queue_full(void)
{
    static apr_time_t full_until;
    apr_time_t now = wsgid_clock_now();

    if (is_any_queue_full()) {
        __atomic_store_n(&full_until, now + FULL_QUEUE_WAIT, __ATOMIC_RELAXED);
    }
    return now < __atomic_load_n(&full_until, __ATOMIC_RELAXED);
}

apr_interval_time_t wsgid_arrival_wait(const wsgid_exchange_t *x)
{
    apr_interval_time_t waited;

    if (__atomic_load_n(&x->group->last_wait, __ATOMIC_RELAXED) < SHORT_WAIT) {
        return 0;
    }
    waited = wait_of(x->r);
    if (waited < FULL_QUEUE_WAIT && is_listen_queue_full()) {
        return FULL_QUEUE_WAIT;
    }
    return waited > 0 ? waited : 0;
}
