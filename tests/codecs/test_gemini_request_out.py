"""Requests of the other APIs as a gemini upstream gets them: literal bodies, and what is reported."""

from __future__ import annotations

from typing import Any

import pytest

from dragoman.codecs import errors
from dragoman.codecs.capabilities import Capabilities
from dragoman.codecs.events import Seal
from dragoman.codecs.gemini import paths, schema_out
from dragoman.codecs.gemini.facts import DUMMY
from dragoman.codecs.reasoning import seal_call, seal_item
from dragoman.codecs.registry import SHAPES
from dragoman.conf.providers import capabilities as known

JSON = dict[str, Any]
HI: JSON = {"role": "user", "content": "hi"}
F: JSON = {"type": "function", "function": {"name": "f", "parameters": {"type": "object", "properties": {"x": {"type": "integer"}}}}}
DECLARED = {"name": "f", "parametersJsonSchema": {"type": "object", "properties": {"x": {"type": "integer"}}}}


def of(model: str, **more: Any) -> Capabilities:
    """The capabilities of a model of Google's, by the tables."""
    base = "https://generativelanguage.googleapis.com/v1beta"
    return Capabilities.from_flags({**known("gemini", base, model, {}), "reasoning_domain": "gemini", **more})


def written(shape: str, body: JSON, can: Capabilities | str = "gemini-3-flash", **more: Any) -> tuple[JSON, list[str], list[str]]:
    """The body, and what is reported as dropped and adapted."""
    request = SHAPES[shape].decode_request({"model": "m", **body})
    found = SHAPES["gemini"].encode_request(request, of(can) if isinstance(can, str) else can, "m").body
    ledger = request.ledger
    lost, changed = (ledger.header(which, body) for which in (ledger.dropped, ledger.adapted))
    return found, lost.split(",") if lost else [], changed.split(",") if changed else []


def call(id: str, signature: str = "", arguments: str = '{"x":1}') -> JSON:
    extra = {"extra_content": {"google": {"thought_signature": signature}}} if signature else {}
    return {"id": id, "type": "function", "function": {"name": "f", "arguments": arguments}} | extra


def test_the_appendix() -> None:
    body = {
        "stream": True,
        "reasoning_effort": "low",
        "max_tokens": 100,
        "messages": [
            {"role": "system", "content": "S"},
            HI,
            {"role": "assistant", "content": None, "tool_calls": [call("c1", "AAAA")]},
            {"role": "tool", "tool_call_id": "c1", "content": "42"},
        ],
        "tools": [F],
    }
    found, lost, changed = written("chat", body)
    assert found == {
        "systemInstruction": {"parts": [{"text": "S"}]},
        "contents": [
            {"role": "user", "parts": [{"text": "hi"}]},
            {"role": "model", "parts": [{"functionCall": {"id": "c1", "name": "f", "args": {"x": 1}}, "thoughtSignature": "AAAA"}]},
            {"role": "user", "parts": [{"functionResponse": {"id": "c1", "name": "f", "response": {"output": "42"}}}]},
        ],
        "tools": [{"functionDeclarations": [DECLARED]}],
        "generationConfig": {"maxOutputTokens": 100, "thinkingConfig": {"thinkingLevel": "LOW", "includeThoughts": True}},
    }
    assert (lost, changed) == ([], [])


def test_g04_a_history_of_another_model() -> None:
    """Each content with calls gets the stand-in on its first call where signatures are required, and none elsewhere."""
    messages = [
        HI,
        {"role": "assistant", "content": "Well", "tool_calls": [call("a"), call("b")]},
        {"role": "tool", "tool_call_id": "a", "content": "1"},
        {"role": "tool", "tool_call_id": "b", "content": "2"},
        {"role": "assistant", "content": None, "tool_calls": [call("c")]},
        {"role": "tool", "tool_call_id": "c", "content": "3"},
    ]
    found, lost, changed = written("chat", {"messages": messages})
    signed = [part.get("thoughtSignature") for content in found["contents"] for part in content["parts"] if "functionCall" in part]
    assert (signed, lost, changed) == ([DUMMY, None, DUMMY], [], ["messages[*].tool_calls[*]"])
    found, lost, changed = written("chat", {"messages": messages}, "gemini-2.5-flash")
    assert ("thoughtSignature" in str(found), lost, changed) == (False, [], [])


@pytest.mark.parametrize("domain", ["gemini", "vertex"])
def test_g01_g03_envelopes_come_back(domain: str) -> None:
    """A signature goes back to the service that made it; another one is named as lost."""
    envelope = seal_call(domain, Seal(0, "google", "AAAA"))
    bodies: dict[str, JSON] = {
        "messages": {
            "max_tokens": 9,
            "messages": [
                HI,
                {
                    "role": "assistant",
                    "content": [
                        {"type": "thinking", "thinking": "plan", "signature": envelope},
                        {"type": "tool_use", "id": "a1", "name": "f", "input": {"x": 1}},
                    ],
                },
                {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "a1", "content": "42"}]},
            ],
        },
        "responses": {
            "input": [
                HI,
                {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": envelope},
                {"type": "function_call", "call_id": "a1", "name": "f", "arguments": '{"x":1}'},
                {"type": "function_call_output", "call_id": "a1", "output": "42"},
            ]
        },
    }
    for shape, body in bodies.items():
        found, lost, _ = written(shape, body)
        own = domain == "gemini"
        assert found["contents"][1:] == [
            {
                "role": "model",
                "parts": [
                    {"functionCall": {"id": "a1", "name": "f", "args": {"x": 1}}, "thoughtSignature": "AAAA" if own else DUMMY},
                ],
            },
            {"role": "user", "parts": [{"functionResponse": {"id": "a1", "name": "f", "response": {"output": "42"}}}]},
        ]
        assert bool(lost) != own


def test_g05_a_texts_signature_comes_back() -> None:
    envelope = seal_call("gemini", Seal(0, "google", "BBBB"), of_text=True)
    thinking = {"type": "thinking", "thinking": "", "signature": envelope}
    body = {"max_tokens": 9, "messages": [HI, {"role": "assistant", "content": [{"type": "text", "text": "Hello"}, thinking]}, HI]}
    found, lost, _ = written("messages", body)
    assert (found["contents"][1]["parts"], lost) == ([{"text": "Hello", "thoughtSignature": "BBBB"}], [])
    reasoning = {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": envelope}
    found, lost, _ = written("responses", {"input": [HI, {"role": "assistant", "content": "Hello"}, reasoning, HI]})
    assert (found["contents"][1]["parts"], lost) == ([{"text": "Hello", "thoughtSignature": "BBBB"}], [])


def test_a_caller_that_moves_its_thinking_to_the_beginning() -> None:
    carriers = [
        {"type": "thinking", "thinking": "", "signature": seal_call("gemini", Seal(0, "google", seal))} for seal in ("AAAA", "BBBB")
    ]
    said = [{"type": "text", "text": "Hello"}, *({"type": "tool_use", "id": id, "name": "f", "input": {}} for id in "ab")]
    found, lost, _ = written("messages", {"max_tokens": 9, "messages": [HI, {"role": "assistant", "content": [*carriers, *said]}, HI]})
    assert [part.get("thoughtSignature") for part in found["contents"][1]["parts"]] == [None, "AAAA", "BBBB"]
    assert lost == []


@pytest.mark.parametrize(("data", "sent", "is_lost"), [("AAAA", "AAAA", False), ("no base64", DUMMY, True)])
def test_a_signature_among_openrouters_details(data: str, sent: str, is_lost: bool) -> None:
    details = [
        {"type": "reasoning.text", "text": "plan", "format": "google-gemini-v1", "index": 0},
        {"type": "reasoning.encrypted", "data": data, "id": "a1", "format": "google-gemini-v1", "index": 1},
    ]
    said = {"role": "assistant", "content": None, "tool_calls": [call("a1")], "reasoning": "plan", "reasoning_details": details}
    found, lost, _ = written("chat", {"messages": [HI, said, {"role": "tool", "tool_call_id": "a1", "content": "42"}]})
    assert [part["thoughtSignature"] for part in found["contents"][1]["parts"]] == [sent]
    assert bool(lost) == is_lost


def test_another_providers_reasoning_is_not_sent() -> None:
    sealed = seal_item("openai", "rs", "E", [])
    reasoning = {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": sealed}
    found, lost, _ = written("responses", {"input": [HI, reasoning, {"role": "assistant", "content": "Hello"}, HI]})
    assert (found["contents"][1]["parts"], lost) == ([{"text": "Hello"}], ["input[*].encrypted_content"])


# ---- G23: schemas ----

NODE: JSON = {
    "type": "object",
    "title": "T",
    "properties": {
        "a": {"type": ["string", "null"]},
        "kind": {"const": "x"},
        "format": {"type": "string", "format": "uri"},
        "next": {"$ref": "#/$defs/node", "title": "gone", "description": "kept"},
    },
    "required": ["a"],
    "$defs": {"node": {"type": "object", "description": "a node", "properties": {"next": {"$ref": "#/$defs/node"}}}},
}


def test_g23_json_schema() -> None:
    found = schema_out.to_json(NODE, ("p",))
    wanted = NODE | {
        "properties": NODE["properties"] | {"kind": {"enum": ["x"]}, "next": {"$ref": "#/$defs/node", "description": "kept"}},
    }
    assert found == (wanted, False)


@pytest.mark.parametrize(
    ("schema", "wanted", "adapted"),
    [
        ({"$schema": "s", "type": "object"}, None, False),
        ({"type": "object", "properties": {}}, None, False),
        ({"type": "integer", "exclusiveMinimum": 1, "exclusiveMaximum": 9}, {"type": "integer", "minimum": 2, "maximum": 8}, False),
        ({"type": "integer", "exclusiveMinimum": 1, "minimum": 5}, {"type": "integer", "minimum": 5}, False),
        ({"type": "integer", "exclusiveMaximum": 9, "maximum": 10}, {"type": "integer", "maximum": 8}, False),
        (
            {"type": "number", "exclusiveMinimum": 1.5},
            {"type": "number", "description": '(constraints: {"exclusiveMinimum":1.5})'},
            True,
        ),
        (
            {"definitions": {"d": {"type": "string"}}, "properties": {"x": {"$ref": "#/definitions/d"}}},
            {"$defs": {"d": {"type": "string"}}, "properties": {"x": {"$ref": "#/$defs/d"}}},
            False,
        ),
        ({"properties": {"const": {"const": 1}}}, {"properties": {"const": {"enum": [1]}}}, False),
    ],
)
def test_json_schemas(schema: JSON, wanted: JSON | None, adapted: bool) -> None:
    assert schema_out.to_json(schema, ("p",)) == (wanted, adapted)


def test_schemas_that_cannot_be_sent() -> None:
    circle = {"type": "object", "properties": {"x": {"$ref": "#"}}, "required": ["x"]}
    deep: JSON = {"type": "string"}
    for _ in range(200):
        deep = {"type": "array", "items": deep}
    wide: JSON = {"$defs": {f"d{n}": {"anyOf": [{"$ref": f"#/$defs/d{n + 1}"}] * 2} for n in range(40)}, "$ref": "#/$defs/d0"}
    for schema in (circle, {"properties": {"x": {"$ref": "https://example.com/s"}}}, deep):
        with pytest.raises(errors.Unsupported):
            schema_out.to_json(schema, ("tools", 0))
    for schema in (deep, wide, {"properties": {"x": {"$ref": "other.json"}}}):
        with pytest.raises(errors.Unsupported):
            schema_out.to_classic(schema, ("tools", 0))


@pytest.mark.parametrize(
    ("schema", "wanted", "adapted"),
    [
        ({"type": ["string", "null"]}, {"type": "STRING", "nullable": True}, False),
        ({"anyOf": [{"type": "string"}, {"type": "null"}]}, {"type": "STRING", "nullable": True}, False),
        (
            {"type": ["string", "integer"], "minLength": 1, "minimum": 2},
            {"anyOf": [{"type": "STRING", "minLength": 1}, {"type": "INTEGER", "minimum": 2}]},
            False,
        ),
        ({"oneOf": [{"type": "string"}, {"type": "integer"}]}, {"anyOf": [{"type": "STRING"}, {"type": "INTEGER"}]}, False),
        ({"const": "v"}, {"type": "STRING", "enum": ["v"]}, False),
        ({"type": "string", "enum": ["", "a"]}, {"type": "STRING", "enum": ["a"]}, True),
        ({"type": "integer", "enum": [1, 2]}, {"type": "INTEGER", "enum": ["1", "2"]}, False),
        ({"type": "array"}, {"type": "ARRAY", "items": {"type": "STRING"}}, True),
        ({"type": "string", "format": "uri"}, {"type": "STRING", "description": '(constraints: {"format":"uri"})'}, True),
        (
            {"type": "object", "additionalProperties": False, "properties": {"a": {}}},
            {"type": "OBJECT", "properties": {"a": {"type": "STRING"}}},
            True,
        ),
        (
            {"type": "object", "properties": {"a": {"type": "boolean"}}, "required": ["a", "b"]},
            {"type": "OBJECT", "properties": {"a": {"type": "BOOLEAN"}}, "required": ["a"]},
            False,
        ),
        (
            {"allOf": [{"type": "object", "properties": {"a": {"type": "string"}}}, {"properties": {"b": {"type": "string"}}}]},
            {"type": "OBJECT", "properties": {"a": {"type": "STRING"}, "b": {"type": "STRING"}}},
            False,
        ),
    ],
)
def test_g23_classic_schemas(schema: JSON, wanted: JSON, adapted: bool) -> None:
    assert schema_out.to_classic(schema, ("p",)) == (wanted, adapted)


def test_g23_a_circle_in_a_classic_schema() -> None:
    found = schema_out.to_classic(NODE, ("p",))
    assert found.adapted
    assert found.schema is not None
    assert found.schema["properties"] == {
        "a": {"type": "STRING", "nullable": True},
        "kind": {"type": "STRING", "enum": ["x"]},
        "format": {"type": "STRING", "description": '(constraints: {"format":"uri"})'},
        "next": {
            "type": "OBJECT",
            "description": "kept",
            "properties": {"next": {"type": "OBJECT", "description": "a node"}},
        },
    }
    assert schema_out.to_classic({"type": "integer", "enum": [1]}, ("p",), integer_enums=False) == (
        {"type": "INTEGER", "description": '(constraints: {"enum":[1]})'},
        True,
    )


# ---- G24: results ----

PNG = {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw0KGgo="}}
INLINE = {"inlineData": {"mimeType": "image/png", "data": "iVBORw0KGgo="}}


def test_g24_results() -> None:
    messages = [
        HI,
        {"role": "assistant", "content": None, "tool_calls": [call("a", "S"), call("b")]},
        {"role": "tool", "tool_call_id": "b", "content": '{"$ref":"#/x"}'},
        {"role": "tool", "tool_call_id": "a", "content": [PNG, {"type": "text", "text": "seen"}]},
        {"role": "user", "content": "So?"},
    ]
    found, lost, changed = written("chat", {"messages": messages})
    answers = [
        {"functionResponse": {"id": "a", "name": "f", "response": {"output": "seen"}, "parts": [INLINE]}},
        {"functionResponse": {"id": "b", "name": "f", "response": {"output": '{"$ref":"#/x"}'}}},
    ]
    users = {"role": "user", "parts": [{"text": "So?"}]}
    assert found["contents"][2:] == [{"role": "user", "parts": answers}, users]
    assert (lost, changed) == ([], ["messages[*]"])
    found, _, _ = written("chat", {"messages": messages}, "gemini-2.5-flash")
    media = {"role": "user", "parts": [{"text": "Image output of tool call a:"}, INLINE]}
    assert "parts" not in found["contents"][2]["parts"][0]["functionResponse"]
    assert found["contents"][3:] == [media, users]


@pytest.mark.parametrize(("server", "inside"), [("vertex", True), ("developer", False)])
def test_g24_a_file_of_a_bucket(server: str, inside: bool) -> None:
    """Only Vertex AI reads it inside a result."""
    source = {"type": "image", "source": {"type": "url", "url": "gs://bucket/a.png"}}
    use = {"type": "tool_use", "id": "a", "name": "f", "input": {}}
    turns = [HI, {"role": "assistant", "content": [use]}, {"role": "user", "content": [result_of("a", [source])]}]
    found, _, _ = written("messages", {"max_tokens": 9, "messages": turns}, Capabilities(g_server=server))  # type: ignore[arg-type]
    file = {"fileData": {"fileUri": "gs://bucket/a.png", "mimeType": "image/png"}}
    response = found["contents"][2]["parts"][0]["functionResponse"]
    assert response.get("parts", []) == ([file] if inside else [])
    assert (file in found["contents"][-1]["parts"]) != inside


@pytest.mark.parametrize(
    ("part", "file"),
    [
        ({"video_url": {"url": "https://h/a.webm"}}, {"fileData": {"fileUri": "https://h/a.webm", "mimeType": "video/webm"}}),
        ({"video_url": {"url": "https://youtu.be/x"}}, {"fileData": {"fileUri": "https://youtu.be/x", "mimeType": "video/mp4"}}),
        ({"video_url": {"url": "data:video/mp4;base64,AAAA"}}, {"inlineData": {"mimeType": "video/mp4", "data": "AAAA"}}),
        ({"document_url": "https://h/a"}, {"fileData": {"fileUri": "https://h/a", "mimeType": "application/pdf"}}),
    ],
)
def test_files_in_the_words_of_other_chat_providers(part: JSON, file: JSON) -> None:
    found, lost, _ = written("chat", {"messages": [{"role": "user", "content": [{"type": next(iter(part)), **part}]}]})
    assert found["contents"][0]["parts"] == [file]
    assert lost == []


def result_of(id: str, content: Any) -> JSON:
    return {"type": "tool_result", "tool_use_id": id, "content": content}


def test_g24_an_error_and_text_beside_results() -> None:
    use = {"type": "tool_use", "id": "a", "name": "f", "input": {}}
    result = {"type": "tool_result", "tool_use_id": "a", "content": "no", "is_error": True}
    body = {
        "max_tokens": 9,
        "messages": [HI, {"role": "assistant", "content": [use]}, {"role": "user", "content": [{"type": "text", "text": "t"}, result]}],
    }
    found, _, changed = written("messages", body)
    assert found["contents"][2:] == [
        {"role": "user", "parts": [{"functionResponse": {"id": "a", "name": "f", "response": {"error": "no"}}}]},
        {"role": "user", "parts": [{"text": "t"}]},
    ]
    assert "messages[*]" in changed


@pytest.mark.parametrize(
    ("result", "name"),
    [
        ({"role": "tool", "tool_call_id": "c"}, "unknown"),
        ({"role": "tool", "tool_call_id": "c", "name": "f"}, "f"),
        ({"role": "tool", "tool_call_id": "c", "name": "1st", "content": [{"type": "text", "text": "1"}]}, "_1st"),
        ({"role": "tool", "tool_call_id": "c", "name": 1}, "unknown"),
        ({"role": "function", "name": "f"}, "f"),
    ],
)
def test_a_result_without_its_call_has_the_name_that_it_says(result: JSON, name: str) -> None:
    """A caller may have cut its history. Where the call is there, its name holds."""
    found, lost, _ = written("chat", {"messages": [{"content": "1"} | result, HI]})
    (part,) = found["contents"][0]["parts"]
    assert (part["functionResponse"]["name"], part["functionResponse"]["response"], lost) == (name, {"output": "1"}, [])
    turns = [
        HI,
        {"role": "assistant", "content": None, "tool_calls": [call("c")]},
        {"role": "tool", "tool_call_id": "c", "name": "g", "content": "1"},
    ]
    found, _, _ = written("chat", {"messages": turns})
    assert found["contents"][2]["parts"][0]["functionResponse"]["name"] == "f"


def test_the_ends_of_a_conversation() -> None:
    said = {"role": "assistant", "content": "Well"}
    with pytest.raises(errors.Unsupported, match="prefill"):
        written("chat", {"messages": [HI, said]}, "gemini-3.7-flash")
    found, _, changed = written("chat", {"messages": [said]}, "gemini-3-flash")
    assert [content["parts"][0]["text"] for content in found["contents"]] == ["(conversation continues)", "Well"]
    assert changed == ["messages[*]"]
    with pytest.raises(errors.Malformed):
        written("chat", {"messages": [{"role": "system", "content": "S"}]})


# ---- G25: tools ----


def tools(*more: JSON, **settings: Any) -> JSON:
    g = {"type": "function", "function": {"name": "1st"}}
    return {"messages": [HI], "tools": [F, g, *more], **settings}


def named(name: str) -> JSON:
    return {"type": "function", "function": {"name": name}}


def allowed(mode: str) -> JSON:
    return {"type": "allowed_tools", "allowed_tools": {"mode": mode, "tools": [named("f")]}}


@pytest.mark.parametrize(
    ("choice", "config", "declared"),
    [
        (None, None, 2),
        ("auto", None, 2),
        ("none", {"mode": "NONE"}, 2),
        ("required", {"mode": "ANY"}, 2),
        (named("1st"), {"mode": "ANY", "allowedFunctionNames": ["_1st"]}, 2),
        (allowed("required"), {"mode": "ANY", "allowedFunctionNames": ["f"]}, 2),
        (allowed("auto"), {"mode": "VALIDATED", "allowedFunctionNames": ["f"]}, 2),
    ],
)
def test_g25_choices(choice: Any, config: Any, declared: int) -> None:
    found, lost, _ = written("chat", tools() | ({"tool_choice": choice} if choice else {}))
    declarations = found["tools"][0]["functionDeclarations"]
    assert [each["name"] for each in declarations] == ["f", "_1st"][:declared]
    assert found.get("toolConfig") == (None if config is None else {"functionCallingConfig": config})
    assert lost == []


def test_g25_what_old_models_lack() -> None:
    found, _, changed = written("chat", tools(tool_choice=allowed("auto")), "gemini-2.0-flash")
    assert ([each["name"] for each in found["tools"][0]["functionDeclarations"]], "toolConfig" in found) == (["f"], False)
    assert "tool_choice" in changed
    strict = {"type": "function", "function": {"name": "s", "strict": True}}
    found, lost, _ = written("chat", tools(strict))
    assert (found["toolConfig"], lost) == ({"functionCallingConfig": {"mode": "VALIDATED"}}, [])
    found, lost, _ = written("chat", tools(strict), "gemini-2.0-flash")
    assert ("toolConfig" in found, lost) == (False, ["tools[*].function.strict"])
    with pytest.raises(errors.Unsupported):
        written("chat", {"messages": [HI], "tool_choice": "required"})


def test_g25_search_beside_functions() -> None:
    search = {"messages": [HI], "tools": [F], "web_search_options": {}}
    found, lost, _ = written("chat", search)
    assert found["tools"] == [{"functionDeclarations": [DECLARED]}, {"googleSearch": {}}]
    assert (found["toolConfig"], lost) == ({"includeServerSideToolInvocations": True}, [])
    found, lost, _ = written("chat", search, "gemini-2.5-flash")
    assert (found["tools"], lost) == ([{"functionDeclarations": [DECLARED]}], ["web_search_options"])
    tool = {"type": "web_search_20250305", "name": "web_search", "blocked_domains": ["a.example"], "max_uses": 1}
    body = {"max_tokens": 9, "messages": [HI], "tools": [tool]}
    found, lost, _ = written("messages", body)
    assert ("tools" in found, lost) == (False, ["tools[*]:web_search_20250305"])
    found, lost, _ = written("messages", body, of("gemini-3-flash", **{"g.server": "vertex"}))
    assert (found["tools"], lost) == ([{"googleSearch": {"excludeDomains": ["a.example"]}}], ["tools[*].max_uses"])


@pytest.mark.parametrize("server", ["developer", "vertex"])
@pytest.mark.parametrize(
    ("shape", "asked"),
    [
        ("messages", {"type": "web_search_20250305", "name": "web_search", "allowed_domains": ["a.example"]}),
        ("responses", {"type": "web_search", "filters": {"allowed_domains": ["a.example"]}}),
    ],
)
def test_a_search_that_is_limited_to_domains_does_not_go_out_without_the_limit(server: str, shape: str, asked: dict[str, Any]) -> None:
    body = {"max_tokens": 9, "messages": [HI]} if shape == "messages" else {"input": [HI]}
    found, dropped, _ = written(shape, body | {"tools": [asked]}, of("gemini-3-flash", **{"g.server": server}))
    assert ("tools" in found, dropped) == (False, [f"tools[*]:{asked['type']}"])
    forced = {"type": "tool", "name": "web_search"} if shape == "messages" else {"type": "web_search"}
    with pytest.raises(errors.Unsupported):
        written(shape, body | {"tools": [asked], "tool_choice": forced}, of("gemini-3-flash", **{"g.server": server}))


@pytest.mark.parametrize("empty", [{}, {"allowed_domains": []}, {"blocked_domains": None}])
def test_a_search_with_no_domains_named_is_not_limited(empty: dict[str, Any]) -> None:
    tool = {"type": "web_search_20250305", "name": "web_search", **empty}
    found, lost, _ = written("messages", {"max_tokens": 9, "messages": [HI], "tools": [tool]})
    assert (found["tools"], lost) == ([{"googleSearch": {}}], [])


# ---- G26: thinking ----


@pytest.mark.parametrize(
    ("model", "effort", "config", "adapted"),
    [
        ("gemini-2.5-pro", "low", {"thinkingBudget": 1024}, False),
        ("gemini-2.5-pro", "medium", {"thinkingBudget": 8192}, False),
        ("gemini-2.5-pro", "high", {"thinkingBudget": 24576}, False),
        ("gemini-2.5-pro", "xhigh", {"thinkingBudget": 32768}, False),
        ("gemini-2.5-pro", "none", {"thinkingBudget": 128}, True),
        ("gemini-2.5-flash", "none", {"thinkingBudget": 0}, False),
        ("gemini-2.5-flash", "high", {"thinkingBudget": 24576}, False),
        ("gemini-3-pro", "medium", {"thinkingLevel": "LOW"}, True),
        ("gemini-3-pro", "none", {"thinkingLevel": "LOW"}, True),
        ("gemini-3-flash", "minimal", {"thinkingLevel": "MINIMAL"}, False),
        ("gemini-3.7-flash", "minimal", {"thinkingLevel": "LOW"}, True),
        ("gemini-3.7-flash", "xhigh", {"thinkingLevel": "HIGH"}, True),
        ("gemini-4-hydrogen", "xhigh", {"thinkingLevel": "XHIGH"}, False),
        ("gemini-2.0-flash", "none", None, False),
    ],
)
def test_g26_efforts(model: str, effort: str, config: JSON | None, adapted: bool) -> None:
    found, lost, changed = written("chat", {"messages": [HI], "reasoning_effort": effort}, model)
    shown = {} if effort == "none" else {"includeThoughts": True}
    assert found.get("generationConfig") == (None if config is None else {"thinkingConfig": config | shown})
    assert (lost, [entry.partition("=")[0] for entry in changed]) == ([], ["reasoning_effort"] if adapted else [])


@pytest.mark.parametrize(
    ("thinking", "model", "config"),
    [
        ({"type": "enabled", "budget_tokens": 50000}, "gemini-2.5-flash", {"thinkingBudget": 24576, "includeThoughts": True}),
        ({"type": "enabled", "budget_tokens": 50000}, "gemini-2.5-pro", {"thinkingBudget": 32768, "includeThoughts": True}),
        ({"type": "enabled", "budget_tokens": 5000}, "gemini-3.7-flash", {"thinkingLevel": "MEDIUM", "includeThoughts": True}),
        ({"type": "adaptive"}, "gemini-2.5-pro", {"thinkingBudget": -1, "includeThoughts": True}),
        ({"type": "adaptive", "display": "omitted"}, "gemini-2.5-pro", {"thinkingBudget": -1}),
        ({"type": "adaptive"}, "gemini-3.7-flash", {"includeThoughts": True}),
        ({"type": "disabled"}, "gemini-2.5-flash", {"thinkingBudget": 0}),
        ({"type": "disabled"}, "gemini-3-flash", {"thinkingLevel": "MINIMAL"}),
    ],
)
def test_g26_budgets(thinking: JSON, model: str, config: JSON) -> None:
    found, _, _ = written("messages", {"max_tokens": 60000, "messages": [HI], "thinking": thinking}, model)
    assert found["generationConfig"]["thinkingConfig"] == config


@pytest.mark.parametrize(("provider", "config"), [("vertex", {"thinkingBudget": 0}), ("gemini", {"thinkingLevel": "LOW"})])
@pytest.mark.parametrize("model", ["gemini-3.1-pro-preview", "google/gemini-3.1-pro-preview"])
def test_g26_a_model_that_one_server_lets_be_switched_off(provider: str, config: JSON, model: str) -> None:
    base = "https://aiplatform.googleapis.com/v1/projects/p/locations/global/publishers/google"
    can = Capabilities.from_flags(known(provider, base if provider == "vertex" else "https://x/v1beta", model, {}))
    found, _, _ = written("chat", {"messages": [HI], "reasoning_effort": "none"}, can)
    assert found["generationConfig"]["thinkingConfig"] == config


def test_a_model_that_does_not_think() -> None:
    found, lost, _ = written("chat", {"messages": [HI], "reasoning_effort": "high"}, "gemini-2.0-flash")
    assert ("generationConfig" in found, lost) == (False, ["reasoning_effort"])


# ---- settings ----


def test_settings() -> None:
    settings = {
        "temperature": 0.5,
        "top_p": 0.9,
        "seed": 7,
        "stop": ["1", "2", "3", "4"],
        "presence_penalty": 0.5,
        "logit_bias": {"1": 1},
        "service_tier": "flex",
        "logprobs": True,
        "n": 1,
        "user": "u",
        "max_tokens": 100_000,
    }
    found, lost, changed = written("chat", {"messages": [HI], **settings}, "gemini-2.5-flash")
    assert found["generationConfig"] == {
        "maxOutputTokens": 65536,
        "temperature": 0.5,
        "topP": 0.9,
        "seed": 7,
        "stopSequences": ["1", "2", "3", "4"],
    }
    assert (found["serviceTier"], changed) == ("flex", ["max_tokens=65536"])
    assert sorted(lost) == ["logit_bias", "logprobs", "presence_penalty", "user"]
    found, lost, _ = written("chat", {"messages": [HI], "temperature": 0.5}, "gemini-3.6-flash")
    assert ("generationConfig" in found, lost) == (False, ["temperature"])
    able = of("gemini-2.5-flash", **{"g.logprobs": True, "g.safety": ["HARM_CATEGORY_HARASSMENT=BLOCK_NONE"]})
    found, lost, _ = written("chat", {"messages": [HI], "logprobs": True, "top_logprobs": 2}, able)
    assert (found["generationConfig"], lost) == ({"responseLogprobs": True, "logprobs": 2}, [])
    assert found["safetySettings"] == [{"category": "HARM_CATEGORY_HARASSMENT", "threshold": "BLOCK_NONE"}]


def test_structured_output() -> None:
    form = {"type": "json_schema", "json_schema": {"name": "o", "schema": {"type": "object", "properties": {"a": {"const": 1}}}}}
    found, lost, _ = written("chat", {"messages": [HI], "response_format": form})
    schema = {"type": "object", "properties": {"a": {"enum": [1]}}}
    assert (found["generationConfig"], lost) == ({"responseMimeType": "application/json", "responseJsonSchema": schema}, [])
    classic = of("gemini-3-flash", **{"g.json_schema": False})
    found, _, _ = written("chat", {"messages": [HI], "response_format": form, "tools": [F]}, classic)
    assert found["generationConfig"]["responseSchema"] == {"type": "OBJECT", "properties": {"a": {"type": "INTEGER", "enum": ["1"]}}}
    assert found["tools"][0]["functionDeclarations"][0]["parameters"] == {"type": "OBJECT", "properties": {"x": {"type": "INTEGER"}}}
    found, lost, _ = written("chat", {"messages": [HI], "response_format": form, "tools": [F]}, "gemini-2.5-flash")
    assert ("generationConfig" in found, lost) == (False, ["response_format"])


# ---- URLs ----

DEVELOPER = "https://generativelanguage.googleapis.com/v1beta"
PROJECT = "https://us-central1-aiplatform.googleapis.com/v1/projects/p/locations/us-central1"


@pytest.mark.parametrize(
    ("base", "model", "stream", "url"),
    [
        (f"{DEVELOPER}/openai", "gemini-3-flash", False, f"{DEVELOPER}/models/gemini-3-flash:generateContent"),
        (DEVELOPER, "gemini-3-flash", True, f"{DEVELOPER}/models/gemini-3-flash:streamGenerateContent?alt=sse"),
        (f"{PROJECT}/endpoints/openapi", "google/gemini-3", False, f"{PROJECT}/publishers/google/models/gemini-3:generateContent"),
        (f"{PROJECT}/endpoints/openapi", "endpoints/12", True, f"{PROJECT}/endpoints/12:streamGenerateContent?alt=sse"),
        (
            "https://aiplatform.googleapis.com/v1/publishers/google",
            "gemini-3",
            False,
            "https://aiplatform.googleapis.com/v1/publishers/google/models/gemini-3:generateContent",
        ),
    ],
)
def test_urls(base: str, model: str, stream: bool, url: str) -> None:
    assert SHAPES["gemini"].endpoint(base, model, stream) == url
    assert paths.base(paths.base(base)) == paths.base(base)
