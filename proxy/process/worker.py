"""A process with listeners: start, reload, drain, exit. `Worker` serves models; admin.py serves the admin listeners for several workers.

On SIGTERM or SIGINT (or its supervisor's order, see supervisor.py) the process drains: it answers /readyz with 503, after
`drain.delay` refuses new requests, and waits for open ones to end; then it closes the listeners and exits with 0. Requests still
open after `drain.timeout` end with the error of their API before their connections close. A second signal aborts all connections at
once, so that no partial response looks complete, and the exit code is 1. SIGHUP applies a new configuration and new certificates,
all or nothing; requests in progress keep the old ones.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import signal
import socket
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, NamedTuple

from tornado.web import Application

from ...codecs import errors
from ...conf import ConfigError
from ...conf.model import Config, Listener
from ..app import ModelApplication, listener_settings, make_admin_app
from ..gateway import Gateway
from ..inspector.admin import Admin
from ..inspector.links import Link
from ..inspector.ring import Ring
from ..keys.quota import LocalCounters
from ..telemetry import log as journal
from ..telemetry import stderr
from ..telemetry.metrics import count_as
from . import start
from .server import ADMIN_BODY, Acceptor, Server, most_connections
from .supervisor import CUT, DRAIN, RELOAD, SERVING

if TYPE_CHECKING:
    from ..control.desk import Desk

log = logging.getLogger("dragoman")

SWITCH = 0.001  # seconds that a thread's Python code may keep the loop waiting, if nothing in C holds the lock; Python's own are 5 ms
LOOK = 0.05  # seconds between two checks whether everything has ended
TELLING = 2.0  # seconds for streams to send their error at the end of the drain
SETTLING = 0.5  # seconds for aborted requests to write their log lines
CLOSING = 10.0  # seconds for the process to exit after the drain
CUT_CLOSING = 1.0  # seconds for the process to exit after a second signal


class _Served(NamedTuple):
    """One listener. number: its index in the configuration."""

    number: int
    app: Application
    server: Server
    acceptors: list[Acceptor]


class Process:
    """One process: its listeners, its signals, its end. Subclasses define what it serves."""

    def __init__(
        self, plan: start.Plan, sockets: start.Sockets, read: Callable[[], Config] | None, orders: socket.socket | None = None
    ) -> None:
        """sockets: of this process's listeners. read: reloads the configuration, or raises ConfigError; None without a file.

        orders: the socket of the supervisor's orders; None: the process handles signals itself.
        """
        self._plan = plan
        self._sockets = sockets
        self._read = read
        self._orders = orders
        self._stopping: asyncio.Event
        self._cutting = False
        self._served: list[_Served] = []
        self._desk: Desk | None = None

    @property
    def _config(self) -> Config:
        return self._plan.config

    async def run(self) -> int:
        """Serve until a signal or an order ends it; return the exit code."""
        self._stopping = asyncio.Event()
        loop = asyncio.get_running_loop()
        output = stderr.own()
        if output is not None:
            output.attach(loop)
        await self._begin()
        if self._orders is None:
            for number in (signal.SIGTERM, signal.SIGINT):
                loop.add_signal_handler(number, self._signalled)
            loop.add_signal_handler(signal.SIGHUP, self.reload)
            signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGHUP})  # blocked since the start: one sent meanwhile is delivered now
        else:
            self._orders.setblocking(False)
            loop.add_reader(self._orders, self._ordered)
        gc.collect()
        gc.freeze()  # objects made at start-up live for ever; a full collection with thousands of streams takes 0.2 s
        gc.set_threshold(50_000, 50, 100)
        sys.setswitchinterval(SWITCH)
        if self._orders is not None:
            with suppress(OSError):
                self._orders.send(SERVING)
        await self._stopping.wait()
        await self._drain()
        return int(self._cutting)

    # ---- for subclasses ----

    async def _begin(self) -> None:
        """Create the applications and listen."""
        raise NotImplementedError

    def _adopt(self, config: Config) -> None:
        """Apply a configuration."""
        raise NotImplementedError

    def _unready(self) -> None:
        """From now on answer /readyz with 503."""

    def _refuse_new(self) -> None:
        """From now on refuse new requests."""

    def _open(self) -> int:
        """The number of open requests (in the admin process: of workers)."""
        raise NotImplementedError

    def _tell(self) -> None:
        """End the open requests with an error: `drain.timeout` is over."""

    async def _close(self) -> None:
        """Release what _begin created. The listeners are closed."""
        raise NotImplementedError

    # ---- listeners ----

    def _show(self, admin: Admin) -> None:
        """Open the admin listeners."""
        self._desk = _desk(self._config)
        for index, listener in enumerate(self._config.listeners):
            if listener.type == "admin":
                self._listen(index, make_admin_app(admin, listener, self._desk), ADMIN_BODY)

    def _listen(self, index: int, app: Application, most: int) -> None:
        """most: bytes of a request's body."""
        server = Server(app, max_body_size=most)
        server.stall = self._config.limits.client_stall
        context = self._plan.contexts[index]
        acceptors = [Acceptor(sock, server, context, most_connections()) for sock in self._sockets[index]]
        self._served.append(_Served(index, app, server, acceptors))

    # ---- a new configuration ----

    def reload(self) -> None:
        """Reload the configuration and the certificates, all or nothing. Errors are logged."""
        if self._read is None:
            log.warning("there is no configuration file to reload")
            return
        try:
            plan, waiting = start.renewed(self._plan, self._read())
            self._adopt(plan.config)
        except (ConfigError, OSError) as error:
            log.error("the configuration was not changed: %s", error)
            return
        except Exception:
            log.exception("the configuration was not changed")
            return
        self._plan = plan
        if self._desk is not None:
            self._desk.adopt(plan.config)
        for served in self._served:
            self._renew(served, plan.config.listeners[served.number])
        for change in waiting:
            log.warning("%s", change)
        log.info("configuration reloaded")

    def _renew(self, served: _Served, listener: Listener) -> None:
        served.app.settings.update(listener_settings(listener))
        served.server.stall = self._config.limits.client_stall
        if listener.type == "model":
            served.server.max_body_size = self._config.limits.max_body
        for acceptor in served.acceptors:
            acceptor.use(self._plan.contexts[served.number])

    # ---- the end ----

    def _signalled(self) -> None:
        if self._stopping.is_set():
            self.cut()
        else:
            self.drain()

    def _ordered(self) -> None:
        assert self._orders is not None
        try:
            orders = self._orders.recv(64)
        except BlockingIOError:
            return
        except ConnectionResetError:
            orders = b""
        if not orders:  # the supervisor is gone
            asyncio.get_running_loop().remove_reader(self._orders)
            orders = DRAIN
        for order in orders:
            _OBEYED[bytes([order])](self)

    def drain(self) -> None:
        """Exit when the open requests have ended."""
        if not self._stopping.is_set():
            self._unready()
            self._stopping.set()

    def cut(self) -> None:
        """Exit now. Connections are aborted first, so that no partial response can be finished normally."""
        if not self._cutting:
            self._cutting = True
            self._stopping.set()
            _end_within(CUT_CLOSING)
            self._abort()

    def _abort(self) -> None:
        for served in self._served:
            for connection in served.server.open:
                connection.abort()

    async def _drain(self) -> None:
        """End the open requests. The listeners stay open until then, so that /readyz answers."""
        await self._until(lambda: False, self._config.drain.delay)
        self._refuse_new()
        for served in self._served:
            served.server.conn_params.no_keep_alive = True
        await self._until(lambda: not self._open(), self._config.drain.timeout)
        if self._open() and not self._cutting:
            self._tell()
            await self._until(lambda: not self._open(), TELLING)
        if not self._cutting:
            _end_within(CLOSING)
        for served in self._served:
            for acceptor in served.acceptors:
                acceptor.stop()
        self._abort()
        await self._settled()
        for served in self._served:
            await served.server.close_all_connections()
        if self._desk is not None:
            await self._desk.close()
        await self._close()

    async def _until(self, ended: Callable[[], bool], seconds: float) -> None:
        """Wait until `ended` is true, the time is over, or the process is cut."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + seconds
        while not (self._cutting or ended()) and loop.time() < deadline:  # noqa: ASYNC110 - they end by themselves, in any order
            await asyncio.sleep(LOOK)

    async def _settled(self) -> None:
        """Wait for requests on aborted connections to write their log lines."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + SETTLING
        while self._open() and loop.time() < deadline:  # noqa: ASYNC110 - as above
            await asyncio.sleep(LOOK / 10)


_OBEYED: dict[bytes, Callable[[Process], None]] = {DRAIN: Process.drain, CUT: Process.cut, RELOAD: Process.reload}


def _end_within(seconds: float) -> None:
    """Force the exit after this time, whatever the process still waits for (a look-up, a store, a trace collector)."""

    def end() -> None:
        log.error("exiting: some work did not finish within %g s", seconds)
        stderr.finish()
        os._exit(1)

    timer = threading.Timer(seconds, end)
    timer.daemon = True
    timer.start()


class Worker(Process):
    """Serves the model listeners; as the only process, the admin listeners too."""

    def __init__(
        self,
        plan: start.Plan,
        sockets: start.Sockets,
        read: Callable[[], Config] | None,
        log_format: str,
        counters: LocalCounters,
        orders: socket.socket | None = None,
        number: int = 0,
        folder: str | None = None,
    ) -> None:
        """counters: created before the workers are forked. number: of this worker, 0 if it is the only one.

        folder: shared with the process of the admin listeners; None without that process.
        """
        super().__init__(plan, sockets, read, orders)
        self._journal = journal.Journal(log_format)
        self._counters, self._number, self._folder = counters, number, folder
        self._link: Link | None = None
        self._admin: Admin | None = None

    async def run(self) -> int:
        try:
            return await super().run()
        finally:
            self._journal.flush()

    async def _begin(self) -> None:
        count_as(self._number)
        self.gateway = gateway = Gateway(self._config, self._journal.write, self._counters, self._number)
        _count_dropped(gateway)
        await gateway.open()
        if self._folder is not None:
            self._link = Link(self._folder, self._number, gateway.inspector, gateway.notes)
            gateway.on_notes = self._link.tell
        elif not self._number:
            self._admin = Admin(self._config, Ring(self._watch), gateway.metrics.text, lambda: {0: gateway.notes()})
            self._show(self._admin)
        for index, listener in enumerate(self._config.listeners):
            if listener.type == "model":
                self._listen(index, ModelApplication(gateway, listener), self._config.limits.max_body)

    def _watch(self, looking: bool, content: bool) -> None:
        assert self._admin is not None
        self.gateway.inspector.watch(self._admin.ring.take if looking else None, content)

    def _adopt(self, config: Config) -> None:
        adopt = None if self._admin is None else self._admin.adopting(config)
        self.gateway.adopt(config)
        if adopt is not None:
            adopt()

    def _unready(self) -> None:
        log.info("draining")
        self.gateway.ready = False

    def _refuse_new(self) -> None:
        self.gateway.draining = True

    def _open(self) -> int:
        return max(len(self.gateway.serving), len(self.gateway.exchanges))

    def _tell(self) -> None:
        log.warning("%d requests are aborted after %g s", self._open(), self._config.drain.timeout)
        for exchange in list(self.gateway.exchanges):
            error = errors.Overloaded("The gateway is shutting down, and the drain timeout has expired.")
            error.retry_after = 1
            exchange.end(error)

    async def _close(self) -> None:
        if self._link is not None:
            await self._link.close()
        if self._admin is not None:
            self._admin.ring.close()
        await self.gateway.close()


def _desk(config: Config) -> Desk | None:
    """What the admin listeners ask of the control store; None without one, or without an admin listener."""
    if config.control is None or not any(listener.type == "admin" for listener in config.listeners):
        return None
    from ..control.desk import Desk

    return Desk(config)


def _count_dropped(gateway: Gateway) -> None:
    """Count dropped log lines in the metrics, including those dropped so far."""
    output = stderr.own()
    if output is not None:
        gateway.metrics.log_dropped.inc(output.dropped)
        output.on_drop = gateway.metrics.log_dropped.inc
