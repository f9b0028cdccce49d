"""The example files are what they promise to be."""

import pathlib

import pytest
import yaml

from dragoman import conf
from dragoman.conf import schema

EXAMPLES = pathlib.Path(conf.__file__).parent / "examples"
NAMES = sorted(path.name for path in EXAMPLES.glob("*.yaml"))


def test_they_are_there():
    assert NAMES == ["config_mock_llm.yaml", "minimal.yaml", "production.yaml", "scale.yaml", "team.yaml"]


@pytest.mark.parametrize("name", NAMES)
def test_they_load_without_a_warning_when_the_environment_is_complete(name):
    keys = {f"{name}_API_KEY": "k" for name in ("OPENAI", "ANTHROPIC", "AZURE_OPENAI")}
    assert conf.load(EXAMPLES / name, keys | {"TEAM_A_KEY": "k", "DRAGOMAN_ADMIN_PASSWORD": "k"}).warnings == ()


def test_the_mock_stands_on_this_host_or_where_the_environment_says():
    config = conf.load(EXAMPLES / "config_mock_llm.yaml", {})
    assert {entry.base_url for entry in config.model_providers} == {"http://localhost:51001/v1"}
    assert [listener.port for listener in config.listeners] == [12000]
    assert [entry.model for entry in config.model_providers if entry.default] == ["openai/gpt-5-mini-2025-08-07"]
    assert config.model_aliases == {"arch.summarize.v1": "gpt-5-mini-2025-08-07", "arch.v1": "o3"}
    elsewhere = conf.load(EXAMPLES / "config_mock_llm.yaml", {"MOCK_LLM_HOST": "host.docker.internal"})
    assert {entry.base_url for entry in elsewhere.model_providers} == {"http://host.docker.internal:51001/v1"}


OF_OTHERS = ("control", "jwt", "hooks")  # sections that need a service which an example does not have


def test_the_production_example_shows_every_section():
    text = (EXAMPLES / "production.yaml").read_text()
    shown = yaml.safe_load(text)
    in_comments = {section for section in OF_OTHERS if f"\n# {section}:" in text}
    assert set(schema.Root().fields) == set(shown) | in_comments
    entries = set().union(*shown["model_providers"])
    assert set(schema.ModelProvider().fields) - entries == {
        *("passthrough_auth", "weight", "proxy", "ca_file", "ca_only", "client_cert")  # told in comments
    }
