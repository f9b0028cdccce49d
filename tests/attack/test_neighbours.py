"""Two access keys at one gateway: neither reaches what an upstream keeps for the other, nor takes the other's places."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import openai
import pytest

from dragoman.proxy.memory import upstream_names

from ..conftest import Running, Start
from ..gateway.talk import Said, Talk, config
from ..gateway.wire import ask, request
from ..scripted import LAST_CHUNK, Gate, Provider, Request, Steps, chunk, respond, sse, stream_head

PATHS = {"chat": "/v1/chat/completions", "messages": "/v1/messages", "responses": "/v1/responses"}


def spoken(port: int, shape: str, key: str, **body: Any) -> tuple[int, Any]:
    """Status and JSON of an answer."""
    base: dict[str, Any] = {"max_tokens": 16} if shape == "messages" else {}
    answer = ask(port, request(PATHS[shape], json.dumps(base | body).encode(), authorization=f"Bearer {key}"))
    return answer.status, None if answer.status == 200 else answer.json


# ---- names of an upstream's things ----

OUTPUT: list[dict[str, Any]] = [
    {"type": "reasoning", "id": "rs_alices", "summary": []},
    {"type": "code_interpreter_call", "id": "ci_alices", "code": "1", "container_id": "cntr_alices", "outputs": None},
    {"type": "image_generation_call", "id": "ig_alices", "status": "completed", "result": "cGln"},
    {"type": "compaction", "id": "cmp_alices", "encrypted_content": "sealed"},
    {"type": "message", "id": "msg_alices", "role": "assistant", "status": "completed",
     "content": [{"type": "output_text", "text": "Done.", "logprobs": [], "annotations": []}]},
]  # fmt: skip
RESPONSE = {"id": "resp_alices", "object": "response", "status": "completed", "model": "m", "output": OUTPUT, "usage": None, "error": None}


def keeps_all(asked: Request) -> Steps:
    """A responses upstream that has all of the above, and gives it to whoever names it."""
    if asked.json.get("stream"):
        begun = RESPONSE | {"status": "in_progress", "output": []}
        events: list[dict[str, Any]] = [{"type": "response.created", "response": begun}]
        events.append(
            {"type": "response.output_text.delta", "output_index": 4, "item_id": "msg_alices", "content_index": 0, "delta": "Done."}
        )
        events.append({"type": "response.completed", "response": RESPONSE})
        return [stream_head(), *(chunk(sse(event | {"sequence_number": n}, event["type"])) for n, event in enumerate(events)), LAST_CHUNK]
    if "chat/completions" in asked.target or "messages" in asked.target:
        return [respond({"object": "none"})]
    return [respond(RESPONSE)]


@pytest.fixture(scope="module")
def provider() -> Iterator[Provider]:
    with Provider(keeps_all) as running:
        yield running


@pytest.fixture(scope="module")
def gateway(start_session: Start, provider: Provider) -> Running:
    return start_session(config(provider, "state_storage: {type: memory}\n"))


def message(*parts: dict[str, Any]) -> dict[str, Any]:
    return {"role": "user", "content": [{"type": "input_text", "text": "Look."}, *parts]}


# what a request may name, and whether an answer to the same key makes it that key's own
NAMES: dict[str, tuple[dict[str, Any], bool]] = {
    "reference": ({"input": [{"type": "item_reference", "id": "msg_alices"}]}, True),
    "bare reference": ({"input": [{"id": "msg_alices"}]}, True),
    "reasoning": ({"input": [{"type": "reasoning", "id": "rs_alices", "summary": []}]}, True),
    "image": ({"input": [message(), {"type": "image_generation_call", "id": "ig_alices"}]}, True),
    "compaction": ({"input": [{"type": "compaction", "id": "cmp_alices"}, message()]}, True),
    "approval": ({"input": [{"type": "mcp_approval_response", "approval_request_id": "msg_alices", "approve": True}]}, True),
    "container": ({"input": "x", "tools": [{"type": "code_interpreter", "container": "cntr_alices"}]}, True),
    "container of a call": ({"input": [message(), OUTPUT[1]]}, True),
    "container of a shell": (
        {"input": "x", "tools": [{"type": "shell", "environment": {"type": "container_reference", "container_id": "cntr_alices"}}]}, True,
    ),
    "file": ({"input": [message({"type": "input_file", "file_id": "file-alices"})]}, False),
    "image file": ({"input": [message({"type": "input_image", "file_id": "file-alices"})]}, False),
    "file of an output": (
        {"input": [{"type": "computer_call_output", "call_id": "c", "output": {"type": "computer_screenshot", "file_id": "file-alices"}}]},
        False,
    ),
    "file in a container": (
        {"input": "x", "tools": [{"type": "code_interpreter", "container": {"type": "auto", "file_ids": ["f-1"]}}]}, False,
    ),
    "mask": ({"input": "x", "tools": [{"type": "image_generation", "input_image_mask": {"file_id": "file-alices"}}]}, False),
    "vector store": ({"input": "x", "tools": [{"type": "file_search", "vector_store_ids": ["vs_alices"]}]}, False),
}  # fmt: skip


@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize("name", NAMES)
def test_what_was_not_seen_to_be_the_callers(gateway: Running, provider: Provider, name: str, streamed: bool) -> None:
    body, given = NAMES[name]
    assert spoken(gateway.port, "responses", "alice-key", model="native/m", input="x", stream=streamed)[0] == 200
    before = len(provider.requests)
    status, answer = spoken(gateway.port, "responses", "bob-key", model="native/m", stream=streamed, **body)
    assert (status, answer["error"]["param"]) == (404, "tools" if body["input"] == "x" else "input")
    assert len(provider.requests) == before, "nothing went up"
    status, _ = spoken(gateway.port, "responses", "alice-key", model="native/m", **body)
    assert status == (200 if given else 404)


@pytest.mark.parametrize("name", [name for name, (_, given) in NAMES.items() if not given])
def test_whatever_api_the_upstream_speaks(gateway: Running, provider: Provider, name: str) -> None:
    """Another API is not told of them at all; one that is, though it stores nothing, is not asked."""
    before = len(provider.requests)
    for model in ("chat/m", "messages/m"):
        spoken(gateway.port, "responses", "alice-key", model=model, **NAMES[name][0])
    assert not any(word in asked.body for asked in provider.requests[before:] for word in (b"alices", b"f-1"))
    before = len(provider.requests)
    assert spoken(gateway.port, "responses", "alice-key", model="stateless/m", **NAMES[name][0])[0] == 404
    assert len(provider.requests) == before


@pytest.mark.parametrize(
    ("shape", "body"),
    [
        ("chat", {"messages": [{"role": "user", "content": [{"type": "file", "file": {"file_id": "file-alices"}}]}]}),
        ("messages", {"messages": [{"role": "user", "content": [{"type": "document", "source": {"type": "file", "file_id": "f1"}}]}]}),
        ("messages", {"messages": [{"role": "user", "content": [{"type": "container_upload", "file_id": "f1"}]}]}),
        ("messages", {"messages": [{"role": "user", "content": "x"}], "container": "container_alices"}),
        ("messages", {"messages": [{"role": "user", "content": "x"}], "container": {"id": "container_alices"}}),
    ],
)
def test_the_other_apis_too(gateway: Running, provider: Provider, shape: str, body: dict[str, Any]) -> None:
    before = len(provider.requests)
    assert spoken(gateway.port, shape, "alice-key", model=f"{shape}/m", **body)[0] == 404
    assert len(provider.requests) == before
    for model in {"chat/m", "messages/m", "native/m"} - {f"{shape}/m"}:
        spoken(gateway.port, shape, "alice-key", model=model, **body)
    assert not any(word in asked.body for asked in provider.requests[before:] for word in (b"alices", b'"f1"'))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("open_to_all", ["shared_upstream_ids", "no keys"])
def test_a_team_that_trusts_each_other(start_session: Start, provider: Provider, name: str, open_to_all: str) -> None:
    team = _team(start_session, provider, open_to_all)
    assert spoken(team.port, "responses", "bob-key", model="native/m", **NAMES[name][0])[0] == 200


_TEAMS: dict[tuple[int, str], Running] = {}


def _team(start_session: Start, provider: Provider, open_to_all: str) -> Running:
    key = (id(provider), open_to_all)
    if key not in _TEAMS:
        shared = "state_storage: {type: memory, shared_upstream_ids: true}\n"
        text = config(provider, shared) if open_to_all == "shared_upstream_ids" else config(provider, "", keys="")
        _TEAMS[key] = start_session(text)
    return _TEAMS[key]


def test_a_container_of_an_answer_that_is_not_stored(gateway: Running) -> None:
    """It outlives the answer, so its owner is remembered all the same."""
    tools = [{"type": "code_interpreter", "container": {"type": "auto"}}]
    stateless: dict[str, Any] = {"model": "native/m", "input": "x", "store": False}
    for streamed in (False, True):
        assert spoken(gateway.port, "responses", "alice-key", tools=tools, stream=streamed, **stateless)[0] == 200
        reuse = [{"type": "code_interpreter", "container": "cntr_alices"}]
        assert spoken(gateway.port, "responses", "alice-key", tools=reuse, **stateless)[0] == 200
        assert spoken(gateway.port, "responses", "bob-key", tools=reuse, **stateless)[0] == 404


@pytest.mark.parametrize(
    ("shape", "body"),
    [
        ("responses", {"input": [{"role": "user", "content": "x"}],
                       "tools": [{"type": "function", "name": "f", "parameters": {"properties": {"file_id": {"default": "a"}}}}]}),
        ("responses", {"input": [{"type": "function_call", "id": "fc_1", "call_id": "c", "name": "f", "arguments": '{"file_id":"a"}'}]}),
        ("responses", {"input": [{"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "sealed"}]}),
        ("responses", {"input": [{"type": "compaction", "id": "cmp_1", "encrypted_content": "sealed"}]}),
        ("responses", {"input": [{"type": "message", "id": "msg_1", "role": "assistant", "content": [
            {"type": "output_text", "text": "x", "annotations": [{"type": "file_citation", "file_id": "file-1"}]}]}]}),
        ("responses", {"input": [{"type": "mcp_approval_request", "id": "mcpr_1", "name": "x", "arguments": "{}", "server_label": "s"},
                                 {"type": "mcp_approval_response", "approval_request_id": "mcpr_1", "approve": True}]}),
        ("messages", {"messages": [{"role": "assistant", "content": [
            {"type": "tool_use", "id": "t", "name": "f", "input": {"file_id": "a"}}]}]}),
        ("messages", {"messages": [{"role": "assistant", "content": [{"type": "code_execution_tool_result", "tool_use_id": "t", "content": {
            "type": "code_execution_result", "content": [{"type": "code_execution_output", "file_id": "f"}]}}]}]}),
    ],
)  # fmt: skip
def test_what_names_nothing(shape: str, body: dict[str, Any]) -> None:
    """A caller's own words, what is only shown, and items that stand there whole."""
    assert upstream_names.used_in_request(shape, body) == {}
    if shape == "responses":
        assert upstream_names.items_looked_up(body) == []


@pytest.mark.parametrize(
    "strange", [None, 5, "x", [None, 5, [[]]], {"type": ["x"]}, [{"type": {"a": 1}, "id": 5, "file_id": 7}], [{"id": []}]]
)
def test_strange_values_name_nothing(strange: Any) -> None:
    body = dict.fromkeys(("input", "tools", "messages", "system", "container"), strange)
    for shape in PATHS:
        names = upstream_names.used_in_request(shape, body)
        assert not names or strange == "x"
    assert upstream_names.items_looked_up(body) == []
    assert upstream_names.named_in_answer({"output": strange, "id": strange}) == set()
    assert upstream_names.makes_containers(body) is False


# ---- places of background responses ----


def test_one_key_does_not_take_all_background_places(start: Start) -> None:
    talk, gate = Talk(), Gate()
    with Provider(talk.script) as provider:
        limits = "limits: {max_background: 3, max_background_per_key: 2}\n"
        gateway = start(config(provider, "state_storage: {type: memory}\n" + limits))
        alice, bob = (openai.OpenAI(base_url=f"{gateway.url}/v1", api_key=f"{name}-key", max_retries=0) for name in ("alice", "bob"))
        talk.says(*[Said(text="Slowly.", gate=gate)] * 4)
        running = [alice.responses.create(model="chat/m", input="x", background=True) for _ in range(2)]
        with pytest.raises(openai.RateLimitError, match="of this API key"):
            alice.responses.create(model="chat/m", input="x", background=True)
        running.append(bob.responses.create(model="chat/m", input="x", background=True))
        with pytest.raises(openai.RateLimitError, match="Too many background responses are running"):
            bob.responses.create(model="chat/m", input="x", background=True)
        provider.wait_for(lambda: len(talk.requests) == 3)
        alice.responses.cancel(running[0].id)
        running[0] = _once_there_is_room(alice)
        gate.open()
        for client in (alice, bob):
            client.close()


def _once_there_is_room(client: openai.OpenAI) -> Any:
    while True:
        try:
            return client.responses.create(model="chat/m", input="x", background=True)
        except openai.RateLimitError:
            pass


# ---- absurd values in what is stored ----

ABSURD: list[dict[str, Any]] = [
    {"output": None}, {"output": {"a": 1}}, {"output": [None, 5, "x", [], {"type": "message", "id": 7}]},
    {"output": [{"type": "message", "id": "\udc00", "role": "assistant", "content": 3}]},
    {"status": 999}, {"status": ["x"]}, {"status": None},
    {"usage": {"input_tokens": 2**62, "output_tokens": 2**63, "total_tokens": -(2**62)}}, {"usage": 7},
    {"metadata": {"x": "\ud800"}}, {"created_at": 10**30}, {"id": 5}, {"id": "\ud800"}, {"error": 5}, {"model": None},
]  # fmt: skip


def _events(whole: dict[str, Any]) -> Steps:
    events: list[dict[str, Any]] = [
        {"type": "response.created", "response": RESPONSE | {"output": [], "status": "in_progress"}},
        {"type": "response.output_text.delta", "output_index": 0, "item_id": "m", "content_index": 0, "delta": "x"},
        {"type": "response.completed", "response": whole},
    ]
    frames = [f"event: {event['type']}\ndata: {json.dumps(event)}\n\n".encode() for event in events]
    return [stream_head(), *map(chunk, frames), LAST_CHUNK]


@pytest.mark.parametrize("model", ["stateless/m", "native/m"])
@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "streamed"])
def test_absurd_answers_are_stored_or_refused_without_a_traceback(start: Start, model: str, streamed: bool) -> None:
    answers = iter([RESPONSE | absurd for absurd in ABSURD])

    def script(asked: Request) -> Steps:
        whole = next(answers)
        return _events(whole) if streamed else [respond(json.dumps(whole).encode(), content_type="application/json")]

    body = json.dumps({"model": model, "input": "x", "stream": streamed}).encode()
    with Provider(script) as provider:
        gateway = start(config(provider, "state_storage: {type: memory}\n"))
        for absurd in ABSURD:
            answer = ask(gateway.port, request(PATHS["responses"], body, authorization="Bearer alice-key"))
            assert answer.status in (200, 502), absurd
            if model == "stateless/m" and answer.status == 200 and not streamed:
                id = json.loads(answer.body)["id"]
                again = ask(gateway.port, request(f"/v1/responses/{id}", method="GET", authorization="Bearer alice-key"))
                assert again.status == 200, absurd
        assert "Traceback" not in gateway.log()


# ---- compaction ----


def test_a_compaction_continues_what_is_the_callers(gateway: Running, provider: Provider) -> None:
    path = "/v1/responses/compact"
    assert spoken(gateway.port, "responses", "alice-key", model="native/m", input="x")[0] == 200
    for body in ({"previous_response_id": "resp_alices"}, NAMES["reference"][0], NAMES["reasoning"][0], NAMES["file"][0]):
        asked = json.dumps({"model": "native/m", **body}).encode()
        before = len(provider.requests)
        assert ask(gateway.port, request(path, asked, authorization="Bearer bob-key")).status in (400, 404)
        assert len(provider.requests) == before
        status = ask(gateway.port, request(path, asked, authorization="Bearer alice-key")).status
        assert status == (404 if body is NAMES["file"][0] else 200)
