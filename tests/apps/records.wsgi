"""Uses `logging` without any setup, in the way that the path names; the query is the text."""

import logging
import sys
import threading
from urllib.parse import unquote
from wsgiref.validate import validator

logger = logging.getLogger("shop.cart")
logger.info("imported")


def levels(text):
    for method in ("debug", "info", "warning", "error", "critical"):
        getattr(logger, method)("%s %s", text, method)


def exception(text):
    try:
        raise ValueError(text)
    except ValueError:
        logger.exception("%s failed", text)


def thread(text):
    other = threading.Thread(target=logger.error, args=(text,))
    other.start()
    other.join()


def everywhere(text, errors):
    print(text, "printed")
    print(text, "on stderr", file=sys.stderr)
    logger.error("%s\nrecorded", text)
    errors.write(text + " to wsgi.errors\n")


def configure(text):
    """Calls basicConfig like an application that sets up logging with its first request."""
    logging.basicConfig(level=logging.INFO, format="%(levelname)s by itself: %(message)s")
    logger.info("%s info", text)
    logger.error("%s\nerror", text)
    logger.debug("%s debug", text)


def handler(text):
    """Adds a handler below the root logger, as many LOGGING settings do, until the end of this
    request.
    """
    console = logging.StreamHandler(sys.stdout)
    console.setFormatter(logging.Formatter("console: %(message)s"))
    logger.addHandler(console)
    logger.warning("%s once", text)
    logger.error("%s too", text)
    logger.removeHandler(console)


def long(text):
    logger.error("%s\n%s", text, "\u20ac" * 10000)


class Closing:
    def __init__(self, text):
        self.text = text

    def __iter__(self):
        return iter([b"closing"])

    def close(self):
        logger.error("%s closed", self.text)


WAYS = {
    "/levels": levels,
    "/exception": exception,
    "/thread": thread,
    "/configure": configure,
    "/handler": handler,
    "/long": long,
}


@validator
def application(environ, start_response):
    path, text = environ["PATH_INFO"], unquote(environ["QUERY_STRING"])
    start_response(
        "200 OK", [("Content-Type", "text/plain"), ("X-Request-Id", environ["mod_wsgi.request_id"])]
    )
    if path == "/close":
        return Closing(text)
    if path == "/everywhere":
        everywhere(text, environ["wsgi.errors"])
        raise RuntimeError(text + "\nraised")
    WAYS[path](text)
    return [b"logged"]
