"""The process: listeners, signals, draining, and (with several workers) the supervisor of its children.

SIGTERM or SIGINT drains: /readyz turns 503, listeners close, open exchanges end, then exit 0; what is still open after the grace
is cut. A second one ends at once. SIGHUP puts a new configuration in force without touching what is under way; a bad file changes
nothing. With several workers each is a process of its own on the same port (SO_REUSEPORT), and one that dies is replaced.
"""

from __future__ import annotations

import asyncio
import errno
import gc
import logging
import signal
import socket
import ssl
from collections.abc import Callable
from typing import Any

from tornado.httpserver import HTTPServer
from tornado.iostream import IOStream, SSLIOStream
from tornado.netutil import bind_sockets

from ..conf import ConfigError
from ..conf.model import Config, Listener
from . import journal
from .app import make_app
from .gateway import Gateway
from .quota import LocalCounters

log = logging.getLogger("dragoman")

GRACE = 30.0  # seconds that open exchanges may take after SIGTERM
BACKLOG = 4096
ACCEPTS_PER_TURN = 64
NO_FILES_PAUSE = 0.1  # seconds without accepting when there are no descriptors left
_NO_FILES = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)


class Acceptor:
    """Accepts connections for an HTTPServer. With no descriptor left it pauses; the stock one would spin."""

    def __init__(self, sock: socket.socket, server: HTTPServer, context: ssl.SSLContext | None) -> None:
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

    def _accept(self) -> None:
        for _ in range(ACCEPTS_PER_TURN):
            try:
                connection, address = self._sock.accept()
            except (BlockingIOError, ConnectionAbortedError, InterruptedError):
                return
            except OSError as error:
                if error.errno not in _NO_FILES:
                    raise
                log.warning("no descriptor left for a new connection; trying again in %s s", NO_FILES_PAUSE)
                self._loop.remove_reader(self._sock)
                self._timer = self._loop.call_later(NO_FILES_PAUSE, self.start)
                return
            self._hand_over(connection, address)

    def _hand_over(self, connection: socket.socket, address: Any) -> None:
        connection.setblocking(False)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        stream: IOStream
        if self._context is not None:
            wrapped = self._context.wrap_socket(connection, server_side=True, do_handshake_on_connect=False)
            stream = SSLIOStream(wrapped, max_buffer_size=self._server.max_buffer_size)
        else:
            stream = IOStream(connection, max_buffer_size=self._server.max_buffer_size)
        self._server.handle_stream(stream, address)


class Worker:
    """One process's listeners over one Gateway."""

    def __init__(
        self, config: Config, log_format: str, reload: Callable[[], Config] | None, reuse_port: bool, counters: LocalCounters
    ) -> None:
        """reload: reads the configuration anew, or raises ConfigError. counters: made before the workers were forked."""
        self._config = config
        self._reload = reload
        self._reuse_port = reuse_port
        self._counters = counters
        self._journal = journal.Journal(log_format)
        self._stopping: asyncio.Event
        self._servers: list[HTTPServer] = []
        self._acceptors: list[Acceptor] = []

    async def run(self, ready: Callable[[], None] | None = None) -> None:
        """Serve until told to stop."""
        self._stopping = asyncio.Event()
        self.gateway = Gateway(self._config, self._journal.write, counters=self._counters)
        for listener in self._config.listeners:
            if listener.type == "model":
                self._listen(listener)
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stop)
        loop.add_signal_handler(signal.SIGHUP, self.reload)
        gc.collect()
        gc.freeze()  # what start-up made lives for ever; and a full pass over thousands of streams takes a fifth of a second
        gc.set_threshold(50_000, 50, 100)
        if ready is not None:
            ready()
        await self._stopping.wait()
        await self._drain()

    def _listen(self, listener: Listener) -> None:
        context = None
        if listener.tls is not None:
            context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
            context.load_cert_chain(listener.tls.cert, listener.tls.key)
        server = HTTPServer(
            make_app(self.gateway),
            max_body_size=self._config.limits.max_body,
            max_buffer_size=self._config.limits.max_body + (1 << 20),
            idle_connection_timeout=600,
            body_timeout=600,
            chunk_size=262144,
        )
        self._servers.append(server)
        for sock in bind_sockets(listener.port, listener.address, backlog=BACKLOG, reuse_port=self._reuse_port):
            self._acceptors.append(Acceptor(sock, server, context))

    def reload(self) -> None:
        """SIGHUP."""
        if self._reload is None:
            log.warning("there is no configuration file to read again")
            return
        try:
            config = self._reload()
            self.gateway.adopt(config)
        except (ConfigError, OSError) as error:
            log.error("the configuration was not changed: %s", error)
            return
        if config.listeners != self._config.listeners:
            log.warning("changed listeners take effect at the next start")
        log.info("configuration reloaded")

    def _stop(self) -> None:
        if self._stopping.is_set():
            raise SystemExit(1)  # the second signal
        log.info("draining")
        self.gateway.draining = True
        self._stopping.set()

    async def _drain(self) -> None:
        for acceptor in self._acceptors:
            acceptor.stop()
        for server in self._servers:
            server.stop()
            server.conn_params.no_keep_alive = True
        loop = asyncio.get_running_loop()
        deadline = loop.time() + GRACE
        while self.gateway.exchanges and loop.time() < deadline:  # noqa: ASYNC110 - exchanges end by themselves, in any order
            await asyncio.sleep(0.05)
        if self.gateway.exchanges:
            log.warning("%d exchanges were cut after %s s", len(self.gateway.exchanges), GRACE)
        for server in self._servers:
            await server.close_all_connections()
        await self.gateway.close()
