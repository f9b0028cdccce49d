"""Which models a request asks for besides its `model`: fields by which an upstream is told to ask another one.

An access key's list of models must hold for each of them, or a caller reaches through a fallback, a tool or a query what its key
does not allow. Where such names stand is a table (FIELDS): OpenRouter's and LiteLLM's lists, Anthropic's fallbacks, hosted tools
with a model of their own (image generation, advisors), moderation, plugins.

What is checked must be what is sent, to any reader of JSON. A field that is spelled in other letters (`Models`, which Go's reader
takes for `models`) and one that stands twice in an object (readers differ in which they take) are refused. Twice is noticed by
counting: orjson keeps one of two, so the members in the value are then fewer than those in the bytes.

Free texts are not read: a model's name in a prompt, in a function's schema or in a tool's result asks for nothing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Generator, Iterator, Mapping
from typing import Any, NamedTuple
from urllib.parse import parse_qsl

from . import errors, splice


class Named(NamedTuple):
    """A model that a request asks for. param: where."""

    name: str
    param: str


class _Place(NamedTuple):
    """names: a text here, or in a list here, is a model's name. whole: what is neither must be an object with a `model`."""

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
"""By field of a body, where it names models. Keys in small letters, ASCII."""

_NAMING = ("model", "models", "allowed_models", "analysis_models", "preset", "route", "fallbacks", "fallback_models",
           "context_window_fallbacks", "content_policy_fallbacks")  # fmt: skip
STEP = 16 * 1024  # members looked at between two yields
_HOLDING = ("tools", "svg", "parameters", "plugins", "moderation")


def names(body: bytes, scan: splice.Scan, query: str = "") -> Generator[None, None, list[Named]]:
    """The models that a request asks for besides `scan.model`. query: what stands behind its path, with or without question mark.

    A generator that returns them: a large body is looked at in steps. Raises errors.Malformed for what two readers may see
    differently, errors.WrongType for a list of something else than models.
    """
    found = [Named(value, f"{key} in the query") for key, value in parse_qsl(query.lstrip("?")) if key.casefold() == "model"]
    if not any(key.casefold() in FIELDS for key in scan.value):
        return found
    found += _named(scan.value)
    if "models" in scan.value:  # the route is then how to go through them
        found = [named for named in found if named.param != "route"]
    yield from _check_single(body, scan.value)
    return found


def _named(body: dict[str, Any]) -> Iterator[Named]:
    waiting: list[tuple[Any, _Place, str]] = [(body, _Place(FIELDS), "")]  # not recursion: a caller decides how deep it is
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
    """What of an object can name models. Raises Malformed for such a member in other letters."""
    for key, inner in node.items():
        below = place.below.get(key)
        if below is not None:
            yield inner, below, f"{param}.{key}" if param else key
        elif key.casefold() in place.below:
            raise errors.Malformed(f"`{key[:64]}` must be spelled `{key.casefold()}`.", param=param or key.casefold())


def _check_single(body: bytes, value: dict[str, Any]) -> Generator[None, None, None]:
    """Raises Malformed when one of the table's members stands twice in an object."""
    written = yield from splice.count_members(body, _NAMING)
    if not any(written.values()) or (written == {**dict.fromkeys(written, 0), "model": 1} and "model" in value):
        return  # nothing but the top level's `model` can name one
    written |= yield from splice.count_members(body, _HOLDING)
    kept = yield from _counted(value)
    for key, count in written.items():
        if count != kept[key]:
            raise errors.Malformed(f"`{key}` stands twice in an object of the request body.", param=key)


def _counted(value: Any) -> Generator[None, None, Counter[str]]:
    """How many members of each name there are, at any depth."""
    found: Counter[str] = Counter()
    stack = [value]
    looked = 0
    while stack:
        node = stack.pop()
        looked += len(node)
        if looked > STEP:
            looked = 0
            yield
        if isinstance(node, dict):
            found.update(node.keys())
            stack += [inner for inner in node.values() if isinstance(inner, dict | list)]
        else:
            stack += [inner for inner in node if isinstance(inner, dict | list)]
    return found
