"""Doubles of the services that give credentials: one HTTP server that plays Google's token endpoint and metadata server, and Azure's
managed identity. Every answer can be scripted.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from time import time
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from ..scripted import Provider, Request, Steps, respond


class Tokens(Provider):
    """asked: the paths of requests for tokens, probes aside. life: seconds of each token. broken: what to answer instead of one."""

    def __init__(self, life: float = 3600, broken: Callable[[Request], Steps] | None = None) -> None:
        super().__init__(self._script)
        self.life, self.broken = life, broken
        self.asked: list[str] = []

    def _script(self, request: Request) -> Steps:
        path = request.target.partition("?")[0]
        if path in ("/", "/computeMetadata/v1/"):
            return [respond({}, metadata_flavor="Google")]
        if path.endswith("/project/project-id"):
            return [respond("metadata-project", metadata_flavor="Google")]
        if path.endswith("/service-accounts/default/") or "/universe" in path:
            return [respond({"email": "sa@example.com", "scopes": [], "aliases": []}, metadata_flavor="Google")]
        self.asked.append(path)
        if self.broken is not None:
            return self.broken(request)
        number = len(self.asked)
        token = {"access_token": f"tok-{number}", "token_type": "Bearer", "expires_in": int(self.life)}
        if path == "/msi/token":  # Azure's
            assert request.headers["x-identity-header"] == "identity-header-secret"
            token |= {"expires_on": str(int(time() + self.life)), "resource": "r"}
        return [respond(token, metadata_flavor="Google")]


@cache
def _private_key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(65537, 2048)


def _key() -> str:
    form, nothing = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    return _private_key().private_bytes(serialization.Encoding.PEM, form, nothing).decode()


def certificate(folder: Path) -> Path:
    """A PEM file with a certificate and its key."""
    name, key, now = x509.Name([]), _private_key(), datetime.now(UTC)
    built = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key()).serial_number(1)
    signed = built.not_valid_before(now).not_valid_after(now + timedelta(days=1)).sign(key, hashes.SHA256())
    file = folder / "application.pem"
    file.write_text(signed.public_bytes(serialization.Encoding.PEM).decode() + _key())
    return file


def service_account(folder: Path, tokens: Provider | str, **more: Any) -> Path:
    """The file of a service account whose tokens the double gives."""
    file = folder / "service-account.json"
    account = {
        "type": "service_account",
        "project_id": "p",
        "private_key_id": "k",
        "private_key": _key(),
        "client_email": "sa@p.iam.gserviceaccount.com",
        "token_uri": f"{tokens if isinstance(tokens, str) else tokens.url}/token",
    }
    file.write_text(json.dumps(account | more))
    return file
