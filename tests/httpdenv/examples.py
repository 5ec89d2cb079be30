"""Adapts the configurations of conf/ and docs/, which are written for a real server, to this
machine.

Only what this machine cannot have is replaced: users that do not exist, certificates and, where the
example is served, /srv, /var/log, addresses and ports.
"""

from __future__ import annotations

import os
import re

from httpdenv import machine

# What the example does not open itself stays closed, as on a real server.
CLOSED = """
<Directory ${FILES}/srv>
    Require all denied
</Directory>
"""
# Modules of httpd that the examples use, besides those that every test loads.
MODULES = ["rewrite", "ssl", "http2", "headers"]


def with_users(text: str) -> str:
    """Replaces each named user with an account that exists here. If the tests run as an ordinary
    user, removes the users.
    """
    if os.geteuid() != 0:
        return re.sub(r" (user|group)=\S+", "", text)
    names = dict.fromkeys(re.findall(r" user=(\S+)", text))
    for name, entry in zip(names, machine.other_users(), strict=False):
        text = re.sub(rf" user={name}\b", f" user={entry.pw_name}", text)
        text = re.sub(rf" group={name}\b", f' "group=#{entry.pw_gid}"', text)
    return text


def with_certificate(text: str) -> str:
    return re.sub(r"/etc/ssl/(certs|private)/shop\.", "${CERTS}/server.", text)


def for_this_machine(text: str) -> str:
    """Adapts the text to be served from the test's own directory and ports."""
    text = with_certificate(with_users(text)).replace("/var/log/", "${ROOT}/logs/")
    text = re.sub(r"(?<![\w}])/srv(?=[/>])", "${FILES}/srv", text)
    text = re.sub(r"^Listen .*$", "", text, flags=re.M)
    text = re.sub(r"<VirtualHost \*:(80|8080)>", "<VirtualHost 127.0.0.1:${PORT}>", text)
    return text.replace("<VirtualHost *:443>", "<VirtualHost 127.0.0.1:${TLS_PORT}>")
