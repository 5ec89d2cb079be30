"""Answers at once with the status that the query names, without reading its input. Below /later, the
iterable goes on for a moment after its last block.
"""

import time
from wsgiref.validate import validator


def later():
    yield b"early"
    time.sleep(0.2)


@validator
def application(environ, start_response):
    status = environ["QUERY_STRING"]
    headers = [("Content-Type", "text/plain"), ("Content-Length", "5")]
    if status.startswith("3"):
        headers.append(("Location", "/hello"))
    start_response(status + " Early", headers)
    return later() if environ["PATH_INFO"] == "/later" else [b"early"]
