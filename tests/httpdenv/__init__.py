"""A real httpd for each module of tests: start it, talk to it, and prove that it behaved.

The rules that every test may rely on:

- an httpd is fresh: its own ServerRoot, ports and processes, gone when its module of tests is;
- no line at warn or above, crash, sanitizer report or traceback goes unseen: a test that provokes
one declares it
  (``with httpd.log.expects("WSGID0012"):``), every other one fails the test;
- waiting is for a predicate, with a limit; there is no bare sleep here.

This package knows httpd, processes and logs. What a WSGI application does is the business of
tests/apps.
"""

from httpdenv.errorlog import ErrorLog, Record
from httpdenv.load import Load
from httpdenv.machine import MPMS, Stage
from httpdenv.server import Httpd, StartFailed
from httpdenv.traffic import AtTheGate, Crowd
from httpdenv.waiting import wait_until

__all__ = [
    "MPMS",
    "AtTheGate",
    "Crowd",
    "ErrorLog",
    "Httpd",
    "Load",
    "Record",
    "Stage",
    "StartFailed",
    "wait_until",
]
