/*
 * Adaptive spinning: before a thread sleeps for what is likely to be there in a moment, it looks
 * for it itself.
 *
 * Our waits are short: a small application answers in 15 us, and a client of a benchmark asks again
 * as soon. To fall asleep and to be woken costs as much, and more on a virtual machine, where a
 * processor that idles is woken through the hypervisor. Before each look the thread offers its
 * processor to others (sched_yield): where there are more threads than processors, the one that is
 * waited for runs at once, and nobody has to be woken.
 *
 * Rules: no httpd and no Python headers. A wait spins for 25 to 100 us, twice what those of its
 * kind last that spins have ended lately: about what a sleep costs, from machine to machine. Where
 * it mostly does not pay, it looks once, where it never does, not at all, and now and then it tries
 * again, for 100 us.
 */
#ifndef WSGID_SPIN_H
#define WSGID_SPIN_H

/* What is known of one kind of waits, learned from these. Zeroed, it expects the best. Any number
 * of threads may use it at once. */
typedef struct {
    int vain;       /* how many of the last spins found nothing, 0 to VAIN_MAX */
    int lasted;     /* nanoseconds: the longest wait that a spin has ended lately. 0: not known */
    unsigned waits; /* since they are in vain, more or less */
} wsgid_spin_t;

/* Looks, until look(what) is not 0 or it is time to sleep. Whether it found something; errno is as
 * the last look left it. */
int wsgid_spin(wsgid_spin_t *spin, int (*look)(void *what), void *what);

#endif
