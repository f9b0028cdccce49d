"""A chat client's request in the hub's words: every field by table, what is refused and where, and whole requests on their way up."""

from __future__ import annotations

import contextlib
import copy
import hashlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dragoman.codecs import chat, errors, messages, responses
from dragoman.codecs.capabilities import Capabilities
from dragoman.codecs.reply import Encoded
from dragoman.codecs.request import (
    Cache,
    CallPart,
    DocumentPart,
    ForeignPart,
    ImagePart,
    OutputFormat,
    Part,
    ReasoningPart,
    RefusalPart,
    Request,
    ResultPart,
    TextPart,
    Thinking,
    Tool,
    ToolChoice,
    Turn,
)

from . import worked
from .items import dropped

PNG = "iVBORw0KGgo="
PDF = "JVBERi0="


def decode(**fields: Any) -> Request:
    body = {"model": "m", "messages": [{"role": "user", "content": "q"}]} | fields
    before = copy.deepcopy(body)
    request = chat.decode_request(body)
    assert body == before
    assert request.body is body
    return request


def turn(**message: Any) -> tuple[Turn, list[str]]:
    request = decode(messages=[message])
    return request.turns[0], dropped(request)


def turns(*history: dict[str, Any]) -> list[Turn]:
    return decode(messages=list(history)).turns


AT = ("messages", 0, "content", 0)


# ---- content ----


@pytest.mark.parametrize(
    ("content", "part", "lost"),
    [
        ({"type": "text", "text": "a"}, TextPart("a", AT), []),
        ({"type": "text", "text": "a", "mood": "b", "none": None}, TextPart("a", AT), ["messages[*].content[*].mood"]),
        ({"type": "text", "text": "a", "prompt_cache_breakpoint": {"mode": "explicit"}}, TextPart("a", AT, Cache()), []),
        ({"type": "text", "text": "a", "prompt_cache_breakpoint": {"ttl": "12h"}}, TextPart("a", AT, Cache(True)), []),
        ({"type": "text", "text": "a", "cache_control": {"type": "ephemeral"}}, TextPart("a", AT, Cache()), []),
        ({"type": "text", "text": "a", "cache_control": {"type": "ephemeral", "ttl": "1h"}}, TextPart("a", AT, Cache(True)), []),
        ({"type": "image_url", "image_url": {"url": "https://h/i"}}, ImagePart(AT, url="https://h/i"), []),
        ({"type": "image_url", "image_url": "https://h/i"}, ImagePart(AT, url="https://h/i"), []),
        (
            {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PNG}", "detail": "low"}},
            ImagePart(AT, media_type="image/png", data=PNG, detail="low"),
            [],
        ),
        (
            {"type": "image_url", "image_url": {"url": f"data:;base64,{PNG}", "x": 1}},
            ImagePart(AT, media_type="image/png", data=PNG),
            ["messages[*].content[*].image_url.x"],
        ),
        (
            {"type": "file", "file": {"filename": "a.pdf", "file_data": f"data:application/pdf;base64,{PDF}"}},
            DocumentPart(AT, "application/pdf", PDF, title="a.pdf"),
            [],
        ),
        ({"type": "file", "file": {"file_data": PDF}}, DocumentPart(AT, "application/pdf", PDF), []),
        (
            {"type": "file", "file": {"file_data": "data:text/plain,a%20b"}, "prompt_cache_breakpoint": {}},
            DocumentPart(AT, "text/plain", "YSBi", cache=Cache()),
            [],
        ),
        # other providers' words: OpenRouter's, Mistral's, Perplexity's, vLLM's
        ({"type": "file", "file": {"file_data": "https://h/a.pdf"}}, DocumentPart(AT, url="https://h/a.pdf"), []),
        (
            {"type": "document_url", "document_url": "https://h/a", "document_name": "a"},
            DocumentPart(AT, url="https://h/a", title="a"),
            [],
        ),
        (
            {"type": "document_url", "document_url": {"url": f"data:application/pdf;base64,{PDF}", "x": 1}},
            DocumentPart(AT, "application/pdf", PDF),
            ["messages[*].content[*].document_url.x"],
        ),
        ({"type": "file_url", "file_url": {"url": PDF}}, DocumentPart(AT, "application/pdf", PDF), []),
        ({"type": "video_url", "video_url": {"url": "https://h/a.webm"}}, DocumentPart(AT, "video/mp4", url="https://h/a.webm"), []),
        ({"type": "video_url", "video_url": {"url": "data:video/webm;base64,GkXf"}}, DocumentPart(AT, "video/webm", "GkXf"), []),
    ],
)
def test_what_a_user_says(content: dict[str, Any], part: Part, lost: list[str]) -> None:
    said, reported = turn(role="user", content=[content])
    assert (said.parts, reported) == ([part], lost)


@pytest.mark.parametrize("role", ["system", "developer", "user"])
@pytest.mark.parametrize("name", [None, "ann"])
def test_a_string_is_one_text(role: str, name: str | None) -> None:
    said, lost = turn(role=role, content="a", name=name)
    assert said == Turn(role, [TextPart("a", ("messages", 0, "content"))], ("messages", 0), plain=True)
    assert lost == (["messages[*].name"] if name else [])


def test_a_breakpoint_beside_the_content_is_the_last_parts() -> None:
    said, lost = turn(role="system", content="a", cache_control={"type": "ephemeral"})
    assert said.parts == [TextPart("a", ("messages", 0, "content"), Cache())]
    assert lost == []


INSIDE = ("messages", 0, "tool_calls", 0)


@pytest.mark.parametrize(
    ("message", "parts", "lost"),
    [
        ({"content": "a", "refusal": None, "annotations": [], "audio": None, "parsed": {"a": 1}}, [TextPart("a", AT[:3])], []),
        ({"content": "a", "annotations": [{"type": "url_citation"}]}, [TextPart("a", AT[:3])], ["messages[*].annotations"]),
        (
            {"content": [{"type": "text", "text": "a"}, {"type": "refusal", "refusal": "No."}]},
            [TextPart("a", AT), RefusalPart("No.", (*AT[:3], 1))],
            [],
        ),
        ({"content": [{"type": "thinking", "thinking": []}]}, [ForeignPart("thinking", AT)], []),
        ({"content": None, "refusal": "No."}, [RefusalPart("No.", ("messages", 0, "refusal"))], []),
        ({"tool_calls": []}, [], []),
        ({"content": None, "tool_calls": None, "function_call": None}, [], []),
        (
            {"content": "", "tool_calls": [{"index": 0, "id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}]},
            [TextPart("", AT[:3]), CallPart("c", "f", "{}", INSIDE)],
            [],
        ),
        ({"tool_calls": [{"id": "c", "function": {"name": "f", "arguments": {"a": "é"}}}]}, [CallPart("c", "f", '{"a":"é"}', INSIDE)], []),
        ({"tool_calls": [{"id": "c", "function": {"name": "f"}}]}, [CallPart("c", "f", "", INSIDE)], []),
        (
            {"tool_calls": [{"id": "c", "type": "custom", "custom": {"name": "f", "input": "ls", "x": 1}}]},
            [CallPart("c", "f", "ls", INSIDE, "custom")],
            ["messages[*].tool_calls[*].custom.x"],
        ),
        ({"tool_calls": [{"id": "c", "custom": {"name": "f"}}]}, [CallPart("c", "f", "", INSIDE, "custom")], []),
    ],
)
def test_what_the_model_said(message: dict[str, Any], parts: list[Part], lost: list[str]) -> None:
    said, reported = turn(role="assistant", **message)
    assert (said.parts, reported) == (parts, lost)


@pytest.mark.parametrize(
    ("message", "result"),
    [
        ({"content": "r"}, "r"),
        ({"content": None}, ""),
        ({}, ""),
        ({"content": [{"type": "text", "text": "r"}], "name": "f"}, [TextPart("r", AT)]),
    ],
)
def test_what_a_tool_said(message: dict[str, Any], result: Any) -> None:
    said, lost = turn(role="tool", tool_call_id="c", **message)
    assert said == Turn("tool", [ResultPart("c", result, ("messages", 0), name=message.get("name", ""))], ("messages", 0))
    assert lost == []


def test_functions_of_old_get_ids() -> None:
    def minted(i: int, name: str) -> str:
        return "call_" + hashlib.sha256(f"{i}:{name}".encode()).hexdigest()[:24]

    def call(name: str) -> dict[str, Any]:
        return {"role": "assistant", "content": None, "function_call": {"name": name, "arguments": "{}"}}

    found = turns(
        call("f"),
        call("g"),
        {"role": "function", "name": "f", "content": "1"},
        {"role": "function", "name": "g", "content": "2"},
        {"role": "function", "name": "g", "content": "3"},
    )
    ids = [minted(0, "f"), minted(1, "g"), minted(0, "f"), minted(1, "g"), minted(4, "g")]
    assert [part.id for each in found for part in each.parts if isinstance(part, CallPart | ResultPart)] == ids
    assert [part.content for each in found for part in each.parts if isinstance(part, ResultPart)] == ["1", "2", "3"]


# ---- reasoning ----


def thinking(text: str, signature: str = "SIG", **more: Any) -> dict[str, Any]:
    return {"type": "reasoning.text", "text": text, "signature": signature, "format": "anthropic-claude-v1"} | more


def signed(text: str, signature: str = "SIG") -> dict[str, Any]:
    return {"type": "thinking", "thinking": text, "signature": signature}


REDACTED = {"type": "reasoning.encrypted", "data": "RED", "format": "anthropic-claude-v1"}
DETAILS = ("messages", 0, "reasoning_details")
BLOCKS = ("messages", 0, "thinking_blocks")
ITEM = {"id": "rs_1", "format": "openai-responses-v1"}


@pytest.mark.parametrize(
    ("message", "parts"),
    [
        ({"reasoning_content": "plan"}, [ReasoningPart(("messages", 0, "reasoning_content"), "foreign", "plan")]),
        ({"reasoning": "plan", "reasoning_content": ""}, [ReasoningPart(("messages", 0, "reasoning"), "foreign", "plan")]),
        ({"reasoning_content": None, "reasoning": {"odd": 1}, "reasoning_details": [], "thinking_blocks": []}, []),
        (
            {"reasoning_content": "plan", "reasoning_details": [thinking("plan"), REDACTED]},
            [
                ReasoningPart(DETAILS, "anthropic", "plan", [signed("plan")]),
                ReasoningPart(DETAILS, "anthropic", blocks=[{"type": "redacted_thinking", "data": "RED"}]),
            ],
        ),
        ({"reasoning_details": [thinking("", format=None)]}, [ReasoningPart(DETAILS, "anthropic", "", [signed("")])]),
        (
            {
                "reasoning": "one",
                "reasoning_details": [
                    {"type": "reasoning.summary", "summary": "one"} | ITEM,
                    {"type": "reasoning.summary", "summary": "two"} | ITEM,
                    {"type": "reasoning.encrypted", "data": "E1"} | ITEM,
                    {"type": "reasoning.encrypted", "data": "E2"} | ITEM | {"id": "rs_2"},
                ],
            },
            [
                ReasoningPart(DETAILS, "openai", "one\n\ntwo", id="rs_1", encrypted="E1", summary=["one", "two"]),
                ReasoningPart(DETAILS, "openai", "", id="rs_2", encrypted="E2"),
            ],
        ),
        (  # nothing that a provider could read
            {"reasoning_content": "plan", "reasoning_details": [{"type": "reasoning.text", "text": "plan"}]},
            [ReasoningPart(DETAILS, "foreign", "plan"), ReasoningPart(("messages", 0, "reasoning_content"), "foreign", "plan")],
        ),
        (
            {"reasoning_details": [{"type": "reasoning.summary", "summary": "one"} | ITEM]},
            [ReasoningPart(DETAILS, "foreign", "one", id="rs_1", summary=["one"])],
        ),
        ({"reasoning_details": ["junk"]}, [ReasoningPart(DETAILS, "foreign")]),
        (
            {"reasoning_content": "plan", "thinking_blocks": [signed("plan"), {"type": "redacted_thinking", "data": "RED"}]},
            [
                ReasoningPart(BLOCKS, "anthropic", "plan", [signed("plan")]),
                ReasoningPart(BLOCKS, "anthropic", blocks=[{"type": "redacted_thinking", "data": "RED"}]),
            ],
        ),
        (
            {"thinking_blocks": [signed("plan"), signed("x", "")], "reasoning_details": [thinking("plan")]},
            [ReasoningPart(DETAILS, "anthropic", "plan", [signed("plan")])],
        ),
        ({"thinking_blocks": [signed("x", "")]}, [ReasoningPart(BLOCKS, "foreign", "x")]),
    ],
)
def test_reasoning_of_earlier_turns(message: dict[str, Any], parts: list[Part]) -> None:
    said, lost = turn(role="assistant", content=None, **message)
    assert (said.parts, lost) == (parts, [])


def kinds(layout: Any, content: Any = "ab\n\ncd", thoughts: int = 2, calls: int = 2) -> list[str]:
    details = [thinking(str(i)) for i in range(thoughts)]
    if details:
        details[0]["dragoman_layout"] = layout
    tools = [{"id": f"c{i}", "type": "function", "function": {"name": "f", "arguments": ""}} for i in range(calls)]
    said, _ = turn(role="assistant", content=content, reasoning_details=details, tool_calls=tools)
    names = {ReasoningPart: "r", CallPart: "u", TextPart: "t"}
    text = {ReasoningPart: "text", CallPart: "id", TextPart: "text"}
    return [names[type(part)] + str(getattr(part, text[type(part)])) for part in said.parts]


DEFAULT = ["r0", "r1", "tab\n\ncd", "uc0", "uc1"]


@pytest.mark.parametrize(
    ("layout", "found"),
    [
        ("d", DEFAULT),
        ("r0,t2,r1,t2,u0,u1", ["r0", "tab", "r1", "tcd", "uc0", "uc1"]),
        ("t2,u0,r0,t2,r1,u1", ["tab", "uc0", "r0", "tcd", "r1", "uc1"]),
        ("r0,t2,t4,u0,r1,u1", ["r0", "tab", "t\n\ncd", "uc0", "r1", "uc1"]),
        ("u0,t6,r0,r1,u1", ["uc0", "tab\n\ncd", "r0", "r1", "uc1"]),
        ("r1,r0,t6,u1,u0", ["r1", "r0", "tab\n\ncd", "uc1", "uc0"]),
        # not of this message
        ("r0,t2,r1,t3,u0,u1", DEFAULT),
        ("r0,t2,r1,u0,u1", DEFAULT),
        ("r0,t1,r1,t3,u0,u1", DEFAULT),
        ("r0,t6,u0,u1", DEFAULT),
        ("r0,r1,t6,u0", DEFAULT),
        ("r0,r0,r1,t6,u0,u1", DEFAULT),
        ("r0,r1,t6,u0,u1,u2", DEFAULT),
        ("r0,r1,t7,u0,u1", DEFAULT),
        ("r0,x1", DEFAULT),
        ("r0," * 5000, DEFAULT),
        ("t99999999999999999999", DEFAULT),
        (7, DEFAULT),
        (None, DEFAULT),
    ],
)
def test_the_order_of_parts(layout: Any, found: list[str]) -> None:
    assert kinds(layout) == found


def test_the_order_of_parts_without_text_or_in_other_scripts() -> None:
    assert kinds("r0,u0,r1,u1", content=None) == ["r0", "uc0", "r1", "uc1"]
    assert kinds("r0,t2,r1,t1,u0,u1", content="é😀\n\n界") == ["r0", "té😀", "r1", "t界", "uc0", "uc1"]
    assert kinds("r0,t1,u0,r1,u1", content=[{"type": "text", "text": "a"}]) == ["r0", "ta", "uc0", "r1", "uc1"]
    assert kinds("r0,t2,u0,r1,u1", content=[{"type": "text", "text": "a"}] * 2) == ["r0", "r1", "ta", "ta", "uc0", "uc1"]


def test_entries_of_one_item_stand_together_in_the_order() -> None:
    details = [{"type": "reasoning.summary", "summary": "s"} | ITEM, {"type": "reasoning.encrypted", "data": "E"} | ITEM]
    details[0]["dragoman_layout"] = "t1,r0,r1"
    said, _ = turn(role="assistant", content="a", reasoning_details=details)
    assert [type(part) for part in said.parts] == [TextPart, ReasoningPart]


# ---- tools ----


FN = {"type": "function", "function": {"name": "f"}}


@pytest.mark.parametrize(
    ("tool", "found", "lost"),
    [
        (FN, Tool("function", "f", ("tools", 0), inside=("function",)), []),
        ({"function": {"name": "f", "parameters": None, "strict": None}}, Tool("function", "f", ("tools", 0), inside=("function",)), []),
        (
            {"type": "function", "function": {"name": "f", "description": "d", "parameters": {"a": 1}, "strict": True}},
            Tool("function", "f", ("tools", 0), "d", {"a": 1}, True, inside=("function",)),
            [],
        ),
        (
            FN | {"cache_control": {"type": "ephemeral"}, "x": 1},
            Tool("function", "f", ("tools", 0), cache=Cache(), inside=("function",)),
            ["tools[*].x"],
        ),
        (
            {"type": "custom", "custom": {"name": "f", "format": {"type": "text"}}},
            Tool("custom", "f", ("tools", 0), inside=("custom",)),
            [],
        ),
        (
            {
                "type": "custom",
                "custom": {"name": "f", "format": {"type": "grammar", "grammar": {"syntax": "lark", "definition": "start: /a/"}}},
            },
            Tool("custom", "f", ("tools", 0), grammar={"syntax": "lark", "definition": "start: /a/"}, inside=("custom",)),
            [],
        ),
        ({"type": "browser_search"}, Tool("hosted", "", ("tools", 0), label="browser_search"), []),
    ],
)
def test_tools(tool: dict[str, Any], found: Tool, lost: list[str]) -> None:
    request = decode(tools=[tool])
    assert (request.tools, dropped(request)) == ([found], lost)
    assert not request.legacy_functions


def test_functions() -> None:
    request = decode(functions=[{"name": "f", "parameters": {"a": 1}}], function_call={"name": "f"})
    assert request.tools == [Tool("function", "f", ("functions", 0), schema={"a": 1})]
    assert request.settings["tool_choice"] == (ToolChoice("tool", ("function_call",), "f"), ("function_call",))
    assert request.legacy_functions
    assert not decode(functions=[{"name": "f"}], tools=[FN]).legacy_functions
    assert not decode(functions=[]).legacy_functions


CHOICE = ("tool_choice",)


@pytest.mark.parametrize(
    ("choice", "found"),
    [
        ("none", ToolChoice("none", CHOICE)),
        ("auto", ToolChoice("auto", CHOICE)),
        ("required", ToolChoice("required", CHOICE)),
        ("any", ToolChoice("required", CHOICE)),
        ({"type": "auto"}, ToolChoice("auto", CHOICE)),
        (FN, ToolChoice("tool", CHOICE, "f")),
        ({"type": "custom", "custom": {"name": "f"}}, ToolChoice("tool", CHOICE, "f", "custom")),
        ({"type": "web_search"}, ToolChoice("tool", CHOICE, "web_search", "hosted")),
        (
            {"type": "allowed_tools", "allowed_tools": {"mode": "required", "tools": [FN, {"type": "custom", "custom": {"name": "g"}}]}},
            ToolChoice("allowed", CHOICE, names=("f", "g"), required=True),
        ),
        (
            {"type": "allowed_tools", "allowed_tools": {"mode": "auto", "tools": [FN]}},
            ToolChoice("allowed", CHOICE, names=("f",)),
        ),
    ],
)
def test_tool_choice(choice: Any, found: ToolChoice) -> None:
    assert decode(tool_choice=choice, function_call="none").settings["tool_choice"].value == found


def test_function_call_words() -> None:
    assert decode(function_call="none").settings["tool_choice"].value == ToolChoice("none", ("function_call",))


# ---- settings ----


@pytest.mark.parametrize(
    ("fields", "name", "value", "path"),
    [
        ({"max_tokens": 5}, "max_tokens", 5, ("max_tokens",)),
        ({"max_tokens": 5.0}, "max_tokens", 5, ("max_tokens",)),
        ({"max_tokens": 5, "max_completion_tokens": 6}, "max_tokens", 6, ("max_completion_tokens",)),
        ({"temperature": 1.7}, "temperature", 1.7, ("temperature",)),
        ({"temperature": 0}, "temperature", 0, ("temperature",)),
        ({"top_p": 0.5}, "top_p", 0.5, ("top_p",)),
        ({"top_k": 5}, "top_k", 5, ("top_k",)),
        ({"stop": "x"}, "stop", ["x"], ("stop",)),
        ({"stop": ["x", "y"]}, "stop", ["x", "y"], ("stop",)),
        ({"seed": 7}, "seed", 7, ("seed",)),
        ({"logit_bias": {"1": 2}}, "logit_bias", {"1": 2}, ("logit_bias",)),
        ({"presence_penalty": -1}, "presence_penalty", -1, ("presence_penalty",)),
        ({"logprobs": True}, "logprobs", True, ("logprobs",)),
        ({"top_logprobs": 3}, "top_logprobs", 3, ("top_logprobs",)),
        ({"user": "u"}, "safety_identifier", "u", ("user",)),
        ({"user": "u", "safety_identifier": "s"}, "safety_identifier", "s", ("safety_identifier",)),
        ({"metadata": {"a": "b"}}, "metadata", {"a": "b"}, ("metadata",)),
        ({"store": True}, "store", True, ("store",)),
        ({"service_tier": "flex"}, "service_tier", "flex", ("service_tier",)),
        ({"verbosity": "low"}, "verbosity", "low", ("verbosity",)),
        ({"prompt_cache_key": "k"}, "prompt_cache_key", "k", ("prompt_cache_key",)),
        ({"prompt_cache_options": {"mode": "implicit"}}, "prompt_cache_options", {"mode": "implicit"}, ("prompt_cache_options",)),
        ({"prompt_cache_retention": "24h"}, "prompt_cache_retention", "24h", ("prompt_cache_retention",)),
        ({"parallel_tool_calls": False}, "parallel_tool_calls", False, ("parallel_tool_calls",)),
        ({"moderation": {"a": 1}}, "moderation", {"a": 1}, ("moderation",)),
        ({"prediction": {"a": 1}}, "prediction", {"a": 1}, ("prediction",)),
        ({"web_search_options": {}}, "web_search_options", {}, ("web_search_options",)),
        ({"stream_options": {"include_obfuscation": False}}, "include_obfuscation", False, ("stream_options", "include_obfuscation")),
        ({"response_format": {"type": "json_object"}}, "output", OutputFormat("json_object", ("response_format",)), ("response_format",)),
        (
            {"response_format": {"type": "json_schema", "json_schema": {"name": "n", "schema": {}, "strict": True, "description": "d"}}},
            "output",
            OutputFormat("json_schema", ("response_format",), "n", {}, True, "d"),
            ("response_format",),
        ),
    ],
)
def test_settings(fields: dict[str, Any], name: str, value: Any, path: tuple[str, ...]) -> None:
    request = decode(**fields)
    assert request.settings == {name: (value, path)}
    assert dropped(request) == []


@pytest.mark.parametrize(
    ("fields", "found"),
    [
        ({"reasoning_effort": "high"}, Thinking(("reasoning_effort",), "effort", "high")),
        ({"reasoning_effort": "none"}, Thinking(("reasoning_effort",), "off")),
        ({"reasoning": {"effort": "low", "max_tokens": 9}}, Thinking(("reasoning", "effort"), "effort", "low")),
        ({"reasoning": {"effort": "none"}}, Thinking(("reasoning", "effort"), "off")),
        ({"reasoning": {"max_tokens": 2000, "exclude": False}}, Thinking(("reasoning", "max_tokens"), "budget", budget=2000)),
        ({"reasoning": {"enabled": True}}, Thinking(("reasoning", "enabled"), "adaptive")),
        ({"reasoning": {"enabled": False}}, Thinking(("reasoning", "enabled"), "off")),
    ],
)
def test_how_much_to_think(fields: dict[str, Any], found: Thinking) -> None:
    request = decode(**fields)
    assert request.settings == {"thinking": (found, found.path)}
    assert dropped(request) == []


def test_defaults_are_absence() -> None:
    defaults = {
        "max_tokens": None, "temperature": 1, "top_p": 1.0, "presence_penalty": 0, "frequency_penalty": 0.0, "n": 1, "stop": None,
        "logit_bias": {}, "logprobs": False, "store": False, "service_tier": "auto", "verbosity": "medium", "modalities": ["text"],
        "parallel_tool_calls": True, "metadata": {}, "response_format": {"type": "text"}, "stream": False, "tools": [], "user": "",
        "audio": None, "reasoning": None, "reasoning_effort": None, "moderation": None, "prediction": None, "stream_options": None,
        "unknown": None,
    }  # fmt: skip
    request = decode(**defaults)
    assert request.settings == {}
    assert dropped(request) == []
    assert not request.stream


def test_what_is_asked_of_the_answer() -> None:
    request = decode(stream=True, stream_options={"include_usage": True}, logprobs=True)
    assert (request.stream, request.include_usage, request.include_logprobs) == (True, True, True)


@pytest.mark.parametrize(
    ("fields", "lost"),
    [
        ({"thinking": {"type": "enabled", "other": 1}, "include_reasoning": True}, ["thinking.other", "include_reasoning"]),
        ({"chat_template_kwargs": {"a": 1}, "extra": 0, "nothing": None}, ["chat_template_kwargs", "extra"]),
        ({"reasoning_effort": "low", "reasoning": {"effort": "high"}}, ["reasoning"]),
        ({"reasoning": {"exclude": True}}, ["reasoning.exclude"]),
        ({"response_format": {"type": "grammar", "grammar": "x"}}, ["response_format"]),
        ({"stream_options": {"other": 1}}, ["stream_options.other"]),
    ],
)
def test_what_no_other_shape_knows(fields: dict[str, Any], lost: list[str]) -> None:
    assert dropped(decode(**fields)) == lost


# ---- refusals ----


def said(**message: Any) -> dict[str, Any]:
    return {"messages": [message]}


def part(**content: Any) -> dict[str, Any]:
    return said(role="user", content=[content])


@pytest.mark.parametrize(
    ("fields", "code", "param"),
    [
        ({"messages": None}, "missing_required_parameter", "messages"),
        ({"messages": {}}, "invalid_type", "messages"),
        ({"messages": ["x"]}, "invalid_type", "messages[0]"),
        (said(content="a"), "missing_required_parameter", "messages[0].role"),
        (said(role="bot", content="a"), "invalid_type", "messages[0].role"),
        (said(role="user"), "missing_required_parameter", "messages[0].content"),
        (said(role="user", content=7), "invalid_type", "messages[0].content"),
        (said(role="user", content=["x"]), "invalid_type", "messages[0].content[0]"),
        (part(text="a"), "missing_required_parameter", "messages[0].content[0].type"),
        (part(type="text"), "missing_required_parameter", "messages[0].content[0].text"),
        (part(type="text", text=7), "invalid_type", "messages[0].content[0].text"),
        (part(type="input_audio", input_audio={}), "missing_required_parameter", "messages[0].content[0].input_audio.format"),
        (part(type="audio_url", audio_url={}), "unsupported_content", "messages[0].content[0]"),
        (part(type="video_url"), "missing_required_parameter", "messages[0].content[0].video_url"),
        (part(type="video_url", video_url={}), "missing_required_parameter", "messages[0].content[0].video_url.url"),
        (part(type="document_url", document_url="a"), "invalid_value", "messages[0].content[0].document_url.url"),
        (part(type="refusal", refusal="x"), "unsupported_content", "messages[0].content[0]"),
        (part(type="image_url"), "missing_required_parameter", "messages[0].content[0].image_url"),
        (part(type="image_url", image_url={}), "missing_required_parameter", "messages[0].content[0].image_url.url"),
        (part(type="image_url", image_url={"url": "data:image/png;base64,!"}), "invalid_value", "messages[0].content[0].image_url.url"),
        (part(type="file"), "missing_required_parameter", "messages[0].content[0].file"),
        (part(type="file", file={}), "missing_required_parameter", "messages[0].content[0].file.file_data"),
        (part(type="file", file={"file_id": "x"}), "unsupported_content", "messages[0].content[0]"),
        (part(type="file", file={"file_data": "aGVsbG8="}), "unsupported_content", "messages[0].content[0].file.file_data"),
        (said(role="tool", content="a"), "missing_required_parameter", "messages[0].tool_call_id"),
        (said(role="function", content="a"), "missing_required_parameter", "messages[0].name"),
        (said(role="assistant", audio={"id": "a"}), "unsupported_content", "messages[0].audio"),
        (said(role="assistant", tool_calls=[{}]), "missing_required_parameter", "messages[0].tool_calls[0].id"),
        (said(role="assistant", tool_calls=[{"id": "c"}]), "missing_required_parameter", "messages[0].tool_calls[0].function"),
        (said(role="assistant", tool_calls=[{"id": "c", "type": "x"}]), "invalid_type", "messages[0].tool_calls[0].type"),
        (
            said(role="assistant", tool_calls=[{"id": "c", "function": {"name": "f", "arguments": 7}}]),
            "invalid_type",
            "messages[0].tool_calls[0].function.arguments",
        ),
        ({"n": 2}, "unsupported_parameter", "n"),
        ({"n": 0}, "invalid_value", "n"),
        ({"modalities": ["text", "audio"]}, "unsupported_parameter", "modalities"),
        ({"audio": {"voice": "x"}}, "unsupported_parameter", "audio"),
        ({"max_tokens": 0}, "invalid_value", "max_tokens"),
        ({"max_completion_tokens": -1}, "invalid_value", "max_completion_tokens"),
        ({"max_tokens": "9"}, "invalid_type", "max_tokens"),
        ({"temperature": "hot"}, "invalid_type", "temperature"),
        ({"temperature": True}, "invalid_type", "temperature"),
        ({"stop": 7}, "invalid_type", "stop"),
        ({"stop": ["a", 7]}, "invalid_type", "stop[1]"),
        ({"stream": 1}, "invalid_type", "stream"),
        ({"tools": {}}, "invalid_type", "tools"),
        ({"tools": [{"type": "function"}]}, "missing_required_parameter", "tools[0].function"),
        ({"tools": [{"type": "function", "function": {}}]}, "missing_required_parameter", "tools[0].function.name"),
        ({"tools": [{"type": "function", "function": {"name": "f", "parameters": []}}]}, "invalid_type", "tools[0].function.parameters"),
        ({"tools": [{"type": "custom", "custom": {"name": "f", "format": {"type": "x"}}}]}, "invalid_value", "tools[0].custom.format.type"),
        ({"functions": [{}]}, "missing_required_parameter", "functions[0].name"),
        ({"tool_choice": "f"}, "invalid_value", "tool_choice"),
        ({"tool_choice": 7}, "invalid_type", "tool_choice"),
        ({"tool_choice": {"type": "function"}}, "missing_required_parameter", "tool_choice.function"),
        ({"tool_choice": {"type": "allowed_tools", "allowed_tools": {"mode": "x"}}}, "invalid_value", "tool_choice.allowed_tools.mode"),
        ({"function_call": {}}, "missing_required_parameter", "function_call.name"),
        ({"response_format": {"type": "json_schema"}}, "missing_required_parameter", "response_format.json_schema"),
        ({"reasoning": {"max_tokens": "x"}}, "invalid_type", "reasoning.max_tokens"),
        ({"user": 7}, "invalid_type", "user"),
    ],
)
def test_refusals(fields: dict[str, Any], code: str, param: str) -> None:
    body = {"model": "m", "messages": [{"role": "user", "content": "q"}]} | fields
    with pytest.raises(errors.ClientFault) as caught:
        chat.decode_request(body)
    assert (caught.value.code, caught.value.param) == (code, param)
    assert caught.value.http_status("chat") == 400


# ---- whole requests on their way up ----


def carried(request: Request, codec: Any, **flags: Any) -> Encoded:
    encoded: Encoded = codec.encode_request(request, Capabilities(**flags), "up")
    return encoded


def test_a_request_as_a_messages_upstream_reads_it() -> None:
    body = copy.deepcopy(worked.CHAT_CLIENT)
    request = chat.decode_request(body)
    encoded = messages.encode_request(request, Capabilities(m_max_output=64_000), "claude-x")
    assert encoded.body == worked.CHAT_AS_MESSAGES
    assert request.ledger.header(request.ledger.dropped, body) == "stop,seed"
    assert request.ledger.header(request.ledger.adapted, body) == "messages[*],reasoning_effort,temperature=1"


def test_what_clients_replay_is_carried_without_loss() -> None:
    """What the agents and SDKs of the trade send: content as part lists in every role, indexes, tool names, parsed content."""
    call = {"index": 0, "id": "c", "type": "function", "function": {"name": "f", "arguments": '{"a": 1}'}}
    history = [
        {"role": "developer", "content": [{"type": "text", "text": "Be brief."}]},
        {"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]},
        {"role": "assistant", "content": None, "annotations": [], "refusal": None, "parsed": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "c", "name": "f", "content": [{"type": "text", "text": "r"}]},
        {"role": "assistant", "content": [{"type": "text", "text": "so", "annotations": []}]},
        {"role": "user", "content": "go"},
    ]  # fmt: skip
    settings = {"frequency_penalty": 0, "presence_penalty": 0, "top_p": 1, "store": False, "stream_options": {"include_usage": True}}
    request = decode(messages=history, tools=[FN], tool_choice="auto", **settings)
    body = carried(request, messages).body
    assert dropped(request) == []
    assert body["system"] == "Be brief."
    assert body["messages"] == [
        {"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]},
        {"role": "assistant", "content": [{"type": "tool_use", "id": "c", "name": "f", "input": {"a": 1}}]},
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "c", "content": "r"}]},
        {"role": "assistant", "content": "so"},
        {"role": "user", "content": "go"},
    ]


def test_unsigned_reasoning_is_reported_by_its_own_name() -> None:
    history = [
        {"role": "user", "content": "q"},
        {"role": "assistant", "content": "a", "reasoning_content": "plan"},
        {"role": "user", "content": "r"},
    ]
    for codec in (messages, responses):
        request = decode(messages=history)
        carried(request, codec)
        assert dropped(request) == ["messages[*].reasoning_content"]


def test_interleaved_thinking_goes_back_in_its_place() -> None:
    details = [thinking("p1", dragoman_layout="r0,t1,r1,u0"), thinking("p2")]
    call = {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    history = [
        {"role": "user", "content": "q"},
        {"role": "assistant", "content": "a", "reasoning_content": "p1\n\np2", "reasoning_details": details, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "c", "content": "r"},
    ]
    request = decode(messages=history)
    blocks = carried(request, messages).body["messages"][1]["content"]
    assert [block.get("thinking", block["type"]) for block in blocks] == ["p1", "text", "p2", "tool_use"]
    assert dropped(request) == []


JSON: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers(-2, 2) | st.text(max_size=5) | st.sampled_from(["user", "text", "function", "c"]),
    lambda inner: (
        st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from(["type", "role", "content", "function", "id"]), inner, max_size=4)
    ),
    max_leaves=10,
)


@given(messages=JSON, tools=JSON, choice=JSON)
def test_any_json_is_decoded_or_refused(messages: Any, tools: Any, choice: Any) -> None:
    body = {"model": "m", "messages": messages, "tools": tools, "tool_choice": choice}
    with contextlib.suppress(errors.ClientFault):
        chat.decode_request(body)
