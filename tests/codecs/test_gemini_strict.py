"""Whatever callers of the other APIs ask is written so that Google takes it, by the rules of its strict double: no request is sent.

Every field of each API, typical callers, and histories and schemas as odd as agents send them, for each generation of models.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from dragoman.codecs import errors
from dragoman.codecs.capabilities import Capabilities
from dragoman.codecs.registry import SHAPES
from dragoman.codecs.specimens import PDF, PNG
from dragoman.conf import providers

from ..attack.growth import assert_linear
from ..strict.callers import CALLERS
from ..strict.rules import Asked, load

JSON = dict[str, Any]

MODELS = [
    *(("google", f"gemini-{name}", False) for name in ("2.0-flash", "2.5-flash-lite", "3-pro-preview", "4-argon", "3-pro-image-preview")),
    *(("google", f"gemini-{name}", True) for name in ("2.5-pro", "3.8-flash")),
    ("google_vertex", "google/gemini-2.5-flash", False),
]  # who serves a model, and whether it is also asked in Google's own form of schemas
HI: JSON = {"role": "user", "content": "hi"}
GIF = {"type": "image", "source": {"type": "base64", "media_type": "image/gif", "data": "R0lGODlhAQABAAAAACw="}}
PICTURE = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PNG}}
PLAIN: JSON = {"type": "object", "properties": {"a": {"type": "string"}}}
SCHEMA: JSON = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "definitions": {"D": {"const": 1, "title": "t"}},
    "type": "object",
    "properties": {
        "ref": {"$ref": "#/definitions/D", "title": "x", "type": "string"},
        "types": {"type": ["string", "null"], "const": "q"},
        "two": {"type": ["integer", "string"], "minimum": 3, "description": "x"},
        "above": {"type": "integer", "exclusiveMinimum": 0},
        "below": {"type": "number", "exclusiveMaximum": 3},
        "oneOf": {"oneOf": [{"type": "string"}, {"type": "object", "properties": {}}]},
        "allOf": {"allOf": [{"type": "string"}, {"minLength": 1}]},
        "anyOf": {"anyOf": [{"type": "string"}, {"type": "null"}], "description": "d", "default": None},
        "array": {"type": "array"},
        "nested": {"type": "array", "items": {"type": "array", "items": {"const": 2}}},
        "tuple": {"type": "array", "prefixItems": [{"type": "string"}], "items": False},
        "old tuple": {"type": "array", "items": [{"type": "string"}]},
        "anything": {},
        "true": True,
        "object": {"type": "object"},
        "map": {"type": "object", "additionalProperties": {"type": "string"}},
        "enum": {"enum": [1, 2, ""]},
        "null": {"enum": [None, "a"]},
        "format": {"type": "string", "format": "uri"},
        "const": {"not": {"const": 3}},
    },
    "required": ["ref", "absent"],
    "$defs": {"E": {"exclusiveMinimum": 2, "type": "integer"}},
}


def function(name: str, schema: Any = PLAIN, **more: Any) -> JSON:
    return {"type": "function", "function": {"name": name, "parameters": schema, **more}}


def calls(*ids: str, arguments: str = "{}", **more: Any) -> JSON:
    made = [{"id": id, "type": "function", "function": {"name": f"f{n}", "arguments": arguments}} for n, id in enumerate(ids)]
    return {"role": "assistant", "content": None, "tool_calls": made, **more}


def result(id: str, content: Any = "ok") -> JSON:
    return {"role": "tool", "tool_call_id": id, "content": content}


def chat(*messages: JSON, **more: Any) -> tuple[str, JSON]:
    return "chat", {"messages": list(messages) or [HI], **more}


def messages(*content: JSON, **more: Any) -> tuple[str, JSON]:
    """A call of the tools t1 and t2, and what the user says then."""
    uses = [{"type": "tool_use", "id": id, "name": "f", "input": {"$ref": "x"}} for id in ("t1", "t2")]
    turns = [HI, {"role": "assistant", "content": uses}, {"role": "user", "content": list(content)}] if content else [HI]
    return "messages", {"max_tokens": 1000, "messages": turns, **more}


def returned(id: str, content: Any = "ok", **more: Any) -> JSON:
    return {"type": "tool_result", "tool_use_id": id, "content": content, **more}


def said(text: str, role: str = "user") -> JSON:
    return {"type": "message", "role": role, "content": text}


def called(id: str) -> JSON:
    return {"type": "function_call", "call_id": id, "name": "f", "arguments": "{}"}


def output(id: str) -> JSON:
    return {"type": "function_call_output", "call_id": id, "output": "ok"}


def responses(*items: JSON, **more: Any) -> tuple[str, JSON]:
    return "responses", {"input": [said("hi"), *items], **more}


BARE: list[Any] = [{}, None, {"type": "object"}, {"type": "object", "properties": {}}, {"type": "object", "additionalProperties": True}]
SEARCH = {"type": "web_search_20250305", "name": "web_search"}
LIMITED = SEARCH | {"blocked_domains": ["a.example"]}
ODD: dict[str, tuple[str, JSON]] = {
    "names": chat(tools=[function(name) for name in ("1st", "a.b/c d", "x" * 80, "-y", "é")]),
    "schemas": chat(tools=[function("f", SCHEMA), *(function(f"g{n}", schema) for n, schema in enumerate(BARE))]),
    "an answer's schema": chat(response_format={"type": "json_schema", "json_schema": {"name": "n", "schema": SCHEMA}}),
    "an answer's bare schema": chat(response_format={"type": "json_schema", "json_schema": {"name": "n", "schema": BARE[3]}}),
    "schema and tools": chat(
        tools=[function("f")], response_format={"type": "json_schema", "json_schema": {"name": "n", "schema": SCHEMA}}
    ),
    "many stops": chat(stop=list("abcdefgh")),
    "long answers": chat(max_completion_tokens=128_000),
    "long thoughts": messages(max_tokens=200_005, thinking={"type": "enabled", "budget_tokens": 200_000}),
    "calls first": chat(calls("1"), result("1"), HI),
    "adjacent turns of the model": chat(HI, {"role": "assistant", "content": "a"}, calls("1"), calls("2"), result("2"), result("1")),
    "results out of order, and a person between": chat(HI, calls("1", "2"), result("2"), HI, result("1"), HI),
    "a result twice": chat(HI, calls("1"), result("1"), result("1", "b")),
    "calls of one id": chat(HI, calls("1", "1"), result("1"), result("1", "b")),
    "calls without ids": chat(HI, calls("", ""), result(""), result("", "b")),
    "the same id in two turns": chat(HI, calls("1"), result("1"), calls("1"), result("1")),
    "a reference in a result": chat(HI, calls("1"), result("1", '{"$ref": "#/x"}')),
    "arguments that are none": chat(HI, calls("1", "2", arguments="{not"), result("1"), result("2")),
    "nothing said": chat({"role": "user", "content": " "}, {"role": "assistant", "content": ""}, {"role": "user", "content": []}, HI),
    "the system in the middle": chat(
        HI, calls("1"), {"role": "system", "content": "s"}, result("1"), {"role": "developer", "content": "d"}
    ),
    "the oldest form of calls": chat(
        HI,
        {"role": "assistant", "content": None, "function_call": {"name": "f", "arguments": "{}"}},
        {"role": "function", "name": "f", "content": "y"},
        functions=[{"name": "f", "parameters": PLAIN}],
        function_call="auto",
    ),
    "reasoning that is not Google's": chat(HI, calls("1", reasoning_content="r"), result("1")),
    "some tools": chat(
        tools=[function("f"), function("g")],
        tool_choice={
            "type": "allowed_tools",
            "allowed_tools": {"mode": "auto", "tools": [{"type": "function", "function": {"name": "f"}}]},
        },
        web_search_options={},
    ),
    "strict": chat(tools=[function("f", strict=True), function("g")], web_search_options={"search_context_size": "high"}),
    "results among words": messages(
        {"type": "text", "text": "a"}, returned("t2"), {"type": "text", "text": "b"}, returned("t1", is_error=True)
    ),
    "files in results": messages(
        returned("t1", [GIF, PICTURE, {"type": "document", "source": {"type": "base64", "media_type": "application/pdf", "data": PDF}}]),
        returned("t2", []),
    ),
    "a search beside functions": messages(tools=[LIMITED, {"name": "f", "input_schema": SCHEMA}], tool_choice={"type": "any"}),
    "a forced search": messages(tools=[SEARCH], tool_choice={"type": "tool", "name": "web_search"}),
    "split outputs": responses(called("1"), called("2"), output("1"), said("hm", "assistant"), output("2"), said("so?")),
    "messages among calls": responses(
        called("1"), said("d", "developer"), output("1"), said("aloud", "assistant"), called("2"), output("2")
    ),
    "hosted tools": responses(
        tools=[{"type": "web_search"}, {"type": "code_interpreter", "container": {"type": "auto"}}, {"type": "function", "name": "f"}],
        reasoning={"effort": "xhigh", "summary": "detailed"},
    ),
}
ASKED = [
    (f"{shape.name}: {name}", shape.name, {**shape.specimens.least, **one.beside, **one.members})
    for shape in SHAPES.values()
    if shape.name != "gemini"
    for name, one in shape.specimens.fields.items()
]
ASKED += [(caller.name, caller.shape, caller.begin("m")) for caller in CALLERS if caller.shape != "gemini"]
ASKED += [(name, *asked) for name, asked in ODD.items()]


def encoded(provider: str, model: str, shape: str, body: JSON, **flags: Any) -> JSON:
    """Raises errors.ClientFault."""
    name = "vertex" if provider == "google_vertex" else "gemini"
    table = providers.capabilities(name, "", model, {key.replace("_", ".", 1): value for key, value in flags.items()})
    can = Capabilities.from_flags({"reasoning_domain": name, **table})
    return SHAPES["gemini"].encode_request(SHAPES[shape].decode_request({"model": "m"} | body), can, model).body


@pytest.mark.parametrize(
    ("provider", "model", "classic"), [*((*one[:2], False) for one in MODELS), *((*one[:2], True) for one in MODELS if one[2])]
)
def test_google_takes_it(provider: str, model: str, classic: bool) -> None:
    double, options = load(provider), frozenset({"classic"} if classic else ())
    violated, refused = {}, set()
    for asked, shape, body in ASKED:
        try:
            sent = encoded(provider, model, shape, body, g_json_schema=not classic)
        except errors.ClientFault:
            refused.add(asked)
            continue
        rule = double.first_violation(Asked("gemini", sent, {}, options, model, body.get("stream") is True))
        if rule is not None:
            violated[asked] = (rule.id, sent)
    assert violated == {}
    assert refused.isdisjoint(ODD)


def test_results_of_calls_that_cannot_be_told_apart() -> None:
    """They belong together in their order; a result too many takes the place of the last one."""
    for ids in (("1", "1"), ("", "")):
        _, body = chat(HI, calls(*ids), *(result(ids[0], text) for text in "abc"))
        contents = encoded("google", "gemini-3.8-flash", "chat", body)["contents"]
        found = [part["functionResponse"] for part in contents[2]["parts"]]
        assert [(each["name"], each["response"]["output"]) for each in found] == [("f0", "a"), ("f1", "c")]
        assert [each.get("id") for each in found] == [part["functionCall"].get("id") for part in contents[1]["parts"]]


def _adjacent(size: int) -> JSON:
    return chat(HI, *(calls(str(n)) for n in range(size)), *(result(str(n)) for n in range(size)))[1]


def _one_turn(size: int) -> JSON:
    said = {"role": "assistant", "content": [{"type": "text", "text": "t"}] * size}
    return chat(HI, said | {"tool_calls": calls(*("1" * size))["tool_calls"]}, *[result("1")] * size)[1]


def _many_tools(size: int) -> JSON:
    tools = [function(f"f{n}") for n in range(size)]
    allowed = {"mode": "auto", "tools": tools}
    return chat(tools=tools, tool_choice={"type": "allowed_tools", "allowed_tools": allowed})[1]


@pytest.mark.parametrize("make", [_adjacent, _one_turn, _many_tools])
def test_what_it_costs_grows_as_the_request_does(make: Callable[[int], JSON]) -> None:
    assert_linear(make, lambda body: encoded("google", "gemini-3.8-flash", "chat", body), 200)


def test_what_it_costs_to_pair_results() -> None:
    def make(size: int) -> JSON:
        model = [{"functionCall": {"name": f"f{n}"}} for n in range(size)]
        user = [{"functionResponse": {"name": f"f{size - 1 - n}", "response": {}}} for n in range(size)]
        return {"contents": [{"role": "model", "parts": model}, {"role": "user", "parts": user}]}

    assert_linear(make, SHAPES["gemini"].decode_request, 200)
