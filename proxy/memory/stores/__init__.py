"""Where the memory of the Responses API is stored: one small interface, four places.

    memory     in this process, bounded; forgotten when it ends
    sqlite     one file on this machine, shared by all workers
    postgres   shared by all replicas              (extra `dragoman[postgres]`)
    redis      shared by all replicas, or a cluster (extra `dragoman[redis]`)

A store knows nothing of responses. It keeps entries: under one name some named parts, perhaps a log of numbered values, and one
moment at which all of it expires. Names are made by the caller and hold no braces; they are never used again once gone.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib import import_module
from typing import Protocol

from ....codecs import errors
from ....conf import ConfigError
from ....conf.model import StateStorage
from .redaction import redact


@dataclass(frozen=True, slots=True)
class Entry:
    """What `put` writes. expires_at: seconds since the epoch. aliases: other names that `resolve` finds it by.

    owner: whose share it counts against: who has too many entries loses its own oldest ones, never another's.
    """

    name: str
    parts: dict[str, bytes]
    expires_at: float
    aliases: tuple[str, ...] = field(default=())
    owner: str = ""


class Store(Protocol):
    """Every method raises GatewayError (kind server, code state_unavailable) when the store cannot answer.

    Away, one of these, means that the server was not reached: every call may be repeated then, on a new connection.
    """

    async def put(self, entry: Entry) -> None:
        """Write the parts, all or none. Of an entry that is there, other parts and the log stay."""

    async def get(self, names: Sequence[str], part: str) -> list[bytes | None]:
        """The part of each name; None where there is none, or no longer."""

    async def resolve(self, aliases: Sequence[str]) -> list[str | None]:
        """The names that the aliases stand for."""

    async def delete(self, name: str) -> bool:
        """Remove the entry with its log; whether it was there."""

    async def append(self, name: str, values: Sequence[bytes], expires_at: float, first: int = 0, token: str = "") -> int | None:
        """Add values to an entry's log, all or none, and move its expiry; values numbered below `first` are removed.

        token: names this call; when the last append of the entry had the same one, nothing is added a second time.
        Returns the number that the next value will have (the first has 0); None, and nothing is written, without the entry.
        """

    async def read(self, name: str, after: int = -1, most: int = 1000) -> list[tuple[int, bytes]]:
        """The log's values with a number above `after`, in order, so many at most."""

    async def remove(self, name: str, number: int) -> bool:
        """Take one value out of a log; whether it was there. The others keep their numbers."""

    async def lease(self, name: str, holder: str, seconds: float, force: bool = False) -> bool:
        """Take or renew the lease of this name; False while another holder has it. force: take it from whoever has it."""

    async def release(self, name: str, holder: str) -> None:
        """Give a lease back; nothing happens when it is another's by now."""

    async def close(self) -> None: ...


class Unusable(ConfigError):
    """The configured store cannot be used at all: a package, a folder or a valid address is missing."""

    def __init__(self, message: str) -> None:
        super().__init__([])
        self.args = (f"state_storage: {message}",)


class Away(errors.GatewayError):
    """The server was not reached, or cannot do its work at the moment: another try may succeed. detail: why, without secrets."""

    def __init__(self, detail: str) -> None:
        super().__init__("The gateway's state storage does not answer.", detail, code="state_unavailable")


def make(storage: StateStorage) -> Store:
    """The configured store. Raises Unusable. To be called inside the loop that will use it."""
    if storage.type == "memory":
        from .memory import MemoryStore

        return MemoryStore(storage.max_entries, most_per_owner=storage.max_entries_per_key)
    from .guard import Guard

    return Guard(_shared(storage), storage.timeout)


def _shared(storage: StateStorage) -> Store:
    most = storage.max_entries_per_key
    if storage.type == "sqlite":
        from .sqlite import SqliteStore

        return SqliteStore(storage.path or "", most_per_owner=most)
    check(storage)
    if storage.type == "postgres":
        from .postgres import PostgresStore

        return PostgresStore(storage.connection_string or "", most_per_owner=most)
    from .redis import RedisStore

    return RedisStore(storage.url or "", most_per_owner=most)


_PACKAGES = {"postgres": ("psycopg",), "redis": ("redis",)}


def check(storage: StateStorage) -> None:
    """Raises Unusable when a package that this kind of store needs is not installed."""
    for package in _PACKAGES.get(storage.type, ()):
        try:
            import_module(package)
        except ImportError:
            wanted = f"dragoman[{storage.type}]"
            raise Unusable(f"type {storage.type} needs the package {package}: pip install '{wanted}'") from None


@contextmanager
def driver_errors(*kinds: type[Exception], away: Callable[[Exception], bool], address: str = "") -> Iterator[None]:
    """Turn a driver's exceptions into the two errors that callers know.

    away: whether an exception means that the server was not reached. address: its secrets are not repeated.
    """
    try:
        yield
    except kinds as error:
        detail = redact(f"{type(error).__name__}: {error}".strip(), address)
        if away(error):
            raise Away(detail) from None
        raise errors.GatewayError("The gateway's state storage does not answer.", detail, code="state_unavailable") from None


class Shares:
    """Counts an owner's writes, to say when its entries are to be counted: not at every write, but before a twentieth too many.

    most: entries of one owner; None: as many as it likes. An entry without an owner counts against nobody.
    """

    def __init__(self, most: int | None) -> None:
        self.most = most
        self._every = max(1, (most or 0) // 20)
        self._writes: OrderedDict[str, int] = OrderedDict()

    def due(self, owner: str) -> bool:
        """One more write of this owner: whether its oldest entries are to be removed now."""
        if self.most is None or not owner:
            return False
        count = self._writes.pop(owner, 0) + 1
        due = count >= self._every
        self._writes[owner] = 0 if due else count
        if len(self._writes) > _OWNERS_COUNTED:
            self._writes.popitem(last=False)
        return due


_OWNERS_COUNTED = 10_000
