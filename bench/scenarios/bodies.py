"""Large bodies, in either direction."""

from __future__ import annotations

import time
from collections.abc import Callable

from bench import clients, cost
from bench.peers import Running, Setup
from bench.run import HTTPD_DAEMONS, Bench, each

MIB = 1 << 20
OBJECT_BYTES, TINY_BLOCKS, TINY_BYTES = 16 * MIB, 2000, 16


def transfers(bench: Bench) -> None:
    """One client, big bodies: a file, a generator of 64 KiB blocks, one byte string, tiny blocks,
    an upload
    """
    size = bench.file_bytes
    with_static, daemons = (*HTTPD_DAEMONS, "static"), HTTPD_DAEMONS
    with bench.serving(with_static, Setup("transfers"), "/file") as running:
        bench.measure("transfers", "file", each(running, _downloads, bench, "/file", size))
    with bench.serving(with_static, Setup("transfers", sendfile=False), "/file") as running:
        bench.measure(
            "transfers", "file, EnableSendfile Off", each(running, _downloads, bench, "/file", size)
        )
    with bench.serving(daemons, Setup("transfers"), "/generator?0") as running:
        for point, target, length in (
            ("generator", f"/generator?{size}", size),
            ("object", f"/object?{OBJECT_BYTES}", OBJECT_BYTES),
            ("blocks", f"/blocks?{TINY_BLOCKS}", TINY_BLOCKS * TINY_BYTES),
        ):
            bench.measure("transfers", point, each(running, _downloads, bench, target, length))
        contenders = each(
            running, _transfers, bench, lambda port: clients.upload(port, "/upload", size)
        )
        bench.measure("transfers", "upload", contenders)


def _downloads(peer: Running, bench: Bench, target: str, size: int) -> dict:
    return _transfers(peer, bench, lambda port: clients.download(port, target, size))


def _transfers(peer: Running, bench: Bench, once: Callable[[int], clients.Transfer]) -> dict:
    """As many transfers as fit into the time, at least one. The growth of memory is the peak minus
    the size before.
    """
    httpd, application = peer.httpd(), peer.application()
    once(peer.port)
    before = cost.resident(httpd), cost.resident(application)
    cost.reset_peak([*httpd, *application])
    done: list[clients.Transfer] = []
    end = time.monotonic() + bench.seconds
    with cost.metered(httpd=peer.httpd, application=peer.application) as spent:
        while not done or time.monotonic() < end:
            done.append(once(peer.port))
    bytes_moved, seconds = sum(one.size for one in done), sum(one.seconds for one in done)
    return {
        "mb_per_second": bytes_moved / seconds / 1e6,
        "ms": seconds * 1000 / len(done),
        "cpu_ms": sum(spent.cpu.values()) * 1000 / len(done),
        "cpu_httpd_ms": spent.cpu["httpd"] * 1000 / len(done),
        "httpd_peak_mb": max(0.0, cost.peak(httpd) - before[0]),
        "application_peak_mb": max(0.0, cost.peak(application) - before[1]),
    }
