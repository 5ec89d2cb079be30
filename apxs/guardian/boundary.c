/*
 * From a fork of httpd's parent to a process of its own: what a guardian gives up of httpd.
 *
 * All signals are blocked from before the fork until the end, since a guardian reads its signals
 * from a signalfd.
 */
#include "guardian/guardian.h"
#include "spawn/spawn.h"

#include <fcntl.h>
#include <linux/capability.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/syscall.h>
#include <syslog.h>
#include <unistd.h>

#include "http_main.h"

/* ---- signals */

static int open_signals(void)
{
    static const int numbers[] = { SIGCHLD, SIGTERM, WSGID_SIGNAL_SUPERSEDED };
    sigset_t set;
    apr_size_t i;

    (void)sigemptyset(&set);
    for (i = 0; i < sizeof(numbers) / sizeof(*numbers); i++) {
        (void)sigaddset(&set, numbers[i]);
    }
    return signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
}

/* ---- descriptors */

static void keep(apr_array_header_t *kept, int fd)
{
    if (fd >= 0) {
        APR_ARRAY_PUSH(kept, int) = fd;
    }
}

static void keep_pages(apr_array_header_t *kept, const wsgid_group_t *group)
{
    const wsgid_slot_record_t *slot;
    int i;

    for (slot = wsgid_slot_list_first(); slot; slot = slot->next) {
        if (slot->group == group) {
            keep(kept, wsgid_pages_descriptor(slot->shared));
        }
    }
    for (i = 0; i < wsgid_pools_count(group); i++) {
        const wsgid_pool_t *pool = wsgid_pools_get(group, i);

        if (pool->slot_count) {
            keep(kept, wsgid_pages_descriptor(pool->slots[0]));
        }
    }
}

static int by_number(const void *a, const void *b)
{
    return *(const int *)a - *(const int *)b;
}

/* Closes everything else that httpd has open: ports, clients, other groups' sockets, pipes to
 * programs that log. */
static void close_others(apr_array_header_t *kept)
{
    const int *fds = (const int *)kept->elts;
    int next = STDERR_FILENO + 1;
    int i;

    qsort(kept->elts, kept->nelts, sizeof(int), by_number);
    for (i = 0; i < kept->nelts; i++) {
        if (fds[i] > next) {
            wsgid_spawn_close_range(next, fds[i] - 1);
        }
        next = fds[i] >= next ? fds[i] + 1 : next;
    }
    wsgid_spawn_close_range(next, WSGID_SPAWN_ALL);
}

static void close_descriptors(const wsgid_group_t *group, int signals)
{
    apr_pool_t *pool;
    apr_array_header_t *kept;

    apr_pool_create(&pool, ap_server_conf->process->pool);
    kept = apr_array_make(pool, 64, sizeof(int));
    keep(kept, signals);
    keep(kept, wsgid_child_locks_descriptor());
    keep(kept, wsgid_boot_places_descriptor());
    keep(kept, wsgid_spawn_log_descriptor(group->server));
    keep(kept, wsgid_spawn_log_descriptor(ap_server_conf));
    keep_pages(kept, group);
    keep(kept, group->output[0]);
    keep(kept, group->output[1]);
    closelog();
    close_others(kept);
    apr_pool_destroy(pool);
}

/* ---- capabilities */

/* What is left of root's: what it needs to bind sockets again that have been lost, to read
 * env-file= and to look at scripts, to make a process another user's, to see that in a /proc that
 * hides it (hidepid=), and to kill it. */
static const int needed[] = { CAP_CHOWN,    CAP_DAC_READ_SEARCH, CAP_KILL,       CAP_SETGID,
                              CAP_SETUID,   CAP_SETPCAP,         CAP_SYS_CHROOT, CAP_SYS_PTRACE,
                              CAP_SYS_NICE, CAP_SYS_RESOURCE };

/* What httpd does not have itself is not added. */
static void reduce_capabilities(void)
{
    struct __user_cap_header_struct header = { _LINUX_CAPABILITY_VERSION_3, 0 };
    struct __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3];
    apr_uint64_t mask = 0;
    apr_size_t i;

    for (i = 0; i < sizeof(needed) / sizeof(*needed); i++) {
        mask |= (apr_uint64_t)1 << needed[i];
    }
    if (syscall(SYS_capget, &header, data) != 0) {
        return;
    }
    for (i = 0; i < _LINUX_CAPABILITY_U32S_3; i++) {
        apr_uint32_t kept = (apr_uint32_t)(mask >> 32 * i);

        data[i].effective &= kept;
        data[i].permitted &= kept;
        data[i].inheritable &= kept;
    }
    (void)syscall(SYS_capset, &header, data); /* where that is forbidden, it has httpd's */
}

/* ---- the name */

/* Numbers after the state in /proc/PID/stat: where in memory the command line is that ps shows. */
#define ARG_START 45
#define ARG_END   46

/* The name in syslog would change with the command line, into which it points. */
static void set_title(const wsgid_group_t *group)
{
    static char ident[64];
    char *start = (char *)wsgid_orphans_stat(getpid(), ARG_START); /* NOLINT: the kernel says so */
    char *end = (char *)wsgid_orphans_stat(getpid(), ARG_END);     /* NOLINT */

    (void)prctl(PR_SET_NAME, "wsgid-guardian");
    apr_cpystrn(ident, ap_server_argv0, sizeof(ident));
    openlog(ident, LOG_CONS | LOG_PID, 0); /* as httpd's; 0 keeps the facility */
    if (start && end > start) {
        memset(start, 0, (apr_size_t)(end - start));
        apr_snprintf(start, (apr_size_t)(end - start), "wsgid:%s (guardian)", group->label);
    }
}

int wsgid_boundary_cross(const wsgid_group_t *group)
{
    int signals;

    (void)setsid();
    wsgid_spawn_reset_handlers();
    (void)prctl(PR_SET_CHILD_SUBREAPER, 1); /* what daemons leave behind belongs to us */
    signals = open_signals();
    if (signals < 0) {
        ap_log_error(APLOG_MARK, APLOG_CRIT, errno, group->server,
                     "WSGID0075: group '%s': its guardian cannot receive signals: raise httpd's "
                     "limit of open files (ulimit -n, LimitNOFILE= of its service)",
                     group->label);
        _exit(0);
    }
    close_descriptors(group, signals);
    set_title(group);
    wsgid_oom_score_lower(); /* while it may */
    reduce_capabilities();
    return signals;
}
