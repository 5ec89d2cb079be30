"""A real httpd for each test module: start it, talk to it, and prove that it behaved.

What every test may rely on:

- An httpd is fresh. It has its own ServerRoot, ports and processes, and is gone when its test
  module ends.
- No line at warn or above, no crash, no sanitizer report and no traceback goes unnoticed. A test
  that provokes one declares it (``with httpd.log.expects("WSGID0012"):``); any other such line
  fails the test.
- Tests wait for a predicate, with a limit. There is no bare sleep here.

This package knows httpd, processes and logs. What a WSGI application does belongs in tests/apps.
"""

from httpdenv.errorlog import ErrorLog, Record
from httpdenv.load import Load
from httpdenv.machine import MPMS, Stage
from httpdenv.server import Httpd, StartFailed
from httpdenv.traffic import Crowd, HeldRequests
from httpdenv.waiting import wait_until

__all__ = [
    "MPMS",
    "HeldRequests",
    "Crowd",
    "ErrorLog",
    "Httpd",
    "Load",
    "Record",
    "Stage",
    "StartFailed",
    "wait_until",
]
