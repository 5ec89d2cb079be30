"""Answers with as many bytes as the path says: /1024. The body is made once, so that only its
transfer is measured.
"""

bodies = {}


def application(environ, start_response):
    path = environ["PATH_INFO"]
    body = bodies.get(path)
    if body is None:
        body = bodies[path] = b"x" * int(path.strip("/"))
    start_response(
        "200 OK", [("Content-Type", "application/octet-stream"), ("Content-Length", str(len(body)))]
    )
    return [body]
