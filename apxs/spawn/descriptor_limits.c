/*
 * The limit on open files (RLIMIT_NOFILE), and the descriptors that httpd's parent and guardians
 * keep for daemons.
 *
 * What does not fit into the hard limit is refused when the configuration is read: a start that
 * fails halfway, after httpd has detached, would look like a success. If it fits into the hard
 * limit only, the parent raises its soft limit. All others get the original one back: a program
 * that uses select() cannot handle descriptors above 1,023, and some close all up to the limit.
 */
#include "slots/retained.h"
#include "slots/slots.h"
#include "spawn/spawn.h"

#include <sys/resource.h>

/* In the parent: the statistics pages, and the pipe for the output; those of spare pools, if there
 * are some. A restart may need those of two configurations. */
#define OF_GROUP   2
#define OF_SPARE   1
#define AT_RESTART 2
/* In a guardian, which has the parent's limit: two sockets and a lifeline; and what it needs
 * itself, with the lifelines of processes that are being replaced. */
#define OF_PROCESS  3
#define OF_GUARDIAN 32
/* What httpd itself opens, about, */
#define OF_HTTPD 32
/* and for each virtual host: an ErrorLog and a CustomLog. */
#define OF_SERVER 2

/* The same in every version of this module. */
#define RETAINED_KEY "mod_wsgid.descriptor_limits"

/* Soft limits of the parent, kept over restarts. */
typedef struct {
    rlim_t original; /* that httpd was started with */
    rlim_t ours;     /* that we have set */
} retained_limits_t;

static int needed_by_httpd(const server_rec *s)
{
    int count = OF_HTTPD;

    for (; s; s = s->next) {
        count += OF_SERVER;
    }
    return count;
}

static int count_groups(void)
{
    const apr_array_header_t *groups = wsgid_groups_all();

    return groups ? groups->nelts : 0;
}

/* For the group that needs most. */
static int needed_by_group(void)
{
    int i;

    for (i = 0; i < count_groups(); i++) {
        const wsgid_group_t *group = APR_ARRAY_IDX(wsgid_groups_all(), i, const wsgid_group_t *);

        if (wsgid_pools_count(group) > wsgid_pools_fixed(group)) {
            return OF_GROUP + OF_SPARE;
        }
    }
    return OF_GROUP;
}

static rlim_t needed_in_parent(const server_rec *s)
{
    return (rlim_t)count_groups() * (rlim_t)needed_by_group() + (rlim_t)needed_by_httpd(s);
}

/* How many processes of the group the configuration names. */
static int count_processes(const wsgid_group_t *group)
{
    int count = 0;
    int i;

    for (i = 0; i == 0 || i < wsgid_pools_fixed(group); i++) {
        count += wsgid_pools_get(group, i)->most;
    }
    return count;
}

/* NULL: there is none. */
static const wsgid_group_t *find_largest(void)
{
    const wsgid_group_t *largest = NULL;
    int i;

    for (i = 0; i < count_groups(); i++) {
        const wsgid_group_t *group = APR_ARRAY_IDX(wsgid_groups_all(), i, const wsgid_group_t *);

        if (!largest || count_processes(group) > count_processes(largest)) {
            largest = group;
        }
    }
    return largest;
}

static rlim_t needed_in_guardian(const wsgid_group_t *group)
{
    return group ? (rlim_t)count_processes(group) * OF_PROCESS + OF_GUARDIAN : 0;
}

int wsgid_descriptor_limits_check(const server_rec *s)
{
    const wsgid_group_t *largest = find_largest();
    struct rlimit limits;

    if (!largest || getrlimit(RLIMIT_NOFILE, &limits) != 0) {
        return OK;
    }
    if (needed_in_parent(s) > limits.rlim_max) {
        ap_log_error(APLOG_MARK, APLOG_CRIT, 0, s,
                     "WSGID0121: httpd's hard limit of %lu open files is too low: %d daemon groups "
                     "need %d each in httpd's parent, and httpd itself needs about %d, which makes "
                     "%lu: raise the limit (ulimit -Hn, LimitNOFILE= of its service), or define "
                     "fewer groups",
                     (unsigned long)limits.rlim_max, count_groups(), needed_by_group(),
                     needed_by_httpd(s), (unsigned long)needed_in_parent(s));
        return HTTP_INTERNAL_SERVER_ERROR;
    }
    if (needed_in_guardian(largest) > limits.rlim_max) {
        ap_log_error(APLOG_MARK, APLOG_CRIT, 0, s,
                     "WSGID0121: httpd's hard limit of %lu open files is too low: the %d processes "
                     "of group '%s' need %d each in their guardian, which itself needs about %d, "
                     "which makes %lu: raise the limit (ulimit -Hn, LimitNOFILE= of its service), "
                     "or lower processes=",
                     (unsigned long)limits.rlim_max, count_processes(largest), largest->label,
                     OF_PROCESS, OF_GUARDIAN, (unsigned long)needed_in_guardian(largest));
        return HTTP_INTERNAL_SERVER_ERROR;
    }
    return OK;
}

void wsgid_descriptor_limits_raise(const server_rec *s)
{
    retained_limits_t *retained = wsgid_retained_find(RETAINED_KEY, sizeof(*retained));
    struct rlimit limits;

    if (getrlimit(RLIMIT_NOFILE, &limits) != 0) {
        return;
    }
    if (limits.rlim_cur != retained->ours) { /* also if somebody has set it meanwhile */
        retained->original = limits.rlim_cur;
    }
    if (limits.rlim_cur < AT_RESTART * needed_in_parent(s)
        || limits.rlim_cur < needed_in_guardian(find_largest())) {
        limits.rlim_cur = limits.rlim_max;
        (void)setrlimit(RLIMIT_NOFILE, &limits); /* it is ours to raise, up to the hard one */
    }
    retained->ours = limits.rlim_cur;
}

int wsgid_descriptor_limits_restore(void)
{
    const retained_limits_t *retained = ap_retained_data_get(RETAINED_KEY);
    struct rlimit limits;

    if (!retained || retained->original >= retained->ours) {
        return 0;
    }
    if (getrlimit(RLIMIT_NOFILE, &limits) != 0) {
        return -1;
    }
    limits.rlim_cur = retained->original < limits.rlim_max ? retained->original : limits.rlim_max;
    return setrlimit(RLIMIT_NOFILE, &limits);
}
