"""Chat and messages clients' requests as bodies for a responses upstream: every part and field by table, and what is reported."""

from __future__ import annotations

from typing import Any

import pytest

from dragoman.codecs import chat, errors, messages, reasoning, responses
from dragoman.codecs.capabilities import Capabilities

from . import worked
from .responses_upstream import PLAIN, SCHEMA, SEARCH, STRICT, changed, encode, lost

USUAL = {"model": "up", "store": False, "include": ["reasoning.encrypted_content"]}
PNG = "iVBORw0KGgo="
IMAGE = {"type": "input_image", "image_url": f"data:image/png;base64,{PNG}", "detail": "auto"}
EPHEMERAL = {"type": "ephemeral"}
LONG = {"type": "ephemeral", "ttl": "1h"}
F = {"type": "function", "function": {"name": "f"}}


def items(shape: str, *turns: dict[str, Any], capabilities: Capabilities | None = None) -> tuple[list[Any], str, str]:
    """The input, what was dropped and what adapted."""
    body, request = encode(shape, capabilities, messages=list(turns))
    return body["input"], lost(request), changed(request)


# ---- content ----

OPENAI = Capabilities(openai_host=True)
TEXT = {"type": "text", "text": "a"}
WRITTEN = {"type": "input_text", "text": "a"}


@pytest.mark.parametrize(
    ("shape", "content", "written", "adapted"),
    [
        ("chat", "a", "a", ""),
        ("chat", "", "", ""),
        ("chat", [TEXT], "a", ""),
        (
            "chat",
            [{"type": "image_url", "image_url": {"url": "https://h/i", "detail": "low"}}],
            [{"type": "input_image", "image_url": "https://h/i", "detail": "low"}],
            "",
        ),
        ("chat", [{"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PNG}"}}], [IMAGE], ""),
        (
            "chat",
            [{"type": "file", "file": {"file_data": "data:application/pdf;base64,JVBERi0=", "filename": "a.pdf"}}],
            [{"type": "input_file", "filename": "a.pdf", "file_data": "data:application/pdf;base64,JVBERi0="}],
            "",
        ),
        (
            "chat",
            [{"type": "file", "file": {"file_data": "data:text/plain;base64,aGk="}}],
            [{"type": "input_file", "filename": "document", "file_data": "data:text/plain;base64,aGk="}],
            "",
        ),
        (
            "chat",
            [{"type": "file", "file": {"file_data": f"data:image/png;base64,{PNG}", "filename": "i.png"}}],
            [IMAGE],
            "messages[*].content[*]",
        ),
        (
            "chat",
            [TEXT | {"prompt_cache_breakpoint": {"mode": "explicit", "ttl": "12h"}}],
            [WRITTEN | {"prompt_cache_breakpoint": {"mode": "explicit", "ttl": "12h"}}],
            "",
        ),
        ("messages", "a", "a", ""),
        ("messages", [TEXT], "a", ""),
        ("messages", [{"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PNG}}], [IMAGE], ""),
        (
            "messages",
            [{"type": "image", "source": {"type": "url", "url": "https://h/i"}}],
            [{"type": "input_image", "image_url": "https://h/i", "detail": "auto"}],
            "",
        ),
        (
            "messages",
            [{"type": "document", "source": {"type": "base64", "media_type": "application/pdf", "data": "JVBERi0="}}],
            [{"type": "input_file", "filename": "document.pdf", "file_data": "data:application/pdf;base64,JVBERi0="}],
            "",
        ),
        (
            "messages",
            [{"type": "document", "source": {"type": "url", "url": "https://h/d.pdf"}, "title": "T", "context": "C"}],
            [{"type": "input_text", "text": "Context: C"}, {"type": "input_file", "file_url": "https://h/d.pdf"}],
            "messages[*].content[*].context",
        ),
        (
            "messages",
            [{"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "d"}, "title": 'T"<'}],
            '<document title="T&quot;&lt;">\nd\n</document>',
            "messages[*].content[*]",
        ),
        (
            "messages",
            [
                {
                    "type": "document",
                    "source": {
                        "type": "content",
                        "content": [TEXT, {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PNG}}],
                    },
                }
            ],
            [WRITTEN, IMAGE],
            "messages[*].content[*]",
        ),
        (
            "messages",
            [{"type": "search_result", "source": "s", "title": "t", "content": [TEXT]}],
            '<search_result source="s" title="t">\na\n</search_result>',
            "messages[*].content[*]",
        ),
    ],
)
def test_what_a_user_says(shape: str, content: Any, written: Any, adapted: str) -> None:
    message = {"type": "message", "role": "user", "content": written}
    assert items(shape, {"role": "user", "content": content}) == ([message], "", adapted)


@pytest.mark.parametrize(
    ("control", "capabilities", "mark", "adapted"),
    [
        (EPHEMERAL, Capabilities(), None, ""),
        (EPHEMERAL, OPENAI, {"mode": "explicit", "ttl": "30m"}, ""),
        (LONG, OPENAI, {"mode": "explicit", "ttl": "12h"}, "messages[*].content[*].cache_control"),
    ],
)
def test_cache_marks(control: dict[str, str], capabilities: Capabilities, mark: dict[str, str] | None, adapted: str) -> None:
    written = WRITTEN if mark is None else WRITTEN | {"prompt_cache_breakpoint": mark}
    message = {"type": "message", "role": "user", "content": "a" if mark is None else [written]}
    content = [TEXT | {"cache_control": control}]
    assert items("messages", {"role": "user", "content": content}, capabilities=capabilities) == ([message], "", adapted)


# ---- turns ----


def said(text: str) -> dict[str, Any]:
    return {"type": "message", "role": "assistant", "content": text}


def call(id: str, arguments: str = "{}", name: str = "f") -> dict[str, Any]:
    return {"type": "function_call", "call_id": id, "name": name, "arguments": arguments}


def out(id: str, output: Any) -> dict[str, Any]:
    return {"type": "function_call_output", "call_id": id, "output": output}


def use(id: str, **given: Any) -> dict[str, Any]:
    return {"type": "tool_use", "id": id, "name": "f", "input": given}


SEAL = reasoning.seal_item("oai", "rs_1", "E1", ["plan"])
OWN = Capabilities(reasoning_domain="oai")
THOUGHT = {"type": "reasoning", "id": "rs_1", "summary": [{"type": "summary_text", "text": "plan"}], "encrypted_content": "E1"}


def think(signature: str) -> dict[str, Any]:
    return {"type": "thinking", "thinking": "plan", "signature": signature}


@pytest.mark.parametrize(
    ("content", "written", "dropped"),
    [
        ("A", [said("A")], ""),
        ([TEXT, {"type": "text", "text": "b"}], [said("ab")], ""),
        ([TEXT, use("c1", x="é"), {"type": "text", "text": "b"}], [said("a"), call("c1", '{"x":"é"}'), said("b")], ""),
        ([use("c1"), use("c2")], [call("c1"), call("c2")], ""),
        ([{"type": "tool_use", "id": "c1", "name": "f", "input": {"INVALID_JSON": "{x"}}], [call("c1", "{x")], ""),
        # only the account that sealed reasoning reads it, and only before something
        ([think(SEAL), TEXT], [THOUGHT, said("a")], ""),
        ([TEXT, think(SEAL), use("c1")], [said("a"), THOUGHT, call("c1")], ""),
        ([think(SEAL), think(SEAL), use("c1")], [THOUGHT, THOUGHT, call("c1")], ""),
        ([TEXT, think(SEAL)], [said("a")], "messages[*].content[*].thinking"),
        ([think(reasoning.seal_item("other", "rs_1", "E1", [])), TEXT], [said("a")], "messages[*].content[*].thinking"),
        ([think(reasoning.seal_text("oai")), TEXT], [said("a")], "messages[*].content[*].thinking"),
        ([think("SIG"), TEXT], [said("a")], "messages[*].content[*].thinking"),
        ([{"type": "redacted_thinking", "data": "R"}, TEXT], [said("a")], "messages[*].content[*].data"),
        (
            [{"type": "of_tomorrow", "id": "s"}, TEXT],
            [said("a")],
            "messages[*].content[*]:of_tomorrow",
        ),
    ],
)
def test_what_a_model_said_in_messages(content: Any, written: list[Any], dropped: str) -> None:
    found = items("messages", {"role": "user", "content": "q"}, {"role": "assistant", "content": content}, capabilities=OWN)
    assert found == ([{"type": "message", "role": "user", "content": "q"}, *written], dropped, "")


def test_an_upstream_without_encrypted_reasoning() -> None:
    body, request = encode(
        "messages",
        Capabilities(reasoning_domain="oai", r_encrypted_reasoning=False),
        messages=[{"role": "user", "content": "q"}, {"role": "assistant", "content": [think(SEAL), TEXT]}],
    )
    assert "include" not in body
    assert body["input"][1:] == [said("a")]
    assert lost(request) == "messages[*].content[*].thinking"


RESULT = {"type": "tool_result", "tool_use_id": "c1"}
PICTURE = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PNG}}


@pytest.mark.parametrize(
    ("result", "output", "adapted"),
    [
        ({}, "", ""),
        ({"content": "r"}, "r", ""),
        ({"content": [TEXT]}, "a", ""),
        ({"content": [TEXT, {"type": "text", "text": "b"}]}, "a\nb", ""),
        ({"content": [PICTURE, TEXT]}, [IMAGE, WRITTEN], ""),
        ({"content": "bad", "is_error": True}, "Error: bad", "messages[*].content[*].is_error"),
        ({"content": "ERROR: bad", "is_error": True}, "ERROR: bad", ""),
        (
            {"content": [PICTURE, TEXT], "is_error": True},
            [IMAGE, {"type": "input_text", "text": "Error: a"}],
            "messages[*].content[*].is_error",
        ),
        ({"content": [PICTURE], "is_error": True}, [{"type": "input_text", "text": "Error:"}, IMAGE], "messages[*].content[*].is_error"),
        (
            {"content": [{"type": "document", "source": {"type": "base64", "media_type": "application/pdf", "data": "JVBERi0="}}]},
            [{"type": "input_file", "filename": "document.pdf", "file_data": "data:application/pdf;base64,JVBERi0="}],
            "",
        ),
    ],
)
def test_results_in_messages(result: dict[str, Any], output: Any, adapted: str) -> None:
    turns = [{"role": "assistant", "content": [use("c1")]}, {"role": "user", "content": [TEXT, RESULT | result, TEXT]}]
    told = {"type": "message", "role": "user", "content": [WRITTEN, WRITTEN]}
    assert items("messages", *turns) == ([call("c1"), out("c1", output), told], "", adapted)


def test_systems_in_messages() -> None:
    body, request = encode(
        "messages",
        system=[TEXT, {"type": "text", "text": "b", "cache_control": EPHEMERAL}],
        messages=[{"role": "user", "content": "q"}, {"role": "system", "content": "M"}],
    )
    assert body["instructions"] == "a\n\nb"
    assert body["input"] == [
        {"type": "message", "role": "user", "content": "q"},
        {"type": "message", "role": "developer", "content": "M"},
    ]
    assert (lost(request), changed(request)) == ("", "")
    assert "instructions" not in encode("messages", system="")[0]


def chat_call(id: str, arguments: str) -> dict[str, Any]:
    return {"id": id, "type": "function", "function": {"name": "f", "arguments": arguments}}


def entry(kind: str, index: int, **more: Any) -> dict[str, Any]:
    return {"type": f"reasoning.{kind}", "id": "rs_1", "format": "openai-responses-v1", "index": index, **more}


@pytest.mark.parametrize(
    ("message", "written", "dropped"),
    [
        ({"content": "A"}, [said("A")], ""),
        ({"content": [TEXT, {"type": "text", "text": "b"}]}, [said("ab")], ""),
        ({"content": "A", "refusal": "no"}, [said("A"), said("no")], ""),
        ({"content": None, "tool_calls": [chat_call("c1", " "), chat_call("c2", '{"a": 1}')]}, [call("c1"), call("c2", '{"a": 1}')], ""),
        (
            {"content": None, "tool_calls": [{"id": "c1", "type": "custom", "custom": {"name": "sh", "input": ""}}]},
            [{"type": "custom_tool_call", "call_id": "c1", "name": "sh", "input": ""}],
            "",
        ),
        (
            {
                "content": "A",
                "reasoning_content": "plan",
                "reasoning_details": [entry("summary", 0, summary="plan"), entry("encrypted", 1, data="E1")],
            },
            [THOUGHT, said("A")],
            "",
        ),
        (
            {"content": "A", "reasoning_details": [entry("summary", 0, summary="plan")]},
            [said("A")],
            "messages[*].reasoning_details",
        ),
        ({"content": "A", "reasoning_content": "plan"}, [said("A")], "messages[*].reasoning_content"),
        (
            {"content": None, "reasoning_details": [entry("encrypted", 0, data="E1")]},
            [],
            "messages[*].reasoning_details",
        ),
    ],
)
def test_what_a_model_said_in_chat(message: dict[str, Any], written: list[Any], dropped: str) -> None:
    found, told, _ = items("chat", {"role": "user", "content": "q"}, {"role": "assistant", **message})
    assert found[1:] == written
    assert told == dropped


def test_reasoning_of_a_chat_client_stands_where_it_stood() -> None:
    message = {
        "role": "assistant",
        "content": "so\n\nthen",
        "reasoning_details": [entry("encrypted", 0, data="E1", dragoman_layout="t2,r0,u0,t4")],
        "tool_calls": [chat_call("c1", "{}")],
    }
    found, told, _ = items("chat", message)
    assert found == [said("so"), THOUGHT | {"summary": []}, call("c1"), said("then")]
    assert told == ""


def test_results_in_chat() -> None:
    """The kind of a result is that of the call with its id."""
    found, dropped, adapted = items(
        "chat",
        {"role": "developer", "content": "D"},
        {
            "role": "assistant",
            "content": None,
            "tool_calls": [chat_call("c1", "{}"), {"id": "c2", "type": "custom", "custom": {"name": "sh", "input": "ls"}}],
        },
        {"role": "tool", "tool_call_id": "c2", "content": [TEXT, {"type": "text", "text": "b"}]},
        {"role": "tool", "tool_call_id": "c1", "content": "r"},
    )
    assert found == [
        {"type": "message", "role": "developer", "content": "D"},
        call("c1"),
        {"type": "custom_tool_call", "call_id": "c2", "name": "sh", "input": "ls"},
        {"type": "custom_tool_call_output", "call_id": "c2", "output": "a\nb"},
        out("c1", "r"),
    ]
    assert (dropped, adapted) == ("", "")


@pytest.mark.parametrize(("capabilities", "kept"), [(Capabilities(), True), (OPENAI, False)])
def test_long_call_ids(capabilities: Capabilities, kept: bool) -> None:
    """OpenAI takes 64 characters; call and result are renamed alike."""
    id = "x" * 65
    turns = [{"role": "assistant", "content": [use(id)]}, {"role": "user", "content": [RESULT | {"tool_use_id": id}]}]
    found, _, _ = items("messages", *turns, capabilities=capabilities)
    assert found[0]["call_id"] == found[1]["call_id"]
    assert (found[0]["call_id"] == id) is kept
    assert kept or len(found[0]["call_id"]) == len("call_") + 24


# ---- settings ----

FORMAT = {"type": "json_schema", "json_schema": {"name": "o", "schema": SCHEMA, "strict": True, "description": "d"}}
LONG_NAME = "u" * 129


@pytest.mark.parametrize(
    ("fields", "wanted", "dropped", "adapted"),
    [
        ({}, {}, "", ""),
        ({"max_completion_tokens": 100, "max_tokens": 7}, {"max_output_tokens": 100}, "", ""),
        ({"max_tokens": 5}, {"max_output_tokens": 16}, "", "max_tokens=16"),
        ({"temperature": 1.7, "top_p": 0.5}, {"temperature": 1.7, "top_p": 0.5}, "", ""),
        (
            {"top_k": 3, "stop": "x", "seed": 1, "presence_penalty": 1, "logit_bias": {"1": 2}, "prediction": {"type": "content"}},
            {},
            "top_k,stop,seed,presence_penalty,logit_bias,prediction",
            "",
        ),
        (
            {"logprobs": True, "top_logprobs": 2},
            {"include": [*USUAL["include"], "message.output_text.logprobs"], "top_logprobs": 2},
            "",
            "",
        ),
        ({"response_format": {"type": "json_object"}}, {"text": {"format": {"type": "json_object"}}}, "", ""),
        (
            {"response_format": FORMAT, "verbosity": "low"},
            {
                "text": {
                    "format": {"type": "json_schema", "name": "o", "schema": SCHEMA, "strict": True, "description": "d"},
                    "verbosity": "low",
                }
            },
            "",
            "",
        ),
        ({"reasoning_effort": "none"}, {"reasoning": {"effort": "none"}}, "", ""),
        ({"reasoning_effort": "xhigh"}, {"reasoning": {"effort": "xhigh", "summary": "auto"}}, "", ""),
        ({"store": True}, {}, "", "store=false"),
        ({"store": False, "metadata": {"a": "b"}}, {"metadata": {"a": "b"}}, "", ""),
        ({"user": "u"}, {"safety_identifier": "u"}, "", ""),
        (
            {"user": LONG_NAME},
            {"safety_identifier": "4d9221bd88fe7fa3f1cdc7d81c70b9484f37615f92178eafa3f6c525e6fa786f"},
            "",
            "user",
        ),
        ({"service_tier": "flex"}, {"service_tier": "flex"}, "", ""),
        ({"service_tier": "fast"}, {}, "service_tier", ""),
        (
            {
                "prompt_cache_key": "k",
                "prompt_cache_options": {"mode": "implicit"},
                "prompt_cache_retention": "24h",
                "moderation": {"a": 1},
            },
            {
                "prompt_cache_key": "k",
                "prompt_cache_options": {"mode": "implicit"},
                "prompt_cache_retention": "24h",
                "moderation": {"a": 1},
            },
            "",
            "",
        ),
        (
            {"stream": True, "stream_options": {"include_usage": True, "include_obfuscation": False}},
            {"stream": True, "stream_options": {"include_obfuscation": False}},
            "",
            "",
        ),
    ],
)
def test_settings_of_a_chat_client(fields: dict[str, Any], wanted: dict[str, Any], dropped: str, adapted: str) -> None:
    body, request = encode("chat", **fields)
    assert body == USUAL | {"input": [{"type": "message", "role": "user", "content": "q"}]} | wanted
    assert (lost(request), changed(request)) == (dropped, adapted)


ENABLED = {"type": "enabled", "budget_tokens": 20000}


@pytest.mark.parametrize(
    ("fields", "wanted", "dropped", "adapted"),
    [
        ({}, {}, "", ""),
        ({"max_tokens": 3}, {"max_output_tokens": 16}, "", "max_tokens=16"),
        ({"temperature": 0.5, "top_k": 3, "stop_sequences": ["x"]}, {"temperature": 0.5}, "top_k,stop_sequences", ""),
        ({"thinking": ENABLED}, {"reasoning": {"effort": "high", "summary": "auto"}}, "", "thinking=high"),
        ({"thinking": ENABLED | {"display": "omitted"}}, {"reasoning": {"effort": "high"}}, "", "thinking=high"),
        ({"thinking": {"type": "adaptive"}}, {"reasoning": {"summary": "auto"}}, "", ""),
        (
            {"thinking": {"type": "adaptive", "display": "summarized"}, "output_config": {"effort": "max"}},
            {"reasoning": {"effort": "max", "summary": "auto"}},
            "",
            "",
        ),
        ({"thinking": {"type": "disabled"}}, {"reasoning": {"effort": "none"}}, "", ""),
        ({"output_config": {"effort": "low"}}, {"reasoning": {"effort": "low"}}, "", ""),
        (
            {"output_config": {"format": {"type": "json_schema", "schema": STRICT | {"title": "A b"}}}},
            {"text": {"format": {"type": "json_schema", "name": "A_b", "schema": STRICT | {"title": "A b"}, "strict": True}}},
            "",
            "",
        ),
        (
            {"output_format": {"type": "json_schema", "schema": SCHEMA}},
            {"text": {"format": {"type": "json_schema", "name": "output", "schema": SCHEMA, "strict": False}}},
            "",
            "",
        ),
        ({"metadata": {"user_id": "u"}}, {"safety_identifier": "u"}, "", ""),
        ({"service_tier": "standard_only"}, {"service_tier": "default"}, "", "service_tier=default"),
        ({"speed": "fast", "cache_control": EPHEMERAL}, {}, "speed", ""),
        ({"container": "c", "stream": True}, {"stream": True}, "container", ""),
    ],
)
def test_settings_of_a_messages_client(fields: dict[str, Any], wanted: dict[str, Any], dropped: str, adapted: str) -> None:
    body, request = encode("messages", **fields)
    plain = USUAL | {"max_output_tokens": 100, "input": [{"type": "message", "role": "user", "content": "q"}]}
    assert body == plain | wanted
    assert (lost(request), changed(request)) == (dropped, adapted)


@pytest.mark.parametrize(
    ("shape", "capabilities", "fields", "wanted"),
    [
        ("messages", OPENAI, {"cache_control": EPHEMERAL}, {"prompt_cache_options": {"mode": "implicit"}}),
        ("messages", Capabilities(r_fast_tier=True), {"speed": "fast"}, {"service_tier": "fast"}),
        ("chat", Capabilities(r_fast_tier=True), {"service_tier": "fast"}, {"service_tier": "fast"}),
        ("chat", Capabilities(r_summaries=False), {"reasoning_effort": "low"}, {"reasoning": {"effort": "low"}}),
        ("chat", Capabilities(r_min_output_tokens=1), {"max_tokens": 5}, {"max_output_tokens": 5}),
    ],
)
def test_capabilities(shape: str, capabilities: Capabilities, fields: dict[str, Any], wanted: dict[str, Any]) -> None:
    body, request = encode(shape, capabilities, **fields)
    assert {key: body.get(key) for key in wanted} == wanted
    assert (lost(request), changed(request)) == ("", "")


# ---- what is refused ----


@pytest.mark.parametrize(
    ("shape", "fields", "error", "param"),
    [
        ("chat", {"tool_choice": "required"}, errors.Unsupported, "tool_choice"),
        ("chat", {"tools": [F], "tool_choice": {"type": "function", "function": {"name": "x"}}}, errors.Unsupported, "tool_choice"),
        ("chat", {"tools": [F, F]}, errors.Malformed, "tools[1].name"),
        ("chat", {"messages": []}, errors.Malformed, "messages"),
        ("chat", {"n": 2}, errors.Unsupported, "n"),
        ("messages", {"messages": []}, errors.Malformed, "messages"),
        ("messages", {"tool_choice": {"type": "any"}}, errors.Unsupported, "tool_choice"),
        (
            "messages",
            {"tools": [SEARCH, {"type": "computer_20250124", "name": "computer"}], "tool_choice": {"type": "tool", "name": "computer"}},
            errors.Unsupported,
            "tools[1]",
        ),
    ],
)
def test_refused(shape: str, fields: dict[str, Any], error: type[errors.GatewayError], param: str) -> None:
    with pytest.raises(error) as caught:
        encode(shape, **fields)
    assert caught.value.param == param


# ---- whole requests ----


def test_of_a_chat_client() -> None:
    request = chat.decode_request(worked.CHAT_CLIENT)
    assert responses.encode_request(request, Capabilities(), "gpt-x").body == worked.CHAT_AS_RESPONSES
    assert (lost(request), changed(request)) == (worked.CHAT_AS_RESPONSES_DROPPED, "")


def test_of_a_messages_client() -> None:
    request = messages.decode_request(worked.messages_client(worked.RESPONSES_SEAL))
    assert responses.encode_request(request, OWN, "gpt-x").body == worked.MESSAGES_AS_RESPONSES
    assert (lost(request), changed(request)) == (worked.MESSAGES_AS_RESPONSES_DROPPED, worked.MESSAGES_AS_RESPONSES_ADAPTED)


def test_names_come_back() -> None:
    request = messages.decode_request(PLAIN["messages"] | {"tools": [{"name": "a.b"}, {"name": "c"}]})
    encoded = responses.encode_request(request, Capabilities(), "up")
    assert [encoded.tools.restore(tool["name"]).name for tool in encoded.body["tools"]] == ["a.b", "c"]


def test_a_format_without_a_schema_gets_one() -> None:
    """A chat caller may leave out what is required here."""
    body, request = encode("chat", response_format={"type": "json_schema", "json_schema": {"name": "o"}})
    assert body["text"]["format"] == {
        "type": "json_schema",
        "name": "o",
        "schema": {"type": "object", "additionalProperties": True},
        "strict": False,
    }
    assert changed(request) == "response_format"
