"""The bench works: its short form starts every peer, measures every scenario, and writes the
results.

Only `make test-bench` runs the tests that need peers, after installing them. No test asserts a
time.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from httpdenv import machine

from bench import CHECKOUT, rounds, sites
from bench.marks import OURS
from bench.peers import PEERS
from bench.scenarios import SCENARIOS

pytestmark = pytest.mark.timeout(1200)  # compiling the peers takes a minute, all scenarios another


@pytest.fixture(scope="module")
def venv():
    """A virtualenv with the peers that httpd's user can reach: the checkout's, or a temporary
    one.
    """
    own, temporary = CHECKOUT / ".bench-venv", None
    if os.geteuid() == 0 and not machine.is_reachable_by_all(CHECKOUT / "Makefile"):
        temporary = machine.temporary_directory("wsgid-bench-venv-")
    venv = temporary / "venv" if temporary else own
    make(venv, "bench-venv")
    if shutil.which("wrk") is None:
        pytest.skip("no wrk")
    yield venv
    if temporary:
        shutil.rmtree(temporary)


def make(venv: Path, target: str, *more: str) -> str:
    """Runs make and returns its output. The variables of the make that runs these tests do not
    reach it.
    """
    environ = {
        name: value for name, value in os.environ.items() if not name.startswith(("MAKE", "MFLAGS"))
    }
    command = ["make", "-C", CHECKOUT, f"BENCH_VENV={venv}", target, *more]
    made = subprocess.run(command, env=environ, capture_output=True, text=True)
    assert made.returncode == 0, made.stdout + made.stderr
    return made.stdout


def short(venv: Path, directory: Path, options: str) -> dict:
    """Runs the short form and returns its results."""
    make(venv, "bench-short", f"BENCH=--output {directory} {options}")
    assert (directory / "figures.svg").read_text().lstrip().startswith("<?xml")
    return json.loads((directory / "figures.json").read_text())["results"]


@pytest.mark.bench
def test_every_scenario_is_measured_without_a_failed_request(venv, tmp_path):
    """One peer of each kind: a module of httpd, a server behind a proxy, httpd alone, no server."""
    found = short(venv, tmp_path, "--peers wsgid,mod_wsgi,gunicorn,static,loop")
    assert set(found) == set(SCENARIOS)
    for scenario, points in found.items():
        assert points, scenario
        for point, samples in points.items():
            assert rounds.keys(samples[OURS]), (scenario, point)
            assert not rounds.errors(samples[OURS]), (scenario, point)


@pytest.mark.bench
def test_every_peer_is_measured(venv, tmp_path):
    (samples,) = short(venv, tmp_path, "--only hello")["hello"].values()
    assert set(samples) == {name for name, peer in PEERS.items() if not peer.missing}
    for name, taken in samples.items():
        assert rounds.median(taken, "rps"), f"{name}: {rounds.errors(taken)}"


@pytest.mark.bench
def test_an_overload_is_measured(venv):
    command = [venv / "bin" / "python", "-m", "bench.overload", "--seconds", "2"]
    done = subprocess.run(
        [*command, "--peers", "wsgid,gunicorn"],
        cwd=CHECKOUT,
        capture_output=True,
        text=True,
        env=os.environ | {"WSGID_BENCH_VENV": str(venv)},
    )
    assert (done.returncode, done.stderr) == (0, "")
    rows = [line.split("|")[1:-1] for line in done.stdout.splitlines() if line.startswith("|")]
    assert [len(row) for row in rows] == [3] * len(rows)
    assert any(row[0].strip() == "of the maximum" and "-" not in row[1] for row in rows)


@pytest.mark.skipif(shutil.which("wrk") is None, reason="no wrk")
def test_the_floor_is_measured():
    floor = [sys.executable, "-m", "bench.floor", "--rounds", "1", "--seconds", "1"]
    done = subprocess.run(floor, cwd=CHECKOUT, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")
    line = r"^(\w+): [\d,]+ requests/s with one process, [\d,]+ with two: (\d\.\d\d) times"
    ways = re.findall(line, done.stdout, re.M)
    assert [way for way, _ in ways] == ["straight", "relayed"]
    assert all(float(ratio) > 0 for _, ratio in ways)


@pytest.mark.skipif(shutil.which("wrk") is None, reason="no wrk")
def test_many_sites_are_measured_without_a_failed_request(tmp_path):
    options = [
        "--groups",
        "3",
        "--at-a-time",
        "2",
        "--idle",
        "1",
        "--json",
        tmp_path / "sites.json",
    ]
    command = [sys.executable, "-m", "bench.sites", *options]
    done = subprocess.run(command, cwd=CHECKOUT, capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stderr) == (0, "")
    assert "| that failed | 0.00 |" in done.stdout
    figures = json.loads((tmp_path / "sites.json").read_text())["results"]["3"]
    assert set(figures) == set(sites.ROWS)
    assert figures["daemons"] == 0  # while nobody visits them
    assert figures["started"] >= 3 and figures["left"] == figures["started"]
