"""Entries in this process, bounded in number and in bytes; each expires.

Above a bound the oldest entry of the owner with the most entries, or the most bytes, is removed: a caller that writes without end
evicts its own entries rather than those of others.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import islice
from time import monotonic, time

from ....codecs import errors
from ....codecs.jsontext import trimmed
from . import Entry, Full

MAX_BYTES = 256 * 1024 * 1024
_OVERHEAD = 200  # approximate bytes of an entry, a part or a value besides its content


@dataclass(slots=True)
class _Share:
    """The entries of one owner. names: in order of writing, the latest last."""

    names: OrderedDict[str, None] = field(default_factory=OrderedDict)
    weight: int = 0


@dataclass(slots=True)
class _Stored:
    owner: str
    expires_at: float
    parts: dict[str, bytes] = field(default_factory=dict)
    aliases: set[str] = field(default_factory=set)
    log: dict[int, bytes] = field(default_factory=dict)
    next: int = 0
    token: str = ""  # of the last append
    weight: int = 0


class MemoryStore:
    """max_entries, max_bytes: of all owners together. most_per_owner: entries of one owner. clock: seconds since the epoch."""

    def __init__(
        self,
        max_entries: int,
        max_bytes: int = MAX_BYTES,
        clock: Callable[[], float] = time,
        most_per_owner: int | None = None,
    ) -> None:
        self._entries: OrderedDict[str, _Stored] = OrderedDict()  # in order of writing
        self._shares: dict[str, _Share] = {}
        self._aliases: dict[str, str] = {}
        self._leases: dict[str, tuple[str, float]] = {}
        self._max_entries, self._max_bytes, self._most_per_owner = max_entries, max_bytes, most_per_owner
        self._weight = 0
        self._clock = clock

    async def put(self, entry: Entry) -> None:
        stored = self._find(entry.name) or self._added(entry)
        before = sum(len(stored.parts[part]) + _OVERHEAD for part in entry.parts if part in stored.parts)
        before += sum(map(len, stored.aliases))
        stored.parts.update({part: trimmed(value) for part, value in entry.parts.items()})
        stored.expires_at = entry.expires_at
        stored.aliases.update(entry.aliases)
        self._aliases.update(dict.fromkeys(entry.aliases, entry.name))
        after = sum(len(value) + _OVERHEAD for value in entry.parts.values()) + sum(map(len, stored.aliases))
        self._written(entry.name, stored, after - before)

    async def get(self, names: Sequence[str], part: str) -> list[bytes | None]:
        entries = [self._find(name) for name in names]
        return [None if stored is None else stored.parts.get(part) for stored in entries]

    def has_any(self, owner: str) -> bool:
        """Whether there is an entry of this owner, though it may have expired."""
        return owner in self._shares

    async def resolve(self, aliases: Sequence[str]) -> list[str | None]:
        return [name if (name := self._aliases.get(alias)) and self._find(name) else None for alias in aliases]

    async def delete(self, name: str) -> bool:
        return self._find(name) is not None and self._drop(name)

    async def append(
        self, name: str, values: Sequence[bytes], expires_at: float, first: int = 0, token: str = "", most: int | None = None
    ) -> int | None:
        stored = self._find(name)
        if stored is None:
            return None
        if token and stored.token == token:
            return stored.next
        if most is not None and sum(map(len, stored.log.values())) + sum(map(len, values)) > most:
            raise Full
        weight = sum(len(value) + _OVERHEAD for value in values)
        if not first and stored.weight + weight > self._max_bytes // 2:
            raise _too_large()  # what is stored stays
        for value in values:
            stored.log[stored.next] = trimmed(value)
            stored.next += 1
        while stored.log and (oldest := next(iter(stored.log))) < first:
            weight -= len(stored.log.pop(oldest)) + _OVERHEAD
        stored.expires_at, stored.token = expires_at, token
        self._written(name, stored, weight)
        return stored.next

    async def read(self, name: str, after: int = -1, most: int = 1000) -> list[tuple[int, bytes]]:
        stored = self._find(name)
        if stored is None:
            return []
        return list(islice(((n, stored.log[n]) for n in range(max(0, after + 1), stored.next) if n in stored.log), most))

    async def remove(self, name: str, number: int) -> bool:
        stored = self._find(name)
        if stored is None or number not in stored.log:
            return False
        self._weigh(stored, -len(stored.log.pop(number)) - _OVERHEAD)
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
        self._shares.clear()
        self._aliases.clear()

    # ---- bounds ----

    def _find(self, name: str) -> _Stored | None:
        stored = self._entries.get(name)
        if stored is not None and stored.expires_at <= self._clock():
            self._drop(name)
            return None
        return stored

    def _added(self, entry: Entry) -> _Stored:
        stored = self._entries[entry.name] = _Stored(entry.owner, entry.expires_at)
        self._shares.setdefault(entry.owner, _Share()).names[entry.name] = None
        self._weigh(stored, _OVERHEAD)
        return stored

    def _drop(self, name: str) -> bool:
        stored = self._entries.pop(name)
        self._weigh(stored, -stored.weight)
        share = self._shares[stored.owner]
        del share.names[name]
        if not share.names:
            del self._shares[stored.owner]
        for alias in stored.aliases:
            if self._aliases.get(alias) == name:
                del self._aliases[alias]
        return True

    def _weigh(self, stored: _Stored, change: int) -> None:
        stored.weight += change
        self._shares[stored.owner].weight += change
        self._weight += change

    def _written(self, name: str, stored: _Stored, change: int) -> None:
        """Account for a write. Raises GatewayError for an entry of more than half of `max_bytes`, which is not stored."""
        self._weigh(stored, change)
        self._entries.move_to_end(name)
        self._shares[stored.owner].names.move_to_end(name)
        if stored.weight > self._max_bytes // 2:
            self._drop(name)
            raise _too_large()
        self._make_room(stored.owner)

    def _make_room(self, writer: str) -> None:
        """Remove entries until the bounds hold; never the one just written, which is the last."""
        now = self._clock()
        while (oldest := next(iter(self._entries))) and self._entries[oldest].expires_at <= now and len(self._entries) > 1:
            self._drop(oldest)
        own = self._shares[writer]
        while self._most_per_owner is not None and len(own.names) > max(1, self._most_per_owner):
            self._drop(next(iter(own.names)))
        while len(self._entries) > max(1, self._max_entries):
            self._drop(next(iter(self._fullest(lambda share: len(share.names), writer).names)))
        while self._weight > self._max_bytes and len(self._entries) > 1:
            self._drop(next(iter(self._fullest(lambda share: share.weight, writer).names)))

    def _fullest(self, measure: Callable[[_Share], int], writer: str) -> _Share:
        """The largest share, except that of a writer whose only entry is the one just written."""
        spare = [share for owner, share in self._shares.items() if owner != writer or len(share.names) > 1]
        return max(spare, key=measure)


def _too_large() -> errors.GatewayError:
    return errors.GatewayError("This entry is too large for the gateway's state storage.", code="state_unavailable")
