/*
 * What a guardian does with a slot (handover.c): decisions only, no httpd and no process.
 */
#ifndef WSGID_HANDOVER_H
#define WSGID_HANDOVER_H

/* What the guardian is to the slot. */
typedef enum {
    WSGID_ROLE_NEWEST,     /* no newer configuration has the slot */
    WSGID_ROLE_SUPERSEDED, /* a newer one has it */
    WSGID_ROLE_RETIRED,    /* nobody can send requests to the slot as this configuration says */
    WSGID_ROLE_STOPPED,    /* httpd ends */
    WSGID_ROLES
} wsgid_role_e;

/* Whose process serves the slot, as far as the guardian knows. */
typedef enum {
    WSGID_SERVES_NOBODY,
    WSGID_SERVES_OURS,
    WSGID_SERVES_NEWER, /* one of a newer configuration is, or has been, ready */
    WSGID_SERVES
} wsgid_serves_e;

typedef enum {
    WSGID_DUTY_START, /* start a process, unless one boots */
    WSGID_DUTY_SERVE, /* the process that serves goes on; others of ours leave, unless it asked */
    WSGID_DUTY_BOOT,  /* start nothing; the eldest that boots goes on, others of ours leave */
    WSGID_DUTY_LEAVE  /* all of ours leave */
} wsgid_duty_e;

wsgid_duty_e wsgid_handover_duty(wsgid_role_e role, wsgid_serves_e serves);

#endif
