"""Keeps as many bytes in memory as the query says."""

kept = []


def application(environ, start_response):
    kept.append(b"x" * int(environ["QUERY_STRING"] or 0))
    start_response("200 OK", [])
    return [b"grown"]
