/*
 * From a fork of httpd's parent to a daemon.
 *
 * spawn.c forks and puts descriptors in place; daemon_configuration.c makes the configuration that
 * the daemon gets; descriptor_limits.c is about the limit on open files; environment.c builds the
 * environment variables; oom_score.c is about who dies first when memory runs out; privileges.c
 * drops root; interpreter.c chooses what is executed.
 *
 * Everything runs in the forked process, except the functions marked "parent". The memory of the
 * forked process goes away with it. A step that fails there logs one line and calls _exit with
 * a code of process_abi.h.
 */
#ifndef WSGID_SPAWN_H
#define WSGID_SPAWN_H

#include "config/pools.h"
#include "wsgid.h"

/* ---- privileges.c */

/* The user that a daemon runs as. It is looked up in post_config, so that neither guardians nor
 * daemons need a name service. */
typedef struct wsgid_identity_t {
    int changes; /* 0: httpd does not run as root, so the user stays the same */
    uid_t uid;
    gid_t gid;
    const gid_t *groups;
    int group_count;
    const char *name; /* NULL: the uid has no name */
    const char *home; /* of the user; "/" if unknown */
} wsgid_identity_t;

/* Parent. In p; NULL after one line in the log. */
const wsgid_identity_t *wsgid_privileges_look_up(apr_pool_t *p, const wsgid_group_t *group);
/* Becomes the group's user for good. 0, or -1 after one line in the log. */
int wsgid_privileges_drop(const wsgid_group_t *group);

/* ---- spawn.c */

/* What a process is started with. The caller owns the descriptors. */
typedef struct {
    const wsgid_group_t *group;
    const wsgid_pool_t *pool;
    const char *label;             /* of the pool */
    const char *application_group; /* NULL: the first request shows it */
    wsgid_slot_t *shared;
    int slot;
    int entry; /* of the process, in the slot */
    int listener;
    int lifeline;    /* read end */
    int pages;       /* memfd */
    apr_size_t page; /* offset of its own page in there */
    int wakeup;      /* write end */
    int control;
    int output;      /* write end */
    int predecessor; /* write end of its lifeline, or -1 */
    /* const char *: scripts that the predecessor has loaded, so this process must load them before
     * it replaces it */
    const apr_array_header_t *loaded;
} wsgid_start_t;

/* The forked process, before exec. */
typedef struct {
    const wsgid_start_t *start;
    const wsgid_group_t *group;
    int configuration; /* memfd */
    apr_pool_t *pool;
    apr_array_header_t *from_file; /* const char *: NAME=VALUE of env-file= */
    const char *python;
    const char *home; /* of a virtualenv, else NULL */
} wsgid_child_t;

/* A guardian. Forks a process that becomes a daemon. Fails if a resource is missing; then *pid is
 * -1. */
apr_status_t wsgid_spawn_process(pid_t *pid, const wsgid_start_t *start, apr_pool_t *ptemp);

/* Parent. Forks with all signals blocked, so that none reaches httpd's handlers inside the forked
 * process before that has set its own. `become` runs there and must not return. The pid, or -1 with
 * errno. */
pid_t wsgid_spawn_fork(void (*become)(void *data), void *data);

/* The descriptor of a server's ErrorLog; -1: it is no file (syslog). */
int wsgid_spawn_log_descriptor(const server_rec *s);

/* Closes the descriptors from `first` up to `last`, or from `first` on. */
void wsgid_spawn_close_range(unsigned first, unsigned last);
#define WSGID_SPAWN_ALL (~0U)

/* Handlers of httpd and of other modules must not run in a forked process, and signals that are
 * ignored would stay so after exec. */
void wsgid_spawn_reset_handlers(void);

/* ---- descriptor_limits.c */

/* Parent, check_config: whether the configured processes fit into httpd's hard limit on open files.
 * s: the main server. OK, or an HTTP error that has been logged. */
int wsgid_descriptor_limits_check(const server_rec *s);
/* Parent, post_config: raises the soft limit to the hard one if it is too low for them. */
void wsgid_descriptor_limits_raise(const server_rec *s);
/* Any process that the parent has forked: takes the soft limit back that httpd was started with. 0,
 * or -1 with errno. */
int wsgid_descriptor_limits_restore(void);

/* ---- oom_score.c */

/* A guardian: of all processes, it shall be killed last. Where that is not allowed, nothing
 * changes. */
void wsgid_oom_score_lower(void);
/* A daemon, while it is root: takes httpd's own value back. 0, or -1 with errno. */
int wsgid_oom_score_restore(void);

/* ---- daemon_configuration.c */

/* Parent. The configuration block of a daemon in a sealed memfd, which the caller closes. */
apr_status_t wsgid_daemon_configuration_make(const wsgid_start_t *start, apr_pool_t *p, int *fd);

/* ---- environment.c */

/* As root: reads env-file= into child->from_file. */
void wsgid_environment_read_file(wsgid_child_t *child);
/* The environment for execve, once child->python and child->home are known. */
char *const *wsgid_environment_make(const wsgid_child_t *child);

/* ---- interpreter.c */

/* As the group's user: sets child->python and child->home. */
void wsgid_interpreter_choose(wsgid_child_t *child);
/* The path of boot.py. */
const char *wsgid_interpreter_boot(const wsgid_child_t *child);

#endif
