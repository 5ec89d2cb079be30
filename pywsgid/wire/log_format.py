"""What log lines of httpd, the daemon and the command line have in common: levels, and which
characters they show.

The levels are those of httpd's LogLevel (http_log.h, APLOG_EMERG to APLOG_TRACE8).
"""

EMERG, ALERT, CRIT, ERROR, WARN, NOTICE, INFO, DEBUG = range(8)
LEVEL_NAMES = ("emerg", "alert", "crit", "error", "warn", "notice", "info", "debug") + tuple(
    "trace%d" % number for number in range(1, 9)
)


def printable(text: str) -> str:
    """`text` for one log line: no control character can forge a line or drive a terminal; can be
    encoded as UTF-8.
    """
    if text.isprintable():
        return text
    return "".join(
        c if c.isprintable() or c == "\t" else c.encode("unicode_escape").decode("ascii")
        for c in text
    )
