"""From a request's head to its handler: what Tornado's own delegates do, in fewer steps.

Tornado runs a handler in a task from the head on, which waits for `prepare` and for the body in a Future each. Here `prepare` is called
at once, and the task begins when the body is complete, which saves two Futures and three turns of the loop. The patterns of paths, the
handlers and how they answer are Tornado's.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Mapping, Sequence
from functools import cached_property
from time import time
from typing import TYPE_CHECKING, Any

from tornado.httputil import (
    HTTPConnection,
    HTTPHeaders,
    HTTPMessageDelegate,
    HTTPServerRequest,
    RequestStartLine,
    ResponseStartLine,
    split_host_and_port,
)
from tornado.web import Application

if TYPE_CHECKING:
    from .base import Handler


class Request(HTTPServerRequest):
    """A request. Without a query it costs a third of Tornado's, which copies what it parsed and reads the Host again."""

    server_connection = None  # nobody's: it is the same as the connection

    def __init__(self, connection: HTTPConnection, line: RequestStartLine, headers: HTTPHeaders) -> None:
        if "?" in line.path:
            super().__init__(start_line=line, headers=headers, connection=connection)
            return
        self.method, self.uri, self.version = line
        self.headers, self.body, self.files = headers, b"", {}
        self.connection = connection
        context = connection.context  # type: ignore[attr-defined] # of an Inbound
        self.remote_ip, self.protocol = context.remote_ip, context.protocol
        self.host = headers.get("Host", "127.0.0.1")  # checked with the head (proxy/wire/http1.py); absent in HTTP/1.0 only
        self.path, self.query = line.path, ""
        self.arguments, self.query_arguments, self.body_arguments = {}, {}, {}
        self._start_time, self._finish_time = time(), None

    @cached_property
    def host_name(self) -> str:  # type: ignore[override]
        """The host without its port."""
        return split_host_and_port(self.host.lower())[0]


class Reception(HTTPMessageDelegate):
    """Receives one request of a connection: finds its handler, and passes on to it."""

    def __init__(self, application: Application, connection: HTTPConnection) -> None:
        self._application, self._connection = application, connection
        self._delegate: HTTPMessageDelegate | None = None

    def headers_received(self, line: RequestStartLine | ResponseStartLine, headers: HTTPHeaders) -> Awaitable[None] | None:
        assert isinstance(line, RequestStartLine)
        self._delegate = self._application.find_handler(Request(self._connection, line, headers))
        return self._delegate.headers_received(line, headers)

    def data_received(self, chunk: bytes) -> Awaitable[None] | None:
        assert self._delegate is not None
        return self._delegate.data_received(chunk)

    def finish(self) -> None:
        assert self._delegate is not None
        self._delegate.finish()

    def on_connection_close(self) -> None:
        if self._delegate is not None:
            self._delegate.on_connection_close()


class Dispatch(HTTPMessageDelegate):
    """Runs the handler of one request."""

    def __init__(
        self,
        application: Application,
        request: HTTPServerRequest,
        kind: type[Handler],
        settings: Mapping[str, Any],
        arguments: Sequence[bytes],
        named: Mapping[str, bytes],
    ) -> None:
        """settings: of the handler's `initialize`. arguments, named: what the pattern of its path holds."""
        self._application, self._request, self._kind, self._settings = application, request, kind, settings
        self._arguments, self._named = arguments, named

    def headers_received(self, line: RequestStartLine | ResponseStartLine, headers: HTTPHeaders) -> Awaitable[None] | None:
        self._handler = handler = self._kind(self._application, self._request, **self._settings)
        return handler.begin(self._arguments, self._named)

    def data_received(self, chunk: bytes) -> Awaitable[None] | None:
        return self._handler.data_received(chunk)

    def finish(self) -> None:
        if not self._handler._finished:
            self._handler.running = asyncio.get_running_loop().create_task(self._handler.run())

    def on_connection_close(self) -> None:
        self._handler.on_connection_close()
