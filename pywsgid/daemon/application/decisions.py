"""Functions that decide for httpd, as WSGI applications: apxs/auth/ asks them like any other
request, and the head of the response is the answer.

A script's `check_password` is the callable "check_password()": no name of an application ends like
that. What httpd asks is in the environ, and is taken out before the function sees it.

Rules: only what a function may return is an answer. Anything else raises, and httpd then refuses
access. The functions get and return native strings (PEP 3333): text whose characters stand for
bytes. httpd's configuration is in UTF-8, so bytes are accepted, too.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Any

    from pywsgid.daemon.interfaces import Application, Environ

    Answer = tuple[str, list[tuple[str, str]]]  # a status line, and headers

SUFFIX = "()"
# What httpd asks, next to the environ of the request.
TLS = "wsgid.tls."  # then the name of a variable of mod_ssl
HOST, USER, PASSWORD, REALM = "wsgid.host", "wsgid.user", "wsgid.password", "wsgid.realm"
# Keys of an environ that are of no use here: the body and the response are not the function's.
NOT_HERE = ("wsgi.input", "wsgi.early_hints", "wsgi.file_wrapper", "wsgid.client_gone")
# The functions of WSGIDispatchScript, and the headers of its answer.
CHOICES = ("process_group", "application_group", "callable_object")
DISPATCH = "dispatch" + SUFFIX  # of the whole script
YES, NO, UNKNOWN = "200 Yes", "403 No", "404 Unknown"  # read by apxs/auth/auth.c
HEADER = "Answer"


def application(name: str, function: Any) -> Application:
    """The function that the callable `name` stands for, or for DISPATCH the module, as an
    application. KeyError if httpd asks no such function.
    """
    decide = DECISIONS[name]

    def answer(environ: Environ, start_response: Callable[..., Any]) -> Iterable[bytes]:
        for key in NOT_HERE:
            environ.pop(key, None)
        environ["mod_ssl.is_https"], environ["mod_ssl.var_lookup"] = tls(environ)
        start_response(*decide(function, environ))
        return ()

    return answer


def tls(environ: Environ) -> tuple[Callable[[], int], Callable[[str | bytes], str]]:
    """mod_ssl's two functions, as in mod_wsgi: whether the client uses TLS, and the value of a
    variable such as "SSL_CLIENT_CERT", "" without one.
    """
    keys = [key for key in environ if key.startswith(TLS)]
    found: dict[str, str] = {key[len(TLS) :]: environ.pop(key) for key in keys}

    def var_lookup(name: str | bytes) -> str:
        return found.get(name.decode("latin-1") if isinstance(name, bytes) else name, "")

    return lambda: int(bool(found)), var_lookup


def native(function: str, value: object) -> str:
    """A value that a function has returned, as a native string. TypeError."""
    if isinstance(value, bytes):
        return value.decode("latin-1")
    if isinstance(value, str):
        return value
    raise wrong(function, value)


def in_utf8(name: str) -> str:
    """A name as httpd gets it: a native string as it is, and ordinary text (from a database) in
    UTF-8.
    """
    try:
        name.encode("latin-1").decode()
    except UnicodeError:
        return name.encode().decode("latin-1")
    return name


def wrong(function: str, value: object) -> TypeError:
    return TypeError("%s() returned an object of type %s" % (function, type(value).__name__))


def allow_access(function: Any, environ: Environ) -> Answer:
    result = function(environ, environ.pop(HOST))
    if result is True or result is False:
        return (YES if result else NO), []
    raise wrong("allow_access", result)


def check_password(function: Any, environ: Environ) -> Answer:
    result = function(environ, environ.pop(USER), environ.pop(PASSWORD))
    if result is None:
        return UNKNOWN, []
    if result is True or result is False:
        return (YES if result else NO), []
    name = native("check_password", result)  # the user's real name
    if not name:
        raise ValueError("check_password() returned an empty name")
    return YES, [(HEADER, in_utf8(name))]


def get_realm_hash(function: Any, environ: Environ) -> Answer:
    result = function(environ, environ.pop(USER), environ.pop(REALM))
    if result is None:
        return UNKNOWN, []
    known = native("get_realm_hash", result)
    if not known:  # whoever tries to log in could compute with that
        raise ValueError("get_realm_hash() returned an empty hash")
    return YES, [(HEADER, known)]


def groups_for_user(function: Any, environ: Environ) -> Answer:
    result = function(environ, environ.pop(USER))
    if isinstance(result, (str, bytes)):
        raise wrong("groups_for_user", result)
    return YES, [(HEADER, native("groups_for_user", group)) for group in result]


def dispatch(module: Any, environ: Environ) -> Answer:
    """Each of the three functions may be missing, or leave its choice to the configuration."""
    found = [(name, getattr(module, name, None)) for name in CHOICES]
    results = [(name, function(environ)) for name, function in found if function is not None]
    return YES, [(name, native(name, result)) for name, result in results if result is not None]


DECISIONS: dict[str, Callable[[Any, Environ], Answer]] = {
    decide.__name__ + SUFFIX: decide
    for decide in (allow_access, check_password, get_realm_hash, groups_for_user, dispatch)
}
