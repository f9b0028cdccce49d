"""The admin listener's application on Tornado's own server: its pages, and to whom they are shown."""

from __future__ import annotations

import orjson
import pytest
from tornado.httpclient import AsyncHTTPClient
from tornado.web import Application

from dragoman import conf
from dragoman.conf.model import Listener
from dragoman.proxy.app import make_admin_app
from dragoman.proxy.inspector.admin import Admin
from dragoman.proxy.inspector.ring import Ring

from .asking import ask

CONFIG = conf.loads("model_providers: [{model: demo/echo}]", environ={})

pytestmark = pytest.mark.gen_test


@pytest.fixture
def app() -> Application:
    admin = Admin(CONFIG, Ring(lambda looking, content: None), lambda: b"dragoman_streams_open 0.0\n", dict)
    return make_admin_app(admin, Listener("admin", hosts=("admin.example",)))


async def test_pages(http_client: AsyncHTTPClient, base_url: str) -> None:
    for path, kind in (
        ("/", "text/html"),
        ("/inspector/inspector.js", "text/javascript"),
        ("/inspector/inspector.css", "text/css"),
        ("/inspector/capabilities.js", "text/javascript"),
        ("/inspector/capabilities.css", "text/css"),
        ("/explain?model=demo/echo", "application/json"),
        ("/capabilities?model=demo/echo", "application/json"),
        ("/inspector/exchanges", "application/json"),
        ("/metrics", "text/plain"),
    ):
        answer = await ask(http_client, base_url + path)
        assert (answer.code, answer.headers["Content-Type"].partition(";")[0]) == (200, kind)
        assert "default-src 'none'" in answer.headers["Content-Security-Policy"]
    for path in ("/inspector/none.js", "/inspector/..%2fadmin.py", "/explain?model=demo/echo&shape=none", "/inspector/exchanges/0"):
        assert (await ask(http_client, base_url + path)).code in (400, 404)


@pytest.mark.parametrize(
    ("path", "allowed"), [("/metrics", "GET"), ("/", "GET"), ("/inspector/switch", "POST"), ("/inspector/live", "GET"), ("/explain", "GET")]
)
async def test_a_405_names_the_methods_that_there_are(http_client: AsyncHTTPClient, base_url: str, path: str, allowed: str) -> None:
    answer = await ask(http_client, base_url + path, "PUT", {})
    assert (answer.code, answer.headers["Allow"], orjson.loads(answer.body)) == (405, allowed, {"error": "Method Not Allowed"})


@pytest.mark.parametrize("method", ["GET", "POST", "OPTIONS", "BREW"])
async def test_a_path_that_there_is_not_has_no_method(http_client: AsyncHTTPClient, base_url: str, method: str) -> None:
    answer = await ask(http_client, f"{base_url}/nope", method)
    assert (answer.code, answer.headers.get("Allow"), orjson.loads(answer.body)) == (404, None, {"error": "Not Found"})


async def test_it_answers_to_its_names(http_client: AsyncHTTPClient, base_url: str) -> None:
    for host, code in (("admin.example", 200), ("127.0.0.1", 200), ("evil.example", 403)):
        assert (await ask(http_client, f"{base_url}/inspector/exchanges", host=host)).code == code


async def test_it_switches_for_its_own_page_alone(http_client: AsyncHTTPClient, base_url: str) -> None:
    url = f"{base_url}/inspector/switch"
    assert (await ask(http_client, url, "POST", {"content": True})).code == 403
    assert orjson.loads((await ask(http_client, url, "POST", {"content": True}, x_dragoman_inspector="1")).body) == {"content": True}
    for wrong in ([], {"content": 1}, "x"):
        assert (await ask(http_client, url, "POST", wrong, x_dragoman_inspector="1")).code == 400


async def test_capabilities(http_client: AsyncHTTPClient, base_url: str) -> None:
    url = f"{base_url}/capabilities?model=demo/echo"
    page = await ask(http_client, url, accept="text/html,*/*;q=0.8")
    assert b"capabilities.js" in page.body
    for headers in ({}, {"accept": "text/html"}):
        found = orjson.loads((await ask(http_client, f"{url}&format=json", **headers)).body)
        assert set(found["callers"]) == {"chat", "messages", "responses", "gemini"}
        (messages,) = found["callers"]["messages"]
        top_k = next(field for field in messages["fields"] if field["field"] == "top_k")
        assert (messages["api"], messages["lane"], top_k["outcome"]) == ("chat_completions", "events", "dropped")
    for unknown in ("nobody/none", "%0d%0aX-A:b"):
        answer = await ask(http_client, f"{base_url}/capabilities?model={unknown}")
        assert (answer.code, "error" in orjson.loads(answer.body)) == (404, True)


async def test_explain_of_a_session(http_client: AsyncHTTPClient, base_url: str) -> None:
    answer = await ask(http_client, f"{base_url}/explain?model=demo/echo&shape=chat&session=s")
    found = orjson.loads(answer.body)
    assert found["session"] == {"chat": ["demo/echo"]}
    assert found["routing"]["affinity"] == "auto"
