/*
 * The status page. handler.c answers requests, and adds a section to mod_status's page; model.c
 * collects what is shown, with the help of procfs.c; html.c, json.c, metrics.c and auto.c each
 * write one form of it.
 *
 * Rules: what daemons report is hostile input, because they belong to other users. Only model.c
 * reads it. The model that it returns is bounded, clipped and printable ASCII, so that an output
 * only escapes what its own syntax needs. An output reads nothing but the model, and changes
 * nothing. The model is in the request's pool.
 *
 * Only wsgid_status_handler_register_hooks is for others (mod_wsgid.c). All functions run in
 * a child of httpd, in the thread of the request.
 */
#ifndef WSGID_STATUS_H
#define WSGID_STATUS_H

#include "slots/names.h"
#include "slots/slots.h"
#include "wsgid.h"

#define WSGID_STATUS_UNKNOWN (-1) /* a figure that is not available */

/* ---- the model */

/* A request that is running. */
typedef struct {
    int thread; /* its thread, counted from 1 */
    apr_interval_time_t elapsed;
    const char *line; /* "GET /path" */
} wsgid_status_request_t;

typedef struct {
    pid_t pid;
    wsgid_state_e state;
    apr_interval_time_t uptime; /* negative if it waits: how much longer */
    const char *python;         /* "3.11.2"; NULL: unknown */
    int threads;
    int busy;
    int at_once; /* how many run at once at most, as it has measured; 0: no limit */
    /* wsgid_status_request_t: what its busy threads run, longest first */
    const apr_array_header_t *running;
    wsgid_counts_t counts;
    apr_int64_t memory; /* resident, bytes; or WSGID_STATUS_UNKNOWN */
    apr_int64_t cpu;    /* milliseconds; or WSGID_STATUS_UNKNOWN */
} wsgid_status_process_t;

typedef struct {
    int index;
    wsgid_slot_state_e state;
    apr_interval_time_t next_try;        /* from now; 0 unless it waits */
    unsigned in_flight;                  /* requests that httpd has sent, or is about to send */
    unsigned queued;                     /* of these, how many wait for a thread */
    const apr_array_header_t *processes; /* wsgid_status_process_t */
    wsgid_counts_t counts;               /* including those of processes that have ended */
    wsgid_ends_t ends[WSGID_REASONS];
} wsgid_status_slot_t;

typedef struct {
    /* "%{GLOBAL}" for the default group; what is not ASCII is escaped with a backslash */
    const char *name;
    const char *user;
    const apr_array_header_t *slots; /* wsgid_status_slot_t */
    wsgid_scale_t scale;             /* how many slots are to be ready */
    int ready;                       /* how many are */
    int starting;                    /* how many are to be, and are not */
    int idle;                        /* how many are ready and have no request */
    int processes[WSGID_STATES];     /* by state */
    int threads;                     /* of processes that are ready or draining */
    int busy;
    unsigned in_flight;
    unsigned queued;
    apr_interval_time_t longest; /* how long the oldest running request has run */
    wsgid_counts_t counts;
    wsgid_ends_t ends[WSGID_REASONS];
} wsgid_status_group_t;

typedef struct {
    apr_time_t now;                   /* apr_time_now() */
    const apr_array_header_t *groups; /* wsgid_status_group_t */
} wsgid_status_t;

/* Everything that the page shows, at this moment, in p. */
const wsgid_status_t *wsgid_status_model_collect(apr_pool_t *p);
/* Static text: "ready". */
const char *wsgid_status_model_process_state(wsgid_state_e state);
const char *wsgid_status_model_slot_state(wsgid_slot_state_e state);
/* The reason for which a process ended last; WSGID_REASONS if none has ended. */
wsgid_reason_e wsgid_status_model_last_end(const wsgid_ends_t *ends);
/* How many processes have ended, for whatever reason. */
apr_uint64_t wsgid_status_model_count_ends(const wsgid_ends_t *ends);

/* ---- histograms (model.c) */

/* The upper bound of a bucket in microseconds; 0 for the last one, which has none. */
apr_uint64_t wsgid_status_model_bound(int bucket);
/* The sum of all buckets. */
apr_uint64_t wsgid_status_model_count_times(const apr_uint64_t *times);
/* A quantile in microseconds; share: 0.5 for the median. The lower bound of the last bucket if it
 * is in there; WSGID_STATUS_UNKNOWN if there are no times. */
double wsgid_status_model_quantile(const apr_uint64_t *times, double share);

/* ---- procfs.c */

/* Resident bytes, and milliseconds of CPU time; WSGID_STATUS_UNKNOWN if /proc does not show them
 * (hidepid, or the process has ended). */
apr_int64_t wsgid_status_procfs_memory(pid_t pid);
apr_int64_t wsgid_status_procfs_cpu(pid_t pid);

/* ---- the outputs
 *
 * Each writes the whole answer to r; handler.c has set the headers. */

void wsgid_status_html_put(request_rec *r, const wsgid_status_t *status);
void wsgid_status_json_put(request_rec *r, const wsgid_status_t *status);
void wsgid_status_metrics_put(request_rec *r, const wsgid_status_t *status);
void wsgid_status_auto_put(request_rec *r, const wsgid_status_t *status);
/* Our section of mod_status's page; as_table: else as paragraphs. */
void wsgid_status_html_put_section(request_rec *r, const wsgid_status_t *status, int as_table);
/* The Content-Security-Policy for wsgid_status_html_put. */
extern const char *const wsgid_status_html_policy;

/* A text with a backslash before quotes and backslashes, for a string in JSON or a metric's label.
 */
const char *wsgid_status_model_quoted(apr_pool_t *p, const char *text);
/* Seconds with microseconds: "1.500000". */
const char *wsgid_status_model_seconds(apr_pool_t *p, apr_uint64_t microseconds);

/* ---- handler.c */

#define WSGID_STATUS_HANDLER "wsgid-status" /* for SetHandler */
/* Registers the content handler and the hook of mod_status. */
void wsgid_status_handler_register_hooks(void);

#endif
