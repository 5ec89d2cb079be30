"""Chooses the interpreter that .venv is made from, and with it the module's default interpreter.

The daemons run as another user than the one who builds, so a python3 below a home directory with
mode 0700 (pyenv, uv, conda) builds well and then never starts. In this order: $PYTHON; python3 on
PATH if everybody can reach it; /usr/bin/python3. Prints its path to stdout, and which and why, in
one line, to stderr.

    choose_python.py                  the path
    choose_python.py --missing PATH   what that interpreter lacks for a build: "venv", "headers"

Runs on Python 3.6 and later, so that it can say that an interpreter is too old.
"""

import json
import os
import shutil
import stat
import subprocess
import sys

OLDEST = (3, 10)
SYSTEM = "/usr/bin/python3"
PROBE = """
import json, os, sys, sysconfig
try:
    import ensurepip, venv
    makes_venv = True
except ImportError:
    makes_venv = False
bases = {"base": sys.base_prefix, "installed_base": sys.base_prefix}
include = sysconfig.get_paths(vars=bases)["include"]
print(json.dumps({
    "version": sys.version_info[:3],
    "places": [sys.executable, sys.prefix, sys.base_prefix, os.path.dirname(os.__file__)],
    "venv": makes_venv,
    "headers": os.path.exists(os.path.join(include, "Python.h")),
}))
"""


def probe(python):
    """What an interpreter says of itself, or None if it does not run."""
    try:
        done = subprocess.run(
            [python, "-I", "-c", PROBE],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            stdin=subprocess.DEVNULL,
        )
        return json.loads(done.stdout.decode()) if done.returncode == 0 else None
    except (OSError, ValueError):
        return None


def closed_directory(path):
    """The first directory on the way to path that others cannot enter, or None."""
    parent = path
    ways = []
    while parent != os.path.dirname(parent):
        parent = os.path.dirname(parent)
        ways.append(parent)
    for directory in reversed(ways):
        if not os.stat(directory).st_mode & stat.S_IXOTH:
            return directory
    return None


def objection(facts):
    """Why an interpreter does not serve, or None."""
    if facts is None:
        return "does not run"
    if tuple(facts["version"]) < OLDEST:
        return "is Python %d.%d, older than %d.%d" % (tuple(facts["version"][:2]) + OLDEST)
    for place in facts["places"]:
        # Seen both as it is written and with its symbolic links followed: each is a way the daemon
        # has to go.
        closed = closed_directory(place) or closed_directory(os.path.realpath(place))
        if closed:
            return "lies below %s, which other users cannot enter" % closed
    return None


def tell(python, facts, why):
    sys.stderr.write("python: %s (%s), %s\n" % (python, ".".join(map(str, facts["version"])), why))
    print(python)


def give_up(text):
    sys.stderr.write("python: " + text + "\n")
    sys.exit(1)


def named(python):
    """$PYTHON is taken as it is: who names one may know of an access list that we cannot see."""
    path = shutil.which(python)
    facts = probe(path) if path else None
    if facts is None or tuple(facts["version"]) < OLDEST:
        complaint = objection(facts) if path else "is not there"
        give_up("PYTHON=%s %s; name a Python %d.%d or later" % ((python, complaint) + OLDEST))
    tell(path, facts, "named by PYTHON")


def choose():
    first = shutil.which("python3")
    facts = probe(first) if first else None
    complaint = objection(facts) if first else "is not on PATH"
    if complaint is None:
        # A launcher (pyenv's shim) is no path for a daemon: take what it leads to.
        tell(facts["places"][0], facts, "python3 on PATH")
        return
    facts = probe(SYSTEM)
    if first == SYSTEM or objection(facts):
        give_up(
            "python3 %s%s; install Python %d.%d or later where every user can reach it,"
            " or name one in PYTHON"
            % (
                (complaint, "" if first == SYSTEM else " and %s %s" % (SYSTEM, objection(facts)))
                + OLDEST
            )
        )
    tell(SYSTEM, facts, "because python3 on PATH %s" % complaint)


def missing(python):
    facts = probe(python) or {}
    return [piece for piece in ("venv", "headers") if not facts.get(piece)]


def main(arguments):
    if arguments[:1] == ["--missing"]:
        print("\n".join(missing(arguments[1])))
    elif os.environ.get("PYTHON"):
        named(os.environ["PYTHON"])
    else:
        choose()


if __name__ == "__main__":
    main(sys.argv[1:])
