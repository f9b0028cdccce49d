"""Rules between settings of a messages body: what a forced tool, a prefill or sampling rule out beside thinking."""

from __future__ import annotations

from typing import Any

import pytest

from dragoman.codecs import chat, messages
from dragoman.codecs.capabilities import Capabilities
from dragoman.codecs.messages.shape import SHAPE as MESSAGES

FUNCTION = {"type": "function", "function": {"name": "f", "parameters": {"type": "object", "properties": {}}}}
OTHER = {"type": "function", "function": {"name": "g", "parameters": {"type": "object", "properties": {}}}}
FORCED = {"tools": [FUNCTION, OTHER], "tool_choice": {"type": "function", "function": {"name": "f"}}}
PREFILL = {"messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Well"}]}
EFFORT = {"reasoning_effort": "high"}


def written(body: dict[str, Any], **flags: Any) -> tuple[dict[str, Any], str, str]:
    request = chat.decode_request({"messages": [{"role": "user", "content": "Hi"}], "model": "x", **body})
    encoded = messages.encode_request(request, Capabilities(**{"m_sampling": "full", **flags}), "m")
    ledger = request.ledger
    return encoded.body, ledger.header(ledger.dropped, request.body), ledger.header(ledger.adapted, request.body)


DISABLED = {"type": "disabled"}
AUTO = {"type": "auto"}
# the caller's body, flags, members of the upstream's body (None: there is no such member), dropped, adapted
ROWS: list[tuple[dict[str, Any], dict[str, Any], dict[str, Any], str, str]] = [
    (FORCED, {}, {"tool_choice": {"type": "tool", "name": "f"}, "thinking": None}, "", ""),
    (FORCED | EFFORT, {}, {"tool_choice": {"type": "tool", "name": "f"}, "thinking": DISABLED}, "", "reasoning_effort"),
    (FORCED, {"m_thinking": "adaptive_always", "m_forced_tools": False}, {"tool_choice": AUTO, "thinking": None}, "", "tool_choice=auto"),
    (EFFORT | {"temperature": 0.2}, {}, {"temperature": None}, "temperature", ""),
    (EFFORT | {"temperature": 1}, {}, {"temperature": None}, "", ""),  # the default
    (EFFORT | {"top_p": 0.5}, {}, {"top_p": None}, "top_p", ""),
    (EFFORT | {"top_p": 0.97}, {}, {"top_p": 0.97}, "", ""),
    ({"temperature": 0.2}, {}, {"temperature": 0.2}, "", ""),
    (PREFILL | EFFORT, {"m_prefill": True}, {"thinking": DISABLED}, "", "reasoning_effort"),
    (PREFILL, {"m_prefill": True}, {"thinking": None}, "", ""),
]


@pytest.mark.parametrize(("body", "flags", "found", "dropped", "adapted"), ROWS)
def test_settings(body: dict[str, Any], flags: dict[str, Any], found: dict[str, Any], dropped: str, adapted: str) -> None:
    upstream, lost, changed = written(body, **flags)
    assert {name: upstream.get(name) for name in found} == found
    assert (lost, changed) == (dropped, adapted)


def test_a_tool_that_cannot_be_forced_is_the_only_one() -> None:
    upstream, _, _ = written(FORCED, m_forced_tools=False)
    assert [tool["name"] for tool in upstream["tools"]] == ["f"]


def test_a_union_at_the_root_of_a_schema() -> None:
    union = {"anyOf": [{"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"]}]}
    tool = {"type": "function", "function": {"name": "f", "parameters": union}}
    upstream, _, adapted = written({"tools": [tool]}, schema_subset=("no_root_union",))
    assert upstream["tools"][0]["input_schema"] == {"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"]}
    assert adapted == "tools"


def test_cache_lifetimes_do_not_grow() -> None:
    marked = [{"type": "text", "text": "a", "prompt_cache_breakpoint": {"mode": "explicit", "ttl": ttl}} for ttl in ("30m", "12h", "30m")]
    upstream, _, _ = written({"messages": [{"role": "user", "content": marked}]})
    lifetimes = [part["cache_control"].get("ttl", "5m") for part in upstream["messages"][0]["content"]]
    assert lifetimes == ["1h", "1h", "5m"]


BUDGET = {"type": "enabled", "budget_tokens": 2000}
MORE = [{"role": "assistant", "content": "Done."}, {"role": "user", "content": "And?"}]
THOUGHT = {"type": "thinking", "thinking": "Hm.", "signature": "sig"}
USE = {"type": "tool_use", "id": "t", "name": "f", "input": {}}
ANSWERED = [{"type": "tool_result", "tool_use_id": "t", "content": "x"}]


def turns(*said: dict[str, Any]) -> dict[str, Any]:
    """A turn of calls by messages' own words, answered."""
    return {
        "max_tokens": 9000,
        "tools": [{"name": "f", "input_schema": {"type": "object"}}],
        "messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": [*said]}, {"role": "user", "content": ANSWERED}],
    }


def rewritten(body: dict[str, Any], **flags: Any) -> dict[str, Any]:
    request = messages.decode_request({"model": "x", **body})
    return messages.encode_request(request, Capabilities(**flags), "m").body


@pytest.mark.parametrize(
    ("said", "more", "thinking"),
    [
        ([THOUGHT, USE], [], BUDGET),
        ([USE], [], DISABLED),
        ([{"type": "text", "text": "So"}, USE], [], DISABLED),
        (
            [USE],
            [{"role": "assistant", "content": "Done."}, {"role": "user", "content": "And?"}],
            {"type": "enabled", "budget_tokens": 2000},
        ),
    ],
)
def test_thinking_stops_within_calls_whose_thoughts_are_gone(said: list[Any], more: list[Any], thinking: dict[str, Any]) -> None:
    body = turns(*said) | {"thinking": BUDGET}
    body["messages"] += more
    assert rewritten(body, m_thinking="manual")["thinking"] == thinking


BOUND = {"type": "adaptive", "block_binding": {"prefix_mismatch_behavior": "drop_block"}}


@pytest.mark.parametrize(
    ("said", "asked", "flags", "thinking"),
    [
        ([THOUGHT, USE], {"thinking": {"type": "adaptive"}}, {}, BOUND),
        ([THOUGHT, USE], {}, {"m_thinking": "adaptive_always"}, BOUND),
        ([THOUGHT, USE], {}, {}, None),
        ([THOUGHT, USE], {"thinking": {"type": "disabled"}}, {}, DISABLED),
        ([USE], {"thinking": {"type": "adaptive"}}, {}, {"type": "adaptive"}),
        ([THOUGHT, USE], {"thinking": {"type": "adaptive"}}, {"m_block_binding": False}, {"type": "adaptive"}),
    ],
)
def test_a_thought_whose_prefix_may_change(said: list[Any], asked: Any, flags: dict[str, Any], thinking: Any) -> None:
    assert rewritten(turns(*said) | asked, **{"m_block_binding": True, **flags}).get("thinking") == thinking
    header = MESSAGES.headers(Capabilities(m_block_binding=True))["anthropic-beta"]
    assert header == "thinking-binding-controls-2026-08-01"
    assert "anthropic-beta" not in MESSAGES.headers(Capabilities())


MARK = {"prompt_cache_breakpoint": {"mode": "explicit"}}
TEXT = {"type": "text", "text": "big"}
EMPTY = {"type": "text", "text": "", **MARK}
MARKED = {**TEXT, "cache_control": {"type": "ephemeral"}}
WHERE = "messages[*].content[*].prompt_cache_breakpoint"


@pytest.mark.parametrize(
    ("system", "user", "upstream", "dropped", "adapted"),
    [
        (
            [TEXT, EMPTY],
            "Hi",
            ([MARKED], "Hi"),
            "",
            WHERE,
        ),
        (
            [{**TEXT, **MARK}, EMPTY],
            "Hi",
            ([MARKED], "Hi"),
            "",
            WHERE,
        ),
        ([EMPTY], "Hi", (None, "Hi"), WHERE, ""),
    ],
)
def test_a_mark_on_an_empty_text(system: Any, user: Any, upstream: tuple[Any, Any], dropped: str, adapted: str) -> None:
    """The block before it ends the same prefix."""
    body = {"messages": [{"role": "system", "content": system}, {"role": "user", "content": user}]}
    found, lost, changed = written(body)
    assert (found.get("system"), found["messages"][0]["content"]) == upstream
    assert (lost, changed) == (dropped, adapted)
