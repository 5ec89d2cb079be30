/*
 * The slots that the parent keeps. A slot is created for a group, found again after a restart, and
 * released when nobody can send requests to it any more. Its listeners and its shared memory come
 * and go with it.
 */
#include "guardian/guardian.h"
#include "config/scopes.h"
#include "spawn/spawn.h"

#include <unistd.h>

#define RETAINED_KEY WSGID_RETAINED("slot_list")

typedef struct {
    wsgid_slot_record_t *first;
    unsigned groups; /* the last number that was given to a group */
} slot_list_t;

/* This configuration only, as all static data is: the module is loaded anew on each restart. */
static slot_list_t *slot_list;
static server_rec *main_server;
static apr_uint32_t configuration;

wsgid_slot_record_t *wsgid_slot_list_first(void)
{
    return slot_list ? slot_list->first : NULL;
}

/* ---- finding and creating */

/* Who may open what belongs to a slot. A slot is found again only by the same identity: nothing
 * that another user has held is trusted. */
static const char *identity_of(apr_pool_t *p, const wsgid_group_t *group)
{
    const wsgid_identity_t *identity = group->identity;
    const char *text;
    int i;

    text = apr_psprintf(p, "%s %s %ld:%ld %" APR_INT64_T_FMT, WSGID_LAYOUT,
                        WSGID_TEXT(group, CHROOT) ? WSGID_TEXT(group, CHROOT) : "",
                        (long)identity->uid, (long)identity->gid,
                        (apr_int64_t)WSGID_NUMBER(group, SOCKET_USER));
    for (i = 0; i < identity->group_count; i++) {
        text = apr_psprintf(p, "%s,%ld", text, (long)identity->groups[i]);
    }
    return text;
}

static wsgid_slot_record_t *find_slot(const wsgid_group_t *group,
                                      const wsgid_socket_directory_t *directory,
                                      const char *identity, int index)
{
    wsgid_slot_record_t *slot;

    for (slot = slot_list->first; slot; slot = slot->next) {
        if (slot->index == index && !strcmp(slot->name, group->name) && slot->directory == directory
            && !strcmp(slot->identity, identity)) {
            return slot;
        }
    }
    return NULL;
}

/* Slots in another directory or of another identity keep theirs, and their paths must differ. */
static unsigned number_of(const wsgid_group_t *group, const wsgid_socket_directory_t *directory,
                          const char *identity)
{
    const wsgid_slot_record_t *slot;

    for (slot = slot_list->first; slot; slot = slot->next) {
        if (!strcmp(slot->name, group->name) && slot->directory == directory
            && !strcmp(slot->identity, identity)) {
            return slot->number;
        }
    }
    return ++slot_list->groups;
}

static void append_slot(wsgid_slot_record_t *slot)
{
    wsgid_slot_record_t **link = &slot_list->first;

    while (*link) {
        link = &(*link)->next;
    }
    *link = slot;
}

static wsgid_slot_record_t *new_slot(const wsgid_group_t *group,
                                     const wsgid_socket_directory_t *directory,
                                     const char *identity, int index)
{
    apr_pool_t *pool;
    wsgid_slot_record_t *slot;
    int i;

    apr_pool_create(&pool, main_server->process->pool);
    slot = apr_pcalloc(pool, sizeof(*slot));
    slot->pool = pool;
    slot->name = apr_pstrdup(pool, group->name);
    slot->label = apr_pstrdup(pool, group->label);
    slot->directory = directory;
    slot->number = number_of(group, directory, identity);
    slot->identity = apr_pstrdup(pool, identity);
    slot->index = index;
    slot->path = wsgid_socket_directory_requests(pool, directory, slot->number, index);
    slot->control_path = wsgid_socket_directory_control(pool, directory, slot->number, index);
    slot->listener = slot->control = -1;
    slot->server = main_server;
    for (i = 0; i < WSGID_SLOT_PROCESSES; i++) {
        slot->processes[i].slot = slot;
        slot->processes[i].lifeline = -1;
    }
    append_slot(slot);
    return slot;
}

static apr_status_t open_slot(wsgid_slot_record_t *slot, const wsgid_group_t *group)
{
    struct sockaddr_un address;
    apr_status_t status = wsgid_slots_create(&slot->shared, slot->pool);

    if (status != APR_SUCCESS) {
        return status;
    }
    status = wsgid_listener_open(slot->path, (uid_t)WSGID_NUMBER(group, SOCKET_USER),
                                 (int)WSGID_NUMBER(group, LISTEN_BACKLOG), &slot->listener);
    if (status != APR_SUCCESS) {
        return status;
    }
    wsgid_socket_directory_address(slot->directory, slot->path, &address);
    wsgid_slots_set_address(slot->shared, &address);
    return wsgid_listener_open(slot->control_path, (uid_t)WSGID_NUMBER(group, USER),
                               WSGID_CONTROL_BACKLOG, &slot->control);
}

/* Sockets that a guardian has created again are not the parent's: it has to create them, too. */
static void close_dead(wsgid_slot_record_t *slot)
{
    apr_uint32_t rebound = wsgid_ledger_rebound(slot->shared);

    if (slot->rebound != rebound) {
        (void)unlink(slot->path);
        (void)unlink(slot->control_path);
    }
    slot->rebound = rebound;
}

static apr_status_t open_or_adapt(wsgid_slot_record_t *slot, const wsgid_group_t *group)
{
    apr_status_t status;

    if (slot->control < 0) {
        return open_slot(slot, group);
    }
    close_dead(slot);
    status = wsgid_listener_adapt(slot->path, (uid_t)WSGID_NUMBER(group, SOCKET_USER),
                                  (int)WSGID_NUMBER(group, LISTEN_BACKLOG), &slot->listener);
    return status != APR_SUCCESS
               ? status
               : wsgid_listener_adapt(slot->control_path, (uid_t)WSGID_NUMBER(group, USER),
                                      WSGID_CONTROL_BACKLOG, &slot->control);
}

/* From now on the slot belongs to this group, and needs a process of this configuration. */
static void attach(wsgid_slot_record_t *slot, wsgid_group_t *group)
{
    slot->group = group;
    slot->server = group->server;
    slot->last_used = configuration;
    wsgid_ledger_set_wanted(slot->shared, configuration);
    group->slots[slot->index] = slot->shared;
}

/* ---- preparing what the configuration asks for */

static int prepare_slot(wsgid_group_t *group, const wsgid_socket_directory_t *directory,
                        const char *identity, int index)
{
    wsgid_slot_record_t *slot = find_slot(group, directory, identity, index);
    apr_status_t status;

    if (!slot) {
        slot = new_slot(group, directory, identity, index);
    }
    status = open_or_adapt(slot, group);
    if (status != APR_SUCCESS) {
        ap_log_error(APLOG_MARK, APLOG_CRIT, status, main_server,
                     "WSGID0060: group '%s' slot %d: cannot create its socket %s: check that "
                     "directory (WSGISocketPrefix names another), and httpd's limits of memory and "
                     "open files",
                     slot->label, index, slot->path);
        return HTTP_INTERNAL_SERVER_ERROR;
    }
    attach(slot, group);
    return OK;
}

static int prepare_group(apr_pool_t *pconf, apr_pool_t *ptemp, wsgid_group_t *group,
                         const wsgid_socket_directory_t *directory)
{
    const char *identity;
    int index;
    int result = OK;

    group->identity = wsgid_privileges_look_up(pconf, group);
    if (!group->identity) {
        return HTTP_INTERNAL_SERVER_ERROR;
    }
    identity = identity_of(ptemp, group);
    group->slot_count = (int)WSGID_NUMBER(group, PROCESSES);
    group->slots = apr_pcalloc(pconf, group->slot_count * sizeof(*group->slots));
    for (index = 0; index < group->slot_count && result == OK; index++) {
        result = prepare_slot(group, directory, identity, index);
    }
    return result;
}

/* NULL, or why the sockets cannot be there. */
static const char *find_directory(apr_pool_t *p, const char *prefix,
                                  const wsgid_socket_directory_t **directory)
{
    const char *wrong;

    if (!prefix) {
        return "DefaultRuntimeDir is not a directory";
    }
    wsgid_socket_directory_restore(p, prefix);
    wrong = wsgid_socket_directory_check(p, prefix);
    if (wrong) {
        return wrong;
    }
    if (!slot_list->first) {
        wsgid_leftovers_sweep(p, main_server, prefix);
    }
    return wsgid_socket_directory_prepare(p, main_server, prefix, directory);
}

static int prepare_directory(apr_pool_t *p, const char *prefix,
                             const wsgid_socket_directory_t **directory)
{
    const char *wrong = find_directory(p, prefix, directory);

    if (wrong) {
        ap_log_error(
            APLOG_MARK, APLOG_CRIT, 0, main_server,
            "WSGID0061: cannot create sockets: %s; set WSGISocketPrefix to a short path in "
            "a directory of root's that only root can write to",
            wrong);
        return HTTP_INTERNAL_SERVER_ERROR;
    }
    return OK;
}

static int prepare_groups(apr_pool_t *pconf, apr_pool_t *ptemp)
{
    const apr_array_header_t *groups = wsgid_groups_all();
    const wsgid_socket_directory_t *directory;
    int result;
    int i;

    if (!groups || !groups->nelts) {
        return OK;
    }
    result = prepare_directory(ptemp, wsgid_scopes_socket_prefix(ptemp, main_server), &directory);
    for (i = 0; i < groups->nelts && result == OK; i++) {
        result = prepare_group(pconf, ptemp, APR_ARRAY_IDX(groups, i, wsgid_group_t *), directory);
    }
    return result;
}

static void find_slot_list(server_rec *s)
{
    wsgid_slot_record_t *slot;

    slot_list = ap_retained_data_get(RETAINED_KEY);
    if (!slot_list) {
        slot_list = ap_retained_data_create(RETAINED_KEY, sizeof(*slot_list));
    }
    main_server = s;
    for (slot = slot_list->first; slot; slot = slot->next) {
        slot->server = s; /* until it is attached to a group */
    }
}

int wsgid_slot_list_prepare(apr_pool_t *pconf, apr_pool_t *ptemp, server_rec *s,
                            apr_uint32_t number)
{
    wsgid_slot_record_t *slot;
    int result;

    configuration = number;
    find_slot_list(s);
    result = prepare_groups(pconf, ptemp);
    /* Not before: a slot that is not wanted yet would look as if it had been removed. */
    for (slot = slot_list->first; slot && result == OK; slot = slot->next) {
        wsgid_ledger_set_current(slot->shared, configuration);
    }
    return result;
}

/* ---- releasing */

static void close_listener(int *listener, const char *path)
{
    if (*listener >= 0) {
        (void)close(*listener);
        (void)unlink(path); /* it may be gone already */
    }
    *listener = -1;
}

static void close_listeners(wsgid_slot_record_t *slot)
{
    close_listener(&slot->listener, slot->path);
    close_listener(&slot->control, slot->control_path);
}

void wsgid_slot_list_free(wsgid_slot_record_t *slot)
{
    wsgid_slot_record_t **link;

    for (link = &slot_list->first; *link; link = &(*link)->next) {
        if (*link == slot) {
            *link = slot->next;
            break;
        }
    }
    close_listeners(slot);
    if (slot->shared) {
        wsgid_slots_destroy(slot->shared);
    }
    apr_pool_destroy(slot->pool);
}

void wsgid_slot_list_step_phase(const wsgid_slot_record_t *slot, wsgid_phase_event_e event,
                                apr_time_t next_try)
{
    wsgid_slot_name_t name = { slot->server, slot->label, slot->index };

    wsgid_phase_step(slot->shared, &name, event, next_try);
}

void wsgid_slot_list_release_before(apr_uint32_t oldest)
{
    wsgid_slot_record_t *slot;
    wsgid_slot_record_t *next;

    for (slot = slot_list->first; slot; slot = next) {
        next = slot->next;
        if (!slot->group && slot->last_used < oldest) {
            wsgid_slot_list_free(slot);
        }
    }
}

void wsgid_slot_list_detach(void)
{
    wsgid_slot_record_t *slot;

    for (slot = slot_list->first; slot; slot = slot->next) {
        slot->group = NULL;
        slot->server = NULL;
    }
}

static void close_descriptor(int *fd)
{
    if (*fd >= 0) {
        (void)close(*fd);
    }
    *fd = -1;
}

void wsgid_slot_list_enter_child(void)
{
    wsgid_slot_record_t *slot;

    for (slot = slot_list->first; slot; slot = slot->next) {
        close_descriptor(&slot->listener);
        close_descriptor(&slot->control);
        wsgid_slots_enter_child(slot->shared);
    }
}

void wsgid_slot_list_reopen(const wsgid_group_t *group)
{
    wsgid_slot_record_t *slot;
    apr_status_t status = APR_SUCCESS;

    for (slot = slot_list->first; slot; slot = slot->next) {
        if (slot->group == group && slot->rebound != wsgid_ledger_rebound(slot->shared)
            && status == APR_SUCCESS) {
            status = open_or_adapt(slot, group);
        }
    }
    if (status != APR_SUCCESS) {
        ap_log_error(APLOG_MARK, APLOG_CRIT, status, group->server,
                     "WSGID0060: group '%s': cannot create its sockets again: check their "
                     "directory, and httpd's limits of memory and open files",
                     group->label);
    }
}

void wsgid_slot_list_share(const wsgid_group_t *group, int with_forks)
{
    wsgid_slot_record_t *slot;

    for (slot = slot_list->first; slot; slot = slot->next) {
        if (slot->group == group) {
            wsgid_ledger_share(slot->shared, with_forks);
        }
    }
}

void wsgid_slot_list_end(void)
{
    wsgid_slot_record_t *slot;

    for (slot = slot_list ? slot_list->first : NULL; slot; slot = slot->next) {
        if (slot->shared) { /* else it could not be created */
            wsgid_ledger_set_current(slot->shared, APR_UINT32_MAX);
        }
    }
}

void wsgid_slot_list_remove_sockets(const wsgid_group_t *group)
{
    const wsgid_slot_record_t *slot;

    for (slot = slot_list->first; slot; slot = slot->next) {
        if (slot->group == group) {
            (void)unlink(slot->path);
            (void)unlink(slot->control_path);
        }
    }
}
