"""Sends 103 Early Hints, then answers once the file of the path exists. The query is the number of
hints; "late" sends one too late.

"bad" sends a hint that is not allowed; "none" sends none.
"""

import os
import time
from wsgiref.validate import validator

LINK = "</style.css>; rel=preload; as=style"


def wait_for(path):
    deadline = time.monotonic() + 10
    while not os.path.exists(path) and time.monotonic() < deadline:
        time.sleep(0.01)


def late(hint):
    yield b"begun "
    try:
        hint([("Link", LINK)])
    except Exception as error:
        yield type(error).__name__.encode("ascii")
    else:
        yield b"ignored"


@validator
def application(environ, start_response):
    hint, kind = environ["wsgi.early_hints"], environ["QUERY_STRING"]
    if kind == "bad":
        hint([("Link", "one\r\nX-Injected: yes")])
    if kind.isdigit():
        for number in range(int(kind)):
            hint([("Link", LINK), ("X-Hint", str(number))])
        wait_for(environ["PATH_INFO"])
    start_response("200 OK", [("Content-Type", "text/plain"), ("X-Final", "yes")])
    return late(hint) if kind == "late" else [b"answered"]
