"""Numbers of tokens as upstreams tell them, sensible and not."""

from __future__ import annotations

from typing import Any

import pytest

from dragoman.codecs import usage
from dragoman.codecs.usage import MOST, Usage, count
from dragoman.conf.model import Price
from dragoman.proxy.keys.cost import cost

HUGE = [2**62, 2**63, 10**400, MOST + 1, 1e300, float("inf")]
ABSURD: list[Any] = [None, True, False, -1, -(2**62), *HUGE, 1.5, -1.0, float("nan"), "5", [], {}]


@pytest.mark.parametrize(("value", "number"), [(0, 0), (1, 1), (MOST, MOST), (12.0, 12), (0.0, 0)])
def test_what_is_a_count(value: Any, number: int) -> None:
    found = count(value)
    assert (found, type(found)) == (number, int)


@pytest.mark.parametrize("value", ABSURD)
def test_what_is_none(value: Any) -> None:
    assert count(value) == 0


@pytest.mark.parametrize("value", ABSURD)
def test_no_usage_is_absurd_and_no_cost_infinite(value: Any) -> None:
    details = {"cached_tokens": value, "cache_write_tokens": value, "reasoning_tokens": value, "thinking_tokens": value}
    chat = {"prompt_tokens": value, "completion_tokens": value, "total_tokens": value, "cached_tokens": value}
    responses = {"input_tokens": value, "output_tokens": value, "total_tokens": value}
    messages = {"input_tokens": value, "output_tokens": value, "cache_read_input_tokens": value, "cache_creation_input_tokens": value}
    for found in (
        usage.from_chat(chat | {"prompt_tokens_details": details, "completion_tokens_details": details}),
        usage.from_responses(responses | {"input_tokens_details": details, "output_tokens_details": details}),
        usage.from_messages(messages | {"output_tokens_details": details}),
        usage.from_chat(chat | {"prompt_tokens_details": value}),
    ):
        assert (found.input, found.output, found.all, found.cache_read or 0, found.cache_write or 0, found.reasoning or 0) == (0,) * 6
        assert cost(found, Price("*", 1e6, 1e6, 1e6, 1e6)) == 0.0


def test_the_greatest_counts_and_prices_fit_into_what_is_counted() -> None:
    dearest = cost(Usage(MOST, MOST, MOST, MOST), Price("*", 1e6, 1e6, 1e6, 1e6))
    assert dearest * 1e9 < 2**63  # billionths of a dollar


def test_a_total_that_says_nothing_is_not_taken() -> None:
    assert usage.from_chat({"prompt_tokens": 3, "completion_tokens": 4, "total_tokens": 0}).all == 7
    assert usage.from_chat({"prompt_tokens": 3, "completion_tokens": 4, "total_tokens": 9}).all == 9
