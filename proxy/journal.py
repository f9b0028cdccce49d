"""The log: one line per request on stderr, as JSON or for people; never a prompt, an answer or a credential."""

from __future__ import annotations

import logging
import sys
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import orjson

if TYPE_CHECKING:
    from .exchange import Exchange

FORMATS = ("json", "text")


def line(exchange: Exchange, now: float) -> dict[str, Any]:
    """What is said of one exchange. now: loop time."""
    attempt = exchange.attempts[-1] if exchange.attempts else None
    begun = exchange.begun
    found: dict[str, Any] = {
        "time": datetime.now(UTC).isoformat(timespec="milliseconds"),
        "request_id": exchange.request_id,
        "key": exchange.key_name,
        "shape": exchange.shape,
        "status": exchange.status,
        "stream": exchange.stream,
        "ms_total": _ms(now - begun),
    }
    if attempt is not None:
        found |= {
            "upstream": attempt.candidate.name,
            "upstream_api": attempt.candidate.shape,
            "lane": "bytes" if attempt.same_shape else "events",
            "attempts": len(exchange.attempts),
        }
        for name in ("headers", "first"):
            if name in attempt.times:
                found[f"ms_{name}"] = _ms(attempt.times[name] - begun)
        if attempt.lane is not None:
            found["events"] = attempt.lane.events
        usage = attempt.usage or (attempt.lane.usage if attempt.lane is not None else None)
        if usage is not None:
            found["tokens"] = {"input": usage.input, "output": usage.output, "cached": usage.cache_read or 0}
        if attempt.stop is not None:
            found["stop"] = attempt.stop
        ledger = attempt.ledger
        if ledger.dropped:
            found["dropped"] = ledger.names(ledger.dropped, exchange.scan.value)
    if exchange.client.gone:
        found["client_left"] = True
    if exchange.error is not None:
        found["error"] = exchange.error.code or exchange.error.kind
        found["error_message"] = exchange.error.message[:300]
        if exchange.error.detail:
            found["error_detail"] = exchange.error.detail[:300]
    return found


def _ms(seconds: float) -> float:
    return round(seconds * 1e3, 2)


class Journal:
    """Writes the lines. level below INFO of the process's logger turns them off."""

    def __init__(self, form: str = "json") -> None:
        self._text = form == "text"
        self._out = sys.stderr

    def write(self, found: dict[str, Any]) -> None:
        if self._text:
            rest = " ".join(f"{key}={value}" for key, value in found.items() if key != "time")
            text = f"{found['time']} {rest}\n"
        else:
            text = orjson.dumps(found, default=str).decode() + "\n"
        try:
            self._out.write(text)
            self._out.flush()
        except (OSError, ValueError):
            pass  # nobody reads it any more; the gateway goes on


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
    logging.getLogger("tornado.access").setLevel(logging.ERROR)  # the journal has a line of its own for each request
    logging.getLogger("tornado.general").setLevel(logging.WARNING)
