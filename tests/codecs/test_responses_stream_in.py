"""A responses upstream's answers as hub events: literal frames, whole bodies, and whatever else a server may send."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dragoman.codecs import errors, machine, responses, sse
from dragoman.codecs import events as ev
from dragoman.codecs.reply import Reply
from dragoman.codecs.request import Request, Tool
from dragoman.codecs.tools import ToolMap
from dragoman.codecs.usage import Usage

HEAD: dict[str, Any] = {"id": "resp_1", "object": "response", "created_at": 7, "model": "gpt-x", "status": "in_progress", "output": []}
COUNTS = {
    "input_tokens": 1130,
    "input_tokens_details": {"cached_tokens": 1000, "cache_write_tokens": 100},
    "output_tokens": 50,
    "output_tokens_details": {"reasoning_tokens": 20},
    "total_tokens": 1180,
}
START = ev.Start("resp_1", "gpt-x", 7)
CREATED = ("created", {"response": HEAD})


def reply(tools: ToolMap | None = None, logprobs: bool = False) -> Reply:
    return Reply(Request("messages", "m", {}, include_logprobs=logprobs), tools=tools or ToolMap())


# an event of a stream: its type without "response.", and its members
Told = tuple[str, dict[str, Any]]


def frame(told: Told) -> sse.Frame:
    kind = told[0] if told[0] in ("error", "keepalive") else f"response.{told[0]}"
    return (kind.encode(), json.dumps({"type": kind, "sequence_number": 0, **told[1]}).encode())


def decode(*told: Told, clean: bool = True, tools: ToolMap | None = None, logprobs: bool = False) -> list[ev.Event]:
    decoder = responses.StreamDecoder(reply(tools, logprobs))
    events: list[ev.Event] = []
    for each in told:
        events += decoder.feed(frame(each))
    events += decoder.finish(clean)
    assert decoder.ended
    assert decoder.feed(frame(CREATED)) == []
    assert decoder.finish(True) == []
    machine.check(events)
    return events


def added(index: int, kind: str, **members: Any) -> Told:
    return ("output_item.added", {"output_index": index, "item": {"id": f"it_{index}", "type": kind, **members}})


def done(index: int, kind: str, **members: Any) -> Told:
    return ("output_item.done", {"output_index": index, "item": {"id": f"it_{index}", "type": kind, **members}})


def of(kind: str, index: int, **members: Any) -> Told:
    return (kind, {"item_id": f"it_{index}", "output_index": index, **members})


def text(index: int, words: str, content_index: int = 0, **more: Any) -> Told:
    return of("output_text.delta", index, content_index=content_index, delta=words, **more)


def summary(index: int, words: str, summary_index: int = 0) -> Told:
    return of("reasoning_summary_text.delta", index, summary_index=summary_index, delta=words)


def arguments(index: int, words: str) -> Told:
    return of("function_call_arguments.delta", index, delta=words)


def output_text(words: str, *annotations: dict[str, Any]) -> dict[str, Any]:
    return {"type": "output_text", "text": words, "annotations": list(annotations), "logprobs": []}


def completed(*output: dict[str, Any], status: str = "completed", **members: Any) -> Told:
    return (status, {"response": HEAD | {"status": status, "output": list(output)} | members})


def inside(*told: Told, **options: Any) -> list[ev.Event]:
    """The events of a stream without its first and last."""
    events = decode(CREATED, *told, completed(), **options)
    assert events[0] == START
    assert isinstance(events[-1], ev.Stop)
    return events[1:-1]


def fault(events: list[ev.Event]) -> errors.GatewayError:
    assert isinstance(events[-1], ev.Fault)
    return events[-1].error


# ---- the reference's own stream ----

CITATION = {"type": "url_citation", "url": "https://a", "title": "A", "start_index": 0, "end_index": 2}
REASONED = {
    "id": "it_0",
    "type": "reasoning",
    "summary": [{"type": "summary_text", "text": "plan"}, {"type": "summary_text", "text": "more"}],
    "encrypted_content": "E1",
}
SAID = {
    "id": "it_1",
    "type": "message",
    "role": "assistant",
    "status": "completed",
    "content": [output_text("Hi 😀", CITATION), {"type": "refusal", "refusal": "no"}],
}
CALLED = {"id": "it_2", "type": "function_call", "call_id": "call_1", "name": "f", "arguments": '{"a":1}', "status": "completed"}
TYPED = {"id": "it_3", "type": "custom_tool_call", "call_id": "call_2", "name": "sh", "input": "ls"}
SEARCHED = {"id": "it_4", "type": "web_search_call", "status": "completed"}
OUTPUT = [REASONED, SAID, CALLED, TYPED, SEARCHED]

EVERYTHING: list[Told] = [
    CREATED,
    ("in_progress", {"response": HEAD}),
    ("keepalive", {}),
    added(0, "reasoning", summary=[]),
    of("reasoning_summary_part.added", 0, summary_index=0, part={"type": "summary_text", "text": ""}),
    summary(0, "pl"),
    summary(0, "an"),
    of("reasoning_summary_text.done", 0, summary_index=0, text="plan"),
    of("reasoning_summary_part.done", 0, summary_index=0, part={"type": "summary_text", "text": "plan"}),
    of("reasoning_summary_part.added", 0, summary_index=1, part={"type": "summary_text", "text": ""}),
    summary(0, "more", 1),
    of("reasoning_summary_text.done", 0, summary_index=1, text="more"),
    of("reasoning_summary_part.done", 0, summary_index=1, part={"type": "summary_text", "text": "more"}),
    ("output_item.done", {"output_index": 0, "item": REASONED}),
    added(1, "message", role="assistant", status="in_progress", content=[]),
    of("content_part.added", 1, content_index=0, part=output_text("")),
    text(1, "Hi "),
    text(1, "😀", logprobs=[], obfuscation="xyz"),
    of("output_text.annotation.added", 1, content_index=0, annotation_index=0, annotation=CITATION),
    of("output_text.done", 1, content_index=0, text="Hi 😀"),
    of("content_part.done", 1, content_index=0, part=output_text("Hi 😀", CITATION)),
    of("content_part.added", 1, content_index=1, part={"type": "refusal", "refusal": ""}),
    of("refusal.delta", 1, content_index=1, delta="no"),
    of("refusal.done", 1, content_index=1, refusal="no"),
    of("content_part.done", 1, content_index=1, part={"type": "refusal", "refusal": "no"}),
    ("output_item.done", {"output_index": 1, "item": SAID}),
    added(2, "function_call", call_id="call_1", name="f", arguments="", status="in_progress"),
    added(3, "custom_tool_call", call_id="call_2", name="sh", input=""),
    arguments(2, '{"a":'),
    of("custom_tool_call_input.delta", 3, delta="ls"),
    arguments(2, "1}"),
    of("function_call_arguments.done", 2, arguments='{"a":1}'),
    ("output_item.done", {"output_index": 2, "item": CALLED}),
    of("custom_tool_call_input.done", 3, input="ls"),
    ("output_item.done", {"output_index": 3, "item": TYPED}),
    added(4, "web_search_call", status="in_progress"),
    of("web_search_call.searching", 4),
    ("output_item.done", {"output_index": 4, "item": SEARCHED}),
    completed(*OUTPUT, usage=COUNTS, service_tier="priority"),
]
END = [ev.Metered(Usage(input=1130, output=50, cache_read=1000, cache_write=100, reasoning=20, tier="priority")), ev.Stop("tool")]
SEAL = ev.Seal(0, "openai", "E1", "it_0", ("plan", "more"))


def test_a_stream_of_everything() -> None:
    assert decode(*EVERYTHING) == [
        START,
        ev.Ping(),
        ev.ReasoningStart(0),
        ev.Reasoning(0, "pl"),
        ev.Reasoning(0, "an"),
        ev.Reasoning(0, "\n\nmore"),
        SEAL,
        ev.PartStop(0),
        ev.TextStart(1),
        ev.Text(1, "Hi "),
        ev.Text(1, "😀"),
        ev.Citation(1, "https://a", "A", 0, 2),
        ev.PartStop(1),
        ev.Refusal("no"),
        ev.ToolStart(2, "call_1", "f"),
        ev.ToolStart(3, "call_2", "sh", "custom"),
        ev.Arguments(2, '{"a":'),
        ev.Arguments(3, "ls"),
        ev.Arguments(2, "1}"),
        ev.PartStop(2),
        ev.PartStop(3),
        ev.Opaque("output[4]:web_search_call"),
        *END,
    ]


WHOLE_EVENTS: list[ev.Event] = [
    START,
    ev.ReasoningStart(0),
    ev.Reasoning(0, "plan"),
    ev.Reasoning(0, "\n\nmore"),
    SEAL,
    ev.PartStop(0),
    ev.TextStart(1),
    ev.Text(1, "Hi 😀"),
    ev.Citation(1, "https://a", "A", 0, 2),
    ev.PartStop(1),
    ev.Refusal("no"),
    ev.ToolStart(2, "call_1", "f"),
    ev.Arguments(2, '{"a":1}'),
    ev.PartStop(2),
    ev.ToolStart(3, "call_2", "sh", "custom"),
    ev.Arguments(3, "ls"),
    ev.PartStop(3),
    ev.Opaque("output[4]:web_search_call"),
    *END,
]
WHOLE = HEAD | {"status": "completed", "output": OUTPUT, "usage": COUNTS, "service_tier": "priority"}


def test_a_whole_answer_is_the_same_events() -> None:
    events = responses.decode_response(WHOLE, reply())
    machine.check(events)
    assert events == WHOLE_EVENTS


def test_a_stream_that_is_its_last_event() -> None:
    assert decode(("completed", {"response": WHOLE})) == WHOLE_EVENTS
    assert decode(CREATED, ("completed", {"response": WHOLE})) == WHOLE_EVENTS


def test_a_stream_of_items_that_are_done() -> None:
    """No deltas at all: what Codex's own backend needs to send at least."""
    items: list[Told] = [("output_item.done", {"output_index": i, "item": item}) for i, item in enumerate(OUTPUT)]
    events = decode(CREATED, *items, completed(usage=COUNTS, service_tier="priority"))
    assert [e for e in events if not isinstance(e, ev.Opaque)] == [e for e in WHOLE_EVENTS if not isinstance(e, ev.Opaque)]


@pytest.mark.parametrize("place", [1, 3, 4, 5, 14, 15, 16, 26, 27, 28, 35, 38])
def test_what_the_stream_left_out_is_in_the_last_event(place: int) -> None:
    """From this place on nothing came but the last event."""
    events = decode(*EVERYTHING[:place], EVERYTHING[-1])
    for kind in (ev.Text, ev.Reasoning, ev.Arguments, ev.Refusal, ev.Seal, ev.ToolStart, ev.Opaque):
        assert said(events, kind) == said(WHOLE_EVENTS, kind)


def said(events: list[ev.Event], kind: type) -> str:
    """All that events of this kind say, part by part."""
    ordered = sorted((event for event in events if isinstance(event, kind)), key=lambda event: getattr(event, "part", 0))
    return "".join(getattr(event, "text", repr(event)) for event in ordered)


# ---- cut at every byte ----


def wire(told: list[Told], end: str, named: bool = True) -> bytes:
    out = ""
    for each in told:
        name, data = frame(each)
        out += (f"event: {name.decode()}{end}" if named else "") + f"data: {data.decode()}{end}{end}"
    return out.encode()


@pytest.mark.parametrize(("end", "named"), [("\n", True), ("\r\n", True), ("\r", True), ("\n", False)])
def test_cut_at_every_byte(end: str, named: bool) -> None:
    data = wire(EVERYTHING, end, named) + (b"" if named else b"data: [DONE]\n\n")
    wanted = decode(*EVERYTHING)
    for size in (1, 2, 3, 7, len(data)):
        splitter, decoder = sse.Splitter(), responses.StreamDecoder(reply())
        events: list[ev.Event] = []
        for place in range(0, len(data), size):
            for each in splitter.feed(data[place : place + size]):
                events += decoder.feed(each)
        for each in splitter.finish():
            events += decoder.feed(each)
        assert events + decoder.finish(True) == wanted
    for place in range(0, len(data), 101):
        splitter, decoder = sse.Splitter(), responses.StreamDecoder(reply())
        events = [event for piece in (data[:place], data[place:]) for each in splitter.feed(piece) for event in decoder.feed(each)]
        events += [event for each in splitter.finish() for event in decoder.feed(each)]
        assert events == wanted


# ---- one row of the mapping each ----

PART = ev.PartStop(0)


@pytest.mark.parametrize(
    ("told", "wanted"),
    [
        # text
        ([added(0, "message"), text(0, "a"), done(0, "message")], [ev.TextStart(0), ev.Text(0, "a"), PART]),
        ([text(0, "a")], [ev.TextStart(0), ev.Text(0, "a"), PART]),
        ([added(0, "message"), text(0, ""), done(0, "message", content=[])], []),
        ([added(0, "message"), of("content_part.added", 0, content_index=0, part=output_text(""))], []),
        ([of("output_text.done", 0, content_index=0, text="a")], [ev.TextStart(0), ev.Text(0, "a"), PART]),
        ([text(0, "a"), of("output_text.done", 0, content_index=0, text="a")], [ev.TextStart(0), ev.Text(0, "a"), PART]),
        (
            [of("content_part.done", 0, content_index=0, part=output_text("a", CITATION))],
            [ev.TextStart(0), ev.Text(0, "a"), ev.Citation(0, "https://a", "A", 0, 2), PART],
        ),
        (
            [text(0, "a", 0), text(0, "b", 1)],
            [ev.TextStart(0), ev.Text(0, "a"), PART, ev.TextStart(1), ev.Text(1, "b"), ev.PartStop(1)],
        ),
        (
            [text(0, "a"), done(0, "message"), text(1, "b"), done(1, "message")],
            [ev.TextStart(0), ev.Text(0, "a"), PART, ev.TextStart(1, apart=True), ev.Text(1, "b"), ev.PartStop(1)],
        ),
        # refusal
        ([of("refusal.delta", 0, content_index=0, delta="no")], [ev.Refusal("no")]),
        ([of("refusal.done", 0, content_index=0, refusal="no")], [ev.Refusal("no")]),
        ([of("refusal.delta", 0, content_index=0, delta="no"), of("refusal.done", 0, content_index=0, refusal="no")], [ev.Refusal("no")]),
        # reasoning
        ([added(0, "reasoning", summary=[]), done(0, "reasoning", summary=[])], []),
        (
            [done(0, "reasoning", summary=[], encrypted_content="E")],
            [ev.ReasoningStart(0), ev.Seal(0, "openai", "E", "it_0"), PART],
        ),
        (
            [summary(0, "a"), done(0, "reasoning", summary=[{"type": "summary_text", "text": "a"}])],
            [ev.ReasoningStart(0), ev.Reasoning(0, "a"), ev.Seal(0, "openai", "", "it_0", ("a",)), PART],
        ),
        (
            [of("reasoning_text.delta", 0, content_index=0, delta="a"), summary(0, "short"), done(0, "reasoning")],
            [ev.ReasoningStart(0), ev.Reasoning(0, "a"), ev.Seal(0, "openai", "", "it_0"), PART],
        ),
        (
            [of("reasoning_text.done", 0, content_index=0, text="a")],
            [ev.ReasoningStart(0), ev.Reasoning(0, "a"), ev.Seal(0, "openai", "", "it_0"), PART],
        ),
        (
            [done(0, "reasoning", content=[{"type": "reasoning_text", "text": "a"}, {"type": "reasoning_text", "text": "b"}])],
            [ev.ReasoningStart(0), ev.Reasoning(0, "a"), ev.Reasoning(0, "\n\nb"), ev.Seal(0, "openai", "", "it_0"), PART],
        ),
        # calls
        (
            [added(0, "function_call", call_id="c", name="f", arguments=""), done(0, "function_call", arguments="")],
            [ev.ToolStart(0, "c", "f"), PART],
        ),
        (
            [added(0, "function_call", call_id="c", name="f", arguments='{"a":1}'), done(0, "function_call", arguments='{"a":1}')],
            [ev.ToolStart(0, "c", "f"), ev.Arguments(0, '{"a":1}'), PART],
        ),
        (
            [added(0, "function_call", call_id="c", name="f"), of("function_call_arguments.done", 0, arguments="{}")],
            [ev.ToolStart(0, "c", "f"), ev.Arguments(0, "{}"), PART],
        ),
        (
            [done(0, "function_call", call_id="c", name="f", arguments="{}", namespace="n")],
            [ev.ToolStart(0, "c", "f", "function", "n"), ev.Arguments(0, "{}"), PART],
        ),
        (
            [done(0, "custom_tool_call", call_id="c", name="sh", input="ls")],
            [ev.ToolStart(0, "c", "sh", "custom"), ev.Arguments(0, "ls"), PART],
        ),
        # pieces before the name
        (
            [arguments(0, '{"a"'), added(0, "function_call", call_id="c", name="f"), arguments(0, ":1}")],
            [ev.ToolStart(0, "c", "f"), ev.Arguments(0, '{"a"'), ev.Arguments(0, ":1}"), PART],
        ),
        # a call closes the text before it
        (
            [text(0, "a"), added(1, "function_call", call_id="c", name="f"), text(0, "b")],
            [
                ev.TextStart(0), ev.Text(0, "a"), PART, ev.ToolStart(1, "c", "f"),
                ev.TextStart(2), ev.Text(2, "b"), ev.PartStop(1), ev.PartStop(2),
            ],
        ),
        # an index that two items claim is the first one's
        (
            [text(0, "a"), added(0, "function_call", call_id="c", name="f"), of("function_call_arguments.delta", 0, delta="{}")],
            [ev.TextStart(0), ev.Text(0, "a"), PART],
        ),
        (  # the same of a text that came as a part
            [
                of("content_part.done", 0, content_index=0, part=output_text("a")),
                added(0, "function_call", call_id="c", name="f"),
                of("function_call_arguments.delta", 0, delta="{}"),
            ],
            [ev.TextStart(0), ev.Text(0, "a"), PART],
        ),
        (
            [added(0, "function_call", call_id="c", name="f"), text(0, "a"), done(0, "function_call")],
            [ev.ToolStart(0, "c", "f"), PART],
        ),
        # what only this shape has
        (
            [added(0, "mcp_call"), of("mcp_call_arguments.delta", 0, delta="{}"), done(0, "mcp_call"), text(1, "a")],
            [ev.Opaque("output[0]:mcp_call"), ev.TextStart(0), ev.Text(0, "a"), PART],
        ),
        ([("audio.delta", {"delta": "x"}), ("of_tomorrow", {}), ("output_text.of_tomorrow", {})], []),
        (
            [text(0, "a"), of("output_text.annotation.added", 0, content_index=0, annotation={"type": "file_citation", "file_id": "x"})],
            [ev.TextStart(0), ev.Text(0, "a"), ev.Opaque("output[0].content[0].annotations[0]:file_citation"), PART],
        ),
    ],
)  # fmt: skip
def test_rows(told: list[Told], wanted: list[ev.Event]) -> None:
    found = inside(*told)
    order = {id(event): place for place, event in enumerate(found)}
    assert sorted(found, key=lambda e: order[id(e)]) == found
    if wanted and isinstance(wanted[-1], ev.PartStop) and len(wanted) > 6:  # parts still open at the end close in any order
        assert sorted(map(repr, found)) == sorted(map(repr, wanted))
    else:
        assert found == wanted


def test_messages_that_overlap_come_one_after_the_other() -> None:
    events = inside(
        added(0, "message"), added(1, "message"), text(0, "a"), text(1, "x"), text(0, "b"), text(1, "y"),
        done(1, "message", content=[output_text("xy")]), done(0, "message", content=[output_text("ab")]),
    )  # fmt: skip
    assert events == [
        ev.TextStart(0), ev.Text(0, "a"), ev.Text(0, "b"), PART,
        ev.TextStart(1, apart=True), ev.Text(1, "x"), ev.Text(1, "y"), ev.PartStop(1),
    ]  # fmt: skip


def test_an_item_that_waited_is_over_when_it_is_done() -> None:
    late = decode(
        added(0, "message"), text(0, "a"), added(1, "message"), text(1, "b"), done(1, "message"), text(1, "late"), done(0, "message"),
        completed(),
    )  # fmt: skip
    assert [event.text for event in late if isinstance(event, ev.Text)] == ["a", "b"]


def test_calls_may_be_open_together() -> None:
    events = inside(
        added(0, "function_call", call_id="a", name="f"), added(1, "function_call", call_id="b", name="g"), arguments(0, '{"x":'),
        arguments(1, '{"y":2}'), arguments(0, "1}"), done(1, "function_call"), done(0, "function_call"),
    )  # fmt: skip
    assert events == [
        ev.ToolStart(0, "a", "f"), ev.ToolStart(1, "b", "g"), ev.Arguments(0, '{"x":'), ev.Arguments(1, '{"y":2}'),
        ev.Arguments(0, "1}"), ev.PartStop(1), ev.PartStop(0),
    ]  # fmt: skip


def test_logprobs_only_for_who_asked() -> None:
    entries = [{"token": "a", "logprob": -0.1}]
    assert inside(text(0, "a", logprobs=entries), logprobs=True)[1] == ev.Text(0, "a", entries)
    assert inside(text(0, "a", logprobs=entries))[1] == ev.Text(0, "a")
    assert inside(text(0, "a", logprobs=[]), logprobs=True)[1] == ev.Text(0, "a")


def test_names_are_the_clients_again() -> None:
    tools = ToolMap(native_custom=False)
    request = Request("responses", "m", {})
    tools.declare(request, Tool("custom", "patch", ("tools", 0)))
    tools.declare(request, Tool("function", "go", ("tools", 1), namespace="ns"))
    events = inside(
        added(0, "function_call", call_id="a", name="patch"), arguments(0, '{"input":"x\\n\\ud83d'), arguments(0, '\\ude00"}'),
        done(0, "function_call"), done(1, "function_call", call_id="b", name="ns__go", arguments="{}"), tools=tools,
    )  # fmt: skip
    assert events[0] == ev.ToolStart(0, "a", "patch", "custom")
    assert "".join(e.text for e in events if isinstance(e, ev.Arguments) and e.part == 0) == "x\n😀"
    assert events[-3] == ev.ToolStart(1, "b", "go", "function", "ns")


def test_an_emoji_cut_in_two() -> None:
    events = inside(text(0, "a\ud83d"), text(0, "\ude00b"), text(0, "c\ud83d"), done(0, "message"))
    assert events == [ev.TextStart(0), ev.Text(0, "a"), ev.Text(0, "😀b"), ev.Text(0, "c"), ev.Text(0, "\ufffd"), PART]
    events = inside(added(0, "function_call", call_id="c", name="f"), arguments(0, '{"a":"\ud83d'), arguments(0, '\ude00"}'))
    assert "".join(e.text for e in events if isinstance(e, ev.Arguments)) == '{"a":"😀"}'
    whole = responses.decode_response(HEAD | {"status": "completed", "model": "\ud83d", "output": []}, reply())
    assert whole[0] == ev.Start("resp_1", "\ufffd", 7)


# ---- oddities ----


def test_ids_that_change_in_mid_stream() -> None:
    """As Copilot has them: every event names another id, and so does the final list."""
    told = [(kind, json.loads(json.dumps(members).replace("it_", f"odd{number}_"))) for number, (kind, members) in enumerate(EVERYTHING)]
    events = decode(*told)
    wanted = decode(*EVERYTHING)
    assert [e for e in events if not isinstance(e, ev.Seal)] == [e for e in wanted if not isinstance(e, ev.Seal)]


def test_indexes_that_are_missing() -> None:
    told: list[Told] = []
    for kind, members in EVERYTHING:
        told.append((kind, {key: value for key, value in members.items() if key != "output_index"}))
    assert decode(*told) == decode(*EVERYTHING)


def test_an_empty_final_list_takes_nothing_back() -> None:
    events = decode(*EVERYTHING[:-1], completed(usage=COUNTS, service_tier="priority"))
    assert events == decode(*EVERYTHING)


def test_the_event_field_names_what_the_json_does_not() -> None:
    decoder = responses.StreamDecoder(reply())
    assert decoder.feed((b"response.created", json.dumps({"response": HEAD}).encode())) == [START]
    assert decoder.feed((b"response.completed", b'{"type":"keepalive"}')) == [ev.Ping()]


@pytest.mark.parametrize("first", ["queued", "in_progress", "created"])
def test_it_begins_once(first: str) -> None:
    assert decode((first, {"response": HEAD}), CREATED, ("in_progress", {"response": HEAD}), completed()) == [START, ev.Stop("end")]


@pytest.mark.parametrize(("said", "read"), [(7.5, 7), (10**40, 0), (-1, 0), ("7", 0), (None, 0)])
def test_when_it_began(said: Any, read: int) -> None:
    assert decode(("created", {"response": HEAD | {"created_at": said}}), completed())[0] == ev.Start("resp_1", "gpt-x", read)


def test_a_stream_without_a_beginning() -> None:
    assert decode(text(0, "a"), completed())[:3] == [ev.Start("", "", 0), ev.TextStart(0), ev.Text(0, "a")]


def test_no_usage_is_no_zero() -> None:
    assert decode(CREATED, completed(usage=None)) == [START, ev.Stop("end")]


# ---- how it ends ----


@pytest.mark.parametrize(
    ("status", "details", "wanted"),
    [
        ("completed", None, "end"),
        ("incomplete", {"reason": "max_output_tokens"}, "length"),
        ("incomplete", {"reason": "content_filter"}, "filter"),
        ("incomplete", {"reason": "of_tomorrow"}, "length"),
        ("incomplete", None, "length"),
    ],
)
def test_stop_reasons(status: str, details: Any, wanted: str) -> None:
    assert decode(CREATED, completed(status=status, incomplete_details=details))[-1] == ev.Stop(wanted)
    body = HEAD | {"status": status, "output": [], "incomplete_details": details}
    assert responses.decode_response(body, reply())[-1] == ev.Stop(wanted)


def test_a_limit_goes_before_a_call() -> None:
    call = done(0, "function_call", call_id="c", name="f", arguments='{"a')
    assert decode(CREATED, call, completed())[-1] == ev.Stop("tool")
    cut = completed(status="incomplete", incomplete_details={"reason": "max_output_tokens"})
    assert decode(CREATED, call, cut)[-1] == ev.Stop("length")


def test_the_events_name_says_what_its_response_does_not() -> None:
    incomplete = ("incomplete", {"response": {"incomplete_details": {"reason": "max_output_tokens"}}})
    assert decode(CREATED, incomplete)[-1] == ev.Stop("length")


@pytest.mark.parametrize("clean", [True, False])
def test_without_a_last_event_the_end_is_a_fault(clean: bool) -> None:
    for place in range(len(EVERYTHING)):
        assert isinstance(fault(decode(*EVERYTHING[:place], clean=clean)), errors.Truncated)


FAILURE = {"code": "rate_limit_exceeded", "message": "slow down"}


@pytest.mark.parametrize(
    ("told", "kind", "message"),
    [
        (("failed", {"response": HEAD | {"status": "failed", "error": FAILURE}}), "rate_limit", "slow down"),
        (("completed", {"response": HEAD | {"status": "failed", "error": FAILURE}}), "rate_limit", "slow down"),
        (("error", {**FAILURE, "param": None}), "rate_limit", "slow down"),
        (("error", {"error": {**FAILURE, "type": "tokens", "param": None}}), "rate_limit", "slow down"),
        (("cancelled", {"response": HEAD | {"status": "cancelled"}}), "bad_gateway", "The upstream cancelled its answer."),
        (("completed", {"response": HEAD | {"status": "cancelled"}}), "bad_gateway", "The upstream cancelled its answer."),
    ],
)
def test_the_providers_own_error(told: Told, kind: str, message: str) -> None:
    error = fault(decode(CREATED, text(0, "a"), told))
    assert (error.kind, error.message) == (kind, message)


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (HEAD | {"status": "failed", "error": FAILURE}, "rate_limit"),
        ({"error": FAILURE}, "rate_limit"),
        (HEAD | {"status": "in_progress"}, "bad_gateway"),
        ({"choices": []}, "bad_gateway"),
    ],
)
def test_whole_answers_that_are_none(body: dict[str, Any], kind: str) -> None:
    events = responses.decode_response(body, reply())
    machine.check(events)
    assert fault(events).kind == kind


@pytest.mark.parametrize("data", [b"{", b"[1]", b"7", b"null", b'"x"', b"NaN", b"\xff\xfe"])
def test_what_is_no_event_is_garbled(data: bytes) -> None:
    decoder = responses.StreamDecoder(reply())
    assert isinstance(fault(decoder.feed((b"", data))), errors.Garbled)


@pytest.mark.parametrize("kind", [["response.output_text.delta"], {}, 7, None, True])
def test_a_type_that_is_none_is_ignored(kind: Any) -> None:
    decoder = responses.StreamDecoder(reply())
    assert decoder.feed((b"", json.dumps({"type": kind, "output_index": 0, "delta": "a"}).encode())) == []


def test_done_of_compatible_servers() -> None:
    decoder = responses.StreamDecoder(reply())
    assert decoder.feed((b"", b"[DONE]")) == decoder.feed((b"", b" [DONE] ")) == []


def test_a_call_without_a_name_is_garbled_and_the_end() -> None:
    assert isinstance(fault(decode(CREATED, arguments(0, "{}"), done(0, "function_call", arguments="{}"))), errors.Garbled)
    body = HEAD | {"output": [{"type": "function_call", "arguments": "{}"}, CALLED], "status": "completed"}
    events = responses.decode_response(body, reply())
    machine.check(events)
    assert isinstance(fault(events), errors.Garbled)


def test_items_cannot_be_opened_without_end() -> None:
    many = [added(i, "function_call", call_id=f"c{i}", name="f") for i in range(1000)]
    assert isinstance(fault(decode(CREATED, *many)), errors.Garbled)


# ---- any stream ----

_SCALARS = st.none() | st.booleans() | st.integers(-2, 3) | st.text(max_size=3) | st.sampled_from(["message", "reasoning", "function_call"])
_KEYS = ("type", "id", "name", "call_id", "text", "content", "summary", "arguments", "encrypted_content", "status", "output", "error")
_JSON = st.recursive(
    _SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(_KEYS), inner, max_size=4), max_leaves=8
)
_MEMBERS = ("output_index", "content_index", "summary_index", "item_id", "item", "part", "delta", "text", "arguments", "response", "error")
_VALUES = st.dictionaries(st.sampled_from(_MEMBERS), _JSON, max_size=5)
_TOLD = st.tuples(st.sampled_from(sorted({kind for kind, _ in EVERYTHING} | {"failed", "incomplete", "error"})), _VALUES)


@given(st.lists(_TOLD, max_size=12), st.booleans())
def test_no_json_breaks_the_order_of_events(told: list[Told], clean: bool) -> None:
    decode(*told, clean=clean)


@given(_VALUES | _JSON.filter(lambda value: isinstance(value, dict)))
def test_no_body_breaks_the_order_of_events(body: dict[str, Any]) -> None:
    for value in (body, {"object": "response", **body}):
        machine.check(responses.decode_response(value, reply()))


@given(st.binary(max_size=20))
def test_no_bytes_raise(data: bytes) -> None:
    decoder = responses.StreamDecoder(reply())
    machine.check(decoder.feed((b"", data)), whole=False)
    responses.Observer(reply()).feed((b"", data))


# ---- the observer ----


def test_observer_sees_what_the_decoder_sees() -> None:
    observer = responses.Observer(reply())
    for each in EVERYTHING[:3]:
        observer.feed(frame(each))
    observer.feed(frame(added(0, "reasoning", summary=[])))
    observer.feed(frame(added(1, "message", content=[])))
    assert not observer.content
    observer.feed(frame(text(1, "a")))
    assert observer.content
    for each in EVERYTHING[8:-1]:
        observer.feed(frame(each))
    assert not observer.proof
    assert not observer.completed(True)
    observer.feed(frame(EVERYTHING[-1]))
    assert observer.proof
    assert observer.completed(False)
    assert (observer.stop, observer.error) == ("tool", None)
    assert observer.usage == Usage(input=1130, output=50, cache_read=1000, cache_write=100, reasoning=20, tier="priority")


def test_observer_of_a_stream_without_event_fields() -> None:
    observer = responses.Observer(reply())
    for each in EVERYTHING:
        observer.feed((b"", frame(each)[1]))
    assert observer.proof
    assert observer.stop == "tool"


def test_observer_of_failures() -> None:
    for told in (("failed", {"response": HEAD | {"status": "failed", "error": FAILURE}}), ("error", FAILURE)):
        observer = responses.Observer(reply())
        observer.feed(frame(text(0, "a")))
        observer.feed(frame(told))
        assert observer.error is not None
        assert observer.error.kind == "rate_limit"
        assert not observer.proof


def test_observer_of_a_whole_answer() -> None:
    observer = responses.Observer(reply())
    observer.observe_whole(WHOLE)
    assert observer.content
    assert observer.proof
    assert observer.stop == "tool"
    observer = responses.Observer(reply())
    observer.observe_whole({"error": FAILURE})
    assert observer.error is not None
    assert not observer.content
