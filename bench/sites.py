"""`python -m bench.sites`: what many sites cost, few of which are visited at a time.

Each site is a virtual host with a daemon group, a user and a script of its own. Prints, for each
number of sites: how long httpd takes to read and check the configuration, to start, to restart
gracefully and to stop; the memory that a site takes while nobody visits it; and what visitors get
who come to 50 sites at a time, until each site has been visited.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import re
import resource
import signal
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException
from pathlib import Path

from httpdenv import Httpd, machine, processes, wait_until

from bench import conditions, cost, family, report
from bench.clients import HOST
from bench.numbers import number

MANY = (10, 100, 1000)
AT_A_TIME = 50
REQUESTS = 4  # of each visitor
FIRST_UID = 20001
LIMIT = 600.0  # seconds, of each step
SILENCE = 120.0  # seconds that a visitor waits for
SETTLED = 0.5  # seconds between two looks at a thousand processes
STARTED, LEFT = b"WSGID0050", b"WSGID0051"
SERVES = b"resuming normal operations"

SITE = """\
<VirtualHost 127.0.0.1:${{PORT}}>
    ServerName {name}.example.com
    WSGIDaemonProcess {name} {identity} processes={processes} threads=5 {options}
    WSGIProcessName {name}
    WSGIScriptAlias / ${{FILES}}/{name}/site.wsgi
</VirtualHost>
"""
SCRIPT = """\
def application(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", "14")])
    return [b"Hello, world!\\n"]
"""
ROWS = {
    "configtest": "configtest, s",
    "configured": "start: configured, s",
    "first_answer": "first answer, s",
    "graceful": "graceful restart: configured, s",
    "graceful_answer": "first answer, s",
    "settled": "older processes gone, s",
    "stop": "stop, s",
    "kb_parent": "memory of a site: in httpd's parent, KB",
    "kb_guardian": "in its guardian, KB",
    "kb_children": "in httpd's children, KB",
    "kb_site": "together, KB",
    "kb_shared": "together, with a share of what they share, KB",
    "daemons": "daemons meanwhile",
    "descriptors": "descriptors of the parent",
    "children": "children of httpd",
    "visits_s": "visits, s",
    "requests": "requests",
    "errors": "that failed",
    "cold_ms": "first request of a visitor, median ms",
    "cold_max_ms": "at most, ms",
    "warm_ms": "further requests, median ms",
    "warm_max_ms": "at most, ms",
    "started": "processes that started",
    "left": "processes that left",
}


@dataclass(frozen=True)
class Options:
    processes: str
    idle: float  # inactivity-timeout=
    at_a_time: int

    @property
    def least(self) -> int:
        """Processes of a site that nobody visits."""
        return int(self.processes.partition("-")[0])


# -------- one httpd


def names(count: int) -> list[str]:
    return [f"s{number}" for number in range(1, count + 1)]


def configuration(count: int, options: Options) -> str:
    more = f"inactivity-timeout={options.idle:g}" if "-" in options.processes else "reload=off"
    return "".join(
        SITE.format(
            name=name,
            identity=identity(FIRST_UID + place),
            processes=options.processes,
            options=more,
        )
        for place, name in enumerate(names(count))
    )


def identity(uid: int) -> str:
    """A user and a group without a name; nothing if only root could become them."""
    return f'"user=#{uid}" "group=#{uid}"' if os.geteuid() == 0 else ""


@contextlib.contextmanager
def prepared(count: int, options: Options) -> Iterator[Httpd]:
    httpd = Httpd(configuration(count, options), machine.stage(), log_level="notice wsgid:info")
    try:
        for name in names(count):
            httpd.write(f"{name}/site.wsgi", SCRIPT)
        yield httpd
    finally:
        httpd.remove()


def log_since(httpd: Httpd, since: int) -> bytes:
    """A log of thousands of lines is read as it is: parsing it would take the CPU from httpd."""
    with httpd.log.path.open("rb") as file:
        file.seek(since)
        return file.read()


def wait_for_line(httpd: Httpd, what: bytes, since: int) -> None:
    wait_until(
        lambda: what in log_since(httpd, since),
        lambda: f"{what!r} in {log_since(httpd, since)[-2000:]!r}",
        LIMIT,
    )


def seconds_of(step: Callable[[], object]) -> float:
    begun = time.monotonic()
    step()
    return time.monotonic() - begun


# -------- its processes


@dataclass(frozen=True)
class Family:
    parent: int
    guardians: list[int]
    children: list[int]

    @property
    def daemons(self) -> int:
        return sum(len(family.children(pid)) for pid in self.guardians)


def family_of(httpd: Httpd) -> Family:
    parent = httpd.pid
    found = Family(parent, [], [])
    for pid in family.children(parent):
        is_guardian = processes.is_guardian(family.command(pid))
        (found.guardians if is_guardian else found.children).append(pid)
    return found


def private_kb(pid: int) -> int:
    """What the process alone has written to, and its page tables."""
    return kb(pid, "smaps_rollup", "Private_Dirty") + kb(pid, "status", "VmPTE")


def shared_kb(pid: int) -> int:
    """The same with a share of what it and others have, such as the configuration."""
    return kb(pid, "smaps_rollup", "Pss_Dirty") + kb(pid, "status", "VmPTE")


def kb(pid: int, file: str, name: str) -> int:
    found = re.search(rf"^{name}:\s*(\d+) kB", Path(f"/proc/{pid}/{file}").read_text(), re.M)
    return int(found[1]) if found else 0  # Pss_Dirty is new in Linux 6.0


def memory(httpd: Httpd, count: int) -> dict[str, float]:
    """What sites take that nobody visits. httpd's own share is in it, so few sites seem costly."""
    found = family_of(httpd)
    everybody = [found.parent, *found.guardians, *found.children]
    figures = {
        "kb_parent": private_kb(found.parent),
        "kb_guardian": sum(map(private_kb, found.guardians)),
        "kb_children": sum(map(private_kb, found.children)),
    }
    figures["kb_site"] = sum(figures.values())
    figures["kb_shared"] = sum(map(shared_kb, everybody))
    return {name: kib / count for name, kib in figures.items()} | {
        "daemons": found.daemons,
        "descriptors": cost.descriptors(found.parent),
        "children": len(found.children),
    }


# -------- visitors


@dataclass
class Visit:
    """Milliseconds of each request that was answered, the first of them first; `failed` says what
    the others got.
    """

    took: list[float]
    failed: list[str]


def visit(port: int, name: str) -> Visit:
    """One visitor of a site. Each request has a connection of its own: httpd may close one that is
    kept, and what is sent at that moment fails by right.
    """
    done = Visit([], [])
    for _ in range(REQUESTS):
        begun = time.monotonic()
        with contextlib.closing(HTTPConnection(HOST, port, timeout=SILENCE)) as connection:
            try:
                connection.request("GET", "/", headers={"Host": f"{name}.example.com"})
                answer = connection.getresponse()
                answer.read()
            except (OSError, HTTPException) as error:
                done.failed.append(repr(error))
                continue
        if answer.status == 200:
            done.took.append((time.monotonic() - begun) * 1000)
        else:
            done.failed.append(str(answer.status))
    return done


def visits(httpd: Httpd, count: int, options: Options) -> dict[str, float]:
    """Everybody is visited once, so many at a time; then all processes leave that may."""
    since, begun = httpd.log.mark(), time.monotonic()
    with ThreadPoolExecutor(min(options.at_a_time, count)) as visitors:
        done = list(visitors.map(lambda name: visit(httpd.ports["PORT"], name), names(count)))
    took = time.monotonic() - begun
    wait_until_idle(httpd, count, options)
    failed = [what for one in done for what in one.failed]
    for what in sorted(set(failed)):
        print(f"{count} sites: {failed.count(what)} requests: {what}", file=sys.stderr)
    log = log_since(httpd, since)
    return {
        "visits_s": took,
        "requests": count * REQUESTS,
        "errors": len(failed),
        **spread("cold", [one.took[0] for one in done if not one.failed]),
        **spread("warm", [ms for one in done if not one.failed for ms in one.took[1:]]),
        "started": log.count(STARTED),
        "left": log.count(LEFT),
    }


def spread(name: str, values: list[float]) -> dict[str, float]:
    if not values:
        return {}
    return {f"{name}_ms": statistics.median(values), f"{name}_max_ms": max(values)}


def wait_until_idle(httpd: Httpd, count: int, options: Options) -> None:
    """Until there are as many processes as a configuration has whose sites nobody visits."""
    calmly(lambda: family_of(httpd).daemons == count * options.least, "sites to be idle")


def calmly(is_so: Callable[[], bool], what: str) -> None:
    """wait_until() that does not take the CPU from a thousand processes."""

    def look() -> bool:
        if is_so():
            return True
        time.sleep(SETTLED)
        return False

    wait_until(look, what, LIMIT)


# -------- one number of sites


def answer(httpd: Httpd) -> None:
    done = visit(httpd.ports["PORT"], names(1)[0])
    if done.failed:
        raise RuntimeError(f"the first site answers with {done.failed[0]}")


def configtest(httpd: Httpd) -> None:
    code, output = httpd.configtest()
    if code != 0:
        raise RuntimeError(output)


def start(httpd: Httpd, count: int, options: Options) -> dict[str, float]:
    begun = time.monotonic()
    httpd.start(timeout=LIMIT)
    configured = time.monotonic() - begun
    answer(httpd)
    figures = {"configured": configured, "first_answer": time.monotonic() - begun}
    wait_until_idle(httpd, count, options)
    return figures


def graceful(httpd: Httpd, count: int, options: Options) -> dict[str, float]:
    older = family_of(httpd)
    gone = {*older.guardians, *older.children}
    since, begun = httpd.log.mark(), time.monotonic()
    os.kill(httpd.pid, signal.SIGUSR1)
    wait_for_line(httpd, SERVES, since)
    configured = time.monotonic() - begun
    answer(httpd)
    answered = time.monotonic() - begun
    calmly(lambda: not gone & set(family.children(httpd.pid)), "older processes to leave")
    settled = time.monotonic() - begun
    wait_until_idle(httpd, count, options)
    return {"graceful": configured, "graceful_answer": answered, "settled": settled}


def stop(httpd: Httpd) -> None:
    pid = httpd.pid
    os.kill(pid, signal.SIGTERM)
    wait_until(lambda: not family.is_alive(pid), "httpd to stop", LIMIT)


def measure(count: int, options: Options) -> dict[str, float]:
    """The figures of so many sites, by the names of ROWS."""
    with prepared(count, options) as httpd:
        figures = {"configtest": seconds_of(lambda: configtest(httpd))}
        figures |= start(httpd, count, options)
        figures |= memory(httpd, count)
        figures |= visits(httpd, count, options)
        figures |= graceful(httpd, count, options)
        figures["stop"] = seconds_of(lambda: stop(httpd))
        httpd.assert_nothing_left()
    return figures


# -------- the command


def table(found: dict[int, dict[str, float]]) -> list[list[str]]:
    rows = [["sites", *(f"{count:,}" for count in found)]]
    for key, title in ROWS.items():
        rows.append([title, *(number(figures.get(key)) for figures in found.values())])
    return rows


def parse(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m bench.sites", description=(__doc__ or "").splitlines()[0]
    )
    parser.add_argument(
        "--groups",
        metavar="A,B",
        type=lambda text: [int(word) for word in text.split(",")],
        default=list(MANY),
        help="numbers of sites (default {})".format(",".join(map(str, MANY))),
    )
    parser.add_argument(
        "--processes", default="0-2", help="processes= of each (default %(default)s)"
    )
    parser.add_argument(
        "--idle", type=float, default=10, help="inactivity-timeout= of each (default %(default)s)"
    )
    parser.add_argument(
        "--at-a-time", type=int, default=AT_A_TIME, help="visitors (default %(default)s)"
    )
    parser.add_argument("--json", type=Path, help="file for the figures")
    return parser.parse_args(arguments)


def allow_descriptors() -> None:
    """As the service of a hoster has it (LimitNOFILE=): httpd's parent needs some for each site."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def main(arguments: list[str]) -> None:
    chosen = parse(arguments)
    options = Options(chosen.processes, chosen.idle, chosen.at_a_time)
    allow_descriptors()
    facts = conditions.describe()
    found: dict[int, dict[str, float]] = {}
    try:
        for count in chosen.groups:
            found[count] = measure(count, options)
    finally:
        machine.remove_stage()
        if found:
            print("\n".join(report.markdown(table(found))))
    if chosen.json:
        results = {str(count): figures for count, figures in found.items()}
        chosen.json.write_text(
            json.dumps({"conditions": facts, "results": results}, indent=1) + "\n"
        )


if __name__ == "__main__":
    main(sys.argv[1:])
