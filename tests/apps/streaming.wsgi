"""Sends blocks one by one. The next one follows when the file of the request's path has that many
lines, or after 10 s at most.
"""

import time
from wsgiref.validate import validator


def lines_in(path):
    try:
        with open(path, encoding="ascii") as file:
            return len(file.readlines())
    except FileNotFoundError:
        return 0


def blocks(path, count):
    for number in range(count):
        deadline = time.monotonic() + 10
        while lines_in(path) < number and time.monotonic() < deadline:
            time.sleep(0.005)
        yield b"block %d\n" % number


@validator
def application(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    return blocks(environ["PATH_INFO"], int(environ["QUERY_STRING"]))
