"""Side-by-side measurements: `python -m bench`, or `make bench`. docs/performance.md explains the
figures.

    peers.py       the servers behind httpd: how to start them, and their processes
    load.py        wrk
    clients.py     our own clients: transfers, bursts
    postgres.py    a PostgreSQL server for the scenario "application"
    cost.py        CPU and memory of processes, from /proc
    rounds.py      interleaved rounds, medians, spread, ratios
    scenarios.py   the scenarios, one function each
    marks.py       the project's own goals, as data
    conditions.py  machine, versions, date
    report.py      table, JSON, docs/performance.md
    plot.py        plot
    floor.py       a separate command: the least that two processes can cost on this machine

Rules: nothing here asserts a time. Each load is limited in time. Every server is stopped at the
end, whatever happens. All peers run at the same time, each behind an httpd of its own with the same
configuration, and the loads take turns. The httpds come from tests/httpdenv.
"""

import sys
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(CHECKOUT / "tests"))
