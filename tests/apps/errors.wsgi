"""Writes to wsgi.errors in the way that the path names; the query is the text."""

from urllib.parse import unquote
from wsgiref.validate import validator


def lines(errors, text):
    errors.write(f"{text} one\n{text} two\n")
    errors.flush()


def pieces(errors, text):
    for piece in (text, " in", " pieces", "\n"):
        errors.write(piece)


def several(errors, text):
    errors.writelines([f"{text} a\n", f"{text} b\n"])


WAYS = {
    "/lines": lines,
    "/pieces": pieces,
    "/writelines": several,
    "/unfinished": lambda e, t: e.write(f"{t} unfinished"),
}


@validator
def application(environ, start_response):
    WAYS[environ["PATH_INFO"]](environ["wsgi.errors"], unquote(environ["QUERY_STRING"]))
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"logged"]
