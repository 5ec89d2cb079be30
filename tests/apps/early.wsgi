"""Answers at once with the status that the query names, without reading its input."""

from wsgiref.validate import validator


@validator
def application(environ, start_response):
    headers = [("Content-Type", "text/plain"), ("Content-Length", "5"), ("Location", "/hello")]
    start_response(environ["QUERY_STRING"] + " Early", headers)
    return [b"early"]
