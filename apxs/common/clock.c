/* The clock for limits and waits: see clock.h. */
#include "common/clock.h"

#include <time.h>

apr_time_t wsgid_clock_now(void)
{
    struct timespec time;

    (void)clock_gettime(CLOCK_MONOTONIC, &time); /* cannot fail for this clock */
    return apr_time_from_sec((apr_time_t)time.tv_sec) + time.tv_nsec / 1000;
}

void wsgid_clock_earlier(apr_time_t *next, apr_time_t moment)
{
    if (moment && (!*next || moment < *next)) {
        *next = moment;
    }
}
