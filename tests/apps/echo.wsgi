"""Sends the request's body back, read in blocks until there is no more."""

from wsgiref.validate import validator


@validator
def application(environ, start_response):
    blocks = iter(lambda: environ["wsgi.input"].read(65536), b"")
    body = b"".join(blocks)
    start_response(
        "200 OK", [("Content-Type", "application/octet-stream"), ("Content-Length", str(len(body)))]
    )
    return [body]
