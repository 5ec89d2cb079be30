"""Files without copies: wsgi.file_wrapper by descriptor, X-Sendfile by name."""

from __future__ import annotations

import os
import threading
import urllib.parse

import pytest
from httpdenv import MPMS, processes, wait_until
from httpdenv.client import request
from httpdenv.versions import BROKEN, EVERY_WAY, HOSTS, MODULES, run_curl

CONFIGURATION = (
    """
WSGIDaemonProcess app threads=2
WSGIProcessName app
WSGIScriptAlias /files ${APPS}/files.wsgi
WSGIScriptAlias /hello ${APPS}/hello.wsgi
WSGIScriptAlias /off ${APPS}/sendfile.wsgi
WSGIScriptAlias /sendfile ${APPS}/sendfile.wsgi
<Location /sendfile>
    WSGISendfilePath ${FILES}/allowed
</Location>
"""
    + HOSTS
)
FILES = {"allowed/README": "what WSGISendfilePath allows has to be there at start"}
SIZE = 3_000_000
DATE = "Sun, 06 Nov 1994 08:49:37 GMT"
LATER = "Mon, 07 Nov 1994 08:49:37 GMT"


@pytest.fixture(scope="module")
def httpd(make_httpd):
    return make_httpd(CONFIGURATION, modules=MODULES, files=FILES)


@pytest.fixture(scope="module", params=MPMS)
def each_mpm(request, make_httpd):
    if request.param == "prefork":
        return make_httpd(
            CONFIGURATION.replace("h2c ", "").replace("h2 ", ""),
            mpm="prefork",
            modules=["ssl"],
            files=FILES,
        )
    return make_httpd(CONFIGURATION, mpm=request.param, modules=MODULES, files=FILES)


def content(size: int = SIZE) -> bytes:
    return b"".join(b"%07d\n" % number for number in range(size // 8))


def put(httpd, name: str, data: bytes) -> str:
    """Writes a file that the daemon may read and cut; returns its path."""
    path = httpd.files / name
    path.parent.mkdir(exist_ok=True)
    path.parent.chmod(0o755)
    path.write_bytes(data)
    path.chmod(0o666)
    return str(path)


# ---- wsgi.file_wrapper


@pytest.mark.parametrize("kind", ["file", "raw", "bytes", "pipe", "own"])
def test_every_kind_of_wrapped_file_is_sent_whole(each_mpm, kind):
    path = put(each_mpm, "whole", content())
    response = each_mpm.get(f"/files{path}?kind={kind}&block=9999")
    assert response.status_code == 200
    assert response.content == content()


@pytest.mark.parametrize("over", EVERY_WAY)
def test_a_file_is_sent_whole_over_every_version_of_http(httpd, over):
    path = put(httpd, "whole", content())
    done = run_curl(httpd, over, f"/files{path}")
    assert (done.code, done.status, done.body == content()) == (0, 200, True), done.error


def test_a_file_has_its_content_length(httpd):
    path = put(httpd, "whole", content())
    assert httpd.get(f"/files{path}").headers["Content-Length"] == str(SIZE)


def test_an_empty_file_is_an_empty_body(httpd):
    response = httpd.get(f"/files{put(httpd, 'empty', b'')}")
    assert (response.status_code, response.content) == (200, b"")


@pytest.mark.parametrize("kind", ["file", "raw"])
@pytest.mark.parametrize("how", ["seek", "readfirst"])
def test_a_file_is_sent_from_its_position(httpd, kind, how):
    """What a buffered file has read ahead of its position is still sent."""
    path = put(httpd, "whole", content())
    response = httpd.get(f"/files{path}?kind={kind}&{how}=1000")
    assert response.content == content()[1000:]
    assert response.headers["Content-Length"] == str(SIZE - 1000)


@pytest.mark.parametrize("over", EVERY_WAY)
def test_a_content_length_smaller_than_the_rest_is_honoured(httpd, over):
    path = put(httpd, "whole", content())
    done = run_curl(httpd, over, f"/files{path}?seek=8&length=160")
    assert (done.code, done.body) == (0, content()[8:168]), done.error
    assert done.header("content-length") == "160"


def test_a_content_length_larger_than_the_rest_is_visibly_broken(httpd):
    path = put(httpd, "small", content(800))
    with httpd.log.expects("WSGID0343.*Content-Length"):
        done = run_curl(httpd, "http/1.1", f"/files{path}?length=900")
    assert done.code in BROKEN or done.status == 500


def test_the_file_is_closed_once_the_response_is_done(httpd):
    path = put(httpd, "one", content())
    since = httpd.log.mark()
    assert httpd.get(f"/files{path}?kind=logged").content == content()
    httpd.log.wait_for("closed the file one", since)
    assert len(httpd.log.find("closed the file one", since)) == 1


def test_a_file_does_not_go_through_python(httpd):
    """64 MB, of which the daemon itself reads and writes almost nothing."""
    path = put(httpd, "large", bytes(64 << 20))
    assert httpd.get("/hello").status_code == 200
    pid = httpd.wait_for_daemons("app", 1)[0]
    before = moved(pid)
    assert len(httpd.get(f"/files{path}").content) == 64 << 20
    assert moved(pid) - before < 1 << 20


def moved(pid: int) -> int:
    lines = dict(
        line.split(": ") for line in open(f"/proc/{pid}/io", encoding="ascii").read().splitlines()
    )
    return int(lines["rchar"]) + int(lines["wchar"])


def test_no_descriptors_are_leaked(httpd):
    path = put(httpd, "whole", content())
    pid = httpd.wait_for_daemons("app", 1)[0]
    for _ in range(30):
        assert httpd.request("HEAD", f"/files{path}").status_code == 200
        assert httpd.get(f"/files{path}", headers={"Range": "bytes=0-1"}).status_code == 206
    for process in [pid, *httpd.children()]:
        wait_until(
            lambda p=process: path not in processes.descriptors(p).values(),
            f"process {process} to close it",
        )


@pytest.mark.parametrize("over", EVERY_WAY)
@pytest.mark.parametrize(
    ("asked", "got"), [("0-9", slice(0, 10)), ("100-", slice(100, None)), ("-50", slice(-50, None))]
)
def test_a_range_is_cut_out_by_httpd(httpd, over, asked, got):
    path = put(httpd, "whole", content())
    done = run_curl(httpd, over, f"/files{path}", "-H", f"Range: bytes={asked}")
    assert (done.code, done.status, done.body == content()[got]) == (0, 206, True), done.error


@pytest.mark.parametrize("method", ["POST", "HEAD"])
def test_a_range_is_for_get_alone(httpd, method):
    """RFC 9110, section 14.2."""
    path = put(httpd, "whole", content())
    response = httpd.request(method, f"/files{path}", headers={"Range": "bytes=0-9"})
    assert (response.status_code, response.headers["Content-Length"]) == (200, str(SIZE))


@pytest.mark.parametrize("over", EVERY_WAY)
@pytest.mark.parametrize("kind", ["bytes", "own"])
def test_what_an_application_makes_itself_is_not_cut(httpd, over, kind):
    """Whether httpd could cut it would depend on whether it comes in one piece."""
    path = put(httpd, "small", b"a page")
    done = run_curl(httpd, over, f"/files{path}?kind={kind}&length=6", "-H", "Range: bytes=0-1")
    assert (done.code, done.status, done.body) == (0, 200, b"a page"), done.error


def test_several_ranges_come_as_parts(httpd):
    path = put(httpd, "whole", content())
    response = httpd.get(f"/files{path}", headers={"Range": "bytes=0-7,80-87"})
    assert response.status_code == 206
    assert response.headers["Content-Type"].startswith("multipart/byteranges")
    assert content()[80:88] in response.content


def test_a_range_beyond_the_end_is_a_416(httpd):
    path = put(httpd, "whole", content())
    assert httpd.get(f"/files{path}", headers={"Range": f"bytes={SIZE}-"}).status_code == 416


def with_validators(path: str) -> str:
    return f"/files{path}?" + urllib.parse.urlencode(
        [("h", f"Last-Modified:{DATE}"), ("h", 'ETag:"one"')]
    )


@pytest.mark.parametrize(
    ("name", "value", "status"),
    [
        ("If-Modified-Since", DATE, 304),
        ("If-Modified-Since", "Sat, 05 Nov 1994 08:49:37 GMT", 200),
        ("If-None-Match", '"one"', 304),
        ("If-None-Match", '"two"', 200),
        ("If-Match", '"two"', 412),
        ("If-Unmodified-Since", "Sat, 05 Nov 1994 08:49:37 GMT", 412),
    ],
)
@pytest.mark.parametrize("over", ["http/1.1", "h2"])
def test_conditions_are_answered_by_the_applications_validators(httpd, over, name, value, status):
    path = put(httpd, "whole", content())
    done = run_curl(httpd, over, with_validators(path), "-H", f"{name}: {value}")
    assert (done.code, done.status) == (0, status), done.error
    assert done.body == content() if status == 200 else len(done.body) < 1000
    if status == 304:
        assert done.body == b""
        assert done.header("etag") == '"one"'


def test_a_file_without_validators_meets_any_condition(httpd):
    """No validators are invented: only the application knows what else its answer depends on."""
    path = put(httpd, "whole", content())
    response = httpd.get(f"/files{path}", headers={"If-Modified-Since": LATER})
    assert response.status_code == 200
    assert "ETag" not in response.headers and "Last-Modified" not in response.headers


def test_a_connection_stays_usable_after_a_304(httpd):
    path = put(httpd, "whole", content())
    with httpd.wire() as wire:
        for _ in range(3):
            wire.send(request("GET", with_validators(path), 'If-None-Match: "one"'))
            assert wire.read_response().status == 304
        wire.send(request("GET", f"/files{path}"))
        assert wire.read_response().body == content()


@pytest.mark.parametrize("over", EVERY_WAY)
def test_a_file_that_shrinks_meanwhile_is_visibly_cut_off(httpd, over):
    """The file is cut in half before or after the daemon determines its size. httpd's child must
    survive either case.
    """
    before = httpd.children()
    path = put(httpd, "shrinking", content())
    with httpd.log.allows(r"WSGID\d{4}", "AH0", "Traceback"):
        done = run_curl(httpd, over, f"/files{path}?kind=shrink&length={SIZE}")
    assert done.code in BROKEN or done.status >= 500, done
    assert httpd.get("/hello").status_code == 200
    assert set(before) <= set(httpd.children())


@pytest.mark.parametrize("over", ["http/1.1", "tls", "h2c"])
def test_a_file_that_shrinks_while_it_is_sent_is_visibly_cut_off(httpd, over):
    """The client reads slowly, so most of the 64 MB is still in the file when it is cut."""
    before = httpd.children()
    path = put(httpd, "shrinking", bytes(64 << 20))
    with httpd.log.allows(r"WSGID\d{4}", "AH0", r"\(70014\)|core_output|End of file"):
        cut = threading.Timer(0.5, os.truncate, (path, 1000))
        cut.start()
        done = run_curl(httpd, over, f"/files{path}", "--limit-rate", "8M", "-o", "/dev/null")
        cut.join()
    assert done.status == 200
    assert done.code in BROKEN, done
    assert httpd.get("/hello").status_code == 200
    assert set(before) <= set(httpd.children())


# ---- X-Sendfile


@pytest.fixture
def allowed(httpd):
    """A file in the directory that WSGISendfilePath allows, and one outside it."""
    put(httpd, "outside.txt", b"secret")
    put(httpd, "allowed-not/inside.txt", b"a neighbour with a similar name")
    return put(httpd, "allowed/inside.txt", content())


def sendfile(httpd, path: str, *more: tuple[str, str], where: str = "/sendfile", **options):
    query = urllib.parse.urlencode([("path", path), *more])
    return httpd.get(f"{where}?{query}", **options)


def test_x_sendfile_is_off_unless_allowed(httpd, allowed):
    response = sendfile(httpd, allowed, where="/off")
    assert (response.status_code, response.content) == (200, b"the body of the application")


def test_x_sendfile_sends_the_file_in_place_of_the_body(httpd, allowed):
    response = sendfile(httpd, allowed)
    assert (response.status_code, response.content == content()) == (200, True)
    assert response.headers["Content-Length"] == str(SIZE)
    assert response.headers["Content-Type"] == "text/plain"
    assert "X-Sendfile" not in response.headers


@pytest.mark.parametrize("over", EVERY_WAY)
def test_x_sendfile_works_over_every_version_of_http(httpd, allowed, over):
    done = run_curl(httpd, over, f"/sendfile?path={allowed}")
    assert (done.code, done.status, done.body == content()) == (0, 200, True), done.error


def test_x_sendfile_may_come_with_the_length_of_the_file(httpd, allowed):
    """As Flask with USE_X_SENDFILE has it, whose body is empty then."""
    response = sendfile(httpd, allowed, ("h", f"Content-Length:{SIZE}"), ("empty", "1"))
    assert (response.status_code, response.content == content()) == (200, True)
    assert response.headers["Content-Length"] == str(SIZE)


def test_x_sendfile_adds_validators_and_answers_conditions_and_ranges(httpd, allowed):
    first = sendfile(httpd, allowed)
    tag, date = first.headers["ETag"], first.headers["Last-Modified"]
    assert sendfile(httpd, allowed, headers={"If-None-Match": tag}).status_code == 304
    assert sendfile(httpd, allowed, headers={"If-Modified-Since": date}).status_code == 304
    part = sendfile(httpd, allowed, headers={"Range": "bytes=8-15", "If-Range": tag})
    assert (part.status_code, part.content) == (206, b"0000001\n")


def test_x_sendfile_answers_head(httpd, allowed):
    response = httpd.request("HEAD", f"/sendfile?path={allowed}")
    assert (response.status_code, response.headers["Content-Length"]) == (200, str(SIZE))


ESCAPES = {
    "dots": ("{files}/allowed/../outside.txt", 403),
    "neighbour": ("{files}/allowed-not/inside.txt", 403),
    "elsewhere": ("/etc/hostname", 403),
    "symlink": ("{files}/allowed/link.txt", 403),
    "symlink-to-directory": ("{files}/allowed/way-out/outside.txt", 403),
    "directory": ("{files}/allowed", 403),
    "fifo": ("{files}/allowed/fifo", 403),
    "missing": ("{files}/allowed/missing.txt", 404),
    "relative": ("allowed/inside.txt", 404),
    "empty": (" ", 404),
}


@pytest.mark.parametrize("what", ESCAPES)
def test_x_sendfile_does_not_leave_the_allowed_directory(httpd, allowed, what):
    path, status = ESCAPES[what]
    inside = httpd.files / "allowed"
    make_once(inside / "link.txt", lambda at: at.symlink_to("../outside.txt"))
    make_once(inside / "way-out", lambda at: at.symlink_to(".."))
    make_once(inside / "fifo", os.mkfifo)
    with httpd.log.expects("WSGID0175.*X-Sendfile"):
        response = sendfile(httpd, path.format(files=httpd.files))
    assert response.status_code == status
    assert b"secret" not in response.content and b"neighbour" not in response.content
    assert httpd.get("/hello").status_code == 200


def make_once(path, make) -> None:
    if not path.is_symlink() and not path.exists():
        make(path)


def test_a_link_that_stays_inside_is_followed(httpd, allowed):
    make_once(httpd.files / "allowed" / "stays.txt", lambda at: at.symlink_to("inside.txt"))
    assert sendfile(httpd, f"{httpd.files}/allowed/stays.txt").content == content()


@pytest.mark.skipif(os.geteuid() != 0, reason="root's files need root")
def test_a_file_that_httpds_user_may_not_read_is_refused(httpd, allowed):
    path = put(httpd, "allowed/private.txt", b"secret")
    os.chmod(path, 0o600)
    with httpd.log.expects("WSGID0175.*may not read"):
        response = sendfile(httpd, path)
    assert (response.status_code, b"secret" in response.content) == (403, False)


def test_the_daemon_serves_on_the_same_connection_after_x_sendfile(httpd, allowed):
    with httpd.session() as session:
        for _ in range(5):
            assert (
                session.get(httpd.url(f"/sendfile?path={allowed}"), timeout=10).content == content()
            )
            assert session.get(httpd.url("/hello"), timeout=10).status_code == 200
