"""What is known of models: the facts of models.yaml, checked as an entry's `metadata` is."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import fields
from functools import cache, lru_cache
from types import MappingProxyType
from typing import Any, NamedTuple

from marshmallow import ValidationError

from . import providers, schema
from .model import Facts, Provider

NAMES = frozenset(field.name for field in fields(Facts))

_EFFORTS = ("m.effort_values", "c.effort_values")  # flags of a model, the first that says so


class _Known(NamedTuple):
    """What a row says. efforts: of its flags."""

    row: providers.Row
    facts: dict[str, object]
    efforts: tuple[str, ...] | None


def made(values: Mapping[str, object]) -> Facts:
    """Facts of their names and values; None and what is no field is left out, lists become tuples."""
    return Facts(**{name: _frozen(value) for name, value in values.items() if name in NAMES and value is not None})  # type: ignore[arg-type]


def of(provider: Provider, model_id: str, listed: Mapping[str, object]) -> Facts:
    """The facts of a model of an entry. listed: what its upstream's list says; the entry's `metadata` overrides everything.

    Facts of a listed model stand behind its upstream's own word. Its efforts are those of the entry's `capabilities`, if these say any.
    """
    place = providers.at(provider.interface, provider.base_url).name
    efforts = _efforts(provider.capabilities)
    own = {} if efforts is None else {"efforts": efforts}
    return made({**_of_rows(place, model_id), **own, **listed, **provider.metadata})


def _efforts(flags: Mapping[str, object]) -> tuple[str, ...] | None:
    return next((flags[name] for name in _EFFORTS if name in flags), None)  # type: ignore[return-value]


@lru_cache(16_384)  # lists of some upstreams have hundreds of models, and are read again and again
def _of_rows(place: str, model_id: str) -> Mapping[str, object]:
    """What the rows of models.yaml say of a model. place: the provider."""
    facts: dict[str, object] = {}
    efforts: tuple[str, ...] | None = None
    for known in _rows():
        if known.row.holds(place, model_id):
            facts |= known.facts
            efforts = efforts if known.efforts is None else known.efforts
    if efforts is not None:
        facts.setdefault("efforts", efforts)
    return MappingProxyType(facts)


def read(row: Mapping[str, Any]) -> dict[str, object]:
    """The facts of a row of models.yaml. Raises ValueError for a name or a value that `metadata` would not take."""
    section = schema.Metadata()
    try:
        wrong = list(schema.strangers(section, row))
        if wrong:
            raise ValueError(f"unknown facts: {wrong}")
        return dict(section.load(row))
    except ValidationError as error:
        raise ValueError(f"a table of Dragoman's own is wrong: {error.messages}") from None


@cache
def _rows() -> tuple[_Known, ...]:
    return tuple(_known_rows())


def _known_rows() -> Iterator[_Known]:
    for row in providers.models():
        efforts = _efforts(row.flags)
        if row.facts or efforts is not None:
            yield _Known(row, read(row.facts), efforts)


def _frozen(value: object) -> object:
    return tuple(value) if isinstance(value, list) else value
