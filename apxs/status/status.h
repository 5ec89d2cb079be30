/*
 * What crosses only the files of the status page: status.c (the handler, mod_status), model.c
 * (collecting), procfs.c, and one file for each output: html.c, json.c, metrics.c, auto.c.
 *
 * Rules: what daemons say of themselves is hostile input, as they belong to other users. model.c
 * alone reads it; what it gives is bounded, clipped, and printable ASCII, so that an output only
 * has to escape what its own syntax needs. An output looks at nothing but the model, and changes
 * nothing. All lives in the request's pool.
 */
#ifndef WSGID_STATUS_H
#define WSGID_STATUS_H

#include "slots/slots.h"
#include "wsgid.h"

#define WSGID_STATUS_UNKNOWN (-1) /* a figure that is not to be had */

/* ---- the model */

typedef enum {
    WSGID_PROCESS_WAITING, /* asleep in its back-off */
    WSGID_PROCESS_BOOTING,
    WSGID_PROCESS_READY,
    WSGID_PROCESS_DRAINING,
    WSGID_PROCESS_STATES
} wsgid_status_state_e;

/* A request that a thread runs. */
typedef struct {
    int thread; /* from 1 */
    apr_interval_time_t elapsed;
    const char *line; /* "GET /path" */
} wsgid_status_request_t;

typedef struct {
    pid_t pid;
    wsgid_status_state_e state;
    apr_interval_time_t uptime; /* of one that waits: less than 0, how long it still does */
    const char *python;         /* "3.11.2"; NULL: it has not said */
    int threads;
    int busy;
    /* wsgid_status_request_t; those of busy threads that say what they run, longest first */
    const apr_array_header_t *running;
    wsgid_counts_t counts;
    apr_int64_t memory; /* resident, bytes; or WSGID_STATUS_UNKNOWN */
    apr_int64_t cpu;    /* milliseconds; or WSGID_STATUS_UNKNOWN */
} wsgid_status_process_t;

typedef struct {
    int index;
    wsgid_slot_state_e state;
    apr_interval_time_t next_try;        /* from now; 0 unless it waits */
    unsigned in_flight;                  /* requests that httpd has sent, or is about to */
    unsigned queued;                     /* of these, how many no thread has begun */
    const apr_array_header_t *processes; /* wsgid_status_process_t */
    wsgid_counts_t counts;               /* with those of processes that have ended */
    wsgid_ends_t ends[WSGID_REASONS];
} wsgid_status_slot_t;

typedef struct {
    const char
        *name; /* "%{GLOBAL}" for the default group; a backslash stands for what is not ASCII */
    const char *user;
    const apr_array_header_t *slots; /* wsgid_status_slot_t */
    int ready;                       /* slots that are */
    int processes[WSGID_PROCESS_STATES];
    int threads; /* of processes that are ready or drain */
    int busy;
    unsigned in_flight;
    unsigned queued;
    apr_interval_time_t longest; /* elapsed, of the request that has run for longest */
    wsgid_counts_t counts;
    wsgid_ends_t ends[WSGID_REASONS];
} wsgid_status_group_t;

typedef struct {
    apr_time_t now; /* apr_time_now(): to be shown, and for what is said in that */
    const apr_array_header_t *groups; /* wsgid_status_group_t */
} wsgid_status_t;

const wsgid_status_t *wsgid_status_model_collect(apr_pool_t *p);
/* "ready" */
const char *wsgid_status_model_process_state(wsgid_status_state_e state);
const char *wsgid_status_model_slot_state(wsgid_slot_state_e state);
/* Why processes ended: the one with the latest end, or WSGID_REASONS if none has. */
wsgid_reason_e wsgid_status_model_last_end(const wsgid_ends_t *ends);
apr_uint64_t wsgid_status_model_count_ends(const wsgid_ends_t *ends);

/* ---- histograms (model.c) */

/* The upper end of a bucket in microseconds; the last one has none, and 0 says so. */
apr_uint64_t wsgid_status_model_bound(int bucket);
apr_uint64_t wsgid_status_model_count_times(const apr_uint64_t *times);
/* Microseconds that a share of all took no longer than, 0.5 for the median; WSGID_STATUS_UNKNOWN if
 * there are none. In the last bucket, its lower end. */
double wsgid_status_model_quantile(const apr_uint64_t *times, double share);

/* ---- procfs.c: what the system says of a process */

/* Resident bytes, milliseconds of CPU; WSGID_STATUS_UNKNOWN if /proc does not tell (hidepid, or it
 * has gone). */
apr_int64_t wsgid_status_procfs_memory(pid_t pid);
apr_int64_t wsgid_status_procfs_cpu(pid_t pid);

/* ---- the outputs */

void wsgid_status_html_put(request_rec *r, const wsgid_status_t *status);
void wsgid_status_json_put(request_rec *r, const wsgid_status_t *status);
void wsgid_status_metrics_put(request_rec *r, const wsgid_status_t *status);
void wsgid_status_auto_put(request_rec *r, const wsgid_status_t *status);
/* A part of mod_status's page. */
void wsgid_status_html_put_section(request_rec *r, const wsgid_status_t *status, int as_table);
/* The header that goes with put_html. */
extern const char *const wsgid_status_html_policy;

/* For a string of JSON and the label of a metric: with a backslash before quotes and backslashes.
 */
const char *wsgid_status_model_quoted(apr_pool_t *p, const char *text);
/* Seconds with microseconds: "1.500000". */
const char *wsgid_status_model_seconds(apr_pool_t *p, apr_uint64_t microseconds);

/* Content handler, and mod_status's hook. */
#define WSGID_STATUS_HANDLER "wsgid-status"
int wsgid_status_handler_run(request_rec *r);
void wsgid_status_handler_register_hooks(void);

#endif
