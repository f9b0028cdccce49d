"""The base of all handlers: bounded bodies, errors in the caller's shape; no HTML, no Server header, no ETag.

A body is received in chunks; `prepare` runs before the first one (dispatch.py), so that a request refused there is never buffered.
Where the method takes none the chunks are dropped, and a body of more than IGNORED bytes is refused. A compressed body is decoded as it
arrives; whoever takes one gets it plain.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Mapping, Sequence
from string import ascii_letters, digits, punctuation
from typing import Any, ClassVar
from urllib.parse import quote

from tornado.web import Finish, HTTPError, RequestHandler

from ..codecs import errors, jsontext
from ..proxy.exchange import dry
from ..proxy.exchange.refusal import own_headers, refusal
from ..proxy.gateway import Gateway
from ..proxy.keys.gate import Gate
from ..proxy.wire import bodies, pages
from ..proxy.wire import headers as travel
from ..proxy.wire.bodies import Incoming
from ..proxy.wire.http1 import Fields
from ..proxy.wire.inbound import Inbound
from ..proxy.wire.networks import Source
from ..proxy.wire.pages import Hosts
from .methods import allowed

log = logging.getLogger("dragoman")

IGNORED = 64 * 1024  # bytes accepted of a body that is not used
UNBOUNDED = 1 << 62  # bytes
ASCII = ascii_letters + digits + punctuation
_READING = frozenset({"GET", "HEAD", "OPTIONS"})
_KINDS = {404: "not_found", 405: "method_not_allowed", 413: "too_large"}


class Handler(RequestHandler):
    """A RequestHandler of the gateway. shape: the form of errors; "shared" is understood by both vendors' SDKs."""

    shape: ClassVar[str] = "shared"
    takes: ClassVar[frozenset[str]] = frozenset()  # the methods whose bodies are read
    secrets: ClassVar[tuple[str, ...]] = ()  # of the query: see Shape.secrets
    changes: ClassVar[bool] = True  # what it does besides reading is done here, not by an upstream
    cors: Mapping[str, str] = {}
    gateway: Gateway
    running: asyncio.Task[None] | None = None  # answers the request; the loop itself has weak references only

    def initialize(self, gateway: Gateway) -> None:
        self.gateway = gateway
        self.services = services = gateway.services  # of the current configuration; a reload does not affect this request
        self.takes_body = self.request.method in self.takes
        self._incoming = Incoming(gateway.bodies, services.config.limits.max_body if self.takes_body else IGNORED)
        self._incoming.drops = not self.takes_body
        if self.request.query:
            travel.take_credential(self.request, self.secrets)
        self.nonce = travel.nonce(16)
        self.request_id = travel.request_id(self.request.headers.get("X-Request-Id"), self.nonce)
        gateway.live.serving.add(self)

    def begin(self, arguments: Sequence[bytes], named: Mapping[str, bytes]) -> Awaitable[None] | None:
        """Called with the head, before the body is received; waits for the keys of an identity provider where the caller's token needs
        them. arguments, named: what the pattern of its path holds.
        """
        self._transforms = []
        tokens = self.services.tokens
        pending = None if tokens is None else tokens.pending(travel.key(self.request.headers, self.shape))
        if pending is not None:
            return self._begin_after(pending, arguments, named)
        self._begin(arguments, named)
        return None

    async def _begin_after(self, pending: Awaitable[None], arguments: Sequence[bytes], named: Mapping[str, bytes]) -> None:
        await pending
        self._begin(arguments, named)

    def _begin(self, arguments: Sequence[bytes], named: Mapping[str, bytes]) -> None:
        try:
            self.path_args = [self.decode_argument(value) for value in arguments]
            self.path_kwargs = {name: self.decode_argument(value, name) for name, value in named.items()}
            self.prepare()
            if self.request.method not in self.SUPPORTED_METHODS:  # after what says that there is no such path
                raise HTTPError(405)
        except Exception as error:
            self._handle_request_exception(error)

    async def run(self) -> None:
        """Called when the body is complete, unless the request has been answered: answer it."""
        try:
            waits = getattr(self, (self.request.method or "").lower())(*self.path_args, **self.path_kwargs)
            if waits is not None:
                await waits
            if self._auto_finish and not self._finished:
                self.finish()
        except asyncio.CancelledError:
            if not self._finished:
                self.send_error(500)
            raise
        except Exception as error:
            self._handle_request_exception(error)

    def head(self, *path: Any, **named: Any) -> Awaitable[None] | None:
        """Answer as to a GET: of that Tornado sends the head alone. HTTPError where there is no GET."""
        waits: Awaitable[None] | None = self.get(*path, **named)
        return waits

    def clear(self) -> None:
        """Overridden to set no default headers: answers are not pages, and the connection writes the date."""
        self._headers = Fields()
        self._write_buffer = []
        self._status_code, self._reason = 200, "OK"

    def prepare(self) -> None:
        """Called before the body is received. Raises Forbidden, TooLarge, Overloaded, ClientFault for an unknown content coding."""
        request = self.request
        self.guard()
        if self.changes:
            self.check_not_dry()
        limit = self.services.config.limits.max_body
        request.connection.set_max_body_size(UNBOUNDED)  # type: ignore[union-attr] # Incoming has a limit, and refuses in the caller's shape
        if self.takes_body and request.headers.get("Content-Encoding", "identity").lower() not in ("", "identity"):
            self._incoming = bodies.Coded(self.gateway.bodies, limit, request.headers["Content-Encoding"])
        self._incoming.expect(int(request.headers.get("Content-Length", "0")))  # validated by the connection

    def check_not_dry(self) -> None:
        """Raise ClientFault for a dry run of what changes something here."""
        if self.request.method not in _READING and dry.asked(self.request.headers):
            raise errors.ClientFault("Requests that the gateway answers itself have no dry run.", param=dry.HEADER.lower())

    def guard(self) -> None:
        """Raise Forbidden for a web page's request to a gateway without access keys, which is meant for programs only (pages.py), or
        for an address that may not use the gateway (gate.py).
        """
        services = self.services
        if services.gate is not None:
            self._pass(services.gate)
        elif services.access.sources and services.access.located:
            self._pass(services.place_gate)
        elif services.access.open:
            pages.check(self.request.method or "", self.request.headers, self.hosts)

    @property
    def hosts(self) -> Hosts | None:
        """The names that the listener answers to, if known."""
        hosts: Hosts | None = self.settings.get("hosts")
        return hosts

    def _pass(self, gate: Gate) -> None:
        """As `guard`. Raises Finish when a browser only asks whether its page may send a request: that is answered here."""
        request, method = self.request, self.request.method or ""
        cors = gate.cors(method, request.headers)
        self.cors = cors.headers
        for name, value in cors.headers.items():
            self.set_header(name, value)
        source = self._source(gate)
        gate.check_page(method, request.headers, self.hosts, source, cors)
        if cors.preflight:
            self.set_status(204)
            raise Finish
        gate.check_key(request.headers, self.shape, source)

    def _source(self, gate: Gate) -> Source:
        """Where the request comes from. Raises Forbidden."""
        connection: Inbound = self.request.connection  # type: ignore[assignment]
        return gate.source(connection.context.remote_ip, self.request.headers, self.settings["allow_from"])

    def guard_address(self) -> Source:
        """Of `guard`, what concerns addresses alone. Raises Forbidden."""
        connection: Inbound = self.request.connection  # type: ignore[assignment]
        peer, allowed = connection.context.remote_ip, self.settings["allow_from"]
        return self.services.check_place(peer, self.request.headers, allowed, self.shape)

    def data_received(self, chunk: bytes) -> Awaitable[None] | None:
        try:
            self._incoming.feed(chunk)
        except errors.GatewayError as error:
            self.refuse(error)
        return None

    async def body(self) -> bytes:
        """Return the complete body and drop the reference to it. Raises TooLarge, Overloaded, Malformed for a compressed one."""
        incoming = self._incoming
        if isinstance(incoming, bodies.Coded):
            await bodies.in_steps(incoming.rest())
        return await bodies.apart(incoming.large, incoming.take)

    def on_finish(self) -> None:
        self._over()

    def on_connection_close(self) -> None:
        self._over()

    def _over(self) -> None:
        self._incoming.release()
        self.gateway.live.serving.discard(self)

    def query(self) -> str:
        """The query with its question mark, in ASCII; other bytes, which the connection decodes as latin-1, are percent-encoded."""
        return f"?{quote(self.request.query, safe=ASCII, encoding='latin-1')}" if self.request.query else ""

    def write(self, chunk: str | bytes | dict[str, Any]) -> None:
        """Overridden to accept objects with lone surrogates. An object is an answer of the gateway's own."""
        if isinstance(chunk, dict):
            self.begin_json()
            chunk = jsontext.dumps(chunk)
        super().write(chunk)

    def begin_json(self) -> None:
        """Set the headers of an answer of the gateway's own."""
        for name, value in own_headers(self.request_id).items():
            self.set_header(name, value)
        self.set_header("Content-Type", "application/json; charset=UTF-8")

    def compute_etag(self) -> str | None:
        return None  # callers do not use it, and hashing every answer costs time

    def refuse(self, error: errors.GatewayError) -> None:
        """Answer with an error. Nothing may have been written before."""
        status, headers, body = refusal(error, self.shape, self.request_id)
        self.set_status(status)
        for name, value in (headers | dict(self.cors)).items():
            self.set_header(name, value)
        self.finish(body)

    def send_error(self, status_code: int = 500, **kwargs: Any) -> None:
        """Overridden to cut off an answer that has begun: Tornado would end it as if it were complete."""
        if self._headers_written:
            self.cut()
        else:
            super().send_error(status_code, **kwargs)

    def cut(self) -> None:
        """Close the connection, so that the caller sees an incomplete answer."""
        connection: Inbound = self.request.connection  # type: ignore[assignment]
        connection.stream.close()

    def write_error(self, status_code: int, **kwargs: Any) -> None:
        error = kwargs["exc_info"][1] if "exc_info" in kwargs else None
        if isinstance(error, errors.GatewayError):
            self.refuse(error)
        elif isinstance(error, HTTPError) or error is None:
            kind = _KINDS.get(status_code, "bad_request" if status_code < 500 else "server")
            refused = errors.GatewayError(self._reason, kind=kind, status=status_code)
            if status_code == 405:
                refused.headers["Allow"] = allowed(type(self))
            self.refuse(refused)
        else:
            self.refuse(errors.LocalBug(f"Internal error. Request id: {self.request_id}"))

    def log_exception(self, typ: Any, value: BaseException | None, tb: Any) -> None:
        if not isinstance(value, errors.GatewayError | HTTPError):
            log.error("request %s failed: %s %s", self.request_id, self.request.method, self.request.path, exc_info=value)
