"""Whether a user can reach a file, and what is in the way if not."""

from __future__ import annotations

import os
import stat

from pywsgid.cli import file_access, users


def test_the_first_closed_directory_is_named(tmp_path):
    if os.geteuid() == 0:
        # pytest's directories are its user's alone.
        assert file_access.blocked_at(str(tmp_path / "x"), users.web_identity()) in [
            str(p) for p in tmp_path.parents
        ]
        return
    closed = tmp_path / "closed"
    (closed / "deep").mkdir(parents=True)
    closed.chmod(0)
    try:
        assert file_access.blocked_at(str(closed / "deep" / "x"), None) == str(closed)
    finally:
        closed.chmod(stat.S_IRWXU)


def test_no_obstacle_is_reported_for_a_file_that_everybody_can_read():
    assert file_access.blocked_at("/etc/passwd", users.web_identity()) is None


def test_the_file_itself_is_named_if_the_way_is_open():
    assert file_access.blocked_at("/etc/passwd", users.web_identity(), os.X_OK) == "/etc/passwd"
