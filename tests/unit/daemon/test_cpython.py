"""daemon/cpython.py: details that CPython does not promise, and the behaviour where they are
missing.
"""

from __future__ import annotations

import atexit
import sys
import threading
import time

import pytest
from daemonenv import wait_until

from pywsgid.daemon import cpython


class Interrupted(BaseException):
    pass


def test_an_exception_is_raised_in_another_thread():
    ended, began = [], threading.Event()

    def run() -> None:
        try:
            began.set()
            while True:
                time.sleep(0.001)
        except Interrupted as error:
            ended.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    assert began.wait(10)
    assert cpython.raise_in_thread(thread.ident, Interrupted)
    wait_until(lambda: ended, "the exception")


def test_an_exception_that_has_not_been_raised_can_be_taken_back():
    went_on, began, go_on = [], threading.Event(), threading.Event()

    def run() -> None:
        began.set()
        go_on.wait(10)
        went_on.append(True)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    assert began.wait(10)
    assert cpython.raise_in_thread(thread.ident, Interrupted)
    assert cpython.raise_in_thread(thread.ident, None)
    go_on.set()
    thread.join(10)
    assert went_on == [True]


def test_without_ctypes_nothing_is_raised(monkeypatch):
    monkeypatch.setitem(sys.modules, "ctypes", None)
    assert not cpython.raise_in_thread(threading.get_ident(), Interrupted)
    assert not cpython.is_entering_with(threading.get_ident())


@pytest.mark.parametrize(
    ("module", "name", "function"),
    [
        (threading, "_shutdown", cpython.join_threads),
        (atexit, "_run_exitfuncs", cpython.run_exit_handlers),
    ],
)
def test_the_end_of_the_process_does_not_depend_on_private_names(
    monkeypatch, module, name, function
):
    called = []
    monkeypatch.setattr(module, name, lambda: called.append(name))
    function()
    assert called == [name]
    monkeypatch.delattr(module, name)
    function()
    assert called == [name]


def test_callers_are_found():
    def globals_of_my_caller() -> dict[str, object]:
        return cpython.caller_globals(0)

    def mine_of_my_caller() -> object:
        return cpython.caller_local(0, test_callers_are_found.__code__, "mine")

    mine = object()
    assert globals_of_my_caller() is globals()
    assert mine_of_my_caller() is mine
    assert (lambda: mine_of_my_caller())() is None  # another function calls


def test_this_thread_has_a_frame():
    if not cpython.is_free_threaded:
        assert cpython.current_frames()[threading.get_ident()].f_code.co_filename
