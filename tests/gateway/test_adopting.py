"""A configuration that cannot be put in force leaves all of the one before in force, wherever it fails."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from dragoman import conf
from dragoman.codecs import compaction
from dragoman.conf.model import Config
from dragoman.proxy.gateway import Gateway
from dragoman.proxy.inspector.admin import Admin
from dragoman.proxy.inspector.ring import Ring

from ..scripted import Provider
from .inside import Inside, inside_once
from .test_credentials import Program, answers, asked, authorizations

CONFIG = """
listeners: [{type: model, address: 127.0.0.1}, {type: admin, address: 127.0.0.1}]
limits: {max_body: MOST, max_bodies: MOST}
control: {store: sqlite, path: FOLDER/control.db, admin: {password: not a secret}}
compaction: {seal_key: "SEAL"}
hooks: [{url: "http://127.0.0.1:1/ISSUER", on: [answer]}]
jwt: {issuer: "http://127.0.0.1:1/ISSUER", audience: [dragoman]}
access_keys: [{key: sk-file, name: NAME}]
model_providers:
  - {model: "up/*", base_url: "UPSTREAM/v1", token_command: [PROGRAM, ISSUER], apis: [chat_completions]}
  - {model: mounted/m, base_url: "UPSTREAM/v1", access_key: "${file:FOLDER/ISSUER.key}", apis: [chat_completions]}
"""
OLD = {"MOST": "70MB", "SEAL": "0123" * 16, "ISSUER": "old", "NAME": "ann"}
NEW = {"MOST": "80MB", "SEAL": "4567" * 16, "ISSUER": "new", "NAME": "bob"}


def in_force(gateway: Gateway) -> list[Any]:
    """All that a configuration changes, by identity where it is made anew."""
    assert gateway.control is not None
    return [
        gateway.services,
        gateway._health,
        gateway._tokens,
        gateway.credentials._sources,
        gateway._mounted._keys,
        gateway.bodies.most,
        gateway.control.directory.reserved,
        list(compaction._locks),
        gateway.upstream._pool._renewed_at,
        gateway._discovery._tasks,
    ]


def twice_a_key(config: Config) -> Config:
    return replace(config, access_keys=config.access_keys * 2)


def no_api(config: Config) -> Config:
    return replace(config, model_providers=tuple(replace(entry, apis=("none",)) for entry in config.model_providers))


def no_network(config: Config) -> Config:
    return replace(config, allow_from=("nowhere",))


def no_hook(config: Config) -> Config:
    return replace(config, hooks=(None,))  # type: ignore[arg-type]


@pytest.mark.parametrize("wrong", [twice_a_key, no_api, no_network, no_hook])
@inside_once
async def test_all_or_nothing(wrong: Callable[[Config], Config], tmp_path: Path) -> None:
    program = Program(tmp_path)
    program.says("tok")
    for name in ("old", "new"):
        (tmp_path / f"{name}.key").write_text(f"sk-{name}")
    words = {"FOLDER": str(tmp_path), "PROGRAM": str(program.path)}
    with Provider(answers) as provider:

        def written(values: dict[str, str]) -> str:
            text = CONFIG
            for word, value in (values | words | {"UPSTREAM": provider.url}).items():
                text = text.replace(word, value)
            return text

        async with Inside(written(OLD)) as gateway:
            it = gateway.gateway
            before = in_force(it)
            new = conf.loads(written(NEW), environ={})
            with pytest.raises((ValueError, KeyError, AttributeError)):
                it.adopt(wrong(new))
            after = in_force(it)
            assert [a is b or a == b for a, b in zip(before, after, strict=True)] == [True] * len(before)
            assert before[0] is after[0]
            it.adopt(new)
            assert not any(a == b for a, b in zip(before, in_force(it), strict=True) if a or b)


@inside_once
async def test_requests_are_served_as_before(tmp_path: Path) -> None:
    program = Program(tmp_path)
    program.says("tok")
    command = f'["{program.path}", WORD]'
    entry = f'{{model: "up/*", base_url: "UPSTREAM/v1", token_command: {command}, apis: [chat_completions]}}, {{model: demo/echo}}'
    with Provider(answers) as provider:
        async with Inside(f"model_providers: [{entry}]", provider, WORD="old") as gateway:
            new = conf.loads(f"model_providers: [{entry}]".replace("UPSTREAM", provider.url).replace("WORD", "new"), environ={})
            with pytest.raises(KeyError):
                gateway.gateway.adopt(no_api(new))
            assert (await asked(gateway, "up/not-asked-before"))[0] == 200
    assert authorizations(provider) == ["Bearer tok"]


def test_the_admin_listener_too() -> None:
    config = conf.loads("model_providers: [{model: demo/echo}]", environ={})
    admin = Admin(config, Ring(lambda *_: None), lambda: b"", dict)
    before = dict(vars(admin))
    with pytest.raises(KeyError):
        admin.adopting(no_api(config))
    admin.adopting(config)  # what it returns is what puts it in force
    assert vars(admin) == before
