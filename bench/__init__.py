"""Side-by-side measurements: `python -m bench`, or `make bench`. docs/performance.md says how to
read what it prints.

    peers.py       the servers behind httpd: how to start them, which processes belong to them
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
    floor.py       a separate command: the best that two processes can do with almost nothing before them

Rules: nothing here asserts a time; each load is bounded in time; every server is stopped at the
end, whatever happens; all peers run at the same time behind httpds of their own, configured alike,
and the loads take turns. httpds come from tests/httpdenv.
"""

import sys
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(CHECKOUT / "tests"))
