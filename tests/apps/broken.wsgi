"""Breaks off its response in the way that the path names; violates WSGI on purpose. With the query
"length", it declares a Content-Length; with "small", the first block is small.

/raise, /kill and /short stop after the first of two blocks, /long sends a block too many, /late
raises after the last one, /whole is complete.
"""

import os
import signal
import time

BLOCK = b"x" * 100_000


def after_the_first(kind):
    if kind == "raise":
        raise RuntimeError("raised after the headers")
    if kind == "kill":
        time.sleep(0.1)  # so that httpd has surely passed on the first block
        os.kill(os.getpid(), signal.SIGKILL)


def blocks(kind, first=BLOCK):
    yield first
    after_the_first(kind)
    if kind != "short":
        yield BLOCK
    if kind == "long":
        yield b"one too many"
    if kind == "late":
        raise RuntimeError("raised after the last block")


def application(environ, start_response):
    headers = [("Content-Type", "application/octet-stream")]
    if environ["QUERY_STRING"] == "length":
        headers.append(("Content-Length", str(2 * len(BLOCK))))
    start_response("200 OK", headers)
    first = b"small" if environ["QUERY_STRING"] == "small" else BLOCK
    return blocks(environ["PATH_INFO"].strip("/"), first)
