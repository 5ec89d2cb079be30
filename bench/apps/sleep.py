"""Answers with hello at once; with a query string (/?50), after that many milliseconds without the
GIL.
"""

import time

BODY = b"Hello, world!\n"
HEADERS = [("Content-Type", "text/plain"), ("Content-Length", str(len(BODY)))]


def application(environ, start_response):
    query = environ.get("QUERY_STRING")
    if query:
        time.sleep(int(query) / 1000)
    start_response("200 OK", HEADERS)
    return [BODY]
