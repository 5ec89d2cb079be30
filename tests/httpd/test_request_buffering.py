"""A request waits in httpd for its body: which requests do, and where the body is meanwhile."""

from __future__ import annotations

import hashlib
import resource
import shutil
import socket
import struct
import time
from contextlib import ExitStack

import pytest
from httpdenv import HeldRequests, http2, machine, processes, wait_until
from httpdenv.client import request
from httpdenv.versions import HOSTS, MODULES

GROUPS = {
    "auto": "threads=3",
    "on": "threads=1 request-buffering=on request-buffer-size=64K request-spool-size=0",
    "off": "threads=1 request-buffering=off",
    "file": "threads=1 request-buffering=on request-buffer-size=64K request-spool-size=1M",
    "brief": "threads=1 request-buffering=on queue-timeout=1",
    "pauses": "threads=1 socket-timeout=1",
}
CONFIGURATION = (
    "".join(
        f"WSGIDaemonProcess {group} {options}\n"
        + "".join(
            f"WSGIScriptAlias /{group}/{name} ${{APPS}}/{name}.wsgi process-name={group}\n"
            for name in ("leaving", "hello", "gate", "input")
        )
        for group, options in GROUPS.items()
    )
    + """
LimitRequestBody 3000000
WSGIChunkedRequest On
Timeout 3
LogMessage "in the handler: %{QUERY_STRING}" hook=handler
"""
    + HOSTS
)
WITHIN = 3.0
KINDS = ["length", "chunked", "http2-length", "http2"]
HALF = 35_000  # two are more than what a request waits for anyhow, and less than 64 KiB * 2
CLOSE = struct.pack("ii", 1, 0)  # SO_LINGER: close() sends a reset


@pytest.fixture(scope="module")
def spool():
    """Where httpd's children put temporary files."""
    directory = machine.temporary_directory("wsgid-spool-")
    directory.chmod(0o777)
    yield directory
    shutil.rmtree(directory)


@pytest.fixture(scope="module")
def httpd(make_httpd, spool):
    return make_httpd(
        CONFIGURATION, modules=[*MODULES, "log_debug"], environment={"TMPDIR": str(spool)}
    )


class Upload:
    """A request to leaving.wsgi whose body of `size` bytes comes in pieces. `kind`, one of KINDS,
    says how.
    """

    def __init__(self, httpd, kind: str, group: str, name: str, size: int, *headers: str) -> None:
        self.httpd, self.name, self.kind, self.left = httpd, name, kind, size
        self.size, self.since = size, httpd.log.mark()
        path = f"/{group}/leaving/upload?{name}"
        head = [f"Content-Length: {size}"] if "length" in kind else []
        if self.is_http2:
            self.exchange = http2.Exchange(httpd.ports["PORT"])
            self.socket = self.exchange.socket
            pairs = [line.lower().split(": ") for line in (*head, *headers)]
            self.exchange.begin("POST", path, [(key, value) for key, value in pairs])
        else:
            self.wire = httpd.wire()
            self.socket = self.wire.socket
            head = head or ["Transfer-Encoding: chunked"]
            self.wire.send(request("POST", path, *head, *headers))
        httpd.log.wait_for(f"in the handler: {name}", self.since)

    @property
    def is_http2(self) -> bool:
        return self.kind.startswith("http2")

    def send(self, size: int) -> Upload:
        """The piece after which nothing is left is the last."""
        if self.is_http2:
            connection, stream = self.exchange.connection, self.exchange.stream
            while size > 0 and not self.exchange.answer.is_over:
                room = connection.local_flow_control_window(stream)
                count = min(size, room, connection.max_outbound_frame_size)
                if count == 0:
                    self.exchange.take()
                    continue
                size, self.left = size - count, self.left - count
                connection.send_data(stream, b"u" * count, end_stream=self.left == 0)
                self.exchange.flush()
            return self
        self.left -= size
        data = b"u" * size
        if self.kind == "chunked":
            data = b"%x\r\n%s\r\n" % (size, data) + b"0\r\n\r\n" * (self.left == 0)
        self.wire.send(data)
        return self

    @property
    def has_started(self) -> bool:
        return bool(self.httpd.log.find(f"started {self.name}", self.since))

    def starts(self) -> None:
        self.httpd.log.wait_for(f"started {self.name}", self.since, WITHIN)

    def is_whole(self) -> None:
        """The application has got all of the body, and its answer comes."""
        self.httpd.log.wait_for(f"read {self.name} {self.size}", self.since)
        assert self.status() == 200

    def status(self) -> int:
        if not self.is_http2:
            return self.wire.read_response().status
        while not self.exchange.answer.is_over:
            self.exchange.take()
        return self.exchange.answer.status

    def cancel(self) -> None:
        if self.is_http2:
            self.exchange.connection.reset_stream(self.exchange.stream, 8)  # CANCEL
            self.exchange.flush()
        else:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, CLOSE)
            self.wire.close()


def is_free(httpd, group: str) -> None:
    """A thread of the group answers another request."""
    assert httpd.get(f"/{group}/hello", timeout=WITHIN).status_code == 200


# ---- auto


@pytest.mark.parametrize("kind", KINDS)
def test_slow_uploads_leave_threads_of_the_group_free(httpd, kind):
    """Nine slow uploads for three threads; each of them is complete in the end."""
    with ExitStack() as stack:
        uploads = [
            Upload(httpd, kind, "auto", f"slow-{kind}-{number}", 2 * HALF) for number in range(9)
        ]
        for upload in uploads:
            stack.callback(upload.socket.close)
            upload.send(HALF)
        is_free(httpd, "auto")
        assert sum(upload.has_started for upload in uploads) <= 2
        for upload in uploads:
            upload.send(HALF).is_whole()


def test_uploads_that_come_at_the_same_moment_leave_a_thread_free(httpd):
    """They are counted before any of them runs."""
    head = request("POST", "/auto/leaving/upload?rush", "Transfer-Encoding: chunked")
    for _ in range(5):
        wires = [httpd.wire() for _ in range(8)]
        for wire in wires:
            wire.send(head + b"1\r\nu\r\n")
        is_free(httpd, "auto")
        for wire in wires:
            wire.send(b"0\r\n\r\n")
        assert [wire.read_response().status for wire in wires] == [200] * 8
        for wire in wires:
            wire.close()


@pytest.mark.parametrize("kind", KINDS)
def test_while_there_is_room_an_upload_starts_at_once(httpd, kind):
    upload = Upload(httpd, kind, "auto", f"room-{kind}", 2 * HALF).send(HALF)
    upload.starts()
    upload.send(HALF).is_whole()


@pytest.mark.parametrize("kind", KINDS)
def test_an_upload_that_waits_starts_once_there_is_room(httpd, kind):
    gate = HeldRequests(httpd, "/auto/gate", f"busy-{kind}", 2)
    upload = Upload(httpd, kind, "auto", f"later-{kind}", 2 * HALF).send(HALF)
    is_free(httpd, "auto")
    assert not upload.has_started
    gate.release()
    upload.starts()
    upload.send(HALF).is_whole()


# ---- on and off


@pytest.mark.parametrize("kind", KINDS)
def test_on_lets_every_body_wait(httpd, kind):
    upload = Upload(httpd, kind, "on", f"on-{kind}", 2 * HALF).send(HALF)
    is_free(httpd, "on")  # it has one thread
    assert not upload.has_started
    upload.send(HALF).is_whole()


@pytest.mark.parametrize("kind", KINDS)
def test_off_lets_none_wait(httpd, kind):
    upload = Upload(httpd, kind, "off", f"off-{kind}", 2 * HALF).send(HALF)
    upload.starts()
    upload.send(HALF).is_whole()


@pytest.mark.parametrize("kind", ["length", "chunked"])
def test_an_upload_that_expects_100_continue_does_not_wait(httpd, kind):
    upload = Upload(httpd, kind, "on", f"expects-{kind}", 2 * HALF, "Expect: 100-continue")
    assert upload.wire.read_response().status == 100  # the application has asked for the body
    upload.send(2 * HALF).is_whole()


@pytest.mark.parametrize("kind", KINDS)
def test_a_body_that_is_too_large_to_wait_goes_on_to_the_application(httpd, kind):
    upload = Upload(httpd, kind, "on", f"large-{kind}", 400_000).send(300_000)
    upload.starts()
    upload.send(100_000).is_whole()


# ---- the temporary file


def spool_files(httpd, spool) -> list[tuple[str, int]]:
    """What httpd's children have open there, and the flags of the descriptors."""
    return [
        (path, int(info.split("flags:")[1].split()[0], 8))
        for pid in httpd.children()
        for number, path in processes.descriptors(pid).items()
        if path.startswith(str(spool))
        for info in [open(f"/proc/{pid}/fdinfo/{number}").read()]
    ]


@pytest.mark.parametrize("kind", KINDS)
def test_a_long_body_waits_in_a_file_that_nobody_else_can_open(httpd, kind, spool):
    upload = Upload(httpd, kind, "file", f"file-{kind}", 1_000_000).send(999_000)
    files = wait_until(lambda: spool_files(httpd, spool), "a temporary file")
    assert len(files) == 1
    ((path, flags),) = files
    assert path.endswith("(deleted)")
    assert flags & 0o2000000, "it is not close-on-exec"
    assert list(spool.iterdir()) == []
    is_free(httpd, "file")
    assert not upload.has_started
    upload.send(1000).is_whole()
    wait_until(lambda: not spool_files(httpd, spool), "the end of the temporary file")


CONTENT = b"".join(b"line %d of a long body\n" % number for number in range(40_000))


def pieces(size: int) -> list[bytes]:
    return [CONTENT[at : at + size] for at in range(0, len(CONTENT), size)]


@pytest.mark.parametrize("size", [7, 5000, 100_000])
@pytest.mark.parametrize("group", ["on", "file"])
def test_what_has_waited_is_read_in_order(httpd, group, size):
    """From memory, from the file, and from the client, where the body is larger than both."""
    answer = httpd.post(f"/{group}/input/odd", iter(pieces(size))).json()
    assert answer["total"] == len(CONTENT)
    assert answer["digest"] == hashlib.sha256(CONTENT).hexdigest()


def test_if_the_disk_is_full_the_body_goes_on_to_the_application(serve):
    """A limit for the size of files stands for the end of the disk: a block fits partly."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    httpd = serve(CONFIGURATION, modules=[*MODULES, "log_debug"], start=None)
    resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, hard))
    try:
        httpd.start("daemon")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    with httpd.log.expects("WSGID0181: group 'file'"):
        for _ in range(2):
            answer = httpd.post("/file/input/odd", iter(pieces(5000))).json()
            assert answer["digest"] == hashlib.sha256(CONTENT).hexdigest()
    assert len(httpd.log.find("WSGID0181")) == 1  # it is said once a minute


def test_without_a_place_for_files_the_body_goes_on_to_the_application(httpd, spool):
    spool.chmod(0o555)
    try:
        with httpd.log.expects("WSGID0181: group 'file'.*in %s" % spool):
            answer = httpd.post("/file/input/odd", iter(pieces(5000))).json()
    finally:
        spool.chmod(0o777)
    assert answer["digest"] == hashlib.sha256(CONTENT).hexdigest()


def test_a_body_of_single_bytes_takes_no_more_room_than_its_bytes(httpd):
    """100,000 chunks of one byte."""
    with httpd.wire() as wire:
        wire.send(request("POST", "/file/leaving/upload?bytes", "Transfer-Encoding: chunked"))
        before = resident(httpd)
        for _ in range(100):
            wire.send(b"1\r\nu\r\n" * 1000)
        is_free(httpd, "file")
        assert resident(httpd) < before + 4000
        wire.send(b"0\r\n\r\n")
        assert wire.read_response().status == 200
        httpd.log.wait_for("read bytes 100000")


def resident(httpd) -> int:
    """Of all children of httpd, in kB."""
    return sum(int(processes.status(pid)["VmRSS"].split()[0]) for pid in httpd.children())


# ---- limits and ends


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("group", ["on", "file", "auto"])
def test_limit_request_body_holds(httpd, group, kind):
    with httpd.log.allows("WSGID0171", "AH0", "InputLost", "Traceback", "WSGID03"):
        upload = Upload(httpd, kind, group, f"limit-{group}-{kind}", 4_000_000)
        if "length" not in kind:
            try:
                upload.send(3_500_000)
            except OSError:
                pass  # refused meanwhile
        assert upload.status() == 413
        assert not httpd.log.find(f"read {upload.name}", upload.since)


@pytest.mark.parametrize("kind", KINDS)
def test_a_request_whose_client_leaves_while_its_body_waits_never_starts(httpd, kind):
    upload = Upload(httpd, kind, "on", f"leaves-{kind}", 2 * HALF).send(HALF)
    is_free(httpd, "on")
    upload.cancel()
    httpd.log.wait_for(f"WSGID0172.*{upload.name}", upload.since)
    is_free(httpd, "on")
    assert not upload.has_started


@pytest.mark.parametrize("kind", ["length", "chunked"])
def test_a_client_that_sends_no_more_of_a_body_that_waits_gets_408(httpd, kind):
    upload = Upload(httpd, kind, "on", f"silent-{kind}", 2 * HALF).send(HALF)
    with httpd.log.expects("WSGID0171.*for Timeout"):
        assert upload.status() == 408
    assert not upload.has_started


@pytest.mark.parametrize("kind", ["length", "chunked"])
def test_queue_timeout_begins_when_the_body_is_there(httpd, kind):
    upload = Upload(httpd, kind, "brief", f"brief-{kind}", 20 * 5000)
    for _ in range(20):  # 1.6 seconds
        upload.send(5000)
        time.sleep(0.08)
    upload.is_whole()


@pytest.mark.parametrize("kind", ["length", "chunked"])
def test_an_upload_with_pauses_goes_on_as_long_as_something_comes(httpd, kind):
    """Longer than socket-timeout in all, but no pause is."""
    upload = Upload(httpd, kind, "pauses", f"pauses-{kind}", 6 * 20_000)
    for _ in range(6):  # 2.4 seconds
        upload.send(20_000)
        time.sleep(0.4)
    upload.is_whole()
