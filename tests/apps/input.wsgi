"""Reads wsgi.input in the way that the path names; answers with the sizes of the pieces, the total
and the digest.
"""

import hashlib
import json
from wsgiref.validate import validator


def until_empty(read):
    return list(iter(read, b""))


WAYS = {
    "/all": lambda source: [source.read(-1)],
    "/bytes": lambda source: until_empty(lambda: source.read(1)),
    "/odd": lambda source: until_empty(lambda: source.read(7919)),
    "/huge": lambda source: until_empty(lambda: source.read(1 << 30)),
    "/line": lambda source: until_empty(source.readline),
    "/limited-line": lambda source: until_empty(lambda: source.readline(10)),
    "/lines": lambda source: source.readlines(),
    "/hint": lambda source: sum(iter(lambda: source.readlines(100), []), []),
    "/iteration": list,
    "/line-then-rest": lambda source: [source.readline(), source.read(-1)],
    "/past-the-end": lambda source: [
        source.read(-1),
        source.read(-1),
        source.read(10),
        source.readline(),
    ],
    "/nothing": lambda source: [source.read(0)],
    "/unread": lambda source: [],
    "/first": lambda source: [source.read(10)],
}


@validator
def application(environ, start_response):
    pieces = WAYS[environ["PATH_INFO"]](environ["wsgi.input"])
    whole = b"".join(pieces)
    answer = {
        "sizes": [len(piece) for piece in pieces],
        "total": len(whole),
        "digest": hashlib.sha256(whole).hexdigest(),
    }
    start_response("200 OK", [("Content-Type", "application/json")])
    return [json.dumps(answer).encode("ascii")]
