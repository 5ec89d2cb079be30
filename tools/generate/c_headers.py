"""pywsgid/wire/table.py -> apxs/common/wire_table.h, apxs/common/process_abi.h,
pywsgid/native/hotpath_table.h; the version in pywsgid/__init__.py -> apxs/version.h.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import pywsgid
from pywsgid.wire import table
from pywsgid.wire.table import Constant, Field
from tools.generate import agreement
from tools.generate.output import DO_NOT_EDIT, WIDTH, Pages, quoted, wrap


def pages() -> Pages:
    """The headers."""
    return {
        "apxs/version.h": [*version()],
        "apxs/common/wire_table.h": [*wire_table()],
        "apxs/common/process_abi.h": [*process_abi()],
        "pywsgid/native/hotpath_table.h": [*hotpath_table()],
    }


GLUE = "\N{NO-BREAK SPACE}"  # holds a parameter together while lines are broken

# -------- forms


def comment(text: str, indent: str = "") -> list[str]:
    """A comment of one line or more."""
    one = f"{indent}/* {text} */"
    if len(one) <= WIDTH:
        return [one]
    first, *others = wrap(text, WIDTH - len(indent) - 6)
    lines = [f"{indent}/* {first}", *(f"{indent} * {line}" for line in others)]
    return [*lines[:-1], lines[-1] + " */"]


def remarked(code: str, meaning: str, indent: str = "") -> list[str]:
    """A line of code with its meaning: behind it if there is room, else above."""
    line = indent + code
    if not meaning:
        return [line]
    if len(f"{line} /* {meaning} */") <= WIDTH:
        return [f"{line} /* {meaning} */"]
    return [*comment(meaning, indent), line]


def header(name: str, purpose: str, *includes: str) -> Iterator[str]:
    """The top of a header."""
    yield "/*"
    yield from (f" * {line}" if line else " *" for line in wrap(purpose, WIDTH - 3))
    yield " *"
    yield f" * {DO_NOT_EDIT.format(source=agreement.SOURCE)}"
    yield " */"
    yield from (f"#ifndef WSGID_{name}_H", f"#define WSGID_{name}_H", "", "/* clang-format off */")
    yield from ("", *(f"#include {include}" for include in includes))


def size_text(value: int) -> str:
    """The same in C: (64 * 1024)."""
    text = agreement.size_text(value)
    return f"({text})" if "*" in text else text


def defines(prefix: str, constants: Iterable[Constant], form: str = "{}") -> Iterator[str]:
    """#define, one for each constant."""
    rows = [
        (f"#define {prefix}{each.name}", size_text(each.value), each.value) for each in constants
    ]
    width = max(len(row[0]) for row in rows)
    for (left, text, value), constant in zip(rows, constants):
        number = text if form == "{}" else form.format(value)
        yield from remarked(f"{left:{width}} {number}", constant.meaning)


def sum_of(terms: list[str]) -> str:
    """WSGID_WIRE_REQUEST_PREFIX + WSGID_WIRE_MAX_ENVIRON"""
    return " + ".join(term if term.isdigit() else f"WSGID_WIRE_{term}" for term in terms)


# -------- the version


def version() -> Iterator[str]:
    """apxs/version.h"""
    yield f"/* {DO_NOT_EDIT.format(source='pywsgid/__init__.py')} */"
    yield f'#define WSGID_VERSION "{pywsgid.__version__}"'


# -------- the wire


def wire_table() -> Iterator[str]:
    """apxs/common/wire_table.h"""
    yield from header("WIRE_TABLE", "Numbers of the wire protocol (wire.h).", "<stdint.h>")
    version = "a daemon refuses another one"
    yield from ("", *remarked(f"#define WSGID_WIRE_VERSION {table.WIRE_VERSION}", version))
    yield from remarked(
        f"#define WSGID_WIRE_HEADER_SIZE {table.HEADER_SIZE}",
        "u8 type, u8 flags, u16 0, u32 length of the payload",
    )
    yield from ("", "/* Frame types. 0x40 to 0x7f are reserved for upgraded streams. */")
    frames = [Constant(frame.name, frame.code) for frame in table.FRAMES]
    yield from defines("WSGID_WIRE_", frames, "0x{:02x}")
    yield from ("", "/* Flags. */", *defines("WSGID_WIRE_", table.FLAGS, "0x{:02x}"))
    yield from ("", "/* Maxima of payloads and of their parts, in bytes. */")
    yield from defines("WSGID_WIRE_", table.LIMITS)
    yield from ("", "/* Fixed fields of payloads, in bytes. */")
    yield from defines("WSGID_WIRE_", agreement.sizes())
    yield from ("", "/* The sender of a frame. */")
    yield "typedef enum { WSGID_WIRE_FROM_HTTPD, WSGID_WIRE_FROM_DAEMON } wsgid_wire_side_e;"
    yield from ("", "/* What can be wrong with a frame, in the order in which it is checked. */")
    yield from ("typedef enum {", *(f"    WSGID_WIRE_{name}," for name, _ in table.ERRORS))
    yield from ("    WSGID_WIRE_ERRORS", "} wsgid_wire_error_e;", "")
    yield from each_frame()
    yield from ("", "#define WSGID_WIRE_EACH_ERROR(ERROR) \\")
    texts = [f'    ERROR({name}, "{text}")' for name, text in table.ERRORS]
    yield from (*(f"{text} \\" for text in texts[:-1]), texts[-1], "", "#endif")


def each_frame() -> Iterator[str]:
    """A macro with the rules of each frame."""
    yield from comment(
        "FRAME(name, sender, flags that it may have, whether it may be empty only with END, "
        "shortest payload, longest payload)"
    )
    lines = ["#define WSGID_WIRE_EACH_FRAME(FRAME)"]
    for frame in table.FRAMES:
        flags = " | ".join(f"WSGID_WIRE_{flag}" for flag in frame.flags) or "0"
        shortest, longest = map(sum_of, agreement.bounds(frame))
        side = f"WSGID_WIRE_FROM_{frame.sender.upper()}"
        lines.append(f"    FRAME({frame.name}, {side}, {flags}, {int(frame.empty_only_at_end)},")
        lines += [f"          {shortest},", f"          {longest})"]
    yield from (*(f"{line} \\" for line in lines[:-1]), lines[-1])


# -------- what crosses exec


def process_abi() -> Iterator[str]:
    """apxs/common/process_abi.h"""
    yield from header(
        "PROCESS_ABI",
        "What httpd's parent and a daemon process share across exec: descriptors, exit codes, "
        "states, the statistics page.",
        "<stddef.h>",
        "<stdint.h>",
    )
    yield from ("", "/* Descriptors of a daemon. */")
    yield from defines("WSGID_FD_", agreement.descriptors())
    yield from ("", "/* What a byte in the lifeline means. */")
    yield from defines("WSGID_LIFELINE_", table.LIFELINE)
    yield from ("", "/* A byte in the output of a daemon. */")
    yield from defines("WSGID_OUTPUT_", table.OUTPUT)
    yield from ("", "/* Exit codes, where neither Python nor a shell has codes of its own. */")
    yield from defines("WSGID_EXIT_", table.EXIT_CODES)
    yield from ("", "/* Why a process asks to be replaced. */")
    yield from defines("WSGID_REPLACE_", table.REPLACEMENT_REASONS)
    yield from states()
    yield from ("", "/* The statistics page: a daemon writes it, so it is hostile input. */")
    yield from defines("WSGID_PAGE_", agreement.page_sizes())
    yield from struct("page", table.PAGE)
    yield from struct("page_row", table.PAGE_ROW)
    yield from ("", "#endif")


def states() -> Iterator[str]:
    """The states that httpd's parent sees."""
    yield from ("", "/* The states of a process. It sees more of them itself. */", "typedef enum {")
    for state in table.STATES:
        if state.in_httpd:
            yield from remarked(f"WSGID_STATE_{state.name.upper()},", state.meaning, "    ")
    yield from ("    WSGID_STATES", "} wsgid_state_e;")
    names = ", ".join(quoted(name) for name in agreement.names_in_httpd())
    yield f"#define WSGID_STATE_NAMES {{ {names} }}"
    page = ", ".join(f"WSGID_STATE_{name.upper()}" for name in table.PAGE_STATES)
    yield from comment(f"Those that a process writes into its statistics page: {page}.")
    tests = (f"(state) == WSGID_STATE_{name.upper()}" for name in table.PAGE_STATES)
    yield "#define WSGID_IS_PAGE_STATE(state) \\"
    yield f"    ({' || '.join(tests)})"


def struct(name: str, fields: tuple[Field, ...]) -> Iterator[str]:
    """A struct, and the proof that the compiler lays it out as Python does."""
    yield from ("", "typedef struct {")
    for field in fields:
        array = f"[WSGID_PAGE_{field.size}]" if field.size else ""
        member = f"{agreement.C_TYPES[field.type]} {field.name}{array};"
        yield from remarked(member, field.meaning, "    ")
    type = f"wsgid_{name}_t"
    yield from (f"}} {type};", "")
    for placed in agreement.layout(fields):
        place = f"offsetof({type}, {placed.field.name}) == {placed.offset}"
        yield f'_Static_assert({place}, "{placed.field.name}");'
    yield f'_Static_assert(sizeof({type}) == {agreement.size_of(fields)}, "{type}");'


# -------- Python and the hot path


def hotpath_table() -> Iterator[str]:
    """pywsgid/native/hotpath_table.h"""
    yield from header(
        "HOTPATH_TABLE",
        "What Python and the hot path exchange: outcomes, facts, the memory of an endpoint, "
        "functions. pywsgid/daemon/transport/hotpath.py is what calls them.",
        "<stddef.h>",
        "<stdint.h>",
    )
    yield from ("", '#include "common/wire_table.h"', "")
    yield "/* Outcomes of wsgid_endpoint_next(); of wsgid_receive_body(), negative. */"
    yield "enum {"
    for outcome in table.OUTCOMES:
        yield from remarked(f"WSGID_{outcome.name} = {outcome.value},", outcome.meaning, "    ")
    yield from ("};", "")
    yield from comment(
        "Facts, an int64_t each, in memory that Python sees. It writes two of them: FACT_GONE, and "
        "FACT_CREDIT when it grants some."
    )
    yield "enum {"
    for name, meaning in table.FACTS:
        yield from remarked(f"FACT_{name},", meaning, "    ")
    yield from ("    FACT_COUNT", "};", "")
    facts = "the facts: the first page of an endpoint's memory"
    yield from remarked(f"#define WSGID_FACTS_SIZE {table.FACTS_SIZE}", facts)
    yield from comment(
        "Behind them the buffer: a whole REQUEST, however large, and one byte to see that there is "
        "more. Only what is used takes memory."
    )
    yield "#define WSGID_ENVIRON_AT (WSGID_WIRE_HEADER_SIZE + WSGID_WIRE_REQUEST_PREFIX)"
    yield "#define WSGID_BUFFER_SIZE \\"
    yield "    (WSGID_ENVIRON_AT + WSGID_WIRE_MAX_ENVIRON + WSGID_WIRE_MAX_START + 1)"
    yield ""
    yield from comment("Changes with this table: whether Python and C were made from the same.")
    yield f"#define WSGID_INTERFACE {agreement.interface()}"
    yield from functions()
    yield from ("", "#endif")


def functions() -> Iterator[str]:
    """The prototypes of what Python calls."""
    yield from ("", "typedef struct wsgid_hub wsgid_hub_t;")
    yield from ("typedef struct wsgid_endpoint wsgid_endpoint_t;", "")
    yield '#define WSGID_API __attribute__((visibility("default")))'
    for function, prototype in zip(table.FUNCTIONS, agreement.prototypes()):
        space = "" if prototype.result.endswith("*") else " "
        left = f"WSGID_API {prototype.result}{space}{prototype.name}("
        whole = [parameter.replace(" ", GLUE) for parameter in prototype.parameters]
        lines = wrap(", ".join(whole) + ");", WIDTH - len(left))
        yield from ("", *comment(function.meaning), left + lines[0].replace(GLUE, " "))
        yield from (" " * len(left) + line.replace(GLUE, " ") for line in lines[1:])
