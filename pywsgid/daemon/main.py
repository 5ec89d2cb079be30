"""The daemon's main: puts configuration, log, loader, transport, workers and life cycle together,
and decides nothing else.

Rules: nothing is imported that the path of a request does not need: start-up time and memory are
features, and an application that is small stays so. What is needed only when something goes wrong
is imported there.

From exec to ready, hello world, 15 threads, Debian 12 with its Python 3.11, bytecode cached: 31 ms,
of which `python -c pass` is 17 (medians of 25); 11 MB resident. `threading` is 4.6 ms of the rest:
it stays, as it must be imported by the main thread first, or it takes the application's first
thread for that. `socket`, `signal` and `logging` would add 3 to 8 ms each.
"""

import _signal
import faulthandler
import os
import sys
import threading
import time

from pywsgid.daemon import configuration as configurations, interpreter, logs
from pywsgid.daemon.application import loader, logging_import, reloader
from pywsgid.daemon.process import control, lifecycle, page, title, wakeup, watchdog
from pywsgid.daemon.transport import extension, hotpath
from pywsgid.daemon.wsgi import environ, worker
from pywsgid.wire import process_abi

CONFIGURATION_MAX = (
    16 * 1024 * 1024
)  # far beyond any; a descriptor that never ends is not read for ever


class Service:
    """What the parts of this process share."""

    def __init__(self, log, configuration, statistics):
        self.log = log
        self.configuration = configuration
        self.page = statistics
        self.loader = loader.Loader(on_load=self.loaded)
        self.template = environ.Template(configuration, time.time())
        self.life = lifecycle.Lifecycle(log, configuration, statistics, process_abi.FD_LIFELINE)
        self.transport = None
        self.streams = ()
        self.changes = reloader.Changes(self.loader, self.life)
        self.reload_barrier = (
            self.make_reload_barrier(True) if configuration.reload == "touch" else None
        )  # None: all may start
        self.request_counter = None  # limits.Requests; None: nobody counts
        self.watch = None  # stuck.Watch; None: requests may run as long as they like

    def make_reload_barrier(self, holds):
        return reloader.ReloadBarrier(self.loader, self.changes, self.life, self.log, holds)

    def loaded(self, script, name):
        """A script has been loaded, and has the callable of that name."""
        self.page.loaded(name, script.path)
        if (
            script.reload_required is not None
            and self.reload_barrier is None
            and self.configuration.reload != "off"
        ):
            self.reload_barrier = self.make_reload_barrier(False)

    def left(self, gone):
        """A worker has ended."""
        self.life.worker_left()

    def out_of_memory(self):
        """A request was lost for want of memory (memory-limit, virtual-memory-limit): a fresh
        process is better off.
        """
        self.log.write(
            logs.ERROR,
            "WSGID0346: group %r: memory has run out, and a request with it: look for what grows, or raise "
            "memory-limit= or virtual-memory-limit=; maximum-rss= replaces a process before that"
            % self.log.group,
        )
        self.life.request_replacement(process_abi.REPLACE_MEMORY, "its memory has run out")

    def leave_to_load_again(self, failure):
        """Its only script could not be loaded and is due again: a clean process is to try."""
        self.log.write(
            logs.NOTICE,
            "WSGID0336: group %r: leaving, so that a clean process loads the script again (%s)"
            % (self.log.group, failure),
        )
        bound = self.configuration.graceful_timeout
        self.life.step("unfit", "its script is to be loaded again", bound, process_abi.EXIT_LOAD)


def main():
    """Runs the daemon to the end of the process; gives an exit code if it cannot begin."""
    _signal.signal(
        _signal.SIGINT, _signal.SIG_DFL
    )  # until it is ready, Ctrl-C in httpd's terminal needs no traceback
    log = logs.Log()
    try:
        configuration = read_configuration()
        log.level, log.group = configuration.log_level, configuration.label
        log.request_level = max(configuration.log_level, configuration.request_log_level)
        statistics = page.Page(page.map_page(process_abi.FD_STATISTICS), configuration.threads)
        title.set_title(
            configuration.title
        )  # before the close: one of the two always tells whose daemon this is
        os.close(process_abi.FD_CONFIGURATION)
        keep_private(configuration)
    except (configurations.ConfigurationError, OSError) as error:
        log.write(
            logs.CRIT,
            "WSGID0301: group %r: what httpd handed over cannot be used: %s; are module and package of one "
            "version?" % (log.group, error),
        )
        return process_abi.EXIT_CONFIGURATION
    serve(Service(log, configuration, statistics))


def serve(service):
    log, configuration = service.log, service.configuration
    service.streams = set_up(log, configuration)
    watch = watchdog.BootWatch(
        log, service.life, service.page, configuration.startup_timeout, process_abi.FD_LIFELINE
    )
    if not preload(service):
        log.write(
            logs.ERROR,
            "WSGID0306: group %r: none of its scripts, or not all that its predecessor has, could be loaded: see above"
            % log.group,
        )
        service.life.step("unloadable")
    watch.stop()
    allowed = {0, os.geteuid(), configuration.httpd_uid}
    service.transport = make_transport(log, configuration, service.page, allowed)
    if configuration.stack_size:
        threading.stack_size(configuration.stack_size)
    start_periodic_tasks(service)
    workers = make_workers(service)
    service.life.take_signals()
    service.life.run(
        service.transport, workers, lambda: announce(service), control.Control(service, allowed)
    )


def start_periodic_tasks(service):
    """Whoever looks after what the configuration asks for. What it does not ask for is not
    imported.
    """
    configuration, life, log = service.configuration, service.life, service.log
    if configuration.reload == "hot":
        life.keepers.append(reloader.Reloader(service.changes))
    if configuration.deadlock_timeout:
        life.keepers.append(watchdog.Deadlock(configuration.deadlock_timeout, service.page))
    if configuration.has_limits:
        from pywsgid.daemon.process import limits

        keeper = limits.Limits(log, life, service.page, configuration)
        life.keepers.append(keeper)
        service.request_counter = keeper.requests
    if configuration.watches_requests:
        from pywsgid.daemon.process import stuck

        service.watch = stuck.Watch(log, life, configuration, service.page)
        life.keepers.append(service.watch)


def read_configuration():
    """The block on its descriptor, parsed."""
    pieces = []
    offset = 0
    while offset < CONFIGURATION_MAX:
        piece = os.pread(process_abi.FD_CONFIGURATION, 65536, offset)
        if not piece:
            break
        pieces.append(piece)
        offset += len(piece)
    return configurations.parse(b"".join(pieces))


def keep_private(configuration):
    """What came through exec must not go on to programs that the application starts."""
    for descriptor in (
        process_abi.FD_LISTENER,
        process_abi.FD_LIFELINE,
        process_abi.FD_WAKEUP,
        process_abi.FD_CONTROL,
    ):
        os.set_inheritable(descriptor, False)
    if configuration.successor:
        os.set_inheritable(process_abi.FD_PREDECESSOR, False)


def set_up(log, configuration):
    """Makes the interpreter as the application is to find it; gives its captured streams."""
    faulthandler.enable(file=2)
    streams = logs.capture_streams(log)
    threading.excepthook = lambda raised: thread_failed(log, raised)
    logging_import.when_imported("logging", lambda: adopt_logging(log))
    sys.argv = ["mod_wsgid"]
    add_paths(log, configuration)
    return streams


def thread_failed(log, raised):
    """threading.excepthook. Python's own writes a traceback piece by piece to sys.stderr, which
    would be at warn.
    """
    if raised.exc_type is SystemExit:
        return
    error = raised.exc_value if raised.exc_value is not None else raised.exc_type()
    log.write(
        logs.ERROR,
        "WSGID0347: group %r: thread %r has ended: it raised %s\n%s"
        % (
            log.group,
            getattr(raised.thread, "name", "?"),
            logs.describe(error),
            logs.traceback_text(error),
        ),
    )


def adopt_logging(log):
    from pywsgid.daemon.application import log_records

    log_records.adopt(log)


def add_paths(log, configuration):
    """home and python-path before all others, .pth files included, in the order given."""
    before = sys.path[:]
    if configuration.home:
        sys.path.append(configuration.home)
    if configuration.python_path:
        import site

        for directory in configuration.python_path:
            if not os.path.isdir(directory):
                log.write(
                    logs.WARN,
                    "WSGID0308: group %r: python-path names %s, which is no directory that this user can see"
                    % (log.group, directory),
                )
            site.addsitedir(directory)
    added = [entry for entry in sys.path if entry not in before]
    named = [entry for entry in (configuration.home, *configuration.python_path) if entry in before]
    sys.path[:] = added + named + [entry for entry in before if entry not in named]


def preload(service):
    """Loads the scripts that are known and those that the predecessor has, unless they have been
    removed since.

    False if there are some and none could be loaded, or one of the predecessor's could not: then
    that goes on serving.
    """
    wanted = {(script.path, script.callable): False for script in service.configuration.scripts}
    for script in service.configuration.loaded:
        if (script.path, script.callable) in wanted or loader.stamp_of(script.path) is not None:
            wanted[script.path, script.callable] = True
    results = [(load_script(service, *script), is_kept) for script, is_kept in wanted.items()]
    if any(is_kept and not is_loaded for is_loaded, is_kept in results):
        return False
    return not results or any(is_loaded for is_loaded, _ in results)


def load_script(service, path, callable):
    state, found = service.loader.load(path, callable, remember=False)
    if state == loader.LOADED:
        return True
    text = "%s [group %r]" % (found, service.log.group)
    service.log.write(logs.ERROR, text + "\n" + found.trace if found.trace else text)
    return False


def make_transport(log, configuration, statistics, allowed):
    """Returns the transport, or ends the process if the extension cannot be used. To be called when
    the application is loaded, so that its own cffi comes first.
    """
    try:
        binding = extension.load()
    except extension.ExtensionError as error:
        log.write(
            logs.CRIT,
            "WSGID0329: group %r: this process cannot start: the compiled part of pywsgid, its "
            "extension, cannot be used: %s" % (log.group, error),
        )
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        os._exit(process_abi.EXIT_INTERPRETER)  # not through the application's atexit handlers
    return hotpath.Transport(
        binding,
        process_abi.FD_LISTENER,
        allowed,
        configuration.socket_timeout,
        configuration.send_timeout,
        log,
        statistics,
    )


def make_workers(service):
    """Returns the workers, whose threads do not run yet, or ends the process if there is no memory
    for all of them.
    """
    wanted = service.configuration.threads
    workers = []
    try:
        while len(workers) < wanted:
            workers.append(worker.Worker(len(workers) + 1, service))
    except MemoryError as error:
        lifecycle.log_too_few_threads(service.log, len(workers), wanted, error)
        service.life.step("unloadable")
    return workers


def announce(service):
    """Tells httpd that this process is ready, and its predecessor to leave."""
    service.log.write(
        logs.INFO,
        "WSGID0303: group %r: ready: Python %s, %d threads, slot %d"
        % (
            service.log.group,
            interpreter.description(),
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
    wakeup.wake_parent()
