"""Loads the compiled half of the daemon: pywsgid/_native.*.so, which pywsgid/native/build.py
builds.

There are two ways to the same file. cffi, where its backend can be imported; else ctypes, which
every Python has. So a virtualenv with nothing installed in it can use the file, and a Python of
another version, and a free-threaded one, which does not import extensions of the limited API.
Measured: a call costs 0.06 us through cffi and 0.13 us through ctypes; the import 0.5 ms and 0.3
MB, or 1.1 ms and 0.8 MB.

Its functions are called with the GIL and release it themselves, before they wait: ctypes.PyDLL, and
build.py for cffi.

Rules: no other module loads the file. All arguments of its functions are numbers, bytes and
addresses; all results are numbers and addresses.
"""

from __future__ import annotations

import sys

import pywsgid
from pywsgid.daemon.system import os
from pywsgid.wire.hotpath_abi import FUNCTIONS, INTERFACE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, Protocol

    class Binding(Protocol):
        """The extension, loaded. `lib` has its functions."""

        lib: Any

        def address(self, buffer: Any) -> Any:
            """The address of a writable buffer. Keeps the buffer alive and in place for ever."""

        def pointer(self, buffer: Any) -> Any:
            """What a function takes for a buffer that is not bytes. Valid while the result is."""


# For tests: the path of another build, which ctypes then loads.
SWITCH = "WSGID_NATIVE"
BACKEND = "_cffi_backend"
MODULE = "_native"
BUILD = "run `make` in the source tree, or `pip install --force-reinstall pywsgid`"


class ExtensionError(Exception):
    """The extension cannot be used. The text says why, and what fixes it."""


class _Binding:
    def __init__(
        self, lib: Any, address: Callable[[Any], Any], pointer: Callable[[Any], Any]
    ) -> None:
        self.lib = lib
        self.address = address
        self.pointer = pointer


def load() -> Binding:
    """Loads the extension. Raises ExtensionError if it is missing, cannot be loaded, or was made
    from another table than the Python files beside it.
    """
    binding = _find()
    if not _fits(binding):
        raise ExtensionError(
            "pywsgid/%s.*.so was built from other sources than the Python files beside it. To "
            "build it again, %s" % (MODULE, BUILD)
        )
    return binding


def _fits(binding: Binding) -> bool:
    lib = binding.lib
    return all(hasattr(lib, name) for name in FUNCTIONS) and bool(lib.wsgid_hub_fits(INTERFACE))


def _find() -> Binding:
    path = os.environ.get(SWITCH)
    if path:
        return _by_ctypes(path)
    try:
        return _by_cffi()
    except Exception:  # not ImportError alone: a backend of another version raises what it likes
        return _by_ctypes(_file())


def _by_cffi() -> Binding:
    had_backend = BACKEND in sys.modules
    try:
        from pywsgid._native import ffi, lib
    finally:
        # An application may bring a cffi of another version, which has to import its own backend
        # and not find ours.
        if not had_backend:
            sys.modules.pop(BACKEND, None)
    kept = []

    def address(buffer: Any) -> Any:
        kept.append(ffi.from_buffer("char[]", buffer))
        return kept[-1]

    return _Binding(lib, address, lambda buffer: ffi.from_buffer("char[]", buffer))


def _by_ctypes(path: str) -> Binding:
    try:
        import ctypes

        library = ctypes.PyDLL(path)
    except (ImportError, OSError) as error:
        raise ExtensionError(
            "It cannot be loaded: %s. Let the group's user read the file; or, to build it on this "
            "machine, %s; or choose an interpreter that has ctypes or cffi (python=)"
            % (error, BUILD)
        ) from None
    _declare(library)
    kept = []

    def address(buffer: Any) -> int:
        kept.append(ctypes.c_char.from_buffer(buffer))
        return ctypes.addressof(kept[-1])

    # bytes makes a copy: ctypes has no pointers to buffers that are read-only.
    return _Binding(library, address, bytes)


def _declare(library: Any) -> None:
    """Tells ctypes what the functions take and return. A function that is missing is left out:
    _fits() finds that.
    """
    import ctypes

    types = {
        "p": ctypes.c_void_p,
        "b": ctypes.c_char_p,
        "i": ctypes.c_int,
        "q": ctypes.c_int64,
        "z": ctypes.c_size_t,
        "d": ctypes.c_double,
    }
    for name, (result, arguments) in FUNCTIONS.items():
        function = getattr(library, name, None)
        if function is not None:
            function.restype = types.get(result)
            function.argtypes = [types[letter] for letter in arguments]


def _file() -> str:
    """The path of the extension in this package, whichever interpreter it was built for. Raises
    ExtensionError if there is none.
    """
    package = os.path.abspath(pywsgid.__path__[0])
    names = [
        name
        for name in os.listdir(package)
        if name.startswith(MODULE + ".") and name.endswith(".so")
    ]
    if not names:
        raise ExtensionError(
            "It has not been built: there is no %s.*.so in %s. To build it, %s"
            % (MODULE, package, BUILD)
        )
    return os.path.join(package, min(names, key=lambda name: (".abi3." not in name, name)))
