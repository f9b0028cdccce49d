"""The wire inspector's taps: what goes over the wires of an exchange, told as it happens, while somebody looks.

Strategy: an exchange that begins while nobody looks has no tap, and nothing of this module is on its way. One that begins while
somebody does gets a TappedClient in front of its Client, TappedAttempts instead of Attempts and a TappedLane instead of an
EventsLane: each tells what passes and then does what its original does. What is told is redacted before it leaves the exchange
(redact.py), and bounded: so many exchanges at a time, so many records and characters of each.

A message is a dict: `id` is the exchange's; `row` has members for its line in the list, `records` what passed since the last one.
A record: `at` (milliseconds since the exchange began), `pane` (PANES), `kind`, `name`, `size` in bytes, `text`, `attempt`.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import fields
from time import monotonic, time
from typing import TYPE_CHECKING, Any

import orjson

from ...codecs import errors
from ...codecs import events as ev
from ...codecs.reply import Reply
from ...codecs.sse import Splitter
from ..exchange.attempt import Attempt
from ..exchange.caller import Client
from ..exchange.lanes import EventsLane, json_object
from ..exchange.shapes import SHAPES
from ..routing.router import API_OF, PATH_OF, Candidate, told
from ..telemetry.metrics import error_kind
from . import redaction as redact

if TYPE_CHECKING:
    from ..exchange.exchange import Exchange

Message = dict[str, Any]

PANES = ("client", "up", "down", "hub", "out")  # client to us, us to upstream, upstream to us, hub events, us to client

TAPS = 64  # exchanges that are told of at a time; of others only that they were not
RECORDS = 2000  # of one exchange
CHARACTERS = 1 << 20  # of one exchange's records
FLUSH = 0.05  # seconds that messages wait for company


class Inspector:
    """One worker's. number: the worker's."""

    def __init__(self, number: int = 0) -> None:
        self.content = False
        self._number = number
        self._send: Callable[[list[Message]], None] | None = None  # None: nobody looks
        self._waiting: list[Message] = []
        self._timer: asyncio.TimerHandle | None = None
        self._count = 0
        self._open: set[Tap] = set()

    def watch(self, send: Callable[[list[Message]], None] | None, content: bool = False) -> None:
        """send: who gets the messages; None when nobody looks any more. content: whether what is said is told, too."""
        self._send, self.content = send, content
        if send is None:
            self._waiting.clear()
        for tap in self._open:
            tap.content = tap.content and content  # what began without content goes on without

    def open(self, exchange: Exchange) -> Tap | None:
        """The tap of an exchange that begins, if somebody looks."""
        if self._send is None:
            return None
        if len(self._open) >= TAPS:
            return None
        self._count += 1
        tap = Tap(self, f"{self._number}-{os.getpid():x}-{self._count}", exchange)
        self._open.add(tap)
        return tap

    def tell(self, message: Message) -> None:
        if self._send is None:
            return
        self._waiting.append(message)
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(FLUSH, self._flush)

    def closed(self, tap: Tap) -> None:
        self._open.discard(tap)

    def _flush(self) -> None:
        self._timer = None
        waiting, self._waiting = self._waiting, []
        if self._send is not None and waiting:
            self._send(waiting)


class Tap:
    """One exchange's."""

    def __init__(self, inspector: Inspector, id: str, exchange: Exchange) -> None:
        self.content = inspector.content
        self._inspector = inspector
        self._id = id
        self._exchange = exchange
        self._records = 0
        self._characters = 0
        self._attempts: list[dict[str, Any]] = []
        self._secrets = {exchange.credential} if exchange.credential else set()
        self.row(
            begun=round(time() * 1000),
            request_id=exchange.request_id,
            shape=exchange.shape,
            content=self.content,
            done=False,
        )
        path = "/v1" + PATH_OF[API_OF[exchange.shape]]
        self.head("client", f"POST {redact.target(path + exchange.query)}", exchange.headers.get_all())
        self.body("client", exchange.body)

    # ---- telling ----

    def row(self, **members: Any) -> None:
        self._inspector.tell({"id": self._id, "row": members})

    def record(self, pane: str, kind: str, name: str, size: int, text: str, at: float | None = None) -> None:
        """at: as of `_ms`; now when not given."""
        if self._records > RECORDS or self._characters > CHARACTERS:
            return
        self._records += 1
        self._characters += len(text)
        if self._records > RECORDS or self._characters > CHARACTERS:
            kind, name, text = "note", "the rest of this exchange is not kept", ""
        record = {
            "at": self._ms() if at is None else at,
            "pane": pane,
            "kind": kind,
            "name": name,
            "size": size,
            "text": text,
            "attempt": len(self._attempts),
        }
        self._inspector.tell({"id": self._id, "records": [record]})

    def head(self, pane: str, name: str, pairs: Any) -> None:
        found = redact.headers(pairs)
        text = "\n".join(f"{key}: {value}" for key, value in found.items())
        self.record(pane, "head", name, len(text), text)

    def body(self, pane: str, data: bytes) -> None:
        if data:
            self.record(pane, "body", "body", len(data), redact.body(data, self.content, self._secrets))

    def frames(self, pane: str, splitter: Splitter, data: bytes) -> None:
        """The events that these bytes complete."""
        try:
            found = splitter.feed(data)
        except errors.Garbled:
            self.record(pane, "note", "an event over the limit", len(data), "")
            return
        at = self._ms()  # the same for all that came in one read
        for name, payload in found:
            text = redact.body(payload, self.content, self._secrets)
            self.record(pane, "event", _label(name, payload), len(payload), text, at)
        if not found and data.lstrip().startswith(b":"):
            self.record(pane, "comment", "keep-alive", len(data), "")

    def events(self, found: list[ev.Event]) -> None:
        at = self._ms()
        for event in found:
            said = _said(event)
            text = orjson.dumps(said, default=str).decode() if self.content else redact.form(said)
            self.record("hub", "event", type(event).__name__, 0, redact.cut(text), at)

    # ---- the exchange ----

    def client(self, client: Client) -> TappedClient:
        return TappedClient(client, self)

    def attempt(self, exchange: Exchange, candidate: Candidate) -> TappedAttempt:
        if candidate.provider.access_key:
            self._secrets.add(candidate.provider.access_key)
        return TappedAttempt(exchange, candidate, self)

    def begin(self, attempt: Attempt) -> dict[str, Any]:
        """An attempt begins; the dict is its entry in the list of attempts."""
        exchange, candidate = self._exchange, attempt.candidate
        entry: dict[str, Any] = {"upstream": candidate.name, "why": told(candidate), "at": self._ms()}
        self._attempts.append(entry)
        self.row(
            key=exchange.key_name,
            model=str(exchange.scan.model or "")[:200],
            stream=exchange.stream,
            upstream=candidate.name,
            upstream_api=candidate.shape,
            lane="bytes" if attempt.same_shape else "events",
            attempts=self._attempts,
        )
        return entry

    def ended(self, attempt: Attempt, entry: dict[str, Any], error: errors.GatewayError | None) -> None:
        entry |= {"ms": round(self._ms() - entry["at"], 2), "status": attempt.status}
        if error is not None:
            entry |= {"error": error_kind(error), "message": error.logged[:300]}
        self.row(attempts=self._attempts)

    def close(self, line: Mapping[str, Any]) -> None:
        """line: the exchange's log line."""
        names = ["key", "status", "ms_total", "ms_headers", "ms_first", "events", "tokens", "cost", "stop", "dropped", "adapted"]
        names += ["response_dropped", "client_left", "error", "error_message"]
        scan = getattr(self._exchange, "scan", None)
        if scan is not None:  # an exchange that never got to an attempt has not been told of its model
            self.row(model=str(scan.model or "")[:200])
        self.row(done=True, **{name: line[name] for name in names if name in line})
        self._inspector.closed(self)

    def _ms(self) -> float:
        return round((monotonic() - self._exchange.begun) * 1000, 2)


class TappedClient(Client):
    """A Client whose writes are told. It is the one it was made of, state and all, with these methods before its own."""

    def __init__(self, client: Client, tap: Tap) -> None:
        self.__dict__ = client.__dict__
        self._tap = tap
        self._splitter = Splitter()

    async def answer(self, status: int, headers: Mapping[str, str], body: bytes) -> None:
        self._tap.head("out", f"HTTP {status}", headers.items())
        self._tap.body("out", body)
        await super().answer(status, headers, body)

    def start(self, headers: Mapping[str, str], first: bytes) -> Awaitable[Any] | None:
        self._tap.head("out", "HTTP 200", headers.items())
        self._tap.frames("out", self._splitter, first)
        return super().start(headers, first)

    def write(self, data: bytes) -> Awaitable[Any] | None:
        self._tap.frames("out", self._splitter, data)
        return super().write(data)

    async def finish(self, last: bytes = b"") -> None:
        self._tap.frames("out", self._splitter, last)
        await super().finish(last)


class TappedLane(EventsLane):
    """An EventsLane whose hub events are told."""

    def __init__(self, tap: Tap, reply: Reply, upstream_shape: str, client_shape: str, max_event: int) -> None:
        super().__init__(reply, upstream_shape, client_shape, max_event)
        self._tap = tap

    def pass_on(self, found: list[ev.Event]) -> bytes:
        self._tap.events(found)
        return super().pass_on(found)

    def break_off(self, error: errors.GatewayError) -> None:
        self._tap.events([ev.Fault(error)])
        super().break_off(error)


class TappedAttempt(Attempt):
    """An Attempt that tells what goes up and what comes down."""

    def __init__(self, exchange: Exchange, candidate: Candidate, tap: Tap) -> None:
        super().__init__(exchange, candidate)
        self._tap = tap
        self._frames = Splitter()

    async def run(self) -> None:
        entry = self._tap.begin(self)
        error: errors.GatewayError | None = None
        try:
            await super().run()
        except errors.GatewayError as found:
            error = found
            raise
        finally:
            self._tap.ended(self, entry, error or self.error)

    def prepare(self) -> None:
        super().prepare()
        request, ledger, body = self.request, self.ledger, self.exchange.scan.value
        self._tap.head("up", f"POST {redact.target(request.url)}", request.headers.items())
        self._tap.body("up", request.body or b"")
        self._tap.row(dropped=ledger.names(ledger.dropped, body), adapted=ledger.names(ledger.adapted, body))

    def _on_headers(self, status: int, headers: Any) -> None:
        self._tap.head("down", f"HTTP {status}", headers.get_all())
        super()._on_headers(status, headers)

    def _open_lane(self) -> None:
        super()._open_lane()
        if not self.same_shape:
            limit = self.exchange.gateway.config.limits.max_event
            self.lane = TappedLane(self._tap, self.reply, self.candidate.shape, self.exchange.shape, limit)

    def _on_chunk(self, chunk: bytes) -> Awaitable[Any] | None:
        self._tap.frames("down", self._frames, chunk)
        return super()._on_chunk(chunk)

    async def _whole(self, fetch: asyncio.Future[Any]) -> None:
        if not fetch.cancelled() and fetch.exception() is None:
            body = bytes(self._body) or fetch.result().body
            self._tap.body("down", body)
            if 200 <= self.status < 300 and not self.same_shape:
                self._tap.events(_decoded(body, self.candidate.shape, self.reply))
        await super()._whole(fetch)


def _decoded(body: bytes, shape: str, reply: Reply) -> list[ev.Event]:
    """A whole answer's hub events, which the attempt itself will make once more."""
    try:
        found: list[ev.Event] = SHAPES[shape].decode_response(json_object(body), reply)
    except errors.GatewayError:
        return []
    return found


def _said(event: ev.Event) -> dict[str, Any]:
    """A hub event as a dict."""
    if isinstance(event, ev.Fault):
        return {"error": {"kind": event.error.kind, "code": event.error.code, "message": event.error.message}}
    if isinstance(event, ev.Metered):
        usage = event.usage
        return {one.name: getattr(usage, one.name) for one in fields(usage) if getattr(usage, one.name) is not None}
    return {one.name: getattr(event, one.name) for one in fields(event) if getattr(event, one.name) not in (None, "", ())}


def _label(name: bytes, payload: bytes) -> str:
    """What an event is called; of a chat chunk, what it brings."""
    if name:
        return name.decode("utf-8", "replace")[:80]
    try:
        value = orjson.loads(payload)
    except orjson.JSONDecodeError:
        return payload[:20].decode("utf-8", "replace") if payload.strip() == b"[DONE]" else "not JSON"
    if not isinstance(value, dict):
        return "event"
    if isinstance(value.get("type"), str):
        return str(value["type"])[:80]
    choices = value.get("choices")
    if isinstance(choices, list) and choices and isinstance(choices[0], dict):
        finish = choices[0].get("finish_reason")
        delta = choices[0].get("delta")
        said = [key for key, inner in delta.items() if inner not in (None, "")] if isinstance(delta, dict) else []
        return " + ".join(said + ([f"finish {finish}"] if finish else []))[:80] or "empty"
    return next((key for key in ("error", "usage") if value.get(key)), "chunk")
