/*
 * How many workers run requests at once.
 *
 * With a GIL, a second thread that runs Python only takes turns with the first, and each turn costs
 * both. So a worker that begins a request closes the gate behind it: it is the holder. When it is
 * done, it serves the next request itself, and no other thread is woken. But a holder that blocks
 * must not keep the other requests waiting:
 *
 *  - One of the workers without a request is the monitor. While there are requests, it polls the
 *    holder every POLL, and less often once nothing has blocked for long. A holder that sleeps (it
 *    does not merely wait for a processor) is polled again after POLL_FINE. If it has used hardly
 *    any CPU meanwhile, in the same request, it blocks: the monitor opens the gate and serves the
 *    next request. For FINE_FOR after that, it polls at short intervals, and a worker that begins a
 *    request notes its CPU time, so that the first poll is enough.
 *  - A holder that does use the CPU keeps the gate for BURN of CPU time, up to the next poll: other
 *    threads would only compete with it for the GIL.
 *  - Where most requests of a class block (request_classes.c), the gate is opened as soon as such a
 *    request has been read. One in PROBE_EVERY keeps it closed, to find out whether that has
 *    changed.
 *  - A worker that has to wait for httpd in the middle of its request opens the gate first
 *    (wsgid_gate_blocks).
 *
 * Without a GIL the gate is always open, until wsgid_hub_set_gated() says that there is one after
 * all. Without requests the monitor sleeps, too; a worker that begins a request then wakes it.
 */
#include "hotpath.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define US            1000
#define MS            (1000 * US)
#define POLL          (500 * US)
#define MISSES        16 /* so many polls without effect double the interval, */
#define DOUBLED_TIMES 3  /* so many times at most */
#define POLL_FINE     (100 * US)
#define FINE_FOR      (100 * MS)
#define BURN          (5 * MS) /* the switch interval of Python */
/* A request whose gate another worker opened counts as one that blocks if it took this long. */
#define BLOCKED_LEAST (500 * US)
#define QUIET_FOR     (20 * MS) /* without a request until the monitor sleeps */
#define PROBE_EVERY   8
#define FIBONACCI     2654435769u /* 2^32 / the golden ratio: spreads numbers in a row */

/* ---- threads and clocks */

static int64_t nanoseconds(struct timespec time)
{
    return (int64_t)time.tv_sec * WSGID_SECOND + time.tv_nsec;
}

int64_t wsgid_gate_now(void)
{
    struct timespec now;

    (void)clock_gettime(CLOCK_MONOTONIC, &now); /* never fails for this clock */
    return nanoseconds(now);
}

/* The CPU time of the endpoint's thread. 0 if it cannot be known: then it is enough that the thread
 * sleeps. */
static int64_t cpu_time(const wsgid_endpoint_t *endpoint)
{
    struct timespec used;

    if (!endpoint->turn.has_clock || clock_gettime(endpoint->turn.clock, &used) != 0) {
        return 0;
    }
    return nanoseconds(used);
}

void wsgid_gate_register(wsgid_endpoint_t *endpoint)
{
    wsgid_turn_t *turn = &endpoint->turn;

    turn->has_clock = pthread_getcpuclockid(pthread_self(), &turn->clock) == 0;
    turn->tid = gettid();
}

/* Whether a thread sleeps. 1, too, where there is no /proc. */
static int is_asleep(pid_t tid)
{
    char text[128], path[64];
    const char *name_end;
    ssize_t size;
    int fd;

    (void)snprintf(path, sizeof(path), "/proc/self/task/%d/stat", (int)tid);
    fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        return 1;
    }
    size = read(fd, text, sizeof(text) - 1);
    close(fd);
    text[size > 0 ? size : 0] = '\0';
    name_end = strrchr(text, ')'); /* the name may contain anything; the state follows it */
    return !name_end || strncmp(name_end, ") R", 3) != 0;
}

/* ---- waking workers */

static void wake(wsgid_gate_t *gate, wsgid_endpoint_t *endpoint)
{
    endpoint->turn.woken = 1;
    gate->waking = 1;
    (void)pthread_cond_signal(&endpoint->turn.wake);
}

/* Wakes a worker that is parked, or the monitor. */
static void wake_any(wsgid_gate_t *gate)
{
    wsgid_endpoint_t *endpoint = gate->parked;

    if (gate->waking) {
        return; /* the worker that has been woken will wake the next one if necessary */
    }
    if (endpoint) {
        gate->parked = endpoint->turn.next_parked;
        wake(gate, endpoint);
    }
    else if (gate->monitor) {
        wake(gate, gate->monitor);
    }
}

void wsgid_gate_wake_next(wsgid_hub_t *hub)
{
    if (!hub->gate.holder && (hub->ready || !hub->poller)) {
        wake_any(&hub->gate);
    }
}

/* Makes sure that there is a monitor, if a worker is free, and that it polls. */
static void ensure_monitor(wsgid_gate_t *gate)
{
    if (!gate->monitor) {
        if (gate->parked) {
            wake_any(gate);
        }
    }
    else if (gate->asleep) {
        gate->asleep = 0;
        (void)pthread_cond_signal(&gate->monitor->turn.wake);
    }
}

/* ---- requests */

int wsgid_gate_is_closed(const wsgid_hub_t *hub)
{
    return hub->gate.holder != NULL;
}

void wsgid_gate_enter(wsgid_endpoint_t *endpoint)
{
    wsgid_gate_t *gate = &endpoint->hub->gate;
    wsgid_turn_t *turn = &endpoint->turn;

    turn->number = ++gate->requests;
    turn->handed_over = 0;
    memset(turn->classes, 0, sizeof(turn->classes)); /* not known yet */
    turn->closed_gate = gate->gated;
    if (turn->closed_gate) {
        turn->began = wsgid_gate_now();
        turn->cpu_began = turn->began < gate->fine_until ? cpu_time(endpoint) : -1;
        gate->holder = endpoint;
        ensure_monitor(gate);
    }
    else {
        wsgid_gate_wake_next(endpoint->hub);
    }
}

/* Not every eighth request in a row: they might always be of the same class. */
static int is_probe(const wsgid_turn_t *turn)
{
    return (uint32_t)turn->number * FIBONACCI < UINT32_MAX / PROBE_EVERY;
}

void wsgid_gate_classify(wsgid_endpoint_t *endpoint)
{
    wsgid_hub_t *hub = endpoint->hub;
    wsgid_turn_t *turn = &endpoint->turn;

    if (!turn->closed_gate || is_probe(turn) || !wsgid_request_classes_block(&hub->gate, turn)) {
        return;
    }
    (void)pthread_mutex_lock(&hub->lock);
    turn->closed_gate = 0;
    if (hub->gate.holder == endpoint) {
        hub->gate.holder = NULL;
        wsgid_gate_wake_next(hub);
    }
    (void)pthread_mutex_unlock(&hub->lock);
}

static int has_blocked(const wsgid_turn_t *turn)
{
    return turn->handed_over && wsgid_gate_now() - turn->began >= BLOCKED_LEAST;
}

void wsgid_gate_leave(wsgid_endpoint_t *endpoint)
{
    wsgid_gate_t *gate = &endpoint->hub->gate;
    wsgid_turn_t *turn = &endpoint->turn;

    if (turn->closed_gate) {
        if (turn->classes[1] != 0) { /* it has been read */
            wsgid_request_classes_learn(gate, turn, has_blocked(turn));
        }
        turn->closed_gate = 0;
    }
    if (gate->holder == endpoint) {
        gate->holder = NULL;
    }
}

/* Opens the gate of the holder, which blocks or only takes long. */
static void hand_over(wsgid_gate_t *gate, int blocks)
{
    gate->holder->turn.handed_over = blocks;
    gate->holder = NULL;
}

void wsgid_gate_blocks(wsgid_endpoint_t *endpoint)
{
    wsgid_hub_t *hub = endpoint->hub;

    (void)pthread_mutex_lock(&hub->lock);
    if (hub->gate.holder == endpoint) {
        hand_over(&hub->gate, 1);
        wsgid_gate_wake_next(hub);
    }
    (void)pthread_mutex_unlock(&hub->lock);
}

/* ---- the monitor: does the holder block? */

/* What the monitor found out about the holder in one poll. */
typedef struct {
    uint64_t number;   /* of the holder's request; 0: there was no holder */
    int64_t at, cpu;   /* when, and the holder's CPU time; -1: not known */
    int64_t cpu_began; /* its CPU time when the request began, as far as is known */
} cpu_sample_t;

/* Whether the holder sleeps, still in its request of that number. Without the lock meanwhile. */
static int is_still_asleep(wsgid_hub_t *hub, const wsgid_endpoint_t *holder, uint64_t number)
{
    pid_t tid = holder->turn.tid;
    int asleep;

    (void)pthread_mutex_unlock(&hub->lock);
    asleep = is_asleep(tid);
    (void)pthread_mutex_lock(&hub->lock);
    return asleep && hub->gate.holder == holder && holder->turn.number == number;
}

/* The sample before this one: the last poll's in the same request, or what the holder noted when it
 * began. */
static cpu_sample_t sample_before(const wsgid_turn_t *turn, const cpu_sample_t *last)
{
    return turn->number == last->number
               ? *last
               : (cpu_sample_t){ turn->number, turn->began, turn->cpu_began, turn->cpu_began };
}

/* Whether the holder does nothing, as far as can be known. Without the lock meanwhile. */
static int is_idle(wsgid_hub_t *hub, const wsgid_endpoint_t *holder, const cpu_sample_t *before,
                   const cpu_sample_t *now)
{
    int64_t time = now->at - before->at;

    return time >= POLL_FINE && (before->cpu < 0 || (now->cpu - before->cpu) * 2 < time)
           && is_still_asleep(hub, holder, now->number);
}

static void poll_finely(wsgid_gate_t *gate, int64_t until)
{
    gate->fine_until = until > gate->fine_until ? until : gate->fine_until;
}

/* The holder is idle: opens its gate, if that is certain; else the next poll is soon, as it may be
 * about to wake up. Returns whether the gate is open. */
static int found_idle(wsgid_gate_t *gate, int64_t now, int is_certain)
{
    gate->misses = 0;
    poll_finely(gate, now + (is_certain ? FINE_FOR : 2 * POLL_FINE));
    if (is_certain) {
        hand_over(gate, 1);
    }
    return is_certain;
}

/* Polls the holder, and opens its gate if it blocks or has computed for long. Returns whether it
 * did. Without the lock meanwhile. */
static int poll_holder(wsgid_hub_t *hub, cpu_sample_t *last)
{
    wsgid_gate_t *gate = &hub->gate;
    wsgid_endpoint_t *holder = gate->holder;
    cpu_sample_t before = sample_before(&holder->turn, last);
    cpu_sample_t now = { holder->turn.number, wsgid_gate_now(), cpu_time(holder),
                         before.cpu_began };
    int is_certain = before.cpu >= 0;
    int idle = is_idle(hub, holder, &before, &now);

    if (!is_certain) {
        now.cpu_began = now.cpu - (now.at - before.at); /* as if it had run all the time */
    }
    *last = now;
    if (gate->holder != holder || holder->turn.number != now.number) {
        return 0;
    }
    if (idle) {
        return found_idle(gate, now.at, is_certain);
    }
    if (now.cpu - now.cpu_began < BURN) {
        return 0;
    }
    hand_over(gate, 0);
    return 1;
}

/* ---- the monitor: when to poll */

static void sleep_until(wsgid_endpoint_t *endpoint, int64_t until)
{
    struct timespec limit = { until / WSGID_SECOND, until % WSGID_SECOND };

    (void)pthread_cond_timedwait(&endpoint->turn.wake, &endpoint->hub->lock, &limit);
}

static int64_t interval(wsgid_gate_t *gate, int64_t now, int64_t quiet)
{
    if (now < gate->fine_until && quiet == 0) {
        return POLL_FINE;
    }
    gate->misses += gate->misses < MISSES * DOUBLED_TIMES;
    return POLL << (gate->misses / MISSES);
}

static int is_needed(const wsgid_endpoint_t *endpoint)
{
    return endpoint->turn.woken || endpoint->hub->draining;
}

/* Waits until the next poll, or without a limit if there has been no request for long: for `quiet`
 * nanoseconds. Returns whether the monitor shall do something else. */
static int rest(wsgid_endpoint_t *monitor, int64_t now, int64_t quiet)
{
    wsgid_gate_t *gate = &monitor->hub->gate;

    if (quiet < QUIET_FOR) {
        /* It may have been woken while it polled without the lock. */
        if (!is_needed(monitor)) {
            sleep_until(monitor, now + interval(gate, now, quiet));
        }
        return is_needed(monitor);
    }
    gate->misses = 0;
    gate->asleep = 1;
    while (gate->asleep && !is_needed(monitor)) {
        (void)pthread_cond_wait(&monitor->turn.wake, &monitor->hub->lock);
    }
    gate->asleep = 0;
    return is_needed(monitor);
}

/* Is the monitor until it has something else to do. */
static void watch(wsgid_endpoint_t *monitor)
{
    wsgid_hub_t *hub = monitor->hub;
    wsgid_gate_t *gate = &hub->gate;
    cpu_sample_t last = { 0, 0, 0, 0 };
    uint64_t requests = gate->requests;
    int64_t now = wsgid_gate_now();
    int64_t active_at = now;

    gate->monitor = monitor;
    while (!rest(monitor, now, now - active_at)) {
        if (gate->holder) {
            if (poll_holder(hub, &last)) {
                break;
            }
        }
        else if (hub->ready || !hub->poller) {
            break;
        }
        now = wsgid_gate_now();
        if (gate->holder || gate->requests != requests) {
            requests = gate->requests;
            active_at = now;
        }
    }
    gate->monitor = NULL;
}

/* ---- workers without a request */

static void wait_to_be_woken(wsgid_endpoint_t *endpoint)
{
    wsgid_gate_t *gate = &endpoint->hub->gate;

    endpoint->turn.next_parked = gate->parked;
    gate->parked = endpoint;
    while (!is_needed(endpoint)) {
        (void)pthread_cond_wait(&endpoint->turn.wake, &endpoint->hub->lock);
    }
}

void wsgid_gate_park(wsgid_endpoint_t *endpoint)
{
    wsgid_gate_t *gate = &endpoint->hub->gate;

    if (gate->gated && !gate->monitor) {
        watch(endpoint);
    }
    else {
        wait_to_be_woken(endpoint);
    }
    if (endpoint->turn.woken) {
        endpoint->turn.woken = gate->waking = 0;
    }
}
