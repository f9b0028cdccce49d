"""Find the models that a request names besides its `model`: fields that make an upstream use another model.

An access key's list of models must allow each of them, otherwise a caller could reach a forbidden model through a fallback, a tool or
a query. The table FIELDS lists the places: OpenRouter's and LiteLLM's lists, Anthropic's fallbacks, hosted tools with a model of their
own (image generation, advisors), moderation, plugins.

The names checked must be the names used by any JSON parser. A field in another spelling (`Models`, which Go's parser accepts as
`models`) and a duplicate member (parsers differ in which they use) are refused. Duplicates are detected by counting: orjson keeps one
of two, so that the parsed value has fewer members than the bytes.

Free text is not searched: a model's name in a prompt, in a function's schema or in a tool's result has no effect.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Generator, Iterator, Mapping
from typing import Any, NamedTuple
from urllib.parse import parse_qsl

from . import errors, splice


class Named(NamedTuple):
    """A model that a request names. param: the path of the name."""

    name: str
    param: str


class _Place(NamedTuple):
    """names: whether strings and list elements here are model names. whole: whether any other value must have a `model`."""

    below: Mapping[str, _Place] = {}
    names: bool = False
    whole: bool = False


_NAME = _Place(names=True)
_MODEL = {"model": _NAME}
_LIST = _Place(_MODEL, names=True, whole=True)
_MODELS = {"model": _NAME, "models": _NAME, "allowed_models": _NAME, "analysis_models": _NAME}

FIELDS: dict[str, _Place] = {
    "models": _LIST,
    "fallbacks": _LIST,
    "fallback_models": _LIST,
    "context_window_fallbacks": _LIST,
    "content_policy_fallbacks": _LIST,
    "preset": _NAME,
    "route": _NAME,
    "moderation": _Place(_MODEL),
    "svg": _Place(_MODEL),
    "plugins": _Place(_MODELS),
    "tools": _Place({"model": _NAME, "svg": _Place(_MODEL), "parameters": _Place(_MODELS)}),
}
"""Field of a body -> where it contains names of models. Keys are lower-case ASCII."""

_NAMING = ("model", "models", "allowed_models", "analysis_models", "preset", "route", "fallbacks", "fallback_models",
           "context_window_fallbacks", "content_policy_fallbacks")  # fmt: skip
STEP = 16 * 1024  # members checked between two yields
_HOLDING = ("tools", "svg", "parameters", "plugins", "moderation")


def names(body: bytes, scan: splice.Scan, query: str = "") -> Generator[None, None, list[Named]]:
    """Return the models that a request names besides `scan.model`. query: the query string, with or without question mark.

    A generator that returns the list and yields between steps. Raises errors.Malformed for members that parsers may interpret
    differently, errors.WrongType for a list with other elements than models.
    """
    models = [Named(value, f"{key} in the query") for key, value in parse_qsl(query.lstrip("?")) if key.casefold() == "model"]
    if not any(key.casefold() in FIELDS for key in scan.value):
        return models
    models += _named(scan.value)
    if "models" in scan.value:  # the route is then the strategy for the list
        models = [named for named in models if named.param != "route"]
    yield from _check_single(body, scan.value)
    return models


def _named(body: dict[str, Any]) -> Iterator[Named]:
    waiting: list[tuple[Any, _Place, str]] = [(body, _Place(FIELDS), "")]  # not recursion, because the caller determines the depth
    while waiting:
        node, place, param = waiting.pop()
        if isinstance(node, str) and place.names:
            yield Named(node, param)
        elif isinstance(node, list):
            waiting += [(inner, place, f"{param}[{index}]") for index, inner in enumerate(node)]
        elif isinstance(node, dict):
            if place.whole and not isinstance(node.get("model"), str):
                raise errors.WrongType(f"`{param}` must name a model.", param=param)
            waiting += _members(node, place, param)


def _members(node: dict[str, Any], place: _Place, param: str) -> Iterator[tuple[Any, _Place, str]]:
    """The members of an object that can name models. Raises Malformed for another spelling of such a member."""
    for key, inner in node.items():
        below = place.below.get(key)
        if below is not None:
            yield inner, below, f"{param}.{key}" if param else key
        elif key.casefold() in place.below:
            raise errors.Malformed(f"`{key[:64]}` must be spelled `{key.casefold()}`.", param=param or key.casefold())


def _check_single(body: bytes, value: dict[str, Any]) -> Generator[None, None, None]:
    """Raises Malformed if one of the table's members occurs twice in an object."""
    written = yield from splice.count_members(body, _NAMING)
    if not any(written.values()) or (written == {**dict.fromkeys(written, 0), "model": 1} and "model" in value):
        return  # only the top-level `model` can name one
    written |= yield from splice.count_members(body, _HOLDING)
    parsed = yield from _counted(value)
    for key, count in written.items():
        if count != parsed[key]:
            raise errors.Malformed(f"`{key}` occurs twice in an object of the request body.", param=key)


def _counted(value: Any) -> Generator[None, None, Counter[str]]:
    """Count the members of each name, at any depth."""
    counts: Counter[str] = Counter()
    stack = [value]
    looked = 0
    while stack:
        node = stack.pop()
        looked += len(node)
        if looked > STEP:
            looked = 0
            yield
        if isinstance(node, dict):
            counts.update(node.keys())
            stack += [inner for inner in node.values() if isinstance(inner, dict | list)]
        else:
            stack += [inner for inner in node if isinstance(inner, dict | list)]
    return counts
