"""The httpd.conf of a test: what every httpd needs, followed by the test's own lines unchanged.

The test's lines use httpd's own variables for what differs from run to run:

    ${APPS}     tests/apps                  ${ROOT}    the ServerRoot
    ${PORT}     the server's port           ${CERTS}   server.key and server.crt
    ${X_PORT}   another port, for any X; a Listen line is added for it
    ${FILES}    a directory for files that the test writes; removed with the httpd
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

from httpdenv import machine

# Any test may use these without declaring them. Outside Debian, "unixd" and "log_config" are
# modules of their own.
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
    """The names of the port variables in a configuration; PORT is always among them."""
    return list(dict.fromkeys(["PORT", *PORT_VARIABLE.findall(text)]))


def compose(
    text: str, defines: dict[str, str], ours: str, mpm: str, modules: Iterable[str], log_level: str
) -> str:
    """Returns the whole httpd.conf. `ours` is the result of load_ours(), or empty."""
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
    """User and Group; empty if the tests run as an ordinary user, because httpd cannot change user
    then.
    """
    user = machine.web_user()
    lines = f'User {user}\nGroup "#{machine.group_of(user)}"'
    return f"<IfDefine ROOT_RUNS>\n{lines}\n</IfDefine>"


TOGETHER = "WSGIApplicationGroup %{GLOBAL}"


def load_ours(module: Path, together: bool = False) -> str:
    """The one line that mod_wsgid needs; and, `together`, that all scripts of a daemon group run in
    the same processes: most tests are about one group with several scripts, not about several
    application groups.
    """
    line = f'LoadModule wsgid_module "{module}"'
    return f"{line}\n{TOGETHER}" if together else line
