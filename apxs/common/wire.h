/*
 * The wire protocol between httpd and a daemon, version 2: frames, their limits, their payloads
 * (docs/design.md).
 *
 * Pure functions over memory: no I/O, no allocation, no httpd headers, so that the module, the
 * daemon's extension and the tests compile this one file. pywsgid/wire/protocol.py is the twin in
 * Python; tests/wire proves that they agree.
 */
#ifndef WSGID_WIRE_H
#define WSGID_WIRE_H

#include <stddef.h>
#include <stdint.h>

#include "common/wire_table.h" /* versions, types, flags, limits, errors */

typedef struct {
    uint8_t type;
    uint8_t flags;
    uint32_t length;
} wsgid_wire_frame_t;

/* What REQUEST says. */
typedef struct {
    uint64_t id;
    uint64_t sent; /* CLOCK_REALTIME, microseconds: when its dispatch began */
    /* where in the environ block REQUEST_METHOD stands, and REQUEST_URI behind it. Unchecked. */
    uint32_t line;
    uint32_t environ_length;
    uint32_t body_length;
    const unsigned char *environ;
    const unsigned char *body; /* its start */
} wsgid_wire_request_t;

/* "payload too long", for messages. */
const char *wsgid_wire_error_text(wsgid_wire_error_e error);
/* "RESPONSE"; "unknown" for a type that is none. */
const char *wsgid_wire_type_name(uint8_t type);

void wsgid_wire_put_u16(unsigned char *out, uint16_t value);
void wsgid_wire_put_u32(unsigned char *out, uint32_t value);
void wsgid_wire_put_u64(unsigned char *out, uint64_t value);
uint16_t wsgid_wire_get_u16(const unsigned char *in);
uint32_t wsgid_wire_get_u32(const unsigned char *in);
uint64_t wsgid_wire_get_u64(const unsigned char *in);

/* Writes the WSGID_WIRE_HEADER_SIZE bytes of a frame header. */
void wsgid_wire_put_header(unsigned char *out, uint8_t type, uint8_t flags, uint32_t length);
/* Reads and checks a header from that side: type, flags, reserved, length against the type's
 * bounds. */
wsgid_wire_error_e wsgid_wire_get_header(wsgid_wire_frame_t *frame, const unsigned char *in,
                                         wsgid_wire_side_e from);

/* Payload of REQUEST, all of it: where the environ block and the start of the body are. The block
 * is checked. */
wsgid_wire_error_e wsgid_wire_get_request(const unsigned char *payload, uint32_t length,
                                          wsgid_wire_request_t *request);
/* The same for who reads the block and checks it doing so. */
wsgid_wire_error_e wsgid_wire_split_request(const unsigned char *payload, uint32_t length,
                                            wsgid_wire_request_t *request);
/* "GET /path?query" of a REQUEST, cut to less than `room` bytes, and its NUL; gives its length. 0,
 * and an empty string: REQUEST_METHOD and REQUEST_URI do not stand at its line. */
size_t wsgid_wire_copy_line(const wsgid_wire_request_t *request, char *out, size_t room);
/* Writes a whole STARTED frame. */
void wsgid_wire_put_started(unsigned char *out, uint32_t pid, uint32_t waited);
/* Payload of RESPONSE: checks the head's length against the frame's; 'available' may be less than
 * the frame's length as long as it covers the prefix. */
wsgid_wire_error_e wsgid_wire_get_response(const unsigned char *payload, uint32_t available,
                                           uint32_t frame_length, uint32_t *head_length);

/* Strings of an environ block (pairs) or of a head (status line, then pairs): checks that the block
 * ends with a NUL and that the count of strings is even (environ) or odd (head). An empty environ
 * is fine, an empty head is not; no name is empty. */
wsgid_wire_error_e wsgid_wire_check_environ(const unsigned char *block, uint32_t length);
wsgid_wire_error_e wsgid_wire_check_head(const unsigned char *head, uint32_t length);
/* The next string at *cursor and its length (unless NULL), advancing past its NUL; NULL at the end.
 * Only for a checked block. */
const char *wsgid_wire_next_string(const unsigned char **cursor, const unsigned char *end,
                                   size_t *length);

#endif
