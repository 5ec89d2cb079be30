"""Every file in conf/ loads as it is, and its sites answer.

httpdenv.examples lists what is replaced for this machine. test_cluster.py tests conf/cluster.
"""

from __future__ import annotations

import os
import pwd
import re
import subprocess
import sys
from pathlib import Path

import pytest
from httpdenv.examples import CLOSED, MODULES, for_this_machine, with_certificate, with_users

CONF = Path(__file__).resolve().parents[2] / "conf"
EXAMPLES = ["one-site.conf", "several-sites-several-users.conf", "random-daemon.conf", "tls.conf"]
APPLICATION = """
import os
def application(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    yield " ".join([environ["wsgi.url_scheme"], environ["mod_wsgi.process_group"], str(os.getuid())]).encode()
"""


def read(name: str) -> str:
    return (CONF / name).read_text()


def serve(make_httpd, name: str, scripts: list[str], *, start: bool = True, **files: str):
    """An httpd with one of the examples. Its scripts, virtualenvs and other files are where the
    example expects them.
    """
    text = CLOSED + for_this_machine(read(name))
    files |= dict.fromkeys(scripts, APPLICATION)
    contents = {f"srv/{path}": content for path, content in files.items()}
    httpd = make_httpd(text, modules=MODULES, files=contents, start=None)
    for venv in re.findall(r"python-home=\$\{FILES\}/(\S+)", text):
        subprocess.run(
            [sys.executable, "-m", "venv", "--without-pip", httpd.files / venv], check=True
        )
    return httpd.start() if start else httpd


def words(httpd, host: str, path: str = "/", **options) -> list[str]:
    """The application's answer: scheme, group and uid."""
    response = httpd.get(path, headers={"Host": host}, **options)
    assert response.status_code == 200
    return response.text.split()


def uid_of(text: str, group: str) -> str:
    """The uid under which a group of an example runs here."""
    if os.geteuid() != 0:
        return str(os.geteuid())
    name = re.search(rf"WSGIDaemonProcess {group} .*?user=(\S+)", with_users(text)).group(1)
    return str(pwd.getpwnam(name).pw_uid)


def test_every_file_in_conf_is_tested_here():
    known = {*EXAMPLES, "wsgid.load", "wsgid.conf", "hello.wsgi", "servers.txt"}
    assert {path.name for path in CONF.iterdir() if path.is_file()} == known


@pytest.mark.parametrize("name", EXAMPLES + ["wsgid.conf"])
def test_it_passes_configtest_as_an_include_file(make_httpd, name):
    httpd = make_httpd("", modules=MODULES, start=None)
    # httpd checks that the map exists as soon as it reads the directive.
    servers = httpd.write("servers.txt", read("servers.txt"))
    text = with_certificate(with_users(read(name))).replace("/srv/site/servers.txt", str(servers))
    httpd.configure(f'Include "{httpd.write(name, text)}"')
    code, output = httpd.configtest()
    assert code == 0, output
    assert "Syntax OK" in output
    assert "WSGID" not in output


def test_the_load_file_loads_the_module(make_httpd, stage):
    httpd = make_httpd("", ours=False, start=None)
    line = re.sub(r'"/usr/lib.*"', f'"{stage.module}"', read("wsgid.load"))
    httpd.configure(line + read("wsgid.conf") + "WSGIScriptAlias / ${APPS}/hello.wsgi")
    assert httpd.configtest()[0] == 0
    httpd.start()
    assert httpd.get("/").status_code == 200


def test_the_examples_in_comments_are_directives_that_exist(make_httpd):
    """The lines after "#WSGI" in wsgid.conf work once the # is removed."""
    text = re.sub(r"#(WSGI|AddHandler)", r"\1", read("wsgid.conf")).replace(
        "/run/apache2/wsgid", "run/wsgid"
    )
    code, output = make_httpd(with_users(text), start=None).configtest()
    assert code == 0, output


def test_hello(make_httpd):
    httpd = make_httpd(
        "WSGIScriptAlias / ${FILES}/hello.wsgi", files={"hello.wsgi": read("hello.wsgi")}
    )
    response = httpd.get("/some/path?a=<b>")
    assert response.headers["Content-Type"] == "text/html; charset=utf-8"
    assert "Hello!" in response.text and "/some/path" in response.text
    assert "<b>" not in response.text


def test_one_site(make_httpd):
    httpd = serve(
        make_httpd,
        "one-site.conf",
        ["shop/application/site.wsgi"],
        **{"shop/static/logo.txt": "static"},
    )
    assert words(httpd, "shop.example.com") == [
        "http",
        "shop",
        uid_of(read("one-site.conf"), "shop"),
    ]
    assert httpd.get("/static/logo.txt", headers={"Host": "shop.example.com"}).text == "static"


def test_several_sites_several_users(make_httpd):
    name = "several-sites-several-users.conf"
    httpd = serve(make_httpd, name, ["alice/site.wsgi", "alice/guestbook.wsgi", "bob/site.wsgi"])
    alice, bob = (uid_of(read(name), group) for group in ("alice", "bob"))
    assert words(httpd, "alice.example.com") == ["http", "alice", alice]
    assert words(httpd, "bob.example.com") == ["http", "bob", bob]
    assert words(httpd, "bob.example.com", "/guestbook") == ["http", "alice", alice]


def test_the_random_daemon_map_uses_all_five_groups(make_httpd):
    httpd = serve(
        make_httpd,
        "random-daemon.conf",
        ["site/application/site.wsgi"],
        **{"site/servers.txt": read("servers.txt")},
    )
    drawn = {words(httpd, "site.example.com")[1] for _ in range(100)}
    # The chance that a hundred draws miss one of five: one in a billion runs.
    assert drawn == {f"site-{number}" for number in range(1, 6)}


def test_tls(make_httpd):
    httpd = serve(make_httpd, "tls.conf", ["shop/application/site.wsgi"], start=False)
    # The certificate is for localhost.
    with httpd.log.expects("AH01909"):
        httpd.start()
    answer = httpd.get("/x", headers={"Host": "shop.example.com"}, allow_redirects=False)
    assert (answer.status_code, answer.headers["Location"]) == (301, "https://shop.example.com/x")
    uid = uid_of(read("tls.conf"), "shop")
    assert words(httpd, "shop.example.com", port="TLS_PORT", scheme="https") == [
        "https",
        "shop",
        uid,
    ]
