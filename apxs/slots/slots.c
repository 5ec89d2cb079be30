/*
 * A slot as a whole: its shared memory comes and goes here, and what may be expected of it is read
 * and written here. slot_memory.h says who may write which part of that memory.
 *
 * Nothing here knows why a process starts or ends (guardian/), nor how a request travels
 * (request/).
 */
#include "slots/slot_memory.h"

#include <sched.h>

/* ---- creation and destruction */

static apr_status_t make_memory(wsgid_slot_t *slot)
{
    apr_status_t status = wsgid_in_flight_attach(slot);
    int entry;

    if (status != APR_SUCCESS) {
        return status;
    }
    slot->words = wsgid_map_shared(sizeof(*slot->words));
    if (!slot->words) {
        return errno;
    }
    status = wsgid_ledger_open(slot);
    for (entry = 0; entry < WSGID_SLOT_PROCESSES && status == APR_SUCCESS; entry++) {
        status = wsgid_pages_open(slot, entry);
    }
    return status;
}

apr_status_t wsgid_slots_create(wsgid_slot_t **created, apr_pool_t *pool)
{
    wsgid_slot_t *slot = apr_pcalloc(pool, sizeof(*slot));
    apr_status_t status;
    int entry;

    for (entry = 0; entry < WSGID_SLOT_PROCESSES; entry++) {
        slot->memfd[entry] = -1;
    }
    status = make_memory(slot);
    if (status != APR_SUCCESS) {
        wsgid_slots_destroy(slot);
        return status;
    }
    *created = slot;
    return APR_SUCCESS;
}

void wsgid_slots_destroy(wsgid_slot_t *slot)
{
    int entry;

    wsgid_in_flight_detach(slot);
    for (entry = 0; entry < WSGID_SLOT_PROCESSES; entry++) {
        wsgid_pages_close(slot, entry);
    }
    if (slot->words) {
        (void)munmap(slot->words, sizeof(*slot->words));
    }
    slot->words = NULL;
    wsgid_ledger_close(slot);
}

void wsgid_slots_enter_child(wsgid_slot_t *slot)
{
    int entry;

    slot->ledger = NULL; /* it has not been inherited */
    for (entry = 0; entry < WSGID_SLOT_PROCESSES; entry++) {
        wsgid_pages_close_descriptor(slot, entry);
    }
}

/* ---- what may be expected of it */

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
    __atomic_store_n(&slot->words->next_try, next_try, __ATOMIC_RELAXED);
    __atomic_store_n(&slot->words->phase, phase, __ATOMIC_RELEASE);
}

wsgid_slot_state_e wsgid_slots_phase(const wsgid_slot_t *slot)
{
    uint32_t phase = __atomic_load_n(&slot->words->phase, __ATOMIC_ACQUIRE);

    return phase <= WSGID_SLOT_BOOTING ? (wsgid_slot_state_e)phase : WSGID_SLOT_DOWN;
}

apr_time_t wsgid_slots_next_try(const wsgid_slot_t *slot)
{
    return __atomic_load_n(&slot->words->next_try, __ATOMIC_RELAXED);
}

wsgid_slot_state_e wsgid_slots_state(const wsgid_slot_t *slot)
{
    return wsgid_entries_is_any_ready(slot) ? WSGID_SLOT_READY : wsgid_slots_phase(slot);
}

/* ---- totals and the snapshot */

wsgid_totals_t *wsgid_slots_totals(wsgid_slot_t *slot)
{
    return &slot->words->totals;
}

/* A guardian needs microseconds to move a process into the totals. If it was killed in the middle
 * of that, the last attempt is shown as it is. */
#define SNAPSHOT_ATTEMPTS 100

void wsgid_slots_snapshot(const wsgid_slot_t *slot,
                          wsgid_entry_snapshot_t entries[WSGID_SLOT_PROCESSES],
                          wsgid_totals_t *totals)
{
    const uint32_t *turn = &slot->words->totals.turn;
    int attempt;

    for (attempt = 0; attempt < SNAPSHOT_ATTEMPTS; attempt++) {
        uint32_t before = __atomic_load_n(turn, __ATOMIC_SEQ_CST);
        int entry;

        memcpy(totals, &slot->words->totals, sizeof(*totals));
        for (entry = 0; entry < WSGID_SLOT_PROCESSES; entry++) {
            wsgid_entries_snapshot(slot, entry, &entries[entry]);
        }
        __atomic_thread_fence(__ATOMIC_SEQ_CST);
        if (before % 2 == 0 && before == __atomic_load_n(turn, __ATOMIC_SEQ_CST)) {
            return;
        }
        (void)sched_yield();
    }
}
