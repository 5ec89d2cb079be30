"""Large bodies in each way that an application may send or receive them; the query string gives the
number of bytes or blocks.
"""

import os

FILE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "static", "file")
BLOCK = b"x" * 65536
TINY = b"x" * 16
objects = {}


def file(environ, count):
    headers = [("Content-Length", str(os.path.getsize(FILE)))]
    wrapper = environ.get("wsgi.file_wrapper")
    opened = open(FILE, "rb")
    return headers, wrapper(opened, 65536) if wrapper else iter(lambda: opened.read(65536), b"")


def generator(environ, count):
    return [], (BLOCK for _ in range(count // len(BLOCK)))


def single(environ, count):
    body = objects.get(count)
    if body is None:
        body = objects[count] = b"x" * count
    return [("Content-Length", str(count))], [body]


def blocks(environ, count):
    return [], (TINY for _ in range(count))


def upload(environ, count):
    got, read = 0, environ["wsgi.input"].read
    while block := read(65536):
        got += len(block)
    body = b"%d" % got
    return [("Content-Length", str(len(body)))], [body]


ROUTES = {
    "/file": file,
    "/generator": generator,
    "/object": single,
    "/blocks": blocks,
    "/upload": upload,
}


def application(environ, start_response):
    headers, body = ROUTES[environ["PATH_INFO"]](environ, int(environ.get("QUERY_STRING") or 0))
    start_response("200 OK", [("Content-Type", "application/octet-stream"), *headers])
    return body
