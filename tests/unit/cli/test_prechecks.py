"""What `pywsgid serve` and `setup` check before they write anything. Each problem is reported in
one line.
"""

from __future__ import annotations

import errno
import os
import socket

import pytest
from clienv import failure, planned
from httpdenv import machine

from pywsgid.cli import messages
from pywsgid.cli.serve import application_files, prechecks, server_root, target


def test_a_missing_module_is_reported_with_the_places_that_were_searched():
    place = machine.temporary_directory("wsgid-nothing-")  # every user can enter it
    try:
        where = ("--working-directory", str(place))
        line = failure("serve", "--port", "0", *where, "no_such_module:app")
    finally:
        place.rmdir()
    assert (
        f"WSGID0403: there is no module no_such_module in {place}" in line
        and "--python-home" in line
    )


def test_a_port_that_is_in_use_is_named(script):
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        line = failure("serve", "--port", str(port), str(script))
    assert f"WSGID0405: cannot listen on 127.0.0.1:{port}" in line and "PORT=" in line


def test_an_address_of_another_machine_is_refused(script):
    line = failure("serve", "--host", "192.0.2.1", str(script))
    assert (
        "WSGID0405: cannot listen on 192.0.2.1:8000" in line
        and "name an address of this machine" in line
    )


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        (["--python", "/a", "--python-home", "/b"], "--python and --python-home both"),
        (["--https-only"], "--https-only has no effect without --https-port"),
        (
            ["--ssl-certificate-file", "/etc/passwd"],
            "no effect without --https-port: add --https-port",
        ),
        (["--https-port", "0"], "--https-port needs --ssl-certificate-file"),
        (["--document-root", "/nowhere"], "--document-root: /nowhere does not exist"),
        (["--url-alias", "/x", "/nowhere"], "--url-alias: /nowhere does not exist"),
        (["--include-file", "/nowhere"], "--include-file: /nowhere does not exist"),
        (["--reload", "--host", "0.0.0.0"], "other machines can reach 0.0.0.0"),
        (["--reload", "--host", "::"], "other machines can reach ::"),
        (["--group", "no_such_group"], "there is no group no_such_group"),
        (["--user", "no_such_user"], "there is no user no_such_user"),
        (["--user", "root"], "must not run as root"),
    ],
)
def test_options_that_cannot_be_used_are_refused_in_one_line(words, problem, script):
    line = failure("serve", "--port", "0", *words, str(script))
    assert "WSGID0410: " in line and problem in line


def test_port_0_is_replaced_by_a_free_one():
    assert prechecks.check_port("127.0.0.1", 0) > 0


def test_a_script_below_a_closed_directory_is_reported_with_that_directory(tmp_path, monkeypatch):
    closed = tmp_path / "closed"
    (closed / "deep").mkdir(parents=True)
    path = closed / "deep" / "site.wsgi"
    path.touch()
    # root can enter every directory, so the result of the check is given here. test_file_access.py
    # tests the check itself.
    monkeypatch.setattr(prechecks, "blocked_at", lambda *_: str(closed))
    goal = target.Target(str(path), str(path.parent), script=str(path))
    with pytest.raises(
        messages.Failure, match=rf"WSGID0406: .* cannot enter {closed}, .*chmod o\+x {closed}"
    ):
        prechecks.check_way(planned(target=goal))


def test_a_script_that_was_replaced_after_its_check_is_not_copied_to_where_all_can_read_it(
    tmp_path, monkeypatch
):
    """root makes the copy, and the script may now be a link to a file that only root can read."""
    (tmp_path / "application").mkdir()
    (tmp_path / "secret").write_text("root's")
    script = tmp_path / "site.wsgi"
    script.symlink_to("secret")
    monkeypatch.setattr(application_files, "blocked_at", lambda path, *_: path)
    goal = target.Target(str(script), str(tmp_path), script=str(script))
    application_files.with_reachable_script(
        planned(target=goal, script=str(script), root=str(tmp_path))
    )
    assert not list((tmp_path / "application").iterdir())


def test_setup_in_a_directory_that_cannot_be_read_is_refused(monkeypatch, tmp_path):
    """root can read every directory, so another user's error is raised here."""

    def refuse(path):
        raise PermissionError(errno.EACCES, "Permission denied", path)

    monkeypatch.setattr(os, "listdir", refuse)
    with pytest.raises(
        messages.Failure, match="WSGID0411.*cannot be written .Permission denied.: name a dir"
    ):
        server_root.check_unused(str(tmp_path))
