"""Checks which room uses which, and that no files use each other in a circle. Exit code 1 if so.

In Python that is `import`; in C it is `#include`, and every use of a symbol, as `wsgid_<file>_...`
(or `wsgid_<room>_<file>_...`) says where a symbol is defined.

A room (a folder) may use itself, what is listed for it below, and nothing else. A header that says
"Private to ROOM/" in its first comment may be used in that room only. The lists are the
architecture; docs/design.md ("The rooms") says what each room is for. Standard library only.
"""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

# The top of apxs/ (wsgid.h) is the ground: every room may use it.
C_ROOMS = {
    "config": {"common", "slots"},
    "guardian": {"spawn", "slots", "config", "common"},
    "spawn": {"slots", "config", "common"},
    "request": {"config", "slots", "common"},
    "auth": {"request", "config", "common"},
    "status": {"config", "slots", "common"},
    "slots": {"common"},
    "common": set(),
    "native": {"common"},
}
# What of a room's own folder may be used from each place; "" is the package's top, its __init__.
PYTHON_ROOMS = {
    "": {"cli"},
    "cli": {"cli.check", "cli.serve", "wire", ""},
    "cli.check": {"cli", "wire", ""},
    "cli.serve": {"cli", "wire", ""},
    "daemon": {
        "daemon.process",
        "daemon.wsgi",
        "daemon.application",
        "daemon.mod_wsgi_api",
        "daemon.transport",
        "wire",
        "",
    },
    # Unlike the others it may look into the rooms beside it: it shows what they have.
    "daemon.mod_wsgi_api": {
        "daemon",
        "daemon.process",
        "daemon.wsgi",
        "daemon.application",
        "wire",
        "",
    },
    "daemon.process": {"daemon", "daemon.transport", "wire", ""},
    "daemon.wsgi": {"daemon", "daemon.application", "daemon.transport", "wire", ""},
    "daemon.application": {"daemon", "wire", ""},
    "daemon.transport": {"daemon", "wire", "", "_native"},
    "native": {"wire"},
    "wire": set(),
}
# Applications patch these. Only these files use the modules themselves.
COPIED = {"_signal", "_socket", "_thread", "os", "select", "time"}
PATCHED = {"signal", "socket", "selectors", "threading"}
OWN = {
    "boot.py": COPIED,  # before anything else
    "system.py": COPIED,
    "interfaces.py": COPIED,
    "main.py": {"threading"},
    "cpython.py": {"threading"},
    "stacks.py": {"threading"},
}
COMMENT = re.compile(r"/\*.*?\*/", re.DOTALL)
INCLUDE = re.compile(r'^\s*#\s*include "((?:\w+/)*)(\w+\.\w+)"', re.MULTILINE)


def is_private(header: Path) -> bool:
    """Whether a header's first comment says that it is for its own room: "Private to ROOM/"."""
    comment = COMMENT.search(header.read_text(encoding="utf-8")) if header.exists() else None
    return comment is not None and f"Private to {header.parent.name}/" in comment[0]


def c_breaches() -> Iterator[str]:
    """Includes that no list allows, and private headers of other rooms."""
    places = [(path, path.parent.name) for path in sorted(ROOT.glob("apxs/*/*.[ch]"))]
    places += [(path, "native") for path in sorted(ROOT.glob("pywsgid/native/*.[ch]"))]
    for path, room in places:
        for folder, name in INCLUDE.findall(path.read_text(encoding="utf-8")):
            used = folder.rstrip("/")
            if used and used != room and used not in C_ROOMS[room]:
                yield f"{path.relative_to(ROOT)}: {room} may not use {used} ({name})"
            elif used and used != room and is_private(ROOT / "apxs" / used / name):
                yield f"{path.relative_to(ROOT)}: {used}/{name} is private to {used}/"


def room_of(module: str) -> str:
    """ "pywsgid.daemon.wsgi.input" -> "daemon.wsgi", a package -> itself."""
    parts = module.split(".")[1:]
    path = ROOT.joinpath("pywsgid", *parts)
    return ".".join(parts if path.is_dir() else parts[:-1])


def imported(tree: ast.AST) -> Iterator[str]:
    """Every module of ours that a file imports, wherever the import is."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "pywsgid":
            for alias in node.names:
                name = f"{node.module}.{alias.name}"
                path = ROOT.joinpath(*name.split("."))
                yield (
                    name if path.with_suffix(".py").exists() or path.is_dir() else node.module or ""
                )
        elif isinstance(node, ast.Import):
            yield from (a.name for a in node.names if a.name.split(".")[0] == "pywsgid")


def python_breaches() -> Iterator[str]:
    """Imports that no list allows."""
    for path in sorted((ROOT / "pywsgid").rglob("*.py")):
        room = ".".join(path.relative_to(ROOT / "pywsgid").parts[:-1])
        for module in imported(ast.parse(path.read_text(encoding="utf-8"))):
            used = room_of(module)
            if used != room and used not in PYTHON_ROOMS[room]:
                yield f"{path.relative_to(ROOT)}: {room or 'pywsgid'} may not use {module}"


def outside(node: ast.AST) -> Iterator[str]:
    """The modules that are not ours and that a file imports when it runs, wherever."""
    if isinstance(node, ast.If) and isinstance(node.test, ast.Name):  # if TYPE_CHECKING:
        return
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
        yield node.module or ""
    for child in ast.iter_child_nodes(node):
        yield from outside(child)


def patched_breaches() -> Iterator[str]:
    """Files of the daemon that use what applications patch (pywsgid/daemon/system.py)."""
    for path in sorted((ROOT / "pywsgid/daemon").rglob("*.py")):
        found = set(outside(ast.parse(path.read_text(encoding="utf-8"))))
        for name in sorted(found & (COPIED | PATCHED) - OWN.get(path.name, set())):
            yield f"{path.relative_to(ROOT)}: takes {name} that the application may have patched"


# -------- circles


def c_uses() -> dict[str, set[str]]:
    """{file: files whose symbols it uses}, by the prefixes of symbols."""
    paths = [*ROOT.glob("apxs/*/*.c"), *ROOT.glob("pywsgid/native/*.c")]
    owners: dict[str, str] = {}
    for path in paths:
        name = str(path.relative_to(ROOT))
        owners[f"wsgid_{path.stem}_"] = owners[f"wsgid_{path.parent.name}_{path.stem}_"] = name
    prefixes = sorted(owners, key=len, reverse=True)
    symbol = re.compile(
        r"\b(" + "|".join(prefixes) + r")\w*(?=\()|\b(" + "|".join(prefixes) + r")\w+\b(?<!_t)"
    )
    uses: dict[str, set[str]] = {}
    for path in paths:
        text = COMMENT.sub("", path.read_text(encoding="utf-8"))
        name = str(path.relative_to(ROOT))
        uses[name] = {owners[a or b] for a, b in symbol.findall(text)} - {name}
    return uses


def python_uses() -> dict[str, set[str]]:
    """{module: modules that it imports}."""
    uses: dict[str, set[str]] = {}
    for path in (ROOT / "pywsgid").rglob("*.py"):
        module = ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
        uses[module] = set(imported(ast.parse(path.read_text(encoding="utf-8")))) - {module}
    return uses


def circles(uses: dict[str, set[str]]) -> Iterator[list[str]]:
    """Each largest set of files that reach each other (Tarjan's strongly connected components)."""
    index: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []

    def visit(file: str) -> Iterator[list[str]]:
        index[file] = low[file] = len(index)
        stack.append(file)
        for used in sorted(uses.get(file, ())):
            if used not in index:
                yield from visit(used)
                low[file] = min(low[file], low[used])
            elif used in stack:
                low[file] = min(low[file], index[used])
        if low[file] == index[file]:
            members = stack[stack.index(file) :]
            del stack[stack.index(file) :]
            if len(members) > 1:
                yield sorted(members)

    for file in sorted(uses):
        if file not in index:
            yield from visit(file)


def circle_breaches() -> Iterator[str]:
    for uses in (c_uses(), python_uses()):
        for circle in circles(uses):
            for file in circle:
                others = sorted(uses[file] & set(circle))
                yield f"{file}: in a circle of {len(circle)} files, through {', '.join(others)}"


def main() -> int:
    breaches = [
        *c_breaches(),
        *python_breaches(),
        *patched_breaches(),
        *circle_breaches(),
    ]
    for breach in breaches:
        print(f"check_imports: {breach}", file=sys.stderr)
    return 1 if breaches else 0


if __name__ == "__main__":
    raise SystemExit(main())
