"""What can happen to the other end of a connection, httpd: the exceptions of both transports, and
what the log is told.

Rules: no sockets here; hotpath.py and transport.py find out, this says it, so that both say the
same.
"""

import errno

from pywsgid.daemon import logs

DESCRIPTORS_PAUSE = (
    0.05  # seconds before accept() is tried again when the process has run out of descriptors
)
DROPS_CONNECTION = (errno.EPIPE, errno.ECONNRESET, errno.ENOTCONN, errno.EBADF)


class PeerGone(ConnectionError):
    """httpd closed the connection or stopped moving: this request's client cannot be reached any
    more.
    """

    def __init__(self, text="the client has gone", number=errno.EPIPE):
        super().__init__(number, text)


class PeerSilent(PeerGone):
    """Nothing moved for socket-timeout, or the response had to wait for send-timeout."""

    def __init__(self, text):
        super().__init__(text, errno.ETIMEDOUT)


class Unsent(Exception):
    """A response was given up. `reason`: PeerSilent, or another OSError that is not about httpd
    leaving.
    """

    def __init__(self, reason):
        super().__init__(str(reason))
        self.reason = reason


def silence_text(limit, silence):
    """Why a response was given up: `limit` is send-timeout (0: none), `silence` socket-timeout."""
    if limit:
        return "its response has waited for httpd for send-timeout (%g s) in all" % limit
    return "httpd took nothing of its response for socket-timeout (%g s)" % silence


def tell_violation(log, error):
    """An error, for the log."""
    log.write(
        logs.ERROR,
        "WSGID0321: group %r: httpd sent what the protocol does not allow: %s; the connection is "
        "closed. Are module and package of one version?" % (log.group, error),
    )


def tell_silent(log):
    """A request that was cut short by silence, for the log."""
    log.write(
        logs.WARN,
        "WSGID0323: group %r: httpd began a request and sent nothing for socket-timeout; the "
        "connection is closed" % log.group,
    )


def tell_no_accept(log, error):
    """accept() has failed, for the log."""
    log.write(
        logs.ERROR,
        "WSGID0322: group %r: cannot accept a connection: %s; trying again. If descriptors "
        "have run out, the application leaks them or their limit is too low" % (log.group, error),
    )


def tell_refused(log, pid, uid):
    """A connection of somebody who may not, for the log."""
    log.write(
        logs.ERROR,
        "WSGID0320: group %r: refused a connection of process %d, uid %d: only httpd may connect; "
        "see who can reach the socket (WSGISocketPrefix)" % (log.group, pid, uid),
    )
