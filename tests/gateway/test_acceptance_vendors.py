"""What is new in both vendors' requests, over each other's APIs and over chat, with their SDKs (acceptance R37 to R40)."""

from __future__ import annotations

import json
from typing import Any

import pytest

from ..codecs import grammar
from .stage import TRANSLATED, Stage
from .upstreams import Answer, called, completion, message, more, opened, text_answer, tool_answer

TOOLS: Any = [{"type": "shell", "environment": {"type": "local"}}, {"type": "apply_patch"}]
OUTPUT = [{"stdout": "a.txt\n", "stderr": "", "outcome": {"type": "exit", "exit_code": 0}}]
ASK: Any = [{"role": "user", "content": "Hi"}]


@pytest.mark.parametrize("upstream", ["chat", "messages"])
@pytest.mark.parametrize("store", [True, False])
def test_R37_a_shell_that_the_caller_runs(stage: Stage, upstream: str, store: bool) -> None:
    stage.play(tool_answer(upstream, "shell", '{"comm', 'ands":["ls"]}'), text_answer(upstream, "ok"))
    with stage.oai.responses.stream(model=f"{upstream}/m", input="list", tools=TOOLS, store=store) as told:
        kinds = [event.type for event in told]
        answer: Any = told.get_final_response()
    assert [kind.removeprefix("response.") for kind in kinds] == [
        "created", "in_progress", "output_item.added", "output_item.done", "completed",
    ]  # fmt: skip
    (call,) = answer.output
    assert (call.type, call.call_id, call.action.commands, call.status) == ("shell_call", "call_1", ["ls"], "completed")
    result = {"type": "shell_call_output", "call_id": "call_1", "output": OUTPUT}
    later: Any = {"previous_response_id": answer.id, "input": [result]} if store else {"input": [*ASK, call.to_dict(), result]}
    assert stage.oai.responses.create(model=f"{upstream}/m", tools=TOOLS, store=store, **later).output_text == "ok"
    text = '[{"stdout":"a.txt\\n","stderr":"","outcome":{"type":"exit","exit_code":0}}]'
    last = stage.asked[1]["messages"][-1]
    if upstream == "chat":
        assert last == {"role": "tool", "tool_call_id": "call_1", "content": text}
    else:
        assert last["content"] == [{"type": "tool_result", "tool_use_id": "call_1", "content": text}]


@pytest.mark.parametrize("upstream", ["chat", "messages"])
def test_R37_a_call_that_nobody_can_run_fails(stage: Stage, upstream: str) -> None:
    """Before anything is told as an error, in mid-stream as the API's own failure."""
    two = [("call_1", "shell", '{"x":1}'), ("call_2", "shell", '{"commands":["ls"]}')]
    script: Answer
    if upstream == "chat":
        parts = [part for i, (id, name, text) in enumerate(two) for part in (opened(i, id, name), more(i, text))]
        whole_calls = [{"id": id, "type": "function", "function": {"name": name, "arguments": text}} for id, name, text in two]
        script = completion(*parts, finish="tool_calls", said={"tool_calls": whole_calls})
    else:
        script = message(*(called(*call) for call in two), stop="tool_use")
    stage.play(script)
    whole = stage.post("responses", {"model": f"{upstream}/m", "input": "x", "tools": TOOLS})
    assert (whole.status_code, whole.json()["error"]["message"]) == (502, "The model's shell_call cannot be read.")
    raw = stage.raw("responses", upstream, tools=TOOLS)
    grammar.responses(raw)
    events = [value for _, value in grammar.events_of(raw)]
    assert [event["type"] for event in events[-2:]] == ["response.failed", "error"]
    assert events[-2]["response"]["error"]["code"] == "server_error"
    assert [item["status"] for item in events[-2]["response"]["output"]] == ["incomplete", "completed"]


def test_R38_tools_that_anthropics_models_know(stage: Stage) -> None:
    tools: Any = [{"type": "bash_20250124", "name": "bash"}, {"type": "memory_20250818", "name": "memory"}]
    stage.play(tool_answer("chat", "bash", '{"command":"ls"}'))
    with stage.ant.messages.stream(model="chat/m", max_tokens=100, messages=ASK, tools=tools) as told:
        answer = told.get_final_message()
    assert [(block.type, block.name, block.input) for block in answer.content if block.type == "tool_use"] == [
        ("tool_use", "bash", {"command": "ls"})
    ]
    assert [tool["function"]["name"] for tool in stage.asked[0]["tools"]] == ["bash", "memory"]


# what Codex sends with every request beside what the model reads
BOOKKEEPING: Any = {
    "client_metadata": {"session_id": "s"},
    "prompt_cache_key": "k",
    "include": ["reasoning.encrypted_content"],
    "stream_options": {"reasoning_summary_delivery": "x"},
    "store": False,
    "parallel_tool_calls": True,
    "reasoning": {"effort": "high"},
}


@pytest.mark.parametrize("upstream", ["chat", "messages"])
def test_R39_a_callers_bookkeeping_is_no_loss(stage: Stage, upstream: str) -> None:
    note = {"internal_chat_message_metadata_passthrough": {"a": 1}}
    items = [
        note | {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "q"}]},
        note | {"type": "function_call", "call_id": "c", "name": "f", "namespace": "n", "arguments": "{}"},
        note | {"type": "function_call_output", "call_id": "c", "namespace": "n", "name": "f", "output": "r"},
    ]
    stage.play(text_answer(upstream, "ok"))
    body = {"model": f"{upstream}/m", "input": items, **BOOKKEEPING}
    told = stage.post("responses", body, x_dragoman_strict="1")
    assert told.status_code == 200, told.text
    assert told.headers.get("x-dragoman-dropped", "") in ("", "prompt_cache_key")  # reported, though it is refused to nobody
    assert "x-dragoman-adapted" not in told.headers


def test_R39_the_last_effort_counts(stage: Stage) -> None:
    stage.play(text_answer("chat", "ok"))
    update: Any = {"type": "configuration_update", "reasoning": {"effort": "high"}}
    stage.oai.responses.create(model="chat/m", input=[*ASK, update], reasoning={"effort": "low"})
    assert stage.asked[0]["reasoning_effort"] == "high"


def test_R39_a_search_that_may_not_go_out_is_none(stage: Stage) -> None:
    stage.play(text_answer("messages", "ok"))
    search: Any = {"type": "web_search", "external_web_access": False}
    stage.oai.responses.create(model="messages/m", input="q", tools=[search])
    assert "tools" not in stage.asked[0]


def test_R40_what_changes_in_mid_conversation(stage: Stage) -> None:
    stage.play(text_answer("chat", "ok"))
    definition = {"name": "c", "input_schema": {"type": "object"}}
    change = [
        {"type": "tool_removal", "tool": {"type": "tool_reference", "name": "a"}},
        {"type": "tool_addition", "tool": {"type": "tool_definition", "definition": definition}},
    ]
    use = {"type": "tool_use", "id": "c1", "name": "b", "input": {}}
    found = {"type": "tool_result", "tool_use_id": "c1", "content": [{"type": "tool_reference", "tool_name": "z"}]}
    ran = {"type": "code_execution_tool_result", "tool_use_id": "s", "content": {"stdout": "RESULT", "return_code": 0}}
    turns = [
        {"role": "user", "content": "Hi"},
        {"role": "system", "content": change},
        {"role": "assistant", "content": [ran, use]},
        {"role": "user", "content": [found]},
    ]
    tools = [{"name": name, "input_schema": {"type": "object"}} for name in "ab"]
    body = {"model": "chat/m", "max_tokens": 9, "messages": turns, "tools": tools}
    assert stage.post("messages", body).status_code == 200
    sent = stage.asked[0]
    assert [tool["function"]["name"] for tool in sent["tools"]] == ["b", "c"]
    assert "RESULT" in sent["messages"][1]["content"]
    assert "z" in sent["messages"][2]["content"]
    refused = stage.post("messages", body | {"inference_geo": "us"})
    assert (refused.status_code, refused.json()["error"]["type"]) == (400, "invalid_request_error")


WARMING: dict[str, Any] = {
    "messages": {"max_tokens": 0, "messages": ASK},
    "responses": {"input": "Hi", "prompt_cache_options": {"prewarm": True}},
}


@pytest.mark.parametrize(("client", "upstream"), [(client, upstream) for client, upstream in TRANSLATED if client in WARMING])
def test_nothing_is_asked_of_an_upstream_whose_cache_cannot_be_prepared(stage: Stage, client: str, upstream: str) -> None:
    """Nobody asked for an answer, and so none is paid for."""
    stage.play(text_answer(upstream, "never"))
    body = {"model": f"{upstream}/m", **WARMING[client]}
    answer = stage.post(client, body, x_dragoman_strict="1")
    assert answer.status_code == 200, answer.text
    assert answer.headers["x-dragoman-adapted"] in ("max_tokens", "prompt_cache_options.prewarm")
    whole = answer.json()
    assert whole["content" if client == "messages" else "output"] == []
    assert (whole["usage"]["input_tokens"], whole["usage"]["output_tokens"]) == (0, 0)
    raw = stage.raw(client, upstream, **WARMING[client])
    getattr(grammar, client)(raw)
    if client == "messages":
        assert whole["stop_reason"] == "max_tokens"
    else:
        assert whole["status"] == "completed"
        assert json.loads(stage.http.get(f"/v1/responses/{whole['id']}").content)["output"] == []
        follow: Any = stage.oai.responses.create(model=f"{upstream}/m", input="now", previous_response_id=whole["id"])
        assert follow.output_text == "never"
    assert len(stage.requests) == (1 if client == "responses" else 0)


@pytest.mark.parametrize("client", ["chat", "responses"])
def test_moderation_that_blocks_is_never_left_out(stage: Stage, client: str) -> None:
    stage.play(text_answer("messages", "ok"))
    given: Any = {"messages": ASK} if client == "chat" else {"input": "q"}
    body = {"model": "messages/m", **given, "moderation": {"model": "m", "policy": {"output": {"mode": "block"}}}}
    refused = stage.post(client, body)
    assert (refused.status_code, refused.json()["error"]["param"]) == (400, "moderation")
    body["moderation"]["policy"]["output"]["mode"] = "score"
    told = stage.post(client, body)
    assert (told.status_code, told.headers["x-dragoman-dropped"]) == (200, "moderation")
