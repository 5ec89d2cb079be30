"""Reads and answers in turns: sends each 16 bytes of the body back, in capitals, before it reads
the next.
"""

from wsgiref.validate import validator

SIZE = 16


def turns(source):
    while piece := source.read(SIZE):
        yield piece.upper()


@validator
def application(environ, start_response):
    start_response("200 OK", [("Content-Type", "application/octet-stream")])
    return turns(environ["wsgi.input"])
