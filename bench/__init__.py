"""Side-by-side measurements: `python -m bench`, or `make bench`. docs/performance.md says how to
read what it prints.

    peers.py      what is measured: servers behind one httpd, how to start them, which processes are theirs
    load.py       wrk              clients.py   clients of our own: transfers, bursts
    cost.py       CPU and memory of processes, from /proc
    rounds.py     interleaved rounds, medians, spread, ratios
    scenarios.py  what is measured, one function each
    marks.py      the marks that the project has set itself, as data
    conditions.py machine, versions, date    report.py, plot.py  table, JSON, plot, docs/performance.md
    floor.py      a command of its own: what two processes can do at best, with (next to) nothing before them

Rules: nothing here asserts a time; each load is bounded in time; every server is stopped at the
end, whatever happens; all peers run at the same time behind httpds of their own, configured alike,
and the loads take turns. httpds come from tests/httpdenv.
"""

import sys
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(CHECKOUT / "tests"))
