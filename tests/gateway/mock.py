"""Answers of a mock provider in the two vendors' shapes, as literal wire data."""

from __future__ import annotations

import json
from typing import Any

from pytest_httpserver import HTTPServer
from werkzeug.wrappers import Request, Response

STREAM = "text/event-stream"


def _data(value: Any) -> str:
    return f"data: {json.dumps(value)}\n\n"


def _words(text: str) -> list[str]:
    return [word if n == 0 else " " + word for n, word in enumerate(text.split(" "))]


def chat_chunks(model: str, deltas: list[dict[str, Any]], finish: str = "stop") -> str:
    """A chat stream: role, the deltas, the finish, usage, [DONE]."""
    base = {"id": "chatcmpl-mock-123", "object": "chat.completion.chunk", "created": 1700000000, "model": model}

    def chunk(delta: dict[str, Any], reason: str | None = None) -> str:
        return _data(base | {"choices": [{"index": 0, "delta": delta, "finish_reason": reason}]})

    usage = {"prompt_tokens": 12, "completion_tokens": 7, "total_tokens": 19}
    ending = [chunk({}, finish), _data(base | {"choices": [], "usage": usage}), "data: [DONE]\n\n"]
    return "".join([chunk({"role": "assistant", "content": ""}), *map(chunk, deltas), *ending])


def chat_text(model: str, content: str) -> str:
    return chat_chunks(model, [{"content": word} for word in _words(content)])


def chat_tool_call(model: str, name: str, arguments: str) -> str:
    call = {"index": 0, "id": "call_mock_123", "type": "function", "function": {"name": name, "arguments": ""}}
    half = len(arguments) // 2
    pieces = [{"tool_calls": [{"index": 0, "function": {"arguments": p}}]} for p in (arguments[:half], arguments[half:])]
    return chat_chunks(model, [{"tool_calls": [call]}, *pieces], "tool_calls")


def chat_whole(model: str, message: dict[str, Any], finish: str = "stop") -> dict[str, Any]:
    return {
        "id": "chatcmpl-mock-123",
        "object": "chat.completion",
        "created": 1700000000,
        "model": model,
        "choices": [{"index": 0, "message": {"role": "assistant", **message}, "finish_reason": finish}],
        "usage": {"prompt_tokens": 12, "completion_tokens": 7, "total_tokens": 19},
    }


def messages_stream(model: str, content: str, thinking: str = "") -> str:
    """A messages stream: a thinking block when asked, and a text block."""
    events: list[dict[str, Any]] = []
    usage = {"input_tokens": 12, "output_tokens": 1}
    message = {"id": "msg_mock_123", "type": "message", "role": "assistant", "model": model, "content": []}
    events.append({"type": "message_start", "message": message | {"stop_reason": None, "stop_sequence": None, "usage": usage}})
    blocks = []
    if thinking:
        deltas: list[dict[str, Any]] = [{"type": "thinking_delta", "thinking": word} for word in _words(thinking)]
        deltas.append({"type": "signature_delta", "signature": "c2lnbmF0dXJl"})
        blocks.append(({"type": "thinking", "thinking": "", "signature": ""}, deltas))
    blocks.append(({"type": "text", "text": ""}, [{"type": "text_delta", "text": word} for word in _words(content)]))
    for index, (block, deltas) in enumerate(blocks):
        events.append({"type": "content_block_start", "index": index, "content_block": block})
        events += [{"type": "content_block_delta", "index": index, "delta": delta} for delta in deltas]
        events.append({"type": "content_block_stop", "index": index})
    events.append({"type": "message_delta", "delta": {"stop_reason": "end_turn", "stop_sequence": None}, "usage": {"output_tokens": 7}})
    events.append({"type": "message_stop"})
    return "".join(f"event: {event['type']}\ndata: {json.dumps(event)}\n\n" for event in events)


def messages_whole(model: str, content: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "id": "msg_mock_123",
        "type": "message",
        "role": "assistant",
        "model": model,
        "content": content,
        "stop_reason": "end_turn",
        "stop_sequence": None,
        "usage": {"input_tokens": 12, "output_tokens": 7},
    }


class Upstream:
    """What the mock provider was asked, and what it answers."""

    def __init__(self, server: HTTPServer) -> None:
        self._server = server
        self.bodies: list[dict[str, Any]] = []
        self.paths: list[str] = []

    def chat(self, content: str = "Hello from the mock!") -> None:
        def answer(body: dict[str, Any]) -> Response:
            if body.get("stream"):
                return Response(chat_text(body["model"], content), content_type=STREAM)
            return Response(json.dumps(chat_whole(body["model"], {"content": content})), content_type="application/json")

        self.serve("/v1/chat/completions", answer)

    def chat_tool(self, name: str, arguments: str) -> None:
        def answer(body: dict[str, Any]) -> Response:
            if body.get("stream"):
                return Response(chat_tool_call(body["model"], name, arguments), content_type=STREAM)
            call = {"id": "call_mock_123", "type": "function", "function": {"name": name, "arguments": arguments}}
            whole = chat_whole(body["model"], {"content": None, "tool_calls": [call]}, "tool_calls")
            return Response(json.dumps(whole), content_type="application/json")

        self.serve("/v1/chat/completions", answer)

    def messages(self, content: str = "Hello from the mock!", thinking: str = "") -> None:
        def answer(body: dict[str, Any]) -> Response:
            if body.get("stream"):
                return Response(messages_stream(body["model"], content, thinking), content_type=STREAM)
            whole = messages_whole(body["model"], [{"type": "text", "text": content}])
            return Response(json.dumps(whole), content_type="application/json")

        self.serve("/v1/messages", answer)

    def serve(self, path: str, answer: Any) -> None:
        def handler(request: Request) -> Response:
            body = json.loads(request.data)
            self.bodies.append(body)
            self.paths.append(request.path)
            reply: Response = answer(body)
            return reply

        self._server.expect_request(path, method="POST").respond_with_handler(handler)
