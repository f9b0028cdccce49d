"""What the Responses API lets a caller do with a stored response: read it, read its input, delete it, cancel it.

What an upstream keeps itself is asked of that upstream; what the gateway keeps is answered from its store.
"""

from __future__ import annotations

import asyncio
from typing import Any
from urllib.parse import quote

from tornado.web import stream_request_body

from ..codecs import errors, splice
from ..proxy.exchange import relay
from ..proxy.exchange.caller import Client
from ..proxy.memory.records import Native, Record, known, listed
from ..proxy.routing.router import Candidate
from ..proxy.wire import headers as travel
from ..proxy.wire.upstream import UpstreamRequest
from . import lists
from .base import Handler
from .model import ModelHandler

ENCRYPTED = "reasoning.encrypted_content"


class _OverState(Handler):
    """path: what stands behind the id in an upstream's own path."""

    shape = "responses"
    path = ""

    def prepare(self) -> None:
        super().prepare()
        self._client: Client | None = None
        self._task: asyncio.Task[Any] | None = None

    def client(self) -> Client:
        """The caller, for an answer that may take its time; it ends when the caller leaves."""
        self._task = asyncio.current_task()
        self._client = Client(self, self.gateway.config.limits.client_stall)
        return self._client

    def on_connection_close(self) -> None:
        if self._client is not None and self._task is not None:
            self._client.gone = True
            self._task.cancel()

    def own_headers(self) -> dict[str, str]:
        return {"x-request-id": self.request_id}

    async def record(self, id: str) -> Record | None:
        """The caller's own record; None when the upstream that keeps it has answered. Raises Unauthorized, NotFound."""
        gateway = self.gateway
        credential = travel.credential(self.request.headers, "responses")
        name = gateway.access.admit(credential)
        self.owner = gateway.owner(name, credential)
        found = await gateway.state.found(self.owner, id)
        if isinstance(found, Record):
            return found
        candidate = gateway.router.keeper(found.provider if isinstance(found, Native) else None)
        if candidate is None or not known(id) or not (found or gateway.lets_through(candidate)):
            raise errors.NotFound(f"Response with id '{id[:256]}' not found.")
        if isinstance(found, Native):
            gateway.check_model(name, found.model)
        await self._relay(candidate, id, credential)
        return None

    async def _relay(self, candidate: Candidate, id: str, credential: str | None) -> None:
        query = f"?{self.request.query}" if self.request.query else ""
        path, method = f"/responses/{quote(id, safe='')}{self.path}{query}", self.request.method or "GET"
        body = b"" if method == "POST" else None
        limit = self.gateway.config.limits.max_event
        request = relay.upstream_request(candidate, path, self.request.headers, body, credential, limit, method)
        client = self.client()
        try:
            if method == "DELETE":
                await self._forget(candidate, id, request)
            else:
                await relay.carry(self.gateway, client, candidate, request, self.own_headers())
        except asyncio.CancelledError:
            if not client.gone:
                raise

    async def _forget(self, candidate: Candidate, id: str, request: UpstreamRequest) -> None:
        """A response is gone here before the caller learns that it is gone there."""
        response = await self.gateway.upstream.fetch(request)
        if response.code == 200:
            await self.gateway.state.records.delete(self.owner, id)
        headers = self.own_headers() | {"content-type": response.headers.get("Content-Type", "application/json")}
        assert self._client is not None
        await self._client.answer(response.code, headers | {"x-dragoman-upstream": candidate.name}, response.body)


class Stored(_OverState):
    """GET and DELETE /v1/responses/{id}."""

    async def get(self, id: str) -> None:
        record = await self.record(id)
        if record is None:
            return
        if self.get_query_argument("stream", "false").lower() == "true":
            await self._stream(record)
        elif record.final:
            include = self.get_query_arguments("include") + self.get_query_arguments("include[]")
            self.write(record.shown(encrypted=ENCRYPTED in include))
        else:
            self.write(await self.gateway.state.background.shown(self.owner, record))

    async def _stream(self, record: Record) -> None:
        """The events again, and those to come."""
        if not (record.background and record.stream):
            raise errors.ClientFault("Only background responses that were streamed can be streamed again.", param="stream")
        after = self.get_query_argument("starting_after", "-1")
        if after != "-1" and not (after.isdecimal() and len(after) < 16):
            raise errors.ClientFault("`starting_after` must be a sequence number.", code="invalid_value", param="starting_after")
        background = self.gateway.state.background
        if int(after) + 1 < await background.oldest(self.owner, record.id):
            raise errors.ClientFault("The events that follow this one are no longer kept.", param="starting_after")
        client = self.client()
        try:
            await background.tell(client, self.own_headers(), self.owner, record.id, int(after))
        except asyncio.CancelledError:
            if not client.gone:
                raise

    async def delete(self, id: str) -> None:
        record = await self.record(id)
        if record is None:
            return
        state = self.gateway.state
        if not record.final:
            await state.background.cancel(self.owner, record)
        await state.records.delete(self.owner, id)
        self.write({"id": id, "object": "response", "deleted": True})


class Cancel(_OverState):
    """POST /v1/responses/{id}/cancel: only background work can be cancelled."""

    path = "/cancel"

    async def post(self, id: str) -> None:
        record = await self.record(id)
        if record is None:
            return
        if not record.background:
            raise errors.ClientFault("Cannot cancel a synchronous response.")
        cancelled = await self.gateway.state.background.cancel(self.owner, record)
        if cancelled is None:
            raise errors.NotFound(f"Response with id '{id[:256]}' not found.")
        self.write(cancelled.shown())


class InputItems(_OverState):
    """GET /v1/responses/{id}/input_items: the response's own input, not that of those before it."""

    path = "/input_items"

    async def get(self, id: str) -> None:
        record = await self.record(id)
        if record is not None:
            self.write(lists.page(self, [listed(item) for item in record.input]))


@stream_request_body
class Compact(ModelHandler):
    """POST /v1/responses/compact: what it gives back only its own provider can read."""

    shape = "responses"

    async def post(self) -> None:
        headers, gateway = self.request.headers, self.gateway
        credential = travel.credential(headers, self.shape)
        name = gateway.access.admit(credential)
        body = self._body()
        scan = splice.scan(body)
        gateway.check_models(name, scan, body)
        candidates = gateway.affordable(name, gateway.router.candidates(self.shape, scan.model).candidates)
        candidate = next((c for c in candidates if c.shape == "responses" and c.capabilities.r_stateful), None)
        if candidate is None:
            raise errors.ClientFault("Compaction is not supported by the selected model.", code="unsupported_endpoint")
        renamed = splice.replace_model(body, scan, candidate.model)
        limit = gateway.config.limits.max_event
        request = relay.upstream_request(candidate, "/responses/compact", headers, renamed, credential, limit)
        own = {"x-request-id": self.request_id}
        limited = await gateway.quota.admit(name, self.shape)
        await relay.carry(gateway, Client(self, gateway.config.limits.client_stall), candidate, request, own, limited)
