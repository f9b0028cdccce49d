"""Remove the gateway's own additions from a gemini request (see `codecs/scrub.py`): signatures that carry other providers' reasoning."""

from __future__ import annotations

from typing import Any

from ..capabilities import Capabilities
from ..ledger import Ledger, Path
from .facts import DUMMY
from .signatures import is_ours

_SIGNATURES = ("thoughtSignature", "thought_signature")
_CALLS = ("functionCall", "function_call")

Part = dict[str, Any]


def scrub(body: dict[str, Any], capabilities: Capabilities, ledger: Ledger) -> None:
    """Change `body` in place; lists are replaced by new ones."""
    contents = body.get("contents")
    if isinstance(contents, dict):
        contents = [contents]
    if not isinstance(contents, list):
        return
    remaining = []
    for i, content in enumerate(contents):
        parts = content.get("parts") if isinstance(content, dict) else None
        if isinstance(parts, dict):
            parts = [parts]
        if not isinstance(parts, list) or not any(_sealed(part) for part in parts):
            remaining.append(content)
            continue
        cleaned = _cleaned(parts, ("contents", i, "parts"), capabilities, ledger)
        if cleaned:
            remaining.append(content | {"parts": cleaned})
    body["contents"] = remaining


def _sealed(part: Any) -> bool:
    return isinstance(part, dict) and any(is_ours(part.get(name)) for name in _SIGNATURES)


def _cleaned(parts: list[Any], path: Path, capabilities: Capabilities, ledger: Ledger) -> list[Any]:
    remaining, called = [], False
    for j, part in enumerate(parts):
        calls = isinstance(part, dict) and any(name in part for name in _CALLS)
        if _sealed(part):
            name = next(name for name in _SIGNATURES if is_ours(part.get(name)))
            ledger.drop((*path, j, name))
            part = {key: value for key, value in part.items() if key not in _SIGNATURES}
            if part == {"text": ""} or part.get("thought") is True or not part:
                continue
            if calls and not called and capabilities.g_signatures == "required":
                part["thoughtSignature"] = DUMMY
        called = called or calls
        remaining.append(part)
    return remaining
