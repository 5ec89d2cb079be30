/*
 * The daemon's hot path. One call for each request sends the last response, waits for the next
 * request and reads it whole. pywsgid/daemon/transport/hotpath.py is the caller;
 * hotpath_table.h declares what it calls.
 *
 *   hub.c              the listener, the connections, which of them have something to read
 *   gate.c             how many workers run requests at once; who takes over from one that blocks
 *   request_classes.c  which requests are likely to block
 *   endpoint.c         a worker's end of a connection: request after request
 *   receive.c          requests and bodies in
 *   send.c             frames out
 *   outcome.c          what a failed send or receive means
 *   measure.c          what is counted and timed of each request, for the statistics page
 *
 * A file uses those below it in this list, and hub.c uses gate.c; endpoint.c uses them all.
 *
 * Rules:
 *  - No Python.h and no Python object. What Python reads is in memory that it has mapped: an
 *    endpoint's facts and buffer. So one build serves every interpreter, through cffi or ctypes.
 *  - Nothing here logs. Functions return outcomes, and Python words them.
 *  - Lock order: an endpoint's lock, then the hub's. No system call that may wait is made while
 *    the hub's lock is held.
 *  - The calls of pthread functions whose result is ignored cannot fail on Linux as they are used
 *    here.
 */
#ifndef WSGID_HOTPATH_H
#define WSGID_HOTPATH_H

#include <pthread.h>
#include <stdint.h>
#include <sys/types.h>

#include "common/spin.h"
#include "common/wire.h"
#include "hotpath_table.h" /* outcomes, facts, sizes, the functions that Python calls */

#define WSGID_SECOND 1000000000 /* nanoseconds */

/* What a request has used of its buffer beyond this is given back to the system. */
#define WSGID_BUFFER_KEPT (128 * 1024)
/* Bytes of a body in one receive: a frame as httpd sends it. */
#define WSGID_RECEIVE_MAX (WSGID_WIRE_HEADER_SIZE + 64 * 1024)

#define WSGID_REQUEST_CLASSES      512 /* places for what is known of classes */
#define WSGID_REQUEST_CLASSES_EACH 3   /* classes that a request belongs to */

#define WSGID_CONNECTIONS_CHUNK  256 /* connections that are allocated at once; never freed */
#define WSGID_CONNECTIONS_CHUNKS 4096

typedef struct wsgid_connection wsgid_connection_t;

/* ---- a connection (hub.c) */

/* Who owns it. FREE: nobody, there is no connection. IDLE, READY: the hub. BUSY: the worker that
 * took it. */
typedef enum {
    CONNECTION_FREE,
    CONNECTION_IDLE,  /* nothing has come */
    CONNECTION_READY, /* in the hub's list: something has come */
    CONNECTION_BUSY
} wsgid_connection_state_e;

/* One for each descriptor. Under the hub's lock; `fd` never changes. */
struct wsgid_connection {
    int fd;
    uint32_t generation; /* differs from that of the descriptor's connection before */
    wsgid_connection_state_e state;
    int again;                /* something came while it was BUSY */
    int hung_up;              /* httpd has closed its end */
    int unwatched;            /* the epoll does not report what comes: its owner waits for it */
    wsgid_connection_t *next; /* in the hub's list */
};

/* ---- an endpoint: a worker's end of a connection. Never freed */

/* send.c. `lock` guards sending. Any thread may read `open`; the others are the worker's. */
typedef struct {
    pthread_mutex_t lock; /* frames of several threads must not mix */
    int open;             /* frames may be sent: set last, when the request is there. Atomic */
    int announced;        /* STARTED has been sent. Under `lock` */
    unsigned char started[WSGID_WIRE_HEADER_SIZE + WSGID_WIRE_STARTED_SIZE]; /* that frame */
    int64_t time_left; /* nanoseconds that the response may still wait for httpd. Under `lock` */
} wsgid_sending_t;

/* receive.c; the worker's own. */
typedef struct {
    size_t start, end;   /* what of the buffer has been received and not taken */
    size_t high;         /* how far the buffer has been written */
    uint32_t frame_left; /* payload bytes of the current BODY frame that are still to come */
    int frame_last;      /* that frame has END */
} wsgid_receiving_t;

/* measure.c; the worker's own. */
typedef struct {
    unsigned row;     /* of the statistics page; from 0 */
    int counted;      /* the request has begun, and not ended, in the statistics page */
    uint64_t read_at; /* CLOCK_REALTIME in microseconds when the request had been read */
} wsgid_measured_t;

/* gate.c; under the hub's lock, but for those that say "its own": the worker's own. */
typedef struct {
    pthread_cond_t wake;
    int woken;       /* it shall run: set with `wake` */
    int closed_gate; /* its own: its request began with the gate closed behind it, and is one that
                        request_classes.c shall learn from */
    int handed_over; /* another worker opened the gate, since this one blocks */
    pid_t tid;       /* of its thread; 0: not known yet */
    int has_clock;
    clockid_t clock;          /* of the CPU time of its thread */
    int64_t began, cpu_began; /* when its request began, its CPU time then (-1: not known) */
    uint64_t number;          /* of its request in this process, from 1 */
    uint16_t classes[WSGID_REQUEST_CLASSES_EACH]; /* its own: of its request. 0: none */
    wsgid_endpoint_t *next_parked;
} wsgid_turn_t;

struct wsgid_endpoint {
    wsgid_hub_t *hub;
    int64_t *facts;        /* FACT_COUNT, which Python sees */
    unsigned char *buffer; /* WSGID_BUFFER_SIZE bytes, which Python sees */
    /* NULL: it has none. Its worker writes it, atomically; other threads may read it */
    wsgid_connection_t *connection;
    wsgid_sending_t sending;
    wsgid_receiving_t receiving;
    wsgid_measured_t measured;
    wsgid_turn_t turn;
    wsgid_endpoint_t *next; /* of all of the hub */
};

/* ---- the gate (gate.c); under the hub's lock */

typedef struct {
    int gated; /* there is a GIL: one request at a time, unless it blocks */
    wsgid_endpoint_t
        *holder; /* runs its request with the gate closed behind it; NULL: it is open */
    wsgid_endpoint_t *monitor; /* watches the holder */
    int asleep;                /* the monitor waits without a limit */
    int waking;                /* a worker has been woken and does not run yet */
    wsgid_endpoint_t *parked;  /* workers that wait without a limit */
    uint64_t requests;         /* that have begun */
    int64_t fine_until;        /* until then, the monitor polls at short intervals */
    int misses; /* polls since the monitor woke up or saw the holder sleep, up to a limit */
    /* request_classes.c: of each class, how often its requests block. May be read without lock */
    int16_t blocked[WSGID_REQUEST_CLASSES];
} wsgid_gate_t;

/* ---- the hub. Never freed */

struct wsgid_hub {
    pthread_mutex_t lock;
    int epoll;
    int wakeup;               /* an eventfd: readable once the process drains */
    int listener;             /* -1: closed */
    int listening;            /* the listener is in the epoll */
    wsgid_endpoint_t *paused; /* shall put it there again: accept() has failed */
    int draining;
    uint32_t pid;
    int64_t timeout;                  /* nanoseconds that a receive may take */
    int64_t send_limit, send_silence; /* nanoseconds: send-timeout (0: none), socket-timeout */
    const uint32_t *allowed;          /* uids that may connect */
    int allowed_count;
    unsigned char *page;                                  /* statistics; NULL: none */
    wsgid_connection_t *chunks[WSGID_CONNECTIONS_CHUNKS]; /* by descriptor */
    wsgid_connection_t *ready, **ready_end;               /* the list of those that are READY */
    wsgid_endpoint_t *poller;                             /* waits in the epoll; NULL: nobody */
    wsgid_spin_t arrivals;                                /* what is known of waits for requests, */
    wsgid_spin_t bodies;                                  /* and of waits for bodies */
    wsgid_endpoint_t *endpoints;
    wsgid_gate_t gate;
};

/* ---- measure.c. Called by the endpoint's own worker, without a lock */

/* A request has been read. `sent` is when httpd sent it, in microseconds since the epoch; `line`
 * is its line for people, with a NUL, `length` bytes without it and less than WSGID_PAGE_LINE.
 * Also makes its STARTED frame and sets FACT_WAITED. */
void wsgid_measure_begin(wsgid_endpoint_t *endpoint, uint64_t sent, const char *line,
                         size_t length);
/* The worker has no request any more. */
void wsgid_measure_end(wsgid_endpoint_t *endpoint);

/* ---- outcome.c */

/* Whether an errno of a send or a receive means that httpd has closed the connection. */
int wsgid_outcome_is_gone(int error);
/* The outcome of a send or a receive that has failed: WSGID_GONE if `error` is EPIPE, WSGID_SILENT
 * if it is ETIMEDOUT, else WSGID_FAILED. Sets FACT_ERRNO, unless httpd has gone. */
int wsgid_outcome_of_error(wsgid_endpoint_t *endpoint, int error);

/* ---- send.c. Called by the endpoint's own worker, without a lock */

/* The worker has a request: from now on any thread may send its frames. */
void wsgid_send_open(wsgid_endpoint_t *endpoint);
/* Sends two pieces as the end of the response, if there is a request and httpd has not gone; after
 * that nobody sends to the connection any more. If that fails, sets FACT_GONE and FACT_UNSENT.
 * *keep becomes whether the connection may be kept, if it was that already. Returns the connection,
 * which the endpoint does not have any more, or NULL. */
wsgid_connection_t *wsgid_send_end(wsgid_endpoint_t *endpoint, const char *a, size_t a_size,
                                   const char *b, size_t b_size, int *keep);

/* ---- receive.c. Called by the endpoint's own worker, without a lock */

/* Reads a whole REQUEST from a connection that has something. Returns WSGID_REQUEST, WSGID_GONE,
 * WSGID_SILENT, WSGID_FAILED, WSGID_VIOLATION; WSGID_LEAVE if there was nothing to read. */
int wsgid_receive_request(wsgid_endpoint_t *endpoint, wsgid_connection_t *connection);

/* ---- request_classes.c */

/* Called by the worker: finds the classes of its request by its line. Keeps them in `turn`. */
void wsgid_request_classes_name(wsgid_turn_t *turn, const char *line, size_t length);
/* Whether most requests of one of its classes have blocked lately. Called by the worker. */
int wsgid_request_classes_block(const wsgid_gate_t *gate, const wsgid_turn_t *turn);
/* A request is over: updates what is known of its classes. Called under the hub's lock. */
void wsgid_request_classes_learn(wsgid_gate_t *gate, const wsgid_turn_t *turn, int has_blocked);

/* ---- gate.c */

/* Nanoseconds of CLOCK_MONOTONIC. */
int64_t wsgid_gate_now(void);
/* Called once by the endpoint's own worker, without the lock, before its first request: makes its
 * thread known to the monitor. */
void wsgid_gate_register(wsgid_endpoint_t *endpoint);

/* Called by the endpoint's own worker, without the lock. */

/* Its request has been read: opens the gate if such requests mostly block. */
void wsgid_gate_classify(wsgid_endpoint_t *endpoint);
/* It is about to wait for httpd in the middle of its request: opens the gate. */
void wsgid_gate_blocks(wsgid_endpoint_t *endpoint);

/* Called under the hub's lock. */

/* Its request begins, or has ended. */
void wsgid_gate_enter(wsgid_endpoint_t *endpoint);
void wsgid_gate_leave(wsgid_endpoint_t *endpoint);
/* Whether no other request may begin now. */
int wsgid_gate_is_closed(const wsgid_hub_t *hub);
/* Wakes a worker if there is something for it to do: a connection to take, or the epoll to wait
 * in. */
void wsgid_gate_wake_next(wsgid_hub_t *hub);
/* Waits until the worker is woken or the process drains; without the lock meanwhile. */
void wsgid_gate_park(wsgid_endpoint_t *endpoint);

/* ---- hub.c. Called under the hub's lock */

/* Takes the next connection that has something to read: it is BUSY then, the caller's. NULL: there
 * is none. */
wsgid_connection_t *wsgid_hub_take(wsgid_hub_t *hub);
/* Gives a BUSY connection back; closes it unless `keep`. */
void wsgid_hub_give_back(wsgid_hub_t *hub, wsgid_connection_t *connection, int keep);
/* Called by the owner of a BUSY connection, also without the lock: what comes now is the body of
 * its request, which the epoll shall not report until the connection is given back. */
void wsgid_hub_unwatch(wsgid_hub_t *hub, wsgid_connection_t *connection);
/* Waits for events, without the lock meanwhile, as the only poller. WSGID_REQUEST: goes on; else
 * WSGID_REFUSED or WSGID_NO_ACCEPT, for Python to log. */
int wsgid_hub_poll(wsgid_endpoint_t *endpoint);
/* Begins to accept again, if that worker stopped it because accept() had failed. */
void wsgid_hub_resume_listening(wsgid_endpoint_t *endpoint);

#endif
