"""What `pywsgid serve --reload` puts around an application: changed sources are taken up,
exceptions are shown in the browser.

The script that serve writes calls application(). It loads the application; a thread watches its
sources, and touches that script when one changes, so that reload=hot replaces the process: what
cannot be loaded then leaves the old code serving. If there is no old code, because the first
attempt failed, the traceback is served until it is mended.

Rules: never used without --reload. The page goes to clients on this machine alone, who asked for it
by a name of this machine (a web page of somebody else may have its name lead here), and nothing of
the request or of the source gets into it unescaped. Nothing is imported but the standard library
and what the daemon has loaded.
"""

import html
import ipaddress
import linecache
import os
import sys
import threading
import time
import traceback

import pywsgid
from pywsgid.daemon import logs
from pywsgid.daemon.application.loader import stamp_of

INTERVAL = 0.2  # seconds between two looks at the sources
SHARE = 20  # a look may take one part in so many of the time
AROUND = 5  # lines of source shown before and after the one that raised
LONGEST_VALUE = 2000  # characters of a value of the environ that are shown
SOURCES = (
    ".py",
    ".html",
    ".jinja",
    ".jinja2",
    ".j2",
    ".mako",
)  # frameworks keep templates in memory, too
FORWARDED = ("HTTP_X_FORWARDED_FOR", "HTTP_FORWARDED", "HTTP_X_REAL_IP", "HTTP_VIA")
PASSED_BY = ("__pycache__", "node_modules", "site-packages", "dist-packages")


def application(marker, *, directories, hosts, script="", code="", name="application", touch):
    """The WSGI application of `script` (a path) or `code` (text that binds `application`), wrapped.

    `directories` hold its sources; `hosts` are names of this server; `touch` is the script that is
    served; `marker` is a file that is there once something could be loaded.
    """
    os.environ.setdefault("FLASK_DEBUG", "1")  # else Flask answers for an exception by itself
    # A file that changes twice in a second, its size the same, is taken for the one that was
    # compiled.
    sys.dont_write_bytecode = True
    watcher = Watcher([script] if script else [], directories, touch)
    try:
        loaded = load(script, code, name)
    except BaseException as error:
        if os.path.exists(marker):
            raise
        sys.stderr.write(traceback_text(error))
        loaded = Broken(error)
    else:
        loaded = with_static_files(loaded)
        open(marker, "wb").close()
    watcher.start()
    return Shown(loaded, hosts)


def load(script, code, name):
    if script:
        with open(script, "rb") as file:
            code = file.read()
    module = type(sys)("_wsgid_develop")
    module.__file__ = script or "<pywsgid serve>"
    sys.modules[module.__name__] = module
    exec(compile(code, module.__file__, "exec", dont_inherit=True), module.__dict__)
    found = module
    for part in name.split("."):
        found = getattr(found, part)
    return found


def with_static_files(loaded):
    """Django serves static files by itself only under runserver: so that the admin has its styles
    here, too.
    """
    settings = getattr(sys.modules.get("django.conf"), "settings", None)
    if not settings or not settings.configured or not settings.DEBUG:
        return loaded
    if "django.contrib.staticfiles" not in settings.INSTALLED_APPS or not settings.STATIC_URL:
        return loaded
    from django.contrib.staticfiles.handlers import StaticFilesHandler

    return StaticFilesHandler(loaded)


class Broken:
    """Stands for an application that could not be loaded: raises what that raised."""

    def __init__(self, error):
        self._error = error
        self._trace = error.__traceback__

    def __call__(self, environ, start_response):
        error = self._error.with_traceback(self._trace)
        if isinstance(error, Exception):
            raise error
        raise RuntimeError(
            "the application could not be loaded"
        ) from error  # SystemExit is not for the worker


# -------- sources


class Watcher(threading.Thread):
    """Touches a file when a source changes, comes or goes: those in the directories, and modules
    that are loaded.
    """

    def __init__(self, files, directories, touch):
        super().__init__(name="wsgid-develop", daemon=True)
        self._files = files
        self._directories = directories
        self._touch = touch
        self._known = self._look()  # before the application is loaded, so that no change is missed

    def run(self):
        pause = INTERVAL
        while True:
            time.sleep(pause)
            began = time.monotonic()
            found = self._look()
            changed = sorted(self._changed(found))
            self._known = found
            if changed:
                print("pywsgid: %s changed: loading the application again" % ", ".join(changed))
                self._tell()
            pause = max(INTERVAL, SHARE * (time.monotonic() - began))

    def _changed(self, found):
        """What is another file than before, came or went. What was loaded from elsewhere meanwhile
        is no change.
        """
        for path in self._known.keys() | found.keys():
            inside = any(
                path.startswith(directory.rstrip(os.sep) + os.sep)
                for directory in self._directories
            )
            if self._known.get(path) != found.get(path) and (inside or path in self._known):
                yield path

    def _tell(self):
        try:
            os.utime(self._touch)
        except OSError as error:
            print(
                "pywsgid: %s cannot be touched: %s" % (self._touch, error.strerror), file=sys.stderr
            )

    def _look(self):
        """{path: stamp}"""
        found = {}
        for path in [*self._files, *loaded_sources()]:
            found[path] = stamp_of(path)
        for directory in self._directories:
            walk(directory, found)
        return {path: stamp for path, stamp in found.items() if stamp}


def walk(directory, found):
    """Adds the sources below a directory, virtualenvs and the like left out."""
    try:
        entries = list(os.scandir(directory))
    except OSError:
        return
    if any(entry.name == "pyvenv.cfg" for entry in entries):
        return
    for entry in entries:
        if entry.name.startswith(".") or entry.name in PASSED_BY:
            continue
        if entry.name.endswith(SOURCES):
            found[entry.path] = stamp_of(entry.path)
        elif entry.is_dir(follow_symlinks=False):
            walk(entry.path, found)


def loaded_sources():
    """The files of loaded modules that are neither Python's own nor installed packages."""
    others = (os.path.abspath(pywsgid.__path__[0]) + os.sep, os.path.dirname(os.__file__) + os.sep)
    for module in list(sys.modules.values()):
        path = getattr(module, "__file__", None)
        if isinstance(path, str) and path.endswith(".py") and not path.startswith(others):
            if not any(name in PASSED_BY for name in path.split(os.sep)):
                yield path


# -------- exceptions


class Shown:
    """Middleware that answers with the traceback for an application that raises."""

    def __init__(self, wrapped, hosts):
        self._wrapped = wrapped
        self._hosts = {"localhost", *hosts}

    def __call__(self, environ, start_response):
        errors = environ["wsgi.errors"]  # the application may put another one there
        try:
            result = self._wrapped(environ, start_response)
        except Exception as error:
            return self._show(error, environ, start_response, errors)
        if isinstance(result, (list, tuple, environ["wsgi.file_wrapper"])):
            return result
        return self._watched(result, environ, start_response, errors)

    def _watched(self, result, environ, start_response, errors):
        """What the application yields, and the page in its place if it raises before the first
        block.
        """
        try:
            try:
                yield from result
            except Exception as error:
                yield from self._show(error, environ, start_response, errors)
        finally:
            close = getattr(result, "close", None)
            if close is not None:
                close()

    def _show(self, error, environ, start_response, errors):
        """Raises if the page is not for this client, or if the response has begun: start_response
        does that then.
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
        tell(errors, error, requested(environ))
        return [] if environ["REQUEST_METHOD"] == "HEAD" else [body]


def tell(errors, error, request):
    """Logs an exception as it would be without us."""
    errors.record(logs.ERROR, traceback_text(error), "WSGID0340")
    what = "WSGID0340: the application raised %s [request %r]" % (logs.describe(error), request)
    errors.application(logs.ERROR, logs.record_lines(what))


def requested(environ):
    return "%s %s" % (
        environ.get("REQUEST_METHOD", ""),
        environ.get("REQUEST_URI", environ.get("PATH_INFO", "")),
    )


def is_local(environ, hosts):
    """Whether client and name are of this machine, and nobody says to have passed the request
    on."""
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


def traceback_text(error):
    return "".join(traceback.format_exception(type(error), error, without_own(error.__traceback__)))


def without_own(trace):
    """A traceback from where the application begins."""
    inner = trace
    while inner is not None and inner.tb_frame.f_code.co_filename == __file__:
        inner = inner.tb_next
    return inner or trace


# -------- the page

STYLE = """
body { font: 1rem/1.5 system-ui, sans-serif; max-width: 64rem; margin: 2rem auto; padding: 0 1rem;
color: #222; background: #fff } h1 { font-size: 1.4rem; overflow-wrap: anywhere }
h2 { font-size: 1.1rem; margin-top: 2rem } p.where { margin: 1.5rem 0 .25rem; overflow-wrap: anywhere }
code, pre, td { font-family: ui-monospace, monospace; font-size: .9rem }
pre { margin: 0; overflow-x: auto; background: #f4f4f4; padding: .5rem } mark { background: #ffd9d9; color: inherit }
table { border-collapse: collapse; width: 100% } td, th { text-align: left; vertical-align: top;
overflow-wrap: anywhere; padding: .15rem .75rem .15rem 0; border-bottom: 1px solid #ddd }
th { font-weight: normal; white-space: nowrap }
@media (prefers-color-scheme: dark) { body { color: #ddd; background: #181818 } pre { background: #242424 }
mark { background: #5c2626 } td, th { border-color: #444 } }
"""


def page(error, environ):
    """The traceback, the causes first, with source lines; then the request."""
    title = summary(error)
    parts = [
        '<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">',
        "<title>%s</title><style>%s</style><h1>%s</h1>" % (escaped(title), STYLE, escaped(title)),
        "<p><code>%s</code></p>" % escaped(requested(environ)),
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


def escaped(text):
    return html.escape(text, quote=True)


def summary(error):
    return "".join(traceback.format_exception_only(type(error), error)).strip().splitlines()[-1]


def causes(error):
    """(how it is linked to the one before, exception), the first cause first."""
    found, seen, link = [], set(), ""
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        found.append(error)
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    found.reverse()
    for raised in found:
        yield link, raised
        link = (
            "which caused: "
            if raised in [other.__cause__ for other in found]
            else "and while that was handled: "
        )


def frames(error):
    for frame, line in traceback.walk_tb(without_own(error.__traceback__)):
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


def source(path, line, names):
    """The lines around one of them, that one marked."""
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


def shortened(value):
    text = value if isinstance(value, str) else repr(value)
    return text if len(text) <= LONGEST_VALUE else text[:LONGEST_VALUE] + " ..."
