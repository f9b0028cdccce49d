"""Background responses over each kind of store: polled, streamed, resumed, cancelled; where stores are shared, at another replica."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import openai
import pytest

from ..conftest import Running, Start
from ..scripted import Gate, Provider
from .talk import KINDS, Said, Talk, config, storage

pytestmark = pytest.mark.slow

TOOL: Any = {"type": "function", "name": "look", "parameters": {"type": "object", "properties": {}}, "strict": False}


@pytest.fixture(scope="module")
def talk() -> Talk:
    return Talk()


@pytest.fixture(scope="module")
def provider(talk: Talk) -> Iterator[Provider]:
    with Provider(talk.script) as running:
        yield running


@pytest.fixture(scope="module", params=KINDS)
def replicas(request: Any, start_session: Start, provider: Provider, tmp_path_factory: Any) -> Iterator[list[Running]]:
    """Two gateways over one store; of memory, which no other process sees, one that stands for both."""
    with storage(request.param, tmp_path_factory.mktemp("state")) as section:
        count = 1 if request.param == "memory" else 2
        running = [start_session(config(provider, section)) for _ in range(count)]
        yield running * (3 - count)
        for gateway in running:
            gateway.stop()


@pytest.fixture
def here(replicas: list[Running]) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=replicas[0].url + "/v1", api_key="alice-key", max_retries=0, timeout=20) as client:
        yield client


@pytest.fixture
def there(replicas: list[Running]) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=replicas[1].url + "/v1", api_key="alice-key", max_retries=0, timeout=20) as client:
        yield client


def until(client: openai.OpenAI, id: str, condition: Any) -> Any:
    """Poll, as a caller would."""
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        response = client.responses.retrieve(id)
        if condition(response):
            return response
    raise AssertionError(response)


def final(client: openai.OpenAI, id: str) -> Any:
    return until(client, id, lambda response: response.status not in ("queued", "in_progress"))


@pytest.mark.parametrize("model", ["chat/m", "messages/m", "stateless/m"])
def test_polled(here: openai.OpenAI, there: openai.OpenAI, talk: Talk, model: str) -> None:
    gate = Gate()
    talk.says(Said(text="Once upon a time", gate=gate), Said(text="The end."))
    begun = here.responses.create(model=model, input="Tell me.", background=True)
    assert (begun.status, begun.output, begun.background) == ("queued", [], True)
    partial = until(there, begun.id, lambda response: response.output_text == "Once upon a time")
    assert (partial.id, partial.status, partial.created_at) == (begun.id, "in_progress", begun.created_at)
    told = refused(lambda: there.responses.create(model=model, input="And?", previous_response_id=begun.id))
    assert told[:3] == (400, "response_not_completed", "previous_response_id")
    gate.open()
    done = final(there, begun.id)
    assert (done.status, done.output_text, done.usage.total_tokens) == ("completed", "Once upon a time", 19)
    assert there.responses.cancel(begun.id).to_dict() == done.to_dict(), "what is over stays as it is"
    assert there.responses.create(model="chat/m", input="And?", previous_response_id=begun.id).output_text == "The end."
    assert [message["role"] for message in talk.asked[1]["messages"]] == ["user", "assistant", "user"]
    assert refused(lambda: list(here.responses.retrieve(begun.id, stream=True)))[0] == 400, "it was not streamed"


def refused(call: Any) -> tuple[int, Any, Any, str]:
    with pytest.raises(openai.APIStatusError) as caught:
        call()
    body: Any = caught.value.body
    return caught.value.status_code, body["code"], body["param"], body["message"]


def begin(client: openai.OpenAI, words: int, **given: Any) -> list[Any]:
    """The events of a stream up to so many words, and no more: its caller leaves."""
    events = []
    with client.responses.create(background=True, stream=True, **given) as stream:
        for event in stream:
            events.append(event)
            words -= event.type == "response.output_text.delta"
            if not words:
                return events
    raise AssertionError("the stream ended before that")


@pytest.mark.parametrize("model", ["chat/m", "messages/m", "stateless/m"])
def test_a_stream_is_resumed(here: openai.OpenAI, there: openai.OpenAI, talk: Talk, model: str) -> None:
    gate = Gate()
    talk.says(Said(text="Once upon a time", gate=gate))
    events = begin(here, 2, model=model, input="Tell me.")
    assert [event.type for event in events[:3]] == ["response.created", "response.queued", "response.in_progress"]
    id = events[0].response.id
    with there.responses.retrieve(id, stream=True, starting_after=events[-1].sequence_number) as rest:
        for event in rest:
            events.append(event)
            if event.type == "response.output_text.delta" and event.delta == " time":
                gate.open()
    assert [event.sequence_number for event in events] == list(range(len(events)))
    assert "".join(event.delta for event in events if event.type == "response.output_text.delta") == "Once upon a time"
    assert events[-1].type == "response.completed"
    assert events[-1].response.to_dict() == there.responses.retrieve(id).to_dict()
    assert {event.response.created_at for event in events if hasattr(event, "response")} == {events[0].response.created_at}
    again = list(there.responses.retrieve(id, stream=True))
    assert [event.to_dict() for event in again] == [event.to_dict() for event in events]
    assert [event.type for event in there.responses.retrieve(id, stream=True, starting_after=len(events) - 2)] == ["response.completed"]


def test_a_stream_that_nobody_leaves(here: openai.OpenAI, talk: Talk) -> None:
    """By the SDK's own accumulator."""
    talk.says(Said(text="I look.", thinking="Hm.", calls=[("toolu_1", "look", "{}")]), Said(text="Done."))
    with here.responses.stream(model="messages/m", input="Begin.", tools=[TOOL], background=True) as stream:
        first = stream.get_final_response()
    assert [item.type for item in first.output] == ["reasoning", "message", "function_call"]
    given: Any = [{"type": "function_call_output", "call_id": "toolu_1", "output": "found"}]
    with here.responses.stream(model="messages/m", input=given, tools=[TOOL], previous_response_id=first.id) as stream:
        assert stream.get_final_response().output_text == "Done."
    assert talk.asked[1]["messages"][1]["content"][0] == {"type": "thinking", "thinking": "Hm.", "signature": "c2lnbmF0dXJl"}


@pytest.mark.parametrize("model", ["chat/m", "stateless/m"])
def test_cancelled(here: openai.OpenAI, there: openai.OpenAI, talk: Talk, provider: Provider, model: str) -> None:
    """Whoever cancels it, where it runs it ends, and so does every stream of it."""
    talk.says(Said(text="Once upon a time", gate=Gate()))
    events = begin(here, 4, model=model, input="Tell me.")
    id = events[0].response.id
    with here.responses.retrieve(id, stream=True, starting_after=events[-1].sequence_number) as rest:
        cancelled = there.responses.cancel(id)
        told = list(rest)
    assert (cancelled.id, cancelled.status, cancelled.output_text) == (id, "cancelled", "Once upon a time")
    assert (told[-1].type, told[-1].response.status) == ("response.incomplete", "cancelled")
    numbers = [event.sequence_number for event in events + told]
    assert numbers == list(range(len(numbers)))
    assert here.responses.retrieve(id).to_dict() == cancelled.to_dict()
    assert there.responses.cancel(id).to_dict() == cancelled.to_dict()
    connection = provider.connections[talk.requests[-1].connection]
    provider.wait_for(lambda: connection.closed_by == "peer")
    talk.says(Said(text="Well."))
    there.responses.create(model="chat/m", input="Go on.", previous_response_id=id)
    assert [message["content"] for message in talk.asked[0]["messages"]] == ["Tell me.", "Go on."]


@pytest.mark.parametrize(
    ("said", "output"), [(Said(status=500), []), (Said(text="Half of", broken=True), ["Half of"])], ids=["refused", "broken"]
)
@pytest.mark.parametrize("model", ["chat/m", "stateless/m"])
def test_failed(here: openai.OpenAI, there: openai.OpenAI, talk: Talk, model: str, said: Said, output: list[str]) -> None:
    talk.says(said)
    events: Any = iter(here.responses.create(model=model, input="Tell me.", background=True, stream=True))
    id = next(events).response.id
    told = []
    with pytest.raises(openai.APIError):
        told += iter_into(events, told)
    assert told[-1].type == "response.failed"
    assert [event.sequence_number for event in told] == list(range(1, len(told) + 1))
    failed = there.responses.retrieve(id)
    assert (failed.status, failed.error.code) == ("failed", "server_error")
    if model == "chat/m":
        assert [part["text"] for item in failed.to_dict()["output"] for part in item["content"]] == output
    assert there.responses.cancel(id).status == "failed"


def iter_into(events: Any, told: list[Any]) -> list[Any]:
    for event in events:
        told.append(event)
    return []


def test_deleted_while_it_runs(here: openai.OpenAI, there: openai.OpenAI, talk: Talk, provider: Provider) -> None:
    talk.says(Said(text="Once upon", gate=Gate()))
    id = begin(here, 2, model="chat/m", input="Tell me.")[0].response.id
    there.responses.delete(id)
    assert refused(lambda: here.responses.retrieve(id))[0] == 404
    connection = provider.connections[talk.requests[-1].connection]
    provider.wait_for(lambda: connection.closed_by == "peer")
    assert refused(lambda: here.responses.retrieve(id))[0] == 404


def test_in_a_conversation(here: openai.OpenAI, there: openai.OpenAI, talk: Talk) -> None:
    gate = Gate()
    talk.says(Said(text="One.", gate=gate), Said(text="Two."))
    made = here.conversations.create()
    id = begin(here, 1, model="native/m", input="1", conversation=made.id)[0].response.id
    assert refused(lambda: there.responses.create(model="chat/m", input="2", conversation=made.id))[1] == "conversation_locked"
    gate.open()
    assert final(there, id).to_dict()["conversation"] == {"id": made.id}
    while True:  # the lock is given back after the answer is final
        try:
            there.responses.create(model="chat/m", input="2", conversation=made.id)
        except openai.BadRequestError:
            continue
        break
    assert [message["role"] for message in talk.asked[1]["messages"]] == ["user", "assistant", "user"]


def test_by_an_upstream_that_does_it_itself(here: openai.OpenAI, there: openai.OpenAI, talk: Talk) -> None:
    talk.says(Said(text="One.", id=f"bg{id(talk)}"))
    with here.responses.create(model="native/m", input="1", background=True, stream=True) as stream:
        response_id = next(iter(stream)).response.id  # type: ignore[union-attr]
    assert talk.asked[0]["background"] is True
    talk.relayed.clear()
    there.responses.cancel(response_id)
    assert talk.relayed == [("POST", f"/native/v1/responses/{response_id}/cancel")]


def test_refused(here: openai.OpenAI) -> None:
    told = refused(lambda: here.responses.create(model="chat/m", input="1", background=True, store=False))
    assert (told[0], told[2]) == (400, "background")
    for after in ("-2", "x", "1e3"):
        told = refused(lambda after=after: here.get("/responses/resp_1", cast_to=object, options={"params": {"starting_after": after}}))
        assert told[0] == 404


def test_a_listener_asks_for_a_number(here: openai.OpenAI, talk: Talk) -> None:
    talk.says(Said(text="One."))
    with ExitStack() as stack:
        events = list(stack.enter_context(here.responses.create(model="chat/m", input="1", background=True, stream=True)))
    id = events[0].response.id  # type: ignore[union-attr]
    for after in ("-2", "x", "1" * 20):
        told = refused(lambda after=after: list(here.responses.retrieve(id, stream=True, starting_after=after)))
        assert (told[0], told[2]) == (400, "starting_after")
