"""Builds pywsgid._native with cffi: apxs/common/wire.c, apxs/common/spin.c, and the daemon's hot
path (pywsgid/native).

setup.py names it as cffi_modules=["pywsgid/native/build.py:ffi"] and runs it from the root of the
tree; `python pywsgid/native/build.py` from there builds in place. What the extension offers is
declared in C headers alone, from which the cdef is made. The C code touches no Python object, so
the limited API is enough, and one extension serves each CPython >= 3.10 (a free-threaded one has no
limited API: cffi then builds for that version alone). pywsgid/daemon/transport/extension.py is the
only module of the package that imports the result.
"""

from __future__ import annotations

import re
from pathlib import Path

import cffi

ROOT = Path(__file__).resolve().parent.parent.parent
# In the order in which they need each other.
HEADERS = ("apxs/common/wire_table.h", "apxs/common/wire.h", "pywsgid/native/hotpath_table.h")


def declarations(header: str) -> str:
    """A header as cffi's cdef() takes it: without comments and directives. #define of a number
    stays, with "..." in place of the number, which cffi asks the C compiler for.
    """
    text = re.sub(r"/\*.*?\*/", "", header, flags=re.DOTALL).replace("\\\n", " ")
    text = re.sub(r"^#define (WSGID_\w+) +[(\d].*$", r"@define \1 ...", text, flags=re.MULTILINE)
    text = re.sub(r"^#.*$", "", text, flags=re.MULTILINE)
    return text.replace("@define", "#define").replace("WSGID_API ", "")


CDEF = "\n".join(declarations((ROOT / path).read_text(encoding="utf-8")) for path in HEADERS)

NAMES = (
    *("hub", "descriptors", "monitor", "gate", "concurrency", "endpoint"),
    *("receive", "send", "outcome", "measure", "thread", "gil"),
)

# cffi would release the GIL around each call. The functions do that themselves, before they wait
# (gil.c).
PREAMBLE = """
#include "hotpath.h"
#undef Py_BEGIN_ALLOW_THREADS
#undef Py_END_ALLOW_THREADS
#define Py_BEGIN_ALLOW_THREADS {
#define Py_END_ALLOW_THREADS }
"""

ffi = cffi.FFI()
ffi.cdef(CDEF)
# Paths as seen from the root of the tree: setuptools wants them relative.
ffi.set_source(
    "pywsgid._native",
    PREAMBLE,
    sources=[
        "apxs/common/wire.c",
        "apxs/common/spin.c",
        *("pywsgid/native/%s.c" % name for name in NAMES),
    ],
    depends=[
        *HEADERS,
        "apxs/common/spin.h",
        "apxs/common/process_abi.h",
        "pywsgid/native/hotpath.h",
    ],
    include_dirs=["pywsgid/native", "apxs"],
    extra_compile_args=[
        "-std=gnu11",
        "-D_GNU_SOURCE",
        "-O2",
        "-pthread",
        "-Wall",
        "-Wextra",
        "-fvisibility=hidden",
    ],
    py_limited_api=True,
)

if __name__ == "__main__":
    ffi.compile(verbose=True)
