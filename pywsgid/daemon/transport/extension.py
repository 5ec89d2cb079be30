"""The only door to the C half of the daemon (native/, built by pywsgid/native/build.py): loads it
and describes it.

Two ways lead to the same file. cffi, where its backend can be imported; else ctypes, which every
Python has: so a virtualenv with nothing installed in it, a Python of another version and a
free-threaded one (which does not import extensions of the limited API) have the fast path, too.
Measured: a call costs 0.06 us through cffi and 0.13 through ctypes; the import 0.5 ms and 0.3 MB,
and 1.1 ms and 0.8 MB.

All arguments are numbers, bytes and addresses, and nothing is returned but numbers and addresses.
"""

import os
import sys

import pywsgid
from pywsgid.wire.hotpath_abi import FUNCTIONS, INTERFACE

# Tests: "off", or the path of another build, for ctypes.
SWITCH = "WSGID_NATIVE"
BACKEND = "_cffi_backend"
MODULE = "_native"


class Binding:
    """`lib` has the functions; `address(buffer)` is where a writable buffer lies, which it keeps
    alive and in place; `pointer(buffer)` is what a function takes for one that is not bytes."""

    def __init__(self, lib, address, pointer):
        self.lib = lib
        self.address = address
        self.pointer = pointer


def load():
    """(binding, ""); or (None, why there is none)."""
    binding, why_not = _find()
    if binding is None or _fits(binding):
        return binding, why_not
    return (
        None,
        "pywsgid/%s.*.so has been built from other sources than the Python files beside it"
        % MODULE,
    )


def _fits(binding):
    return all(hasattr(binding.lib, name) for name in FUNCTIONS) and binding.lib.wsgid_hub_fits(
        INTERFACE
    )


def _find():
    switch = os.environ.get(SWITCH, "")
    if switch == "off":
        return None, "%s=off" % SWITCH
    if switch:
        return _by_ctypes(switch)
    try:
        return _by_cffi(), ""
    except Exception:  # not ImportError alone: a backend of another version raises what it likes
        path = _file()
        return _by_ctypes(path) if path else (None, "pywsgid/%s.*.so has not been built" % MODULE)


def _by_cffi():
    had_backend = BACKEND in sys.modules
    try:
        from pywsgid._native import ffi, lib
    finally:
        # An application may bring a cffi of another version, which must find its own backend and
        # not the one we met.
        if not had_backend:
            sys.modules.pop(BACKEND, None)
    kept = []

    def address(buffer):
        kept.append(ffi.from_buffer("char[]", buffer))
        return kept[-1]

    return Binding(lib, address, lambda buffer: ffi.from_buffer("char[]", buffer))


def _by_ctypes(path):
    try:
        import ctypes

        library = ctypes.CDLL(path)
        types = {
            "p": ctypes.c_void_p,
            "b": ctypes.c_char_p,
            "i": ctypes.c_int,
            "q": ctypes.c_int64,
            "z": ctypes.c_size_t,
            "d": ctypes.c_double,
        }
        for name, (result, arguments) in FUNCTIONS.items():
            function = getattr(library, name)
            function.restype = types.get(result)
            function.argtypes = [types[letter] for letter in arguments]
    except (ImportError, OSError, AttributeError) as error:
        return None, str(error)
    kept = []

    def address(buffer):
        kept.append(ctypes.c_char.from_buffer(buffer))
        return ctypes.addressof(kept[-1])

    return Binding(
        library, address, bytes
    ), ""  # a copy: ctypes knows no buffers that are read-only


def _file():
    """The extension as it lies in the package, whatever interpreter it is named for."""
    package = os.path.abspath(pywsgid.__path__[0])
    names = [
        name
        for name in os.listdir(package)
        if name.startswith(MODULE + ".") and name.endswith(".so")
    ]
    return (
        os.path.join(package, min(names, key=lambda name: (".abi3." not in name, name)))
        if names
        else None
    )
