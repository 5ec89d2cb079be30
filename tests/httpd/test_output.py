"""What daemons write goes through their guardian: no application can harm the ErrorLog, nothing is
lost at a crash, a flood is limited, and a log that nobody reads delays nothing.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import time
from pathlib import Path

import pytest
from httpdenv import Crowd, StartFailed, machine, processes, wait_until

ONE = """
WSGIDaemonProcess raw {}
WSGIScriptAlias /raw ${{APPS}}/behind.wsgi process-name=raw
"""
LINE = re.compile(
    r"\[\w{3} \w{3} \d\d \d\d:\d\d:\d\d\.\d{6} \d{4}\] \[wsgid:(\w+)\] \[pid (\d+):tid (\d+)\] "
    r"\[group raw\] (.*)"
)
MISSING = re.compile(r"WSGID0122: group 'raw': (\d+) lines of its output \((\d+) bytes\)")
# Reads nothing before the file GO is there, then copies all to the file COPY.
STUCK = """#!/bin/sh
while [ ! -e "$1/go" ]; do sleep 0.05; done
exec cat >> "$1/copy"
"""


def text_of(httpd) -> str:
    return (httpd.root / "logs" / "error_log").read_text()


def lines_with(httpd, word: str, path: Path | None = None) -> list[re.Match[str] | None]:
    """The lines that contain `word`, and what they consist of."""
    text = path.read_text() if path else text_of(httpd)
    return [LINE.fullmatch(line) for line in text.split("\n") if word in line]


def wait_for_lines(httpd, word: str, count: int, path: Path | None = None):
    wait_until(lambda: len(lines_with(httpd, word, path)) >= count, lambda: text_of(httpd), 10)
    found = lines_with(httpd, word, path)
    assert len(found) == count and all(found), text_of(httpd)[-4000:]
    return [(match[1], match[4]) for match in found if match]


def post(httpd, data: bytes, path: str = "/raw/post") -> None:
    assert httpd.post(path, data).status_code == 200


@pytest.fixture(scope="module")
def httpd(make_httpd):
    return make_httpd(ONE.format(""))


# -------- lines


def test_an_application_can_neither_change_nor_read_the_log(httpd):
    before = text_of(httpd)
    assert httpd.get("/raw/spoil").text == "truncate seek read"
    post(httpd, b"afterwards\n")
    wait_for_lines(httpd, "afterwards", 1)
    assert text_of(httpd).startswith(before)
    assert "overwritten" not in text_of(httpd)


def test_every_line_has_the_time_the_process_and_the_group(httpd):
    post(httpd, b"one thing\ntwo thing\r\n  three thing\n")
    assert wait_for_lines(httpd, "thing", 3) == [
        ("notice", "one thing"),
        ("notice", "two thing"),
        ("notice", "  three thing"),
    ]


@pytest.mark.parametrize(
    "line",
    [
        b"[Mon Jul 06 08:00:00.000000 2026] [core:error] [pid 1:tid 1] AH00001: forged",
        b"\x02[core:error] [pid 1:tid 1] forged",
        b"\x02[wsgid:nothing] [pid 1:tid 1] forged",
        b"\x02[wsgid:crit] [pid 1:tid 1]\x1b[31m forged",
        b"half a line \x02[wsgid:info] [pid 1:tid 1] \x1b[31m forged\x9b\xc2\x9b\x00\x08\x7f",
    ],
)
def test_no_bytes_can_forge_a_line_of_another_origin_or_drive_a_terminal(httpd, line):
    before = len(lines_with(httpd, "forged"))
    post(httpd, line + b"\n")
    wait_for_lines(httpd, "forged", before + 1)
    assert all(c.isprintable() or c == "\n" for c in text_of(httpd))


def test_text_outside_ascii_stays_readable(httpd):
    post(httpd, "gr\xfcn \u2603 \U0001f40d\n".encode())
    assert wait_for_lines(httpd, "gr\xfcn", 1) == [("notice", "gr\xfcn \u2603 \U0001f40d")]


def test_a_long_line_is_logged_whole(httpd):
    post(httpd, b"longish " + b"y" * 200_000 + b"\n")
    wait_until(lambda: text_of(httpd).count("yy") >= 99_950, "all of it", 10)
    found = lines_with(httpd, "yyyy")
    assert all(found)
    assert sum(match[4].count("y") for match in found) == 200_000
    assert all(len(match[0]) < 4096 for match in found)


def test_other_programs_may_write_and_open_dev_stderr(httpd):
    """As another user than root, who has made the pipe."""
    post(httpd, b"echo from a shell; echo from a shell, too > /dev/stderr", "/raw/shell")
    assert wait_for_lines(httpd, "from a shell", 2) == [
        ("notice", "from a shell"),
        ("notice", "from a shell, too"),
    ]


def test_children_of_httpd_do_not_have_the_pipe(httpd):
    pipe = processes.descriptors(httpd.wait_for_daemons("raw", 1)[0])[2]
    assert pipe.startswith("pipe:")
    for pid in httpd.children():
        assert pipe not in processes.descriptors(pid).values()


def test_the_process_of_mod_cgid_does_not_have_the_pipe(serve):
    """It is a fork of httpd's parent that executes nothing. Whatever the order of LoadModule is."""
    httpd = serve(ONE.format(""), start=None, modules=["cgid"])
    configuration = httpd.root / "conf" / "httpd.conf"
    lines = configuration.read_text().splitlines(keepends=True)
    lines.sort(key=lambda line: "LoadModule cgid_module" in line)
    configuration.write_text("".join(lines))
    httpd.start()
    for _ in range(2):
        pipe = processes.descriptors(httpd.wait_for_daemons("raw", 1)[0])[2]
        children = [child.pid for child in processes.children(httpd.pid)]
        assert len(children) >= 3  # with a guardian, mod_cgid's process and a child of httpd
        having = [pid for pid in children if pipe in processes.descriptors(pid).values()]
        assert having and set(having) <= set(httpd.guardians("raw"))
        httpd.graceful()


# -------- crashes


def test_a_crash_loses_nothing_and_its_report_comes_before_that_of_the_death(httpd):
    with httpd.log.expects("WSGID0052.*SIGSEGV", "WSGID0166", "Fatal Python error"):
        httpd.get("/raw/crash")
    assert len(wait_for_lines(httpd, "early line", 5000)) == 5000
    text = text_of(httpd)
    places = [
        text.index(word)
        for word in ("early line", "last words without an end", "Fatal Python error", "in crash")
    ]
    places += [text.index(" in application"), text.index("WSGID0052")]
    assert places == sorted(places)
    assert all(lines_with(httpd, "Fatal Python error")) and all(lines_with(httpd, " in crash"))


def test_an_unfinished_last_line_is_logged(serve):
    httpd = serve(ONE.format(""))
    post(httpd, b"never finished")
    with httpd.log.expects("WSGID0052.*SIGKILL"):
        os.kill(httpd.wait_for_daemons("raw", 1)[0], signal.SIGKILL)
        wait_for_lines(httpd, "never finished", 1)


def test_what_is_written_while_there_is_no_guardian_is_logged_by_the_next_one(serve):
    httpd = serve(ONE.format(""))
    (guardian,) = httpd.guardians()
    post(httpd, b"before\n")
    os.kill(guardian, signal.SIGSTOP)
    post(httpd, b"between guardians\n" * 100)
    with httpd.log.expects("WSGID0078"):
        os.kill(guardian, signal.SIGKILL)
        wait_for_lines(httpd, "between guardians", 100)


# -------- too much


def test_a_flood_is_limited_and_what_is_dropped_is_counted(serve):
    httpd = serve(
        ONE.format("log-rate-limit=100K")
        + "WSGIDaemonProcess other\nWSGIScriptAlias /other ${APPS}/output.wsgi process-name=other\n"
    )
    begun = time.monotonic()
    assert httpd.get("/raw/flood?100000").status_code == 200
    with httpd.log.expects("neighbour"):
        httpd.get("/other/stderr?neighbour")
    post(httpd, b"the end\n")
    allowed = (8 + 1 + time.monotonic() - begun) * 100 * 1024

    def accounted() -> int:
        dropped = sum(int(match[1]) for match in MISSING.finditer(text_of(httpd)))
        return dropped + len(lines_with(httpd, "flood 0")) + len(lines_with(httpd, "the end"))

    wait_until(lambda: accounted() == 100_001, lambda: text_of(httpd)[-2000:], 10)
    assert 800 * 1024 < len(text_of(httpd)) < allowed
    assert all(lines_with(httpd, "flood 0"))
    post(httpd, b"after it\n")
    wait_for_lines(httpd, "after it", 1)


def test_the_last_words_are_logged_even_in_a_flood(serve):
    httpd = serve(ONE.format("log-rate-limit=10K"))
    with httpd.log.expects("WSGID0052.*SIGSEGV", "WSGID0122", "Fatal Python error"):
        httpd.get("/raw/crash-in-flood?20000")
    assert len(lines_with(httpd, "last words without an end")) == 1
    assert len(lines_with(httpd, "in crash")) == 2


def test_last_words_are_limited_where_processes_flood_and_die_again_and_again(serve):
    httpd = serve(ONE.format("log-rate-limit=10K"))
    begun = time.monotonic()
    with httpd.log.allows("."):
        for _ in range(12):
            httpd.get("/raw/crash-in-flood?20000")
        wait_until(lambda: httpd.get("/raw/pid").status_code == 200, "the next process")
    written = sum(len(line) for line in text_of(httpd).splitlines() if "[group raw]" in line)
    seconds = 8 + 8 + time.monotonic() - begun
    assert written < seconds * 10 * 1024 + 64 * 1024  # the last words of one process


def test_without_a_limit_everything_is_logged(serve):
    httpd = serve(ONE.format("log-rate-limit=0"))
    assert httpd.get("/raw/flood?100000").status_code == 200
    wait_for_lines(httpd, "flood 0", 100_000)


# -------- logs that are no files


@pytest.fixture
def stuck(serve):
    """An httpd whose ErrorLog is a program that reads nothing yet; the directory with `copy`."""
    httpd = serve(
        '<VirtualHost *:${PORT}>\nErrorLog "|${FILES}/stuck ${FILES}"\n'
        + ONE.format("processes=2 log-rate-limit=0")
        + "</VirtualHost>\n",
        files={"stuck": STUCK},
        start=None,
    )
    (httpd.files / "stuck").chmod(0o755)
    (httpd.files / "copy").touch()
    httpd.start()
    yield httpd
    (httpd.files / "go").touch()


def test_a_program_that_does_not_read_the_log_delays_nothing(stuck):
    httpd = stuck
    httpd.wait_for_daemons("raw", 2)
    ready = int(httpd.get("/raw/pid").text)
    begun = time.monotonic()
    assert httpd.get("/raw/flood?10000").status_code == 200  # 1 MB, the pipes hold 128 KB
    os.kill(ready, signal.SIGKILL)
    httpd.wait_for_daemons("raw", 2, without=[ready])
    post(httpd, b"still here\n")
    assert time.monotonic() - begun < 20  # for ever, if anything waited for the program
    (httpd.files / "go").touch()
    wait_for_lines(httpd, "flood 0", 10_000, httpd.files / "copy")
    wait_for_lines(httpd, "still here", 1, httpd.files / "copy")
    # The guardian's own lines have waited, too, and are in their place.
    text = (httpd.files / "copy").read_text()
    places = [text.index(word) for word in ("flood 000009999", "WSGID0052", "still here")]
    assert places == sorted(places)


def test_what_does_not_fit_into_the_queue_is_counted(stuck):
    httpd, copy = stuck, stuck.files / "copy"
    assert httpd.get("/raw/flood?100000").status_code == 200  # 20 MB in the log
    (httpd.files / "go").touch()

    def accounted() -> int:
        dropped = sum(int(match[1]) for match in MISSING.finditer(copy.read_text()))
        return dropped + len(lines_with(httpd, "flood 0", copy))

    # and a few lines of a process that is starting
    wait_until(lambda: 0 <= accounted() - 100_000 < 10, lambda: copy.read_text()[-2000:], 30)
    assert "ErrorLog has not taken them in time" in copy.read_text()


SYSLOG = """
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

/* Instead of the C library's: appends to a file. What httpd calls if it was compiled with
 * _FORTIFY_SOURCE, and without. */
static void append(const char *format, va_list values)
{
    FILE *file = fopen(getenv("WSGID_TEST_SYSLOG"), "ae");

    if (file) {
        vfprintf(file, format, values);
        fputc('\\n', file);
        fclose(file);
    }
}

void __syslog_chk(int priority, int flag, const char *format, ...)
{
    va_list values;

    (void)priority;
    (void)flag;
    va_start(values, format);
    append(format, values);
    va_end(values);
}

void syslog(int priority, const char *format, ...)
{
    va_list values;

    (void)priority;
    va_start(values, format);
    append(format, values);
    va_end(values);
}
"""


def test_with_errorlog_syslog_httpd_logs_the_lines(serve, gcc, tmp_path):
    source, library = tmp_path / "syslog.c", tmp_path / "syslog.so"
    source.write_text(SYSLOG)
    gcc("-fPIC", "-shared", "-o", library, source)
    httpd = serve(
        "<VirtualHost *:${PORT}>\nErrorLog syslog\n" + ONE.format("") + "</VirtualHost>\n",
        environment={"LD_PRELOAD": str(library), "WSGID_TEST_SYSLOG": str(tmp_path / "syslog")},
    )
    post(httpd, b"raw in syslog\x1b\n")
    pid = httpd.get("/raw/pid").text
    post(httpd, b"\x02[wsgid:warn] [pid %s:tid 1] ours in syslog\n" % pid.encode())
    path = tmp_path / "syslog"
    wait_until(lambda: "ours in syslog" in path.read_text(), path.read_text, 10)
    lines = path.read_text().splitlines()
    (raw,) = [line for line in lines if "raw in syslog" in line]
    (ours,) = [line for line in lines if "ours in syslog" in line]
    assert "[wsgid:notice]" in raw and "[group raw] " in raw and "\x1b" not in raw
    assert "[wsgid:warn]" in ours and f"[group raw] [process {pid}] ours in syslog" in ours
    assert [line for line in lines if "WSGID0303" in line]
    httpd.log.accept_all(".")


# -------- where httpd has less than usual

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can give up what it has")


@as_root
def test_a_root_that_may_not_override_permissions_can_log_what_daemons_write(serve):
    user = machine.other_users()[0]
    identity = f'user={user.pw_name} "group=#{user.pw_gid}"'
    httpd = serve(ONE.format(identity), start=None)
    httpd._limits = ["setpriv", "--bounding-set", "-dac_override,-dac_read_search"]
    httpd.start()
    post(httpd, b"echo from a shell > /dev/stderr", "/raw/shell")
    wait_for_lines(httpd, "from a shell", 1)
    (guardian,) = httpd.guardians()
    with httpd.log.expects("WSGID0078"):
        os.kill(guardian, signal.SIGKILL)
        httpd.log.wait_for("WSGID0078")
    post(httpd, b"echo once more > /dev/stderr", "/raw/shell")
    wait_for_lines(httpd, "once more", 1)


@as_root
def test_without_proc_httpd_does_not_start_and_one_line_says_why(make_httpd):
    without_proc = ["unshare", "--mount", "sh", "-c", 'mount -t tmpfs none /proc && exec "$@"', "-"]
    if subprocess.run([*without_proc, "true"], check=False).returncode:
        pytest.skip("no mount namespaces on this machine")
    httpd = make_httpd(ONE.format(""), start=None)
    httpd._limits = without_proc
    with (
        httpd.log.expects("WSGID0123: group 'raw'.*mount /proc") as lines,
        httpd.log.allows("AH00020: Configuration Failed"),
        pytest.raises(StartFailed),
    ):
        httpd.start("foreground")
    assert len(lines) == 1


# -------- restarts


def test_after_a_rotation_new_processes_write_to_the_new_file_and_old_ones_to_the_old(serve):
    httpd = serve(ONE.format(""))
    log, old = httpd.root / "logs" / "error_log", httpd.root / "logs" / "error_log.1"
    (daemon,) = httpd.wait_for_daemons("raw", 1)
    crowd = Crowd(httpd, f"/raw/held?{httpd.files}/go")
    wait_for_lines(httpd, "held until", 1)
    log.rename(old)
    log.touch()
    os.kill(httpd.pid, signal.SIGUSR1)
    httpd.wait_for_daemons("raw", 2)
    (httpd.files / "go").touch()
    assert [answer.status_code for answer in crowd.join()] == [200]
    wait_until(lambda: not processes.find(daemon), "the old process to leave", 10)
    post(httpd, b"first new\n")
    wait_for_lines(httpd, "released", 1, old)
    wait_for_lines(httpd, "first new", 1)


@pytest.mark.parametrize("how", ["foreground", "debug"])
def test_output_is_logged_by_an_httpd_in_the_foreground(serve, how):
    httpd = serve(ONE.format(""), start=how)
    post(httpd, b"from the foreground\n")
    wait_for_lines(httpd, "from the foreground", 1)
