/*
 * Pools: which application groups of a daemon group have processes (pools.h).
 */
#include "config/pools.h"

#include "config/variables.h"

/* Slots of all spare pools of a group together. */
#define SPARE_SLOTS_MOST 1000

typedef struct {
    const char *group;
    const char *name;
} expected_t;

/* Of this configuration. */
static apr_array_header_t *expected; /* expected_t */
static int has_unknown;              /* wsgid_pools_note_unknown() */

/* ---- look-up */

wsgid_pool_t *wsgid_pools_get(const wsgid_group_t *group, int number)
{
    return APR_ARRAY_IDX(group->pools, number, wsgid_pool_t *);
}

int wsgid_pools_count(const wsgid_group_t *group)
{
    return group->pools->nelts;
}

int wsgid_pools_fixed(const wsgid_group_t *group)
{
    int count = 0;

    while (count < wsgid_pools_count(group) && wsgid_pools_get(group, count)->name) {
        count++;
    }
    return count;
}

wsgid_pool_t *wsgid_pools_find(const wsgid_group_t *group, const char *name)
{
    int i;

    for (i = 0; i < group->pools->nelts; i++) {
        wsgid_pool_t *pool = APR_ARRAY_IDX(group->pools, i, wsgid_pool_t *);

        if (pool->name && !strcmp(pool->name, name)) {
            return pool;
        }
    }
    return NULL;
}

int wsgid_pools_is_elastic(const wsgid_pool_t *pool)
{
    return pool->least < pool->most;
}

const char *wsgid_pools_label(apr_pool_t *p, const wsgid_pool_t *pool, const char *name)
{
    /* the first spare pool of a group without fixed ones has the group's own label, like a group
     * whose only script the configuration names */
    return pool->name || pool->number == 0
               ? pool->label
               : apr_pstrcat(p, pool->group->label, "|", *name ? name : "%{GLOBAL}", NULL);
}

/* ---- while the configuration is read */

void wsgid_pools_reset(apr_pool_t *pconf)
{
    expected = apr_array_make(pconf, 4, sizeof(expected_t));
    has_unknown = 0;
}

void wsgid_pools_note_unknown(void)
{
    has_unknown = 1;
}

void wsgid_pools_expect(const char *group, const char *name)
{
    expected_t *one = apr_array_push(expected);

    one->group = group;
    one->name = name;
}

static wsgid_pool_t *push(apr_pool_t *p, wsgid_group_t *group, const char *name)
{
    wsgid_pool_t *pool = apr_pcalloc(p, sizeof(*pool));

    pool->group = group;
    pool->number = group->pools->nelts;
    pool->name = name ? apr_pstrdup(p, name) : NULL;
    pool->label = group->label;
    pool->scripts = apr_array_make(p, 1, sizeof(wsgid_script_t));
    APR_ARRAY_PUSH(group->pools, wsgid_pool_t *) = pool;
    return pool;
}

wsgid_pool_t *wsgid_pools_add(apr_pool_t *p, wsgid_group_t *group, const char *name)
{
    wsgid_pool_t *pool = wsgid_pools_find(group, name);

    return pool ? pool : push(p, group, name);
}

void wsgid_pools_add_expected(apr_pool_t *p)
{
    int i;

    for (i = 0; i < expected->nelts; i++) {
        const expected_t *one = &APR_ARRAY_IDX(expected, i, expected_t);
        const char *group = wsgid_variables_literal(one->group);
        const char *name = wsgid_variables_literal(one->name);
        wsgid_group_t *found = group && name ? wsgid_groups_find(group) : NULL;

        if (found) {
            (void)wsgid_pools_add(p, found, name);
        }
        has_unknown |= !group || !name;
    }
}

/* ---- once it has been read */

static void set_bounds(wsgid_pool_t *pool)
{
    const wsgid_value_t *processes = &pool->group->value[WSGID_OPT_PROCESSES];

    pool->most = (int)processes->number;
    pool->least = (int)processes->least;
    if (pool->number > 0 && pool->least > 1) {
        pool->least = 1; /* a line with processes=5 and eight scripts is not for 40 processes */
    }
}

static void add_spare(apr_pool_t *p, wsgid_group_t *group)
{
    int count = (int)WSGID_NUMBER(group, APPLICATION_GROUPS);
    int most = SPARE_SLOTS_MOST / count;
    int i;

    for (i = 0; i < count; i++) {
        wsgid_pool_t *pool = push(p, group, NULL);

        set_bounds(pool);
        if (pool->number > 0) {
            pool->most = pool->most < most ? pool->most : most;
        }
    }
}

void wsgid_pools_complete(apr_pool_t *p, wsgid_group_t *group)
{
    int fixed = group->pools->nelts;
    int i;

    for (i = 0; i < fixed; i++) {
        wsgid_pool_t *pool = wsgid_pools_get(group, i);

        set_bounds(pool);
        if (fixed > 1) {
            pool->label = apr_pstrcat(p, group->label, "|", *pool->name ? pool->name : "%{GLOBAL}",
                                      NULL);
        }
    }
    if (has_unknown || !fixed) {
        add_spare(p, group);
    }
}
