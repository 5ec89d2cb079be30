"""What happens when a script file changes: reload=hot (Reloader) and reload=touch (ReloadBarrier).

A script has changed when its file, symbolic links followed, differs from the one that was loaded; a
file that is missing has not changed. For each change the process asks once to be replaced. If the
new code cannot be loaded, the old code serves every request until the file changes again. The
modules that a script imports are not checked.
"""

from __future__ import annotations

import binascii

from pywsgid.daemon import logs
from pywsgid.daemon.application import loader
from pywsgid.daemon.request_info import SCRIPT_RELOADING, script_of
from pywsgid.wire import process_abi

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pywsgid.daemon.interfaces import Environ, Life, Stamp

    Stamps = dict[str, Stamp]  # path -> stamp

# Seconds between two checks. With the second check of a change, new code serves half a second after
# the change, plus the time of its import.
INTERVAL = 0.25
# Seconds from a change to its second check: by then, a file that was being written is complete in
# most cases.
SETTLED = 0.05


class Changes:
    """Which of the loaded scripts have changed, and for which changes the process has asked to be
    replaced.
    """

    def __init__(self, scripts: loader.Loader, life: Life) -> None:
        self._scripts = scripts
        self._life = life
        self._requested: Stamps = {}

    def of(self, script: loader.Script) -> Stamp | None:
        """The stamp of a change for which no replacement has been requested; None without one."""
        stamp = loader.stamp_of(script.path)
        if stamp is None or stamp == script.stamp or stamp == self._requested.get(script.path):
            return None
        return stamp

    def all(self) -> Stamps:
        """of() every script that is watched."""
        found = {
            script.path: self.of(script) for script in self._scripts.loaded() if script.is_watched
        }
        return {path: stamp for path, stamp in found.items() if stamp is not None}

    def request_replacement(self, changes: Stamps) -> bool:
        """False: not now."""
        why = "%s has changed" % " and ".join(sorted(changes))
        if not self._life.request_replacement(
            process_abi.REPLACE_CHANGED, why, after_backoff=False, change=change_number(changes)
        ):
            return False
        self._requested.update(changes)
        return True


def change_number(changes: Stamps) -> int:
    """64 bits, not 0, the same in each process that sees these changes."""
    text = repr(sorted(changes.items())).encode("utf-8", "backslashreplace")
    return binascii.crc32(text) << 32 | binascii.crc32(text[::-1]) or 1


class Reloader:
    """reload=hot: a periodic task."""

    def __init__(self, changes: Changes) -> None:
        self._changes = changes
        self._seen: Stamps = {}  # by the check before
        self.due = 0.0

    def poll(self, now: float) -> float:
        changes = self._changes.all()
        if changes and changes == self._seen:
            self._changes.request_replacement(changes)
            changes = {}
        self._seen = changes
        return now + (SETTLED if changes else INTERVAL)


class ReloadBarrier:
    """Workers ask it about each request before that starts: for reload=touch, and for a script's
    own reload_required(path).

    With `holds` (reload=touch), a request that meets a change waits, as does every request that
    comes while a replacement is on its way, until it is known which process runs them.
    """

    def __init__(
        self, scripts: loader.Loader, changes: Changes, life: Life, log: logs.Log, holds: bool
    ) -> None:
        self._scripts = scripts
        self._changes = changes
        self._life = life
        self._log = log
        self._holds = holds

    def sends_away(self, environ: Environ) -> bool:
        """True: the request is for the replacement, which is ready now. May take as long as that
        needs to load the scripts.
        """
        if environ.get(SCRIPT_RELOADING) == "0":
            return False
        script = self._scripts.get(script_of(environ))
        if not self._holds:
            if script is not None:
                self._ask(script)
            return False
        while (
            script is not None and self._has_changed(script)
        ) or self._life.replacement_reason == process_abi.REPLACE_CHANGED:
            if self._life.await_replacement():
                return True
        return False

    def _has_changed(self, script: loader.Script) -> bool:
        """Whether a script has changed; then a replacement is requested."""
        stamp = self._changes.of(script)
        if stamp is not None:
            self._changes.request_replacement({script.path: stamp})
            return True
        return self._ask(script)

    def _ask(self, script: loader.Script) -> bool:
        """Calls the script's reload_required(); whether a replacement was requested."""
        reload_required = script.reload_required
        if reload_required is None:
            return False
        try:
            if not reload_required(script.path):
                return False
        except Exception as error:
            script.reload_required = None
            self._log.write(
                logs.ERROR,
                "WSGID0356: group %r: reload_required() of script %s raised %s: fix it; this "
                "process does not call it again\n%s"
                % (self._log.group, script.path, logs.describe(error), logs.traceback_text(error)),
            )
            return False
        return self._life.request_replacement(
            process_abi.REPLACE_CHANGED, "reload_required() of %s returned true" % script.path
        )
