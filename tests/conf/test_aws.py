"""The section `aws` of an entry: addresses, credentials, models, and what is refused, with its path."""

from __future__ import annotations

from pathlib import Path

import pytest

from dragoman import conf
from dragoman.conf import aws
from dragoman.conf.model import Aws

from .entries import entry, problems

CLAUDE = "model: bedrock/us.anthropic.claude-sonnet-5"
NO_REGION = (
    "aws.region: is missing: neither the model's ARN, AWS_REGION nor AWS_DEFAULT_REGION nor the profile says a region (such as us-east-1)"
)
REGION = {"AWS_REGION": "eu-central-1"}


@pytest.mark.parametrize(
    ("name", "known"),
    [
        ("us.anthropic.claude-sonnet-4-5-20250929-v1:0", "anthropic/claude-sonnet-4-5-20250929"),
        ("anthropic.claude-opus-5-5", "anthropic/claude-opus-5-5"),
        ("us-gov.anthropic.claude-3-haiku-20240307-v1:0", "anthropic/claude-3-haiku-20240307"),
        ("amazon.nova-2-lite-v1:0:256k", "amazon/nova-2-lite"),
        ("global.amazon.nova-pro-v1:0", "amazon/nova-pro"),
        ("openai.gpt-oss-120b-1:0", "openai/gpt-oss-120b-1:0"),
        ("openai.gpt-5.6-luna", "openai/gpt-5.6-luna"),
        ("gpt-5.5", "gpt-5.5"),
        ("claude-opus-5-5", "claude-opus-5-5"),
        (
            "arn:aws:bedrock:us-east-1:123456789012:inference-profile/us.meta.llama4-maverick-17b-instruct-v1:0",
            "meta/llama4-maverick-17b-instruct",
        ),
        ("arn:aws-us-gov:bedrock:us-gov-west-1::foundation-model/amazon.nova-lite-v1:0", "amazon/nova-lite"),
    ],
)
def test_the_name_of_a_model_in_tables(name: str, known: str) -> None:
    assert aws.known_model(name) == known
    assert not aws.opaque(name)


@pytest.mark.parametrize("kind", ["application-inference-profile", "provisioned-model", "imported-model", "custom-model", "prompt-router"])
def test_arns_that_say_nothing(kind: str) -> None:
    name = f"arn:aws:bedrock:us-east-1:123456789012:{kind}/abc"
    assert aws.known_model(name) == name
    assert aws.opaque(name)


@pytest.mark.parametrize(
    ("text", "base_url"),
    [
        (f"{CLAUDE}, aws: {{region: us-east-1}}", "https://bedrock-runtime.us-east-1.amazonaws.com"),
        (f"{CLAUDE}, aws: {{region: us-east-1, endpoint: runtime-fips}}", "https://bedrock-runtime-fips.us-east-1.amazonaws.com"),
        (f"{CLAUDE}, aws: {{region: cn-north-1}}", "https://bedrock-runtime.cn-north-1.amazonaws.com.cn"),
        (f"{CLAUDE}, aws: {{region: us-isob-east-1}}", "https://bedrock-runtime.us-isob-east-1.sc2s.sgov.gov"),
        (f"{CLAUDE}, aws: {{region: us-gov-west-1}}", "https://bedrock-runtime.us-gov-west-1.amazonaws.com"),
        (CLAUDE, "https://bedrock-runtime.eu-central-1.amazonaws.com"),
        (
            "model: 'bedrock/arn:aws:bedrock:ap-south-1:1:application-inference-profile/x', base_model: anthropic.claude-opus-5",
            "https://bedrock-runtime.ap-south-1.amazonaws.com",
        ),
        (
            f"{CLAUDE}, base_url: 'https://vpce-1.bedrock-runtime.us-east-1.vpce.amazonaws.com'",
            "https://vpce-1.bedrock-runtime.us-east-1.vpce.amazonaws.com",
        ),
        ("model: bedrock/openai.gpt-5.5", "https://bedrock-mantle.eu-central-1.api.aws"),
        ("model: bedrock/us.openai.gpt-5.4-cyber", "https://bedrock-mantle.eu-central-1.api.aws"),
        ("model: bedrock/openai.gpt-5.6-luna", "https://bedrock-runtime.eu-central-1.amazonaws.com"),
        ("model: bedrock/openai.gpt-oss-120b-1:0", "https://bedrock-runtime.eu-central-1.amazonaws.com"),
        ("model: bedrock_mantle/openai.gpt-5.5", "https://bedrock-mantle.eu-central-1.api.aws"),
        ("model: claude_aws/*, aws: {workspace_id: w}", "https://aws-external-anthropic.eu-central-1.api.aws/v1"),
    ],
)
def test_addresses(text: str, base_url: str) -> None:
    assert entry(text, **REGION).base_url == base_url


@pytest.mark.parametrize(
    ("text", "way", "signing"),
    [
        (CLAUDE, Aws("eu-central-1"), "bedrock"),
        (f"{CLAUDE}, aws: {{profile: p}}", Aws("eu-central-1", profile="p"), "bedrock"),
        (
            f"{CLAUDE}, aws: {{access_key_id: a, secret_access_key: $S, session_token: t}}",
            Aws("eu-central-1", access_key_id="a", secret_access_key="s", session_token="t"),
            "bedrock",
        ),
        (
            f"{CLAUDE}, aws: {{role_arn: r, external_id: e, session_name: n, duration: 15m}}",
            Aws("eu-central-1", role_arn="r", external_id="e", session_name="n", duration=900),
            "bedrock",
        ),
        (
            f"{CLAUDE}, aws: {{role_arn: r, web_identity_token_file: /f}}",
            Aws("eu-central-1", role_arn="r", web_identity_token_file="/f"),
            "bedrock",
        ),
        ("model: bedrock_mantle/openai.gpt-5.5", Aws("eu-central-1"), "bedrock-mantle"),
        ("model: claude_aws/*, aws: {workspace_id: w}", Aws("eu-central-1"), "aws-external-anthropic"),
        (f"{CLAUDE}, aws: {{service: other}}", Aws("eu-central-1"), "other"),
        (f"{CLAUDE}, access_key: k", None, "bedrock"),
        (f"{CLAUDE}, passthrough_auth: true", None, "bedrock"),
        ("model: bedrock/m, base_url: 'https://h/openai/v1', access_key: k", None, "bedrock"),
        ("model: my/m, base_url: 'https://h/v1', aws: {service: bedrock}", Aws("eu-central-1"), "bedrock"),
    ],
)
def test_how_a_credential_is_got(text: str, way: Aws | None, signing: str) -> None:
    found = entry(text, S="s", **REGION)
    assert found.way == way
    assert found.signing == ("eu-central-1", signing)


@pytest.mark.parametrize(
    ("model", "variable"),
    [
        ("bedrock/m", "AWS_BEARER_TOKEN_BEDROCK"),
        ("bedrock_mantle/m", "AWS_BEARER_TOKEN_BEDROCK"),
        ("claude_aws/m", "ANTHROPIC_AWS_API_KEY"),
    ],
)
def test_a_key_of_the_environment_comes_before_the_chain(model: str, variable: str) -> None:
    around = REGION | {variable: "key", "ANTHROPIC_AWS_WORKSPACE_ID": "w"}
    found = entry(f"model: {model}", **around)
    assert (found.access_key, found.way) == ("key", None)
    named = entry(f"model: {model}, aws: {{profile: p}}", **around)
    assert (named.access_key, named.way) == (None, Aws("eu-central-1", profile="p"))


def test_c40_secrets_are_not_shown() -> None:
    found = entry(f"{CLAUDE}, aws: {{access_key_id: id, secret_access_key: hidden-1, session_token: hidden-2}}", **REGION)
    assert "hidden" not in repr(found)


def test_the_region_of_a_profile(tmp_path: Path) -> None:
    file = tmp_path / "config"
    file.write_text("[default]\nregion = us-west-2\n[profile other]\nregion=ap-south-1\n[profile odd]\nregion = evil.com/\n")
    around = {"AWS_CONFIG_FILE": str(file)}
    assert entry(CLAUDE, **around).signing[0] == "us-west-2"
    assert entry(f"{CLAUDE}, aws: {{profile: other}}", **around).signing[0] == "ap-south-1"
    assert entry(CLAUDE, **around, AWS_PROFILE="other").signing[0] == "ap-south-1"
    assert entry(CLAUDE, **around, AWS_PROFILE="other", AWS_DEFAULT_REGION="eu-west-1").signing[0] == "eu-west-1"
    assert problems(f"{CLAUDE}, aws: {{profile: odd}}", **around)[0].startswith("aws.region: is missing")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (CLAUDE, [NO_REGION]),
        (f"{CLAUDE}, aws: {{region: us-east-1.evil.com}}", ["aws.region: must be a region such as us-east-1"]),
        (f"{CLAUDE}, aws: {{region: us-east-1, access_key_id: a}}", ["aws.secret_access_key: is missing: access_key_id needs it"]),
        (
            f"{CLAUDE}, access_key: k, aws: {{region: us-east-1, access_key_id: a, secret_access_key: s}}",
            ["aws.access_key_id: access_key is another way to authenticate: an entry has one"],
        ),
        (
            f"{CLAUDE}, token_command: t, aws: {{region: us-east-1, profile: p}}",
            ["aws.profile: token_command is another way to authenticate: an entry has one"],
        ),
        (f"{CLAUDE}, aws: {{region: us-east-1, external_id: e}}", ["aws.role_arn: is missing: external_id needs it"]),
        (f"{CLAUDE}, aws: {{region: us-east-1}}, headers: {{X-Amz-Date: d}}", ["headers.X-Amz-Date: is a header of the signature"]),
        (
            f"{CLAUDE}, aws: {{region: us-east-1, request_metadata: {dict.fromkeys(map(str, range(17)), 'v')}}}",
            ["aws.request_metadata: must have at most 16 names"],
        ),
        (f"{CLAUDE}, aws: {{region: us-east-1, endpoint: mantle}}", ["aws.endpoint: must be one of runtime, runtime-fips"]),
        (
            "model: claude_aws/*, aws: {region: us-east-1}",
            ["aws.workspace_id: is missing, and the environment has no ANTHROPIC_AWS_WORKSPACE_ID"],
        ),
        ("model: 'bedrock/..', aws: {region: us-east-1}", ["model: names no model"]),
        ("model: 'bedrock/;x', aws: {region: us-east-1}", ["model: names no model"]),
        (f"model: 'bedrock/{'x' * 2049}', aws: {{region: us-east-1}}", ["model: is longer than 2048 characters"]),
    ],
)
def test_c01_c02_c30_what_is_refused(text: str, told: list[str]) -> None:
    assert problems(text) == told


def test_an_opaque_name_without_its_model_is_a_warning() -> None:
    text = "model_providers: [{model: 'bedrock/arn:aws:bedrock:us-east-1:1:application-inference-profile/x'}]"
    (warning,) = conf.loads(text, environ={}).warnings
    assert "base_model" in warning


@pytest.mark.parametrize(
    ("model", "region", "warned"),
    [
        ("us.anthropic.claude-opus-5", "us-west-2", False),
        ("us.anthropic.claude-opus-5", "eu-west-1", True),
        ("eu.amazon.nova-pro-v1:0", "us-east-1", True),
        ("jp.anthropic.claude-opus-5", "ap-northeast-1", False),
        ("us-gov.anthropic.claude-3-haiku-20240307-v1:0", "us-gov-west-1", False),
        ("global.anthropic.claude-opus-5", "eu-west-1", False),
        ("anthropic.claude-opus-5", "eu-west-1", False),
    ],
)
def test_a_profile_of_another_geography_is_a_warning(model: str, region: str, warned: bool) -> None:
    found = conf.loads(f"model_providers: [{{model: 'bedrock/{model}', aws: {{region: {region}}}}}]", environ={}).warnings
    assert len(found) == warned
