"""What every handler shares: errors in the caller's shape, no HTML, no server name, no ETag over answers."""

from __future__ import annotations

import logging
from math import ceil
from typing import Any, ClassVar

from tornado.web import HTTPError, RequestHandler

from ..codecs import errors
from ..proxy.gateway import Gateway
from ..proxy.keys import pages
from ..proxy.keys.pages import Hosts
from ..proxy.wire import headers as travel
from ..proxy.wire.http1 import Fields

log = logging.getLogger("dragoman")

_KINDS = {404: "not_found", 405: "method_not_allowed", 413: "too_large"}


class Handler(RequestHandler):
    """A RequestHandler of the gateway. `shape` decides the form of errors; "shared" is read by both vendors' SDKs."""

    shape: ClassVar[str] = "shared"
    gateway: Gateway

    def initialize(self, gateway: Gateway, hosts: Hosts | None) -> None:
        """hosts: the names that the listener answers to, where they are known."""
        self.gateway, self.hosts = gateway, hosts
        self.request_id = travel.request_id(self.request.headers.get("X-Request-Id"), travel.nonce(12))

    def prepare(self) -> None:
        """Raises Forbidden for what a web page asks of a gateway that lets everybody in: a page of any origin is not meant by that."""
        if self.gateway.access.open:
            pages.check(self.request.method or "", self.request.headers, self.hosts)

    def clear(self) -> None:
        """As RequestHandler's, but with no header: nothing here is a page, and the connection writes the date."""
        self._headers = Fields()
        self._write_buffer = []
        self._status_code, self._reason = 200, "OK"

    def compute_etag(self) -> str | None:
        return None  # a hash over every answer serves nobody

    def refuse(self, error: errors.GatewayError) -> None:
        """Answer with an error, before anything else was written."""
        request_id = self.request_id
        self.set_status(error.http_status(self.shape))
        self.set_header("Content-Type", "application/json")
        self.set_header("x-request-id", request_id)
        self.set_header("request-id", request_id)
        for header, value in error.headers.items():
            self.set_header(header, value)
        if error.retry_after is not None:
            self.set_header("retry-after", str(max(0, ceil(error.retry_after))))
        if error.should_retry is not None:
            self.set_header("x-should-retry", "true" if error.should_retry else "false")
        self.finish(error.body(self.shape, request_id))

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
        super().prepare()
        if self.request.path.rstrip("/").endswith("/messages"):
            raise HTTPError(405)
        raise errors.NotFound(f"{self.request.method} {self.request.path[:200]} is not served here.")
