"""What coding agents send and only their own vendor's API has: over every other upstream it keeps its meaning, or is refused by name."""

from __future__ import annotations

from itertools import permutations
from typing import Any

import pytest

from dragoman.codecs import errors, jsontext
from dragoman.codecs.capabilities import Capabilities
from dragoman.codecs.reasoning import seal_blocks
from dragoman.codecs.registry import SHAPES

JSON = dict[str, Any]
PAIRS = list(permutations(SHAPES, 2))
PDF = "JVBERi0xLjQKJcOkw7zDtsOfCjIgMCBvYmoK"
ZIP = "UEsDBBQAAAAIAA=="
BLOCK = {"type": "thinking", "thinking": "I thought.", "signature": "s"}
TOOL = {"name": "read", "input_schema": {"type": "object", "properties": {}}}


class Carried:
    def __init__(self, caller: str, upstream: str, body: JSON, **flags: Any) -> None:
        request = SHAPES[caller].decode_request(body)
        self.body = SHAPES[upstream].encode_request(request, Capabilities(**flags), "up").body
        self.text = jsontext.dumps(self.body).decode()
        ledger = request.ledger
        self.dropped, self.adapted = (ledger.header(which, body).split(",") for which in (ledger.dropped, ledger.adapted))


def of_messages(*messages: JSON, **more: Any) -> JSON:
    return {"model": "m", "max_tokens": 100, "messages": list(messages), **more}


# ---- what a tool gave, and the model cannot be given ----


def _result(caller: str, part: str) -> JSON:
    """A tool's result that holds a file, and a turn after it."""
    kind, data = ("application/pdf", PDF) if part == "pdf" else ("application/zip", ZIP)
    url = f"data:{kind};base64,{data}"
    if caller == "chat":
        block: JSON = {"type": "file", "file": {"filename": "a", "file_data": url} if part != "id" else {"file_id": "f"}}
        call = {"id": "c1", "type": "function", "function": {"name": "read", "arguments": "{}"}}
        asked = [{"role": "user", "content": "q"}, {"role": "assistant", "content": None, "tool_calls": [call]}]
        return {"model": "m", "messages": [*asked, {"role": "tool", "tool_call_id": "c1", "content": [block]}]}
    if caller == "responses":
        block = {"type": "input_file"} | ({"filename": "a", "file_data": url} if part != "id" else {"file_id": "f"})
        call = {"type": "function_call", "call_id": "c1", "name": "read", "arguments": "{}"}
        return {
            "model": "m",
            "input": [{"role": "user", "content": "q"}, call, {"type": "function_call_output", "call_id": "c1", "output": [block]}],
        }
    if caller == "gemini":
        held: JSON = {"inlineData": {"mimeType": kind, "data": data}}
        result = {"functionResponse": {"id": "c1", "name": "read", "response": {"output": ""}, "parts": [held]}}
        use = {"functionCall": {"id": "c1", "name": "read", "args": {}}}
        return {
            "contents": [
                {"role": "user", "parts": [{"text": "q"}]},
                {"role": "model", "parts": [use]},
                {"role": "user", "parts": [result]},
            ]
        }
    source = {"type": "base64", "media_type": kind, "data": data} if part != "id" else {"type": "file", "file_id": "f"}
    use = {"type": "tool_use", "id": "c1", "name": "read", "input": {}}
    result = {"type": "tool_result", "tool_use_id": "c1", "content": [{"type": "document", "title": "a", "source": source}]}
    return of_messages({"role": "user", "content": "q"}, {"role": "assistant", "content": [use]}, {"role": "user", "content": [result]})


@pytest.mark.parametrize("part", ["pdf", "zip", "id"])
@pytest.mark.parametrize(("caller", "upstream"), PAIRS)
def test_a_result_never_ends_a_conversation(caller: str, upstream: str, part: str) -> None:
    if (caller, part) == ("gemini", "id"):
        return  # it has no such thing
    carried = Carried(caller, upstream, _result(caller, part))
    known = (upstream == "responses" and (caller, part) != ("gemini", "zip")) or (upstream in ("messages", "gemini") and part == "pdf")
    if part != "id" and known:
        assert (PDF if part == "pdf" else ZIP) in carried.text
    else:
        assert "the selected model cannot read this" in carried.text
        assert carried.adapted != [""]
    assert carried.dropped == [""]


def test_a_file_that_an_agent_puts_beside_its_results() -> None:
    use = {"type": "tool_use", "id": "c1", "name": "read", "input": {}}
    result = {"type": "tool_result", "tool_use_id": "c1", "content": "PDF file read: a.pdf"}
    document = {"type": "document", "title": "a.pdf", "source": {"type": "base64", "media_type": "application/pdf", "data": PDF}}
    for later in ([result, document], None):
        answers = [{"role": "user", "content": later}] if later else [{"role": "user", "content": [each]} for each in (result, document)]
        body = of_messages({"role": "user", "content": "q"}, {"role": "assistant", "content": [use]}, *answers)
        carried = Carried("messages", "chat", body)
        assert carried.body["messages"][-1] == {"role": "user", "content": '[document "a.pdf": the selected model cannot read this]'}
    with pytest.raises(errors.UnsupportedContent):  # what a person attaches is asked about
        Carried("messages", "chat", of_messages({"role": "user", "content": [document]}))


@pytest.mark.parametrize("upstream", ["chat", "responses"])
def test_what_a_tool_search_found(upstream: str) -> None:
    use = {"type": "tool_use", "id": "c1", "name": "ToolSearch", "input": {}}
    found = [{"type": "tool_reference", "tool_name": name} for name in ("a", "b")]
    result = {"type": "tool_result", "tool_use_id": "c1", "content": found}
    body = of_messages({"role": "user", "content": "q"}, {"role": "assistant", "content": [use]}, {"role": "user", "content": [result]})
    carried = Carried("messages", upstream, body)
    assert "The tool a is now available.\\nThe tool b is now available." in carried.text
    assert carried.dropped == [""]


# ---- what changes in mid-conversation ----

HI = {"role": "user", "content": "Hi"}
HELLO = {"role": "assistant", "content": "Hello"}


def change(kind: str, **tool: Any) -> JSON:
    return {"role": "system", "content": [{"type": kind, "tool": tool}]}


@pytest.mark.parametrize("upstream", ["chat", "responses"])
@pytest.mark.parametrize(
    ("changes", "names"),
    [
        ([change("tool_removal", type="tool_reference", name="read")], []),
        (
            [change("tool_addition", type="tool_definition", definition={"name": "new", "input_schema": {"type": "object"}})],
            ["read", "new"],
        ),
        (
            [change("tool_removal", type="tool_reference", name="read"), change("tool_addition", type="tool_reference", name="read")],
            ["read"],
        ),
        ([change("tool_addition", type="tool_reference", name="read")], ["read"]),
        ([change("tool_addition", type="mcp_tool_reference", server_name="s", name="x")], ["read"]),
    ],
)
def test_tools_that_come_and_go(upstream: str, changes: list[JSON], names: list[str]) -> None:
    carried = Carried("messages", upstream, of_messages(HI, *changes, tools=[TOOL]))
    assert [tool.get("function", tool)["name"] for tool in carried.body.get("tools", [])] == names
    assert "messages[*].content[*]" in carried.adapted
    history = carried.body["messages" if upstream == "chat" else "input"]
    assert [message["role"] for message in history] == ["user"]


def test_a_tool_that_nobody_knows_is_refused() -> None:
    with pytest.raises(errors.Malformed) as caught:
        Carried("messages", "chat", of_messages(HI, change("tool_addition", type="tool_reference", name="gone"), tools=[TOOL]))
    assert caught.value.param == "messages[1].content[0].tool.name"


@pytest.mark.parametrize(("upstream", "found"), [("chat", "low"), ("responses", {"effort": "low"})])
def test_the_last_effort_counts(upstream: str, found: Any) -> None:
    later = {"role": "system", "output_config": {"effort": "low"}}
    carried = Carried("messages", upstream, of_messages(HI, later, output_config={"effort": "high"}))
    assert carried.body["reasoning_effort" if upstream == "chat" else "reasoning"] == found
    items = [HI, {"type": "configuration_update", "reasoning": {"effort": "low"}}]
    carried = Carried("responses", "chat", {"model": "m", "input": items, "reasoning": {"effort": "high"}})
    assert carried.body["reasoning_effort"] == "low"
    assert carried.adapted == ["input[*]"]


def test_an_instruction_that_clears_itself() -> None:
    until = {"role": "system", "content": "Answer in French.", "clear_at": "next_user_message"}
    assert "French" in Carried("messages", "chat", of_messages(HI, until)).text
    carried = Carried("messages", "chat", of_messages(HI, until, HELLO, HI))
    assert "French" not in carried.text
    assert carried.adapted == ["messages[*].clear_at"]


@pytest.mark.parametrize("upstream", ["chat", "responses"])
@pytest.mark.parametrize("role", ["assistant", "user"])
def test_a_compaction_stands_for_what_was_before(upstream: str, role: str) -> None:
    """R33."""
    summary = {"role": role, "content": [{"type": "compaction", "content": "We build X."}, {"type": "text", "text": "Go on."}]}
    carried = Carried("messages", upstream, of_messages(HI, HELLO, summary, HI, system="S"))
    assert "We build X." in carried.text
    assert "Hello" not in carried.text
    assert '"S"' in carried.text
    assert carried.dropped == [""]


OTHER = {"name": "other", "input_schema": {"type": "object"}}


def changes(*found: JSON) -> list[JSON]:
    return [block for message in found for block in message["content"]]


@pytest.mark.parametrize("upstream", ["chat", "responses"])
@pytest.mark.parametrize(
    ("told", "names"),
    [
        (None, ["read"]),  # the change before it stands in the history
        ([], ["read", "other"]),
        (changes(change("tool_removal", type="tool_reference", name="read")), ["other"]),
        (
            changes(
                change("tool_removal", type="tool_reference", name="read"),
                change("tool_addition", type="tool_definition", definition={"name": "new", "input_schema": {"type": "object"}}),
            ),
            ["other", "new"],
        ),
        (changes(change("tool_removal", type="mcp_toolset_reference", server_name="s")), ["read", "other"]),
    ],
)
def test_the_tools_behind_a_compaction(upstream: str, told: list[JSON] | None, names: list[str]) -> None:
    """What it says of the changes that it sums up leads from the request's tools to those at its end."""
    block = {"type": "compaction", "content": "We build X.", "signature": "s", "tool_changes": told}
    before = change("tool_removal", type="tool_reference", name="other")
    summary = {"role": "assistant", "content": [block]}
    carried = Carried("messages", upstream, of_messages(HI, before, summary, HI, tools=[TOOL, OTHER]))
    assert [tool.get("function", tool)["name"] for tool in carried.body.get("tools", [])] == names


@pytest.mark.parametrize(
    ("told", "param"),
    [
        ("x", ""), ([7], "[0]"), ([{}], "[0].type"), ([{"type": "text"}], "[0].type"),
        (changes(change("tool_removal", type="tool_reference", name="gone")), "[0].tool.name"),
    ],
)  # fmt: skip
def test_changes_that_a_compaction_cannot_have(told: Any, param: str) -> None:
    block = {"type": "compaction", "content": "We build X.", "tool_changes": told}
    with pytest.raises(errors.ClientFault) as caught:
        Carried("messages", "chat", of_messages({"role": "assistant", "content": [block]}, HI, tools=[TOOL]))
    assert caught.value.param == f"messages[0].content[0].tool_changes{param}"


# ---- searches ----

SEARCH = {"type": "web_search_20250305", "name": "web_search"}


def test_a_search_that_must_run_is_refused_for_its_own_reason() -> None:
    """Claude Code searches in a request of its own that offers nothing else."""
    asked = of_messages(HI, tools=[SEARCH], tool_choice={"type": "tool", "name": "web_search"})
    with pytest.raises(errors.Unsupported) as caught:
        Carried("messages", "chat", asked)
    assert caught.value.param == "tools[0]"
    assert caught.value.message == "the tool web_search_20250305 is not supported by the selected model"
    carried = Carried("messages", "chat", of_messages(HI, tools=[SEARCH, TOOL]))
    assert carried.dropped == ["tools[*]:web_search_20250305"]


def test_what_a_server_searched_stays_in_the_conversation() -> None:
    found = {"type": "web_search_result", "url": "https://a.example", "title": "A", "encrypted_content": "SECRET", "page_age": None}
    blocks = [
        {"type": "server_tool_use", "id": "s1", "name": "web_search", "input": {"query": "x"}},
        {"type": "web_search_tool_result", "tool_use_id": "s1", "content": [found]},
        {"type": "text", "text": "It is A."},
    ]
    for upstream in ("chat", "responses"):
        carried = Carried("messages", upstream, of_messages(HI, {"role": "assistant", "content": blocks}, HI))
        assert "https://a.example" in carried.text
        assert "SECRET" not in carried.text
        assert carried.dropped == [""]


# ---- cache marks ----


def marks(value: Any) -> int:
    if isinstance(value, dict):
        return ("cache_control" in value) + sum(marks(inner) for inner in value.values())
    return sum(marks(inner) for inner in value) if isinstance(value, list) else 0


@pytest.mark.parametrize("caller", ["chat", "responses"])
def test_prompts_of_agents_that_mark_nothing_are_cached(caller: str) -> None:
    history = [{"role": "system", "content": "S"}, HI]
    function = {"type": "function", "name": "f", "parameters": {"type": "object"}}
    tools = [function if caller == "responses" else {"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}]
    body = {"model": "m", "input" if caller == "responses" else "messages": history, "tools": tools}
    carried = Carried(caller, "messages", body, m_auto_cache=True)
    assert carried.body["cache_control"] == carried.body["tools"][-1]["cache_control"] == {"type": "ephemeral"}
    assert carried.body["system"] == [{"type": "text", "text": "S", "cache_control": {"type": "ephemeral"}}]
    assert marks(carried.body) == 3
    assert carried.adapted == [""]
    assert marks(Carried(caller, "messages", body).body) == 0
    explicit = body | {"prompt_cache_options": {"mode": "explicit"}}
    assert marks(Carried(caller, "messages", explicit, m_auto_cache=True).body) == 0


def test_marks_of_one_lifetime_keep_it() -> None:
    marked = [{"type": "text", "text": text, "cache_control": {"type": "ephemeral"}} for text in "abc"]
    carried = Carried("chat", "messages", {"model": "m", "messages": [{"role": "user", "content": marked}]})
    assert carried.body["messages"] == [{"role": "user", "content": marked}]
    assert carried.adapted == [""]


@pytest.mark.parametrize("wanted", [{"prompt_cache_retention": "24h"}, {"prompt_cache_options": {"ttl": "12h"}}])
def test_how_long_a_prompt_is_kept(wanted: JSON) -> None:
    body = {"model": "m", "messages": [HI], **wanted}
    carried = Carried("chat", "messages", body, m_auto_cache=True)
    assert carried.body["cache_control"]["ttl"] == "1h"
    assert carried.dropped == [""]
    assert Carried("chat", "messages", body).dropped[0].startswith(next(iter(wanted)))


# ---- what is the caller's own, or was lost without a word ----


@pytest.mark.parametrize("upstream", ["chat", "messages"])
def test_what_codex_notes_on_its_items_is_nobodys(upstream: str) -> None:
    note = {"internal_chat_message_metadata_passthrough": {"a": 1}}
    items = [
        note | {"role": "user", "content": "q"},
        note | {"type": "reasoning", "id": "rs_1", "summary": [], "content": None, "encrypted_content": None},
        note | {"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}", "agent": "a"},
        note | {"type": "function_call_output", "call_id": "c", "namespace": "n", "name": "f", "output": "r"},
        note | {"type": "local_shell_call", "id": "l", "call_id": "d", "action": {"type": "exec", "command": ["ls"], "env": {}}},
        note | {"type": "local_shell_call_output", "id": "d", "output": "r"},
    ]
    carried = Carried("responses", upstream, {"model": "m", "input": items, "client_metadata": {"a": "b"}})
    assert (carried.dropped, carried.adapted) == ([""], [""])


FUNCTION = {"type": "function", "name": "f", "parameters": {"type": "object", "properties": {}}, "strict": False}
SAID: list[tuple[str, JSON, str]] = [
    ("responses", {"tools": [FUNCTION | {"allowed_callers": ["programmatic"]}]}, "tools[*].allowed_callers"),
    ("responses", {"tools": [FUNCTION | {"output_schema": {"type": "object"}}]}, "tools[*].output_schema"),
    ("responses", {"tools": [FUNCTION | {"defer_loading": True}]}, "tools[*].defer_loading"),
    ("responses", {"input": [HI, {"type": "agent_message", "author": "/a", "content": []}]}, "input[*]:agent_message"),
    ("messages", {"tools": [TOOL | {"defer_loading": True}]}, "tools[*].defer_loading"),
    ("messages", {"tools": [TOOL | {"allowed_callers": ["code_execution_20260521"]}]}, "tools[*].allowed_callers"),
    ("messages", {"thinking": {"type": "between_tools"}}, "thinking.type"),
    ("messages", {"thread": {"type": "create"}}, "thread"),
]


@pytest.mark.parametrize(("caller", "fields", "name"), SAID)
def test_nothing_vanishes_without_a_word(caller: str, fields: JSON, name: str) -> None:
    body = (of_messages(HI) if caller == "messages" else {"model": "m", "input": "q"}) | fields
    for upstream in SHAPES.keys() - {caller}:
        carried = Carried(caller, upstream, body)
        assert name in carried.dropped + carried.adapted


@pytest.mark.parametrize("upstream", sorted(SHAPES.keys() - {"messages"}))
def test_where_a_request_is_processed_is_no_hint(upstream: str) -> None:
    body = of_messages(HI) | {"inference_geo": "us"}
    assert Carried("messages", upstream, body, region="us").dropped == [""]
    assert Carried("messages", upstream, body | {"inference_geo": "global"}).dropped == [""]
    for flags in ({}, {"region": "eu"}):
        with pytest.raises(errors.Unsupported, match="inference_geo") as caught:
            Carried("messages", upstream, body, **flags)
        assert caught.value.param == "inference_geo"


def test_what_a_namespace_says_is_said_of_its_tools() -> None:
    group = {"type": "namespace", "name": "crm", "description": "Never write.", "tools": [FUNCTION | {"description": "Gets one."}]}
    for upstream in ("chat", "messages"):
        carried = Carried("responses", upstream, {"model": "m", "input": "q", "tools": [group]})
        assert "Never write.\\n\\nGets one." in carried.text


def test_a_format_without_a_schema() -> None:
    form = {"type": "json_schema", "json_schema": {"name": "o", "strict": True}}
    carried = Carried("chat", "responses", {"model": "m", "messages": [HI], "response_format": form})
    assert carried.body["text"]["format"]["schema"]["type"] == "object"
    assert carried.body["text"]["format"]["strict"] is False
    assert carried.adapted == ["response_format"]


IMAGE = {"type": "input_image", "image_url": "https://h/a.png", "detail": "original"}
THOUGHT = {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": seal_blocks("", [BLOCK])}
FOUND_OVER: list[tuple[JSON, str, JSON, str, str]] = [
    ({"service_tier": "fast"}, "chat", {"service_tier": "priority"}, "", "service_tier=priority"),
    ({"service_tier": "fast"}, "messages", {}, "service_tier", ""),
    ({"service_tier": "ultrafast"}, "chat", {}, "service_tier", ""),
    ({"reasoning": {"context": "all_turns"}}, "messages", {}, "", ""),
    ({"reasoning": {"context": "all_turns"}}, "chat", {}, "reasoning.context", ""),
    ({"reasoning": {"context": "current_turn"}}, "messages", {}, "", ""),
    ({"moderation": {"policy": {"input": {"mode": "score"}}}}, "messages", {}, "moderation", ""),
]


@pytest.mark.parametrize(("fields", "upstream", "sent", "dropped", "adapted"), FOUND_OVER)
def test_newer_settings_of_a_responses_caller(fields: JSON, upstream: str, sent: JSON, dropped: str, adapted: str) -> None:
    plain = Carried("responses", upstream, {"model": "m", "input": "q"}).body
    carried = Carried("responses", upstream, {"model": "m", "input": "q"} | fields)
    assert carried.body == plain | sent
    assert (carried.dropped, carried.adapted) == ([dropped], [adapted])


def test_only_the_current_turns_thoughts() -> None:
    call = {"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}"}
    output = {"type": "function_call_output", "call_id": "c", "output": "r"}
    items = [HI, THOUGHT, {"role": "assistant", "content": "a"}, HI, THOUGHT, call, output]
    for context, thoughts, adapted in (("current_turn", 1, "reasoning.context"), ("all_turns", 2, ""), ("auto", 2, "")):
        carried = Carried("responses", "messages", {"model": "m", "input": items, "reasoning": {"context": context}})
        assert (carried.text.count("I thought."), carried.adapted) == (thoughts, [adapted])


def test_images_as_they_are() -> None:
    body = {"model": "m", "input": [{"role": "user", "content": [IMAGE]}]}
    for flags, detail, adapted in (({}, "high", "input[*].content[*].detail=high"), ({"openai_host": True}, "original", "")):
        carried = Carried("responses", "chat", body, **flags)
        assert carried.body["messages"][0]["content"][0]["image_url"]["detail"] == detail
        assert (carried.dropped, carried.adapted) == ([""], [adapted])
    carried = Carried("responses", "messages", body)
    assert (carried.dropped, carried.adapted) == ([""], [""])


@pytest.mark.parametrize("upstream", ["chat", "messages"])
def test_what_agents_of_a_provider_tell_each_other(upstream: str) -> None:
    parts = [{"type": "encrypted_content", "encrypted_content": "x"}, {"type": "input_text", "text": "said"}]
    carried = Carried("responses", upstream, {"model": "m", "input": [{"role": "user", "content": parts}]})
    assert carried.dropped == ["input[*].content[*]:encrypted_content"]
    assert "said" in carried.text


@pytest.mark.parametrize("upstream", ["chat", "responses"])
def test_what_a_messages_callers_history_notes(upstream: str) -> None:
    """Which model answered, and which toolset a tool is of, say nothing to another provider's model."""
    use = {"type": "tool_use", "id": "c1", "name": "read", "input": {}, "toolset_name": "t"}
    result = {"type": "tool_result", "tool_use_id": "c1", "toolset_name": "t", "content": "r"}
    said = [{"type": "fallback", "from": "a", "to": "b", "trigger": "refusal"}, {"type": "text", "text": "a"}, use]
    turns = [HI, {"role": "assistant", "content": said}, {"role": "user", "content": [result]}]
    carried = Carried("messages", upstream, of_messages(*turns))
    assert (carried.dropped, carried.adapted) == ([""], [""])
