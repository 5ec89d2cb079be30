/*
 * Replacements: the successors that processes request, because a script has changed or a limit is
 * reached. The process itself logs why it needs one, and decides when to request one again.
 */
#include "guardian/guardian.h"

static int is_being_replaced(wsgid_slot_record_t *slot)
{
    return wsgid_process_youngest(slot, WSGID_IN(READY))
           && wsgid_process_youngest(slot, WSGID_IN(BOOTING));
}

/* Only one process of a pool is replaced at a time, so that the others go on serving. */
static int is_pool_replacing(const wsgid_pool_t *pool)
{
    wsgid_slot_record_t *slot;

    for (slot = wsgid_slot_list_first(); slot; slot = slot->next) {
        if (slot->of == pool && is_being_replaced(slot)) {
            return 1;
        }
    }
    return 0;
}

void wsgid_replacements_grant(wsgid_slot_record_t *slot)
{
    wsgid_process_t *serving = wsgid_process_youngest(slot, WSGID_IN(READY));

    if (!serving || serving->requests_handled == serving->replacement_requests
        || is_pool_replacing(slot->of)) {
        return;
    }
    if (serving->change && serving->change == slot->failed_change) {
        /* a successor of another process of the group could not load this change */
        serving->requests_handled = serving->replacement_requests;
        wsgid_process_refuse_replacement(serving);
        return;
    }
    if (wsgid_process_stops_first(slot)) {
        wsgid_process_ask_to_leave(serving); /* another one starts when it has ended */
        return;
    }
    if (wsgid_launch_process(slot, serving)
        == APR_SUCCESS) { /* otherwise the next call tries again */
        slot->delay = 0;
        serving->requests_handled = serving->replacement_requests;
        serving->granted_reason = serving->replacement_reason;
    }
}

void wsgid_replacements_refuse(wsgid_process_t *process)
{
    if (process && process->requests_handled != process->replacement_requests) {
        process->requests_handled = process->replacement_requests;
        wsgid_process_refuse_replacement(process); /* a request may be waiting for an answer */
    }
}

int wsgid_replacements_has_failed(const wsgid_process_t *dead)
{
    return dead->is_requested && !dead->has_been_ready
           && wsgid_process_youngest(dead->slot, WSGID_IN(READY));
}

void wsgid_replacements_note_failure(wsgid_process_t *serving, wsgid_death_t death)
{
    wsgid_slot_record_t *slot;

    wsgid_process_refuse_replacement(serving);
    if (death.code != CLD_EXITED || death.status != WSGID_EXIT_LOAD) {
        return;
    }
    for (slot = wsgid_slot_list_first(); slot; slot = slot->next) {
        if (slot->of && slot->of == serving->slot->of) {
            slot->failed_change = serving->change;
        }
    }
}
