"""Hooks: HTTP calls that the operator has made before an upstream is asked, and when an answer is over.

A hook of requests may refuse, never rewrite: what goes to the upstream is what the caller sent, so that prompt caches hold. It answers
`{"block": true, "message": "…"}` to refuse; `{"block": false}`, or a 2xx without a body, to let the request pass. Anything else, and
no answer in its time, is a failure: with `fail: open` the request passes, with `fail: closed` it is refused.

A hook of answers is told, and its answer is not looked at. It delays nobody: the caller has its answer. At most WAITING such calls wait for
one of the CALLS that a worker makes at a time, with HELD bytes of answers; more are given up, counted and logged.

What hooks are told holds no credential, and no prompt or answer unless `content: true`.
"""

from __future__ import annotations

import asyncio
import logging
from base64 import b64encode
from collections import deque
from collections.abc import Awaitable, Coroutine, Mapping
from functools import partial
from time import monotonic, time
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from ...codecs import errors, jsontext
from ...codecs.anything import at
from ...conf.model import Hook
from ..telemetry.account import Account
from ..telemetry.metrics import Metrics
from ..wire import bodies
from ..wire.others import Others
from .caller import Caller, CallerAround

if TYPE_CHECKING:
    from .exchange import Exchange

log = logging.getLogger("dragoman")

LARGEST = 64 * 1024  # bytes of a hook's answer
LONGEST = 1000  # characters of a message to the caller
CALLS = 64  # to hooks of answers at once
WAITING = 1000  # calls that wait for that
HELD = 128 * 1024 * 1024  # bytes of answers that all these calls tell
CONTENT = 8 * 1024 * 1024  # bytes of an answer that a hook is told
TELLING = 60.0  # seconds between two log lines about one hook


Call = Coroutine[Any, Any, None]


class _Failed(Exception):
    """A hook gave no decision. The message is for the log."""


class Hooks:
    """The hooks of one configuration. load: what outlives it."""

    def __init__(self, hooks: tuple[Hook, ...], others: Others, metrics: Metrics, load: Load) -> None:
        self._others, self._metrics, self._load = others, metrics, load
        self._before = [_Named(hook, number) for number, hook in enumerate(hooks) if "request" in hook.on]
        self._after = [_Named(hook, number) for number, hook in enumerate(hooks) if "answer" in hook.on]
        self.listens = any(named.hook.content for named in self._after)  # to the bytes of answers
        self.reads = any(named.hook.content for named in self._before)  # the bodies of requests

    async def before(self, exchange: Exchange) -> None:
        """Ask the hooks of requests, one after the other. Raises Blocked."""
        for named in self._before:
            await self._decided(named, exchange)

    async def _decided(self, named: _Named, exchange: Exchange) -> None:
        hook = named.hook
        begun = monotonic()
        try:
            heavy = hook.content and exchange.heavy
            refusal = _decision(await self._call(hook, await bodies.apart(heavy, partial(_asking, exchange, hook.content))))
        except _Failed as failure:
            self._failed(named, "request", str(failure))
            if hook.fail == "closed":
                raise _blocked("The policy of this gateway could not be asked.", exchange) from None
            return
        self._metrics.hook("request", "passed" if refusal is None else "blocked", monotonic() - begun)
        named.works()
        if refusal is not None:
            raise _blocked(refusal, exchange)

    async def _call(self, hook: Hook, payload: bytes) -> bytes:
        """The body of a good answer. Raises _Failed."""
        try:
            answer = await self._others.ask(hook.url, hook.timeout, payload, dict(hook.headers), LARGEST)
        except errors.GatewayError as error:
            raise _Failed(error.detail or error.message) from None
        if not 200 <= answer.status < 300:
            raise _Failed(f"it answered with {answer.status}")
        return answer.body

    def _failed(self, named: _Named, on: str, why: str) -> None:
        self._metrics.hook(on, "failed", None)
        if named.tells():
            log.warning("%s failed: %s", named.text, why)

    # ---- answers ----

    def after(self, exchange: Exchange, done: Account) -> None:
        """Tell the hooks of answers of an exchange that is over. Returns at once."""
        if not self._after:
            return
        notification = _request(exchange) | _answer(done)
        heard = exchange.heard
        for named in self._after:
            content = {"answer": heard.text, "answer_cut": heard.cut} if named.hook.content and heard is not None else {}
            size = len(heard.text) if content and heard is not None else 0
            if not self._load.take(self._tell(named, notification | content), size):
                self._metrics.hook("answer", "dropped", None)
                if named.tells():
                    log.warning("%s is not told of some answers: %d calls to hooks are not over", named.text, len(self._load))

    async def _tell(self, named: _Named, notification: dict[str, Any]) -> None:
        begun = monotonic()
        try:
            await self._call(named.hook, await bodies.apart("answer" in notification, partial(jsontext.dumps, notification)))
        except _Failed as failure:
            self._failed(named, "answer", str(failure))
        else:
            self._metrics.hook("answer", "passed", monotonic() - begun)
            named.works()


class Load:
    """The calls to hooks of answers that a worker makes, whatever its configuration is. Create it inside the loop."""

    def __init__(self) -> None:
        self._waiting: deque[tuple[Call, int]] = deque()
        self._tasks: dict[asyncio.Task[None], int] = {}  # bytes of the answer that each tells
        self._held = 0  # bytes of all of them
        self._loop = asyncio.get_running_loop()

    def __len__(self) -> int:
        """Calls that are not over."""
        return len(self._waiting) + len(self._tasks)

    def take(self, call: Call, size: int) -> bool:
        """Run a coroutine, now or later; False when too many wait. size: bytes of the answer that it tells."""
        if len(self._waiting) >= WAITING or (self._held and self._held + size > HELD):
            call.close()
            return False
        self._held += size
        if len(self._tasks) < CALLS:
            self._run(call, size)
        else:
            self._waiting.append((call, size))
        return True

    def _run(self, call: Call, size: int) -> None:
        task = self._loop.create_task(call)
        self._tasks[task] = size
        task.add_done_callback(self._over)

    def _over(self, task: asyncio.Task[None]) -> None:
        self._held -= self._tasks.pop(task)
        if not task.cancelled() and task.exception() is not None:
            log.error("a hook could not be told", exc_info=task.exception())
        if self._waiting:
            self._run(*self._waiting.popleft())

    async def close(self, seconds: float) -> None:
        """Wait so long for those under way, then end them."""
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=seconds)
        given_up = len(self)
        for call, _ in self._waiting:
            call.close()
        self._waiting.clear()
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)
        if given_up:
            log.warning("hooks are not told of %d answers: the process ends", given_up)


class _Named:
    """A hook, as the log calls it: its URL may hold secrets."""

    def __init__(self, hook: Hook, number: int) -> None:
        self.hook = hook
        self.text = f"hooks[{number}] ({urlsplit(hook.url).hostname})"
        self._silent_until = float("-inf")

    def tells(self) -> bool:
        """Whether a failure is to be logged now."""
        now = monotonic()
        if now < self._silent_until:
            return False
        self._silent_until = now + TELLING
        return True

    def works(self) -> None:
        """The next failure is logged."""
        self._silent_until = float("-inf")


# ---- what a hook says ----


def _decision(body: bytes) -> str | None:
    """The message of a refusal; None: the request passes. Raises _Failed."""
    if not body.strip():
        return None
    try:
        value = jsontext.loads(body)
    except ValueError:
        raise _Failed("its answer is no JSON") from None
    block = at(value, "block")
    if not isinstance(block, bool):
        raise _Failed("its answer has no boolean `block`")
    if not block:
        return None
    message = value.get("message")
    return message if isinstance(message, str) and message.strip() else "The policy of this gateway does not allow this request."


def _blocked(message: str, exchange: Exchange) -> errors.Blocked:
    shown = "".join(character if character.isprintable() else " " for character in message.strip()[:LONGEST])
    return errors.Blocked(f"{shown} (request id: {exchange.request_id})")


# ---- what a hook is told ----


def _request(exchange: Exchange) -> dict[str, Any]:
    identity = exchange.identity
    return {
        "on": "request",
        "time": round(time(), 3),
        "request_id": exchange.request_id,
        "key": identity.name,
        "team": identity.team,
        "user": identity.user,
        "operation": exchange.operation.name,
        "shape": exchange.shape,
        "path": exchange.caller_path,
        "model": exchange.scan.model,
        "stream": exchange.stream,
    }


def _asking(exchange: Exchange, content: bool) -> bytes:
    """What a hook of requests is sent. content: with the body."""
    return jsontext.dumps(_request(exchange) | ({"body": _content(exchange)} if content else {}))


def _content(exchange: Exchange) -> Any:
    """The caller's body: JSON as it was read; another kind in base64."""
    if exchange.form_field is None and exchange.scan.value:
        return exchange.scan.value
    if not exchange.body:
        return None
    try:
        return jsontext.loads(exchange.body)  # of an operation that nothing else reads the body for
    except ValueError:
        return {"base64": b64encode(exchange.body).decode()}


def _answer(done: Account) -> dict[str, Any]:
    last, error = done.last, done.error
    fields: dict[str, Any] = {
        "on": "answer",
        "status": done.status,
        "client_left": done.client_left,
        "error": None if error is None else error.name,
        "ms_total": round((done.ended - done.begun) * 1000, 3),
    }
    if last is not None:
        fields |= {"upstream": last.target.upstream, "stop": last.stop, "cost": last.cost}
        usage = last.usage
        if usage is not None:
            fields["tokens"] = {"input": usage.input, "output": usage.output, "cached": usage.cache_read or 0}
    return fields


class Heard(CallerAround):
    """A Caller whose answer is also held, up to CONTENT bytes, for hooks of answers. text: what it was sent."""

    def __init__(self, caller: Caller) -> None:
        super().__init__(caller)
        self._held = bytearray()
        self.cut = False

    @property
    def text(self) -> str:
        return self._held.decode("utf-8", "replace")

    def _hear(self, data: bytes) -> None:
        room = CONTENT - len(self._held)
        self._held += data[:room]
        self.cut = self.cut or len(data) > room

    async def answer(self, status: int, headers: Mapping[str, str], body: bytes) -> None:
        self._hear(body)
        await self._caller.answer(status, headers, body)

    def start(self, headers: Mapping[str, str], first: bytes, status: int = 200, length: int | None = None) -> Awaitable[Any] | None:
        self._hear(first)
        return self._caller.start(headers, first, status, length)

    def write(self, data: bytes) -> Awaitable[Any] | None:
        self._hear(data)
        return self._caller.write(data)

    async def finish(self, last: bytes = b"") -> None:
        self._hear(last)
        await self._caller.finish(last)
