"""Makes docs/status.png: the status page of three small sites under some load, as Chromium shows
it.

    .venv/bin/python docs/screenshot.py [FILE]

What is shown is real: a real httpd, real daemons, requests that take as long as is said. pngquant
makes the file small.
"""

import pathlib
import random
import sys
import tempfile
import threading
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / "tests"), str(ROOT)]

from httpdenv import Httpd, machine, wait_until  # noqa: E402
from httpdenv.browser import Browser  # noqa: E402

WIDTH, HEIGHT = 1000, 1390
SECONDS = 25
SITE = """
import random
import time

TIMES = {"/": 0.004, "/cart": 0.02, "/search": 0.06, "/checkout": 0.4, "/reports/monthly": 9}


def application(environ, start_response):
    time.sleep(TIMES.get(environ["PATH_INFO"], 0.002) * random.lognormvariate(0, 0.7))
    if environ["QUERY_STRING"] == "coupon=%00":
        raise ValueError("no such coupon")
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"thank you"]
"""
CONFIGURATION = """
WSGIDaemonProcess shop processes=2 threads=8
WSGIDaemonProcess blog threads=5
WSGIDaemonProcess intranet
WSGIScriptAlias /shop ${FILES}/shop.wsgi process-name=shop
WSGIScriptAlias /blog ${FILES}/blog.wsgi process-name=blog
WSGIScriptAlias /intranet ${FILES}/intranet.wsgi process-name=intranet
<Location /wsgid-status>
    SetHandler wsgid-status
</Location>
"""
PATHS = {
    "shop": ["/"] * 40
    + ["/cart"] * 20
    + ["/search?q=linen+shirt&size=m", "/search?q=socks"] * 8
    + ["/checkout"] * 12
    + ["/cart?coupon=%00"],
    "blog": ["/"] * 10 + ["/search?q=apache"],
}


def visit(httpd, site, over):
    while not over.is_set():
        httpd.get(f"/{site}{random.choice(PATHS[site])}")
        over.wait(random.expovariate(12))


def main(path):
    random.seed(4)
    httpd = Httpd(CONFIGURATION, machine.stage())
    for site in ("shop", "blog"):
        httpd.write(f"{site}.wsgi", SITE)
    httpd.write("intranet.wsgi", "import no_such_module\n")
    over = threading.Event()
    visitors = [
        threading.Thread(target=visit, args=(httpd, site, over))
        for site in ["shop"] * 14 + ["blog"] * 3
    ]
    try:
        httpd.start()
        for visitor in visitors:
            visitor.start()
        with tempfile.TemporaryDirectory() as profile, Browser(pathlib.Path(profile)) as browser:
            time.sleep(SECONDS / 2)
            httpd.write("blog.wsgi", SITE + "\n")
            browser.open(httpd.url("/wsgid-status"), WIDTH, HEIGHT)
            time.sleep(SECONDS / 2)
            report = threading.Thread(
                target=httpd.get, args=("/shop/reports/monthly?year=2026&format=xlsx",)
            )
            report.start()
            visitors.append(report)
            wait_until(
                lambda: "reports" in browser.run("return document.body.textContent"),
                "the report to be shown",
            )
            # The process that makes it is opened.
            browser.run(
                "[...document.querySelectorAll('details')].find(d => /reports/.test(d.textContent))"
                "?.setAttribute('open', '')"
            )
            time.sleep(3)
            browser.screenshot(path)
    finally:
        over.set()
        for visitor in visitors:
            visitor.join()
        httpd.stop()
        httpd.remove()
        machine.remove_stage()


if __name__ == "__main__":
    main(pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else ROOT / "docs" / "status.png"))
