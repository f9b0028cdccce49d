"""Requests for Converse: what each family of models takes, judged by the service's own model (botocore) and by the strict provider."""

from __future__ import annotations

from base64 import b64decode
from functools import cache
from typing import Any

import botocore.session
import pytest
from botocore.validate import ParamValidator

from dragoman.codecs import errors
from dragoman.codecs.capabilities import Capabilities
from dragoman.codecs.registry import SHAPES, UPSTREAMS
from dragoman.conf import aws, providers

from ..strict.rules import Asked, load

JSON = dict[str, Any]
PNG = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNkYPhfDwAChwGA60e6kgAAAABJRU5ErkJggg=="
IMAGE = f"data:image/png;base64,{PNG}"
PDF = "JVBERi0xLjQK"

FAMILIES = [
    "us.anthropic.claude-sonnet-4-5-20250929-v1:0",
    "global.anthropic.claude-opus-5-5",
    "us.anthropic.claude-3-haiku-20240307-v1:0",
    "us.amazon.nova-2-lite-v1:0",
    "us.meta.llama4-maverick-17b-instruct-v1:0",
    "mistral.mistral-large-3-675b-instruct",
    "us.deepseek.r1-v1:0",
    "deepseek.v3.2",
    "qwen.qwen3-32b-v1:0",
    "google.gemma-3-27b-it",
    "zai.glm-5.3",
    "moonshot.kimi-k2-thinking",
    "xai.grok-4",
    "openai.gpt-oss-120b-1:0",
    "openai.gpt-5.6-luna",
    "minimax.minimax-m2",
    "us.writer.palmyra-x4-v1:0",
    "cohere.command-r-plus-v1:0",
    "ai21.jamba-1-5-mini-v1:0",
    "arn:aws:bedrock:us-east-1:1:custom-model/x",
]


@cache
def service() -> Any:
    return botocore.session.Session().get_service_model("bedrock-runtime")


def typed(shape: Any, value: Any) -> Any:
    """JSON as botocore takes it: blobs as bytes."""
    if shape.type_name == "blob":
        return b64decode(value, validate=True)
    if shape.type_name == "structure" and not getattr(shape, "is_document_type", False):
        return {name: typed(shape.members[name], inner) if name in shape.members else inner for name, inner in value.items()}
    return [typed(shape.member, inner) for inner in value] if shape.type_name == "list" else value


def judged(model: str, body: JSON) -> None:
    """Raises for what the service would refuse."""
    shape = service().operation_model("Converse").input_shape
    report = ParamValidator().validate({"modelId": model, **typed(shape, body)}, shape)
    assert not report.has_errors(), report.generate_report()
    double = load("bedrock")
    excused = {"BR09"}  # a bare id, which is the operator's
    if can(model).v_leading_assistant:
        excused.add("BR03")
    violated = [rule.id for rule in double.rules if rule.violated(double, Asked("converse", {"model": model} | body))]
    assert set(violated) <= excused


def can(model: str, **flags: Any) -> Capabilities:
    table = providers.capabilities(
        "bedrock", "https://h", aws.known_model(model), {name.replace("_", ".", 1): v for name, v in flags.items()}
    )
    return Capabilities.from_flags({"reasoning_domain": "bedrock", **table})


def sent(model: str, caller: str, body: JSON, **flags: Any) -> tuple[JSON, list[str], list[str]]:
    """The body, and what is dropped and adapted."""
    request = SHAPES[caller].decode_request({"model": "m"} | body)
    encoded = UPSTREAMS["converse"].encode_request(request, can(model, **flags), model)
    judged(model, encoded.body)
    ledger = request.ledger
    return encoded.body, ledger.names(ledger.dropped, body), ledger.names(ledger.adapted, body)


SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"], "additionalProperties": False}
TOOLS = [
    {"name": "weather", "description": "d", "input_schema": SCHEMA, "strict": True, "cache_control": {"type": "ephemeral"}},
    {"name": "a.b", "input_schema": {"type": "object"}},
]
CONVERSATION: JSON = {
    "max_tokens": 9000,
    "system": [{"type": "text", "text": "Be brief.", "cache_control": {"type": "ephemeral", "ttl": "1h"}}],
    "tools": TOOLS,
    "tool_choice": {"type": "any"},
    "temperature": 1,
    "stop_sequences": ["END", ""],
    "messages": [
        {
            "role": "user",
            "content": [
                {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PNG}},
                {"type": "document", "source": {"type": "base64", "media_type": "application/pdf", "data": PDF}, "title": "a_b/c.pdf"},
                {"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "t"}, "title": "c.pdf"},
                {"type": "text", "text": "Weather?", "cache_control": {"type": "ephemeral"}},
            ],
        },
        {
            "role": "assistant",
            "content": [
                {"type": "thinking", "thinking": "hm", "signature": "c2ln"},
                {"type": "redacted_thinking", "data": "RXU4"},
                {"type": "tool_use", "id": "toolu_1", "name": "weather", "input": {"city": "Rome"}},
                {"type": "tool_use", "id": "odd id", "name": "a.b", "input": {}},
            ],
        },
        {
            "role": "user",
            "content": [
                {"type": "tool_result", "tool_use_id": "odd id", "is_error": True, "content": "no"},
                {
                    "type": "tool_result",
                    "tool_use_id": "toolu_1",
                    "content": [
                        {"type": "text", "text": '{"t": 20}'},
                        {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PNG}},
                    ],
                },
                {"type": "text", "text": " \n", "cache_control": {"type": "ephemeral"}},
                {"type": "text", "text": "And?"},
            ],
        },
    ],
}
CHAT: JSON = {
    "messages": [
        {"role": "developer", "content": "Be brief."},
        {"role": "assistant", "content": "Hello."},
        {
            "role": "user",
            "content": [{"type": "text", "text": "Q"}, {"type": "image_url", "image_url": {"url": IMAGE}}],
        },
        {"role": "system", "content": "Now in French."},
        {
            "role": "assistant",
            "content": None,
            "tool_calls": [{"id": "c1", "type": "function", "function": {"name": "f", "arguments": ""}}],
        },
        {"role": "tool", "tool_call_id": "c1", "content": ""},
        {"role": "user", "content": "And?"},
    ],
    "tools": [{"type": "function", "function": {"name": "f"}}],
    "tool_choice": {"type": "function", "function": {"name": "f"}},
    "response_format": {"type": "json_schema", "json_schema": {"name": "n", "schema": SCHEMA, "strict": True}},
    "parallel_tool_calls": False,
    "reasoning_effort": "high",
    "temperature": 1.5,
    "top_p": 0.5,
    "stop": "END",
    "seed": 1,
    "service_tier": "flex",
}
RESPONSES: JSON = {
    "instructions": "Be brief.",
    "input": [
        {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "Q"}, {"type": "input_image", "image_url": IMAGE}]},
        {"type": "function_call", "call_id": "c1", "name": "f", "arguments": "{}"},
        {"type": "function_call_output", "call_id": "c1", "output": "20"},
    ],
    "tools": [{"type": "function", "name": "f", "parameters": SCHEMA}, {"type": "custom", "name": "free"}],
    "reasoning": {"effort": "low"},
    "max_output_tokens": 100,
}  # fmt: skip


EVERYTHING = CONVERSATION | {
    "tool_choice": {"type": "tool", "name": "weather"},
    "output_config": {"format": {"type": "json_schema", "schema": SCHEMA}},
}


@pytest.mark.parametrize("model", FAMILIES)
@pytest.mark.parametrize(
    ("caller", "body"), [("messages", CONVERSATION), ("messages", EVERYTHING), ("chat", CHAT), ("responses", RESPONSES)]
)
def test_c18_every_family_takes_what_it_is_sent(model: str, caller: str, body: JSON) -> None:
    found, _, _ = sent(model, caller, body)
    assert found["inferenceConfig"]["maxTokens"] > 0
    assert found["system"]
    results = [block["toolResult"] for message in found["messages"] for block in message["content"] if "toolResult" in block]
    assert all(result["content"] for result in results)


ALL = "choice reasoning marks output strict status image document"


@pytest.mark.parametrize(
    ("model", "kept"),
    [
        (FAMILIES[0], ALL),
        ("us.anthropic.claude-opus-4-1-20250805-v1:0", ALL.replace(" output strict", "")),
        (FAMILIES[1], ALL.replace("choice ", "")),  # refuses a forced choice
        (FAMILIES[3], "choice marks status image"),
        (FAMILIES[4], "status image document"),
        ("mistral.mistral-7b-instruct-v0:2", "status document"),
        (FAMILIES[5], "output strict status document"),
        ("mistral.voxtral-small-24b-2507", "output strict status document"),
        (FAMILIES[6], "status image"),
        (FAMILIES[7], "status image"),
        (FAMILIES[8], "output strict status"),
        (FAMILIES[9], "output strict status image"),
        (FAMILIES[10], "choice output strict status image"),
        (FAMILIES[11], "choice output strict status"),
        (FAMILIES[12], "choice status image"),
        (FAMILIES[13], "status"),
        (FAMILIES[14], "status"),
        (FAMILIES[15], "output strict status image"),
        (FAMILIES[16], "image"),
        (FAMILIES[17], "status image"),
        (FAMILIES[18], "status image"),
        (FAMILIES[19], "status image"),
    ],
)
def test_c18_what_each_family_keeps(model: str, kept: str) -> None:
    """Of a conversation that has everything. image, document: within a tool's result."""
    pdf = {"type": "document", "source": {"type": "base64", "media_type": "application/pdf", "data": PDF}}
    *turns, last = EVERYTHING["messages"]
    error, result, *rest = last["content"]
    content = [error, result | {"content": [*result["content"], pdf]}, *rest]
    found, _, _ = sent(model, "messages", EVERYTHING | {"messages": [*turns, last | {"content": content}]})
    results = blocks(found, "toolResult")
    inside = {name for block in results[1]["content"] for name in block}
    has = {
        "choice": "toolChoice" in found["toolConfig"],
        "reasoning": bool(blocks(found, "reasoningContent")),
        "marks": "cachePoint" in str(found),
        "output": "outputConfig" in found,
        "strict": any(tool.get("toolSpec", {}).get("strict") for tool in found["toolConfig"]["tools"]),
        "status": results[0].get("status") == "error",
        "image": "image" in inside,
        "document": "document" in inside,
    }
    assert " ".join(name for name, value in has.items() if value) == kept


BUDGET: JSON = {"thinking": {"type": "enabled", "budget_tokens": 2048}}
SHOWN: JSON = {"type": "adaptive", "display": "summarized"}
HIGH: JSON = {"effort": "high"}
ADAPTIVE: JSON = {"thinking": {"type": "adaptive"}, "output_config": {"effort": "max"}}


def blocks(body: JSON, name: str) -> list[Any]:
    return [block[name] for message in body["messages"] for block in message["content"] if name in block]


def test_claude_gets_its_thoughts_and_marks_back() -> None:
    found, dropped, adapted = sent(FAMILIES[0], "messages", CONVERSATION | {"tool_choice": {"type": "auto"}})
    assert blocks(found, "reasoningContent") == [
        {"reasoningText": {"text": "hm", "signature": "c2ln"}},
        {"redactedContent": "UlhVNA=="},
    ]
    assert found["toolConfig"]["tools"][1] == {"cachePoint": {"type": "default", "ttl": "1h"}}  # none short before a long one
    assert found["system"] == [{"text": "Be brief."}, {"cachePoint": {"type": "default", "ttl": "1h"}}]
    names = [document["name"] for document in blocks(found, "document")]
    assert names == ["c pdf", "c pdf 2"]
    assert found["toolConfig"]["tools"][0]["toolSpec"]["strict"] is True
    assert dropped == ["stop_sequences"]
    assert "messages" in adapted


@pytest.mark.parametrize("model", FAMILIES[3:])
def test_c21_reasoning_that_a_family_does_not_read_is_reported(model: str) -> None:
    found, dropped, _ = sent(model, "messages", CONVERSATION)
    assert not blocks(found, "reasoningContent")
    assert {"messages[*].content[*].thinking", "messages[*].content[*].data"} <= set(dropped)


def test_reasoning_of_another_origin_is_not_sent() -> None:
    part = {"type": "thinking", "thinking": "t", "signature": "s"}
    body = {
        "max_tokens": 5,
        "messages": [{"role": "user", "content": "q"}, {"role": "assistant", "content": [part]}, {"role": "user", "content": "r"}],
    }
    request = SHAPES["messages"].decode_request({"model": "m"} | body)
    request.turns[1].parts[0].domain = "elsewhere"  # type: ignore[union-attr]
    encoded = UPSTREAMS["converse"].encode_request(request, can(FAMILIES[0]), "m")
    assert not blocks(encoded.body, "reasoningContent")
    assert request.ledger.dropped


@pytest.mark.parametrize(
    ("model", "body", "config"),
    [
        (FAMILIES[0], {"tool_choice": {"type": "auto"}}, (None, {})),
        (FAMILIES[0], {"tool_choice": {"type": "any"}}, ({"any": {}}, {})),
        (FAMILIES[0], {"tool_choice": {"type": "tool", "name": "weather"}}, ({"tool": {"name": "weather"}}, {})),
        (
            FAMILIES[0],
            {"tool_choice": {"type": "tool", "name": "weather", "disable_parallel_tool_use": True}},
            (None, {"tool_choice": {"type": "tool", "name": "weather", "disable_parallel_tool_use": True}}),
        ),
        (FAMILIES[0], {"tool_choice": {"type": "any"}, "thinking": {"type": "enabled", "budget_tokens": 2048}}, ({"any": {}}, {})),
        (FAMILIES[1], {"tool_choice": {"type": "any"}}, (None, {})),  # refuses a forced choice
        (FAMILIES[3], {"tool_choice": {"type": "any"}}, ({"any": {}}, {})),
        (FAMILIES[4], {"tool_choice": {"type": "any"}}, (None, {})),
    ],
)
def test_tool_choice(model: str, body: JSON, config: tuple[Any, JSON]) -> None:
    ask = {"max_tokens": 9000, "messages": [{"role": "user", "content": "q"}], "tools": TOOLS}
    found, _, _ = sent(model, "messages", ask | body)
    assert (found["toolConfig"].get("toolChoice"), found.get("additionalModelRequestFields", {})) == config


@pytest.mark.parametrize(
    ("model", "used", "offered", "fields", "adapted"),
    [
        (FAMILIES[0], False, None, {}, False),
        (FAMILIES[3], False, None, {}, False),
        (FAMILIES[0], True, "weather", {"tool_choice": {"type": "none"}}, False),
        (FAMILIES[3], True, "weather", {}, True),
    ],
)
def test_a_choice_of_no_tool(model: str, used: bool, offered: str | None, fields: JSON, adapted: bool) -> None:
    """Claude is told where Converse requires the tools; a call of another model is left out of the answer."""
    call = {"type": "tool_use", "id": "c", "name": "weather", "input": {}}
    turns = [
        {"role": "user", "content": "q"},
        {"role": "assistant", "content": [call]},
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "c", "content": "r"}]},
    ]
    choice = {"type": "none", "disable_parallel_tool_use": True} if model == FAMILIES[0] else {"type": "none"}
    ask = {"max_tokens": 9000, "messages": turns if used else turns[:1], "tools": TOOLS, "tool_choice": choice}
    found, _, changed = sent(model, "messages", ask)
    config = found.get("toolConfig")
    assert (config and config["tools"][0]["toolSpec"]["name"], found.get("additionalModelRequestFields", {})) == (offered, fields)
    assert not config or "toolChoice" not in config
    assert any(name.startswith("tool_choice") for name in changed) is adapted
    encoded = UPSTREAMS["converse"].encode_request(SHAPES["messages"].decode_request({"model": "m"} | ask), can(model), model)
    assert encoded.tools.refuses("weather") is adapted


def test_a_history_of_calls_needs_a_tool() -> None:
    body = {key: value for key, value in CONVERSATION.items() if key not in ("tools", "tool_choice")}
    found, _, _ = sent(FAMILIES[3], "messages", body)
    assert [tool["toolSpec"]["name"] for tool in found["toolConfig"]["tools"]] == ["unused"]


@pytest.mark.parametrize(
    ("model", "caller", "asked", "fields"),
    [
        (FAMILIES[0], "messages", BUDGET, BUDGET),
        (FAMILIES[1], "messages", ADAPTIVE, ADAPTIVE),
        (FAMILIES[1], "messages", {"thinking": SHOWN}, {"thinking": SHOWN}),
        (FAMILIES[1], "responses", {"reasoning": {"effort": "high", "summary": "auto"}}, {"thinking": SHOWN, "output_config": HIGH}),
        (FAMILIES[1], "chat", {"reasoning_effort": "none"}, {"output_config": {"effort": "low"}}),
        (FAMILIES[2], "chat", {"reasoning_effort": "high"}, {}),
        ("us.amazon.nova-pro-v1:0", "chat", {"reasoning_effort": "high"}, {}),
        ("deepseek.v3.2", "chat", {"reasoning_effort": "low"}, {"reasoning_effort": "high"}),
        ("deepseek.v3.2", "chat", {"reasoning_effort": "none"}, {"reasoning_effort": "none"}),
        ("qwen.qwen3-32b-v1:0", "chat", {"reasoning_effort": "medium"}, {"reasoning_config": "low"}),
        ("zai.glm-5.3", "chat", {"reasoning_effort": "max"}, {"reasoning_effort": "max"}),
        ("xai.grok-4", "chat", {"reasoning_effort": "high"}, {"reasoning": {"effort": "high"}}),
        ("openai.gpt-oss-120b-1:0", "responses", {"reasoning": {"effort": "xhigh"}}, {"reasoning_effort": "high"}),
        ("openai.gpt-5.6-luna", "responses", {"reasoning": {"effort": "xhigh"}}, {"reasoning": {"effort": "xhigh"}}),
        (FAMILIES[0], "messages", {"top_k": 5}, {"top_k": 5}),
        (FAMILIES[3], "messages", {"top_k": 5}, {"inferenceConfig": {"topK": 5}}),
        (FAMILIES[4], "messages", {"top_k": 5}, {}),
    ],
)  # fmt: skip
def test_what_converse_has_no_word_for(model: str, caller: str, asked: JSON, fields: JSON) -> None:
    plain: dict[str, JSON] = {
        "messages": {"max_tokens": 9000, "messages": [{"role": "user", "content": "q"}]},
        "chat": {"messages": [{"role": "user", "content": "q"}]},
        "responses": {"input": "q"},
    }
    found, _, _ = sent(model, caller, plain[caller] | asked)
    assert found.get("additionalModelRequestFields", {}) == fields


def test_structured_output() -> None:
    found, dropped, _ = sent(FAMILIES[0], "chat", CHAT | {"tool_choice": "auto"})
    inner = found["outputConfig"]["textFormat"]["structure"]["jsonSchema"]
    assert inner["name"] == "n"
    assert '"city"' in inner["schema"]
    assert "response_format" not in dropped
    _, dropped, _ = sent(FAMILIES[3], "chat", CHAT)
    assert "response_format" in dropped


def test_sampling() -> None:
    found, _, adapted = sent(FAMILIES[3], "chat", CHAT)
    assert found["inferenceConfig"] == {"maxTokens": 4096, "temperature": 1, "topP": 0.5, "stopSequences": ["END"]}
    assert "temperature=1" in adapted
    found, dropped, _ = sent("xai.grok-4", "chat", CHAT)
    assert found["inferenceConfig"] == {"maxTokens": 4096, "stopSequences": ["END"]}
    assert {"temperature", "top_p"} <= set(dropped)
    assert found["serviceTier"] == {"type": "flex"}


def test_media_that_a_result_does_not_take_stand_behind_it() -> None:
    found, _, _ = sent("qwen.qwen3-32b-v1:0", "messages", CONVERSATION)
    last = found["messages"][-1]["content"]
    assert [next(iter(block)) for block in last] == ["toolResult", "toolResult", "image", "text"]
    assert last[1]["toolResult"]["content"][-1] == {"text": "[image 1]"}
    found, _, _ = sent(FAMILIES[4], "messages", CONVERSATION)  # nothing beside results
    assert [message["role"] for message in found["messages"]][-3:] == ["user", "assistant", "user"]


def test_at_most_four_cache_points_the_last_ones() -> None:
    mark = {"cache_control": {"type": "ephemeral"}}
    content = [{"type": "text", "text": str(number)} | mark for number in range(6)]
    found, _, adapted = sent(FAMILIES[0], "messages", {"max_tokens": 5, "messages": [{"role": "user", "content": content}]})
    kinds = [next(iter(block)) for block in found["messages"][0]["content"]]
    assert kinds == ["text", "text", *["text", "cachePoint"] * 4]
    assert adapted == ["messages[*].content[*].cache_control"]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ({"type": "image", "source": {"type": "url", "url": "https://h/x.png"}}, "an image by URL"),
        ({"type": "document", "source": {"type": "url", "url": "https://h/x.pdf"}}, "this kind of file"),
    ],
)
def test_content_that_cannot_be_sent(content: JSON, words: str) -> None:
    with pytest.raises(errors.UnsupportedContent, match=words):
        sent(FAMILIES[0], "messages", {"max_tokens": 5, "messages": [{"role": "user", "content": [content]}]})


def chat_file(name: str, kind: str) -> JSON:
    return {"type": "file", "file": {"filename": name, "file_data": f"data:{kind};base64,AAAA"}}


def sound(form: str) -> JSON:
    return {"type": "input_audio", "input_audio": {"format": form, "data": "AAAA"}}


def image_at(url: str) -> JSON:
    return {"type": "image_url", "image_url": {"url": url}}


def of_nova(effort: str) -> JSON:
    return {"reasoningConfig": {"type": "enabled", "maxReasoningEffort": effort}}


@pytest.mark.parametrize(
    ("caller", "asked", "fields", "config", "adapted"),
    [
        ("chat", {"reasoning_effort": "low"}, of_nova("low"), {"maxTokens": 4096}, []),
        ("chat", {"reasoning_effort": "high"}, of_nova("high"), None, []),
        ("chat", {"reasoning_effort": "xhigh"}, of_nova("high"), None, ["reasoning_effort=high"]),
        ("chat", {"reasoning_effort": "high", "max_tokens": 9}, of_nova("medium"), {"maxTokens": 9}, ["reasoning_effort=medium"]),
        (
            "chat",
            {"reasoning_effort": "high", "temperature": 0.5},
            of_nova("medium"),
            {"maxTokens": 4096, "temperature": 0.5},
            ["reasoning_effort=medium"],
        ),
        ("chat", {"reasoning_effort": "none"}, {}, {"maxTokens": 4096}, []),
        ("messages", {"thinking": {"type": "adaptive"}}, of_nova("medium"), {"maxTokens": 9000}, ["thinking=medium"]),
    ],
)
def test_reasoning_of_nova(caller: str, asked: JSON, fields: JSON, config: JSON | None, adapted: list[str]) -> None:
    """With the highest effort Nova takes neither a limit of tokens nor sampling."""
    plain: dict[str, JSON] = {
        "messages": {"max_tokens": 9000, "messages": [{"role": "user", "content": "q"}]},
        "chat": {"messages": [{"role": "user", "content": "q"}]},
    }
    found, dropped, told = sent(FAMILIES[3], caller, plain[caller] | asked)
    assert (found.get("additionalModelRequestFields", {}), found.get("inferenceConfig")) == (fields, config)
    assert (dropped, told) == ([], adapted)


def test_where_the_effort_of_claude_stands() -> None:
    body = {"messages": [{"role": "user", "content": "q"}], "reasoning_effort": "high"}
    schema = {"type": "json_schema", "json_schema": {"name": "n", "schema": SCHEMA}}
    found, _, _ = sent(FAMILIES[1], "chat", body | {"response_format": schema}, v_effort_in="output_config", v_structured_outputs=True)
    assert found["outputConfig"]["effort"] == "high"
    assert found["outputConfig"]["textFormat"]["type"] == "json_schema"
    assert "output_config" not in found["additionalModelRequestFields"]


@pytest.mark.parametrize(
    ("caller", "tool", "lost"),
    [
        ("messages", {"type": "code_execution_20250825", "name": "code_execution"}, "tools[*]:code_execution_20250825"),
        ("responses", {"type": "code_interpreter", "container": {"type": "auto"}}, "tools[*]:code_interpreter"),
        ("gemini", {"codeExecution": {}}, "tools[*]:codeExecution"),
    ],
)
def test_code_is_run_by_nova_s_own_tool(caller: str, tool: JSON, lost: str) -> None:
    turns: dict[str, JSON] = {
        "messages": {"max_tokens": 5, "messages": [{"role": "user", "content": "q"}]},
        "responses": {"input": "q"},
        "gemini": {"contents": [{"parts": [{"text": "q"}]}]},
    }
    found, dropped, _ = sent(FAMILIES[3], caller, turns[caller] | {"tools": [tool, tool]})
    assert (found["toolConfig"], dropped) == ({"tools": [{"systemTool": {"name": "nova_code_interpreter"}}]}, [])
    for model, flags in (("us.amazon.nova-pro-v1:0", {}), (FAMILIES[3], {"v_code": ""})):
        found, dropped, _ = sent(model, caller, turns[caller] | {"tools": [tool]}, **flags)
        assert "toolConfig" not in found
        assert dropped == [lost]


def changed(kind: str, **tool: Any) -> JSON:
    return {"role": "system", "content": [{"type": kind, "tool": tool}]}


def test_changes_of_tools_within_the_conversation() -> None:
    """As they are, where system messages are; else the tools are those at the end."""
    body = {
        "max_tokens": 5,
        "system": "s",
        "tools": [{"name": name, "input_schema": {"type": "object"}} for name in ("a", "b")],
        "messages": [
            {"role": "user", "content": "q"},
            {"role": "assistant", "content": "r"},
            {"role": "user", "content": "q"},
            changed("tool_removal", type="tool_reference", name="a"),
            changed("tool_addition", type="tool_definition", definition={"name": "new.one", "input_schema": {"type": "object"}}),
            {"role": "assistant", "content": "r"},
            {"role": "user", "content": "q"},
        ],
    }
    found, _, adapted = sent("us.anthropic.claude-opus-5", "messages", body, v_system_inside=True, m_mid_system=True)
    name = found["toolConfig"]["tools"][2]["toolSpec"]["name"]
    assert [tool["toolSpec"]["name"] for tool in found["toolConfig"]["tools"]] == ["a", "b", name]
    assert [message["role"] for message in found["messages"]] == ["user", "assistant", "user", "system", "assistant", "user"]
    assert found["messages"][3]["content"] == [
        {"toolRemoval": {"tool": {"type": "tool_reference", "name": "a"}}},
        {"toolAddition": {"tool": {"type": "tool_reference", "name": name}}},
    ]
    assert found["system"] == [{"text": "s"}]
    found, _, again = sent("us.anthropic.claude-opus-5", "messages", body, m_mid_system=False)
    assert [tool["toolSpec"]["name"] for tool in found["toolConfig"]["tools"]] == ["b", name]
    assert "system" not in [message["role"] for message in found["messages"]]
    assert adapted == again == ["messages[*].content[*]", "messages[*].content[*].tool.definition"]


def test_a_cache_point_does_not_stand_behind_a_text_file() -> None:
    mark = {"cache_control": {"type": "ephemeral"}}
    text = {"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "t"}} | mark
    pdf = {"type": "document", "source": {"type": "base64", "media_type": "application/pdf", "data": PDF}} | mark
    point = {"cachePoint": {"type": "default"}}
    for parts, wanted, told in (
        ([{"type": "text", "text": "q"}, text], ["text", point, "document"], (["messages[*].content[*].cache_control"], [])),
        ([{"type": "text", "text": "q"}, pdf], ["text", "document", point], ([], [])),
        ([text, {"type": "text", "text": "q"}], ["document", "text"], ([], ["messages[*].content[*].cache_control"])),
    ):
        body = {"max_tokens": 5, "messages": [{"role": "user", "content": parts}]}
        found, dropped, adapted = sent(FAMILIES[1], "messages", body)
        assert [block if "cachePoint" in block else next(iter(block)) for block in found["messages"][0]["content"]] == wanted
        assert (adapted, dropped) == told


SEARCH = {"type": "web_search_20250305", "name": "web_search"}


@pytest.mark.parametrize(
    ("caller", "body", "lost"),
    [
        ("messages", {"max_tokens": 5, "tools": [SEARCH]}, []),
        ("messages", {"max_tokens": 5, "tools": [SEARCH | {"max_uses": 2}]}, ["tools[*].max_uses"]),
        ("chat", {"web_search_options": {"search_context_size": "high"}}, ["web_search_options.search_context_size"]),
        ("responses", {"tools": [{"type": "web_search"}, {"type": "web_search_preview"}]}, []),
    ],
)
def test_a_search_is_novas_own(caller: str, body: JSON, lost: list[str]) -> None:
    turns = {"input": "q"} if caller == "responses" else {"messages": [{"role": "user", "content": "q"}]}
    found, dropped, _ = sent(FAMILIES[3], caller, turns | body)
    assert found["toolConfig"] == {"tools": [{"systemTool": {"name": "nova_grounding"}}]}
    assert dropped == lost
    found, dropped, _ = sent("us.amazon.nova-pro-v1:0", caller, turns | body)
    assert "toolConfig" not in found
    assert dropped


def test_a_search_of_some_domains_is_not_one_of_all() -> None:
    body = {"max_tokens": 5, "messages": [{"role": "user", "content": "q"}], "tools": [SEARCH | {"allowed_domains": ["a.test"]}]}
    found, dropped, _ = sent(FAMILIES[3], "messages", body)
    assert "toolConfig" not in found
    assert dropped == ["tools[*]:web_search_20250305"]


BYTES = {"bytes": "AAAA"}


@pytest.mark.parametrize(
    ("part", "name", "block"),
    [
        (sound("mp3"), "audio", {"format": "mp3", "source": BYTES}),
        (sound("WAV"), "audio", {"format": "wav", "source": BYTES}),
        (chat_file("a.flac", "audio/flac"), "audio", {"format": "flac", "source": BYTES}),
        (chat_file("a.mp4", "video/mp4"), "video", {"format": "mp4", "source": BYTES}),
        (chat_file("a.3gp", "video/3gpp"), "video", {"format": "three_gp", "source": BYTES}),
        (image_at("s3://bucket/a b.JPG"), "image", {"format": "jpeg", "source": {"s3Location": {"uri": "s3://bucket/a b.JPG"}}}),
        (image_at("s3://bucket/x.mov"), "video", {"format": "mov", "source": {"s3Location": {"uri": "s3://bucket/x.mov"}}}),
    ],
)
def test_sound_and_moving_pictures(part: JSON, name: str, block: JSON) -> None:
    body = {"messages": [{"role": "user", "content": [{"type": "text", "text": "q"}, part]}]}
    found, dropped, adapted = sent(FAMILIES[3], "chat", body)
    assert (blocks(found, name), dropped, adapted) == ([block], [], [])
    for other in (FAMILIES[0], FAMILIES[4]):
        with pytest.raises(errors.UnsupportedContent, match="not supported by the selected model"):
            sent(other, "chat", body)


@pytest.mark.parametrize("url", ["s3://bucket/x", "s3://bucket/x.exe", "s3://B/x.png", "s3:///x.png", f"s3://bucket/{'x' * 1000}.png"])
def test_a_file_at_s3_that_tells_no_type(url: str) -> None:
    with pytest.raises(errors.UnsupportedContent, match="at S3"):
        sent(FAMILIES[3], "chat", {"messages": [{"role": "user", "content": [image_at(url)]}]})


def test_files_at_s3_of_other_callers() -> None:
    source = {"type": "url", "url": "s3://bucket/dir/c.d.pdf"}
    body = {
        "max_tokens": 5,
        "messages": [{"role": "user", "content": [{"type": "document", "source": source}, {"type": "text", "text": "q"}]}],
    }
    found, _, _ = sent(FAMILIES[3], "messages", body)
    wanted = {"format": "pdf", "name": "c d pdf", "source": {"s3Location": {"uri": source["url"]}}}
    assert blocks(found, "document") == [wanted]
    parts = [{"type": "input_file", "file_url": source["url"], "filename": "n"}, {"type": "input_image", "image_url": "s3://bucket/x.png"}]
    found, _, _ = sent(FAMILIES[3], "responses", {"input": [{"role": "user", "content": parts}]})
    assert blocks(found, "document") == [wanted | {"name": "n"}]
    assert blocks(found, "image") == [{"format": "png", "source": {"s3Location": {"uri": "s3://bucket/x.png"}}}]


def test_inline_files_of_googles_callers() -> None:
    parts = [{"inlineData": {"mimeType": kind, "data": "AAAA"}} for kind in ("video/webm", "audio/wav")]
    found, dropped, adapted = sent(FAMILIES[3], "gemini", {"contents": [{"role": "user", "parts": [*parts, {"text": "q"}]}]})
    assert found["messages"][0]["content"] == [
        {"video": {"format": "webm", "source": BYTES}},
        {"audio": {"format": "wav", "source": BYTES}},
        {"text": "q"},
    ]
    assert (dropped, adapted) == ([], [])
    with pytest.raises(errors.UnsupportedContent, match="video is not supported by the selected model"):
        sent(FAMILIES[4], "gemini", {"contents": [{"role": "user", "parts": parts}]})


def test_moving_pictures_in_a_result_stand_behind_it() -> None:
    video = {"type": "document", "source": {"type": "base64", "media_type": "video/mp4", "data": "AAAA"}}
    call = {"type": "tool_use", "id": "c", "name": "f", "input": {}}
    result = {"type": "tool_result", "tool_use_id": "c", "content": [video]}
    turns = [{"role": "user", "content": "q"}, {"role": "assistant", "content": [call]}, {"role": "user", "content": [result]}]
    found, _, _ = sent(FAMILIES[3], "messages", {"max_tokens": 5, "messages": turns, "tools": [{"name": "f", "input_schema": {}}]})
    first, second = found["messages"][-1]["content"]
    assert first["toolResult"]["content"] == [{"text": "[video 1]"}]
    assert second == {"video": {"format": "mp4", "source": BYTES}}


@pytest.mark.parametrize(
    ("caller", "more", "wanted", "reported"),
    [
        ("chat", {"metadata": {"team": "a", "n": "é<b>"}, "user": "u-1"}, {"user": "u-1", "team": "a", "n": "b"}, ["metadata"]),
        ("chat", {"metadata": {str(n): "v" for n in range(20)}}, {str(n): "v" for n in range(16)}, ["metadata"]),
        ("messages", {"max_tokens": 5, "metadata": {"user_id": "u" * 300}}, {"user": "u" * 256}, ["metadata.user_id"]),
        ("chat", {"metadata": {"é": "v"}}, None, ["metadata"]),
    ],
)
def test_metadata_of_the_caller(caller: str, more: JSON, wanted: JSON | None, reported: list[str]) -> None:
    body = {"messages": [{"role": "user", "content": "q"}]} | more
    found, dropped, adapted = sent(FAMILIES[3], caller, body, v_request_metadata=True)
    assert (found.get("requestMetadata"), dropped, adapted) == (wanted, [], reported)
    found, dropped, _ = sent(FAMILIES[3], caller, body)
    assert "requestMetadata" not in found
    assert dropped == [name for name in reported if name == "metadata"]


def test_an_answer_begun_by_the_caller() -> None:
    body = {"max_tokens": 5, "messages": [{"role": "user", "content": "q"}, {"role": "assistant", "content": "So "}]}
    with pytest.raises(errors.Unsupported, match="prefill"):
        sent(FAMILIES[1], "messages", body)
    found, _, _ = sent(FAMILIES[2], "messages", body)
    assert found["messages"][-1] == {"role": "assistant", "content": [{"text": "So"}]}


def test_system_turns_in_the_middle_for_models_that_take_them() -> None:
    body = {"messages": [{"role": "user", "content": "q"}, {"role": "system", "content": "s"}]}
    found, _, _ = sent(FAMILIES[1], "chat", body, v_system_inside=True)
    assert [message["role"] for message in found["messages"]] == ["user", "system"]
    found, _, adapted = sent(FAMILIES[1], "chat", body)
    assert found["messages"] == [{"role": "user", "content": [{"text": "q"}, {"text": "<system>s</system>"}]}]
    assert adapted == ["messages[*]"]
