"""Reasoning across shapes: the envelope that carries opaque reasoning through another shape, and the mapping of efforts.

The envelope is `dgr1.` followed by the base64url of compact JSON. It only contains the client's own data, so it is neither signed nor
encrypted; an invalid one is treated as foreign.
"""

from __future__ import annotations

import base64
import binascii
from collections import deque
from collections.abc import Iterable
from typing import Any

from . import jsontext
from .capabilities import EFFORTS
from .events import Seal
from .ledger import Path
from .request import CallPart, Habits, Part, ReasoningPart, Request, Sealed, TextPart, Thinking

ENVELOPE = "dgr1."


def seal(payload: dict[str, Any]) -> str:
    """Return an envelope. payload: kind `k`, domain `u` and further members."""
    return ENVELOPE + base64.urlsafe_b64encode(jsontext.dumps(payload)).rstrip(b"=").decode()


def seal_text(domain: str, text: str | None = None) -> str:
    """Return an envelope for reasoning that is only text. text: None if it is sent in plain next to the envelope."""
    return seal({"k": "c", "u": domain} | ({} if text is None else {"t": text}))


def seal_item(domain: str, id: str, encrypted: str, summary: Iterable[str]) -> str:
    """Return an envelope for a responses reasoning item."""
    return seal({"k": "r", "u": domain, "id": id, "ec": encrypted, "s": list(summary)})


def seal_blocks(domain: str, blocks: list[dict[str, Any]]) -> str:
    """Return an envelope for thinking and redacted_thinking blocks."""
    return seal({"k": "m", "u": domain, "b": blocks})


def seal_details(domain: str, entries: list[dict[str, Any]], beside: str = "") -> str:
    """Return an envelope for a chat upstream's reasoning_details. beside: text sent next to the envelope, left out of it."""
    return seal({"k": "d", "u": domain, "d": [_lightened(entry, beside) for entry in entries]})


def _lightened(entry: dict[str, Any], beside: str) -> dict[str, Any]:
    key = detail_text(entry)
    return entry | {key: True} if beside and entry.get(key) == beside else entry


def detail_text(entry: dict[str, Any]) -> str:
    """The name of the member with the text of an entry of reasoning_details."""
    return "summary" if entry.get("type") == "reasoning.summary" else "text"


def seal_call(domain: str, sealed: Seal, of_text: bool = False) -> str:
    """Return an envelope for a tool call's seal, sent in a carrier before the call; or for a text's, sent after the text."""
    return seal({"k": "g", "u": domain, "f": sealed.form, "v": sealed.value} | ({"p": "text"} if of_text else {}))


_CARRIERS = ("carrier", "trailer")


def hand_over(request: Request) -> None:
    """Move the seals of carriers to the next calls, or to the last texts before them; one that finds none remains: encoders report it.

    Callers may move reasoning away from what it belongs to, to the beginning of the turn for instance.
    """
    for turn in request.turns:
        for part in turn.parts:
            if isinstance(part, ReasoningPart) and part.form in _CARRIERS:
                break
        else:
            continue
        waiting: deque[ReasoningPart] = deque()  # carriers, for the next calls
        text: TextPart | None = None  # the last one
        used: set[int] = set()
        for part in turn.parts:
            if isinstance(part, TextPart):
                text = part
            elif isinstance(part, CallPart):
                if waiting and part.seal is None:
                    carrier = waiting.popleft()
                    part.seal = carrier.sealed
                    used.add(id(carrier))
            elif isinstance(part, ReasoningPart) and part.form == "carrier":
                waiting.append(part)
            elif isinstance(part, ReasoningPart) and part.form == "trailer" and text is not None and text.seal is None:
                text.seal = part.sealed
                used.add(id(part))
        turn.parts = [part for part in turn.parts if id(part) not in used]


def is_sealed(text: Any) -> bool:
    return isinstance(text, str) and text.startswith(ENVELOPE)


def unseal(text: str) -> dict[str, Any] | None:
    """Return the content of a valid envelope, with the types of all members checked; None for any other text."""
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


def blocks_of(text: str, seals: list[Seal]) -> list[dict[str, Any]]:
    """Anthropic's blocks: the text with its signature, and those whose text is not shown."""
    blocks: list[dict[str, Any]] = []
    for seal in seals:
        if seal.form == "anthropic":
            blocks.append({"type": "thinking", "thinking": text, "signature": seal.value})
        elif seal.form == "redacted":
            blocks.append({"type": "redacted_thinking", "data": seal.value})
    return blocks


def is_block(block: Any) -> bool:
    """Whether the value is a thinking or redacted_thinking block."""
    if not isinstance(block, dict):
        return False
    if block.get("type") == "thinking":
        return isinstance(block.get("thinking"), str) and isinstance(block.get("signature"), str)
    return block.get("type") == "redacted_thinking" and isinstance(block.get("data"), str)


def opened(sealed: str, path: Path, text: str = "") -> ReasoningPart:
    """Return the part in an envelope; a foreign part if it is not a valid one. text: the text sent next to it."""
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
        form = "trailer" if inside.get("p") == "text" else "carrier"
        return ReasoningPart(path, form, text=text, domain=domain, sealed=Sealed(inside["f"], inside["v"], path, domain))
    if inside["k"] == "r":
        return ReasoningPart(path, "openai", text=text, id=inside["id"], encrypted=inside["ec"], summary=inside.get("s", []), domain=domain)
    return ReasoningPart(path, "anthropic", text=text, blocks=inside["b"], domain=domain)


# ---- how much ----


def without_cut_thoughts(parts: list[Part]) -> list[Part]:
    """Remove unsealed reasoning from the end of a turn: the token limit cut it off before it was signed."""
    end = len(parts)
    while end and isinstance(part := parts[end - 1], ReasoningPart) and part.form == "text":
        end -= 1
    return parts if end == len(parts) else parts[:end]


def nearest(effort: str, allowed: tuple[str, ...]) -> str | None:
    """The effort if allowed, else the nearest lower allowed one, else the nearest higher one; None if none is allowed."""
    if effort in allowed:
        return effort
    rank = EFFORTS.index(effort) if effort in EFFORTS else EFFORTS.index("medium")
    below = [e for e in EFFORTS[:rank] if e in allowed and e != "none"]
    above = [e for e in EFFORTS[rank:] if e in allowed]
    return below[-1] if below else above[0] if above else None


def display(habits: Habits, thinking: Thinking) -> dict[str, str]:
    """The member of Claude's `thinking` that says what is shown of it; empty where the caller leaves that to the model."""
    if habits.shows_thinking or thinking.show == "summary":
        return {"display": "summarized"}
    return {"display": "omitted"} if habits.hides_thinking and thinking.show == "hide" else {}


def effort_of_budget(tokens: int) -> str:
    return "low" if tokens < 4096 else "medium" if tokens < 16384 else "high"


_BUDGETS = {"minimal": 2048, "low": 2048, "medium": 8192, "high": 16384, "xhigh": 24576, "max": 32768}


def budget_of_effort(effort: str) -> int:
    return _BUDGETS.get(effort, 8192)


_UNTOLD_BUDGET = 8192  # tokens, of thinking whose extent is left to the model


def claude_budget(thinking: Thinking) -> int:
    """Tokens that a Claude model of a fixed budget is to think at most, as asked for."""
    if thinking.level == "budget":
        return thinking.budget or 0
    return _UNTOLD_BUDGET if thinking.level == "adaptive" else budget_of_effort(thinking.effort or "medium")


def claude_effort(request: Request, thinking: Thinking, effort: str, allowed: tuple[str, ...], adapted: bool) -> str | None:
    """The effort to send to a Claude model that accepts `allowed`; changes and losses are reported. adapted: `effort` is one already."""
    sent = nearest("low" if effort == "minimal" else effort, allowed)
    if sent is None:
        request.ledger.drop(thinking.path)
    elif sent != effort or adapted:
        request.ledger.adapt(thinking.path, sent)
    return sent


def openai_effort(request: Request, thinking: Thinking, allowed: tuple[str, ...]) -> str | None:
    """The effort to send to an OpenAI-shaped upstream that accepts `allowed`; changes and losses are reported in the ledger."""
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
