"""The tables of this package as values: providers.yaml, models.yaml, prices.yaml."""

from __future__ import annotations

import pathlib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from fnmatch import translate
from functools import cache
from typing import Any, Literal, cast
from urllib.parse import urlsplit

import yaml

from ..codecs.capabilities import EFFORTS
from ..codecs.registry import USUAL
from . import flags
from .model import Api, Price

_HERE = pathlib.Path(__file__).parent

_OPENAI_HOSTS = (".api.openai.com", ".openai.azure.com")

OPENAI_HOST_FLAGS: dict[str, object] = {
    "openai_host": True,
    "c.max_tokens_field": "max_completion_tokens",
    "c.developer_role": True,
    "c.custom_tools": True,
    "c.allowed_tools": True,
    "c.file_parts": True,
    "c.web_search": True,
    "c.effort_values": EFFORTS,
    "c.reasoning_in": "none",
}


@dataclass(frozen=True, slots=True)
class Known:
    """A provider that needs no explaining: one row of providers.yaml."""

    name: str
    base_url: str  # without a slash at the end; only a path when the host is the operator's own
    key: str | None = None
    apis: tuple[Api, ...] = (USUAL.api,)
    auth: Literal["bearer", "x-api-key", "api-key"] = "bearer"
    models: tuple[str, ...] = ()
    only: tuple[str, ...] = ()
    capabilities: Mapping[str, object] = field(default_factory=dict)

    @property
    def has_host(self) -> bool:
        return not self.base_url.startswith("/")

    @property
    def prefix(self) -> str:
        """The path that stands in front of every API's own."""
        return urlsplit(self.base_url).path

    def recognises(self, model_id: str) -> bool:
        """Whether a bare model id can only be this provider's."""
        return fits(model_id, self.models)

    def serves(self, model_id: str) -> bool:
        """Whether `provider/*` stands for this model."""
        return model_id in self.only if self.only else True


@cache
def known() -> dict[str, Known]:
    """Every known provider by its prefix; other names of one share its row."""
    table: dict[str, Known] = {}
    for name, row in _table("providers.yaml").items():
        table[name] = table[row["same_as"]] if "same_as" in row else _known(name, row)
    return table


def _known(name: str, row: Mapping[str, Any]) -> Known:
    values = dict(row)
    for key in ("apis", "models", "only"):
        if key in values:
            values[key] = tuple(values[key])
    values["capabilities"] = _checked(values.get("capabilities", {}))
    return Known(name=name, **values)


@cache
def _models() -> list[tuple[re.Pattern[str], dict[str, object]]]:
    rows = cast("list[dict[str, Any]]", _table("models.yaml"))
    return [(_pattern(tuple(row["match"])), _checked(row["flags"])) for row in rows]


@cache
def list_prices() -> tuple[Price, ...]:
    """The built-in prices, in order."""
    return tuple(price(pattern, row) for pattern, row in _table("prices.yaml").items())


def price(pattern: str, row: Mapping[str, float]) -> Price:
    """A price from its mapping; what is cached or written to a cache costs what input costs when not said otherwise."""
    usual = float(row["input"])
    cached, written = row.get("cached_input", usual), row.get("cache_write", usual)
    return Price(pattern, usual, float(row["output"]), float(cached), float(written))


def price_of(prices: Iterable[Price], provider: str, model_id: str) -> Price | None:
    """The first price whose pattern fits the model."""
    full = f"{provider}/{model_id}"
    return next((p for p in prices if fits(full, (p.pattern,)) or fits(model_id, (p.pattern,))), None)


def openai_host(base_url: str) -> bool:
    """Whether the upstream is OpenAI itself, or Azure's OpenAI."""
    return f".{urlsplit(base_url).hostname}".endswith(_OPENAI_HOSTS)


def capabilities(interface: str, base_url: str, model_id: str, written: Mapping[str, object]) -> dict[str, object]:
    """The flags of a model by dotted name: the provider's, its host's, the model's, the configuration's; later ones win."""
    found: dict[str, object] = dict(known()[interface].capabilities)
    if openai_host(base_url):
        found |= OPENAI_HOST_FLAGS
    for pattern, row in _models():
        if _fits(pattern, model_id):
            found |= row
    return found | dict(written)


def fits(model: str, patterns: tuple[str, ...]) -> bool:
    """Whether a model's name, or what stands behind its last slash, fits one of the patterns (`*`, `?`, `[...]`)."""
    return bool(patterns) and _fits(_pattern(patterns), model)


def _fits(pattern: re.Pattern[str], model: str) -> bool:
    return bool(pattern.match(model) or pattern.match(model.rpartition("/")[2]))


@cache
def _pattern(patterns: tuple[str, ...]) -> re.Pattern[str]:
    return re.compile("|".join(map(translate, patterns)))


def _checked(row: Mapping[str, Any]) -> dict[str, object]:
    found, wrong = flags.check(row)
    if wrong or list(flags.unknown(row)):
        raise ValueError(f"a table of Dragoman's own is wrong: {wrong or row}")
    return found


def _table(name: str) -> Any:
    return yaml.safe_load((_HERE / name).read_text(encoding="utf-8"))
