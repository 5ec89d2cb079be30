"""Asking running daemons over their control sockets: pywsgid status, reload, restart, stacks
(control.py answers).

Rules: control_sockets.py finds the sockets and carries questions and answers; the group of a
process is what its answer says. A daemon is another user's process, and the terminal may
be root's: what it says is bounded, and printed without control characters. The command line's side:
it may import what it likes.
"""

from __future__ import annotations

import argparse
import json
import pwd
import textwrap
import time
from collections.abc import Callable, Iterable
from datetime import datetime
from typing import Any

from pywsgid.cli import control_sockets
from pywsgid.cli.messages import Failure, note
from pywsgid.wire import process_abi
from pywsgid.wire.log_format import printable

PAUSE = 0.05  # seconds between two looks
DIGITS = 20  # of a whole number: 64 bits
MOMENT_MAX = 1e11  # seconds: no time is further away than that
RATE_OVER = 0.5  # seconds over which requests a second are counted

Kind = Callable[
    [Any], Any
]  # gives a value of an answer as it may be used; ValueError if it is none of that kind


def declare(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--sockets",
        metavar="PREFIX",
        help="directory of the sockets, or how their paths begin, as "
        "WSGISocketPrefix says (default: httpd's runtime directory)",
    )
    parser.add_argument(
        "--timeout",
        metavar="SECONDS",
        type=float,
        default=60.0,
        help="how long a process may take to be replaced (default: 60)",
    )
    parser.add_argument(
        "--json", action="store_true", help="print what the daemons said, one line of JSON each"
    )


# -------- asking


def ask(path: str, question: str) -> dict | None:
    """What the process behind a socket answers; None if it does not, or is not understood."""
    answer = control_sockets.ask([path], question).complete.get(path)
    return None if answer is None else understood(answer, question)


def ask_all(paths: Iterable[str], question: str) -> tuple[dict[str, dict], list[str]]:
    """Socket -> what its process answers, and the sockets at which no process answered in time. An
    answer that is not understood is reported, and left out.
    """
    answers = control_sockets.ask(paths, question)
    found = {}
    for path, answer in sorted(answers.complete.items()):
        said = understood(answer, question)
        if said is None:
            note(
                f"WSGID0443: {printable(path)}: what the process there says is not understood: is "
                "it of the same version as this command? Its group is left out"
            )
        else:
            found[path] = said
    return found, answers.silent


def understood(answer: bytes, question: str) -> dict | None:
    """What is expected of an answer, and nothing else of it; None if a hostile daemon, or one of
    another version, says something else."""
    try:
        return EXPECTED.get(question, IDENTITY)(json.loads(answer, parse_int=bounded))
    except (ValueError, RecursionError):
        return None


def bounded(digits: str) -> int:
    if len(digits) > DIGITS:
        raise ValueError
    return int(digits)


def say(text: str) -> None:
    """Prints lines."""
    print("\n".join(printable(line) for line in text.split("\n")))


def members(arguments: argparse.Namespace) -> tuple[dict[str, dict], list[dict]]:
    """Socket -> status of each process of the named group (of all groups, if none is named), and
    what is known of each slot without an answer.
    """
    name = getattr(arguments, "name", None)
    answered, silent = ask_all(control_sockets.find(arguments.sockets), "status")
    unanswered = [without_answer(path, answered) for path in silent]
    if name is not None:
        answered = {path: said for path, said in answered.items() if said["group"] == name}
        unanswered = [one for one in unanswered if one["group"] in (name, None)]
    return answered, unanswered


def members_that_answer(arguments: argparse.Namespace) -> dict[str, dict]:
    """Socket -> status of each process. Writes on stderr which did not answer; Failure if none did."""
    answered, unanswered = members(arguments)
    for one in unanswered:
        note(printable(describe_silence(one)))
    assert_answered(answered, arguments)
    return answered


def assert_answered(answered: dict[str, dict], arguments: argparse.Namespace) -> None:
    name = getattr(arguments, "name", None)
    if not answered:
        raise Failure(
            "WSGID0442",
            f"no process of {f'group {name!r}' if name else 'any group'} answers",
            "see `pywsgid status`, and httpd's ErrorLog if it should",
        )


def without_answer(path: str, answered: dict[str, dict]) -> dict:
    """What is known of a slot whose process does not answer. The group's name is known only if
    another of its slots answers: their sockets differ in the slot's number alone.
    """
    stem, _, slot = path.removesuffix(".ctl").rpartition(".")
    siblings = [said for other, said in answered.items() if other.rsplit(".", 2)[0] == stem]
    groups = {said["group"] for said in siblings}
    return {
        "group": groups.pop() if len(groups) == 1 else None,
        "slot": int(slot) if slot.isdecimal() else None,
        "pid": None,
        "state": "no answer",
        "socket": path,
    }


# -------- what an answer has


def text(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError
    return value


def whole(value: Any) -> int:
    if type(value) is not int or not 0 <= value < 1 << 64:
        raise ValueError
    return value


def user(value: Any) -> int:
    if whole(value) >= 1 << 32:
        raise ValueError
    return value


def seconds(value: Any) -> float:
    if type(value) not in (int, float) or not -MOMENT_MAX < value < MOMENT_MAX:
        raise ValueError
    return value


def row_of(kind: Kind, most: int | None = None) -> Kind:
    def row(value: Any) -> list:
        if not isinstance(value, list) or (most is not None and len(value) > most):
            raise ValueError
        return [kind(item) for item in value]

    return row


def record_of(**fields: Kind) -> Kind:
    def record(value: Any) -> dict:
        if not isinstance(value, dict):
            raise ValueError
        return {name: kind(value.get(name)) for name, kind in fields.items()}

    return record


def stack(value: Any) -> list[str]:
    """What a thread runs, and its stack."""
    if len(row_of(text)(value)) != 2:
        raise ValueError
    return value


WHO = {"group": text, "slot": whole, "pid": whole, "state": text}
IDENTITY = record_of(**WHO)
HISTOGRAM = row_of(whole, process_abi.PAGE_BUCKETS)
RUNNING = row_of(record_of(thread=whole, request=text, elapsed=seconds))
EXPECTED = {  # question -> its answer
    "status": record_of(
        **WHO,
        uid=user,
        python=text,
        since=seconds,
        threads=whole,
        running=RUNNING,
        queue=whole,
        started=whole,
        finished=whole,
        errors=whole,
        queue_times=HISTOGRAM,
        application_times=HISTOGRAM,
    ),
    "stacks": record_of(**WHO, stacks=row_of(stack)),
}


# -------- the commands


def status(arguments: argparse.Namespace) -> int:
    answered, unanswered = members(arguments)
    for said in with_rates(answered):
        say(json.dumps(said) if arguments.json else describe(said))
    for one in unanswered:
        say(json.dumps(one) if arguments.json else describe_silence(one))
    assert_answered(answered, arguments)
    return 0


def with_rates(before: dict[str, dict]) -> list[dict]:
    """What the processes say now, with `rate`: requests a second since `before`; None for a new
    process.
    """
    if not before:
        return []
    began = time.monotonic()
    time.sleep(RATE_OVER)
    now, _ = ask_all(before, "status")
    lasted = time.monotonic() - began
    found = []
    for path, earlier in before.items():
        said = now.get(path, earlier)
        same = said["pid"] == earlier["pid"]
        found.append(
            {
                **said,
                "rate": round((said["finished"] - earlier["finished"]) / lasted, 1)
                if same
                else None,
            }
        )
    return found


def describe(said: dict) -> str:
    rate = "unknown" if said["rate"] is None else said["rate"]
    since = datetime.fromtimestamp(said["since"]).strftime("%Y-%m-%d %H:%M:%S")
    lines = [
        f"group '{said['group']}' slot {said['slot']}: process {said['pid']} is {said['state']} since {since}, "
        f"Python {said['python']}, user {user_name(said['uid'])}, "
        f"{len(said['running'])} of {said['threads']} threads busy, "
        f"{said['queue']} waiting, {said['finished']} requests, {rate} a second, "
        f"{said['errors']} errors"
    ]
    both = {"waited": said["queue_times"], "ran": said["application_times"]}
    lines += [f"    {what} {spread(times)}" for what, times in both.items() if any(times)]
    lines += [
        f"    thread {entry['thread']}: {entry['request']}, for {entry['elapsed']:.3f} s"
        for entry in said["running"]
    ]
    return "\n".join(lines)


def describe_silence(one: dict) -> str:
    name = "a group of unknown name" if one["group"] is None else f"group '{one['group']}'"
    return (
        f"{name} slot {one['slot']}: no process answered within {control_sockets.PATIENCE:g} s at "
        f"{one['socket']}: it hangs, is stopped, or cannot start: see httpd's ErrorLog"
    )


def user_name(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"#{uid}"


def spread(times: list[int]) -> str:
    """Of a histogram: "half of them up to 0.9 ms, 90 % up to 2.1 ms, 99 % up to 14.7 ms"."""
    return ", ".join(
        f"{share} up to {quantile(times, part) / 1000:.1f} ms"
        for share, part in (("half of them", 0.5), ("90 %", 0.9), ("99 %", 0.99))
    )


def quantile(times: list[int], share: float) -> float:
    """Microseconds that this share took no longer than. Within a bucket, times are taken to be
    spread evenly.
    """
    wanted, lower = share * sum(times), 0
    for bucket, count in enumerate(times[:-1]):
        upper = process_abi.PAGE_FIRST << bucket
        if wanted <= count:
            return lower + (upper - lower) * wanted / max(count, 1)
        wanted -= count
        lower = upper
    return lower


def stacks(arguments: argparse.Namespace) -> int:
    statuses = members_that_answer(arguments)
    answered, _ = ask_all(statuses, "stacks")
    for path, status_of_it in statuses.items():
        said = answered.get(path) or IDENTITY(status_of_it)
        if arguments.json:
            print(json.dumps(said))
            continue
        say(f"group '{said['group']}' slot {said['slot']}: process {said['pid']}")
        for what, lines in said.get("stacks", []):
            say(f"  {what}\n{textwrap.indent(lines, '  ')}".removesuffix("\n"))
    return 0


def replace(arguments: argparse.Namespace, question: str) -> int:
    """Asks all of them, then waits until each has gone or cannot be replaced. 1 if any could
    not."""
    statuses = members_that_answer(arguments)
    answered, _ = ask_all(statuses, question)
    asked = {path: answered.get(path) or IDENTITY(said) for path, said in statuses.items()}
    deadline = time.monotonic() + arguments.timeout
    problems = 0
    for path, said in asked.items():
        outcome, good = await_replacement(path, said, deadline)
        say(f"group '{said['group']}' slot {said['slot']}: process {said['pid']} {outcome}")
        problems += not good
    return 1 if problems else 0


def await_replacement(path: str, said: dict, deadline: float) -> tuple[str, bool]:
    while time.monotonic() < deadline:
        now = ask(path, "status")
        if now is not None and now["pid"] != said["pid"]:
            return f"has been replaced by process {now['pid']}", True
        if (
            now is not None and now["state"] == "serving"
        ):  # it had asked httpd for a successor, if it is not leaving
            return (
                "goes on serving, as its successor could not take over: the ErrorLog says why",
                False,
            )
        time.sleep(PAUSE)
    return "has not been replaced in time", False
