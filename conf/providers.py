"""The tables of this package, loaded: providers.yaml, models.yaml, prices.yaml."""

from __future__ import annotations

import pathlib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from fnmatch import translate
from functools import cache, lru_cache
from typing import Any, Literal, NamedTuple, cast
from urllib.parse import urlsplit

import yaml

from ..codecs.capabilities import EFFORTS
from ..codecs.registry import USUAL
from . import flags
from .model import Api, Price

_HERE = pathlib.Path(__file__).parent

_OPENAI = ".api.openai.com"
_AZURE_HOSTS = (".openai.azure.com", ".services.ai.azure.com", ".cognitiveservices.azure.com")

OPENAI_HOST_FLAGS: dict[str, object] = {
    "openai_host": True,
    "c.max_tools": 128,  # "array too long. Expected an array with maximum length 128"
    "schema_subset": ("complete",),
    "c.max_tokens_field": "max_completion_tokens",
    "c.developer_role": True,
    "c.custom_tools": True,
    "c.allowed_tools": True,
    "c.file_parts": True,
    "c.web_search": True,
    "c.effort_values": EFFORTS,
    "c.reasoning_in": "none",
}


OPENAI_FLAGS: dict[str, object] = {"r.compact": True}  # of OpenAI itself


@dataclass(frozen=True, slots=True)
class Known:
    """A known provider: one row of providers.yaml."""

    name: str
    base_url: str  # without a trailing slash; only a path when the operator supplies the host
    key: str | None = None
    apis: tuple[Api, ...] = (USUAL.api,)
    auth: Literal["bearer", "x-api-key", "api-key", "x-goog-api-key", "both-keys"] = "bearer"
    models: tuple[str, ...] = ()
    only: tuple[str, ...] = ()
    hosts: tuple[str, ...] = ()
    others: tuple[str, ...] = ()  # patterns, in lower case, of models of other vendors than OpenAI, of a host of both
    unknown_as: str | None = None  # the model whose rules hold for names that say nothing
    families: tuple[Known, ...] = ()  # of models that are at other addresses, or have other APIs
    of_family: tuple[str, ...] = ()  # patterns of the models of a family
    named: str = ""  # what these are called there, with {model} for the last part of their ids; "": as the id
    stores: tuple[str, ...] = ()  # collections of objects that it stores for an account
    cloud: Literal["gcp", "aws"] | None = None  # whose credentials an entry without a key has
    service: str = ""  # of AWS: the name in signatures
    lists: bool = True  # it has a list of the models that can be used, at /models
    carriers: Mapping[Api, str] = field(default_factory=dict)  # by API, a name in codecs.carriers
    anthropic_beta: tuple[str, ...] | None = None
    capabilities: Mapping[str, object] = field(default_factory=dict)

    @property
    def has_host(self) -> bool:
        return not self.base_url.startswith("/")

    @property
    def prefix(self) -> str:
        """The path that precedes the path of every API."""
        return urlsplit(self.base_url).path

    def family(self, model_id: str) -> Known:
        """What is known of a model's own family, or of all others."""
        return next((row for row in self.families if is_of(model_id, row.of_family)), self)

    def recognises(self, model_id: str) -> bool:
        """Whether a bare model id matches the patterns of this provider's models."""
        return fits(model_id, self.models)

    def serves(self, model_id: str) -> bool:
        """Whether `provider/*` includes this model."""
        return model_id in self.only if self.only else True


@cache
def known() -> dict[str, Known]:
    """Every known provider by its prefix; other names of a provider map to the same row."""
    table: dict[str, Known] = {}
    for name, row in _table("providers.yaml").items():
        table[name] = table[row["same_as"]] if "same_as" in row else _known(name, row)
    return table


def _known(name: str, row: Mapping[str, Any]) -> Known:
    values = dict(row)
    families, plain = values.pop("families", ()), {key: value for key, value in row.items() if key not in ("families", "capabilities")}
    values["families"] = tuple(_known(name, plain | inner) for inner in families)
    for key in ("apis", "models", "only", "hosts", "stores", "others", "of_family", "anthropic_beta"):
        if key in values:
            values[key] = tuple(values[key])
    values["capabilities"] = _checked(values.get("capabilities", {}))
    return Known(name=name, **values)


class Row(NamedTuple):
    """A row of models.yaml. providers: where it applies; everywhere if empty. but: models that it excludes. facts: as in the file."""

    pattern: re.Pattern[str]
    but: re.Pattern[str] | None
    providers: frozenset[str]
    flags: dict[str, object]
    facts: Mapping[str, Any]

    def holds(self, provider: str, model_id: str) -> bool:
        if self.providers and provider not in self.providers:
            return False
        return _fits(self.pattern, model_id) and not (self.but and _fits(self.but, model_id))


@cache
def models() -> list[Row]:
    """The rows of models.yaml."""
    rows = cast("list[dict[str, Any]]", _table("models.yaml"))
    return [
        Row(
            _pattern(tuple(row["match"])),
            _pattern(tuple(row["but"])) if "but" in row else None,
            frozenset(row.get("at", ())),
            _checked(row.get("flags", {})),
            row.get("facts", {}),
        )
        for row in rows
    ]


@cache
def _by_host() -> list[tuple[re.Pattern[str], Known]]:
    return [(_pattern(row.hosts), row) for row in known().values() if row.hosts]


@lru_cache(256)
def at(interface: str, base_url: str) -> Known:
    """The provider at an address: by its host, otherwise by the interface."""
    host = urlsplit(base_url).hostname or ""
    return next((row for pattern, row in _by_host() if pattern.match(host)), known()[interface])


@cache
def list_prices() -> tuple[Price, ...]:
    """The built-in prices, in order."""
    return tuple(price(pattern, row) for pattern, row in _table("prices.yaml").items())


def price(pattern: str, row: Mapping[str, Any]) -> Price:
    """A price from its mapping; cached_input and cache_write default to the price of input.

    A service tier has its own prices of tokens, and the others of the row.
    """
    usual = float(row["input"])
    others = {name: row[name] for name in ("web_search", "fast") if name in row}
    cached, written = row.get("cached_input", usual), row.get("cache_write", usual)
    return Price(
        pattern,
        usual,
        float(row["output"]),
        float(cached),
        float(written),
        **{name: float(row[name]) for name in ("cache_write_1h", "web_search", "fast") if name in row},
        service_tiers=tuple((tier, price(pattern, others | own)) for tier, own in row.get("service_tiers", {}).items()),
    )


def price_of(prices: Iterable[Price], provider: str, model_id: str) -> Price | None:
    """The first price whose pattern matches the model, or None."""
    prices = tuple(prices)
    pattern = _first_of(tuple(price.pattern for price in prices))
    names = (f"{provider}/{model_id}", model_id, model_id.rpartition("/")[2])
    groups = [match.lastindex for name in names if (match := pattern.match(name)) is not None and match.lastindex]
    return prices[min(groups) - 1] if groups else None


@lru_cache(8)
def _first_of(patterns: tuple[str, ...]) -> re.Pattern[str]:
    """A pattern whose group that has matched is the first of these patterns that matches."""
    return re.compile("|".join(f"({translate(pattern)})" for pattern in patterns) or r"(?!)")


def openai_host(base_url: str) -> bool:
    """Whether the upstream is OpenAI, or Azure by its API for OpenAI's models."""
    parts = urlsplit(base_url)
    host = f".{parts.hostname}"
    return host.endswith(_OPENAI) or (host.endswith(_AZURE_HOSTS) and parts.path.startswith("/openai"))


def opaque(interface: str, model: str) -> bool:
    """Whether the name of a deployment says nothing of its model."""
    row = known()[interface]
    return row.unknown_as is not None and not (known()["openai"].recognises(model) or fits(model.lower(), row.others))


def capabilities(interface: str, base_url: str, model_id: str, written: Mapping[str, object]) -> dict[str, object]:
    """The flags of a model by dotted name, from the provider, its host, the model and the configuration; later ones override."""
    provider = at(interface, base_url).family(model_id)
    of_others = fits(model_id.lower(), provider.others)
    hosted = openai_host(base_url) or (provider.unknown_as is not None and urlsplit(base_url).path.startswith("/openai"))
    if provider.unknown_as is not None and opaque(provider.name, model_id):
        model_id = provider.unknown_as
    rows = [provider.capabilities, OPENAI_HOST_FLAGS if hosted and not of_others else {}]
    rows += [OPENAI_FLAGS] if f".{urlsplit(base_url).hostname}".endswith(_OPENAI) else []
    rows += [row.flags for row in models() if row.holds(provider.name, model_id)]
    merged: dict[str, object] = {}
    for row in (*rows, written):
        merged |= {name: _together(merged.get(name, ()), value) if name in _ADDED_UP else value for name, value in row.items()}
    return merged


# flags whose values are the union over all rows
_ADDED_UP = frozenset({"leave_out", "schema_subset"})


def _together(one: Any, other: Any) -> tuple[str, ...]:
    return tuple(dict.fromkeys((*one, *other)))


def fits(model: str, patterns: tuple[str, ...]) -> bool:
    """Whether a model's name, or the part after its last slash, matches one of the patterns (`*`, `?`, `[...]`)."""
    return bool(patterns) and _fits(_pattern(patterns), model)


def is_of(model_id: str, family: tuple[str, ...]) -> bool:
    """Whether a model's id matches one of a family's patterns."""
    return bool(_pattern(family).match(model_id))


def example(family: tuple[str, ...]) -> str:
    """An id that matches a family's first pattern, and those of what is known of its models."""
    return re.sub(r"\[(.)[^]]*\]", r"\1", family[0]).lstrip("*")


def _fits(pattern: re.Pattern[str], model: str) -> bool:
    return bool(pattern.match(model) or pattern.match(model.rpartition("/")[2]))


@cache
def _pattern(patterns: tuple[str, ...]) -> re.Pattern[str]:
    return re.compile("|".join(map(translate, patterns)))


def _checked(row: Mapping[str, Any]) -> dict[str, object]:
    valid, wrong = flags.check(row)
    if wrong or list(flags.unknown(row)):
        raise ValueError(f"a table of Dragoman's own is wrong: {wrong or row}")
    return valid


def _table(name: str) -> Any:
    return yaml.safe_load((_HERE / name).read_text(encoding="utf-8"))
