"""One request's life, from the first look at its body to its log line: readable from top to bottom.

read      what is asked: model, stream, who asks
route     which upstreams could answer, in order
attempt   one after the other, until one has given its first content or all have failed (attempt.py)
settle    usage, metrics, one log line: always, however it ended
"""

from __future__ import annotations

import asyncio
import logging
from time import monotonic
from typing import TYPE_CHECKING, Any

from tornado.httputil import HTTPHeaders
from tornado.iostream import StreamClosedError

from ...codecs import errors, limits, splice
from ...codecs.ledger import Ledger
from ..routing.router import Candidate, Shape
from ..wire import headers as travel
from .attempt import Attempt
from .caller import Client

if TYPE_CHECKING:
    from ..gateway import Gateway
    from ..memory.background import Job
    from ..memory.turn import Turn

log = logging.getLogger("dragoman")

# what another candidate could do better: everything that is not the request's own fault
_RETRIED_KINDS = frozenset({"bad_gateway", "server", "overloaded", "timeout", "rate_limit"})
_AT_ONCE = frozenset({429, 500, 502, 503, 504, 529})  # without a retry_policy: these go to the next candidate when there is one


class Exchange:
    """One caller's request. `shape` is the caller's; `query` is what stood behind the path, with its question mark."""

    def __init__(self, gateway: Gateway, shape: Shape, client: Client, headers: HTTPHeaders, body: bytes, query: str = "") -> None:
        self.gateway = gateway
        self.shape = shape
        self.headers = headers
        self.body = body
        self.query = query
        self.nonce = travel.nonce(16)
        self.request_id = travel.request_id(headers.get("X-Request-Id"), self.nonce)
        self.credential = travel.credential(headers, shape)
        self.strict = headers.get("X-Dragoman-Strict", "").strip() == "1"
        self.begun = monotonic()  # not the loop's time, which has steps of a millisecond on uvloop
        self.stream = False
        self.turn: Turn | None = None  # of a responses client: what it continues, and what is kept
        self.key_name = ""
        self.limits: dict[str, str] = {}  # rate-limit headers of the caller's key
        self.refused: set[str] = set()  # names of attempt.LESSONS that an upstream taught during this request
        self.scan: splice.Scan
        self.attempts: list[Attempt] = []
        self.status = 200
        self.error: errors.GatewayError | None = None
        self.trace = None if gateway.tracer is None else gateway.tracer.begin(self)
        self.tap = gateway.inspector.open(self)  # None: nobody looks
        self.client: Client | Job = client if self.tap is None else self.tap.client(client)
        self._task: asyncio.Task[Any] | None = None

    async def run(self) -> None:
        """Answer the request. Raises nothing: whatever happens is told to the client in its own shape."""
        self._task = asyncio.current_task()
        self.gateway.exchanges.add(self)
        try:
            if not self.client.gone:
                await self._told()
        except asyncio.CancelledError:
            if not self.client.gone:
                raise
        except StreamClosedError:
            self.client.gone = True
        except Exception:
            log.exception("request %s failed, and could not be told so", self.request_id)
            self.client.abort()
        finally:
            self.gateway.exchanges.discard(self)
            self._task = None
            if self.client.gone and self.client.stalled:
                self.error = errors.Timeout("client_stall", "The client took nothing any more.")
            self.gateway.settle(self)
            self.attempts.clear()  # each leads back here: what is large goes now, not when the collector comes
            if self.turn is not None:
                await self.turn.release()
                self.turn = None  # the same

    def leave(self) -> None:
        """The client has closed its connection: whatever goes on for it ends."""
        if self.turn is not None and self.turn.job is not None:
            self.turn.job.left()
            return
        self.client.gone = True
        self.give_up()

    def give_up(self) -> None:
        if self._task is not None:
            self._task.cancel()

    async def _told(self) -> None:
        try:
            if self.gateway.timeout is None:
                await self._run()
            else:
                async with asyncio.timeout(self.gateway.timeout):
                    await self._run()
        except errors.GatewayError as error:
            await self._refuse(error)
        except TimeoutError:
            await self._refuse(errors.Timeout("timeout", "The request took longer than this gateway allows."))
        except StreamClosedError:
            raise
        except Exception:
            log.exception("request %s failed", self.request_id)
            await self._refuse(errors.LocalBug(f"Internal error. Request id: {self.request_id}"))

    async def _run(self) -> None:
        self._read()
        self.limits = await self.gateway.quota.admit(self.key_name, self.shape)
        route = self.gateway.router.candidates(self.shape, self.scan.model)
        candidates = self.gateway.affordable(self.key_name, route.candidates)
        if self.shape == "responses":
            candidates = await self.gateway.state.begin(self, candidates)
        failed: list[tuple[Candidate, errors.GatewayError]] = []
        for candidate in self.gateway.ejection.ordered(candidates):
            if await self._try(candidate, failed):
                return
        raise self._verdict(failed)

    def _read(self) -> None:
        gateway = self.gateway
        gateway.admit(self)
        self.scan = splice.scan(self.body)
        self.stream = bool(self.scan.stream)
        if self.stream:
            gateway.metrics.opened()
        gateway.check_models(self.key_name, self.scan, self.body, self.query)

    async def _try(self, candidate: Candidate, failed: list[tuple[Candidate, errors.GatewayError]]) -> bool:
        """Whether this candidate answered, within the attempts that its policy allows. Raises what no candidate could mend."""
        ejection, policy = self.gateway.ejection, candidate.provider.retry_policy
        allowed = policy.max_attempts if policy else 2
        for number in range(1, allowed + 1):
            attempt = Attempt(self, candidate) if self.tap is None else self.tap.attempt(self, candidate)
            self.attempts.append(attempt)
            try:
                await attempt.run()
                if isinstance(self.error, errors.UpstreamFault):  # in mid-stream
                    ejection.failed(candidate)
                else:
                    ejection.worked(candidate)
                return True
            except errors.GatewayError as error:
                attempt.error = error
                attempt.times["end"] = monotonic()
                if self.client.committed:
                    raise
                if attempt.learned:
                    return await self._try(candidate, failed)
                failed.append((candidate, error))
                if isinstance(error, errors.Unconfigured):
                    return False
                if not _mendable(error, attempt.status, policy):
                    raise
                ejection.failed(candidate, error.retry_after)
                wait = _pause(error, number, policy)
                if number == allowed or wait is None:
                    return False
                await asyncio.sleep(wait)
        return False

    def _verdict(self, failed: list[tuple[Candidate, errors.GatewayError]]) -> errors.GatewayError:
        """Every candidate failed: one error is told as it is, several are listed."""
        error = failed[-1][1]
        last = {id(candidate): (candidate.called, fault.message) for candidate, fault in failed}  # of several attempts at one
        if len(last) == 1:
            return error
        tried = "; ".join(f"{called}: {message}" for called, message in last.values())
        told = errors.AllFailed(f"All upstreams failed. {tried}", kind=error.kind, code=error.code)
        told.retry_after = error.retry_after
        return told

    # ---- ends ----

    async def _refuse(self, error: errors.GatewayError) -> None:
        """Tell the client of an error: as an HTTP answer, or (too late for that) in the stream's own way."""
        self.error = error
        if self.client.gone:
            return
        if self.client.committed:
            await self._break_off(error)
            return
        attempt = self.attempts[-1] if self.attempts else None
        headers = self.own_headers()
        if attempt is not None:
            headers["x-dragoman-upstream"] = attempt.candidate.name
            headers["x-dragoman-lane"] = "bytes" if attempt.same_shape else "events"
            upstream_id = travel.upstream_request_id(attempt.upstream_headers)
            if upstream_id:
                headers["x-dragoman-upstream-request-id"] = upstream_id
        headers |= error.headers
        if error.retry_after is not None:
            headers["retry-after"] = str(max(0, -int(-error.retry_after // 1)))
        if error.should_retry is not None:
            headers["x-should-retry"] = "true" if error.should_retry else "false"
        if attempt is not None and attempt.refusal is not None and isinstance(error, errors.Answered):
            self.status, kept, body = attempt.refusal
            headers |= kept
            kind = attempt.upstream_headers.get("Content-Type", "application/json")
        else:
            self.status = error.http_status(self.shape)
            body, kind = error.body(self.shape, self.request_id), "application/json"
        headers = limits.replaced(headers, self.limits)
        if self.turn is not None:
            await self.turn.failed(error)
        await self.client.answer(self.status, headers | {"content-type": kind}, body)

    async def _break_off(self, error: errors.GatewayError) -> None:
        lane = self.attempts[-1].lane if self.attempts else None
        if lane is not None:
            lane.break_off(error)
            tail = lane.close()
            if self.turn is not None:
                tail = await self.turn.keep(lane, self.attempts[-1].candidate, tail)
            pending = self.client.write(tail)
            if pending is not None:
                await pending
            await self.client.finish()

    def failed_midway(self, error: errors.GatewayError) -> None:
        """The stream ended in the shape's own failure, which the client has been told."""
        self.error = self.attempts[-1].error = error

    def own_headers(self) -> dict[str, str]:
        return {"x-request-id": self.request_id, "request-id": self.request_id}

    @property
    def owner(self) -> str:
        """Whose the state is."""
        return self.gateway.owner(self.key_name, self.credential)

    @property
    def ledger(self) -> Ledger:
        return self.attempts[-1].ledger if self.attempts else Ledger()


def _mendable(error: errors.GatewayError, status: int, policy: Any) -> bool:
    """Whether the same request may succeed elsewhere, or a second time."""
    if isinstance(error, errors.ClientFault | errors.Unconfigured):
        return False
    if isinstance(error, errors.Answered):
        if status >= 300:
            return status in (policy.on_status_codes if policy else _AT_ONCE) or error.code == "upstream_auth_failed"
        return error.kind in _RETRIED_KINDS
    return isinstance(error, errors.UpstreamFault)


def _pause(error: errors.GatewayError, number: int, policy: Any) -> float | None:
    """Seconds before the next attempt at the same candidate; None when it shall not be tried again."""
    if policy is None:
        return 0.0 if isinstance(error, errors.Refused) else None
    wait: float = min(policy.backoff.base * 2 ** (number - 1), policy.backoff.max)
    if error.retry_after is None:
        return wait
    return None if error.retry_after > policy.backoff.max else max(wait, error.retry_after)
