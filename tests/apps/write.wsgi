"""Uses the write() that start_response returns, before and beside an iterable."""

from wsgiref.validate import validator


@validator
def application(environ, start_response):
    write = start_response("200 OK", [("Content-Type", "text/plain")])
    write(b"written ")
    write(b"")
    write(b"twice ")
    return [b"and ", b"returned"]
