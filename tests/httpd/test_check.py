"""`pywsgid check` reports every fault that it promises to find, in one line with its place and its
fix, and reads real layouts and configurations of mod_wsgi as httpd does. The tests start no httpd;
they only run `httpd -t`.
"""

from __future__ import annotations

import io
import os
import pwd
import re
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path

import pytest
from httpdenv import configuration, examples, machine

from pywsgid.cli import main, server
from pywsgid.cli.check import conf_dump, conf_reader, httpd_build, inspection

CHECKOUT = Path(__file__).resolve().parents[2]
GOOD = "def application(environ, start_response): pass\n"
BASE = """\
ServerRoot "@ROOT@"
ServerName localhost
DefaultRuntimeDir run
Listen 127.0.0.1:@PORT@
ErrorLog /dev/null
@MODULES@
@IDENTITY@
<Directory />
    Require all denied
</Directory>
<Directory "@ROOT@/app">
    Require all granted
</Directory>
"""
root_only = pytest.mark.skipif(os.geteuid() != 0, reason="only root can check as another user")


@dataclass
class Result:
    code: int
    out: str
    err: str

    @property
    def lines(self) -> list[str]:
        """The findings without the summary, and without the note about groups of httpd's user, which
        these small configurations have no other for (test_trust.py)."""
        return [line for line in self.out.splitlines()[:-1] if "note: WSGID0030" not in line]

    def find(self, code: str) -> str:
        """The only line with a code."""
        found = [line for line in self.lines if f"{code}: " in line]
        assert len(found) == 1, self.out + self.err
        return found[0]


@dataclass
class Place:
    """A ServerRoot with app/, run/ and conf/ that everybody can enter."""

    root: Path
    module: Path

    def write(self, name: str, text: str) -> Path:
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return path

    def base(self, *, load: str | None = None) -> str:
        identity = f'User {machine.web_user()}\nGroup "#{machine.group_of(machine.web_user())}"'
        line = configuration.load_ours(self.module, together=False) if load is None else load
        modules = "\n".join(
            [*machine.load_lines(["mpm_event", "unixd", "authz_core", "alias"]), line]
        )
        return (
            BASE.replace("@ROOT@", str(self.root))
            .replace("@PORT@", str(machine.free_port()))
            .replace("@MODULES@", modules)
            .replace("@IDENTITY@", identity if os.geteuid() == 0 else "")
        )

    def check(self, text: str, *words: str, load: str | None = None, **options) -> Result:
        """Checks the base configuration with `text`, in which @APP@ is the directory app/."""
        path = self.write(
            "conf/httpd.conf", self.base(load=load) + text.replace("@APP@", str(self.root / "app"))
        )
        return run_check(path, *words, **options)

    def line_of(self, text: str, part: str) -> str:
        """file:line of the configuration's line that contains `part`."""
        lines = (self.root / "conf" / "httpd.conf").read_text().splitlines()
        number = next(n for n, line in enumerate(lines, 1) if part in line)
        return f"{self.root}/conf/httpd.conf:{number}"


def run_check(*words: str | Path, user: int | None = None) -> Result:
    """Runs in this process, unless another user must run it."""
    if user is None:
        out, err = io.StringIO(), io.StringIO()
        with redirect_stdout(out), redirect_stderr(err):
            code = main.main(["check", *map(str, words)])
        return Result(code, out.getvalue(), err.getvalue())
    done = subprocess.run(
        [machine.stage().python, "-m", "pywsgid", "check", *words],
        cwd=CHECKOUT,
        capture_output=True,
        text=True,
        user=user,
        timeout=60,
    )
    return Result(done.returncode, done.stdout, done.stderr)


@pytest.fixture(autouse=True, scope="module")
def httpd_is_found_once():
    """Finds httpd only once, because apxs needs long to name the module directory."""
    found = server.find_server()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(inspection, "find_server", lambda: found)
        yield


@pytest.fixture
def place(stage) -> Iterator[Place]:
    root = machine.temporary_directory("wsgid-check-")
    for name, mode in (("app", 0o755), ("run", 0o755), ("conf", 0o755), ("open", 0o777)):
        (root / name).mkdir()
        (root / name).chmod(mode)
    made = Place(root, stage.module)
    made.write("app/site.wsgi", GOOD)
    yield made
    shutil.rmtree(root)


ALIAS = "WSGIScriptAlias / @APP@/site.wsgi"
PYTHON = "/usr/bin/python3"


def test_a_good_configuration_has_no_findings(place):
    result = place.check(
        f"WSGIDaemonProcess shop python={PYTHON} home=@APP@\nWSGIProcessName shop\n{ALIAS}"
    )
    assert (result.code, result.lines, result.err) == (0, [], "")
    assert (
        result.out == f"{place.root}/conf/httpd.conf, 1 daemon group, 1 script: no problems found\n"
    )


def test_the_default_group_is_checked_too(place):
    assert place.check(ALIAS).code == 0
    place.write("app/site.wsgi", "import no_such_module")
    assert "no_such_module" in place.check(ALIAS).find("WSGID0332")


@pytest.mark.parametrize("prefix", ["/tmp/wsgid", "missing/wsgid"])
def test_a_sticky_directory_and_one_that_the_start_creates_will_do_for_the_sockets(place, prefix):
    assert place.check(f"WSGISocketPrefix {prefix}\nWSGIDaemonProcess x").lines == []


def test_without_a_runtime_directory_the_check_is_about_the_one_that_httpd_uses(place):
    """Debian's httpd keeps its PidFile in /run, and its sockets in /var/run/apache2."""
    httpd = inspection.find_server()
    text = place.base().replace("DefaultRuntimeDir run", "")
    words = ["-f", place.write("conf/bare.conf", text), "-t", "-D", "DUMP_RUN_CFG"]
    done = subprocess.run([httpd.program, *words], capture_output=True, text=True)
    runtime = httpd_build.build_of(httpd).runtime
    assert f'Mutex default: dir="{runtime}/"' in done.stdout, done.stderr


NOTED = {
    "threads=2 threads=3": "WSGID0004: daemon group 'shop': threads= is given twice (2 and 3): the last",
    "socket-timeout=2147483647": "WSGID0032: .*: the value is out of range: 86400 is used",
    "stack-size=64K": "WSGID0032: .*: 524288 is used",
}


@pytest.mark.parametrize("option", NOTED)
def test_what_is_used_otherwise_than_written_is_a_note(place, option):
    result = place.check(f"WSGIDaemonProcess shop {option}\nWSGIProcessName shop\n{ALIAS}")
    assert result.code == 0
    (line,) = result.lines
    assert re.search(": note: " + NOTED[option].replace("(", r"\(").replace(")", r"\)"), line)


def test_values_that_mod_wsgi_express_writes_are_no_findings(place):
    options = "python-path='' python-home= lang='' locale= display-name= supplementary-groups="
    text = f"WSGIDaemonProcess 'my shop' {options} response-buffer-size=0 script-user=root"
    result = place.check(f"{text}\nWSGIProcessName 'my shop'\n{ALIAS}")
    assert (result.code, result.lines) == (0, [])


# -------- what leads to a script


@pytest.mark.parametrize(
    "line",
    [
        "AddHandler wsgi-script .wsgi",
        "SetHandler wsgi-script",
        "AddType application/x-httpd-wsgi .wsgi",
    ],
)
def test_the_scripts_of_a_handler_are_counted_and_imported(place, line):
    text = f"WSGIDaemonProcess shop\n<Directory @APP@>\nOptions ExecCGI\n{line}\n</Directory>"
    load = "\n".join(
        [*machine.load_lines(["mime"]), configuration.load_ours(place.module, together=False)]
    )
    text += f"\nTypesConfig {place.write('conf/mime.types', '')}"
    result = place.check(text, load=load)
    assert (result.code, result.lines) == (0, []) and "1 daemon group, 1 script" in result.out
    place.write("app/site.wsgi", "import no_such_module")
    found = place.check(text, load=load).find("WSGID0332")
    assert found.startswith(place.line_of("", line)) and "no_such_module" in found


def test_an_import_script_is_imported_and_need_not_define_an_application(place):
    text = f"{ALIAS}\nWSGIDaemonProcess shop\nWSGIImportScript @APP@/work.py process-group=shop"
    place.write("app/work.py", "import os")
    result = place.check(text)
    assert (result.code, result.lines) == (0, []) and "2 scripts" in result.out
    place.write("app/work.py", "import no_such_module")
    assert "work.py cannot be loaded" in place.check(text).find("WSGID0332")
    (place.root / "app/work.py").unlink()
    assert "correct the path in WSGIImportScript" in place.check(text).find("WSGID0330")


@pytest.mark.parametrize(
    "line",
    ["WSGIScriptAlias /x/ @APP@/site.wsgi/x/", "WSGIScriptAlias /x @APP@/site.wsgi/x"],
)
def test_a_target_with_a_part_of_the_url_behind_the_script_is_no_fault(place, line):
    result = place.check(line)
    assert (result.code, result.lines) == (0, []) and "1 script" in result.out


@pytest.mark.parametrize(
    "line", ["AllowOverride All", "AllowOverride FileInfo", "AllowOverrideList SetHandler"]
)
def test_a_htaccess_file_may_serve_something(place, line):
    text = f"<Directory @APP@>\n{line}\n</Directory>\nWSGIDaemonProcess shop"
    assert "nothing is served" not in place.check(text).out
    text = text.replace(line, "AllowOverride AuthConfig")
    assert "nothing is served" in place.check(text).out


def test_lines_that_say_the_same_are_reported_once(place):
    text = f"{ALIAS}\n" + "WSGIRestrictStdout Off\n" * 21
    assert "remove it" in place.check(text).find("WSGID0014")
    assert "(also at 20 more lines)" in place.check(text).find("WSGID0014")


def test_multiviews_in_a_directory_of_scripts_is_reported(place):
    section = "<Directory @APP@>\nOptions MultiViews\n</Directory>\n"
    alias = "WSGIScriptAlias /apps @APP@\n"
    found = place.check(alias + section).find("WSGID0450")
    assert found.startswith(place.line_of("", "Options MultiViews"))
    for inner in ("Options -MultiViews", "Options ExecCGI"):
        text = alias + section + f"<Directory @APP@>\n{inner}\n</Directory>"
        assert place.check(text).lines == []
    assert place.check(ALIAS + "\n" + section).lines == []


NEIGHBOUR = "import sys; sys.path.insert(0, {place!r}); import {module}\n" + GOOD


def two_neighbours(place, module="app", file="app.py") -> list[str]:
    """Two scripts that import modules of one name; the lines that lead to them."""
    for name in ("one", "two"):
        place.write(f"app/{name}/{file}", "")
        text = NEIGHBOUR.format(place=str(place.root / "app" / name), module=module)
        place.write(f"app/{name}/site.wsgi", text)
    return [f"WSGIScriptAlias /{name} @APP@/{name}/site.wsgi" for name in ("one", "two")]


def in_hosts(lines: list[str], names: tuple[str, str], choice: str = "") -> str:
    return "\n".join(
        f"<VirtualHost *:80>\nServerName {name}\n{choice}\n{line}\n</VirtualHost>"
        for line, name in zip(lines, names, strict=True)
    )


TOGETHER = [
    "WSGIApplicationGroup %{GLOBAL}",
    "WSGIApplicationGroup sites",
    "WSGIApplicationGroup %{SERVER}",
    "WSGIApplicationGroup %{HOST}",
    "<Directory @APP@>\nWSGIApplicationGroup sites\n</Directory>",
]


@pytest.mark.parametrize("choice", TOGETHER)
@pytest.mark.parametrize("module", ["app", "space.app"])
def test_two_scripts_of_an_application_group_with_modules_of_one_name_are_reported(
    place, choice, module
):
    lines = two_neighbours(place, module, module.replace(".", "/") + ".py")
    result = place.check("\n".join([choice, *lines]))
    found = result.find("WSGID0452")
    assert found.startswith(place.line_of("", "Alias /two"))
    assert f"both import a module '{module}'" in found and "remove WSGIApplicationGroup" in found
    assert result.code == 1
    lines.reverse()
    found = place.check("\n".join([choice, *lines])).find("WSGID0452")
    assert found.startswith(place.line_of("", "Alias /one"))


def test_two_scripts_with_processes_of_their_own_are_not_reported(place):
    lines = two_neighbours(place)
    for text in (
        "\n".join(lines),
        "\n".join(["WSGIApplicationGroup %{RESOURCE}", *lines]),
        "\n".join(["WSGIApplicationGroup %{GLOBAL}", lines[0], lines[1] + " application-group=b"]),
        "WSGIDaemonProcess sites\nWSGIProcessName sites\n" + "\n".join(lines),
        in_hosts(
            [line.replace("/one ", "/ ").replace("/two ", "/ ") for line in lines], ("a", "b")
        ),
        in_hosts(lines, ("a.test", "b.test"), "WSGIApplicationGroup %{SERVER}"),
        in_hosts(lines, ("a.test", "a.test:8080"), "WSGIApplicationGroup %{SERVER}"),
        "WSGIApplicationGroup %{ENV:GROUP}\n" + "\n".join(lines),
    ):
        result = place.check(text)
        assert (result.code, result.lines) == (0, []), text + result.out
    apart = ["WSGIApplicationGroup %{GLOBAL}"]
    apart += [f"WSGIDaemonProcess {name}" for name in ("one", "two")]
    apart += [f"{line} process-group={line.split()[1][1:]}" for line in lines]
    assert place.check("\n".join(apart)).lines == []


def test_hosts_with_one_name_share_processes_if_their_ports_are_those_of_http_and_https(place):
    lines = two_neighbours(place)
    text = in_hosts(lines, ("a.test", "a.test:443"), "WSGIApplicationGroup %{SERVER}")
    assert place.check(text).find("WSGID0452")


def test_imports_and_scripts_that_decide_share_processes_by_themselves(place):
    """Their default is %{GLOBAL}, as in mod_wsgi."""
    two_neighbours(place)
    lines = [
        f"WSGIImportScript @APP@/{name}/site.wsgi process-group=shop" for name in ("one", "two")
    ]
    text = "WSGIDaemonProcess shop\n" + "\n".join(lines)
    assert "(option application-group=)" in place.check(text).find("WSGID0452")
    assert place.check(text + " application-group=two").lines == []


@pytest.mark.parametrize("version", ["1", "2"])
def test_copies_of_one_installed_module_are_no_neighbours_unless_they_differ(place, version):
    for name, text in (("one", "1"), ("two", version)):
        directory = place.write(f"app/{name}/site-packages/installed.py", text).parent
        script = NEIGHBOUR.format(place=str(directory), module="installed")
        place.write(f"app/{name}/site.wsgi", script)
    lines = [f"WSGIScriptAlias /{name} @APP@/{name}/site.wsgi" for name in ("one", "two")]
    result = place.check("\n".join(["WSGIApplicationGroup %{GLOBAL}", *lines]))
    assert len(result.lines) == (version == "2")


def test_monkey_patching_with_several_threads_is_noted(place):
    place.write("app/gevent/__init__.py", "")
    place.write("app/gevent/monkey.py", "saved = {'socket': {}}")
    place.write("app/site.wsgi", "import gevent.monkey\n" + GOOD)
    text = "WSGIDaemonProcess shop home=@APP@\nWSGIProcessName shop\n" + ALIAS
    result = place.check(text)
    assert result.code == 0 and "note: WSGID0373" in result.find("WSGID0373")
    assert place.check(text.replace("home", "threads=1 home")).lines == []


# -------- one fault, one line

FAULTS = {
    # name: (configuration, code, the line that holds this, a part of the finding)
    "unknown option": (
        "WSGIDaemonProcess shop thread=3",
        "WSGID0002",
        "thread=3",
        "did you mean threads?",
    ),
    "value": (
        "WSGIDaemonProcess shop processes=0",
        "WSGID0003",
        "processes=0",
        "the value is neither a whole number from 1 to 1000",
    ),
    "user": (
        "WSGIDaemonProcess shop user=no_such_user",
        "WSGID0005",
        "user=no",
        "there is no user no_such_user: name a user",
    ),
    "group": (
        "WSGIDaemonProcess shop group=no_such_group",
        "WSGID0006",
        "group=no",
        "no group no_such_group",
    ),
    "root": ("WSGIDaemonProcess shop user=root", "WSGID0007", "user=root", "must not run as root"),
    "no option": (
        "WSGIDaemonProcess shop threads",
        "WSGID0008",
        "shop threads",
        "write option=value",
    ),
    "defined twice": (
        "WSGIDaemonProcess a threads=2\nWSGIDaemonProcess a threads=3",
        "WSGID0010",
        "threads=3",
        "with other options at ",
    ),
    "two interpreters": (
        "WSGIDaemonProcess a python=/usr/bin/python3 python-home=/usr",
        "WSGID0011",
        "Process a",
        "keep one",
    ),
    "missing access script": (
        "WSGIAccessScript /no/access.py",
        "WSGID0330",
        "AccessScript",
        "correct the path in WSGIAccessScript",
    ),
    "unknown group of a script": (
        "WSGIDaemonProcess gate\nWSGIAuthUserScript /x process-name=gat",
        "WSGID0018",
        "AuthUser",
        "did you mean gate?",
    ),
    "missing handler script": (
        "WSGIHandlerScript bobo /no/bobo.py process-name=%{GLOBAL}",
        "WSGID0330",
        "HandlerScript",
        "correct the path in WSGIHandlerScript",
    ),
    "unknown group": (
        "WSGIDaemonProcess shop\nWSGIProcessName shpo",
        "WSGID0018",
        "shpo",
        "did you mean shop?",
    ),
    "unknown group of an alias": (
        f"{ALIAS} process-group=nobody",
        "WSGID0018",
        "Alias",
        "WSGIDaemonProcess nobody",
    ),
    "unknown directive": (
        "WSGIProcesName shop",
        "WSGID0422",
        "Proces",
        "did you mean WSGIProcessName?",
    ),
    "home": (
        "WSGIDaemonProcess shop home=/nowhere",
        "WSGID0424",
        "home=",
        "directory does not exist",
    ),
    "python-path": (
        "WSGIDaemonProcess shop python-path=/usr:/nowhere",
        "WSGID0424",
        "path=",
        "python-path=/nowhere",
    ),
    "env-file": (
        "WSGIDaemonProcess shop env-file=/nowhere",
        "WSGID0424",
        "env-file",
        "the file does not exist",
    ),
    "interpreter": (
        "WSGIDaemonProcess shop python=/nowhere/python",
        "WSGID0082",
        "python=",
        "it does not exist: name another",
    ),
    "virtualenv": (
        "WSGIDaemonProcess shop python-home=/nowhere",
        "WSGID0082",
        "home=",
        "/nowhere/bin/python (python-home=): it does not exist: create the virtual environment, or",
    ),
    "directory": (
        "WSGIDaemonProcess shop python=/usr/bin",
        "WSGID0082",
        "python=",
        "is a directory: name another",
    ),
    "no program": (
        "WSGIDaemonProcess shop python=@APP@/../conf/text",
        "WSGID0082",
        "python=",
        "cannot be executed (Exec format error): name another",
    ),
    "no interpreter": (
        "WSGIDaemonProcess shop python=/bin/true",
        "WSGID0082",
        "python=",
        "it fails (exit status 0): name another",
    ),
    "script": ("WSGIScriptAlias / @APP@/far/away.wsgi", "WSGID0330", "Alias", "app/far is missing"),
    "hidden alias": (
        f"{ALIAS}\nWSGIScriptAlias /x/ @APP@/site.wsgi",
        "WSGID0027",
        "/x/",
        "write the longer URL first",
    ),
    "access": (
        f"{ALIAS}\n<Directory @APP@>\nRequire all denied\n</Directory>",
        "WSGID0426",
        "Alias",
        "add <Directory",
    ),
    "socket directory": (
        "WSGISocketPrefix /nowhere/at/wsgid\nWSGIDaemonProcess x",
        "WSGID0061",
        "Prefix",
        "in /nowhere/at: /nowhere does not exist: set WSGISocketPrefix",
    ),
    "socket path": (
        f"WSGISocketPrefix run/{'x' * 90}\nWSGIDaemonProcess x",
        "WSGID0061",
        "Prefix",
        "longer than 72 bytes: set WSGISocketPrefix to a shorter path",
    ),
    "runtime directory": (
        "DefaultRuntimeDir @APP@/../open\nWSGIDaemonProcess x",
        "WSGID0061",
        "/../open",
        "everybody",
    ),
    "open socket directory": (
        "WSGISocketPrefix @APP@/../open/wsgid\nWSGIDaemonProcess x",
        "WSGID0061",
        "Prefix",
        "everybody",
    ),
    "httpd's own": ("Nonsense on", "WSGID0428", "Nonsense", "Invalid command 'Nonsense'"),
}


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_is_reported_in_one_line_with_its_place(place, name):
    text, code, part, words = FAULTS[name]
    place.write("conf/text", "what no kernel runs\n").chmod(0o755)
    result = place.check(text)
    assert result.code == 1, result.out + result.err
    line = result.find(code)
    assert line.startswith(place.line_of(text, part) + f": {code}: ")
    assert words in line
    assert len(result.lines) == 1, result.out


def django_script(settings: str) -> str:
    return f"import os\nos.environ.setdefault('DJANGO_SETTINGS_MODULE', '{settings}')\n{GOOD}"


def test_two_django_sites_in_one_application_group_are_reported(place):
    for name in ("shop", "blog"):
        place.write(f"app/{name}.wsgi", django_script(f"{name}.settings"))
    own = "WSGIScriptAlias /shop @APP@/shop.wsgi\nWSGIScriptAlias /blog @APP@/blog.wsgi"
    aliases = "WSGIApplicationGroup %{GLOBAL}\n" + own
    result = place.check(f"WSGIDaemonProcess both\nWSGIProcessName both\n{aliases}")
    found = result.find("WSGID0339")
    assert "app/blog.wsgi (blog.settings)" in found and "remove WSGIApplicationGroup" in found
    assert result.code == 1
    assert place.check(f"WSGIDaemonProcess both\nWSGIProcessName both\n{own}").code == 0
    given = "WSGIDaemonProcess both env=DJANGO_SETTINGS_MODULE=shop.settings\nWSGIProcessName both"
    assert place.check(f"{given}\n{aliases}").code == 0
    place.write("app/variables", "DJANGO_SETTINGS_MODULE='shop.settings'\n")
    given = "WSGIDaemonProcess both env-file=@APP@/variables\nWSGIProcessName both"
    assert place.check(f"{given}\n{aliases}").code == 0
    apart = aliases.replace("shop.wsgi", "shop.wsgi process-name=a").replace(
        "blog.wsgi", "blog.wsgi process-name=b"
    )
    assert place.check(f"WSGIDaemonProcess a\nWSGIDaemonProcess b\n{apart}").code == 0


def test_all_faults_are_reported_at_once(place):
    """httpd itself would stop at the first one."""
    texts = [
        FAULTS[name][0] for name in ("unknown directive", "missing access script", "httpd's own")
    ]
    place.write("app/broken.wsgi", "def application(:\n")
    result = place.check(
        "\n".join(
            [
                "WSGIDaemonProcess a user=no_such_user thread=3",
                *texts,
                ALIAS,
                "WSGIScriptAlias /x @APP@/broken.wsgi",
            ]
        )
    )
    for code in ("WSGID0005", "WSGID0002", "WSGID0422", "WSGID0330", "WSGID0332"):
        assert result.find(code)
    assert result.code == 1
    places = [int(line.split(":")[1]) for line in result.lines]
    assert places == sorted(places)


# -------- imports

# Writes to every descriptor that it finds.
SPEAKING = """
import os
for descriptor in range(3, 99):
    try:
        os.write(descriptor, %s)
    except OSError:
        pass
os._exit(0)
"""
IMPORTS = {
    "import": (
        "import os\nimport no_such_module\n",
        "the import failed with ModuleNotFoundError: No module named 'no_such_module': install it",
    ),
    "syntax": ("import os\ndef application(:\n", "line 2): correct the script"),
    "name": ("app = 1\n", "does not define 'application': define it, or name"),
    "callable": ("application = 1\n", "is not callable: define it, or name"),
    "exit": ("import os\nos._exit(3)\n", "the import ended the process (exit status 3): find"),
    "system exit": ("raise SystemExit('no')\n", "SystemExit: no"),
    "control characters": (
        "raise SystemExit('\\x1b]0;mine\\x07')\n",
        r"SystemExit: \x1b]0;mine\x07",
    ),
    "no answer": (SPEAKING % "b'[' * 60000", "the result of the import is unknown"),
    "no text": (SPEAKING % """b'{"error": [1]}'""", "the result of the import is unknown"),
    "time": ("import time\ntime.sleep(60)\n", "did not end within 1 s: allow more time (--timeout"),
}


@pytest.mark.parametrize("name", IMPORTS)
def test_a_script_that_cannot_be_imported_is_reported(place, name):
    source, words = IMPORTS[name]
    place.write("app/site.wsgi", source)
    result = place.check(ALIAS, *(["--timeout", "1"] if name == "time" else []))
    assert (result.code, len(result.lines)) == (1, 1)
    assert words in result.find("WSGID0332")
    assert result.lines[0].startswith(place.line_of("", "WSGIScriptAlias"))


def test_nothing_is_imported_with_no_import(place):
    place.write("app/site.wsgi", "1 / 0")
    assert place.check(ALIAS, "--no-import").code == 0


def test_a_script_is_imported_as_its_daemon_would(place):
    """With the daemon's working directory, paths, environment and callable. The script's output is
    not shown.
    """
    place.write(
        "app/site.wsgi",
        """
import os, sys, beside, further, mod_wsgi, apache
from mod_wsgi import process_group
assert process_group == "shop" and mod_wsgi.subscribe_events(print) is print and apache.version
assert sys.argv == ["mod_wsgid"], sys.argv
assert os.environ == {**os.environ, "A": "b c", "FROM": "file", "LANG": "C.UTF-8"}
assert "PYTHONPATH" not in os.environ
print("loud" * 100000)
class site: wsgi = print
""",
    )
    place.write("app/beside.py", "")
    place.write("lib/further.py", "")
    place.write("app/env", "FROM='file'\n# comment\n")
    result = place.check(f"""
WSGIDaemonProcess shop python={PYTHON} home=@APP@ python-path=lib "env=A=b c" env-file=@APP@/env
<VirtualHost *>
    WSGIProcessGroup shop
    WSGICallableObject site.wsgi
    {ALIAS}
</VirtualHost>
""")
    assert (result.code, result.lines) == (0, [])


FAILING = {
    "library": (
        "echo 'python: error while loading shared libraries: libx.so: cannot open' >&2; exit 127",
        "(exit status 127, python: error while loading shared libraries: libx.so: cannot open): "
        "name the directory",
    ),
    "traceback": (
        "printf 'Could not find it\\nTraceback:\\n  error.py\\nImportError: encodings\\n' >&2; "
        "exit 1",
        "(exit status 1, ImportError: encodings): name another",
    ),
    "word": ("echo; echo 'go away' >&2; exit 3", "(exit status 3, go away): name another"),
    "signal": ("kill -9 $$", "(signal 9): name another"),
    "control characters": (
        "printf 'go \\033]0;mine\\007 away' >&2; exit 3",
        r"go \x1b]0;mine\x07 away): name another",
    ),
}


@pytest.mark.parametrize("name", FAILING)
def test_an_interpreter_that_fails_is_quoted(place, name):
    script, words = FAILING[name]
    place.write("app/python", f"#!/bin/sh\n{script}\n").chmod(0o755)
    result = place.check(
        f"WSGIDaemonProcess shop python=@APP@/python\nWSGIProcessName shop\n{ALIAS}"
    )
    assert words in result.find("WSGID0082") and "chmod" not in result.out
    assert (result.code, len(result.lines)) == (1, 1)


@pytest.mark.parametrize("gone", ["python3.9", "versions/3.9/bin/python3.9"])
def test_a_virtualenv_with_a_vanished_python_is_reported_with_its_fix(place, gone):
    python = place.write("app/venv/bin/python", "")
    python.unlink()
    python.symlink_to(place.root / gone)
    line = place.check("WSGIDaemonProcess shop python-home=@APP@/venv").find("WSGID0082")
    assert (
        f"{python} (python-home=): it is a symbolic link to {place.root / gone}, which does not "
        "exist: create the virtual environment again, or name another interpreter" in line
    )


def test_an_old_interpreter_is_reported_as_the_daemon_does(place):
    place.write("app/python", "#!/bin/sh\nprintf 3.9\n").chmod(0o755)
    line = place.check("WSGIDaemonProcess shop python=@APP@/python").find("WSGID0300")
    assert (
        f"{place.root}/app/python (python=) is Python 3.9, and mod_wsgid needs 3.10 or later: "
        "name another" in line
    )


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, "it has not been built: there is no _native.*.so in"),
        ("no library", "file too short"),
    ],
)
def test_an_extension_that_the_daemon_cannot_load_is_reported_as_it_does(place, content, words):
    """The extension in the package beside the module, which the daemons of that module use."""
    module = place.root / "lib" / "mod_wsgid.so"
    place.write("lib/pywsgid/__init__.py", "")
    shutil.copy(place.module, module)
    if content is not None:
        place.write("lib/pywsgid/_native.abi3.so", content)
    load = configuration.load_ours(module, together=False)
    line = place.check("WSGIDaemonProcess shop", load=load).find("WSGID0329")
    assert "daemon group 'shop'" in line
    assert words in line
    assert "run `make`" in line


def test_an_interpreter_is_tried_with_the_environment_of_its_group(place):
    place.write("app/python", f'#!/bin/sh\n[ "$NEEDS" ] || exit 9\nexec {PYTHON} "$@"\n').chmod(
        0o755
    )
    line = (
        "WSGIDaemonProcess {0} python=@APP@/python {1}\n"
        "WSGIScriptAlias /{0} @APP@/site.wsgi process-group={0}\n"
    )
    result = place.check(line.format("bare", "env=OTHER=1") + line.format("full", "env=NEEDS=1"))
    assert "'bare'" in result.find("WSGID0082") and "exit status 9" in result.lines[0]
    assert len(result.lines) == 1


def test_each_callable_of_a_script_is_checked(place):
    result = place.check(
        f"WSGIScriptAlias /m @APP@/site.wsgi\n{ALIAS.replace(' / ', ' /n ')} callable-object=nope"
    )
    line = result.find("WSGID0332")
    assert line.startswith(place.line_of("", "nope")) and "does not define 'nope'" in line
    assert len(result.lines) == 1


def test_each_script_is_imported_with_its_own_group_and_callable(place):
    """They may be set by the alias, a Location, a Directory, the host or the server; the innermost
    wins.
    """
    place.write("app/deep/site.wsgi", "import os\nexec(os.environ['MADE'] + ' = print')\n")
    place.write("app/site.wsgi", "import os\nexec(os.environ['MADE'] + ' = print')\n")
    groups = "\n".join(
        f"WSGIDaemonProcess {name} env=MADE={name}"
        for name in ("one", "two", "three", "four", "five")
    )
    result = place.check(f"""{groups}
WSGIProcessName one
WSGICallableObject one
{ALIAS}
<VirtualHost *:80>
    WSGIProcessName two
    WSGICallableObject two
    WSGIScriptAlias /location @APP@/site.wsgi
    WSGIScriptAlias /directory @APP@/deep/site.wsgi
    WSGIScriptAlias /option @APP@/site.wsgi process-group=five callable-object=five
    {ALIAS}
    <Location /location>
        WSGIProcessName three
        WSGICallableObject three
    </Location>
    <Directory @APP@/deep>
        WSGIProcessName four
        WSGICallableObject four
    </Directory>
</VirtualHost>
""")
    assert (result.code, result.lines) == (0, [])


def test_aliases_of_two_hosts_do_not_hide_each_other(place):
    host = f"<VirtualHost *:80>\nServerName @.example.com\n{ALIAS}\n</VirtualHost>\n"
    result = place.check(
        host.replace("@.", "a.") + host.replace("@.", "b.") + "WSGIScriptAlias /x @APP@/site.wsgi"
    )
    assert (result.code, result.lines) == (0, [])


def test_two_hosts_at_one_address_each_have_their_own_group(place):
    place.write("app/site.wsgi", "import os\napplication = {'one': print}[os.environ['NAME']]\n")
    result = place.check(
        "".join(
            f"WSGIDaemonProcess {name} env=NAME={name}\n<VirtualHost *:80>\n"
            f"ServerName {name}.example.com\nWSGIProcessName {name}\n{ALIAS}\n</VirtualHost>\n"
            for name in ("one", "two")
        )
    )
    assert len(result.lines) == 1, result.out
    assert "KeyError: 'two'" in result.find("WSGID0332")


def test_the_check_does_not_wait_for_processes_that_a_script_started(place):
    """Such a process has a session of its own and keeps all inherited descriptors open."""
    place.write(
        "app/site.wsgi",
        f"""
import os, time
pid = os.fork()
if pid:
    open("{place.root}/pids/" + str(pid), "w").close()
else:
    os.setsid()
    for name in os.listdir("/proc/self/fd"):
        os.set_inheritable(int(name), True) if os.path.exists("/proc/self/fd/" + name) else None
    os.execv("/bin/sleep", ["sleep", "20"])
{GOOD}""",
    )
    (place.root / "pids").mkdir()
    (place.root / "pids").chmod(0o777)
    try:
        result = place.check(ALIAS, "--timeout", "10")
    finally:
        pids = [int(path.name) for path in (place.root / "pids").iterdir()]
        for pid in pids:
            os.kill(pid, signal.SIGKILL)
    assert (result.code, result.lines, len(pids)) == (0, [], 1)


# -------- other users


@root_only
def test_a_user_by_number_needs_no_account(place):
    text = f"WSGIDaemonProcess shop user=#52001 group=#52001\nWSGIProcessName shop\n{ALIAS}"
    result = place.check(text)
    assert (result.code, result.lines) == (0, [])
    assert "WSGID0005" in place.check(text.replace("user=#52001", "user=#4294967295")).out


def test_a_host_of_another_user_needs_socket_user(place):
    """httpd here has no mpm-itk, so it refuses the line; the check reads on."""
    other = machine.other_users()[0].pw_name
    text = (
        "WSGIDaemonProcess shop\n<VirtualHost *>\n"
        f"AssignUserID {other} {other}\nWSGIProcessName shop\n{ALIAS}\n</VirtualHost>"
    )
    found = place.check(text).find("WSGID0451")
    assert found.startswith(place.line_of("", "AssignUserID")) and f"socket-user={other}" in found
    given = text.replace("Process shop\n<", f"Process shop socket-user={other}\n<")
    assert "WSGID0451" not in place.check(given).out


@root_only
def test_httpds_user_needs_the_directory_of_the_sockets_only_after_chroot(place):
    closed = place.root / "closed"
    closed.mkdir(mode=0o700)
    text = f"WSGISocketPrefix {closed}/wsgid\nWSGIDaemonProcess shop\n"
    assert place.check(text).lines == []
    result = place.check(f"{text}ChrootDir {place.root}\n")
    assert f"which cannot enter {closed} to reach the sockets" in result.find("WSGID0061")


@root_only
def test_a_file_that_the_user_cannot_reach_is_reported_with_the_first_obstacle(place):
    other = machine.other_users()[0].pw_name
    closed = place.root / "app" / "closed"
    place.write("app/closed/deep/site.wsgi", GOOD)
    (closed / "venv" / "bin").mkdir(parents=True)
    (closed / "venv" / "bin" / "python").symlink_to(PYTHON)
    closed.chmod(0o700)
    result = place.check(
        f"WSGIDaemonProcess shop user={other} home={closed}/deep python-home={closed}/venv\n"
        "WSGIProcessName shop\nWSGIScriptAlias / @APP@/closed/deep/site.wsgi"
    )
    line = result.find("WSGID0331")
    assert f"the application runs as user {other}, which cannot enter {closed}" in line
    assert f"run `chmod o+x {closed}`" in line
    assert f"user {other} cannot enter {closed}" in result.find("WSGID0424")
    assert (
        f"user {other} cannot run {closed}/venv/bin/python (python-home=): {closed} is closed"
        in result.find("WSGID0082")
    )


@root_only
def test_httpd_too_must_reach_the_script(place):
    """httpd must find the script as its own user, even if the group has another one."""
    other = machine.other_users()[0]
    place.write("app/home/site.wsgi", GOOD)
    os.chown(place.root / "app" / "home", other.pw_uid, -1)
    (place.root / "app" / "home").chmod(0o700)
    result = place.check(
        f"WSGIDaemonProcess shop user={other.pw_name}\nWSGIProcessName shop\n"
        "WSGIScriptAlias / @APP@/home/site.wsgi"
    )
    line = result.find("WSGID0331")
    assert f"httpd runs as user {machine.web_user()}, which cannot enter" in line


@root_only
def test_imports_run_as_the_groups_user(place):
    other = machine.other_users()[0]
    place.write("app/site.wsgi", f"import os\nassert os.getuid() == {other.pw_uid}\n{GOOD}")
    text = f"WSGIDaemonProcess shop user={other.pw_name}\nWSGIProcessName shop\n{ALIAS}"
    assert place.check(text).code == 0
    assert "WSGID0332" in place.check(text.replace(other.pw_name, machine.web_user())).out


@root_only
def test_a_check_that_needs_root_is_noted_but_is_not_a_problem(place):
    names = [entry for entry in machine.other_users() if entry.pw_uid != 65534]
    result = place.check(
        f"WSGIDaemonProcess shop user={names[0].pw_name}\nWSGIProcessName shop\n{ALIAS}", user=65534
    )
    assert result.code == 2, result.out
    assert (
        "not checked: WSGID0423: " in result.find("WSGID0423")
        and "run the check as root" in result.lines[0]
    )
    nobody = pwd.getpwuid(65534).pw_name
    assert f"if user {nobody} starts httpd, remove user=, which has no effect" in result.lines[0]


# -------- modules


def test_both_modules_are_refused(place):
    text = f"LoadModule wsgi_module modules/mod_wsgi.so\n{configuration.load_ours(place.module, together=False)}"
    result = place.check(ALIAS, load=text)
    assert result.code == 1
    assert result.find("WSGID0001").startswith(place.line_of("", "wsgi_module"))


def test_a_missing_or_incomplete_module_is_reported(place):
    result = place.check(ALIAS, load="LoadModule wsgid_module modules/mod_wsgid.so")
    assert f"{place.root}/modules/mod_wsgid.so does not exist" in result.find("WSGID0421")
    shutil.copy(place.module, place.root / "app" / "mod_wsgid.so")
    result = place.check(ALIAS, load=f"LoadModule wsgid_module {place.root}/app/mod_wsgid.so")
    assert "pywsgid/daemon/boot.py is not beside" in result.find("WSGID0421")


def test_no_module_at_all_is_reported(place):
    assert "add LoadModule wsgid_module" in place.check(ALIAS, load="").find("WSGID0420")


def test_a_configuration_without_wsgi_is_not_reported_as_good(place):
    result = place.check("", load="")
    assert result.code == 2 and "WSGID0429" in result.out


def test_an_unreadable_configuration_gives_one_line_and_exit_code_2(place):
    result = run_check(place.root / "nothing.conf")
    assert (result.code, result.out) == (2, "")
    assert re.fullmatch(r"pywsgid: WSGID0430: .*nothing\.conf cannot be read .*\n", result.err)


# -------- coming from mod_wsgi


def test_what_to_change_in_an_old_configuration_is_reported(place):
    """mod_wsgi itself need not be installed."""
    result = place.check(
        f"""
WSGIRestrictStdout Off
<VirtualHost *:80>
    WSGIDaemonProcess shop python={PYTHON} home=@APP@ processes=2 threads=15 eviction-timeout=5 \\
        display-name='a b'
    WSGIProcessGroup shop
    WSGIApplicationGroup shop-1
    WSGIScriptAlias /embedded @APP@/site.wsgi process-group=%{{GLOBAL}} \\
        application-group=%{{GLOBAL}}
    {ALIAS}
</VirtualHost>
""",
        load="LoadModule wsgi_module modules/mod_wsgi.so",
    )
    assert f'LoadModule wsgid_module "{CHECKOUT}' in result.find("WSGID0420")
    assert "note: WSGID0014: WSGIRestrictStdout has no effect" in result.find("WSGID0014")
    assert "eviction-timeout= has no effect in mod_wsgid: " in result.find("WSGID0013")
    assert result.find("WSGID0427").startswith(place.line_of("", " application-group="))
    assert (result.code, len(result.lines)) == (1, 4)


@pytest.mark.parametrize("name", ["wsgid_module", "wsgi_module"])
@pytest.mark.parametrize("condition", ["mod_wsgi.c", "wsgi_module", "mod_wsgid.c"])
def test_a_section_for_mod_wsgi_is_read_as_httpd_reads_it(place, condition, name):
    text = (
        f"<IfModule {condition}>\n{ALIAS}\n</IfModule>\n<IfModule !{condition}>\nFault\n</IfModule>"
    )
    result = place.check(text, load=f"LoadModule {name} {place.module}")
    assert (result.code, result.lines) == (0, [])
    assert "1 script" in result.out
    result = place.check(text + "\nFault", load=f"LoadModule {name} {place.module}")
    assert "1 script" in result.out  # httpd refuses it: the check has read it by itself


def test_a_configuration_that_serves_nothing_is_not_reported_as_good(place):
    result = place.check("")
    assert result.code == 0 and "no problems" not in result.out
    assert result.out.endswith(
        "0 scripts: nothing is served, because no WSGIScriptAlias maps a URL to a script\n"
    )
    assert (
        "nothing is served" not in place.check("AddHandler wsgid-script .wsgi", "--no-import").out
    )


def test_notes_count_as_problems_only_with_strict(place):
    text = f"WSGIDaemonProcess shop eviction-timeout=1\nWSGIProcessName shop\n{ALIAS}"
    assert place.check(text).code == 0
    assert place.check(text, "--strict").code == 1


# -------- reading


def debians_layout(place) -> Path:
    """apache2.conf without ServerRoot, envvars, and modules and sites enabled by symbolic links."""
    top = place.root / "etc"
    names = {
        name: line
        for name in ("mpm_event", "authz_core", "alias")
        for line in machine.load_lines([name])
    }
    for name, line in {
        **names,
        "wsgid": configuration.load_ours(place.module, together=False),
    }.items():
        place.write(f"etc/mods-available/{name}.load", line + "\n")
    place.write(
        "etc/mods-available/wsgid.conf",
        "<IfModule wsgid_module>\nWSGISocketPrefix ${APACHE_RUN_DIR}/wsgid\n</IfModule>\n",
    )
    place.write(
        "etc/sites-available/shop.conf",
        """<VirtualHost *:80>
    ServerName shop
    WSGIDaemonProcess shop threads=x \\
        home=${SITE}
    WSGIProcessGroup shop
    WSGIScriptAlias / ${SITE}/site.wsgi
    <Directory ${SITE}>
        Require all granted
    </Directory>
</VirtualHost>
""",
    )
    place.write("etc/sites-available/off.conf", "WSGIDaemonProcess off threads=x\n")
    for kind, chosen in (
        ("mods", ["mpm_event.load", "authz_core.load", "wsgid.load", "wsgid.conf"]),
        ("sites", ["shop.conf"]),
    ):
        (top / f"{kind}-enabled").mkdir()
        for name in chosen:
            if (top / f"{kind}-available" / name).exists():
                (top / f"{kind}-enabled" / name).symlink_to(f"../{kind}-available/{name}")
    place.write(
        "etc/envvars",
        f"export APACHE_RUN_DIR={place.root}/run$SUFFIX\nexport APACHE_RUN_USER="
        f"{machine.web_user()}\nexport APACHE_LOG_DIR={place.root}\n",
    )
    user = "User ${APACHE_RUN_USER}" if os.geteuid() == 0 else ""
    return place.write(
        "etc/apache2.conf",
        f"""# a comment that goes on \\
WSGINonsense
DefaultRuntimeDir ${{APACHE_RUN_DIR}}
{user}
ServerName localhost
Define SITE {place.root}/app
IncludeOptional mods-enabled/*.load
IncludeOptional mods-enabled/*.conf
ErrorLog ${{APACHE_LOG_DIR}}/error.log
<IfDefine EXTRA>
    WSGINonsense
</IfDefine>
<Directory />
    Require all denied
</Directory>
IncludeOptional sites-enabled/*.conf
IncludeOptional none/*.conf
""",
    )


def test_debians_layout_is_read_with_its_variables(place):
    main = debians_layout(place)
    shop = main.parent / "sites-enabled" / "shop.conf"
    result = run_check(main)
    assert (result.code, len(result.lines)) == (1, 1), result.out
    assert result.find("WSGID0003").startswith(f"{shop}:4: ")
    assert "WSGID0422" in run_check(main, "-D", "EXTRA").out
    shop.write_text(shop.read_text().replace("threads=x", "threads=2"))
    assert run_check(main).out == f"{main}, 1 daemon group, 1 script: no problems found\n"


CORPUS = r"""
Define WHERE /srv/x
Define FLAG
WSGIPythonPath "${WHERE}/a b:${WHERE}/${UNKNOWN}"
WSGIDaemonProcess one threads=3 \
    display-name="a \"b\"" \
    env=A=b
# a comment \
WSGIDaemonProcess not_this
<IfModule wsgid_module>
    <IfModule !mod_nothing.c>
        WSGIDaemonProcess two
    </IfModule>
    <IfModule mod_nothing.c>
        WSGIDaemonProcess not_this
        <VirtualHost *:80>
            <IfModule wsgid_module>
                WSGIDaemonProcess not_this
            </IfModule>
        </VirtualHost>
    </IfModule>
</IfModule>
<IfModule mod_wsgid.c>
WSGIDaemonProcess three
</IfModule>
<IfDefine FLAG>
WSGIDaemonProcess four
</IfDefine>
UnDefine FLAG
<IfDefine FLAG>
WSGIDaemonProcess not_this
</IfDefine>
<IfDefine !FLAG>
WSGIDaemonProcess five
</IfDefine>
<IfFile conf/parts/1.conf>
WSGIDaemonProcess six
</IfFile>
<VirtualHost *:80 *:81>
	Include conf/parts
	<Directory "/srv/a b">
	Require all granted
	<Files *.wsgi>
	IncludeOptional conf/pa*ts/[1-2].co?f
	</Files>
	</Directory>
	WSGIScriptAlias   /x    ${WHERE}/x.wsgi   process-group=one
</VirtualHost>
IncludeOptional conf/none.conf
IncludeOptional conf/none/*.conf
<Location "/y">
WSGIProcessGroup one
</Location>
"""


def shape(lines) -> list[tuple]:
    return [
        (line.name, line.words, line.file, line.line, [(s.name, s.words) for s in line.sections])
        for line in lines
        if line.key not in conf_dump.READ_AT_ONCE
    ]


def test_it_reads_configurations_as_httpd_does(place):
    """Compares our own parser, which is used where httpd refuses a configuration, with httpd's,
    which is used otherwise.
    """
    for name in ("1.conf", "2.conf", "10.conf", "deep/er.conf"):
        place.write(
            f"conf/parts/{name}",
            f"WSGICallableObject name_{name.partition('.')[0].replace('/', '_')}\n",
        )
    path = place.write("conf/httpd.conf", place.base() + CORPUS)
    httpd = server.find_server()
    how = httpd_build.build_of(httpd)
    own = conf_reader.read(httpd, str(path), how.root, how.version, {}, {})
    dumped, _, errors = conf_dump.dump(httpd, ["-f", str(path)], {})
    assert len(dumped) > 20, errors
    assert shape(own.directives) == shape(dumped)
    assert own.gaps == []
    assert "not_this" not in str(shape(dumped))


def test_directives_that_only_httpd_can_expand_are_reported_if_httpd_refuses(place):
    macro = "\n".join(
        [
            *machine.load_lines(["macro"]),
            "<Macro Site $name>",
            "WSGIScriptAlias /$name @APP@/$name.wsgi",
            "</Macro>",
            "Use Site missing",
        ]
    )
    # httpd follows it ...
    line = place.check(macro).find("WSGID0330")
    assert line.startswith(place.line_of("", "Use Site")) and "missing.wsgi does not exist" in line
    # ... unless it refuses something else.
    result = place.check(f"{macro}\nNonsense on\n")
    assert "not checked: WSGID0429" in result.out and result.code == 1


@pytest.fixture
def example(place, certificates) -> Callable[[str], Result]:
    def check(name: str) -> Result:
        text = examples.with_users((CHECKOUT / "conf" / name).read_text())
        text = re.sub(r" python-home=\S+|^Listen .*$", "", text, flags=re.M)
        for script in re.findall(r"/srv/(\S+\.wsgi)", text):
            place.write(f"app/{script}", GOOD)
        place.write("app/bob/settings.ini", "")
        text = re.sub(r"/etc/ssl/\w+/shop", str(certificates / "server"), text)
        modules = machine.load_lines(["rewrite", "ssl", "http2", "headers"])
        text = text.replace("/srv/site/servers.txt", str(place.write("app/servers.txt", "")))
        return place.check("\n".join(modules) + "\n" + text.replace("/srv/", "@APP@/"))

    return check


@pytest.mark.parametrize(
    "name",
    [
        "one-site.conf",
        "several-sites-several-users.conf",
        "random-daemon.conf",
        "tls.conf",
        "wsgid.conf",
    ],
)
def test_our_own_examples_have_no_findings(example, name):
    result = example(name)
    assert result.code == 0, result.out
    assert len(result.lines) == (name == "random-daemon.conf")
