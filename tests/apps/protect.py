"""Functions that decide for httpd, right ones and wrong ones; the user's name chooses."""

import hashlib
import os
import time

REALM = "Top Secret"


def check_password(environ, user, password):
    if user == "spy":
        return password == "secret"
    if user == "j\xc3\xbcrgen":  # UTF-8, as a native string
        return password == "\xc3\xa4\xc3\xb6"
    if user == "alias":
        return "spy" if password == "secret" else False
    if user == "sees":
        environ["wsgi.errors"].write("keys %s\n" % " ".join(sorted(environ)))
        return True
    if user == "counted":
        environ["wsgi.errors"].write("was asked\n")
        return password == "secret"
    return misbehave(user, environ)


def misbehave(user, environ):
    if user == "raises":
        raise ValueError("no")
    if user == "exits":
        raise SystemExit(0)
    if user == "dies":
        os._exit(9)
    if user == "hangs":
        time.sleep(60)
    if user == "chatters":
        while True:
            environ["wsgi.errors"].write("still here\n")
            time.sleep(0.05)
    answers = {"one": 1, "yes": "", "list": ["spy"], "yielding": (yes for yes in [True])}
    return answers.get(user)


def get_realm_hash(environ, user, realm):
    if user == "spy":
        return hashlib.md5(f"{user}:{realm}:secret".encode()).hexdigest()
    return misbehave(user, environ)


def groups_for_user(environ, user):
    if user == "spy":
        return ["secret-agents", b"two words", "caf\xe9".encode()]
    if user in ("counted", "sees"):
        return "secret-agents"  # not a list: no answer
    return []


def allow_access(environ, host):
    wanted = environ["QUERY_STRING"]
    if wanted == "host":
        return host == "127.0.0.1"
    if wanted == "cookie":
        return "key=open" in environ.get("HTTP_COOKIE", "")
    return (
        {"yes": True, "no": False, "one": 1}.get(wanted) if wanted else misbehave(wanted, environ)
    )
