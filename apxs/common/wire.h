/*
 * The codec of the wire protocol between httpd and a daemon (docs/design.md, "Wire protocol").
 *
 * Pure functions over memory: no I/O, no allocation, no state, no httpd headers. So the module, the
 * daemon's extension and the tests compile this one file, and any thread may call any function.
 * Numbers and limits are in wire_table.h. pywsgid/wire/protocol.py is the counterpart in Python;
 * tests/wire proves that they agree.
 *
 * A function that checks returns WSGID_WIRE_OK or the first error that it finds. It sets its
 * outputs only with WSGID_WIRE_OK, unless its comment says otherwise.
 */
#ifndef WSGID_WIRE_H
#define WSGID_WIRE_H

#include <stddef.h>
#include <stdint.h>

#include "common/wire_table.h" /* version, types, flags, limits, errors */

typedef struct {
    uint8_t type;
    uint8_t flags;
    uint32_t length; /* of the payload */
} wsgid_wire_frame_t;

/* The payload of REQUEST; the pointers lead into it. */
typedef struct {
    uint64_t id;
    /* CLOCK_REALTIME in microseconds when httpd first had the request ready to be sent */
    uint64_t sent;
    /* where in the environ block REQUEST_METHOD is, with REQUEST_URI behind it; unchecked */
    uint32_t line;
    uint32_t environ_length;
    uint32_t body_length;
    const unsigned char *environ;
    const unsigned char *body; /* its first bytes */
} wsgid_wire_request_t;

/* For messages, as static text: "payload too long". */
const char *wsgid_wire_error_text(wsgid_wire_error_e error);
/* For messages, as static text: "RESPONSE"; "unknown" if there is no such type. */
const char *wsgid_wire_type_name(uint8_t type);

/* ---- integers: little-endian, at any alignment */

void wsgid_wire_put_u16(unsigned char *out, uint16_t value);
void wsgid_wire_put_u32(unsigned char *out, uint32_t value);
void wsgid_wire_put_u64(unsigned char *out, uint64_t value);
uint16_t wsgid_wire_get_u16(const unsigned char *in);
uint32_t wsgid_wire_get_u32(const unsigned char *in);
uint64_t wsgid_wire_get_u64(const unsigned char *in);

/* ---- frames */

/* Writes the WSGID_WIRE_HEADER_SIZE bytes of a frame header, unchecked. */
void wsgid_wire_put_header(unsigned char *out, uint8_t type, uint8_t flags, uint32_t length);

/* Reads and checks the WSGID_WIRE_HEADER_SIZE bytes of a header that `from` has sent: type, flags,
 * reserved field, then the length against the bounds of the type. Sets *frame in any case: messages
 * show it. */
wsgid_wire_error_e wsgid_wire_get_header(wsgid_wire_frame_t *frame, const unsigned char *in,
                                         wsgid_wire_side_e from);

/* Reads the whole payload of a REQUEST and checks it, with the environ block. */
wsgid_wire_error_e wsgid_wire_get_request(const unsigned char *payload, uint32_t length,
                                          wsgid_wire_request_t *request);

/* As wsgid_wire_get_request(), but does not check the environ block: for the daemon, where Python
 * checks the block when it reads it. */
wsgid_wire_error_e wsgid_wire_split_request(const unsigned char *payload, uint32_t length,
                                            wsgid_wire_request_t *request);

/* Writes "GET /path?query" of a request, cut to less than `room` bytes, and a NUL. Returns its
 * length. It is empty if REQUEST_METHOD and REQUEST_URI are not where request->line says. The
 * environ block may be unchecked; `room` is at least 1. */
size_t wsgid_wire_copy_line(const wsgid_wire_request_t *request, char *out, size_t room);

/* Writes a whole STARTED frame: WSGID_WIRE_HEADER_SIZE + WSGID_WIRE_STARTED_SIZE bytes. */
void wsgid_wire_put_started(unsigned char *out, uint32_t pid, uint32_t waited);

/* Reads the length of the head at the beginning of a RESPONSE and checks it against `frame_length`,
 * the length of the whole payload. `available` bytes of the payload are there: the prefix at least,
 * else WSGID_WIRE_TOO_SHORT. */
wsgid_wire_error_e wsgid_wire_get_response(const unsigned char *payload, uint32_t available,
                                           uint32_t frame_length, uint32_t *head_length);

/* ---- strings: each ends with a NUL */

/* Check an environ block (names and values) or the head of a response (status line, then names and
 * values): the last byte is a NUL, each name has a value, no name is empty. An environ block may be
 * empty, a head may not. */
wsgid_wire_error_e wsgid_wire_check_environ(const unsigned char *block, uint32_t length);
wsgid_wire_error_e wsgid_wire_check_head(const unsigned char *head, uint32_t length);

/* Returns the string at *cursor, sets *length (unless `length` is NULL) and moves *cursor behind
 * its NUL. NULL at the end of the block. The block must have been checked. */
const char *wsgid_wire_next_string(const unsigned char **cursor, const unsigned char *end,
                                   size_t *length);

#endif
