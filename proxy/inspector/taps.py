"""The wire inspector's taps, which report the traffic of an exchange as it happens, while anyone watches.

Strategy: an exchange that begins while no one watches has no tap and runs no code of this module. Otherwise it has a Tap as its
observer (exchange/observer.py), which wraps the caller, the upstream client and the decoder in the wrappers of watched.py. Records are
redacted before they leave the exchange (redaction.py), and bounded: exchanges at a time, records and characters per exchange.

A message is a dict: `id` of the exchange, and `row` (members of its row in the list) or `records` (what passed since the last message).
A record: `at` (milliseconds since the exchange began), `pane` (client: from the caller, up: to the upstream, down: from it,
hub: hub events, out: to the caller), `kind`, `name`, `size` in bytes, `text`, `attempt`.
"""

from __future__ import annotations

import asyncio
import functools
import logging
import os
from collections.abc import Callable, Iterable
from dataclasses import fields
from time import monotonic, time
from typing import TYPE_CHECKING, Any, ParamSpec

import orjson

from ...codecs import events as ev
from ...codecs.shape import Decoder
from ...codecs.sse import Frame
from ..keys import secrets
from ..routing.candidate import described
from ..telemetry import log as journal
from ..telemetry.account import Account, error_kind
from . import redaction as redact
from .watched import WatchedCaller, WatchedDecoder, WatchedUpstream

if TYPE_CHECKING:
    from ...codecs.shape import Decoder
    from ..exchange.attempt import Attempt
    from ..exchange.caller import Caller
    from ..exchange.exchange import Exchange
    from ..wire.upstream import UpstreamRequest

log = logging.getLogger("dragoman")

Message = dict[str, Any]
P = ParamSpec("P")

TAPS = 64  # exchanges tapped at a time; others are not shown
RECORDS = 2000  # of one exchange
CHARACTERS = 1 << 20  # of one exchange's records
FLUSH = 0.05  # seconds that messages are collected before they are sent


class Inspector:
    """The inspector of one worker. number: the worker's."""

    def __init__(self, number: int = 0) -> None:
        self.content = False
        self._number = number
        self._send: Callable[[list[Message]], None] | None = None  # None: no one watches
        self._waiting: list[Message] = []
        self._timer: asyncio.TimerHandle | None = None
        self._count = 0
        self._open: set[Tap] = set()

    def watch(self, send: Callable[[list[Message]], None] | None, content: bool = False) -> None:
        """send: called with the messages; None when no one watches. content: whether to report content."""
        self._send, self.content = send, content
        if send is None:
            self._waiting.clear()
        for tap in self._open:
            tap.content = tap.content and content  # an exchange that began without content continues without

    def open(self, exchange: Exchange) -> Tap | None:
        """The tap of an exchange that begins; None if no one watches or TAPS are open."""
        if self._send is None:
            return None
        if len(self._open) >= TAPS:
            return None
        self._count += 1
        tap = Tap(self, f"{self._number}-{os.getpid():x}-{self._count}", exchange)
        self._open.add(tap)
        tap.begin()
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


def harmless(method: Callable[P, None]) -> Callable[P, None]:
    """Log exceptions instead of raising them: the inspector must not fail the exchange."""

    @functools.wraps(method)
    def guarded(*args: P.args, **named: P.kwargs) -> None:
        try:
            method(*args, **named)
        except Exception:
            log.exception("the inspector could not record part of an exchange")

    return guarded


class Tap:
    """The observer of one exchange."""

    def __init__(self, inspector: Inspector, id: str, exchange: Exchange) -> None:
        self.content = inspector.content
        self._inspector = inspector
        self._id = id
        self._exchange = exchange
        self._records = 0
        self._characters = 0
        self._attempts: list[dict[str, Any]] = []
        self._secrets = set(filter(None, (exchange.key, exchange.credential)))

    # ---- messages ----

    def row(self, **members: Any) -> None:
        self._inspector.tell({"id": self._id, "row": members})

    def record(self, pane: str, kind: str, name: str, size: int, text: str = "", at: float | None = None) -> None:
        """at: milliseconds since the exchange began; None: now."""
        if self._records > RECORDS or self._characters > CHARACTERS:
            return
        self._records += 1
        self._characters += len(text)
        if self._records > RECORDS or self._characters > CHARACTERS:
            kind, name, text = "note", "the rest of this exchange is not recorded", ""
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

    @harmless
    def head(self, pane: str, name: str, pairs: Iterable[tuple[str, str]]) -> None:
        headers = redact.headers(pairs)
        text = "\n".join(f"{key}: {value}" for key, value in headers.items())
        self.record(pane, "head", name, len(text), text)

    @harmless
    def body(self, pane: str, data: bytes, size: int = 0) -> None:
        """size: of the whole body, if `data` is only its beginning."""
        if data:
            self.record(pane, "body", "body", size or len(data), redact.body(data, self.content, self._secrets))

    @harmless
    def frames(self, pane: str, frames: list[Frame]) -> None:
        """The frames that one read completed."""
        at = self._ms()
        for name, payload in frames:
            text = redact.body(payload, self.content, self._secrets)
            self.record(pane, "event", _label(name, payload), len(payload), text, at)

    @harmless
    def events(self, events: list[ev.Event]) -> None:
        at = self._ms()
        for event in events:
            shown = _shown(event)
            text = redact.text(shown) if self.content else redact.form(shown)
            self.record("hub", "event", type(event).__name__, 0, redact.cut(text), at)

    def _ms(self) -> float:
        return round((monotonic() - self._exchange.begun) * 1000, 2)

    # ---- the exchange ----

    @harmless
    def begin(self) -> None:
        exchange = self._exchange
        self.row(
            begun=round(time() * 1000),
            request_id=exchange.request_id,
            shape=exchange.shape,
            content=self.content,
            done=False,
        )
        target = exchange.target if exchange.speaks.route else f"/v1{exchange.path}{exchange.query}"
        self.head("client", f"{exchange.operation.method} {redact.target(target)}", exchange.headers.get_all())
        self.body("client", exchange.body)

    def caller(self, caller: Caller) -> Caller:
        return WatchedCaller(caller, self)

    def attempt(self, attempt: Attempt) -> AttemptTap:
        entry: dict[str, Any] = {"upstream": attempt.candidate.name, "why": described(attempt.candidate), "at": self._ms()}
        self._attempts.append(entry)
        self._row_of(attempt)
        return AttemptTap(self, attempt, entry)

    @harmless
    def _row_of(self, attempt: Attempt) -> None:
        exchange, candidate = self._exchange, attempt.candidate
        if candidate.provider.access_key:
            self._secrets.add(candidate.provider.access_key)
        self._secrets.update(one for one in secrets.of(candidate.provider) if len(one) >= secrets.SHORTEST)
        self.row(
            key=exchange.identity.name,
            model=redact.sound(exchange.scan.model or "")[:200],
            stream=exchange.stream,
            upstream=candidate.name,
            upstream_api=candidate.shape,
            lane=attempt.lane_name,
            attempts=self._attempts,
        )

    @harmless
    def sent(self, request: UpstreamRequest, attempt: Attempt) -> None:
        """The request of an attempt is sent."""
        ledger, body = attempt.ledger, self._exchange.scan.value
        if attempt.granted is not None:
            self._secrets.update(filter(None, attempt.granted.secrets))
        self.head("up", f"{request.method} {redact.target(request.url)}", request.headers.items())
        self.body("up", request.body or b"")
        self.row(dropped=ledger.names(ledger.dropped, body), adapted=ledger.names(ledger.adapted, body))

    @harmless
    def attempt_ended(self, attempt: Attempt, entry: dict[str, Any]) -> None:
        entry |= {"ms": round(self._ms() - entry["at"], 2), "status": attempt.status}
        if attempt.error is not None:
            entry |= {"error": error_kind(attempt.error), "message": attempt.error.logged[:300]}
        if attempt.overtaken:
            entry["overtaken"] = True
        self.row(attempts=self._attempts)

    @harmless
    def ended(self, account: Account) -> None:
        self._inspector.closed(self)
        line = journal.line(account)
        self.row(done=True, model=redact.sound(account.model), **{name: line[name] for name in _SHOWN if name in line})


# members of a log line that the row shows
_SHOWN = (
    *("key", "status", "ms_total", "ms_headers", "ms_first", "events", "tokens", "cost", "stop", "dropped", "adapted"),
    *("response_dropped", "client_left", "error", "error_message"),
)


class AttemptTap:
    """The observer of one attempt. entry: its element in the exchange's list of attempts."""

    def __init__(self, tap: Tap, attempt: Attempt, entry: dict[str, Any]) -> None:
        self._tap, self._attempt, self._entry = tap, attempt, entry
        self._decoder: WatchedDecoder | None = None

    def upstream(self, client: Any) -> WatchedUpstream:
        return WatchedUpstream(client, self._tap, self._attempt)

    def decoder(self, decoder: Decoder) -> WatchedDecoder:
        self._decoder = WatchedDecoder(decoder, self._tap)
        return self._decoder

    def events(self, events: list[ev.Event]) -> None:
        self._tap.events(events)

    def ended(self) -> None:
        """The attempt has ended. A failure of the transport is shown as a Fault too: no decoder has reported it."""
        error = self._attempt.error
        if error is not None and self._decoder is not None and not self._decoder.failed:
            self._tap.events([ev.Fault(error)])
        self._tap.attempt_ended(self._attempt, self._entry)


def _shown(event: ev.Event) -> dict[str, Any]:
    """A hub event as a dict."""
    if isinstance(event, ev.Fault):
        return {"error": {"kind": event.error.kind, "code": event.error.code, "message": event.error.message}}
    if isinstance(event, ev.Metered):
        usage = event.usage
        return {one.name: getattr(usage, one.name) for one in fields(usage) if getattr(usage, one.name) is not None}
    return {one.name: getattr(event, one.name) for one in fields(event) if getattr(event, one.name) not in (None, "", ())}


def _label(name: bytes, payload: bytes) -> str:
    """The name of an event; for a chat chunk, the members that it sets."""
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
        members = [key for key, inner in delta.items() if inner not in (None, "")] if isinstance(delta, dict) else []
        return " + ".join(members + ([f"finish {finish}"] if finish else []))[:80] or "empty"
    return next((key for key in ("error", "usage") if value.get(key)), "chunk")
