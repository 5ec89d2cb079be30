/*
 * The configuration that a daemon gets: key\0value\0 ... in a sealed memfd (docs/design.md lists
 * the keys).
 *
 * The parent makes it before the fork. Every option that is marked DAEMON in options.def is
 * included automatically; only keys that are not options are named here.
 */
#include "spawn/spawn.h"

#include "common/logs.h"
#include "common/wire.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

#include "unixd.h"

static void put(FILE *block, const char *key, const char *value)
{
    (void)fwrite(key, 1, strlen(key) + 1, block); /* errors: ferror() at the end */
    (void)fwrite(value, 1, strlen(value) + 1, block);
}

static void put_number(FILE *block, const char *key, long number)
{
    char text[24];

    (void)snprintf(text, sizeof(text), "%ld", number);
    put(block, key, text);
}

/* Processes of an elastic pool that are idle leave: their guardian sees to that. */
static int is_for_daemon(const wsgid_pool_t *pool, wsgid_option_e option)
{
    return wsgid_options_is_for_daemon(option) && pool->group->value[option].text
           && !(option == WSGID_OPT_INACTIVITY_TIMEOUT && wsgid_pools_is_elastic(pool));
}

static void put_option(FILE *block, const wsgid_pool_t *pool, wsgid_option_e option)
{
    const wsgid_value_t *value = &pool->group->value[option];
    int i;

    if (!is_for_daemon(pool, option)) {
        return;
    }
    if (option == WSGID_OPT_PROCESSES) {
        put_number(block, wsgid_options_name(option), pool->most);
        return;
    }
    if (!value->list) {
        put(block, wsgid_options_name(option), value->text);
        return;
    }
    for (i = 0; i < value->list->nelts; i++) {
        put(block, wsgid_options_name(option), APR_ARRAY_IDX(value->list, i, const char *));
    }
}

/* The user whose processes may connect: that of httpd's children. */
static long uid_of_httpd(const wsgid_group_t *group)
{
    if (geteuid() != 0) {
        return (long)geteuid();
    }
    return WSGID_TEXT(group, SOCKET_USER) ? (long)WSGID_NUMBER(group, SOCKET_USER)
                                          : (long)ap_unixd_config.user_id;
}

/* "2.4.71" */
static const char *httpd_version(apr_pool_t *p)
{
    ap_version_t version;

    ap_get_server_revision(&version);
    return apr_psprintf(p, "%d.%d.%d", version.major, version.minor, version.patch);
}

static void put_internal(FILE *block, apr_pool_t *p, const wsgid_start_t *start)
{
    const wsgid_group_t *group = start->group;

    put(block, "group", group->name);
    put(block, "label", start->label);
    if (start->application_group) {
        put(block, "application-group", start->application_group);
    }
    put_number(block, "more-processes", start->pool->most - start->pool->least);
    put_number(block, "slot", start->slot);
    put_number(block, "page", (apr_int64_t)start->page);
    if (group->value[WSGID_OPT_PROCESSES].given) {
        put(block, "processes-named", "1");
    }
    put_number(block, "httpd-uid", uid_of_httpd(group));
    put_number(block, "log-level",
               ap_get_server_module_loglevel(group->server, APLOG_MODULE_INDEX));
    put_number(block, "request-log-level", wsgid_logs_most_verbose());
    put(block, "httpd-version", httpd_version(p));
    put(block, "httpd-description", ap_get_server_description());
    put(block, "httpd-mpm", ap_show_mpm());
    put(block, "httpd-built", ap_get_server_built());
    put_number(block, "wire-version", WSGID_WIRE_VERSION);
    if (WSGID_TEXT(group, SCRIPT_USER)) {
        put_number(block, "script-uid", (long)WSGID_NUMBER(group, SCRIPT_USER));
    }
    if (WSGID_TEXT(group, SCRIPT_GROUP)) {
        put_number(block, "script-gid", (long)WSGID_NUMBER(group, SCRIPT_GROUP));
    }
    if (start->predecessor >= 0) {
        put(block, "successor", "1");
    }
}

static void put_scripts(FILE *block, apr_pool_t *p, const apr_array_header_t *scripts)
{
    int i;

    for (i = 0; i < scripts->nelts; i++) {
        const wsgid_script_t *script = &APR_ARRAY_IDX(scripts, i, wsgid_script_t);
        put(block, "script", apr_pstrcat(p, script->callable, ":", script->path, NULL));
    }
}

/* launch.c has chosen what of the predecessor's own list is believed. */
static void put_loaded(FILE *block, const apr_array_header_t *loaded)
{
    int i;

    for (i = 0; i < loaded->nelts; i++) {
        put(block, "loaded", APR_ARRAY_IDX(loaded, i, const char *));
    }
}

static apr_status_t write_block(const wsgid_start_t *start, apr_pool_t *p, FILE *block)
{
    int option;
    int failed;

    for (option = 0; option < WSGID_OPT_COUNT; option++) {
        put_option(block, start->pool, option);
    }
    put_internal(block, p, start);
    put_scripts(block, p, start->pool->scripts);
    put_loaded(block, start->loaded);
    failed = ferror(block);
    return fclose(block) != 0 || failed ? APR_ENOMEM : APR_SUCCESS;
}

/* Afterwards nobody can change it, not even the daemon. */
static apr_status_t seal(int fd)
{
    int seals = F_SEAL_WRITE | F_SEAL_GROW | F_SEAL_SHRINK | F_SEAL_SEAL;

    return lseek(fd, 0, SEEK_SET) == 0 && fcntl(fd, F_ADD_SEALS, seals) == 0 ? APR_SUCCESS : errno;
}

apr_status_t wsgid_daemon_configuration_make(const wsgid_start_t *start, apr_pool_t *p, int *fd)
{
    int writer = memfd_create("wsgid-configuration", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    FILE *block;
    apr_status_t status;

    *fd = writer >= 0 ? fcntl(writer, F_DUPFD_CLOEXEC, 0) : -1;
    block = *fd >= 0 ? fdopen(writer, "w") : NULL;
    status = block ? write_block(start, p, block) : errno; /* closes the writer */
    if (!block && writer >= 0) {
        (void)close(writer);
    }
    if (status == APR_SUCCESS) {
        status = seal(*fd);
    }
    if (status != APR_SUCCESS && *fd >= 0) {
        (void)close(*fd);
        *fd = -1;
    }
    return status;
}
