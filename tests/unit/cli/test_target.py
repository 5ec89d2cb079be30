"""TARGET: which application the command line names, and what is reported if there is none."""

from __future__ import annotations

import re

import pytest
from clienv import failure

from pywsgid.cli import messages
from pywsgid.cli.serve import target


def test_a_missing_script_is_named():
    assert "WSGID0403: /nowhere/site.wsgi" in failure("serve", "/nowhere/site.wsgi")


def test_a_directory_that_is_not_a_project_is_refused(tmp_path):
    assert "contains no manage.py" in failure("serve", str(tmp_path))


def test_a_syntax_error_is_reported_with_its_line(tmp_path):
    path = tmp_path / "site.wsgi"
    path.write_text("import os\ndef application(:\n")
    assert f"WSGID0404: {path}, line 2: " in failure("serve", str(path))


MANAGE = """
import os
os.environ.setdefault('DJANGO_SETTINGS_MODULE', 'config.settings.local')
"""


@pytest.fixture
def application(tmp_path, monkeypatch):
    """A package, a module and a Django project, in the current directory."""
    for name, text in {
        "hello.py": "app = 1",
        "shop/__init__.py": "from shop.web import app",
        "shop/web.py": "app = 1",
        "factory.py": "def create_app(): pass",
        "star.py": "from os import *",
        "broken.py": "def (",
        "project/manage.py": MANAGE,
        "project/config/wsgi.py": "application = 1",
        "project/other/wsgi.py": "application = 1",
    }.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text + "\n")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def find(text: str, callable_name: str = "application", **words) -> target.Target:
    return target.find(text, callable_name, None, **words)


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("hello:app", "from hello import app as application"),
        ("shop:app", "from shop import app as application"),
        ("shop:web.app", "from shop import web\n\napplication = web.app"),
        ("factory:create_app()", "from factory import create_app\n\napplication = create_app()"),
        ("star:anything", "from star import anything as application"),
        ("somewhere.else_:app", "from somewhere.else_ import app as application"),
    ],
)
def test_a_callable_of_a_module_becomes_a_script_that_imports_it(application, text, line):
    found = find(text)
    assert (found.script, found.directory, found.module) == (
        "",
        str(application),
        re.split("[.:]", text)[0],
    )
    assert line in found.source
    compile(found.source, "x", "exec")


@pytest.mark.parametrize(
    ("text", "code", "problem"),
    [
        ("hello:application", "WSGID0404", "does not define `application`: name hello:app"),
        ("factory:app", "WSGID0404", "name factory:create_app(), because"),
        ("broken:app", "WSGID0404", "broken.py, line 1: "),
        ("hello.py", "WSGID0404", "add --callable-object app, because it defines app"),
        ("factory.py", "WSGID0404", "add `application = create_app()`"),
        ("shop/web.wsgi", "WSGID0403", "cannot be read (No such file"),
        ("hello", "WSGID0403", "name a WSGI script, MODULE:CALLABLE"),
        ("shop", "WSGID0403", "contains no manage.py"),
    ],
)
def test_what_is_not_an_application_is_refused_with_a_suggestion(application, text, code, problem):
    with pytest.raises(messages.Failure) as failed:
        find(text)
    assert str(failed.value).startswith(code) and problem in str(failed.value)


def test_a_script_is_used_as_it_is(application):
    assert find("hello.py", "app") == target.Target(
        "hello.py", str(application), str(application / "hello.py"), callable="app"
    )


def test_syntax_is_not_checked_if_another_interpreter_will_read_it(application):
    assert find("broken.py", other_python=True).script == str(application / "broken.py")


@pytest.mark.parametrize("text", ["project", "project/", "project/manage.py"])
def test_the_script_of_a_django_project_is_the_one_beside_its_settings(application, text):
    found, project = find(text), application / "project"
    assert (found.script, found.directory) == (str(project / "config/wsgi.py"), str(project))


def test_a_django_project_without_a_script_gets_one(application):
    for name in ("config", "other"):
        (application / "project" / name / "wsgi.py").unlink()
    assert '"DJANGO_SETTINGS_MODULE", "config.settings.local"' in find("project").source
