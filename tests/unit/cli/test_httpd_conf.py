"""The text of the configuration that `pywsgid serve` and `setup` write."""

from __future__ import annotations

import re

import pytest
from clienv import planned

from pywsgid.cli import server, users
from pywsgid.cli.serve import httpd_conf


def test_the_daemon_gets_the_given_options_and_no_others():
    text = httpd_conf.configuration(
        planned(
            "--threads",
            "3",
            "--env",
            "A=b c",
            "--env",
            "B=",
            "--python-path",
            "/x",
            "--chroot",
            "/srv",
            "--memory-limit",
            "1G",
        )
    )
    words = re.search("WSGIDaemonProcess app(.*)WSGIProcessName", text, re.S).group(1)
    assert re.findall('"(.*)"', words) == [
        "python=/usr/bin/python3",
        "home=/srv/a b",
        "python-path=/x",
        "threads=3",
        "chroot=/srv",
        "env=A=b c",
        "env=B=",
        "memory-limit=1G",
    ]


def test_the_configuration_quotes_paths_and_loads_what_is_not_compiled_in():
    text = httpd_conf.configuration(planned())
    assert 'WSGIScriptAlias "/" "/srv/a b/site.wsgi"' in text
    assert '"home=/srv/a b"' in text
    assert 'LoadModule authz_core_module "/modules/mod_authz_core.so"' in text
    assert "unixd_module" not in text and "mpm_" not in text
    assert not re.search(r"^User ", text, re.M)


def test_the_configuration_names_a_user_when_root_starts_it():
    text = httpd_conf.configuration(planned(identity=users.Identity("www-data", 33, 34)))
    assert "\nUser www-data\nGroup #34\n" in text


@pytest.mark.parametrize(
    "host, url",
    [
        ("127.0.0.1", "http://localhost:8000/"),
        ("0.0.0.0", "http://localhost:8000/"),
        ("::1", "http://[::1]:8000/"),
        ("192.0.2.1", "http://192.0.2.1:8000/"),
    ],
)
def test_the_address_that_is_printed_can_be_opened(host, url):
    assert planned("--host", host).address.url == url


def test_quote_survives_quotes_and_backslashes_and_refuses_line_breaks():
    assert server.quote('a "b" \\') == '"a \\"b\\" \\\\"'
    for text in ("a\nb", "a${b}"):
        with pytest.raises(ValueError):
            server.quote(text)
