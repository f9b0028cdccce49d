"""A provider that says what a test tells it to, in the three APIs, streamed and whole; and gateways over each kind of store.

talk.says(Said(text="Hello."), Said(calls=[("call_1", "look", '{"a":1}')]))     # the answers to the next two requests
talk.asked[-1]                                                                   # the body of the newest request
"""

from __future__ import annotations

import contextlib
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..proxy import kinds
from ..scripted import LAST_CHUNK, Gate, Provider, Request, Step, Steps, chunk, close, respond, sse, stream_head, wait

KINDS = ("memory", "sqlite", "postgres", "redis")


@dataclass
class Said:
    """One answer of a model. calls: (id, name, arguments). thinking: a text, for messages with its signature. gate: before the end."""

    text: str = ""
    calls: list[tuple[str, str, str]] = field(default_factory=list)
    thinking: str = ""
    signature: str = "c2lnbmF0dXJl"
    redacted: str = ""
    id: str = "upstream_1"
    cut: bool = False  # the token limit ended it
    gate: Gate | None = None
    broken: bool = False  # the connection ends before the answer does
    status: int = 200

    def steps(self, api: str, body: dict[str, Any]) -> Steps:
        if self.status != 200:
            return [respond({"error": {"type": "server_error", "message": "It broke."}}, self.status)]
        if not body.get("stream"):
            return [respond(self.whole(api, body["model"]))]
        events = self.events(api, body["model"])
        held: list[Step] = [close] if self.broken else [wait(self.gate)] if self.gate is not None else []
        last = LAST[api]
        return [stream_head(), *map(chunk, events[:-last]), *held, *map(chunk, events[-last:]), LAST_CHUNK]

    def whole(self, api: str, model: str) -> dict[str, Any]:
        return _WHOLE[api](self, model)

    def events(self, api: str, model: str) -> list[bytes]:
        """Of a stream, the last LAST[api] of which end it."""
        return _EVENTS[api](self, model)


class Talk:
    def __init__(self) -> None:
        self.answers: deque[Said] = deque()
        self.requests: list[Request] = []
        self.relayed: list[tuple[str, str]] = []

    @property
    def asked(self) -> list[dict[str, Any]]:
        return [request.json for request in self.requests]

    def says(self, *answers: Said) -> None:
        assert not self.answers, "a test before this one was not asked for all that it had to say"
        self.requests.clear()
        self.answers.extend(answers)

    def script(self, request: Request) -> Steps:
        path = request.target.partition("?")[0]
        api = path.rpartition("/v1/")[2]
        if request.method == "POST" and api in _WHOLE:
            self.requests.append(request)
            return self.answers.popleft().steps(api, request.json)
        self.relayed.append((request.method, request.target))
        return [respond({"id": path.split("/")[-1], "object": "response", "relayed": request.target})]


# ---- chat ----


def _chat_calls(said: Said) -> list[dict[str, Any]]:
    return [
        {"index": n, "id": id, "type": "function", "function": {"name": name, "arguments": arguments}}
        for n, (id, name, arguments) in enumerate(said.calls)
    ]


def _chat_finish(said: Said) -> str:
    return "length" if said.cut else "tool_calls" if said.calls else "stop"


def _chat_whole(said: Said, model: str) -> dict[str, Any]:
    message: dict[str, Any] = {"role": "assistant", "content": said.text or None}
    if said.thinking:
        message["reasoning_content"] = said.thinking
    if said.calls:
        message["tool_calls"] = _chat_calls(said)
    return {
        "id": said.id, "object": "chat.completion", "created": 1700000000, "model": model,
        "choices": [{"index": 0, "message": message, "finish_reason": _chat_finish(said)}],
        "usage": {"prompt_tokens": 12, "completion_tokens": 7, "total_tokens": 19},
    }  # fmt: skip


def _chat_events(said: Said, model: str) -> list[bytes]:
    base = {"id": said.id, "object": "chat.completion.chunk", "created": 1700000000, "model": model}

    def told(delta: dict[str, Any], finish: str | None = None) -> bytes:
        return sse(base | {"choices": [{"index": 0, "delta": delta, "finish_reason": finish}]})

    events = [told({"role": "assistant", "content": ""})]
    events += [told({"reasoning_content": word}) for word in _words(said.thinking)]
    events += [told({"content": word}) for word in _words(said.text)]
    events += [told({"tool_calls": [call]}) for call in _chat_calls(said)]
    usage = {"prompt_tokens": 12, "completion_tokens": 7, "total_tokens": 19}
    return [*events, told({}, _chat_finish(said)), sse(base | {"choices": [], "usage": usage}), sse("[DONE]")]


# ---- messages ----


def _blocks(said: Said) -> list[dict[str, Any]]:
    import json

    blocks: list[dict[str, Any]] = []
    if said.thinking:
        blocks.append({"type": "thinking", "thinking": said.thinking, "signature": said.signature})
    if said.redacted:
        blocks.append({"type": "redacted_thinking", "data": said.redacted})
    if said.text:
        blocks.append({"type": "text", "text": said.text})
    for id, name, arguments in said.calls:
        blocks.append({"type": "tool_use", "id": id, "name": name, "input": json.loads(arguments)})
    return blocks


def _message_stop(said: Said) -> str:
    return "max_tokens" if said.cut else "tool_use" if said.calls else "end_turn"


def _message_whole(said: Said, model: str) -> dict[str, Any]:
    return {
        "id": said.id, "type": "message", "role": "assistant", "model": model, "content": _blocks(said),
        "stop_reason": _message_stop(said), "stop_sequence": None, "usage": {"input_tokens": 12, "output_tokens": 7},
    }  # fmt: skip


def _message_events(said: Said, model: str) -> list[bytes]:
    message = _message_whole(said, model) | {"content": [], "stop_reason": None}
    events: list[dict[str, Any]] = [{"type": "message_start", "message": message}]
    calls = iter(said.calls)
    for index, block in enumerate(_blocks(said)):
        deltas: list[dict[str, Any]] = []
        start = dict(block)
        if block["type"] == "thinking":
            start |= {"thinking": "", "signature": ""}
            deltas = [{"type": "thinking_delta", "thinking": word} for word in _words(block["thinking"])]
            deltas.append({"type": "signature_delta", "signature": block["signature"]})
        elif block["type"] == "text":
            start["text"] = ""
            deltas = [{"type": "text_delta", "text": word} for word in _words(block["text"])]
        elif block["type"] == "tool_use":
            start["input"] = {}
            deltas = [{"type": "input_json_delta", "partial_json": next(calls)[2]}]
        events.append({"type": "content_block_start", "index": index, "content_block": start})
        events += [{"type": "content_block_delta", "index": index, "delta": delta} for delta in deltas]
        events.append({"type": "content_block_stop", "index": index})
    stop = {"stop_reason": _message_stop(said), "stop_sequence": None}
    events += [{"type": "message_delta", "delta": stop, "usage": {"output_tokens": 7}}, {"type": "message_stop"}]
    return [sse(event, event["type"]) for event in events]


# ---- responses ----


def _output(said: Said) -> list[dict[str, Any]]:
    items: list[dict[str, Any]] = []
    if said.thinking:
        items.append({"id": f"rs_{said.id}", "type": "reasoning", "summary": [], "encrypted_content": f"sealed {said.thinking}"})
    if said.text:
        part = {"type": "output_text", "text": said.text, "annotations": [], "logprobs": []}
        items.append({"id": f"msg_{said.id}", "type": "message", "role": "assistant", "status": "completed", "content": [part]})
    for n, (id, name, arguments) in enumerate(said.calls):
        call = {"id": f"fc_{said.id}{n}", "type": "function_call", "call_id": id, "name": name, "arguments": arguments}
        items.append(call | {"status": "completed"})
    return items


def _response(said: Said, model: str) -> dict[str, Any]:
    usage = {
        "input_tokens": 12, "input_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0},
        "output_tokens": 7, "output_tokens_details": {"reasoning_tokens": 0}, "total_tokens": 19,
    }  # fmt: skip
    return {
        "id": f"resp_{said.id}", "object": "response", "created_at": 1700000000, "status": "completed", "model": model,
        "output": _output(said), "usage": usage, "error": None, "incomplete_details": None, "instructions": None, "metadata": {},
        "parallel_tool_calls": True, "temperature": 1.0, "tool_choice": "auto", "tools": [], "top_p": 1.0, "store": True,
        "previous_response_id": None, "service_tier": "default",
    }  # fmt: skip


def _response_events(said: Said, model: str) -> list[bytes]:
    whole = _response(said, model)
    begun = whole | {"status": "in_progress", "output": [], "usage": None}
    events: list[dict[str, Any]] = [{"type": f"response.{name}", "response": begun} for name in ("created", "in_progress")]
    for index, item in enumerate(whole["output"]):
        place = {"output_index": index, "item_id": item["id"]}
        if item["type"] != "message":
            started = item | ({"arguments": "", "status": "in_progress"} if "arguments" in item else {})
            events.append({"type": "response.output_item.added", "output_index": index, "item": started})
            if "arguments" in item:
                done = {"arguments": item["arguments"]}
                events.append({"type": "response.function_call_arguments.delta", **place, "delta": item["arguments"]})
                events.append({"type": "response.function_call_arguments.done", **place, "name": item["name"], **done})
        else:
            part, place = item["content"][0], place | {"content_index": 0}
            started = item | {"status": "in_progress", "content": []}
            events.append({"type": "response.output_item.added", "output_index": index, "item": started})
            events.append({"type": "response.content_part.added", **place, "part": part | {"text": ""}})
            for word in _words(said.text):
                events.append({"type": "response.output_text.delta", **place, "delta": word, "logprobs": []})
            events.append({"type": "response.output_text.done", **place, "text": said.text, "logprobs": []})
            events.append({"type": "response.content_part.done", **place, "part": part})
        events.append({"type": "response.output_item.done", "output_index": index, "item": item})
    events.append({"type": "response.completed", "response": whole})
    return [sse(event | {"sequence_number": number}, event["type"]) for number, event in enumerate(events)]


def _words(text: str) -> list[str]:
    return [word if n == 0 else " " + word for n, word in enumerate(text.split(" "))] if text else []


_WHOLE = {"chat/completions": _chat_whole, "messages": _message_whole, "responses": _response}
_EVENTS = {"chat/completions": _chat_events, "messages": _message_events, "responses": _response_events}
LAST = {"chat/completions": 3, "messages": 2, "responses": 1}  # events that end an answer

PROVIDERS = """
listeners: [{type: model, address: 127.0.0.1, port: PORT}]
model_providers:
  - {model: chat/*, base_url: "URL/chat/v1", provider_interface: openai, access_key: k, apis: [chat_completions]}
  - {model: messages/*, base_url: "URL/messages/v1", provider_interface: anthropic, access_key: k, apis: [messages]}
  - {model: native/*, base_url: "URL/native/v1", provider_interface: openai, access_key: k, apis: [responses]}
  - {model: stateless/*, base_url: "URL/stateless/v1", provider_interface: openai, access_key: k, apis: [responses],
     capabilities: {r.stateful: false}}
"""
KEYS = "access_keys: [{key: alice-key, name: alice}, {key: bob-key, name: bob}]\n"


def config(provider: Provider, storage: str, keys: str = KEYS) -> str:
    """A gateway's configuration. storage: the `state_storage` section."""
    return PROVIDERS.replace("URL", provider.url) + keys + storage


@contextlib.contextmanager
def storage(kind: str, folder: Path) -> Iterator[str]:
    """The `state_storage` section for this kind of store; skips the test where its server is not there."""
    if kind == "memory":
        yield "state_storage: {type: memory}\n"
    elif kind == "sqlite":
        yield f"state_storage: {{type: sqlite, path: {folder / 'state.db'}}}\n"
    elif kind == "postgres":
        with kinds.postgres() as address:
            yield f'state_storage: {{type: postgres, connection_string: "{address}"}}\n'
    else:
        with kinds.redis() as url:
            yield f"state_storage: {{type: redis, url: {url}}}\n"
