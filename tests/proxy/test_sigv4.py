"""Signatures: AWS's published example, and whatever botocore's own signer makes of the same request."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from hypothesis import assume, given
from hypothesis import strategies as st

from dragoman.codecs.carriers import CARRIERS
from dragoman.proxy.credentials import sigv4
from dragoman.proxy.credentials.aws import Clock, Keys
from dragoman.proxy.credentials.credential import Answer

# AWS, "Signature Version 4 test suite": the key, region, service and time of every case
KEY = ("AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY", "")
TIME = datetime(2015, 8, 30, 12, 36, tzinfo=UTC).timestamp()
EMPTY = hashlib.sha256(b"").hexdigest()


@contextmanager
def time_machine(now: float) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("dragoman.proxy.credentials.aws.time", lambda: now)
        yield


def by_botocore(
    method: str, url: str, headers: dict[str, str], body: bytes, keys: tuple[str, str, str], place: tuple[str, str], now: float
) -> str:
    request = AWSRequest(method, url, headers, body)
    request.context["timestamp"] = datetime.fromtimestamp(now, UTC).strftime("%Y%m%dT%H%M%SZ")
    signer = SigV4Auth(Credentials(keys[0], keys[1], keys[2] or None), place[1], place[0])
    names = signer.signed_headers(signer.headers_to_sign(request))
    signature = signer.signature(signer.string_to_sign(request, signer.canonical_request(request)), request)
    return f"AWS4-HMAC-SHA256 Credential={signer.scope(request)}, SignedHeaders={names}, Signature={signature}"


def test_the_key_of_a_day() -> None:
    """AWS, "Examples of how to derive a signing key": 20150830, us-east-1, iam."""
    key = sigv4._key(KEY[1], "20150830", "us-east-1", "iam")
    assert key.hex() == "c4afb1cc5771d871763a393e44b703571b55cc28424d1a5e86da6ed3c154a4b9"


@pytest.mark.parametrize(
    ("method", "target", "headers"),
    [
        ("GET", "/", {}),
        ("POST", "/", {}),
        ("GET", "/?Param2=value2&Param1=value1", {}),
        ("GET", "/?Param1=value2&Param1=Value1", {}),
        ("GET", "/?-._~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz=x", {}),
        ("GET", "/%E1%88%B4", {}),
        ("POST", "/", {"x-amz-b": "value1", "x-amz-a": "VALUE1"}),
        ("POST", "/", {"x-amz-a": "  a   b  c "}),
        ("POST", "/", {"content-type": "application/x-www-form-urlencoded; charset=utf-8"}),
    ],
)
def test_cases_of_the_suite(method: str, target: str, headers: dict[str, str]) -> None:
    compare(method, "example.amazonaws.com", target, headers, b"", KEY, ("us-east-1", "service"), TIME)


def compare(
    method: str,
    host: str,
    target: str,
    headers: dict[str, str],
    body: bytes,
    keys: tuple[str, str, str],
    place: tuple[str, str],
    now: float,
) -> None:
    sent = {"host": host} | headers
    added = sigv4.authorization(method, target, sent, hashlib.sha256(body).hexdigest(), keys, *place, now)
    ours = added.pop("authorization")
    assert ours == by_botocore(method, f"https://{host}{target}", sent | added, body, keys, place, now)


printable = st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=40)


@given(
    model=st.one_of(
        printable, st.text(min_size=1, max_size=30), st.just("arn:aws:bedrock:us-east-1:1:application-inference-profile/x%2Fy")
    ),
    body=st.binary(max_size=200),
    token=st.one_of(st.just(""), printable),
    place=st.tuples(
        st.sampled_from(["us-east-1", "eu-central-1"]), st.sampled_from(["bedrock", "bedrock-mantle", "aws-external-anthropic"])
    ),
    headers=st.dictionaries(st.sampled_from(["content-type", "accept", "x-amz-x", "x-amzn-bedrock-accept"]), printable),
    now=st.integers(1_500_000_000, 4_000_000_000),
    port=st.sampled_from(["", ":8443"]),
)
def test_c08_as_botocore_signs(
    model: str, body: bytes, token: str, place: tuple[str, str], headers: dict[str, str], now: int, port: str
) -> None:
    assume(model not in (".", ".."))  # no model has such an id; botocore removes them as steps of a path
    target = CARRIERS["bedrock_invoke"].url("", model.encode("utf-8", "replace").decode(), True)
    compare("POST", f"h.amazonaws.com{port}", target, headers, body, (KEY[0], KEY[1], token), place, float(now))


def test_what_is_not_signed() -> None:
    names: dict[str, Any] = dict.fromkeys(
        ("host", "content-type", "accept", "x-amz-date", "x-amzn-a", "user-agent", "traceparent", "tracestate", "expect", "x-request-id"),
        "",
    )
    assert sigv4.signed(names) == ["accept", "content-type", "host", "x-amz-date", "x-amzn-a"]


# ---- what an upstream says of a signature or a key (C10, C11) ----

TOLD = "Signature expired: 20261129T114500Z is now earlier than 20261129T115500Z (20261129T120000Z - 5 min.)"
EARLY = "Signature not yet current: 20261129T121500Z is still later than 20261129T120500Z (20261129T120000Z + 5 min.)"
NOON = datetime(2026, 11, 29, 12, tzinfo=UTC).timestamp()


def an_answer(name: str, message: str, status: int = 403, *, headers: bool = True, **more: str) -> Answer:
    body = {"message": message} | ({} if headers else {"__type": f"com.amazon.coral.service#{name}"})
    return Answer(status, ({"x-amzn-errortype": f"{name}:http://x/"} if headers else {}) | more, json.dumps(body).encode())


def some_keys() -> Keys:
    return Keys("", None, None, "AKIDEXAMPLE", "secret", Clock())


@pytest.mark.parametrize("headers", [True, False], ids=["header", "body"])
@pytest.mark.parametrize("message", [TOLD, EARLY])
def test_c10_the_clock_is_that_of_the_message(message: str, headers: bool) -> None:
    """Not that of `date`, which a proxy may have written."""
    given = some_keys()
    for count in (True, False):
        with time_machine(NOON - 900):
            told = an_answer("InvalidSignatureException", message, headers=headers, date="Sun, 29 Nov 2026 11:45:00 GMT")
            assert given.corrected(told) is count
    assert given.clock.offset == 900


@pytest.mark.parametrize(
    ("date", "offset"),
    [("Sun, 29 Nov 2026 12:05:00 GMT", 300), ("Sun, 29 Nov 2026 12:03:00 GMT", None), ("soon", None), ("", None)],
)
def test_c10_without_times_in_the_message_it_is_that_of_the_answer(date: str, offset: float | None) -> None:
    given = some_keys()
    with time_machine(NOON):
        assert given.corrected(an_answer("SignatureDoesNotMatch", "It does not match.", date=date)) is (offset is not None)
    assert given.clock.offset == (offset or 0)


@pytest.mark.parametrize(
    ("answer", "refused", "unknown"),
    [
        (an_answer("ExpiredTokenException", "x"), True, True),
        (an_answer("ExpiredTokenException", "x", headers=False), True, True),
        (an_answer("ExpiredToken", "x", 400), True, True),
        (an_answer("UnrecognizedClientException", "x"), True, True),
        (an_answer("", "x", 401), True, True),
        (an_answer("InvalidSignatureException", "x"), False, True),
        (an_answer("MissingAuthenticationToken", "x", headers=False), False, True),
        (an_answer("AccessDeniedException", "x"), False, False),
        (an_answer("ExpiredTokenException", "x", 500), False, False),
        (Answer(403, {}, b"<html>"), False, False),
        (Answer(403, {}, b"[]"), False, False),
    ],
)
def test_c11_what_says_that_a_key_is_not_known(answer: Answer, refused: bool, unknown: bool) -> None:
    assert (some_keys().refused(answer), some_keys().unknown(answer)) == (refused, unknown)
