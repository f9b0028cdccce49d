"""The state of the Responses API over each kind of store, with the openai SDK, over upstreams of each API."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import openai
import pytest

from ..conftest import Running, Start
from ..scripted import Gate, Provider
from .talk import KINDS, Said, Talk, config, storage

TOOL: Any = {"type": "function", "name": "look", "parameters": {"type": "object", "properties": {}}, "strict": False}
ROOTS = {"chat": "chat/completions", "messages": "messages"}


@pytest.fixture(scope="module")
def talk() -> Talk:
    return Talk()


@pytest.fixture(scope="module")
def provider(talk: Talk) -> Iterator[Provider]:
    with Provider(talk.script) as running:
        yield running


@pytest.fixture(scope="module", params=KINDS)
def gateway(request: Any, start_session: Start, provider: Provider, tmp_path_factory: Any) -> Iterator[Running]:
    with storage(request.param, tmp_path_factory.mktemp("state")) as section:
        running = start_session(config(provider, section))
        yield running
        running.stop()


@pytest.fixture
def alice(gateway: Running) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=gateway.url + "/v1", api_key="alice-key", max_retries=0) as client:
        yield client


@pytest.fixture
def bob(gateway: Running) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=gateway.url + "/v1", api_key="bob-key", max_retries=0) as client:
        yield client


def ask(client: openai.OpenAI, streamed: bool, **given: Any) -> Any:
    """The final response, streamed or whole."""
    if not streamed:
        return client.responses.create(**given)
    with client.responses.stream(**given) as stream:
        return stream.get_final_response()


def refused(call: Any) -> tuple[int, Any, Any, str]:
    with pytest.raises(openai.APIStatusError) as caught:
        call()
    error = caught.value
    body: Any = error.body
    assert body["type"] == "invalid_request_error"
    return error.status_code, body["code"], body["param"], body["message"]


# ---- previous_response_id ----


def _spoken(api: str, body: dict[str, Any]) -> list[Any]:
    """A body's conversation as (role, text, calls or results), the same for each API."""
    found: list[Any] = []
    for message in body["messages"]:
        content = message["content"]
        if api == "chat":
            if message["role"] == "tool":
                found.append(("result", message["tool_call_id"], content))
            elif "tool_calls" in message:
                calls = [(call["id"], call["function"]["name"], call["function"]["arguments"]) for call in message["tool_calls"]]
                found.append((message["role"], content or "", calls))
            else:
                found.append((message["role"], content, []))
        elif isinstance(content, str):
            found.append((message["role"], content, []))
        elif content[0]["type"] == "tool_result":
            found += [("result", block["tool_use_id"], _text(block["content"])) for block in content if block["type"] == "tool_result"]
            found += [("user", block["text"], []) for block in content if block["type"] == "text"]
        else:
            text = "".join(block["text"] for block in content if block["type"] == "text")
            uses = [block for block in content if block["type"] == "tool_use"]
            found.append((message["role"], text, [(use["id"], use["name"], json.dumps(use["input"])) for use in uses]))
    return found


def _text(content: Any) -> str:
    return content if isinstance(content, str) else "".join(block["text"] for block in content)


@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize("api", ["chat", "messages"])
def test_a_tool_loop_of_ten_turns(alice: openai.OpenAI, talk: Talk, api: str, streamed: bool) -> None:
    said = [Said(text=f"Step {n}.", calls=[(f"call_{n}", "look", json.dumps({"n": n}))], id=f"up{n}") for n in range(9)]
    talk.says(*said, Said(text="Done."))
    given: Any = "Begin."
    expected: list[Any] = [("user", "Begin.", [])]
    previous = None
    for n in range(10):
        extra = {} if previous is None else {"previous_response_id": previous.id}
        response = ask(alice, streamed, model=f"{api}/m", input=given, tools=[TOOL], **extra)
        assert response.status == "completed"
        assert response.previous_response_id == (previous.id if previous else None)
        assert _spoken(api, talk.asked[n]) == expected
        if n < 9:
            message, call = response.output
            assert (message.content[0].text, call.call_id, call.name, json.loads(call.arguments)) == (
                f"Step {n}.",
                f"call_{n}",
                "look",
                {"n": n},
            )
            expected.append(("assistant", f"Step {n}.", [(f"call_{n}", "look", json.dumps({"n": n}))]))
            expected.append(("result", f"call_{n}", f"found {n}"))
            given = [{"type": "function_call_output", "call_id": f"call_{n}", "output": f"found {n}"}]
        previous = response
    assert previous is not None
    assert previous.output_text == "Done."
    assert alice.responses.retrieve(previous.id).output_text == "Done."


@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "streamed"])
def test_reasoning_is_replayed_from_the_store(alice: openai.OpenAI, talk: Talk, streamed: bool) -> None:
    """As the provider wants it back, whatever of it was in the response; and it is shown again as it was."""
    talk.says(
        Said(text="I look.", thinking="Deep thoughts.", signature="U2lnMQ==", redacted="UmVkMQ==", calls=[("toolu_1", "look", "{}")]),
        Said(text="Done."),
    )
    first = ask(alice, streamed, model="messages/m", input="Begin.", tools=[TOOL])
    assert [item.type for item in first.output] == ["reasoning", "message", "function_call"]
    assert first.output[0].summary == []
    assert first.output[0].encrypted_content.startswith("dgr1.")
    given: Any = [{"type": "function_call_output", "call_id": "toolu_1", "output": "found"}]
    ask(alice, streamed, model="messages/m", input=given, tools=[TOOL], previous_response_id=first.id)
    assistant, user = talk.asked[1]["messages"][1:]
    assert assistant["content"] == [
        {"type": "thinking", "thinking": "Deep thoughts.", "signature": "U2lnMQ=="},
        {"type": "redacted_thinking", "data": "UmVkMQ=="},
        {"type": "text", "text": "I look."},
        {"type": "tool_use", "id": "toolu_1", "name": "look", "input": {}},
    ]
    assert user["content"][0]["type"] == "tool_result"
    shown = alice.responses.retrieve(first.id)
    assert [_said(item) for item in shown.output] == [_said(item) for item in first.output]
    assert "dragoman" not in shown.to_json()


def _said(item: Any) -> Any:
    """Without what the SDK adds to what it streamed."""
    found = item.to_dict()
    for part in [found, *found.get("content", [])]:
        for key in ("parsed", "parsed_arguments"):
            part.pop(key, None)
    return found


@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "streamed"])
def test_reasoning_is_replayed_by_the_caller(alice: openai.OpenAI, talk: Talk, streamed: bool) -> None:
    """Without any state: what came is sent back."""
    talk.says(
        Said(text="I look.", thinking="Deep thoughts.", signature="U2lnMQ==", redacted="UmVkMQ==", calls=[("toolu_1", "look", "{}")]),
        Said(text="Done."),
    )
    stateless: Any = {"model": "messages/m", "tools": [TOOL], "store": False, "include": ["reasoning.encrypted_content"]}
    first = ask(alice, streamed, input="Begin.", **stateless)
    given = [{"role": "user", "content": "Begin."}, *(item.to_dict() for item in first.output)]
    given.append({"type": "function_call_output", "call_id": "toolu_1", "output": "found"})
    ask(alice, streamed, input=given, **stateless)
    assert [block["type"] for block in talk.asked[1]["messages"][1]["content"]] == ["thinking", "redacted_thinking", "text", "tool_use"]
    assert talk.asked[1]["messages"][1]["content"][:2] == [
        {"type": "thinking", "thinking": "Deep thoughts.", "signature": "U2lnMQ=="},
        {"type": "redacted_thinking", "data": "UmVkMQ=="},
    ]
    assert refused(lambda: alice.responses.retrieve(first.id))[0] == 404


def test_chat_reasoning_is_replayed(alice: openai.OpenAI, talk: Talk) -> None:
    talk.says(Said(thinking="Hm.", calls=[("call_1", "look", "{}")]), Said(text="Done."))
    first = ask(alice, True, model="chat/m", input="Begin.", tools=[TOOL])
    given: Any = [{"type": "function_call_output", "call_id": "call_1", "output": "found"}]
    ask(alice, True, model="chat/m", input=given, tools=[TOOL], previous_response_id=first.id)
    assert talk.asked[1]["messages"][1]["reasoning_content"] == "Hm."


def test_instructions_are_not_carried_over(alice: openai.OpenAI, talk: Talk) -> None:
    talk.says(Said(text="Aye."), Said(text="Yes."), Said(text="Oui."))
    first = alice.responses.create(model="chat/m", input="One.", instructions="Speak like a pirate.", temperature=0.5, tools=[TOOL])
    second = alice.responses.create(model="chat/m", input="Two.", previous_response_id=first.id)
    assert _spoken("chat", talk.asked[1]) == [("user", "One.", []), ("assistant", "Aye.", []), ("user", "Two.", [])]
    assert not {"tools", "temperature"} & talk.asked[1].keys()
    alice.responses.create(model="chat/m", input="Three.", previous_response_id=second.id, instructions="Speak French.")
    assert [message["role"] for message in talk.asked[2]["messages"]] == ["system", "user", "assistant", "user", "assistant", "user"]
    assert talk.asked[2]["messages"][0]["content"] == "Speak French."


def test_two_children_of_one_parent_over_two_models(alice: openai.OpenAI, talk: Talk) -> None:
    talk.says(Said(text="One."), Said(text="Left."), Said(text="Right."), Said(text="End."))
    root = alice.responses.create(model="chat/m", input="Begin.")
    left = alice.responses.create(model="messages/m", input="Left?", previous_response_id=root.id)
    right = alice.responses.create(model="chat/m", input="Right?", previous_response_id=root.id, store=False)
    assert [body["messages"][1]["role"] for body in talk.asked[1:]] == ["assistant"] * 2
    assert refused(lambda: alice.responses.retrieve(right.id))[0] == 404
    alice.responses.create(model="chat/m", input="And?", previous_response_id=left.id)
    assert [turn[1] for turn in _spoken("chat", talk.asked[3])] == ["Begin.", "One.", "Left?", "Left.", "And?"]


def test_custom_tools_stay_themselves(alice: openai.OpenAI, talk: Talk) -> None:
    custom: Any = {"type": "custom", "name": "patch"}
    talk.says(Said(calls=[("call_1", "patch", json.dumps({"input": "*** Begin"}))]), Said(text="Done."))
    first = ask(alice, True, model="chat/m", input="Begin.", tools=[custom])
    call = first.output[0]
    assert (call.type, call.input) == ("custom_tool_call", "*** Begin")
    given: Any = [{"type": "custom_tool_call_output", "call_id": "call_1", "output": "applied"}]
    ask(alice, True, model="chat/m", input=given, tools=[custom], previous_response_id=first.id)
    assert _spoken("chat", talk.asked[1])[1:] == [
        ("assistant", "", [("call_1", "patch", '{"input":"*** Begin"}')]),
        ("result", "call_1", "applied"),
    ]
    kinds = [item.type for item in alice.responses.retrieve(first.id).output]
    assert kinds == ["custom_tool_call"]


@pytest.mark.parametrize(("name", "tool"), [("look", TOOL), ("shell", {"type": "shell"}), ("apply_patch", {"type": "apply_patch"})])
def test_a_call_that_was_cut_is_not_said_again(alice: openai.OpenAI, talk: Talk, name: str, tool: Any) -> None:
    talk.says(Said(text="I", calls=[("call_1", name, '{"pa')], cut=True), Said(text="Done."))
    first = ask_incomplete(alice, model="chat/m", input="Begin.", tools=[tool])
    assert (first["status"], first["output"][1]["status"]) == ("incomplete", "in_progress" if name == "apply_patch" else "incomplete")
    alice.responses.create(model="chat/m", input="Go on.", previous_response_id=first["id"], tools=[tool])
    assert _spoken("chat", talk.asked[1]) == [("user", "Begin.", []), ("assistant", "I", []), ("user", "Go on.", [])]


def ask_incomplete(client: openai.OpenAI, **given: Any) -> dict[str, Any]:
    found: dict[str, Any] = client.responses.create(**given).to_dict()
    return found


def test_calls_and_outputs_must_be_pairs(alice: openai.OpenAI, talk: Talk) -> None:
    talk.says(Said(calls=[("call_1", "look", "{}")]))
    first = alice.responses.create(model="chat/m", input="Begin.", tools=[TOOL])
    assert refused(lambda: alice.responses.create(model="chat/m", input="Well?", previous_response_id=first.id)) == (
        400, None, "input", "No tool output found for function call call_1.",
    )  # fmt: skip
    given: Any = [{"type": "function_call_output", "call_id": "call_2", "output": ""}]
    assert refused(lambda: alice.responses.create(model="chat/m", input=given)) == (
        400, None, "input", "No tool call found for function call output with call_id call_2.",
    )  # fmt: skip


def test_item_references(alice: openai.OpenAI, bob: openai.OpenAI, talk: Talk) -> None:
    """A history of references, as clients write it that keep ids only."""
    talk.says(Said(text="I look.", thinking="Hm.", calls=[("toolu_1", "look", "{}")]), Said(text="Done."), Said(text="Again."))
    first = alice.responses.create(model="messages/m", input="Begin.", tools=[TOOL])
    own = alice.responses.input_items.list(first.id).data[0]
    given: Any = [{"type": "item_reference", "id": item.id} for item in (own, *first.output)]
    given.append({"type": "function_call_output", "call_id": "toolu_1", "output": "found"})
    second = alice.responses.create(model="messages/m", input=given, tools=[TOOL])
    assert [message["role"] for message in talk.asked[1]["messages"]] == ["user", "assistant", "user"]
    assert [block["type"] for block in talk.asked[1]["messages"][1]["content"]] == ["thinking", "text", "tool_use"]
    assert alice.responses.input_items.list(second.id).data[0].type == "function_call_output"
    told = refused(lambda: bob.responses.create(model="messages/m", input=given))
    assert told == (404, None, "input", f"Item with id '{own.id}' not found.")
    alice.responses.create(model="messages/m", input=[given[0], {"role": "user", "content": "Go on."}], previous_response_id=second.id)
    assert sum("Begin." in json.dumps(message) for message in talk.asked[2]["messages"]) == 1, "what stands there is not said twice"
    talk.says(Said(text="Once more."))
    last = alice.responses.create(
        model="messages/m", input=[given[0]] * 9 + [{"role": "user", "content": "Go on."}], previous_response_id=second.id
    )
    assert last.output_text == "Once more."


# ---- whose they are, and what is not there ----


def test_who_else_asks_finds_nothing(alice: openai.OpenAI, bob: openai.OpenAI, talk: Talk) -> None:
    talk.says(Said(text="Secret."))
    kept = alice.responses.create(model="chat/m", input="Begin.")
    missing = f"Response with id '{kept.id}' not found."
    for call in (bob.responses.retrieve, bob.responses.delete, bob.responses.cancel, bob.responses.input_items.list):
        assert refused(lambda call=call: call(kept.id)) == (404, None, None, missing)
    told = (400, "previous_response_not_found", "previous_response_id", f"Previous response with id '{kept.id}' not found.")
    assert refused(lambda: bob.responses.create(model="chat/m", input="And?", previous_response_id=kept.id)) == told
    assert alice.responses.retrieve(kept.id).output_text == "Secret."


@pytest.mark.parametrize("id", ["resp_" + "0" * 32, "resp_/../x", "x" * 300, "é{}%s"])
def test_unknown_ids(alice: openai.OpenAI, id: str) -> None:
    told = refused(lambda: alice.responses.create(model="chat/m", input="And?", previous_response_id=id))
    assert told[:3] == (400, "previous_response_not_found", "previous_response_id")
    if "/" not in id:
        assert refused(lambda: alice.responses.retrieve(id))[0] == 404


def test_a_deleted_parent(alice: openai.OpenAI, talk: Talk) -> None:
    talk.says(Said(text="One."), Said(text="Two."), Said(text="Three."))
    first = alice.responses.create(model="chat/m", input="1")
    second = alice.responses.create(model="chat/m", input="2", previous_response_id=first.id)
    third = alice.responses.create(model="chat/m", input="3", previous_response_id=second.id)
    assert alice.responses.with_raw_response.delete(first.id).http_response.json() == {
        "id": first.id,
        "object": "response",
        "deleted": True,
    }
    assert refused(lambda: alice.responses.retrieve(first.id))[0] == 404
    told = refused(lambda: alice.responses.create(model="chat/m", input="4", previous_response_id=third.id))
    assert told == (400, "previous_response_not_found", "previous_response_id", f"Previous response with id '{first.id}' not found.")
    assert alice.responses.retrieve(third.id).output_text == "Three."


def test_what_excludes_each_other(alice: openai.OpenAI) -> None:
    told = refused(lambda: alice.responses.create(model="chat/m", input="x", previous_response_id="resp_1", conversation="conv_1"))
    assert told[:3] == (400, "mutually_exclusive_parameters", "previous_response_id")


def test_only_background_work_is_cancelled_or_streamed_again(alice: openai.OpenAI, talk: Talk) -> None:
    talk.says(Said(text="One."))
    kept = alice.responses.create(model="chat/m", input="1")
    assert refused(lambda: alice.responses.cancel(kept.id)) == (400, None, None, "Cannot cancel a synchronous response.")
    assert refused(lambda: list(alice.responses.retrieve(kept.id, stream=True)))[0] == 400


def test_a_failed_answer_is_kept_but_not_said_again(alice: openai.OpenAI, talk: Talk) -> None:
    talk.says(Said(text="Half of", broken=True), Said(text="Well."))
    events: Any = iter(alice.responses.create(model="chat/m", input="Begin.", stream=True))
    id = next(events).response.id
    with pytest.raises(openai.APIError):
        list(events)
    failed = alice.responses.retrieve(id)
    assert (failed.status, failed.error and failed.error.code) == ("failed", "server_error")
    assert failed.output[0].to_dict()["status"] == "incomplete"
    alice.responses.create(model="chat/m", input="Go on.", previous_response_id=id)
    assert [turn[:2] for turn in _spoken("chat", talk.asked[1])] == [("user", "Begin."), ("user", "Go on.")]


# ---- what lists show ----


def test_input_items(alice: openai.OpenAI, talk: Talk) -> None:
    talk.says(Said(text="One."), Said(text="Two."))
    first = alice.responses.create(model="chat/m", input="Begin.")
    given: Any = [{"role": "user", "content": f"Line {n}.", "id": f"msg_own{n}"} for n in range(5)]
    second = alice.responses.create(model="chat/m", input=given, previous_response_id=first.id)
    texts = [item.to_dict()["content"][0]["text"] for item in alice.responses.input_items.list(second.id, order="asc")]
    assert texts == [f"Line {n}." for n in range(5)], "its own input alone"
    page = alice.responses.input_items.list(second.id, limit=2)
    assert [item.id for item in page.data] == ["msg_own4", "msg_own3"]
    assert page.has_more
    assert [item.id for item in page] == [f"msg_own{n}" for n in (4, 3, 2, 1, 0)], "the SDK goes on by itself"
    rest = alice.responses.input_items.list(second.id, order="asc", after="msg_own3")
    assert ([item.id for item in rest.data], rest.has_more) == (["msg_own4"], False)
    assert refused(lambda: alice.responses.input_items.list(second.id, after="msg_none"))[::2] == (400, "after")
    assert refused(lambda: alice.responses.input_items.list(second.id, limit=101))[::2] == (400, "limit")
    assert alice.responses.input_items.list(first.id).data[0].to_dict()["content"] == [{"type": "input_text", "text": "Begin."}]


def test_input_tokens(alice: openai.OpenAI, talk: Talk) -> None:
    talk.says(Said(text="One. " * 200))
    first = alice.responses.create(model="chat/m", input="Begin.")
    alone = alice.responses.input_tokens.count(model="chat/m", input="And?").input_tokens
    behind = alice.responses.input_tokens.count(model="chat/m", input="And?", previous_response_id=first.id).input_tokens
    assert alone < 20 < 100 < behind
    assert refused(lambda: alice.responses.input_tokens.count(model="chat/m", input="x", previous_response_id="resp_0"))[0] == 400


def test_a_compaction_of_what_is_stored(alice: openai.OpenAI, bob: openai.OpenAI, talk: Talk) -> None:
    """Of the caller's own; nothing of it is stored, and its output begins a new conversation."""
    talk.says(Said(text="One."), Said(text="Summary."), Said(text="Two."))
    first = alice.responses.create(model="chat/m", input="Begin.")
    compacted = alice.responses.compact(model="chat/m", previous_response_id=first.id)
    assert _spoken("chat", talk.asked[1])[:2] == [("user", "Begin.", []), ("assistant", "One.", [])]
    assert [item.type for item in compacted.output] == ["message", "compaction"]
    assert refused(lambda: alice.responses.retrieve(compacted.id))[0] == 404
    items: Any = [item.model_dump(exclude_none=True, warnings=False) for item in compacted.output]
    alice.responses.create(model="chat/m", input=[*items, {"role": "user", "content": "Go on."}])
    assert [turn[0] for turn in _spoken("chat", talk.asked[2])] == ["user", "user", "user"]
    assert refused(lambda: bob.responses.compact(model="chat/m", previous_response_id=first.id))[0] == 400


# ---- conversations ----


def test_a_conversation(alice: openai.OpenAI, bob: openai.OpenAI, talk: Talk) -> None:
    talk.says(Said(text="One."), Said(text="Two.", thinking="Hm."), Said(text="Three."))
    item: Any = {"type": "message", "role": "user", "content": "Before."}
    made = alice.conversations.create(items=[item], metadata={"topic": "stars"})
    assert made.id.startswith("conv_")
    assert made.metadata == {"topic": "stars"}
    first = alice.responses.create(model="chat/m", input="1", conversation=made.id)
    assert first.to_dict()["conversation"] == {"id": made.id}
    second = ask(alice, True, model="messages/m", input="2", conversation={"id": made.id})
    assert second.to_dict()["conversation"] == {"id": made.id}
    alice.responses.create(model="chat/m", input="3", conversation=made.id, store=False)
    assert [turn[1] for turn in _spoken("chat", talk.asked[2])] == ["Before.", "1", "One.", "2", "Two.", "3"]
    shown = [item.to_dict() for item in alice.conversations.items.list(made.id, order="asc", limit=3)]
    texts = ["".join(part["text"] for part in item.get("content", [])) for item in shown]
    assert texts == ["Before.", "1", "One.", "2", "Hm.", "Two.", "3", "Three."]
    assert not any(key.startswith("dragoman") for item in shown for key in item)
    assert shown[4]["encrypted_content"] == second.output[0].encrypted_content  # the reasoning, as its caller had it
    one = shown[2]
    assert alice.conversations.items.retrieve(one["id"], conversation_id=made.id).to_dict() == one
    assert alice.conversations.items.delete(one["id"], conversation_id=made.id).id == made.id
    assert len(list(alice.conversations.items.list(made.id))) == 7
    added = alice.conversations.items.create(made.id, items=[item, item])
    assert len(added.data) == 2
    assert alice.conversations.update(made.id, metadata={"topic": "moons"}).metadata == {"topic": "moons"}
    missing = (404, None, None, f"Conversation with id '{made.id}' not found.")
    assert refused(lambda: bob.conversations.retrieve(made.id)) == missing
    assert refused(lambda: bob.conversations.items.list(made.id)) == missing
    assert refused(lambda: bob.responses.create(model="chat/m", input="x", conversation=made.id)) == missing
    assert alice.conversations.delete(made.id).to_dict() == {"id": made.id, "object": "conversation.deleted", "deleted": True}
    assert refused(lambda: alice.conversations.retrieve(made.id)) == missing
    assert refused(lambda: alice.responses.create(model="chat/m", input="x", conversation=made.id)) == missing


def test_a_conversation_is_used_by_one_at_a_time(alice: openai.OpenAI, talk: Talk) -> None:
    gate = Gate()
    talk.says(Said(text="Slowly.", gate=gate), Said(text="Next."))
    made = alice.conversations.create()
    with alice.responses.stream(model="chat/m", input="1", conversation=made.id) as stream:
        for event in stream:
            if event.type == "response.output_text.delta":
                told = refused(lambda: alice.responses.create(model="chat/m", input="2", conversation=made.id))
                assert told[:3] == (400, "conversation_locked", "conversation")
                gate.open()
    alice.responses.create(model="chat/m", input="3", conversation=made.id)
    assert [turn[1] for turn in _spoken("chat", talk.asked[1])] == ["1", "Slowly.", "3"]


def test_a_failed_answer_is_not_of_the_conversation(alice: openai.OpenAI, talk: Talk) -> None:
    talk.says(Said(status=500), Said(text="Well."))
    made = alice.conversations.create()
    with pytest.raises(openai.InternalServerError):
        alice.responses.create(model="chat/m", input="1", conversation=made.id)
    alice.responses.create(model="chat/m", input="2", conversation=made.id)
    assert [turn[1] for turn in _spoken("chat", talk.asked[1])] == ["2"]


@pytest.mark.parametrize(
    ("given", "param"),
    [({"items": [{}] * 21}, "items"), ({"items": "x"}, "items"), ({"items": [3]}, "items[0]"), ({"metadata": {"a": 1}}, "metadata"),
     ({"metadata": {str(n): "" for n in range(17)}}, "metadata")],
)  # fmt: skip
def test_bad_conversations(alice: openai.OpenAI, given: Any, param: str) -> None:
    told = refused(lambda: alice.conversations.create(**given))
    assert (told[0], told[2]) == (400, param)


# ---- responses upstreams ----


@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "streamed"])
def test_an_upstream_that_keeps_its_responses_itself(alice: openai.OpenAI, bob: openai.OpenAI, talk: Talk, streamed: bool) -> None:
    talk.says(Said(text="One.", id="n1"), Said(text="Two.", id="n2"))
    first = ask(alice, streamed, model="native/m", input="1")
    assert first.id == "resp_n1"
    ask(alice, streamed, model="native/m", input="2", previous_response_id=first.id)
    assert (talk.asked[1]["previous_response_id"], talk.asked[1]["input"]) == (first.id, "2")
    talk.relayed.clear()
    alice.responses.retrieve(first.id, include=["reasoning.encrypted_content"])
    alice.responses.input_items.list(first.id, limit=3)
    alice.responses.cancel(first.id)
    told = refused(lambda: alice.responses.create(model="chat/m", input="x", previous_response_id=first.id))
    assert told[:3] == (400, "previous_response_not_found", "previous_response_id")
    assert told[3] == f"Previous response with id '{first.id}' not found. It is stored at another upstream."
    assert refused(lambda: bob.responses.retrieve(first.id))[0] == 404
    assert refused(lambda: bob.responses.create(model="native/m", input="x", previous_response_id=first.id))[0] == 400
    alice.responses.delete(first.id)
    assert [(method, target.partition("?")[0]) for method, target in talk.relayed] == [
        ("GET", "/native/v1/responses/resp_n1"),
        ("GET", "/native/v1/responses/resp_n1/input_items"),
        ("POST", "/native/v1/responses/resp_n1/cancel"),
        ("DELETE", "/native/v1/responses/resp_n1"),
    ]
    assert talk.relayed[1][1].endswith("?limit=3")
    assert refused(lambda: alice.responses.retrieve(first.id))[0] == 404


def test_nothing_is_changed_on_the_way_to_such_an_upstream(gateway: Running, talk: Talk) -> None:
    from .wire import ask as ask_raw
    from .wire import request

    body = b'{"model":  "native/m","input":"1" , "temperature": 1.0, "x_unknown": [1e5]}'
    talk.says(Said(text="One.", id="raw"))
    answer = ask_raw(gateway.port, request("/v1/responses", body, authorization="Bearer alice-key"))
    assert answer.status == 200
    assert talk.requests[0].body == body.replace(b"native/m", b"m")


def test_a_kept_conversation_goes_on_at_such_an_upstream(alice: openai.OpenAI, talk: Talk) -> None:
    """The gateway's own responses are written out; what follows lives there."""
    talk.says(Said(text="One.", thinking="Hm."), Said(text="Two.", id="n3"), Said(text="Three.", id="n4"))
    first = alice.responses.create(model="chat/m", input="1")
    raw = alice.responses.with_raw_response.create(model="native/m", input="2", previous_response_id=first.id)
    assert raw.headers["x-dragoman-adapted"] == "previous_response_id"
    assert talk.asked[1]["input"] == [
        {"type": "message", "role": "user", "content": "1"},
        {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "One.", "annotations": [], "logprobs": []}]},
        {"type": "message", "role": "user", "content": "2"},
    ]
    assert not {"previous_response_id", "store"} & talk.asked[1].keys()
    alice.responses.create(model="native/m", input="3", previous_response_id="resp_n3")
    assert talk.asked[2]["previous_response_id"] == "resp_n3"


@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "streamed"])
def test_an_upstream_that_keeps_nothing(alice: openai.OpenAI, talk: Talk, streamed: bool) -> None:
    talk.says(Said(text="One.", thinking="Hm.", calls=[("call_1", "look", "{}")], id="s1"), Said(text="Two.", id="s2"))
    first = ask(alice, streamed, model="stateless/m", input="1", tools=[TOOL])
    assert first.id.startswith("resp_")
    assert first.id != "resp_s1"
    assert first.store
    assert (talk.asked[0]["store"], talk.asked[0]["include"]) == (False, ["reasoning.encrypted_content"])
    given: Any = [{"type": "function_call_output", "call_id": "call_1", "output": "found"}]
    second = ask(alice, streamed, model="stateless/m", input=given, tools=[TOOL], previous_response_id=first.id)
    assert second.previous_response_id == first.id
    assert talk.asked[1]["input"] == [
        {"type": "message", "role": "user", "content": "1"},
        {"type": "reasoning", "id": "rs_s1", "summary": [], "encrypted_content": "sealed Hm."},
        {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "One.", "annotations": [], "logprobs": []}]},
        {"type": "function_call", "call_id": "call_1", "name": "look", "arguments": "{}"},
        {"type": "function_call_output", "call_id": "call_1", "output": "found"},
    ]
    assert alice.responses.retrieve(second.id).output_text == "Two."


def test_such_an_upstream_without_state_is_left_alone(gateway: Running, talk: Talk) -> None:
    from .wire import ask as ask_raw
    from .wire import request

    body = b'{"model":  "stateless/m","input":"1" , "store": false}'
    talk.says(Said(text="One.", id="raw"))
    answer = ask_raw(gateway.port, request("/v1/responses", body, authorization="Bearer alice-key"))
    assert answer.json["id"] == "resp_raw"
    assert talk.requests[0].body == body.replace(b"stateless/m", b"m")


@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize("model", ["native/m", "stateless/m"])
def test_conversations_over_responses_upstreams(alice: openai.OpenAI, talk: Talk, model: str, streamed: bool) -> None:
    talk.says(Said(text="One.", id="c1"), Said(text="Two.", id="c2"))
    made = alice.conversations.create()
    for given in ("1", "2"):
        response = ask(alice, streamed, model=model, input=given, conversation=made.id)
        assert response.to_dict()["conversation"] == {"id": made.id}
    assert [item.get("content") for item in talk.asked[1]["input"]] == ["1", [_output_text("One.")], "2"]
    assert "conversation" not in talk.asked[1]
    assert len(alice.conversations.items.list(made.id).data) == 4
    assert alice.responses.retrieve(response.id).output_text == "Two."


def _output_text(text: str) -> dict[str, Any]:
    return {"type": "output_text", "text": text, "annotations": [], "logprobs": []}
