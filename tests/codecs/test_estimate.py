"""Estimated token counts: the rule itself, on bodies whose bytes can be counted by hand."""

from __future__ import annotations

import base64
from typing import Any

import pytest

from dragoman.codecs import chat, estimate, messages, responses

from .bodies import BODIES

PDF = base64.b64encode(b"%PDF-1.4 /Type /Pages /Type /Page x /Type/Page").decode()
PNG = "iVBORw0KGgo="


def count(content: Any, **fields: Any) -> int:
    body = {"model": "m", "max_tokens": 1, "messages": [{"role": "user", "content": content}]} | fields
    return estimate.tokens(messages.decode_request(body))


def block(kind: str, **fields: Any) -> list[dict[str, Any]]:
    return [{"type": kind} | fields]


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("", 4),
        ("x" * 7, 4 + 2),
        ("x" * 8, 4 + 3),
        ("é" * 7, 4 + 4),
        ("\ud83d", 4 + 1),
        (block("image", source={"type": "base64", "media_type": "image/png", "data": PNG}), 4 + 1600),
        (block("document", source={"type": "base64", "media_type": "application/pdf", "data": PDF}), 4 + 2 * 1600),
        (block("document", source={"type": "base64", "media_type": "application/pdf", "data": "JVBERi0="}, title="x" * 7), 4 + 2 + 1600),
        (block("document", source={"type": "url", "url": "https://h/a.pdf"}), 4 + 1600),
        (block("document", source={"type": "text", "data": "x" * 14}, context="x" * 7), 4 + 6),
        (block("search_result", source="x" * 7, title="x" * 7, content=block("text", text="x" * 7)), 4 + 6),
        (block("tool_result", tool_use_id="c", content=block("text", text="x" * 7) + block("text", text="y" * 7)), 4 + 4),
        (block("tool_result", tool_use_id="c", content="x" * 7), 4 + 2),
    ],
)
def test_content(content: Any, expected: int) -> None:
    assert count(content) == expected


def test_tools_and_schemas() -> None:
    assert count("", tools=[{"name": "x" * 7, "description": "y" * 7, "input_schema": {"a": 1}}]) == 4 + 8 + 6
    form = {"type": "json_schema", "schema": {"a": 1}}
    assert count("", output_config={"format": form}) == 4 + 2


def test_history() -> None:
    body = {
        "model": "m",
        "messages": [
            {"role": "assistant", "content": None, "tool_calls": [{"id": "c", "function": {"name": "x" * 7, "arguments": "{}     "}}]},
            {"role": "tool", "tool_call_id": "c", "content": "x" * 7},
        ],
    }
    assert estimate.tokens(chat.decode_request(body)) == 8 + 6


@pytest.mark.parametrize("codec", [chat, messages, responses])
def test_every_shape_is_measured(codec: Any) -> None:
    body = BODIES[codec.__name__.rpartition(".")[2]]
    if codec is chat:
        body = body | {"messages": [m for m in body["messages"] if m.get("name") != "ann"]}
    if codec is messages:
        body = body | {"messages": body["messages"][3:]}
    if codec is responses:
        body = body | {"input": [item for item in body["input"] if item.get("type") != "item_reference"]}
    assert estimate.tokens(codec.decode_request(body)) > 50
