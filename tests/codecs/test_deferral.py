"""Deferred tools over upstreams that know no such thing: what was found reaches the model, and what was not costs nothing."""

from __future__ import annotations

from typing import Any

import pytest

from dragoman.codecs import events as ev
from dragoman.codecs import messages, responses
from dragoman.codecs.capabilities import Capabilities
from dragoman.codecs.estimate import tokens
from dragoman.codecs.registry import SHAPES
from dragoman.codecs.reply import Reply
from dragoman.codecs.request import Request

JSON = dict[str, Any]
ASK = {"role": "user", "content": "q"}


def of_messages(name: str, **more: Any) -> JSON:
    return {"name": name, "description": f"Does {name}.", "input_schema": {"type": "object", "properties": {}}} | more


def of_responses(name: str, **more: Any) -> JSON:
    return {"type": "function", "name": name, "parameters": {"type": "object", "properties": {}}, "strict": False} | more


def offered(upstream: str, request: Request) -> list[str]:
    body = SHAPES[upstream].encode_request(request, Capabilities(), "up").body
    return [(tool.get("function") or tool)["name"] for tool in body.get("tools", [])]


def report(request: Request) -> tuple[str, str]:
    ledger = request.ledger
    return ledger.header(ledger.dropped, request.body), ledger.header(ledger.adapted, request.body)


def used(name: str, *found: str, id: str = "c") -> list[JSON]:
    """A call of a tool, which finds others."""
    references = [{"type": "tool_reference", "tool_name": each} for each in found]
    use = {"type": "tool_use", "id": id, "name": name, "input": {}}
    result = {"type": "tool_result", "tool_use_id": id, "content": references or "r"}
    return [{"role": "assistant", "content": [use]}, {"role": "user", "content": [result]}]


def server_found(*found: str) -> JSON:
    references = [{"type": "tool_reference", "tool_name": each} for each in found]
    use = {"type": "server_tool_use", "id": "s", "name": "tool_search_tool_regex", "input": {"pattern": "x"}}
    content = {"type": "tool_search_tool_search_result", "tool_references": references}
    return {"role": "assistant", "content": [use, {"type": "tool_search_tool_result", "tool_use_id": "s", "content": content}]}


LATER = [of_messages(name, defer_loading=True) for name in "abcd"]
FIND = of_messages("find")
SERVER = {"type": "tool_search_tool_bm25_20251119", "name": "tool_search_tool_bm25"}


@pytest.mark.parametrize("upstream", ["chat", "responses"])
@pytest.mark.parametrize(
    ("tools", "history", "more", "names"),
    [
        ([FIND, *LATER], [], {}, ["find"]),
        ([*LATER, FIND], used("find", "c", "a"), {}, ["find", "c", "a"]),  # in the order in which they were found
        ([FIND, *LATER], used("find", "c") + used("b", id="d"), {}, ["find", "c", "b"]),  # called: it was found once
        ([FIND, *LATER], [server_found("d"), ASK], {}, ["find", "d"]),
        ([FIND, *LATER], [], {"tool_choice": {"type": "tool", "name": "b"}}, ["find", "b"]),
        ([FIND, *LATER], used("find", "nobody"), {}, ["find"]),
        ([FIND, SERVER, *LATER], [], {}, ["find", "a", "b", "c", "d"]),  # nobody searches for the model
        ([SERVER, *LATER], [], {}, ["a", "b", "c", "d"]),
        (LATER, [], {}, ["a", "b", "c", "d"]),  # nor is there anything to search with
    ],
)
def test_of_a_messages_caller(upstream: str, tools: list[JSON], history: list[JSON], more: JSON, names: list[str]) -> None:
    request = messages.decode_request({"model": "m", "max_tokens": 9, "messages": [ASK, *history], "tools": tools} | more)
    assert offered(upstream, request) == names
    dropped, adapted = report(request)
    assert dropped == ""
    assert "tools[*].defer_loading" in adapted.split(",")


def test_a_tool_that_a_system_message_adds_is_found() -> None:
    change = {"role": "system", "content": [{"type": "tool_addition", "tool": {"type": "tool_reference", "name": "c"}}]}
    request = messages.decode_request({"model": "m", "max_tokens": 9, "messages": [ASK, change], "tools": [FIND, *LATER]})
    assert offered("chat", request) == ["find", "c"]


SEARCH = {"type": "tool_search", "execution": "client", "parameters": {"type": "object", "properties": {"q": {"type": "string"}}}}
OURS = [of_responses(name, defer_loading=True) for name in "abcd"]
CRM = {"type": "namespace", "name": "crm", "description": "d", "tools": [of_responses("get", defer_loading=True)]}


def searched(*found: JSON, id: str = "c", execution: str = "client") -> list[JSON]:
    call_id = id if execution == "client" else None
    call = {"type": "tool_search_call", "call_id": call_id, "execution": execution, "arguments": {"q": "x"}, "status": "completed"}
    return [call, {"type": "tool_search_output", "call_id": call_id, "execution": execution, "tools": list(found), "status": "completed"}]


def as_sent_back(*found: JSON) -> list[JSON]:
    """A provider's search as some clients send it back: with a `call_id`, where the provider has null."""
    return [item | {"call_id": "tsc_1"} for item in searched(*found, execution="server")]


def called(name: str, **more: Any) -> list[JSON]:
    call = {"type": "function_call", "call_id": f"c_{name}", "name": name, "arguments": "{}"} | more
    return [call, {"type": "function_call_output", "call_id": f"c_{name}", "output": "r"}]


@pytest.mark.parametrize("upstream", ["chat", "messages"])
@pytest.mark.parametrize(
    ("tools", "history", "more", "names"),
    [
        ([SEARCH, *OURS], [], {}, ["tool_search"]),
        ([SEARCH, of_responses("f")], searched(OURS[2]), {}, ["tool_search", "f", "c"]),  # declared by the search's output alone
        ([SEARCH, *OURS], searched(OURS[2]) + searched(OURS[0], OURS[2], id="d"), {}, ["tool_search", "c", "a"]),
        ([SEARCH], searched(CRM), {}, ["tool_search", "crm__get"]),
        ([SEARCH, CRM], called("get", namespace="crm"), {}, ["tool_search", "crm__get"]),
        ([SEARCH, *OURS], called("b"), {}, ["tool_search", "b"]),
        ([SEARCH, *OURS], called("b", namespace="b"), {}, ["tool_search", "b"]),  # as OpenAI names a tool that it found
        ([SEARCH, *OURS], [], {"tool_choice": {"type": "function", "name": "d"}}, ["tool_search", "d"]),
        ([SEARCH, *OURS], [], {"tool_choice": "auto"}, ["tool_search"]),
        ([{"type": "tool_search"}, *OURS], [], {}, ["a", "b", "c", "d"]),
        ([{"type": "tool_search", "execution": "server"}, *OURS], searched(OURS[3], execution="server"), {}, ["a", "b", "c", "d"]),
        ([{"type": "tool_search"}, *OURS], as_sent_back(OURS[3]), {}, ["a", "b", "c", "d"]),
        ([{"type": "tool_search"}, *OURS], as_sent_back(OURS[3])[:1] + called("d", namespace="d"), {}, ["a", "b", "c", "d"]),
        (OURS, [], {}, ["a", "b", "c", "d"]),
    ],
)
def test_of_a_responses_caller(upstream: str, tools: list[JSON], history: list[JSON], more: JSON, names: list[str]) -> None:
    request = responses.decode_request({"model": "m", "input": [ASK, *history], "tools": tools} | more)
    assert sorted(offered(upstream, request)) == sorted(names)
    assert report(request)[0] == ""


def test_what_was_offered_keeps_its_place() -> None:
    """Providers cache a prompt by its beginning: a turn's tools begin with those of the turn before."""
    before: list[str] = []
    history: list[JSON] = [ASK]
    for turn, found in enumerate([(), ("c",), ("a", "c"), ("b",)]):
        history += used("find", *found, id=f"c{turn}")
        request = messages.decode_request({"model": "m", "max_tokens": 9, "messages": history, "tools": [*LATER, FIND]})
        after = offered("chat", request)
        assert after[: len(before)] == before
        before = after
    assert before == ["find", "c", "a", "b"]
    history = [ASK]
    before = []
    for turn, ours in enumerate([(), (OURS[2],), (OURS[0], OURS[2]), (OURS[1],)]):
        history += searched(*ours, id=f"c{turn}")
        after = offered("messages", responses.decode_request({"model": "m", "input": history, "tools": [SEARCH, *OURS]}))
        assert after[: len(before)] == before
        before = after
    assert before == ["tool_search", "c", "a", "b"]


def test_two_hundred_tools_are_not_paid_for_in_each_turn() -> None:
    many = [of_messages(f"mcp__tool_{n}", defer_loading=True) for n in range(200)]
    body = {"model": "m", "max_tokens": 9, "messages": [ASK, *used("find", "mcp__tool_7")], "tools": [FIND, *many]}
    assert offered("chat", messages.decode_request(body)) == ["find", "mcp__tool_7"]


def test_an_output_of_the_only_open_call() -> None:
    """An output that names its tool and no call."""
    calls = [{"type": "function_call", "call_id": id, "name": "f", "arguments": "{}"} for id in ("c1", "c2")]
    output = {"type": "function_call_output", "name": "f", "output": "r"}
    body = {"model": "m", "input": [ASK, calls[0], output], "tools": [of_responses("f")]}
    sent = SHAPES["chat"].encode_request(responses.decode_request(body), Capabilities(), "up").body["messages"]
    assert sent[2] == {"role": "tool", "tool_call_id": "c1", "content": "r"}
    answered = {"type": "function_call_output", "call_id": "c1", "output": "s"}
    body["input"] = [ASK, *calls, answered, output]
    sent = SHAPES["chat"].encode_request(responses.decode_request(body), Capabilities(), "up").body["messages"]
    assert [(each["tool_call_id"], each["content"]) for each in sent[2:]] == [("c1", "s"), ("c2", "r")]
    with pytest.raises(Exception, match="No tool output found for function call c1"):  # which of the two is not known
        responses.decode_request(body | {"input": [ASK, *calls, output]})


@pytest.mark.parametrize(
    ("tool", "namespace"),
    [
        (OURS[0], "a"),
        (of_responses("a"), None),
        ({"type": "namespace", "name": "n", "tools": [of_responses("a", defer_loading=True)]}, "n"),
    ],
)
def test_the_namespace_of_a_call(tool: JSON, namespace: str | None) -> None:
    """OpenAI calls what was found, and is in no namespace, by a namespace of its own name; its agents SDK knows it by that alone."""
    request = responses.decode_request({"model": "m", "input": [ASK], "tools": [{"type": "tool_search"}, tool]})
    encoded = SHAPES["chat"].encode_request(request, Capabilities(), "up")
    name = encoded.body["tools"][0]["function"]["name"]
    declared = encoded.tools.restore(name)
    collector = responses.Collector(Reply(request, tools=encoded.tools))
    call = [ev.ToolStart(0, "c", declared.name, declared.kind, declared.namespace), ev.Arguments(0, "{}"), ev.PartStop(0)]
    collector.feed([ev.Start("x", "m", 0), *call, ev.Stop("tool")])
    (item,) = collector.body()["output"]
    assert (item["name"], item.get("namespace")) == ("a", namespace)
    history = [ASK, item, {"type": "function_call_output", "call_id": "c", "output": "r"}]
    again = responses.decode_request({"model": "m", "input": history, "tools": [{"type": "tool_search"}, tool]})
    sent = SHAPES["chat"].encode_request(again, Capabilities(), "up").body
    assert sent["messages"][1]["tool_calls"][0]["function"]["name"] == name == sent["tools"][0]["function"]["name"]


# ---- upstreams that search by themselves ----


def native(caller: str, upstream: str, body: JSON) -> tuple[list[JSON], Request]:
    request = SHAPES[caller].decode_request(body)
    encoded = SHAPES[upstream].encode_request(request, Capabilities(m_tool_search=True, r_tool_search=True, m_auto_cache=True), "up").body
    return encoded["tools"], request


def test_anthropics_search_for_a_responses_caller() -> None:
    body = {"model": "m", "input": [ASK, *called("b")], "tools": [{"type": "tool_search"}, of_responses("f"), *OURS, CRM]}
    tools, request = native("responses", "messages", body)
    assert [(tool["name"], tool.get("defer_loading", False)) for tool in tools] == [
        ("a", True), ("c", True), ("d", True), ("crm__get", True), ("f", False), ("b", False), ("tool_search_tool_bm25", False),
    ]  # fmt: skip
    assert tools[-1]["type"] == "tool_search_tool_bm25_20251119"
    assert [tool["name"] for tool in tools if "cache_control" in tool] == ["tool_search_tool_bm25"]  # never one that is deferred
    assert report(request) == ("", "tools[*],tools[*].defer_loading,tools[*].tools[*]")


def test_openais_search_for_a_messages_caller() -> None:
    history = [ASK, server_found("c"), ASK]
    tools, request = native("messages", "responses", {"model": "m", "max_tokens": 99, "messages": history, "tools": [SERVER, FIND, *LATER]})
    assert [(tool.get("name"), tool.get("defer_loading", False)) for tool in tools] == [
        ("a", True), ("b", True), ("d", True), ("find", False), ("c", False), (None, False),
    ]  # fmt: skip
    assert tools[-1] == {"type": "tool_search"}
    assert report(request)[0] == ""


@pytest.mark.parametrize("tools", [[FIND, *LATER], LATER])
def test_a_search_that_nobody_asked_for_is_not_added(tools: list[JSON]) -> None:
    """The caller searches itself, or not at all."""
    body = {"model": "m", "max_tokens": 99, "messages": [ASK], "tools": tools}
    sent, request = native("messages", "responses", body)
    assert [tool.get("name") for tool in sent] == offered("chat", messages.decode_request(body))
    assert all("defer_loading" not in tool for tool in sent)
    assert report(request) == ("", "tools[*].defer_loading")


def test_what_is_deferred_is_not_counted() -> None:
    body = {"model": "m", "max_tokens": 99, "messages": [ASK], "tools": [FIND, *LATER]}
    few, all_of_them = (tokens(messages.decode_request(body | {"tools": tools})) for tools in ([FIND], [FIND, *map(_loaded, LATER)]))
    assert tokens(messages.decode_request(body)) == few < all_of_them


def _loaded(tool: JSON) -> JSON:
    return {key: value for key, value in tool.items() if key != "defer_loading"}
