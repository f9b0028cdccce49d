"""Chromium without a window, spoken to over its debugging protocol: for what only a page in a real browser can show."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import tempfile
from typing import Any

import orjson
from tornado.websocket import WebSocketClientConnection, websocket_connect

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--no-default-browser-check",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-extensions",
    "--disable-sync",
    "--remote-debugging-port=0",
)
SECONDS = 20.0  # for an answer of the browser's
MOST_WAYS = 5  # that a page goes while something is waited for
GONE = ("Inspected target navigated or closed", "Execution context was destroyed", "Cannot find context")

_UNTIL = """new Promise((ok, fail) => {
  const end = performance.now() + 10000;
  const look = () => {
    let found;
    try { found = CONDITION; } catch { found = null; }
    if (found) ok(found);
    else if (performance.now() > end) fail(new Error("never: " + CONDITION_TEXT));
    else setTimeout(look, 10);
  };
  look();
})"""
_KEYS = {"Enter": 13, "Escape": 27, " ": 32, "ArrowUp": 38, "ArrowDown": 40, "Tab": 9}


def executable() -> str | None:
    """DRAGOMAN_BROWSER, or the first Chromium on the path."""
    return os.environ.get("DRAGOMAN_BROWSER") or next(filter(None, map(shutil.which, NAMES)), None)


class Browser:
    """One process with a profile of its own."""

    def __init__(self, path: str, *flags: str) -> None:
        self._loop = asyncio.new_event_loop()
        self._folder = tempfile.TemporaryDirectory(prefix="dragoman-browser-", ignore_cleanup_errors=True)
        command = [path, *FLAGS, *flags, f"--user-data-dir={self._folder.name}", "about:blank"]
        self._process = subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL)
        self._count = 0
        self._socket: WebSocketClientConnection = self.wait(self._connect())
        self.faults: list[str] = []  # what pages threw, and what they were refused

    def _address(self) -> str:
        assert self._process.stderr is not None
        for line in self._process.stderr:
            if b"DevTools listening on " in line:
                return line.split()[-1].decode()
        raise RuntimeError(f"the browser ended with {self._process.wait()}")

    async def _connect(self) -> WebSocketClientConnection:
        return await websocket_connect(self._address(), max_message_size=1 << 26)

    def wait(self, awaitable: Any) -> Any:
        return self._loop.run_until_complete(asyncio.wait_for(awaitable, SECONDS))

    def call(self, method: str, session: str | None = None, **members: Any) -> dict[str, Any]:
        """A command of the protocol, and its result."""
        return dict(self.wait(self._call(method, session, members)))

    async def _call(self, method: str, session: str | None, members: dict[str, Any]) -> dict[str, Any]:
        self._count += 1
        number = self._count
        command = {"id": number, "method": method, "params": members} | ({"sessionId": session} if session else {})
        await self._socket.write_message(orjson.dumps(command))
        while True:
            said = await self._socket.read_message()
            assert said is not None, "the browser is gone"
            message = orjson.loads(said)
            if message.get("id") == number:
                assert "error" not in message, message["error"]
                return dict(message["result"])
            self._hear(message)

    def _hear(self, message: dict[str, Any]) -> None:
        told = message.get("params", {})
        if message.get("method") == "Runtime.exceptionThrown":
            self.faults.append(str(told["exceptionDetails"]))
        elif message.get("method") == "Log.entryAdded" and told["entry"]["level"] == "error":
            self.faults.append(str(told["entry"]))

    def open(self, url: str, *, dark: bool = False, width: int = 1440, height: int = 900) -> Page:
        context = self.call("Target.createBrowserContext")["browserContextId"]
        target = self.call("Target.createTarget", url="about:blank", browserContextId=context)["targetId"]
        page = Page(self, self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"], context)
        for domain in ("Runtime", "Log", "Page"):
            page.call(f"{domain}.enable")
        page.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}])
        page.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)
        page.call("Page.navigate", url=url)
        return page

    def close(self) -> None:
        self._process.terminate()
        self._process.wait(20)
        assert self._process.stderr is not None
        self._process.stderr.close()
        self._loop.run_until_complete(self._hang_up())
        self._loop.run_until_complete(self._loop.shutdown_default_executor())
        self._loop.close()
        self._folder.cleanup()

    async def _hang_up(self) -> None:
        self._socket.close()  # makes a future: outside of the loop there may be none for it
        await asyncio.sleep(0)


class Page:
    """One page in a context (cookies, storage) of its own."""

    def __init__(self, browser: Browser, session: str, context: str) -> None:
        self.browser, self._session, self._context = browser, session, context

    def __enter__(self) -> Page:
        return self

    def __exit__(self, *_: object) -> None:
        self.browser.call("Target.disposeBrowserContext", browserContextId=self._context)

    def call(self, method: str, **members: Any) -> dict[str, Any]:
        return self.browser.call(method, self._session, **members)

    def js(self, expression: str) -> Any:
        """An expression's value; of a promise, what it comes to."""
        found = self.call("Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in found, found["exceptionDetails"]
        return found["result"].get("value")

    def until(self, condition: str) -> Any:
        """Waits for an expression to be true, within ten seconds; its value. A page that goes elsewhere is asked again there."""
        text = _UNTIL.replace("CONDITION_TEXT", orjson.dumps(condition).decode()).replace("CONDITION", condition)
        for _ in range(MOST_WAYS):
            try:
                return self.js(text)
            except AssertionError as error:
                if not any(word in str(error) for word in GONE):
                    raise
        return self.js(text)

    def press(self, *keys: str) -> None:
        for key in keys:
            told: dict[str, Any] = {"key": key, "windowsVirtualKeyCode": _KEYS.get(key, ord(key[0].upper()))}
            if len(key) == 1:
                told["text"] = key
            elif key == "Enter":
                told["text"] = "\r"
            self.call("Input.dispatchKeyEvent", type="keyDown", **told)
            self.call("Input.dispatchKeyEvent", type="keyUp", key=key)

    def type(self, text: str) -> None:
        self.call("Input.insertText", text=text)

    def click(self, selector: str) -> None:
        """With the mouse, where it is."""
        where = self.until(
            f"(() => {{ const box = document.querySelector({orjson.dumps(selector).decode()}).getBoundingClientRect();"
            " return box.width && [box.x + box.width / 2, box.y + box.height / 2]; })()"
        )
        for kind in ("mousePressed", "mouseReleased"):
            self.call("Input.dispatchMouseEvent", type=kind, x=where[0], y=where[1], button="left", clickCount=1)
