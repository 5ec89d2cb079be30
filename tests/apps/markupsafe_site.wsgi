"""Uses a package of its virtual environment that has a compiled part, and reports which interpreter
runs it.
"""

import importlib.util
import json
import sys
from wsgiref.validate import validator

import markupsafe


@validator
def application(environ, start_response):
    answer = {
        "version": list(sys.version_info[:2]),
        "prefix": sys.prefix,
        "executable": sys.executable,
        "escaped": str(markupsafe.escape("<b>")),
        "package": markupsafe.__file__,
        "compiled": importlib.util.find_spec("markupsafe._speedups") is not None,
    }
    start_response("200 OK", [("Content-Type", "application/json")])
    return [json.dumps(answer).encode("ascii")]
