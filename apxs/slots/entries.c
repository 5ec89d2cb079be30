/*
 * The process entries of a slot: which process is in which entry, and since when.
 *
 * Guardians write these words in shared memory; everybody reads them. They serve messages and the
 * status page, and say whether the page of an entry counts. Guardians themselves never rely on
 * them: they have their own records (guardian/) and the ledger (ledger.c).
 */
#include "slots/slot_memory.h"

static pid_t process_in(const wsgid_slot_t *slot, int entry)
{
    return __atomic_load_n(&wsgid_words_of(slot)->pid[entry], __ATOMIC_ACQUIRE);
}

int wsgid_entries_claim(wsgid_slot_t *slot, int entry, wsgid_owner_t owner)
{
    if (!wsgid_ledger_take(slot, entry, 0, owner)) {
        return 0;
    }
    if (wsgid_pages_clear(slot, entry) != 0) {
        wsgid_ledger_release(slot, entry);
        return 0;
    }
    return 1;
}

void wsgid_entries_release(wsgid_slot_t *slot, int entry)
{
    wsgid_entries_set_process(slot, entry, 0, 0);
    wsgid_ledger_release(slot, entry);
}

void wsgid_entries_set_process(wsgid_slot_t *slot, int entry, pid_t pid, apr_time_t born)
{
    __atomic_store_n(&wsgid_words_of(slot)->born[entry], born, __ATOMIC_RELAXED);
    __atomic_store_n(&wsgid_words_of(slot)->pid[entry], pid, __ATOMIC_RELEASE);
}

int wsgid_entries_is_any_ready(const wsgid_slot_t *slot)
{
    int entry;

    for (entry = 0; entry < WSGID_SLOT_PROCESSES; entry++) {
        if (process_in(slot, entry) && wsgid_pages_is_ready(slot, entry)) {
            return 1;
        }
    }
    return 0;
}

void wsgid_entries_snapshot(const wsgid_slot_t *slot, int entry, wsgid_entry_snapshot_t *snapshot)
{
    memset(snapshot, 0, sizeof(*snapshot));
    snapshot->pid = process_in(slot, entry);
    snapshot->born = __atomic_load_n(&wsgid_words_of(slot)->born[entry], __ATOMIC_RELAXED);
    if (snapshot->pid) {
        wsgid_pages_read(slot, entry, &snapshot->page);
    }
}

wsgid_pids_t wsgid_entries_pids(const wsgid_slot_t *slot)
{
    wsgid_pids_t pids;
    int entry;

    for (entry = 0; entry < WSGID_SLOT_PROCESSES; entry++) {
        pids.pid[entry] = process_in(slot, entry);
    }
    return pids;
}

const char *wsgid_entries_describe(apr_pool_t *p, const wsgid_pids_t *pids)
{
    const char *text = NULL;
    int entry;

    for (entry = 0; entry < WSGID_SLOT_PROCESSES; entry++) {
        if (pids->pid[entry]) {
            text = text ? apr_psprintf(p, "%s or %" APR_PID_T_FMT, text, pids->pid[entry])
                        : apr_psprintf(p, "process %" APR_PID_T_FMT, pids->pid[entry]);
        }
    }
    return text ? text : "no process";
}
