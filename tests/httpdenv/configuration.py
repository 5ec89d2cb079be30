"""The httpd.conf of a test: what every httpd needs, then the test's own lines, word for word.

The test's lines reach what differs from run to run through httpd's own variables:

    ${APPS}     tests/apps                  ${ROOT}    the ServerRoot
    ${PORT}     the port of the server      ${CERTS}   server.key and server.crt
    ${X_PORT}   another one, for any X; a Listen line is made for it
    ${FILES}    a directory for files that the test writes; emptied with the httpd
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

from httpdenv import machine

# What any test may use without asking; "unixd" and "log_config" are modules of their own outside
# Debian.
ALWAYS = (
    "unixd",
    "log_config",
    "authn_core",
    "authz_core",
    "authz_host",
    "mime",
    "env",
    "setenvif",
    "alias",
)
PORT_VARIABLE = re.compile(r"\$\{([A-Z0-9_]*PORT[A-Z0-9_]*)\}")

BASE = """\
ServerRoot "${{ROOT}}"
ServerName localhost
DefaultRuntimeDir "${{ROOT}}/run"
PidFile run/httpd.pid
{listens}
{modules}
{identity}
ErrorLog logs/error_log
LogLevel {log_level}
# Few processes and threads: starting hundreds is most of a test's time. Those that leave count for ServerLimit, too.
StartServers 1
<IfModule mpm_prefork_module>
    MaxRequestWorkers 24
    MinSpareServers 2
</IfModule>
<IfModule !mpm_prefork_module>
    ServerLimit 8
    ThreadsPerChild 32
    MaxRequestWorkers 128
    MinSpareThreads 8
    MaxSpareThreads 128
</IfModule>
TypesConfig conf/mime.types
DocumentRoot "${{FILES}}"
Timeout 20
KeepAliveTimeout 5
<Directory />
    Require all denied
</Directory>
<Directory "${{APPS}}">
    Require all granted
</Directory>
<Directory "${{FILES}}">
    Require all granted
</Directory>
"""


def port_names(text: str) -> list[str]:
    """The variables of ports in a configuration, PORT always among them."""
    return list(dict.fromkeys(["PORT", *PORT_VARIABLE.findall(text)]))


def compose(
    text: str, defines: dict[str, str], ours: str, mpm: str, modules: Iterable[str], log_level: str
) -> str:
    """The whole httpd.conf; `ours` is what load_ours() gives, or nothing."""
    ports = [name for name in defines if "PORT" in name]
    names = [f"mpm_{mpm}", *ALWAYS, *modules]
    base = BASE.format(
        listens="\n".join(f"Listen 127.0.0.1:${{{name}}}" for name in ports),
        modules="\n".join([*machine.load_lines(names), ours]),
        identity=_identity(),
        log_level=log_level,
    )
    return "\n".join(
        [*(f'Define {name} "{value}"' for name, value in defines.items()), base, text, ""]
    )


def _identity() -> str:
    """User and Group; nothing in the tests of an ordinary user, where httpd may not change them."""
    user = machine.web_user()
    lines = f'User {user}\nGroup "#{machine.group_of(user)}"'
    return f"<IfDefine ROOT_RUNS>\n{lines}\n</IfDefine>"


def load_ours(module: Path) -> str:
    """The one line that mod_wsgid needs."""
    return f'LoadModule wsgid_module "{module}"'
