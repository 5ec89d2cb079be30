"""The events of `mod_wsgi`: who has subscribed, and how they are called.

Rules: a callback that raises is logged (WSGID0501) and called again at the next event; nobody else
notices. What a callback returns as a dict is added to the event for those after it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pywsgid.daemon import logs
from pywsgid.daemon.mod_wsgi_api import observed
from pywsgid.daemon.system import _thread
from pywsgid.wire import process_abi

if TYPE_CHECKING:
    from collections.abc import Callable

    from pywsgid.daemon.interfaces import Service
    from pywsgid.daemon.mod_wsgi_api.metrics import Metrics

    Callback = Callable[..., Any]
    Event = dict[str, Any]

# Why the process asked to be replaced -> mod_wsgi's name of it.
REASONS = {
    process_abi.REPLACE_CHANGED: "script_reload",
    process_abi.REPLACE_REQUESTS: "maximum_requests",
    process_abi.REPLACE_INTERVAL: "restart_interval",
    process_abi.REPLACE_INACTIVITY: "inactivity_timeout",
    process_abi.REPLACE_MEMORY: "memory_limit",
    process_abi.REPLACE_STUCK: "request_timeout",
}


class Events:
    """The subscriptions of this process. `data` is request_data()."""

    def __init__(
        self, service: Service, metrics: Metrics, data: Callable[[], dict[str, Any]]
    ) -> None:
        self.callbacks: list[Callback] = []
        self.shutdown_callbacks: list[Callback] = []
        self.signal_callbacks: list[Callback] = []
        self._service = service
        self._metrics = metrics
        self._data = data

    # ---- what the application calls

    def subscribe_events(self, callback: Callback) -> Callback:
        """`callback(name, **event)` is called for every event. Returns it, as a decorator does."""
        self._observe_requests()
        return self._subscribe(callback, self.callbacks)

    def subscribe_shutdown(self, callback: Callback) -> Callback:
        """For the event process_stopping alone."""
        return self._subscribe(callback, self.shutdown_callbacks)

    def subscribe_signals(self, callback: Callback) -> Callback:
        """For the event process_signal alone: SIGUSR2 has come."""
        return self._subscribe(callback, self.signal_callbacks)

    def start_recording_metrics(self) -> None:
        """From now on request_metrics() and process_metrics() have something to return."""
        self._metrics.start()
        self._observe_requests()

    def _subscribe(self, callback: Callback, callbacks: list[Callback]) -> Callback:
        if not callable(callback):
            raise TypeError("the callback must be callable, not " + type(callback).__name__)
        callbacks.append(callback)
        life = self._service.life
        life.at_end, life.at_signal = self._stopping, self._signal
        return callback

    def _observe_requests(self) -> None:
        observer = observed.Observer(self.callbacks, self.publish, self._metrics, self._data)
        self._service.request_type = observer.request

    # ---- what happens

    def publish(self, name: str, event: Event) -> None:
        """Calls everybody who has subscribed to all events."""
        self._call(self.callbacks, name, event)

    def _stopping(self) -> None:
        """The process ends. For the main thread, which then waits for the other ones."""
        life = self._service.life
        reason = REASONS.get(life.replacement_reason)
        if reason is None:
            is_stopped = life.left_because.endswith(("SIGTERM", "SIGINT"))
            reason = "shutdown_signal" if is_stopped else "graceful_signal"
        callbacks = [*self.callbacks, *self.shutdown_callbacks]
        self._call(callbacks, "process_stopping", {"shutdown_reason": reason})

    def _signal(self, name: str, number: int) -> None:
        """A signal has come that has no effect on the life of the process. In a thread of its own,
        because the main thread must not wait for the application.
        """
        event = {"signame": name, "signum": number}
        callbacks = [*self.callbacks, *self.signal_callbacks]
        _thread.start_new_thread(self._call, (callbacks, "process_signal", event))

    def _call(self, callbacks: list[Callback], name: str, event: Event) -> None:
        for callback in callbacks[:]:
            try:
                more = callback(name, **event)
                if isinstance(more, dict):
                    event.update(more)
            except (Exception, SystemExit) as error:
                self._service.log.write(
                    logs.ERROR,
                    "WSGID0501: group %r: a callback for mod_wsgi's events, %r, raised %s at the "
                    "event %s: fix it\n%s"
                    % (
                        self._service.log.group,
                        getattr(callback, "__qualname__", callback),
                        logs.describe(error),
                        name,
                        logs.traceback_text(error),
                    ),
                )
