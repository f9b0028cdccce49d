"""The models of wildcards, as their upstreams list them: read at the start, after a reload, and every ten minutes.

Each worker reads for itself, with the entry's own credential, proxy and certificates. An upstream that gives no list costs nothing but its
list: requests do not depend on it, and an earlier list stays.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Mapping, Sequence
from functools import partial

from ...codecs import errors, model_lists
from ...codecs.model_lists import Known
from ...conf import facts
from ...conf.model import Provider
from ..wire import bodies
from ..wire.upstream import UpstreamClient
from .asking import asked
from .candidate import Candidate

log = logging.getLogger("dragoman")

EVERY = 600.0  # seconds between two readings, a tenth more or less: replicas do not ask together
PATIENCE = 10.0  # seconds for one page
PAGES = 20
LARGEST = 4 << 20  # bytes of a page


def _look_up(provider: Provider, models: Mapping[str, Known]) -> None:
    """Look up what is known of these models, which takes time for long lists, so that it is at hand afterwards."""
    for model_id, listed in models.items():
        facts.of(provider, model_id, listed)


class Discovery:
    """The lists of one worker. version: rises when one changes."""

    def __init__(self, upstream: UpstreamClient) -> None:
        self._upstream = upstream
        self._tasks: list[asyncio.Task[None]] = []
        self._lists: dict[bytes, dict[str, Known]] = {}  # by the entry's seed
        self._failing: set[bytes] = set()
        self.version = 0

    def adopt(self, listers: Sequence[Candidate]) -> None:
        """Read the lists of these, which are a router's; forget those of others."""
        self.close()
        seeds = {candidate.seed for candidate in listers}
        self._lists = {seed: models for seed, models in self._lists.items() if seed in seeds}
        self._failing &= seeds
        self.version += 1
        loop = asyncio.get_running_loop()
        self._tasks = [loop.create_task(self._keep_reading(candidate)) for candidate in listers]

    def of(self, seed: bytes) -> Mapping[str, Known]:
        """The models that an upstream lists, and what it says of each. seed: of its entry."""
        return self._lists.get(seed, {})

    def close(self) -> None:
        """Read no more."""
        for task in self._tasks:
            task.cancel()
        self._tasks = []

    async def _keep_reading(self, candidate: Candidate) -> None:
        while True:
            await self._read(candidate)
            await asyncio.sleep(EVERY * random.uniform(0.9, 1.1))

    async def _read(self, candidate: Candidate) -> None:
        try:
            models = await self._pages(candidate)
        except errors.GatewayError as error:
            self._failed(candidate, error.message)
            errors.forget(error)
        except Exception as error:
            log.exception("the models of %s were not listed", candidate.provider.name)
            errors.forget(error)
        else:
            self._failing.discard(candidate.seed)
            if models != self._lists.get(candidate.seed):
                await bodies.apart(True, partial(_look_up, candidate.provider, models))
                self._lists[candidate.seed] = models
                self.version += 1

    async def _pages(self, candidate: Candidate) -> dict[str, Known]:
        """All pages of a list. Raises GatewayError."""
        models: dict[str, Known] = {}
        query = ""
        for _ in range(PAGES):
            try:
                async with asyncio.timeout(PATIENCE):
                    url = candidate.beside("/models", query)
                    status, body = await asked(self._upstream, candidate, url, patience=PATIENCE, max_body=LARGEST)
            except TimeoutError:
                raise errors.Timeout("first_byte", "The list of models did not come in time.") from None
            page = model_lists.read(body) if status == 200 else None
            if page is None:
                raise errors.Garbled(f"The upstream answered with {status}, and no list of models.")
            models |= page.models
            if not page.more or page.more == query or len(models) >= model_lists.MOST:
                break
            query = page.more
        return models

    def _failed(self, candidate: Candidate, why: str) -> None:
        """Say it once, until the list is read again."""
        if candidate.seed not in self._failing:
            self._failing.add(candidate.seed)
            log.info("the models of %s are not listed: %s", candidate.provider.name, why)
