"""Shows environ as JSON: strings as they are, anything else by its repr() and type."""

import json
from wsgiref.validate import validator


def shown(value):
    return value if type(value) in (str, bool, int) else f"{type(value).__name__}: {value!r}"


@validator
def application(environ, start_response):
    body = json.dumps({name: shown(value) for name, value in environ.items()}).encode("ascii")
    start_response(
        "200 OK", [("Content-Type", "application/json"), ("Content-Length", str(len(body)))]
    )
    return [body]
