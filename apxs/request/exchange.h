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

#include "wsgid.h"
#include "util_filter.h"
#include "apr_buckets.h"

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
    WSGID_E_REQUEST_BODY, /* httpd's input filters refused the body: x->http_status */
    /* WSGIErrorOverride: the status goes to httpd's ErrorDocument: x->http_status */
    WSGID_E_OVERRIDDEN,
    WSGID_E_SENDFILE, /* X-Sendfile names what it may not: x->http_status */
    /* an output filter has failed, or answered in the response's place (416, say) */
    WSGID_E_FILTER,
    WSGID_E_CLIENT_GONE
};

typedef struct {
    request_rec *r;
    const wsgid_target_t *target;
    wsgid_group_t *group;
    /* what the daemon's lines about the request begin with; NULL: not known yet */
    const char *mark;
    /* wsgid_clock_now() when dispatch began: queue-timeout and the retries count from here */
    apr_time_t begun;
    apr_time_t sent; /* apr_time_now() when it was ready to be sent, for the first time: where its
                        time in the queue begins, which the daemon computes from this */

    /* for access_log.c */
    apr_time_t ready; /* wsgid_clock_now() when it was ready to be sent, for the first time */
    apr_time_t done;  /* wsgid_clock_now() when the daemons were done with it, one way or another */
    const wsgid_slot_t *last_slot; /* that it was sent to */
    int sends;                     /* how often it was sent */
    int refused;                   /* it was given up unread */

    /* the connection: dispatch.c */
    wsgid_slot_t *slot; /* entered; NULL outside */
    int fd;             /* -1: none */
    int client;         /* the client's socket, -1 where it has none of its own */
    /* what is readable when there is more of the upload: the same, or httpd's pipe; -1: nothing */
    int input;
    wsgid_pids_t pids; /* who may be behind it */
    int was_idle;      /* it may be stale: its daemon may have gone since the last request */

    /* the request: body.c and channel.c */
    wsgid_block_t environ;
    unsigned char *start; /* body bytes that travel in REQUEST, kept for a retry */
    apr_size_t start_length;
    apr_off_t body_length; /* as declared, -1: not */
    apr_off_t body_taken;  /* read of it so far */
    int uninvited;         /* the response began before 100 Continue was said: it never will be */
    int body_read;         /* the client's body is read to its end */
    int body_sent;         /* END has been sent */
    int closes;            /* the client was told that the connection ends with the response */
    apr_uint64_t credit;
    int granted;            /* any credit at all: it has started */
    unsigned char *pending; /* a BODY frame on its way */
    apr_size_t pending_start, pending_end;
    apr_bucket_brigade *body_brigade;

    /* what came from the daemon: channel.c */
    unsigned char *in;
    apr_size_t in_start, in_end, in_room;
    apr_size_t in_needed; /* unread bytes without which the current frame cannot go on */
    int file;             /* a descriptor that came along, for the next FILE frame; -1: none */
    int heard;            /* any frame at all: it had been read */
    int introduced;       /* STARTED has come: */
    apr_uint32_t pid;     /* whose thread read it, by its own word (STARTED); 0: not known */
    apr_uint32_t waited;  /* microseconds from x->sent until then, likewise */
    apr_time_t left_off;  /* wsgid_clock_now() when the last receive ended, 0 if it found nothing */
    apr_interval_time_t held; /* how long the daemon may have waited for us so far */

    /* the answer: response.c */
    int in_body;            /* within a frame whose bytes are passed on as they come: */
    apr_uint32_t body_left; /* how many are still to come, */
    int frame_ends;         /* and whether it has END */
    int answered;           /* RESPONSE has been passed to the filters */
    int ended;              /* the response is complete */
    apr_bucket_brigade *out;
    apr_bucket_brigade *rest;  /* client.c: what follows a slice */
    apr_size_t queued;         /* bytes in x->out */
    apr_uint64_t passed_bytes; /* that went into the filters */
    apr_uint64_t file_bytes;   /* of files that the kernel sends in one go; not in queued */
    int passed;                /* anything did: the head cannot be changed any more */
    apr_size_t unflushed;      /* bytes that went into the filters after the last flush */
    apr_time_t last_moved; /* wsgid_clock_now() when the daemon said or the client took something */

    /* for failures.c */
    int http_status;    /* of WSGID_E_ABORTED, _REQUEST_BODY, _OVERRIDDEN, _SENDFILE */
    const char *detail; /* NULL, or what exactly */
} wsgid_exchange_t;

/* ---- dispatch.c */

/* Chooses a slot and a connection to it: sets x->slot and x->fd. avoid: a slot to take only if
 * there is no other, or NULL. */
apr_status_t wsgid_dispatch_acquire(wsgid_exchange_t *x, const wsgid_slot_t *avoid);
/* Gives the connection back for the next request (keep) or closes it; leaves the slot. */
void wsgid_dispatch_release(wsgid_exchange_t *x, int keep);
/* child_init. */
void wsgid_dispatch_child_init(apr_pool_t *pchild, server_rec *s);

/* ---- channel.c */

/* A blocking call on a connection to a daemon returns this often, so that its caller can look
 * around. */
#define WSGID_CHANNEL_SLICE apr_time_from_msec(100)

/* Sends the REQUEST frame. */
apr_status_t wsgid_channel_send_request(wsgid_exchange_t *x);
/* Sends what it can of x->pending without waiting. APR_EAGAIN: some is left. */
apr_status_t wsgid_channel_send_pending(wsgid_exchange_t *x);
/* Appends what has come to x->in. APR_EAGAIN: nothing came (within a slice, if wait is set). May
 * move x->in: what x->out has of it must have been passed. */
apr_status_t wsgid_channel_receive(wsgid_exchange_t *x, int wait);
/* Receives body bytes of the current frame (x->body_left) into a bucket of their own, uncopied, and
 * what follows them into x->in. */
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
/* Passes as much of x->out to the filters as the client takes without being waited for. */
apr_status_t wsgid_client_deliver(wsgid_exchange_t *x);
/* What has been passed goes out now; nothing is queued. */
apr_status_t wsgid_client_flush(wsgid_exchange_t *x);
/* Delivers all that is left, waiting as long as the client takes some. */
apr_status_t wsgid_client_finish(wsgid_exchange_t *x);

/* ---- keepalive.c */

/* child_init. */
void wsgid_keepalive_child_init(apr_pool_t *pchild, server_rec *s);
/* Whether to wait a moment for the client's next request once this one is over: then the response
 * must be flushed. */
int wsgid_keepalive_may_wait(const wsgid_exchange_t *x);
/* Waits, when the request is over. */
void wsgid_keepalive_wait_later(wsgid_exchange_t *x);

/* ---- response.c */

/* Handles every whole frame in x->in and the body bytes that are there; sets x->ended. APR_EAGAIN:
 * more is needed. */
apr_status_t wsgid_response_consume(wsgid_exchange_t *x);
/* Takes a response back of which nothing has been passed. */
void wsgid_response_forget(wsgid_exchange_t *x);
/* Makes the client see that the response is not complete. */
void wsgid_response_truncate(wsgid_exchange_t *x);

/* ---- file.c */

/* Appends a part of the file in x->file to x->out; takes the descriptor. */
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
/* Appends the file that X-Sendfile names to x->out. */
apr_status_t wsgid_sendfile_append(wsgid_exchange_t *x);

/* ---- access_log.c */

/* The exchange is what is to be said of its request when it is logged. */
void wsgid_access_log_keep(wsgid_exchange_t *x);

/* ---- failures.c */

/* Logs why the exchange failed and returns what the handler is to return to httpd. */
int wsgid_failures_answer(wsgid_exchange_t *x, apr_status_t why);

#endif
