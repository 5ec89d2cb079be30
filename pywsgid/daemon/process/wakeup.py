"""The wake-up pipe: how a daemon has its guardian look at its statistics page (docs/design.md,
"The wake-up pipe").

Rules: a byte only says "look"; what has changed is in the page. Never waits.
"""

from __future__ import annotations

from pywsgid.daemon.system import os
from pywsgid.wire import process_abi


def wake_guardian() -> None:
    """Wakes the guardian, if there still is one."""
    try:
        os.write(process_abi.FD_WAKEUP, b"\0")
    except OSError:
        pass  # the pipe is full, so the guardian will wake up; or it has ended
