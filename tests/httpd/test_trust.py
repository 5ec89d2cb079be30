"""Groups that are less apart than they could be are named at the start and by `pywsgid check`, and
so is code that others can change; what is fine is not.
"""

from __future__ import annotations

import os

import pytest
from httpdenv import machine

from pywsgid.cli import main

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root can have several users")

ALIAS = "WSGIScriptAlias /{0} ${{FILES}}/site.wsgi process-name={0}\n"
SCRIPT = "def application(environ, start_response): pass\n"
SHARED, OPEN, WRITABLE = "WSGID0030", "WSGID0031", "WSGID0448"


@pytest.fixture
def users():
    """Two users of groups; their identities for a configuration."""
    return machine.other_users()


def own(user):
    return f'user={user.pw_name} "group=#{user.pw_gid}"'


@pytest.fixture
def trying(serve, capsys):
    """Returns what httpd's log and what `pywsgid check` say about a configuration of groups."""

    def try_(groups: dict[str, str], modules=()):
        lines = [f"WSGIDaemonProcess {name} {options}\n" for name, options in groups.items()]
        text = "".join(lines) + "".join(map(ALIAS.format, groups))
        httpd = serve(text, start=None, files={"site.wsgi": SCRIPT}, modules=modules)
        return httpd, lambda: checked(httpd, capsys)

    return try_


def checked(httpd, capsys) -> list[str]:
    capsys.readouterr()
    main.main(["check", "--no-import", "-D", "ROOT_RUNS", str(httpd.root / "conf" / "httpd.conf")])
    return capsys.readouterr().out.splitlines()[:-1]


def logged(httpd) -> list[str]:
    httpd.start()
    return [record.text for code in (SHARED, OPEN) for record in httpd.log.find(code)]


# -------- users and groups


def test_groups_of_httpds_user_beside_others_are_named_with_the_fix(trying, users):
    httpd, check = trying({"a": "", "b": own(users[0]), "c": ""})
    (line,) = check()
    assert f"note: {SHARED}: daemon groups 'a', 'c' run as httpd's User" in line
    assert line.endswith("give each group a user of its own (user=NAME group=NAME)")
    (line,) = logged(httpd)
    assert line.startswith(f"{SHARED}: daemon groups 'a', 'c' run as httpd's User")
    assert "give each group a user of its own (user=NAME group=NAME)" in line


def test_a_group_of_httpds_user_beside_cgi_programs_is_named(trying):
    httpd, check = trying({"a": ""}, modules=["cgid"])
    assert [SHARED in line for line in check()] == [True]
    assert [line.split(":")[0] for line in logged(httpd)] == [SHARED]


def test_user_without_group_is_named_with_what_it_can_read_and_the_fix(trying, users):
    httpd, check = trying({"a": f"user={users[0].pw_name}", "b": f"user={users[1].pw_name}"})
    (line,) = check()
    assert f"note: {OPEN}: daemon groups 'a', 'b' run with httpd's Group" in line
    assert "can read every file that is open to that group" in line
    assert line.endswith("add the user's own group (group=NAME)")
    (line,) = logged(httpd)
    assert line.startswith(f"{OPEN}: daemon groups 'a', 'b' run with httpd's Group")
    assert "can read every file that is open to that group" in line


GOOD = {
    "one group as httpd's user": lambda users: {"a": ""},
    "users and groups": lambda users: {"a": own(users[0]), "b": own(users[1])},
    "httpd's group on purpose": lambda users: {
        "a": f'user={users[0].pw_name} "group=#{machine.group_of(machine.web_user())}"'
    },
    "a user who has httpd's group anyhow": lambda users: {"a": f"user={machine.web_user()}"},
}


@pytest.mark.parametrize("groups", GOOD)
def test_nothing_is_said_of(trying, users, groups):
    httpd, check = trying(GOOD[groups](users))
    assert (check(), logged(httpd)) == ([], [])


# -------- code


@pytest.fixture
def two(trying, users):
    """An httpd with the groups a and b, `pywsgid check`, and the directory of their scripts."""
    httpd, check = trying({"a": own(users[0]), "b": own(users[1])})
    return httpd.files, check, users


def give(path, owner: int = 0, group: int = 0, mode: int = 0o755):
    os.chown(path, owner, group)
    path.chmod(mode)


def test_code_that_everybody_can_change_is_named(two):
    files, check, _ = two
    give(files, mode=0o777)
    assert [f"{WRITABLE}: everybody can change {files}," in line for line in check()] == [True] * 2
    give(files)
    give(files / "site.wsgi", mode=0o666)
    assert all(f"everybody can change {files}/site.wsgi," in line for line in check())


def test_code_of_httpds_user_or_of_another_groups_user_is_named(two):
    files, check, users = two
    web = machine.web_user()
    give(files / "site.wsgi", owner=machine.user_id(web))
    found = check()
    assert len(found) == 2
    assert all(f"user {web} can change {files}/site.wsgi," in line for line in found)
    give(files / "site.wsgi", owner=users[0].pw_uid)  # its own group is not reported
    (line,) = check()
    assert f"user {users[0].pw_name} can change {files}/site.wsgi, and" in line
    assert "what daemon group 'b' runs" in line


def test_code_that_a_group_of_httpds_user_may_write_is_named(two):
    files, check, _ = two
    web = machine.web_user()
    give(files / "site.wsgi", group=machine.group_of(web), mode=0o664)
    assert [f"user {web} can change" in line for line in check()] == [True, True]


def test_code_of_the_user_who_deploys_is_fine_even_if_that_users_group_may_write(two):
    files, check, _ = two
    for path in (files, files / "site.wsgi"):
        give(path, owner=54321, group=54321, mode=0o775)
    assert check() == []
