"""The wire inspector's page in a real Chromium, beside a gateway with an admin listener."""

from __future__ import annotations

from collections.abc import Iterator

import orjson
import pytest

from ..conftest import Start
from .admin import Admin
from .browser import Browser, Page, executable
from .wire import Wire, request

PATH = executable()

pytestmark = pytest.mark.skipif(PATH is None, reason="no Chromium on the path, and DRAGOMAN_BROWSER names none")

ROWS = "[...document.querySelectorAll('#rows li:not([hidden])')]"
CHOSEN = "document.querySelector('#rows [aria-selected=true]')"
LIVE = "document.querySelector('#state').dataset.state === 'live'"
FOCUS = "document.activeElement"


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    assert PATH is not None
    browser = Browser(PATH)
    yield browser
    browser.close()


@pytest.fixture(scope="module")
def admin(start_session: Start) -> Admin:
    return Admin(start_session)


@pytest.fixture
def page(browser: Browser, admin: Admin) -> Iterator[Page]:
    """The page with an empty list. What it threw, or was refused by its policy, fails the test."""
    with opened(browser, admin) as page:
        yield page
    assert browser.faults == []


def opened(browser: Browser, admin: Admin, *, dark: bool = False, width: int = 1440) -> Page:
    page = browser.open(f"http://127.0.0.1:{admin.port}/", dark=dark, width=width)
    page.until(LIVE)
    page.click("#clear")
    page.until(f"!{ROWS}.length && !document.querySelector('#empty').hidden")
    return page


def rows(page: Page, number: int) -> list[str]:
    """The text of the lines that are shown, newest first, once there are so many and all are over."""
    page.until(f"{ROWS}.length === {number} && {ROWS}.every((row) => row.dataset.state !== 'open')")
    return list(page.js(f"{ROWS}.map((row) => row.textContent)"))


def test_an_exchange_appears_and_can_be_opened(page: Page, admin: Admin) -> None:
    assert page.js("document.querySelector('#try').textContent").startswith(f"curl -N http://127.0.0.1:{admin.gateway.port}/v1/messages")
    admin.call("messages", "demo/think", stream=True, top_k=3)
    (line,) = rows(page, 1)
    assert "demo/think" in line
    assert "messages→chat" in line
    page.click("#rows li")
    page.until("document.querySelectorAll('#answer .group').length > 10")
    assert page.js("document.querySelector('#summary h2').textContent") == "demo/think"
    assert page.js("document.querySelector('#summary .status').textContent") == "200"
    assert page.js("[...document.querySelectorAll('.tags.dropped code')].map((one) => one.textContent)") == ["top_k"]
    panes = "[...document.querySelectorAll('#requests .pane h3, #answer .columns h3')].map((one) => one.firstChild.textContent)"
    assert page.js(panes) == ["client → us", "us → upstream", "upstream → us", "hub events", "us → client"]
    for pane, name in (("down", "reasoning_content"), ("hub", "Reasoning"), ("out", "content_block_delta")):
        names = f"[...document.querySelectorAll('.cell.{pane} .name > span:first-child')].map((one) => one.textContent)"
        assert name in page.js(names)


def test_an_open_stream_is_followed_to_its_end(page: Page, admin: Admin) -> None:
    body = {"model": "demo/slow", "stream": True, "messages": [{"role": "user", "content": "one two three four"}]}
    with Wire(admin.gateway.port) as wire:
        wire.send(request("/v1/chat/completions", body))
        page.until(f"{ROWS}[0]?.dataset.state === 'open' && document.querySelectorAll('.cell.out .event').length > 1")
        assert page.js("document.querySelector('#summary .status').textContent") == "open"
        page.until(f"{ROWS}[0].dataset.state === 'well' && document.querySelector('#summary .status').textContent === '200'")
    assert page.until("[...document.querySelectorAll('.cell.out .event')].some((one) => one.textContent.includes('[DONE]'))")


def test_neither_words_nor_credentials_reach_the_page(page: Page, admin: Admin) -> None:
    """The page as it stands, and everything that it was sent; with content the words, but still no credential."""
    told = "Promise.all({0}.map((row) => fetch('/inspector/exchanges/' + row.dataset.id).then((one) => one.text()))).then(String)"
    for shown in (False, True):
        if shown:
            page.click("#content")
            page.until("document.querySelector('#content').getAttribute('aria-checked') === 'true'")
        for shape in ("chat", "messages", "responses"):
            admin.call(shape, "demo/think", "Zanzibar is my s3cret", stream=True, user="s3cret-user")
        rows(page, 6 if shown else 3)
        page.click("#rows li")
        page.press("o")
        page.until("document.querySelectorAll('#answer .event.open').length > 5")
        for text in (page.js("document.documentElement.textContent"), page.js(told.format(ROWS))):
            assert ("Zanzibar" in text) is shown
            assert ("s3cret" in text) is shown
            assert "sk-of" not in text
        page.press("o")
    page.press("c")
    page.until("document.querySelector('#content').getAttribute('aria-checked') === 'false'")
    page.until(f"!{ROWS}.length || !document.documentElement.textContent.includes('Zanzibar')")


def test_a_paused_page_stands_still(page: Page, admin: Admin) -> None:
    admin.call("chat", "demo/echo")
    rows(page, 1)
    page.press("Escape", "p")
    page.until("document.querySelector('#state').textContent.trim() === 'paused'")
    admin.call("messages", "demo/echo")
    page.until("document.querySelector('#held').textContent === 'Paused. 1 new since then.'")
    assert len(page.js(f"{ROWS}.map(String)")) == 1
    page.press(" ")
    assert "messages" in rows(page, 2)[0]
    assert page.js("document.querySelector('#held').hidden")


def test_filters(page: Page, admin: Admin) -> None:
    admin.call("chat", "demo/echo")
    admin.call("messages", "demo/echo", top_k=1)
    admin.call("chat", "nowhere")
    rows(page, 3)
    page.press("/")
    page.until(f"{FOCUS}.id === 'filter'")
    page.type("echo messages")
    assert "messages" in rows(page, 1)[0]
    page.type(" no such thing")
    rows(page, 0)
    page.click("#unfilter")
    rows(page, 3)
    for kind, number in (("failed", 1), ("translated", 1), ("lossy", 1), ("open", 0)):
        button = f"#kinds [data-kind={kind}]"
        assert page.js(f"document.querySelector('{button}').dataset.count") == (str(number) if number else "")
        page.click(button)
        rows(page, number)
        page.click(button)
    rows(page, 3)


def test_keys(page: Page, admin: Admin) -> None:
    for model in ("demo/tool", "demo/think", "demo/echo"):
        admin.call("messages", model, stream=True)
    rows(page, 3)
    chosen = f"{CHOSEN}.querySelector('.model').textContent"
    page.press("Escape")
    page.until(f"{FOCUS}.id === 'rows'")
    page.until(f"{CHOSEN} && true")
    page.press("k", "k", "k")
    assert page.js(chosen) == "demo/echo"
    page.press("ArrowDown")
    assert page.js(chosen) == "demo/think"
    page.until("document.querySelectorAll('#answer .group').length > 10")
    page.press("Enter")
    page.until(f"{FOCUS}.classList.contains('marked')")
    page.press("ArrowDown", "ArrowDown", " ")
    assert page.js("document.querySelectorAll('.group')[2].querySelectorAll('.event.open').length") > 0
    assert page.js("document.querySelector('#state').dataset.state") == "live"  # the space was the line's
    page.press(" ")
    assert page.js("document.querySelectorAll('.group')[2].querySelectorAll('.event.open').length") == 0
    page.press("?")
    page.until("document.querySelector('#keys').open")
    page.press("Escape")
    page.until("!document.querySelector('#keys').open")
    page.press("e")
    page.until("document.querySelectorAll('#explained li').length === 4")
    page.press("Escape")
    page.until("!document.querySelector('#explain').open")


def test_the_focus_is_seen_and_everything_has_a_name(page: Page, admin: Admin) -> None:
    admin.call("messages", "demo/echo", stream=True)
    rows(page, 1)
    page.until("document.querySelectorAll('#answer .group').length > 2")
    met = []
    for _ in range(20):
        page.press("Tab")
        if page.js(f"{FOCUS} === document.body"):
            continue  # from the last to the first
        met.append(page.js(f"{FOCUS}.id || {FOCUS}.className || {FOCUS}.localName"))
        assert page.js(f"getComputedStyle({FOCUS}).outlineStyle") != "none", met
    assert {"filter", "content", "pause", "rows"} <= set(met)
    nameless = "[...document.querySelectorAll('button, input, select, canvas, [role=listbox], section[tabindex], [tabindex=\"0\"]')]"
    nameless += ".filter((one) => !(one.textContent.trim() || one.ariaLabel || one.title)).map((one) => one.outerHTML)"
    assert page.js(nameless) == []


def _contrast(page: Page, selector: str) -> float:
    """WCAG 2's ratio of a text to the paper behind it."""
    colours = page.js(
        f"""(() => {{ const one = document.querySelector({orjson.dumps(selector).decode()});
        const pen = new OffscreenCanvas(1, 1).getContext("2d", {{ willReadFrequently: true }});
        const layers = []; for (let at = one; at; at = at.parentElement) layers.unshift(getComputedStyle(at).backgroundColor);
        for (const layer of layers) {{ pen.fillStyle = layer; pen.fillRect(0, 0, 1, 1); }}
        const behind = [...pen.getImageData(0, 0, 1, 1).data];
        pen.fillStyle = getComputedStyle(one).color; pen.fillRect(0, 0, 1, 1);
        return [behind, [...pen.getImageData(0, 0, 1, 1).data]]; }})()"""
    )

    def light(colour: list[int]) -> float:
        parts = [part / 255 / 12.92 if part <= 10 else ((part / 255 + 0.055) / 1.055) ** 2.4 for part in colour[:3]]
        return 0.2126 * parts[0] + 0.7152 * parts[1] + 0.0722 * parts[2]

    dim, bright = sorted(light(colour) for colour in colours)
    return (bright + 0.05) / (dim + 0.05)


TEXTS = (
    *(f".row .{name}" for name in ("model", "when", "upstream", "cost", "shape.chat", "shape.messages", "shape.responses")),
    *(".row[data-state=failed] .cost", ".facts dt", ".status", ".attempts .why", ".tags code", ".kinds button", ".state span", "h1 span"),
    *(".group > time", ".event .name span", ".event .gist.hidden", ".event .size"),
    *(f".json .{name}" for name in ("string", "number", "mark", "hidden")),
)


@pytest.mark.parametrize("dark", [False, True])
def test_colours_by_day_and_by_night(browser: Browser, admin: Admin, dark: bool) -> None:
    with opened(browser, admin, dark=dark) as page:
        for shape, model in (("responses", "demo/echo"), ("chat", "nowhere"), ("messages", "demo/think")):
            admin.call(shape, model, stream=True, top_k=3)
        rows(page, 3)
        page.click("#rows li")
        page.until("document.querySelectorAll('#answer .group').length > 10")
        page.press("o")
        assert page.js("document.documentElement.dataset.theme") == ("dark" if dark else "light")
        ratios = {selector: round(_contrast(page, selector), 2) for selector in TEXTS}
        assert {selector: ratio for selector, ratio in ratios.items() if ratio < 4.5} == {}
        page.press("t")
        assert page.js("document.documentElement.dataset.theme") == ("light" if dark else "dark")


@pytest.mark.parametrize("width", [1440, 900, 420])
def test_nothing_is_wider_than_its_window(browser: Browser, admin: Admin, width: int) -> None:
    with opened(browser, admin, width=width) as page:
        admin.call("messages", "demo/think", "word " * 12, stream=True, top_k=3)
        rows(page, 1)
        page.click("#rows li")
        page.until("document.querySelectorAll('#answer .group').length > 10")
        page.press("o")
        assert page.js("document.documentElement.scrollWidth") == width
        assert page.js("document.querySelector('#answer').getBoundingClientRect().right") <= width
        if width == 420:  # one thing at a time
            assert page.js("document.querySelector('.list').offsetWidth") == 0
            page.click("#back")
            assert page.js("document.querySelector('.list').offsetWidth") == width
