"""What the process does when it runs out of file descriptors: one line in the log, and requests for
a replacement until one is granted.

Rules: pywsgid/native/descriptors.c finds out, early if it can, and keeps httpd's connections going
meanwhile. Nothing here may need a descriptor: what would be imported when something fails is
imported when the first descriptor is scarce, and whatever fails for EMFILE is tried again.
"""

from __future__ import annotations

import errno

from pywsgid.daemon import logs
from pywsgid.daemon.system import os
from pywsgid.wire import process_abi

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pywsgid.daemon.interfaces import Life

RETRY_INTERVAL = 1.0  # seconds until a request for a replacement is repeated
NEVER = float("inf")
LISTED_MOST = 4096  # descriptors that are looked at: some microseconds each
WHY = "it runs out of file descriptors"
# Group, limit, connections; LEAK_TEXT also what most descriptors lead to.
LEAK_TEXT = (
    "WSGID0322: group %r: the process runs out of file descriptors: it may have %d, and %d of them "
    "are connections from httpd%s. It asks to be replaced, and closes idle connections meanwhile. "
    "Most likely the application leaks descriptors: close what it opens; if it needs so many, "
    "raise httpd's limit (ulimit -n, LimitNOFILE= of its service)"
)
FEW_TEXT = (
    "WSGID0322: group %r: the process has no file descriptor left: it may have %d, and %d of them "
    "are connections from httpd. It closes idle ones, and further requests wait: raise httpd's "
    "limit (ulimit -n, LimitNOFILE= of its service), or processes="
)


def are_missing(error: OSError) -> bool:
    """Whether a system call has failed because there was no descriptor for it."""
    return error.errno in (errno.EMFILE, errno.ENFILE)


def _examples(limit: int) -> str:
    """What most descriptors below `limit` lead to; "" if that cannot be known."""
    counts: dict[str, int] = {}
    for descriptor in range(min(limit, LISTED_MOST)):
        try:  # without opening the directory, which would take a descriptor
            target = os.readlink("/proc/self/fd/%d" % descriptor)
        except OSError:
            continue
        # "socket:[4711]" and "pipe:[4712]" are a socket and a pipe, whichever they are.
        kind = target.partition(":[")[0]
        counts[kind] = counts.get(kind, 0) + 1
    if not counts:
        return ""
    kind = max(counts, key=counts.__getitem__)
    return "; most of all lead to %s, %d times" % (kind, counts[kind])


class Descriptors:
    """A periodic task, which has nothing to do until run_out() has been called."""

    def __init__(self, log: logs.Log, life: Life) -> None:
        self.due = NEVER
        self._log = log
        self._life = life
        self._is_logged = False
        self._is_replacement_wanted = False

    def run_out(self, connections: int, limit: int) -> None:
        """Hardly a descriptor is left, or none. `connections` is how many of the `limit` are
        httpd's. Any thread may call it.
        """
        is_leak = connections < limit // 2
        if not self._is_logged:
            self._is_logged = True
            values = (self._log.group, limit, connections)
            text = LEAK_TEXT % (*values, _examples(limit)) if is_leak else FEW_TEXT % values
            self._log.write(logs.ERROR, text)
        if is_leak and not self._is_replacement_wanted:
            self._prepare()
            self._is_replacement_wanted = True
            self._life.wake()

    def _prepare(self) -> None:
        """Imports what would be imported when a request fails, or when the process is cut off."""
        try:
            import traceback

            from pywsgid.daemon.process import stacks
        except OSError:
            return
        del traceback, stacks

    def poll(self, now: float) -> float:
        if not self._is_replacement_wanted:
            return NEVER
        self._life.request_replacement(process_abi.REPLACE_DESCRIPTORS, WHY)
        return now + RETRY_INTERVAL
