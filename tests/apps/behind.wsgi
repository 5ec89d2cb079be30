"""Writes to descriptors 1 and 2 behind Python's back, as C code and other programs do."""

import ctypes
import os
import subprocess
import time


def body(environ):
    length = int(environ.get("CONTENT_LENGTH") or 0)
    return environ["wsgi.input"].read(length)


def write(data):
    while data:
        data = data[os.write(2, data) :]


def spoil(environ):
    """Does what it can to the file behind the descriptors; returns the names of what failed."""
    failed = []
    attempts = {
        "truncate": lambda: os.ftruncate(2, 0),
        "seek": lambda: os.pwrite(1, b"overwritten", 0),
        "read": lambda: os.open("/dev/stderr", os.O_RDONLY),
        "open": lambda: os.close(os.open("/dev/stderr", os.O_WRONLY | os.O_TRUNC)),
    }
    for name, attempt in attempts.items():
        try:
            attempt()
        except OSError:
            failed.append(name)
    return " ".join(failed).encode()


def flood(environ):
    """Writes QUERY_STRING numbered lines of 100 bytes."""
    for number in range(int(environ["QUERY_STRING"])):
        os.write(1, b"flood %09d %s\n" % (number, b"x" * 83))


def crash(environ):
    write(b"early line\n" * 5000 + b"last words without an end")
    ctypes.string_at(0)


def crash_in_flood(environ):
    flood(environ)
    crash(environ)


def hold(environ):
    """Waits for the file QUERY_STRING, for 30 seconds at most."""
    write(b"held until the file is there\n")
    deadline = time.monotonic() + 30
    while not os.path.exists(environ["QUERY_STRING"]) and time.monotonic() < deadline:
        time.sleep(0.01)
    write(b"released\n")


WAYS = {
    "/held": hold,
    "/post": lambda environ: write(body(environ)),
    "/spoil": spoil,
    "/flood": flood,
    "/crash": crash,
    "/crash-in-flood": crash_in_flood,
    "/shell": lambda environ: subprocess.run(["sh", "-c", body(environ)], check=True) and None,
    "/pid": lambda environ: b"%d" % os.getpid(),
}


def application(environ, start_response):
    found = WAYS[environ["PATH_INFO"]](environ)
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [found or b"done"]
