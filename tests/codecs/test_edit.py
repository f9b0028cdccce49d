"""The operator's changes of a body: what they change, and that every other byte stays."""

from __future__ import annotations

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dragoman.codecs.edit import PATH, edited

# body, set, remove, the body afterwards, what is reported as removed, as replaced
TABLE = [
    (b'{"a":1,"b":2}', {}, ["a"], b'{"b":2}', [("a",)], []),
    (b'{"a":1,"b":2}', {}, ["b"], b'{"a":1}', [("b",)], []),
    (b'{"a":1}', {}, ["a"], b"{}", [("a",)], []),
    (b'{ "a" : 1.0 ,\n "b":2 }', {}, ["a"], b'{ "b":2 }', [("a",)], []),
    (b'{ "a" : 1.0 ,\n "b":2 }', {}, ["b"], b'{ "a" : 1.0 }', [("b",)], []),
    (b'{"a":1}', {}, ["b", "a.b", "a[].b"], b'{"a":1}', [], []),
    (b'{"a":{"b":[1,{"c":"}"}],"d":"\\""}}', {}, ["a.b"], b'{"a":{"d":"\\""}}', [("a", "b")], []),
    (b'{"m":[{"n":1,"c":0},7,{"c":0,"n":2}]}', {}, ["m[].n"], b'{"m":[{"c":0},7,{"c":0}]}', [("m", 0, "n"), ("m", 2, "n")], []),
    (b'{"m":[[{"n":1}],[]]}', {}, ["m[][].n"], b'{"m":[[{}],[]]}', [("m", 0, 0, "n")], []),
    (b'{"\\u0061":1,"b":2}', {}, ["a"], b'{"b":2}', [("a",)], []),
    (b'{"x":1,"a":1,"a":2}', {}, ["a"], b'{"x":1}', [("a",), ("a",)], []),
    (b'{"a":1,"x":1,"a":2}', {}, ["a"], b'{"x":1}', [("a",), ("a",)], []),
    (b'{"a":1}', {"b": {"c": [True]}}, [], b'{"a":1,"b":{"c":[true]}}', [], []),
    (b"{ }", {"b": None}, [], b'{ "b":null}', [], []),
    (b'{"a":1e5}', {"a": "x"}, [], b'{"a":"x"}', [], [("a",)]),
    (b'{"a": "x" }', {"a": "x"}, [], b'{"a": "x" }', [], []),
    (b'{"a":{"b":1}}', {"a.c": 2, "a.b": 3}, [], b'{"a":{"b":3,"c":2}}', [], [("a", "b")]),
    (b'{"a":null}', {"a.b.c": 2}, [], b'{"a":{"b":{"c":2}}}', [], [("a",)]),
    (b'{"a":1}', {"b.c": 2}, ["a"], b'{"b":{"c":2}}', [("a",)], []),
    (b'\xef\xbb\xbf {"a":1}', {"a": 2}, [], b'\xef\xbb\xbf {"a":2}', [], [("a",)]),
    (b'[{"a":1}]', {"a": 2}, ["a"], b'[{"a":1}]', [], []),
]


@pytest.mark.parametrize(("body", "set", "remove", "after", "removed", "replaced"), TABLE)
def test_edits(body, set, remove, after, removed, replaced):
    assert edited(body, set.items(), remove) == (after, removed, replaced)


def test_nothing_is_added_to_what_is_only_counted():
    assert edited(b'{"a":{},"b":1}', [("a.c", 1), ("d", 1), ("b", 2)], [], adds=False).body == b'{"a":{},"b":2}'


def test_a_long_list_takes_time_by_its_length():
    body = b'{"m":[' + b",".join([b'{"n":1,"c":"x"}'] * 50_000) + b"]}"
    assert edited(body, [], ["m[].n"]).body == b'{"m":[' + b",".join([b'{"c":"x"}'] * 50_000) + b"]}"


@pytest.mark.parametrize("path", ["a", "a.b", "a[].b", "a[][].b-c", "x_1"])
def test_paths(path):
    assert PATH.fullmatch(path)


@pytest.mark.parametrize("path", ["", ".", "a.", ".a", "a[]", "[].a", "a..b", "a[0]", "a b", 'a"'])
def test_what_is_no_path(path):
    assert not PATH.fullmatch(path)


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["a", "b", 'q"', "é"]), inner, max_size=4),
    max_leaves=12,
)


def _without(value, steps):
    """As `remove`, on values."""
    name, *rest = steps
    if name == "[]":
        return [_without(one, rest) for one in value] if isinstance(value, list) else value
    if not isinstance(value, dict) or name not in value:
        return value
    if rest:
        return value | {name: _without(value[name], rest)}
    return {key: one for key, one in value.items() if key != name}


def _with(value, names, what):
    """As `set`, on values."""
    if not names:
        return what
    inside = value if isinstance(value, dict) else {}
    return inside | {names[0]: _with(inside.get(names[0]), names[1:], what)}


@given(
    st.dictionaries(st.sampled_from(["a", "b", "c"]), _JSON),
    st.sampled_from([["a"], ["a", "b"], ["b", "[]", "a"], ["a", "[]", "b", "a"]]),
    _JSON,
)
def test_the_text_is_edited_as_the_value_would_be(body, steps, what):
    path = ".".join(steps).replace(".[]", "[]")
    for text in (orjson.dumps(body), orjson.dumps(body, option=orjson.OPT_INDENT_2)):
        assert orjson.loads(edited(text, [], [path]).body) == _without(body, steps)
        if "[]" not in steps:
            assert orjson.loads(edited(text, [(path, what)], []).body) == _with(body, steps, what)
