"""What the load test knows of each shape: the request it sends, and when an answer is whole.

Pure. It reads answers for itself rather than with our codecs: what is wrong in both the gateway's encoder and its decoder would
otherwise look right here. Each answer has a Reading, which a shape's `frame` or `whole` fills; `verdict` judges it when it ended.

The prompt asks for a number of words and, with a rate, for a pace: "Answer in 200 words, 20 a second: …". A provider made for load
tests obeys it; a model may; an echo does by nature, as the prompt itself has so many words.

A provider on the same machine stamps its deltas with words of the form @1234567890123: the microseconds of CLOCK_MONOTONIC modulo
10^13 just before its write, in 13 digits. From them comes the added latency.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from time import monotonic_ns
from typing import Any, NamedTuple

import orjson

Json = dict[str, Any]

_STAMP = re.compile(r"@([0-9]{13})(?![0-9])")
_STAMPS = 10**13  # microseconds after which stamps begin anew
_PLAUSIBLE = 3600 * 10**6  # an older "stamp" is a text that looks like one, or another machine's
_FILLER = ["the", "quick", "brown", "fox", "said", "hello", "to", "the", "lazy", "dog", "and", "went", "home"]
# a turn of about 2 kB with characters that JSON escapes
_TURN = 'The quick brown fox said "hello" to the lazy dog.\n' * 40


class Reading:
    """What one answer has brought so far.

    events: frames of the stream. deltas: those with content. stopped: the shape said why the answer ended. terminal: its last event
    came. fault: the error that it told instead. added: microseconds from each stamp to its arrival. words: in the text, counted
    only on request.
    """

    __slots__ = ("_texts", "added", "deltas", "events", "fault", "stopped", "terminal")

    def __init__(self, count_words: bool = False) -> None:
        self.events = self.deltas = 0
        self.stopped = self.terminal = False
        self.fault: str | None = None
        self.added: list[int] = []
        self._texts: list[str] | None = [] if count_words else None

    def add(self, text: str) -> None:
        """Content came."""
        self.deltas += 1
        if self._texts is not None:
            self._texts.append(text)
        if "@" in text:
            now = monotonic_ns() // 1000
            ages = ((now - int(stamp)) % _STAMPS for stamp in _STAMP.findall(text))
            self.added += [age for age in ages if age < _PLAUSIBLE]

    @property
    def words(self) -> int:
        return len("".join(self._texts or ()).split())


def verdict(reading: Reading, words: int | None) -> tuple[str, str] | None:
    """The kind of error and a detail, or None for a whole answer. words: how many its text must have, if that is known."""
    if reading.fault is not None:
        return "fault", reading.fault
    if not (reading.terminal and reading.stopped):
        return "unended", f"no terminal event after {reading.events} events"
    if not reading.deltas:
        return "empty", "an answer without content"
    if words is not None and reading.words != words:
        return "words", f"{reading.words} words instead of {words}"
    return None


# ---- requests ----


def prompt(words: int, rate: float | None) -> str:
    """Asks for `words` words, `rate` a second; has as many words itself."""
    pace = f", {rate:g} a second" if rate else ""
    said = f"Answer in {words} words{pace}:".split()
    said += (_FILLER * (words // len(_FILLER) + 1))[: max(0, words - len(said))]
    return " ".join(said)


def _turns(size: int) -> list[Json]:
    """A conversation of about `size` bytes that went before; the caller's turn is next."""
    count = size // len(orjson.dumps({"role": "assistant", "content": _TURN})) // 2 * 2
    return [{"role": ("user", "assistant")[n % 2], "content": f"{n}: {_TURN}"} for n in range(count)]


def _chat_request(turns: list[Json], words: int) -> Json:
    return {"messages": turns}


def _messages_request(turns: list[Json], words: int) -> Json:
    return {"max_tokens": max(1024, 4 * words), "messages": turns}


def _responses_request(turns: list[Json], words: int) -> Json:
    return {"input": turns}


# ---- answers: each function raises LookupError, TypeError, ValueError or AttributeError for what is not of its shape ----


def _message(error: Any) -> str:
    return str(error.get("message", error) if isinstance(error, dict) else error)


def _chat_frame(reading: Reading, data: bytes) -> None:
    if data == b"[DONE]":
        reading.terminal = True
        return
    value = orjson.loads(data)
    if value.get("error"):
        reading.fault = _message(value["error"])
        return
    for choice in value.get("choices") or ():
        delta = choice.get("delta") or {}
        text = delta.get("content") or delta.get("reasoning_content") or delta.get("reasoning") or delta.get("refusal")
        if text:
            reading.add(text)
        elif delta.get("tool_calls"):
            reading.add("")
        if choice.get("finish_reason"):
            reading.stopped = True


def _chat_whole(reading: Reading, value: Json) -> None:
    if value.get("error"):
        reading.fault = _message(value["error"])
        return
    for choice in value["choices"]:
        message = choice["message"]
        text = message.get("content") or message.get("reasoning_content") or message.get("refusal")
        if text or message.get("tool_calls"):
            reading.add(text or "")
        reading.stopped = reading.terminal = bool(choice["finish_reason"])


def _messages_frame(reading: Reading, data: bytes) -> None:
    value = orjson.loads(data)
    kind = value["type"]
    if kind == "content_block_delta":
        delta = value["delta"]
        text = delta.get("text") or delta.get("thinking") or delta.get("partial_json")
        if text:
            reading.add(text)
    elif kind == "message_delta":
        reading.stopped = reading.stopped or bool(value["delta"].get("stop_reason"))
    elif kind == "message_stop":
        reading.terminal = True
    elif kind == "error":
        reading.fault = _message(value["error"])


def _messages_whole(reading: Reading, value: Json) -> None:
    if value["type"] == "error":
        reading.fault = _message(value["error"])
        return
    for block in value["content"]:
        reading.add(block.get("text") or block.get("thinking") or "")
    reading.stopped = reading.terminal = bool(value["stop_reason"])


_RESPONSES_ENDS = frozenset({"response.completed", "response.incomplete"})


def _responses_frame(reading: Reading, data: bytes) -> None:
    if data == b"[DONE]":  # some servers add chat's ending
        return
    value = orjson.loads(data)
    kind: str = value["type"]
    if kind.endswith(".delta"):
        delta = value["delta"]
        reading.add(delta if isinstance(delta, str) else "")
    elif kind in _RESPONSES_ENDS:
        reading.stopped = reading.terminal = True
    elif kind == "response.failed":
        reading.fault = _message(value["response"]["error"])
    elif kind == "error":
        reading.fault = _message(value.get("error") or value)


def _responses_whole(reading: Reading, value: Json) -> None:
    if value.get("error"):
        reading.fault = _message(value["error"])
        return
    for item in value["output"]:
        texts = [part.get("text") or part.get("refusal") or "" for part in item.get("content") or ()]
        if texts or item["type"] != "message":
            reading.add("".join(texts))
    reading.stopped = reading.terminal = value["status"] in ("completed", "incomplete")


class Shape(NamedTuple):
    """path: behind the base URL. frame: reads an event's data into a Reading; whole: a parsed answer."""

    path: str
    request: Callable[[list[Json], int], Json]
    frame: Callable[[Reading, bytes], None]
    whole: Callable[[Reading, Json], None]


SHAPES = {
    "chat": Shape("/chat/completions", _chat_request, _chat_frame, _chat_whole),
    "messages": Shape("/messages", _messages_request, _messages_frame, _messages_whole),
    "responses": Shape("/responses", _responses_request, _responses_frame, _responses_whole),
}


def body(shape: str, model: str, *, words: int, rate: float | None, size: int, stream: bool) -> bytes:
    """A request's body. size: bytes of conversation before the prompt."""
    turns = [*_turns(size), {"role": "user", "content": prompt(words, rate)}]
    asked = {"model": model, **SHAPES[shape].request(turns, words)}
    return orjson.dumps(asked | {"stream": True} if stream else asked)


def credential(shape: str, key: str | None) -> list[tuple[str, str]]:
    """The headers that carry the key, as the vendors' SDKs send it."""
    headers = [("anthropic-version", "2023-06-01")] if shape == "messages" else []
    if key is not None:
        headers.append(("x-api-key", key) if shape == "messages" else ("Authorization", f"Bearer {key}"))
    return headers
