"""env-file= is read as root in a place that an application may control: it never gets at what only
root can read, and never delays a start.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from httpdenv import machine

from pywsgid.cli import main

CONFIGURATION = """
WSGIDaemonProcess app user={user.pw_name} "group=#{user.pw_gid}" env-file={path}
WSGIScriptAlias / ${{APPS}}/whoami.wsgi process-name=app
"""
SECRET = "SECRET=of-root-only\n"

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root has what others cannot read")


@pytest.fixture
def user():
    return machine.other_users()[0]


@pytest.fixture
def place(tmp_path, user):
    """A directory of the application's user, beside a file that only root can read."""
    place = machine.temporary_directory("wsgid-env-")
    (place / "secret").write_text(SECRET)
    (place / "secret").chmod(0o600)
    theirs = place / "theirs"
    theirs.mkdir()
    os.chown(theirs, user.pw_uid, user.pw_gid)
    yield place
    for path in sorted(place.rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() and not path.is_symlink() else path.unlink()
    place.rmdir()


def link(path: Path, target: Path | str, owner: int) -> Path:
    path.symlink_to(target)
    os.chown(path, owner, owner, follow_symlinks=False)
    return path


def final_link(place, owner):
    return link(place / "theirs" / "env", place / "secret", owner)


def relative_link(place, owner):
    return link(place / "theirs" / "env", "../secret", owner)


def link_to_the_directory(place, owner):
    return link(place / "theirs" / "here", place, owner) / "secret"


def link_behind_a_link_of_roots(place, owner):
    final_link(place, owner)
    return link(place / "env", "theirs/env", 0)


def loop(place, owner):
    return link(place / "theirs" / "env", "env", owner)


LINKS = (final_link, relative_link, link_to_the_directory, link_behind_a_link_of_roots, loop)


def refused(serve, user, path, words):
    httpd = serve(CONFIGURATION.format(user=user, path=path), start=None)
    httpd.start()
    httpd.log.wait_for(f"WSGID0081: group 'app': .*{words}")
    answer = httpd.get("/")
    assert answer.status_code in (500, 503)
    assert "of-root-only" not in answer.text + httpd.log_text(limit=1 << 20)


@pytest.mark.parametrize("make", LINKS, ids=lambda make: make.__name__)
def test_no_link_of_the_applications_user_leads_to_what_only_root_reads(serve, user, place, make):
    words = "a symbolic link on the way does not belong to root.*chown -h root"
    refused(serve, user, make(place, user.pw_uid), words)


def fifo(path):
    os.mkfifo(path)


def device(path):
    os.mknod(path, 0o20600, os.makedev(1, 8))  # /dev/random: it has no end


@pytest.mark.parametrize("make", [fifo, device, Path.mkdir], ids=lambda make: make.__name__)
def test_only_a_regular_file_is_opened(serve, user, place, make):
    path = place / "theirs" / "env"
    make(path)
    refused(serve, user, path, "it is not a regular file")


@pytest.mark.parametrize("make", LINKS[:3], ids=lambda make: make.__name__)
def test_links_of_roots_lead_to_a_file_that_only_root_reads(serve, user, place, make):
    httpd = serve(CONFIGURATION.format(user=user, path=make(place, 0)))
    assert httpd.get("/").json()["environment"]["SECRET"] == "of-root-only"


@pytest.mark.parametrize("make", [final_link, fifo], ids=lambda make: make.__name__)
def test_the_check_reads_no_such_file_either_and_says_so(serve, user, place, make, capsys):
    path = place / "theirs" / "env"
    make(place, user.pw_uid) if make is final_link else make(path)
    script = "import os\nassert 'SECRET' not in os.environ\ndef application(e, s): pass\n"
    text = CONFIGURATION.format(user=user, path=path).replace("APPS}/whoami", "FILES}/site")
    httpd = serve(text, start=None, files={"site.wsgi": script})
    main.main(["check", "-D", "ROOT_RUNS", str(httpd.root / "conf" / "httpd.conf")])
    output = capsys.readouterr().out
    assert "WSGID0081: daemon group 'app': env-file=" in output
    assert "WSGID0332" not in output
