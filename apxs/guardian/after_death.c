/*
 * What follows when a process has ended: it is counted, the back-off begins, what it has left
 * behind ends, and a line in the log says how it ended and what happens next.
 */
#include "guardian/guardian.h"

/* What happens next, for the log. was_youngest: the dead process, whose entry is already free, was
 * the last that the slot had started. */
static const char *describe_next(apr_pool_t *p, const wsgid_process_t *dead, int was_youngest)
{
    wsgid_slot_record_t *slot = dead->slot;
    const wsgid_process_t *serving = wsgid_process_youngest(slot, WSGID_IN(READY));
    const wsgid_process_t *coming = wsgid_process_youngest(slot, WSGID_IN(BOOTING));
    pid_t newer = wsgid_ledger_newer_process(slot->shared, wsgid_roles_configuration());

    if (!wsgid_roles_stop_began() && wsgid_roles_is_removed(slot)) {
        return "its group is no longer configured";
    }
    if (newer && !wsgid_roles_stop_began()) {
        return apr_psprintf(p, "process %" APR_PID_T_FMT " has taken its place", newer);
    }
    if (!wsgid_roles_stop_began()
        && wsgid_ledger_newest_ready(slot->shared) > wsgid_roles_configuration()) {
        return "its group has fewer processes now";
    }
    if (!wsgid_roles_stop_began() && !wsgid_slot_list_is_wanted(slot)) {
        return "no request needs one now";
    }
    if (serving && (!was_youngest || dead->is_requested)) {
        return apr_psprintf(p, "process %" APR_PID_T_FMT " %s", serving->pid,
                            was_youngest ? "goes on serving" : "has taken its place");
    }
    if (coming) {
        return apr_psprintf(p, "process %" APR_PID_T_FMT " is starting to take its place",
                            coming->pid);
    }
    if (wsgid_roles_stop_began()) {
        return "httpd is stopping or restarting";
    }
    if (serving) {
        return apr_psprintf(p, "process %" APR_PID_T_FMT " goes on serving, %s", serving->pid,
                            wsgid_backoff_describe(p, slot));
    }
    return wsgid_backoff_describe(p, slot);
}

static void report_death(const wsgid_process_t *dead, wsgid_death_t death, apr_interval_time_t life,
                         int was_youngest)
{
    apr_pool_t *temporary;

    apr_pool_create(&temporary, dead->slot->pool);
    wsgid_deaths_report(temporary, dead, death, life, describe_next(temporary, dead, was_youngest));
    apr_pool_destroy(temporary);
}

static void count_death(wsgid_process_t *process, wsgid_death_t death)
{
    wsgid_slot_t *shared = process->slot->shared;
    wsgid_totals_t *totals = wsgid_slots_totals(shared);
    wsgid_reason_e reason = wsgid_deaths_reason(process, death);
    wsgid_page_t page;

    wsgid_pages_read(shared, wsgid_process_entry(process), &page);
    wsgid_boot_places_give_back(process);
    wsgid_totals_begin(totals);
    wsgid_totals_count_death(totals, &page, reason, death.status);
    wsgid_process_release(process);
    wsgid_totals_end(totals);
}

/* The back-off begins: requests wait in the backlog, or get 503 if it takes long. */
static void delay_next(wsgid_slot_record_t *slot)
{
    const wsgid_process_t *left = wsgid_process_youngest(slot, WSGID_CURRENT);

    if (slot->delay <= 0 || !wsgid_roles_is_followed(slot) || (left && left->serial > slot->deaf)) {
        return;
    }
    slot->next_start = wsgid_clock_now() + slot->delay;
    wsgid_backoff_note_scripts(slot);
    wsgid_slot_list_set_phase(
        slot, slot->delay > WSGID_SHORT_DELAY ? WSGID_SLOT_WAITING : WSGID_SLOT_BOOTING,
        slot->next_start);
}

void wsgid_after_death_handle(wsgid_process_t *process, wsgid_death_t death)
{
    wsgid_slot_record_t *slot = process->slot;
    apr_interval_time_t life = wsgid_clock_now() - process->born;
    wsgid_process_t dead;
    int was_youngest;

    wsgid_process_observe(slot);
    was_youngest = wsgid_process_youngest(slot, WSGID_NOT_FREE) == process;
    dead = *process;
    count_death(process, death);
    wsgid_descendants_end_session(dead.pid);
    life = life > 0 ? life : 0;
    if (wsgid_replacements_has_failed(&dead)) {
        wsgid_replacements_note_failure(wsgid_process_youngest(slot, WSGID_IN(READY)), death);
    }
    else {
        wsgid_backoff_count(slot, &dead, death);
        delay_next(slot);
    }
    if (!dead.is_killed) { /* else a line has said so (kill_late) */
        report_death(&dead, death, life, was_youngest);
    }
    if (wsgid_roles_is_down(slot) && !wsgid_process_youngest(slot, WSGID_NOT_FREE)) {
        wsgid_slot_list_set_phase(slot, WSGID_SLOT_DOWN, 0);
    }
}
