"""A responses client's request in the hub's words: every item and field by table, how items become turns, and what is refused."""

from __future__ import annotations

import contextlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dragoman.codecs import chat, errors, messages, reasoning, responses
from dragoman.codecs.capabilities import Capabilities
from dragoman.codecs.request import (
    Cache,
    DocumentPart,
    ForeignPart,
    ImagePart,
    OutputFormat,
    Part,
    ReasoningPart,
    RefusalPart,
    TextPart,
    Thinking,
    Tool,
    ToolChoice,
    Turn,
)

from . import worked
from .items import adapted, ask, call, decode, dropped, line_of, out

PNG = "iVBORw0KGgo="
PDF = "JVBERi0="


AT = ("input", 0, "content", 0)


def content(part: Any, role: str = "user") -> tuple[Part, list[str]]:
    request = decode(input=[{"role": role, "content": [part]}])
    return request.turns[0].parts[0], dropped(request)


# ---- content ----


@pytest.mark.parametrize(
    ("given", "part", "lost"),
    [
        ({"type": "input_text", "text": "a"}, TextPart("a", AT), []),
        ({"type": "input_text", "text": "a", "prompt_cache_breakpoint": {"mode": "explicit"}}, TextPart("a", AT, Cache()), []),
        ({"type": "input_text", "text": "a", "cache_control": {"type": "ephemeral", "ttl": "1h"}}, TextPart("a", AT, Cache(True)), []),
        (
            {"type": "input_text", "text": "a", "prompt_cache_breakpoint": {"mode": "explicit", "ttl": "12h"}},
            TextPart("a", AT, Cache(True)),
            [],
        ),
        ({"type": "text", "text": "a", "mood": 1, "none": None}, TextPart("a", AT), ["input[*].content[*].mood"]),
        (
            {"type": "input_image", "image_url": "https://h/i", "detail": "low", "file_id": None},
            ImagePart(AT, url="https://h/i", detail="low"),
            [],
        ),
        (
            {"type": "input_image", "image_url": f"data:image/png;base64,{PNG}", "prompt_cache_breakpoint": {}},
            ImagePart(AT, media_type="image/png", data=PNG, cache=Cache()),
            [],
        ),
        (
            {"type": "input_file", "file_data": f"data:application/pdf;base64,{PDF}", "filename": "a.pdf", "detail": "low"},
            DocumentPart(AT, "application/pdf", PDF, title="a.pdf"),
            ["input[*].content[*].detail"],
        ),
        ({"type": "input_file", "file_data": PDF}, DocumentPart(AT, "application/pdf", PDF), []),
        ({"type": "input_file", "file_url": "https://h/d.pdf"}, DocumentPart(AT, url="https://h/d.pdf"), []),
    ],
)
def test_what_a_user_says(given: dict[str, Any], part: Part, lost: list[str]) -> None:
    assert content(given) == (part, lost)


@pytest.mark.parametrize(
    ("given", "part"),
    [
        ({"type": "output_text", "text": "a", "annotations": [{"type": "x"}], "logprobs": [], "parsed": {"a": 1}}, TextPart("a", AT)),
        ({"type": "refusal", "refusal": "no"}, RefusalPart("no", AT)),
        ({"type": "of_tomorrow"}, ForeignPart("of_tomorrow", AT)),
    ],
)
def test_what_a_model_said(given: dict[str, Any], part: Part) -> None:
    assert content(given, "assistant") == (part, [])


BLOCKS = [{"type": "thinking", "thinking": "plan", "signature": "SIG"}, {"type": "redacted_thinking", "data": "RED"}]
SEALED = ("input", 0, "encrypted_content")
SUMMARY = [{"type": "summary_text", "text": "a"}, {"type": "summary_text", "text": "b"}]
CONTENT = [{"type": "reasoning_text", "text": "c"}, {"type": "reasoning_text", "text": "d"}]


@pytest.mark.parametrize(
    ("item", "part"),
    [
        ({"summary": []}, None),
        ({"summary": [], "content": None, "encrypted_content": None}, None),
        (
            {"summary": SUMMARY, "encrypted_content": "ENC"},
            ReasoningPart(SEALED, "openai", "", id="rs_1", encrypted="ENC", summary=["a", "b"]),
        ),
        (
            {"summary": SUMMARY, "content": CONTENT, "encrypted_content": "ENC"},
            ReasoningPart(SEALED, "openai", "c\n\nd", id="rs_1", encrypted="ENC", summary=["a", "b"]),
        ),
        ({"summary": [], "content": CONTENT}, ReasoningPart(("input", 0, "content"), "text", "c\n\nd")),
        ({"summary": SUMMARY, "encrypted_content": None}, ReasoningPart(("input", 0, "summary"), "text", "a\n\nb")),
        (
            {"summary": SUMMARY, "encrypted_content": reasoning.seal_blocks("ant", BLOCKS)},
            ReasoningPart(SEALED, "anthropic", "", BLOCKS, domain="ant"),
        ),
        ({"summary": SUMMARY, "encrypted_content": "dgr1.broken"}, ReasoningPart(SEALED, "foreign")),
        # what the gateway kept of it
        (
            {"summary": SUMMARY, "encrypted_content": "ENC", "dragoman_domain": "or"},
            ReasoningPart(SEALED, "openai", "", id="rs_1", encrypted="ENC", summary=["a", "b"], domain="or"),
        ),
        (
            {"summary": SUMMARY, "dragoman_blocks": BLOCKS, "dragoman_domain": "ant"},
            ReasoningPart(SEALED, "anthropic", "", BLOCKS, domain="ant"),
        ),
        (
            {"summary": SUMMARY, "dragoman_text": "all of it", "dragoman_domain": "ds"},
            ReasoningPart(("input", 0, "content"), "text", "all of it", domain="ds"),
        ),
    ],
)
def test_reasoning(item: dict[str, Any], part: ReasoningPart | None) -> None:
    request = decode(input=[{"type": "reasoning", "id": "rs_1", "status": "completed"} | item])
    assert request.turns == [Turn("assistant", [] if part is None else [part], ("input", 0))]
    assert dropped(request) == []


# ---- tools ----

FIRST = ("tools", 0)
SCHEMA = {"type": "object"}


@pytest.mark.parametrize(
    ("tool", "wanted", "lost"),
    [
        ({"type": "function", "name": "f"}, [Tool("function", "f", FIRST)], []),
        (
            {"type": "function", "name": "f", "description": "d", "parameters": SCHEMA, "strict": False, "defer_loading": True},
            [Tool("function", "f", FIRST, "d", SCHEMA, False, deferred=True)],
            [],
        ),
        ({"type": "function", "name": "f", "parameters": None, "strict": None}, [Tool("function", "f", FIRST)], []),
        ({"type": "function", "name": "f", "mood": 1}, [Tool("function", "f", FIRST)], ["tools[*].mood"]),
        ({"type": "custom", "name": "c", "description": "d"}, [Tool("custom", "c", FIRST, "d")], []),
        ({"type": "custom", "name": "c", "format": {"type": "text"}}, [Tool("custom", "c", FIRST)], []),
        (
            {"type": "custom", "name": "c", "format": {"type": "grammar", "syntax": "lark", "definition": "start: /a/"}},
            [Tool("custom", "c", FIRST, grammar={"syntax": "lark", "definition": "start: /a/"})],
            [],
        ),
        (
            {
                "type": "namespace",
                "name": "n",
                "description": "d",
                "tools": [{"type": "function", "name": "f", "parameters": SCHEMA}, {"type": "custom", "name": "c"}],
            },
            [
                Tool("function", "f", (*FIRST, "tools", 0), description="d", schema=SCHEMA, namespace="n"),
                Tool("custom", "c", (*FIRST, "tools", 1), description="d", namespace="n"),
            ],
            [],
        ),
        ({"type": "web_search"}, [Tool("web_search", "web_search", FIRST, label="web_search")], []),
        (
            {
                "type": "web_search_preview",
                "filters": {"allowed_domains": ["a.b"], "mood": 1},
                "user_location": {"city": "Ulm"},  # the type is optional here only
                "search_context_size": "low",
            },
            [
                Tool(
                    "web_search",
                    "web_search",
                    FIRST,
                    label="web_search_preview",
                    search={
                        "allowed_domains": ["a.b"],
                        "user_location": {"type": "approximate", "city": "Ulm"},
                        "search_context_size": "low",
                    },
                )
            ],
            ["tools[*].filters.mood"],
        ),
        ({"type": "mcp", "server_label": "s"}, [Tool("hosted", "", FIRST, label="mcp")], []),
        ({"type": "tool_search"}, [Tool("tool_search", "", FIRST, label="tool_search")], []),
    ],
)
def test_tools(tool: dict[str, Any], wanted: list[Tool], lost: list[str]) -> None:
    request = decode(tools=[tool])
    assert request.tools == wanted
    assert dropped(request) == lost


def test_tools_declared_in_the_input() -> None:
    """As Codex does for the newest models: the same tools at each request's beginning, which may be stored already."""
    group = {"type": "namespace", "name": "n", "description": "", "tools": [{"type": "custom", "name": "exec"}]}
    item = {"type": "additional_tools", "role": "developer", "id": "at_1", "tools": [group, {"type": "function", "name": "f"}]}
    request = decode([item, ask("a"), item, ask("b")], input=[item, ask("b")])
    assert [(tool.name, tool.namespace, tool.path) for tool in request.tools] == [
        ("exec", "n", ("input", 0, "tools", 0, "tools", 0)),
        ("f", None, ("input", 0, "tools", 1)),
    ]
    assert adapted(request) == ["input[*]"]
    encoded = messages.encode_request(request, Capabilities(), "m")
    assert [tool["name"] for tool in encoded.body["tools"]] == ["n__exec", "f"]
    assert encoded.tools.restore("n__exec").namespace == "n"


@pytest.mark.parametrize(
    ("choice", "wanted"),
    [
        ("auto", ToolChoice("auto", ("tool_choice",))),
        ("none", ToolChoice("none", ("tool_choice",))),
        ("required", ToolChoice("required", ("tool_choice",))),
        ({"type": "function", "name": "f"}, ToolChoice("tool", ("tool_choice",), "f")),
        ({"type": "custom", "name": "c"}, ToolChoice("tool", ("tool_choice",), "c", "custom")),
        ({"type": "web_search"}, ToolChoice("tool", ("tool_choice",), "web_search", "hosted")),
        ({"type": "mcp", "server_label": "s"}, ToolChoice("tool", ("tool_choice",), "mcp", "hosted")),
        (
            {"type": "allowed_tools", "mode": "required", "tools": [{"type": "function", "name": "f"}, {"type": "web_search"}]},
            ToolChoice("allowed", ("tool_choice",), names=("f", "web_search"), required=True),
        ),
        (
            {"type": "allowed_tools", "mode": "auto", "tools": [{"type": "custom", "name": "c"}]},
            ToolChoice("allowed", ("tool_choice",), names=("c",)),
        ),
    ],
)
def test_tool_choice(choice: Any, wanted: ToolChoice) -> None:
    assert decode(tool_choice=choice).take("tool_choice") == wanted


# ---- settings ----

EFFORT = ("reasoning", "effort")
FORMAT = ("text", "format")
JSON_FORMAT = {"type": "json_schema", "name": "o", "schema": SCHEMA, "strict": True, "description": "d"}
LOGPROBS = "include[message.output_text.logprobs]"


@pytest.mark.parametrize(
    ("fields", "wanted", "lost"),
    [
        ({}, {}, []),
        # null and defaults are absence
        (
            {
                "temperature": 1,
                "top_p": 1.0,
                "tools": [],
                "tool_choice": None,
                "parallel_tool_calls": True,
                "text": {},
                "reasoning": {},
                "truncation": "disabled",
                "service_tier": "auto",
                "top_logprobs": 0,
                "include": [],
                "background": False,
                "previous_response_id": None,
                "conversation": None,
                "stream": None,
                "prompt": None,
            },
            {},
            [],
        ),
        # the gateway's own affair
        ({"store": True, "metadata": {"a": "b"}, "stream_options": {"include_obfuscation": False}}, {}, []),
        ({"max_output_tokens": 5}, {"max_tokens": (5, ("max_output_tokens",))}, []),
        ({"temperature": 0, "top_p": 0.5}, {"temperature": (0, ("temperature",)), "top_p": (0.5, ("top_p",))}, []),
        ({"parallel_tool_calls": False}, {"parallel_tool_calls": (False, ("parallel_tool_calls",))}, []),
        ({"include": ["message.output_text.logprobs"]}, {"logprobs": (True, (LOGPROBS,))}, []),
        (
            {"include": ["message.output_text.logprobs"], "top_logprobs": 2},
            {"logprobs": (True, (LOGPROBS,)), "top_logprobs": (2, ("top_logprobs",))},
            [],
        ),
        ({"top_logprobs": 2}, {"logprobs": (True, ("top_logprobs",)), "top_logprobs": (2, ("top_logprobs",))}, []),
        ({"include": ["reasoning.encrypted_content", "file_search_call.results"]}, {}, ["include[file_search_call.results]"]),
        # reasoning
        ({"reasoning": {"effort": "none"}}, {"thinking": (Thinking(EFFORT, "off", "none", show="hide"), EFFORT)}, []),
        ({"reasoning": {"effort": "high"}}, {"thinking": (Thinking(EFFORT, "effort", "high", show="hide"), EFFORT)}, []),
        (
            {"reasoning": {"effort": "low", "summary": "detailed"}},
            {"thinking": (Thinking(EFFORT, "effort", "low", show="summary", summary="detailed"), EFFORT)},
            [],
        ),
        ({"reasoning": {"summary": "auto"}}, {}, []),
        ({"reasoning": {"context": "auto", "mode": "standard"}}, {}, []),
        (
            {"reasoning": {"context": "all_turns", "mode": "pro", "mood": 1}},
            {"reasoning_context": ("all_turns", ("reasoning", "context"))},
            ["reasoning.mode", "reasoning.mood"],
        ),
        # the text's form
        ({"text": {"format": {"type": "text"}, "verbosity": "medium"}}, {}, []),
        ({"text": {"verbosity": "low"}}, {"verbosity": ("low", ("text", "verbosity"))}, []),
        ({"text": {"format": {"type": "json_object"}}}, {"output": (OutputFormat("json_object", FORMAT), FORMAT)}, []),
        (
            {"text": {"format": JSON_FORMAT, "mood": 1}},
            {"output": (OutputFormat("json_schema", FORMAT, "o", SCHEMA, True, "d"), FORMAT)},
            ["text.mood"],
        ),
        # whose it is
        ({"user": "u"}, {"safety_identifier": ("u", ("user",))}, []),
        ({"user": "u", "safety_identifier": "s"}, {"safety_identifier": ("s", ("safety_identifier",))}, []),
        ({"service_tier": "flex"}, {"service_tier": ("flex", ("service_tier",))}, []),
        ({"service_tier": "ultrafast"}, {}, ["service_tier"]),
        (
            {"prompt_cache_key": "k", "prompt_cache_retention": "24h"},
            {"prompt_cache_key": ("k", ("prompt_cache_key",)), "prompt_cache_retention": ("24h", ("prompt_cache_retention",))},
            [],
        ),
        (
            {"prompt_cache_options": {"mode": "implicit", "prewarm": True, "comparison_response_id": "x"}},
            {"prompt_cache_options": ({"mode": "implicit"}, ("prompt_cache_options",))},
            ["prompt_cache_options.comparison_response_id"],
        ),
        # what no other shape knows
        (
            {"max_tool_calls": 3, "truncation": "auto", "context_management": [{"type": "compaction"}], "client_metadata": {"a": 1}},
            {},
            ["max_tool_calls", "truncation", "context_management"],
        ),
        (
            {"background_options": {"a": 1}, "access_programs": ["a"], "image": {"a": 1}, "moderation": {"a": 1}, "seed": 3},
            {"moderation": ({"a": 1}, ("moderation",))},
            ["background_options", "access_programs", "image", "seed"],
        ),
    ],
)
def test_settings(fields: dict[str, Any], wanted: dict[str, Any], lost: list[str]) -> None:
    request = decode(**fields)
    assert request.settings == wanted
    assert dropped(request) == lost
    assert request.include_logprobs == ("logprobs" in wanted)


@pytest.mark.parametrize(
    ("fields", "summary"),
    [
        ({}, None),
        ({"include": ["reasoning.encrypted_content"]}, None),
        ({"reasoning": {"summary": "concise"}}, "concise"),
        ({"reasoning": {"generate_summary": "auto", "summary": None}}, "auto"),
        ({"reasoning": {"summary": "none"}}, None),
    ],
)
def test_what_an_answer_shows(fields: dict[str, Any], summary: str | None) -> None:
    request = decode(**fields)
    assert request.summary == summary
    assert request.ledger.dropped == []


def test_stream_and_model() -> None:
    request = decode(stream=True)
    assert (request.stream, request.model, request.shape) == (True, "m", "responses")
    assert responses.decode_request({"input": "q"}).model == ""


# ---- what is refused ----


@pytest.mark.parametrize(
    ("fields", "error", "param"),
    [
        ({"input": None}, errors.Missing, "input"),
        ({"input": 1}, errors.WrongType, "input"),
        ({"input": ["x"]}, errors.WrongType, "input[0]"),
        ({"input": [{}]}, errors.Missing, "input[0].type"),
        ({"input": [{"type": 1}]}, errors.WrongType, "input[0].type"),
        ({"input": [{"type": "of_tomorrow"}]}, errors.Malformed, "input[0].type"),
        ({"input": [{"type": "compaction", "encrypted_content": "x"}]}, errors.UnsupportedContent, "input[0]"),
        ({"input": [ask("q"), {"type": "compaction_trigger"}, ask("q")]}, errors.Malformed, "input[1]"),
        ({"input": [{"type": "compaction_trigger"}]}, errors.Malformed, "input"),
        ({"input": [{"type": "item_reference", "id": "msg_1"}]}, errors.NotFound, "input"),
        ({"input": [{"role": "tool", "content": "x"}]}, errors.WrongType, "input[0].role"),
        ({"input": [{"role": "user"}]}, errors.Missing, "input[0].content"),
        ({"input": [{"role": "user", "content": 1}]}, errors.WrongType, "input[0].content"),
        ({"input": [call("1")]}, errors.ClientFault, "input"),
        ({"input": [call("1"), ask("q")]}, errors.ClientFault, "input"),
        ({"input": [out("1")]}, errors.ClientFault, "input"),
        ({"input": [{"type": "function_call", "name": "f"}]}, errors.Missing, "input[0].call_id"),
        ({"input": [{"type": "function_call", "call_id": "1"}]}, errors.Missing, "input[0].name"),
        ({"input": [call("1"), {"type": "function_call_output", "call_id": "1", "output": 7}]}, errors.WrongType, "input[1].output"),
        ({"instructions": 1}, errors.WrongType, "instructions"),
        ({"model": 1}, errors.WrongType, "model"),
        ({"stream": "yes"}, errors.WrongType, "stream"),
        ({"store": 1}, errors.WrongType, "store"),
        ({"prompt": {"id": "pmpt_1"}}, errors.Unsupported, "prompt"),
        ({"previous_response_id": "resp_1", "conversation": "conv_1"}, errors.ClientFault, "previous_response_id"),
        ({"max_output_tokens": 0}, errors.Malformed, "max_output_tokens"),
        ({"max_output_tokens": 1.5}, errors.WrongType, "max_output_tokens"),
        ({"temperature": "hot"}, errors.WrongType, "temperature"),
        ({"tools": {}}, errors.WrongType, "tools"),
        ({"tools": [{}]}, errors.Missing, "tools[0].type"),
        ({"tools": [{"type": "function"}]}, errors.Missing, "tools[0].name"),
        ({"tools": [{"type": "function", "name": "f", "parameters": "x"}]}, errors.WrongType, "tools[0].parameters"),
        ({"tools": [{"type": "custom", "name": "f", "format": {"type": "x"}}]}, errors.Malformed, "tools[0].format.type"),
        ({"tools": [{"type": "namespace", "name": "n", "tools": [{"type": "mcp"}]}]}, errors.Malformed, "tools[0].tools[0].type"),
        ({"tool_choice": "some"}, errors.Malformed, "tool_choice"),
        ({"tool_choice": 1}, errors.WrongType, "tool_choice"),
        ({"tool_choice": {"type": "function"}}, errors.Missing, "tool_choice.name"),
        ({"tool_choice": {"type": "allowed_tools", "mode": "x"}}, errors.Malformed, "tool_choice.mode"),
        ({"text": {"format": {"type": "xml"}}}, errors.Malformed, "text.format.type"),
        ({"text": {"format": {"type": "json_schema", "name": "o"}}}, errors.Missing, "text.format.schema"),
        ({"reasoning": "high"}, errors.WrongType, "reasoning"),
        ({"reasoning": {"effort": 3}}, errors.WrongType, "reasoning.effort"),
        ({"include": "x"}, errors.WrongType, "include"),
    ],
)
def test_refused(fields: dict[str, Any], error: type[errors.GatewayError], param: str) -> None:
    with pytest.raises(error) as caught:
        decode(**fields)
    assert caught.value.param == param
    assert caught.value.http_status("responses") == (404 if error is errors.NotFound else 400)


@pytest.mark.parametrize(
    ("part", "error", "param"),
    [
        ("x", errors.WrongType, ""),
        ({}, errors.Missing, ".type"),
        ({"type": "input_text"}, errors.Missing, ".text"),
        ({"type": "input_text", "text": 1}, errors.WrongType, ".text"),
        ({"type": "input_image"}, errors.Missing, ".image_url"),
        ({"type": "input_image", "file_id": "file_1"}, errors.UnsupportedContent, ".file_id"),
        ({"type": "input_image", "image_url": "data:image/png;base64,!"}, errors.Malformed, ".image_url"),
        ({"type": "input_file"}, errors.Missing, ".file_data"),
        ({"type": "input_file", "file_id": "file_1"}, errors.UnsupportedContent, ".file_id"),
        ({"type": "input_file", "file_data": "!"}, errors.Malformed, ".file_data"),
        ({"type": "input_audio", "input_audio": {"data": "x", "format": "wav"}}, errors.UnsupportedContent, ""),
        ({"type": "of_tomorrow"}, errors.UnsupportedContent, ""),
    ],
)
def test_refused_content(part: Any, error: type[errors.GatewayError], param: str) -> None:
    with pytest.raises(error) as caught:
        content(part)
    assert caught.value.param == "input[0].content[0]" + param


@pytest.mark.parametrize(
    ("fields", "message", "code"),
    [
        ({"input": [call("call_X")]}, "No tool output found for function call call_X.", None),
        ({"input": [out("call_X")]}, "No tool call found for function call output with call_id call_X.", None),
        ({"input": [{"type": "item_reference", "id": "msg_1"}]}, "Item with id 'msg_1' not found.", None),
        (
            {"previous_response_id": "resp_1", "conversation": {"id": "conv_1"}},
            "previous_response_id and conversation cannot both be given",
            "mutually_exclusive_parameters",
        ),
    ],
)
def test_wording(fields: dict[str, Any], message: str, code: str | None) -> None:
    with pytest.raises(errors.ClientFault) as caught:
        decode(**fields)
    told = caught.value.openai()
    assert (told["message"], told["code"], told["type"]) == (message, code, "invalid_request_error")


# ---- whole requests ----


def test_what_codex_sends_is_taken() -> None:
    """Codex 0.169 under a model name that it does not know; nothing of it is refused."""
    function = {"type": "function", "name": "exec_command", "description": "d", "strict": False, "parameters": SCHEMA}
    agents = {"type": "namespace", "name": "multi_agent_v1", "description": "d", "tools": [function | {"name": "spawn_agent"}]}
    request = decode(
        tools=[function, agents, {"type": "web_search", "external_web_access": False}, {"type": "tool_search"}],
        tool_choice="auto",
        parallel_tool_calls=True,
        reasoning={"summary": "auto"},
        store=False,
        stream=True,
        include=["reasoning.encrypted_content"],
        prompt_cache_key="01a2038b",
        client_metadata={"session_id": "s"},
        input=[
            {"type": "message", "role": "developer", "content": [{"type": "input_text", "text": "You are Codex."}]},
            {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "List files."}]},
            {"type": "reasoning", "id": "rs_1", "summary": SUMMARY, "content": None, "encrypted_content": "gAAA"},
            {
                "type": "function_call", "id": "fc_1", "name": "spawn_agent", "namespace": "multi_agent_v1",
                "arguments": "{}", "call_id": "call_1", "status": "completed",
            },
            {"type": "function_call_output", "id": "fco_1", "call_id": "call_1", "output": "ok"},
        ],
    )  # fmt: skip
    assert [line_of(turn) for turn in request.turns] == [
        "developer: You are Codex.",
        "user: List files.",
        "assistant: thought, call call_1",
        "tool: call_1=ok",
    ]
    assert dropped(request) == ["tools[*]:web_search"]  # a search that may not go out is no search elsewhere
    lost = ["input[*].encrypted_content", "tools[*]:web_search", "prompt_cache_key", "reasoning.summary"]
    encoded = messages.encode_request(request, Capabilities(), "m")
    assert sorted(dropped(request)) == sorted(lost)
    assert [tool["name"] for tool in encoded.body["tools"]] == ["exec_command", "multi_agent_v1__spawn_agent"]
    assert encoded.body["messages"][1]["content"][0]["name"] == "multi_agent_v1__spawn_agent"


def test_for_a_messages_upstream() -> None:
    request = responses.decode_request(worked.RESPONSES_CLIENT)
    assert messages.encode_request(request, Capabilities(m_max_output=64000), "claude-x").body == worked.AS_MESSAGES
    assert ",".join(dropped(request)) == worked.AS_MESSAGES_DROPPED
    assert ",".join(adapted(request)) == worked.AS_MESSAGES_ADAPTED


def test_for_a_chat_upstream() -> None:
    request = responses.decode_request(worked.RESPONSES_CLIENT)
    assert chat.encode_request(request, Capabilities(), "local").body == worked.AS_CHAT
    assert ",".join(dropped(request)) == worked.AS_CHAT_DROPPED
    assert ",".join(adapted(request)) == worked.AS_CHAT_ADAPTED


_SCALARS = st.none() | st.booleans() | st.integers(-1, 2) | st.sampled_from(["", "user", "assistant", "message", "reasoning", "1"])
_KINDS = st.sampled_from(
    sorted({"function_call", "function_call_output", "custom_tool_call", "input_text", "additional_tools", "namespace"})
)
_NAMES = st.sampled_from(["type", "role", "content", "text", "call_id", "id", "name", "output", "summary", "tools", "encrypted_content"])
_TREES = st.recursive(
    _SCALARS | _KINDS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_NAMES, inner, max_size=4), max_leaves=12
)
_BODY_NAMES = st.sampled_from(["input", "tools", "tool_choice", "reasoning", "text", "include", "max_output_tokens", "stream", "prompt"])


@given(st.dictionaries(_BODY_NAMES, _TREES | st.lists(st.dictionaries(_NAMES, _TREES, max_size=4), max_size=3), max_size=6))
def test_any_object_is_a_request_or_refused(body: dict[str, Any]) -> None:
    with contextlib.suppress(errors.ClientFault):
        responses.decode_request(body)
