"""The daemon's main function: creates the parts of the process and connects them. Decides nothing
else.

Rules: nothing is imported that a request does not need. Start-up time and memory are features, and
a small application stays small. What is needed only when something goes wrong is imported then.

From exec to ready, hello world, 15 threads, Debian 12 with its Python 3.11, bytecode cached: 31 ms,
of which `python -c pass` takes 17 (medians of 25); 11 MB resident. `threading` takes 4.6 ms of the
rest. It stays, as the main thread must import it first: else it takes the application's first
thread for the main one. `socket`, `signal` and `logging` would add 3 to 8 ms each.
"""

from __future__ import annotations

import faulthandler
import sys
import threading

from pywsgid.daemon import configuration as configurations, cpython, logs, streams
from pywsgid.daemon.application import (
    loader,
    logging_import,
    module_conflicts,
    reloader,
    signal_calls,
)
from pywsgid.daemon.mod_wsgi_api import modules
from pywsgid.daemon.process import (
    control,
    descriptors,
    lifecycle,
    main_loop,
    page,
    signals,
    title,
    wakeup,
    watchdog,
)
from pywsgid.daemon.system import _thread, os, time
from pywsgid.daemon.transport import extension, hotpath
from pywsgid.daemon.wsgi import environ, overload, worker
from pywsgid.wire import process_abi

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import NoReturn

    from pywsgid.daemon.configuration import Configuration
    from pywsgid.daemon.interfaces import RequestCounter, Transport, Watch

# Bytes. No configuration is that large; a descriptor without an end must not be read for ever.
CONFIGURATION_MAX = 16 * 1024 * 1024


class Service:
    """What the parts of this process share. `transport` is set before the first worker is made, and
    `request_type` is what workers run; `reload_barrier`, `request_counter` and `watch` are None if
    the configuration does not ask for them, and `overload` if queue-timeout says how long requests
    may wait.
    """

    def __init__(self, log: logs.Log, configuration: Configuration, statistics: page.Page) -> None:
        self.log = log
        self.configuration = configuration
        self.page = statistics
        owner = configuration.script_uid, configuration.script_gid
        conflicts = module_conflicts.ModuleConflicts(
            log.group, configuration.application_group, lambda line: log.write(logs.ERROR, line)
        )
        self.loader = loader.Loader(self.script_loaded, owner, conflicts)
        self.started = time.time()
        self.template = environ.Template(configuration)
        self.request_type: Callable[..., worker.Request] = worker.Request
        self.signals = signals.SignalPipe()
        self.signal_calls = signal_calls.SignalCalls(log, signals.OWN, self.signals.wake)
        self.life = lifecycle.Lifecycle(log, configuration, statistics, self.signals.wake)
        self.loop = main_loop.MainLoop(
            log, configuration, self.life, self.signals, process_abi.FD_LIFELINE
        )
        self.descriptors = descriptors.Descriptors(log, self.life)
        self.transport: Transport
        self.streams: tuple[streams.Stream, ...] = ()
        self.changes = reloader.Changes(self.loader, self.life)
        self.reload_barrier: reloader.ReloadBarrier | None = None
        if configuration.reload == "touch":
            self.reload_barrier = self._make_reload_barrier(True)
        self.request_counter: RequestCounter | None = None
        self.watch: Watch | None = None
        self.overload: overload.Overload | None = None
        self._is_warned_of_locks = False

    def _make_reload_barrier(self, holds: bool) -> reloader.ReloadBarrier:
        return reloader.ReloadBarrier(self.loader, self.changes, self.life, self.log, holds)

    def script_loaded(self, script: loader.Script, name: str) -> None:
        """A script has been loaded, and has the callable `name`."""
        self.page.loaded(name, script.path)
        if self.configuration.threads > 1 and cpython.are_locks_replaced():
            self._warn_of_locks()
        if (
            script.reload_required is not None
            and self.reload_barrier is None
            and self.configuration.reload != "off"
        ):
            self.reload_barrier = self._make_reload_barrier(False)

    def _warn_of_locks(self) -> None:
        if not self._is_warned_of_locks:
            self._is_warned_of_locks = True
            self.log.write(
                logs.WARN,
                "WSGID0373: group %r: the application has replaced Python's locks (gevent or "
                "eventlet do that), and theirs may hang when several threads want one: set "
                "threads=1, and raise processes=" % self.log.group,
            )

    def worker_ended(self) -> None:
        """A worker's thread has ended."""
        self.life.worker_ended()

    def out_of_memory(self) -> None:
        """A request was lost because memory ran out (memory-limit, virtual-memory-limit): a new
        process has more.
        """
        self.log.write(
            logs.ERROR,
            "WSGID0346: group %r: memory has run out, and a request was lost: find out what grows, "
            "or raise memory-limit= or virtual-memory-limit=; maximum-rss= replaces a process "
            "before it comes to that" % self.log.group,
        )
        self.life.request_replacement(process_abi.REPLACE_MEMORY, "its memory has run out")

    def leave_to_load_again(self, failure: Exception) -> None:
        """The only script could not be loaded and is to be tried again, by a clean process."""
        self.log.write(
            logs.NOTICE,
            "WSGID0336: group %r: leaving, so that a clean process tries to load the script again "
            "(%s)" % (self.log.group, failure),
        )
        bound = self.configuration.graceful_timeout
        why = "a clean process is to load its script again"
        self.life.step("unfit", why, bound, process_abi.EXIT_LOAD)


def main() -> int:
    """Runs the daemon until the process ends. Returns an exit code if it cannot begin."""
    # Until the process is ready, Ctrl-C in httpd's terminal ends it without a traceback.
    cpython.signals.signal(cpython.signals.SIGINT, cpython.signals.SIG_DFL)
    log = logs.Log()
    try:
        configuration = read_configuration()
        log.level, log.group = configuration.log_level, configuration.label
        log.request_level = max(configuration.log_level, configuration.request_log_level)
        memory = page.map_page(process_abi.FD_STATISTICS, configuration.page)
        statistics = page.Page(memory, configuration.threads)
        # Before the close: either the title or the descriptor shows at any time whose daemon it is.
        title.set_title(configuration.title)
        os.close(process_abi.FD_CONFIGURATION)
        keep_private(configuration)
    except (configurations.ConfigurationError, OSError) as error:
        log.write(
            logs.CRIT,
            "WSGID0301: group %r: the daemon cannot use what httpd has passed to it: %s; "
            "mod_wsgid.so and the package pywsgid beside it must be of one version: install both "
            "from one release, and restart httpd" % (log.group, error),
        )
        return process_abi.EXIT_CONFIGURATION
    serve(Service(log, configuration, statistics))


def serve(service: Service) -> NoReturn:
    """Loads the scripts, serves, and ends the process."""
    log, configuration, life = service.log, service.configuration, service.life
    service.streams = set_up(log, configuration)
    logging_import.when_imported("signal", service.signal_calls.adopt)
    modules.install(service)
    watch = watchdog.BootWatch(
        log, life, service.page, configuration.startup_timeout, process_abi.FD_LIFELINE
    )
    if not preload(service):
        log.write(
            logs.ERROR,
            "WSGID0306: group %r: the process exits, because it cannot load the scripts that it "
            "needs: the messages above say why" % log.group,
        )
        life.step("unloadable")
    watch.stop()
    allowed = {0, os.geteuid(), configuration.httpd_uid}
    service.transport = make_transport(service, allowed)
    if configuration.stack_size:
        _thread.stack_size(configuration.stack_size)
    add_periodic_tasks(service)
    workers = make_workers(service)
    service.signals.take_signals()
    service.signal_calls.catches = True
    life.begin(service.transport, workers, lambda: announce(service))
    service.loop.run(control.Control(service, {0, os.geteuid()}))
    life.end()


def add_periodic_tasks(service: Service) -> None:
    """Creates the periodic tasks that the configuration asks for. To be called when the process is
    about to be ready.
    """
    configuration, life, log = service.configuration, service.life, service.log
    tasks = service.loop.tasks
    tasks.append(service.descriptors)
    tasks.append(service.signal_calls)
    if configuration.reload == "hot":
        tasks.append(reloader.Reloader(service.changes))
    if configuration.deadlock_timeout:
        tasks.append(watchdog.Deadlock(configuration.deadlock_timeout, service.page))
    if not configuration.queue_timeout:
        ready_at = time.time_ns() // 1000
        service.overload = overload.Overload(
            log, service.page, life.wake, ready_at, service.configuration.more_processes
        )
        tasks.append(service.overload)
    if configuration.has_limits:
        from pywsgid.daemon.process.limits import Limits

        limits = Limits(log, life, service.page, configuration)
        tasks.append(limits)
        service.request_counter = limits.requests
    if configuration.watches_requests:
        from pywsgid.daemon.process import stuck

        watch = stuck.Watch(log, life, configuration, service.page)
        tasks.append(watch)
        service.watch = watch


def read_configuration() -> Configuration:
    """The configuration on its descriptor. ConfigurationError, OSError."""
    pieces = []
    offset = 0
    while offset < CONFIGURATION_MAX:
        piece = os.pread(process_abi.FD_CONFIGURATION, 65536, offset)
        if not piece:
            break
        pieces.append(piece)
        offset += len(piece)
    return configurations.parse(b"".join(pieces))


def keep_private(configuration: Configuration) -> None:
    """Has the descriptors that came through exec closed in programs that the application starts.
    OSError if one is missing.
    """
    for descriptor in (
        process_abi.FD_LISTENER,
        process_abi.FD_LIFELINE,
        process_abi.FD_WAKEUP,
        process_abi.FD_CONTROL,
    ):
        os.set_inheritable(descriptor, False)
    if configuration.successor:
        os.set_inheritable(process_abi.FD_PREDECESSOR, False)


def set_up(log: logs.Log, configuration: Configuration) -> tuple[streams.Stream, ...]:
    """Prepares the interpreter for the application; returns the captured streams."""
    faulthandler.enable(file=2)
    captured = streams.capture_streams(log)
    threading.excepthook = lambda raised: log_thread_failure(log, raised)
    logging_import.when_imported("logging", lambda: adopt_logging(log))
    if configuration.threads > 1:
        cpython.keep_import_locks()
    sys.argv = ["mod_wsgid"]
    if configuration.switch_interval:
        sys.setswitchinterval(configuration.switch_interval)
    add_paths(log, configuration)
    return captured


def log_thread_failure(log: logs.Log, raised: threading.ExceptHookArgs) -> None:
    """threading.excepthook. Python's own writes the traceback to sys.stderr in pieces, which would
    be logged at warn.
    """
    if raised.exc_type is SystemExit:
        return
    error = raised.exc_value if raised.exc_value is not None else raised.exc_type()
    log.write(
        logs.ERROR,
        "WSGID0347: group %r: a thread of the application, %r, has ended because it raised %s\n%s"
        % (
            log.group,
            getattr(raised.thread, "name", "?"),
            logs.describe(error),
            logs.traceback_text(error),
        ),
    )


def adopt_logging(log: logs.Log) -> None:
    """`logging` has been imported."""
    from pywsgid.daemon.application import log_records

    log_records.adopt(log)


def add_paths(log: logs.Log, configuration: Configuration) -> None:
    """Puts home and python-path first in sys.path, with what .pth files there add."""
    before = sys.path[:]
    if configuration.home:
        sys.path.append(configuration.home)
    if configuration.python_path:
        import site

        for directory in configuration.python_path:
            if not os.path.isdir(directory):
                log.write(
                    logs.WARN,
                    "WSGID0308: group %r: %s in python-path= is not a directory, or the user of "
                    "the group, uid %d, cannot reach it: correct the path or its permissions"
                    % (log.group, directory, os.geteuid()),
                )
            site.addsitedir(directory)
    added = [entry for entry in sys.path if entry not in before]
    named = [entry for entry in (configuration.home, *configuration.python_path) if entry in before]
    sys.path[:] = added + named + [entry for entry in before if entry not in named]


def preload(service: Service) -> bool:
    """Loads the scripts that are known, and those that the process to be replaced has loaded unless
    they have been removed since.

    False if there are some with an application (or of a group without threads) and none could be
    loaded, or if one of the other process's could not: then that one goes on serving.
    """
    wanted = {(script.path, script.callable): False for script in service.configuration.scripts}
    for script in service.configuration.loaded:
        if (script.path, script.callable) in wanted or loader.stamp_of(script.path) is not None:
            wanted[script.path, script.callable] = True
    loaded = {script: load_script(service, *script) for script in wanted}
    if any(is_needed and not loaded[script] for script, is_needed in wanted.items()):
        return False
    is_service = not service.configuration.threads
    results = [is_loaded for (_, name), is_loaded in loaded.items() if name or is_service]
    return not results or any(results)


def load_script(service: Service, path: str, callable_name: str) -> bool:
    """Loads a script before there are requests; a failure is logged."""
    _, found = service.loader.load(path, callable_name, remember=False)
    if not isinstance(found, loader.LoadFailure):
        return True
    text = "%s [group %r]" % (found, service.log.group)
    service.log.write(logs.ERROR, text + "\n" + found.trace if found.trace else text)
    error = found.__context__
    if service.configuration.successor and error is not None and loader.is_about_taken(error):
        service.log.write(
            logs.WARN,
            "WSGID0503: group %r: the process that this one should replace still runs beside it, "
            "serves with the old code, and may hold what the script wants (%s): set "
            "replacement=stop-first; `pywsgid restart %s` lets the new code take over at once"
            % (service.log.group, logs.describe(error), service.log.group),
        )
    return False


def make_transport(service: Service, allowed: set[int]) -> Transport:
    """Returns the transport, or ends the process if the extension cannot be used. To be called when
    the application is loaded, so that its own cffi comes first.
    """
    try:
        binding = extension.load()
    except extension.ExtensionError as error:
        service.log.write(
            logs.CRIT,
            "WSGID0329: group %r: this process cannot start without pywsgid's extension, its "
            "compiled part. %s" % (service.log.group, error),
        )
        for stream in service.streams:
            stream.flush()
        os._exit(process_abi.EXIT_INTERPRETER)  # without the application's atexit handlers
    return hotpath.Transport(
        binding,
        process_abi.FD_LISTENER,
        allowed,
        service.configuration.socket_timeout,
        service.configuration.send_timeout,
        service.configuration.processes >= len(os.sched_getaffinity(0)),
        service.log,
        service.page,
        service.descriptors,
    )


def make_workers(service: Service) -> list[worker.Worker]:
    """Returns the workers, whose threads do not run yet, or ends the process if there is no memory
    for all of them. With threads=0 there is one, which refuses all requests.
    """
    wanted = max(1, service.configuration.threads)
    workers: list[worker.Worker] = []
    try:
        while len(workers) < wanted:
            workers.append(worker.Worker(len(workers) + 1, service))
    except MemoryError as error:
        lifecycle.log_too_few_threads(service.log, len(workers), wanted, error)
        service.life.step("unloadable")
    return workers


def announce(service: Service) -> None:
    """Tells httpd that this process is ready, and has the process that it replaces leave."""
    service.log.write(
        logs.INFO,
        "WSGID0303: group %r: ready: Python %s, %d threads, slot %d"
        % (
            service.log.group,
            cpython.description(),
            service.configuration.threads,
            service.configuration.slot,
        ),
    )
    if service.configuration.successor:
        try:
            os.write(process_abi.FD_PREDECESSOR, bytes((process_abi.LIFELINE_LEAVE,)))
        except OSError:
            pass  # it has gone already
        os.close(process_abi.FD_PREDECESSOR)
    wakeup.wake_guardian()
