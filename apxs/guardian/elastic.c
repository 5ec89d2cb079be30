/*
 * How many processes a pool should have now. docs/elastic.md has the reasons and a simulation.
 *
 * More, if requests wait for too long: in WINDOWS windows of time in a row
 *   - the requests that threads read had waited for more than WAIT_MOST on average, and
 *   - those that still wait will wait as long at this pace, and the queue does not shrink: the
 * first alone would hold long after the pool has caught up, and
 *   - the last slot was in use: a request stays with the process that it was sent to, so some may
 *     wait for a process that is stuck while another one has nothing to do.
 * As many more as would have read what was left over; one at a time if too few were read to tell.
 *
 * Nothing is added while a process starts: it may be enough, and what waits for it says nothing.
 *
 * One less, if the last slot has had no request for idle_after, and nothing has changed for as
 * long. httpd's children prefer the first slots, so the others have then borne the load for that
 * time.
 */
#include "guardian/elastic.h"

#define MS         1000
#define WAIT_MOST  (100 * MS) /* what people begin to notice */
#define WINDOW     (500 * MS)
#define WINDOWS    2
#define LOOK_AGAIN (100 * MS) /* while requests wait */
/* A queue that shrinks by such a part in a window will be gone soon. */
#define SHRINK_PARTS 8
/* Requests read in a window: so many tell what the processes can do. */
#define READ_LEAST 20

static unsigned count_unread(const wsgid_elastic_load_t *load)
{
    return load->in_flight > load->running ? load->in_flight - load->running : 0;
}

static void begin_window(wsgid_elastic_t *state, const wsgid_elastic_load_t *load)
{
    state->window.since = load->now;
    state->window.started = load->started;
    state->window.waited = load->waited;
    state->window.unread = count_unread(load);
    state->window.last_is_used = 0;
}

static void forget_waits(wsgid_elastic_t *state)
{
    state->window.since = 0;
    state->late_windows = 0;
}

/* Whether requests waited for too long in the window that ends now. */
static int is_late(const wsgid_elastic_t *state, const wsgid_elastic_load_t *load)
{
    uint64_t read = load->started - state->window.started;
    uint64_t unread = count_unread(load);
    uint64_t time = (uint64_t)(load->now - state->window.since);

    if (!state->window.last_is_used || read == 0) {
        return state->window.last_is_used;
    }
    return load->waited - state->window.waited > read * WAIT_MOST
           && unread * time > read * WAIT_MOST
           && unread * SHRINK_PARTS > (uint64_t)state->window.unread * (SHRINK_PARTS - 1);
}

/* How many more would have read all that came in the window that ends now. One, if too few were
 * read to tell. */
static int count_missing(const wsgid_elastic_t *state, const wsgid_elastic_bounds_t *bounds,
                         const wsgid_elastic_load_t *load)
{
    uint64_t read = load->started - state->window.started;
    unsigned unread = count_unread(load);
    uint64_t left = unread > state->window.unread ? unread - state->window.unread : 0;
    uint64_t missing;

    if (read < READ_LEAST) {
        return 1;
    }
    missing = ((uint64_t)load->ready * left + read / 2) / read;
    return missing < 1 ? 1 : missing < (uint64_t)bounds->most ? (int)missing : bounds->most;
}

/* Returns how many more are needed. */
static int watch_waits(wsgid_elastic_t *state, const wsgid_elastic_bounds_t *bounds,
                       const wsgid_elastic_load_t *load)
{
    int missing = 0;

    if (load->starting > 0 || count_unread(load) == 0) {
        forget_waits(state);
    }
    else if (!state->window.since) {
        begin_window(state, load);
    }
    else if (load->now - state->window.since >= WINDOW) {
        state->late_windows = is_late(state, load) ? state->late_windows + 1 : 0;
        missing = state->late_windows >= WINDOWS ? count_missing(state, bounds, load) : 0;
        begin_window(state, load);
    }
    else {
        state->window.last_is_used |= load->last_is_used;
    }
    return missing;
}

/* Returns whether the last slot has been idle for long. */
static int watch_last_slot(wsgid_elastic_t *state, const wsgid_elastic_bounds_t *bounds,
                           const wsgid_elastic_load_t *load, int desired)
{
    int is_wanted = load->in_flight > 0 && (desired <= 1 || load->starting > 0);

    if (load->last_is_used || is_wanted || desired != state->desired) {
        state->used = load->now;
    }
    return load->now - state->used >= bounds->idle_after;
}

static int within(const wsgid_elastic_bounds_t *bounds, const wsgid_elastic_load_t *load,
                  int desired)
{
    int least = bounds->least == 0 && load->in_flight > 0 ? 1 : bounds->least;

    return desired < least ? least : desired > bounds->most ? bounds->most : desired;
}

int wsgid_elastic_decide(wsgid_elastic_t *state, const wsgid_elastic_bounds_t *bounds,
                         const wsgid_elastic_load_t *load, int desired)
{
    int is_idle = watch_last_slot(state, bounds, load, desired);
    int missing = watch_waits(state, bounds, load);
    int wanted = within(bounds, load, missing ? desired + missing : desired - is_idle);

    if (wanted != desired) {
        state->used = load->now;
        forget_waits(state);
    }
    state->desired = wanted;
    state->looked = load->now;
    return wanted;
}

int64_t wsgid_elastic_next(const wsgid_elastic_t *state, const wsgid_elastic_bounds_t *bounds,
                           int desired)
{
    if (state->window.since && desired < bounds->most) {
        return state->looked + LOOK_AGAIN;
    }
    return desired > bounds->least ? state->used + bounds->idle_after : 0;
}
