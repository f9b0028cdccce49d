"""What upstreams store for an account, carried as it is: /v1/files, /v1/batches, /v1/uploads and so on, in all methods.

A body goes on to the upstream while it arrives, so that it may be of any size. It is held, within `limits.max_body`, only where it must
be read first (proxy/exchange/objects.py), and where it is compressed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Mapping
from urllib.parse import quote, urlsplit

from ..codecs import errors
from ..codecs.gemini.shape import SHAPE as GOOGLE
from ..codecs.registry import SHAPES
from ..codecs.shape import Shape
from ..proxy.exchange import dry, objects
from ..proxy.exchange.caller import Client
from ..proxy.gateway import Gateway
from ..proxy.wire import bodies
from ..proxy.wire import headers as travel
from ..proxy.wire.inbound import Inbound
from .base import UNBOUNDED, Handler
from .model import ModelHandler, Serving
from .models import asks_google

_ASKED = frozenset(shape.path[1:] for shape in SHAPES.values())  # a model answers there; see Completions
_BELOW = ("", "/{id}", "/{id}/{part}", "/{id}/{part}/{part_id}", "/{id}/{part}/{part_id}/{operation}")
SHOWN = (
    *(f"{objects.shown(name)}{below}" for name in objects.COLLECTIONS for below in _BELOW if below or name not in _ASKED),
    "/upload/v1beta/files",
)
"""The paths, with their variable parts in braces."""

_UPLOAD_URL = "x-goog-upload-url"


class _Sending(Client):
    """Where an upload goes on is a URL of the gateway's, like that where it began. Google's SDKs send no key there: it is in the URL."""

    def _set(self, status: int, headers: Mapping[str, str]) -> None:
        if _UPLOAD_URL in headers:
            headers = {**headers, _UPLOAD_URL: self._handler.here(headers[_UPLOAD_URL])}  # type: ignore[attr-defined]
        super()._set(status, headers)


class Objects(Serving):
    """One path of a collection, or below one."""

    secrets = GOOGLE.secrets
    client_class = _Sending
    takes = frozenset({"POST", "PUT", "PATCH", "DELETE"})  # with DELETE Google's SDK for JavaScript sends one

    def initialize(self, gateway: Gateway) -> None:
        self._google = asks_google(self.request)
        super().initialize(gateway)
        self._passing: bodies.Passing | None = None
        self._task: asyncio.Task[None] | None = None  # answers while the body still arrives

    def prepare(self) -> None:
        """Raises what Handler.prepare does, and NotFound."""
        try:
            self._place = objects.place(self.path_kwargs["path"], self._google)
        except errors.NotFound:
            if self._google:
                self.shape = GOOGLE.name  # type: ignore[misc]
            self.guard()
            raise
        # before anything is checked: the shape decides which of several headers has the key
        self.shape = objects.shape_of(self._place, self.request.headers).name  # type: ignore[misc]
        self.key, self.credential = travel.keys(self.request.headers, self.shape)
        self.guard()
        if self._passes():
            self._send_on()
        else:
            super().prepare()
            self._incoming.drops = not (self.takes_body and self.services.access.knows(self.key))

    def _passes(self) -> bool:
        """Whether the body is sent on while it arrives."""
        headers, services = self.request.headers, self.services
        if not self.takes_body or dry.asked(headers):  # a dry run shows it
            return False
        if headers.get("Content-Length", "0") == "0" and "Transfer-Encoding" not in headers:
            return False
        plain = headers.get("Content-Encoding", "identity").lower() in ("", "identity")
        return plain and services.access.knows(self.key) and not objects.holds(services, self._place, headers, SHAPES[self.shape])

    def _send_on(self) -> None:
        """Send the request on now. Only the time between two reads of its body is bounded."""
        connection: Inbound = self.request.connection  # type: ignore[assignment]
        connection.set_max_body_size(UNBOUNDED)
        connection.set_body_timeout(None)
        length = self.request.headers.get("Content-Length")
        self._passing = bodies.Passing(None if length is None else int(length))
        self._task = asyncio.ensure_future(self._carry())

    def data_received(self, chunk: bytes) -> Awaitable[None] | None:
        if self._passing is None:
            return super().data_received(chunk)
        return self._passing.feed(chunk)

    def here(self, url: str) -> str:
        """An upstream's URL of an upload as one of the gateway's."""
        request, gate, parsed = self.request, self.services.gate, urlsplit(url)
        secure = request.protocol == "https" or (gate is not None and self._source(gate).secure)
        shown = {self.secrets[0]: self.credential, travel.KEY.lower(): request.headers.get(travel.KEY)}
        key = "".join(f"&{name}={quote(value, safe='')}" for name, value in shown.items() if value and not self.services.access.open)
        pairs = [pair for pair in parsed.query.split("&") if pair.partition("=")[0] not in self.secrets]
        return f"{'https' if secure else 'http'}://{request.host}{request.path}?{'&'.join(pairs)}{key}"

    async def get(self, path: str) -> None:
        """Called when the body is complete."""
        if self._passing is not None and self._task is not None:
            self._passing.end()
            await self._task
        else:
            await self._carry()

    post = put = patch = delete = head = get

    async def _carry(self) -> None:
        operation = objects.operation(self._place, self.request.method or "", SHAPES[self.shape])
        await self.serve(operation, path=self._place.path, passing=self._passing)


class Completions(ModelHandler):
    """POST /v1/chat/completions; GET lists those that an upstream stores."""

    def prepare(self) -> None:
        if self.request.method != "GET":
            super().prepare()
            return
        Handler.prepare(self)

    async def get(self, model: str | None = None) -> None:
        place = objects.place(SHAPES[self.shape].path)
        await self.serve(objects.operation(place, "GET", SHAPES[self.shape]), path=place.path)


def listing(shape: Shape) -> type[ModelHandler] | None:
    """The class of requests for a model's answer, where the same path lists the stored ones; None where it does not."""
    return Completions if shape.path[1:] in objects.COLLECTIONS else None
