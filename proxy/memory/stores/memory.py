"""Entries in this process. The oldest go when there are too many of them or they weigh too much, and each when it expires."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import islice
from time import monotonic, time

from . import Entry

MAX_BYTES = 256 * 1024 * 1024
_OVERHEAD = 200  # bytes that an entry, a part or a value costs besides its content, roughly


@dataclass(slots=True)
class _Kept:
    expires_at: float
    parts: dict[str, bytes] = field(default_factory=dict)
    aliases: set[str] = field(default_factory=set)
    log: dict[int, bytes] = field(default_factory=dict)
    next: int = 0
    weight: int = _OVERHEAD


class MemoryStore:
    """max_entries, max_bytes: what is kept at most. clock: seconds since the epoch."""

    def __init__(self, max_entries: int, max_bytes: int = MAX_BYTES, clock: Callable[[], float] = time) -> None:
        self._entries: OrderedDict[str, _Kept] = OrderedDict()  # the one written last stands last
        self._aliases: dict[str, str] = {}
        self._leases: dict[str, tuple[str, float]] = {}
        self._max_entries, self._max_bytes = max_entries, max_bytes
        self._weight = 0
        self._clock = clock

    async def put(self, entry: Entry) -> None:
        kept = self._find(entry.name) or _Kept(entry.expires_at)
        added = sum(len(value) + _OVERHEAD for value in entry.parts.values()) + sum(map(len, entry.aliases))
        freed = sum(len(kept.parts[part]) + _OVERHEAD for part in entry.parts if part in kept.parts)
        kept.parts.update(entry.parts)
        kept.expires_at = entry.expires_at
        kept.aliases.update(entry.aliases)
        self._aliases.update(dict.fromkeys(entry.aliases, entry.name))
        if entry.name not in self._entries:
            self._entries[entry.name] = kept
            self._weight += kept.weight
        self._weigh(kept, added - freed)
        self._entries.move_to_end(entry.name)
        self._make_room()

    async def get(self, names: Sequence[str], part: str) -> list[bytes | None]:
        found = [self._find(name) for name in names]
        return [None if kept is None else kept.parts.get(part) for kept in found]

    async def resolve(self, aliases: Sequence[str]) -> list[str | None]:
        return [name if (name := self._aliases.get(alias)) and self._find(name) else None for alias in aliases]

    async def delete(self, name: str) -> bool:
        return self._find(name) is not None and self._drop(name)

    async def append(self, name: str, values: Sequence[bytes], expires_at: float, first: int = 0) -> int | None:
        kept = self._find(name)
        if kept is None:
            return None
        for value in values:
            kept.log[kept.next] = value
            kept.next += 1
        weight = sum(len(value) + _OVERHEAD for value in values)
        while kept.log and (oldest := next(iter(kept.log))) < first:
            weight -= len(kept.log.pop(oldest)) + _OVERHEAD
        kept.expires_at = expires_at
        self._weigh(kept, weight)
        self._entries.move_to_end(name)
        self._make_room()
        return kept.next

    async def read(self, name: str, after: int = -1, most: int = 1000) -> list[tuple[int, bytes]]:
        kept = self._find(name)
        if kept is None:
            return []
        return list(islice(((n, kept.log[n]) for n in range(max(0, after + 1), kept.next) if n in kept.log), most))

    async def remove(self, name: str, number: int) -> bool:
        kept = self._find(name)
        if kept is None or number not in kept.log:
            return False
        self._weigh(kept, -len(kept.log.pop(number)) - _OVERHEAD)
        return True

    async def lease(self, name: str, holder: str, seconds: float, force: bool = False) -> bool:
        now = monotonic()
        if len(self._leases) > self._max_entries:
            self._leases = {n: held for n, held in self._leases.items() if held[1] > now}
        has, until = self._leases.get(name, ("", 0.0))
        if not force and has != holder and until > now:
            return False
        self._leases[name] = (holder, now + seconds)
        return True

    async def release(self, name: str, holder: str) -> None:
        if self._leases.get(name, ("",))[0] == holder:
            del self._leases[name]

    async def close(self) -> None:
        self._entries.clear()
        self._aliases.clear()

    # ---- keeping within bounds ----

    def _find(self, name: str) -> _Kept | None:
        kept = self._entries.get(name)
        if kept is not None and kept.expires_at <= self._clock():
            self._drop(name)
            return None
        return kept

    def _drop(self, name: str) -> bool:
        kept = self._entries.pop(name)
        self._weight -= kept.weight
        for alias in kept.aliases:
            if self._aliases.get(alias) == name:
                del self._aliases[alias]
        return True

    def _weigh(self, kept: _Kept, change: int) -> None:
        kept.weight += change
        self._weight += change

    def _make_room(self) -> None:
        """The entry just written stands last and stays, whatever it weighs."""
        while len(self._entries) > 1:
            name, oldest = next(iter(self._entries.items()))
            full = len(self._entries) > self._max_entries or self._weight > self._max_bytes
            if not full and oldest.expires_at > self._clock():
                return
            self._drop(name)
