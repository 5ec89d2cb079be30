"""Checks that mod_wsgid is loaded and complete."""

from __future__ import annotations

import os

from pywsgid.cli.check.conf_reader import OURS
from pywsgid.cli.check.conf_syntax import Directive
from pywsgid.cli.check.findings import Finding, Findings
from pywsgid.cli.check.subject import THEIRS, Subject


def check_modules(subject: Subject) -> Findings:
    """LoadModule lines: mod_wsgid is needed, mod_wsgi must be gone."""
    ours, theirs = subject.loaded.get(OURS), subject.loaded.get(THEIRS)
    if ours and theirs:
        yield Finding(
            theirs.place,
            "WSGID0001",
            f"mod_wsgi is loaded here, and mod_wsgid at {ours.place}: httpd can use only one",
            "remove this LoadModule line (Debian: a2dismod wsgi)",
        )
    elif theirs:
        yield Finding(
            theirs.place,
            "WSGID0420",
            "mod_wsgi is loaded, but mod_wsgid is not",
            f"replace this line with {load_line(subject)} (Debian: a2dismod wsgi && a2enmod wsgid)",
        )
    elif not ours and OURS not in subject.loaded:
        yield Finding(
            subject.place, "WSGID0420", "mod_wsgid is not loaded", f"add {load_line(subject)}"
        )
    if ours:
        yield from _check_module_file(subject, ours)


def load_line(subject: Subject) -> str:
    return f'LoadModule wsgid_module "{subject.module or "modules/mod_wsgid.so"}"'


def _check_module_file(subject: Subject, line: Directive) -> Findings:
    path = subject.configuration.path(line.words[1])
    directory = os.path.dirname(path)
    if not os.path.isfile(path):
        yield Finding(
            line.place,
            "WSGID0421",
            f"{path} does not exist",
            f"run `make install`, or replace this line with {load_line(subject)}",
        )
    elif not any(
        os.path.isfile(os.path.join(directory, name))
        for name in ("pywsgid/daemon/boot.py", "daemon/boot.py")
    ):
        yield Finding(
            line.place,
            "WSGID0421",
            f"pywsgid/daemon/boot.py is not beside {path}, so the module cannot start a daemon",
            "run `make install`, which puts the package there",
        )
