"""A worker: a thread that takes requests from the transport, one after the other, and runs each
through the application.

Rules: whatever the application does, the request gets an end (a response, ABORT or a closed
connection), close() of its iterable is called exactly once, and the worker goes on. SystemExit and
KeyboardInterrupt of an application are exceptions like any other: one request must not end a
process that others share.
"""

from __future__ import annotations

from pywsgid import RequestTimeout
from pywsgid.daemon import cpython, logs
from pywsgid.daemon.application import loader
from pywsgid.daemon.request_info import SCRIPT_RELOADING, request_line, script_of
from pywsgid.daemon.system import _thread, time
from pywsgid.daemon.transport.peer import PeerSilent, Unsent
from pywsgid.daemon.wsgi import errors
from pywsgid.daemon.wsgi.environ import waited_in_httpd
from pywsgid.daemon.wsgi.input import Input
from pywsgid.daemon.wsgi.response import COMPLETE, SENT, Response, known
from pywsgid.daemon.wsgi.rules import LengthMismatch, Violation
from pywsgid.wire import protocol

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from pywsgid.daemon.interfaces import Application, Environ, Exchange, Guard, Service

# httpd checks a request that nobody has read yet after WSGID_CHANNEL_SLICE for the first time, and
# may then take it back by closing its end. So whether an older request is still there must be
# checked when it is read. Half a slice is on the safe side.
TAKEN_BACK_AFTER = 50_000  # microseconds
RECOVERY = 0.05  # seconds of rest for a worker that could not even log what went wrong
LEFT_OUT_SAID: set[str] = set()  # the scripts for which WSGID0348 has been logged
TARGET = ("REQUEST_METHOD", "REQUEST_URI", logs.REQUEST_ID)  # what _target keeps of a request


class Worker:
    """One thread and its exchange. `environ` and `since` (time.monotonic()) are those of the
    request that it runs; `environ` is None while it is idle.
    """

    def __init__(self, number: int, service: Service) -> None:
        self.number = number
        self.environ: Environ | None = None
        self.since = 0.0
        self.errors: errors.Errors | None = None  # of the last request
        # What each request looks up: this worker's own, because without a GIL get() of a dict that
        # other threads have filled is slow.
        self.callables: dict[tuple[str, str], Application] = {}  # see Loader.find()
        self.known = known()
        # TARGET of the last request, for messages that come later: its environ must not be kept.
        self._target: tuple[Any, ...] = ()
        self.identity = 0  # of its thread (_thread.get_ident())
        self._service = service
        self._exchange: Exchange = service.transport.exchange()
        self._guard: Guard | None = None
        if service.watch is not None:
            self._guard = service.watch.guard(self, self._exchange)

    @property
    def is_abandoned(self) -> bool:
        """Whether its request is stuck for good: the process does not wait for this worker."""
        return self._guard is not None and self._guard.is_abandoned

    @property
    def is_deserted(self) -> bool:
        """Whether httpd waits for its request no more."""
        return self._exchange.is_hung_up()

    def start(self) -> None:
        """RuntimeError or MemoryError if the system refuses the thread."""
        _thread.start_new_thread(self._run, ())

    def _run(self) -> None:
        self.identity = _thread.get_ident()
        logs.current.worker = self
        try:
            cpython.name_thread("wsgid-%d" % self.number)
            while True:
                try:
                    if not self._next():
                        break
                    self._serve(self._exchange)
                except BaseException as error:
                    self._survive(error)
                finally:
                    self.environ = None
        finally:
            self._service.worker_ended()

    def _survive(self, error: BaseException) -> None:
        """An error of ours, or out of memory: the request is lost, but the worker goes on."""
        try:
            self._exchange.drop()
            self._service.page.error()
            if isinstance(error, MemoryError):
                self._service.out_of_memory()
            else:
                self._service.log.write(
                    logs.CRIT,
                    "WSGID0325: group %r: internal error in mod_wsgid, please report it:\n%s"
                    % (self._service.log.group, logs.traceback_text(error, whole=True)),
                )
        except BaseException:  # no memory for that either: all that is left is to go on
            time.sleep(RECOVERY)

    def _next(self) -> bool:
        """Sends the last response and waits for a request. False: the process leaves."""
        transport, exchange = self._service.transport, self._exchange
        try:
            return transport.next(exchange)
        except Unsent as error:
            self._log_unsent(error.reason)
            return transport.next(exchange)

    def _log_unsent(self, reason: OSError) -> None:
        """The end of the last response could not be sent."""
        service = self._service
        environ = dict(zip(TARGET, self._target, strict=True))
        group, line = service.log.group, request_line(environ)
        if isinstance(reason, PeerSilent):
            service.log.write(
                logs.WARN,
                "WSGID0326: group %r: the response to %s is cut off %.1f s after the request "
                "began: %s, because the client reads too slowly; if such clients matter, raise "
                "response-spool-size= or send-timeout="
                % (group, line, time.monotonic() - self.since, reason.strerror),
                environ,
            )
        else:
            service.log.write(
                logs.ERROR,
                "WSGID0327: group %r: the response to %s could not be sent and is cut off: %s; the "
                "process or its user has too many open files (ulimit -n), or memory has run out"
                % (group, line, reason),
                environ,
            )

    def _serve(self, exchange: Exchange) -> None:
        """Runs the request that has been read, or sends it back unstarted."""
        service = self._service
        try:
            environ = service.template.build(exchange.environ, exchange.sent, exchange.waited)
        except protocol.ProtocolError as error:
            service.transport.report_violation(error)
            exchange.drop()
            exchange.uncount()
            return
        if not service.configuration.threads:
            self._refuse(exchange)
            return
        if self._is_stale(exchange, environ):
            exchange.uncount()
            return
        if service.reload_barrier is not None and service.reload_barrier.sends_away(environ):
            exchange.finish((protocol.encode_retry(),), False)
            exchange.uncount()
            return
        self.since = time.monotonic()
        environ["mod_wsgi.thread_id"] = self.number
        self.environ = environ
        self._target = environ.get(TARGET[0], "?"), environ.get(TARGET[1]), environ.get(TARGET[2])
        request = service.request_type(self, service, exchange, environ, self._guard)
        self.errors = request.errors
        request.run()
        if service.request_counter is not None:
            service.request_counter.count()

    def _refuse(self, exchange: Exchange) -> None:
        """threads=0: the process only imports its scripts."""
        self._service.page.error()
        reason = (
            "WSGID0372: group %r has threads=0, so it only imports scripts (WSGIImportScript) and "
            "runs no requests: send this URL to another group, or raise threads="
            % self._service.log.group
        )
        exchange.finish((protocol.encode_abort(500, reason),), False)
        exchange.uncount()

    def _is_stale(self, exchange: Exchange, environ: Environ) -> bool:
        """Whether a request has waited too long: httpd has taken it back; or the process is
        overloaded or queue-timeout is over, which is answered here.
        """
        waited = exchange.waited
        if -TAKEN_BACK_AFTER < waited < TAKEN_BACK_AFTER:
            return False
        if exchange.is_hung_up():  # but read all the same, so httpd has to be told
            exchange.finish((protocol.encode_retry(),), False)
            return True
        overload = self._service.overload
        if overload is None:
            return self._is_timed_out(exchange, waited / 1000000)
        if not overload.refuses(exchange.sent, waited, waited_in_httpd(environ)):
            return False
        self._service.page.error()
        exchange.finish((protocol.encode_overloaded(),), True)
        return True

    def _is_timed_out(self, exchange: Exchange, waited: float) -> bool:
        limit = self._service.configuration.queue_timeout
        if waited <= limit:
            return False
        self._service.page.error()
        exchange.finish(
            (
                protocol.encode_abort(
                    503,
                    "WSGID0338: the request waited %.1f s for a free thread, longer than "
                    "queue-timeout=%g: raise processes= or threads=, or "
                    "queue-timeout=" % (waited, limit),
                ),
            ),
            False,
        )
        return True


class Request:
    """One request, from the environ to close() of the application's iterable."""

    __slots__ = (
        "_callables",
        "_guard",
        "_service",
        "_log",
        "_exchange",
        "_environ",
        "_input",
        "errors",
        "_response",
    )

    def __init__(
        self,
        worker: Worker,
        service: Service,
        exchange: Exchange,
        environ: Environ,
        guard: Guard | None,
    ) -> None:
        self._callables = worker.callables
        self._service = service
        self._guard = guard
        self._log = service.log
        self._exchange = exchange
        self._environ = environ
        self._input = Input(exchange, service.transport.report_violation)
        self.errors = errors.Errors(exchange, service.log)
        self._response = Response(exchange, environ.get("REQUEST_METHOD"), worker.known)

    def run(self) -> None:
        """Calls the application (PEP 3333, "The Application/Framework Side") and sends its
        response. Raises only errors of ours.
        """
        application = self._find()
        if application is None:
            return
        environ = self._environ
        environ["wsgi.input"] = self._input
        environ["wsgi.errors"] = self.errors
        environ["wsgi.early_hints"] = self._response.early_hints
        environ["wsgid.client_gone"] = self._response.client_gone
        environ["mod_wsgi.application_start"] = time.time()
        result: Any = None
        try:
            if self._guard is None:
                result = application(environ, self._response.start_response)
                self._response.run(result)
            else:

                def call() -> None:
                    nonlocal result
                    result = application(environ, self._response.start_response)
                    self._response.run(result)

                self._guard.run(environ, self._input, call)
        except BaseException as error:
            self._failed(error)
        finally:
            self._input.detach()
            for stream in self._service.streams:
                if stream.has_begun:
                    stream.flush()
            self.errors.end()
            if self._response.left_out:
                self._say_left_out(self._response.left_out)
            # The response is sent before close() is called, so that nobody has to wait for that.
            close = self._closer(result)
            if close is not None:
                self._exchange.flush()
            self._response.detach()
            if close is not None:
                self._close(close)

    # ---- before

    def _find(self) -> Application | None:
        """The application; None: the request has been answered."""
        environ = self._environ
        path = script_of(environ)
        if not path:
            self._answer(
                500,
                "WSGID0337: no script belongs to this URL: use WSGIScriptAlias, or set the handler "
                "wsgid-script only for files that exist",
            )
            return None
        name = environ.get("mod_wsgi.callable_object") or "application"
        environ["mod_wsgi.callable_object"] = name
        found = self._callables.get((path, name))
        if found is not None:
            return found
        scripts: loader.Loader = self._service.loader
        found = scripts.find(path, name)
        if found is not None:
            self._callables[path, name] = found
            return found
        state, loaded = scripts.load(path, name)
        if isinstance(loaded, loader.LoadFailure):
            self._not_loaded(state, loaded)
            return None
        if environ.get(SCRIPT_RELOADING) == "0":
            script = scripts.get(path)
            if script is not None:
                script.is_watched = False
        return loaded

    def _not_loaded(self, state: int, failure: loader.LoadFailure) -> None:
        """Answers a request whose script or callable cannot be had; `state` is the loader's."""
        if state == loader.LEAVE:
            self._exchange.finish((protocol.encode_retry(),), False)
            self.errors.end()
            self._service.leave_to_load_again(failure)
        elif state == loader.FAILED_NOW:
            if failure.trace:
                self.errors.record(logs.ERROR, failure.trace, logs.code_of(str(failure)))
            self._answer(500, str(failure))
        else:
            self._answer(
                500,
                "WSGID0335: the script failed to load a moment ago and has not been tried again "
                "yet (%s)" % (str(failure).partition(": ")[2]),
            )

    def _answer(self, status: int, reason: str) -> None:
        """Answers a request that does not reach the application."""
        self._fail(status, reason)
        self.errors.end()

    def _fail(self, status: int, reason: str) -> None:
        """Ends the response with an error of ours (Response.fail())."""
        self._service.page.error()
        self._response.fail(status, reason)

    # ---- after a failure

    def _failed(self, error: BaseException) -> None:
        """Logs an error and, if that is still possible, answers the client."""
        if self._exchange.gone and (isinstance(error, OSError) or logs.is_disconnect(error)):
            if self._exchange.unsent is None:  # else the worker logs the reason (WSGID0326)
                self._log.write(
                    logs.DEBUG,
                    "WSGID0324: group %r: the client disconnected during %s (%s)"
                    % (self._log.group, request_line(self._environ), error),
                )
            self._exchange.drop()
            return
        reason = self._reason(error)
        self.errors.flush()
        # For a broken rule a traceback is logged only if it shows a call of the application.
        if (
            not isinstance(error, (Violation, protocol.ProtocolError))
            or logs.application_trace(error) is not None
        ):
            self.errors.record(logs.ERROR, logs.traceback_text(error), logs.code_of(reason))
        if self._exchange.gone:
            self._log.write(logs.ERROR, "%s [%s]" % (reason, request_line(self._environ)))
            self._exchange.drop()
            return
        if self._response.state == COMPLETE:  # httpd does not hear of it, so it cannot log it
            self._log.write(logs.ERROR, "%s [%s]" % (reason, request_line(self._environ)))
            return
        self._fail(504 if isinstance(error, RequestTimeout) else 500, reason)

    def _reason(self, error: BaseException) -> str:
        """The message for an error, with its code."""
        if self._response.state == COMPLETE and not isinstance(error, Violation):
            return (
                "WSGID0342: the application raised %s after its whole response had been sent: the "
                "client has got it" % logs.describe(error)
            )
        if isinstance(error, RequestTimeout):
            limit = self._service.configuration.request_timeout
            return (
                "WSGID0358: no answer within request-timeout=%g: the request was interrupted where "
                "the traceback above ends; make it faster, or raise request-timeout=" % limit
            )
        if isinstance(error, LengthMismatch):
            return (
                "WSGID0343: the application violates WSGI: %s: correct or remove that header"
                % error
            )
        if isinstance(error, Violation):
            return "WSGID0341: the application violates WSGI: %s" % error
        if isinstance(error, protocol.LocalProtocolError):
            return (
                "WSGID0345: the headers of the application's response cannot be sent: %s: send "
                "fewer or shorter headers" % error
            )
        if self._response.state >= SENT:
            return (
                "WSGID0342: the application raised %s after its first block: the client gets a "
                "response that breaks off" % logs.describe(error)
            )
        return "WSGID0340: the application raised %s" % logs.describe(error)

    def _say_left_out(self, names: list[str]) -> None:
        """Headers of the application are not sent. Logged once for each script."""
        script = script_of(self._environ)
        if script not in LEFT_OUT_SAID:
            LEFT_OUT_SAID.add(script)
            self._log.write(
                logs.WARN,
                "WSGID0348: group %r: the response to %s has the header %s, which is about one "
                "connection and is left out, as those are httpd's (PEP 3333, \"Other HTTP "
                'Features"): remove it from %s; this is said once'
                % (self._log.group, request_line(self._environ), ", ".join(names), script),
            )

    # ---- close()

    def _closer(self, result: Any) -> Callable[[], object] | None:
        """close() of what the application has returned; None: it has none."""
        try:
            close: Callable[[], object] | None = getattr(result, "close", None)
            return close
        except BaseException as error:
            self._close_failed(error)
            return None

    def _close(self, close: Callable[[], object]) -> None:
        try:
            if self._guard is None:
                close()
            else:
                self._guard.run(self._environ, self._input, close)
        except BaseException as error:
            self._close_failed(error)

    def _close_failed(self, error: BaseException) -> None:
        self._log.write(
            logs.ERROR,
            "WSGID0344: group %r: close() of the response to %s raised %s; the response itself has "
            "been sent: fix close()\n%s"
            % (
                self._log.group,
                request_line(self._environ),
                logs.describe(error),
                logs.traceback_text(error),
            ),
        )
