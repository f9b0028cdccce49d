"""A hub request as the body for a chat upstream: whole requests, tools and settings by table."""

from __future__ import annotations

import copy
import hashlib
import json
from typing import Any

import pytest

from dragoman.codecs import chat, errors, messages, responses
from dragoman.codecs.capabilities import Capabilities

from . import worked
from .carried import OPENAI, call, from_messages, from_responses, result, use

# ---- whole requests ----


def test_a_messages_clients_request() -> None:
    body = worked.messages_client(worked.TEXT_SEAL)
    request = messages.decode_request(body)
    flags = Capabilities(reasoning_domain="ds", c_reasoning_in="reasoning_content", c_effort_values=("low", "medium", "high"))
    assert chat.encode_request(request, flags, "ds-chat").body == worked.MESSAGES_AS_CHAT
    assert request.ledger.header(request.ledger.dropped, body) == worked.MESSAGES_AS_CHAT_DROPPED
    assert request.ledger.header(request.ledger.adapted, body) == worked.MESSAGES_AS_CHAT_ADAPTED


def test_a_responses_clients_request() -> None:
    body = copy.deepcopy(worked.RESPONSES_CLIENT)
    request = responses.decode_request(body)
    assert chat.encode_request(request, Capabilities(), "local").body == worked.AS_CHAT
    assert request.ledger.header(request.ledger.dropped, body) == worked.AS_CHAT_DROPPED
    assert request.ledger.header(request.ledger.adapted, body) == worked.AS_CHAT_ADAPTED


# ---- tools ----


CLOSED = {"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"], "additionalProperties": False}
OPEN = {"type": "object", "properties": {"a": {"type": "string"}}}


@pytest.mark.parametrize(
    ("tool", "function", "dropped", "adapted"),
    [
        ({"input_schema": OPEN, "description": "d"}, {"description": "d", "parameters": OPEN}, "", ""),
        ({"input_schema": CLOSED}, {"parameters": CLOSED}, "", ""),
        ({"input_schema": CLOSED, "strict": True}, {"parameters": CLOSED, "strict": True}, "", ""),
        ({"input_schema": OPEN, "strict": True}, {"parameters": OPEN}, "tools[*].strict", ""),
        ({"input_schema": OPEN, "strict": False, "type": "custom", "eager_input_streaming": True}, {"parameters": OPEN}, "", ""),
        (
            {"input_schema": OPEN, "description": "d", "input_examples": [{"a": "x"}, {"a": "y"}]},
            {"description": 'd\n\nExamples:\n{"a":"x"}\n{"a":"y"}', "parameters": OPEN},
            "",
            "tools[*].input_examples",
        ),
        ({"input_schema": OPEN, "cache_control": {"type": "ephemeral"}}, {"parameters": OPEN}, "", ""),
    ],
)
def test_tools_of_a_messages_client(tool: dict[str, Any], function: dict[str, Any], dropped: str, adapted: str) -> None:
    carried = from_messages(tools=[{"name": "f"} | tool])
    assert carried.body["tools"] == [{"type": "function", "function": {"name": "f"} | function}]
    assert (carried.dropped, carried.adapted) == (dropped, adapted)


@pytest.mark.parametrize(
    ("tool", "flags", "function", "dropped"),
    [
        ({"parameters": OPEN}, {}, {"parameters": OPEN}, ""),
        ({"parameters": CLOSED}, {}, {"parameters": CLOSED, "strict": True}, ""),
        ({"parameters": CLOSED}, {"c_strict_tools": False}, {"parameters": CLOSED}, ""),
        ({"parameters": OPEN, "strict": True}, {}, {"parameters": OPEN, "strict": True}, ""),
        ({"parameters": OPEN, "strict": True}, {"c_strict_tools": False}, {"parameters": OPEN}, "tools[*].strict"),
        ({"parameters": CLOSED, "strict": False}, {}, {"parameters": CLOSED, "strict": False}, ""),
        ({"parameters": CLOSED, "strict": False}, {"c_strict_tools": False}, {"parameters": CLOSED}, ""),
        ({}, {}, {}, ""),
    ],
)
def test_tools_of_a_responses_client(tool: dict[str, Any], flags: dict[str, Any], function: dict[str, Any], dropped: str) -> None:
    carried = from_responses(flags, tools=[{"type": "function", "name": "f"} | tool])
    assert carried.body["tools"] == [{"type": "function", "function": {"name": "f"} | function}]
    assert carried.dropped == dropped


GRAMMAR = {"syntax": "lark", "definition": "start: /a/"}


def test_tools_with_free_text() -> None:
    tools = [{"type": "custom", "name": "p", "description": "d", "format": {"type": "grammar"} | GRAMMAR}]
    history = [
        {"role": "user", "content": "q"},
        {"type": "custom_tool_call", "call_id": "c", "name": "p", "input": "a\n"},
        {"type": "custom_tool_call_output", "call_id": "c", "output": "r"},
    ]
    native = from_responses(OPENAI, tools=tools, input=history, tool_choice={"type": "custom", "name": "p"})
    form = {"type": "grammar", "grammar": GRAMMAR}
    assert native.body["tools"] == [{"type": "custom", "custom": {"name": "p", "description": "d", "format": form}}]
    assert native.body["tool_choice"] == {"type": "custom", "custom": {"name": "p"}}
    assert native.messages[1]["tool_calls"] == [{"id": "c", "type": "custom", "custom": {"name": "p", "input": "a\n"}}]
    assert native.adapted == ""
    emulated = from_responses(tools=tools, input=history, tool_choice={"type": "custom", "name": "p"})
    description = 'd\n\nThe "input" string must follow this lark grammar:\nstart: /a/'
    function = {"name": "p", "description": description, "parameters": worked.INPUT_SCHEMA}
    assert emulated.body["tools"] == [{"type": "function", "function": function}]
    assert emulated.body["tool_choice"] == {"type": "function", "function": {"name": "p"}}
    assert emulated.messages[1]["tool_calls"] == [call(name="p", arguments='{"input":"a\\n"}')]
    assert emulated.adapted == "tools[*]"


def test_tools_of_a_namespace() -> None:
    space = {"type": "namespace", "name": "n", "tools": [{"type": "function", "name": "f", "parameters": OPEN}]}
    history = [
        {"role": "user", "content": "q"},
        {"type": "function_call", "call_id": "c", "namespace": "n", "name": "f", "arguments": "{}"},
        {"type": "function_call_output", "call_id": "c", "output": "r"},
    ]
    request = responses.decode_request({"model": "m", "input": history, "tools": [space]})
    encoded = chat.encode_request(request, Capabilities(), "up")
    assert encoded.body["tools"][0]["function"]["name"] == "n__f"
    assert encoded.body["messages"][1]["tool_calls"][0]["function"]["name"] == "n__f"
    declared = encoded.tools.restore("n__f")
    assert (declared.name, declared.namespace) == ("f", "n")


PLACE = {"type": "approximate", "city": "Ulm", "country": "DE"}
PLACED = {"type": "approximate", "approximate": {"city": "Ulm", "country": "DE"}}


def test_web_search() -> None:
    tools = [{"type": "web_search", "search_context_size": "low", "user_location": PLACE}]
    carried = from_responses(OPENAI, tools=tools)
    assert carried.body["web_search_options"] == {"search_context_size": "low", "user_location": PLACED}
    assert "tools" not in carried.body
    theirs = {"type": "web_search_20250305", "name": "web_search", "max_uses": 3, "user_location": PLACE}
    other = from_messages(OPENAI, tools=[theirs])
    assert other.body["web_search_options"] == {"user_location": PLACED}
    assert other.dropped == "tools[*].max_uses"
    assert from_messages(tools=[theirs]).dropped == "tools[*]:web_search_20250305"


@pytest.mark.parametrize(("asked", "sent", "adapted"), [("30m", "30m", ""), ("12h", "30m", "prompt_cache_options.ttl=30m")])
def test_how_long_a_cache_entry_stays(asked: str, sent: str, adapted: str) -> None:
    carried = from_responses({"openai_host": True}, prompt_cache_options={"mode": "implicit", "ttl": asked})
    assert carried.body["prompt_cache_options"] == {"mode": "implicit", "ttl": sent}
    assert carried.adapted == adapted


def test_a_search_that_may_not_go_everywhere_goes_nowhere() -> None:
    for key in ("allowed_domains", "blocked_domains"):
        ours = from_responses(OPENAI, tools=[{"type": "web_search", "filters": {key: ["h"]}}])
        theirs = from_messages(OPENAI, tools=[{"type": "web_search_20250305", "name": "web_search", key: ["h"]}])
        assert "web_search_options" not in ours.body | theirs.body
        assert (ours.dropped, theirs.dropped) == ("tools[*]:web_search", "tools[*]:web_search_20250305")


def test_tools_that_only_their_provider_runs() -> None:
    for kind in ("computer_20250124", "code_execution_20260120", "computer_toolset_20260801", "mcp_toolset"):
        assert from_messages(tools=[{"type": kind, "name": "x"}]).dropped == f"tools[*]:{kind}"
    for environment in ("container_auto", "container_reference"):
        assert from_responses(tools=[{"type": "shell", "environment": {"type": environment}}]).dropped == "tools[*]:shell"


A_TOOL = {"name": "f", "input_schema": OPEN}


@pytest.mark.parametrize(
    ("choice", "found"),
    [
        ({"type": "auto"}, "auto"),
        ({"type": "none"}, "none"),
        ({"type": "any"}, "required"),
        ({"type": "tool", "name": "f"}, {"type": "function", "function": {"name": "f"}}),
    ],
)
def test_tool_choice(choice: dict[str, Any], found: Any) -> None:
    carried = from_messages(tools=[A_TOOL], tool_choice=choice)
    assert carried.body["tool_choice"] == found
    assert "parallel_tool_calls" not in carried.body
    alone = from_messages(tools=[A_TOOL], tool_choice=choice | {"disable_parallel_tool_use": True})
    assert alone.body["parallel_tool_calls"] is False


def test_tool_choice_without_tools() -> None:
    for kind in ("auto", "none"):
        carried = from_messages(tool_choice={"type": kind, "disable_parallel_tool_use": True})
        assert not {"tools", "tool_choice", "parallel_tool_calls"} & carried.body.keys()
        assert carried.dropped == ""
    for choice in ({"type": "any"}, {"type": "tool", "name": "f"}):
        with pytest.raises(errors.Unsupported, match=r"requires tools|not among the tools") as caught:
            from_messages(tool_choice=choice)
        assert caught.value.param == "tool_choice"


@pytest.mark.parametrize("choice", [{"type": "function", "name": "gone"}, {"type": "web_search"}])
def test_tool_choice_of_what_is_not_there(choice: dict[str, Any]) -> None:
    tools = [{"type": "function", "name": "f"}, {"type": "web_search"}]
    for flags in ({}, OPENAI):
        with pytest.raises(errors.Unsupported) as caught:
            from_responses(flags, tools=tools, tool_choice=choice)
        dropped = choice["type"] == "web_search" and not flags  # then it is the tool that cannot be had
        assert caught.value.param == ("tools[1]" if dropped else "tool_choice")
        assert not dropped or "web_search is not supported" in caught.value.message


def test_some_of_the_tools() -> None:
    tools = [{"type": "function", "name": name, "parameters": OPEN} for name in "fgh"]
    choice = {"type": "allowed_tools", "mode": "required", "tools": [{"type": "function", "name": name} for name in "fh"]}
    native = from_responses(OPENAI, tools=tools, tool_choice=choice)
    named = [{"type": "function", "function": {"name": name}} for name in "fh"]
    assert native.body["tool_choice"] == {"type": "allowed_tools", "allowed_tools": {"mode": "required", "tools": named}}
    assert len(native.body["tools"]) == 3
    assert native.adapted == ""
    filtered = from_responses(tools=tools, tool_choice=choice)
    assert [tool["function"]["name"] for tool in filtered.body["tools"]] == ["f", "h"]
    assert filtered.body["tool_choice"] == "required"
    assert filtered.adapted == "tool_choice"


def test_names_that_no_upstream_takes() -> None:
    odd = "get.weather"
    sent = "get_weather_" + hashlib.sha256(odd.encode()).hexdigest()[:8]
    tools = [{"name": odd, "input_schema": OPEN}]
    history = [
        {"role": "user", "content": "q"},
        {"role": "assistant", "content": [use(name=odd)]},
        {"role": "user", "content": [result("r")]},
    ]
    carried = from_messages(tools=tools, messages=history, tool_choice={"type": "tool", "name": odd})
    assert carried.body["tools"][0]["function"]["name"] == sent
    assert carried.messages[1]["tool_calls"][0]["function"]["name"] == sent
    assert carried.body["tool_choice"] == {"type": "function", "function": {"name": sent}}
    assert carried.adapted == "tools[*]"


def test_two_tools_of_one_name() -> None:
    with pytest.raises(errors.Malformed) as caught:
        from_messages(tools=[A_TOOL, A_TOOL])
    assert (caught.value.code, caught.value.param) == ("invalid_request_error", "tools[1].name")


# ---- settings ----


HIDDEN = hashlib.sha256(b"u" * 129).hexdigest()


@pytest.mark.parametrize(
    ("fields", "flags", "found", "dropped", "adapted"),
    [
        ({}, {}, {"max_tokens": 9}, "", ""),
        ({}, {"c_max_tokens_field": "max_completion_tokens"}, {"max_completion_tokens": 9}, "", ""),
        ({"temperature": 0.5, "top_p": 0.9}, {}, {"temperature": 0.5, "top_p": 0.9}, "", ""),
        ({"top_k": 5}, {}, {}, "top_k", ""),
        ({"top_k": 5}, {"c_top_k": True}, {"top_k": 5}, "", ""),
        ({"stop_sequences": ["a", "b"]}, {}, {"stop": ["a", "b"]}, "", ""),
        ({"stop_sequences": list("abcde")}, {}, {"stop": list("abcd")}, "stop_sequences", ""),
        ({"stream": True}, {}, {"stream": True, "stream_options": {"include_usage": True}}, "", ""),
        ({"metadata": {"user_id": "u"}}, {}, {"user": "u"}, "", ""),
        ({"metadata": {"user_id": "u"}}, {"openai_host": True}, {"safety_identifier": "u"}, "", ""),
        ({"metadata": {"user_id": "u" * 129}}, {}, {"user": HIDDEN}, "", "metadata.user_id"),
        ({"service_tier": "auto"}, {}, {}, "", ""),
        ({"service_tier": "standard_only"}, {}, {"service_tier": "default"}, "", "service_tier=default"),
        ({"speed": "fast"}, {}, {}, "speed", ""),
        ({"speed": "fast"}, {"c_fast_tier": True}, {"service_tier": "fast"}, "", ""),
        ({"cache_control": {"type": "ephemeral"}}, {}, {}, "", ""),
        ({"cache_control": {"type": "ephemeral"}}, {"openai_host": True}, {"prompt_cache_options": {"mode": "implicit"}}, "", ""),
        ({"context_management": {"edits": [{}]}, "container": "c", "betas": ["b"]}, {}, {}, "context_management,container", ""),
        ({"thinking": {"type": "disabled"}}, {}, {}, "thinking", ""),
        ({"thinking": {"type": "disabled"}}, {"c_effort_values": ()}, {}, "", ""),
        ({"thinking": {"type": "disabled"}}, {"c_effort_values": ("none", "low")}, {"reasoning_effort": "none"}, "", ""),
        ({"thinking": {"type": "adaptive"}}, {}, {}, "", ""),
        ({"thinking": {"type": "enabled", "budget_tokens": 1024}}, {}, {"reasoning_effort": "low"}, "", "thinking=low"),
        ({"thinking": {"type": "enabled", "budget_tokens": 20000}}, {}, {"reasoning_effort": "high"}, "", "thinking=high"),
        ({"thinking": {"type": "enabled", "budget_tokens": 1024}}, {"c_effort_values": ()}, {}, "thinking", ""),
        ({"output_config": {"effort": "high"}}, {}, {"reasoning_effort": "high"}, "", ""),
        ({"output_config": {"effort": "max"}}, {}, {"reasoning_effort": "high"}, "", "output_config.effort=high"),
    ],
)
def test_settings_of_a_messages_client(
    fields: dict[str, Any], flags: dict[str, Any], found: dict[str, Any], dropped: str, adapted: str
) -> None:
    carried = from_messages(flags, **fields)
    extra = {} if "max_completion_tokens" in found else {"max_tokens": 9}
    assert carried.body == {"model": "up", "messages": [{"role": "user", "content": "q"}]} | extra | found
    assert (carried.dropped, carried.adapted) == (dropped, adapted)


CACHE = {
    "prompt_cache_key": "k",
    "prompt_cache_options": {"mode": "explicit", "comparison_response_id": "x"},
    "prompt_cache_retention": "24h",
}


@pytest.mark.parametrize(
    ("fields", "flags", "found", "dropped"),
    [
        ({"max_output_tokens": 500}, {}, {"max_tokens": 500}, ""),
        ({"max_output_tokens": 5}, OPENAI, {"max_completion_tokens": 5}, ""),
        ({"temperature": 1.5, "top_p": 0.9}, {}, {"temperature": 1.5, "top_p": 0.9}, ""),
        ({"include": ["message.output_text.logprobs"]}, {}, {"logprobs": True}, ""),
        ({"top_logprobs": 3}, {}, {"logprobs": True, "top_logprobs": 3}, ""),
        ({"include": ["file_search_call.results"]}, {}, {}, "include[file_search_call.results]"),
        ({"reasoning": {"effort": "high", "summary": "auto"}}, {}, {"reasoning_effort": "high"}, ""),
        ({"reasoning": {"effort": "none"}}, {}, {}, "reasoning.effort"),
        ({"reasoning": {"effort": "minimal"}}, OPENAI, {"reasoning_effort": "minimal"}, ""),
        ({"text": {"verbosity": "low"}}, {}, {}, "text.verbosity"),
        ({"text": {"verbosity": "low"}}, OPENAI, {"verbosity": "low"}, ""),
        ({"store": True, "metadata": {"a": "b"}, "truncation": "disabled"}, {}, {}, ""),
        ({"truncation": "auto", "max_tool_calls": 3}, {}, {}, "truncation,max_tool_calls"),
        ({"stream_options": {"include_obfuscation": False}}, {}, {}, ""),
        ({"user": "u"}, {}, {"user": "u"}, ""),
        ({"user": "u", "safety_identifier": "s"}, OPENAI, {"safety_identifier": "s"}, ""),
        ({"service_tier": "flex"}, {}, {"service_tier": "flex"}, ""),
        ({"service_tier": "ultrafast"}, {}, {}, "service_tier"),
        (CACHE, {}, {}, "prompt_cache_key,prompt_cache_options,prompt_cache_options.comparison_response_id,prompt_cache_retention"),
        (
            CACHE,
            OPENAI,
            {"prompt_cache_key": "k", "prompt_cache_retention": "24h", "prompt_cache_options": {"mode": "explicit"}},
            "prompt_cache_options.comparison_response_id",
        ),
        ({"parallel_tool_calls": False}, {}, {}, ""),
    ],
)
def test_settings_of_a_responses_client(fields: dict[str, Any], flags: dict[str, Any], found: dict[str, Any], dropped: str) -> None:
    carried = from_responses(flags, **fields)
    assert carried.body == {"model": "up", "messages": [{"role": "user", "content": "q"}]} | found
    assert carried.dropped == dropped


SCHEMA = {"type": "object", "properties": {}, "title": "A city"}


@pytest.mark.parametrize(
    ("schema", "flags", "found", "dropped"),
    [
        (SCHEMA, {}, {"name": "A_city", "schema": SCHEMA, "strict": False}, ""),
        (CLOSED, {}, {"name": "output", "schema": CLOSED, "strict": True}, ""),
        (OPEN, {"c_json_schema": False, "c_json_object": False}, None, "output_config.format"),
    ],
)
def test_structured_output_of_a_messages_client(schema: dict[str, Any], flags: dict[str, Any], found: Any, dropped: str) -> None:
    carried = from_messages(flags, output_config={"format": {"type": "json_schema", "schema": schema}})
    wanted = {"type": "json_schema", "json_schema": found} if found else None
    assert carried.body.get("response_format") == wanted
    assert carried.dropped == dropped


CITY = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"], "additionalProperties": False}
IN_WORDS = "Answer with one JSON value, and nothing else, that is valid by this JSON schema:\n" + json.dumps(CITY, separators=(",", ":"))
TURNS = [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}, {"role": "user", "content": "again"}]


def test_a_schema_in_words() -> None:
    """Where an upstream takes `json_object` alone; always in the same place, so that the beginning of the prompt stays."""
    flags = {"c_json_schema": False}
    carried = from_messages(flags, messages=TURNS, output_config={"format": {"type": "json_schema", "schema": CITY}})
    assert carried.body["response_format"] == {"type": "json_object"}
    assert "".join(carried.body["messages"][0]["content"]) == f"q\n\n{IN_WORDS}"
    assert carried.body["messages"][1:] == TURNS[1:]
    assert (carried.dropped, carried.adapted) == ("", "output_config.format")
    carried = from_responses(flags, input=TURNS, text={"format": {"type": "json_schema", "name": "n", "schema": CITY}})
    assert (carried.dropped, carried.adapted) == ("", "text.format")
    carried = from_responses(flags | {"c_json_object": False}, text={"format": {"type": "json_schema", "name": "n", "schema": CITY}})
    assert carried.body == {"model": "up", "messages": [{"role": "user", "content": f"q\n\n{IN_WORDS}"}]}
    assert (carried.dropped, carried.adapted) == ("text.format", "input")


@pytest.mark.parametrize(
    ("form", "found"),
    [
        ({"type": "text"}, None),
        ({"type": "json_object"}, {"type": "json_object"}),
        (
            {"type": "json_schema", "name": "n", "schema": OPEN, "strict": True, "description": "d"},
            {"type": "json_schema", "json_schema": {"name": "n", "schema": OPEN, "strict": True, "description": "d"}},
        ),
    ],
)
def test_structured_output_of_a_responses_client(form: dict[str, Any], found: Any) -> None:
    assert from_responses(text={"format": form}).body.get("response_format") == found
