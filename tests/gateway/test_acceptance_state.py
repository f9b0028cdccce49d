"""What a responses caller may say of stored responses and conversations over an upstream that keeps nothing (acceptance T38)."""

from __future__ import annotations

import threading
from typing import Any

import openai
import pytest

from ..scripted import Gate, Step, chunk, stream_head, wait
from .stage import BOB, Stage
from .upstreams import text_answer

OK = text_answer("messages", "ok")


def answer(stage: Stage, **more: Any) -> Any:
    return stage.oai.responses.create(model="messages/m", input="Hi", **more)


def refused(status: int, told: Any, code: str | None = None, param: str | None = None) -> None:
    assert (told.status_code, told.type, told.code, told.param) == (status, "invalid_request_error", code, param)


def continuing(stage: Stage, id: str, client: openai.OpenAI | None = None) -> Any:
    """The error of a request that goes on from a response; the upstream is not asked."""
    before = len(stage.requests)
    with pytest.raises(openai.BadRequestError) as caught:
        (client or stage.oai).responses.create(model="messages/m", input="and?", previous_response_id=id)
    assert len(stage.requests) == before
    return caught.value


def not_found(told: Any, id: str) -> None:
    refused(400, told, "previous_response_not_found", "previous_response_id")
    assert id in told.message


def test_T38_a_response_that_never_was(stage: Stage) -> None:
    stage.play(OK)
    not_found(continuing(stage, "resp_never"), "resp_never")


def test_T38_a_response_of_another_tenant(stage: Stage) -> None:
    stage.play(OK)
    own = answer(stage)
    bob = stage.oai.with_options(api_key=BOB)  # shares its connections: not to be closed
    not_found(continuing(stage, own.id, bob), own.id)
    with pytest.raises(openai.NotFoundError) as caught:
        bob.responses.retrieve(own.id)
    refused(404, caught.value)
    assert stage.oai.responses.retrieve(own.id).output_text == "ok"
    assert stage.oai.responses.create(model="messages/m", input="and?", previous_response_id=own.id).previous_response_id == own.id


def test_T38_a_deleted_parent(stage: Stage) -> None:
    stage.play(OK)
    parent = answer(stage)
    child = stage.oai.responses.create(model="messages/m", input="and?", previous_response_id=parent.id)
    assert stage.asked[-1]["messages"] == [
        {"role": "user", "content": "Hi"},
        {"role": "assistant", "content": "ok"},
        {"role": "user", "content": "and?"},
    ]
    stage.oai.responses.delete(parent.id)
    not_found(continuing(stage, parent.id), parent.id)
    not_found(continuing(stage, child.id), parent.id)


def test_T38_what_was_not_stored_is_not_there(stage: Stage) -> None:
    stage.play(OK)
    unstored = answer(stage, store=False)
    assert unstored.store is False
    with pytest.raises(openai.NotFoundError) as caught:
        stage.oai.responses.retrieve(unstored.id)
    refused(404, caught.value)
    assert f"Response with id '{unstored.id}' not found." in caught.value.message
    not_found(continuing(stage, unstored.id), unstored.id)


def test_T38_a_finished_response_cannot_be_cancelled(stage: Stage) -> None:
    stage.play(OK)
    with pytest.raises(openai.BadRequestError) as caught:
        stage.oai.responses.cancel(answer(stage).id)
    refused(400, caught.value)
    assert "Cannot cancel a synchronous response." in caught.value.message


def test_T38_a_conversation_is_one_at_a_time(stage: Stage) -> None:
    gate = Gate()
    slow: list[Step] = [stream_head(), *map(chunk, OK.events[:3]), wait(gate), *map(chunk, OK.events[3:]), b"0\r\n\r\n"]
    conversation = stage.oai.conversations.create()
    stage.play(slow, OK)
    begun, told = threading.Event(), []

    def first() -> None:
        with stage.oai.responses.stream(model="messages/m", input="Hi", conversation=conversation.id) as running:
            for event in running:
                if event.type == "response.output_text.delta":
                    begun.set()
            told.append(running.get_final_response())

    thread = threading.Thread(target=first)
    thread.start()
    try:
        assert begun.wait(10)
        with pytest.raises(openai.BadRequestError) as caught:
            stage.oai.responses.create(model="messages/m", input="and?", conversation=conversation.id)
        refused(400, caught.value, "conversation_locked", "conversation")
    finally:
        gate.open()
        thread.join()
    assert told[0].output_text == "ok"
    assert told[0].conversation.id == conversation.id
    # it is free again, and remembers
    assert stage.oai.responses.create(model="messages/m", input="and?", conversation=conversation.id).output_text == "ok"
    assert [turn["role"] for turn in stage.asked[-1]["messages"]] == ["user", "assistant", "user"]
