/*
 * Adaptive spinning: before a thread sleeps, it polls for up to 100 us for what it waits for.
 *
 * Many waits are short: a small application answers in 15 us, and a client that sends request after
 * request is as fast. Falling asleep and waking up costs as much, and more on a virtual machine,
 * where the hypervisor has to wake an idle processor. Before each poll the thread yields
 * (sched_yield): where there are more threads than processors, the awaited thread then runs at
 * once.
 *
 * Spinning costs CPU time where waits are longer. A moving average for each kind of wait tells
 * whether it pays. Where most spins miss, a wait polls once; where all miss, not at all. Every 64th
 * wait spins nevertheless, to notice a change.
 *
 * No httpd and no Python headers here: this file is compiled into the module and into the daemon.
 */
#ifndef WSGID_SPIN_H
#define WSGID_SPIN_H

/* The moving average of one kind of wait. Zeroed, it assumes that spinning pays. Any number of
 * threads may use it at the same time. */
typedef struct {
    int misses;     /* 0: every spin finds something, 256: none does */
    unsigned waits; /* counts while spinning does not pay */
} wsgid_spin_t;

/* Whether spinning is likely to pay: by the moving average, or because it is the turn of a 64th
 * wait. For callers that spin by themselves (request/keepalive.c). */
int wsgid_spin_pays(wsgid_spin_t *spin);

/* Adds the outcome of one wait to the moving average. */
void wsgid_spin_record(wsgid_spin_t *spin, int found);

/*
 * Calls poll_once(what) until it returns non-zero, for up to 100 us where spinning pays, and
 * records the outcome; once, or not at all, where it does not. Returns the last result, 0 if it did
 * not poll; errno is as the last call left it.
 */
int wsgid_spin(wsgid_spin_t *spin, int (*poll_once)(void *what), void *what);

#endif
