"""Writes to where the path says: standard output, standard error, `logging`."""

import logging
import sys
from wsgiref.validate import validator

WAYS = {
    "/print": lambda text: print(text),
    "/unfinished": lambda text: print(text, end=""),
    "/stderr": lambda text: print(text, file=sys.stderr),
    "/warning": lambda text: logging.getLogger("app").warning("%s", text),
    "/error": lambda text: logging.getLogger("app").error("%s", text),
    "/critical": lambda text: logging.getLogger("app").critical("%s", text),
}


@validator
def application(environ, start_response):
    WAYS[environ["PATH_INFO"]](environ["QUERY_STRING"])
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"logged"]
