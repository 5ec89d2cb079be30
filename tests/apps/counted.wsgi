"""Answers with how often it has run, and may be cached; the body is long enough for it and in two blocks."""
import itertools
from wsgiref.validate import validator

COUNT = itertools.count(1)


@validator
def application(environ, start_response):
    headers = [("Content-Type", "text/plain"), ("Cache-Control", "max-age=60"), ("ETag", '"counted"')]
    start_response("200 OK", headers)
    return iter([b"run %d " % next(COUNT), b"x" * 10_000])
