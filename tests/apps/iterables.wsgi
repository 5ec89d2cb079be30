"""Returns "one two three" as the kind of iterable that the path names."""

import io
from wsgiref.validate import validator

BLOCKS = [b"one ", b"two ", b"three"]


class WithGetitem:
    """The old sequence protocol."""

    def __getitem__(self, index):
        return BLOCKS[index]


class WithLength:
    """Has a length and iterates."""

    def __len__(self):
        return len(BLOCKS)

    def __iter__(self):
        return iter(BLOCKS)


class FreshIterators:
    """An iterable with an __iter__ that returns another object, without close()."""

    def __iter__(self):
        yield from BLOCKS


def generator():
    yield from BLOCKS


def lazy(start_response):
    """Calls start_response only when the first block is requested."""
    start_response("200 OK", [("Content-Type", "text/plain")])
    yield from BLOCKS


def late(start_response):
    """Has nothing to send yet when it is asked for its first blocks."""
    yield b""
    yield b""
    yield from lazy(start_response)


KINDS = {
    "/list": lambda: list(BLOCKS),
    "/tuple": lambda: tuple(BLOCKS),
    "/generator": generator,
    "/iterator": lambda: iter(BLOCKS),
    "/map": lambda: map(bytes, BLOCKS),
    "/getitem": WithGetitem,
    "/length": WithLength,
    "/fresh": FreshIterators,
    "/file": lambda: io.BytesIO(b"".join(BLOCKS)),
    "/one": lambda: [b"".join(BLOCKS)],
    "/empty-blocks": lambda: [b"", BLOCKS[0], b"", b"", BLOCKS[1], BLOCKS[2], b""],
    "/empty-list": list,
    "/only-empty": lambda: [b"", b""],
    "/empty-generator": lambda: iter(()),
}


def plain(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    return KINDS[environ["PATH_INFO"]]()


checked = validator(plain)


def application(environ, start_response):
    if environ["PATH_INFO"] in ("/lazy", "/late"):
        # The validator wants start_response before the first block; PEP 3333 does not.
        return (lazy if environ["PATH_INFO"] == "/lazy" else late)(start_response)
    if environ["PATH_INFO"].startswith("/plain/"):
        environ["PATH_INFO"] = environ["PATH_INFO"].removeprefix("/plain")
        return plain(environ, start_response)  # what the validator returns has no length
    return checked(environ, start_response)
