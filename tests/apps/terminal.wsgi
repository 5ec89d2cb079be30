"""Tries to type into the terminal from which httpd was started; answers with what happened, as JSON."""

import fcntl
import json
import os
import termios

TYPED = b"typed by an application"


def open_terminal():
    """The controlling terminal, or why there is none."""
    try:
        return os.open("/dev/tty", os.O_RDWR), ""
    except OSError as error:
        return -1, os.strerror(error.errno)


def type_into(terminal):
    """Why nothing can be typed; empty if it can."""
    try:
        for byte in TYPED:
            fcntl.ioctl(terminal, termios.TIOCSTI, bytes([byte]))
    except OSError as error:
        return os.strerror(error.errno)
    return ""


def application(environ, start_response):
    terminal, why_not_open = open_terminal()
    answer = {
        "open": why_not_open,
        "type": [type_into(fd) for fd in (0, 1, 2, *([terminal] if terminal >= 0 else []))],
    }
    start_response("200 OK", [("Content-Type", "application/json")])
    return [json.dumps(answer).encode("ascii")]
