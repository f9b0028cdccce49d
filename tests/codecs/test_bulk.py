"""A body read in steps says what it says when read at once, or is refused alike."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dragoman.codecs import bulk, errors, splice

TEXT = st.text(alphabet=st.sampled_from('ab"\\\n\t{}[],: é中😀'), max_size=40)
VALUE = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**15), 10**15) | st.floats(allow_nan=False, allow_infinity=False) | TEXT,
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(TEXT | st.sampled_from(["model", "stream", "a"]), inner, max_size=5),
    max_leaves=20,
)
BODY = st.dictionaries(TEXT | st.sampled_from(["model", "stream"]), VALUE, max_size=6)
SPELLED = [
    b'{"model":"a","mod\\u0065l":"b"}',
    b'{"model": "x" , "stream" :true, "a":[1 ,2,[],{}, {"model":3}]}',
    b'  {"a":"\\ud83d\\ude00\\ud83d\\ud83d\\ude00\\\\ud83d\\ude00","model":null}\n',
    b"\xef\xbb\xbf{}",
    b'{"a":"' + "中é😀".encode() * 20 + b'"}',
    b'{"' + b"k" * 100 + b'":1}',
    b'{"a":1,"a":2,"b":3,"a":{"c":[1,2,3,4,5,6,7,8,9,10,11,12]}}',
    b"[" * 30 + b"]" * 30,
    b'{"a":' * 30 + b"1" + b"}" * 30,
]
BROKEN = [
    b"",
    b"  ",
    b"{",
    b"}",
    b"{]",
    b'{"a":[1,2,}]',
    b'{"a":[1,,2]}',
    b'{"a":[,1]}',
    b'{"a":[1,]}',
    b'{"a":1,}',
    b"{,}",
    b'{"a"}',
    b'{"a" 1}',
    b'{"a":1 "b":2}',
    b'{"a":["' + b"x" * 60 + b'" "y"]}',
    b'{"a":["' + b"x" * 60 + b'"1]}',
    b'{"a":[[' + b"1," * 40 + b"1][1]]}",
    b'{"a":{' + b'"b":1,' * 20 + b'"b"}}',
    b'{"a":[n"' + b"x" * 60 + b'"]}',
    b'{"a":"' + b"x" * 60,
    b'{"a":"' + b"x" * 60 + b'\\"}',
    b'{"a":"' + b"x" * 60 + b'\\u12"}',
    b'{"a":"' + b"x" * 60 + b'\\q"}',
    b'{"a":"' + b"x" * 60 + b'\n"}',
    b'{"a":"' + b"x" * 60 + b'\xff"}',
    b'{"a":"' + b"\x80" * 60 + b'"}',
    b'{"a":1} x',
    b'{"a":1}{}',
    b'{"a":1}' + b" " * 80 + b'"x"',
    b'x{"a":1}',
    b'"x"{}',
    b'"' + b"x" * 60 + b'"',
    b'{"a":NaN}',
    b"{'a':1}",
    b'{"a":01}',
]


@pytest.fixture(params=[8, 64])
def short(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bulk, "CHUNK", request.param)
    monkeypatch.setattr(bulk, "SLICE", 24)
    monkeypatch.setattr(bulk, "TOKENS", 3)


def stepped(body: bytes, most: int = 1 << 30) -> splice.Scan:
    steps = bulk.scan(body, most)
    while True:
        try:
            next(steps)
        except StopIteration as end:
            found: splice.Scan = end.value
            return found


def outcome(scan: Any, body: bytes) -> Any:
    try:
        found = scan(body)
    except errors.ClientFault as fault:
        return type(fault), fault.message, fault.param
    return list(found.value.items()), found[1:]


@pytest.mark.usefixtures("short")
@pytest.mark.parametrize("body", SPELLED)
def test_spelled(body: bytes) -> None:
    assert outcome(stepped, body) == outcome(splice.scan, body)


@pytest.mark.usefixtures("short")
@pytest.mark.parametrize("body", BROKEN)
def test_broken(body: bytes) -> None:
    assert outcome(splice.scan, body)[0] is errors.Malformed
    assert outcome(stepped, body)[0] is errors.Malformed


def test_any_body() -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(bulk, "SLICE", 24)

        @given(BODY, st.sampled_from([8, 64, 512]), st.sampled_from([0, orjson.OPT_INDENT_2]))
        def check(value: dict[str, Any], chunk: int, indent: int) -> None:
            patch.setattr(bulk, "CHUNK", chunk)
            body = orjson.dumps(value, option=indent)
            expected, found = outcome(splice.scan, body), outcome(stepped, body)
            assert found == expected

        @given(BODY, st.integers(0), st.sampled_from([8, 512]), st.binary(max_size=2))
        def broken(value: dict[str, Any], place: int, chunk: int, put: bytes) -> None:
            patch.setattr(bulk, "CHUNK", chunk)
            body = orjson.dumps(value)
            at = place % (len(body) + 1)
            body = body[:at] + put + body[at + len(put) :]
            expected, found = outcome(splice.scan, body), outcome(stepped, body)
            assert found == expected

        check()
        broken()


def test_values_are_counted() -> None:
    for body, values in ((b'{"a":[1,2,3]}', 4), (b"[[],[],[]]", 6), (b'{"a":1,"b":"x,y[{"}', 2)):
        with pytest.raises(errors.TooLarge):
            stepped(body, values - 1)
        assert values <= len(body)
        try:
            stepped(body, values)
        except errors.Malformed:
            assert body.startswith(b"[")


def test_deep() -> None:
    with pytest.raises(errors.Malformed):
        stepped(b'{"a":' * 2000 + b"1" + b"}" * 2000)
