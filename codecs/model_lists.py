"""Read an upstream's list of models, in whichever vendor's form: ids, and what it says of each.

OpenAI's and Anthropic's lists are `{"data": [{"id"}]}`, Google's `{"models": [{"name": "models/ID"}]}`; some servers answer with the bare
list. Members beyond the id are those of the vendors' references and of servers that say more (OpenRouter, Groq, Mistral, vLLM). What is not
of its form is skipped.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple
from urllib.parse import quote

from . import jsontext
from .anything import at

MOST = 2000  # models of one upstream
BRACKETS = 50 * MOST  # objects and lists in a page: to parse more takes too long
LONGEST = 2000  # characters of what names the next page

Known = dict[str, object]
"""What a list says of a model, by the names of conf.model.Facts."""

_ID = re.compile(r"[!-~]{1,200}")
_STEPS = frozenset({"", ".", ".."})  # of no path that a request could have
_DAY = re.compile(r"([0-9]{4}-[0-9]{2}-[0-9]{2})(?:T.*)?", re.DOTALL)
_MODALITIES = {"text": "text", "image": "image", "audio": "audio", "video": "video", "pdf": "pdf", "file": "pdf"}
_LIFECYCLES = frozenset({"active", "deprecated", "retired"})


class Page(NamedTuple):
    """A page of a list. more: the query of the next page, with its question mark; "" if this is the last."""

    models: dict[str, Known]
    more: str


def read(body: bytes) -> Page | None:
    """Read a page of a list; None if it is not a list of models, or too large."""
    if body.count(b"{") + body.count(b"[") > BRACKETS:
        return None
    try:
        value = jsontext.loads(body)
    except ValueError:
        return None
    items = value if isinstance(value, list) else None
    if isinstance(value, dict):
        items = next((value[name] for name in ("data", "models") if isinstance(value.get(name), list)), None)
    if items is None:
        return None
    models: dict[str, Known] = {}
    for item in items[:MOST]:
        if isinstance(item, dict) and (id := _id(item)):
            models[id] = _known(item)
    return Page(models, _more(value) if isinstance(value, dict) else "")


def _id(item: Mapping[str, Any]) -> str:
    for name in ("id", "slug", "name"):
        id = item.get(name)
        if isinstance(id, str):
            id = id.removeprefix("models/")
            return id if _ID.fullmatch(id) and _STEPS.isdisjoint(id.split("/")) else ""
    return ""


def _more(value: Mapping[str, Any]) -> str:
    last, token = value.get("last_id"), value.get("nextPageToken")
    name, place = ("after_id", last) if value.get("has_more") is True and last else ("pageToken", token)
    return f"?{name}={quote(place, safe='')}" if isinstance(place, str) and 0 < len(place) <= LONGEST and place.isprintable() else ""


def _known(item: Mapping[str, Any]) -> Known:
    known: Known = {}
    for name, places, reader in _MEMBERS:
        for place in places:
            value = reader(at(item, *place.split(".")))
            if value is not None:
                known[name] = value
                break
    return known


def _count(value: Any) -> int | None:
    return value if type(value) is int and 0 < value < 1 << 53 else None


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) and 0 < len(value) <= 200 and value.isprintable() else None


def _modalities(value: Any) -> tuple[str, ...] | None:
    if not isinstance(value, list):
        return None
    return tuple(dict.fromkeys(_MODALITIES[one] for one in value if isinstance(one, str) and one in _MODALITIES)) or None


def _day(value: Any) -> str | None:
    match = _DAY.fullmatch(value) if isinstance(value, str) else None
    return match[1] if match else None


def _lifecycle(value: Any) -> str | None:
    return value if isinstance(value, str) and value in _LIFECYCLES else None


_MEMBERS: tuple[tuple[str, tuple[str, ...], Callable[[Any], object]], ...] = (
    ("display_name", ("display_name", "displayName"), _text),
    ("context_window", ("context_window", "context_length", "max_context_length", "max_model_len"), _count),
    ("max_input_tokens", ("max_input_tokens", "inputTokenLimit"), _count),
    (
        "max_output_tokens",
        ("max_output_tokens", "max_completion_tokens", "top_provider.max_completion_tokens", "outputTokenLimit", "max_tokens"),
        _count,
    ),
    ("input_modalities", ("input_modalities", "architecture.input_modalities"), _modalities),
    ("output_modalities", ("output_modalities", "architecture.output_modalities"), _modalities),
    ("lifecycle", ("lifecycle",), _lifecycle),
    ("retired", ("retires_at", "shutdown_date", "expiration_date"), _day),
)
