/*
 * What crosses only the files that make a daemon: spawn.c (the fork), daemon_configuration.c (its
 * configuration), environment.c (its environment variables), privileges.c (its user), interpreter.c
 * (what is executed), backoff.c (the sleep before); and launch.c, which asks for it.
 *
 * All but wsgid_spawn, wsgid_daemon_configuration_make and wsgid_privileges_look_up runs in the
 * forked process, whose memory goes with it: there the rule is one line in the log and _exit with a
 * code of process_abi.h.
 */
#ifndef WSGID_SPAWN_H
#define WSGID_SPAWN_H

#include "config/groups.h"
#include "wsgid.h"

/* ---- privileges.c */

/* Who a daemon is to be, looked up in the parent so that the forked process needs no name service.
 */
typedef struct {
    int changes; /* 0: httpd is not root and all stays as it is */
    uid_t uid;
    gid_t gid;
    const gid_t *groups;
    int group_count;
    const char *name; /* NULL: the uid has no name */
    const char *home; /* the user's, "/" if unknown */
} wsgid_identity_t;

/* NULL after one line in the log. */
const wsgid_identity_t *wsgid_privileges_look_up(apr_pool_t *p, const wsgid_group_t *group);
/* In the forked process: becomes the group's user for good. 0, or -1 after one line in the log. */
int wsgid_privileges_drop(const wsgid_group_t *group, const wsgid_identity_t *identity);

/* ---- spawn.c and the steps after the fork */

/* What the forked process is to become. All descriptors belong to the caller. */
typedef struct {
    const wsgid_group_t *group;
    int slot;
    int listener;
    int lifeline; /* read end */
    int page;     /* memfd */
    int wakeup;   /* write end */
    int control;
    int predecessor; /* write end of its lifeline, or -1 */
    /* const char *: scripts of the predecessor's, to be loaded before it is replaced */
    const apr_array_header_t *loaded;
    /* back-off to wait first, ended early by the lifeline or by a changed script */
    apr_interval_time_t delay;
} wsgid_spawn_t;

/* A process between fork and exec. */
typedef struct {
    const wsgid_spawn_t *spawn;
    const wsgid_group_t *group;
    const wsgid_identity_t *identity;
    int configuration; /* memfd */
    apr_pool_t *pool;
    apr_array_header_t *from_files; /* const char *: NAME=VALUE of env-file= */
    const char *python;
    const char *home; /* of a virtualenv, else NULL */
} wsgid_birth_t;

/* Forks; in the child drops privileges and executes the interpreter, or exits with a named code
 * after one line in the log. */
apr_status_t wsgid_spawn(pid_t *pid, const wsgid_spawn_t *spawn, apr_pool_t *ptemp);

/*
 * Forks with all signals blocked, so that none reaches httpd's handlers inside the forked process
 * before its own dispositions are in force. There 'become' is called, which must not return. The
 * pid, or -1 with errno.
 */
pid_t wsgid_spawn_fork(void (*become)(void *data), void *data);

/* In a forked process: closes all descriptors from 'first' on. */
void wsgid_spawn_close_from(int first);

/* The configuration block in a sealed memfd, to be closed by the caller. */
apr_status_t wsgid_daemon_configuration_make(const wsgid_spawn_t *spawn, apr_pool_t *p, int *fd);

/* Sleeps birth->spawn->delay. */
void wsgid_backoff_sleep(const wsgid_birth_t *birth);

/* Sets from_files; as root. */
void wsgid_environment_read_file(wsgid_birth_t *birth);
/* For execve, once python and home are known. */
char *const *wsgid_environment_make(const wsgid_birth_t *birth);

/* Sets python and home; as the group's user. */
void wsgid_interpreter_choose(wsgid_birth_t *birth);
/* The path of boot.py. */
const char *wsgid_interpreter_boot(const wsgid_birth_t *birth);

#endif
