"""The tables: providers, models, prices."""

import dataclasses

import pytest

from dragoman import conf
from dragoman.codecs import registry
from dragoman.codecs.capabilities import EFFORTS
from dragoman.conf import flags, providers

KNOWN = providers.known()


@pytest.mark.parametrize("row", KNOWN.values(), ids=KNOWN)
def test_provider_rows_are_sound(row):
    assert row.base_url.startswith(("https://", "http://localhost:", "/", "demo://"))
    assert not row.base_url.endswith("/")
    assert set(row.apis) <= set(registry.apis())
    assert row.apis
    assert row.auth in ("bearer", "x-api-key", "api-key", "x-goog-api-key", "both-keys")
    assert set(row.capabilities) <= set(flags.FLAGS)
    assert row.key is None or row.key.isupper()


def test_other_names_share_a_row():
    assert KNOWN["together_ai"] is KNOWN["together"]
    assert KNOWN["google"] is KNOWN["gemini"]
    assert KNOWN["claude"] is KNOWN["anthropic"]


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        ("gpt-4o", {"openai", "azure_openai"}),
        ("o3-mini", {"openai", "azure_openai"}),
        ("chatgpt-4o-latest", {"openai"}),
        ("claude-sonnet-4-20250514", {"anthropic"}),
        ("gemini-2.5-pro", {"gemini"}),
        ("mistral-large-latest", {"mistral"}),
        ("deepseek-chat", {"deepseek"}),
        ("grok-4", {"xai"}),
        ("kimi-k2.5", {"moonshotai"}),
        ("openhermes", set()),
        ("llama-3.3-70b-versatile", set()),
        ("echo", set()),
    ],
)
def test_bare_model_names(model, expected):
    assert {row.name for row in KNOWN.values() if row.recognises(model)} == expected


@pytest.mark.parametrize(
    ("base_url", "expected"),
    [
        ("https://api.openai.com/v1", True),
        ("https://eu.api.openai.com/v1", True),
        ("https://name.openai.azure.com/openai/v1", True),
        ("https://api.openai.com.evil.example/v1", False),
        ("https://notapi.openai.com/v1", False),
        ("http://localhost:51001/v1", False),
        ("https://openrouter.ai/api/v1", False),
        ("demo://builtin/v1", False),
    ],
)
def test_openai_hosts(base_url, expected):
    assert providers.openai_host(base_url) is expected


def anthropic(model):
    found = providers.capabilities("anthropic", "https://api.anthropic.com/v1", model, {})
    names = ("m.thinking", "m.sampling", "m.effort_values", "m.max_output", "m.prefill", "m.structured_outputs", "m.mid_system")
    return tuple(found.get(name) for name in names)


LOW_TO_HIGH = ("low", "medium", "high")
ALL = (*LOW_TO_HIGH, "xhigh", "max")


@pytest.mark.parametrize(
    ("models", "expected"),
    [
        ("claude-3-opus-20240229 claude-3-haiku-20240307", ("none", "full", (), 4096, True, False, None)),
        ("claude-3-5-sonnet-20241022 claude-3.5-haiku", ("none", "full", (), 8192, True, False, None)),
        ("claude-3-7-sonnet-latest", ("manual", "full", (), 64000, True, False, None)),
        ("claude-sonnet-4-20250514 claude-sonnet-4-0 claude-sonnet-4", ("manual", "full", (), 64000, True, False, None)),
        ("claude-opus-4-20250514 claude-opus-4-0", ("manual", "full", (), 32000, True, False, None)),
        ("claude-opus-4-1-20250805 claude-opus-4.1", ("manual", "temperature_or_top_p", (), 32000, True, True, None)),
        ("claude-sonnet-4-5-20250929 claude-haiku-4-5", ("manual", "temperature_or_top_p", (), 64000, True, True, None)),
        ("claude-opus-4-5-20251101", ("manual", "temperature_or_top_p", LOW_TO_HIGH, 64000, True, True, None)),
        (
            "claude-opus-4-6 claude-sonnet-4-6 anthropic/claude-opus-4.6",
            ("both", "temperature_or_top_p", (*LOW_TO_HIGH, "max"), 128000, False, True, None),
        ),
        ("claude-opus-4-7 claude-sonnet-5", ("adaptive", "none", ALL, 128000, False, True, None)),
        ("claude-opus-4-8 claude-opus-5 claude-haiku-5-5", ("adaptive", "none", ALL, 128000, False, True, True)),
        (
            "claude-opus-5-5 claude-fable-5 claude-mythos-5-2 claude-sonnet-5-5",
            ("adaptive_always", "none", ALL, 128000, False, True, True),
        ),
        ("something-else", (None,) * 7),
    ],
)
def test_what_is_known_of_anthropics_models(models, expected):
    for model in models.split():
        assert anthropic(model) == expected, model


@pytest.mark.parametrize(
    ("models", "efforts"),
    [
        ("gpt-4o gpt-4o-mini-2024-07-18 gpt-4.1 gpt-4.1-nano gpt-3.5-turbo gpt-5-chat-latest chatgpt-4o-latest o1-mini", []),
        ("o1 o1-2024-12-17 o3 o3-mini o4-mini-2025-04-16 gpt-5-codex openai/gpt-oss-120b", ["low", "medium", "high"]),
        ("gpt-5 gpt-5-mini-2025-08-07 openai/gpt-5-nano", ["minimal", "low", "medium", "high"]),
        ("gpt-5-pro", ["high"]),
        ("gpt-5.1 gpt-5.1-2025-11-13", ["none", "low", "medium", "high"]),
        (
            "gpt-5.2 gpt-5.4-mini gpt-5.5-2026-04-23 gpt-5.6-sol gpt-5.3-codex gpt-6-sol",
            ["none", "low", "medium", "high", "xhigh"],
        ),
        ("gpt-5.1-codex-max gpt-6-astra gpt-6.1-sol", ["low", "medium", "high", "xhigh"]),
        ("gpt-5.2-pro gpt-5.5-pro-2026-04-23", ["medium", "high", "xhigh"]),
        ("gpt-5.2-chat-latest", ["medium"]),
        ("ft-unknown", ["none", "minimal", "low", "medium", "high", "xhigh", "max"]),
    ],
)
def test_what_is_known_of_openais_models(models, efforts):
    for model in models.split():
        found = providers.capabilities("openai", "https://api.openai.com/v1", model, {})
        assert found["c.effort_values"] == tuple(efforts), model


def test_later_layers_win():
    def effort(interface, base_url, model, written):
        return providers.capabilities(interface, base_url, model, written).get("c.effort_values")

    assert effort("vllm", "http://h/v1", "x", {}) is None
    assert effort("ollama", "http://h/v1", "x", {}) == ("none", "low", "medium", "high")
    assert effort("ollama", "https://api.openai.com/v1", "x", {}) == EFFORTS
    assert effort("ollama", "https://api.openai.com/v1", "gpt-5-pro", {}) == ("high",)
    assert effort("ollama", "https://api.openai.com/v1", "gpt-5-pro", {"c.effort_values": ()}) == ()


def test_deepseek_and_openrouter_read_reasoning_in_their_own_way():
    deepseek = providers.capabilities("deepseek", "https://api.deepseek.com/v1", "deepseek-v4-pro", {})
    assert deepseek["c.reasoning_in"] == "reasoning_content"
    assert deepseek["c.reasoning_required_with_tools"] is True
    openrouter = providers.capabilities("openrouter", "https://openrouter.ai/api/v1", "x/y", {})
    assert openrouter["c.reasoning_in"] == "reasoning_details"


def test_openrouter_caches_of_claude_what_is_marked():
    def known(model):
        return providers.capabilities("openrouter", "https://openrouter.ai/api/v1", model, {})

    assert known("anthropic/claude-opus-4.6")["c.cache_control"] is True
    assert "c.cache_control" not in known("openai/gpt-5.2")


def test_github_models_is_retired():
    with pytest.raises(conf.ConfigError, match=r"model_providers\[0\]\.model: unknown provider"):
        conf.loads("model_providers: [{model: github/openai/gpt-4.1, access_key: k}]")


@pytest.mark.parametrize(
    ("provider", "model", "pattern"),
    [
        ("openai", "gpt-4o-mini-2024-07-18", "gpt-4o-mini*"),
        ("openai", "gpt-4o-2024-08-06", "gpt-4o*"),
        ("anthropic", "claude-sonnet-4-5", "claude-sonnet-4*"),
        ("anthropic", "claude-opus-4-8", "claude-opus-4-[5-8]*"),
        ("anthropic", "claude-opus-4-1", "claude-opus-4*"),
        ("openrouter", "openai/gpt-5.4-mini", "gpt-5.4-mini*"),
        ("demo", "echo", "demo/*"),
        ("other", "echo", None),
    ],
)
def test_prices(provider, model, pattern):
    found = providers.price_of(providers.list_prices(), provider, model)
    assert (found and found.pattern) == pattern


def test_prices_are_sound():
    prices = providers.list_prices()
    assert len({price.pattern for price in prices}) == len(prices)
    for row in prices:
        _, *numbers, tiers = dataclasses.astuple(row)
        assert all(isinstance(number, float) and number >= 0 for number in numbers if number is not None)
        assert not tiers  # as the guide says of the built-in list
        assert row.cached_input <= row.input
        assert next(price for price in prices if providers.fits(row.pattern.rstrip("*"), (price.pattern,)) or price is row) is row


def test_flags_in_groups_are_the_same_as_dotted_ones():
    written = {"c": {"top_k": True}, "m.prefill": False, "m": {"web_search": False}, "echo_model": "upstream"}
    assert flags.check(written) == (
        {"c.top_k": True, "m.prefill": False, "m.web_search": "", "echo_model": "upstream"},
        {},
    )
    assert flags.check({"m.web_search": True})[0] == {"m.web_search": "web_search_20250305"}
    assert list(flags.unknown({"reasoning_domian": "C", "r": {"statefull": True}})) == [
        (("reasoning_domian",), "reasoning_domain"),
        (("r", "statefull"), "r.stateful"),
    ]
