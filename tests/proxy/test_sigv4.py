"""Signatures: AWS's published example, and whatever botocore's own signer makes of the same request."""

from __future__ import annotations

import hashlib
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

# AWS, "Signature Version 4 test suite": the key, region, service and time of every case
KEY = ("AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY", "")
TIME = datetime(2015, 8, 30, 12, 36, tzinfo=UTC).timestamp()
EMPTY = hashlib.sha256(b"").hexdigest()


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
