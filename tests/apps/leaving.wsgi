"""For clients that leave. Prints what happens to a request; the query is the request's name.

/started   prints "started NAME" and answers
/stream    sends a block every 20 ms for 30 s; its close() prints "closed NAME"
/torrent   the same in large blocks
/work      sends nothing and checks wsgid.client_gone every 10 ms: prints "noticed NAME",
           or after 5 s "finished NAME"
/whole     sends a block that completes its Content-Length: what wsgid.client_gone says then is
           "complete NAME: ANSWER", and "closed NAME: ANSWER" in close()
/upload    reads its input: prints "lost NAME: ERROR" or "read NAME N"
"""

import time
from wsgiref.validate import validator


def report(environ, what, more=""):
    print(f"{what} {environ['QUERY_STRING']}{more}", flush=True)


class Stream:
    def __init__(self, environ, size):
        self.environ, self.block, self.until = environ, b"x" * size, time.monotonic() + 30

    def __iter__(self):
        return self

    def __next__(self):
        if time.monotonic() > self.until:
            raise StopIteration
        time.sleep(0.02)
        return self.block

    def close(self):
        report(self.environ, "closed")


class Whole:
    def __init__(self, environ):
        self.environ, self.gone = environ, environ["wsgid.client_gone"]

    def __iter__(self):
        yield b"whole"
        report(self.environ, "complete", f": {self.gone()}")

    def close(self):
        report(self.environ, "closed", f": {self.gone()}")


def work(environ):
    until = time.monotonic() + 5
    while time.monotonic() < until:
        if environ["wsgid.client_gone"]():
            report(environ, "noticed")
            return [b"for nobody"]
        time.sleep(0.01)
    report(environ, "finished")
    return [b"finished"]


def upload(environ):
    total = 0
    try:
        while block := environ["wsgi.input"].read(50_000):
            total += len(block)
    except OSError as error:
        report(environ, "lost", f": {type(error).__mro__[-4].__name__} {error}")
        raise
    report(environ, "read", f" {total}")
    return [b"read"]


@validator
def application(environ, start_response):
    kind = environ["PATH_INFO"].strip("/")
    report(environ, "started")
    length = [("Content-Length", "5")] if kind == "whole" else []
    start_response("200 OK", [("Content-Type", "text/plain"), *length])
    if kind == "stream":
        return Stream(environ, 1000)
    if kind == "whole":
        return Whole(environ)
    if kind == "torrent":
        return Stream(environ, 4_000_000)
    return {"work": work, "upload": upload}.get(kind, lambda environ: [b"answered"])(environ)
