/*
 * What this guardian is to a slot: whether the slot is its own, whether a newer configuration has
 * it, and whether anybody can still send requests to it. What follows is not here: handover.c has
 * the table.
 */
#include "guardian/guardian.h"

/* Static: a guardian is one process for one group. */
static wsgid_guardian_t guardian;
static apr_time_t stop_began; /* wsgid_clock_now(); 0: it goes on */
static int is_orphaned;       /* httpd's parent has ended */

void wsgid_roles_begin(const wsgid_guardian_t *given)
{
    guardian = *given;
}

apr_uint32_t wsgid_roles_configuration(void)
{
    return guardian.configuration;
}

wsgid_owner_t wsgid_roles_owner(void)
{
    return WSGID_OWNER(guardian.configuration, guardian.number);
}

/* ---- the end */

void wsgid_roles_note_stop(void)
{
    stop_began = wsgid_clock_now();
}

apr_time_t wsgid_roles_stop_began(void)
{
    return stop_began;
}

void wsgid_roles_note_orphaned(void)
{
    is_orphaned = 1;
}

int wsgid_roles_is_orphaned(void)
{
    return is_orphaned;
}

/* ---- its slots and processes */

wsgid_slot_record_t *wsgid_roles_next_slot(const wsgid_slot_record_t *slot)
{
    wsgid_slot_record_t *next = slot ? slot->next : wsgid_slot_list_first();

    while (next && next->group != guardian.group) {
        next = next->next;
    }
    return next;
}

wsgid_process_t *wsgid_roles_next_process(wsgid_process_t *process)
{
    wsgid_slot_record_t *slot = process ? process->slot : wsgid_roles_next_slot(NULL);
    int i = process ? wsgid_process_entry(process) + 1 : 0;

    for (; slot; slot = wsgid_roles_next_slot(slot), i = 0) {
        for (; i < WSGID_SLOT_PROCESSES; i++) {
            if (slot->processes[i].state != WSGID_STATE_FREE) {
                return &slot->processes[i];
            }
        }
    }
    return NULL;
}

/* ---- its role */

int wsgid_roles_is_newest(const wsgid_slot_record_t *slot)
{
    return wsgid_ledger_wanted(slot->shared) <= guardian.configuration;
}

/* Slots of spare pools go with their configuration. */
int wsgid_roles_is_removed(const wsgid_slot_record_t *slot)
{
    const wsgid_slot_record_t *any = wsgid_roles_next_slot(NULL);

    return slot->is_spare ? any && wsgid_ledger_current(any->shared) > guardian.configuration
                          : wsgid_ledger_is_removed(slot->shared);
}

int wsgid_roles_is_abandoned(const wsgid_slot_record_t *slot)
{
    if (is_orphaned) {
        return !wsgid_child_locks_live_up_to(APR_UINT32_MAX);
    }
    return wsgid_roles_is_removed(slot)
           && !wsgid_child_locks_live_up_to(wsgid_ledger_wanted(slot->shared));
}

int wsgid_roles_is_retired(const wsgid_slot_record_t *slot)
{
    return !wsgid_slot_list_is_wanted(slot) || wsgid_roles_is_abandoned(slot);
}

int wsgid_roles_is_followed(const wsgid_slot_record_t *slot)
{
    return !stop_began && wsgid_roles_is_newest(slot) && !wsgid_roles_is_retired(slot);
}

int wsgid_roles_is_down(const wsgid_slot_record_t *slot)
{
    return wsgid_roles_is_newest(slot) && (is_orphaned || wsgid_roles_is_removed(slot))
           && (stop_began || wsgid_roles_is_abandoned(slot));
}

wsgid_role_e wsgid_roles_in(const wsgid_slot_record_t *slot)
{
    if (stop_began) {
        return WSGID_ROLE_STOPPED;
    }
    if (wsgid_roles_is_retired(slot)) {
        return WSGID_ROLE_RETIRED;
    }
    return wsgid_roles_is_newest(slot) ? WSGID_ROLE_NEWEST : WSGID_ROLE_SUPERSEDED;
}
