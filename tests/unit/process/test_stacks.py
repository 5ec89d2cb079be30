"""The stacks of threads, in particular those that faulthandler writes (without a GIL)."""

from __future__ import annotations

import faulthandler
import tempfile
import threading

import pytest

from pywsgid.daemon import cpython
from pywsgid.daemon.process import stacks

OURS = stacks.OUR_FILES + "worker.py"
DUMP = f"""Thread 0x00007f0000000010 (most recent call first):
  File "/srv/site.wsgi", line 3 in wait for it
  File "/srv/site.wsgi", line 9 in application
  File "{OURS}", line 57 in _run
  File "{threading.__file__}", line 995 in run

Current thread 0x00007f0000000020 [wsgid-2] (most recent call first):
  <invalid frame>
  File "{OURS}", line 40 in _next
  File "{threading.__file__}", line 995 in run
  ...

Thread 0x00007f0000000030 (most recent call first):
  <no Python frame>
"""


def test_the_output_of_faulthandler_is_parsed():
    found = stacks.parse(DUMP)
    assert list(found) == [0x7F0000000010, 0x7F0000000020, 0x7F0000000030]
    assert stacks.text_of(found[0x7F0000000010]) == (
        '  File "/srv/site.wsgi", line 9, in application\n  File "/srv/site.wsgi", line 3, in wait for it\n'
    )
    assert (
        stacks.text_of(found[0x7F0000000020], idle=True) == f'  File "{OURS}", line 40, in _next\n'
    )
    assert stacks.text_of(found[0x7F0000000030]) == stacks.text_of(None)


@pytest.mark.parametrize("is_free_threaded", [False, True])
def test_this_thread_is_found_with_its_name_and_place(monkeypatch, is_free_threaded):
    monkeypatch.setattr(cpython, "is_free_threaded", is_free_threaded)
    (text,) = [stack for what, stack in stacks.texts([]) if what == "thread MainThread: no request"]
    assert f'File "{__file__}", line ' in text
    assert "in test_this_thread_is_found_with_its_name_and_place\n" in text


def test_the_thread_id_is_that_of_threading():
    with tempfile.TemporaryFile("w+") as file:
        faulthandler.dump_traceback(file=file, all_threads=True)
        file.seek(0)
        assert threading.get_ident() in stacks.parse(file.read())
