"""Probes of ejected upstreams: they come back by themselves, and no request has to find out.

When the time of an ejection is over, the upstream is asked for its list of models, or for one token where `health_check: request` says
so. If it answers it has its place again; else it stays ejected for twice as long. Not probed are upstreams that nothing could stand in
for, and those that are called with callers' own credentials; these are tried by a request, as all were without this.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any

from ...codecs import errors, jsontext
from ...codecs.registry import USUAL
from ..wire.upstream import UpstreamClient
from .asking import asked
from .candidate import Candidate
from .ejection import Ejection
from .router import Router

log = logging.getLogger("dragoman")

MOST = 64  # upstreams that are probed at a time; others are tried by a request
PATIENCE = 10.0  # seconds for one probe

_NO_LIST = frozenset({404, 405, 501})  # it answers, and has no list of models
_GREETING = {"messages": [{"role": "user", "content": "ping"}], "max_tokens": 1}


class Health:
    """The probes under one configuration. report: called with each result, `answered` or `failed`."""

    def __init__(self, router: Router, ejection: Ejection, upstream: UpstreamClient, report: Callable[[str], Any]) -> None:
        self._router, self._ejection, self._upstream, self._report = router, ejection, upstream, report
        self._loop = asyncio.get_running_loop()
        self._timers: dict[tuple[int, str], asyncio.TimerHandle] = {}
        self._probes: dict[tuple[int, str], asyncio.Task[None]] = {}
        ejection.on_failed = self._failed

    def close(self) -> None:
        """No more probes."""
        self._ejection.on_failed = lambda candidate, until: None
        for timer in self._timers.values():
            timer.cancel()
        for probe in self._probes.values():
            probe.cancel()
        self._timers.clear()

    def _failed(self, candidate: Candidate, until: float) -> None:
        provider, key = candidate.provider, (id(candidate.provider), candidate.model)
        if provider.health_check == "off" or provider.passthrough_auth or candidate.built_in or not self._router.replaceable(candidate):
            return
        timer = self._timers.pop(key, None)
        if timer is not None:
            timer.cancel()
        elif len(self._timers) + len(self._probes) >= MOST:
            return
        self._timers[key] = self._loop.call_at(until, self._due, key, candidate)

    def _due(self, key: tuple[int, str], candidate: Candidate) -> None:
        del self._timers[key]
        if key not in self._probes and self._ejection.trying(candidate):
            self._probes[key] = self._loop.create_task(self._probe(key, candidate))

    async def _probe(self, key: tuple[int, str], candidate: Candidate) -> None:
        try:
            async with asyncio.timeout(PATIENCE):
                status = await self._asked(candidate)
            error: errors.GatewayError | None = None if _sound(status, candidate) else errors.Broken(f"A probe was answered with {status}.")
        except TimeoutError:
            error = errors.Timeout("first_byte", "A probe was not answered in time.")
        except errors.GatewayError as fault:
            error = fault
        finally:
            del self._probes[key]
        if error is None:
            self._ejection.answers(candidate)
            log.info("%s answers again", candidate.called)
        elif self._ejection.knows(candidate):  # no request has been answered meanwhile
            self._ejection.failed(candidate, error)
        self._report("answered" if error is None else "failed")

    async def _asked(self, candidate: Candidate) -> int:
        """The status of the upstream's answer. Raises GatewayError."""
        url, body = _question(candidate)
        status, _ = await asked(self._upstream, candidate, url, body, patience=PATIENCE, chunk=lambda chunk: None)
        return status


def _question(candidate: Candidate) -> tuple[str, bytes | None]:
    """The URL of a probe, and its body. Raises GatewayError."""
    if candidate.provider.health_check == "models":
        return candidate.beside("/models"), None
    greeting = USUAL.decode_request({"model": candidate.model, **_GREETING})
    body = candidate.speaks.encode_request(greeting, candidate.capabilities, candidate.model).body
    stream = candidate.speaks.only_streams(body, candidate.capabilities)
    if stream:
        body |= {"stream": True}
    if candidate.carrier is not None:
        body = candidate.carrier.parcel(body, candidate.speaks.headers(candidate.capabilities), candidate.betas).of(body)
    return candidate.endpoint(stream, ""), jsontext.dumps(body)


def _sound(status: int, candidate: Candidate) -> bool:
    return 200 <= status < 300 or (candidate.provider.health_check == "models" and status in _NO_LIST)
