"""Leaves a process behind, as the path says, and answers with its pid.

/child         a child of the daemon, in the daemon's session
/grandchild    its parent has ended, so it is nobody's child; in the daemon's session
/setsid        the same, in a session of its own
/stubborn      the same, and ignores the signals that ask it to end
/tracer        the same as /setsid, and traces the daemon

It ends by itself after 100 s, in case the test cannot end it. The answer is "!" if the daemon may
not be traced here.
"""

import os
import subprocess
import sys

PROGRAM = """
import ctypes, os, signal, sys, time
how, daemon = sys.argv[1], int(sys.argv[2])
PTRACE_SEIZE = 0x4206
if how in ("setsid", "stubborn", "tracer"):
    os.setsid()
if how != "child" and os.fork():
    os._exit(0)
if how == "stubborn":
    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN)
answer = str(os.getpid())
if how == "tracer" and ctypes.CDLL(None).ptrace(PTRACE_SEIZE, daemon, None, None) != 0:
    answer = "!"
print(answer, flush=True)
os.close(1)
time.sleep(100)
"""


def application(environ, start_response):
    how = environ["PATH_INFO"].strip("/")
    command = [sys.executable, "-c", PROGRAM, how, str(os.getpid())]
    process = subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    )
    answer = process.stdout.readline().strip()
    if how != "child":
        process.wait()
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [answer]
