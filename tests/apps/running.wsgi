"""Records each of its runs as an x in the file that the query names."""


def application(environ, start_response):
    with open(environ["QUERY_STRING"], "a") as file:
        file.write("x")
    start_response("200 OK", [])
    return [b"ran"]
