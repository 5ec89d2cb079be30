/*
 * wire.c driven from standard input, for a build with sanitizers (tests/wire/test_sanitized.py).
 *
 * A record is u8 side, u32 length (little-endian), then that many bytes as received from the wire.
 * The answer to each is one line: "need" (not a whole frame), "error N", or "TYPE FLAGS LENGTH"
 * followed by the contents of the payload or its "error N". Every piece of input for wire.c is in a
 * block of memory of exactly its size, so that the sanitizers notice a read of one byte too many.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/wire.h"

static unsigned char *exactly(const unsigned char *bytes, size_t length)
{
    unsigned char *copy;

    if (length == 0)
        return NULL;
    copy = malloc(length);
    if (!copy)
        exit(2);
    memcpy(copy, bytes, length);
    return copy;
}

/* zlib's adler32, which Python has too. */
static uint32_t digest(const unsigned char *bytes, size_t length)
{
    uint32_t a = 1, b = 0;

    for (size_t i = 0; i < length; i++) {
        a = (a + bytes[i]) % 65521;
        b = (b + a) % 65521;
    }
    return b << 16 | a;
}

static void print_bytes(const unsigned char *bytes, size_t length)
{
    printf(" %zu:%08" PRIx32, length, digest(bytes, length));
}

/* The number of strings and their total length. */
static void print_strings(const unsigned char *block, size_t size)
{
    const unsigned char *cursor = block;
    size_t count = 0, total = 0, length;
    const char *string;

    while ((string = wsgid_wire_next_string(&cursor, block + size, &length)) != NULL) {
        if (strlen(string) != length)
            abort();
        count++;
        total += length;
    }
    printf(" %zu/%zu", count, total);
}

static void print_line(const wsgid_wire_request_t *request, size_t room)
{
    char *line = malloc(room);
    size_t length;

    if (!line)
        exit(2);
    length = wsgid_wire_copy_line(request, line, room);
    if (strlen(line) > length || line[length] != '\0')
        abort();
    print_bytes((const unsigned char *)line, length);
    free(line);
}

static wsgid_wire_error_e print_request(const unsigned char *payload, uint32_t length)
{
    wsgid_wire_request_t request;
    wsgid_wire_error_e error = wsgid_wire_get_request(payload, length, &request);

    if (error != WSGID_WIRE_OK)
        return error;
    printf("%" PRIu64 " %" PRIu64 " %" PRIu32, request.id, request.sent, request.line);
    print_bytes(request.environ, request.environ_length);
    print_strings(request.environ, request.environ_length);
    print_bytes(request.body, request.body_length);
    print_line(&request, 1);
    print_line(&request, 9);
    print_line(&request, 240);
    return WSGID_WIRE_OK;
}

static wsgid_wire_error_e print_head(const unsigned char *bytes, uint32_t length)
{
    unsigned char *head = exactly(bytes, length);
    wsgid_wire_error_e error = wsgid_wire_check_head(head, length);

    if (error == WSGID_WIRE_OK) {
        printf("head");
        print_bytes(head, length);
        print_strings(head, length);
    }
    free(head);
    return error;
}

static wsgid_wire_error_e print_response(const unsigned char *payload, uint32_t length)
{
    /* a block of its own, so that the sanitizers notice a longer read */
    unsigned char *prefix = exactly(payload, WSGID_WIRE_RESPONSE_PREFIX);
    uint32_t head = 0;
    wsgid_wire_error_e error = wsgid_wire_get_response(prefix, WSGID_WIRE_RESPONSE_PREFIX, length,
                                                       &head);

    free(prefix);
    if (error == WSGID_WIRE_OK)
        error = print_head(payload + WSGID_WIRE_RESPONSE_PREFIX, head);
    if (error == WSGID_WIRE_OK)
        print_bytes(payload + WSGID_WIRE_RESPONSE_PREFIX + head,
                    length - WSGID_WIRE_RESPONSE_PREFIX - head);
    return error;
}

static wsgid_wire_error_e print_payload(const wsgid_wire_frame_t *frame,
                                        const unsigned char *payload)
{
    switch (frame->type) {
    case WSGID_WIRE_REQUEST: return print_request(payload, frame->length);
    case WSGID_WIRE_RESPONSE: return print_response(payload, frame->length);
    case WSGID_WIRE_INTERIM: return print_head(payload, frame->length);
    default:
        printf("plain");
        print_bytes(payload, frame->length);
        return WSGID_WIRE_OK;
    }
}

static void answer(wsgid_wire_side_e side, const unsigned char *bytes, size_t length)
{
    wsgid_wire_frame_t frame;
    wsgid_wire_error_e error;
    unsigned char *payload;

    if (length < WSGID_WIRE_HEADER_SIZE) {
        printf("need\n");
        return;
    }
    payload = exactly(bytes, WSGID_WIRE_HEADER_SIZE);
    error = wsgid_wire_get_header(&frame, payload, side);
    free(payload);
    if (error == WSGID_WIRE_OK && length - WSGID_WIRE_HEADER_SIZE < frame.length) {
        printf("need\n");
        return;
    }
    if (error == WSGID_WIRE_OK) {
        printf("%d %d %" PRIu32 " ", frame.type, frame.flags, frame.length);
        payload = exactly(bytes + WSGID_WIRE_HEADER_SIZE, frame.length);
        error = print_payload(&frame, payload);
        free(payload);
    }
    if (error != WSGID_WIRE_OK)
        printf("error %d", (int)error);
    printf("\n");
}

static int read_exactly(unsigned char *into, size_t length)
{
    return fread(into, 1, length, stdin) == length;
}

int main(void)
{
    unsigned char prefix[5];

    while (read_exactly(prefix, sizeof prefix)) {
        uint32_t length = wsgid_wire_get_u32(prefix + 1);
        unsigned char *record = malloc(length + 1u);

        if (!record || !read_exactly(record, length))
            return 2;
        answer(prefix[0] ? WSGID_WIRE_FROM_DAEMON : WSGID_WIRE_FROM_HTTPD, record, length);
        free(record);
    }
    return ferror(stdin) || fflush(stdout) != 0;
}
