"""The life of a daemon as a table: which event leads from which state to which, and what is done on
the way.

Lifecycle.step() is the only reader, and the only place where the state changes. The states and
what they mean are in pywsgid/wire/table.py (STATES); docs/design.md shows all of it (make
generate). Nothing but literals may be here.
"""

# Event -> what has happened.
EVENTS: dict[str, str] = {
    "loaded": "its scripts are there",
    "unloadable": "no script can be loaded, or not all that the process before it has loaded",
    "late": "startup-timeout is over",
    "due": "a script has changed, a limit is reached, a request is stuck, or an administrator asks",
    "refused": "the lifeline says that the replacement could not start",
    "replaced": "the lifeline says that the process is not needed any more",
    "orphaned": "the lifeline is closed: its guardian has ended",
    "asked": "a signal, or `pywsgid restart`",
    "unfit": (
        "it cannot serve: a clean process is to load its only script again, or all of its threads "
        "have ended"
    ),
    "done": "no request is running any more, except stuck ones",
    "expired": "graceful-timeout or shutdown-timeout is over",
}

# State -> event -> (next state, action of Lifecycle or ""). None: the event is ignored, because it
# comes too late to matter. An event that is missing cannot happen in that state: an error in
# mod_wsgid.
TRANSITIONS: dict[str, dict[str, tuple[str, str] | None]] = {
    "booting": {
        "loaded": ("ready", "serve"),
        "unloadable": ("gone", "fail"),
        "late": ("gone", "fail"),
        "replaced": ("gone", "withdraw"),
        "orphaned": ("gone", "withdraw"),
    },
    "ready": {
        "due": ("replacing", "request_replacement"),
        "refused": None,
        "replaced": ("draining", "drain"),
        "orphaned": ("draining", "drain"),
        "asked": ("draining", "drain"),
        "unfit": ("draining", "drain"),
    },
    "replacing": {
        "due": None,
        "refused": ("ready", "resume"),
        "replaced": ("draining", "drain"),
        "orphaned": ("draining", "drain"),
        "asked": ("draining", "drain"),
        "unfit": ("draining", "drain"),
    },
    "draining": {
        "due": None,
        "refused": None,
        "replaced": ("draining", "hasten"),
        "orphaned": ("draining", "hasten"),
        "asked": ("draining", "hasten"),
        "unfit": None,
        "done": ("ending", ""),
        "expired": ("gone", "cut_off"),
    },
    "ending": {
        "due": None,
        "refused": None,
        "replaced": None,
        "orphaned": None,
        "asked": None,
        "unfit": None,
        "done": None,
        "expired": ("gone", "abandon"),
    },
    "gone": {},
}
