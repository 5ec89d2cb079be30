"""What is measured: one function for each scenario, which starts its peers, measures its points in
rounds, and stops them. run.py has what they share.

A point is one load (16 connections, 1 MB ...). Each of its samples is a dict of figures whose names
end in their unit. A scenario's docstring is its title in the report. To add a scenario, write its
function and name it here.
"""

from bench.scenarios.applications import grid, real
from bench.scenarios.bodies import transfers
from bench.scenarios.resources import groups, memory, startup
from bench.scenarios.small import hello, processes, sizes
from bench.scenarios.together import together
from bench.scenarios.waiting import blocking, mix

SCENARIOS = {
    function.__name__: function
    for function in (
        real,
        grid,
        together,
        hello,
        processes,
        sizes,
        blocking,
        mix,
        memory,
        groups,
        startup,
        transfers,
    )
}


def title(name: str) -> str:
    return (SCENARIOS[name].__doc__ or name).strip()
