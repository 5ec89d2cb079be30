/*
 * Where a request goes: the pool of its application group, there the slot with the fewest requests
 * in flight, and a connection to it.
 *
 * A slot whose process is still starting gets no request while another slot may get a ready process
 * first: an import may hang. So while no slot of a group has one, its requests wait here. Nothing
 * has been sent yet, so none of them can run twice. In a group of one slot they wait in the
 * backlog, which costs no polling.
 *
 * Between two requests a connection holds no bytes and no state, so this child keeps only its
 * descriptor, on a small stack for each slot. Nobody notices when the daemon of an idle connection
 * exits: the first send then fails, which proves that nothing was read.
 */
#include "request/exchange.h"
#include "request/request.h"

#include "slots/names.h"

#include <errno.h>
#include <unistd.h>

#include "apr_thread_mutex.h"

/* ---- idle connections of this child */

/* Those to one slot. Lives in the child's pool. */
typedef struct {
    int *fds;
    int count;
} idle_t;

struct wsgid_idle_t {
    apr_thread_mutex_t *lock;
    int room; /* of each stack: the number of this child's threads */
    idle_t *stacks;
};

/* The memory of the stacks, which get theirs when they are first used. */
static struct {
    apr_pool_t *pool;
    apr_thread_mutex_t *lock;
} memory;

static int *new_stack(int room)
{
    int *fds = NULL;

    if (memory.lock && apr_thread_mutex_lock(memory.lock) == APR_SUCCESS) {
        fds = apr_palloc(memory.pool, sizeof(int) * (apr_size_t)room);
        (void)apr_thread_mutex_unlock(memory.lock);
    }
    return fds;
}

/* The stacks of all pools of the group. */
static struct wsgid_idle_t *new_idle(const wsgid_group_t *group, int threads, apr_pool_t *pchild)
{
    struct wsgid_idle_t *idle = apr_pcalloc(pchild, sizeof(*idle));
    int count = 0;
    int i;

    for (i = 0; i < wsgid_pools_count(group); i++) {
        wsgid_pool_t *pool = wsgid_pools_get(group, i);

        pool->stack = count;
        count += pool->slot_count;
    }
    idle->room = threads;
    idle->stacks = apr_pcalloc(pchild, sizeof(idle_t) * (apr_size_t)count);
    return idle;
}

void wsgid_dispatch_child_init(apr_pool_t *pchild, server_rec *s)
{
    const apr_array_header_t *groups = wsgid_groups_all();
    int threads = 1, i;

    if (ap_mpm_query(AP_MPMQ_MAX_THREADS, &threads) != APR_SUCCESS || threads < 1) {
        threads = 1;
    }
    apr_pool_create(&memory.pool, pchild);
    /* without it no connection is kept */
    (void)apr_thread_mutex_create(&memory.lock, APR_THREAD_MUTEX_DEFAULT, pchild);
    for (i = 0; i < groups->nelts; i++) {
        wsgid_group_t *group = APR_ARRAY_IDX(groups, i, wsgid_group_t *);
        struct wsgid_idle_t *idle = new_idle(group, threads, pchild);
        apr_status_t rv = apr_thread_mutex_create(&idle->lock, APR_THREAD_MUTEX_DEFAULT, pchild);

        if (rv != APR_SUCCESS) {
            ap_log_error(APLOG_MARK, APLOG_ERR, rv, s,
                         "WSGID0150: group '%s': httpd child %" APR_PID_T_FMT " cannot keep idle "
                         "connections to the daemon, because it could not create a mutex; each "
                         "request opens a new connection. Find out what uses up the memory, then "
                         "restart httpd gracefully",
                         group->label, getpid());
            continue;
        }
        group->idle = idle;
    }
}

static idle_t *stack_of(const wsgid_exchange_t *x)
{
    int i = 0;

    while (x->pool->slots[i] != x->connection.slot) {
        i++;
    }
    return &x->group->idle->stacks[x->pool->stack + i];
}

/* -1: none. */
static int take_idle(const wsgid_exchange_t *x)
{
    struct wsgid_idle_t *idle = x->group->idle;
    idle_t *stack;
    int fd = -1;

    if (!idle || apr_thread_mutex_lock(idle->lock) != APR_SUCCESS) {
        return -1;
    }
    stack = stack_of(x);
    if (stack->count > 0) {
        fd = stack->fds[--stack->count];
    }
    /* an unlock fails only if the mutex is not locked */
    (void)apr_thread_mutex_unlock(idle->lock);
    return fd;
}

/* 1: it was kept; 0: the stack is full. */
static int keep_idle(const wsgid_exchange_t *x)
{
    struct wsgid_idle_t *idle = x->group->idle;
    idle_t *stack;
    int kept = 0;

    if (!idle || apr_thread_mutex_lock(idle->lock) != APR_SUCCESS) {
        return 0;
    }
    stack = stack_of(x);
    if (!stack->fds) {
        stack->fds = new_stack(idle->room);
    }
    if (stack->fds && stack->count < idle->room) {
        stack->fds[stack->count++] = x->connection.fd;
        kept = 1;
    }
    (void)apr_thread_mutex_unlock(idle->lock);
    return kept;
}

/* ---- the slot */

/* The slot with the lowest rank is chosen: a ready one before one that is booting, then one that is
 * not to be avoided, then the one with the fewest requests in flight. NO_RANK: not to be chosen at
 * all. */
#define NO_RANK      (~(apr_uint64_t)0)
#define RANK_AVOIDED ((apr_uint64_t)1 << 40)
#define RANK_IDLE    ((apr_uint64_t)1 << 41) /* no other slot of its pool has a process */
#define RANK_BOOTING ((apr_uint64_t)1 << 42)

static apr_uint64_t rank(const wsgid_slot_t *slot, const wsgid_slot_t *avoid, unsigned in_flight)
{
    apr_uint64_t base = slot == avoid ? RANK_AVOIDED : 0;

    switch (wsgid_slots_state(slot)) {
    case WSGID_SLOT_READY: return base + in_flight;
    case WSGID_SLOT_IDLE: return base + RANK_IDLE + in_flight;
    case WSGID_SLOT_BOOTING: return base + RANK_BOOTING + in_flight;
    case WSGID_SLOT_WAITING:
    case WSGID_SLOT_DOWN: break;
    }
    return NO_RANK;
}

typedef struct {
    wsgid_slot_t *slot;     /* the best slot; NULL: none */
    int has_to_wait;        /* it cannot be sent there yet */
    apr_uint64_t in_flight; /* in the whole group */
    unsigned slots;         /* that exist */
} choice_t;

/* Slots of equal rank take turns; in an elastic pool the first one is chosen, so that the last ones
 * become idle when fewer requests come. */
static choice_t choose(const wsgid_pool_t *pool, const wsgid_slot_t *avoid)
{
    static unsigned turn; /* any value does: it only says where to begin */
    wsgid_scale_t scale = wsgid_names_scale(pool->slots[0]);
    unsigned first = scale.least < scale.most ? 0 : __atomic_fetch_add(&turn, 1, __ATOMIC_RELAXED);
    apr_uint64_t best = NO_RANK;
    choice_t choice = { NULL, 0, 0, 0 };
    int i;

    for (i = 0; i < pool->slot_count; i++) {
        wsgid_slot_t *slot = pool->slots[(first + (unsigned)i) % (unsigned)pool->slot_count];
        unsigned in_flight = wsgid_in_flight_count(slot);
        apr_uint64_t its_rank = rank(slot, avoid, in_flight);

        choice.in_flight += in_flight;
        choice.slots += (unsigned)wsgid_slots_exists(slot);
        if (its_rank < best) {
            best = its_rank;
            choice.slot = slot;
        }
    }
    choice.has_to_wait = choice.slot
                         && ((best >= RANK_BOOTING && pool->slot_count > 1)
                             || (best >= RANK_IDLE && !wsgid_slots_is_open(choice.slot)));
    return choice;
}

static int is_any_ready(const wsgid_pool_t *pool)
{
    int i;

    for (i = 0; i < pool->slot_count; i++) {
        if (wsgid_slots_state(pool->slots[i]) == WSGID_SLOT_READY) {
            return 1;
        }
    }
    return 0;
}

int wsgid_dispatch_is_worth_waiting(const wsgid_exchange_t *x)
{
    switch (wsgid_slots_state(x->connection.slot)) {
    case WSGID_SLOT_READY:
    case WSGID_SLOT_IDLE: return 1;
    case WSGID_SLOT_BOOTING: return !is_any_ready(x->pool);
    case WSGID_SLOT_WAITING:
    case WSGID_SLOT_DOWN: break;
    }
    return 0;
}

/* How many requests the processes of the group can run at once. */
static apr_uint64_t count_threads(const wsgid_group_t *group, const choice_t *choice)
{
    return (apr_uint64_t)WSGID_NUMBER(group, THREADS) * choice->slots;
}

static int is_queue_limit_reached(const wsgid_group_t *group, const choice_t *choice)
{
    apr_uint64_t limit = (apr_uint64_t)WSGID_NUMBER(group, QUEUE_LIMIT);

    return limit > 0 && choice->in_flight >= count_threads(group, choice) + limit;
}

/* ---- a new connection */

/* connect() and each send return after a slice at the latest, so that the caller can check the slot
 * in between. */
static int set_slice(int fd)
{
    struct timeval slice = { 0, WSGID_CHANNEL_SLICE };

    return setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &slice, sizeof(slice)) == 0 ? 0 : errno;
}

/* A guardian that follows one that was killed creates the socket anew. */
#define REPLACED_WAIT apr_time_from_msec(10)
#define ABSENT_MOST   apr_time_from_msec(100)

/* Why a connection that has failed like this since then cannot be made; APR_SUCCESS: wait on. */
static apr_status_t check_connect(const wsgid_exchange_t *x, int error, apr_time_t since)
{
    apr_interval_time_t limit = error == ENOENT ? ABSENT_MOST
                                                : WSGID_NUMBER(x->group, CONNECT_TIMEOUT);

    if (error != EAGAIN && error != EINTR && error != ECONNREFUSED && error != ENOENT) {
        return error;
    }
    if (!wsgid_dispatch_is_worth_waiting(x)) {
        return WSGID_E_NOT_STARTED;
    }
    if (wsgid_clock_now() - since <= limit) {
        return APR_SUCCESS;
    }
    return error == ENOENT         ? WSGID_E_NO_SOCKET
           : error == ECONNREFUSED ? WSGID_E_NO_PROCESS
                                   : WSGID_E_CONNECT_TIMEOUT;
}

/* Connects. Waits while the backlog is full, or nobody listens for a moment, as long as no other
 * slot is better. */
static apr_status_t connect_slot(wsgid_exchange_t *x, int fd)
{
    const struct sockaddr_un *address = wsgid_slots_address(x->connection.slot);
    apr_time_t since = wsgid_clock_now();
    apr_status_t rv = APR_SUCCESS;

    while (rv == APR_SUCCESS
           && connect(fd, (const struct sockaddr *)address, sizeof(*address)) != 0) {
        int error = errno;

        rv = check_connect(x, error, since);
        if (rv == APR_SUCCESS && (error == ECONNREFUSED || error == ENOENT)) {
            apr_sleep(REPLACED_WAIT);
        }
    }
    return rv;
}

static apr_status_t open_connection(wsgid_exchange_t *x)
{
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    apr_status_t rv;

    if (fd < 0) {
        return errno;
    }
    rv = set_slice(fd);
    if (rv == APR_SUCCESS) {
        rv = connect_slot(x, fd);
    }
    if (rv != APR_SUCCESS) {
        close(fd);
        return rv;
    }
    x->connection.fd = fd;
    return APR_SUCCESS;
}

/* ---- for a request */

/* The request counts as in flight in this slot, and no longer in the one before. */
static void move(wsgid_exchange_t *x, wsgid_slot_t *slot)
{
    if (x->connection.slot == slot) {
        return;
    }
    if (x->connection.slot) {
        wsgid_in_flight_leave(x->connection.slot);
    }
    if (slot) {
        wsgid_in_flight_enter(slot);
    }
    x->connection.slot = slot;
}

/* ---- the pool */

/* Between two questions for the same application group: the guardian may have been killed. */
#define ASK_AGAIN apr_time_from_msec(100)

/* Where no group has spare pools, each script has a fixed one. */
static wsgid_pool_t *find_by_script(const wsgid_exchange_t *x)
{
    int i, j;

    for (i = 0; i < wsgid_pools_count(x->group); i++) {
        wsgid_pool_t *pool = wsgid_pools_get(x->group, i);

        for (j = 0; j < pool->scripts->nelts; j++) {
            if (!strcmp(APR_ARRAY_IDX(pool->scripts, j, wsgid_script_t).path, x->route->script)) {
                return pool;
            }
        }
    }
    return NULL;
}

/* The pool of the request's application group; NULL: no processes have been given to it yet. */
static wsgid_pool_t *find_pool(const wsgid_exchange_t *x)
{
    const char *name = x->route->application_group;
    wsgid_pool_t *pool = wsgid_pools_find(x->group, name);
    int first, i;

    if (pool) {
        return pool;
    }
    first = wsgid_pools_fixed(x->group);
    for (i = first; i < wsgid_pools_count(x->group); i++) {
        pool = wsgid_pools_get(x->group, i);
        if (wsgid_names_is(pool->slots[0], name)) {
            return pool;
        }
    }
    return i > first ? NULL : find_by_script(x);
}

/* Asks the guardian for processes. APR_EAGAIN, or WSGID_E_NO_POOL. */
static apr_status_t ask_for_pool(wsgid_exchange_t *x)
{
    int spare = wsgid_pools_fixed(x->group);
    const char *name = x->route->application_group;
    int fd;

    if (spare == wsgid_pools_count(x->group) || !wsgid_in_flight_is_counting()
        || wsgid_clock_now() < wsgid_names_full(wsgid_pools_get(x->group, spare)->slots[0])) {
        return WSGID_E_NO_POOL;
    }
    if (wsgid_clock_now() < x->connection.asked + ASK_AGAIN) {
        return APR_EAGAIN;
    }
    x->connection.asked = wsgid_clock_now();
    fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd >= 0) {
        /* if it fails, the next question is as good */
        (void)sendto(fd, name, strlen(name), 0, (const struct sockaddr *)&x->group->ask,
                     sizeof(x->group->ask));
        (void)close(fd);
    }
    return APR_EAGAIN;
}

apr_status_t wsgid_dispatch_choose(wsgid_exchange_t *x, const wsgid_slot_t *avoid)
{
    choice_t choice;

    x->pool = find_pool(x);
    if (!x->pool) {
        move(x, NULL);
        return ask_for_pool(x);
    }
    if (!x->pool->name && !wsgid_in_flight_is_counting()) {
        return WSGID_E_NO_POOL; /* the guardian would not see the request (slots/names.h) */
    }
    choice = choose(x->pool, avoid);
    if (!x->connection.slot && choice.slot && is_queue_limit_reached(x->group, &choice)) {
        return WSGID_E_QUEUE_LIMIT;
    }
    move(x, choice.slot);
    if (!choice.slot) {
        return WSGID_E_NO_PROCESS;
    }
    /* the order matters: see slots/names.h */
    if (!x->pool->name && !wsgid_names_is(x->pool->slots[0], x->route->application_group)) {
        move(x, NULL);
        return APR_EAGAIN;
    }
    x->connection.pids = wsgid_entries_pids(choice.slot);
    return choice.has_to_wait ? APR_EAGAIN : APR_SUCCESS;
}

int wsgid_dispatch_has_room(wsgid_exchange_t *x)
{
    choice_t choice;

    x->pool = find_pool(x);
    if (!x->pool) {
        return 1;
    }
    choice = choose(x->pool, NULL);
    if (!choice.slot) {
        return 1; /* an attempt finds out why */
    }
    if (choice.in_flight * 2 >= count_threads(x->group, &choice)) {
        return 0;
    }
    /* requests that come at the same moment see each other: each counts itself, then looks */
    move(x, choice.slot);
    choice = choose(x->pool, NULL);
    if (choice.in_flight * 2 < count_threads(x->group, &choice) + 2) { /* its own does not matter */
        return 1;
    }
    move(x, NULL);
    return 0;
}

apr_status_t wsgid_dispatch_connect(wsgid_exchange_t *x)
{
    apr_status_t rv = APR_SUCCESS;

    x->connection.fd = take_idle(x);
    x->connection.was_idle = x->connection.fd >= 0;
    if (!x->connection.was_idle) {
        rv = open_connection(x);
    }
    if (rv != APR_SUCCESS) {
        wsgid_dispatch_release(x, 0);
    }
    return rv;
}

void wsgid_dispatch_release(wsgid_exchange_t *x, int keep)
{
    if (x->connection.fd >= 0 && !(keep && keep_idle(x))) {
        close(x->connection.fd);
    }
    x->connection.fd = -1;
    move(x, NULL);
}
