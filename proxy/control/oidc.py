"""Sign-in by an identity provider: OpenID Connect, authorization code with PKCE.

Authlib has the challenge and the checks of the ID token's claims; its signature is checked against the provider's keys, which are
fetched when one is unknown, at most once a minute.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from time import monotonic, time
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

import orjson
from authlib.oauth2.rfc7636 import create_s256_code_challenge  # type: ignore[import-untyped]
from authlib.oidc.core import CodeIDToken  # type: ignore[import-untyped]
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import KeySet
from tornado.httpclient import AsyncHTTPClient, HTTPClientError, HTTPRequest

from ...conf.model import Oidc
from .sessions import Begun, Refused, Role

PATIENCE = 10.0  # seconds for an answer of the provider
LARGEST = 1 << 20  # bytes of it
AGAIN = 60.0  # seconds between two looks for unknown keys
LEEWAY = 60  # seconds by which clocks may differ
ALGORITHMS = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA")


class Provider:
    """One identity provider."""

    def __init__(self, settings: Oidc) -> None:
        self._settings = settings
        self._client = AsyncHTTPClient(force_instance=True, max_body_size=LARGEST)
        self._facts: dict[str, Any] = {}
        self._keys: KeySet | None = None
        self._keys_at = float("-inf")  # monotonic seconds

    def close(self) -> None:
        self._client.close()

    async def begin(self, redirect_url: str) -> tuple[str, Begun]:
        """Where to send the browser. Raises Refused."""
        facts = await self._discovered()
        begun = Begun(secrets.token_urlsafe(24), secrets.token_urlsafe(24), secrets.token_urlsafe(48))
        query = {
            "response_type": "code",
            "client_id": self._settings.client_id,
            "redirect_uri": redirect_url,
            "scope": " ".join(self._settings.scopes),
            "state": begun.state,
            "nonce": begun.nonce,
            "code_challenge": create_s256_code_challenge(begun.verifier),
            "code_challenge_method": "S256",
        }
        address = facts["authorization_endpoint"]
        return f"{address}{'&' if '?' in address else '?'}{urlencode(query)}", begun

    async def finish(self, begun: Begun, code: str, redirect_url: str) -> tuple[Role, str]:
        """The role and the name of who has signed in. Raises Refused."""
        facts = await self._discovered()
        form = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": redirect_url,
            "client_id": self._settings.client_id,
            "code_verifier": begun.verifier,
        }
        headers = {"Content-Type": "application/x-www-form-urlencoded", "Accept": "application/json"}
        secret = self._settings.client_secret
        how: dict[str, Any] = {}
        if secret is not None and "client_secret_basic" in facts.get("token_endpoint_auth_methods_supported", ["client_secret_basic"]):
            how = {"auth_username": quote(self._settings.client_id, safe=""), "auth_password": quote(secret, safe="")}
        elif secret is not None:
            form["client_secret"] = secret
        answer = await self._fetch(facts["token_endpoint"], method="POST", body=urlencode(form), headers=headers, **how)
        token = answer.get("id_token")
        if not isinstance(token, str):
            raise Refused("the provider sent no ID token")
        return self._role(await self._claims(token, begun.nonce, answer.get("access_token")))

    async def _claims(self, token: str, nonce: str, access_token: object) -> Mapping[str, Any]:
        """The claims of an ID token that is good. Raises Refused."""
        facts = await self._discovered()
        asked = facts.get("id_token_signing_alg_values_supported") or ["RS256"]
        algorithms = [name for name in ALGORITHMS if name in asked]
        try:
            decoded = await self._decoded(token, algorithms)
            options = {
                "iss": {"essential": True, "value": facts["issuer"]},
                "aud": {"essential": True, "value": self._settings.client_id},
                "exp": {"essential": True},
            }
            params = {"nonce": nonce, "client_id": self._settings.client_id}
            if isinstance(access_token, str):
                params["access_token"] = access_token
            claims = CodeIDToken(decoded.claims, decoded.header, options, params)
            claims.validate(now=int(time()), leeway=LEEWAY)
        except Refused:
            raise
        except Exception as error:  # of joserfc, of Authlib, or of claims of odd types
            raise Refused(f"the ID token is invalid: {type(error).__name__}") from None
        if claims.get("nonce") != nonce:
            raise Refused("the ID token is of another sign-in")
        return dict(claims)

    async def _decoded(self, token: str, algorithms: list[str]) -> Any:
        if self._keys is not None:
            try:
                return jwt.decode(token, self._keys, algorithms=algorithms)
            except (JoseError, ValueError):
                if monotonic() - self._keys_at < AGAIN:
                    raise
        self._keys_at = monotonic()
        self._keys = KeySet.import_key_set(await self._fetch((await self._discovered())["jwks_uri"]))  # type: ignore[arg-type]
        return jwt.decode(token, self._keys, algorithms=algorithms)

    def _role(self, claims: Mapping[str, Any]) -> tuple[Role, str]:
        settings = self._settings
        claim = claims.get(settings.claim)
        values = {value for value in (claim if isinstance(claim, list) else [claim]) if isinstance(value, str)}
        if settings.claim == "email" and claims.get("email_verified") is False:
            raise Refused("the e-mail address is not verified")
        name = next((claims[one] for one in ("email", "preferred_username", "sub") if isinstance(claims.get(one), str)), "")
        roles: tuple[tuple[Role, tuple[str, ...]], ...] = (("admin", settings.admins), ("viewer", settings.viewers))
        for role, members in roles:
            if "*" in members or values & set(members):
                return role, name[:128]
        raise Refused(f"{name[:128]} has no role here")

    # ---- the provider ----

    async def _discovered(self) -> dict[str, Any]:
        """Its own description. Raises Refused."""
        if not self._facts:
            issuer = self._settings.issuer.rstrip("/")
            facts = await self._fetch(f"{issuer}/.well-known/openid-configuration")
            if str(facts.get("issuer", "")).rstrip("/") != issuer:
                raise Refused("the provider names another issuer")
            for name in ("authorization_endpoint", "token_endpoint", "jwks_uri"):
                if urlsplit(str(facts.get(name))).scheme not in ("https", "http"):
                    raise Refused(f"the provider has no {name}")
            self._facts = facts
        return self._facts

    async def _fetch(self, url: str, **how: Any) -> dict[str, Any]:
        """An object of JSON. Raises Refused."""
        bounds: dict[str, Any] = {"connect_timeout": PATIENCE, "request_timeout": PATIENCE, "follow_redirects": False}
        request = HTTPRequest(url, **bounds, decompress_response=False, **how)  # what an answer decompresses to has no bound
        place = urlsplit(url).hostname
        try:
            answer = await self._client.fetch(request, raise_error=False)
        except (OSError, ValueError, HTTPClientError) as error:
            raise Refused(f"{place} does not answer: {type(error).__name__}") from None
        if answer.code != 200:
            raise Refused(f"{place} answers with {answer.code}")
        try:
            value = orjson.loads(answer.body)
        except orjson.JSONDecodeError:
            value = None
        if not isinstance(value, dict):
            raise Refused(f"{place} does not answer with an object of JSON")
        return value
