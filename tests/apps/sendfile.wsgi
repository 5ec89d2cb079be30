"""Names the file that the query gives in X-Sendfile, with a body that must then be dropped; each
"h=NAME:VALUE" is a header. With "empty=1" the body is empty.
"""

from urllib.parse import parse_qs
from wsgiref.validate import validator


@validator
def application(environ, start_response):
    query = parse_qs(environ["QUERY_STRING"])
    headers = [("Content-Type", "text/plain"), ("X-Sendfile", query["path"][0])]
    headers += [tuple(value.split(":", 1)) for value in query.get("h", [])]
    start_response("200 OK", headers)
    return [] if "empty" in query else [b"the body of the application"]
