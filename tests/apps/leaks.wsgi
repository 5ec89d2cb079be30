"""Leaks as many descriptors as the query says, or "all" that there are; answers with its pid. The
process may have 64. The script cannot be loaded while the file "broken" lies beside it.
"""

import os
import resource

resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
if os.path.exists(os.path.join(os.path.dirname(__file__), "broken")):
    raise RuntimeError("broken")


def leak(number):
    try:
        for _ in range(number):
            os.open("/dev/null", os.O_RDONLY)
    except OSError:
        pass


def application(environ, start_response):
    query = environ["QUERY_STRING"] or "0"
    leak(64 if query == "all" else int(query))
    start_response("200 OK", [])
    return [b"%d" % os.getpid()]
