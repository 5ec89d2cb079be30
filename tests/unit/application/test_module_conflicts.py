"""application/module_conflicts.py: which scripts get modules of other scripts, and that nothing
else is reported.
"""

from __future__ import annotations

import builtins
import importlib
import os
import py_compile
import sys
import threading

import pytest

from pywsgid.daemon.application import loader
from pywsgid.daemon.application.module_conflicts import ModuleConflicts

OWN = "import os, sys\nsys.path.insert(0, os.path.dirname(__file__))\n"
END = "\ndef application(environ, start_response): pass\n"


class Site:
    """Scripts and modules of one process."""

    def __init__(self, root, application_group: str | None = "") -> None:
        self.root = root
        self.lines: list[str] = []
        conflicts = ModuleConflicts("shop", application_group, self.lines.append)
        self.scripts = loader.Loader(conflicts=conflicts)

    def write(self, files: dict[str, str]) -> None:
        for name, text in files.items():
            path = self.root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)

    def load(self, *names: str) -> list[str]:
        """Loads scripts; the lines since then."""
        before = len(self.lines)
        for name in names:
            self.scripts.load(str(self.root / name), "application")
        return self.lines[before:]


@pytest.fixture
def make_site(tmp_path, monkeypatch):
    modules = dict(sys.modules)
    monkeypatch.setattr(sys, "path", sys.path[:])
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    yield lambda group="": Site(tmp_path, group)
    for name in set(sys.modules) - set(modules):
        del sys.modules[name]
    sys.modules.update(modules)
    importlib.invalidate_caches()


@pytest.fixture
def site(make_site):
    return make_site()


def two(text: str, **files: str) -> dict[str, str]:
    """Two scripts, and the same modules beside each of them: NAME_py is NAME.py."""
    written = {name.replace("_py", ".py"): content for name, content in files.items()}
    return {
        f"{site}/{name}": content
        for site in "ab"
        for name, content in {"site.wsgi": OWN + text + END, **written}.items()
    }


@pytest.mark.parametrize(("group", "shown"), [("", " %{GLOBAL},"), ("both", " both,"), (None, ",")])
@pytest.mark.parametrize("order", ["ab", "ba"])
def test_a_script_that_gets_the_module_of_another_one_is_reported(make_site, order, group, shown):
    site = make_site(group)
    site.write(two("import appmod", appmod_py=""))
    first, second = (f"{site.root}/{name}" for name in order)
    (line,) = site.load(*(f"{name}/site.wsgi" for name in order))
    assert line == (
        f"WSGID0379: group 'shop': script {second}/site.wsgi imports 'appmod' and gets "
        f"{first}/appmod.py, which {first}/site.wsgi has loaded into the same process, in the "
        f"place of {second}/appmod.py: remove WSGIApplicationGroup{shown} so that each script has "
        "processes of its own, or give this one another WSGIApplicationGroup"
    )


@pytest.mark.parametrize(
    "text",
    [
        "from appmod import *",
        "import appmod.views",
        "def application(environ, start_response):\n    from appmod import views",
        "import importlib; importlib.import_module('appmod')",
        "__import__('appmod')",
        "import importlib; NAME = 'appmod.views'; importlib.import_module(NAME)",
        "import appmod\nraise ValueError",
    ],
)
def test_every_way_to_import_counts(site, text):
    site.write(two(text))
    site.write({f"{name}/appmod/{file}.py": "" for name in "ab" for file in ("__init__", "views")})
    site.write({"a/site.wsgi": OWN + "import appmod.views" + END})
    assert len(site.load("a/site.wsgi", "b/site.wsgi")) == 1


def test_a_module_that_the_script_imports_counts_with_what_it_imports(site):
    for name in "ab":
        site.write(
            {
                f"{name}/site.wsgi": OWN + f"import {name}_views" + END,
                f"{name}/{name}_views.py": "import appmod",
                f"{name}/appmod.py": "",
            }
        )
    (line,) = site.load("a/site.wsgi", "b/site.wsgi")
    assert "imports 'appmod'" in line


def test_two_scripts_are_reported_once_and_a_third_one_for_itself(site):
    site.write(two("import appmod, other", appmod_py="", other_py=""))
    site.write({"c/site.wsgi": OWN + "import appmod" + END, "c/appmod.py": ""})
    assert len(site.load("a/site.wsgi", "b/site.wsgi")) == 1
    assert len(site.load("c/site.wsgi")) == 1
    assert site.load("a/site.wsgi", "b/site.wsgi", "c/site.wsgi") == []


def test_a_script_that_is_tried_again_is_reported_once(site, monkeypatch):
    site.write(two("import appmod", appmod_py=""))
    site.write({"b/site.wsgi": OWN + "import appmod\nraise ValueError"})
    assert len(site.load("a/site.wsgi", "b/site.wsgi")) == 1
    monkeypatch.setattr(loader, "RETRY_AFTER", 0)
    assert site.load("b/site.wsgi") == []


def test_the_place_of_the_script_does_not_matter(site):
    for name in "ab":
        site.write(
            {
                f"scripts/{name}.wsgi": f"import sys\nsys.path.insert(0, {str(site.root / name)!r})\n"
                "import appmod" + END,
                f"{name}/appmod.py": "",
            }
        )
    assert len(site.load("scripts/a.wsgi", "scripts/b.wsgi")) == 1


def test_a_package_without_init_is_compared_by_its_modules(site):
    site.write(two("import space.appmod", **{"space/appmod_py": "", "space/common_py": ""}))
    (line,) = site.load("a/site.wsgi", "b/site.wsgi")
    assert "'space.appmod'" in line
    site.write({"c/site.wsgi": OWN + "import space.third" + END, "c/space/third.py": ""})
    assert site.load("c/site.wsgi") == []


def test_a_module_for_all_scripts_that_another_script_hides_is_reported(site):
    site.write({f"{name}/site.wsgi": OWN + "import shared" + END for name in "ab"})
    site.write({"a/shared.py": "", "lib/shared.py": ""})
    sys.path.append(str(site.root / "lib"))
    (line,) = site.load("a/site.wsgi", "b/site.wsgi")
    assert f"in the place of {site.root}/lib/shared.py" in line


# ---- nothing to report


def test_modules_that_the_script_does_not_import_are_nobodys_business(site):
    site.write(two("import appmod", appmod_py=""))
    site.write({"b/site.wsgi": OWN + "import json\nNAME = 'appmod'" + END})
    assert site.load("a/site.wsgi", "b/site.wsgi") == []


def test_scripts_of_one_directory_share_its_modules(site):
    site.write({f"a/{name}.wsgi": OWN + "import appmod" + END for name in "xy"})
    site.write({"a/appmod.py": ""})
    assert site.load("a/x.wsgi", "a/y.wsgi") == []


def test_a_symbolic_link_to_the_same_file_is_the_same_module(site):
    site.write(two("import appmod"))
    site.write({"a/appmod.py": ""})
    os.symlink("../a/appmod.py", site.root / "b/appmod.py")
    os.symlink("a", site.root / "c")
    assert site.load("a/site.wsgi", "b/site.wsgi", "c/site.wsgi") == []


def test_bytecode_in_the_place_of_its_source_is_the_same_module(site):
    site.write({f"a/{name}.wsgi": OWN + "import appmod" + END for name in "xy"})
    site.write({"a/appmod.py": ""})
    py_compile.compile(str(site.root / "a/appmod.py"), str(site.root / "a/appmod.pyc"))
    (site.root / "a/appmod.py").unlink()
    site.load("a/x.wsgi")
    site.write({"a/appmod.py": ""})
    importlib.invalidate_caches()
    assert site.load("a/y.wsgi") == []


@pytest.mark.parametrize(("version", "count"), [("1", 0), ("2", 1)])
def test_copies_of_an_installed_module_count_if_they_differ(site, version, count):
    text = OWN.replace("(__file__)", "(__file__) + '/site-packages'")
    for name, content in (("a", "1"), ("b", version)):
        site.write(
            {
                f"{name}/site.wsgi": text + "import installed" + END,
                f"{name}/site-packages/installed.py": f"VERSION = {content}",
            }
        )
    assert len(site.load("a/site.wsgi", "b/site.wsgi")) == count


def test_modules_without_a_file_and_modules_that_resist_do_no_harm(site):
    site.write(two("import made, lazy, appmod", appmod_py=""))
    site.write(
        {
            "a/site.wsgi": OWN
            + "sys.modules['made'] = type(sys)('made')\n"
            + "class Lazy(type(sys)):\n"
            + "    def __getattribute__(self, name):\n"
            + "        raise RuntimeError\n"
            + "sys.modules['lazy'] = Lazy('lazy')\nsys.modules['odd'] = None\nimport appmod"
            + END,
            "b/made.py": "",
            "b/lazy.py": "",
        }
    )
    (line,) = site.load("a/site.wsgi", "b/site.wsgi")
    assert "'appmod'" in line


def test_what_the_daemon_had_before_the_first_script_is_the_same_for_all(site):
    site.write(two("import textwrap, appmod", textwrap_py=""))
    assert "textwrap" in sys.modules
    assert site.load("a/site.wsgi", "b/site.wsgi") == []


def test_a_path_for_all_scripts_is_no_conflict(site):
    """python-path= of two directories: alone, the second script would get the same module."""
    sys.path[:0] = [str(site.root / "a"), str(site.root / "b")]
    site.write(two("import appmod", appmod_py=""))
    site.write({f"{name}/site.wsgi": "import appmod" + END for name in "ab"})
    assert site.load("a/site.wsgi", "b/site.wsgi") == []


def test_scripts_that_are_loaded_at_a_time_are_not_taken_for_each_other(site):
    for name in "ab":
        site.write({f"{name}/{name}_mod.py": "", f"{name}/site.wsgi": OWN + f"import {name}_mod"})
    site.write(
        {
            "c/site.wsgi": OWN + "import c_mod, a_mod",
            "c/c_mod.py": "GATES[0].set()\nGATES[1].wait(10)",
            "c/a_mod.py": "",
        }
    )
    builtins.GATES = begun, gate = threading.Event(), threading.Event()
    try:
        thread = threading.Thread(target=site.load, args=("c/site.wsgi",))
        thread.start()
        assert begun.wait(10)
        site.load("a/site.wsgi", "b/site.wsgi")
        gate.set()
        thread.join()
    finally:
        del builtins.GATES
    (line,) = site.lines
    assert f"script {site.root}/c/site.wsgi imports 'a_mod'" in line
    assert "which another script has loaded" in line
