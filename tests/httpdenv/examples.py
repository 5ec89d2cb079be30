"""Adapts the configurations of conf/ and docs/, which are written for a real server, to this
machine.

Only what this machine cannot have is replaced: users that do not exist, certificates and, where the
example is served, /srv, /var/log, addresses and ports.
"""

from __future__ import annotations

import itertools
import os
import re

from httpdenv import machine

# What the example does not open itself stays closed, as on a real server.
CLOSED = """
<Directory ${FILES}/srv>
    Require all denied
</Directory>
<Directory ${FILES}/home>
    Require all denied
</Directory>
"""
# Modules of httpd that the examples use, besides those that every test loads.
MODULES = ["rewrite", "ssl", "http2", "headers"]
# The ids of users who are parameters of a macro (mod_macro): the first use has this one, the
# second the next one ...
FIRST_ID = 20001


def with_users(text: str) -> str:
    """Replaces each named user with an account that exists here. If the tests run as an ordinary
    user, removes the users.
    """
    if os.geteuid() != 0:
        return re.sub(r" (script-)?(user|group)=\S+", "", text)
    if "user=$user" in text:
        return _with_ids(text)
    names = dict.fromkeys(re.findall(r" user=(\S+)", text))
    for name, entry in zip(names, machine.other_users(), strict=False):
        text = re.sub(rf" user={name}\b", f" user={entry.pw_name}", text)
        text = re.sub(rf" group={name}\b", f' "group=#{entry.pw_gid}"', text)
    return text


def _with_ids(text: str) -> str:
    """Gives each use of a macro a further parameter, the number of a user and a group."""
    ids = itertools.count(FIRST_ID)
    text = re.sub(r"^<Macro \w+", r"\g<0> $id", text, flags=re.M)
    text = re.sub(r"^Use \w+", lambda use: f'{use[0]} "#{next(ids)}"', text, flags=re.M)
    return re.sub(r"\b((?:script-)?(?:user|group))=\$user\b", r'"\1=$id"', text)


def with_certificate(text: str) -> str:
    return re.sub(r"/etc/ssl/(certs|private)/shop\.", "${CERTS}/server.", text)


def for_this_machine(text: str) -> str:
    """Adapts the text to be served from the test's own directory and ports."""
    text = with_certificate(with_users(text)).replace("/var/log/", "${ROOT}/logs/")
    text = re.sub(r"(?<![\w}])/(srv|home)(?=[/>])", r"${FILES}/\1", text)
    text = re.sub(r"^Listen .*$", "", text, flags=re.M)
    text = re.sub(r"<VirtualHost \*:(80|8080)>", "<VirtualHost 127.0.0.1:${PORT}>", text)
    return text.replace("<VirtualHost *:443>", "<VirtualHost 127.0.0.1:${TLS_PORT}>")
