"""Opaque reasoning of other providers as `thoughtSignature`, and the dummies that stand in its place.

The field holds bytes, and SDKs decode and encode it anew (in either alphabet of base64): what is carried in it is the base64 of an
envelope (see `codecs/reasoning.py`) whose JSON is written plainly.

A client's history has the order of parts, not their runs: a signature belongs to the part that it came on.
"""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from .. import jsontext, reasoning
from ..events import Seal

Payload = dict[str, Any]

_OPENING = reasoning.ENVELOPE.encode() + b"{"
_STANDARD = str.maketrans("-_", "+/")

DUMMIES = ("skip_thought_signature_validator", "context_engineering_is_the_way_to_go")
"""What Google accepts in the place of a signature."""
_DUMMIES = frozenset((*DUMMIES, *(base64.b64encode(word.encode()).decode() for word in DUMMIES)))


def standard(text: str) -> str:
    """Base64 in the standard alphabet, padded, from any spelling of it that proto JSON allows."""
    text = text.strip().translate(_STANDARD).rstrip("=")
    return text + "=" * (-len(text) % 4)


def is_dummy(text: str) -> bool:
    return text.strip() in _DUMMIES or standard(text) in _DUMMIES


def is_signature(text: str) -> bool:
    """Whether it is base64 at all: Google refuses what is not."""
    try:
        base64.b64decode(standard(text), validate=True)
    except ValueError:
        return False
    return True


def is_ours(text: Any) -> bool:
    """Whether a signature is an envelope of the gateway's."""
    return isinstance(text, str) and text.lstrip().startswith("ZGdyMS57")


def written(payload: Payload) -> str:
    """The signature that carries an envelope's content."""
    return base64.b64encode(reasoning.ENVELOPE.encode() + jsontext.dumps(payload)).decode()


def envelope(signature: str) -> str | None:
    """The envelope in a signature as it is spelled elsewhere; None for any other signature."""
    if not is_ours(signature):
        return None
    try:
        raw = base64.b64decode(standard(signature))
    except (ValueError, binascii.Error):
        return None
    inside = raw[len(_OPENING) - 1 :]
    return reasoning.ENVELOPE + base64.urlsafe_b64encode(inside).rstrip(b"=").decode()


class _Thought(NamedTuple):
    text: str
    seals: list[Seal]


@dataclass(slots=True)
class Run:
    """Reasoning that is not interrupted by anything else. texts, seals: of the part that is open."""

    domain: str
    open: bool = False
    texts: list[str] = field(default_factory=list)
    seals: list[Seal] = field(default_factory=list)
    _waiting: list[Payload] = field(default_factory=list)  # at most one

    def begin(self) -> None:
        self.open = True
        self.texts, self.seals = [], []

    def end(self) -> list[str]:
        """Close the open part. Returns signatures that must be written before anything that follows."""
        self.open = False
        current = self._payload(_Thought("".join(self.texts), self.seals))
        self.texts, self.seals = [], []
        if current is None:
            return []
        last = self._waiting[-1] if self._waiting else None
        if last is not None and last["k"] == current["k"] == "m":  # one envelope has all blocks of a run
            last["b"] += current["b"]
            return []
        before = [written(payload) for payload in self._waiting]
        self._waiting = [current]
        return before

    def signature(self) -> str:
        """What the next part carries; "" if nothing is needed back."""
        return written(self._waiting[0]) if self._waiting else ""

    def _payload(self, thought: _Thought) -> Payload | None:
        text, seals = thought
        blocks = reasoning.blocks_of(text, seals)
        if blocks:
            return {"k": "m", "u": self.domain, "b": blocks}
        for seal in reversed(seals):
            if seal.form == "openai" and seal.value:
                return {"k": "r", "u": self.domain, "id": seal.id, "ec": seal.value, "s": list(seal.summary)}
            if seal.form == "details":
                return {"k": "d", "u": self.domain, "d": jsontext.loads(seal.value)}
        return {"k": "c", "u": self.domain, "t": text} if text else None
