"""Answers with the file of the path through wsgi.file_wrapper. The query says how:

seek=N         from that position
length=N       with this Content-Length
h=NAME:VALUE   with this header (may be repeated)
block=N        with this block size
readfirst=N    after reading so many bytes
kind=bytes     a BytesIO with the content of the file
kind=pipe      the output of cat
kind=shrink    the file, cut in half once the headers are made
kind=own       a file-like object without fileno()
kind=logged    the file; its close() is logged

Not wrapped in the validator, which would hide the file wrapper.
"""

import io
import os
import subprocess
from urllib.parse import parse_qs


class WithoutDescriptor:
    """A file-like object of the application's own."""

    def __init__(self, path):
        self._file = open(path, "rb")
        self.read = self._file.read
        self.close = self._file.close


class LoggedFile:
    """Prints that it was closed."""

    def __init__(self, file, name):
        self._file, self._name = file, name
        self.read, self.fileno, self.seek, self.tell = file.read, file.fileno, file.seek, file.tell

    def close(self):
        self._file.close()
        print(f"closed the file {self._name}", flush=True)


def bytes_of(path):
    with open(path, "rb") as file:
        return io.BytesIO(file.read())


OPEN = {
    "file": lambda path: open(path, "rb"),
    "raw": lambda path: open(path, "rb", buffering=0),
    "bytes": bytes_of,
    "pipe": lambda path: subprocess.Popen(["/bin/cat", path], stdout=subprocess.PIPE).stdout,
    "own": WithoutDescriptor,
    "logged": lambda path: LoggedFile(open(path, "rb"), os.path.basename(path)),
    "shrink": lambda path: open(path, "rb"),
}


def application(environ, start_response):
    path = environ["PATH_INFO"]
    options = {name: values[-1] for name, values in parse_qs(environ["QUERY_STRING"]).items()}
    kind = options.get("kind", "file")
    file = OPEN[kind](path)
    if "seek" in options:
        file.seek(int(options["seek"]))
    if "readfirst" in options:
        file.read(int(options["readfirst"]))
    headers = [("Content-Type", "application/octet-stream")]
    if "length" in options:
        headers.append(("Content-Length", options["length"]))
    for value in parse_qs(environ["QUERY_STRING"]).get("h", []):
        headers.append(tuple(value.split(":", 1)))
    if kind == "shrink":
        os.truncate(path, os.path.getsize(path) // 2)
    start_response("200 OK", headers)
    return environ["wsgi.file_wrapper"](
        file, *[int(options[name]) for name in ("block",) if name in options]
    )
