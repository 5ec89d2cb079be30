"""The page that --reload shows, the clients that may see it, and the sources that are watched.
tests/httpd/test_serve.py tests the effects.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from pywsgid.daemon import logs
from pywsgid.daemon.application import error_page, source_watcher

LOCAL = {
    "REQUEST_METHOD": "GET",
    "REQUEST_URI": "/x?<y>",
    "REMOTE_ADDR": "127.0.0.1",
    "HTTP_HOST": "localhost:8000",
    "HTTP_X": "<script>&\"'",
    "wsgi.file_wrapper": type("FileWrapper", (), {}),
}


class Errors:
    def __init__(self) -> None:
        self.lines: list[str] = []

    def record(self, level: int, text: str, code: str) -> None:
        self.application(level, logs.record_lines(text, code))

    def application(self, level: int, lines: list[str]) -> None:
        assert level == logs.ERROR
        self.lines += lines


class Client:
    """Calls an application as a server does."""

    def __init__(self, application, **environ) -> None:
        self.started: list[tuple] = []
        self.errors = Errors()
        self._sent = False
        environ = {**LOCAL, **environ, "wsgi.errors": self.errors}
        self.result = error_page.ErrorPages(application, ["shop.test"])(environ, self._start)

    def _start(self, status, headers, exc_info=None):
        if exc_info and self._sent:
            raise exc_info[1].with_traceback(exc_info[2])
        self.started.append((status, dict(headers)))

    def read(self) -> bytes:
        body = b""
        for block in self.result:
            self._sent = True
            body += block
        return body


def raising(environ, start_response):
    try:
        {}["<key>"]
    except KeyError as error:
        raise ValueError("<b>bad</b>") from error


def test_the_page_has_the_traceback_its_causes_the_source_and_the_request():
    client = Client(raising)
    page = client.read().decode()
    status, headers = client.started[-1]
    assert (status, headers["Content-Length"]) == (
        "500 Internal Server Error",
        str(len(page.encode())),
    )
    assert "<h1>ValueError: &lt;b&gt;bad&lt;/b&gt;</h1>" in page
    assert page.index("KeyError: &#x27;&lt;key&gt;&#x27;") < page.index("which caused: ValueError")
    assert (
        f"<code>{__file__}</code>, line {raising.__code__.co_firstlineno + 2}, in <code>raising</code>"
        in page
    )
    assert page.count("<mark>") == 2 and "{}[&quot;&lt;key&gt;&quot;]</mark>" in page
    assert "GET /x?&lt;y&gt;" in page and "&lt;script&gt;&amp;&quot;&#x27;" in page
    assert "pywsgid/daemon/application/error_page.py" not in page
    assert all(line.startswith("WSGID0340 | ") for line in client.errors.lines[:-1])
    assert client.errors.lines[-2:] == [
        "WSGID0340 | ValueError: <b>bad</b>",
        "WSGID0340: the application raised ValueError: <b>bad</b> [request 'GET /x?<y>']",
    ]


def test_nothing_unescaped_gets_into_the_page(tmp_path):
    """Whatever the source, the names and the request contain."""
    source = tmp_path / "<i>.py"
    source.write_text("def f():\n    x = '<i>'; raise type('<i>', (Exception,), {})('<i>')\n")
    code = compile(source.read_text(), str(source), "exec")
    names: dict = {"__name__": "names"}
    exec(code, names)
    client = Client(
        lambda environ, start_response: names["f"](), REQUEST_URI="/<i>", HTTP_COOKIE="<i>"
    )
    assert "<i>" not in client.read().decode()


def test_a_syntax_error_is_shown_with_its_line(tmp_path):
    (tmp_path / "broken.py").write_text("x = 1\ny = = 2\n")

    def application(environ, start_response):
        compile((tmp_path / "broken.py").read_text(), str(tmp_path / "broken.py"), "exec")

    assert "<mark>    2  y = = 2</mark>" in Client(application).read().decode()


@pytest.mark.parametrize(
    "environ",
    [
        {"REMOTE_ADDR": "192.0.2.1"},
        {"REMOTE_ADDR": ""},
        {"HTTP_HOST": "rebound.example:8000"},
        {"HTTP_HOST": "10.0.0.1"},
        {"HTTP_X_FORWARDED_FOR": "127.0.0.1"},
        {"HTTP_VIA": "1.1 proxy"},
        {"HTTP_HOST": "[2001:db8::1]:80"},
        {"HTTP_HOST": "localhost.example"},
    ],
)
def test_the_page_is_shown_to_no_other_client(environ):
    with pytest.raises(ValueError, match="bad"):
        Client(raising, **environ)


@pytest.mark.parametrize(
    "environ",
    [
        {"HTTP_HOST": "127.0.0.1:8000"},
        {"HTTP_HOST": "[::1]:8000"},
        {"HTTP_HOST": "LOCALHOST"},
        {"REMOTE_ADDR": "::1"},
        {"HTTP_HOST": "shop.test"},
        {"HTTP_HOST": "a.localhost:1"},
    ],
)
def test_the_page_is_shown_for_all_names_of_this_machine(environ):
    assert b"ValueError" in Client(raising, **environ).read()


def test_an_exception_of_the_iterable_is_shown_as_long_as_nothing_is_sent():
    def before(environ, start_response):
        start_response("200 OK", [])
        raise ValueError("early")
        yield b""

    def after(environ, start_response):
        start_response("200 OK", [])
        yield b"some"
        raise ValueError("late")

    client = Client(before)
    assert b"ValueError: early" in client.read() and client.started[-1][0].startswith("500")
    with pytest.raises(ValueError, match="late"):
        Client(after).read()


def test_close_is_called_and_files_are_passed_on_unchanged():
    class Result:
        closed = False

        def __iter__(self):
            return iter([b"x"])

        def close(self):
            self.closed = True

    result = Result()
    assert Client(lambda environ, start_response: result).read() == b"x"
    assert result.closed
    wrapper = LOCAL["wsgi.file_wrapper"]()
    assert Client(lambda environ, start_response: wrapper).result is wrapper


def test_head_gets_no_body():
    assert Client(raising, REQUEST_METHOD="HEAD").read() == b""


# -------- sources


@pytest.fixture
def watcher(tmp_path):
    """A Watcher after its first scan; changes() returns the files that have changed since the last
    call.
    """
    for name in (
        "a.py",
        "package/b.py",
        ".hidden/c.py",
        "venv/pyvenv.cfg",
        "venv/d.py",
        "node_modules/e.py",
        "f.txt",
        "templates/page.html",
    ):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("")
    (tmp_path / "script.wsgi").write_text("")
    made = source_watcher.Watcher(
        [str(tmp_path / "script.wsgi")], [str(tmp_path)], str(tmp_path / "touched")
    )

    def changes() -> set[str]:
        found = made._scan()
        changed = {os.path.relpath(path, tmp_path) for path in made._changed(found)}
        made._known = found
        return changed

    made.changes = changes
    return made


def change(path: Path) -> None:
    path.write_text(path.read_text() + "#")


def test_only_a_developers_changes_are_noticed(watcher, tmp_path):
    assert watcher.changes() == set()
    for name in ("a.py", "package/b.py", "script.wsgi", "templates/page.html"):
        change(tmp_path / name)
        assert watcher.changes() == {name}
    for name in (".hidden/c.py", "venv/d.py", "node_modules/e.py", "f.txt"):
        change(tmp_path / name)
    assert watcher.changes() == set()
    (tmp_path / "package" / "new.py").write_text("")
    assert watcher.changes() == {"package/new.py"}
    (tmp_path / "a.py").unlink()
    assert watcher.changes() == {"a.py"}


def test_modules_loaded_from_elsewhere_are_watched_once_they_are_loaded(
    watcher, tmp_path_factory, monkeypatch
):
    other = tmp_path_factory.mktemp("editable") / "other.py"
    other.write_text("")
    module = type(sys)("other")
    module.__file__ = str(other)
    monkeypatch.setitem(sys.modules, "other", module)
    assert watcher.changes() == set()
    change(other)
    assert {os.path.basename(path) for path in watcher.changes()} == {"other.py"}


def test_pythons_own_modules_and_installed_packages_are_not_watched():
    sources = list(source_watcher.loaded_sources())
    assert not [
        path
        for path in sources
        if path.startswith(os.path.dirname(os.__file__)) or "site-packages" in path
    ]
