/*
 * Adaptive spinning: before a thread sleeps for what is likely to be there in a moment, it looks for it itself.
 *
 * Our waits are short: a small application answers in 15 us, and a client of a benchmark asks again as soon. To fall asleep and to be
 * woken costs as much, and more on a virtual machine, where a processor that idles is woken through the hypervisor. Before each look
 * the thread offers its processor to others (sched_yield): where there are more threads than processors, the one that is waited for
 * runs at once, and nobody has to be woken.
 *
 * Rules: no httpd and no Python headers. As long as it pays, a wait spins for what a sleep costs, so that it never costs more than
 * twice the CPU of the best that could have been done; where it mostly does not, it looks once, where it never does, not at all, and
 * now and then it tries again.
 */
#ifndef WSGID_SPIN_H
#define WSGID_SPIN_H

/* What is known of one kind of waits, learned from these. Zeroed, it expects the best. Any number of threads may use it at once. */
typedef struct {
    int vain;                           /* how many of the last spins found nothing, 0 to VAIN_MAX */
    unsigned waits;                     /* since they are in vain, more or less */
} wsgid_spin_t;

/* Looks, until look(what) is not 0 or it is time to sleep. Whether it found something; errno is as the last look left it. */
int wsgid_spin(wsgid_spin_t *spin, int (*look)(void *what), void *what);

#endif
