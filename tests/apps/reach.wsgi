"""The same as the CGI program reach.py, in an application."""

import importlib.util
import os

path = os.path.join(os.path.dirname(__file__), "reach.py")
specification = importlib.util.spec_from_file_location("reach", path)
reach = importlib.util.module_from_spec(specification)
specification.loader.exec_module(reach)


def application(environ, start_response):
    start_response("200 OK", [("Content-Type", "application/json")])
    return [reach.answer(environ["QUERY_STRING"]).encode("ascii")]
