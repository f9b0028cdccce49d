"""Hub turns as the messages for a chat upstream: every kind of content by table, where it stands, and what is refused."""

from __future__ import annotations

import hashlib
from typing import Any

import pytest

from dragoman.codecs import errors, reasoning

from .carried import OPENAI, Carried, call, from_messages, from_responses, result, use

PNG = "iVBORw0KGgo="
PDF = "JVBERi0="

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
        ({"c_system_role": False}, ["user I\n\nS1\n\nD1", "user q", "user D2", "user r"], "input"),
        ({"c_single_system": True}, ["system I\n\nS1\n\nD1\n\nD2", "user q", "user r"], "input[*]"),
    ],
)
def test_system_and_developer(flags: dict[str, Any], found: list[str], adapted: str) -> None:
    carried = from_responses(flags, instructions="I", input=MIXED)
    assert [f"{message['role']} {message['content']}" for message in carried.messages] == found
    assert carried.adapted == adapted


def test_json_that_no_message_speaks_of() -> None:
    """OpenAI refuses `json_object` without the word, also where a caller of the Responses API is answered over this one."""
    form = {"format": {"type": "json_object"}}
    assert from_responses({"openai_host": True}, text=form).messages == [{"role": "user", "content": "q\n\nAnswer in JSON."}]
    assert from_responses({"openai_host": True}, text=form, input="JSON!").messages == [{"role": "user", "content": "JSON!"}]
    assert from_responses(text=form).messages == [{"role": "user", "content": "q"}]


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
    as_they_are = from_messages({"c_cache_control": True}, messages=history)
    theirs = {"cache_control": {"type": "ephemeral"} | (ttl if found == "12h" else {})}
    assert as_they_are.messages[0]["content"] == [A_TEXT | theirs]
    assert as_they_are.messages[2]["content"] == [{"type": "text", "text": "r"} | theirs]
    assert as_they_are.adapted == ""


# ---- what the model said ----


SERVER = {"type": "server_tool_use", "id": "s", "name": "web_search", "input": {"query": "x"}}
STRANGE = {"type": "of_tomorrow", "id": "s"}


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
        ([A_TEXT, STRANGE, A_TEXT], {"content": "t\n\nt"}, "messages[*].content[*]:of_tomorrow"),
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


def test_what_a_servers_tool_did_is_told() -> None:
    carried = assistant([A_TEXT, SERVER, A_TEXT])
    assert carried.messages[1] == {"role": "assistant", "content": 't\n\n[web_search: {"query":"x"}]\n\nt'}
    assert (carried.dropped, carried.adapted) == ("", "messages[*].content[*]")


def test_a_turn_that_says_nothing_elsewhere_is_none() -> None:
    carried = assistant([STRANGE])
    assert [message["role"] for message in carried.messages] == ["user", "user"]
    assert carried.dropped == "messages[*].content[*]:of_tomorrow"


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
    [([use()], " "), ([thinking("ds"), use()], "plan"), ([thinking("other"), use()], " ")],
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


def test_what_the_upstream_cannot_hold_in_a_system_message() -> None:
    picture = {"type": "input_image", "image_url": "https://h/i"}
    with pytest.raises(errors.UnsupportedContent) as caught:
        from_responses(input=[{"role": "developer", "content": [picture]}, {"role": "user", "content": "q"}])
    assert caught.value.param == "input[0].content[0]"


@pytest.mark.parametrize(
    ("data", "flags", "part"),
    [
        (f"data:image/png;base64,{PNG}", {}, AN_IMAGE),
        ("data:text/plain;base64,aGk=", {}, {"type": "text", "text": '<document title="n">\nhi\n</document>'}),
        ("data:text/plain;base64,aGk=", OPENAI, {"type": "file", "file": {"filename": "n", "file_data": "data:text/plain;base64,aGk="}}),
    ],
)
def test_files_that_are_no_pdf(data: str, flags: dict[str, Any], part: dict[str, Any]) -> None:
    content = [{"type": "input_text", "text": "t"}, {"type": "input_file", "filename": "n", "file_data": data}]
    assert from_responses(flags, input=[{"role": "user", "content": content}]).messages[0]["content"] == [A_TEXT, part]


def test_sealed_reasoning_items_for_an_upstream_of_details() -> None:
    sealed = reasoning.seal_item("or", "rs_1", "E", ["s1"])
    turn = {"type": "thinking", "thinking": "s1", "signature": sealed}
    item = {"id": "rs_1", "format": "openai-responses-v1"}
    entries = [
        {"type": "reasoning.summary", "summary": "s1", "index": 0} | item,
        {"type": "reasoning.encrypted", "data": "E", "index": 1} | item,
    ]
    own = {"reasoning_domain": "or", "c_reasoning_in": "reasoning_details"}
    assert assistant([turn, A_TEXT], own).messages[1]["reasoning_details"] == entries
    other = assistant([turn, A_TEXT], own | {"reasoning_domain": "another"})
    assert "reasoning_details" not in other.messages[1]
    assert other.dropped == LOST


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
