"""The other HTTP service that the view "service" calls: answers each request after 30 ms.

Prints the port that it listens on. A protocol of asyncio, so that it costs little.
"""

import asyncio

DELAY = 0.030
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 2\r\n\r\nok"


class Service(asyncio.Protocol):
    def connection_made(self, transport):
        self._transport = transport

    def data_received(self, data):
        # A client sends its next request only after the answer, so the head comes in one piece.
        if data.endswith(b"\r\n\r\n"):
            asyncio.get_running_loop().call_later(DELAY, self._transport.write, ANSWER)


async def main():
    server = await asyncio.get_running_loop().create_server(Service, "127.0.0.1", 0, backlog=500)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main())
