"""pywsgid/cli/serve/serve_options.py -> docs/reference/serve.md: --help as a page.

That module imports pywsgid/wire/options.py, so it is imported after that has been written.
"""

from __future__ import annotations

from tools.generate.output import DO_NOT_EDIT, ROOT, Pages, wrap

SOURCE = "pywsgid/cli/serve/serve_options.py"


def pages() -> Pages:
    """The page; nothing in a tree without the command line."""
    if not (ROOT / SOURCE).exists():
        return {}
    from pywsgid.cli.serve import serve_options

    source = DO_NOT_EDIT.format(source=f"`{SOURCE}` and `apxs/config/options.def`")
    lines = ["# Options of pywsgid serve and pywsgid setup", "", source, ""]
    lines += [
        "    pywsgid serve [option ...] TARGET",
        "    pywsgid setup [option ...] TARGET DIR",
        "",
    ]
    lines += wrap(serve_options.TARGETS)
    for title, section in serve_options.SECTIONS:
        lines += ["", f"## {title}"]
        for option in section:
            only = f" Only for {option.commands[0]}." if len(option.commands) == 1 else ""
            lines += ["", f"`{option.syntax}`", "", *wrap(option.help + option.note + only)]
    return {"docs/reference/serve.md": lines}
