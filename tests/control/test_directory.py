"""Keys in memory: whose a credential is, what limits it, and what serves while the store is away."""

from __future__ import annotations

import hashlib
import logging
import stat
from pathlib import Path

import pytest

from dragoman.codecs import errors
from dragoman.proxy.control.directory import Directory
from dragoman.proxy.keys import users
from dragoman.proxy.keys.access import Access
from dragoman.proxy.wire.networks import address

from .using import ME, looped, opened


def found(directory, text):
    return directory.find(text, hashlib.sha256(text.encode()).hexdigest())


@looped
async def test_a_key_becomes_an_identity(control):
    async with opened(control) as (store, registry):
        await registry.set_team("ml", {"requests_per_minute": 9}, ME)
        await registry.set_user("ml", "bob", {"budget": {"usd": 2}}, ME)
        said = {"team": "ml", "user": "bob", "models": ["gpt-*"], "tokens_per_minute": 7, "allow_from": ["10.0.0.0/8"]}
        _, secret = await registry.create_key("alice", said, ME)
        _, plain = await registry.create_key("carol", {}, ME)
        directory = Directory(control.folder)
        assert not directory.located
        assert await directory.read(store)
        assert not await directory.read(store), "nothing has changed"
        assert directory.located
        alice = found(directory, secret.text)
        assert (alice.name, alice.team, alice.user, alice.fixed_user, alice.restricted) == ("alice", "ml", "bob", True, True)
        assert [(one.name, one.what) for one in alice.limits] == [
            ("alice", "this API key"), ("user\0ml\0bob", "this user"), ("team\0ml", "your team"),
        ]  # fmt: skip
        assert address("10.9.9.9") in alice.allow_from
        assert address("11.9.9.9") not in alice.allow_from
        assert directory.named(alice, "mallory") is alice, "the key says whose it is"
        assert found(directory, plain.text).limits == ()
        assert {one.name for one in directory.limited} == {"alice", "user\0ml\0bob", "team\0ml"}


@looped
async def test_who_a_request_says_its_user_is(control):
    async with opened(control) as (store, registry):
        await registry.set_team("ml", {"requests_per_minute": 9}, ME)
        await registry.set_user("ml", "bob", {"requests_per_minute": 2}, ME)
        await registry.set_user("ml", "carol", {}, ME)
        await registry.set_user("other", "eve", {"requests_per_minute": 2}, ME)
        _, secret = await registry.create_key("alice", {"team": "ml", "requests_per_minute": 5}, ME)
        directory = Directory(control.folder)
        await directory.read(store)
        alice = found(directory, secret.text)
        assert directory.named(alice, "") is alice
        named = [directory.named(alice, who) for who in ("bob", "carol", "eve")]
        assert [(one.user, [limit.name for limit in one.limits]) for one in named] == [
            ("bob", ["alice", "user\0ml\0bob", "team\0ml"]),
            ("carol", ["alice", "team\0ml"]),  # without a limit
            ("eve", ["alice", "team\0ml"]),  # of another team
        ]


@looped
async def test_old_and_new_secret_of_a_rotated_key(control):
    async with opened(control) as (store, registry):
        _, first = await registry.create_key("alice", {}, ME)
        _, second = await registry.rotate_key("alice", 3600.0, ME)
        directory = Directory(control.folder)
        await directory.read(store)
        access = Access((), [directory])
        assert access.admit(first.text).name == access.admit(second.text).name == "alice"
        _, third = await registry.rotate_key("alice", 1e-6, ME)
        await directory.read(store)
        assert not access.knows(first.text)
        with pytest.raises(errors.Unauthorized, match="expired"):
            access.admit(second.text)
        assert access.knows(third.text)
        await registry.revoke_key("alice", ME)
        await directory.read(store)
        assert not any(access.knows(one.text) for one in (first, second, third))


@looped
async def test_a_key_of_the_file_comes_first(control, caplog):
    async with opened(control) as (store, registry):
        _, secret = await registry.create_key("alice", {}, ME)
        directory = Directory(control.folder)
        directory.reserve(frozenset({"alice"}))
        await directory.read(store)
        assert found(directory, secret.text) is None
        assert "a key of the configuration file has its name" in caplog.text
        directory.reserve(frozenset())
        assert found(directory, secret.text).name == "alice"


@looped
async def test_what_was_read_last_serves_without_the_store(control, caplog):
    async with opened(control) as (store, registry):
        await registry.set_team("ml", {"requests_per_minute": 9}, ME)
        _, secret = await registry.create_key("alice", {"team": "ml"}, ME)
        directory = Directory(control.folder)
        await directory.read(store)
        directory.save()
    file = Path(control.folder) / "keys.json"
    assert secret.text not in file.read_text()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    later = Directory(control.folder)
    assert later.load()
    assert (found(later, secret.text).name, found(later, secret.text).limits) == ("alice", found(directory, secret.text).limits)
    assert later.read_at is not None
    before = file.stat().st_ino
    directory.save()
    assert file.stat().st_ino == before, "it is not written again"
    for broken in (b"", b"{", b'{"form": 2}', b'{"form": 1, "number": 1}', b"[]"):
        file.write_bytes(broken)
        with caplog.at_level(logging.ERROR):
            assert not Directory(control.folder).load()
    file.unlink()
    assert not Directory(control.folder).load()


@pytest.mark.parametrize(
    ("headers", "body", "user"),
    [
        ({}, {}, ""),
        ({"X-Dragoman-User": " bob "}, {"user": "eve"}, "bob"),
        ({}, {"user": "eve"}, "eve"),
        ({}, {"user": {"id": 1}}, ""),
        ({}, {"user": 5}, ""),
        ({}, {"metadata": {"user_id": "u-1"}}, "u-1"),
        ({}, {"metadata": "x"}, ""),
        ({}, {"metadata": {"user_id": "user_ab_account_cd_session_ef"}}, "user_ab_account_cd"),
        ({}, {"metadata": {"user_id": '{"device_id":"d","account_uuid":"a","session_id":"s"}'}}, "a"),
        ({}, {"metadata": {"user_id": '{"device_id":"d","account_uuid":"","session_id":"s"}'}}, "d"),
        ({}, {"metadata": {"user_id": '{"session_id":"s"}'}}, ""),
        ({}, {"metadata": {"user_id": '{"x'}}, '{"x'),
        ({}, {"user": "x" * 200}, "x" * 128),
        ({}, {"user": "a\x1bb"}, ""),
        ({}, {"user": "\ud800"}, ""),
    ],
)
def test_where_a_request_says_it(headers, body, user):
    assert users.user_of(headers, body) == user
