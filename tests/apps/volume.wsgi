"""Large bodies.

/generator?MB   in blocks of 64 KiB
/object?MB      in one block
/tiny?COUNT     blocks of 16 bytes
/small?COUNT    blocks of 1000 bytes
/stepped?COUNT  blocks of 16 bytes, each once the client has requested it through its upload
/upload?SIZE    reads the body in pieces of SIZE and keeps none of it

Not wrapped in the validator, because the tests would measure the validator's own work too.
"""

BLOCK = b"g" * 65536
TINY = b"0123456789abcde\n"
SMALL = b"s" * 1000
MB = 1 << 20


def read_all(source, size):
    total = 0
    while piece := source.read(size):
        total += len(piece)
    return [str(total).encode("ascii")]


def stepped(source, count):
    for _ in range(count):
        if not source.read(1):
            return
        yield TINY


def application(environ, start_response):
    kind, number = environ["PATH_INFO"], int(environ["QUERY_STRING"])
    start_response("200 OK", [("Content-Type", "application/octet-stream")])
    if kind == "/generator":
        return (BLOCK for _ in range(number * 16))
    if kind == "/object":
        return [b"o" * (number * MB)]
    if kind == "/tiny":
        return (TINY for _ in range(number))
    if kind == "/small":
        return (SMALL for _ in range(number))
    if kind == "/stepped":
        return stepped(environ["wsgi.input"], number)
    return read_all(environ["wsgi.input"], number)
