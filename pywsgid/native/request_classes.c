/*
 * Which requests are likely to block.
 *
 * A request belongs to three classes: all requests; those with its method and path; those with its
 * method, path and query. For each class, a moving average says how many of its last requests have
 * blocked. Only requests that closed the gate count: of the others nobody knows whether they
 * blocked. Classes that share a place by accident share the average: then a guess is worse, and
 * nothing is wrong.
 */
#include "hotpath.h"

#include <string.h>

#define BLOCKED_MAX    256               /* the average if all have blocked */
#define BLOCKED_MOST   (BLOCKED_MAX / 2) /* beyond it, most have */
#define BLOCKED_WEIGHT 8                 /* requests that the average goes back, about */
#define FNV_BASIS      2166136261u
#define FNV_PRIME      16777619u

/* FNV-1a of 32 bits, goes on from a hash. */
static uint32_t hash(const char *text, size_t length, uint32_t so_far)
{
    for (size_t i = 0; i < length; i++) {
        so_far = (so_far ^ (unsigned char)text[i]) * FNV_PRIME;
    }
    return so_far;
}

/* Where the average of a class is kept; 0 is that of all requests. */
static uint16_t place(uint32_t hash)
{
    return (uint16_t)(1 + hash % (WSGID_REQUEST_CLASSES - 1));
}

void wsgid_request_classes_name(wsgid_turn_t *turn, const char *line, size_t length)
{
    const char *query = memchr(line, '?', length);
    size_t path = query ? (size_t)(query - line) : length;
    uint32_t path_hash = hash(line, path, FNV_BASIS);

    turn->classes[0] = 0;
    turn->classes[1] = place(path_hash);
    turn->classes[2] = place(hash(line + path, length - path, path_hash));
}

int wsgid_request_classes_block(const wsgid_gate_t *gate, const wsgid_turn_t *turn)
{
    for (int i = 0; i < WSGID_REQUEST_CLASSES_EACH; i++) {
        if (__atomic_load_n(&gate->blocked[turn->classes[i]], __ATOMIC_RELAXED) > BLOCKED_MOST) {
            return 1;
        }
    }
    return 0;
}

void wsgid_request_classes_learn(wsgid_gate_t *gate, const wsgid_turn_t *turn, int has_blocked)
{
    for (int i = 0; i < WSGID_REQUEST_CLASSES_EACH; i++) {
        int16_t *blocked = &gate->blocked[turn->classes[i]];
        int change = ((has_blocked ? BLOCKED_MAX : 0) - *blocked) / BLOCKED_WEIGHT;

        /* without a query, the last two are the same */
        if (change != 0 && (i == 0 || turn->classes[i] != turn->classes[i - 1])) {
            __atomic_store_n(blocked, (int16_t)(*blocked + change), __ATOMIC_RELAXED);
        }
    }
}
