"""Ending a child process together with everything that it has started.

The child leads a session of its own (start_new_session=True). Until it is reaped, its number stays
in use and so does the session's, so a signal to the session cannot hit a stranger. Rules: no
function here reaps the child; the caller does that last.
"""

from __future__ import annotations

import os
import subprocess
from contextlib import suppress
from typing import Any

Process = subprocess.Popen[Any]


def wait_for_exit(process: Process) -> None:
    """Waits until the process has exited. ChildProcessError if it has been reaped already."""
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)


def has_exited(process: Process) -> bool:
    """Returns whether the process has exited, or has been reaped already."""
    with suppress(ChildProcessError):
        return os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT | os.WNOHANG) is not None
    return True


def signal_session(process: Process, number: int) -> None:
    """Sends a signal to every process of the session; to none if the leader has been reaped."""
    if process.returncode is None:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, number)
