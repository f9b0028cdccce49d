"""The sources of a configuration: one for each distinct way to get a credential, however many entries use it."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from datetime import UTC, datetime
from importlib.util import find_spec

from ...conf.model import Aws, Config, Google, Provider, TokenCommand, Way
from . import aws, azure, gcp
from .command import Command
from .source import Fault, Giver, Source, Told

_QUIET = ("google", "azure", "msal", "urllib3", "botocore")  # loggers: what these libraries log can hold what was sent


def giver(way: Way, timeout: float) -> Giver:
    """What gets credentials in this way. timeout: seconds, of the command or of each call."""
    if isinstance(way, TokenCommand):
        return Command(way, timeout)
    for name in _QUIET:
        logging.getLogger(name).setLevel(logging.CRITICAL + 1)
    if isinstance(way, Aws):
        return aws.AwsGiver(way, timeout)
    return gcp.GoogleGiver(way, timeout) if isinstance(way, Google) else azure.EntraGiver(way, timeout)


def _needs(way: Way | None) -> tuple[str, tuple[str, ...]]:
    """The extra that a way needs, and its packages."""
    if way is None or isinstance(way, TokenCommand):
        return "", ()
    if isinstance(way, Aws):
        return "aws", () if way.access_key_id and not way.role_arn else aws.PACKAGES
    return ("gcp", gcp.PACKAGES) if isinstance(way, Google) else ("azure", azure.PACKAGES)


def lacking(config: Config) -> Iterator[str]:
    """A message for each entry whose way needs a package that is not installed."""
    for index, entry in enumerate(config.model_providers):
        way = entry.way
        extra, packages = _needs(way)
        if way is not None and not all(map(_installed, packages)):
            yield f"model_providers[{index}]: {way.text} needs: pip install 'dragoman[{extra}]'"


def _installed(package: str) -> bool:
    try:
        return find_spec(package) is not None
    except ModuleNotFoundError:  # of its parent
        return False


class Credentials:
    """The sources of one worker. They outlive a configuration that leaves their way unchanged. told: is told of each renewal."""

    def __init__(self, told: Told = lambda *_: None) -> None:
        self._told = told
        self._sources: dict[tuple[Way, float], Source] = {}
        self._patience = 0.0

    def adopt(self, config: Config) -> None:
        """Make the sources of a configuration, and begin to get their first credentials. Call inside the running loop.

        Requests in progress keep those that they began with.
        """
        self._patience = config.egress.credential_timeout
        wanted = {(entry.way, self._patience): entry for entry in reversed(config.model_providers) if entry.way is not None}
        known, self._sources = self._sources, {}
        for key, entry in wanted.items():
            source = known.get(key)
            if source is None:
                source = Source(giver(*key), entry.name, self._patience, self._told)
                source.warm()
            self._sources[key] = source

    def of(self, provider: Provider) -> Source | None:
        """Where the credential of an entry comes from; None: it has none that ends."""
        return None if provider.way is None else self._sources[provider.way, self._patience]

    def close(self) -> None:
        for source in self._sources.values():
            source.close()


def tried(config: Config) -> Iterator[tuple[str, str, bool]]:
    """Ask each way once, one after the other: whose it is, what came of it, and whether that is a credential. Blocks."""
    seen: set[Way] = set()
    for entry in config.model_providers:
        if entry.way is None or entry.way in seen:
            continue
        seen.add(entry.way)
        yield entry.name, *_outcome(giver(entry.way, config.egress.credential_timeout))


def _outcome(giver: Giver) -> tuple[str, bool]:
    try:
        found = giver.get()
    except Fault as fault:
        return f"{giver.name}: {fault.message}", False
    except Exception as error:  # of a library: its text can hold what was sent
        return f"{giver.name}: {type(error).__name__}", False
    if found.ends is None:
        return f"{giver.name}: good, it does not say until when", True
    return f"{giver.name}: good until {datetime.fromtimestamp(found.ends, UTC):%Y-%m-%d %H:%M:%S} UTC", True
