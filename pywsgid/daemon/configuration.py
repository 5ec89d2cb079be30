"""The configuration block that a daemon finds on descriptor 4 (docs/design.md): `key\\0value\\0`
repeated.

Rules: httpd's parent has checked every value, so a value that cannot be parsed means that module
and package are of different versions: the daemon logs that and leaves with EXIT_CONFIGURATION.
Nothing here reads a descriptor.
"""

from __future__ import annotations

from pywsgid.wire import protocol
from pywsgid.wire.daemon_options import DAEMON_OPTIONS, DaemonOptions

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

DEFAULT_SOCKET_TIMEOUT = 60.0  # seconds: httpd's own Timeout


class ConfigurationError(Exception):
    """The block cannot be used; the text says why."""


class Script:
    """A script to load before the daemon is ready, from `callable:/path`. ValueError.

    The callable of a WSGIImportScript is "": the script need not define an application.
    """

    __slots__ = ("path", "callable")

    def __init__(self, text: str) -> None:
        # The name of a callable contains no colon, but a path may.
        self.callable, colon, self.path = text.partition(":")
        if not colon or not self.path:
            raise ValueError("not callable:/path")


def _flag(text: str) -> bool:
    return {"1": True, "0": False}[text]


def _on_off(text: str) -> bool:
    return {"on": True, "off": False}[text]


def _seconds(text: str) -> float:
    value = float(text)
    if not 0 <= value < 1e9:
        raise ValueError("out of range")
    return value


# The types of options.def whose values a daemon gets.
PARSERS: dict[str, Callable[[str], Any]] = {
    "integer": int,
    "range": int,
    "size": int,
    "seconds": _seconds,
    "flag": _on_off,
    "text": str,
    "path": str,
    "choice": str,
    "paths": str,
}

# key -> attribute, parser, value without such a key (REQUIRED: there must be one). First what is no
# option of WSGIDaemonProcess, then the options: options.def has them.
REQUIRED = object()
KEYS: dict[str, tuple[str, Callable[[str], Any], Any]] = {
    "group": ("group", str, REQUIRED),
    "label": ("label", str, ""),
    "application-group": ("application_group", str, None),
    "more-processes": ("more_processes", int, 0),
    "slot": ("slot", int, REQUIRED),
    "page": ("page", int, 0),
    "httpd-uid": ("httpd_uid", int, REQUIRED),
    "log-level": ("log_level", int, 4),
    "request-log-level": ("request_log_level", int, 0),
    "httpd-version": ("httpd_version", str, REQUIRED),
    "wire-version": ("wire_version", int, REQUIRED),
    "httpd-description": ("httpd_description", str, ""),
    "httpd-mpm": ("httpd_mpm", str, ""),
    "httpd-built": ("httpd_built", str, ""),
    "processes-named": ("processes_named", _flag, False),
    "successor": ("successor", _flag, False),
    "script-uid": ("script_uid", int, -1),
    "script-gid": ("script_gid", int, -1),
}
KEYS |= {
    name: (attribute, PARSERS[type], default)
    for name, (attribute, type, default) in DAEMON_OPTIONS.items()
}
# Keys that may come more than once.
REPEATED = {name for name, (_, type, _) in DAEMON_OPTIONS.items() if type == "paths"}


class Configuration(DaemonOptions):
    """The values of KEYS as attributes. Times are in seconds, sizes in bytes; 0 means "none".

    `scripts` are to be loaded at start; `loaded` are those that the process to be replaced has
    loaded.
    """

    __slots__ = (
        "group",
        "label",
        "application_group",
        "more_processes",
        "slot",
        "page",
        "httpd_uid",
        "log_level",
        "request_log_level",
        "httpd_version",
        "wire_version",
        "httpd_description",
        "httpd_mpm",
        "httpd_built",
        "processes_named",
        "successor",
        "script_uid",
        "script_gid",
        "scripts",
        "loaded",
    )

    group: str
    label: str  # for messages: "shop", or "shop|blog" for one of several application groups
    application_group: str | None  # None: the first request shows it
    more_processes: int  # that an elastic pool may get while requests wait
    slot: int
    page: int
    httpd_uid: int
    log_level: int
    request_log_level: int
    httpd_version: str
    wire_version: int
    httpd_description: str
    httpd_mpm: str
    httpd_built: str
    processes_named: bool
    successor: bool
    script_uid: int  # -1: any
    script_gid: int
    scripts: list[Script]
    loaded: list[Script]

    @property
    def title(self) -> str:
        """The name that ps shows."""
        return self.display_name.replace("%{GROUP}", "wsgid:" + self.label)

    @property
    def has_limits(self) -> bool:
        """Whether the process is replaced when it reaches a limit."""
        return bool(
            self.maximum_requests
            or self.restart_interval
            or self.inactivity_timeout
            or self.maximum_rss
        )

    @property
    def watches_requests(self) -> bool:
        """Whether there is a limit on how long a request may run."""
        return bool(self.request_timeout or self.slow_request)


def parse(block: bytes) -> Configuration:
    """The configuration in a block. ConfigurationError if it cannot be used.

    Unknown keys are ignored: a newer module may pass more.
    """
    try:
        strings = block.decode("utf-8", "surrogateescape").split("\0")
        if strings.pop() or len(strings) % 2:
            raise ValueError("cut short")
    except ValueError as error:
        raise ConfigurationError("the block is damaged (%s)" % error) from None
    result = Configuration()
    result.scripts = []
    result.loaded = []
    values: dict[str, Any] = {}
    for key, text in zip(strings[0::2], strings[1::2], strict=True):
        if key == "script":
            result.scripts.append(_value(key, text, Script))
        elif key == "loaded":
            result.loaded.append(_value(key, text, Script))
        elif key in REPEATED:
            values.setdefault(key, []).append(_value(key, text, KEYS[key][1]))
        elif key in KEYS:
            values[key] = _value(key, text, KEYS[key][1])
    return _complete(result, values)


def _value(key: str, text: str, parser: Callable[[str], Any]) -> Any:
    try:
        return parser(text)
    except (ValueError, KeyError) as error:
        raise ConfigurationError("%s=%r: %s" % (key, text, error)) from None


def _complete(result: Configuration, values: dict[str, Any]) -> Configuration:
    """Sets the attributes, with the defaults for keys that are not in `values`."""
    for key, (attribute, _, default) in KEYS.items():
        value = values.get(key, default)
        if value is REQUIRED:
            raise ConfigurationError("it has no %s" % key)
        setattr(result, attribute, value)
    if result.wire_version != protocol.VERSION:
        raise ConfigurationError(
            "the module speaks version %d of the wire protocol and this pywsgid version %d: "
            "restart httpd" % (result.wire_version, protocol.VERSION)
        )
    result.label = result.label or result.group or "%{GLOBAL}"
    # 0 counts as not set (options.def): a peer that is stuck must not hold a thread for ever.
    result.socket_timeout = result.socket_timeout or DEFAULT_SOCKET_TIMEOUT
    return result
