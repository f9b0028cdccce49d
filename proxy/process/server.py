"""The process: listeners, signals, draining, and (with several workers) the supervisor of its children.

SIGTERM or SIGINT drains: /readyz turns 503, new requests are refused, open ones end, then the listeners close and the exit code is
0; what is still open after the grace is cut. A second one ends at once. SIGHUP puts a new configuration in force without touching
what is under way; a bad file changes nothing. With several workers each is a process of its own on the same port (SO_REUSEPORT),
and one that dies is replaced.
"""

from __future__ import annotations

import asyncio
import errno
import gc
import logging
import os
import resource
import signal
import socket
import ssl
from collections.abc import Callable
from typing import Any

from tornado.httpserver import HTTPServer
from tornado.netutil import bind_sockets
from tornado.web import Application

from ...conf import ConfigError
from ...conf.model import Config, Listener, Tls
from ..app import ModelApplication, make_admin_app
from ..gateway import Gateway
from ..inspector.links import Hub, Link
from ..inspector.ring import Ring
from ..keys.quota import LocalCounters
from ..telemetry import log as journal
from ..telemetry.metrics import collected, count_as
from ..wire import inbound
from ..wire.socket import Stream
from .admin import Admin

log = logging.getLogger("dragoman")

GRACE = 30.0  # seconds that open exchanges may take after SIGTERM
BACKLOG = 4096
ACCEPTS_PER_TURN = 256
MOST_CONNECTIONS = 20_000  # of one worker: an idle one costs about 10 KB
UNSENT = 256 * 1024  # bytes that the kernel keeps for a client besides what is on its way
SWEEP = 10.0  # seconds between two looks for clients that ask for nothing
NO_FILES_PAUSE = 0.1  # seconds without accepting when there are no descriptors left
_NO_FILES = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)


class Server(HTTPServer):
    """An HTTPServer that knows how many connections it has."""

    def initialize(self, *arguments: Any, **named: Any) -> None:
        super().initialize(*arguments, **named)
        self.connections = 0
        self.max_body_size = self.conn_params.max_body_size or 0
        self.buffer = memoryview(bytearray(inbound.READ_SIZE))  # for the reads of all its connections
        self._loop = asyncio.get_running_loop()
        self._sweeping = self._loop.call_later(SWEEP, self._sweep)
        self.freed: list[Callable[[], None]] = []  # called when a connection has ended

    def serve(self, sock: socket.socket, address: Any) -> None:
        """A client's connection; of an SSLSocket the handshake is still to come."""
        self.connections += 1
        connection = inbound.Inbound(Stream(sock), self, address)
        self._connections.add(connection)  # type: ignore[arg-type]
        connection.start()

    def _sweep(self) -> None:
        now = self._loop.time()
        for connection in list(self._connections):
            connection.sweep(now)  # type: ignore[attr-defined]
        self._sweeping = self._loop.call_later(SWEEP, self._sweep)

    async def close_all_connections(self) -> None:
        self._sweeping.cancel()
        for connection in list(self._connections):
            await connection.close()

    def on_close(self, server_conn: object) -> None:
        super().on_close(server_conn)
        self.connections -= 1
        for freed in self.freed:
            freed()


class Acceptor:
    """Accepts connections for a Server, so many at most. With no descriptor left it pauses; the stock one would spin."""

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

    def _freed(self) -> None:
        if self._full and self._server.connections < self._most and self._sock.fileno() >= 0:
            self._full = False
            self.start()

    def _accept(self) -> None:
        for _ in range(ACCEPTS_PER_TURN):
            if self._server.connections >= self._most:
                log.warning("%d connections are open: others wait until one ends", self._most)
                self._full = True
                self._loop.remove_reader(self._sock)
                return
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
        try:
            connection.setblocking(False)
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            if connection.family in (socket.AF_INET, socket.AF_INET6):
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                if hasattr(socket, "TCP_NOTSENT_LOWAT"):  # else the kernel takes megabytes for a client that does not read
                    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, UNSENT)
            if self._context is not None:
                connection.getpeername()  # raises for a connection that was reset, which an SSLSocket would not be made of
                connection = self._context.wrap_socket(connection, server_side=True, do_handshake_on_connect=False)
        except OSError:
            connection.close()
            return
        self._server.serve(connection, address)


class Process:
    """One process: its listeners, its signals, its end. What it serves is a subclass's affair."""

    def __init__(self, config: Config, reload: Callable[[], Config] | None, reuse_port: bool = False) -> None:
        """reload: reads the configuration anew, or raises ConfigError."""
        self._config = config
        self._reload = reload
        self._reuse_port = reuse_port
        self._stopping: asyncio.Event
        self._servers: list[Server] = []
        self._contexts: list[tuple[ssl.SSLContext, Tls]] = []
        self._acceptors: list[Acceptor] = []

    async def run(self, ready: Callable[[], None] | None = None) -> None:
        """Serve until told to stop."""
        self._stopping = asyncio.Event()
        await self._begin()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stop)
        loop.add_signal_handler(signal.SIGHUP, self.reload)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGHUP})  # the supervisor held it back: one that came meanwhile counts
        gc.collect()
        gc.freeze()  # what start-up made lives for ever; and a full pass over thousands of streams takes a fifth of a second
        gc.set_threshold(50_000, 50, 100)
        if ready is not None:
            ready()
        await self._stopping.wait()
        await self._drain()

    async def _begin(self) -> None:
        """Make what is served, and listen."""
        raise NotImplementedError

    def _adopt(self, config: Config) -> None:
        """Put a configuration in force."""
        raise NotImplementedError

    def _refuse_new(self) -> None:
        """Draining begins."""

    def _open(self) -> int:
        """How many have not ended yet."""
        raise NotImplementedError

    async def _close(self) -> None:
        """The listeners are closed: so is what was made."""
        raise NotImplementedError

    def _show(self, admin: Admin) -> None:
        """Open the admin listeners."""
        for listener in self._config.listeners:
            if listener.type == "admin":
                self._listen(listener, make_admin_app(admin, listener))

    def _listen(self, listener: Listener, app: Application) -> None:
        context = None
        if listener.tls is not None:
            context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
            context.load_cert_chain(listener.tls.cert, listener.tls.key)
            self._contexts.append((context, listener.tls))
        server = Server(
            app,
            max_body_size=self._config.limits.max_body,
        )
        self._servers.append(server)
        for sock in bind_sockets(listener.port, listener.address, backlog=BACKLOG, reuse_port=self._reuse_port):
            self._acceptors.append(Acceptor(sock, server, context, most_connections()))

    def reload(self) -> None:
        """SIGHUP: the configuration and the certificates anew, all of it or nothing."""
        if self._reload is None:
            log.warning("there is no configuration file to read again")
            return
        try:
            config = self._reload()
            for context, tls in self._contexts:
                context.load_cert_chain(tls.cert, tls.key)
            self._adopt(config)
        except (ConfigError, OSError) as error:
            log.error("the configuration was not changed: %s", error)
            return
        except Exception:
            log.exception("the configuration was not changed")
            return
        if config.listeners != self._config.listeners:
            log.warning("changed listeners take effect at the next start")
        log.info("configuration reloaded")

    def _stop(self) -> None:
        if self._stopping.is_set():
            raise SystemExit(1)  # the second signal
        self._refuse_new()
        self._stopping.set()

    async def _drain(self) -> None:
        """End what is open. Until that is done the listeners stay: who asks /readyz shall hear why nothing else is served."""
        for server in self._servers:
            server.conn_params.no_keep_alive = True
        loop = asyncio.get_running_loop()
        deadline = loop.time() + GRACE
        while self._open() and loop.time() < deadline:  # noqa: ASYNC110 - they end by themselves, in any order
            await asyncio.sleep(0.05)
        if self._open():
            log.warning("%d requests were cut after %s s", self._open(), GRACE)
        for acceptor in self._acceptors:
            acceptor.stop()
        for server in self._servers:
            await server.close_all_connections()
        await self._close()


class Worker(Process):
    """Serves models; and, where it is the only process, the admin listeners."""

    def __init__(
        self,
        config: Config,
        log_format: str,
        reload: Callable[[], Config] | None,
        counters: LocalCounters,
        number: int = 0,
        folder: str | None = None,
    ) -> None:
        """counters: made before the workers were forked. number: this worker's among several, 0 for one that is alone.

        folder: where several meet the process of the admin listeners, when there is one (metrics.share).
        """
        super().__init__(config, reload, reuse_port=number > 0)
        self._journal = journal.Journal(log_format)
        self._counters, self._number, self._folder = counters, number, folder
        self._link: Link | None = None
        self._admin: Admin | None = None

    async def run(self, ready: Callable[[], None] | None = None) -> None:
        try:
            await super().run(ready)
        finally:
            self._journal.flush()

    async def _begin(self) -> None:
        count_as(self._number)
        self.gateway = gateway = Gateway(self._config, self._journal.write, self._counters, self._number)
        if self._folder is not None:
            self._link = Link(self._folder, self._number, gateway.inspector)
        elif not self._number:
            self._admin = Admin(self._config, Ring(self._watch), gateway.metrics.text)
            self._show(self._admin)
        for listener in self._config.listeners:
            if listener.type == "model":
                self._listen(listener, ModelApplication(gateway, listener))

    def _watch(self, looking: bool, content: bool) -> None:
        assert self._admin is not None
        self.gateway.inspector.watch(self._admin.ring.take if looking else None, content)

    def _adopt(self, config: Config) -> None:
        self.gateway.adopt(config)
        if self._admin is not None:
            self._admin.adopt(config)

    def _refuse_new(self) -> None:
        log.info("draining")
        self.gateway.draining = True

    def _open(self) -> int:
        return max(len(self.gateway.serving), len(self.gateway.exchanges))

    async def _close(self) -> None:
        if self._link is not None:
            await self._link.close()
        if self._admin is not None:
            self._admin.ring.close()
        await self.gateway.close()


class AdminProcess(Process):
    """Serves the admin listeners for several workers, until the last of them has ended: what they tell through a common folder."""

    def __init__(self, config: Config, reload: Callable[[], Config] | None, folder: str) -> None:
        super().__init__(config, reload)
        self._folder = folder

    async def _begin(self) -> None:
        self._hub = Hub()
        await self._hub.open(self._folder)
        self._admin = Admin(self._config, self._hub.ring, lambda: collected(self._folder, [(0, os.getpid()), *self._hub.workers]))
        self._show(self._admin)

    def _adopt(self, config: Config) -> None:
        self._admin.adopt(config)

    def _open(self) -> int:
        return len(self._hub.workers)

    async def _close(self) -> None:
        await self._hub.close()


def most_connections() -> int:
    """As many as there are descriptors for, when each has one to an upstream besides; bounded, since each costs memory."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return MOST_CONNECTIONS if soft == resource.RLIM_INFINITY else max(16, min(MOST_CONNECTIONS, (soft - 64) // 2))
