"""Answers, as JSON, with the process and thread that answer, their user and working directory."""

import json
import os
import sys
import threading
from wsgiref.validate import validator


@validator
def application(environ, start_response):
    answer = {
        "pid": os.getpid(),
        "parent": os.getppid(),
        "thread": threading.get_ident(),
        "uids": os.getresuid(),
        "gids": os.getresgid(),
        "groups": os.getgroups(),
        "directory": os.getcwd(),
        "executable": sys.executable,
        "prefix": sys.prefix,
        "version": list(sys.version_info[:3]),
        "path": sys.path,
        "argv": sys.argv,
        "environment": dict(os.environ),
        "umask": os.umask(0o22),
        "nice": os.nice(0),
    }
    os.umask(answer["umask"])
    start_response("200 OK", [("Content-Type", "application/json")])
    return [json.dumps(answer).encode("ascii")]
