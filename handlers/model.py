"""The three shapes' endpoints: POST /v1/chat/completions, /v1/messages, /v1/responses.

A handler takes the body in, bounded, and hands the request to an Exchange; everything that is decided is decided there.
"""

from __future__ import annotations

import asyncio
from string import ascii_letters, digits, punctuation
from typing import ClassVar
from urllib.parse import quote

from tornado.web import HTTPError, stream_request_body

from ..codecs import errors
from ..proxy.exchange.caller import Client
from ..proxy.exchange.exchange import Exchange
from ..proxy.gateway import Gateway
from ..proxy.keys.pages import Hosts
from ..proxy.routing.router import Shape
from ..proxy.wire import headers as travel
from ..proxy.wire.inbound import Inbound
from .base import Handler

DISCARDED = 1 << 28  # bytes over the limit that are read at most
PIECE = 32 * 1024  # bytes that are kept as they came; less is joined at once
LINGER = 2.0  # seconds that a caller whose body is too large has to read the refusal
ASCII = ascii_letters + digits + punctuation


@stream_request_body
class ModelHandler(Handler):
    """One request to a model."""

    shape: ClassVar[Shape]

    def initialize(self, gateway: Gateway, hosts: Hosts | None) -> None:
        super().initialize(gateway, hosts)
        self._exchange: Exchange | None = None
        self._left = False
        self._size = 0  # bytes of the body so far
        self._pieces: list[bytes] = []
        self._tail = bytearray()  # behind the pieces: what came in little ones

    def prepare(self) -> None:
        super().prepare()
        self.gateway.serving.add(self)
        if self.request.method != "POST":
            raise HTTPError(405)
        limit = self.gateway.config.limits.max_body
        # more than is taken: what is over is read and thrown away, so that the refusal arrives
        self.request.connection.set_max_body_size(limit + DISCARDED)  # type: ignore[union-attr]
        length = self.request.headers.get("Content-Length", "0")
        if length.isdigit() and int(length) > limit:
            raise self._too_large()
        encoding = self.request.headers.get("Content-Encoding", "identity").strip().lower()
        if encoding not in ("", "identity"):
            raise errors.ClientFault("Compressed request bodies are not accepted.", kind="unsupported_media")
        # a stranger's body is read and forgotten: the refusal comes when it is over, and nothing was kept for it
        self._stranger = not self.gateway.access.knows(travel.credential(self.request.headers, self.shape))

    def data_received(self, chunk: bytes) -> None:
        if self._stranger:
            return
        self._size += len(chunk)
        if self._size > self.gateway.config.limits.max_body:
            self._body()
            self.refuse(self._too_large())
        elif len(chunk) < PIECE:
            self._tail += chunk
        else:
            self._pieces += [bytes(self._tail), chunk] if self._tail else [chunk]
            self._tail = bytearray()

    def _body(self) -> bytes:
        """Everything that came; nothing of it is kept here."""
        pieces, tail = self._pieces, self._tail
        self._pieces, self._tail = [], bytearray()
        return b"".join([*pieces, tail]) if pieces else bytes(tail)

    def _too_large(self) -> errors.TooLarge:
        """For a caller who may still be sending: the connection is closed a while after the answer, lest a reset overtakes it."""
        self.set_header("Connection", "close")
        connection: Inbound = self.request.connection  # type: ignore[assignment]
        asyncio.get_running_loop().call_later(LINGER, connection.stream.close)
        return errors.TooLarge(f"The request body is larger than {self.gateway.config.limits.max_body} bytes.")

    async def post(self) -> None:
        body = self._body()
        # what is not ASCII in it came as single bytes
        query = f"?{quote(self.request.query, safe=ASCII, encoding='latin-1')}" if self.request.query else ""
        client = Client(self, self.gateway.config.limits.client_stall)
        self._exchange = Exchange(self.gateway, self.shape, client, self.request.headers, body, query)
        if self._left:
            self._exchange.leave()
        try:
            await self._exchange.run()
        finally:
            self._exchange = None

    def on_finish(self) -> None:
        self.gateway.serving.discard(self)

    def on_connection_close(self) -> None:
        super().on_connection_close()
        self.gateway.serving.discard(self)
        self._left = True
        if self._exchange is not None:
            self._exchange.leave()


class ChatHandler(ModelHandler):
    shape = "chat"


class MessagesHandler(ModelHandler):
    shape = "messages"


class ResponsesHandler(ModelHandler):
    shape = "responses"

    def prepare(self) -> None:
        if self.request.method == "GET":
            Handler.prepare(self)
            raise errors.ClientFault("The Responses API is served over HTTP here: use POST.", kind="upgrade")
        super().prepare()
