"""Answers at once with the status that the query names, without reading its input."""

from wsgiref.validate import validator


@validator
def application(environ, start_response):
    status = environ["QUERY_STRING"]
    headers = [("Content-Type", "text/plain"), ("Content-Length", "5")]
    if status.startswith("3"):
        headers.append(("Location", "/hello"))
    start_response(status + " Early", headers)
    return [b"early"]
