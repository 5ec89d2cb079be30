"""Everything generated from the tables is up to date, and table, C and Python agree."""

import ast
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from pywsgid.daemon import configuration
from pywsgid.wire.options import FOREIGN, OPTIONS

ROOT = Path(__file__).resolve().parents[3]
NAMES = re.findall(
    r'^OPTION\(\w+, "([\w-]+)"',
    (ROOT / "apxs/config/options.def").read_text(encoding="utf-8"),
    re.MULTILINE,
)
# The parent gives these to a daemon besides the options (docs/design.md).
NOT_OPTIONS = {
    "group", "slot", "page", "processes-named", "httpd-uid", "log-level", "request-log-level",
    "httpd-version", "wire-version", "successor", "script-uid", "script-gid", "httpd-description",
    "httpd-mpm", "httpd-built", "label", "application-group", "more-processes",
}  # fmt: skip
DESIGN = """# Design

<!-- table: process (make generate) -->
<!-- end of table -->
Between.
<!-- table: daemon (make generate) -->
stale
<!-- end of table -->
<!-- table: exit codes (make generate) -->
<!-- end of table -->
"""
C_TABLE = """
#define TO(state) { MOVE, WSGID_STATE_##state }
#define LET_GO    { PULL, WSGID_STATE_OUT }
#define STAY      { IGNORE, WSGID_STATE_IN }
#define NEVER     { IMPOSSIBLE, WSGID_STATE_IN }
    [WSGID_STATE_IN]  = { TO(OUT), LET_GO },
    [WSGID_STATE_OUT] = { STAY,    NEVER },
static const char *const event_names[WSGID_EVENTS] = { "left", "for_daemon" };
"""
# Used in place of the states of a process.
STATES = """STATES = (
    State("in", True, False, "inside"),
    State("out", True, False, "outside"),
    State("up", False, True, "it is up"),
    State("down", False, True, ""),
)
PAGE_STATES = ("in",)

# Why"""
PYTHON_TABLE = """
EVENTS = {"fell": "it fell", "rose": ""}
TRANSITIONS = {"up": {"fell": ("down", "weep_loudly"), "rose": None}, "down": {"rose": ("up", "")}}
"""


def generate(root, *arguments):
    command = [sys.executable, "-m", "tools.generate", *arguments]
    return subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)


@pytest.fixture
def copy(tmp_path):
    """A small source tree for the generator: the table of shared numbers, the other tables, a
    source file and an error page of a few lines.
    """
    for name in (
        "docs/errors.d",
        "apxs/config",
        "apxs/guardian",
        "pywsgid/wire",
        "pywsgid/daemon/process",
    ):
        (tmp_path / name).mkdir(parents=True)
    shutil.copytree(ROOT / "tools/generate", tmp_path / "tools/generate")
    for name in ("pywsgid/__init__.py", "pywsgid/wire/table.py", "pywsgid/wire/protocol.py"):
        shutil.copy(ROOT / name, tmp_path / name)
    table = tmp_path / "pywsgid/wire/table.py"
    table.write_text(re.sub(r"^STATES = .*?^# Why", STATES, table.read_text(), flags=re.M | re.S))
    (tmp_path / "apxs/config/directives.def").write_text("")
    (tmp_path / "apxs/config/options.def").write_text(
        'OPTION(ONE, "one", INTEGER, "1", 0, 9, BOTH, "", "Help.")\n'
    )
    (tmp_path / "apxs/a.c").write_text('"WSGID0001: a"')
    (tmp_path / "docs/errors.d/a.md").write_text("### WSGID0001: a\n\nCause and fix.\n")
    (tmp_path / "docs/design.md").write_text(DESIGN)
    (tmp_path / "apxs/guardian/process.c").write_text(C_TABLE)
    (tmp_path / "pywsgid/daemon/process/states.py").write_text(PYTHON_TABLE)
    return tmp_path


def test_generated_files_are_up_to_date():
    done = generate(ROOT, "--check")
    assert (done.returncode, done.stderr) == (0, "")


def test_the_module_has_every_option_of_the_table_in_the_same_order():
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


def test_no_option_is_both_known_and_foreign():
    assert not OPTIONS.keys() & FOREIGN.keys()


def test_the_daemon_knows_exactly_the_options_that_it_gets():
    for_daemon = {name for name, option in OPTIONS.items() if option.for_daemon}
    assert configuration.KEYS.keys() - NOT_OPTIONS == for_daemon


def test_daemon_has_the_defaults_of_the_table():
    for name, option in OPTIONS.items():
        if option.for_daemon and option.default is not None:
            assert configuration.KEYS[name][2] == option.default, name


def test_check_passes_after_generation(copy):
    assert generate(copy).returncode == 0
    assert generate(copy, "--check").returncode == 0


def test_check_names_what_is_out_of_date(copy):
    generate(copy)
    (copy / "apxs/config/options.def").write_text(
        'OPTION(ONE, "one", INTEGER, "2", 0, 9, BOTH, "", "Help.")\n'
    )
    done = generate(copy, "--check")
    assert done.returncode == 1
    assert "pywsgid/wire/options.py is out of date" in done.stderr
    assert "docs/reference/options.md is out of date" in done.stderr


def section(page, name):
    """The text under a heading of the reference."""
    text = (ROOT / "docs/reference" / page).read_text(encoding="utf-8")
    return " ".join(text.partition(f"\n## {name}\n")[2].partition("\n## ")[0].split())


def test_the_reference_shows_sizes_as_they_are_written():
    assert "64K to 1G; default 8M" in section("options.md", "response-buffer-size")
    assert "e+" not in (ROOT / "docs/reference/options.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", ["WSGISocketPrefix", "WSGIPythonHome", "WSGIPythonPath"])
def test_a_directive_of_the_main_server_alone_has_no_other_context(name):
    text = section("directives.md", name)
    assert "Context: server. " in text and "Not allowed in a VirtualHost" in text


def test_the_reference_names_what_configtest_does_not_check():
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


def test_state_tables_are_drawn_between_their_markers(copy):
    assert generate(copy).returncode == 0
    text = (copy / "docs/design.md").read_text()
    for line in (
        "| **in** | out | out, pull |", "| **out** | - | ! |", "    in --> out: left, for_daemon",
        "Between.",
        "| **up** | down, weep loudly | - |", "| **down** | ! | up |", "    down --> up: rose",
        "States: *in*, inside; *out*, outside.", "States: *up*, it is up; *down*, .",
    ):  # fmt: skip
        assert line in text.splitlines(), text
    assert "stale" not in text
    (copy / "pywsgid/daemon/process/states.py").write_text(PYTHON_TABLE.replace("weep", "laugh"))
    assert "docs/design.md is out of date" in generate(copy, "--check").stderr


@pytest.mark.parametrize(
    ("name", "old", "new", "problem"),
    [
        (
            "apxs/guardian/process.c",
            "TO(OUT)",
            "TO(AWAY)",
            "the table has away, which has no name",
        ),
        ("apxs/guardian/process.c", "TO(OUT)", "GO(OUT)", "GO is no macro"),
        ("apxs/guardian/process.c", ", LET_GO", "", "IN has 1 cells for 2 events"),
        (
            "pywsgid/daemon/process/states.py",
            '"rose": None',
            '"rises": None',
            "the table has rises",
        ),
        ("docs/design.md", "daemon", "demon", "demon is no table"),
        ("docs/design.md", "<!-- end of table -->", "", "no section between"),
    ],
)
def test_a_state_table_that_breaks_the_rules_is_refused(copy, name, old, new, problem):
    (copy / name).write_text((copy / name).read_text().replace(old, new))
    assert_refused(copy, problem)


def test_a_new_frame_reaches_c_python_and_the_docs(copy):
    table = copy / "pywsgid/wire/table.py"
    table.write_text(
        table.read_text().replace(
            '    Frame("RETRY", 0x16,',
            '    Frame("NEW", 0x3F, "daemon", "a test"),\n    Frame("RETRY", 0x16,',
        )
    )
    assert generate(copy).returncode == 0
    assert re.search(
        r"^#define WSGID_WIRE_NEW +0x3f$", (copy / "apxs/common/wire_table.h").read_text(), re.M
    )
    assert "\nNEW = 0x3F\n" in (copy / "pywsgid/wire/protocol.py").read_text()


def test_a_new_function_reaches_c_and_python(copy):
    table = copy / "pywsgid/wire/table.py"
    assert generate(copy).returncode == 0
    before = (copy / "pywsgid/wire/hotpath_abi.py").read_text()
    new = 'FUNCTIONS = (\n    Function("int wsgid_hub_new(wsgid_hub_t *hub, double x)", "A test."),'
    table.write_text(table.read_text().replace("FUNCTIONS = (", new))
    assert generate(copy).returncode == 0
    header = (copy / "pywsgid/native/hotpath_table.h").read_text()
    assert "WSGID_API int wsgid_hub_new(wsgid_hub_t *hub, double x);" in header
    after = (copy / "pywsgid/wire/hotpath_abi.py").read_text()
    assert '"wsgid_hub_new": ("i", "pd"),' in after
    interfaces = [
        re.findall(r"^INTERFACE = (\d+)$", text, re.MULTILINE) for text in (before, after)
    ]
    assert interfaces[0] != interfaces[1], "an extension of the other kind must be refused"


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        ('"RETRY", 0x16', '"RETRY", 0x15', "more than once: 0x15"),
        ('"LOAD", 84', '"LOAD", 85', "more than once: 85"),
        ('"BODY END": "sent"', '"DATA END": "sent"', "httpd sends no DATA END in state sending"),
        ('"BODY END": "sent"', '"BODY END": "away"', "httpd has no state away"),
        ('Field("u32", "threads", "that run requests"),', "", "not aligned"),
        ('"BUCKETS", 24', '"BUCKETS", 64', "do not fit"),
        ('PAGE_STATES = ("in",)', 'PAGE_STATES = ("up",)', "up is no state that httpd sees"),
        ("int wsgid_hub_open(", "int wsgid_hub_open[", "no prototype"),
    ],
)
def test_a_table_that_contradicts_itself_is_refused(copy, old, new, problem):
    table = copy / "pywsgid/wire/table.py"
    assert old in table.read_text()
    table.write_text(table.read_text().replace(old, new))
    assert_refused(copy, problem)


# Log calls that pass on a text that already has its code.
PASSED_ON = {"wsgid_exchange_log_prefix", "row->code", "line", "error"}


def test_every_log_call_has_a_code():
    """The generator checks that each code is explained; this test checks that every message has
    one.
    """
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
