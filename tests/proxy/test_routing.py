"""Which upstream answers a request, in which order, and how it is spoken to."""

import re
import textwrap
import timeit
from dataclasses import fields

import pytest

from dragoman import conf
from dragoman.codecs.capabilities import Capabilities
from dragoman.codecs.errors import Missing, NoCandidate, Unconfigured
from dragoman.codecs.registry import SHAPES
from dragoman.conf import flags
from dragoman.proxy.exchange.lessons import Lessons, Taught
from dragoman.proxy.routing.check import check_lines
from dragoman.proxy.routing.router import Router, ServedModel


def router(text, **environ):
    return Router(conf.loads(textwrap.dedent(text), environ=environ))


def names(route):
    return [candidate.name for candidate in route.candidates]


MOCK = router(
    """
    model_providers:
      - {model: openai/gpt-5-mini-2025-08-07, access_key: test-key, base_url: "http://localhost:51001", default: true}
      - {model: openai/gpt-4o-mini, access_key: test-key, base_url: "http://localhost:51001"}
      - {model: openai/o3, access_key: test-key, base_url: "http://localhost:51001"}
      - {model: anthropic/claude-sonnet-4-20250514, access_key: test-key, base_url: "http://localhost:51001"}
    model_aliases:
      arch.v1: {target: o3}
    """
)


@pytest.mark.parametrize(
    ("shape", "model", "upstream", "url"),
    [
        ("chat", "gpt-4o-mini", "chat", "/v1/chat/completions"),
        ("messages", "gpt-4o-mini", "chat", "/v1/chat/completions"),
        ("responses", "gpt-4o-mini", "responses", "/v1/responses"),
        ("chat", "claude-sonnet-4-20250514", "chat", "/v1/chat/completions"),
        ("messages", "claude-sonnet-4-20250514", "messages", "/v1/messages"),
        ("responses", "claude-sonnet-4-20250514", "chat", "/v1/chat/completions"),
        ("messages", "arch.v1", "chat", "/v1/chat/completions"),
        ("responses", None, "responses", "/v1/responses"),
    ],
)
def test_the_mock_configuration(shape, model, upstream, url):
    (candidate,) = MOCK.candidates(shape, model).candidates
    assert (candidate.shape, candidate.url) == (upstream, "http://localhost:51001" + url)


@pytest.mark.parametrize(
    ("shape", "entry", "upstream"),
    [
        # the caller's own shape, whatever the order
        ("chat", "apis: [responses, messages, chat_completions]", "chat"),
        ("messages", "apis: [responses, messages, chat_completions]", "messages"),
        ("responses", "apis: [messages, chat_completions, responses]", "responses"),
        # else the order of the list
        ("chat", "apis: [responses, messages]", "responses"),
        ("chat", "apis: [messages, responses]", "messages"),
        ("messages", "apis: [responses, chat_completions]", "responses"),
        ("responses", "apis: [messages, chat_completions]", "messages"),
        # else the table's
        ("messages", "provider_interface: openai", "chat"),
        ("responses", "provider_interface: openai", "chat"),
        ("chat", "provider_interface: anthropic", "messages"),
        ("responses", "provider_interface: anthropic", "messages"),
    ],
)
def test_which_api_is_spoken(shape, entry, upstream):
    found = router(f"model_providers: [{{model: my/x, base_url: 'http://h/P', {entry}}}]").candidates(shape, "my/x")
    assert [candidate.shape for candidate in found.candidates] == [upstream]


def test_the_table_of_what_to_speak_instead():
    served = router("model_providers: [{model: openai/x}, {model: anthropic/y}]")
    spoken = {(shape, model): served.candidates(shape, model).candidates[0].shape for shape in SHAPES for model in ("x", "y")}
    assert spoken == {
        ("chat", "x"): "chat",
        ("messages", "x"): "chat",
        ("responses", "x"): "responses",
        ("chat", "y"): "messages",
        ("messages", "y"): "messages",
        ("responses", "y"): "messages",
        ("gemini", "x"): "chat",
        ("gemini", "y"): "messages",
    }


WITH_TOOLS = {"tools": [{"type": "function", "function": {"name": "f"}}]}


@pytest.mark.parametrize(
    ("entry", "apis"),
    [
        # what a model refuses over one API is asked over another: callers of any other API always, its own where it would be refused
        ("model: openai/gpt-5.4", {"chat": "chat", "messages": "responses", "responses": "responses"}),
        ("model: openai/gpt-6-astra", {"chat": "chat", "messages": "responses", "responses": "responses"}),
        ("model: azure_openai/gpt-5.5, base_url: 'https://x.openai.azure.com'", {"chat": "chat", "messages": "responses"}),
        ("model: openai/gpt-5.2", {"chat": "chat", "messages": "chat", "responses": "responses"}),
        # an order written by hand stays, but for what is refused
        ("model: openai/gpt-5.4, apis: [chat_completions, responses]", {"chat": "chat", "messages": "chat"}),
        ("model: openai/gpt-5.4, apis: [chat_completions]", {"chat": "chat", "messages": "chat", "responses": "chat"}),
        ("model: openai/gpt-5.4, capabilities: {c.tools_beside_reasoning: true}", {"messages": "chat"}),
        # a model that an API does not serve
        ("model: copilot/gpt-5.4", {"chat": "responses", "messages": "responses", "responses": "responses"}),
        ("model: copilot/claude-sonnet-4.6", {"chat": "chat", "messages": "messages", "responses": "chat"}),
        ("model: copilot/gemini-3-pro", {"chat": "chat", "messages": "chat", "responses": "chat"}),
        ("model: copilot/gpt-5.4, apis: [chat_completions]", {"chat": "chat"}),
        ("model: openai/gpt-4o, capabilities: {unserved: [chat_completions]}", {"chat": "responses", "messages": "responses"}),
        (
            "model: bedrock_mantle/openai.gpt-5.5, base_url: 'https://bedrock-mantle.us-east-1.api.aws'",
            {"chat": "responses", "messages": "responses"},
        ),
        ("model: bedrock_mantle/openai.gpt-oss-120b, base_url: 'https://bedrock-mantle.us-east-1.api.aws'", {"chat": "chat"}),
    ],
)
def test_the_order_is_a_fact_of_the_model(entry, apis):
    served = router(f"model_providers: [{{{entry}, name: x}}]")
    assert {shape: served.candidates(shape, "x").candidates[0].shape for shape in apis} == apis


@pytest.mark.parametrize(
    ("shape", "model", "body", "api"),
    [
        ("chat", "gpt-5.4", {}, "chat"),
        ("chat", "gpt-5.4", WITH_TOOLS, "chat"),  # it reasons only when it is asked to
        ("chat", "gpt-5.4", WITH_TOOLS | {"reasoning_effort": "low"}, "responses"),
        ("chat", "gpt-5.4", {"reasoning_effort": "low"}, "chat"),
        ("chat", "gpt-5.6-sol", WITH_TOOLS, "responses"),
        ("chat", "gpt-5.6-sol", WITH_TOOLS | {"reasoning_effort": "none"}, "chat"),
        ("chat", "gpt-5.6-sol", {"functions": [{"name": "f"}]}, "responses"),
        ("chat", "gpt-5.2", WITH_TOOLS | {"reasoning_effort": "low"}, "chat"),
        ("messages", "gpt-5.4", {}, "chat"),
        ("messages", "gpt-5.4", {"tools": [{"name": "f"}]}, "responses"),
        ("responses", "gpt-5.4", {"tools": [{"type": "function", "name": "f"}]}, "responses"),
    ],
)
def test_what_a_request_asks_decides(shape, model, body, api):
    served = router(f"model_providers: [{{model: openai/{model}, apis: [chat_completions, responses]}}]")
    (candidate,) = served.candidates(shape, model).candidates
    taught = Taught(Lessons(lambda: 0.0))
    found = taught.over(candidate, shape, body)
    assert found.shape == api
    assert taught.over(found, shape, {}).shape in ("chat", "responses")  # it knows the way back


def test_the_order_is_told():
    text = "model_providers: [{model: openai/gpt-5.4, access_key: k}]"
    (line,) = router(text).explain("chat", "gpt-5.4")
    assert "tools beside reasoning go to responses https://api.openai.com/v1/responses" in line
    (line,) = router(text).explain("messages", "gpt-5.4")
    assert "responses takes what the model refuses over chat_completions" in line
    first, second = check_lines(conf.loads(text, environ={}))
    assert first.endswith("callers: chat")
    callers = "chat with tools beside reasoning (translated), messages (translated), responses, gemini (translated)"
    assert second.endswith(f"callers: {callers}")


NAMES = router(
    """
    model_providers:
      - {model: openai/gpt-4o, name: main}
      - {model: azure_openai/gpt-4o, base_url: "https://n.openai.azure.com"}
      - {model: openai/gpt-4o}
      - {model: groq/meta/llama}
      - {model: openai/*}
      - {model: anthropic/*}
      - {model: together/*}
      - {model: demo/*, name: try}
    model_aliases:
      short: {target: main}
      claude: {target: claude-opus-5}
      gpt-4o-mini: {target: groq/meta/llama}
    """
)


@pytest.mark.parametrize(
    ("asked", "found", "echo"),
    [
        ("main", ["openai/gpt-4o"], "main"),
        ("openai/gpt-4o", ["openai/gpt-4o", "openai/gpt-4o"], None),
        ("azure_openai/gpt-4o", ["azure_openai/gpt-4o"], None),
        ("short", ["openai/gpt-4o"], "short"),
        ("claude", ["anthropic/claude-opus-5"], "claude"),
        ("gpt-4o-mini", ["groq/meta/llama"], "gpt-4o-mini"),  # the alias stands before the wildcard
        ("gpt-4o", ["openai/gpt-4o", "azure_openai/gpt-4o", "openai/gpt-4o"], None),
        ("meta/llama", ["groq/meta/llama"], None),
        ("groq/meta/llama", ["groq/meta/llama"], None),
        ("openai/gpt-9", ["openai/gpt-9"], None),
        ("together/meta/llama", ["together/meta/llama"], None),
        ("gpt-5", ["openai/gpt-5"], None),
        ("o3", ["openai/o3"], None),
        ("claude-haiku-4-5", ["anthropic/claude-haiku-4-5"], None),
        ("demo/echo", ["demo/echo"], None),
    ],
)
def test_which_entries_answer(asked, found, echo):
    route = NAMES.candidates("chat", asked)
    assert names(route) == found
    assert {candidate.echo for candidate in route.candidates} == {echo}


@pytest.mark.parametrize(
    "asked",
    [
        "",
        "nope",
        "try",
        "groq/other",
        "demo/other",
        "echo",
        "openai/",
        "openai/*",
        "*",
        "llama",
        "mistral-large",
        "x" * 300,
        "GPT-4o",
    ],
)
def test_what_nothing_answers_to(asked):
    with pytest.raises(NoCandidate) as caught:
        NAMES.candidates("chat", asked)
    error = caught.value
    assert error.message == f"The model `{asked[:256]}` does not exist or you do not have access to it."
    assert (error.http_status("chat"), error.openai()["code"]) == (404, "model_not_found")


@pytest.mark.parametrize("asked", ["openai/gpt\r\nx: y", "openai/gpt-\u00fc", "openai/" + "x" * 300, "gpt-\x00"])
def test_what_a_wildcard_does_not_let_through(asked):
    with pytest.raises(NoCandidate):
        NAMES.candidates("chat", asked)


def test_a_declared_name_may_be_long():
    name = "x" * 300
    served = router(f"model_providers: [{{model: openai/{name}}}]")
    assert names(served.candidates("chat", name)) == [f"openai/{name}"]


def test_a_bare_name_that_two_wildcards_recognise_is_nobodys():
    both = router("model_providers: [{model: openai/*}, {model: azure_openai/*, base_url: 'https://n.openai.azure.com'}]")
    assert names(both.candidates("chat", "openai/gpt-4o")) == ["openai/gpt-4o"]
    with pytest.raises(NoCandidate):
        both.candidates("chat", "gpt-4o")


def test_wildcards_of_one_provider_are_candidates_in_order():
    two = router("model_providers: [{model: openai/*, access_key: a}, {model: openai/*, access_key: b}]")
    assert [c.provider.access_key for c in two.candidates("chat", "gpt-4o").candidates] == ["a", "b"]


def test_a_request_without_a_model():
    two = router("model_providers: [{model: openai/a}, {model: openai/b, default: true}, {model: openai/b}]")
    route = two.candidates("responses", None)
    assert names(route) == ["openai/b", "openai/b"]
    assert route.candidates[0].echo is None
    with pytest.raises(NoCandidate):
        two.candidates("responses", "")
    with pytest.raises(Missing) as caught:
        NAMES.candidates("responses", None)
    assert (caught.value.param, caught.value.http_status("responses")) == ("model", 400)


def test_fallbacks_stand_behind_all_candidates_and_once_each():
    found = router(
        """
        model_providers:
          - {model: openai/a, retry_policy: {fallback_models: [other, openai/a, anthropic/c, gpt-x]}}
          - {model: azure_openai/a, base_url: "https://n.openai.azure.com", retry_policy: {fallback_models: [anthropic/c]}}
          - {model: anthropic/c, retry_policy: {fallback_models: [groq/d]}}
          - {model: groq/d}
          - {model: openai/*}
        model_aliases: {other: {target: azure_openai/a}}
        """
    ).candidates("chat", "openai/a")
    assert names(found) == ["openai/a", "azure_openai/a", "anthropic/c", "openai/gpt-x"]
    assert [candidate.shape for candidate in found.candidates] == ["chat", "chat", "messages", "chat"]
    assert [candidate.echo for candidate in found.candidates] == [None, "openai/a", "openai/a", "openai/a"]


# ---- headers ----


@pytest.mark.parametrize(
    ("entry", "shape", "credential", "headers"),
    [
        ("model: openai/x, access_key: k", "chat", "mine", {"authorization": "Bearer k"}),
        ("model: anthropic/x, access_key: k", "messages", "mine", {"x-api-key": "k"}),
        ("model: anthropic/x, access_key: k, base_url: 'http://h'", "chat", None, {"authorization": "Bearer k"}),
        ("model: azure_openai/x, access_key: k, base_url: 'http://h'", "responses", None, {"api-key": "k"}),
        ("model: openai/x, access_key: k, apis: [messages]", "messages", None, {"authorization": "Bearer k"}),
        ("model: openai/x, passthrough_auth: true", "chat", "mine", {"authorization": "Bearer mine"}),
        ("model: openai/x, passthrough_auth: true, access_key: k", "chat", "mine", {"authorization": "Bearer mine"}),
        ("model: anthropic/x, passthrough_auth: true", "messages", "mine", {"x-api-key": "mine"}),
        ("model: anthropic/x, passthrough_auth: true", "messages", "sk-ant-oat01-a", {"authorization": "Bearer sk-ant-oat01-a"}),
        ("model: anthropic/x, passthrough_auth: true", "messages", None, {}),
        ("model: openai/x, passthrough_auth: true, access_key: $NOPE", "chat", "mine", {"authorization": "Bearer mine"}),
        ("model: ollama/x", "chat", "mine", {}),
        (
            "model: openai/x, access_key: k, http_host: other, headers: {X-Team: t, Authorization: Basic b}",
            "chat",
            None,
            {"authorization": "Basic b", "host": "other", "x-team": "t"},
        ),
    ],
)
def test_headers(entry, shape, credential, headers):
    (candidate,) = router(f"model_providers: [{{{entry}}}]").candidates(shape, "x").candidates
    assert candidate.headers(credential) == headers
    assert candidate.headers(credential) is not candidate.headers(credential)


def test_a_key_that_is_not_set_is_told_when_it_is_needed():
    (candidate,) = router("model_providers: [{model: openai/x, access_key: $NOPE}]").candidates("chat", "x").candidates
    with pytest.raises(Unconfigured) as caught:
        candidate.headers("mine")
    error = caught.value
    assert (error.http_status("chat"), error.openai()["code"]) == (502, "upstream_auth_missing")
    assert error.message == "The gateway has no credential for openai/x: NOPE is not set in its environment."


def test_no_secret_in_repr():
    served = router("model_providers: [{model: openai/x, access_key: S3CRET, headers: {x-a: S3CRET}}]")
    (candidate,) = served.candidates("chat", "x").candidates
    assert "S3CRET" not in repr(candidate)


# ---- capabilities ----


def test_every_flag_of_a_configuration_is_one_of_the_codecs():
    assert {name.replace(".", "_") for name in flags.FLAGS} == {field.name for field in fields(Capabilities)} - {"known"}


def capabilities(entry, model="x"):
    return router(f"model_providers: [{{{entry}}}]").candidates("chat", model).candidates[0].capabilities


@pytest.mark.parametrize(
    ("more", "api", "passed"),
    [
        ("", "messages", "compact-2026-01-12"),  # of the provider
        ("", "converse", "thinking-x"),  # of the model
        (", anthropic_beta: [new-*]", "messages", "new-1"),
        (", anthropic_beta: [new-*]", "converse", "new-1"),
        (", capabilities: {v.betas: []}, anthropic_beta: [new-*]", "converse", None),
    ],
)
def test_which_betas_go_up_is_known_with_the_candidate(more, api, passed):
    entry = f"model: bedrock/anthropic.claude-opus-4-8, aws: {{region: us-east-1}}, apis: [{api}]{more}"
    betas = router(f"model_providers: [{{{entry}, name: x}}]").candidates("messages", "x").candidates[0].betas
    asked = ("compact-2026-01-12", "thinking-x", "new-1")
    assert [value for value in asked if betas.passed(value)] == ([passed] if passed else [])


def test_an_unknown_model_at_an_unknown_host_has_the_defaults():
    found = capabilities("model: new/x, base_url: 'http://h'")
    assert found == Capabilities(reasoning_domain=found.reasoning_domain)


def test_capabilities_in_layers():
    assert capabilities("model: openai/x").openai_host
    assert capabilities("model: openai/x").c_max_tokens_field == "max_completion_tokens"
    assert not capabilities("model: openai/x, base_url: 'http://h'").openai_host
    assert capabilities("model: openai/x, base_url: 'http://h', http_host: api.openai.com").openai_host
    assert capabilities("model: openai/*", "openai/gpt-4o").c_effort_values == ()
    assert capabilities("model: anthropic/*", "claude-opus-4-8").m_max_output == 128000
    written = capabilities("model: openai/x, capabilities: {c: {reasoning_in: reasoning}, owns_key: false, reasoning_domain: d}")
    assert (written.c_reasoning_in, written.owns_key, written.reasoning_domain) == ("reasoning", False, "d")
    assert not capabilities("model: openai/x, passthrough_auth: true").owns_key


def test_the_echo_can_be_left_to_the_upstream():
    served = router("model_providers: [{model: openai/x, name: main, capabilities: {echo_model: upstream}}]")
    assert served.candidates("chat", "main").candidates[0].echo is None


def test_reasoning_is_read_back_by_who_wrote_it():
    hosts = ("one.internal", "two.internal", "one.internal/P")
    one, two, same = (capabilities(f"model: openai/x, base_url: 'http://{host}'").reasoning_domain for host in hosts)
    assert one == same != two
    assert "internal" not in one
    assert capabilities("model: openai/x").reasoning_domain == "openai"


def test_prices():
    served = router("{model_providers: [{model: openai/*}], prices: {'openai/gpt-4o': {input: 9, output: 10}}}")
    assert served.candidates("chat", "gpt-4o").candidates[0].price.input == 9
    assert served.candidates("chat", "gpt-4o-mini").candidates[0].price.input == 0.15
    assert served.candidates("chat", "gpt-99").candidates[0].price is None


# ---- what an operator and a client are told ----


def test_models():
    assert NAMES.models() == [
        ServedModel("main", "openai"),
        ServedModel("openai/gpt-4o", "openai"),
        ServedModel("azure_openai/gpt-4o", "azure_openai"),
        ServedModel("groq/meta/llama", "groq"),
        ServedModel("demo/echo", "demo"),
        ServedModel("demo/tool", "demo"),
        ServedModel("demo/think", "demo"),
        ServedModel("demo/slow", "demo"),
        ServedModel("demo/error", "demo"),
        ServedModel("short", "openai"),
        ServedModel("claude", "anthropic"),
        ServedModel("gpt-4o-mini", "groq"),
    ]
    for model in NAMES.models():
        assert NAMES.candidates("chat", model.id).candidates


def test_explain():
    served = router(
        """
        model_providers:
          - {model: openai/a, access_key: heavy, weight: 3}
          - {model: openai/a, access_key: light}
          - {model: openai/b, access_key: alone, weight: 9, retry_policy: {fallback_models: [openai/a]}}
        """
    )
    shares = "; shares this place by conversation, else by weight"
    url = "chat_completions https://api.openai.com/v1/chat/completions"
    because = "it serves chat_completions, nothing is translated; key set"
    assert served.explain("chat", "openai/b") == [
        f"1. openai/b: {url}; declared by this name; {because}",
        f"2. openai/a (weight 3): {url}; fallback of openai/b, declared by this name; {because}{shares}",
        f"2. openai/a (weight 1): {url}; fallback of openai/b, declared by this name; {because}{shares}",
    ]
    assert MOCK.explain("messages", "arch.v1") == [
        "1. openai/o3: chat_completions http://localhost:51001/v1/chat/completions; alias of o3, declared, by its bare id; "
        "it does not serve messages, chat_completions is the first that it serves; key set"
    ]
    assert MOCK.explain("chat", "nope") == [
        "The model `nope` does not exist or you do not have access to it. no declared model, alias or wildcard matches this name"
    ]
    assert "no entry is the default" in NAMES.explain("chat", None)[0]


def test_check_lines():
    config = conf.loads(
        textwrap.dedent(
            """
            model_providers:
              - {model: openai/gpt-4o, access_key: S3CRET}
              - {model: anthropic/*, access_key: $NOPE}
              - {model: groq/x, passthrough_auth: true}
              - {model: demo/*}
            model_aliases: {short: {target: gpt-4o}}
            """
        ),
        environ={},
    )
    assert check_lines(config) == [
        "openai/gpt-4o  openai     chat_completions  https://api.openai.com/v1/chat/completions       "
        "key set              callers: chat, messages (translated), gemini (translated)",
        "openai/gpt-4o  openai     responses         https://api.openai.com/v1/responses              "
        "key set              callers: responses",
        "anthropic/*    anthropic  messages          https://api.anthropic.com/v1/messages            "
        "key not set ($NOPE)  callers: chat (translated), messages, responses (translated), gemini (translated)",
        "groq/x         groq       chat_completions  https://api.groq.com/openai/v1/chat/completions  "
        "caller's key         callers: chat, messages (translated), responses (translated), gemini (translated)",
        "demo/*         demo       chat_completions  demo://builtin/v1/chat/completions               "
        "no key               callers: chat, messages (translated), responses (translated), gemini (translated)",
        "short is gpt-4o (openai/gpt-4o)",
    ]


@pytest.mark.parametrize(
    ("wildcard", "models"),
    [
        ("vertex/*", ("claude-sonnet-5", "mistral-medium-3", "gemini-3-pro", "gpt-oss-120b", "gpt-5.5")),
        ("bedrock/*", ("openai.gpt-oss-120b-1:0", "openai.gpt-5.6-luna", "openai.gpt-5.5")),
    ],
)
def test_check_lines_of_a_wildcard_tell_where_its_families_go(wildcard: str, models: tuple[str, ...]):
    """As requests go."""
    environ = {"AWS_REGION": "us-east-1", "GOOGLE_CLOUD_PROJECT": "p"}
    config = conf.loads(f"model_providers: [{{model: {wildcard}}}]", environ=environ)
    lines = [line for line in check_lines(config) if " (" in line.partition("  ")[0]]
    found = Router(config)
    gone = [found.candidates("chat", wildcard.replace("*", model)).candidates[0] for model in models]
    assert [re.split("  +", line)[2] for line in lines] == [candidate.speaks.api for candidate in gone]


def test_check_lines_name_no_caller_of_a_model_that_answers_no_conversation():
    text = "model_providers: [{model: bedrock/MODEL, aws: {region: us-east-1}}]"
    for model, callers in (("amazon.titan-embed-text-v2:0", "none, as it answers no conversation"), ("amazon.nova-pro-v1:0", "chat (")):
        (line,) = check_lines(conf.loads(text.replace("MODEL", model), environ={}))
        assert line.partition("callers: ")[2].startswith(callers)


def test_check_lines_tell_why_several_candidates_stand_in_their_order():
    config = conf.loads(
        textwrap.dedent(
            """
            model_providers:
              - {model: openai/a, access_key: k, retry_policy: {fallback_models: [groq/b]}}
              - {model: groq/b, access_key: k}
            """
        ),
        environ={},
    )
    assert check_lines(config)[-3:] == [
        "openai/a goes to",
        "  1. openai/a: chat_completions https://api.openai.com/v1/chat/completions; declared by this name; "
        "it serves chat_completions, nothing is translated; key set",
        "  2. groq/b: chat_completions https://api.groq.com/openai/v1/chat/completions; fallback of openai/a, declared by this name; "
        "it serves chat_completions, nothing is translated; key set",
    ]


def test_the_demo_is_built_in():
    served = Router(conf.zero({}))
    candidate = served.candidates("messages", "demo/echo").candidates[0]
    assert candidate.built_in
    assert candidate.model == "echo"
    assert candidate.headers("mine") == {}
    assert not MOCK.candidates("chat", "o3").candidates[0].built_in


@pytest.mark.parametrize("name", ["flash/../ultra", "..", ".", "../../cachedContents", "flash/./ultra", "a/.."])
@pytest.mark.parametrize("provider", ["gemini", "openai", "vertex"])
def test_no_name_leads_to_another_place(provider, name):
    """Where an API has the model in the path, a server would make another model of it than the one that the key may use."""
    entry = "vertex/*, gcp: {project: p, location: l}" if provider == "vertex" else f"{provider}/*, access_key: k"
    served = router(f"model_providers: [{{model: {entry}}}]")
    for shape in ("chat", "messages", "gemini"):
        with pytest.raises(NoCandidate):
            served.candidates(shape, f"{provider}/{name}")
        assert served.candidates(shape, f"{provider}/a..b/..c").candidates


# ---- cost ----


def test_what_was_met_is_remembered_in_bounds():
    served = router("model_providers: [{model: openai/*}]")
    first = served.candidates("chat", "gpt-first")
    assert served.candidates("chat", "gpt-first") is first
    for number in range(1100):
        served.candidates("chat", f"gpt-{number}")
    assert len(served._met) == 1024
    assert served.candidates("chat", "gpt-1099") is served.candidates("chat", "gpt-1099")


def test_a_look_up_costs_microseconds():
    best = min(timeit.repeat(lambda: MOCK.candidates("messages", "claude-sonnet-4-20250514"), number=2000, repeat=5)) / 2000
    assert best < 5e-6


def test_the_proxy_is_told():
    config = conf.loads("model_providers: [{model: openai/gpt-4o, proxy: 'http://u:S3CRET@proxy.corp:3128'}, {model: demo/*}]", environ={})
    lines = check_lines(config)
    assert "https://api.openai.com/v1/responses via proxy.corp:3128 " in lines[1]
    assert "via" not in lines[2]
    (line,) = Router(config).explain("chat", "openai/gpt-4o")
    assert "https://api.openai.com/v1/chat/completions via proxy.corp:3128; " in line
    assert "S3CRET" not in str([*lines, line])
