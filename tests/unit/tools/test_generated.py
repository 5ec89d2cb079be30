"""What derives from the tables is up to date, and table, C and Python agree."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

from pywsgid.daemon import configuration
from pywsgid.wire.options import FOREIGN, OPTIONS

ROOT = Path(__file__).resolve().parents[3]
GENERATOR = ROOT / "docs" / "generate.py"
NAMES = re.findall(
    r'^OPTION\(\w+, "([\w-]+)"',
    (ROOT / "apxs/config/options.def").read_text(encoding="utf-8"),
    re.MULTILINE,
)
# What the parent tells a daemon beside the options (docs/design.md).
NOT_OPTIONS = {
    "group", "slot", "processes-named", "httpd-uid", "log-level", "request-log-level",
    "module-version", "wire-version", "successor",
}  # fmt: skip
DESIGN = """# Design

<!-- states: process -->
<!-- end of states -->
Between.
<!-- states: daemon -->
stale
<!-- end of states -->
"""
C_TABLE = """
#define TO(state) { MOVE, WSGID_##state }
#define LET_GO    { PULL, WSGID_OUT }
#define STAY      { IGNORE, WSGID_IN }
#define NEVER     { IMPOSSIBLE, WSGID_IN }
    [WSGID_IN]  = { TO(OUT), LET_GO },
    [WSGID_OUT] = { STAY,    NEVER },
static const char *const state_names[WSGID_STATES] = { "in", "out" };
static const char *const event_names[WSGID_EVENTS] = { "left", "told" };
"""
PYTHON_TABLE = """
STATES = {"up": "it is up", "down": ""}
EVENTS = {"fell": "it fell", "rose": ""}
TRANSITIONS = {"up": {"fell": ("down", "weep_loudly"), "rose": None}, "down": {"rose": ("up", "")}}
"""


def generate(root, *arguments):
    command = [sys.executable, str(root / "docs" / "generate.py"), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.fixture
def copy(tmp_path):
    """A tree of its own for the generator, with a table, a source and an error page of a few
    lines."""
    for name in (
        "docs/errors.d",
        "apxs/config",
        "apxs/supervisor",
        "pywsgid/wire",
        "pywsgid/daemon/process",
    ):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "docs/generate.py").write_text(GENERATOR.read_text(encoding="utf-8"))
    (tmp_path / "apxs/config/directives.def").write_text("")
    (tmp_path / "apxs/config/options.def").write_text(
        'OPTION(ONE, "one", INTEGER, "1", 0, 9, BOTH, "", "Help.")\n'
    )
    (tmp_path / "apxs/a.c").write_text('"WSGID0001: a"')
    (tmp_path / "docs/errors.d/a.md").write_text("### WSGID0001: a\n\nCause and fix.\n")
    (tmp_path / "docs/design.md").write_text(DESIGN)
    (tmp_path / "apxs/supervisor/process.c").write_text(C_TABLE)
    (tmp_path / "pywsgid/daemon/process/states.py").write_text(PYTHON_TABLE)
    return tmp_path


def test_generated_files_are_up_to_date():
    done = generate(ROOT, "--check")
    assert (done.returncode, done.stderr) == (0, "")


def test_module_has_every_option_of_the_table_in_its_order():
    assert len(NAMES) > 25
    assert list(OPTIONS) == NAMES


def test_every_option_has_a_type_and_a_help_sentence():
    for option in OPTIONS.values():
        assert option.type
        assert option.help.endswith(".")


def test_defaults_are_within_their_bounds():
    for name, option in OPTIONS.items():
        if isinstance(option.default, (int, float)):
            assert option.least <= option.default <= option.most, name


def test_no_option_is_known_and_foreign_at_once():
    assert not OPTIONS.keys() & FOREIGN.keys()


def test_daemon_knows_exactly_what_it_is_told():
    told = {name for name, option in OPTIONS.items() if option.for_daemon}
    assert configuration.KEYS.keys() - NOT_OPTIONS == told


def test_daemon_has_the_defaults_of_the_table():
    for name, option in OPTIONS.items():
        if option.for_daemon and option.default is not None:
            assert configuration.KEYS[name][2] == option.default, name


def test_check_passes_after_generation(copy):
    assert generate(copy).returncode == 0
    assert generate(copy, "--check").returncode == 0


def test_check_says_what_is_out_of_date(copy):
    generate(copy)
    (copy / "apxs/config/options.def").write_text(
        'OPTION(ONE, "one", INTEGER, "2", 0, 9, BOTH, "", "Help.")\n'
    )
    done = generate(copy, "--check")
    assert done.returncode == 1
    assert "pywsgid/wire/options.py is out of date" in done.stderr
    assert "docs/reference/options.md is out of date" in done.stderr


def section(page, name):
    """What stands under a heading of the reference."""
    text = (ROOT / "docs/reference" / page).read_text(encoding="utf-8")
    return " ".join(text.partition(f"\n## {name}\n")[2].partition("\n## ")[0].split())


def test_the_reference_shows_sizes_as_they_are_written():
    assert "64K to 1G; default 8M" in section("options.md", "response-buffer-size")
    assert "e+" not in (ROOT / "docs/reference/options.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", ["WSGISocketPrefix", "WSGIPythonHome", "WSGIPythonPath"])
def test_a_directive_of_the_main_server_alone_has_no_other_context(name):
    text = section("directives.md", name)
    assert "Context: server. " in text and "Not within a VirtualHost" in text


def test_the_reference_says_what_configtest_does_not_find():
    text = (ROOT / "docs/reference/options.md").read_text(encoding="utf-8").partition("\n## ")[0]
    assert "by `pywsgid check`" in text
    assert "deadlock-timeout" in section("options.md", "request-timeout")


def test_options_of_serve_name_no_directive_as_their_default():
    assert "Default: WSGI" not in (ROOT / "docs/reference/serve.md").read_text(encoding="utf-8")


def assert_refused(copy, problem):
    done = generate(copy)
    assert done.returncode == 1
    assert problem in done.stderr


@pytest.mark.parametrize(
    ("page", "problem"),
    [
        ("", "WSGID0001 (apxs/a.c) is not documented"),
        (
            "### WSGID0001: a\n\nx\n\n### WSGID0002: b\n\nx\n",
            "WSGID0002 is documented, but no source has it",
        ),
        ("### WSGID0001: a\n\nx\n\n### WSGID0001: b\n\nx\n", "WSGID0001 is documented twice"),
        ("### a: WSGID0001\n\nx\n", "each section begins with"),
    ],
)
def test_every_code_is_documented_once(copy, page, problem):
    (copy / "docs/errors.d/a.md").write_text(page)
    assert_refused(copy, problem)


@pytest.mark.parametrize(
    ("table", "problem"),
    [
        ('OPTION(ONE, "one", NUMBER, "1", 0, 9, BOTH, "", "Help.")', "type NUMBER"),
        ('OPTION(ONE, "two", INTEGER, "1", 0, 9, BOTH, "", "Help.")', "does not fit its ID"),
        ('OPTION(ONE, "one", INTEGER, "1", 0, 9, BOTH, "")', "8"),
        (
            'OPTION(ONE, "one", TEXT, NULL, 0, 9, BOTH, "", "Help.")\nFOREIGN_OPTION("one", "x")',
            "more than once: one",
        ),
        ('OPTION(ONE, "one', "unfinished"),
        ("int x;", "no macro call"),
    ],
)
def test_a_table_that_breaks_the_rules_is_refused(copy, table, problem):
    (copy / "apxs/config/options.def").write_text(table)
    assert_refused(copy, problem)


def test_the_table_of_rooms_has_each_folder_once():
    table = (
        (ROOT / "docs/design.md")
        .read_text(encoding="utf-8")
        .partition("\n## The rooms\n")[2]
        .partition("\n## ")[0]
    )
    named = re.findall(r"^\| `([\w/]+)/` \|", table, re.MULTILINE)
    places = (path for top in ("apxs", "pywsgid") for path in (ROOT / top).rglob("*"))
    rooms = [
        str(path.relative_to(ROOT))
        for path in places
        if path.is_dir() and path.name != "__pycache__"
    ]
    assert sorted(named) == sorted(rooms)


def test_state_tables_are_drawn_between_their_marks(copy):
    assert generate(copy).returncode == 0
    text = (copy / "docs/design.md").read_text()
    for line in (
        "| **in** | out | out, pull |", "| **out** | - | ! |", "    in --> out: left, told",
        "Between.",
        "| **up** | down, weep loudly | - |", "| **down** | ! | up |", "    down --> up: rose",
        "States: *up*, it is up; *down*, .",
    ):  # fmt: skip
        assert line in text.splitlines(), text
    assert "stale" not in text
    (copy / "pywsgid/daemon/process/states.py").write_text(PYTHON_TABLE.replace("weep", "laugh"))
    assert "docs/design.md is out of date" in generate(copy, "--check").stderr


@pytest.mark.parametrize(
    ("name", "old", "new", "problem"),
    [
        (
            "apxs/supervisor/process.c",
            "TO(OUT)",
            "TO(AWAY)",
            "the table has away, which has no name",
        ),
        ("apxs/supervisor/process.c", "TO(OUT)", "GO(OUT)", "GO is no macro"),
        ("apxs/supervisor/process.c", ", LET_GO", "", "IN has 1 cells for 2 events"),
        (
            "pywsgid/daemon/process/states.py",
            '"rose": None',
            '"rises": None',
            "the table has rises",
        ),
        ("docs/design.md", "daemon", "demon", "demon is no state table"),
    ],
)
def test_a_state_table_that_breaks_the_rules_is_refused(copy, name, old, new, problem):
    (copy / name).write_text((copy / name).read_text().replace(old, new))
    assert_refused(copy, problem)


# Log calls that pass on a text that has its code already.
PASSED_ON = {"x->log_mark", "x->failure", "row->code", "line", "error"}


def test_every_log_call_has_a_code():
    """The generator checks that each code is explained; this, that nothing is said without one."""
    for path in [*ROOT.glob("apxs/*/*.c"), ROOT / "mod_wsgid.c"]:
        for call in re.findall(
            r"\bap_log_(?:r|p|c)?error\((?:[^;\"]|\"[^\"]*\")*;", path.read_text(encoding="utf-8")
        ):
            words = set(re.findall(r"[\w>-]+", call))
            assert "WSGID" in call or words & PASSED_ON, f"{path.name}: {call}"
    for path in (ROOT / "pywsgid").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and ast.unparse(node.func).endswith("log.write"):
                texts = [
                    one.value for one in ast.walk(node.args[1]) if isinstance(one, ast.Constant)
                ]
                literal = [
                    text for text in texts if isinstance(text, str) and len(text) > len("%s [%s]")
                ]
                assert not literal or any(text.startswith("WSGID") for text in literal), (
                    f"{path.name}: {literal}"
                )
