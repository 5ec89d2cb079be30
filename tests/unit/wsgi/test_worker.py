"""A worker, with a transport of our own."""

from __future__ import annotations

from types import SimpleNamespace

from pywsgid.daemon.wsgi import worker
from pywsgid.wire import protocol


class Exchange:
    """A request that has waited, and on which httpd has hung up since a thread has read it."""

    environ, sent, waited = b"", 0, 10 * worker.TAKEN_BACK_AFTER
    finished, kept, counted = (), True, True

    def is_hung_up(self):
        return True

    def finish(self, parts, keep):
        self.finished, self.kept = parts, keep

    def uncount(self):
        self.counted = False


def test_a_request_that_httpd_takes_back_while_a_thread_reads_it_is_sent_back():
    """A connection that is only closed would say that the process died while it ran the request."""
    exchange = Exchange()
    service = SimpleNamespace(
        template=SimpleNamespace(build=lambda environ, sent, waited: {}),
        transport=SimpleNamespace(exchange=lambda: exchange),
        watch=None,
        configuration=SimpleNamespace(threads=1),
    )
    worker.Worker(0, service)._serve(exchange)
    assert exchange.finished == (protocol.encode_retry(),)
    assert not exchange.kept
    assert not exchange.counted
