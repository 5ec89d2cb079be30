"""Reads the files of a configuration as httpd does: Include, Define and ${...}, IfModule, IfDefine,
IfFile, IfVersion.

Unlike httpd, it reads on after the first fault, and it keeps LoadModule lines and skipped sections
(conf_dump.py has httpd's own reading). Rules: nothing is judged here. What cannot be followed is
recorded in `gaps`, never dropped silently.
"""

from __future__ import annotations

import glob
import operator
import os
import re
from dataclasses import dataclass, field

from pywsgid.cli.check.conf_syntax import (
    Directive,
    Section,
    logical_lines,
    name_and_arguments,
)
from pywsgid.cli.server import Server

OURS = "wsgid_module"
NAMES_OF_OURS = (OURS, "mod_wsgid.c", "wsgi_module", "mod_wsgi.c")  # apxs/config/names.c
MAX_DEPTH = 64  # of Include; httpd's own limit is 256, and 20 for directories
VARIABLE = re.compile(r"\$\{([^}]+)\}")
# Sections that httpd reads or skips at once. Their lines belong to the section around them.
CONDITIONS = ("ifmodule", "ifdefine", "iffile", "ifversion", "ifdirective", "ifsection")
MACRO = "a macro (mod_macro) is not followed"
COMPARISONS = {
    "=": operator.eq,
    "==": operator.eq,
    ">": operator.gt,
    ">=": operator.ge,
    "<": operator.lt,
    "<=": operator.le,
}


@dataclass
class Reading:
    """A configuration, and the state that its own lines change while it is read."""

    server: Server
    root: str  # ServerRoot
    version: tuple[int, ...]  # of httpd
    defines: dict[str, str]  # -D and Define
    environment: dict[str, str]
    directives: list[Directive] = field(default_factory=list)
    # wsgid_module -> its LoadModule line; None if the module is compiled in
    loaded: dict[str, Directive | None] = field(default_factory=dict)
    files: list[str] = field(default_factory=list)
    gaps: list[tuple[str, str]] = field(default_factory=list)  # (place, what is not followed)

    def path(self, text: str) -> str:
        """Returns a path of the configuration as an absolute path."""
        return os.path.normpath(os.path.join(self.root, text))

    def resolved(self, text: str) -> str:
        """Replaces ${NAME}. As in httpd, an unknown name remains as it is."""

        def value(match: re.Match[str]) -> str:
            name = match[1]
            found = self.defines.get(name) or self.environment.get(name)
            return match[0] if found is None else found

        return VARIABLE.sub(value, text)


def read(
    server: Server,
    path: str,
    root: str,
    version: tuple[int, ...],
    defines: dict[str, str],
    environment: dict[str, str],
) -> Reading:
    """Reads the file and all that it includes. Raises OSError if the file cannot be read."""
    reading = Reading(server, root, version, dict(defines), environment)
    reading.loaded = dict.fromkeys((f"{name}_module" for name in server.built_in), None)
    _File(reading, os.path.abspath(path), (), 0).read()
    return reading


# -------- one file


@dataclass
class _Open:
    """A section that is open in a file."""

    is_condition: bool = False
    is_skipped: bool = False


class _File:
    """Reads one file into a Reading."""

    def __init__(
        self, reading: Reading, path: str, sections: tuple[Section, ...], depth: int
    ) -> None:
        self._reading = reading
        self._path = path
        self._sections = list(sections)  # around the next line, those of the including file first
        self._depth = depth  # of Include
        self._open: list[_Open] = []

    def read(self) -> None:
        """Raises OSError if the file cannot be read."""
        self._reading.files.append(self._path)
        for number, text in logical_lines(self._path):
            if text.startswith("</"):
                self._close()
            elif text and not text.startswith("#"):
                self._line(number, *name_and_arguments(text))

    def _close(self) -> None:
        if self._open:
            closed = self._open.pop()
            if not closed.is_skipped and not closed.is_condition:
                self._sections.pop()

    def _line(self, number: int, name: str, arguments: str) -> None:
        if self._open and self._open[-1].is_skipped:
            if name.startswith("<"):
                self._open.append(_Open(is_skipped=True))
            return
        line = Directive(
            name, self._reading.resolved(arguments), self._path, number, tuple(self._sections)
        )
        if name.startswith("<"):
            self._open.append(self._section(line))
        else:
            self._directive(line)

    def _section(self, line: Directive) -> _Open:
        key = line.key[1:]
        if key in CONDITIONS:
            holds = _holds(self._reading, key, line)
            return _Open(is_condition=True, is_skipped=not holds)
        if key == "macro":
            self._reading.gaps.append((line.place, MACRO))
            return _Open(is_skipped=True)
        self._sections.append(Section(line.name[1:], line.arguments, line.place))
        # Some sections are directives in their own right: <WSGIInterpreterOptions>.
        self._reading.directives.append(line)
        return _Open()

    def _directive(self, line: Directive) -> None:
        """Records a directive, and does what httpd does at once."""
        reading, words = self._reading, line.words
        if line.key == "use":
            reading.gaps.append((line.place, MACRO))
            return
        if line.key in ("include", "includeoptional") and words:
            self._include(line, words[0])
            return
        if line.key == "define" and words:
            reading.defines[words[0]] = words[1] if len(words) > 1 else ""
            return
        if line.key == "undefine" and words:
            reading.defines.pop(words[0], None)
            return
        if line.key == "loadmodule" and len(words) > 1:
            is_ours = os.path.basename(words[1]) == "mod_wsgid.so"  # wsgi_module names it, too
            reading.loaded.setdefault(OURS if is_ours else words[0], line)
        if line.key == "serverroot" and words:
            reading.root = words[0]
        reading.directives.append(line)

    def _include(self, line: Directive, pattern: str) -> None:
        if self._depth >= MAX_DEPTH:
            gap = f"{line.name} is nested more than {MAX_DEPTH} levels deep"
            self._reading.gaps.append((line.place, gap))
            return
        path = self._reading.path(pattern)
        found = sorted(glob.glob(path)) if re.search(r"[*?\[]", path) else [path]
        if not found and line.key == "include":
            self._reading.gaps.append((line.place, f"no file matches {path}"))
        for name in found:
            self._include_one(line, name)

    def _include_one(self, line: Directive, path: str) -> None:
        """Reads a file, or all files below a directory."""
        if os.path.isdir(path):
            for name in sorted(os.listdir(path)):
                self._include_one(line, os.path.join(path, name))
            return
        try:
            _File(self._reading, path, line.sections, self._depth + 1).read()
        except OSError as error:
            if line.key == "include" or not isinstance(error, FileNotFoundError):
                gap = f"{path} cannot be read ({error.strerror})"
                self._reading.gaps.append((line.place, gap))


# -------- conditions


def _holds(reading: Reading, key: str, line: Directive) -> bool:
    """Whether httpd reads the lines of a section of CONDITIONS."""
    words = line.words
    if not words:
        return True
    wanted = not words[0].startswith("!")
    words[0] = words[0].removeprefix("!")
    if key == "ifmodule":
        return _is_loaded(reading, words[0]) == wanted
    if key == "ifdefine":
        return (words[0] in reading.defines) == wanted
    if key == "iffile":
        return os.path.exists(reading.path(words[0])) == wanted
    if key == "ifversion":
        return _version_fits(reading.version, words) == wanted
    reading.gaps.append((line.place, f"{line.name} {line.arguments}> is taken as true"))
    return True


def _is_loaded(reading: Reading, name: str) -> bool:
    """By identifier (cgi_module) or by source file (mod_cgi.c). Ours has mod_wsgi's names, too."""
    if OURS in reading.loaded and name in NAMES_OF_OURS:
        return True
    if not name.endswith(".c"):
        return name in reading.loaded
    base = name.removesuffix(".c")
    files = {
        os.path.basename(line.words[1]).removesuffix(".so")
        for line in reading.loaded.values()
        if line
    }
    return base in files or f"{base.removeprefix('mod_')}_module" in reading.loaded


def _version_fits(version: tuple[int, ...], words: list[str]) -> bool:
    comparison, text = words if len(words) == 2 else ("=", words[0])
    if comparison == "~" or text.startswith("/"):
        return re.search(text.strip("/"), ".".join(map(str, version))) is not None
    other = tuple(int(part) for part in text.split(".") if part.isdecimal())
    compare = COMPARISONS.get(comparison)
    return compare is None or bool(compare(version[: len(other)], other))
