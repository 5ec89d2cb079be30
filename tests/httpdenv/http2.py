"""One request over HTTP/2, recorded frame by frame: for what curl does not show.

A server that answers without reading the body ends its stream and then asks the client to stop
sending, with RST_STREAM(NO_ERROR) (RFC 9113, 8.1). Older curls (7.88) report that as a failure,
whichever handler of httpd does it.
"""

from __future__ import annotations

import socket
from dataclasses import dataclass, field

import h2.config
import h2.connection
import h2.events

WINDOW = 1 << 26  # larger than any answer here, so the server never waits for us
FIRST_WINDOW = 65535  # of every stream (RFC 9113, 6.9.2); then the server waits until we have read


@dataclass
class Answer:
    """`interim` holds the 1xx statuses. `ended` is true if the stream came to its end, `reset` is
    the code of a reset, and `then` is the result of another request on the same connection.
    """

    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    ended: bool = False
    reset: int | None = None
    sent: int = 0
    interim: list[int] = field(default_factory=list)
    then: Answer | None = None

    @property
    def is_over(self) -> bool:
        return self.ended or self.reset is not None


class Exchange:
    """A connection in clear text, one stream at a time. Up to `window` bytes of each answer may be
    in flight.
    """

    def __init__(self, port: int, window: int = WINDOW, timeout: float = 10) -> None:
        self._window = window
        self.stream = -1
        self.socket = socket.create_connection(("127.0.0.1", port), timeout)
        self.connection = h2.connection.H2Connection(h2.config.H2Configuration(client_side=True))
        self.connection.initiate_connection()
        self.connection.increment_flow_control_window(WINDOW)

    def begin(
        self, method: str, path: str, headers: list[tuple[str, str]], ended: bool = False
    ) -> Answer:
        self.stream += 2
        self.answer = Answer()
        head = [
            (":method", method),
            (":path", path),
            (":scheme", "http"),
            (":authority", "localhost"),
        ]
        self.connection.send_headers(self.stream, head + headers, end_stream=ended)
        if self._window > FIRST_WINDOW:
            self.connection.increment_flow_control_window(self._window - FIRST_WINDOW, self.stream)
        self.flush()
        return self.answer

    def flush(self) -> None:
        self.socket.sendall(self.connection.data_to_send())

    def take(self) -> None:
        data = self.socket.recv(65536)
        if not data:
            raise ConnectionError("closed by the server")
        for event in self.connection.receive_data(data):
            self._note(event)
        self.flush()

    def _note(self, event: h2.events.Event) -> None:
        answer = self.answer
        if getattr(event, "stream_id", self.stream) != self.stream:
            return
        if isinstance(event, h2.events.InformationalResponseReceived):
            answer.interim.append(int(dict(event.headers)[b":status"]))
        elif isinstance(event, h2.events.ResponseReceived):
            answer.headers = {
                name.decode(): value.decode("latin-1") for name, value in event.headers
            }
            answer.status = int(answer.headers[":status"])
        elif isinstance(event, h2.events.DataReceived):
            answer.body += event.data
            self.connection.acknowledge_received_data(event.flow_controlled_length, self.stream)
        elif isinstance(event, h2.events.StreamEnded):
            answer.ended = True
        elif isinstance(event, h2.events.StreamReset):
            answer.reset = event.error_code

    def send_some(self, left: int) -> int:
        """Sends as much as flow control allows now."""
        connection = self.connection
        size = min(
            left,
            connection.local_flow_control_window(self.stream),
            connection.max_outbound_frame_size,
        )
        if size > 0:
            connection.send_data(self.stream, b"u" * size, end_stream=size == left)
            self.answer.sent += size
            self.flush()
        return max(size, 0)


def post(
    port: int,
    path: str,
    size: int,
    *headers: tuple[str, str],
    wait: bool = False,
    window: int = WINDOW,
    then: str | None = None,
    timeout: float = 10,
) -> Answer:
    """Posts `size` bytes, as flow control allows, until the answer is complete. With `wait`, sends
    none before a 100 has arrived.

    `then` is the path of a GET on the same connection afterwards.
    """
    exchange = Exchange(port, window, timeout)
    with exchange.socket:
        answer, left = exchange.begin("POST", path, [("content-length", str(size)), *headers]), size
        while not answer.is_over:
            went = exchange.send_some(left) if left and not (wait and not answer.interim) else 0
            left -= went
            if not went:
                exchange.take()
        if then is not None:
            answer.then = exchange.begin("GET", then, [], ended=True)
            while not answer.then.is_over:
                exchange.take()
        return answer
