"""The status page as a person sees it: in a real browser, wide and narrow, light and dark."""

from __future__ import annotations

import pytest
from httpdenv import HeldRequests, wait_until
from httpdenv.browser import MISSING, Browser, is_available

pytestmark = pytest.mark.skipif(not is_available(), reason=MISSING)

CONFIGURATION = """
WSGIDaemonProcess shop processes=2 threads=3
WSGIDaemonProcess a-group-with-a-long-name.of.a.customer.who.has.many.example.com
WSGIProcessName shop
WSGIScriptAlias /gate ${APPS}/gate.wsgi
WSGIScriptAlias /hello ${APPS}/hello.wsgi
<Location /wsgid-status>
    SetHandler wsgid-status
    Require local
</Location>
"""
NARROW, WIDE = 360, 1100


@pytest.fixture(scope="module")
def httpd(make_httpd):
    return make_httpd(CONFIGURATION)


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    with Browser(tmp_path_factory.mktemp("browser")) as browser:
        yield browser


@pytest.fixture(scope="module")
def dark_browser(tmp_path_factory):
    with Browser(tmp_path_factory.mktemp("browser"), dark=True) as browser:
        yield browser


@pytest.mark.parametrize("taste", ["browser", "dark_browser"])
def test_the_page_fits_any_width_and_the_console_stays_empty(httpd, taste, request, tmp_path):
    browser = request.getfixturevalue(taste)
    for width in (NARROW, 700, WIDE):
        browser.open(httpd.url("/wsgid-status"), width)
        assert browser.text("h2") == "shop"
        assert browser.run("return document.documentElement.scrollWidth") <= width
        browser.screenshot(tmp_path / f"{width}.png")
        assert (tmp_path / f"{width}.png").stat().st_size > 10000
    assert browser.console_messages() == []


def test_colours_follow_the_users_preference(httpd, browser, dark_browser):
    for window, is_dark in ((browser, False), (dark_browser, True)):
        window.open(httpd.url("/wsgid-status"))
        colour = window.run("return getComputedStyle(document.body).backgroundColor")
        red, green, blue = (
            int(part) for part in colour.removeprefix("rgb(").removesuffix(")").split(",")
        )
        assert (red + green + blue < 3 * 128) == is_dark


def test_figures_change_without_a_reload_and_open_sections_stay_open(httpd, browser):
    browser.open(httpd.url("/wsgid-status"), NARROW, 300)
    before = requests(browser)
    browser.run(
        "window.stays = document.querySelector('details'); stays.open = true; scrollTo(0, 200)"
    )
    for _ in range(3):
        assert httpd.get("/hello").status_code == 200
    wait_until(lambda: requests(browser) == before + 3, "the figure to change", 20)
    wait_until(lambda: "a second" in browser.text("#r0"), "a rate", 20)
    assert browser.run(
        "return stays === document.querySelector('details') && stays.open && scrollY === 200"
    )
    assert browser.text("#live") == "refreshes automatically"
    assert browser.console_messages() == []


def requests(browser) -> int:
    """The number of requests of the first group, as shown now."""
    return int(browser.run("return document.querySelector('[data-requests]').dataset.requests"))


def test_busy_threads_fill_their_bar_and_show_their_requests(httpd, browser, tmp_path):
    browser.open(httpd.url("/wsgid-status"), WIDE)
    held = HeldRequests(httpd, "/gate", tmp_path.name, 6)
    wait_until(lambda: browser.text(".figures b").startswith("6"), "six busy threads", 20)
    assert browser.run("return document.querySelectorAll('.figures .bar.full').length") == 1
    browser.run("for (const one of document.querySelectorAll('details')) one.open = true")
    assert browser.text(".processes").count(f"?{tmp_path.name}") == 6  # the request of each thread
    assert [answer.status_code for answer in held.release()] == [200] * 6


def test_the_page_says_so_when_the_server_has_gone(make_httpd, browser):
    httpd = make_httpd(CONFIGURATION)
    browser.open(httpd.url("/wsgid-status"))
    with httpd.log.allows("AH03093"):  # httpd logs it about a keep-alive connection while it stops
        httpd.stop()
    wait_until(lambda: "does not answer" in browser.text("#live"), "the page to say so", 20)
    assert browser.text("h2") == "shop"
    assert browser.console_messages() != []  # about the connection
