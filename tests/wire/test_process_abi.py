"""The definitions that httpd's parent and a daemon share across exec: the generated header and
module agree with each other, with the compiler, and with the purpose of the numbers.
"""

import re
import struct
import subprocess
from pathlib import Path

import pytest

import pywsgid
from pywsgid.wire import process_abi, table

ROOT = Path(__file__).resolve().parents[2]
HEADER = (ROOT / "apxs/common/process_abi.h").read_text(encoding="utf-8")
PRODUCT = re.compile(r"^#define WSGID_(\w+) +\(?(\d+(?: \* \d+)*)\)?", re.M)
IN_C = {name: eval(value) for name, value in PRODUCT.findall(HEADER)}
IN_PYTHON = {
    name: value
    for name, value in vars(process_abi).items()
    if name.isupper() and isinstance(value, int) and not name.endswith("_AT")
}


def test_every_number_is_in_header_and_module():
    states = {f"STATE_{name.upper()}" for name in table.PAGE_STATES}
    numbered = enumerate(re.findall(r"^    WSGID_(STATE_\w+),", HEADER, re.M))
    in_c = IN_C | {name: number for number, name in numbered if name in states}
    assert len(in_c) > 10
    assert in_c == IN_PYTHON


def test_descriptors_are_dense():
    """A daemon inherits every descriptor between stderr and FD_END, so each number must have a
    use.
    """
    descriptors = [value for name, value in IN_PYTHON.items() if name.startswith("FD_")]
    assert sorted(descriptors) == list(range(3, process_abi.FD_END + 1))


def test_exit_codes_are_unique_and_used_by_nobody_else():
    codes = [value for name, value in IN_PYTHON.items() if name.startswith("EXIT_")]
    assert len(set(codes)) == len(codes)
    assert all(63 < code < 126 for code in codes)


@pytest.mark.parametrize("name", ["PAGE", "PAGE_ROW"])
def test_python_reads_each_field_where_c_writes_it(name):
    """The compiler has checked the offsets: each has its _Static_assert."""
    fields = getattr(table, name)
    format, offset = getattr(process_abi, f"{name}_FORMAT"), 0
    codes = re.findall(r"\d*[a-zA-Z]", format)
    assert len(codes) == len(fields)
    for field, code in zip(fields, codes):
        assert getattr(process_abi, f"{name}_{field.name.upper()}_AT") == offset
        proof = f"offsetof(wsgid_{name.lower()}_t, {field.name}) == {offset},"
        assert proof in HEADER
        offset += struct.calcsize("<" + code)
    assert f"sizeof(wsgid_{name.lower()}_t) == {offset}," in HEADER


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("uint32_t threads;", "uint32_t threads, more;"),
        ("uint64_t since;", "uint32_t since;"),
        ("uint64_t errors;", "uint64_t error;"),
    ],
)
def test_a_page_of_another_layout_does_not_compile(gcc, tmp_path, old, new):
    assert old in HEADER
    (tmp_path / "process_abi.h").write_text(HEADER.replace(old, new, 1))
    source = tmp_path / "layout.c"
    source.write_text('#include "process_abi.h"\nint unused_here;\n')
    with pytest.raises((AssertionError, subprocess.CalledProcessError)):
        gcc("-c", source, "-o", tmp_path / "layout.o")


def test_module_and_package_have_one_version():
    header = (ROOT / "apxs/version.h").read_text(encoding="utf-8")
    assert f'#define WSGID_VERSION "{pywsgid.__version__}"\n' in header
