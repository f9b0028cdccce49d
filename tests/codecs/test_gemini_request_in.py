"""What gemini callers ask, in the hub's form: spellings, ids, signatures, schemas, settings (acceptance G07, G23, G25 and G26)."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from dragoman.codecs import errors
from dragoman.codecs.capabilities import Capabilities
from dragoman.codecs.gemini import paths
from dragoman.codecs.gemini.request_in import decode_request
from dragoman.codecs.gemini.schema_in import from_classic, lowered
from dragoman.codecs.registry import SHAPES
from dragoman.codecs.request import CallPart, ImagePart, ReasoningPart, Request, ResultPart, TextPart
from dragoman.codecs.splice import scan
from dragoman.conf import providers

HI: list[dict[str, Any]] = [{"role": "user", "parts": [{"text": "Hi"}]}]


def user(*parts: Any) -> dict[str, Any]:
    return {"role": "user", "parts": list(parts)}


def model(*parts: Any) -> dict[str, Any]:
    return {"role": "model", "parts": list(parts)}


def decoded(*contents: Any, **more: Any) -> Request:
    return decode_request({"contents": list(contents) or HI, **more})


def written(request: Request, shape: str, **flags: Any) -> dict[str, Any]:
    return SHAPES[shape].encode_request(request, Capabilities(**flags), "m").body


# ---- spellings ----

SYSTEM = {"parts": [{"text": "S"}, {"text": ""}]}
SPELLINGS = [
    {"contents": HI[0], "system_instruction": {"parts": {"text": "S"}}, "generation_config": {"max_output_tokens": "9", "top_k": 5.0}},
    {"contents": HI, "systemInstruction": SYSTEM | {"role": "system"}, "generationConfig": {"maxOutputTokens": 9, "topK": 5}},
    {
        "contents": HI,
        "systemInstruction": SYSTEM,
        "generationConfig": {"max_output_tokens": 1, "maxOutputTokens": 9, "topK": "5"},
        "system_instruction": {"parts": [{"text": "not this"}]},
    },
]


@pytest.mark.parametrize("body", SPELLINGS)
def test_spellings(body: dict[str, Any]) -> None:
    request = decode_request(body)
    assert [(turn.role, [part.text for part in turn.parts if isinstance(part, TextPart)]) for turn in request.turns] == [
        ("system", ["S"]),
        ("user", ["Hi"]),
    ]
    assert {name: setting.value for name, setting in request.settings.items()} == {"max_tokens": 9, "top_k": 5}
    assert request.ledger.dropped == []


def test_data_keeps_its_keys() -> None:
    call = {"functionCall": {"name": "f", "args": {"snake_case": {"a_b": 1}}}}
    result = {"functionResponse": {"name": "f", "response": {"some_key": 1}}}
    tools = {"functionDeclarations": {"name": "f", "parameters_json_schema": {"type": "OBJECT", "properties": {"a_b": {"type": "STRING"}}}}}
    request = decoded(HI[0], model(call), user(result), tools=tools)
    assert json.loads(request.turns[1].parts[0].arguments) == {"snake_case": {"a_b": 1}}  # type: ignore[union-attr]
    assert request.turns[2].parts[0].content == '{"some_key":1}'  # type: ignore[union-attr]
    assert request.tools[0].schema == {"type": "object", "properties": {"a_b": {"type": "string"}}}


@pytest.mark.parametrize(
    ("config", "asked"),
    [
        ({"thinkingBudget": 0}, ("off", None, None)),
        ({"thinkingBudget": -1}, ("adaptive", None, None)),
        ({"thinking_budget": "512"}, ("budget", 512, None)),
        ({"thinkingLevel": "HIGH"}, ("effort", None, "high")),
        ({"thinking_level": "xhigh"}, ("effort", None, "xhigh")),
        ({"thinkingLevel": 1}, ("effort", None, "low")),
        ({"includeThoughts": True}, ("adaptive", None, None)),
        ({"includeThoughts": False}, None),
        ({"thinkingLevel": "THINKING_LEVEL_UNSPECIFIED"}, None),
    ],
)
def test_G26_thinking(config: dict[str, Any], asked: Any) -> None:
    request = decoded(generationConfig={"thinkingConfig": config})
    thinking = request.take("thinking")
    assert (None if thinking is None else (thinking.level, thinking.budget, thinking.effort)) == asked
    assert request.show_thoughts == bool(config.get("includeThoughts"))


CHOICES: list[tuple[dict[str, Any], Any]] = [
    ({}, None),
    ({"mode": "AUTO"}, None),
    ({"mode": "none"}, ("none", "", (), False)),
    ({"mode": "ANY"}, ("required", "", (), False)),
    ({"mode": 2, "allowedFunctionNames": ["f"]}, ("tool", "f", (), False)),
    ({"mode": "any", "allowed_function_names": ["f", "g"]}, ("allowed", "", ("f", "g"), True)),
    ({"mode": "VALIDATED", "allowedFunctionNames": ["f", "g"]}, ("allowed", "", ("f", "g"), False)),
    ({"mode": "VALIDATED"}, None),
]


@pytest.mark.parametrize(("calling", "choice"), CHOICES)
def test_G25_the_choice_of_tools(calling: dict[str, Any], choice: Any) -> None:
    request = decoded(toolConfig={"functionCallingConfig": calling})
    found = request.take("tool_choice")
    assert (None if found is None else (found.mode, found.name, found.names, found.required)) == choice
    adapted = request.ledger.names(request.ledger.adapted, request.body)
    assert adapted == (["toolConfig.functionCallingConfig.mode=AUTO"] if calling.get("mode") == "VALIDATED" else [])


def test_G25_google_s_own_tools() -> None:
    tools: list[Any] = [{"google_search": {"exclude_domains": ["x.com"]}}, {"urlContext": {}, "codeExecution": {}}]
    request = decoded(tools=tools)
    assert [(tool.kind, tool.label, tool.search) for tool in request.tools] == [
        ("web_search", "googleSearch", {"blocked_domains": ["x.com"]}),
        ("hosted", "urlContext", {}),
        ("hosted", "codeExecution", {}),
    ]


def test_G25_several_searches_are_one() -> None:
    """Anthropic refuses two tools of one name."""
    tools: list[Any] = [{"googleSearch": {"excludeDomains": ["x.com"]}}, {"enterpriseWebSearch": {"excludeDomains": ["y.com"]}}]
    tools.append({"googleSearchRetrieval": {}})
    request = decoded(tools=tools)
    search = {"type": "web_search_20250305", "name": "web_search", "blocked_domains": ["x.com", "y.com"]}
    assert written(request, "messages")["tools"] == [search]
    adapted = request.ledger.names(request.ledger.adapted, request.body)
    assert adapted == ["tools[*].enterpriseWebSearch", "tools[*].googleSearchRetrieval"]


TO_OTHERS = [  # thinkingConfig; a messages model that adapts its thinking, and one with budgets; the OpenAI shapes
    ({"thinkingBudget": 0}, {"thinking": {"type": "disabled"}}, {}, {"effort": "none"}),
    ({"thinkingBudget": -1}, {"thinking": {"type": "adaptive"}}, {"thinking": {"type": "enabled", "budget_tokens": 8192}}, None),
    (
        {"thinkingLevel": "HIGH"},
        {"thinking": {"type": "adaptive"}, "output_config": {"effort": "high"}},
        {"thinking": {"type": "enabled", "budget_tokens": 16384}},
        {"effort": "high"},
    ),
    (
        {"thinkingLevel": "high", "includeThoughts": True},
        {"thinking": {"type": "adaptive", "display": "summarized"}, "output_config": {"effort": "high"}},
        {"thinking": {"type": "enabled", "budget_tokens": 16384}},
        {"effort": "high", "summary": "auto"},
    ),
]


@pytest.mark.parametrize(("config", "adaptive", "budget", "openai"), TO_OTHERS)
def test_G26_thinking_of_other_models(config: Any, adaptive: Any, budget: Any, openai: Any) -> None:
    for model, wanted in (("claude-opus-4-6", adaptive), ("claude-sonnet-4-5", budget)):
        can = Capabilities.from_flags(providers.capabilities("anthropic", "", model, {}))
        body = SHAPES["messages"].encode_request(decoded(generationConfig={"thinkingConfig": config}), can, model).body
        assert {key: value for key, value in body.items() if key in ("thinking", "output_config")} == wanted
    assert written(decoded(generationConfig={"thinkingConfig": config}), "responses").get("reasoning") == openai
    body = written(decoded(generationConfig={"thinkingConfig": config}), "chat", c_effort_values=("none", "low", "medium", "high"))
    assert body.get("reasoning_effort") == (openai or {}).get("effort")


@pytest.mark.parametrize("shape", ["chat", "responses"])
def test_openai_s_apis_are_told_of_json_in_words(shape: str) -> None:
    """They refuse it otherwise; Google's callers need no words. The first turn has them, so that what was sent before stays as it is."""
    config = {"responseMimeType": "application/json"}
    member = {"chat": "messages", "responses": "input"}[shape]
    request = decoded(HI[0], model({"text": "{}"}), user({"text": "And now?"}), generationConfig=config)
    first, *_, last = written(request, shape)[member]
    assert [part["text"] for part in first["content"]] == ["Hi", "Answer in JSON."]
    assert "And now?" in str(last["content"])
    assert request.ledger.names(request.ledger.adapted, {}) == ["generationConfig.responseMimeType"]
    request = decoded(user({"text": "Some JSON, please"}), generationConfig=config)
    assert written(request, shape)[member][0]["content"] == "Some JSON, please"
    assert not request.ledger.adapted


# ---- G23: schemas ----


def test_G23_the_classic_form() -> None:
    schema = {"type": "OBJECT", "properties": {"a": {"type": "STRING", "nullable": True, "maxLength": "5"}}}
    assert from_classic(schema) == {"type": "object", "properties": {"a": {"type": ["string", "null"], "maxLength": 5}}}


@pytest.mark.parametrize(
    ("classic", "wanted"),
    [
        (
            {"type": "TYPE_UNSPECIFIED", "ref": "#/$defs/a", "defs": {"a": {"type": 1}}},
            {"$ref": "#/$defs/a", "$defs": {"a": {"type": "string"}}},
        ),
        (  # as the reference of Schema has it
            {"type": "OBJECT", "properties": {"pet": {"ref": "#/defs/Pet"}}, "defs": {"Pet": {"type": "STRING"}}},
            {"type": "object", "properties": {"pet": {"$ref": "#/$defs/Pet"}}, "$defs": {"Pet": {"type": "string"}}},
        ),
        ({"type": 5, "items": {"type": 3, "format": "int32"}}, {"type": "array", "items": {"type": "integer", "format": "int32"}}),
        ({"type": "INTEGER", "enum": ["1", "2"]}, {"type": "integer", "enum": [1, 2]}),
        (
            {"type": "STRING", "format": "enum", "enum": ["a"], "nullable": True, "example": "a"},
            {"type": ["string", "null"], "enum": ["a", None], "examples": ["a"]},
        ),
        ({"any_of": [{"type": "STRING"}], "nullable": True}, {"anyOf": [{"type": "string"}, {"type": "null"}]}),
        ({"type": "OBJECT", "properties": {"type": {"type": "STRING"}, "max_items": {"type": "NUMBER"}}, "propertyOrdering": ["type"]},
         {"type": "object", "properties": {"type": {"type": "string"}, "max_items": {"type": "number"}}}),
    ],
)  # fmt: skip
def test_G23_more_of_it(classic: dict[str, Any], wanted: dict[str, Any]) -> None:
    before = json.dumps(classic)
    found = from_classic(classic)
    assert found == wanted
    assert json.dumps(classic) == before


def test_json_schema_is_kept_but_for_its_types() -> None:
    schema = {"type": ["STRING", "NULL"], "anyOf": [{"type": "INTEGER", "const": "STRING"}], "description": "OBJECT"}
    assert lowered(schema) == {"type": ["string", "null"], "anyOf": [{"type": "integer", "const": "STRING"}], "description": "OBJECT"}


def test_a_deep_schema() -> None:
    schema: dict[str, Any] = {"type": "STRING"}
    for _ in range(5000):
        schema = {"type": "ARRAY", "items": schema}
    assert lowered(schema)["items"]["items"]["type"] == "array"


# ---- calls and results ----


def call(name: str, **more: Any) -> dict[str, Any]:
    return {"functionCall": {"name": name, **more}}


def result(name: str, response: Any = None, **more: Any) -> dict[str, Any]:
    return {"functionResponse": {"name": name, "response": response or {}, **more}}


def pairs(request: Request) -> tuple[list[str], list[str]]:
    parts = [part for turn in request.turns for part in turn.parts]
    return [part.id for part in parts if isinstance(part, CallPart)], [part.id for part in parts if isinstance(part, ResultPart)]


@pytest.mark.parametrize(
    ("calls", "results", "order"),
    [
        ([call("f"), call("g")], [result("g"), result("f")], [1, 0]),
        ([call("f"), call("f")], [result("f"), result("f")], [0, 1]),
        ([call("f", id="a"), call("f", id="b")], [result("f", id="b"), result("f")], [1, 0]),
        ([call("f"), call("g")], [result("unknown"), result("f")], [0, 1]),
    ],
)
def test_results_are_paired(calls: list[Any], results: list[Any], order: list[int]) -> None:
    called, answered = pairs(decoded(HI[0], model(*calls), user(*results)))
    assert answered == [called[place] for place in order]


def test_ids_are_the_same_in_every_request() -> None:
    first = [HI[0], model(call("f")), user(result("f"))]
    before, _ = pairs(decoded(*first))
    after, answered = pairs(decoded(*first, model(call("f")), user(result("f"))))
    assert after[:1] == before
    assert after[0] != after[1]
    assert answered == after
    assert all(len(id) == 29 and id.startswith("call_") for id in after)


def test_a_late_result_of_an_earlier_call() -> None:
    """By its id: the one without an id belongs to the latest call of its name."""
    late = user(result("f", {"output": "2"}), result("f", {"output": "1"}, id="a"))
    request = decoded(HI[0], model(call("f", id="a")), HI[0], model(call("f", id="b")), late)
    assert pairs(request) == (["a", "b"], ["b", "a"])


def test_a_result_without_a_call() -> None:
    assert pairs(decoded(HI[0], user(result("f", id="x"))))[1] == ["x"]


@pytest.mark.parametrize(
    ("response", "text", "failed"),
    [
        ({"output": "42"}, "42", False),
        ({"result": {"a": 1}}, '{"a":1}', False),
        ({"error": "no"}, "no", True),
        ({"output": "42", "more": 1}, '{"output":"42","more":1}', False),
        ({}, "", False),
        ({"output": None}, "null", False),
    ],
)
def test_results(response: dict[str, Any], text: str, failed: bool) -> None:
    part = decoded(HI[0], model(call("f")), user(result("f", response))).turns[-1].parts[0]
    assert isinstance(part, ResultPart)
    assert (part.content, part.is_error) == (text, failed)


def test_results_stand_first_and_have_files() -> None:
    image = {"inlineData": {"mimeType": "image/png", "data": "iVBORw0KGgo-_w"}}  # as Python's SDK writes bytes
    request = decoded(HI[0], model(call("f")), user({"text": "see"}, result("f", {"output": "x"}, parts=[image])))
    first, second = request.turns[-1].parts
    assert isinstance(first, ResultPart)
    assert isinstance(second, TextPart)
    assert [type(part) for part in first.content] == [TextPart, ImagePart]
    assert first.content[1].data == "iVBORw0KGgo+/w=="  # type: ignore[union-attr]


# ---- signatures ----


def signature(payload: dict[str, Any]) -> str:
    return base64.b64encode(b"dgr1." + json.dumps(payload).encode()).decode()


BLOCKS = [{"type": "thinking", "thinking": "p>", "signature": "S1"}]
SIGNED = signature({"k": "m", "u": "messages-home", "b": BLOCKS})


@pytest.mark.parametrize("spelled", [SIGNED, SIGNED.replace("+", "-").replace("/", "_").rstrip("=")])
@pytest.mark.parametrize("thoughts", [[], [{"text": "p", "thought": True}]])
def test_G07_an_envelope_stands_before_its_part(spelled: str, thoughts: list[Any]) -> None:
    request = decoded(HI[0], model(*thoughts, {"text": "ok", "thoughtSignature": spelled}, {"text": "!"}, call("f", id="t1")), HI[0])
    reasoning, text, called = request.turns[1].parts
    assert isinstance(reasoning, ReasoningPart)
    assert (reasoning.form, reasoning.blocks, reasoning.domain) == ("anthropic", BLOCKS, "messages-home")
    assert (text.text, called.id) == ("ok!", "t1")  # type: ignore[union-attr]
    assert request.ledger.dropped == []


@pytest.mark.parametrize("word", ["skip_thought_signature_validator", "context_engineering_is_the_way_to_go"])
def test_a_dummy_is_no_signature(word: str) -> None:
    for spelled in (word, base64.b64encode(word.encode()).decode()):
        request = decoded(HI[0], model(call("f") | {"thoughtSignature": spelled}), user(result("f")))
        assert request.turns[1].parts[0].seal is None  # type: ignore[union-attr]


def test_google_s_own_signatures() -> None:
    parts = [{"text": "a"}, {"text": "", "thoughtSignature": "QUFB"}, call("f") | {"thoughtSignature": "QkJC"}]
    text, called = decoded(HI[0], model(*parts), user(result("f"))).turns[1].parts
    assert (text.text, text.seal.value) == ("a", "QUFB")  # type: ignore[union-attr]
    assert (called.seal.form, called.seal.value, called.seal.domain) == ("google", "QkJC", None)  # type: ignore[union-attr]
    for shape in ("chat", "messages", "responses"):
        request = decoded(HI[0], model(call("f") | {"thoughtSignature": "QkJC"}), user(result("f")))
        written(request, shape)
        assert request.ledger.names(request.ledger.dropped, request.body) == ["contents[*].parts[*].thoughtSignature"]


def test_thoughts_without_an_envelope_are_reported() -> None:
    request = decoded(HI[0], model({"text": "p", "thought": True}, {"text": "ok"}), HI[0])
    written(request, "messages")
    assert len(request.ledger.dropped) == 1


def test_chunks_that_an_sdk_keeps_as_contents_are_one_turn() -> None:
    chunks = [model({"text": "p", "thought": True}), model({"text": "Good ", "thoughtSignature": SIGNED}), model({"text": "morning"})]
    request = decoded(HI[0], *chunks, model({"text": ""}), HI[0])
    assert [turn.role for turn in request.turns] == ["user", "assistant", "user"]
    assert [getattr(part, "text", None) for part in request.turns[1].parts if isinstance(part, TextPart)] == ["Good morning"]


def test_what_only_google_runs_is_reported() -> None:
    said = model({"executableCode": {"code": "1", "language": "PYTHON"}}, {"text": "x"}, {"ofTomorrow": {}})
    request = decoded(HI[0], said, HI[0])
    written(request, "chat")
    assert request.ledger.names(request.ledger.dropped, request.body) == [
        "contents[*].parts[*]:executableCode",
        "contents[*].parts[*]:ofTomorrow",
    ]


def test_a_seed_is_one_of_chat() -> None:
    request = decode_request({"contents": HI, "generationConfig": {"seed": 7}})
    assert written(request, "chat")["seed"] == 7
    assert not request.ledger.dropped


def test_a_public_file_of_a_bucket() -> None:
    request = decoded(user({"fileData": {"fileUri": "https://storage.googleapis.com/bucket/a.png"}}))
    assert isinstance(request.turns[0].parts[0], ImagePart)


TEXT_FILE = {"inlineData": {"mimeType": "text/csv", "data": "YSxiCjEsMg==", "displayName": "a.csv"}}


@pytest.mark.parametrize(
    ("shape", "member", "content", "adapted"),
    [
        ("chat", "messages", '<document title="a.csv">\na,b\n1,2\n</document>', ["contents[*].parts[*].inlineData"]),
        (
            "messages",
            "messages",
            [{"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "a,b\n1,2"}, "title": "a.csv"}],
            [],
        ),
        ("responses", "input", '<document title="a.csv">\na,b\n1,2\n</document>', ["contents[*].parts[*].inlineData"]),
    ],
)
def test_a_text_file_is_text(shape: str, member: str, content: Any, adapted: list[str]) -> None:
    """Whatever files an upstream takes."""
    request = decoded(user(TEXT_FILE))
    assert written(request, shape, c_file_parts=True)[member][0]["content"] == content
    assert request.ledger.names(request.ledger.adapted, {}) == adapted


# ---- refusals ----


@pytest.mark.parametrize("shape", ["chat", "messages", "responses"])
def test_moving_pictures_for_who_cannot_see_them(shape: str) -> None:
    with pytest.raises(errors.UnsupportedContent) as raised:
        written(decoded(user({"inlineData": {"mimeType": "video/mp4", "data": "AAAA"}})), shape, c_file_parts=True)
    assert raised.value.param == "contents[0].parts[0].inlineData"


def test_moving_pictures_for_google() -> None:
    """As a request of this API that is written anew."""
    part = {"inlineData": {"mimeType": "video/mp4", "data": "AAAA"}}
    assert written(decoded(user(part)), "gemini")["contents"] == [user(part)]


@pytest.mark.parametrize(
    "part",
    [
        {"inlineData": {"mimeType": "application/zip", "data": "AAAA"}},
        {"fileData": {"fileUri": "https://www.youtube.com/watch?v=1"}},
        {"fileData": {"fileUri": "https://m.youtube.com/watch?v=1"}},
        {"fileData": {"fileUri": "https://generativelanguage.googleapis.com/v1beta/files/1"}},
        {"fileData": {"fileUri": "https://us-central1-aiplatform.googleapis.com/v1/projects/p/files/1"}},
        {"fileData": {"fileUri": "https://[::1/a.png"}},
        {"someday": {}},
        {"functionCall": {"name": "f"}},
    ],
)
def test_content_that_cannot_be_carried(part: dict[str, Any]) -> None:
    with pytest.raises(errors.UnsupportedContent) as raised:
        decoded(user(part))
    assert raised.value.param is not None
    assert raised.value.param.startswith("contents[0].parts[0]")


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({}, "contents"),
        ({"contents": 1}, "contents"),
        ({"contents": [1]}, "contents[0]"),
        ({"contents": [{"parts": [{"text": 1}]}]}, "contents[0].parts[0].text"),
        ({"contents": HI, "generationConfig": {"temperature": "hot"}}, "generationConfig.temperature"),
        ({"contents": HI, "generation_config": {"max_output_tokens": 0}}, "generation_config.max_output_tokens"),
        ({"contents": HI, "tools": [{"functionDeclarations": [{}]}]}, "tools[0].functionDeclarations[0].name"),
        ({"contents": HI, "toolConfig": {"functionCallingConfig": {"mode": "SOME"}}}, "toolConfig.functionCallingConfig.mode"),
        ({"contents": HI, "toolConfig": {"functionCallingConfig": {"mode": 9}}}, "toolConfig.functionCallingConfig.mode"),
    ],
)
def test_bodies_that_violate_the_shape(body: dict[str, Any], param: str) -> None:
    with pytest.raises(errors.ClientFault) as raised:
        decode_request(body)
    assert raised.value.param == param


# ---- paths ----


@pytest.mark.parametrize(
    ("target", "asked"),
    [
        ("/v1beta/models/a:generateContent", ("a", "generateContent")),
        ("/v1/models/llama3:8b:streamGenerateContent?alt=sse", ("llama3:8b", "streamGenerateContent")),
        ("/models/a%2Fb%3Ac:countTokens", ("a/b:c", "countTokens")),
        ("/v1beta1/projects/p/locations/l/publishers/google/models/a:generateContent", ("a", "generateContent")),
        ("/v1/publishers/anthropic/models/a:generateContent", ("anthropic/a", "generateContent")),
        ("/v1/models/a", None),
        ("/v1/chat/completions", None),
    ],
)
def test_paths(target: str, asked: Any) -> None:
    assert paths.asked(target) == asked


def test_names_in_a_body_are_replaced_where_they_stand() -> None:
    body = (
        b'{ "requests":[{"model":"models/a","content":{"parts":[{"text":"\\"model\\": 1","model":"x"}]}}, {"m\\u006fdel":"a"}] ,'
        b' "x":{"model":"a"}}'
    )
    found = paths.rename(body, scan(body), "b/c")
    assert found == (
        b'{ "requests":[{"model":"models/b/c","content":{"parts":[{"text":"\\"model\\": 1","model":"x"}]}}, {"m\\u006fdel":"models/b/c"}] ,'
        b' "x":{"model":"a"}}'
    )
    untouched = b'{"contents": [{"model": 1.0}]}'
    assert paths.rename(untouched, scan(untouched), "b") is untouched


@pytest.mark.parametrize("model", ["models/other", "other"])
def test_a_body_that_names_another_model(model: str) -> None:
    for body in ({"model": model}, {"requests": [{"model": model}]}, {"generateContentRequest": {"model": model}}):
        with pytest.raises(errors.Malformed):
            paths.read("/v1beta/models/a:generateContent", scan(json.dumps(body).encode()))
