"""Sends blocks one by one; the next when the file of the request's path has grown to its number of lines, at most 10 s later."""
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
