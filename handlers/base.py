"""What every handler shares: errors in the caller's shape, no HTML, no server name, no ETag over answers."""

from __future__ import annotations

import logging
from typing import Any, ClassVar

from tornado.web import HTTPError, RequestHandler

from ..codecs import errors
from ..proxy.exchange.refusal import refusal
from ..proxy.gateway import Gateway
from ..proxy.wire import headers as travel
from ..proxy.wire.http1 import Fields
from ..proxy.wire.inbound import Inbound

log = logging.getLogger("dragoman")

_KINDS = {404: "not_found", 405: "method_not_allowed", 413: "too_large"}


class Handler(RequestHandler):
    """A RequestHandler of the gateway. `shape` decides the form of errors; "shared" is read by both vendors' SDKs."""

    shape: ClassVar[str] = "shared"
    gateway: Gateway

    def initialize(self, gateway: Gateway) -> None:
        self.gateway = gateway
        self.services = gateway.services  # of the configuration in force now; a reload changes nothing for this request
        self.nonce = travel.nonce(16)
        self.request_id = travel.request_id(self.request.headers.get("X-Request-Id"), self.nonce)
        gateway.live.serving.add(self)

    def on_finish(self) -> None:
        self.gateway.live.serving.discard(self)

    def on_connection_close(self) -> None:
        super().on_connection_close()
        self.gateway.live.serving.discard(self)

    def clear(self) -> None:
        """As RequestHandler's, but with no header: nothing here is a page, and the connection writes the date."""
        self._headers = Fields()
        self._write_buffer = []
        self._status_code, self._reason = 200, "OK"

    def compute_etag(self) -> str | None:
        return None  # a hash over every answer serves nobody

    def refuse(self, error: errors.GatewayError) -> None:
        """Answer with an error, before anything else was written."""
        status, headers, body = refusal(error, self.shape, self.request_id)
        self.set_status(status)
        for name, value in headers.items():
            self.set_header(name, value)
        self.finish(body)

    def send_error(self, status_code: int = 500, **kwargs: Any) -> None:
        """As RequestHandler's; but an answer that has begun is cut, where Tornado would end it as if it were whole."""
        if self._headers_written:
            self.cut()
        else:
            super().send_error(status_code, **kwargs)

    def cut(self) -> None:
        """Close the connection: what was sent has no proper end."""
        connection: Inbound = self.request.connection  # type: ignore[assignment]
        connection.stream.close()

    def write_error(self, status_code: int, **kwargs: Any) -> None:
        error = kwargs["exc_info"][1] if "exc_info" in kwargs else None
        if isinstance(error, errors.GatewayError):
            self.refuse(error)
        elif isinstance(error, HTTPError) or error is None:
            kind = _KINDS.get(status_code, "bad_request" if status_code < 500 else "server")
            self.refuse(errors.GatewayError(self._reason, kind=kind, status=status_code))
        else:
            self.refuse(errors.LocalBug(f"Internal error. Request id: {self.request_id}"))

    def log_exception(self, typ: Any, value: BaseException | None, tb: Any) -> None:
        if not isinstance(value, errors.GatewayError | HTTPError):
            log.error("request %s failed: %s %s", self.request_id, self.request.method, self.request.path, exc_info=value)


class NotFound(Handler):
    """Every path that is not served."""

    def prepare(self) -> None:
        if self.request.path.rstrip("/").endswith("/messages"):
            raise HTTPError(405)
        raise errors.NotFound(f"{self.request.method} {self.request.path[:200]} is not served here.")
