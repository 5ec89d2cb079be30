"""wsgi/file_wrapper.py: which objects are sent as a part of a file, and which part. All others are
read in blocks.
"""

from __future__ import annotations

import gzip
import io
import os
import tempfile
import zipfile

import pytest

from pywsgid.daemon.wsgi.file_wrapper import FileWrapper, region

CONTENT = bytes(range(256)) * 40


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(CONTENT)
    return path


class Sub(io.FileIO):
    """A subclass, which may do anything in read()."""


class NoFileno:
    def __init__(self, file):
        self.read = file.read


class BadFileno(NoFileno):
    def fileno(self):
        raise OSError("none")


def part(file):
    """The bytes of the region that region() returns; None if the file must be read."""
    found = region(FileWrapper(file))
    return found and os.pread(found[0], found[2], found[1])


@pytest.mark.parametrize("mode", ["rb", "r+b"])
@pytest.mark.parametrize("buffering", [0, -1])
def test_a_file_is_sent_from_its_position(path, mode, buffering):
    with open(path, mode, buffering) as file:
        assert part(file) == CONTENT
        file.read(100)
        assert part(file) == CONTENT[100:]
        file.seek(20000)
        assert part(file) == b""


def test_temporary_files_are_files():
    for make in (tempfile.TemporaryFile, tempfile.NamedTemporaryFile):
        with make() as file:
            file.write(CONTENT)  # part of it is still in the object's buffer
            file.seek(10)
            assert part(file) == CONTENT[10:]


def test_buffered_writes_are_in_the_file_when_it_is_sent(path):
    with open(path, "r+b") as file:
        file.write(b"new")
        assert part(file) == CONTENT[3:]
        assert path.read_bytes()[:3] == b"new"


def others(path):
    packed = path.with_suffix(".gz")
    with gzip.open(packed, "wb") as file:
        file.write(CONTENT)
    archive = path.with_suffix(".zip")
    with zipfile.ZipFile(archive, "w") as file:
        file.write(path, "member")
    spooled = tempfile.SpooledTemporaryFile(max_size=10)
    spooled.write(CONTENT)
    spooled.seek(0)
    return {
        "subclass": Sub(path),
        "buffered subclass": io.BufferedReader(Sub(path)),
        "gzip": gzip.open(packed),
        "zip": zipfile.ZipFile(archive).open("member"),
        "spooled": spooled,
        "memory": io.BytesIO(CONTENT),
        "no fileno": NoFileno(path.open("rb")),
        "bad fileno": BadFileno(path.open("rb")),
    }


def test_all_other_objects_are_read_whole(path):
    for name, file in others(path).items():
        assert region(FileWrapper(file)) is None, name
        assert b"".join(FileWrapper(file, 1000)) == CONTENT, name


def test_no_descriptor_that_is_not_a_file_is_sent(path):
    read, write = os.pipe()
    os.close(write)
    with open(read, "rb") as pipe, open(path) as text, open(os.devnull, "rb") as device:
        assert region(FileWrapper(pipe)) is None
        assert region(FileWrapper(text)) is None
        assert region(FileWrapper(device)) is None


def test_files_of_proc_are_read():
    """Their size has no meaning."""
    with open("/proc/self/status", "rb") as file:
        assert region(FileWrapper(file)) is None
        assert b"".join(FileWrapper(file)).startswith(b"Name:")


def test_a_descriptor_that_cannot_be_read_is_not_sent(path):
    """FileIO does not check the mode that it gets."""
    with io.FileIO(os.open(path, os.O_WRONLY), "rb") as file:
        assert region(FileWrapper(file)) is None


def test_a_closed_or_detached_file_is_not_sent(path):
    closed, detached = path.open("rb"), path.open("rb")
    closed.close()
    detached.detach().close()
    assert region(FileWrapper(closed)) is None
    assert region(FileWrapper(detached)) is None


@pytest.mark.parametrize("limit", [0, 1, 999, 1000, 1001, len(CONTENT), len(CONTENT) + 1])
def test_blocks_end_at_the_limit(limit):
    wrapper = FileWrapper(io.BytesIO(CONTENT), 1000)
    wrapper.limit = limit
    assert b"".join(wrapper) == CONTENT[:limit]


def test_close_is_the_files_own(path):
    with path.open("rb") as file:
        wrapper = FileWrapper(file)
        wrapper.close()
        assert file.closed
    assert not hasattr(FileWrapper(NoFileno(io.BytesIO())), "close")
