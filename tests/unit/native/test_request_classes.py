"""Which requests are likely to block (pywsgid/native/request_classes.c)."""

from __future__ import annotations

import ctypes

import pytest
from daemonenv import ROOT

HARNESS = """
#include "hotpath.h"
#include <string.h>

static wsgid_gate_t gate;
static wsgid_turn_t turn;

void forget(void)
{
    memset(&gate, 0, sizeof(gate));
}

void learn(const char *line, int has_blocked)
{
    wsgid_request_classes_name(&turn, line, strlen(line));
    wsgid_request_classes_learn(&gate, &turn, has_blocked);
}

int block(const char *line)
{
    wsgid_request_classes_name(&turn, line, strlen(line));
    return wsgid_request_classes_block(&gate, &turn);
}
"""
ENOUGH = 8  # requests until they are known to block


@pytest.fixture(scope="module")
def library(gcc, tmp_path_factory):
    directory = tmp_path_factory.mktemp("classes")
    (directory / "harness.c").write_text(HARNESS)
    sources = [directory / "harness.c", ROOT / "pywsgid" / "native" / "request_classes.c"]
    gcc(
        "-fPIC",
        "-shared",
        "-I",
        ROOT / "pywsgid" / "native",
        "-o",
        directory / "classes.so",
        *sources,
    )
    return ctypes.CDLL(str(directory / "classes.so"))


class Classes:
    def __init__(self, library) -> None:
        self._library = library
        library.forget()

    def learn(self, line: str, *, has_blocked: bool, times: int = ENOUGH) -> None:
        for _ in range(times):
            self._library.learn(line.encode(), has_blocked)

    def block(self, line: str) -> bool:
        return bool(self._library.block(line.encode()))


@pytest.fixture
def classes(library):
    classes = Classes(library)
    classes.learn("GET /", has_blocked=False)
    return classes


def learn_among_others(classes, line: str) -> None:
    """Each of these requests blocks; for each of them, ten others do not."""
    for _ in range(ENOUGH):
        classes.learn(line, has_blocked=True, times=1)
        classes.learn("GET /fast", has_blocked=False, times=10)


def test_no_request_is_expected_to_block_before_it_has(classes):
    assert not classes.block("GET /report")
    classes.learn("GET /report", has_blocked=True, times=1)
    assert not classes.block("GET /report")


def test_a_path_that_blocks_is_expected_to_block(classes):
    learn_among_others(classes, "GET /report")
    assert classes.block("GET /report")
    assert classes.block("GET /report?year=2026")
    assert not classes.block("GET /fast")
    assert not classes.block("POST /report")


def test_a_path_that_blocks_with_any_query_is_expected_to_block_with_every_query(classes):
    for year in range(ENOUGH):
        classes.learn(f"GET /report?year={year}", has_blocked=True, times=1)
        classes.learn("GET /fast", has_blocked=False, times=10)
    assert classes.block("GET /report?year=2026")
    assert not classes.block("GET /fast")


def test_only_the_query_that_blocks_is_expected_to_block(classes):
    for _ in range(ENOUGH):
        classes.learn("GET /report?all", has_blocked=True, times=1)
        classes.learn("GET /report?one", has_blocked=False, times=10)
    assert classes.block("GET /report?all")
    assert not classes.block("GET /report?one")
    assert not classes.block("GET /report")


def test_an_unknown_request_is_expected_to_block_if_all_others_do(classes):
    for number in range(2 * ENOUGH):
        classes.learn(f"GET /page/{number}", has_blocked=True, times=1)
    assert classes.block("GET /never/seen")


def test_a_request_that_no_longer_blocks_is_not_expected_to(classes):
    learn_among_others(classes, "GET /report")
    classes.learn("GET /report", has_blocked=False)
    assert not classes.block("GET /report")
