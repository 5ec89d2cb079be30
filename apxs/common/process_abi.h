/*
 * What crosses exec from httpd's parent to a daemon: descriptor numbers, exit codes, the statistics
 * page.
 *
 * pywsgid/wire/process_abi.py is the twin of this file; tests/wire/test_process_abi.py proves that
 * they agree. No httpd headers here.
 */
#ifndef WSGID_PROCESS_ABI_H
#define WSGID_PROCESS_ABI_H

#include <stdint.h>

/* Descriptors of a daemon; everything from WSGID_FD_END on is closed before exec. */
#define WSGID_FD_LISTENER      3
#define WSGID_FD_CONFIGURATION 4
#define WSGID_FD_LIFELINE      5
#define WSGID_FD_STATISTICS    6
#define WSGID_FD_WAKEUP        7 /* a byte asks httpd's parent to look at the statistics pages */
/* listener: questions and wishes of administrators (pywsgid status ...) */
#define WSGID_FD_CONTROL     8
#define WSGID_FD_PREDECESSOR 9 /* only for a successor */
#define WSGID_FD_END         10

/* What a byte in the lifeline means. End-of-file: httpd has gone, leave. */
#define WSGID_LIFELINE_LEAVE  0 /* finish what has been read, and leave */
#define WSGID_LIFELINE_FAILED 1 /* the successor that was wished for could not take over: go on */

/* Exit codes. Above 63 and below 126, where neither Python nor a shell has codes of its own. */
#define WSGID_EXIT_PRIVILEGES    81
#define WSGID_EXIT_EXEC          82
#define WSGID_EXIT_CONFIGURATION 83
#define WSGID_EXIT_LOAD          84
#define WSGID_EXIT_INTERPRETER   85

/* The statistics page: written by a daemon, so hostile input for httpd. */
#define WSGID_PAGE_SIZE    65536 /* only what is used takes memory */
#define WSGID_PAGE_VERSION 3

#define WSGID_PAGE_BOOTING  0
#define WSGID_PAGE_READY    1
#define WSGID_PAGE_DRAINING 2

/* Why a process wishes for a successor. */
#define WSGID_REPLACE_NONE       0
#define WSGID_REPLACE_ASKED      1 /* an administrator: pywsgid reload */
#define WSGID_REPLACE_CHANGED    2 /* a script has changed */
#define WSGID_REPLACE_REQUESTS   3 /* maximum-requests */
#define WSGID_REPLACE_INTERVAL   4 /* restart-interval */
#define WSGID_REPLACE_INACTIVITY 5 /* inactivity-timeout */
#define WSGID_REPLACE_MEMORY     6 /* maximum-rss */
#define WSGID_REPLACE_STUCK      7 /* a request over request-timeout that cannot be interrupted */

/* Histograms of times: bucket 0 counts what took less than WSGID_PAGE_FIRST microseconds, each
 * further one what took less than twice as long, and the last one all the rest (134 seconds and
 * more). */
#define WSGID_PAGE_FIRST   32
#define WSGID_PAGE_BUCKETS 24
#define WSGID_PAGE_PYTHON  24 /* bytes */

typedef struct {
    uint32_t version;
    uint32_t state; /* WSGID_PAGE_... */
    uint64_t requests_started;
    uint64_t requests_finished;
    /* counts up: each time the process wishes for a successor, which the wake-up pipe then tells */
    uint32_t replacement_requests;
    uint32_t replacement_reason; /* why it wished last: WSGID_REPLACE_... */
    uint64_t watchdog; /* CLOCK_MONOTONIC in milliseconds: when its deadlock watchdog ends it, if it
                          cannot say another time until then; 0: there is none */
    uint64_t
        change; /* which change of its scripts it wished for last, made of paths and stamps: the
                   same number in each process that sees it; 0: it wished for another reason */

    /* For the status page alone. Times are microseconds. */
    uint64_t errors; /* requests that it answered with an error of its own: an exception, a script
                        that cannot be loaded, a time limit */
    uint64_t since;  /* CLOCK_REALTIME: when the process began */
    uint32_t threads;
    uint32_t reserved;              /* 0 */
    char python[WSGID_PAGE_PYTHON]; /* "3.11.2" and NULs */
    /* sum of: from the moment httpd sends a request until a thread has read it */
    uint64_t queue_time;
    uint64_t application_time; /* sum of: from there until the thread is free again */
    uint64_t queue_times[WSGID_PAGE_BUCKETS];
    uint64_t application_times[WSGID_PAGE_BUCKETS];
} wsgid_page_t;

/* From there: the scripts that the process has loaded, "callable:/path" each with its NUL, until an
 * empty one. Its successor must be able to load them, too, before it takes over. */
#define WSGID_PAGE_SCRIPTS     1024
#define WSGID_PAGE_SCRIPTS_END 4096

/* From there to the end of the page: what each thread does, the first one's row first. Threads
 * beyond that have none. */
#define WSGID_PAGE_ROWS     4096
#define WSGID_PAGE_ROW_SIZE 256
#define WSGID_PAGE_LINE     240 /* bytes */

typedef struct {
    /* CLOCK_REALTIME, microseconds: when it read the request that it runs; 0: it runs none */
    uint64_t since;
    uint64_t requests; /* that it has begun */
    /* of the request that it runs, or ran last: method, blank, URI, cut at the end; NUL */
    char line[WSGID_PAGE_LINE];
} wsgid_page_row_t;

#endif
