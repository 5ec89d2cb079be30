"""Checks for what works differently with mod_wsgi, where no other check reports it."""

from __future__ import annotations

from pywsgid.cli.check.findings import NOTE, Finding, Findings
from pywsgid.cli.check.subject import THEIRS, Subject
from pywsgid.cli.check.wsgi_conf import DEFAULT_GROUP


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
                "default daemon group (up to one process for each processor, with 15 threads each, "
                "as httpd's user)",
                "define a WSGIDaemonProcess for it, and name that group with WSGIProcessName",
                NOTE,
            )
