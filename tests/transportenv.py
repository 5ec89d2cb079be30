"""The daemon's transport in the test's own process: the real extension on a real listener, without
a daemon around it. daemonenv.Client connects to it.
"""

from __future__ import annotations

import mmap
import os
import socket
from pathlib import Path
from typing import Any

from daemonenv import Client

from pywsgid.daemon.process.descriptors import Descriptors
from pywsgid.daemon.process.page import Page
from pywsgid.daemon.transport import extension, hotpath
from pywsgid.wire import process_abi


class LocalTransport:
    """`transport` is a hotpath.Transport, `exchange` its only worker's Exchange. `log` is a
    logs.Log or a stand-in for one.
    """

    def __init__(self, directory: Path, log: Any) -> None:
        self.path = str(directory / "transport")
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        listener.bind(self.path)
        listener.listen(100)
        listener.setblocking(False)
        self.page = Page(mmap.mmap(-1, process_abi.PAGE_SIZE), 1)
        self.transport = hotpath.Transport(
            extension.load(),
            listener.detach(),  # drain() closes it
            {os.getuid()},
            5,
            0,
            False,
            log,
            self.page,
            Descriptors(log, None),
        )
        self.transport.open()
        self.exchange = self.transport.exchange()

    def connect(self) -> Client:
        return Client(self.path)

    def next(self) -> bool:
        return self.transport.next(self.exchange)

    def __enter__(self) -> LocalTransport:
        return self

    def __exit__(self, *_: object) -> None:
        self.transport.drain()
