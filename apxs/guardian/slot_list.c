/*
 * The slots that the parent keeps. A slot is created for a pool, found again after a restart, and
 * released when nobody can send requests to it any more. Its shared memory comes and goes with it;
 * its sockets are the guardians' (sockets.c).
 *
 * The slots of spare pools belong to one configuration: the parent only has their memory, so that
 * it is there when a child of httpd or a guardian is forked. A guardian adds them to its own list
 * when an application group gets the pool.
 */
#include "guardian/guardian.h"
#include "config/scopes.h"
#include "slots/names.h"
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

/* Each group has a slot. */
static const wsgid_slot_record_t *first_of(const wsgid_group_t *group)
{
    const wsgid_slot_record_t *slot = slot_list->first;

    while (slot->group != group) {
        slot = slot->next;
    }
    return slot;
}

/* In the names of their sockets: guardians of several configurations have spare pools at the same
 * time. */
#define SPARE_PLACES 100000

static int spare_place(const wsgid_pool_t *pool, int index)
{
    return (int)(configuration % 10000 + 1) * SPARE_PLACES + pool->number * pool->most + index;
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

static int is_of_pool(const wsgid_slot_record_t *slot, const wsgid_pool_t *pool)
{
    return !slot->application_group || !pool->name ? slot->application_group == pool->name
                                                   : !strcmp(slot->application_group, pool->name);
}

static wsgid_slot_record_t *find_slot(const wsgid_pool_t *pool,
                                      const wsgid_socket_directory_t *directory,
                                      const char *identity, int index)
{
    wsgid_slot_record_t *slot = next_slot(NULL, pool->group, directory, identity);

    while (slot && !(slot->index == index && is_of_pool(slot, pool))) {
        slot = next_slot(slot, pool->group, directory, identity);
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

static int free_place(const wsgid_group_t *group, const wsgid_socket_directory_t *directory,
                      const char *identity)
{
    const wsgid_slot_record_t *slot = NULL;
    int place = 0;

    while ((slot = next_slot(slot, group, directory, identity))) {
        place = slot->place >= place ? slot->place + 1 : place;
    }
    return place;
}

static void append_slot(wsgid_slot_record_t *slot)
{
    wsgid_slot_record_t **link = &slot_list->first;

    while (*link) {
        link = &(*link)->next;
    }
    *link = slot;
}

static wsgid_slot_record_t *make_record(const wsgid_group_t *group, const char *label, int index,
                                        unsigned number, int place,
                                        const wsgid_socket_directory_t *directory)
{
    apr_pool_t *pool;
    wsgid_slot_record_t *slot;
    int i;

    apr_pool_create(&pool, main_server->process->pool);
    slot = apr_pcalloc(pool, sizeof(*slot));
    slot->pool = pool;
    slot->name = apr_pstrdup(pool, group->name);
    slot->label = apr_pstrdup(pool, label);
    slot->directory = directory;
    slot->number = number;
    slot->index = index;
    slot->place = place;
    slot->paths[WSGID_SOCKET_OF_REQUESTS] = wsgid_socket_directory_requests(pool, directory, number,
                                                                            place);
    slot->paths[WSGID_SOCKET_OF_CONTROL] = wsgid_socket_directory_control(pool, directory, number,
                                                                          place);
    memset(slot->sockets, -1, sizeof(slot->sockets));
    slot->server = main_server;
    for (i = 0; i < WSGID_SLOT_PROCESSES; i++) {
        slot->processes[i].slot = slot;
        slot->processes[i].lifeline = -1;
    }
    return slot;
}

static wsgid_slot_record_t *new_slot(const wsgid_pool_t *pool,
                                     const wsgid_socket_directory_t *directory,
                                     const char *identity, int index)
{
    wsgid_slot_record_t *slot = make_record(pool->group, pool->label, index,
                                            number_of(pool->group, directory, identity),
                                            free_place(pool->group, directory, identity),
                                            directory);

    slot->application_group = pool->name ? apr_pstrdup(slot->pool, pool->name) : NULL;
    slot->identity = apr_pstrdup(slot->pool, identity);
    append_slot(slot);
    return slot;
}

/* From now on the slot belongs to this pool, and needs a process of this configuration. */
static void attach(wsgid_slot_record_t *slot, wsgid_pool_t *pool)
{
    slot->group = pool->group;
    slot->of = pool;
    slot->server = pool->group->server;
    if (strcmp(slot->label, pool->label)) {
        slot->label = apr_pstrdup(slot->pool, pool->label);
    }
    slot->last_used = configuration;
    wsgid_ledger_set_wanted(slot->shared, configuration);
    pool->slots[pool->slot_count++] = slot->shared;
}

/* ---- preparing what the configuration asks for */

/* The pools whose slots the parent keeps: those that the configuration names, or else the first
 * spare one. */
static int count_kept(const wsgid_group_t *group)
{
    int fixed = wsgid_pools_fixed(group);

    return fixed ? fixed : 1;
}

static void set_name(wsgid_slot_t *shared, int index, const char *path,
                     const wsgid_socket_directory_t *directory)
{
    struct sockaddr_un address;

    wsgid_socket_directory_address(directory, path, &address);
    wsgid_slots_set_name(shared, index, &address);
}

/* Creates the slots that the group has not had before. */
static apr_status_t create_missing(const wsgid_group_t *group,
                                   const wsgid_socket_directory_t *directory, const char *identity,
                                   apr_pool_t *ptemp)
{
    apr_array_header_t *missing = apr_array_make(ptemp, 4, sizeof(wsgid_slot_record_t *));
    wsgid_slot_t **shared;
    apr_status_t status;
    int i, index;

    for (i = 0; i < count_kept(group); i++) {
        const wsgid_pool_t *pool = wsgid_pools_get(group, i);

        for (index = 0; index < pool->most; index++) {
            if (!find_slot(pool, directory, identity, index)) {
                APR_ARRAY_PUSH(missing, wsgid_slot_record_t *) = new_slot(pool, directory, identity,
                                                                          index);
            }
        }
    }
    if (!missing->nelts) {
        return APR_SUCCESS;
    }
    shared = apr_pcalloc(ptemp, missing->nelts * sizeof(*shared));
    status = wsgid_slots_create(shared, missing->nelts, main_server->process->pool);
    for (i = 0; i < missing->nelts && status == APR_SUCCESS; i++) {
        wsgid_slot_record_t *slot = APR_ARRAY_IDX(missing, i, wsgid_slot_record_t *);

        slot->shared = shared[i];
        set_name(shared[i], slot->index, slot->paths[WSGID_SOCKET_OF_REQUESTS], directory);
    }
    return status;
}

/* The memory for the slots of spare pools. */
static apr_status_t create_spare(apr_pool_t *pconf, wsgid_group_t *group)
{
    const wsgid_slot_record_t *any = first_of(group);
    int first = count_kept(group);
    int count = 0;
    wsgid_slot_t **shared;
    apr_status_t status;
    int i, index;

    for (i = first; i < wsgid_pools_count(group); i++) {
        count += wsgid_pools_get(group, i)->most;
    }
    group->ask_path = wsgid_socket_directory_ask(pconf, any->directory, any->number, configuration);
    wsgid_socket_directory_address(any->directory, group->ask_path, &group->ask);
    if (count == 0) {
        return APR_SUCCESS;
    }
    shared = apr_pcalloc(pconf, count * sizeof(*shared));
    status = wsgid_slots_create(shared, count, main_server->process->pool);
    for (i = first; i < wsgid_pools_count(group) && status == APR_SUCCESS; i++) {
        wsgid_pool_t *pool = wsgid_pools_get(group, i);

        pool->slots = shared;
        pool->slot_count = pool->most;
        for (index = 0; index < pool->most; index++) {
            set_name(shared[index], index,
                     wsgid_socket_directory_requests(pconf, any->directory, any->number,
                                                     spare_place(pool, index)),
                     any->directory);
        }
        shared += pool->most;
    }
    return status;
}

int wsgid_slot_list_is_wanted(const wsgid_slot_record_t *slot)
{
    return slot->index < slot->of->wanted;
}

int wsgid_slot_list_is_idle(const wsgid_slot_record_t *slot)
{
    return slot->index == 0 && slot->of->wanted == 0;
}

static int has_process(const wsgid_slot_record_t *slot)
{
    return wsgid_slots_is_open(slot->shared) && wsgid_slots_state(slot->shared) != WSGID_SLOT_IDLE;
}

/* Those that the pool may have, and those that its guardian has to remove. A pool that has grown
 * keeps its size. */
static void attach_all(apr_pool_t *pconf, wsgid_pool_t *pool,
                       const wsgid_socket_directory_t *directory, const char *identity)
{
    wsgid_slot_record_t *slot = NULL;
    int count = 0;

    while ((slot = next_slot(slot, pool->group, directory, identity))) {
        count += is_of_pool(slot, pool);
    }
    pool->slots = apr_pcalloc(pconf, count * sizeof(*pool->slots));
    pool->wanted = pool->least;
    while ((slot = next_slot(slot, pool->group, directory, identity))) {
        if (!is_of_pool(slot, pool)) {
            continue;
        }
        if (slot->index < pool->most && slot->index >= pool->wanted && has_process(slot)) {
            pool->wanted = slot->index + 1;
        }
        if (slot->index < pool->most || wsgid_slots_is_open(slot->shared)) {
            attach(slot, pool);
        }
    }
    wsgid_names_set_scale(pool->slots[0], (wsgid_scale_t){ pool->least, pool->most, pool->wanted });
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
    int i;

    group->identity = wsgid_privileges_look_up(pconf, group);
    if (!group->identity) {
        return HTTP_INTERNAL_SERVER_ERROR;
    }
    identity = identity_of(ptemp, group);
    status = create_missing(group, directory, identity, ptemp);
    if (status == APR_SUCCESS) {
        for (i = 0; i < count_kept(group); i++) {
            attach_all(pconf, wsgid_pools_get(group, i), directory, identity);
        }
        status = create_spare(pconf, group);
    }
    if (status != APR_SUCCESS) {
        ap_log_error(APLOG_MARK, APLOG_CRIT, status, main_server,
                     "WSGID0060: group '%s': cannot create the shared memory of its processes: "
                     "raise httpd's limits of memory and open files",
                     group->label);
        return HTTP_INTERNAL_SERVER_ERROR;
    }
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
    static const char *const names[WSGID_SLOT_READY] = { "down", "waiting", "idle", "booting" };
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

/* What is visited are the spare slots that share one piece of memory. */
static void visit_spare(const wsgid_group_t *group, void (*visit)(wsgid_slot_t *any, int argument),
                        int argument)
{
    int first = count_kept(group);

    if (first < wsgid_pools_count(group) && wsgid_pools_get(group, first)->slots) {
        visit(wsgid_pools_get(group, first)->slots[0], argument);
    }
}

static void free_spare(const wsgid_group_t *group)
{
    int i, index;

    for (i = count_kept(group); i < wsgid_pools_count(group); i++) {
        wsgid_pool_t *pool = wsgid_pools_get(group, i);

        for (index = 0; pool->slots && index < pool->slot_count; index++) {
            wsgid_slots_destroy(pool->slots[index]);
        }
        pool->slots = NULL;
        pool->slot_count = 0;
    }
}

void wsgid_slot_list_free_spare(void)
{
    const apr_array_header_t *groups = wsgid_groups_all();
    int i;

    for (i = 0; groups && i < groups->nelts; i++) {
        free_spare(APR_ARRAY_IDX(groups, i, const wsgid_group_t *));
    }
}

void wsgid_slot_list_detach(void)
{
    wsgid_slot_record_t *slot;

    wsgid_slot_list_free_spare();
    for (slot = slot_list->first; slot; slot = slot->next) {
        slot->group = NULL;
        slot->of = NULL;
        slot->server = NULL;
    }
}

static void enter_child(wsgid_slot_t *any, int unused)
{
    (void)unused;
    wsgid_slots_enter_child(any);
}

void wsgid_slot_list_enter_child(void)
{
    const apr_array_header_t *groups = wsgid_groups_all();
    wsgid_slot_record_t *slot;
    int i;

    for (slot = slot_list->first; slot; slot = slot->next) {
        wsgid_slots_enter_child(slot->shared);
    }
    for (i = 0; groups && i < groups->nelts; i++) {
        visit_spare(APR_ARRAY_IDX(groups, i, const wsgid_group_t *), enter_child, 0);
    }
}

wsgid_slot_record_t *wsgid_slot_list_add_spare(wsgid_pool_t *pool, int index, const char *label)
{
    const wsgid_slot_record_t *any = first_of(pool->group);
    wsgid_slot_record_t *slot;

    for (slot = slot_list->first; slot; slot = slot->next) {
        if (slot->of == pool && slot->index == index) {
            slot->label = apr_pstrdup(slot->pool, label);
            return slot;
        }
    }
    slot = make_record(pool->group, label, index, any->number, spare_place(pool, index),
                       any->directory);
    slot->group = pool->group;
    slot->of = pool;
    slot->server = pool->group->server;
    slot->shared = pool->slots[index];
    slot->is_spare = 1;
    wsgid_ledger_set_wanted(slot->shared, configuration);
    append_slot(slot);
    return slot;
}

void wsgid_slot_list_enter_guardian(const wsgid_group_t *group)
{
    wsgid_slot_record_t **link = &slot_list->first;
    wsgid_slot_record_t *slot;

    for (slot = slot_list->first; slot; slot = slot->next) {
        if (slot->group == group) {
            if (*link != slot) { /* what is not written stays shared with the parent */
                *link = slot;
            }
            link = &slot->next;
        }
    }
    *link = NULL;
}

const char *wsgid_slot_list_door(apr_pool_t *p, const wsgid_group_t *group,
                                 apr_uint32_t configuration)
{
    const wsgid_slot_record_t *slot = first_of(group);

    return wsgid_socket_directory_door(p, slot->directory, slot->number, configuration);
}

static void share_spare(wsgid_slot_t *any, int share)
{
    wsgid_slots_share(any, (wsgid_share_e)share);
}

void wsgid_slot_list_share(const wsgid_group_t *group, wsgid_share_e share)
{
    const apr_array_header_t *groups = wsgid_groups_all();
    wsgid_slot_record_t *slot;
    int i;

    for (slot = slot_list->first; slot; slot = slot->next) {
        if (!group || slot->group == group) {
            wsgid_slots_share(slot->shared, share);
        }
    }
    for (i = 0; !group && groups && i < groups->nelts; i++) {
        visit_spare(APR_ARRAY_IDX(groups, i, const wsgid_group_t *), share_spare, share);
    }
    if (group) {
        visit_spare(group, share_spare, share);
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
