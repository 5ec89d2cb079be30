/*
 * The frame codec that wire.h declares.
 *
 * Rules: no I/O, no allocation, no state, no httpd and no Python headers. Every byte is read only
 * after its length has been checked. Integers are put together byte by byte, so neither alignment
 * nor the machine's byte order matters. pywsgid/wire/protocol.py makes the same checks in the same
 * order: type, flags, reserved, length, payload.
 */
#include "common/wire.h"

#include <string.h>

/* What a frame's type alone decides. */
typedef struct {
    const char *name;
    wsgid_wire_side_e from;
    uint8_t type;
    uint8_t flags; /* that it may have */
    uint8_t empty_only_at_end;
    uint32_t shortest; /* payload */
    uint32_t longest;
} frame_rule_t;

static const frame_rule_t rules[] = {
#define FRAME(name, from, flags, empty_only_at_end, shortest, longest) \
    { #name, from, WSGID_WIRE_##name, flags, empty_only_at_end, shortest, longest },
    WSGID_WIRE_EACH_FRAME(FRAME)
#undef FRAME
};

static const char *const error_texts[WSGID_WIRE_ERRORS] = {
#define ERROR(name, text) text,
    WSGID_WIRE_EACH_ERROR(ERROR)
#undef ERROR
};

static const frame_rule_t *find_rule(uint8_t type)
{
    for (size_t i = 0; i < sizeof rules / sizeof rules[0]; i++) {
        if (rules[i].type == type)
            return &rules[i];
    }
    return NULL;
}

const char *wsgid_wire_error_text(wsgid_wire_error_e error)
{
    return (unsigned)error < WSGID_WIRE_ERRORS ? error_texts[error] : "unknown error";
}

const char *wsgid_wire_type_name(uint8_t type)
{
    const frame_rule_t *rule = find_rule(type);

    return rule ? rule->name : "unknown";
}

/* ---- integers */

void wsgid_wire_put_u16(unsigned char *out, uint16_t value)
{
    out[0] = (unsigned char)(value & 0xff);
    out[1] = (unsigned char)(value >> 8);
}

void wsgid_wire_put_u32(unsigned char *out, uint32_t value)
{
    wsgid_wire_put_u16(out, (uint16_t)(value & 0xffff));
    wsgid_wire_put_u16(out + 2, (uint16_t)(value >> 16));
}

void wsgid_wire_put_u64(unsigned char *out, uint64_t value)
{
    wsgid_wire_put_u32(out, (uint32_t)(value & 0xffffffff));
    wsgid_wire_put_u32(out + 4, (uint32_t)(value >> 32));
}

uint16_t wsgid_wire_get_u16(const unsigned char *in)
{
    return (uint16_t)(in[0] | (unsigned)in[1] << 8);
}

uint32_t wsgid_wire_get_u32(const unsigned char *in)
{
    return (uint32_t)wsgid_wire_get_u16(in) | (uint32_t)wsgid_wire_get_u16(in + 2) << 16;
}

uint64_t wsgid_wire_get_u64(const unsigned char *in)
{
    return (uint64_t)wsgid_wire_get_u32(in) | (uint64_t)wsgid_wire_get_u32(in + 4) << 32;
}

/* ---- headers */

void wsgid_wire_put_header(unsigned char *out, uint8_t type, uint8_t flags, uint32_t length)
{
    out[0] = type;
    out[1] = flags;
    wsgid_wire_put_u16(out + 2, 0);
    wsgid_wire_put_u32(out + 4, length);
}

static wsgid_wire_error_e check_length(const frame_rule_t *rule, uint8_t flags, uint32_t length)
{
    if (length > rule->longest)
        return WSGID_WIRE_TOO_LONG;
    if (length < rule->shortest)
        return WSGID_WIRE_TOO_SHORT;
    if (length == 0 && rule->empty_only_at_end && !(flags & WSGID_WIRE_END))
        return WSGID_WIRE_TOO_SHORT;
    return WSGID_WIRE_OK;
}

wsgid_wire_error_e wsgid_wire_get_header(wsgid_wire_frame_t *frame, const unsigned char *in,
                                         wsgid_wire_side_e from)
{
    const frame_rule_t *rule = find_rule(in[0]);

    frame->type = in[0];
    frame->flags = in[1];
    frame->length = wsgid_wire_get_u32(in + 4);
    if (!rule || rule->from != from)
        return WSGID_WIRE_BAD_TYPE;
    if (frame->flags & ~rule->flags)
        return WSGID_WIRE_BAD_FLAGS;
    if (wsgid_wire_get_u16(in + 2) != 0)
        return WSGID_WIRE_BAD_RESERVED;
    return check_length(rule, frame->flags, frame->length);
}

/* ---- payloads */

wsgid_wire_error_e wsgid_wire_split_request(const unsigned char *payload, uint32_t length,
                                            wsgid_wire_request_t *request)
{
    uint32_t block, room;

    if (length < WSGID_WIRE_REQUEST_PREFIX)
        return WSGID_WIRE_TOO_SHORT;
    block = wsgid_wire_get_u32(payload + 20);
    room = length - WSGID_WIRE_REQUEST_PREFIX;
    if (block > room)
        return WSGID_WIRE_BAD_PAYLOAD;
    if (block > WSGID_WIRE_MAX_ENVIRON || room - block > WSGID_WIRE_MAX_START)
        return WSGID_WIRE_TOO_LONG;
    request->id = wsgid_wire_get_u64(payload);
    request->sent = wsgid_wire_get_u64(payload + 8);
    request->line = wsgid_wire_get_u32(payload + 16);
    request->environ = payload + WSGID_WIRE_REQUEST_PREFIX;
    request->environ_length = block;
    request->body = request->environ + block;
    request->body_length = room - block;
    return WSGID_WIRE_OK;
}

wsgid_wire_error_e wsgid_wire_get_request(const unsigned char *payload, uint32_t length,
                                          wsgid_wire_request_t *request)
{
    wsgid_wire_request_t found;
    wsgid_wire_error_e error = wsgid_wire_split_request(payload, length, &found);

    if (error == WSGID_WIRE_OK)
        error = wsgid_wire_check_environ(found.environ, found.environ_length);
    if (error == WSGID_WIRE_OK)
        *request = found;
    return error;
}

/* What follows the key that begins at 'at'; NULL: another key is there. */
static const unsigned char *after_key(const unsigned char *at, const unsigned char *end,
                                      const char *key, size_t size)
{
    return (size_t)(end - at) >= size && memcmp(at, key, size) == 0 ? at + size : NULL;
}

/* Appends as many of the bytes as fit in front of the NUL. Returns how many are there now. */
static size_t append(char *out, size_t have, size_t room, const void *bytes, size_t size)
{
    size = size < room - 1 - have ? size : room - 1 - have;
    memcpy(out + have, bytes, size);
    return have + size;
}

size_t wsgid_wire_copy_line(const wsgid_wire_request_t *request, char *out, size_t room)
{
    static const char first[] = "REQUEST_METHOD", second[] = "REQUEST_URI"; /* each with its NUL */
    const unsigned char *end = request->environ + request->environ_length;
    const unsigned char *method = NULL, *nul = NULL, *target = NULL;
    size_t have = 0;

    if (request->line < request->environ_length)
        method = after_key(request->environ + request->line, end, first, sizeof first);
    if (method)
        nul = memchr(method, '\0', (size_t)(end - method));
    if (nul)
        target = after_key(nul + 1, end, second, sizeof second);
    if (target) {
        have = append(out, 0, room, method, (size_t)(nul - method));
        have = append(out, have, room, " ", 1);
        have = append(out, have, room, target,
                      strnlen((const char *)target, (size_t)(end - target)));
    }
    out[have] = '\0';
    return have;
}

void wsgid_wire_put_started(unsigned char *out, uint32_t pid, uint32_t waited)
{
    wsgid_wire_put_header(out, WSGID_WIRE_STARTED, 0, WSGID_WIRE_STARTED_SIZE);
    wsgid_wire_put_u32(out + WSGID_WIRE_HEADER_SIZE, pid);
    wsgid_wire_put_u32(out + WSGID_WIRE_HEADER_SIZE + 4, waited);
}

wsgid_wire_error_e wsgid_wire_get_response(const unsigned char *payload, uint32_t available,
                                           uint32_t frame_length, uint32_t *head_length)
{
    uint32_t head, room;

    if (available < WSGID_WIRE_RESPONSE_PREFIX || frame_length < WSGID_WIRE_RESPONSE_PREFIX)
        return WSGID_WIRE_TOO_SHORT;
    head = wsgid_wire_get_u32(payload);
    room = frame_length - WSGID_WIRE_RESPONSE_PREFIX;
    if (head == 0 || head > room)
        return WSGID_WIRE_BAD_PAYLOAD;
    if (head > WSGID_WIRE_MAX_HEAD || room - head > WSGID_WIRE_MAX_DATA)
        return WSGID_WIRE_TOO_LONG;
    *head_length = head;
    return WSGID_WIRE_OK;
}

/* ---- strings */

/*
 * Walks over the strings of a block. Names and values alternate; string number 'first_name' (0 or
 * 1) is the first name. So the number of strings must be even if that is 0, and odd if it is 1:
 * each name has a value.
 */
static wsgid_wire_error_e check_strings(const unsigned char *block, uint32_t length,
                                        unsigned first_name)
{
    const unsigned char *end, *nul;
    unsigned parity = 0;

    if (length == 0)
        return first_name == 0 ? WSGID_WIRE_OK : WSGID_WIRE_BAD_PAYLOAD;
    for (end = block + length; block < end; block = nul + 1) {
        nul = memchr(block, '\0', (size_t)(end - block));
        if (!nul || (nul == block && parity == first_name))
            return WSGID_WIRE_BAD_PAYLOAD;
        parity ^= 1;
    }
    return parity == first_name ? WSGID_WIRE_OK : WSGID_WIRE_BAD_PAYLOAD;
}

wsgid_wire_error_e wsgid_wire_check_environ(const unsigned char *block, uint32_t length)
{
    return check_strings(block, length, 0);
}

wsgid_wire_error_e wsgid_wire_check_head(const unsigned char *head, uint32_t length)
{
    return check_strings(head, length, 1);
}

const char *wsgid_wire_next_string(const unsigned char **cursor, const unsigned char *end,
                                   size_t *length)
{
    const unsigned char *string = *cursor;
    const unsigned char *nul;

    if (string >= end)
        return NULL;
    nul = memchr(string, '\0', (size_t)(end - string));
    if (!nul)
        return NULL; /* an unchecked block: better no string than one without an end */
    if (length) {
        *length = (size_t)(nul - string);
    }
    *cursor = nul + 1;
    return (const char *)string;
}
