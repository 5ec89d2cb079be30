"""wsgi.file_wrapper: a file as a response (PEP 3333, "Optional Platform-Specific File Handling").

Of a real file the descriptor is sent (a FILE frame): its bytes never pass through Python, and httpd
can answer ranges and conditional requests. Everything else is read in blocks.

Rules: that an object has a fileno() does not mean that its read() gives the bytes of that file
(gzip, a decrypting wrapper, text). So only types whose read() is known to do that are sent as
descriptors, and exactly those: a subclass may do anything. In doubt a file is read, which is slower
and never wrong.
"""

from __future__ import annotations

import stat
import sys
from io import BufferedRandom, BufferedReader, FileIO

from pywsgid.daemon.system import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from pywsgid.daemon.interfaces import FileRegion

BLOCK_SIZE = 64 * 1024


class FileWrapper:
    """Iterates over a file-like object in blocks of at most `block_size`; close() closes the object
    if it has a close().
    """

    limit: int | None = None  # at most so many bytes: a Content-Length ends the file

    def __init__(self, filelike: Any, block_size: int = BLOCK_SIZE) -> None:
        self.filelike = filelike
        self.block_size = block_size
        if hasattr(filelike, "close"):
            self.close = filelike.close

    def __iter__(self) -> FileWrapper:
        return self

    def __next__(self) -> Any:
        limit = self.limit
        if limit is None:
            block = self.filelike.read(self.block_size)
        else:
            block = self.filelike.read(min(self.block_size, limit)) if limit else b""
            self.limit = limit - len(block)
        if not block:
            raise StopIteration
        return block


def region(wrapper: FileWrapper) -> FileRegion | None:
    """(descriptor, position, bytes from there to the end) if what is left to read can be sent as a
    part of a file; None if it must be read.
    """
    try:
        file = _file(wrapper.filelike)
        if file is None:
            return None
        if type(file) is BufferedRandom:
            file.flush()  # what was written must be in the file
        descriptor = file.fileno()
        info = os.fstat(descriptor)
        # A file without blocks is empty, or the kernel makes its content when it is read (/proc,
        # /sys); then its size means nothing.
        if not stat.S_ISREG(info.st_mode) or not info.st_blocks or not _is_readable(descriptor):
            return None
        position = file.tell()
        return descriptor, position, max(0, info.st_size - position)
    except (
        OSError,
        ValueError,
    ):  # closed, detached, not seekable: reading will raise the right error
        return None


def _file(file: Any) -> BufferedRandom | BufferedReader | FileIO | None:
    """The io object, if it and what it reads from are of types whose read() is known."""
    tempfile = sys.modules.get("tempfile")
    if tempfile is not None and type(file) is getattr(tempfile, "_TemporaryFileWrapper", None):
        file = file.file
    if type(file) is FileIO:
        return file
    if type(file) is BufferedReader or type(file) is BufferedRandom:
        return file if type(file.raw) is FileIO else None
    return None


def _is_readable(descriptor: int) -> bool:
    """Whether it was opened for reading: FileIO does not check the mode that it is given."""
    import fcntl  # most applications never send a file

    return fcntl.fcntl(descriptor, fcntl.F_GETFL) & os.O_ACCMODE != os.O_WRONLY
