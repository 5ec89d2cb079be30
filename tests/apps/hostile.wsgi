"""Bypasses the server: writes the bytes of the request's body (in hexadecimal; or of the header
X-Frames, for a HEAD request) to the connection to httpd, with the descriptor that the query names, and waits until httpd has closed it.

A broken or malicious process could do the same. After the descriptor, the query may have
&repeat=N: of a body "BEGIN PIECE END", separated by spaces, PIECE is sent N times, each time with
such a descriptor (for "none": in large pieces); and &leave: closes the connection itself.
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


def send(httpd, data, name, count):
    if name == "none":
        at_once = max(1, min(count, 65536 // max(1, len(data))))
        for _ in range(count // at_once):
            httpd.sendall(data * at_once)
        return
    for _ in range(count):
        descriptor = DESCRIPTORS[name]()
        socket.send_fds(httpd, [data], [descriptor])
        os.close(descriptor)


def application(environ, start_response):
    name, *options = environ["QUERY_STRING"].split("&")
    count = int(dict(option.partition("=")[::2] for option in options).get("repeat", "1"))
    text = environ.get("HTTP_X_FRAMES") or environ["wsgi.input"].read().decode("ascii")
    data = [bytes.fromhex(part) for part in text.split()]
    begin, piece, end = data if len(data) == 3 else (b"", data[0], b"")
    with connection() as httpd:
        try:
            httpd.sendall(begin)
            send(httpd, piece, name, count)
            httpd.sendall(end)
        except OSError:
            pass  # httpd has had enough
        if "leave" in options:
            httpd.shutdown(socket.SHUT_RDWR)
        poll = select.poll()
        poll.register(httpd, select.POLLRDHUP)
        print("httpd has closed" if poll.poll(10_000) else "httpd has not closed", flush=True)
    start_response("200 OK", [])
    return [b"to nobody"]
