"""The first application: says hello, and shows who serves it and what a request looks like from the inside.

A WSGI script is a Python file that defines `application`. Copy this one, change it, serve it:

    make run APP=path/to/yours.wsgi
"""

import html
import os
import sys

PAGE = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Hello from mod_wsgid</title>
<style>
  body {{ font: 1rem/1.5 system-ui, sans-serif; max-width: 46rem; margin: 3rem auto; padding: 0 1rem; color: #222; background: #fff }}
  h1 {{ font-weight: 600 }}
  table {{ border-collapse: collapse; width: 100% }}
  th, td {{ text-align: left; vertical-align: top; padding: .25rem .75rem .25rem 0; border-bottom: 1px solid #ddd }}
  td {{ font-family: ui-monospace, monospace; font-size: .9rem; overflow-wrap: anywhere }}
  @media (prefers-color-scheme: dark) {{ body {{ color: #ddd; background: #181818 }} th, td {{ border-color: #444 }} }}
</style>
<h1>Hello!</h1>
<p>This page comes from <code>{script}</code>: Python {python} in process {pid}, run for user {uid} by mod_wsgid.</p>
<h2>This request</h2>
<table>{rows}</table>
</html>
"""
SHOWN = ("REQUEST_METHOD", "SCRIPT_NAME", "PATH_INFO", "QUERY_STRING", "SERVER_NAME", "SERVER_PORT", "SERVER_PROTOCOL",
         "REMOTE_ADDR", "HTTP_HOST", "HTTP_USER_AGENT", "wsgi.url_scheme", "wsgi.multithread", "wsgi.multiprocess")


def application(environ, start_response):
    page = PAGE.format(
        script=html.escape(__file__), python=sys.version.split()[0], pid=os.getpid(), uid=os.getuid(),
        rows="".join(row(key, environ.get(key, "")) for key in SHOWN))
    body = page.encode("utf-8", "replace")
    start_response("200 OK", [("Content-Type", "text/html; charset=utf-8"), ("Content-Length", str(len(body)))])
    return [body]


def row(key, value):
    return f"\n  <tr><th>{key}</th><td>{html.escape(str(value))}</td></tr>"
