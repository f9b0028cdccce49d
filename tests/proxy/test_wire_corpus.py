"""What a caller sends is read as the corpus says: by our reader in whatever pieces, by our server, by Tornado's, and by h11."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Iterator
from typing import Any

import h11
import pytest
from tornado.httpserver import HTTPServer
from tornado.httputil import HTTPInputError
from tornado.netutil import bind_sockets
from tornado.web import Application, RequestHandler

from dragoman.proxy.process.server import Acceptor, Server
from dragoman.proxy.wire import http1

from .wire_corpus import OPEN, REFUSED, ROWS, Verdict

SEEN = re.compile(rb"<([A-Z]+) ([^ ]+) (.*?)>", re.DOTALL)


# ---- without I/O ----


def read(pieces: list[bytes]) -> Verdict:
    """What http1's server role sees."""
    reader, body, found = http1.RequestReader(), None, []
    head, payload = None, b""
    for piece in pieces:
        reader.feed(piece)
        while True:
            if head is None:
                try:
                    head = reader.next()
                except HTTPInputError:
                    return (*found, REFUSED)
                if head is None:
                    break
                body, payload = head.body, b""
            if body is not None and not body.ended:
                payload += body.feed(reader.take())
                if body.fault is not None:
                    return (*found, REFUSED)
                if not body.ended:
                    break
                reader.feed(body.rest)
            found.append((head.line.method, head.line.path, payload))
            if not head.persists:
                return tuple(found)
            head = None
    return (*found, OPEN) if head is not None or reader.buffer else tuple(found)


@pytest.mark.parametrize("name", ROWS)
def test_in_any_pieces(name: str) -> None:
    row = ROWS[name]
    data = row.data
    assert read([data]) == row.ours
    assert read([*(data[at : at + 1] for at in range(min(4000, len(data)))), data[4000:]]) == row.ours
    for cut in range(1, min(len(data), 600)):
        assert read([data[:cut], data[cut:]]) == row.ours, (data[:cut], data[cut:])


# ---- over sockets ----


class Echo(RequestHandler):
    def prepare(self) -> None:
        target = self.request.uri or ""
        self.finish(b"<%b %b %b>" % (self.request.method.encode(), target.encode("latin-1"), self.request.body))  # type: ignore[union-attr]

    SUPPORTED_METHODS = (*RequestHandler.SUPPORTED_METHODS, "BREW", "CONNECT")  # type: ignore[assignment]


def application() -> Application:
    return Application([(r"(?s).*", Echo)], default_handler_class=Echo)


def ours() -> tuple[int, Callable[[], Any]]:
    server = Server(application(), max_body_size=1 << 20)
    (sock,) = bind_sockets(0, "127.0.0.1")
    acceptor = Acceptor(sock, server, None, 100)

    async def stop() -> None:
        acceptor.stop()
        await server.close_all_connections()

    return sock.getsockname()[1], stop


def tornados() -> tuple[int, Callable[[], Any]]:
    server = HTTPServer(application(), max_body_size=1 << 20)
    (sock,) = bind_sockets(0, "127.0.0.1")
    server.add_sockets([sock])

    async def stop() -> None:
        server.stop()
        await server.close_all_connections()

    return sock.getsockname()[1], stop


END = b"GET /end HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"


async def answer(port: int, data: bytes, eof: bool) -> bytes:
    """All that comes back before the server closes the connection."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(data)
        if eof:
            writer.write_eof()
        return await reader.read()
    except ConnectionResetError:
        return b""
    finally:
        writer.close()


async def verdict(port: int, data: bytes, unfinished: bool) -> Verdict:
    """unfinished: nothing can follow the data. Behind everything else stands a request that ends the connection."""
    said = await answer(port, data if unfinished else data + END, unfinished)
    if unfinished:
        return (REFUSED,) if said else (OPEN,)
    found: list[Any] = [(method.decode(), target.decode("latin-1"), body) for method, target, body in SEEN.findall(said)]
    if found and found[-1][1] == "/end":
        return tuple(found[:-1])
    return tuple(found) if found and b" 400 " not in said else (*found, REFUSED)


def test_our_server() -> None:
    _check(ours, lambda row: row.ours)


def test_tornado() -> None:
    _check(tornados, lambda row: row.ours if row.tornado is None else row.tornado)


def _check(make: Callable[[], Any], expected: Callable[[Any], Verdict]) -> None:
    async def main() -> dict[str, tuple[Verdict, Verdict]]:
        port, stop = make()
        try:
            return {
                name: (await verdict(port, row.data, row.ours == (OPEN,)), expected(row)) for name, row in ROWS.items() if name != "tls"
            }
        finally:
            await stop()

    wrong = {name: pair for name, pair in asyncio.run(asyncio.wait_for(main(), 50)).items() if pair[0] != pair[1]}
    assert not wrong


# ---- h11 ----


def events(data: bytes) -> Iterator[Any]:
    connection = h11.Connection(h11.SERVER, max_incomplete_event_size=http1.MAX_HEAD)
    connection.receive_data(data)
    while True:
        event = connection.next_event()
        yield event
        if event is h11.NEED_DATA or isinstance(event, h11.ConnectionClosed):
            return
        if event is h11.PAUSED or isinstance(event, h11.EndOfMessage):
            if connection.our_state is h11.SEND_RESPONSE:
                connection.send(h11.Response(status_code=404, headers=[("Content-Length", "0")]))
                connection.send(h11.EndOfMessage())
            if connection.our_state is not h11.DONE or connection.their_state is not h11.DONE:
                return
            connection.start_next_cycle()


def by_h11(data: bytes) -> Verdict:
    found: list[Any] = []
    head, body = None, b""
    try:
        for event in events(data):
            if isinstance(event, h11.Request):
                head, body = event, b""
            elif isinstance(event, h11.Data):
                body += bytes(event.data)
            elif isinstance(event, h11.EndOfMessage):
                assert head is not None
                found.append((head.method.decode(), head.target.decode("latin-1"), body))
                head = None
            elif event is h11.NEED_DATA and (head is not None or not found):
                found.append(OPEN)
    except h11.RemoteProtocolError:
        found.append(REFUSED)
    return tuple(found)


@pytest.mark.parametrize("name", ROWS)
def test_h11(name: str) -> None:
    row = ROWS[name]
    assert by_h11(row.data) == (row.ours if row.h11 is None else row.h11)


@pytest.mark.parametrize("name", ROWS)
def test_differences_have_reasons(name: str) -> None:
    row = ROWS[name]
    assert row.why or (row.tornado is None and row.h11 is None)
