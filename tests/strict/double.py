"""A provider that refuses what the real one refuses, and answers an agent's turns as it would.

It runs on the scripted provider's sockets: `Provider(Double("mistral").script)`. A request that violates a rule of providers/*.yaml gets
that rule's refusal; every other gets reasoning (where the model reasons), two tool calls at once in the first turn, one in the next, and
text once their results have come back. Opaque values carry the provider's own mark, so that one that comes back from elsewhere is seen.

violations holds the id of each violated rule and the request: a gateway that adapts to the provider leaves it empty, one that learns
from a refusal leaves one entry.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Iterable
from typing import Any

import orjson

from ..gateway import upstreams as up
from ..scripted import Request, Steps, respond
from .rules import JSON, Asked, Rule, load

SHAPE_OF = {"/chat/completions": "chat", "/messages": "messages", "/responses": "responses"}
GENERATES = re.compile(r".*/models/(?P<model>[^?]+):(?:generateContent|(?P<streams>streamGenerateContent)\?alt=sse)")
THOUGHT = "The tool knows."
TEXT = "It is sunny."

# where a provider of the chat shape shows a model's reasoning
REASONING_IN = {
    "deepseek": "reasoning_content",
    "moonshotai": "reasoning_content",
    "zai": "reasoning_content",
    "qwen": "reasoning_content",
    "xiaomi": "reasoning_content",
    "xai": "reasoning_content",
    "sglang": "reasoning_content",
    "groq": "reasoning",
    "vllm": "reasoning",
    "openrouter": "reasoning_details",
    "copilot": "reasoning_text",
}


class Double:
    """One provider. options: its switches that are on; see rules.py."""

    def __init__(self, provider: str, options: Iterable[str] = ()) -> None:
        self.provider = load(provider)
        self.options = frozenset(options)
        self.violations: list[tuple[str, Asked]] = []
        self.asked: list[Asked] = []
        self._prefixes: dict[str, str] = {}  # a signature, and what stood before the turn that it was given in
        self._turns = 0

    def refuses(self, request: Request) -> str | None:
        """The rule that a request violates; None for one that is answered."""
        asked = self._read(request)
        rule = None if asked is None else self._violated(asked)
        return None if rule is None else rule.id

    def script(self, request: Request) -> Steps:
        asked = self._read(request)
        if asked is None:
            return [respond({"error": {"message": "no such path"}}, 404)]
        self.asked.append(asked)
        rule = self._violated(asked)
        if rule is not None:
            self.violations.append((rule.id, asked))
            status, headers, body = self.provider.refusal(rule, asked)
            return [respond(body, status, content_type="application/json", **headers)]
        return self._answer(asked).steps(asked.streams)

    def _read(self, request: Request) -> Asked | None:
        """None for a path that there is not."""
        if (generates := GENERATES.fullmatch(request.target)) is not None:
            named, streamed = generates["model"], generates["streams"] is not None
            return Asked("gemini", spelled(orjson.loads(request.body)), request.headers, self.options, named, streamed)
        shape = next((shape for path, shape in SHAPE_OF.items() if request.target.partition("?")[0].endswith(path)), None)
        return None if shape is None else Asked(shape, orjson.loads(request.body), request.headers, self.options)

    def _violated(self, asked: Asked) -> Rule | None:
        for rule in self.provider.rules:
            if rule.check.get("order") == "prefix_bound":
                if rule.applies(self.provider, asked) and not (_loose(asked) or self._bound(asked.body)):
                    return rule
            elif rule.violated(self.provider, asked):
                return rule
        return None

    # ---- signatures and the prefix that they belong to ----

    def _bound(self, body: JSON) -> bool:
        for number, message in enumerate(body.get("messages") or ()):
            content = message.get("content")
            for block in content if isinstance(content, list) else ():
                signature = block.get("signature")
                if signature in self._prefixes and self._prefixes[signature] != _prefix(body, number):
                    return False
        return True

    def _mint(self, kind: str, asked: Asked) -> str:
        self._turns += 1
        value = f"{kind}-{self.provider.id}-{self._turns:04}"
        self._prefixes[value] = _prefix(asked.body, len(asked.body.get("messages") or ()))
        return value

    # ---- answers ----

    def _answer(self, asked: Asked) -> up.Answer:
        thinks = self.provider.thinks(asked) or "gemini-3" in asked.model  # it cannot do without
        calls = self._calls(asked)
        answer: dict[str, Any] = {"chat": self._chat, "messages": self._messages, "responses": self._responses, "gemini": self._gemini}
        told: up.Answer = answer[asked.shape](asked, thinks, calls)
        return told

    def _calls(self, asked: Asked) -> list[tuple[str, str]]:
        """Id and name of the tools that the model calls: two in its first turn, one in its second, then none."""
        names, done = _names(asked), _results(asked)
        if not names or done >= 3 or asked.body.get("tool_choice") in ("none", {"type": "none"}):
            return []
        count = 2 if done == 0 and asked.body.get("parallel_tool_calls") is not False else 1
        self._turns += 1
        return [(self._call_id(f"{self._turns:04}{n}"), names[n % len(names)]) for n in range(count)]

    def _call_id(self, number: str) -> str:
        return f"c{number:0>8}"[-9:] if self.provider.id in ("mistral", "nvidia") else f"call_{number}"

    def _chat(self, asked: Asked, thinks: bool, calls: list[tuple[str, str]]) -> up.Answer:
        deltas: list[JSON] = []
        whole: JSON = {"content": None if calls else TEXT}
        where = REASONING_IN.get(self.provider.id)
        if thinks and where is not None:
            shown = self._details(asked) if where == "reasoning_details" else THOUGHT
            deltas.append({where: shown})
            whole[where] = shown
        if calls:
            whole["tool_calls"] = []
        for number, (id, name) in enumerate(calls):
            call = {"id": id, "type": "function", "function": {"name": name, "arguments": ARGUMENTS}}
            if self.provider.id == "gemini" and thinks and number == 0:
                call["extra_content"] = {"google": {"thought_signature": self._mint("sig", asked)}}
            whole["tool_calls"].append(call)
            deltas.append({"tool_calls": [{"index": number, **call}]})
        if not calls:
            deltas.append({"content": TEXT})
        usage = {"prompt_tokens": 12, "completion_tokens": 7, "total_tokens": 19}
        return up.completion(*deltas, finish="tool_calls" if calls else "stop", usage=usage, said=whole)

    def _details(self, asked: Asked) -> list[JSON]:
        opaque = {"type": "reasoning.encrypted", "data": self._mint("enc", asked), "id": "r1", "format": "google-gemini-v1", "index": 1}
        return [{"type": "reasoning.text", "text": THOUGHT, "format": "google-gemini-v1", "index": 0}, opaque]

    def _messages(self, asked: Asked, thinks: bool, calls: list[tuple[str, str]]) -> up.Answer:
        blocks = [up.thought(THOUGHT, self._mint("sig", asked))] if thinks else []
        blocks += [up.called(id, name, ARGUMENTS) for id, name in calls] or [up.said(TEXT)]
        return up.message(*blocks, stop="tool_use" if calls else "end_turn")

    def _responses(self, asked: Asked, thinks: bool, calls: list[tuple[str, str]]) -> up.Answer:
        items = []
        if thinks:
            minted = self._mint("enc", asked)
            items.append(up.reasoned(f"rs_{minted}", minted, THOUGHT))
        items += [up.function(id, name, ARGUMENTS, id=f"fc_{id}") for id, name in calls] or [up.spoken(TEXT)]
        return up.response(*items)

    def _gemini(self, asked: Asked, thinks: bool, calls: list[tuple[str, str]]) -> up.Answer:
        shows = (asked.body.get("generationConfig") or {}).get("thinkingConfig", {}).get("includeThoughts")
        parts: list[JSON] = [{"text": THOUGHT, "thought": True}] if thinks and shows else []
        nameless = any(rule.id == "GV03" and rule.names(asked.model) for rule in self.provider.rules)
        for id, name in calls:
            call = {"name": name, "args": orjson.loads(ARGUMENTS)}
            parts.append({"functionCall": call if nameless else {"id": id[-8:]} | call})
        if not calls:
            parts.append({"text": TEXT})
        if thinks:  # the first call, or the text
            parts[-len(calls) or -1]["thoughtSignature"] = base64.b64encode(self._mint("sig", asked).encode()).decode()
        return up.generated(*parts)


DATA = {"args", "response", "parametersJsonSchema", "responseJsonSchema", "labels"}


def spelled(value: Any) -> Any:
    """A body of Google's with its members in camelCase, which SDKs mix with another spelling; what is data keeps its names."""
    if isinstance(value, dict):
        named = {re.sub(r"(?<=[a-z])_([a-z])", lambda match: match[1].upper(), name): inner for name, inner in value.items()}
        return {name: inner if name in DATA else spelled(inner) for name, inner in named.items()}
    return [spelled(inner) for inner in value] if isinstance(value, list) else value


ARGUMENTS = '{"a": "x"}'


def _loose(asked: Asked) -> bool:
    """Whether a thinking block that belongs to another prefix is to be left out, not refused."""
    controls = "thinking-binding-controls-2026-08-01" in asked.headers.get("anthropic-beta", "")
    return controls and (asked.body.get("thinking") or {}).get("block_binding") == {"prefix_mismatch_behavior": "drop_block"}


def _prefix(body: JSON, number: int) -> str:
    """What stands before a message, as a hash: system, tools and the messages before it, without cache marks."""
    before = {"system": body.get("system"), "tools": body.get("tools"), "messages": (body.get("messages") or [])[:number]}
    return hashlib.sha256(orjson.dumps(_unmarked(before), option=orjson.OPT_SORT_KEYS)).hexdigest()


def _unmarked(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _unmarked(inner) for key, inner in value.items() if key != "cache_control"}
    return [_unmarked(inner) for inner in value] if isinstance(value, list) else value


def _names(asked: Asked) -> list[str]:
    """The names of the tools that may be called."""
    tools = asked.body.get("tools") or ()
    if asked.shape != "gemini":
        names = [name for tool in tools if (name := tool.get("name") or (tool.get("function") or {}).get("name"))]
        choice = asked.body.get("tool_choice")
        allowed = choice.get("allowed_tools", choice).get("tools") if isinstance(choice, dict) else None
        return names if allowed is None else [tool.get("name") or tool["function"]["name"] for tool in allowed]
    config = (asked.body.get("toolConfig") or {}).get("functionCallingConfig") or {}
    names = [each["name"] for tool in tools for each in tool.get("functionDeclarations") or () if config.get("mode") != "NONE"]
    return config.get("allowedFunctionNames") or names


def _results(asked: Asked) -> int:
    """How many tool results have come since the last time a person spoke."""
    if asked.shape == "gemini":
        return sum("functionResponse" in part for content in asked.body["contents"] for part in content["parts"])
    if asked.shape == "responses":
        items = asked.body.get("input")
        return sum(str(item.get("type", "")).endswith("call_output") for item in items) if isinstance(items, list) else 0
    count = 0
    for message in asked.body.get("messages") or ():
        content = message.get("content")
        count += message.get("role") == "tool"
        count += sum(block.get("type") == "tool_result" for block in content if isinstance(block, dict)) if isinstance(content, list) else 0
    return count
