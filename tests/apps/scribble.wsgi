"""Overwrites its own statistics page, as a hostile daemon could. The query says with what:

hex digits, repeated over the whole page from the offset in the path on; "noise" for random bytes in
each request.

It finds the page in its own memory map. The state stays "ready", because otherwise httpd would send
no more requests.
"""

import ctypes
import os
import struct

SIZE, READY, VERSION_AND_STATE = 65536, 1, "<II"


def page():
    with open("/proc/self/maps") as maps:
        line = next(line for line in maps if "wsgid-statistics" in line)
    return int(line.split("-")[0], 16)


def scribble(start, pattern):
    address = page()
    version = ctypes.c_uint32.from_address(address).value
    count = SIZE - start
    ctypes.memmove(address + start, (pattern * (count // len(pattern) + 1))[:count], count)
    ctypes.memmove(address, struct.pack(VERSION_AND_STATE, version, READY), 8)


def application(environ, start_response):
    query = environ["QUERY_STRING"]
    if query:
        pattern = os.urandom(SIZE) if query == "noise" else bytes.fromhex(query)
        scribble(int(environ["PATH_INFO"].strip("/") or 8), pattern)
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"scribbled\n"]
