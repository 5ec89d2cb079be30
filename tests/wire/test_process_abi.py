"""apxs/common/process_abi.h and pywsgid/wire/process_abi.py say the same, and so do the two places
where the version stands.
"""

import re
import shutil
import struct
import subprocess
from pathlib import Path

import pytest

import pywsgid
from pywsgid.wire import process_abi

ROOT = Path(__file__).resolve().parents[2]
HEADER = (ROOT / "apxs/common/process_abi.h").read_text(encoding="utf-8")
IN_C = {
    name: int(value) for name, value in re.findall(r"^#define WSGID_(\w+)\s+(\d+)\b", HEADER, re.M)
}
IN_PYTHON = {
    name: value
    for name, value in vars(process_abi).items()
    if name.isupper() and isinstance(value, int)
}

MEASURE = """
#include <stddef.h>
#include <stdio.h>
#include "common/process_abi.h"
#define TELL(type, m) printf(#type " %zu %zu\\n", offsetof(wsgid_##type##_t, m), sizeof ((wsgid_##type##_t *)0)->m)
#define PAGE(m) TELL(page, m)
#define ROW(m) TELL(page_row, m)
int main(void)
{
    PAGE(version); PAGE(state); PAGE(requests_started); PAGE(requests_finished);
    PAGE(replacement_requests); PAGE(replacement_reason); PAGE(watchdog); PAGE(change);
    PAGE(errors); PAGE(since); PAGE(threads); PAGE(reserved); PAGE(python);
    PAGE(queue_time); PAGE(application_time); PAGE(queue_times); PAGE(application_times);
    ROW(since); ROW(requests); ROW(line);
    return sizeof(wsgid_page_t) > WSGID_PAGE_SCRIPTS || WSGID_PAGE_SCRIPTS_END > WSGID_PAGE_ROWS
        || sizeof(wsgid_page_row_t) != WSGID_PAGE_ROW_SIZE || (WSGID_PAGE_SIZE - WSGID_PAGE_ROWS) % WSGID_PAGE_ROW_SIZE;
}
"""


def test_every_number_stands_in_both():
    assert len(IN_C) > 10
    assert IN_C == IN_PYTHON


def test_descriptors_are_dense():
    """What is between stderr and FD_END is inherited, so each of them must be something."""
    descriptors = [value for name, value in IN_PYTHON.items() if name.startswith("FD_")]
    assert sorted(descriptors) == list(range(3, process_abi.FD_END + 1))


def test_exit_codes_differ_and_are_nobody_elses():
    codes = [value for name, value in IN_PYTHON.items() if name.startswith("EXIT_")]
    assert len(set(codes)) == len(codes)
    assert all(63 < code < 126 for code in codes)


def layout_of(format):
    """(offset, size) of each member of a struct's format."""
    layout, offset = [], 0
    for code in re.findall(r"\d*[a-zA-Z]", format):
        size = struct.calcsize("<" + code)
        layout.append((offset, size))
        offset += size
    return layout


def test_the_page_is_laid_out_as_its_format_says(tmp_path):
    compiler = shutil.which("gcc") or shutil.which("cc")
    if compiler is None:
        pytest.fail(
            "no C compiler: install build-essential (Debian, Ubuntu) or gcc, then run `make`",
            pytrace=False,
        )
    (tmp_path / "measure.c").write_text(MEASURE)
    program = tmp_path / "measure"
    subprocess.run(
        [compiler, "-I", ROOT / "apxs", tmp_path / "measure.c", "-o", program], check=True
    )
    printed = subprocess.run([program], capture_output=True, text=True, check=True).stdout.split(
        "\n"
    )[:-1]
    measured = {"page": [], "page_row": []}
    for row in printed:
        name, offset, size = row.split()
        measured[name].append((int(offset), int(size)))
    assert measured == {
        "page": layout_of(process_abi.PAGE_FORMAT),
        "page_row": layout_of(process_abi.PAGE_ROW_FORMAT),
    }


def test_module_and_package_have_one_version():
    header = (ROOT / "apxs/wsgid.h").read_text(encoding="utf-8")
    assert re.findall(r'^#define WSGID_VERSION "(.+)"', header, re.M) == [pywsgid.__version__]
