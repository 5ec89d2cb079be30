/*
 * A slot as a whole: its shared memory comes and goes here, and what may be expected of it is read
 * and written here. slot_memory.h says who may write which part of that memory.
 *
 * Nothing here knows why a process starts or ends (guardian/), nor how a request travels
 * (request/).
 */
#include "slots/slot_memory.h"

#include <sched.h>

/* ---- mapping */

#define APART ((apr_size_t)1 << 40) /* bytes of addresses: room for four million slots */

/* Shared memory has addresses of its own, far from those that httpd's pools get: in between, it
 * would spread the pools over more page tables, of which each guardian has a copy. */
apr_status_t wsgid_map_shared(wsgid_mapping_t *mapping, apr_size_t size, int fd)
{
    static char *next;
    void *memory;

    if (!next) {
        void *space = mmap(NULL, APART, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1,
                           0);

        if (space != MAP_FAILED && munmap(space, APART) == 0) {
            next = space; /* the system's next addresses are at the other end */
        }
    }
    memory = mmap(next, size, fd < 0 ? PROT_READ | PROT_WRITE : PROT_READ,
                  MAP_SHARED | (fd < 0 ? MAP_ANONYMOUS : 0), fd, 0);
    if (memory == MAP_FAILED) {
        return errno;
    }
    mapping->at = memory;
    mapping->size = size;
    next = (char *)memory + APR_ALIGN(size, WSGID_PAGE_SIZE); /* a multiple of the system's pages */
    return APR_SUCCESS;
}

/* ---- creation and destruction */

/* Whether processes that the parent forks from now on inherit it. */
static apr_status_t share(const wsgid_mapping_t *mapping, int with_forks)
{
    return madvise(mapping->at, mapping->size, with_forks ? MADV_DOFORK : MADV_DONTFORK) == 0
               ? APR_SUCCESS
               : errno;
}

static apr_status_t make_memory(wsgid_block_t *block)
{
    wsgid_mapping_t *mapping = block->mapping;
    apr_size_t slots = (apr_size_t)block->slots;
    apr_status_t status = wsgid_in_flight_open(block);

    if (status == APR_SUCCESS) {
        status = wsgid_map_shared(&mapping[WSGID_WORDS], slots * sizeof(wsgid_slot_words_t), -1);
    }
    if (status == APR_SUCCESS) {
        status = wsgid_map_shared(&mapping[WSGID_LEDGERS], slots * sizeof(wsgid_ledger_t), -1);
    }
    if (status == APR_SUCCESS) {
        status = share(&mapping[WSGID_LEDGERS], 0);
    }
    return status == APR_SUCCESS ? wsgid_pages_open(block) : status;
}

static void destroy_block(wsgid_block_t *block)
{
    int i;

    wsgid_pages_close_descriptor(block);
    for (i = 0; i < WSGID_MAPPINGS; i++) {
        if (block->mapping[i].at) {
            (void)munmap(block->mapping[i].at, block->mapping[i].size);
        }
    }
    apr_pool_destroy(block->pool);
}

apr_status_t wsgid_slots_create(wsgid_slot_t **created, int count, apr_pool_t *parent)
{
    apr_pool_t *pool;
    wsgid_block_t *block;
    apr_status_t status;
    int i;

    apr_pool_create(&pool, parent);
    block = apr_pcalloc(pool, sizeof(*block));
    block->pool = pool;
    block->slots = block->users = count;
    block->memfd = -1;
    status = make_memory(block);
    if (status != APR_SUCCESS) {
        destroy_block(block);
        return status;
    }
    for (i = 0; i < count; i++) {
        created[i] = apr_pcalloc(pool, sizeof(**created));
        created[i]->block = block;
        created[i]->index = i;
        wsgid_in_flight_attach(created[i]);
    }
    return APR_SUCCESS;
}

void wsgid_slots_destroy(wsgid_slot_t *slot)
{
    wsgid_in_flight_detach(slot);
    if (--slot->block->users == 0) {
        destroy_block(slot->block);
    }
}

void wsgid_slots_share(wsgid_slot_t *slot, wsgid_share_e share_with)
{
    int i;

    for (i = 0; i < WSGID_MAPPINGS; i++) {
        (void)share(&slot->block->mapping[i], i == WSGID_LEDGERS
                                                  ? share_with == WSGID_SHARE_WITH_GUARDIAN
                                                  : share_with != WSGID_SHARE_NOTHING);
    }
}

void wsgid_slots_enter_child(wsgid_slot_t *slot)
{
    wsgid_mapping_t *mapping = slot->block->mapping;

    mapping[WSGID_LEDGERS].at = NULL; /* they have not been inherited */
    /* children only read the words: no stray write of theirs changes one */
    (void)mprotect(mapping[WSGID_WORDS].at, mapping[WSGID_WORDS].size, PROT_READ);
    wsgid_pages_close_descriptor(slot->block);
}

/* ---- what may be expected of it */

void wsgid_slots_set_name(wsgid_slot_t *slot, int number, const struct sockaddr_un *address)
{
    slot->number = number;
    slot->address = *address;
}

int wsgid_slots_number(const wsgid_slot_t *slot)
{
    return slot->number;
}

const struct sockaddr_un *wsgid_slots_address(const wsgid_slot_t *slot)
{
    return &slot->address;
}

void wsgid_slots_set_open(wsgid_slot_t *slot, int is_open)
{
    __atomic_store_n(&wsgid_words_of(slot)->is_open, is_open, __ATOMIC_RELEASE);
}

int wsgid_slots_is_open(const wsgid_slot_t *slot)
{
    return __atomic_load_n(&wsgid_words_of(slot)->is_open, __ATOMIC_ACQUIRE) != 0;
}

void wsgid_slots_set_phase(wsgid_slot_t *slot, wsgid_slot_state_e phase, apr_time_t next_try)
{
    __atomic_store_n(&wsgid_words_of(slot)->next_try, next_try, __ATOMIC_RELAXED);
    __atomic_store_n(&wsgid_words_of(slot)->phase, phase, __ATOMIC_RELEASE);
}

wsgid_slot_state_e wsgid_slots_phase(const wsgid_slot_t *slot)
{
    uint32_t phase = __atomic_load_n(&wsgid_words_of(slot)->phase, __ATOMIC_ACQUIRE);

    return phase <= WSGID_SLOT_BOOTING ? (wsgid_slot_state_e)phase : WSGID_SLOT_DOWN;
}

int wsgid_slots_exists(const wsgid_slot_t *slot)
{
    return wsgid_slots_is_open(slot) || wsgid_slots_phase(slot) != WSGID_SLOT_DOWN;
}

apr_time_t wsgid_slots_next_try(const wsgid_slot_t *slot)
{
    return __atomic_load_n(&wsgid_words_of(slot)->next_try, __ATOMIC_RELAXED);
}

wsgid_slot_state_e wsgid_slots_state(const wsgid_slot_t *slot)
{
    return wsgid_entries_is_any_ready(slot) ? WSGID_SLOT_READY : wsgid_slots_phase(slot);
}

/* ---- totals and the snapshot */

wsgid_totals_t *wsgid_slots_totals(wsgid_slot_t *slot)
{
    return &wsgid_words_of(slot)->totals;
}

/* A guardian needs microseconds to move a process into the totals. If it was killed in the middle
 * of that, the last attempt is shown as it is. */
#define SNAPSHOT_ATTEMPTS 100

void wsgid_slots_snapshot(const wsgid_slot_t *slot,
                          wsgid_entry_snapshot_t entries[WSGID_SLOT_PROCESSES],
                          wsgid_totals_t *totals)
{
    const uint32_t *turn = &wsgid_words_of(slot)->totals.turn;
    int attempt;

    for (attempt = 0; attempt < SNAPSHOT_ATTEMPTS; attempt++) {
        uint32_t before = __atomic_load_n(turn, __ATOMIC_SEQ_CST);
        int entry;

        memcpy(totals, &wsgid_words_of(slot)->totals, sizeof(*totals));
        for (entry = 0; entry < WSGID_SLOT_PROCESSES; entry++) {
            wsgid_entries_snapshot(slot, entry, &entries[entry]);
        }
        __atomic_thread_fence(__ATOMIC_SEQ_CST);
        if (before % 2 == 0 && before == __atomic_load_n(turn, __ATOMIC_SEQ_CST)) {
            return;
        }
        (void)sched_yield();
    }
}
