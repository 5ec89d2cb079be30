"""signal.signal() as the application calls it.

Python allows it in the main thread only. There, scripts are loaded before the process is ready;
later, a worker loads them for a request. What a script does with signals must not depend on that,
so a call from a thread that loads a script is carried out by the main thread, which sleeps in
main_loop.py. Any other thread gets Python's ValueError.

The daemon's own signals (process/signals.py) are not given away; with WSGIRestrictSignal On, none
is, and all threads may ask. A handler runs in the main thread, at any point of the daemon's code:
what it raises is logged, and goes no further, once the process serves. None of this holds in
children that the application forks.
"""

from __future__ import annotations

import sys

from pywsgid.daemon import logs
from pywsgid.daemon.system import _thread, os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Container
    from types import FrameType
    from typing import Any

NEVER = float("inf")
RESTRICTED = "WSGID_RESTRICT_SIGNAL"  # this variable is not empty: WSGIRestrictSignal On

# The threads that load a script (get_ident()).
loading: set[int] = set()


class Handler:
    """A handler of the application."""

    def __init__(self, calls: SignalCalls, handler: Callable[[int, FrameType | None], Any]) -> None:
        self._calls = calls
        self.handler = handler

    def __call__(self, number: int, frame: FrameType | None) -> None:
        try:
            self.handler(number, frame)
        except BaseException as error:
            if not self._calls.catches or not self._calls.is_here():
                raise
            self._calls.log_failure(number, error)


class Call:
    """A call that the main thread is to carry out. `done` is held until it has done so."""

    def __init__(self, number: int, handler: Any) -> None:
        self.arguments = number, handler
        self.result: Any = None
        self.error: Exception | None = None
        self.done = _thread.allocate_lock()
        self.done.acquire()


class SignalCalls:
    """For the main thread to create. A PeriodicTask of the main loop, which `wake` wakes. `own` are
    the signals of the daemon; `catches` is set when the process serves.
    """

    due = NEVER

    def __init__(self, log: logs.Log, own: Container[int], wake: Callable[[], None]) -> None:
        self.catches = False
        self._log, self._own, self._wake = log, own, wake
        self._pid, self._main = os.getpid(), _thread.get_ident()
        self._is_restricted = bool(os.environ.get(RESTRICTED))
        self._calls: list[Call] = []

    def adopt(self) -> None:
        """The module `signal` has been imported."""
        module = sys.modules["signal"]
        self._set, self._get = module.signal, module.getsignal
        module.signal, module.getsignal = self.signal, self.getsignal  # type: ignore[attr-defined]

    def is_here(self) -> bool:
        """Whether this is the daemon and not a child of the application."""
        return os.getpid() == self._pid

    # ---- what the application calls

    def signal(self, signalnum: int, handler: Any) -> Any:
        """signal.signal()."""
        is_main = _thread.get_ident() == self._main
        if not self.is_here():
            return self._set(signalnum, handler)
        if self._is_restricted:
            self._log.write(
                logs.WARN,
                "WSGID0377: group %r: signal.signal() for signal %d in %s is ignored, because "
                "WSGIRestrictSignal is On: remove that call, or set it to Off"
                % (self._log.group, signalnum, place_of_call()),
            )
            return self.getsignal(signalnum)
        if not is_main and _thread.get_ident() not in loading:
            return self._set(signalnum, handler)
        if signalnum in self._own:
            self._log.write(
                logs.NOTICE,
                "WSGID0378: group %r: signal.signal() for signal %d in %s is ignored, as the "
                "daemon needs that signal: use atexit for what is to be done at the end"
                % (self._log.group, signalnum, place_of_call()),
            )
            return self.getsignal(signalnum)
        if callable(handler):
            handler = Handler(self, handler)
        set_it = self._set if is_main else self._in_main_thread
        return handler_of(set_it(signalnum, handler))

    def getsignal(self, signalnum: int) -> Any:
        """signal.getsignal()."""
        return handler_of(self._get(signalnum))

    def _in_main_thread(self, signalnum: int, handler: Any) -> Any:
        call = Call(signalnum, handler)
        self._calls.append(call)
        self._wake()
        call.done.acquire()
        if call.error is not None:
            raise call.error
        return call.result

    # ---- what the main thread calls

    def poll(self, now: float) -> float:
        """See interfaces.PeriodicTask."""
        while self._calls:
            call = self._calls.pop(0)
            try:
                call.result = self._set(*call.arguments)
            except Exception as error:
                call.error = error
            call.done.release()
        return NEVER

    def log_failure(self, number: int, error: BaseException) -> None:
        """A handler has raised an exception."""
        self._log.write(
            logs.ERROR,
            "WSGID0376: group %r: the application's handler of signal %d has raised %s, and the "
            "process goes on: correct it\n%s"
            % (self._log.group, number, logs.describe(error), logs.traceback_text(error)),
        )


def handler_of(handler: Any) -> Any:
    """What the application has given to signal.signal()."""
    return handler.handler if isinstance(handler, Handler) else handler


def place_of_call() -> str:
    """FILE:LINE from where the application has called the caller of this function."""
    import traceback

    place = traceback.extract_stack(limit=3)[0]
    return "%s:%s" % (place.filename, place.lineno)
