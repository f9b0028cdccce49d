"""Storage for the state of the Responses API: one small interface, four implementations.

    memory     in this process, bounded; lost when it ends
    sqlite     one file on this machine, shared by all workers
    postgres   shared by all replicas              (extra `dragoman[postgres]`)
    redis      shared by all replicas, or a cluster (extra `dragoman[redis]`)

A store knows nothing of responses. It stores entries: an entry has a name, named parts, an optional log of numbered values, and one
time at which all of it expires. The user of the store chooses the names; they contain no braces and are not reused.
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
    """The argument of `put`. expires_at: seconds since the epoch. aliases: other names, which `resolve` maps to the entry's.

    owner: whose share the entry counts against. An owner with too many entries loses its own oldest entries.
    """

    name: str
    parts: dict[str, bytes]
    expires_at: float
    aliases: tuple[str, ...] = field(default=())
    owner: str = ""


class Store(Protocol):
    """Every method raises GatewayError (kind server, code state_unavailable) when the store cannot answer.

    The subclass Away means that the server was not reached: any call may then be repeated on a new connection.
    """

    async def put(self, entry: Entry) -> None:
        """Write the parts, all or none. An existing entry retains its other parts and its log."""

    async def get(self, names: Sequence[str], part: str) -> list[bytes | None]:
        """The part of each name; None where there is none or the entry has expired."""

    async def resolve(self, aliases: Sequence[str]) -> list[str | None]:
        """The entry name of each alias; None where there is none."""

    async def delete(self, name: str) -> bool:
        """Remove the entry and its log. Returns whether the entry existed."""

    async def append(
        self, name: str, values: Sequence[bytes], expires_at: float, first: int = 0, token: str = "", most: int | None = None
    ) -> int | None:
        """Append values to an entry's log, all or none, and set its expiry; remove values numbered below `first`.

        token: identifies this call; if the entry's last append had the same token, nothing is appended.
        Returns the number that the next value will get (the first value is 0), or None if there is no such entry.
        Raises Full when the log's values would have more than `most` bytes, together with those that others append at the same time.
        """

    async def read(self, name: str, after: int = -1, most: int = 1000) -> list[tuple[int, bytes]]:
        """At most `most` of the log's values numbered above `after`, in order."""

    async def remove(self, name: str, number: int) -> bool:
        """Remove one value from a log. Returns whether it existed. The numbers of the others do not change."""

    async def lease(self, name: str, holder: str, seconds: float, force: bool = False) -> bool:
        """Take or renew the lease of this name; False while another holder has it. force: take it from the other holder."""

    async def release(self, name: str, holder: str) -> None:
        """Release a lease; no effect when another holder has it."""

    async def close(self) -> None: ...


class Unusable(ConfigError):
    """The configured store cannot be used: a package, a folder or a valid address is missing."""

    def __init__(self, message: str) -> None:
        super().__init__([])
        self.args = (f"state_storage: {message}",)


class Away(errors.GatewayError):
    """The server was not reached or is temporarily unable to serve: a retry may succeed. detail: why, without secrets."""

    def __init__(self, detail: str) -> None:
        super().__init__("The gateway's state storage does not answer.", detail, code="state_unavailable")


class Full(errors.GatewayError):
    """A log would have more bytes than it may: nothing was appended."""

    def __init__(self) -> None:
        super().__init__("The gateway's state storage has no more room for this.", code="state_full")


def make(storage: StateStorage) -> Store:
    """Create the configured store, in the event loop that will use it. Raises Unusable."""
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
    """Raise Unusable when a package that this type of store needs is not installed."""
    for package in _PACKAGES.get(storage.type, ()):
        try:
            import_module(package)
        except ImportError:
            wanted = f"dragoman[{storage.type}]"
            raise Unusable(f"type {storage.type} needs the package {package}: pip install '{wanted}'") from None


@contextmanager
def driver_errors(*kinds: type[Exception], away: Callable[[Exception], bool], address: str = "") -> Iterator[None]:
    """Convert a driver's exceptions to Away or another GatewayError (code state_unavailable).

    away: whether an exception means that the server was not reached. address: its secrets are removed from the detail.
    """
    try:
        yield
    except kinds as error:
        detail = redact(f"{type(error).__name__}: {error}".strip(), address)
        if away(error):
            raise Away(detail) from None
        raise errors.GatewayError("The gateway's state storage does not answer.", detail, code="state_unavailable") from None


class Shares:
    """Counts each owner's writes in this process, and tells when to trim its entries: every `most` / 20 writes rather than at each.

    most: entries of one owner; None: unbounded. Entries without an owner are not counted.
    """

    def __init__(self, most: int | None) -> None:
        self.most = most
        self._every = max(1, (most or 0) // 20)
        self._writes: OrderedDict[str, int] = OrderedDict()

    def due(self, owner: str) -> bool:
        """Count a write of this owner. Returns whether its oldest entries must be trimmed now."""
        if self.most is None or not owner:
            return False
        count = self._writes.pop(owner, 0) + 1
        due = count >= self._every
        self._writes[owner] = 0 if due else count
        if len(self._writes) > _OWNERS_COUNTED:
            self._writes.popitem(last=False)
        return due


_OWNERS_COUNTED = 10_000
