"""The pages of a team in a real Chromium: what an operator, a viewer and a key's holder see and do."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import openai
import pytest

from dragoman.conf.model import Control, ControlAdmin

from ..conftest import Running, Start, free_port
from ..gateway.admin import eventually
from ..gateway.browser import Browser, Page, executable
from .conftest import section, settings_of

PATH = executable()

pytestmark = [
    pytest.mark.skipif(PATH is None, reason="no Chromium on the path, and DRAGOMAN_BROWSER names none"),
    pytest.mark.timeout(240),  # on a busy machine a browser takes its time
]

CONFIG = """
listeners: [{type: model, address: 127.0.0.1, port: PORT}, {type: admin, port: ADMIN}]
model_providers:
  - {model: demo/*}
  - {model: openai/gpt-5-mini, access_key: sk-upstream, base_url: "http://127.0.0.1:1"}
prices: {"demo/*": {input: 1000, output: 2000}}
"""
PASSWORD = "open sesame"
READY = "document.querySelector('#page')?.getAttribute('aria-busy') === 'false'"
PAGES = ("overview", "usage", "requests", "keys", "teams", "models", "audit")
TEXT = "document.querySelector('#page').textContent"


class Team:
    """A gateway with a control store, and an operator's client of its API."""

    def __init__(self, start: Start, control: Control) -> None:
        self.port = free_port()
        self.gateway: Running = start(CONFIG.replace("ADMIN", str(self.port)) + section(control, f", admin: {{password: {PASSWORD}}}"))
        self.http = httpx.Client(base_url=f"http://127.0.0.1:{self.port}", timeout=20)
        self.http.headers["x-dragoman-csrf"] = self.http.post("/api/session", json={"password": PASSWORD}).json()["session"]["csrf"]

    def make(self, name: str, **more: Any) -> str:
        """A key's secret, once the gateway knows it."""
        key = str(self.http.post("/api/keys", json={"name": name, **more}).raise_for_status().json()["key"])
        self.wait(key)
        return key

    def wait(self, key: str) -> None:
        headers = {"authorization": f"Bearer {key}"}
        eventually(lambda: httpx.get(f"{self.gateway.url}/v1/models", headers=headers, timeout=20).status_code == 200)

    def ask(self, key: str, model: str = "demo/echo", text: str = "Good morning") -> str:
        """What the real SDK gets."""
        with openai.OpenAI(base_url=f"{self.gateway.url}/v1", api_key=key, max_retries=0) as client:
            answer = client.chat.completions.create(model=model, messages=[{"role": "user", "content": text}])
            return str(answer.choices[0].message.content)

    def open(self, browser: Browser, path: str, cookie: str | None = None, **how: Any) -> Page:
        """A page, for who has this session; the operator without one."""
        page = browser.open("about:blank", **how)
        value = cookie or self.http.cookies["dragoman_session"]
        page.call("Network.setCookie", name="dragoman_session", value=value, url=str(self.http.base_url), httpOnly=True, sameSite="Strict")
        self.go(page, path)
        return page

    def go(self, page: Page, path: str) -> None:
        page.js("window.left = true")
        page.call("Page.navigate", url=f"http://127.0.0.1:{self.port}{path}")
        page.until(f"!window.left && {READY}")

    def walk(self, browser: Browser, paths: Iterable[str], cookie: str | None = None, **how: Any) -> Iterator[tuple[Page, str]]:
        """One page after another."""
        with self.open(browser, f"/{next(iter(paths))}", cookie, **how) as page:
            for path in paths:
                self.go(page, f"/{path}")
                yield page, path


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    assert PATH is not None
    browser = Browser(PATH)
    yield browser
    browser.close()


@pytest.fixture
def quiet(browser: Browser) -> Iterator[Browser]:
    """What a page throws, or is refused by its policy, fails the test."""
    browser.faults.clear()
    yield browser
    assert browser.faults == []


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Control]:
    pytest.importorskip("sqlalchemy", reason="needs dragoman[control]")
    with settings_of("sqlite", tmp_path_factory.mktemp("team")) as found:
        yield found


@pytest.fixture(scope="module")
def team(start_session: Start, file: Control) -> Iterator[Team]:
    """A team with two keys, and some use by one of them."""
    team = Team(start_session, file)
    team.make("idle")
    key = team.make("alice", team="research", budget={"usd": 1, "per": "month"}, requests_per_minute=600)
    team.http.put("/api/teams/research", json={"budget": {"usd": 5, "per": "day"}}).raise_for_status()
    team.http.put("/api/teams/research/users/carol", json={"tokens_per_minute": 1000}).raise_for_status()
    team.ask(key)
    with pytest.raises(openai.NotFoundError):
        team.ask(key, "nowhere")
    team.key = key
    yield team
    team.http.close()


def fill(page: Page, name: str, text: str) -> None:
    page.click(f"dialog [name={name}]")
    page.js(f"document.querySelector('dialog [name={name}]').select?.()")
    page.type(text)


@pytest.mark.parametrize("kind", ["sqlite", pytest.param("postgres", marks=pytest.mark.slow)])
def test_the_life_of_a_key(start: Start, browser: Browser, tmp_path: Path, kind: str) -> None:
    pytest.importorskip("sqlalchemy", reason="needs dragoman[control]")
    with settings_of(kind, tmp_path) as control:
        team = Team(start, control)
        with contextlib.closing(team.http), browser.open(f"http://127.0.0.1:{team.port}/usage") as page:
            sign_in(page)
            page.until(READY)
            assert page.js("location.pathname") == "/usage"
            page.until(f"{TEXT}.includes('Nothing was used in this time')")
            key = made(page)
            team.wait(key)
            assert page.js("document.querySelector('.sheet').textContent.includes('alice')")
            with team.open(browser, "/usage?since=24h") as usage:
                assert team.ask(key) == "Good morning"
                usage.until(f"{TEXT}.includes('alice') && {TEXT}.includes('$')")
                page.click("button[aria-label='Revoke alice']")
                page.click("dialog button.main")
                page.until("!document.querySelector('dialog')")
                page.until("document.querySelector('.blank') || !document.querySelector('.sheet')?.textContent.includes('alice')")
                refused(team, key)
            actions = [line["action"] for line in team.http.get("/api/audit").json()["audit"]]
            assert actions == ["key.revoke", "key.create", "login", "login"]


def sign_in(page: Page) -> None:
    page.until("document.querySelector('#word')")
    assert page.js("location.pathname") == "/inspector/login.html"
    page.click("#word")
    page.type(PASSWORD)
    page.press("Enter")
    page.until("location.pathname === '/usage'")


def made(page: Page) -> str:
    """Make the key alice, by the page; its secret."""
    page.click("#nav a[href='/keys']")
    page.until(f"location.pathname === '/keys' && {READY}")
    page.click(".blank button")
    fill(page, "name", "alice")
    fill(page, "team", "research")
    fill(page, "budget_usd", "25")
    page.press("Enter")
    page.until("document.querySelector('#secret')")
    key = str(page.js("document.querySelector('#secret pre').textContent"))
    assert key.startswith("dk-")
    for client, line in PASTED.items():
        page.js(f"[...document.querySelectorAll('#secret [role=tab]')].find((one) => one.textContent === '{client}').click()")
        assert line in page.js("document.querySelector('#secret .panel pre').textContent"), client
        assert key in page.js("document.querySelector('#secret .panel pre').textContent")
    page.press("Escape")
    assert page.js("document.querySelector('#secret').open"), "Escape does not lose the key"
    page.click("#secret > .buttons button")
    page.until("!document.querySelector('dialog')")
    assert key not in page.js("document.documentElement.outerHTML"), "it is shown once"
    assert page.js("document.querySelector('[role=meter]').getAttribute('aria-valuetext')") == "$0 of $25.00 this month"
    return key


PASTED = {
    "OpenAI SDK": 'client = OpenAI(base_url="http://127.0.0.1:',
    "Anthropic SDK": 'client = Anthropic(base_url="http://127.0.0.1:',
    "Claude Code": "export ANTHROPIC_AUTH_TOKEN=dk-",
    "Codex": 'wire_api = "responses"',
    "curl": "-H 'authorization: Bearer dk-",
}


def refused(team: Team, key: str) -> None:
    """Soon, by the real SDK."""
    while True:  # the test's own timeout ends it
        try:
            team.ask(key)
        except openai.AuthenticationError:
            return


@pytest.mark.parametrize(("dark", "width"), [(False, 400), (True, 2000)])
def test_all_pages_fit_their_window(quiet: Browser, team: Team, dark: bool, width: int) -> None:
    for page, path in team.walk(quiet, PAGES, dark=dark, width=width):
        assert page.js("document.documentElement.scrollWidth <= innerWidth"), path
        assert page.js("document.documentElement.dataset.theme") == ("dark" if dark else "light")
        assert page.js("document.querySelector('#news').hidden"), path
        assert page.js(f"{TEXT}.length") > 40, path
        assert page.js(NAMELESS) == [], path


NAMELESS = """[...document.querySelectorAll('a, button, input, select, table, [role=meter], [role=img]')].filter((one) =>
  !(one.textContent.trim() || one.ariaLabel || one.title || one.labels?.length)).map((one) => one.outerHTML)"""


MARKUP = "<img src=x onerror=parent.hit=1><script>parent.hit=1</script>"


def test_names_that_callers_make_up_are_text(quiet: Browser, team: Team) -> None:
    """Models and users of requests, tags of keys, and what somebody wrote in a page's address."""
    made = team.make("tagged", tags=[MARKUP])
    who = {"x-dragoman-user": MARKUP}
    with openai.OpenAI(base_url=f"{team.gateway.url}/v1", api_key=made, max_retries=0, default_headers=who) as client:
        client.chat.completions.create(model="demo/echo", messages=[{"role": "user", "content": MARKUP}])
        with pytest.raises(openai.NotFoundError):
            client.chat.completions.create(model=MARKUP, messages=[{"role": "user", "content": MARKUP}])
    used = {"by": "user", "key": "tagged"}
    eventually(lambda: [row["requests"] for row in team.http.get("/api/usage", params=used).json()["rows"]] == [2])
    pages = ("usage?by=user&and=key", "requests", "requests?failed=true", "keys", "teams", "audit", f"requests?user={quote(MARKUP)}")
    shown = []
    for page, path in team.walk(quiet, pages):
        assert page.js("document.querySelectorAll('#page img, #page script').length") == 0, path
        assert not page.js("'hit' in window"), path
        shown.append(page.js(f"{TEXT}.includes('<img src=x')"))
    assert shown[:3] == [True, True, True]


def test_a_viewer_sees_nothing_that_changes_something(quiet: Browser, team: Team) -> None:
    buttons = "[...document.querySelectorAll('#page button')].map((one) => one.textContent)"
    for page, path in team.walk(quiet, PAGES, viewer()):
        assert not CHANGES & set(page.js(buttons)), path
        assert "viewer" in page.js("document.querySelector('#who').textContent")
    for page, path in team.walk(quiet, ("keys", "teams")):
        assert set(page.js(buttons)) & CHANGES, path


CHANGES = {"New key", "Change", "Rotate", "Revoke", "New team", "Remove", "New user"}


def viewer() -> str:
    """The cookie of somebody whom the identity provider lets look."""
    from dragoman.proxy.control.sessions import Sessions

    own = Sessions(ControlAdmin(password=PASSWORD))
    return own.write(own.begin("viewer", "vera"))


def test_a_holder_sees_the_use_of_their_own_key(quiet: Browser, team: Team) -> None:
    other = team.make("other")
    team.ask(other)
    with httpx.Client(base_url=team.http.base_url) as holder:
        holder.post("/api/session", json={"key": team.key}).raise_for_status()
        cookie = holder.cookies["dragoman_session"]
        assert holder.get("/").headers["location"] == "/usage"
    for page, path in team.walk(quiet, ("usage", "requests", "keys", "models"), cookie):
        assert page.js("document.querySelector('#nav').textContent") == "UsageRequestsKeysModels"
        assert not page.js(f"{TEXT}.includes('other') || {TEXT}.includes('idle')"), path
        assert not page.js("document.querySelector('#page button.main, #page button.bad')")
    with team.open(quiet, "/keys", cookie) as page:
        page.call("Page.navigate", url=f"{team.http.base_url}/overview")
        page.until("location.pathname === '/usage'")


def test_from_a_bar_to_a_request_and_its_wires(quiet: Browser, team: Team) -> None:
    """Usage leads to requests, a request to what the inspector has of it, while somebody watches there."""
    with team.open(quiet, "/usage?since=24h&by=key&and=model&show=requests") as page:
        page.until("document.querySelector('.plot canvas')")
        team.go(page, "/usage?since=toString&by=__proto__&and=constructor&show=valueOf")  # none of these is a choice
        assert page.js("document.querySelector('.chart').textContent").startswith("Cost by key, by day")
        team.go(page, "/usage?since=24h&by=key&and=model&show=requests")
        assert page.js("document.querySelector('.chart').textContent").startswith("Requests by key, by hour")
        assert page.js("document.querySelector('.controls a[download]').textContent") == "CSV"
        table = page.js("fetch(document.querySelector('.controls a[download]').href).then((answer) => answer.text())")
        assert table.startswith("key,model,requests,errors,")
        assert "\r\nalice,echo,1,0," in table
        label = page.js(
            "[...document.querySelectorAll('.bar-link')].map((one) => one.ariaLabel).find((one) => one.includes('alice, echo'))"
        )
        assert label == "Requests of alice, echo: 1"
        page.js("document.querySelector('.bar-link[aria-label=\"Requests of alice, echo: 1\"]').click()")
        page.until(f"location.pathname === '/requests' && {READY}")
        rows = "[...document.querySelectorAll('#page tbody tr')]"
        assert page.js(f"{rows}.length") == 1
        assert "demo/echo" in page.js(f"{rows}[0].textContent")
        page.click("#page button.id")
        page.until("document.querySelector('dialog .details')?.textContent.includes('Attempts1')")
        assert page.js("document.querySelector('dialog section')") is None, "nobody watched it"
    with team.open(quiet, "/models") as page, quiet.open("about:blank") as inspector:
        inspector.call(
            "Network.setCookie", name="dragoman_session", value=team.http.cookies["dragoman_session"], url=str(team.http.base_url)
        )
        inspector.call("Page.navigate", url=str(team.http.base_url))
        inspector.until("document.querySelector('#state')?.dataset.state === 'live' && !document.querySelector('#team').hidden")
        team.ask(team.key, "demo/think")
        inspector.until("document.querySelectorAll('#rows li').length === 1")
        eventually(lambda: len(team.http.get("/api/usage/requests", params={"asked": "demo/think"}).json()["requests"]) == 1)
        page.call("Page.navigate", url=f"{team.http.base_url}/requests")
        page.until(f"location.pathname === '/requests' && {READY} && {TEXT}.includes('demo/think')")
        page.click("#page button.id")
        page.until("document.querySelector('dialog .attempts li')")
        page.click("dialog section a")
        page.until("location.pathname === '/' && document.querySelector('#summary h2')?.textContent === 'demo/think'")


def test_the_overview_is_live(quiet: Browser, team: Team) -> None:
    numbers = (
        "Object.fromEntries([...document.querySelectorAll('.figures > div')].map((one) => [...one.children].map((two) => two.textContent)))"
    )
    with team.open(quiet, "/overview") as page:
        page.until("document.querySelector('.state').dataset.state === 'live'")
        before = page.js(numbers)
        assert before["Cost today"].startswith("$0.0")
        team.ask(team.key, "demo/think")
        page.until(f"{numbers}['Tokens today'] !== {before['Tokens today']!r} || {numbers}['Requests'] !== {before['Requests']!r}")
        assert page.js("document.querySelectorAll('.plot canvas').length") == 4
        assert page.js("[...document.querySelectorAll('#page tbody th')].map((one) => one.textContent)") == ["demo", "openai"]


def test_a_key_is_changed_by_keyboard(quiet: Browser, team: Team) -> None:
    """What the API refuses is said beside its field; the focus comes back to where it was."""
    team.make("typed")
    with team.open(quiet, "/keys") as page:
        page.js("document.querySelector(\"button[aria-label='Change typed']\").focus()")
        page.press("Enter")
        page.until("document.querySelector('dialog')")
        page.js("document.querySelector('dialog [name=allow_from]').focus()")
        page.type("nowhere")
        quiet.faults.clear()
        page.press("Enter")
        page.until("document.querySelector('dialog .fault').textContent")
        assert page.js("document.querySelector('dialog .fault').textContent").startswith("allow_from: must be networks")
        assert page.js("document.activeElement.name") == "allow_from"
        assert [fault for fault in quiet.faults if "status of 400" not in fault] == []
        quiet.faults.clear()
        page.js("document.activeElement.select()")
        page.type("127.0.0.0/8")
        page.press("Enter")
        page.until("!document.querySelector('dialog')")
        assert team.http.get("/api/keys/typed").json()["allow_from"] == ["127.0.0.0/8"]
        page.js("document.querySelector(\"button[aria-label='Rotate typed']\").focus()")
        page.press("Enter")
        page.until("document.querySelector('dialog')")
        page.press("Escape")
        page.until("!document.querySelector('dialog')")
        assert page.js("document.activeElement.ariaLabel") == "Rotate typed"
