"""The sources of a configuration: one for each distinct way to get a credential, however many entries use it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from importlib.util import find_spec
from time import time

from ...conf.document import Path, show
from ...conf.model import Aws, Config, Egress, Provider, TokenCommand, Way
from . import aws
from .command import Command
from .credential import Fault
from .library import ROWS, Library
from .source import Giver, Report, Source, Turns


def giver(way: Way, egress: Egress) -> Giver:
    """What gets credentials in this way."""
    if isinstance(way, TokenCommand):
        return Command(way, egress.credential_timeout)
    return aws.Written(way) if isinstance(way, Aws) and way.whole else Library(way, egress)


def lacking(config: Config) -> Iterator[tuple[Path, str]]:
    """Place and message of each entry whose way needs a package that is not installed."""
    for index, entry in enumerate(config.model_providers):
        way = entry.way
        if way is None or isinstance(way, TokenCommand) or (isinstance(way, Aws) and way.whole):
            continue
        row = ROWS[type(way)]
        if not all(map(_installed, row.packages)):
            path: Path = ("model_providers", index)
            yield path, f"{show(path)}: {way.text} needs: pip install 'dragoman[{row.extra}]'"


def _installed(package: str) -> bool:
    try:
        return find_spec(package) is not None
    except ModuleNotFoundError:  # of its parent
        return False


Sources = Mapping[tuple[Way, Egress], Source]
"""Those of one configuration."""


def source_of(sources: Sources, provider: Provider) -> Source | None:
    """Where the credential of an entry comes from; None: it has none that ends."""
    return None if provider.way is None else sources[provider.way, provider.egress]


class Credentials:
    """The sources of one worker. They outlive a configuration that leaves their way unchanged. report: called after each renewal."""

    def __init__(self, report: Report = lambda *_: None) -> None:
        self._report = report
        self._turns = Turns()
        self._sources: Sources = {}

    def prepared(self, config: Config) -> Sources:
        """The sources of a configuration, for `adopt`: nothing is asked yet."""
        wanted = {(entry.way, entry.egress): entry for entry in reversed(config.model_providers) if entry.way is not None}
        return {key: self._sources.get(key) or self._made(key, entry) for key, entry in wanted.items()}

    def _made(self, key: tuple[Way, Egress], entry: Provider) -> Source:
        return Source(giver(*key), entry.name, entry.egress.credential_timeout, self._report, turns=self._turns)

    def adopt(self, sources: Sources) -> None:
        """Begin to get the first credentials of those that are new. Call inside the running loop.

        Requests in progress keep those that they began with.
        """
        before, self._sources = self._sources, sources
        for key, source in sources.items():
            if key not in before:
                source.warm()

    def close(self) -> None:
        for source in self._sources.values():
            source.close()


def tried(config: Config) -> Iterator[tuple[str, str, bool]]:
    """Ask each way once, one after the other: whose it is, what came of it, and whether that is a credential. Blocks."""
    seen: set[tuple[Way, Egress]] = set()
    for entry in config.model_providers:
        if entry.way is None or (entry.way, entry.egress) in seen:
            continue
        seen.add((entry.way, entry.egress))
        yield entry.name, *_outcome(giver(entry.way, entry.egress))


def _outcome(giver: Giver) -> tuple[str, bool]:
    try:
        credential = giver.get()
    except Fault as fault:
        return f"{giver.name}: {fault.message}", False
    except Exception as error:  # its text can hold what was sent
        return f"{giver.name}: failed ({type(error).__name__})", False
    if credential.ended(time()):
        return f"{giver.name}: what came has ended already", False
    if credential.ends is None:
        return f"{giver.name}: good, it does not say until when", True
    return f"{giver.name}: good until {datetime.fromtimestamp(credential.ends, UTC):%Y-%m-%d %H:%M:%S} UTC", True
