/*
 * Which workers take requests.
 *
 * A worker that is admitted takes requests: it runs one, or it waits in the epoll for the next. The
 * others are parked. At most `limit` workers are admitted, so no more requests than that run at
 * once, and hardly any thread is woken that could not run: a worker that has served a request takes
 * the next one itself. concurrency.c finds the limit. `threads=` is only its upper bound.
 *
 * A request that waits for long, or computes for long, must not keep others waiting. Its worker
 * then loses its admission, goes on, and another worker is admitted: at once if it waits for httpd
 * in the middle of its request (wsgid_gate_blocks), else when the monitor notices (monitor.c).
 *
 * Without a GIL all workers are admitted, until wsgid_hub_set_gated() says that there is one after
 * all.
 */
#include "hotpath.h"

#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#define WINDOW_LEAST (50 * WSGID_MILLISECOND) /* a window of concurrency.c is at least as long, */
#define WINDOW_MOST  (200 * WSGID_MILLISECOND)
#define WINDOW_FULL  20 /* and has as many finished requests, unless that takes too long */
/* A window whose limit is new counts from then on: the kernel's averages of the load, by which it
 * chooses processors, have a half-life of 32 ms. */
#define SETTLE_LEAST (30 * WSGID_MILLISECOND)

#define WAITED_MOST  3600000000 /* microseconds that a request may have waited, for all we know */
#define USUAL_WEIGHT 8          /* windows that the usual CPU time of a request goes back, about */

static int64_t read_clock(clockid_t clock)
{
    struct timespec time;

    if (clock_gettime(clock, &time) != 0) {
        return 0; /* a thread's clock, and it has none: nothing is known of its CPU time */
    }
    return (int64_t)time.tv_sec * WSGID_SECOND + time.tv_nsec;
}

int64_t wsgid_gate_now(void)
{
    return read_clock(CLOCK_MONOTONIC);
}

int64_t wsgid_gate_cpu_time(const wsgid_endpoint_t *endpoint)
{
    return endpoint->turn.has_clock ? read_clock(endpoint->turn.clock) : 0;
}

int64_t wsgid_gate_process_cpu_time(void)
{
    return read_clock(CLOCK_PROCESS_CPUTIME_ID);
}

/* ---- admission; all of this under the hub's lock */

int wsgid_gate_is_busy(const wsgid_endpoint_t *endpoint)
{
    return endpoint->turn.admitted && endpoint->turn.request != 0;
}

/* Adds up how long how many requests have been running. Before each change of `running`. */
static void account(wsgid_gate_t *gate, int64_t now)
{
    gate->window.running_time += gate->running * (now - gate->accounted);
    gate->accounted = now;
}

static void admit(wsgid_gate_t *gate, wsgid_endpoint_t *endpoint)
{
    endpoint->turn.admitted = 1;
    gate->admitted++;
}

void wsgid_gate_expel(wsgid_endpoint_t *endpoint)
{
    wsgid_gate_t *gate = &endpoint->hub->gate;

    gate->busy -= wsgid_gate_is_busy(endpoint);
    endpoint->turn.admitted = 0;
    gate->admitted--;
}

/* A parked worker; the monitor only if there is no other. NULL: none. */
static wsgid_endpoint_t *take_parked(wsgid_gate_t *gate)
{
    wsgid_endpoint_t *endpoint = gate->parked;

    if (endpoint) {
        gate->parked = endpoint->turn.next_parked;
    }
    else {
        endpoint = gate->monitor;
        gate->monitor = NULL;
        gate->monitor_sleeps = 0;
    }
    return endpoint;
}

void wsgid_gate_fill(wsgid_gate_t *gate, int limit)
{
    while (gate->admitted < limit) {
        wsgid_endpoint_t *endpoint = take_parked(gate);

        if (!endpoint) {
            return;
        }
        admit(gate, endpoint);
        (void)pthread_cond_signal(&endpoint->turn.wake);
    }
}

/* All admitted workers run requests now. */
static void alert_monitor(wsgid_gate_t *gate)
{
    if (gate->monitor_sleeps) {
        gate->monitor_sleeps = 0;
        (void)pthread_cond_signal(&gate->monitor->turn.wake);
    }
}

int wsgid_gate_decide(wsgid_endpoint_t *endpoint)
{
    wsgid_gate_t *gate = &endpoint->hub->gate;

    if (endpoint->turn.admitted && gate->admitted > gate->limit) {
        wsgid_gate_expel(endpoint);
    }
    if (!endpoint->turn.admitted && gate->admitted < gate->limit) {
        admit(gate, endpoint);
    }
    if (!endpoint->turn.admitted && wsgid_gate_is_closed(gate)) {
        alert_monitor(gate); /* this worker may have been the last one without a request */
    }
    return endpoint->turn.admitted;
}

/* ---- windows for concurrency.c */

/* How often threads of this process have gone to sleep. */
static int64_t sleeps(void)
{
    struct rusage usage;

    return getrusage(RUSAGE_SELF, &usage) == 0 ? usage.ru_nvcsw : 0;
}

/* How long workers have waited for a processor. The reads of /proc, under the lock, are few: only
 * comparisons ask for them. */
static int64_t processor_waits(const wsgid_hub_t *hub)
{
    int64_t sum = 0;

    for (const wsgid_endpoint_t *endpoint = hub->endpoints; endpoint; endpoint = endpoint->next) {
        sum += endpoint->turn.tid ? wsgid_thread_processor_wait(endpoint->turn.tid) : 0;
    }
    return sum;
}

static void begin_window(wsgid_hub_t *hub, int64_t now)
{
    wsgid_gate_t *gate = &hub->gate;

    gate->window = (wsgid_window_t){ 0 };
    gate->window_began = gate->accounted = now;
    gate->cpu_began = wsgid_gate_process_cpu_time();
    gate->sleeps_began = sleeps();
    gate->monitor_ticks = 0;
    gate->waits_began = wsgid_concurrency_asks_for_waits(&gate->concurrency) ? processor_waits(hub)
                                                                             : -1;
}

/* Learns how much CPU time a request uses. Not from a long quiet time, in which other threads may
 * have used more than the requests. */
static void learn_cpu(wsgid_gate_t *gate)
{
    if (gate->window.finished > 0 && gate->window.time <= 2 * WINDOW_MOST) {
        int64_t each = gate->window.cpu_time / gate->window.finished;

        gate->usual_cpu += (each - gate->usual_cpu) / USUAL_WEIGHT;
    }
}

void wsgid_gate_renew_limit(wsgid_hub_t *hub)
{
    wsgid_gate_t *gate = &hub->gate;

    gate->limit = gate->gated ? wsgid_concurrency_limit(&gate->concurrency) : WSGID_UNLIMITED;
    wsgid_measure_limit(hub, gate->gated ? gate->limit : 0);
}

static void end_window(wsgid_hub_t *hub, int64_t now)
{
    wsgid_gate_t *gate = &hub->gate;
    int limit = gate->limit;

    account(gate, now);
    gate->window.time = now - gate->window_began;
    gate->window.cpu_time = wsgid_gate_process_cpu_time() - gate->cpu_began;
    gate->window.sleeps = sleeps() - gate->sleeps_began - gate->monitor_ticks;
    if (gate->waits_began >= 0) {
        gate->window.processor_wait = processor_waits(hub) - gate->waits_began;
    }
    learn_cpu(gate);
    wsgid_concurrency_learn(&gate->concurrency, &gate->window);
    wsgid_gate_renew_limit(hub);
    wsgid_gate_fill(gate, gate->limit);
    if (gate->limit != limit) {
        gate->settling = gate->limit > limit ? gate->limit : limit;
    }
    begin_window(hub, now);
}

static int is_window_over(const wsgid_gate_t *gate, int64_t now)
{
    int64_t time = now - gate->window_began;

    return time >= WINDOW_MOST || (time >= WINDOW_LEAST && gate->window.finished >= WINDOW_FULL);
}

/* After a change of the limit, the window begins anew when as many requests have ended as the old
 * limit or the new one allows. The old limit's requests have ended then, and the new limit's are
 * spread over time, so that as many end in the window as begin. */
static void settle(wsgid_hub_t *hub, int64_t now)
{
    wsgid_gate_t *gate = &hub->gate;
    int64_t time = now - gate->window_began;

    gate->settling -= gate->settling > 1 || time >= SETTLE_LEAST;
    if (gate->settling == 0 || time >= WINDOW_MOST) {
        gate->settling = 0;
        begin_window(hub, now);
    }
}

/* ---- requests */

void wsgid_gate_enter(wsgid_endpoint_t *endpoint)
{
    wsgid_gate_t *gate = &endpoint->hub->gate;

    if (gate->gated) {
        account(gate, wsgid_gate_now());
    }
    endpoint->turn.request = ++gate->requests;
    endpoint->turn.waited = -1; /* not known yet */
    gate->running++;
    gate->busy++;
    if (gate->gated && wsgid_gate_is_closed(gate)) {
        alert_monitor(gate);
    }
}

void wsgid_gate_note_wait(wsgid_endpoint_t *endpoint, int64_t waited)
{
    /* It may be any number: httpd's clock and ours may differ. */
    endpoint->turn.waited = waited < 0             ? 0
                            : waited > WAITED_MOST ? WAITED_MOST * WSGID_MICROSECOND
                                                   : waited * WSGID_MICROSECOND;
}

/* Adds a request that has ended to the window. */
static void finish(wsgid_hub_t *hub, const wsgid_turn_t *turn)
{
    wsgid_gate_t *gate = &hub->gate;
    int64_t now = wsgid_gate_now();

    account(gate, now);
    if (turn->waited >= 0) { /* else there was none to read */
        gate->window.finished++;
        gate->window.queue_time += turn->waited;
    }
    if (gate->settling > 0) {
        settle(hub, now);
    }
    else if (is_window_over(gate, now)) {
        end_window(hub, now);
    }
}

void wsgid_gate_leave(wsgid_endpoint_t *endpoint)
{
    wsgid_gate_t *gate = &endpoint->hub->gate;
    wsgid_turn_t *turn = &endpoint->turn;

    if (turn->request == 0) {
        return;
    }
    if (gate->gated) {
        finish(endpoint->hub, turn);
    }
    gate->running--;
    gate->busy -= turn->admitted;
    turn->request = 0;
}

int wsgid_gate_is_closed(const wsgid_gate_t *gate)
{
    return gate->busy >= gate->admitted;
}

void wsgid_gate_step_back(wsgid_endpoint_t *endpoint)
{
    wsgid_gate_t *gate = &endpoint->hub->gate;

    if (gate->gated && endpoint->turn.admitted) {
        wsgid_gate_expel(endpoint);
        wsgid_gate_fill(gate, gate->limit);
    }
}

void wsgid_gate_blocks(wsgid_endpoint_t *endpoint)
{
    wsgid_hub_t *hub = endpoint->hub;

    (void)pthread_mutex_lock(&hub->lock);
    wsgid_gate_step_back(endpoint);
    (void)pthread_mutex_unlock(&hub->lock);
}

/* ---- workers without a request */

void wsgid_gate_register(wsgid_endpoint_t *endpoint)
{
    wsgid_turn_t *turn = &endpoint->turn;

    turn->has_clock = pthread_getcpuclockid(pthread_self(), &turn->clock) == 0;
    turn->tid = gettid();
}

int wsgid_gate_is_needed(const wsgid_endpoint_t *endpoint)
{
    return endpoint->turn.admitted || endpoint->hub->draining;
}

/* ---- with a GIL or without */

/* Begins anew, after a change. */
static void begin(wsgid_hub_t *hub)
{
    wsgid_gate_t *gate = &hub->gate;

    wsgid_concurrency_start(&gate->concurrency, gate->workers, gate->crowded);
    wsgid_gate_renew_limit(hub);
    begin_window(hub, wsgid_gate_now());
    wsgid_gate_fill(gate, gate->limit);
}

void wsgid_gate_add_worker(wsgid_hub_t *hub)
{
    hub->gate.workers++;
    begin(hub);
}

void wsgid_gate_set(wsgid_hub_t *hub, int gated)
{
    wsgid_gate_t *gate = &hub->gate;

    gate->gated = gated;
    begin(hub);
}
