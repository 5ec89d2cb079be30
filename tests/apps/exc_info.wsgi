"""Calls start_response a second time with exc_info: before anything is sent (/before) or after
(/after).
"""

import sys


def application(environ, start_response):
    write = start_response("200 OK", [("Content-Type", "text/plain"), ("X-First", "yes")])
    if environ["PATH_INFO"] == "/after":
        write(b"x" * 100000)
    try:
        raise ValueError("the reason")
    except ValueError:
        start_response(
            "503 Replaced", [("Content-Type", "text/plain"), ("X-Second", "yes")], sys.exc_info()
        )
    return [b"replaced"]
