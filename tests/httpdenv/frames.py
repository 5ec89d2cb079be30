"""Frames as a broken or malicious daemon may build them: nothing is checked.

tests/apps/hostile.wsgi sends them: `httpd.post("/hostile?none", data.hex().encode())`.
"""

from __future__ import annotations

import struct

from pywsgid.wire import protocol

OK = "200 OK"


def frame(
    kind: int, payload: bytes = b"", flags: int = 0, length: int | None = None, reserved: int = 0
) -> bytes:
    return (
        struct.pack("<BBHI", kind, flags, reserved, len(payload) if length is None else length)
        + payload
    )


def response(
    *strings: str, body: bytes = b"", flags: int = 0, head_length: int | None = None
) -> bytes:
    head = b"".join(string.encode("latin-1") + b"\0" for string in strings)
    prefix = struct.pack("<I", len(head) if head_length is None else head_length)
    return frame(protocol.RESPONSE, prefix + head + body, flags)


def file(offset: int, length: int) -> bytes:
    return response(OK) + frame(protocol.FILE, struct.pack("<QQ", offset, length), protocol.END)


STARTED = frame(protocol.STARTED, struct.pack("<II", 1, 0))
