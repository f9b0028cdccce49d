"""How a request reaches its handler, and that a request is what Tornado would have made of it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from tornado.httputil import HTTPConnection, HTTPHeaders, HTTPServerRequest, RequestStartLine
from tornado.web import Application, HTTPError

from dragoman.handlers.base import Handler
from dragoman.handlers.dispatch import Dispatch, Request
from dragoman.proxy.wire.http1 import parse_headers
from dragoman.proxy.wire.inbound import Context

LINES = [
    ("GET", "/v1/models", "HTTP/1.1", "host: a.example:12000\r\nx-one: 1\r\nx-one: 2"),
    ("GET", "/v1/models?limit=2&a=b%20c&a=", "HTTP/1.1", "Host: [::1]:80"),
    ("POST", "/", "HTTP/1.0", "Content-Length: 2"),
    ("OPTIONS", "*", "HTTP/1.1", "Host: a"),
]


class Connection(HTTPConnection):
    """Notes what is written."""

    context = Context("127.0.0.1", "http")

    def __init__(self) -> None:
        self.calls: list[Any] = []

    def set_close_callback(self, callback: Any) -> None:
        pass

    def write_headers(self, start_line: Any, headers: Any, chunk: bytes | None = None) -> asyncio.Future[None]:
        self.calls.append((start_line.code, chunk))
        return self.write(b"")

    def write(self, chunk: bytes) -> asyncio.Future[None]:
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        future.set_result(None)
        return future

    def finish(self) -> None:
        self.calls.append("finish")


class Plain(Handler):
    """A Handler without a gateway: these tests are of what Tornado's part of it does."""

    calls: list[Any]

    def initialize(self, calls: list[Any]) -> None:  # type: ignore[override]
        self.calls = calls
        self.request_id = "req_1"
        self.services = type("Services", (), {"tokens": None})()

    def prepare(self) -> None:
        self.calls.append("prepare")

    def data_received(self, chunk: bytes) -> None:
        self.calls.append(chunk)

    def _over(self) -> None:
        self.calls.append("over")

    def get(self, name: str = "", more: str = "") -> None:
        self.finish(f"{name}{more}" or "got")

    async def post(self) -> None:
        await asyncio.sleep(0)
        self.write("posted")


class Refusing(Plain):
    def prepare(self) -> None:
        raise HTTPError(403)

    async def post(self) -> None:
        raise AssertionError("it was refused")


class Early(Plain):
    """Answers before the body is complete."""

    def data_received(self, chunk: bytes) -> asyncio.Future[None]:  # type: ignore[override]
        self.finish("early")
        return asyncio.get_running_loop().create_future()

    async def post(self) -> None:
        raise AssertionError("it was answered")


class Broken(Plain):
    async def post(self) -> None:
        raise KeyError("x")


class Open(Plain):
    """Leaves its connection to another protocol."""

    def get(self) -> None:  # type: ignore[override]
        self._auto_finish = False


class Endless(Plain):
    async def post(self) -> None:
        await asyncio.Event().wait()


def played(
    kind: type[Plain], method: str, then: Callable[[Dispatch, Plain], Any] = lambda dispatch, handler: dispatch.finish()
) -> list[Any]:
    """What happens to a request of two pieces."""

    async def main() -> list[Any]:
        connection = Connection()
        request = Request(connection, RequestStartLine(method, "/", "HTTP/1.1"), parse_headers("Host: a"))
        dispatch = Dispatch(Application(), request, kind, {"calls": connection.calls}, (), {})
        assert dispatch.headers_received(RequestStartLine(method, "/", "HTTP/1.1"), request.headers) is None
        for piece in (b"1", b"2"):
            if not dispatch._handler._finished:
                dispatch.data_received(piece)
        then(dispatch, dispatch._handler)  # type: ignore[arg-type]
        for _ in range(10):
            await asyncio.sleep(0)
        assert asyncio.all_tasks() == {asyncio.current_task()}
        return connection.calls

    return asyncio.run(main())


def cancelled(dispatch: Dispatch, handler: Plain) -> None:
    dispatch.finish()
    assert handler.running is not None
    asyncio.get_running_loop().call_soon(handler.running.cancel)


BODY = ["prepare", b"1", b"2"]


@pytest.mark.parametrize(
    ("kind", "method", "calls"),
    [
        (Plain, "GET", [*BODY, (200, b"got"), "finish", "over"]),
        (Plain, "POST", [*BODY, (200, b"posted"), "finish", "over"]),
        (Early, "POST", ["prepare", (200, b"early"), "finish", "over"]),
        (Open, "GET", BODY),
    ],
    ids=lambda value: value.__name__ if isinstance(value, type) else None,
)
def test_a_handler_is_run_when_the_body_is_complete(kind: type[Plain], method: str, calls: list[Any]) -> None:
    assert played(kind, method) == calls


@pytest.mark.parametrize(
    ("kind", "method", "status"),
    [(Refusing, "POST", 403), (Broken, "POST", 500), (Plain, "PUT", 405), (Plain, "BREW", 405)],
    ids=lambda value: value.__name__ if isinstance(value, type) else None,
)
def test_what_a_handler_raises_is_its_answer(kind: type[Plain], method: str, status: int) -> None:
    calls = played(kind, method)
    assert [call[0] for call in calls if isinstance(call, tuple)] == [status]
    assert calls[-2:] == ["finish", "over"]


def test_a_path_that_is_no_text_is_refused() -> None:
    async def main() -> None:
        connection, line = Connection(), RequestStartLine("GET", "/%ff", "HTTP/1.1")
        request = Request(connection, line, parse_headers("Host: a"))
        for arguments, named in (([b"\xff"], {}), ([], {"name": b"\xff"})):
            dispatch = Dispatch(Application(), request, Plain, {"calls": connection.calls}, arguments, named)
            assert dispatch.headers_received(line, request.headers) is None
            dispatch.finish()
            await asyncio.sleep(0)
        assert [call[0] for call in connection.calls if isinstance(call, tuple)] == [400, 400]

    asyncio.run(main())


def test_a_caller_who_leaves_before_its_body_is_complete_runs_nothing() -> None:
    assert played(Plain, "POST", lambda dispatch, handler: dispatch.on_connection_close()) == [*BODY, "over"]


def test_a_task_that_is_cancelled_answers_and_ends() -> None:
    calls = played(Endless, "POST", cancelled)
    assert [call[0] for call in calls if isinstance(call, tuple)] == [500]


def test_keys_that_must_be_had_first_delay_the_body() -> None:
    async def main() -> None:
        connection, keys = Connection(), asyncio.get_running_loop().create_future()

        class Signed(Plain):
            def initialize(self, calls: list[Any]) -> None:  # type: ignore[override]
                super().initialize(calls)
                self.services.tokens = type("Tokens", (), {"pending": lambda *_: keys})()  # type: ignore[misc]

        line = RequestStartLine("POST", "/", "HTTP/1.1")
        dispatch = Dispatch(Application(), Request(connection, line, parse_headers("Host: a")), Signed, {"calls": connection.calls}, (), {})
        waits = dispatch.headers_received(line, HTTPHeaders())
        assert waits is not None
        waiting = asyncio.ensure_future(waits)
        await asyncio.sleep(0)
        assert connection.calls == []
        keys.set_result(None)
        await waiting
        assert connection.calls == ["prepare"]

    asyncio.run(main())


@pytest.mark.parametrize(("method", "target", "version", "lines"), LINES)
def test_a_request_is_as_tornado_has_it(method: str, target: str, version: str, lines: str) -> None:
    line, connection = RequestStartLine(method, target, version), Connection()
    ours = Request(connection, line, parse_headers(lines))
    theirs = HTTPServerRequest(start_line=line, headers=parse_headers(lines), connection=connection)
    names = vars(theirs).keys() - {"_start_time", "headers"}
    assert {name: getattr(ours, name) for name in names} == {name: getattr(theirs, name) for name in names}
    assert sorted(ours.headers.get_all()) == sorted(theirs.headers.get_all())
