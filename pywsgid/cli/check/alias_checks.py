"""Checks the WSGIScriptAlias lines against each other: which one gets a request, and which process
runs it."""

from __future__ import annotations

import os

from pywsgid.cli.check.daemon_environment import assigned
from pywsgid.cli.check.findings import APART, Finding, Findings
from pywsgid.cli.check.subject import Subject
from pywsgid.cli.check.wsgi_conf import Alias, hosts, is_below
from pywsgid.wire import django_settings


def check_order(subject: Subject) -> Findings:
    """An alias must not come after one that takes its requests, as apxs/config/aliases.c reports
    when httpd starts."""
    earlier: list[Alias] = []
    for alias in subject.aliases:
        if alias.line.key != "wsgiscriptalias":
            continue
        other = next((other for other in earlier if _takes_requests_of(other, alias)), None)
        if other:
            yield Finding(
                alias.line.place,
                "WSGID0027",
                f"WSGIScriptAlias {alias.url} has no effect, because WSGIScriptAlias {other.url} "
                f"at {other.line.place} gets its requests",
                "write the longer URL first",
            )
        earlier.append(alias)


def _takes_requests_of(other: Alias, alias: Alias) -> bool:
    """Whether `other` gets all requests of `alias` if it comes first."""
    is_same_host = hosts(other.line.sections) == hosts(alias.line.sections)
    return is_same_host and is_below(alias.url.rstrip("/"), other.url)


def check_django(subject: Subject) -> Findings:
    """A process can run one Django site: a second one of its application group would get the
    settings of the first one (pywsgid/wire/django_settings.py)."""
    first: dict[tuple[str, str], tuple[str, Alias]] = {}
    for alias in subject.aliases:
        settings, group = _settings_of(alias), subject.group_of(alias)
        if settings is None or group is None or alias.application_group is None:
            continue
        if django_settings.VARIABLE in assigned(group, subject.configuration.root):
            continue
        shared = group.name, alias.application_group
        running, other = first.setdefault(shared, (settings, alias))
        if running != settings:
            yield Finding(
                alias.line.place,
                "WSGID0339",
                f"{alias.path} ({settings}) and {other.path} ({running}) are two Django sites in "
                "one application group, and a process can run only one",
                APART,
            )


def _settings_of(alias: Alias) -> str | None:
    """The DJANGO_SETTINGS_MODULE that a script sets."""
    if not alias.path or not os.path.isfile(alias.path):
        return None
    try:
        with open(alias.path, "rb") as file:
            settings: str | None = django_settings.named_in(file.read())
    except OSError:
        return None  # script_checks.py reports it
    return settings
