"""The wake-up pipe: how a daemon has httpd's parent look at its statistics page (docs/design.md,
"The wake-up pipe").

Rules: a byte only says "look"; what has changed is in the page. Never waits.
"""

from __future__ import annotations

import os

from pywsgid.wire import process_abi


def wake_parent() -> None:
    """Wakes httpd's parent, if there still is one."""
    try:
        os.write(process_abi.FD_WAKEUP, b"\0")
    except OSError:
        pass  # the pipe is full, so the parent will wake up; or httpd has ended
