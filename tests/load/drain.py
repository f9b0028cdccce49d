"""The client of the workloads: keeps connections busy and judges every answer, at a fraction of what a gateway spends on it.

One thread, epoll, no parsing: an answer is whole when it is a 200, holds what only a complete answer of its shape holds, and has
exactly the words that were asked for (see shapes.py). Each read of a paced stream is timed by the stamps in it. Over a WebSocket the
request is a message, and an answer ends with the frame that holds its terminal event.
"""

from __future__ import annotations

import heapq
import itertools
import re
import select
import socket
from array import array
from collections import Counter
from dataclasses import dataclass, field
from time import monotonic, monotonic_ns
from typing import Any

from dragoman.proxy.wire import http1

from . import shapes

READ = 1 << 20
BACKOFF = 0.05  # seconds before a connection that failed asks again
_STAMP = re.compile(rb"@([0-9]{13}) ")
_STATUS = re.compile(rb"HTTP/1\.[01] (\d{3})")
_LENGTH = re.compile(rb"(?i)\r\ncontent-length:\s*(\d+)")
_WORD = shapes.WORD.encode()


@dataclass
class Found:
    """first: microseconds from a request to its first word; added: from a word's stamp to its arrival, and latest the longest of those
    that came in each hundredth of a second, by monotonic time. seconds: the whole time.
    """

    answers: int = 0
    words: int = 0
    seconds: float = 0.0
    errors: Counter[str] = field(default_factory=Counter)
    first: Any = field(default_factory=lambda: array("Q"))
    added: Any = field(default_factory=lambda: array("Q"))
    latest: dict[int, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Asked:
    """request: head and body, or a message's frame; body: where the body begins. terminal: what only a complete stream holds; b"" for a
    whole answer. paced: words are stamps. upgrade: the head that asks a new connection for a WebSocket; b"" for HTTP.
    """

    port: int
    request: bytes
    words: int
    terminal: bytes
    paced: bool = False
    body: int = 0
    upgrade: bytes = b""


class _Connection:
    def __init__(self) -> None:
        self.sock: socket.socket | None = None
        self.pieces: list[bytes] = []
        self.head_size = 0  # 0 until the head is there
        self.length: int | None = None  # of the body; None: chunked
        self.size = 0  # bytes so far
        self.begun = 0.0
        self.heard = False  # a word
        self.timed = 0  # words whose age was taken; some shapes repeat the text at the end
        self.sent = 0
        self.frames = False  # it is a WebSocket by now
        self.ending = False  # the terminal event has begun to come


class Drain:
    """One run over a number of connections."""

    def __init__(self, asked: Asked, connections: int) -> None:
        self._asked = asked
        self._count = connections
        self._epoll = select.epoll()
        self._by_fd: dict[int, _Connection] = {}
        self._open = 0
        self._again: list[tuple[float, int, _Connection]] = []  # a heap: when, and who asks next
        self._numbers = itertools.count()
        self.found = Found()

    def run(self, seconds: float | None, ramp: float = 0.0, timeout: float = 60.0) -> Found:
        """Answers for this long, then to the end of those under way; None: one answer of each connection."""
        begun = monotonic()
        self._repeat_until = begun + seconds if seconds is not None else begun
        for number in range(self._count):
            self._ask_at(begun + ramp * number / self._count, _Connection())
        while (self._open or self._again) and monotonic() - begun < timeout:
            self._begin_due()
            wait = max(0.0, min(0.5, self._again[0][0] - monotonic())) if self._again else 0.5
            for fd, events in self._epoll.poll(wait):
                connection = self._by_fd.get(fd)
                if connection is not None:
                    self._happened(connection, events)
        self.found.seconds = monotonic() - begun
        if self._open:
            self.found.errors["unfinished"] += self._open
        for connection in list(self._by_fd.values()):
            self._close(connection)
        self._epoll.close()
        return self.found

    def _begin_due(self) -> None:
        now = monotonic()
        while self._again and self._again[0][0] <= now:
            self._begin(heapq.heappop(self._again)[2])

    def _ask_at(self, when: float, connection: _Connection) -> None:
        heapq.heappush(self._again, (when, next(self._numbers), connection))

    def _begin(self, connection: _Connection) -> None:
        connection.pieces.clear()
        connection.head_size = connection.size = connection.sent = connection.timed = 0
        connection.length = None
        connection.heard = connection.ending = False
        connection.begun = monotonic()
        self._open += 1
        if connection.sock is None:
            try:
                connection.sock = socket.create_connection(("127.0.0.1", self._asked.port), 10)
            except OSError:
                self._over(connection, "connect")
                return
            connection.sock.setblocking(False)
            connection.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._by_fd[connection.sock.fileno()] = connection
            self._epoll.register(connection.sock, select.EPOLLIN)
        self._send(connection)

    def _send(self, connection: _Connection) -> None:
        assert connection.sock is not None
        before = connection.sent
        data = self._asked.request if connection.frames or not self._asked.upgrade else self._asked.upgrade
        try:
            connection.sent += connection.sock.send(memoryview(data)[before:])
        except BlockingIOError:
            pass
        except OSError:
            self._over(connection, "cut")
            return
        left = connection.sent < len(data)
        if left or before:
            self._epoll.modify(connection.sock, select.EPOLLIN | (select.EPOLLOUT if left else 0))

    def _happened(self, connection: _Connection, events: int) -> None:
        assert connection.sock is not None
        if events & select.EPOLLOUT:
            self._send(connection)
        if events & ~select.EPOLLOUT and connection.sock is not None:
            try:
                data = connection.sock.recv(READ)
            except BlockingIOError:
                return
            except OSError:
                data = b""
            if data:
                self._received(connection, data)
            else:
                self._over(connection, "cut")

    def _received(self, connection: _Connection, data: bytes) -> None:
        connection.pieces.append(data)
        connection.size += len(data)
        if self._asked.paced:
            now = monotonic_ns() // 1000
            stamps = _STAMP.findall(data)[: self._asked.words - connection.timed]
            connection.timed += len(stamps)
            for stamp in stamps:
                age = (now - int(stamp)) % shapes.MODULUS
                if age < 10**9:
                    self.found.added.append(age)
                    self.found.latest[now // 10_000] = max(age, self.found.latest.get(now // 10_000, 0))
        if not connection.heard and b"@" in data:
            connection.heard = True
            self.found.first.append(round((monotonic() - connection.begun) * 1e6))
        if connection.frames:
            self._message(connection, data)
            return
        if not connection.head_size and not self._read_head(connection):
            return
        if self._asked.upgrade:
            self._upgraded(connection)
            return
        if connection.length is None:
            over = data.endswith(b"0\r\n\r\n") or (len(data) < 5 and b"".join(connection.pieces).endswith(b"0\r\n\r\n"))
        else:
            over = connection.size >= connection.head_size + connection.length
        if over:
            self._over(connection, self._judge(connection))

    def _read_head(self, connection: _Connection) -> bool:
        data = b"".join(connection.pieces)
        end = data.find(b"\r\n\r\n")
        if end < 0:
            return False
        length = _LENGTH.search(data, 0, end + 2)
        connection.head_size = end + 4
        connection.length = int(length[1]) if length else None
        return True

    def _message(self, connection: _Connection, data: bytes) -> None:
        """A read of a WebSocket's; the last message is the one that holds the terminal event."""
        connection.ending = connection.ending or self._asked.terminal in b"".join((*connection.pieces[-2:-1], data))
        if connection.ending and _ends_with_a_frame(whole := b"".join(connection.pieces)):
            self._over(connection, self._wrong(whole))

    def _upgraded(self, connection: _Connection) -> None:
        status = _STATUS.match(connection.pieces[0])
        if status is None or status[1] != b"101":
            self._over(connection, f"status {status[1].decode() if status else '?'}")
            return
        connection.frames = True
        connection.sent = 0
        connection.pieces.clear()
        self._send(connection)

    def _judge(self, connection: _Connection) -> str | None:
        """The kind of error; None for a whole answer."""
        data = b"".join(connection.pieces)
        status = _STATUS.match(data)
        if status is None or status[1] != b"200":
            return f"status {status[1].decode() if status else '?'}"
        wrong = self._wrong(data)
        if wrong is not None and connection.length is None:
            wrong = self._wrong(http1.Chunked().feed(data[connection.head_size :]))  # a chunk may end within a word
        return wrong

    def _wrong(self, data: bytes) -> str | None:
        asked = self._asked
        if asked.terminal not in data:
            return "unended"
        count = len(_STAMP.findall(data)) if asked.paced else data.count(_WORD)
        return "words" if not count or count % asked.words else None

    def _over(self, connection: _Connection, error: str | None) -> None:
        self._open -= 1
        if error is None:
            self.found.answers += 1
            self.found.words += self._asked.words
        else:
            self.found.errors[error] += 1
            self._close(connection)
        now = monotonic()
        if now < self._repeat_until:
            self._ask_at(now + (BACKOFF if error else 0.0), connection)
        else:
            self._close(connection)

    def _close(self, connection: _Connection) -> None:
        if connection.sock is not None:
            del self._by_fd[connection.sock.fileno()]
            connection.sock.close()
            connection.sock = None
            connection.frames = False


def _ends_with_a_frame(data: bytes) -> bool:
    """Whether the last of a server's frames is whole."""
    at = 0
    while at + 2 <= len(data):
        extra = {126: 2, 127: 8}.get(data[at + 1], 0)
        size = int.from_bytes(data[at + 2 : at + 2 + extra], "big") if extra else data[at + 1]
        at += 2 + extra + size
    return at == len(data)
