/*
 * The clock that limits and waits are measured with.
 *
 * The system's time may be set, by a person or by NTP, and jumps when a machine goes on that was
 * suspended: apr_time_now() is for what people read and for what a daemon compares with its own.
 * All that is subtracted from another reading is read here.
 */
#include "common/clock.h"

#include <time.h>

apr_time_t wsgid_clock_now(void)
{
    struct timespec time;

    (void)clock_gettime(CLOCK_MONOTONIC, &time); /* cannot fail for this clock */
    return apr_time_from_sec((apr_time_t)time.tv_sec) + time.tv_nsec / 1000;
}
