"""mod_wsgid's backend: the process that hosts the interpreter and the WSGI application.

Nothing is imported here: each daemon pays for it at every start.
"""

# The one place where the version is: setup.py reads it, `make generate` writes it into C.
__version__ = "0.1.0"


class RequestTimeout(BaseException):
    """Raised in the thread of a request that runs for longer than request-timeout=
    (WSGIDaemonProcess).

    The client gets 504, unless the application catches it and answers by itself. No Exception, so
    that what catches every one of those, as frameworks do, lets it through.
    """
