"""What the tests of the control store share."""

from __future__ import annotations

import asyncio
import functools
import inspect
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import orjson
from sqlalchemy.ext.asyncio import AsyncConnection

from dragoman.codecs.usage import Usage
from dragoman.conf.model import Control
from dragoman.proxy.control import layout
from dragoman.proxy.control.registry import Actor, Registry
from dragoman.proxy.control.store import Store
from dragoman.proxy.control.usage import Recorder, row_of, write
from dragoman.proxy.telemetry.account import Account, Call, Target
from dragoman.proxy.telemetry.metrics import Metrics

ME = Actor("tester", "admin", "command")
NOON = 1_795_694_400.0  # a whole hour; of the 20,783rd day


def looped(test: Callable[..., Awaitable[None]]) -> Callable[..., None]:
    """Run an async test, within a minute."""

    @functools.wraps(test)
    def run(**arguments: Any) -> None:
        async def main() -> None:
            async with asyncio.timeout(200):
                await test(**arguments)

        asyncio.run(main())

    del run.__wrapped__  # type: ignore[attr-defined]
    run.__signature__ = inspect.signature(test)  # type: ignore[attr-defined]
    return run


class Patient(Store):
    """Waits for a busy machine."""

    def _transaction(self, seconds: float, write: bool) -> AbstractAsyncContextManager[AsyncConnection]:
        return super()._transaction(max(seconds, 40.0), write)


@asynccontextmanager
async def opened(control: Control) -> AsyncIterator[tuple[Store, Registry]]:
    store = Patient(control)
    try:
        yield store, Registry(store)
    finally:
        await store.close()


@asynccontextmanager
async def recording(control: Control, store: Store, most: int = 1 << 20) -> AsyncIterator[Any]:
    """A recorder, and what its metrics show."""
    metrics = Metrics()
    recorder: Any = Recorder(store, control.folder, most, metrics)
    recorder.lost, recorder.waiting = metrics.usage_lost._value.get, metrics.usage_waiting._value.get
    try:
        yield recorder
    finally:
        await recorder.close()


def left_in(control: Control) -> list[Path]:
    """The files of usage that wait for the store."""
    return list(Path(control.folder).glob("*.usage"))


async def until(condition: Callable[[], Any], seconds: float = 60.0) -> None:
    """Wait until the condition, which may be a coroutine function, is true."""
    async with asyncio.timeout(seconds):
        while True:
            found = condition()
            if await found if inspect.isawaitable(found) else found:
                return
            await asyncio.sleep(0.005)


TARGET = Target("openai/gpt", "openai", "gpt", "chat", "chat_completions", "h", 443, "reason", "explained")


def account(**more: Any) -> Account:
    """A good answer of gpt to the key k, and what is said otherwise. tokens: input and output. cost: USD."""
    usage = Usage(*more.pop("tokens", (10, 5)))
    cost, target = more.pop("cost", 0.001), more.pop("target", TARGET)
    call = Call(target, False, "bytes", 200, "", "", 1.0, 1.1, 1.2, 1.5, 1, None, usage, cost, True, "stop", "", [], [], [], 0, 0)
    given = {
        "time": NOON,
        "request_id": "req_1",
        "key": "k",
        "operation": "chat",
        "shape": "chat",
        "method": "POST",
        "route": "/v1/chat/completions",
        "path": "/v1/chat/completions",
        "model": "openai/gpt",
        "stream": False,
        "status": 200,
        "begun": 1.0,
        "ended": 1.5,
        "client_left": False,
        "error": None,
        "calls": [call],
        "settings": {},
    }
    return Account(**given | more)


async def written(store: Store, id: str, *accounts: Account) -> None:
    """Write accounts as one batch."""
    lines = [row_of(one, one.last.target.model if one.calls else "", one.user) for one in accounts]
    await write(store, id.encode() + layout.BETWEEN + orjson.dumps(lines))


async def rows(store: Store, text: str) -> list[tuple[Any, ...]]:
    async with store.reading() as connection:
        return [tuple(row) for row in await connection.exec_driver_sql(text)]
