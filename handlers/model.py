"""The endpoints of the shapes: POST /v1/chat/completions, /v1/messages and so on, one for each shape of the registry.

A handler receives the body, bounded, and passes the request to an Exchange, which makes all decisions.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, ClassVar

from tornado.web import HTTPError, RequestHandler

from ..codecs import errors
from ..codecs.registry import SHAPES
from ..codecs.shape import Shape
from ..proxy.exchange import resuming
from ..proxy.exchange.array import ArrayCaller
from ..proxy.exchange.caller import Caller, Client
from ..proxy.exchange.exchange import Exchange, Stored
from ..proxy.exchange.operation import Operation, asking
from ..proxy.exchange.refusal import own_headers
from ..proxy.gateway import Gateway
from ..proxy.memory.resumable import log_name
from ..proxy.wire import headers as travel
from ..proxy.wire.bodies import Passing
from ..proxy.wire.inbound import Inbound
from .base import Handler


class Serving(Handler):
    """A handler whose request may reach an upstream."""

    changes = False
    client_class: ClassVar[type[Client]] = Client
    _left = False  # the caller closed its connection

    def initialize(self, gateway: Gateway) -> None:
        super().initialize(gateway)
        self.key, self.credential = travel.keys(self.request.headers, self.shape)
        self._exchange: Exchange | None = None
        self._client: Client | None = None  # while stored events are sent

    async def serve(
        self,
        operation: Operation,
        *,
        path: str | None = None,
        model: str | None = None,
        stored: Stored | None = None,
        passing: Passing | None = None,
    ) -> None:
        """Answer the request by an Exchange. path, model, stored, passing: as of Exchange."""
        query = self.query()
        target = self.request.path + query
        client: Caller = self.client_class(self, self.services.config.limits.client_stall)
        if SHAPES[self.shape].array(target):
            client = ArrayCaller(client)
        self._exchange = exchange = Exchange(
            self.services,
            operation,
            client,
            self.request.headers,
            await self.body() if self.takes_body and passing is None else b"",  # in no variable: it is let go of before the answer ends
            key=self.key,
            credential=self.credential,
            nonce=self.nonce,
            request_id=self.request_id,
            query=query,
            target=target,
            timeout=travel.timeout(self.request.headers, self.settings.get("timeout")),
            path=path,
            model=model,
            stored=stored,
            passing=passing,
            release=self._incoming.release,
        )
        if self._left:
            exchange.leave()
        try:
            await exchange.run()
        finally:
            self._exchange = None

    async def follow(self, sending: Callable[[Client], Coroutine[Any, Any, None]]) -> None:
        """Send stored events to the caller. sending: to a Client."""
        self._client = client = Client(self, self.services.config.limits.client_stall)
        try:
            await sending(client)
        except asyncio.CancelledError:
            if not client.gone:
                client.abort()
                raise

    def on_connection_close(self) -> None:
        super().on_connection_close()
        connection: Inbound = self.request.connection  # type: ignore[assignment]
        if connection.whole:
            return
        self._left = True
        if self._client is not None and self.running is not None and not self._client.aborted:
            self._client.gone = True
            self.running.cancel()
        if self._exchange is not None:
            self._exchange.leave()


class ModelHandler(Serving):
    """A request for a model's answer."""

    shape: ClassVar[str]
    takes = frozenset({"POST"})
    head: Callable[..., Awaitable[None] | None] = RequestHandler._unimplemented_method  # also where a GET asks for something else

    def prepare(self) -> None:
        super().prepare()
        if self.request.method != "POST":
            raise HTTPError(405)
        # without a valid key the body is dropped; the refusal is sent after it, since some callers do not read earlier
        self._incoming.drops = not self.services.access.knows(self.key)

    async def post(self, model: str | None = None) -> None:
        """model: its name, where the path says it."""
        last = resuming.last_event(self.request.headers.get("Last-Event-ID"))
        if last is None:
            await self.serve(asking(self.shape), model=model)
        else:
            await self._resume(*last)

    async def _resume(self, token: str, after: int) -> None:
        """Send what follows an event of a stream that was begun before."""
        services = self.services
        owner = services.owner(services.access.admit(self.key).name, self.credential)
        headers, framing, name = own_headers(self.request_id), SHAPES[self.shape].framing, log_name(owner, token)
        streams = services.state.streams
        try:
            await self.follow(lambda client: resuming.resume(streams, client, headers, framing, name, token, after))
        except errors.NotFound:
            services.metrics.resumes.labels("missed").inc()
            raise
        services.metrics.resumes.labels("resumed").inc()


def serving(shape: Shape, base: type[ModelHandler] = ModelHandler) -> type[ModelHandler]:
    """Create the handler class of a shape."""
    return type(f"{shape.name.title()}Handler", (base,), {"shape": shape.name, "secrets": shape.secrets})
