"""A caller's socket: what is written in one turn of the loop is sent at its end, in order, and nothing of it is lost."""

import asyncio
import contextlib
import socket
import struct
from unittest import mock

import pytest
from tornado.iostream import StreamClosedError

from dragoman.proxy.wire.socket import SHORT, Outbox, Stream

from .loops import looped


@contextlib.contextmanager
def pair(outbox=None):
    """A stream, and the socket at its other end."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        peer = socket.create_connection(server.getsockname())
        ours, _ = server.accept()
    ours.setblocking(False)
    stream = Stream(ours, Outbox() if outbox is None else outbox)
    try:
        with peer:
            peer.settimeout(10)
            yield stream, peer
    finally:
        stream.close()


def arrived(peer):
    """All that has come."""
    peer.setblocking(False)
    data = b""
    with contextlib.suppress(BlockingIOError):
        while True:
            data += peer.recv(1 << 20)
    peer.settimeout(10)
    return data


async def all_of(peer):
    """Everything up to the end."""
    read = bytearray()
    while data := await asyncio.to_thread(peer.recv, 1 << 16):
        read += data
    return bytes(read)


@looped
async def test_short_data_is_sent_at_the_end_of_the_turn(client):
    outbox = Outbox()
    with pair(outbox) as (one, at_one), pair(outbox) as (other, at_other):
        assert one.offer(b"1") is None
        assert other.offer_chunk(b"23") is None
        assert (arrived(at_one), arrived(at_other)) == (b"", b"")
        await asyncio.sleep(0)
        assert (at_one.recv(9), at_other.recv(9)) == (b"1", b"2\r\n23\r\n")
        assert other.offer(b"4") is None  # in the next turn as well
        await asyncio.sleep(0)
        assert at_other.recv(9) == b"4"


@looped
@pytest.mark.parametrize("second", [b"b", b"b" * SHORT, b"b" * (SHORT + 1)], ids=len)
async def test_what_follows_in_the_same_turn_is_not_put_aside_too(client, second):
    with pair() as (stream, peer):
        stream.offer(b"a")
        stream.offer(second)
        assert arrived(peer) == b"a" + second
        stream.offer(b"c")
        stream.write(b"d")
        assert arrived(peer) == b"cd"
        await asyncio.sleep(0)
        assert arrived(peer) == b""


@looped
async def test_long_data_is_sent_at_once(client):
    with pair() as (stream, peer):
        stream.offer(b"a" * (SHORT + 1))
        assert len(arrived(peer)) == SHORT + 1


@looped
async def test_it_is_sent_before_the_connection_is_closed(client):
    with pair() as (stream, peer):
        stream.offer(b"the last")
        stream.close()
        assert (peer.recv(99), peer.recv(99)) == (b"the last", b"")
        await asyncio.sleep(0)


@looped
async def test_what_the_kernel_does_not_take_lets_the_next_write_wait(client):
    with pair() as (stream, peer):
        stream.socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        sent = []
        while not stream.writing():
            sent.append(bytes([len(sent) % 256]) * SHORT)
            assert stream.offer(sent[-1]) is None
            await asyncio.sleep(0)
        pending = stream.offer(b"and more")
        assert pending is not None
        assert not pending.done()
        last = stream.write(b"the end")
        reading = asyncio.ensure_future(all_of(peer))
        await last
        assert pending.done()
        stream.close()
        assert await reading == b"".join(sent) + b"and morethe end"


@looped
@pytest.mark.parametrize("size", [0, 1, SHORT, SHORT + 1])
async def test_what_is_written_soon_is_accepted_when_the_kernel_has_it(client, size):
    with pair() as (stream, peer):
        accepted = stream.write_soon(b"a" * size)
        assert accepted.done() == (not 0 < size <= SHORT)
        await accepted
        assert len(arrived(peer)) == size


@looped
@pytest.mark.parametrize("then", ["offer", "write", "write_soon", "flush"])
async def test_what_follows_has_it_sent(client, then):
    with pair() as (stream, peer):
        accepted = stream.write_soon(b"a")
        (stream.flush if then == "flush" else lambda: getattr(stream, then)(b"b"))()
        assert accepted.done()
        assert arrived(peer) == (b"a" if then == "flush" else b"ab")
        await asyncio.sleep(0)
        assert arrived(peer) == b""


@looped
async def test_what_is_written_soon_waits_for_a_full_kernel(client):
    with pair() as (stream, peer):
        stream.socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        sent = []
        while not stream.writing():
            sent.append(stream.write_soon(b"a" * SHORT))
            await asyncio.sleep(0)
        assert [one.done() for one in sent] == [True] * (len(sent) - 1) + [False]
        reading = asyncio.ensure_future(all_of(peer))
        await sent[-1]
        stream.close()
        assert len(await reading) == len(sent) * SHORT


@looped
async def test_nobody_waits_any_more(client):
    with pair() as (stream, peer):
        stream.write_soon(b"a").cancel()
        await asyncio.sleep(0)
        assert arrived(peer) == b"a"
        assert not stream.closed()


@looped
@pytest.mark.parametrize("closed", [True, False], ids=["close", "turn"])
async def test_what_cannot_be_sent_raises(client, closed):
    with pair() as (stream, peer):
        accepted = stream.write_soon(b"lost")
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        peer.close()
        if closed:
            stream.close()
        with pytest.raises(StreamClosedError):
            await accepted
        with pytest.raises(StreamClosedError):
            await stream.write_soon(b"more")


@looped
async def test_a_peer_that_has_left(client):
    """The stream is closed, the others' data is sent, and further writes do not matter."""
    outbox, closed = Outbox(), asyncio.Event()
    with pair(outbox) as (gone, peer), pair(outbox) as (other, at_other):
        gone.serve(lambda: None, closed.set)
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        peer.close()
        gone.offer(b"lost")
        other.offer(b"sent")
        await closed.wait()
        assert gone.closed()
        assert isinstance(gone.error, OSError)
        assert at_other.recv(9) == b"sent"
        assert gone.offer(b"more") is None
        await asyncio.sleep(0)


@looped
async def test_an_error_refers_to_nothing(client):
    """Also one while another is handled: its frames may refer to the stream."""
    with pair() as (stream, peer):
        stream.offer(b"lost")
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        peer.close()
        try:
            raise KeyError
        except KeyError:
            stream.close()
        assert isinstance(stream.error, OSError)
        assert (stream.error.__traceback__, stream.error.__context__) == (None, None)


@looped
async def test_a_sender_that_breaks_does_not_keep_the_others_from_sending(client, caplog):
    class Broken:
        def flush(self):
            raise ZeroDivisionError

    outbox = Outbox()
    with pair(outbox) as (stream, peer):
        outbox.add(Broken())
        stream.offer(b"sent")
        await asyncio.sleep(0)
        assert peer.recv(9) == b"sent"
    assert [record.exc_info[0] for record in caplog.records] == [ZeroDivisionError]


@looped
async def test_a_turn_takes_one_callback_of_the_loop(client):
    outbox = Outbox()
    with pair(outbox) as (one, at_one), pair(outbox) as (other, at_other):
        callbacks = []
        outbox._loop = mock.Mock(call_soon=callbacks.append)
        one.offer(b"1")
        other.offer(b"2")
        callbacks.pop()()
        assert (at_one.recv(9), at_other.recv(9), callbacks) == (b"1", b"2", [])
        one.offer(b"3")
        callbacks.pop()()
        assert at_one.recv(9) == b"3"
