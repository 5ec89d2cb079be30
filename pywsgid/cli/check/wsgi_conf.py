"""What a configuration means for WSGI: its daemon groups, its scripts, and which group serves which
script.

The directives of mod_wsgi and of mod_wsgid count alike. Rules: this file does not judge; the checks
do. It asks the machine only for files that the configuration does not name itself. What only a
request can decide (%{ENV:x}, $1) is None.
"""

from __future__ import annotations

import fnmatch
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass

from pywsgid.cli.check.conf_syntax import WORD, Directive, Section, split

DEFAULT_GROUP = "%{GLOBAL}"
DEFAULT_APPLICATION_GROUP = "%{RESOURCE}"  # of what URLs lead to
GROUP_DIRECTIVES = ("wsgiprocessname", "wsgiprocessgroup")
ALIASES = ("wsgiscriptalias", "wsgiscriptaliasmatch")
# Scripts that decide for httpd, or are handlers, and the function that each needs; "": one of
# several.
DECIDERS = {
    "wsgiaccessscript": "allow_access",
    "wsgiauthuserscript": "",
    "wsgiauthgroupscript": "groups_for_user",
    "wsgidispatchscript": "",
    "wsgihandlerscript": "handle_request",
}
GROUP_OPTIONS = ("process-name", "process-group")
APPLICATION_GROUP = "application-group"  # the option
PORT = re.compile(r":\d+$")
DEFAULT_PORTS = (":80", ":443")
HANDLERS = ("wsgid-script", "wsgi-script", "application/x-httpd-wsgi")  # ours, mod_wsgi's
HANDLER_LINES = ("addhandler", "sethandler", "addtype", "forcetype")
FILES_MOST = 100  # of a directory with a handler
QUOTED = r"""(?:"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*')"""
OPTION = re.compile(rf"""\s*(?:([^=\s"']+)=({QUOTED}|\S*)|({QUOTED}|\S+))""")
# Sections of another host. The lines of the main server hold in it, too.
HOSTS = ("virtualhost",)


@dataclass(frozen=True)
class Group:
    """A WSGIDaemonProcess line. `options` are as written; an option may be repeated."""

    name: str
    line: Directive
    options: tuple[tuple[str, str], ...]

    def all(self, name: str) -> list[str]:
        """Returns every value of an option."""
        return [value for option, value in self.options if option == name]

    def get(self, name: str) -> str | None:
        """Returns the value that counts: the last one; None if the option is not given."""
        values = self.all(name)
        return values[-1] if values else None


@dataclass(frozen=True)
class Alias:
    """A line that leads to a script: the URL ("" without one) and the path of the script, the
    group that serves it, the name of its application ("" if it need not have one), and its
    application group: scripts share processes if they have the same one. None stands for what
    depends on the request."""

    line: Directive
    url: str
    path: str | None
    group: str | None
    callable: str | None
    application_group: str | None


class Configuration:
    """The directives of one configuration. `root` is the directory of relative paths until a
    ServerRoot line sets another one."""

    def __init__(self, directives: list[Directive], root: str) -> None:
        self.directives = directives
        self.root = next((line.words[0] for line in self.named("serverroot") if line.words), root)

    def named(self, *keys: str) -> Iterator[Directive]:
        """Yields the directives with one of these names, in lower case."""
        return (line for line in self.directives if line.key in keys)

    def path(self, text: str) -> str:
        """Returns a path of the configuration as an absolute path."""
        return os.path.normpath(os.path.join(self.root, text))

    def setting(self, key: str) -> Directive | None:
        """Returns the line of the main server that counts: the last one; None if there is none."""
        lines = [line for line in self.named(key) if not line.sections]
        return lines[-1] if lines else None

    def text(self, key: str) -> str | None:
        """Returns the first word of setting()."""
        line = self.setting(key)
        return line.words[0] if line and line.words else None

    def groups(self) -> list[Group]:
        return [
            Group(first[0], line, tuple(options(rest)))
            for line in self.named("wsgidaemonprocess")
            for first, rest in [heads(line.arguments, 1)]
            if first
        ]

    def aliases(self) -> list[Alias]:
        return [self._alias(line) for line in self.named(*ALIASES) if len(line.words) > 1]

    def imports(self) -> list[Alias]:
        """The scripts of WSGIImportScript."""
        found = []
        for line in self.named("wsgiimportscript"):
            first, rest = heads(line.arguments, 1)
            given = dict(options(rest))
            group = next((given[name] for name in GROUP_OPTIONS if name in given), DEFAULT_GROUP)
            shared = self._application_group(line, "", given.get(APPLICATION_GROUP, DEFAULT_GROUP))
            found += [
                Alias(line, "", self.path(path), literal(group), "", shared) for path in first
            ]
        return found

    def handled(self) -> list[Alias]:
        """The scripts that AddHandler, SetHandler and the like lead to, in directories that are
        named: those that are there."""
        found = []
        for line in self.named(*HANDLER_LINES):
            for path in self._files_of(line) if line.words and line.words[0] in HANDLERS else ():
                group = self.in_force(GROUP_DIRECTIVES, line, "", path) or DEFAULT_GROUP
                name = self.in_force(("wsgicallableobject",), line, "", path) or "application"
                shared = self._application_group(line, path, self._choice(line, "", path))
                found.append(Alias(line, "", path, literal(group), literal(name), shared))
        return found

    def _files_of(self, line: Directive) -> list[str]:
        """The files that get a handler, FILES_MOST at most."""
        names = [section for section in line.sections if section.name.lower() != "virtualhost"]
        kinds = [section.name.lower() for section in names]
        if kinds[:1] != ["directory"] or set(kinds[1:]) > {"files"} or not names[0].words:
            return []
        patterns = [section.words[0] for section in names[1:] if section.words]
        endings = tuple("." + word.lstrip(".") for word in line.words[1:])
        top = names[0].words[0]
        found: list[str] = []
        for directory, _, files in os.walk(top) if os.path.isdir(top) else ():
            found += [
                os.path.join(directory, name)
                for name in sorted(files)
                if (not endings or name.endswith(endings))
                and all(fnmatch.fnmatchcase(name, pattern) for pattern in patterns)
            ]
            if len(found) >= FILES_MOST or not endings:
                break  # SetHandler is for one directory, rarely for a tree
        return found[:FILES_MOST]

    def deciders(self) -> list[Alias]:
        found = []
        for line in self.named(*DECIDERS):
            first, rest = decider_heads(line)
            if not all(first):
                continue
            given = dict(options(rest))
            path, group, shared = self.path(first[-1]), DEFAULT_GROUP, DEFAULT_GROUP
            if line.key == "wsgihandlerscript":
                # Without options, they are those of the URL.
                group, shared = "%{URL}", self._choice(line, "", path)
            group = next((given[name] for name in GROUP_OPTIONS if name in given), group)
            shared = given.get(APPLICATION_GROUP, shared)
            found.append(
                Alias(
                    line,
                    "",
                    path,
                    literal(group),
                    DECIDERS[line.key],
                    self._application_group(line, path, shared),
                )
            )
        return found

    def _alias(self, line: Directive) -> Alias:
        (url, target), rest = heads(line.arguments, 2)
        given = dict(options(rest))
        is_open = line.key == "wsgiscriptaliasmatch" and "$" in target
        path = None if is_open else script_in(self.path(target))
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
        shared = given.get(APPLICATION_GROUP) or self._choice(line, url, path)
        shared_by = self._application_group(line, url.rstrip("/"), shared)
        return Alias(line, url, path, literal(group), literal(name), shared_by)

    def _choice(self, line: Directive, url: str, path: str | None) -> str:
        """The value of WSGIApplicationGroup for a script."""
        found = self.in_force(("wsgiapplicationgroup",), line, url, path)
        return DEFAULT_APPLICATION_GROUP if found is None else found

    def _application_group(self, line: Directive, script: str, value: str) -> str | None:
        """The application group that a value stands for (apxs/config/variables.c). Scripts of one
        host get requests with the same Host."""
        if value == DEFAULT_APPLICATION_GROUP:
            return f"{self._server(line)}|{script}"
        if value in ("%{SERVER}", "%{HOST}"):
            return self._server(line)
        return literal(value)

    def _server(self, line: Directive) -> str:
        """The name and port of the server of a line; where its section is if it has no name."""
        host = hosts(line.sections)
        names = [
            one.words[0]
            for one in self.named("servername")
            if one.words and hosts(one.sections) == host
        ]
        if not names:
            return host[0].place if host else ""
        name, address = names[-1], host[0].words[0] if host and host[0].words else ""
        port = PORT.search(name) or PORT.search(address)
        return PORT.sub("", name) + (port[0] if port and port[0] not in DEFAULT_PORTS else "")

    def in_force(
        self, keys: tuple[str, ...], alias: Directive, url: str, path: str | None
    ) -> str | None:
        """Returns the first word of the directive that holds for a script: the innermost of its
        Location or Directory, its host, and the server; None if there is none."""
        best: tuple[tuple[int, ...], str] | None = None
        for line in self.named(*keys):
            weight = weight_for(line.sections, alias, url, path)
            if weight is not None and line.words and (best is None or weight >= best[0]):
                best = weight, line.words[0]
        return best[1] if best else None


def script_in(target: str) -> str:
    """Returns the script that a target names, perhaps with a part of the URL path behind it, as in
    /srv/site.wsgi/shop; else the target."""
    path = target
    while path != os.path.dirname(path):
        if os.path.isfile(path):
            return path
        path = os.path.dirname(path)
    return target


def decider_heads(line: Directive) -> tuple[list[str], str]:
    """The words of a line of DECIDERS up to the path, or [""]; and its options."""
    count = 2 if line.key == "wsgihandlerscript" else 1
    first, rest = heads(line.arguments, count)
    return (first if len(first) == count else [""]), rest


def heads(text: str, count: int) -> tuple[list[str], str]:
    """Returns the first `count` words of a line, and the rest of it unchanged."""
    position = 0
    words = []
    for match in list(WORD.finditer(text))[:count]:
        words += split(match[1])
        position = match.end()
    return words, text[position:]


def options(text: str) -> Iterator[tuple[str, str]]:
    """Yields (name, value) of each name=value, with quotes around the value or around both; ("",
    word) for a word that is not an option."""
    for match in OPTION.finditer(text):
        name, value, word = match.groups()
        if name is not None:
            yield name, "".join(split(value))
        else:
            name, equals, value = "".join(split(word)).partition("=")
            yield (name, value) if equals else ("", name)


def literal(text: str) -> str | None:
    """Returns a name; None if it depends on the request. mod_wsgi reads an empty name as
    %{GLOBAL}."""
    if text in ("", DEFAULT_GROUP):
        return DEFAULT_GROUP
    return None if "%{" in text else text


def hosts(sections: tuple[Section, ...]) -> tuple[Section, ...]:
    """Returns those of the sections that are another host."""
    return tuple(section for section in sections if section.name.lower() in HOSTS)


def weight_for(
    sections: tuple[Section, ...], alias: Directive, url: str, path: str | None
) -> tuple[int, ...] | None:
    """Returns how strongly a directive within `sections` holds for a script: the largest tuple
    wins. None if the directive does not hold for it."""
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
    """Returns whether a URL path is `prefix` or below it."""
    prefix = prefix.rstrip("/")
    return path == prefix or path.startswith(prefix + "/") or not prefix


def covers(section: Section, path: str) -> bool:
    """Returns whether a <Directory> holds for a file: it names a directory above the file, maybe
    with wildcards."""
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
