"""Answers with as many lines of text as the query says; the text compresses well."""

from wsgiref.validate import validator


@validator
def application(environ, start_response):
    body = b"a line of text that looks like the others\n" * int(environ["QUERY_STRING"] or 1)
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", str(len(body)))])
    return [body]
