/*
 * The daemon's hot path. One call for each request sends the last response, waits for the next
 * request and reads it whole. pywsgid/daemon/transport/hotpath.py is the caller;
 * hotpath_table.h declares what it calls.
 *
 *   hub.c          the listener, the connections, which of them have something to read
 *   descriptors.c  what is done when the process runs out of descriptors
 *   monitor.c      workers that take none: one notices requests that wait or compute for long
 *   gate.c         which workers take requests
 *   concurrency.c  how many requests should run at once
 *   endpoint.c     a worker's end of a connection: request after request
 *   receive.c      requests and bodies in
 *   send.c         frames out
 *   outcome.c      what a failed send or receive means
 *   thread.c       what Linux tells of a thread
 *   measure.c      what is counted and timed of each request, for the statistics page
 *   gil.c          when a call releases the GIL
 *
 * endpoint.c uses them all; hub.c uses descriptors.c; hub.c, receive.c and send.c use gate.c and
 * gil.c; otherwise a file uses those below it in this list.
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

#include <limits.h>
#include <pthread.h>
#include <stdint.h>
#include <sys/types.h>

#include "common/spin.h"
#include "common/wire.h"
#include "hotpath_table.h" /* outcomes, facts, sizes, the functions that Python calls */

#define WSGID_MICROSECOND 1000 /* nanoseconds */
#define WSGID_MILLISECOND 1000000
#define WSGID_SECOND      1000000000

#define WSGID_UNLIMITED INT_MAX

/* What a request has used of its buffer beyond this is given back to the system. */
#define WSGID_BUFFER_KEPT (128 * 1024)
/* Bytes of a body in one receive: a frame as httpd sends it. */
#define WSGID_RECEIVE_MAX (WSGID_WIRE_HEADER_SIZE + 64 * 1024)

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
    int used;                 /* a request has come through it */
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

/* monitor.c: what its last look at a worker found. */
typedef struct {
    uint64_t request;  /* which one ran then */
    int64_t cpu_first; /* the thread's CPU time at the first look at that request, */
    int64_t cpu;       /* and at the last; nanoseconds */
    int64_t moved_at;  /* when a look last found that it had used any */
} wsgid_seen_t;

/* gate.c; under the hub's lock. */
typedef struct {
    pthread_cond_t wake; /* signalled when it is admitted */
    int admitted;        /* it takes requests */
    uint64_t request;    /* the number of its request in this process, from 1; 0: it runs none */
    int64_t waited;      /* how long that had waited; -1: it has not been read. The worker's own */
    pid_t tid;           /* of its thread; 0: not known yet */
    int has_clock;
    clockid_t clock; /* of the CPU time of its thread */
    wsgid_seen_t seen;
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

/* ---- how many requests run at once (concurrency.c) */

/* What happened in a window of time; times in nanoseconds. */
typedef struct {
    int64_t time;
    int64_t finished;     /* requests that ended, */
    int64_t queue_time;   /* and how long they had waited until a worker had read them: the sum */
    int64_t running_time; /* how long requests ran, also those of expelled workers: the sum */
    int64_t cpu_time;     /* of the process */
    int64_t sleeps;       /* of threads of the process, but for the monitor's */
    /* How long workers waited for a processor: the sum. 0 if it was not measured */
    int64_t processor_wait;
} wsgid_window_t;

/* A figure's moving averages, over a few windows and over many; 0: nothing is known. */
typedef struct {
    double fast, slow;
} wsgid_trend_t;

typedef struct {
    int most;      /* the highest level */
    int crowded;   /* at least one process of the group for each processor */
    int level;     /* how many requests shall run at once, as far as is known */
    int has_begun; /* a window in which the limit mattered is over */
    /* The comparison that runs, or the next. */
    unsigned which;                  /* its number since the level changed */
    int other;                       /* the level that it is with */
    int windows;                     /* that it has had; 0: none runs */
    wsgid_window_t first;            /* of the pair of windows that is not complete */
    double sum, squares;             /* of the differences of the pairs */
    int64_t alone;                   /* how long its windows with one at a time were; of that, */
    int64_t alone_busy, alone_waits; /* it was busy, and waited for a processor */
    int one_is_enough;               /* says the last comparison */
    int rest, rest_next;        /* windows until the next one; how many before the one after that */
    wsgid_trend_t runs, sleeps; /* while resting: how long, and how often, a request does that */
    int slack;                  /* windows in a row in which a lower level would have been enough */
    unsigned unlikely;          /* comparisons that promised nothing */
} wsgid_concurrency_t;

/* ---- monitor.c: what it knows from its last looks; under the hub's lock */

typedef struct {
    int64_t sampled_at, cpu; /* when the last look ended, and the CPU time of the process then */
    int64_t active_at;       /* when a request ran last, */
    uint64_t requests;       /* and how many had begun then */
    int alarmed;             /* ticks for which it looks very often */
    int64_t warned_until;    /* when it stops to look more often than usual */
} wsgid_watch_t;

/* ---- the gate (gate.c); under the hub's lock */

typedef struct {
    int gated;                 /* there is a GIL: at most `limit` workers are admitted */
    int crowded;               /* as wsgid_hub_create() takes it */
    int limit;                 /* exceeded for a moment after it has been lowered */
    int admitted;              /* workers that take requests, */
    int busy;                  /* and of these, those that run one */
    int running;               /* all that run one, also those that have been expelled */
    int workers;               /* all */
    uint64_t requests;         /* that have begun */
    wsgid_endpoint_t *monitor; /* a parked worker that looks at the busy ones; NULL: none */
    int monitor_sleeps;        /* without a limit */
    wsgid_watch_t watch;
    int64_t usual_cpu;        /* nanoseconds of CPU time that a request uses, about */
    wsgid_endpoint_t *parked; /* the others that are parked */
    wsgid_concurrency_t concurrency;
    wsgid_window_t window; /* the one that runs */
    int settling; /* so many requests must end until the window counts: the limit has changed */
    int64_t window_began, accounted; /* when `window` began, and was last added to */
    int64_t cpu_began, sleeps_began; /* CPU time and sleeps of the process until then, */
    int64_t monitor_ticks;           /* and those of the monitor since */
    int64_t waits_began; /* how long workers had waited for a processor; -1: not measured */
} wsgid_gate_t;

/* ---- descriptors.c */

typedef struct {
    int reserve;        /* a descriptor that is given up for one more connection; -1: it has been */
    int64_t counted_at; /* when it was last found out whether hardly any is left, */
    int64_t reported_at; /* and when Python was last told of it; CLOCK_MONOTONIC; 0: never */
} wsgid_descriptors_t;

/* ---- the hub. Never freed */

struct wsgid_hub {
    pthread_mutex_t lock;
    int epoll;
    int wakeup;           /* an eventfd: readable once the process drains */
    int nudge;            /* an eventfd: wakes a worker that waits in the epoll */
    int listener;         /* -1: closed */
    int listening;        /* the listener is in the epoll */
    int paused;           /* it is not, because accept() has failed, */
    int64_t paused_until; /* and may be there again then: CLOCK_MONOTONIC; 0: at once */
    int connections;      /* how many there are */
    wsgid_descriptors_t descriptors;
    int draining;
    uint32_t pid;
    int64_t timeout;                  /* nanoseconds that a receive may take */
    int64_t send_limit, send_silence; /* nanoseconds: send-timeout (0: none), socket-timeout */
    const uint32_t *allowed;          /* uids that may connect */
    int allowed_count;
    unsigned char *page;                                  /* statistics; NULL: none */
    wsgid_connection_t *chunks[WSGID_CONNECTIONS_CHUNKS]; /* by descriptor */
    wsgid_connection_t *ready, **ready_end;               /* the list of those that are READY */
    int waiting;                                          /* workers that wait in the epoll */
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
/* How many requests run at once at most; 0: no limit. Under the hub's lock. */
void wsgid_measure_limit(const wsgid_hub_t *hub, int limit);

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

/* ---- gil.c. Each function of hotpath_table.h is called with the GIL and returns with it */

/* Whether this thread has released the GIL in this call. */
int wsgid_gil_is_released(void);
/* This thread is about to wait: releases the GIL, unless it has done so already. */
void wsgid_gil_release(void);
/* Takes back the GIL if it has been released. Called without any lock. */
void wsgid_gil_take_back(void);

/* ---- thread.c */

/* Whether a thread sleeps. 1, too, where there is no /proc. */
int wsgid_thread_is_asleep(pid_t tid);
/* For how many nanoseconds a thread has waited for a processor since it began; 0 where that is not
 * known. */
int64_t wsgid_thread_processor_wait(pid_t tid);

/* ---- concurrency.c. Under the hub's lock */

/* Begins anew. `most`: the highest limit. */
void wsgid_concurrency_start(wsgid_concurrency_t *concurrency, int most, int crowded);
/* How many requests may run at once in the window that begins now. */
int wsgid_concurrency_limit(const wsgid_concurrency_t *concurrency);
/* Whether processor_wait of the window that begins now is asked for. */
int wsgid_concurrency_asks_for_waits(const wsgid_concurrency_t *concurrency);
/* Requests have been seen to wait for long: at least a few shall run at once. */
void wsgid_concurrency_expect_waits(wsgid_concurrency_t *concurrency);
/* A window has ended, in which the limit was what wsgid_concurrency_limit() said. */
void wsgid_concurrency_learn(wsgid_concurrency_t *concurrency, const wsgid_window_t *window);

/* ---- gate.c */

/* Nanoseconds of CLOCK_MONOTONIC. */
int64_t wsgid_gate_now(void);
/* The CPU time of the worker's thread in nanoseconds; 0 if it cannot be known. */
int64_t wsgid_gate_cpu_time(const wsgid_endpoint_t *endpoint);
/* The same of the process. */
int64_t wsgid_gate_process_cpu_time(void);
/* Called once by the endpoint's own worker, without the lock, before its first request: makes its
 * thread known to the monitor. */
void wsgid_gate_register(wsgid_endpoint_t *endpoint);
/* Called by the endpoint's own worker, without the lock: its request has been read, and had waited
 * for so many microseconds until then, as far as is known. */
void wsgid_gate_note_wait(wsgid_endpoint_t *endpoint, int64_t waited);
/* Called by a thread that uses the endpoint, without the lock: it is about to wait for httpd in the
 * middle of the request, whose worker loses its admission. */
void wsgid_gate_blocks(wsgid_endpoint_t *endpoint);

/* Called under the hub's lock. */

/* The hub has one more worker. */
void wsgid_gate_add_worker(wsgid_hub_t *hub);
/* Whether there is a GIL, from now on. */
void wsgid_gate_set(wsgid_hub_t *hub, int gated);
/* Decides whether this worker may take a request now: admits it, or expels it, as the limit has
 * it. */
int wsgid_gate_decide(wsgid_endpoint_t *endpoint);
/* The admitted worker begins a request. */
void wsgid_gate_enter(wsgid_endpoint_t *endpoint);
/* It has ended, if there was one. */
void wsgid_gate_leave(wsgid_endpoint_t *endpoint);
/* The worker does something else than requests for a while: it loses its admission. */
void wsgid_gate_step_back(wsgid_endpoint_t *endpoint);
/* Takes the admission of a worker away. */
void wsgid_gate_expel(wsgid_endpoint_t *endpoint);
/* Takes over the limit that concurrency.c has found. */
void wsgid_gate_renew_limit(wsgid_hub_t *hub);
/* Admits parked workers until there are `limit`. */
void wsgid_gate_fill(wsgid_gate_t *gate, int limit);
/* Whether this worker is admitted and runs a request. */
int wsgid_gate_is_busy(const wsgid_endpoint_t *endpoint);
/* Whether all admitted workers run requests: nobody would take another one. */
int wsgid_gate_is_closed(const wsgid_gate_t *gate);
/* Whether a parked worker shall go on. */
int wsgid_gate_is_needed(const wsgid_endpoint_t *endpoint);

/* ---- monitor.c. Under the hub's lock */

/* Parks a worker until it is admitted or the process drains; without the lock meanwhile. It is the
 * monitor if no other is. */
void wsgid_monitor_park(wsgid_endpoint_t *endpoint);

/* ---- hub.c. Called under the hub's lock */

/* Takes the next connection that has something to read: it is BUSY then, the caller's. NULL: there
 * is none. */
wsgid_connection_t *wsgid_hub_take(wsgid_hub_t *hub);
/* Gives a BUSY connection back; closes it unless `keep`. */
void wsgid_hub_give_back(wsgid_hub_t *hub, wsgid_connection_t *connection, int keep);
/* Called by the owner of a BUSY connection, also without the lock: what comes now is the body of
 * its request, which the epoll shall not report until the connection is given back. */
void wsgid_hub_unwatch(wsgid_hub_t *hub, wsgid_connection_t *connection);
/* Notes what has come. WSGID_REQUEST: goes on; else WSGID_REFUSED or WSGID_NO_ACCEPT, for Python to
 * log. */
int wsgid_hub_collect(wsgid_endpoint_t *endpoint);
/* Waits until something comes, without the lock meanwhile, and notes it. As wsgid_hub_collect(). */
int wsgid_hub_wait(wsgid_endpoint_t *endpoint);
/* If a connection has something to read, and nobody may look for it soon: wakes a worker that waits
 * in the epoll. */
void wsgid_hub_offer(wsgid_hub_t *hub);

/* ---- descriptors.c. Called under the hub's lock */

/* Takes a descriptor in reserve, unless there is one or none can be had. */
void wsgid_descriptors_reserve(wsgid_hub_t *hub);
/* Closes a descriptor, or keeps its number as the reserve if there is none. */
void wsgid_descriptors_close(wsgid_hub_t *hub, int fd);
/* Closes the reserve; returns whether there was one. */
int wsgid_descriptors_release(wsgid_hub_t *hub);
/* Called once for each request. Whether hardly a descriptor is left, and the connections are not
 * why. */
int wsgid_descriptors_run_short(wsgid_hub_t *hub);
/* A connection could not be accepted for `error`, or run_short() says so (EMFILE). Whether Python
 * shall be told: then the facts are set. */
int wsgid_descriptors_report(wsgid_endpoint_t *endpoint, int error);

#endif
