"""pywsgid/wire/table.py -> the tables of docs/design.md that show it."""

from __future__ import annotations

from collections.abc import Callable

from pywsgid.wire import table
from pywsgid.wire.table import Constant, Field, Frame
from tools.generate import agreement

KIB = 1024


def rows(heads: tuple[str, ...], *cells: tuple[object, ...]) -> list[str]:
    """A table, with a blank line above and below."""
    lines = [heads, ("---",) * len(heads), *cells]
    return ["", *(f"| {' | '.join(map(str, line))} |" for line in lines), ""]


def of_constants(head: str, constants: tuple[Constant, ...]) -> list[str]:
    """Numbers and what they mean."""
    return rows((head, "what"), *((each.value, each.meaning) for each in constants))


# -------- frames


def size_text(name: str) -> str:
    """ "256 KiB" """
    value = next(limit.value for limit in table.LIMITS if limit.name == name)
    return f"{value // KIB // KIB} MiB" if value >= KIB * KIB else f"{value // KIB} KiB"


def payload(frame: Frame) -> str:
    """What is in a frame."""
    fields = [
        f"{field.type} {field.name.replace('_', ' ')} ({field.meaning})" for field in frame.fields
    ]
    return ", ".join(fields + [part.name for part in frame.parts]) or "empty"


def longest(frame: Frame) -> str:
    """The largest payload."""
    fixed = agreement.size_of(frame.fields)
    parts = [f"{size_text(part.most)} {part.name}".removesuffix(" bytes") for part in frame.parts]
    return " + ".join(([str(fixed)] if fixed or not parts else []) + parts)


def frames() -> list[str]:
    """All frames."""
    directions = {"httpd": "to daemon", "daemon": "from daemon"}
    return rows(
        ("code", "frame", "direction", "meaning", "payload", "flags", "longest payload"),
        *(
            (
                f"0x{frame.code:02x}",
                frame.name,
                directions[frame.sender],
                frame.meaning + ("; not empty, unless with END" if frame.empty_only_at_end else ""),
                payload(frame),
                ", ".join(frame.flags),
                longest(frame),
            )
            for frame in table.FRAMES
        ),
    )


def flags() -> list[str]:
    """All flags."""
    return rows(
        ("flag", "name", "meaning"),
        *((f"0x{flag.value:02x}", flag.name, flag.meaning) for flag in table.FLAGS),
    )


def order() -> list[str]:
    """Which frame may follow which."""
    found = []
    for sender, states in table.ORDER.items():
        for state, following in states.items():
            targets: dict[str, list[str]] = {}
            for frame, target in following.items():
                targets.setdefault(target, []).append(frame)
            allowed = "; ".join(
                f"{', '.join(names)} → *{target}*" for target, names in targets.items()
            )
            found.append((sender, f"*{state}*", table.ORDER_STATES[state], allowed or "nothing"))
    return rows(("side", "state", "meaning", "what it may send → the state that follows"), *found)


# -------- processes


def states() -> list[str]:
    """The states of a process."""
    seen = {True: "yes", False: ""}
    return rows(
        ("state", "httpd sees it", "the process has it", "meaning"),
        *(
            (f"*{each.name}*", seen[each.in_httpd], seen[each.in_daemon], each.meaning)
            for each in table.STATES
        ),
    )


def type_text(field: Field) -> str:
    """ "u32", "24 x u64", "240 bytes" """
    times = "" if field.type == "bytes" else " x"
    return f"{agreement.count_of(field)}{times} {field.type}" if field.size else field.type


def struct(fields: tuple[Field, ...]) -> list[str]:
    """A struct of the statistics page."""
    return rows(
        ("offset", "type", "name", "meaning"),
        *(
            (offset, type_text(field), f"`{field.name}`", field.meaning)
            for field, offset, _ in agreement.layout(fields)
        ),
    )


SECTIONS: dict[str, Callable[[], list[str]]] = {
    "frames": frames,
    "flags": flags,
    "order of frames": order,
    "descriptors": lambda: of_constants("fd", table.DESCRIPTORS),
    "lifeline": lambda: of_constants("byte", table.LIFELINE),
    "exit codes": lambda: of_constants("code", table.EXIT_CODES),
    "states of a process": states,
    "statistics page": lambda: struct(table.PAGE),
    "rows of the statistics page": lambda: struct(table.PAGE_ROW),
}
