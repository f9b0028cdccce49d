"""The Responses API: its WebSocket; the operations on a stored response (read it, read its input, delete it, cancel it); compaction.

A response that an upstream stores is requested from that upstream; one that the gateway stores is answered from its store.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from dataclasses import replace
from functools import partial
from typing import Any, ClassVar
from urllib.parse import quote

from ..codecs import errors
from ..codecs.registry import SHAPES
from ..proxy.exchange import exchange, resuming
from ..proxy.exchange.operation import COMPACT, RESPONSE_CANCEL, RESPONSE_DELETE, RESPONSE_INPUT, RESPONSE_READ, Operation
from ..proxy.exchange.refusal import own_headers
from ..proxy.memory.records import Native, Record, known, listed
from ..proxy.routing.candidate import Candidate
from ..proxy.websocket.session import Opening, Session
from ..proxy.wire import headers as travel
from ..proxy.wire import pages, websocket
from ..proxy.wire.inbound import Inbound
from . import lists
from .model import ModelHandler, Serving

BETA = "responses_websockets"  # what `OpenAI-Beta` says of the WebSocket itself


class Create(ModelHandler):
    """POST /v1/responses, and GET, which asks for a WebSocket."""

    def prepare(self) -> None:
        if self.request.method != "GET":
            super().prepare()
            return
        try:
            self._check_upgrade()
        except errors.GatewayError as error:
            if self._asks_upgrade:
                self.gateway.metrics.websocket_refused.labels(str(error.http_status(self.shape))).inc()
            raise

    @property
    def _asks_upgrade(self) -> bool:
        headers = self.request.headers
        options = [option.strip().lower() for option in headers.get("Connection", "").split(",")]
        return headers.get("Upgrade", "").strip().lower() == "websocket" and "upgrade" in options

    def _check_upgrade(self) -> None:
        """Raise GatewayError unless the request can be upgraded.

        Coding agents go on over HTTP at once after a 426; a 400 or a 429 fails what they do. So limits are left to the messages.
        """
        request, headers = self.request, self.request.headers
        config = self.services.config.websocket
        if not (config.enabled and self._asks_upgrade):
            self.guard()
            how = "asks for a WebSocket alone: use POST" if config.enabled else "is served over HTTP here: use POST"
            raise errors.ClientFault(f"The Responses API {how}.", kind="upgrade")
        source = self.guard_address()
        if headers.get("Sec-WebSocket-Version") != websocket.VERSION:
            error = errors.ClientFault(f"Only version {websocket.VERSION} of WebSockets is served here.", kind="upgrade")
            error.headers["Sec-WebSocket-Version"] = websocket.VERSION
            raise error
        self._accept = websocket.accept(headers.get("Sec-WebSocket-Key", ""))
        body = headers.get("Content-Length", "0") != "0" or "Transfer-Encoding" in headers
        if self._accept is None or body or request.version != "HTTP/1.1":
            raise errors.ClientFault("An upgrade needs HTTP/1.1, no body, and a `Sec-WebSocket-Key` of 16 bytes in base64.")
        pages.check_socket(headers, self.hosts if self.services.access.open else None, config.origins, secure=source.secure)
        self._key = self.services.access.admit(travel.key(headers, self.shape)).name
        live = self.gateway.live
        if live.draining or len(live.sockets) >= config.max_connections:
            full = errors.Overloaded("The gateway takes no more connections at the moment.", retry_after=1)
            full.headers["Connection"] = "close"
            raise full

    def get(self, model: str | None = None) -> None:
        """Upgrade the connection. model: its name, where the path says it."""
        connection: Inbound = self.request.connection  # type: ignore[assignment]
        limits, config = self.services.config.limits, self.services.config.websocket
        settings = self.settings
        opening = Opening(
            headers=travel.without_beta(self.request.headers, BETA),
            request_id=self.request_id,
            key=self._key,
            peer=connection.context.remote_ip,
            allowed=lambda: settings["allow_from"],
            timeout=lambda: settings.get("timeout"),
            model=model,
        )
        headers = own_headers(self.request_id) | {
            "upgrade": "websocket",
            "connection": "Upgrade",
            "sec-websocket-accept": self._accept or "",
            "x-codex-websocket-max-message-bytes": str(limits.max_body if config.max_message is None else config.max_message),
        }
        self._auto_finish = False  # the request is over without an answer of Tornado's
        self._over()
        if not connection.stream.closed():
            connection.upgrade(headers, Session(self.gateway, connection, opening))


class _OverState(Serving):
    """operations: by method, for a response that an upstream stores."""

    shape = "responses"
    operations: ClassVar[dict[str, Operation]]

    async def record(self, id: str) -> Record | None:
        """The record of a response that the gateway stores; None when its upstream has answered. Raises Unauthorized, NotFound."""
        services = self.services
        identity = services.access.admit(self.key)
        self.owner = services.owner(identity.name, self.credential)
        stored = await services.state.find(self.owner, id)
        if isinstance(stored, Record):
            self.check_not_dry()
            return stored
        keeper = self._keeper(stored)
        if keeper is None or not known(id) or not (stored or services.lets_through(keeper)):
            raise errors.NotFound(f"Response with id '{id[:256]}' not found.")
        if stored is not None:
            services.check_model(identity, stored.model)
        operation = self.operations[self.request.method or ""]
        path = operation.path.replace("{id}", quote(id, safe=""))
        charges = partial(services.state.records.charge, self.owner, id, self.nonce) if stored is not None and stored.background else None
        await self.serve(operation, path=path, stored=exchange.Stored(keeper, self.before_answer(id), charges))
        return None

    def _keeper(self, native: Native | None) -> Candidate | None:
        """The upstream that stores the response: a candidate of the model that produced it, otherwise by its mark alone."""
        router = self.services.router
        if native is None:
            return router.keeper()
        try:
            candidates = router.candidates("responses", native.model).candidates
        except errors.GatewayError:  # a reload removed the model
            candidates = ()
        same = (candidate for candidate in candidates if router.mark(candidate.provider) == native.provider)
        return next(same, None) or router.keeper(native.provider)

    def before_answer(self, id: str) -> Callable[[], Coroutine[Any, Any, None]] | None:
        """Returns what is awaited before the upstream's successful answer is sent."""
        return None


class Stored(_OverState):
    """GET and DELETE /v1/responses/{id}."""

    operations: ClassVar[dict[str, Operation]] = {
        "GET": RESPONSE_READ,
        "HEAD": replace(RESPONSE_READ, method="HEAD"),
        "DELETE": RESPONSE_DELETE,
    }

    def before_answer(self, id: str) -> Callable[[], Coroutine[Any, Any, None]] | None:
        """Delete the record of a response here before the caller learns that the upstream has deleted it."""
        return partial(self.services.state.records.delete, self.owner, id) if self.request.method == "DELETE" else None

    async def get(self, id: str) -> None:
        streams = self.request.method == "GET" and self.get_query_argument("stream", "false").lower() == "true"
        if streams and await self._resumed(id):
            return
        record = await self.record(id)
        if record is None:
            return
        if streams:
            await self._stream(record)
        elif record.final:
            self.write(record.shown())
        else:
            self.write(await self.services.state.background.shown(self.owner, record))

    async def _resumed(self, id: str) -> bool:
        """Send the events of a response whose stream can be resumed; False where there is none of this id."""
        services = self.services
        owner = services.owner(services.access.admit(self.key).name, self.credential)
        name = await services.state.streams.of_response(owner, id)
        if name is None:
            return False
        after, headers, streams = self._after(), own_headers(self.request_id), services.state.streams
        framing = SHAPES[self.shape].framing
        await self.follow(lambda client: resuming.resume(streams, client, headers, framing, name, "", after))
        services.metrics.resumes.labels("resumed").inc()
        return True

    def _after(self) -> int:
        """The number of the event after which to begin; -1: with the first. Raises ClientFault."""
        after = self.get_query_argument("starting_after", "-1")
        if after != "-1" and not (after.isdecimal() and len(after) < 16):
            raise errors.ClientFault("`starting_after` must be a sequence number.", code="invalid_value", param="starting_after")
        return int(after)

    async def _stream(self, record: Record) -> None:
        """Stream the stored events and those to come."""
        if not (record.background and record.stream):
            raise errors.ClientFault("Only background responses that were streamed can be streamed again.", param="stream")
        after, background = self._after(), self.services.state.background
        if after + 1 < await background.oldest(self.owner, record.id):
            raise errors.ClientFault("The events after this one are no longer stored.", param="starting_after")
        await self.follow(lambda client: background.tell(client, own_headers(self.request_id), self.owner, record.id, after))

    async def delete(self, id: str) -> None:
        record = await self.record(id)
        if record is None:
            return
        state = self.services.state
        if not record.final:
            await state.background.cancel(self.owner, record)
        await state.records.delete(self.owner, id)
        await state.streams.delete(self.owner, id)
        self.write({"id": id, "object": "response", "deleted": True})


class Cancel(_OverState):
    """POST /v1/responses/{id}/cancel: only for background responses."""

    operations: ClassVar[dict[str, Operation]] = {"POST": RESPONSE_CANCEL}

    async def post(self, id: str) -> None:
        record = await self.record(id)
        if record is None:
            return
        if not record.background:
            raise errors.ClientFault("Cannot cancel a synchronous response.")
        cancelled = await self.services.state.background.cancel(self.owner, record)
        if cancelled is None:
            raise errors.NotFound(f"Response with id '{id[:256]}' not found.")
        self.write(cancelled.shown())


class InputItems(_OverState):
    """GET /v1/responses/{id}/input_items: the response's own input, without that of previous responses."""

    operations: ClassVar[dict[str, Operation]] = {"GET": RESPONSE_INPUT, "HEAD": replace(RESPONSE_INPUT, method="HEAD")}

    async def get(self, id: str) -> None:
        record = await self.record(id)
        if record is not None:
            page = lists.page(self, record.input)
            self.write(page | {"data": [listed(item) for item in page["data"]]})


class Compact(ModelHandler):
    """POST /v1/responses/compact."""

    shape = "responses"

    async def post(self, model: str | None = None) -> None:
        await self.serve(COMPACT)
