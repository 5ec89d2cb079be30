"""pywsgid.wire.protocol beyond single frames: encoders, their limits, the order of frames, credit,
errors.
"""

import ast
from pathlib import Path
from struct import pack

import pytest
from wire.conversation import CLOSED, SETTLED, TRANSITIONS, Connection, Parser

from pywsgid.wire import protocol
from pywsgid.wire.protocol import (
    ABORT,
    BODY,
    CREDIT,
    DATA,
    END,
    FILE,
    FROM_DAEMON,
    FROM_HTTPD,
    INTERIM,
    LOG,
    OVERLOADED,
    REQUEST,
    RESPONSE,
    RETRY,
    STARTED,
    LocalProtocolError,
    ProtocolError,
    RemoteProtocolError,
)


def parsed(side, buffers):
    """[(type, flags, payload)] of the frames that an encoder made."""
    parser = Parser(side)
    frames = list(parser.feed(buffers if isinstance(buffers, bytes) else b"".join(buffers)))
    parser.eof()
    return frames


# -------- encoding


def test_a_head_is_strings_with_nuls():
    assert protocol.encode_head("200 OK", [("A", "b"), ("C", "\xe9")]) == b"200 OK\0A\0b\0C\0\xe9\0"
    assert protocol.encode_head("200 OK", []) == b"200 OK\0"


def test_an_environ_may_be_empty():
    assert protocol.encode_environ({}) == b""
    assert protocol.parse_environ(b"") == {}


@pytest.mark.parametrize("block", [bytes, bytearray, memoryview])
def test_blocks_may_be_any_kind_of_bytes(block):
    assert protocol.parse_environ(block(b"A\0b\0")) == {"A": "b"}
    assert protocol.parse_head(block(b"200\0A\0b\0")) == ("200", [("A", "b")])
    *numbers, environ, body = protocol.parse_request(block(pack("<QQII", 9, 8, 7, 4) + b"A\0b\0xy"))
    assert (numbers, bytes(environ), bytes(body)) == ([9, 8, 7], b"A\0b\0", b"xy")


def test_the_last_of_a_key_given_twice_counts():
    assert protocol.parse_environ(b"A\0b\0A\0c\0") == {"A": "c"}


@pytest.mark.parametrize(
    ("status", "headers"),
    [
        ("200\0OK", []),
        ("200 OK", [("A\0", "b")]),
        ("200 OK", [("A", "b\0\0c")]),
        ("200 OK", [("", "b")]),
        ("200 OK", [("A", "\u20ac")]),
    ],
)
def test_a_head_that_cannot_be_encoded_is_a_local_error(status, headers):
    with pytest.raises(LocalProtocolError) as caught:
        protocol.encode_head(status, headers)
    assert caught.value.error == protocol.BAD_PAYLOAD
    assert caught.value.status == 500


def test_a_head_that_is_too_long_is_a_local_error():
    room = protocol.MAX_HEAD - len(b"200 OK\0X\0\0")
    assert len(protocol.encode_head("200 OK", [("X", "v" * room)])) == protocol.MAX_HEAD
    with pytest.raises(LocalProtocolError) as caught:
        protocol.encode_head("200 OK", [("X", "v" * (room + 1))])
    assert caught.value.error == protocol.TOO_LONG


def test_a_small_response_is_one_frame_with_end():
    assert parsed(FROM_DAEMON, protocol.encode_response(b"200\0", b"hi", True)) == [
        (RESPONSE, END, pack("<I", 4) + b"200\0hi")
    ]


def test_a_body_is_not_copied():
    body = b"x" * 1000
    assert protocol.encode_response(b"200\0", body)[1] is body
    assert protocol.encode_data(body)[1] is body


@pytest.mark.parametrize("end", [False, True])
@pytest.mark.parametrize(
    "size", [1, protocol.MAX_DATA, protocol.MAX_DATA + 1, 3 * protocol.MAX_DATA, 2_500_000]
)
def test_a_long_body_continues_in_more_frames(size, end):
    body = bytes(range(256)) * (size // 256) + b"z" * (size % 256)
    for buffers in (protocol.encode_response(b"200\0", body, end), protocol.encode_data(body, end)):
        frames = parsed(FROM_DAEMON, buffers)
        assert [flags for _, flags, _ in frames] == [0] * (len(frames) - 1) + [int(end)]
        assert {type_ for type_, _, _ in frames[1:]} <= {DATA}
        bodies = [
            protocol.parse_response(payload)[1] if type_ == RESPONSE else payload
            for type_, _, payload in frames
        ]
        assert b"".join(bodies) == body
        assert len(frames) == -(-size // protocol.MAX_DATA)


def test_body_frames_have_their_own_limit():
    frames = parsed(
        FROM_HTTPD, protocol.encode_body(memoryview(b"u" * (protocol.MAX_BODY + 1)), True)
    )
    assert [(flags, len(payload)) for _, flags, payload in frames] == [
        (0, protocol.MAX_BODY),
        (END, 1),
    ]


@pytest.mark.parametrize("encode", [protocol.encode_body, protocol.encode_data])
def test_an_empty_body_is_a_frame_only_with_end(encode):
    assert encode(b"") == []
    assert b"".join(encode(b"", True))[1:] == b"\1\0\0\0\0\0\0"


@pytest.mark.parametrize("head", [b"", b"x" * protocol.MAX_HEAD + b"\0"])
@pytest.mark.parametrize("encode", [protocol.encode_response, protocol.encode_interim])
def test_a_head_outside_the_limits_is_not_sent(encode, head):
    with pytest.raises(LocalProtocolError):
        encode(head)


@pytest.mark.parametrize(
    ("block", "body", "flags", "error"),
    [
        (b"x" * (protocol.MAX_ENVIRON + 1), b"", 0, protocol.TOO_LONG),
        (b"", b"x" * (protocol.MAX_START + 1), 0, protocol.TOO_LONG),
        (b"", b"", 4, protocol.BAD_FLAGS),
    ],
)
def test_a_request_outside_the_limits_is_not_sent(block, body, flags, error):
    with pytest.raises(LocalProtocolError) as caught:
        protocol.encode_request(1, block, body, flags)
    assert caught.value.error == error


@pytest.mark.parametrize("amount", [0, -1, 2**32])
def test_credit_is_a_positive_u32(amount):
    with pytest.raises(LocalProtocolError):
        protocol.encode_credit(amount)


@pytest.mark.parametrize(("offset", "length"), [(-1, 1), (0, -1), (2**63 - 1, 1), (0, 2**64)])
def test_a_file_range_is_one_that_a_file_can_have(offset, length):
    with pytest.raises(LocalProtocolError):
        protocol.encode_file(offset, length)


def test_log_and_abort_refuse_invalid_arguments():
    with pytest.raises(LocalProtocolError):
        protocol.encode_log(16, "x")
    with pytest.raises(LocalProtocolError):
        protocol.encode_abort(200, "x")


@pytest.mark.parametrize(
    ("text", "carried"),
    [
        ("caf\xe9", "caf\xe9"),
        ("a\r\nb\0c", "a  b c"),
        ("\udc80", "\\udc80"),
        ("x" * (protocol.MAX_TEXT + 1), "x" * protocol.MAX_TEXT),
        ("x" * (protocol.MAX_TEXT - 1) + "\xe9", "x" * (protocol.MAX_TEXT - 1)),
        ("x" * (protocol.MAX_TEXT - 2) + "\xe9", "x" * (protocol.MAX_TEXT - 2) + "\xe9"),
    ],
    ids=["plain", "breaks", "surrogate", "long", "half a character", "just fits"],
)
def test_text_is_shortened_to_fit(text, carried):
    ((_, _, log),) = parsed(FROM_DAEMON, protocol.encode_log(4, text))
    assert protocol.parse_log(log) == (4, carried)
    ((_, _, abort),) = parsed(FROM_DAEMON, protocol.encode_abort(504, text))
    assert protocol.parse_abort(abort) == (504, carried)


def test_small_frames_are_encoded():
    assert parsed(FROM_DAEMON, protocol.encode_retry()) == [(RETRY, 0, b"")]
    assert parsed(FROM_DAEMON, protocol.encode_overloaded()) == [(OVERLOADED, 0, b"")]
    assert parsed(FROM_DAEMON, protocol.encode_credit(3)) == [(CREDIT, 0, b"\3\0\0\0")]
    assert parsed(FROM_DAEMON, protocol.encode_file(1, 2, True)) == [(FILE, END, pack("<QQ", 1, 2))]
    assert parsed(FROM_DAEMON, protocol.encode_interim(b"103\0")) == [(INTERIM, 0, b"103\0")]


@pytest.mark.parametrize(
    ("waited", "carried"), [(0, 0), (7, 7), (-1, 0), (2**32 - 1, 2**32 - 1), (2**40, 2**32 - 1)]
)
def test_the_waiting_time_is_limited_to_its_field(waited, carried):
    ((type_, _, payload),) = parsed(FROM_DAEMON, protocol.encode_started(5, waited))
    assert (type_, protocol.parse_started(payload)) == (STARTED, (5, carried))


# -------- errors


def test_errors_name_the_fault_and_the_side():
    ours, theirs = (
        LocalProtocolError(protocol.TOO_LONG, "BODY of 9"),
        RemoteProtocolError(protocol.BAD_TYPE),
    )
    assert str(ours) == "payload too long: BODY of 9"
    assert str(theirs) == "unexpected frame type"
    assert (ours.status, theirs.status) == (500, 502)
    assert isinstance(ours, ProtocolError) and isinstance(theirs, ProtocolError)


def test_the_message_names_the_frame_and_its_bounds():
    with pytest.raises(RemoteProtocolError, match="BODY of 262145 bytes, 1 to 262144 are allowed"):
        protocol.parse_header(pack("<BBHI", BODY, 0, 0, 262145))


def test_a_parser_does_not_wait_for_the_payload_of_a_bad_frame():
    parser = Parser(FROM_HTTPD)
    with pytest.raises(RemoteProtocolError):
        list(parser.feed(pack("<BBHI", REQUEST, 0, 0, 2**31)))


def test_a_parser_knows_how_much_is_missing():
    parser = Parser(FROM_HTTPD)
    assert parser.missing == 8
    list(parser.feed(pack("<BBHI", BODY, 0, 0, 5)[:6]))
    assert parser.missing == 2
    list(parser.feed(b"\0\0a"))
    assert parser.missing == 4
    with pytest.raises(RemoteProtocolError, match="4 bytes missing"):
        parser.eof()


# -------- order

REQ, REQ_END, BEGUN = (REQUEST, 0), (REQUEST, END), (STARTED, 0)
RES, RES_END = (RESPONSE, 0), (RESPONSE, END)


def conversation(*steps):
    """A Connection of a daemon after these steps: frames of (type, flags[,
    amount])."""
    connection = Connection(FROM_DAEMON)
    for step in steps:
        apply_step(connection, step)
    return connection


def apply_step(connection, step):
    by_httpd = protocol.FRAMES[step[0]][1] == FROM_HTTPD
    (connection.received if by_httpd else connection.sent)(*step)


@pytest.mark.parametrize(
    "steps",
    [
        [REQ_END, BEGUN, RES_END],
        [REQ_END, BEGUN, (LOG, 0), (OVERLOADED, 0)],
        [REQ_END, BEGUN, RES, (DATA, 0), (FILE, END)],
        [
            REQ_END,
            BEGUN,
            (LOG, 0),
            (INTERIM, 0),
            (LOG, 0),
            (INTERIM, 0),
            RES,
            (LOG, 0),
            (FILE, END),
        ],
        [REQ, BEGUN, (CREDIT, 0, 9), (BODY, 0, 4), (BODY, END, 5), RES_END],
        [
            REQ,
            BEGUN,
            (CREDIT, 0, 9),
            RES,
            (CREDIT, 0, 1),
            (BODY, 0, 10),
            (BODY, END, 0),
            (DATA, END),
        ],
        [REQ, BEGUN, (CREDIT, 0, 9), RES_END, (BODY, 0, 4), (BODY, END, 5)],
        [REQ, (BODY, END, 0), BEGUN, (CREDIT, 0, 1), RES_END],
    ],
)
def test_a_whole_exchange_leaves_the_connection_idle(steps):
    connection = conversation(*steps)
    assert connection.idle
    for step in steps:
        apply_step(connection, step)
    assert connection.idle


@pytest.mark.parametrize(
    "steps",
    [
        [],
        [REQ],
        [REQ_END],
        [REQ, BEGUN],
        [REQ_END, BEGUN, RES],
        [REQ, BEGUN, RES_END],
        [REQ, BEGUN, (CREDIT, 0, 1)],
        [REQ, BEGUN, (OVERLOADED, 0)],
    ],
)
def test_a_connection_is_idle_only_when_both_are_done(steps):
    assert conversation(*steps).idle == (not steps)


def test_a_request_with_only_log_frames_may_still_be_sent_elsewhere():
    assert conversation(REQ, BEGUN, (LOG, 0), (RETRY, 0)).state[FROM_DAEMON] == CLOSED


@pytest.mark.parametrize("last", [(RETRY, 0), (ABORT, 0)])
def test_nothing_may_follow_from_a_daemon_that_gave_up(last):
    between = [(CREDIT, 0, 5), RES] if last[0] == ABORT else []
    connection = conversation(REQ, BEGUN, *between, last)
    assert not connection.idle
    for type_ in (LOG, CREDIT, RESPONSE, DATA, RETRY, ABORT, STARTED):
        with pytest.raises(LocalProtocolError):
            connection.sent(type_)


@pytest.mark.parametrize(
    ("before", "wrong"),
    [
        ([], (RESPONSE, 0)),
        ([], (LOG, 0)),
        ([], (BODY, 0)),
        ([REQ], REQ),
        ([REQ_END], (BODY, END)),
        ([REQ_END], REQ_END),
        ([REQ_END], (RESPONSE, 0)),
        ([REQ_END], (LOG, 0)),
        ([REQ_END], (RETRY, 0)),
        ([REQ_END], (ABORT, 0)),
        ([REQ_END, BEGUN], BEGUN),
        ([REQ_END, BEGUN, RES], BEGUN),
        ([REQ_END, BEGUN, RES_END], BEGUN),
        ([], BEGUN),
        ([REQ_END, BEGUN], (DATA, 0)),
        ([REQ_END, BEGUN], (FILE, END)),
        ([REQ_END, BEGUN, RES], (FILE, 0)),
        ([REQ_END, BEGUN, RES], (RESPONSE, 0)),
        ([REQ_END, BEGUN, RES], (INTERIM, 0)),
        ([REQ_END, BEGUN, RES], (RETRY, 0)),
        ([REQ, BEGUN, (CREDIT, 0, 1)], (RETRY, 0)),
        ([REQ_END, BEGUN, (INTERIM, 0)], (RETRY, 0)),
        ([REQ_END], (OVERLOADED, 0)),
        ([REQ_END, BEGUN, RES], (OVERLOADED, 0)),
        ([REQ, BEGUN, (CREDIT, 0, 1)], (OVERLOADED, 0)),
        ([REQ_END, BEGUN, (OVERLOADED, 0)], (DATA, END)),
        ([REQ, BEGUN, RES_END], (DATA, END)),
        ([REQ, BEGUN, RES_END], (CREDIT, 0, 1)),
        ([REQ, BEGUN, RES_END], (LOG, 0)),
        ([REQ, BEGUN, RES_END], REQ),
        ([REQ_END, BEGUN, RES_END], (DATA, 0)),
    ],
)
def test_a_frame_out_of_order_is_a_violation(before, wrong):
    connection = conversation(*before)
    erred = (
        RemoteProtocolError if protocol.FRAMES[wrong[0]][1] == FROM_HTTPD else LocalProtocolError
    )
    state = list(connection.state)
    with pytest.raises(erred) as caught:
        apply_step(connection, wrong)
    assert caught.value.error == protocol.OUT_OF_ORDER
    assert connection.state == state


def test_the_role_decides_whose_error_a_violation_is():
    with pytest.raises(RemoteProtocolError):
        Connection(FROM_HTTPD).received(RESPONSE)
    with pytest.raises(LocalProtocolError):
        Connection(FROM_HTTPD).sent(BODY)


def test_body_needs_credit():
    connection = conversation(REQ, BEGUN, (CREDIT, 0, 3), (CREDIT, 0, 3), (BODY, 0, 5))
    assert connection.credit == 1
    with pytest.raises(RemoteProtocolError) as caught:
        connection.received(BODY, END, 2)
    assert caught.value.error == protocol.OVER_CREDIT
    connection.received(BODY, END, 1)


def test_the_end_of_a_body_needs_no_credit():
    conversation(REQ).received(BODY, END, 0)


def test_credit_does_not_outlive_its_request():
    connection = conversation(REQ, BEGUN, (CREDIT, 0, 9), (BODY, END, 1), RES_END, REQ)
    with pytest.raises(RemoteProtocolError):
        connection.received(BODY, 0, 1)


def test_a_closed_connection_carries_nothing():
    connection = conversation(REQ_END, BEGUN, RES_END)
    connection.close()
    with pytest.raises(RemoteProtocolError):
        connection.received(REQUEST)


def test_the_state_tables_are_complete_and_every_state_can_be_reached():
    for side, states in TRANSITIONS.items():
        follows = {follow for frames in states.values() for follow in frames.values()}
        settled = {pair[side] for pair in SETTLED.values()}
        assert follows <= set(states) | {CLOSED}
        assert set(states) - {CLOSED} <= follows | settled
        for type_, _ in {key for frames in states.values() for key in frames}:
            assert protocol.FRAMES[type_][1] == side


def test_every_frame_is_allowed_in_some_state():
    sent = {
        type_
        for states in TRANSITIONS.values()
        for frames in states.values()
        for type_, _ in frames
    }
    assert sent == set(protocol.FRAMES)


# -------- rules


def test_the_codec_imports_nothing_that_does_io():
    """The codec uses no socket, no thread and no clock, and costs a daemon's start no more than it
    must.
    """
    tree = ast.parse(Path(protocol.__file__).read_text(encoding="utf-8"))
    run = [node for node in tree.body if not is_for_types_only(node)]
    nodes = [node for statement in run for node in ast.walk(statement)]
    modules = [node.module for node in nodes if isinstance(node, ast.ImportFrom)]
    assert modules == ["__future__", "struct"]
    assert not [node for node in nodes if isinstance(node, ast.Import)]


def is_for_types_only(node):
    """Whether only the type checker runs a statement."""
    return isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
