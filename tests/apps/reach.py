#!/usr/bin/python3
"""A CGI program and, as an import, the body of reach.wsgi: tries to connect to the sockets that the
query names ("/path&/path"), and through the descriptors of every process that it may look into.

Answers, as JSON, with its uid, what became of each path, and the descriptors through which it
connected.
"""

import glob
import json
import os
import socket


def attempt(path):
    """Returns "connected", or the name of the exception."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        try:
            connection.connect(path)
        except OSError as error:
            return type(error).__name__
    return "connected"


def target(descriptor):
    try:
        return os.readlink(descriptor)
    except OSError:  # it has been closed, or nobody may know
        return ""


def descriptors(directories):
    """The descriptors of these directories in other processes, as far as this one may see them.
    (Another httpd of this machine may have sockets of the same names.)
    """
    return [
        path
        for path in glob.glob("/proc/[0-9]*/fd/*")
        if not path.startswith(f"/proc/{os.getpid()}/") and target(path) in directories
    ]


def answer(query):
    paths = query.split("&")
    names = {os.path.basename(path) for path in paths}
    found = descriptors({os.path.dirname(path) for path in paths})
    ways = [f"{descriptor}/{name}" for descriptor in found for name in names]
    return json.dumps(
        {
            "uid": os.getuid(),
            "paths": {path: attempt(path) for path in paths},
            "ways": [way for way in ways if attempt(way) == "connected"],
        }
    )


if __name__ == "__main__":
    print("Content-Type: application/json\n")
    print(answer(os.environ["QUERY_STRING"]))
