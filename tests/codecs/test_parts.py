"""A large body that is read in parts: what is found in it, and how it is refused, is as if it had been read at once."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dragoman.codecs import errors, jsontext, parts, splice

TEXT = '"word [1], {2}: \\"model\\": 3],\\"stream\\":true} \\\\"'
SCHEMA = {"required": ["model"], "properties": {"model": {"enum": ["a", "b"]}, "stream": {"type": "array"}}}
TOOLS = [{"name": f"t{n}", "description": "Does what its name says. " * 50, "input_schema": SCHEMA} for n in range(20)]
MESSAGES: list[dict[str, Any]] = [{"role": "user", "content": [{"type": "text", "text": TEXT * 3, "input": [1], "stream": 1}]}] * 100
LONG = "Follow these words. " * 400

# the orders of members that clients send
USUAL: dict[str, dict[str, Any]] = {
    "messages": {"model": "m", "messages": MESSAGES, "system": [{"text": LONG}], "tools": TOOLS, "max_tokens": 5, "stream": True},
    "messages-system-first": {"model": "m", "max_tokens": 5, "system": LONG, "messages": MESSAGES, "tools": TOOLS, "stream": True},
    "anthropic-sdk": {"max_tokens": 5, "messages": MESSAGES, "model": "m", "stream": True, "system": LONG, "tools": TOOLS},
    "chat": {"model": "m", "messages": MESSAGES, "tools": TOOLS, "stream_options": {"include_usage": True}, "stream": True},
    "openai-sdk": {"messages": MESSAGES, "model": "m", "max_tokens": 5, "stream": True, "tools": TOOLS},
    "no-tools": {"messages": MESSAGES, "model": "m", "temperature": 1.0},
    "list-last": {"model": "m", "stream": False, "messages": MESSAGES},
    "responses": {"model": "m", "instructions": LONG, "input": MESSAGES, "tools": TOOLS, "tool_choice": "auto", "store": False},
    "store-between": {"model": "m", "instructions": LONG, "input": MESSAGES, "store": False, "tools": TOOLS, "stream": True},
    "tools-first": {"model": "m", "tools": TOOLS, "messages": MESSAGES, "stream": True},
    "instructions-last": {"input": MESSAGES, "model": "m", "stream": True, "tools": TOOLS, "metadata": {"a": "b"}, "instructions": LONG},
}  # fmt: skip


def outcome(body: bytes) -> Any:
    try:
        found = splice.scan(body)
    except errors.ClientFault as fault:
        return type(fault), fault.message, fault.param, fault.detail
    return list(found.value.items()), found[1:]


def at_once(body: bytes) -> Any:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(parts, "LARGE", len(body) + 1)
        return outcome(body)


@contextmanager
def short() -> Iterator[None]:
    """Bodies of any size are cut, wherever one can."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in {"LARGE": 0, "SPARSE": 1, "LONG": 8, "ENDING": 1}.items():
            patch.setattr(parts, name, value)
        yield


def written(value: Any, form: str) -> bytes:
    if form == "compact":
        return orjson.dumps(value)
    return json.dumps(value, indent=2 if form == "pretty" else None, ensure_ascii=False).encode()


@pytest.mark.parametrize("form", ["compact", "spaced", "pretty"])
@pytest.mark.parametrize("client", USUAL)
def test_usual_bodies_are_cut(client: str, form: str) -> None:
    """And what is looked for stands in parts that are short to search."""
    body = written(USUAL[client], form)
    found = parts.cut(body)
    assert found
    assert sum(len(part.text) for part in found if part.members.keys() & splice.SINGLE) < len(body) / 4
    assert outcome(body) == at_once(body)
    assert b",".join(part.text.strip()[1:-1] for part in found) == body.strip()[1:-1]


PUT = [b",", b"]", b"}", b'"', b"x", b"\xff", b"\\", b',"model":"n"', b',"Model":"n"', b'"stream":false,', b'"":"\\ud800",']


@pytest.mark.parametrize("client", USUAL)
def test_a_usual_body_is_refused_as_one_read_at_once(client: str) -> None:
    """With something put in at each border of its parts."""
    whole = written(USUAL[client], "compact")
    for part in parts.cut(whole) or ():
        for at in (part.start, part.start + 1, part.end):
            for put in PUT:
                body = whole[:at] + put + whole[at:]
                assert outcome(body) == at_once(body), (at, put)


# ---- any body ----

WORDS = ["model", "stream", "store", "messages", "input", "tools", "instructions", "conversation", "metadata"]
ODD = ['"Model"', '"m\\u006fdel"', '"\\u0073tream"', '"mess\\u0061ges"', '"a\\"]"', '"x],"', '"\\u017ftream"', '""', '"0:0"']
KEY = st.sampled_from([*(f'"{word}"' for word in WORDS * 4), *ODD])
SCALAR = st.sampled_from([
    "null", "true", "0", "-1.5e3", "12345678901234567890123", "1e400", '"m"', '""', '"\\\\"', '"中😀"', '"\\ud83d"', '"\\u0061"',
    '"],\\"stream\\":true}"', '"],"', '"a],\\n"', '"{\\"messages\\":["', '"\\"messages\\":["', '"\\ud83d\\ude00"',
])  # fmt: skip
BLANK = st.sampled_from(["", "", "", " ", "\n  ", "\t"])


def members(inner: st.SearchStrategy[str], most: int = 3) -> st.SearchStrategy[str]:
    member = st.tuples(BLANK, KEY, BLANK, st.just(":"), BLANK, inner, BLANK).map("".join)
    return st.lists(member, max_size=most).map(lambda found: "{" + ",".join(found) + "}")


def lists(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    return st.tuples(st.lists(inner, max_size=3), BLANK).map(lambda drawn: "[" + f"{drawn[1]},{drawn[1]}".join(drawn[0]) + "]")


FITTING = st.sampled_from(['"model":"m"', '"stream":true', '"stream":null', '"store":false', '"input":"a"'])
VALUE = st.recursive(SCALAR, lambda inner: lists(inner) | members(inner), max_leaves=6)
MEMBER = FITTING | members(lists(VALUE) | VALUE, 1).map(lambda text: text[1:-1]).filter(bool)
BODY = st.tuples(st.lists(MEMBER, max_size=8).map(lambda found: "{" + ",".join(found) + "}"), BLANK).map("".join).map(str.encode)
BITE = st.sampled_from(
    [b"", b'"', b",", b"]", b"[", b"{", b"}", b":", b"\\", b"\xff", b'],"stream":true}', b'],"stream":1,', b'"messages":[']
)


def test_any_body() -> None:
    """Valid or bitten."""
    cuts = refused = 0

    @given(BODY, st.integers(0), BITE, st.integers(0, 3), st.booleans())
    def check(body: bytes, place: int, put: bytes, gone: int, bitten: bool) -> None:
        nonlocal cuts, refused
        if bitten:
            at = place % (len(body) + 1)
            body = body[:at] + put + body[at + gone :]
        assert outcome(body) == at_once(body)
        found = parts.cut(body)
        if found is None:
            refused += 1
            with pytest.raises(ValueError):
                orjson.loads(body)
        cuts += bool(found)

    with short():
        check()
    assert cuts
    assert refused


@given(BODY, st.text(max_size=4))
def test_what_is_written_stands_where_it_is_said(body: bytes, name: str) -> None:
    try:
        scan = splice.scan(body)
    except errors.ClientFault:
        return
    renamed, found = splice.named(body, scan, name)
    assert renamed == splice.replace_model(body, scan, name)
    assert found == splice.scan(renamed)
    for changed in (body, renamed):
        streamed = splice.ask_stream(changed, scan)
        assert splice.scan(streamed).value == splice.scan(changed).value | {"stream": True}
        assert streamed == splice.ask_stream(changed, scan._replace(stream_at=None))
    text, again = splice.written(scan.value)
    assert text == jsontext.dumps(scan.value)
    assert again._replace(value={}) == splice.scan(text)._replace(stream_at=None, value={})
    assert again.value == scan.value  # integers beyond 64 bits too, which orjson would read as floats


# ---- borders ----


@pytest.mark.parametrize("levels", range(1018, 1028))
@pytest.mark.parametrize("key", ["messages", "tools"])
def test_the_depth_is_that_of_the_body(levels: int, key: str) -> None:
    deep = b"[" * levels + b"]" * levels
    body = b'{"model":"m","%b":%b,"stream":true,"metadata":"%b"}' % (key.encode(), deep, b"x" * parts.LARGE)
    assert outcome(body)[1:] == at_once(body)[1:]  # the values are too deep for a comparison


@pytest.mark.parametrize(
    "body",
    [
        b'{,"messages":[],"stream":true}',
        b'{"model":"m",,"messages":[],"stream":true}',
        b'{"model":"m","messages":[],,"stream":true}',
        b'{"model":"m","messages":[],"stream":true,}',
        b'{"model":"m","messages":[],"stream":true}}',
        b'{"model":"m","messages":[],"stream":true}]',
        b'{"model":"m","messages":[]]',
        b'{"model":"m"{"messages":[],"stream":true}',
        b'{"model":"m","messages":[]"stream":true}',
        b'["model","messages":[],"stream":true]',
        b'"messages":[],"stream":true}',
        b'{"model":"m","a":{"messages":[],"stream":true}}',
        b'{"model":"m","a":{"messages":[],"stream":true},"tools":[],"stream":false}',
        b'{"messages":[1],"model":"m","messages":[2],"tools":[],"a":1,"a":2,"messages":[3]}',
        b'{"messages":[1],"model":"m","tools":[],"model":"n"}',
        b'{"model":"m","tools":[],"model":"n","Stream":1}',
        b'{"stream":1,"tools":[],"Model":"m","messages":[],"stream":true}',
        b'{"conversation":{"id":"a"},"input":[],"store":true}',
        b'{"input":[],"conversation":{"id":"a","id":"b"},"tools":[],"store":true}',
        b'{"model":"m","a":"x","messages":["],"],"stream":true}',
        b'{"model":"\xff","messages":[],"stream":true}',
        b'{"model":"m","messages":["\xff"],"stream":true}',
        b'{"model":"m","messages":[],"stream":true,"a":"\xff"}',
        b'{"n":12345678901234567890123,"messages":["\\ud83d"],"stream":true}',
        b' {"model":"m","messages":[],"stream":true}',
        b'\xef\xbb\xbf{"model":"m","messages":[],"stream":true}',
        b'{"model":"m","messages":[],"stream":true} \n',
    ],
)
def test_odd_bodies(body: bytes) -> None:
    with short():
        assert outcome(body) == at_once(body)
