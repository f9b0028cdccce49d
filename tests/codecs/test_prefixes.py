"""What goes up in one turn is the beginning of what goes up in the next, byte for byte: else a provider's prompt cache is lost each turn.

Callers write the same thing in several forms, and not always in the same one: text as a string or as a list of one part, content that
is null, empty or left out beside calls, messages with or without their type. Each request here is written in a form of its own.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import permutations
from typing import Any

import pytest

from dragoman.codecs import jsontext
from dragoman.codecs.capabilities import Capabilities
from dragoman.codecs.registry import SHAPES

JSON = dict[str, Any]
SCHEMA = {"type": "object", "properties": {"path": {"type": "string"}}, "required": ["path"]}
PNG = "iVBORw0KGgoAAAANSUhEUg=="

# a conversation in nobody's words, one list for what stands between two requests
PLAIN = [[("system", "Be brief."), ("user", "Hi")], [("said", "Hello"), ("user", "And now?")], [("said", "Now."), ("user", "So")]]
TOOLS = [
    [("system", "Be brief."), ("user", "List the files.")],
    [("said", "I look."), ("call", "c1", "/a"), ("result", "c1", "x.py")],
    [("call", "c2", "/b"), ("call", "c3", "/c"), ("result", "c2", "y.py"), ("result", "c3", "")],
    [("said", "Three."), ("user", "Thanks"), ("system", "The budget is nearly spent.")],
    [("said", "You are welcome."), ("user", "Go on")],
]
SEEN = [[("user", "Look"), ("image", PNG)], [("call", "c1", "/a"), ("image_result", "c1", PNG)], [("said", "A cat."), ("user", "And?")]]
CONVERSATIONS = {"plain": PLAIN, "tools": TOOLS, "images": SEEN}


def _text(text: str, form: int, kind: str = "text") -> Any:
    return [{"type": kind, "text": text}] if form else text


def as_chat(steps: list[Any], form: int) -> JSON:
    messages: list[JSON] = []
    for kind, *rest in steps:
        last = messages[-1] if messages else {}
        if kind in ("system", "user"):
            messages.append({"role": kind, "content": _text(rest[0], form)})
        elif kind == "said":
            messages.append({"role": "assistant", "content": _text(rest[0], form)})
        elif kind == "image":
            last["content"] = [*_text(last["content"], 1)] if isinstance(last["content"], str) else last["content"]
            last["content"].append({"type": "image_url", "image_url": {"url": f"data:image/png;base64,{rest[0]}"}})
        elif kind == "call":
            call = {"id": rest[0], "type": "function", "function": {"name": "read", "arguments": f'{{"path":"{rest[1]}"}}'}}
            if last.get("role") != "assistant":
                last = {"role": "assistant"} | ({"content": (None, "")[form - 1]} if form else {})
                messages.append(last)
            last.setdefault("tool_calls", []).append(call | ({"index": 0} if form else {}))
        elif kind == "result":
            messages.append({"role": "tool", "tool_call_id": rest[0], "content": _text(rest[1], form)})
        else:
            image = {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{rest[1]}"}}
            messages.append({"role": "tool", "tool_call_id": rest[0], "content": [image]})
    tools = [{"type": "function", "function": {"name": "read", "parameters": SCHEMA}}]
    return {"model": "m", "messages": messages, "tools": tools}


def _block(kind: str, rest: list[str], form: int) -> JSON:
    image = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": rest[-1]}}
    if kind == "call":
        return {"type": "tool_use", "id": rest[0], "name": "read", "input": {"path": rest[1]}}
    if kind == "image":
        return image
    if kind in ("result", "image_result"):
        content = _text(rest[1], form) if kind == "result" else [image]
        return {"type": "tool_result", "tool_use_id": rest[0], "content": content}
    return {"type": "text", "text": rest[0]}


def as_messages(steps: list[Any], form: int) -> JSON:
    body: JSON = {"model": "m", "max_tokens": 1000, "messages": [], "tools": [{"name": "read", "input_schema": SCHEMA}]}
    messages = body["messages"]
    for kind, *rest in steps:
        if kind == "system" and not messages:
            body["system"] = _text(rest[0], form)
            continue
        role = kind if kind in ("system", "user") else "user" if kind in ("image", "result", "image_result") else "assistant"
        block = _block(kind, rest, form)
        if messages and messages[-1]["role"] == role != "system":
            before = messages[-1]["content"]
            messages[-1]["content"] = [*_text(before, 1), block] if isinstance(before, str) else [*before, block]
        else:
            messages.append({"role": role, "content": rest[0] if block["type"] == "text" and not form else [block]})
    return body


def as_responses(steps: list[Any], form: int) -> JSON:
    items: list[JSON] = []
    typed = {"type": "message"} if form else {}
    for n, (kind, *rest) in enumerate(steps):
        named = {"id": f"item_{n}", "status": "completed"} if form == 2 else {}
        if kind in ("system", "user"):
            items.append(typed | {"role": kind, "content": _text(rest[0], form, "input_text")})
        elif kind == "said":
            items.append(named | typed | {"role": "assistant", "content": _text(rest[0], form, "output_text")})
        elif kind == "image":
            content = items[-1]["content"]
            content = _text(content, 1, "input_text") if isinstance(content, str) else content
            items[-1]["content"] = [*content, {"type": "input_image", "image_url": f"data:image/png;base64,{rest[0]}", "detail": "auto"}]
        elif kind == "call":
            items.append(named | {"type": "function_call", "call_id": rest[0], "name": "read", "arguments": f'{{"path":"{rest[1]}"}}'})
        elif kind == "result":
            items.append(named | {"type": "function_call_output", "call_id": rest[0], "output": _text(rest[1], form, "input_text")})
        else:
            image = {"type": "input_image", "image_url": f"data:image/png;base64,{rest[1]}", "detail": "auto"}
            items.append({"type": "function_call_output", "call_id": rest[0], "output": [image]})
    return {"model": "m", "input": items, "tools": [{"type": "function", "name": "read", "parameters": SCHEMA}]}


def as_gemini(steps: list[Any], form: int) -> JSON:
    body: JSON = {"contents": [], "tools": [{"functionDeclarations": [{"name": "read", "parametersJsonSchema": SCHEMA}]}]}
    contents = body["contents"]
    for kind, *rest in steps:
        if kind == "system":
            body["systemInstruction"] = {"parts": [{"text": rest[0]}] if form else {"text": rest[0]}}
            continue
        image = {"inlineData": {"mimeType": "image/png", "data": rest[-1]}}
        part: JSON = {"text": rest[0]}
        if kind == "image":
            part = image
        elif kind == "call":
            part = {"functionCall": {"id": rest[0], "name": "read", "args": {"path": rest[1]}}}
        elif kind in ("result", "image_result"):
            response = {"response": {"output": rest[1] if kind == "result" else ""}} | ({"parts": [image]} if kind != "result" else {})
            part = {"functionResponse": {"id": rest[0], "name": "read"} | response}
        role = "model" if kind in ("said", "call") else "user"
        if contents and contents[-1]["role"] == role:
            contents[-1]["parts"].append(part)
        else:
            contents.append({"role": role, "parts": [part]})
    return body


CALLERS: dict[str, Callable[[list[Any], int], JSON]] = {
    "chat": as_chat,
    "messages": as_messages,
    "responses": as_responses,
    "gemini": as_gemini,
}
HISTORY = {"chat": "messages", "messages": "messages", "responses": "input", "gemini": "contents"}


def sent(caller: str, upstream: str, body: JSON, **flags: Any) -> tuple[bytes, bytes]:
    """What stands before the history, and the history without the bracket that closes it."""
    request = SHAPES[caller].decode_request(body)
    encoded = SHAPES[upstream].encode_request(request, Capabilities(**flags), "up").body
    before = {name: encoded.get(name) for name in ("tools", "system", "instructions", "systemInstruction")}
    return jsontext.dumps(before), jsontext.dumps(encoded[HISTORY[upstream]])[:-1]


@pytest.mark.parametrize("flags", [{}, {"openai_host": True, "c_developer_role": True, "m_auto_cache": True, "m_mid_system": True}])
@pytest.mark.parametrize("name", CONVERSATIONS)
@pytest.mark.parametrize(("caller", "upstream"), list(permutations(SHAPES, 2)))
def test_a_turn_begins_with_the_one_before(caller: str, upstream: str, name: str, flags: JSON) -> None:
    conversation = CONVERSATIONS[name]
    # where there are no instructions in mid-conversation, a later one joins the first ones
    if "gemini" in (caller, upstream) or (upstream == "messages" and not flags.get("m_mid_system")):
        conversation = [[step for step in steps if n == 0 or step[0] != "system"] for n, steps in enumerate(conversation)]
    steps: list[Any] = []
    before = history = b""
    for turn, more in enumerate(conversation):
        steps += more
        for form in (0, 1, 2):
            head, written = sent(caller, upstream, CALLERS[caller](steps, form), **flags)
            if turn or form:
                assert head == before
                assert written.startswith(history)
            if form:
                assert written == history
            before, history = head, written
