"""`pywsgid status`, `reload`, `restart` and `stacks`: questions to running daemon processes, over
their control sockets (pywsgid/daemon/process/control.py answers).

control_sockets.py finds the sockets and carries questions and answers; control_answers.py checks
what comes back, control_identity.py whether the process is the one that it says. Rules: a daemon
process belongs to another user, and the terminal may be root's, so everything it sent is printed
without control characters.
"""

from __future__ import annotations

import argparse
import json
import textwrap
import time
from collections.abc import Iterable
from datetime import datetime

from pywsgid.cli import control_pools, control_sockets
from pywsgid.cli.control_answers import IDENTITY, Answer, parse
from pywsgid.cli.control_identity import contradiction
from pywsgid.cli.control_pools import Pool, is_meant
from pywsgid.cli.messages import Failure, note
from pywsgid.cli.users import user_name
from pywsgid.wire import process_abi
from pywsgid.wire.log_format import printable

IDLE = "idle"  # the state of a slot without a process: a request starts one
POLL_PAUSE = 0.05  # seconds between two questions whether a process has been replaced
RATE_INTERVAL = 0.5  # seconds in which the requests per second are counted


def declare(parser: argparse.ArgumentParser, shown: str) -> None:
    """Declares the options. Every command accepts all of them, so that a script can pass the same
    ones; the help shows --sockets, and the one that has an effect: "json" or "timeout"."""
    helps = {
        "timeout": "how long to wait until every process is replaced (default: %(default)g)",
        "json": "print one line of JSON for each process",
    }
    parser.add_argument(
        "--sockets",
        metavar="PREFIX",
        help="the directory of the control sockets, or the beginning of their paths as in "
        "WSGISocketPrefix (default: httpd's runtime directory)",
    )
    parser.add_argument(
        "--timeout",
        metavar="SECONDS",
        type=float,
        default=60.0,
        help=helps["timeout"] if shown == "timeout" else argparse.SUPPRESS,
    )
    parser.add_argument(
        "--json",
        action="store_true",
        help=helps["json"] if shown == "json" else argparse.SUPPRESS,
    )


# -------- questions


def ask(path: str, question: str) -> Answer | None:
    """Returns the answer of the process behind a socket; None if there is no valid one."""
    answer = control_sockets.ask([path], question).complete.get(path)
    return None if answer is None else parse(answer, question)


def ask_all(paths: Iterable[str], question: str) -> tuple[dict[str, Answer], list[Answer]]:
    """Returns the valid answers by socket, and what is known of each slot whose process did not
    answer in time, or that has none.

    An answer that is not valid is reported on stderr and left out.
    """
    answers = control_sockets.ask(paths, question)
    valid, idle = {}, []
    for path, text in sorted(answers.complete.items()):
        answer = parse(text, question)
        if pool := control_pools.parse(text):
            idle.append(without_process(pool))
        elif answer is None:
            note(
                f"WSGID0443: {printable(path)}: the process there sent an answer that this command "
                "does not understand, so it is not shown: use the pywsgid that belongs to the "
                "loaded mod_wsgid.so, and reload httpd after an update"
            )
        elif wrong := contradiction(path, answer):
            note(
                f"WSGID0444: {printable(path)}: the process there says that it is process "
                f"{answer['pid']} of group {answer['group']!r}, but {printable(wrong)}, so it is "
                "not shown: an application answers in its place: find out which one serves that "
                "socket (ss -xlp), and whether it was taken over"
            )
        else:
            valid[path] = answer
    return valid, [without_answer(path, valid) for path in answers.silent] + idle


def processes(arguments: argparse.Namespace) -> tuple[dict[str, Answer], list[Answer]]:
    """Returns what ask_all() does; only those of one group if `arguments` name one."""
    name = getattr(arguments, "name", None)
    answered, others = ask_all(control_sockets.find(arguments.sockets), "status")
    if name is not None:
        answered = {path: one for path, one in answered.items() if is_meant(one["group"], name)}
        others = [one for one in others if one["group"] is None or is_meant(one["group"], name)]
    return answered, others


def answering_processes(arguments: argparse.Namespace) -> dict[str, Answer]:
    """Returns the status of each process by its socket, and reports the others on stderr.

    Raises Failure if no process answered.
    """
    answered, others = processes(arguments)
    for one in others:
        note(printable(describe_silence(one)))
    assert_answered(answered, others, arguments)
    return answered


def assert_answered(
    answered: dict[str, Answer], others: list[Answer], arguments: argparse.Namespace
) -> None:
    """Raises Failure if no process answered where there should be one."""
    if answered or any(one["state"] == IDLE for one in others):
        return
    name = getattr(arguments, "name", None)
    raise Failure(
        "WSGID0442",
        f"no process of group {name!r} answers" if name else "no daemon process answers",
        "httpd's ErrorLog says why if the group exists; `pywsgid status` lists the groups"
        if name
        else "httpd's ErrorLog says why",
    )


def without_answer(path: str, answered: dict[str, Answer]) -> Answer:
    """Returns what is known of a slot whose process did not answer.

    The name of its group is known only if another slot of the group answered: the paths of their
    sockets differ in the number of the slot alone.
    """
    stem, _, slot = path.removesuffix(".ctl").rpartition(".")
    siblings = [one for other, one in answered.items() if other.rsplit(".", 2)[0] == stem]
    groups = {one["group"] for one in siblings}
    return {
        "group": groups.pop() if len(groups) == 1 else None,
        "slot": int(slot) if slot.isdecimal() else None,
        "pid": None,
        "state": "no answer",
        "socket": path,
    }


def without_process(pool: Pool) -> Answer:
    """Returns what is known of a pool whose guardian answered, because it has no process."""
    return {"group": pool.label, "slot": 0, "pid": None, "state": IDLE, "pool": pool}


# -------- status


def status(arguments: argparse.Namespace) -> int:
    """Prints every process, and of each pool how many it has. Raises Failure if none answered."""
    answered, others = processes(arguments)
    pools = {one["group"]: one["pool"] for one in others if one["state"] == IDLE}
    pools |= {pool.label: pool for pool in control_pools.find(arguments.sockets)}
    shown = with_rates(answered)
    figures = {label: count(pool, shown) for label, pool in pools.items()}
    for one in shown + others:
        one["pool"] = figures.get(one["group"])
        if arguments.json:
            show(json.dumps(one))
        elif one["state"] != IDLE:
            show(describe(one) if one in shown else describe_silence(one))
    for label in () if arguments.json else sorted(figures):
        show(describe_pool(label, figures[label]))
    assert_answered(answered, others, arguments)
    return 0


def count(pool: Pool, processes: list[Answer]) -> dict[str, int]:
    """Returns how many processes a pool is to have and has."""
    ready = [one for one in processes if (one["group"], one["state"]) == (pool.label, "ready")]
    return {
        "desired": pool.wanted,
        "min": pool.least,
        "max": pool.most,
        "room": pool.room,
        "ready": len(ready),
        "starting": max(0, pool.wanted - len(ready)),
        "idle": sum(not one["running"] for one in ready),
    }


def describe_pool(label: str, figures: dict[str, int]) -> str:
    """Returns the line that `pywsgid status` prints for a pool."""
    return (
        "processes of group '{label}': {desired} wanted ({min} to {max}), {ready} ready, "
        "{starting} starting, {idle} idle{more}"
    ).format(label=label, more="" if figures["desired"] else ": a request starts one", **figures)


def show(text: str) -> None:
    """Prints lines, without control characters."""
    print("\n".join(printable(line) for line in text.split("\n")))


def with_rates(before: dict[str, Answer]) -> list[Answer]:
    """Returns the statuses RATE_INTERVAL later, each with `rate`: the requests per second since
    `before`, or None for a process that has been replaced meanwhile."""
    if not before:
        return []
    began = time.monotonic()
    time.sleep(RATE_INTERVAL)
    later, _ = ask_all(before, "status")
    lasted = time.monotonic() - began
    found = []
    for path, earlier in before.items():
        now = later.get(path, earlier)
        finished = now["finished"] - earlier["finished"]
        rate = round(finished / lasted, 1) if now["pid"] == earlier["pid"] else None
        found.append({**now, "rate": rate})
    return found


def describe(one: Answer) -> str:
    """Returns the lines that `pywsgid status` prints for a process."""
    rate = "unknown" if one["rate"] is None else one["rate"]
    since = datetime.fromtimestamp(one["since"]).strftime("%Y-%m-%d %H:%M:%S")
    limit = f" (at most {one['at_once']} at once)" if one["at_once"] else ""
    lines = [
        f"group '{one['group']}' slot {one['slot']}: process {one['pid']} is {one['state']} "
        f"since {since}, Python {one['python']}, user {user_name(one['uid'])}, "
        f"{len(one['running'])} of {one['threads']} threads busy{limit}, {one['queue']} waiting, "
        f"{one['finished']} requests, {rate} per second, {one['errors']} errors"
    ]
    times = {
        "waited for a thread:": one["queue_times"],
        "in the application:": one["application_times"],
    }
    lines += [f"    {what} {quantiles(counts)}" for what, counts in times.items() if any(counts)]
    lines += [
        f"    thread {entry['thread']}: {entry['request']}, for {entry['elapsed']:.3f} s"
        for entry in one["running"]
    ]
    return "\n".join(lines)


def describe_silence(one: Answer) -> str:
    """Returns the line about a slot that did not answer, or a pool without a process."""
    if one["state"] == IDLE:
        return f"group '{one['group']}' has no process: a request starts one, with the current code"
    name = "unknown group" if one["group"] is None else f"group '{one['group']}'"
    return (
        f"{name} slot {one['slot']}: no process answered within {control_sockets.PATIENCE:g} s at "
        f"{one['socket']} (it hangs, is stopped, or cannot start): see httpd's ErrorLog"
    )


def quantiles(counts: list[int]) -> str:
    """Returns, of a histogram, "50 % up to 0.9 ms, 90 % up to 2.1 ms, 99 % up to 14.7 ms"."""
    return ", ".join(
        f"{share} % up to {quantile(counts, share / 100) / 1000:.1f} ms" for share in (50, 90, 99)
    )


def quantile(counts: list[int], share: float) -> float:
    """Returns the time, in microseconds, that this share of a histogram's requests did not exceed.

    Within a bucket, the times are taken to be spread evenly.
    """
    wanted, lower = share * sum(counts), 0
    for bucket, count in enumerate(counts[:-1]):
        upper: int = process_abi.PAGE_FIRST << bucket
        if wanted <= count:
            return lower + (upper - lower) * wanted / max(count, 1)
        wanted -= count
        lower = upper
    return lower


# -------- stacks


def stacks(arguments: argparse.Namespace) -> int:
    """Prints the Python stacks of a group. Raises Failure if no process answered."""
    statuses = answering_processes(arguments)
    answered, _ = ask_all(statuses, "stacks")
    for path, its_status in statuses.items():
        one = answered.get(path) or IDENTITY(its_status)
        if arguments.json:
            print(json.dumps(one))
            continue
        show(f"group '{one['group']}' slot {one['slot']}: process {one['pid']}")
        for what, lines in one.get("stacks", []):
            show(f"  {what}\n{textwrap.indent(lines, '  ')}".removesuffix("\n"))
    return 0


# -------- reload and restart


def replace(arguments: argparse.Namespace, question: str) -> int:
    """Requests the replacement of each process of a group (`question`: reload or restart), and
    waits for it. Returns 1 if a process was not replaced. Raises Failure if none answered."""
    statuses = answering_processes(arguments)
    answered, _ = ask_all(statuses, question)
    deadline = time.monotonic() + arguments.timeout
    failed = 0
    for path, its_status in statuses.items():
        one = answered.get(path) or IDENTITY(its_status)
        outcome, is_replaced = wait_for_replacement(path, one, deadline)
        show(f"group '{one['group']}' slot {one['slot']}: process {one['pid']} {outcome}")
        failed += not is_replaced
    return 1 if failed else 0


def wait_for_replacement(path: str, one: Answer, deadline: float) -> tuple[str, bool]:
    """Returns what became of a process, and whether that is a success."""
    while time.monotonic() < deadline:
        now = ask(path, "status")
        if now is not None and now["pid"] != one["pid"]:
            return f"has been replaced by process {now['pid']}", True
        # It requested a replacement before it answered, and leaves the state "ready" with that.
        if now is not None and now["state"] == "ready":
            problem = "goes on serving, because its replacement could not start"
            return f"{problem}: httpd's ErrorLog says why", False
        time.sleep(POLL_PAUSE)
    return "has not been replaced in time (--timeout): `pywsgid stacks` shows what it does", False
