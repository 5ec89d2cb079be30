"""A response without a daemon: an exchange that records the frames instead of sending them.

exchange = run([b"hello"])
assert exchange.names == ["RESPONSE+"]
"""

from __future__ import annotations

from wire.conversation import Parser

from pywsgid.daemon.wsgi.response import ENDED, Response
from pywsgid.wire import protocol

TEXT = [("Content-Type", "text/plain")]


class Exchange:
    """Records frames as (name, has END, payload); the frames of finish() are in `last`."""

    id = 1

    def __init__(self) -> None:
        self.frames, self.sends, self.last, self.keep, self.file = [], 0, None, None, None
        self.gone, self.complete = False, True  # `complete`: the whole request has been received

    def send(self, parts):
        self.sends += 1
        self.frames += self.read(parts)

    def log(self, request_id, frames):
        self.send(frames)

    def send_block(self, block):
        self.send(protocol.encode_data(block))

    def finish(self, parts, keep, file=None):
        assert self.last is None, "finished twice"
        self.last, self.keep, self.file = self.read(parts), keep, file

    def flush(self):
        self.frames += self.last or []
        self.last = []

    def is_hung_up(self):
        return self.gone

    def read(self, parts):
        parser = Parser(protocol.FROM_DAEMON)
        return [
            (protocol.type_name(k), bool(f & protocol.END), p)
            for k, f, p in parser.feed(b"".join(parts))
        ]

    @property
    def all(self):
        return self.frames + (self.last or [])

    @property
    def names(self):
        return [name + ("+" if end else "") for name, end, _ in self.all]

    @property
    def head(self):
        payload = next(p for name, _, p in self.all if name == "RESPONSE")
        return protocol.parse_head(protocol.parse_response(payload)[0])

    @property
    def body(self):
        pieces = [
            protocol.parse_response(p)[1] if name == "RESPONSE" else p for name, _, p in self.all
        ]
        return b"".join(pieces)


def run(result, status="200 OK", headers=None, method="GET"):
    exchange = Exchange()
    response = Response(exchange, method)
    response.start_response(status, list(TEXT if headers is None else headers))
    response.run(result)
    assert response.state == ENDED
    return exchange


def start(status="200 OK", headers=None):
    Response(Exchange(), "GET").start_response(status, list(TEXT) if headers is None else headers)
