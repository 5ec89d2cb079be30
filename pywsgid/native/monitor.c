/*
 * Notices requests that wait for long or compute for long, so that they do not keep others waiting.
 *
 * One of the parked workers is the monitor. While all admitted workers run requests, it looks at
 * them every 4 ms; every 0.5 ms if it has found requests that wait within the last second. It
 * expels a worker from the gate, and another one is admitted,
 *
 *   - if all workers with a request sleep, and the process has used hardly any CPU time since the
 *     last look: they wait for a database or another service, and the GIL is free. Then it looks
 *     again very soon;
 *   - if it sleeps and has used no CPU time at all for WAIT_LONG: so it does not wait for the GIL,
 *     which a thread asks for again every 5 ms (unless sys.setswitchinterval() says otherwise);
 *   - if its request has used COMPUTE_LONG of CPU time, and much more than usual: from there on the
 *     others shall have their share.
 *
 * /proc says whether a thread sleeps. Its CPU time alone does not say it: one that waits for a
 * processor uses none either. Without requests the monitor sleeps, too.
 */
#include "hotpath.h"

#define TICK         (4 * WSGID_MILLISECOND)
#define TICK_WARNED  (500 * WSGID_MICROSECOND) /* for WARNED_FOR after all were asleep, */
#define TICK_ALARMED (150 * WSGID_MICROSECOND) /* and for so many ticks */
#define ALARMED_FOR  4
#define WARNED_FOR   WSGID_SECOND
#define HARDLY_ANY   8 /* an 8th of the time since the last look; a look itself costs some */
#define WAIT_LONG    (6 * WSGID_MILLISECOND)
#define COMPUTE_LONG (5 * WSGID_MILLISECOND) /* how long Python lets one thread run, too; */
#define COMPUTE_MORE 4 /* or so many times as long as usual, if that is more */
#define QUIET_FOR    (20 * WSGID_MILLISECOND) /* without a request until the monitor sleeps */

/* ---- one worker */

static int is_running(const wsgid_endpoint_t *endpoint)
{
    return endpoint->turn.request != 0;
}

/* Whether a worker sleeps in its request. Without the lock meanwhile. */
static int sleeps(wsgid_endpoint_t *endpoint)
{
    uint64_t request = endpoint->turn.request;
    pid_t tid = endpoint->turn.tid;
    int asleep;

    (void)pthread_mutex_unlock(&endpoint->hub->lock);
    asleep = wsgid_thread_is_asleep(tid);
    (void)pthread_mutex_lock(&endpoint->hub->lock);
    return asleep && endpoint->turn.request == request;
}

static int64_t compute_limit(const wsgid_gate_t *gate)
{
    int64_t usual = gate->usual_cpu * COMPUTE_MORE;

    return usual > COMPUTE_LONG ? usual : COMPUTE_LONG;
}

/* Updates what is known of an admitted worker with a request. Returns whether that waits or
 * computes for long. Without the lock meanwhile. */
static int is_long(wsgid_endpoint_t *endpoint, int64_t now)
{
    wsgid_seen_t *seen = &endpoint->turn.seen;
    int64_t cpu = wsgid_gate_cpu_time(endpoint);

    if (seen->request != endpoint->turn.request) {
        *seen = (wsgid_seen_t){ endpoint->turn.request, cpu, cpu, now };
    }
    if (cpu != seen->cpu) {
        seen->cpu = cpu;
        seen->moved_at = now;
    }
    return cpu - seen->cpu_first >= compute_limit(&endpoint->hub->gate)
           || (now - seen->moved_at >= WAIT_LONG && sleeps(endpoint));
}

/* ---- all of them. The list of endpoints only grows, at its head */

/* Also those that have been expelled: they may have the GIL. */
static int are_all_asleep(const wsgid_hub_t *hub)
{
    for (wsgid_endpoint_t *endpoint = hub->endpoints; endpoint; endpoint = endpoint->next) {
        if (is_running(endpoint) && !sleeps(endpoint)) {
            return 0;
        }
    }
    return 1;
}

static void expel(wsgid_hub_t *hub, int64_t now, int all)
{
    for (wsgid_endpoint_t *endpoint = hub->endpoints; endpoint; endpoint = endpoint->next) {
        if (wsgid_gate_is_busy(endpoint) && (all || is_long(endpoint, now))
            && wsgid_gate_is_busy(endpoint)) {
            wsgid_gate_expel(endpoint);
        }
    }
}

/* Whether the process has used hardly any CPU time since the last look. */
static int was_idle(const wsgid_watch_t *watch, int64_t now)
{
    int64_t used = wsgid_gate_process_cpu_time() - watch->cpu;

    return used * HARDLY_ANY < now - watch->sampled_at;
}

static void sample(wsgid_watch_t *watch)
{
    watch->cpu = wsgid_gate_process_cpu_time();
    watch->sampled_at = wsgid_gate_now();
}

/* Looks at all requests. */
static void look(wsgid_hub_t *hub, int64_t now)
{
    wsgid_gate_t *gate = &hub->gate;
    int all = was_idle(&gate->watch, now) && are_all_asleep(hub);

    expel(hub, now, all);
    if (all) {
        gate->watch.alarmed = ALARMED_FOR;
        gate->watch.warned_until = now + WARNED_FOR;
        wsgid_concurrency_expect_waits(&gate->concurrency);
        wsgid_gate_renew_limit(hub);
    }
    wsgid_gate_fill(gate, gate->limit);
}

/* ---- the monitor */

static int64_t tick(const wsgid_watch_t *watch, int64_t now)
{
    return watch->alarmed > 0 ? TICK_ALARMED : now < watch->warned_until ? TICK_WARNED : TICK;
}

static void sleep_until(wsgid_endpoint_t *monitor, int64_t until)
{
    struct timespec limit = { until / WSGID_SECOND, until % WSGID_SECOND };

    (void)pthread_cond_timedwait(&monitor->turn.wake, &monitor->hub->lock, &limit);
}

/* Until all admitted workers run requests: gate.c wakes it. */
static void sleep_without_limit(wsgid_endpoint_t *monitor)
{
    wsgid_gate_t *gate = &monitor->hub->gate;

    gate->monitor_sleeps = 1;
    while (gate->monitor_sleeps && !wsgid_gate_is_needed(monitor)) {
        (void)pthread_cond_wait(&monitor->turn.wake, &monitor->hub->lock);
    }
}

static int is_quiet(wsgid_gate_t *gate, int64_t now)
{
    wsgid_watch_t *watch = &gate->watch;

    if (gate->busy > 0 || gate->requests != watch->requests) {
        watch->requests = gate->requests;
        watch->active_at = now;
    }
    return now - watch->active_at >= QUIET_FOR;
}

/* Waits for the next tick; if it has been quiet for long, first for a request. */
static void wait_for_tick(wsgid_endpoint_t *monitor)
{
    wsgid_gate_t *gate = &monitor->hub->gate;
    wsgid_watch_t *watch = &gate->watch;
    int64_t now = wsgid_gate_now();

    if (is_quiet(gate, now)) {
        sleep_without_limit(monitor);
        sample(watch);
        now = watch->sampled_at;
    }
    if (!wsgid_gate_is_needed(monitor)) {
        sleep_until(monitor, now + tick(watch, now));
    }
    gate->monitor_ticks++;
    watch->alarmed -= watch->alarmed > 0;
}

/* Is the monitor until this worker is admitted or the process drains. */
static void watch(wsgid_endpoint_t *monitor)
{
    wsgid_gate_t *gate = &monitor->hub->gate;

    gate->monitor = monitor;
    sample(&gate->watch);
    while (!wsgid_gate_is_needed(monitor)) {
        wait_for_tick(monitor);
        if (gate->gated && !wsgid_gate_is_needed(monitor) && wsgid_gate_is_closed(gate)) {
            look(monitor->hub, wsgid_gate_now());
        }
        sample(&gate->watch);
    }
    if (gate->monitor == monitor) { /* else another one is by now */
        gate->monitor = NULL;
    }
}

void wsgid_monitor_park(wsgid_endpoint_t *endpoint)
{
    wsgid_gate_t *gate = &endpoint->hub->gate;

    if (!gate->monitor) {
        watch(endpoint);
        return;
    }
    endpoint->turn.next_parked = gate->parked;
    gate->parked = endpoint;
    while (!wsgid_gate_is_needed(endpoint)) {
        (void)pthread_cond_wait(&endpoint->turn.wake, &endpoint->hub->lock);
    }
}
