"""What the tests of the command line share: running it, and a site that needs nothing of this
machine.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
from pathlib import Path

from httpdenv.serving import without_notes

from pywsgid.cli import server
from pywsgid.cli.serve import serve_options, site, target

CHECKOUT = Path(__file__).resolve().parents[1]


SOMEWHERE = server.Server("/usr/sbin/httpd", "/modules", frozenset({"core", "unixd", "event"}))


def pywsgid(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "pywsgid", *words], cwd=CHECKOUT, capture_output=True, text=True
    )


def failure(*words: str) -> str:
    """The one line on stderr of a command that fails."""
    done = pywsgid(*words)
    assert done.returncode == 1
    assert done.stdout == ""
    lines = without_notes(done.stderr)
    assert len(lines) == 1, done.stderr
    assert re.match(r"pywsgid: WSGID04\d\d: ", lines[0])
    return lines[0]


def options(*words: str) -> dict:
    """The options of a command line."""
    parser = argparse.ArgumentParser()
    serve_options.declare(parser, "serve")
    return vars(parser.parse_args([*words, "hello:app"]))


def planned(*words: str, **changes) -> site.Site:
    """A site that needs nothing of this machine."""
    goal = target.Target("site.wsgi", "/srv/a b", script="/srv/a b/site.wsgi")
    values = {
        "server": SOMEWHERE,
        "root": "/tmp/wsgid-x",
        "module": "/m/mod_wsgid.so",
        "identity": None,
        "application": None,
        "target": goal,
        "script": goal.script,
        "interpreter": "python=/usr/bin/python3",
        "options": options(*words),
    }
    return site.Site(**{**values, **changes})
