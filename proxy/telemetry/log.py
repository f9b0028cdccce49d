"""The log: one line per request on stderr, as JSON or for people; never a prompt, an answer or a credential."""

from __future__ import annotations

import asyncio
import logging
import sys
from datetime import UTC, datetime
from functools import lru_cache
from time import monotonic, time
from typing import TYPE_CHECKING, Any

import orjson

from ...codecs import errors
from ..keys.cost import cost
from ..routing.router import told
from .metrics import error_kind, status

if TYPE_CHECKING:
    from ..exchange.attempt import Attempt
    from ..exchange.exchange import Exchange

FORMATS = ("json", "text")
PAUSE = 0.02  # seconds between two writes
NAMES = 50  # of dropped or adapted fields in a line


def line(exchange: Exchange, now: float) -> dict[str, Any]:
    """What is said of one exchange. now: monotonic seconds."""
    begun = exchange.begun
    found: dict[str, Any] = {
        "time": _stamp(time()),
        "request_id": exchange.request_id,
        "key": exchange.key_name,
        "shape": exchange.shape,
        "status": status(exchange),
        "stream": exchange.stream,
        "ms_total": _ms(now - begun),
    }
    if exchange.attempts:
        found |= _upstream(exchange, exchange.attempts[-1])
    if exchange.client.gone:
        found["client_left"] = True
    if exchange.error is not None:
        found["error"] = exchange.error.code or exchange.error.kind
        if isinstance(exchange.error, errors.Timeout):
            found["timer"] = exchange.error.timer
        found["error_message"] = exchange.error.logged[:300]
        if exchange.error.detail:
            found["error_detail"] = exchange.error.detail[:300]
    if any(attempt.error for attempt in exchange.attempts):
        found["tried"] = [_tried(attempt) for attempt in exchange.attempts]
    return found


def _upstream(exchange: Exchange, attempt: Attempt) -> dict[str, Any]:
    """What the attempt that decided brought."""
    found: dict[str, Any] = {
        "upstream": attempt.candidate.name,
        "upstream_api": attempt.candidate.shape,
        "lane": "bytes" if attempt.same_shape else "events",
        "attempts": len(exchange.attempts),
    }
    for name in ("headers", "first"):
        if name in attempt.times:
            found[f"ms_{name}"] = _ms(attempt.times[name] - exchange.begun)
    if attempt.lane is not None:
        found["events"] = attempt.lane.events
    usage = attempt.spent
    if usage is not None:
        found["tokens"] = {"input": usage.input, "output": usage.output, "cached": usage.cache_read or 0}
        if attempt.candidate.price is not None:
            found["cost"] = round(cost(usage, attempt.candidate.price), 9)
    if attempt.stop is not None:
        found["stop"] = attempt.stop
    ledger, body = attempt.ledger, exchange.scan.value
    if ledger.dropped:
        found["dropped"] = ledger.names(ledger.dropped, body)[:NAMES]
    if ledger.adapted:
        found["adapted"] = ledger.names(ledger.adapted, body)[:NAMES]
    if attempt.unsaid.count:
        found["response_dropped"] = attempt.unsaid.labels
    return found


def _tried(attempt: Attempt) -> str:
    """Where an attempt went and why, in the words of `explain`, and what came of it."""
    error = attempt.error
    if error is None:
        return f"{told(attempt.candidate)}; answered"
    return f"{told(attempt.candidate)}; failed, {error_kind(error)}: {error.logged[:200]}"


def _stamp(now: float) -> str:
    """ISO 8601 in UTC, with milliseconds. now: seconds since the epoch."""
    return f"{_second(int(now))}.{int(now * 1000) % 1000:03}+00:00"


@lru_cache(1)
def _second(now: int) -> str:
    return datetime.fromtimestamp(now, UTC).strftime("%Y-%m-%dT%H:%M:%S")


def _ms(seconds: float) -> float:
    return round(seconds * 1e3, 2)


class Journal:
    """Writes the lines: at once where they are few, together where several come within PAUSE."""

    def __init__(self, form: str = "json") -> None:
        self._text = form == "text"
        self._out = sys.stderr
        self._lines: list[str] = []
        self._flushed = 0.0  # monotonic seconds

    def write(self, found: dict[str, Any]) -> None:
        """Inside the running loop."""
        if not self._lines:
            asyncio.get_running_loop().call_later(max(0.0, self._flushed + PAUSE - monotonic()), self.flush)
        self._lines.append(as_text(found) if self._text else orjson.dumps(found, default=str).decode())

    def flush(self) -> None:
        """Write what waits."""
        if not self._lines:
            return
        text = "\n".join(self._lines) + "\n"
        self._lines.clear()
        self._flushed = monotonic()
        try:
            self._out.write(text)
            self._out.flush()
        except (OSError, ValueError):
            pass  # nobody reads it any more; the gateway goes on


def as_text(found: dict[str, Any]) -> str:
    """A line for people: what always matters first, then what is out of the ordinary."""
    parts = [found["time"], str(found["status"]), found["shape"]]
    if "upstream" in found:
        arrow = "=" if found["lane"] == "bytes" else ">"
        parts[2] += f"{arrow}{found['upstream_api']} {found['upstream']}"
    first = f", first {found['ms_first']:.0f} ms" if "ms_first" in found else ""
    parts.append(f"{found['ms_total']:.0f} ms{first}")
    if "tokens" in found:
        parts.append(f"{found['tokens']['input']} to {found['tokens']['output']} tokens")
    if "cost" in found:
        parts.append(f"${found['cost']:.6f}")
    rest = (f"{key}={_plain(value)}" for key, value in found.items() if key not in _IN_TEXT)
    return " ".join((*parts, *rest))


_IN_TEXT = frozenset(
    {"time", "status", "shape", "upstream", "upstream_api", "lane", "ms_total", "ms_first", "ms_headers", "tokens", "cost", "stream"}
)


def _plain(value: Any) -> str:
    text = ",".join(map(str, value)) if isinstance(value, list) else str(value)
    return f'"{text}"' if " " in text or not text else text


class LogFormat(logging.Formatter):
    """Everything else that is logged (start, stop, tracebacks), in the journal's form."""

    def __init__(self, form: str) -> None:
        super().__init__("%(asctime)s %(levelname)s %(name)s: %(message)s")
        self._json = form == "json"

    def format(self, record: logging.LogRecord) -> str:
        if not self._json:
            return super().format(record)
        found: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        if record.exc_info:
            found["traceback"] = self.formatException(record.exc_info)
        return orjson.dumps(found, default=str).decode()


def set_up(form: str) -> None:
    handler = logging.StreamHandler()
    handler.setFormatter(LogFormat(form))
    logging.basicConfig(handlers=[handler], level=logging.INFO, force=True)
    logging.getLogger("tornado.access").setLevel(logging.CRITICAL)  # the journal has a line of its own for each request
    logging.getLogger("tornado.general").setLevel(logging.WARNING)
