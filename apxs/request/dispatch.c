/*
 * Where a request goes: the slot with the fewest requests in flight, and a connection to it.
 *
 * A connection between two requests holds no bytes and no state, so that what a child keeps of it
 * is a descriptor on a small stack. A stale one (its daemon has gone) is found out by the first
 * send, which says that nothing was read.
 */
#include "request/exchange.h"

#include <errno.h>
#include <unistd.h>

#include "apr_thread_mutex.h"

/* The idle connections of this child to one slot. Lives in the child's pool. */
typedef struct {
    int *fds;
    int count;
} idle_t;

struct wsgid_idle_t {
    apr_thread_mutex_t *lock;
    int room; /* of each stack: as many as this child has threads */
    idle_t *slots;
};

void wsgid_dispatch_child_init(apr_pool_t *pchild, server_rec *s)
{
    const apr_array_header_t *groups = wsgid_groups_all();
    int threads = 1, i, k;

    if (ap_mpm_query(AP_MPMQ_MAX_THREADS, &threads) != APR_SUCCESS || threads < 1) {
        threads = 1;
    }
    for (i = 0; i < groups->nelts; i++) {
        wsgid_group_t *group = APR_ARRAY_IDX(groups, i, wsgid_group_t *);
        struct wsgid_idle_t *idle = apr_pcalloc(pchild, sizeof(*idle));
        apr_status_t rv = apr_thread_mutex_create(&idle->lock, APR_THREAD_MUTEX_DEFAULT, pchild);

        if (rv != APR_SUCCESS) {
            ap_log_error(APLOG_MARK, APLOG_ERR, rv, s,
                         "WSGID0150: group '%s': no mutex for idle connections, "
                         "each request will connect anew",
                         group->label);
            continue;
        }
        idle->room = threads;
        idle->slots = apr_pcalloc(pchild, sizeof(idle_t) * (apr_size_t)group->slot_count);
        for (k = 0; k < group->slot_count; k++) {
            idle->slots[k].fds = apr_pcalloc(pchild, sizeof(int) * (apr_size_t)threads);
        }
        group->idle = idle;
    }
}

static int slot_number(const wsgid_group_t *group, const wsgid_slot_t *slot)
{
    int i = 0;

    while (group->slots[i] != slot) {
        i++;
    }
    return i;
}

static int take_idle(wsgid_group_t *group, const wsgid_slot_t *slot)
{
    idle_t *stack;
    int fd = -1;

    if (!group->idle || apr_thread_mutex_lock(group->idle->lock) != APR_SUCCESS) {
        return -1;
    }
    stack = &group->idle->slots[slot_number(group, slot)];
    if (stack->count > 0) {
        fd = stack->fds[--stack->count];
    }
    /* fails only for a mutex that is not locked */
    (void)apr_thread_mutex_unlock(group->idle->lock);
    return fd;
}

/* 1 if the stack took it. */
static int keep_idle(wsgid_group_t *group, const wsgid_slot_t *slot, int fd)
{
    idle_t *stack;
    int kept = 0;

    if (!group->idle || apr_thread_mutex_lock(group->idle->lock) != APR_SUCCESS) {
        return 0;
    }
    stack = &group->idle->slots[slot_number(group, slot)];
    if (stack->count < group->idle->room) {
        stack->fds[stack->count++] = fd;
        kept = 1;
    }
    (void)apr_thread_mutex_unlock(group->idle->lock);
    return kept;
}

/* Ready before booting, then fewest in flight; a lower rank is the better choice. NO_RANK: not to
 * be chosen at all. */
#define NO_RANK      (~(apr_uint64_t)0)
#define RANK_BOOTING ((apr_uint64_t)1 << 40)
#define RANK_AVOIDED ((apr_uint64_t)1 << 41)

static apr_uint64_t rank(const wsgid_slot_t *slot, const wsgid_slot_t *avoid, unsigned in_flight)
{
    apr_uint64_t place = slot == avoid ? RANK_AVOIDED : 0;

    switch (wsgid_slots_state(slot)) {
    case WSGID_SLOT_READY: return place + in_flight;
    case WSGID_SLOT_BOOTING: return place + RANK_BOOTING + in_flight;
    case WSGID_SLOT_WAITING:
    case WSGID_SLOT_DOWN: break;
    }
    return NO_RANK;
}

/* The best slot, or NULL; *total: requests in flight in the whole group. Ties go round, so that
 * slots share idle times. */
static wsgid_slot_t *choose(const wsgid_group_t *group, const wsgid_slot_t *avoid,
                            apr_uint64_t *total)
{
    static unsigned turn; /* any value does: it only spreads ties */
    unsigned first = __atomic_fetch_add(&turn, 1, __ATOMIC_RELAXED);
    apr_uint64_t best = NO_RANK;
    wsgid_slot_t *chosen = NULL;
    int i;

    *total = 0;
    for (i = 0; i < group->slot_count; i++) {
        wsgid_slot_t *slot = group->slots[(first + (unsigned)i) % (unsigned)group->slot_count];
        unsigned in_flight = wsgid_in_flight_count(slot);
        apr_uint64_t place = rank(slot, avoid, in_flight);

        *total += in_flight;
        if (place < best) {
            best = place;
            chosen = slot;
        }
    }
    return chosen;
}

static int is_queue_full(const wsgid_group_t *group, apr_uint64_t in_flight)
{
    apr_uint64_t limit = (apr_uint64_t)WSGID_NUMBER(group, QUEUE_LIMIT);
    apr_uint64_t running = (apr_uint64_t)WSGID_NUMBER(group, THREADS)
                           * (apr_uint64_t)group->slot_count;

    return limit > 0 && in_flight >= running + limit;
}

/* A send, and connecting, return after a slice at the latest, so that the caller can look at the
 * slot in between. */
static int set_slice(int fd)
{
    struct timeval slice = { 0, WSGID_CHANNEL_SLICE };

    return setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &slice, sizeof(slice)) == 0 ? 0 : errno;
}

/* Connects; a full backlog is waited for, as long as the slot has or awaits a process. */
static apr_status_t connect_slot(wsgid_exchange_t *x, int fd)
{
    const struct sockaddr_un *address = wsgid_slots_address(x->connection.slot);
    apr_time_t deadline = wsgid_clock_now() + WSGID_NUMBER(x->group, CONNECT_TIMEOUT);

    while (connect(fd, (const struct sockaddr *)address, sizeof(*address)) != 0) {
        wsgid_slot_state_e state = wsgid_slots_state(x->connection.slot);

        if (errno != EAGAIN && errno != EINTR) {
            return errno == ECONNREFUSED || errno == ENOENT ? WSGID_E_NO_PROCESS : errno;
        }
        if (state != WSGID_SLOT_READY && state != WSGID_SLOT_BOOTING) {
            return WSGID_E_NO_PROCESS;
        }
        if (wsgid_clock_now() > deadline) {
            return WSGID_E_CONNECT_TIMEOUT;
        }
    }
    return APR_SUCCESS;
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

apr_status_t wsgid_dispatch_acquire(wsgid_exchange_t *x, const wsgid_slot_t *avoid)
{
    apr_uint64_t in_flight;
    apr_status_t rv = APR_SUCCESS;

    x->connection.slot = choose(x->group, avoid, &in_flight);
    if (!x->connection.slot) {
        return WSGID_E_NO_PROCESS;
    }
    if (is_queue_full(x->group, in_flight)) {
        x->connection.slot = NULL;
        return WSGID_E_QUEUE_FULL;
    }
    wsgid_in_flight_enter(x->connection.slot);
    x->connection.pids = wsgid_entries_pids(x->connection.slot);
    x->connection.fd = take_idle(x->group, x->connection.slot);
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
    if (x->connection.fd >= 0
        && !(keep && keep_idle(x->group, x->connection.slot, x->connection.fd))) {
        close(x->connection.fd);
    }
    x->connection.fd = -1;
    if (x->received.file >= 0) {
        close(x->received.file);
        x->received.file = -1;
    }
    if (x->connection.slot) {
        wsgid_in_flight_leave(x->connection.slot);
        x->connection.slot = NULL;
    }
}
