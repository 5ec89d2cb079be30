/*
 * The phase of a slot: what httpd's children may expect of it while none of its processes is ready.
 *
 * One function changes it, wsgid_phase_step(), by one table (docs/design.md, "Processes and
 * slots"). Whether a process is ready is not a phase: the statistics pages say so, and that counts
 * first (wsgid_slots_state).
 */
#include "slots/slots.h"

typedef enum { IGNORE = 0, MOVE } action_e;

typedef struct {
    action_e action;
    wsgid_slot_state_e next;
} phase_transition_t;

#define TO(state) { MOVE, WSGID_SLOT_##state }
#define STAY      { IGNORE, WSGID_SLOT_DOWN }

/* clang-format off */
static const phase_transition_t transitions[WSGID_SLOT_READY][WSGID_PHASE_EVENTS] = {
    /*                        STARTED      DELAYED      UNFORKABLE   EMPTIED */
    [WSGID_SLOT_DOWN]    = { TO(BOOTING), TO(WAITING), TO(WAITING), STAY },
    [WSGID_SLOT_WAITING] = { TO(BOOTING), TO(WAITING), TO(WAITING), TO(DOWN) },
    [WSGID_SLOT_BOOTING] = { TO(BOOTING), TO(WAITING), TO(WAITING), TO(DOWN) },
};
/* clang-format on */

static const char *const state_names[WSGID_SLOT_READY] = { "down", "waiting", "booting" };
static const char *const event_names[WSGID_PHASE_EVENTS] = { "started", "delayed", "unforkable",
                                                             "emptied" };

void wsgid_phase_step(wsgid_slot_t *slot, const wsgid_slot_name_t *name, wsgid_phase_event_e event,
                      apr_time_t next_try)
{
    wsgid_slot_state_e phase = wsgid_slots_phase(slot);
    const phase_transition_t *transition = &transitions[phase][event];

    if (transition->action == IGNORE) {
        return;
    }
    ap_log_error(APLOG_MARK, APLOG_DEBUG, 0, name->server,
                 "WSGID0069: group '%s' slot %d: was %s, is %s (%s)", name->label, name->index,
                 state_names[phase], state_names[transition->next], event_names[event]);
    wsgid_slots_set_phase(slot, transition->next, next_try);
}
