/*
 * The slots that the parent keeps. A slot is created for a group, found again after a restart, and
 * released when nobody can send requests to it any more. Its shared memory comes and goes with it;
 * its sockets are the guardians' (sockets.c).
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

/* The group's next slot after this one; after NULL: its first. */
static wsgid_slot_record_t *next_slot(const wsgid_slot_record_t *slot, const wsgid_group_t *group,
                                      const wsgid_socket_directory_t *directory,
                                      const char *identity)
{
    wsgid_slot_record_t *next = slot ? slot->next : slot_list->first;

    while (next
           && (strcmp(next->name, group->name) || next->directory != directory
               || strcmp(next->identity, identity))) {
        next = next->next;
    }
    return next;
}

static wsgid_slot_record_t *find_slot(const wsgid_group_t *group,
                                      const wsgid_socket_directory_t *directory,
                                      const char *identity, int index)
{
    wsgid_slot_record_t *slot = next_slot(NULL, group, directory, identity);

    while (slot && slot->index != index) {
        slot = next_slot(slot, group, directory, identity);
    }
    return slot;
}

/* Slots in another directory or of another identity keep theirs, and their paths must differ. */
static unsigned number_of(const wsgid_group_t *group, const wsgid_socket_directory_t *directory,
                          const char *identity)
{
    const wsgid_slot_record_t *slot = next_slot(NULL, group, directory, identity);

    return slot ? slot->number : ++slot_list->groups;
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
    slot->paths[WSGID_SOCKET_OF_REQUESTS] = wsgid_socket_directory_requests(pool, directory,
                                                                            slot->number, index);
    slot->paths[WSGID_SOCKET_OF_CONTROL] = wsgid_socket_directory_control(pool, directory,
                                                                          slot->number, index);
    memset(slot->sockets, -1, sizeof(slot->sockets));
    slot->server = main_server;
    for (i = 0; i < WSGID_SLOT_PROCESSES; i++) {
        slot->processes[i].slot = slot;
        slot->processes[i].lifeline = -1;
    }
    append_slot(slot);
    return slot;
}

/* From now on the slot belongs to this group, and needs a process of this configuration. */
static void attach(wsgid_slot_record_t *slot, wsgid_group_t *group)
{
    slot->group = group;
    slot->server = group->server;
    slot->last_used = configuration;
    wsgid_ledger_set_wanted(slot->shared, configuration);
    group->slots[group->slot_count++] = slot->shared;
}

/* ---- preparing what the configuration asks for */

/* Creates the slots that the group has not had before. */
static apr_status_t create_missing(const wsgid_group_t *group,
                                   const wsgid_socket_directory_t *directory, const char *identity,
                                   apr_pool_t *ptemp)
{
    int wanted = (int)WSGID_NUMBER(group, PROCESSES);
    wsgid_slot_record_t **missing = apr_pcalloc(ptemp, wanted * sizeof(*missing));
    wsgid_slot_t **shared = apr_pcalloc(ptemp, wanted * sizeof(*shared));
    apr_status_t status;
    int count = 0;
    int i;

    for (i = 0; i < wanted; i++) {
        if (!find_slot(group, directory, identity, i)) {
            missing[count++] = new_slot(group, directory, identity, i);
        }
    }
    status = count ? wsgid_slots_create(shared, count, main_server->process->pool) : APR_SUCCESS;
    for (i = 0; i < count && status == APR_SUCCESS; i++) {
        struct sockaddr_un address;

        wsgid_socket_directory_address(directory, missing[i]->paths[WSGID_SOCKET_OF_REQUESTS],
                                       &address);
        missing[i]->shared = shared[i];
        wsgid_slots_set_name(shared[i], missing[i]->index, &address);
    }
    return status;
}

int wsgid_slot_list_is_wanted(const wsgid_slot_record_t *slot)
{
    return slot->index < (int)WSGID_NUMBER(slot->group, PROCESSES);
}

/* Those that the group is to have, and those that its guardian has to remove. */
static void attach_all(apr_pool_t *pconf, wsgid_group_t *group,
                       const wsgid_socket_directory_t *directory, const char *identity)
{
    wsgid_slot_record_t *slot = NULL;
    int count = 0;

    while ((slot = next_slot(slot, group, directory, identity))) {
        count++;
    }
    group->slots = apr_pcalloc(pconf, count * sizeof(*group->slots));
    while ((slot = next_slot(slot, group, directory, identity))) {
        if (slot->index < (int)WSGID_NUMBER(group, PROCESSES)
            || wsgid_slots_is_open(slot->shared)) {
            attach(slot, group);
        }
    }
}

static int open_output(apr_pool_t *pconf, wsgid_group_t *group)
{
    apr_status_t status = wsgid_output_open(pconf, group);

    if (status == APR_SUCCESS) {
        return OK;
    }
    ap_log_error(APLOG_MARK, APLOG_CRIT, status, group->server,
                 "WSGID0123: group '%s': cannot create the pipe for the output of its processes: "
                 "%s",
                 group->label,
                 status == ENOENT || status == EACCES
                     ? "it is opened as /proc/self/fd/N, so mount /proc for httpd"
                     : "raise httpd's limit of open files (ulimit -n, LimitNOFILE= of its "
                       "service)");
    return HTTP_INTERNAL_SERVER_ERROR;
}

static int prepare_group(apr_pool_t *pconf, apr_pool_t *ptemp, wsgid_group_t *group,
                         const wsgid_socket_directory_t *directory)
{
    const char *identity;
    apr_status_t status;

    group->identity = wsgid_privileges_look_up(pconf, group);
    if (!group->identity) {
        return HTTP_INTERNAL_SERVER_ERROR;
    }
    identity = identity_of(ptemp, group);
    status = create_missing(group, directory, identity, ptemp);
    if (status != APR_SUCCESS) {
        ap_log_error(APLOG_MARK, APLOG_CRIT, status, main_server,
                     "WSGID0060: group '%s': cannot create the shared memory of its processes: "
                     "raise httpd's limits of memory and open files",
                     group->label);
        return HTTP_INTERNAL_SERVER_ERROR;
    }
    attach_all(pconf, group, directory, identity);
    return open_output(pconf, group);
}

/* NULL, or why the sockets cannot be there. */
static const char *find_directory(apr_pool_t *p, const char *prefix,
                                  const wsgid_socket_directory_t **directory)
{
    const char *wrong;

    if (!prefix) {
        return "DefaultRuntimeDir is not a directory";
    }
    wrong = wsgid_socket_directory_create(p, prefix);
    if (wrong || (wrong = wsgid_socket_directory_check(p, prefix))) {
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
            "a directory of root's that no other user can change",
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

    slot_list = wsgid_retained_find(RETAINED_KEY, sizeof(*slot_list));
    main_server = s;
    for (slot = slot_list->first; slot; slot = slot->next) {
        slot->server = s; /* until it is attached to a group */
    }
}

int wsgid_slot_list_prepare(apr_pool_t *pconf, apr_pool_t *ptemp, server_rec *s,
                            apr_uint32_t number)
{
    configuration = number;
    find_slot_list(s);
    return prepare_groups(pconf, ptemp);
}

void wsgid_slot_list_announce(void)
{
    wsgid_slot_record_t *slot;

    for (slot = slot_list->first; slot; slot = slot->next) {
        wsgid_ledger_set_current(slot->shared, configuration);
    }
}

/* ---- releasing */

/* They may be gone already. */
void wsgid_slot_list_unlink(const wsgid_slot_record_t *slot)
{
    int i;

    for (i = 0; i < WSGID_SOCKETS; i++) {
        (void)unlink(slot->paths[i]);
    }
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
    wsgid_slot_list_unlink(slot);
    if (slot->shared) {
        wsgid_slots_destroy(slot->shared);
    }
    apr_pool_destroy(slot->pool);
}

void wsgid_slot_list_set_phase(const wsgid_slot_record_t *slot, wsgid_slot_state_e phase,
                               apr_time_t next_try)
{
    static const char *const names[WSGID_SLOT_READY] = { "down", "waiting", "booting" };
    wsgid_slot_state_e before = wsgid_slots_phase(slot->shared);

    if (phase != before) {
        ap_log_error(APLOG_MARK, APLOG_DEBUG, 0, slot->server,
                     "WSGID0069: group '%s' slot %d: was %s, is %s", slot->label, slot->index,
                     names[before], names[phase]);
    }
    wsgid_slots_set_phase(slot->shared, phase, next_try);
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

void wsgid_slot_list_enter_child(void)
{
    wsgid_slot_record_t *slot;

    for (slot = slot_list->first; slot; slot = slot->next) {
        wsgid_slots_enter_child(slot->shared);
    }
}

const char *wsgid_slot_list_door(apr_pool_t *p, const wsgid_group_t *group,
                                 apr_uint32_t configuration)
{
    const wsgid_slot_record_t *slot = slot_list->first;

    while (slot->group != group) {
        slot = slot->next; /* each group has one */
    }
    return wsgid_socket_directory_door(p, slot->directory, slot->number, configuration);
}

void wsgid_slot_list_share(const wsgid_group_t *group, wsgid_share_e share)
{
    wsgid_slot_record_t *slot;

    for (slot = slot_list->first; slot; slot = slot->next) {
        if (!group || slot->group == group) {
            wsgid_slots_share(slot->shared, share);
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

void wsgid_slot_list_remove_sockets(const wsgid_group_t *group, apr_uint32_t configuration)
{
    apr_pool_t *pool;
    const wsgid_slot_record_t *slot;

    for (slot = slot_list->first; slot; slot = slot->next) {
        if (slot->group == group) {
            wsgid_slot_list_unlink(slot);
        }
    }
    apr_pool_create(&pool, main_server->process->pool);
    (void)unlink(wsgid_slot_list_door(pool, group, configuration));
    apr_pool_destroy(pool);
}
