"""The tables of docs/translation.md are what the codecs do: each field of a request, sent to an upstream of which nothing is known."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from dragoman.codecs import errors
from dragoman.codecs.capabilities import Capabilities
from dragoman.codecs.registry import SHAPES

PAGE = (Path(__file__).resolve().parent.parent / "docs" / "translation.md").read_text()

SCHEMA = {"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"], "additionalProperties": False}
FUNCTION = {"name": "f", "parameters": SCHEMA}
BASE: dict[str, dict[str, Any]] = {
    "chat": {"model": "m", "messages": [{"role": "user", "content": "q"}]},
    "messages": {"model": "m", "max_tokens": 1000, "messages": [{"role": "user", "content": "q"}]},
    "responses": {"model": "m", "input": "q"},
    "gemini": {"contents": [{"role": "user", "parts": [{"text": "q"}]}]},
}
TOOLS: dict[str, list[Any]] = {
    "chat": [{"type": "function", "function": FUNCTION}],
    "messages": [{"name": "f", "input_schema": SCHEMA}],
    "responses": [{"type": "function", **FUNCTION}],
    "gemini": [{"functionDeclarations": [FUNCTION]}],
}

# an ordinary value of every field that the tables name; what a field needs beside it is in NEEDS
VALUES: dict[str, dict[str, Any]] = {
    "chat": {
        "messages": [{"role": "system", "content": "s"}, {"role": "user", "content": "q"}],
        "max_completion_tokens": 100,
        "max_tokens": 100,
        "temperature": 0.5,
        "top_p": 0.5,
        "top_k": 5,
        "stop": ["x"],
        "n": 2,
        "seed": 1,
        "logit_bias": {"1": 1},
        "presence_penalty": 0.5,
        "frequency_penalty": 0.5,
        "prediction": {"type": "content", "content": "x"},
        "logprobs": True,
        "top_logprobs": 2,
        "response_format": {"type": "json_schema", "json_schema": {"name": "a", "schema": SCHEMA}},
        "reasoning_effort": "low",
        "verbosity": "low",
        "tools": TOOLS["chat"],
        "functions": [FUNCTION],
        "tool_choice": "required",
        "function_call": "auto",
        "parallel_tool_calls": False,
        "stream": True,
        "stream_options": {"include_usage": True},
        "store": True,
        "metadata": {"a": "b"},
        "safety_identifier": "u",
        "user": "u",
        "service_tier": "flex",
        "prompt_cache_key": "k",
        "prompt_cache_retention": "24h",
        "web_search_options": {},
        "modalities": ["text", "audio"],
        "audio": {"voice": "alloy", "format": "wav"},
    },
    "messages": {
        "messages": [{"role": "user", "content": [{"type": "text", "text": "q"}]}],
        "system": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}],
        "max_tokens": 100,
        "temperature": 0.5,
        "top_p": 0.5,
        "top_k": 5,
        "stop_sequences": ["x"],
        "stream": True,
        "thinking": {"type": "enabled", "budget_tokens": 2000},
        "output_config": {"effort": "low", "format": {"type": "json_schema", "schema": SCHEMA}},
        "tools": TOOLS["messages"],
        "tool_choice": {"type": "any", "disable_parallel_tool_use": True},
        "metadata": {"user_id": "u"},
        "service_tier": "standard_only",
        "speed": "fast",
        "cache_control": {"type": "ephemeral"},
        "container": "c",
        "context_management": {"edits": []},
        "mcp_servers": [{"type": "url", "url": "https://x", "name": "n"}],
    },
    "responses": {
        "input": [{"role": "user", "content": [{"type": "input_text", "text": "q"}]}],
        "instructions": "i",
        "store": True,
        "max_output_tokens": 100,
        "max_tool_calls": 3,
        "temperature": 0.5,
        "top_p": 0.5,
        "top_logprobs": 2,
        "reasoning": {"effort": "low", "summary": "auto"},
        "text": {"format": {"type": "json_schema", "name": "a", "schema": SCHEMA}},
        "tools": TOOLS["responses"],
        "tool_choice": "required",
        "parallel_tool_calls": False,
        "stream": True,
        "metadata": {"a": "b"},
        "safety_identifier": "u",
        "user": "u",
        "service_tier": "flex",
        "prompt_cache_key": "k",
        "include": ["reasoning.encrypted_content"],
        "truncation": "auto",
        "context_management": [{"type": "compaction"}],
        "prompt": {"id": "p"},
    },
    "gemini": {
        "contents": [{"role": "user", "parts": [{"text": "q"}]}, {"role": "model", "parts": [{"text": "a"}]}, {"parts": [{"text": "q"}]}],
        "systemInstruction": {"parts": [{"text": "s"}]},
        "tools": TOOLS["gemini"],
        "toolConfig": {"functionCallingConfig": {"mode": "ANY"}},
        "generationConfig": {"maxOutputTokens": 100, "temperature": 0.5},
        "serviceTier": "flex",
        "store": True,
        "labels": {"a": "b"},
        "safetySettings": [{"category": "HARM_CATEGORY_HARASSMENT", "threshold": "BLOCK_NONE"}],
        "modelArmorConfig": {"promptTemplateName": "p"},
        "outputConfig": {"a": 1},
        "cachedContent": "cachedContents/1",
        "continuationToken": "t",
    },
}
MEMBERS: dict[str, Any] = {
    "maxOutputTokens": 100,
    "temperature": 0.5,
    "topP": 0.5,
    "topK": 5,
    "stopSequences": ["x"],
    "seed": 1,
    "presencePenalty": 0.5,
    "frequencyPenalty": 0.5,
    "responseLogprobs": True,
    "logprobs": 2,
    "thinkingConfig": {"thinkingBudget": 2000},
    "responseMimeType": "text/plain",
    "responseSchema": {"type": "OBJECT", "properties": {"a": {"type": "STRING"}}},
    "responseJsonSchema": SCHEMA,
    "responseFormat": {"text": {"mimeType": "application/json", "schema": SCHEMA}},
    "candidateCount": 2,
    "responseModalities": ["TEXT", "IMAGE"],
}
BESIDE: dict[str, dict[str, Any]] = {
    "logprobs": {"responseLogprobs": True},
    "responseSchema": {"responseMimeType": "application/json"},
    "responseJsonSchema": {"responseMimeType": "application/json"},
}
NEEDS: dict[str, dict[str, Any]] = {
    "tool_choice": {"tools": TOOLS},
    "toolConfig": {"tools": TOOLS},
    "parallel_tool_calls": {"tools": TOOLS},
    "function_call": {"functions": {"chat": [FUNCTION]}},
    "top_logprobs": {"logprobs": {"chat": True}},
}
STATE = {"previous_response_id", "conversation"}  # put in before a codec sees the request


def cells() -> Iterator[tuple[str, str, str, str]]:
    """Caller's shape, upstream's shape, field, and the word that the table says of it."""
    for source, table in re.findall(r"### From (\w+)\n\n(.*?)\n(?=\n#)", PAGE, re.DOTALL):
        head, _, *lines = table.splitlines()
        targets = re.findall(r"to (\w+)", head)
        for line in lines:
            fields, *said = [cell.strip() for cell in line.strip("|").split(" | ")]
            for field in re.findall(r"`(\w+)`", fields) if not fields.startswith("anything") else ["anything_else"]:
                for target, words in zip(targets, said, strict=True):
                    yield source, target, field, re.split(r"\W", words)[0]


CELLS = list(cells())


def test_every_value_stands_in_a_table():
    named = {(source, field) for source, _, field, _ in CELLS} - {(source, "anything_else") for source in SHAPES}
    assert named == {(source, field) for source in SHAPES for field in VALUES[source]} | {("responses", field) for field in STATE}


@pytest.mark.parametrize(
    ("source", "target", "field", "word"),
    [pytest.param(*cell, id="-".join(cell[:3])) for cell in CELLS if cell[2] not in STATE],
)
def test_what_becomes_of_a_field(source, target, field, word):
    body = BASE[source] | {name: by_shape[source] for name, by_shape in NEEDS.get(field, {}).items() if source in by_shape}
    body[field] = VALUES[source].get(field, 1)
    assert word in outcomes(source, target, field, body)


def members() -> Iterator[tuple[str, str, str]]:
    """Upstream's shape, member of `generationConfig`, and the word that its table says of it."""
    table = re.search(r"#### Members of `generationConfig`\n\n(.*?)\n\n", PAGE, re.DOTALL)
    assert table is not None
    head, _, *lines = table[1].splitlines()
    _, *targets = [cell.strip() for cell in head.strip("|").split(" | ")]
    for line in lines:
        fields, *said = [cell.strip() for cell in line.strip("|").split(" | ")]
        for member in re.findall(r"`(\w+)`", fields) or ["other"]:
            for target, words in zip(targets, said, strict=True):
                yield target, member, re.split(r"\W", words)[0]


def test_every_member_stands_in_the_table():
    assert {member for _, member, _ in members()} == {*MEMBERS, "other"}


@pytest.mark.parametrize(("target", "member", "word"), [pytest.param(*cell, id="-".join(cell[:2])) for cell in members()])
def test_what_becomes_of_a_member(target, member, word):
    config = BESIDE.get(member, {}) | {member: MEMBERS.get(member, 1)}
    path = f"generationConfig.{member}"
    assert word in outcomes("gemini", target, path, BASE["gemini"] | {"generationConfig": config})


# values that a cell speaks of after its first word, and what becomes of them
WORDS: list[tuple[str, str, str, dict[str, Any], set[str]]] = [
    *(
        ("gemini", to, "serviceTier", {"serviceTier": tier}, {"carried"})
        for to in ("chat", "responses")
        for tier in ("standard", "priority")
    ),
    ("gemini", "messages", "serviceTier", {"serviceTier": "standard"}, {"carried"}),
    ("gemini", "messages", "serviceTier", {"serviceTier": "priority"}, {"adapted"}),
    *(
        (
            "gemini",
            to,
            "toolConfig",
            {"tools": TOOLS["gemini"], "toolConfig": {"functionCallingConfig": {"mode": "VALIDATED"}}},
            {"adapted"},
        )
        for to in ("chat", "messages", "responses")
    ),
    *(
        ("gemini", to, "generationConfig", {"generationConfig": {"thinkingConfig": {"thinkingLevel": "HIGH"}}}, {"carried"})
        for to in ("chat", "messages", "responses")
    ),
    ("gemini", "chat", "generationConfig", {"generationConfig": {"thinkingConfig": {"thinkingBudget": 0}}}, {"dropped"}),
    ("gemini", "messages", "generationConfig", {"generationConfig": {"thinkingConfig": {"thinkingBudget": 0}}}, {"carried"}),
    ("gemini", "responses", "generationConfig", {"generationConfig": {"thinkingConfig": {"thinkingBudget": 0}}}, {"carried"}),
    ("gemini", "chat", "generationConfig", {"generationConfig": {"responseMimeType": "application/json"}}, {"adapted"}),
    ("gemini", "messages", "generationConfig", {"generationConfig": {"responseMimeType": "application/json"}}, {"dropped"}),
    ("responses", "chat", "reasoning", {"reasoning": {"context": "current_turn"}}, {"dropped"}),
    ("responses", "chat", "tools", {"tools": [{"type": "web_search"}]}, {"dropped"}),
    *(("responses", to, "tools", {"tools": [{"type": "web_search"}]}, {"carried"}) for to in ("messages", "gemini")),
]


@pytest.mark.parametrize(("source", "target", "field", "asked", "words"), WORDS)
def test_what_a_cell_says_of_a_value(source, target, field, asked, words):
    assert outcomes(source, target, field, BASE[source] | asked) - {"here"} == words


def outcomes(source: str, target: str, field: str, body: dict[str, Any]) -> set[str]:
    """The words that a table may use of what happened. field: a member of the body, or the path of one below it."""
    try:
        request = SHAPES[source].decode_request(body)
        SHAPES[target].encode_request(request, Capabilities(), "m")
    except errors.Unsupported as error:
        return {"refused"} if _at(error.param or "", field) else {f"{error.param} was refused"}
    ledger = request.ledger
    words = {"dropped": ledger.dropped, "adapted": ledger.adapted}
    said = {word for word, entries in words.items() if any(_at(name, field) for name in ledger.names(entries, body))}
    return said or {"carried", "here"}


def _at(name: str, field: str) -> bool:
    """Whether a name in a report is that of the field, or of something within it."""
    return re.match(rf"{re.escape(field)}(?!\w)", name) is not None
