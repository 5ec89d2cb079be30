"""Breaks the rule of PEP 3333 that the path names."""

HEADERS = [("Content-Type", "text/plain")]


class Text(str):
    """A subclass of str, which PEP 3333 does not allow."""


def twice(start_response):
    start_response("200 OK", list(HEADERS))
    start_response("200 OK", list(HEADERS))
    return [b"never"]


def nothing_started(start_response):
    return [b"no start_response"]


def returned_none(start_response):
    start_response("200 OK", list(HEADERS))


def returned_text(start_response):
    start_response("200 OK", list(HEADERS))
    return ["text"]


def returned_str(start_response):
    start_response("200 OK", list(HEADERS))
    return "text"


def wrote_text(start_response):
    start_response("200 OK", list(HEADERS))("text")
    return []


def raised(start_response):
    raise RuntimeError("raised by the application")


def raised_after_start(start_response):
    start_response("200 OK", list(HEADERS))
    raise RuntimeError("raised by the application")


def exited(start_response):
    raise SystemExit(3)


def interrupted(start_response):
    raise KeyboardInterrupt


STATUSES = {
    "/status-bytes": b"200 OK",
    "/status-number": 200,
    "/status-short": "20",
    "/status-word": "OK",
    "/status-no-space": "200OK",
}
HEADER_LISTS = {
    "/headers-none": None,
    "/headers-tuple-of-three": [("A", "b", "c")],
    "/header-bytes": [(b"Content-Type", b"text/plain")],
    "/header-number": [("Content-Length", 3)],
    "/header-not-latin-1": [("X-Snow", "\u2603")],
    "/header-empty-name": [("", "value")],
    "/header-name-with-space": [("X Y", "value")],
    "/header-name-with-colon": [("X:", "value")],
}
ACTIONS = {
    "/twice": twice,
    "/no-start": nothing_started,
    "/none": returned_none,
    "/text": returned_text,
    "/str": returned_str,
    "/write-text": wrote_text,
    "/raise": raised,
    "/raise-after-start": raised_after_start,
    "/exit": exited,
    "/interrupt": interrupted,
}


def application(environ, start_response):
    path = environ["PATH_INFO"]
    if path in ACTIONS:
        return ACTIONS[path](start_response)
    start_response(STATUSES.get(path, "200 OK"), HEADER_LISTS.get(path, list(HEADERS)))
    return [b"abc"]
