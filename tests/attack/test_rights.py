"""A caller with a key that wants more than its key allows: other models, another key's rights, an unpriced model, others' responses."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import orjson
import pytest

from ..conftest import Running, Start
from ..gateway.spoken import ASKED, PATHS, SHAPES, SPEECH
from ..gateway.wire import Answer, ask, request
from ..scripted import Provider, Request, Steps, respond

CONFIG = """
listeners: [{type: model, address: 127.0.0.1, port: PORT}]
model_providers:
  - {model: chat/*, base_url: "UPSTREAM/v1", access_key: sk-upstream, apis: [chat_completions]}
  - {model: messages/*, base_url: "UPSTREAM/v1", access_key: sk-upstream, apis: [messages]}
  - {model: responses/*, base_url: "UPSTREAM/v1", access_key: sk-upstream, apis: [responses]}
  - {model: openai/priced, base_url: "UPSTREAM/v1", access_key: sk-upstream}
  - {model: openai/unpriced, base_url: "UPSTREAM/v1", access_key: sk-upstream}
model_aliases: {disguise: {target: openai/priced}}
prices: {priced: {input: 1, output: 1}}
access_keys:
  - {key: free, name: free}
  - {key: narrow, name: narrow, models: ["cheap*", disguise]}
  - {key: counted, name: counted, budget: {usd: 1, per: month, unpriced: refuse}}
  - {key: nameless-one, models: [cheap]}
  - {key: nameless-two, models: [dear]}
"""


def answer(request: Request) -> Steps:
    path = request.target.partition("?")[0]
    for shape, own in PATHS.items():
        if path == own:
            return [respond(SPEECH[shape].whole)]
    return [respond({"object": "list", "data": [], "model": "m", "usage": {"prompt_tokens": 1, "total_tokens": 1}})]


@pytest.fixture(scope="module")
def provider() -> Iterator[Provider]:
    with Provider(answer) as provider:
        yield provider


@pytest.fixture(scope="module")
def gateway(start_session: Start, provider: Provider) -> Running:
    return start_session(CONFIG.replace("UPSTREAM", provider.url))


@pytest.fixture
def sent(provider: Provider) -> Any:
    """How many requests came to the provider since the test began."""
    before = len(provider.requests)
    return lambda: len(provider.requests) - before


def call(gateway: Running, key: str, body: bytes, path: str) -> Answer:
    return ask(gateway.port, request(path, body, authorization=f"Bearer {key}"))


def body_of(shape: str, model: str, extra: bytes = b"") -> bytes:
    """A good body; extra: members in bytes, with a comma before them."""
    return orjson.dumps({"model": model, **ASKED[shape]})[:-1] + extra + b"}"


FOREIGN = [
    b',"models":["dear"]',
    b',"models":["cheap","dear"]',
    b',"models":"dear"',
    b',"route":"fallback"',
    b',"preset":"dear"',
    b',"fallbacks":"default"',
    b',"fallbacks":[{"model":"dear"}]',
    b',"fallbacks":["dear"]',
    b',"fallback_models":["dear"]',
    b',"moderation":{"model":"dear"}',
    b',"plugins":[{"id":"fusion","analysis_models":["dear"]}]',
    b',"tools":[{"type":"image_generation","model":"dear"}]',
    b',"tools":[{"type":"advisor_20260301","name":"advisor","model":"dear"}]',
    b',"models":["disguise"]',  # an alias here, perhaps another model there
]
TWO_READERS = [
    b',"Model":"dear"',
    b',"MODEL":"dear"',
    b',"model":"dear"',
    rb',"\u004dodel":"dear"',
    rb',"mode\u006c":"dear"',
    b',"models":["cheap"],"models":["dear"]',
    b',"models":["cheap"],"Models":["dear"]',
    ',"model\u017f":["dear"]'.encode(),
    b',"tools":[{"type":"image_generation","model":"cheap","model":"dear"}]',
    b',"tools":[{"type":"image_generation","model":"dear"}],"tools":[]',
    b',"tools":[{"type":"image_generation","Model":"dear"}]',
]


@pytest.mark.parametrize("extra", FOREIGN)
@pytest.mark.parametrize("shape", SHAPES)
def test_another_model_beside_the_allowed_one(gateway: Running, sent: Any, shape: str, extra: bytes) -> None:
    refused = call(gateway, "narrow", body_of(shape, f"{shape}/cheap", extra), PATHS[shape])
    assert refused.status == 403
    assert sent() == 0


@pytest.mark.parametrize("extra", TWO_READERS)
@pytest.mark.parametrize("shape", SHAPES)
def test_a_body_that_two_readers_see_differently(gateway: Running, sent: Any, shape: str, extra: bytes) -> None:
    refused = call(gateway, "narrow", body_of(shape, f"{shape}/cheap", extra), PATHS[shape])
    assert refused.status == 400
    assert sent() == 0


@pytest.mark.parametrize("path", ["/v1/embeddings", "/v1/completions", "/v1/messages/count_tokens", "/v1/responses/input_tokens",
                                  "/v1/responses/compact"])  # fmt: skip
def test_every_operation_asks_the_same(gateway: Running, sent: Any, path: str) -> None:
    shape = "messages" if "messages" in path else "responses" if "responses" in path else "chat"
    for extra, status in ((b',"models":["dear"]', 403), (b',"Model":"dear"', 400), (b',"models":["cheap"],"models":["dear"]', 400)):
        assert call(gateway, "narrow", body_of(shape, f"{shape}/cheap", extra), path).status == status
    assert sent() == 0


@pytest.mark.parametrize("shape", SHAPES)
def test_a_model_in_the_query(gateway: Running, sent: Any, shape: str) -> None:
    for query in ("?model=dear", "?beta=true&MODEL=dear", "?mode%6C=dear"):
        assert call(gateway, "narrow", body_of(shape, f"{shape}/cheap"), PATHS[shape] + query).status == 403
    assert sent() == 0


@pytest.mark.parametrize("shape", SHAPES)
def test_what_is_allowed_goes_up_as_it_is(gateway: Running, provider: Provider, shape: str) -> None:
    for extra in (b',"models":["cheap","cheaper"]', b',"tools":[{"type":"image_generation","model":"cheap-image"}]', b""):
        body = body_of(shape, f"{shape}/cheap", extra)
        assert call(gateway, "narrow", body, PATHS[shape]).status == 200
        assert provider.requests[-1].body == body.replace(f"{shape}/cheap".encode(), b"cheap")
    body = body_of(shape, f"{shape}/cheap", b',"models":["dear"],"fallbacks":"default"')
    assert call(gateway, "free", body, PATHS[shape]).status == 200


def test_only_one_spelling_of_what_is_decided_by(gateway: Running, sent: Any) -> None:
    for extra in (
        b',"previous_response_id":"resp_mine","previous_response_id":"resp_other"',
        b',"Previous_Response_Id":"resp_other"',
        b',"conversation":{"id":"conv_mine","id":"conv_other"}',
        b',"conversation":"conv_mine","conversation":"conv_other"',
        b',"store":false,"store":true',
    ):
        assert call(gateway, "free", body_of("responses", "responses/cheap", extra), PATHS["responses"]).status == 400
    assert sent() == 0


def test_keys_without_names_have_their_own_rights(gateway: Running) -> None:
    def may(key: str, model: str) -> bool:
        return call(gateway, key, body_of("chat", f"chat/{model}"), PATHS["chat"]).status == 200

    assert may("nameless-one", "cheap")
    assert may("nameless-two", "dear")
    assert not may("nameless-one", "dear")
    assert not may("nameless-two", "cheap")


def test_a_response_stays_its_keys_when_another_key_leaves_the_file(start: Start, tmp_path: Any) -> None:
    """By place, the second key would become the first, with what that one has stored."""
    config = f"""
listeners: [{{type: model, address: 127.0.0.1, port: PORT}}]
model_providers: [{{model: demo/*}}]
state_storage: {{type: sqlite, path: {tmp_path}/state.db}}
access_keys: [KEYS{{key: stays}}]
"""
    before = start(config.replace("KEYS", "{key: leaves}, "))
    ids = {}
    for key in ("leaves", "stays"):
        made = call(before, key, b'{"model":"demo/echo","input":"the secret of %b"}' % key.encode(), "/v1/responses")
        ids[key] = made.json["id"]
    before.stop()
    after = start(config.replace("KEYS", ""))
    found = {
        key: ask(after.port, request(f"/v1/responses/{id}", method="GET", authorization="Bearer stays")).status for key, id in ids.items()
    }
    assert found == {"leaves": 404, "stays": 200}


def test_a_budget_that_refuses_what_it_cannot_count(gateway: Running, sent: Any) -> None:
    for path in (PATHS["chat"], "/v1/embeddings"):
        refused = call(gateway, "counted", body_of("chat", "openai/unpriced"), path)
        assert (refused.status, refused.json["error"]["code"]) == (403, "permission_denied")
    assert sent() == 0
    assert call(gateway, "counted", body_of("chat", "openai/priced"), PATHS["chat"]).status == 200
    assert call(gateway, "free", body_of("chat", "openai/unpriced"), PATHS["chat"]).status == 200


TOLD = ["4611686018427387904", "-4611686018427387904", "1e300", "1.5", '"12"', "true", "null", "[]"]


def test_absurd_counts_of_an_upstream_are_settled(start: Start) -> None:
    """Neither a budget that is spent at once nor one that grows, no answer that is lost, no error."""
    usage = b'{"prompt_tokens":N,"completion_tokens":N,"total_tokens":N,"prompt_tokens_details":{"cached_tokens":N}}'
    body = orjson.dumps(SPEECH["chat"].whole | {"usage": None})

    def counted(request: Request) -> Steps:
        told = TOLD[int(request.json["model"])].encode()
        return [respond(body.replace(b'"usage":null', b'"usage":' + usage.replace(b"N", told)), content_type="application/json")]

    limits = "budget: {usd: 100, per: month}, tokens_per_minute: 1000000"
    keys = f"access_keys: [{{key: k, {limits}}}]\nprices: {{'*': {{input: 1000000, output: 1000000}}}}\n"
    config = CONFIG.partition("model_aliases")[0] + keys
    with Provider(counted) as provider:
        running = start(config.replace("UPSTREAM", provider.url))
        for number in range(len(TOLD)):
            for shape in ("chat", "messages", "chat"):
                answered = call(running, "k", body_of(shape, f"chat/{number}"), PATHS[shape])
                assert answered.status == 200
        assert answered.headers["x-ratelimit-remaining-tokens"] == "1000000"
        running.stop()
    log = running.log()
    assert "Traceback" not in log
    lines = [line for line in (orjson.loads(line) for line in log.splitlines() if line.startswith("{")) if "tokens" in line]
    assert [(line["tokens"]["input"], line["tokens"]["output"], line["cost"]) for line in lines] == [(0, 0, 0.0)] * 3 * len(TOLD)


def test_start_says_what_no_budget_counts(start: Start, provider: Provider) -> None:
    running = start(CONFIG.replace("UPSTREAM", provider.url).replace("unpriced: refuse", "unpriced: allow"))
    (line,) = [line for line in running.log().splitlines() if "budgets of access_keys do not count" in line]
    assert "openai/unpriced" in line
    assert "openai/priced" not in line
