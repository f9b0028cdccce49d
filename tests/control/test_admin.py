"""Signing in to the admin listener, and its API: who may do what, and what a page of another site cannot."""

from __future__ import annotations

import asyncio
import base64
import gzip
import hashlib
import hmac
import json
import re
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
from joserfc import jwt
from joserfc.jwk import RSAKey
from tornado.netutil import bind_sockets

from dragoman import conf
from dragoman.conf.model import Control, Edits
from dragoman.proxy.app import make_admin_app
from dragoman.proxy.control import figures, passwords, sessions
from dragoman.proxy.control import oidc as oidc_of_store
from dragoman.proxy.control.desk import Desk, shown
from dragoman.proxy.inspector.admin import Admin
from dragoman.proxy.inspector.links import Note
from dragoman.proxy.inspector.ring import Ring
from dragoman.proxy.process.server import Acceptor, Server
from dragoman.proxy.telemetry.account import Failure

from ..scripted import Provider, Request, Steps, chunk, close, respond, stream_head, until_closed
from .conftest import section, settings_of
from .using import ME, account, looped, opened, written

CONFIG = """
listeners: [{type: model, address: 127.0.0.1}, {type: admin}]
model_providers: [{model: demo/*}, {model: openai/gpt, access_key: sk-secret-upstream, headers: {x-token: sk-secret-header}}]
prices: {gpt: {input: 1, output: 2}}
access_keys: [{key: sk-secret-caller, name: file}]
"""
PASSWORD = ", admin: {password: open sesame}"


@asynccontextmanager
async def desk(control: Control, admin: str = PASSWORD) -> AsyncIterator[httpx.AsyncClient]:
    """A client of an admin listener."""
    config = conf.loads(CONFIG + section(control, admin), environ={})
    own = Desk(config)
    app = make_admin_app(
        Admin(config, Ring(lambda looking, content: None), lambda: b"dragoman_streams_open 0.0\n", dict), config.listeners[1], own
    )
    server = Server(app, max_body_size=1 << 16)
    (sock,) = bind_sockets(0, "127.0.0.1")
    acceptor = Acceptor(sock, server, None, 100)
    try:
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{sock.getsockname()[1]}", timeout=20) as http:
            yield http
    finally:
        acceptor.stop()
        await server.close_all_connections()
        await own.close()


async def sign_in(http: httpx.AsyncClient, **how: str) -> httpx.Response:
    """Changes of this client carry the session's token from now on."""
    answer = await http.post("/api/session", json=how or {"password": "open sesame"})
    if answer.status_code == 200:
        http.headers["x-dragoman-csrf"] = answer.json()["session"]["csrf"]
    return answer


@pytest.fixture
def file(tmp_path) -> Any:
    """A SQLite store: what does not depend on the kind."""
    from dragoman.proxy.control.store import migrate

    with settings_of("sqlite", tmp_path) as found:
        (tmp_path / "kept").mkdir()
        migrate(found)
        yield found


GUARDED = ("/api/now", "/api/usage/requests/a",
           "/api/keys", "/api/keys/a", "/api/teams", "/api/usage", "/api/usage/requests", "/api/models", "/api/audit", "/api/config",
           "/explain?model=demo/echo", "/capabilities?model=demo/echo", "/inspector/exchanges", "/inspector/live")  # fmt: skip


@looped
async def test_nothing_is_shown_to_who_has_not_signed_in(file):
    async with desk(file) as http:
        for path in GUARDED:
            assert (await http.get(path)).status_code == 401, path
        for path in ("/", "/inspector/index.html", "/inspector/inspector.js", "/inspector/exchange.js"):
            answer = await http.get(path)
            assert (answer.status_code, answer.headers["location"]) == (302, "/inspector/login.html")
        for path in ("/inspector/login.html", "/inspector/login.js", "/inspector/inspector.css", "/metrics"):
            answer = await http.get(path)
            assert answer.status_code == 200, path
            assert "default-src 'none'" in answer.headers["content-security-policy"]
        assert (await http.post("/inspector/switch", json={"content": True}, headers={"x-dragoman-inspector": "1"})).status_code == 401
        for path in ("/usage?by=key", "/pages/kit.js"):
            assert (await http.get(path)).status_code == 302, path
        assert (await http.get("/usage?by=key")).headers["location"] == "/inspector/login.html?next=%2Fusage%3Fby%3Dkey"
        session = (await http.get("/api/session")).json()
        assert session == {"session": None, "ways": {"password": True, "oidc": False, "key": True}}
        await sign_in(http)
        for path in set(GUARDED) - {"/api/keys/a", "/inspector/live"}:
            assert (await http.get(path)).status_code == 200, path
        assert (await http.get("/")).status_code == 200
        assert (await http.post("/inspector/switch", json={"content": True}, headers={"x-dragoman-inspector": "1"})).status_code == 200


@looped
async def test_what_changes_something_needs_the_token_of_the_session(file):
    async with desk(file) as http:
        answer = await sign_in(http)
        cookie = answer.headers["set-cookie"].lower()
        assert "httponly" in cookie
        assert "samesite=strict" in cookie
        assert "secure" not in cookie, "it came over http"
        token = http.headers.pop("x-dragoman-csrf")
        refused = {"error": "x-dragoman-csrf is missing or not of this session"}
        assert (await http.post("/api/keys", json={"name": "a"})).json() == refused
        assert (await http.post("/api/keys", json={"name": "a"}, headers={"x-dragoman-csrf": token[:-1] + "x"})).json() == refused
        for foreign in ({"origin": "http://evil.example"}, {"origin": "null"}, {"sec-fetch-site": "cross-site"}):
            answer = await http.post("/api/keys", json={"name": "a"}, headers={"x-dragoman-csrf": token, **foreign})
            assert (answer.status_code, "another origin" in answer.json()["error"]) == (403, True)
        own = str(http.base_url).rstrip("/")
        assert (await http.post("/api/keys", json={"name": "a"}, headers={"x-dragoman-csrf": token, "origin": own})).status_code == 201
        assert (await http.get("/api/keys", headers={"host": "evil.example"})).status_code == 403
        form = {"content-type": "text/plain", "origin": own, "x-dragoman-csrf": token}
        assert (await http.post("/api/keys", content=b'{"name": "b"}', headers=form)).status_code == 403
        assert (
            await http.post("/api/session", json={"password": "open sesame"}, headers={"origin": "http://evil.example"})
        ).status_code == 403


@looped
async def test_who_fails_to_sign_in_waits(file, monkeypatch):
    async with desk(file) as http, opened(file) as (_, registry):
        statuses = [(await sign_in(http, password=f"guess {n}")).status_code for n in range(4)]
        assert statuses == [401, 401, 401, 429]
        answer = await sign_in(http)
        assert (answer.status_code, int(answer.headers["retry-after"])) == (429, 1)
        assert (await sign_in(http, key="dk-unknown")).status_code == 429
        now = time.time()
        monkeypatch.setattr(sessions, "time", lambda: now + 2)
        assert (await sign_in(http)).status_code == 200
        lines = await registry.audit()
        assert [(line["action"], line["who"], line["address"]) for line in lines] == [
            ("login", "admin", "127.0.0.1"), *[("login.refused", "", "127.0.0.1")] * 3,
        ]  # fmt: skip
        assert "guess" not in str(lines)
        for wrong in ({}, {"password": 5}, {"password": "x", "key": "y"}, {"name": "x"}):
            assert (await http.post("/api/session", json=wrong)).status_code == 400


async def sees(http: httpx.AsyncClient, cookie: str) -> bool:
    """Whether a session's cookie counts."""
    http.cookies.clear()
    return (await http.get("/api/keys", headers={"cookie": f"dragoman_session={cookie}"})).status_code == 200


@looped
async def test_the_end_of_a_session(file, monkeypatch):
    async with desk(file) as http:
        await sign_in(http)
        ended = http.cookies["dragoman_session"]
        assert (await http.delete("/api/session", headers={"x-dragoman-csrf": ""})).status_code == 403
        assert (await http.delete("/api/session")).status_code == 200
        assert not await sees(http, ended), "the cookie was kept"
        await sign_in(http)
        cookie = http.cookies["dragoman_session"]
        for forged in ("", "x", cookie[:-1] + ("0" if cookie[-1] != "0" else "1"), "x" * 9000):
            assert not await sees(http, forged)
        assert await sees(http, cookie)
    async with desk(file) as other:  # the same configuration: another replica, or the next start
        assert await sees(other, cookie)
        assert not await sees(other, ended)
        later = time.time() + 13 * 3600
        monkeypatch.setattr(sessions, "time", lambda: later)
        assert not await sees(other, cookie)
    monkeypatch.undo()
    async with desk(file, ", admin: {password: another}") as other:
        assert not await sees(other, cookie)


@looped
async def test_keys_by_the_api(control):
    async with desk(control) as http:
        await sign_in(http)
        made = await http.post("/api/keys", json={"name": "alice", "team": "ml", "budget": {"usd": 5}})
        assert made.status_code == 201
        secret = made.json()["key"]
        assert (await http.get("/api/keys/alice")).json() == {k: v for k, v in made.json().items() if k != "key"} | {"spent_usd": 0.0}
        changed = await http.patch("/api/keys/alice", json={"models": ["gpt"], "budget": None})
        assert (changed.json()["models"], changed.json()["budget"]) == (["gpt"], None)
        rotated = (await http.post("/api/keys/alice/rotate", json={"overlap": 60})).json()
        assert rotated["key"] != secret
        listed = (await http.get("/api/keys")).json()["keys"]
        assert [key["name"] for key in listed] == ["alice"]
        assert secret not in str(listed)
        assert (await http.delete("/api/keys/alice")).json()["state"] == "revoked"
        for method, path, body, status in (
            ("POST", "/api/keys", {"name": "alice"}, 409),
            ("POST", "/api/keys", {"name": "file"}, 409),
            ("POST", "/api/keys", {"name": ""}, 400),
            ("POST", "/api/keys", {}, 400),
            ("POST", "/api/keys", [], 400),
            ("POST", "/api/keys", {"name": "b", "budget": {"usd": "1"}}, 400),
            ("PATCH", "/api/keys/alice", {}, 404),
            ("GET", "/api/keys/nobody", None, 404),
            ("POST", "/api/keys/alice/rotate", {"overlap": -1}, 400),
            ("POST", "/api/keys/nobody/rotate", {}, 404),
            ("DELETE", "/api/keys/nobody", None, 404),
            ("PUT", "/api/keys", {}, 405),
            ("GET", "/api/usage?by=colour", None, 400),
            ("GET", "/api/usage?since=x", None, 400),
            ("GET", "/api/usage?since=inf", None, 400),
            ("GET", "/api/usage/requests?before=x", None, 400),
            ("GET", "/api/nothing", None, 404),
        ):
            answer = await http.request(method, path, json=body)
            assert (answer.status_code, next(iter(answer.json()))) == (status, "error"), (method, path, body, answer.text)
            assert answer.headers.get("allow") == ("GET, POST" if status == 405 else None)
        bad = await http.post("/api/keys", json={"name": "b", "models": []})
        assert bad.json() == {"error": "models: must name at least one pattern; * is every model", "param": "models"}


@looped
async def test_teams_usage_and_the_rest_by_the_api(control):
    async with desk(control) as http, opened(control) as (store, _):
        await sign_in(http)
        assert (await http.put("/api/teams/ml", json={"budget": {"usd": 1, "per": "day"}})).status_code == 200
        assert (await http.put("/api/teams/ml/users/b%40x", json={"requests_per_minute": 3})).status_code == 200
        assert (await http.put("/api/teams/-/users/alone", json={"budget": {"usd": 2}})).status_code == 200
        await written(store, "1", account(time=time.time(), key="k", team="ml", user="=b@x"))
        teams = {team["name"]: team for team in (await http.get("/api/teams")).json()["teams"]}
        assert (teams["ml"]["spent_usd"], teams["ml"]["users"][0]["name"], teams[""]["users"][0]["spent_usd"]) == (0.001, "b@x", 0.0)
        found = (await http.get("/api/usage?by=user,key&team=ml")).json()
        assert [(row["user"], row["key"], row["requests"], row["cost_usd"]) for row in found["rows"]] == [("=b@x", "k", 1, 0.001)]
        none = (await http.get("/api/usage?by=key&team=none")).json()
        assert (none["rows"], none["more"]) == ([], False)
        over = (await http.get("/api/usage?by=user,day&top=1&order=tokens&limit=1")).json()
        assert ([row["user"] for row in over["rows"]], over["more"]) == (["=b@x"], False)
        assert (await http.get("/api/usage?by=user&limit=1")).json()["more"]
        for path in ("keys/%00", "usage?key=a%00", "usage/requests?before=1:99999999999999999999"):
            assert (await http.get(f"/api/{path}")).status_code == 400
        for wrong in ("by=user&top=1", "by=user,day&top=x", "by=user&order=age"):
            assert (await http.get(f"/api/usage?{wrong}")).status_code == 400
        table = await http.get("/api/usage?by=user,model&format=csv")
        assert table.headers["content-type"].startswith("text/csv")
        assert table.text.splitlines()[:2] == [
            "user,model,requests,errors,input,output,cached,cache_write,reasoning,cost_usd,unpriced,ms_total,ms_first",
            "'=b@x,gpt,1,0,10,5,0,0,0,0.001,0,500.0,200.0",
        ]
        (one,) = (await http.get("/api/usage/requests?key=k&status=200")).json()["requests"]
        assert (one["request_id"], one["user"], one["cost_usd"]) == ("req_1", "=b@x", 0.001)
        assert (await http.get("/api/usage/requests?failed=true")).json() == {"requests": [], "before": None}
        assert (await http.get("/api/usage/requests/req_1")).json() == {"requests": [one], "exchanges": []}
        assert (await http.get("/api/usage/requests/other")).json() == {"requests": [], "exchanges": []}
        models = {model["id"]: model for model in (await http.get("/api/models")).json()["models"]}
        assert models["openai/gpt"]["price"] == {"input": 1.0, "output": 2.0, "cached_input": 1.0, "cache_write": 1.0}
        assert "openai/gpt" in models["openai/gpt"]["candidates"]["chat"][0]
        audit = (await http.get("/api/audit?action=team.set")).json()["audit"]
        assert [(line["who"], line["how"], line["subject"]) for line in audit] == [("admin", "api", "ml")]
        shown_config = (await http.get("/api/config")).text
        for secret in ("sk-secret", "open sesame", hashlib.sha256(b"sk-secret-caller").hexdigest()):
            assert secret not in shown_config
        assert (await http.delete("/api/teams/-/users/alone")).status_code == 200
        assert (await http.delete("/api/teams/ml")).status_code == 200


@looped
async def test_the_api_in_the_form_of_openapi(file):
    async with desk(file) as http:
        await sign_in(http)
        document = (await http.get("/openapi.json")).json()
        assert document["security"] == [{"session": []}]
        assert document["paths"].keys() == PATHS
        assert document["paths"]["/api/keys/{key}"].keys() == {"get", "patch", "delete", "parameters"}
        assert document["paths"]["/api/keys"]["post"]["summary"].startswith("GET: all keys")


PATHS = {
    "/api/session", "/api/keys", "/api/keys/{key}", "/api/keys/{key}/rotate", "/api/teams", "/api/teams/{team}",
    "/api/teams/{team}/users/{user}", "/api/usage", "/api/usage/requests", "/api/usage/requests/{request}", "/api/models", "/api/audit",
    "/api/config", "/api/now",
}  # fmt: skip


@looped
async def test_the_last_minutes_by_the_api(control):
    async with desk(control) as http, opened(control) as (store, _):
        await sign_in(http)
        assert (await http.get("/api/now")).json()["steps"] == []
        now = time.time() // figures.STEP * figures.STEP
        failure = Failure("", "rate_limited", "", "", "")
        ended = [account(time=now - 9), account(time=now - 8, status=429, error=failure), account(time=now - 1), account(time=now - 4000)]
        await written(store, "1", *ended)
        found = (await http.get("/api/now")).json()
        assert (found["step"], found["streams_open"]) == (figures.STEP, 0)
        assert [(step["time"] - now, step["requests"], step["errors"], step["output"], step["ms_first"]) for step in found["steps"]] == [
            (-2 * figures.STEP, 2, 1, 10, 200.0),
            (-figures.STEP, 1, 0, 5, 200.0),
        ]
        upstreams = [(one["provider"], one["entries"], one["requests"], one["errors"], one["notes"]) for one in found["upstreams"]]
        assert upstreams == [("demo", ["demo/*"], 0, 0, []), ("openai", ["openai/gpt"], 3, 1, [])]
        assert [step["requests"] for step in (await http.get(f"/api/now?since={now - 1}")).json()["steps"]] == [1]


def test_what_is_noted_of_upstreams():
    config = conf.loads(CONFIG, environ={})
    later = time.time() + 60
    notes = {
        1: [Note("openai/gpt#0", "gpt", "passed over", later, None), Note("gone#0", "x", "passed over", later, None)],
        2: [Note("demo/*#0", "echo", "over", 1.0, None)],
    }
    admin = Admin(config, Ring(lambda looking, content: None), lambda: b"", lambda: notes)
    note = {"entry": "openai/gpt", "model": "gpt", "text": "passed over", "until": later, "worker": 1}
    assert admin.upstreams() == [
        {"provider": "demo", "entries": ["demo/*"], "notes": []},
        {"provider": "openai", "entries": ["openai/gpt"], "notes": [note]},
    ]


@looped
async def test_a_key_holder_sees_their_own(control):
    async with desk(control) as http, opened(control) as (store, registry):
        _, secret = await registry.create_key("alice", {}, ME)
        await registry.create_key("bob", {}, ME)
        for number, name in enumerate(("alice", "bob")):
            await written(store, str(number), account(time=time.time(), key=name, request_id=name))
        assert (await sign_in(http, key=secret.text)).json()["session"]["role"] == "key"
        assert [key["name"] for key in (await http.get("/api/keys")).json()["keys"]] == ["alice"]
        assert (await http.get("/api/keys/alice")).status_code == 200
        assert (await http.get("/api/keys/bob")).status_code == 404
        for query in ("by=key", "by=key&key=bob"):
            assert [row["key"] for row in (await http.get(f"/api/usage?{query}")).json()["rows"]] == ["alice"]
        for query in ("", "key=bob", "request_id=bob"):
            assert {row["key"] for row in (await http.get(f"/api/usage/requests?{query}")).json()["requests"]} <= {"alice"}
        assert "candidates" not in (await http.get("/api/models")).json()["models"][0]
        for name in ("alice", "bob"):
            assert [row["key"] for row in (await http.get(f"/api/usage/requests/{name}")).json()["requests"]] == ["alice"] * (
                name == "alice"
            )
        for path in (
            "/api/teams",
            "/api/audit",
            "/api/config",
            "/api/now",
            "/explain",
            "/inspector/exchanges",
            "/capabilities?model=demo/echo",
        ):
            assert (await http.get(path)).status_code == 403, path
        for method, path in (("POST", "/api/keys"), ("PATCH", "/api/keys/alice"), ("DELETE", "/api/keys/alice"),
                             ("POST", "/api/keys/alice/rotate"), ("PUT", "/api/teams/x")):  # fmt: skip
            assert (await http.request(method, path, json={})).status_code == 403
        await registry.revoke_key("alice", ME)
        assert (await http.get("/api/keys")).status_code == 401
        http.cookies.clear()
        assert (await sign_in(http, key=secret.text)).status_code == 401


@looped
async def test_a_store_that_is_away(tmp_path):
    pytest.importorskip("psycopg", reason="needs psycopg (dragoman[postgres])")
    nowhere = Control("postgres", str(tmp_path), connection_string="postgresql://x:geheim@127.0.0.1:1/x")
    async with desk(nowhere) as http:
        assert (await sign_in(http)).status_code == 200, "the audit keeps nobody out"
        answer = await http.get("/api/keys")
        assert (answer.status_code, answer.json()) == (503, {"error": "the control store does not answer"})
        assert (await http.get("/inspector/exchanges")).status_code == 200


@looped
async def test_metrics_may_have_a_token(file):
    async with desk(file, ", admin: {metrics_token: scrape-me}") as http:
        for headers in ({}, {"authorization": "Bearer no"}, {"authorization": "scrape-me"}, {"authorization": "Bearer é"}):
            assert (await http.get("/metrics", headers={k: v.encode() for k, v in headers.items()})).status_code == 401
        assert (await http.get("/metrics", headers={"authorization": "bearer scrape-me"})).status_code == 200
        assert (await sign_in(http, password="")).status_code == 401, "there is no password"


def test_hashes_of_passwords():
    django = (
        "pbkdf2_sha256$10000$saltsaltsalt$" + base64.b64encode(hashlib.pbkdf2_hmac("sha256", b"sesame", b"saltsaltsalt", 10000)).decode()
    )
    for stored in (passwords.hashed("sesame"), django, hashlib.sha256(b"sesame").hexdigest().upper()):
        assert conf.read.password_hash(stored) == stored
        assert passwords.matches("sesame", stored)
        for wrong in ("", "Sesame", "sesame ", "x" * 2000):
            assert not passwords.matches(wrong, stored)


def test_what_may_be_shown_of_a_configuration():
    config = conf.loads(
        CONFIG + "control: {store: postgres, connection_string: 'postgresql://u:geheim@h/d', admin: {password: geheim, "
        "oidc: {issuer: 'https://i', client_id: c, client_secret: geheim}, metrics_token: geheim}}",
        environ={},
    )
    changed = Edits(set=(("auth.token", "geheim"),), remove=("user",))
    config = replace(config, model_providers=(*config.model_providers, replace(config.model_providers[0], edits=changed)))
    text = str(shown(config))
    assert "geheim" not in text
    assert "sk-secret" not in text
    assert "'admins'" in text
    assert "'remove': ['user']" in text


# ---- an identity provider ----

ISSUER_KEY = RSAKey.generate_key(2048, parameters={"kid": "one"})


class Issuer:
    """An identity provider. claims: of the next ID token, over good ones. asked: the forms that it was sent."""

    def __init__(self) -> None:
        self.claims: dict[str, Any] = {}
        self.key, self.nonce, self.asked = ISSUER_KEY, "", []
        self.keys: dict[str, Any] = {"keys": [ISSUER_KEY.as_dict(private=False)]}
        self.forged: Callable[[dict[str, Any]], str] | None = None  # makes the token in the place of the key
        self.provider: Provider

    @property
    def url(self) -> str:
        return self.provider.url

    def answer(self, request: Request) -> Steps:
        path = request.target
        if path == "/.well-known/openid-configuration":
            facts = {"issuer": self.url, "authorization_endpoint": f"{self.url}/authorize?x=1", "token_endpoint": f"{self.url}/token"}
            return [respond(facts | {"jwks_uri": f"{self.url}/keys", "id_token_signing_alg_values_supported": ["RS256"]})]
        if path == "/keys":
            return [respond(self.keys)]
        assert path == "/token"
        form = {name: values[0] for name, values in parse_qs(request.body.decode()).items()}
        self.asked.append((form, request.headers.get("authorization")))
        good = {"iss": self.url, "aud": "c", "sub": "s", "exp": int(time.time()) + 60, "iat": int(time.time()), "nonce": self.nonce}
        claims = {k: v for k, v in (good | {"email": "ann@example.com"} | self.claims).items() if v is not None}
        return [respond({"access_token": "a", "token_type": "Bearer", "id_token": self.token(claims)})]

    def token(self, claims: dict[str, Any]) -> str:
        if self.forged is not None:
            return self.forged(claims)
        return jwt.encode({"alg": "RS256", "kid": self.key.as_dict()["kid"]}, claims, self.key)


async def through(http: httpx.AsyncClient, issuer: Issuer, **query: str) -> httpx.Response:
    """Sign in by the provider, as a browser does."""
    there = await http.get("/login/oidc")
    assert there.status_code == 302, there.text
    asked = {name: values[0] for name, values in parse_qs(urlsplit(there.headers["location"]).query).items()}
    assert (asked["client_id"], asked["scope"], asked["code_challenge_method"]) == ("c", "openid email profile", "S256")
    issuer.nonce, issuer.asked = asked["nonce"], []
    answer = await http.get("/login/callback", params={"state": asked["state"], "code": "the-code", **query})
    if issuer.asked:
        form, _ = issuer.asked[-1]
        digest = hashlib.sha256(form["code_verifier"].encode()).digest()
        assert asked["code_challenge"] == base64.urlsafe_b64encode(digest).decode().rstrip("=")
        assert form["redirect_uri"] == asked["redirect_uri"] == f"{str(http.base_url).rstrip('/')}/login/callback"
    return answer


def oidc(issuer: Issuer) -> str:
    roles = "admins: [ann@example.com], viewers: [vic@example.com]"
    return f", admin: {{oidc: {{issuer: '{issuer.url}', client_id: c, client_secret: s, {roles}}}}}"


@pytest.fixture
def issuer() -> Any:
    found = Issuer()
    with Provider(found.answer) as found.provider:
        yield found
        assert not found.provider.failures


@looped
async def test_sign_in_by_an_identity_provider(file, issuer):
    async with desk(file, oidc(issuer)) as http, opened(file) as (_, registry):
        answer = await through(http, issuer)
        assert answer.status_code == 200, answer.text
        assert 'content="0;url=/overview"' in answer.text
        session = (await http.get("/api/session")).json()["session"]
        assert (session["role"], session["name"]) == ("admin", "ann@example.com")
        assert issuer.asked[-1][1] == "Basic " + base64.b64encode(b"c:s").decode()
        http.cookies.clear()
        issuer.claims = {"email": "vic@example.com"}
        await through(http, issuer)
        http.headers["x-dragoman-csrf"] = (await http.get("/api/session")).json()["session"]["csrf"]
        assert (await http.get("/api/keys")).status_code == 200
        assert (await http.post("/api/keys", json={"name": "a"})).status_code == 403
        assert {line["who"] for line in await registry.audit(action="login")} == {"ann@example.com", "vic@example.com"}


BAD_TOKENS: list[dict[str, Any]] = [
    {"email": "eve@example.com"},
    {"email": None},
    {"email_verified": False},
    {"iss": "https://evil.example"},
    {"aud": "another"},
    {"exp": 1},
    {"exp": None},
    {"nonce": "another"},
    {"nonce": None},
    {"sub": None},
    {"azp": "another", "aud": ["c", "d"]},
]


@looped
async def test_tokens_that_sign_nobody_in(file, issuer, monkeypatch):
    monkeypatch.setattr(sessions, "FREE_TRIES", 1000)
    async with desk(file, oidc(issuer)) as http, opened(file) as (_, registry):
        for claims in BAD_TOKENS:
            issuer.claims = claims
            answer = await through(http, issuer)
            assert (answer.status_code, "you were not signed in" in answer.text) == (403, True), claims
        issuer.claims, issuer.key = {}, RSAKey.generate_key(2048, parameters={"kid": "one"})
        assert (await through(http, issuer)).status_code == 403
        issuer.key = ISSUER_KEY
        for query in ({"state": "another"}, {"code": ""}):
            assert (await through(http, issuer, **query)).status_code == 403
        begun = await http.get("/login/oidc")
        state = parse_qs(urlsplit(begun.headers["location"]).query)["state"][0]
        http.cookies.clear()
        assert (await http.get("/login/callback", params={"state": state, "code": "x"})).status_code == 403, "another browser"
        assert (await http.get("/api/session")).json()["session"] is None
        lines = await registry.audit(action="login.refused", most=1000)
        assert len(lines) == len(BAD_TOKENS) + 4
        assert not re.search("eyJ|the-code", str(lines))


def base64url(data: bytes) -> bytes:
    return base64.urlsafe_b64encode(data).rstrip(b"=")


def unsigned(claims: dict[str, Any], algorithm: str = "none", sign: Callable[[bytes], bytes] = lambda _: b"") -> str:
    """A token that says how it is signed, and is signed otherwise."""
    head = {"alg": algorithm, "kid": "one"}
    text = b".".join(base64url(json.dumps(part).encode()) for part in (head, claims))
    return (text + b"." + base64url(sign(text))).decode()


def by_the_public_key(claims: dict[str, Any]) -> str:
    """What everybody knows of the key, taken for a secret."""
    return unsigned(claims, "HS256", lambda text: hmac.digest(ISSUER_KEY.as_pem(private=False), text, "sha256"))


@pytest.mark.parametrize("forged", [unsigned, lambda claims: unsigned(claims, "RS256"), by_the_public_key, lambda _: "a.b.c", lambda _: ""])
@looped
async def test_forged_tokens_sign_nobody_in(file, issuer, forged):
    async with desk(file, oidc(issuer)) as http:
        issuer.forged = forged
        assert (await through(http, issuer)).status_code == 403
        issuer.forged = None
        assert (await through(http, issuer)).status_code == 200


@looped
async def test_another_key_of_the_provider_is_read_once_a_minute(file, issuer, monkeypatch):
    other = RSAKey.generate_key(2048, parameters={"kid": "two"})
    monkeypatch.setattr(sessions, "FREE_TRIES", 1000)
    async with desk(file, oidc(issuer)) as http:
        assert (await through(http, issuer)).status_code == 200
        issuer.key, issuer.keys = other, {"keys": [other.as_dict(private=False)]}
        assert (await through(http, issuer)).status_code == 403, "a moment ago they were read"
        now = time.monotonic() + 61
        monkeypatch.setattr(oidc_of_store, "monotonic", lambda: now)
        assert (await through(http, issuer)).status_code == 200
        issuer.key = ISSUER_KEY
        assert (await through(http, issuer)).status_code == 403, "a key that is gone"
        now += 61
        issuer.keys = {"keys": "none"}
        assert (await through(http, issuer)).status_code == 403
        now += 61
        issuer.keys = {"keys": [ISSUER_KEY.as_dict(private=False)]}
        assert (await through(http, issuer)).status_code == 200


async def away(http: httpx.AsyncClient) -> bool:
    answer = await http.get("/login/oidc")
    return (answer.status_code, "does not answer" in answer.json()["error"]) == (502, True)


BLANKS = b" " * oidc_of_store.LARGEST
UNUSABLE = {
    "too large": [b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % (len(BLANKS) + 1), until_closed],
    "too large, in chunks": [stream_head(), chunk(BLANKS), chunk(b" "), until_closed],
    "too large for its packing": [respond(gzip.compress(b'{"x": "%b"}' % BLANKS), content_encoding="gzip")],
    "cut off": [b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{", close],
    "no HTTP": [b"hello\r\n\r\n", close],
}


@pytest.mark.parametrize("name", UNUSABLE)
@looped
async def test_a_provider_whose_answer_is_of_no_use(file, issuer, name):
    async with Provider(UNUSABLE[name]) as provider, desk(file, oidc(issuer).replace(issuer.url, provider.url)) as http:
        assert await away(http)


@looped
async def test_a_provider_that_takes_too_long(file, issuer, monkeypatch):
    monkeypatch.setattr(oidc_of_store, "PATIENCE", 0.2)
    async with Provider([until_closed]) as provider, desk(file, oidc(issuer).replace(issuer.url, provider.url)) as http:
        assert await away(http)


@looped
async def test_a_provider_that_does_not_answer(file, issuer):
    nowhere = oidc(issuer).replace(issuer.url, "http://127.0.0.1:1")
    async with desk(file, nowhere) as http:
        assert await away(http)
    async with desk(file) as http:
        assert [(await http.get(path)).status_code for path in ("/login/oidc", "/login/callback")] == [404, 404]
    await asyncio.sleep(0)
