"""State tables in C and Python -> their pictures in docs/design.md: a table, what its words mean,
and a drawing (Mermaid).

Both are read as text, strictly. In C a table is made of macros that are { ACTION, WSGID_STATE }, of
rows of them, and of an array of event names (apxs/guardian/process.c); in Python of the literals
EVENTS and TRANSITIONS (pywsgid/daemon/process/states.py). The states of a process, and what they
mean, come from pywsgid/wire/table.py.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from pywsgid.wire import table
from tools.generate.output import ROOT, TableError, wrap

IGNORED = "-"
IMPOSSIBLE = "!"

Cell = tuple[str, str]  # (next state or IGNORED, action or "")


class Machine(NamedTuple):
    """States and events are {name: what it means, or ""}; a cell that is missing is impossible."""

    states: dict[str, str]
    events: dict[str, str]
    cells: dict[str, dict[str, Cell]]


def checked(path: Path, machine: Machine) -> Machine:
    """The machine, if it names nothing that it does not define."""
    for state, row in machine.cells.items():
        targets = {cell[0] for cell in row.values()} - {IGNORED}
        strange = ({state} | targets) - machine.states.keys() | row.keys() - machine.events.keys()
        if strange:
            raise TableError(
                f"{path.name}: the table has {', '.join(sorted(strange))}, which has no name"
            )
    if machine.cells.keys() != machine.states.keys():
        raise TableError(f"{path.name}: not every state has a row")
    return machine


# -------- Python


def read_python_machine(path: Path, states: dict[str, str]) -> Machine:
    """The machine of a module that holds nothing but these literals."""
    values: dict[str, Any] = {}
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        target = node.targets[0] if isinstance(node, ast.Assign) else None
        if isinstance(node, ast.AnnAssign):
            target = node.target
        if isinstance(target, ast.Name) and isinstance(node, (ast.Assign, ast.AnnAssign)):
            values[target.id] = ast.literal_eval(node.value) if node.value else None
    cells = {
        state: {event: cell or (IGNORED, "") for event, cell in row.items()}
        for state, row in values["TRANSITIONS"].items()
    }
    return checked(path, Machine(states, values["EVENTS"], cells))


# -------- C

CELL_MACRO = re.compile(
    r"^#define (\w+)(?:\((\w+)\))?\s+\{ (\w+), WSGID_(?:SLOT|STATE)_(?:##)?(\w+) \}$", re.MULTILINE
)
ROW = re.compile(r"^    \[WSGID_(?:SLOT|STATE)_(\w+)\]\s*= \{ (.*) \},$", re.MULTILINE)
CELL = re.compile(r"(\w+)(?:\((\w+)\))?")


def read_c_machine(path: Path, states: dict[str, str]) -> Machine:
    """The machine of a C file; without `states` it has an array of their names, too."""
    text = path.read_text(encoding="utf-8")
    states = states or names_of(path, text, "state")
    events = names_of(path, text, "event")
    macros = {match[1]: (match[2], match[3], match[4]) for match in CELL_MACRO.finditer(text)}
    cells = {}
    for row in ROW.finditer(text):
        found = [c_cell(path, macros, match[1], match[2]) for match in CELL.finditer(row[2])]
        if len(found) != len(events):
            raise TableError(
                f"{path.name}: {row[1]} has {len(found)} cells for {len(events)} events"
            )
        cells[row[1].lower()] = {
            event: cell for event, cell in zip(events, found) if cell is not None
        }
    return checked(path, Machine(states, events, cells))


def names_of(path: Path, text: str, kind: str) -> dict[str, str]:
    """The words of an array of names, without meanings."""
    match = re.search(rf"{kind}_names\[\w+\] = {{(.*?)}};", text, re.DOTALL)
    if not match:
        raise TableError(f"{path.name}: no array {kind}_names")
    return dict.fromkeys(re.findall(r'"(\w+)"', match[1]), "")


def c_cell(
    path: Path, macros: dict[str, tuple[str | None, str, str]], name: str, argument: str
) -> Cell | None:
    """A cell; None for what is impossible."""
    if name not in macros:
        raise TableError(f"{path.name}: {name} is no macro of a transition")
    parameter, action, state = macros[name]
    if parameter:
        state = argument
    if action == "IMPOSSIBLE":
        return None
    if action == "IGNORE":
        return IGNORED, ""
    return state.lower(), "" if action == "MOVE" else action.lower()


# -------- pictures


def picture(
    read: Callable[[Path, dict[str, str]], Machine], source: str, states: dict[str, str]
) -> Callable[[], list[str]]:
    """What makes the lines of one machine."""
    return lambda: list(machine_lines(read(ROOT / source, states)))


def machine_lines(machine: Machine) -> Iterator[str]:
    """The table, what its words mean, and the drawing."""
    yield from ("", "| | " + " | ".join(machine.events) + " |")
    yield "|---" * (len(machine.events) + 1) + "|"
    for state, row in machine.cells.items():
        cells = (cell_text(row.get(event)) for event in machine.events)
        yield f"| **{state}** | {' | '.join(cells)} |"
    for title, names in (("States", machine.states), ("Events", machine.events)):
        if any(names.values()):
            meanings = "; ".join(f"*{name}*, {text}" for name, text in names.items())
            yield from ("", *wrap(f"{title}: {meanings}."))
    yield from ("", "```mermaid", "stateDiagram-v2", *arrows(machine), "```", "")


def cell_text(cell: Cell | None) -> str:
    """A cell of the table."""
    if cell is None:
        return IMPOSSIBLE
    return ", ".join(part.replace("_", " ") for part in cell if part)


def arrows(machine: Machine) -> Iterator[str]:
    """One for each pair of states, with all the events that lead from one to the other."""
    found: dict[tuple[str, str], list[str]] = {}
    for state, row in machine.cells.items():
        for event, (target, _) in row.items():
            if target != IGNORED:
                found.setdefault((state, target), []).append(event)
    yield f"    [*] --> {next(iter(machine.states))}"
    for (state, target), events in found.items():
        yield f"    {state} --> {target}: {', '.join(events)}"


IN_HTTPD = {state.name: state.meaning for state in table.STATES if state.in_httpd}
IN_DAEMON = {state.name: state.meaning for state in table.STATES if state.in_daemon}
SECTIONS = {
    "process": picture(read_c_machine, "apxs/guardian/process.c", IN_HTTPD),
    "daemon": picture(read_python_machine, "pywsgid/daemon/process/states.py", IN_DAEMON),
}
