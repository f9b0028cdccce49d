"""What can go wrong with each source of credentials: the step that is named, the answer, the log, the metrics, and no secret in any.

Two tables: one of what a cloud's library meets, asked for in this process as it is in its own; one over a running gateway, with an entry
for each row.
"""

from __future__ import annotations

import asyncio
import json
import os
import socket
import ssl
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import parse_qs

import pytest

from dragoman.conf.model import Aws, Entra, Google
from dragoman.proxy.credentials import apart, library
from dragoman.proxy.credentials.credential import Fault

from ..proxies import Authority, tunnel
from ..scripted import Provider, Request, Steps, close, respond
from .aws import KEY_ID, SECRET
from .clouds import certificate, service_account
from .inside import Inside, inside_once
from .test_credentials import answers, asked

pytestmark = pytest.mark.filterwarnings("ignore:The load_credentials_from_dict method:DeprecationWarning")

HIDDEN = "sk-hidden-secret"
LOGIN = "login.microsoftonline.com"
ROLE = "arn:aws:iam::123456789012:role/"


@pytest.fixture
def alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """No credential of this machine, and no metadata server. A home."""
    for name in [name for name in os.environ if name.startswith(("AWS_", "AZURE_", "GOOGLE_", "IDENTITY_", "GCE_", "MSI_"))]:
        monkeypatch.delenv(name)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        nowhere = f"127.0.0.1:{free.getsockname()[1]}"
    for name in ("GCE_METADATA_HOST", "GCE_METADATA_IP"):
        monkeypatch.setenv(name, nowhere)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("CLOUDSDK_CONFIG", str(tmp_path))
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / ".aws").mkdir()
    return tmp_path


# ---- doubles ----


def _sts(code: str, status: int = 400) -> Steps:
    text = f"<ErrorResponse><Error><Code>{code}</Code><Message>{HIDDEN}</Message></Error></ErrorResponse>"
    return [respond(text.encode(), status, content_type="text/xml")]


STS: dict[str, Steps] = {
    "denied": _sts("AccessDenied", 403),
    "expired": _sts("ExpiredTokenException"),
    "busy": _sts("Throttling"),
    "down": _sts("ServiceUnavailable", 503),
    "page": [respond(f"<html>{HIDDEN}".encode(), 502)],
    "gone": [close],
}
BUSY: dict[str, Steps] = {str(status): [respond({"error": "busy", "error_description": HIDDEN}, status)] for status in (429, 503)}
TOKENS: dict[str, Steps] = BUSY | {
    "refused": [respond({"error": "invalid_grant", "error_description": HIDDEN}, 400)],
    "gone": [close],
    "": [respond(HIDDEN.encode(), 503, metadata_flavor="Google")],
}
ENTRA: dict[str, Steps] = BUSY | {
    "401": [respond({"error": "invalid_client", "error_description": f"AADSTS7000215: {HIDDEN}"}, 401)],
    "500": [respond(HIDDEN.encode(), 500)],
    "page": [respond(f"<html>{HIDDEN}".encode())],
}


def services(request: Request) -> Steps:
    """STS by the role's name, token endpoints and metadata services by the first part of the path."""
    form = parse_qs(request.body.decode())
    return STS[form["RoleArn"][0].removeprefix(ROLE)] if "RoleArn" in form else TOKENS[request.target.split("/")[1]]


def login(request: Request) -> Steps:
    """Entra: what it is asked at first, and then by the application's id."""
    path = request.target.partition("?")[0]
    if path.endswith("/instance"):
        return [respond({"tenant_discovery_endpoint": f"https://{LOGIN}/t/v2.0/.well-known/openid-configuration", "metadata": []})]
    if path.endswith("openid-configuration"):
        places = {"token_endpoint": "oauth2/v2.0/token", "authorization_endpoint": "a", "issuer": "v2.0"}
        return [respond({name: f"https://{LOGIN}/t/{place}" for name, place in places.items()})]
    return ENTRA[parse_qs(request.body.decode())["client_id"][0]]


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("tls"), "private")


@pytest.fixture
def entra(authority: Authority) -> Iterator[Provider]:
    """A proxy that leads to Entra's double."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*authority.issue("login", LOGIN, f"subjectAltName=DNS:{LOGIN}"))
    with Provider(login, tls=context) as there, Provider(tunnel(there.port)) as proxy:
        yield proxy


# ---- what a library meets ----


class Met(NamedTuple):
    """way: made of the home and the URL of the services; config: of AWS's files; environ: beside the usual, URL and HOST for that of the
    services.
    """

    way: Callable[[Path, str], Aws | Google | Entra]
    said: str
    missing: bool = False
    passing: bool = False
    config: str = ""
    environ: dict[str, str] = {}  # noqa: RUF012


def _role(name: str) -> Callable[[Path, str], Aws]:
    return lambda home, url: Aws("us-east-1", access_key_id=KEY_ID, secret_access_key=SECRET, role_arn=ROLE + name)


def _web(name: str, text: str | None = HIDDEN) -> Callable[[Path, str], Aws]:
    def way(home: Path, url: str) -> Aws:
        file = home / "web"
        if text is not None:
            file.write_text(text)
        return Aws("us-east-1", role_arn=ROLE + name, web_identity_token_file=str(file))

    return way


def _profile(home: Path, url: str) -> Aws:
    return Aws("us-east-1", profile="p")


def _chain(home: Path, url: str) -> Aws:
    return Aws("us-east-1")


def _account(name: str) -> Callable[[Path, str], Google]:
    return lambda home, url: Google(str(service_account(home, f"{url}/{name}")))


def _external(home: Path, url: str) -> Google:
    told = {"type": "external_account", "audience": "//iam.googleapis.com/x", "subject_token_type": "urn:ietf:params:oauth:token-type:jwt"}
    (home / "ext.json").write_text(json.dumps(told | {"token_url": f"{url}/refused/token", "credential_source": {"file": "/none"}}))
    return Google(str(home / "ext.json"))


def _impersonated(home: Path, url: str) -> Google:
    told = {"type": "impersonated_service_account", "service_account_impersonation_url": f"{url}/429/a:generateAccessToken"}
    source = {"type": "authorized_user", "client_id": "c", "client_secret": HIDDEN, "refresh_token": HIDDEN}
    (home / "imp.json").write_text(json.dumps(told | {"source_credentials": source}))
    return Google(str(home / "imp.json"))


def _azure(kind: str) -> Callable[[Path, str], Entra]:
    return lambda home, url: Entra(kind, "https://s/.default")


def _application(kind: str, client: str) -> Callable[[Path, str], Entra]:
    def way(home: Path, url: str) -> Entra:
        own = {"client_secret": {"client_secret": HIDDEN}, "client_certificate": {"certificate": str(certificate(home))}}
        (home / "federated").write_text(HIDDEN)
        return Entra(kind, "https://s/.default", tenant_id="t", client_id=client, **own.get(kind, {}))

    return way


def _without_file(home: Path, url: str) -> Entra:
    return Entra("workload_identity", "https://s/.default", tenant_id="t", client_id="401")


UNREACHED = "the token service cannot be reached"
MET = {
    "aws-role-denied": Met(_role("denied"), "AssumeRole was refused (AccessDenied)"),
    "aws-role-busy": Met(_role("busy"), "AssumeRole was refused (Throttling)", passing=True),
    "aws-role-down": Met(_role("down"), "AssumeRole was refused (ServiceUnavailable)", passing=True),
    "aws-role-page": Met(_role("page"), "AssumeRole was refused", passing=True),
    "aws-role-gone": Met(_role("gone"), f"{UNREACHED} (ConnectionClosedError)", passing=True),
    "aws-web-expired": Met(_web("expired"), "AssumeRoleWithWebIdentity was refused (ExpiredTokenException)"),
    "aws-web-no-file": Met(_web("expired", None), "aws.web_identity_token_file cannot be read", missing=True),
    "aws-web-empty": Met(_web("expired", "\n"), "aws.web_identity_token_file holds no token", missing=True),
    "aws-process-nonsense": Met(
        _profile, "what its step `custom-process` gave makes no sense (JSONDecodeError)", config="credential_process = echo {"
    ),
    "aws-process-fails": Met(_profile, "its step `custom-process` failed", config="credential_process = false"),
    "aws-process-none": Met(
        _profile, "its step `custom-process` cannot be used (FileNotFoundError)", missing=True, config="credential_process = /none"
    ),
    "aws-source-none": Met(
        _profile,
        "its step `assume-role` cannot be used (InvalidConfigError)",
        missing=True,
        config=f"role_arn = {ROLE}x\nsource_profile = q",
    ),
    "aws-half-a-role": Met(
        _profile, "its step `assume-role` cannot be used (PartialCredentialsError)", missing=True, config="role_arn = x"
    ),
    "aws-broken-file": Met(_profile, "its configuration cannot be used (ConfigParseError)", missing=True, config="=\n[profile q"),
    "aws-no-profile": Met(_profile, "its profile is not in the files of AWS", missing=True),
    "aws-nothing-for-a-role": Met(
        lambda home, url: Aws("us-east-1", role_arn=ROLE), "no AWS credentials were found to assume aws.role_arn with", missing=True
    ),
    "aws-sso": Met(
        _profile,
        "the SSO session has ended, or is not there: `aws sso login` begins one",
        config="sso_start_url = https://x\nsso_region = us-east-1\nsso_account_id = 1\nsso_role_name = r",
    ),
    "aws-environment-no-file": Met(
        _chain,
        "its step `assume-role-with-web-identity` cannot be used (FileNotFoundError)",
        missing=True,
        environ={"AWS_WEB_IDENTITY_TOKEN_FILE": "/none", "AWS_ROLE_ARN": f"{ROLE}x"},
    ),
    "aws-container-elsewhere": Met(
        _chain,
        "what its step `container-role` gave makes no sense (ValueError)",
        passing=True,
        environ={"AWS_CONTAINER_CREDENTIALS_FULL_URI": "http://example.com/creds"},
    ),
    **{
        f"aws-instance-{status}": Met(
            _chain,
            "the instance's metadata service failed",
            passing=True,
            environ={"AWS_EC2_METADATA_DISABLED": "false", "AWS_EC2_METADATA_SERVICE_ENDPOINT": f"URL/{status}"},
        )
        for status in BUSY
    },
    "aws-instance-refused": Met(
        _chain,
        "no AWS credentials were found (environment, profile, container, instance)",
        missing=True,
        environ={"AWS_EC2_METADATA_DISABLED": "false", "AWS_EC2_METADATA_SERVICE_ENDPOINT": "URL/refused"},
    ),
    "aws-container-429": Met(
        _chain, "its step `container-role` failed", passing=True, environ={"AWS_CONTAINER_CREDENTIALS_FULL_URI": "URL/429"}
    ),
    **{f"google-{status}": Met(_account(status), "the token service refused", passing=True) for status in BUSY},
    "google-metadata-503": Met(
        lambda home, url: Google(),
        "the metadata server cannot be reached, or failed",
        passing=True,
        environ={"GCE_METADATA_HOST": "HOST", "GCE_METADATA_IP": "HOST"},
    ),
    "google-refused": Met(_account("refused"), "the token service refused"),
    "google-gone": Met(_account("gone"), UNREACHED, passing=True),
    "google-external-no-file": Met(_external, "what its file names cannot be used", missing=True),
    "google-environment-no-file": Met(
        lambda home, url: Google(),
        "GOOGLE_APPLICATION_CREDENTIALS cannot be used",
        missing=True,
        environ={"GOOGLE_APPLICATION_CREDENTIALS": "/none"},
    ),
    "azure-secret-401": Met(_application("client_secret", "401"), "the token service refused"),
    **{f"azure-secret-{status}": Met(_application("client_secret", status), f"{UNREACHED}, or failed", passing=True) for status in BUSY},
    **{
        f"azure-{kind}-identity-{status}": Met(
            _azure(kind),
            f"{UNREACHED}, or failed",
            passing=True,
            environ={"IDENTITY_ENDPOINT": f"URL/{status}/token", "IDENTITY_HEADER": "h"},
        )
        for kind in ("default", "managed_identity")
        for status in BUSY
    },
    "azure-identity-refused": Met(
        _azure("managed_identity"),
        "there is none here, or its service refused",
        missing=True,
        environ={"IDENTITY_ENDPOINT": "URL/refused/token", "IDENTITY_HEADER": "h"},
    ),
    "azure-secret-500": Met(_application("client_secret", "500"), f"{UNREACHED}, or failed", passing=True),
    "azure-secret-page": Met(_application("client_secret", "page"), f"{UNREACHED}, or failed", passing=True),
    "azure-secret-proxy-down": Met(
        _application("client_secret", "401"), f"{UNREACHED}, or failed", passing=True, environ={"HTTPS_PROXY": "http://127.0.0.1:1"}
    ),
    "azure-certificate-401": Met(_application("client_certificate", "401"), "the token service refused"),
    "azure-workload-401": Met(_application("workload_identity", "401"), "the token service refused"),
    "azure-workload-no-file": Met(
        _without_file, "its file cannot be read (FileNotFoundError)", missing=True, environ={"AZURE_FEDERATED_TOKEN_FILE": "/none"}
    ),
    **{
        f"azure-default-{client}": Met(
            _azure("default"),
            "its step `environment` was refused, or failed",
            passing=client in ("429", "500"),
            environ={"AZURE_CLIENT_ID": client, "AZURE_TENANT_ID": "t", "AZURE_CLIENT_SECRET": HIDDEN},
        )
        for client in ("401", "429", "500")
    },
    "azure-default-proxy-down": Met(
        _azure("default"),
        "its step `environment` was refused, or failed",
        passing=True,
        environ={"AZURE_CLIENT_ID": "401", "AZURE_TENANT_ID": "t", "AZURE_CLIENT_SECRET": HIDDEN, "HTTPS_PROXY": "http://127.0.0.1:1"},
    ),
}


@pytest.mark.parametrize("name", MET)
def test_what_a_library_meets(
    name: str, alone: Path, entra: Provider, authority: Authority, monkeypatch: pytest.MonkeyPatch, capfd: Any
) -> None:
    row = MET[name]
    monkeypatch.setattr("google.auth._exponential_backoff.time.sleep", lambda _: None)
    monkeypatch.setattr("botocore.utils.ContainerMetadataFetcher.SLEEP_TIME", 0)
    if row.config:
        (alone / ".aws" / "config").write_text(f"[profile p]\n{row.config}\n")
    with Provider(services) as up:
        around = {"AWS_ENDPOINT_URL_STS": up.url, "HTTPS_PROXY": entra.url, "REQUESTS_CA_BUNDLE": authority.ca_file}
        for variable, value in (around | {"AZURE_FEDERATED_TOKEN_FILE": str(alone / "federated")} | row.environ).items():
            monkeypatch.setenv(variable, value.replace("URL", up.url).replace("HOST", up.url.removeprefix("http://")))
        way = row.way(alone, up.url)
        asked_for = {"module": library.ROWS[type(way)].module, "way": asdict(way), "timeout": 5, "ca_file": None, "ca_only": False}
        found = apart.answer(asked_for)
    with pytest.raises(Fault) as caught:
        library.made(way)(found)
    assert (caught.value.message, caught.value.missing, caught.value.passing) == (row.said, row.missing, row.passing)
    assert HIDDEN not in str(found) + "".join(capfd.readouterr())


# ---- over the gateway ----

COMMAND = "token_command"
AWS_ENTRY = f'region: us-east-1, access_key_id: {KEY_ID}, secret_access_key: {SECRET}, role_arn: "{ROLE}'
AZURE_ENTRY = f"credential: client_secret, tenant_id: t, client_secret: {HIDDEN}, client_id: "


class Row(NamedTuple):
    """entry: keys of model_providers. code: upstream_auth_…. retry: x-should-retry."""

    entry: str
    said: str
    code: str
    retry: bool


def _command(*argv: str) -> str:
    return f"model: up/NAME, apis: [chat_completions], token_command: {json.dumps(argv)}"


def _shell(text: str) -> str:
    return _command("sh", "-c", text)


ROWS = {
    "none": Row(_command("/none"), f"{COMMAND} none: cannot be started: No such file or directory", "missing", False),
    "status": Row(_shell(f"echo {HIDDEN}; echo {HIDDEN} >&2; exit 3"), f"{COMMAND} sh: ended with status 3", "failed", True),
    "signal": Row(_shell("kill -9 0"), f"{COMMAND} sh: was ended by signal 9", "failed", True),
    "nothing": Row(_command("true"), f"{COMMAND} true: printed nothing", "failed", False),
    "json": Row(_command("echo", '{"token": "' + HIDDEN), f"{COMMAND} echo: printed JSON that cannot be read", "failed", False),
    "list": Row(_command("echo", '{"tokens": ["' + HIDDEN + '"]}'), f"{COMMAND} echo: the answer holds no token", "failed", False),
    "ended": Row(
        _command("echo", json.dumps({"token": HIDDEN, "expires_in": -5})),
        f"{COMMAND} echo: the credential that came has ended already",
        "failed",
        False,
    ),
    "much": Row(_command("head", "-c", "70000", "/dev/zero"), f"{COMMAND} head: printed more than 64 kB", "failed", False),
    "sts": Row(
        f'model: bedrock/amazon.nova-NAME, aws: {{{AWS_ENTRY}gone"}}',
        f"aws: assume-role: {UNREACHED} (ConnectionClosedError)",
        "failed",
        True,
    ),
    "web": Row(
        f'model: bedrock/amazon.nova-NAME, aws: {{region: us-east-1, web_identity_token_file: HOME/web, role_arn: "{ROLE}expired"}}',
        "aws: web identity: AssumeRoleWithWebIdentity was refused (ExpiredTokenException)",
        "failed",
        False,
    ),
    "google": Row(
        "model: vertex/google/NAME, gcp: {credentials_file: HOME/service-account.json}",
        "gcp: credentials_file: the token service refused",
        "failed",
        False,
    ),
    "metadata": Row(
        "model: vertex/google/NAME, gcp: {project: p}",
        "gcp: default credentials: no credentials were found (environment, gcloud, metadata server)",
        "missing",
        False,
    ),
    "entra": Row(
        f'model: azure_openai/NAME, azure: {{{AZURE_ENTRY}"401"}}', "azure: client secret: the token service refused", "failed", False
    ),
}


@inside_once
async def test_each_failure_is_a_502_that_names_the_step(
    alone: Path, entra: Provider, authority: Authority, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, capfd: Any
) -> None:
    (alone / "web").write_text(HIDDEN)
    places = {"vertex": "UPSTREAM/v1", "azure_openai": "UPSTREAM/openai/v1", "up": "UPSTREAM/v1", "bedrock": "UPSTREAM"}
    lines = []
    for name, row in ROWS.items():
        keys = row.entry.replace("NAME", name).replace("HOME", str(alone))
        lines.append(f"  - {{name: {name}, base_url: {places[row.entry.partition('/')[0].removeprefix('model: ')]}, {keys}}}")
    egress = f"egress: {{credential_timeout: 40s, proxy: '{entra.url}', ca_file: {authority.ca_file}}}"
    with Provider(services) as up, Provider(answers) as provider:
        service_account(alone, f"{up.url}/refused")
        monkeypatch.setenv("AWS_ENDPOINT_URL_STS", up.url)
        async with Inside("\n".join([egress, "model_providers:", *lines]), provider) as gateway:
            found = dict(zip(ROWS, await asyncio.gather(*(asked(gateway, name) for name in ROWS)), strict=True))
            metrics = gateway.gateway.metrics.text().decode()
            told = str(gateway.lines)
    for name, row in ROWS.items():
        status, headers, body = found[name]
        error = json.loads(body)["error"]
        assert (status, error["code"], error["message"]) == (
            502,
            f"upstream_auth_{row.code}",
            f"The gateway has no credential for {name}: {row.said}.",
        )
        assert (name, headers["x-should-retry"]) == (name, str(row.retry).lower())
        assert f"credential of {name} could not be had after " in caplog.text
        assert f"s: {row.said}" in caplog.text
        assert f'dragoman_credential_refresh_total{{provider="{name}",result="{row.code}"}} 1.0' in metrics
    assert provider.requests == [], "nothing is sent"
    seen = "".join((metrics, told, caplog.text, *capfd.readouterr(), *(body.decode() for _, _, body in found.values())))
    assert HIDDEN not in seen
    assert SECRET not in seen
