"""mod_wsgid's backend: the process that hosts the interpreter and the WSGI application.

Nothing is imported here: each daemon pays for it at every start.
"""

__version__ = "0.1.0"  # the one place; WSGID_VERSION in apxs/wsgid.h is tested against it
