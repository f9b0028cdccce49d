"""Whether an answer is honest: it is whole only when the upstream sent it whole, and what is not whole can be seen as such.

The judge knows three things: what the caller got, byte by byte; what the upstream did at each attempt; and the log line. It raises
AssertionError.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from ..codecs.grammar import GRAMMARS, events_of
from .faults import Content, Played, canonical

WHOLE, FAILED, CUT, REFUSED, NONE = "whole", "failed", "cut", "refused", "none"  # how an answer ended

Line = dict[str, Any]


@dataclass(frozen=True)
class Heard:
    """What a caller got. status: 0 when no head came. ended: whether the framing, or without one a proper close, says that it is all."""

    status: int = 0
    headers: dict[str, str] | None = None
    body: bytes = b""
    ended: bool = False

    @property
    def whole(self) -> bool:
        """Whether a frame says so: the connection of a process that is killed is closed in order, too."""
        return self.ended and self.headers is not None and not {"content-length", "transfer-encoding"}.isdisjoint(self.headers)


NO_SUCH_PATH = (404, 405, 501)  # an upstream's answer where it cannot count tokens


def outcome(heard: Heard, shape: str, stream: bool) -> tuple[str, Content | None]:
    """How it ended for the caller, and what it holds if it looks whole. shape: "" for what is not looked into."""
    if not heard.status:
        return NONE, None
    if not heard.ended:
        return CUT, None
    if heard.status != 200:
        return REFUSED, None
    if not shape:
        return WHOLE, Content(data=heard.body)
    if not stream:
        return WHOLE, READ[shape](orjson.loads(heard.body))
    events = [value for _, value in events_of(heard.body)]
    if events[-1] != "[DONE]" and ("error" in events[-1] or events[-1].get("type") in ("error", "response.failed")):
        return FAILED, None  # perhaps in the upstream's own words, which are sent as they come
    assert GRAMMARS[shape](heard.body) == "done"
    return WHOLE, STREAMED[shape](events)


def judge(
    heard: Heard,
    shape: str,
    stream: bool,
    attempts: Sequence[Played],
    line: Line | None,
    may_be: Sequence[int] = (),
    lost: bool = False,
    slow: bool = False,
) -> str:
    """How it ended. may_be: statuses below 500 that the caller's own doing explains. lost: the line went with a process that was killed.

    slow: the caller leaves its answer unread for so long that the kernel may close the connection, even when it has got everything.
    """
    found, content = outcome(heard, shape, stream)
    if lost and found != WHOLE:
        return found
    if found == WHOLE and heard.headers is not None and "x-dragoman-estimate" in heard.headers:
        assert any(attempt.status in NO_SUCH_PATH for attempt in attempts), "it is an estimate, and the upstream might have counted"
    elif found == WHOLE:
        assert content in [attempt.content for attempt in attempts], "it looks whole, and the upstream sent no such answer whole"
        assert line is None or "error" not in line, "the log knows of an error that the caller does not see"
    elif found in (FAILED, CUT):
        assert line is not None
        assert line.get("error") or (slow and found == CUT), "it was cut, and the log does not say why"
    elif found == REFUSED:
        _refused(heard, attempts, line, may_be)
    assert line is None or heard.status in (0, line["status"])
    return found


def _refused(heard: Heard, attempts: Sequence[Played], line: Line | None, may_be: Sequence[int]) -> None:
    assert 400 <= heard.status < 600
    if heard.status >= 500:
        assert line is not None
        assert line.get("error"), "a 5xx without a cause"
    elif heard.status not in may_be:
        assert any(400 <= attempt.status < 500 for attempt in attempts), "nobody sent a refusal"


# ---- what an answer holds ----

_STOPS = {
    "stop": "stop",
    "tool_calls": "tool",
    "length": "length",
    "end_turn": "stop",
    "tool_use": "tool",
    "max_tokens": "length",
}


def _chat(value: Any) -> Content:
    (choice,) = value["choices"]
    message = choice["message"]
    calls = tuple((call["function"]["name"], canonical(call["function"]["arguments"])) for call in message.get("tool_calls") or ())
    return Content(message["content"] or "", calls, _STOPS[choice["finish_reason"]])


def _messages(value: Any) -> Content:
    text = "".join(block["text"] for block in value["content"] if block["type"] == "text")
    calls = tuple(
        (block["name"], canonical(orjson.dumps(block["input"]).decode())) for block in value["content"] if block["type"] == "tool_use"
    )
    return Content(text, calls, _STOPS[value["stop_reason"]])


def _responses(value: Any) -> Content:
    texts = [part["text"] for item in value["output"] if item["type"] == "message" for part in item["content"]]
    calls = tuple((item["name"], canonical(item["arguments"])) for item in value["output"] if item["type"] == "function_call")
    assert value["status"] in ("completed", "incomplete")
    stop = "length" if value["status"] == "incomplete" else "tool" if calls else "stop"
    return Content("".join(texts), calls, stop)


def _chat_stream(events: list[Any]) -> Content:
    text, stop, calls = "", "", []
    for value in events[:-1]:
        for choice in value["choices"]:
            text += choice["delta"].get("content") or ""
            for call in choice["delta"].get("tool_calls") or ():
                function = call["function"]
                if "id" in call:
                    calls.append([function["name"], ""])
                calls[-1][1] += function.get("arguments") or ""
            stop = choice["finish_reason"] or stop
    return Content(text, tuple((name, canonical(arguments)) for name, arguments in calls), _STOPS[stop])


def _messages_stream(events: list[Any]) -> Content:
    text, stop, calls = "", "", []
    for value in events:
        if value["type"] == "content_block_start" and value["content_block"]["type"] == "tool_use":
            calls.append([value["content_block"]["name"], ""])
        elif value["type"] == "content_block_delta":
            text += value["delta"].get("text", "")
            if value["delta"]["type"] == "input_json_delta":
                calls[-1][1] += value["delta"]["partial_json"]
        elif value["type"] == "message_delta":
            stop = value["delta"]["stop_reason"]
    return Content(text, tuple((name, canonical(arguments)) for name, arguments in calls), _STOPS[stop])


READ = {"chat": _chat, "messages": _messages, "responses": _responses}
STREAMED = {"chat": _chat_stream, "messages": _messages_stream, "responses": lambda events: _responses(events[-1]["response"])}
