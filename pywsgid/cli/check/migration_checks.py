"""Checks for what works differently with mod_wsgi, where no other check reports it."""

from __future__ import annotations

from pywsgid.cli.check.findings import NOTE, Finding, Findings
from pywsgid.cli.check.subject import THEIRS, Subject
from pywsgid.cli.check.wsgi_conf import ALIASES, DEFAULT_GROUP, heads, options


def check_application_groups(subject: Subject) -> Findings:
    """WSGIApplicationGroup and application-group= other than %{GLOBAL}."""
    configuration = subject.configuration
    lines = [
        (line, line.words[0]) for line in configuration.named("wsgiapplicationgroup") if line.words
    ]
    for line in configuration.named(*ALIASES):
        given = options(heads(line.arguments, 2)[1])
        lines += [(line, value) for name, value in given if name == "application-group"]
    for line, name in lines:
        if name != DEFAULT_GROUP:
            yield Finding(
                line.place,
                "WSGID0017",
                f"application group {name} has no effect, because a process has one interpreter",
                "to separate applications, give each one a WSGIDaemonProcess of its own",
                NOTE,
            )


def check_embedded_mode(subject: Subject) -> Findings:
    """Scripts that mod_wsgi runs in httpd's own processes."""
    if subject.loaded.get(THEIRS) is None:
        return
    for alias in subject.aliases:
        if alias.group == DEFAULT_GROUP:
            yield Finding(
                alias.line.place,
                "WSGID0427",
                "mod_wsgi runs this script in httpd's own processes; mod_wsgid will run it in the "
                "default daemon group (one process with 15 threads, as httpd's user)",
                "define a WSGIDaemonProcess for it, and name that group with WSGIProcessName",
                NOTE,
            )
