/*
 * The daemon's hot path: one call for each request, which sends the last response, waits for the
 * next request and reads it whole. The twin of pywsgid/daemon/transport/transport.py, where the
 * rules of the interface stand; pywsgid/daemon/transport/hotpath.py is what calls this.
 *
 *   hub.c        the listener, the connections, which of them have something to read; draining;
 * forks gate.c       how many workers run requests at once, and who takes over from one that blocks
 *   request_classes.c      which requests are likely to block
 *   endpoint.c   a worker's end of a connection: request after request, frames out
 *   receive.c    requests and bodies in
 *   measure.c    what is counted and timed of each request, for the statistics page
 *
 * Rules: no Python.h and no Python object: what Python is to see lies in memory that it has mapped
 * (wsgid_endpoint_t.facts and .buffer), so that one build serves every interpreter, through cffi or
 * through ctypes. Nothing is logged: outcomes are told, Python words them. Lock order: an
 * exchange's lock, then the hub's. No call into the kernel that may wait is made with the hub's
 * lock held.
 */
#ifndef WSGID_HOTPATH_H
#define WSGID_HOTPATH_H

#include <pthread.h>
#include <stdint.h>
#include <sys/types.h>

#include "common/spin.h"
#include "common/wire.h"
#include "hotpath_table.h" /* outcomes, facts, sizes, the functions that Python calls */

/* what a request used of its buffer beyond that is given back to the system */
#define WSGID_BUFFER_KEPT (128 * 1024)
/* of a body in one receive: a frame as httpd sends it */
#define WSGID_RECEIVE_MAX (WSGID_WIRE_HEADER_SIZE + 64 * 1024)

#define WSGID_REQUEST_CLASSES      512 /* of requests, that are told apart */
#define WSGID_REQUEST_CLASSES_EACH 3   /* that each request is of */

typedef struct wsgid_connection wsgid_connection_t;

/* Who owns a connection: nobody (FREE: its slot is empty), the hub (IDLE, READY), the worker that
 * popped it (BUSY). */
typedef enum {
    CONNECTION_FREE,
    CONNECTION_IDLE,
    CONNECTION_READY,
    CONNECTION_BUSY
} wsgid_connection_state_e;

struct wsgid_connection {
    int fd;
    uint32_t generation; /* tells an event of an earlier connection with the same descriptor */
    wsgid_connection_state_e state;
    int again; /* something came while it was BUSY */
    int hung_up;
    int unwatched;            /* its owner alone waits for what comes */
    wsgid_connection_t *next; /* in the list of those that are READY */
};

struct wsgid_endpoint {
    wsgid_hub_t *hub;
    int64_t *facts;
    unsigned char *buffer;

    pthread_mutex_t lock; /* frames from several threads must not mix */
    int announced;        /* STARTED is out */
    /* frames may be sent: there is a request, its response has not ended. Set last, and atomically
     */
    int open;
    wsgid_connection_t *connection;
    /* the frame that goes before all others */
    unsigned char started[WSGID_WIRE_HEADER_SIZE + WSGID_WIRE_STARTED_SIZE];
    size_t start, end;   /* what of the buffer has been received and not taken */
    size_t high;         /* up to where the buffer has been written */
    uint32_t frame_left; /* payload bytes of the current BODY frame that are still to come */
    int frame_last;
    unsigned number;  /* of its thread, from 0: which row of the statistics page it has */
    int counted;      /* its request has begun, and not ended, in the statistics page */
    uint64_t read_at; /* CLOCK_REALTIME, microseconds: when its request had been read */
    int64_t patience; /* nanoseconds that the response may still wait for httpd */

    /* gate.c; under the hub's lock */
    pthread_cond_t wake;
    int woken;
    int held; /* the gate was closed behind it, and it is to be learned from. Its own thread's */
    int handed_over;
    pid_t tid; /* of its thread, 0: it has not run yet */
    int clock_known;
    clockid_t clock; /* CPU time of its thread */
    /* when its request began, and what its thread had used of the CPU; -1: not known */
    int64_t since, cpu_since;
    uint64_t turn; /* number of its request in this process */
    /* of its request: places in wsgid_gate_t.blocked */
    uint16_t classes[WSGID_REQUEST_CLASSES_EACH];
    wsgid_endpoint_t *next_parked;

    wsgid_endpoint_t *next; /* all of the hub */
};

#define CHUNK_SIZE 256 /* connections that are made at once; they stay */
#define CHUNKS     4096

typedef struct {
    int gated;                /* only one request at a time, unless it blocks: there is a GIL */
    wsgid_endpoint_t *holder; /* who runs its request with the gate closed */
    wsgid_endpoint_t *monitor;
    int asleep; /* the monitor waits without a limit */
    int called; /* somebody has been woken and is on the way */
    wsgid_endpoint_t *parked;
    uint64_t turns;
    /* request_classes.c: how often requests of each kind block. Written under the hub's lock */
    int16_t blocked[WSGID_REQUEST_CLASSES];
    int64_t fine_until; /* until when looks are close together */
    int calm; /* looks in vain since the monitor woke up or saw a holder sleep, up to a limit */
} wsgid_gate_t;

struct wsgid_hub {
    pthread_mutex_t lock;
    int epoll, wakeup;
    int listener;             /* -1: closed */
    int listening;            /* it is in the epoll */
    wsgid_endpoint_t *paused; /* who is to put it there again: there were no descriptors left */
    int draining;
    uint32_t pid;
    int64_t timeout;                  /* ns: socket-timeout and a bit, for receives */
    int64_t send_limit, send_silence; /* ns: send-timeout (0: none), socket-timeout */
    const uint32_t *allowed;          /* uids */
    int allowed_count;
    unsigned char *page;                /* statistics */
    wsgid_connection_t *chunks[CHUNKS]; /* by descriptor */
    wsgid_connection_t *ready, **ready_end;
    wsgid_endpoint_t *poller; /* who waits in the epoll */
    wsgid_spin_t arrivals;    /* what is known of its waits, */
    wsgid_spin_t bodies;      /* and of those of all others, in the middle of a request */
    wsgid_endpoint_t *endpoints;
    wsgid_gate_t gate;
};

/* ---- measure.c. By endpoint's own thread, without the lock */

/* A request has been read: `line` is its line for people, with a NUL, of less than WSGID_PAGE_LINE
 * bytes; its thread is free again. */
void wsgid_measure_begin(wsgid_endpoint_t *endpoint, uint64_t sent, const char *line,
                         size_t length);
void wsgid_measure_end(wsgid_endpoint_t *endpoint);

/* ---- endpoint.c and receive.c. By endpoint's own thread, without the lock */

/* Whether an errno of a send or a receive means that httpd has gone. */
int wsgid_outcome_is_gone(int error);
/* Reads a whole REQUEST. WSGID_LEAVE: there was nothing to read. */
int wsgid_receive_request(wsgid_endpoint_t *endpoint, wsgid_connection_t *connection);

/* ---- request_classes.c */

/* By endpoint's own thread: what kinds a request is of, by its line. */
void wsgid_request_classes_name(wsgid_endpoint_t *endpoint, const char *line, size_t length);
/* Whether most of one of its kinds have blocked lately. */
int wsgid_request_classes_block(const wsgid_gate_t *gate, const wsgid_endpoint_t *endpoint);
/* The hub's lock is held: the request of endpoint is over. */
void wsgid_request_classes_learn(wsgid_gate_t *gate, const wsgid_endpoint_t *endpoint,
                                 int has_blocked);

/* ---- hub.c; the hub's lock is held */

wsgid_connection_t *wsgid_hub_pop(wsgid_hub_t *hub);
void wsgid_hub_give_back(wsgid_hub_t *hub, wsgid_connection_t *connection, int keep);
/* By the owner, also without the lock: what comes is the body of its request. Until it is given
 * back, no event tells of that. */
void wsgid_hub_unwatch(wsgid_hub_t *hub, wsgid_connection_t *connection);
/* Waits for events, without the lock meanwhile. WSGID_REQUEST: goes on; else an outcome for Python.
 */
int wsgid_hub_poll(wsgid_hub_t *hub, wsgid_endpoint_t *endpoint);
void wsgid_hub_resume_listening(wsgid_hub_t *hub, wsgid_endpoint_t *endpoint);

/* ---- gate.c; the hub's lock is held */

int64_t wsgid_gate_now(void);
/* A request begins, or has ended. */
void wsgid_gate_enter(wsgid_hub_t *hub, wsgid_endpoint_t *endpoint);
void wsgid_gate_leave(wsgid_hub_t *hub, wsgid_endpoint_t *endpoint);
/* The request of endpoint has been read. Without the lock. */
void wsgid_gate_judge(wsgid_hub_t *hub, wsgid_endpoint_t *endpoint);
int wsgid_gate_is_closed(const wsgid_hub_t *hub);
/* Wakes a worker if there is something for it to do. */
void wsgid_gate_let_in(wsgid_hub_t *hub);
/* Waits until there is. */
void wsgid_gate_park(wsgid_hub_t *hub, wsgid_endpoint_t *endpoint);
/* Called by endpoint's own thread, without the lock: makes it known to those who watch it. */
void wsgid_gate_introduce(wsgid_endpoint_t *endpoint);
/* Without the lock: endpoint is about to wait for httpd in the middle of its request. */
void wsgid_gate_blocks(wsgid_hub_t *hub, wsgid_endpoint_t *endpoint);

#endif
