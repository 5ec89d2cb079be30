"""Nobody but httpd reaches the daemons' sockets, and their directory comes and goes with httpd."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import socket
from pathlib import Path

import pytest
from httpdenv import Crowd, StartFailed, machine, processes, wait_until

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can hide a socket from its user")
children_are_hidden = pytest.mark.skipif(
    Path("/proc/sys/fs/suid_dumpable").read_text().strip() == "1",
    reason="fs.suid_dumpable=1 lets others of the same user read httpd's children",
)

USER = f"user={machine.other_users()[0].pw_name}" if os.geteuid() == 0 else ""
CONFIGURATION = f"""
WSGIDaemonProcess app {USER} processes=2
WSGIScriptAlias /app ${{APPS}}/whoami.wsgi process-name=app
WSGIScriptAlias /application ${{APPS}}/reach.wsgi
"""
CGI = """
ScriptAlias /cgi ${APPS}/reach.py
<IfModule cgid_module>
    ScriptSock cgisock
</IfModule>
"""
# With a directory of its own, because httpd's PidFile is in its runtime directory.
OWN_DIRECTORY = "WSGISocketPrefix ${FILES}/sockets/x\n" + CONFIGURATION


def request_sockets(directory: Path) -> list[Path]:
    """Not the control sockets, not those between guardians, and not that of mod_cgid."""
    return sorted(
        path
        for path in directory.rglob("*")
        if path.is_socket()
        and path.suffix not in (".ctl", ".door", ".ask")
        and "cgisock" not in path.name
    )


def private_directories(directory: Path) -> list[Path]:
    return sorted(path for path in directory.glob("*.*") if path.is_dir())


@pytest.fixture(scope="module", params=machine.MPMS)
def httpd(request, make_httpd):
    cgi = "cgi" if request.param == "prefork" else "cgid"
    return make_httpd(CONFIGURATION + CGI, mpm=request.param, modules=[cgi])


def test_requests_are_served_after_each_kind_of_restart(httpd):
    assert httpd.get("/app").status_code == 200
    user = pwd.getpwuid(os.stat(f"/proc/{httpd.daemons('app')[0]}").st_uid)
    for restart in (httpd.graceful, httpd.restart, httpd.graceful):
        restart()
        answers = [answer.json() for answer in Crowd(httpd, "/app", 8).join()]
        assert [answer["uids"] for answer in answers] == [[user.pw_uid] * 3] * 8
    assert len(request_sockets(httpd.root / "run")) == 3


@as_root
@children_are_hidden
@pytest.mark.parametrize("place", ["cgi", "application"])
def test_a_program_of_httpds_user_cannot_connect_to_a_daemon(httpd, place):
    """Who can connect can have any script run as the group's user. The paths are told to it,
    although it could not find them.
    """
    httpd.graceful()
    sockets = [str(path) for path in request_sockets(httpd.root / "run")]
    assert len(sockets) == 3
    seen = httpd.get(f"/{place}?{'&'.join(sockets)}").json()
    assert seen["uid"] == pwd.getpwnam(machine.web_user()).pw_uid
    assert seen["paths"] == dict.fromkeys(sockets, "PermissionError")
    assert seen["ways"] == []
    assert httpd.get("/app").status_code == 200


@as_root
@pytest.mark.parametrize("place", ["cgi", "application"])
def test_a_program_of_httpds_user_cannot_control_a_group_of_another_user(httpd, place):
    controls = sorted((httpd.root / "run").glob("*.ctl"))
    of_group = [str(path) for path in controls if path.owner() == machine.other_users()[0].pw_name]
    assert len(of_group) == 2
    seen = httpd.get(f"/{place}?{'&'.join(of_group)}").json()
    assert seen["paths"] == dict.fromkeys(of_group, "PermissionError")


@as_root
@children_are_hidden
def test_only_root_enters_the_directory(httpd):
    (outer,) = private_directories(httpd.root / "run")
    assert outer.name == f"wsgid.{httpd.pid}"
    assert (outer.stat().st_uid, outer.stat().st_mode & 0o777) == (0, 0o700)
    assert (outer / "s").stat().st_mode & 0o777 == 0o711
    assert not httpd.log.find("WSGID0101")


@as_root
def test_the_control_sockets_stay_where_administrators_look_for_them(httpd):
    pattern = f"wsgid.{httpd.pid}.*.ctl"
    wait_until(lambda: len(list((httpd.root / "run").glob(pattern))) == 3, "three sockets")


@as_root
@pytest.mark.parametrize("how", ["foreground", "debug"])
def test_it_works_in_the_foreground_and_as_one_process(make_httpd, how):
    httpd = make_httpd(CONFIGURATION, start=how)
    assert len(private_directories(httpd.root / "run")) == 1
    assert [answer.status_code for answer in Crowd(httpd, "/app", 4).join()] == [200] * 4
    httpd.stop()


@as_root
def test_the_directory_of_the_sockets_need_not_be_open_to_httpds_user(make_httpd):
    httpd = make_httpd(OWN_DIRECTORY, start=None)
    (httpd.files / "sockets").mkdir(mode=0o700)
    httpd.start()
    assert httpd.get("/app").status_code == 200
    httpd.stop()
    assert list((httpd.files / "sockets").iterdir()) == []


# -------- the directory disappears


@as_root
@pytest.mark.parametrize("what", ["private directory", "whole directory"])
def test_a_removed_directory_is_one_line_a_request_and_a_graceful_heals_it(make_httpd, what):
    httpd = make_httpd(OWN_DIRECTORY, start=None)
    place = httpd.files / "sockets"
    place.mkdir()
    httpd.start()
    (outer,) = private_directories(place)
    with httpd.log.allows("WSGID006[03]"):
        shutil.rmtree(outer if what == "private directory" else place)
        with httpd.log.expects("WSGID0179.*graceful restart"):
            assert httpd.get("/app").status_code == 503
        httpd.graceful()
        assert httpd.get("/app").status_code == 200
    assert private_directories(place) == [outer]
    assert (outer.stat().st_mode & 0o777, place.stat().st_mode & 0o777) == (0o700, 0o755)
    httpd.stop()
    assert list(place.iterdir()) == []


@as_root
def test_another_prefix_is_used_after_a_graceful_and_the_first_one_again(make_httpd):
    httpd = make_httpd(OWN_DIRECTORY, start=None)
    for name in ("sockets", "others"):
        (httpd.files / name).mkdir()
    httpd.start()
    other = OWN_DIRECTORY.replace("/sockets/", "/others/")
    for text in (other, OWN_DIRECTORY, other):
        httpd.configure(text)
        httpd.graceful()
        assert httpd.get("/app").status_code == 200
    httpd.stop()
    for name in ("sockets", "others"):
        assert list((httpd.files / name).iterdir()) == []


# -------- what a killed httpd leaves


def kill_everything(httpd) -> int:
    """Kills httpd with all that it has started, so that nothing cleans up; its pid."""
    parent = httpd.pid
    os.kill(parent, signal.SIGSTOP)  # it forks nothing more
    family = [*processes.descendants(parent), *processes.using(httpd.root)]
    for pid in {process.pid for process in family} | {parent}:
        os.kill(pid, signal.SIGKILL)
    wait_until(lambda: not processes.using(httpd.root), "everything to end")
    (httpd.root / "run" / "httpd.pid").unlink()
    return parent


def test_the_next_start_removes_what_a_killed_httpd_left(make_httpd):
    httpd = make_httpd(CONFIGURATION)
    with httpd.log.allows(".*"):
        killed = kill_everything(httpd)
    run = httpd.root / "run"
    assert len(list(run.glob(f"wsgid.{killed}.*.ctl"))) == 3
    assert len(request_sockets(run)) == 3
    httpd.start()
    assert httpd.log.find("WSGID0100")
    assert list(run.glob(f"wsgid.{killed}*")) == []
    assert httpd.get("/app").status_code == 200


@as_root
def test_the_next_start_leaves_alone_what_another_httpd_uses(make_httpd):
    """Both use one prefix. The directory of the third is empty: it may have been created just
    now.
    """
    first = make_httpd(CONFIGURATION)
    young = Path(f"{first.root}/run/wsgid.{os.getpid()}")
    young.mkdir()
    prefix = f"WSGISocketPrefix {first.root}/run/wsgid\n"
    second = make_httpd(prefix + CONFIGURATION)
    for httpd in (first, second):
        assert httpd.get("/app").status_code == 200
    second.stop()
    assert first.get("/application?/nowhere").status_code == 200
    young.rmdir()


@as_root
def test_what_is_in_the_place_of_the_directory_and_is_not_ours_stops_the_start(make_httpd):
    """httpd's pid is not known before its start, so its parent meets the file at a graceful."""
    httpd = make_httpd(OWN_DIRECTORY, start=None)
    (httpd.files / "sockets").mkdir()
    httpd.start()
    other = httpd.files / "others"
    other.mkdir()
    (other / f"x.{httpd.pid}").write_text("")
    httpd.configure(OWN_DIRECTORY.replace("/sockets/", "/others/"))
    with httpd.log.expects(f"WSGID0061.*{other}/x.{httpd.pid}.*File exists", "AH00020"):
        os.kill(httpd.pid, signal.SIGUSR1)
        wait_until(lambda: not processes.using(httpd.root), "httpd to end")
    (httpd.root / "run" / "httpd.pid").unlink(missing_ok=True)


# -------- what cannot be protected


def test_without_root_requests_are_served_and_one_line_says_what_is_not_protected(make_httpd):
    account = machine.web_user() if os.geteuid() == 0 else None
    httpd = make_httpd("WSGIDaemonProcess app\n" + CONFIGURATION.split("\n", 2)[2], user=account)
    assert httpd.get("/app").status_code == 200
    httpd.graceful()
    assert httpd.get("/app").status_code == 200
    assert len(httpd.log.find("WSGID0101.*not started by root")) == 1
    assert all(path.parent.name == "run" for path in request_sockets(httpd.root))


@as_root
@children_are_hidden
def test_with_a_core_dump_directory_one_line_says_what_is_not_protected(make_httpd):
    """Then such a program finds its way through the descriptors of httpd's children."""
    httpd = make_httpd(CONFIGURATION + "CoreDumpDirectory ${ROOT}/logs\n")
    assert httpd.get("/app").status_code == 200
    (path, *_) = request_sockets(httpd.root / "run")
    seen = httpd.get(f"/application?{path}").json()
    assert seen["paths"] == {str(path): "PermissionError"}
    assert seen["ways"]
    assert len(httpd.log.find("WSGID0101.*CoreDumpDirectory")) == 1
    assert len(private_directories(httpd.root / "run")) == 1


@as_root
def test_without_proc_after_chroot_one_line_says_what_is_not_protected(make_httpd):
    """The paths are made to mean the same before and after chroot. prefork, because threads would
    need libraries inside.
    """
    httpd = make_httpd(
        CONFIGURATION.replace("${APPS}/whoami.wsgi", "${FILES}/app.wsgi") + 'ChrootDir "${ROOT}"\n',
        mpm="prefork",
        start=None,
        files={
            "app.wsgi": "import wsgiref.simple_server\napplication = wsgiref.simple_server.demo_app\n"
        },
    )
    inside = httpd.root / str(httpd.root).removeprefix("/")
    inside.parent.mkdir(parents=True)
    inside.symlink_to("/")
    httpd.start()
    assert httpd.get("/app").status_code == 200
    assert len(httpd.log.find(f"WSGID0101.*ChrootDir {httpd.root}")) == 1
    shutil.rmtree(httpd.root / inside.relative_to(httpd.root).parts[0])


@as_root
def test_a_child_of_httpd_that_runs_as_another_user_is_told_about_socket_user(make_httpd):
    """As with AssignUserID of mpm-itk."""
    other = machine.other_users()[0].pw_name
    httpd = make_httpd(
        f"WSGIDaemonProcess app socket-user={other}\n"
        "WSGIScriptAlias /app ${APPS}/whoami.wsgi process-name=app"
    )
    with httpd.log.expects("WSGID0173: .*another user.*AssignUserID of mpm-itk.*socket-user="):
        assert httpd.get("/app").status_code == 502


# -------- a directory that is missing


def test_the_start_creates_the_directory_of_the_sockets_if_only_that_is_missing(make_httpd):
    """As with httpd's own runtime directory, which only its init script creates."""
    httpd = make_httpd("WSGISocketPrefix ${FILES}/missing/x\n" + CONFIGURATION, start=None)
    assert httpd.configtest()[0] == 0
    made = httpd.files / "missing"
    assert not made.exists()
    httpd.start()
    assert httpd.get("/app").status_code == 200
    assert (made.stat().st_uid, made.stat().st_mode & 0o7777) == (os.geteuid(), 0o755)


def test_the_start_creates_one_level_only(make_httpd):
    httpd = make_httpd("WSGISocketPrefix ${FILES}/far/away/x\n" + CONFIGURATION, start=None)
    code, output = httpd.configtest()
    assert code != 0 and "WSGID0061" in output
    with pytest.raises(StartFailed, match="far/away: No such file or directory"):
        httpd.start()
    assert not (httpd.files / "far").exists()


def test_sockets_may_be_in_a_sticky_directory(make_httpd):
    httpd = make_httpd("WSGISocketPrefix ${FILES}/sticky/x\n" + CONFIGURATION, start=None)
    (httpd.files / "sticky").mkdir()
    (httpd.files / "sticky").chmod(0o1777)
    httpd.start()
    assert httpd.get("/app").status_code == 200


# -------- directories above that of the sockets


def test_a_directory_above_that_everybody_can_write_to_stops_the_start(make_httpd):
    """Whoever can rename the directory of the sockets can put another one in its place."""
    httpd = make_httpd("WSGISocketPrefix ${FILES}/open/ours/x\n" + CONFIGURATION, start=None)
    (httpd.files / "open" / "ours").mkdir(parents=True)
    (httpd.files / "open").chmod(0o777)
    code, output = httpd.configtest()
    assert code != 0
    assert "WSGID0061" in output and f"every user can write to {httpd.files}/open" in output
    (httpd.files / "open").chmod(0o1777)  # sticky: only its owner can rename "ours"
    assert httpd.configtest()[0] == 0


@as_root
def test_who_may_write_above_the_sockets_gets_no_request(make_httpd):
    """Root has let another group write to the directory of the sockets."""
    httpd = make_httpd(OWN_DIRECTORY, start=None)
    place, user = httpd.files / "sockets", machine.other_users()[1]
    place.mkdir()
    os.chown(place, 0, user.pw_gid)
    place.chmod(0o775)
    httpd.start()
    (outer,) = private_directories(place)
    names = [path.name for path in request_sockets(outer)]
    outer.rename(place / "moved")
    (outer / "s").mkdir(parents=True)
    for path in (outer, outer / "s"):
        os.chown(path, user.pw_uid, user.pw_gid)
        path.chmod(0o777)
    theirs = [socket.socket(socket.AF_UNIX) for _ in names]
    for name, one in zip(names, theirs):
        one.bind(str(outer / "s" / name))
        os.chmod(outer / "s" / name, 0o777)
        one.listen()
        one.setblocking(False)
    answers = [answer.status_code for answer in Crowd(httpd, "/app", 8).join()]
    assert set(answers) <= {200, 503}
    for one in theirs:
        with pytest.raises(BlockingIOError):
            one.accept()
        one.close()
    httpd.log.accept_all("WSGID0062|WSGID0063|WSGID0179|WSGID0165|WSGID0163")
    shutil.rmtree(place / "moved")
    httpd.stop()
