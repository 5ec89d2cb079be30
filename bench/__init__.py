"""Side-by-side measurements: `python -m bench`, or `make bench`. docs/performance.md explains the
figures.

    apps/          the applications that are served
    peers.py       the servers behind httpd: how to start them, and their processes
    loop.py        an application in a bare loop, without any server
    load.py        wrk
    clients.py     our own clients: transfers, bursts
    arrivals.py    clients that arrive whether or not earlier ones have been served
    databases.py   what real applications need: PostgreSQL (postgres.py), SQLite, another service
    user.py        the user as which all these run
    family.py      the processes that descend from one
    cost.py        CPU, switches and memory of processes, from /proc
    rounds.py      interleaved rounds, medians, spread, ratios
    points.py      the points of the real applications, as data
    run.py         a run: its options, what scenarios use to serve and measure, its results
    served.py      the servers of a real application, and how to load them
    estimate.py    how long a run will take
    scenarios/     one function for each scenario, a file for each kind of them
    marks.py       the project's own goals, as data
    conditions.py  machine, versions, date
    report.py      table, JSON, docs/performance.md
    summary.py     tables of the real applications
    numbers.py     how figures are written
    plot.py        plot
    overload.py    a separate command: what each server does with more requests than it can serve
    sites.py       a separate command: what many sites cost that few visit
    floor.py       a separate command: the least that two processes can cost on this machine

Rules: nothing here asserts a time. Each load is limited in time. Every server is stopped at the
end, whatever happens. All peers run at the same time, each behind an httpd of its own with the same
configuration, and the loads take turns. The httpds come from tests/httpdenv.
"""

import sys
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(CHECKOUT / "tests"))
