"""Request bodies: received within limits, and parsed without blocking the event loop.

`limits.max_bodies` bounds the bytes of request bodies that a worker holds at a time. A body counts from its first byte until its
request is over, by the bytes received, not by Content-Length: a caller that announces a body and does not send it uses no capacity.

A compressed body (Content-Encoding) is decoded as it arrives, and the limits hold for what comes out of it; what waits to be decoded
counts too.

A body that nobody looks into need not be held: as Passing it goes on to its upstream while it arrives, of any size. It holds one read.
"""

from __future__ import annotations

import asyncio
import gc
from collections import deque
from collections.abc import Awaitable, Callable, Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from ...codecs import bulk, errors, splice
from . import codings

_T = TypeVar("_T")

PIECE = 32 * 1024  # bytes; smaller reads are joined as they arrive
AT_ONCE = 1024 * 1024  # bytes of a body that is parsed in one iteration of the loop
SPARSE = 2 * AT_ONCE  # the same, of one with no more than FEW values
FEW = 100_000
SHORT = 64 * 1024  # bytes of a body that is always translated in one iteration of the loop
DENSE = 4000  # objects and lists up to which a longer body is, too, if it is parsed in one iteration
LONG = 256 * 1024  # bytes of a body that is translated in more than one iteration, or in a thread if nobody knows its values
PIECES = 4  # of a compressed body that are decoded in one iteration of the loop
FREED = 8 * 1024 * 1024  # bytes of bodies after which the heap is trimmed
TRIM_AFTER = 2.0  # seconds: their requests have gone to their upstreams by then
MEMBERS = 1000  # of one compressed body: each costs as much as some kB of text, and may hold nothing
_apart = ThreadPoolExecutor(2, "translation")  # starts its threads on first use, hence after the fork


class Bodies:
    """The bytes of request bodies that one worker holds. most: the limit.

    What many large bodies leave behind in the C library's heap is given back to the system: else a worker keeps the size of its busiest
    moment, up to a megabyte for each stream that such a request began.
    """

    def __init__(self, most: int) -> None:
        self.most = most
        self.held = 0
        self._freed = 0  # bytes, since the heap was trimmed
        self._trimming = False

    def free(self, size: int) -> None:
        """A body of this many bytes is not held any more. Requires a running loop."""
        self.held -= size
        self.freed(size)

    def freed(self, size: int) -> None:
        """So many bytes went back to the C library. Requires a running loop."""
        self._freed += size
        if self._freed >= FREED and not self._trimming:
            self._trimming = True
            asyncio.get_running_loop().call_later(TRIM_AFTER, self._trim)

    def _trim(self) -> None:
        self._trimming, self._freed = False, 0
        _apart.submit(trim_heap)  # some milliseconds, in which other threads run


def trim_heap() -> bool:
    """Whether the C library gave memory back to the system; only glibc has a function for it (malloc_trim(3))."""
    import ctypes  # here, since few processes need it

    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    return trim is not None and bool(trim(0))


class Incoming:
    """One request's body. Call `release` when the request is over. drops: nothing is kept, only the limit is checked."""

    __slots__ = ("_bodies", "_dropped", "_limit", "_pieces", "_size", "_tail", "drops")

    def __init__(self, bodies: Bodies, limit: int) -> None:
        """limit: bytes, for this body."""
        self._bodies, self._limit = bodies, limit
        self.drops = False
        self._size = self._dropped = 0
        self._pieces: list[bytes] = []
        self._tail = bytearray()  # small reads after the pieces

    def expect(self, length: int) -> None:
        """Check the Content-Length, in bytes. Raises TooLarge, Overloaded."""
        if length > self._limit:
            raise self._too_large()
        if self._bodies.held + length > self._bodies.most:
            raise _overloaded()

    def feed(self, data: bytes) -> None:
        """Add received bytes. Raises TooLarge, Overloaded, and then releases the body."""
        size = len(data)
        if self.drops:
            self._dropped += size
            if self._dropped > self._limit:
                raise self._too_large()
            return
        bodies, whole = self._bodies, self._size + size
        if whole > self._limit or bodies.held + size > bodies.most:
            self.release()
            raise self._too_large() if whole > self._limit else _overloaded()
        self._size = whole
        bodies.held += size
        if size < PIECE:
            self._tail += data
        else:
            self._pieces += [bytes(self._tail), data] if self._tail else [data]
            self._tail = bytearray()

    def take(self) -> bytes:
        """Remove and return the body. It counts against the limit until `release`."""
        pieces, tail = self._pieces, bytes(self._tail)
        self._pieces, self._tail = [], bytearray()
        return b"".join([*pieces, tail]) if pieces else tail

    @property
    def large(self) -> bool:
        """Whether `take` takes long: it lets other threads run meanwhile, since it joins nothing but bytes."""
        return self._size > SPARSE

    def release(self) -> None:
        """Discard the body and stop counting it. May be called repeatedly."""
        if self._size:
            self._bodies.free(self._size)
            self._size = 0
            self._pieces, self._tail = [], bytearray()

    def _too_large(self) -> errors.TooLarge:
        return errors.TooLarge(f"The request body is larger than {self._limit} bytes.")


class Passing:
    """One request's body on its way to an upstream. The caller is read no faster than the upstream takes it.

    length: bytes, from Content-Length; None if it is unknown.
    """

    __slots__ = ("_arrived", "_ended", "_loop", "_over", "_piece", "_taken", "length")

    def __init__(self, length: int | None) -> None:
        self.length = length
        self._loop = asyncio.get_running_loop()
        self._piece: bytes | None = None
        self._arrived: asyncio.Future[None] | None = None  # somebody waits for a piece
        self._taken: asyncio.Future[None] | None = None  # of the piece that came last
        self._ended = False  # the whole body has come
        self._over = False  # nobody takes any more

    def feed(self, data: bytes) -> asyncio.Future[None] | None:
        """The next bytes. The future is done when there may be more; None: at once, for nobody takes them."""
        if self._over:
            return None
        self._piece = data
        self._taken = self._loop.create_future()
        self._wake()
        return self._taken

    def end(self) -> None:
        """The whole body has come."""
        self._ended = True
        self._wake()

    async def produce(self, write: Callable[[bytes], Awaitable[None]]) -> None:
        """Write the body; an UpstreamRequest's `producer`. To be called once. Ends with `close`, however it ends."""
        try:
            while (piece := await self._next()) is not None:
                await write(piece)
                self._take()
        finally:
            self.close()

    def close(self) -> None:
        """Nobody takes any more of the body; what comes is dropped."""
        self._over = True
        self._piece = None
        self._take()

    async def _next(self) -> bytes | None:
        """The piece that waits; None at the body's end."""
        while self._piece is None and not self._ended:
            self._arrived = self._loop.create_future()
            await self._arrived
        piece, self._piece = self._piece, None
        return piece

    def _take(self) -> None:
        if self._taken is not None and not self._taken.done():
            self._taken.set_result(None)

    def _wake(self) -> None:
        if self._arrived is not None and not self._arrived.done():
            self._arrived.set_result(None)


class Coded(Incoming):
    """A compressed body. Await in_steps(rest()) before `take`."""

    __slots__ = ("_coding", "_current", "_decoder", "_over", "_received", "_taken", "_waiting")

    def __init__(self, bodies: Bodies, limit: int, header: str) -> None:
        """header: the Content-Encoding, which is not empty. Raises ClientFault (415) for codings that are not accepted."""
        super().__init__(bodies, limit)
        named = codings.named(header)
        made = codings.decoder(named[0], MEMBERS) if len(named) == 1 else None
        if made is None:
            accepted = ", ".join(codings.accepted())
            error = errors.ClientFault(
                f"This Content-Encoding of a request is not accepted: send one of {accepted}, or none.", kind="unsupported_media"
            )
            error.headers = {"accept-encoding": accepted}
            raise error
        self._coding, self._decoder = named[0], made
        self._waiting: deque[bytes] = deque()  # not decoded yet
        self._current: Iterator[bytes] | None = None  # the pieces of what was taken from it last
        self._taken = 0  # bytes of that
        self._received = 0  # bytes of the compressed body so far
        self._over = False

    def feed(self, data: bytes) -> None:
        """See Incoming. Decodes PIECES, the rest later. Raises Malformed too."""
        if self.drops or self._over:
            self.drops = True
            super().feed(data)
            return
        self._received += len(data)
        if self._received > self._limit or self._bodies.held + len(data) > self._bodies.most:
            self.release()
            raise self._too_large() if self._received > self._limit else _overloaded()
        self._bodies.held += len(data)
        self._waiting += [data[at : at + codings.SLICE] for at in range(0, len(data), codings.SLICE)]
        for _ in range(PIECES):
            if not self._step():
                break

    def rest(self) -> Generator[None]:
        """Decode what waits, at the body's end: a generator for in_steps(). Raises TooLarge, Overloaded, Malformed."""
        while self._step():
            yield
        if self._over:
            return
        try:
            self._decoder.finish()
        except errors.Truncated:
            raise errors.Malformed(f"The request body is not complete: its {self._coding} data ends too early.") from None

    def _step(self) -> bool:
        """Decode one piece, or come to the end of one slice. Returns whether more may wait."""
        if self._current is None:
            if not self._waiting:
                return False
            self._taken = len(self._waiting[0])
            self._current = self._decoder.feed(self._waiting.popleft())
        try:
            piece = next(self._current, None)
        except errors.Garbled:
            self.release()
            raise errors.Malformed(f"The request body is not {self._coding} data, as its Content-Encoding says.") from None
        if piece is not None:
            super().feed(piece)
            return True
        self._bodies.held -= self._taken
        self._current, self._taken = None, 0
        return bool(self._waiting)

    def release(self) -> None:
        """See Incoming. Nothing is decoded from then on."""
        self._over = True
        self._bodies.held -= self._taken + sum(map(len, self._waiting))
        self._waiting.clear()
        self._current, self._taken = None, 0
        super().release()


def _overloaded() -> errors.Overloaded:
    return errors.Overloaded("The gateway's memory for request bodies is full at the moment.", retry_after=1)


def at_once(body: bytes, most: int) -> bool:
    """Whether splice.scan takes little time for this body, and it holds no more than `most` JSON values."""
    if len(body) <= AT_ONCE:
        return len(body) <= 2 * most  # a value takes two bytes at least
    # there are no more values than commas and brackets, even if all of them are outside of strings
    return len(body) <= SPARSE and sum(_number(body, byte) for byte in (b",", b"[", b"{")) < min(most, FEW)


async def read(body: bytes, most: int) -> tuple[splice.Scan, int]:
    """As `parsed`; what takes long is done in steps that yield to the loop. most: JSON values. Raises TooLarge, too."""
    return parsed(body) if at_once(body, most) else (await in_steps(bulk.scan(body, most)), -1)


async def scan(body: bytes, most: int) -> splice.Scan:
    """The first of `read`."""
    return (await read(body, most))[0]


def parsed(body: bytes) -> tuple[splice.Scan, int]:
    """splice.scan, and how many objects and lists it made; -1 if that is not known. Raises as splice.scan does.

    The garbage collector counts what it may have to look at. It begins anew when it has looked; free lists make it a hundred less.
    """
    before, *looked = gc.get_count()
    scanned = splice.scan(body)
    after, *looked_after = gc.get_count()
    return scanned, after - before if looked_after == looked else -1


def heavy(body: bytes, made: int) -> bool:
    """Whether the translation of a body takes so long that a thread does it. made: as of `parsed`.

    An object takes 1 to 2 us to translate, the rare ones up to 12: 64 kB of the shortest, or DENSE of them, block the loop for less than
    50 ms. What a thread does costs a tenth more: the loop, which runs meanwhile, and the thread evict each other's data from the caches.
    """
    return len(body) > SHORT and (len(body) > AT_ONCE or not 0 <= made <= DENSE)


def _number(body: bytes, byte: bytes) -> int:
    """How often it is there. CPython's `count` compares byte by byte; `replace` searches with memchr: a fifth of the time in a prompt."""
    return len(body) - len(body.replace(byte, b""))


async def apart(heavy: bool, work: Callable[[], _T]) -> _T:
    """Return `work()`. Heavy work runs in a thread, so that the loop runs every millisecond (`worker.SWITCH`)."""
    if not heavy:
        return work()
    return await asyncio.get_running_loop().run_in_executor(_apart, work)


async def in_steps(steps: Generator[None, None, _T], at_once: bool = False) -> _T:
    """Run a generator and return its result, yielding to the loop at each of its yields unless `at_once`."""
    while True:
        try:
            next(steps)
        except StopIteration as end:
            result: _T = end.value
            return result
        if not at_once:
            await asyncio.sleep(0)
