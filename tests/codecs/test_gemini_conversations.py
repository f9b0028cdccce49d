"""Random conversations of tools, through gemini callers to upstreams of every other API, and from callers of every other API to gemini.

Each turn the upstream answers with thinking, texts and calls, in any order that it has; the caller keeps what it was given, as its SDK
does, answers all calls in any order, and asks again. What the upstream is then sent of its own turns must be what it said.
"""

from __future__ import annotations

import base64
import json
import random
from typing import Any

import pytest

from dragoman.codecs import machine, sse
from dragoman.codecs.capabilities import Capabilities
from dragoman.codecs.registry import SHAPES
from dragoman.codecs.reply import Reply

JSON = dict[str, Any]
Item = tuple[Any, ...]  # ("think", text, seal), ("text", text, seal) or ("call", id, name, args, seal)

CAN = {
    "gemini": Capabilities(reasoning_domain="U", g_signatures="required", g_thinking="level"),
    "messages": Capabilities(reasoning_domain="U"),
    "responses": Capabilities(reasoning_domain="U"),
    "chat": Capabilities(reasoning_domain="U", c_reasoning_in="reasoning_content"),
}
WORDS = ("Hi", "é😀 x", "a\nb", "\u2028", '{"x":1}', " ")
ARGUMENTS: tuple[JSON, ...] = ({}, {"x": 1}, {"a": {"b": [1, "é", None]}})
SCHEMA = {"type": "object", "properties": {"x": {"type": "integer"}}}


def signature(dice: random.Random) -> str:
    return base64.b64encode(str(dice.random()).encode()).decode()


def said(dice: random.Random, upstream: str, caller: str) -> list[Item]:
    """One answer. Chat has one run of thinking, one text and then the calls; gemini signs its first call, or a last text."""
    google = upstream == "gemini"
    kinds: list[str] = []
    if "chat" in (upstream, caller):
        kinds = ["think"] * dice.randrange(2) + ["text"] * dice.randrange(2) + ["call"] * dice.randrange(3)
    else:
        for kind in dice.choices(["think", "text", "call"], k=dice.randrange(1, 6)):
            if kind == "call" or kind != (kinds or [""])[-1]:
                kinds.append(kind)
    while kinds and kinds[-1] == "think":
        kinds.pop()
    found: list[Item] = []
    for kind in kinds or ["text"]:
        words = dice.choice(WORDS) + str(dice.random())
        if kind == "call":
            first = google and all(item[0] != "call" for item in found)
            seal = signature(dice) if first else ""
            found.append(("call", f"id{dice.randrange(10**9)}", dice.choice("fgh"), dice.choice(ARGUMENTS), seal))
        else:
            found.append((kind, words, f"S{dice.random()}" if kind == "think" and not google else ""))
    if google and found[-1][0] == "text" and all(item[0] != "call" for item in found):
        found[-1] = (*found[-1][:2], signature(dice))
    return found


def parts(items: list[Item]) -> list[JSON]:
    found: list[JSON] = []
    for kind, *item in items:
        part = {"functionCall": {"id": item[0], "name": item[1], "args": item[2]}} if kind == "call" else {"text": item[0]}
        found.append(part | ({"thoughtSignature": item[-1]} if item[-1] else {}) | ({"thought": True} if kind == "think" else {}))
    return found


def answer(upstream: str, items: list[Item]) -> JSON:
    """A complete answer as the upstream writes it."""
    called = any(item[0] == "call" for item in items)
    blocks: list[JSON] = []
    if upstream == "gemini":
        content = {"role": "model", "parts": parts(items)}
        return {"candidates": [{"content": content, "finishReason": "STOP", "index": 0}], "responseId": "r", "modelVersion": "m"}
    if upstream == "messages":
        for kind, *item in items:
            if kind == "think":
                blocks.append({"type": "thinking", "thinking": item[0], "signature": item[1]})
            elif kind == "text":
                blocks.append({"type": "text", "text": item[0]})
            else:
                blocks.append({"type": "tool_use", "id": item[0], "name": item[1], "input": item[2]})
        stop = {
            "stop_reason": "tool_use" if called else "end_turn",
            "stop_sequence": None,
            "usage": {"input_tokens": 1, "output_tokens": 1},
        }
        return {"id": "msg_1", "type": "message", "role": "assistant", "model": "m", "content": blocks} | stop
    if upstream == "responses":
        for number, (kind, *item) in enumerate(items):
            if kind == "think":
                summary = [{"type": "summary_text", "text": item[0]}]
                blocks.append({"type": "reasoning", "id": f"rs_{number}", "summary": summary, "encrypted_content": item[1]})
            elif kind == "text":
                content = [{"type": "output_text", "text": item[0], "annotations": []}]
                blocks.append({"type": "message", "id": f"msg_{number}", "role": "assistant", "status": "completed", "content": content})
            else:
                call = {"call_id": item[0], "name": item[1], "arguments": json.dumps(item[2])}
                blocks.append({"type": "function_call", "id": f"fc_{number}", "status": "completed"} | call)
        return {"id": "resp_1", "object": "response", "created_at": 1, "status": "completed", "model": "m", "output": blocks}
    message: JSON = {"role": "assistant", "content": None}
    for kind, *item in items:
        if kind == "think":
            message["reasoning_details"] = [{"type": "reasoning.encrypted", "data": item[1], "format": "x-v1", "index": 0}]
        elif kind == "text":
            message["content"] = item[0]
        else:
            function = {"name": item[1], "arguments": json.dumps(item[2])}
            message.setdefault("tool_calls", []).append({"id": item[0], "type": "function", "function": function})
    choice = {"index": 0, "message": message, "finish_reason": "tool_calls" if called else "stop"}
    return {"id": "c", "object": "chat.completion", "created": 1, "model": "m", "choices": [choice]}


def sent_again(upstream: str, body: JSON) -> list[Item]:
    """What a request to the upstream holds of its own turns, and the ids of the results between them."""
    found: list[Item] = []
    if upstream == "gemini":
        for part in [part for content in body["contents"] for part in content["parts"] if content["role"] == "model" or "text" not in part]:
            if "functionCall" in part:
                call = part["functionCall"]
                found.append(("call", call["id"], call["name"], call["args"], part.get("thoughtSignature", "")))
            elif "functionResponse" in part:
                found.append(("result", part["functionResponse"]["id"]))
            else:
                found.append(("text", part["text"], part.get("thoughtSignature", "")))
    elif upstream == "messages":
        for message in body["messages"]:
            content = message["content"]
            for block in content if isinstance(content, list) else [{"type": "text", "text": content}]:
                if block["type"] == "thinking":
                    found.append(("think", block["thinking"], block["signature"]))
                elif block["type"] == "tool_use":
                    found.append(("call", block["id"], block["name"], block["input"], ""))
                elif block["type"] == "tool_result":
                    found.append(("result", block["tool_use_id"]))
                elif message["role"] == "assistant":
                    found.append(("text", block["text"], ""))
    elif upstream == "responses":
        for item in body["input"]:
            if item["type"] == "reasoning":
                found.append(("think", item["summary"][0]["text"], item["encrypted_content"]))
            elif item["type"] == "function_call":
                found.append(("call", item["call_id"], item["name"], json.loads(item["arguments"]), ""))
            elif item["type"] == "function_call_output":
                found.append(("result", item["call_id"]))
            elif item["role"] == "assistant":
                found.append(("text", item["content"][0]["text"] if isinstance(item["content"], list) else item["content"], ""))
    else:
        for message in body["messages"]:
            if message["role"] == "tool":
                found.append(("result", message["tool_call_id"]))
            elif message["role"] == "assistant":
                found += [("think", entry["data"]) for entry in message.get("reasoning_details", ())]
                found += [("text", message["content"], "")] if message.get("content") else []
                calls = [(call["id"], call["function"]) for call in message.get("tool_calls", ())]
                found += [("call", id, function["name"], json.loads(function["arguments"]), "") for id, function in calls]
    return found


BEGINNINGS: dict[str, JSON] = {
    "chat": {
        "model": "m",
        "messages": [{"role": "user", "content": "go"}],
        "tools": [{"type": "function", "function": {"name": name, "parameters": SCHEMA}} for name in "fgh"],
    },
    "messages": {
        "model": "m",
        "max_tokens": 4000,
        "thinking": {"type": "adaptive"},
        "messages": [{"role": "user", "content": "go"}],
        "tools": [{"name": name, "input_schema": SCHEMA} for name in "fgh"],
    },
    "responses": {
        "model": "m",
        "store": False,
        "include": ["reasoning.encrypted_content"],
        "reasoning": {"summary": "auto"},
        "input": [{"role": "user", "content": "go"}],
        "tools": [{"type": "function", "name": name, "parameters": SCHEMA} for name in "fgh"],
    },
    "gemini": {
        "contents": [{"role": "user", "parts": [{"text": "go"}]}],
        "generationConfig": {"thinkingConfig": {"includeThoughts": True}},
        "tools": [{"functionDeclarations": [{"name": name, "parametersJsonSchema": SCHEMA} for name in "fgh"]}],
    },
}


def go_on(caller: str, body: JSON, told: Any, calls: list[Item]) -> None:
    """Add the answer to the caller's conversation, and the results of its calls or a user's turn. told: a gemini caller's contents."""
    ids = [(call[1], call[2]) for call in calls]
    if caller == "chat":
        results: list[JSON] = [{"role": "tool", "tool_call_id": id, "content": "ok"} for id, _ in ids]
        body["messages"] += [told["choices"][0]["message"], *(results or [{"role": "user", "content": "next"}])]
    elif caller == "messages":
        results = [{"type": "tool_result", "tool_use_id": id, "content": "ok"} for id, _ in ids]
        body["messages"] += [{"role": "assistant", "content": told["content"]}, {"role": "user", "content": results or "next"}]
    elif caller == "responses":
        results = [{"type": "function_call_output", "call_id": id, "output": "ok"} for id, _ in ids]
        body["input"] += [*told["output"], *(results or [{"role": "user", "content": "next"}])]
    else:
        results = [{"functionResponse": {"id": id, "name": name, "response": {"output": "ok"}}} for id, name in ids]
        body["contents"] += [*told, {"role": "user", "parts": results or [{"text": "next"}]}]


def decoded(dice: random.Random, upstream: str, items: list[Item], reply: Reply, stream: bool) -> list[Any]:
    """The hub's events of an answer; of gemini's stream a chunk a part, cut into reads anywhere."""
    whole = answer(upstream, items)
    if not (stream and upstream == "gemini"):
        return SHAPES[upstream].decode_response(whole, reply)
    chunks = [{"candidates": [{"content": {"role": "model", "parts": [part]}, "index": 0}], "responseId": "r"} for part in parts(items)]
    chunks.append({"candidates": [{"finishReason": "STOP", "index": 0}]})
    data = b"".join(b"data: %b\r\n\r\n" % json.dumps(one, ensure_ascii=False).encode() for one in chunks)
    decoder, splitter, events = SHAPES[upstream].Decoder(reply), sse.Splitter(), []
    while data:
        size = dice.choice([1, 2, 3, 50, 400])
        for frame in splitter.feed(data[:size]):
            events += decoder.feed(frame)
        data = data[size:]
    return events + decoder.finish(True)


PAIRS = [pair for other in ("chat", "messages", "responses") for pair in ((other, "gemini"), ("gemini", other))]


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize(("upstream", "caller"), PAIRS, ids=[f"{upstream}-{caller}" for upstream, caller in PAIRS])
def test_an_upstream_is_sent_what_it_said(upstream: str, caller: str, stream: bool) -> None:
    for seed in range(15):
        dice = random.Random(seed)
        body = json.loads(json.dumps(BEGINNINGS[caller]))
        expected: list[Item] = []
        for _ in range(3):
            items = said(dice, upstream, caller)
            request = SHAPES[caller].decode_request(json.loads(json.dumps(body)))
            reply = Reply(request, domain="U", upstream=upstream, nonce=f"{seed:032x}")
            events = decoded(dice, upstream, items, reply, stream)
            machine.check(events)
            collector, encoder = SHAPES[caller].Collector(reply), SHAPES[caller].Encoder(reply)
            if caller == "gemini" and stream:  # an SDK keeps each chunk as a content
                chunks = [json.loads(data) for event in events for _, data in encoder.feed([event])]
                told: Any = [one["candidates"][0]["content"] for one in chunks]
            else:
                collector.feed(events)
                assert collector.error is None
                told = json.loads(json.dumps(collector.body()))
                told = [told["candidates"][0]["content"]] if caller == "gemini" else told
            calls = [item for item in items if item[0] == "call"]
            answered = dice.sample(calls, len(calls))
            go_on(caller, body, told, answered)
            kept = [item for item in items if not (upstream == "gemini" and item[0] == "think")]
            expected += [(item[0], item[2]) if upstream == "chat" and item[0] == "think" else item for item in kept]
            expected += [("result", call[1]) for call in (calls if upstream == "gemini" else answered)]
            again = SHAPES[caller].decode_request(json.loads(json.dumps(body)))
            found = sent_again(upstream, SHAPES[upstream].encode_request(again, CAN[upstream], "m").body)
            assert found == expected, f"seed {seed}"
