"""TLS over a socket: what the kernel gives and takes in any pieces is read and written whole, and its end comes behind it."""

from __future__ import annotations

import select
import socket
import ssl
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import pytest

from dragoman.proxy.wire.inbound import LITTLE
from dragoman.proxy.wire.pool import READ_SIZE
from dragoman.proxy.wire.tls import FITS, MOST_READS, NOT_READY, RAW, RECORD, Tls

from ..scripted import tls_contexts


class Peer:
    """The other side, whose records are in our hands: `sealed` are bytes for the socket, `opened` what came from it."""

    def __init__(self, context: ssl.SSLContext, host: str | None) -> None:
        self.incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.object = context.wrap_bio(self.incoming, self.outgoing, server_side=host is None, server_hostname=host)

    def sealed(self, *texts: bytes) -> bytes:
        for text in texts:
            self.object.write(text)
        return self.outgoing.read()

    def opened(self, data: bytes) -> bytes:
        self.incoming.write(data)
        found = []
        try:
            while piece := self.object.read(RECORD):
                found.append(piece)
        except ssl.SSLWantReadError:
            pass
        return b"".join(found)


class Counted:
    """A socket that counts its reads."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock, self.reads, self.most = sock, 0, 1 << 20

    def recv(self, size: int) -> bytes:
        self.reads += 1
        return self._sock.recv(min(size, self.most))

    def __getattr__(self, name: str) -> object:
        return getattr(self._sock, name)


class Link:
    """A Tls and its peer after the handshake. outer: the peer's end of the wire."""

    def __init__(self, contexts: tuple[ssl.SSLContext, ssl.SSLContext], server: bool) -> None:
        inner, self.outer = socket.socketpair()
        inner.setblocking(False)
        self.inner = Counted(inner)
        ours, theirs = contexts if server else contexts[::-1]
        self.tls = Tls(self.inner, ours, None if server else "localhost")  # type: ignore[arg-type]
        self.peer = Peer(theirs, "localhost" if server else None)
        self.shake_hands()
        self.inner.reads = 0

    def shake_hands(self) -> None:
        waits = [self.tls.shake_hands, self.peer.object.do_handshake]
        self.outer.setblocking(False)
        while waits:
            for step in list(waits):
                try:
                    step()
                    waits.remove(step)
                except NOT_READY:
                    pass
            self.outer.sendall(self.peer.outgoing.read())
            try:
                self.peer.incoming.write(self.outer.recv(1 << 16))
            except BlockingIOError:
                pass
        self.outer.setblocking(True)

    def read(self, buffer: memoryview) -> tuple[bytes, OSError | None]:
        """All that can be read now, and the error behind it, or that nothing is ready."""
        found = []
        while True:
            try:
                count = self.tls.receive(buffer)
            except OSError as error:
                assert not self.tls.behind
                return b"".join(found), error
            if not count:
                return b"".join(found), None
            found.append(bytes(buffer[:count]))

    def close(self) -> None:
        self.inner.close()  # type: ignore[operator]
        self.outer.close()


@pytest.fixture(params=["server", "client"])
def link(request: pytest.FixtureRequest) -> Iterator[Link]:
    found = Link(tls_contexts(), request.param == "server")
    yield found
    found.close()


def texts(*sizes: int) -> list[bytes]:
    return [bytes([65 + at]) * size for at, size in enumerate(sizes)]


SENT = texts(1, 300, RECORD, 3 * RECORD + 7, 1, 20)


@pytest.mark.parametrize("size", [100, 8192, FITS, READ_SIZE])
@pytest.mark.parametrize("cut", [7, 1000, RAW, RAW + 1, RECORD + 21, 1 << 20])
def test_records_are_read_whole_in_whatever_pieces_they_come(link: Link, cut: int, size: int) -> None:
    raw, buffer = link.peer.sealed(*SENT), memoryview(bytearray(size))
    found = []
    for at in range(0, len(raw), cut):
        link.outer.sendall(raw[at : at + cut])
        piece, error = link.read(buffer)
        assert isinstance(error, NOT_READY)
        found.append(piece)
    assert b"".join(found) == b"".join(SENT)


def test_one_read_of_the_kernel_gives_all_records(link: Link) -> None:
    link.outer.sendall(link.peer.sealed(*[b"x" * 100] * 50))
    buffer = memoryview(bytearray(READ_SIZE))
    assert link.tls.receive(buffer) == 5000
    assert link.inner.reads == 1


def test_who_sends_without_end_what_carries_nothing_leaves_others_their_turn(link: Link) -> None:
    link.outer.sendall(link.peer.sealed(b"x" * RECORD))
    link.inner.most = RECORD // (2 * MOST_READS)
    buffer = memoryview(bytearray(READ_SIZE))
    for turn in (1, 2):
        with pytest.raises(ssl.SSLWantReadError):
            link.tls.receive(buffer)
        assert link.inner.reads == turn * MOST_READS
    assert link.tls.receive(buffer) == RECORD


def test_the_buffers_of_reads_hold_what_one_more_read_can_bring() -> None:
    around = RAW - RECORD  # bytes of a record beside what it carries, at least: there are two or more
    assert min(READ_SIZE, LITTLE) >= FITS > (RAW - 1) + RAW - 2 * around


GARBAGE = b"\x17\x03\x03\x00\x20" + bytes(32)


@contextmanager
def reported(link: Link) -> Iterator[None]:
    """What happens inside makes the kernel report the socket once more."""
    yield
    poll = select.poll()
    poll.register(link.inner.fileno(), select.POLLIN)  # type: ignore[operator]
    assert poll.poll(5000)


@pytest.mark.parametrize("before", [[], [b"a", b"b"], [b"x" * RECORD] * 3])
def test_garbage_is_an_error_behind_what_came_before_it(link: Link, before: Sequence[bytes]) -> None:
    link.outer.sendall(link.peer.sealed(*before) + GARBAGE)
    buffer = memoryview(bytearray(READ_SIZE))
    if before:
        with reported(link):
            assert link.tls.receive(buffer) == sum(map(len, before))
    for _ in range(2):
        with pytest.raises(ssl.SSLError, match=r"(?i)bad|decryption"):
            link.tls.receive(buffer)
    with pytest.raises(ssl.SSLError, match=r"(?i)alert"):
        link.peer.opened(link.outer.recv(1 << 16))  # it is told why


@pytest.mark.parametrize("before", [[], [b"a", b"b"]])
def test_its_own_end_is_an_end_though_the_socket_stays_open(link: Link, before: Sequence[bytes]) -> None:
    for text in before:
        link.peer.object.write(text)
    with pytest.raises(ssl.SSLWantReadError):
        link.peer.object.unwrap()
    link.outer.sendall(link.peer.outgoing.read())
    buffer = memoryview(bytearray(READ_SIZE))
    if before:
        with reported(link):
            assert link.tls.receive(buffer) == 2
    assert [link.tls.receive(buffer) for _ in range(2)] == [0, 0]


@pytest.mark.parametrize("part", [0, 9])
def test_the_sockets_end_is_an_end(link: Link, part: int) -> None:
    raw = link.peer.sealed(b"a", b"b" * 100)
    link.outer.sendall(raw[: len(raw) - part])
    link.outer.close()
    assert link.read(memoryview(bytearray(READ_SIZE))) == (b"a" if part else b"a" + b"b" * 100, None)


@pytest.mark.parametrize("every", [RECORD - 1, RECORD, 5 * RECORD])
def test_what_the_kernel_does_not_take_is_written_later(link: Link, every: int) -> None:
    link.inner.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)  # type: ignore[operator]
    text = b"".join(SENT * 4)
    rest, found, waits = memoryview(text), bytearray(), 0
    while rest:
        try:
            taken = link.tls.send(rest[:every])
        except NOT_READY:
            taken = 0
        rest = rest[taken:]
        if not taken:
            waits += 1
            found += link.peer.opened(link.outer.recv(3000))
    link.outer.setblocking(False)
    while len(found) < len(text):
        found += link.peer.opened(link.outer.recv(1 << 16))
    assert bytes(found) == text
    assert waits > 10


def test_reading_goes_on_while_writing_waits(link: Link) -> None:
    link.inner.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)  # type: ignore[operator]
    with pytest.raises(BlockingIOError):
        link.tls.send(b"x" * RECORD)
    link.outer.sendall(link.peer.sealed(b"news"))
    assert link.read(memoryview(bytearray(READ_SIZE)))[0] == b"news"
