"""Tools and tool choices of chat and messages clients, as a responses upstream gets them."""

from __future__ import annotations

from typing import Any

import pytest

from .responses_upstream import SCHEMA, SEARCH, STRICT, changed, encode, lost

F = {"type": "function", "function": {"name": "f"}}
FUNCTION = {"type": "function", "name": "f", "parameters": {"type": "object", "properties": {}}, "strict": False}


@pytest.mark.parametrize(
    ("shape", "tool", "written", "dropped", "adapted"),
    [
        ("chat", {"type": "function", "function": {"name": "f"}}, FUNCTION, "", ""),
        (
            "chat",
            {"type": "function", "function": {"name": "f", "description": "d", "parameters": SCHEMA, "strict": True}},
            FUNCTION | {"description": "d", "parameters": SCHEMA, "strict": True},
            "",
            "",
        ),
        (
            "chat",
            {"type": "custom", "custom": {"name": "c", "description": "d"}},
            {"type": "custom", "name": "c", "description": "d"},
            "",
            "",
        ),
        (
            "chat",
            {"type": "custom", "custom": {"name": "c", "format": {"type": "grammar", "grammar": {"syntax": "lark", "definition": "x"}}}},
            {"type": "custom", "name": "c", "format": {"type": "grammar", "syntax": "lark", "definition": "x"}},
            "",
            "",
        ),
        ("messages", {"name": "f", "input_schema": SCHEMA}, FUNCTION | {"parameters": SCHEMA}, "", ""),
        (
            "messages",
            {"name": "f", "input_schema": STRICT, "strict": True, "cache_control": {"type": "ephemeral"}, "defer_loading": True},
            FUNCTION | {"parameters": STRICT, "strict": True},
            "",
            "tools[*].defer_loading",
        ),
        ("messages", {"name": "f", "input_schema": SCHEMA, "strict": True}, FUNCTION | {"parameters": SCHEMA}, "tools[*].strict", ""),
        (
            "messages",
            {"name": "f", "input_schema": SCHEMA, "description": "d", "input_examples": [{"a": 1}, {"a": 2}]},
            FUNCTION | {"parameters": SCHEMA, "description": 'd\n\nExamples:\n{"a":1}\n{"a":2}'},
            "",
            "tools[*].input_examples",
        ),
        (
            "messages",
            {
                "type": "web_search_20250305",
                "name": "web_search",
                "allowed_domains": ["a.b"],
                "blocked_domains": ["c.d"],
                "max_uses": 2,
                "user_location": {"type": "approximate", "city": "Ulm"},
            },
            {
                "type": "web_search",
                "filters": {"allowed_domains": ["a.b"], "blocked_domains": ["c.d"]},
                "user_location": {"type": "approximate", "city": "Ulm"},
            },
            "tools[*].max_uses",
            "",
        ),
        ("messages", {"type": "computer_20250124", "name": "computer"}, None, "tools[*]:computer_20250124", ""),
        ("messages", {"name": "a.b", "input_schema": SCHEMA}, FUNCTION | {"name": "a_b_2e7336dc", "parameters": SCHEMA}, "", "tools[*]"),
    ],
)
def test_tools(shape: str, tool: dict[str, Any], written: dict[str, Any] | None, dropped: str, adapted: str) -> None:
    body, request = encode(shape, tools=[tool])
    assert body.get("tools") == (None if written is None else [written])
    assert (lost(request), changed(request)) == (dropped, adapted)


@pytest.mark.parametrize(
    ("options", "written"),
    [
        ({}, {"type": "web_search"}),
        (
            {"search_context_size": "low", "user_location": {"type": "approximate", "approximate": {"city": "Ulm"}}},
            {"type": "web_search", "search_context_size": "low", "user_location": {"type": "approximate", "city": "Ulm"}},
        ),
    ],
)
def test_the_search_of_a_chat_client(options: dict[str, Any], written: dict[str, Any]) -> None:
    body, request = encode("chat", web_search_options=options)
    assert body["tools"] == [written]
    assert lost(request) == ""


G = {"type": "custom", "custom": {"name": "g"}}


@pytest.mark.parametrize(
    ("shape", "tools", "choice", "written"),
    [
        ("chat", [F], "auto", "auto"),
        ("chat", [F], "none", "none"),
        ("chat", [F], "required", "required"),
        ("chat", [F, G], {"type": "function", "function": {"name": "f"}}, {"type": "function", "name": "f"}),
        ("chat", [F, G], {"type": "custom", "custom": {"name": "g"}}, {"type": "custom", "name": "g"}),
        (
            "chat",
            [F, G],
            {"type": "allowed_tools", "allowed_tools": {"mode": "required", "tools": [F, G]}},
            {
                "type": "allowed_tools",
                "mode": "required",
                "tools": [{"type": "function", "name": "f"}, {"type": "custom", "name": "g"}],
            },
        ),
        ("messages", [{"name": "f"}], {"type": "auto"}, "auto"),
        ("messages", [{"name": "f"}], {"type": "any"}, "required"),
        ("messages", [{"name": "f"}], {"type": "tool", "name": "f"}, {"type": "function", "name": "f"}),
        ("messages", [{"name": "f"}, SEARCH], {"type": "tool", "name": "web_search"}, {"type": "web_search"}),
    ],
)
def test_tool_choice(shape: str, tools: list[Any], choice: Any, written: Any) -> None:
    body, request = encode(shape, tools=tools, tool_choice=choice)
    assert body["tool_choice"] == written
    assert (lost(request), changed(request)) == ("", "")


@pytest.mark.parametrize(
    ("fields", "wanted"),
    [
        ({"tool_choice": "auto", "parallel_tool_calls": False}, {}),
        ({"tool_choice": "none"}, {}),
        ({"tools": [F], "parallel_tool_calls": False}, {"parallel_tool_calls": False}),
    ],
)
def test_what_only_goes_with_tools(fields: dict[str, Any], wanted: dict[str, Any]) -> None:
    body, request = encode("chat", **fields)
    assert {key: body[key] for key in ("tool_choice", "parallel_tool_calls") if key in body} == wanted
    assert lost(request) == ""
