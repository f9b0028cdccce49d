"""What refusals by responses upstreams mean (see `codecs/lessons.py`)."""

from __future__ import annotations

import re
from typing import Any

from ..ids import CallIds, with_id
from ..ledger import Path
from ..lessons import (
    EACH,
    MISSING_PROPERTIES,
    ONLY_STREAMS,
    OTHER_ROUTE,
    ROOT_UNIONS,
    Body,
    Reading,
    each,
    leave_out,
    not_served,
    surrogates,
    without,
)
from .facts import IDS

# a tuple, because a caller's `type` may be of any type
_NAMELESS = ("message", "function_call", "function_call_output", "custom_tool_call", "custom_tool_call_output")


def _without_reasoning(body: Body) -> tuple[Body, Path | None]:
    """Remove earlier reasoning from the input, which this upstream cannot read."""
    items = body.get("input")
    if not isinstance(items, list):
        return body, None
    remaining = [item for item in items if not (isinstance(item, dict) and item.get("type") == "reasoning")]
    return (body, None) if len(remaining) == len(items) else (body | {"input": remaining}, ("input",))


def _without_loose_reasoning(body: Body) -> tuple[Body, Path | None]:
    """Remove earlier reasoning and the ids by which items are bound to it: a caller has cut its history between the two."""
    without_it, _ = _without_reasoning(body)
    items = without_it.get("input")
    if isinstance(items, list) and any(isinstance(item, dict) and item.get("type") == "item_reference" for item in items):
        return body, None  # it stands for what only the caller has
    bare, first = without(items, (EACH, "id")) if isinstance(items, list) else (items, None)
    return (without_it, None if without_it is body else ("input",)) if first is None else (without_it | {"input": bare}, ("input",))


def _without_ids(body: Body) -> tuple[Body, Path | None]:
    """Remove the ids of items that need none: calls are bound to their results by another member."""

    def bare(item: dict[str, Any]) -> dict[str, Any]:
        spare = "id" in item and item.get("type", "message") in _NAMELESS
        return {name: value for name, value in item.items() if name != "id"} if spare else item

    changed, path = each(body, "input", bare)
    return changed, path and (*path, "id")


def _without_nulls(body: Body) -> tuple[Body, Path | None]:
    """Remove members of items that are null, as SDKs write down what an answer did not say."""
    items = body.get("input")
    if not isinstance(items, list):
        return body, None
    bare = [{name: value for name, value in item.items() if value is not None} if isinstance(item, dict) else item for item in items]
    return (body, None) if bare == items else (body | {"input": bare}, ("input",))


def _fitting_ids(body: Body) -> tuple[Body, Path | None]:
    """Ids of calls in the form of this API, as other providers do not give them."""
    ids = CallIds(IDS, own_vendor=True)

    def changed(item: dict[str, Any]) -> dict[str, Any]:
        return with_id(item, "call_id", ids.result if str(item.get("type")).endswith("_output") else ids.call)

    return each(body, "input", changed)


LESSONS = (
    not_served("responses"),
    Reading(
        "summary",
        re.compile(r"reasoning\.summary"),
        "reasoning.summary is left out",
        sent=b'"summary"',
        flags={"r_summaries": False},
        change=leave_out("reasoning", "summary"),
    ),
    Reading(
        "reasoning",
        re.compile(r"invalid_encrypted_content|encrypted content\b.{0,80}\bverif"),
        "earlier reasoning is left out",
        sent=b'"reasoning"',
        change=_without_reasoning,
        adapts="reasoning",
        lasting=False,
    ),
    Reading(
        "reasoning",
        re.compile(r"without its (?:required )?(?:following item|'reasoning' item)|items are not persisted when", re.IGNORECASE),
        "earlier reasoning is left out",
        sent=b'"reasoning"',
        change=_without_loose_reasoning,
        adapts="reasoning",
        lasting=False,
    ),
    Reading(
        "nulls",
        re.compile(r"input\[\d+\]\.\w+.{0,120}\bnull\b|invalid type for status", re.IGNORECASE | re.DOTALL),
        "members of items that are null are left out",
        sent=b"null",
        change=_without_nulls,
        adapts="input",
    ),
    Reading(
        "ids",
        re.compile(r"\bcall_id\b.{0,60}(?:too long|pattern|does not fit|invalid)|invalid.{0,40}\bcall_id\b", re.IGNORECASE | re.DOTALL),
        "ids of calls have this API's form",
        sent=b'"call_id"',
        change=_fitting_ids,
        adapts="input",
    ),
    Reading(
        "item ids",
        re.compile(r"\binput\[\d{1,6}\]\.id\b.{0,200}(?:begins with|too long)", re.IGNORECASE | re.DOTALL),
        "items of the caller's have no ids",
        sent=b'"id"',
        change=_without_ids,
    ),
    MISSING_PROPERTIES,
    ROOT_UNIONS,
    surrogates("input"),
    ONLY_STREAMS,
    OTHER_ROUTE,
)
