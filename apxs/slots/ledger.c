/*
 * What guardians of one slot tell each other.
 *
 * After a graceful restart, a slot has the guardian of each configuration that still runs
 * processes. They share the slot's process entries, and the older ones must learn when a process
 * of a newer configuration is ready. The ledger is for that: shared memory that httpd's parent and
 * the guardians write, all of them root. Other processes that the parent forks, httpd's children
 * and those of other modules, do not inherit it, so it can be trusted.
 *
 * A guardian that has been killed leaves entries behind; the newest guardian of the slot takes them
 * over.
 */
#include "slots/slot_memory.h"

static wsgid_ledger_t *ledger_of(const wsgid_slot_t *slot)
{
    return (wsgid_ledger_t *)slot->block->mapping[WSGID_LEDGERS].at + slot->index;
}

/* ---- which configuration the slot needs, and has */

void wsgid_ledger_set_wanted(wsgid_slot_t *slot, apr_uint32_t configuration)
{
    __atomic_store_n(&ledger_of(slot)->wanted, configuration, __ATOMIC_RELEASE);
}

apr_uint32_t wsgid_ledger_wanted(const wsgid_slot_t *slot)
{
    return __atomic_load_n(&ledger_of(slot)->wanted, __ATOMIC_ACQUIRE);
}

void wsgid_ledger_set_current(wsgid_slot_t *slot, apr_uint32_t configuration)
{
    __atomic_store_n(&ledger_of(slot)->current, configuration, __ATOMIC_RELEASE);
}

apr_uint32_t wsgid_ledger_current(const wsgid_slot_t *slot)
{
    return __atomic_load_n(&ledger_of(slot)->current, __ATOMIC_ACQUIRE);
}

int wsgid_ledger_is_removed(const wsgid_slot_t *slot)
{
    return wsgid_ledger_current(slot) > wsgid_ledger_wanted(slot);
}

void wsgid_ledger_note_ready(wsgid_slot_t *slot, apr_uint32_t configuration)
{
    uint32_t newest = wsgid_ledger_newest_ready(slot);

    while (newest < configuration
           && !__atomic_compare_exchange_n(&ledger_of(slot)->newest_ready, &newest, configuration,
                                           0, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE)) {
        /* another guardian was faster; `newest` now holds its value */
    }
}

apr_uint32_t wsgid_ledger_newest_ready(const wsgid_slot_t *slot)
{
    return __atomic_load_n(&ledger_of(slot)->newest_ready, __ATOMIC_ACQUIRE);
}

/* ---- process entries */

int wsgid_ledger_take(wsgid_slot_t *slot, int entry, wsgid_owner_t from, wsgid_owner_t owner)
{
    return __atomic_compare_exchange_n(&ledger_of(slot)->entry[entry].owner, &from, owner, 0,
                                       __ATOMIC_ACQ_REL, __ATOMIC_RELAXED);
}

void wsgid_ledger_set_process(wsgid_slot_t *slot, int entry, pid_t pid, apr_uint64_t born)
{
    wsgid_ledger_entry_t *place = &ledger_of(slot)->entry[entry];

    __atomic_store_n(&place->born, born, __ATOMIC_RELAXED);
    __atomic_store_n(&place->pid, pid, __ATOMIC_RELEASE);
}

void wsgid_ledger_set_pid(wsgid_slot_t *slot, int entry, pid_t pid)
{
    __atomic_store_n(&ledger_of(slot)->entry[entry].pid, pid, __ATOMIC_RELEASE);
}

void wsgid_ledger_release(wsgid_slot_t *slot, int entry)
{
    wsgid_ledger_set_process(slot, entry, 0, 0);
    __atomic_store_n(&ledger_of(slot)->entry[entry].owner, 0, __ATOMIC_RELEASE);
}

wsgid_owner_t wsgid_ledger_owner(const wsgid_slot_t *slot, int entry)
{
    return __atomic_load_n(&ledger_of(slot)->entry[entry].owner, __ATOMIC_ACQUIRE);
}

pid_t wsgid_ledger_process(const wsgid_slot_t *slot, int entry, apr_uint64_t *born)
{
    const wsgid_ledger_entry_t *place = &ledger_of(slot)->entry[entry];

    *born = __atomic_load_n(&place->born, __ATOMIC_RELAXED);
    return __atomic_load_n(&place->pid, __ATOMIC_ACQUIRE);
}

pid_t wsgid_ledger_newer_process(const wsgid_slot_t *slot, apr_uint32_t configuration)
{
    apr_uint64_t unused;
    int entry;

    for (entry = 0; entry < WSGID_SLOT_PROCESSES; entry++) {
        if (WSGID_OWNER_CONFIGURATION(wsgid_ledger_owner(slot, entry)) > configuration) {
            return wsgid_ledger_process(slot, entry, &unused);
        }
    }
    return 0;
}
