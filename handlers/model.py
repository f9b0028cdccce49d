"""The three shapes' endpoints: POST /v1/chat/completions, /v1/messages, /v1/responses.

A handler takes the body in, bounded, and hands the request to an Exchange; everything that is decided is decided there.
"""

from __future__ import annotations

from typing import ClassVar

from tornado.web import HTTPError, stream_request_body

from ..codecs import errors
from ..proxy.client import Client
from ..proxy.exchange import Exchange
from .base import Handler


@stream_request_body
class ModelHandler(Handler):
    """One request to a model."""

    shape: ClassVar[str]

    def prepare(self) -> None:
        self._exchange: Exchange | None = None
        self._body = bytearray()
        if self.request.method != "POST":
            raise HTTPError(405)
        limit = self.gateway.config.limits.max_body
        length = self.request.headers.get("Content-Length", "0")
        if length.isdigit() and int(length) > limit:
            raise errors.TooLarge(f"The request body is larger than {limit} bytes.")
        encoding = self.request.headers.get("Content-Encoding", "identity").strip().lower()
        if encoding not in ("", "identity"):
            raise errors.ClientFault("Compressed request bodies are not accepted.", kind="unsupported_media")
        self.request.connection.set_max_body_size(limit)  # type: ignore[union-attr]

    def data_received(self, chunk: bytes) -> None:
        self._body += chunk

    async def post(self) -> None:
        body, self._body = bytes(self._body), bytearray()
        query = f"?{self.request.query}" if self.request.query else ""
        client = Client(self, self.gateway.config.limits.client_stall)
        self._exchange = Exchange(self.gateway, self.shape, client, self.request.headers, body, query)
        await self._exchange.run()

    def on_connection_close(self) -> None:
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
            raise errors.ClientFault("The Responses API is served over HTTP here: use POST.", kind="upgrade")
        super().prepare()
