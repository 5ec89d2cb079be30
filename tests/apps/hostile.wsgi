"""Bypasses the server: writes the bytes of the request's body (in hexadecimal) to the connection to
httpd, with the descriptor that the query names, and waits until httpd has closed it.

A broken or malicious process could do the same.
"""

import os
import select
import socket
import time

PIPE = os.pipe()[0]
DESCRIPTORS = {
    "none": lambda: None,
    "file": lambda: os.open("/etc/hostname", os.O_RDONLY),
    "pipe": lambda: os.dup(PIPE),
    "device": lambda: os.open("/dev/null", os.O_RDONLY),
    "directory": lambda: os.open("/", os.O_RDONLY),
    "socket": lambda: socket.socket(socket.AF_UNIX).detach(),
    "path": lambda: os.open("/etc/hostname", os.O_PATH),
    "writeonly": lambda: os.open("/tmp", os.O_TMPFILE | os.O_WRONLY),
}


def is_connection(descriptor):
    try:
        probe = socket.socket(fileno=descriptor)
    except OSError:
        return False
    try:
        return probe.family == socket.AF_UNIX and bool(
            probe.getsockname() and probe.getpeername() is not None
        )
    except OSError:
        return False
    finally:
        probe.detach()


def connection():
    """A copy of the only connection. One that httpd has closed may still exist for a moment."""
    deadline = time.monotonic() + 10
    while (
        len(
            found := [int(name) for name in os.listdir("/proc/self/fd") if is_connection(int(name))]
        )
        != 1
    ):
        assert time.monotonic() < deadline, found
        time.sleep(0.01)
    return socket.socket(fileno=os.dup(found[0]))


def application(environ, start_response):
    data = bytes.fromhex(environ["wsgi.input"].read().decode("ascii"))
    descriptor = DESCRIPTORS[environ["QUERY_STRING"]]()
    with connection() as httpd:
        if descriptor is None:
            httpd.sendall(data)
        else:
            socket.send_fds(httpd, [data], [descriptor])
            os.close(descriptor)
        poll = select.poll()
        poll.register(httpd, select.POLLRDHUP)
        print("httpd has closed" if poll.poll(10_000) else "httpd has not closed", flush=True)
    start_response("200 OK", [])
    return [b"to nobody"]
