"""Credentials that end, in a configuration: which way an entry has, what address it gets, and what is refused, with its path."""

from __future__ import annotations

from pathlib import Path

import pytest

from dragoman import conf
from dragoman.conf import clouds
from dragoman.conf.model import Entra, Google, TokenCommand
from dragoman.conf.providers import capabilities, known

from .entries import entry, problems

AZURE = "https://cognitiveservices.azure.com/.default"
HERE = "model: my/m, base_url: 'https://h'"
AT_AZURE = "model: azure_openai/m, base_url: 'https://acme.openai.azure.com'"
GEMINI = "model: vertex/google/gemini-3.1-pro"


@pytest.mark.parametrize(
    ("text", "way"),
    [
        (f"{HERE}, token_command: get-token", TokenCommand(("get-token",))),
        (f"{HERE}, token_command: 'get-token --for \"a b\" $X'", TokenCommand(("get-token", "--for", "a b", "x; y"))),
        (f"{HERE}, token_command: [get-token, 'a b', '${{X}}', '']", TokenCommand(("get-token", "a b", "x; y", ""))),
        (f"{HERE}, gcp: {{}}", Google()),
        (f"{HERE}, gcp: {{credentials_file: $F, impersonate: sa@p}}", Google("/f", "sa@p")),
        (f"{GEMINI}, gcp: {{project: p}}", Google()),
        (f"{GEMINI}, gcp: {{project: p}}, access_key: k", None),
        (f"{GEMINI}, gcp: {{project: p}}, token_command: t", TokenCommand(("t",))),
        (f"{GEMINI}, gcp: {{project: p}}, passthrough_auth: true", None),
        (f"{AT_AZURE}, access_key: k", None),
        (f"{AT_AZURE}, access_key: k, azure: {{}}", None),
        (f"{AT_AZURE}, access_key: k, azure: {{credential: key}}", None),
        (f"{AT_AZURE}, azure: {{}}", Entra("default", AZURE)),
        (f"{AT_AZURE}, azure: {{client_id: c}}", Entra("managed_identity", AZURE, client_id="c")),
        (f"{AT_AZURE}, azure: {{credential: default, client_id: c}}", Entra("default", AZURE, client_id="c")),
        (f"{AT_AZURE}, azure: {{credential: cli, scope: api://x/.default}}", Entra("cli", "api://x/.default")),
        (
            f"{AT_AZURE}, azure: {{tenant_id: t, client_id: c, client_secret: $X}}",
            Entra("client_secret", AZURE, "t", "c", "x; y"),
        ),
        (
            f"{AT_AZURE}, azure: {{tenant_id: t, client_id: c, certificate: $F, authority: login.microsoftonline.us}}",
            Entra("client_certificate", AZURE, "t", "c", certificate="/f", authority="login.microsoftonline.us"),
        ),
        (
            "model: azure_openai/m, base_url: 'https://acme.services.ai.azure.com', azure: {credential: workload_identity}",
            Entra("workload_identity", "https://ai.azure.com/.default"),
        ),
        ("model: openai/m", None),
    ],
)
def test_the_way_of_an_entry(text: str, way: object) -> None:
    assert entry(text, X="x; y", F="/f").way == way


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (f"{HERE}, token_command: t, access_key: k", ["token_command: access_key is another way to authenticate: an entry has one"]),
        (f"{HERE}, token_command: t, passthrough_auth: true", ["token_command: passthrough_auth is another way"]),
        (f"{HERE}, token_command: t, gcp: {{impersonate: x}}", ["gcp.impersonate: token_command is another way"]),
        (f"{HERE}, access_key: k, gcp: {{credentials_file: x}}", ["gcp.credentials_file: access_key is another way"]),
        (f"{HERE}, gcp: {{}}, azure: {{}}", ["azure: gcp is another way"]),
        (f"{AT_AZURE}, access_key: k, azure: {{credential: cli}}", ["azure.credential: access_key is another way"]),
        (f"{AT_AZURE}, access_key: k, azure: {{client_secret: x}}", ["azure.client_secret: access_key is another way"]),
        (f"{AT_AZURE}, token_command: t, azure: {{}}", ["azure: token_command is another way"]),
        (f"{AT_AZURE}, azure: {{credential: key}}", ["azure.credential: key needs access_key"]),
        (f"{AT_AZURE}, access_key: k, azure: {{credential: key, client_secret: x}}", ["azure.client_secret: is not used by key"]),
        (f"{AT_AZURE}, azure: {{client_secret: x}}", ["azure.tenant_id: is missing: client_secret", "azure.client_id: is missing"]),
        (f"{AT_AZURE}, azure: {{credential: managed_identity, tenant_id: t}}", ["azure.tenant_id: is not used by managed_identity"]),
        (f"{AT_AZURE}, azure: {{credential: magic}}", ["azure.credential: must be one of key, default"]),
        (
            f"{AT_AZURE}, azure: {{client_secret: $NOPE, client_id: c, tenant_id: t}}",
            ["azure.client_secret: the environment variable"],
        ),
        (f"{AT_AZURE}, azure: {{deploymant: x}}", ["azure.deploymant: unknown key"]),
        (f"{HERE}, token_command: 'a \"b'", ["token_command: has a quote that is not closed"]),
        (f"{HERE}, token_command: []", ["token_command: must be a program"]),
        (f"{HERE}, token_command: [a, 1]", ["token_command: must be a program"]),
        (f"{HERE}, token_command: {{a: b}}", ["token_command: must be a program"]),
        (f"{HERE}, token_command: [a, $NOPE]", ["token_command: the environment variable NOPE is not set"]),
        (
            "model: my/m, base_url: 'http://h', token_command: t --secret",
            ["base_url: must begin with https://: token_command t gives"],
        ),
        ("model: my/m, base_url: 'http://h', gcp: {}", ["base_url: must begin with https://: gcp: default credentials"]),
        (f"{GEMINI}, access_key: k", ["gcp.project: is missing, the environment has none of GOOGLE_CLOUD_PROJECT"]),
        (f"{GEMINI}, token_command: t", ["gcp.project: is missing, the environment has none of GOOGLE_CLOUD_PROJECT"]),
        (f"{GEMINI}, gcp: {{project: 'p/../q'}}", ["gcp.project: must be letters, digits"]),
        (f"{GEMINI}, gcp: {{project: p, location: us-east5.evil.com/}}", ["gcp.location: must be small letters, digits"]),
        (f"{GEMINI}, gcp: {{project: p, location: us.}}", ["gcp.location: must be small letters, digits"]),
        ("model: vertex/llama-4-maverick, gcp: {project: p}", ["model: must be vertex/PUBLISHER/MODEL"]),
    ],
)
def test_what_is_refused(text: str, found: list[str]) -> None:
    told = problems(text)
    assert len(told) == len(found)
    assert [one[: len(begin)] for one, begin in zip(told, found, strict=True)] == found


def test_a_deployment_of_the_environment() -> None:
    found = entry(f"{AT_AZURE}, access_key: k, azure: {{deployment: $DEPLOYMENT}}", DEPLOYMENT="prod")
    assert found.deployment == "prod"
    (problem,) = problems(f"{AT_AZURE}, access_key: k, azure: {{deployment: $DEPLOYMENT}}")
    assert problem.endswith("azure.deployment: the environment variable DEPLOYMENT is not set")


@pytest.mark.parametrize("project", ["p/q", "..", "p?x", "p#x", "p%2F", "p q", 'p"', "{gcp.host}"])
def test_a_project_of_the_environment_that_is_none(project: str) -> None:
    (told,) = problems(GEMINI, GOOGLE_CLOUD_PROJECT=project)
    assert told.startswith("gcp: what the environment says in GOOGLE_CLOUD_PROJECT, ")


@pytest.mark.parametrize("location", ["US", "a.b", "a/b"])
def test_a_location_of_the_environment_that_is_none(location: str) -> None:
    (told,) = problems(f"{GEMINI}, gcp: {{project: p}}", GOOGLE_CLOUD_LOCATION=location)
    assert told.startswith("gcp: what the environment says in GOOGLE_CLOUD_PROJECT, ")


@pytest.mark.parametrize(
    ("text", "project"),
    [
        ('{"type": "service_account", "project_id": "of-file"}', "of-file"),
        ('{"project_id": "a/b"}', None),
        ('{"project_id": 1}', None),
        ("[]", None),
        ("{", None),
        (None, None),
    ],
)
def test_the_project_of_a_file_of_credentials(text: str | None, project: str | None, tmp_path: Path) -> None:
    file = tmp_path / "sa.json"
    if text is not None:
        file.write_text(text)
    for section, environ in ((f"{{credentials_file: '{file}'}}", {}), ("{}", {"GOOGLE_APPLICATION_CREDENTIALS": str(file)})):
        if project is None:
            assert f"/projects/{clouds.PROJECT}/" in entry(f"{GEMINI}, gcp: {section}", **environ).base_url, "the credentials may say it"
            continue
        assert f"/projects/{project}/" in entry(f"{GEMINI}, gcp: {section}", **environ).base_url
        assert "/projects/g/" in entry(f"{GEMINI}, gcp: {section}", **environ, GOOGLE_CLOUD_PROJECT="g").base_url


@pytest.mark.parametrize("named", ["", ", access_key: $AWS_BEARER_TOKEN_BEDROCK"])
@pytest.mark.parametrize(("host", "refused"), [("vpc.internal", True), ("127.0.0.1", False)])
def test_the_token_of_the_environment_is_not_sent_in_the_open(host: str, refused: bool, named: str) -> None:
    text = f"model: bedrock/amazon.nova-pro-v1:0, base_url: 'http://{host}', aws: {{region: us-east-1}}{named}"
    told = problems(text, AWS_BEARER_TOKEN_BEDROCK="t") if refused else [entry(text, AWS_BEARER_TOKEN_BEDROCK="t").access_key]
    wanted = "base_url: must begin with https://: anyone on the way could read the token of AWS_BEARER_TOKEN_BEDROCK"
    assert told == [wanted if refused else "t"]


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "[::1]"])
def test_a_token_may_be_sent_to_this_machine(host: str) -> None:
    assert entry(f"model: my/m, base_url: 'http://{host}:1', token_command: t").way is not None


@pytest.mark.parametrize(
    ("gcp", "environ", "url"),
    [
        ("{project: p}", {}, "https://aiplatform.googleapis.com/v1/projects/p/locations/global/endpoints/openapi"),
        ("{project: p, location: eu}", {}, "https://aiplatform.eu.rep.googleapis.com/v1/projects/p/locations/eu/endpoints/openapi"),
        ("{project: p, location: us}", {}, "https://aiplatform.us.rep.googleapis.com/v1/projects/p/locations/us/endpoints/openapi"),
        (
            "{project: 'x.com:p', location: us-east5, endpoint: '123'}",
            {},
            "https://us-east5-aiplatform.googleapis.com/v1/projects/x.com:p/locations/us-east5/endpoints/123",
        ),
        (
            "{}",
            {"ANTHROPIC_VERTEX_PROJECT_ID": "a", "CLOUD_ML_REGION": "europe-west4"},
            "https://europe-west4-aiplatform.googleapis.com/v1/projects/a/locations/europe-west4/endpoints/openapi",
        ),
        (
            "{}",
            {"GOOGLE_CLOUD_PROJECT": "g", "ANTHROPIC_VERTEX_PROJECT_ID": "a", "GOOGLE_CLOUD_LOCATION": "eu", "CLOUD_ML_REGION": "x"},
            "https://aiplatform.eu.rep.googleapis.com/v1/projects/g/locations/eu/endpoints/openapi",
        ),
    ],
)
def test_the_address_of_vertex(gcp: str, environ: dict[str, str], url: str) -> None:
    found = entry(f"{GEMINI}, gcp: {gcp}", **environ)
    assert (found.base_url, found.warnings if hasattr(found, "warnings") else ()) == (url, ())


CLAUDE_ON_GCP = "https://claude.googleapis.com/v1/projects/p/locations/global/workspaces/w/invoke/v1"


@pytest.mark.parametrize(
    ("gcp", "environ", "url"),
    [
        ("{project: p, workspace_id: w}", {"GOOGLE_CLOUD_LOCATION": "eu"}, CLAUDE_ON_GCP),
        ("{}", {"ANTHROPIC_GOOGLE_CLOUD_PROJECT": "p", "ANTHROPIC_GOOGLE_CLOUD_WORKSPACE_ID": "w"}, CLAUDE_ON_GCP),
        ("{project: p, workspace_id: w, location: eu}", {}, CLAUDE_ON_GCP.replace("global", "eu")),
    ],
)
def test_the_address_of_claude_on_google_cloud(gcp: str, environ: dict[str, str], url: str) -> None:
    found = entry(f"model: claude_gcp/claude-haiku-5-5, gcp: {gcp}", **environ)
    assert (found.base_url, found.apis, found.way) == (url, ("messages",), Google())


def test_claude_on_google_cloud_needs_a_workspace() -> None:
    with pytest.raises(conf.ConfigError, match=r"gcp.workspace_id: is missing, and the environment has no ANTHROPIC_GOOGLE_CLOUD"):
        entry("model: claude_gcp/*, gcp: {project: p}")


def test_the_rules_of_gemini_hold_behind_vertex() -> None:
    """And those of the model alone: other publishers have none of them."""
    at = entry(f"{GEMINI}, gcp: {{project: p}}")
    behind = capabilities("vertex", at.base_url, "google/gemini-3.1-pro", {})
    before = capabilities("gemini", known()["gemini"].base_url, "gemini-3.1-pro", {})
    assert {name: value for name, value in before.items() if behind.get(name) != value} == {}
    assert "c.extra_content" not in capabilities("vertex", at.base_url, "meta/llama-4-maas", {})


def test_an_entry_without_a_key_is_not_warned_of_one() -> None:
    azure, google = f"{AT_AZURE}, base_model: gpt-5.5, azure: {{}}", f"{GEMINI}, gcp: {{project: p}}"
    config = conf.loads(f"model_providers: [{{{azure}}}, {{{google}}}]", environ={})
    assert config.warnings == ()


def test_the_time_for_a_credential() -> None:
    text = "model_providers: [{model: openai/m}]\negress: {credential_timeout: 3s}"
    assert conf.loads(text, environ={}).egress.credential_timeout == 3
    assert "secret" not in repr(entry(f"{HERE}, token_command: [t, secret]"))
