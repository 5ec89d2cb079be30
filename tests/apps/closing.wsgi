"""Counts how often close() of its iterable is called: /KIND answers in that way, /counts?KIND
returns the count.

Kinds that fail are not wrapped in the validator.
"""

import threading
import time

COUNTS = {}
LOCK = threading.Lock()


class Body:
    """Three blocks; `fail` names the step that raises."""

    def __init__(self, kind, fail=None, blocks=(b"one ", b"two ", b"three")):
        self.kind, self.fail, self.blocks = kind, fail, list(blocks)

    def __iter__(self):
        if self.fail == "iter":
            raise RuntimeError("raised by __iter__")
        return self

    def __next__(self):
        if self.fail == "first" or (self.fail == "second" and len(self.blocks) == 2):
            raise RuntimeError("raised by __next__")
        if self.fail == "endless":
            time.sleep(0.01)
            return b"x" * 65536
        if not self.blocks:
            raise StopIteration
        return self.blocks.pop(0)

    def close(self):
        with LOCK:
            COUNTS[self.kind] = COUNTS.get(self.kind, 0) + 1
        if self.fail == "close":
            raise RuntimeError("raised by close()")


def body_of(kind):
    if kind == "text":
        return Body(kind, blocks=["not bytes"])
    if kind == "empty":
        return Body(kind, blocks=[])
    return Body(kind, fail=kind if kind != "plain" else None)


def application(environ, start_response):
    kind = environ["PATH_INFO"].lstrip("/")
    if kind == "counts":
        start_response("200 OK", [("Content-Type", "text/plain")])
        return [str(COUNTS.get(environ["QUERY_STRING"], 0)).encode("ascii")]
    if kind == "bad-status":
        start_response("200 OK\r\nX-Injected: yes", [("Content-Type", "text/plain")])
    elif kind != "no-start":
        start_response("200 OK", [("Content-Type", "text/plain")])
    return body_of(kind)
