"""The configuration block that a daemon finds on descriptor 4 (docs/design.md): `key\\0value\\0`
repeated.

Rules: the parent has checked every value, so a value that does not parse means that module and
package do not fit together: the daemon says so and leaves with EXIT_CONFIGURATION. Nothing here
reads a descriptor.
"""

from pywsgid.wire import protocol

UNNAMED_SOCKET_TIMEOUT = 60.0  # httpd's own Timeout, when no line names one


class ConfigurationError(Exception):
    """The block cannot be used; the text says why."""


class Script:
    """A script to load before the daemon is ready."""

    __slots__ = ("path", "callable")

    def __init__(self, text):
        # A callable's name holds no colon (it is a dotted name), a path may.
        self.callable, colon, self.path = text.partition(":")
        if not colon or not self.callable or not self.path:
            raise ValueError("not callable:/path")


def _flag(text):
    return {"1": True, "0": False}[text]


def _seconds(text):
    value = float(text)
    if not 0 <= value < 1e9:
        raise ValueError("out of range")
    return value


# key -> attribute, parser, value when there is no line (required if it is REQUIRED)
REQUIRED = object()
KEYS = {
    "group": ("group", str, REQUIRED),
    "slot": ("slot", int, REQUIRED),
    "httpd-uid": ("httpd_uid", int, REQUIRED),
    "log-level": ("log_level", int, 4),
    "request-log-level": ("request_log_level", int, 0),
    "module-version": ("module_version", str, ""),
    "wire-version": ("wire_version", int, REQUIRED),
    "processes": ("processes", int, 1),
    "processes-named": ("processes_named", _flag, False),
    "successor": ("successor", _flag, False),
    "threads": ("threads", int, 15),
    "home": ("home", str, ""),
    "python-path": ("python_path", str, ()),
    "display-name": ("display_name", str, "%{GROUP}"),
    "socket-timeout": ("socket_timeout", _seconds, UNNAMED_SOCKET_TIMEOUT),
    "send-timeout": ("send_timeout", _seconds, 0.0),
    "queue-timeout": ("queue_timeout", _seconds, 0.0),
    "startup-timeout": ("startup_timeout", _seconds, 0.0),
    "shutdown-timeout": ("shutdown_timeout", _seconds, 5.0),
    "graceful-timeout": ("graceful_timeout", _seconds, 0.0),
    "reload": ("reload", str, "hot"),
    "maximum-requests": ("maximum_requests", int, 0),
    "maximum-requests-jitter": ("maximum_requests_jitter", int, 0),
    "restart-interval": ("restart_interval", _seconds, 0.0),
    "inactivity-timeout": ("inactivity_timeout", _seconds, 0.0),
    "maximum-rss": ("maximum_rss", int, 0),
    "request-timeout": ("request_timeout", _seconds, 0.0),
    "interrupt-timeout": ("interrupt_timeout", _seconds, 5.0),
    "deadlock-timeout": ("deadlock_timeout", _seconds, 300.0),
    "slow-request": ("slow_request", _seconds, 0.0),
    "stack-size": ("stack_size", int, 0),
}


REPEATED = ("python-path",)  # a line for each value


class Configuration:
    """The values of KEYS as attributes; `scripts` and `loaded` (what the predecessor has) are lists
    of Script.

    `python_path` is a list, too.
    """

    __slots__ = tuple(entry[0] for entry in KEYS.values()) + ("scripts", "loaded")

    @property
    def label(self):
        """The group's name for messages."""
        return self.group or "%{GLOBAL}"

    @property
    def title(self):
        """What ps shows."""
        return self.display_name.replace("%{GROUP}", "wsgid:" + self.label)

    @property
    def has_limits(self):
        """Whether a process is ever recycled."""
        return bool(
            self.maximum_requests
            or self.restart_interval
            or self.inactivity_timeout
            or self.maximum_rss
        )

    @property
    def watches_requests(self):
        return bool(self.request_timeout or self.slow_request)


def parse(block):
    """bytes -> Configuration. Keys that are not known are left alone: a newer module may say
    more."""
    try:
        strings = block.decode("utf-8", "surrogateescape").split("\0")
        if strings.pop() or len(strings) % 2:
            raise ValueError("cut short")
    except ValueError as error:
        raise ConfigurationError("the block is damaged (%s)" % error) from None
    result = Configuration()
    result.scripts = []
    result.loaded = []
    values = {}
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


def _value(key, text, parser):
    try:
        return parser(text)
    except (ValueError, KeyError) as error:
        raise ConfigurationError("%s=%r: %s" % (key, text, error)) from None


def _complete(result, values):
    for key, (attribute, _, default) in KEYS.items():
        value = values.get(key, default)
        if value is REQUIRED:
            raise ConfigurationError("it has no %s" % key)
        setattr(result, attribute, value)
    if result.wire_version != protocol.VERSION:
        raise ConfigurationError(
            "the module speaks version %d of the wire protocol and this pywsgid version %d: restart httpd"
            % (result.wire_version, protocol.VERSION)
        )
    result.threads = max(1, result.threads)
    # "0 as if not named" (options.def): a peer that is stuck must never hold a thread for ever.
    result.socket_timeout = result.socket_timeout or UNNAMED_SOCKET_TIMEOUT
    return result
