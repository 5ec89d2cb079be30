"""The rules of PEP 3333 that a response has to keep: what may be wrong with a status, headers and
blocks, and how that is said.

Rules: each check raises Violation, whose text names what is wrong, what to do, and the section.
Nothing here knows a response; response.py says when something is checked.
"""

from __future__ import annotations

from pywsgid.daemon.system import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from pywsgid.daemon.interfaces import Headers

TOKEN = frozenset(
    "!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
)  # RFC 9110, 5.6.2
# The hop-by-hop headers of RFC 2616, 13.5.1, which PEP 3333 forbids, and others that concern only
# one connection. httpd makes its own; these are left out, as recipes for server-sent events and
# views that pass on another server's response have them.
HOP_BY_HOP = frozenset(
    (
        "connection",
        "keep-alive",
        "proxy-authenticate",
        "proxy-authorization",
        "proxy-connection",
        "te",
        "trailer",
        "trailers",
        "upgrade",
    )
)
NAMES_REMEMBERED = 1000  # an application that invents names must not fill the memory
START_RESPONSE = "The start_response() Callable"  # sections of PEP 3333
CONTENT_LENGTH = "Handling the Content-Length Header"
SPECIFICATION = "Specification Details"
WRITE = "The write() Callable"
OTHER_HEADERS = "Other HTTP Features"
STRINGS = "A Note On String Types"


class Violation(ValueError):
    """The application broke a rule of PEP 3333, which is in its section `section`. `what` says how,
    and what to do.
    """

    def __init__(self, what: str, section: str) -> None:
        super().__init__('%s (PEP 3333, "%s")' % (what, section))


class WrongType(Violation, TypeError):
    """An object of the wrong type."""


class CalledAgain(Violation, RuntimeError):
    """start_response() was called again without exc_info."""


class LengthMismatch(Violation):
    """The body is not as long as its Content-Length."""

    def __init__(self, what: str) -> None:
        super().__init__(what, CONTENT_LENGTH)


# -------- checks: each raises Violation


def text_of(value: str) -> str:
    """A str as such: frameworks give subclasses, whose methods are their own."""
    return value if type(value) is str else str.__str__(value)


def check_status(status: Any) -> str:
    """A final status: three digits from 200 on, a space, a reason. Returns it as a str as such."""
    if not isinstance(status, str):
        raise WrongType(
            'the status must be a str such as "200 OK", not ' + type(status).__name__,
            START_RESPONSE,
        )
    text = text_of(status)
    if len(text) < 4 or text[3] != " " or not (text[:3].isascii() and text[:3].isdigit()):
        raise Violation(
            "the status must be three digits, a space and a reason, not %a" % text[:100],
            START_RESPONSE,
        )
    if text < "2":
        raise Violation(
            "the status %a is not final: use one from 200 on" % text[:100], START_RESPONSE
        )
    check_value(text, "the status")
    return text


def check_value(value: str, what: str, name: str = "") -> None:
    """A header's value or the status: latin-1, without control characters except tabs. `name` is
    for the message.
    """
    if value.isascii() and value.isprintable():
        return
    for character in value:
        if character > "\xff":
            raise Violation(
                "%s%s contains %a, which is not latin-1: encode it, as RFC 8187 or "
                "percent-encoding do" % (what, name, character),
                STRINGS,
            )
        if (character < " " and character != "\t") or character == "\x7f":
            raise Violation(
                "%s%s contains %s: remove it" % (what, name, control_name(character)),
                START_RESPONSE,
            )


def control_name(character: str) -> str:
    """A control character in words, because httpd's log shows the escape "\\n" as "\\\\n"."""
    return "a control character (%s)" % (
        "a line break" if character in "\r\n" else "0x%02x" % ord(character)
    )


def check_name(name: str, names: dict[str, str]) -> str:
    """A header's name; returns it in lower case. `names` is Known.names."""
    if not name or not TOKEN.issuperset(name):
        raise Violation("%a is not a valid name of a header" % name[:100], START_RESPONSE)
    lower = name.lower()
    if lower == "transfer-encoding":
        raise Violation(
            "the header %s would change what the body means; how it is transferred is up to the "
            "server: leave it out" % name,
            OTHER_HEADERS,
        )
    if len(names) < NAMES_REMEMBERED:
        names[name] = lower
    return lower


def check_content_length(value: str, before: int | None) -> int:
    """A Content-Length; returns it. `before` is that of an earlier header of the same name."""
    if not (value.isascii() and value.isdigit()) or len(value) > 18:
        raise Violation("Content-Length is %a, not a number of bytes" % value[:100], CONTENT_LENGTH)
    length = int(value)
    if before is not None and before != length:
        raise Violation("Content-Length is both %d and %d" % (before, length), CONTENT_LENGTH)
    return length


def check_headers(headers: Any, names: dict[str, str]) -> tuple[Headers, int | None]:
    """A list of (name, value); returns (what is sent of it, its Content-Length or None). `names` is
    Known.names.
    """
    if not isinstance(headers, list):
        raise WrongType(
            "the headers must be a list of tuples (name, value), not " + type(headers).__name__,
            START_RESPONSE,
        )
    sent, length, is_file = [], None, False
    for pair in headers:
        if not isinstance(pair, tuple) or len(pair) != 2:
            raise WrongType(
                "a header must be a tuple (name, value), not %.100a" % (pair,), START_RESPONSE
            )
        name, value = pair
        if not isinstance(name, str):
            raise WrongType(
                "a header's name must be a str, not " + type(name).__name__, START_RESPONSE
            )
        name = text_of(name)
        lower = names.get(name) or check_name(name, names)
        if not isinstance(value, str):
            raise WrongType(
                "the value of the header %s must be a str, not %s" % (name, type(value).__name__),
                START_RESPONSE,
            )
        value = text_of(value)
        if lower == "content-length":
            length = check_content_length(value, length)
        elif lower == "x-sendfile":
            is_file = True
            value = file_name(value)
        check_value(value, "the header ", name)
        if lower not in HOP_BY_HOP:
            sent.append((name, value))
    if is_file and length is not None:  # it is the file's, and httpd finds that out itself
        sent = [pair for pair in sent if pair[0].lower() != "content-length"]
        length = None
    return sent, length


def file_name(value: str) -> str:
    """The value of X-Sendfile with the bytes of the file system, decoded as latin-1. Applications
    give either these, or the name as open() takes it.
    """
    if value.isascii():
        return value
    try:
        value.encode("latin-1").decode("utf-8")
    except UnicodeError:
        return os.fsencode(value).decode("latin-1")
    return value


def check_block(block: Any, what: str = "a block of the response") -> None:
    """A block of the body. `what` is for the message."""
    if not isinstance(block, bytes):
        raise WrongType(
            "%s must be bytes, not %s%s" % (what, type(block).__name__, fix_for(block)),
            SPECIFICATION,
        )


def fix_for(block: Any) -> str:
    """What to do about a block that is a str."""
    return ': encode it, for example with .encode("utf-8")' if isinstance(block, str) else ""


def not_iterable(result: Any) -> str:
    """What to say about a result that is not iterable."""
    if type(result).__name__ == "coroutine":
        return (
            "the application is an async function, as ASGI has it: make it a plain function, or "
            "run it with an ASGI server"
        )
    what = "None" if result is None else "an object of type " + type(result).__name__
    return "the application returned %s, which is not iterable: return a list of bytes" % what
