"""A request that is observed, since somebody has subscribed to events or records metrics.

Rules: what is observed here must not change what the application and its client see; only
request_started lets a subscriber replace the application. Times are seconds since the epoch.
"""

from __future__ import annotations

import resource
from typing import TYPE_CHECKING, Any, NamedTuple, cast

from pywsgid.daemon import logs
from pywsgid.daemon.request_info import REQUEST_START
from pywsgid.daemon.system import time
from pywsgid.daemon.wsgi.input import Input
from pywsgid.daemon.wsgi.response import Response
from pywsgid.daemon.wsgi.worker import Request, Worker

if TYPE_CHECKING:
    from collections.abc import Callable

    from pywsgid.daemon.interfaces import (
        Application,
        Environ,
        Exchange,
        ExcInfo,
        FileRegion,
        Guard,
        Headers,
        Parts,
        Service,
    )
    from pywsgid.daemon.mod_wsgi_api.metrics import Metrics


class Observer(NamedTuple):
    """Who wants to know: `callbacks` have subscribed, and publish(name, event) calls them."""

    callbacks: list[Callable[..., Any]]
    publish: Callable[[str, dict[str, Any]], None]
    metrics: Metrics
    data: Callable[[], dict[str, Any]]

    def request(
        self,
        worker: Worker,
        service: Service,
        exchange: Exchange,
        environ: Environ,
        guard: Guard | None,
    ) -> ObservedRequest:
        """What a worker makes instead of a Request."""
        return ObservedRequest(self, worker, service, exchange, environ, guard)


class ObservedInput(Input):
    """wsgi.input that counts what the application reads."""

    __slots__ = ("reads", "spent")

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.reads = 0
        self.spent = 0.0

    @property
    def length(self) -> int:
        """How many bytes have been read."""
        return self._count - self._available()

    def _more(self) -> bool:
        begin = time.time()
        try:
            return super()._more()
        finally:
            self.spent += time.time() - begin

    def read(self, size: int | None = -1) -> bytes:
        self.reads += 1
        return super().read(size)

    def read1(self, size: int | None = -1) -> bytes:
        self.reads += 1
        return super().read1(size)

    def readinto(self, buffer: Any) -> int:
        self.reads += 1
        return super().readinto(buffer)

    def readline(self, size: int | None = -1) -> bytes:
        self.reads += 1
        return super().readline(size)


class Output:
    """The exchange of a response, which measures how long sending takes."""

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange
        self.writes = 0
        self.spent = 0.0

    def _timed(self, send: Callable[..., None], *arguments: Any) -> None:
        self.writes += 1
        begin = time.time()
        try:
            send(*arguments)
        finally:
            self.spent += time.time() - begin

    def send(self, parts: Parts) -> None:
        self._timed(self._exchange.send, parts)

    def send_block(self, block: bytes) -> None:
        self._timed(self._exchange.send_block, block)

    def finish(self, parts: Parts, keep: bool, file: FileRegion | None = None) -> None:
        self._timed(self._exchange.finish, parts, keep, file)

    def flush(self) -> None:
        self._timed(self._exchange.flush)
        self.writes -= 1  # finish() has counted it

    def is_hung_up(self) -> bool:
        return self._exchange.is_hung_up()

    @property
    def complete(self) -> bool:
        return self._exchange.complete

    @property
    def gone(self) -> bool:
        return self._exchange.gone

    @gone.setter
    def gone(self, value: bool) -> None:
        self._exchange.gone = value


class ObservedRequest(Request):
    """A Request that publishes events and adds to the metrics."""

    __slots__ = (
        *("_observer", "_worker", "_output", "_seen", "_status"),
        *("_daemon_start", "_application_start", "_usage"),
    )

    def __init__(
        self,
        observer: Observer,
        worker: Worker,
        service: Service,
        exchange: Exchange,
        environ: Environ,
        guard: Guard | None,
    ) -> None:
        super().__init__(worker, service, exchange, environ, guard)
        self._observer = observer
        self._worker = worker
        self._status = 0
        self._daemon_start = (exchange.sent + exchange.waited) / 1000000
        self._application_start = time.time()
        self._usage = resource.getrusage(resource.RUSAGE_THREAD)
        self._input = self._seen = ObservedInput(exchange, service.transport.report_violation)
        self._output = Output(exchange)
        method = environ.get("REQUEST_METHOD")
        self._response = Response(cast("Exchange", self._output), method, worker.known)

    def run(self) -> None:
        try:
            super().run()
            if not self._exchange.gone:
                self._output.flush()  # nobody waits for subscribers
        finally:
            self._finished()

    def _find(self) -> Application | None:
        application = super()._find()
        if application is None:
            return None

        def observed(environ: Environ, start_response: Callable[..., Any]) -> Any:
            return self._call(application, environ, start_response)

        return observed

    def _call(
        self, application: Application, environ: Environ, start_response: Callable[..., Any]
    ) -> Any:
        """Calls the application, or what a subscriber has put in its place."""
        self._application_start = time.time()
        event = self._times()
        event["application_object"] = application
        event["callable_object"] = environ.get("mod_wsgi.callable_object")
        event["request_environ"] = environ
        event["daemon_connects"] = 1
        event["daemon_restarts"] = 0
        self._publish("request_started", event)

        def observed(
            status: str, headers: Headers, exc_info: ExcInfo | None = None
        ) -> Callable[[bytes], None]:
            write: Callable[[bytes], None] = start_response(status, headers, exc_info)
            self._status = int(status[:3])
            self._publish(
                "response_started",
                {
                    "response_status": status,
                    "response_headers": headers,
                    "exception_info": exc_info,
                },
            )
            return write

        return event["application_object"](environ, observed)

    def _failed(self, error: BaseException) -> None:
        self._status = self._status or 500
        if not (self._exchange.gone and isinstance(error, OSError)):
            raised = (type(error), error, error.__traceback__)
            self._publish("request_exception", {"exception_info": raised})
        super()._failed(error)

    def _publish(self, name: str, event: dict[str, Any]) -> None:
        if self._observer.callbacks:
            event["request_id"] = self._environ.get(logs.REQUEST_ID)
            event["request_data"] = self._observer.data()
            self._observer.publish(name, event)

    def _times(self) -> dict[str, Any]:
        environ = self._environ
        pid = environ.get("mod_wsgi.server_pid", "")
        return {
            "thread_id": self._worker.number,
            "server_pid": int(pid) if pid.isdecimal() else 0,
            "request_start": environ.get(REQUEST_START) or self._exchange.sent / 1000000,
            "queue_start": self._exchange.sent / 1000000,
            "daemon_start": self._daemon_start,
            "application_start": self._application_start,
        }

    def _finished(self) -> None:
        finish = time.time()
        before, after = self._usage, resource.getrusage(resource.RUSAGE_THREAD)
        user, system = after.ru_utime - before.ru_utime, after.ru_stime - before.ru_stime
        event = self._times()
        event |= {
            "application_finish": finish,
            "application_time": finish - self._application_start,
            "input_reads": self._seen.reads,
            "input_length": self._seen.length,
            "input_time": self._seen.spent,
            "output_writes": self._output.writes,
            "output_length": self._response.sent,
            "output_time": self._output.spent,
            "status": self._status,
            "cpu_user_time": user,
            "cpu_system_time": system,
            "cpu_time": user + system,
            "gil_wait_time": 0.0,  # metrics.py says why
            "gil_wait_count": 0,
        }
        self._observer.metrics.finished(event)
        self._publish("request_finished", event)
