"""Calls an application in a bare loop, without any server: `python loop.py SCRIPT`.

Reads one order a line from standard input, as JSON: `threads`, `seconds`, and the request
(`method`, `path`, `content_type`, `body`, a file). Writes what it has measured as one line of JSON.
It counts its own CPU time and switches, because only the process itself knows those of threads that
have ended.
"""

import importlib
import io
import json
import resource
import sys
import threading
import time


def environ_of(order, body):
    """What a server makes of the request, but for `wsgi.input`."""
    return {
        "REQUEST_METHOD": order["method"],
        "SCRIPT_NAME": "",
        "PATH_INFO": order["path"],
        "QUERY_STRING": "",
        "CONTENT_TYPE": order["content_type"],
        "CONTENT_LENGTH": str(len(body)),
        "SERVER_NAME": "localhost",
        "SERVER_PORT": "80",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "REMOTE_ADDR": "127.0.0.1",
        "HTTP_HOST": "localhost",
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": "http",
        "wsgi.errors": sys.stderr,
        "wsgi.multithread": True,
        "wsgi.multiprocess": True,
        "wsgi.run_once": False,
    }


def call(application, environ, body):
    """One request. An answer from 400 on ends the measurement."""
    answered = []

    def start_response(status, headers, exc_info=None):
        answered.append(status)

    result = application({**environ, "wsgi.input": io.BytesIO(body)}, start_response)
    try:
        for _ in result:
            pass
    finally:
        if hasattr(result, "close"):
            result.close()
    if answered[-1] >= "4":
        raise RuntimeError(f"{environ['PATH_INFO']}: {answered[-1]}")


class Measurement:
    """Each thread calls once before it counts: that opens its connection to the database."""

    def __init__(self, application, order):
        body = b""
        if order["body"]:
            with open(order["body"], "rb") as file:
                body = file.read()
        self._call = lambda: call(application, environ_of(order, body), body)
        self._threads, self._seconds = order["threads"], order["seconds"]
        self._begin = threading.Barrier(self._threads + 1, timeout=30)
        self._counts: list[int | None] = [None] * self._threads
        self._end = 0.0

    def run(self):
        threads = [
            threading.Thread(target=self._work, args=(number,)) for number in range(self._threads)
        ]
        for thread in threads:
            thread.start()
        self._begin.wait()
        begun, before = time.monotonic(), resource.getrusage(resource.RUSAGE_SELF)
        self._end = begun + self._seconds
        self._begin.wait()
        for thread in threads:
            thread.join()
        seconds, after = time.monotonic() - begun, resource.getrusage(resource.RUSAGE_SELF)
        used = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        return {
            "requests": sum(count or 0 for count in self._counts),
            "errors": self._counts.count(None),
            "seconds": seconds,
            "cpu": used,
            "switches": after.ru_nvcsw - before.ru_nvcsw,
        }

    def _work(self, number):
        try:
            self._call()
            self._begin.wait()
            self._begin.wait()
        except BaseException:
            self._begin.abort()
            raise
        count, is_over = 0, False
        while not is_over:
            self._call()
            count += 1
            is_over = time.monotonic() >= self._end
        self._counts[number] = count


def main():
    application = importlib.import_module(sys.argv[1]).application
    print("ready", flush=True)
    for line in sys.stdin:
        print(json.dumps(Measurement(application, json.loads(line)).run()), flush=True)


if __name__ == "__main__":
    main()
