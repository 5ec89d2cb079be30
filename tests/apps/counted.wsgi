"""Answers with the number of times that it has run. The answer may be cached; its body is long
enough for that and has two blocks.
"""

import itertools
from wsgiref.validate import validator

COUNT = itertools.count(1)


@validator
def application(environ, start_response):
    headers = [
        ("Content-Type", "text/plain"),
        ("Cache-Control", "max-age=60"),
        ("ETag", '"counted"'),
    ]
    start_response("200 OK", headers)
    return iter([b"run %d " % next(COUNT), b"x" * 10_000])
