/*
 * Waiting awake: what spin.h declares.
 *
 * The numbers were measured (docs/performance.md, "Steps"). An update of what is learned that is lost by a race of two does no harm.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "spin.h"

#include <sched.h>
#include <stdint.h>
#include <time.h>

#define SPIN_FOR      25000             /* nanoseconds: about what a sleep and its wake-up cost */
#define LOOKS_LEAST   4                 /* of a spin, however long others have the processor in between */
#define VAIN_MAX      256
#define VAIN_MOSTLY   (VAIN_MAX / 2)
#define VAIN_ALWAYS   (VAIN_MAX - VAIN_WEIGHT)      /* as near to VAIN_MAX as it gets */
#define VAIN_WEIGHT   16                /* about so many spins back */
#define PROBE_EVERY   64                /* whether it still does not pay */

static int64_t now(void)
{
    struct timespec time;

    (void)clock_gettime(CLOCK_MONOTONIC, &time);    /* cannot fail for this clock */
    return (int64_t)time.tv_sec * 1000000000 + time.tv_nsec;
}

static int is_time_to_probe(wsgid_spin_t *spin)
{
    return __atomic_fetch_add(&spin->waits, 1, __ATOMIC_RELAXED) % PROBE_EVERY == PROBE_EVERY - 1;
}

static void learn(wsgid_spin_t *spin, int found)
{
    int vain = __atomic_load_n(&spin->vain, __ATOMIC_RELAXED);
    int change = ((found ? 0 : VAIN_MAX) - vain) / VAIN_WEIGHT;

    if (change != 0) {                              /* as a rule it is 0: threads do not take the cache line from each other */
        __atomic_store_n(&spin->vain, vain + change, __ATOMIC_RELAXED);
    }
}

static int look_again(int (*look)(void *what), void *what)
{
    (void)sched_yield();                            /* always succeeds on Linux */
    return look(what);
}

int wsgid_spin(wsgid_spin_t *spin, int (*look)(void *what), void *what)
{
    int vain = __atomic_load_n(&spin->vain, __ATOMIC_RELAXED);
    int64_t until;
    int looks, found;

    if (vain > VAIN_MOSTLY && !is_time_to_probe(spin)) {
        return vain <= VAIN_ALWAYS && look_again(look, what);
    }
    until = now() + SPIN_FOR;
    found = look_again(look, what);
    for (looks = 1; !found && (looks < LOOKS_LEAST || now() < until); looks++) {
        found = look_again(look, what);
    }
    learn(spin, found);
    return found;
}
