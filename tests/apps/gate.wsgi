"""Prints "at the gate NAME" and answers once the file of the request's path exists, or after 30 s
with a 500.

The query is NAME. A test waits for the line, does something while the request is in flight, and
then creates the file.
"""

import os
import time
from wsgiref.validate import validator

LIMIT = 30


def wait_for(path):
    deadline = time.monotonic() + LIMIT
    while time.monotonic() < deadline:
        if os.path.exists(path):
            return True
        time.sleep(0.01)
    return False


@validator
def application(environ, start_response):
    print(f"at the gate {environ['QUERY_STRING']}", flush=True)
    opened = wait_for(environ["PATH_INFO"])
    start_response("200 OK" if opened else "500 Gate Shut", [("Content-Type", "text/plain")])
    return [str(os.getpid()).encode("ascii")]
