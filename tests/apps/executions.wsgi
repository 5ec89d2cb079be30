"""Answers with the query, its process and the version of this script, and records each execution in
the file that SetEnv EXECUTIONS names.

One execution is one line and one write, so that lines of several processes never mix.
`sleep=SECONDS` in the query (before the name, with &) delays the answer. SetEnv IMPORT_TAKES makes
loading the script take that long.
"""

import os
import time

VERSION = "1"
NOTES = {}


def note(path, name):
    if path not in NOTES:
        NOTES[path] = os.open(path, os.O_WRONLY | os.O_APPEND)
    os.write(NOTES[path], name.encode("ascii") + b"\n")


def application(environ, start_response):
    option, _, name = environ["QUERY_STRING"].rpartition("&")
    if environ.get("EXECUTIONS"):
        note(environ["EXECUTIONS"], name)
    if option:
        time.sleep(float(option.partition("=")[2]))
    body = f"{name}\n{os.getpid()}\n{VERSION}\n{'x' * 2000}".encode("ascii")
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", str(len(body)))])
    return [body]
