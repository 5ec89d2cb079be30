/*
 * Waiting awake: what spin.h declares.
 *
 * The numbers were measured (docs/performance.md, "Steps"). An update of what is learned that is
 * lost by a race of two does no harm.
 */
#include "common/spin.h"

#include <sched.h>
#include <stdint.h>
#include <time.h>

/* nanoseconds: about what a sleep and its wake-up cost where they are cheap, */
#define SPIN_LEAST  25000
#define SPIN_MOST   100000 /* and where they are not */
#define SPIN_TIMES  2      /* what the longest wait lasted that a spin has ended lately */
#define LOOKS_LEAST 4      /* of a spin, however long others have the processor in between */
#define VAIN_MAX    256
#define VAIN_MOSTLY (VAIN_MAX / 2)
#define VAIN_WEIGHT 16                           /* about so many spins back */
#define VAIN_ALWAYS (VAIN_MAX - VAIN_WEIGHT + 1) /* as near to VAIN_MAX as it gets */
#define LONG_WEIGHT 64
#define PROBE_EVERY 64 /* whether it still does not pay */

static int64_t now(void)
{
    struct timespec time;

    (void)clock_gettime(CLOCK_MONOTONIC, &time); /* cannot fail for this clock */
    return (int64_t)time.tv_sec * 1000000000 + time.tv_nsec;
}

static int is_time_to_probe(wsgid_spin_t *spin)
{
    return __atomic_fetch_add(&spin->waits, 1, __ATOMIC_RELAXED) % PROBE_EVERY == PROBE_EVERY - 1;
}

/* As a rule `by` is 0: threads do not take the cache line from each other. */
static void change(int *learned, int value, int by)
{
    if (by != 0) {
        __atomic_store_n(learned, value + by, __ATOMIC_RELAXED);
    }
}

static void learn(wsgid_spin_t *spin, int found, int64_t took)
{
    int vain = __atomic_load_n(&spin->vain, __ATOMIC_RELAXED),
        lasted = __atomic_load_n(&spin->lasted, __ATOMIC_RELAXED);
    int more = (int)(took < SPIN_MOST ? took : SPIN_MOST) - lasted;

    change(&spin->vain, vain, ((found ? 0 : VAIN_MAX) - vain) / VAIN_WEIGHT);
    if (found) {
        change(&spin->lasted, lasted, more > 0 ? more : more / LONG_WEIGHT);
    }
}

/* How long to spin: a probe is to find, too, that waits have become longer. */
static int limit(const wsgid_spin_t *spin, int is_probe)
{
    int lasted = __atomic_load_n(&spin->lasted, __ATOMIC_RELAXED);

    if (is_probe || lasted == 0 || lasted > SPIN_MOST / SPIN_TIMES) {
        return SPIN_MOST;
    }
    return lasted < SPIN_LEAST / SPIN_TIMES ? SPIN_LEAST : lasted * SPIN_TIMES;
}

static int look_again(int (*look)(void *what), void *what)
{
    (void)sched_yield(); /* always succeeds on Linux */
    return look(what);
}

int wsgid_spin(wsgid_spin_t *spin, int (*look)(void *what), void *what)
{
    int vain = __atomic_load_n(&spin->vain, __ATOMIC_RELAXED);
    int is_probe = vain > VAIN_MOSTLY && is_time_to_probe(spin);
    int64_t begun, took = 1; /* at once; 0 would be not known */
    int looks, found, most;

    if (vain > VAIN_MOSTLY && !is_probe) {
        return vain < VAIN_ALWAYS && look_again(look, what);
    }
    most = limit(spin, is_probe);
    begun = now();
    found = look_again(look, what);
    for (looks = 1; !found && (looks < LOOKS_LEAST || took < most); looks++) {
        found = look_again(look, what);
        took = now() - begun;
    }
    learn(spin, found, took);
    return found;
}
