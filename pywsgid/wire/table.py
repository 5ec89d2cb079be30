"""What httpd (C), the daemon (Python) and the daemon's hot path (C) must agree on, in one table.

`make generate` (tools/generate) writes from it:

    apxs/common/wire_table.h, a part of protocol.py    frames, flags, limits, errors
    apxs/common/process_abi.h, process_abi.py          descriptors, exit codes, states of a process,
                                                       the statistics page
    pywsgid/native/hotpath_table.h, hotpath_abi.py     what Python and the hot path exchange
    tables in docs/design.md                           the same, for people

To change one of these, change this file, then run `make generate`. Numbers of things that exist
keep their meaning. Raise WIRE_VERSION when frames change, PAGE_VERSION when the statistics page
does, and, for both, WSGID_LAYOUT in apxs/slots/retained.h.

Rules: literals only; no program imports this file at run time. Every number has a meaning in words,
which becomes a comment in C and in Python.
"""

from __future__ import annotations

from typing import NamedTuple

KIB = 1024
MIB = 1024 * KIB


class Constant(NamedTuple):
    """A name, its number, and what it stands for."""

    name: str
    value: int
    meaning: str = ""


class Field(NamedTuple):
    """A member of a payload or of a shared struct: little-endian, at its natural alignment.

    `type` is u8, u16, u32, u64 or bytes. `size` names the size of an array or of bytes.
    """

    type: str
    name: str
    meaning: str
    size: str = ""


class Part(NamedTuple):
    """The part of a payload that has no fixed size: at least and at most so many bytes."""

    name: str
    least: int
    most: str  # the name of a limit below


class Frame(NamedTuple):
    """A type of frame: fixed fields, then the parts."""

    name: str
    code: int
    sender: str  # "httpd" or "daemon"
    meaning: str
    fields: tuple[Field, ...] = ()
    parts: tuple[Part, ...] = ()
    flags: tuple[str, ...] = ()
    empty_only_at_end: bool = False  # without END it must have a payload


class State(NamedTuple):
    """A state of a daemon process, and who can see it."""

    name: str
    in_httpd: bool
    in_daemon: bool
    meaning: str


class Function(NamedTuple):
    """A function of the extension: its prototype in C, and its contract."""

    prototype: str
    meaning: str


# -------- the wire protocol

WIRE_VERSION = 3
HEADER_SIZE = 8  # u8 type, u8 flags, u16 0, u32 length of the payload

FLAGS = (
    Constant("END", 0x01, "REQUEST, BODY: body complete; RESPONSE, DATA, FILE: response complete"),
    Constant("ON_DEMAND", 0x02, "REQUEST: the client waits for 100 Continue; no body until credit"),
)

LIMITS = (
    Constant(
        "MAX_ENVIRON", 1 * MIB, "LimitRequestFields x LimitRequestFieldSize is 800 kB by default"
    ),
    Constant("MAX_START", 64 * KIB, "body bytes in REQUEST: httpd keeps them for a second try"),
    Constant("MAX_BODY", 256 * KIB, "one BODY: about the default size of a socket buffer"),
    Constant("MAX_HEAD", 256 * KIB, "status line and headers of a response"),
    Constant("MAX_DATA", 1 * MIB, "body bytes in one RESPONSE or DATA"),
    Constant("MAX_TEXT", 32 * KIB, "text of LOG and ABORT: four of httpd's longest log lines"),
)

# What `sent` means, everywhere: httpd sets it once, when it has the request ready to be sent, and
# leaves it when it sends the request again. It is CLOCK_REALTIME in microseconds.
FRAMES = (
    Frame(
        "REQUEST",
        0x01,
        "httpd",
        "a request: its environ block, `key\\0value\\0`…, and the start of its body",
        fields=(
            Field("u64", "id", "number of the request, for logs"),
            Field("u64", "sent", "CLOCK_REALTIME in µs when httpd first had it ready to be sent"),
            Field("u32", "line", "where in the environ block REQUEST_METHOD is"),
            Field("u32", "environ_length", "bytes of the environ block"),
        ),
        parts=(Part("environ", 0, "MAX_ENVIRON"), Part("body", 0, "MAX_START")),
        flags=("END", "ON_DEMAND"),
    ),
    Frame(
        "BODY",
        0x02,
        "httpd",
        "more of the request's body",
        parts=(Part("bytes", 0, "MAX_BODY"),),
        flags=("END",),
        empty_only_at_end=True,
    ),
    Frame(
        "CREDIT",
        0x10,
        "daemon",
        "httpd may send that many more body bytes",
        fields=(Field("u32", "amount", "not 0"),),
    ),
    Frame(
        "RESPONSE",
        0x11,
        "daemon",
        "the response begins: its head, `status line\\0` then `name\\0value\\0`…, and body bytes",
        fields=(Field("u32", "head_length", "bytes of the head"),),
        parts=(Part("head", 1, "MAX_HEAD"), Part("body", 0, "MAX_DATA")),
        flags=("END",),
    ),
    Frame(
        "DATA",
        0x12,
        "daemon",
        "more of the response's body",
        parts=(Part("bytes", 0, "MAX_DATA"),),
        flags=("END",),
        empty_only_at_end=True,
    ),
    Frame(
        "FILE",
        0x13,
        "daemon",
        "the end of the body, a part of a file; its descriptor comes with the first byte "
        "(SCM_RIGHTS)",
        fields=(Field("u64", "offset", "first byte"), Field("u64", "length", "bytes")),
        flags=("END",),
    ),
    Frame(
        "INTERIM",
        0x14,
        "daemon",
        "a 1xx response: a head as in RESPONSE",
        parts=(Part("head", 1, "MAX_HEAD"),),
    ),
    Frame(
        "LOG",
        0x15,
        "daemon",
        "a line for the log, in UTF-8",
        fields=(Field("u8", "level", "httpd's: 0 emerg .. 7 debug, 8 .. 15 trace"),),
        parts=(Part("text", 0, "MAX_TEXT"),),
    ),
    Frame("RETRY", 0x16, "daemon", "not started: send it elsewhere"),
    Frame(
        "ABORT",
        0x17,
        "daemon",
        "the request has failed; the text is the reason and begins with its WSGIDnnnn code",
        fields=(Field("u16", "status", "for a client with no response yet: 500, 502, 503, 504"),),
        parts=(Part("text", 0, "MAX_TEXT"),),
    ),
    Frame(
        "STARTED",
        0x18,
        "daemon",
        "a thread has read the request",
        fields=(
            Field("u32", "pid", "of the process that runs it"),
            Field("u32", "waited", "µs from `sent` until then; 0 if the clock was set back"),
        ),
    ),
    Frame(
        "OVERLOADED",
        0x19,
        "daemon",
        "not started, and not to be sent elsewhere: the group is overloaded",
    ),
)

# What can be wrong with a frame, in the order in which both codecs check; a single frame does not
# show the last three.
ERRORS = (
    ("OK", "no error"),
    ("BAD_TYPE", "unexpected frame type"),
    ("BAD_FLAGS", "unknown flags"),
    ("BAD_RESERVED", "reserved field is not zero"),
    ("TOO_LONG", "payload too long"),
    ("TOO_SHORT", "payload too short"),
    ("BAD_PAYLOAD", "malformed payload"),
    ("OUT_OF_ORDER", "frame out of order"),
    ("OVER_CREDIT", "more body than was granted"),
    ("CUT_OFF", "connection closed inside a frame"),
)

# Which frame may follow which: sender -> state -> frame -> the state that follows. "X END" is X
# with the flag END. What is not here is a violation. This is the specification: docs/design.md and
# the tests use it. No code is generated from it: apxs/request/response.c enforces it by hand for a
# daemon's frames, pywsgid/native/receive.c for httpd's.
ORDER = {
    "httpd": {
        "idle": {"REQUEST": "sending", "REQUEST END": "sent"},
        "sending": {"BODY": "sending", "BODY END": "sent"},
        "sent": {},
        "closed": {},
    },
    "daemon": {
        "idle": {},
        "received": {"STARTED": "read"},
        "read": {
            "LOG": "read",
            "RETRY": "closed",
            "OVERLOADED": "done",
            "CREDIT": "running",
            "INTERIM": "running",
            "RESPONSE": "answering",
            "RESPONSE END": "done",
            "ABORT": "closed",
        },
        "running": {
            "LOG": "running",
            "CREDIT": "running",
            "INTERIM": "running",
            "RESPONSE": "answering",
            "RESPONSE END": "done",
            "ABORT": "closed",
        },
        "answering": {
            "LOG": "answering",
            "CREDIT": "answering",
            "DATA": "answering",
            "DATA END": "done",
            "FILE END": "done",
            "ABORT": "closed",
        },
        "done": {},
        "closed": {},
    },
}
ORDER_STATES = {
    "idle": "between two requests",
    "sending": "the body is not complete",
    "sent": "all of the body is out",
    "received": "a request is there",
    "read": "httpd knows which process has the request; the application may not have begun",
    "running": "the application runs; it is too late for RETRY",
    "answering": "the head is out",
    "done": "the response is complete",
    "closed": "the connection carries nothing more",
}

# -------- what a daemon process gets from its guardian

DESCRIPTORS = (
    Constant("LISTENER", 3, "the slot's listener (non-blocking, listening)"),
    Constant(
        "CONFIGURATION",
        4,
        "its configuration: a sealed memfd, `key\\0value\\0` repeated, read from offset 0",
    ),
    Constant(
        "LIFELINE",
        5,
        "the lifeline: read end of a pipe. End-of-file means that the guardian has gone; a byte "
        "says what to do",
    ),
    Constant(
        "STATISTICS",
        6,
        "the statistics pages of the group: a sealed memfd, of which the process maps 64 KiB, "
        "shared and writable, at the offset `page` of its configuration",
    ),
    Constant(
        "WAKEUP",
        7,
        "write end of the wake-up pipe: a byte makes the guardian read the statistics pages",
    ),
    Constant(
        "CONTROL", 8, "a second listener (non-blocking), for administrators (`pywsgid status` ...)"
    ),
    Constant(
        "PREDECESSOR",
        9,
        "only for a successor: the write end of its predecessor's lifeline, opened anew (through "
        "the guardian's own it could make that wait). It writes a byte and closes it once it "
        "is ready",
    ),
)
DESCRIPTORS_END = 10  # everything from here on is closed before exec

LIFELINE = (
    Constant("LEAVE", 0, "finish the requests that have been read, then leave"),
    Constant("FAILED", 1, "the requested successor could not take over: go on"),
)

OUTPUT = (
    Constant(
        "MARK",
        0x02,
        "begins a line that the daemon has composed itself: `[wsgid:LEVEL] [pid N:tid N] text`",
    ),
)

# Above 63 and below 126, where neither Python nor a shell has codes of its own.
EXIT_CODES = (
    Constant("PRIVILEGES", 81, "privileges could not be dropped"),
    Constant("EXEC", 82, "the interpreter could not be executed"),
    Constant("CONFIGURATION", 83, "the configuration is unusable"),
    Constant("LOAD", 84, "the application could not be loaded"),
    Constant("INTERPRETER", 85, "the interpreter is unsuitable (too old, broken)"),
)

# -------- the states of a daemon process

# One name for each state, in C, in Python, in logs and on the status page. Guardians see those of
# `in_httpd`, which have numbers: in C and in the statistics page. The process itself
# distinguishes more. What leads from one state to another is in apxs/guardian/process.c, as a
# guardian sees it, and in pywsgid/daemon/process/states.py, as the process does.
STATES = (
    State("free", True, False, "there is no process"),
    State("booting", True, True, "loads its scripts"),
    State("ready", True, True, "takes requests"),
    State("replacing", False, True, "takes requests, and has asked httpd for a successor"),
    State("draining", True, True, "takes no more requests, finishes those that it has read"),
    State("ending", False, True, "joins the application's threads and runs its atexit handlers"),
    State("gone", False, True, "ends"),
)
# What a process writes into its statistics page. A new page has 0, free.
PAGE_STATES = ("booting", "ready", "draining")

# Why a process asks to be replaced.
REPLACEMENT_REASONS = (
    Constant("NONE", 0, "it has not asked"),
    Constant("ASKED", 1, "an administrator: pywsgid reload"),
    Constant("CHANGED", 2, "a script has changed"),
    Constant("REQUESTS", 3, "maximum-requests"),
    Constant("INTERVAL", 4, "restart-interval"),
    Constant("INACTIVITY", 5, "inactivity-timeout"),
    Constant("MEMORY", 6, "maximum-rss"),
    Constant("STUCK", 7, "a request over request-timeout that cannot be interrupted"),
    Constant("DESCRIPTORS", 8, "it runs out of file descriptors"),
)

# -------- the statistics page

# A daemon writes it, and httpd reads it as hostile input: copied, bounded, never a pointer or an
# index.
PAGE_VERSION = 6
PAGE_SIZES = (
    Constant("SIZE", 64 * KIB, "bytes; only what is used takes memory"),
    Constant(
        "FIRST",
        32,
        "microseconds: bucket 0 of a histogram counts what took less, each further one what took "
        "less than twice as long, the last one all the rest (134 seconds and more)",
    ),
    Constant("BUCKETS", 24, "of a histogram"),
    Constant("PYTHON", 24, "bytes"),
    Constant(
        "SCRIPTS",
        1024,
        'offset of the scripts that the process has loaded, "callable:/path" and a NUL each, up '
        "to an empty one: a successor takes over only if it can load them all",
    ),
    Constant("SCRIPTS_END", 4096, "offset"),
    Constant(
        "ROWS",
        4096,
        "offset of the rows: what each thread does, the first thread's row first, up to the end of "
        "the page; further threads have none",
    ),
    Constant("ROW_SIZE", 256, "bytes"),
    Constant("LINE", 240, "bytes"),
)
PAGE = (
    Field("u32", "version", "of this layout"),
    Field("u32", "state", "one of PAGE_STATES; 0: it has written none yet"),
    Field("u64", "requests_started", "how many a thread has read"),
    Field("u64", "requests_finished", "how many of them are over"),
    Field("u32", "replacement_requests", "how often it has asked to be replaced"),
    Field("u32", "replacement_reason", "why it did last"),
    Field(
        "u64",
        "watchdog",
        "CLOCK_MONOTONIC in milliseconds: when its deadlock watchdog ends it, unless it writes "
        "another time before; 0: there is no watchdog",
    ),
    Field(
        "u64",
        "change",
        "the change of its scripts for which it asked last, as a number made of paths and stamps "
        "(the same in each process that sees the change); 0: it asked for another reason",
    ),
    # For the status page alone. Times are microseconds.
    Field(
        "u64",
        "errors",
        "requests that it answered with an error of its own: an exception, a script that cannot be "
        "loaded, a time limit, an overload",
    ),
    Field("u64", "since", "CLOCK_REALTIME in microseconds: when the process began"),
    Field("u32", "threads", "that run requests"),
    Field(
        "u32",
        "at_once",
        "how many requests it runs at once at most, as it has found by measuring; 0: no limit",
    ),
    Field("bytes", "python", '"3.11.2" and NULs', "PYTHON"),
    Field("u64", "queue_time", "sum of the µs from `sent` until a thread had read the request"),
    Field("u64", "application_time", "sum of the µs from then until the thread was free again"),
    Field("u64", "queue_times", "histogram of the same times", "BUCKETS"),
    Field("u64", "application_times", "histogram of the same times", "BUCKETS"),
)
PAGE_ROW = (
    Field(
        "u64",
        "since",
        "CLOCK_REALTIME in microseconds: when it read the request that it runs; 0: it runs none",
    ),
    Field("u64", "requests", "that it has begun"),
    Field(
        "bytes",
        "line",
        "of the request that it runs, or ran last: method, blank, URI, cut at the end; NUL",
        "LINE",
    ),
)

# -------- Python and the hot path (pywsgid/native)

# The result of wsgid_endpoint_next(); also of wsgid_receive_body(), as a negative number.
OUTCOMES = (
    Constant("LEAVE", 0, "the process drains"),
    Constant("REQUEST", 1, "a request has been read"),
    Constant("UNSENT", 2, "the last response was given up: FACT_UNSENT"),
    Constant("VIOLATION", 3, "of the protocol, by httpd: FACT_FAULT; the frame lies at FACT_AT"),
    Constant("SILENT", 4, "httpd began something and did not go on within socket-timeout"),
    Constant("REFUSED", 5, "a connection of another user: FACT_PID, FACT_UID"),
    Constant(
        "NO_ACCEPT",
        6,
        "a connection could not be accepted, or hardly a descriptor is left (EMFILE): FACT_ERRNO, "
        "FACT_CONNECTIONS, FACT_LIMIT",
    ),
    Constant("GONE", 7, "httpd has closed the connection"),
    Constant("FAILED", 8, "a system call has failed: FACT_ERRNO"),
)

# Numbers (int64_t each) in memory that both see. Python writes two of them: GONE, and CREDIT when
# it grants some.
FACTS = (
    ("ENVIRON", "bytes of the environ block, which begins at ENVIRON_AT of the buffer"),
    ("BODY", "bytes of the body that came with REQUEST, behind the environ block"),
    ("ID", "id of REQUEST"),
    ("SENT", "sent of REQUEST: CLOCK_REALTIME in µs when httpd first had it ready to be sent"),
    ("WAITED", "µs from SENT until a thread had read it; less than 0 if the clock was set back"),
    ("COMPLETE", "httpd's END has been read"),
    ("GONE", "a send or a receive has failed: nothing more is sent"),
    (
        "UNSENT",
        "errno for which the response was given up, if it is to be logged (ETIMEDOUT: too slow)",
    ),
    ("CREDIT", "body bytes that httpd may still send: granted, and not arrived"),
    (
        "AT",
        "where in the buffer the bytes of wsgid_receive_body() begin, or the bad frame",
    ),
    ("FAULT", "one of ERRORS"),
    ("AMOUNT", "bytes behind REQUEST, or of a BODY beyond its credit"),
    ("PID", "of a connection that was refused"),
    ("UID", "likewise"),
    ("ERRNO", "why a system call failed"),
    ("CONNECTIONS", "how many connections from httpd the process has"),
    ("LIMIT", "how many descriptors it may have"),
)

# An endpoint's memory: the facts, then the buffer, which holds a whole REQUEST, however large, and
# one byte more to see that there is more. Only what is used takes memory.
FACTS_SIZE = 4096

# `endpoint` is a worker's end of a connection. They are called with the GIL, and release it only
# before they wait (pywsgid/native/gil.c).
FUNCTIONS = (
    Function(
        "wsgid_hub_t *wsgid_hub_create(int listener, const void *allowed, int allowed_count, "
        "double timeout, double send_limit, double send_silence, int gated, int crowded, "
        "char *page)",
        "Times are seconds. `gated`: there is a GIL. `crowded`: the group has at least as many "
        "processes as there are processors for it. `allowed` (uids) and `page` (the statistics "
        "page, or NULL) must live as long as the hub, which is never freed. NULL: errno.",
    ),
    Function(
        "int wsgid_hub_fits(int interface)",
        "Whether Python's numbers come from the same table: `interface` is its INTERFACE.",
    ),
    Function("int wsgid_hub_open(wsgid_hub_t *hub)", "Begins to accept. 0, or an errno."),
    Function(
        "void wsgid_hub_set_gated(wsgid_hub_t *hub, int gated)",
        "Whether there is a GIL has changed: `gated` as wsgid_hub_create() takes it.",
    ),
    Function("void wsgid_hub_drain(wsgid_hub_t *hub)", "Takes no more requests."),
    Function(
        "int wsgid_hub_waiting(wsgid_hub_t *hub)",
        "How many requests wait, unread, in connections that have been accepted.",
    ),
    Function(
        "void wsgid_hub_abandon(wsgid_hub_t *hub)",
        "In a forked child: nothing here belongs to it. wsgid_endpoint_next() gives WSGID_LEAVE.",
    ),
    Function(
        "wsgid_endpoint_t *wsgid_endpoint_create(wsgid_hub_t *hub, char *memory)",
        "memory: WSGID_FACTS_SIZE + WSGID_BUFFER_SIZE bytes of zeros, page-aligned. NULL: errno.",
    ),
    Function(
        "int wsgid_endpoint_next(wsgid_endpoint_t *endpoint, const char *a, size_t a_size, "
        "const char *b, size_t b_size, int keep)",
        "Sends the two pieces as the end of the response, gives the connection back (keep) or "
        "closes it, and waits for the next request. An outcome.",
    ),
    Function(
        "void wsgid_endpoint_flush(wsgid_endpoint_t *endpoint, const char *a, size_t a_size, "
        "const char *b, size_t b_size, int keep)",
        "The same without waiting.",
    ),
    Function(
        "int wsgid_send_frames(wsgid_endpoint_t *endpoint, const char *a, size_t a_size, "
        "const char *b, size_t b_size, int descriptor)",
        "Sends two pieces now. 0, WSGID_GONE, WSGID_SILENT or WSGID_FAILED. `descriptor` is passed "
        "with the first byte; -1: none.",
    ),
    Function(
        "int wsgid_send_data(wsgid_endpoint_t *endpoint, const char *bytes, size_t size)",
        "Sends one DATA frame now, of at most WSGID_WIRE_MAX_DATA bytes. As wsgid_send_frames().",
    ),
    Function(
        "int wsgid_send_log(wsgid_endpoint_t *endpoint, int64_t id, const char *frames, "
        "size_t size)",
        "Sends LOG frames now, if request `id` still runs: the thread that writes them may be "
        "another one, and late. As wsgid_send_frames().",
    ),
    Function(
        "int wsgid_receive_body(wsgid_endpoint_t *endpoint)",
        "The next body bytes, at most WSGID_RECEIVE_MAX: their number, from FACT_AT on; 0 at the "
        "end of the body; or minus an outcome.",
    ),
    Function(
        "int wsgid_endpoint_is_hung_up(wsgid_endpoint_t *endpoint)",
        "Whether httpd has closed its end. From any thread; never waits.",
    ),
    Function(
        "int wsgid_send_abort(wsgid_endpoint_t *endpoint, int64_t id, const char *a, "
        "size_t a_size)",
        "From another thread: ends request `id` with these frames, if it still runs: 1. Its worker "
        "finds that the client has gone.",
    ),
    Function(
        "void wsgid_measure_withdraw(wsgid_endpoint_t *endpoint)",
        "The request that wsgid_endpoint_next() gave was not started after all.",
    ),
)
