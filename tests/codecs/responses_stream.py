"""What a responses client gets of an answer: streamed, collected, as its vendor's accumulator has it; and how its events are written."""

from __future__ import annotations

import json
from typing import Any

import orjson
from openai import omit
from openai.lib.streaming.responses._responses import ResponseStreamState
from openai.types.responses import Response, ResponseStreamEvent
from pydantic import TypeAdapter

from dragoman.codecs import events as ev
from dragoman.codecs import machine, responses, sse
from dragoman.codecs.ids import digest
from dragoman.codecs.reply import Reply
from dragoman.codecs.request import Request
from dragoman.codecs.usage import Usage

from .grammar import GRAMMARS
from .wire import Wire

START = ev.Start("msg_1", "claude-x", 0)
USAGE = Usage(input=1130, output=50, cache_read=1000, cache_write=100, reasoning=20)
EVENT: TypeAdapter[Any] = TypeAdapter(ResponseStreamEvent)


def reply(upstream: str = "chat", **body: Any) -> Reply:
    request = Request("responses", "asked", {"model": "asked", "input": "q"} | body)
    request.summary = body.get("reasoning", {}).get("summary")
    request.include_logprobs = "include" in body
    return Reply(request, domain="ant", upstream=upstream, nonce="0" * 32, created=9, completed=11, response_id="resp_1")


def stream(told: Reply, events: list[ev.Event]) -> list[dict[str, Any]]:
    """What the client reads; fed at once and one by one gives the same bytes, and the grammar holds."""
    once = Wire("responses", told).feed(events)
    encoder = Wire("responses", told)
    assert b"".join(encoder.feed([event]) for event in events) == once
    assert encoder.feed([ev.Ping(), ev.Text(0, "late")]) == encoder.keep_alive() == b""
    GRAMMARS["responses"](once)
    splitter = sse.Splitter()
    values = [orjson.loads(data) for _, data in splitter.feed(once)]
    assert splitter.boundary
    return values


def collect(told: Reply, events: list[ev.Event]) -> dict[str, Any]:
    collector = responses.Collector(told)
    for event in events:
        collector.feed([event])
    assert collector.error is None
    body: dict[str, Any] = orjson.loads(orjson.dumps(collector.body()))
    Response.model_validate(body)
    return body


def judged(values: list[dict[str, Any]]) -> dict[str, Any]:
    """The response that the vendor's SDK makes of a stream, of which every event must be what its types say."""
    state: ResponseStreamState[Any] = ResponseStreamState(input_tools=omit, text_format=omit)
    for value in values:
        state.handle_event(EVENT.validate_python(value))
    final = values[-1]
    assert state._completed_response is not None or final["type"] == "response.incomplete"
    if state._completed_response is not None:
        told: dict[str, Any] = state._completed_response.to_dict(exclude_unset=False, exclude_none=True)
        return told
    return final["response"]  # type: ignore[no-any-return]


def item_id(index: int, prefix: str) -> str:
    return f"{prefix}_{digest(f'resp_1:{index}', 32)}"


def short(values: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Events with their items' ids as places, without their numbers, responses by their status."""
    text = json.dumps(values)
    for index in range(8):
        for prefix in ("rs", "msg", "fc", "ctc"):
            text = text.replace(item_id(index, prefix), f"{prefix}_{index}")
    found = []
    for number, value in enumerate(json.loads(text)):
        assert value.pop("sequence_number") == number
        value["type"] = value["type"].removeprefix("response.")
        if "response" in value:
            value["response"] = value["response"]["status"]
        found.append(value)
    return found


def between(told: Reply, *events: ev.Event, reason: str = "end") -> list[dict[str, Any]]:
    """The events of items in an answer made of these parts; and the SDK makes of them what is collected."""
    whole: list[ev.Event] = [START, *events, ev.Stop(reason)]
    machine.check(whole)
    values = stream(told, whole)
    body = collect(told, whole)
    final = judged(values)
    assert plain(final["output"]) == plain(body["output"])
    return short(values)[2:-1]


def plain(value: Any) -> Any:
    """Without what the SDK's types add: nulls, and what it parsed."""
    if isinstance(value, dict):
        return {key: plain(member) for key, member in value.items() if member is not None and key not in ("parsed", "parsed_arguments")}
    return [plain(member) for member in value] if isinstance(value, list) else value


def at(index: int, prefix: str, **more: Any) -> dict[str, Any]:
    return {"item_id": f"{prefix}_{index}", "output_index": index, **more}


def opened(index: int, **item: Any) -> dict[str, Any]:
    return {"type": "output_item.added", "output_index": index, "item": item}


def closed(index: int, **item: Any) -> dict[str, Any]:
    return {"type": "output_item.done", "output_index": index, "item": item}


def output_text(text: str, *annotations: Any) -> dict[str, Any]:
    return {"type": "output_text", "text": text, "annotations": list(annotations), "logprobs": []}


def message(index: int, *content: Any, status: str = "completed") -> dict[str, Any]:
    return {"id": f"msg_{index}", "type": "message", "role": "assistant", "status": status, "content": list(content)}


def said(index: int, *pieces: str, status: str = "completed") -> list[dict[str, Any]]:
    """The events of a message that is nothing but text."""
    text, here = "".join(pieces), at(index, "msg", content_index=0)
    return [
        opened(index, **message(index, status="in_progress")),
        {"type": "content_part.added", **here, "part": output_text("")},
        *({"type": "output_text.delta", **here, "delta": piece, "logprobs": []} for piece in pieces),
        {"type": "output_text.done", **here, "text": text, "logprobs": []},
        {"type": "content_part.done", **here, "part": output_text(text)},
        closed(index, **message(index, output_text(text), status=status)),
    ]


def function(index: int, id: str, name: str, text: str = "", status: str = "completed", **more: Any) -> dict[str, Any]:
    head = {"id": f"fc_{index}", "type": "function_call", "call_id": id, "name": name}
    return {**head, **more, "arguments": text, "status": status}


def called(index: int, id: str, name: str, *pieces: str, status: str = "completed", **more: Any) -> list[dict[str, Any]]:
    text, here = "".join(pieces), at(index, "fc")
    return [
        opened(index, **function(index, id, name, status="in_progress", **more)),
        *({"type": "function_call_arguments.delta", **here, "delta": piece} for piece in pieces),
        {"type": "function_call_arguments.done", **here, "arguments": text},
        closed(index, **function(index, id, name, text, status, **more)),
    ]


def reasoned(index: int, *runs: list[str], kind: str = "summary", **more: Any) -> list[dict[str, Any]]:
    """kind: where it is shown, summary or content."""
    part = "summary_text" if kind == "summary" else "reasoning_text"
    text, parts = ("reasoning_summary_text", "reasoning_summary_part") if kind == "summary" else ("reasoning_text", "content_part")
    empty: dict[str, Any] = {"summary": []} if kind == "summary" else {"summary": [], "content": []}
    found = [opened(index, id=f"rs_{index}", type="reasoning", **empty)]
    for number, pieces in enumerate(runs):
        here = at(index, "rs", **{f"{kind}_index": number})
        found += [
            {"type": f"{parts}.added", **here, "part": {"type": part, "text": ""}},
            *({"type": f"{text}.delta", **here, "delta": piece} for piece in pieces),
            {"type": f"{text}.done", **here, "text": "".join(pieces)},
            {"type": f"{parts}.done", **here, "part": {"type": part, "text": "".join(pieces)}},
        ]
    filled = empty | {kind: [{"type": part, "text": "".join(pieces)} for pieces in runs]}
    return [*found, closed(index, id=f"rs_{index}", type="reasoning", **filled, **more, status="completed")]
