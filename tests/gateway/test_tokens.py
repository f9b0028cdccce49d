"""Callers with tokens of an identity provider, over real sockets: who is let in, as whom, and what the others are told."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
import logging
import time
from collections.abc import Callable
from typing import Any

import jwt
import orjson
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from jwt.algorithms import get_default_algorithms

from ..scripted import Provider, respond
from .inside import Inside, inside_once
from .sockets import connected
from .spoken import ASKED, PATHS
from .wire import request

CONFIG = """
listeners: [{type: model, address: 127.0.0.1}]
model_providers: [{model: demo/*}]
access_keys: [{key: sk-file, name: ann}]
jwt:
  issuer: UPSTREAM
  audience: [dragoman, other]
  claims: {name: sub, team: org.team, user: email, models: models}
"""
RSA = rsa.generate_private_key(65537, 2048)
OTHER = rsa.generate_private_key(65537, 2048)
WEAK = rsa.generate_private_key(65537, 1024)
P256, P384 = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP384R1())
ED = ed25519.Ed25519PrivateKey.generate()


def public(key: Any, algorithm: str, **more: Any) -> dict[str, Any]:
    """A row of a key set."""
    return {**get_default_algorithms()[algorithm].to_jwk(key.public_key(), as_dict=True), "use": "sig"} | more  # type: ignore[call-overload]


KEYS = [
    public(RSA, "RS256", kid="r"),
    public(P256, "ES256", kid="e", alg="ES256"),
    public(P384, "ES384", kid="e3"),
    public(ED, "EdDSA", kid="o"),
    public(WEAK, "RS256", kid="w"),
    public(OTHER, "RS256", kid="enc", use="enc"),
    {"kty": "oct", "kid": "s", "k": base64.urlsafe_b64encode(b"s" * 32).decode()},
]


def claims(provider: Provider, **more: Any) -> dict[str, Any]:
    now = time.time()
    own = {"iss": provider.url, "aud": "dragoman", "sub": "ann", "exp": now + 300, "iat": now, "nbf": now}
    found = own | {"org": {"team": "blue"}, "email": "ann@example.com", "models": ["demo/echo", "demo/slow"]} | more
    return {name: value for name, value in found.items() if value is not None}


def token(provider: Provider, key: Any = RSA, algorithm: str = "RS256", kid: str | None = "r", **more: Any) -> str:
    return jwt.encode(claims(provider, **more), key, algorithm, headers={} if kid is None else {"kid": kid})


def identity_provider(keys: list[list[dict[str, Any]]] | None = None) -> Callable[[bytes], list[Any]]:
    """keys: the key set of each reading; the last one from then on."""
    sets = [KEYS] if keys is None else list(keys)

    def answer(asked: Any) -> list[Any]:
        host = asked.headers["host"]
        if asked.target == "/.well-known/openid-configuration":
            return [respond({"issuer": f"http://{host}", "jwks_uri": f"http://{host}/keys"})]
        return [respond({"keys": sets.pop(0) if len(sets) > 1 else sets[0]})]

    return answer


async def ask(gateway: Inside, credential: str, path: str = PATHS["chat"], model: str = "demo/echo") -> tuple[int, dict[str, str], Any]:
    shape = next(shape for shape, own in PATHS.items() if own == path)
    async with gateway.call(request(path, {"model": model, **ASKED[shape]}, authorization=f"Bearer {credential}")) as caller:
        status, headers = await caller.head()
        return status, headers, orjson.loads(await caller.body(headers))


# ---- good ones ----


@pytest.mark.parametrize(
    ("key", "algorithm", "kid"),
    [
        (RSA, "RS256", "r"),
        (RSA, "PS512", "r"),
        (P256, "ES256", "e"),
        (P384, "ES384", "e3"),
        (ED, "EdDSA", "o"),
    ],
)
@inside_once
async def test_algorithms(key: Any, algorithm: str, kid: str) -> None:
    with Provider(identity_provider()) as provider:
        async with Inside(CONFIG, provider) as gateway:
            status, _, answer = await ask(gateway, token(provider, key, algorithm, kid))
            assert (status, answer["choices"][0]["message"]["content"] != "") == (200, True)
            (line,) = gateway.lines
            assert line["key"] == "jwt:ann"


@pytest.mark.parametrize(
    "more",
    [
        {"aud": ["x", "other"]},
        {"exp": lambda now: now - 50},  # SKEW
        {"nbf": lambda now: now + 50, "iat": lambda now: now + 50},
        {"nbf": None, "iat": None},
        {"models": "demo/echo  demo/slow"},
        {"models": ["*"]},
    ],
)
@inside_once
async def test_claims_that_are_good(more: dict[str, Any]) -> None:
    now = time.time()
    with Provider(identity_provider()) as provider:
        async with Inside(CONFIG, provider) as gateway:
            shown = {name: value(now) if callable(value) else value for name, value in more.items()}
            assert (await ask(gateway, token(provider, **shown)))[0] == 200


@inside_once
async def test_whose_token_it_is() -> None:
    with Provider(identity_provider()) as provider:
        async with Inside(CONFIG, provider) as gateway:
            shown = token(provider)
            assert (await ask(gateway, shown))[0] == 200
            identity = gateway.gateway.services.access.admit(shown)
            assert (identity.name, identity.team, identity.user, identity.fixed_user) == ("jwt:ann", "blue", "ann@example.com", True)
            # the key of the file that has the token's name is another caller
            assert gateway.gateway.services.access.admit("sk-file").name == "ann"
            status, _, answer = await ask(gateway, shown, model="demo/tool")
            assert (status, answer["error"]["code"]) == (403, "permission_denied")
            assert len(provider.requests) == 2  # the discovery document and the keys, once


@inside_once
async def test_file_keys_go_on() -> None:
    with Provider(identity_provider()) as provider:
        async with Inside(CONFIG, provider) as gateway:
            assert (await ask(gateway, "sk-file"))[0] == 200
            status, _, answer = await ask(gateway, "sk-wrong")
            assert (status, answer["error"]["message"]) == (401, "The API key is not known to this gateway.")


# ---- bad ones ----


def unsigned(provider: Provider, **header: Any) -> str:
    def part(value: Any) -> str:
        return base64.urlsafe_b64encode(json.dumps(value).encode()).decode().rstrip("=")

    return f"{part({'kid': 'r', 'typ': 'JWT'} | header)}.{part(claims(provider))}."


def shared_secret(provider: Provider) -> str:
    """Signed with the public key as if it were a shared secret."""
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    secret = RSA.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    signed = unsigned(provider, alg="HS256").rstrip(".")
    signature = base64.urlsafe_b64encode(hmac.new(secret, signed.encode(), hashlib.sha256).digest()).decode().rstrip("=")
    return f"{signed}.{signature}"


BAD = [
    ("expired", lambda p: token(p, exp=time.time() - 70), "it has expired"),
    ("too early", lambda p: token(p, nbf=time.time() + 90), "it is not valid yet"),
    ("made in the future", lambda p: token(p, iat=time.time() + 90), "it is not valid yet"),
    ("no end", lambda p: token(p, exp=None), "it lacks one of the claims exp, iss, aud"),
    ("an end that is not a time", lambda p: token(p, exp="soon"), "its claim exp is not a time"),
    ("another audience", lambda p: token(p, aud="else"), "it is for another audience"),
    ("no audience", lambda p: token(p, aud=None), "it lacks one of the claims exp, iss, aud"),
    ("another issuer", lambda p: token(p, iss="http://evil.example"), "it is of another issuer"),
    ("another key", lambda p: token(p, OTHER), "its signature is wrong"),
    ("an unknown key", lambda p: token(p, OTHER, kid="x"), "the issuer has no key of the id that it names"),
    ("a key for encryption", lambda p: token(p, OTHER, kid="enc"), "the issuer has no key of the id that it names"),
    ("no key's id", lambda p: token(p, kid=None), "it names no key"),
    ("alg none", lambda p: unsigned(p, alg="none"), "its algorithm is not one that the key is for"),
    ("alg of a shared secret", shared_secret, "its algorithm is not one that the key is for"),
    ("a shared secret of the set", lambda p: token(p, b"s" * 32, "HS256", "s"), "the issuer has no key of the id that it names"),
    ("an algorithm of another curve", lambda p: token(p, P256, "ES256", "e3"), "its algorithm is not one that the key is for"),
    ("a weak key", lambda p: token(p, WEAK, kid="w"), "its key is too short"),
    ("no name", lambda p: token(p, sub=None), "its claim sub is not a text"),
    ("a name in two lines", lambda p: token(p, sub="a\nb"), "its claim sub is not a text"),
    ("a team of another type", lambda p: token(p, org={"team": ["blue"]}), "its claim org.team is not a text"),
    ("no models", lambda p: token(p, models=None), "its claim models is not a list of models"),
    ("changed", lambda p: token(p)[:-8] + "AAAAAAAA", "its signature is wrong"),
    ("garbage", lambda p: "eyJ.eyJ.x", "it names no key"),
    ("a header nested too deeply", lambda p: base64.b64encode(b'{"a":' + b"[" * 11_000).decode().rstrip("=") + ".e30.x", "it names no key"),
]


@pytest.mark.parametrize(("make", "why"), [pytest.param(make, why, id=name) for name, make, why in BAD])
@pytest.mark.filterwarnings("ignore::jwt.warnings.InsecureKeyLengthWarning")
@inside_once
async def test_refused(make: Callable[[Provider], str], why: str, caplog: pytest.LogCaptureFixture) -> None:
    """The caller learns nothing but `invalid_token`; the log says why, and quotes no token."""
    with Provider(identity_provider()) as provider, caplog.at_level(logging.WARNING, "dragoman"):
        async with Inside(CONFIG, provider) as gateway:
            shown = make(provider)
            for _ in range(2):
                status, headers, answer = await ask(gateway, shown, PATHS["messages"])
                assert (status, headers["x-should-retry"], headers["www-authenticate"]) == (401, "false", 'Bearer error="invalid_token"')
                assert answer["error"] == {"type": "authentication_error", "message": "The token is not accepted: invalid_token."}
            assert (await ask(gateway, shown))[2]["error"]["code"] == "invalid_token"
            assert [record.getMessage() for record in caplog.records if why in record.getMessage()]
            assert why in gateway.lines[0]["error_detail"]
            assert not [part for part in shown.split(".") if len(part) > 8 and part in caplog.text + str(gateway.lines)]


GET = "GET {} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {}\r\n{}\r\n"
UPGRADE = "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"


@pytest.mark.parametrize(
    ("path", "more", "status"),
    [
        ("/v1/models", "", 200),
        ("/v1/responses/resp_x", "", 404),
        ("/v1/conversations/conv_x", "", 404),
        ("/api/oauth/usage", "", 200),
        ("/v1/responses", UPGRADE, 101),
    ],
)
@inside_once
async def test_every_entrance(path: str, more: str, status: int) -> None:
    """The very first request of a gateway waits for the issuer's keys, wherever it comes in."""
    with Provider(identity_provider()) as provider:
        async with Inside(CONFIG, provider) as gateway:
            for shown, expected in ((token(provider), status), (token(provider, OTHER), 401)):
                async with gateway.call(GET.format(path, shown, more).encode()) as caller:
                    assert (await caller.head())[0] == expected


@inside_once
async def test_a_token_ends_while_its_websocket_is_open() -> None:
    with Provider(identity_provider()) as provider:
        async with Inside(CONFIG, provider) as gateway:
            tokens = gateway.gateway.services.tokens
            assert tokens is not None
            ahead = 0.0
            tokens._clock = lambda: time.time() + ahead
            async with connected(gateway, authorization=f"Bearer {token(provider)}") as socket:
                socket.create(model="demo/echo", input="Hi")
                assert (await socket.response())[-1]["type"] == "response.completed"
                ahead = 400.0
                socket.create(model="demo/echo", input="Hi")
                (event,) = await socket.response()
                assert (event["status"], event["error"]["code"]) == (401, "invalid_token")
                assert await socket.closed() == 1008


# ---- the keys ----


@inside_once
async def test_a_new_key_is_read_once_it_is_named() -> None:
    """And the one that it replaces ends what it had signed."""
    sets = [[public(RSA, "RS256", kid="r")], [public(OTHER, "RS256", kid="new")]]
    with Provider(identity_provider(sets)) as provider:
        async with Inside(CONFIG, provider) as gateway:
            tokens = gateway.gateway.services.tokens
            assert tokens is not None
            ahead = 0.0
            tokens._pace = lambda: time.monotonic() + ahead
            old, new = token(provider), token(provider, OTHER, kid="new")
            assert (await ask(gateway, old))[0] == 200
            before = len(provider.requests)
            assert (await ask(gateway, new))[0] == 401  # the keys were read less than a minute ago
            assert len(provider.requests) == before
            ahead = 61.0
            answers = await asyncio.gather(*(ask(gateway, new) for _ in range(20)))
            assert {status for status, _, _ in answers} == {200}
            assert len(provider.requests) == before + 2  # one reading for all of them
            assert (await ask(gateway, old))[0] == 401


@inside_once
async def test_unknown_keys_cause_one_reading_a_minute() -> None:
    with Provider(identity_provider()) as provider:
        async with Inside(CONFIG, provider) as gateway:
            assert (await ask(gateway, token(provider)))[0] == 200
            for number in range(20):
                assert (await ask(gateway, token(provider, OTHER, kid=f"x{number}")))[0] == 401
            assert len(provider.requests) == 2


@pytest.mark.parametrize(
    "answers",
    [
        [respond({"issuer": "https://other.example", "jwks_uri": "https://other.example/keys"})],
        [respond({"error": "no"}, status=500)],
        [respond(["no object"])],
    ],
)
@inside_once
async def test_an_issuer_that_does_not_answer(answers: list[Any]) -> None:
    """Nobody is let in, and nobody is sent to sign in anew."""
    with Provider(lambda _: answers) as provider:
        async with Inside(CONFIG, provider) as gateway:
            status, headers, answer = await ask(gateway, token(provider))
            assert (status, headers["retry-after"], answer["error"]["code"]) == (503, "5", "overloaded")
            assert (await ask(gateway, "sk-file"))[0] == 200


@inside_once
async def test_a_reload_keeps_the_keys() -> None:
    with Provider(identity_provider()) as provider:
        async with Inside(CONFIG, provider) as gateway:
            shown = token(provider)
            assert (await ask(gateway, shown))[0] == 200
            gateway.gateway.adopt(gateway.gateway.config)
            assert (await ask(gateway, shown))[0] == 200
            assert len(provider.requests) == 2


@inside_once
async def test_a_token_does_not_travel() -> None:
    """It ends at the gateway; the upstream gets the entry's own key."""
    config = CONFIG.replace("{model: demo/*}", '{model: up/m, base_url: "UPSTREAM/v1", access_key: sk-upstream}').replace(
        ", models: models}", "}"
    )
    whole = {"id": "c", "object": "chat.completion", "created": 1, "model": "m", "choices": []}
    answer = identity_provider()
    with Provider(lambda asked: [respond(whole)] if asked.method == "POST" else answer(asked)) as provider:
        async with Inside(config, provider) as gateway:
            shown = token(provider)
            await ask(gateway, shown, model="up/m")
            sent = provider.requests[-1]
            assert sent.headers["authorization"] == "Bearer sk-upstream"
            assert shown not in str(sent.headers)


ODD = [
    {"kty": ["RSA"]},
    {"kty": "EC", "crv": {}},
    {"kty": "RSA", "n": "AQAB", "e": "AQAB", "key_ops": 5},
    {"kty": "RSA", "n": 5, "e": None},
    {"kty": "OKP", "crv": "Ed25519", "x": 5},
    {"kty": "EC", "crv": "P-256", "x": "AA", "y": "AA"},
]


@pytest.mark.parametrize("row", ODD, ids=str)
@inside_once
async def test_a_row_of_odd_types_is_no_key_and_harms_no_other(row: dict[str, Any]) -> None:
    with Provider(identity_provider([[row | {"kid": "odd"}, *KEYS]])) as provider:
        async with Inside(CONFIG, provider) as gateway:
            assert (await ask(gateway, token(provider)))[0] == 200
            assert (await ask(gateway, token(provider, kid="odd")))[0] == 401
