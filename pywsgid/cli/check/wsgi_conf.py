"""What a configuration means for WSGI: its daemon groups, its scripts, and which group serves which
script.

From the directives of conf_reader.py, mod_wsgi's and ours alike. Rules: nothing is looked up on the
machine and nothing is judged here (checks.py does both); what only a request can decide (%{ENV:x},
$1) is None.
"""

from __future__ import annotations

import fnmatch
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass

from pywsgid.cli.check.conf_reader import WORD, Directive, Section, split

DEFAULT_GROUP = "%{GLOBAL}"
GROUP_DIRECTIVES = ("wsgiprocessname", "wsgiprocessgroup")
ALIASES = ("wsgiscriptalias", "wsgiscriptaliasmatch")
GROUP_OPTIONS = ("process-name", "process-group")
QUOTED = r"""(?:"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*')"""
OPTION = re.compile(rf"""\s*(?:([^=\s"']+)=({QUOTED}|\S*)|({QUOTED}|\S+))""")
# Sections that are another server, in which the same main server's lines hold, too.
HOSTS = ("virtualhost",)


@dataclass(frozen=True)
class Group:
    """A WSGIDaemonProcess line. `options` as written: an option that is repeated has more than one
    value.
    """

    name: str
    line: Directive
    options: tuple[tuple[str, str], ...]

    def all(self, name: str) -> list[str]:
        return [value for option, value in self.options if option == name]

    def get(self, name: str) -> str | None:
        values = self.all(name)
        return values[-1] if values else None


@dataclass(frozen=True)
class Script:
    """A WSGIScriptAlias line. `path` is None if it depends on the request, `group` if that does."""

    line: Directive
    url: str
    path: str | None
    group: str | None
    callable: str | None


class Configuration:
    """The directives of one configuration, asked about WSGI. `root` is where relative paths
    begin."""

    def __init__(self, directives: list[Directive], root: str) -> None:
        self.directives = directives
        self.root = next((line.words[0] for line in self.named("serverroot") if line.words), root)

    def named(self, *keys: str) -> Iterator[Directive]:
        return (line for line in self.directives if line.key in keys)

    def path(self, text: str) -> str:
        return os.path.normpath(os.path.join(self.root, text))

    def setting(self, key: str) -> Directive | None:
        """The line that counts of a directive of the main server."""
        lines = [line for line in self.named(key) if not line.sections]
        return lines[-1] if lines else None

    def text(self, key: str) -> str | None:
        line = self.setting(key)
        return line.words[0] if line and line.words else None

    def groups(self) -> list[Group]:
        return [
            Group(first[0], line, tuple(options(rest)))
            for line in self.named("wsgidaemonprocess")
            for first, rest in [heads(line.arguments, 1)]
            if first
        ]

    def scripts(self) -> list[Script]:
        return [self._script(line) for line in self.named(*ALIASES) if len(line.words) > 1]

    def _script(self, line: Directive) -> Script:
        (url, target), rest = heads(line.arguments, 2)
        given = dict(options(rest))
        path = None if line.key == "wsgiscriptaliasmatch" and "$" in target else self.path(target)
        group = (
            next((given[name] for name in GROUP_OPTIONS if name in given), None)
            or self.in_force(GROUP_DIRECTIVES, line, url, path)
            or DEFAULT_GROUP
        )
        name = (
            given.get("callable-object")
            or self.in_force(("wsgicallableobject",), line, url, path)
            or "application"
        )
        return Script(line, url, path, literal(group), literal(name))

    def in_force(
        self, keys: tuple[str, ...], alias: Directive, url: str, path: str | None
    ) -> str | None:
        """The word of the directive that holds for a script: of its Location or Directory, its
        host, the server.
        """
        best: tuple[tuple[int, ...], str] | None = None
        for line in self.named(*keys):
            weight = weight_for(line.sections, alias, url, path)
            if weight is not None and line.words and (best is None or weight >= best[0]):
                best = weight, line.words[0]
        return best[1] if best else None


def heads(text: str, count: int) -> tuple[list[str], str]:
    """The first `count` words of a line, and the rest as it is."""
    position = 0
    words = []
    for match in list(WORD.finditer(text))[:count]:
        words += split(match[1])
        position = match.end()
    return words, text[position:]


def options(text: str) -> Iterator[tuple[str, str]]:
    """(name, value) of each name=value, the quotes around the value or around both; ("", word) of
    what is no option.
    """
    for match in OPTION.finditer(text):
        name, value, word = match.groups()
        if name is not None:
            yield name, "".join(split(value))
        else:
            name, equals, value = "".join(split(word)).partition("=")
            yield (name, value) if equals else ("", name)


def literal(text: str) -> str | None:
    """None for what a request decides. An empty name is mod_wsgi's for %{GLOBAL}."""
    if text in ("", DEFAULT_GROUP):
        return DEFAULT_GROUP
    return None if "%{" in text else text


def hosts(sections: tuple[Section, ...]) -> tuple[Section, ...]:
    return tuple(section for section in sections if section.name.lower() in HOSTS)


def weight_for(
    sections: tuple[Section, ...], alias: Directive, url: str, path: str | None
) -> tuple[int, ...] | None:
    """How strongly a directive within `sections` holds for a script; None if it does not."""
    host = hosts(sections)
    if host and host != hosts(alias.sections):
        return None
    location = directory = 0
    for section in sections:
        kind = section.name.lower()
        if kind in HOSTS:
            continue
        place = section.words[0] if section.words else ""
        if kind == "location" and is_below(url, place):
            location = len(place) + 1
        elif kind == "directory" and path and covers(section, path):
            directory = len(place) + 1
        elif kind == "files" and path and fnmatch.fnmatchcase(os.path.basename(path), place):
            directory += 1
        else:
            return None
    return location, directory, len(host)


def is_below(path: str, prefix: str) -> bool:
    prefix = prefix.rstrip("/")
    return path == prefix or path.startswith(prefix + "/") or not prefix


def covers(section: Section, path: str) -> bool:
    """Whether a <Directory> holds for a file: its own directory, or one above it; wildcards
    allowed.
    """
    if not section.words or section.words[0] == "~":
        return False
    pattern = section.words[0].rstrip("/") or "/"
    directory = os.path.dirname(path)
    while True:
        if fnmatch.fnmatchcase(directory, pattern):
            return True
        if directory == os.path.dirname(directory):
            return False
        directory = os.path.dirname(directory)
