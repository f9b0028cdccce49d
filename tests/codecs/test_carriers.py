"""Bodies on their way to a cloud: what leaves them, what joins them, and that every other byte stays."""

from __future__ import annotations

import pytest

from dragoman.codecs import jsontext
from dragoman.codecs.betas import Betas
from dragoman.codecs.carrier import Carrier, split
from dragoman.codecs.carriers import CARRIERS

VERTEX = CARRIERS["vertex_raw"]
BETAS = Betas(["effort-2025-11-24", "compact-2026-*", "old-tools=new-tools", "!compact-2026-09-02"])


@pytest.mark.parametrize(
    ("model", "stream", "path"),
    [
        ("claude-sonnet-4-5@20250929", False, "/models/claude-sonnet-4-5@20250929:rawPredict"),
        ("claude-sonnet-4-5@20250929", True, "/models/claude-sonnet-4-5@20250929:streamRawPredict"),
        ("a/../b;c?d#é", False, "/models/a%2F..%2Fb%3Bc%3Fd%23%C3%A9:rawPredict"),
    ],
)
def test_the_path_names_the_model_and_whether_to_stream(model: str, stream: bool, path: str) -> None:
    assert VERTEX.url("https://h/publishers/anthropic", model, stream) == f"https://h/publishers/anthropic{path}"


VERSION = b'"anthropic_version":"vertex-2023-10-16"'


@pytest.mark.parametrize(
    ("headers", "body", "carried"),
    [
        ({}, b'{"model":"m","max_tokens":1}', b'{"max_tokens":1,%b}' % VERSION),
        ({}, b'{ "max_tokens" : 1e0 , "model":"m" }', b'{ "max_tokens" : 1e0  ,%b}' % VERSION),
        ({}, b'{"model":"m"}', b"{%b}" % VERSION),
        ({}, b'{"stream":true,"x":{"model":"y"},"model":"m"}\n', b'{"stream":true,"x":{"model":"y"},%b}\n' % VERSION),
        ({}, b'{"model":"m","anthropic_version":"v"}', b'{"anthropic_version":"v"}'),
        ({"anthropic-version": "2023-06-01"}, b'{"model":"m"}', b"{%b}" % VERSION),
        ({"anthropic-version": "2026-10-21"}, b'{"model":"m"}', b'{"anthropic_version":"2026-10-21"}'),
        ({"anthropic-version": "zzzz"}, b'{"model":"m"}', b"{%b}" % VERSION),
        ({"anthropic-beta": "x, effort-2025-11-24"}, b'{"model":"m"}', b'{%b,"anthropic_beta":["effort-2025-11-24"]}' % VERSION),
        ({"anthropic-beta": "x,,"}, b'{"model":"m","anthropic_beta":["own"]}', b'{"anthropic_beta":["own"],%b}' % VERSION),
        (
            {"anthropic-beta": "compact-2026-01-12,own,old-tools"},
            b'{"anthropic_beta":["own"],"model":"m"}',
            b'{%b,"anthropic_beta":["own","compact-2026-01-12","new-tools"]}' % VERSION,
        ),
        ({"anthropic-user-profile-id": "p"}, b'{"model":"m"}', b'{%b,"user_profile_id":"p"}' % VERSION),
        ({"anthropic-user-profile-id": "p"}, b'{"user_profile_id":"q"}', b'{"user_profile_id":"q",%b}' % VERSION),
    ],
)
def test_what_leaves_and_what_joins(headers: dict[str, str], body: bytes, carried: bytes) -> None:
    value = jsontext.loads(body)
    parcel = VERTEX.parcel(value, headers, BETAS)
    assert parcel.spliced(body, value) == carried
    assert parcel.of(value) == jsontext.loads(carried)


def test_a_profile_is_a_member_where_clouds_have_it() -> None:
    mantle = CARRIERS["mantle_messages"]
    headers = {"anthropic-user-profile-id": "p", "anthropic-version": "2023-06-01"}
    assert [mantle.forwards(name) for name in headers] == [False, True]
    assert mantle.parcel({"model": "m"}, headers, None).of({"model": "m"}) == {"model": "m", "user_profile_id": "p"}
    assert CARRIERS["mantle_responses"].forwards("anthropic-user-profile-id")


@pytest.mark.parametrize(
    ("header", "passed", "held"),
    [
        ("", [], []),
        ("effort-2025-11-24", ["effort-2025-11-24"], []),
        ("effort-2025-11-24,effort-2025-11-24, ,compact-2026-09-01", ["effort-2025-11-24", "compact-2026-09-01"], []),
        ("compact-2026-09-02,compact-2026-10-01", ["compact-2026-10-01"], ["compact-2026-09-02"]),
        ("effort-2025-11-2, compact-2025-01-01", [], ["effort-2025-11-2", "compact-2025-01-01"]),
    ],
)
def test_which_betas_pass(header: str, passed: list[str], held: list[str]) -> None:
    assert split(header, BETAS) == (passed, held)


def test_without_patterns_all_betas_pass() -> None:
    assert split("a,b", None) == (["a", "b"], [])


def test_headers_of_the_api_become_members_only_where_the_cloud_has_a_version_of_its_own() -> None:
    names = ("anthropic-version", "anthropic-beta", "x-stainless-lang", "user-agent", "traceparent")
    assert [name for name in names if VERTEX.forwards(name)] == ["user-agent", "traceparent"]
    plain = Carrier(name="plain", whole="/anthropic/v1/messages")
    assert [name for name in names if plain.forwards(name)] == [*names]
    assert plain.url("https://h", "m", True) == "https://h/anthropic/v1/messages"
