"""What the daemon uses of CPython that its documentation does not promise. All of it is here.

Each function names the versions that it was tried with, and says what happens where CPython lacks
what it needs. "All" stands for 3.10 to 3.15 and for the free-threaded 3.13t and 3.14t. A Python
outside this list is not refused.

Rules: no other file of the daemon names such a thing. Nothing is imported at start that an
ordinary process does not need.
"""

from __future__ import annotations

import sys

from pywsgid.daemon.system import _thread

TYPE_CHECKING = False
if TYPE_CHECKING:
    import signal as _signal
    from _socket import socket
    from collections.abc import Callable
    from threading import get_native_id as _native_id, local as _local
    from types import CodeType, FrameType
    from typing import Any
else:
    from pywsgid.daemon.system import _signal

    _local, _native_id = _thread._local, _thread.get_native_id

# The halves of signal and threading that are written in C (all). `import signal` takes 3 ms more;
# the names from _thread are those that `threading` offers. No daemon starts where they are missing.
signals = _signal
Local = _local
native_id = _native_id

# A free-threaded Python runs without a GIL until the application imports an extension that needs
# one, or unless PYTHON_GIL=1 is set. While it imports any extension it has a GIL for a moment, so
# has_gil() may say True and then False again. (All; Pythons before 3.13 always have a GIL.)
is_free_threaded = "t" in sys.abiflags
has_gil: Callable[[], bool] = getattr(sys, "_is_gil_enabled", lambda: True)

# CPython's issue 148874, fixed in 3.15: see is_entering_with().
WITH_LOSES_LOCKS = sys.version_info[:2] == (3, 14)


def description() -> str:
    """`3.13.2`, `3.13.2 (free-threaded)` or `3.13.2 (free-threaded, but with a GIL)`."""
    version = sys.version.split()[0]
    if not is_free_threaded:
        return version
    return version + (" (free-threaded, but with a GIL)" if has_gil() else " (free-threaded)")


# -------- the end of a process


def join_threads() -> None:
    """Waits for all threads that are not daemon threads, and runs what concurrent.futures has
    registered for the end of the main thread.

    threading._shutdown, all. Where it is missing, nobody waits for these threads.
    """
    import threading

    shutdown: Callable[[], None] | None = getattr(threading, "_shutdown", None)
    if shutdown is None:
        return
    # If a request loads eventlet, it takes the main thread for another one, and waits for its end.
    names = shutdown.__globals__
    if are_locks_replaced() and "_main_thread" in names:
        names["_main_thread"]._ident = names["get_ident"]()
    shutdown()


def run_exit_handlers() -> None:
    """Calls what `atexit` has registered. An exception of a handler goes to sys.unraisablehook.

    atexit._run_exitfuncs, all. Where it is missing, the handlers do not run.
    """
    import atexit

    run: Callable[[], None] | None = getattr(atexit, "_run_exitfuncs", None)
    if run is not None:
        run()


# -------- threads


def name_thread(name: str) -> None:
    """Has `threading` know the calling thread, which _thread.start_new_thread() has started, by
    that name, and traces it as threading.settrace() and threading.setprofile() have asked for.

    threading.current_thread() of a thread that it has not started, all.
    """
    try:
        import threading

        threading.current_thread().name = name
        sys.settrace(threading.gettrace())
        sys.setprofile(threading.getprofile())
    except Exception:
        pass  # the application has replaced parts of it


def are_locks_replaced() -> bool:
    """Whether the application has replaced the locks of `_thread`."""
    return getattr(sys.modules["_thread"], "allocate_lock", None) is not _thread.allocate_lock


def keep_import_locks() -> None:
    """Lets `import` use locks of threads whatever becomes of `_thread`: gevent's would keep threads
    that import at the same time waiting for ever.

    importlib._bootstrap._thread, all; eventlet replaces it in the same way.
    """
    vars(sys.modules["_frozen_importlib"])["_thread"] = _thread


def current_frames() -> dict[int, FrameType]:
    """{identity: its innermost frame} of every thread.

    sys._current_frames, all. Not for a free-threaded Python: its threads run on, and a walk along
    their frames crashes the process (see the documentation of free threading).
    """
    return sys._current_frames()


def raise_in_thread(identity: int, exception: type[BaseException] | None) -> bool:
    """Has `exception` raised in a thread as soon as it runs Python code; None takes back one that
    has not been raised yet. False: this interpreter cannot do so.

    PyThreadState_SetAsyncExc by way of ctypes, all. An interpreter without ctypes raises nothing.
    """
    try:
        import ctypes  # 4 ms, which nobody pays before a request is stuck
    except ImportError:
        return False
    # By index, as ctypes.pythonapi.NAME is shared by all threads: two of them could change its
    # argtypes and call it at once.
    call = ctypes.pythonapi["PyThreadState_SetAsyncExc"]
    call.argtypes = (ctypes.c_ulong, ctypes.py_object)
    call(identity, ctypes.py_object() if exception is None else exception)
    return True


def is_entering_with(identity: int) -> bool:
    """Whether a thread is in the call that begins a `with` statement, which may take a lock.

    CPython 3.14 can raise an exception of raise_in_thread() after that call and before the body of
    the statement. The lock is then held for ever. Frames and bytecode of 3.14; False for all other
    versions. False for 3.14t, too, where the frames of a running thread cannot be read.
    """
    if not WITH_LOSES_LOCKS or is_free_threaded:
        return False
    try:
        # raise_in_thread() needs it next, and no other thread may run between the two.
        import ctypes  # noqa: F401
    except ImportError:
        return False
    from opcode import opmap

    frame = sys._current_frames().get(identity)
    # f_lasti is the CALL; the instruction before it (two bytes) has fetched __enter__.
    at = frame.f_lasti - 2 if frame is not None else -1
    return frame is not None and at >= 0 and frame.f_code.co_code[at] == opmap["LOAD_SPECIAL"]


# -------- callers


def caller_globals(depth: int) -> dict[str, Any]:
    """The globals of a calling function; `depth` 0 is the caller of whoever calls this.

    sys._getframe, all.
    """
    return sys._getframe(depth + 2).f_globals


def caller_local(depth: int, code: CodeType, name: str) -> Any:
    """The local variable `name` of a calling function if that runs `code`, else None; `depth` as
    for caller_globals().

    sys._getframe and f_locals, all.
    """
    frame = sys._getframe(depth + 1).f_back
    return frame.f_locals.get(name) if frame is not None and frame.f_code is code else None


# -------- sockets


def accept(listener: socket) -> int:
    """Accepts a connection and gives its descriptor, close-on-exec. OSError as of accept(2).

    socket._accept, all: `import socket` takes 3 ms more.
    """
    descriptor: int = listener._accept()[0]  # type: ignore[attr-defined]
    return descriptor
