"""What kind of Python this is.

A free-threaded one runs without a GIL until the application imports an extension that needs one
(Python warns of it), or PYTHON_GIL=1 says so. While it imports any extension it has one for a
moment: has_gil() may say True and False again.
"""

import sys

is_free_threaded = "t" in sys.abiflags
has_gil = getattr(sys, "_is_gil_enabled", lambda: True)  # from 3.13 on


def description():
    """`3.13.2`, `3.13.2 (free-threaded)`, `3.13.2 (free-threaded, but with a GIL)`."""
    version = sys.version.split()[0]
    if not is_free_threaded:
        return version
    return version + (" (free-threaded, but with a GIL)" if has_gil() else " (free-threaded)")
