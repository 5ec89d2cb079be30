"""The wake-up pipe: how a daemon has httpd's parent look at its statistics page (docs/design.md, "The
wakeup").

Rules: a byte says only "look"; what there is to see stands in the page. Never waits: a pipe that is
full has been rung.
"""

import os

from pywsgid.wire import process_abi


def wake_parent():
    try:
        os.write(process_abi.FD_WAKEUP, b"\0")
    except OSError:
        pass  # full, so it has been rung; or httpd has gone, so nobody is to look
