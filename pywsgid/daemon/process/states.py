"""The life of a daemon as a table: in which state what brings it where, and what is done on the
way.

lifecycle.Lifecycle.step() is the only reader, and the only place where a state changes;
docs/design.md shows what is drawn from here (make generate). Nothing but literals may live here.
"""

# State -> what the process does.
STATES = {
    "booting": "loads its scripts",
    "serving": "takes requests",
    "replacing": "takes requests, and has asked httpd for a successor",
    "draining": "takes no more requests, finishes those that it has read",
    "ending": "joins the application's threads and runs its atexit handlers",
    "gone": "ends",
}

# Event -> what has happened.
EVENTS = {
    "loaded": "its scripts are there",
    "unloadable": "none of its scripts can be loaded, or one that its predecessor has",
    "late": "startup-timeout is over",
    "due": "a script has changed, a limit is reached, a request is stuck, or an administrator asks",
    "refused": "its lifeline says that the successor could not take over",
    "replaced": "its lifeline says that it is not needed any more",
    "orphaned": "its lifeline is at its end: httpd has gone",
    "asked": "a signal, or `pywsgid restart`",
    "unfit": "it cannot serve: its only script is to be loaded again by a clean process, or its threads have ended",
    "done": "nothing is running any more, but for what is stuck",
    "expired": "graceful-timeout or shutdown-timeout is over",
}

# State -> event -> (next state, action of Lifecycle or ""). None: it is ignored, having come too
# late to matter. An event that is missing cannot happen in that state: a mistake of ours.
TRANSITIONS = {
    "booting": {
        "loaded": ("serving", "serve"),
        "unloadable": ("gone", "fail"),
        "late": ("gone", "fail"),
        "replaced": ("gone", "withdraw"),
        "orphaned": ("gone", "withdraw"),
    },
    "serving": {
        "due": ("replacing", "request_replacement"),
        "refused": None,
        "replaced": ("draining", "drain"),
        "orphaned": ("draining", "drain"),
        "asked": ("draining", "drain"),
        "unfit": ("draining", "drain"),
    },
    "replacing": {
        "due": None,
        "refused": ("serving", "resume"),
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
