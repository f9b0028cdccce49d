"""WebSocket frames: what a caller sends is read as the corpus says in whatever pieces, by our reader, by wsproto and by websockets."""

from __future__ import annotations

from itertools import pairwise

import pytest
import wsproto.connection
import wsproto.events as seen
from hypothesis import given
from hypothesis import strategies as st
from websockets.exceptions import PayloadTooBig, ProtocolError
from websockets.frames import Close, Opcode
from websockets.protocol import OPEN, SERVER, Protocol

from dragoman.proxy.wire import websocket

from .frames_corpus import LIMIT, ROWS, Verdict, frame, text

# ---- what each reader sees ----


def ours(pieces: list[bytes]) -> Verdict:
    reader, found = websocket.Reader(LIMIT), []
    for piece in pieces:
        for event in reader.feed(piece):
            match event:
                case websocket.Text(data):
                    found.append(("text", data))
                case websocket.Ping(payload):
                    found.append(("ping", payload))
                case websocket.Pong(payload):
                    found.append(("pong", payload))
                case websocket.Closed(code):
                    found.append(("close", code))
                case websocket.Fault(code, reason):
                    assert reason
                    found.append(("fail", code))
    assert reader.ended == (bool(found) and found[-1][0] in ("close", "fail"))
    assert reader.held <= LIMIT
    return tuple(found)


def wsprotos(data: bytes) -> Verdict:
    connection, found = wsproto.connection.Connection(wsproto.connection.ConnectionType.SERVER), []
    kept: list[str] = []
    connection.receive_data(data)
    for event in connection.events():
        match event:
            case seen.TextMessage():
                kept.append(event.data)
                if event.message_finished:
                    found.append(("text", "".join(kept).encode()))
                    kept = []
            case seen.BytesMessage():
                found.append(("binary", bytes(event.data)))
            case seen.Ping():
                found.append(("ping", bytes(event.payload)))
            case seen.Pong():
                found.append(("pong", bytes(event.payload)))
            case seen.CloseConnection():  # the caller's own, or what a violation is answered with
                closing = connection.state is wsproto.connection.ConnectionState.REMOTE_CLOSING
                found.append(("close" if closing else "fail", int(event.code)))
                break
    return tuple(found)


def websocketss(data: bytes) -> Verdict:
    protocol, found, kept = Protocol(SERVER, state=OPEN, max_size=LIMIT), [], b""
    protocol.receive_data(data)
    events = protocol.events_received()
    for event in events:
        match event.opcode:
            case Opcode.PING:
                found.append(("ping", bytes(event.data)))
            case Opcode.PONG:
                found.append(("pong", bytes(event.data)))
            case Opcode.CLOSE:
                code = Close.parse(bytes(event.data)).code
                found.append(("close", None if code == 1005 else code))
            case Opcode.BINARY:
                found.append(("binary", bytes(event.data)))
            case _:
                kept += bytes(event.data)
                if event.fin:
                    try:
                        kept.decode()
                    except UnicodeDecodeError:  # left to its user, who fails the connection
                        return (*found, ("fail", 1007))
                    found.append(("text", kept))
                    kept = b""
    if protocol.parser_exc is not None:
        code = {PayloadTooBig: 1009, UnicodeDecodeError: 1007}.get(type(protocol.parser_exc))
        assert code or isinstance(protocol.parser_exc, ProtocolError)
        found.append(("fail", code or 1002))
    return tuple(found)


@pytest.mark.parametrize("name", ROWS)
def test_in_any_pieces(name: str) -> None:
    row = ROWS[name]
    data = row.data
    assert ours([data]) == row.ours
    assert ours([data[at : at + 1] for at in range(len(data))]) == row.ours
    for cut in range(1, min(len(data), 600)):
        assert ours([data[:cut], data[cut:]]) == row.ours, (data[:cut], data[cut:])


@pytest.mark.parametrize("name", ROWS)
def test_the_others(name: str) -> None:
    row = ROWS[name]
    assert bool(row.why) == (row.wsproto is not None or row.websockets is not None)
    assert wsprotos(row.data) == (row.ours if row.wsproto is None else row.wsproto)
    assert websocketss(row.data) == (row.ours if row.websockets is None else row.websockets)


@pytest.mark.parametrize("size", [0, 1, 125, 126, 65535, 65536, 200_000])
def test_what_we_write(size: int) -> None:
    """Our frames are byte for byte those of websockets, and wsproto reads them."""
    from websockets.frames import Frame

    payload = b"x" * size
    written = websocket.text(payload)
    assert written == Frame(Opcode.TEXT, payload).serialize(mask=False)
    client = wsproto.connection.Connection(wsproto.connection.ConnectionType.CLIENT)
    client.receive_data(written)
    assert "".join(event.data for event in client.events()).encode() == payload  # type: ignore[attr-defined]


def test_control_frames() -> None:
    from websockets.frames import Frame

    assert websocket.ping(b"p") == Frame(Opcode.PING, b"p").serialize(mask=False)
    assert websocket.pong(b"p" * 125) == Frame(Opcode.PONG, b"p" * 125).serialize(mask=False)
    assert websocket.close(1001, "bye") == Frame(Opcode.CLOSE, Close(1001, "bye").serialize()).serialize(mask=False)
    assert websocket.close(None) == Frame(Opcode.CLOSE, b"").serialize(mask=False)
    long = websocket.close(1009, "€" * 100)  # a reason is cut at a whole character
    assert len(long) <= 127
    assert Close.parse(long[2:]).reason == "€" * 41


PIECES = st.one_of(
    st.binary(max_size=40),
    st.builds(frame, st.integers(0, 15), st.binary(max_size=200), st.booleans(), st.sampled_from([bytes(4), b"abcd"])),
    st.builds(frame, st.sampled_from([0, 1]), st.text(max_size=60).map(str.encode), st.booleans()),
)


@given(st.lists(PIECES, max_size=8), st.lists(st.integers(0, 600), max_size=6))
def test_anything_is_read_alike_in_any_pieces(pieces: list[bytes], cuts: list[int]) -> None:
    data = b"".join(pieces)
    bounds = [0, *sorted(cut for cut in cuts if cut < len(data)), len(data)]
    assert ours([data[start:end] for start, end in pairwise(bounds)]) == ours([data])


def test_the_handshakes_key() -> None:
    assert websocket.accept("dGhlIHNhbXBsZSBub25jZQ==") == "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="  # RFC 6455, 1.3
    for key in ("", "abc", "dGhlIHNhbXBsZSBub25jZQ=", "dGhlIHNhbXBsZSBub25jZ===", "dGhlIHNhbXBsZSBub25jZSE=", "é" * 24, "!" * 24):
        assert websocket.accept(key) is None


def test_what_is_announced_is_not_waited_for() -> None:
    """A frame that is too long is refused by its head, before a byte of its payload has come."""
    reader = websocket.Reader(LIMIT)
    head = text(b"x" * (LIMIT + 1))[:10]
    (event,) = reader.feed(head)
    assert event == websocket.Fault(1009, f"a message is larger than {LIMIT} bytes")
    assert reader.feed(b"x" * 100) == []
    assert reader.held == 0


def test_a_message_of_tiny_fragments_takes_no_more_memory_than_its_bytes() -> None:
    reader = websocket.Reader(LIMIT)
    reader.feed(frame(1, b"x", last=False))
    for _ in range(5000):
        reader.feed(frame(0, b"x", last=False))
        reader.feed(frame(0, b"", last=False))
    assert reader.held == 5001
