"""mod_wsgi.request_metrics() and process_metrics(): sums over the requests that have finished.

What is not measured here, the time that threads wait for the GIL at our own boundaries, is 0: the
keys are there because code reads them. Times are seconds since the epoch, or seconds.
"""

from __future__ import annotations

import resource
from typing import TYPE_CHECKING, Any

from pywsgid.daemon.process.limits import resident
from pywsgid.daemon.system import _thread, os, time

if TYPE_CHECKING:
    from pywsgid.daemon.interfaces import Service

# A histogram: four parts of each octave from 1 ms to 65,536 ms, and what is longer.
OCTAVES, PARTS = 16, 4
# Name of a phase -> the keys of request_finished between which it lies.
PHASES = {
    "server_time": ("request_start", "queue_start"),
    "queue_time": ("queue_start", "daemon_start"),
    "daemon_time": ("daemon_start", "application_start"),
    "application_time": ("application_start", "application_finish"),
    "request_time": ("request_start", "application_finish"),
}
DURATIONS = {"input_read_time": "input_time", "output_write_time": "output_time"}
COUNTERS = {
    "input_bytes": "input_length",
    "input_reads": "input_reads",
    "output_bytes": "output_length",
    "output_writes": "output_writes",
}


def bucket(seconds: float) -> int:
    """The place of a duration in a histogram."""
    milliseconds = seconds * 1000
    if milliseconds < 1:
        return 0
    octave = int(milliseconds).bit_length() - 1
    if octave >= OCTAVES:
        return OCTAVES * PARTS
    return octave * PARTS + int((milliseconds / (1 << octave) - 1) * PARTS)


class Phase:
    """How long a phase of the requests took."""

    def __init__(self) -> None:
        self.total = 0.0
        self.shortest: int | None = None  # microseconds
        self.longest: int | None = None
        self.buckets = [0] * (OCTAVES * PARTS + 1)

    def add(self, seconds: float) -> None:
        seconds = max(0.0, seconds)  # the clock may have been set back
        micro = round(seconds * 1000000)
        self.total += seconds
        self.shortest = micro if self.shortest is None else min(self.shortest, micro)
        self.longest = micro if self.longest is None else max(self.longest, micro)
        self.buckets[bucket(seconds)] += 1

    def report(self, name: str, count: int) -> dict[str, Any]:
        return {
            name: self.total / count if count else 0.0,
            name + "_min_us": self.shortest,
            name + "_max_us": self.longest,
            name + "_buckets": self.buckets,
        }


class Window:
    """What has been counted since the last request_metrics()."""

    def __init__(self, threads: int) -> None:
        self.start = time.time()
        self.cpu = os.times()
        self.count = 0
        self.phases = {name: Phase() for name in (*PHASES, *DURATIONS, "gil_wait_time")}
        self.counters = dict.fromkeys(COUNTERS, 0)
        self.classes = [0] * 5
        self.completed = [0] * threads
        self.busy = [0.0] * threads
        self.burnt = [0.0] * threads
        self.longest = [0.0] * threads

    def add(self, event: dict[str, Any]) -> None:
        """A request has finished: its request_finished."""
        self.count += 1
        for name, (begin, end) in PHASES.items():
            self.phases[name].add(event[end] - event[begin])
        for name, key in DURATIONS.items():
            self.phases[name].add(event[key])
        for name, key in COUNTERS.items():
            self.counters[name] += event[key]
        self.classes[min((event["status"] or 500) // 100, 5) - 1] += 1
        thread = event["thread_id"] - 1
        duration = event["application_finish"] - event["daemon_start"]
        self.completed[thread] += 1
        self.busy[thread] += event["application_finish"] - max(event["daemon_start"], self.start)
        self.burnt[thread] += event["cpu_time"]
        self.longest[thread] = max(self.longest[thread], duration)


class Metrics:
    """`service` is that of the process. Nothing is recorded before start()."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._lock = _thread.allocate_lock()
        self._window: Window | None = None
        self._served: list[int] = []  # by each thread

    def start(self) -> None:
        """Begins to record, once."""
        with self._lock:
            if self._window is None:
                threads = self._service.configuration.threads
                self._served = [0] * threads
                self._window = Window(threads)

    def finished(self, event: dict[str, Any]) -> None:
        """A request has finished."""
        with self._lock:
            if self._window is not None:
                self._window.add(event)
                self._served[event["thread_id"] - 1] += 1

    def _elapsed(self) -> list[float]:
        """For each thread, how long its request has been running; 0.0 if it runs none."""
        now, found = time.monotonic(), [0.0] * self._service.configuration.threads
        for worker in self._service.life.workers:
            if worker.environ is not None:
                found[worker.number - 1] = max(0.0, now - worker.since)
        return found

    def request_metrics(self) -> dict[str, Any] | None:
        """What has happened since the last call; None before start_recording_metrics()."""
        with self._lock:
            window = self._window
            if window is None:
                return None
            self._window = Window(self._service.configuration.threads)
        stop, cpu, elapsed = self._window.start, self._window.cpu, self._elapsed()
        period = max(stop - window.start, 1e-6)
        tails = [min(seconds, period) for seconds in elapsed]
        busy = [a + b for a, b in zip(window.busy, tails, strict=True)]
        user, system = (
            (cpu.user - window.cpu.user) / period,
            (cpu.system - window.cpu.system) / period,
        )
        active = sum(bool(a or b) for a, b in zip(window.completed, elapsed, strict=True))
        found = {
            "pid": os.getpid(),
            "start_time": window.start,
            "stop_time": stop,
            "sample_period": period,
            "request_count": window.count,
            "request_throughput": window.count / period,
            "request_threads_maximum": len(busy),
            "request_threads_started": len(self._service.life.workers),
            "request_threads_active": active,
            "capacity_utilization": sum(busy) / (period * max(1, len(busy))),  # threads=0
            "request_threads_completed": window.completed,
            "request_threads_buckets": window.completed,
            "request_threads_busy_time": busy,
            "request_threads_cpu_time": window.burnt,
            "request_threads_current_elapsed": elapsed,
            "request_threads_max_duration": window.longest,
            "gil_wait_count": 0,
            "cpu_user_utilization": user,
            "cpu_system_utilization": system,
            "cpu_utilization": user + system,
            "cpu_user_time": user,
            "cpu_system_time": system,
            "cpu_time": user + system,
            **window.counters,
            **_memory(),
        }
        for name, phase in window.phases.items():
            found |= phase.report(name, window.count)
        for number, count in enumerate(window.classes, 1):
            found["status_%dxx" % number] = count
        return found

    def process_metrics(self) -> dict[str, Any] | None:
        """What has happened since the process started; None before start_recording_metrics()."""
        if self._window is None:
            return None
        finished, busy = self._service.page.served()
        elapsed, cpu, now = self._elapsed(), os.times(), time.time()
        return {
            "pid": os.getpid(),
            "restart_time": self._service.started,
            "current_time": now,
            "running_time": int(now - self._service.started),
            "request_count": finished,
            "request_busy_time": busy + sum(elapsed),
            "request_threads": len(self._service.life.workers),
            "active_requests": sum(bool(seconds) for seconds in elapsed),
            "cpu_user_time": cpu.user,
            "cpu_system_time": cpu.system,
            "cpu_time": cpu.user + cpu.system,
            "threads": [
                {"thread_id": number, "request_count": count}
                for number, count in enumerate(self._served, 1)
            ],
            **_memory(),
        }


def _memory() -> dict[str, int]:
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return {"memory_rss": resident(), "memory_max_rss": most}
