"""Ends its process by os._exit(STATUS), so that no handler runs.

A request with the query exit=STATUS does it in that request. env=EXIT=MOMENT:STATUS makes every
process do it: in its import ("import"), or as soon as it takes requests ("ready"). env=STARTS=FILE
appends the pid of each process that imports this to a file.
"""

import ctypes
import os
import threading
import time

from pywsgid.wire.process_abi import PAGE_STATE_AT, STATE_READY  # the daemon has imported it

PAGE = "wsgid-statistics"
MOMENT, _, STATUS = os.environ.get("EXIT", "").partition(":")


def page():
    """The address of the process's statistics page, where it says that it takes requests."""
    with open("/proc/self/maps") as maps:
        return int(next(line for line in maps if PAGE in line).split("-")[0], 16)


def exit_when_ready():
    state = ctypes.c_uint32.from_address(page() + PAGE_STATE_AT)
    while state.value != STATE_READY:
        time.sleep(0.001)
    os._exit(int(STATUS))


def application(environ, start_response):
    name, _, status = environ["QUERY_STRING"].partition("=")
    if name == "exit":
        os._exit(int(status))
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [str(os.getpid()).encode("ascii")]


if os.environ.get("STARTS"):
    with open(os.environ["STARTS"], "a") as file:
        file.write(f"{os.getpid()}\n")
if MOMENT == "import":
    os._exit(int(STATUS))
elif MOMENT == "ready":
    threading.Thread(target=exit_when_ready, daemon=True).start()
