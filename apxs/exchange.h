/*
 * One request at a daemon, as the files of the request path share it: request.c drives it, dispatch.c finds the connection,
 * channel.c moves bytes, body.c feeds the request's body, response.c passes the answer on, failures.c ends what went wrong.
 *
 * An exchange lives in r->pool. Its functions return APR_SUCCESS or why it cannot go on: one of the WSGID_E_ codes below or
 * httpd's own status; only failures.c turns that into an HTTP status.
 */
#ifndef WSGID_EXCHANGE_H
#define WSGID_EXCHANGE_H

#include "wsgid.h"
#include "util_filter.h"
#include "apr_buckets.h"

/* Why an exchange ends other than well; failures.c has a row for each. */
enum {
    WSGID_E_UNKNOWN_GROUP = APR_OS_START_USERERR + 1,
    WSGID_E_QUEUE_FULL,                 /* over queue-limit */
    WSGID_E_QUEUE_TIMEOUT,              /* unread by the daemon for longer than queue-timeout */
    WSGID_E_NO_PROCESS,                 /* no slot is up or coming up */
    WSGID_E_CONNECT_TIMEOUT,            /* backlog full for longer than connect-timeout */
    WSGID_E_NOT_STARTED,                /* the daemon went away with the request unread, or said RETRY: try again */
    WSGID_E_GAVE_UP,                    /* not started, again and again */
    WSGID_E_DIED,                       /* end of file after the request was read */
    WSGID_E_TIMEOUT,                    /* nothing from the daemon for socket-timeout */
    WSGID_E_PROTOCOL,                   /* a frame violates the protocol */
    WSGID_E_BAD_RESPONSE,               /* status line or headers that must not reach a client */
    WSGID_E_ABORTED,                    /* the daemon said ABORT */
    WSGID_E_ENVIRON_TOO_LARGE,
    WSGID_E_REQUEST_BODY,               /* httpd's input filters refused the body: x->http_status */
    WSGID_E_CLIENT_GONE
};

typedef struct {
    request_rec *r;
    const wsgid_target_t *target;
    wsgid_group_t *group;
    apr_time_t begun;                   /* when dispatch began: queue-timeout and the retries count from here */

    /* the connection: dispatch.c */
    wsgid_slot_t *slot;                 /* entered; NULL outside */
    int fd;                             /* -1: none */
    int was_idle;                       /* it may be stale: its daemon may have gone since the last request */

    /* the request: body.c and channel.c */
    wsgid_block_t environ;
    unsigned char *start;               /* body bytes that travel in REQUEST, kept for a retry */
    apr_size_t start_length;
    int has_body;
    int body_read;                      /* the client's body is read to its end */
    int body_sent;                      /* END has been sent */
    apr_uint64_t credit;
    int granted;                        /* any credit at all: it has started */
    unsigned char *pending;             /* a BODY frame on its way */
    apr_size_t pending_start, pending_end;
    apr_bucket_brigade *body_brigade;

    /* what came from the daemon: channel.c */
    unsigned char *in;
    apr_size_t in_start, in_end, in_room;
    apr_size_t in_needed;               /* unread bytes without which the current frame cannot go on */
    int file;                           /* a descriptor that came along, for the next FILE frame; -1: none */
    int heard;                          /* any frame at all: it had started */
    apr_time_t last_heard;

    /* the answer: response.c */
    int in_body;                        /* within a frame whose bytes are passed on as they come: */
    apr_uint32_t body_left;             /* how many are still to come, */
    int frame_ends;                     /* and whether it has END */
    int answered;                       /* RESPONSE has been passed to the filters */
    int ended;                          /* the response is complete */
    apr_bucket_brigade *out;
    int passed;                         /* bytes of it went into the filters: the head cannot be changed any more */
    int unflushed;                      /* bytes went into the filters after the last flush */

    /* for failures.c */
    int http_status;                    /* of WSGID_E_ABORTED and WSGID_E_REQUEST_BODY */
    const char *detail;                 /* NULL, or what exactly */
} wsgid_exchange_t;

/* ---- dispatch.c */

/* Chooses a slot and a connection to it: sets x->slot and x->fd. avoid: a slot to take only if there is no other, or NULL. */
apr_status_t wsgid_dispatch_acquire(wsgid_exchange_t *x, const wsgid_slot_t *avoid);
/* Gives the connection back for the next request (keep) or closes it; leaves the slot. */
void wsgid_dispatch_release(wsgid_exchange_t *x, int keep);
/* child_init. */
void wsgid_dispatch_child_init(apr_pool_t *pchild, server_rec *s);

/* ---- channel.c */

/* A blocking call on a connection to a daemon returns this often, so that its caller can look around. */
#define WSGID_CHANNEL_SLICE apr_time_from_msec(100)

/* Sends the REQUEST frame. */
apr_status_t wsgid_channel_send_request(wsgid_exchange_t *x);
/* Sends what it can of x->pending without waiting. APR_EAGAIN: some is left. */
apr_status_t wsgid_channel_send_pending(wsgid_exchange_t *x);
/* Appends what has come to x->in. APR_EAGAIN: nothing came (within a slice, if wait is set). May move x->in: what x->out has of it
 * must have been passed. */
apr_status_t wsgid_channel_receive(wsgid_exchange_t *x, int wait);
/* Receives body bytes of the current frame (x->body_left) into a bucket of their own, uncopied, and what follows them into x->in. */
apr_status_t wsgid_channel_receive_body(wsgid_exchange_t *x, int wait);
/* Whether the daemon has not yet read all that was sent. */
int wsgid_channel_is_unread(const wsgid_exchange_t *x);
/* Closes our end for sending. 1: what was sent is unread even so, and no daemon will start it; 0: it has been read meanwhile. */
int wsgid_channel_hang_up(const wsgid_exchange_t *x);

/* ---- body.c */

/* Reads the start of the body, to travel in REQUEST. */
apr_status_t wsgid_body_read_start(wsgid_exchange_t *x);
/* Moves the body on as far as credit and the client allow, without waiting. */
apr_status_t wsgid_body_feed(wsgid_exchange_t *x);
/* Whether bytes from the client are wanted now. */
int wsgid_body_is_wanted(const wsgid_exchange_t *x);

/* ---- response.c */

/* Handles every whole frame in x->in and the body bytes that are there; sets x->ended. APR_EAGAIN: more is needed. */
apr_status_t wsgid_response_consume(wsgid_exchange_t *x);
/* Passes x->out to the filters; flush: and on to the client. */
apr_status_t wsgid_response_pass(wsgid_exchange_t *x, int flush);
/* Takes a response back of which nothing has been passed. */
void wsgid_response_forget(wsgid_exchange_t *x);
/* Makes the client see that the response is not complete. */
void wsgid_response_truncate(wsgid_exchange_t *x);

/* ---- file.c */

/* Appends a part of the file in x->file to x->out; takes the descriptor. */
apr_status_t wsgid_file_append(wsgid_exchange_t *x, apr_uint64_t offset, apr_uint64_t length);

/* ---- failures.c */

/* Logs why the exchange failed and returns what the handler is to return to httpd. */
int wsgid_failures_answer(wsgid_exchange_t *x, apr_status_t why);

#endif
