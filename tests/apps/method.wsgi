"""Answers with the method that it sees, in X-Method and in a body of 200 lines; with a
Content-Length if the query asks for one.
"""

from wsgiref.validate import validator


@validator
def application(environ, start_response):
    body = environ["REQUEST_METHOD"].encode("ascii") + b" and a text that compresses well\n" * 200
    headers = [("Content-Type", "text/plain"), ("X-Method", environ["REQUEST_METHOD"])]
    if environ["QUERY_STRING"] == "length":
        headers.append(("Content-Length", str(len(body))))
    start_response("200 OK", headers)
    return iter([body])
