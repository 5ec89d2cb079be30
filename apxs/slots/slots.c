/*
 * The shared memory of a slot: what the parent says of it, what its daemons say of themselves, how
 * many requests are in flight.
 *
 * Three kinds of memory, by who may write:
 *
 *   - wsgid_slot_t is private to each process of httpd; children have the copy that fork gave them.
 * Every pointer, descriptor and address is here, because the rest is written by processes that the
 * parent (root) must not trust.
 *   - shared_t, anonymous shared memory: written by the parent, by httpd's children and, before
 * exec, by the forked process. Numbers only. A hijacked child can at most send requests astray.
 *   - the pages, sealed memfds, one for each entry: written by the daemons, so copied and bounded,
 * and nothing but their state is believed.
 *
 * Everything is retained over restarts of httpd, which unload this module: no pool cleanup and
 * nothing kept may point into it. All shared memory is made in post_config, before the children
 * that use it are forked.
 */
#include "slots/slots.h"
#include "common/clock.h"

#include <fcntl.h>
#include <sched.h>
#include <sys/mman.h>
#include <unistd.h>

#define RETAINED_KEY WSGID_RETAINED("slots")
#define PAGES        WSGID_SLOT_PROCESSES
/* a child's counter has a line of its own: it is written twice a request */
#define CACHE_LINE 64
/* children of old generations whose scoreboard slot was given away */
#define ROW_MARGIN(n) ((n) / 4 + 8)
#define NO_ROW        (-1)

typedef struct {
    uint32_t in_flight;
    unsigned char padding[CACHE_LINE - sizeof(uint32_t)];
} row_t;

typedef struct {
    uint32_t phase;            /* wsgid_slot_state_e, never READY: that is for the pages to say */
    uint32_t page_used[PAGES]; /* belongs to a process that has not been reaped */
    int64_t next_try;          /* as wsgid_clock_now() counts, like born */
    pid_t pid[PAGES];          /* for messages; 0: none */
    int64_t born[PAGES];       /* when its wait, if any, is over */
    wsgid_totals_t totals;
    row_t rows[]; /* one for each row of the registry */
} shared_t;

struct wsgid_slot_t {
    wsgid_slot_t *next;
    shared_t *shared;
    struct sockaddr_un address;
    int memfd[PAGES]; /* -1 in children */
    wsgid_page_t *page[PAGES];
    int busy[PAGES]; /* the parent's own knowledge, of which page_used tells the children */
};

/* Which child counts in which row: shared, claimed by the children themselves. */
typedef struct {
    uint32_t high_water; /* rows from here on have never been used */
    pid_t owner[];
} registry_t;

typedef struct {
    registry_t *registry;
    int rows;
    wsgid_slot_t *slots;
} retained_t;

static retained_t *retained; /* refreshed by find_retained(): a restart loads the module anew */
static int my_row = NO_ROW;

/* ---- the registry of rows */

static retained_t *find_retained(void)
{
    if (!retained) {
        retained = ap_retained_data_get(RETAINED_KEY);
    }
    return retained;
}

static void *map_shared(apr_size_t size)
{
    void *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

    return memory == MAP_FAILED ? NULL : memory;
}

static apr_size_t registry_size(int rows)
{
    return sizeof(registry_t) + rows * sizeof(pid_t);
}

/* httpd takes no change of ServerLimit on a restart, so the number of rows is good for the life of
 * the parent. */
static int count_rows(void)
{
    int limit;

    if (ap_mpm_query(AP_MPMQ_HARD_LIMIT_DAEMONS, &limit) != APR_SUCCESS || limit < 1) {
        limit = 256; /* prefork's default ServerLimit, the largest there is */
    }
    return limit + ROW_MARGIN(limit);
}

static apr_status_t ensure_registry(void)
{
    registry_t *registry;
    int rows;

    if (find_retained()) {
        return APR_SUCCESS;
    }
    rows = count_rows();
    registry = map_shared(registry_size(rows));
    if (!registry) {
        return errno;
    }
    retained = ap_retained_data_create(RETAINED_KEY, sizeof(*retained));
    retained->registry = registry;
    retained->rows = rows;
    return APR_SUCCESS;
}

static void raise_high_water(registry_t *registry, uint32_t value)
{
    uint32_t seen = __atomic_load_n(&registry->high_water, __ATOMIC_RELAXED);

    while (seen < value
           && !__atomic_compare_exchange_n(&registry->high_water, &seen, value, 0, __ATOMIC_RELAXED,
                                           __ATOMIC_RELAXED)) {
        /* another child claimed meanwhile: seen is fresh */
    }
}

static int claim(registry_t *registry, int rows)
{
    int row;

    for (row = 0; row < rows; row++) {
        pid_t nobody = 0;
        if (__atomic_compare_exchange_n(&registry->owner[row], &nobody, getpid(), 0,
                                        __ATOMIC_ACQ_REL, __ATOMIC_RELAXED)) {
            raise_high_water(registry, row + 1);
            return row;
        }
    }
    return NO_ROW;
}

void wsgid_slots_claim_row(server_rec *s)
{
    if (!find_retained()) {
        return; /* no group, so no slot */
    }
    my_row = claim(retained->registry, retained->rows);
    if (my_row == NO_ROW) {
        ap_log_error(APLOG_MARK, APLOG_INFO, 0, s,
                     "WSGID0120: all %d rows for requests in flight are taken; those "
                     "of this child are not counted",
                     retained->rows);
    }
}

/* The row of a child that is gone: what it had in flight is forgotten before another child may
 * claim the row. */
static void clear_row(pid_t pid)
{
    int row;
    wsgid_slot_t *slot;

    for (row = 0; row < retained->rows; row++) {
        if (__atomic_load_n(&retained->registry->owner[row], __ATOMIC_ACQUIRE) != pid) {
            continue;
        }
        for (slot = retained->slots; slot; slot = slot->next) {
            __atomic_store_n(&slot->shared->rows[row].in_flight, 0, __ATOMIC_RELAXED);
        }
        __atomic_store_n(&retained->registry->owner[row], 0, __ATOMIC_RELEASE);
    }
}

void wsgid_slots_child_status(pid_t pid, mpm_child_status status)
{
    if (status == MPM_CHILD_EXITED && pid > 0 && find_retained()) {
        clear_row(pid);
    }
}

/* ---- making and unmaking */

static apr_size_t shared_size(void)
{
    return sizeof(shared_t) + retained->rows * sizeof(row_t);
}

/* A page of fixed size: a daemon cannot shrink it under our feet, which would be a SIGBUS for us.
 */
static int make_memfd(void)
{
    int fd = memfd_create("wsgid-statistics", MFD_CLOEXEC | MFD_ALLOW_SEALING);

    if (fd < 0) {
        return -1;
    }
    if (ftruncate(fd, WSGID_PAGE_SIZE) != 0
        || fcntl(fd, F_ADD_SEALS, F_SEAL_GROW | F_SEAL_SHRINK | F_SEAL_SEAL) != 0) {
        int error = errno;
        (void)close(fd);
        errno = error;
        return -1;
    }
    return fd;
}

static apr_status_t make_page(wsgid_slot_t *slot, int which)
{
    void *page;

    slot->memfd[which] = make_memfd();
    if (slot->memfd[which] < 0) {
        return errno;
    }
    page = mmap(NULL, WSGID_PAGE_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, slot->memfd[which], 0);
    if (page == MAP_FAILED) {
        return errno;
    }
    slot->page[which] = page;
    return APR_SUCCESS;
}

static apr_status_t make_memory(wsgid_slot_t *slot)
{
    apr_status_t status = APR_SUCCESS;
    int which;

    slot->shared = map_shared(shared_size());
    if (!slot->shared) {
        return errno;
    }
    for (which = 0; which < PAGES && status == APR_SUCCESS; which++) {
        status = make_page(slot, which);
    }
    return status;
}

apr_status_t wsgid_slots_create(wsgid_slot_t **created, apr_pool_t *pool)
{
    apr_status_t status = ensure_registry();
    wsgid_slot_t *slot;
    int which;

    if (status != APR_SUCCESS) {
        return status;
    }
    slot = apr_pcalloc(pool, sizeof(*slot));
    for (which = 0; which < PAGES; which++) {
        slot->memfd[which] = -1;
    }
    status = make_memory(slot);
    if (status != APR_SUCCESS) {
        wsgid_slots_destroy(slot);
        return status;
    }
    slot->next = retained->slots;
    retained->slots = slot;
    *created = slot;
    return APR_SUCCESS;
}

void wsgid_slots_close_descriptors(wsgid_slot_t *slot)
{
    int which;

    for (which = 0; which < PAGES; which++) {
        if (slot->memfd[which] >= 0) {
            (void)close(slot->memfd[which]);
        }
        slot->memfd[which] = -1;
    }
}

void wsgid_slots_destroy(wsgid_slot_t *slot)
{
    wsgid_slot_t **link;
    int which;

    for (link = &find_retained()->slots; *link; link = &(*link)->next) {
        if (*link == slot) {
            *link = slot->next;
            break;
        }
    }
    wsgid_slots_close_descriptors(slot);
    for (which = 0; which < PAGES; which++) {
        if (slot->page[which]) {
            (void)munmap(slot->page[which], WSGID_PAGE_SIZE);
        }
    }
    if (slot->shared) {
        (void)munmap(slot->shared, shared_size());
    }
}

/* ---- what the parent says */

void wsgid_slots_set_address(wsgid_slot_t *slot, const struct sockaddr_un *address)
{
    slot->address = *address;
}

const struct sockaddr_un *wsgid_slots_address(const wsgid_slot_t *slot)
{
    return &slot->address;
}

void wsgid_slots_set_phase(wsgid_slot_t *slot, wsgid_slot_state_e phase, apr_time_t next_try)
{
    __atomic_store_n(&slot->shared->next_try, next_try, __ATOMIC_RELAXED);
    __atomic_store_n(&slot->shared->phase, phase, __ATOMIC_RELEASE);
}

wsgid_slot_state_e wsgid_slots_phase(const wsgid_slot_t *slot)
{
    uint32_t phase = __atomic_load_n(&slot->shared->phase, __ATOMIC_ACQUIRE);

    return phase <= WSGID_SLOT_BOOTING ? (wsgid_slot_state_e)phase : WSGID_SLOT_DOWN;
}

apr_time_t wsgid_slots_next_try(const wsgid_slot_t *slot)
{
    return __atomic_load_n(&slot->shared->next_try, __ATOMIC_RELAXED);
}

static void set_used(wsgid_slot_t *slot, int which, int used)
{
    slot->busy[which] = used;
    __atomic_store_n(&slot->shared->page_used[which], used, __ATOMIC_RELEASE);
}

static int is_ready(const wsgid_slot_t *slot, int which)
{
    return __atomic_load_n(&slot->shared->page_used[which], __ATOMIC_ACQUIRE)
           && __atomic_load_n(&slot->page[which]->state, __ATOMIC_ACQUIRE) == WSGID_PAGE_READY;
}

wsgid_slot_state_e wsgid_slots_state(const wsgid_slot_t *slot)
{
    int which;

    for (which = 0; which < PAGES; which++) {
        if (is_ready(slot, which)) {
            return WSGID_SLOT_READY;
        }
    }
    return wsgid_slots_phase(slot);
}

/* ---- requests in flight */

static void count(wsgid_slot_t *slot, int by)
{
    if (my_row != NO_ROW) {
        __atomic_add_fetch(&slot->shared->rows[my_row].in_flight, (uint32_t)by, __ATOMIC_RELAXED);
    }
}

void wsgid_slots_enter(wsgid_slot_t *slot)
{
    count(slot, 1);
}

void wsgid_slots_leave(wsgid_slot_t *slot)
{
    count(slot, -1);
}

unsigned wsgid_slots_in_flight(const wsgid_slot_t *slot)
{
    uint32_t rows = __atomic_load_n(&retained->registry->high_water, __ATOMIC_RELAXED);
    unsigned sum = 0;
    uint32_t row;

    for (row = 0; row < rows && row < (uint32_t)retained->rows; row++) {
        sum += __atomic_load_n(&slot->shared->rows[row].in_flight, __ATOMIC_RELAXED);
    }
    return sum;
}

/* ---- the daemons' pages */

/* Back to zeros, and its memory to the system. */
static void clear_page(wsgid_slot_t *slot, int which)
{
    if (fallocate(slot->memfd[which], FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0,
                  WSGID_PAGE_SIZE)
        != 0) {
        memset(slot->page[which], 0, WSGID_PAGE_SIZE);
    }
}

int wsgid_slots_fresh_page(wsgid_slot_t *slot, int which)
{
    if (slot->busy[which]) {
        return -1;
    }
    clear_page(slot, which);
    set_used(slot, which, 1);
    return slot->memfd[which];
}

void wsgid_slots_set_process(wsgid_slot_t *slot, int which, pid_t pid, apr_time_t born)
{
    __atomic_store_n(&slot->shared->born[which], born, __ATOMIC_RELAXED);
    __atomic_store_n(&slot->shared->pid[which], pid, __ATOMIC_RELEASE);
}

wsgid_pids_t wsgid_slots_pids(const wsgid_slot_t *slot)
{
    wsgid_pids_t pids;
    int i;

    for (i = 0; i < PAGES; i++) {
        pids.pid[i] = __atomic_load_n(&slot->shared->pid[i], __ATOMIC_RELAXED);
    }
    return pids;
}

const char *wsgid_slots_processes(apr_pool_t *p, const wsgid_pids_t *pids)
{
    const char *text = NULL;
    int i;

    for (i = 0; i < PAGES; i++) {
        if (pids->pid[i]) {
            text = text ? apr_psprintf(p, "%s or %" APR_PID_T_FMT, text, pids->pid[i])
                        : apr_psprintf(p, "process %" APR_PID_T_FMT, pids->pid[i]);
        }
    }
    return text ? text : "no process";
}

void wsgid_slots_retire_page(wsgid_slot_t *slot, int which)
{
    wsgid_slots_set_process(slot, which, 0, 0);
    set_used(slot, which, 0);
}

void wsgid_slots_read_page(const wsgid_slot_t *slot, int which, wsgid_page_t *copy)
{
    memcpy(copy, slot->page[which], sizeof(*copy));
    if (copy->version != WSGID_PAGE_VERSION || copy->state > WSGID_PAGE_DRAINING) {
        memset(copy, 0, sizeof(*copy));
    }
}

/* One "callable:/path" of printable bytes. */
static int is_script(const char *text)
{
    const char *colon = strchr(text, ':');

    for (; *text; text++) {
        if (apr_iscntrl(*text)) {
            return 0;
        }
    }
    return colon && colon[1] == '/';
}

apr_array_header_t *wsgid_slots_loaded_scripts(const wsgid_slot_t *slot, int which, apr_pool_t *p)
{
    apr_size_t length = WSGID_PAGE_SCRIPTS_END - WSGID_PAGE_SCRIPTS;
    /* and a NUL */
    char *copy = apr_pstrmemdup(p, (const char *)slot->page[which] + WSGID_PAGE_SCRIPTS, length);
    apr_array_header_t *scripts = apr_array_make(p, 4, sizeof(const char *));
    const char *end = copy + length;

    for (; copy < end && *copy; copy += strlen(copy) + 1) {
        if (is_script(copy)) {
            APR_ARRAY_PUSH(scripts, const char *) = copy;
        }
    }
    return scripts;
}

/* ---- for the status page */

wsgid_totals_t *wsgid_slots_totals(const wsgid_slot_t *slot)
{
    return &slot->shared->totals;
}

static void view_process(const wsgid_slot_t *slot, int which, wsgid_process_view_t *entry)
{
    memset(entry, 0, sizeof(*entry));
    entry->pid = __atomic_load_n(&slot->shared->pid[which], __ATOMIC_ACQUIRE);
    entry->born = __atomic_load_n(&slot->shared->born[which], __ATOMIC_RELAXED);
    entry->used = __atomic_load_n(&slot->shared->page_used[which], __ATOMIC_ACQUIRE) && entry->pid;
    if (entry->used) {
        wsgid_slots_read_page(slot, which, &entry->page);
    }
}

/* The parent needs microseconds for a death. If it ends in the middle of that, what there is must
 * do. */
#define VIEW_TRIES 100

void wsgid_slots_view(const wsgid_slot_t *slot, wsgid_process_view_t entries[WSGID_SLOT_PROCESSES],
                      wsgid_totals_t *totals)
{
    const uint32_t *turn = &slot->shared->totals.turn;
    int tries;

    for (tries = 0; tries < VIEW_TRIES; tries++) {
        uint32_t before = __atomic_load_n(turn, __ATOMIC_SEQ_CST);
        int which;

        memcpy(totals, &slot->shared->totals, sizeof(*totals));
        for (which = 0; which < PAGES; which++) {
            view_process(slot, which, &entries[which]);
        }
        __atomic_thread_fence(__ATOMIC_SEQ_CST);
        if (before % 2 == 0 && before == __atomic_load_n(turn, __ATOMIC_SEQ_CST)) {
            return;
        }
        (void)sched_yield();
    }
}

int wsgid_slots_copy_rows(const wsgid_slot_t *slot, int entry, wsgid_page_row_t *rows, int most)
{
    int count = most < WSGID_PAGE_MOST_ROWS ? most : WSGID_PAGE_MOST_ROWS;

    memcpy(rows, (const char *)slot->page[entry] + WSGID_PAGE_ROWS, count * sizeof(*rows));
    return count;
}
