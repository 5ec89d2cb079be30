"""What `pywsgid serve --reload` puts around an application: changed sources are loaded, exceptions
are shown in the browser.

The script that `serve` writes calls application(). It loads the application; a thread checks the
sources (source_watcher.py), and touches that script when one changes, so that reload=hot replaces
the process. If the new code cannot be loaded, the old code goes on serving. If there is no old
code, as the first attempt failed, the traceback is served until the error is fixed (error_page.py).

Rules: never used without --reload. Nothing is imported but the standard library and what the daemon
has loaded.
"""

from __future__ import annotations

import sys

from pywsgid.daemon.application.error_page import ErrorPages, traceback_text
from pywsgid.daemon.application.source_watcher import Watcher
from pywsgid.daemon.system import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from typing import Any

    from pywsgid.daemon.interfaces import Application, Environ


def application(
    marker: str,
    *,
    directories: Sequence[str],
    hosts: Iterable[str],
    script: str = "",
    code: str = "",
    name: str = "application",
    touch: str,
) -> Application:
    """The WSGI application of `script` (a path) or of `code` (text that defines `name`), wrapped.

    `directories` contain its sources; `hosts` are names of this server; `touch` is the script that
    is served; `marker` is a file that exists once the application could be loaded. Raises what the
    application raises if it could be loaded before.
    """
    os.environ.setdefault("FLASK_DEBUG", "1")  # else Flask answers for an exception by itself
    # If a file changes twice within a second and keeps its size, Python takes its old bytecode for
    # that of the new source.
    sys.dont_write_bytecode = True
    watcher = Watcher([script] if script else [], directories, touch)
    loaded: Application
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
    return ErrorPages(loaded, hosts)


def load(script: str, code: str, name: str) -> Any:
    """The object `name`, which may be dotted, of `script` or, without one, of `code`. Raises what
    they raise.
    """
    source: str | bytes = code
    if script:
        with open(script, "rb") as file:
            source = file.read()
    module = type(sys)("_mod_wsgi_develop")
    module.__file__ = script or "<pywsgid serve>"
    sys.modules[module.__name__] = module
    exec(compile(source, module.__file__, "exec", dont_inherit=True), module.__dict__)
    found = module
    for part in name.split("."):
        found = getattr(found, part)
    return found


def with_static_files(loaded: Application) -> Application:
    """For Django with DEBUG: an application that serves static files, too, as runserver does. So
    the admin has its styles.
    """
    settings = getattr(sys.modules.get("django.conf"), "settings", None)
    if not settings or not settings.configured or not settings.DEBUG:
        return loaded
    if "django.contrib.staticfiles" not in settings.INSTALLED_APPS or not settings.STATIC_URL:
        return loaded
    import importlib

    handlers = importlib.import_module("django.contrib.staticfiles.handlers")
    wrapped: Application = handlers.StaticFilesHandler(loaded)
    return wrapped


class Broken:
    """Takes the place of an application that could not be loaded: raises what that raised."""

    def __init__(self, error: BaseException) -> None:
        self._error = error
        self._trace = error.__traceback__

    def __call__(self, environ: Environ, start_response: Any) -> Iterable[bytes]:
        error = self._error.with_traceback(self._trace)
        if isinstance(error, Exception):
            raise error
        # SystemExit and the like would end the request without a page.
        raise RuntimeError("the application could not be loaded") from error
