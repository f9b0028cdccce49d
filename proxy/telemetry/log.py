"""The log: one line per request on stderr, as JSON or as text. It contains no prompt, answer or credential."""

from __future__ import annotations

import asyncio
import json
import logging
import sys
from datetime import UTC, datetime
from functools import lru_cache
from time import monotonic
from typing import Any

import orjson

from . import stderr
from .account import Account, Call, SocketAccount

PAUSE = 0.02  # seconds between writes
NAMES = 50  # dropped or adapted fields named in a line
MESSAGE, TRIED_MESSAGE = 300, 200  # characters of an error's message, and of one in `tried`


def line(account: Account) -> dict[str, Any]:
    """The members of an exchange's line."""
    last, error = account.last, account.error
    members: dict[str, Any] = {
        "time": _stamp(account.time),
        "request_id": account.request_id,
        "key": account.key,
        "operation": account.operation,
        "shape": account.shape,
        "status": account.status,
        "stream": account.stream,
        "ms_total": _ms(account.ended - account.begun),
    }
    if account.dry:
        members["dry_run"] = True
    if account.compaction:
        members["compaction"] = account.compaction
    if account.chosen:
        members["chosen_by"] = account.chosen
    if account.hedge:
        members["hedge"] = account.hedge
    if len(account.calls) > 1 and (continued := sum(call.continued for call in account.calls)):
        members["continued"] = continued
    if account.summed is not None:
        members |= {"compaction_input": account.summed.input, "compaction_output": account.summed.output}
    if last is not None:
        _upstream(members, account, last)
    if account.via is not None:
        members |= {"transport": "websocket", "connection": account.via.connection}
        if account.via.stream_id is not None:
            members["stream_id"] = account.via.stream_id
    if account.client_left:
        members["client_left"] = True
    if error is not None:
        members["error"] = error.name
        if error.timer:
            members["timer"] = error.timer
        members["error_message"] = error.message[:MESSAGE]
        if error.detail:
            members["error_detail"] = error.detail[:MESSAGE]
    if len(account.calls) > 1 or (last is not None and last.error):
        members["tried"] = [_tried(call) for call in account.calls]
    return members


def socket_line(account: SocketAccount) -> dict[str, Any]:
    """The members of a WebSocket's line, besides those of its responses."""
    return {
        "time": _stamp(account.time),
        "request_id": account.connection,
        "key": account.key,
        "operation": "websocket",
        "shape": "responses",
        "status": 101,
        "ms_total": _ms(account.seconds),
        "transport": "websocket",
        "connection": account.connection,
        "messages": account.messages,
        "responses": account.responses,
        "bytes_in": account.bytes_in,
        "bytes_out": account.bytes_out,
        "close_code": account.close_code,
        "closed_by": account.closed_by,
    }


def _upstream(members: dict[str, Any], account: Account, last: Call) -> None:
    """Add the members about the last attempt."""
    members["upstream"] = last.target.upstream
    members["upstream_api"] = last.target.shape
    members["lane"] = last.lane
    members["attempts"] = len(account.calls)
    members["sendings"] = sum(call.sendings for call in account.calls)
    if last.headers is not None:
        members["ms_headers"] = _ms(last.headers - account.begun)
    first = account.first
    if first is not None:
        members["ms_first"] = _ms(first - account.begun)
    if last.events is not None:
        members["events"] = last.events
    usage, cost, complete = account.spent()
    if usage is not None:
        members["tokens"] = {"input": usage.input, "output": usage.output, "cached": usage.cache_read or 0}
        if usage.tools:
            members["tools"] = usage.tools
        if usage.fast:
            members["fast"] = True
    if cost is not None:
        members["cost"] = round(cost, 9)
        if not complete:
            members["cost_incomplete"] = True
    if last.stop is not None:
        members["stop"] = last.stop
    if last.category:
        members["stop_category"] = last.category
    if last.routed:
        members["routed_model"] = last.routed
    if last.id:
        members["upstream_request_id"] = last.id
    if last.region:
        members["upstream_region"] = last.region
    if last.dropped:
        members["dropped"] = last.dropped[:NAMES]
    if last.adapted:
        members["adapted"] = last.adapted[:NAMES]
    if last.unknown:
        members["response_dropped"] = last.response_dropped


def _tried(call: Call) -> str:
    """An attempt as `explain` describes it, and its outcome."""
    if call.overtaken:
        return f"{call.target.explained}; overtaken, and cancelled"
    if call.continued:
        return f"{call.target.explained}; broke off, {call.error}, and was continued"
    if not call.error:
        return f"{call.target.explained}; answered"
    return f"{call.target.explained}; failed, {call.error}: {call.error_message[:TRIED_MESSAGE]}"


def _stamp(now: float) -> str:
    """ISO 8601 in UTC, with milliseconds. now: seconds since the epoch."""
    return f"{_second(int(now))}.{int(now * 1000) % 1000:03}+00:00"


@lru_cache(1)
def _second(now: int) -> str:
    return datetime.fromtimestamp(now, UTC).strftime("%Y-%m-%dT%H:%M:%S")


def _ms(seconds: float) -> float:
    return int(seconds * 1e5 + 0.5) / 100  # round() takes ten times as long


class Journal:
    """Writes the lines, in batches at least PAUSE seconds apart."""

    def __init__(self, form: str = "json") -> None:
        self._line = as_text if form == "text" else as_json
        self._out = sys.stderr
        self._lines: list[str] = []
        self._flushed = 0.0  # monotonic seconds

    def write(self, members: dict[str, Any]) -> None:
        """Add a line. Requires a running event loop."""
        if not self._lines:
            asyncio.get_running_loop().call_later(max(0.0, self._flushed + PAUSE - monotonic()), self.flush)
        self._lines.append(self._line(members))

    def flush(self) -> None:
        """Write the pending lines."""
        if not self._lines:
            return
        text = "\n".join(self._lines) + "\n"
        self._lines.clear()
        self._flushed = monotonic()
        try:
            self._out.write(text)
            self._out.flush()
        except (OSError, ValueError):
            pass  # stderr is closed; the gateway continues


def as_json(members: dict[str, Any]) -> str:
    """A line of JSON. Characters that are not printable are escaped, so that a terminal does not interpret them."""
    try:
        data = orjson.dumps(members, default=str)
    except TypeError:  # a lone surrogate, or an integer of more than 64 bits
        return json.dumps(members, default=str)
    text = data.decode()
    if data.isascii() and b"\x7f" not in data:  # printable, as JSON escapes the other controls; cheaper than to look at each character
        return text
    return text if text.isprintable() else "".join(c if c.isprintable() else json.dumps(c)[1:-1] for c in text)


def as_text(members: dict[str, Any]) -> str:
    """A line of text: the main members first, then the others as name=value."""
    parts = [members["time"], str(members["status"]), members["operation"]]
    if "upstream" in members:
        arrow = ">" if members["lane"] == "events" else "="
        parts[2] += f"{arrow}{members['upstream_api']} {_plain(members['upstream'])}"
    first = f", first {members['ms_first']:.0f} ms" if "ms_first" in members else ""
    parts.append(f"{members['ms_total']:.0f} ms{first}")
    if "tokens" in members:
        parts.append(f"{members['tokens']['input']} to {members['tokens']['output']} tokens")
    if "cost" in members:
        parts.append(f"${members['cost']:.6f}")
    rest = (f"{_plain(key)}={_plain(value)}" for key, value in members.items() if key not in _IN_TEXT)
    return " ".join((*parts, *rest))


_IN_TEXT = frozenset(
    {
        "time",
        "status",
        "operation",
        "shape",
        "upstream",
        "upstream_api",
        "lane",
        "ms_total",
        "ms_first",
        "ms_headers",
        "tokens",
        "cost",
        "stream",
    }
)


def _plain(value: Any) -> str:
    """A value escaped and quoted so that it cannot be read as another field, another line or a terminal sequence."""
    text = shown(",".join(map(str, value)) if isinstance(value, list) else str(value))
    if text and not any(c in text for c in ' "='):
        return text
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def shown(text: str) -> str:
    """The text with unprintable characters escaped: line breaks, controls, changes of writing direction."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


class LogFormat(logging.Formatter):
    """Formats everything else that is logged (start, stop, tracebacks) like the journal's lines."""

    def __init__(self, form: str) -> None:
        super().__init__("%(asctime)s %(levelname)s %(name)s: %(message)s")
        self._json = form == "json"

    def format(self, record: logging.LogRecord) -> str:
        if self._json:
            return self._as_json(record)
        text = shown(f"{self.formatTime(record)} {record.levelname} {record.name}: {record.getMessage()}")
        if record.exc_info:  # indented, so that no line looks like the first of a record
            text += "".join(f"\n    {shown(line)}" for line in self.formatException(record.exc_info).split("\n"))
        return text

    def _as_json(self, record: logging.LogRecord) -> str:
        members: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        if record.exc_info:
            members["traceback"] = self.formatException(record.exc_info)
        return as_json(members)


def set_up(form: str) -> None:
    """Log to standard error, without ever blocking on it."""
    lines = LogFormat(form)
    stderr.install(lambda count: lines.format(_dropped(count)) + "\n")
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(lines)
    logging.basicConfig(handlers=[handler], level=logging.INFO, force=True)
    logging.captureWarnings(True)
    logging.getLogger("tornado.access").setLevel(logging.CRITICAL)  # the journal logs requests
    logging.getLogger("tornado.general").setLevel(logging.WARNING)


def _dropped(count: int) -> logging.LogRecord:
    message = "%d log lines were dropped: standard error was not read in time"
    return logging.LogRecord("dragoman", logging.WARNING, __file__, 0, message, (count,), None)
