"""Checks that mod_wsgid is loaded and complete, and that no section waits for mod_wsgi."""

from __future__ import annotations

import os

from pywsgid.cli.check.conf_reader import ModuleBlock
from pywsgid.cli.check.conf_syntax import Directive
from pywsgid.cli.check.findings import NOTE, PROBLEM, Finding, Findings
from pywsgid.cli.check.subject import NAMES_OF_OURS, NAMES_OF_THEIRS, OURS, THEIRS, Subject


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


# -------- sections for one of both modules


def check_blocks(subject: Subject) -> Findings:
    """<IfModule mod_wsgi.c> and <IfModule wsgi_module>: mod_wsgid has neither name, so httpd skips
    the section."""
    has_our_own = any(block.module in NAMES_OF_OURS and block.wanted for block in subject.blocks)
    for block in subject.blocks:
        if block.module not in NAMES_OF_THEIRS or not block.names:
            continue
        if block.wanted:
            yield _skipped_block(block, has_our_own)
        elif "loadmodule" not in map(str.lower, block.names):
            yield _read_block(block)


def _skipped_block(block: ModuleBlock, has_our_own: bool) -> Finding:
    """With a section for each of both modules, it is only a note."""
    what = (
        "will be skipped when mod_wsgid replaces mod_wsgi"
        if block.holds
        else "is skipped because mod_wsgi is not loaded"
    )
    return Finding(
        block.place,
        "WSGID0446",
        f"<IfModule {block.module}> {what}, with {_contents(block)}",
        "write <IfModule wsgid_module>, or remove this line and its </IfModule>",
        NOTE if has_our_own else PROBLEM,
    )


def _read_block(block: ModuleBlock) -> Finding:
    what = (
        "is read because mod_wsgi is not loaded"
        if block.holds
        else "will be read when mod_wsgid replaces mod_wsgi"
    )
    return Finding(
        block.place,
        "WSGID0446",
        f"<IfModule !{block.module}> {what}, with {_contents(block)}",
        "write <IfModule !wsgid_module> if the section is for servers without WSGI",
        NOTE,
    )


def _contents(block: ModuleBlock) -> str:
    """The names of its directives: those of WSGI first, three at most."""
    names = sorted(
        dict.fromkeys(name.lstrip("<") for name in block.names),
        key=lambda name: not name.lower().startswith("wsgi"),
    )
    return ", ".join(names[:3]) + (" ..." if len(names) > 3 else "")
