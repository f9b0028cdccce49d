"""The splice against literal bodies, and on random JSON in random spelling: one value changes, every other byte stays."""

from __future__ import annotations

import json
from random import Random
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dragoman.codecs import errors, splice

BOM = b"\xef\xbb\xbf"

# body, model, stream, and the body with the model "new"
BODIES: list[tuple[bytes, str | None, bool | None, bytes]] = [
    (b'{"model":"m"}', "m", None, b'{"model":"new"}'),
    (b'{"model":""}', "", None, b'{"model":"new"}'),
    (b' \t\r\n{ "model" \n:\t"m" , "stream" : true } \n', "m", True, b' \t\r\n{ "model" \n:\t"new" , "stream" : true } \n'),
    (b'{"stream":false,"model":"m"}', "m", False, b'{"stream":false,"model":"new"}'),
    (b'{"stream":null,"model":"m"}', "m", None, b'{"stream":null,"model":"new"}'),
    (BOM + b'{"model":"m"}', "m", None, BOM + b'{"model":"new"}'),
    # what a parser and a writer would change
    (b'{"seed":1.0,"top_p":1e0,"n":12345678901234567890123,"model":"m","a":1,"a":2}', "m", None,
     b'{"seed":1.0,"top_p":1e0,"n":12345678901234567890123,"model":"new","a":1,"a":2}'),
    # escapes: in the value, in the key, and backslashes that are none
    (rb'{"model":"a\"b\\","x":1}', 'a"b\\', None, b'{"model":"new","x":1}'),
    (rb'{"model":"\u00e9\ud83d\ude00"}', "é😀", None, b'{"model":"new"}'),
    (rb'{"\u006dodel":"m"}', "m", None, rb'{"\u006dodel":"new"}'),
    (rb'{"m\u006F\u0064el":"m","\u0073tream":true}', "m", True, rb'{"m\u006F\u0064el":"new","\u0073tream":true}'),
    (rb'{"a":"\\u006dodel","model":"m"}', "m", None, rb'{"a":"\\u006dodel","model":"new"}'),
    (rb'{"a\\":"model","model":"m"}', "m", None, rb'{"a\\":"model","model":"new"}'),
    # the same letters elsewhere: in a text, as a value, deeper, in a key that only ends so
    (rb'{"a":"\"model\":1","model":"m"}', "m", None, rb'{"a":"\"model\":1","model":"new"}'),
    (rb'{"a \"model":1,"model":"m"}', "m", None, rb'{"a \"model":1,"model":"new"}'),
    (b'{"a":"model","b":["model"],"model":"m"}', "m", None, b'{"a":"model","b":["model"],"model":"new"}'),
    (b'{"a":{"model":1},"model":"m"}', "m", None, b'{"a":{"model":1},"model":"new"}'),
    (b'{"model":"m","a":[{"model":"x"},{"model":"y"}]}', "m", None, b'{"model":"new","a":[{"model":"x"},{"model":"y"}]}'),
    (b'{"a":{"stream":1},"model":"m"}', "m", None, b'{"a":{"stream":1},"model":"new"}'),
    (b'{"0:0":1,"a":{"model":1},"model":"m"}', "m", None, b'{"0:0":1,"a":{"model":1},"model":"new"}'),
    (b'{"models":1,"model ":2,"model":"m"}', "m", None, b'{"models":1,"model ":2,"model":"new"}'),
    (b'{"a":{"Model":1,"previous_response_id":1,"previous_response_id":2},"model":"m"}', "m", None,
     b'{"a":{"Model":1,"previous_response_id":1,"previous_response_id":2},"model":"new"}'),
    # lone surrogates are JSON
    (rb'{"a":"\ud83d","model":"m"}', "m", None, rb'{"a":"\ud83d","model":"new"}'),
    # no model: it is put in
    (b"{}", None, None, b'{"model":"new"}'),
    (b"{ } ", None, None, b'{ "model":"new"} '),
    (b'{"a":{"model":"x"}}', None, None, b'{"a":{"model":"x"},"model":"new"}'),
    (b'{"model":null}', None, None, b'{"model":"new"}'),
]  # fmt: skip

# body, error, param
REFUSED: list[tuple[bytes, type[errors.ClientFault], str | None]] = [
    (b"", errors.Malformed, None),
    (b" ", errors.Malformed, None),
    (b"null", errors.Malformed, None),
    (b'[{"model":"m"}]', errors.Malformed, None),
    (b'"model"', errors.Malformed, None),
    (b'{"model":"m"', errors.Malformed, None),
    (b'{"model":"m"}}', errors.Malformed, None),
    (b'{"model":"m",}', errors.Malformed, None),
    (b"{'model':'m'}", errors.Malformed, None),
    (b'{"model":"m","a":NaN}', errors.Malformed, None),
    (b'{"model":"m","a":-Infinity}', errors.Malformed, None),
    (b'{"model":"m","a":1e999}', errors.Malformed, None),
    (rb'{"model":"m","a":"\ud83d","b":NaN}', errors.Malformed, None),
    (rb'{"model":"m","a":"\ud83d","b":1e999}', errors.Malformed, None),
    (b'{"model":"m","a":"\xff"}', errors.Malformed, None),
    (b'\xff{"model":"m"}', errors.Malformed, None),
    (BOM + BOM + b'{"model":"m"}', errors.Malformed, None),
    ('{"model":"m"}'.encode("utf-16"), errors.Malformed, None),
    (b'{"model":"m","a":"\n"}', errors.Malformed, None),
    (b'{"model":"m","a":' + b"[" * 100_000 + b"]" * 100_000 + b"}", errors.Malformed, None),
    (b'{"a":' * 100_000, errors.Malformed, None),
    (b'{"model":"m","model":"m"}', errors.Malformed, "model"),
    (b'{"model":null,"model":"m"}', errors.Malformed, "model"),
    (rb'{"model":"m","\u006dodel":"n"}', errors.Malformed, "model"),
    (rb'{"\u006dodel":"m","mode\u006C":"n"}', errors.Malformed, "model"),
    (rb'{"model":"m","a":{"model":1},"mode\u006c":"n"}', errors.Malformed, "model"),
    (b'{"model":"m","a":[{"model":1}],"model":"n"}', errors.Malformed, "model"),
    (b'{"model":"m","stream":true,"stream":false}', errors.Malformed, "stream"),
    (rb'{"model":"m","stream":true,"strea\u006d":true}', errors.Malformed, "stream"),
    (b'{"model":"m","Model":"n"}', errors.Malformed, "model"),
    (b'{"MODEL":"n","model":"m"}', errors.Malformed, "model"),
    (rb'{"model":"m","\u004dodel":"n"}', errors.Malformed, "model"),
    ('{"model":"m","\u017ftream":true}'.encode(), errors.Malformed, "stream"),
    (rb'{"model":"m","\u017ftream":true}', errors.Malformed, "stream"),
    (b'{"model":"m","previous_response_id":"a","previous_response_id":"b"}', errors.Malformed, "previous_response_id"),
    (rb'{"model":"m","previous_response_id":"a","previou\u0073_response_id":"b"}', errors.Malformed, "previous_response_id"),
    (b'{"model":"m","Previous_Response_Id":"a"}', errors.Malformed, "previous_response_id"),
    (b'{"model":"m","conversation":"a","conversation":"b"}', errors.Malformed, "conversation"),
    (b'{"model":"m","conversation":{"id":"a","id":"b"}}', errors.Malformed, "conversation"),
    (b'{"model":"m","store":false,"store":true}', errors.Malformed, "store"),
    (b'{"model":"m","background":false,"background":true}', errors.Malformed, "background"),
    (b'{"model":1}', errors.WrongType, "model"),
    (b'{"model":["m"]}', errors.WrongType, "model"),
    (b'{"model":true}', errors.WrongType, "model"),
    (b'{"model":"m","stream":"true"}', errors.WrongType, "stream"),
    (b'{"model":"m","stream":1}', errors.WrongType, "stream"),
    (b'{"model":"m","stream":{}}', errors.WrongType, "stream"),
]


@pytest.mark.parametrize(("body", "model", "stream", "changed"), BODIES)
def test_a_body_is_read_and_only_its_model_changes(body: bytes, model: str | None, stream: bool | None, changed: bytes) -> None:
    scan = splice.scan(body)
    assert (scan.model, scan.stream) == (model, stream)
    assert splice.replace_model(body, scan, "new") == changed


@pytest.mark.parametrize("filling", range(0, 501, 100))
@pytest.mark.parametrize("first", [True, False])
def test_a_large_body_is_changed_as_a_small_one(monkeypatch: pytest.MonkeyPatch, filling: int, first: bool) -> None:
    """It is copied in pieces, and the model may stand in any of them, or in two."""
    model, text = b'"model":"m"', b'"user":"' + b"x" * (4000 + filling) + b'"'
    body = b"{" + b",".join((model, text) if first else (text, model)) + b"}"
    monkeypatch.setattr(splice, "LARGE", 1000)
    monkeypatch.setattr(splice, "_PIECE", 101)
    assert splice.replace_model(body, splice.scan(body), "another") == body.replace(b'"m"', b'"another"')


@pytest.mark.parametrize(("body", "error", "param"), REFUSED)
def test_a_body_that_parsers_may_take_differently_is_refused(body: bytes, error: type[errors.ClientFault], param: str | None) -> None:
    with pytest.raises(errors.ClientFault) as refusal:
        splice.scan(body)
    assert (type(refusal.value), refusal.value.param) == (error, param)
    assert refusal.value.code == ("invalid_type" if error is errors.WrongType else "invalid_json")


@pytest.mark.parametrize("body", [body for body, *_ in BODIES])
def test_a_body_that_is_cut_is_refused(body: bytes) -> None:
    for length in range(len(body.rstrip())):
        with pytest.raises(errors.Malformed):
            splice.scan(body[:length])


def test_a_model_name_is_spelled_as_json() -> None:
    body = b'{"model":"m"}'
    assert splice.replace_model(body, splice.scan(body), 'a"b\\é') == '{"model":"a\\"b\\\\é"}'.encode()


def test_a_deep_body_is_taken() -> None:
    deep = b'{"a":' + b"[" * 1000 + b'{"model":1}' + b"]" * 1000 + b',"model":"m"}'
    assert splice.replace_model(deep, splice.scan(deep), "new") == deep[:-4] + b'"new"}'


# ---- include_usage ----

USAGE: list[tuple[bytes, bytes]] = [
    (b"{}", b'{"stream_options":{"include_usage":true}}'),
    (b'{"model":"m"} \n', b'{"model":"m","stream_options":{"include_usage":true}} \n'),
    (b'{"a":{"stream_options":{}}}', b'{"a":{"stream_options":{}},"stream_options":{"include_usage":true}}'),
    (b'{"stream_options":null ,"a":1}', b'{"stream_options":{"include_usage":true} ,"a":1}'),
    (b'{"stream_options":{ } }', b'{"stream_options":{"include_usage":true } }'),
    (b'{"stream_options": {"b":[{}]},"c":1}', b'{"stream_options": {"include_usage":true,"b":[{}]},"c":1}'),
    (
        b'{"x":{"stream_options":{"include_usage":true}},"stream_options":{}}',
        b'{"x":{"stream_options":{"include_usage":true}},"stream_options":{"include_usage":true}}',
    ),
    (b'{"stream_options":{"include_usage":false}}', b'{"stream_options":{"include_usage":true}}'),
    (b'{"stream_options":{"include_usage": null }}', b'{"stream_options":{"include_usage": true }}'),
    (b'{"stream_options":{"a":{"include_usage":1},"include_usage":false}}',
     b'{"stream_options":{"a":{"include_usage":1},"include_usage":true}}'),
    (rb'{"stream\u005foptions":{"include\u005fusage":false}}', rb'{"stream\u005foptions":{"include\u005fusage":true}}'),
    # parsers take the last of two
    (b'{"stream_options":{"include_usage":true},"stream_options":{}}',
     b'{"stream_options":{"include_usage":true},"stream_options":{"include_usage":true}}'),
]  # fmt: skip


@pytest.mark.parametrize(("body", "changed"), USAGE)
def test_usage_is_asked_for_without_touching_the_rest(body: bytes, changed: bytes) -> None:
    scan = splice.scan(body)
    assert not scan.include_usage
    assert splice.add_include_usage(body, scan) == changed
    assert splice.scan(changed).include_usage


@pytest.mark.parametrize(
    "body",
    [
        b'{"stream_options":{"include_usage":true}}',
        b'{"stream_options":"x"}',
        b'{"stream_options":[]}',
        b'{"stream_options":{"include_usage":0}}',
        b'{"stream_options":{"include_usage":"yes"}}',
    ],
)
def test_usage_that_is_asked_for_or_that_the_provider_must_refuse_stays(body: bytes) -> None:
    assert splice.add_include_usage(body, splice.scan(body)) is body


@pytest.mark.parametrize(("body", "changed"), USAGE)
def test_both_changes_of_one_body(body: bytes, changed: bytes) -> None:
    inside = body.replace(b'"model":"m"', b"").partition(b"{")[2]
    body = b'{"model":"a long name"' + (b"," if inside[:1] == b'"' else b"") + inside
    scan = splice.scan(body)
    both = splice.add_include_usage(splice.replace_model(body, scan, "n"), scan)
    assert json.loads(both)["model"] == "n"
    assert splice.scan(both).include_usage


# ---- answers ----

MODEL, MESSAGE, RESPONSE = ("model",), ("message", "model"), ("response", "model")
CHUNK = b'{"id":"c-1","object":"chat.completion.chunk","created":1,"model":"%b","choices":[{"delta":{"content":"\\"model\\":"}}]}'

ANSWERS: list[tuple[bytes, tuple[str, ...], bytes]] = [
    (CHUNK % b"up", MODEL, CHUNK % b"new"),
    (b'{"model":"","choices":[]}', MODEL, b'{"model":"new","choices":[]}'),
    (b'{"choices":[{"model":"x"}],"model":"up"}', MODEL, b'{"choices":[{"model":"x"}],"model":"new"}'),
    (b'{"a":{},"model" : "u\\"p" }', MODEL, b'{"a":{},"model" : "new" }'),
    (b'{"\\u006dodel":"up","a":{"model":"x"}}', MODEL, b'{"\\u006dodel":"new","a":{"model":"x"}}'),
    (b'{"a":"\xff","b":[],"model":"up"}', MODEL, b'{"a":"\xff","b":[],"model":"new"}'),
    (
        b'{"type":"message_start","message":{"id":"i","role":"assistant","model":"up","content":[]}}',
        MESSAGE,
        b'{"type":"message_start","message":{"id":"i","role":"assistant","model":"new","content":[]}}',
    ),
    (b'{"message":{"content":[{"model":1}],"model":"up"}}', MESSAGE, b'{"message":{"content":[{"model":1}],"model":"new"}}'),
    (b'{"model":"x","response":{"id":1,"model":"up"}}', RESPONSE, b'{"model":"x","response":{"id":1,"model":"new"}}'),
    (
        b'{"response":{"tools":[{"parameters":{"properties":{"model":{"type":"string"}}}}],"model":"up"},"model":"x"}',
        RESPONSE,
        b'{"response":{"tools":[{"parameters":{"properties":{"model":{"type":"string"}}}}],"model":"new"},"model":"x"}',
    ),
]  # fmt: skip

UNTOUCHED: list[tuple[bytes, tuple[str, ...]]] = [
    (b"[DONE]", MODEL),
    (b"", MODEL),
    (b'"model"', MODEL),
    (b'{"type":"response.output_text.delta","delta":"the model"}', RESPONSE),
    (b'{"choices":[{"model":"x"}]}', MODEL),
    (b'{"model":null}', MODEL),
    (b'{"model":{"id":"x"}}', MODEL),
    (b'{"model":"x"}', MESSAGE),
    (b'{"message":"x","model":"y"}', MESSAGE),
    (b'{"message":[{"model":"y"}]}', MESSAGE),
    (b'{"message":{"usage":{"model":"y"}}}', MESSAGE),
    (b'{"a":"model","model"', MODEL),
    (b'{"a":[],"model":"x"', MODEL),
    (b'[{"model":"x"}]', MODEL),
    (b"[" * 5000 + b'"model"', MODEL),
]


@pytest.mark.parametrize(("data", "path", "changed"), ANSWERS)
def test_an_answer_names_the_model_that_was_asked_for(data: bytes, path: tuple[str, ...], changed: bytes) -> None:
    assert splice.replace_answer_model(data, path, "new") == changed


@pytest.mark.parametrize(("data", "path"), UNTOUCHED)
def test_an_answer_without_a_model_there_is_the_same_object(data: bytes, path: tuple[str, ...]) -> None:
    assert splice.replace_answer_model(data, path, "new") is data


@pytest.mark.parametrize(("data", "path", "changed"), ANSWERS)
def test_an_answer_that_is_cut_raises_nothing(data: bytes, path: tuple[str, ...], changed: bytes) -> None:
    for length in range(len(data)):
        splice.replace_answer_model(data[:length], path, "new")


# ---- random JSON in random spelling ----

keys = st.sampled_from(["model", "stream", "stream_options", "message", "0:0", "a", 'b"model', "\\"]) | st.text(max_size=3)
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=6) | keys,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys, inner, max_size=3),
    max_leaves=12,
)
members = st.lists(st.tuples(keys.filter(lambda key: key not in ("model", "stream")), values), max_size=5)
randoms = st.integers(0, 2**32).map(Random)


def spelled(value: Any, random: Random) -> str:
    """JSON text with arbitrary whitespace and escapes."""

    def space() -> str:
        return "".join(random.choices(" \t\r\n", k=random.choice([0, 0, 0, 1, 2])))

    def character(char: str) -> str:
        if ord(char) < 0x10000 and random.random() < 0.2:
            return f"\\u{ord(char):04x}" if random.random() < 0.5 else f"\\u{ord(char):04X}"
        return json.dumps(char, ensure_ascii=random.random() < 0.5)[1:-1]

    def text(value: Any) -> str:
        if isinstance(value, str):
            return '"' + "".join(map(character, value)) + '"'
        if isinstance(value, list):
            return "[" + space() + ",".join(space() + text(item) + space() for item in value) + "]"
        if isinstance(value, dict):
            value = list(value.items())
        if isinstance(value, tuple):
            value = list(value)
        if isinstance(value, list):
            inside = [space() + text(key) + space() + ":" + space() + text(member) + space() for key, member in value]
            return "{" + space() + ",".join(inside) + "}"
        return json.dumps(value)

    return space() + text(value) + space()


@given(members, st.text(max_size=8), st.sampled_from([None, True, False]), st.text(max_size=8), st.integers(0, 5), randoms)
def test_one_value_changes_and_every_other_byte_stays(
    others: list[tuple[str, Any]], model: str, stream: bool | None, name: str, place: int, random: Random
) -> None:
    pairs = [*others[:place], ("model", model), *others[place:], ("stream", stream)]
    body = spelled(tuple(pairs), random).encode()
    scan = splice.scan(body)
    assert (scan.model, scan.stream) == (model, stream)
    changed = splice.replace_model(body, scan, name)
    assert json.loads(changed) == json.loads(body) | {"model": name}
    assert scan.model_span is not None
    start, end = scan.model_span
    assert (changed[:start], changed[len(changed) - len(body) + end :]) == (body[:start], body[end:])
    assert json.loads(body[start:end]) == model


@given(members, st.sampled_from(["model", "stream"]), st.integers(0, 5), st.integers(0, 5), randoms)
def test_a_key_that_stands_twice_is_seen_in_any_spelling(
    others: list[tuple[str, Any]], key: str, first: int, second: int, random: Random
) -> None:
    pairs = list(others)
    for place in (first, second):
        pairs.insert(place, (key, "x" if key == "model" else True))
    with pytest.raises(errors.Malformed) as refusal:
        splice.scan(spelled(tuple(pairs), random).encode())
    assert refusal.value.param == key


@given(members, st.none() | st.dictionaries(keys, values, max_size=3), st.integers(0, 5), randoms)
def test_usage_is_added_to_any_body(others: list[tuple[str, Any]], options: dict[str, Any] | None, place: int, random: Random) -> None:
    pairs = [(key, value) for key, value in others if key != "stream_options"]
    if random.random() < 0.8:
        pairs.insert(place, ("stream_options", options))
    body = spelled(tuple(pairs), random).encode()
    changed = splice.add_include_usage(body, splice.scan(body))
    before = json.loads(body)
    assert json.loads(changed) == before | {"stream_options": (before.get("stream_options") or {}) | {"include_usage": True}}


@given(members, values, st.text(max_size=8), st.integers(0, 5), st.sampled_from([MODEL, MESSAGE, RESPONSE]), randoms)
def test_an_answer_changes_at_its_path_only(
    others: list[tuple[str, Any]], model: Any, name: str, place: int, path: tuple[str, ...], random: Random
) -> None:
    value: Any = (*others[:place], ("model", model), *others[place:])
    expected: Any = dict(value) | {"model": name}
    if len(path) == 2:
        value = ((path[0], value), ("model", "outer"))
        expected = {path[0]: expected, "model": "outer"}
    data = spelled(value, random).encode()
    changed = splice.replace_answer_model(data, path, name)
    if isinstance(model, str) and b'"model"' in data:
        assert json.loads(changed) == expected
    else:
        assert changed is data


@given(
    st.binary(max_size=60) | st.lists(st.sampled_from([b'"model"', b":", b"{", b"}", b'"', b"\\", b"[", b"]", b",", b"1"])).map(b"".join)
)
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    try:
        splice.scan(data)
    except errors.ClientFault:
        pass
    splice.replace_answer_model(data, MODEL, "new")


@pytest.mark.parametrize(
    "value",
    [
        {"model": "a/b", "stream": True, "messages": [{"content": '"model": "x" \\u0061'}]},
        {"messages": [{"model": "inner"}], "tools": [{"model": "x"}], "model": "outer", "metadata": {"model": {}}},
        {"input": "Hi"},
        {"model": None},
    ],
)
def test_a_value_that_is_written(value: dict[str, Any]) -> None:
    """As if it had been scanned."""
    body, found = splice.written(value)
    assert found == splice.scan(body)._replace(stream_at=None)
    assert json.loads(splice.replace_model(body, found, "other")) == value | {"model": "other"}


TYPED = ("type", "stream_id", "generate", "stream_options")
WITHOUT = [
    (b'{"model":"m"}', b'{"model":"m"}'),
    (b'{"type":"response.create","model":"m"}', b'{"model":"m"}'),
    (b'{"model":"m","type":"response.create"}', b'{"model":"m"}'),
    (b'{"model":"m","type":"x","stream_id":"a"}', b'{"model":"m"}'),
    (b'{"type":"x","stream_id":"a"}', b"{}"),
    (b'{"type":"x"}', b"{}"),
    (b'{ "type" : "x" , "model" : "m" , "generate" : false }', b'{  "model" : "m"  }'),
    (b'{"a":1.10,"stream_options":{"x":[1,{"}":"]"}]},"b":1e2}', b'{"a":1.10,"b":1e2}'),
    (b'{"a":1,"stream_options":[[],{}]}', b'{"a":1}'),
    (b'{"type":"x","type":"y","a":"type"}', b'{"a":"type"}'),
    (b'{"a":{"type":"x","generate":true},"type":"y"}', b'{"a":{"type":"x","generate":true}}'),
    (b'{"a":"\\"type\\":1","type":null}', b'{"a":"\\"type\\":1"}'),
    (b'{"t\\u0079pe":"x","a":[1]}', b'{"a":[1]}'),
    (b'{"a":[{"type":1},{"type":2}],"type":3,"generate":{"type":4}}', b'{"a":[{"type":1},{"type":2}]}'),
]


@pytest.mark.parametrize(("body", "left"), WITHOUT, ids=[body.decode() for body, _ in WITHOUT])
def test_members_are_taken_out_and_every_other_byte_stays(body: bytes, left: bytes) -> None:
    value = orjson.loads(body)
    out = splice.without(body, value, TYPED)
    assert out == left
    assert orjson.loads(out) == {key: inner for key, inner in value.items() if key not in TYPED}


@given(
    st.dictionaries(
        st.sampled_from([*TYPED, "a", "b", "model"]),
        st.recursive(
            st.none() | st.booleans() | st.integers(-9, 9) | st.text(max_size=5),
            lambda x: st.lists(x, max_size=3) | st.dictionaries(st.sampled_from([*TYPED, "a"]), x, max_size=3),
            max_leaves=8,
        ),
    ),
    st.booleans(),
)
def test_without_is_what_the_members_are_without(value: dict[str, Any], spaced: bool) -> None:
    body = json.dumps(value, indent=1 if spaced else None).encode()
    assert orjson.loads(splice.without(body, value, TYPED)) == {key: inner for key, inner in value.items() if key not in TYPED}


def test_a_number_is_raised() -> None:
    assert splice.shift_number(b'{"n":{"sequence_number":1},"sequence_number": 9 }', "sequence_number", 2) == (
        b'{"n":{"sequence_number":1},"sequence_number": 11 }'
    )
    for data in (b"[DONE]", b"{}", b'{"sequence_number":"9"}', b'{"sequence_number":true}', b"[1]"):
        assert splice.shift_number(data, "sequence_number", 1) is data
