"""What can go wrong with httpd at the other end of a connection: the exceptions, and the lines that
go to the log.

Rules: nothing here opens, reads or writes a socket. hotpath.py finds out what happened.
"""

from __future__ import annotations

import errno

from pywsgid.daemon import logs


class PeerGone(ConnectionError):
    """httpd has closed the connection or gives up: nothing more reaches the client of this
    request.
    """

    is_disconnect = True  # see logs.is_disconnect()

    def __init__(self, text: str = "the client has gone", number: int = errno.EPIPE) -> None:
        super().__init__(number, text)


class PeerSilent(PeerGone):
    """httpd sent or took nothing for socket-timeout, or the response waited for send-timeout in
    all.
    """

    def __init__(self, text: str) -> None:
        super().__init__(text, errno.ETIMEDOUT)


class Unsent(Exception):
    """The end of a response could not be sent. `reason` is PeerSilent, or an OSError that does not
    mean that httpd has closed the connection.
    """

    def __init__(self, reason: OSError) -> None:
        super().__init__(str(reason))
        self.reason = reason


def silence_text(send_timeout: float, socket_timeout: float) -> str:
    """Why a response was given up. Both in seconds; send_timeout 0: there is none."""
    if send_timeout:
        return "it has waited for send-timeout (%g s) in all" % send_timeout
    return "httpd took nothing of it for socket-timeout (%g s)" % socket_timeout


# ---- log lines


def log_violation(log: logs.Log, error: Exception) -> None:
    """httpd has sent what the wire protocol does not allow."""
    log.write(
        logs.ERROR,
        "WSGID0321: group %r: httpd sent what the wire protocol does not allow: %s. The connection "
        "is closed. Install mod_wsgid.so and pywsgid from one release, and restart httpd"
        % (log.group, error),
    )


def log_silent(log: logs.Log) -> None:
    """httpd has sent the beginning of a request and then nothing for socket-timeout."""
    log.write(
        logs.WARN,
        "WSGID0323: group %r: httpd began to send a request and then sent nothing for "
        "socket-timeout. The connection is closed, the request was not run. If the machine is "
        "overloaded, raise socket-timeout=" % log.group,
    )


def log_no_accept(log: logs.Log, reason: str) -> None:
    """accept() has failed, or what is done with a new connection; not for want of descriptors of
    this process (process/descriptors.py).
    """
    log.write(
        logs.ERROR,
        "WSGID0322: group %r: a connection from httpd cannot be accepted: %s. The process tries "
        "again 20 times a second, and reports this at most once a minute: the system has run out "
        "of memory or of open files (sysctl fs.file-max)" % (log.group, reason),
    )


def log_refused(log: logs.Log, pid: int, uid: int) -> None:
    """A process that is not httpd has connected."""
    log.write(
        logs.ERROR,
        "WSGID0320: group %r: refused a connection from process %d of uid %d: only httpd may "
        "connect. Restrict who can reach the socket (WSGISocketPrefix)" % (log.group, pid, uid),
    )


def log_unreadable(log: logs.Log, reason: str) -> None:
    """A receive of a request has failed for a reason that no other function here covers."""
    log.write(
        logs.WARN,
        "WSGID0328: group %r: a request could not be read: %s. The connection is closed; "
        "httpd sends the request to another process or answers 502. Most likely memory has run "
        "out: find out what uses it up" % (log.group, reason),
    )
