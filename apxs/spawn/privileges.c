/*
 * From root to the group's user. Before this, the forked process uses root's rights only to read
 * env-file=.
 *
 * Rules: only the parent uses the name service (wsgid_privileges_look_up). In the forked process
 * each step is a row of the table `steps`. The order matters: limits and priority first, and the
 * chroot before the ids, because these need root; the supplementary groups before the user, because
 * they need root, too; then the capabilities, and the proof that root is gone; the home directory
 * last, because the user itself must be able to enter it. Each step is checked. The first that
 * fails is logged and ends the process.
 *
 * An ordinary user may start httpd with capabilities of its own (ambient ones, as systemd gives):
 * no process keeps any of them.
 *
 * PR_SET_NO_NEW_PRIVS is deliberately not set: it would break every application that sends mail
 * through sendmail (setgid postdrop) or calls sudo. PR_SET_PDEATHSIG is not needed: the lifeline
 * shows a daemon that httpd has ended, and lets it finish its requests.
 */
#include "config/accounts.h"
#include "spawn/spawn.h"

#include <grp.h>
#include <linux/capability.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#define MAX_GROUPS 65536 /* NGROUPS_MAX of Linux */
#define CPU_GRACE  5     /* seconds between SIGXCPU, which an application may handle, and SIGKILL */

typedef struct {
    const wsgid_group_t *group;
    const wsgid_identity_t *identity;
    const char *detail; /* what a step was doing, for its log line */
} drop_t;

static gid_t found[MAX_GROUPS]; /* takes memory only as far as it is used */

/* ---- in the parent: looking up the user */

/* Leaves out root's group unless it is the user's primary group: the configuration has to name it.
 */
static int without_root(gid_t *groups, int count, gid_t primary)
{
    int kept = 0;
    int i;

    for (i = 0; i < count; i++) {
        if (groups[i] != 0 || primary == 0) {
            groups[kept++] = groups[i];
        }
    }
    return kept;
}

/* A user without a name is in its primary group only. */
static int list_groups(apr_pool_t *p, wsgid_identity_t *identity)
{
    int count = MAX_GROUPS;

    *found = identity->gid;
    if (!identity->name) {
        count = 1;
    }
    else if (getgrouplist(identity->name, identity->gid, found, &count) < 0) {
        return -1;
    }
    identity->group_count = without_root(found, count, identity->gid);
    identity->groups = apr_pmemdup(p, found, identity->group_count * sizeof(*found));
    return 0;
}

static int groups_named(apr_pool_t *p, wsgid_identity_t *identity, const apr_array_header_t *names)
{
    gid_t *groups = apr_palloc(p, (names->nelts + 1) * sizeof(*groups));
    int i;

    groups[0] = identity->gid;
    for (i = 0; i < names->nelts; i++) {
        groups[i + 1] = wsgid_accounts_group(p, APR_ARRAY_IDX(names, i, const char *))->id;
    }
    identity->groups = groups;
    identity->group_count = names->nelts + 1;
    return 0;
}

const wsgid_identity_t *wsgid_privileges_look_up(apr_pool_t *p, const wsgid_group_t *group)
{
    const wsgid_value_t *names = &group->value[WSGID_OPT_SUPPLEMENTARY_GROUPS];
    const wsgid_account_t *user = wsgid_accounts_user(p, WSGID_TEXT(group, USER));
    int is_root = geteuid() == 0;
    gid_t gid = is_root ? (gid_t)WSGID_NUMBER(group, GROUP) : getegid();
    const char *key = apr_psprintf(p, "mod_wsgid.identity\n%s\n%ld\n%s", WSGID_TEXT(group, USER),
                                   (long)gid, names->text ? names->text : "");
    wsgid_identity_t *identity;
    void *known = NULL;

    (void)apr_pool_userdata_get(&known, key, p); /* cannot fail */
    if (known) {
        return known;
    }
    identity = apr_pcalloc(p, sizeof(*identity));
    identity->changes = is_root;
    identity->uid = is_root ? (uid_t)WSGID_NUMBER(group, USER) : geteuid();
    identity->gid = gid;
    identity->name = user->name;
    identity->home = user->home && *user->home == '/' ? user->home : "/";
    if (is_root
        && (names->list ? groups_named(p, identity, names->list) : list_groups(p, identity)) != 0) {
        ap_log_error(
            APLOG_MARK, APLOG_ERR, 0, group->server,
            "WSGID0070: group '%s': cannot look up the supplementary groups of uid %ld: correct "
            "supplementary-groups=, or check the system's group database (getent group)",
            group->label, (long)identity->uid);
        return NULL;
    }
    (void)apr_pool_userdata_setn(identity, key, NULL, p);
    return identity;
}

/* ---- in the forked process: limits */

/* Sets the soft and the hard limit, unless the option is 0 or missing. Does not raise the hard
 * limit. */
static int limit(int resource, const wsgid_value_t *value, rlim_t grace)
{
    struct rlimit limits;

    if (!value->text || value->number <= 0) {
        return 0;
    }
    if (getrlimit(resource, &limits) != 0) {
        return -1;
    }
    if (limits.rlim_max == RLIM_INFINITY || (rlim_t)value->number + grace < limits.rlim_max) {
        limits.rlim_max = (rlim_t)value->number + grace;
    }
    limits.rlim_cur = (rlim_t)value->number < limits.rlim_max ? (rlim_t)value->number
                                                              : limits.rlim_max;
    return setrlimit(resource, &limits);
}

static int set_limits(drop_t *drop)
{
    static const struct {
        wsgid_option_e option;
        int resource;
        rlim_t grace;
    } limits[] = { { WSGID_OPT_CPU_TIME_LIMIT, RLIMIT_CPU, CPU_GRACE },
                   { WSGID_OPT_STACK_SIZE, RLIMIT_STACK, 0 },
                   { WSGID_OPT_MEMORY_LIMIT, RLIMIT_DATA, 0 },
                   { WSGID_OPT_VIRTUAL_MEMORY_LIMIT, RLIMIT_AS, 0 } };
    int failed = wsgid_descriptor_limits_restore();
    apr_size_t i;

    drop->detail = "open files";
    for (i = 0; !failed && i < sizeof(limits) / sizeof(*limits); i++) {
        drop->detail = wsgid_options_name(limits[i].option);
        failed = limit(limits[i].resource, &drop->group->value[limits[i].option], limits[i].grace);
    }
    return failed;
}

static int reset_oom_score(drop_t *drop)
{
    (void)drop;
    return wsgid_oom_score_restore();
}

static int set_priority(drop_t *drop)
{
    const wsgid_value_t *value = &drop->group->value[WSGID_OPT_CPU_PRIORITY];

    drop->detail = "cpu-priority";
    return value->text ? setpriority(PRIO_PROCESS, 0, (int)value->number) : 0;
}

/* ---- identity */

static int refuse_root(drop_t *drop)
{
    drop->detail = "an application never runs as root";
    errno = EPERM;
    return drop->identity->changes && drop->identity->uid == 0 ? -1 : 0;
}

static int change_root(drop_t *drop)
{
    const char *directory = WSGID_TEXT(drop->group, CHROOT);

    drop->detail = directory;
    if (!directory || !drop->identity->changes) {
        return 0;
    }
    return chdir(directory) != 0 || chroot(".") != 0 || chdir("/") != 0 ? -1 : 0;
}

static int set_gid(drop_t *drop)
{
    return drop->identity->changes
               ? setresgid(drop->identity->gid, drop->identity->gid, drop->identity->gid)
               : 0;
}

static int set_groups(drop_t *drop)
{
    return drop->identity->changes ? setgroups(drop->identity->group_count, drop->identity->groups)
                                   : 0;
}

static int set_uid(drop_t *drop)
{
    return drop->identity->changes
               ? setresuid(drop->identity->uid, drop->identity->uid, drop->identity->uid)
               : 0;
}

/* ---- capabilities */

/* What a program that is set-uid root gets. This needs CAP_SETPCAP; whoever took it from httpd has
 * decided about the rest, too. */
static int empty_bounding_set(drop_t *drop)
{
    int capability;

    if (WSGID_NUMBER(drop->group, PRIVILEGED_PROGRAMS)) {
        return 0;
    }
    for (capability = 0; prctl(PR_CAPBSET_READ, capability, 0, 0, 0) >= 0; capability++) {
        if (prctl(PR_CAPBSET_DROP, capability, 0, 0, 0) != 0) {
            return errno == EPERM ? 0 : -1;
        }
    }
    return 0;
}

/* Permitted, effective, inheritable; and ambient, which the kernel keeps within the others. */
static int drop_capabilities(drop_t *drop)
{
    struct __user_cap_header_struct header = { _LINUX_CAPABILITY_VERSION_3, 0 };
    struct __user_cap_data_struct none[_LINUX_CAPABILITY_U32S_3];

    (void)drop;
    memset(none, 0, sizeof(none));
    return (int)syscall(SYS_capset, &header, none);
}

/* ---- proof */

static int is_named(const wsgid_identity_t *identity, gid_t gid)
{
    int i;

    for (i = 0; i < identity->group_count; i++) {
        if (identity->groups[i] == gid) {
            return 1;
        }
    }
    return 0;
}

static int groups_are_right(const wsgid_identity_t *identity)
{
    int count = getgroups(MAX_GROUPS, found);
    int i;

    for (i = 0; i < count; i++) {
        if (!is_named(identity, found[i])) {
            return 0;
        }
    }
    return count >= 0;
}

static int ids_are_right(const wsgid_identity_t *identity)
{
    uid_t uids[3];
    gid_t gids[3];
    int i;

    if (getresuid(&uids[0], &uids[1], &uids[2]) != 0
        || getresgid(&gids[0], &gids[1], &gids[2]) != 0) {
        return 0;
    }
    for (i = 0; i < 3; i++) {
        if (uids[i] != identity->uid || gids[i] != identity->gid) {
            return 0;
        }
    }
    return 1;
}

static int has_no_capabilities(void)
{
    struct __user_cap_header_struct header = { _LINUX_CAPABILITY_VERSION_3, 0 };
    struct __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3];
    int i;

    memset(data, 0, sizeof(data));
    if (syscall(SYS_capget, &header, data) != 0) {
        return 0;
    }
    for (i = 0; i < _LINUX_CAPABILITY_U32S_3; i++) {
        if (data[i].effective || data[i].permitted || data[i].inheritable) {
            return 0;
        }
    }
    return 1;
}

static int root_cannot_be_regained(void)
{
    return setuid(0) != 0 && seteuid(0) != 0 && setreuid((uid_t)-1, 0) != 0;
}

static int prove(drop_t *drop)
{
    errno = EPERM;
    drop->detail = "a user or group id is not as set";
    if (drop->identity->changes && !ids_are_right(drop->identity)) {
        return -1;
    }
    drop->detail = "a supplementary group is left";
    if (drop->identity->changes && !groups_are_right(drop->identity)) {
        return -1;
    }
    drop->detail = "capabilities are left";
    if (!has_no_capabilities()) {
        return -1;
    }
    drop->detail = "the process could become root again";
    return root_cannot_be_regained() ? 0 : -1;
}

/* ---- surroundings */

static int set_mask(drop_t *drop)
{
    if (WSGID_TEXT(drop->group, UMASK)) {
        umask((mode_t)WSGID_NUMBER(drop->group, UMASK));
    }
    return 0;
}

/* home= must work. The home of the user that user= names need not exist. httpd's own user has none
 * for this purpose: its processes are in /, as with mod_wsgi. */
static int enter_home(drop_t *drop)
{
    drop->detail = WSGID_TEXT(drop->group, HOME);
    if (drop->detail) {
        return chdir(drop->detail);
    }
    drop->detail = "/";
    return drop->group->value[WSGID_OPT_USER].given && chdir(drop->identity->home) == 0
               ? 0
               : chdir("/");
}

/* ---- the order */

typedef struct {
    const char *name;
    int (*run)(drop_t *drop);
    const char *fix;
} step_t;

static const step_t steps[] = {
    { "run as root", refuse_root, "name an ordinary user with user=" },
    { "set a resource limit", set_limits,
      "the value must not exceed httpd's own hard limit (ulimit -aH)" },
    { "reset oom_score_adj", reset_oom_score, "/proc must be writable" },
    { "set the priority", set_priority,
      "only root may raise it: start httpd as root, or set cpu-priority= to 0 to 19" },
    { "change the root directory", change_root, "chroot= must be a directory" },
    { "set the group", set_gid, "httpd needs CAP_SETGID" },
    { "set the supplementary groups", set_groups, "httpd needs CAP_SETGID" },
    { "empty the capability bounding set", empty_bounding_set, "allow prctl(PR_CAPBSET_DROP)" },
    { "set the user", set_uid,
      "httpd needs CAP_SETUID, and the user must be allowed another process (ulimit -u)" },
    { "drop all capabilities", drop_capabilities, "allow the system call capset" },
    { "give up root for good", prove, "httpd must run with the usual securebits and capabilities" },
    { "set the umask", set_mask, "" },
    { "enter the home directory", enter_home,
      "home= must be a directory that this user can enter" },
};

static void log_failure(const drop_t *drop, const step_t *step, int error)
{
    const wsgid_identity_t *identity = drop->identity;

    ap_log_error(APLOG_MARK, APLOG_ERR, error, drop->group->server,
                 "WSGID0071: group '%s', user %s (uid %ld): cannot "
                 "%s%s%s%s; %s",
                 drop->group->label, identity->name ? identity->name : "without a name",
                 (long)identity->uid, step->name, drop->detail ? " (" : "",
                 drop->detail ? drop->detail : "", drop->detail ? ")" : "", step->fix);
}

int wsgid_privileges_drop(const wsgid_group_t *group)
{
    drop_t drop = { group, group->identity, NULL };
    apr_size_t i;

    for (i = 0; i < sizeof(steps) / sizeof(*steps); i++) {
        drop.detail = NULL;
        if (steps[i].run(&drop) != 0) {
            log_failure(&drop, &steps[i], errno);
            return -1;
        }
    }
    return 0;
}
