"""The modules of Python that the daemon uses and that applications patch: copies, made before any
code of the application runs.

gevent and eventlet replace threads, locks, sleep and select by their own, and remove select.poll;
agents and tests wrap what they please. All of that is for the application. The daemon's threads
stay threads, its locks stay locks, its clock stays the clock.

Rules: in the daemon, these modules come from here (tools/check_imports.py), also in files that are
imported late. What is written in Python and has state (threading, socket, selectors, signal) cannot
be copied like that; the daemon uses what it is made of.
"""

from __future__ import annotations

import _socket
import _thread
import os
import select
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    import signal as _signal
else:
    import _signal

    def _copy(module):
        copied = type(module)(module.__name__)
        vars(copied).update(vars(module))
        return copied

    _signal, _socket, _thread = _copy(_signal), _copy(_socket), _copy(_thread)
    os, select, time = _copy(os), _copy(select), _copy(time)

__all__ = ["_signal", "_socket", "_thread", "os", "select", "time"]
