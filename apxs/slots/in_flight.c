/*
 * How many requests are in flight in each slot.
 *
 * Every child of httpd owns a row and counts its requests there, in each slot. The count of a slot
 * is the sum of its rows. When a child ends, however it ends, the parent clears its row, so that
 * a killed child leaves no wrong count behind.
 *
 * The registry says which child owns which row. Children claim rows themselves.
 */
#include "slots/slot_memory.h"
#include "slots/retained.h"

#include <unistd.h>

#define RETAINED_KEY WSGID_RETAINED("in_flight")
/* for children of old generations whose place in httpd's scoreboard was given away */
#define ROW_MARGIN(n) ((n) / 4 + 8)
#define NO_ROW        (-1)
/* prefork's default ServerLimit, the largest of all MPMs */
#define USUAL_LIMIT 256

/* Shared memory. */
typedef struct {
    uint32_t high_water; /* rows from here on have never been used */
    pid_t owner[];       /* 0: the row is free */
} registry_t;

typedef struct {
    registry_t *registry;
    int rows;
    wsgid_slot_t *slots; /* every slot of this httpd */
} retained_rows_t;

/* httpd loads the module anew at each restart, so this is NULL until find_retained(). */
static retained_rows_t *retained;
static int my_row = NO_ROW;

/* ---- the registry */

static retained_rows_t *find_retained(void)
{
    if (!retained) {
        retained = ap_retained_data_get(RETAINED_KEY);
    }
    return retained;
}

/* httpd ignores a change of ServerLimit at a restart, so the number of rows holds for the life of
 * the parent. */
static int count_rows(void)
{
    int limit;

    if (ap_mpm_query(AP_MPMQ_HARD_LIMIT_DAEMONS, &limit) != APR_SUCCESS || limit < 1) {
        limit = USUAL_LIMIT;
    }
    return limit + ROW_MARGIN(limit);
}

static apr_status_t ensure_registry(void)
{
    int rows = count_rows();
    wsgid_mapping_t registry;
    apr_status_t status;

    if (find_retained()) {
        return APR_SUCCESS;
    }
    status = wsgid_map_shared(&registry, sizeof(registry_t) + rows * sizeof(pid_t), -1);
    if (status == APR_SUCCESS) {
        retained = ap_retained_data_create(RETAINED_KEY, sizeof(*retained));
        retained->registry = registry.at;
        retained->rows = rows;
    }
    return status;
}

static void raise_high_water(registry_t *registry, uint32_t value)
{
    uint32_t seen = __atomic_load_n(&registry->high_water, __ATOMIC_RELAXED);

    while (seen < value
           && !__atomic_compare_exchange_n(&registry->high_water, &seen, value, 0, __ATOMIC_RELAXED,
                                           __ATOMIC_RELAXED)) {
        /* another child was faster; `seen` now holds its value */
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

void wsgid_in_flight_claim_row(server_rec *s)
{
    if (!find_retained()) {
        return; /* there is no daemon group */
    }
    my_row = claim(retained->registry, retained->rows);
    if (my_row == NO_ROW) {
        ap_log_error(APLOG_MARK, APLOG_INFO, 0, s,
                     "WSGID0120: httpd child %" APR_PID_T_FMT
                     " cannot count the requests that it runs, because other children use all "
                     "%d counters: queue-limit= and the choice of a process ignore its requests; "
                     "look for requests that never end and keep old children of httpd alive",
                     getpid(), retained->rows);
    }
}

static wsgid_in_flight_row_t *row_of(const wsgid_slot_t *slot, int row)
{
    wsgid_in_flight_row_t *rows = slot->block->mapping[WSGID_ROWS].at;

    return &rows[slot->index * retained->rows + row];
}

/* Clears the counts first: afterwards another child may claim the row. */
static void clear_row(int row)
{
    wsgid_slot_t *slot;

    for (slot = retained->slots; slot; slot = slot->next) {
        const wsgid_slot_words_t *words = wsgid_words_of(slot);

        if (words->is_open || words->phase) { /* else its rows shall not be touched */
            __atomic_store_n(&row_of(slot, row)->in_flight, 0, __ATOMIC_RELAXED);
        }
    }
    __atomic_store_n(&retained->registry->owner[row], 0, __ATOMIC_RELEASE);
}

void wsgid_in_flight_child_status(pid_t pid, mpm_child_status status)
{
    int row;

    if (status != MPM_CHILD_EXITED || pid <= 0 || !find_retained()) {
        return;
    }
    for (row = 0; row < retained->rows; row++) {
        if (__atomic_load_n(&retained->registry->owner[row], __ATOMIC_ACQUIRE) == pid) {
            clear_row(row);
        }
    }
}

/* ---- the rows of a slot */

apr_status_t wsgid_in_flight_open(wsgid_block_t *block)
{
    apr_status_t status = ensure_registry();

    return status == APR_SUCCESS ? wsgid_map_shared(&block->mapping[WSGID_ROWS],
                                                    (apr_size_t)block->slots * retained->rows
                                                        * sizeof(wsgid_in_flight_row_t),
                                                    -1)
                                 : status;
}

void wsgid_in_flight_attach(wsgid_slot_t *slot)
{
    slot->next = retained->slots;
    slot->link = &retained->slots;
    if (slot->next) {
        slot->next->link = &slot->next;
    }
    retained->slots = slot;
}

void wsgid_in_flight_detach(wsgid_slot_t *slot)
{
    *slot->link = slot->next;
    if (slot->next) {
        slot->next->link = slot->link;
    }
}

/* ---- counting */

static void count(wsgid_slot_t *slot, int by)
{
    if (my_row != NO_ROW) {
        __atomic_add_fetch(&row_of(slot, my_row)->in_flight, (uint32_t)by, __ATOMIC_RELAXED);
    }
}

void wsgid_in_flight_enter(wsgid_slot_t *slot)
{
    count(slot, 1);
}

void wsgid_in_flight_leave(wsgid_slot_t *slot)
{
    count(slot, -1);
}

int wsgid_in_flight_is_counting(void)
{
    return my_row != NO_ROW;
}

unsigned wsgid_in_flight_count(const wsgid_slot_t *slot)
{
    const retained_rows_t *known = find_retained();
    uint32_t rows = __atomic_load_n(&known->registry->high_water, __ATOMIC_RELAXED);
    unsigned sum = 0;
    uint32_t row;

    for (row = 0; row < rows && row < (uint32_t)known->rows; row++) {
        sum += __atomic_load_n(&row_of(slot, (int)row)->in_flight, __ATOMIC_RELAXED);
    }
    return sum;
}
