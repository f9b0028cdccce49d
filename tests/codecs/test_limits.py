"""Rate-limit headers from one shape to another, as literal tables."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dragoman.codecs import limits
from dragoman.codecs.limits import retry_after
from dragoman.codecs.registry import SHAPES

NOW = 1_700_000_000.25  # 2023-11-14T22:13:20.25Z

RETRY = [
    ("chat", {"Retry-After": "7"}, {"retry-after": "7"}),
    ("messages", {"retry-after": "0.2"}, {"retry-after": "1"}),
    ("chat", {"retry-after": "0"}, {"retry-after": "0"}),
    ("chat", {"retry-after": "Tue, 14 Nov 2023 22:14:20 GMT"}, {"retry-after": "60"}),
    ("chat", {"retry-after": "Tue, 14 Nov 2023 22:00:00 GMT"}, {"retry-after": "0"}),
    ("chat", {"retry-after": "soon"}, {}),
    ("chat", {"retry-after": "-3"}, {}),
    ("chat", {"retry-after": ""}, {}),
    ("responses", {"retry-after-ms": "1500"}, {"retry-after-ms": "1500"}),
    ("messages", {"retry-after-ms": "1500"}, {"retry-after": "2"}),
    ("messages", {"retry-after-ms": "1500", "retry-after": "9"}, {"retry-after": "9"}),
    ("responses", {"retry-after-ms": "1500", "retry-after": "9"}, {"retry-after-ms": "1500", "retry-after": "9"}),
    ("messages", {"X-Should-Retry": "false"}, {"x-should-retry": "false"}),
    ("messages", {"x-should-retry": "perhaps"}, {}),
]


def answer_headers(upstream: str, caller: str, headers: dict[str, str], now: float) -> dict[str, str]:
    return limits.answer_headers(SHAPES[upstream].limits, SHAPES[caller].limits, headers, now)


@pytest.mark.parametrize(("client", "headers", "expected"), RETRY)
def test_retry_headers(client, headers, expected):
    for upstream in {"chat", "messages", "responses"} - {client}:
        assert answer_headers(upstream, client, headers, NOW) == expected


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({}, None),
        ({"Retry-After": "2.5"}, 2.5),
        ({"retry-after": "9", "retry-after-ms": "250"}, 0.25),
        ({"retry-after": "Tue, 14 Nov 2023 22:13:21 GMT"}, 0.75),
        ({"retry-after": "Tue, 14 Nov 2023 22:13:21 -0000"}, 0.75),
        ({"retry-after": "Mon, 99 Foo 2023"}, None),
    ],
)
def test_retry_after(headers, expected):
    assert retry_after(headers, NOW) == expected


TO_MESSAGES = [
    ("6m0s", "2023-11-14T22:19:21Z"),
    ("1s", "2023-11-14T22:13:22Z"),
    ("12ms", "2023-11-14T22:13:21Z"),
    ("1h2m3.5s", "2023-11-14T23:15:24Z"),
    ("0s", "2023-11-14T22:13:21Z"),
    ("90", "2023-11-14T22:14:51Z"),
    ("tomorrow", None),
    ("999999999999h", None),
]


@pytest.mark.parametrize(("duration", "moment"), TO_MESSAGES)
@pytest.mark.parametrize("upstream", ["chat", "responses"])
def test_resets_for_messages(upstream, duration, moment):
    found = answer_headers(upstream, "messages", {"x-ratelimit-reset-tokens": duration}, NOW)
    assert found == ({} if moment is None else {"anthropic-ratelimit-tokens-reset": moment})


def test_counts_for_messages():
    headers = {
        "x-ratelimit-limit-requests": "100",
        "x-ratelimit-remaining-requests": "99",
        "X-RateLimit-Limit-Tokens": "4000",
        "x-ratelimit-remaining-tokens": "-1",
        "x-ratelimit-limit-images": "5",
        "openai-organization": "org",
        "set-cookie": "a=b",
    }
    assert answer_headers("chat", "messages", headers, NOW) == {
        "anthropic-ratelimit-requests-limit": "100",
        "anthropic-ratelimit-requests-remaining": "99",
        "anthropic-ratelimit-tokens-limit": "4000",
    }


FROM_MESSAGES = [
    ("2023-11-14T22:14:50Z", "1m30s"),
    ("2023-11-14T22:13:21+00:00", "750ms"),
    ("2023-11-14T22:13:20.251Z", "1ms"),
    ("2023-11-14T20:00:00Z", "0s"),
    ("2023-11-15T00:15:23.25Z", "2h2m3s"),
    ("2023-11-14T23:13:20.25Z", "1h0m0s"),
    ("2023-11-14T22:13:27.9Z", "8s"),
    ("2023-11-14T22:14:50", None),
    ("soon", None),
]


@pytest.mark.parametrize(("moment", "duration"), FROM_MESSAGES)
@pytest.mark.parametrize("client", ["chat", "responses"])
def test_resets_from_messages(client, moment, duration):
    found = answer_headers("messages", client, {"anthropic-ratelimit-requests-reset": moment}, NOW)
    assert found == ({} if duration is None else {"x-ratelimit-reset-requests": duration})


def test_input_tokens_stand_in_for_tokens():
    headers = {
        "anthropic-ratelimit-input-tokens-limit": "10",
        "anthropic-ratelimit-input-tokens-remaining": "4",
        "anthropic-ratelimit-output-tokens-limit": "5",
        "anthropic-priority-input-tokens-limit": "7",
        "anthropic-organization-id": "o",
    }
    assert answer_headers("messages", "chat", headers, NOW) == {
        "x-ratelimit-limit-tokens": "10",
        "x-ratelimit-remaining-tokens": "4",
    }
    combined = headers | {"anthropic-ratelimit-tokens-limit": "15"}
    assert answer_headers("messages", "chat", combined, NOW) == {"x-ratelimit-limit-tokens": "15"}


def test_the_openai_shapes_share_their_words():
    headers = {"X-RateLimit-Reset-Tokens": "1m30s", "x-ratelimit-limit-requests": "3", "x-request-id": "r"}
    assert answer_headers("chat", "responses", headers, NOW) == {
        "x-ratelimit-reset-tokens": "1m30s",
        "x-ratelimit-limit-requests": "3",
    }


def test_a_value_that_could_break_a_header_is_left_out():
    assert answer_headers("chat", "responses", {"x-ratelimit-reset-tokens": "1s\r\nx: y"}, NOW) == {}


NAMES = ["retry-after", "retry-after-ms", "x-ratelimit-reset-tokens", "anthropic-ratelimit-tokens-reset"]


@given(st.dictionaries(st.sampled_from(NAMES), st.text() | st.from_regex(r"[0-9.hmsZT:+-]{0,40}", fullmatch=True)))
def test_nothing_raises(headers):
    for upstream in ("chat", "messages", "responses"):
        for client in ("chat", "messages", "responses"):
            for value in answer_headers(upstream, client, headers, NOW).values():
                assert value.isprintable()


@given(st.floats(0, 1e7))
def test_a_reset_there_and_back_is_never_early_and_at_most_a_second_late(seconds):
    there = answer_headers("chat", "messages", {"x-ratelimit-reset-tokens": f"{seconds:.3f}s"}, NOW)
    back = answer_headers("messages", "chat", there, NOW)
    again = answer_headers("chat", "messages", back, NOW)
    first, second = (datetime.fromisoformat(found["anthropic-ratelimit-tokens-reset"]) for found in (there, again))
    assert timedelta(0) <= second - first <= timedelta(seconds=1)
