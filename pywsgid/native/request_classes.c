/*
 * Which requests block, told by what they ask for.
 *
 * A request is of three kinds: all requests, those with its method and path, those with its query
 * as well. Of each kind it is known how many of the last have blocked, more or less, of those
 * behind which the gate was closed: from the others nothing is learned. Kinds that share a place by
 * accident share what is known: a guess is worse then, nothing is wrong.
 */
#include "hotpath.h"

#include <string.h>

#define BLOCKED_MAX    256
#define BLOCKED_MOST   (BLOCKED_MAX / 2)
#define BLOCKED_WEIGHT 8 /* about so many requests back */

/* FNV-1a, of 32 bits. */
static uint32_t hash(const char *text, size_t length, uint32_t begun)
{
    for (size_t i = 0; i < length; i++) {
        begun = (begun ^ (unsigned char)text[i]) * 16777619u;
    }
    return begun;
}

static uint16_t place(uint32_t hash)
{
    return (uint16_t)(1 + hash % (WSGID_REQUEST_CLASSES - 1));
}

void wsgid_request_classes_name(wsgid_endpoint_t *endpoint, const char *line, size_t length)
{
    const char *query = memchr(line, '?', length);
    size_t path = query ? (size_t)(query - line) : length;
    uint32_t begun = hash(line, path, 2166136261u);

    endpoint->classes[0] = 0;
    endpoint->classes[1] = place(begun);
    endpoint->classes[2] = place(hash(line + path, length - path, begun));
}

int wsgid_request_classes_block(const wsgid_gate_t *gate, const wsgid_endpoint_t *endpoint)
{
    for (int i = 0; i < WSGID_REQUEST_CLASSES_EACH; i++) {
        if (__atomic_load_n(&gate->blocked[endpoint->classes[i]], __ATOMIC_RELAXED)
            > BLOCKED_MOST) {
            return 1;
        }
    }
    return 0;
}

void wsgid_request_classes_learn(wsgid_gate_t *gate, const wsgid_endpoint_t *endpoint,
                                 int has_blocked)
{
    for (int i = 0; i < WSGID_REQUEST_CLASSES_EACH; i++) {
        int16_t *blocked = &gate->blocked[endpoint->classes[i]];
        int change = ((has_blocked ? BLOCKED_MAX : 0) - *blocked) / BLOCKED_WEIGHT;

        /* without a query the last two are one */
        if (change != 0 && (i == 0 || endpoint->classes[i] != endpoint->classes[i - 1])) {
            __atomic_store_n(blocked, (int16_t)(*blocked + change), __ATOMIC_RELAXED);
        }
    }
}
