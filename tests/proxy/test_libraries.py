"""How the clouds' own libraries reach the services that give credentials: each in its process, over real sockets."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest

from dragoman import conf
from dragoman.conf.model import Aws, Certificates, Egress, Entra, Exemption, Google, Proxies, Proxy
from dragoman.proxy.credentials import apart, library, sources
from dragoman.proxy.credentials.credential import Fault
from dragoman.proxy.credentials.library import Library

from ..gateway.aws_services import ROLE, AwsServices
from ..gateway.clouds import Tokens, service_account
from ..proxies import HOST, Authority, tunnel
from ..scripted import Provider, respond


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("tls"), "private")


CLOUDS: dict[str, Any] = {
    "aws": lambda folder: Aws("us-east-1", access_key_id="a", secret_access_key="s", role_arn=ROLE),
    "gcp": lambda folder: Google(str(service_account(folder, f"https://{HOST}"))),
    "azure": lambda folder: Entra("managed_identity", "https://scope.test/.default"),
}


@pytest.mark.parametrize(("cloud", "alone"), [("aws", False), ("gcp", True), ("azure", False)])
def test_a_library_goes_by_the_proxy_and_trusts_the_authority(
    cloud: str, alone: bool, authority: Authority, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The services have a name that only the proxy knows, and a certificate of a private authority."""
    for name, value in SERVICES.items():
        monkeypatch.setenv(name, value)
    doubles: dict[str, Any] = {"aws": AwsServices, "gcp": Tokens, "azure": Tokens}
    egress = Egress(20, exempt=(Exemption("elsewhere.test", None, None),), certificates=Certificates(authority.ca_file, alone))
    with Provider(doubles[cloud]()._script, tls=authority.server) as services, Provider(tunnel(services.port, "me:p@ss")) as proxy:
        way = Proxy("127.0.0.1", proxy.port, "me:p@ss")
        found = Library(CLOUDS[cloud](tmp_path), replace(egress, proxies=Proxies(way, None))).get()
    assert found.token.startswith(("tok-", "session-token-"))
    assert {(request.method, request.target) for request in proxy.requests} == {("CONNECT", f"{HOST}:443")}


SERVICES = {
    "AWS_ENDPOINT_URL_STS": f"https://{HOST}",
    "IDENTITY_ENDPOINT": f"https://{HOST}/msi/token",
    "IDENTITY_HEADER": "identity-header-secret",
    "HTTPS_PROXY": "http://127.0.0.1:1",  # which the configuration replaces
}


# ---- services that answer nonsense ----

KEY = {"AccessKeyId": "ASIA1", "SecretAccessKey": "s", "Token": "t", "Expiration": "2199-01-01T00:00:00Z"}
TOKEN = {"access_token": "tok", "token_type": "Bearer", "expires_in": 60, "expires_on": "7226582400"}
NONSENSE = "what its service answered makes no sense"
OF_STEP = "what its step `container-role` gave makes no sense"
NO_KEY = "the answer holds no key, or one with an id that is none"

ANSWERS: list[tuple[str, Any, str]] = [
    ("container", b"null", OF_STEP),
    ("container", KEY | {"Expiration": "2001-01-01T00:00:00Z"}, OF_STEP),
    ("container", {"AccessKeyId": "ASIA1"}, OF_STEP),
    ("container", KEY | {"Expiration": "soon"}, OF_STEP),
    ("container", KEY | {"AccessKeyId": None}, NO_KEY),
    ("container", KEY | {"AccessKeyId": 5}, NO_KEY),
    ("container", KEY | {"AccessKeyId": ""}, NO_KEY),
    ("container", KEY | {"AccessKeyId": "A/b, Signature=0"}, NO_KEY),
    ("container", KEY | {"SecretAccessKey": ""}, "the answer holds no secret"),
    ("container", KEY | {"Token": "a\nb"}, "the keys are not of printable ASCII"),
    ("AssumeRole", b"", NONSENSE),
    ("AssumeRole", b"<AssumeRoleResponse><AssumeRoleResult/></AssumeRoleResponse>", NONSENSE),
    ("google", b"", NONSENSE),
    ("google", b"[]", NONSENSE),
    ("google", b"[" * 5000, NONSENSE),
    ("google", TOKEN | {"expires_in": "soon"}, NONSENSE),
    ("google", {"expires_in": 60}, "the token service refused"),
    ("google", TOKEN | {"access_token": None}, "the answer holds no token"),
    ("google", TOKEN | {"access_token": "a\nb"}, "the token is not one of printable ASCII, or too long"),
    ("azure", b"null", NONSENSE),
    ("azure", TOKEN | {"expires_on": "soon"}, NONSENSE),
    ("azure", TOKEN | {"access_token": 7}, "the answer holds no token"),
]


@pytest.mark.filterwarnings("ignore:The load_credentials_from_dict method:DeprecationWarning")
@pytest.mark.parametrize(("service", "body", "told"), ANSWERS)
def test_an_answer_that_makes_no_sense(service: str, body: Any, told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Asked for in this process, as it is in its own."""
    with Provider([respond(body)]) as up:
        monkeypatch.setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", f"{up.url}/creds")
        monkeypatch.setenv("AWS_ENDPOINT_URL_STS", up.url)
        monkeypatch.setenv("IDENTITY_ENDPOINT", f"{up.url}/msi/token")
        monkeypatch.setenv("IDENTITY_HEADER", "identity-header-secret")
        ways: dict[str, Any] = {
            "container": lambda: Aws("us-east-1"),
            "google": lambda: Google(str(service_account(tmp_path, up))),
        }
        way = ways.get(service, lambda: CLOUDS["aws" if service == "AssumeRole" else "azure"](tmp_path))()
        asked = {"module": library.ROWS[type(way)].module, "way": asdict(way), "timeout": 5, "ca_file": None, "ca_only": False}
        found = apart.answer(asked)
    with pytest.raises(Fault) as caught:
        library.made(way)(found)
    assert caught.value.message.partition(" (")[0] == told
    assert (caught.value.passing, caught.value.missing) == (told in (NONSENSE, OF_STEP), False)


def test_what_has_ended_is_not_good() -> None:
    """`check --credentials` asks no Source."""
    ended = "2001-01-01T00:00:00Z"
    program = json.dumps(["echo", json.dumps({"token": "t", "expiry": ended})])
    config = conf.loads(f"model_providers: [{{model: m/*, base_url: 'https://h/v1', token_command: {program}}}]", environ={})
    assert list(sources.tried(config)) == [("m/*", "token_command echo: what came has ended already", False)]


def test_an_authority_that_is_not_there(tmp_path: Path) -> None:
    egress = Egress(20, certificates=Certificates(str(tmp_path / "none.pem")))
    with pytest.raises(Fault) as caught:
        Library(Google("f"), egress).get()
    assert (caught.value.message, caught.value.missing) == ("ca_file: No such file or directory", True)


DIRECT = ",".join(library.HERE)


@pytest.mark.parametrize(
    ("section", "row", "environ", "told"),
    [
        ("{}", "", {}, {"no_proxy": DIRECT}),
        ("{}", "", {"HTTPS_PROXY": "http://p:1"}, {"https_proxy": "http://p:1", "no_proxy": DIRECT}),
        ("{proxy: none}", "", {"HTTPS_PROXY": "http://p:1"}, {"no_proxy": DIRECT}),
        ("{}", "proxy: none", {"ALL_PROXY": "http://p:1"}, {"no_proxy": DIRECT}),
        (
            "{proxy: 'http://q:2', no_proxy: [.corp, 10.0.0.0/8, 'h:8443', '[2001:db8::1]:8443']}",
            "proxy: 'http://u%40x:p%3A%2F@[2001:db8::2]:3128'",
            {"NO_PROXY": "a.test, 10.1.2.3"},
            {
                "https_proxy": "http://u%40x:p%3A%2F@[2001:db8::2]:3128",
                "http_proxy": "http://u%40x:p%3A%2F@[2001:db8::2]:3128",
                "no_proxy": f"{DIRECT},corp,10.0.0.0/8,h:8443,[2001:db8::1]:8443,a.test,10.1.2.3",
            },
        ),
        ("{no_proxy: ['*']}", "", {"HTTP_PROXY": "http://p:1"}, {"http_proxy": "http://p:1", "no_proxy": f"{DIRECT},*"}),
    ],
)
def test_the_proxies_of_a_library(
    section: str, row: str, environ: dict[str, str], told: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://stale:1")
    monkeypatch.setenv("all_proxy", "http://stale:1")
    text = f"model_providers: [{{model: vertex/google/g, gcp: {{project: p}}, {row}}}]\negress: {section}"
    (entry,) = conf.loads(text, environ=environ).model_providers
    found = {name: value for name, value in library.surroundings(entry.egress).items() if name.lower().endswith("_proxy")}
    assert found == told | {name.upper(): value for name, value in told.items()}


def test_a_program_of_the_operators_keeps_its_environment() -> None:
    text = (
        "model_providers: [{model: m/*, base_url: 'https://h/v1', token_command: t}]\negress: {proxy: 'http://q:2', credential_timeout: 3s}"
    )
    assert conf.loads(text, environ={}).model_providers[0].egress == Egress(3)


def test_a_service_s_answer_without_an_end_does_not_take_the_memory() -> None:
    """botocore reads a metadata service's answer to its end, however long it is."""
    program = (
        "from dragoman.proxy.credentials import apart\n"
        "apart.child.MEMORY, apart.answer = 100 << 20, lambda asked: len(bytes(asked))\n"
        "apart.main()"
    )
    for size, printed in ((1 << 20, str(1 << 20)), (200 << 20, "")):
        run = subprocess.run([sys.executable, "-c", program], input=str(size), capture_output=True, text=True, check=False)
        assert (run.stdout, "MemoryError" in run.stderr) == (printed, not printed)
