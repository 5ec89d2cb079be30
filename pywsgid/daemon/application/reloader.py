"""What happens when a script file changes: reload=hot (Reloader) and reload=touch (ReloadBarrier).

A script has changed when its file, symbolic links followed, is another than the one that was
loaded; one that is not there has not. The wish for a successor that follows is made once for each
change: if the new code cannot be loaded, the old serves every request until the file changes again.
What a script imports is not watched.
"""

import binascii

from pywsgid.daemon import logs
from pywsgid.daemon.application import loader
from pywsgid.daemon.wsgi import environ as environs
from pywsgid.wire import process_abi

# seconds between two looks: with the second look, new code serves within half a second and its
# import
INTERVAL = 0.25
SETTLED = (
    0.05  # seconds after a change until the second look: who writes a file is mostly done by then
)


class Changes:
    """Which of the scripts that are loaded have changed, and for which change a successor was
    wished for.
    """

    def __init__(self, scripts, life):
        self._scripts = scripts  # a loader.Loader
        self._life = life
        self._requested = {}  # path -> stamp

    def of(self, script):
        """The stamp of a change that no wish was made for; None if there is none."""
        stamp = loader.stamp_of(script.path)
        if stamp is None or stamp == script.stamp or stamp == self._requested.get(script.path):
            return None
        return stamp

    def all(self):
        """{path: stamp}"""
        found = {
            script.path: self.of(script) for script in self._scripts.loaded() if script.is_watched
        }
        return {path: stamp for path, stamp in found.items() if stamp is not None}

    def request_replacement(self, changes):
        """False: not now."""
        why = "%s has changed" % " and ".join(sorted(changes))
        if not self._life.request_replacement(
            process_abi.REPLACE_CHANGED, why, patient=False, change=number_of(changes)
        ):
            return False
        self._requested.update(changes)
        return True


def number_of(changes):
    """64 bits, the same in each process that sees these changes; not 0."""
    text = repr(sorted(changes.items())).encode("utf-8", "backslashreplace")
    return binascii.crc32(text) << 32 | binascii.crc32(text[::-1]) or 1


class Reloader:
    """reload=hot: a keeper."""

    def __init__(self, changes):
        self._changes = changes
        self._seen = {}
        self.due = 0.0

    def look(self, now):
        changes = self._changes.all()
        if changes and changes == self._seen:
            self._changes.request_replacement(changes)
            changes = {}
        self._seen = changes
        return now + (SETTLED if changes else INTERVAL)


class ReloadBarrier:
    """Asked by a worker for each request before it starts: reload=touch, and a script's own
    reload_required(path).

    With `holds`, a request that finds a change, and every one that comes while a successor is on
    its way for that, is held until it is decided who runs it.
    """

    def __init__(self, scripts, changes, life, log, holds):
        self._scripts = scripts
        self._changes = changes
        self._life = life
        self._log = log
        self._holds = holds

    def sends_away(self, environ):
        """True: the request is for a successor, which takes over now. May take as long as that
        needs to load.
        """
        if environ.get(environs.SCRIPT_RELOADING) == "0":
            return False
        script = self._scripts.get(environ.get("SCRIPT_FILENAME"))
        if not self._holds:
            if script is not None:
                self._ask(script)
            return False
        while (
            script is not None and self._is_due(script)
        ) or self._life.replacement_reason == process_abi.REPLACE_CHANGED:
            if self._life.await_successor():
                return True
        return False

    def _is_due(self, script):
        stamp = self._changes.of(script)
        if stamp is not None:
            self._changes.request_replacement({script.path: stamp})
            return True
        return self._ask(script)

    def _ask(self, script):
        """Has the script say whether it wants to be loaded anew."""
        asked = script.reload_required
        if asked is None:
            return False
        try:
            if not asked(script.path):
                return False
        except Exception as error:
            script.reload_required = None
            self._log.write(
                logs.ERROR,
                "WSGID0356: group %r: reload_required() of script %s raised %s; it is not asked again\n%s"
                % (self._log.group, script.path, logs.describe(error), logs.traceback_text(error)),
            )
            return False
        return self._life.request_replacement(
            process_abi.REPLACE_CHANGED, "reload_required() of %s says so" % script.path
        )
