"""What all tests share: the staged files of a session, an httpd for a module, and the check of its
log after every test.

A test module in tests/httpd makes its server once:

    @pytest.fixture(scope="module")
    def httpd(make_httpd):
        return make_httpd("WSGIScriptAlias / ${APPS}/hello.wsgi")
"""

from __future__ import annotations

import collections
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from httpdenv import Httpd, Stage, machine

ROOT = Path(__file__).resolve().parents[1]
# A user's compiler may warn where ours does not. Only .ci/run, which sets WSGID_STRICT, makes
# warnings errors.
STRICT = os.environ.get("WSGID_STRICT") == "1"
WARNINGS = ["-std=gnu11", "-D_GNU_SOURCE", "-Wall", "-Wextra", *(["-Werror"] if STRICT else [])]
STAGE_MISSING = "{module} is not there: run `make` first"


@pytest.fixture(scope="session")
def stage() -> Stage:
    """The module, pywsgid and the test applications, where every user can reach them."""
    module = machine.module_path()
    if not module.exists():
        pytest.fail(STAGE_MISSING.format(module=module))
    return machine.stage()


def pytest_unconfigure() -> None:
    machine.remove_stage()


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with server.key and server.crt."""
    directory = tmp_path_factory.mktemp("certificates")
    machine.make_certificate(directory)
    return directory


@pytest.fixture(scope="session")
def gcc() -> Callable[..., None]:
    """Compiles; the arguments are gcc's own. With WSGID_STRICT=1, warnings are errors."""
    compiler = shutil.which("gcc")
    if compiler is None:
        pytest.fail(
            "no gcc: install build-essential (Debian, Ubuntu) or gcc, then run `make`",
            pytrace=False,
        )

    def run(*arguments: str | Path) -> None:
        command = [compiler, *WARNINGS, "-I", str(ROOT / "apxs"), *map(str, arguments)]
        result = subprocess.run(command, capture_output=True, text=True, check=False)
        assert result.returncode == 0 and not (STRICT and result.stderr), result.stderr

    return run


@pytest.fixture(scope="module")
def running(request: pytest.FixtureRequest) -> Iterator[list[Httpd]]:
    """The httpds of this test module; at the end, each is stopped, checked and removed."""
    servers: list[Httpd] = []
    yield servers
    problems: list[str] = []
    for server in servers:
        problems += _wind_up(server)
    if problems:
        pytest.fail("\n".join(problems), pytrace=False)


def _wind_up(server: Httpd) -> list[str]:
    """Stops a server and returns the problems found."""
    problems = []
    try:
        last = server.stop if server.is_running else server.assert_nothing_left
        for step in (server.assert_no_leaked_descriptors, last):
            try:
                step()
            except AssertionError as error:
                problems.append(str(error))
        problems += server.unexpected()
    finally:
        server.remove()
    return problems


@pytest.fixture(scope="module")
def make_httpd(running: list[Httpd], stage: Stage, certificates: Path) -> Callable[..., Httpd]:
    """Makes an httpd from configuration text and starts it.

    `start` is "daemon", "foreground" or "debug"; None leaves the start to the test. `files` are
    written to ${FILES} first.
    """

    def make(
        text: str,
        *,
        start: str | None = "daemon",
        files: dict[str, str] | None = None,
        **options: Any,
    ) -> Httpd:
        server = Httpd(text, stage, certificates=certificates, **options)
        running.append(server)
        for name, content in (files or {}).items():
            server.write(name, content)
        return server.start(start) if start else server

    return make


@pytest.fixture
def serve(running: list[Httpd], make_httpd: Callable[..., Httpd]) -> Iterator[Callable[..., Httpd]]:
    """make_httpd for a single test that provokes failures: our module may log them, but httpd has
    to stop after the test, and leave nothing.
    """
    made: list[Httpd] = []

    def make(text: str, *, start: str | None = "daemon", **options: Any) -> Httpd:
        made.append(make_httpd(text, start=None, **options))
        return made[-1].start(start) if start else made[-1]

    yield make
    problems: list[str] = []
    for server in made:
        running.remove(server)
        try:
            if server.is_running:
                server.stop()
            server.log.accept_all(r"WSGID\d{4}")
            problems += server.unexpected()
        finally:
            server.remove()
    if problems:
        pytest.fail("\n".join(problems), pytrace=False)


@pytest.fixture(autouse=True)
def watch_the_logs(request: pytest.FixtureRequest) -> Iterator[None]:
    """Fails a test that left an undeclared line in an error log."""
    yield
    if "running" not in request.fixturenames and "httpd" not in request.fixturenames:
        return
    lines = [line for server in request.getfixturevalue("running") for line in server.unexpected()]
    if lines:
        pytest.fail("unexpected in the error log:\n" + "\n".join(lines), pytrace=False)


# The modules that take longest, 20 to 40 seconds, start first, so that at the end no worker is
# still busy with one alone.
LONG = (
    "test_serve",
    "test_files",
    "test_lossless",
    "test_stuck",
    "test_docs",
    "test_control",
    "test_failures",
    "test_check",
    "test_timeouts",
    "test_real_applications",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Puts long modules first; within a module, tests keep their order."""
    items.sort(key=lambda item: LONG.index(item.path.stem) if item.path.stem in LONG else len(LONG))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Prints one line for each reason why tests were skipped."""
    reasons = collections.Counter(
        report.longrepr[2].removeprefix("Skipped: ")
        for report in terminalreporter.stats.get("skipped", [])
    )
    for reason, count in sorted(reasons.items()):
        terminalreporter.write_line(f"skipped {count}: {reason}")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Any:
    """Shows the end of the error log beside a failure."""
    report = yield
    servers = getattr(item, "funcargs", {}).get("running", [])
    if report.failed and servers:
        report.sections += [
            (f"error log of {server.root}", server.log_text()) for server in servers
        ]
    return report
