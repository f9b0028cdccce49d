"""JSON text: whole arguments against tables and a brute-force repair, and the incremental readers cut at every character."""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Iterable, Iterator
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dragoman.codecs import jsontext
from dragoman.codecs.jsontext import InputUnwrapper, ObjectScanner, SurrogateJoiner

HIGH, LOW, EMOJI = "\ud83d", "\ude00", "\U0001f600"


def cuts(text: str) -> Iterator[list[str]]:
    """Whole, character by character, with empty pieces, and cut in two at every character."""
    yield [text]
    yield list(text)
    yield [piece for char in text for piece in ("", char, "")]
    for i in range(1, len(text)):
        yield [text[:i], text[i:]]


def sliced(text: str, places: Iterable[int]) -> list[str]:
    edges = sorted({place % (len(text) + 1) for place in places} | {0, len(text)})
    return [text[a:b] for a, b in itertools.pairwise(edges)]


# ---- loads and dumps ----


@pytest.mark.parametrize(
    ("data", "value"),
    [
        (b'{"a":[1,2.5,null,true,"x"]}', {"a": [1, 2.5, None, True, "x"]}),
        (b"\xef\xbb\xbf [1] ", [1]),
        (rb'"\ud83d"', HIGH),
        (rb'"\ude00"', LOW),
        (rb'{"\uD83D":"a\udE00b","c":"\ud83d\ude00"}', {HIGH: f"a{LOW}b", "c": EMOJI}),
        (b'\xef\xbb\xbf"\\ud83d"', HIGH),
        (b'"a\xffb"', "a\ufffdb"),
        (b'["\xf0\x9f","\\ud83d"]', ["\ufffd", HIGH]),
        (f'"{HIGH}"', HIGH),
        ("\ufeff1", 1),
        (b'"\\u0000\\/"', "\x00/"),
    ],
)
def test_what_is_json_is_read(data: bytes | str, value: Any) -> None:
    assert jsontext.loads(data) == value


@pytest.mark.parametrize(
    "data",
    [
        b"", b" ", b"{", b'"', b"nul", b"[1,]", b"{a:1}", b"'a'", b"01", b"1 2", b"NaN", b"-Infinity", b"[Infinity]", b"1e999",
        b'["\\ud83d",NaN]', b'["\\ud83d",-Infinity]', b'["\\ud83d",1e999]', b'["\\ud83d"', b'["\\ud83d\n"]', b'"\\ud83"',
        b'"\\x"', b"\xff", b"\xef\xbb\xbf\xef\xbb\xbf1", b"[" * 100_000, b'["\\ud83d",' * 100_000, "{'a'}", f"{HIGH}", b'"\x00"',
    ],
)  # fmt: skip
def test_what_is_no_json_is_a_value_error(data: bytes | str) -> None:
    with pytest.raises(ValueError):
        jsontext.loads(data)


@pytest.mark.parametrize("data", [b'"\xff"', b'["\\ud83d\xff"]', b"\xff"])
def test_bytes_that_are_no_utf8_can_be_refused(data: bytes) -> None:
    with pytest.raises(ValueError):
        jsontext.loads(data, "strict")


scalars = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
texts = st.text(st.characters() | st.sampled_from([HIGH, LOW, '"', "\\", "\n", "/"]), max_size=8)
trees = st.recursive(
    scalars | texts,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
    max_leaves=12,
)


@given(trees)
def test_reading_undoes_writing(value: Any) -> None:
    text = jsontext.dumps(value)
    assert json.loads(text) == value
    if all(abs(number) < 2**63 for number in _integers(value)):
        assert jsontext.loads(text) == value


def _integers(value: Any) -> Iterator[int]:
    if isinstance(value, int):
        yield value
    for inner in value if isinstance(value, list) else value.values() if isinstance(value, dict) else ():
        yield from _integers(inner)


def test_writing_is_orjsons_where_orjson_can() -> None:
    for value in ({"é": ["\u2028", 1.0, 1e22, True, None, {}, []]}, math.nan, "x"):
        assert jsontext.dumps([value, HIGH]) == b"[%b,%b]" % (orjson.dumps(value), rb'"\ud83d"')
        assert jsontext.dumps(value) == orjson.dumps(value)


def test_writing_has_no_limit_of_size_or_depth() -> None:
    deep: Any = {"number": 2**70}
    for _ in range(5000):
        deep = [{"a": deep}, 1]
    text = jsontext.dumps(deep)
    assert text == b'[{"a":' * 5000 + b'{"number":%d}' % 2**70 + b"},1]" * 5000


# ---- whole arguments ----


@pytest.mark.parametrize(
    ("raw", "value"),
    [
        ("", {}),
        (" \n\t ", {}),
        ("{}", {}),
        (' {"a": 1} ', {"a": 1}),
        ('{"a":1}{"b":2}', {"a": 1}),
        ('{"a":1} trailing } text', {"a": 1}),
        ('{"b":1,"a":2,"b":3}', {"b": 3, "a": 2}),
        ('{"id":12345678901234567890123}', {"id": 12345678901234567890123}),
        ('{"id":18446744073709551616} x', {"id": 18446744073709551616}),
        ('{"a":"\\ud83d"}', {"a": HIGH}),
        ('{"a":"\\ud83d"} x', {"a": HIGH}),
        ("null", {}),
        ("[1]", None),
        ('"text"', None),
        ("12", None),
        ("{", None),
        ('{"a":', None),
        ("{'a':1}", None),
        ('{"a":NaN}', None),
        ('{"a":1e999}', None),
        ('{"a":"\n"}', None),
        ('x {"a":1}', None),
        (' [1] {"a":1} ', None),
        ('{"a":' * 100_000, None),
    ],
)
def test_arguments_become_an_object(raw: str, value: dict[str, Any] | None) -> None:
    assert jsontext.arguments_to_input(raw) == ({"INVALID_JSON": raw} if value is None else value)


@pytest.mark.parametrize(
    ("raw", "value"),
    [
        ("", {}),
        ("{", {}),
        (' {"a": 1} ', {"a": 1}),
        ('{"a":1}}', {"a": 1}),
        ('{"path":"/etc/ho', {"path": "/etc/ho"}),
        ('{"a":1,"b', {"a": 1}),
        ('{"a":1,"b"', {"a": 1}),
        ('{"a":1,"b":', {"a": 1}),
        ('{"a":1,', {"a": 1}),
        ('{"a":"', {"a": ""}),
        ('{"a":[1,{"b":[tr', {"a": [1, {"b": []}]}),
        ('{"a":[1,"x', {"a": [1, "x"]}),
        ('{"a":[[],', {"a": [[]]}),
        ('{"a":{"b":{}', {"a": {"b": {}}}),
        ('{"a":true', {"a": True}),
        ('{"a":nul', {}),
        ('{"a":12', {"a": 12}),
        ('{"a":12.', {"a": 12}),
        ('{"a":12.5e', {"a": 12.5}),
        ('{"a":-', {}),
        ('{"a":"x\\', {"a": "x"}),
        ('{"a":"x\\"', {"a": 'x"'}),
        ('{"a":"x\\u00e', {"a": "x"}),
        ('{"a":"x\\ud83d', {"a": "x"}),
        ('{"a":"x\\ud83d\\', {"a": "x"}),
        ('{"a":"x\\ud83d\\ude0', {"a": "x"}),
        ('{"a":"x\\ud83d\\ude00', {"a": f"x{EMOJI}"}),
        ('{"a":"x\\\\ud83d', {"a": "x\\ud83d"}),
        ('{"a":"x\\ude00', {"a": f"x{LOW}"}),
        # nothing that an object began with
        ("[1,2", {}),
        ('"text', {}),
        ("sorry, I", {}),
        # broken in the middle: what comes before is kept
        ('{"a":1,b:2,"c":3', {"a": 1}),
        ('{"a":"x\ny"}', {"a": "x"}),
        ('{"a":"x\\qy"}', {"a": "x"}),
        ('{"a":[1}', {"a": [1]}),
        ('{"a" 1', {}),
        ('{"a":1 "b":2', {"a": 1}),
        ('{"a":1e999,', {}),
        ('{"a":12345678901234567890123,', {"a": 12345678901234567890123}),
        ('{"a":' * 100_000, {}),
    ],
)
def test_arguments_that_the_token_limit_cut_are_repaired(raw: str, value: dict[str, Any]) -> None:
    assert jsontext.arguments_to_input(raw, truncated=True) == value


def closed(text: str) -> str:
    """What is open, closed without a look at the grammar."""
    closers: list[str] = []
    string = escaped = False
    for char in text:
        if escaped or (string and char == "\\"):
            escaped = not escaped
        elif char == '"':
            string = not string
        elif not string and char in "{[":
            closers.append("}" if char == "{" else "]")
        elif not string and char in "}]" and closers:
            closers.pop()
    return text + ('"' if string else "") + "".join(reversed(closers))


def longest_repair(text: str) -> Any:
    for length in range(len(text), 0, -1):
        try:
            value = json.loads(closed(text[:length]))
            json.dumps(value, ensure_ascii=False).encode()
        except ValueError:  # half a character is none, too
            continue
        return value
    return {}


whole_texts = st.text(st.characters(codec="utf-8") | st.sampled_from([EMOJI, '"', "\\", "\n"]), max_size=6)
whole_trees = st.recursive(
    scalars | whole_texts,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(whole_texts, inner, max_size=4),
    max_leaves=12,
)


@given(st.dictionaries(whole_texts, whole_trees, max_size=4), st.integers(0, 400), st.booleans(), st.sampled_from([None, 1]))
def test_the_longest_beginning_is_kept(value: dict[str, Any], length: int, ascii_only: bool, indent: int | None) -> None:
    text = json.dumps(value, ensure_ascii=ascii_only, indent=indent)[:length]
    repaired = jsontext.arguments_to_input(text, truncated=True)
    assert json.dumps(repaired) == json.dumps(longest_repair(text.strip()))


@pytest.mark.parametrize(
    ("value", "raw"),
    [
        ({}, "{}"),
        ({"b": 1, "a": [1.0, "é\n", None]}, '{"b":1,"a":[1.0,"é\\n",null]}'),
        ({"INVALID_JSON": '{"a":'}, '{"a":'),
        ({"INVALID_JSON": ""}, ""),
        ({"INVALID_JSON": 1}, '{"INVALID_JSON":1}'),
        ({"INVALID_JSON": "x", "a": 1}, '{"INVALID_JSON":"x","a":1}'),
        ({"a": HIGH}, '{"a":"\\ud83d"}'),
        ({"id": 2**70}, f'{{"id":{2**70}}}'),
        (["a"], '["a"]'),
    ],
)
def test_an_object_becomes_arguments(value: Any, raw: str) -> None:
    assert jsontext.input_to_arguments(value) == raw


@given(st.dictionaries(texts, trees, max_size=4).filter(lambda value: value.keys() != {"INVALID_JSON"}))
def test_arguments_there_and_back(value: dict[str, Any]) -> None:
    assert jsontext.arguments_to_input(jsontext.input_to_arguments(value)) == value


# ---- the end of an object ----

# the text, and how much of it is the value; None: it is not over
OBJECTS: list[tuple[str, int | None]] = [
    ("", None),
    ("{}", 2),
    (' {"a":1} x{', 8),
    ('{"a":{"b":[{}]}}}', 16),
    ('{"a":"}"}]', 9),
    ('{"a":"\\"}"}', 11),
    ('{"a":"\\\\"}"}', 10),
    ('{"\\"{[":"]\\\\"}', 14),
    ("[[],[]],", 7),
    ('{"a":"\\u007d\n"}', 15),
    ('{"a":"', None),
    ('{"a":"}\\', None),
    ('{"a":[}', None),
    ("12", None),
    ('"{}"', None),
]


@pytest.mark.parametrize(("text", "length"), OBJECTS)
def test_the_end_of_an_object_wherever_it_is_cut(text: str, length: int | None) -> None:
    for pieces in cuts(text):
        scanner = ObjectScanner()
        belongs = 0
        for piece in pieces:
            count = scanner.feed(piece)
            assert (count is None) == (not scanner.complete)
            belongs += len(piece) if count is None else count
        assert scanner.complete == (length is not None), pieces
        assert belongs == (len(text) if length is None else length), pieces


containers = st.lists(trees, max_size=4) | st.dictionaries(texts, trees, max_size=4)


@given(containers, st.text('{}[]"\\ x', max_size=5), st.lists(st.integers(0, 200), max_size=6), st.booleans())
def test_the_end_of_any_object(value: Any, rest: str, places: list[int], ascii_only: bool) -> None:
    text = json.dumps(value, ensure_ascii=ascii_only)
    scanner = ObjectScanner()
    counts = [(scanner.feed(piece), len(piece)) for piece in sliced(text + rest, places)]
    assert sum(length if count is None else count for count, length in counts) == len(text)


# ---- surrogates ----


@pytest.mark.parametrize(
    ("pieces", "out", "end"),
    [
        (["a", "b"], ["a", "b"], ""),
        (["a" + HIGH, LOW + "b"], ["a", EMOJI + "b"], ""),
        ([HIGH, "", LOW], ["", "", EMOJI], ""),
        ([HIGH + LOW], [EMOJI], ""),
        ([HIGH, "b"], ["", "\ufffdb"], ""),
        ([HIGH, HIGH, LOW], ["", "\ufffd", EMOJI], ""),
        (["a" + HIGH], ["a"], "\ufffd"),
        ([LOW + "é" + HIGH + "ü"], ["\ufffdé\ufffdü"], ""),
        ([EMOJI, "é", ""], [EMOJI, "é", ""], ""),
    ],
)
def test_halves_of_a_character_meet(pieces: list[str], out: list[str], end: str) -> None:
    joiner = SurrogateJoiner()
    assert [joiner.feed(piece) for piece in pieces] == out
    assert joiner.finish() == end
    assert joiner.finish() == ""


@given(st.text(st.sampled_from(["a", "é", EMOJI, HIGH, LOW, "\U0010ffff", "\udbff", "\udfff"])), st.lists(st.integers(0, 50)))
def test_any_text_in_any_cut_is_as_utf16_reads_it(text: str, places: list[int]) -> None:
    joiner = SurrogateJoiner()
    out = "".join(joiner.feed(piece) for piece in sliced(text, places)) + joiner.finish()
    assert out == text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


# ---- a custom tool's text ----

# the arguments, and the free text in them
WRAPPED: list[tuple[str, str]] = [
    ('{"input":"abc"}', "abc"),
    ('{"input":""}', ""),
    (' \n{ "input"\t:\r "a b" } ', "a b"),
    ('{"input":"a\\"b\\\\c\\/d\\n\\t\\r\\b\\fe"}', 'a"b\\c/d\n\t\r\b\fe'),
    ('{"input":"\\u00e9\\ud83d\\ude00\\uD83D\\uDE00é😀"}', f"é{EMOJI}{EMOJI}é😀"),
    ('{"input":"a\\ud83d"}', "a\ufffd"),
    ('{"input":"\\ud83dx\\ude00"}', "\ufffdx\ufffd"),
    ('{"input":"\\ud83d\\n\\ude00"}', "\ufffd\n\ufffd"),
    (f'{{"input":"{HIGH}{LOW}"}}', EMOJI),
    ('{"input":"line\nline"}', "line\nline"),
    # after the closing quote nothing counts
    ('{"input":"a","b":"c"}', "a"),
    ('{"input":"a"', "a"),
    ('{"input":"a"x"', "a"),
    # cut, or escapes that there are not
    ('{"input":"a', "a"),
    ('{"input":"a\\', "a"),
    ('{"input":"a\\u00e', "a"),
    ('{"input":"a\\ud83d\\ude', "a\ufffd"),
    ('{"input":"a\\x\\u00zz"}', "a\\x\\u00zz"),
    # another beginning: the whole decides
    ('{"\\u0069nput":"a\\n"}', "a\n"),
    ('{"input":1}', '{"input":1}'),
    ('{"input":null}', '{"input":null}'),
    ('{"other":"a"}', '{"other":"a"}'),
    ('{"a":1,"input":"b"}', '{"a":1,"input":"b"}'),
    ('{"inputs":"a"}', '{"inputs":"a"}'),
    ("{}", "{}"),
    ("", ""),
    ("  ", "  "),
    ('{"inp', '{"inp'),
    ('{"input":', '{"input":'),
    ("plain text", "plain text"),
    ('"plain \\n text"', '"plain \\n text"'),
    (" " * 2000 + '{"input":"a"}', "a"),
]


@pytest.mark.parametrize(("raw", "text"), WRAPPED)
def test_free_text_is_taken_out_wherever_it_is_cut(raw: str, text: str) -> None:
    for pieces in cuts(raw) if len(raw) < 1000 else [[raw], list(raw)]:
        unwrapper = InputUnwrapper()
        assert "".join(map(unwrapper.feed, pieces)) + unwrapper.finish() == text, pieces


def test_free_text_comes_as_soon_as_it_is_known() -> None:
    unwrapper = InputUnwrapper()
    fed = ['{"inp', 'ut":"a', "b", "c\\", "nd", "\\u00", "e9", "\\ud83d", "\\ude00", 'e"', "}"]
    assert [unwrapper.feed(piece) for piece in fed] == ["", "a", "b", "c", "\nd", "", "é", "", EMOJI, "e", ""]
    assert unwrapper.finish() == ""


@given(texts, st.booleans(), st.lists(st.integers(0, 100), max_size=8))
def test_any_free_text_in_any_cut(text: str, ascii_only: bool, places: list[int]) -> None:
    unwrapper = InputUnwrapper()
    pieces = sliced(json.dumps({"input": text}, ensure_ascii=ascii_only), places)
    joiner = SurrogateJoiner()
    assert "".join(map(unwrapper.feed, pieces)) + unwrapper.finish() == joiner.feed(text) + joiner.finish()


@pytest.mark.parametrize(
    ("value", "wanted"),
    [
        ("a", "a"),
        ("\U0001f600", "\U0001f600"),
        ("a\ud83d", "a\ufffd"),
        ("\ude00\ud83d", "\ufffd\ufffd"),
        ({"\ud83d": ["x\\ud83d", "\\\ud83d", 10**30]}, {"\ufffd": ["x\\ud83d", "\\\ufffd", 10**30]}),
        (10**30, 10**30),
    ],
)
def test_halves_of_characters_are_mended(value: object, wanted: object) -> None:
    assert jsontext.mended(value) == wanted
