"""`pywsgid` and `python -m pywsgid`: the command line.

Rules: the version check must run under every Python, so this file uses no newer syntax. Root may
run this in a directory of anybody's, so nothing that is not built in is imported before that
directory has left sys.path.
"""

import posix
import sys

LEAST_VERSION = (3, 10)


def leave_working_directory():
    """Python begins sys.path with the current directory (`python -m`) or with that of the script,
    and takes an empty entry of PYTHONPATH for the current one."""
    if not (sys.flags.isolated or getattr(sys.flags, "safe_path", False)):
        del sys.path[0]
    if not sys.flags.ignore_environment:
        entries = posix.environ.get(b"PYTHONPATH", b"-").split(b":")
        if b"" in entries or b"." in entries:
            sys.path[:] = [entry for entry in sys.path if entry not in ("", ".", posix.getcwd())]


def start():
    if sys.version_info[:2] < LEAST_VERSION:
        sys.stderr.write(
            "pywsgid: WSGID0447: the interpreter %s is Python %d.%d; mod_wsgid needs %d.%d or "
            "later: run pywsgid with a newer one, as in `python3.10 -m pywsgid`\n"
            % ((sys.executable,) + tuple(sys.version_info[:2]) + LEAST_VERSION)
        )
        return 1
    leave_working_directory()
    from pywsgid.cli import main

    return main.main()


if __name__ == "__main__":
    sys.exit(start())
