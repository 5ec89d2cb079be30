/*
 * How many processes a pool should have now (elastic.c): decisions only, no httpd and no process.
 * Times are microseconds of one monotonic clock.
 */
#ifndef WSGID_ELASTIC_H
#define WSGID_ELASTIC_H

#include <stdint.h>

typedef struct {
    int least, most;    /* processes */
    int64_t idle_after; /* a surplus process leaves after that */
} wsgid_elastic_bounds_t;

/* What a guardian sees of a pool at one moment. */
typedef struct {
    int64_t now;
    int ready, starting; /* processes; starting: booting, or wanted and not started yet */
    unsigned in_flight;  /* requests that httpd has sent, or will send, and that are not finished */
    unsigned running;    /* of these, what threads of ready processes have read */
    uint64_t started;    /* requests that threads have read, in all */
    uint64_t waited;     /* the sum of the times that these had waited until a thread read them */
    int last_is_used;    /* the last wanted slot has had a request since the look before */
} wsgid_elastic_load_t;

/* Of a pool; zeroed at first. The fields belong to elastic.c. */
typedef struct {
    int64_t looked;
    int desired;       /* after the last look */
    int64_t used;      /* when the last wanted slot was last seen in use */
    struct {           /* a stretch of time in which requests wait at every look */
        int64_t since; /* 0: there is none */
        uint64_t started, waited;
        unsigned unread;
        int last_is_used; /* at a look before the last one */
    } window;
    int late_windows; /* in a row, in which requests waited for too long */
} wsgid_elastic_t;

/*
 * Call it at each look.
 * @param desired the number of processes that was wanted until now
 * @return the number to be wanted from now on, from least to most; never 0 while a request is in
 *         flight
 */
int wsgid_elastic_decide(wsgid_elastic_t *state, const wsgid_elastic_bounds_t *bounds,
                         const wsgid_elastic_load_t *load, int desired);

/*
 * @return when to look again; 0: whenever something else wakes the guardian, which has to be once a
 *         second while requests are in flight
 */
int64_t wsgid_elastic_next(const wsgid_elastic_t *state, const wsgid_elastic_bounds_t *bounds,
                           int desired);

#endif
