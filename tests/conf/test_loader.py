"""Whole configurations: what comes out of good ones, and the place and words of everything that is wrong with bad ones."""

import hashlib
import re
import textwrap

import pytest

from dragoman import conf
from dragoman.conf import model


def loads(text, **environ):
    return conf.loads(textwrap.dedent(text), "c.yaml", environ)


def problems(text, **environ):
    with pytest.raises(conf.ConfigError) as caught:
        loads(text, **environ)
    assert str(caught.value).splitlines() == [str(problem) for problem in caught.value.problems]
    return str(caught.value).splitlines()


# ---- what comes out ----


def test_the_smallest_configuration_has_every_default():
    config = loads("model_providers: [{model: openai/gpt-4o, access_key: literal}]")
    assert config.listeners == (model.Listener("model", "model", "0.0.0.0", 12000, None, None),)
    assert config.state_storage == model.StateStorage("memory", ttl=30 * 86400, max_entries=10_000)
    assert config.limits == model.Limits(64 * 2**20, None, 64 * 2**20, 120)
    assert config.tracing == model.Tracing(None, 100, ())
    assert config.access_keys == ()
    assert config.model_aliases == {}
    assert config.warnings == ()
    (entry,) = config.model_providers
    assert (entry.provider, entry.model_id, entry.name, entry.interface) == ("openai", "gpt-4o", "openai/gpt-4o", "openai")
    assert entry.base_url == "https://api.openai.com/v1"
    assert entry.apis == ("chat_completions", "responses")
    assert (entry.access_key, entry.auth, entry.passthrough_auth, entry.default) == ("literal", "bearer", False, False)
    assert entry.timeouts == model.Timeouts(10, 600, 300)
    assert entry.retry_policy is None
    assert entry.weight is None


def test_every_key_arrives():
    config = loads(
        """
        version: v0.4.0
        listeners:
          - {type: model, name: a, address: 127.0.0.1, port: 8080, timeout: 5m, tls: {cert: c.pem, key: $TLS_KEY}}
          - {type: admin, port: 9000, hosts: [Admin.Example]}
        model_providers:
          - model: my/some/model
            name: mine
            access_key: ${KEY}
            default: true
            base_url: https://host:8443/P/
            http_host: other.example
            provider_interface: mistral
            headers: {X-One: $ONE, x-two: "2"}
            apis: [messages, chat_completions]
            capabilities: {c: {reasoning_in: none}, m.version: 2026-10-21, m.max_output: 1000}
            timeouts: {connect: 200ms, first_byte: 1.5m, idle: 30}
            retry_policy: {max_attempts: 4, on_status_codes: [429, 502-504], backoff: {base: 1s}, fallback_models: [short]}
            weight: 3
        model_aliases: {short: {target: mine}}
        state_storage: {type: postgres, connection_string: "postgres://u:$PW@h/db", ttl: 1h, max_entries: 5}
        access_keys:
          - {key: $TEAM, name: team, models: ["my/*"], requests_per_minute: 5, tokens_per_minute: 6, budget: {usd: 1.5, per: day}}
          - {key_sha256: 2C26B46B68FFC68FF99B453C1D30413413422D706483BFA0F98A5E886266E7AE}
        limits: {max_body: 1kB, max_streams: 7, max_event: 2000, max_answer: 3000, client_stall: 10s, max_bodies: 1MB, max_values: 9}
        tracing: {otlp_endpoint: "http://otel:4318/", random_sampling: 12.5, span_attributes: {header_prefixes: [X-A-]}}
        prices: {"my/*": {input: 1, output: 2}}
        """,
        TLS_KEY="k.pem",
        KEY="sk-1",
        ONE="uno",
        PW="p/w",
        TEAM="caller",
    )
    assert config.version == "v0.4.0"
    assert config.listeners == (
        model.Listener("model", "a", "127.0.0.1", 8080, 300, model.Tls("c.pem", "k.pem")),
        model.Listener("admin", "admin", "127.0.0.1", 9000, hosts=("admin.example",)),
    )
    assert config.model_providers == (
        model.Provider(
            model="my/some/model",
            provider="my",
            model_id="some/model",
            name="mine",
            interface="mistral",
            base_url="https://host:8443/P",
            apis=("messages", "chat_completions"),
            access_key="sk-1",
            headers=(("X-One", "uno"), ("x-two", "2")),
            http_host="other.example",
            default=True,
            apis_in_order=True,
            own_base_url=True,
            capabilities={"c.reasoning_in": "none", "m.version": "2026-10-21", "m.max_output": 1000},
            timeouts=model.Timeouts(0.2, 90, 30),
            retry_policy=model.RetryPolicy(4, frozenset({429, 502, 503, 504}), model.Backoff(1, 5), ("short",)),
            weight=3,
        ),
    )
    assert config.model_aliases == {"short": "mine"}
    assert config.state_storage == model.StateStorage("postgres", connection_string="postgres://u:p/w@h/db", ttl=3600, max_entries=5)
    assert config.access_keys == (
        model.AccessKey(hashlib.sha256(b"caller").hexdigest(), "team", ("my/*",), 5, 6, model.Budget(1.5, "day")),
        model.AccessKey(hashlib.sha256(b"foo").hexdigest(), "key-2c26b46b"),
    )
    assert config.limits == model.Limits(1024, 7, 2000, 10, 2**20, 9, 3000)
    assert config.tracing == model.Tracing("http://otel:4318", 12.5, ("x-a-",))
    assert config.prices[0] == model.Price("my/*", 1, 2, 1, 1)
    assert config.warnings == ()


@pytest.mark.parametrize(
    ("entry", "base_url"),
    [
        ("model: openai/x", "https://api.openai.com/v1"),
        ("model: openai/x, base_url: 'http://h:51001'", "http://h:51001/v1"),
        ("model: openai/x, base_url: 'http://h:51001/'", "http://h:51001/v1"),
        ("model: openai/x, base_url: 'http://h/P'", "http://h/P"),
        ("model: openai/x, base_url: 'http://h/P//'", "http://h/P"),
        ("model: groq/x", "https://api.groq.com/openai/v1"),
        ("model: groq/x, base_url: 'https://mirror'", "https://mirror/openai/v1"),
        ("model: gemini/x, base_url: 'https://mirror/v1'", "https://mirror/v1"),
        ("model: azure_openai/x, base_url: 'https://n.openai.azure.com'", "https://n.openai.azure.com/openai/v1"),
        ("model: new/x, base_url: 'http://[::1]:8000'", "http://[::1]:8000/v1"),
        ("model: new/x, provider_interface: gemini, base_url: 'http://h'", "http://h/v1beta/openai"),
        ("model: new/x, provider_interface: xai", "https://api.x.ai/v1"),
        ("model: openai/x, base_url: 'http://${HOST:-localhost}:51001'", "http://localhost:51001/v1"),
        ("model: openai/x, base_url: 'http://${NAME:-localhost}:51001'", "http://named:51001/v1"),
        ("model: openai/x, base_url: $URL", "http://from.env/v1"),
    ],
)
def test_base_url(entry, base_url):
    config = loads(f"model_providers: [{{{entry}}}]", NAME="named", URL="http://from.env", HOST="")
    assert config.model_providers[0].base_url == base_url


@pytest.mark.parametrize(
    ("entry", "apis"),
    [
        ("model: openai/x", "chat_completions responses"),
        ("model: xai/x", "chat_completions responses"),
        ("model: openai/x, base_url: 'http://h'", "chat_completions responses"),
        ("model: anthropic/x", "messages"),
        ("model: anthropic/x, base_url: 'http://h'", "messages chat_completions"),
        ("model: anthropic/x, base_url: 'http://h', apis: [messages]", "messages"),
        ("model: groq/x", "chat_completions"),
        ("model: new/x, base_url: 'http://h'", "chat_completions"),
        ("model: new/x, base_url: 'http://h', provider_interface: openai", "chat_completions"),
        ("model: new/x, base_url: 'http://h', provider_interface: anthropic", "messages"),
        ("model: new/x, base_url: 'http://h', provider_interface: claude", "messages"),
    ],
)
def test_apis_by_default(entry, apis):
    (found,) = loads(f"model_providers: [{{{entry}}}]").model_providers
    assert found.apis == tuple(apis.split())
    assert found.apis_in_order == ("apis:" in entry)


def test_a_key_that_is_not_set_is_a_warning_and_its_name_is_kept():
    config = loads("model_providers: [{model: openai/x, access_key: $NOPE}, {model: openai/y, access_key: '${EMPTY}'}]", EMPTY="")
    assert [(e.access_key, e.access_key_missing) for e in config.model_providers] == [(None, "NOPE"), (None, "EMPTY")]
    assert config.warnings == (
        "c.yaml:1:49: model_providers[0].access_key: $NOPE is not set; requests for openai/x will be refused with 502",
        "c.yaml:1:87: model_providers[1].access_key: $EMPTY is not set; requests for openai/y will be refused with 502",
    )


def test_credentials_that_make_no_sense_are_warnings():
    config = loads(
        """
        model_providers:
          - {model: openai/a}
          - {model: openai/b, access_key: k, passthrough_auth: true}
          - {model: openai/c, base_url: "http://h"}
          - {model: ollama/d}
          - {model: openai/e, headers: {authorization: Basic x}}
        access_keys: [{key: secret-caller}]
        """
    )
    assert config.warnings == (
        "c.yaml:3:5: model_providers[0].access_key: is missing, and openai requires one (usually $OPENAI_API_KEY)",
        "c.yaml:4:35: model_providers[1].access_key: is not used: passthrough_auth sends the caller's own credential",
        "c.yaml:4:5: model_providers[1]: passthrough_auth sends access_keys that do not come in x-dragoman-key to openai/b",
    )


PRICED = """
model_providers:
  - {model: demo/*}
  - {model: openai/gpt-5-mini, access_key: k}
  - {model: openai/unheard-of, access_key: k, name: mine}
  - {model: groq/*, access_key: k}
  - {model: xai/*, access_key: k}
  - {model: ollama/priced}
prices: {"xai/*": {input: 1, output: 1}, "ollama/priced": {input: 0, output: 0}}
access_keys:
  - {key: a, name: counted, models: MODELS, budget: {usd: 1, per: day, unpriced: UNPRICED}}
  - {key: b, name: free}
"""


@pytest.mark.parametrize(
    ("models", "unpriced", "named"),
    [
        ('["*"]', "allow", "openai/unheard-of, groq/* (models without a price of their own)"),
        ("[mine, gpt-5-mini]", "allow", "openai/unheard-of, groq/* (models without a price of their own)"),
        ("[gpt-5-mini]", "allow", "groq/* (models without a price of their own)"),
        ('["*"]', "refuse", None),
    ],
)
def test_what_no_budget_counts_is_said(models, unpriced, named):
    found = loads(PRICED.replace("MODELS", models).replace("UNPRICED", unpriced)).warnings
    expected = f"budgets of access_keys do not count models without a price: {named}; `unpriced: refuse` refuses them"
    place = r"c\.yaml:11:[1-9]\d: access_keys\[0\]\.budget: "
    assert len(found) == (named is not None)
    assert not found or re.fullmatch(place + re.escape(expected), found[0])


@pytest.mark.parametrize("models", ["[fast]", "[priced]", "[first]"])
def test_what_no_budget_counts_is_said_of_models_behind_other_names(models):
    """An alias, and those that stand in for a model."""
    config = loads(
        f"""
        model_providers:
          - {{model: local/unheard-of, base_url: "http://h/v1"}}
          - {{model: openai/gpt-5-mini, access_key: k, name: priced, retry_policy: {{on_refusal: [fast]}}}}
          - {{model: openai/gpt-5, access_key: k, name: first, retry_policy: {{fallback_models: [priced]}}}}
        model_aliases: {{fast: {{target: local/unheard-of}}}}
        access_keys: [{{key: a, models: {models}, budget: {{usd: 1}}}}]
        """
    )
    assert [warning.partition("; ")[0].rpartition(": ")[2] for warning in config.warnings] == ["local/unheard-of"]


def test_a_key_without_a_name_is_called_by_its_hash_wherever_it_stands():
    before = loads(GOOD + "access_keys: [{key: other}, {key: foo}]").access_keys
    after = loads(GOOD + "access_keys: [{key: foo}]").access_keys
    assert before[1] == after[0]
    assert after[0].name == f"key-{FOO[:8]}"


def test_nothing_secret_in_repr():
    config = loads(
        """
        model_providers: [{model: openai/x, access_key: S3CRET, headers: {x-a: S3CRET}}]
        access_keys: [{key: S3CRET}]
        state_storage: {type: redis, url: "redis://:S3CRET@h"}
        """
    )
    digest = hashlib.sha256(b"S3CRET").hexdigest()
    assert "S3CRET" not in repr(config)
    assert digest not in repr(config)
    assert config.access_keys[0].key_sha256 == digest
    assert config.state_storage.url == "redis://:S3CRET@h"


def test_a_plano_configuration_starts_with_one_warning():
    config = loads(
        """
        version: v0.4.0
        agents: [{id: a, url: "http://localhost:1"}]
        filters: [{id: f, url: "http://localhost:2"}]
        listeners:
          - {type: agent, name: travel, port: 8001, router: plano_orchestrator_v1, agents: [{id: a, description: d}]}
          - {type: model, name: model_1, port: 12000, timeout: 30s, max_retries: 3, input_filters: [f], output_filters: [f]}
          - {type: prompt, name: prompts, port: 10000}
        model_providers:
          - model: openai/gpt-4o
            access_key: key
            default: true
            routing_preferences: [{name: n, description: d}]
        model_aliases: {fast-llm: {target: gpt-4o}}
        routing_preferences: [{name: n, description: d, models: [openai/gpt-4o]}]
        model_metrics_sources: []
        endpoints: {app: {endpoint: "127.0.0.1:80"}}
        ratelimits: []
        overrides: {optimize_context_window: true}
        routing: {session_ttl_seconds: 600}
        mode: llm
        system_prompt: s
        prompt_guards: {}
        prompt_targets: []
        state_storage: {type: memory}
        tracing:
          random_sampling: 100
          trace_arch_internal: false
          opentracing_grpc_endpoint: "http://localhost:4317"
          span_attributes: {header_prefixes: [x-user-], static: {a: b}}
          exporters: []
        """
    )
    assert config.listeners == (model.Listener("model", "model_1", "0.0.0.0", 12000, 30),)
    (warning,) = config.warnings
    assert warning == (
        "c.yaml:3:1: ignored, not supported by Dragoman: agents (line 3), filters (line 4), listeners[0] (line 6), "
        "listeners[0].router (line 6), listeners[0].agents (line 6), listeners[1].max_retries (line 7), "
        "listeners[1].input_filters (line 7), listeners[1].output_filters (line 7), listeners[2] (line 8), "
        "model_providers[0].routing_preferences (line 13), "
        "routing_preferences (line 15), model_metrics_sources (line 16), endpoints (line 17), ratelimits (line 18), overrides (line 19), "
        "routing.session_ttl_seconds (line 20), mode (line 21), system_prompt (line 22), prompt_guards (line 23), "
        "prompt_targets (line 24), tracing.trace_arch_internal (line 28), tracing.opentracing_grpc_endpoint (line 29), "
        "tracing.span_attributes.static (line 30), tracing.exporters (line 31)"
    )


def test_old_names_are_read_and_told_in_their_own_words():
    config = loads(
        """
        version: v0.1
        listeners:
          ingress_traffic: {address: 0.0.0.0, port: 10000}
          egress_traffic: {address: 127.0.0.1, port: 12345, message_format: openai, timeout: 30s}
        llm_providers: [{model: openai/gpt-4o, access_key: $NOPE}]
        state_storage_v1_responses: {type: memory}
        """
    )
    assert config.listeners == (model.Listener("model", "egress_traffic", "127.0.0.1", 12345, 30),)
    assert config.warnings == (
        "c.yaml:4:3: ignored, not supported by Dragoman: listeners.ingress_traffic (line 4), "
        "listeners.egress_traffic.message_format (line 5)",
        "c.yaml:6:52: llm_providers[0].access_key: $NOPE is not set; requests for openai/gpt-4o will be refused with 502",
    )
    assert problems(
        """\
        listeners:
          egress_traffic: {port: x}
        llm_providers: [{model: openai/gpt-4o, weigth: 1}]
        """
    ) == [
        "c.yaml:2:26: listeners.egress_traffic.port: must be a whole number",
        "c.yaml:3:40: llm_providers[0].weigth: unknown key; the nearest known one is weight",
    ]


def test_an_admin_listener_alone_leaves_the_model_listener():
    config = loads("{listeners: [{type: admin}], model_providers: [{model: demo/*}]}")
    assert config.listeners == (model.Listener(), model.Listener("admin", "admin", "127.0.0.1", 12001))


def test_zero_configuration():
    config = conf.zero({"OPENAI_API_KEY": "sk-o", "GROQ_API_KEY": "", "TOGETHER_API_KEY": "t", "UNRELATED": "x"})
    assert [(e.model, e.access_key) for e in config.model_providers] == [
        ("openai/*", "sk-o"),
        ("together/*", "t"),
        ("demo/*", None),
    ]
    assert config.warnings == ()
    names = ["OPENAI", "ANTHROPIC", "GEMINI", "GROQ", "MISTRAL", "DEEPSEEK", "XAI", "OPENROUTER", "TOGETHER"]
    everything = conf.zero({f"{name}_API_KEY": "k" for name in names})
    assert [e.model for e in everything.model_providers] == [*(f"{name.lower()}/*" for name in names), "demo/*"]
    assert [e.model for e in conf.zero({}).model_providers] == ["demo/*"]


# ---- what is wrong ----

GOOD = "model_providers: [{model: openai/gpt-4o}]\n"
FOO = hashlib.sha256(b"foo").hexdigest()
STATUS = "must be an HTTP status of 400 to 599, or a range such as 502-504"
EFFORTS = "must be a list of none, minimal, low, medium, high, xhigh, max"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        # the file
        ("", ["1:1: model_providers: is missing"]),
        ("- a\n", ["1:1: must be a mapping of keys to values"]),
        ("a: b: c\n", ["1:5: not valid YAML: mapping values are not allowed here"]),
        ("a: [1\nb: 2\n", ["2:2: not valid YAML: expected ',' or ']', but got ':'"]),
        ("a: *nobody\n", ["1:4: not valid YAML: found undefined alias 'nobody'"]),
        (
            "a: !!python/name:os.system x\n",
            ["1:4: not valid YAML: could not determine a constructor for the tag 'tag:yaml.org,2002:python/name:os.system'"],
        ),
        (f"a: {'[' * 2000}\n", ["1:1: not valid YAML: nested too deeply"]),
        ("--- {}\n--- {}\n", ["2:1: not valid YAML: but found another document"]),
        ("a: \x01\n", ["1:1: not valid YAML: it contains characters that YAML does not allow"]),
        # keys
        (GOOD + "listenrs: []\n", ["2:1: listenrs: unknown key; the nearest known one is listeners"]),
        (GOOD + "limits: {max_boddy: 3}\n", ["2:10: limits.max_boddy: unknown key; the nearest known one is max_body"]),
        (GOOD + "limits: {max_body: 3, max_body: 4}\n", ["2:23: limits.max_body: duplicate key: first used in line 2"]),
        (
            GOOD + "limits: {max_body: 2MB, max_bodies: 1MB}\n",
            ["2:37: limits.max_bodies: must be at least limits.max_body: no body of that size would ever be accepted"],
        ),
        (GOOD + "1.5: 3\n", ["2:1: 1.5: a key must be text: put quotes around it"]),
        (GOOD + "limits: 5\n", ["2:9: limits: must be a mapping of keys to values"]),
        (GOOD + "listeners: {}\n", ["2:1: listeners: must be a list"]),
        (GOOD + "listeners: {port: 3}\n", ["2:1: listeners: must be a list"]),
        (
            GOOD + "listeners: {egress_traffic: 3, mine: {port: 1}}\n",
            [
                "2:29: listeners.egress_traffic: must be a mapping of keys to values",
                "2:32: listeners.mine: cannot be combined with the old form of listeners",
            ],
        ),
        (GOOD + "llm_providers: []\n", ["2:1: llm_providers: is the old name of model_providers, which is also present"]),
        # types
        (GOOD + "version: 0.3\n", ["2:10: version: must be one of v0.1, v0.1.0, 0.1-beta, 0.2.0, v0.2.0, v0.3.0, v0.4.0"]),
        (GOOD + "version: v9\n", ["2:10: version: must be one of v0.1, v0.1.0, 0.1-beta, 0.2.0, v0.2.0, v0.3.0, v0.4.0"]),
        (GOOD + "listeners: [{port: '80'}]\n", ["2:20: listeners[0].port: must be a whole number"]),
        (GOOD + "listeners: [{port: 80.0}]\n", ["2:20: listeners[0].port: must be a whole number"]),
        (GOOD + "listeners: [{port: true}]\n", ["2:20: listeners[0].port: must be a whole number"]),
        (GOOD + "listeners: [{port: 65536}]\n", ["2:20: listeners[0].port: must be from 0 to 65535"]),
        (GOOD + "listeners: [{type: web}]\n", ["2:20: listeners[0].type: must be one of model, admin, agent, prompt"]),
        (GOOD + "listeners: [{type: [model]}]\n", ["2:14: listeners[0].type: must be one of model, admin, agent, prompt"]),
        (GOOD + "listeners: [3, ]\n", ["2:13: listeners[0]: must be a mapping of keys to values"]),
        (GOOD + "listeners: [~]\n", ["2:13: listeners[0]: is empty"]),
        (GOOD + "listeners: [{name: 7}]\n", ["2:20: listeners[0].name: must be text (quotes make a number text)"]),
        (GOOD + "listeners: [{tls: {cert: a}}]\n", ["2:19: listeners[0].tls.key: is missing"]),
        (
            GOOD + "limits: {client_stall: soon}\n",
            ["2:24: limits.client_stall: must be a time such as 200ms, 10s, 5m, 2h or 30d (a bare number is seconds)"],
        ),
        (
            GOOD + "limits: {max_body: 64XB}\n",
            ["2:20: limits.max_body: must be a size such as 512kB, 64MB or 1GB (a bare number is bytes)"],
        ),
        (GOOD + "tracing: {random_sampling: 101}\n", ["2:28: tracing.random_sampling: must be from 0 to 100"]),
        (GOOD + "tracing: {otlp_endpoint: $NOPE}\n", ["2:26: tracing.otlp_endpoint: the environment variable NOPE is not set"]),
        # providers
        ("model_providers: []\n", ["1:18: model_providers: must name at least one model"]),
        ("model_providers: [{name: x}]\n", ["1:19: model_providers[0].model: is missing"]),
        ("model_providers: [{model: gpt-4o}]\n", ["1:27: model_providers[0].model: must be provider/model or provider/*"]),
        ("model_providers: [{model: openai/gpt-*}]\n", ["1:27: model_providers[0].model: the only wildcard is provider/*"]),
        (
            "model_providers: [{model: demo/foo}]\n",
            ["1:27: model_providers[0].model: demo has only echo, tool, think, slow, error"],
        ),
        (
            "model_providers: [{model: demo/echo, base_url: 'http://h'}]\n",
            ["1:48: model_providers[0].base_url: demo is built in and takes no base_url"],
        ),
        (
            "model_providers: [{model: azure_openai/x}]\n",
            ["1:27: model_providers[0].model: azure_openai needs a base_url: it has no address of its own"],
        ),
        (
            "model_providers: [{model: openai/a, default: true}, {model: openai/b, default: true}]\n",
            ["1:80: model_providers[1].default: only one entry can be the default: model_providers[0] is"],
        ),
        (
            "model_providers: [{model: openai/*, default: true}]\n",
            ["1:46: model_providers[0].default: a wildcard cannot be the default: it names no model"],
        ),
        ("model_providers: [{model: openai/a, default: 1}]\n", ["1:46: model_providers[0].default: must be true or false"]),
        (
            "model_providers: [{model: openai/a, base_url: 'ftp://h'}]\n",
            ["1:47: model_providers[0].base_url: must begin with http:// or https://"],
        ),
        (
            "model_providers: [{model: openai/a, base_url: 'http://u:S3CRET@h'}]\n",
            ["1:47: model_providers[0].base_url: must not contain a user name or password: use access_key or headers"],
        ),
        (
            "model_providers: [{model: openai/a, base_url: 'http://h:99999'}]\n",
            ["1:47: model_providers[0].base_url: is not a URL"],
        ),
        ("model_providers: [{model: openai/a, base_url: 'http://'}]\n", ["1:47: model_providers[0].base_url: is not a URL"]),
        (
            "model_providers: [{model: openai/a, base_url: 'http://h?k=S3CRET'}]\n",
            ["1:47: model_providers[0].base_url: must end with the path: no ? and no #"],
        ),
        (
            'model_providers: [{model: openai/a, access_key: "S3CRET\\r\\nx: y"}]\n',
            ["1:49: model_providers[0].access_key: must be printable ASCII: it goes into an HTTP header"],
        ),
        (
            "model_providers: [{model: openai/a, http_host: 'a b'}]\n",
            ["1:48: model_providers[0].http_host: must be a host, with or without a port"],
        ),
        (
            "model_providers: [{model: openai/a, headers: {x-a: $NOPE, 'b c': d, host: e, x-f: 1}}]\n",
            [
                "1:52: model_providers[0].headers.x-a: the environment variable NOPE is not set",
                "1:66: model_providers[0].headers.b c: is not the name of an HTTP header",
                "1:75: model_providers[0].headers.host: is set by the gateway itself: use http_host",
                "1:83: model_providers[0].headers.x-f: must be text (quotes make a number text)",
            ],
        ),
        (
            "model_providers: [{model: openai/a, apis: [chat]}]\n",
            ["1:44: model_providers[0].apis[0]: must be one of chat_completions, messages, responses, gemini, converse"],
        ),
        (
            "model_providers: [{model: openai/a, apis: [messages, messages]}, {model: openai/b, apis: []}]\n",
            ["1:54: model_providers[0].apis[1]: is listed twice", "1:90: model_providers[1].apis: must name at least one API"],
        ),
        (
            "model_providers: [{model: openai/a, capabilities: {c: {reasonin_in: none}, m.thinking: yes, r.summaries: maybe}}]\n",
            [
                "1:56: model_providers[0].capabilities.c.reasonin_in: unknown key; the nearest known one is c.reasoning_in",
                "1:88: model_providers[0].capabilities.m.thinking: must be one of none, manual, both, adaptive, adaptive_always",
                "1:106: model_providers[0].capabilities.r.summaries: must be true or false",
            ],
        ),
        (
            "model_providers: [{model: openai/a, capabilities: {c.effort_values: [low, extreme]}}]\n",
            ["1:52: model_providers[0].capabilities.c.effort_values: " + EFFORTS],
        ),
        (
            "model_providers: [{model: openai/a, retry_policy: {on_status_codes: [200, 504-502], max_attempts: 0}}]\n",
            [
                "1:70: model_providers[0].retry_policy.on_status_codes[0]: " + STATUS,
                "1:75: model_providers[0].retry_policy.on_status_codes[1]: " + STATUS,
                "1:99: model_providers[0].retry_policy.max_attempts: must be from 1 to 20",
            ],
        ),
        (
            "model_providers: [{model: openai/a, retry_policy: {fallback_models: [openai/b]}}]\n",
            ["1:70: model_providers[0].retry_policy.fallback_models[0]: is not a declared model or alias"],
        ),
        (
            "model_providers: [{model: openai/a, timeouts: {conect: 1s}, weight: 0}]\n",
            [
                "1:48: model_providers[0].timeouts.conect: unknown key; the nearest known one is connect",
                "1:69: model_providers[0].weight: must be from 1 to 1000000",
            ],
        ),
        # across sections
        (GOOD + "model_aliases: {a: {target: nope}}\n", ["2:29: model_aliases.a.target: is not a declared model"]),
        (
            GOOD + "model_aliases: {a: {target: gpt-4o}, b: {target: a}}\n",
            ["2:50: model_aliases.b.target: is not a declared model"],
        ),
        (
            GOOD + "model_aliases: {value: {tarGet: gpt-4o}}\n",
            [
                "2:24: model_aliases.value.target: is missing",
                "2:25: model_aliases.value.tarGet: unknown key; the nearest known one is target",
            ],
        ),
        (
            GOOD + "model_aliases: {openai/gpt-4o: {target: gpt-4o}}\n",
            ["2:32: model_aliases.openai/gpt-4o: a declared model has this name: the alias would never be used"],
        ),
        (GOOD + "listeners: [{}, {port: 12000}]\n", ["2:24: listeners[1].port: listeners[0] has port 12000 already"]),
        (GOOD + "listeners: [{port: 12001}, {type: admin}]\n", ["2:28: listeners[1].port: listeners[0] has port 12001 already"]),
        (
            GOOD + "state_storage: {type: postgres}\n",
            ["2:16: state_storage.connection_string: is missing: type postgres needs it"],
        ),
        (GOOD + "state_storage: {path: x}\n", ["2:23: state_storage.path: belongs to type sqlite"]),
        (GOOD + "state_storage: {type: mysql}\n", ["2:23: state_storage.type: must be one of memory, sqlite, postgres, redis"]),
        *(
            (GOOD + f"listeners: [{{hosts: [{host}]}}]\n", [f"2:22: listeners[0].hosts[0]: {message}"])
            for host, message in (
                ("'http://a'", "must be the name of a host, without a scheme, a port or a path"),
                ("'a:1'", "must be the name of a host, without a scheme, a port or a path"),
                ("a/b", "must be the name of a host, without a scheme, a port or a path"),
                ("'*'", "must be the name of a host, without a scheme, a port or a path"),
            )
        ),
        (GOOD + "access_keys: []\n", ["2:14: access_keys: must not be empty: remove the section to accept every caller"]),
        (GOOD + "access_keys:\n# - key: $KEY\n", ["2:13: access_keys: must not be empty: remove the section to accept every caller"]),
        (GOOD + "allow_from:\n", ["2:12: allow_from: must not be empty: remove it to allow every address"]),
        (
            GOOD + "listeners: [{allow_from: }]\naccess_keys: [{key: a, allow_from: ~}]\n",
            [
                "2:25: listeners[0].allow_from: must not be empty: remove it to allow every address",
                "3:36: access_keys[0].allow_from: must not be empty: remove it to allow every address",
            ],
        ),
        (GOOD + "access_keys: [{name: a}]\n", ["2:15: access_keys[0]: needs either key or key_sha256"]),
        (GOOD + "access_keys: [{key: a}, {key: a}]\n", ["2:31: access_keys[1].key: access_keys[0] has the same value"]),
        (GOOD + "access_keys: [{key: a, name: n}, {key: b, name: n}]\n", ["2:49: access_keys[1].name: access_keys[0] has the same value"]),
        (
            GOOD + f"access_keys: [{{key: foo}}, {{key: b, name: key-{FOO[:8]}}}]\n",
            ["2:42: access_keys[1].name: access_keys[0] has the same value"],
        ),
        (
            GOOD + f"access_keys: [{{key: b, name: key-{FOO[:8]}}}, {{key: foo}}]\n",
            ["2:45: access_keys[1].name: access_keys[0] has the same value"],
        ),
        (
            GOOD + f"access_keys: [{{key: foo, name: a}}, {{key_sha256: {FOO}, name: b}}]\n",
            ["2:49: access_keys[1].key_sha256: access_keys[0] has the same value"],
        ),
        (
            GOOD + "access_keys: [{key: foo, name: a}, {key: '${UNSET:-foo}', name: b}]\n",
            ["2:42: access_keys[1].key: access_keys[0] has the same value"],
        ),
        (GOOD + "access_keys: [{key: $NOPE}]\n", ["2:21: access_keys[0].key: the environment variable NOPE is not set"]),
        (
            GOOD + "access_keys: [{key_sha256: abc}]\n",
            ["2:28: access_keys[0].key_sha256: must be the 64 hexadecimal digits of a SHA-256"],
        ),
        (GOOD + "access_keys: [{key: a, budget: {per: day}}]\n", ["2:32: access_keys[0].budget.usd: is missing"]),
        (
            GOOD + "prices: {a: {input: -1, output: free}}\n",
            ["2:21: prices.a.input: must be from 0 to 1e+06", "2:33: prices.a.output: must be a number"],
        ),
        (GOOD + "prices: {value: {input: 1}}\n", ["2:17: prices.value.output: is missing"]),
        (
            GOOD + "prices: {a: {input: 1, output: 1, service_tiers: {flexible: {input: 1, output: 1}, flex: {input: 1}}}}\n",
            [
                "2:51: prices.a.service_tiers.flexible: must be one of flex, priority, scale, reserved, fast, ultrafast",
                "2:90: prices.a.service_tiers.flex.output: is missing",
            ],
        ),
    ],
)
def test_problems(text, expected):
    found = problems(text)
    assert not [line for line in found if "S3CRET" in line]
    assert found == [f"c.yaml:{line}" for line in expected]


def test_an_unknown_provider_is_told_the_known_ones():
    (line,) = problems("model_providers: [{model: opnai/gpt-4o}]")
    assert line.startswith(
        "c.yaml:1:27: model_providers[0].model: unknown provider: give it a base_url or a provider_interface; known are "
    )
    assert "openai, anthropic" in line
    (line,) = problems("model_providers: [{model: a/b, base_url: 'http://h', provider_interface: opnai}]")
    assert line.startswith("c.yaml:1:74: model_providers[0].provider_interface: unknown; known are openai, ")


def test_everything_is_told_at_once_in_the_order_of_the_file():
    lines = problems(
        """\
        listeners:
          - port: "80"
            naem: x
        model_providers:
          - model: openai/a
            default: true
            timeouts:
              connect: never
          - model: nowhere/b
            default: true
        model_aliases:
          a:
            target: c
        bogus: 1
        """
    )
    assert [line.split(": ")[0:2] for line in lines] == [
        ["c.yaml:2:11", "listeners[0].port"],
        ["c.yaml:3:5", "listeners[0].naem"],
        ["c.yaml:8:16", "model_providers[0].timeouts.connect"],
        ["c.yaml:9:12", "model_providers[1].model"],
        ["c.yaml:10:14", "model_providers[1].default"],
        ["c.yaml:13:13", "model_aliases.a.target"],
        ["c.yaml:14:1", "bogus"],
    ]


def test_a_file_is_read_and_named(tmp_path):
    good = tmp_path / "good.yaml"
    good.write_bytes(b"\xef\xbb\xbfmodel_providers: [{model: demo/*}]\n")
    assert conf.load(good, {}).model_providers[0].model == "demo/*"
    for content, line in ((b"\xff\xfe\x00", "1:1: is not UTF-8 text"), (b"a: 1", "1:1: model_providers: is missing")):
        bad = tmp_path / "bad.yaml"
        bad.write_bytes(content)
        with pytest.raises(conf.ConfigError, match=re.escape(f"{bad}:{line}")):
            conf.load(bad, {})
    with pytest.raises(conf.ConfigError, match=r"nothing\.yaml:1:1: cannot be read: No such file or directory"):
        conf.load(tmp_path / "nothing.yaml", {})
    with pytest.raises(conf.ConfigError, match="cannot be read"):
        conf.load(tmp_path, {})


def test_the_environment_of_the_process_is_the_default(monkeypatch):
    monkeypatch.setenv("SOME_TEST_KEY", "k")
    assert conf.loads("model_providers: [{model: openai/a, access_key: $SOME_TEST_KEY}]").model_providers[0].access_key == "k"
