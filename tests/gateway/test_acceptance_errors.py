"""Errors in the caller's words, whose fault a refused key is, keys in either header, and lists that both SDKs read (acceptance T39)."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import anthropic
import httpx
import openai
import pytest

from ..scripted import Request, Steps, respond
from .spoken import PATHS, SHAPES
from .stage import ALICE, GOOD, KEY, Stage
from .upstreams import text_answer

ASK: Any = [{"role": "user", "content": "Hi"}]


def of_messages(type: str, message: str) -> Any:
    return {"type": "error", "error": {"type": type, "message": message}, "request_id": "req_up"}


def of_openai(type: str, message: str, code: str) -> Any:
    return {"error": {"message": message, "type": type, "param": None, "code": code}}


@pytest.mark.parametrize("shape", ["chat", "responses"])
def test_T39_an_overloaded_upstream(stage: Stage, shape: str) -> None:
    stage.play([respond(of_messages("overloaded_error", "Overloaded"), 529)])
    with pytest.raises(openai.InternalServerError) as caught:
        ask(stage.oai, shape, "messages/m")
    told = caught.value
    assert (told.status_code, told.type, told.code) == (503, "server_error", "overloaded")
    assert "Overloaded" in told.message


def ask(client: openai.OpenAI, shape: str, model: str) -> None:
    if shape == "chat":
        client.chat.completions.create(model=model, messages=ASK)
    else:
        client.responses.create(model=model, input="Hi")


@pytest.mark.parametrize("shape", ["chat", "responses"])
def test_T39_a_limit_that_is_over_in_90_seconds(stage: Stage, shape: str) -> None:
    def script(request: Request) -> Steps:
        reset = (datetime.now(UTC) + timedelta(seconds=90)).isoformat().replace("+00:00", "Z")
        head = {"retry_after": "90", "anthropic_ratelimit_requests_reset": reset, "anthropic_ratelimit_requests_limit": "50"}
        return [respond(of_messages("rate_limit_error", "Slow down."), 429, **head, anthropic_ratelimit_requests_remaining="0")]

    stage.play(script)
    with pytest.raises(openai.RateLimitError) as caught:
        ask(stage.oai, shape, "messages-own/m")
    headers = caught.value.response.headers
    assert caught.value.code == "rate_limit_exceeded"
    assert headers["x-ratelimit-reset-requests"] == "1m30s"
    assert (headers["x-ratelimit-limit-requests"], headers["x-ratelimit-remaining-requests"]) == ("50", "0")
    assert headers["retry-after"] == "90"


def test_T39_a_caller_whose_own_quota_is_spent(stage: Stage) -> None:
    stage.play([respond(of_openai("insufficient_quota", "You exceeded your quota.", "insufficient_quota"), 429)])
    with pytest.raises(anthropic.APIStatusError) as caught:
        stage.ant.messages.create(model="chat-own/m", max_tokens=10, messages=ASK)
    body: Any = caught.value.body
    assert (caught.value.status_code, body["error"]["type"]) == (402, "billing_error")
    assert body["error"]["message"] == "You exceeded your quota."
    assert caught.value.response.headers["x-should-retry"] == "false"
    assert "retry-after" not in caught.value.response.headers
    assert stage.requests[0].headers["authorization"] == f"Bearer {ALICE}"


@pytest.mark.parametrize("upstream", SHAPES)
@pytest.mark.parametrize("client", SHAPES)
def test_T39_a_key_of_the_operators_that_is_refused(stage: Stage, client: str, upstream: str) -> None:
    secret = f"Incorrect API key provided: {KEY}."
    own = of_messages("authentication_error", secret) if upstream == "messages" else of_openai("x", secret, "invalid_api_key")
    stage.play([respond(own, 401)])
    answer = stage.post(client, {"model": f"{upstream}/m", **GOOD[client]})
    assert answer.status_code == 403  # callers repeat what begins with a 5
    assert answer.headers["x-should-retry"] == "false"
    error = answer.json()["error"]
    assert error["type"] == ("permission_error" if client == "messages" else "invalid_request_error")
    assert client == "messages" or error["code"] == "upstream_auth_failed"
    assert KEY not in answer.text
    assert stage.requests[0].headers["authorization" if upstream != "messages" else _auth(stage)].endswith(KEY)


def _auth(stage: Stage) -> str:
    return "x-api-key" if "x-api-key" in stage.requests[0].headers else "authorization"


KEYS = [{"authorization": f"Bearer {ALICE}"}, {"x-api-key": ALICE}]


@pytest.mark.parametrize("headers", KEYS, ids=["bearer", "x-api-key"])
@pytest.mark.parametrize("shape", SHAPES)
def test_T39_a_key_in_either_header(stage: Stage, shape: str, headers: dict[str, str]) -> None:
    stage.play(text_answer("chat", "ok"))
    asked = {"model": "chat/m", **GOOD[shape]}
    with httpx.Client(base_url=stage.url, headers=headers) as http:
        assert http.post(PATHS[shape], json=asked).status_code == 200
        assert http.get("/v1/models").status_code == 200
    with httpx.Client(base_url=stage.url, headers={name: f"{value}x" for name, value in headers.items()}) as http:
        refused = http.post(PATHS[shape], json=asked)
    assert refused.status_code == 401
    assert refused.headers["x-should-retry"] == "false"
    assert len(stage.requests) == 1
    sent = stage.requests[0].headers
    assert (sent["authorization"], sent.get("x-api-key")) == (f"Bearer {KEY}", None)


def test_T39_the_sdks_both_ways_with_a_key(stage: Stage) -> None:
    """Newer Anthropic SDKs send a key as a bearer token, older ones as x-api-key."""
    stage.play(text_answer("chat", "ok"))
    with anthropic.Anthropic(api_key=None, auth_token=ALICE, base_url=stage.url, max_retries=0) as client:
        assert client.messages.create(model="chat/m", max_tokens=10, messages=ASK).content[0].text == "ok"
    with anthropic.Anthropic(api_key="x", base_url=stage.url, max_retries=0, default_headers={"x-api-key": ALICE}) as client:
        assert client.messages.create(model="chat/m", max_tokens=10, messages=ASK).content[0].text == "ok"


def test_T39_both_sdks_list_the_models(stage: Stage) -> None:
    ids = {"chat/bare-chat", "messages/bare-messages", "responses/bare-responses"}
    listed = list(stage.oai.models.list())
    assert ids <= {model.id for model in listed}
    assert all(model.object == "model" and isinstance(model.created, int) for model in listed)
    page = stage.ant.models.list(limit=2)
    assert (len(page.data), page.has_more, page.data[0].type) == (2, True, "model")
    everything = list(stage.ant.models.list(limit=2))
    assert ids <= {model.id for model in everything}
    assert all(model.created_at.year > 2000 and model.display_name for model in everything)
    assert stage.oai.models.retrieve("chat/bare-chat").id == stage.ant.models.retrieve("chat/bare-chat").id == "chat/bare-chat"
    with pytest.raises(openai.NotFoundError):
        stage.oai.models.retrieve("chat/nobody")
    with pytest.raises(anthropic.NotFoundError):
        stage.ant.models.retrieve("nobody")


def test_T39_tokens_are_estimated_for_an_upstream_that_cannot_count(stage: Stage) -> None:
    stage.play(text_answer("chat", "never asked"))
    told = stage.ant.messages.with_raw_response.count_tokens(
        model="chat/m",
        messages=[{"role": "user", "content": "x" * 350}],
        system="S",
        tools=[{"name": "f", "description": "d" * 35, "input_schema": {"type": "object"}}],
    )
    assert told.headers["x-dragoman-estimate"] == "true"
    assert 110 <= told.parse().input_tokens <= 160
    assert stage.requests == []


READ = ["/healthz", "/openapi.json", "/v1/models", "/v1/models/chat/bare-chat", "/v1beta/models/chat/bare-chat", "/v1/models/chat/nobody"]


@pytest.mark.parametrize("path", [*READ, "/v1/conversations/CONVERSATION", "/v1/conversations/CONVERSATION/items", "/v1/responses/STORED"])
def test_a_head_is_that_of_the_answer_to_a_get(stage: Stage, path: str) -> None:
    stage.play(text_answer("chat", "ok"))
    path = path.replace("CONVERSATION", stage.oai.conversations.create().id)
    path = path.replace("STORED", stage.oai.responses.create(model="chat/m", input="Hi").id)
    asked = {"x-request-id": "req_1"}
    head, whole = (stage.http.request(method, path, headers=asked) for method in ("HEAD", "GET"))
    assert (head.status_code, head.content) == (whole.status_code, b"")
    assert [pair for pair in head.headers.items() if pair[0] != "date"] == [pair for pair in whole.headers.items() if pair[0] != "date"]


@pytest.mark.parametrize("below", ["", "/input_items", "?stream=true"])
def test_the_head_of_a_response_that_an_upstream_stores(stage: Stage, below: str) -> None:
    stage.play(text_answer("responses", "ok"))
    id = stage.oai.responses.create(model="responses/m", input="Hi").id
    stage.play([b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 700\r\n\r\n"])
    told = stage.http.head(f"/v1/responses/{id}{below}")
    assert (told.status_code, told.headers["content-type"], told.content) == (200, "application/json", b"")
    assert [(one.method, one.target) for one in stage.requests] == [("HEAD", f"/v1/responses/{id}{below}")]


@pytest.mark.parametrize("path", ["/v1/responses/resp_1/cancel", "/v1/conversations", "/v1/embeddings", "/v1/messages"])
def test_there_is_no_head_where_there_is_no_get(stage: Stage, path: str) -> None:
    assert stage.http.head(path).status_code == 405
