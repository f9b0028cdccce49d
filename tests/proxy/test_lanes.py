"""Lanes: how the bytes of one shape are cut into events. What lanes do with whole answers is tested end to end."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dragoman.proxy.exchange.lanes import _EVENT, events_of


@pytest.mark.parametrize(
    ("whole", "events"),
    [
        (b"", []),
        (b"data: 1\n\n", [b"data: 1\n\n"]),
        (b"data: 1\n\nevent: a\ndata: 2\n\n", [b"data: 1\n\n", b"event: a\ndata: 2\n\n"]),
        (b"data: 1\r\n\r\ndata: 2\n\n", [b"data: 1\r\n\r\n", b"data: 2\n\n"]),
        (b"data: 1\n\n\ndata: 2\n\ndata", [b"data: 1\n\n", b"\ndata: 2\n\n", b"data"]),
    ],
)
def test_events(whole: bytes, events: list[bytes]) -> None:
    assert events_of(whole) == events


@given(st.text("ab\n").map(str.encode))
def test_both_ways_to_cut_agree(whole: bytes) -> None:
    assert events_of(whole) == _EVENT.findall(whole)
