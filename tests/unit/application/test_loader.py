"""application/loader.py: from script file to callable, and the messages if that fails."""

from __future__ import annotations

import os
import pickle
import pwd
import re
import sys
import tempfile
import threading
import warnings
from pathlib import Path

import pytest

from pywsgid.daemon.application import loader
from pywsgid.wire import django_settings


@pytest.fixture
def write(tmp_path):
    def write(text, name="app.wsgi"):
        path = tmp_path / name
        path.write_text(text)
        return str(path)

    yield write
    for name in [name for name in sys.modules if name.startswith("_mod_wsgi_")]:
        del sys.modules[name]


def load(path, name="application"):
    state, found = loader.Loader().load(path, name)
    assert state == loader.LOADED, found
    return found


def failure(path, name="application"):
    state, found = loader.Loader().load(path, name)
    assert state == loader.FAILED_NOW
    return found


def test_a_script_is_a_module_that_can_be_found(write):
    path = write(
        "import sys\nNAME = __name__\nFILE = __file__\ndef application(): return NAME, FILE, sys.modules[NAME].FILE\n"
    )
    name, file, again = load(path)()
    assert file == again == path
    assert name.startswith("_mod_wsgi_")


def test_its_directory_is_not_put_on_the_path(write):
    write("", "neighbour.py")
    assert "ModuleNotFoundError" in str(failure(write("import neighbour\n")))


def test_objects_that_it_defines_can_be_pickled(write):
    thing = load(write("class Thing: pass\ndef application(): return Thing()\n"))()
    assert type(pickle.loads(pickle.dumps(thing))) is type(thing)


def test_the_name_is_the_same_in_every_process():
    assert (
        loader.module_name("/srv/site/app.wsgi")
        == loader.module_name("/srv/site/app.wsgi")
        == "_mod_wsgi_" + loader.module_name("/srv/site/app.wsgi")[10:]
    )
    assert loader.module_name("/srv/site/app.wsgi") != loader.module_name("/srv/other/app.wsgi")


def test_a_dotted_callable_is_found(write):
    assert (
        load(write("class site:\n    @staticmethod\n    def wsgi(): return 7\n"), "site.wsgi")()
        == 7
    )


def test_it_is_loaded_once(write):
    path = write(
        "COUNT = []\nCOUNT.append(1)\ndef application(): return len(COUNT)\ndef other(): return COUNT\n"
    )
    both = loader.Loader()
    assert both.find(path, "application") is None
    first = both.load(path, "application")[1]
    assert both.load(path, "other")[1]() == [1]
    assert both.find(path, "application") == first


def test_threads_that_need_it_at_the_same_time_wait_for_one_load(write, tmp_path):
    path = write(
        f"import time\ntime.sleep(0.05)\nopen({str(tmp_path / 'count')!r}, 'a').write('x')\ndef application(): pass\n"
    )
    both = loader.Loader()
    threads = [threading.Thread(target=both.load, args=(path, "application")) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (tmp_path / "count").read_text() == "x"


# ---- failures


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("def broken(:\n", "SyntaxError"),
        ("raise ValueError('boom')", "ValueError: boom"),
        ("raise SystemExit(3)", "SystemExit: 3"),
        ("raise KeyboardInterrupt", "KeyboardInterrupt"),
        ("import a_module_that_is_not_there", "ModuleNotFoundError"),
        ("x = '\0'", "null bytes|SyntaxError|ValueError"),
    ],
)
def test_a_script_that_raises_is_reported_with_its_traceback(write, text, problem):
    path = write(text)
    found = failure(path)
    assert str(found).startswith(f"WSGID0332: script {path} cannot be loaded")
    assert re.search(problem, str(found))
    assert re.search(problem, found.trace)
    assert "pywsgid" not in found.trace
    assert not any(getattr(module, "__file__", None) == path for module in sys.modules.values())


def test_a_traceback_causes_no_python_warning(write):
    """For each traceback, Python 3.15 warns about a module without a loader. With warnings as
    errors, the traceback would be lost.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = failure(write("def fail():\n    raise ValueError('boom')\nfail()\n"))
    assert "    raise ValueError('boom')\n" in found.trace


def test_a_script_that_does_not_exist_is_reported(tmp_path):
    assert str(failure(str(tmp_path / "none.wsgi"))).startswith("WSGID0330")


def test_a_directory_in_place_of_a_script_is_reported_with_a_script_in_it(tmp_path):
    assert f"such as {tmp_path}/wsgi.py" in str(failure(str(tmp_path)))
    (tmp_path / "site.wsgi").touch()
    found = str(failure(str(tmp_path)))
    assert found.startswith(f"WSGID0330: script {tmp_path} is a directory")
    assert found.endswith(f"such as {tmp_path}/site.wsgi")


def test_a_module_that_is_not_found_is_reported_with_the_interpreter(write):
    found = str(failure(write("import a_module_that_is_not_there")))
    assert f"the interpreter of the group, {sys.executable}, does not find that module" in found


@pytest.mark.skipif(os.getuid() != 0, reason="only root can become a user who may not read")
def test_a_script_that_may_not_be_read_names_the_obstacle():
    with (
        tempfile.TemporaryDirectory() as name
    ):  # not below pytest's own directory, which is closed to others
        check_obstacles(Path(name))


def check_obstacles(base):
    base.chmod(0o755)
    (base / "closed").mkdir(mode=0o700)
    (base / "closed" / "app.wsgi").write_text("")
    (base / "app.wsgi").write_text("")
    (base / "app.wsgi").chmod(0o600)
    nobody = pwd.getpwnam("nobody").pw_uid
    os.seteuid(nobody)
    try:
        behind, itself = failure(str(base / "closed" / "app.wsgi")), failure(str(base / "app.wsgi"))
    finally:
        os.seteuid(0)
    assert f"cannot enter the directory {base}/closed" in str(behind)
    assert "the file itself" in str(itself)


def test_a_missing_callable_is_reported_with_the_existing_ones(write):
    text = str(
        failure(write("class Other: pass\ndef zebra(): pass\ndef aplication(): pass\nvalue = 1\n"))
    )
    assert text.startswith("WSGID0333")
    assert "(it has: aplication, zebra)" in text


def test_a_script_without_any_callable_is_reported(write):
    assert "WSGID0333" in str(failure(write("")))


def test_an_object_that_cannot_be_called_is_reported(write):
    assert str(failure(write("application = 42"))).startswith("WSGID0334")


# ---- loading again


def test_a_failure_is_remembered_until_the_file_changes(write):
    both, path = loader.Loader(), write("raise ValueError")
    assert both.load(path, "application")[0] == loader.FAILED_NOW
    assert both.load(path, "application")[0] == loader.FAILED_BEFORE
    write("def application(): pass  # fixed\n")
    assert both.load(path, "application")[0] == loader.LEAVE


def test_a_failed_script_beside_a_healthy_one_is_loaded_again_in_the_same_process(write):
    both, path = loader.Loader(), write("raise ValueError")
    assert (
        both.load(write("def application(): pass\n", "sound.wsgi"), "application")[0]
        == loader.LOADED
    )
    assert both.load(path, "application")[0] == loader.FAILED_NOW
    assert both.load(path, "application")[0] == loader.FAILED_BEFORE
    write("def application(): return 'fixed'\n")
    state, found = both.load(path, "application")
    assert (state, found()) == (loader.LOADED, "fixed")


def test_loading_is_tried_again_after_a_while(write, monkeypatch):
    both, path = loader.Loader(), write("raise ValueError")
    both.load(path, "application")
    monkeypatch.setattr(loader, "RETRY_AFTER", 0)
    assert both.load(path, "application")[0] == loader.LEAVE


@pytest.mark.parametrize(
    ("line", "settings"),
    [
        ('os.environ["DJANGO_SETTINGS_MODULE"] = "shop.settings"', "shop.settings"),
        ("os.environ.setdefault('DJANGO_SETTINGS_MODULE', 'shop.settings')", "shop.settings"),
        ("# os.environ['DJANGO_SETTINGS_MODULE'] = 'shop.settings'", None),
        ("os.environ['DJANGO_SETTINGS_MODULE'] = NAME", None),
        ("os.environ['DJANGO_SETTINGS_MODULE'] = '\x1b]0;x\x07'", None),
        ("import os", None),
    ],
)
def test_the_django_settings_that_a_script_names(line, settings):
    assert django_settings.named_in(f"import os\n{line}\n".encode()) == settings
