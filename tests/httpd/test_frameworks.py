"""Frameworks under mod_wsgid, all in one process: uploads with and without a length, forms, and
clients that break off their upload.
"""

from __future__ import annotations

import re
import subprocess

import pytest
from httpdenv import pythons

CONFIGURATION = """
WSGIDaemonProcess app threads=5 python-home=@HOME@
WSGIProcessName app
<VirtualHost 127.0.0.1:${PORT}>
    Protocols h2c http/1.1
    WSGIScriptAlias / ${APPS}/frameworks.wsgi
</VirtualHost>
<VirtualHost 127.0.0.1:${STREAMED_PORT}>
    Protocols h2c http/1.1
    WSGIChunkedRequest On
    WSGIScriptAlias / ${APPS}/frameworks.wsgi
</VirtualHost>
"""
NAMES = ("bottle", "cherrypy", "django", "falcon", "flask", "pyramid")
PACKAGES = (
    "bottle",
    "cherrypy",
    "django>=4.2",
    "falcon",
    "flask>=3",
    "pyramid",
    "setuptools<81",
    "wsgidav",
)


@pytest.fixture(scope="module")
def httpd(make_httpd):
    python = pythons.for_daemons()
    if python is None:
        pytest.skip("no Python >= 3.10 on this machine that the daemons' user can reach")
    home = pythons.virtualenv(python, *PACKAGES)
    httpd = make_httpd(CONFIGURATION.replace("@HOME@", str(home)), modules=["http2"])
    httpd.log.wait_for("WSGID0303", timeout=30)
    return httpd


@pytest.mark.parametrize("name", NAMES)
def test_a_form_is_received(httpd, name):
    response = httpd.post(
        f"/{name}/form", {"text": "Zoe"}, files={"file": ("a.bin", b"x" * 100_000)}
    )
    assert (response.status_code, response.text) == (200, "Zoe 100000")


def without_length(
    httpd, version: str, name: str, data: bytes, *options: str, port: str = "PORT"
) -> str:
    """What the framework has read of an upload over HTTP/1.1 chunked or HTTP/2 without a length."""
    how = {
        "1.1": ["--http1.1", "-H", "Transfer-Encoding: chunked"],
        "2": ["--http2-prior-knowledge", "-T", "-"],
    }
    done = subprocess.run(
        [
            "curl",
            "-s",
            "-X",
            "POST",
            *how[version],
            *options,
            *(["--data-binary", "@-"] if version == "1.1" else []),
            httpd.url(f"/{name}", port=port),
        ],
        input=data,
        capture_output=True,
        check=True,
        timeout=30,
    )
    return done.stdout.decode()


@pytest.mark.parametrize("version", ("1.1", "2"))
@pytest.mark.parametrize("size", (0, 1000, 3_000_000))
@pytest.mark.parametrize("name", NAMES)
def test_an_upload_without_a_length_is_whole(httpd, name, size, version):
    assert without_length(httpd, version, f"{name}/upload", b"x" * size) == str(size)


FORM = b'--x\r\nContent-Disposition: form-data; name="text"\r\n\r\nZoe\r\n'
FORM += b'--x\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n123\r\n--x--\r\n'
FORM_TYPE = ("-H", "Content-Type: multipart/form-data; boundary=x")

# With WSGIChunkedRequest On, as docs/moving-from-mod_wsgi.md has it.
OF_A_STREAM = {"bottle": "Error: 400 Bad Request", "django": "0", "falcon": "0"}


@pytest.mark.parametrize("version", ("1.1", "2"))
@pytest.mark.parametrize("name", NAMES)
def test_of_a_stream_a_framework_reads_what_the_table_says(httpd, name, version):
    data = b"x" * 1000
    got = without_length(httpd, version, f"{name}/upload", data, port="STREAMED_PORT")
    title = re.search("<title>(.*)</title>", got)
    assert (title[1] if title else got) == OF_A_STREAM.get(name, "1000")


@pytest.mark.parametrize("name", ("flask", "pyramid"))
def test_a_form_that_is_a_stream_is_received_where_the_table_says_whole(httpd, name):
    got = without_length(httpd, "1.1", f"{name}/form", FORM, *FORM_TYPE, port="STREAMED_PORT")
    assert got == "Zoe 3"


@pytest.mark.parametrize("version", ("1.1", "2"))
@pytest.mark.parametrize("name", NAMES)
def test_a_form_without_a_length_is_received(httpd, name, version):
    assert without_length(httpd, version, f"{name}/form", FORM, *FORM_TYPE) == "Zoe 3"


@pytest.mark.parametrize("port", ("PORT", "STREAMED_PORT"))
def test_an_upload_without_a_length_reaches_a_dav_server(httpd, port):
    """It parses no chunks itself, although it sees HTTP_TRANSFER_ENCODING on the second port."""
    path = f"/dav/{port}"
    assert httpd.request("PUT", path, data=iter([b"one", b"two"]), port=port).status_code == 201
    assert httpd.get(path, port=port).text == "onetwo"


# What a framework itself writes to wsgi.errors is its own; these do that for any exception.
TALKATIVE = {"bottle", "falcon"}


@pytest.mark.parametrize("name", [name for name in NAMES if name not in TALKATIVE])
@pytest.mark.parametrize("path", ("upload", "form"))
def test_a_broken_upload_is_no_error(httpd, name, path):
    since = httpd.log.mark()
    with httpd.wire() as wire:
        wire.send(
            b"POST /%s/%s HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000000\r\n"
            % (name.encode(), path.encode())
            + b"Content-Type: multipart/form-data; boundary=x\r\n\r\n"
            + b'--x\r\nContent-Disposition: form-data; name="text"\r\n\r\n'
            + b"a" * 100_000
        )
    assert httpd.get(f"/{name}/upload").status_code in (200, 404, 405)
    httpd.log.wait_for("WSGID0324|the client has gone", since)
    assert [record for record in httpd.log.records(since) if record.is_bad] == []
