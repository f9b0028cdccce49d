"""The same short answer in each shape, as a provider sends it; and each vendor's SDK as the judge of what a caller is told.

outcome = Judges(url).ask("messages", "chat/some-model", streamed=True)
assert outcome == Outcome("Hello world")
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import anthropic
import openai

from ..scripted import sse

SHAPES = ("chat", "messages", "responses")
PATHS = {"chat": "/v1/chat/completions", "messages": "/v1/messages", "responses": "/v1/responses"}
SHAPE_AT = {path: shape for shape, path in PATHS.items()}
APIS = {"chat": "chat_completions", "messages": "messages", "responses": "responses"}

TEXT = "Hello world"


@dataclass(frozen=True)
class Speech:
    """One shape's stream in three stretches (opening: no content yet; words: "Hello", " world"), and the same answer whole."""

    opening: list[bytes]
    words: list[bytes]
    ending: list[bytes]
    whole: dict[str, Any]
    word: Callable[[str], bytes]  # the event of one more piece of text

    @property
    def stream(self) -> list[bytes]:
        return self.opening + self.words + self.ending


# ---- chat ----


def _chat(delta: dict[str, Any], finish: str | None = None) -> bytes:
    choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}
    return sse({"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1700000000, "model": "m", "choices": [choice]})


_CHAT_MESSAGE = {"role": "assistant", "content": TEXT, "refusal": None}
_CHAT_USAGE = {"prompt_tokens": 12, "completion_tokens": 7, "total_tokens": 19}
CHAT = Speech(
    [_chat({"role": "assistant", "content": ""})],
    [_chat({"content": "Hello"}), _chat({"content": " world"})],
    [_chat({}, "stop"), sse("[DONE]")],
    {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1700000000,
        "model": "m",
        "choices": [{"index": 0, "message": _CHAT_MESSAGE, "logprobs": None, "finish_reason": "stop"}],
        "usage": _CHAT_USAGE,
    },
    lambda text: _chat({"content": text}),
)

# ---- messages ----


def _event(value: dict[str, Any]) -> bytes:
    return sse(value, value["type"])


def _messages_word(text: str) -> bytes:
    return _event({"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": text}})


_MESSAGE = {"id": "msg_1", "type": "message", "role": "assistant", "model": "m"}
MESSAGES = Speech(
    [
        _event(
            {
                "type": "message_start",
                "message": _MESSAGE
                | {
                    "content": [],
                    "stop_reason": None,
                    "stop_sequence": None,
                    "usage": {"input_tokens": 12, "output_tokens": 1},
                },
            }
        ),
        _event({"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}}),
        _event({"type": "ping"}),
    ],
    [_messages_word("Hello"), _messages_word(" world")],
    [
        _event({"type": "content_block_stop", "index": 0}),
        _event(
            {
                "type": "message_delta",
                "delta": {"stop_reason": "end_turn", "stop_sequence": None},
                "usage": {"output_tokens": 7},
            }
        ),
        _event({"type": "message_stop"}),
    ],
    _MESSAGE
    | {
        "content": [{"type": "text", "text": TEXT}],
        "stop_reason": "end_turn",
        "stop_sequence": None,
        "usage": {"input_tokens": 12, "output_tokens": 7},
    },
    _messages_word,
)

# ---- responses ----

RESPONSE = {
    "id": "resp_1",
    "object": "response",
    "created_at": 1700000000,
    "model": "m",
    "error": None,
    "incomplete_details": None,
    "instructions": None,
    "metadata": {},
    "parallel_tool_calls": True,
    "temperature": 1.0,
    "tool_choice": "auto",
    "tools": [],
    "top_p": 1.0,
}
_PART = {"type": "output_text", "text": TEXT, "annotations": [], "logprobs": []}
_ITEM = {"id": "msg_1", "type": "message", "role": "assistant"}
_AT = {"item_id": "msg_1", "output_index": 0, "content_index": 0}
_DONE_ITEM = _ITEM | {"status": "completed", "content": [_PART]}
_RESPONSE_USAGE = {
    "input_tokens": 12,
    "input_tokens_details": {"cached_tokens": 0},
    "output_tokens": 7,
    "output_tokens_details": {"reasoning_tokens": 0},
    "total_tokens": 19,
}
_DONE = RESPONSE | {"status": "completed", "output": [_DONE_ITEM], "usage": _RESPONSE_USAGE}
_BEGUN = RESPONSE | {"status": "in_progress", "output": [], "usage": None}


def _responses_word(text: str) -> bytes:
    return _event({"type": "response.output_text.delta", **_AT, "delta": text, "logprobs": [], "sequence_number": 4})


RESPONSES = Speech(
    [
        _event({"type": "response.created", "response": _BEGUN, "sequence_number": 0}),
        _event({"type": "response.in_progress", "response": _BEGUN, "sequence_number": 1}),
        _event(
            {
                "type": "response.output_item.added",
                "output_index": 0,
                "item": _ITEM | {"status": "in_progress", "content": []},
                "sequence_number": 2,
            }
        ),
        _event({"type": "response.content_part.added", **_AT, "part": _PART | {"text": ""}, "sequence_number": 3}),
    ],
    [_responses_word("Hello"), _responses_word(" world")],
    [
        _event({"type": "response.output_text.done", **_AT, "text": TEXT, "logprobs": [], "sequence_number": 6}),
        _event({"type": "response.content_part.done", **_AT, "part": _PART, "sequence_number": 7}),
        _event({"type": "response.output_item.done", "output_index": 0, "item": _DONE_ITEM, "sequence_number": 8}),
        _event({"type": "response.completed", "response": _DONE, "sequence_number": 9}),
    ],
    _DONE,
    _responses_word,
)

SPEECH = {"chat": CHAT, "messages": MESSAGES, "responses": RESPONSES}

# ---- the judges ----


@dataclass(frozen=True)
class Outcome:
    """What a caller was told. status: of HTTP when no answer began; 0 for an answer. code: None in the messages shape."""

    text: str = ""
    status: int = 0
    type: str | None = None
    code: str | None = None
    events: tuple[str, ...] = field(default=(), compare=False)  # the types of a stream's events, in order
    headers: Any = field(default=None, compare=False, repr=False)
    message: str = field(default="", compare=False)


ASKED: dict[str, dict[str, Any]] = {
    "chat": {"messages": [{"role": "user", "content": "Hi"}]},
    "messages": {"messages": [{"role": "user", "content": "Hi"}], "max_tokens": 100},
    "responses": {"input": "Hi"},
}


def _text_of(shape: str, answer: Any) -> str:
    if shape == "chat":
        return "".join(choice.message.content or "" for choice in answer.choices)
    if shape == "messages":
        return "".join(block.text for block in answer.content if block.type == "text")
    text: str = answer.output_text
    return text


def _piece_of(shape: str, event: Any) -> str:
    if shape == "chat":
        return "".join(choice.delta.content or "" for choice in event.choices)
    if shape == "messages":
        return event.delta.text if event.type == "content_block_delta" and event.delta.type == "text_delta" else ""
    return event.delta if event.type == "response.output_text.delta" else ""


class Judges:
    """The vendors' SDKs, asking a gateway at `url`, each request once."""

    def __init__(self, url: str, key: str = "caller-key") -> None:
        self._openai = openai.OpenAI(api_key=key, base_url=f"{url}/v1", max_retries=0, timeout=30)
        self._anthropic = anthropic.Anthropic(api_key=key, base_url=url, max_retries=0, timeout=30)
        self._create: dict[str, Callable[..., Any]] = {
            "chat": self._openai.chat.completions.create,
            "messages": self._anthropic.messages.create,
            "responses": self._openai.responses.create,
        }

    def close(self) -> None:
        self._openai.close()
        self._anthropic.close()

    def ask(self, shape: str, model: str, *, streamed: bool, heard: Callable[[str], object] | None = None, **more: Any) -> Outcome:
        """What the SDK of that shape makes of the answer. Whatever is no error of the SDK's own is raised.

        heard: called with the text so far whenever a stream has brought more of it.
        """
        pieces: list[str] = []
        events: list[str] = []
        try:
            answer = self._create[shape](model=model, stream=streamed, **ASKED[shape], **more)
            if not streamed:
                return Outcome(_text_of(shape, answer))
            for event in answer:
                events.append(getattr(event, "type", None) or "chunk")
                pieces.append(_piece_of(shape, event))
                if heard is not None and pieces[-1]:
                    heard("".join(pieces))
        except (openai.APIStatusError, anthropic.APIStatusError) as error:
            return _told(error, error.status_code, "".join(pieces), tuple(events))
        except openai.APIError as error:
            if isinstance(error, openai.APIConnectionError):
                raise
            return _told(error, 200, "".join(pieces), tuple(events))
        return Outcome("".join(pieces), events=tuple(events))


def _told(error: Any, status: int, text: str, events: tuple[str, ...]) -> Outcome:
    headers = error.response.headers if hasattr(error, "response") else None
    if isinstance(error, anthropic.APIStatusError):
        body: Any = error.body
        inside = body["error"]
        return Outcome(text, status, inside["type"], None, events, headers, inside["message"])
    return Outcome(text, status, error.type, error.code, events, headers, error.message)
