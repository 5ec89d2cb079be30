"""The page with the traceback that `pywsgid serve --reload` shows when the application raises.

Rules: the page goes to clients on this machine alone that asked for it by a name of this machine (a
foreign web page may have a name of its own lead here). Nothing of the request or of the source gets
into it without being escaped.
"""

from __future__ import annotations

import html
import ipaddress
import linecache
import traceback

from pywsgid.daemon import logs

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from types import TracebackType
    from typing import Any

    from pywsgid.daemon.interfaces import Application, Environ

AROUND = 5  # lines of source shown before and after the one that raised
VALUE_MAX = 2000  # characters of a value of the environ that are shown
FORWARDED = ("HTTP_X_FORWARDED_FOR", "HTTP_FORWARDED", "HTTP_X_REAL_IP", "HTTP_VIA")


class ErrorPages:
    """Middleware that answers with the page when `wrapped` raises. `hosts` are names of this
    server, besides localhost.
    """

    def __init__(self, wrapped: Application, hosts: Iterable[str]) -> None:
        self._wrapped = wrapped
        self._hosts = {"localhost", *hosts}

    def __call__(self, environ: Environ, start_response: Any) -> Iterable[bytes]:
        errors = environ["wsgi.errors"]  # the application may replace it
        try:
            result = self._wrapped(environ, start_response)
        except Exception as error:
            return self._answer(error, environ, start_response, errors)
        if isinstance(result, (list, tuple, environ["wsgi.file_wrapper"])):
            return result
        return self._iterate(result, environ, start_response, errors)

    def _iterate(
        self, result: Iterable[bytes], environ: Environ, start_response: Any, errors: Any
    ) -> Iterator[bytes]:
        """The blocks of the application; the page instead if it raises before the first one."""
        try:
            try:
                yield from result
            except Exception as error:
                yield from self._answer(error, environ, start_response, errors)
        finally:
            close = getattr(result, "close", None)
            if close is not None:
                close()

    def _answer(
        self, error: Exception, environ: Environ, start_response: Any, errors: Any
    ) -> list[bytes]:
        """The page. Raises `error` if the page is not for this client, or if the response has begun
        (start_response() does that then).
        """
        if not is_local(environ, self._hosts):
            raise error
        body = page(error, environ).encode("utf-8", "backslashreplace")
        headers = [
            ("Content-Type", "text/html; charset=utf-8"),
            ("Content-Length", str(len(body))),
            ("Cache-Control", "no-store"),
            ("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'"),
        ]
        start_response(
            "500 Internal Server Error", headers, (type(error), error, error.__traceback__)
        )
        log_error(errors, error, request_text(environ))
        return [] if environ["REQUEST_METHOD"] == "HEAD" else [body]


def log_error(errors: Any, error: Exception, request: str) -> None:
    """Logs an exception to `errors` (wsgi/errors.py) as it would be without this middleware."""
    errors.record(logs.ERROR, traceback_text(error), "WSGID0340")
    what = "WSGID0340: the application raised %s [request %r]" % (logs.describe(error), request)
    errors.application(logs.ERROR, logs.record_lines(what))


def request_text(environ: Environ) -> str:
    """`GET /path?query`, complete and not escaped."""
    return "%s %s" % (
        environ.get("REQUEST_METHOD", ""),
        environ.get("REQUEST_URI", environ.get("PATH_INFO", "")),
    )


def is_local(environ: Environ, hosts: Iterable[str]) -> bool:
    """Whether the client and the name that it used are of this machine, and no proxy has passed the
    request on.
    """
    if any(name in environ for name in FORWARDED):
        return False
    try:
        if not ipaddress.ip_address(environ.get("REMOTE_ADDR", "")).is_loopback:
            return False
    except ValueError:
        return False
    name = environ.get("HTTP_HOST", "localhost").lower()
    name = name[1:].partition("]")[0] if name.startswith("[") else name.partition(":")[0]
    if name in hosts or name.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False


def traceback_text(error: BaseException) -> str:
    """The traceback of an exception, from the application's first frame on."""
    return "".join(
        traceback.format_exception(type(error), error, application_frames(error.__traceback__))
    )


def application_frames(trace: TracebackType | None) -> TracebackType | None:
    """A traceback from the application's first frame on; all of it if there is none."""
    inner = trace
    while inner is not None and logs.is_ours(inner.tb_frame.f_globals.get("__package__")):
        inner = inner.tb_next
    return inner or trace


# -------- the page

STYLE = """
body { font: 1rem/1.5 system-ui, sans-serif; max-width: 64rem; margin: 2rem auto; padding: 0 1rem;
color: #222; background: #fff } h1 { font-size: 1.4rem; overflow-wrap: anywhere }
h2 { font-size: 1.1rem; margin-top: 2rem }
p.where { margin: 1.5rem 0 .25rem; overflow-wrap: anywhere }
code, pre, td { font-family: ui-monospace, monospace; font-size: .9rem }
pre { margin: 0; overflow-x: auto; background: #f4f4f4; padding: .5rem }
mark { background: #ffd9d9; color: inherit }
table { border-collapse: collapse; width: 100% } td, th { text-align: left; vertical-align: top;
overflow-wrap: anywhere; padding: .15rem .75rem .15rem 0; border-bottom: 1px solid #ddd }
th { font-weight: normal; white-space: nowrap }
@media (prefers-color-scheme: dark) {
body { color: #ddd; background: #181818 } pre { background: #242424 }
mark { background: #5c2626 } td, th { border-color: #444 } }
"""


def page(error: Exception, environ: Environ) -> str:
    """The traceback with source lines, causes first, then the request."""
    title = summary(error)
    parts = [
        '<!doctype html><html lang="en"><meta charset="utf-8">',
        '<meta name="viewport" content="width=device-width">',
        "<title>%s</title><style>%s</style><h1>%s</h1>" % (escaped(title), STYLE, escaped(title)),
        "<p><code>%s</code></p>" % escaped(request_text(environ)),
    ]
    chain = list(causes(error))
    for number, (link, raised) in enumerate(chain):
        if number or len(chain) > 1:
            parts.append("<h2>%s%s</h2>" % (escaped(link), escaped(summary(raised))))
        parts += frames(raised)
    parts.append("<h2>Request</h2><table>")
    parts += [
        "<tr><th>%s<td>%s" % (escaped(key), escaped(shortened(environ[key])))
        for key in sorted(environ)
    ]
    parts.append("</table><p>Shown by pywsgid serve --reload, and never without it.</p></html>")
    return "\n".join(parts)


def escaped(text: str) -> str:
    return html.escape(text, quote=True)


def summary(error: BaseException) -> str:
    """`ValueError: boom`: the last line of a traceback."""
    return "".join(traceback.format_exception_only(type(error), error)).strip().splitlines()[-1]


def causes(error: BaseException) -> Iterator[tuple[str, BaseException]]:
    """(how it follows from the one before, exception), the first cause first."""
    found: list[BaseException] = []
    seen: set[int] = set()
    cause: BaseException | None = error
    while cause is not None and id(cause) not in seen:
        seen.add(id(cause))
        found.append(cause)
        cause = cause.__cause__ or (None if cause.__suppress_context__ else cause.__context__)
    found.reverse()
    link = ""
    for raised in found:
        yield link, raised
        link = (
            "which caused: "
            if raised in [other.__cause__ for other in found]
            else "and while that was handled: "
        )


def frames(error: BaseException) -> Iterator[str]:
    """HTML for each frame of a traceback."""
    for frame, line in traceback.walk_tb(application_frames(error.__traceback__)):
        code = frame.f_code
        yield '<p class="where"><code>%s</code>, line %d, in <code>%s</code></p>' % (
            escaped(code.co_filename),
            line,
            escaped(code.co_name),
        )
        yield source(code.co_filename, line, frame.f_globals)
    if isinstance(error, SyntaxError) and error.filename:
        yield '<p class="where"><code>%s</code>, line %s</p>' % (
            escaped(str(error.filename)),
            error.lineno,
        )
        yield source(error.filename, error.lineno or 0, None)


def source(path: str, line: int, names: dict[str, Any] | None) -> str:
    """HTML for the lines around `line`, with that one marked; `names` are the module's globals."""
    linecache.checkcache(path)
    lines = linecache.getlines(path, names)
    first = max(1, line - AROUND)
    shown = [
        "%5d  %s" % (number, text.rstrip("\n"))
        for number, text in enumerate(lines[first - 1 : line + AROUND], first)
    ]
    rows = [
        "<mark>%s</mark>" % escaped(text) if number == line else escaped(text)
        for number, text in enumerate(shown, first)
    ]
    return "<pre>%s</pre>" % "\n".join(rows) if rows else ""


def shortened(value: object) -> str:
    text = value if isinstance(value, str) else repr(value)
    return text if len(text) <= VALUE_MAX else text[:VALUE_MAX] + " ..."
