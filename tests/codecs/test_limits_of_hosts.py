"""What single hosts refuse that the API's own vendor takes: who speaks last, how many tools and images, which words and numbers.

Each row is played twice: for a caller of another API, and for one of the host's own, whose body is carried.
"""

from __future__ import annotations

from typing import Any

import pytest

from dragoman.codecs import chat, errors, messages, responses, subsets
from dragoman.codecs.capabilities import Capabilities
from dragoman.codecs.chat.message_rules import CONTINUES, NO_IMAGE, NO_SIGNATURE
from dragoman.codecs.ids import CallIds
from dragoman.codecs.registry import SHAPES
from dragoman.codecs.responses.facts import IDS as RESPONSES_IDS

from .test_rules_of_carried_bodies import amended

JSON = dict[str, Any]

USER = {"role": "user", "content": "Hi"}
SYSTEM = {"role": "system", "content": "Be brief."}
SAID = {"role": "assistant", "content": "It is"}
MARKED = SAID | {"prefix": True}


def written(turns: list[JSON], **flags: Any) -> tuple[list[JSON], str]:
    """The chat messages of a caller of the Responses API, and what was adapted."""
    request = responses.decode_request({"model": "x", "input": turns})
    encoded = chat.encode_request(
        request, Capabilities.from_flags({name.replace("_", ".", 1): value for name, value in flags.items()}), "m"
    )
    return encoded.body["messages"], request.ledger.header(request.ledger.adapted, request.body)


# flags, what was said, what goes up
SPOKEN: list[tuple[JSON, list[JSON], list[JSON]]] = [
    ({"c.prefill": "prefix"}, [USER, SAID], [USER, MARKED]),
    ({"c.prefill": "prefix"}, [USER, SAID | {"content": ""}], [USER]),
    ({"c.prefill": "prefix"}, [USER, SAID, USER], [USER, SAID, USER]),
    ({"c.user_required": True}, [SYSTEM], [SYSTEM | {"role": "user"}]),
    ({"c.user_required": True}, [SYSTEM, SAID], [SYSTEM, {"role": "user", "content": CONTINUES}, SAID]),
    ({"c.user_required": True}, [SYSTEM, USER, SAID], [SYSTEM, USER, SAID]),
    ({"c.user_required": True, "c.prefill": "prefix"}, [SAID], [{"role": "user", "content": CONTINUES}, MARKED]),
    ({}, [USER, SAID], [USER, SAID]),
]


@pytest.mark.parametrize(("flags", "said", "found"), SPOKEN)
def test_who_speaks_last(flags: JSON, said: list[JSON], found: list[JSON]) -> None:
    other, adapted = written(said, **{name.replace(".", "_"): value for name, value in flags.items()})
    assert other == found
    own, _, changed = amended("chat", flags, {"messages": said})
    assert own["messages"] == found
    assert changed == ("messages" if said != found else "")
    assert bool(adapted) or said == found


def test_a_last_answer_that_is_refused() -> None:
    with pytest.raises(errors.Unsupported, match="prefill") as refused:
        written([USER, SAID], c_prefill="none")
    assert refused.value.param == "input[1]"
    with pytest.raises(errors.Unsupported) as refused:
        amended("chat", {"c.prefill": "none"}, {"messages": [USER, SAID]})
    assert refused.value.param == "messages[1]"


def _image(number: int) -> JSON:
    return {"type": "image_url", "image_url": {"url": f"https://example.com/{number}.png"}}


def test_the_newest_images_remain() -> None:
    """In all of a conversation, which goes on."""
    before = [
        {"role": "user", "content": [{"type": "text", "text": "a"}, _image(1)]},
        SAID,
        {"role": "user", "content": [_image(2), _image(3)]},
    ]
    after, _, adapted = amended("chat", {"c.max_images": 2}, {"messages": before})
    assert [message["content"] for message in after["messages"]] == [
        [{"type": "text", "text": "a"}, NO_IMAGE],
        "It is",
        [_image(2), _image(3)],
    ]
    assert adapted == "messages"
    assert amended("chat", {"c.max_images": 3}, {"messages": before})[0]["messages"] is before


@pytest.mark.parametrize(("count", "refused"), [(2, False), (3, True)])
def test_how_many_tools(count: int, refused: bool) -> None:
    tools = [{"type": "function", "function": {"name": f"t{n}"}} for n in range(count)]
    if not refused:
        assert amended("chat", {"c.max_tools": 2}, {"tools": tools})[0]["tools"] is tools
        return
    with pytest.raises(errors.Unsupported, match="at most 2 tools") as told:
        amended("chat", {"c.max_tools": 2}, {"tools": tools})
    assert told.value.param == "tools"


def _called(arguments: str) -> JSON:
    call = {"id": "c", "type": "function", "function": {"name": "f", "arguments": arguments}}
    return {"role": "assistant", "content": "", "tool_calls": [call]}


@pytest.mark.parametrize(
    ("arguments", "found"),
    [
        ('{ "a": 1 }', '{ "a": 1 }'),
        ("", "{}"),
        ("null", "{}"),
        ("[1]", '{"INVALID_JSON":"[1]"}'),
        ("{", '{"INVALID_JSON":"{"}'),
    ],
)
def test_arguments_of_earlier_calls(arguments: str, found: str) -> None:
    after, _, adapted = amended("chat", {"c.odd_arguments": False}, {"messages": [_called(arguments)]})
    assert after["messages"] == [_called(found)]
    assert adapted == ("" if arguments == found else "messages")


FORM = {"type": "json_schema", "json_schema": {"name": "a", "schema": {"type": "array", "minItems": 1, "items": {}}}}
ALLOWED = {"type": "allowed_tools", "allowed_tools": {"mode": "required", "tools": [{"type": "function", "function": {"name": "f"}}]}}
TWO = [{"type": "function", "function": {"name": name}} for name in "fg"]
# shape, flags, what the caller sends, what of it goes up otherwise (None: nothing), dropped, adapted
CARRIED: list[tuple[str, JSON, JSON, JSON, str, str]] = [
    ("chat", {"c.max_temperature": 1}, {"temperature": 1.5, "top_p": 0}, {"temperature": 1, "top_p": 0.01}, "", "temperature=1,top_p=0.01"),
    ("chat", {"c.max_temperature": 1}, {"temperature": 0.5, "top_p": 1}, {}, "", ""),
    (
        "chat",
        {"c.output_subset": ["no_item_counts"]},
        {"response_format": FORM},
        {"response_format": {"type": "json_schema", "json_schema": {"name": "a", "schema": {"type": "array", "items": {}}}}},
        "",
        "response_format",
    ),
    ("chat", {"c.max_tools": 2}, {"tools": []}, {"tools": None}, "", ""),
    ("chat", {"c.json_streams": False}, {"response_format": FORM, "stream": True}, {"response_format": None}, "response_format", ""),
    ("chat", {"c.json_streams": False}, {"response_format": FORM}, {}, "", ""),
    (
        "chat",
        {"c.developer_role": False},
        {"messages": [SYSTEM | {"role": "developer"}, USER]},
        {"messages": [SYSTEM, USER]},
        "",
        "messages",
    ),
    (
        "chat",
        {"c.thinking_switch": "thinking"},
        {"reasoning_effort": "none"},
        {"reasoning_effort": None, "thinking": {"type": "disabled"}},
        "",
        "reasoning_effort",
    ),
    ("chat", {"c.thinking_switch": "thinking", "c.effort_values": ["none"]}, {"reasoning_effort": "none"}, {}, "", ""),
    (
        "chat",
        {"c.tool_choice": "required"},
        {"tools": TWO, "tool_choice": ALLOWED},
        {"tools": TWO[:1], "tool_choice": "required"},
        "",
        "tool_choice=required",
    ),
    (
        "chat",
        {"c.tool_choice": "auto"},
        {"tools": TWO, "tool_choice": ALLOWED},
        {"tools": TWO[:1], "tool_choice": "auto"},
        "",
        "tool_choice=auto",
    ),
    (
        "messages",
        {"m.tools_required_with_history": True},
        {"messages": [USER, {"role": "assistant", "content": [{"type": "tool_use", "id": "t", "name": "f", "input": {}}]}]},
        {"tools": [{"name": "f", "input_schema": {"type": "object"}}], "tool_choice": {"type": "none"}},
        "",
        "tools",
    ),
    (
        "messages",
        {"m.tools_required_with_history": True},
        {"messages": [USER], "tool_choice": {"type": "auto"}},
        {"tool_choice": None},
        "",
        "",
    ),
    (
        "messages",
        {"m.thinking": "manual"},
        {"system": "A", "messages": [USER, SYSTEM, SAID]},
        {"system": [{"type": "text", "text": "A"}, {"type": "text", "text": "Be brief."}], "messages": [USER, SAID]},
        "",
        "messages",
    ),
    (
        "messages",
        {"m.thinking": "manual"},
        {"messages": [SYSTEM]},
        {"messages": [{"role": "user", "content": [{"type": "text", "text": "Be brief."}]}]},
        "",
        "messages",
    ),
    ("messages", {"m.thinking": "adaptive", "m.mid_system": True}, {"messages": [USER, SYSTEM, SAID]}, {}, "", ""),
    (
        "responses",
        {"r.effort_values": ["low", "high"]},
        {"reasoning": {"effort": "none", "summary": "auto"}},
        {"reasoning": {"summary": "auto"}},
        "reasoning.effort",
        "",
    ),
]


@pytest.mark.parametrize(("shape", "flags", "sent", "changed", "dropped", "adapted"), CARRIED)
def test_what_goes_up_of_a_callers_own_body(shape: str, flags: JSON, sent: JSON, changed: JSON, dropped: str, adapted: str) -> None:
    after, lost, otherwise = amended(shape, flags, sent)
    assert after == {name: value for name, value in (sent | changed).items() if value is not None}
    assert (lost, otherwise) == (dropped, adapted)
    assert amended(shape, flags, after)[0] is after


def test_reasoning_goes_on_where_an_effort_does_not_switch_it_off() -> None:
    """Then what is required beside calls is given, although no effort was asked for."""
    flags = {"c.reasons": "unless_off", "c.thinking_switch": "thinking", "c.reasoning_required_with_tools": True}
    off = amended("chat", flags, {"messages": [_called("{}")], "reasoning_effort": "none"})[0]
    assert off == {"messages": [_called("{}")], "thinking": {"type": "disabled"}}
    on = amended("chat", flags, {"messages": [_called("{}")], "reasoning_effort": "low"})[0]
    assert on["messages"] == [_called("{}") | {"reasoning_content": " "}]


def test_a_stand_in_among_details_of_reasoning() -> None:
    """OpenRouter hands Google's signatures on in an entry of them."""
    flags = {"c.signed_calls": True, "c.reasoning_in": "reasoning_details"}
    after, _, adapted = amended("chat", flags, {"messages": [_called("{}"), _called("{}") | {"reasoning_details": [{"data": "own"}]}]})
    (entry,) = after["messages"][0]["reasoning_details"]
    assert (entry["type"], entry["data"], entry["id"], entry["format"]) == ("reasoning.encrypted", NO_SIGNATURE, "c", "google-gemini-v1")
    assert after["messages"][1]["reasoning_details"] == [{"data": "own"}]
    assert adapted == "messages"


def test_nothing_is_left_of_a_conversation() -> None:
    with pytest.raises(errors.Malformed, match="messages: at least one message is required"):
        amended("chat", {"c.empty_content": False}, {"messages": [{"role": "user", "content": ""}]})


@pytest.mark.parametrize(
    ("id", "kept"),
    [("call_1", True), ("a" * 64, True), ("a" * 65, False), ("call_1|fc_2", False), ("functions.f:0", False), ("ö", False)],
)
def test_ids_that_openai_takes(id: str, kept: bool) -> None:
    ids = CallIds(RESPONSES_IDS, own_vendor=True)
    sent = ids.call(id)
    assert (sent == id) is kept
    assert ids.result(id) == sent
    assert CallIds(RESPONSES_IDS).call(id) == id


def test_of_two_results_of_a_call_the_last_remains() -> None:
    results = [{"type": "tool_result", "tool_use_id": "t", "content": text} for text in ("a", "b")]
    said = [USER, {"role": "assistant", "content": [{"type": "tool_use", "id": "t", "name": "f", "input": {}}]}]
    body = {"max_tokens": 9, "messages": [*said, {"role": "user", "content": results}], "tools": [{"name": "f", "input_schema": {}}]}
    request = messages.decode_request(body)
    encoded = chat.encode_request(request, Capabilities(), "m")
    assert [message["content"] for message in encoded.body["messages"] if message["role"] == "tool"] == ["b"]
    assert request.ledger.header(request.ledger.adapted, body) == "messages[*]"


def test_an_error_with_an_image() -> None:
    """Anthropic takes nothing but text in a result that is one."""
    part = {
        "functionResponse": {
            "id": "a",
            "name": "f",
            "response": {"error": "it failed"},
            "parts": [{"inlineData": {"mimeType": "image/png", "data": "AAAA"}}],
        }
    }
    call = {"functionCall": {"id": "a", "name": "f", "args": {}}}
    said = [{"role": "user", "parts": [{"text": "q"}]}, {"role": "model", "parts": [call]}, {"role": "user", "parts": [part]}]
    request = SHAPES["gemini"].decode_request({"contents": said})
    (result,) = messages.encode_request(request, Capabilities(), "m").body["messages"][-1]["content"]
    assert "is_error" not in result
    assert [block["type"] for block in result["content"]] == ["text", "text", "image"]
    assert result["content"][0]["text"] == "Error:"


@pytest.mark.parametrize(
    ("schema", "restrictions", "found"),
    [
        ({"type": "string", "pattern": "^\\d+$", "maxLength": 10}, ("small_grammar",), {"type": "string", "maxLength": 10}),
        ({"type": "string", "pattern": "^a+$", "maxLength": 2000}, ("small_grammar",), {"type": "string", "pattern": "^a+$"}),
        ({"type": "array", "items": {"type": "array", "maxItems": 2}}, ("no_item_counts",), {"type": "array", "items": {"type": "array"}}),
    ],
)
def test_bounds_in_schemas(schema: JSON, restrictions: tuple[str, ...], found: JSON) -> None:
    assert subsets.restricted(schema, restrictions) == found
    assert subsets.restricted(found, restrictions) is found
