"""What happens to the gateway and its stores while callers call: reloads, killed workers, stores that restart and freeze."""

from __future__ import annotations

import asyncio
import os
import random
import signal
from collections.abc import Callable
from dataclasses import dataclass

from ..attack.servers import Server
from .gateway import WORKERS, Soaked, alive

PROCESSES = WORKERS + 1  # the admin listener has one of its own
PAUSE = 1.0  # seconds between two incidents, about

CALM = ()
KINDS = ("reload", "reload_broken", "kill", "restart", "freeze")


@dataclass
class Weather:
    """configured: another configuration. killing: called with True when a process is about to be killed, with False when it is gone."""

    soaked: Soaked
    server: Server
    chance: random.Random
    configured: Callable[[], str]
    killing: Callable[[bool], None]

    async def blow(self, kinds: tuple[str, ...], over: asyncio.Event) -> None:
        """One incident after the other, until it is over; then everything works."""
        while kinds and not over.is_set():
            await getattr(self, self.chance.choice(kinds))()
            try:
                await asyncio.wait_for(over.wait(), self.chance.uniform(0.2, 2 * PAUSE))
            except TimeoutError:
                pass

    async def reload(self) -> None:
        self.soaked.reload(self.configured())

    async def reload_broken(self) -> None:
        """A file that cannot be used changes nothing, and neither does what comes after the next good one."""
        text = self.configured()
        self.soaked.reload(self.chance.choice((text[: len(text) // 2], text + "\nunknown: 1\n", "", text.replace("soak-key", "other"))))
        await asyncio.sleep(self.chance.random() / 5)
        self.soaked.reload(text)

    async def kill(self) -> None:
        children = self.soaked.children()
        if len(children) < PROCESSES:
            return  # the last one that was killed is not replaced yet
        pid = self.chance.choice(children)
        self.killing(True)
        os.kill(pid, signal.SIGKILL)
        while alive(pid):  # noqa: ASYNC110 - nobody tells
            await asyncio.sleep(0.01)
        self.killing(False)

    async def restart(self) -> None:
        await asyncio.to_thread(self.server.stop)
        await asyncio.sleep(self.chance.random())
        await asyncio.to_thread(self.server.start)

    async def freeze(self) -> None:
        self.server.freeze()
        try:
            await asyncio.sleep(self.chance.uniform(0.1, 4))
        finally:
            self.server.thaw()
