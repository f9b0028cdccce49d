"""`dragoman keys` and `dragoman usage`."""

from __future__ import annotations

import asyncio
import json
import re
import time

import pytest

from dragoman.proxy import cli
from dragoman.proxy.control import figures

from .conftest import section
from .using import account, opened, written


@pytest.fixture
def run(control, tmp_path, capsys):
    """run("keys", …) is exit code, standard output and standard error of a command."""
    file = tmp_path / "dragoman.yaml"
    file.write_text("model_providers: [{model: demo/*}]\naccess_keys: [{key: in-the-file, name: file}]\n" + section(control))

    def call(*words):
        code = cli.main([*words, "--config", str(file)])
        return code, *capsys.readouterr()

    return call


def test_keys(run):
    options = ["--team", "ml", "--models", "gpt-*,claude-*", "--budget", "5", "--per", "day", "--requests-per-minute", "9",
               "--tokens-per-minute", "99", "--expires", "90d", "--allow-from", "10.0.0.0/8", "--tags", "a,b", "--user", "al"]  # fmt: skip
    code, secret, _ = run("keys", "create", "alice", *options)
    assert (code, re.fullmatch(r"dk-[A-Za-z0-9_-]{43}\n", secret) is not None) == (0, True)
    (key,) = json.loads(run("keys", "list", "--json")[1])
    assert key["models"] == ["gpt-*", "claude-*"]
    assert 89 < (key["expires_at"] - time.time()) / 86400 < 91
    assert (key["budget"], key["tags"], key["user"], key["allow_from"]) == (
        {"usd": 5.0, "per": "day", "unpriced": "allow"}, ["a", "b"], "al", ["10.0.0.0/8"],
    )  # fmt: skip
    code, out, _ = run("keys", "list")
    head, line = out.splitlines()
    assert head.split() == ["name", "shown", "state", "team", "user", "models", "limits", "expires", "created"]
    assert line.startswith(f"alice  {secret[:4]}…{secret[-5:-1]}  active  ml    al    gpt-*,claude-*  9 rpm, 99 tpm, 5 USD/day")
    code, rotated, told = run("keys", "rotate", "alice", "--json", "--overlap", "2h")
    assert code == 0
    assert json.loads(rotated)["key"] != secret.strip()
    assert told.startswith("the old key of alice is valid until 20")
    assert run("keys", "rotate", "alice", "--overlap", "0")[2] == ""
    assert run("keys", "revoke", "alice") == (0, "", "alice is revoked\n")
    assert json.loads(run("keys", "list", "--json")[1])[0]["state"] == "revoked"
    for words, message in (
        (("create", "alice"), "the name alice is taken"),
        (("create", "file"), "belongs to a key of the configuration file"),
        (("create",), "NAME: is missing"),
        (("create", "x", "--expires", "soon"), "--expires: 'soon' is not a time"),
        (("create", "x", "--allow-from", "here"), "allow_from: must be networks"),
        (("rotate", "nobody"), "there is no key nobody"),
        (("revoke", "nobody"), "there is no key nobody"),
    ):
        code, out, told = run("keys", *words)
        assert (code, out, told.startswith("dragoman keys: "), message in told) == (2, "", True, True), told


def test_usage(run, control, monkeypatch):
    async def fill():
        async with opened(control) as (store, _):
            now = time.time()
            await written(store, "1", *(account(time=now, key=key, user="x\x1b[2J") for key in ("a", "a", "b")))

    asyncio.run(fill())
    assert run("usage")[1].split() == [
        "requests", "errors", "input", "output", "cached", "cache_write", "reasoning", "cost_usd",
        "3", "0", "30", "15", "0", "0", "0", "0.003000",
    ]  # fmt: skip
    rows = json.loads(run("usage", "--by", "key,day", "--json")[1])
    today = time.strftime("%Y-%m-%d", time.gmtime())
    assert [(row["key"], row["requests"], row["day"]) for row in rows] == [("a", 2, today), ("b", 1, today)]
    assert run("usage", "--by", "model", "--csv")[1].splitlines()[1] == "gpt,3,0,30,15,0,0,0,0.003"
    assert "\x1b" not in run("usage", "--by", "user")[1]
    monkeypatch.setattr(figures, "MOST_GROUPS", 1)
    code, out, told = run("usage", "--by", "key", "--json")
    assert (code, len(json.loads(out)), "the first 1 sums" in told) == (0, 1, True)
    assert run("usage", "--since", "2020-01-01", "--until", "2020-02-01", "--json")[1] == "[]\n"
    assert run("usage", "--since", "2020-01-01T12:00:00+02:00", "--by", "hour")[0] == 2
    for words in (("--by", "colour"), ("--since", "yesterday")):
        code, out, told = run("usage", *words)
        assert (code, out, told.startswith("dragoman usage: ")) == (2, "", True)


def test_without_a_store(tmp_path, capsys):
    file = tmp_path / "plain.yaml"
    file.write_text("model_providers: [{model: demo/*}]\n")
    assert cli.main(["keys", "list", "--config", str(file)]) == 2
    assert "has no section `control`" in capsys.readouterr().err
    assert cli.main(["usage", "--config", str(tmp_path / "none.yaml")]) == 2
    pytest.importorskip("psycopg", reason="needs psycopg (dragoman[postgres])")
    file.write_text(
        "model_providers: [{model: demo/*}]\ncontrol: {store: postgres, connection_string: 'postgresql://x:geheim@127.0.0.1:1/x'}\n"
    )
    assert cli.main(["keys", "list", "--config", str(file)]) == 1
    told = capsys.readouterr().err
    assert "the control store does not answer" in told
    assert "geheim" not in told
