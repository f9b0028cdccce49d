"""What a WebSocket keeps: previous responses, prepared ones, what is given up, and what of it the store sees."""

from __future__ import annotations

import contextlib
import sqlite3
from itertools import pairwise
from pathlib import Path
from typing import Any

import orjson
import pytest
from wsproto.events import CloseConnection, TextMessage

from ..scripted import Gate, Provider, Request, Steps, close, respond, wait
from .inside import CONFIG, Inside, inside, inside_once
from .sockets import Socket, connected, quiet
from .spoken import SHAPES
from .test_websocket import answers, kinds, not_found
from .upstreams import Answer, called, function, message, reasoned, response, text_answer, thought, tool_answer
from .wire import request as http

NATIVE = CONFIG  # its upstream of the Responses API keeps its own responses
PLAIN = CONFIG.replace("apis: [responses]", "apis: [responses], capabilities: {r.stateful: false}")
TOOL = {"type": "function", "name": "f", "parameters": {"type": "object", "properties": {}}, "strict": False}


class Upstream:
    """Answers in order; the last one again and again."""

    def __init__(self, *answers: Steps | Answer) -> None:
        self._answers = list(answers)

    def __call__(self, request: Request) -> Steps:
        answer = self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]
        return answer.steps(True) if isinstance(answer, Answer) else answer


def user(text: str) -> dict[str, Any]:
    return {"type": "message", "role": "user", "content": [{"type": "input_text", "text": text}]}


def texts(body: dict[str, Any]) -> str:
    return orjson.dumps(body.get("messages", body.get("input"))).decode()


async def asked(socket: Socket, **members: Any) -> dict[str, Any]:
    """The whole response."""
    events = await socket.ask(**members)
    assert events[-1]["type"] == "response.completed", events[-1]
    whole: dict[str, Any] = events[-1]["response"]
    return whole


@pytest.mark.parametrize("store", [{}, {"store": False}], ids=["stored", "not-stored"])
@pytest.mark.parametrize("upstream", [*SHAPES, "native"])
@inside_once
async def test_a_chain(upstream: str, store: dict[str, Any]) -> None:
    """Each turn brings what is new, and the upstream gets all of it, byte for byte as before."""
    shape = "responses" if upstream == "native" else upstream
    with Provider(answers(shape)) as provider:
        async with Inside(NATIVE if upstream == "native" else PLAIN, provider) as gateway, connected(gateway) as socket:
            previous: str | None = None
            for number in range(4):
                more: dict[str, Any] = {} if previous is None else {"previous_response_id": previous}
                whole = await asked(socket, model=f"{shape}/m", input=[user(f"turn {number}")], **store, **more)
                if shape != "responses" or (upstream != "native" and not store):  # what comes as it is says nothing of it
                    assert whole["previous_response_id"] == previous
                previous = whole["id"]
            bodies = [request.json for request in provider.requests]
            if upstream == "native" and not store:
                assert [body.get("previous_response_id") for body in bodies] == [None, "resp_1", "resp_1", "resp_1"]
                return
            assert not any("previous_response_id" in body for body in bodies)
            for number, body in enumerate(bodies):
                assert [texts(body).count(f"turn {n}") for n in range(4)] == [int(n <= number) for n in range(4)]
                assert texts(body).count("Hello world") == number
            for before, body in pairwise(bodies[1:]):  # the prefix of a prompt cache
                member = "messages" if "messages" in body else "input"
                assert body[member][: len(before[member]) - 1] == before[member][:-1]
            assert (await gateway.gateway.state.records.find("", previous) is None) == bool(store)
            assert {line["lane"] for line in gateway.lines} == ({"bytes"} if shape == "responses" and store else {"events"})


@inside
async def test_tools_and_thinking_over_messages() -> None:
    """R04."""
    turns = Upstream(message(thought("Hmm.", "sig=="), called("c1", "f", "{}"), stop="tool_use"), text_answer("messages", "4"))
    async with Provider(turns) as provider, Inside(PLAIN, provider) as gateway, connected(gateway) as socket:
        first = await asked(socket, model="messages/m", input="2+2?", tools=[TOOL], store=False)
        (call,) = [item for item in first["output"] if item["type"] == "function_call"]
        output = {"type": "function_call_output", "call_id": call["call_id"], "output": "4"}
        more = {"tools": [TOOL], "store": False, "previous_response_id": first["id"]}
        second = await asked(socket, model="messages/m", input=[output], **more)
        one, two, three = provider.requests[1].json["messages"]
        assert (one["role"], two["role"], three["role"]) == ("user", "assistant", "user")
        assert [block["type"] for block in two["content"]] == ["thinking", "tool_use"]
        assert two["content"][0] | {"type": "thinking"} == {"type": "thinking", "thinking": "Hmm.", "signature": "sig=="}
        assert two["content"][1]["id"] == "c1"
        (result,) = [block for block in three["content"] if block["type"] == "tool_result"]
        assert result["tool_use_id"] == "c1"
        assert result["content"] == "4"
        for stored in (first, second):
            assert await gateway.gateway.state.records.find("", stored["id"]) is None


@pytest.mark.parametrize("upstream", ["responses", "native"])
@inside_once
async def test_reasoning_over_responses(upstream: str) -> None:
    """WS-19: encrypted reasoning is asked for, and goes back with its call."""
    turns = Upstream(response(reasoned("rs_1", "sealed", "Hmm."), function("c1", "f", "{}")), text_answer("responses", "4"))
    with Provider(turns) as provider:
        config = NATIVE if upstream == "native" else PLAIN
        async with Inside(config, provider) as gateway, connected(gateway) as socket:
            first = await asked(socket, model="responses/m", input="2+2?", tools=[TOOL], store=False)
            output = {"type": "function_call_output", "call_id": "c1", "output": "4"}
            await asked(socket, model="responses/m", input=[output], tools=[TOOL], store=False, previous_response_id=first["id"])
            assert provider.requests[0].json["include"] == ["reasoning.encrypted_content"]
            items = provider.requests[1].json["input"]
            assert [item["type"] for item in items] == ["message", "reasoning", "function_call", "function_call_output"]
            assert items[1]["encrypted_content"] == "sealed"


@pytest.mark.parametrize("asking", [{"generate": False}, {"prompt_cache_options": {"prewarm": True}}])
@pytest.mark.parametrize("upstream", [*SHAPES, "native"])
@inside_once
async def test_a_prepared_response(upstream: str, asking: dict[str, Any]) -> None:
    """R05, as Codex begins."""
    shape = "responses" if upstream == "native" else upstream
    developer = {"type": "message", "role": "developer", "content": [{"type": "input_text", "text": "base rules"}]}
    with Provider(answers(shape)) as provider:
        async with Inside(NATIVE if upstream == "native" else PLAIN, provider) as gateway, connected(gateway) as socket:
            events = await socket.ask(model=f"{shape}/m", input=[developer], tools=[TOOL], store=False, **asking)
            assert kinds(events) == ["created", "completed"]
            assert [event["sequence_number"] for event in events] == [0, 1]
            whole = events[-1]["response"]
            assert whole["output"] == []
            assert (whole["usage"]["input_tokens"], whole["usage"]["output_tokens"], whole["usage"]["total_tokens"]) == (0, 0, 0)
            assert whole["status"] == "completed"
            assert not provider.requests
            later = [developer | {"content": [{"type": "input_text", "text": "more rules"}]}, user("Hi there")]
            await asked(socket, model=f"{shape}/m", input=later, tools=[TOOL], store=False, previous_response_id=whole["id"])
            body = provider.requests[0].body.decode()
            assert [body.count(text) for text in ("base rules", "more rules", "Hi there")] == [1, 1, 1]
            assert "resp_" not in body
            await gateway.until(lambda: len(gateway.lines) == 2)
            assert "upstream" not in gateway.lines[0]
            assert "tokens" not in gateway.lines[0]


@inside_once
async def test_what_is_prepared_must_be_right() -> None:
    """All but the pairing of calls."""
    call = {"type": "function_call", "call_id": "c1", "name": "f", "arguments": "{}"}
    async with Provider(answers("chat")) as provider, Inside(PLAIN, provider) as gateway, connected(gateway) as socket:
        assert kinds(await socket.ask(model="chat/m", input=[call], generate=False)) == ["created", "completed"]
        (event,) = await socket.ask(model="chat/m", input=[{"type": "no such"}], generate=False)
        assert event["status"] == 400
        (event,) = await socket.ask(model="chat/m", generate=False)
        assert event["error"]["code"] == "missing_required_parameter"
        (event,) = await socket.ask(model="nobody/m", input="hi", generate=False)
        assert event["status"] == 404
        assert not provider.requests


@inside_once
async def test_a_prepared_response_is_stored() -> None:
    """Where `store` is not false another connection can continue it."""
    async with Provider(answers("chat")) as provider, Inside(PLAIN, provider) as gateway:
        async with connected(gateway) as socket:
            first = await asked(socket, model="chat/m", input="before", generate=False)
        async with connected(gateway) as socket:
            await asked(socket, model="chat/m", input="after", previous_response_id=first["id"])
        assert texts(provider.requests[0].json).count("before") == 1


@pytest.mark.parametrize("end", ["error", "failed"])
@pytest.mark.parametrize("store", [True, False])
@inside_once
async def test_what_fails_is_given_up(store: bool, end: str) -> None:
    """R07: a failed continuation of the same lane; what is stored remains."""
    good = answers("chat")
    gate = Gate()
    broken = [*good[:4], wait(gate), close]
    with Provider(Upstream(good, *([broken] if end == "failed" else []), good)) as provider:
        async with Inside(PLAIN, provider) as gateway, connected(gateway) as socket:
            first = await asked(socket, model="chat/m", input="one", store=store)
            unknown = {"type": "function_call_output", "call_id": "call_x", "output": "4"}
            second = [unknown] if end == "error" else "two"
            socket.create(model="chat/m", input=second, store=store, previous_response_id=first["id"])
            events = [await socket.event()]
            gate.open()
            events += [] if events[-1]["type"] == "error" else await socket.response()
            assert events[-1]["type"] == ("error" if end == "error" else "response.failed")
            assert events[-1].get("status") == (400 if end == "error" else None)
            events = await socket.ask(model="chat/m", input="three", store=store, previous_response_id=first["id"])
            if store:
                assert events[-1]["type"] == "response.completed"
            else:
                assert events[-1]["error"] == not_found(first["id"])
            evicted = gateway.gateway.metrics.registry.get_sample_value("dragoman_websocket_evicted_total", {"cause": "failed"})
            assert evicted == 1


@pytest.mark.parametrize("upstream", [*SHAPES, "native"])
@inside_once
async def test_an_output_without_its_call(upstream: str) -> None:
    """R07 and R34: it reaches no upstream, also not one of the same API that would take it."""
    shape = "responses" if upstream == "native" else upstream
    call = tool_answer(shape, "f", "{}")
    with Provider(Upstream(call, text_answer(shape, "4"), call)) as provider:
        async with Inside(NATIVE if upstream == "native" else PLAIN, provider) as gateway, connected(gateway) as socket:
            for call_id, types in (("call_1", ["response.completed"]), ("call_x", ["error"])):
                first = await asked(socket, model=f"{shape}/m", input="2+2?", tools=[TOOL], store=False)
                output = {"type": "function_call_output", "call_id": call_id, "output": "4"}
                more = {"input": [output], "previous_response_id": first["id"], "store": False}
                events = await socket.ask(model=f"{shape}/m", **more)
                assert [event["type"] for event in events[-1:]] == types
            assert (events[-1]["status"], events[-1]["error"]["param"]) == (400, "input")
            assert events[-1]["error"]["message"] == "No tool call found for function call output with call_id call_x."
            assert len(provider.requests) == 3
            if upstream != "native":  # one that stores responses is asked whether it knows one
                (event,) = await socket.ask(model=f"{shape}/m", **more)
                assert event["error"] == not_found(first["id"])


@pytest.mark.parametrize(
    ("message", "found"),
    [
        ({"type": "response.create", "model": "chat/m", "input": "two", "background": True}, False),
        ({"type": "response.create", "model": "chat/m", "input": "two", "generate": 1}, False),
        ({"type": "response.create", "model": "chat/m", "input": "two", "background": True, "stream_id": "b"}, True),
        ({"type": "response.steer", "input": "two"}, True),
        ({"type": "response.inject"}, True),
    ],
)
@inside_once
async def test_what_is_refused_at_once_is_given_up_too(message: dict[str, Any], found: bool) -> None:
    """WS-16: whatever the error is about, if it is a create's, of the same lane."""
    async with Provider(answers("chat")) as provider, Inside(PLAIN, provider) as gateway, connected(gateway) as socket:
        first = await asked(socket, model="chat/m", input="one", store=False)
        socket.text(orjson.dumps(message | {"previous_response_id": first["id"]}).decode())
        assert (await socket.event())["type"] in ("error", "response.steer.failed")
        events = await socket.ask(model="chat/m", input="three", store=False, previous_response_id=first["id"])
        assert (events[-1]["type"] == "response.completed") is found


@inside_once
async def test_a_fork_that_fails_keeps_its_parent() -> None:
    """R12."""
    good = answers("chat")
    bad = respond({"error": {"message": "no", "type": "server_error"}}, 500)
    with Provider(Upstream(good, [bad], good, [bad], good)) as provider:
        async with Inside(PLAIN, provider) as gateway, connected(gateway) as socket:
            first = await asked(socket, model="chat/m", input="one", store=False, stream_id="a")
            (event,) = await socket.ask(model="chat/m", input="two", store=False, stream_id="b", previous_response_id=first["id"])
            assert (event["status"], event["stream_id"]) == (500, "b")
            second = await asked(socket, model="chat/m", input="two", store=False, stream_id="a", previous_response_id=first["id"])
            (event,) = await socket.ask(model="chat/m", input="three", store=False, stream_id="a", previous_response_id=second["id"])
            assert event["status"] == 500
            (event,) = await socket.ask(model="chat/m", input="three", store=False, stream_id="a", previous_response_id=second["id"])
            assert event["error"]["code"] == "previous_response_not_found"


@inside_once
async def test_what_is_not_stored_ends_with_the_connection() -> None:
    """R08."""
    async with Provider(answers("chat")) as provider, Inside(PLAIN, provider) as gateway:
        async with connected(gateway) as socket:
            first = await asked(socket, model="chat/m", input="one", store=False)
            assert gateway.gateway.recent.weight > 0
        async with connected(gateway) as socket:
            (event,) = await socket.ask(model="chat/m", input="two", previous_response_id=first["id"])
            assert event["error"] == not_found(first["id"])
        async with gateway.call(http(f"/v1/responses/{first['id']}", method="GET")) as caller:
            assert (await caller.head())[0] == 404
        await gateway.until(lambda: gateway.gateway.recent.weight == 0)


@inside_once
async def test_another_worker_knows_what_is_stored(tmp_path: Path) -> None:
    """R09."""
    section = f"\nstate_storage: {{type: sqlite, path: {tmp_path / 'state.db'}}}"
    async with Provider(answers("chat")) as provider, Inside(PLAIN + section, provider) as one, Inside(PLAIN + section, provider) as other:
        async with connected(one) as socket:
            first = await asked(socket, model="chat/m", input="one")
            second = await asked(socket, model="chat/m", input="two", previous_response_id=first["id"])
        async with connected(other) as socket:
            await asked(socket, model="chat/m", input="three", previous_response_id=second["id"])
        assert [texts(provider.requests[2].json).count(text) for text in ("one", "two", "three")] == [1, 1, 1]


@inside_once
async def test_what_continues_what_is_not_stored_is_stored_whole(tmp_path: Path) -> None:
    section = f"\nstate_storage: {{type: sqlite, path: {tmp_path / 'state.db'}}}"
    async with Provider(answers("chat")) as provider, Inside(PLAIN + section, provider) as gateway:
        async with connected(gateway) as socket:
            first = await asked(socket, model="chat/m", input="one", store=False)
            second = await asked(socket, model="chat/m", input="two", previous_response_id=first["id"])
            third = await asked(socket, model="chat/m", input="three", previous_response_id=second["id"])
        async with connected(gateway) as socket:
            await asked(socket, model="chat/m", input="four", previous_response_id=third["id"])
        counted = [texts(provider.requests[3].json).count(text) for text in ("one", "two", "three", "four", "Hello world")]
        assert counted == [1, 1, 1, 1, 3]


@inside_once
async def test_a_lane_keeps_its_most_recent_response() -> None:
    async with Provider(answers("chat")) as provider, Inside(PLAIN, provider) as gateway, connected(gateway) as socket:
        first = await asked(socket, model="chat/m", input="one", store=False)
        await asked(socket, model="chat/m", input="two", store=False)
        (event,) = await socket.ask(model="chat/m", input="three", store=False, previous_response_id=first["id"])
        assert event["error"]["code"] == "previous_response_not_found"


@pytest.mark.parametrize(("settings", "left"), [("memory: 2kB", 0), ("memory_total: 2kB", 0), ("memory: 3kB", 1), ("memory: 1MB", 2)])
@inside_once
async def test_memory(settings: str, left: int) -> None:
    """WS-20: the least recently used lane's copy goes first."""
    with Provider(answers("chat")) as provider:
        async with Inside(f"{PLAIN}\nwebsocket: {{{settings}}}", provider) as gateway, connected(gateway) as socket:
            ids = {}
            for lane in ("a", "b"):
                ids[lane] = (await asked(socket, model="chat/m", input="x" * 2000, store=False, stream_id=lane))["id"]
            found = []
            for lane in ("a", "b"):
                events = await socket.ask(model="chat/m", input="y", store=False, stream_id=f"{lane}2", previous_response_id=ids[lane])
                found.append(events[-1]["type"] == "response.completed")
            assert found == {0: [False, False], 1: [False, True], 2: [True, True]}[left]
            evicted = gateway.gateway.metrics.registry.get_sample_value("dragoman_websocket_evicted_total", {"cause": "memory"})
            assert (evicted or 0) >= 2 - left


@inside_once
async def test_a_conversation() -> None:
    """As over HTTP."""
    async with Provider(answers("chat")) as provider, Inside(PLAIN, provider) as gateway, connected(gateway) as socket:
        async with gateway.call(http("/v1/conversations", {})) as caller:
            _, headers = await caller.head()
            id = orjson.loads(await caller.body(headers))["id"]
        for text in ("one", "two"):
            await asked(socket, model="chat/m", input=text, conversation=id)
        assert [texts(provider.requests[1].json).count(text) for text in ("one", "two", "Hello world")] == [1, 1, 1]


@inside_once
async def test_a_store_that_fails(tmp_path: Path) -> None:
    """What had to be stored fails; the connection stays, and what need not be works on."""
    path = tmp_path / "state.db"
    section = f"\nstate_storage: {{type: sqlite, path: {path}, timeout: 200ms}}"
    async with Provider(answers("chat")) as provider, Inside(PLAIN + section, provider) as gateway, connected(gateway) as socket:
        await asked(socket, model="chat/m", input="stored")
        with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as other:
            other.execute("BEGIN EXCLUSIVE")
            events = await socket.ask(model="chat/m", input="two", stream_id="a")
            assert events[-1]["type"] in ("error", "response.failed")
            await asked(socket, model="chat/m", input="three", store=False, stream_id="b")


@inside_once
async def test_a_caller_that_closes_while_its_answer_is_stored(tmp_path: Path) -> None:
    """Its Close is answered at once, and nothing stays behind."""
    path = tmp_path / "state.db"
    section = f"\nstate_storage: {{type: sqlite, path: {path}, timeout: 300ms}}"
    async with Provider(answers("chat")) as provider, Inside(PLAIN + section, provider) as gateway:
        async with connected(gateway) as socket:
            await asked(socket, model="chat/m", input="stored")
            with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as other:
                other.execute("BEGIN EXCLUSIVE")
                socket.create(model="chat/m", input="two")
                while (await socket.event())["type"] != "response.output_text.delta":
                    pass
                await quiet(socket)
                socket.say(CloseConnection(1000))
                assert await closed_behind_deltas(socket) == 1000
        await gateway.until(lambda: gateway.idle and not gateway.gateway.live.sockets)
        assert gateway.gateway.recent.weight == 0


async def closed_behind_deltas(socket: Socket) -> int:
    while isinstance(event := await socket.frame(), TextMessage):
        pass
    assert isinstance(event, CloseConnection)
    return int(event.code)
