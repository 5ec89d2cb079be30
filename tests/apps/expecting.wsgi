"""For clients that send Expect: 100-continue: /refuse/413 answers 413 without reading, /read/N
reads N times and counts the bytes.

/late reads only after the first block of the answer has been sent.
"""

from wsgiref.validate import validator

REASONS = {"413": "Content Too Large", "401": "Unauthorized", "200": "OK"}


def late(source):
    yield b"before "
    yield str(len(source.read(1 << 30))).encode("ascii")


@validator
def application(environ, start_response):
    _, kind, *rest = environ["PATH_INFO"].split("/")
    status = rest[0] if kind == "refuse" else "200"
    start_response(f"{status} {REASONS[status]}", [("Content-Type", "text/plain")])
    if kind == "late":
        return late(environ["wsgi.input"])
    if kind == "refuse":
        return [b"no, thanks"]
    sizes = [len(environ["wsgi.input"].read(1000)) for _ in range(int(rest[0]))]
    return [str(sum(sizes)).encode("ascii")]
