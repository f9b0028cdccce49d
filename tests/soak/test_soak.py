"""A soak: the real gateway between callers and upstreams of every kind, while its configuration, workers and stores come and go.

    tox -e soak                                        half an hour, half of it with each kind of store
    DRAGOMAN_SOAK_SECONDS=600 DRAGOMAN_SOAK_SEED=7 tox -e soak

The normal run has a few seconds of it. Everything is drawn from one seed, which is printed: what is asked, how, what the upstream does
at each attempt, and what happens to the processes. (What meets what is a matter of time, and differs.)

It goes in rounds. In each, callers call while something happens; then all of them end, and the books are compared: every answer was
honest (judge.py), every request has its line of the log, the metrics are the sum of the lines, no stream is open, and no upstream is
still being asked. In the last rounds nobody is killed: there memory and descriptors of each process must not grow.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import secrets
import ssl
import statistics
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import orjson
import pytest

from ..attack.conftest import certify
from ..attack.servers import OwnPostgres, OwnRedis, Server
from . import callers
from .callers import PATIENCE, Ask, Callers, Connection, Manner
from .faults import Played
from .gateway import Soaked, configuration, free_ports
from .judge import NONE, WHOLE, Heard, judge
from .provider import MARK, Provider
from .weather import CALM, KINDS, Weather

SECONDS = float(os.environ.get("DRAGOMAN_SOAK_SECONDS", 20))
SEED = int(os.environ.get("DRAGOMAN_SOAK_SEED", secrets.randbelow(10**6)))
STORES = ("redis", "postgres")
ROUND = 15.0  # seconds
CALLERS = 16
THINKING = 0.2  # seconds at most that a caller waits before it asks again
SETTLES = 90.0  # seconds: nothing takes so long to settle, unless the machine is very busy

HEALTHY = tuple(kind for kind in KINDS if kind != "kill")
WILD = [KINDS, ("reload", "reload_broken"), ("kill", "reload"), ("restart", "freeze"), CALM]
TAME = [HEALTHY, ("reload", "reload_broken"), CALM, ("restart", "freeze")]

# ---- the end ----
LARGEST = 200.0  # MB that a process may hold at all
GROWTH, ROOM = 1.1, 6.0  # times and MB that one may hold more in the last third of the tame rounds than in the third before
DESCRIPTORS = 12  # that may be more: connections to the store


class Soak:
    """One gateway's. rounds: those over."""

    def __init__(self, soaked: Soaked, provider: Provider, server: Server, who: Callers, configured: Callable[[], str]) -> None:
        self.soaked, self.provider, self.server, self.callers = soaked, provider, server, who
        self.asks: dict[str, Ask] = {}  # that are not settled, by request id
        self.outcomes: Counter[str] = Counter()
        self.good: Counter[bool] = Counter()  # of asks whose upstream answered well: whether the caller got it
        self._numbers = 0
        self._begun: set[str] = set()
        self._ledger: dict[str, float] = {}  # how the metrics differ from the log, since workers were killed
        self._killed = self._killing = False  # in this round; at this moment
        self.weather = Weather(soaked, server, random.Random(f"{SEED}/weather"), configured, self._harm)
        self.plateaus: list[dict[int, tuple[float, int]]] = []

    # ---- a round ----

    async def round(self, kinds: tuple[str, ...], seconds: float) -> None:
        over = asyncio.Event()
        self._killed = False
        tasks = [asyncio.create_task(self._caller(over)) for _ in range(CALLERS)]
        tasks += [asyncio.create_task(self._tail(over)), asyncio.create_task(self.weather.blow(kinds, over))]
        try:
            await asyncio.wait(tasks, timeout=seconds, return_when=asyncio.FIRST_EXCEPTION)
            over.set()
            async with asyncio.timeout(3 * PATIENCE):
                await asyncio.gather(*tasks)
        finally:
            over.set()
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)
            for connection in list(self.callers.connections):
                self.callers.drop(connection)
            await asyncio.sleep(0)
        await self._books()

    async def _tail(self, over: asyncio.Event) -> None:
        while not over.is_set():
            self._read()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(over.wait(), 0.05)

    def _harm(self, killing: bool) -> None:
        """A process is being killed: what is under way may end anyhow, and what is over may have lost its line."""
        self._killing, self._killed = killing, True
        for asked in self.asks.values():
            asked.harmed = True
        for connection in self.callers.connections:
            connection.harmed = True

    # ---- callers ----

    async def _caller(self, over: asyncio.Event) -> None:
        kept: Connection | None = None
        while not over.is_set():
            number = self._next()
            chance = random.Random(f"{SEED}/ask/{number}")
            kind = chance.random()
            if kind < 0.08:
                await self._chain(number, chance)
            elif kind < 0.11:
                await self._background(number, chance)
            else:
                make = callers.talk if kind < 0.75 else callers.raw if kind < 0.9 else callers.count if kind < 0.92 else callers.odd
                kept = await self._ask(make(number, chance), Manner.drawn(chance), kept)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(over.wait(), chance.random() * THINKING)
        if kept is not None:
            self.callers.drop(kept)

    def _next(self) -> int:
        self._numbers += 1
        return self._numbers

    def _begin(self, asked: Ask) -> None:
        self.asks[asked.id] = asked
        self._begun.add(asked.id)

    async def _ask(self, asked: Ask, manner: Manner, kept: Connection | None = None) -> Connection | None:
        self._begin(asked)
        kept = await self.callers.ask(asked, manner, kept)
        asked.over = True
        self._settle(asked)
        return kept

    async def _said(self, asked: Ask) -> Any:
        """Ask politely. The answer, if it is whole and not a stream."""
        await self._drop(self._ask(asked, Manner()))
        if asked.stream or not asked.heard.ended or asked.heard.status != 200:
            return None
        return orjson.loads(asked.heard.body)

    async def _drop(self, asking: Awaitable[Connection | None]) -> None:
        kept = await asking
        if kept is not None:
            self.callers.drop(kept)

    async def _chain(self, number: int, chance: random.Random) -> None:
        """A response that is stored, read, continued, and deleted."""
        first = callers.talk(number, chance, shape="responses", stream=False, store=True, model="chat/m")
        answer = await self._said(first)
        if answer is None:
            return
        await self._stored(answer, "alice" if first.key == "alice" else "limited")
        stream = chance.random() < 0.5
        again = self._next()
        text = {"role": "user", "content": MARK % again}
        results = [
            {"type": "function_call_output", "call_id": item["call_id"], "output": "Nothing."}
            for item in answer["output"]
            if item["type"] == "function_call"
        ]
        more = {"previous_response_id": answer["id"], "input": [*results, text], "store": True, "model": "messages/m"}
        second = callers.talk(again, chance, shape="responses", stream=stream, **more)
        second.key = first.key
        await self._said(second)
        gone = Ask(self._next(), f"/v1/responses/{answer['id']}", method="DELETE", key=first.key, lines=range(1))
        deleted = await self._said(gone)
        if deleted is not None:
            after = Ask(self._next(), gone.path, method="GET", key=first.key, lines=range(1), may_be=(404,))
            await self._said(after)
            assert after.heard.status != 200, "a deleted response is there"

    async def _stored(self, answer: Any, key: str) -> None:
        """What its caller was told is stored can be read, and is the same; unless the store is away."""
        asked = Ask(self._next(), f"/v1/responses/{answer['id']}", method="GET", key=key, lines=range(1))
        found = await self._said(asked)
        if found is not None:
            assert found == answer
        else:
            assert asked.heard.status != 404, "a response that was stored is not there"

    async def _background(self, number: int, chance: random.Random) -> None:
        """A response that goes on by itself ends, and its reader learns how."""
        asked = callers.talk(number, chance, shape="responses", stream=False, store=True, background=True, model="chat/m")
        self._begin(asked)
        await self._drop(self.callers.ask(asked, Manner(), None))
        if asked.heard.ended and asked.heard.status == 200:
            await self._poll(asked)
        asked.over = True
        self._settle(asked)

    async def _poll(self, asked: Ask) -> None:
        """Read a background response until it has ended; then this is what was heard of it."""
        answer, deadline = orjson.loads(asked.heard.body), time.monotonic() + PATIENCE
        while answer["status"] in ("queued", "in_progress"):
            assert time.monotonic() < deadline, "a background response does not end"
            await asyncio.sleep(0.5)
            path = f"/v1/responses/{answer['id']}"
            answer = await self._said(Ask(self._next(), path, method="GET", key=asked.key, lines=range(1))) or answer
        asked.final = answer

    # ---- what came of it ----

    def _read(self) -> None:
        for line in self.soaked.read():
            asked = self.asks.get(line["request_id"])
            if asked is None:
                assert line["request_id"] not in self._begun, f"a second line of one request: {line}"
                raise AssertionError(f"a line of nobody: {line}")
            asked.seen.append(line)
            self._settle(asked)

    def _settle(self, asked: Ask, last: bool = False) -> None:
        """Judge a request of which everything is known."""
        if not (asked.settled or (last and asked.over)):
            return
        if asked.lines.stop - asked.lines.start > 1 and not last and len(asked.seen) < asked.lines.stop - 1:
            return  # another line may come
        del self.asks[asked.id]
        attempts = self.provider.attempts.pop(asked.number, [])
        self._judge(asked, attempts)

    def _judge(self, asked: Ask, attempts: list[Played]) -> None:
        line = asked.seen[0] if asked.seen else None
        asked.harmed |= self._killing
        if asked.left:
            self.outcomes["left"] += 1
            return
        try:
            if asked.harmed and asked.final is None and not asked.heard.whole:
                self.outcomes["harmed"] += 1
                return
            if asked.final is not None:
                found = self._ended(asked, attempts, line)
            elif asked.lines.stop == 1:
                found = self._unlogged(asked)
            else:
                assert len(asked.seen) in asked.lines or asked.harmed, "a request without its line of the log"
                lost = asked.harmed and line is None
                found = judge(asked.heard, asked.shape, asked.stream, attempts, line, asked.may_be, lost, asked.slow)
                assert found != NONE, "no answer"
        except (AssertionError, ValueError, LookupError, TypeError) as error:
            told = [(played.fault, played.status, played.content is not None) for played in attempts]
            heard = asked.heard
            raise AssertionError(
                f"{asked.id}: {error!r}\nasked: {asked.method} {asked.path} {asked.body[:300]!r}\nattempts: {told}\n"
                f"heard: {heard.status} {heard.headers} ended={heard.ended} {heard.body[:1500]!r} … {heard.body[-800:]!r}\n"
                f"line: {line}\nexpected: {[str(played.content)[:300] for played in attempts]}"
            ) from error
        self.outcomes[found] += 1
        if attempts and attempts[-1].good and not asked.harmed:
            self.good[found == WHOLE] += 1

    def _ended(self, asked: Ask, attempts: list[Played], line: Any) -> str:
        """A background response."""
        status = asked.final["status"]
        if status == "failed":
            assert asked.final["error"]["message"]
            assert asked.harmed or line["error"]
            return "failed in the background"
        if line is not None and line.get("error") == "state_unavailable":
            line = {key: value for key, value in line.items() if key != "error"}  # the store took it, and its word of that did not come
        heard = Heard(200, {}, orjson.dumps(asked.final), True)
        return judge(heard, "responses", False, attempts, line) + " in the background"

    def _unlogged(self, asked: Ask) -> str:
        """A request that no upstream has a part in."""
        heard = asked.heard
        assert heard.ended, "no whole answer"
        if heard.status >= 500:
            assert orjson.loads(heard.body)["error"]["code"] == "state_unavailable"
        else:
            assert heard.status == 200 or heard.status in asked.may_be
        return "own"

    # ---- between rounds ----

    async def _until(self, condition: Callable[[], object], what: str) -> None:
        deadline = time.monotonic() + SETTLES
        while not condition():
            assert time.monotonic() < deadline, what
            await asyncio.sleep(0.05)

    async def _books(self) -> None:
        """Everything is over: compare."""
        self.provider.let_go()
        await self._until(self._lines_are_there, "requests without a line of the log")
        await self._until(lambda: not self.provider.busy, "an upstream is still being asked")
        difference: dict[str, float] = {}
        streams = 1.0
        deadline = time.monotonic() + SETTLES
        while time.monotonic() < deadline:
            with contextlib.suppress(OSError):  # the admin listener's process was killed, too
                counted, streams = await asyncio.to_thread(self.soaked.metrics)
                self._read()
                difference = counted - self.soaked.lines
                if not streams and (difference == self._ledger or self._killed):
                    break
            await asyncio.sleep(0.1)
        assert not streams, f"{streams} streams are open"
        if self._killed:
            assert all(count >= 0 for count in difference.values()), difference
            self._ledger = difference
        assert difference == self._ledger, f"the metrics are not the sum of the log: {difference}, before: {self._ledger}"
        for asked in list(self.asks.values()):
            self._settle(asked, last=True)
        self.provider.attempts.clear()
        self.plateaus.append(self.soaked.held())

    def _lines_are_there(self) -> bool:
        self._read()
        return all(len(asked.seen) >= asked.lines.start or asked.harmed for asked in self.asks.values())


def flat(plateaus: list[dict[int, tuple[float, int]]]) -> list[str]:
    """Which process holds more than before. plateaus: of the tame rounds."""
    found = []
    third = len(plateaus) // 3
    for pid in plateaus[-1]:
        memory = [held[pid][0] for held in plateaus if pid in held]
        files = [held[pid][1] for held in plateaus if pid in held]
        if memory[-1] > LARGEST:
            found.append(f"{pid}: {memory[-1]:.0f} MB")
        if third < 2:
            continue
        before, after = statistics.median(memory[third : 2 * third]), statistics.median(memory[-third:])
        if after > GROWTH * before + ROOM:
            found.append(f"{pid}: {after:.0f} MB after {before:.0f} MB")
        if statistics.median(files[-third:]) > statistics.median(files[third : 2 * third]) + DESCRIPTORS:
            found.append(f"{pid}: descriptors {files}")
    return found


def store(kind: str, folder: Path) -> Server:
    if kind == "postgres":
        return OwnPostgres()
    os.mkdir(folder / "redis")
    return OwnRedis("--appendonly", "yes", "--dir", str(folder / "redis"))  # what was stored outlives a restart


@pytest.mark.slow
@pytest.mark.timeout(SECONDS + 900)
@pytest.mark.parametrize("kind", STORES)
def test_soak(kind: str, tmp_path: Path) -> None:
    print(f"seed {SEED}, {SECONDS / len(STORES):g} seconds with {kind}")
    certificate, _ = certify(tmp_path, "soak")
    server = store(kind, tmp_path)
    with server:
        asyncio.run(_main(server, tmp_path, ssl.create_default_context(cafile=certificate), SECONDS / len(STORES)))


async def _main(server: Server, folder: Path, context: ssl.SSLContext, seconds: float) -> None:
    async with Provider(SEED) as provider:
        ports, chance = free_ports(), random.Random(f"{SEED}/configuration")

        def configured() -> str:
            return configuration(provider, server, ports, folder, chance)

        soaked = Soaked(configured(), ports, folder)
        try:
            soak = Soak(soaked, provider, server, Callers(ports["model"], ports["tls"], context), configured)
            rounds = max(2, round(seconds / ROUND))
            wild = rounds // 2
            for number in range(rounds):
                kinds = WILD[number % len(WILD)] if number < wild else TAME[number % len(TAME)]
                await soak.round(kinds, seconds / rounds)
                held = ", ".join(f"{memory:.0f} MB {files}" for memory, files in soak.plateaus[-1].values())
                print(f"round {number + 1}/{rounds} {','.join(kinds) or 'calm'}: {dict(soak.outcomes)}; {held}", flush=True)
            grown = flat(soak.plateaus[wild:])
            assert not grown, grown
            assert soak.good[True] > 9 * soak.good[False], soak.good
            await asyncio.to_thread(soaked.running.stop)
            soaked.read()
            for (level, message), count in soaked.others.most_common():
                print(f"{count} x {level}: {message}")
            assert not [message for _, message in soaked.others if "are aborted after" in message], "something was still served"
        finally:
            soaked.close()
