"""Reasoning across shapes: the envelope that lets opaque reasoning survive a foreign shape, and the words for "how much".

The envelope is `dgr1.` and base64url of compact JSON. It replays the client's own data, so it is neither signed nor secret;
what does not parse is simply foreign.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterable
from typing import Any

from . import jsontext
from .capabilities import EFFORTS
from .events import Seal
from .ledger import Path
from .request import CallPart, Part, ReasoningPart, Request, Sealed, Thinking

ENVELOPE = "dgr1."


def seal(payload: dict[str, Any]) -> str:
    """An envelope around kind `k`, domain `u` and the rest."""
    return ENVELOPE + base64.urlsafe_b64encode(jsontext.dumps(payload)).rstrip(b"=").decode()


def seal_text(domain: str, text: str | None = None) -> str:
    """For reasoning that is nothing but text. None: it travels beside the envelope, in the open."""
    return seal({"k": "c", "u": domain} | ({} if text is None else {"t": text}))


def seal_item(domain: str, id: str, encrypted: str, summary: Iterable[str]) -> str:
    """For a responses reasoning item."""
    return seal({"k": "r", "u": domain, "id": id, "ec": encrypted, "s": list(summary)})


def seal_blocks(domain: str, blocks: list[dict[str, Any]]) -> str:
    """For thinking and redacted_thinking blocks."""
    return seal({"k": "m", "u": domain, "b": blocks})


def seal_details(domain: str, entries: list[dict[str, Any]], beside: str = "") -> str:
    """For a chat upstream's reasoning_details. beside: text that travels beside the envelope, and so not in it a second time."""
    return seal({"k": "d", "u": domain, "d": [_lightened(entry, beside) for entry in entries]})


def _lightened(entry: dict[str, Any], beside: str) -> dict[str, Any]:
    key = detail_text(entry)
    return entry | {key: True} if beside and entry.get(key) == beside else entry


def detail_text(entry: dict[str, Any]) -> str:
    """The member of an entry of reasoning_details that holds its text."""
    return "summary" if entry.get("type") == "reasoning.summary" else "text"


def seal_call(domain: str, sealed: Seal) -> str:
    """For a tool call's own seal, on a carrier that stands before the call."""
    return seal({"k": "g", "u": domain, "f": sealed.form, "v": sealed.value})


def hand_over(request: Request) -> None:
    """Give what carriers bring to the calls that follow them; a carrier without a call stays, and is reported by who meets it."""
    for turn in request.turns:
        for part in turn.parts:
            if isinstance(part, ReasoningPart) and part.form == "carrier":
                break
        else:
            continue
        parts: list[Part] = []
        for part in turn.parts:
            before = parts[-1] if parts else None
            if isinstance(part, CallPart) and isinstance(before, ReasoningPart) and before.form == "carrier":
                parts.pop()
                part.seal = before.sealed
            parts.append(part)
        turn.parts = parts


def is_sealed(text: Any) -> bool:
    return isinstance(text, str) and text.startswith(ENVELOPE)


def unseal(text: str) -> dict[str, Any] | None:
    """What is inside, when it is one of ours and whole: the types of all members are what `seal_*` wrote."""
    if not is_sealed(text):
        return None
    raw = text[len(ENVELOPE) :]
    try:
        inside = jsontext.loads(base64.urlsafe_b64decode(raw + "=" * (-len(raw) % 4)))
    except (ValueError, binascii.Error):
        return None
    if not isinstance(inside, dict) or not isinstance(inside.get("u"), str):
        return None
    kind = inside.get("k")
    if kind == "c":
        return inside if isinstance(inside.get("t", ""), str) else None
    if kind == "d":
        entries = inside.get("d")
        return inside if isinstance(entries, list) and entries and all(isinstance(entry, dict) for entry in entries) else None
    if kind == "r":
        summary = inside.get("s", [])
        strings = isinstance(inside.get("id"), str) and isinstance(inside.get("ec"), str)
        return inside if strings and isinstance(summary, list) and all(isinstance(s, str) for s in summary) else None
    if kind == "g":
        return inside if isinstance(inside.get("f"), str) and isinstance(inside.get("v"), str) else None
    if kind == "m":
        blocks = inside.get("b")
        return inside if isinstance(blocks, list) and blocks and all(is_block(b) for b in blocks) else None
    return None


def is_block(block: Any) -> bool:
    """Whether it is a thinking or redacted_thinking block."""
    if not isinstance(block, dict):
        return False
    if block.get("type") == "thinking":
        return isinstance(block.get("thinking"), str) and isinstance(block.get("signature"), str)
    return block.get("type") == "redacted_thinking" and isinstance(block.get("data"), str)


def opened(sealed: str, path: Path, text: str = "") -> ReasoningPart:
    """The part that an envelope stands for; a foreign one when it is not ours. text: what travelled beside it."""
    inside = unseal(sealed)
    if inside is None:
        return ReasoningPart(path, "foreign", text=text)
    domain = inside["u"]
    if inside["k"] == "c":
        return ReasoningPart(path, "text", text=inside.get("t", text), domain=domain)
    if inside["k"] == "d":
        entries = [entry | {key: text} if entry.get(key := detail_text(entry)) is True else entry for entry in inside["d"]]
        return ReasoningPart(path, "details", text=text, blocks=entries, domain=domain)
    if inside["k"] == "g":
        return ReasoningPart(path, "carrier", text=text, sealed=Sealed(inside["f"], inside["v"], path, domain))
    if inside["k"] == "r":
        return ReasoningPart(path, "openai", text=text, id=inside["id"], encrypted=inside["ec"], summary=inside.get("s", []), domain=domain)
    return ReasoningPart(path, "anthropic", text=text, blocks=inside["b"], domain=domain)


# ---- how much ----


def nearest(effort: str, allowed: tuple[str, ...]) -> str | None:
    """The effort itself, else the nearest lower one that is allowed, else the nearest higher; None when none is."""
    if effort in allowed:
        return effort
    rank = EFFORTS.index(effort) if effort in EFFORTS else EFFORTS.index("medium")
    below = [e for e in EFFORTS[:rank] if e in allowed and e != "none"]
    above = [e for e in EFFORTS[rank:] if e in allowed]
    return below[-1] if below else above[0] if above else None


def effort_of_budget(tokens: int) -> str:
    return "low" if tokens < 4096 else "medium" if tokens < 16384 else "high"


_BUDGETS = {"minimal": 2048, "low": 2048, "medium": 8192, "high": 16384, "xhigh": 24576, "max": 32768}


def budget_of_effort(effort: str) -> int:
    return _BUDGETS.get(effort, 8192)


def openai_effort(request: Request, thinking: Thinking, allowed: tuple[str, ...]) -> str | None:
    """The effort to send to an OpenAI-shaped upstream which takes `allowed`; what was changed or lost goes to the ledger."""
    if thinking.level == "adaptive" and thinking.effort is None:
        return None
    if thinking.level == "off":
        if "none" in allowed:
            return "none"
        if allowed:
            request.ledger.drop(thinking.path)
        return None
    asked = effort_of_budget(thinking.budget or 0) if thinking.level == "budget" else thinking.effort or "medium"
    sent = nearest(asked, allowed)
    if sent is None:
        request.ledger.drop(thinking.path)
    elif sent != asked or thinking.level == "budget":
        request.ledger.adapt(thinking.path, sent)
    return sent
