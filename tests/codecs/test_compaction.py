"""Compaction: the envelope, the request for a summary, and what becomes of its answer."""

from __future__ import annotations

import base64
import hashlib
from typing import Any

import orjson
import pytest
from openai.types.responses import ResponseStreamEvent
from pydantic import TypeAdapter

from dragoman.codecs import compaction, errors, responses, sse
from dragoman.codecs import events as ev
from dragoman.codecs.capabilities import Capabilities
from dragoman.codecs.ledger import STORED, Ledger, Path
from dragoman.codecs.machine import check
from dragoman.codecs.registry import SHAPES
from dragoman.codecs.reply import Reply
from dragoman.codecs.request import Request
from dragoman.codecs.responses.scrub import scrub
from dragoman.codecs.scrub import is_foreign
from dragoman.codecs.usage import Usage

from .grammar import GRAMMARS
from .wire import Wire

Item = dict[str, Any]
EVENT: TypeAdapter[Any] = TypeAdapter(ResponseStreamEvent)

TRIGGER = {"type": "compaction_trigger"}
A, B, C = ({"type": "message", "role": role, "content": text} for role, text in (("user", "A"), ("assistant", "B"), ("user", "C")))
CALL = {"type": "function_call", "call_id": "c1", "name": "f", "arguments": "{}"}
OUTPUT = {"type": "function_call_output", "call_id": "c1", "output": "4"}


def sealed(summary: str = "S", **more: Any) -> Item:
    return {"type": "compaction", "id": "cmp_1", "encrypted_content": compaction.seal(summary, "m", 7, 9), **more}


def envelope(inside: Any) -> str:
    data = inside if isinstance(inside, bytes) else orjson.dumps(inside)
    return "dgc1." + base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def decoded(*items: Any, **fields: Any) -> Request:
    return responses.decode_request({"model": "m", "input": list(items), **fields})


# ---- the envelope ----


@pytest.mark.parametrize("summary", ["S", "Ünïcode \u2028 \N{PILE OF POO}", "a" * compaction.LONGEST, '"}', "\ud83d half"])
def test_the_envelope(summary: str) -> None:
    text = compaction.seal(summary, "alias", 1795915226, 183442)
    assert set(text[5:]) <= set("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_")
    assert compaction.unseal(text) == summary
    assert text == compaction.seal(summary, "alias", 1795915226, 183442), "the same bytes each time"


def test_what_it_holds() -> None:
    """R28."""
    inside = orjson.loads(base64.urlsafe_b64decode(compaction.seal("S", "alias", 5, 9)[5:] + "=="))
    assert inside == {"k": "s", "s": "S", "m": "alias", "t": 5, "n": 9, "h": hashlib.sha256(b"S").hexdigest()[:16]}


_GOOD = {"k": "s", "s": "S", "h": hashlib.sha256(b"S").hexdigest()[:16]}


@pytest.mark.parametrize(
    "text",
    [
        "dgc1.",
        "dgc1.*",
        "dgc1.é",
        "dgc1.AAAA",
        envelope(b"{"),
        envelope([1]),
        envelope(_GOOD | {"k": "x"}),
        envelope(_GOOD | {"s": "T"}),
        envelope(_GOOD | {"h": "0" * 16}),
        envelope(_GOOD | {"s": 7}),
        envelope(_GOOD | {"s": " ", "h": hashlib.sha256(b" ").hexdigest()[:16]}),
        compaction.seal("a" * (compaction.LONGEST + 1), "m", 7, 9),
        "dgc1." + "A" * compaction.LONGEST_ENVELOPE,
        "dgc2.abc",
        "dgc1." + envelope(_GOOD)[5:].replace("y", "z", 1),  # one byte is changed
    ],
)
def test_damaged(text: str) -> None:
    """R31."""
    assert compaction.is_sealed(text)
    assert compaction.unseal(text) is None
    with pytest.raises(errors.ClientFault) as caught:
        decoded(A, sealed(encrypted_content=text), C)
    assert (caught.value.code, caught.value.param) == ("invalid_encrypted_content", "input[1].encrypted_content")
    assert text[:64] not in caught.value.message


def test_every_byte_that_is_changed_is_seen() -> None:
    text = compaction.seal("What was said.", "m", 7, 9)
    inside = base64.urlsafe_b64decode(text[5:] + "=" * (-len(text[5:]) % 4))
    begin, end = inside.index(b"What"), inside.index(b"said.") + 5
    for place in range(begin, end):
        changed = inside[:place] + bytes([inside[place] ^ 1]) + inside[place + 1 :]
        assert compaction.unseal(envelope(changed)) is None


# ---- where it stands ----

TOLD = compaction.as_message("S")
D = {"role": "developer", "content": "D"}

HISTORIES: list[tuple[list[Item], list[Item]]] = [
    ([A, B, sealed(), C], [A, {"role": "user", "content": TOLD}, C]),
    ([A, CALL, OUTPUT, B, sealed(), C], [A, {"role": "user", "content": TOLD}, C]),
    ([A, CALL, sealed(), C], [A, {"role": "user", "content": TOLD}, C]),
    ([OUTPUT, sealed(), C], [{"role": "user", "content": TOLD}, C]),
    ([A, sealed("old"), B, C, sealed()], [A, C, {"role": "user", "content": TOLD}]),
    ([A, sealed(encrypted_content="gAAAA"), sealed(type="compaction_summary")], [A, {"role": "user", "content": TOLD}]),
    ([A, sealed(encrypted_content="dgc1.damaged"), sealed(type="context_compaction")], [A, {"role": "user", "content": TOLD}]),
    (
        [{"role": "developer", "content": "D"}, B, sealed(), B],
        [{"role": "developer", "content": "D"}, {"role": "user", "content": TOLD}, B],
    ),
]


@pytest.mark.parametrize(("items", "sent"), HISTORIES)
def test_a_summary_in_the_input(items: list[Item], sent: list[Item]) -> None:
    """R29: over every API the same, also over its own."""
    turns = [(turn.role, "".join(part.text for part in turn.parts)) for turn in decoded(*items).turns]  # type: ignore[union-attr]
    wanted = [(item["role"], item["content"]) for item in sent]
    assert turns == wanted
    body = {"model": "m", "input": items}
    ledger = Ledger()
    assert is_foreign(orjson.dumps(body), SHAPES["responses"].marks)
    scrub(body, Capabilities(), ledger)
    found = [
        (item["role"], item["content"] if isinstance(item["content"], str) else item["content"][0]["text"])
        for item in body["input"]  # type: ignore[attr-defined]
    ]
    assert found == wanted
    assert ledger.names(ledger.adapted, body) == ["input[*]"]
    assert not ledger.dropped
    assert b"dgc1." not in orjson.dumps(body)


def test_what_is_ours_alone_is_changed() -> None:
    foreign = sealed(encrypted_content="gAAAA")
    body = {"input": [A, B, foreign, C]}
    ledger = Ledger()
    scrub(body, Capabilities(), ledger)
    assert body == {"input": [A, B, foreign, C]}
    assert not ledger.adapted
    with pytest.raises(errors.UnsupportedContent) as caught:
        decoded(A, foreign)
    assert caught.value.param == "input[1]"
    assert "compaction" in caught.value.message


@pytest.mark.parametrize(
    ("items", "found"),
    [
        ([A, B], False),
        ([sealed()], False),
        ([sealed(encrypted_content="x")], True),
        ([sealed(encrypted_content="x"), sealed()], False),
        ([sealed(), sealed(encrypted_content="x")], True),
        ([sealed(encrypted_content=None)], True),
        ([7, None, {"type": ["compaction"]}], False),
    ],
)
def test_what_only_its_maker_can_read(items: list[Any], found: bool) -> None:
    assert responses.foreign(items) is found


def test_tools_that_were_declared_in_mid_conversation_stay() -> None:
    tools = {"type": "additional_tools", "role": "developer", "tools": [{"type": "function", "name": "late", "parameters": {}}]}
    assert [tool.name for tool in decoded(A, tools, B, sealed(), C).tools] == ["late"]


# ---- the trigger ----


def test_a_trigger_asks() -> None:
    request = decoded(A, B, C, TRIGGER | {"id": "x"})
    assert request.compacts
    assert [turn.role for turn in request.turns] == ["user", "assistant", "user"]
    assert not decoded(A).compacts
    assert responses.asked({"input": [A, TRIGGER]})
    for body in ({}, {"input": "x"}, {"input": []}, {"input": [A]}, {"input": [TRIGGER, A]}, {"input": [7]}, {"input": None}):
        assert not responses.asked(body)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("items", "param", "words"),
    [
        ([A, TRIGGER, C], "input[1]", "last"),
        ([TRIGGER, TRIGGER], "input[0]", "last"),
        ([TRIGGER], "input", "nothing"),
        ([sealed(encrypted_content="x"), TRIGGER], "input[0]", "not supported"),
        ([A, CALL, TRIGGER], "input", "No tool output found for function call c1."),
    ],
)
def test_refused_triggers(items: list[Item], param: str, words: str) -> None:
    with pytest.raises(errors.ClientFault) as caught:
        decoded(*items)
    assert caught.value.param == param
    assert words in caught.value.message


def test_a_trigger_that_was_answered_asks_nothing() -> None:
    stored = [A, TRIGGER, sealed()]
    request = responses.decode_request({"model": "m", "input": [C]}, [*stored, C])
    assert not request.compacts
    assert [turn.path[0] for turn in request.turns] == [STORED, STORED, "input"]
    failed = responses.decode_request({"model": "m", "input": [C]}, [A, TRIGGER, C])
    assert [turn.role for turn in failed.turns] == ["user", "user"]


# ---- the request for a summary ----

TOOL = {"type": "function", "name": "f", "parameters": {"type": "object", "properties": {}}}


@pytest.mark.parametrize("upstream", SHAPES)
@pytest.mark.parametrize(
    ("choice", "chat", "messages"),
    [
        (None, None, None),
        ("auto", "auto", {"type": "auto"}),
        ("none", "none", {"type": "none"}),
        ("required", "auto", {"type": "auto"}),
        ({"type": "function", "name": "f"}, "auto", {"type": "auto"}),
    ],
)
def test_the_request(upstream: str, choice: Any, chat: Any, messages: Any) -> None:
    """All that an upstream may have in its cache is as it was; what says how another answer is to look is not."""
    asked: Item = {"instructions": "I", "tools": [TOOL], "tool_choice": choice, "reasoning": {"effort": "high"}, "max_output_tokens": 99}
    form = {"text": {"format": {"type": "json_object"}}, "top_logprobs": 3}
    able = Capabilities(g_thinking="level")
    before = SHAPES[upstream].encode_request(decoded(A, B, C, **asked), able, "up").body
    request = decoded(A, B, C, TRIGGER, **asked, **form)
    compaction.ask(request, "Sum up.", 500)
    body = SHAPES[upstream].encode_request(request, able, "up").body
    assert (request.ledger.dropped, request.ledger.adapted) == ([], [])
    where = {"responses": "input", "gemini": "contents"}.get(upstream, "messages")
    assert body[where][:-1] == (before[where] if upstream != "messages" else before[where][:-1])
    assert orjson.dumps(body[where][-1]).count(b"Sum up.") == 1
    assert body.get("tools") == before.get("tools")
    assert body.get("system") == before.get("system")
    if upstream == "gemini":
        assert body.get("toolConfig") == (None if chat in (None, "auto") else {"functionCallingConfig": {"mode": "NONE"}})
        assert body["generationConfig"].keys() == {"maxOutputTokens", "thinkingConfig"}
    else:
        assert body.get("tool_choice") == (messages if upstream == "messages" else chat)
    limit = next((body[name] for name in ("max_tokens", "max_output_tokens") if name in body), None)
    assert (limit or body["generationConfig"]["maxOutputTokens"]) == 500
    assert not {"response_format", "logprobs", "top_logprobs", "text"} & body.keys()
    request = decoded(A, TRIGGER, tools=[TOOL], tool_choice="required")
    compaction.ask(request, "Sum up.", 500, tools=False)
    silent = SHAPES[upstream].encode_request(request, Capabilities(), "up").body
    if upstream == "gemini":
        assert silent["toolConfig"] == {"functionCallingConfig": {"mode": "NONE"}}
    else:
        assert silent["tool_choice"] == ({"type": "none"} if upstream == "messages" else "none")


def test_a_limit_above_the_models_is_the_models() -> None:
    request = decoded(A, TRIGGER)
    compaction.ask(request, "Sum up.", 100_000)
    body = SHAPES["messages"].encode_request(request, Capabilities(), "up").body
    assert body["max_tokens"] == Capabilities().m_max_output
    assert not request.ledger.adapted


@pytest.mark.parametrize(
    ("body", "flags", "sent"),
    [
        (
            {"input": [A, B, TRIGGER], "tools": [TOOL], "tool_choice": "required", "max_output_tokens": 9, "stream": True},
            {},
            {"input": [A, B, ...], "tools": [TOOL], "tool_choice": "auto", "max_output_tokens": 500, "stream": True},
        ),
        (
            {"input": "A", "text": {"format": {"type": "json_object"}, "verbosity": "low"}, "top_logprobs": 2, "max_tool_calls": 1},
            {},
            {"input": [..., ...], "text": {"verbosity": "low"}, "max_output_tokens": 500},
        ),
        (
            {"input": [TRIGGER], "previous_response_id": "resp_1", "include": ["message.output_text.logprobs", "x"]},
            {},
            {"input": [...], "previous_response_id": "resp_1", "include": ["x"], "max_output_tokens": 500},
        ),
        ({"input": [A], "max_output_tokens": 9}, {"leave_out": ("max_output_tokens",)}, {"input": [A, ...]}),
    ],
)
def test_the_request_in_its_own_api(body: Item, flags: Item, sent: Item) -> None:
    given = orjson.dumps(body)
    found = responses.question(body, Capabilities(**flags), "Sum up.", 500)
    assert found["input"][-1]["content"] == [{"type": "input_text", "text": "Sum up."}]
    items = [
        ... if item["content"] in ([{"type": "input_text", "text": "Sum up."}], [{"type": "input_text", "text": "A"}]) else item
        for item in found["input"]
    ]
    assert found | {"input": items} == sent
    assert orjson.dumps(body) == given
    assert responses.question(body, Capabilities(**flags), "Sum up.", 500, tools=False)["tool_choice"] == "none"


def test_nothing_to_sum_up() -> None:
    for body in ({"input": [TRIGGER]}, {"input": []}, {}):
        with pytest.raises(errors.Malformed):
            responses.question(body, Capabilities(), "Sum up.", 500)


# ---- the answer ----

START = ev.Start("up_1", "m-up", 0)
USAGE = Usage(input=100, output=20, cache_read=80)
TEXT: list[ev.Event] = [ev.TextStart(0), ev.Text(0, "S"), ev.Text(0, "um"), ev.PartStop(0)]
CALLED: list[ev.Event] = [ev.ToolStart(0, "c1", "f"), ev.Arguments(0, "{}"), ev.PartStop(0)]
THOUGHT: list[ev.Event] = [ev.ReasoningStart(0), ev.Reasoning(0, "Hm."), ev.PartStop(0)]


def summed(events: list[ev.Event], spent: Usage | None = None) -> list[ev.Event]:
    found = compaction.Summary(spent).feed(events)
    check(found)
    one_by_one = compaction.Summary(spent)
    assert [event for each in events for event in one_by_one.feed([each])] == [
        ev.Fault(event.error) if isinstance(event, ev.Fault) else event for event in found
    ] or isinstance(found[-1], ev.Fault)
    return found


@pytest.mark.parametrize("reason", ["end", "stop_sequence", "tool"])
def test_a_summary(reason: str) -> None:
    found = summed([START, *TEXT, ev.Metered(USAGE), ev.Stop(reason)])
    assert found == [START, ev.Compacting(), ev.Compaction("Sum", 100, "compaction"), ev.Metered(USAGE), ev.Stop("end")]


def test_thoughts_and_calls_beside_it_are_left_out() -> None:
    text = [ev.TextStart(1), ev.Text(1, "Sum"), ev.PartStop(1), ev.TextStart(2, apart=True), ev.Text(2, "more"), ev.PartStop(2)]
    call = [ev.ToolStart(3, "c1", "f"), ev.PartStop(3)]
    found = summed([START, *THOUGHT, ev.Ping(), *text, *call, ev.Opaque("x"), ev.Stop("tool")])
    assert found == [START, ev.Ping(), ev.Compacting(), ev.Compaction("Sum\n\nmore", 0, "compaction"), ev.Stop("end")]


@pytest.mark.parametrize(
    ("events", "called"),
    [
        ([ev.Stop("end")], False),
        ([*TEXT, ev.Stop("length")], False),
        ([*TEXT, ev.Stop("context")], False),
        ([*TEXT, ev.Stop("filter")], False),
        ([*TEXT, ev.Stop("refusal")], False),
        ([*TEXT, ev.Stop("pause")], False),
        ([*TEXT, ev.Refusal("No."), ev.Stop("end")], False),
        ([ev.TextStart(0), ev.Text(0, " \n"), ev.PartStop(0), ev.Stop("end")], False),
        ([*THOUGHT, ev.Stop("end")], False),
        ([*CALLED, ev.Stop("tool")], True),
        ([ev.TextStart(0), ev.Text(0, "a" * 262_145), ev.PartStop(0), ev.Stop("end")], False),
    ],
)
def test_no_summary(events: list[ev.Event], called: bool) -> None:
    """What it used is told all the same."""
    metered: list[ev.Event] = [ev.Metered(USAGE)]
    found = compaction.Summary().feed([START, *events[:-1], *metered, events[-1]])
    *_, usage, fault = found
    assert usage == ev.Metered(USAGE)
    assert isinstance(fault, ev.Fault)
    assert isinstance(fault.error, errors.NoSummary)
    assert fault.error.called is called
    assert fault.error.message == "The model returned no summary."
    assert fault.error.http_status("responses") == 502
    assert fault.error.openai()["type"] == "server_error"


def test_a_second_try_counts_with_the_first() -> None:
    spent = Usage(input=10, output=5, reasoning=2)
    found = summed([START, *TEXT, ev.Metered(USAGE), ev.Stop("end")], spent)
    assert found[-2] == ev.Metered(Usage(input=110, output=25, cache_read=80, reasoning=2))


def test_a_failure_stays_the_upstreams_own() -> None:
    fault = ev.Fault(errors.Broken("Down."))
    assert summed([START, ev.TextStart(0), ev.Text(0, "S"), fault]) == [START, ev.Compacting(), fault]


MADE = ev.Compaction("Sum", 10, "compaction")
ANSWER: list[ev.Event] = [*TEXT, ev.Metered(USAGE), ev.Stop("end")]


@pytest.mark.parametrize(
    ("events", "found"),
    [
        ([START, ev.Ping(), *ANSWER], [START, ev.Ping(), MADE, *TEXT, ev.Metered(Usage(110, 25, cache_read=80)), ev.Stop("end")]),
        ([START, *THOUGHT, ev.Stop("end")], [START, MADE, *THOUGHT, ev.Stop("end")]),
        ([START, ev.Stop("end")], [START, MADE, ev.Stop("end")]),
        ([START, ev.Metered(USAGE), ev.Stop("end")], [START, MADE, ev.Metered(Usage(110, 25, cache_read=80)), ev.Stop("end")]),
    ],
)
def test_a_summary_before_an_answer(events: list[ev.Event], found: list[ev.Event]) -> None:
    spent = Usage(10, 5)
    assert compaction.Preceded(None, MADE, spent).over(events) == found
    one_by_one = compaction.Preceded(None, MADE, spent)
    assert [event for each in events for event in one_by_one.over([each])] == found
    check(found)


def test_an_answer_that_failed_counts_with_what_was_used_before() -> None:
    error, spent = errors.Broken("Down."), Usage(10, 5)
    told = ev.Fault(error, Usage(12, 7))
    assert compaction.Preceded(None, MADE, spent).over([START, told])[-1] == ev.Fault(error, Usage(22, 12))
    assert compaction.Summary(spent).feed([START, told])[-1] == ev.Fault(error, Usage(22, 12))
    assert ev.metered([START, ev.Metered(USAGE), ev.Fault(error)]) == USAGE


def test_what_fails_before_the_answer_begins_is_another_upstreams_turn() -> None:
    fault = ev.Fault(errors.Broken("Down."))
    assert compaction.Preceded(None, MADE, None).over([START, ev.Opaque("x"), fault]) == [START, ev.Opaque("x"), fault]


@pytest.mark.parametrize(
    ("managed", "tokens"),
    [
        ([{"type": "compaction", "compact_threshold": 1000}], 1000),
        ([{"type": "compaction", "compact_threshold": 999}], None),
        ([{"type": "compaction", "compact_threshold": True}], None),
        ([{"type": "compaction", "compact_threshold": "5000"}], None),
        ([{"type": "compaction"}], None),
        ([{"type": "clear", "compact_threshold": 5000}], None),
        ([{"type": "compaction", "compact_threshold": 5000}] * 2, None),
        ([7], None),
        ({"type": "compaction"}, None),
        (None, None),
    ],
)
def test_the_threshold(managed: Any, tokens: int | None) -> None:
    assert responses.threshold({"context_management": managed}) == tokens


# ---- what the caller gets ----


def encoded(*events: ev.Event) -> list[Item]:
    request = Request("responses", "alias", {"model": "alias"}, compacts=True)
    wire = Wire("responses", Reply(request, nonce="0" * 32, created=7)).feed(list(events))
    GRAMMARS["responses"](wire)
    found = [orjson.loads(data) for _, data in sse.Splitter().feed(wire)]
    for event in found:
        EVENT.validate_python(event)
    return found


def test_the_events_of_a_compaction() -> None:
    found = encoded(*summed([START, *TEXT, ev.Metered(USAGE), ev.Stop("end")]))
    kinds = [event["type"].removeprefix("response.") for event in found]
    assert kinds == ["created", "in_progress", "compaction.compacting", "output_item.added", "output_item.done", "completed"]
    assert [event["sequence_number"] for event in found] == list(range(6))
    item = found[3]["item"]
    assert item.keys() == {"id", "type", "encrypted_content"}
    assert (item["type"], item["id"][:4], len(item["id"])) == ("compaction", "cmp_", 36)
    assert compaction.unseal(item["encrypted_content"]) == "Sum"
    assert found[2] == {"type": "response.compaction.compacting", "sequence_number": 2, "item_id": item["id"], "output_index": 0}
    assert found[4]["item"] == item
    response = found[5]["response"]
    assert (response["status"], response["output"], response["usage"]["input_tokens"]) == ("completed", [item], 100)


def test_the_answer_of_the_endpoint() -> None:
    parts = [{"type": "input_text", "text": "C"}]
    items = [A, B, CALL, OUTPUT, sealed(), {"role": "user", "content": parts, "id": "msg_own"}, {"role": "developer", "content": "D"}]
    request = Request("responses", "m", {"model": "m"}, compacts=True, users=responses.users(items))
    collector = SHAPES["responses"].Collector(Reply(request, nonce="0" * 32, created=7))
    collector.feed(summed([START, *TEXT, ev.Metered(USAGE), ev.Stop("end")]))
    body = collector.body()
    assert (body["object"], body["id"][:5], body["created_at"], body["usage"]["output_tokens"]) == ("response.compaction", "resp_", 7, 20)
    first, second, last = body["output"]
    assert first == {
        "type": "message",
        "id": first["id"],
        "status": "completed",
        "role": "user",
        "content": [{"type": "input_text", "text": "A"}],
    }
    assert first["id"].startswith("msg_")
    assert (second["id"], second["content"]) == ("msg_own", parts)
    assert (last["type"], compaction.unseal(last["encrypted_content"])) == ("compaction", "Sum")


@pytest.mark.parametrize("content", [None, 7, {"a": 1}])
def test_messages_without_content(content: Any) -> None:
    assert responses.users([{"role": "user", "content": content}, 7, None])[0]["content"] == []


# ---- a provider's own compaction ----


def compacted(content: Any, whole: bool) -> list[ev.Event]:
    reply = Reply(Request("messages", "m", {}))
    usage = {"input_tokens": 0, "output_tokens": 0, "iterations": [{"type": "compaction", "input_tokens": 1000, "output_tokens": 50}]}
    block = {"type": "compaction", "content": content, "encrypted_content": "E", "signature": "x"}
    if whole:
        body = {"id": "msg_1", "model": "m", "type": "message", "content": [block], "stop_reason": "compaction", "usage": usage}
        return SHAPES["messages"].decode_response(body, reply)
    decoder = SHAPES["messages"].Decoder(reply)
    events: list[Item] = [
        {
            "type": "message_start",
            "message": {"id": "msg_1", "model": "m", "content": [], "usage": {"input_tokens": 0, "output_tokens": 0}},
        },
        {"type": "content_block_start", "index": 0, "content_block": block | {"content": None}},
        {"type": "content_block_delta", "index": 0, "delta": {"type": "compaction_delta", "content": content}},
        {"type": "content_block_stop", "index": 0},
        {"type": "message_delta", "delta": {"stop_reason": "compaction"}, "usage": usage},
        {"type": "message_stop"},
    ]
    return [found for event in events for found in decoder.feed((b"", orjson.dumps(event)))]


@pytest.mark.parametrize("whole", [False, True])
def test_a_summary_of_anthropics(whole: bool) -> None:
    found = compacted("SUM", whole)
    check(found)
    assert found[1] == ev.Compaction("SUM", 0, "content[0]:compaction")
    assert found[-1] == ev.Stop("end")
    response = encoded(*found)[-1]["response"]
    assert compaction.unseal(response["output"][0]["encrypted_content"]) == "SUM"
    assert (response["usage"]["input_tokens"], response["usage"]["output_tokens"]) == (1000, 50)
    for shape in ("chat", "messages"):
        reply = Reply(Request(shape, "m", {}))
        collector = SHAPES[shape].Collector(reply)
        collector.feed(found)
        assert collector.error is None
        assert reply.unsaid.labels == ["content[0]:compaction"]


@pytest.mark.parametrize("whole", [False, True])
@pytest.mark.parametrize("content", [None, "", "a" * 262_145])
def test_one_that_nobody_else_can_read(content: Any, whole: bool) -> None:
    found = compacted(content, whole)
    check(found)
    assert found[1] == ev.Opaque("content[0]:compaction")


def test_a_path_of_what_is_stored() -> None:
    path: Path = (STORED, 3)
    with pytest.raises(errors.ClientFault) as caught:
        responses.compaction.expanded([(sealed(encrypted_content="dgc1.x"), path)], Ledger())
    assert caught.value.param == "input"
