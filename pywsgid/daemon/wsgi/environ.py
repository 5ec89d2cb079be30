"""The environ of a request, made from the block that httpd sent (docs/design.md).

Rules: httpd has made the CGI variables and the headers; they are taken as they are, decoded as
latin-1 (PEP 3333, "Unicode Issues"). Added here are the wsgi. keys but wsgi.url_scheme; and times,
which httpd sends as microseconds, become seconds. What messages read from an environ is in
request_info.py.
"""

from __future__ import annotations

from pywsgid.daemon.request_info import REQUEST_START
from pywsgid.daemon.system import os
from pywsgid.daemon.wsgi import file_wrapper
from pywsgid.wire import protocol

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pywsgid.daemon.configuration import Configuration
    from pywsgid.daemon.interfaces import Buffer, Environ


# The version of mod_wsgi whose environ, directives and options this is: applications compare it.
MOD_WSGI_VERSION = (6, 1, 1)
# Paths of files are decoded as the file system's are, so that the application can open them.
PATHS = ("SCRIPT_FILENAME", "DOCUMENT_ROOT")
# httpd measures this only while requests have to wait (apxs/request/arrival.c).
WAITED_IN_HTTPD = "wsgid.waited_in_httpd"


class Template:
    """The keys that are the same in each request of this process."""

    __slots__ = ("_constant",)

    def __init__(self, configuration: Configuration) -> None:
        self._constant = {
            "wsgi.version": (1, 0),
            "wsgi.multithread": configuration.threads > 1,
            "wsgi.multiprocess": configuration.processes_named or configuration.processes > 1,
            "wsgi.run_once": False,
            "wsgi.input_terminated": True,
            "wsgi.file_wrapper": file_wrapper.FileWrapper,
            "mod_wsgi.version": MOD_WSGI_VERSION,
            "apache.version": version_tuple(configuration.httpd_version),
            "mod_wsgi.process_group": configuration.group,
        }

    def build(self, block: Buffer, sent: int, waited: int) -> Environ:
        """The environ in `block`, still without wsgi.input, wsgi.errors and the time at
        which the application is called. `sent` is when httpd sent it, in microseconds since the
        epoch; `waited`, how many have passed until it was read. RemoteProtocolError if the block is
        damaged.
        """
        environ: Environ = protocol.parse_environ(block)
        environ.update(self._constant)
        environ["mod_wsgi.queue_start"] = sent / 1000000
        environ["mod_wsgi.daemon_start"] = (sent + waited) / 1000000
        for key in PATHS:
            path = environ.get(key, "")
            if not path.isascii():
                environ[key] = os.fsdecode(path.encode("latin-1"))
        value = environ.get(REQUEST_START)
        if value is not None:
            environ[REQUEST_START] = seconds(value)
        return environ


def seconds(microseconds: str) -> float:
    """'1700000000123456' -> 1700000000.123456; 0.0 if it is not a number."""
    try:
        return int(microseconds) / 1000000
    except ValueError:
        return 0.0


def waited_in_httpd(environ: Environ) -> int:
    """How many microseconds the request waited for a thread of httpd; 0 if httpd has not measured
    it. The application does not see it.
    """
    text = environ.pop(WAITED_IN_HTTPD, "")
    return int(text) if text.isdecimal() else 0


def version_tuple(text: str) -> tuple[int, ...]:
    """'2.4.71' -> (2, 4, 71)."""
    return tuple(int(part) for part in text.split("."))
