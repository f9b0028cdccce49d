"""What all exchanges of one worker share: the configuration in force, the upstream clients, the memory, and who is being served."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any

from ..codecs import errors
from ..conf.model import Config
from . import journal
from .access import Access
from .demo import DemoClient
from .exchange import Exchange
from .routing import Candidate, Router
from .state import MemoryStore, State
from .upstream import UpstreamClient

log = logging.getLogger("dragoman")


class Gateway:
    """One worker's. Make it inside the running loop."""

    def __init__(self, config: Config, tell: Callable[[dict[str, Any]], None] | None = None) -> None:
        """tell: what gets each exchange's log line; None logs nothing."""
        self.upstream = UpstreamClient(force_instance=True, max_idle=1024)
        self.demo = DemoClient()
        self.exchanges: set[Exchange] = set()
        self.draining = False
        self.state = State(MemoryStore(config.state_storage.max_entries), config.state_storage.ttl)
        self._tell = tell
        self._loop = asyncio.get_running_loop()
        self.adopt(config)

    def adopt(self, config: Config) -> None:
        """Put a configuration in force for the exchanges to come; those under way keep what they have."""
        router = Router(config)
        self.access = Access(config.access_keys)
        self.config, self.router = config, router
        self.meters = bool(config.access_keys or config.prices) or any(one.type == "admin" for one in config.listeners)
        self.timeout = next((one.timeout for one in config.listeners if one.type == "model"), None)

    def upstream_for(self, candidate: Candidate) -> Any:
        return self.demo if candidate.built_in else self.upstream

    def admit(self, exchange: Exchange) -> None:
        """Raises Unauthorized for a caller without a key, Overloaded when this worker takes no more."""
        exchange.key_name = self.access.admit(exchange.credential)
        most = self.config.limits.max_streams
        if self.draining or (most is not None and len(self.exchanges) > most):
            error = errors.Overloaded("The gateway takes no more requests at the moment.")
            error.retry_after = 1
            raise error

    def settle(self, exchange: Exchange) -> None:
        """The exchange is over, however it ended."""
        if self._tell is not None:
            self._tell(journal.line(exchange, self._loop.time()))

    async def close(self) -> None:
        self.upstream.close()
        await self.state.store.close()
