"""What `apachectl configtest` prints: one line for each error, one notice for each setting that has
no effect.
"""

import os
import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
AS_ROOT = os.geteuid() == 0
FOREIGN_LINE = re.compile(r'^FOREIGN_DIRECTIVE\("([<\w]+)"', re.MULTILINE)
FOREIGN_DIRECTIVES = FOREIGN_LINE.findall(
    (ROOT / "apxs/config/directives.def").read_text(encoding="utf-8")
)


@pytest.fixture(scope="module")
def httpd(make_httpd):
    """An httpd that is never started."""
    return make_httpd("", start=None)


@pytest.fixture
def configtest(httpd):
    """configtest(text) -> (whether it passed, our lines without httpd's prefix, the whole
    output)
    """

    def run(text):
        httpd.configure(text)
        code, output = httpd.configtest()
        ours = [line[line.index("WSGID") :] for line in output.splitlines() if "WSGID0" in line]
        return code == 0, ours, output

    return run


def group(options):
    return f"WSGIDaemonProcess one {options}"


REFUSED = {
    "unknown option, near": (group("thread=5"), "WSGID0002: unknown option thread=; did you mean threads=?"),
    "unknown option, near one of mod_wsgi's": (
        group("maximum-request=5"), "WSGID0002: unknown option maximum-request=; did you mean maximum-requests=?"),
    "unknown option, far": (
        group("colour=red"), "WSGID0002: unknown option colour=; docs/reference/options.md lists all options"),
    "unknown option, very long": (group("x" * 500 + "=1"), "WSGID0002: unknown option xxx"),
    "integer, too small": (group("processes=0"), "WSGID0003: processes=0: not a whole number from 1 to 1000"),
    "integer, not one": (group("threads=5x"), "WSGID0003: threads=5x: not a whole number from 0 to 4096"),
    "integer, with a sign": (group("threads=+5"), "WSGID0003: threads=+5: not a whole number from 0 to 4096"),
    "integer, beyond 64 bits": (group("threads=99999999999999999999"), "WSGID0003: threads=99999999999999999999: not"),
    "integer, empty": (group("threads="), "WSGID0003: threads=: not a whole number from 0 to 4096"),
    "priority": (group("cpu-priority=-21"), "WSGID0003: cpu-priority=-21: not a whole number from -20 to 19"),
    "seconds, negative": (group("queue-timeout=-1"), "WSGID0003: queue-timeout=-1: not a number of seconds from 0 to"),
    "seconds, too precise": (group("queue-timeout=1.1234567"), "WSGID0003: queue-timeout=1.1234567: not a number of"),
    "seconds, with a unit": (group("queue-timeout=5s"), "WSGID0003: queue-timeout=5s: not a number of seconds"),
    "size, unknown suffix": (group("memory-limit=1T"), "WSGID0003: memory-limit=1T: not a number of bytes (K, M or G"),
    "size of a directive": (
        "WSGIResponseBufferTotal 1K", "WSGID0003: WSGIResponseBufferTotal=1K: not a number of bytes (K, M or G may"),
    "size of a directive, negative": (
        "WSGIResponseBufferTotal -1", "WSGID0003: WSGIResponseBufferTotal=-1: not a number of bytes"),
    "octal": (group("umask=089"), "WSGID0003: umask=089: not an octal number from 0 to 777"),
    "octal, too large": (group("umask=1000"), "WSGID0003: umask=1000: not an octal number from 0 to 777"),
    "path, empty": (group("home="), "WSGID0003: home=: not a path (absolute, or relative to ServerRoot)"),
    "paths of nothing": (group("python-path=:"), "WSGID0003: python-path=:: not a list of directories, separated by colon"),
    "choice, none": (group("reload=maybe"), "WSGID0003: reload=maybe: not one of hot|touch|off"),
    "text, too long": (group("lang=" + "x" * 129), "WSGID0003: lang=xxxx: not a text of 0 to 128 bytes without contro"),
    "variable without a value": (group("env=PATH"), "WSGID0003: env=PATH: not of the form NAME=VALUE"),
    "variable with a bad name": (group("env=1A=b"), "WSGID0003: env=1A=b: not of the form NAME=VALUE"),
    "variable given twice": (group("env=A=1 env=A=2"), "WSGID0003: env=A=2: this variable is given twice; keep one"),
    "unknown user": (
        group("user=no-such"), "WSGID0005: user=no-such: there is no such user; name one that exists, or #UID"),
    "bad uid": (group("user=#-1"), "WSGID0005: user=#-1: there is no such user"),
    "the uid that is none": (group("user=#4294967295"), "WSGID0005: user=#4294967295: there is no such user"),
    "unknown group": (group("group=no-such"), "WSGID0006: group=no-such: there is no such group; name one that exists"),
    "unknown supplementary group": (
        group("supplementary-groups=#5,no-such"), "WSGID0006: supplementary-groups=no-such: there is no such group"),
    "root": (group("user=root"), "WSGID0007: user=root: this user is root, and an application never runs as root; na"),
    "root by number": (group("user=#0"), "WSGID0007: user=#0: this user is root"),
    "no option": (
        group("threads"), "WSGID0008: 'threads' is not an option; write option=value, and put quotes around a value"),
    "no name of an option": (group("=5"), "WSGID0008: '=5' is not an option"),
    "no name": ("WSGIDaemonProcess", "WSGID0009: '' cannot be the name of a daemon group: it is empty"),
    "option as a name": ("WSGIDaemonProcess threads=5", "WSGID0009: 'threads=5' cannot be the name of a daemon group:"),
    "name with a slash": ("WSGIDaemonProcess a/b", "WSGID0009: 'a/b' cannot be the name of a daemon group: it contains"),
    "name with a control character": (
        'WSGIDaemonProcess "a\tb"', r"WSGID0009: 'a\\tb' cannot be the name of a daemon group: it contains"),
    "name with a variable": ("WSGIDaemonProcess %{SERVER}", "WSGID0009: '%{SERVER}' cannot be the name of a daemon gr"),
    "name too long": ("WSGIDaemonProcess " + "x" * 129, "WSGID0009: 'xxx"),
    "two interpreters": (
        group("python=/a python-home=/b"), "WSGID0011: python= and python-home= both choose the interpreter; keep one"),
    "handler script without a path": ("WSGIHandlerScript name", "WSGID0520: WSGIHandlerScript needs the path of a script"),
    "access script without a path": ("WSGIAccessScript", "WSGID0520: WSGIAccessScript needs the path of a script"),
    "access script with an unknown option": (
        "WSGIAccessScript /x user=a", "WSGID0520: WSGIAccessScript: 'user' is unknown, has no value or is given twice"),
    "user script with two groups": (
        "WSGIAuthUserScript /x process-name=a process-group=a", "WSGID0520: WSGIAuthUserScript: 'process-group' is unkn"),
    "group script with a bad variable": ("WSGIAuthGroupScript /x process-name=%{X}", "WSGID0016: '%{X}' is not a vari"),
    "unknown variable": ("WSGIProcessName %{USER}", "WSGID0016: '%{USER}' is not a variable; the variables are %{GLOB"),
    "variable within a text": ("WSGIProcessGroup a-%{HOST}", "WSGID0016: 'a-%{HOST}' is not a variable"),
    "variable without a name": ("WSGIProcessGroup %{ENV:}", "WSGID0016: '%{ENV:}' is not a variable"),
    "variable in an alias": ("WSGIScriptAlias / /x process-group=%{X}", "WSGID0016: '%{X}' is not a variable"),
    "alias without a script": ("WSGIScriptAlias /x", "WSGID0019: WSGIScriptAlias needs a URL path and the path of a script"),
    "alias with an unknown option": ("WSGIScriptAlias / /x user=a", "WSGID0019: unknown option user=; the options are"),
    "alias with a word": ("WSGIScriptAlias / /x a", "WSGID0019: 'a' is not of the form option=value"),
    "alias with two groups": (
        "WSGIScriptAlias / /x process-name=a process-group=a", "WSGID0019: process-group= is given twice (process-gro"),
    "alias with a bad flag": (
        "WSGIScriptAlias / /x pass-authorization=1", "WSGID0019: pass-authorization=1: not on or off"),
    "alias without a slash": ("WSGIScriptAlias x /x", "WSGID0020: 'x' is not a URL path; write one that begins with a slash"),
    "alias with a bad expression": ("WSGIScriptAliasMatch ( /x", "WSGID0020: '(' is not a valid regular expression"),
    "restriction by a variable": ("WSGIRestrictProcess %{HOST}", "WSGID0025: WSGIRestrictProcess %{HOST}: write names"),
    "socket prefix nowhere": (
        "WSGISocketPrefix /nowhere/at/x",
        "WSGID0061: sockets cannot be created under WSGISocketPrefix /nowhere/at/x: /nowhere/at: No such file or directory"),
    "hash seed": ("WSGIPythonHashSeed x", "WSGID0033: WSGIPythonHashSeed x: write random, or a number from 0 to 4294967295"),
    "hash seed, too large": ("WSGIPythonHashSeed 4294967296", "WSGID0033: WSGIPythonHashSeed 4294967296: write"),
    "import without a script": ("WSGIImportScript", "WSGID0034: write WSGIImportScript PATH process-group=NAME"),
    "import in a variable": ("WSGIImportScript /x process-group=%{ENV:A}", "WSGID0034: write WSGIImportScript PATH"),
    "import with an unknown option": ("WSGIImportScript /x user=a", "WSGID0019: unknown option user="),
    "owner of scripts, unknown": (group("script-user=no-such"), "WSGID0005: script-user=no-such: there is no such user"),
    "owner of scripts, empty": (group("script-user="), "WSGID0005: script-user=: there is no such user"),
    "user, empty": (group("user="), "WSGID0005: user=: there is no such user"),
    "chroot, empty": (group("chroot="), "WSGID0003: chroot=: not a path"),
    "long socket prefix": ("WSGISocketPrefix /" + "x" * 72, "WSGID0026: WSGISocketPrefix /xxx"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_refuses_in_one_line_with_its_place(configtest, case):
    text, message = REFUSED[case]
    passed, ours, output = configtest(text)
    assert not passed
    assert len(ours) == 1
    shortened = re.sub("x{4,}", "xxx", ours[0])
    assert shortened.startswith(re.sub("x{4,}", "xxx", message))
    assert re.search(r"Syntax error on line \d+ of \S+httpd.conf", output)


ACCEPTED = [
    "",
    "WSGIDaemonProcess one",
    "WSGIDaemonProcess www.example.com:8080",
    "WSGIDaemonProcess %{GLOBAL} threads=3",
    group(
        "processes=1000 threads=4096 umask=0 queue-limit=0 queue-timeout=0.5 socket-timeout=86400 cpu-priority=-20"
    ),
    group(
        "umask=022 memory-limit=1g virtual-memory-limit=512M stack-size=512k cpu-time-limit=0 listen-backlog=1 log-rate-limit=64k"
    ),
    group(
        """display-name="my %{GROUP}" lang='de_DE.UTF-8' "locale=C" home=. python=bin/python3 env-file=/etc/x"""
    ),
    group(
        'env=A=1 env="B=x y" env=_C2= python-path=/a:b python-path=/c startup-timeout=1.25 shutdown-timeout=0'
    ),
    "WSGIProcessName %{ENV:A_b}",
    "WSGIScriptAlias /y/ z pass-authorization=On callable-object=%{ENV:X}\nWSGIScriptAlias / /x",
    "WSGISocketPrefix /tmp/x",
    "WSGISocketPrefix missing/x",
    "WSGISocketPrefix run/s\nWSGIPythonHome /venv\nWSGIPythonPath /a:/b\nWSGIPythonPath /c",
    "WSGIResponseBufferTotal 1G\n" + group("response-spool-size=0 response-buffer-size=64K"),
    # what mod_wsgi-express and public configurations write
    group(
        "python-path='' python-home= lang='' locale= display-name= supplementary-groups= response-buffer-size=0"
    ),
    group("threads=0 script-user=root script-group=#0 python-eggs=/var/eggs switch-interval=0.002"),
    "WSGIDaemonProcess 'my shop'\nWSGIProcessGroup 'my shop'",
    "WSGIPythonOptimize 1\nWSGIPythonWarnings ignore\nWSGIPythonHashSeed 7\nWSGIDontWriteBytecode On",
    "WSGIPythonEggs /var/eggs\nWSGISwitchInterval 0.01\nWSGIPythonHashSeed random",
    group("") + "\nWSGIImportScript /x process-group=one application-group=%{GLOBAL}",
    "WSGICallableObject app\nWSGIPassAuthorization On\nWSGIApplicationGroup %{GLOBAL}",
]


@pytest.mark.parametrize("text", ACCEPTED)
def test_accepts_without_any_output(configtest, text):
    passed, ours, output = configtest(text)
    assert passed, output
    assert ours == []


@pytest.mark.skipif(not AS_ROOT, reason="only root can become another user")
def test_accepts_other_users_and_groups_by_name_and_number(configtest):
    options = "user=nobody group=#12345 supplementary-groups=#5,#6 socket-user=#12345 chroot=/srv"
    passed, ours, output = configtest(group(options))
    assert passed, output
    assert ours == []


def test_the_same_group_twice_is_accepted_in_any_order_of_its_options(configtest):
    text = "\n".join([group("threads=3 memory-limit=1K"), group("memory-limit=1024 threads=3")])
    passed, ours, output = configtest(
        f"{text}\n<VirtualHost *>\n{group('threads=3 memory-limit=1k')}\n</VirtualHost>"
    )
    assert passed, output
    assert ours == []


def test_same_group_with_other_options_names_both_places(configtest):
    passed, ours, output = configtest(
        f"{group('')}\n<VirtualHost *>\n{group('threads=3')}\n</VirtualHost>"
    )
    assert not passed
    first = re.search(
        r"daemon group 'one' is already defined with other options at (\S+httpd.conf):(\d+); make both",
        ours[0],
    )
    second = re.search(r"Syntax error on line (\d+) of (\S+httpd.conf):", output)
    assert ours[0].startswith("WSGID0010: ")
    assert first[1] == second[2]
    assert int(second[1]) == int(first[2]) + 2


ADJUSTED = {
    "socket-timeout=2147483647": "86400",
    "queue-timeout=86400.1": "86400",
    "restart-interval=99999999999": "31536000",
    "listen-backlog=65536": "65535",
    "threads=5000": "4096",
    "cpu-priority=20": "19",
    "memory-limit=9999999999G": "70368744177664",
    "log-rate-limit=2G": "1073741824",
    "stack-size=64K": "524288",
    "response-buffer-size=1": "65536",
}


@pytest.mark.parametrize("option", ADJUSTED)
def test_a_value_that_mod_wsgi_accepts_is_adjusted_with_one_notice(configtest, option):
    passed, ours, output = configtest(group(option))
    assert passed, output
    assert len(ours) == 1
    assert ours[0].startswith(f"WSGID0032: {option} is out of range: {ADJUSTED[option]} is used (")


def test_the_last_of_an_option_that_is_given_twice_applies_with_a_notice(configtest):
    passed, ours, output = configtest(f"{group('threads=5 threads=6')}\n{group('threads=6')}")
    assert passed, output
    assert [line.partition(" (")[0] for line in ours] == [
        "WSGID0004: threads= is given twice: threads=6 is used"
    ]


def test_a_name_that_is_no_variable_is_an_application_group_as_any_other(configtest):
    """Review Board's installer writes it."""
    passed, ours, output = configtest(
        "WSGIApplicationGroup %{GROUP}\nWSGIScriptAlias / /x application-group=%{GROUP}"
    )
    assert passed, output
    assert not ours


def test_each_option_of_mod_wsgi_has_one_notice(configtest):
    lines = [
        group("eviction-timeout=5 server-metrics=on"),
        "WSGIDaemonProcess two eviction-timeout=6",
    ]
    passed, ours, output = configtest("\n".join(lines))
    assert passed, output
    assert [line.split(" of ")[0] for line in ours] == [
        "WSGID0013: eviction-timeout=",
        "WSGID0013: server-metrics=",
    ]


@pytest.mark.parametrize("name", FOREIGN_DIRECTIVES)
def test_each_directive_of_mod_wsgi_has_one_notice(configtest, name):
    text = f"{name} x>\nAnything 1\n</{name[1:]}>" if name[0] == "<" else f"{name} x y\n{name} z"
    passed, ours, output = configtest(text)
    assert passed, output
    assert len(ours) == 1
    assert ours[0].startswith(f"WSGID0014: {name.strip('<')} has no effect in mod_wsgid: ")


def test_an_undefined_group_is_warned_about_once_with_the_known_groups(configtest):
    passed, ours, output = configtest(
        "WSGIDaemonProcess one\nWSGIDaemonProcess two\nWSGIProcessName three\n"
        "WSGIScriptAlias / /x process-group=three\n<Location /y>\nWSGIProcessGroup two\n</Location>"
    )
    assert passed, output
    assert len(ours) == 1
    assert re.fullmatch(
        r"WSGID0018: there is no daemon group 'three', which \S+httpd.conf:\d+ refers to; requests for it will get "
        r"status 500: define it with WSGIDaemonProcess, or correct the name; known groups: one, two",
        ours[0],
    )


def test_an_alias_hidden_by_an_earlier_one_is_warned_about(configtest):
    passed, ours, output = configtest(
        "WSGIScriptAlias /a /x\nWSGIScriptAlias /ab /y\nWSGIScriptAlias /a/b /z"
    )
    assert passed, output
    assert len(ours) == 1
    assert ours[0].startswith("WSGID0027: WSGIScriptAlias /a/b at ")


@pytest.mark.parametrize(
    "directive", ["WSGISocketPrefix run/x", "WSGIPythonHome /x", "WSGIPythonPath /x"]
)
def test_server_wide_directives_are_refused_in_a_virtual_host(configtest, directive):
    passed, _, output = configtest(f"<VirtualHost *>\n{directive}\n</VirtualHost>")
    assert not passed
    assert f"{directive.split()[0]} cannot occur within <VirtualHost> section" in output


def test_groups_cannot_be_defined_in_a_directory(configtest):
    passed, _, output = configtest(f"<Directory />\n{group('')}\n</Directory>")
    assert not passed
    assert "WSGIDaemonProcess not allowed in <Directory> context" in output


@pytest.mark.skipif(AS_ROOT, reason="root can become another user")
def test_each_option_that_needs_root_has_a_notice(configtest):
    passed, ours, output = configtest(group("socket-user=root chroot=/srv"))
    assert passed, output
    assert sorted(line.split(" ")[1] for line in ours) == ["chroot=", "socket-user="]
    assert all(line.startswith("WSGID0024: ") for line in ours)


# -------- mod_wsgi loaded too

# Our module checks only the name of the other module's source file. The directive would show that
# httpd had processed it.
STAND_IN = """
#include "httpd.h"
#include "http_config.h"
static const char *asked(cmd_parms *cmd, void *dir, const char *words)
{
    (void) cmd; (void) dir; (void) words;
    return "mod_wsgi was asked";
}
static const command_rec directives[] = {
    AP_INIT_RAW_ARGS("WSGIDaemonProcess", asked, NULL, RSRC_CONF, ""), { NULL, { NULL }, NULL, 0, RAW_ARGS, NULL }
};
module AP_MODULE_DECLARE_DATA wsgi_module = { STANDARD20_MODULE_STUFF, NULL, NULL, NULL, NULL, directives, NULL, 0 };
"""


@pytest.fixture(scope="module")
def fake_mod_wsgi(tmp_path_factory):
    """A module that looks like mod_wsgi to httpd."""
    directory = tmp_path_factory.mktemp("mod_wsgi")
    (directory / "mod_wsgi.c").write_text(STAND_IN)
    subprocess.run(["apxs", "-c", "mod_wsgi.c"], cwd=directory, check=True, capture_output=True)
    return directory / ".libs" / "mod_wsgi.so"


def test_mod_wsgi_loaded_after_us_is_refused_before_any_directive(configtest, fake_mod_wsgi):
    passed, ours, output = configtest(
        f"LoadModule wsgi_module {fake_mod_wsgi}\nWSGIDaemonProcess one unknown"
    )
    assert not passed
    assert len(ours) == 1
    assert ours[0].startswith("WSGID0001: mod_wsgi is loaded as well as mod_wsgid")
    assert "mod_wsgi was asked" not in output


def test_mod_wsgi_loaded_before_us_is_refused(make_httpd, stage, fake_mod_wsgi):
    ours = f"LoadModule wsgi_module {fake_mod_wsgi}\nLoadModule wsgid_module {stage.module}\nWSGIDaemonProcess one"
    code, output = make_httpd(ours, start=None, ours=False).configtest()
    assert code != 0
    assert output.count("WSGID0001: ") == 1
    assert "mod_wsgi was asked" not in output
