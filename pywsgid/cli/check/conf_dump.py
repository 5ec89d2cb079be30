"""httpd's own reading of a configuration: `httpd -t` with mod_info's DUMP_CONFIG.

It is exact, but httpd prints it only for a configuration that it accepts, and without the lines of
READ_AT_ONCE. conf_reader.py reads the files where this is not enough.
"""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterator

from pywsgid.cli.check.conf_syntax import Directive, Section, name_and_arguments
from pywsgid.cli.server import Server

# Directives that take effect while httpd reads them; it does not print them.
READ_AT_ONCE = ("loadmodule", "serverroot", "defaultruntimedir")
IN_FILE = re.compile(r"# In file: (.*)")
# A line of a macro is reported where the macro is used.
IN_MACRO = re.compile(
    r"""macro '.*' \(defined on line \d+ of ".*"\) used on line (\d+) of "(.*)\""""
)
LINE_NUMBER = re.compile(r"#\s+(\d+):")


def dump(
    server: Server, words: list[str], environment: dict[str, str]
) -> tuple[list[Directive], int, str]:
    """Runs `httpd -t` with these arguments. Returns the directives (none if httpd cannot print
    them), the exit status, and what httpd wrote to stderr."""
    options = ["-D", "DUMP_CONFIG"]
    if "info" not in server.built_in and os.path.exists(server.file("info")):
        options += ["-C", f"LoadModule info_module {server.file('info')}"]
    done = subprocess.run(
        [server.program, "-t", *words, *options],
        capture_output=True,
        stdin=subprocess.DEVNULL,
        text=True,
        errors="surrogateescape",
        env={**os.environ, **environment},
    )
    return list(_directives(done.stdout)), done.returncode, done.stderr


def _directives(text: str) -> Iterator[Directive]:
    """Parses what mod_info prints: a comment where the file changes, a comment with the line's
    number, the directive."""
    path, number, used_at = "", 0, 0
    sections: list[Section] = []
    for line in map(str.strip, text.splitlines()):
        if match := IN_FILE.fullmatch(line):
            macro = IN_MACRO.search(match[1])
            path, used_at = (macro[2], int(macro[1])) if macro else (match[1], 0)
        elif match := LINE_NUMBER.fullmatch(line):
            number = used_at or int(match[1])
        elif line.startswith("</"):
            sections.pop()
        elif line and not line.startswith("#"):
            name, arguments = name_and_arguments(line)
            yield Directive(name, arguments, path, number, tuple(sections))
            if name.startswith("<"):
                sections.append(Section(name[1:], arguments, f"{path}:{number}"))
