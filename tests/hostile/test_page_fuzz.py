"""Whatever a daemon writes into its statistics page: guardians and httpd's children go on, and the
status page shows nothing but bounded numbers and printable text.

`make test-sanitized` runs this with ASan and UBSan in httpd, `make fuzz` for long (WSGID_FUZZ).
"""

from __future__ import annotations

import json
import os
import re
import struct

import pytest
from httpdenv import wait_until
from hypothesis import HealthCheck, Phase, given, settings, strategies as some

from pywsgid.wire import process_abi

EFFORT = int(os.environ.get("WSGID_FUZZ", "1"))
CONFIGURATION = """
WSGIDaemonProcess app
WSGIDaemonProcess hostile processes=2 threads=4 graceful-timeout=1 shutdown-timeout=1
WSGIScriptAlias /app ${APPS}/hello.wsgi process-name=app
WSGIScriptAlias /hostile ${FILES}/writes.wsgi process-name=hostile
<Location /wsgid-status>
    SetHandler wsgid-status
</Location>
"""
# Writes the request's body, "offset length bytes" repeated, into its page; lets its guardian look;
# and says again that it is ready, because no more requests would come otherwise.
WRITES = """
import ctypes, os, struct, time
with open("/proc/self/maps") as maps:
    PAGE = next(int(line.split("-")[0], 16) for line in maps if "wsgid-statistics" in line)
FIXED = ctypes.string_at(PAGE, 4) + struct.pack("<I", READY)
def application(environ, start_response):
    body = environ["wsgi.input"].read()
    while body:
        offset, length = struct.unpack_from("<II", body)
        ctypes.memmove(PAGE + offset, body[8 : 8 + length], length)
        body = body[8 + length :]
    os.write(WAKEUP, b"x")
    time.sleep(0.001)
    ctypes.memmove(PAGE, FIXED, 8)
    start_response("200 OK", [])
    return [b""]
"""
READY = process_abi.STATE_READY
FORMS = ("", "auto", "json", "prometheus")

# -------- pages


def number(bits: int):
    edges = [0, 1, 2, 5, 1 << 15, 1 << 31, (1 << 63) - 1, 1 << 63, (1 << 64) - 1, (1 << 64) - 2]
    near = [edge & ((1 << bits) - 1) for edge in edges]
    return some.sampled_from(near) | some.integers(0, (1 << bits) - 1)


def field(code: str):
    size = struct.calcsize("<" + code)
    return some.binary(min_size=size, max_size=size) if "s" in code else number(8 * size)


def record(form: str):
    """The bytes of a struct with any values."""
    codes = [
        code
        for count, kind in re.findall(r"(\d*)([IQs])", form)
        for code in ([count + kind] if kind == "s" else [kind] * int(count or 1))
    ]
    fields = some.tuples(*map(field, codes))
    return fields.map(lambda values: struct.pack("<" + "".join(codes), *values))


SCRIPTS_ROOM = process_abi.PAGE_SCRIPTS_END - process_abi.PAGE_SCRIPTS
SCRIPT = some.sampled_from(
    [
        b"application:/x\0",
        b"a:/\n\0",
        b":/\0",
        b"\0",
        b"/no/colon\0",
        b"a:" + b"/x" * 1500,
        b"\xff:/",
    ]
)
PIECES = some.one_of(
    record(process_abi.PAGE_FORMAT).map(lambda data: (0, data)),
    record(process_abi.PAGE_FORMAT).map(
        # Of the right version, so that the rest counts.
        lambda data: (8, data[8:])
    ),
    some.lists(SCRIPT, max_size=40).map(
        lambda texts: (process_abi.PAGE_SCRIPTS, b"".join(texts)[:SCRIPTS_ROOM])
    ),
    some.tuples(
        some.integers(0, 60).map(lambda row: process_abi.PAGE_ROWS + row * 256),
        record(process_abi.PAGE_ROW_FORMAT),
    ),
    some.tuples(some.integers(0, 60000), some.binary(max_size=5000)),
)


def is_not_draining(pieces) -> bool:
    """A process that says it drains is left alone until it ends: then there is nobody to write."""
    page = bytearray(process_abi.PAGE_SIZE)
    for offset, data in pieces:
        page[offset : offset + len(data)] = data
    return page[4:8] != struct.pack("<I", process_abi.STATE_DRAINING)


PAGES = some.lists(PIECES, min_size=1, max_size=6).filter(is_not_draining)

# -------- the test


@pytest.fixture(scope="module")
def httpd(make_httpd):
    script = WRITES.replace("READY", str(READY)).replace("WAKEUP", str(process_abi.FD_WAKEUP))
    httpd = make_httpd(CONFIGURATION, files={"writes.wsgi": script})
    assert httpd.get("/app").status_code == 200
    return httpd


def read_everything(session, httpd) -> None:
    for query in FORMS:
        answer = session.get(httpd.url(f"/wsgid-status?{query}"))
        assert answer.status_code == 200
        assert re.fullmatch(rb"[ -~\n]*", answer.content)
        if query == "json":
            groups = {group["name"]: group for group in json.loads(answer.text)["groups"]}
            check(groups["hostile"])
            assert groups["app"]["slots_ready"] == 1
        if query == "prometheus":
            values = [
                float(line.split()[-1]) for line in answer.text.splitlines() if line[0] != "#"
            ]
            assert all(0 <= value <= 1e18 for value in values)


def check(group: dict) -> None:
    for process in (process for slot in group["slots"] for process in slot["processes"]):
        assert 0 <= process["busy_threads"] <= process["threads"] <= 4096
        for running in process["running"]:
            assert re.fullmatch(r"[ -~]{0,240}", running["request"])
            assert 0 <= running["elapsed_seconds"] <= process["uptime_seconds"]


@pytest.mark.timeout(600 * EFFORT)
def test_no_page_does_harm(httpd):
    children, guardians = httpd.children(), httpd.guardians()

    @settings(
        max_examples=150 * EFFORT,
        deadline=None,
        database=None,
        phases=[Phase.generate],  # what one example did stays, so a smaller one may not fail
        suppress_health_check=list(HealthCheck),
    )
    @given(PAGES)
    def write_and_read(pieces):
        body = b"".join(struct.pack("<II", at, len(data)) + data for at, data in pieces)
        # While the process is replaced, there may be none for a moment.
        wait_until(
            lambda: session.post(httpd.url("/hostile"), body).status_code == 200,
            "a process to write the page",
        )
        read_everything(session, httpd)

    # It asks to be replaced, and its successors cannot load what it claims to have loaded.
    with httpd.log.allows("group 'hostile'"), httpd.session() as session:
        write_and_read()
    assert httpd.get("/app").status_code == 200
    assert (httpd.children(), httpd.guardians()) == (children, guardians)
