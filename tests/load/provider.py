"""A provider for load tests that costs less than what it feeds: one thread, epoll, prebuilt bytes.

    python -m tests.load.provider PORT

It answers in each shape by path, streamed when the body or the path says so. How many words an answer has, and how many a second, is
what the prompt asks for: "Answer in 200 words, 20 a second: …" (without a pace: as fast as they come, BURST words a write, one
write a stream and turn). It reads nothing else of a request, and serves 127.0.0.1 only.
"""

from __future__ import annotations

import heapq
import re
import select
import socket
import sys
from collections import deque
from collections.abc import Iterator
from time import monotonic, monotonic_ns

from . import shapes

BURST = 4
READ = 256 * 1024
_WISH = re.compile(rb"Answer in (\d+) words(?:, ([\d.]+) a second)?:")
_STREAM = re.compile(rb'"stream"\s*:\s*true')
_LENGTH = re.compile(rb"(?i)\r\ncontent-length:\s*(\d+)")
_STREAM_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
_WHOLE_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"


class Connection:
    """One client. blocks: what of an unpaced answer is still to be sent. sent: words of a paced one that were; interval: seconds."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.received = bytearray()
        self.unsent = b""
        self.blocks: Iterator[bytes] = iter(())
        self.streaming = False
        self.shape = "chat"
        self.words = self.sent = 0
        self.interval = 0.0
        self.text: list[str] = []


class Provider:
    """Serves until the process ends."""

    def __init__(self, port: int) -> None:
        self._listener = socket.create_server(("127.0.0.1", port), backlog=8192)
        self._listener.setblocking(False)
        self.port = self._listener.getsockname()[1]
        self._epoll = select.epoll()
        self._epoll.register(self._listener, select.EPOLLIN)
        self._connections: dict[int, Connection] = {}
        self._ready: deque[Connection] = deque()  # unpaced streams with words to send
        self._due: list[tuple[float, int, Connection]] = []  # paced ones
        self._number = 0

    def serve(self) -> None:
        while True:
            for fd, events in self._epoll.poll(self._wait()):
                if fd == self._listener.fileno():
                    self._accept()
                elif (connection := self._connections.get(fd)) is not None:
                    self._happened(connection, events)
            self._send_due()
            for _ in range(len(self._ready)):
                self._send_next(self._ready.popleft())

    def _wait(self) -> float:
        if self._ready:
            return 0
        return max(0.0, self._due[0][0] - monotonic()) if self._due else -1

    def _accept(self) -> None:
        while True:
            try:
                sock, _ = self._listener.accept()
            except BlockingIOError:
                return
            sock.setblocking(False)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._connections[sock.fileno()] = Connection(sock)
            self._epoll.register(sock, select.EPOLLIN)

    def _happened(self, connection: Connection, events: int) -> None:
        if events & select.EPOLLOUT and not self._send(connection, b""):
            return
        if events & ~select.EPOLLOUT:
            try:
                data = connection.sock.recv(READ)
            except BlockingIOError:
                return
            except OSError:
                data = b""
            if not data:
                self._close(connection)
                return
            connection.received += data
            self._asked(connection)

    def _close(self, connection: Connection) -> None:
        if connection.sock.fileno() >= 0:
            self._connections.pop(connection.sock.fileno())
            connection.sock.close()
            connection.blocks = iter(())
            connection.streaming = False

    def _send(self, connection: Connection, data: bytes) -> bool:
        """Whether all was taken; what was not waits for EPOLLOUT."""
        data = connection.unsent + data
        try:
            count = connection.sock.send(data)
        except BlockingIOError:
            count = 0
        except OSError:
            self._close(connection)
            return False
        was, connection.unsent = connection.unsent, data[count:]
        if bool(was) != bool(connection.unsent):
            self._epoll.modify(connection.sock, select.EPOLLIN | (select.EPOLLOUT if connection.unsent else 0))
        return not connection.unsent

    # ---- requests and answers ----

    def _asked(self, connection: Connection) -> None:
        received = connection.received
        head = received.find(b"\r\n\r\n")
        if head < 0:
            return
        length = _LENGTH.search(received, 0, head + 2)
        end = head + 4 + (int(length[1]) if length else 0)
        if len(received) < end:
            return
        line, body = bytes(received[: received.find(b"\r\n")]), bytes(received[head + 4 : end])
        del received[:end]
        path, _, method = line.split(b" ")[1].partition(b"?")[0].partition(b":")
        shape = next((name for name, wire in shapes.WIRES.items() if path.endswith(wire.path.encode())), None)
        if shape is None:
            self._send(connection, _WHOLE_HEAD % 2 + b"{}")
        else:
            self._answer(connection, shape, body, method.startswith(b"stream") or _STREAM.search(body) is not None)

    def _answer(self, connection: Connection, shape: str, body: bytes, streams: bool) -> None:
        wish = _WISH.search(body, max(0, body.rfind(b"Answer in ")))
        words, rate = (int(wish[1]), float(wish[2] or 0)) if wish else (20, 0.0)
        wire = shapes.WIRES[shape]
        if not streams:
            answer = shapes.whole(shape, words)
            self._send(connection, _WHOLE_HEAD % len(answer) + answer)
            return
        first = _STREAM_HEAD + b"".join(map(shapes.chunk, wire.first()))
        connection.streaming = True
        if rate:
            connection.shape, connection.words, connection.sent, connection.interval = shape, words, 0, 1 / rate
            connection.text = []
            self._schedule(connection, monotonic() + connection.interval)
        else:
            connection.blocks = self._blocks(shape, words)
            self._ready.append(connection)
        self._send(connection, first)

    def _blocks(self, shape: str, words: int) -> Iterator[bytes]:
        """An unpaced answer, after its first frames, as what is sent at once."""
        frames = shapes.deltas(shape, words)
        for at in range(0, words, BURST):
            yield b"".join(map(shapes.chunk, frames[at : at + BURST]))
        yield self._last(shapes.WIRES[shape].last(shapes.WORD * words, words))

    def _last(self, frames: list[bytes]) -> bytes:
        return b"".join(map(shapes.chunk, frames)) + b"0\r\n\r\n"

    def _send_next(self, connection: Connection) -> None:
        if connection.unsent:
            self._ready.append(connection)  # it is slow; its turn comes again
            return
        block = next(connection.blocks, None)
        if block is None:
            connection.streaming = False
        else:
            self._ready.append(connection)
            self._send(connection, block)

    # ---- paced ----

    def _schedule(self, connection: Connection, due: float) -> None:
        self._number += 1
        heapq.heappush(self._due, (due, self._number, connection))

    def _send_due(self) -> None:
        now = monotonic()
        while self._due and self._due[0][0] <= now:
            due, _, connection = heapq.heappop(self._due)
            if connection.streaming:
                self._send_word(connection)
                if connection.streaming:
                    self._schedule(connection, due + connection.interval)

    def _send_word(self, connection: Connection) -> None:
        shape = connection.shape
        if connection.sent < connection.words:
            before, after = shapes.around_stamp(shape, connection.sent)
            stamp = shapes.STAMP % (monotonic_ns() // 1000 % shapes.MODULUS)
            connection.text.append(stamp)
            self._send(connection, before + stamp.encode() + after)
            connection.sent += 1
        else:
            connection.streaming = False
            self._send(connection, self._last(shapes.WIRES[shape].last("".join(connection.text), connection.words)))


if __name__ == "__main__":
    import gc

    gc.freeze()
    provider = Provider(int(sys.argv[1]))
    print(provider.port, flush=True)
    provider.serve()
