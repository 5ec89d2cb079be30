"""Answers at once with as many bytes as the query says, without reading its input: /list,
/generator, /file.

/file is not wrapped in the validator, which would hide the file wrapper from the server.
"""

import tempfile
from wsgiref.validate import validator

BLOCK = 65536


def generator(size):
    for at in range(0, size, BLOCK):
        yield b"x" * min(BLOCK, size - at)


def from_file(environ, start_response):
    file = tempfile.TemporaryFile()
    file.write(b"x" * int(environ["QUERY_STRING"]))
    file.seek(0)
    start_response("200 OK", [("Content-Type", "application/octet-stream")])
    return environ["wsgi.file_wrapper"](file)


@validator
def from_memory(environ, start_response):
    size = int(environ["QUERY_STRING"])
    start_response(
        "200 OK", [("Content-Type", "application/octet-stream"), ("Content-Length", str(size))]
    )
    return [b"x" * size] if environ["PATH_INFO"] == "/list" else generator(size)


def application(environ, start_response):
    return (from_file if environ["PATH_INFO"] == "/file" else from_memory)(environ, start_response)
