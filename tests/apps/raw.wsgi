"""Answers with the status, headers and body that the JSON in the request's body gives, whether
allowed or not.
"""

import json


def application(environ, start_response):
    wanted = json.loads(environ["wsgi.input"].read())
    start_response(wanted["status"], [(name, value) for name, value in wanted["headers"]])
    return [block.encode("latin-1") for block in wanted["body"]]
