"""Header lines are read as Tornado reads them: the short way and the long one give the same, or refuse the same."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from tornado.httputil import HTTPHeaders, HTTPInputError

from dragoman.proxy.wire import http1

PIECES = ["a", "B-c", ":", ": ", " ", "\t", "\r", "\n", "\r\n", "x", "\x00", "\x7f", "\xe9", ",", "\r\nContent-Length: 3", "\x0b", "\x85"]


def read(parse: object, lines: str) -> object:
    try:
        return list(parse(lines).get_all())  # type: ignore[operator]
    except HTTPInputError:
        return "refused"


@given(st.lists(st.sampled_from(PIECES)).map("".join))
@example("Host: a\r\nX-A: 1\r\nx-a:2 \r\nEmpty:\r\nSpace: \t ")
@example("Host: a\nBare: lf")
@example("A: b\r\n folded")
@example("A: b\r")
@example("")
def test_the_same_as_tornado(lines: str) -> None:
    assert read(http1.parse_headers, lines) == read(HTTPHeaders.parse, lines)


@pytest.mark.parametrize("name", ["Set-Cookie", "Via"])
def test_repeated_ones_are_kept(name: str) -> None:
    headers = http1.parse_headers(f"{name}: a\r\n{name.lower()}: b")
    assert headers.get_list(name) == ["a", "b"]


@pytest.mark.parametrize("after", ["\r\nB: 1", "\nB: 1"])
def test_long_names_reach_no_cache(after: str) -> None:
    """Tornado's holds them as well, and whoever sends a thousand would fill both for good."""
    name = "A" + "b" * (http1.MAX_NAME - 1)
    assert http1.parse_headers(f"{name}: 1{after}").get_list(name) == ["1"]
    with pytest.raises(HTTPInputError):
        http1.parse_headers(f"{name}c: 1{after}")
