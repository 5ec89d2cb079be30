"""The names of the modules `mod_wsgi` and `apache`. Imported when the application uses the first of
them.

What mod_wsgi documents about them holds here; docs/reference/mod_wsgi-api.md says what differs. A
request knows nothing of this file unless it calls it: events and metrics make workers run an
observed.ObservedRequest.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from pywsgid import RequestTimeout
from pywsgid.daemon import logs
from pywsgid.daemon.mod_wsgi_api.events import Events
from pywsgid.daemon.mod_wsgi_api.metrics import Metrics
from pywsgid.daemon.wsgi.environ import MOD_WSGI_VERSION, version_tuple
from pywsgid.daemon.wsgi.file_wrapper import FileWrapper

if TYPE_CHECKING:
    from pywsgid.daemon.interfaces import Service, Worker

    Data = dict[str, Any]


class RequestData:
    """mod_wsgi.request_data(): a dict for each request, made when somebody asks for it."""

    def __init__(self) -> None:
        self._of: dict[int, tuple[float, Data]] = {}  # worker -> (its `since`, the dict)

    def of(self, worker: Worker) -> Data:
        """The dict of the request that a worker runs."""
        since, data = self._of.get(worker.number, (0.0, {}))
        if since != worker.since:
            data = {}
            self._of[worker.number] = worker.since, data
        return data

    def __call__(self) -> Data:
        """The dict of the request that this thread runs. RuntimeError if it runs none."""
        worker = getattr(logs.current, "worker", None)
        if worker is None or worker.environ is None:
            raise RuntimeError("no request is active in this thread")
        return self.of(worker)


class ActiveRequests(Mapping[str, Any]):
    """mod_wsgi.active_requests: {request_id: request_data()} of the requests that run now."""

    def __init__(self, service: Service, data: RequestData) -> None:
        self._service, self._data = service, data

    def _now(self) -> dict[str, Data]:
        found = {}
        for worker in self._service.life.workers:
            environ = worker.environ
            if environ is not None:
                found[str(environ.get(logs.REQUEST_ID))] = self._data.of(worker)
        return found

    def __getitem__(self, request_id: str) -> Data:
        return self._now()[request_id]

    def __iter__(self) -> Iterator[str]:
        return iter(self._now())

    def __len__(self) -> int:
        return len(self._now())

    def __repr__(self) -> str:
        return repr(self._now())


def names(service: Service) -> tuple[dict[str, Any], dict[str, Any]]:
    """The names of `mod_wsgi`, and functions for those that are made when they are used."""
    configuration = service.configuration
    data = RequestData()
    metrics = Metrics(service)
    events = Events(service, metrics, data)

    def log_handler() -> type:
        from pywsgid.daemon.application.log_records import explicit_handler

        return explicit_handler(service.log)

    return {
        "version": MOD_WSGI_VERSION,
        "process_group": configuration.group,
        "application_group": configuration.application_group or "",
        **_sizes(service),
        "active_requests": ActiveRequests(service, data),
        "request_data": data,
        "event_callbacks": events.callbacks,
        "shutdown_callbacks": events.shutdown_callbacks,
        "signal_callbacks": events.signal_callbacks,
        "subscribe_events": events.subscribe_events,
        "subscribe_shutdown": events.subscribe_shutdown,
        "subscribe_signals": events.subscribe_signals,
        "start_recording_metrics": events.start_recording_metrics,
        "request_metrics": metrics.request_metrics,
        "process_metrics": metrics.process_metrics,
        "server_metrics": server_metrics,
        "FileWrapper": FileWrapper,
        "RequestTimeout": RequestTimeout,
    }, {"LogHandler": log_handler}


def apache_names(service: Service) -> dict[str, Any]:
    """The names of `apache`."""
    configuration = service.configuration
    return {
        "version": version_tuple(configuration.httpd_version),
        "description": configuration.httpd_description,
        "mpm_name": configuration.httpd_mpm,
        "build_date": configuration.httpd_built,
        **_sizes(service),
    }


def _sizes(service: Service) -> dict[str, int]:
    configuration = service.configuration
    return {
        "maximum_processes": configuration.processes,
        "threads_per_process": configuration.threads,
    }


def server_metrics() -> None:
    """None: a daemon has no access to httpd's scoreboard."""
    return None
