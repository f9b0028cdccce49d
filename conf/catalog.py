"""Resolves a model's name to entries of `model_providers`.

In this order: the exact `name` or `provider/model` of entries; an alias; the bare model id of entries; `provider/*` for
`provider/anything`; a bare id that the patterns of exactly one wildcard's provider match.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from .providers import known


class Entry(NamedTuple):
    """The members of an entry of `model_providers` that a catalog needs."""

    name: str
    model: str

    @property
    def provider(self) -> str:
        return self.model.partition("/")[0]

    @property
    def model_id(self) -> str:
        return self.model.partition("/")[2]


class Match(NamedTuple):
    """The entries that serve a name, as indexes in the order of the file; the model's id at each; and why they match."""

    entries: tuple[int, ...]
    model_ids: tuple[str, ...]
    why: str


class Catalog:
    """The names of a configuration. The `name` of a wildcard entry is not the name of a model."""

    def __init__(self, entries: Iterable[Entry], aliases: Mapping[str, str]) -> None:
        self.entries = tuple(entries)
        self.aliases = aliases
        self._exact: dict[str, list[int]] = {}
        self._bare: dict[str, list[int]] = {}
        self._wild: dict[str, list[int]] = {}
        for index, entry in enumerate(self.entries):
            if entry.model_id == "*":
                self._wild.setdefault(entry.provider, []).append(index)
                continue
            for name in {entry.name, entry.model}:
                self._exact.setdefault(name, []).append(index)
            self._bare.setdefault(entry.model_id, []).append(index)

    def find(self, asked: str) -> Match | None:
        """The entries that serve a name, or None."""
        if asked in self._exact:
            return self._declared(self._exact[asked], "declared by this name")
        if asked in self.aliases:
            target = self.aliases[asked]
            match = self.find_declared(target)
            return match and match._replace(why=f"alias of {target}, {match.why}")
        return self.find_declared(asked)

    def find_declared(self, asked: str) -> Match | None:
        """As find, without aliases: the targets that an alias may have."""
        if asked in self._exact:
            return self._declared(self._exact[asked], "declared by this name")
        if asked in self._bare:
            return self._declared(self._bare[asked], "declared, by its bare id")
        provider, slash, rest = asked.partition("/")
        if slash and provider in self._wild:
            return self._wildcard(provider, rest, f"fits {provider}/*")
        fitting = [name for name in self._wild if name in known() and known()[name].recognises(asked)]
        if slash or len(fitting) != 1:
            return None
        return self._wildcard(fitting[0], asked, f"bare id that only {fitting[0]}/* recognises")

    def hidden_aliases(self) -> list[str]:
        """Aliases that are never used, because a declared model has the same name."""
        return [alias for alias in self.aliases if alias in self._exact]

    def _declared(self, indexes: list[int], why: str) -> Match:
        return Match(tuple(indexes), tuple(self.entries[i].model_id for i in indexes), why)

    def _wildcard(self, provider: str, model_id: str, why: str) -> Match | None:
        if model_id in ("", "*", ".", "..") or (provider in known() and not known()[provider].serves(model_id)):
            return None
        indexes = tuple(self._wild[provider])
        return Match(indexes, (model_id,) * len(indexes), why)
