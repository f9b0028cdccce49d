"""Google's and Entra's credentials in requests, by the vendors' libraries over real sockets, with doubles of who gives them."""

from __future__ import annotations

import asyncio
import base64
import json
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import pytest

from dragoman import conf
from dragoman.conf import clouds
from dragoman.conf.model import Entra, Google
from dragoman.proxy.credentials import azure as entra
from dragoman.proxy.credentials import gcp, sources
from dragoman.proxy.credentials.credential import Fault
from dragoman.proxy.credentials.heard import Heard
from dragoman.proxy.process import start

from ..scripted import Provider, Request, Steps, respond
from .clouds import Tokens, certificate, service_account
from .inside import Inside, inside_once
from .test_credentials import answers, asked, authorizations
from .test_metrics import whole

pytestmark = pytest.mark.filterwarnings("ignore:The load_credentials_from_dict method:DeprecationWarning")


def google(**section: str) -> str:
    section_text = json.dumps(section)
    return f'model_providers:\n  - {{model: vertex/google/g, base_url: "UPSTREAM/v1", gcp: {section_text}}}\n'


def azure(section: str = "{credential: managed_identity}", more: str = "") -> str:
    return f'model_providers:\n  - {{model: azure_openai/m, base_url: "UPSTREAM/openai/v1", azure: {section}}}\n{more}'


@pytest.fixture
def nothing_around(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No credential of this machine, and no metadata server."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        nowhere = f"127.0.0.1:{free.getsockname()[1]}"
    monkeypatch.setenv("GCE_METADATA_HOST", nowhere)
    monkeypatch.setenv("GCE_METADATA_IP", nowhere)
    monkeypatch.setenv("CLOUDSDK_CONFIG", str(tmp_path))
    for name in ("GOOGLE_APPLICATION_CREDENTIALS", "IDENTITY_ENDPOINT", "IDENTITY_HEADER", "AZURE_CLIENT_ID", "AZURE_TENANT_ID"):
        monkeypatch.delenv(name, raising=False)


# ---- Google ----


@inside_once
async def test_c31_a_service_account(tmp_path: Path) -> None:
    """One token for a hundred requests at once, and for every entry with the same file."""
    with Tokens() as tokens, Provider(answers) as provider:
        config = google(credentials_file=str(service_account(tmp_path, tokens)), quota_project="payer")
        async with Inside(config, provider) as gateway:
            replies = await asyncio.gather(*(asked(gateway, "vertex/google/g") for _ in range(100)))
    assert {status for status, _, _ in replies} == {200}
    assert authorizations(provider) == ["Bearer tok-1"] * 100
    assert {request.headers["x-goog-user-project"] for request in provider.requests} == {"payer"}
    assert {request.json["model"] for request in provider.requests} == {"google/g"}
    assert tokens.asked == ["/token"]


@inside_once
async def test_the_metadata_server(monkeypatch: pytest.MonkeyPatch, nothing_around: None) -> None:
    with Tokens() as tokens, Provider(answers) as provider:
        monkeypatch.setenv("GCE_METADATA_HOST", f"127.0.0.1:{tokens.port}")
        monkeypatch.setenv("GCE_METADATA_IP", f"127.0.0.1:{tokens.port}")
        async with Inside(google(), provider) as gateway:
            assert (await asked(gateway, "vertex/google/g"))[0] == 200
    assert authorizations(provider) == ["Bearer tok-1"]
    assert tokens.asked == ["/computeMetadata/v1/instance/service-accounts/default/token"]


@inside_once
async def test_a_token_that_is_refused_is_got_anew(tmp_path: Path) -> None:
    def script(request: Request) -> Steps:
        return [whole()] if request.headers["authorization"] == "Bearer tok-2" else [respond({"error": {"message": "no"}}, 401)]

    with Tokens() as tokens, Provider(script) as provider:
        async with Inside(google(credentials_file=str(service_account(tmp_path, tokens))), provider) as gateway:
            assert (await asked(gateway, "vertex/google/g"))[0] == 200
    assert authorizations(provider) == ["Bearer tok-1", "Bearer tok-2"]


REFUSED = {"error": "invalid_grant", "error_description": "Invalid JWT: secret-assertion"}


def refuses(_: Request) -> Steps:
    return [respond(REFUSED, 400)]


def test_a_key_that_is_replaced_in_its_file(tmp_path: Path) -> None:
    def knows_the_new_one(request: Request) -> Steps:
        assertion = parse_qs(request.body.decode())["assertion"][0]
        claims = assertion.split(".")[1]
        new = b'"iss": "new@p"' in base64.urlsafe_b64decode(claims + "==")
        return [respond({"access_token": "tok", "expires_in": 60})] if new else [respond(REFUSED, 400)]

    with Tokens(broken=knows_the_new_one) as tokens:
        way = Google(str(service_account(tmp_path, tokens)))
        with pytest.raises(Fault, match="refused"):
            gcp.get(way, 20)
        service_account(tmp_path, tokens, client_email="new@p")
        assert gcp.get(way, 20)["token"] == "tok"


@inside_once
@pytest.mark.parametrize(
    ("text", "said"),
    [
        (None, "cannot be read"),
        ("{", "cannot be read"),
        ("[]", "cannot be used"),
        ('{"type": "unknown", "private_key": "secret"}', "cannot be used"),
        ('{"type": "service_account", "private_key": "secret"}', "cannot be used"),
    ],
)
async def test_a_file_of_google_that_is_none(tmp_path: Path, text: str | None, said: str) -> None:
    file = tmp_path / "sa.json"
    if text is not None:
        file.write_text(text)
    async with Provider(answers) as provider, Inside(google(credentials_file=str(file)), provider) as gateway:
        status, _, body = await asked(gateway, "vertex/google/g")
    assert (status, json.loads(body)["error"]["code"]) == (502, "upstream_auth_missing")
    assert f"gcp.credentials_file {said}" in body.decode()
    assert "secret" not in body.decode()


# ---- Entra ----


@pytest.fixture
def identity(monkeypatch: pytest.MonkeyPatch, nothing_around: None) -> Any:
    def at(tokens: Tokens) -> None:
        monkeypatch.setenv("IDENTITY_ENDPOINT", f"{tokens.url}/msi/token")
        monkeypatch.setenv("IDENTITY_HEADER", "identity-header-secret")

    return at


@inside_once
async def test_c36_a_managed_identity(identity: Any) -> None:
    with Tokens() as tokens, Provider(answers) as provider:
        identity(tokens)
        async with Inside(azure("{client_id: uami}"), provider) as gateway:
            replies = await asyncio.gather(*(asked(gateway, "azure_openai/m") for _ in range(20)))
    assert {status for status, _, _ in replies} == {200}
    assert authorizations(provider) == ["Bearer tok-1"] * 20
    assert not any("api-key" in request.headers for request in provider.requests), "never both"
    (request,) = tokens.requests
    assert "resource=https://cognitiveservices.azure.com&" in request.target
    assert "client_id=uami" in request.target


def test_c36_a_long_life_has_its_renewal_when_the_library_says(identity: Any) -> None:
    """Half of a life of more than two hours; of a shorter one it says nothing."""
    with Tokens(life=3 * 3600) as tokens:
        identity(tokens)
        found = entra.get(Entra("managed_identity", clouds.AZURE_SCOPE), 20)
        tokens.life = 3600
        short = entra.get(Entra("managed_identity", clouds.AZURE_SCOPE), 20)
    assert found["ends"] - found["renew_at"] == pytest.approx(1.5 * 3600, abs=60)
    assert short["renew_at"] is None


@inside_once
async def test_the_default_credentials_of_azure(identity: Any) -> None:
    with Tokens() as tokens, Provider(answers) as provider:
        identity(tokens)
        async with Inside(azure("{}"), provider) as gateway:
            assert (await asked(gateway, "azure_openai/m", "responses"))[0] in (200, 502)
    assert authorizations(provider) == ["Bearer tok-1"]


@inside_once
@pytest.mark.parametrize(
    ("answer", "code", "said"),
    [
        (
            {"error": "invalid_client", "error_description": "AADSTS7000215: secret-assertion"},
            "missing",
            "there is none here, or its service",
        ),
        (b"AADSTS7000215: secret-assertion", "failed", "the token service cannot be reached, or failed"),
    ],
)
async def test_c36_entra_refuses_and_the_next_candidate_answers(
    identity: Any, caplog: Any, capfd: Any, answer: Any, code: str, said: str
) -> None:
    def script(_: Request) -> Steps:
        return [respond(answer, 401)]

    more = '  - {model: azure_openai/m, base_url: "UPSTREAM/openai/v1", access_key: spare-key}\n'
    with Tokens(broken=script) as tokens, Provider(answers) as provider:
        identity(tokens)
        async with Inside(azure(), provider) as gateway:
            status, _, body = await asked(gateway, "azure_openai/m")
        async with Inside(azure(more=more), provider) as gateway:
            assert (await asked(gateway, "azure_openai/m"))[0] == 200
    error = json.loads(body)["error"]
    assert (status, error["code"]) == (502, f"upstream_auth_{code}")
    assert f"azure: managed identity: {said}" in error["message"]
    assert [request.headers.get("api-key") for request in provider.requests] == ["spare-key"]
    assert "AADSTS" not in body.decode() + caplog.text + "".join(capfd.readouterr())


@pytest.mark.parametrize("kind", [kind for kind in clouds.KINDS if kind != "key"])
def test_the_library_takes_what_each_kind_is_given(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import azure.identity

    monkeypatch.setenv("AZURE_FEDERATED_TOKEN_FILE", str(tmp_path / "token"))
    values = {
        "tenant_id": "tenant",
        "client_id": "client",
        "client_secret": "secret",
        "certificate": str(certificate(tmp_path)),
        "authority": "login.microsoftonline.us",
    }
    needs, takes = clouds.KINDS[kind]
    way = Entra(kind, clouds.AZURE_SCOPE, **{key: values[key] for key in (*needs, *takes)})
    made = entra.made(way, 5.0, azure.identity, Heard(None))
    assert hasattr(made, "get_token_info")
    assert "secret" not in repr(way).replace("client_secret", "")


# ---- what is not installed; check --credentials ----


def test_a_package_that_is_not_installed_ends_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    config = conf.loads(
        azure().replace("UPSTREAM", "https://h") + google(project="p").replace("model_providers:\n", "").replace("UPSTREAM", "https://h")
    )
    assert list(sources.lacking(config)) == []
    monkeypatch.setattr(sources, "_installed", lambda package: False)
    wrong, _ = start.faults(config)
    assert wrong == [
        (("model_providers", 0), "model_providers[0]: azure: managed identity needs: pip install 'dragoman[azure]'"),
        (("model_providers", 1), "model_providers[1]: gcp: default credentials needs: pip install 'dragoman[gcp]'"),
    ]
    with pytest.raises(conf.ConfigError, match=r"pip install 'dragoman\[azure\]'"):
        start.plan(config)


def test_the_libraries_are_imported_when_they_are_needed() -> None:
    program = (
        "import sys, dragoman.proxy.gateway, dragoman.proxy.cli; print({'azure.identity', 'google.auth', 'botocore'} & set(sys.modules))"
    )
    found = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert found.stdout == "set()\n"


@pytest.mark.parametrize(("broken", "code", "said"), [(None, 0, "good until 20"), (refuses, 1, "the token service refused")])
def test_check_asks_when_it_is_told_to(tmp_path: Path, capsys: Any, broken: Any, code: int, said: str) -> None:
    from dragoman.proxy.cli import main

    with Tokens(broken=broken) as tokens:
        file = tmp_path / "dragoman.yaml"
        listeners = "listeners: [{type: model, address: 127.0.0.1, port: 0}]\n"
        file.write_text(
            listeners + google(credentials_file=str(service_account(tmp_path, tokens))).replace("UPSTREAM", "http://127.0.0.1:9")
        )
        assert main(["check", str(file)]) == 0
        assert "gcp: credentials_file" in capsys.readouterr().out
        assert tokens.asked == [], "plain check asks nobody"
        assert main(["check", str(file), "--credentials"]) == code
    out = capsys.readouterr().out
    assert f"vertex/google/g  gcp: credentials_file: {said}" in out
    assert "tok-" not in out
