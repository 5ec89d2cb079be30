"""Users and groups of the system: a name service may be slow, so it is asked once for each."""

from __future__ import annotations

import collections
import os
import signal

import pytest
from httpdenv import machine, wait_until

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root gives processes other users")

# Appends each question, and calls the C library's.
COUNTING = """
#include <dlfcn.h>
#include <grp.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>

static void note(const char *what, const char *name, long id)
{
    FILE *file = fopen(getenv("WSGID_TEST_ASKED"), "ae");

    if (file) {
        if (name) {
            fprintf(file, "%s %s\\n", what, name);
        }
        else {
            fprintf(file, "%s #%ld\\n", what, id);
        }
        fclose(file);
    }
}

#define QUESTION(result, function, what, name, id, parameters, arguments)      \\
    result function parameters                                                 \\
    {                                                                          \\
        result(*real) parameters = (result(*) parameters)dlsym(RTLD_NEXT, #function); \\
        note(what, name, (long)(id));                                          \\
        return real arguments;                                                 \\
    }

QUESTION(struct passwd *, getpwnam, "user", n, 0, (const char *n), (n))
QUESTION(struct passwd *, getpwuid, "user", NULL, i, (uid_t i), (i))
QUESTION(struct group *, getgrnam, "group", n, 0, (const char *n), (n))
QUESTION(struct group *, getgrgid, "group", NULL, i, (gid_t i), (i))
QUESTION(int, getpwnam_r, "user", n, 0,
         (const char *n, struct passwd *e, char *b, size_t s, struct passwd **r), (n, e, b, s, r))
QUESTION(int, getpwuid_r, "user", NULL, i,
         (uid_t i, struct passwd *e, char *b, size_t s, struct passwd **r), (i, e, b, s, r))
QUESTION(int, getgrnam_r, "group", n, 0,
         (const char *n, struct group *e, char *b, size_t s, struct group **r), (n, e, b, s, r))
QUESTION(int, getgrgid_r, "group", NULL, i,
         (gid_t i, struct group *e, char *b, size_t s, struct group **r), (i, e, b, s, r))
QUESTION(int, getgrouplist, "groups of", u, 0, (const char *u, gid_t g, gid_t *l, int *n),
         (u, g, l, n))
"""
GROUPS = 8
# What httpd itself asks about its User and Group at each restart, at most, for each of them.
OF_HTTPD = 4


@as_root
def test_a_user_of_many_groups_is_looked_up_once(serve, gcc, tmp_path):
    source, library = tmp_path / "counting.c", tmp_path / "counting.so"
    source.write_text(COUNTING)
    gcc("-fPIC", "-shared", "-o", library, source)
    asked = tmp_path / "asked"
    user, other = machine.other_users()[:2]
    options = (
        f"user={user.pw_name}",
        f"user={user.pw_name} group={user.pw_gid and '#' + str(user.pw_gid)}",
        f"user={other.pw_name} supplementary-groups=#{user.pw_gid},#{other.pw_gid}",
        "",
    )
    httpd = serve(
        "".join(
            f"WSGIDaemonProcess g{kind}{number} {words}\n"
            for kind, words in enumerate(options)
            for number in range(GROUPS)
        ),
        environment={"LD_PRELOAD": str(library), "WSGID_TEST_ASKED": str(asked)},
    )
    httpd.wait_for_daemons(None, GROUPS * len(options), timeout=60)
    asked.write_text("")
    os.kill(httpd.pid, signal.SIGUSR1)
    wait_until(lambda: f"groups of {user.pw_name}\n" in asked.read_text(), "a graceful restart")
    httpd.wait_for_daemons(None, GROUPS * len(options), timeout=60)
    counts = collections.Counter(asked.read_text().splitlines())
    ours = {line: count for line, count in counts.items() if user.pw_name in line}
    # one for each group= that it has been given
    assert ours == {f"user {user.pw_name}": 1, f"groups of {user.pw_name}": 2}, counts
    assert counts[f"user {other.pw_name}"] == 1, counts
    assert max(counts.values()) <= OF_HTTPD, counts
