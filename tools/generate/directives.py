"""apxs/config/directives.def -> docs/reference/directives.md and pywsgid/wire/directives.py."""

from __future__ import annotations

from tools.generate.macros import check_unique, macro_calls
from tools.generate.output import DO_NOT_EDIT, ROOT, Pages, TableError, entry_lines, quoted, wrap

SOURCE = "apxs/config/directives.def"
CONTEXTS = {
    "IN_MAIN_SERVER": "server",
    "IN_SERVER": "server, virtual host",
    "IN_DIRECTORY": "server, virtual host, directory",
    "IN_HTACCESS": "server, virtual host, directory, .htaccess (AllowOverride FileInfo)",
    "IN_AUTH": "server, virtual host, directory, .htaccess (AllowOverride AuthConfig)",
}
ARGUMENTS = {"DIRECTIVE": 7, "FOREIGN_DIRECTIVE": 3}

Tables = dict[str, list[list[str]]]  # {macro: [arguments, ...]}


def pages() -> Pages:
    """The files that derive from the table."""
    tables = read_directives()
    return {
        "docs/reference/directives.md": directives_page(tables),
        "pywsgid/wire/directives.py": directives_module(tables),
    }


def read_directives() -> Tables:
    """The table."""
    path = ROOT / SOURCE
    tables: Tables = {macro: [] for macro in ARGUMENTS}
    for macro, arguments in macro_calls(path):
        if len(arguments) != ARGUMENTS.get(macro):
            raise TableError(f"{path.name}: {macro} with {len(arguments)} arguments")
        tables[macro].append(arguments)
    check_unique([entry[1] for entry in tables["DIRECTIVE"]])
    check_unique([entry[0] for entry in tables["FOREIGN_DIRECTIVE"]])
    return tables


def directives_page(tables: Tables) -> list[str]:
    """docs/reference/directives.md"""
    lines = ["# Directives", "", DO_NOT_EDIT.format(source=f"`{SOURCE}`"), ""]
    lines += wrap("The options of `WSGIDaemonProcess` are in [options.md](options.md).")
    for _, name, _, _, context, syntax, text in tables["DIRECTIVE"]:
        lines += ["", f"## {name}", "", f"`{name} {syntax}`", ""]
        lines += [f"Context: {CONTEXTS[context]}.", "", *wrap(text)]
    lines += ["", "## Directives of mod_wsgi that have no effect here", ""]
    lines += wrap(
        "An existing configuration that contains them starts, with one notice for each (WSGID0014)."
    )
    lines += ["", "| directive | instead |", "|---|---|"]
    lines += [
        f"| `{name}{'>' if name[0] == '<' else ''}` | {fix} |"
        for name, _, fix in tables["FOREIGN_DIRECTIVE"]
    ]
    return lines


MODULE_TOP = '''\
"""The directives: those of mod_wsgid, and those of mod_wsgi that it does not have, with the fix.

{note}
"""

DIRECTIVES: tuple[str, ...] = ('''


def directives_module(tables: Tables) -> list[str]:
    """pywsgid/wire/directives.py"""
    foreign = tables["FOREIGN_DIRECTIVE"]
    return [
        *MODULE_TOP.format(note=DO_NOT_EDIT.format(source=SOURCE)).splitlines(),
        *(f"    {quoted(entry[1])}," for entry in tables["DIRECTIVE"]),
        ")",
        "",
        "# Accepted without effect.",
        "FOREIGN: dict[str, str] = {",
        *(line for name, _, fix in foreign for line in entry_lines(name, fix)),
        "}",
    ]
