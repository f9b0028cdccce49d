"""Configurations of the LiteLLM proxy: what becomes of each, what is named, and that the result is one that `check` accepts."""

from __future__ import annotations

import copy
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from dragoman import conf
from dragoman.conf import litellm

SIMPLE = """
model_list:
  - model_name: gpt-4o
    litellm_params:
      model: openai/gpt-4o
      api_key: os.environ/OPENAI_API_KEY
  - model_name: claude
    litellm_params: {model: anthropic/claude-sonnet-4-5, api_key: os.environ/ANTHROPIC_API_KEY}
litellm_settings: {drop_params: true, set_verbose: false}
general_settings: {master_key: os.environ/LITELLM_MASTER_KEY}
"""
BALANCED = """
model_list:
  - model_name: gpt-4o
    litellm_params:
      model: azure/eu-deployment
      api_base: https://eu.openai.azure.com/openai/deployments/eu-deployment
      api_key: os.environ/AZURE_EU
      api_version: "2024-10-21"
      weight: 3
      rpm: 600
    model_info: {id: eu, base_model: azure/gpt-4o}
  - model_name: gpt-4o
    litellm_params: {model: gpt-4o, api_key: "sk-literal$1", organization: org-1, timeout: 30, stream_timeout: 8, max_retries: 2, weight: 1}
  - model_name: small
    litellm_params:
      model: openai/qwen3
      api_base: http://vllm.internal:8000/v1
      input_cost_per_token: 0.0000002
      output_cost_per_token: 0.0000006
    model_info: {cache_read_input_token_cost: 0.00000002}
router_settings:
  routing_strategy: simple-shuffle
  model_group_alias: {gpt-4: gpt-4o, hidden: {model: small, hidden: true}, ghost: nowhere}
  num_retries: 1
  redis_host: os.environ/REDIS_HOST
  redis_password: os.environ/REDIS_PASSWORD
  redis_port: 6380
  allowed_fails: 3
litellm_settings:
  request_timeout: 120
  fallbacks: [{gpt-4o: [small, missing]}]
  context_window_fallbacks: [{small: [gpt-4o]}]
  content_policy_fallbacks: [{gpt-4o: [small]}]
  callbacks: [prometheus, langfuse]
"""
WILDCARDS = """
model_list:
  - {model_name: "*", litellm_params: {model: openai/*, api_key: os.environ/OPENAI_API_KEY}}
  - {model_name: "anthropic/*", litellm_params: {model: "anthropic/*", api_key: os.environ/ANTHROPIC_API_KEY}}
  - {model_name: "groq/*", litellm_params: {model: groq/*, api_key: os.environ/GROQ_API_KEY, tpm: 5}}
  - {model_name: "house/*", litellm_params: {model: openai/*, api_base: "http://10.0.0.1:8000/v1", api_key: none}}
  - {model_name: "part", litellm_params: {model: openai/gpt-*}}
general_settings: {max_request_size_mb: 32, global_max_parallel_requests: 50, allowed_ips: [10.0.0.1], alerting: [slack]}
"""
CLOUDS = """
environment_variables: {REDIS_HOST: localhost}
credential_list:
  - credential_name: house
    credential_values: {api_key: os.environ/HOUSE_KEY, api_base: https://house.example/v1}
model_list:
  - model_name: haiku
    litellm_params:
      model: bedrock/converse/anthropic.claude-haiku-4-5-v1:0
      aws_region_name: eu-west-1
      aws_access_key_id: os.environ/AWS
      aws_secret_access_key: os.environ/AWS_SECRET
  - model_name: flash
    litellm_params: {model: vertex_ai/gemini-2.5-flash, vertex_project: p-1, vertex_location: europe-west1}
  - model_name: local
    litellm_params: {model: ollama_chat/llama3.3, api_base: "http://localhost:11434"}
  - model_name: served
    litellm_params: {model: hosted_vllm/qwen, api_base: http://gpu:8000/v1, extra_headers: {x-team: blue}, temperature: 0.2}
  - model_name: shared
    litellm_params: {model: openai/m, litellm_credential_name: house}
  - model_name: odd
    litellm_params: {model: replicate/meta/llama}
  - model_name: broken
guardrails: [{guardrail_name: pii}]
general_settings:
  enable_jwt_auth: true
  database_url: os.environ/DATABASE_URL
  litellm_jwtauth:
    public_key_url: https://login.example/.well-known/openid-configuration
    audience: dragoman
    user_id_jwt_field: email
    team_id_jwt_field: department
    roles_jwt_field: groups
"""
ODDITIES = """
credential_list:
  - {credential_name: spare, credential_values: {api_key: a}, credential_info: {description: unused}}
  - {credential_name: half}
  - nothing
model_list:
  - model_name: gpt-4
    litellm_params:
      model: azure/chat
      api_base: https://openai-gpt-4.openai.azure.com/
      base_url: https://another.example
      api_version: "2024-10-21"
      aws_region_name: eu-west-1
  - {model_name: orgs, litellm_params: {model: openai/m, organization: [org-1, org-2], extra_headers: {a: 1, b: [2]}, api_key: [k]}}
  - {model_name: picture, litellm_params: {model: azure/, api_base: https://x.openai.azure.com}}
  - {model_name: "all-*", litellm_params: {model: mistral/*, litellm_credential_name: nobody}}
  - {model_name: "*", litellm_params: {model: "*"}, model_info: text}
  - a text
litellm_settings:
  fallbacks: nothing
  context_window_fallbacks: [{gpt-4: orgs}]
general_settings:
  enable_jwt_auth: true
  litellm_jwtauth:
    issuers: [{issuer: https://idp.example, jwks_url: https://idp.example/keys, audience: gateway}]
    user_id_jwt_field: sub
"""
ENVIRON = dict.fromkeys(
    (
        "OPENAI_API_KEY",
        "ANTHROPIC_API_KEY",
        "GROQ_API_KEY",
        "LITELLM_MASTER_KEY",
        "AZURE_EU",
        "REDIS_HOST",
        "REDIS_PASSWORD",
        "HOUSE_KEY",
        "AWS",
        "AWS_SECRET",
    ),
    "k",
)
CASES = {"simple": SIMPLE, "balanced": BALANCED, "wildcards": WILDCARDS, "clouds": CLOUDS, "oddities": ODDITIES}


def imported(text: str) -> tuple[dict[str, Any], list[str]]:
    made, notes = litellm.converted(text, "/etc/litellm/config.yaml")
    assert made.startswith("# Made of config.yaml by `dragoman import litellm`.\n")
    return yaml.safe_load(made), notes


@pytest.mark.parametrize("name", CASES)
def test_what_is_made_can_be_used(name: str) -> None:
    made, _ = litellm.converted(CASES[name], "config.yaml")
    assert conf.loads(made, environ=ENVIRON).model_providers


def test_simple() -> None:
    made, notes = imported(SIMPLE)
    assert made == {
        "listeners": [{"type": "model", "port": 4000}],
        "model_providers": [
            {"model": "openai/gpt-4o", "name": "gpt-4o", "access_key": "${OPENAI_API_KEY}"},
            {"model": "anthropic/claude-sonnet-4-5", "name": "claude", "access_key": "${ANTHROPIC_API_KEY}"},
        ],
        "access_keys": [{"key": "${LITELLM_MASTER_KEY}", "name": "master"}],
    }
    assert notes == []


def test_balanced() -> None:
    made, notes = imported(BALANCED)
    first, second, third = made["model_providers"]
    both = {"fallback_models": ["small"], "on_refusal": ["small"]}
    assert first == {
        "model": "azure_openai/eu-deployment",
        "name": "gpt-4o",
        "base_url": "https://eu.openai.azure.com",
        "access_key": "${AZURE_EU}",
        "weight": 3,
        "retry_policy": both | {"max_attempts": 2},
        "timeouts": {"first_byte": 120},
    }
    assert second == {
        "model": "openai/gpt-4o",
        "name": "gpt-4o",
        "access_key": "sk-literal$$1",
        "headers": {"openai-organization": "org-1"},
        "timeouts": {"first_byte": 30, "first_content": 8},
        "retry_policy": {"max_attempts": 3} | both,
        "weight": 1,
    }
    assert third == {
        "model": "openai/qwen3",
        "name": "small",
        "base_url": "http://vllm.internal:8000/v1",
        "apis": ["chat_completions"],
        "retry_policy": {"on_context_window": ["gpt-4o"], "max_attempts": 2},
        "timeouts": {"first_byte": 120},
    }
    assert made["prices"] == {"openai/qwen3": {"input": 0.2, "output": 0.6, "cached_input": 0.02}}
    assert made["routing"] == {"balance": "weight"}
    assert made["model_aliases"] == {"gpt-4": {"target": "gpt-4o"}, "hidden": {"target": "small"}}
    assert made["state_storage"] == {"type": "redis", "url": "redis://:${REDIS_PASSWORD}@${REDIS_HOST}:6380"}
    assert {"type": "admin"} in made["listeners"]
    assert [re.sub(r": .*", "", note.partition("config.yaml:")[2].partition(": ")[2]) for note in notes] == [
        "model_list[0].litellm_params.rpm",
        "model_list[0].model_info.base_model",
        "router_settings.model_group_alias",
        "router_settings.allowed_fails",
        "litellm_settings.fallbacks",
        "litellm_settings.callbacks",
    ]
    assert "/etc/litellm/config.yaml:10:7: model_list[0].litellm_params.rpm: limits are of callers' keys" in notes[0]
    assert "ghost" in notes[2]
    assert "missing" in notes[4]
    assert "langfuse" in notes[5]


def test_wildcards() -> None:
    made, notes = imported(WILDCARDS)
    assert made["model_providers"] == [
        {"model": "openai/*", "access_key": "${OPENAI_API_KEY}"},
        {"model": "anthropic/*", "access_key": "${ANTHROPIC_API_KEY}"},
        {"model": "groq/*", "access_key": "${GROQ_API_KEY}"},
        {
            "model": "house/*",
            "provider_interface": "openai",
            "base_url": "http://10.0.0.1:8000/v1",
            "apis": ["chat_completions"],
            "access_key": "none",
        },
    ]
    assert made["limits"] == {"max_body": "32MB", "max_streams": 50}
    assert made["allow_from"] == ["10.0.0.1"]
    assert [note.split(": ")[1] for note in notes] == [
        "model_list[0].model_name",
        "model_list[2].litellm_params.tpm",
        "model_list[4].litellm_params.model",
        "general_settings.alerting",
    ]


def test_entries_of_one_name_say_their_fallbacks_each_for_itself() -> None:
    text, _ = litellm.converted(SIMPLE.replace("drop_params: true", "default_fallbacks: [claude]"), "litellm.yaml")
    assert (text.count("- claude\n"), text.count("&"), text.count("*")) == (2, 0, 0)


def test_clouds() -> None:
    made, notes = imported(CLOUDS)
    haiku, flash, local, served, shared = made["model_providers"]
    assert haiku == {
        "model": "bedrock/anthropic.claude-haiku-4-5-v1:0",
        "name": "haiku",
        "aws": {"region": "eu-west-1", "access_key_id": "${AWS}", "secret_access_key": "${AWS_SECRET}"},
    }
    assert flash == {"model": "vertex/google/gemini-2.5-flash", "name": "flash", "gcp": {"project": "p-1", "location": "europe-west1"}}
    assert local == {"model": "ollama/llama3.3", "name": "local", "base_url": "http://localhost:11434"}
    assert served == {"model": "vllm/qwen", "name": "served", "base_url": "http://gpu:8000/v1", "headers": {"x-team": "blue"}}
    assert (shared["base_url"], shared["access_key"]) == ("https://house.example/v1", "${HOUSE_KEY}")
    assert made["jwt"] == {
        "issuer": "https://login.example",
        "audience": "dragoman",
        "claims": {"name": "email", "user": "email", "team": "department"},
    }
    assert [note.split(": ")[1] for note in notes] == [
        "environment_variables",
        "model_list[3].litellm_params.temperature",
        "model_list[5].litellm_params.model",
        "model_list[6]",
        "guardrails",
        "general_settings.database_url",
        "general_settings.litellm_jwtauth",
    ]


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [
        ("vertex_ai/claude-sonnet-4-5@20250929", "vertex/claude-sonnet-4-5@20250929"),
        ("vertex_ai/mistral-medium-3", "vertex/mistral-medium-3"),
        ("vertex_ai/gpt-oss-120b", "vertex/gpt-oss-120b"),
        ("vertex_ai/meta/llama-4-maverick", "vertex/meta/llama-4-maverick"),
        ("vertex_ai/gemini-2.5-pro", "vertex/google/gemini-2.5-pro"),
        ("vertex_ai/text-bison", "vertex/google/text-bison"),
        ("vertex_ai/*", "vertex/*"),
    ],
)
def test_models_of_vertex_ai(theirs: str, ours: str) -> None:
    made, _ = litellm.converted(f"model_list: [{{model_name: 'vertex_ai/*', litellm_params: {{model: '{theirs}'}}}}]", "c.yaml")
    (entry,) = conf.loads(made, environ={"GOOGLE_CLOUD_PROJECT": "p"}).model_providers
    expected = conf.loads(f"model_providers: [{{model: {ours}}}]", environ={"GOOGLE_CLOUD_PROJECT": "p"}).model_providers[0]
    assert (entry.base_url, entry.apis, entry.full_name(entry.model_id)) == (
        expected.base_url,
        expected.apis,
        expected.full_name(expected.model_id),
    )


def test_tokens_that_are_not_in_force_are_not_imported() -> None:
    made, notes = imported(CLOUDS.replace("enable_jwt_auth: true", "enable_jwt_auth: false"))
    assert "jwt" not in made
    assert "enable_jwt_auth" in notes[-1]


def test_oddities() -> None:
    made, notes = imported(ODDITIES)
    gpt, orgs, mistral, openai = made["model_providers"]
    assert gpt == {"model": "azure_openai/chat", "name": "gpt-4", "base_url": "https://openai-gpt-4.openai.azure.com"}
    assert orgs == {"model": "openai/m", "name": "orgs", "headers": {"a": "1"}}
    assert (mistral, openai) == ({"model": "mistral/*"}, {"model": "openai/*"})
    assert made["jwt"] == {
        "issuer": "https://idp.example",
        "audience": "gateway",
        "jwks_url": "https://idp.example/keys",
        "claims": {"name": "sub", "user": "sub"},
    }
    assert [note.split(": ")[1] for note in notes] == [
        "credential_list[0]",
        "credential_list[1]",
        "credential_list[2]",
        "model_list[0].litellm_params.base_url",
        "model_list[0].litellm_params.aws_region_name",
        "model_list[1].litellm_params.organization",
        "model_list[1].litellm_params.extra_headers",
        "model_list[1].litellm_params.api_key",
        "model_list[2].litellm_params.model",
        "model_list[3].model_name",
        "model_list[3].litellm_params.litellm_credential_name",
        "model_list[4].model_name",
        "model_list[4].model_info",
        "model_list[5]",
        "litellm_settings.fallbacks",
        "litellm_settings.context_window_fallbacks",
    ]


ADDRESSES = {
    "https://openai-eu.openai.azure.com/": "https://openai-eu.openai.azure.com",
    "https://openai-eu.openai.azure.com": "https://openai-eu.openai.azure.com",
    "https://eu.openai.azure.com/openai": "https://eu.openai.azure.com",
    "https://eu.openai.azure.com/openai/v1/": "https://eu.openai.azure.com",
    "https://eu.openai.azure.com/openai/deployments/d/chat/completions?api-version=x": "https://eu.openai.azure.com",
    "https://proxy.example/openai-eu": "https://proxy.example/openai-eu",
    "os.environ/AZURE_BASE": "${AZURE_BASE}",
}


@pytest.mark.parametrize("address", ADDRESSES)
def test_addresses_of_azure(address: str) -> None:
    made, notes = imported(f"model_list: [{{model_name: m, litellm_params: {{model: azure/m, api_base: '{address}'}}}}]")
    assert (made["model_providers"][0]["base_url"], notes) == (ADDRESSES[address], [])


# what concerns people or LiteLLM alone, by section and key
UNSAID = {("model_list", "id"), ("model_list", "api_version"), ("credential_list", "credential_info"), *litellm.QUIET}

QUIET_SECTIONS = ("litellm_settings", "model_list[0].model_info")  # of some of them: all that is in them


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    for key, one in value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ():
        yield (*path, key)
        yield from places(one, (*path, key))


@pytest.mark.parametrize("name", CASES)
def test_nothing_is_left_out_in_silence(name: str) -> None:
    """What can be removed without a difference stands below something that is named, or need not be said."""

    def outcome(data: Any) -> tuple[str, list[str]]:
        try:
            made, notes = litellm.converted(yaml.safe_dump(data), "c.yaml")
        except conf.ConfigError as error:
            return str(error), []
        return made, [note.partition(": ")[2] for note in notes]

    data = yaml.safe_load(CASES[name])
    whole = outcome(data)
    named = [note.partition(": ")[0] for note in whole[1]]
    named += [one.removesuffix(".litellm_params.model") for one in named]  # an entry that is left out
    for path in places(data):
        less = within = copy.deepcopy(data)
        for key in path[:-1]:
            within = within[key]
        del within[path[-1]]
        spelled = "".join(f"[{key}]" if isinstance(key, int) else f".{key}" for key in path)[1:]
        above = any(spelled == one or spelled.startswith((f"{one}.", f"{one}[")) for one in named)
        unsaid = any((path[0], key) in UNSAID for key in path)
        assert outcome(less) != whole or above or unsaid or spelled in QUIET_SECTIONS, spelled


def test_a_literal_key_of_callers_is_not_repeated() -> None:
    made, _ = litellm.converted(SIMPLE.replace("os.environ/LITELLM_MASTER_KEY", "sk-1234"), "c.yaml")
    assert "sk-1234" not in made
    assert "key_sha256" in made


WRONG = [
    ("", "holds no model"),
    ("model_list: []", "holds no model"),
    ("model_list: {a: b}", "holds no model"),
    ("[1]", "must be a mapping"),
    ("a: [", "not valid YAML"),
    ("model_list: [{model_name: a, litellm_params: {model: 5}}]", "holds no model"),
]


@pytest.mark.parametrize(("text", "problem"), WRONG)
def test_what_is_no_configuration(text: str, problem: str) -> None:
    with pytest.raises(conf.ConfigError) as caught:
        litellm.converted(text, "c.yaml")
    assert problem in str(caught.value)


ODD = [  # values of the wrong form are named, whatever they are
    "router_settings: {model_group_alias: [a], routing_strategy: cost-based-routing, num_retries: many}",
    "litellm_settings: {fallbacks: nothing, default_fallbacks: [m], callbacks: otel}",
    "general_settings: {master_key: [a], litellm_jwtauth: {}}",
    "litellm_settings: [a]",
    "router_settings: {routing_strategy: [simple-shuffle], num_retries: {}}",
]


BROKEN = {  # what `dragoman check` would say of the same YAML
    "model_list:\n\t- a": ["c.yaml:2:1: not valid YAML: found character '\\t' that cannot start any token"],
    "model_list: [\n": ["c.yaml:2:1: not valid YAML: expected the node content, but found '<stream end>'"],
    "model_list: [{model_name: a, litellm_params: {model: openai/a, api_key: !ENV k}}]": [
        "c.yaml:1:73: not valid YAML: could not determine a constructor for the tag '!ENV'"
    ],
    "model_list:\n- model_name: a\n  model_name: b\n  litellm_params: {model: openai/a, timeout: !!int ''}\nmodel_list: []": [
        "c.yaml:3:3: model_list[0].model_name: duplicate key: first used in line 2",
        "c.yaml:4:46: model_list[0].litellm_params.timeout: not a valid YAML value",
        "c.yaml:5:1: model_list: duplicate key: first used in line 1",
    ],
    "a: &a [*a]": ["c.yaml:1:4: a[0]: contains itself"],
    "model_list: [{model_name: 5, litellm_params: {}}, x]\nother: 1": [  # all that is wrong, not the last alone
        "c.yaml:1:13: model_list: holds no model that Dragoman can serve",
        "c.yaml:1:14: model_list[0]: has no model_name, or no litellm_params.model",
        "c.yaml:1:51: model_list[1]: has no model_name, or no litellm_params.model",
        "c.yaml:2:1: other: has no counterpart",
    ],
}


@pytest.mark.parametrize("text", BROKEN)
def test_everything_that_is_wrong_has_a_place(text: str) -> None:
    with pytest.raises(conf.ConfigError) as caught:
        litellm.converted(text, "c.yaml")
    assert str(caught.value).splitlines() == BROKEN[text]


TYPES = """
model_list:
  - model_name: m
    litellm_params:
      model: openai/m
      timeout: [1]
      stream_timeout: no
      input_cost_per_token: cheap
      tenant_id: {a: 1}
    model_info: {output_cost_per_token: -1}
  - {model_name: b, litellm_params: {model: bedrock/b, aws_region_name: Europe}}
  - {model_name: u, litellm_params: {model: openai/u, api_base: 7}}
litellm_settings: {request_timeout: soon}
general_settings: {max_request_size_mb: much, global_max_parallel_requests: 0, allowed_ips: [10.0.0.1, here]}
"""


def test_values_of_wrong_types_are_named_and_left_out() -> None:
    made, notes = litellm.converted(TYPES, "c.yaml")
    assert [note.split(": ")[:2] for note in notes] == [
        ["c.yaml:6:7", "model_list[0].litellm_params.timeout"],
        ["c.yaml:7:7", "model_list[0].litellm_params.stream_timeout"],
        ["c.yaml:8:7", "model_list[0].litellm_params.input_cost_per_token"],
        ["c.yaml:9:7", "model_list[0].litellm_params.tenant_id"],
        ["c.yaml:10:18", "model_list[0].model_info.output_cost_per_token"],
        ["c.yaml:11:56", "model_list[1].litellm_params.aws_region_name"],
        ["c.yaml:12:55", "model_list[2].litellm_params.api_base"],
        ["c.yaml:13:20", "litellm_settings.request_timeout"],
        ["c.yaml:14:20", "general_settings.max_request_size_mb"],
        ["c.yaml:14:47", "general_settings.global_max_parallel_requests"],
        ["c.yaml:14:80", "general_settings.allowed_ips"],
    ]
    providers = yaml.safe_load(made)["model_providers"]
    assert providers == [{"model": "openai/m", "name": "m"}, {"model": "bedrock/b", "name": "b"}]
    assert yaml.safe_load(made).keys() == {"listeners", "model_providers"}


@pytest.mark.parametrize("text", ODD)
def test_odd_values(text: str) -> None:
    made, notes = litellm.converted(
        "model_list: [{model_name: m, litellm_params: {model: openai/m, weight: x, max_retries: y}}]\n" + text, "c"
    )
    assert conf.loads(made, environ={}).model_providers
    assert len(notes) >= 3


def test_the_command(tmp_path: Path) -> None:
    """What it prints is a file that `dragoman check` accepts."""
    source, target = tmp_path / "litellm.yaml", tmp_path / "dragoman.yaml"
    source.write_text(BALANCED.replace("router_settings:", "ignored: 1\nrouter_settings:").replace("redis_", "no_redis_"))
    command = [sys.executable, "-m", "dragoman.proxy"]
    ran = subprocess.run([*command, "import", "litellm", str(source)], capture_output=True, text=True, check=False)
    assert ran.returncode == 0
    line = source.read_text().splitlines().index("ignored: 1") + 1
    assert f"{source}:{line}:1: ignored: has no counterpart" in ran.stderr
    target.write_text(ran.stdout)
    checked = subprocess.run([*command, "check", str(target)], capture_output=True, text=True, check=False, env=ENVIRON)
    assert checked.returncode == 0, checked.stderr
    assert "gpt-4o goes to" in checked.stdout
    missing = subprocess.run([*command, "import", "litellm", str(tmp_path / "none.yaml")], capture_output=True, text=True, check=False)
    assert (missing.returncode, missing.stderr) == (2, f"{tmp_path}/none.yaml: No such file or directory\n")
