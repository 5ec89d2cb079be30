"""The environ of a request, from the block that httpd sent (docs/design.md).

Rules: httpd has seen to CGI variables and headers; they are taken as they come, latin-1 decoded as
PEP 3333 wants it. What is Python's business is added: the wsgi. keys, and the times that httpd
sends as microseconds become seconds.
"""

from pywsgid.daemon.wsgi import file_wrapper
from pywsgid.wire import protocol

REQUEST_START = "mod_wsgi.request_start"  # microseconds since the epoch, from httpd
SCRIPT_RELOADING = "mod_wsgi.script_reloading"  # "0": WSGIScriptReloading Off


class Template:
    """What is the same in each request of this process."""

    __slots__ = ("_constant",)

    def __init__(self, configuration, daemon_start):
        self._constant = {
            "wsgi.version": (1, 0),
            "wsgi.multithread": configuration.threads > 1,
            "wsgi.multiprocess": configuration.processes_named or configuration.processes > 1,
            "wsgi.run_once": False,
            "wsgi.input_terminated": True,
            "wsgi.file_wrapper": file_wrapper.FileWrapper,
            "mod_wsgi.version": version_tuple(configuration.module_version),
            "mod_wsgi.process_group": configuration.group,
            "mod_wsgi.daemon_start": daemon_start,
        }

    def build(self, block, sent):
        """The environ of a block, but for wsgi.input, wsgi.errors and the times of the script.
        RemoteProtocolError.

        sent: when httpd sent it, in microseconds since the epoch.
        """
        environ = protocol.parse_environ(block)
        environ.update(self._constant)
        get = environ.get
        if get("HTTPS"):
            environ["wsgi.url_scheme"] = scheme(environ)
        else:
            environ["wsgi.url_scheme"] = get("REQUEST_SCHEME") or "http"
        environ["mod_wsgi.queue_start"] = sent / 1000000
        value = get(REQUEST_START)
        if value is not None:
            environ[REQUEST_START] = seconds(value)
        return environ


def scheme(environ):
    """wsgi.url_scheme: HTTPS wins over REQUEST_SCHEME, as a front end may have ended TLS before
    httpd.
    """
    if environ.get("HTTPS", "").lower() in ("on", "1", "yes", "true"):
        return "https"
    return environ.get("REQUEST_SCHEME") or "http"


def seconds(microseconds):
    """'1700000000123456' -> 1700000000.123456; 0.0 for what is no number."""
    try:
        return int(microseconds) / 1000000
    except ValueError:
        return 0.0


def version_tuple(text):
    """'0.1.0' -> (0, 1, 0)."""
    return (
        tuple(int(part) if part.isdecimal() else 0 for part in text.split("."))
        if text
        else (0, 0, 0)
    )


def request_line(environ):
    """`GET /path?query`, for messages: escaped and bounded."""
    environ = dict(environ)  # it may be another thread's: see request_mark()
    target = environ.get("REQUEST_URI") or environ.get("SCRIPT_NAME", "") + environ.get(
        "PATH_INFO", ""
    )
    line = "%s %s" % (environ.get("REQUEST_METHOD", "?"), target)
    if len(line) > 500:
        line = line[:500] + "..."
    return line if line.isascii() and line.isprintable() else ascii(line)[1:-1]
