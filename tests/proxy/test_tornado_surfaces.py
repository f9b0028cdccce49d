"""What wire/, process/server and the handlers use of Tornado beyond its documented interface: each is named here, with its user.

When an upgrade of Tornado fails a test of this file, look at the user that the test names. Read its advisories for http1connection
and httputil as well: the checklist is at the head of proxy/wire/http1.py.
"""

from __future__ import annotations

import asyncio
import inspect
import re
import socket
from typing import Any

import pytest
from tornado.http1connection import HTTP1ConnectionParameters
from tornado.httpclient import AsyncHTTPClient, HTTPRequest
from tornado.httpserver import HTTPServer
from tornado.httputil import (
    HTTPConnection,
    HTTPHeaders,
    HTTPInputError,
    HTTPMessageDelegate,
    HTTPServerRequest,
    RequestStartLine,
    ResponseStartLine,
    parse_request_start_line,
)
from tornado.iostream import IOStream, StreamClosedError
from tornado.util import _websocket_mask, _websocket_mask_python
from tornado.web import Application, RequestHandler

from dragoman.proxy.wire.http1 import parse_headers


class Connection(HTTPConnection):
    """Notes what a handler asks of its connection."""

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.head: tuple[Any, Any, Any] | None = None

    def set_close_callback(self, callback: Any) -> None:
        self.calls.append(f"close_callback {callback is not None}")

    def write_headers(self, start_line: Any, headers: Any, chunk: bytes | None = None) -> asyncio.Future[None]:
        self.calls.append("write_headers")
        self.head = (start_line, headers, chunk)
        return self._done()

    def write(self, chunk: bytes) -> asyncio.Future[None]:
        self.calls.append("write")
        return self._done()

    def finish(self) -> None:
        self.calls.append("finish")

    def _done(self) -> asyncio.Future[None]:
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        future.set_result(None)
        return future


class Handler(RequestHandler):
    async def post(self) -> None:
        self.finish(self.request.body)


def begin(handler: type[RequestHandler], connection: Connection, method: str = "POST") -> tuple[HTTPMessageDelegate, Any]:
    line = RequestStartLine(method, "/", "HTTP/1.1")
    delegate = Application([("/", handler)]).start_request(None, connection)
    return delegate, delegate.headers_received(line, HTTPHeaders({"Host": "x"}))


def test_the_server() -> None:
    """process/server.Server: `initialize` is extended, `_connections` filled, `conn_params` read and written, `on_close` replaced."""

    async def main() -> None:
        server = HTTPServer(Application(), max_body_size=7)
        assert isinstance(server._connections, set)
        assert isinstance(server.conn_params, HTTP1ConnectionParameters)
        assert server.conn_params.max_body_size == 7
        assert server.conn_params.no_keep_alive is False
        assert list(inspect.signature(server.on_close).parameters) == ["server_conn"]
        assert list(inspect.signature(server.start_request).parameters) == ["server_conn", "request_conn"]
        assert inspect.iscoroutinefunction(server.close_all_connections)

    asyncio.run(main())


def test_the_delegate() -> None:
    """wire/inbound.Inbound, of an admin listener: the body is the delegate's at once; an answer is told in these calls."""

    async def main() -> None:
        connection = Connection()
        delegate, ready = begin(Handler, connection)
        assert ready is None
        assert delegate.data_received(b"a") is None
        assert delegate.data_received(b"b") is None
        assert connection.calls == []
        delegate.finish()
        while "finish" not in connection.calls:  # noqa: ASYNC110
            await asyncio.sleep(0)
        # the head and a whole body are one call; the callback is taken back before the end, so that nothing leads to the handler
        assert connection.calls == ["close_callback True", "close_callback False", "write_headers", "finish"]
        assert connection.head is not None
        line, headers, chunk = connection.head
        assert isinstance(line, ResponseStartLine)
        assert (line.code, headers["Content-Length"], chunk) == (200, "2", b"ab")

    asyncio.run(main())


def test_a_flush_is_a_future() -> None:
    """exchange/caller.Client.start: the first flush sends the head with the first bytes; its Future is done when the write is."""

    async def main() -> None:
        connection = Connection()

        class Streaming(RequestHandler):
            def get(self) -> None:
                self.write(b"first")
                flushed = self.flush()
                assert flushed.done()

        delegate, _ = begin(Streaming, connection, "GET")
        delegate.finish()
        while "finish" not in connection.calls:  # noqa: ASYNC110
            await asyncio.sleep(0)
        assert connection.head is not None
        assert connection.head[2] == b"first"
        assert "Content-Length" not in connection.head[1]

    asyncio.run(main())


def test_the_handlers_own_names() -> None:
    """handlers/base.Handler.clear sets these four; write_error reads _reason."""
    source = inspect.getsource(RequestHandler.clear)
    for name in ("_headers", "_write_buffer", "_status_code", "_reason"):
        assert f"self.{name}" in source
    assert "self.clear()" in inspect.getsource(RequestHandler.__init__)


def test_what_runs_a_handler() -> None:
    """handlers/base.Handler.begin and run do what RequestHandler._execute does, with these names of its own; nothing else is done there."""
    source = inspect.getsource(RequestHandler._execute)
    used = set(re.findall(r"self\.(\w+)", source))
    ours = {"SUPPORTED_METHODS", "_transforms", "path_args", "path_kwargs", "decode_argument", "prepare", "request", "finish", "send_error"}
    ours |= {"_auto_finish", "_finished", "_handle_request_exception"}
    assert used - ours == {"__class__", "_prepared_future", "_cross_origin_protection", "data_received"}  # the last in a comment
    assert "SUPPORTED_METHODS" in vars(RequestHandler)
    protection = set(re.findall(r'settings.get\("(\w+)"\)', inspect.getsource(RequestHandler._cross_origin_protection)))
    assert protection == {"xsrf_cookies", "cross_origin_protection"}  # which the listeners' applications do not set: pages.py, gate.py


def test_the_headers() -> None:
    """wire/http1.Fields: looking for what is not there raises nothing and sets nothing; parse is the judge of odd lines."""
    headers = HTTPHeaders({"A": "1"})
    assert "b" not in headers
    assert "a" in headers
    headers.add("a", "2")
    assert headers["A"] == "1,2"
    assert list(headers.get_all()) == [("A", "1"), ("A", "2")]
    for lines in ("A: b\r\n c", "A: \x00", "A : b", ": b", "A"):
        with pytest.raises(HTTPInputError):
            HTTPHeaders.parse(lines)


def test_the_request() -> None:
    """handlers/admin uses host_name; handlers/base the raw query; both come from the start line and the Host field."""
    line = parse_request_start_line("GET /a?\xe9 HTTP/1.1")
    request = HTTPServerRequest(start_line=line, headers=HTTPHeaders({"Host": "[::1]:80"}), connection=Connection())
    assert (request.host_name, request.query, request.path) == ("[::1]", "\xe9", "/a")
    assert request.remote_ip is None
    assert request.protocol == "http"


def test_the_application() -> None:
    """app.ModelApplication: find_handler, get_handler_delegate and start_request are overridden; the router calls the second of them."""
    assert list(inspect.signature(Application.find_handler).parameters)[:2] == ["self", "request"]
    found = list(inspect.signature(Application.get_handler_delegate).parameters)
    assert found == ["self", "request", "target_class", "target_kwargs", "path_args", "path_kwargs"]
    assert list(inspect.signature(Application.start_request).parameters) == ["self", "server_conn", "request_conn"]


def test_the_client() -> None:
    """wire/upstream.UpstreamClient: an AsyncHTTPClient whose fetch is its own; wire/pool takes the socket out of an IOStream."""
    assert issubclass(AsyncHTTPClient, object)
    assert {"force_instance"} <= set(inspect.signature(AsyncHTTPClient.__new__).parameters)
    assert HTTPRequest("http://x").headers is not None

    async def main() -> None:
        ours, theirs = socket.socketpair()
        stream = IOStream(ours)
        assert stream.socket is ours
        stream.io_loop.remove_handler(stream.socket)  # also of a stream that was never read
        stream.close()
        theirs.close()
        assert stream.closed()
        assert isinstance(StreamClosedError(real_error=OSError()).real_error, OSError)

    asyncio.run(main())


def test_headers_are_lists_by_normal_name() -> None:
    """wire/http1.Fields: `_as_list` holds all that HTTPHeaders says, `_combined_cache` what can be made of it, under normal names."""
    theirs, ours = HTTPHeaders(), parse_headers("content-type: a\r\nX-One: 1\r\nx-one: 2")
    for name, value in (("content-type", "a"), ("X-One", "1"), ("x-one", "2")):
        theirs.add(name, value)
    assert vars(theirs).keys() == vars(ours).keys() == {"_as_list", "_combined_cache"}
    assert theirs._as_list == ours._as_list == {"Content-Type": ["a"], "X-One": ["1", "2"]}
    ours.add("x-two", "3")
    ours["x-one"] = "4"
    del ours["content-type"]
    assert sorted(ours.get_all()) == sorted(HTTPHeaders(ours).get_all()) == [("X-One", "4"), ("X-Two", "3")]
    assert (ours.get("X-ONE"), ours.get("content-type"), "x-two" in ours, ours["x-two"]) == ("4", None, True, "3")


def test_the_mask() -> None:
    """wire/websocket unmasks by Tornado's function, which is the one in C: the other takes fifty times as long."""
    data = bytes(range(256)) * 3 + b"abc"
    assert _websocket_mask is not _websocket_mask_python
    assert _websocket_mask(b"\x01\x02\x03\x04", data) == _websocket_mask_python(b"\x01\x02\x03\x04", data)
    assert _websocket_mask(b"\x01\x02\x03\x04", b"") == b""


def test_methods_that_a_handler_does_not_have() -> None:
    """handlers/openapi.methods: they are all the same function."""
    methods = [getattr(RequestHandler, name) for name in ("get", "post", "put", "patch", "delete")]
    assert set(methods) == {RequestHandler._unimplemented_method}
