/*
 * One request at a daemon, as the files of the request path share it: request.c drives it,
 * dispatch.c finds the connection, channel.c moves bytes, body.c feeds the request's body,
 * response.c passes the answer on, failures.c ends what went wrong.
 *
 * An exchange lives in r->pool. Its functions return APR_SUCCESS or why it cannot go on: one of the
 * WSGID_E_ codes below or httpd's own status; only failures.c turns that into an HTTP status.
 */
#ifndef WSGID_EXCHANGE_H
#define WSGID_EXCHANGE_H

#include "common/clock.h"
#include "common/logs.h"
#include "common/spin.h"
#include "common/wire.h"
#include "config/groups.h"
#include "config/route.h"
#include "request/request.h"
#include "slots/slots.h"
#include "wsgid.h"
#include "util_filter.h"
#include "apr_buckets.h"

/* Appends the environ block of a request: key\0value\0 ... */
typedef struct {
    char *bytes;
    apr_size_t length;
    apr_size_t room;
    apr_size_t line; /* where REQUEST_METHOD stands, with REQUEST_URI behind it */
    apr_pool_t *pool;
} wsgid_block_t;

/* Why an exchange ends other than well; failures.c has a row for each. */
enum {
    WSGID_E_UNKNOWN_GROUP = APR_OS_START_USERERR + 1,
    WSGID_E_QUEUE_FULL,      /* over queue-limit */
    WSGID_E_QUEUE_TIMEOUT,   /* unread by the daemon for longer than queue-timeout */
    WSGID_E_NO_PROCESS,      /* no slot is up or coming up */
    WSGID_E_CONNECT_TIMEOUT, /* backlog full for longer than connect-timeout */
    /* the daemon went away with the request unread, or said RETRY: try again */
    WSGID_E_NOT_STARTED,
    WSGID_E_GAVE_UP, /* not started, again and again */
    WSGID_E_DIED,    /* end of file after the request was read */
    /* the same, and we had let the daemon wait for as long as it waits for a client */
    WSGID_E_TOO_SLOW,
    WSGID_E_TIMEOUT,      /* nothing from the daemon for socket-timeout */
    WSGID_E_PROTOCOL,     /* a frame violates the protocol */
    WSGID_E_BAD_RESPONSE, /* status line or headers that must not reach a client */
    WSGID_E_ABORTED,      /* the daemon said ABORT */
    WSGID_E_ENVIRON_TOO_LARGE,
    WSGID_E_REQUEST_BODY, /* httpd's input filters refused the body: x->failure.http_status */
    /* WSGIErrorOverride: the status goes to httpd's ErrorDocument: x->failure.http_status */
    WSGID_E_OVERRIDDEN,
    WSGID_E_SENDFILE, /* X-Sendfile names what it may not: x->failure.http_status */
    /* an output filter has failed, or answered in the response's place (416, say) */
    WSGID_E_FILTER,
    WSGID_E_CLIENT_GONE
};

/*
 * Each part belongs to the file named above it: only that file writes it. Other files may read the
 * fields marked "readable"; for everything else they call the owner's functions.
 */
typedef struct {
    /* Set by request.c before anything else is called; never changed afterwards. */
    request_rec *r;
    const wsgid_route_t *route;
    wsgid_group_t *group; /* NULL: no such group */
    wsgid_block_t environ;

    const char
        *log_mark; /* what the daemon's lines about the request begin with; NULL: not known */
    apr_time_t last_moved;

    /* request.c: when what happened, for limits and access logs. All fields are readable. By
     * wsgid_clock_now(), except ready_wall. */
    struct {
        apr_time_t accepted;   /* the handler began: queue-timeout counts from here */
        apr_time_t ready;      /* ready to be sent, for the first time; 0: not yet */
        apr_time_t ready_wall; /* the same by apr_time_now(), for the daemon's use */
        apr_time_t done;       /* no daemon works on it any more */
    } timing;

    /* request.c: how often the request was sent, and where to. All fields are readable. */
    struct {
        int count;
        const wsgid_slot_t *last_slot;
        int unread; /* given up before any daemon read it */
    } attempts;

    /* dispatch.c: the connection to a daemon. All fields are readable. */
    struct {
        wsgid_slot_t *slot; /* counted as in flight there; NULL: none */
        int fd;             /* -1: none */
        wsgid_pids_t pids;  /* the slot's processes when the connection was chosen */
        int was_idle;       /* used before: its daemon may have exited since */
    } connection;

    /* body.c: the request's body, on its way from the client to the daemon. */
    struct {
        unsigned char *start;    /* readable: body bytes that travel in REQUEST, kept for a retry */
        apr_size_t start_length; /* readable */
        apr_off_t declared;      /* readable: Content-Length, -1: none (a chunked body) */
        apr_off_t taken;         /* bytes read from the client so far */
        int is_read;             /* readable: the body has been read to its end */
        int is_sent;
        int uninvited; /* the response began before 100 Continue was sent: it never will be */
        int granted;   /* readable: the daemon has granted credit */
        apr_uint64_t credit;
        unsigned char *frame; /* a BODY frame that is being sent; NULL: none so far */
        apr_size_t frame_start, frame_end;
        apr_bucket_brigade *brigade;
    } upload;

    /* channel.c: bytes from the daemon that nobody has consumed yet. */
    struct {
        unsigned char *bytes;
        apr_size_t start, end, room;
        apr_size_t needed;        /* unread bytes without which the current frame cannot go on */
        int file;                 /* a descriptor that came with the bytes; -1: none */
        apr_time_t left_off;      /* when the last receive ended; 0: it brought nothing */
        apr_interval_time_t held; /* how long the daemon may have waited for httpd so far */
    } received;

    /* response.c: what the daemon has said so far. */
    struct {
        int heard;               /* readable: any frame has come, so the request was read */
        int has_started;         /* readable: STARTED has come, */
        apr_uint32_t pid;        /* readable: from this process, by its own word; 0: not known */
        apr_uint32_t waited;     /* readable: microseconds in the queue, by its own word */
        int has_begun;           /* readable: RESPONSE has come, its head is in r */
        int has_ended;           /* readable: the response is complete */
        int in_frame;            /* within a frame whose bytes are passed on as they come: */
        apr_uint32_t frame_left; /* how many are still to come, */
        int frame_ends;          /* and whether it has the flag END */
    } response;

    /* client.c: the response on its way to the client. */
    struct {
        int socket;    /* readable: -1 for a connection without a socket of its own (HTTP/2) */
        int input;     /* readable: polls readable when more of the upload has come; -1: none */
        int closes;    /* "Connection: close" was sent because of a long upload */
        int has_begun; /* readable: httpd's filters have got some of the response */
        apr_bucket_brigade *queue; /* what the filters have not got yet */
        apr_size_t queued;         /* readable: bytes in the queue, but for those of whole files */
        apr_bucket_brigade *rest;  /* empty, but while a part of the queue is passed on */
        apr_size_t unflushed;      /* readable: bytes that the filters got after the last flush */
        apr_uint64_t passed_bytes; /* bytes that the filters have got */
        apr_uint64_t file_bytes;   /* bytes of whole files */
    } client;

    /* For failures.c, set by wsgid_exchange_fail(). */
    struct {
        int http_status;    /* of WSGID_E_ABORTED, _REQUEST_BODY, _OVERRIDDEN, _SENDFILE */
        const char *detail; /* NULL, or what exactly */
    } failure;
} wsgid_exchange_t;

/* ---- environ.c */

/* Makes the environ block. WSGID_E_ENVIRON_TOO_LARGE is the only error. */
apr_status_t wsgid_environ_build(request_rec *r, const wsgid_route_t *route, wsgid_block_t *block);

/* ---- dispatch.c */

/* Chooses a slot and a connection to it: sets x->connection.slot and x->connection.fd. avoid: a
 * slot to take only if there is no other, or NULL. */
apr_status_t wsgid_dispatch_acquire(wsgid_exchange_t *x, const wsgid_slot_t *avoid);
/* Gives the connection back for the next request (keep) or closes it; leaves the slot. */
void wsgid_dispatch_release(wsgid_exchange_t *x, int keep);

/* ---- channel.c */

/* A blocking call on a connection to a daemon returns this often, so that its caller can look
 * around. */
#define WSGID_CHANNEL_SLICE apr_time_from_msec(100)

/* Sends the REQUEST frame. */
apr_status_t wsgid_channel_send_request(wsgid_exchange_t *x);
/* Sends what it can of x->upload.frame without waiting. APR_EAGAIN: some is left. */
apr_status_t wsgid_channel_send_pending(wsgid_exchange_t *x);
/* Appends what has come to x->received.bytes. APR_EAGAIN: nothing came (within a slice, if wait is
 * set). May move x->received.bytes: what x->client.queue has of it must have been passed. */
apr_status_t wsgid_channel_receive(wsgid_exchange_t *x, int wait);
/* Receives body bytes of the current frame (x->response.frame_left) into a bucket of their own,
 * uncopied, and what follows them into x->received.bytes. */
apr_status_t wsgid_channel_receive_body(wsgid_exchange_t *x, int wait);
/* Whether the daemon, that has closed the connection, must have done so because its client is too
 * slow. */
int wsgid_channel_was_too_slow(const wsgid_exchange_t *x);
/* Whether the daemon has not yet read all that was sent. */
int wsgid_channel_is_unread(const wsgid_exchange_t *x);
/* Closes our end for sending. 1: what was sent is unread even so, and no daemon will start it; 0:
 * it has been read meanwhile. */
int wsgid_channel_hang_up(const wsgid_exchange_t *x);

/* ---- body.c */

/* Reads the start of the body, to travel in REQUEST. */
apr_status_t wsgid_body_read_start(wsgid_exchange_t *x);
/* Moves the body on as far as credit and the client allow, without waiting. */
apr_status_t wsgid_body_feed(wsgid_exchange_t *x);
/* Whether bytes from the client are wanted now. */
int wsgid_body_is_wanted(const wsgid_exchange_t *x);
/* Throws away what the client has sent of a body that nobody wants any more; does not wait. */
apr_status_t wsgid_body_discard(wsgid_exchange_t *x);
/* Whether so much of the body is left that reading it for the connection's sake would cost more
 * than another connection. */
int wsgid_body_is_long(const wsgid_exchange_t *x);

/* ---- client.c */

void wsgid_client_open(wsgid_exchange_t *x);
/* Whether it closed its end. */
int wsgid_client_is_gone(const wsgid_exchange_t *x);
/* Sends "Connection: close" with the response if most of the upload will never be read. Call it
 * before the head is passed. */
void wsgid_client_announce_close(wsgid_exchange_t *x);
/* Passes as much of x->client.queue to the filters as the client takes without being waited for. */
apr_status_t wsgid_client_deliver(wsgid_exchange_t *x);
/* What has been passed goes out now; nothing is queued. */
apr_status_t wsgid_client_flush(wsgid_exchange_t *x);
/* Delivers all that is left, waiting as long as the client takes some. */
apr_status_t wsgid_client_finish(wsgid_exchange_t *x);

/* ---- keepalive.c */

/* Whether to wait a moment for the client's next request once this one is over: then the response
 * must be flushed. */
int wsgid_keepalive_may_wait(const wsgid_exchange_t *x);
/* Waits, when the request is over. */
void wsgid_keepalive_wait_later(wsgid_exchange_t *x);

/* ---- response.c */

/* Handles every whole frame in x->received.bytes and the body bytes that are there; sets
 * x->response.has_ended. APR_EAGAIN: more is needed. */
apr_status_t wsgid_response_consume(wsgid_exchange_t *x);
/* Takes a response back of which nothing has been passed. */
void wsgid_response_forget(wsgid_exchange_t *x);
/* Makes the client see that the response is not complete. */
void wsgid_response_truncate(wsgid_exchange_t *x);

/* ---- file.c */

/* Appends a part of the file in x->received.file to x->client.queue; takes the descriptor. */
apr_status_t wsgid_file_append(wsgid_exchange_t *x, apr_uint64_t offset, apr_uint64_t length);
/* Appends a part, not empty, of a file that is open. */
apr_status_t wsgid_file_insert(wsgid_exchange_t *x, apr_file_t *file, apr_off_t offset,
                               apr_off_t length);
/*
 * If-Modified-Since and its kin are httpd's to answer where the whole body is a file: 1 if the
 * client has it already (or its precondition failed), and the response has become that. By the
 * validators in the headers; for the application's own files none are made up, as only the
 * application knows what else its answer depends on.
 */
int wsgid_file_is_unchanged(wsgid_exchange_t *x);

/* ---- sendfile.c */

int wsgid_sendfile_is_wanted(const wsgid_exchange_t *x);
/* Appends the file that X-Sendfile names to x->client.queue. */
apr_status_t wsgid_sendfile_append(wsgid_exchange_t *x);

/* ---- access_log.c */

/* The exchange is what is to be said of its request when it is logged. */
void wsgid_access_log_keep(wsgid_exchange_t *x);

/* ---- failures.c */

/* Logs why the exchange failed and returns what the handler is to return to httpd. */
int wsgid_failures_answer(wsgid_exchange_t *x, apr_status_t why);

#endif
