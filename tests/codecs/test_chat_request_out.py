"""A hub request as the body for a chat upstream: whole requests, and every row of content, tools and settings by table."""

from __future__ import annotations

import copy
import hashlib
from typing import Any

import pytest

from dragoman.codecs import chat, errors, messages, reasoning, responses
from dragoman.codecs.capabilities import Capabilities
from dragoman.codecs.request import Request

from . import worked

PNG = "iVBORw0KGgo="
PDF = "JVBERi0="
OPENAI: dict[str, Any] = {
    "openai_host": True,
    "c_max_tokens_field": "max_completion_tokens",
    "c_developer_role": True,
    "c_custom_tools": True,
    "c_allowed_tools": True,
    "c_file_parts": True,
    "c_web_search": True,
    "c_effort_values": ("none", "minimal", "low", "medium", "high", "xhigh", "max"),
    "c_reasoning_in": "none",
}


class Carried:
    """What became of one request: the upstream's body and the two reports."""

    def __init__(self, request: Request, flags: dict[str, Any]) -> None:
        self.body = chat.encode_request(request, Capabilities(**flags), "up").body
        self.messages: list[dict[str, Any]] = self.body["messages"]
        self.dropped = request.ledger.header(request.ledger.dropped, request.body)
        self.adapted = request.ledger.header(request.ledger.adapted, request.body)


def from_messages(flags: dict[str, Any] | None = None, **fields: Any) -> Carried:
    body = {"model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": "q"}]} | fields
    return Carried(messages.decode_request(body), flags or {})


def from_responses(flags: dict[str, Any] | None = None, **fields: Any) -> Carried:
    return Carried(responses.decode_request({"model": "m", "input": "q"} | fields), flags or {})


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


# ---- system ----


SYSTEM = [{"type": "text", "text": "S1"}, {"type": "text", "text": "S2", "cache_control": {"type": "ephemeral", "ttl": "1h"}}]
BILLING = {"type": "text", "text": "x-anthropic-billing-header: a"}
LONG = {"mode": "explicit", "ttl": "12h"}


@pytest.mark.parametrize(
    ("system", "flags", "content", "adapted"),
    [
        ("S", {}, "S", ""),
        (SYSTEM, {}, "S1\n\nS2", ""),
        ([BILLING, *SYSTEM], {}, "S1\n\nS2", ""),
        (
            SYSTEM,
            {"c_cache_breakpoints": True},
            [{"type": "text", "text": "S1"}, {"type": "text", "text": "S2", "prompt_cache_breakpoint": LONG}],
            "system[*].cache_control",
        ),
    ],
)
def test_the_system_prompt(system: Any, flags: dict[str, Any], content: Any, adapted: str) -> None:
    found = from_messages(flags, system=system)
    assert found.messages[0] == {"role": "system", "content": content}
    assert (found.dropped, found.adapted) == ("", adapted)


def test_no_system_prompt_is_no_message() -> None:
    for system in ([], [BILLING]):
        assert [message["role"] for message in from_messages(system=system).messages] == ["user"]


MIXED: list[dict[str, Any]] = [
    {"role": "system", "content": "S1"},
    {"role": "developer", "content": "D1"},
    {"role": "user", "content": "q"},
    {"role": "developer", "content": "D2"},
    {"role": "user", "content": "r"},
]


@pytest.mark.parametrize(
    ("flags", "found", "adapted"),
    [
        ({"c_developer_role": True}, ["system I", "system S1", "developer D1", "user q", "developer D2", "user r"], ""),
        ({}, ["system I\n\nS1\n\nD1", "user q", "system D2", "user r"], ""),
        ({"c_single_system": True}, ["system I\n\nS1\n\nD1\n\nD2", "user q", "user r"], "input[*]"),
    ],
)
def test_system_and_developer(flags: dict[str, Any], found: list[str], adapted: str) -> None:
    carried = from_responses(flags, instructions="I", input=MIXED)
    assert [f"{message['role']} {message['content']}" for message in carried.messages] == found
    assert carried.adapted == adapted


def test_one_system_message_where_none_came_first() -> None:
    carried = from_responses({"c_single_system": True}, input=MIXED[2:])
    assert [message["content"] for message in carried.messages] == ["D2", "q", "r"]


# ---- what a user says ----


def source(kind: str, **more: Any) -> dict[str, Any]:
    return {"type": kind} | more


INLINE_PDF = source("base64", media_type="application/pdf", data=PDF)
INLINE_PNG = source("base64", media_type="image/png", data=PNG)
A_TEXT = {"type": "text", "text": "t"}
AN_IMAGE = {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PNG}"}}
CONTENT = "messages[*].content[*]"


def text(said: str) -> list[dict[str, Any]]:
    return [{"type": "text", "text": said}]


def file(name: str) -> dict[str, Any]:
    return {"type": "file", "file": {"filename": name, "file_data": f"data:application/pdf;base64,{PDF}"}}


@pytest.mark.parametrize(
    ("block", "parts", "adapted"),
    [
        ({"type": "image", "source": INLINE_PNG}, [AN_IMAGE], ""),
        ({"type": "image", "source": source("url", url="https://h/i")}, [{"type": "image_url", "image_url": {"url": "https://h/i"}}], ""),
        ({"type": "document", "source": INLINE_PDF}, [file("document.pdf")], ""),
        ({"type": "document", "source": INLINE_PDF, "title": "T", "context": "C"}, [*text("Context: C"), file("T")], CONTENT),
        ({"type": "document", "source": source("text", data="d")}, text("<document>\nd\n</document>"), CONTENT),
        (
            {"type": "document", "source": source("text", data="d<"), "title": 'a "<&', "context": "C"},
            text('<document title="a &quot;&lt;&amp;">\nContext: C\nd<\n</document>'),
            CONTENT,
        ),
        ({"type": "document", "source": source("content", content=[A_TEXT, A_TEXT])}, text("<document>\nt\nt\n</document>"), CONTENT),
        (
            {"type": "document", "source": source("content", content=[A_TEXT, {"type": "image", "source": INLINE_PNG}, A_TEXT])},
            [A_TEXT, AN_IMAGE, A_TEXT],
            CONTENT,
        ),
        (
            {"type": "document", "title": "T", "source": source("content", content=[{"type": "image", "source": INLINE_PNG}])},
            [*text('<document title="T">'), AN_IMAGE, *text("</document>")],
            CONTENT,
        ),
        (
            {"type": "search_result", "source": "https://h", "title": "T", "content": [A_TEXT, A_TEXT]},
            text('<search_result source="https://h" title="T">\nt\nt\n</search_result>'),
            CONTENT,
        ),
    ],
)
def test_what_a_messages_user_says(block: dict[str, Any], parts: list[dict[str, Any]], adapted: str) -> None:
    found = from_messages({"c_file_parts": True}, messages=[{"role": "user", "content": [A_TEXT, block]}])
    assert found.messages == [{"role": "user", "content": [A_TEXT, *parts]}]
    assert (found.dropped, found.adapted) == ("", adapted)


@pytest.mark.parametrize(
    ("part", "found"),
    [
        ({"type": "input_image", "image_url": "https://h/i", "detail": "low"}, {"url": "https://h/i", "detail": "low"}),
        ({"type": "input_image", "image_url": f"data:image/png;base64,{PNG}"}, {"url": f"data:image/png;base64,{PNG}"}),
    ],
)
def test_an_image_of_a_responses_user(part: dict[str, Any], found: dict[str, str]) -> None:
    carried = from_responses(input=[{"role": "user", "content": [part]}])
    assert carried.messages == [{"role": "user", "content": [{"type": "image_url", "image_url": found}]}]
    assert (carried.dropped, carried.adapted) == ("", "")


def test_one_text_is_a_string_and_more_are_parts() -> None:
    for content in ("t", [A_TEXT]):
        assert from_messages(messages=[{"role": "user", "content": content}]).messages[0]["content"] == "t"
    both = [{"role": "user", "content": [A_TEXT, A_TEXT]}]
    assert from_messages(messages=both).messages[0]["content"] == [A_TEXT, A_TEXT]
    assert from_messages({"c_content_parts": False}, messages=both).messages[0]["content"] == "t\n\nt"
    picture = [{"role": "user", "content": [A_TEXT, {"type": "image", "source": INLINE_PNG}]}]
    assert from_messages({"c_content_parts": False}, messages=picture).messages[0]["content"] == [A_TEXT, AN_IMAGE]


@pytest.mark.parametrize(("ttl", "found"), [({}, "30m"), ({"ttl": "5m"}, "30m"), ({"ttl": "1h"}, "12h")])
def test_cache_breakpoints(ttl: dict[str, str], found: str) -> None:
    marked = A_TEXT | {"cache_control": {"type": "ephemeral"} | ttl}
    history = [
        {"role": "user", "content": [marked]},
        {"role": "assistant", "content": [{"type": "tool_use", "id": "c", "name": "f", "input": {}}]},
        {
            "role": "user",
            "content": [{"type": "tool_result", "tool_use_id": "c", "content": "r", "cache_control": marked["cache_control"]}],
        },
    ]
    plain = from_messages(messages=history)
    assert [plain.messages[0]["content"], plain.messages[2]["content"]] == ["t", "r"]
    carried = from_messages({"c_cache_breakpoints": True}, messages=history)
    mark = {"prompt_cache_breakpoint": {"mode": "explicit", "ttl": found}}
    assert carried.messages[0]["content"] == [A_TEXT | mark]
    assert carried.messages[2]["content"] == [{"type": "text", "text": "r"} | mark]
    assert carried.adapted == ("messages[*].content[*].cache_control" if found == "12h" else "")


# ---- what the model said ----


def use(id: str = "c", name: str = "f", **given: Any) -> dict[str, Any]:
    return {"type": "tool_use", "id": id, "name": name, "input": given}


def call(id: str = "c", name: str = "f", arguments: str = "{}") -> dict[str, Any]:
    return {"id": id, "type": "function", "function": {"name": name, "arguments": arguments}}


SERVER = {"type": "server_tool_use", "id": "s", "name": "web_search", "input": {}}


def assistant(content: Any, flags: dict[str, Any] | None = None) -> Carried:
    """The model's turn between two of the user's."""
    history = [{"role": "user", "content": "q"}, {"role": "assistant", "content": content}, {"role": "user", "content": "r"}]
    return from_messages(flags, messages=history)


@pytest.mark.parametrize(
    ("content", "found", "dropped"),
    [
        ("a", {"content": "a"}, ""),
        ("", {"content": ""}, ""),
        ([A_TEXT, A_TEXT], {"content": "tt"}, ""),
        ([A_TEXT | {"citations": [{"type": "char_location"}]}], {"content": "t"}, ""),
        ([A_TEXT, use(), A_TEXT], {"content": "t\n\nt", "tool_calls": [call()]}, ""),
        ([A_TEXT, SERVER, A_TEXT], {"content": "t\n\nt"}, "messages[*].content[*]:server_tool_use"),
        ([use()], {"content": None, "tool_calls": [call()]}, ""),
        ([use(b=1.5, a="é")], {"content": None, "tool_calls": [call(arguments='{"b":1.5,"a":"é"}')]}, ""),
        ([use(INVALID_JSON="{x")], {"content": None, "tool_calls": [call(arguments="{x")]}, ""),
        ([use("c"), use("d", "g")], {"content": None, "tool_calls": [call("c"), call("d", "g")]}, ""),
    ],
)
def test_what_the_model_said(content: Any, found: dict[str, Any], dropped: str) -> None:
    carried = assistant(content)
    assert carried.messages[1] == {"role": "assistant"} | found
    assert (carried.dropped, carried.adapted) == (dropped, "")


def test_a_turn_that_says_nothing_elsewhere_is_none() -> None:
    carried = assistant([SERVER])
    assert [message["role"] for message in carried.messages] == ["user", "user"]
    assert carried.dropped == "messages[*].content[*]:server_tool_use"


def test_neighbouring_turns_of_the_model_are_one() -> None:
    history = [
        {"role": "user", "content": "q"},
        {"role": "assistant", "content": [A_TEXT, use("c")]},
        {"role": "assistant", "content": [A_TEXT, use("d")]},
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": id, "content": "r"} for id in "cd"]},
    ]
    assert from_messages(messages=history).messages[1:] == [
        {"role": "assistant", "content": "t\n\nt", "tool_calls": [call("c"), call("d")]},
        {"role": "tool", "tool_call_id": "c", "content": "r"},
        {"role": "tool", "tool_call_id": "d", "content": "r"},
    ]


def test_the_beginning_of_an_answer_is_reported() -> None:
    carried = from_messages(messages=[{"role": "user", "content": "q"}, {"role": "assistant", "content": "So "}])
    assert carried.messages[1] == {"role": "assistant", "content": "So "}
    assert carried.adapted == "messages[*]"


def test_a_refusal_stays_one() -> None:
    carried = from_responses(
        input=[
            {"role": "user", "content": "q"},
            {"type": "message", "role": "assistant", "content": [{"type": "refusal", "refusal": "No."}]},
            {"role": "user", "content": "r"},
        ]
    )
    assert carried.messages[1] == {"role": "assistant", "content": None, "refusal": "No."}


# ---- reasoning ----


def thinking(domain: str | None, text: str = "plan") -> dict[str, Any]:
    return {"type": "thinking", "thinking": text, "signature": reasoning.seal_text(domain) if domain else "SIG"}


LOST = "messages[*].content[*].thinking"
REDACTED = {"type": "redacted_thinking", "data": "RED"}


@pytest.mark.parametrize(
    ("content", "flags", "found", "dropped"),
    [
        ([thinking("ds"), A_TEXT], {}, {"reasoning_content": "plan"}, ""),
        ([thinking("ds"), A_TEXT], {"c_reasoning_in": "reasoning"}, {"reasoning": "plan"}, ""),
        ([thinking("ds"), A_TEXT], {"c_reasoning_in": "none"}, {}, ""),
        (
            [thinking("ds"), A_TEXT],
            {"c_reasoning_in": "reasoning_details"},
            {"reasoning_details": [{"type": "reasoning.text", "text": "plan", "index": 0}]},
            "",
        ),
        ([thinking("ds", "p1"), A_TEXT, thinking("ds", "p2")], {}, {"reasoning_content": "p1\n\np2"}, ""),
        ([thinking("other"), A_TEXT], {}, {}, LOST),
        ([thinking(None), A_TEXT], {}, {}, LOST),
        ([thinking(None), A_TEXT], {"c_reasoning_in": "none"}, {}, LOST),
        ([REDACTED, A_TEXT], {}, {}, "messages[*].content[*].data"),
        (
            [thinking(None), REDACTED, A_TEXT],
            {"c_reasoning_in": "reasoning_details"},
            {
                "reasoning_details": [
                    {"type": "reasoning.text", "text": "plan", "signature": "SIG", "format": "anthropic-claude-v1", "index": 0},
                    {"type": "reasoning.encrypted", "data": "RED", "format": "anthropic-claude-v1", "index": 1},
                ]
            },
            "",
        ),
        ([A_TEXT], {"c_reasoning_required_with_tools": True}, {}, ""),
    ],
)
def test_reasoning_goes_back_to_whom_it_came_from(
    content: list[dict[str, Any]], flags: dict[str, Any], found: dict[str, Any], dropped: str
) -> None:
    carried = assistant(content, {"reasoning_domain": "ds"} | flags)
    said = carried.messages[1]
    assert {key: value for key, value in said.items() if key.startswith("reasoning")} == found
    assert carried.dropped == dropped


@pytest.mark.parametrize(
    ("content", "found"),
    [([use()], ""), ([thinking("ds"), use()], "plan"), ([thinking("other"), use()], "")],
)
def test_reasoning_that_must_stand_with_calls(content: list[dict[str, Any]], found: str) -> None:
    carried = assistant(content, {"reasoning_domain": "ds", "c_reasoning_required_with_tools": True})
    assert carried.messages[1]["reasoning_content"] == found


SUMMARY = [{"type": "summary_text", "text": "s1"}, {"type": "summary_text", "text": "s2"}]


@pytest.mark.parametrize(
    ("item", "flags", "found", "dropped"),
    [
        ({"content": [{"type": "reasoning_text", "text": "plan"}], "summary": []}, {}, "plan", ""),
        ({"content": [{"type": "reasoning_text", "text": "plan"}], "summary": SUMMARY}, {}, "plan", ""),
        ({"summary": SUMMARY}, {}, "s1\n\ns2", ""),
        ({"summary": SUMMARY}, {"c_reasoning_in": "none"}, None, ""),
        ({"summary": SUMMARY, "encrypted_content": "E"}, {}, None, "input[*].encrypted_content"),
        ({"summary": [], "encrypted_content": reasoning.seal_item("x", "rs", "E", [])}, {}, None, "input[*].encrypted_content"),
    ],
)
def test_reasoning_items(item: dict[str, Any], flags: dict[str, Any], found: str | None, dropped: str) -> None:
    history = [{"role": "user", "content": "q"}, {"type": "reasoning", "id": "rs"} | item, {"role": "assistant", "content": "a"}]
    carried = from_responses(flags, input=[*history, {"role": "user", "content": "r"}])
    assert carried.messages[1].get("reasoning_content") == found
    assert carried.dropped == dropped


# ---- results ----


def result(content: Any, id: str = "c", **more: Any) -> dict[str, Any]:
    return {"type": "tool_result", "tool_use_id": id, "content": content} | more


def answered(*blocks: dict[str, Any], flags: dict[str, Any] | None = None) -> Carried:
    """What the user's turn after a call is; `messages` are those after the call."""
    history = [{"role": "assistant", "content": [use("c"), use("d")]}, {"role": "user", "content": list(blocks)}]
    carried = from_messages(flags, messages=[{"role": "user", "content": "q"}, *history])
    carried.messages = carried.messages[2:]
    return carried


def tool(content: Any, id: str = "c") -> dict[str, Any]:
    return {"role": "tool", "tool_call_id": id, "content": content}


PICTURE = {"type": "image", "source": INLINE_PNG}
IMAGE_OF = {"type": "text", "text": "Image output of tool call c:"}


@pytest.mark.parametrize(
    ("blocks", "found", "adapted"),
    [
        ([result("r")], [tool("r")], ""),
        ([result("")], [tool("")], ""),
        ([result([A_TEXT, A_TEXT])], [tool("t\nt")], ""),
        ([result("r", is_error=True)], [tool("Error: r")], "messages[*].content[*].is_error"),
        ([result("ERROR 7", is_error=True)], [tool("ERROR 7")], ""),
        ([result("r"), result("s", "d"), A_TEXT], [tool("r"), tool("s", "d"), {"role": "user", "content": "t"}], ""),
        ([A_TEXT, result("r"), A_TEXT], [tool("r"), {"role": "user", "content": [A_TEXT, A_TEXT]}], ""),
        (
            [result([PICTURE]), result("s", "d")],
            [tool("[image attached in next message]"), tool("s", "d"), {"role": "user", "content": [IMAGE_OF, AN_IMAGE]}],
            "messages[*].content[*].content[*]",
        ),
        (
            [result([A_TEXT, PICTURE]), A_TEXT],
            [tool("t"), {"role": "user", "content": [IMAGE_OF, AN_IMAGE, A_TEXT]}],
            "messages[*].content[*].content[*]",
        ),
        (
            [result([{"type": "search_result", "source": "s", "title": "T", "content": [A_TEXT]}])],
            [tool('<search_result source="s" title="T">\nt\n</search_result>')],
            "messages[*].content[*].content[*]",
        ),
        (
            [result([{"type": "document", "source": INLINE_PDF}])],
            [
                tool("[image attached in next message]"),
                {"role": "user", "content": [*text("Document output of tool call c:"), file("document.pdf")]},
            ],
            "messages[*].content[*].content[*]",
        ),
    ],
)
def test_results(blocks: list[dict[str, Any]], found: list[dict[str, Any]], adapted: str) -> None:
    carried = answered(*blocks, flags={"c_file_parts": True})
    assert carried.messages == found
    assert carried.adapted == adapted


def test_a_late_result_moves_up_to_its_call() -> None:
    items: list[dict[str, Any]] = [
        {"role": "user", "content": "q"},
        {"type": "function_call", "call_id": "c", "name": "f", "arguments": ""},
        {"role": "user", "content": "wait"},
        {"type": "function_call_output", "call_id": "c", "output": "r"},
    ]
    carried = from_responses(input=items)
    assert carried.messages[1:] == [
        {"role": "assistant", "content": None, "tool_calls": [call()]},
        tool("r"),
        {"role": "user", "content": "wait"},
    ]
    assert carried.adapted == "input"
    history = [
        {"role": "user", "content": "q"},
        {"role": "assistant", "content": [use()]},
        {"role": "user", "content": "wait"},
        {"role": "user", "content": [result("r")]},
    ]
    other = from_messages(messages=history)
    assert other.messages == carried.messages
    assert other.adapted == "messages[*]"


def test_results_without_calls_stay_where_they_are() -> None:
    history = [
        {"role": "user", "content": "q"},
        {"role": "assistant", "content": "a"},
        {"role": "user", "content": [A_TEXT]},
        {"role": "user", "content": [result("r")]},
    ]
    assert [message["role"] for message in from_messages(messages=history).messages] == ["user", "assistant", "user", "tool"]


def test_items_of_several_rounds() -> None:
    items: list[dict[str, Any]] = [
        {"role": "user", "content": "q"},
        {"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}"},
        {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "working"}]},
        {"type": "function_call_output", "call_id": "c", "output": [{"type": "input_image", "image_url": "https://h/i"}]},
        {"type": "function_call", "call_id": "d", "name": "f", "arguments": "{}"},
        {"type": "function_call_output", "call_id": "d", "output": "s"},
        {"role": "user", "content": "so"},
    ]
    carried = from_responses(input=items)
    assert carried.messages == [
        {"role": "user", "content": "q"},
        {"role": "assistant", "content": "working", "tool_calls": [call("c")]},
        tool("[image attached in next message]"),
        {"role": "user", "content": [IMAGE_OF, {"type": "image_url", "image_url": {"url": "https://h/i"}}]},
        {"role": "assistant", "content": None, "tool_calls": [call("d")]},
        tool("s", "d"),
        {"role": "user", "content": "so"},
    ]


def test_ids_that_openai_refuses() -> None:
    long = "x" * 41
    short = "call_" + hashlib.sha256(long.encode()).hexdigest()[:24]
    for flags, id in (({}, long), (OPENAI, short)):
        history = [{"role": "assistant", "content": [use(long)]}, {"role": "user", "content": [result("r", long)]}]
        carried = from_messages(flags, messages=[{"role": "user", "content": "q"}, *history])
        assert [carried.messages[1]["tool_calls"][0]["id"], carried.messages[2]["tool_call_id"]] == [id, id]


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
    tools = [{"type": "web_search", "search_context_size": "low", "user_location": PLACE, "filters": {"allowed_domains": ["h"]}}]
    carried = from_responses(OPENAI, tools=tools)
    assert carried.body["web_search_options"] == {"search_context_size": "low", "user_location": PLACED}
    assert "tools" not in carried.body
    assert carried.dropped == "tools[*].filters.allowed_domains"
    theirs = {"type": "web_search_20250305", "name": "web_search", "max_uses": 3, "blocked_domains": ["h"], "user_location": PLACE}
    other = from_messages(OPENAI, tools=[theirs])
    assert other.body["web_search_options"] == {"user_location": PLACED}
    assert other.dropped == "tools[*].max_uses,tools[*].blocked_domains"
    assert from_messages(tools=[theirs]).dropped == "tools[*]:web_search_20250305"


def test_tools_that_only_their_provider_runs() -> None:
    assert from_messages(tools=[{"type": "bash_20250124", "name": "bash"}]).dropped == "tools[*]:bash_20250124"


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
        with pytest.raises(errors.Unsupported, match="requires tools") as caught:
            from_messages(tool_choice=choice)
        assert caught.value.param == "tool_choice"


@pytest.mark.parametrize("choice", [{"type": "function", "name": "gone"}, {"type": "web_search"}])
def test_tool_choice_of_what_is_not_there(choice: dict[str, Any]) -> None:
    tools = [{"type": "function", "name": "f"}, {"type": "web_search"}]
    for flags in ({}, OPENAI):
        with pytest.raises(errors.Unsupported) as caught:
            from_responses(flags, tools=tools, tool_choice=choice)
        assert caught.value.param == "tool_choice"


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


CACHE = {"prompt_cache_key": "k", "prompt_cache_options": {"mode": "explicit", "prewarm": True}, "prompt_cache_retention": "24h"}


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
        (CACHE, {}, {}, "prompt_cache_key,prompt_cache_options,prompt_cache_options.prewarm,prompt_cache_retention"),
        (
            CACHE,
            OPENAI,
            {"prompt_cache_key": "k", "prompt_cache_retention": "24h", "prompt_cache_options": {"mode": "explicit"}},
            "prompt_cache_options.prewarm",
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
        (OPEN, {"c_json_schema": False}, None, "output_config.format"),
    ],
)
def test_structured_output_of_a_messages_client(schema: dict[str, Any], flags: dict[str, Any], found: Any, dropped: str) -> None:
    carried = from_messages(flags, output_config={"format": {"type": "json_schema", "schema": schema}})
    wanted = {"type": "json_schema", "json_schema": found} if found else None
    assert carried.body.get("response_format") == wanted
    assert carried.dropped == dropped


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


# ---- refusals ----


@pytest.mark.parametrize(
    ("content", "param"),
    [
        ([{"type": "document", "source": source("url", url="https://h/a.pdf")}], "messages[0].content[0]"),
        ([{"type": "document", "source": INLINE_PDF}], "messages[0].content[0]"),
        ([{"type": "image", "source": source("file", file_id="f")}], "messages[0].content[0]"),
        ([{"type": "container_upload", "file_id": "f"}], "messages[0].content[0]"),
    ],
)
def test_content_that_cannot_be_carried(content: list[dict[str, Any]], param: str) -> None:
    with pytest.raises(errors.UnsupportedContent) as caught:
        from_messages(messages=[{"role": "user", "content": content}])
    assert (caught.value.param, caught.value.code, caught.value.http_status("messages")) == (param, "unsupported_content", 400)


@pytest.mark.parametrize(
    "part",
    [
        {"type": "input_file", "file_id": "f"},
        {"type": "input_file", "file_url": "https://h/a.pdf"},
        {"type": "input_image", "file_id": "f"},
        {"type": "input_file", "file_data": f"data:application/pdf;base64,{PDF}"},
    ],
)
def test_files_that_cannot_be_carried(part: dict[str, Any]) -> None:
    with pytest.raises(errors.UnsupportedContent) as caught:
        from_responses(input=[{"role": "user", "content": [part]}])
    assert caught.value.param is not None
    assert caught.value.param.startswith("input[0].content[0]")


def test_no_messages_at_all() -> None:
    for carry, root in ((lambda: from_messages(messages=[]), "messages"), (lambda: from_responses(input=[]), "input")):
        with pytest.raises(errors.Malformed) as caught:
            carry()
        assert caught.value.param == root
