"""A worker: takes a request from the transport, runs it through the application and out again; for
ever.

Rules: whatever the application does, the request gets an end (a response, ABORT or a closed
connection), close() of its iterable is called exactly once, and the worker lives on. SystemExit and
KeyboardInterrupt of an application are exceptions like any other: one request must not end a
process that others share.
"""

import threading
import time

from pywsgid import RequestTimeout
from pywsgid.daemon import logs
from pywsgid.daemon.application import loader
from pywsgid.daemon.transport.peer import PeerSilent, Unsent
from pywsgid.daemon.wsgi import environ as environs, errors
from pywsgid.daemon.wsgi.input import Input
from pywsgid.daemon.wsgi.response import SENT, LengthMismatch, Response, Violation, known
from pywsgid.wire import protocol

# httpd looks after a request that nobody reads for the first time after WSGID_CHANNEL_SLICE, and
# may then take it back by closing its end. So a request that is older when it is read must be
# looked at again: half a slice is on the safe side.
TAKEN_BACK_AFTER = 50_000  # microseconds
RECOVERY = 0.05  # seconds of rest for a worker that could not even tell what went wrong
TARGET = ("REQUEST_METHOD", "REQUEST_URI", logs.REQUEST_ID)


class Worker:
    """One thread and its exchange. `environ` and `since` (monotonic) are of the request that it
    runs; None: idle.
    """

    def __init__(self, number, service):
        self.number = number
        self.environ = None
        self.since = 0.0
        self.errors = None  # errors.Errors of the last request
        # What each request looks up, this worker's own: without a GIL, get() of what others have
        # made is slow.
        self.callables = {}  # (path, name) -> (callable, loaded_at)
        self.known = known()
        self._target = ()  # what TARGET names of the last request: its environ must not be kept
        self.thread = threading.Thread(target=self._run, name="wsgid-%d" % number, daemon=True)
        self._service = service
        self._exchange = service.transport.exchange()
        self._guard = (
            service.watch.guard(self, self._exchange) if service.watch is not None else None
        )

    @property
    def is_abandoned(self):
        """Whether its request is stuck for good: the process need not wait for it."""
        return self._guard is not None and self._guard.is_abandoned

    def start(self):
        self.thread.start()

    def _run(self):
        logs.current.worker = self
        try:
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
            self._service.left(self)

    def _survive(self, error):
        """An error of ours, or no memory is left: the request is lost, the worker must not be."""
        try:
            self._exchange.drop()
            self._service.page.error()
            if isinstance(error, MemoryError):
                self._service.out_of_memory()
            else:
                self._service.log.write(
                    logs.CRIT,
                    "WSGID0325: group %r: an error inside mod_wsgid, please report it:\n%s"
                    % (self._service.log.group, logs.traceback_text(error, whole=True)),
                )
        except BaseException:  # for want of memory: there is no more to be done than to go on
            time.sleep(RECOVERY)

    def _next(self):
        transport, exchange = self._service.transport, self._exchange
        try:
            return transport.next(exchange)
        except Unsent as error:
            self._tell_unsent(error.reason)
            return transport.next(exchange)

    def _tell_unsent(self, reason):
        service = self._service
        environ = dict(zip(TARGET, self._target, strict=True))
        group, line = service.log.group, environs.request_line(environ)
        if isinstance(reason, PeerSilent):
            service.log.write(
                logs.WARN,
                "WSGID0326: group %r: gave up the client of %s, %.1f s after its request began: %s, as the client is "
                "too slow; see send-timeout= and response-buffer-size="
                % (group, line, time.monotonic() - self.since, reason.strerror),
                environ,
            )
        else:
            service.log.write(
                logs.ERROR,
                "WSGID0327: group %r: the response to %s could not be sent: %s"
                % (group, line, reason),
                environ,
            )

    def _serve(self, exchange):
        service = self._service
        try:
            environ = service.template.build(exchange.environ, exchange.sent)
        except protocol.ProtocolError as error:
            service.transport.report_violation(error)
            exchange.drop()
            exchange.uncount()
            return
        if self._is_stale(exchange):
            exchange.uncount()
            return
        if service.reload_barrier is not None and service.reload_barrier.sends_away(environ):
            exchange.finish((protocol.encode_retry(),), False)
            exchange.uncount()
            return
        self.since = time.monotonic()
        self.environ = environ
        self._target = environ.get(TARGET[0], "?"), environ.get(TARGET[1]), environ.get(TARGET[2])
        request = Request(self, service, exchange, environ, self._guard)
        self.errors = request.errors
        request.run()
        if service.request_counter is not None:
            service.request_counter.count()

    def _is_stale(self, exchange):
        """A request that waited: httpd may have taken it back, or its time is up."""
        waited = exchange.waited
        if -TAKEN_BACK_AFTER < waited < TAKEN_BACK_AFTER:
            return False
        if exchange.is_hung_up():
            exchange.drop()
            return True
        limit = self._service.configuration.queue_timeout
        waited /= 1000000
        if not limit or waited <= limit:
            return False
        self._service.page.error()
        exchange.finish(
            (
                protocol.encode_abort(
                    503,
                    "WSGID0338: waited %.1f s for a free thread, queue-timeout is %g: more "
                    "processes= or threads=, or a larger queue-timeout=" % (waited, limit),
                ),
            ),
            False,
        )
        return True


class Request:
    """One request's way through the application."""

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

    def __init__(self, worker, service, exchange, environ, guard):
        self._callables = worker.callables
        self._service = service
        self._guard = guard  # stuck.Guard
        self._log = service.log
        self._exchange = exchange
        self._environ = environ
        self._input = Input(exchange, service.transport.report_violation)
        self.errors = errors.Errors(exchange, service.log)
        self._response = Response(exchange, environ.get("REQUEST_METHOD"), worker.known)

    def run(self):
        found = self._find()
        if found is None:
            return
        application, loaded_at = found
        environ = self._environ
        environ["wsgi.input"] = self._input
        environ["wsgi.errors"] = self.errors
        environ["wsgi.early_hints"] = self._response.early_hints
        environ["wsgid.client_gone"] = self._response.client_gone
        environ["mod_wsgi.application_start"] = loaded_at
        result = None
        try:
            if self._guard is None:
                result = application(environ, self._response.start_response)
                self._response.run(result)
            else:

                def call():
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
            self.errors.detach()
            # With a close() to call, the response leaves before it, and the connection need not
            # wait for it.
            close = self._closer(result)
            if close is not None:
                self._exchange.flush()
            self._response.detach()
            if close is not None:
                self._close(close)

    # ---- before

    def _find(self):
        """(application, loaded_at); or None, and the request has been answered."""
        environ = self._environ
        path = environ.get("SCRIPT_FILENAME")
        if not path:
            self._answer(
                500, "WSGID0337: the request names no script: the handler wsgid-script needs a file"
            )
            return None
        name = environ.get("mod_wsgi.callable_object") or "application"
        environ["mod_wsgi.callable_object"] = name
        environ.setdefault("mod_wsgi.handler_script", "")
        found = self._callables.get((path, name))
        if found is not None:
            return found
        found = self._service.loader.find(path, name)
        if found is not None:
            self._callables[path, name] = found
            return found
        state, found = self._service.loader.load(path, name)
        if state == loader.LOADED:
            if environ.get(environs.SCRIPT_RELOADING) == "0":
                self._service.loader.get(path).is_watched = False
            return found
        self._not_loaded(state, found)
        return None

    def _not_loaded(self, state, failure):
        if state == loader.LEAVE:
            self._exchange.finish((protocol.encode_retry(),), False)
            self.errors.detach()
            self._service.leave_to_load_again(failure)
        elif state == loader.FAILED_NOW:
            if failure.trace:
                self.errors.record(logs.ERROR, failure.trace, logs.code_of(str(failure)))
            self._answer(500, str(failure))
        else:
            self._answer(
                500,
                "WSGID0335: the script has just failed to load and is tried again soon (%s)"
                % (str(failure).partition(": ")[2]),
            )

    def _answer(self, status, reason):
        self._fail(status, reason)
        self.errors.detach()

    def _fail(self, status, reason):
        """The client gets an error of ours."""
        self._service.page.error()
        self._response.fail(status, reason)

    # ---- after a failure

    def _failed(self, error):
        """Tells the log and, if that is still possible, the client."""
        if self._exchange.gone and isinstance(error, OSError):
            if self._exchange.unsent is None:  # else the worker has more to say
                self._log.write(
                    logs.DEBUG,
                    "WSGID0324: group %r: the client went away during %s (%s)"
                    % (self._log.group, environs.request_line(self._environ), error),
                )
            self._exchange.drop()
            return
        reason = self._reason(error)
        self.errors.flush()
        # Where a rule was broken is worth a traceback only if that was in the application's own
        # call.
        if (
            not isinstance(error, (Violation, protocol.ProtocolError))
            or logs.application_trace(error) is not None
        ):
            self.errors.record(logs.ERROR, logs.traceback_text(error), logs.code_of(reason))
        if self._exchange.gone:
            self._log.write(logs.ERROR, "%s [%s]" % (reason, environs.request_line(self._environ)))
            self._exchange.drop()
            return
        self._fail(504 if isinstance(error, RequestTimeout) else 500, reason)

    def _reason(self, error):
        if isinstance(error, RequestTimeout):
            limit = self._service.configuration.request_timeout
            return (
                "WSGID0358: no answer within request-timeout=%g: where it was then stands above"
                % limit
            )
        if isinstance(error, LengthMismatch):
            return "WSGID0343: the application broke WSGI: %s" % error
        if isinstance(error, Violation):
            return "WSGID0341: the application broke WSGI: %s" % error
        if isinstance(error, protocol.LocalProtocolError):
            return "WSGID0345: the application's response cannot be sent: %s" % error
        if self._response.state >= SENT:
            return (
                "WSGID0342: the application raised %s after its headers had gone to httpd: the client gets a 500, or a "
                "response that breaks off where some of it had gone on" % logs.describe(error)
            )
        return "WSGID0340: the application raised %s" % logs.describe(error)

    # ---- close()

    def _closer(self, result):
        try:
            return getattr(result, "close", None)
        except BaseException as error:
            self._close_failed(error)
            return None

    def _close(self, close):
        try:
            if self._guard is None:
                close()
            else:
                self._guard.run(self._environ, self._input, close)
        except BaseException as error:
            self._close_failed(error)

    def _close_failed(self, error):
        self._log.write(
            logs.ERROR,
            "WSGID0344: group %r: close() of the response to %s raised %s; the response itself had been "
            "sent\n%s"
            % (
                self._log.group,
                environs.request_line(self._environ),
                logs.describe(error),
                logs.traceback_text(error),
            ),
        )
