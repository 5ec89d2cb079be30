/*
 * Adaptive spinning: what spin.h declares. The figures are in docs/performance.md.
 *
 * An update of the moving average that is lost by a race of two threads does no harm.
 */
#include "common/spin.h"

#include <sched.h>
#include <stdint.h>
#include <time.h>

#define SPIN_NS       100000 /* 50 us are too short for an application that answers in 60 */
#define MISSES_MAX    256    /* the average of "every spin missed" */
#define MISSES_ALWAYS (MISSES_MAX - WEIGHT + 1) /* as near to MISSES_MAX as it gets */
#define WEIGHT        16                        /* the average covers about so many spins */
#define RETRY_EVERY   64                        /* waits, while spinning does not pay */

static int64_t now(void)
{
    struct timespec time;

    (void)clock_gettime(CLOCK_MONOTONIC, &time); /* cannot fail for this clock */
    return (int64_t)time.tv_sec * 1000000000 + time.tv_nsec;
}

/* Most of the time the change is 0: threads then do not take the cache line from each other. */
void wsgid_spin_record(wsgid_spin_t *spin, int found)
{
    int misses = __atomic_load_n(&spin->misses, __ATOMIC_RELAXED);
    int change = ((found ? 0 : MISSES_MAX) - misses) / WEIGHT;

    if (change != 0) {
        __atomic_store_n(&spin->misses, misses + change, __ATOMIC_RELAXED);
    }
}

int wsgid_spin_pays(wsgid_spin_t *spin)
{
    return __atomic_load_n(&spin->misses, __ATOMIC_RELAXED) <= MISSES_MAX / 2
           || __atomic_fetch_add(&spin->waits, 1, __ATOMIC_RELAXED) % RETRY_EVERY
                  == RETRY_EVERY - 1;
}

static int yield_and_poll(int (*poll_once)(void *what), void *what)
{
    (void)sched_yield(); /* always succeeds on Linux */
    return poll_once(what);
}

int wsgid_spin(wsgid_spin_t *spin, int (*poll_once)(void *what), void *what)
{
    int64_t until;
    int found;

    if (!wsgid_spin_pays(spin)) {
        return __atomic_load_n(&spin->misses, __ATOMIC_RELAXED) < MISSES_ALWAYS
               && yield_and_poll(poll_once, what);
    }
    until = now() + SPIN_NS;
    do {
        found = yield_and_poll(poll_once, what);
    } while (!found && now() < until);
    wsgid_spin_record(spin, found);
    return found;
}
