"""The operator's last word on a request (`request`), and dry runs, which show what would be sent and send nothing."""

from __future__ import annotations

import json
from typing import Any

import pytest

from ..scripted import LAST_CHUNK, Provider, Request, Steps, chunk, respond, stream_head
from .inside import Inside, inside_once
from .sockets import connected
from .spoken import APIS, ASKED, PATHS, SHAPE_AT, SHAPES, SPEECH
from .wire import request as bare

EDITED = """
listeners: [{type: model, address: 127.0.0.1}]
model_providers:
  - model: up/m
    base_url: "UPSTREAM/v1"
    apis: [API]
    access_key: sk-upstream-secret
    headers: {x-team: team-secret-value, x-plain: plain}
    request:
      set: {service_tier: flex, metadata.origin: gateway, user_token: a-secret-in-the-body}
      remove: [user, "messages[].name", "tools[].cache_control"]
      headers: {remove: [X-Stainless-Lang, x-plain, user-agent]}
"""
KEYS = "\naccess_keys: [{key: sk-all, name: all}, {key: sk-some, name: some, models: [other/*], requests_per_minute: 2}]\n"


def upstream(request: Request) -> Steps:
    path = request.target.partition("?")[0]
    if path.endswith(("count_tokens", "input_tokens")):
        return [respond({"input_tokens": 3})]
    if path == "/v1/embeddings":
        return [respond({"object": "list", "data": [], "usage": {"prompt_tokens": 1, "total_tokens": 1}})]
    return [respond(SPEECH[SHAPE_AT[path]].whole)]


async def sent(gateway: Inside, path: str, body: bytes, **headers: str) -> tuple[int, dict[str, str], Any]:
    async with gateway.call(bare(path, body, **headers)) as caller:
        status, told = await caller.head()
        answer = await caller.body(told)
    return status, told, json.loads(answer)


CHAT = b'{ "model" : "m","user":"u", "seed":1.0,\n "messages":[{"role":"user","content":"\\u0041","name":"n"}],"service_tier":"auto" }'
CHAT_EDITED = (
    b'{ "model" : "m","seed":1.0,\n "messages":[{"role":"user","content":"\\u0041"}],"service_tier":"flex" '
    b',"metadata":{"origin":"gateway"},"user_token":"a-secret-in-the-body"}'
)


@inside_once
async def test_bytes_stay_but_for_what_the_operator_changes() -> None:
    async with Provider(upstream) as provider, Inside(EDITED.replace("API", "chat_completions"), provider) as gateway:
        status, told, _ = await sent(gateway, "/v1/chat/completions", CHAT, X_Stainless_Lang="js", X_Stainless_OS="x")
        (request,) = provider.requests
        assert (status, request.body) == (200, CHAT_EDITED)
        assert told["x-dragoman-lane"] == "bytes"
        assert told["x-dragoman-dropped"] == "user,messages[*].name"
        assert told["x-dragoman-adapted"] == "service_tier"
        assert request.headers["x-team"] == "team-secret-value"
        assert request.headers["x-stainless-os"] == "x"
        assert not {"x-stainless-lang", "x-plain", "user-agent"} & request.headers.keys()
        status, _, error = await sent(gateway, "/v1/chat/completions", CHAT, X_Dragoman_Strict="1")
        assert (status, error["error"]["param"]) == (400, "user")
        assert len(provider.requests) == 1


@pytest.mark.parametrize("api", SHAPES)
@pytest.mark.parametrize("shape", SHAPES)
@inside_once
async def test_every_lane(shape: str, api: str) -> None:
    async with Provider(upstream) as provider, Inside(EDITED.replace("API", APIS[api]), provider) as gateway:
        body = json.dumps({"model": "up/m", **ASKED[shape]}).encode()
        status, _, _ = await sent(gateway, PATHS[shape], body)
        (request,) = provider.requests
        assert status == 200
        assert (request.json["service_tier"], request.json["metadata"]["origin"]) == ("flex", "gateway")


@inside_once
async def test_raw_operations_and_counts() -> None:
    config = EDITED.replace("API", "chat_completions, messages")
    async with Provider(upstream) as provider, Inside(config, provider) as gateway:
        status, told, _ = await sent(gateway, "/v1/embeddings", b'{"input":"x", "model":"up/m","user":"u"}')
        assert (status, told["x-dragoman-dropped"]) == (200, "user")
        assert provider.requests[0].body.startswith(b'{"input":"x", "model":"m","service_tier":"flex"')
        count = b'{"model":"up/m","messages":[{"role":"user","content":"x","name":"n"}]}'
        assert (await sent(gateway, "/v1/messages/count_tokens", count))[0] == 200
        assert provider.requests[1].body == b'{"model":"m","messages":[{"role":"user","content":"x"}]}'


OBJECTS = """
listeners: [{type: model, address: 127.0.0.1}]
model_providers:
  - model: anthropic/*
    discover: false
    base_url: "UPSTREAM/v1"
    access_key: sk-upstream-secret
    request: {set: {service_tier: standard_only, thinking.type: disabled, metadata: {a: b}}, remove: [user, "messages[].name"]}
"""
BATCH = (
    b'{"requests": [{"custom_id":"1","params":{"model":"m","user":"u","thinking":{"type":"adaptive"},'
    b'"messages":[{"name":"n","role":"user"}]}},'
    b' {"custom_id":"2","params":{}}],"user":"v"}'
)
IN_BATCH = "requests[*].params"
BATCH_EDITED = (
    b'{"requests": [{"custom_id":"1","params":{"model":"m","thinking":{"type":"disabled"},"messages":[{"role":"user"}]'
    b',"service_tier":"standard_only","metadata":{"a":"b"}}},'
    b' {"custom_id":"2","params":{"service_tier":"standard_only","thinking":{"type":"disabled"},"metadata":{"a":"b"}}}],"user":"v"}'
)


@pytest.mark.parametrize(
    ("path", "body", "sent_body", "dropped", "adapted"),
    [
        ("messages/batches", BATCH, BATCH_EDITED, f"{IN_BATCH}.user,{IN_BATCH}.messages[*].name", f"{IN_BATCH}.thinking.type"),
        ("messages/batches", b'{"requests": 1}', b'{"requests": 1}', None, None),
        ("messages/batches", b'{"requests": ', b'{"requests": ', None, None),
        ("messages/batches", b"[1]", b"[1]", None, None),
        ("skills", b'{"user": 1, "x": 2}', b'{"x": 2}', "user", None),
        ("skills", b'{"metadata":{"c":"d"}}', b'{"metadata":{"a":"b"}}', None, "metadata"),
        ("skills", b'{ "x" : 1.0 }', b'{ "x" : 1.0 }', None, None),
    ],
)  # fmt: skip
@inside_once
async def test_stored_objects(path: str, body: bytes, sent_body: bytes, dropped: str | None, adapted: str | None) -> None:
    """What is there is changed, and nothing added but to the requests of a batch."""
    async with Provider([respond({"id": "x"})]) as provider, Inside(OBJECTS, provider) as gateway:
        status, told, _ = await sent(gateway, f"/v1/{path}", body, anthropic_version="2023-06-01")
        assert (status, provider.requests[0].body) == (200, sent_body)
        assert (told.get("x-dragoman-dropped"), told.get("x-dragoman-adapted")) == (dropped, adapted)
        strict, _, _ = await sent(gateway, f"/v1/{path}", body, anthropic_version="2023-06-01", x_dragoman_strict="1")
        assert strict == (400 if dropped else 200)


@inside_once
async def test_files_stay_as_they_are() -> None:
    form = b'--b\r\nContent-Disposition: form-data; name="user"\r\n\r\nu\r\n--b--\r\n'
    async with Provider([respond({"id": "x"})]) as provider, Inside(OBJECTS, provider) as gateway:
        status, _, _ = await sent(
            gateway, "/v1/files", form, anthropic_version="2023-06-01", content_type="multipart/form-data; boundary=b"
        )
    assert (status, provider.requests[0].body) == (200, form)


@inside_once
async def test_a_response_that_is_not_to_be_stored_upstream_is_stored_here() -> None:
    entry = 'model_providers: [{model: up/m, base_url: "UPSTREAM/v1", apis: [responses], access_key: k, request: {set: {store: false}}}]'
    async with Provider(upstream) as provider, Inside(entry, provider) as gateway:
        _, _, answer = await sent(gateway, "/v1/responses", b'{"model": "up/m", "input": "Hi"}')
        async with gateway.call(f"GET /v1/responses/{answer['id']} HTTP/1.1\r\nHost: x\r\n\r\n".encode()) as caller:
            status, told = await caller.head()
            assert (status, json.loads(await caller.body(told))["output"]) == (200, answer["output"])
        assert [request.json["store"] for request in provider.requests] == [False]


@inside_once
async def test_what_is_set_decides_how_the_upstream_is_asked() -> None:
    """Over which API, and whether by a stream."""
    entry = """model_providers: [{model: up/m, base_url: "UPSTREAM/v1", apis: [messages], access_key: k,
        capabilities: {whole_answers_up_to: 100}, request: {set: {max_tokens: 500}}}]"""
    speech = SPEECH["messages"]
    async with Provider([stream_head(), *map(chunk, speech.stream), LAST_CHUNK]) as provider, Inside(entry, provider) as gateway:
        body = json.dumps({"model": "up/m", **ASKED["chat"], "max_tokens": 9}).encode()
        status, _, answer = await sent(gateway, "/v1/chat/completions", body)
        assert (status, answer["choices"][0]["message"]["content"]) == (200, "Hello world")
        assert (provider.requests[0].json["stream"], provider.requests[0].json["max_tokens"]) == (True, 500)


@inside_once
async def test_explain_tells_it_without_values() -> None:
    async with Inside(EDITED.replace("API", "messages").replace("UPSTREAM", "http://127.0.0.1:9")) as gateway:
        (line,) = gateway.gateway.router.explain("chat", "up/m")
        told = "request sets service_tier metadata.origin user_token, removes user messages[].name tools[].cache_control, "
        assert f"{told}removes the headers user-agent x-plain x-stainless-lang" in line
        assert "secret" not in line


@pytest.mark.parametrize(
    ("written", "problem"),
    [
        ("set: {model: x}", "request.set.model: is decided by the gateway itself"),
        ("set: {stream: false}", "request.set.stream: is decided"),
        ("remove: [model]", "request.remove[0]: is decided"),
        ('set: {"messages[].x": 1}', "must be the path of a member"),
        ('remove: ["a..b"]', "must be the path of a member"),
        ("set: {a: .nan}", "must be a value that JSON has"),
        ("headers: {remove: [content-length]}", "is set by the gateway itself"),
        ("headers: {set: [x]}", "unknown key"),
    ],
)
def test_what_cannot_be_changed(written: str, problem: str) -> None:
    from dragoman import conf

    with pytest.raises(conf.ConfigError) as raised:
        conf.loads(f"model_providers: [{{model: openai/m, request: {{{written}}}}}]", environ={})
    assert problem in str(raised.value)


# ---- dry runs ----


@pytest.mark.parametrize("api", SHAPES)
@pytest.mark.parametrize("shape", SHAPES)
@inside_once
async def test_a_dry_run_shows_what_would_be_sent(shape: str, api: str) -> None:
    async with Provider(upstream) as provider, Inside(EDITED.replace("API", APIS[api]) + KEYS, provider) as gateway:
        body = json.dumps({"model": "up/m", **ASKED[shape], "stream": shape == "messages"}).encode()
        headers = {"Authorization": "Bearer sk-all", "Traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"}
        status, told, shown = await sent(gateway, f"{PATHS[shape]}?key=sk-query-secret&beta=true", body, X_Dragoman_Dry_Run="1", **headers)
        assert (status, told["x-dragoman-dry-run"], told["content-type"]) == (200, "1", "application/json")
        assert not provider.requests
        text = json.dumps(shown)
        for secret in ("sk-upstream-secret", "team-secret-value", "sk-query-secret", "sk-all", "a-secret-in-the-body"):
            assert secret not in text
        status, _, _ = await sent(gateway, PATHS[shape], body.replace(b"true", b"false"), **headers)
        (request,) = provider.requests
        asked = shown["request"]
        assert (status, asked["method"]) == (200, request.method)
        assert asked["url"].partition("?")[0] == f"{provider.url}{request.target}"
        own = {"host", "content-length", "accept-encoding", "accept", "traceparent"}
        assert asked["headers"].keys() - own == request.headers.keys() - own
        assert asked["headers"]["x-team"] == "[hidden]"
        wanted = request.json | {"user_token": "***"}
        assert {name: value for name, value in asked["body"].items() if name not in ("stream", "stream_options")} == {
            name: value for name, value in wanted.items() if name != "stream"
        }
        assert (shown["api"], shown["lane"]) == (APIS[api], "bytes" if shape == api else "events")


@inside_once
async def test_a_dry_run_shows_the_bytes_and_the_ledger() -> None:
    with Provider(upstream) as provider:
        async with Inside(EDITED.replace("API", "chat_completions").replace(", user_token: a-secret-in-the-body", ""), provider) as gateway:
            async with gateway.call(bare("/v1/chat/completions", CHAT, X_Dragoman_Dry_Run="1")) as caller:
                _, told = await caller.head()
                answer = await caller.body(told)
            assert CHAT_EDITED.replace(b',"user_token":"a-secret-in-the-body"', b"") in answer
            assert json.loads(answer)["ledger"] == {"dropped": ["user", "messages[*].name"], "adapted": ["service_tier"]}
            status, _, shown = await sent(gateway, "/v1/embeddings", b'{"input":"x","model":"up/m"}', X_Dragoman_Dry_Run="1")
            assert (status, shown["lane"], shown["request"]["url"]) == (200, "raw", f"{provider.url}/v1/embeddings")
            count = b'{"model":"up/m","messages":[{"role":"user","content":"x"}]}'
            status, _, shown = await sent(gateway, "/v1/messages/count_tokens", count, X_Dragoman_Dry_Run="1")
            assert (status, shown["request"]) == (200, None)
            assert not provider.requests


@inside_once
async def test_a_dry_run_is_checked_as_a_request_is() -> None:
    body = json.dumps({"model": "up/m", **ASKED["chat"]}).encode()
    async with Provider(upstream) as provider, Inside(EDITED.replace("API", "messages") + KEYS, provider) as gateway:
        dry = {"X_Dragoman_Dry_Run": "1"}
        chat = "/v1/chat/completions"
        assert (await sent(gateway, chat, body, **dry))[0] == 401
        assert (await sent(gateway, chat, body, **dry, Authorization="Bearer sk-nobody"))[0] == 401
        assert (await sent(gateway, chat, body, **dry, Authorization="Bearer sk-some"))[0] == 403
        all_of_it = {**dry, "Authorization": "Bearer sk-all"}
        assert (await sent(gateway, chat, body.replace(b"up/m", b"no/m"), **all_of_it))[0] == 404
        lossy = json.dumps({"model": "up/m", **ASKED["chat"], "seed": 7}).encode()
        assert (await sent(gateway, chat, lossy, **all_of_it, X_Dragoman_Strict="1"))[0] == 400
        for path in ("/v1/conversations", "/v1/responses/resp_1/cancel"):
            assert (await sent(gateway, path, b"{}", **all_of_it))[0] in (400, 404)
        assert not provider.requests
        assert not gateway.gateway.services.ejection.passed_over()


COUNTED = """
model_providers:
  - {model: up/m, name: one, base_url: "UPSTREAM/v1", apis: [chat_completions], access_key: k}
  - {model: up/m, name: two, base_url: "UPSTREAM/v1", apis: [chat_completions], access_key: k}
prices: {"*": {input: 1000000, output: 1000000}}
access_keys: [{key: sk-all, name: all, budget: {usd: 1000, per: day}}]
routing: {affinity: off, balance: latency}
"""


@inside_once
async def test_a_dry_run_is_marked_and_counts_nowhere() -> None:
    """Refused or not, streamed or not: the log alone tells of it, and later requests are placed as if it had not been."""

    def counted(gateway: Inside) -> list[bytes]:
        return [line for line in gateway.gateway.metrics.text().splitlines() if not line.startswith(b"process_")]

    async with Provider(upstream) as provider, Inside(COUNTED, provider) as gateway:
        services = gateway.gateway.services
        first, _ = services.router.candidates("chat", "up/m").candidates
        services.balance.began(first, 1.0, 4)
        services.balance._paces[first.seed].at -= 60.0  # it would be asked again, to find out
        before, pace = counted(gateway), services.balance._paces[first.seed]
        asked = pace._asked
        for model, stream in (("up/m", False), ("up/m", True), ("no/m", True)):
            body = json.dumps({"model": model, **ASKED["chat"], "stream": stream}).encode()
            await sent(gateway, PATHS["chat"], body, X_Dragoman_Dry_Run="1", Authorization="Bearer sk-all")
        await gateway.until(lambda: len(gateway.lines) == 3)
        assert counted(gateway) == before
        assert (pace._asked, len(services.balance._paces)) == (asked, 1)
        assert [(line["dry_run"], line["status"]) for line in gateway.lines] == [(True, 200), (True, 200), (True, 404)]
        assert not any("tokens" in line or "cost" in line or "attempts" in line for line in gateway.lines)
        body = json.dumps({"model": "up/m", **ASKED["chat"]}).encode()
        await sent(gateway, PATHS["chat"], body, Authorization="Bearer sk-all")
        await gateway.until(lambda: len(gateway.lines) == 4)
        assert "dry_run" not in gateway.lines[3]
        assert counted(gateway) != before


STATE = """
listeners: [{type: model, address: 127.0.0.1}]
model_providers: [{model: up/m, base_url: "UPSTREAM/v1", apis: [chat_completions], token_command: [no-such-program]}]
"""


@inside_once
async def test_a_dry_run_begins_and_locks_nothing() -> None:
    """No credential is fetched, no background response begins, a conversation stays free."""
    async with Provider(upstream) as provider, Inside(STATE, provider) as gateway:
        _, _, made = await sent(gateway, "/v1/conversations", b'{"items":[{"role":"user","content":"before"}]}')
        body = {"model": "up/m", "input": "now", "conversation": made["id"]}
        status, _, shown = await sent(gateway, "/v1/responses", json.dumps(body).encode(), X_Dragoman_Dry_Run="1")
        assert status == 200
        assert [message["content"] for message in shown["request"]["body"]["messages"]] == ["before", "now"]
        assert shown["request"]["headers"]["authorization"] == "[hidden]"
        body = {"model": "up/m", "input": "now", "background": True}
        status, _, shown = await sent(gateway, "/v1/responses", json.dumps(body).encode(), X_Dragoman_Dry_Run="1")
        assert (status, shown["dry_run"]) == (200, True)
        assert not provider.requests
        assert (await sent(gateway, "/v1/conversations", b"{}", X_Dragoman_Dry_Run="1"))[0] == 400


@inside_once
async def test_websocket_messages() -> None:
    """What the operator changes is changed there too; a dry run is refused, and nothing is sent."""
    with Provider([respond(SPEECH["chat"].whole)]) as provider:
        async with Inside(EDITED.replace("API", "chat_completions"), provider) as gateway:
            async with connected(gateway, X_Dragoman_Dry_Run="1") as socket:
                socket.create(model="up/m", input="hi", user="u")
                (refused,) = await socket.response()
                assert (refused["type"], refused["status"], refused["error"]["param"]) == ("error", 400, "x-dragoman-dry-run")
            assert not provider.requests
            async with connected(gateway) as socket:
                socket.create(model="up/m", input="hi", user="u")
                events = await socket.response()
                assert events[-1]["type"] == "response.completed"
            assert provider.requests[0].json["service_tier"] == "flex"
            assert "user" not in provider.requests[0].json
