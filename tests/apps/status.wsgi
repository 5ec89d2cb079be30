"""Answers with the status of the path: /404. The page says that the application made it."""

from wsgiref.validate import validator


@validator
def application(environ, start_response):
    status = environ["PATH_INFO"].strip("/")
    headers = [
        ("Set-Cookie", "seen=yes"),
        ("WWW-Authenticate", 'Basic realm="here"'),
        ("X-Own", "yes"),
    ]
    if status != "304":
        headers.append(("Content-Type", "text/plain"))
    start_response(f"{status} Of The Application", headers)
    return [] if status == "304" else [f"the application's page for {status}".encode("ascii")]
