/*
 * The limit on open files (RLIMIT_NOFILE) and the descriptors that the parent keeps for daemons.
 *
 * What does not fit into the hard limit is refused when the configuration is read: a start that
 * fails halfway, after httpd has detached, would look like a success. If it fits into the hard
 * limit only, the parent raises its soft limit. All others get the original one back: a program
 * that uses select() cannot handle descriptors above 1,023, and some close all up to the limit.
 */
#include "slots/slots.h"
#include "spawn/spawn.h"

#include <sys/resource.h>

/* Statistics pages and two listeners. */
#define OF_PROCESS (WSGID_SLOT_PROCESSES + 2)
/* A restart may need the sockets and pages of two configurations; and a guardian has a lifeline for
 * each process. */
#define AT_RESTART 2
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

static int count_processes(void)
{
    const apr_array_header_t *groups = wsgid_groups_all();
    int count = 0;
    int i;

    for (i = 0; groups && i < groups->nelts; i++) {
        count += (int)WSGID_NUMBER(APR_ARRAY_IDX(groups, i, const wsgid_group_t *), PROCESSES);
    }
    return count;
}

static int needed_by_httpd(const server_rec *s)
{
    int count = OF_HTTPD;

    for (; s; s = s->next) {
        count += OF_SERVER;
    }
    return count;
}

static rlim_t needed(const server_rec *s)
{
    return (rlim_t)count_processes() * OF_PROCESS + (rlim_t)needed_by_httpd(s);
}

int wsgid_descriptor_limits_check(const server_rec *s)
{
    struct rlimit limits;

    if (getrlimit(RLIMIT_NOFILE, &limits) != 0 || needed(s) <= limits.rlim_max) {
        return OK;
    }
    ap_log_error(APLOG_MARK, APLOG_CRIT, 0, s,
                 "WSGID0121: too many daemon processes for httpd's hard limit of %lu open files: "
                 "%d processes need %d each in httpd's parent, and httpd itself needs about %d, "
                 "which makes %lu: raise the limit (ulimit -Hn, LimitNOFILE= of its service), or "
                 "lower processes=",
                 (unsigned long)limits.rlim_max, count_processes(), OF_PROCESS, needed_by_httpd(s),
                 (unsigned long)needed(s));
    return HTTP_INTERNAL_SERVER_ERROR;
}

void wsgid_descriptor_limits_raise(const server_rec *s)
{
    retained_limits_t *retained = ap_retained_data_get(RETAINED_KEY);
    struct rlimit limits;

    if (getrlimit(RLIMIT_NOFILE, &limits) != 0) {
        return;
    }
    if (!retained) {
        retained = ap_retained_data_create(RETAINED_KEY, sizeof(*retained));
    }
    if (limits.rlim_cur != retained->ours) { /* also if somebody has set it meanwhile */
        retained->original = limits.rlim_cur;
    }
    if (limits.rlim_cur < AT_RESTART * needed(s)) {
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
