/*
 * The slots that the parent keeps: made for a group or found again after a restart, released when
 * nobody can send to them any more. Listener and shared memory of a slot come and go with it.
 */
#include "supervisor/supervisor.h"

#include "config/scopes.h"

#include <unistd.h>

#define RETAINED_KEY WSGID_RETAINED("slot_list")

typedef struct {
    wsgid_kept_slot_t *first;
    unsigned groups; /* numbers given to groups so far */
} slot_list_t;

/* This configuration only, as all static data is: the module is loaded anew on each restart. */
static slot_list_t *slot_list;
static server_rec *main_server;
static apr_uint32_t configuration;

wsgid_kept_slot_t *wsgid_slot_list_first(void)
{
    return slot_list ? slot_list->first : NULL;
}

/* ---- making and finding */

static wsgid_kept_slot_t *find_slot(const wsgid_group_t *group, const char *prefix, int index)
{
    wsgid_kept_slot_t *slot;

    for (slot = slot_list->first; slot; slot = slot->next) {
        if (!slot->released && slot->index == index && !strcmp(slot->name, group->name)
            && !strcmp(slot->prefix, prefix)) {
            return slot;
        }
    }
    return NULL;
}

static unsigned number_of(const wsgid_group_t *group)
{
    const wsgid_kept_slot_t *slot;

    for (slot = slot_list->first; slot; slot = slot->next) {
        if (!slot->released && !strcmp(slot->name, group->name)) {
            return slot->number;
        }
    }
    return ++slot_list->groups;
}

/* In the order of the configuration. */
static void append_slot(wsgid_kept_slot_t *slot)
{
    wsgid_kept_slot_t **link = &slot_list->first;

    while (*link) {
        link = &(*link)->next;
    }
    *link = slot;
}

static wsgid_kept_slot_t *new_slot(const wsgid_group_t *group, const char *prefix, int index)
{
    apr_pool_t *pool;
    wsgid_kept_slot_t *slot;
    int entry;

    apr_pool_create(&pool, main_server->process->pool);
    slot = apr_pcalloc(pool, sizeof(*slot));
    slot->pool = pool;
    slot->name = apr_pstrdup(pool, group->name);
    slot->label = apr_pstrdup(pool, group->label);
    slot->prefix = apr_pstrdup(pool, prefix);
    slot->number = number_of(group);
    slot->index = index;
    slot->path = wsgid_listener_path(pool, prefix, slot->number, index, WSGID_LISTENER_REQUESTS);
    slot->control_path = wsgid_listener_path(pool, prefix, slot->number, index,
                                             WSGID_LISTENER_CONTROL);
    slot->listener = slot->control = -1;
    slot->server = main_server;
    for (entry = 0; entry < WSGID_SLOT_PROCESSES; entry++) {
        slot->process[entry].slot = slot;
        slot->process[entry].lifeline = -1;
    }
    append_slot(slot);
    return slot;
}

#define CONTROL_BACKLOG 16 /* administrators do not queue */

static apr_status_t open_slot(wsgid_kept_slot_t *slot, const wsgid_group_t *group)
{
    struct sockaddr_un address;
    apr_status_t status = wsgid_slots_create(&slot->memory, slot->pool);

    if (status != APR_SUCCESS) {
        return status;
    }
    status = wsgid_listener_open(slot->path, (uid_t)WSGID_NUMBER(group, SOCKET_USER),
                                 (int)WSGID_NUMBER(group, LISTEN_BACKLOG), &slot->listener,
                                 &address);
    if (status != APR_SUCCESS) {
        return status;
    }
    wsgid_slots_set_address(slot->memory, &address);
    return wsgid_listener_open(slot->control_path, (uid_t)WSGID_NUMBER(group, SOCKET_USER),
                               CONTROL_BACKLOG, &slot->control, &address);
}

static apr_status_t open_or_adapt(wsgid_kept_slot_t *slot, const wsgid_group_t *group)
{
    apr_status_t status;

    if (slot->control < 0) {
        return open_slot(slot, group);
    }
    status = wsgid_listener_adapt(slot->path, (uid_t)WSGID_NUMBER(group, SOCKET_USER),
                                  (int)WSGID_NUMBER(group, LISTEN_BACKLOG), &slot->listener);
    return status != APR_SUCCESS
               ? status
               : wsgid_listener_adapt(slot->control_path, (uid_t)WSGID_NUMBER(group, SOCKET_USER),
                                      CONTROL_BACKLOG, &slot->control);
}

/* From now on the slot is this group's, and a process of this configuration is wanted in it. */
static void attach(wsgid_kept_slot_t *slot, wsgid_group_t *group)
{
    slot->group = group;
    slot->server = group->server;
    slot->wanted = slot->last_used = configuration;
    slot->failures = slot->brief = 0;
    slot->delay = 0;
    slot->fork_failed = 0;
    slot->full = 0;
    slot->full_logged = 0;
    slot->shutdown_timeout = WSGID_NUMBER(group, SHUTDOWN_TIMEOUT);
    group->slots[slot->index] = slot->memory;
}

/* ---- what the configuration asks for */

static int prepare_slot(wsgid_group_t *group, const char *prefix, int index)
{
    wsgid_kept_slot_t *slot = find_slot(group, prefix, index);
    apr_status_t status;

    if (!slot) {
        slot = new_slot(group, prefix, index);
    }
    status = open_or_adapt(slot, group);
    if (status != APR_SUCCESS) {
        ap_log_error(
            APLOG_MARK, APLOG_CRIT, status, main_server,
            "WSGID0060: group '%s' slot %d: its socket %s cannot "
            "be made: look at the directory, at WSGISocketPrefix, and at the limits of memory and open files",
            slot->label, index, slot->path);
        return HTTP_INTERNAL_SERVER_ERROR;
    }
    attach(slot, group);
    return OK;
}

static int prepare_group(apr_pool_t *pconf, wsgid_group_t *group, const char *prefix)
{
    int index;
    int result = OK;

    group->slot_count = (int)WSGID_NUMBER(group, PROCESSES);
    group->slots = apr_pcalloc(pconf, group->slot_count * sizeof(*group->slots));
    for (index = 0; index < group->slot_count && result == OK; index++) {
        result = prepare_slot(group, prefix, index);
    }
    return result;
}

static int prepare_directory(apr_pool_t *p, const char *prefix)
{
    const char *wrong = prefix ? wsgid_listener_check_directory(p, prefix)
                               : "DefaultRuntimeDir is no directory";

    if (!wrong) {
        wrong = wsgid_listener_check_reach(p, prefix);
    }
    if (wrong) {
        ap_log_error(APLOG_MARK, APLOG_CRIT, 0, main_server,
                     "WSGID0061: sockets cannot be made under this prefix: %s: "
                     "set WSGISocketPrefix to a path in a directory of root's",
                     wrong);
        return HTTP_INTERNAL_SERVER_ERROR;
    }
    if (!slot_list->first) {
        wsgid_listener_sweep(p, main_server, prefix);
    }
    return OK;
}

static int prepare_groups(apr_pool_t *pconf, apr_pool_t *ptemp)
{
    const apr_array_header_t *groups = wsgid_groups_all();
    const char *prefix = wsgid_scopes_socket_prefix(ptemp, main_server);
    int result;
    int i;

    if (!groups || !groups->nelts) {
        return OK;
    }
    result = prepare_directory(ptemp, prefix);
    for (i = 0; i < groups->nelts && result == OK; i++) {
        result = prepare_group(pconf, APR_ARRAY_IDX(groups, i, wsgid_group_t *), prefix);
    }
    return result;
}

static void find_slot_list(server_rec *s)
{
    wsgid_kept_slot_t *slot;

    slot_list = ap_retained_data_get(RETAINED_KEY);
    if (!slot_list) {
        slot_list = ap_retained_data_create(RETAINED_KEY, sizeof(*slot_list));
    }
    main_server = s;
    for (slot = slot_list->first; slot; slot = slot->next) {
        slot->server = s; /* until a group takes it */
    }
}

int wsgid_slot_list_prepare(apr_pool_t *pconf, apr_pool_t *ptemp, server_rec *s,
                            apr_uint32_t number)
{
    find_slot_list(s);
    configuration = number;
    return prepare_groups(pconf, ptemp);
}

/* ---- letting go */

static void close_listener(int *listener, const char *path)
{
    if (*listener >= 0) {
        (void)close(*listener);
        (void)unlink(path); /* whoever removed it before us did our work */
    }
    *listener = -1;
}

static void close_listeners(wsgid_kept_slot_t *slot)
{
    close_listener(&slot->listener, slot->path);
    close_listener(&slot->control, slot->control_path);
}

void wsgid_slot_list_free(wsgid_kept_slot_t *slot)
{
    wsgid_kept_slot_t **link;

    for (link = &slot_list->first; *link; link = &(*link)->next) {
        if (*link == slot) {
            *link = slot->next;
            break;
        }
    }
    close_listeners(slot);
    if (slot->memory) {
        wsgid_slots_destroy(slot->memory);
    }
    apr_pool_destroy(slot->pool);
}

/* Its processes finish what they have read; what is left in the backlog has nobody who waits for
 * it. */
static void release(wsgid_kept_slot_t *slot)
{
    int entry;

    slot->released = 1;
    close_listeners(slot);
    for (entry = 0; entry < WSGID_SLOT_PROCESSES; entry++) {
        wsgid_process_step(&slot->process[entry], WSGID_UNWANTED);
    }
    if (wsgid_process_none_in(slot)) {
        wsgid_slot_list_free(slot);
    }
}

void wsgid_slot_list_release_unused(void)
{
    wsgid_kept_slot_t *slot;
    wsgid_kept_slot_t *next;

    for (slot = slot_list->first; slot; slot = next) {
        next = slot->next;
        if (!slot->group && !slot->released && !wsgid_generations_live_up_to(slot->last_used)) {
            release(slot);
        }
    }
}

void wsgid_slot_list_let_go(void)
{
    wsgid_kept_slot_t *slot;
    int entry;

    for (slot = slot_list->first; slot; slot = slot->next) {
        slot->group = NULL;
        slot->server = NULL;
        for (entry = 0; entry < WSGID_SLOT_PROCESSES; entry++) {
            wsgid_process_unwatch(&slot->process[entry]);
        }
    }
}

static void close_descriptor(int *fd)
{
    if (*fd >= 0) {
        (void)close(*fd);
    }
    *fd = -1;
}

void wsgid_slot_list_close_descriptors(void)
{
    wsgid_kept_slot_t *slot;
    int entry;

    for (slot = slot_list->first; slot; slot = slot->next) {
        for (entry = 0; entry < WSGID_SLOT_PROCESSES; entry++) {
            /* or a daemon would not notice that the parent has died */
            wsgid_process_close_lifeline(&slot->process[entry]);
        }
        close_descriptor(&slot->listener);
        close_descriptor(&slot->control);
        wsgid_slots_close_descriptors(slot->memory);
    }
}
