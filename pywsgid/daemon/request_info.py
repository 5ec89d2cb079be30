"""What the daemon's parts read from the environ of a request, besides PEP 3333's own keys.

It is here, and not in wsgi/environ.py, because messages and checks in every room need it. Nothing
here builds or changes an environ.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pywsgid.daemon.interfaces import Environ

REQUEST_START = "mod_wsgi.request_start"  # microseconds since the epoch, from httpd
SCRIPT_RELOADING = "mod_wsgi.script_reloading"  # "0": WSGIScriptReloading Off
LINE_MAX = 500  # characters of a request line in a message


def script_of(environ: Environ) -> str:
    """The path of the script that is loaded for the request. "": there is none."""
    path: str = environ.get("mod_wsgi.handler_script") or environ.get("SCRIPT_FILENAME", "")
    return path


def request_line(environ: Environ) -> str:
    """`GET /path?query`, for messages: printable ASCII, at most LINE_MAX characters and "...".

    The environ may belong to a request of another thread.
    """
    environ = dict(environ)  # a copy, for the reason given in logs.request_mark()
    path = environ.get("SCRIPT_NAME", "") + environ.get("PATH_INFO", "")
    line = "%s %s" % (environ.get("REQUEST_METHOD", "?"), environ.get("REQUEST_URI") or path)
    if len(line) > LINE_MAX:
        line = line[:LINE_MAX] + "..."
    return line if line.isascii() and line.isprintable() else ascii(line)[1:-1]
