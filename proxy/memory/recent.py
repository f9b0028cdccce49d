"""The recent responses of one connection: what `previous_response_id` can name although it is not stored.

Each lane of a connection (an ordered sequence of responses) keeps its most recent response that did not fail: its whole input,
previous responses included, and its output, as JSON. That ends with the connection. All connections of a worker share a limit; the
least recently used response goes first.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import Any, NamedTuple

from ...codecs import jsontext
from .records import Item

Evicted = Callable[[str], None]
"""Told why a response is no longer kept: `failed`, `memory`."""


class Recent(NamedTuple):
    """A response as its lane keeps it.

    items: a JSON array of all items that precede the input of a request that continues it. link: the fields of a stored record
    that link it to this response; None if this response is not stored.
    """

    id: str
    items: bytes
    link: dict[str, Any] | None

    def begin(self) -> list[Item]:
        items: list[Item] = jsontext.loads(self.items)
        return items


class Worker:
    """The recent responses of all connections of one worker. weight: their bytes."""

    def __init__(self, evicted: Evicted) -> None:
        self.weight = 0
        self.evicted = evicted
        self._recent: OrderedDict[tuple[Connection, str | None], Recent] = OrderedDict()  # the least recently used first

    def put(self, connection: Connection, lane: str | None, recent: Recent, most: int) -> None:
        """most: bytes, of all connections."""
        self.drop(connection, lane)
        self._recent[connection, lane] = recent
        self.weight += len(recent.items)
        connection.weight += len(recent.items)
        while self.weight > most:
            self.drop(*next(iter(self._recent)), "memory")

    def used(self, connection: Connection, lane: str | None) -> Recent:
        self._recent.move_to_end((connection, lane))
        return self._recent[connection, lane]

    def drop(self, connection: Connection, lane: str | None, cause: str = "") -> None:
        """cause: as of Evicted; "" if another response takes its place, or the connection has ended."""
        gone = self._recent.pop((connection, lane), None)
        if gone is None:
            return
        self.weight -= len(gone.items)
        connection.weight -= len(gone.items)
        connection.lanes.pop(lane, None)
        if cause:
            self.evicted(cause)

    def oldest(self, connection: Connection) -> str | None:
        """The lane of a connection whose response was not used for longest. It has one."""
        return next(lane for one, lane in self._recent if one is connection)


class Connection:
    """The recent responses of one connection. lanes: the id of each lane's; the default lane is None. weight: bytes."""

    def __init__(self, worker: Worker, most: int, most_of_worker: int) -> None:
        """most, most_of_worker: bytes."""
        self.lanes: dict[str | None, str] = {}
        self.weight = 0
        self._closed = False
        self._worker, self._most, self._most_of_worker = worker, most, most_of_worker

    def find(self, id: str, lane: str | None) -> Recent | None:
        """The response of this id: of this lane, else of another."""
        for one in (lane, *self.lanes):
            if self.lanes.get(one) == id:
                return self._worker.used(self, one)
        return None

    def keep(self, lane: str | None, recent: Recent) -> None:
        """Keep a lane's response in the place of the one before."""
        if self._closed:
            return
        if len(recent.items) > min(self._most, self._most_of_worker):
            self._worker.drop(self, lane)
            self._worker.evicted("memory")
            return
        self._worker.put(self, lane, recent, self._most_of_worker)
        self.lanes[lane] = recent.id
        while self.weight > self._most:
            self._worker.drop(self, self._worker.oldest(self), "memory")

    def failed(self, lane: str | None, id: Any) -> None:
        """A request of this lane that continued the response of this id has failed: it is not kept any longer, if it is this lane's."""
        if id is not None and self.lanes.get(lane) == id:
            self._worker.drop(self, lane, "failed")

    def close(self) -> None:
        self._closed = True
        for lane in list(self.lanes):
            self._worker.drop(self, lane)


class Lane:
    """One lane of a connection, as a request in it sees it."""

    def __init__(self, connection: Connection, name: str | None) -> None:
        """name: None for the default lane."""
        self._connection, self._name = connection, name

    def find(self, id: str) -> Recent | None:
        return self._connection.find(id, self._name)

    def keep(self, id: str, before: Recent | None, stored: bytes, items: bytes, link: dict[str, Any] | None) -> None:
        """Keep a response that has ended.

        before: the response that it continues, if that is kept, too. stored: otherwise the items before its own input, as a JSON array.
        items: of its own input and output. link: as of Recent.
        """
        all_items = jsontext.joined(stored if before is None else before.items, items)
        self._connection.keep(self._name, Recent(id, jsontext.trimmed(all_items), link))

    def failed(self, id: Any) -> None:
        self._connection.failed(self._name, id)
