"""wsgi.file_wrapper: a file as a response. What is a real file goes out as its descriptor (a FILE
frame), so that its bytes never pass through Python and httpd can answer ranges and conditions;
everything else is read in blocks.

Rules: an object's fileno() is no promise that its read() gives what is in that file (gzip, a
decrypting wrapper, text). Only types whose read() is known to be the file's own bytes are taken,
and exactly those: a subclass may do anything. When in doubt it is read: slower, and never wrong.
"""

import os
import stat
import sys
from io import BufferedRandom, BufferedReader, FileIO

BLOCK_SIZE = 64 * 1024


class FileWrapper:
    """Iterates over a file-like object in blocks; close() closes it if it can be closed (PEP 3333,
    "Optional Platform-Specific File Handling")."""

    limit = None  # bytes to give at most: a Content-Length ends the file

    def __init__(self, filelike, block_size=BLOCK_SIZE):
        self.filelike = filelike
        self.block_size = block_size
        if hasattr(filelike, "close"):
            self.close = filelike.close

    def __iter__(self):
        return self

    def __next__(self):
        limit = self.limit
        if limit is None:
            block = self.filelike.read(self.block_size)
        else:
            block = self.filelike.read(min(self.block_size, limit)) if limit else b""
            self.limit = limit - len(block)
        if not block:
            raise StopIteration
        return block


def region(wrapper):
    """(descriptor, position, bytes from there to the end) if all that is left to read can be sent
    as a part of a file; None: iterate."""
    try:
        file = _file(wrapper.filelike)
        if file is None:
            return None
        if type(file) is BufferedRandom:
            file.flush()  # what was written must be in the file
        descriptor = file.fileno()
        info = os.fstat(descriptor)
        # A file without blocks is empty, or made up by the kernel as it is read (/proc, /sys): its
        # size means nothing.
        if not stat.S_ISREG(info.st_mode) or not info.st_blocks or not _is_readable(descriptor):
            return None
        position = file.tell()
        return descriptor, position, max(0, info.st_size - position)
    except (OSError, ValueError):  # closed, detached, not seekable: reading it will say so
        return None


def _file(file):
    """The io object, if it and what it reads from are of the types that can be trusted."""
    tempfile = sys.modules.get("tempfile")
    if tempfile is not None and type(file) is getattr(tempfile, "_TemporaryFileWrapper", None):
        file = file.file
    if type(file) is FileIO:
        return file
    buffered = type(file) is BufferedReader or type(file) is BufferedRandom
    return file if buffered and type(file.raw) is FileIO else None


def _is_readable(descriptor):
    """FileIO believes the mode that it was given."""
    import fcntl  # here, as most applications never send a file

    return fcntl.fcntl(descriptor, fcntl.F_GETFL) & os.O_ACCMODE != os.O_WRONLY
