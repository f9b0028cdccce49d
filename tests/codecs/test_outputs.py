"""A schema for the answer, in words, where an upstream is given none."""

from __future__ import annotations

from typing import Any

import pytest

from dragoman.codecs import outputs
from dragoman.codecs.capabilities import Capabilities
from dragoman.codecs.registry import SHAPES, UPSTREAMS

from .test_rules_of_carried_bodies import amended

SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"], "additionalProperties": False}
WORDS = outputs.in_words(SCHEMA)
SAID = [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}, {"role": "user", "content": "again"}]
# caller -> its body, where its schema stands, where its turns stand
ASKED: dict[str, tuple[dict[str, Any], str, str]] = {
    "chat": (
        {"messages": SAID, "response_format": {"type": "json_schema", "json_schema": {"name": "n", "schema": SCHEMA}}},
        "response_format",
        "messages",
    ),
    "messages": ({"max_tokens": 9, "messages": SAID, "output_config": {"format": {"type": "json_schema", "schema": SCHEMA}}},
                 "output_config.format", "messages"),
    "responses": ({"input": SAID, "text": {"format": {"type": "json_schema", "name": "n", "schema": SCHEMA}}}, "text.format", "input"),
}  # fmt: skip
FLAGS = {"messages": {"m_structured_outputs": False}, "converse": {"v_structured_outputs": False}}


@pytest.mark.parametrize(("caller", "upstream"), [(c, u) for u in FLAGS for c in ASKED if c != u])
def test_a_schema_over_another_api(caller: str, upstream: str) -> None:
    """The format is reported as dropped, since nothing binds the model; and the words, which stand where they stood a turn ago."""
    body, form, turns = ASKED[caller]
    request = SHAPES[caller].decode_request({"model": "m"} | body)
    sent = UPSTREAMS[upstream].encode_request(request, Capabilities(**FLAGS[upstream]), "up").body
    first, *rest = sent["messages"]
    assert str(first).count(repr(WORDS)[1:-1]) == 1
    assert WORDS not in str(rest)
    assert request.ledger.header(request.ledger.dropped, body) == form
    assert turns in request.ledger.header(request.ledger.adapted, body).split(",")


def test_no_words_without_a_schema_or_a_user() -> None:
    request = SHAPES["chat"].decode_request({"model": "m", "messages": SAID, "response_format": {"type": "json_object"}})
    outputs.say_schema(request)
    assert [len(turn.parts) for turn in request.turns] == [1, 1, 1]
    assert outputs.noted([{"role": "system", "content": "s"}, {"role": "user", "content": None}], WORDS) is None
    assert outputs.noted("no list", WORDS) is None
    part = {"type": "text", "text": "q"}
    assert outputs.noted([{"role": "user", "content": [part]}], WORDS) == [{"role": "user", "content": [part, part | {"text": WORDS}]}]


@pytest.mark.parametrize("content", [5, True, {"text": "q"}, "", [], None])
def test_content_that_is_none_is_left_to_the_upstream(content: Any) -> None:
    odd = {"role": "user", "content": content}
    assert outputs.noted([odd], "note") is None
    assert outputs.noted([odd, {"role": "user", "content": "q"}], "note") == [odd, {"role": "user", "content": "q\n\nnote"}]


@pytest.mark.parametrize("flags", [{}, {"c.json_schema": False}, {"c.json_schema": False, "c.json_object": False}])
@pytest.mark.parametrize(
    ("refused", "more"),
    [("c.json_with_tools", {"tools": [{"type": "function", "function": {"name": "f"}}]}), ("c.json_streams", {"stream": True})],
)
def test_a_schema_where_no_form_is_taken_beside_something_else(flags: dict[str, bool], refused: str, more: dict[str, Any]) -> None:
    """It is dropped in any case; JSON is not asked for in another way only to be left out, and what is adapted are the messages."""
    body = ASKED["chat"][0] | more
    sent, dropped, adapted = amended("chat", flags | {refused: False}, body)
    assert sent == {"messages": [{"role": "user", "content": f"q\n\n{WORDS}"}, *SAID[1:]]} | more
    assert (dropped, adapted) == ("response_format", "messages")
    assert SAID[0] == {"role": "user", "content": "q"}
