"""httpd's configuration as a list of directives, each with its place: what `pywsgid check` looks
at.

There are two ways to the same list. ask() has httpd read it and print what it has read (mod_info's
DUMP_CONFIG): exact, but it needs a configuration that httpd accepts. read() follows the files
itself: continuation lines, Include, Define and ${...}, IfModule, IfDefine, IfFile, IfVersion; it
reads on where httpd stops at the first fault, and sees LoadModule lines, which httpd does not
print. Rules: nothing is judged here; what cannot be followed is noted in `gaps`, never skipped in
silence.
"""

from __future__ import annotations

import glob
import os
import re
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field

from pywsgid.cli.server import Server

MAX_DEPTH = 64  # of Include; httpd's own limit is 256 and 20 for directories
VARIABLE = re.compile(r"\$\{([^}]+)\}")
WORD = re.compile(r"""\s*("(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*'|\S+)""")
# What httpd does as it reads, and does not print.
DONE_AT_ONCE = ("loadmodule", "serverroot", "defaultruntimedir")
# Sections that decide at once whether their lines are read. Of all others the lines belong to the
# section.
CONDITIONS = ("ifmodule", "ifdefine", "iffile", "ifversion", "ifdirective", "ifsection")


@dataclass(frozen=True)
class Section:
    """<Name arguments> around a directive, opened at `place`: two hosts may have the same
    address."""

    name: str
    arguments: str
    place: str = ""

    @property
    def words(self) -> list[str]:
        return split(self.arguments)


@dataclass(frozen=True)
class Directive:
    """One line as httpd sees it: variables replaced, continuation lines joined; `line` is the last
    one of them.
    """

    name: str
    arguments: str
    file: str
    line: int
    sections: tuple[Section, ...] = ()

    @property
    def key(self) -> str:
        return self.name.lower()

    @property
    def words(self) -> list[str]:
        return split(self.arguments)

    @property
    def place(self) -> str:
        """file:line; the file alone for what stands in no line."""
        return f"{self.file}:{self.line}" if self.line else self.file


def split(text: str) -> list[str]:
    """Words as httpd takes them: quotes around a whole word, within them a backslash before a quote
    or another.
    """
    words = []
    for match in WORD.finditer(text):
        word = match[1]
        if word[0] in "\"'" and len(word) > 1 and word[-1] == word[0]:
            word = re.sub(r"\\([\\" + word[0] + "])", r"\1", word[1:-1])
        words.append(word)
    return words


@dataclass
class ModuleBlock:
    """An <IfModule> that asks for a module, or with `wanted` False for its absence."""

    module: str  # as it is written: wsgi_module, mod_wsgi.c
    wanted: bool
    place: str
    holds: bool = True
    names: list[str] = field(default_factory=list)  # of the directives in it


@dataclass
class Reading:
    """A configuration that is being read."""

    server: Server
    root: str
    version: tuple[int, ...]
    defines: dict[str, str]  # -D and Define
    environment: dict[str, str]
    directives: list[Directive] = field(default_factory=list)
    loaded: dict[str, Directive | None] = field(
        default_factory=dict
    )  # wsgid_module -> its LoadModule line
    files: list[str] = field(default_factory=list)
    gaps: list[tuple[str, str]] = field(default_factory=list)  # place, what could not be followed
    blocks: list[ModuleBlock] = field(
        default_factory=list
    )  # those that were come to, skipped or not

    def value(self, name: str) -> str | None:
        return self.defines.get(name) or self.environment.get(name)

    def path(self, text: str) -> str:
        return os.path.normpath(os.path.join(self.root, text))


def read(
    server: Server,
    path: str,
    root: str,
    version: tuple[int, ...],
    defines: dict[str, str],
    environment: dict[str, str],
) -> Reading:
    """Follows the files from `path` on. OSError if that one cannot be read."""
    reading = Reading(server, root, version, dict(defines), environment)
    reading.loaded = dict.fromkeys((f"{name}_module" for name in server.built_in), None)
    _read_file(reading, os.path.abspath(path), (), 0)
    return reading


# -------- lines


def lines_of(path: str) -> Iterator[tuple[int, str]]:
    """Logical lines with the number of their last physical one. A backslash at the end joins, in
    comments too.
    """
    with open(path, encoding="utf-8", errors="surrogateescape") as file:
        joined = ""
        number = 0
        for number, line in enumerate(file, 1):
            text = line.rstrip("\r\n")
            if text.endswith("\\"):
                joined += text[:-1]
                continue
            yield number, (joined + text).strip()
            joined = ""
        if joined:
            yield number, joined.strip()


def resolved(reading: Reading, text: str) -> str:
    """${NAME} replaced where there is such a variable; else it stays, as with httpd."""

    def value(match: re.Match[str]) -> str:
        found = reading.value(match[1])
        return match[0] if found is None else found

    return VARIABLE.sub(value, text)


def _read_file(reading: Reading, path: str, sections: tuple[Section, ...], depth: int) -> None:
    reading.files.append(path)
    opened = list(sections)
    skipping = 0  # how many sections that are not read are open
    conditions: list[
        bool
    ] = []  # for each open section of this file: whether it was only a condition
    blocks: list[
        ModuleBlock | None
    ] = []  # for each open section of this file: which <IfModule> it is
    for number, text in lines_of(path):
        if not text or text.startswith("#"):
            continue
        if text.startswith("</"):
            blocks[-1:] = []
            if skipping:
                skipping -= 1
            elif conditions and not conditions.pop():
                opened.pop()
            continue
        name, arguments = _parts(text)
        for block in filter(None, blocks):
            block.names.append(name)
        if name.startswith("<"):
            blocks.append(None)
        if skipping:
            skipping += name.startswith("<")
            continue
        arguments = resolved(reading, arguments)
        if not name.startswith("<"):
            _directive(reading, Directive(name, arguments, path, number, tuple(opened)), depth)
        elif name[1:].lower() in CONDITIONS:
            holds = _holds(reading, name[1:].lower(), arguments, f"{path}:{number}")
            if name[1:].lower() == "ifmodule":
                blocks[-1] = _module_block(arguments, f"{path}:{number}", holds)
                reading.blocks.append(blocks[-1])
            skipping += not holds
            if holds:
                conditions.append(True)
        elif name[1:].lower() == "macro":
            reading.gaps.append((f"{path}:{number}", "a macro (mod_macro)"))
            skipping += 1
        else:
            conditions.append(False)
            opened.append(Section(name[1:], arguments, f"{path}:{number}"))
            # Some are directives in their own right: <WSGIInterpreterOptions>.
            reading.directives.append(Directive(name, arguments, path, number, tuple(opened[:-1])))


def _parts(text: str) -> tuple[str, str]:
    """Name and arguments; of a section without its closing bracket."""
    name, _, arguments = (
        text.partition(" ")
        if " " in text and "\t" not in text.split(" ")[0]
        else text.partition("\t")
    )
    arguments = arguments.strip()
    if name.startswith("<"):
        if name.endswith(">"):
            name = name[:-1]
        arguments = arguments.removesuffix(">").rstrip()
    return name, arguments


# -------- what is done at once


def _directive(reading: Reading, line: Directive, depth: int) -> None:
    words = line.words
    key = line.key
    if key in ("include", "includeoptional") and words:
        _include(reading, line, words[0], depth)
    elif key == "define" and words:
        reading.defines[words[0]] = words[1] if len(words) > 1 else ""
    elif key == "undefine" and words:
        reading.defines.pop(words[0], None)
    elif key == "loadmodule" and len(words) > 1:
        reading.loaded.setdefault(words[0], line)
        reading.directives.append(line)
    elif key == "use":
        reading.gaps.append((line.place, "a macro (mod_macro)"))
    else:
        if key == "serverroot" and words:
            reading.root = words[0]
        reading.directives.append(line)


def _include(reading: Reading, line: Directive, pattern: str, depth: int) -> None:
    if depth >= MAX_DEPTH:
        reading.gaps.append((line.place, f"{line.name} is nested more than {MAX_DEPTH} deep"))
        return
    path = reading.path(pattern)
    found = sorted(glob.glob(path)) if re.search(r"[*?\[]", path) else [path]
    if not found and line.key == "include":
        reading.gaps.append((line.place, f"{path} matches no file"))
    for name in found:
        _include_one(reading, line, name, depth + 1)


def _include_one(reading: Reading, line: Directive, path: str, depth: int) -> None:
    """A file, or all files below a directory."""
    if os.path.isdir(path):
        for name in sorted(os.listdir(path)):
            _include_one(reading, line, os.path.join(path, name), depth)
        return
    try:
        _read_file(reading, path, line.sections, depth)
    except OSError as error:
        if line.key == "include" or not isinstance(error, FileNotFoundError):
            reading.gaps.append((line.place, f"{path} cannot be read ({error.strerror})"))


# -------- conditions


def _holds(reading: Reading, name: str, arguments: str, place: str) -> bool:
    words = split(arguments)
    wanted = True
    if words and words[0].startswith("!"):
        wanted = False
        words[0] = words[0][1:]
    if not words:
        return True
    if name == "ifmodule":
        return _is_loaded(reading, words[0]) == wanted
    if name == "ifdefine":
        return (words[0] in reading.defines) == wanted
    if name == "iffile":
        return os.path.exists(reading.path(words[0])) == wanted
    if name == "ifversion":
        return _version_fits(reading.version, words) == wanted
    reading.gaps.append((place, f"whether <{name} {arguments}> holds; taken as if it does"))
    return True


def _module_block(arguments: str, place: str, holds: bool) -> ModuleBlock:
    word = next(iter(split(arguments)), "")
    return ModuleBlock(word.removeprefix("!"), not word.startswith("!"), place, holds)


def _is_loaded(reading: Reading, name: str) -> bool:
    """By identifier (wsgi_module) or by source file (mod_wsgi.c)."""
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
    operator, text = words if len(words) == 2 else ("=", words[0])
    if operator == "~" or text.startswith("/"):
        return re.search(text.strip("/"), ".".join(map(str, version))) is not None
    other = tuple(int(part) for part in text.split(".") if part.isdecimal())
    ours = version[: len(other)]
    return {
        "=": ours == other,
        "==": ours == other,
        ">": ours > other,
        ">=": ours >= other,
        "<": ours < other,
        "<=": ours <= other,
    }.get(operator, True)


# -------- httpd's own reading


def ask(
    server: Server, words: list[str], environment: dict[str, str]
) -> tuple[list[Directive], int, str]:
    """(directives, exit code, what it said) of `httpd -t`; no directives if httpd cannot print
    them.
    """
    dump = ["-D", "DUMP_CONFIG"]
    if "info" not in server.built_in and os.path.exists(server.file("info")):
        dump += ["-C", f"LoadModule info_module {server.file('info')}"]
    done = subprocess.run(
        [server.program, "-t", *words, *dump],
        capture_output=True,
        stdin=subprocess.DEVNULL,
        text=True,
        errors="surrogateescape",
        env={**os.environ, **environment},
    )
    return list(dumped(done.stdout)), done.returncode, done.stderr


IN_FILE = re.compile(r"# In file: (.*)")
# Lines of a macro are in no file of their own; where it is used says more than where it is defined.
IN_MACRO = re.compile(
    r"""macro '.*' \(defined on line \d+ of ".*"\) used on line (\d+) of "(.*)\""""
)
LINE_NUMBER = re.compile(r"#\s+(\d+):")


def dumped(text: str) -> Iterator[Directive]:
    """What mod_info prints: a comment with the file when that changes, one with the line before
    each directive.
    """
    path, number, used = "", 0, 0
    sections: list[Section] = []
    for line in map(str.strip, text.splitlines()):
        if match := IN_FILE.fullmatch(line):
            macro = IN_MACRO.search(match[1])
            path, used = (macro[2], int(macro[1])) if macro else (match[1], 0)
        elif match := LINE_NUMBER.fullmatch(line):
            number = used or int(match[1])
        elif line.startswith("</"):
            sections.pop()
        elif line and not line.startswith("#"):
            name, arguments = _parts(line)
            yield Directive(name, arguments, path, number, tuple(sections))
            if name.startswith("<"):
                sections.append(Section(name[1:], arguments, f"{path}:{number}"))
