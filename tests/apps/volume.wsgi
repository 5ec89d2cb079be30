"""Large bodies: /generator?MB in 64 KiB blocks, /object?MB in one, /tiny?COUNT blocks of 16 bytes, /small?COUNT of 1000,
/stepped of 16, each once the client has asked for it in its upload; /upload?SIZE reads the body by so many bytes and keeps none of it.

Not wrapped in the validator, whose own work would be measured.
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
