"""Any answer in any direction: streamed and whole are the same, and both are what their shape's SDK expects (acceptance T40)."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given

from dragoman.codecs import chat, messages, responses
from dragoman.codecs import events as ev
from dragoman.codecs.reply import Reply
from dragoman.codecs.request import Request as Asked
from tests.codecs.wire import Wire

from ..codecs import grammar
from ..codecs.answers import answers
from ..codecs.fuzzing import fuzz
from ..scripted import Request, Steps, respond, stream
from .stage import TRANSLATED, Stage
from .upstreams import Block, message, said

CODECS: dict[str, Any] = {"chat": chat, "messages": messages, "responses": responses}
ASK: Any = [{"role": "user", "content": "Hi"}]


_ORDER = {ev.ReasoningStart: 0, ev.TextStart: 1, ev.ToolStart: 2}


def as_a_whole_says_it(events: list[ev.Event]) -> list[ev.Event]:
    """The same parts in the only order that a whole chat answer has: reasoning, text, calls."""
    kinds = {event.part: _ORDER[type(event)] for event in events if isinstance(event, ev.ReasoningStart | ev.TextStart | ev.ToolStart)}
    numbers = {part: number for number, part in enumerate(sorted(kinds, key=kinds.__getitem__))}
    inside = [event for event in events if hasattr(event, "part")]
    inside = [replace(event, part=numbers[event.part]) for event in sorted(inside, key=lambda event: kinds[event.part])]
    return [events[0], *inside, *(event for event in events[1:] if not hasattr(event, "part"))]


def recited(shape: str, events: list[ev.Event]) -> tuple[bytes, Any]:
    """An upstream's answer, streamed and whole."""
    events = as_a_whole_says_it(events) if shape == "chat" else events

    def reply() -> Reply:
        return Reply(Asked(shape, "m", {}, include_usage=True, summary="auto"), response_id="resp_up", created=7)

    collector = CODECS[shape].Collector(reply())
    collector.feed(events)
    return Wire(shape, reply()).feed(events), collector.body()


@pytest.mark.parametrize(("client", "upstream"), TRANSLATED)
def test_T40_streamed_equals_whole(stage: Stage, client: str, upstream: str) -> None:
    @fuzz(30)
    @given(answers(seals=upstream != "chat"))  # a chat stream brings signatures when the text is long out
    def test(events: list[ev.Event]) -> None:
        streamed, whole = recited(upstream, events)

        def script(request: Request) -> Steps:
            return stream(streamed) if request.json.get("stream") else [respond(whole)]

        stage.play(script)
        assert grammar.GRAMMARS[client](stage.raw(client, upstream)) == "done"
        assert READERS[client](stage, upstream, True) == READERS[client](stage, upstream, False)

    test()


def as_json(arguments: str) -> Any:
    """What a call's arguments say: a whole messages answer holds an object, which is written anew."""
    try:
        return json.loads(arguments)
    except ValueError:
        return arguments


def _chat(stage: Stage, upstream: str, streamed: bool) -> Any:
    if streamed:
        options: Any = {"stream_options": {"include_usage": True}}
        with stage.oai.chat.completions.stream(model=f"{upstream}/m", messages=ASK, **options) as told:
            for _ in told:
                pass
            answer: Any = told.current_completion_snapshot  # the final one raises when the answer was cut
    else:
        answer = stage.oai.chat.completions.create(model=f"{upstream}/m", messages=ASK)
    choice = answer.choices[0]
    message = choice.message
    extra = message.model_extra or {}
    return {
        "content": message.content or "",
        "refusal": message.refusal or "",
        "reasoning": extra.get("reasoning_content") or "",
        "details": extra.get("reasoning_details") or [],
        "calls": [(call.function.name, as_json(call.function.arguments)) for call in message.tool_calls or []],
        "finish": choice.finish_reason,
        "usage": answer.usage and answer.usage.to_dict(),
        "model": answer.model,
    }


def _messages(stage: Stage, upstream: str, streamed: bool) -> Any:
    if streamed:
        with stage.ant.messages.stream(model=f"{upstream}/m", max_tokens=9000, messages=ASK) as told:
            answer: Any = told.get_final_message()
    else:
        answer = stage.ant.messages.create(model=f"{upstream}/m", max_tokens=9000, messages=ASK)
    content = [{key: value for key, value in block.to_dict().items() if key != "id" and value is not None} for block in answer.content]
    # a stream's usage names the tier before the upstream has said it, or not at all
    usage = {key: value for key, value in answer.usage.to_dict().items() if value is not None and key != "service_tier"}
    return content, answer.stop_reason, answer.stop_sequence, usage, answer.model


def _responses(stage: Stage, upstream: str, streamed: bool) -> Any:
    if streamed:
        told = list(stage.oai.responses.create(model=f"{upstream}/m", input="Hi", stream=True))
        answer: Any = told[-1].response
        assert [event.item for event in told if event.type == "response.output_item.done"] == sorted(
            answer.output, key=lambda item: _done_order(told, item)
        )
    else:
        answer = stage.oai.responses.create(model=f"{upstream}/m", input="Hi")
    output = [{key: value for key, value in item.to_dict().items() if key not in ("id", "call_id")} for item in answer.output]
    output = [item | {"arguments": as_json(item["arguments"])} if "arguments" in item else item for item in output]
    details = answer.incomplete_details and answer.incomplete_details.reason
    return output, answer.status, details, answer.usage and answer.usage.to_dict(), answer.model


def _done_order(told: list[Any], item: Any) -> int:
    return [event.item.id for event in told if event.type == "response.output_item.done"].index(item.id)


READERS = {"chat": _chat, "messages": _messages, "responses": _responses}


# ---- silence ----


@pytest.mark.slow
def test_T40_a_silent_upstream_does_not_make_a_silent_stream(stage: Stage) -> None:
    """The streams that have been silent since the session began."""
    for client, upstream, wire in stage.silent.streams:
        beat = b'event: ping\ndata: {"type": "ping"}\n\n' if client == "messages" else b": keep-alive\n\n"
        while not (piece := wire.chunk()).endswith(beat):  # what was sent before the silence may come in several pieces
            assert piece, (client, upstream)
    stage.silent.gate.open()
    for client, upstream, wire in stage.silent.streams:
        rest = b""
        while piece := wire.chunk():
            rest += piece
        assert rest.endswith(b"\n\n"), (client, upstream)
        assert {"chat": b"[DONE]", "messages": b"message_stop", "responses": b"response.completed"}[client] in rest


# ---- citations ----


def cited(text: str, *pieces: str) -> Block:
    location = {
        "type": "web_search_result_location",
        "url": f"https://example.org/{len(text)}",
        "title": "T",
        "cited_text": "c",
        "encrypted_index": "E",
    }
    block = said(*pieces, text)
    deltas = [{"type": "citations_delta", "citation": location}, *block.deltas]
    return block._replace(deltas=deltas, whole={**block.whole, "citations": [location]})


CITED = message(said("\U0001f600 first. "), cited("quoted", "\u00e9 "), said(" and "), cited("again"))
QUOTED = ["\u00e9 quoted", "again"]


@pytest.mark.parametrize("streamed", [True, False], ids=["streamed", "whole"])
def test_T40_citations_of_messages_for_chat(stage: Stage, streamed: bool) -> None:
    stage.play(CITED)
    if streamed:
        with stage.oai.chat.completions.stream(model="messages/m", messages=ASK) as told:
            for _ in told:
                pass
            found: Any = told.get_final_completion().choices[0].message.to_dict()
    else:
        found = stage.oai.chat.completions.create(model="messages/m", messages=ASK).choices[0].message.to_dict()
    places = [note["url_citation"] for note in found["annotations"]]
    assert [found["content"][place["start_index"] : place["end_index"]] for place in places] == QUOTED


@pytest.mark.parametrize("streamed", [True, False], ids=["streamed", "whole"])
def test_T40_citations_of_messages_for_responses(stage: Stage, streamed: bool) -> None:
    stage.play(CITED)
    if streamed:
        with stage.oai.responses.stream(model="messages/m", input="Hi") as told:
            answer: Any = told.get_final_response()
    else:
        answer = stage.oai.responses.create(model="messages/m", input="Hi")
    part = answer.output[0].content[0]
    assert [part.text[note.start_index : note.end_index] for note in part.annotations] == QUOTED
    assert [note.url for note in part.annotations] == ["https://example.org/6", "https://example.org/5"]
