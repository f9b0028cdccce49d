"""A model listener's application on Tornado's own server: what is answered without an upstream."""

from __future__ import annotations

from collections.abc import Iterator

import orjson
import pytest
from tornado.httpclient import AsyncHTTPClient
from tornado.ioloop import IOLoop
from tornado.web import Application

from dragoman import conf
from dragoman.proxy.app import ModelApplication
from dragoman.proxy.gateway import Gateway

from .asking import ask

CONFIG = conf.loads(
    """
    model_providers: [{model: demo/echo}, {model: demo/think}, {model: demo/slow, name: slow}]
    access_keys: [{key: sk-all, name: all}, {key: sk-some, name: some, models: [demo/think]}]
    """,
    environ={},
)
KEYS = {"all": ["demo/echo", "demo/think", "slow", "demo/slow"], "some": ["demo/think"]}

pytestmark = pytest.mark.gen_test


@pytest.fixture
def gateway(io_loop: IOLoop) -> Iterator[Gateway]:
    async def make() -> Gateway:
        return Gateway(CONFIG)

    gateway = io_loop.run_sync(make)
    yield gateway
    io_loop.run_sync(gateway.close)


@pytest.fixture
def app(gateway: Gateway) -> Application:
    return ModelApplication(gateway)


@pytest.mark.parametrize("key", KEYS)
async def test_models_of_a_key(http_client: AsyncHTTPClient, base_url: str, key: str) -> None:
    answer = await ask(http_client, f"{base_url}/v1/models", authorization=f"Bearer sk-{key}")
    assert [model["id"] for model in orjson.loads(answer.body)["data"]] == KEYS[key]
    for model in KEYS["all"]:
        one = await ask(http_client, f"{base_url}/v1/models/{model}", x_api_key=f"sk-{key}")
        assert one.code == (200 if model in KEYS[key] else 404)


@pytest.mark.parametrize("limit", ["0", "1001", "000011001", "1" + "0" * 5000, "00001" + "9" * 5000, "-1", "x"])
async def test_a_page_has_a_bound(http_client: AsyncHTTPClient, base_url: str, limit: str) -> None:
    conversation = orjson.loads((await ask(http_client, f"{base_url}/v1/conversations", "POST", {}, x_api_key="sk-all")).body)
    for path in ("models", f"conversations/{conversation['id']}/items"):
        answer = await ask(http_client, f"{base_url}/v1/{path}?limit={limit}", x_api_key="sk-all")
        assert (answer.code, "`limit` must be between 1 and" in orjson.loads(answer.body)["error"]["message"]) == (400, True)


CODEX = "/v1/models?client_version=0.171.0"
OWN = ["/v1/models", CODEX, "/v1beta/models", "/v1/models/demo/echo", "/openapi.json", "/healthz", "/api/oauth/usage", "/v1/responses/none"]


@pytest.mark.parametrize("path", OWN)
async def test_the_gateways_own_answers_have_the_requests_id(http_client: AsyncHTTPClient, base_url: str, path: str) -> None:
    answer = await ask(http_client, base_url + path, authorization="Bearer sk-all", x_request_id="mine-1")
    assert [answer.headers.get_list(name) for name in ("x-request-id", "request-id")] == [["mine-1"], ["mine-1"]]


async def test_pages_of_models(http_client: AsyncHTTPClient, base_url: str) -> None:
    ids: list[str] = []
    after = ""
    while True:
        url = f"{base_url}/v1/models?limit=3{after}"
        page = orjson.loads((await ask(http_client, url, x_api_key="sk-all", anthropic_version="2023-06-01")).body)
        ids += [model["id"] for model in page["data"]]
        if not page["has_more"]:
            break
        after = f"&after_id={page['last_id']}"
    assert ids == KEYS["all"]


async def test_a_stranger_learns_nothing(http_client: AsyncHTTPClient, base_url: str) -> None:
    for path in ("/v1/models", "/v1/models/demo/echo", "/v1/conversations/conv_1"):
        assert (await ask(http_client, base_url + path, authorization="Bearer sk-other")).code == 401
    unknown = await ask(http_client, f"{base_url}/no/such/path")
    assert (unknown.code, orjson.loads(unknown.body)["error"]["type"]) == (404, "not_found_error")
    assert "server" not in unknown.headers


async def test_a_conversation_is_its_keys(http_client: AsyncHTTPClient, base_url: str) -> None:
    item = {"role": "user", "content": "Good morning"}
    made = await ask(http_client, f"{base_url}/v1/conversations", "POST", {"items": [item]}, authorization="Bearer sk-some")
    url = f"{base_url}/v1/conversations/{orjson.loads(made.body)['id']}"
    listed = orjson.loads((await ask(http_client, f"{url}/items", authorization="Bearer sk-some")).body)
    assert [one["content"][0]["text"] for one in listed["data"]] == ["Good morning"]
    for path in ("", "/items", f"/items/{listed['data'][0]['id']}"):
        assert (await ask(http_client, url + path, authorization="Bearer sk-all")).code == 404
    assert (await ask(http_client, url, "DELETE", authorization="Bearer sk-all")).code == 404
    assert orjson.loads((await ask(http_client, url, "DELETE", authorization="Bearer sk-some")).body)["deleted"] is True
