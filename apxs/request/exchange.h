/*
 * One request on its way through a daemon and back: what the files of this folder share.
 *
 *   request.c     the content handler: drives everything below
 *   environ.c     the environ block, from httpd's request
 *   dispatch.c    chooses a slot, finds or opens a connection to it
 *   channel.c     bytes to and from the daemon
 *   body.c        the request's body, from the client to the daemon
 *   response.c    frames from the daemon; with head.c (status line and headers), file.c (FILE
 *                 frames) and sendfile.c (X-Sendfile)
 *   client.c      the response, to the client; stream.c, what a stream of HTTP/2 takes of it;
 *                 spool.c holds what is too much for memory
 *   keepalive.c   waits a moment for the client's next request
 *   failures.c    what went wrong: the log line and the HTTP status
 *   access_log.c  notes for access logs
 *   exchange.c    how an exchange fails, and what its log lines begin with
 *
 * Rules:
 * - An exchange lives in r->pool. Only the thread that serves the request uses it.
 * - What can fail returns apr_status_t: APR_SUCCESS, one of the codes below, or an error of the
 *   operating system. A function that fails does not log the failure; failures.c does, and only
 *   failures.c turns it into an HTTP status.
 * - Calls go one way (make lint finds circles): request.c, failures.c, response.c, sendfile.c,
 *   file.c, client.c, body.c, channel.c, exchange.c; each calls only files behind it here, or
 *   one of the others (head.c, environ.c, dispatch.c, keepalive.c, access_log.c, stream.c,
 *   spool.c), which call exchange.c.
 */
#ifndef WSGID_EXCHANGE_H
#define WSGID_EXCHANGE_H

#include "common/clock.h"
#include "common/logs.h"
#include "common/spin.h"
#include "common/wire.h"
#include "config/pools.h"
#include "config/route.h"
#include "slots/slots.h"
#include "wsgid.h"
#include "util_filter.h"
#include "apr_buckets.h"

/* Why an exchange fails; failures.c has a row for each. */
enum {
    WSGID_E_NO_SCRIPT = APR_OS_START_USERERR + 1,
    WSGID_E_DIRECTORY,   /* the script is a directory */
    WSGID_E_NO_EXEC_CGI, /* neither an alias nor Options ExecCGI allows the script */
    WSGID_E_UNKNOWN_GROUP,
    WSGID_E_GROUP_UNSET,     /* a variable chooses the group, and it is not set */
    WSGID_E_GROUP_FORBIDDEN, /* WSGIRestrictProcess does not allow the group */
    WSGID_E_CODING,          /* a transfer coding other than chunked */
    WSGID_E_CHUNKED,         /* a chunked body, and WSGIChunkedRequest is Off */
    WSGID_E_QUEUE_LIMIT,     /* more requests than queue-limit allows are waiting */
    WSGID_E_QUEUE_TIMEOUT,   /* no daemon read the request within queue-timeout */
    WSGID_E_NO_PROCESS,      /* no slot has a process, or gets one now */
    WSGID_E_NO_POOL,         /* application-groups= is reached */
    WSGID_E_NO_SOCKET,       /* the slot's socket has been deleted */
    WSGID_E_CONNECT_TIMEOUT, /* the backlog was full for connect-timeout */
    WSGID_E_NOT_STARTED,     /* the daemon exited before it read the request, or sent RETRY */
    WSGID_E_NEVER_STARTED,   /* the same, in every attempt */
    WSGID_E_DIED,            /* the daemon exited after it had read the request */
    WSGID_E_CLIENT_TOO_SLOW, /* the same, after it had waited for the client up to its limit */
    WSGID_E_TIMEOUT,         /* the daemon sent nothing for socket-timeout */
    WSGID_E_PROTOCOL,        /* a frame violates the protocol */
    WSGID_E_BAD_RESPONSE,    /* a status line or header that must not reach a client */
    WSGID_E_OVERLOADED,      /* the daemon sent OVERLOADED: it is overloaded */
    WSGID_E_ABORTED,         /* the daemon sent ABORT, with a status and a log line */
    /* more than the wire carries; with a status */
    WSGID_E_ENVIRON_TOO_LARGE,
    WSGID_E_REQUEST_BODY, /* httpd's input filters refused the body, with a status */
    WSGID_E_OVERRIDDEN,   /* WSGIErrorOverride: ErrorDocument replaces the body; with a status */
    WSGID_E_REDIRECTED,   /* 200 and Location: /path: httpd serves that path instead */
    WSGID_E_SENDFILE,     /* X-Sendfile names a file that must not be sent; with a status */
    WSGID_E_FILTER,       /* an output filter failed, or sent a response of its own (416, say) */
    WSGID_E_CLIENT_GONE
};

/*
 * One exchange. Each part belongs to the file that is named above it: only that file writes to it.
 * Other files read the fields under "readable", and call the owner's functions for anything else.
 */
typedef struct {
    /* request.c; readable, and does not change once the exchange exists */
    request_rec *r;
    const wsgid_route_t *route;
    wsgid_group_t *group; /* NULL: the route names a group that does not exist */
    /* For a question, whose response has no body and is not the client's: what its script is asked,
     * as a name, its value and so on, up to NULL. NULL: a request. */
    const char *const *question;

    /* environ.c: the environ block, "key\0value\0..."; grows while it is built */
    struct {
        /* readable */
        char *bytes;
        apr_size_t length;
        apr_size_t line; /* where the key REQUEST_METHOD is, with REQUEST_URI behind it */
        /* private */
        apr_size_t room;
    } environ;

    /* request.c: when what happened. wsgid_clock_now() but for ready_wall. */
    struct {
        /* readable */
        apr_time_t accepted;   /* the handler began */
        apr_time_t ready;      /* ready to be sent for the first time; 0: not yet. queue-timeout
                                  counts from here */
        apr_time_t ready_wall; /* the same by apr_time_now(), for the daemon */
        apr_time_t turn;       /* no process of its slot was there yet: starts take turns */
        apr_time_t done;       /* no daemon works on it any more */
    } timing;

    /* request.c: how often it was sent, and where */
    struct {
        /* readable */
        int count;
        const wsgid_slot_t *last_slot;
        int is_unread; /* no daemon has read it, and it is not sent again */
    } attempts;

    wsgid_pool_t *pool; /* dispatch.c: of the application group; NULL: none is known yet */

    /* dispatch.c: the connection to a daemon */
    struct {
        /* readable */
        wsgid_slot_t *slot; /* the request counts as in flight there; NULL: none is chosen */
        int fd;             /* -1: none */
        wsgid_pids_t pids;  /* the slot's processes when it was chosen */
        int was_idle;       /* kept from an earlier request: its daemon may have exited since */
        /* private */
        apr_time_t asked; /* wsgid_clock_now() when the guardian was asked for a pool; 0: not */
    } connection;

    /* body.c: the request's body, from the client to the daemon */
    struct {
        /* readable */
        unsigned char *start;    /* bytes that travel in REQUEST, kept for another attempt */
        apr_size_t start_length; /* of these */
        apr_off_t declared;      /* Content-Length; -1: none, so the body may be endless */
        int is_read;             /* all of the body has been read from the client */
        apr_time_t came_at;      /* wsgid_clock_now() when some was last read from the client */
        apr_off_t stored;        /* bytes that have been read, wait here and need credit */
        int has_credit;          /* the daemon has granted some: it has started */
        /* private */
        apr_off_t taken; /* bytes read from the client so far */
        int forgone;     /* 100 Continue was never sent, so the client may never send the body */
        apr_uint64_t credit;
        unsigned char *frame;              /* the current BODY frame; NULL: none yet */
        apr_size_t frame_start, frame_end; /* what of it is still to be sent */
        apr_bucket_brigade *brigade;       /* what the filters have given, not yet read */
        apr_bucket_brigade *store; /* the stored bytes: blocks, the last one behind the file */
        apr_file_t *spool;         /* the file; NULL: none yet */
    } upload;

    /* channel.c: the receive buffer. Frames are read in place: see wsgid_channel_bytes(). */
    struct {
        /* readable */
        apr_time_t came_at; /* wsgid_clock_now() when bytes last came, or sending began */
        /* private */
        unsigned char *bytes;
        apr_size_t start, end, room;       /* bytes[start] to bytes[end] have not been handled */
        apr_size_t needed;                 /* how many of these the current frame needs */
        int file;                          /* a descriptor that came along; -1: none */
        apr_time_t left_at;                /* when the last receive ended; 0: it brought nothing */
        apr_interval_time_t daemon_waited; /* how long the daemon may have waited for httpd */
    } received;

    /* response.c: what the daemon has sent */
    struct {
        /* readable */
        int heard;           /* any frame: the daemon has read the request */
        int has_started;     /* STARTED, with the next two; they are the daemon's own claim */
        apr_uint32_t pid;    /* 0: not known */
        apr_uint32_t waited; /* microseconds in the queue */
        int has_begun;       /* RESPONSE; its head is in r */
        int has_ended;       /* all of the response; client.c then queues its end */
        int is_cut;          /* the rest was not received: the connection cannot be used again */
        int is_file;         /* it is one whole file */
        /* private */
        int in_frame;            /* in a RESPONSE, DATA or FILE frame, behind the head */
        apr_uint32_t frame_left; /* body bytes of that frame that have not come */
        int frame_ends;          /* that frame has the flag END */
        apr_off_t declared;      /* how long the body must be; -1: any length */
        apr_uint64_t length;     /* how long it is, with what is to come of this frame */
        apr_size_t interim;      /* what interim responses have cost httpd */
    } response;

    /* client.c: the response, to the client */
    struct {
        /* readable */
        int socket;           /* -1: the connection has none of its own (HTTP/2) */
        int input;            /* poll() reports more of the upload here; -1: nothing does */
        int has_begun;        /* httpd's filters have some of the response: r is final */
        apr_size_t queued;    /* bytes in the queue, without those of whole files */
        int is_full;          /* so many wait that no more must be received */
        apr_size_t unflushed; /* bytes that the filters may still hold back */
        apr_time_t passed_at; /* wsgid_clock_now() when the filters last got something */
        /* private */
        apr_bucket_brigade *queue; /* what the filters have not got yet */
        apr_bucket_brigade *rest;  /* only while a slice is passed: what follows it */
        apr_size_t in_memory;      /* bytes of the queue, as counted in the child's total */
        apr_file_t *spool;         /* further bytes of the queue; NULL: none yet */
        apr_off_t spool_end;       /* where the next of them go */
        int spool_failed;
        apr_uint64_t passed_bytes; /* bytes that the filters have got */
        apr_uint64_t file_bytes;   /* of whole files, which the kernel sends in one go */
        apr_time_t full_at;        /* is_slow() measures the client from here; 0: not yet */
        apr_uint64_t full_passed;  /* passed_bytes then */
        int closes;                /* the client knows that its connection ends */
    } client;

    /* stream.c: a stream of HTTP/2 */
    struct {
        /* readable */
        struct wsgid_untaken_t *untaken; /* NULL: how much it takes is not known */
        /* private */
        apr_size_t slice; /* what it gets at once */
    } stream;

    /* exchange.c; read by failures.c */
    struct {
        int http_status;        /* of the codes that come with a status */
        const char *detail;     /* what exactly, in English; NULL: nothing to add */
        const char *log_prefix; /* NULL: not computed yet */
    } failure;
} wsgid_exchange_t;

/* ---- exchange.c; for every file of this folder */

/*
 * Notes why the exchange fails and returns 'why', for the caller to return.
 * http_status: for the codes that come "with a status", else 0. detail: lives as long as r, or
 * NULL.
 */
apr_status_t wsgid_exchange_fail(wsgid_exchange_t *x, apr_status_t why, int http_status,
                                 const char *detail);
/* What log lines about the request begin with: "[request ID] " or "". Computed when it is first
 * needed, so call it only for a line that will be written. */
const char *wsgid_exchange_log_prefix(wsgid_exchange_t *x);

/* ---- arrival.c */

/* For response.c: how long a daemon says that a request of the group has waited for it, in
 * microseconds. */
void wsgid_arrival_note_wait(wsgid_group_t *group, apr_uint32_t waited);
/* For environ.c: how long the request has waited for a thread of httpd. 0: not at all, or it has
 * not been measured. */
apr_interval_time_t wsgid_arrival_wait(const wsgid_exchange_t *x);

/* ---- environ.c; for request.c */

/* Builds x->environ. APR_SUCCESS or WSGID_E_ENVIRON_TOO_LARGE. */
apr_status_t wsgid_environ_build(wsgid_exchange_t *x);

/* ---- dispatch.c; for request.c */

/*
 * Chooses the slot with the fewest requests in flight: sets x->connection.slot, where the request
 * counts from now on. May be called again until there is a connection. avoid: a slot to take only
 * if no other is as good; NULL: none.
 * APR_EAGAIN: all that may be hoped for are processes that are starting; call again later, since
 * another slot may then have one that is ready. WSGID_E_QUEUE_LIMIT or WSGID_E_NO_PROCESS: there is
 * no slot.
 */
apr_status_t wsgid_dispatch_choose(wsgid_exchange_t *x, const wsgid_slot_t *avoid);
/* Finds a connection to the chosen slot: sets x->connection. WSGID_E_NO_PROCESS, _NO_SOCKET,
 * _CONNECT_TIMEOUT, _NOT_STARTED or an error of the system; then there is neither connection nor
 * slot. */
apr_status_t wsgid_dispatch_connect(wsgid_exchange_t *x);
/* For body.c: whether fewer than half of the group's threads have a request. Then x counts as in
 * flight from now on. */
int wsgid_dispatch_has_room(wsgid_exchange_t *x);
/* Also for channel.c. Whether a request that no process has read may stay with its slot: a process
 * is ready there, or is starting while no slot of the group has a ready one. */
int wsgid_dispatch_is_worth_waiting(const wsgid_exchange_t *x);
/* Ends the use of the connection, if there is one: keeps it for another request if 'keep' is set,
 * else closes it. */
void wsgid_dispatch_release(wsgid_exchange_t *x, int keep);

/* ---- channel.c */

/* No call that waits for a daemon takes longer, so that its caller can check everything else. */
#define WSGID_CHANNEL_SLICE apr_time_from_msec(100)

/* For request.c: before and after each attempt. The end closes a descriptor that nobody took. */
void wsgid_channel_begin(wsgid_exchange_t *x);
void wsgid_channel_end(wsgid_exchange_t *x);
/* For request.c: sends the REQUEST frame. WSGID_E_NOT_STARTED, WSGID_E_TIMEOUT or an error of the
 * system. */
apr_status_t wsgid_channel_send_request(wsgid_exchange_t *x);
/* For body.c: sends what the socket takes now; *sent bytes. APR_EAGAIN: it takes no more now.
 * APR_EOF: the daemon reads no more. */
apr_status_t wsgid_channel_send(wsgid_exchange_t *x, const unsigned char *bytes, apr_size_t length,
                                apr_size_t *sent);
/*
 * For response.c: receives into the buffer. This may move what is in the buffer, so the client's
 * queue must not refer to it (wsgid_client_deliver).
 * wait: wait up to a slice for bytes. APR_EAGAIN: none came. WSGID_E_NOT_STARTED, WSGID_E_DIED: the
 * daemon has exited.
 */
apr_status_t wsgid_channel_receive(wsgid_exchange_t *x, int wait);
/* The same for body bytes, up to 'left' of them, into a bucket of their own; what follows them goes
 * into the buffer, which must be empty. *bucket is set only on success; NULL: so few have come that
 * they are in the buffer, too. */
apr_status_t wsgid_channel_receive_body(wsgid_exchange_t *x, apr_size_t left, int wait,
                                        apr_bucket **bucket);
/* For response.c: the bytes in the buffer that have not been handled, and how many these are. */
const unsigned char *wsgid_channel_bytes(const wsgid_exchange_t *x);
apr_size_t wsgid_channel_available(const wsgid_exchange_t *x);
/* For response.c: APR_EAGAIN if fewer than 'length' are available; the next receive then has room
 * for them. */
apr_status_t wsgid_channel_need(wsgid_exchange_t *x, apr_size_t length);
/* For response.c: 'length' of the available bytes have been handled. */
void wsgid_channel_skip(wsgid_exchange_t *x, apr_size_t length);
/* For file.c: the descriptor that came along; the caller closes it. -1: none. */
int wsgid_channel_take_file(wsgid_exchange_t *x);
/* For request.c: whether httpd has let the daemon wait so long that the daemon has given up. */
int wsgid_channel_has_kept_daemon_waiting(const wsgid_exchange_t *x);
/* For request.c: whether some of what was sent has not been read by the daemon. */
int wsgid_channel_is_request_unread(const wsgid_exchange_t *x);
/* For request.c: closes the sending side. 1: the request is still unread, and no daemon will start
 * it. 0: it has been read in the meantime. */
int wsgid_channel_hang_up(const wsgid_exchange_t *x);

/* ---- body.c */

/* How often to look for more of a body that poll() cannot report on (HTTP/2 before httpd 2.4.58).
 */
#define WSGID_BODY_BLIND_WAIT apr_time_from_msec(5)

/* For request.c: reads the start of the body, which travels in REQUEST. WSGID_E_REQUEST_BODY or
 * WSGID_E_CLIENT_GONE. */
apr_status_t wsgid_body_read_start(wsgid_exchange_t *x);
/* For request.c: reads more of the body while request-buffering lets the request wait for it.
 * WSGID_E_REQUEST_BODY, WSGID_E_CLIENT_GONE or an error of the system. */
apr_status_t wsgid_body_store(wsgid_exchange_t *x);
/* For request.c: before each attempt. */
void wsgid_body_begin(wsgid_exchange_t *x);
/* For request.c: sends as much of the body as credit, client and daemon allow without waiting.
 * WSGID_E_REQUEST_BODY, WSGID_E_CLIENT_GONE or an error of the system. */
apr_status_t wsgid_body_feed(wsgid_exchange_t *x);
/* For request.c: whether bytes from the client are needed to go on. */
int wsgid_body_is_wanted(const wsgid_exchange_t *x);
/* For request.c: whether a part of a BODY frame waits for room in the daemon's socket. */
int wsgid_body_is_unsent(const wsgid_exchange_t *x);
/* For request.c: whether the daemon has been sent all of the body, with its END. */
int wsgid_body_is_complete(const wsgid_exchange_t *x);
/* For response.c: the daemon has granted credit. */
void wsgid_body_add_credit(wsgid_exchange_t *x, apr_uint32_t bytes);
/* For response.c: the response begins, so 100 Continue will not be sent any more. */
void wsgid_body_forgo_continue(wsgid_exchange_t *x);
/* For client.c: whether so much of the body is left that another connection costs less than reading
 * it. */
int wsgid_body_is_long(const wsgid_exchange_t *x);
/* For client.c: throws away what the client has sent of a body that nobody wants any more; does not
 * wait. WSGID_E_CLIENT_GONE. */
apr_status_t wsgid_body_discard(wsgid_exchange_t *x);

/* ---- response.c */

/* For request.c: before each attempt. */
void wsgid_response_begin(wsgid_exchange_t *x);
/* For request.c: receives bytes; as wsgid_channel_receive(). */
apr_status_t wsgid_response_receive(wsgid_exchange_t *x, int wait);
/* For request.c: handles what has been received. APR_EAGAIN: more is needed. Any other error ends
 * the exchange. */
apr_status_t wsgid_response_consume(wsgid_exchange_t *x);
/* For failures.c: withdraws a response of which the client has got nothing. */
void wsgid_response_forget(wsgid_exchange_t *x);
/* For failures.c: ends a response of which the client has got something, so that the client sees
 * that it is not complete. */
void wsgid_response_truncate(wsgid_exchange_t *x);

/* ---- head.c; for response.c. A head is complete and has passed wsgid_wire_check_head(). */

/* First digits of the statuses of a final response and of an interim one. */
#define WSGID_HEAD_FINAL   "23456789"
#define WSGID_HEAD_INTERIM "1"

/* Whether this head may reach a client. class: one of the two. APR_SUCCESS or
 * WSGID_E_BAD_RESPONSE. */
apr_status_t wsgid_head_check(wsgid_exchange_t *x, const unsigned char *head, apr_size_t length,
                              const char *class);
/* Puts a final head into x->r. Returns Content-Length, or -1 if there is none. */
apr_off_t wsgid_head_set(wsgid_exchange_t *x, const unsigned char *head, apr_size_t length);
/* Takes it out of r again. */
void wsgid_head_clear(request_rec *r);
/* Sends an interim response to the client. */
void wsgid_head_send_interim(wsgid_exchange_t *x, const unsigned char *head, apr_size_t length);

/* ---- file.c; for response.c and sendfile.c */

/* Queues a part of the file whose descriptor has come. WSGID_E_PROTOCOL if it must not be used. */
apr_status_t wsgid_file_append(wsgid_exchange_t *x, apr_uint64_t offset, apr_uint64_t length);
/*
 * For a response that is one whole file. 1: the client has it already, or its precondition failed;
 * then r->status says so, and no body is to follow. Only validators that are in the headers count:
 * for a file of the application none are made up, since only the application knows what else its
 * response depends on.
 */
int wsgid_file_is_unchanged(wsgid_exchange_t *x);

/* ---- sendfile.c; for response.c */

/* Whether the response names a file in X-Sendfile, and WSGISendfilePath allows that here. */
int wsgid_sendfile_is_wanted(const wsgid_exchange_t *x);
/* Queues the file that X-Sendfile names. WSGID_E_SENDFILE if it must not be sent. */
apr_status_t wsgid_sendfile_append(wsgid_exchange_t *x);

/* ---- spool.c; for client.c and file.c */

/* Opens a temporary file. It is closed with the pool. An error of the system. */
apr_status_t wsgid_spool_open(apr_file_t **file, apr_pool_t *pool);
/* Writes all of the bytes at this offset, or an error of the system. */
apr_status_t wsgid_spool_write(apr_file_t *file, apr_off_t at, const char *bytes,
                               apr_size_t length);
/* Whether to log that a temporary file cannot be written: once a minute in each child of httpd. */
int wsgid_spool_may_log(void);
/* Where temporary files are, for log lines. */
const char *wsgid_spool_directory(void);
/*
 * Makes an apr_file_t that owns a copy of the descriptor: all filters, and the beams of HTTP/2,
 * expect that of a file bucket. apr_os_file_put() makes one that does not own it, so APR opens
 * another file first, and the copy replaces its descriptor.
 */
apr_status_t wsgid_spool_adopt(apr_file_t **file, int fd, apr_pool_t *pool);

/* ---- client.c */

/* For request.c: once for each exchange. */
void wsgid_client_open(wsgid_exchange_t *x);
/* For request.c: whether the client has closed its connection, or its sending side. */
int wsgid_client_is_gone(const wsgid_exchange_t *x);
/* For request.c: at the end of each exchange, whatever became of it. */
void wsgid_client_close(wsgid_exchange_t *x);
/* For request.c: how long to wait at most before wsgid_client_deliver() may find that the client
 * takes more. */
apr_interval_time_t wsgid_client_wait(const wsgid_exchange_t *x);
/* For response.c: appends a bucket to the queue. */
void wsgid_client_queue(wsgid_exchange_t *x, apr_bucket *bucket);
/* For response.c: appends bytes of the receive buffer. They must stay there until
 * wsgid_client_deliver() has returned. */
void wsgid_client_queue_bytes(wsgid_exchange_t *x, const char *bytes, apr_size_t length);
/* For file.c and sendfile.c: appends a part of an open file; length is not 0. */
apr_status_t wsgid_client_queue_file(wsgid_exchange_t *x, apr_file_t *file, apr_off_t offset,
                                     apr_off_t length);
/* For response.c: throws the queue away. */
void wsgid_client_drop_queue(wsgid_exchange_t *x);
/* For response.c, before anything is passed on: if most of the upload will not be read, the
 * connection ends with the response, and "Connection: close" announces that. Otherwise the client
 * would send its next request into a connection that is being closed. */
void wsgid_client_announce_close(wsgid_exchange_t *x);
/* For request.c: passes on what the client takes without blocking. Copies what stays queued out of
 * the receive buffer. WSGID_E_CLIENT_GONE or WSGID_E_FILTER. */
apr_status_t wsgid_client_deliver(wsgid_exchange_t *x);
/* For request.c, with nothing queued: what has been passed on goes out now. */
apr_status_t wsgid_client_flush(wsgid_exchange_t *x);
/* For request.c and failures.c: delivers all that is left, and waits as long as the client takes
 * some of it. */
apr_status_t wsgid_client_finish(wsgid_exchange_t *x);

/* ---- stream.c; for client.c */

/* Once for each exchange; the end, whatever became of it. */
void wsgid_stream_open(wsgid_exchange_t *x);
void wsgid_stream_close(wsgid_exchange_t *x);
/* Makes the bytes of a brigade, in memory or in a temporary file, one bucket that is counted. */
apr_status_t wsgid_stream_pack(const wsgid_exchange_t *x, apr_bucket_brigade *brigade,
                               apr_size_t length);
/* How many bytes the stream takes now without blocking. *has_taken: it has taken some since the
 * last call. Only if x->stream.untaken is set. */
apr_size_t wsgid_stream_room(wsgid_exchange_t *x, apr_bucket_brigade *empty, int *has_taken);

/* ---- keepalive.c; for client.c */

/* Whether to wait for the client's next request when this one is over: then the response must be
 * flushed. */
int wsgid_keepalive_may_wait(const wsgid_exchange_t *x);
/* Waits when r's pool is cleaned up: once the request has been logged. */
void wsgid_keepalive_wait_later(wsgid_exchange_t *x);

/* ---- access_log.c; for request.c */

/* The notes for the access log will be made from this exchange. */
void wsgid_access_log_keep(wsgid_exchange_t *x);

/* ---- failures.c; for request.c */

/* Logs why the exchange failed. Returns what the content handler returns to httpd: an HTTP status,
 * or OK if the response is over. */
int wsgid_failures_answer(wsgid_exchange_t *x, apr_status_t why);

#endif
