"""Inspects its own process: /descriptors, /privileges, and /memory, which reports where in memory
it finds the secrets of the request's body.

A secret is sent in hexadecimal with every bit inverted, so that the search itself does not put the
secret into memory.
"""

import json
import os
from wsgiref.validate import validator

# Proves that the search finds a secret that is in memory.
PLANTED = b"planted in this script, to be found in its memory"


def descriptors(body):
    found = {}
    for name in os.listdir("/proc/self/fd"):
        try:
            found[name] = os.readlink(f"/proc/self/fd/{name}")
        except OSError:
            pass
    return found


def attempt(function, *arguments):
    try:
        function(*arguments)
    except OSError as error:
        return type(error).__name__
    return "done"


def privileges(body):
    with open("/proc/self/status", encoding="ascii") as file:
        status = dict(line.split(":\t", 1) for line in file.read().splitlines() if ":\t" in line)
    names = ("Uid", "Gid", "Groups", "CapInh", "CapPrm", "CapEff", "CapAmb")
    answer = {name: status[name].split() for name in names}
    answer["setuid"] = attempt(os.setuid, 0)
    answer["seteuid"] = attempt(os.seteuid, 0)
    answer["setresuid"] = attempt(os.setresuid, 0, 0, 0)
    answer["setgid"] = attempt(os.setgid, 0)
    answer["setgroups"] = attempt(os.setgroups, [0])
    return answer


def regions():
    with open("/proc/self/maps", encoding="utf-8", errors="replace") as file:
        for line in file:
            span, mode = line.split()[:2]
            if mode.startswith("r") and "[v" not in line:  # not [vvar] and [vsyscall]
                start, _, end = span.partition("-")
                yield int(start, 16), int(end, 16), line.strip()


def holds(content, hidden):
    """Whether the secret behind `hidden` is in `content`. The secret is never assembled here: the
    search is for its second half only.
    """
    half = len(hidden) // 2
    tail = bytes(byte ^ 0xFF for byte in hidden[half:])
    at = content.find(tail, half)
    while at != -1:
        if all(byte ^ 0xFF == other for byte, other in zip(content[at - half : at], hidden)):
            return True
        at = content.find(tail, at + 1)
    return False


def memory(body):
    hidden = [bytes.fromhex(word) for word in body.decode("ascii").split()]
    found, scanned = [], 0
    with open("/proc/self/mem", "rb", buffering=0) as file:
        for start, end, line in regions():
            try:
                file.seek(start)
                content = file.read(end - start)
            except (OSError, ValueError, OverflowError):
                continue
            scanned += len(content)
            found += [line for secret in hidden if holds(content, secret)]
            del content
    return {"found": found, "scanned": scanned}


@validator
def application(environ, start_response):
    actions = {"/descriptors": descriptors, "/privileges": privileges, "/memory": memory}
    body = environ["wsgi.input"].read(1 << 20)
    answer = json.dumps(actions[environ["PATH_INFO"]](body)).encode("ascii")
    start_response("200 OK", [("Content-Type", "application/json")])
    return [answer]
