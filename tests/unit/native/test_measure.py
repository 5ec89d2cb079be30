"""The measurements of each request (pywsgid/native/measure.c).
tests/unit/process/test_statistics_page.py tests the rest.
"""

from __future__ import annotations

import ctypes

import pytest
from daemonenv import ROOT

from pywsgid.wire import process_abi

HARNESS = """
#include "measure.c"

int bucket(uint64_t time)
{
    return bucket_of(time);
}

/* What is never called here. */
void wsgid_wire_put_started(unsigned char *out, uint32_t pid, uint32_t waited)
{
    (void)out;
    (void)pid;
    (void)waited;
}
"""


@pytest.fixture(scope="module")
def bucket_of(gcc, tmp_path_factory):
    directory = tmp_path_factory.mktemp("measure")
    (directory / "harness.c").write_text(HARNESS)
    library = directory / "measure.so"
    gcc(
        "-fPIC",
        "-shared",
        "-I",
        ROOT / "pywsgid" / "native",
        "-o",
        library,
        directory / "harness.c",
    )
    bucket = ctypes.CDLL(str(library)).bucket
    bucket.argtypes = [ctypes.c_uint64]
    return bucket


def upper(bucket: int) -> int:
    """The upper bound of a bucket, in microseconds."""
    return process_abi.PAGE_FIRST << bucket


def test_buckets_double(bucket_of):
    bounds = [0, 31, 32, 63, 64, 127, 128, upper(22) - 1, upper(22), 2**63, 2**64 - 1]
    assert [bucket_of(time) for time in bounds] == [0, 0, 1, 1, 2, 2, 3, 22, 23, 23, 23]
