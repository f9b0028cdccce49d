"""Requests of coding agents: a long system prompt, 25 tools, and rounds of words, a tool's call and its result.

A round is about 5.5 kB, so 120 of them are 700 kB. The same every time. The unit of what such a request costs is orjson's parsing and
writing of the same body: less than that nobody can spend who looks at it.
"""

from __future__ import annotations

import functools
import random
import statistics
from time import process_time
from typing import Any

import orjson

_WORDS = ["return", "self.path", "import", "{", "}", "naïve", "->", "0.5", "assert", "because", "tests/test_a.py:12", "\n    ", '"key":']
TOOLS = 25


class _Text:
    def __init__(self) -> None:
        self._dice = random.Random(1)

    def of(self, size: int) -> str:
        words, length = [], 0
        while length < size:
            words.append(self._dice.choice(_WORDS))
            length += len(words[-1]) + 1
        return " ".join(words)

    def size(self, least: int, most: int) -> int:
        return self._dice.randint(least, most)


def _schema(text: _Text) -> dict[str, Any]:
    texts = {f"text_{number}": {"type": "string", "description": text.of(80)} for number in range(6)}
    many = {"type": "array", "items": {"type": "object", "properties": {"line": {"type": "integer"}, "kind": {"enum": ["a", "b"]}}}}
    return {"type": "object", "properties": {**texts, "places": many}, "required": ["text_0"]}


@functools.cache
def _session(rounds: int) -> tuple[str, list[tuple[str, str, dict[str, Any]]], list[tuple[str, str, str, dict[str, Any], str]]]:
    """The system prompt; name, description and schema of each tool; words, id, tool, arguments and result of each round."""
    text = _Text()
    system = text.of(18_000)
    tools = [(f"tool_{number}", text.of(900), _schema(text)) for number in range(TOOLS)]
    told = [
        (text.of(150), f"call_{number}", f"tool_{number % TOOLS}", {"text_0": text.of(300), "line": number}, text.of(text.size(500, 8000)))
        for number in range(rounds)
    ]
    return system, tools, told


def _chat(rounds: int, ask: str) -> dict[str, Any]:
    system, tools, told = _session(rounds)
    messages: list[dict[str, Any]] = [{"role": "system", "content": system}, {"role": "user", "content": "Mend the slow test."}]
    for words, id, name, given, result in told:
        call = {"id": id, "type": "function", "function": {"name": name, "arguments": orjson.dumps(given).decode()}}
        messages += [{"role": "assistant", "content": words, "tool_calls": [call]}, {"role": "tool", "tool_call_id": id, "content": result}]
    functions = [{"name": name, "description": about, "parameters": schema} for name, about, schema in tools]
    usage = {"stream_options": {"include_usage": True}}
    messages.append({"role": "user", "content": ask})
    return {"messages": messages, "tools": [{"type": "function", "function": one} for one in functions], **usage}


def _messages(rounds: int, ask: str, thinks: bool = False) -> dict[str, Any]:
    system, tools, told = _session(rounds)
    messages: list[dict[str, Any]] = [{"role": "user", "content": [{"type": "text", "text": "Mend the slow test."}]}]
    for words, id, name, given, result in told:
        thought = [{"type": "thinking", "thinking": words * 2, "signature": "c2lnbmF0dXJl" * 30}] if thinks else []
        use = {"type": "tool_use", "id": f"toolu_{id}", "name": name, "input": given}
        text = {"type": "tool_result", "tool_use_id": f"toolu_{id}", "content": [{"type": "text", "text": result}]}
        messages += [
            {"role": "assistant", "content": [*thought, {"type": "text", "text": words}, use]},
            {"role": "user", "content": [text]},
        ]
    messages[-1]["content"].append({"type": "text", "text": ask, "cache_control": {"type": "ephemeral"}})
    listed = [{"name": name, "description": about, "input_schema": schema} for name, about, schema in tools]
    prompt = [{"type": "text", "text": system, "cache_control": {"type": "ephemeral"}}]
    more = {"thinking": {"type": "enabled", "budget_tokens": 8000}} if thinks else {}
    return {"max_tokens": 32_000, "system": prompt, "messages": messages, "tools": listed, **more}


def _responses(rounds: int, ask: str) -> dict[str, Any]:
    system, tools, told = _session(rounds)
    items: list[dict[str, Any]] = []
    for words, id, name, given, result in told:
        items.append({"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": words}]})
        items.append({"type": "function_call", "call_id": id, "name": name, "arguments": orjson.dumps(given).decode()})
        items.append({"type": "function_call_output", "call_id": id, "output": result})
    items.append({"type": "message", "role": "user", "content": [{"type": "input_text", "text": ask}]})
    listed = [
        {"type": "function", "name": name, "description": about, "parameters": schema, "strict": False} for name, about, schema in tools
    ]
    return {"instructions": system, "input": items, "tools": listed, "store": False}


_BODIES = {"chat": _chat, "messages": _messages, "responses": _responses, "thinking": functools.partial(_messages, thinks=True)}


def body(shape: str, model: str, rounds: int, ask: str) -> bytes:
    """shape: or "thinking", which is messages with thinking in each round. ask: the words of the last turn."""
    return orjson.dumps({"model": model, **_BODIES[shape](rounds, ask), "stream": True})


def unit(data: bytes, times: int = 40) -> float:
    """Microseconds of CPU to parse and write a body: the median."""
    found = []
    for _ in range(times):
        begun = process_time()
        orjson.dumps(orjson.loads(data))
        found.append(process_time() - begun)
    return statistics.median(found) * 1e6
