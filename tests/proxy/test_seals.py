"""The notes of tool calls in the state storage: bounded, each owner's apart, and never a reason to fail."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from typing import Any

import pytest

from dragoman.proxy.memory.seals import MOST_WRITES, Seals
from dragoman.proxy.memory.stores import Away, Entry
from dragoman.proxy.memory.stores.memory import MemoryStore


class Slow(MemoryStore):
    """Writes nothing until it is let."""

    def __init__(self) -> None:
        super().__init__(100)
        self.let = asyncio.Event()

    async def put(self, entry: Entry) -> None:
        await self.let.wait()
        await super().put(entry)


class Gone(MemoryStore):
    async def put(self, entry: Entry) -> None:
        raise Away("gone")

    async def get(self, names: Sequence[str], part: str) -> list[bytes | None]:
        raise Away("gone")


def test_a_note_is_found_before_and_after_it_is_written() -> None:
    async def run() -> None:
        store = Slow()
        seals = Seals(store, 60)
        seals.keep("alice", "calls_1", b"[1]")
        assert await seals.find("alice", ["calls_1", "calls_2"]) == [b"[1]", None]
        assert await seals.find("bob", ["calls_1"]) == [None]
        store.let.set()
        await seals.close()
        assert await Seals(store, 60).find("alice", ["calls_2", "calls_1"]) == [None, b"[1]"]
        assert await Seals(store, 60).find("bob", ["calls_1"]) == [None]

    asyncio.run(run())


def test_who_has_no_note_is_known_of_a_store_of_ones_own_only() -> None:
    async def run() -> None:
        own = Seals(MemoryStore(100), 60)
        assert not own.may_hold("alice")
        own.keep("alice", "calls_1", b"[1]")
        assert own.may_hold("alice")  # it is being written
        await own.close()
        assert (own.may_hold("alice"), own.may_hold("bob")) == (True, False)
        shared: Any = object()  # a store that other processes write to; it is not asked
        assert Seals(shared, 60).may_hold("bob")
        assert not Seals(shared, 0).may_hold("alice")

    asyncio.run(run())


def test_notes_expire_and_leave_what_is_stored_in_peace() -> None:
    now = 1000.0

    async def run() -> None:
        nonlocal now
        store = MemoryStore(100, clock=lambda: now, most_per_owner=2)
        await store.put(Entry("x/resp_1", {"head": b"{}"}, now + 1e9, owner="x"))
        seals = Seals(store, 60)
        for number in range(4):
            seals.keep("", f"calls_{number}", b"[]")
            await seals.close()
        assert await seals.find("", [f"calls_{number}" for number in range(4)]) == [None, None, b"[]", b"[]"]
        assert await store.get(["x/resp_1"], "head") == [b"{}"]
        now = 1e12
        assert await seals.find("", ["calls_3"]) == [None]

    asyncio.run(run())


def test_a_store_that_is_away_is_no_reason_to_fail(caplog: pytest.LogCaptureFixture) -> None:
    async def run() -> None:
        seals = Seals(Gone(100), 60)
        seals.keep("alice", "calls_1", b"[1]")
        await seals.close()
        assert await seals.find("alice", ["calls_1"]) == [None]

    with caplog.at_level(logging.WARNING):
        asyncio.run(run())
    assert len(caplog.records) == 2


def test_not_more_is_written_at_once_than_fits() -> None:
    async def run() -> None:
        store = Slow()
        seals = Seals(store, 60)
        for number in range(MOST_WRITES + 5):
            seals.keep("", f"calls_{number}", b"[]")
        assert await seals.find("", [f"calls_{MOST_WRITES - 1}", f"calls_{MOST_WRITES}"]) == [b"[]", None]
        store.let.set()
        await seals.close()

    asyncio.run(run())
