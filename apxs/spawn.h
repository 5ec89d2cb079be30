/*
 * What crosses only the files that make a daemon: spawn.c (the fork), handover.c (its configuration), envvars.c (its
 * environment variables), interpreter.c (what is executed), backoff.c (the sleep before), and supervisor.c, which asks
 * for it.
 *
 * All but wsgid_spawn and wsgid_handover_make runs in the forked process, whose memory goes with it: there the rule is
 * one line in the log and _exit with a code of handover.h.
 */
#ifndef WSGID_SPAWN_H
#define WSGID_SPAWN_H

#include "wsgid.h"

/* What the forked process is to become. All descriptors belong to the caller. */
typedef struct {
    const wsgid_group_t *group;
    int slot;
    int listener;
    int leash;                          /* read end */
    int page;                           /* memfd */
    int predecessor;                    /* write end of its leash, or -1 */
    apr_interval_time_t delay;          /* back-off to wait first, ended early by the leash or by a changed script */
} wsgid_spawn_t;

/* A process between fork and exec. */
typedef struct {
    const wsgid_spawn_t *spawn;
    const wsgid_group_t *group;
    const wsgid_identity_t *identity;
    int configuration;                  /* memfd */
    apr_pool_t *pool;
    apr_array_header_t *from_files;     /* const char *: NAME=VALUE of env-file= */
    const char *python;
    const char *home;                   /* of a virtualenv, else NULL */
} wsgid_birth_t;

/* Forks; in the child drops privileges and executes the interpreter, or exits with a named code after one line in the
 * log. */
apr_status_t wsgid_spawn(pid_t *pid, const wsgid_spawn_t *spawn, apr_pool_t *ptemp);

/* The configuration block in a sealed memfd, to be closed by the caller. */
apr_status_t wsgid_handover_make(const wsgid_spawn_t *spawn, apr_pool_t *p, int *fd);

/* Sleeps birth->spawn->delay. */
void wsgid_backoff_sleep(const wsgid_birth_t *birth);

/* Sets from_files; as root. */
void wsgid_envvars_read_file(wsgid_birth_t *birth);
/* For execve, once python and home are known. */
char *const *wsgid_envvars_make(const wsgid_birth_t *birth);

/* Sets python and home; as the group's user. */
void wsgid_interpreter_choose(wsgid_birth_t *birth);
/* The path of boot.py. */
const char *wsgid_interpreter_boot(const wsgid_birth_t *birth);

#endif
