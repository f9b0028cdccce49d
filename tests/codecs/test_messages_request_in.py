"""A messages client's request in the hub's words: every field by table, and what is refused, with its place."""

from __future__ import annotations

import contextlib
import copy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dragoman.codecs import errors, messages, reasoning
from dragoman.codecs.request import (
    Cache,
    CallPart,
    DocumentPart,
    ForeignPart,
    ImagePart,
    OutputFormat,
    Part,
    ReasoningPart,
    Request,
    ResultPart,
    SearchResultPart,
    TextPart,
    Thinking,
    Tool,
    ToolChoice,
    Turn,
)

from .items import dropped

PNG = "iVBORw0KGgo="
EPHEMERAL = {"type": "ephemeral"}


def decode(**fields: Any) -> Request:
    body = {"model": "m", "max_tokens": 10, "messages": [{"role": "user", "content": "q"}]} | fields
    before = copy.deepcopy(body)
    request = messages.decode_request(body)
    assert body == before
    assert request.body is body
    return request


def block(content: dict[str, Any], role: str = "user") -> tuple[Part, list[str]]:
    request = decode(messages=[{"role": role, "content": [content]}])
    return request.turns[0].parts[0], dropped(request)


AT = ("messages", 0, "content", 0)


# ---- content ----


@pytest.mark.parametrize(
    ("content", "part", "lost"),
    [
        ({"type": "text", "text": "a"}, TextPart("a", AT), []),
        ({"type": "text", "text": "a", "cache_control": EPHEMERAL, "citations": []}, TextPart("a", AT, Cache()), []),
        ({"type": "text", "text": "a", "cache_control": {"type": "ephemeral", "ttl": "1h"}}, TextPart("a", AT, Cache(True)), []),
        ({"type": "text", "text": "a", "mood": "b", "none": None}, TextPart("a", AT), ["messages[*].content[*].mood"]),
        (
            {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": f" {PNG}\n"}},
            ImagePart(AT, media_type="image/png", data=PNG),
            [],
        ),
        (
            {"type": "image", "source": {"type": "base64", "data": PNG}, "transformations": [{"type": "crop"}]},
            ImagePart(AT, media_type="image/png", data=PNG),
            ["messages[*].content[*].transformations"],
        ),
        ({"type": "image", "source": {"type": "url", "url": "https://h/i"}}, ImagePart(AT, url="https://h/i"), []),
        (
            {"type": "document", "source": {"type": "base64", "media_type": "application/pdf", "data": "JVBERi0="}, "title": "T"},
            DocumentPart(AT, "application/pdf", "JVBERi0=", title="T"),
            [],
        ),
        (
            {"type": "document", "source": {"type": "url", "url": "https://h/d.pdf"}, "context": "C", "citations": {"enabled": True}},
            DocumentPart(AT, url="https://h/d.pdf", context="C", cites=True),
            ["messages[*].content[*].citations"],
        ),
        (
            {"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "d"}, "citations": {"enabled": False}},
            DocumentPart(AT, "text/plain", text="d"),
            [],
        ),
        (
            {"type": "document", "source": {"type": "content", "content": [{"type": "text", "text": "d"}]}},
            DocumentPart(AT, parts=[TextPart("d", (*AT, "source", "content", 0))]),
            [],
        ),
        (
            {"type": "document", "source": {"type": "content", "content": "d"}},
            DocumentPart(AT, parts=[TextPart("d", (*AT, "source", "content"))]),
            [],
        ),
        (
            {"type": "search_result", "source": "s", "title": "t", "content": [{"type": "text", "text": x} for x in "ab"]},
            SearchResultPart(AT, "s", "t", "a\nb"),
            [],
        ),
        ({"type": "tool_result", "tool_use_id": "c"}, ResultPart("c", "", AT), []),
        ({"type": "tool_result", "tool_use_id": "c", "content": "r", "is_error": True}, ResultPart("c", "r", AT, is_error=True), []),
        (
            {"type": "tool_result", "tool_use_id": "c", "content": [{"type": "text", "text": "r"}], "cache_control": EPHEMERAL},
            ResultPart("c", [TextPart("r", (*AT, "content", 0))], AT, cache=Cache()),
            [],
        ),
        (
            {"type": "tool_result", "tool_use_id": "c", "content": [{"type": "tool_reference", "tool_name": "f"}]},
            ResultPart("c", [TextPart("The tool f is now available.", (*AT, "content", 0), loads=("f",))], AT),
            [],
        ),
        ({"type": "web_search_tool_result", "tool_use_id": "s", "content": []}, ForeignPart("web_search_tool_result", AT), []),
    ],
)
def test_what_a_user_says(content: dict[str, Any], part: Part, lost: list[str]) -> None:
    assert block(content) == (part, lost)


THINKING = {"type": "thinking", "thinking": "plan", "signature": "SIG"}
PAGE = {"type": "text", "media_type": "text/plain", "data": "Words."}
PDF = {"type": "base64", "media_type": "application/pdf", "data": "JVBERi0="}
REDACTED = {"type": "redacted_thinking", "data": "RED"}
THOUGHT = (*AT, "thinking")


@pytest.mark.parametrize(
    ("content", "part"),
    [
        (THINKING, ReasoningPart(THOUGHT, "anthropic", "plan", [THINKING])),
        (THINKING | {"thinking": ""}, ReasoningPart(THOUGHT, "anthropic", "", [THINKING | {"thinking": ""}])),
        (THINKING | {"signature": ""}, ReasoningPart(THOUGHT, "foreign", "plan")),
        ({"type": "thinking", "thinking": "plan"}, ReasoningPart(THOUGHT, "foreign", "plan")),
        (REDACTED, ReasoningPart((*AT, "data"), "anthropic", blocks=[REDACTED])),
        (THINKING | {"signature": reasoning.seal_text("ds")}, ReasoningPart(THOUGHT, "text", "plan", domain="ds")),
        (
            THINKING | {"signature": reasoning.seal_item("oai", "rs_1", "E1", ["plan"])},
            ReasoningPart(THOUGHT, "openai", "plan", id="rs_1", encrypted="E1", summary=["plan"], domain="oai"),
        ),
        (THINKING | {"signature": "dgr1.broken"}, ReasoningPart(THOUGHT, "foreign", "plan")),
        ({"type": "tool_use", "id": "c", "name": "f", "input": {"a": "é"}}, CallPart("c", "f", '{"a":"é"}', AT)),
        ({"type": "tool_use", "id": "c", "name": "f", "caller": {"type": "direct"}}, CallPart("c", "f", "{}", AT)),
        ({"type": "tool_use", "id": "c", "name": "f", "input": {"INVALID_JSON": "x"}}, CallPart("c", "f", "x", AT)),
        ({"type": "of_tomorrow", "id": "s"}, ForeignPart("of_tomorrow", AT)),
        (
            {"type": "server_tool_use", "id": "s", "name": "web_search", "input": {"query": "x"}},
            TextPart('[web_search: {"query":"x"}]', AT, apart=True),
        ),
        (
            {"type": "web_search_tool_result", "content": [{"title": "t", "url": "u", "encrypted_content": "E"}]},
            TextPart('[web_search result: [{"title":"t","url":"u"}]]', AT, apart=True),
        ),
        (
            {"type": "web_fetch_tool_result", "content": {"url": "u", "content": {"type": "document", "source": PAGE}}},
            TextPart('[web_fetch result: {"url":"u","content":{"source":"Words."}}]', AT, apart=True),
        ),
        (
            {"type": "web_fetch_tool_result", "content": {"url": "u", "content": {"type": "document", "source": PDF}}},
            TextPart('[web_fetch result: {"url":"u","content":{"source":{"media_type":"application/pdf"}}}]', AT, apart=True),
        ),
        ({"type": "of_tomorrow"}, ForeignPart("of_tomorrow", AT)),
    ],
)
def test_what_a_model_said(content: dict[str, Any], part: Part) -> None:
    assert block(content, "assistant") == (part, [])


def test_turns_and_the_system_prompt() -> None:
    billing = {"type": "text", "text": "x-anthropic-billing-header: cc_version=1;"}
    request = decode(
        system=[billing, {"type": "text", "text": "S", "cache_control": EPHEMERAL}],
        messages=[{"role": "user", "content": ""}, {"role": "system", "content": "M"}, {"role": "assistant", "content": [], "id": "x"}],
    )
    assert request.turns == [
        Turn("system", [TextPart("S", ("system", 1), Cache())], ("system",)),
        Turn("user", [TextPart("", ("messages", 0, "content"))], ("messages", 0), plain=True),
        Turn("system", [TextPart("M", ("messages", 1, "content"))], ("messages", 1), plain=True),
        Turn("assistant", [], ("messages", 2)),
    ]
    assert dropped(request) == ["messages[*].id"]
    assert decode(system="S").turns[0] == Turn("system", [TextPart("S", ("system",))], ("system",), plain=True)


# ---- tools ----

FIRST = ("tools", 0)


@pytest.mark.parametrize(
    ("tool", "wanted", "lost"),
    [
        ({"name": "f"}, Tool("function", "f", FIRST), []),
        (
            {"type": "custom", "name": "f", "description": "d", "input_schema": {"x": 1}, "strict": True, "cache_control": EPHEMERAL},
            Tool("function", "f", FIRST, "d", {"x": 1}, True, cache=Cache()),
            [],
        ),
        ({"name": "f", "defer_loading": True, "eager_input_streaming": True}, Tool("function", "f", FIRST, deferred=True), []),
        ({"name": "f", "allowed_callers": ["direct", "code_execution_20260120"]}, Tool("function", "f", FIRST), []),
        ({"name": "f", "allowed_callers": ["code_execution_20260120"]}, Tool("function", "f", FIRST), []),
        ({"name": "f", "input_examples": [{"a": 1}]}, Tool("function", "f", FIRST, examples=[{"a": 1}]), []),
        (
            {"type": "web_search_20250305", "name": "web_search", "max_uses": 3, "allowed_domains": ["a.b"], "blocked_domains": None},
            Tool("web_search", "web_search", FIRST, label="web_search_20250305", search={"max_uses": 3, "allowed_domains": ["a.b"]}),
            [],
        ),
        ({"type": "computer_20250124", "name": "computer"}, Tool("hosted", "computer", FIRST, label="computer_20250124"), []),
        ({"type": "mcp_toolset"}, Tool("hosted", "", FIRST, label="mcp_toolset"), []),
        ({"name": "f", "mood": 1}, Tool("function", "f", FIRST), ["tools[*].mood"]),
    ],
)
def test_tools(tool: dict[str, Any], wanted: Tool | None, lost: list[str]) -> None:
    request = decode(tools=[tool])
    assert request.tools == ([] if wanted is None else [wanted])
    assert dropped(request) == lost


@pytest.mark.parametrize(
    ("choice", "wanted"),
    [
        ({"type": "auto"}, ToolChoice("auto", ("tool_choice",))),
        ({"type": "none"}, ToolChoice("none", ("tool_choice",))),
        ({"type": "any"}, ToolChoice("required", ("tool_choice",))),
        ({"type": "tool", "name": "f"}, ToolChoice("tool", ("tool_choice",), "f")),
        ({"type": "tool", "name": "web_search"}, ToolChoice("tool", ("tool_choice",), "web_search", "hosted")),
        ({"type": "tool", "name": "bash"}, ToolChoice("tool", ("tool_choice",), "bash")),
        ({"type": "tool", "name": "computer"}, ToolChoice("tool", ("tool_choice",), "computer_20250124", "hosted")),
    ],
)
def test_tool_choice(choice: dict[str, Any], wanted: ToolChoice) -> None:
    server = [{"type": "web_search_20250305", "name": "web_search"}, {"type": "computer_20250124", "name": "computer"}]
    tools = [{"name": "f"}, *server, {"type": "bash_20250124", "name": "bash"}]
    request = decode(tools=tools, tool_choice=choice | {"disable_parallel_tool_use": True})
    assert request.take("tool_choice") == wanted
    assert request.take_setting("parallel_tool_calls") == (False, ("tool_choice", "disable_parallel_tool_use"))
    assert "parallel_tool_calls" not in decode(tool_choice=choice | {"disable_parallel_tool_use": False}).settings


# ---- settings ----

EFFORT = ("output_config", "effort")
SCHEMA = {"type": "object"}
FORMAT = {"type": "json_schema", "schema": SCHEMA}


@pytest.mark.parametrize(
    ("fields", "wanted", "lost"),
    [
        ({}, {}, []),
        # null and defaults are absence
        (
            {"temperature": None, "top_p": None, "stop_sequences": [], "stream": None, "metadata": {}, "service_tier": "auto"},
            {},
            [],
        ),
        ({"temperature": 1.0, "speed": "standard", "tools": [], "tool_choice": None, "betas": ["x"], "mcp_servers": []}, {}, []),
        ({"temperature": 0.5}, {"temperature": (0.5, ("temperature",))}, []),
        ({"temperature": 0}, {"temperature": (0, ("temperature",))}, []),
        ({"top_p": 0.9, "top_k": 5}, {"top_p": (0.9, ("top_p",)), "top_k": (5, ("top_k",))}, []),
        ({"stop_sequences": ["a"]}, {"stop": (["a"], ("stop_sequences",))}, []),
        (
            {"metadata": {"user_id": "u", "team": "t"}},
            {"safety_identifier": ("u", ("metadata", "user_id"))},
            ["metadata.team"],
        ),
        (
            {"service_tier": "standard_only", "speed": "fast"},
            {"messages_tier": ("standard_only", ("service_tier",)), "speed": ("fast", ("speed",))},
            [],
        ),
        ({"cache_control": {"type": "ephemeral", "ttl": "1h"}}, {"cache": (Cache(True), ("cache_control",))}, []),
        # reasoning
        ({"thinking": {"type": "disabled"}}, {"thinking": (Thinking(("thinking",), "off"), ("thinking",))}, []),
        (
            {"thinking": {"type": "enabled", "budget_tokens": 2000, "display": "omitted"}},
            {"thinking": (Thinking(("thinking",), "budget", budget=2000, show="hide"), ("thinking",))},
            [],
        ),
        (
            {"thinking": {"type": "adaptive", "display": "summarized"}},
            {"thinking": (Thinking(("thinking",), "adaptive", show="summary"), ("thinking",))},
            [],
        ),
        (
            {"thinking": {"type": "between_tools"}, "output_config": {"effort": "max"}},
            {"thinking": (Thinking(EFFORT, "adaptive", "max"), EFFORT)},
            [],
        ),
        ({"output_config": {"effort": "low"}}, {"thinking": (Thinking(EFFORT, "effort", "low"), EFFORT)}, []),
        (
            {"thinking": {"type": "disabled"}, "output_config": {"effort": "low"}},
            {"thinking": (Thinking(("thinking",), "off"), ("thinking",))},
            ["output_config.effort"],
        ),
        # structured output
        (
            {"output_config": {"format": FORMAT, "task_budget": {"total": 1}}},
            {"output": (OutputFormat("json_schema", ("output_config", "format"), schema=SCHEMA), ("output_config", "format"))},
            ["output_config.task_budget"],
        ),
        (
            {"output_format": FORMAT},
            {"output": (OutputFormat("json_schema", ("output_format",), schema=SCHEMA), ("output_format",))},
            [],
        ),
        ({"output_config": {"format": {"type": "of_tomorrow"}}}, {}, ["output_config.format"]),
        # what no other shape knows
        (
            {"container": "c", "context_management": {"edits": [1]}, "seed": 3, "output": "x", "thread": {"type": "create"}},
            {},
            ["container", "context_management", "seed", "output", "thread"],
        ),
    ],
)
def test_settings(fields: dict[str, Any], wanted: dict[str, Any], lost: list[str]) -> None:
    request = decode(**fields)
    assert request.settings == {"max_tokens": (10, ("max_tokens",))} | wanted
    assert dropped(request) == lost
    assert request.stream is False


def test_stream_and_model() -> None:
    request = decode(stream=True, model="claude-x")
    assert (request.stream, request.model, request.shape) == (True, "claude-x", "messages")


# ---- what is refused ----

NO_FILE = {"type": "file", "file_id": "f"}


@pytest.mark.parametrize(
    ("fields", "error", "param"),
    [
        ({"max_tokens": None}, errors.Missing, "max_tokens"),
        ({"max_tokens": "10"}, errors.WrongType, "max_tokens"),
        ({"max_tokens": True}, errors.WrongType, "max_tokens"),
        ({"max_tokens": -1}, errors.Malformed, "max_tokens"),
        ({"messages": None}, errors.Missing, "messages"),
        ({"messages": "x"}, errors.WrongType, "messages"),
        ({"messages": ["x"]}, errors.WrongType, "messages[0]"),
        ({"messages": [{"content": "x"}]}, errors.Missing, "messages[0].role"),
        ({"messages": [{"role": "tool", "content": "x"}]}, errors.WrongType, "messages[0].role"),
        ({"messages": [{"role": "user"}]}, errors.Missing, "messages[0].content"),
        ({"messages": [{"role": "user", "content": 1}]}, errors.WrongType, "messages[0].content"),
        ({"system": 1}, errors.WrongType, "system"),
        ({"model": 1}, errors.WrongType, "model"),
        ({"stream": "yes"}, errors.WrongType, "stream"),
        ({"temperature": "hot"}, errors.WrongType, "temperature"),
        ({"top_k": 1.5}, errors.WrongType, "top_k"),
        ({"stop_sequences": "x"}, errors.WrongType, "stop_sequences"),
        ({"stop_sequences": ["x", 1]}, errors.WrongType, "stop_sequences[1]"),
        ({"tools": {}}, errors.WrongType, "tools"),
        ({"tools": [{}]}, errors.Missing, "tools[0].name"),
        ({"tools": [{"name": "f", "input_schema": "x"}]}, errors.WrongType, "tools[0].input_schema"),
        ({"tool_choice": "auto"}, errors.WrongType, "tool_choice"),
        ({"tool_choice": {"type": "some"}}, errors.Malformed, "tool_choice.type"),
        ({"tool_choice": {"type": "tool"}}, errors.Missing, "tool_choice.name"),
        ({"thinking": {"type": "enabled"}}, errors.Missing, "thinking.budget_tokens"),
        ({"thinking": {"type": "deep"}}, errors.Malformed, "thinking.type"),
        ({"output_config": {"format": {"type": "json_schema"}}}, errors.Missing, "output_config.format.schema"),
        ({"metadata": {"user_id": 5}}, errors.WrongType, "metadata.user_id"),
        ({"safeguards": {"a": 1}}, errors.Unsupported, "safeguards"),
        ({"thread": {"type": "continue", "id": "t"}}, errors.Unsupported, "thread"),
        ({"compaction": {"type": "enabled"}}, errors.Unsupported, "compaction"),
    ],
)
def test_refused(fields: dict[str, Any], error: type[errors.GatewayError], param: str) -> None:
    with pytest.raises(error) as caught:
        decode(**fields)
    assert caught.value.param == param
    assert caught.value.http_status("messages") == 400


@pytest.mark.parametrize(
    ("content", "error", "param"),
    [
        ("x", errors.WrongType, ""),
        ({}, errors.Missing, ".type"),
        ({"type": "text"}, errors.Missing, ".text"),
        ({"type": "text", "text": 1}, errors.WrongType, ".text"),
        ({"type": "image"}, errors.WrongType, ".source"),
        ({"type": "image", "source": NO_FILE}, errors.UnsupportedContent, ""),
        ({"type": "image", "source": {"type": "base64", "data": "!"}}, errors.Malformed, ".source.data"),
        ({"type": "image", "source": {"type": "base64", "data": "AAAA"}}, errors.UnsupportedContent, ".source"),
        ({"type": "document", "source": NO_FILE}, errors.UnsupportedContent, ""),
        ({"type": "container_upload", "file_id": "f"}, errors.UnsupportedContent, ""),
        ({"type": "of_tomorrow"}, errors.UnsupportedContent, ""),
        ({"type": "tool_use", "id": "c", "name": "f", "input": {}}, errors.Malformed, ".type"),
        ({"type": "thinking", "thinking": "t", "signature": "S"}, errors.Malformed, ".type"),
        ({"type": "redacted_thinking", "data": "R"}, errors.Malformed, ".type"),
        ({"type": "tool_result"}, errors.Missing, ".tool_use_id"),
        ({"type": "tool_result", "tool_use_id": "c", "content": [7]}, errors.WrongType, ".content[0]"),
    ],
)
def test_refused_content(content: Any, error: type[errors.GatewayError], param: str) -> None:
    with pytest.raises(error) as caught:
        decode(messages=[{"role": "user", "content": [content]}])
    assert caught.value.param == "messages[0].content[0]" + param


@pytest.mark.parametrize(
    ("content", "error", "param"),
    [
        ({"type": "tool_use", "name": "f"}, errors.Missing, ".id"),
        ({"type": "tool_use", "id": "c", "name": "f", "input": "x"}, errors.WrongType, ".input"),
        ({"type": "tool_result", "tool_use_id": "c", "content": "r"}, errors.Malformed, ".type"),
        ({"type": "compaction", "content": None}, errors.Malformed, ".content"),
    ],
)
def test_refused_of_a_model(content: Any, error: type[errors.GatewayError], param: str) -> None:
    with pytest.raises(error) as caught:
        decode(messages=[{"role": "assistant", "content": [content]}])
    assert caught.value.param == "messages[0].content[0]" + param


def test_a_nest_ends_in_a_note() -> None:
    nest: dict[str, Any] = {"type": "text", "text": "x"}
    for _ in range(3000):
        nest = {"type": "tool_result", "tool_use_id": "c", "content": [nest]}
    body = {"model": "m", "max_tokens": 10, "messages": [{"role": "user", "content": [nest]}]}
    (result,) = messages.decode_request(body).turns[0].parts
    assert isinstance(result, ResultPart)
    assert result.content == [TextPart("[tool_result: the selected model cannot read this]", ("messages", 0, "content", 0, "content", 0))]


def test_wording_of_what_is_not_supported() -> None:
    with pytest.raises(errors.UnsupportedContent) as caught:
        decode(messages=[{"role": "user", "content": [{"type": "image", "source": NO_FILE}]}])
    assert caught.value.anthropic("req_1")["error"]["message"] == (
        "image source type file is not supported by the selected model (messages[0].content[0])"
    )


_SCALARS = st.none() | st.booleans() | st.integers(-1, 2) | st.sampled_from(["", "text", "user", "image", "url", "tool_result"])
_NAMES = st.sampled_from(["type", "role", "content", "text", "source", "id", "name", "data", "thinking", "schema", "tool_use_id"])
_TREES = st.recursive(_SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_NAMES, inner, max_size=4), max_leaves=12)
_BODY_NAMES = st.sampled_from(
    ["messages", "system", "tools", "tool_choice", "thinking", "output_config", "metadata", "max_tokens", "stop_sequences", "stream"]
)


@given(st.dictionaries(_BODY_NAMES, _TREES | st.lists(st.dictionaries(_NAMES, _TREES, max_size=4), max_size=3), max_size=6))
def test_any_object_is_a_request_or_refused(body: dict[str, Any]) -> None:
    for fields in (body, {"max_tokens": 5, "messages": []} | body):
        with contextlib.suppress(errors.ClientFault):
            messages.decode_request(fields)
