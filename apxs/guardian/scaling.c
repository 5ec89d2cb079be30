/*
 * How many processes each pool has now: between the bounds of processes=, as elastic.c decides from
 * what requests have to wait. The slots of a pool up to that number are wanted; policy.c does the
 * rest.
 *
 * A pool without a process keeps the sockets of its first slot. A connection there starts one, and
 * what has connected is served when that is ready. Until then this guardian answers at its control
 * socket.
 */
#include "guardian/elastic.h"
#include "guardian/guardian.h"
#include "slots/names.h"

#include <poll.h>
#include <stdio.h>
#include <unistd.h>

#define NEVER_OFTENER    apr_time_from_msec(20) /* two looks at a pool */
#define USUAL_IDLE_AFTER apr_time_from_sec(60)  /* if inactivity-timeout is not given */

/* What is known of a pool, by its number. */
typedef struct {
    wsgid_elastic_t elastic;
    wsgid_elastic_bounds_t bounds; /* of the configuration, or an administrator has set them */
    apr_time_t looked;             /* wsgid_clock_now() */
    apr_time_t next_look;
    apr_uint64_t last_started; /* requests of the last wanted slot, then */
    apr_time_t used;           /* wsgid_clock_now() when a request was last in flight */
    int is_leaving;            /* a spare pool makes room: its application group is gone */
} scale_t;

static const wsgid_group_t *group;
static scale_t *scales;

/* ---- the slots of a pool */

static wsgid_slot_record_t *next_of(const wsgid_pool_t *pool, wsgid_slot_record_t *slot)
{
    do {
        slot = wsgid_roles_next_slot(slot);
    } while (slot && slot->of != pool);
    return slot;
}

static wsgid_slot_record_t *first_of(const wsgid_pool_t *pool)
{
    wsgid_slot_record_t *slot = next_of(pool, NULL);

    while (slot && slot->index != 0) {
        slot = next_of(pool, slot);
    }
    return slot;
}

int wsgid_scaling_is_in_use(const wsgid_pool_t *pool)
{
    return pool->name
           || (!scales[pool->number].is_leaving
               && (pool->number == 0 || wsgid_names_is_set(pool->slots[0])));
}

/* Whether this guardian decides about the pool. NULL for a spare pool that was never used. */
static int is_ours(const wsgid_slot_record_t *first)
{
    return first && !wsgid_roles_stop_began() && wsgid_roles_is_newest(first)
           && !wsgid_roles_is_abandoned(first) && wsgid_scaling_is_in_use(first->of);
}

static scale_t *scale_of(const wsgid_pool_t *pool)
{
    return &scales[pool->number];
}

static void log_change(const wsgid_pool_t *pool, const wsgid_slot_record_t *first, int wanted)
{
    ap_log_error(APLOG_MARK, APLOG_INFO, 0, first->server,
                 "WSGID0090: group '%s': %d process%s wanted, %d before (processes=%d-%d)",
                 first->label, wanted, wanted == 1 ? " is" : "es are", pool->wanted,
                 scale_of(pool)->bounds.least, scale_of(pool)->bounds.most);
}

void wsgid_scaling_want(wsgid_pool_t *pool, int wanted)
{
    wsgid_slot_record_t *slot = first_of(pool);
    int before = pool->wanted;

    if (wanted == before) {
        return;
    }
    log_change(pool, slot, wanted);
    pool->wanted = wanted;
    for (slot = next_of(pool, NULL); slot; slot = next_of(pool, slot)) {
        if (slot->index >= before && slot->index < wanted) {
            wsgid_slot_list_set_phase(slot,
                                      slot->next_start > wsgid_clock_now() ? WSGID_SLOT_WAITING
                                                                           : WSGID_SLOT_BOOTING,
                                      slot->next_start);
        }
    }
}

/* ---- what is seen of it */

static apr_uint64_t add_slot(const wsgid_slot_record_t *slot, wsgid_elastic_load_t *load)
{
    wsgid_entry_snapshot_t entries[WSGID_SLOT_PROCESSES];
    wsgid_totals_t totals;
    apr_uint64_t started;
    int i;

    wsgid_slots_snapshot(slot->shared, entries, &totals);
    started = totals.gone.requests;
    load->waited += totals.gone.queue_time;
    for (i = 0; i < WSGID_SLOT_PROCESSES; i++) {
        const wsgid_page_t *page = &entries[i].page;
        wsgid_counts_t counts;

        if (!entries[i].pid) {
            continue;
        }
        wsgid_totals_read_page(page, &counts);
        started += page->requests_started < WSGID_COUNT_MOST ? page->requests_started : 0;
        load->waited += counts.queue_time;
        if (page->requests_started > counts.requests) {
            load->running += (unsigned)(page->requests_started - counts.requests);
        }
    }
    load->started += started;
    load->in_flight += wsgid_in_flight_count(slot->shared);
    if (wsgid_slot_list_is_wanted(slot)) {
        int is_ready = wsgid_slots_state(slot->shared) == WSGID_SLOT_READY;

        load->ready += is_ready;
        load->starting += !is_ready;
    }
    return started;
}

static void look(const wsgid_pool_t *pool, scale_t *scale, wsgid_elastic_load_t *load)
{
    wsgid_slot_record_t *slot;

    memset(load, 0, sizeof(*load));
    load->now = wsgid_clock_now();
    for (slot = next_of(pool, NULL); slot; slot = next_of(pool, slot)) {
        apr_uint64_t started = add_slot(slot, load);

        if (slot->index == pool->wanted - 1) {
            load->last_is_used = started != scale->last_started
                                 || wsgid_in_flight_count(slot->shared) > 0;
            scale->last_started = started;
        }
    }
    if (load->in_flight) {
        scale->used = load->now;
    }
    scale->looked = load->now;
}

/* ---- deciding */

static int has_connection(const wsgid_slot_record_t *first)
{
    struct pollfd end = { first->sockets[0], POLLIN, 0 };

    return first->sockets[0] >= 0 && poll(&end, 1, 0) == 1;
}

static void decide(wsgid_pool_t *pool)
{
    scale_t *scale = scale_of(pool);
    wsgid_elastic_load_t load;

    if (scale->looked && wsgid_clock_now() < scale->looked + NEVER_OFTENER) {
        return;
    }
    look(pool, scale, &load);
    wsgid_scaling_want(pool,
                       wsgid_elastic_decide(&scale->elastic, &scale->bounds, &load, pool->wanted));
    scale->next_look = wsgid_elastic_next(&scale->elastic, &scale->bounds, pool->wanted);
}

/* ---- an administrator */

static apr_size_t describe(const wsgid_slot_record_t *first, char text[WSGID_SCALING_TEXT])
{
    const wsgid_pool_t *pool = first->of;
    const wsgid_elastic_bounds_t *bounds = &scale_of(pool)->bounds;

    return (apr_size_t)apr_snprintf(text, WSGID_SCALING_TEXT, "%d %d %d %d %d %s\n", pool->number,
                                    bounds->least, bounds->most, pool->most, pool->wanted,
                                    first->label);
}

static void set_bounds(wsgid_pool_t *pool, const wsgid_slot_record_t *first, int least, int most)
{
    scale_t *scale = scale_of(pool);
    int wanted = pool->wanted < least ? least : pool->wanted > most ? most : pool->wanted;

    if (least < 0 || least > most || most < 1 || most > pool->most) {
        return; /* the answer shows it */
    }
    ap_log_error(APLOG_MARK, APLOG_NOTICE, 0, first->server,
                 "WSGID0094: group '%s': processes=%d-%d, until httpd is restarted, because an "
                 "administrator asked for it (pywsgid scale)",
                 first->label, least, most);
    scale->bounds.least = least;
    scale->bounds.most = most;
    scale->looked = 0; /* the next poll looks */
    scale->next_look = 0;
    wsgid_scaling_want(pool, wanted);
}

apr_size_t wsgid_scaling_answer(const char *question, char answer[WSGID_SCALING_TEXT])
{
    const wsgid_slot_record_t *first = NULL;
    int number = 0, least = 0, most = 0, label = 0;
    int given = sscanf(question, "%d %d %d %n", &number, &least, &most, &label);

    for (; number >= 0 && number < wsgid_pools_count(group); number++) {
        first = first_of(wsgid_pools_get(group, number));
        if (is_ours(first)) {
            if (given == 3 && !strcmp(question + label, first->label)) {
                set_bounds(first->of, first, least, most);
            }
            return describe(first, answer);
        }
    }
    return 0;
}

/* A pool without a process has nobody else to say so. */
static int control_socket(wsgid_slot_record_t *first)
{
    return wsgid_process_oldest(first, WSGID_NOT_FREE) ? -1
                                                       : first->sockets[WSGID_SOCKET_OF_CONTROL];
}

static void answer_control(wsgid_slot_record_t *first)
{
    char text[WSGID_SCALING_TEXT];
    int fd = accept4(control_socket(first), NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

    if (fd >= 0) { /* else nobody has asked */
        (void)send(fd, text, describe(first, text), MSG_NOSIGNAL);
        (void)close(fd);
    }
}

/* ---- for the other files */

static void reset_bounds(const wsgid_pool_t *pool)
{
    apr_interval_time_t idle_after = WSGID_NUMBER(pool->group, INACTIVITY_TIMEOUT);

    scale_of(pool)->bounds = (wsgid_elastic_bounds_t){ pool->least, pool->most,
                                                       idle_after ? idle_after : USUAL_IDLE_AFTER };
}

void wsgid_scaling_set_leaving(const wsgid_pool_t *pool, int is_leaving)
{
    scale_of(pool)->is_leaving = is_leaving;
    if (is_leaving) {
        reset_bounds(pool); /* another application group gets it */
    }
}

int wsgid_scaling_is_leaving(const wsgid_pool_t *pool)
{
    return scale_of(pool)->is_leaving;
}

void wsgid_scaling_begin(const wsgid_group_t *given, apr_pool_t *p)
{
    int i;

    group = given;
    scales = apr_pcalloc(p, wsgid_pools_count(group) * sizeof(*scales));
    for (i = 0; i < wsgid_pools_count(group); i++) {
        reset_bounds(wsgid_pools_get(group, i));
    }
}

static void poll_pool(wsgid_pool_t *pool, wsgid_slot_record_t *first)
{
    const scale_t *scale = scale_of(pool);

    if (pool->wanted > 0 && scale->bounds.least < scale->bounds.most) {
        decide(pool);
    }
    else if (pool->wanted == 0) {
        answer_control(first);
        if (has_connection(first)) {
            scale_of(pool)->used = wsgid_clock_now();
            wsgid_scaling_want(pool, 1);
        }
    }
    wsgid_names_set_scale(pool->slots[0],
                          (wsgid_scale_t){ scale->bounds.least, scale->bounds.most, pool->wanted });
}

void wsgid_scaling_poll(void)
{
    int i;

    for (i = 0; i < wsgid_pools_count(group); i++) {
        wsgid_slot_record_t *first = first_of(wsgid_pools_get(group, i));

        if (is_ours(first)) {
            poll_pool(first->of, first);
        }
    }
}

apr_time_t wsgid_scaling_next(void)
{
    apr_time_t next = 0;
    int i;

    for (i = 0; i < wsgid_pools_count(group); i++) {
        if (wsgid_pools_get(group, i)->wanted > 0) {
            wsgid_clock_earlier(&next, scales[i].next_look);
        }
    }
    return next;
}

int wsgid_scaling_wait_for(struct pollfd *ends)
{
    int count = 0;
    int i;

    for (i = 0; i < wsgid_pools_count(group); i++) {
        const wsgid_pool_t *pool = wsgid_pools_get(group, i);
        wsgid_slot_record_t *first = pool->wanted == 0 ? first_of(pool) : NULL;

        if (is_ours(first)) { /* poll() passes over -1 */
            ends[count++] = (struct pollfd){ first->sockets[0], POLLIN, 0 };
            ends[count++] = (struct pollfd){ control_socket(first), POLLIN, 0 };
        }
    }
    return count;
}

int wsgid_scaling_is_unused(const wsgid_pool_t *pool)
{
    wsgid_elastic_load_t load;

    look(pool, scale_of(pool), &load);
    return load.in_flight == 0;
}

apr_time_t wsgid_scaling_used(const wsgid_pool_t *pool)
{
    return scale_of(pool)->used;
}
