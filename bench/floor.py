"""`python -m bench.floor`: the best possible ratio of processes=2 to processes=1 on this machine.

The smallest server that wrk can talk to, a loop of one thread, serves the application of the
scenario `processes` (1 ms of CPU). wrk requests it in two ways: directly, and through relay.c,
which only passes bytes on. The cost of httpd comes on top of that. Prints medians over interleaved
rounds.
"""

from __future__ import annotations

import argparse
import contextlib
import multiprocessing
import select
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from bench import cost, load, rounds
from bench.apps import burn

CONNECTIONS = 16
# httpd sends the same number of bytes.
FIELDS = b"Date: Thu, 01 Jan 1970 00:00:00 GMT\r\nServer: Apache\r\nContent-Type: text/plain\r\nContent-Length: 14\r\n"
ANSWER = b"HTTP/1.1 200 OK\r\n" + FIELDS + b"\r\nHello, world!\n"


def serve(listener: socket.socket, share: int) -> None:
    """Answers forever. Takes at most `share` connections, so that each of several processes has as
    many.
    """
    poller = select.epoll()
    poller.register(listener, select.EPOLLIN)
    connections: dict[int, socket.socket] = {}
    while True:
        for number, _ in poller.poll():
            if number == listener.fileno():
                with contextlib.suppress(BlockingIOError):  # another process was faster
                    connection, _ = listener.accept()
                    connections[connection.fileno()] = connection
                    poller.register(connection, select.EPOLLIN)
                    if len(connections) == share:
                        poller.unregister(listener)
            elif not answer(connections[number]):
                if len(connections) == share:
                    poller.register(listener, select.EPOLLIN)
                poller.unregister(number)
                connections.pop(number).close()


def answer(connection: socket.socket) -> bool:
    """Answers one request; returns False if the client has gone."""
    try:
        if not connection.recv(16384):
            return False
        burn.burn(burn.MILLISECOND)
        connection.sendall(ANSWER)
    except ConnectionError:
        return False
    return True


@contextlib.contextmanager
def servers(listeners: list[socket.socket], share: int) -> Iterator[None]:
    """Runs one process for each listener; ends them with the block."""
    started = [
        multiprocessing.get_context("fork").Process(target=serve, args=(one, share))
        for one in listeners
    ]
    try:
        for process in started:
            process.start()
        yield
    finally:
        for process in started:
            process.kill()
            process.join()


def listen(address: str | tuple[str, int]) -> socket.socket:
    listener = socket.socket(socket.AF_UNIX if isinstance(address, str) else socket.AF_INET)
    listener.bind(address)
    listener.listen(CONNECTIONS)
    listener.setblocking(False)
    return listener


def url(listener: socket.socket) -> str:
    return "http://127.0.0.1:{}/".format(listener.getsockname()[1])


def straight(processes: int, seconds: float) -> dict:
    """wrk sends to the processes themselves: one socket, and each process takes its share of the
    connections.
    """
    with listen(("127.0.0.1", 0)) as front, servers([front] * processes, CONNECTIONS // processes):
        return load.wrk(url(front), CONNECTIONS, seconds)


def relayed(relay: Path, processes: int, seconds: float) -> dict:
    """The same through the relay, with the relay's CPU cost per request."""
    with contextlib.ExitStack() as stack:
        paths = [str(relay.with_name(f"{processes}-{number}")) for number in range(processes)]
        listeners = [stack.enter_context(listen(path)) for path in paths]
        front = stack.enter_context(listen(("127.0.0.1", 0)))
        stack.enter_context(servers(listeners, CONNECTIONS))
        process = subprocess.Popen([relay, str(front.fileno()), *paths], pass_fds=[front.fileno()])
        stack.callback(process.wait)
        stack.callback(process.kill)
        for path in paths:
            stack.callback(Path(path).unlink)
        with cost.metered(httpd=lambda: [process.pid]) as spent:
            figures = load.wrk(url(front), CONNECTIONS, seconds)
        return {**figures, "cpu_us": spent.per_request(int(figures["requests"]))["cpu_us"]}


def compiled(directory: str) -> Path:
    relay = Path(directory, "relay")
    source = Path(__file__).with_name("relay.c")
    subprocess.run(["cc", "-O2", "-Wall", "-Wextra", "-Werror", "-o", relay, source], check=True)
    return relay


def main(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m bench.floor", description=(__doc__ or "").splitlines()[0]
    )
    parser.add_argument(
        "--rounds", type=int, default=5, help="interleaved rounds (default %(default)s)"
    )
    parser.add_argument(
        "--seconds", type=float, default=2, help="of each load (default %(default)s)"
    )
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="wsgid-floor-") as directory:
        relay = compiled(directory)
        contenders: dict[tuple[str, int], Callable[[], dict]] = {}
        for count in (1, 2):
            contenders["straight", count] = lambda count=count: straight(count, options.seconds)
            contenders["relayed", count] = lambda count=count: relayed(
                relay, count, options.seconds
            )
        samples = rounds.interleave(contenders, options.rounds)
    for way in ("straight", "relayed"):
        one, two = samples[way, 1], samples[way, 2]
        for problem in rounds.errors(one + two):
            print(f"{way}: {problem}", file=sys.stderr)
        rates = [rounds.median(taken, "rps") or 0 for taken in (one, two)]
        relay_us = rounds.median(two, "cpu_us")
        print(
            f"{way}: {rates[0]:,.0f} requests/s with one process, {rates[1]:,.0f} with two: "
            f"{rounds.ratio(two, one, 'rps') or 0:.2f} times as many"
            + (f"; {relay_us:.0f} us of CPU a request in the relay" if relay_us else "")
        )


if __name__ == "__main__":
    main(sys.argv[1:])
