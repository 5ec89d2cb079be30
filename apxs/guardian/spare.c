/*
 * Spare pools: processes for application groups that only requests show.
 *
 * A child of httpd that finds no pool for an application group asks the guardian for one, by a
 * datagram with the name, and looks again until the name is there (slots/names.h). If all spare
 * pools are in use, the one that has been idle for longest makes room: its name goes first, so no
 * further request comes; then its processes leave; only then does another application group get its
 * slots. So nothing ever runs in a process that has loaded another one's code.
 *
 * Only httpd's children can send (the socket is where only they reach it). What they send is
 * bounded all the same.
 */
#include "guardian/guardian.h"
#include "slots/names.h"

#include <unistd.h>

#include "http_main.h"

#define ANSWERS_MOST 64 /* in one turn of the loop */
#define FULL_FOR     apr_time_from_msec(500)
#define FULL_LINE    apr_time_from_sec(60)
/* Until the request for which a pool was given counts as in flight there. */
#define ARRIVAL apr_time_from_msec(200)

/* Static: a guardian is one process for one group. */
static wsgid_group_t *group;
static int ask = -1;
static apr_time_t next_line;
static apr_time_t last_given; /* wsgid_clock_now() */

/* ---- the pools */

static int is_named(const wsgid_pool_t *pool)
{
    return wsgid_names_is_set(pool->slots[0]);
}

/* Whether some guardian has a process in one of its slots. */
static int has_process(const wsgid_pool_t *pool)
{
    int i, entry;

    for (i = 0; i < pool->slot_count; i++) {
        for (entry = 0; entry < WSGID_SLOT_PROCESSES; entry++) {
            if (wsgid_ledger_owner(pool->slots[i], entry)) {
                return 1;
            }
        }
    }
    return 0;
}

static void add_records(wsgid_pool_t *pool, const char *label)
{
    int i;

    for (i = 0; pool->number > 0 && i < pool->slot_count; i++) {
        (void)wsgid_slot_list_add_spare(pool, i, label);
    }
}

static wsgid_pool_t *next_spare(const wsgid_pool_t *pool)
{
    int number = pool ? pool->number + 1 : wsgid_pools_fixed(group);

    return number < wsgid_pools_count(group) ? wsgid_pools_get(group, number) : NULL;
}

/* ---- giving a pool away */

static void give(wsgid_pool_t *pool, const char *name)
{
    apr_pool_t *temporary;
    const char *label;

    apr_pool_create(&temporary, ap_server_conf->process->pool);
    label = wsgid_pools_label(temporary, pool, name);
    add_records(pool, label);
    wsgid_names_set(pool->slots[0], name);
    last_given = wsgid_clock_now();
    ap_log_error(APLOG_MARK, APLOG_INFO, 0, group->server,
                 "WSGID0091: group '%s': processes for application group '%s', which a request "
                 "names",
                 label, name);
    if (pool->wanted == 0) {
        wsgid_scaling_want(pool, pool->least ? pool->least : 1);
    }
    apr_pool_destroy(temporary);
}

/* Whether it makes room: not if a request has come meanwhile. */
static int evict(wsgid_pool_t *pool)
{
    apr_pool_t *temporary;
    const char *name;
    int is_unused;

    apr_pool_create(&temporary, ap_server_conf->process->pool);
    name = wsgid_names_get(pool->slots[0], temporary);
    wsgid_names_set(pool->slots[0], NULL);
    is_unused = wsgid_scaling_is_unused(pool);
    wsgid_scaling_set_leaving(pool, is_unused);
    if (is_unused) {
        ap_log_error(APLOG_MARK, APLOG_INFO, 0, group->server,
                     "WSGID0092: group '%s': application group '%s' makes room for another one: "
                     "application-groups=%d, and it has been idle for longest",
                     group->label, name, (int)WSGID_NUMBER(group, APPLICATION_GROUPS));
        wsgid_scaling_want(pool, 0);
    }
    else {
        wsgid_names_set(pool->slots[0], name);
    }
    apr_pool_destroy(temporary);
    return is_unused;
}

static wsgid_pool_t *find_idle(void)
{
    wsgid_pool_t *pool, *found = NULL;

    for (pool = next_spare(NULL); pool; pool = next_spare(pool)) {
        if (is_named(pool) && wsgid_scaling_is_unused(pool)
            && (!found || wsgid_scaling_used(pool) < wsgid_scaling_used(found))) {
            found = pool;
        }
    }
    return found;
}

static void make_room(const wsgid_pool_t *first)
{
    wsgid_pool_t *pool;

    for (pool = next_spare(NULL); pool; pool = next_spare(pool)) {
        if (wsgid_scaling_is_leaving(pool)) {
            return; /* there will be room */
        }
    }
    if (wsgid_clock_now() < last_given + ARRIVAL) {
        return; /* that pool seems to be idle; the child asks again */
    }
    pool = find_idle();
    if (pool && evict(pool)) {
        return;
    }
    wsgid_names_set_full(first->slots[0], wsgid_clock_now() + FULL_FOR);
    if (wsgid_clock_now() >= next_line) {
        next_line = wsgid_clock_now() + FULL_LINE;
        ap_log_error(APLOG_MARK, APLOG_ERR, 0, group->server,
                     "WSGID0093: group '%s': requests for further application groups get 503, "
                     "because all %d that may have processes have requests: raise "
                     "application-groups=, or put scripts together with WSGIApplicationGroup "
                     "%%{GLOBAL}",
                     group->label, (int)WSGID_NUMBER(group, APPLICATION_GROUPS));
    }
}

static void provide(const char *name)
{
    const wsgid_pool_t *first = next_spare(NULL);
    wsgid_pool_t *pool, *free = NULL;

    if (!first || wsgid_pools_find(group, name)) {
        return;
    }
    for (pool = next_spare(NULL); pool; pool = next_spare(pool)) {
        if (wsgid_names_is(pool->slots[0], name)) {
            return; /* another child has asked, too */
        }
        if (!free && !wsgid_scaling_is_leaving(pool) && !is_named(pool)) {
            free = pool;
        }
    }
    if (free) {
        give(free, name);
    }
    else {
        make_room(first);
    }
}

/* ---- what children ask */

/* If the socket cannot be created, the next poll tries again. */
static void open_ask(void)
{
    if (ask < 0 || !wsgid_listener_file(group->ask_path)) {
        if (ask >= 0) {
            (void)close(ask);
        }
        (void)wsgid_listener_open_door(group->ask_path, (uid_t)WSGID_NUMBER(group, SOCKET_USER),
                                       &ask);
    }
}

int wsgid_spare_descriptor(void)
{
    return ask;
}

void wsgid_spare_answer(void)
{
    char name[WSGID_NAME_MOST + 1];
    int i;

    for (i = 0; ask >= 0 && i < ANSWERS_MOST; i++) {
        ssize_t length = recv(ask, name, sizeof(name), MSG_DONTWAIT | MSG_TRUNC);

        if (length < 0) {
            return;
        }
        if (length <= WSGID_NAME_MOST && !memchr(name, '\0', (size_t)length)
            && !wsgid_roles_stop_began()) {
            name[length] = '\0';
            provide(name);
        }
    }
}

/* ---- for the loop */

/* This guardian may follow one that was killed. */
void wsgid_spare_begin(wsgid_group_t *given, apr_pool_t *p)
{
    wsgid_pool_t *pool;

    group = given;
    for (pool = next_spare(NULL); pool; pool = next_spare(pool)) {
        const char *name = wsgid_names_get(pool->slots[0], p);

        if (pool->number > 0 && (name || has_process(pool))) {
            add_records(pool, wsgid_pools_label(p, pool, name ? name : ""));
            wsgid_scaling_set_leaving(pool, !name);
            pool->wanted = name ? 1 : 0;
        }
    }
    open_ask();
}

static int is_gone(const wsgid_pool_t *pool)
{
    int i;

    for (i = 0; i < pool->slot_count; i++) {
        if (wsgid_slots_exists(pool->slots[i])) {
            return 0;
        }
    }
    return !has_process(pool);
}

void wsgid_spare_poll(void)
{
    wsgid_pool_t *pool;

    open_ask();
    for (pool = next_spare(NULL); pool; pool = next_spare(pool)) {
        if (wsgid_scaling_is_leaving(pool) && is_gone(pool)) {
            wsgid_scaling_set_leaving(pool, 0);
            if (pool->number == 0) {
                wsgid_scaling_want(pool, pool->least);
            }
        }
    }
}

void wsgid_spare_end(void)
{
    wsgid_slot_record_t *slot = NULL;

    while ((slot = wsgid_roles_next_slot(slot))) {
        if (slot->is_spare) {
            wsgid_sockets_remove(slot);
        }
    }
    (void)unlink(group->ask_path);
}
