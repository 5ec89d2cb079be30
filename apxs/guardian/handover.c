/*
 * The table of guardian and slot (docs/design.md, "Guardians and restarts"). A guardian looks it up
 * whenever anything has happened, so what counts is only how things are, not how they became so.
 *
 * The rules behind it: somebody serves until somebody newer does; only the newest starts anything;
 * who leaves never comes back.
 */
#include "guardian/handover.h"

#define START WSGID_DUTY_START
#define SERVE WSGID_DUTY_SERVE
#define BOOT  WSGID_DUTY_BOOT
#define LEAVE WSGID_DUTY_LEAVE

/* clang-format off */
static const wsgid_duty_e duties[WSGID_ROLES][WSGID_SERVES] = {
    /*                          NOBODY OURS   NEWER */
    [WSGID_ROLE_NEWEST]     = { START, SERVE, SERVE }, /* NEWER cannot be */
    [WSGID_ROLE_SUPERSEDED] = { BOOT,  SERVE, LEAVE },
    [WSGID_ROLE_RETIRED]    = { LEAVE, LEAVE, LEAVE },
    [WSGID_ROLE_STOPPED]    = { LEAVE, LEAVE, LEAVE },
};
/* clang-format on */

wsgid_duty_e wsgid_handover_duty(wsgid_role_e role, wsgid_serves_e serves)
{
    return duties[role][serves];
}
