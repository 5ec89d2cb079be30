"""What follows from pywsgid/wire/table.py: checks of the table, offsets, sizes, bounds of payloads.

c_headers.py, python_modules.py and agreement_docs.py put it into words.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from pywsgid.wire import table
from pywsgid.wire.table import Constant, Field, Frame
from tools.generate.macros import check_unique
from tools.generate.output import TableError

SOURCE = "pywsgid/wire/table.py"
SIZES = {"u8": 1, "u16": 2, "u32": 4, "u64": 8, "bytes": 1}
FORMATS = {"u8": "B", "u16": "H", "u32": "I", "u64": "Q", "bytes": "s"}
C_TYPES = {
    "u8": "uint8_t",
    "u16": "uint16_t",
    "u32": "uint32_t",
    "u64": "uint64_t",
    "bytes": "char",
}


class Placed(NamedTuple):
    """A field, and where it is."""

    field: Field
    offset: int
    size: int


def size_text(value: int) -> str:
    """A size as people think of it, such as 64 * 1024."""
    if value > 4 * table.KIB and value % table.KIB == 0:
        return f"{value // table.KIB} * 1024"
    return str(value)


def descriptors() -> list[Constant]:
    """The descriptors, and the first one that is closed before exec."""
    end = Constant("END", table.DESCRIPTORS_END, "everything from here on is closed before exec")
    return [*table.DESCRIPTORS, end]


def page_sizes() -> list[Constant]:
    """The version and the sizes of the statistics page."""
    return [Constant("VERSION", table.PAGE_VERSION), *table.PAGE_SIZES]


def count_of(field: Field) -> int:
    """How many numbers or bytes a field has."""
    if not field.size:
        return 1
    return next(each.value for each in table.PAGE_SIZES if each.name == field.size)


def layout(fields: Iterable[Field]) -> Iterator[Placed]:
    """Where each field of a struct is; a TableError if the compiler would put padding there."""
    offset = 0
    for field in fields:
        if offset % SIZES[field.type]:
            raise TableError(f"{SOURCE}: {field.name} is not aligned at offset {offset}")
        size = SIZES[field.type] * count_of(field)
        yield Placed(field, offset, size)
        offset += size


def size_of(fields: Iterable[Field]) -> int:
    """Bytes of all fields."""
    return sum(SIZES[field.type] * count_of(field) for field in fields)


def format_of(fields: tuple[Field, ...]) -> str:
    """The fields for Python's struct."""
    counts = (str(count_of(field)) if field.size else "" for field in fields)
    return "<" + "".join(count + FORMATS[field.type] for count, field in zip(counts, fields))


def prefix_name(frame: Frame) -> str:
    """What the size of a frame's fixed fields is called; "" if it has none, or one of its own."""
    if len(frame.fields) < 2 and frame.name != "RESPONSE":
        return ""
    return frame.name + ("_PREFIX" if frame.parts else "_SIZE")


def sizes() -> list[Constant]:
    """The named sizes of fixed fields."""
    named = [(prefix_name(frame), frame) for frame in table.FRAMES]
    return [
        Constant(
            name,
            size_of(frame.fields),
            ", ".join(f"{field.type} {field.name}" for field in frame.fields),
        )
        for name, frame in named
        if name
    ]


def bounds(frame: Frame) -> tuple[list[str], list[str]]:
    """The terms of the shortest and of the longest payload: names and numbers."""
    fixed = size_of(frame.fields)
    first = [prefix_name(frame) or str(fixed)] if fixed else []
    least = sum(part.least for part in frame.parts)
    shortest = first + ([str(least)] if least else [])
    return shortest or ["0"], first + [part.most for part in frame.parts] or ["0"]


def names_in_httpd() -> list[str]:
    """The states that httpd's parent sees, in the order of their numbers."""
    return [state.name for state in table.STATES if state.in_httpd]


class Prototype(NamedTuple):
    """A function of C, taken apart."""

    result: str
    name: str
    parameters: list[str]  # "const char *a"


PROTOTYPE = re.compile(r"^(.+?)(\w+)\((.*)\)$")


def prototypes() -> Iterator[Prototype]:
    """The functions that Python calls."""
    for function in table.FUNCTIONS:
        match = PROTOTYPE.match(function.prototype)
        if not match:
            raise TableError(f"{SOURCE}: no prototype: {function.prototype}")
        yield Prototype(match[1].strip(), match[2], match[3].split(", "))


def interface() -> int:
    """A number that changes with whatever Python and the hot path must agree on."""
    agreed = (
        table.WIRE_VERSION,
        table.FRAMES,
        table.LIMITS,
        table.OUTCOMES,
        table.FACTS,
        table.FACTS_SIZE,
        table.PAGE_VERSION,
        table.PAGE,
        table.PAGE_ROW,
        [function.prototype for function in table.FUNCTIONS],
    )
    return zlib.crc32(repr(agreed).encode()) & 0x7FFFFFFF


def check() -> None:
    """Raises a TableError if the table contradicts itself."""
    groups = (table.DESCRIPTORS, table.EXIT_CODES, table.REPLACEMENT_REASONS, table.LIFELINE)
    for group in (*groups, table.OUTCOMES, table.FLAGS):
        check_unique([constant.name for constant in group])
        check_unique([str(constant.value) for constant in group])
    check_unique([frame.name for frame in table.FRAMES])
    check_unique([hex(frame.code) for frame in table.FRAMES])
    check_unique([state.name for state in table.STATES])
    unknown = set(table.PAGE_STATES) - set(names_in_httpd())
    if unknown:
        raise TableError(f"{SOURCE}: {', '.join(unknown)} is no state that httpd sees")
    check_order()
    check_page()


def check_order() -> None:
    """Whether the order of frames names known frames and states only."""
    frames = {frame.name: frame for frame in table.FRAMES}
    for sender, states in table.ORDER.items():
        for state, following in states.items():
            for words, target in following.items():
                name, _, flag = words.partition(" ")
                frame = frames.get(name)
                if frame is None or frame.sender != sender or (flag and flag not in frame.flags):
                    raise TableError(f"{SOURCE}: {sender} sends no {words} in state {state}")
                if target not in states:
                    raise TableError(f"{SOURCE}: {sender} has no state {target}")


def check_page() -> None:
    """Whether the parts of the statistics page fit behind each other."""
    sizes = {constant.name: constant.value for constant in table.PAGE_SIZES}
    whole = list(layout(table.PAGE)) and list(layout(table.PAGE_ROW))
    fits = (
        whole
        and size_of(table.PAGE) <= sizes["SCRIPTS"]
        and sizes["SCRIPTS_END"] <= sizes["ROWS"]
        and size_of(table.PAGE_ROW) == sizes["ROW_SIZE"]
        and (sizes["SIZE"] - sizes["ROWS"]) % sizes["ROW_SIZE"] == 0
    )
    if not fits:
        raise TableError(f"{SOURCE}: the parts of the statistics page do not fit")
