"""The bell: how a daemon has httpd's parent look at its statistics page (docs/design.md, "The
bell").

Rules: a byte says only "look"; what there is to see stands in the page. Never waits: a pipe that is
full has been rung.
"""

import os

from pywsgid.wire import process_abi


def ring():
    try:
        os.write(process_abi.FD_BELL, b"\0")
    except OSError:
        pass  # full, so it has been rung; or httpd has gone, so nobody is to look
