"""Uses 1 ms of CPU while it holds the GIL, then answers with hello; with a query string (/?5), so
many milliseconds.
"""

import time

MILLISECOND = 0.001
# The work between two readings of the clock, which is a system call here: some 10 us.
STEPS = 300


def burn(seconds):
    end = time.thread_time() + seconds
    while time.thread_time() < end:
        for _ in range(STEPS):
            pass


def application(environ, start_response):
    query = environ.get("QUERY_STRING")
    burn(float(query) * MILLISECOND if query else MILLISECOND)
    body = b"Hello, world!\n"
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", str(len(body)))])
    return [body]
