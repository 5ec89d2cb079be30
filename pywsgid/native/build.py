"""Builds pywsgid._native with cffi: apxs/common/wire.c, apxs/common/spin.c, and the daemon's hot
path (native/).

setup.py names it as cffi_modules=["pywsgid/native/build.py:ffi"] and runs it from the root of the
tree; `python pywsgid/native/build.py` from there builds in place. One cdef. The C code touches no
Python object, so the limited API is enough, and one extension serves each CPython >= 3.10 (a
free-threaded one has no limited API: cffi then builds for that version alone).
pywsgid/daemon/transport/extension.py is the only module that imports the result.
"""

import cffi

# Of the values, "..." leaves each to the C compiler: wire.h stays the only place where they are
# said.
CDEF = """
#define WSGID_WIRE_VERSION ...
#define WSGID_WIRE_HEADER_SIZE ...

#define WSGID_WIRE_REQUEST ...
#define WSGID_WIRE_BODY ...
#define WSGID_WIRE_CREDIT ...
#define WSGID_WIRE_RESPONSE ...
#define WSGID_WIRE_DATA ...
#define WSGID_WIRE_FILE ...
#define WSGID_WIRE_INTERIM ...
#define WSGID_WIRE_LOG ...
#define WSGID_WIRE_RETRY ...
#define WSGID_WIRE_ABORT ...
#define WSGID_WIRE_STARTED ...

#define WSGID_WIRE_END ...
#define WSGID_WIRE_ON_DEMAND ...

#define WSGID_WIRE_MAX_ENVIRON ...
#define WSGID_WIRE_MAX_START ...
#define WSGID_WIRE_MAX_BODY ...
#define WSGID_WIRE_MAX_HEAD ...
#define WSGID_WIRE_MAX_DATA ...
#define WSGID_WIRE_MAX_TEXT ...

#define WSGID_WIRE_REQUEST_PREFIX ...
#define WSGID_WIRE_RESPONSE_PREFIX ...
#define WSGID_WIRE_FILE_SIZE ...
#define WSGID_WIRE_STARTED_SIZE ...

typedef enum { WSGID_WIRE_FROM_HTTPD, WSGID_WIRE_FROM_DAEMON, ... } wsgid_wire_side_e;

typedef enum {
    WSGID_WIRE_OK, WSGID_WIRE_BAD_TYPE, WSGID_WIRE_BAD_FLAGS, WSGID_WIRE_BAD_RESERVED, WSGID_WIRE_TOO_LONG,
    WSGID_WIRE_TOO_SHORT, WSGID_WIRE_BAD_PAYLOAD, ...
} wsgid_wire_error_e;

typedef struct { uint8_t type; uint8_t flags; uint32_t length; ...; } wsgid_wire_frame_t;

typedef struct {
    uint64_t id; uint64_t sent; uint32_t line; uint32_t environ_length; uint32_t body_length;
    const unsigned char *environ; const unsigned char *body; ...;
} wsgid_wire_request_t;

const char *wsgid_wire_error_text(wsgid_wire_error_e error);
const char *wsgid_wire_type_name(uint8_t type);

void wsgid_wire_put_u16(unsigned char *out, uint16_t value);
void wsgid_wire_put_u32(unsigned char *out, uint32_t value);
void wsgid_wire_put_u64(unsigned char *out, uint64_t value);
uint16_t wsgid_wire_get_u16(const unsigned char *in);
uint32_t wsgid_wire_get_u32(const unsigned char *in);
uint64_t wsgid_wire_get_u64(const unsigned char *in);

void wsgid_wire_put_header(unsigned char *out, uint8_t type, uint8_t flags, uint32_t length);
wsgid_wire_error_e wsgid_wire_get_header(wsgid_wire_frame_t *frame, const unsigned char *in, wsgid_wire_side_e from);

wsgid_wire_error_e wsgid_wire_get_request(const unsigned char *payload, uint32_t length, wsgid_wire_request_t *request);
size_t wsgid_wire_copy_line(const wsgid_wire_request_t *request, char *out, size_t room);
void wsgid_wire_put_started(unsigned char *out, uint32_t pid, uint32_t waited);
wsgid_wire_error_e wsgid_wire_get_response(const unsigned char *payload, uint32_t available, uint32_t frame_length,
                                           uint32_t *head_length);
wsgid_wire_error_e wsgid_wire_check_environ(const unsigned char *block, uint32_t length);
wsgid_wire_error_e wsgid_wire_check_head(const unsigned char *head, uint32_t length);
const char *wsgid_wire_next_string(const unsigned char **cursor, const unsigned char *end, size_t *length);

/* pywsgid/daemon/transport/extension.py has the same in its FUNCTIONS. */
typedef struct wsgid_hub wsgid_hub_t;
typedef struct wsgid_endpoint wsgid_endpoint_t;

wsgid_hub_t *wsgid_hub_create(int listener, const char *allowed, int allowed_count, double timeout, double send_limit,
                              double send_silence, int gated, char *page);
int wsgid_hub_fits(int facts);
int wsgid_hub_open(wsgid_hub_t *hub);
void wsgid_hub_set_gated(wsgid_hub_t *hub, int gated);
int wsgid_hub_waiting(wsgid_hub_t *hub);
void wsgid_hub_drain(wsgid_hub_t *hub);
void wsgid_hub_abandon(wsgid_hub_t *hub);
wsgid_endpoint_t *wsgid_endpoint_create(wsgid_hub_t *hub, char *memory);
int wsgid_endpoint_next(wsgid_endpoint_t *endpoint, const char *a, size_t a_size, const char *b, size_t b_size, int keep);
void wsgid_endpoint_flush(wsgid_endpoint_t *endpoint, const char *a, size_t a_size, const char *b, size_t b_size, int keep);
int wsgid_send_frames(wsgid_endpoint_t *endpoint, const char *a, size_t a_size, const char *b, size_t b_size,
                        int descriptor);
int wsgid_send_data(wsgid_endpoint_t *endpoint, const char *bytes, size_t size);
int wsgid_send_log(wsgid_endpoint_t *endpoint, int64_t id, const char *frames, size_t size);
int wsgid_receive_body(wsgid_endpoint_t *endpoint);
int wsgid_endpoint_is_hung_up(wsgid_endpoint_t *endpoint);
int wsgid_send_abort(wsgid_endpoint_t *endpoint, int64_t id, const char *a, size_t a_size);
void wsgid_measure_withdraw(wsgid_endpoint_t *endpoint);
"""

NAMES = ("hub", "gate", "request_classes", "endpoint", "receive", "measure")

ffi = cffi.FFI()
ffi.cdef(CDEF)
# Paths as seen from the root of the tree: setuptools wants them relative.
ffi.set_source(
    "pywsgid._native",
    '#include "hotpath.h"',
    sources=[
        "apxs/common/wire.c",
        "apxs/common/spin.c",
        *("pywsgid/native/%s.c" % name for name in NAMES),
    ],
    depends=[
        "apxs/common/wire.h",
        "apxs/common/spin.h",
        "apxs/common/process_abi.h",
        "pywsgid/native/hotpath.h",
    ],
    include_dirs=["pywsgid/native", "apxs"],
    extra_compile_args=[
        "-std=gnu11",
        "-D_GNU_SOURCE",
        "-O2",
        "-pthread",
        "-Wall",
        "-Wextra",
        "-fvisibility=hidden",
    ],
    py_limited_api=True,
)

if __name__ == "__main__":
    ffi.compile(verbose=True)
