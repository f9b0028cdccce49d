"""The process that serves the admin listeners when there are several workers."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable

from ...conf.model import Config
from ..inspector.admin import Admin
from ..inspector.links import Hub
from ..telemetry.metrics import collected
from . import start
from .worker import Process


class AdminProcess(Process):
    """Serves the admin listeners from what the workers report through a shared folder, until the last worker has ended."""

    def __init__(
        self, plan: start.Plan, sockets: start.Sockets, read: Callable[[], Config] | None, orders: socket.socket, folder: str
    ) -> None:
        super().__init__(plan, sockets, read, orders)
        self._folder = folder

    async def _begin(self) -> None:
        self._hub = Hub()
        await self._hub.open(self._folder)
        hub = self._hub
        self._admin = Admin(self._config, hub.ring, lambda: collected(self._folder, [(0, os.getpid()), *hub.workers]), lambda: hub.notes)
        self._show(self._admin)

    def _adopt(self, config: Config) -> None:
        self._admin.adopting(config)()

    def _open(self) -> int:
        return len(self._hub.workers)

    async def _close(self) -> None:
        await self._hub.close()
