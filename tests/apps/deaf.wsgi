"""A request for /deaf makes the process ignore whatever asks it to leave (its lifeline, signals),
and makes it accept connections that it never reads. Any other answers with the pid.

A broken library, or a malicious application, could do the same.
"""

import ctypes
import os
import select
import signal
import socket
import threading

LISTENER, LIFELINE = 3, 5
HOARD = []


def accept_and_never_read(listener):
    while True:
        select.select([listener], [], [])
        try:
            HOARD.append(listener.accept()[0])
        except BlockingIOError:
            pass  # another process was faster


def become_deaf():
    os.dup2(os.pipe()[0], LIFELINE)
    libc = ctypes.CDLL(None)  # signal.signal() works in the main thread only
    libc.signal.argtypes = [ctypes.c_int, ctypes.c_void_p]
    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT, signal.SIGUSR1):
        libc.signal(number, int(signal.SIG_IGN))
    listener = socket.socket(fileno=os.dup(LISTENER))
    threading.Thread(target=accept_and_never_read, args=[listener], daemon=True).start()


def application(environ, start_response):
    if environ["PATH_INFO"] == "/deaf":
        become_deaf()
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [str(os.getpid()).encode("ascii")]
