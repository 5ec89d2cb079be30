"""Several callables in one script."""

from wsgiref.validate import validator


def named(name):
    @validator
    def say(environ, start_response):
        start_response("200 OK", [("Content-Type", "text/plain")])
        return [name]

    return say


application = named(b"application")
other = named(b"other")
not_callable = 42
