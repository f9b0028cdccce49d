"""Accepting connections on listening sockets, limiting their number, closing idle ones."""

from __future__ import annotations

import asyncio
import errno
import heapq
import itertools
import logging
import resource
import socket
import ssl
from collections.abc import Callable
from typing import Any

from tornado.httpserver import HTTPServer

from ..wire import inbound
from ..wire.socket import Outbox, Stream
from ..wire.tls import Tls

log = logging.getLogger("dragoman")

ACCEPTS_PER_TURN = 256
MOST_CONNECTIONS = 20_000  # per worker: an idle connection takes about 10 KB
UNSENT = 256 * 1024  # bytes that the kernel buffers for a caller besides those in flight
ADMIN_BODY = 64 * 1024  # bytes of a request to an admin listener
IDLE_AT_ONCE = 256  # idle connections remembered after one search through all
SWEEP = 10.0  # seconds between two searches for callers that exceed their time
NO_FILES_PAUSE = 0.1  # seconds without accepting when there are no descriptors left
_NO_FILES = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)


class Server(HTTPServer):
    """An HTTPServer of Inbound connections, which can close the one that has been idle longest."""

    def initialize(self, *arguments: Any, **named: Any) -> None:
        super().initialize(*arguments, **named)
        self._oldest: list[tuple[float, inbound.Inbound]] = []  # found by the last search; the longest idle comes last
        self._numbers = itertools.count()
        self.crowded = False  # the server is full and an Acceptor waits
        self.max_body_size = self.conn_params.max_body_size or 0
        self.stall = 0.0  # seconds that a caller may leave an answer unread; 0: no limit
        self.buffer = memoryview(bytearray(inbound.READ_SIZE))  # shared by all connections for reads
        self.little = self.buffer[: inbound.LITTLE]
        self._loop = asyncio.get_running_loop()
        self._outbox = Outbox()
        self._sweeping = self._loop.call_later(SWEEP, self._sweep)
        self.freed: list[Callable[[], None]] = []  # called when a crowded server may have room again

    @property
    def connections(self) -> int:
        return len(self._connections)

    def serve(self, sock: socket.socket, address: Any, tls: Tls | None = None) -> None:
        """Serve a caller's connection. tls: before its handshake."""
        stream = Stream(sock, self._outbox, tls)
        stream.close_after(self.stall)
        connection = inbound.Inbound(stream, self, address, next(self._numbers))
        self._connections.add(connection)  # type: ignore[arg-type]
        connection.start()

    @property
    def open(self) -> list[inbound.Inbound]:
        """The open connections."""
        return list(self._connections)  # type: ignore[arg-type]

    def _sweep(self) -> None:
        now = self._loop.time()
        for connection in list(self._connections):
            connection.sweep(now)  # type: ignore[attr-defined]
        self._sweeping = self._loop.call_later(SWEEP, self._sweep)

    def place_free(self) -> None:
        """Called when a connection has closed or become idle."""
        if self.crowded:
            self.crowded = False
            for freed in self.freed:
                freed()

    def longest_idle(self) -> inbound.Inbound | None:
        """The connection that has been idle longest, or None. One search through all serves many calls."""
        for _ in range(2):
            while self._oldest:
                since, connection = self._oldest[-1]
                if connection.idle and connection.since == since:
                    return connection
                self._oldest.pop()
            idle = ((one.since, one.number, one) for one in self._connections if one.idle)  # type: ignore[attr-defined]
            self._oldest = [(since, one) for since, _, one in reversed(heapq.nsmallest(IDLE_AT_ONCE, idle))]
        return None

    def make_room(self) -> None:
        """Close the connection that has been idle longest, if any is idle."""
        connection = self.longest_idle()
        if connection is not None:
            self._connections.discard(connection)
            connection.stream.close()

    async def close_all_connections(self) -> None:
        self._sweeping.cancel()
        for connection in list(self._connections):
            await connection.close()

    def on_close(self, server_conn: object) -> None:
        self._connections.discard(server_conn)
        self.place_free()


class Acceptor:
    """Accepts connections for a Server, up to `most`; when that is reached, the connection that has been idle longest is closed.

    It pauses when no descriptor is left; Tornado's acceptor would spin.
    """

    def __init__(self, sock: socket.socket, server: Server, context: ssl.SSLContext | None, most: int) -> None:
        self._most = most
        self._full = False
        server.freed.append(self._freed)
        self._sock, self._server, self._context = sock, server, context
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self.start()

    def start(self) -> None:
        self._timer = None
        self._loop.add_reader(self._sock, self._accept)

    def stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._loop.remove_reader(self._sock)
        self._sock.close()

    def use(self, context: ssl.SSLContext | None) -> None:
        """Set the TLS context of new connections."""
        self._context = context

    def _freed(self) -> None:
        """Accept again if the server was full."""
        if self._full and self._sock.fileno() >= 0:
            self._full = False
            self.start()

    def _accept(self) -> None:
        for _ in range(ACCEPTS_PER_TURN):
            full = self._server.connections >= self._most
            if full and self._server.longest_idle() is None:
                log.warning("%d connections are open and all are busy: new connections wait until one is free", self._most)
                self._full = self._server.crowded = True
                self._loop.remove_reader(self._sock)
                return
            try:
                connection, address = self._sock.accept()
            except (BlockingIOError, ConnectionAbortedError, InterruptedError):
                return
            except OSError as error:
                if error.errno not in _NO_FILES:
                    raise
                log.warning("no file descriptor left for a new connection; trying again in %s s", NO_FILES_PAUSE)
                self._server.make_room()
                self._loop.remove_reader(self._sock)
                self._timer = self._loop.call_later(NO_FILES_PAUSE, self.start)
                return
            if full:
                self._server.make_room()
            self._hand_over(connection, address)

    def _hand_over(self, connection: socket.socket, address: Any) -> None:
        try:
            connection.setblocking(False)
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            if connection.family in (socket.AF_INET, socket.AF_INET6):
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                if hasattr(socket, "TCP_NOTSENT_LOWAT"):  # else the kernel buffers megabytes for a caller that does not read
                    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, UNSENT)
            tls = None if self._context is None else Tls(connection, self._context)
        except OSError:
            connection.close()
            return
        self._server.serve(connection, address, tls)


def most_connections() -> int:
    """The number of connections for which there are descriptors, two for each (caller and upstream), up to MOST_CONNECTIONS."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return MOST_CONNECTIONS if soft == resource.RLIM_INFINITY else max(16, min(MOST_CONNECTIONS, (soft - 64) // 2))
