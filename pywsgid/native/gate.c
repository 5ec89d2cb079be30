/*
 * How many workers run requests at once.
 *
 * With a GIL a second thread that runs Python only takes turns with the first, and each turn costs
 * both. So a worker that begins a request closes the gate behind it (it is the holder), and serves
 * the next request itself when it is done: no other thread is woken. But a holder that blocks must
 * not hold up the others:
 *
 *  - One of the workers without a request, the monitor, looks every LOOK while there is activity,
 * less often when nothing has been blocked for long. A holder that sleeps (it does not only wait
 * for a processor) is looked at again after LOOK_FINE; if it has used hardly any CPU meanwhile, on
 * the same request, it is blocked, and the monitor takes over: the gate is open for it. While that
 *    happens at times, looks are close together, and who begins a request says what it has used by
 * then: so the first look is enough.
 *  - A holder that does use the CPU keeps the gate for BURN of it, to the next look: others would
 * only fight with it for the GIL.
 *  - When most requests of a kind block (request_classes.c), the gate is opened again as soon as
 * such a request has been read, but for one of PROBE_EVERY, to see whether that has changed.
 *  - A worker that has to wait for httpd inside its request opens the gate first
 * (wsgid_gate_blocks).
 *
 * Without a GIL the gate is always open, until wsgid_hub_set_gated says that there is one after
 * all. Without activity the monitor sleeps, too: who begins a request then wakes it.
 */
#include "hotpath.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define US         1000
#define MS         (1000 * US)
#define LOOK       (500 * US)
#define CALM_LOOKS 16 /* so many looks in vain double the time between them, */
#define CALM_TIMES 3  /* so many times at most */
#define LOOK_FINE  (100 * US)
#define FINE_FOR   (100 * MS)
#define BURN       (5 * MS) /* the interpreter's own switch interval */
/* a request that was handed_over and took less does not count as one that blocks */
#define BLOCKED_LEAST (500 * US)
#define QUIET_FOR     (20 * MS) /* without a request until the monitor sleeps */
#define PROBE_EVERY   8

int64_t wsgid_gate_now(void)
{
    struct timespec now;

    (void)clock_gettime(CLOCK_MONOTONIC, &now); /* cannot fail for this clock */
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

/* 0 if it cannot be known: then whether it sleeps has to be enough. */
static int64_t cpu_time(const wsgid_endpoint_t *endpoint)
{
    struct timespec used;

    if (!endpoint->clock_known || clock_gettime(endpoint->clock, &used) != 0) {
        return 0;
    }
    return (int64_t)used.tv_sec * 1000000000 + used.tv_nsec;
}

void wsgid_gate_introduce(wsgid_endpoint_t *endpoint)
{
    endpoint->clock_known = pthread_getcpuclockid(pthread_self(), &endpoint->clock) == 0;
    endpoint->tid = gettid();
}

/* Whether a thread sleeps; 1, too, where there is no /proc. */
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
    name_end = strrchr(text, ')'); /* a name may hold anything; the state follows it */
    return !name_end || strncmp(name_end, ") R", 3) != 0;
}

int wsgid_gate_is_closed(const wsgid_hub_t *hub)
{
    return hub->gate.holder != NULL;
}

/* ---- waking */

static void wake(wsgid_gate_t *gate, wsgid_endpoint_t *endpoint)
{
    endpoint->woken = 1;
    gate->called = 1;
    (void)pthread_cond_signal(&endpoint->wake); /* never fails on Linux */
}

static void wake_anybody(wsgid_gate_t *gate)
{
    wsgid_endpoint_t *endpoint = gate->parked;

    if (gate->called) {
        return; /* who is on the way calls the next, if there is cause to */
    }
    if (endpoint) {
        gate->parked = endpoint->next_parked;
        wake(gate, endpoint);
    }
    else if (gate->monitor) {
        wake(gate, gate->monitor);
    }
}

void wsgid_gate_let_in(wsgid_hub_t *hub)
{
    if (!hub->gate.holder && (hub->ready || !hub->poller)) {
        wake_anybody(&hub->gate);
    }
}

static void ensure_watch(wsgid_gate_t *gate)
{
    if (!gate->monitor) {
        if (gate->parked) {
            wake_anybody(gate);
        }
    }
    else if (gate->asleep) {
        gate->asleep = 0;
        (void)pthread_cond_signal(&gate->monitor->wake);
    }
}

/* ---- requests */

void wsgid_gate_enter(wsgid_hub_t *hub, wsgid_endpoint_t *endpoint)
{
    wsgid_gate_t *gate = &hub->gate;

    endpoint->turn = ++gate->turns;
    endpoint->handed_over = 0;
    memset(endpoint->classes, 0, sizeof(endpoint->classes)); /* what it asks for is not known yet */
    endpoint->held = gate->gated;
    if (endpoint->held) {
        endpoint->since = wsgid_gate_now();
        endpoint->cpu_since = endpoint->since < gate->fine_until ? cpu_time(endpoint) : -1;
        gate->holder = endpoint;
        ensure_watch(gate);
    }
    else {
        wsgid_gate_let_in(hub);
    }
}

/* Not each eighth turn, which might always be that of the same kind. */
static int is_probe(const wsgid_endpoint_t *endpoint)
{
    return (uint32_t)endpoint->turn * 2654435769u < UINT32_MAX / PROBE_EVERY;
}

void wsgid_gate_judge(wsgid_hub_t *hub, wsgid_endpoint_t *endpoint)
{
    if (!endpoint->held || is_probe(endpoint)
        || !wsgid_request_classes_block(&hub->gate, endpoint)) {
        return;
    }
    (void)pthread_mutex_lock(&hub->lock); /* fails only for a lock that is broken */
    endpoint->held = 0;
    if (hub->gate.holder == endpoint) {
        hub->gate.holder = NULL;
        wsgid_gate_let_in(hub);
    }
    (void)pthread_mutex_unlock(&hub->lock);
}

static int has_blocked(const wsgid_endpoint_t *endpoint)
{
    return endpoint->handed_over && wsgid_gate_now() - endpoint->since >= BLOCKED_LEAST;
}

void wsgid_gate_leave(wsgid_hub_t *hub, wsgid_endpoint_t *endpoint)
{
    if (endpoint->held) {
        if (endpoint->classes[1] != 0) { /* it has been read */
            wsgid_request_classes_learn(&hub->gate, endpoint, has_blocked(endpoint));
        }
        endpoint->held = 0;
    }
    if (hub->gate.holder == endpoint) {
        hub->gate.holder = NULL;
    }
}

static void overtake(wsgid_hub_t *hub, wsgid_endpoint_t *endpoint, int blocked)
{
    endpoint->handed_over = blocked;
    hub->gate.holder = NULL;
}

void wsgid_gate_blocks(wsgid_hub_t *hub, wsgid_endpoint_t *endpoint)
{
    (void)pthread_mutex_lock(&hub->lock); /* fails only for a lock that is broken */
    if (hub->gate.holder == endpoint) {
        overtake(hub, endpoint, 1);
        wsgid_gate_let_in(hub);
    }
    (void)pthread_mutex_unlock(&hub->lock);
}

/* ---- waiting */

/* What the monitor saw at its last look. */
typedef struct {
    uint64_t turn; /* 0: nobody */
    int64_t at, cpu;
    int64_t first_cpu; /* when this turn began, as far as is known */
} sight_t;

/* Whether the holder, in its request number `turn`, sleeps. Without the lock meanwhile. */
static int is_still_asleep(wsgid_hub_t *hub, const wsgid_endpoint_t *holder, uint64_t turn)
{
    pid_t tid = holder->tid;
    int asleep;

    (void)pthread_mutex_unlock(&hub->lock);
    asleep = is_asleep(tid);
    (void)pthread_mutex_lock(&hub->lock);
    return asleep && hub->gate.holder == holder && holder->turn == turn;
}

/* What is known from before this look: the last one at the same turn, or what the holder said
 * itself when it began. */
static sight_t seen_before(const wsgid_endpoint_t *holder, const sight_t *last)
{
    return holder->turn == last->turn
               ? *last
               : (sight_t){ holder->turn, holder->since, holder->cpu_since, holder->cpu_since };
}

/* Whether the holder does nothing, as far as can be told. Without the lock meanwhile. */
static int is_idle(wsgid_hub_t *hub, const wsgid_endpoint_t *holder, const sight_t *before,
                   const sight_t *now)
{
    int64_t time = now->at - before->at;

    return time >= LOOK_FINE && (before->cpu < 0 || (now->cpu - before->cpu) * 2 < time)
           && is_still_asleep(hub, holder, now->turn);
}

static void look_closely(wsgid_gate_t *gate, int64_t until)
{
    gate->fine_until = until > gate->fine_until ? until : gate->fine_until;
}

/* Whether the holder has been handed_over. */
static int is_stuck(wsgid_hub_t *hub, sight_t *last)
{
    wsgid_gate_t *gate = &hub->gate;
    wsgid_endpoint_t *holder = gate->holder;
    sight_t before = seen_before(holder, last);
    sight_t now = { holder->turn, wsgid_gate_now(), cpu_time(holder), before.first_cpu };
    int is_sure = before.cpu >= 0;
    int idle = is_idle(hub, holder, &before, &now);

    if (!is_sure) {
        now.first_cpu = now.cpu - (now.at - before.at); /* had it been running all the time */
    }
    *last = now;
    if (gate->holder != holder || holder->turn != now.turn) {
        return 0;
    }
    if (idle) {
        gate->calm = 0;
        look_closely(gate, now.at + (is_sure ? FINE_FOR : 2 * LOOK_FINE));
        if (is_sure) { /* else it may be about to wake up: once more, soon */
            overtake(hub, holder, 1);
        }
        return is_sure;
    }
    if (now.cpu - now.first_cpu < BURN) {
        return 0;
    }
    overtake(hub, holder, 0);
    return 1;
}

static void sleep_until(wsgid_hub_t *hub, wsgid_endpoint_t *endpoint, int64_t until)
{
    struct timespec limit = { until / 1000000000, until % 1000000000 };

    (void)pthread_cond_timedwait(&endpoint->wake, &hub->lock, &limit);
}

static int64_t time_to_next_look(wsgid_gate_t *gate, int64_t now, int64_t idle)
{
    if (now < gate->fine_until && idle == 0) {
        return LOOK_FINE;
    }
    gate->calm += gate->calm < CALM_LOOKS * CALM_TIMES;
    return LOOK << (gate->calm / CALM_LOOKS);
}

/* Until the next look, or without a limit when it is quiet: no request for `idle`. Whether it was
 * woken for more than to look. */
static int rest(wsgid_hub_t *hub, wsgid_endpoint_t *endpoint, int64_t now, int64_t idle)
{
    wsgid_gate_t *gate = &hub->gate;

    if (idle < QUIET_FOR) {
        if (!endpoint->woken
            && !hub->draining) { /* it may have been, while it looked without the lock */
            sleep_until(hub, endpoint, now + time_to_next_look(gate, now, idle));
        }
        return endpoint->woken || hub->draining;
    }
    gate->calm = 0;
    gate->asleep = 1;
    while (gate->asleep && !endpoint->woken && !hub->draining) {
        (void)pthread_cond_wait(&endpoint->wake, &hub->lock);
    }
    gate->asleep = 0;
    return endpoint->woken || hub->draining;
}

static void watch(wsgid_hub_t *hub, wsgid_endpoint_t *endpoint)
{
    wsgid_gate_t *gate = &hub->gate;
    sight_t last = { 0, 0, 0, 0 };
    uint64_t turns = gate->turns;
    int64_t now = wsgid_gate_now();
    int64_t active_at = now;

    gate->monitor = endpoint;
    while (!rest(hub, endpoint, now, now - active_at)) {
        if (gate->holder) {
            if (is_stuck(hub, &last)) {
                break;
            }
        }
        else if (hub->ready || !hub->poller) {
            break;
        }
        now = wsgid_gate_now();
        if (gate->holder || gate->turns != turns) {
            turns = gate->turns;
            active_at = now;
        }
    }
    gate->monitor = NULL;
}

void wsgid_gate_park(wsgid_hub_t *hub, wsgid_endpoint_t *endpoint)
{
    wsgid_gate_t *gate = &hub->gate;

    if (gate->gated && !gate->monitor) {
        watch(hub, endpoint);
    }
    else {
        endpoint->next_parked = gate->parked;
        gate->parked = endpoint;
        while (!endpoint->woken && !hub->draining) {
            (void)pthread_cond_wait(&endpoint->wake, &hub->lock);
        }
    }
    if (endpoint->woken) {
        endpoint->woken = gate->called = 0;
    }
}
