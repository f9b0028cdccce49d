"""Arguments of calls in all the forms that servers give them."""

from __future__ import annotations

import json
from typing import Any

import pytest

from dragoman.codecs.arguments import ArgumentText, Telling
from dragoman.codecs.registry import SHAPES
from dragoman.codecs.reply import Reply
from dragoman.codecs.request import Request

from ..attack.growth import assert_linear
from .chatting import call, calls, chunk, finished, says

OBJECT = '{"q": "ab"}'


def joined(reader: ArgumentText | Telling, pieces: tuple[str, ...]) -> str:
    return "".join(map(reader.feed, pieces)) + reader.finish()


@pytest.mark.parametrize(
    ("pieces", "text"),
    [
        (('{"q": "', "ab", '"}'), OBJECT),
        # all that was said before, in each piece
        (('{"q"', '{"q": "a', OBJECT), OBJECT),
        (("{", '{"q"', '{"q": "ab"', OBJECT, OBJECT), OBJECT),
        (('{"a":', '{"a": 1}'), '{"a": 1}'),
        (('{"a":', '{"a":', '{"a": 1', '{"a": 1}'), '{"a": 1}'),
        (('{"a":"{', '{"a":"{x', '{"a":"{x}"}'), '{"a":"{x}"}'),
        # a piece that begins like all before it, and goes on
        (('{"a":', '{"a":1}}'), '{"a":{"a":1}}'),
        (('{"a":', '{"a":', "1}}"), '{"a":{"a":1}}'),
        (('{"q": "', "ha", "ha", "ha", '"}'), '{"q": "hahaha"}'),
        (('{"a":[{"b":1},', '{"b":1},', '{"b":1}]}'), '{"a":[{"b":1},{"b":1},{"b":1}]}'),
        # the whole once more, and whatever else comes after it
        (('{"q":', ' "ab"}', OBJECT), OBJECT),
        ((OBJECT, OBJECT), OBJECT),
        ((OBJECT + OBJECT,), OBJECT),
        ((OBJECT, '{"q":', ' "ab"}', "}", " "), OBJECT),
        (('{"a":{"b":1}', "}", "}"), '{"a":{"b":1}}'),
        # nothing
        (("null",), ""),
        ((" n", "ull", "\n"), ""),
        (("",), ""),
        (("  ", "{}"), "{}"),
        (("{}",), "{}"),
        (("{}", "\n", ""), "{}"),
        (("{}", "}"), "{}"),
        (("nul", "ls"), "nulls"),
        (("nul",), "nul"),
        # nothing, and then the arguments after all
        (("{}", OBJECT), OBJECT),
        (("{}", "\n", '{"q"', ': "ab"}', OBJECT), OBJECT),
        (("{}" + OBJECT,), OBJECT),
        # what is cut stays cut
        (('{"a":', '{"a"'), '{"a":{"a"'),
        (("free text }", " more"), "free text } more"),
    ],
)
def test_pieces(pieces: tuple[str, ...], text: str) -> None:
    assert joined(ArgumentText(), pieces) == text


@pytest.mark.parametrize(
    ("pieces", "text"),
    [
        (("The", " user", " asks"), "The user asks"),
        (("The", "The user", "The user asks", "The user asks."), "The user asks."),
        (("ha", "haha", "ha", "!"), "hahahaha!"),
        (("ha", "haha"), "hahaha"),
        (("The user", "The user asks"), "The user asks"),
        (("a", "", "b"), "ab"),
        (("\n", "\n\n", "\n\nA"), "\n\n\n\n\nA"),
        (("A", "AB", "ABC", "D"), "ABCD"),
    ],
)
def test_reasoning_that_is_told_again(pieces: tuple[str, ...], text: str) -> None:
    assert joined(Telling(), pieces) == text


CALLERS = ("messages", "responses")


def arguments(upstream: str, caller: str, values: list[Any]) -> list[Any]:
    """The calls' arguments as the caller reads them, of a stream."""
    reply = Reply(Request(caller, "m", {}), upstream=upstream)
    decoder, collector = SHAPES[upstream].Decoder(reply), SHAPES[caller].Collector(reply)
    for value in values:
        collector.feed(decoder.feed((b"", json.dumps(value).encode())))
    collector.feed(decoder.finish(True))
    assert collector.error is None
    answer = collector.body()
    if caller == "messages":
        return [block["input"] for block in answer["content"] if block["type"] == "tool_use"]
    if caller == "chat":
        return [json.loads(entry["function"]["arguments"]) for entry in answer["choices"][0]["message"]["tool_calls"]]
    assert all(item["status"] == "completed" for item in answer["output"])
    return [json.loads(item["arguments"]) for item in answer["output"] if item["type"] == "function_call"]


@pytest.mark.parametrize("caller", CALLERS)
@pytest.mark.parametrize(
    ("pieces", "value"),
    [
        (['{"q"', '{"q": "a', OBJECT], {"q": "ab"}),
        (["", '{"q": "', 'ab"}', OBJECT], {"q": "ab"}),
        ([OBJECT, "}"], {"q": "ab"}),
        (["null"], {}),
        (["{}"], {}),
        (["{}", '{"q": ', '"ab"}'], {"q": "ab"}),
        ([{"q": "ab"}], {"q": "ab"}),
        ([None], {}),
    ],
)
def test_over_chat(caller: str, pieces: list[Any], value: Any) -> None:
    first, *rest = pieces
    entries = [call(0, "c", "f", first), *(call(0, arguments=piece) for piece in rest)]
    assert arguments("chat", caller, [*map(calls, entries), finished("tool_calls")]) == [value]


@pytest.mark.parametrize("caller", CALLERS)
def test_calls_that_are_cumulative_beside_each_other(caller: str) -> None:
    entries = [call(0, "c", "f", '{"a"'), call(1, "d", "g", '{"b"'), call(0, arguments='{"a": 1}'), call(1, arguments='{"b": 2}')]
    assert arguments("chat", caller, [*map(calls, entries), finished("tool_calls")]) == [{"a": 1}, {"b": 2}]


@pytest.mark.parametrize("caller", CALLERS)
def test_calls_of_nothing_that_are_numbered_alike(caller: str) -> None:
    entries = [call(0, None, "f", "{}"), call(0, None, "g", "{}")]
    assert arguments("chat", caller, [*map(calls, entries), finished("tool_calls")]) == [{}, {}]


@pytest.mark.parametrize("caller", CALLERS)
def test_text_and_calls_in_choices_of_their_own(caller: str) -> None:
    entry = {"id": "c", "type": "function", "function": {"name": "f", "arguments": OBJECT}}
    split = {"choices": [{"delta": {"content": "Let me look."}}, {"delta": {"tool_calls": [entry]}, "finish_reason": "tool_calls"}]}
    assert arguments("chat", caller, [says("So. "), split]) == [{"q": "ab"}]


def _call_item(given: Any) -> dict[str, Any]:
    return {"type": "function_call", "id": "fc_1", "call_id": "c", "name": "f", "arguments": given}


@pytest.mark.parametrize("caller", ["chat", "messages"])
@pytest.mark.parametrize(("given", "value"), [({"a": 1}, {"a": 1}), ("null", {}), (None, {}), ("", {}), ('{"a": 1}', {"a": 1})])
def test_over_responses(caller: str, given: Any, value: Any) -> None:
    completed = {"type": "response.completed", "response": {"id": "r", "status": "completed", "output": [_call_item(given)]}}
    assert arguments("responses", caller, [completed]) == [value]
    added = {"type": "response.output_item.added", "output_index": 0, "item": _call_item("")}
    done = {"type": "response.output_item.done", "output_index": 0, "item": _call_item(given)}
    assert arguments("responses", caller, [added, done, completed]) == [value]


@pytest.mark.parametrize("caller", ["chat", "responses"])
@pytest.mark.parametrize(("given", "value"), [('{"a": 1}', {"a": 1}), ("null", {}), ("", {}), (None, {}), ({"a": 1}, {"a": 1})])
def test_over_messages(caller: str, given: Any, value: Any) -> None:
    block = {"type": "tool_use", "id": "t", "name": "f", "input": given}
    body = {"id": "m", "type": "message", "content": [block], "stop_reason": "tool_use", "usage": {}}
    reply = Reply(Request(caller, "m", {}), upstream="messages")
    collector = SHAPES[caller].Collector(reply)
    collector.feed(SHAPES["messages"].decode_response(body, reply))
    found = json.dumps(collector.body())
    assert json.dumps(json.dumps(value)) in found or json.dumps(json.dumps(value, separators=(",", ":"))) in found


NOTHING = [(["{}"], {}), (["{}", '{"a": ', "1}"], {"a": 1})]


@pytest.mark.parametrize("caller", ["chat", "messages"])
@pytest.mark.parametrize(("pieces", "value"), NOTHING)
def test_an_empty_object_before_the_arguments_over_responses(caller: str, pieces: list[str], value: Any) -> None:
    deltas = [{"type": "response.function_call_arguments.delta", "output_index": 0, "item_id": "fc_1", "delta": piece} for piece in pieces]
    added = {"type": "response.output_item.added", "output_index": 0, "item": _call_item("")}
    completed = {"type": "response.completed", "response": {"id": "r", "status": "completed", "output": []}}
    assert arguments("responses", caller, [added, *deltas, completed]) == [value]


@pytest.mark.parametrize("caller", ["chat", "responses"])
@pytest.mark.parametrize(("pieces", "value"), NOTHING)
def test_an_empty_object_before_the_arguments_over_messages(caller: str, pieces: list[str], value: Any) -> None:
    block = {"type": "tool_use", "id": "t", "name": "f", "input": {}}
    deltas = [{"type": "content_block_delta", "index": 0, "delta": {"type": "input_json_delta", "partial_json": piece}} for piece in pieces]
    ends = [{"type": "message_delta", "delta": {"stop_reason": "tool_use"}, "usage": {}}, {"type": "message_stop"}]
    started = {"type": "message_start", "message": {"id": "m", "content": [], "usage": {}}}
    opened = {"type": "content_block_start", "index": 0, "content_block": block}
    assert arguments("messages", caller, [started, opened, *deltas, {"type": "content_block_stop", "index": 0}, *ends]) == [value]


def test_reasoning_of_a_chat_stream() -> None:
    reply = Reply(Request("messages", "m", {}))
    decoder, collector = SHAPES["chat"].Decoder(reply), SHAPES["messages"].Collector(reply)
    pieces = ["The", "The user", "The user asks"]
    for key in ("reasoning_content", "reasoning_details"):
        values = [piece if key == "reasoning_content" else [{"type": "reasoning.text", "index": 0, "text": piece}] for piece in pieces]
        decoder, collector = SHAPES["chat"].Decoder(reply), SHAPES["messages"].Collector(reply)
        for value in [*(chunk({key: value}) for value in values), says("ok"), finished()]:
            collector.feed(decoder.feed((b"", json.dumps(value).encode())))
        collector.feed(decoder.finish(True))
        assert [block.get("thinking") or block["text"] for block in collector.body()["content"]] == ["The user asks", "ok"]


@pytest.mark.parametrize("reader", [ArgumentText, Telling])
@pytest.mark.parametrize(
    ("before", "pump"),
    [
        ([], "{"),
        ([], "a"),
        (["null"], " "),
        (['{"a', '{"a'], '{"a'),
        (['{"a":"', '{"a":"x', '{"a":"xy', '{"a":"xyz'], "a"),
        (['{"a":"', '{"a":"x', '{"a":"xy', '{"a":"xyz'], "{"),
        (['{"a":{'], '{"a":{'),
    ],
)
def test_the_cost_of_little_pieces(reader: type[ArgumentText | Telling], before: list[str], pump: str) -> None:
    assert_linear(lambda size: (*before, *[pump] * size), lambda pieces: joined(reader(), pieces))
