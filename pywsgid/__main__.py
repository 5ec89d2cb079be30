"""`python -m pywsgid`: the command line.

Rules: the version check must run under every Python, so this file uses no newer syntax, and imports
nothing else before the check.
"""

import sys

LEAST_VERSION = (3, 10)


def start():
    if sys.version_info[:2] < LEAST_VERSION:
        sys.stderr.write(
            "pywsgid: WSGID0447: the interpreter %s is Python %d.%d; mod_wsgid needs %d.%d or "
            "later: run pywsgid with a newer one, as in `python3.10 -m pywsgid`\n"
            % ((sys.executable,) + tuple(sys.version_info[:2]) + LEAST_VERSION)
        )
        return 1
    from pywsgid.cli import main

    return main.main()


if __name__ == "__main__":
    sys.exit(start())
