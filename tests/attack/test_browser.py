"""A web page that its reader never meant to let at the gateway: in bytes as a browser sends them, and in a real Chromium.

The gateway has no access keys, so that only the page's own headers can tell it from a program. That the attacks would work without
a defence is shown on a plain server, which they reach.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import orjson
import pytest

from ..conftest import Running, Start, free_port
from ..gateway.browser import Browser, Page, executable
from ..gateway.spoken import ASKED, PATHS, SHAPE_AT, SHAPES, SPEECH
from ..gateway.wire import Answer, ask, request
from ..scripted import Provider, Request, Steps, respond

PATH = executable()
browsing = pytest.mark.skipif(PATH is None, reason="no Chromium on the path, and DRAGOMAN_BROWSER names none")

CONFIG = """
listeners:
  - {type: model, address: ADDRESS, port: PORT, hosts: [gateway.example]}
  - {type: admin, address: ADDRESS, port: ADMIN, hosts: [admin.example]}
model_providers:
  - {model: chat/*, base_url: "UPSTREAM/v1", access_key: sk-upstream, apis: [chat_completions]}
  - {model: messages/*, base_url: "UPSTREAM/v1", access_key: sk-upstream, apis: [messages]}
  - {model: responses/*, base_url: "UPSTREAM/v1", access_key: sk-upstream, apis: [responses]}
"""
EVIL = "evil.example"
BODY = orjson.dumps({"model": "chat/m", **ASKED["chat"]})


def answer(request: Request) -> Steps:
    shape = SHAPE_AT.get(request.target)
    return [respond(SPEECH[shape].whole if shape else {"data": []}, access_control_allow_origin="*")]


@pytest.fixture(scope="module")
def provider() -> Iterator[Provider]:
    with Provider(answer) as provider:
        yield provider


class Open:
    """A gateway without access keys. admin: the port of its admin listener."""

    def __init__(self, start: Start, provider: Provider, address: str, more: str = "") -> None:
        self.admin = free_port()
        config = CONFIG.replace("ADDRESS", address).replace("ADMIN", str(self.admin)).replace("UPSTREAM", provider.url)
        self.running: Running = start(config + more)
        self.port = self.running.port
        self._provider, self._before = provider, 0

    def forget(self) -> None:
        self._before = len(self._provider.requests)

    @property
    def sent(self) -> int:
        """How many requests came to the upstream since then."""
        return len(self._provider.requests) - self._before


@pytest.fixture(scope="module")
def _gateway(start_session: Start, provider: Provider) -> Open:
    return Open(start_session, provider, "127.0.0.1")


@pytest.fixture
def gateway(_gateway: Open) -> Open:
    _gateway.forget()
    return _gateway


# ---- in bytes ----

FOREIGN = [
    {"Origin": f"http://{EVIL}", "Sec-Fetch-Site": "cross-site"},
    {"Origin": f"http://{EVIL}"},  # a browser that sends no Sec-Fetch-Site: plain http to another machine
    {"Origin": "null", "Sec-Fetch-Site": "cross-site"},
    {"Origin": "http://localhost:3000", "Sec-Fetch-Site": "same-site"},
    {"Sec-Fetch-Site": "cross-site"},
    {"Host": EVIL},
    {"Host": f"{EVIL}:12000", "Origin": f"http://{EVIL}:12000", "Sec-Fetch-Site": "same-origin"},
]
EVERYWHERE = [
    ("GET", "/v1/models"),
    ("GET", "/v1/models/chat/m"),
    ("POST", "/v1/embeddings"),
    ("POST", "/v1/audio/transcriptions"),
    ("POST", "/v1/messages/count_tokens"),
    ("POST", "/v1/responses/input_tokens"),
    ("POST", "/v1/responses/compact"),
    ("GET", "/v1/responses"),
    ("GET", "/v1/responses/resp_1"),
    ("DELETE", "/v1/responses/resp_1"),
    ("POST", "/v1/responses/resp_1/cancel"),
    ("GET", "/v1/responses/resp_1/input_items"),
    ("POST", "/v1/conversations"),
    ("GET", "/v1/conversations/conv_1"),
    ("POST", "/v1/conversations/conv_1/items"),
    ("OPTIONS", "/v1/chat/completions"),
    ("GET", "/"),
    ("GET", "/no/such/path"),
]


def call(gateway: Open, path: str, headers: dict[str, str], body: bytes = BODY, method: str = "POST") -> Answer:
    data = request(path, body, method, **headers)
    if "Host" in headers:
        data = data.replace(b"Host: localhost\r\n", b"", 1)
    if "Content_Type" in headers:
        data = data.replace(b"Content-Type: application/json\r\n", b"", 1)
    return ask(gateway.port, data)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("headers", FOREIGN)
def test_a_foreign_page_is_refused_in_the_callers_shape(gateway: Open, shape: str, headers: dict[str, str]) -> None:
    body = orjson.dumps({"model": f"{shape}/m", **ASKED[shape]})
    refused = call(gateway, PATHS[shape], headers, body)
    error = refused.json["error"]
    assert refused.status == 403
    assert error["type"] == "permission_error" if shape == "messages" else error["code"] == "permission_denied"
    assert not [name for name in refused.headers if name.startswith("access-control-")]
    assert gateway.sent == 0
    assert call(gateway, PATHS[shape], {"Origin": "http://localhost", "Sec-Fetch-Site": "same-origin"}, body).status == 200
    assert call(gateway, PATHS[shape], {"Host": "gateway.example:12000"}, body).status == 200
    assert call(gateway, PATHS[shape], {}, body).status == 200


@pytest.mark.parametrize(("method", "path"), EVERYWHERE)
def test_everywhere(gateway: Open, method: str, path: str) -> None:
    for headers in FOREIGN:
        assert call(gateway, path, headers, BODY if method == "POST" else b"", method).status == 403, headers
    assert gateway.sent == 0


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", ""])
def test_a_body_that_needs_no_question_first(gateway: Open, kind: str) -> None:
    """What a page may send without the browser asking. A program may call its body what it likes."""
    own = {"Origin": "http://localhost", "Content_Type": kind}
    assert call(gateway, PATHS["chat"], own).status == 415
    assert gateway.sent == 0
    assert call(gateway, PATHS["chat"], {"Content_Type": kind}).status == 200


def test_probes_answer_whoever_asks(gateway: Open) -> None:
    for headers in FOREIGN:
        for path in ("/healthz", "/readyz"):
            assert call(gateway, path, headers, b"", "GET").status == 200


def test_with_access_keys_nothing_of_it_is_looked_at(start: Start, provider: Provider) -> None:
    guarded = Open(start, provider, "127.0.0.1", "access_keys: [{key: sk-caller}]\n")
    for headers in FOREIGN:
        assert call(guarded, PATHS["chat"], headers | {"Authorization": "Bearer sk-caller"}).status == 200
        assert call(guarded, PATHS["chat"], headers).status == 401


@pytest.mark.parametrize("address", ["127.0.0.1", "0.0.0.0"])
def test_the_admin_listener_answers_to_its_names_alone(start: Start, provider: Provider, address: str) -> None:
    both = Open(start, provider, address)

    def get(host: str, path: str) -> int:
        return ask(both.admin, request(path, method="GET").replace(b"Host: localhost", f"Host: {host}".encode())).status

    for path in ("/", "/inspector/exchanges", "/explain?model=chat/m", "/inspector/inspector.js"):
        for host in ("localhost", "127.0.0.1:1", "10.1.2.3", "[::1]", "admin.example", "ADMIN.example:12001"):
            assert get(host, path) == 200
        for host in (EVIL, f"{EVIL}:12001", "gateway.example", "["):
            assert get(host, path) in (400, 403), host
    assert get(EVIL, "/metrics") == 200


# ---- in a browser ----

SEND = """(async () => {
  const answer = await fetch(%s, {method: "POST", mode: %s, headers: {"content-type": %s}, body: %s});
  return answer.type === "opaque" ? "opaque" : answer.status;
})()"""


def send(page: Page, url: str, mode: str = "no-cors", kind: str = "text/plain") -> Any:
    return page.js(SEND % tuple(orjson.dumps(one).decode() for one in (url, mode, kind, BODY.decode())))


@pytest.fixture(scope="module")
def elsewhere() -> Iterator[Provider]:
    """Another site: a page, and whatever is sent to it is taken."""
    with Provider(lambda request: [respond(b"<!doctype html><title>Elsewhere</title>", content_type="text/html")]) as site:
        yield site


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    assert PATH is not None
    names = ", ".join(f"MAP {name} 127.0.0.1" for name in (EVIL, "gateway.example", "admin.example"))
    browser = Browser(
        PATH, f"--host-resolver-rules={names}", "--disable-features=HttpsUpgrades,LocalNetworkAccessChecks,PrivateNetworkAccess"
    )
    yield browser
    browser.close()


def port_of(site: Provider) -> str:
    return site.url.rpartition(":")[2]


@browsing
def test_a_page_of_another_site_reaches_no_model(browser: Browser, elsewhere: Provider, gateway: Open, provider: Provider) -> None:
    with browser.open(f"http://{EVIL}:{port_of(elsewhere)}/") as page:
        page.until("document.title === 'Elsewhere'")
        assert send(page, f"{provider.url}/v1/chat/completions") == "opaque"
        assert gateway.sent == 1  # the attack itself works: the plain server was reached
        gateway.forget()
        for host in ("127.0.0.1", "localhost", "gateway.example"):
            url = f"http://{host}:{gateway.port}/v1/chat/completions"
            for kind in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x"):
                send(page, url, kind=kind)
            assert page.js(f"navigator.sendBeacon({orjson.dumps(url).decode()}, new Blob(['{{}}'], {{type: 'text/plain'}}))")
            posted_by_a_form(page, url)
        assert gateway.sent == 0


def posted_by_a_form(page: Page, url: str) -> None:
    page.js(
        """new Promise((done) => {
          const frame = document.createElement("iframe");
          frame.name = "there";
          document.body.append(frame);
          const form = document.createElement("form");
          Object.assign(form, {action: URL, method: "post", enctype: "text/plain", target: "there"});
          const field = document.createElement("input");
          [field.name, field.value] = ['{"model":"chat/m","messages":[{"role":"user","content":"', '"}]}'];
          form.append(field);
          document.body.append(form);
          frame.onload = () => { frame.remove(); form.remove(); done(true); };
          form.submit();
        })""".replace("URL", orjson.dumps(url).decode())
    )


@browsing
def test_a_page_of_another_local_server_reaches_no_model(browser: Browser, elsewhere: Provider, gateway: Open) -> None:
    """The same site to a browser, another origin all the same."""
    with browser.open(f"http://localhost:{port_of(elsewhere)}/") as page:
        page.until("document.title === 'Elsewhere'")
        send(page, f"http://localhost:{gateway.port}/v1/chat/completions")
        assert gateway.sent == 0


@browsing
def test_a_name_that_is_rebound_reads_nothing(browser: Browser, gateway: Open) -> None:
    """The page's own name leads to the gateway now: to the browser everything is of one origin."""
    with browser.open(f"http://{EVIL}:{gateway.port}/healthz") as page:
        page.until("document.body.textContent.includes('ok')")
        assert page.js("fetch('/v1/models').then((answer) => answer.status)") == 403
        for kind in ("application/json", "text/plain"):
            assert send(page, "/v1/chat/completions", "same-origin", kind) == 403
        assert gateway.sent == 0
    for name in ("localhost", "gateway.example"):
        with browser.open(f"http://{name}:{gateway.port}/healthz") as page:
            page.until("document.body.textContent.includes('ok')")
            assert send(page, "/v1/chat/completions", "same-origin", "application/json") == 200
            assert send(page, "/v1/chat/completions", "same-origin", "text/plain") == 415


@browsing
def test_a_rebound_name_reads_nothing_of_the_admin_listener(browser: Browser, gateway: Open) -> None:
    with browser.open(f"http://{EVIL}:{gateway.admin}/metrics") as page:
        page.until("document.body.textContent.includes('dragoman_')")
        for path in ("/", "/inspector/exchanges", "/explain?model=chat/m"):
            assert page.js(f"fetch('{path}').then((answer) => answer.status)") == 403
    with browser.open(f"http://admin.example:{gateway.admin}/") as page:
        page.until("document.querySelector('#state').dataset.state === 'live'")
