/*
 * The clock for limits and waits.
 *
 * The system's time may be set, by a person or by NTP, and jumps when a suspended machine resumes.
 * apr_time_now() is for what people read, and for what a daemon compares with its own readings.
 * Everything that is subtracted from another reading is read here.
 */
#ifndef WSGID_CLOCK_H
#define WSGID_CLOCK_H

#include "apr_time.h"

/*
 * Returns CLOCK_MONOTONIC in microseconds. The clock is the same in httpd's parent, its children
 * and the forked process. Its zero may be the boot of the machine: 0 does not mean "long ago", so
 * never use it as an initial value. Do not show a reading, and do not compare it with
 * apr_time_now(). Cannot fail; any thread of any process may call it.
 */
apr_time_t wsgid_clock_now(void);
/* Makes *next the earlier of the two moments; 0 is none. */
void wsgid_clock_earlier(apr_time_t *next, apr_time_t moment);

#endif
