/*
 * What everybody sees of a pool (names.h).
 *
 * A name has a turn, which is odd while it changes, and another one afterwards: a reader that finds
 * it odd or changed takes the pool for free.
 */
#include "slots/names.h"

#include "slots/slot_memory.h"

static wsgid_slot_name_t *name_of(const wsgid_slot_t *slot)
{
    return &wsgid_words_of(slot)->name;
}

/* Whether there is a name; copies it. */
static int read_name(const wsgid_slot_t *slot, char copy[WSGID_NAME_MOST + 1])
{
    const wsgid_slot_name_t *name = name_of(slot);
    uint32_t turn;
    int is_used;

    __atomic_thread_fence(__ATOMIC_SEQ_CST); /* after this child has counted its request */
    turn = __atomic_load_n(&name->turn, __ATOMIC_SEQ_CST);
    is_used = __atomic_load_n(&name->is_used, __ATOMIC_RELAXED) != 0;
    if (is_used) {
        memcpy(copy, name->text, sizeof(name->text));
        copy[WSGID_NAME_MOST] = '\0';
    }
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    return is_used && turn % 2 == 0 && turn == __atomic_load_n(&name->turn, __ATOMIC_SEQ_CST);
}

int wsgid_names_is(const wsgid_slot_t *first, const char *name)
{
    char copy[WSGID_NAME_MOST + 1];

    return read_name(first, copy) && !strcmp(copy, name);
}

int wsgid_names_is_set(const wsgid_slot_t *first)
{
    char unused[WSGID_NAME_MOST + 1];

    return read_name(first, unused);
}

const char *wsgid_names_get(const wsgid_slot_t *first, apr_pool_t *p)
{
    char copy[WSGID_NAME_MOST + 1];

    return read_name(first, copy) ? apr_pstrdup(p, copy) : NULL;
}

void wsgid_names_set(wsgid_slot_t *first, const char *text)
{
    wsgid_slot_name_t *name = name_of(first);
    uint32_t turn = name->turn | 1;

    __atomic_store_n(&name->turn, turn, __ATOMIC_SEQ_CST);
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    __atomic_store_n(&name->is_used, text != NULL, __ATOMIC_RELAXED);
    apr_cpystrn(name->text, text ? text : "", sizeof(name->text));
    __atomic_store_n(&name->turn, turn + 1, __ATOMIC_SEQ_CST);
    __atomic_thread_fence(__ATOMIC_SEQ_CST); /* before the guardian looks for requests */
}

void wsgid_names_set_full(wsgid_slot_t *any, apr_time_t until)
{
    __atomic_store_n(&wsgid_words_of(any)->full, until, __ATOMIC_RELAXED);
}

apr_time_t wsgid_names_full(const wsgid_slot_t *any)
{
    return __atomic_load_n(&wsgid_words_of(any)->full, __ATOMIC_RELAXED);
}

void wsgid_names_set_scale(wsgid_slot_t *first, wsgid_scale_t scale)
{
    wsgid_scale_t *shared = &wsgid_words_of(first)->scale;

    __atomic_store_n(&shared->least, scale.least, __ATOMIC_RELAXED);
    __atomic_store_n(&shared->most, scale.most, __ATOMIC_RELAXED);
    __atomic_store_n(&shared->wanted, scale.wanted, __ATOMIC_RELAXED);
}

wsgid_scale_t wsgid_names_scale(const wsgid_slot_t *first)
{
    const wsgid_scale_t *shared = &wsgid_words_of(first)->scale;
    wsgid_scale_t scale = { __atomic_load_n(&shared->least, __ATOMIC_RELAXED),
                            __atomic_load_n(&shared->most, __ATOMIC_RELAXED),
                            __atomic_load_n(&shared->wanted, __ATOMIC_RELAXED) };

    return scale;
}
